"""Items of an input as packed rows: where they wait until its end has told their verdicts, and how
they become entries of the log.

Rows go into a scratch file window by window, so that the size of an input never sets the memory
that it takes. What is known only at the end (verdicts) is written into the packed rows when they
are read back.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.columns import Column, TextColumn
from reassoc.core.pool import ADJUSTMENT
from reassoc.core.x12_835 import Remittances
from reassoc.stream.intake import WindowPayments, WindowRemittances
from reassoc.stream.item_log import (
    ENTRY_BYTES_MAX,
    ENTRY_ITEMS_MAX,
    Entry,
    ItemsEntry,
    SourceNote,
)
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM, ItemMark
from reassoc.stream.records import TEXT_BYTES_MAX, Block, Schema
from reassoc.stream.verdicts import ALL_VALID, OWN_VALID, Checks

SPOOL_MEMORY_BYTES = 1 << 20
"""Packed rows of one input that are kept in memory; more go to a nameless scratch file."""

Keys = npt.NDArray[np.uint64]
Marks = npt.NDArray[np.uint8]
_END = re.compile(rb"SE([^0-9A-Za-z])[0-9]{1,10}\1.{1,9}.?\Z", re.DOTALL)
_END_BYTES = 64
"""SE, its number of segments, its control number and a terminator, however lines are wrapped."""


def remittance_rows(
    window: WindowRemittances, digest: int | Keys, profile_keys: Keys
) -> tuple[Block, Checks]:
    """A window's 835s as rows of REMITTANCE_ITEM, whose verdicts are still open, and their checks.

    digest : first 8 bytes of the input's digest; uint64[n] where rows of several inputs are packed
        together    profile_keys : by row of the input's profiles

    A text that is too long for a row is cut, and its 835 is not valid. O(bytes of the rows).
    """
    columns, rows = window.columns, window.rows
    table: dict[str, Any] = {
        name: getattr(columns, name) for name in columns.types() if name != "payment_row"
    }
    table |= {
        "id_digest": np.full(len(rows), digest, np.uint64),
        "carrier_offset": window.carrier_offset,
        "ordinal": rows.ordinal,
        "start": rows.start,
        "stop": rows.stop,
        "profile": profile_keys[rows.profile],
        "checks": rows.checks,
        "claims": rows.claims,
        "marks": marks_of(window.tables),
        "control": rows.control,
    }
    checks = _cut_texts(table, REMITTANCE_ITEM, rows.checks)
    return REMITTANCE_ITEM.pack(table), checks


def payment_rows(window: WindowPayments, digest: int | Keys) -> tuple[Block, Checks]:
    """A window's payments as rows of PAYMENT_ITEM, as `remittance_rows`."""
    columns = window.columns
    table: dict[str, Any] = {name: getattr(columns, name) for name in columns.types()}
    table |= {
        "id_digest": np.full(len(columns), digest, np.uint64),
        "ordinal": window.ordinal,
    }
    checks = _cut_texts(table, PAYMENT_ITEM, window.checks)
    return PAYMENT_ITEM.pack(table), checks


def _cut_texts(table: dict[str, Any], schema: Schema, checks: Checks) -> Checks:
    """Cut texts that no row can hold; the checks, where those rows are not valid any more."""
    for name in schema.texts:
        column: TextColumn = table[name]
        long = column.lengths > TEXT_BYTES_MAX
        if long.any():
            # Provider adjustments are records: half of one would be another amount.
            unit = ADJUSTMENT.itemsize if name == "adjustments" else 1
            refs = column.refs.copy()
            refs[long, 1] = TEXT_BYTES_MAX // unit * unit
            table[name] = TextColumn(column.source, refs)
            checks = np.where(long, checks & ~np.uint8(OWN_VALID), checks)
    return checks


def marks_of(window: Remittances) -> Marks:
    """uint8[n]: ItemMark of each of a window's 835s. O(claims)."""
    transactions, claims = window.transactions, window.claims
    reversal = claims.status == b"22"
    denial = (claims.status == b"4") | ((claims.paid_cents == 0) & (claims.charge_cents > 0))
    adjusted = window.provider_adjustments.amount_cents != 0
    spans = transactions.claim_start, transactions.claim_stop
    plb_spans = transactions.provider_adjustment_start, transactions.provider_adjustment_stop
    marks = np.zeros(len(transactions), np.uint8)
    marks[_any_between(reversal, *spans)] |= np.uint8(ItemMark.REVERSAL)
    marks[_any_between(denial, *spans)] |= np.uint8(ItemMark.DENIAL)
    marks[_any_between(adjusted, *plb_spans)] |= np.uint8(ItemMark.PROVIDER_ADJUSTMENT)
    for row in np.flatnonzero(~transactions.valid).tolist():
        stop = int(transactions.end[row])
        start = max(int(transactions.offset[row]), stop - _END_BYTES)
        if not _END.search(bytes(window.source[start:stop]).translate(None, b"\r\n")):
            marks[row] |= np.uint8(ItemMark.INCOMPLETE)
    return marks


def _any_between(mask: Column, starts: Column, stops: Column) -> npt.NDArray[np.bool_]:
    """bool[n]: whether the mask is set anywhere in [start, stop)."""
    if not mask.any():
        return np.zeros(len(starts), np.bool_)
    counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask)])
    found: npt.NDArray[np.bool_] = counts[stops] > counts[starts]
    return found


def with_verdicts(schema: Schema, block: Block, checks: Checks) -> Block:
    """The same rows with their final verdicts: `valid`, and `checks` where the schema has it."""
    if not len(block):
        return block
    data = np.frombuffer(block.data, np.uint8).copy()
    data[block.starts + schema.places["valid"]] = checks == ALL_VALID
    if "checks" in schema.types:
        data[block.starts + schema.places["checks"]] = checks
    return Block(data.tobytes(), block.stops)


def numbers_of(schema: Schema, block: Block, name: str) -> Column:
    """One column of numbers of packed rows, without unpacking the others. O(rows)."""
    kind = np.dtype(schema.types[name]).newbyteorder("<")
    places = (block.starts + schema.places[name])[:, None] + np.arange(kind.itemsize)
    values = np.frombuffer(block.data, np.uint8)[places]
    return np.ascontiguousarray(values).view(kind).reshape(-1).astype(schema.types[name])


@dataclass(frozen=True, slots=True)
class Frame:
    """The packed items of one window, and what is known of their verdicts."""

    remittances: Block
    remittance_checks: Checks
    payments: Block
    payment_checks: Checks


class RowSpool:
    """Frames that wait, in memory or in a nameless scratch file. Not for several threads."""

    def __init__(self, scratch: Path) -> None:
        """`scratch` : a folder on a disk with room for the packed items of an input."""
        self._file = _spool_file(scratch)
        self._sizes: list[tuple[int, int, int, int]] = []
        self.byte_count = 0

    def write(self, frame: Frame) -> None:
        """Put a frame behind the others."""
        self.byte_count += len(frame.remittances.data) + len(frame.payments.data)
        sizes: list[int] = []
        for block, checks in (
            (frame.remittances, frame.remittance_checks),
            (frame.payments, frame.payment_checks),
        ):
            self._file.write(block.stops.tobytes())
            self._file.write(checks.tobytes())
            self._file.write(block.data)
            sizes += [len(block), len(block.data)]
        self._sizes.append((sizes[0], sizes[1], sizes[2], sizes[3]))

    def frames(self) -> Iterator[Frame]:
        """All frames, in the order in which they came; one is in memory at a time."""
        self._file.seek(0)
        for left_count, left_bytes, right_count, right_bytes in self._sizes:
            left, left_checks = self._read(left_count, left_bytes)
            right, right_checks = self._read(right_count, right_bytes)
            yield Frame(left, left_checks, right, right_checks)

    def close(self) -> None:
        """Let go of the file; what is in it is lost."""
        self._file.close()

    def _read(self, count: int, byte_count: int) -> tuple[Block, Checks]:
        stops = np.frombuffer(self._file.read(8 * count), np.int64)
        checks = np.frombuffer(self._file.read(count), np.uint8)
        return Block(self._file.read(byte_count), stops), checks


def _spool_file(scratch: Path) -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(SPOOL_MEMORY_BYTES, dir=str(scratch))


# ---- entries of the log ----

ENTRY_MARGIN_BYTES = 1 << 10
"""For what an encoded entry has beside its rows, their profiles and the notes of its sources."""
_encode_note = msgspec.msgpack.Encoder().encode
_EACH_BYTES = 9
"""What an encoded entry has at most for a row, a profile or a note beside its own bytes."""


class Share(msgspec.Struct, frozen=True, gc=False):
    """Items of one window that go to one tenant: final rows, in the order of the input."""

    tenant: str
    remittances: Block
    payments: Block


class Entries:
    """Entries of the log that are filled, each to its limits, with what goes to its tenant."""

    def __init__(self, entry_bytes_max: int = ENTRY_BYTES_MAX) -> None:
        """entry_bytes_max : of an encoded entry, where a log has less room than ENTRY_BYTES_MAX"""
        self._entry_bytes_max = min(entry_bytes_max, ENTRY_BYTES_MAX)
        self._full: list[tuple[str, Entry]] = []
        self._filling: dict[str, _Filling] = {}
        self.byte_count = 0

    def add(self, share: Share, note: SourceNote | None, profiles: Mapping[int, bytes]) -> None:
        """Put a share behind what waits for its tenant. O(its bytes).

        note : of the file that it comes from, None where the tenant need not be told
        profiles : encoded, by the keys that the remittances name
        """
        filling = self._filling_of(share.tenant)
        if size := filling.take_whole(share, note, profiles):
            self.byte_count += size
            return
        rest = _Rest(share, profiles)
        while len(rest):
            filling = self._filling_of(share.tenant)
            self.byte_count += filling.take(rest, note, profiles)
            if len(rest):
                self._full.append((share.tenant, filling.entry()))
                del self._filling[share.tenant]

    def _filling_of(self, tenant: str) -> _Filling:
        filling = self._filling.get(tenant)
        if filling is None:
            filling = self._filling[tenant] = _Filling(self._entry_bytes_max)
        return filling

    def take(self) -> list[tuple[str, Entry]]:
        """Tenants and entries with everything that was added, which is forgotten here."""
        waiting = [(tenant, filling.entry()) for tenant, filling in self._filling.items()]
        entries = [*self._full, *waiting]
        self._full, self._filling, self.byte_count = [], {}, 0
        return entries


class _Filling:
    """One entry while it is filled."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._sources: dict[bytes, SourceNote] = {}
        self._remittances: list[Block] = []
        self._payments: list[Block] = []
        self._profiles: dict[int, bytes] = {}
        self._byte_count = ENTRY_MARGIN_BYTES
        self._item_count = 0

    def take_whole(
        self, share: Share, note: SourceNote | None, profiles: Mapping[int, bytes]
    ) -> int:
        """Take all of a share where it has room, as most of them have; the bytes of it, else 0."""
        left, right = share.remittances, share.payments
        keys = _profile_keys(left, profiles)
        count = len(left.stops) + len(right.stops)
        size = len(left.data) + len(right.data) + count * _EACH_BYTES + self._note_bytes(note)
        for key in keys:
            size += len(profiles[key]) + _EACH_BYTES
        if self._byte_count + size > self._bytes_max or self._item_count + count > ENTRY_ITEMS_MAX:
            return 0
        self._put(left, right, keys, profiles, note, size)
        return size

    def take(self, rest: _Rest, note: SourceNote | None, profiles: Mapping[int, bytes]) -> int:
        """Take as much as has room; the bytes of it."""
        note_bytes = self._note_bytes(note)
        room = self._bytes_max - self._byte_count - note_bytes
        count = rest.fitting(
            room, ENTRY_ITEMS_MAX - self._item_count, may_split=not self._item_count
        )
        if not count:
            assert self._item_count, "an entry holds at least one item"
            return 0
        left, right, keys, size = rest.cut(count)
        self._put(left, right, keys, profiles, note, size + note_bytes)
        return size + note_bytes

    def _note_bytes(self, note: SourceNote | None) -> int:
        if note is None or note.digest in self._sources:
            return 0
        return len(_encode_note(note)) + _EACH_BYTES

    def _put(
        self,
        left: Block,
        right: Block,
        keys: Sequence[int],
        profiles: Mapping[int, bytes],
        note: SourceNote | None,
        byte_count: int,
    ) -> None:
        """Put rows behind the others, with the profiles of some keys. byte_count : of all of it"""
        if note is not None:
            self._sources[note.digest] = note
        if len(left.stops):
            self._remittances.append(left)
        if len(right.stops):
            self._payments.append(right)
        for key in keys:
            self._profiles[key] = profiles[key]
        self._byte_count += byte_count
        self._item_count += len(left.stops) + len(right.stops)

    def entry(self) -> ItemsEntry:
        """What was taken, as an entry."""
        left, right = Block.concat(self._remittances), Block.concat(self._payments)
        return ItemsEntry(
            tuple(self._sources.values()),
            left.data,
            left.stops.astype("<i8").tobytes(),
            right.data,
            right.stops.astype("<i8").tobytes(),
            tuple(self._profiles.values()),
        )


class _Rest:
    """What of a share is in no entry yet, in the order of the input. What a CTX entry carries comes
    right behind it and goes with it, so that no step of a matcher sees the one without the other.
    """

    def __init__(self, share: Share, profiles: Mapping[int, bytes]) -> None:
        left, right = share.remittances, share.payments
        self._left, self._right = left, right
        carrier = numbers_of(REMITTANCE_ITEM, left, "carrier_offset")
        left_places = np.where(
            carrier >= 0, carrier, numbers_of(REMITTANCE_ITEM, left, "id_offset")
        )
        places = np.concatenate([numbers_of(PAYMENT_ITEM, right, "id_offset"), left_places])
        self._keys = numbers_of(REMITTANCE_ITEM, left, "profile")
        self._profiles = profiles
        keys, first = np.unique(self._keys, return_index=True)
        left_sizes = _sizes(left)
        for key, row in zip(keys.tolist(), first.tolist(), strict=True):
            if key in profiles:
                left_sizes[row] += len(profiles[key]) + _EACH_BYTES
        self._rows = np.argsort(places, kind="stable")
        self._places = places[self._rows]
        self._stops = np.cumsum(np.concatenate([_sizes(right), left_sizes])[self._rows])
        self._at = 0

    def __len__(self) -> int:
        return len(self._rows) - self._at

    def fitting(self, byte_count: int, item_count: int, *, may_split: bool) -> int:
        """How many of the next items fit. `may_split` : rather none than an entry without all that
        it carries, unless it is set.
        """
        at, places = self._at, self._places
        limit = int(np.searchsorted(self._stops, self._bytes_to(at) + byte_count, "right"))
        most = stop = min(limit, at + item_count, len(places))
        while at < stop < len(places) and places[stop] == places[stop - 1]:
            stop -= 1
        return max(stop if stop > at or not may_split else most, at) - at

    def cut(self, count: int) -> tuple[Block, Block, list[int], int]:
        """The next items: remittances, payments, keys of their profiles, and bytes."""
        at, stop = self._at, self._at + count
        rows = np.sort(self._rows[at:stop])
        right = rows[rows < len(self._right)]
        left = rows[len(right) :] - len(self._right)
        self._at = stop
        return (
            _some(self._left, left),
            _some(self._right, right),
            _known(self._keys[left], self._profiles),
            self._bytes_to(stop) - self._bytes_to(at),
        )

    def _bytes_to(self, stop: int) -> int:
        return int(self._stops[stop - 1]) if stop else 0


def _profile_keys(remittances: Block, profiles: Mapping[int, bytes]) -> list[int]:
    """Keys of the profiles that some remittances of an input name."""
    if len(profiles) <= 1:
        return list(profiles) if len(remittances.stops) else []
    return _known(numbers_of(REMITTANCE_ITEM, remittances, "profile"), profiles)


def _known(keys: npt.NDArray[np.int64], profiles: Mapping[int, bytes]) -> list[int]:
    """Each key once; what came without an envelope has none."""
    return [key for key in np.unique(keys).tolist() if key in profiles]


def _some(block: Block, rows: npt.NDArray[np.int64]) -> Block:
    return block if len(rows) == len(block) else block.take(rows)


def _sizes(block: Block) -> npt.NDArray[np.int64]:
    return np.diff(block.stops, prepend=np.int64(0)) + _EACH_BYTES
