"""One input into items: its remittances and payments as columns, its findings as lines of a table.

Nothing of an input but these outlives the reading of it. Runs in any number of threads, in any
order.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from reassoc.core import bank_lines, lockbox
from reassoc.core.ach import AchFiles, iter_ach
from reassoc.core.bai2 import BAI2_BYTES_MAX, read_bai2
from reassoc.core.columns import TextColumn
from reassoc.core.errors import LimitError, ParseError
from reassoc.core.lockbox import LOCKBOX_BYTES_MAX, LockboxLayout, read_lockbox
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.x12_835 import Remittances, iter_835
from reassoc.stream.contents import Content, Progress, open_content, read_whole
from reassoc.stream.envelope import Profile
from reassoc.stream.findings import (
    ach_findings,
    bai2_findings,
    lockbox_findings,
    payload_findings,
    x12_findings,
)
from reassoc.stream.kinds import ADVICE, Kind, kind_of
from reassoc.stream.layouts import layout_of
from reassoc.stream.sources import Source, SourceError
from reassoc.stream.verdicts import OWN_VALID, BatchVerdicts, Envelopes

FINDINGS_MEMORY_BYTES = 4 << 20
"""Findings of one input that are kept in memory; more go to a file of the run's private folder."""

Ints32 = npt.NDArray[np.int32]
Ints64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class RemittanceRows:
    """What the job knows of remittances beside the matcher's columns; n rows.

    ordinal : int32      0-based number of the 835 in its file
    start, stop : int64  ST..SE in the file; for an 835 in a CTX its ordinal, and one more
    profile : int32      row of the file's `profiles`
    checks : uint8       bits of verdicts: OWN_VALID, GROUP_VALID, INTERCHANGE_VALID
    claims : int32       claims in it
    control              ST02
    """

    ordinal: Ints32
    start: Ints64
    stop: Ints64
    profile: Ints32
    checks: npt.NDArray[np.uint8]
    claims: Ints32
    control: TextColumn

    def __len__(self) -> int:
        return len(self.ordinal)


@dataclass(slots=True)
class Items:
    """What one input gave. `reason` says why it gave nothing, where it could not be read or was
    passed over.
    """

    source: Source
    kind: Kind
    reason: str = ""
    digest: bytes = b""
    byte_count: int = 0
    remittances: list[RemittanceColumns] = field(default_factory=list)
    remittance_rows: list[RemittanceRows] = field(default_factory=list)
    payments: list[PaymentColumns] = field(default_factory=list)
    payment_ordinals: list[Ints32] = field(default_factory=list)
    payment_valid: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    findings: IO[bytes] | None = None
    finding_counts: Counter[int] = field(default_factory=Counter)
    claim_count: int = 0
    service_count: int = 0
    other_transaction_count: int = 0

    def let_go(self) -> None:
        """Forget the columns; who asks has taken them."""
        self.remittances, self.remittance_rows = [], []
        self.payments, self.payment_ordinals, self.payment_valid = [], [], []

    @property
    def is_passed_over(self) -> bool:
        """Not an input at all, though it was found: nothing is missing without it."""
        return self.kind in (Kind.OWN_TABLE, Kind.SETTINGS)


def read_source(
    source: Source,
    scratch: Path,
    progress: Progress | None = None,
    layouts: Sequence[LockboxLayout] = (),
) -> Items:
    """Read one input whole: kind, digest, items, findings. Memory: one window, and 300 bytes per
    item; bank reports and lockbox lists, which are small, are read whole.

    layouts : of lockbox lists; an input that one of them recognises is such a list

    Never raises for what is in the file: an input that cannot be read comes back with a reason,
    which holds no value of the file. Findings beyond FINDINGS_MEMORY_BYTES go to a nameless file in
    `scratch`.
    """
    try:
        with open_content(source, progress) as content:
            return _read(source, content, scratch, progress, layouts)
    except (SourceError, LimitError) as error:
        return Items(source, Kind.UNKNOWN, reason=str(error))
    except ParseError as error:
        return Items(source, Kind.UNKNOWN, reason=f"cannot be read as what it seems to be: {error}")
    except OSError as error:
        return Items(
            source, Kind.UNKNOWN, reason=f"reading failed: {error.strerror or 'input error'}"
        )
    except Exception:
        # A fault of ours must not take the other inputs with it, and its text may hold a value of
        # the file.
        return Items(
            source, Kind.UNKNOWN, reason=f"internal error, please report it: {where_it_failed()}"
        )


def where_it_failed() -> str:
    """Type and place of the exception being handled: never its text, which may hold a value of a
    file.
    """
    error = sys.exc_info()[1]
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
    return f"{type(error).__name__} at {place}"


def _read(
    source: Source,
    content: Content,
    scratch: Path,
    progress: Progress | None,
    layouts: Sequence[LockboxLayout],
) -> Items:
    kind = kind_of(content.head)
    items = Items(source, kind)
    if items.is_passed_over:
        items.reason = kind.value
        return items
    layout = layout_of(layouts, source.name, content.head)
    if layout is not None and kind is not Kind.EMPTY:
        items.kind = Kind.LOCKBOX
    elif kind not in (Kind.X12, Kind.ACH, Kind.BAI2):
        items.reason = ADVICE[kind]
        return items
    findings = tempfile.SpooledTemporaryFile(  # noqa: SIM115
        FINDINGS_MEMORY_BYTES, dir=str(scratch)
    )
    try:
        items.findings = findings
        _read_windows(items, content, progress, layout)
    except BaseException:
        findings.close()
        raise
    return items


class _Reader(Protocol):
    """Reads an input into items."""

    def windows(self, content: Content) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        ...

    def finish(self) -> None:
        """Settle what only the input's end could tell."""


def _reader_of(items: Items, layout: LockboxLayout | None) -> _Reader:
    if items.kind is Kind.LOCKBOX:
        assert layout is not None
        return _LockboxReader(items, layout)
    if items.kind is Kind.BAI2:
        return _BankReader(items)
    return _X12Reader(items) if items.kind is Kind.X12 else _AchReader(items)


def _read_windows(
    items: Items, content: Content, progress: Progress | None, layout: LockboxLayout | None
) -> None:
    """Read an input of a known kind to its end."""
    reader = _reader_of(items, layout)
    seen = 0
    for window_end in reader.windows(content):
        content.hash_to(window_end)
        if progress is not None and content.data is not None:
            progress(window_end - seen)
        seen = window_end
    items.digest, items.byte_count = content.finish()
    if progress is not None and content.data is not None:
        progress(items.byte_count - seen)
    reader.finish()


class _X12Reader:
    """Windows of an X12 input into items."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._envelopes = Envelopes(items.profiles)

    def windows(self, content: Content) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        items = self._items
        for window in iter_835(content.input):
            transactions = window.transactions
            base = window.window_offset
            _keep(
                items,
                window,
                RemittanceColumns.from_tables(window),
                self._envelopes,
                start=transactions.offset.astype(np.int64) + base,
                stop=transactions.end.astype(np.int64) + base,
                ordinal=transactions.ordinal.astype(np.int32),
            )
            _count(items, window)
            assert items.findings is not None
            x12_findings(items.findings, items.finding_counts, items.source.name, window)
            yield base + len(window.source)

    def finish(self) -> None:
        _set_verdicts(self._items, self._envelopes)


class _AchReader:
    """Windows of an ACH input into items: entries are payments, the 835s in their addenda
    remittances.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._payload_verdicts: list[npt.NDArray[np.uint8]] = []
        self._verdicts = BatchVerdicts()
        self._payment_count = 0
        self._remittance_count = 0

    def windows(self, content: Content) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        items = self._items
        for window in iter_ach(content.input):
            items.payments.append(PaymentColumns.from_tables(window).compact())
            items.payment_ordinals.append(window.entries.ordinal.astype(np.int32))
            self._verdicts.see(window)
            self._keep_payloads(window)
            assert items.findings is not None
            ach_findings(items.findings, items.finding_counts, items.source.name, window)
            self._payment_count += len(window.entries)
            yield window.window_offset + len(window.source)

    def _keep_payloads(self, window: AchFiles) -> None:
        remittances = window.remittances
        count = len(remittances.transactions)
        ordinal = np.arange(self._remittance_count, self._remittance_count + count, dtype=np.int32)
        # A payload lies whole in its window, so its envelopes end there too: their numbers need not
        # be file-wide.
        envelopes = Envelopes(self._items.profiles, ends_in_window=True)
        _keep(
            self._items,
            remittances,
            RemittanceColumns.from_ach(window, payment_base=self._payment_count),
            envelopes,
            start=ordinal.astype(np.int64),
            stop=ordinal.astype(np.int64) + 1,
            ordinal=ordinal,
        )
        self._payload_verdicts += list(envelopes.verdicts())
        self._remittance_count += count
        _count(self._items, remittances)
        assert self._items.findings is not None
        payload_findings(
            self._items.findings, self._items.finding_counts, self._items.source.name, window
        )

    def finish(self) -> None:
        for rows, verdicts in zip(self._items.remittance_rows, self._payload_verdicts, strict=True):
            rows.checks |= verdicts
        self._items.payment_valid += self._verdicts.valid()


class _BankReader:
    """A bank's report into items: each detail is a payment."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def windows(self, content: Content) -> Iterator[int]:
        """Read the report, in one window."""
        items, data = self._items, read_whole(content, BAI2_BYTES_MAX, "BAI2_BYTES_MAX")
        reports = read_bai2(data)
        memos = bank_lines.read_memos(reports)
        _keep_payments(items, bank_lines.payments(reports, memos=memos))
        assert items.findings is not None
        uncertain = bank_lines.uncertain_rows(memos)
        bai2_findings(items.findings, items.finding_counts, items.source.name, reports, uncertain)
        yield len(data)

    def finish(self) -> None:
        """Nothing is left open: the report was read whole."""


class _LockboxReader:
    """A lockbox list into items: each detail row is a payment."""

    def __init__(self, items: Items, layout: LockboxLayout) -> None:
        self._items = items
        self._layout = layout

    def windows(self, content: Content) -> Iterator[int]:
        """Read the list, in one window."""
        items, data = self._items, read_whole(content, LOCKBOX_BYTES_MAX, "LOCKBOX_BYTES_MAX")
        listed = read_lockbox(data, self._layout)
        _keep_payments(items, lockbox.payments(listed))
        assert items.findings is not None
        lockbox_findings(items.findings, items.finding_counts, items.source.name, listed)
        yield len(data)

    def finish(self) -> None:
        """Nothing is left open: the list was read whole."""


def _keep_payments(items: Items, columns: PaymentColumns) -> None:
    columns = columns.compact()
    items.payments.append(columns)
    items.payment_ordinals.append(np.arange(len(columns), dtype=np.int32))
    items.payment_valid.append(columns.valid)


def _keep(
    items: Items,
    window: Remittances,
    columns: RemittanceColumns,
    envelopes: Envelopes,
    *,
    start: Ints64,
    stop: Ints64,
    ordinal: Ints32,
) -> None:
    """Keep a window's remittances, free of the window's own memory."""
    transactions = window.transactions
    items.remittances.append(columns.compact())
    checks = np.where(transactions.valid, OWN_VALID, 0)
    items.remittance_rows.append(
        RemittanceRows(
            ordinal=ordinal,
            start=start,
            stop=stop,
            profile=envelopes.see(window),
            checks=checks.astype(np.uint8),
            claims=(transactions.claim_stop.astype(np.int64) - transactions.claim_start).astype(
                np.int32
            ),
            control=transactions.control_number.compact(),
        )
    )


def _set_verdicts(items: Items, envelopes: Envelopes) -> None:
    for rows, verdicts in zip(items.remittance_rows, envelopes.verdicts(), strict=True):
        rows.checks |= verdicts


def _count(items: Items, window: Remittances) -> None:
    items.claim_count += len(window.claims)
    items.service_count += len(window.services)
    items.other_transaction_count += len(window.skipped)
