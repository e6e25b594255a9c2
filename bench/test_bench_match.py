"""Matching: pools of a million each on the exact tier, and the join by itself beside Polars.

Times of a shared machine say little; the ratio, taken in turns within one run, is what counts.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # the join here is one thread

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars
import pytest

from reassoc.core import _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import TextColumn
from reassoc.core.match import match
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import MatchStatus, Tier

ROWS = int(os.environ.get("REASSOC_BENCH_ROWS", "1000000"))
DAY = 20528
REMITTANCE_BYTES = 256  # from one 835 to the next in the source: small ones, which is the hard case
ENTRY_BYTES = 190  # an entry and its addenda


def _lying_in(stride: int, start: int, numbers: npt.NDArray[np.int64], width: int) -> TextColumn:
    """Numbers as text of a fixed width, one every `stride` bytes: as in a scanned source."""
    source = np.zeros((len(numbers), stride), np.uint8)
    rest = numbers.copy()
    for place in range(start + width - 1, start - 1, -1):
        source[:, place] = rest % 10 + ord("0")
        rest //= 10
    offsets = np.arange(len(numbers), dtype=np.uint32) * stride + start
    refs = np.stack([offsets, np.full(len(numbers), width, np.uint32)], axis=1)
    return TextColumn(source.reshape(-1).data, refs)


def _constant(value: bytes, rows: int) -> TextColumn:
    return TextColumn(value, np.tile(np.array([[0, len(value)]], np.uint32), (rows, 1)))


def _remittances(trace: Any, payer: Any, cents: Any) -> RemittanceColumns:
    n = len(cents)
    fill: dict[str, Any] = {
        "payment_method": b"ACH", "handling": b"I", "credit_debit": b"C", "currency": b"",
    }  # fmt: skip
    columns: dict[str, Any] = {}
    for name, kind in RemittanceColumns.types().items():
        columns[name] = _constant(b"", n) if kind == "text" else np.full(n, fill.get(name, 0), kind)
    columns |= {
        "id_offset": np.arange(n) * REMITTANCE_BYTES,
        "trace": _lying_in(REMITTANCE_BYTES, 150, trace, 12),
        "payer_id": _lying_in(REMITTANCE_BYTES, 163, payer, 10),
        "paid_cents": cents,
        "effective_date": np.full(n, DAY, np.int32),
        "body_hash": np.random.default_rng(2).integers(1, 2**63, n).astype(np.uint64),
        "valid": np.ones(n, np.bool_),
        "payment_row": np.full(n, -1, np.int32),
    }
    return RemittanceColumns(**columns)


def _payments(trace: Any, payer: Any, cents: Any) -> PaymentColumns:
    n = len(cents)
    columns: dict[str, Any] = {}
    for name, kind in PaymentColumns.types().items():
        columns[name] = _constant(b"", n) if kind == "text" else np.zeros(n, kind)
    columns |= {
        "id_offset": np.arange(n) * ENTRY_BYTES,
        "trace": _lying_in(ENTRY_BYTES, 104, trace, 12),
        "payer_id": _lying_in(ENTRY_BYTES, 117, payer, 10),
        "amount_cents": cents,
        "kind": np.ones(n, np.uint8),
        "settlement_date": np.full(n, DAY + 1, np.int32),
        "effective_date": np.full(n, DAY, np.int32),
        "ach_trace": 91000010000000 + np.arange(n),
        "entry_description": _constant(b"HCCLAIMPMT", n),
        "valid": np.ones(n, np.bool_),
    }
    return PaymentColumns(**columns)


@pytest.fixture(scope="module")
def pools() -> tuple[RemittanceColumns, PaymentColumns, npt.NDArray[np.int64]]:
    """A million of each in no common order, 500 payers, every remittance paid exactly once."""
    random = np.random.default_rng(1)
    trace = 10**11 + random.permutation(20 * ROWS)[:ROWS].astype(np.int64)
    payer = 1_300_000_000 + random.integers(0, 500, ROWS)
    cents = random.integers(1, 10**8, ROWS)
    order = random.permutation(ROWS)
    return (
        _remittances(trace, payer, cents),
        _payments(trace[order], payer[order], cents[order]),
        order,
    )


def test_bench_match_exact_tier(
    benchmark: Any, pools: tuple[RemittanceColumns, PaymentColumns, npt.NDArray[np.int64]]
) -> None:
    """From scanned columns to matches, normal forms, all tiers and explanations included."""
    left, right, order = pools
    calendar = BankingCalendar([])
    m = benchmark.pedantic(
        lambda: match(left, right, calendar=calendar, as_of=DAY + 1),
        rounds=7,
        warmup_rounds=1,
    )
    assert len(m) == ROWS
    assert (order[m.payment] == m.remittance).all()
    assert (m.tier == Tier.T1).all()
    assert (m.status == MatchStatus.AUTO).all()
    assert m.release.all()
    benchmark.extra_info["rows"] = ROWS
    benchmark.extra_info["million_pairs_per_second"] = round(ROWS / benchmark.stats["min"] / 1e6, 2)


def _best(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest call of each, taken in turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def test_bench_join_beside_polars(benchmark: Any) -> None:
    """Two int64 keys, one match each, any order, one thread: at least half as fast as Polars."""
    random = np.random.default_rng(5)
    left = random.integers(-(2**62), 2**62, ROWS)
    order = random.permutation(ROWS)
    right = left[order]
    rows = np.arange(ROWS, dtype=np.int32)
    frames = (
        polars.DataFrame({"key": left, "row": rows}),
        polars.DataFrame({"key": right, "other": rows}),
    )

    def ours() -> npt.NDArray[np.int32]:
        return _keys.join(left.view(np.uint64), right.view(np.uint64))[0]

    def theirs() -> polars.DataFrame:
        return frames[0].join(frames[1], on="key")

    partner = benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    assert (order[partner] == rows).all()
    joined = theirs()
    assert (order[joined["other"].to_numpy()] == joined["row"].to_numpy()).all()
    assert len(joined) == ROWS
    assert polars.thread_pool_size() == 1
    best = _best({"ours": ours, "polars": theirs}, 7)
    benchmark.extra_info["rows"] = ROWS
    benchmark.extra_info["million_rows_per_second"] = round(ROWS / best["ours"] / 1e6, 1)
    benchmark.extra_info["speed_over_polars"] = round(best["polars"] / best["ours"], 2)
    assert best["polars"] / best["ours"] >= 0.5
