"""The partitions of the item log that this worker has: a runner for each, across rebalances.

The group says at every rebalance which partitions are ours now. One that stays ours goes on as it
is; should another worker have had it in between, its claim has fenced this one off, which shows at
the next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any

from reassoc.stream.log_batch import Batch
from reassoc.stream.partition import Partition
from reassoc.stream.partition_runner import (
    IsBehind,
    PartitionRunner,
    Reader,
    RunnerWatch,
    Threads,
)

QUEUE_BATCHES_MAX = 1024
"""Batches of one partition that wait; the consumer holds back before that."""

OpenPartition = Callable[[int], Awaitable[Partition]]
Lead = Callable[[Partition], Coroutine[Any, Any, None]]


class Matching:
    """All of it belongs to one event loop.

    lead : awaited beside a partition while it is open, cancelled when it closes; what the owner of
        a partition does for all
    is_behind : whether more comes in than is matched, so that what is not urgent waits
    """

    def __init__(
        self,
        open_partition: OpenPartition,
        reader: Reader,
        threads: Threads,
        watch: RunnerWatch,
        lead: Lead,
        is_behind: IsBehind = lambda: False,
    ) -> None:
        self._open_partition = open_partition
        self._reader = reader
        self._threads = threads
        self._watch = watch
        self._lead = lead
        self._is_behind = is_behind
        self._runners: dict[int, PartitionRunner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._owning = asyncio.Lock()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def runners(self) -> list[PartitionRunner]:
        """Those of our partitions, by number."""
        return [self._runners[number] for number in sorted(self._runners)]

    @property
    def has_backlog(self) -> bool:
        """Whether a partition has batches that wait. Any thread may ask."""
        return any(runner.has_backlog for runner in list(self._runners.values()))

    def applied(self, number: int) -> int | None:
        """Up to which position a partition is applied, None where it is not open here."""
        runner = self._runners.get(number)
        partition = runner.partition if runner is not None else None
        return partition.progress.position if partition is not None else None

    async def own(self, numbers: Collection[int]) -> None:
        """These partitions are ours now, and no others. In the order of calls."""
        async with self._owning:
            await self._own(numbers)

    def next_offsets(self) -> dict[int, int]:
        """Where partitions that stay ours are to be read on. The group begins each anew where it
        was committed, which may be beyond what a partition has taken that is rebuilt."""
        offsets = {number: runner.next_offset for number, runner in self._runners.items()}
        return {number: offset for number, offset in offsets.items() if offset is not None}

    async def _own(self, numbers: Collection[int]) -> None:
        for number in set(self._runners) - set(numbers):
            await self._end(number)
        for number in sorted(set(numbers) - set(self._runners)):
            runner = PartitionRunner(
                number,
                self._opener(number),
                self._reader,
                self._threads,
                self._watch,
                self._lead,
                self._is_behind,
                queue_max=QUEUE_BATCHES_MAX,
            )
            self._runners[number] = runner
            self._tasks[number] = asyncio.create_task(runner.run())
            self._tasks[number].add_done_callback(self._ended)

    async def put(self, batch: Batch) -> None:
        """Hand a batch to its partition."""
        runner = self._runners.get(batch.partition)
        if runner is not None and not batch.is_void:
            await runner.put(batch)

    def forget(self) -> None:
        """The state may have gone back: open every partition anew."""
        for runner in self._runners.values():
            runner.forget()

    async def end(self) -> None:
        """Let go of everything."""
        await self.own(())

    def _opener(self, number: int) -> Callable[[], Awaitable[Partition]]:
        return lambda: self._open_partition(number)

    async def _end(self, number: int) -> None:
        del self._runners[number]
        task = self._tasks.pop(number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            self.failed.set_exception(error)
