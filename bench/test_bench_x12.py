"""read_835 on a generated file of more than 100 MB: every table, every check, beside memchr and two
peers.

A ratio comes from one run on one machine: memchr is timed on the same buffer between the rounds,
the peers on a smaller cut of the same file, because they would need minutes for the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reassoc.core._x12scan import active_kernel, delimiter_offsets, kernels
from reassoc.core.x12_835 import Remittances, iter_835, read_835
from reassoc.loadtest.feed import write_remittance_file

FILE_BYTES = 110_000_000
PEER_BYTES = 2_000_000
ROUNDS = 7
MEMCHR_SHARE_MIN = 1 / 25
OXEDI_RATIO_MIN = 25
PYX12_RATIO_MIN = 200
TWO_THREADS_MIN = 1.7
SMALL_ROUNDS = 50


class Feed:
    """A clean 835, and what must be found in it (counted by the generator, not by the reader)."""

    def __init__(self, path: Path, size: int) -> None:
        summary = write_remittance_file(path, bytes_min=size, seed=1)
        self.data = path.read_bytes()
        self.transactions = summary.remittances
        self.claims = summary.claims
        self.paid_cents = summary.paid_cents

    def check(self, read: Remittances) -> None:
        assert len(read.transactions) == self.transactions
        assert len(read.claims) == self.claims
        assert int(read.transactions.paid_cents.sum()) == self.paid_cents
        assert int(read.claims.paid_cents.sum()) == int(read.transactions.claim_paid_cents.sum())
        assert read.transactions.valid.all()
        assert len(read.findings) == 0


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    return Feed(tmp_path_factory.mktemp("feed") / "large.835", FILE_BYTES)


@pytest.fixture(scope="module")
def small_feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    return Feed(tmp_path_factory.mktemp("feed") / "small.835", PEER_BYTES)


def best_seconds(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def memchr(data: bytes) -> None:
    assert data.find(b"\x00") == -1


def note(benchmark: BenchmarkFixture, feed: Feed, **ratios: float) -> None:
    best = benchmark.stats.stats.min
    benchmark.extra_info.update(
        bytes=len(feed.data),
        claims=feed.claims,
        megabytes_per_second=round(len(feed.data) / best / 1e6),
        kernel=active_kernel(),
        **{name: round(ratio, 2) for name, ratio in ratios.items()},
    )


@pytest.mark.parametrize("kernel", kernels())
def test_read_835(benchmark: BenchmarkFixture, feed: Feed, kernel: str) -> None:
    """The whole file into all tables. `memchr_times` is how many times as long as memchr it
    took."""
    read = benchmark.pedantic(
        read_835, (feed.data,), {"kernel": kernel}, rounds=ROUNDS, warmup_rounds=1
    )
    feed.check(read)
    del read
    floor = best_seconds(lambda: memchr(feed.data))
    times = benchmark.stats.stats.min / floor
    note(benchmark, feed, memchr_times=times)
    if kernel == kernels()[0]:
        assert times <= 1 / MEMCHR_SHARE_MIN


def test_iter_835(benchmark: BenchmarkFixture, feed: Feed) -> None:
    """The same in windows, which is how large files are read."""

    found = benchmark.pedantic(windows, (feed.data,), rounds=ROUNDS, warmup_rounds=1)
    assert found == (feed.claims, feed.paid_cents)
    floor = best_seconds(lambda: memchr(feed.data))
    note(benchmark, feed, memchr_times=benchmark.stats.stats.min / floor)


@pytest.mark.parametrize("kernel", kernels())
def test_delimiter_index(benchmark: BenchmarkFixture, small_feed: Feed, kernel: str) -> None:
    """Stage 1 alone, its output buffers included."""
    separator, terminator = small_feed.data[3], small_feed.data[105]
    delimiters, ends = benchmark.pedantic(
        delimiter_offsets, (small_feed.data, separator, terminator, kernel), rounds=ROUNDS
    )
    assert len(ends) == small_feed.data.count(bytes([terminator]))
    assert len(delimiters) - len(ends) == small_feed.data.count(bytes([separator]))
    note(benchmark, small_feed)


def whole(data: bytes) -> tuple[int, int]:
    found = read_835(data)
    return len(found.claims), int(found.transactions.paid_cents.sum())


def windows(data: bytes) -> tuple[int, int]:
    claims = cents = 0
    for window in iter_835(data):
        claims += len(window.claims)
        cents += int(window.transactions.paid_cents.sum())
    return claims, cents


@pytest.mark.parametrize("read", [windows, whole])
def test_two_threads(
    benchmark: BenchmarkFixture, feed: Feed, read: Callable[[bytes], tuple[int, int]]
) -> None:
    """Two files in two threads against one file in one: the GIL is released for a window.

    In windows, as files of this size are read; whole, where the columns of both files, some 340 MB,
    go through the memory bus of two cores at once.
    """
    other = bytes(bytearray(feed.data))

    def both() -> list[tuple[int, int]]:
        return list(pool.map(read, (feed.data, other)))

    one = best_seconds(lambda: read(feed.data))
    with ThreadPoolExecutor(2) as pool:
        found = benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    assert found == [(feed.claims, feed.paid_cents)] * 2
    speedup = 2 * one / benchmark.stats.stats.min
    note(benchmark, feed, speedup=speedup)
    if read is windows:
        assert speedup >= TWO_THREADS_MIN


def test_against_oxedi(benchmark: BenchmarkFixture, small_feed: Feed) -> None:
    """oxedi.parse on the same bytes, and how many times as long it takes as read_835."""
    oxedi = pytest.importorskip("oxedi", reason="oxedi is not installed")
    parsed = benchmark.pedantic(oxedi.parse, (small_feed.data,), rounds=3)
    assert parsed is not None
    ours = best_seconds(lambda: read_835(small_feed.data), SMALL_ROUNDS)
    ratio = benchmark.stats.stats.min / ours
    note(benchmark, small_feed, times_read_835=ratio)
    assert ratio >= OXEDI_RATIO_MIN


def test_against_pyx12(benchmark: BenchmarkFixture, small_feed: Feed, tmp_path: Path) -> None:
    """pyx12's segment reader (it splits and counts, no more) on the same bytes."""
    x12file = pytest.importorskip("pyx12.x12file", reason="pyx12 is not installed")
    path = tmp_path / "small.835"
    path.write_bytes(small_feed.data)

    def segments() -> int:
        with path.open(encoding="ascii") as file:
            return sum(1 for _ in x12file.X12Reader(file))

    count = benchmark.pedantic(segments, rounds=2)
    assert count == small_feed.data.count(small_feed.data[105:106])
    ours = best_seconds(lambda: read_835(small_feed.data), SMALL_ROUNDS)
    ratio = benchmark.stats.stats.min / ours
    note(benchmark, small_feed, times_read_835=ratio)
    assert ratio >= PYX12_RATIO_MIN
