"""A Faust transport without a server, for tests of agents: the strict consumer on lists.

The consumer is the real one, so agents see the same batches, commits, seeks and revocations; only
what a server's driver does is replaced. A log outlives its applications, under the host of the URL:

    log = memory_log("name")
    log.append("items", 0, b"...")
    app = memory_app("memory://name", StrictOptions())
    async with running(app): ...
    log.committed[Partition("items", 0)]
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import faust
from aiokafka.structs import ConsumerRecord
from faust.transport import base
from faust.transport.drivers import TRANSPORTS
from faust.types import TP, RecordMetadata

from reassoc.stream.log_batch import Partition
from reassoc.stream.strict_consumer import (
    StrictConsumer,
    StrictOptions,
    configure,
    strict_settings,
)

RECORDS_A_FETCH = 4
"""Few, so that small tests have several batches."""
IDLE_SECONDS = 0.01
START_SECONDS_MAX = 20.0


class MemoryLog:
    """Partitions as lists, and what the group has committed. partitions : of every topic"""

    def __init__(self, partitions: int = 2) -> None:
        self.partitions = partitions
        self.records: dict[Partition, list[ConsumerRecord[bytes, bytes]]] = defaultdict(list)
        self.committed: dict[Partition, int] = {}

    def append(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:  # fmt: skip
        """Add a record; its offset."""
        found = self.records[Partition(topic, partition)]
        offset = len(found)
        sizes = len(key or b""), len(value or b"")
        found.append(
            ConsumerRecord(topic, partition, offset, 0, 0, key, value, None, *sizes, tuple(headers))
        )
        return offset

    def values(self, topic: str) -> list[bytes | None]:
        """All values of a topic, partition by partition."""
        return [
            record.value
            for number in range(self.partitions)
            for record in self.records[Partition(topic, number)]
        ]


_LOGS: dict[str, MemoryLog] = {}


def memory_log(name: str, partitions: int = 2) -> MemoryLog:
    """A new log, under a name."""
    _LOGS[name] = MemoryLog(partitions)
    return _LOGS[name]


class Consumer(StrictConsumer):
    """All partitions are its own, from the subscription on; `rebalance` gives it others."""

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.memory = _LOGS[str(self.transport.url[0].host)]
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._generations = itertools.count(1)

    async def rebalance(self, tps: Iterable[TP | Partition]) -> None:
        """Revoke everything, and assign these."""
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(self._assigned)
        self._assigned = {TP(*tp) for tp in tps}
        self._positions = {
            tp: self.memory.committed.get(Partition(*tp), 0) for tp in self._assigned
        }
        generation = next(self._generations)
        self.app.consumer_generation_id = generation
        await self.on_partitions_assigned(self._assigned, generation)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Faust waits for this to return before it takes an assignment."""
        numbers = range(self.memory.partitions)
        self.add_future(self.rebalance([TP(topic, n) for topic in topics for n in numbers]))

    async def _take(self, tps: set[TP], seconds: float) -> Mapping[TP, Sequence[Any]]:
        taken = {}
        for tp in tps:
            begin = self._positions[tp]
            found = self.memory.records[Partition(*tp)][begin : begin + RECORDS_A_FETCH]
            if found:
                taken[tp] = found
                self._positions[tp] = begin + len(found)
        await asyncio.sleep(0 if taken else IDLE_SECONDS)
        return taken

    async def _commit_in(self, offsets: Mapping[TP, int], generation: int) -> bool:
        if generation != self.app.consumer_generation_id:
            return False
        self.memory.committed.update({Partition(*tp): n for tp, n in offsets.items()})
        return True

    async def _committed(self, tps: Iterable[TP]) -> Mapping[TP, int | None]:
        return {tp: self.memory.committed.get(Partition(*tp)) for tp in tps}

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset

    def assignment(self) -> set[TP]:
        """What it has."""
        return self._assigned

    def highwater(self, tp: TP) -> int:
        """End of a partition."""
        return len(self.memory.records[Partition(*tp)])

    def topic_partitions(self, topic: str) -> int:
        """The same for all."""
        return self.memory.partitions


# Faust wants more methods, of which the strict consumer calls none.
Consumer.__abstractmethods__ = frozenset()


class Producer(base.Producer):
    """What agents send comes into the log at once. No partition named: the first one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.memory = _LOGS[str(self.transport.url[0].host)]

    async def send(
        self, topic: str, key: Any, value: Any, partition: Any, timestamp: Any, headers: Any,
        *, transactional_id: str | None = None,
    ) -> Any:  # fmt: skip
        """Add a record; a future that is done."""
        number = partition or 0
        offset = self.memory.append(topic, number, value, key, list(headers or ()))
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(RecordMetadata(topic, number, TP(topic, number), offset, 0, 0))
        return sent

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> Any:
        """Add a record."""
        return await (await self.send(*args, **kwargs))

    async def flush(self) -> None:
        """Nothing waits."""


class Transport(base.Transport):
    """For memory:// URLs."""

    Consumer = Consumer
    Producer = Producer
    driver_version = "memory"
    default_port = 0


def memory_app(
    name: str, options: StrictOptions | None = None, *, folder: Path, **settings: Any
) -> faust.App:
    """An application on the log of this name. folder : for what Faust writes, which is nothing"""
    TRANSPORTS.aliases["memory"] = f"{__name__}:Transport"
    own = {"broker_commit_interval": 0.02, "datadir": str(folder), **settings}
    app = faust.App(name, broker=f"memory://{name}", **{**strict_settings(), **own})
    configure(app, options or StrictOptions())
    return app


@asynccontextmanager
async def running(app: faust.App) -> AsyncIterator[faust.App]:
    """An application that has its partitions, stopped at the end."""
    async with asyncio.timeout(START_SECONDS_MAX):
        app.finalize()
        await app.start()
    try:
        yield app
    finally:
        await app.stop()
