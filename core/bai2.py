"""Bank reports in the BAI2 format as columns: `read_bai2`.

What is wrong with a report is a finding (errors.FindingCode), and one bad record costs only itself;
an exception means that the caller erred or that the input is no BAI2 at all.

Rules: BAI, Cash Management Balance Reporting Specifications Version 2 (10/2005), and what banks
really send: several records on a line, lines broken without a code, slashes that are missing or
too many, totals left blank. A control total is the sum of the amounts of 03 and 16 as they stand,
debits not negated, funds-type amounts and item counts left out; a record count counts physical
records, continuations too.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reassoc.core import _bai2_tables as tables
from reassoc.core._bai2_reader import CONTINUATIONS_MAX, GroupStatus, Reader, Rows
from reassoc.core.columns import Table, TextColumn, build_table
from reassoc.core.errors import FindingCode, LimitError, ParseError, describe, severity
from reassoc.core.windows import Buffer, bytes_view

__all__ = [
    "BAI2_BYTES_MAX",
    "CONTINUATIONS_MAX",
    "BankReports",
    "Direction",
    "GroupStatus",
    "direction_of",
    "read_bai2",
]

BAI2_BYTES_MAX = 512 << 20
"""Bytes of one report: it is read whole."""


class Direction(IntEnum):
    """What a type code moves, by its range."""

    NONE = 0
    CREDIT = 1
    DEBIT = 2


def direction_of(type_code: int) -> Direction:
    """By the ranges of the specification: 100-399 and 920-959 credits, 400-699 and 960-999 debits;
    status, loan and message codes move no money."""
    if 100 <= type_code <= 399 or 920 <= type_code <= 959:
        return Direction.CREDIT
    if 400 <= type_code <= 699 or 960 <= type_code <= 999:
        return Direction.DEBIT
    return Direction.NONE


class BankReports:
    """Everything that was read in a report.

    source : memoryview      what `offset` columns and texts point into

    Tables, one row a thing: files (01 and 99), groups (02 and 98), accounts (03 and 49), summaries
    (amounts of an 03), details (16), texts (lines of a detail's text), availabilities (parts of
    funds types S and D) and findings.
    """

    def __init__(self, source: bytes, rows: Rows) -> None:
        self.source = memoryview(source)
        self.record_count = rows.record_count
        self.files = tables.table("files", tables.FILES, rows.files, source)
        self.groups = tables.table("groups", tables.GROUPS, rows.groups, source)
        self.accounts = tables.table("accounts", tables.ACCOUNTS, rows.accounts, source)
        self.summaries = tables.table("summaries", tables.SUMMARIES, rows.summaries, source)
        taken = rows.details.take()
        self.details = build_table("details", taken["details"], source)
        self.texts = _without_slashes(build_table("texts", taken["texts"], source))
        self.availabilities = tables.table(
            "availabilities", tables.AVAILABILITIES, rows.availabilities, source
        )
        self._findings = rows.findings

    @cached_property
    def findings(self) -> Table:
        """What is wrong, in the order it was seen."""
        rows = [(*row, severity(row[0])) for row in self._findings]
        return tables.table("findings", tables.FINDINGS, rows, b"")

    def text_lines(self) -> list[list[bytes]]:
        """The lines of each detail's text, as they lie in the source but for line ends. O(size)."""
        source, texts = bytes(self.source), self.texts.text
        lines = [source[offset : offset + length] for offset, length in texts.refs.tolist()]
        for row in np.flatnonzero(self._is_broken(texts)).tolist():
            lines[row] = texts.raw(row)
        spans = zip(self.details.text_start.tolist(), self.details.text_stop.tolist(), strict=True)
        return [lines[start:stop] for start, stop in spans]

    def _is_broken(self, texts: TextColumn) -> npt.NDArray[np.bool_]:
        """bool[k]: texts with a line end in them."""
        data = np.frombuffer(self.source, np.uint8)
        ends = np.flatnonzero((data == ord("\n")) | (data == ord("\r")))
        first = np.searchsorted(ends, texts.offsets)
        last = np.searchsorted(ends, texts.offsets.astype(np.int64) + texts.lengths)
        broken: npt.NDArray[np.bool_] = last > first
        return broken

    def message(self, finding: int) -> str:
        """One finding as text: code, place, what is wrong. It holds no value of the report."""
        row = self.findings.row(finding)
        code = FindingCode(row["code"])
        place = f"byte {row['file_offset']}"
        if row["record_number"]:
            place += f", record {row['record_number']}"
        return f"{code.name} at {place}: {describe(code)}"

    def __repr__(self) -> str:
        counts = f"{len(self.accounts)} accounts, {len(self.details)} details"
        return f"<BankReports: {counts}, {len(self.findings)} findings>"


def _without_slashes(texts: Table) -> Table:
    """Texts without the slash at their end, where most lines of the report end with one: a bank
    either closes its text lines with it, or it belongs to the text."""
    column: TextColumn = texts.text
    refs, data = column.refs.copy(), np.frombuffer(column.source, np.uint8)
    rows = np.flatnonzero(refs[:, 1] > 0)
    ends = refs[rows, 0].astype(np.int64) + refs[rows, 1] - 1
    closed = rows[data[ends] == ord("/")]
    if 2 * len(closed) <= len(rows):
        return texts
    refs[closed, 1] -= 1
    blank = closed
    while len(blank):
        blank = blank[refs[blank, 1] > 0]
        last = data[refs[blank, 0].astype(np.int64) + refs[blank, 1] - 1]
        blank = blank[(last == ord(" ")) | (last == ord("\t"))]
        refs[blank, 1] -= 1
    columns = {"detail": texts.detail, "text": TextColumn(column.source, refs)}
    return Table("texts", columns, texts.kinds, texts.docs)


def read_bai2(buffer: Buffer) -> BankReports:
    """Read a whole report.

    buffer : bytes, bytearray, memoryview, mmap ...
        contiguous; copied where it is not bytes

    Raises ParseError BAI2_NO_RECORDS where no 01, 02, 03 or 16 record can be told, LimitError for
    more than BAI2_BYTES_MAX bytes, RECORDS_MAX records or FINDINGS_MAX findings. O(n); memory about
    ten times the input.
    """
    view = bytes_view(buffer)
    if len(view) > BAI2_BYTES_MAX:
        raise LimitError(
            f"BAI2_BYTES_MAX: a report of {len(view)} bytes is too large; split it by its groups"
        )
    data = buffer if isinstance(buffer, bytes) else bytes(view)
    rows = Reader(data).read()
    if not rows.files:
        raise ParseError(
            FindingCode.BAI2_NO_RECORDS,
            0,
            f"no BAI2 record in {len(data)} bytes: this is no bank report",
        )
    return BankReports(data, rows)
