"""How a file is cut into parts that can each be read alone.

A file is read once before any of it is sent: that gives its digest, the places where it may be cut,
and the verdicts that only its envelopes' ends can tell. 835 files are cut behind transaction sets,
ACH files in front of entries. Bank reports and lockbox lists are not cut: what a line of them means
hangs on all that stands before it. Nor is what has no envelope that could go with a part. A piece
above PART_BYTES_MAX lies in a vault, and its part refers to it.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reassoc.core.ach import AchFiles, EntryKind, iter_ach
from reassoc.core.columns import Table, TextColumn
from reassoc.core.errors import FindingCode, LimitError, ParseError
from reassoc.core.lockbox import LockboxLayout
from reassoc.core.windows import Buffer, bytes_view
from reassoc.core.x12_835 import Remittances, iter_835, read_835
from reassoc.stream.envelope import Delimiters
from reassoc.stream.findings import ach_findings, x12_findings
from reassoc.stream.intake import PASSED_OVER, told_by
from reassoc.stream.kinds import HEAD_BYTES, Kind
from reassoc.stream.message import (
    PART_BYTES_MAX,
    PARTS_MAX,
    Manifest,
    PartHead,
    runs_of,
)
from reassoc.stream.sources import SourceError
from reassoc.stream.verdicts import Verdicts, batches_of, enclosing

PLACES_MAX = 20_000_000
"""Places of one file where it may be cut (about 30 bytes of memory each)."""
PART_ITEMS_MAX = 4096
"""Transaction sets or entries of one part: it bounds what its head says of them."""
MANIFEST_FINDINGS_BYTES_MAX = 512 << 10
"""Bytes of findings of a manifest; what is beyond is counted only."""

CONTEXT_CODES = frozenset(
    {
        FindingCode.ACH_FILE_CONTROL_MISSING,
        FindingCode.ACH_BATCH_CONTROL_MISSING,
        FindingCode.ACH_FILE_BATCH_COUNT,
        FindingCode.ACH_FILE_BLOCK_COUNT,
        FindingCode.ACH_FILE_FILLER_MISSING,
        FindingCode.ACH_FILE_ENTRY_COUNT,
        FindingCode.ACH_FILE_HASH,
        FindingCode.ACH_FILE_DEBIT_TOTAL,
        FindingCode.ACH_FILE_CREDIT_TOTAL,
        FindingCode.ACH_BATCH_ENTRY_COUNT,
        FindingCode.ACH_BATCH_HASH,
        FindingCode.ACH_BATCH_DEBIT_TOTAL,
        FindingCode.ACH_BATCH_CREDIT_TOTAL,
    }
)
"""Findings about a whole ACH file or batch: a part cannot tell them, the manifest does."""

_PIECE_BYTES = 8 << 20
_PROBE_BYTES = 4 << 10
"""An ISA and what stands behind it: enough to tell its delimiters."""
_RECORD_BYTES = 94

Ints64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Checks = npt.NDArray[np.uint8]
Progress = Callable[[int], None]


class NoInputError(SourceError):
    """A file that is no input at all, though it may lie among them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A file and its parts, in the order of its bytes. manifest : None for a single part

    findings : the manifest's lines    byte_limit : parts above it are to lie in a vault
    """

    parts: tuple[PartHead, ...]
    manifest: Manifest | None
    findings: bytes
    byte_limit: int

    @property
    def head(self) -> PartHead:
        """The first part: what is said of the file is the same in all."""
        return self.parts[0]

    def is_large(self, part: PartHead) -> bool:
        """Whether a part cannot travel in a message."""
        return part.stop - part.start > self.byte_limit


def is_context(codes: npt.NDArray[np.uint16]) -> Bools:
    """bool[n]: which codes of ACH findings are in CONTEXT_CODES."""
    found: Bools = np.isin(codes, np.array(sorted(CONTEXT_CODES), np.uint16))
    return found


def plan(
    name: str,
    data: Buffer,
    *,
    layouts: Sequence[LockboxLayout] = (),
    part_bytes: int = PART_BYTES_MAX,
    progress: Progress | None = None,
) -> Plan:
    """Read a file and cut it.

    name : as people know it    data : the whole file, decompressed (a mapped file, say)
    layouts : of lockbox lists    part_bytes : of the file in one part, from 1 to PART_BYTES_MAX
    progress : hears of bytes as they are read

    Raises NoInputError and SourceError for what is no input that is read here, ParseError and
    LimitError as the readers do, and LimitError above PLACES_MAX and PARTS_MAX. O(n); memory 30
    bytes for each place where the file may be cut, and one window.
    """
    if not 1 <= part_bytes <= PART_BYTES_MAX:
        raise ValueError(f"part_bytes must be 1 to {PART_BYTES_MAX}, not {part_bytes}")
    view = bytes_view(data)
    kind, reason, _ = told_by(name, bytes(view[:HEAD_BYTES]), layouts)
    if reason:
        raise NoInputError(reason) if kind in PASSED_OVER else SourceError(reason)
    hashing = _Hashing(view, progress)
    found: _Found | None = None
    if len(view) > part_bytes and kind in (Kind.X12, Kind.ACH):
        found = _X12Found(name) if kind is Kind.X12 else _AchFound(name)
        found.read(view, hashing)
    digest = hashing.finish()
    cuts = _cut(view, found, part_bytes) if found is not None else []
    if len(cuts) < 2 or found is None:
        size = len(view)
        whole = PartHead(digest, name, kind.name, size, 0, 1, 0, size)
        return Plan((whole,), None, b"", part_bytes)
    return _planned(digest, kind, found, cuts, len(view), part_bytes)


class _Hashing:
    """The digest of a file, made while its bytes are in the cache from being read."""

    def __init__(self, view: memoryview, progress: Progress | None) -> None:
        self._view, self._progress = view, progress
        self._hasher, self._done = blake3(), 0

    def to(self, stop: int) -> None:
        """Take the bytes up to `stop`."""
        if stop > self._done:
            self._hasher.update(self._view[self._done : stop])
            if self._progress is not None:
                self._progress(stop - self._done)
            self._done = stop

    def finish(self) -> bytes:
        """Take the rest; the digest."""
        for stop in range(self._done + _PIECE_BYTES, len(self._view), _PIECE_BYTES):
            self.to(stop)
        self.to(len(self._view))
        return self._hasher.digest()


# ---- where a file may be cut ----


@dataclass(frozen=True, slots=True)
class _Places:
    """Places where a file may be cut, k rows in ascending order.

    at : int64[k]    byte where the next part would begin
    free : bool[k]    whether a part may begin there
    outer, inner : int64[k]    bytes of the headers around it; -1 for none
    remittances, payments, records : int64[k]    of the file that stand before it
    """

    at: Ints64
    free: Bools
    outer: Ints64
    inner: Ints64
    remittances: Ints64
    payments: Ints64
    records: Ints64

    @classmethod
    def concat(cls, parts: Sequence[_Places]) -> _Places:
        """Those of several windows."""
        names = [each.name for each in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, rows: Bools) -> _Places:
        """Some of them."""
        return _Places(*(getattr(self, each.name)[rows] for each in fields(self)))


class _Found:
    """What the reading of a file tells, window by window: places, verdicts, totals, and findings
    that no part can tell.
    """

    def __init__(self, name: str) -> None:
        """`name` : of the file, as its findings have it."""
        self.name = name
        self.verdicts = Verdicts()
        self.checks: list[Checks] = []
        self.lines = io.BytesIO()
        self.counts: Counter[int] = Counter()
        self.left_out = 0
        self.remittances = self.payments = self.claims = 0
        self.remittance_cents = self.payment_cents = 0
        self._places: list[_Places] = []
        self._place_count = 0

    def read(self, view: memoryview, hashing: _Hashing) -> None:
        """Read the whole file."""
        raise NotImplementedError

    def envelope(self, view: memoryview, outer: int, inner: int, start: int) -> bytes | None:
        """What is to stand in front of the part from `start` on, which lies in these headers; None
        where nothing can.
        """
        raise NotImplementedError

    def places(self) -> _Places:
        """Those where parts may begin, once all is read."""
        places = _Places.concat(self._places)
        return places.take(places.free)

    def final_checks(self) -> Checks:
        """uint8: of all 835s (ACH: entries), once all is read."""
        settled = [self.verdicts.settle(row, checks) for row, checks in enumerate(self.checks)]
        return np.concatenate(settled)

    def _add(self, places: _Places, checks: Checks) -> None:
        self._place_count += len(places.at)
        if self._place_count > PLACES_MAX:
            raise LimitError(
                f"PLACES_MAX: more than {PLACES_MAX} transactions or entries in one file: split it"
            )
        self._places.append(places)
        self.checks.append(checks)

    def _write(self, lines: io.BytesIO, count: int) -> None:
        if self.lines.tell() + lines.tell() <= MANIFEST_FINDINGS_BYTES_MAX:
            self.lines.write(lines.getbuffer())
        else:
            self.left_out += count

    def _count_remittances(self, window: Remittances) -> None:
        self.remittances += len(window.transactions)
        self.claims += len(window.claims)
        self.remittance_cents += int(window.transactions.paid_cents.sum())


def _header_places(headers: Table, there: Bools, rows: npt.NDArray[np.int32]) -> Ints64:
    """int64[n]: bytes of the headers in some rows; -1 where there is none."""
    places: Ints64 = np.append(np.where(there, headers.file_offset, -1), np.int64(-1))[rows]
    return places


class _X12Found(_Found):
    """Of an 835 file: parts begin behind transaction sets."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._repeats: list[int] = []

    def read(self, view: memoryview, hashing: _Hashing) -> None:
        for window in iter_835(view):
            transactions = window.transactions
            checks = self.verdicts.see(transactions.valid, *enclosing(window))
            self._add(self._places_of(window), checks)
            self._count_remittances(window)
            self._keep_findings(window)
            hashing.to(window.window_offset + len(window.source))

    def places(self) -> _Places:
        # A set that repeats the control number before it must not be the first of its part.
        places = _Places.concat(self._places)
        before = np.searchsorted(places.at, np.array(self._repeats, np.int64), "right") - 1
        places.free[before[before >= 0]] = False
        return places.take(places.free)

    def envelope(self, view: memoryview, outer: int, inner: int, start: int) -> bytes | None:
        return _x12_envelope(view, outer, inner, start)

    def _places_of(self, window: Remittances) -> _Places:
        """Behind each transaction set that has its end, under an ISA."""
        paid, other = window.transactions, window.skipped
        end = np.concatenate([paid.end, other.end]).astype(np.int64)
        order = np.argsort(end, kind="stable")
        end, is_paid = end[order], order < len(paid)
        isa = np.concatenate([paid.interchange, other.interchange])[order]
        gs = np.concatenate([paid.group, other.group])[order]
        findings = window.findings
        cut_off = findings.file_offset[findings.code == FindingCode.X12_SE_MISSING]
        # Where findings were left out it is not known which sets have no end.
        is_known = not (findings.code == FindingCode.X12_FINDINGS_MORE).any()
        at = end + window.window_offset
        outer = _header_places(window.interchanges, window.interchanges.enveloped, isa)
        nothing = np.zeros(len(end), np.int64)
        return _Places(
            at=at,
            free=(outer >= 0) & ~np.isin(at, cut_off) & is_known,
            outer=outer,
            inner=_header_places(window.groups, window.groups.enveloped, gs),
            remittances=self.remittances + np.cumsum(is_paid, dtype=np.int64),
            payments=nothing,
            records=nothing,
        )

    def _keep_findings(self, window: Remittances) -> None:
        findings = window.findings
        repeated = findings.code == FindingCode.X12_ST_DUPLICATE
        self._repeats += findings.file_offset[repeated].tolist()
        if (findings.code == FindingCode.X12_FINDINGS_MORE).any():
            self._repeats.append(window.window_offset)  # the first set may be a repeat, too
        outside = findings.transaction < 0
        if outside.any():
            lines, only = io.BytesIO(), Remittances(b"", 0, {}, b"")
            only.findings = findings.take(outside)
            x12_findings(lines, self.counts, self.name, only)
            self._write(lines, len(only.findings))


class _AchFound(_Found):
    """Of an ACH file: parts begin in front of entries."""

    def read(self, view: memoryview, hashing: _Hashing) -> None:
        for window in iter_ach(view):
            entries = window.entries
            checks = self.verdicts.see(entries.valid, *batches_of(window))
            self._add(self._places_of(window), checks)
            self._count_remittances(window.remittances)
            self.payments += len(entries)
            credit = entries.kind == EntryKind.CREDIT
            self.payment_cents += int(entries.amount_cents[credit].sum())
            self._keep_findings(window)
            hashing.to(window.window_offset + len(window.source))

    def envelope(self, view: memoryview, outer: int, inner: int, start: int) -> bytes | None:
        records = [
            re.split(rb"[\r\n]", bytes(view[at : at + _RECORD_BYTES]), maxsplit=1)[0]
            for at in (outer, inner)
        ]
        return b"".join(record + b"\n" for record in records)

    def _places_of(self, window: AchFiles) -> _Places:
        """In front of each entry whose file and batch have headers."""
        entries, batches, files = window.entries, window.batches, window.files
        carried = np.zeros(len(entries), np.int64)
        np.add.at(carried, window.payload_entries[window.remittances.transactions.range], 1)
        inner = _header_places(batches, batches.has_header, entries.batch)
        file = np.append(batches.file, np.int32(-1))[entries.batch]
        outer = _header_places(files, files.has_header, file)
        # Traces are in order or not by the one before: a part begins with one that says so itself.
        free = (inner >= 0) & (outer >= 0) & (entries.trace_number >= 0)
        findings = window.findings
        disordered = findings.entry[findings.code == FindingCode.ACH_TRACE_ORDER]
        free[disordered[disordered >= 0]] = False
        free &= not (findings.code == FindingCode.ACH_FINDINGS_MORE).any()
        return _Places(
            at=entries.offset.astype(np.int64) + window.window_offset,
            free=free,
            outer=outer,
            inner=inner,
            remittances=self.remittances + np.cumsum(carried) - carried,
            payments=self.payments + np.arange(len(entries), dtype=np.int64),
            records=entries.record_number.astype(np.int64) - 1,
        )

    def _keep_findings(self, window: AchFiles) -> None:
        codes = window.findings.code
        of_file = is_context(codes) | (codes == FindingCode.ACH_FINDINGS_MORE)
        if of_file.any():
            window.findings = window.findings.take(of_file)
            lines = io.BytesIO()
            ach_findings(lines, self.counts, self.name, window)
            self._write(lines, len(window.findings))


def _x12_envelope(view: memoryview, outer: int, inner: int, start: int) -> bytes | None:
    """ISA and GS without line wraps; None where they would not say the same in front of the bytes
    from `start` on: damaged headers are understood by what follows them.
    """
    told = _told(bytes(view[outer : outer + _PROBE_BYTES]))
    if told is None:
        return None
    isa, delimiters, _ = told
    terminator = bytes((delimiters[2],))
    isa = isa.removesuffix(terminator) + terminator
    gs = b""
    if inner >= 0:
        probe = bytes(view[inner : inner + _PROBE_BYTES])
        gs = probe[: probe.find(terminator) + 1]
    again = _told(isa + gs + bytes(view[start : start + _PROBE_BYTES]))
    if again is None or again[:2] != (isa, delimiters) or (gs and again[2] != len(isa)):
        return None
    return isa + gs


def _told(front: bytes) -> tuple[bytes, Delimiters, int] | None:
    """The ISA that some bytes begin with, its delimiters, and where its first GS stands (-1 for
    none); None where they do not begin with one.
    """
    try:
        window = read_835(front)
    except ParseError:
        return None
    interchanges, groups = window.interchanges, window.groups
    if not len(interchanges) or not interchanges.enveloped[0] or interchanges.file_offset[0] != 0:
        return None
    marks = ("element_separator", "component_separator", "segment_terminator")
    element, component, terminator = (int(interchanges[mark][0]) for mark in marks)
    column: TextColumn = interchanges.isa
    offset, length = column.refs[0].tolist()
    gs = int(groups.file_offset[0]) if len(groups) and groups.enveloped[0] else -1
    isa = bytes(column.source[offset : offset + length])
    return isa, (element, component, terminator), gs


# ---- the cuts ----


@dataclass(frozen=True, slots=True)
class _Cut:
    """A part: bytes, envelope, and what stands before it."""

    start: int
    stop: int
    envelope: bytes = b""
    remittances: int = 0
    payments: int = 0
    records: int = 0


def _cut(view: memoryview, found: _Found, part_bytes: int) -> list[_Cut]:
    """The parts of a file; one where it cannot be cut."""
    places = found.places()
    stops = _stops(places.at, places.remittances + places.payments, len(view), part_bytes)
    cuts: list[_Cut] = []
    for start, stop in pairwise([0, *stops]):
        if start == 0:
            cuts.append(_Cut(start, stop))
            continue
        row = int(np.searchsorted(places.at, start))
        envelope = found.envelope(view, int(places.outer[row]), int(places.inner[row]), start)
        if envelope is None:
            return []
        counts = (places.remittances, places.payments, places.records)
        cuts.append(_Cut(start, stop, envelope, *(int(count[row]) for count in counts)))
    return cuts


def _stops(at: Ints64, items: Ints64, size: int, part_bytes: int) -> list[int]:
    """Where parts end: each as late as it may, and where that is too late as early as it can."""
    stops: list[int] = []
    start = before = 0
    while start < size:
        if len(stops) >= PARTS_MAX:
            raise LimitError(f"PARTS_MAX: more than {PARTS_MAX} parts in one file: split it")
        first = int(np.searchsorted(at, start, "right"))
        last = int(np.searchsorted(at, start + part_bytes, "right"))
        last = max(
            min(last, int(np.searchsorted(items, before + PART_ITEMS_MAX, "right"))), first + 1
        )
        is_rest = start + part_bytes >= size and (
            not len(items) or int(items[-1]) - before < PART_ITEMS_MAX
        )
        if is_rest or first >= len(at):
            stops.append(size)
            break
        start, before = int(at[last - 1]), int(items[last - 1])
        stops.append(start)
    return stops


def _planned(
    digest: bytes, kind: Kind, found: _Found, cuts: Sequence[_Cut], size: int, part_bytes: int
) -> Plan:
    checks = found.final_checks()
    parts = []
    for number, cut in enumerate(cuts):
        after = cuts[number + 1] if number + 1 < len(cuts) else None
        if kind is Kind.X12:
            first, last = cut.remittances, after.remittances if after else found.remittances
        else:
            first, last = cut.payments, after.payments if after else found.payments
        counts, bits = runs_of(checks[first:last])
        parts.append(
            PartHead(
                digest,
                found.name,
                kind.name,
                size,
                number,
                len(cuts),
                cut.start,
                cut.stop,
                cut.envelope,
                cut.remittances,
                cut.payments,
                cut.records,
                counts,
                bits,
            )
        )
    manifest = Manifest(
        digest,
        found.name,
        kind.name,
        size,
        len(cuts),
        found.remittances,
        found.payments,
        found.claims,
        found.remittance_cents,
        found.payment_cents,
        dict(found.counts),
        found.left_out,
    )
    return Plan(tuple(parts), manifest, found.lines.getvalue(), part_bytes)
