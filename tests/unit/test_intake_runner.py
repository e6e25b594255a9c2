"""Groups of raw messages: what waits together is taken together, and entries grow with the load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reassoc.stream import intake_runner, topic_log
from reassoc.stream.config import Kafka
from reassoc.stream.intake_runner import GroupLimits, IntakeRunner
from reassoc.stream.item_log import FenceEntry
from reassoc.stream.stream_intake import Took
from reassoc.stream.topic_log import TopicLog, TopicLogError

SECONDS_MAX = 10.0


class FakeBatch:
    """One message of some bytes."""

    topic, partition, is_void = "raw.x12", 0, False

    def __init__(self, size: int = 1) -> None:
        self.size_bytes = size
        self.finished = asyncio.Event()

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        yield SimpleNamespace(value=bytes(self.size_bytes), headers=(), offset=0, timestamp=1)

    def done(self) -> None:
        self.finished.set()


class World:
    """A runner; what it took: sizes of groups. Positions count groups."""

    def __init__(self, limits: GroupLimits) -> None:
        self.groups: list[int] = []
        self.logged = self.applied = 0
        self._threads = ThreadPoolExecutor(2)
        watch: Any = SimpleNamespace(took=lambda *_: None, intake_waits=lambda *_: None)
        intake: Any = self
        self.runner = IntakeRunner(
            intake, self._append, self._nothing, self._nothing, self._threads, watch, limits,
            self._is_applied,
        )  # fmt: skip

    def take(self, messages: Sequence[object]) -> Took:
        self.groups.append(len(messages))
        entries: Any = [("one", None)]
        return Took(entries)

    async def _append(self, entries: object, arrived_ms: int) -> Mapping[str, int]:
        self.logged += 1
        return {"one": self.logged}

    async def _nothing(self, _: object) -> None:
        raise AssertionError("nothing is dead, and nothing was found")

    async def _is_applied(self, positions: Mapping[str, int]) -> bool:
        return positions["one"] <= self.applied

    async def put(self, *sizes: int) -> list[FakeBatch]:
        batches = [FakeBatch(size) for size in sizes]
        for batch in batches:
            await self.runner.put(cast(Any, batch))
        return batches


@asynccontextmanager
async def running(limits: GroupLimits) -> AsyncIterator[World]:
    world = World(limits)
    task = asyncio.create_task(world.runner.run())
    try:
        async with asyncio.timeout(SECONDS_MAX):
            yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world._threads.shutdown()


async def one_by_one(world: World, count: int) -> None:
    """So many groups of one message."""
    for _ in range(count):
        (batch,) = await world.put(1)
        await batch.finished.wait()


def test_what_comes_while_matching_is_behind_is_taken_together() -> None:
    async def run() -> list[int]:
        async with running(GroupLimits(1000, 1 << 20, 0.001)) as world:
            await one_by_one(world, 1)  # it is logged and not matched
            batches = await world.put(1, 1, 1)
            await asyncio.sleep(0.05)
            batches += await world.put(1, 1)
            assert world.groups == [1], "the next group waits"
            world.applied = 1
            await batches[-1].finished.wait()
            return world.groups

    assert asyncio.run(run()) == [1, 5]


def test_a_group_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_runner, "HOLD_SECONDS_MAX", 0.05)

    async def run() -> None:
        async with running(GroupLimits(1000, 1 << 20, 0.001)) as world:
            await one_by_one(world, 5)
            assert world.groups == [1] * 5

    asyncio.run(run())


def test_a_full_group_waits_for_nobody() -> None:
    async def run() -> None:
        async with running(GroupLimits(2, 1 << 20, 0.001)) as world:
            batches = await world.put(*[1] * 12)
            await batches[-1].finished.wait()
            assert world.groups == [2] * 6

    asyncio.run(run())


def test_a_first_group_is_small() -> None:
    """So that matching has something to do while the next one is read."""

    async def run() -> list[int]:
        async with running(GroupLimits(1000, 80, 0.001)) as world:
            batches = await world.put(*[10] * 9)
            await batches[-1].finished.wait()
            return world.groups

    assert asyncio.run(run())[0] == 1


def test_it_is_behind_while_groups_are_large_and_a_moment_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_runner, "BEHIND_SECONDS", 0.2)

    async def run() -> None:
        async with running(GroupLimits(12, 1 << 20, 0.001)) as world:
            world.applied = 2
            await one_by_one(world, 2)
            assert not world.runner.is_behind
            batches = await world.put(1, 1, 1)
            await batches[-1].finished.wait()
            assert world.runner.is_behind
            await asyncio.sleep(0.3)
            assert not world.runner.is_behind

    asyncio.run(run())


def test_it_is_behind_where_a_group_waited_long_for_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_runner, "HELD_LONG_SECONDS", 0.05)

    async def run() -> None:
        async with running(GroupLimits(1000, 1 << 20, 0.001)) as world:
            await one_by_one(world, 1)  # it is logged and not matched
            (batch,) = await world.put(1)
            await asyncio.sleep(0.1)
            assert not world.runner.is_behind
            world.applied = 1
            await batch.finished.wait()
            assert world.runner.is_behind

    asyncio.run(run())


def test_what_kafka_does_not_take_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_log, "APPEND_SECONDS_MAX", 0.05)

    class Silent:
        async def send(self, *_: object, **__: object) -> asyncio.Future[None]:
            return asyncio.get_running_loop().create_future()

    async def run() -> None:
        monkeypatch.setattr(topic_log, "AIOKafkaProducer", lambda **_: Silent())
        await TopicLog(Kafka(), 1).append([("one", FenceEntry())])

    with pytest.raises(TopicLogError, match="TimeoutError"):
        asyncio.run(run())
