"""A bank's report of a hundred thousand details to payments, every check on, beside the package
`bai2` on the same bytes.

That package makes objects of the records and looks into no text; where it is not installed, memchr
over the bytes is what is left to compare with. Both are in extra_info, from one run on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import pytest
from feeds import ACCOUNT_DETAILS, bai2_feed
from pytest_benchmark.fixture import BenchmarkFixture

from reassoc.core.ach import EntryKind
from reassoc.core.bai2 import BankReports, read_bai2
from reassoc.core.bank_lines import payments
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import PaymentSource

DETAILS = 100_000
PEER_DETAILS = 10_000
"""Fewer for the package: it takes seconds, and its time goes by the bytes."""
ROUNDS = 7


@pytest.fixture(scope="module")
def feed() -> tuple[bytes, int]:
    """The report, and the sum of its amounts in cents."""
    return bai2_feed(DETAILS)


def best_seconds(call: Callable[[], object], rounds: int) -> float:
    """The best of some runs."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def peer_nanoseconds_per_byte() -> float | None:
    """The package `bai2`, whose answer is looked at too; None where it is not installed."""
    if find_spec("bai2") is None:
        return None
    peer = import_module("bai2.bai2")
    data, cents = bai2_feed(PEER_DETAILS)
    lines = data.decode().splitlines()
    found = peer.parse_from_lines(lines)
    accounts = [account for group in found.children for account in group.children]
    assert sum(each.amount for account in accounts for each in account.children) == cents
    return best_seconds(lambda: peer.parse_from_lines(lines), 2) / len(data) * 1e9


def note(benchmark: BenchmarkFixture, data: bytes) -> None:
    """Bytes, rows and the ratios: to `bai2` (20 means twenty times its speed) and to memchr (20
    means a twentieth of its speed)."""
    best = benchmark.stats.stats.min
    floor = best_seconds(lambda: data.find(b"\x00"), ROUNDS)
    peer = peer_nanoseconds_per_byte()
    own = best / len(data) * 1e9
    benchmark.extra_info.update(
        bytes=len(data),
        rows=DETAILS,
        memchr_ratio=round(best / floor, 2),
        times_bai2=None if peer is None else round(peer / own, 1),
        megabytes_per_second=round(len(data) / best / 1e6, 1),
    )


def check_reports(reports: BankReports, cents: int) -> None:
    """Every detail with its texts, the sum of the money, nothing found."""
    assert len(reports.details) == DETAILS
    assert len(reports.accounts) == DETAILS // ACCOUNT_DETAILS
    assert len(reports.texts) == 3 * DETAILS
    assert int(reports.details.amount_cents.sum()) == cents
    assert len(reports.findings) == 0


def check_payments(columns: PaymentColumns, cents: int) -> None:
    """Every detail as a valid credit with trace and payer, the sum of the money."""
    assert len(columns) == DETAILS
    assert int(columns.amount_cents.sum()) == cents
    assert columns.valid.all()
    assert (columns.source == PaymentSource.BANK_ACH).all()
    assert (columns.kind == EntryKind.CREDIT).all()
    assert (columns.trace.lengths == 12).all()
    assert columns.trace[DETAILS - 1] == f"{(DETAILS - 1) * 104729:012}"
    assert (columns.payer_id.lengths == 10).all()
    assert (columns.company_id.lengths == 10).all()


def test_read_bai2(benchmark: BenchmarkFixture, feed: tuple[bytes, int]) -> None:
    data, cents = feed
    result = benchmark.pedantic(read_bai2, (data,), rounds=ROUNDS, warmup_rounds=1)
    check_reports(result, cents)
    note(benchmark, data)


def test_bai2_to_payments(benchmark: BenchmarkFixture, feed: tuple[bytes, int]) -> None:
    data, cents = feed

    def read() -> PaymentColumns:
        return payments(read_bai2(data))

    check_payments(benchmark.pedantic(read, rounds=ROUNDS, warmup_rounds=1), cents)
    note(benchmark, data)
