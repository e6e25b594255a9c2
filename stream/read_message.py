"""Raw messages into items: what `take_in.read_in` finds in a file, found in its parts.

Nothing here knows where messages come from or what becomes of their items. Small 835 inputs are
read many at a time: their bytes are put one behind the other, scanned once, and their rows packed
once, so that a message costs microseconds. Items of all parts of a file are those of the file, and
the findings of its parts and its manifest are its findings.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.ach import EntryKind, read_ach
from reassoc.core.columns import Table
from reassoc.core.errors import FindingCode, LimitError, ParseError, ReassocError
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
    read_windows,
    reason_of,
)
from reassoc.stream.item_rows import payment_rows, remittance_rows, with_verdicts
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.kinds import Kind
from reassoc.stream.message import (
    KEY_BYTES,
    HeadError,
    Manifest,
    PartHead,
    RawMessage,
    checks_of,
    other_items,
)
from reassoc.stream.message_inputs import Input, inputs_of
from reassoc.stream.profiles import ProfileError, encode_profile, profile_key
from reassoc.stream.records import Block
from reassoc.stream.routing import (
    Numbers,
    Route,
    RouteBuilder,
    Router,
    Tenants,
    encode_route,
    route_to_one,
)
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

_BATCHED = (Kind.X12.name, Kind.ACH.name)
_RECORD_BYTES = 94
_ACH_BEGIN = re.compile(rb"101[^\r\n]{9}")
_ACH_BETWEEN = b"\n" * 4
"""Between two inputs: more than the bytes in front of an addenda's text."""

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

    def route(self) -> tuple[Route, bytes]:
        """Where its items go, and as it is remembered. O(items)."""
        tenant = self._only_tenant()
        if tenant is not None:
            return route_to_one(tenant, len(self.remittances), len(self.payments))
        builder = RouteBuilder()
        builder.add(Tenants(self.tenants, self.remittance_tenants, self.payment_tenants))
        route = builder.route()
        return route, encode_route(route)

    def _only_tenant(self) -> str | None:
        """The tenant that all items go to; None for several, or no items."""
        only = -1
        for numbers in (self.remittance_tenants, self.payment_tenants):
            if not len(numbers):
                continue
            first = int(numbers[0])
            if only not in (-1, first) or (len(numbers) > 1 and bool((numbers != first).any())):
                return None
            only = first
        return self.tenants[only] if only >= 0 else None


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
    """Read messages; results in their order, at least one for each, and members of an archive in
    any.

    A part whose head has a reference is given with the bytes that it refers to as its value.
    layouts : of lockbox lists    scratch : a folder for findings beyond 4 MiB of one list or report

    Never raises for what is in a message: `reason` says why it gave nothing. Raises OSError where
    the scratch folder fails, MemoryError. For any number of threads. O(bytes); memory about four
    times the bytes, and at least four times BATCH_BYTES_MAX.
    """
    results: list[PartItems] = []
    waiting: dict[str, _Waiting] = {}
    profiles = _Encoded()
    for found in inputs_of(messages, layouts):
        kind = found.head.kind
        if found.reason or kind not in _BATCHED or not isinstance(found.head, PartHead):
            results.append(_read_other(found, router, scratch))
            continue
        batch = waiting.setdefault(kind, _Waiting())
        if batch.inputs and not batch.has_room_for(found):
            results += _read_batch(batch.inputs, router, profiles)
            batch = waiting[kind] = _Waiting()
        batch.add(found)
    for batch in waiting.values():
        results += _read_batch(batch.inputs, router, profiles)
    results.sort(key=lambda items: items.message)
    return results


class _Waiting:
    """Inputs of one kind that are to be read together."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self._byte_count = 0

    def has_room_for(self, found: Input) -> bool:
        """Whether an input can be read with them."""
        return (
            self._byte_count + len(found.data) <= BATCH_BYTES_MAX
            and len(self.inputs) < BATCH_INPUTS_MAX
            and _goes_with(self.inputs[-1], found)
        )

    def add(self, found: Input) -> None:
        """Put an input behind the others."""
        self.inputs.append(found)
        self._byte_count += len(found.data)


def _goes_with(last: Input, found: Input) -> bool:
    """Whether two inputs of one kind can be read as one. Records of ACH are told by what stands
    before them, so there each must end with a whole record and begin with a header.
    """
    return found.head.kind == Kind.X12.name or (
        _ends_a_record(last.data) and _ACH_BEGIN.match(_front(found)) is not None
    )


def _ends_a_record(data: bytes) -> bool:
    """Whether the last record of ACH is whole: with the end of its line, or where there are no
    lines."""
    if data.endswith(b"\n"):
        return True
    return len(data) % _RECORD_BYTES == 0 and not (b"\n" in data or b"\r" in data)


def _front(found: Input) -> bytes:
    head = found.head
    return (isinstance(head, PartHead) and head.envelope) or found.data


def _read_other(found: Input, router: Router, scratch: Path) -> PartItems:
    head = found.head
    if isinstance(head, Manifest):
        return PartItems(
            found.message, head, finding_counts=head.finding_counts, findings=found.data
        )
    if found.reason:
        return PartItems(found.message, head, reason=found.reason)
    try:
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
        kind = batch[0].head.kind
        reading = _X12Batch(batch) if kind == Kind.X12.name else _AchBatch(batch)
        return reading.read(router, profiles)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if len(batch) == 1:
            head = batch[0].head
            return [PartItems(batch[0].message, head, reason=_why(error))]
        # One of them cannot be read: which one shows when each is read alone.
        return [items for found in batch for items in _read_batch([found], router, profiles)]


class _Batch:
    """Inputs that lie one behind the other in one buffer.

    _starts : int64[k]    where each begins, its envelope first
    _shift : int64[k]    from a place in the buffer to the place in the file
    """

    def __init__(self, batch: Sequence[Input], between: bytes) -> None:
        self._batch = batch
        self._heads = [found.head for found in batch if isinstance(found.head, PartHead)]
        pieces: list[bytes] = []
        for found, head in zip(batch, self._heads, strict=True):
            pieces += (head.envelope, found.data, between)
        pieces.pop()
        sizes = np.fromiter(map(len, [*pieces, b""]), np.int64, len(pieces) + 1).reshape(-1, 3)
        self._buffer = b"".join(pieces)
        self._starts = np.cumsum(sizes.sum(axis=1)) - sizes.sum(axis=1)
        self._stops = self._starts + sizes[:, 0] + sizes[:, 1]
        self._envelopes = sizes[:, 0]
        begins = np.array([head.start for head in self._heads], np.int64)
        self._shift = begins - self._starts - self._envelopes
        self._names = np.array([_name_of(head) for head in self._heads], np.uint64)
        self._is_cut = np.array([not head.is_whole for head in self._heads])
        self._reasons: dict[int, str] = {}

    def _settle(self, checks: Checks, bounds: Ints64) -> None:
        """Put what parts cannot tell into the checks of their items, from their heads."""
        lengths = np.diff(bounds)
        is_told = self._is_cut.copy()
        for number in np.flatnonzero(self._is_cut).tolist():
            reason = other_items(self._heads[number], int(lengths[number]))
            if reason:
                self._reasons[number], is_told[number] = reason, False
        rows = np.repeat(is_told, lengths)
        outer = checks_of([self._heads[number] for number in np.flatnonzero(is_told).tolist()])
        checks[rows] = checks[rows] & np.uint8(OWN_VALID) | outer

    def _bounds_of(self, inputs: npt.NDArray[Any]) -> Ints64:
        """int64[k + 1]: rows of each input, of rows that lie in these, ascending."""
        return np.searchsorted(inputs, np.arange(len(self._batch) + 1))


def _sums(values: Ints64, bounds: Ints64) -> list[int]:
    """The sum of each input's values."""
    totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])[bounds]
    sums: list[int] = np.diff(totals).tolist()
    return sums


def _parts(block: Block, bounds: Ints64) -> list[Block]:
    """The rows of each input."""
    begins = np.concatenate([np.zeros(1, np.int64), block.stops])[bounds]
    stops = block.stops - np.repeat(begins[:-1], np.diff(bounds))
    data, places = block.data, pairwise(begins.tolist())
    rows = pairwise(bounds.tolist())
    return [
        Block(data[start:stop], stops[first:last])
        for (start, stop), (first, last) in zip(places, rows, strict=True)
    ]


def _number(heads: Sequence[PartHead], name: str, bounds: Ints64, inputs: Ints64) -> Ints32:
    """int32[n]: numbers of rows in their files. name : of what stands before each part"""
    before = np.array([getattr(head, name) for head in heads], np.int64)
    return (np.arange(len(inputs)) - bounds[inputs] + before[inputs]).astype(np.int32)


class _X12Batch(_Batch):
    """835 inputs.

    _bounds : int64[k + 1]    rows of the transactions of each
    """

    def __init__(self, batch: Sequence[Input]) -> None:
        super().__init__(batch, b"")
        self._tables = read_835_ranges(self._buffer, self._starts, self._stops)
        self._bounds = self._bounds_of(self._tables.transactions.range)
        self._find_headless()

    def read(self, router: Router, profiles: _Encoded) -> list[PartItems]:
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
        return self._split(block, router.route(columns, _NO_PAYMENTS), rows, profiles)

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
            ordinal=_number(self._heads, "remittances", self._bounds, part),
            start=start,
            stop=transactions.end.astype(np.int64) + self._shift[part],
            profile=profile,
            checks=checks,
            claims=_claims(self._tables),
            control=transactions.control_number,
        )
        return columns, rows

    def _split(
        self, block: Block, told: Tenants, rows: RemittanceRows, profiles: _Encoded
    ) -> list[PartItems]:
        """The rows by inputs. PERF: a few microseconds for each input."""
        bounds = self._bounds.tolist()
        blocks = _parts(block, self._bounds)
        claims = _sums(rows.claims.astype(np.int64), self._bounds)
        cents = _sums(self._tables.transactions.paid_cents, self._bounds)
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
                    blocks[number],
                    _NO_ROWS,
                    names,
                    tenants[first:last],
                    _NO_NUMBERS,
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
        findings = findings.take(~self._is_cut[findings.range] | (findings.transaction >= 0))
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


def _claims(tables: Remittances) -> Ints32:
    """int32[n]: claims in each 835."""
    transactions = tables.transactions
    claims = transactions.claim_stop.astype(np.int64) - transactions.claim_start
    counts: Ints32 = claims.astype(np.int32)
    return counts


# ---- ACH ----


class _AchBatch(_Batch):
    """ACH inputs. Each of several begins with a file's header, which ends what was before.

    _of : int64[n]    the input of each entry    _carried : the same of each 835 in addenda
    """

    def __init__(self, batch: Sequence[Input]) -> None:
        super().__init__(batch, _ACH_BETWEEN)
        self._ach = ach = read_ach(self._buffer)
        places = ach.files.file_offset[ach.files.has_header]
        if len(batch) > 1 and not np.isin(self._starts, places).all():
            raise ParseError(FindingCode.ACH_FILE_HEADER_MISSING, 0, "inputs do not stand apart")
        self._of = self._input_of(ach.entries.offset)
        carrying = ach.payload_entries[ach.remittances.transactions.range]
        self._carried = self._of[carrying]
        self._bounds = self._bounds_of(self._of)
        self._carried_bounds = self._bounds_of(self._carried)

    def read(self, router: Router, profiles: _Encoded) -> list[PartItems]:
        """The items of each."""
        payments = self._payments()
        right, checks = payment_rows(payments, self._names[self._of])
        right = with_verdicts(PAYMENT_ITEM, right, checks)
        columns, left = _NO_REMITTANCES, _NO_ROWS
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
            columns, _number(self._heads, "payments", self._bounds, self._of), checks
        )

    def _remittances(self, profiles: _Encoded) -> WindowRemittances:
        """The 835s in addenda, in the terms of the files."""
        ach, tables = self._ach, self._ach.remittances
        transactions, shift = tables.transactions, self._shift[self._carried]
        columns = RemittanceColumns.from_ach(ach)
        ordinal = _number(self._heads, "remittances", self._carried_bounds, self._carried)
        rows = RemittanceRows(
            ordinal=ordinal,
            start=ordinal.astype(np.int64),
            stop=ordinal.astype(np.int64) + 1,
            profile=profiles.rows_of(tables),
            checks=closed_checks(transactions.valid, *enclosing(tables)),
            claims=_claims(tables),
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
        profiles: _Encoded,
    ) -> list[PartItems]:
        """The rows by inputs."""
        tables = self._ach.remittances
        claims = _sums(_claims(tables).astype(np.int64), self._carried_bounds)
        cents = _sums(tables.transactions.paid_cents, self._carried_bounds)
        is_credit = payments.kind == EntryKind.CREDIT
        credits = _sums(np.where(is_credit, payments.amount_cents, np.int64(0)), self._bounds)
        blocks = _parts(left, self._carried_bounds), _parts(right, self._bounds)
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
                    *findings.get(number, _NO_FINDINGS),
                    data=found.data,
                )
            )
        return results

    def _findings(self) -> dict[int, tuple[Counter[int], bytes]]:
        """Counts and lines of inputs that have findings, as `_X12Batch._findings`."""
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
        findings = _with(
            findings,
            file_offset=findings.file_offset + self._shift[of],
            record_number=_moved(findings.record_number, records[of]),
        )
        addenda = self._input_of(ach.addenda.offset)
        numbers = _moved(ach.addenda.record_number, records[addenda])
        ach.addenda = _with(ach.addenda, record_number=numbers)
        found: dict[int, tuple[Counter[int], bytes]] = {}
        for number in np.unique(np.concatenate([of, inner_of])).tolist():
            lines, counts, name = io.BytesIO(), Counter[int](), self._heads[number].name
            ach.window_offset = int(self._shift[number])
            ach.findings = findings.take(of == number)
            ach.remittances.findings = inner.take(inner_of == number)
            payload_findings(lines, counts, name, ach)
            ach_findings(lines, counts, name, ach)
            found[number] = counts, lines.getvalue()
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
