"""What agents see of the strict driver, without a server: what counts, is void, comes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

from faust_memory import Consumer, memory_app, memory_log, running

from reassoc.stream.log_batch import Batch, Partition
from reassoc.stream.strict_consumer import StrictOptions, consumer_of

ITEMS = Partition("items", 0)
WAIT_SECONDS_MAX = 20.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0.005)


def batches_of(app: Any) -> list[Batch]:
    """What an agent that finishes nothing has got, growing."""
    got: list[Batch] = []

    @app.agent(app.topic("items", value_type=bytes, value_serializer="raw"))
    async def keep(stream: AsyncIterator[Batch]) -> None:
        async for batch in stream:
            got.append(batch)

    return got


def test_only_what_is_done_with_nothing_open_before_it_is_committed(tmp_path: Path) -> None:
    log = memory_log("prefix", partitions=1)
    for n in range(12):
        log.append("items", 0, b"%d" % n)

    async def body() -> None:
        app = memory_app("prefix", folder=tmp_path)
        got = batches_of(app)
        async with running(app):
            await until(lambda: len(got) == 3)
            got[1].done()
            got[2].done()
            await consumer_of(app).commit()
            assert ITEMS not in log.committed
            got[0].done()
            await until(lambda: log.committed.get(ITEMS) == 12)
            assert consumer_of(app).positions()[ITEMS] == (12, 12, 12)

    asyncio.run(body())


def test_a_partition_that_is_full_waits_and_others_go_on(tmp_path: Path) -> None:
    log = memory_log("full")
    for n in range(100):
        log.append("items", n % 2, b"%d" % n)

    async def body() -> None:
        app = memory_app(
            "full", StrictOptions(batches_in_flight_max=2, finish_seconds_max=0.05), folder=tmp_path
        )
        got = batches_of(app)
        async with running(app):

            def finish_the_other() -> bool:
                for batch in got:
                    if batch.partition == 1:
                        batch.done()
                return log.committed.get(Partition("items", 1)) == 50

            await until(finish_the_other)
            assert [batch.last for batch in got if batch.partition == 0] == [3, 7]

    asyncio.run(body())


def test_a_revoked_batch_is_void_and_comes_again(tmp_path: Path) -> None:
    log = memory_log("revoked", partitions=1)
    for n in range(8):
        log.append("items", 0, b"%d" % n)
    told: list[tuple[str, set[Partition]]] = []

    async def assigned(tps: set[Partition]) -> None:
        told.append(("assigned", tps))

    async def revoked(tps: set[Partition]) -> None:
        told.append(("revoked", tps))

    async def body() -> None:
        options = StrictOptions(finish_seconds_max=0.05, on_assigned=assigned, on_revoked=revoked)
        app = memory_app("revoked", options, folder=tmp_path)
        got = batches_of(app)
        async with running(app):
            await until(lambda: len(got) == 2)
            got[0].done()
            await cast(Consumer, consumer_of(app)).rebalance([ITEMS])
            assert log.committed == {ITEMS: 4}
            assert got[1].is_void
            got[1].done()
            await until(lambda: len(got) == 3)
            assert (got[2].first, got[2].is_void, log.committed) == (4, False, {ITEMS: 4})

    asyncio.run(body())
    assert [what for what, _ in told] == ["assigned", "revoked", "assigned", "revoked"]
    assert all(tps == {ITEMS} for _, tps in told)


def test_a_seek_back_makes_what_is_in_flight_void_and_lowers_the_commit(tmp_path: Path) -> None:
    log = memory_log("seek", partitions=1)
    for n in range(8):
        log.append("items", 0, b"%d" % n)

    async def body() -> None:
        app = memory_app("seek", StrictOptions(finish_seconds_max=0.05), folder=tmp_path)
        got = batches_of(app)
        async with running(app):
            await until(lambda: len(got) == 2)
            got[0].done()
            await until(lambda: log.committed.get(ITEMS) == 4)
            await consumer_of(app).seek(ITEMS, 2)
            got[1].done()
            await until(lambda: log.committed.get(ITEMS) == 2)
            await until(lambda: len(got) == 4)
            assert [batch.first for batch in got] == [0, 4, 2, 6]
            got[2].done()
            await until(lambda: log.committed.get(ITEMS) == 6)

    asyncio.run(body())


def test_a_seek_of_one_partition_takes_nothing_from_others(tmp_path: Path) -> None:
    """It comes when batches of both are fetched, and not handed on yet."""
    log = memory_log("others")
    for n in range(8):
        log.append("items", n % 2, b"%d" % n)

    async def body() -> None:
        app = memory_app("others", StrictOptions(finish_seconds_max=0.05), folder=tmp_path)
        got = batches_of(app)
        consumer: Any = consumer_of(app)
        fetch, sought = consumer._next_messages, asyncio.Event()

        async def fetch_and_seek() -> list[Any]:
            messages = sorted(await fetch(), key=lambda message: message.partition)
            if len(messages) == 2 and not sought.is_set():
                sought.set()
                await consumer.seek(ITEMS, 2)
            return messages

        consumer._next_messages = fetch_and_seek
        async with running(app):
            await until(lambda: len(got) == 2)
            assert sought.is_set()
        assert {(batch.partition, batch.first) for batch in got} == {(0, 2), (1, 0)}

    asyncio.run(body())
