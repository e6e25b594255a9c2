"""Raw messages into items: what `take_in.read_in` finds in a file, found in its parts.

Nothing here knows where messages come from or what becomes of their items. Small 835 inputs are
read many at a time: their bytes are put one behind the other, scanned once, and their rows packed
once, so that a message costs microseconds. Items of all parts of a file are those of the file, and
the findings of its parts and its manifest are its findings.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.ach import AchFiles, EntryKind, read_ach
from reassoc.core.columns import Table
from reassoc.core.errors import LimitError, ParseError, ReassocError
from reassoc.core.lockbox import LockboxLayout
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.x12_835 import Remittances, read_835, read_835_ranges
from reassoc.stream.chunks import is_context
from reassoc.stream.contents import Content
from reassoc.stream.envelope import Profile
from reassoc.stream.findings import ach_findings, payload_findings, x12_findings
from reassoc.stream.intake import (
    Items,
    RemittanceRows,
    WindowPayments,
    WindowRemittances,
    findings_file,
    internal_error,
    keep_inside,
    read_windows,
    reason_of,
)
from reassoc.stream.item_rows import payment_rows, remittance_rows, with_verdicts
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.kinds import Kind
from reassoc.stream.message import KEY_BYTES, HeadError, Manifest, PartHead, RawMessage, checks_of
from reassoc.stream.message_inputs import Input, inputs_of
from reassoc.stream.profiles import ProfileError, encode_profile, profile_key
from reassoc.stream.records import Block
from reassoc.stream.routing import Numbers, Route, RouteBuilder, Router, Tenants
from reassoc.stream.sources import Source, SourceError
from reassoc.stream.take_in import PROFILES_MAX
from reassoc.stream.verdicts import (
    ALL_VALID,
    OWN_VALID,
    Checks,
    Profiles,
    batches_of,
    closed_checks,
    enclosing,
)

BATCH_BYTES_MAX = 4 << 20
"""Bytes that are scanned together, and at least one message."""
BATCH_INPUTS_MAX = 4096
"""Messages that are scanned together."""

Ints32 = npt.NDArray[np.int32]
Ints64 = npt.NDArray[np.int64]

_NO_ROWS = Block(b"", np.zeros(0, np.int64))
_NO_NUMBERS: Numbers = np.zeros(0, np.uint32)
_NO_REMITTANCES, _NO_PAYMENTS = RemittanceColumns.empty(), PaymentColumns.empty()
_NO_COUNTS: Mapping[int, int] = {}
_NO_FINDINGS = _NO_COUNTS, b""
_NO_PROFILES: Mapping[int, bytes] = {}


class PartItems(msgspec.Struct, frozen=True):
    """What one message gave, or one member of an archive in it.

    message : row of the message
    head : what it says of itself, or what was found out; of a manifest that, and no items
    remittances, payments : rows of REMITTANCE_ITEM and PAYMENT_ITEM, verdicts final
    tenants : among them some that nothing goes to; the numbers, uint32[rows], are rows of it
    profiles : encoded, by the keys that the remittances name
    remittance_cents : sum of BPR02    payment_cents : sum of the credits among the payments
    finding_counts, findings : by code, and as lines of findings.csv; of a manifest its own
    reason : why nothing was taken; holds no value of the message
    data : its bytes in the file
    """

    message: int
    head: PartHead | Manifest
    remittances: Block = _NO_ROWS
    payments: Block = _NO_ROWS
    tenants: tuple[str, ...] = ()
    remittance_tenants: Numbers = msgspec.field(default_factory=lambda: _NO_NUMBERS)
    payment_tenants: Numbers = msgspec.field(default_factory=lambda: _NO_NUMBERS)
    profiles: Mapping[int, bytes] = msgspec.field(default_factory=lambda: _NO_PROFILES)
    claim_count: int = 0
    remittance_cents: int = 0
    payment_cents: int = 0
    finding_counts: Mapping[int, int] = msgspec.field(default_factory=lambda: _NO_COUNTS)
    findings: bytes = b""
    reason: str = ""
    data: bytes = b""

    def __repr__(self) -> str:
        # Never what is in it: a log or a traceback must not show people's data.
        counts = f"{len(self.remittances)} remittances, {len(self.payments)} payments"
        return f"<PartItems of message {self.message}: {counts}>"

    def route(self) -> Route:
        """Where its items go, as routes are remembered. O(items)."""
        builder = RouteBuilder()
        builder.add(Tenants(self.tenants, self.remittance_tenants, self.payment_tenants))
        return builder.route()


def read_part(
    message: RawMessage,
    *,
    router: Router,
    layouts: Sequence[LockboxLayout] = (),
    scratch: Path,
) -> list[PartItems]:
    """`read_parts` of one message: one result, but for an archive."""
    return read_parts([message], router=router, layouts=layouts, scratch=scratch)


def read_parts(
    messages: Sequence[RawMessage],
    *,
    router: Router,
    layouts: Sequence[LockboxLayout] = (),
    scratch: Path,
) -> list[PartItems]:
    """Read messages; results in their order, at least one for each.

    A part whose head has a reference is given with the bytes that it refers to as its value.
    layouts : of lockbox lists    scratch : a folder for findings beyond 4 MiB of one list or report

    Never raises for what is in a message: `reason` says why it gave nothing. Raises OSError where
    the scratch folder fails, MemoryError. For any number of threads. O(bytes); memory about four
    times the bytes, and at least four times BATCH_BYTES_MAX.
    """
    results: list[PartItems] = []
    batch: list[Input] = []
    batch_bytes, profiles = 0, _Encoded()
    for found in inputs_of(messages, layouts):
        is_x12 = not found.reason and found.head.kind == Kind.X12.name
        is_small = is_x12 and isinstance(found.head, PartHead)
        is_full = batch_bytes + len(found.data) > BATCH_BYTES_MAX or len(batch) >= BATCH_INPUTS_MAX
        if batch and (is_full or not is_small):
            results += _read_batch(batch, router, profiles)
            batch, batch_bytes = [], 0
        if is_small:
            batch.append(found)
            batch_bytes += len(found.data)
        else:
            results.append(_read_other(found, router, scratch, profiles))
    return results + _read_batch(batch, router, profiles) if batch else results


def _read_other(found: Input, router: Router, scratch: Path, profiles: _Encoded) -> PartItems:
    head = found.head
    if isinstance(head, Manifest):
        return PartItems(
            found.message, head, finding_counts=head.finding_counts, findings=found.data
        )
    if found.reason:
        return PartItems(found.message, head, reason=found.reason)
    try:
        if head.kind == Kind.ACH.name:
            return _read_ach(found, head, router, profiles)
        return _read_list(found, head, router, scratch)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return PartItems(found.message, head, reason=_why(error))


def _why(error: Exception) -> str:
    """Why an input gave nothing. A fault of ours must not take others with it."""
    if isinstance(error, SourceError | LimitError | ParseError | ProfileError | HeadError):
        return reason_of(error)
    return internal_error()


def _name_of(head: PartHead) -> int:
    return int.from_bytes(head.digest[:KEY_BYTES], "little")


class _Encoded:
    """Profiles of the messages of one call: keys and encodings, by row.

    keys : uint64[k]
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._profiles: list[Profile] = []
        self._rows = Profiles(self._profiles)
        self._encoded: list[Mapping[int, bytes]] = []
        self.keys = np.zeros(0, np.uint64)

    def rows_of(self, tables: Remittances) -> Ints32:
        """int32[n]: the row of each 835's profile. Raises LimitError, ProfileError."""
        rows = self._rows.rows_of(tables)
        fresh = self._profiles[len(self._encoded) :]
        try:
            if len(self._profiles) > PROFILES_MAX:
                raise LimitError(
                    f"PROFILES_MAX: more than {PROFILES_MAX} kinds of envelope at a time: split it"
                )
            keys = [profile_key(profile) for profile in fresh]
            self._encoded += [
                {key: encode_profile(profile)} for key, profile in zip(keys, fresh, strict=True)
            ]
        except ReassocError:
            self._forget()  # whoever comes next shall not suffer from it
            raise
        self.keys = np.append(self.keys, np.array(keys, np.uint64))
        return rows

    def of(self, rows: Ints32) -> Mapping[int, bytes]:
        """Encodings by keys of those that some rows name."""
        if not len(rows):
            return _NO_PROFILES
        if len(rows) == 1 or len(self._encoded) == 1:
            return self._encoded[int(rows[0])]
        numbers = np.unique(rows).tolist()
        return {key: data for number in numbers for key, data in self._encoded[number].items()}


# ---- 835s, many messages at a time ----


def _read_batch(batch: Sequence[Input], router: Router, profiles: _Encoded) -> list[PartItems]:
    try:
        return _X12Batch(batch).read(router, profiles)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if len(batch) == 1:
            head = batch[0].head
            return [PartItems(batch[0].message, head, reason=_why(error))]
        # One of them cannot be read: which one shows when each is read alone.
        return [items for found in batch for items in _read_batch([found], router, profiles)]


class _X12Batch:
    """835 inputs that lie one behind the other in one buffer.

    _starts : int64[k]    where each begins, its envelope first
    _shift : int64[k]    from a place in the buffer to the place in the file
    _bounds : int64[k + 1]    rows of the transactions of each
    """

    def __init__(self, batch: Sequence[Input]) -> None:
        self._batch = batch
        self._heads = [found.head for found in batch if isinstance(found.head, PartHead)]
        pieces: list[bytes] = []
        for found, head in zip(batch, self._heads, strict=True):
            pieces += (head.envelope, found.data)
        sizes = np.fromiter(map(len, pieces), np.int64, len(pieces)).reshape(-1, 2)
        stops = np.cumsum(sizes.sum(axis=1))
        self._starts = stops - sizes.sum(axis=1)
        begins = np.array([head.start for head in self._heads], np.int64)
        self._shift = begins - self._starts - sizes[:, 0]
        self._tables = read_835_ranges(b"".join(pieces), self._starts, stops)
        ranges = self._tables.transactions.range
        self._bounds = np.searchsorted(ranges, np.arange(len(batch) + 1))
        self._reasons = self._headless()

    def read(self, router: Router, profiles: _Encoded) -> list[PartItems]:
        """The items of each."""
        checks = self._checks()
        profile = profiles.rows_of(self._tables)
        columns, rows = self._rows(checks, profile)
        names = np.array([_name_of(head) for head in self._heads], np.uint64)
        window = WindowRemittances(self._tables, columns, rows, np.full(len(rows), -1, np.int64))
        block, final = remittance_rows(
            window, names[self._tables.transactions.range], profiles.keys
        )
        if final is not rows.checks:
            block = with_verdicts(REMITTANCE_ITEM, block, final)
        return self._split(block, router.route(columns, _NO_PAYMENTS), profile, profiles)

    def _headless(self) -> dict[int, str]:
        """Why inputs are none at all: those in which no header was found, by their number."""
        found = np.searchsorted(self._starts, self._tables.interchanges.file_offset, "right") - 1
        reasons: dict[int, str] = {}
        for number in np.setdiff1d(np.arange(len(self._batch)), found).tolist():
            try:
                read_835(self._batch[number].data)
            except ParseError as error:
                reasons[number] = reason_of(error)
        return reasons

    def _checks(self) -> Checks:
        """uint8[n]: final. What a part cannot tell is in its head."""
        tables, bounds = self._tables, self._bounds.tolist()
        checks = closed_checks(tables.transactions.valid, *enclosing(tables))
        for number, head in enumerate(self._heads):
            if head.is_whole:
                continue
            first, last = bounds[number], bounds[number + 1]
            try:
                outer = checks_of(head, last - first)
            except HeadError as error:
                self._reasons[number] = str(error)
                continue
            checks[first:last] = checks[first:last] & np.uint8(OWN_VALID) | outer
        return checks

    def _rows(self, checks: Checks, profile: Ints32) -> tuple[RemittanceColumns, RemittanceRows]:
        """Columns and rows in the terms of the files."""
        transactions = self._tables.transactions
        part = transactions.range
        start = transactions.offset.astype(np.int64) + self._shift[part]
        columns = replace(
            RemittanceColumns.from_tables(self._tables), id_offset=start, valid=checks == ALL_VALID
        )
        before = np.array([head.remittances for head in self._heads], np.int64)
        ordinal = np.arange(len(part)) - self._bounds[part] + before[part]
        claims = transactions.claim_stop.astype(np.int64) - transactions.claim_start
        rows = RemittanceRows(
            ordinal=ordinal.astype(np.int32),
            start=start,
            stop=transactions.end.astype(np.int64) + self._shift[part],
            profile=profile,
            checks=checks,
            claims=claims.astype(np.int32),
            control=transactions.control_number,
        )
        return columns, rows

    def _split(
        self,
        block: Block,
        told: Tenants,
        profile: Ints32,
        profiles: _Encoded,
    ) -> list[PartItems]:
        """The rows by inputs. PERF: a few microseconds for each input."""
        bounds = self._bounds.tolist()
        begins = np.concatenate([np.zeros(1, np.int64), block.stops])[self._bounds]
        stops = block.stops - np.repeat(begins[:-1], np.diff(self._bounds))
        data, places = block.data, begins.tolist()
        transactions = self._tables.transactions
        claims = self._sums(transactions.claim_stop.astype(np.int64) - transactions.claim_start)
        cents = self._sums(transactions.paid_cents)
        findings = self._findings()
        results: list[PartItems] = []
        names, tenants = told.names, told.remittances
        for number, (found, head) in enumerate(zip(self._batch, self._heads, strict=True)):
            if number in self._reasons:
                results.append(PartItems(found.message, head, reason=self._reasons[number]))
                continue
            first, last = bounds[number], bounds[number + 1]
            counts, lines = findings.get(number, _NO_FINDINGS)
            results.append(
                PartItems(
                    found.message,
                    head,
                    Block(data[places[number] : places[number + 1]], stops[first:last]),
                    _NO_ROWS,
                    names,
                    tenants[first:last],
                    _NO_NUMBERS,
                    profiles.of(profile[first:last]),
                    claims[number],
                    cents[number],
                    0,
                    counts,
                    lines,
                    data=found.data,
                )
            )
        return results

    def _sums(self, values: Ints64) -> list[int]:
        """The sum of each input's values."""
        totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])[self._bounds]
        sums: list[int] = np.diff(totals).tolist()
        return sums

    def _findings(self) -> dict[int, tuple[Counter[int], bytes]]:
        """Counts and lines of inputs that have findings. Of a part of a file those that it can
        tell: what lies in its own bytes, in an 835.
        """
        findings = self._tables.findings
        cut = np.array([not head.is_whole for head in self._heads])[findings.range]
        findings = findings.take(~cut | (findings.transaction >= 0))
        offsets = findings.file_offset + self._shift[findings.range]
        found: dict[int, tuple[Counter[int], bytes]] = {}
        for number in np.unique(findings.range).tolist():
            lines, only, counts = io.BytesIO(), Remittances(b"", 0, {}, b""), Counter[int]()
            its = findings.range == number
            only.findings = _with(findings.take(its), file_offset=offsets[its])
            x12_findings(lines, counts, self._heads[number].name, only)
            found[number] = counts, lines.getvalue()
        return found


def _with(table: Table, **columns: npt.NDArray[Any]) -> Table:
    """A table with other columns of the same names."""
    mine = {name: table[name] for name in table.names} | columns
    return Table("findings", mine, table.kinds, table.docs)


# ---- ACH ----


def _read_ach(found: Input, head: PartHead, router: Router, profiles: _Encoded) -> PartItems:
    ach = read_ach(head.envelope + found.data)
    keep_inside(ach)
    _shift_ach(ach, head)
    payments = _ach_payments(ach, head)
    right, right_checks = payment_rows(payments, _name_of(head))
    left, carried, named = _NO_ROWS, _NO_REMITTANCES, _NO_PROFILES
    if len(ach.remittances.transactions):
        carried, left, named = _ach_remittances(ach, head, profiles)
    told = router.route(carried, payments.columns)
    columns, lines, counts = payments.columns, io.BytesIO(), Counter[int]()
    payload_findings(lines, counts, head.name, ach)
    ach_findings(lines, counts, head.name, ach)
    return PartItems(
        found.message,
        head,
        left,
        with_verdicts(PAYMENT_ITEM, right, right_checks),
        told.names,
        told.remittances,
        told.payments,
        named,
        len(ach.remittances.claims),
        int(carried.paid_cents.sum()),
        int(columns.amount_cents[columns.kind == EntryKind.CREDIT].sum()),
        counts,
        lines.getvalue(),
        data=found.data,
    )


def _shift_ach(ach: AchFiles, head: PartHead) -> None:
    """Places and numbers of a part in the terms of its file, and only what it can tell."""
    shift = head.start - len(head.envelope)
    ach.window_offset = shift
    if head.is_whole:
        return
    records = np.uint32(head.records) - np.uint32(head.envelope.count(b"\n"))
    findings = ach.findings
    findings = findings.take(
        ~is_context(findings.code) & (findings.file_offset >= len(head.envelope))
    )
    ach.findings = _with(
        findings,
        file_offset=findings.file_offset + shift,
        record_number=findings.record_number + records,
    )
    ach.addenda = _with(ach.addenda, record_number=ach.addenda.record_number + records)


def _ach_payments(ach: AchFiles, head: PartHead) -> WindowPayments:
    entries = ach.entries
    checks = closed_checks(entries.valid, *batches_of(ach))
    if not head.is_whole:
        checks = checks & np.uint8(OWN_VALID) | checks_of(head, len(entries))
    ordinal = np.arange(head.payments, head.payments + len(entries), dtype=np.int32)
    return WindowPayments(PaymentColumns.from_tables(ach), ordinal, checks)


def _ach_remittances(
    ach: AchFiles, head: PartHead, profiles: _Encoded
) -> tuple[RemittanceColumns, Block, Mapping[int, bytes]]:
    """The 835s in addenda: columns, rows, and their profiles."""
    tables = ach.remittances
    transactions = tables.transactions
    columns = RemittanceColumns.from_ach(ach)
    first = head.remittances
    ordinal = np.arange(first, first + len(transactions), dtype=np.int32)
    claims = transactions.claim_stop.astype(np.int64) - transactions.claim_start
    rows = RemittanceRows(
        ordinal=ordinal,
        start=ordinal.astype(np.int64),
        stop=ordinal.astype(np.int64) + 1,
        profile=profiles.rows_of(tables),
        checks=closed_checks(transactions.valid, *enclosing(tables)),
        claims=claims.astype(np.int32),
        control=transactions.control_number,
    )
    carrier = ach.entries.offset[columns.payment_row].astype(np.int64) + ach.window_offset
    block, checks = remittance_rows(
        WindowRemittances(tables, columns, rows, carrier), _name_of(head), profiles.keys
    )
    return columns, with_verdicts(REMITTANCE_ITEM, block, checks), profiles.of(rows.profile)


# ---- bank reports and lockbox lists ----


class _Kept:
    """The one window of a list."""

    payments: WindowPayments | None = None

    def keep(self, remittances: WindowRemittances | None, payments: WindowPayments | None) -> None:
        self.payments = payments


def _read_list(found: Input, head: PartHead, router: Router, scratch: Path) -> PartItems:
    source = Source(head.name, Path(), -1, head.byte_count, (0, 0, 0, 0))
    items, kept = Items(source, Kind[head.kind]), _Kept()
    with findings_file(scratch) as findings:
        items.findings = findings
        read_windows(items, Content(found.data, None), kept, found.layout, None)
        findings.seek(0)
        lines = findings.read()
    assert kept.payments is not None
    block, checks = payment_rows(kept.payments, _name_of(head))
    columns = kept.payments.columns
    told = router.route(_NO_REMITTANCES, columns)
    return PartItems(
        found.message,
        head,
        _NO_ROWS,
        with_verdicts(PAYMENT_ITEM, block, checks),
        told.names,
        told.remittances,
        told.payments,
        payment_cents=int(columns.amount_cents[columns.kind == EntryKind.CREDIT].sum()),
        finding_counts=items.finding_counts,
        findings=lines,
        data=found.data,
    )
