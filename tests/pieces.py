"""Items of a feed, cut into pieces of any size in any order, as entries of item logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engine_world import World

from reassoc.stream.item_log import Entry, ItemsEntry, Routing, SourceNote
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.records import Block, take
from reassoc.stream.sources import discover
from reassoc.stream.take_in import log_all, read_in

Columns = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """The items of one tenant, and what their entries need beside them."""

    tenant: str
    remittances: Columns
    payments: Columns
    sources: tuple[SourceNote, ...]
    profiles: tuple[bytes, ...]

    def entry(self, left: Sequence[int], right: Sequence[int]) -> ItemsEntry:
        """An entry of some of them."""
        packed: list[bytes] = []
        for schema, rows, wanted in (
            (REMITTANCE_ITEM, self.remittances, left),
            (PAYMENT_ITEM, self.payments, right),
        ):
            block = schema.pack(take(rows, np.array(wanted, np.int64)))
            packed += [block.data, block.stops.astype("<i8").tobytes()]
        return ItemsEntry(self.sources, packed[0], packed[1], packed[2], packed[3], self.profiles)

    def pieces(
        self, random: np.random.Generator, piece_count: int
    ) -> Iterator[tuple[str, ItemsEntry]]:
        """All of them in a random order, in so many entries."""
        counts = len(self.remittances["ordinal"]), len(self.payments["ordinal"])
        cuts = [np.array_split(random.permutation(count), piece_count) for count in counts]
        for left, right in zip(*cuts, strict=True):
            if len(left) or len(right):
                yield self.tenant, self.entry(left.tolist(), right.tolist())

    def split(self, days: Sequence[int]) -> list[Share]:
        """Shares by effective day: what is up to each of the days, behind the one before."""
        shares, before = [], -(2**40)
        for day in [*days, 2**40]:
            parts = []
            for rows, date in ((self.remittances, "effective_date"),
                               (self.payments, "effective_date")):  # fmt: skip
                values = rows[date].astype(np.int64)
                parts.append(take(rows, np.flatnonzero((values > before) & (values <= day))))
            shares.append(Share(self.tenant, parts[0], parts[1], self.sources, self.profiles))
            before = day
        return shares


class _Capture:
    """A log that keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Entry]] = []

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
    ) -> list[int]:
        self.entries += entries
        return [1] * len(entries)

    def routings(self, keys: Sequence[bytes]) -> dict[bytes, Routing]:
        return {}


def shares_of(world: World, feed: Path) -> list[Share]:
    """Everything in a folder, by tenant."""
    log: Any = _Capture()
    taken = [
        read_in(
            source,
            vault=world.vault,
            log=log,
            router=world.router,
            layouts=world.layouts,
            scratch=world.folder,
        )
        for source in discover([feed]).sources
    ]
    log_all(taken, log)
    tenants = sorted({tenant for tenant, _ in log.entries})
    return [_share(tenant, [e for t, e in log.entries if t == tenant]) for tenant in tenants]


def _share(tenant: str, entries: Sequence[ItemsEntry]) -> Share:
    sides = []
    for schema, data, stops in (
        (REMITTANCE_ITEM, "remittances", "remittance_stops"),
        (PAYMENT_ITEM, "payments", "payment_stops"),
    ):
        tables = [
            schema.unpack(
                Block(
                    getattr(entry, data),
                    np.frombuffer(getattr(entry, stops), "<i8").astype(np.int64),
                )
            )
            for entry in entries
        ]
        sides.append(schema.concat([schema.empty(), *tables]))
    return Share(
        tenant,
        sides[0],
        sides[1],
        tuple(dict.fromkeys(note for entry in entries for note in entry.sources)),
        tuple(dict.fromkeys(profile for entry in entries for profile in entry.profiles)),
    )
