"""Partitions across rebalances: what stays ours is read on from where it is, not from where the
group was committed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from reassoc.stream import partition_runner
from reassoc.stream.matching import Matching
from reassoc.stream.partition import Progress
from reassoc.stream.partition_runner import PartitionRunner, Threads

SECONDS_MAX = 10.0


class FakePartition:
    def __init__(self, number: int) -> None:
        self.number = number
        self.progress = Progress(40, 1_000)
        self.taken = 0
        self.unpublished_bytes = 0
        self.is_taking = False
        self.published = 0
        self.held: threading.Event | None = None

    def take(self, records: Sequence[object]) -> int:
        self.is_taking = True
        return int(self.held is not None and self.held.wait(SECONDS_MAX))

    def let_out(self) -> bool:
        return False

    def publish(self) -> int:
        self.published += 1
        return 0


class World:
    """A worker's partitions. sought : (number, offset) of every seek

    gate : seeks wait for it, as while the group moves partitions
    """

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.partitions: dict[int, FakePartition] = {}
        self.sought: list[tuple[int, int]] = []
        self.open = asyncio.Event()
        self.leading = 0
        self.led_most = 0
        self.is_behind = False
        watch: Any = _Silent()
        threads = Threads(executor, executor)
        self.matching = Matching(self._open, self, threads, watch, self._lead, self._is_behind)

    async def _open(self, number: int) -> Any:
        self.partitions[number] = FakePartition(number)
        return self.partitions[number]

    def _is_behind(self) -> bool:
        return self.is_behind

    async def _lead(self, partition: object) -> None:
        self.leading += 1
        self.led_most = max(self.led_most, self.leading)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # letting go takes a moment
            self.leading -= 1

    async def begin_of(self, number: int, progress: Progress) -> int:
        return progress.position - 10

    async def seek(self, number: int, offset: int) -> None:
        self.sought.append((number, offset))
        await self.open.wait()


class OneRecord:
    """A batch of the item log."""

    is_void = False
    partition = 3

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter([SimpleNamespace(key=b"", offset=0, timestamp=0, value=b"", headers=())])

    def done(self) -> None:
        """Nobody commits."""


class _Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    with ThreadPoolExecutor(1) as executor:
        world = World(executor)
        try:
            yield world
        finally:
            await world.matching.end()


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0.001)


def test_what_stays_ours_is_read_on_from_what_it_has_taken() -> None:
    async def run() -> None:
        async with a_world() as world:
            world.open.set()
            await world.matching.own([3, 5])
            await until(lambda: all(each.partition for each in world.matching.runners))
            assert world.matching.next_offsets() == {3: 30, 5: 30}
            world.partitions[3].taken = 34
            assert world.matching.next_offsets() == {3: 34, 5: 30}

    asyncio.run(run())


def test_where_it_is_to_be_read_from_is_known_before_it_seeks() -> None:
    async def run() -> None:
        async with a_world() as world:
            await world.matching.own([3])
            assert world.matching.next_offsets() == {}
            await until(lambda: world.sought)
            assert world.matching.runners[0].partition is None
            assert world.matching.next_offsets() == {3: 30}

    asyncio.run(run())


def test_the_last_assignment_holds_however_soon_it_comes() -> None:
    async def run() -> None:
        async with a_world() as world:
            world.open.set()
            await world.matching.own([0])
            await until(lambda: world.leading)
            await asyncio.gather(*(world.matching.own(numbers) for numbers in ([1], [0], [1], [2])))
            assert [each.number for each in world.matching.runners] == [2]
            await until(lambda: world.leading)
            assert world.leading == world.led_most == 1

    asyncio.run(run())


def test_a_partition_is_opened_anew_in_the_middle_of_work() -> None:
    """What was applied wakes the publisher at the moment in which it is told to end."""

    async def run() -> None:
        async with a_world() as world:
            world.open.set()
            await world.matching.own([3])
            await until(lambda: world.matching.runners[0].partition)
            first = world.partitions[3]
            await asyncio.sleep(0.05)  # it has nothing to publish, and waits
            held = threading.Event()
            first.held = held
            batch: Any = OneRecord()
            await world.matching.put(batch)
            await until(lambda: first.is_taking)
            await world.matching.put(batch)
            world.matching.forget()
            held.set()
            await until(lambda: world.partitions[3] is not first)

    asyncio.run(run())


def test_the_ledger_waits_while_more_comes_in_than_is_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("LINGER", 0.01), ("IDLE", 0.01), ("BACKLOG", 60.0)):
        monkeypatch.setattr(partition_runner, f"{name}_SECONDS", seconds)

    async def run() -> None:
        async with a_world() as world:
            world.open.set()
            world.is_behind = True
            await world.matching.own([3])
            await until(lambda: 3 in world.partitions and world.partitions[3].published == 1)
            await asyncio.sleep(0.2)
            assert world.partitions[3].published == 1
            world.partitions[3].unpublished_bytes = partition_runner.BACKLOG_BYTES
            await until(lambda: world.partitions[3].published > 2)  # too much waits for it
            world.partitions[3].unpublished_bytes = 0
            world.is_behind = False
            before = world.partitions[3].published
            await until(lambda: world.partitions[3].published > before + 2)

    asyncio.run(run())


def test_what_is_void_keeps_nobody_waiting_at_a_partition_that_does_not_open() -> None:
    async def run() -> None:
        nothing: Any = None
        runner = PartitionRunner(
            0, nothing, nothing, nothing, nothing, nothing, nothing, queue_max=2
        )  # fmt: skip
        batches: list[Any] = [SimpleNamespace(is_void=False) for _ in range(3)]
        async with asyncio.timeout(SECONDS_MAX):
            await runner.put(batches[0])
            await runner.put(batches[1])
            batches[0].is_void = True
            await runner.put(batches[2])

    asyncio.run(run())
