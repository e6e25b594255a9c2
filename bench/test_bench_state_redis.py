"""The match state in Redis beside the one in SQLite: a probe and a step of 1 to 10,000 new items.

Each item has 250 bytes, of which 90 cannot be compressed, and 4 keys that no other has. Redis
syncs its file every second; SQLite's step is durable when its time ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reassoc.loadtest.servers.redis_server import RedisServer
from reassoc.stream.records import Block
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Records, State, Step
from reassoc.stream.state_redis import RedisState
from reassoc.stream.state_sqlite import SqliteState

ROWS = int(os.environ.get("REASSOC_BENCH_ROWS", "1000000"))
FILL_ROWS = 10_000
KEYS, BODY_BYTES, DENSE_BYTES = 4, 250, 90


def made(number: int, count: int) -> Records:
    """New items."""
    random = np.random.default_rng(number)
    ids = random.integers(0, 2**64, (count, 2), np.uint64)
    ends = np.arange(1, count + 1)
    bodies = np.zeros((count, BODY_BYTES), np.uint8)
    bodies[:, :DENSE_BYTES] = random.integers(0, 256, (count, DENSE_BYTES), np.uint8)
    return Records(
        ids.view(np.uint8).reshape(count, 16), np.ones(count, np.uint8),
        random.integers(0, 2**64, count * KEYS, np.uint64), ends * KEYS,
        Block(bodies.tobytes(), ends * BODY_BYTES),
    )  # fmt: skip


class Filling:
    """A state of ROWS records, and what comes next."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.claim = state.claim("bench")
        self.mark = 0

    def put(self, records: Records) -> None:
        self.state.apply(self.claim, Step(self.mark, self.mark + 1, records, outbox=[bytes(100)]))
        self.mark += 1

    def probe_and_put(self, records: Records) -> None:
        assert len(self.state.probe("bench", records.keys).records) == 0
        self.put(records)


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filling]:
    folder: Path = tmp_path_factory.mktemp("state")
    server = RedisServer(folder / "redis") if request.param == "redis" else None
    if server is not None:
        server.start()
        state: State = RedisState(server.url, prefix="bench")
    else:
        state = SqliteState(SqliteFile(folder / "state.db"))
    filling = Filling(state)
    for number in range(ROWS // FILL_ROWS):
        filling.put(made(number, FILL_ROWS))
    yield filling
    state.close()
    if server is not None:
        server.kill()


def _noted(benchmark: Any, rows: int) -> None:
    benchmark.extra_info |= {
        "rows": rows,
        "state_rows": ROWS,
        "rows_per_second": round(rows / benchmark.stats["median"]),
        "median_ms": round(benchmark.stats["median"] * 1e3, 3),
    }


@pytest.mark.parametrize("count", [1, 10, 1000, 10_000])
def test_bench_probe_and_apply(benchmark: Any, full: Filling, count: int) -> None:
    numbers = iter(range(10_000 * (count + 1), 10_000 * (count + 2)))
    rounds = 200 if count <= 10 else 10
    benchmark.pedantic(
        full.probe_and_put, setup=lambda: ((made(next(numbers), count),), {}), rounds=rounds
    )
    _noted(benchmark, count)


@pytest.mark.parametrize("keys", [4, 40, 4000])
def test_bench_probe(benchmark: Any, full: Filling, keys: int) -> None:
    known = made(0, FILL_ROWS).keys[:keys].copy()
    probe = benchmark.pedantic(
        full.state.probe, args=("bench", known), rounds=200 if keys <= 40 else 10, warmup_rounds=1
    )
    assert len(probe.records) == keys // KEYS
    _noted(benchmark, keys)


def test_bench_scan(benchmark: Any, full: Filling) -> None:
    rows = benchmark.pedantic(lambda: sum(map(len, full.state.scan("bench"))), rounds=2)
    _noted(benchmark, rows)
