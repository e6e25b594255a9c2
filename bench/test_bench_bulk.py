"""Bulk payments: open pools in realistic blocks, one huge block, and searches among many items.

Each bench knows the answers beforehand: sums are planted among amounts that make no others.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reassoc.core import _bulk, _keys
from reassoc.core._keys import mix

ROWS = int(os.environ.get("REASSOC_BENCH_BULK_ROWS", "200000"))
PAYERS, PAYEES, DAYS = 48, 5000, 7
WINDOW_DAYS, ITEMS_MAX = 3, 25
NONE = np.zeros(0, np.int32)
Columns = dict[str, npt.NDArray[Any]]


def _side(rows: int, columns: Columns) -> _bulk.BulkSide:
    """All rows of one tenant and rail."""
    zeros = np.zeros(rows, np.uint32)
    return _bulk.BulkSide(
        np.arange(rows, dtype=np.int32), columns["cents"], columns["day"], zeros,
        columns["payer"], columns["payee"], np.zeros(rows, np.uint8),
        np.arange(rows, dtype=np.uint64), NONE, NONE,
    )  # fmt: skip


def _find(left: Columns, right: Columns) -> tuple[_bulk.BulkSide, _bulk.BulkSide, Any, Any]:
    """As the stage does: blocks by hash, sides, sums."""
    sides = [_side(len(columns["cents"]), columns) for columns in (left, right)]
    _, blocks = _keys.join(*(mix(columns["payer"], columns["payee"]) for columns in (left, right)))
    return *sides, *_bulk.find_sums(blocks, *sides, WINDOW_DAYS, ITEMS_MAX)


@pytest.fixture(scope="module")
def pools() -> tuple[Columns, Columns]:
    """Every payment is the sum of two remittances, or has as little to do with any as they with it;
    remittances are odd multiples of 8 cents, so that no single one is a sum of two payments."""
    random = np.random.default_rng(11)
    day = random.integers(100, 100 + DAYS, ROWS).astype(np.int32)
    left = {
        "cents": random.integers(1, 10**11, ROWS) * 16 + 8,
        "payer": random.integers(1, PAYERS + 1, ROWS).astype(np.uint32),
        "payee": random.integers(1, PAYEES + 1, ROWS).astype(np.uint32),
        "day": day,
    }
    for name in ("payer", "payee", "day"):
        left[name][ROWS // 2 :] = left[name][: ROWS - ROWS // 2]
    right = {name: column.copy() for name, column in left.items()}
    planted = ROWS // 4
    right["cents"] = random.integers(1, 10**11, ROWS) * 16 + 1
    right["cents"][:planted] = (left["cents"][: ROWS // 2] + left["cents"][ROWS // 2 :])[:planted]
    return left, right


def test_bench_bulk_realistic_pools(benchmark: Any, pools: tuple[Columns, Columns]) -> None:
    """48 payers, 5,000 payees, 7 days, all open: blocks, windows and sums of both tiers."""
    left, right, heads, members = benchmark.pedantic(_find, args=pools, rounds=5, warmup_rounds=1)
    planted = ROWS // 4
    assert heads[:, 0].tolist() == [8] * planted
    assert (heads[:, 2:] == [1, 2]).all()
    assert np.sort(heads[:, 1]).tolist() == [*range(planted)]
    pair = np.sort(members.reshape(-1, 2), axis=1)
    assert (pair[:, 0] == heads[:, 1]).all()
    assert (pair[:, 1] == heads[:, 1] + ROWS // 2).all()
    assert not left.capped.any()
    assert not right.capped.any()
    benchmark.extra_info["rows"] = 2 * ROWS
    benchmark.extra_info["million_items_per_second"] = round(
        2 * ROWS / benchmark.stats["min"] / 1e6, 2
    )


def test_bench_bulk_one_block(benchmark: Any) -> None:
    """One payer that pays one payee, half as many items a side as above: all of it is capped."""
    random = np.random.default_rng(12)
    rows = ROWS // 2
    left, right = (
        {
            "cents": random.integers(10**5, 10**6, rows),
            "payer": np.ones(rows, np.uint32),
            "payee": np.ones(rows, np.uint32),
            "day": random.integers(100, 100 + DAYS, rows).astype(np.int32),
        }
        for _ in range(2)
    )
    of_left, of_right, heads, _ = benchmark.pedantic(
        _find, args=(left, right), rounds=5, warmup_rounds=1
    )
    assert len(heads) == 0
    assert of_left.capped.mean() > 0.99
    assert of_right.capped.mean() > 0.99
    benchmark.extra_info["rows"] = 2 * rows


@pytest.mark.parametrize("items", [5, 12, 20, 25, 30])
def test_bench_bulk_search(benchmark: Any, items: int) -> None:
    """One payment that is half of so many remittances: the hardest sum among them."""
    random = np.random.default_rng(items)
    searches = 20
    cents = random.integers(1000, 5_000_000, (searches, items))
    half = cents[:, : items // 2].sum(axis=1)
    cents[:, items // 2 :] = np.minimum(cents[:, items // 2 :], half[:, None] - 1)
    block = np.arange(1, searches + 1, dtype=np.uint32)
    left = {
        "cents": cents.ravel(),
        "payer": np.repeat(block, items),
        "payee": np.repeat(block, items),
        "day": np.full(searches * items, 100, np.int32),
    }
    right = {
        "cents": half,
        "payer": block,
        "payee": block,
        "day": np.full(searches, 100, np.int32),
    }
    sides = (_side(searches * items, left), _side(searches, right))
    _, blocks = _keys.join(mix(left["payer"]), mix(right["payer"]))
    heads, members = benchmark.pedantic(
        _bulk.find_sums, args=(blocks, *sides, WINDOW_DAYS, 30), rounds=20, warmup_rounds=1
    )
    assert set(heads[:, 1].tolist()) == set(range(searches))
    starts = np.cumsum(heads[:, 3]) - heads[:, 3]
    sums = np.add.reduceat(left["cents"][members], starts)
    assert (sums == half[heads[:, 1]]).all()
    seconds = benchmark.stats["min"] / searches
    benchmark.extra_info["microseconds_per_search"] = round(seconds * 1e6, 2)
    benchmark.extra_info["million_sums_per_second"] = round(_bulk.sums_of(items) / seconds / 1e6, 1)
