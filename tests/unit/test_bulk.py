"""Sums of several items that come to one: what is found, what is counted, what is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from sides import Row, pairs, state_of

from reassoc.core import _bulk, policy
from reassoc.core.matching import bulk
from reassoc.core.matching.state import Candidates, State
from reassoc.core.policy import Policy
from reassoc.core.statuses import Reason

OPTED = Policy(auto_tiers=("T8", "T9"))
INT64_MAX = 2**63 - 1


def _rows(*cents: int, **fields: Any) -> list[Row]:
    return [{"cents": amount, **fields} for amount in cents]


def _find(state: State, loose: Sequence[tuple[int, int]] = ()) -> Candidates:
    return bulk.find_sums(state, pairs(), pairs(loose))


def _sums(found: Candidates) -> list[tuple[int, int, list[int]]]:
    """(tier, row of the single item, rows of the sum), in the order in which they came."""
    told = []
    for group in dict.fromkeys(found.group.tolist()):
        at = found.group == group
        tier = int(found.tier[at][0])
        single, members = (found.right, found.left) if tier == 8 else (found.left, found.right)
        told.append((tier, int(single[at][0]), members[at].tolist()))
    return told


# ---- what is a sum ----


def test_the_example_of_3000_has_two_answers_and_goes_to_review() -> None:
    state = state_of(_rows(125000, 90000, 85000, 210000), _rows(300000), OPTED)
    found = _find(state)
    assert _sums(found) == [(8, 0, [1, 3]), (8, 0, [0, 1, 2])]
    assert set(found.reason.tolist()) == {Reason.SUM_NOT_UNIQUE}
    assert set(found.rivals.tolist()) == {1}
    assert len(bulk.take_unique(state, found, 8, may=True)) == 5
    assert state.taken == []


def test_the_only_sum_is_taken_where_it_may() -> None:
    state = state_of(_rows(125000, 90000, 85000, 210001), _rows(300000), OPTED)
    found = _find(state)
    assert _sums(found) == [(8, 0, [0, 1, 2])]
    assert set(found.reason.tolist()) == {0}
    assert len(bulk.take_unique(state, found, 8, may=True)) == 0
    assert state.taken[0].left.tolist() == [0, 1, 2]
    assert state.remittances.open.tolist() == [False, False, False, True]
    assert state.payments.open.tolist() == [False]


def test_several_payments_for_one_remittance() -> None:
    state = state_of(_rows(300), _rows(100, 150, 50), OPTED)
    found = _find(state)
    assert _sums(found) == [(9, 0, [0, 1, 2])]
    assert len(bulk.take_unique(state, found, 8, may=True)) == 3
    assert len(bulk.take_unique(state, found, 9, may=True)) == 0
    assert state.taken[0].right.tolist() == [0, 1, 2]


def test_review_unless_the_policy_opts_in() -> None:
    state = state_of(_rows(100, 200), _rows(300))
    found = _find(state)
    assert set(found.reason.tolist()) == {Reason.TIER_TO_REVIEW}
    assert len(bulk.take_unique(state, found, 8, may=False)) == 2
    assert state.taken == []
    opted = state_of(_rows(100, 200), _rows(300), OPTED)
    found = _find(opted)
    assert set(found.reason.tolist()) == {0}
    back = bulk.take_unique(opted, found, 8, may=False)
    assert set(back.reason.tolist()) == {Reason.TIER_TO_REVIEW}


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": 1},
        {"rail": 1},
        {"payer": 2},
        {"payer": 0},
        {"payee": 2},
        {"payee": 0},
        {"day": 14},
        {"day": 6},
        {"day": None},
        {"open": False},
        {"cents": 0},
        {"cents": -200},
        {"cents": 300},
        {"cents": 201},
    ],
)
def test_what_is_no_part_of_a_sum(change: Row) -> None:
    one, other = _rows(100, 200)
    assert len(_find(state_of([one, other], _rows(300)))) == 2
    assert len(_find(state_of([one, {**other, **change}], _rows(300)))) == 0


def test_nothing_unknown_has_sums() -> None:
    for unknown in ({"payer": 0}, {"payee": 0}, {"day": None}, {"rail": 3}):
        assert not len(_find(state_of(_rows(100, 200, **unknown), _rows(300, **unknown))))


def test_amounts_of_nothing_change_no_sum() -> None:
    found = _find(state_of(_rows(100, 200, 0, 0, -1, 1), _rows(300)))
    assert _sums(found) == [(8, 0, [0, 1])]


def test_undecided_pairs_take_no_part() -> None:
    state = state_of(_rows(100, 200, 150), _rows(300, 150))
    assert len(bulk.find_sums(state, pairs([(0, 1)], 4), pairs())) == 0
    assert len(bulk.find_sums(state, pairs([(2, 0)], 4), pairs())) == 0
    assert len(bulk.find_sums(state, pairs([(2, 1)], 4), pairs())) == 2


def test_days_count_from_the_single_item() -> None:
    days = [{"cents": 100, "day": 7}, {"cents": 200, "day": 13}]
    assert len(_find(state_of(days, _rows(300, day=10)))) == 2
    assert len(_find(state_of(days, _rows(300, day=9)))) == 0


# ---- shared traces ----


def test_a_shared_trace_must_be_in_the_sum() -> None:
    state = state_of(_rows(125000, 90000, 85000, 210000), _rows(300000), OPTED)
    found = _find(state, loose=[(3, 0)])
    assert _sums(found) == [(8, 0, [1, 3])]
    assert set(found.rivals.tolist()) == {0}
    assert len(bulk.take_unique(state, found, 8, may=True)) == 0


def test_of_several_shared_traces_one_is_enough() -> None:
    state = state_of(_rows(125000, 90000, 85000, 210000), _rows(300000))
    assert len(_sums(_find(state, loose=[(3, 0), (2, 0)]))) == 2
    found = _find(state, loose=[(0, 0), (2, 0)])
    assert _sums(found) == [(8, 0, [0, 1, 2])]
    assert set(found.reason.tolist()) == {Reason.TIER_TO_REVIEW}


def test_a_sum_without_all_shared_traces_is_for_a_person() -> None:
    state = state_of([*_rows(100, 200, 120), {"cents": 50, "payee": 2}], _rows(300), OPTED)
    for missing in (2, 3):
        found = _find(state, loose=[(0, 0), (missing, 0)])
        assert _sums(found) == [(8, 0, [0, 1])]
        assert set(found.reason.tolist()) == {Reason.TIE}
        assert len(bulk.take_unique(state, found, 8, may=True)) == 2


def test_a_shared_trace_that_fits_nowhere_leaves_no_sum() -> None:
    state = state_of([*_rows(100, 200), {"cents": 50, "payee": 7}], _rows(300))
    assert len(_find(state, loose=[(2, 0)])) == 0


def test_a_shared_trace_of_a_matched_item_says_nothing() -> None:
    state = state_of([*_rows(100, 200), {"cents": 50, "open": False}], _rows(300))
    assert len(_find(state, loose=[(2, 0)])) == 2


def test_an_item_whose_trace_speaks_for_another_is_contested() -> None:
    state = state_of(_rows(100, 200), [*_rows(300), {"cents": 999, "payee": 2}], OPTED)
    found = _find(state, loose=[(0, 1)])
    assert set(found.reason.tolist()) == {Reason.TIE}
    assert len(bulk.take_unique(state, found, 8, may=True)) == 2


def test_a_shared_trace_with_a_remittance_binds_its_payments() -> None:
    state = state_of(_rows(300), _rows(100, 200, 120, 180))
    assert _sums(_find(state, loose=[(0, 2)])) == [(9, 0, [2, 3])]


# ---- what is shown ----


def test_the_smallest_sums_are_shown_first_then_the_nearest_then_by_ids() -> None:
    left = [
        {"cents": 100, "id": 9},
        {"cents": 100, "id": 3},
        {"cents": 100, "id": 5, "day": 11},
        {"cents": 200, "id": 1, "day": 12},
        {"cents": 40, "id": 2},
        {"cents": 60, "id": 0},
    ]
    found = _find(state_of(left, _rows(300)))
    # of two items: 200 and one of the 100s; those of this day first, by ids, then the later one
    assert _sums(found) == [(8, 0, [3, 1]), (8, 0, [3, 0]), (8, 0, [3, 2])]
    # the same with 40 + 60 for a 100, 200 + 40 + 60, and the three 100s
    assert set(found.rivals.tolist()) == {7}


def test_sums_of_equal_amounts_are_all_counted() -> None:
    limits = Policy(bulk_items_max=30)
    found = _find(state_of(_rows(*[100] * 30), _rows(1500), limits))
    assert set(found.rivals.tolist()) == {comb(30, 15) - 1}
    assert [members for _, _, members in _sums(found)] == [
        [*range(15)],
        [*range(14), 15],
        [*range(14), 16],
    ]


@pytest.mark.parametrize("count", [11, 14, 17])
def test_larger_searches_agree_with_all_subsets(count: int) -> None:
    random = np.random.default_rng(count)
    for most in (30, 300, 10**6):
        cents = random.integers(1, most, count)
        target = int(cents[: count // 2].sum())
        items = np.arange(2**count)
        sums = sum((items >> i & 1) * cents[i] for i in range(count))
        sizes = sum(items >> i & 1 for i in range(count))
        fitting = np.flatnonzero(sums == target)
        if (cents >= target).any():
            continue
        found = _find(state_of(_rows(*cents.tolist()), _rows(target)))
        assert set(found.rivals.tolist()) == {len(fitting) - 1}
        shown = _sums(found)
        assert [len(members) for _, _, members in shown] == sorted(sizes[fitting].tolist())[:3]
        assert all(cents[members].sum() == target for _, _, members in shown)


def test_items_of_two_sums_are_for_a_person() -> None:
    state = state_of(_rows(100, 200, 150), _rows(300, 350), OPTED)
    found = _find(state)
    assert _sums(found) == [(8, 0, [0, 1]), (8, 1, [1, 2])]
    assert set(found.reason.tolist()) == {Reason.TIE}
    assert set(found.rivals.tolist()) == {1}
    assert len(bulk.take_unique(state, found, 8, may=True)) == 4


def test_a_sum_that_is_not_shown_contests_its_items_too() -> None:
    left = _rows(*[100] * 5, 250)
    state = state_of(left, [{"cents": 200}, {"cents": 350}], OPTED)
    found = _find(state)
    contested = found.reason & np.int64(Reason.TIE) != 0
    assert contested.all()
    assert {(0, 1), (0, 2), (0, 3)} == {tuple(m) for _, p, m in _sums(found) if p == 0}


# ---- what is not guessed ----


@pytest.mark.parametrize(("may", "taken"), [(True, 0), (False, 0)])
@pytest.mark.parametrize("side", [0, 1])
def test_held_items_only_reach_review(may: bool, taken: int, side: int) -> None:
    left, right = [*_rows(100), *_rows(200, held=side == 0)], _rows(300, held=side == 1)
    state = state_of(left, right, OPTED)
    found = _find(state)
    assert len(found) == 2
    assert len(bulk.take_unique(state, found, 8, may=may)) == 2
    assert len(state.taken) == taken


def test_more_items_than_allowed_are_capped_and_said() -> None:
    limits = Policy(bulk_items_max=4, auto_tiers=("T8",))
    left = _rows(100, 200, 1, 2, 3, 500)
    state = state_of([*left, {"cents": 9, "day": 20}], [*_rows(300), *_rows(250)], limits)
    assert len(_find(state)) == 0
    # 500 is above both payments and 9 too far off: neither would be tried
    assert (state.seen.reason & Reason.BULK_CAPPED != 0).tolist() == [True] * 5 + [False] * 2
    assert (state.paid.reason & Reason.BULK_CAPPED != 0).tolist() == [True, True]


def test_as_many_items_as_allowed_are_tried() -> None:
    limits = Policy(bulk_items_max=5)
    state = state_of(_rows(100, 200, 1, 2, 3, 500), _rows(300), limits)
    assert _sums(_find(state)) == [(8, 0, [0, 1])]
    assert not (state.seen.reason & Reason.BULK_CAPPED).any()


@pytest.mark.parametrize(("work", "found"), [(8, 2), (7, 0)])
def test_more_sums_than_allowed_are_not_begun(work: int, found: int) -> None:
    assert _bulk.sums_of(4) == 8
    state = state_of(_rows(100, 200, 1, 2), _rows(300), Policy(bulk_work_max=work))
    assert len(_find(state)) == found
    capped = state.seen.reason & Reason.BULK_CAPPED != 0
    assert capped.tolist() == [not found] * 4


def test_a_sum_beside_a_capped_search_is_for_a_person() -> None:
    limits = Policy(bulk_items_max=2, auto_tiers=("T8",))
    state = state_of(_rows(100, 200, 400), _rows(300, 450), limits)
    found = _find(state)
    assert _sums(found) == [(8, 0, [0, 1])]
    assert set(found.reason.tolist()) == {Reason.BULK_CAPPED}
    assert len(bulk.take_unique(state, found, 8, may=True)) == 2


def test_the_largest_searches_are_left_out_where_all_would_be_too_many() -> None:
    singles = _bulk.SUMS_MAX // _bulk.sums_of(30) + 1
    left = [*_rows(*range(1001, 1031)), *_rows(1, 2, payee=2)]
    right = [*_rows(*[10**6] * singles), *_rows(3, payee=2)]
    state = state_of(left, right, Policy(bulk_items_max=30))
    found = _find(state)
    assert _sums(found) == [(8, singles, [30, 31])]
    assert (state.paid.reason & Reason.BULK_CAPPED != 0).sum() == singles
    assert (state.seen.reason & Reason.BULK_CAPPED != 0).sum() == 30
    fewer = state_of(left, right[2:], Policy(bulk_items_max=30))
    _find(fewer)
    assert not (fewer.seen.reason & Reason.BULK_CAPPED).any()


def test_take_unique_trusts_no_group_blindly() -> None:
    """Whatever it is handed: open items, one single item, exact to the cent."""
    left, right = _rows(100, 200, 100), _rows(300, 300)

    def taken(rows: list[tuple[int, int]], group: list[int], **fields: Any) -> int:
        state = state_of(left, right, OPTED)
        found = pairs(rows, 8)
        found.group[:] = group
        for name, value in fields.items():
            getattr(found, name)[:] = value
        bulk.take_unique(state, found, 8, may=True)
        return sum(len(part) for part in state.taken)

    assert taken([(0, 0), (1, 0)], [7, 7]) == 2
    assert taken([(0, 0), (1, 0)], [0, 0]) == 0
    assert taken([(0, 0), (1, 0)], [7, 7], tier=9) == 0
    assert taken([(0, 0), (2, 0)], [7, 7]) == 0
    assert taken([(0, 0), (1, 1)], [7, 7]) == 0
    assert taken([(0, 0), (1, 0), (2, 1), (1, 1)], [7, 7, 8, 8]) == 0
    assert taken([(0, 0), (1, 0), (1, 0), (2, 0)], [7, 7, 8, 8]) == 0
    for flag in (Reason.SUM_NOT_UNIQUE, Reason.TIE, Reason.BULK_CAPPED):
        assert taken([(0, 0), (1, 0)], [7, 7], reason=[flag, 0]) == 0


def test_a_matched_item_is_not_taken_again() -> None:
    state = state_of(_rows(100, 200), _rows(300), OPTED)
    found = _find(state)
    state.remittances.open[1] = False
    assert len(bulk.take_unique(state, found, 8, may=True)) == 2


# ---- limits of numbers ----


def test_sums_beyond_int64_are_no_sums() -> None:
    huge = INT64_MAX - 1
    cents = [huge, huge - 1, huge - 2, 2**62, 2**62 - 1, 2**62 - 3, 3]
    found = _find(state_of(_rows(*cents), _rows(INT64_MAX)))
    fitting = [
        set(rows)
        for size in range(2, 8)
        for rows in combinations(range(7), size)
        if sum(cents[row] for row in rows) == INT64_MAX
    ]
    assert len(fitting) >= 2
    assert [set(members) for _, _, members in _sums(found)] == fitting[:3]
    # thirty of them together are far beyond 2**64, and would wrap around to something small
    assert not len(_find(state_of(_rows(*[2**62] * 8), _rows(2**62 + 1))))


def test_kernel_refuses_what_it_cannot_do() -> None:
    none = np.zeros(0, np.int32)

    def side(rows: Any, count: int = 1) -> _bulk.BulkSide:
        numbers = np.ones(count, np.uint32)
        return _bulk.BulkSide(
            np.array(rows, np.int32), np.ones(count, np.int64), np.ones(count, np.int32), numbers,
            numbers, numbers, np.zeros(count, np.uint8), np.arange(count, dtype=np.uint64),
            none, none,
        )  # fmt: skip

    block = np.array([1, 1, 0, 0], np.int32)
    assert len(_bulk.find_sums(block, side([0]), side([0]), 3, 25)[0]) == 0
    for blocks in ([1, 1, 1, 0], [1, 1, 0, -1], [1, 1, 0], [1], [-1, 1, 0], [3, 0, 0, 0]):
        with pytest.raises(ValueError, match="rows that there are not"):
            _bulk.find_sums(np.array(blocks, np.int32), side([0]), side([0]), 3, 25)
    for row in (1, -1):
        with pytest.raises(ValueError, match="rows that there are not"):
            _bulk.find_sums(block, side([row]), side([0]), 3, 25)
    with pytest.raises(ValueError, match="ITEMS_MAX"):
        _bulk.find_sums(block, side([0]), side([0]), 3, 31)
    with pytest.raises(ValueError, match="ITEMS_MAX"):
        _bulk.sums_of(31)
    with pytest.raises(ValueError, match="window"):
        _bulk.find_sums(block, side([0]), side([0]), -1, 25)
    with pytest.raises(ValueError, match="different lengths"):
        _bulk.BulkSide(
            none, np.ones(2, np.int64), none, *([np.zeros(2, np.uint32)] * 3),
            np.zeros(2, np.uint8), np.zeros(2, np.uint64), none, none,
        )  # fmt: skip


def test_the_policy_asks_for_no_more_than_the_kernel_can() -> None:
    assert policy.BULK_ITEMS_MAX == _bulk.ITEMS_MAX
    assert _bulk.SOLUTIONS_SHOWN == 3


def test_empty_sides() -> None:
    for left, right in (([], []), (_rows(1, 2), []), ([], _rows(3))):
        assert len(_find(state_of(left, right))) == 0
