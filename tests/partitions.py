"""The logs of a world as partitions of a topic, and partitions that are read by hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from engine_world import Books, World
from state_memory import MemoryState, MemoryStore

from reassoc.core.directory import Directory
from reassoc.stream.home_log import HOME_TENANT
from reassoc.stream.item_log import (
    ClockEntry,
    Entry,
    Logged,
    SettingsEntry,
    TenantEntry,
    encode_entry,
)
from reassoc.stream.matcher import Made
from reassoc.stream.partition import PREFIX, Partition, PartitionParts
from reassoc.stream.partition_log import ForAll, LogRecord, Seen, partition_of
from reassoc.stream.publisher import Publisher
from reassoc.stream.rerouting import handed_on
from reassoc.stream.stepping import Stepper
from reassoc.stream.tenant_record import TenantRecord

STEP = 3
"""Offsets that a record is behind the one before it: a topic with transactions has gaps."""


class Topic:
    """Partitions in memory."""

    def __init__(self, count: int) -> None:
        self.records: list[list[LogRecord]] = [[] for _ in range(count)]

    def append(self, tenant: str, entry: Entry, partition: int | None = None) -> None:
        """One record; for all tenants of one partition where that is given."""
        if partition is None:
            partition = partition_of(tenant, len(self.records))
        self.append_bytes(tenant, encode_entry(entry), partition)

    def append_bytes(self, tenant: str, body: bytes, partition: int) -> None:
        records = self.records[partition]
        position = 1 + STEP * len(records)
        records.append(LogRecord(tenant, position, 1_700_000_000_000 + position, body))

    def append_to_all(self, entry: Entry) -> None:
        for number in range(len(self.records)):
            self.append(HOME_TENANT, entry, number)


def topic_of(world: World, count: int) -> Topic:
    """The logs of a world, told as workers would tell them."""
    topic = Topic(count)
    for_all = [each.entry for each in _read(world, HOME_TENANT)]
    told = [entry for entry in for_all if not isinstance(entry, TenantEntry)]
    segments = {tenant: _segments(world, tenant, told) for tenant in world.log.tenants()}
    for place in range(len(told) + 1):
        for own in segments.values():
            for tenant, entry in own[place]:
                topic.append(tenant, entry)
        if place < len(told):
            topic.append_to_all(told[place])
    return topic


def _read(world: World, tenant: str) -> list[Logged]:
    found: list[Logged] = []
    while more := world.log.read(tenant, found[-1].position if found else 0, 1000):
        found += more
    return found


def _segments(world: World, tenant: str, told: Sequence[Entry]) -> list[list[tuple[str, Entry]]]:
    """A tenant's own entries, by how many of those for all stand before them."""
    segments: list[list[tuple[str, Entry]]] = [[] for _ in range(len(told) + 1)]
    place = 0
    for each in _read(world, tenant):
        if isinstance(each.entry, ClockEntry | SettingsEntry):
            place = told.index(each.entry) + 1
        else:
            segments[place].append((tenant, each.entry))
    return segments


class Registry:
    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    def tenants_seen(self) -> dict[str, Seen]:
        return dict(self.seen)

    def see_tenant(self, tenant: str, partition: int, first_position: int = 0) -> None:
        self.seen.setdefault(tenant, Seen(partition, first_position))


class Reading:
    """Workers of a topic, in memory: state, books and registry outlive them.

    poisoned : positions that were passed over    stops : tenants that stopped
    """

    def __init__(self, topic: Topic, directory: Directory | None) -> None:
        self.topic = topic
        self.store = MemoryStore()
        self.books = Books()
        self.registry = Registry()
        self.directory = directory
        self.poisoned: list[int] = []
        self.stops: list[str] = []
        self.steps: list[str] = []

    def open(self, number: int) -> Partition:
        """A partition as a new owner opens it."""
        state = MemoryState(self.store)

        def publisher(for_all: ForAll) -> Publisher:
            return Publisher(
                state,
                self.books,
                self.books,
                now=lambda: "2026-01-01T00:00:00Z",
                rules=lambda: TenantRecord(settings=for_all.settings).rules(),
                hand_on=lambda moves: append(handed_on(state, moves)),
            )

        def load(digest: bytes) -> Directory:
            assert self.directory is not None
            return self.directory

        def append(entries: Sequence[tuple[str, Entry]]) -> None:
            for tenant, entry in entries:
                self.topic.append(tenant, entry)

        parts = PartitionParts(
            state, self.books, self.registry, load, append, publisher, self, Stepper(state)
        )
        return Partition(number, parts)

    def made(self, seconds: float) -> None:
        pass

    def applied(self, tenant: str, made: Made, arrived_ms: int, seconds: float) -> None:
        self.steps.append(tenant)

    def poison(self, record: LogRecord, why: str) -> None:
        self.poisoned.append(record.position)

    def stopped(self, tenant: str, position: int, error: Exception) -> None:
        self.stops.append(tenant)

    def finish(self) -> None:
        """Take everything, with what the quarantine logs and what tenants hand on."""
        open_ones = [self.open(number) for number in range(len(self.topic.records))]
        seen = -1
        while seen < (seen := sum(map(len, self.topic.records))):
            for partition in open_ones:
                partition.take(self.topic.records[partition.number])
                while partition.publish(releases=True):
                    pass
            for partition in open_ones:
                partition.let_out()

    def snapshot(self) -> MemoryStore:
        """The state as it is, for a loss that comes later."""
        return copy.deepcopy(self.store)

    @property
    def tenants(self) -> list[str]:
        return [tenant for tenant in sorted(self.registry.seen) if not tenant.startswith(PREFIX)]
