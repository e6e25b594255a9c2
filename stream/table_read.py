"""Tables of a run read back: whole columns as arrays, or the few rows that somebody asks for.

Millions of rows are never made Python objects: separators are found with numpy, and only cells
that are looked at become text.
"""

from __future__ import annotations

import csv
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.errors import ReassocError

PIECE_BYTES = 8 << 20
"""Bytes of a table that are cut into cells at a time."""
ROW_BYTES_MAX = 1 << 20
"""A longer row is no row of ours."""
NO_INT = -(2**63)
"""Value of an empty cell in a column of whole numbers."""

_COMMA, _NEWLINE, _QUOTE, _MINUS, _ZERO = b',\n"-0'

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


class TableError(ReassocError):
    """A table of a run is missing or is no such table; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: numbers : int32[n] rows of `names`."""

    names: list[str]
    numbers: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one table, all of `row_count` rows.

    ints : int64[n], NO_INT where the cell is empty; ids : uint64[n], from hexadecimal digits
    """

    row_count: int
    ints: Mapping[str, Ints]
    ids: Mapping[str, npt.NDArray[np.uint64]]
    texts: Mapping[str, Texts]


def read_columns(
    path: Path, *, ints: Sequence[str] = (), ids: Sequence[str] = (), texts: Sequence[str] = ()
) -> Columns:
    """Read the named columns of a CSV table (RFC 4180, LF, one header line).

    Raises TableError where the table cannot be read, lacks a column, or has a row with another
    number of cells or a cell that is no number. About a second for a million rows; memory: one
    piece and the columns.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*ints, *ids, *texts)}
    known: dict[str, dict[bytes, int]] = {name: {} for name in texts}
    row_count = 0
    try:
        with path.open("rb") as file:
            header = _header(path, file.readline(ROW_BYTES_MAX))
            places = {name: _place(path, header, name) for name in parts}
            for data, cells in _pieces(path, file, len(header)):
                row_count += len(cells) - 1
                for name, place in places.items():
                    starts, stops = _bounds(cells, place)
                    if name in known:
                        part: npt.NDArray[Any] = _text_numbers(data, starts, stops, known[name])
                    elif name in ids:
                        part = _hex_values(data, starts, stops, f"{path}: {name}")
                    else:
                        part = _int_values(data, starts, stops, f"{path}: {name}")
                    parts[name].append(part)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from error
    return Columns(
        row_count,
        {name: _joined(parts[name], np.int64) for name in ints},
        {name: _joined(parts[name], np.uint64) for name in ids},
        {
            name: Texts([_unquoted(raw) for raw in known[name]], _joined(parts[name], np.int32))
            for name in texts
        },
    )


def _joined(parts: list[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *parts])


def _header(path: Path, line: bytes) -> list[str]:
    if not line.endswith(b"\n"):
        raise TableError(f"{path}: no table: it has no header line")
    return line.decode("utf-8", "replace").rstrip("\n").split(",")


def _place(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise TableError(f"{path}: has no column {name!r}; was it written by another version?")
    return header.index(name)


def _pieces(path: Path, file: Any, column_count: int) -> Iterator[tuple[Bytes, Ints]]:
    """Whole rows of a table: their bytes, and where each cell ends, int64[rows + 1, columns]; row 0
    stands before the first and holds -1 at its end."""
    rest = b""
    while piece := file.read(PIECE_BYTES):
        text = rest + piece
        data = np.frombuffer(text, np.uint8)
        ends = _separators(data)
        last = np.flatnonzero(data[ends] == _NEWLINE)
        if not len(last):
            if len(text) > PIECE_BYTES + ROW_BYTES_MAX:
                raise TableError(f"{path}: a row is longer than ROW_BYTES_MAX ({ROW_BYTES_MAX})")
            rest = text
            continue
        ends = ends[: last[-1] + 1]
        rest = text[ends[-1] + 1 :]
        if len(ends) % column_count or not _in_columns(data, ends, column_count):
            raise TableError(f"{path}: a row has more or fewer cells than the header")
        first = np.full((1, column_count), -1, np.int64)
        yield data, np.concatenate([first, ends.reshape(-1, column_count)])
    if rest:
        raise TableError(f"{path}: the last row does not end; was the file cut off?")


def _separators(data: Bytes) -> Ints:
    """Commas and line ends that stand outside of quotes."""
    ends = np.flatnonzero((data == _COMMA) | (data == _NEWLINE))
    quotes = np.flatnonzero(data == _QUOTE)
    return ends[np.searchsorted(quotes, ends) & 1 == 0] if len(quotes) else ends


def _in_columns(data: Bytes, ends: Ints, column_count: int) -> bool:
    lines = data[ends].reshape(-1, column_count) == _NEWLINE
    return bool(lines[:, -1].all() and not lines[:, :-1].any())


def _bounds(cells: Ints, place: int) -> tuple[Ints, Ints]:
    """First byte of each cell of a column, and the byte behind its last."""
    before = cells[1:, place - 1] if place else cells[:-1, -1]
    return before + 1, cells[1:, place]


def _int_values(data: Bytes, starts: Ints, stops: Ints, name: str) -> Ints:
    negative = data[starts] == _MINUS
    widths = stops - starts - negative
    value = np.zeros(len(starts), np.int64)
    longest = int(widths.max(initial=0))
    if longest > 18:
        raise TableError(f"{name}: a cell is no whole number")
    for place in range(longest):
        on = widths > place
        digit = data[np.where(on, stops - 1 - place, 0)] - np.uint8(_ZERO)
        if (on & (digit > 9)).any():
            raise TableError(f"{name}: a cell is no whole number")
        value += np.where(on, digit, 0) * np.int64(10**place)
    value = np.where(negative, -value, value)
    return np.where(stops == starts, np.int64(NO_INT), value)


_HEX = np.full(256, 255, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    _HEX[_digit] = _value


def _hex_values(data: Bytes, starts: Ints, stops: Ints, name: str) -> npt.NDArray[np.uint64]:
    value = np.zeros(len(starts), np.uint64)
    if (stops - starts != 16).any():
        raise TableError(f"{name}: a cell is no id of 16 hexadecimal digits")
    for place in range(16):
        digit = _HEX[data[starts + place]]
        if (digit > 15).any():
            raise TableError(f"{name}: a cell is no id of 16 hexadecimal digits")
        value = value << np.uint64(4) | digit
    return value


def _text_numbers(
    data: Bytes, starts: Ints, stops: Ints, known: dict[bytes, int]
) -> npt.NDArray[np.int32]:
    """Numbers of the texts of a column, new ones added to `known`."""
    widths = stops - starts
    width = max(1, int(widths.max(initial=0)))
    columns = np.arange(width)
    inside = columns < widths[:, None]
    matrix = np.where(inside, data[np.where(inside, starts[:, None] + columns, 0)], np.uint8(0))
    values, inverse = np.unique(
        np.ascontiguousarray(matrix).view(f"S{width}").ravel(), return_inverse=True
    )
    numbers = [known.setdefault(value, len(known)) for value in values.tolist()]
    return np.array(numbers, np.int32)[inverse]


def _unquoted(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


# ---- a few rows of a large table ----


class TableFile:
    """A table whose rows are looked up by their bytes; nothing else of it is read into memory.

    Opened as a context. Raises TableError where it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self.header = _header(path, file.readline(ROW_BYTES_MAX))
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "empty"
            raise TableError(f"{path}: cannot be read: {reason}") from error
        self._starts = self._row_starts()

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def _row_starts(self) -> Ints:
        """First byte of each row behind the header, and the end: line ends inside of quotes are
        none."""
        found, quoted, size = [], 0, len(self._map)
        for base in range(0, size, PIECE_BYTES):
            data = np.frombuffer(self._map[base : base + PIECE_BYTES], np.uint8)
            lines, quotes = np.flatnonzero(data == _NEWLINE), np.flatnonzero(data == _QUOTE)
            outside = (np.searchsorted(quotes, lines) + quoted) & 1 == 0
            found.append(lines[outside] + base + 1)
            quoted += len(quotes)
        return np.concatenate([np.zeros(0, np.int64), *found])

    def starting_with(self, prefix: bytes) -> list[int]:
        """Rows whose first bytes are `prefix`, in order. O(rows)."""
        starts = self._starts[:-1]
        rows = np.flatnonzero(starts + len(prefix) <= len(self._map))
        data = np.frombuffer(self._map, np.uint8)
        try:
            # PERF: backwards, for rows of one file begin alike: ten times as fast as forwards.
            for place in reversed(range(len(prefix))):
                rows = rows[data[starts[rows] + place] == prefix[place]]
        finally:
            # A map cannot be closed while an array looks at it.
            del data
        return rows.tolist()

    def holding(self, piece: bytes, rows_max: int) -> list[int]:
        """The first `rows_max` rows that hold these bytes anywhere. O(size)."""
        rows: list[int] = []
        place = int(self._starts[0]) - 1 if len(self) else -1
        while place >= 0 and len(rows) < rows_max:
            place = self._map.find(piece, place)
            if place < 0:
                break
            row = int(np.searchsorted(self._starts, place + 1, side="right")) - 1
            rows.append(row)
            if row + 1 >= len(self._starts) - 1:
                break
            place = int(self._starts[row + 1]) - 1
        return rows

    def row(self, number: int) -> dict[str, str]:
        """A row by column name."""
        start, stop = self._starts[number : number + 2].tolist()
        text = self._map[start:stop].decode("utf-8", "replace")
        cells = next(csv.reader([text[:-1]], strict=True), [])
        if len(cells) != len(self.header):
            raise TableError(f"{self._path}: row {number + 1} is not as the header says")
        return dict(zip(self.header, cells, strict=True))
