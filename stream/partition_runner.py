"""A partition of the item log while this worker has it: opened, fed, published, and made anew.

Batches wait in a queue; a thread applies them. What goes wrong is told apart here: a store that is
away is asked again, a partition that somebody else has taken over or whose state went back is
opened anew and read from where the state is, and a state that was lost is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from reassoc.stream.log_batch import Batch
from reassoc.stream.partition import LostStateError, Partition, Progress
from reassoc.stream.partition_log import LogRecord
from reassoc.stream.patience import patiently
from reassoc.stream.publisher import PUBLISH_ENTRIES_MAX
from reassoc.stream.state import FencedError, MarkError, UnclaimedError
from reassoc.stream.topic_log import NotLeaderError, arrived_of

TAKE_RECORDS_MAX = 4096
"""Records that are applied between two looks at the queue."""
REOPEN_SECONDS = 0.5
"""How long a partition that was fenced off waits before it is claimed again: the group may have
given it to another worker."""
LOST_SECONDS = 2.0
"""Between two looks at whether a lost state was rebuilt."""
LINGER_SECONDS = 0.5
"""How long what is published waits for more: statements are few, and files, where there is much."""
BACKLOG_SECONDS = 10.0
"""How long the ledger waits where matching is behind: pairs come first, and the ledger takes much
at a time more cheaply."""
BACKLOG_BYTES = 64 << 20
"""Of outbox entries that wait for the ledger, by which it goes on in spite of a backlog."""
IDLE_SECONDS = 1.0
"""Between two looks at the outboxes where nothing comes."""

IsBehind = Callable[[], bool]
"""Whether a worker takes in all it can: then what is not urgent waits."""

T = TypeVar("T")


class Reader(Protocol):
    """The consumer of the item log, as far as a partition needs it."""

    async def begin_of(self, number: int, progress: Progress) -> int:
        """The offset from which a partition is to be read: a little before `progress`."""
        ...

    async def seek(self, number: int, offset: int) -> None:
        """Read a partition from there on. While the group moves partitions nothing is done; at
        the end of that every runner is asked for its `next_offset`."""
        ...


class RunnerWatch(Protocol):
    """Hears how a partition is."""

    def opened(self, partition: Partition) -> None:
        """It is being applied."""
        ...

    def waits(self, number: int, error: Exception, seconds: float) -> None:
        """Something failed, and is tried again."""
        ...

    def reopened(self, number: int, error: Exception) -> None:
        """Somebody else has written, or the state went back: the partition is opened anew."""
        ...

    def lost(self, number: int, error: Exception) -> None:
        """The state was lost: it must be rebuilt."""
        ...

    def read(self, count: int, byte_count: int) -> None:
        """Records of the item log came."""
        ...

    def published(self, number: int, count: int, seconds: float) -> None:
        """Outbox entries are in the ledger."""
        ...


@dataclass(frozen=True, slots=True)
class Threads:
    """Where calls of partitions run: no step waits for a thread that the ledger has."""

    steps: Executor
    publishing: Executor


class PartitionRunner:
    """Runs one partition until it is cancelled. All of it belongs to one event loop.

    open_partition : makes the Partition, and fences off who wrote for its owner before
    lead : what the owner does for all, as long as the partition is open
    is_behind : see IsBehind
    """

    def __init__(
        self,
        number: int,
        open_partition: Callable[[], Awaitable[Partition]],
        reader: Reader,
        threads: Threads,
        watch: RunnerWatch,
        lead: Callable[[Partition], Coroutine[Any, Any, None]],
        is_behind: IsBehind,
        *,
        queue_max: int,
    ) -> None:
        self.number = number
        self._open_partition = open_partition
        self._reader = reader
        self._threads = threads
        self._watch = watch
        self._lead = lead
        self._is_behind = is_behind
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(queue_max)
        self._published = asyncio.Event()
        self._is_stale = False
        self._begin: tuple[Partition, int] | None = None
        self.partition: Partition | None = None
        self.is_lost = False

    async def put(self, batch: Batch) -> None:
        """Take the next batch; waits where the queue is full. One that does not open for a while
        must not keep void ones of older assignments: others wait behind it."""
        if self._queue.full():
            self._drop_void()
        await self._queue.put(batch)

    def forget(self) -> None:
        """The state may have gone back: open the partition anew."""
        self._is_stale = True

    @property
    def next_offset(self) -> int | None:
        """The offset that must come next, wherever the group left off; None before it was opened:
        then it seeks by itself."""
        if self._begin is None:
            return None
        partition, offset = self._begin
        return max(offset, partition.taken)

    @property
    def has_backlog(self) -> bool:
        """Whether batches wait while others are applied."""
        return not self._queue.empty()

    async def run(self) -> None:
        """Open, apply and publish, for ever."""
        while True:
            partition = await self._opened()
            self._is_stale = False
            await self._rewound(partition)
            self.partition = partition
            self._watch.opened(partition)
            try:
                await _together(
                    self._apply_on(partition), self._publish_on(partition), self._lead(partition)
                )
            except (FencedError, MarkError, UnclaimedError, NotLeaderError, OSError) as error:
                # An OSError is of what leads: whether its entries are there says the next fence.
                self._watch.reopened(self.number, error)
            finally:
                self.partition = None
            await asyncio.sleep(REOPEN_SECONDS)

    async def _opened(self) -> Partition:
        while True:
            try:
                partition = await self._persist(self._open_partition)
            except (LostStateError, UnclaimedError) as error:
                self.is_lost = True
                self._watch.lost(self.number, error)
                self._empty_queue()
                await asyncio.sleep(LOST_SECONDS)
                continue
            except (FencedError, MarkError) as error:
                self._watch.reopened(self.number, error)
                await asyncio.sleep(REOPEN_SECONDS)
                continue
            self.is_lost = False
            return partition

    async def _rewound(self, partition: Partition) -> None:
        """Read from where the state is. It is noted before: the group may move partitions, and
        forget about a seek, at any moment."""
        progress = partition.progress
        offset = await self._persist(lambda: self._reader.begin_of(self.number, progress))
        self._begin = partition, offset
        await self._persist(lambda: self._reader.seek(self.number, offset))

    def _drop_void(self) -> None:
        waiting = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        for batch in waiting:
            if not batch.is_void:
                self._queue.put_nowait(batch)

    def _empty_queue(self) -> None:
        """Let go of what the queue holds: it is read again once the partition is open."""
        while not self._queue.empty():
            self._queue.get_nowait()

    # ---- applying ----

    async def _apply_on(self, partition: Partition) -> None:
        while not self._is_stale:
            batches = await self._next()
            records = [record for batch in batches for record in records_of(batch)]
            if records:
                self._watch.read(len(records), sum(len(record.body) for record in records))
                await self._patiently(partial(partition.take, records), self._threads.steps)
                for batch in batches:
                    batch.done()
                self._published.set()
            if self._queue.empty():
                await self._patiently(partition.let_out, self._threads.steps)

    async def _next(self) -> list[Batch]:
        """Batches that wait, at least one of them, or none after a while."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                first = await self._queue.get()
        except TimeoutError:
            return []
        batches = [first]
        count = len(first)
        while not self._queue.empty() and count < TAKE_RECORDS_MAX:
            batches.append(self._queue.get_nowait())
            count += len(batches[-1])
        return [batch for batch in batches if not batch.is_void]

    # ---- publishing ----

    async def _publish_on(self, partition: Partition) -> None:
        """The ledger follows; what waits for it goes at once where it is more than a call takes."""
        while True:
            began = time.monotonic()
            self._published.clear()
            count = await self._patiently(partition.publish, self._threads.publishing)
            if count:
                self._watch.published(self.number, count, time.monotonic() - began)
            else:
                await _within(self._published.wait(), IDLE_SECONDS)
            if count < PUBLISH_ENTRIES_MAX:
                await self._linger(partition)

    async def _linger(self, partition: Partition) -> None:
        """Wait for more to publish, and for what is to be matched first."""
        end = time.monotonic() + BACKLOG_SECONDS
        await asyncio.sleep(LINGER_SECONDS)
        while (
            (self.has_backlog or self._is_behind())
            and time.monotonic() < end
            and partition.unpublished_bytes < BACKLOG_BYTES
        ):
            await asyncio.sleep(LINGER_SECONDS)

    # ---- faults ----

    async def _patiently(self, call: Callable[[], T], executor: Executor) -> T:
        """Call in a thread until the stores answer. What no time mends is raised."""
        loop = asyncio.get_running_loop()
        return await self._persist(lambda: loop.run_in_executor(executor, call))

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        return await patiently(
            call, lambda error, wait: self._watch.waits(self.number, error, wait)
        )


def records_of(batch: Batch) -> list[LogRecord]:
    """The records of a batch of the item log."""
    return [
        LogRecord(
            (record.key or b"").decode("utf-8", "replace"),
            record.offset + 1,
            record.timestamp,
            record.value or b"",
            arrived_of(record.headers),
        )
        for record in batch
    ]


async def _within(waited: Awaitable[object], seconds: float) -> None:
    """Wait, but no longer than that. (asyncio.wait_for forgets that it was cancelled where what it
    waits for comes at the same moment, and whoever has cancelled it waits for ever.)"""
    try:
        async with asyncio.timeout(seconds):
            await waited
    except TimeoutError:
        return


async def _together(*calls: Coroutine[Any, Any, None]) -> None:
    """Await calls until the first of them ends, and end the others; raises what it raised."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
