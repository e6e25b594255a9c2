"""The folder of a run as somebody looks into it: one match, its items, its rivals, its links.

Reads only the tables of the folder, and of them only what is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from reassoc.core.errors import ReassocError
from reassoc.stream.table import csv_cell
from reassoc.stream.table_read import TableError, TableFile

ID_DIGITS = 16
CANDIDATES_MAX = 200
"""Rows of matches.csv that are gathered as rivals of one match."""
ITEMS_SOUGHT_MAX = 10
"""Items of one side whose other candidates are looked for."""

Row = dict[str, str]
ItemKey = tuple[str, int]


class ResultError(ReassocError):
    """No result, or no such match in it; the message says which."""


class Result:
    """A result folder, opened as a context.

    Raises ResultError where the folder is no result, TableError where a table of it is damaged.
    Opening goes through matches.csv once, a lookup through one table: a second or two for a million
    rows.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("matches.csv", "remittances.csv", "payments.csv"):
            if not (folder / name).is_file():
                state = "has no " + name if folder.is_dir() else "no such folder"
                raise ResultError(f"{folder}: {state}: give the folder that match wrote")
        self._folder = folder
        self._stack = ExitStack()
        self._tables: dict[str, TableFile] = {}

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _table(self, name: str) -> TableFile:
        if name not in self._tables:
            self._tables[name] = self._stack.enter_context(TableFile(self._folder / name))
        return self._tables[name]

    def match(self, match_id: str) -> list[Row]:
        """The rows of a match by its id or by a beginning of it that no other match has.

        Raises ResultError for what is no id, for an unknown and for an ambiguous one.
        """
        text = match_id.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{1,16}", text, re.ASCII):
            raise ResultError(f"{match_id!r} is no match id: 1 to {ID_DIGITS} digits 0-9 a-f")
        table = self._table("matches.csv")
        rows = table.starting_with(text.encode())
        found = [table.row(number) for number in rows[:CANDIDATES_MAX]]
        ids = sorted({row["match_id"] for row in found})
        if not ids:
            raise ResultError(f"{self._folder}: no match {text}; see the column match_id")
        if len(ids) > 1:
            some = ", ".join(ids[:3])
            raise ResultError(f"{text} is not unique: {some}{', ...' if len(ids) > 3 else ''}")
        if len(rows) > CANDIDATES_MAX:
            found += [table.row(number) for number in rows[CANDIDATES_MAX:]]
        return found

    def items(self, rows: Iterable[Row], side: str) -> list[Row]:
        """The items of a match's rows, each once: rows of remittances.csv (side "remit") or of
        payments.csv ("payment")."""
        table = self._table("remittances.csv" if side == "remit" else "payments.csv")
        found = []
        for file, ordinal in _keys(rows, side):
            numbers = table.starting_with(f"{csv_cell(file)},{ordinal},".encode())
            if not numbers:
                raise TableError(f"{self._folder}: the tables are not of one run")
            found.append(table.row(numbers[0]))
        return found

    def rivals(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of other matches that share an item with this one, the best first."""
        table = self._table("matches.csv")
        numbers: set[int] = set()
        for side in ("remit", "payment"):
            for file, ordinal in _keys(rows, side)[:ITEMS_SOUGHT_MAX]:
                piece = f",{csv_cell(file)},{ordinal},".encode()
                numbers |= set(table.holding(piece, CANDIDATES_MAX))
        ours = {side: set(_keys(rows, side)) for side in ("remit", "payment")}
        found = []
        for number in sorted(numbers):
            row = table.row(number)
            shares = any(_keys([row], side)[0] in keys for side, keys in ours.items())
            if shares and row["match_id"] != rows[0]["match_id"]:
                found.append(row)
        return sorted(found, key=lambda row: (int(row["rank"]), int(row["remittance_rank"])))

    def links(self, rows: Iterable[Row]) -> list[Row]:
        """Rows of links.csv about the payments of a match."""
        if not (self._folder / "links.csv").is_file():
            return []
        table = self._table("links.csv")
        keys = _keys(rows, "payment")[:ITEMS_SOUGHT_MAX]
        numbers: set[int] = set()
        for file, ordinal in keys:
            piece = f",{csv_cell(file)},{ordinal},".encode()
            numbers |= set(table.holding(piece, CANDIDATES_MAX))
        found = [table.row(number) for number in sorted(numbers)]
        return [
            row for row in found if {*_keys([row], "payment"), *_keys([row], "other")} & {*keys}
        ]


def _keys(rows: Iterable[Row], side: str) -> list[ItemKey]:
    """File and ordinal of the items of one side, each once, in order; none for empty cells."""
    keys = {
        (row[f"{side}_file"], int(row[f"{side}_ordinal"])): None
        for row in rows
        if row[f"{side}_ordinal"]
    }
    return list(keys)
