"""The outcome of partitions is that of the embedded engine over the same log: however records come
in batches, whoever owns a partition, and whatever the state has lost on the way.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from engine_world import Books, World
from partitions import Reading, Topic, topic_of
from pieces import shares_of
from state_memory import MemoryState

from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream.home_tables import read_items
from reassoc.stream.items import ItemFlag
from reassoc.stream.matcher import LogError, Made, Matcher
from reassoc.stream.partition import LostStateError, Partition, partition_name
from reassoc.stream.partition_log import partition_of
from reassoc.stream.sqlite_file import StoreError
from reassoc.stream.state import FencedError, State

PAYMENTS = 250
DAYS = ("2026-03-17T12:00", "2026-03-18T12:00", "2026-03-19", "2026-03-31")
COLUMNS = (
    ("id_digest", "id_offset", "status", "reason", "flags", "release_kind", "closed_day"),
    ("id_digest", "id_offset", "status", "reason", "flags", "funding", "closed_day"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A week of an embedded warehouse with defects, several tenants."""
    folder = tmp_path_factory.mktemp("partitions")
    feed = folder / "feed"
    generate_feed(feed, FeedOptions(payments=PAYMENTS, seed=5, claims=1.2, defects=True))
    directory = feed / "directory.toml"
    layouts = sorted(feed.glob("*.layout.toml"))
    made = World(folder / "world", directory=directory, layouts=layouts)
    rng = random.Random(3)
    pieces = []
    for share in shares_of(made, feed):
        pieces += share.pieces(np.random.default_rng(rng.randrange(1 << 30)), 5)
    rng.shuffle(pieces)
    size = len(pieces) // len(DAYS) + 1
    made.tick("2026-03-16T12:00")  # tenants begin with settings and a clock
    for place, day in enumerate(DAYS):
        for piece in pieces[place * size : (place + 1) * size]:
            made.log.append([piece])
            made.settle()
        made.tick(day)
    yield made
    made.close()


def known(state: State, tenants: list[str]) -> list[list[tuple[object, ...]]]:
    items = read_items(state, tenants)
    sides = []
    for rows, names in zip((items.remittances, items.payments), COLUMNS, strict=True):
        sides.append(sorted(zip(*(rows[name].tolist() for name in names), strict=True)))
    return sides


def released(books: Books) -> list[tuple[int, int]]:
    rows = books.released_rows()
    return sorted(zip(rows["digest"].tolist(), rows["offset"].tolist(), strict=True))


def check(world: World, reading: Reading) -> None:
    assert reading.stops == []
    assert reading.tenants == sorted(world.log.tenants())
    assert len(reading.tenants) >= 3
    expected = known(world.state, reading.tenants)
    assert known(MemoryState(reading.store), reading.tenants) == expected
    assert released(reading.books) == released(world.books)
    assert len(released(world.books)) > PAYMENTS / 2
    statuses = {row[4] & ItemFlag.RELEASED for row in expected[0]}
    assert len(statuses) == 2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_partitions_come_to_what_one_engine_comes_to(world: World, count: int) -> None:
    reading = Reading(topic_of(world, count), world.directory)
    reading.finish()
    check(world, reading)


@pytest.mark.parametrize("seed", range(3))
def test_owners_and_losses_change_nothing(world: World, seed: int) -> None:
    """Partitions change owners in the middle, records are read again, and the state goes back to
    what it was some batches ago, as after a crash of a Redis that flushes each second."""
    rng = random.Random(seed)
    topic = topic_of(world, 3)
    reading = Reading(topic, world.directory)
    open_ones = {number: reading.open(number) for number in range(3)}
    at = dict.fromkeys(range(3), 0)
    snapshots = [(reading.snapshot(), dict(at))]
    for _ in range(60):
        number = rng.randrange(3)
        size = rng.choice([1, 2, 5, 40])
        start = max(at[number] - rng.choice([0, 0, 3, 10]), 0)
        open_ones[number].take(topic.records[number][start : at[number] + size])
        at[number] = min(at[number] + size, len(topic.records[number]))
        if rng.random() < 0.3:
            open_ones[number].publish(releases=rng.random() < 0.5)
        if rng.random() < 0.1:
            snapshots.append((reading.snapshot(), dict(at)))
        if rng.random() < 0.1:
            open_ones[number] = reading.open(number)
            at[number] = behind(topic, open_ones[number])
        if rng.random() < 0.05:
            store, _ = snapshots[-1]
            reading.store.tenants = store.tenants
            snapshots = [(reading.snapshot(), {})]
            lost = set(reading.registry.seen) - set(store.tenants)
            # Tenants that the state has not met yet need nobody, while their partition is there.
            seen = reading.registry.seen
            rebuild(reading, {one for one in lost if partition_name(seen[one].partition) in lost})
            open_ones = {each: reading.open(each) for each in range(3)}
            at = {each: behind(topic, open_ones[each]) for each in range(3)}
    reading.finish()
    unique(reading)
    check(world, reading)


def behind(topic: Topic, partition: Partition) -> int:
    """The record that comes next, by what the partition itself remembers."""
    records = topic.records[partition.number]
    return sum(record.position <= partition.progress.position for record in records)


def rebuild(reading: Reading, lost: set[str]) -> None:
    for tenant in lost:
        MemoryState(reading.store).claim(tenant)


def unique(reading: Reading) -> None:
    """Orders that came again are those that came before, as the release book sees by itself."""
    seen = {}
    for order in reading.books.orders:
        seen[order.items] = order
    reading.books.orders = list(seen.values())


class DiedError(Exception):
    """A worker is gone, right behind a step."""


@pytest.mark.parametrize("seed", [2])
def test_a_worker_that_dies_behind_any_step_makes_the_same_steps(world: World, seed: int) -> None:
    """Above all between those with which a tenant begins: settings, clock, its first items."""
    rng = random.Random(seed)
    quiet, reading = (Reading(topic_of(world, 2), world.directory) for _ in range(2))
    quiet.finish()
    applied = reading.applied

    def dies(tenant: str, made: Made, arrived_ms: int, seconds: float) -> None:
        applied(tenant, made, arrived_ms, seconds)
        if rng.random() < (0.5 if made.step.mark_before == 0 else 0.05):
            raise DiedError

    watched = cast(Any, reading)
    watched.applied = dies
    for number in range(2):
        partition, at = reading.open(number), 0
        records = reading.topic.records[number]
        while at < len(records):
            size = rng.choice([1, 2, 5])
            try:
                partition.take(records[at : at + size])
                at += size
            except DiedError:
                partition = reading.open(number)
                at = max(behind(reading.topic, partition) - rng.choice([0, 0, 3]), 0)
    watched.applied = applied
    reading.finish()
    unique(reading)
    check(world, reading)
    assert steps_of(reading) == steps_of(quiet)


def steps_of(reading: Reading) -> set[tuple[str, int, str]]:
    return {(batch.tenant, batch.position, batch.cause) for _, batch in reading.books.batches}


def test_a_tenant_that_only_one_node_has_lost_is_lost(world: World) -> None:
    """Its partition's progress is behind its first record: nobody would read that again."""
    reading = Reading(topic_of(world, 2), world.directory)
    reading.finish()
    tenant = reading.tenants[0]
    del reading.store.tenants[tenant]
    with pytest.raises(LostStateError, match="does not know 1 of"):
        reading.open(reading.registry.seen[tenant].partition)


def test_a_lost_state_refuses_until_it_is_rebuilt(world: World) -> None:
    reading = Reading(topic_of(world, 2), world.directory)
    reading.finish()
    reading.store.tenants.clear()
    with pytest.raises(LostStateError, match="run `reassoc rebuild`"):
        reading.open(0)
    rebuild(reading, set(reading.registry.seen))
    assert reading.open(0).progress.position == 0
    reading.finish()
    unique(reading)
    check(world, reading)


def test_an_older_owner_is_fenced_off(world: World) -> None:
    topic = topic_of(world, 1)
    reading = Reading(topic, world.directory)
    first = reading.open(0)
    first.take(topic.records[0][:20])
    second = reading.open(0)
    with pytest.raises(FencedError):
        first.take(topic.records[0][20:40])
    second.take(topic.records[0])
    reading.finish()
    check(world, reading)


def test_what_an_older_owner_did_at_last_is_published(world: World) -> None:
    """Steps of tenants that were new to it, and that the next owner did not know when it opened."""
    topic = topic_of(world, 1)
    reading = Reading(topic, world.directory)
    first, second = reading.open(0), reading.open(0)
    with pytest.raises(FencedError):
        # It is fenced off where it says how far it is: its tenants' steps are made by then.
        first.take([record for record in topic.records[0] if record.tenant == "north"][:3])
    state = MemoryState(reading.store)
    made = len(state.outbox("north", 100))
    assert made > 0
    second.take(topic.records[0][:1])
    second.take([record for record in topic.records[0] if record.tenant == "north"][:1])
    second.publish()
    assert len(reading.books.batches) >= made


@pytest.mark.parametrize("failing", [3, 8])
def test_what_was_applied_is_published_though_others_of_its_pass_failed(
    world: World, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away for one call: tenants of which steps were made then, or with them."""
    topic = topic_of(world, 1)
    reading = Reading(topic, world.directory)
    partition = reading.open(0)
    calls = 0
    probe_each, apply_each = MemoryState.probe_each, MemoryState.apply_each

    def away(real: Any) -> Any:
        def call(state: MemoryState, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            answer = real(state, *arguments)
            if calls % 13 == failing:
                raise StoreError("made by a test")
            return answer

        return call

    monkeypatch.setattr(MemoryState, "probe_each", away(probe_each))
    monkeypatch.setattr(MemoryState, "apply_each", away(apply_each))
    for start in range(0, len(topic.records[0]), 40):
        records = topic.records[0][start : start + 40]
        for _ in range(500):
            try:
                partition.take(records)
                break
            except StoreError:
                continue
        else:
            raise AssertionError("it never came through")
        while partition.publish():
            pass
        state = MemoryState(reading.store)
        assert [len(state.outbox(tenant, 10)) for tenant in partition.tenants] == [0] * len(
            partition.tenants
        )
    monkeypatch.undo()
    reading.finish()
    unique(reading)
    check(world, reading)


def test_poison_is_passed_over(world: World) -> None:
    topic = topic_of(world, 1)
    clean = [(record.tenant, record.body) for record in topic.records[0]]
    poisoned = Topic(1)
    for place, (tenant, body) in enumerate(clean):
        if place % 7 == 0:
            poisoned.append_bytes(tenant, b"\xc1 JANE DOE", 0)
        poisoned.append_bytes(tenant, body, 0)
    reading = Reading(poisoned, world.directory)
    reading.finish()
    assert len(reading.poisoned) == len(clean) // 7 + (len(clean) % 7 > 0)
    check(world, reading)


@pytest.mark.parametrize("name", ["make", "_next"])
def test_a_tenant_that_stops_stops_nobody_else(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = topic_of(world, 1)
    reading = Reading(topic, world.directory)
    victim = sorted(set(world.log.tenants()))[1]
    real = getattr(Matcher, name)

    def fail(self: Matcher) -> Any:
        if self.tenant == victim and self.mark > 20:
            raise LogError("an entry that cannot be")
        return real(self)

    monkeypatch.setattr(Matcher, name, fail)
    partition = reading.open(0)
    partition.take(topic.records[0])
    assert reading.stops == [victim]
    assert partition.stopped == [victim]
    assert partition.progress.position < topic.records[0][-1].position
    others = [tenant for tenant in reading.tenants if tenant != victim]
    while partition.publish(releases=True):
        pass
    assert known(MemoryState(reading.store), others) == known(world.state, others)
    monkeypatch.undo()
    reading.stops.clear()
    reading.finish()  # the next start takes what was left
    unique(reading)
    check(world, reading)


def test_a_partition_is_the_same_for_ever() -> None:
    assert [partition_of(name, 12) for name in ("default", "north", "~quarantine")] == [
        partition_of(name, 12) for name in ("default", "north", "~quarantine")
    ]
