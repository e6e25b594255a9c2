"""The match state in plain dictionaries: what every implementation is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from reassoc.core.errors import ReassocError
from reassoc.stream import state
from reassoc.stream.records import Block
from reassoc.stream.state import (
    Ask,
    Claim,
    FencedError,
    Ids,
    Keys,
    MarkError,
    OutboxEntry,
    Probe,
    Records,
    StateError,
    Step,
    UnclaimedError,
)


@dataclass
class _Record:
    kind: int
    keys: list[int]
    body: bytes


@dataclass
class _Tenant:
    epoch: int = 0
    mark: int = 0
    sequence: int = 0
    records: dict[bytes, _Record] = field(default_factory=dict)
    outbox: list[OutboxEntry] = field(default_factory=list)


class MemoryStore:
    """What stays when a MemoryState is opened again."""

    def __init__(self) -> None:
        self.tenants: dict[str, _Tenant] = {}


class MemoryState:
    """A State for one thread."""

    def __init__(self, store: MemoryStore) -> None:
        self._tenants = store.tenants

    def _tenant(self, tenant: str) -> _Tenant:
        return self._tenants.get(tenant, _Tenant())

    def tenants(self) -> list[str]:
        return sorted(self._tenants)

    def claim(self, tenant: str, *, may_begin: bool = True) -> Claim:
        if not may_begin and tenant not in self._tenants:
            raise UnclaimedError("no epoch")
        mine = self._tenants.setdefault(tenant, _Tenant())
        mine.epoch += 1
        return Claim(tenant, mine.epoch, mine.mark)

    def mark(self, tenant: str) -> int:
        return self._tenant(tenant).mark

    def probe(self, tenant: str, keys: Keys, ids: Ids | None = None) -> Probe:
        if len(keys) > state.PROBE_KEYS_MAX:
            raise ValueError("above PROBE_KEYS_MAX")
        records = self._tenant(tenant).records
        having: dict[int, list[bytes]] = {key: [] for key in keys.tolist()}
        for name in sorted(records):
            for key in having.keys() & records[name].keys:
                having[key].append(name)
        found = {name for each in having.values() for name in each[: state.KEY_RECORDS_MAX]}
        if ids is not None:
            found |= set(names(ids)) & records.keys()
        crowded = sorted(key for key, each in having.items() if len(each) > state.KEY_RECORDS_MAX)
        return Probe(self._records(tenant, found), np.array(crowded, np.uint64))

    def probe_each(self, asks: Sequence[Ask]) -> list[Probe]:
        return [self.probe(*ask) for ask in asks]

    def fetch(self, tenant: str, ids: Ids) -> Records:
        return self._records(tenant, set(names(ids)) & self._tenant(tenant).records.keys())

    def _records(self, tenant: str, ids: set[bytes]) -> Records:
        mine = self._tenant(tenant).records
        return records_of([(name, mine[name].kind, mine[name].keys, mine[name].body)
                           for name in sorted(ids)])  # fmt: skip

    def scan(self, tenant: str, kinds: Sequence[int] = ()) -> Iterator[Records]:
        wanted = sorted(
            name
            for name, record in self._tenant(tenant).records.items()
            if not kinds or record.kind in kinds
        )
        for start in range(0, len(wanted), state.SCAN_RECORDS_MAX):
            yield self._records(tenant, set(wanted[start : start + state.SCAN_RECORDS_MAX]))

    def dump(self, tenant: str) -> bytes:
        return state.dump_records(self.mark(tenant), self.scan(tenant))

    def apply_each(self, steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
        return [state.refusal_of(self, claim, step) for claim, step in steps]

    def apply(self, claim: Claim, step: Step) -> None:
        state.check_step(step)
        mine = self._tenants.get(claim.tenant)
        if mine is None:
            raise UnclaimedError("no epoch")
        if claim.epoch != mine.epoch:
            raise FencedError("another epoch")
        about_no_entry = step.mark_before == step.mark_after == mine.mark
        if step.mark_after <= mine.mark and not about_no_entry:
            return
        if step.mark_before != mine.mark:
            raise MarkError("another mark")
        assert not mine.records.keys() & set(names(step.puts.ids[: step.new_count]))
        for name in names(step.updates):
            if name not in mine.records:
                raise StateError("an update of nothing")
        for name in names(step.removes):
            mine.records.pop(name, None)
        for name, kind, keys, body in rows_of(step.puts):
            mine.records[name] = _Record(kind, keys, body)
        for name, body in zip(names(step.updates), step.update_bodies.rows(), strict=True):
            mine.records[name].body = body
        for body in step.outbox:
            mine.sequence += 1
            mine.outbox.append(OutboxEntry(mine.sequence, body))
        mine.mark = step.mark_after

    def outbox(self, tenant: str, limit: int, after: int = 0) -> list[OutboxEntry]:
        waiting = [entry for entry in self._tenant(tenant).outbox if entry.sequence > after]
        return waiting[: max(limit, 0)]

    def acknowledge(self, tenant: str, sequence: int) -> None:
        mine = self._tenant(tenant)
        mine.outbox = [entry for entry in mine.outbox if entry.sequence > sequence]

    def close(self) -> None:
        pass


Row = tuple[bytes, int, list[int], bytes]
"""Id, kind, keys and body of a record."""


def names(ids: Ids) -> list[bytes]:
    """Ids one by one."""
    return [row.tobytes() for row in ids]


def ids_of(values: Sequence[bytes]) -> Ids:
    """uint8[n, 16]"""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, state.ID_BYTES)


def records_of(rows: Sequence[Row]) -> Records:
    """Records that are there one by one."""
    return Records(
        ids_of([name for name, _, _, _ in rows]),
        np.array([kind for _, kind, _, _ in rows], np.uint8),
        np.array([key for _, _, keys, _ in rows for key in keys], np.uint64),
        np.cumsum(np.array([len(keys) for _, _, keys, _ in rows], np.int64)),
        Block.of([body for _, _, _, body in rows]),
    )


def rows_of(records: Records) -> list[Row]:
    """Records one by one."""
    rows: list[Row] = []
    start = 0
    for name, kind, stop, body in zip(
        names(records.ids),
        records.kinds.tolist(),
        records.key_stops.tolist(),
        records.bodies.rows(),
        strict=True,
    ):
        rows.append((name, kind, records.keys[start:stop].tolist(), body))
        start = stop
    return rows
