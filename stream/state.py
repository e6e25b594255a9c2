"""The match state: what the matcher of a tenant must remember, behind one small protocol.

The state knows nothing of matching. It keeps records, finds them by keys, and applies a step whole
or not at all. A record is an id of 16 bytes, a kind, keys of 8 bytes and a body. Calls are bulk
calls over packed arrays: their number does not depend on how many records they are about.

Two rules make it safe (design section 5):

- a writer claims a tenant and gets an epoch; a step of an older epoch is refused, for ever;
- a step carries the mark (the position on the item log up to which all is applied) that its probe
  saw, and is refused unless the state still has that mark. A replay below it changes nothing.

`state_sqlite.py` is the embedded implementation; `tests/state_conformance.py` is what every
implementation must pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.records import Block

ID_BYTES = 16
KEY_RECORDS_MAX = 4096
"""Records that one key may bring: beyond it a probe names the key as crowded and brings the first
of them, in the order of ids."""
PROBE_KEYS_MAX = 1 << 20
"""Keys of one probe."""
SCAN_RECORDS_MAX = 1 << 17
"""Records of one piece of a scan."""
RECORD_KEYS_MAX = 1024
"""Keys of one record."""
BODY_BYTES_MAX = 16 << 20
"""Bytes of one record's body."""
OUTBOX_BYTES_MAX = 256 << 20
"""Bytes of one outbox entry."""

_DUMP_HEAD = np.dtype([("id", "u1", ID_BYTES), ("kind", "u1"), ("keys", "<u4"), ("bytes", "<u4")])

Ids = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Stops = npt.NDArray[np.int64]


_Value = TypeVar("_Value", bound=np.generic)


class StateError(ReassocError):
    """The state refused a call; nothing was changed."""


class FencedError(StateError):
    """Another writer has claimed the tenant since: this one must stop."""


class MarkError(StateError):
    """The state's mark is not the one that the step was made from: probe again."""


class UnclaimedError(StateError):
    """The tenant has no epoch: the state was lost and must be rebuilt first."""


def as_text(ids: Ids) -> npt.NDArray[np.bytes_]:
    """Ids as numpy sorts them by their bytes. Zeros at an end are lost only in single values."""
    return np.ascontiguousarray(ids).view(f"S{ID_BYTES}").reshape(-1)


def distinct(values: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
    """The values sorted, each once. O(n log n).

    Most of them are different, and np.unique would count them in a hash table first.
    """
    values = np.sort(values)
    kept = np.ones(len(values), np.bool_)
    kept[1:] = values[1:] != values[:-1]
    return values[kept]


def no_ids() -> Ids:
    """uint8[0, 16]"""
    return np.zeros((0, ID_BYTES), np.uint8)


@dataclass(frozen=True, slots=True, repr=False)
class Records:
    """Records of a tenant, in the order of their ids where a state gives them.

    ids : uint8[n, 16]    kinds : uint8[n]
    keys : uint64[k]      those of record i are keys[key_stops[i - 1] : key_stops[i]]
    key_stops : int64[n]
    bodies : Block        n rows
    """

    ids: Ids
    kinds: npt.NDArray[np.uint8]
    keys: Keys
    key_stops: Stops
    bodies: Block

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Records: {len(self)}>"

    @property
    def key_counts(self) -> Stops:
        """int64[n]: how many keys each record has."""
        return np.diff(self.key_stops, prepend=0)

    def of_kind(self, kind: int) -> Records:
        """Those of one kind."""
        return self.take(np.flatnonzero(self.kinds == kind))

    def bodies_of(self, kind: int) -> Block:
        """Bodies of those of one kind."""
        rows = np.flatnonzero(self.kinds == kind)
        return self.bodies if len(rows) == len(self) else self.bodies.take(rows)

    def take(self, rows: npt.NDArray[np.int64]) -> Records:
        """Some of them, by numbers."""
        if not len(rows):
            return Records.none()
        counts = self.key_counts[rows]
        stops = np.cumsum(counts)
        places = np.repeat((self.key_stops[rows] - counts) - (stops - counts), counts)
        places += np.arange(len(places))
        return Records(
            self.ids[rows], self.kinds[rows], self.keys[places], stops, self.bodies.take(rows)
        )

    @classmethod
    def none(cls) -> Records:
        """No records."""
        nothing = np.zeros(0, np.int64)
        return cls(
            no_ids(), np.zeros(0, np.uint8), np.zeros(0, np.uint64), nothing, Block(b"", nothing)
        )

    @classmethod
    def without_keys(cls, rows: Sequence[tuple[bytes, int, bytes]]) -> Records:
        """Records of ids (16 bytes), kinds and bodies, that are found by their ids only."""
        if not rows:
            return cls.none()
        ids, kinds, bodies = zip(*rows, strict=True)
        return cls(
            np.frombuffer(b"".join(ids), np.uint8).reshape(-1, ID_BYTES),
            np.array(kinds, np.uint8),
            np.zeros(0, np.uint64),
            np.zeros(len(rows), np.int64),
            Block.of(bodies),
        )

    @classmethod
    def concat(cls, parts: Sequence[Records]) -> Records:
        """Records of several calls, one after the other."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else cls.none()
        stops, base = [], 0
        for part in parts:
            stops.append(part.key_stops + base)
            base += len(part.keys)
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.kinds for part in parts]),
            np.concatenate([part.keys for part in parts]),
            np.concatenate(stops),
            Block.concat([part.bodies for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe found: records that have any of the keys, each once; and the keys that more than
    KEY_RECORDS_MAX records have."""

    records: Records
    crowded: Keys


Ask = tuple[str, Keys, Ids]
"""A tenant, keys and ids: what one probe is about."""


@dataclass(frozen=True, slots=True)
class Step:
    """One atomic change of a tenant's state.

    mark_before, mark_after   positions on the tenant's item log; the second is never the lower one
    puts                      records that are new, or replaced with their keys
    updates, update_bodies    ids (uint8[u, 16]) of records whose bodies change and whose keys stay;
                              ids that the state does not have are an error
    removes                   ids (uint8[r, 16]) of records that leave, with their keys
    outbox                    bodies of entries for the outbox, in order
    new_count                 so many of the puts, the first ones, are of ids that the state did not
                              have at mark_before: nobody needs to look for them

    An id stands in a step once: puts, updates and removes have none in common, and none twice.
    """

    mark_before: int
    mark_after: int
    puts: Records = field(default_factory=Records.none)
    updates: Ids = field(default_factory=no_ids)
    update_bodies: Block = field(default_factory=lambda: Block(b"", np.zeros(0, np.int64)))
    removes: Ids = field(default_factory=no_ids)
    outbox: Sequence[bytes] = ()
    new_count: int = 0


def check_step(step: Step) -> None:
    """What every implementation demands of a step before it looks at its state.

    Raises ValueError for a step that contradicts itself (lengths, marks, an id that stands in it
    twice), LimitError above RECORD_KEYS_MAX, BODY_BYTES_MAX and OUTBOX_BYTES_MAX. O(n log n).
    """
    puts = step.puts
    if step.mark_after < step.mark_before:
        raise ValueError("mark_after is below mark_before")
    if not len(puts) == len(puts.kinds) == len(puts.key_stops) == len(puts.bodies):
        raise ValueError("ids, kinds, keys and bodies of the puts are not of one length")
    if len(puts.keys) != (int(puts.key_stops[-1]) if len(puts) else 0):
        raise ValueError("the keys of the puts do not end at the last of key_stops")
    if not 0 <= step.new_count <= len(puts):
        raise ValueError("more puts are new than there are")
    if len(step.updates) != len(step.update_bodies):
        raise ValueError("updates and update_bodies are not of one length")
    ids = np.concatenate([puts.ids, step.updates, step.removes])
    if len(distinct(as_text(ids))) != len(ids):
        raise ValueError("an id stands in the step twice")
    if len(puts) and int(puts.key_counts.max()) > RECORD_KEYS_MAX:
        raise LimitError(f"a record has more than RECORD_KEYS_MAX ({RECORD_KEYS_MAX}) keys")
    for block in (puts.bodies, step.update_bodies):
        if len(block) and int(np.diff(block.stops, prepend=0).max()) > BODY_BYTES_MAX:
            raise LimitError(f"a record's body is above BODY_BYTES_MAX ({BODY_BYTES_MAX} bytes)")
    if any(len(body) > OUTBOX_BYTES_MAX for body in step.outbox):
        raise LimitError(
            f"an outbox entry is above OUTBOX_BYTES_MAX ({OUTBOX_BYTES_MAX} bytes): make smaller "
            "steps"
        )


def refusal_of(state: State, claim: Claim, step: Step) -> ReassocError | None:
    """Make a step; what it is refused with, None where it is made."""
    try:
        state.apply(claim, step)
    except (StateError, LimitError) as error:
        return error
    return None


def dump_records(mark: int, pieces: Iterable[Records]) -> bytes:
    """A tenant's mark and records as bytes: two states that a log made are equal in them, however
    the log was cut into steps. Epochs and outbox are not in it.

    pieces : all records in the order of ids, in any pieces
    """
    lines = [mark.to_bytes(8, "little")]
    for piece in pieces:
        heads = np.empty(len(piece), _DUMP_HEAD)
        heads["id"] = piece.ids
        heads["kind"] = piece.kinds
        heads["keys"] = piece.key_counts
        heads["bytes"] = np.diff(piece.bodies.stops, prepend=0)
        keys, stops = piece.keys.astype("<u8"), piece.key_stops.tolist()
        starts = [0, *stops]
        for head, start, stop, body in zip(heads, starts, stops, piece.bodies.rows(), strict=False):
            lines += [head.tobytes(), keys[start:stop].tobytes(), body]
    return b"".join(lines)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a tenant's state: the epoch of it, and the mark at that moment."""

    tenant: str
    epoch: int
    mark: int


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """What a step left for others to do. `sequence` rises by one from 1 in each tenant."""

    sequence: int
    body: bytes


class State(Protocol):
    """Records of tenants. Every method may be called from any thread.

    Raises StateError and its kinds where a call is refused, StoreError (or another ReassocError)
    where the store itself fails; nothing was changed then either, but for `apply_each`. A tenant
    that nobody claimed has mark 0, no records and no outbox.
    """

    def tenants(self) -> list[str]:
        """Every tenant that was claimed once, sorted."""
        ...

    def claim(self, tenant: str, *, may_begin: bool = True) -> Claim:
        """Become the tenant's only writer: every earlier claim is void from now on.

        may_begin : a tenant that nobody claimed begins with nothing; else that is refused with
            UnclaimedError, for who knows that there was something
        """
        ...

    def mark(self, tenant: str) -> int:
        """The position up to which the tenant's log is applied, 0 for nothing."""
        ...

    def probe(self, tenant: str, keys: Keys, ids: Ids | None = None) -> Probe:
        """Records by their keys, and by ids as `fetch` does, in the order of ids. At most
        PROBE_KEYS_MAX keys (ValueError)."""
        ...

    def probe_each(self, asks: Sequence[Ask]) -> list[Probe]:
        """Several probes, each as `probe` makes it, in as few calls as the store allows."""
        ...

    def fetch(self, tenant: str, ids: Ids) -> Records:
        """Records by their ids, in the order of ids; ids that are not there are left out."""
        ...

    def scan(self, tenant: str, kinds: Sequence[int] = ()) -> Iterator[Records]:
        """All records (of some kinds) in the order of ids, in pieces of at most SCAN_RECORDS_MAX.
        What is applied meanwhile may or may not be seen."""
        ...

    def apply(self, claim: Claim, step: Step) -> None:
        """Make a step, durably, whole or not at all.

        A step whose mark_after is not above the state's mark is a replay: nothing is changed,
        except that a step with mark_before == mark_after == the mark is made (it is about no log
        entry). Removes of ids that are not there do nothing.

        Raises UnclaimedError for a tenant without an epoch, FencedError for a claim that is void,
        MarkError where mark_before is not the mark, StateError where an update's id is not there,
        and what `check_step` raises.
        """
        ...

    def apply_each(self, steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
        """Make steps of different tenants, each as `apply` makes it, in as few calls as the store
        allows; for each the refusal that `apply` would raise, None where it is made.

        Raises what the store itself raises while it fails: then any of them may be made.
        """
        ...

    def outbox(self, tenant: str, limit: int, after: int = 0) -> list[OutboxEntry]:
        """The entries that nobody acknowledged, oldest first, at most `limit`, behind a
        sequence. Fewer than `limit` does not mean the end; none does."""
        ...

    def acknowledge(self, tenant: str, sequence: int) -> None:
        """Forget the outbox entries up to and with this one: what they ask for is durable."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
