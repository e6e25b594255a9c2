"""A Faust worker in a process of its own, for tests that kill it: `python faust_worker.py JSON`.

It writes down what it processed, a line for each: partition and offset. The file is not closed
behind a killed process, so a line is written at once.

    driver : "strict", or "stock": Faust's own
    bootstrap, group, topic : where it reads; values are numbers in decimal
    out : file of what was processed; the file with `.trouble` behind exists once there was trouble
    style : how the agent of the stock driver reads: events, take, noack, noack_take
    trouble : what happens at the record TROUBLE, once: raise, hold (it is never finished), stale
        (the group's generation changes meanwhile), poison (the record goes to topic `dead`)
    pause : seconds that every batch or event takes
    seek_to : offset to begin from in every partition (strict), -1: where the group left off
    settings, options : of Faust and of the strict driver
    may_wait : whether its fetches may wait for more (strict)
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faust

from reassoc.stream.log_batch import Batch, Partition
from reassoc.stream.strict_consumer import (
    SCHEME,
    StrictOptions,
    configure,
    consumer_of,
    register,
    strict_settings,
)

TROUBLE = b"trouble"
HOLD_SECONDS = 600.0


@dataclass(frozen=True)
class Plan:
    """What the worker is told."""

    driver: str
    bootstrap: str
    group: str
    topic: str
    out: str
    style: str = "events"
    trouble: str = ""
    dead: str = ""
    pause: float = 0.0
    seek_to: int = -1
    concurrency: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    may_wait: bool = False


class Agent:
    """What the agents do, whatever the driver."""

    def __init__(self, plan: Plan, app: faust.App) -> None:
        self.plan = plan
        self.app = app
        self.file = os.open(plan.out, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: Iterable[tuple[int, int]]) -> None:
        """Write down what was processed."""
        lines = "".join(f"{partition} {offset}\n" for partition, offset in what)
        os.write(self.file, lines.encode())

    async def process(self, values: Sequence[bytes | None]) -> None:
        """Process records; there may be trouble."""
        if self.plan.pause:
            await asyncio.sleep(self.plan.pause)
        marker = Path(f"{self.plan.out}.trouble")
        if TROUBLE not in values or not self.plan.trouble or marker.exists():
            return
        if self.plan.trouble == "poison":
            await self.app.producer.send_and_wait(self.plan.dead, None, TROUBLE, None, None, None)
            return
        marker.touch()
        if self.plan.trouble == "raise":
            raise RuntimeError("trouble")
        if self.plan.trouble == "hold":
            await asyncio.sleep(HOLD_SECONDS)
        if self.plan.trouble == "stale":
            asyncio.get_running_loop().call_later(0.5, self._renew, -1)
            self._renew(1)

    def _renew(self, step: int) -> None:
        self.app.consumer_generation_id += step

    async def batches(self, stream: AsyncIterator[Batch]) -> None:
        """The agent of the strict driver."""
        async for batch in stream:
            await self.process([record.value for record in batch])
            self.note((batch.partition, record.offset) for record in batch)
            batch.done()

    async def events(self, stream: Any) -> None:
        """An agent of the stock driver: event by event."""
        async for event in stream.events():
            await self.process([event.value])
            self.note([(event.message.partition, event.message.offset)])

    async def take(self, stream: Any) -> None:
        """An agent of the stock driver: two values at a time, which are their offsets."""
        async for values in stream.take(2, within=0.2):
            await self.process(values)
            self.note((0, int(value)) for value in values if value != TROUBLE)

    async def noack(self, stream: Any) -> None:
        """An agent of the stock driver: it acknowledges by itself."""
        async for event in stream.noack().events():
            await self.process([event.value])
            self.note([(event.message.partition, event.message.offset)])
            event.ack()

    async def noack_take(self, stream: Any) -> None:
        """An agent of the stock driver: two events at a time, which it acknowledges by itself."""
        async for events in stream.noack_take(2, within=0.2):
            await self.process([event.value for event in events])
            self.note((event.message.partition, event.message.offset) for event in events)
            for event in events:
                event.ack()


def run(plan: Plan) -> None:
    """Run until a signal ends it, or an error."""
    register()
    scheme = SCHEME if plan.driver == "strict" else "kafka"
    settings = strict_settings() | {
        "broker_commit_interval": 0.2,
        "broker_heartbeat_interval": 0.3,
        "broker_session_timeout": 2.0,  # how long a killed worker's partitions wait
        "datadir": f"{plan.out}.data",
        **plan.settings,
    }
    app = faust.App(plan.group, broker=f"{scheme}://{plan.bootstrap}", **settings)

    async def seek(partitions: set[Partition]) -> None:
        if plan.seek_to >= 0:
            for partition in partitions:
                await consumer_of(app).seek(partition, plan.seek_to)

    configure(app, StrictOptions(on_assigned=seek, may_wait=lambda: plan.may_wait, **plan.options))
    agent = Agent(plan, app)
    read = agent.batches if plan.driver == "strict" else getattr(agent, plan.style)
    topic = app.topic(
        plan.topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
    )

    @app.agent(topic, concurrency=plan.concurrency)
    async def work(stream: Any) -> None:
        await read(stream)

    faust.Worker(app, loglevel="warning").execute_from_commandline()


if __name__ == "__main__":
    run(Plan(**json.loads(sys.argv[1])))
