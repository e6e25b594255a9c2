"""The match state in SQLite: steps of many new records, probes of many keys and of few, scans.

Each record has 250 bytes and 4 keys that no other has, which is the hard case for an index: every
key goes to a page of its own. A step is durable when its time ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reassoc.stream.records import Block
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Claim, Records, Step
from reassoc.stream.state_sqlite import SqliteState

ROWS = int(os.environ.get("REASSOC_BENCH_ROWS", "1000000"))
STEP_ROWS = min(ROWS, 50_000)
FILE_ROWS = 6_000
KEYS = 4
BODY_BYTES = 250


def made(step: int, count: int) -> Records:
    """The records of some files: ids of a file lie together, keys anywhere."""
    random = np.random.default_rng(step)
    files = random.integers(0, 2**64, count // FILE_ROWS + 1, np.uint64)
    ids = np.empty((count, 2), "<u8")
    ids[:, 0] = files[np.arange(count) // FILE_ROWS]
    ids[:, 1] = np.arange(count) * 190
    ends = np.arange(1, count + 1)
    return Records(
        ids.view(np.uint8).reshape(count, 16),
        np.ones(count, np.uint8),
        random.integers(0, 2**64, count * KEYS, np.uint64),
        ends * KEYS,
        Block(random.bytes(count * BODY_BYTES), ends * BODY_BYTES),
    )


class Filling:
    """A state that steps are put into, and what the next one is."""

    def __init__(self, path: Path) -> None:
        self.state = SqliteState(SqliteFile(path))
        self.claim: Claim = self.state.claim("bench")
        self.mark = 0

    def put(self, records: Records) -> None:
        self.apply(Step(self.mark, self.mark + 1, records, outbox=[bytes(100)]))

    def apply(self, step: Step) -> None:
        self.state.apply(self.claim, step)
        self.mark = step.mark_after


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filling]:
    """ROWS records."""
    filling = Filling(tmp_path_factory.mktemp("state") / "state.db")
    for step in range(0, ROWS // STEP_ROWS):
        filling.put(made(step, STEP_ROWS))
    yield filling
    filling.state.close()


def _noted(benchmark: Any, rows: int) -> None:
    benchmark.extra_info |= {
        "rows": rows,
        "state_rows": ROWS,
        "rows_per_second": round(rows / benchmark.stats["min"]),
    }


def test_bench_apply_to_an_empty_state(benchmark: Any, tmp_path: Path) -> None:
    filling = Filling(tmp_path / "state.db")
    steps = iter(range(100))
    benchmark.pedantic(filling.put, setup=lambda: ((made(next(steps), STEP_ROWS),), {}), rounds=5)
    filling.state.close()
    _noted(benchmark, STEP_ROWS)
    benchmark.extra_info["state_rows"] = 0


def test_bench_apply_to_a_full_state(benchmark: Any, full: Filling) -> None:
    steps = iter(range(10_000, 10_100))
    benchmark.pedantic(full.put, setup=lambda: ((made(next(steps), STEP_ROWS),), {}), rounds=3)
    _noted(benchmark, STEP_ROWS)


def test_bench_apply_one(benchmark: Any, full: Filling) -> None:
    steps = iter(range(20_000, 30_000))
    benchmark.pedantic(full.put, setup=lambda: ((made(next(steps), 1),), {}), rounds=200)
    _noted(benchmark, 1)
    benchmark.extra_info["median_ms"] = round(benchmark.stats["median"] * 1e3, 3)


def test_bench_update(benchmark: Any, full: Filling) -> None:
    records = made(0, STEP_ROWS)

    def run() -> None:
        step = Step(full.mark, full.mark + 1, updates=records.ids, update_bodies=records.bodies)
        full.apply(step)

    benchmark.pedantic(run, rounds=3)
    _noted(benchmark, STEP_ROWS)


@pytest.mark.parametrize("count", [1, 10, STEP_ROWS])
def test_bench_probe(benchmark: Any, full: Filling, count: int) -> None:
    keys = made(0, STEP_ROWS).keys[::KEYS][:count].copy()
    probe = benchmark.pedantic(
        full.state.probe, args=("bench", keys), rounds=3 if count > 10 else 500, warmup_rounds=1
    )
    assert len(probe.records) == count
    _noted(benchmark, count)
    benchmark.extra_info["median_ms"] = round(benchmark.stats["median"] * 1e3, 3)


def test_bench_scan(benchmark: Any, full: Filling) -> None:
    rows = benchmark.pedantic(lambda: sum(map(len, full.state.scan("bench"))), rounds=2)
    assert rows >= ROWS // STEP_ROWS * STEP_ROWS
    _noted(benchmark, rows)
