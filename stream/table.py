"""CSV tables written a column at a time, fast enough that millions of rows do not matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE, TextColumn

CHUNK_ROWS = 1 << 16
"""Rows that are turned into text at a time."""

_QUOTED = re.compile(r'[",\r\n]')
_SPECIAL = re.compile(rb'[",\r\n]')
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Ints = npt.NDArray[Any]


def csv_cell(text: str) -> str:
    """A text from a file or a file's name as a CSV cell.

    A text that a spreadsheet would run as a formula (it begins with = + - @ or a tab) gets an
    apostrophe in front, as spreadsheets themselves write such a text; programs that join on these
    columns find it documented. Numbers are ours and never changed.
    """
    if text.startswith(_FORMULA):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def uncelled(text: str) -> str:
    """The text of a cell that was read back: without the apostrophe that `csv_cell` put there."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def text_cells(column: TextColumn) -> list[str]:
    """Cells of a text column. O(total length).

    PERF: nearly all columns are plain ASCII with nothing to quote; those are decoded in one piece
    and cut, five times as fast as value by value.
    """
    compact = column.compact()
    data = bytes(compact.source)
    lengths = compact.lengths
    if not data:
        return [""] * len(column)
    if not data.isascii() or _SPECIAL.search(data) or _may_be_formula(data, compact):
        return [csv_cell(value) if value else "" for value in column]
    text = data.decode("ascii")
    stops = np.cumsum(lengths, dtype=np.int64)
    starts = (stops - lengths).tolist()
    return [text[start:stop] for start, stop in zip(starts, stops.tolist(), strict=True)]


def _may_be_formula(data: bytes, column: TextColumn) -> bool:
    starts = column.offsets[column.lengths > 0]
    first = np.frombuffer(data, np.uint8)[starts]
    return bool(np.isin(first, np.frombuffer("".join(_FORMULA).encode(), np.uint8)).any())


def int_cells(values: Ints) -> list[str]:
    """Cells of whole numbers."""
    return list(map(str, values.tolist()))


def date_cells(days: npt.NDArray[np.int32]) -> list[str]:
    """ISO dates of days since 1970-01-01, empty for DATE_NONE."""
    values, inverse = np.unique(days, return_inverse=True)
    names = [iso_date(day) for day in values.tolist()]
    return pick_cells(names, inverse)


def iso_date(day: int) -> str:
    """A day since 1970-01-01 as an ISO date, empty for DATE_NONE."""
    return "" if day == DATE_NONE else str(np.datetime64(day, "D"))


def flag_cells(flags: npt.NDArray[np.bool_]) -> list[str]:
    """`true` and `false`."""
    return pick_cells(["false", "true"], flags.astype(np.int64))


def pick_cells(names: Sequence[str], rows: Ints) -> list[str]:
    """The name of each row; for columns of few values. Empty for -1."""
    table = np.array([*names, ""], dtype=object)
    picked: list[str] = table[rows].tolist()
    return picked


def code_cells(codes: npt.NDArray[np.bytes_]) -> list[str]:
    """Cells of short codes. Compared as numbers, which is much faster than as bytes."""
    plain = np.ascontiguousarray(codes)
    _, first, inverse = np.unique(
        plain.view(f"<u{plain.dtype.itemsize}"), return_index=True, return_inverse=True
    )
    names = [csv_cell(value.decode("latin-1")) for value in plain[first].tolist()]
    return pick_cells(names, inverse)


def write_rows(out: IO[bytes], columns: Sequence[Sequence[str]]) -> None:
    """Write rows of ready cells, given as columns of equal length."""
    lines = map(",".join, zip(*columns, strict=True))
    text = "\n".join(lines)
    if text:
        out.write(text.encode("utf-8"))
        out.write(b"\n")


def chunks(row_count: int) -> Iterator[slice]:
    """Slices of CHUNK_ROWS that cover the rows."""
    for start in range(0, row_count, CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, row_count))
