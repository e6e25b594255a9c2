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
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from reassoc.core import bank_lines, lockbox
from reassoc.core.ach import AchFiles, iter_ach
from reassoc.core.bai2 import BAI2_BYTES_MAX, read_bai2
from reassoc.core.columns import TextColumn
from reassoc.core.errors import LimitError, ParseError, ReassocError
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
from reassoc.stream.verdicts import (
    ALL_VALID,
    Checks,
    Profiles,
    Verdicts,
    batches_of,
    closed_checks,
    enclosing,
)

FINDINGS_MEMORY_BYTES = 4 << 20
"""Findings of one input that are kept in memory; more go to a file of the run's private folder."""

_READ = (Kind.X12, Kind.ACH, Kind.BAI2)
"""Kinds that are told without a layout and read here."""
PASSED_OVER = (Kind.OWN_TABLE, Kind.SETTINGS)
"""Kinds of files that are no inputs, though they may lie among them."""

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
    checks: Checks
    claims: Ints32
    control: TextColumn

    def __len__(self) -> int:
        return len(self.ordinal)


@dataclass(frozen=True, slots=True)
class WindowRemittances:
    """835s of one window, n rows; their texts lie in its memory.

    tables : what was scanned
    columns : payment_row counts in the payments of the same window
    rows : checks are what is sure in this window, see verdicts.Verdicts
    carrier_offset : int64[n]    byte of the entry that carries each in the input, -1 for none
    """

    tables: Remittances
    columns: RemittanceColumns
    rows: RemittanceRows
    carrier_offset: Ints64


@dataclass(frozen=True, slots=True)
class WindowPayments:
    """Payments of one window, m rows: columns, number in the file, and checks as of remittances."""

    columns: PaymentColumns
    ordinal: Ints32
    checks: Checks


class Keeper(Protocol):
    """Who keeps the items of an input while it is read."""

    def keep(self, remittances: WindowRemittances | None, payments: WindowPayments | None) -> None:
        """Take the items of the next window."""
        ...


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
    payment_checks: list[Checks] = field(default_factory=list)
    payment_count: int = 0
    profiles: list[Profile] = field(default_factory=list)
    findings: IO[bytes] | None = None
    finding_counts: Counter[int] = field(default_factory=Counter)
    claim_count: int = 0
    service_count: int = 0
    other_transaction_count: int = 0

    def keep(self, remittances: WindowRemittances | None, payments: WindowPayments | None) -> None:
        """Keep a window's items in memory, free of the window's own."""
        if remittances is not None:
            columns, rows = remittances.columns, remittances.rows
            row = columns.payment_row
            if self.payment_count and len(row):
                row = np.where(row >= 0, row + self.payment_count, -1).astype(np.int32)
            self.remittances.append(replace(columns, payment_row=row).compact())
            rows.control = rows.control.compact()
            self.remittance_rows.append(rows)
        if payments is not None:
            self.payments.append(payments.columns.compact())
            self.payment_ordinals.append(payments.ordinal)
            self.payment_checks.append(payments.checks)
            self.payment_count += len(payments.columns)

    def settle(self, late: Late) -> None:
        """Make the checks of all rows final, once the input has ended."""
        for window, rows in enumerate(self.remittance_rows):
            rows.checks = late.remittances(window, rows.checks)
        self.payment_checks = [
            late.payments(window, checks) for window, checks in enumerate(self.payment_checks)
        ]

    def let_go(self) -> None:
        """Forget the columns; who asks has taken them."""
        self.remittances, self.remittance_rows = [], []
        self.payments, self.payment_ordinals, self.payment_checks = [], [], []

    @property
    def is_passed_over(self) -> bool:
        """Not an input at all, though it was found: nothing is missing without it."""
        return self.kind in PASSED_OVER


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
    except (SourceError, LimitError, ParseError) as error:
        return Items(source, Kind.UNKNOWN, reason=reason_of(error))
    except OSError as error:
        return Items(
            source, Kind.UNKNOWN, reason=f"reading failed: {error.strerror or 'input error'}"
        )
    except Exception:
        # A fault of ours must not take the other inputs with it, and its text may hold a value of
        # the file.
        return Items(source, Kind.UNKNOWN, reason=internal_error())


def reason_of(error: ReassocError) -> str:
    """Why an input gave nothing, for people."""
    if isinstance(error, ParseError):
        return f"cannot be read as what it seems to be: {error}"
    return str(error)


def internal_error() -> str:
    """The reason where the exception being handled is a fault of ours."""
    return f"internal error, please report it: {where_it_failed()}"


@contextmanager
def our_faults() -> Iterator[None]:
    """Raise SourceError for what is a fault of ours: it must not take the other inputs with it, and
    its text may hold a value of the file.
    """
    try:
        yield
    except (ReassocError, OSError, MemoryError):
        raise
    except Exception:
        raise SourceError(internal_error()) from None


def where_it_failed() -> str:
    """Type and place of the exception being handled: never its text, which may hold a value of a
    file.
    """
    return place_of(sys.exc_info()[1])


def place_of(error: BaseException | None) -> str:
    """As `where_it_failed`, of any exception."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
    return f"{type(error).__name__} at {place}"


def recognise(
    source: Source, content: Content, layouts: Sequence[LockboxLayout]
) -> tuple[Items, LockboxLayout | None]:
    """The items of an input before it is read: its kind, a reason where it is none that is read
    here, and its layout where it is a lockbox list.
    """
    kind, reason, layout = told_by(source.name, content.head, layouts)
    return Items(source, kind, reason), layout


def told_by(
    name: str, head: bytes, layouts: Sequence[LockboxLayout]
) -> tuple[Kind, str, LockboxLayout | None]:
    """What an input's name and first bytes tell: kind, reason and layout, as `recognise`."""
    kind = kind_of(head)
    if kind in _READ and not layouts:
        return kind, "", None
    if kind in PASSED_OVER:
        return kind, kind.value, None
    layout = layout_of(layouts, name, head) if layouts else None
    if layout is not None and kind is not Kind.EMPTY:
        return Kind.LOCKBOX, "", layout
    return kind, "" if kind in _READ else ADVICE[kind], layout


def _read(
    source: Source,
    content: Content,
    scratch: Path,
    progress: Progress | None,
    layouts: Sequence[LockboxLayout],
) -> Items:
    items, layout = recognise(source, content, layouts)
    if items.reason:
        return items
    findings = findings_file(scratch)
    try:
        items.findings = findings
        items.settle(read_windows(items, content, items, layout, progress))
    except BaseException:
        findings.close()
        raise
    return items


def findings_file(scratch: Path) -> IO[bytes]:
    """A place for findings: memory, and beyond FINDINGS_MEMORY_BYTES a nameless file."""
    return tempfile.SpooledTemporaryFile(FINDINGS_MEMORY_BYTES, dir=str(scratch))


class Late:
    """What only an input's end could tell: the checks of its windows' rows, made final."""

    def __init__(self, remittances: Verdicts | None, payments: Verdicts | None) -> None:
        self._remittances, self._payments = remittances, payments

    def remittances(self, window: int, checks: Checks) -> Checks:
        """uint8[n]: final checks of the 835s of a window, counted from 0 among those kept."""
        return self._remittances.settle(window, checks) if self._remittances else checks

    def payments(self, window: int, checks: Checks) -> Checks:
        """uint8[m]: the same of its payments."""
        return self._payments.settle(window, checks) if self._payments else checks


class _Reader(Protocol):
    """Reads the windows of an input: gives their items to a keeper and tells `items` the rest."""

    late: Late

    def windows(self, content: Content, keeper: Keeper) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        ...


def _reader_of(items: Items, layout: LockboxLayout | None) -> _Reader:
    if items.kind is Kind.LOCKBOX:
        assert layout is not None
        return _LockboxReader(items, layout)
    if items.kind is Kind.BAI2:
        return _BankReader(items)
    return _X12Reader(items) if items.kind is Kind.X12 else _AchReader(items)


def read_windows(
    items: Items,
    content: Content,
    keeper: Keeper,
    layout: LockboxLayout | None,
    progress: Progress | None,
) -> Late:
    """Read an input that was recognised to its end. What it holds goes to `keeper`; `items` gets
    digest, counts, profiles, and findings into its file.

    Memory: one window; raises as iter_835 and its kin do, and SourceError.
    """
    reader = _reader_of(items, layout)
    seen = 0
    for window_end in reader.windows(content, keeper):
        content.hash_to(window_end)
        if progress is not None and content.data is not None:
            progress(window_end - seen)
        seen = window_end
    items.digest, items.byte_count = content.finish()
    if progress is not None and content.data is not None:
        progress(items.byte_count - seen)
    return reader.late


class _X12Reader:
    """Windows of an X12 input into items."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._profiles = Profiles(items.profiles)
        self._verdicts = Verdicts()
        self.late = Late(self._verdicts, None)

    def windows(self, content: Content, keeper: Keeper) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        items = self._items
        for window in iter_835(content.input):
            transactions = window.transactions
            base = window.window_offset
            rows = _rows_of(
                window,
                self._profiles,
                self._verdicts.see(transactions.valid, *enclosing(window)),
                start=transactions.offset.astype(np.int64) + base,
                stop=transactions.end.astype(np.int64) + base,
                ordinal=transactions.ordinal.astype(np.int32),
            )
            carrier_offset = np.full(len(rows), -1, np.int64)
            columns = RemittanceColumns.from_tables(window)
            keeper.keep(WindowRemittances(window, columns, rows, carrier_offset), None)
            _count(items, window)
            assert items.findings is not None
            x12_findings(items.findings, items.finding_counts, items.source.name, window)
            yield base + len(window.source)


class _AchReader:
    """Windows of an ACH input into items: entries are payments, the 835s in their addenda
    remittances.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._profiles = Profiles(items.profiles)
        self._verdicts = Verdicts()
        self._remittance_count = 0
        self.late = Late(None, self._verdicts)

    def windows(self, content: Content, keeper: Keeper) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        items = self._items
        for window in iter_ach(content.input):
            entries = window.entries
            payments = WindowPayments(
                PaymentColumns.from_tables(window),
                entries.ordinal.astype(np.int32),
                self._verdicts.see(entries.valid, *batches_of(window)),
            )
            keeper.keep(self._payloads(window), payments)
            assert items.findings is not None
            payload_findings(items.findings, items.finding_counts, items.source.name, window)
            ach_findings(items.findings, items.finding_counts, items.source.name, window)
            yield window.window_offset + len(window.source)

    def _payloads(self, window: AchFiles) -> WindowRemittances | None:
        remittances = window.remittances
        _count(self._items, remittances)
        transactions = remittances.transactions
        count = len(transactions)
        if not count:
            return None
        ordinal = np.arange(self._remittance_count, self._remittance_count + count, dtype=np.int32)
        self._remittance_count += count
        columns = RemittanceColumns.from_ach(window)
        rows = _rows_of(
            remittances,
            self._profiles,
            # A payload lies whole in its window, so its envelopes end there too.
            closed_checks(transactions.valid, *enclosing(remittances)),
            start=ordinal.astype(np.int64),
            stop=ordinal.astype(np.int64) + 1,
            ordinal=ordinal,
        )
        carrier = window.entries.offset[columns.payment_row].astype(np.int64)
        return WindowRemittances(remittances, columns, rows, carrier + window.window_offset)


class _BankReader:
    """A bank's report into items: each detail is a payment."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.late = Late(None, None)

    def windows(self, content: Content, keeper: Keeper) -> Iterator[int]:
        """Read the report, in one window."""
        items, data = self._items, read_whole(content, BAI2_BYTES_MAX, "BAI2_BYTES_MAX")
        reports = read_bai2(data)
        memos = bank_lines.read_memos(reports)
        keeper.keep(None, _listed(bank_lines.payments(reports, memos=memos)))
        assert items.findings is not None
        uncertain = bank_lines.uncertain_rows(memos)
        bai2_findings(items.findings, items.finding_counts, items.source.name, reports, uncertain)
        yield len(data)


class _LockboxReader:
    """A lockbox list into items: each detail row is a payment."""

    def __init__(self, items: Items, layout: LockboxLayout) -> None:
        self._items = items
        self._layout = layout
        self.late = Late(None, None)

    def windows(self, content: Content, keeper: Keeper) -> Iterator[int]:
        """Read the list, in one window."""
        items, data = self._items, read_whole(content, LOCKBOX_BYTES_MAX, "LOCKBOX_BYTES_MAX")
        listed = read_lockbox(data, self._layout)
        keeper.keep(None, _listed(lockbox.payments(listed)))
        assert items.findings is not None
        lockbox_findings(items.findings, items.finding_counts, items.source.name, listed)
        yield len(data)


def _listed(columns: PaymentColumns) -> WindowPayments:
    """Payments of a report that was read whole: nothing of it is left open."""
    checks = np.where(columns.valid, np.uint8(ALL_VALID), np.uint8(0))
    return WindowPayments(columns, np.arange(len(columns), dtype=np.int32), checks)


def _rows_of(
    window: Remittances,
    profiles: Profiles,
    checks: Checks,
    *,
    start: Ints64,
    stop: Ints64,
    ordinal: Ints32,
) -> RemittanceRows:
    transactions = window.transactions
    claims = transactions.claim_stop.astype(np.int64) - transactions.claim_start
    return RemittanceRows(
        ordinal=ordinal,
        start=start,
        stop=stop,
        profile=profiles.rows_of(window),
        checks=checks,
        claims=claims.astype(np.int32),
        control=transactions.control_number,
    )


def _count(items: Items, window: Remittances) -> None:
    items.claim_count += len(window.claims)
    items.service_count += len(window.services)
    items.other_transaction_count += len(window.skipped)
