"""The surroundings of new items: all that could change what the surest tiers make of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from reassoc.core.matching.neighbours import bear_on, sought
from reassoc.core.statuses import among
from reassoc.stream.items import RecordKind, id_bytes, id_parts
from reassoc.stream.live import PAIR_PARTS, id_keys_of
from reassoc.stream.records import Schema
from reassoc.stream.state import (
    ID_BYTES,
    PROBE_KEYS_MAX,
    Ask,
    Ids,
    Keys,
    Probe,
    Records,
    State,
    Stops,
    distinct,
    no_ids,
)

POOL_RECORDS_MAX = 200_000
"""Records that one step brings in beside its own items: what is left out waits for the clock."""
TOGETHER_RECORDS_MAX = 4_096
"""Of each of several tenants: what has more around it is surrounded alone."""
ROUNDS_MAX = 1_000
"""Rounds of probes in one step."""
_IS_ITEM = among((RecordKind.REMITTANCE, RecordKind.PAYMENT))
_PAIR_HEAD = Schema({name: "u8" if name.endswith("digest") else "i8" for name in PAIR_PARTS}).fixed


@dataclass(frozen=True, slots=True)
class Surroundings:
    """records : items, pairs and vetoes, each once
    late : uint8[k, 16]    ids of items, new ones included, of which something may be missing
    crowded : uint64[c]    keys that too many records have
    is_whole : False where it was given up at TOGETHER_RECORDS_MAX: nothing is told then
    """

    records: Records
    late: Ids
    crowded: Keys
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Centre:
    """Items of a tenant, to be surrounded.

    ids : uint8[n, 16], keys, key_stops    the items and their keys, see state.Records
    are_new : they come now. What the state has of them itself is brought as well; what has nothing
        there is in no pair
    match_keys : uint64[m]   of matches whose pairs are wanted as well, see live.match_keys_of
    """

    tenant: str
    ids: Ids
    keys: Keys
    key_stops: Stops
    are_new: bool
    match_keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))


def surround(state: State, centres: Sequence[Centre]) -> list[Surroundings]:
    """For items of each of some tenants: records that share a key with them, with those, and so on
    to a fixed point. For several tenants at most TOGETHER_RECORDS_MAX each.

    A pair brings both its items, an item its pairs and vetoes. Bounded by POOL_RECORDS_MAX: items
    with keys that were not followed are late. One call of the state a round for all tenants; most
    items need two.
    """
    gives_up = len(centres) > 1
    searches = [_Search().run(centre, gives_up=gives_up) for centre in centres]
    found: dict[int, Surroundings] = {}
    answers: dict[int, Probe | None] = dict.fromkeys(range(len(searches)))
    while answers:
        asks: dict[int, Ask] = {}
        for number, answer in answers.items():
            try:
                keys, ids = searches[number].send(answer)
                asks[number] = (centres[number].tenant, keys, ids)
            except StopIteration as end:
                found[number] = end.value
        probes = state.probe_each(list(asks.values())) if asks else []
        answers = dict(zip(asks, probes, strict=True))
    return [found[number] for number in range(len(centres))]


_Asking = Generator[tuple[Keys, Ids], "Probe | None", "Surroundings"]


class _Search:
    """Asks for keys and ids, and is sent what the state has of them."""

    def __init__(self) -> None:
        self._parts: list[Records] = []
        self._seen: set[bytes] = set()
        self._probed = np.zeros(0, np.uint64)
        self._crowded = np.zeros(0, np.uint64)
        self._count = 0

    def run(self, centre: Centre, *, gives_up: bool) -> _Asking:
        """Search from some items on. gives_up : at TOGETHER_RECORDS_MAX"""
        ids, keys, stops = centre.ids, centre.keys, centre.key_stops
        of_pairs = np.zeros(0, np.uint64) if centre.are_new else id_keys_of(*id_parts(ids))
        frontier = distinct(np.concatenate([sought(keys), centre.match_keys, of_pairs]))
        missing = ids if centre.are_new else no_ids()
        for _ in range(ROUNDS_MAX):
            if self._count > POOL_RECORDS_MAX or not (len(frontier) or len(missing)):
                break
            found = yield from self._round(frontier, missing)
            if gives_up and self._count > TOGETHER_RECORDS_MAX:
                return Surroundings(Records.none(), no_ids(), self._crowded, is_whole=False)
            frontier, missing = self._onward(found)
        records = Records.concat(self._parts)
        unknown = distinct(np.concatenate([self._crowded, frontier]))
        late = _having(records, unknown, ids, keys, stops) if len(unknown) else no_ids()
        return Surroundings(records, late, self._crowded)

    def _round(
        self, frontier: Keys, missing: Ids
    ) -> Generator[tuple[Keys, Ids], Probe | None, Records]:
        """Records that are new to the search."""
        parts = []
        self._probed = distinct(np.concatenate([self._probed, frontier]))
        for start in range(0, max(len(frontier), 1), PROBE_KEYS_MAX):
            probe = yield frontier[start : start + PROBE_KEYS_MAX], missing
            assert probe is not None
            self._crowded = distinct(np.concatenate([self._crowded, probe.crowded]))
            parts.append(probe.records)
            missing = no_ids()
        return self._new(Records.concat(parts))

    def _new(self, records: Records) -> Records:
        rows = []
        for row, value in enumerate(_as_bytes(records.ids)):
            if value not in self._seen:
                self._seen.add(value)
                rows.append(row)
        if len(rows) < len(records):
            records = records.take(np.array(rows, np.int64))
        self._parts.append(records)
        self._count += len(records)
        return records

    def _onward(self, records: Records) -> tuple[Keys, Ids]:
        """Keys to probe next, and ids of items that pairs name."""
        if not len(records):
            return np.zeros(0, np.uint64), no_ids()
        items = records.take(np.flatnonzero(_IS_ITEM[records.kinds]))
        keys = distinct(np.concatenate([sought(items.keys), id_keys_of(*id_parts(items.ids))]))
        named = _items_of_pairs(records.of_kind(RecordKind.PAIR))
        missing = [value for value in dict.fromkeys(_as_bytes(named)) if value not in self._seen]
        ids = np.frombuffer(b"".join(missing), np.uint8).reshape(-1, ID_BYTES)
        return np.setdiff1d(keys, self._probed, assume_unique=True), ids


def _items_of_pairs(pairs: Records) -> Ids:
    """Ids of both items of each pair: the body begins with them."""
    if not len(pairs):
        return no_ids()
    bodies = np.frombuffer(pairs.bodies.data, np.uint8)
    size = _PAIR_HEAD.itemsize
    places = pairs.bodies.starts[:, None] + np.arange(size)
    heads = np.ascontiguousarray(bodies[places]).view(_PAIR_HEAD).reshape(-1)
    return np.concatenate(
        [
            id_bytes(heads[f"{side}_digest"], np.ascontiguousarray(heads[f"{side}_offset"]))
            for side in ("remittance", "payment")
        ]
    )


def _having(records: Records, missing: Keys, ids: Ids, keys: Keys, key_stops: Stops) -> Ids:
    """Ids of items that have or look for a key of which not all records are there."""
    found = []
    for some_ids, some_keys, stops in (
        (records.ids, records.keys, records.key_stops),
        (ids, keys, key_stops),
    ):
        owner = np.repeat(np.arange(len(some_ids)), np.diff(stops, prepend=0))
        found.append(some_ids[np.unique(owner[bear_on(some_keys, missing)])])
    found.append(records.ids[np.isin(id_keys_of(*id_parts(records.ids)), missing)])
    return np.concatenate(found)


def _as_bytes(ids: Ids) -> list[bytes]:
    data = ids.tobytes()
    return [data[start : start + ID_BYTES] for start in range(0, len(data), ID_BYTES)]
