"""What was fetched from one partition and is not committed yet.

A batch is what one fetch brought of a partition. Whoever works on it says `done()`, and only that
counts: the offset that may be committed is behind the last of the batches that are done with none
before it that is not. An error, a skipped event or a worker that dies marks nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Record(Protocol):
    """A record as the client gives it. timestamp : ms since 1970"""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Batch:
    """The records of one fetch of one partition, in the order of the log. Not for several threads:
    all of it belongs to the loop of the application.

    records : at least one; offsets rise, and may have gaps (markers of transactions, compaction)
    size_bytes : of the keys and values
    is_taken : whether a stream has handed it to an agent
    """

    __slots__ = ("_flow", "_is_done", "is_taken", "is_void", "records", "size_bytes")

    def __init__(self, flow: PartitionFlow, records: Sequence[Any]) -> None:
        self.records: Sequence[Any] = records
        self.size_bytes = sum(
            len(record.value or b"") + len(record.key or b"") for record in records
        )
        self.is_taken = False
        self.is_void = False
        self._is_done = False
        self._flow = flow

    @property
    def topic(self) -> str:
        """Where it was read."""
        return self._flow.tp.topic

    @property
    def partition(self) -> int:
        """Number of the partition where it was read."""
        return self._flow.tp.partition

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return int(self.records[0].offset)

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return int(self.records[-1].offset)

    @property
    def is_done(self) -> bool:
        """Whether it counts as processed."""
        return self._is_done

    def done(self) -> None:
        """It is processed, durably. Of a void batch, or said twice, it does nothing."""
        if self.is_void or self._is_done:
            return
        self._is_done = True
        self._flow.advance()

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.records)

    def __repr__(self) -> str:
        state = "void" if self.is_void else "done" if self._is_done else "open"
        return f"<Batch {self.topic}[{self.partition}] {self.first}..{self.last} {state}>"


class PartitionFlow:
    """The batches of a partition between fetch and commit, as long as it is ours and nobody seeks.

    tp : the partition
    generation : of the group, in which it was given to us
    batches_max, bytes_max : with so much in flight, nothing more is fetched
    on_progress : called when a batch is done
    position : offset to be fetched next, None: where the group left off
    committable : offset to commit, None: nothing to say yet
    committed : offset that the server has, None: unknown, or none
    """

    def __init__(
        self,
        tp: Partition,
        generation: int,
        *,
        batches_max: int,
        bytes_max: int,
        on_progress: Callable[[], object],
    ) -> None:
        self.tp = tp
        self.generation = generation
        self.position: int | None = None
        self.committable: int | None = None
        self.committed: int | None = None
        self._batches_max = batches_max
        self._bytes_max = bytes_max
        self._on_progress = on_progress
        self._in_flight: deque[Batch] = deque()
        self._bytes = 0
        self._moved_at = time.monotonic()

    @property
    def has_room(self) -> bool:
        """Whether more may be fetched. One batch may go over the limit of bytes, the next waits."""
        return len(self._in_flight) < self._batches_max and self._bytes < self._bytes_max

    @property
    def in_flight(self) -> int:
        """Batches that are not behind the committable offset."""
        return len(self._in_flight)

    @property
    def is_worked_on(self) -> bool:
        """Whether an agent has a batch that is not done."""
        return any(batch.is_taken and not batch.is_done for batch in self._in_flight)

    @property
    def to_commit(self) -> int | None:
        """The offset that the server should have and has not; None: it has it."""
        return None if self.committable == self.committed else self.committable

    def take(self, records: Sequence[Any]) -> Batch:
        """Make a batch of what was fetched next."""
        batch = Batch(self, records)
        if not self._in_flight:
            self._moved_at = time.monotonic()
        self._in_flight.append(batch)
        self._bytes += batch.size_bytes
        self.position = batch.last + 1
        return batch

    def advance(self) -> None:
        """Let go of the batches in front that are done."""
        while self._in_flight and self._in_flight[0].is_done:
            batch = self._in_flight.popleft()
            self._bytes -= batch.size_bytes
            self.committable = batch.last + 1
            self._moved_at = time.monotonic()
        self._on_progress()

    def void(self) -> None:
        """None of the batches in flight counts any more."""
        for batch in self._in_flight:
            batch.is_void = True
        self._in_flight.clear()
        self._bytes = 0

    def stalled_seconds(self) -> float:
        """How long the oldest batch in flight has waited without anything done before it; 0.0 with
        none in flight."""
        return time.monotonic() - self._moved_at if self._in_flight else 0.0
