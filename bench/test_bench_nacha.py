"""read_ach on a CCD+ file of half a million entries, every check on, beside memchr on its bytes.

The time of memchr is in extra_info, so that the ratio comes from one run on one machine.
"""

from __future__ import annotations

import time

import pytest
from feeds import ccd_feed
from pytest_benchmark.fixture import BenchmarkFixture

from reassoc.core.ach import AchFiles, TrnForm, iter_ach, read_ach

ENTRIES = 500_000
ROUNDS = 15


@pytest.fixture(scope="module")
def feed() -> tuple[bytes, int]:
    """The file, and the sum of its amounts in cents."""
    return ccd_feed(ENTRIES)


def memchr_seconds(data: bytes) -> float:
    """The best of some runs over bytes without a zero."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        assert data.find(b"\x00") == -1
        best = min(best, time.perf_counter() - start)
    return best


def note(benchmark: BenchmarkFixture, data: bytes) -> None:
    """Bytes, rows and the ratio to memchr (20 means a twentieth of its speed)."""
    floor = memchr_seconds(data)
    best = benchmark.stats.stats.min
    benchmark.extra_info.update(
        bytes=len(data),
        rows=ENTRIES,
        memchr_ms=round(floor * 1e3, 3),
        memchr_ratio=round(best / floor, 2),
        gigabytes_per_second=round(len(data) / best / 1e9, 2),
        entries_per_second=round(ENTRIES / best),
    )


def check(parts: list[AchFiles], cents: int) -> None:
    """The answer is right: every entry with its trace, the sum of the money, nothing found."""
    assert sum(len(part.entries) for part in parts) == ENTRIES
    assert sum(int(part.entries.amount_cents.sum()) for part in parts) == cents
    assert sum(len(part.findings) for part in parts) == 0
    forms = (TrnForm.BACKSLASH, TrnForm.TILDE)
    assert (
        sum(int((part.entries.trn_form == form).sum()) for part in parts for form in forms)
        == ENTRIES
    )
    assert int(sum(part.entries.trace.lengths.sum() for part in parts)) == 12 * ENTRIES


def test_read_ach(benchmark: BenchmarkFixture, feed: tuple[bytes, int]) -> None:
    data, cents = feed
    result = benchmark.pedantic(read_ach, (data,), rounds=ROUNDS, warmup_rounds=1)
    check([result], cents)
    note(benchmark, data)


def test_iter_ach(benchmark: BenchmarkFixture, feed: tuple[bytes, int]) -> None:
    data, cents = feed
    check(list(iter_ach(data)), cents)

    def walk() -> int:
        return sum(len(part.entries) for part in iter_ach(data))

    assert benchmark.pedantic(walk, rounds=ROUNDS, warmup_rounds=1) == ENTRIES
    note(benchmark, data)
