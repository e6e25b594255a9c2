"""The engine over many open items: how long a step takes behind ten thousand and a million of them,
and what a clock entry costs, which looks at all.

A step is timed from the append of its entry to the end of the step, durable. Both worlds are
stepped in turn, so that their ratio is of one time and one machine. Making the large world takes
minutes; it is kept in build/bench for the next run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import TENANT, Engines, copied, entry, world_path

from reassoc.core.statuses import RemittanceStatus
from reassoc.stream.items import REMITTANCE, RecordKind, id_bytes

HERE = Path(__file__).parent
KEPT = HERE.parent / "build" / "bench"
LARGE = int(os.environ.get("REASSOC_BENCH_OPEN", "1000000"))
SMALL = LARGE // 100
ENTRIES = 60
WARM_ENTRIES = 5
RATIO_MAX = 1.5
NUMBERS_BEHIND = 500_000_000
"""Numbers from here on are of items that come later."""


class Stepping:
    """Entries with 835s of payments that wait, one after the other."""

    def __init__(self, engines: Engines, count: int) -> None:
        self.engines = engines
        self._random = np.random.default_rng(5)
        self._waiting = 2 * self._random.permutation(count // 2) + 1
        self._next = NUMBERS_BEHIND
        self._digest = 1 << 62

    def step(self, item_count: int) -> float:
        """Seconds of a step with so many 835s, each of which finds its payment.

        Up to ten of them find payments that have waited for long; more would use up the small
        world, so the payments of a large entry come right before it, untimed.
        """
        if item_count <= 10:
            numbers, self._waiting = self._waiting[:item_count], self._waiting[item_count:]
        else:
            numbers = self._next + np.arange(item_count)
            self._next += item_count
            self._log(numbers[:0], numbers)
            self.engines.settle()
        start = time.perf_counter()
        digest = self._log(numbers, numbers[:0])
        assert self.engines.engine.match(1) == 1
        seconds = time.perf_counter() - start
        self._check(numbers, digest)
        self.engines.settle()
        return seconds

    def _log(self, left: np.ndarray, right: np.ndarray) -> int:
        self._digest += 1 + int(self._random.integers(0, 1 << 40))
        self.engines.log.append([(TENANT, entry(left, right, self._digest))])
        return self._digest

    def _check(self, numbers: np.ndarray, digest: int) -> None:
        ids = id_bytes(np.full(len(numbers), digest, np.uint64), 200 + numbers * 7000)
        found = self.engines.state.fetch(TENANT, ids).of_kind(RecordKind.REMITTANCE)
        status = REMITTANCE.unpack(found.bodies)["status"]
        assert (status == RemittanceStatus.RELEASED).all()
        assert len(status) == len(numbers)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stepping, Stepping]]:
    """Ten thousand open items and a million, or a hundredth and all of REASSOC_BENCH_OPEN."""
    with ExitStack() as stack:
        made = []
        for count in (SMALL, LARGE):
            folder = tmp_path_factory.mktemp("world")
            engines = stack.enter_context(copied(world_path(count, KEPT), folder))
            made.append(Stepping(engines, count))
        yield made[0], made[1]


@pytest.mark.parametrize("item_count", [1, 10, 1000])
def test_bench_step(benchmark: Any, worlds: tuple[Stepping, Stepping], item_count: int) -> None:
    """A step behind a million open items takes as long as one behind ten thousand."""
    seconds: list[list[float]] = [[], []]

    def both() -> None:
        for place, world in enumerate(worlds):
            seconds[place].append(world.step(item_count))

    benchmark.pedantic(both, rounds=ENTRIES, warmup_rounds=WARM_ENTRIES)
    small, large = (np.array(values[WARM_ENTRIES:]) * 1e3 for values in seconds)
    ratio = float(np.median(large) / np.median(small))
    for name, values in (("small", small), ("large", large)):
        benchmark.extra_info[f"{name}_p50_ms"] = round(float(np.median(values)), 2)
        benchmark.extra_info[f"{name}_p99_ms"] = round(float(np.quantile(values, 0.99)), 2)
    benchmark.extra_info |= {"open_items": LARGE, "p50_to_a_hundredth": round(ratio, 2)}
    assert ratio <= RATIO_MAX


@pytest.mark.parametrize("count", [LARGE // 10, LARGE])
def test_bench_clock_step(benchmark: Any, tmp_path: Path, count: int) -> None:
    """A close over all open items, in a process of its own, so that the memory is the step's."""
    world = tmp_path / "world.db"
    shutil.copyfile(world_path(count, KEPT), world)
    command = [sys.executable, str(HERE / "engine_world.py"), "tick", str(world)]
    line = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout,
        rounds=1,
    )
    figures = json.loads(line)
    benchmark.extra_info |= figures
    assert figures["items"] == count
