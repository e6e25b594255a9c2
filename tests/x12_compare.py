"""Holds the compiled 835 reader against its plain twin, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from reassoc.core.columns import Table, TextColumn
from reassoc.core.errors import FindingCode, ParseError
from reassoc.core.reference import read_835_plain
from reassoc.core.reference_tables import NAMES
from reassoc.core.x12_835 import Remittances, read_835

Row = dict[str, Any]
Rows = dict[str, list[Row]]

FINDING_KEY = ("code", "file_offset", "transaction", "segment_ordinal")
_RANGES = ("claim", "service", "adjustment", "provider_adjustment")
_PLACES = frozenset({"offset", "end"})
_OWNERS = {
    0: "transactions",
    1: "transactions",
    2: "transactions",
    3: "headers",
    4: "claims",
    5: "services",
}


def table_rows(table: Table) -> list[Row]:
    """The rows of a table as plain values: text and codes as bytes."""
    columns: dict[str, list[Any]] = {}
    for name in table.names:
        column = table[name]
        if isinstance(column, TextColumn):
            columns[name] = [column.raw(row) for row in range(len(column))]
        else:
            columns[name] = np.asarray(column).tolist()
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def whole_rows(windows: Iterable[Remittances]) -> Rows:
    """Tables of some windows as those of the whole: offsets and row numbers count over the file."""
    whole: Rows = {name: [] for name in NAMES}
    envelopes: dict[str, dict[int, Row]] = {"interchanges": {}, "groups": {}}
    for window in windows:
        tables = {name: table_rows(getattr(window, name)) for name in NAMES}
        bases = {name: len(rows) for name, rows in whole.items()}
        numbers = {
            name: [row["ordinal"] for row in tables[name]] for name in ("interchanges", "groups")
        }
        for name, rows in tables.items():
            for row in rows:
                _settle(name, row, bases, numbers, window.window_offset)
            if name in envelopes:
                envelopes[name].update((row["ordinal"], row) for row in rows)
            else:
                whole[name].extend(rows)
    for name, rows_by_ordinal in envelopes.items():
        whole[name] = [rows_by_ordinal[ordinal] for ordinal in sorted(rows_by_ordinal)]
    return whole


def _settle(
    table: str, row: Row, bases: dict[str, int], numbers: dict[str, list[int]], window_offset: int
) -> None:
    for name in _PLACES & row.keys():
        row[name] += window_offset
    for child in _RANGES:
        for edge in (f"{child}_start", f"{child}_stop"):
            if edge in row:
                row[edge] += bases[child + "s"]
    for parent in ("transaction", "claim", "service"):
        if row.get(parent, -1) >= 0:
            row[parent] += bases[parent + "s"]
    if "owner" in row and row["owner"] >= 0:
        row["owner"] += bases[_OWNERS[row["level"]]]
    for parent in ("interchange", "group"):
        if row.get(parent, -1) >= 0:
            row[parent] = numbers[parent + "s"][row[parent]]


def differences(found: Rows, expected: Rows, limit: int = 12) -> list[str]:
    """What differs between two sets of tables, in words for a test's message."""
    told: list[str] = []
    for name in NAMES:
        if name == "findings":
            continue
        ours, theirs = found[name], expected[name]
        if len(ours) != len(theirs):
            told.append(f"{name}: {len(ours)} rows, expected {len(theirs)}")
        for number, (mine, wanted) in enumerate(zip(ours, theirs, strict=False)):
            told += [
                f"{name}[{number}].{column}: {mine[column]!r}, expected {value!r}"
                for column, value in wanted.items()
                if column in mine
                and not _same(mine[column], value)
                and not _empty(column, mine, wanted)
            ]
    ours_set, theirs_set = findings(found), findings(expected)
    told += [f"extra finding {_name(key)} x{n}" for key, n in (ours_set - theirs_set).items()]
    told += [f"missing finding {_name(key)} x{n}" for key, n in (theirs_set - ours_set).items()]
    return told[:limit]


def findings(rows: Rows) -> Counter[tuple[int, ...]]:
    """Findings as a multiset; their order is not part of the promise."""
    return Counter(tuple(row[name] for name in FINDING_KEY) for row in rows["findings"])


def _empty(column: str, found: Row, expected: Row) -> bool:
    """An edge of a range without rows: where nothing stands is no matter."""
    child, _, edge = column.rpartition("_")
    if edge not in ("start", "stop") or f"{child}_stop" not in expected:
        return False
    rows = (found, expected)
    return all(row[f"{child}_start"] == row[f"{child}_stop"] for row in rows)


def _same(found: object, expected: object) -> bool:
    """Equal; a numpy code column cannot hold NUL bytes at its end."""
    if isinstance(found, bytes) and isinstance(expected, bytes):
        return found.rstrip(b"\0") == expected.rstrip(b"\0")
    return found == expected


def _name(key: tuple[int, ...]) -> str:
    return f"{FindingCode(key[0]).name} at {key[1]}, transaction {key[2]}, segment {key[3]}"


def twin_rows(data: bytes) -> Rows | ParseError:
    """What the twin reads, or its refusal."""
    try:
        return dict(read_835_plain(data).tables)
    except ParseError as error:
        return error


def compiled_rows(data: bytes) -> Rows | ParseError:
    """What the compiled reader reads, or its refusal."""
    try:
        return whole_rows([read_835(data)])
    except ParseError as error:
        return error


def twin_differences(data: bytes) -> list[str]:
    """What the compiled reader and its twin do not agree on; empty when they agree."""
    found, expected = compiled_rows(data), twin_rows(data)
    if isinstance(found, ParseError) or isinstance(expected, ParseError):
        if isinstance(found, ParseError) and isinstance(expected, ParseError):
            return [] if found.code == expected.code else [f"{found}, expected {expected}"]
        return [f"{_kind(found)}, expected {_kind(expected)}"]
    return differences(found, expected)


def _kind(result: Rows | ParseError) -> str:
    return str(result) if isinstance(result, ParseError) else "tables"
