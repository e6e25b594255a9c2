"""835s of many messages, scanned once."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reassoc.core.errors import FindingCode, ParseError
from reassoc.core.pool import RemittanceColumns
from reassoc.core.x12_835 import Remittances, read_835, read_835_ranges
from reassoc.stream.findings import first_lines, x12_findings
from reassoc.stream.input_batch import (
    EncodedProfiles,
    InputBatch,
    Ints32,
    blocks_of,
    claims_of,
    numbers_in_file,
    sums_of,
    with_columns,
)
from reassoc.stream.intake import RemittanceRows, WindowRemittances, reason_of
from reassoc.stream.item_rows import remittance_rows, with_verdicts
from reassoc.stream.items import REMITTANCE_ITEM
from reassoc.stream.message_inputs import Input
from reassoc.stream.part_items import NO_FINDINGS, NO_NUMBERS, NO_PAYMENTS, NO_ROWS, PartItems
from reassoc.stream.records import Block
from reassoc.stream.routing import Router, Tenants
from reassoc.stream.verdicts import ALL_VALID, Checks, closed_checks, enclosing


class X12Batch(InputBatch):
    """835 inputs.

    _bounds : int64[k + 1]    rows of the transactions of each
    """

    def __init__(self, batch: Sequence[Input]) -> None:
        super().__init__(batch, b"")
        self._tables = read_835_ranges(self._buffer, self._starts, self._stops)
        self._stand_apart(self._tables.findings)
        self._bounds = self._bounds_of(self._tables.transactions.range)
        self._find_headless()

    def read(self, router: Router, profiles: EncodedProfiles) -> list[PartItems]:
        """The items of each."""
        tables = self._tables
        checks = closed_checks(tables.transactions.valid, *enclosing(tables))
        self._settle(checks, self._bounds)
        columns, rows = self._rows(checks, profiles.rows_of(tables))
        window = WindowRemittances(tables, columns, rows, np.full(len(rows), -1, np.int64))
        block, final = remittance_rows(
            window, self._names[tables.transactions.range], profiles.keys
        )
        if final is not rows.checks:
            block = with_verdicts(REMITTANCE_ITEM, block, final)
        return self._split(block, router.route(columns, NO_PAYMENTS), rows, profiles)

    def _find_headless(self) -> None:
        """Why inputs are none at all: those in which no header was found."""
        places = self._tables.interchanges.file_offset
        found = np.searchsorted(self._starts, places, "right") - 1
        for number in np.setdiff1d(np.arange(len(self._batch)), found).tolist():
            try:
                read_835(self._batch[number].data)
            except ParseError as error:
                self._reasons[number] = reason_of(error)

    def _rows(self, checks: Checks, profile: Ints32) -> tuple[RemittanceColumns, RemittanceRows]:
        """Columns and rows in the terms of the files."""
        transactions = self._tables.transactions
        part = transactions.range
        start = transactions.offset.astype(np.int64) + self._shift[part]
        columns = replace(
            RemittanceColumns.from_tables(self._tables), id_offset=start, valid=checks == ALL_VALID
        )
        rows = RemittanceRows(
            ordinal=numbers_in_file(self._heads, "remittances", self._bounds, part),
            start=start,
            stop=transactions.end.astype(np.int64) + self._shift[part],
            profile=profile,
            checks=checks,
            claims=claims_of(self._tables),
            control=transactions.control_number,
        )
        return columns, rows

    def _split(
        self, block: Block, told: Tenants, rows: RemittanceRows, profiles: EncodedProfiles
    ) -> list[PartItems]:
        """The rows by inputs. PERF: a few microseconds for each input."""
        bounds = self._bounds.tolist()
        blocks = blocks_of(block, self._bounds)
        claims = sums_of(rows.claims.astype(np.int64), self._bounds)
        cents = sums_of(self._tables.transactions.paid_cents, self._bounds)
        findings = self._findings()
        results: list[PartItems] = []
        names, tenants = told.names, told.remittances
        for number, (found, head) in enumerate(zip(self._batch, self._heads, strict=True)):
            if number in self._reasons:
                results.append(PartItems(found.message, head, reason=self._reasons[number]))
                continue
            first, last = bounds[number], bounds[number + 1]
            counts, lines = findings.get(number, NO_FINDINGS)
            results.append(
                PartItems(
                    found.message,
                    head,
                    blocks[number],
                    NO_ROWS,
                    names,
                    tenants[first:last],
                    NO_NUMBERS,
                    profiles.of(rows.profile[first:last]),
                    claims[number],
                    cents[number],
                    0,
                    counts,
                    lines,
                    data=found.data,
                )
            )
        return results

    def _findings(self) -> dict[int, tuple[Counter[int], bytes]]:
        """Counts and lines of inputs that have findings. Of a part of a file those that it can
        tell: what lies in its own bytes, in an 835.
        """
        findings = self._tables.findings
        if not len(findings):
            return {}
        is_more = findings.code == FindingCode.X12_FINDINGS_MORE
        is_own = ~self._is_cut[findings.range] | (findings.transaction >= 0)
        findings = findings.take(is_own | is_more)
        offsets = findings.file_offset + self._shift[findings.range]
        found: dict[int, tuple[Counter[int], bytes]] = {}
        for number in np.unique(findings.range).tolist():
            lines, only, counts = io.BytesIO(), Remittances(b"", 0, {}, b""), Counter[int]()
            its = findings.range == number
            only.findings = with_columns(findings.take(its), file_offset=offsets[its])
            x12_findings(lines, counts, self._heads[number].name, only)
            found[number] = counts, first_lines(lines.getvalue())
        return found
