"""ACH files of many messages, scanned once."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import EntryKind, read_ach
from reassoc.core.errors import FindingCode, LimitError, ParseError
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.chunks import is_context
from reassoc.stream.findings import ach_findings, first_lines, payload_findings
from reassoc.stream.input_batch import (
    EncodedProfiles,
    InputBatch,
    Ints32,
    Ints64,
    blocks_of,
    claims_of,
    numbers_in_file,
    sums_of,
    with_columns,
)
from reassoc.stream.intake import RemittanceRows, WindowPayments, WindowRemittances
from reassoc.stream.item_rows import payment_rows, remittance_rows, with_verdicts
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.message import PartHead
from reassoc.stream.message_inputs import Input
from reassoc.stream.part_items import NO_FINDINGS, NO_REMITTANCES, NO_ROWS, PartItems
from reassoc.stream.records import Block
from reassoc.stream.routing import Router, Tenants
from reassoc.stream.verdicts import batches_of, closed_checks, enclosing

LINE_BYTES_MEAN_MIN = 32
"""Of the lines of a message: each may be a row of some hundred bytes in memory, and a record has
94. A small message may unpack to millions of lines that are none."""
LINES_FREE_MAX = 4096
"""Lines that are not counted: small files have blank ones."""
_RECORD_BYTES = 94
_BEGIN = re.compile(rb"101[^\r\n]{9}")
_BETWEEN = b"\n" * 4
"""Between two inputs: more than the bytes in front of an addenda's text."""


def may_follow(last: Input, found: Input) -> bool:
    """Whether two inputs can be read as one. Records are told by what stands before them, so each
    must end with a whole record and begin with a header.
    """
    return _ends_a_record(last.data) and _BEGIN.match(_front(found)) is not None


def _ends_a_record(data: bytes) -> bool:
    """Whether the last record is whole: with the end of its line, or where there are no
    lines."""
    if data.endswith(b"\n"):
        return True
    return len(data) % _RECORD_BYTES == 0 and not (b"\n" in data or b"\r" in data)


def _front(found: Input) -> bytes:
    head = found.head
    return (isinstance(head, PartHead) and head.envelope) or found.data


def _check_lines(data: bytes) -> None:
    lines = max(data.count(b"\n"), data.count(b"\r"))
    if (lines - LINES_FREE_MAX) * LINE_BYTES_MEAN_MIN > len(data):
        raise LimitError(
            f"LINE_BYTES_MEAN_MIN: its {lines} lines have fewer than {LINE_BYTES_MEAN_MIN} bytes "
            "each, and ACH records have 94: nothing of it is used, ask the sender for it again"
        )


class AchBatch(InputBatch):
    """ACH inputs. Each of several begins with a file's header, which ends what was before.

    _of : int64[n]    the input of each entry    _carried : the same of each 835 in addenda
    """

    def __init__(self, batch: Sequence[Input]) -> None:
        super().__init__(batch, _BETWEEN)
        _check_lines(self._buffer)
        self._ach = ach = read_ach(self._buffer)
        self._stand_apart(ach.findings, ach.remittances.findings)
        places = ach.files.file_offset[ach.files.has_header]
        if len(batch) > 1 and not np.isin(self._starts, places).all():
            raise ParseError(FindingCode.ACH_FILE_HEADER_MISSING, 0, "inputs do not stand apart")
        self._of = self._input_of(ach.entries.offset)
        carrying = ach.payload_entries[ach.remittances.transactions.range]
        self._carried = self._of[carrying]
        self._bounds = self._bounds_of(self._of)
        self._carried_bounds = self._bounds_of(self._carried)

    def read(self, router: Router, profiles: EncodedProfiles) -> list[PartItems]:
        """The items of each."""
        payments = self._payments()
        right, checks = payment_rows(payments, self._names[self._of])
        right = with_verdicts(PAYMENT_ITEM, right, checks)
        columns, left = NO_REMITTANCES, NO_ROWS
        profile = np.zeros(0, np.int32)
        if len(self._carried):
            carried = self._remittances(profiles)
            columns, profile = carried.columns, carried.rows.profile
            left, checks = remittance_rows(carried, self._names[self._carried], profiles.keys)
            left = with_verdicts(REMITTANCE_ITEM, left, checks)
        told = router.route(columns, payments.columns)
        return self._split(left, right, told, payments.columns, profile, profiles)

    def _input_of(self, places: npt.NDArray[Any]) -> Ints64:
        """int64[n]: the input that each place in the buffer lies in."""
        return np.searchsorted(self._starts, places.astype(np.int64), "right") - 1

    def _payments(self) -> WindowPayments:
        """The entries, in the terms of the files."""
        ach = self._ach
        checks = closed_checks(ach.entries.valid, *batches_of(ach))
        self._settle(checks, self._bounds)
        columns = PaymentColumns.from_tables(ach)
        columns = replace(columns, id_offset=columns.id_offset + self._shift[self._of])
        return WindowPayments(
            columns, numbers_in_file(self._heads, "payments", self._bounds, self._of), checks
        )

    def _remittances(self, profiles: EncodedProfiles) -> WindowRemittances:
        """The 835s in addenda, in the terms of the files."""
        ach, tables = self._ach, self._ach.remittances
        transactions, shift = tables.transactions, self._shift[self._carried]
        columns = RemittanceColumns.from_ach(ach)
        ordinal = numbers_in_file(self._heads, "remittances", self._carried_bounds, self._carried)
        rows = RemittanceRows(
            ordinal=ordinal,
            start=ordinal.astype(np.int64),
            stop=ordinal.astype(np.int64) + 1,
            profile=profiles.rows_of(tables),
            checks=closed_checks(transactions.valid, *enclosing(tables)),
            claims=claims_of(tables),
            control=transactions.control_number,
        )
        carrier = ach.entries.offset[columns.payment_row].astype(np.int64) + shift
        columns = replace(columns, id_offset=columns.id_offset + shift)
        return WindowRemittances(tables, columns, rows, carrier)

    def _split(
        self,
        left: Block,
        right: Block,
        told: Tenants,
        payments: PaymentColumns,
        profile: Ints32,
        profiles: EncodedProfiles,
    ) -> list[PartItems]:
        """The rows by inputs."""
        tables = self._ach.remittances
        claims = sums_of(claims_of(tables).astype(np.int64), self._carried_bounds)
        cents = sums_of(tables.transactions.paid_cents, self._carried_bounds)
        is_credit = payments.kind == EntryKind.CREDIT
        credits = sums_of(np.where(is_credit, payments.amount_cents, np.int64(0)), self._bounds)
        blocks = blocks_of(left, self._carried_bounds), blocks_of(right, self._bounds)
        spans = [*pairwise(self._carried_bounds.tolist())], [*pairwise(self._bounds.tolist())]
        findings = self._findings()
        results: list[PartItems] = []
        for number, (found, head) in enumerate(zip(self._batch, self._heads, strict=True)):
            if number in self._reasons:
                results.append(PartItems(found.message, head, reason=self._reasons[number]))
                continue
            carried = slice(*spans[0][number])
            results.append(
                PartItems(
                    found.message,
                    head,
                    blocks[0][number],
                    blocks[1][number],
                    told.names,
                    told.remittances[carried],
                    told.payments[slice(*spans[1][number])],
                    profiles.of(profile[carried]),
                    claims[number],
                    cents[number],
                    credits[number],
                    *findings.get(number, NO_FINDINGS),
                    data=found.data,
                )
            )
        return results

    def _findings(self) -> dict[int, tuple[Counter[int], bytes]]:
        """Counts and lines of inputs that have findings, as `X12Batch._findings`."""
        ach, inner = self._ach, self._ach.remittances.findings
        findings, inner_of = ach.findings, self._of[ach.payload_entries[inner.range]]
        # What is said of an entry may point behind one that is cut short.
        of = self._input_of(findings.file_offset)
        of = np.where(findings.entry >= 0, np.append(self._of, 0)[findings.entry], of)
        is_own = findings.file_offset >= (self._starts + self._envelopes)[of]
        kept = ~self._is_cut[of] | (~is_context(findings.code) & is_own)
        findings, of = findings.take(kept), of[kept]
        if not len(of) + len(inner_of):
            return {}
        records = self._records()
        findings = with_columns(
            findings,
            file_offset=findings.file_offset + self._shift[of],
            record_number=_moved(findings.record_number, records[of]),
        )
        addenda = self._input_of(ach.addenda.offset)
        numbers = _moved(ach.addenda.record_number, records[addenda])
        ach.addenda = with_columns(ach.addenda, record_number=numbers)
        found: dict[int, tuple[Counter[int], bytes]] = {}
        for number in np.unique(np.concatenate([of, inner_of])).tolist():
            lines, counts, name = io.BytesIO(), Counter[int](), self._heads[number].name
            ach.window_offset = int(self._shift[number])
            ach.findings = findings.take(of == number)
            ach.remittances.findings = inner.take(inner_of == number)
            payload_findings(lines, counts, name, ach)
            ach_findings(lines, counts, name, ach)
            found[number] = counts, first_lines(lines.getvalue())
        return found

    def _records(self) -> Ints64:
        """int64[k]: from numbers of records in the buffer to those in the files."""
        files = self._ach.files
        counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(files.record_count)])
        before = counts[np.searchsorted(files.file_offset, self._starts)]
        own = np.array([head.records - head.envelope.count(b"\n") for head in self._heads])
        moves: Ints64 = np.where(self._is_cut, own, 0) - before
        return moves


def _moved(numbers: npt.NDArray[Any], by: Ints64) -> npt.NDArray[Any]:
    """Numbers of records, moved; 0 stands for none."""
    return np.where(numbers > 0, numbers + by, 0).astype(numbers.dtype)
