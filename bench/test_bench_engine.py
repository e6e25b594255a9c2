"""The engine over many open items: how long a step takes behind ten thousand and a million of them,
and what a clock entry costs, which looks at all.

A step is timed from the append of its entry to the end of the step, durable. Both worlds are
stepped in turn, so that their ratio is of one time and one machine. Making the large world takes
minutes; it is kept in build/bench for the next run.
"""

from __future__ import annotations

import compileall
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import OPENED, TENANT, Engines, copied, entry, world_path
from test_bench_ledger import ITEMS
from test_bench_ledger import _batch as open_batch

import reassoc.core
import reassoc.stream
from reassoc.core.statuses import RemittanceStatus
from reassoc.stream.clock import parse_as_of
from reassoc.stream.home import Home
from reassoc.stream.items import REMITTANCE, RecordKind, id_bytes
from reassoc.stream.open_home import open_home

HERE = Path(__file__).parent
KEPT = HERE.parent / "build" / "bench"
LARGE = int(os.environ.get("REASSOC_BENCH_OPEN", "1000000"))
SMALL = LARGE // 100
ENTRIES = 60
WARM_ENTRIES = 5
RATIO_MAX = {1: 1.5, 10: 1.5, 1000: 2.0}
"""By the items of a step. Keys of a thousand items lie on pages of their own in a large index, and
share them in a small one: a large step writes and syncs more."""
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
    assert ratio <= RATIO_MAX[item_count]


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


# ---- whole processes ----

FEED_PAYMENTS = int(os.environ.get("REASSOC_BENCH_FEED", "44000"))
"""Payments of the feed: 44,000 are a fiftieth of a national banking day, 350 MB of files."""
CLAIMS = "16.4"
SEED = "3"
AS_OF = "2026-03-31"
SERVE_ROUNDS = int(os.environ.get("REASSOC_BENCH_ROUNDS", "3"))
WALL_RATIO_MAX = 2.0
IS_QUIET = os.environ.get("REASSOC_BENCH_QUIET") == "1"
"""Whether nothing else runs here: only then is the ratio of wall times held to WALL_RATIO_MAX."""
UNLIKE = ("weight", "evidence", "release")
"""Columns of matches.csv that say how the pool of one call was, and the names of files."""
REASSOC = Path(sys.executable).with_name("reassoc")


@dataclass(frozen=True)
class Spent:
    """Seconds of a process: on the wall, and of processors."""

    wall: float
    cpu: float


def _run(*arguments: object) -> Spent:
    """Run a command of reassoc, which must end well. Its findings make no difference."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    line = [str(REASSOC), *map(str, arguments)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, cpu)


@pytest.fixture(scope="module")
def feed() -> Path:
    """A feed with what goes wrong in real ones."""
    folder = KEPT / f"feed-{FEED_PAYMENTS}"
    if not folder.exists():
        making = KEPT / f"feed-{FEED_PAYMENTS}-{os.getpid()}.making"
        _run("generate", "--out", making, "--payments", FEED_PAYMENTS, "--claims", CLAIMS,
             "--seed", SEED, "--defects")  # fmt: skip
        making.rename(folder)
    return folder


def _home(feed: Path, folder: Path) -> Path:
    """A home with all files of a feed in in/, complete for long."""
    (folder / "in").mkdir(parents=True)
    (folder / "layouts").mkdir()
    shutil.copyfile(feed / "directory.toml", folder / "directory.toml")
    for layout in feed.glob("*.layout.toml"):
        shutil.copyfile(layout, folder / "layouts" / layout.name)
    for path in feed.glob("*/**/*"):
        if path.is_file():
            target = folder / "in" / path.name
            assert not target.exists()
            shutil.copyfile(path, target)
            os.utime(target, (0, 0))
    return folder


def _rows(data: bytes) -> Counter[tuple[str, ...]]:
    """Rows of matches.csv, whose sources are named without their folders."""
    rows: Counter[tuple[str, ...]] = Counter()
    for row in csv.DictReader(data.decode().splitlines()):
        rows[tuple(Path(value).name for name, value in row.items() if name not in UNLIKE)] += 1
    return rows


def test_bench_serve_against_match(benchmark: Any, feed: Path, tmp_path: Path) -> None:
    """A warehouse that takes, keeps, matches, books and releases against one call that matches."""
    # As an installed package has it; of a checkout Python may not be allowed to keep it.
    for package in (reassoc.core, reassoc.stream):
        compileall.compile_dir(Path(str(package.__file__)).parent, quiet=1)
    spent: dict[str, list[Spent]] = {"match": [], "serve": []}
    layouts = [part for path in feed.glob("*.layout.toml") for part in ("--layout", path)]
    inputs = [path for path in sorted(feed.iterdir()) if path.is_dir()]
    numbers = iter(range(SERVE_ROUNDS))

    def both() -> None:
        number = next(numbers)
        home, out = _home(feed, tmp_path / f"home-{number}"), tmp_path / f"out-{number}"
        os.sync()
        spent["match"].append(
            _run("match", *inputs, "--directory", feed / "directory.toml", *layouts,
                 "--as-of", AS_OF, "--out", out)
        )  # fmt: skip
        spent["serve"].append(_run("serve", "--home", home, "--drain", "--as-of", AS_OF))

    benchmark.pedantic(both, rounds=SERVE_ROUNDS)
    for name, runs in spent.items():
        benchmark.extra_info[f"{name}_wall_s"] = round(min(run.wall for run in runs), 1)
        benchmark.extra_info[f"{name}_cpu_s"] = round(min(run.cpu for run in runs), 1)
    noted = benchmark.extra_info
    noted["payments"] = FEED_PAYMENTS
    noted["wall_to_match"] = round(noted["serve_wall_s"] / noted["match_wall_s"], 2)
    noted["cpu_to_match"] = round(noted["serve_cpu_s"] / noted["match_cpu_s"], 2)
    pairs = tmp_path / "matches.csv"
    _run("matches", "--home", tmp_path / "home-0", "--csv", pairs)
    matched = _rows((tmp_path / "out-0" / "matches.csv").read_bytes())
    assert _rows(pairs.read_bytes()) == matched
    assert matched.total() > 0.8 * FEED_PAYMENTS
    assert not IS_QUIET or noted["wall_to_match"] <= WALL_RATIO_MAX


# ---- the open list, as a command ----


@pytest.fixture(scope="module")
def open_home_folder() -> Path:
    """A home with LARGE open items in its ledger."""
    folder = KEPT / f"home-{LARGE}"
    if not folder.exists():
        making = KEPT / f"home-{LARGE}-{os.getpid()}.making"
        home = Home.create_or_open(making)
        with open_home(home, "bench") as opened:
            opened.use_settings()
            opened.engine.tick(parse_as_of(OPENED))
            for sequence in range(1, LARGE // ITEMS + 1):
                opened.ledger.append(sequence, open_batch(sequence, 200, opens=True))
        making.rename(folder)
    return folder


def _forget(folder: Path) -> None:
    """Take a folder's files out of the system's cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_bench_open_command(benchmark: Any, open_home_folder: Path, cache: str) -> None:
    """`reassoc open` over all open items, the start of the process included."""
    command = [str(REASSOC), "open", "--home", str(open_home_folder), "--json"]

    def setup() -> None:
        if cache == "cold":
            _forget(open_home_folder)

    answer = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, check=True).stdout,
        setup=setup,
        rounds=7,
        warmup_rounds=1,
    )
    counts = [total["count"] for total in json.loads(answer)["totals"]]
    benchmark.extra_info |= {
        "items": sum(counts),
        "median_ms": round(benchmark.stats["median"] * 1e3, 1),
    }
    assert sum(counts) == LARGE // ITEMS * ITEMS
