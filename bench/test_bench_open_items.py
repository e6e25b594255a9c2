"""The matcher over many open items in Redis: how long a step takes, and how many items a second go
through, behind ten thousand and two million of them.

A step is timed from the entry, which lies in memory, to Redis' answer; Redis syncs its file every
second, as workers ask it to. Each world has a Redis of its own. They are stepped in turn, so that
their ratio is of one time and one machine. Half of a step's items are first halves, which wait from
then on; half are second halves of items drawn from all that wait, 835s and payments: so a world
keeps as many open items as it had.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import (
    DAY,
    OPENED,
    TENANT,
    EntryLog,
    Nothing,
    entry,
    fill,
    no_directory,
    settings_entry,
)

from reassoc.core.statuses import MatchStatus
from reassoc.loadtest.servers.redis_server import RedisServer
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.items import PAIR, RecordKind
from reassoc.stream.matcher import Made, Matcher
from reassoc.stream.state_redis import RedisState

LARGE = int(os.environ.get("REASSOC_BENCH_STREAM_OPEN", "2000000"))
SMALL = 10_000
ROUNDS = {1: 300, 10: 200, 100: 100}
"""By the items of a step. The drawn items must be few beside the small world."""
WARM_ROUNDS = 5
BULK_ITEMS, BULK_ROUNDS = 2_000, 12
RATIO_MAX = 2.0
NUMBERS_BEHIND = 500_000_000
"""Numbers from here on are of items that come later."""
REWRITE_SECONDS_MAX = 300.0
"""For Redis to end writing its file anew after it was filled."""


class World:
    """So many open items in a Redis, and what comes next."""

    def __init__(self, server: RedisServer, state: RedisState, count: int) -> None:
        self._server, self._state = server, state
        self._log = EntryLog()
        self._random = np.random.default_rng(5)
        # Of even numbers the 835s wait, of odd ones the payments. A trace of zeros finds nothing.
        self._waiting = np.arange(1, count)
        self._next = NUMBERS_BEHIND
        self._steps = 0
        self._digest = 1 << 62
        self._matcher = self._claimed()
        opening = ClockEntry("opening", DAY, OPENED)
        self._log.append([(TENANT, settings_entry()), (TENANT, opening)])
        while self._matcher.step():
            pass
        self._forget_outbox()
        before = self.info("memory", "used_memory")
        start = time.perf_counter()
        fill(state, count)
        self.fill_seconds = time.perf_counter() - start
        self._await_quiet()
        self.bytes_an_item = (self.info("memory", "used_memory") - before) / count
        # Filling was another writer, which fenced the first one off.
        self._matcher = self._claimed()

    def step(self, item_count: int) -> float:
        """Seconds that making and applying a step of so many items takes."""
        # One more or less, in turn, where half of the items is no whole number.
        self._steps += 1
        pairs = (item_count + self._steps % 2) // 2
        firsts, partners = self._numbers(item_count - pairs, pairs)
        left = np.concatenate([firsts[firsts % 2 == 0], partners[partners % 2 == 1]])
        right = np.concatenate([firsts[firsts % 2 == 1], partners[partners % 2 == 0]])
        self._digest += 1 + int(self._random.integers(0, 1 << 40))
        self._log.append([(TENANT, entry(left, right, self._digest))])
        start = time.perf_counter()
        made = self._matcher.make()
        assert made is not None
        self._matcher.apply(made)
        taken = time.perf_counter() - start
        assert self._pairs(made) == pairs
        self._forget_outbox()
        return taken

    def info(self, section: str, name: str) -> int:
        """A number of what Redis tells of itself."""
        lines = self._server.ask("INFO", section).splitlines()
        return next(int(line.split(":")[1]) for line in lines if line.startswith(f"{name}:"))

    def open_count(self) -> int:
        """How many items wait, as this world knows it: the one of number 0 as well."""
        return 1 + len(self._waiting)

    def _claimed(self) -> Matcher:
        return Matcher(
            TENANT,
            log=self._log,
            state=self._state,
            history=Nothing(),
            load_directory=no_directory,
        )

    def _numbers(self, first_count: int, second_count: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers that are new, and numbers of items that wait; the first wait from now on."""
        firsts = self._next + np.arange(first_count)
        self._next += first_count
        places = self._random.choice(len(self._waiting), second_count, replace=False)
        drawn = self._waiting[places]
        self._waiting = np.concatenate([np.delete(self._waiting, places), firsts])
        return firsts, drawn

    def _pairs(self, made: Made) -> int:
        """How many sure pairs of a step lie in the state."""
        ids = made.step.puts.ids[made.step.puts.kinds == RecordKind.PAIR]
        found = self._state.fetch(TENANT, ids)
        status = PAIR.unpack(found.bodies_of(RecordKind.PAIR))["status"]
        return int((status == MatchStatus.AUTO).sum())

    def _forget_outbox(self) -> None:
        """As the ledger does when it has it."""
        left = self._state.outbox(TENANT, 1_000)
        if left:
            self._state.acknowledge(TENANT, left[-1].sequence)

    def _await_quiet(self) -> None:
        end = time.monotonic() + REWRITE_SECONDS_MAX
        while self.info("persistence", "aof_rewrite_in_progress"):
            assert time.monotonic() < end, "Redis still writes its file anew"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """Ten thousand open items, and REASSOC_BENCH_STREAM_OPEN of them."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with ExitStack() as stack:
        made = []
        for count in (SMALL, LARGE):
            server = RedisServer(folder / f"redis-{count}")
            server.start()
            stack.callback(server.kill)
            state = RedisState(server.url, prefix="bench")
            stack.callback(state.close)
            made.append(World(server, state, count))
        yield made[0], made[1]


def _in_turn(
    benchmark: Any, worlds: tuple[World, World], item_count: int, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of steps in the small world, and in the large one."""
    seconds: list[list[float]] = [[], []]

    def both() -> None:
        for place, world in enumerate(worlds):
            seconds[place].append(world.step(item_count))

    benchmark.pedantic(both, rounds=rounds, warmup_rounds=WARM_ROUNDS)
    for world, count in zip(worlds, (SMALL, LARGE), strict=True):
        assert abs(world.open_count() - count) <= 1
    benchmark.extra_info |= {"open_items": LARGE, "items_a_step": item_count}
    small, large = (np.array(values[WARM_ROUNDS:]) for values in seconds)
    return small, large


@pytest.mark.parametrize("item_count", list(ROUNDS))
def test_bench_latency(benchmark: Any, worlds: tuple[World, World], item_count: int) -> None:
    """A step behind two million open items takes at most twice as long as behind ten thousand."""
    small, large = _in_turn(benchmark, worlds, item_count, ROUNDS[item_count])
    for name, values in (("small", small), ("large", large)):
        benchmark.extra_info[f"{name}_p50_ms"] = round(float(np.median(values)) * 1e3, 2)
        benchmark.extra_info[f"{name}_p99_ms"] = round(float(np.quantile(values, 0.99)) * 1e3, 2)
    ratio = float(np.median(large) / np.median(small))
    benchmark.extra_info["p50_to_small"] = round(ratio, 2)
    assert ratio <= RATIO_MAX


def test_bench_throughput(benchmark: Any, worlds: tuple[World, World]) -> None:
    """Behind two million open items at least half as many a second go through."""
    small, large = _in_turn(benchmark, worlds, BULK_ITEMS, BULK_ROUNDS)
    for name, values in (("small", small), ("large", large)):
        benchmark.extra_info[f"{name}_items_a_second"] = round(
            BULK_ITEMS * len(values) / float(values.sum())
        )
    ratio = float(large.sum() / small.sum())
    filled = worlds[1]
    benchmark.extra_info |= {
        "small_to_large": round(ratio, 2),
        "redis_bytes_an_item": round(filled.bytes_an_item),
        "redis_resident_mib": filled.info("memory", "used_memory_rss") >> 20,
        "fill_seconds": round(filled.fill_seconds, 1),
    }
    assert ratio <= RATIO_MAX
