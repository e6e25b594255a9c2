"""The stream as a whole, on a real Kafka, Redis and PostgreSQL, all of it on this machine: how much
it takes, how long an item is on its way, and what becomes of both when many items wait.

Bytes a second are told beside a bare aiokafka loop that only reads the same messages, in the same
run. The state is asked for its pairs before a figure is believed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from stream_world import (
    HERE,
    Message,
    Read,
    StreamWorld,
    feed_of,
    held_back,
    items_of,
    messages_of,
    read_bare,
    running,
    send,
    small_messages_of,
)

from reassoc.stream.message import PART_BYTES_MAX

PAYMENTS = int(os.environ.get("REASSOC_BENCH_STREAM_PAYMENTS", "24000"))
WORKERS = int(os.environ.get("REASSOC_BENCH_STREAM_WORKERS", "2"))
"""One for each processor where there is much to take in; latency is measured with one."""
LATENCY_SECONDS = int(os.environ.get("REASSOC_BENCH_LATENCY_SECONDS", "300"))
LATENCY_RATE = 250
"""Payments, and as many 835s, a second: ten times the national mean."""
SMALL_PAYMENTS = int(os.environ.get("REASSOC_BENCH_SMALL_PAYMENTS", "40000"))
TENANT_PAYMENTS = 20_000
TENANT_MESSAGE_BYTES = 200_000
"""Enough messages for both workers, though there are few items."""
STOCK_MESSAGES = 20_000
STOCK_SECONDS_MAX = 120.0


def _once(benchmark: Any, timed: float) -> None:
    """Note a run that was timed by itself."""
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info["seconds"] = round(timed, 3)


def _drained(
    world: StreamWorld, items: int, let_go: Callable[[], float]
) -> tuple[float, dict[str, float]]:
    """Let workers that wait have what lies there: seconds to the last step, and of processors."""
    before = world.processor_seconds()
    began = let_go()
    at = world.wait_applied(items)
    after = world.processor_seconds()
    return at - began, {name: round(after[name] - before[name], 2) for name in after}


@pytest.mark.parametrize(("claims", "share"), [(16, 1.0), (100, 0.64)])
def test_bench_throughput(benchmark: Any, tmp_path: Path, claims: int, share: float) -> None:
    """Messages of up to 1 MiB, taken in and matched to the last pair: some seconds of each."""
    payments = int(PAYMENTS * share)
    feed = feed_of(payments, claims)
    messages = messages_of(feed, PART_BYTES_MAX)
    with (
        running(tmp_path / "stack", feed) as world,
        held_back(world.bootstrap, messages) as let_go,
    ):
        bare = _bare(world, messages)
        world.start(WORKERS)
        seconds, spent = _drained(world, 2 * payments, let_go)
        applied_at = time.monotonic()
        assert world.metric("reassoc_matched_pairs_total") == payments
        behind = world.wait_in_ledger(2 * payments) - applied_at
        stored, resident = world.stored_bytes(), world.resident_bytes()
    _once(benchmark, seconds)
    benchmark.extra_info.update(
        megabytes=round(bare.byte_count / 1e6, 1),
        payments=payments,
        workers=WORKERS,
        mb_per_s=round(bare.byte_count / seconds / 1e6, 1),
        bare_mb_per_s=round(bare.byte_count / bare.seconds / 1e6, 1),
        bare_to_stream=round(seconds / bare.seconds, 2),
        ledger_after_s=round(behind, 1),
        stored_mb={name: round(size / 1e6, 1) for name, size in stored.items()},
        resident_mb={name: round(size / 1e6) for name, size in resident.items()},
        processor_s=spent,
    )


@pytest.mark.parametrize("tenants", [3, 300, 1000])
def test_bench_many_tenants(benchmark: Any, tmp_path: Path, tenants: int) -> None:
    """The same items of few and of many tenants, which the workers know already: what a tenant
    costs, beside what an item costs."""
    feed = feed_of(TENANT_PAYMENTS, 1, tenants)
    messages = messages_of(feed, TENANT_MESSAGE_BYTES)
    remittances = [each for each in messages if each.topic.endswith("x12")]
    first = remittances[: len(remittances) // 3]
    rest = [each for each in messages if each not in first]
    known = items_of(first)
    with running(tmp_path / "stack", feed) as world:
        send(world.bootstrap, first)
        world.start(WORKERS)
        world.wait_in_ledger(known)
        steps = world.metric("reassoc_step_apply_seconds_count")
        with held_back(world.bootstrap, rest) as let_go:
            seconds, spent = _drained(world, 2 * TENANT_PAYMENTS, let_go)
        assert world.metric("reassoc_matched_pairs_total") == TENANT_PAYMENTS
        steps = world.metric("reassoc_step_apply_seconds_count") - steps
    _once(benchmark, seconds)
    items = 2 * TENANT_PAYMENTS - known
    benchmark.extra_info.update(
        tenants=tenants,
        items=items,
        items_per_s=round(items / seconds),
        steps=round(steps),
        workers=WORKERS,
        processor_s=spent,
    )


def test_bench_small_messages(benchmark: Any, tmp_path: Path) -> None:
    """Files of one transaction, taken in and matched to the last pair, beside a stock Faust agent
    that reads the same messages and does nothing."""
    feed = feed_of(SMALL_PAYMENTS, 1)
    messages = small_messages_of(feed)
    with (
        running(tmp_path / "stack", feed) as world,
        held_back(world.bootstrap, messages) as let_go,
    ):
        bare = _bare(world, messages)
        stock = _stock(world.bootstrap)
        world.start(WORKERS)
        seconds, spent = _drained(world, 2 * SMALL_PAYMENTS, let_go)
        assert world.metric("reassoc_matched_pairs_total") == SMALL_PAYMENTS
    _once(benchmark, seconds)
    rate = len(messages) / seconds
    benchmark.extra_info.update(
        messages=len(messages),
        message_bytes=round(bare.byte_count / bare.messages),
        workers=WORKERS,
        messages_per_s=round(rate),
        stock_messages_per_s=round(stock),
        bare_messages_per_s=round(bare.messages / bare.seconds),
        stream_to_stock=round(rate / stock, 2),
        processor_s=spent,
    )


def _bare(world: StreamWorld, messages: Sequence[Message]) -> Read:
    """The fastest of three bare loops over the messages."""
    reads = (read_bare(world.bootstrap, len(messages)) for _ in range(3))
    bare = min(reads, key=lambda each: each.seconds)
    assert bare.byte_count == sum(len(each.value) for each in messages)
    return bare


def _stock(bootstrap: str) -> float:
    """Messages a second of a stock agent."""
    topics = ",".join(f"reassoc.{topic}" for topic in ("raw.x12", "raw.ach"))
    command = [sys.executable, str(HERE / "stock_agent.py"), bootstrap, topics, str(STOCK_MESSAGES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        killing = threading.Timer(STOCK_SECONDS_MAX, agent.kill)
        killing.start()
        try:
            assert agent.stdout is not None
            told = next((line for line in agent.stdout if line.startswith("{")), "")
        finally:
            killing.cancel()
            agent.kill()
    assert told, "the stock agent did not end in time"
    return STOCK_MESSAGES / float(json.loads(told)["seconds"])


def test_bench_latency(benchmark: Any, tmp_path: Path) -> None:
    """A payment and an 835 each in a file of its own, in no order; how long after a message was
    produced its item was applied, where a second half is matched in the same step."""
    count = LATENCY_RATE * LATENCY_SECONDS
    feed = feed_of(count, 1)
    messages = small_messages_of(feed)
    random.Random(5).shuffle(messages)
    with running(tmp_path / "stack", feed) as world:
        world.start(1)
        rss: list[dict[str, int]] = []
        stop = threading.Event()
        watching = threading.Thread(target=_watch, args=(world, rss, stop))
        watching.start()
        try:
            late = asyncio.run(_paced(world.bootstrap, messages, 2 * LATENCY_RATE))
        finally:
            stop.set()
            watching.join()
        world.wait_applied(2 * count)
        assert world.metric("reassoc_matched_pairs_total") == count
        name = "reassoc_arrival_to_applied_seconds"
        total = world.metric(f"{name}_count")
        shares = {
            bound: round(world.metric(f"{name}_bucket", f'le="{bound}"') / total, 5)
            for bound in ("0.01", "0.02", "0.03", "0.04", "0.05", "0.075", "0.1", "0.25", "1.0")
        }
        mean = world.metric(f"{name}_sum") / total
    _once(benchmark, LATENCY_SECONDS)
    benchmark.extra_info.update(
        items=int(total), mean_ms=round(mean * 1e3, 2), shares_within_s=shares,
        producer_late_ms=round(late * 1e3, 1), resident_mb=_mb(rss),
    )  # fmt: skip


def _watch(world: StreamWorld, rss: list[dict[str, int]], stop: threading.Event) -> None:
    while not stop.wait(5.0):
        rss.append(world.resident_bytes())


def _mb(rss: Sequence[dict[str, int]]) -> dict[str, list[float]]:
    """Memory at a tenth of the run, at half of it and at its end."""
    places = [len(rss) // 10, len(rss) // 2, len(rss) - 1]
    return {name: [round(rss[at][name] / 1e6, 1) for at in places] for name in rss[0]}


async def _paced(bootstrap: str, messages: Sequence[Message], rate: int) -> float:
    """Send messages one by one at a rate; by how much the sender was late at most."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await producer.start()
    late = 0.0
    on_their_way: list[Any] = []
    try:
        began = time.monotonic()
        for number, each in enumerate(messages):
            due = began + number / rate
            if (wait := due - time.monotonic()) > 0.001:
                await asyncio.sleep(wait)
            late = max(late, time.monotonic() - due)
            headers = list(each.headers)
            sent = await producer.send(each.topic, each.value, key=each.key, headers=headers)
            on_their_way.append(sent)
            if len(on_their_way) >= 1000:
                await asyncio.gather(*on_their_way)
                on_their_way.clear()
        await asyncio.gather(*on_their_way)
    finally:
        await producer.stop()
    return late
