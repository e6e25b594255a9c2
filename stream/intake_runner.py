"""Batches of raw messages on their way through intake, several groups at a time.

What waits together is taken together: one content in the vault, one statement of the part book, one
record of the item log for each tenant. A batch is done when its items are durable on the log.

A group that is not full waits while another one is under way, or what was logged before is not
matched yet: what comes in meanwhile joins it. A step costs about the same for one item and for a
hundred, so entries must grow with the load; and they must do it here, because what stands in one
entry is matched together whoever reads the log.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from reassoc.stream.item_log import Entry
from reassoc.stream.log_batch import Batch, Record
from reassoc.stream.message import RawMessage
from reassoc.stream.patience import patiently
from reassoc.stream.stream_intake import StreamIntake, Took

GROUPS_MAX = 3
"""Groups that are under way: one is read while the one before is made durable and logged."""
FIRST_SHARE = 8
"""Of the bytes of a group that one takes which begins while nothing else is under way: matching
need not wait for all of them."""
LARGE_SHARE = 4
"""A group that is at least one part in so many of what it has room for shows that much waits."""
HELD_LONG_SECONDS = 0.1
"""So does a group that was held so long for those before it, beyond the time to linger."""
BEHIND_SECONDS = 2.0
"""How long after that much is expected to wait on."""
HOLD_SECONDS_MAX = 1.0
"""How long a group that has room waits for those before it."""
_LOOK_SECONDS = 0.004
_LOOK_SHARE = 16
"""Between two looks at how far those are, at first; then one part in so many of what it has waited
already."""
QUEUE_BATCHES_MAX = 1024

T = TypeVar("T")

Positions = Mapping[str, int]
"""Of tenants' entries on the item log."""
Append = Callable[[Sequence[tuple[str, Entry]], int], Awaitable[Positions]]
"""Writes entries to the item log, durably, and tells the last position of each tenant. The number:
when the first of their messages arrived, milliseconds since 1970."""
IsApplied = Callable[[Positions], Awaitable[bool]]
"""Tells whether tenants' logs are applied up to some positions. Must not raise."""
Tell = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[None]]
"""Tells findings: digests of files, and lines of findings.csv. Again where a group is taken again.
"""
Bury = Callable[[Sequence[tuple[Record, str, str]]], Awaitable[None]]
"""Puts messages aside, durably: each with its topic and why."""


class IntakeWatch(Protocol):
    """Hears how intake is."""

    def took(self, took: Took, batches: Sequence[Batch], seconds: float) -> None:
        """Messages were taken, and are on the log."""
        ...

    def intake_waits(self, error: Exception, seconds: float) -> None:
        """Something failed, and is tried again."""
        ...


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """How much is taken together, and how long the first message may wait for others."""

    messages_max: int
    bytes_max: int
    linger_seconds: float


class IntakeRunner:
    """Takes batches until it is cancelled. All of it belongs to one event loop."""

    def __init__(
        self,
        intake: StreamIntake,
        append: Append,
        bury: Bury,
        tell: Tell,
        executor: Executor,
        watch: IntakeWatch,
        limits: GroupLimits,
        is_applied: IsApplied,
    ) -> None:
        self._intake = intake
        self._append = append
        self._bury = bury
        self._tell = tell
        self._executor = executor
        self._watch = watch
        self._limits = limits
        self._is_applied = is_applied
        self._ahead: deque[tuple[float, Positions]] = deque(maxlen=GROUPS_MAX + 1)
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(QUEUE_BATCHES_MAX)
        self._free = asyncio.Semaphore(GROUPS_MAX)
        self._groups: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[Any] | None = None
        self._behind_at = -BEHIND_SECONDS

    @property
    def is_behind(self) -> bool:
        """Whether much waited, a moment ago. Any thread may ask."""
        return time.monotonic() < self._behind_at + BEHIND_SECONDS

    async def put(self, batch: Batch) -> None:
        """Take the next batch; waits where there are too many."""
        await self._queue.put(batch)

    async def run(self) -> None:
        """Take, for ever. Raises what no time mends."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            while True:
                group = await self._unless_failed(self._next_group())
                task = asyncio.create_task(self._take(group))
                self._groups.add(task)
                task.add_done_callback(self._ended)
        finally:
            for task in self._groups:
                task.cancel()
            await asyncio.gather(*self._groups, return_exceptions=True)

    async def _unless_failed(self, waited: Coroutine[Any, Any, T]) -> T:
        """What is waited for, unless a group has failed by then."""
        assert self._failed is not None
        task = asyncio.create_task(waited)
        try:
            await asyncio.wait([task, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            return task.result()
        finally:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._groups.discard(task)
        self._free.release()
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        if (error := task.exception()) is not None:
            self._failed.set_exception(error)

    async def _next_group(self) -> list[Batch]:
        """What is taken together next, once a group may be begun."""
        await self._free.acquire()
        group = [await self._queue.get()]
        began = time.monotonic()
        messages, size = len(group[0]), group[0].size_bytes
        bytes_max = self._limits.bytes_max // (1 if self._groups else FIRST_SHARE)
        while messages < self._limits.messages_max and size < bytes_max:
            if not self._queue.empty():
                group.append(self._queue.get_nowait())
                messages, size = messages + len(group[-1]), size + group[-1].size_bytes
                continue
            wait = await self._wait_for_more(time.monotonic() - began)
            if not self._queue.empty():
                continue
            if wait <= 0:
                break
            await asyncio.sleep(wait)
        if self._shows_backlog(messages, size, time.monotonic() - began):
            self._behind_at = time.monotonic()
        return group

    def _shows_backlog(self, messages: int, size: int, waited: float) -> bool:
        """Whether a group that is so large, or waited so long, shows that more comes in than is
        matched."""
        limits = self._limits
        is_large = messages * LARGE_SHARE >= limits.messages_max
        is_large |= size * LARGE_SHARE >= limits.bytes_max
        return is_large or waited >= limits.linger_seconds + HELD_LONG_SECONDS

    async def _wait_for_more(self, waited: float) -> float:
        """How long a group that is not full waits on, which has waited so long."""
        left = HOLD_SECONDS_MAX - waited
        is_held = left > 0 and (bool(self._groups) or await self._is_ahead(left))
        look = max(_LOOK_SECONDS, waited / _LOOK_SHARE) if is_held else 0.0
        return max(self._limits.linger_seconds - waited, look)

    async def _is_ahead(self, seconds: float) -> bool:
        """Whether groups are logged and not matched yet, as far as that is known in time. One that
        was logged long ago counts no more: a tenant that has stopped holds nobody up."""
        while self._ahead:
            logged_at, positions = self._ahead[0]
            if time.monotonic() < logged_at + HOLD_SECONDS_MAX:
                try:
                    async with asyncio.timeout(seconds):
                        if not await self._is_applied(positions):
                            return True
                except TimeoutError:
                    return False
            self._ahead.popleft()
        return False

    async def _take(self, group: list[Batch]) -> None:
        began = time.monotonic()
        batches = [batch for batch in group if not batch.is_void]
        records = [(batch.topic, batch.partition, record) for batch in batches for record in batch]
        if not records:
            return
        messages = [
            RawMessage(record.value or b"", record.headers, f"{topic}/{number}@{record.offset}")
            for topic, number, record in records
        ]
        took = await self._patiently(lambda: self._in_thread(lambda: self._intake.take(messages)))
        if took.dead:
            dead = [
                (records[each.message][2], records[each.message][0], each.reason)
                for each in took.dead
            ]
            await self._patiently(lambda: self._bury(dead))
        if took.findings:
            await self._patiently(lambda: self._tell(took.findings))
        if took.entries:
            arrived_ms = min(record.timestamp for _, _, record in records)
            positions = await self._patiently(lambda: self._append(took.entries, arrived_ms))
            self._ahead.append((time.monotonic(), positions))
        if took.keys:  # also of parts that have no items
            await self._patiently(lambda: self._in_thread(lambda: self._intake.set_logged(took)))
        for batch in batches:
            batch.done()
        self._watch.took(took, batches, time.monotonic() - began)

    def _in_thread(self, call: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        return await patiently(call, self._watch.intake_waits)
