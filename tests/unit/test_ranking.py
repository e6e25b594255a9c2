"""What speaks for a pair, and which candidates a person is shown, in what order."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import DAY
from states import state_of_rows

from reassoc.core import _candidates
from reassoc.core.matching import ranking
from reassoc.core.matching.candidates import sides_of
from reassoc.core.matching.state import Candidates, State
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.statuses import MatchStatus, Reason, Tier

Row = Mapping[str, Any]

# ---- weights ----


@given(st.integers(1, 2**64 - 1))
def test_logarithms_are_in_hundredths(number: int) -> None:
    assert abs(_candidates.log2_hundredths(number) - 100 * math.log2(number)) < 1
    assert _candidates.log2_hundredths(1 << (number.bit_length() - 1)) % 100 == 0


def weight(left: Row, right: Row, policy: Policy | None = None) -> int:
    others: list[Row] = [{"paid_cents": 1000 + k} for k in range(50)]
    state = state_of_rows([left, *others], [right], policy)
    none = np.zeros(1, np.int32)
    return int(ranking.weights(state, none, none)[0])


def test_the_more_of_a_trace_agrees_the_more_it_weighs() -> None:
    traces = ["AB-12345678", "AB12345678", "B12345678", "12345678", "2345678", "AB12345679"]
    weights = [weight({"trace": "AB-12345678"}, {"trace": trace}) for trace in traces]
    assert weights == sorted(weights, reverse=True)
    assert len({*weights}) == 5
    unknown, other = (weight({"trace": "AB-12345678"}, {"trace": t}) for t in ("", "CD99"))
    assert weights[-1] > unknown > other


def test_a_wrong_character_weighs_less_than_any_other_trace() -> None:
    near = [weight({"trace": "123456789"}, {"trace": t}) for t in ("123457689", "12345789")]
    other = weight({"trace": "123456789"}, {"trace": "987654321"})
    assert near[0] == near[1] > other


def test_payer_payee_company_and_days_weigh() -> None:
    alias = Policy(payers=(PayerRule(ids=("1234567890", "1341858386")),))
    payers = [
        weight({}, {}, alias),
        weight({}, {"payer_id": "1341858386"}, alias),
        weight({}, {"payer_id": "", "company_id": ""}, alias),
        weight({}, {"payer_id": "1999999984"}, alias),
    ]
    assert payers == sorted(payers, reverse=True)
    assert len({*payers}) == 4
    payees = [weight({}, {"account": account}) for account in ("0005566778", "", "1")]
    assert payees == sorted(payees, reverse=True)
    assert len({*payees}) == 3
    days = [weight({}, {"effective_date": DAY + k}) for k in (0, 1, 2, 7, 20, 100)]
    assert days == sorted(days, reverse=True)
    assert len({*days}) == 6
    undated = weight({"effective_date": None}, {})
    assert days[0] > undated > days[-1]
    state = state_of_rows([{}], [{}, {}])
    group = int(state.remittances.payer_group[0])
    state.company_group = np.array([group, group + 1], np.uint32)
    rows = np.arange(2, dtype=np.int32)
    same, other = ranking.weights(state, np.zeros(2, np.int32), rows).tolist()
    assert same > other


def test_rare_amounts_weigh_more() -> None:
    left = [{"paid_cents": 100}] * 40 + [{"paid_cents": 777}]
    state = state_of_rows(left, [{"amount_cents": 100}, {"amount_cents": 777}])
    weights = ranking.weights(state, np.array([0, 40], np.int32), np.array([0, 1], np.int32))
    assert weights[1] - weights[0] == pytest.approx(100 * math.log2(41 / 2), abs=2)


def test_an_amount_is_as_rare_as_it_is_for_its_payer_and_payee() -> None:
    """The same amount is common among the items of one payer and payee, rare among all."""
    left: list[Row] = [{"paid_cents": 100}] * _candidates.BLOCK_ROWS_MIN
    left += [{"paid_cents": 5000 + k, "payee_account": f"{k}"} for k in range(500)]
    state = state_of_rows(left, [{"amount_cents": 100}, {"amount_cents": 100, "account": ""}])
    weights = ranking.weights(state, np.zeros(2, np.int32), np.arange(2, dtype=np.int32))
    rarity = 100 * math.log2((len(left) + 2) / (_candidates.BLOCK_ROWS_MIN + 2))
    assert weights[0] - 900 == pytest.approx(weights[1] - rarity, abs=2)


def test_other_amounts_weigh_against_a_pair() -> None:
    amounts = [weight({}, {"amount_cents": cents}) for cents in (120000, 117600, 50000)]
    assert amounts == sorted(amounts, reverse=True)
    assert len({*amounts}) == 3


def test_weights_refuse_rows_that_are_none() -> None:
    state = state_of_rows([{}], [{}])
    for left, right in ((0, 1), (-1, 0)):
        with pytest.raises(IndexError, match="none of the 1 rows"):
            ranking.weights(state, np.array([left], np.int32), np.array([right], np.int32))


# ---- the order of rows ----

KEYS = st.integers(0, 2)


@given(st.lists(st.tuples(st.integers(0, 3), KEYS, KEYS, KEYS), max_size=60))
def test_rows_are_ranked_within_their_items(rows: list[tuple[int, int, int, int]]) -> None:
    items, weights, first, second = np.array(rows, np.int64).reshape(-1, 4).T
    units = np.arange(len(rows), dtype=np.int32) // 2
    order, ranks = _candidates.rank(
        items.astype(np.int32),
        4,
        weights.astype(np.int32),
        first.astype(np.uint64),
        second.astype(np.uint64),
        units,
    )
    expected = sorted(
        range(len(rows)), key=lambda k: (items[k], -weights[k], first[k], second[k], units[k])
    )
    keys = [(items[k], -weights[k], first[k], second[k], units[k]) for k in order]
    assert keys == [(items[k], -weights[k], first[k], second[k], units[k]) for k in expected]
    assert sorted(order.tolist()) == list(range(len(rows)))
    last: tuple[int, int] | None = None
    rank = 0
    for k in order.tolist():
        rank = 0 if last is None or last[0] != items[k] else rank
        rank += last != (items[k], units[k])
        last = (items[k], units[k])
        assert ranks[k] == rank


# ---- what is shown ----

ROWS = 6
TIERS = st.sampled_from([Tier.T1, Tier.T4, Tier.T5, Tier.T5, Tier.T7, Tier.T10])
SINGLES = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, ROWS - 1), TIERS), max_size=14, unique=True
)
SUMS = st.lists(
    st.tuples(
        st.sampled_from([Tier.T8, Tier.T9]),
        st.integers(0, ROWS - 1),
        st.frozensets(st.integers(0, ROWS - 1), min_size=2, max_size=3),
    ),
    max_size=4,
    unique=True,
)
ITEMS = st.lists(
    st.tuples(st.sampled_from([100, 200, 300]), st.sampled_from(["", "A1234567", "A12345678"])),
    min_size=ROWS,
    max_size=ROWS,
)


def candidates_of(
    singles: Sequence[tuple[int, int, int]], sums: Sequence[tuple[int, int, frozenset[int]]]
) -> Candidates:
    parts = [Candidates.concat([])]
    for i, j, tier in singles:
        parts.append(Candidates.of(np.array([i]), np.array([j]), tier))
    for number, (tier, one, many) in enumerate(sums):
        several, same = np.array(sorted(many)), np.full(len(many), one)
        left, right = (several, same) if tier == Tier.T8 else (same, several)
        group = np.full(len(many), number + 1, np.uint64)
        parts.append(Candidates.of(left, right, tier, group=group))
    return Candidates.concat(parts)


def plain_review(state: State, found: Candidates, most: int) -> tuple[dict[Any, Any], bool]:
    """The rules, candidate by candidate: (pairs of it, tier) -> (weight, status, ranks).

    And whether ties are broken by a hash, which the plain rules do not have: those of sums with
    the same lowest remittance and weight as others."""
    whole: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for k, (i, j, tier, group) in enumerate(
        zip(*(getattr(found, n).tolist() for n in ("left", "right", "tier", "group")), strict=True)
    ):
        whole[(tier, ("sum", group) if group else k)].append((i, j))
    units = [(tuple(sorted(pairs)), tier) for (tier, _), pairs in whole.items()]
    in_sums = {pair for pairs, _ in units if len(pairs) > 1 for pair in pairs}
    singles: dict[tuple[int, int], int] = {}
    for pairs, tier in units:
        if len(pairs) == 1:
            singles[pairs[0]] = min(tier, singles.get(pairs[0], 99))
    units = [unit for unit in units if len(unit[0]) > 1]
    units += [((pair,), tier) for pair, tier in singles.items() if tier != 5 or pair not in in_sums]
    weights = {unit: plain_weight(state, unit) for unit in units}
    ranks = plain_ranks(units, weights)
    kept = [unit for unit in units if min(min(side.values()) for side in ranks[unit]) <= most]
    ranks = plain_ranks(kept, weights)
    heads = [(pairs[0][0], weights[pairs, tier]) for pairs, tier in units]
    by_hash = bool(in_sums) and len({*heads}) < len(heads)
    shown = {unit: (weights[unit], plain_status(state, unit, units), *ranks[unit]) for unit in kept}
    return shown, by_hash


def plain_weight(state: State, unit: tuple[Any, int]) -> int:
    pairs, _ = unit
    left, right = (np.array(side, np.int32) for side in zip(*pairs, strict=True))
    if len(pairs) == 1:
        return int(ranking.weights(state, left, right)[0])
    lefts = sum(state.remittances.cents[[*{*left}]].tolist())
    rights = sum(state.payments.cents[[*{*right}]].tolist())
    sums = np.full(len(pairs), lefts if lefts == rights else -1, np.int64)
    least = sides_of(state).weigh(left, right, sums).min()
    return int(least) - ranking.ITEM_WEIGHT * (len(pairs) - 2)


def plain_ranks(units: Sequence[Any], weights: Mapping[Any, int]) -> dict[Any, Any]:
    ranks: dict[Any, Any] = {unit: ({}, {}) for unit in units}
    for side in (0, 1):
        for item in range(ROWS):
            mine = [unit for unit in units if any(pair[side] == item for pair in unit[0])]
            mine.sort(key=lambda unit: (-weights[unit], unit[0][0]))
            for place, unit in enumerate(mine):
                ranks[unit][side][item] = place + 1
    return ranks


def plain_status(state: State, unit: tuple[Any, int], units: Sequence[Any]) -> MatchStatus:
    pairs, tier = unit
    others = [
        other
        for other in units
        if other != unit
        and other[1] != Tier.T10
        and any(i == k or j == m for i, j in pairs for k, m in other[0])
    ]
    held = any(state.remittances.held[i] or state.payments.held[j] for i, j in pairs)
    lone = tier == Tier.T5 and not others and not held
    return MatchStatus.VARIANCE if lone else MatchStatus.REVIEW


@given(SINGLES, SUMS, ITEMS, ITEMS, st.integers(1, 3), st.integers(0, ROWS))
def test_review_follows_the_rules(
    singles: list[tuple[int, int, int]],
    sums: list[tuple[int, int, frozenset[int]]],
    left: list[tuple[int, str]],
    right: list[tuple[int, str]],
    most: int,
    held: int,
) -> None:
    lefts = [{"paid_cents": cents, "trace": trace} for cents, trace in left]
    rights = [{"amount_cents": cents, "trace": trace} for cents, trace in right]
    lefts[held:] = [{**row, "held": True} for row in lefts[held:]]
    state = state_of_rows(lefts, rights, Policy(candidates_max=most))
    found = candidates_of(singles, sums)
    reviewed = ranking.review(state, found)
    assert list(zip(reviewed.left, reviewed.right, strict=True)) == sorted(
        zip(reviewed.left, reviewed.right, strict=True)
    )
    shown: dict[Any, list[Any]] = defaultdict(list)
    for k in range(len(reviewed)):
        group = int(reviewed.group[k])
        name = (int(reviewed.tier[k]), ("sum", group) if group else k)
        shown[name].append(k)
    expected, by_hash = plain_review(state, found, most)
    assert len(shown) == len(expected) or by_hash
    for (tier, _), rows in shown.items():
        pairs = tuple(sorted((int(reviewed.left[k]), int(reviewed.right[k])) for k in rows))
        if (pairs, tier) not in expected:
            assert by_hash
            continue
        unit_weight, status, *_ = expected[pairs, tier]
        assert {int(reviewed.weight[k]) for k in rows} == {unit_weight}
        assert {int(reviewed.status[k]) for k in rows} == {status}
    if not by_hash:
        check_ranks(reviewed, shown, expected)


def check_ranks(
    reviewed: ranking.Reviewed, shown: Mapping[Any, list[int]], expected: Mapping[Any, Any]
) -> None:
    for (tier, _), rows in shown.items():
        pairs = tuple(sorted((int(reviewed.left[k]), int(reviewed.right[k])) for k in rows))
        _, _, left_ranks, right_ranks = expected[pairs, tier]
        for k in rows:
            assert reviewed.remittance_rank[k] == left_ranks[int(reviewed.left[k])]
            assert reviewed.rank[k] == right_ranks[int(reviewed.right[k])]


@given(SINGLES, SUMS, ITEMS, ITEMS, st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    singles: list[tuple[int, int, int]],
    sums: list[tuple[int, int, frozenset[int]]],
    left: list[tuple[int, str]],
    right: list[tuple[int, str]],
    most: int,
    random: Any,
) -> None:
    lefts = [{"paid_cents": c, "trace": t, "id_offset": k} for k, (c, t) in enumerate(left)]
    rights = [{"amount_cents": c, "trace": t, "id_offset": k} for k, (c, t) in enumerate(right)]
    policy = Policy(candidates_max=most)

    def outcome(lefts: Sequence[Row], rights: Sequence[Row], found: Candidates) -> object:
        places = [
            np.argsort([row["id_offset"] for row in rows]).astype(np.int32)
            for rows in (lefts, rights)
        ]
        found.left, found.right = places[0][found.left], places[1][found.right]
        reviewed = ranking.review(state_of_rows(lefts, rights, policy), found)
        return [
            (
                lefts[reviewed.left[k]]["id_offset"],
                rights[reviewed.right[k]]["id_offset"],
                *(int(getattr(reviewed, name)[k]) for name in SHOWN),
            )
            for k in range(len(reviewed))
        ]

    first = outcome(lefts, rights, candidates_of(singles, sums))
    random.shuffle(lefts)
    random.shuffle(rights)
    found = candidates_of(singles, sums)
    found.group[found.group > 0] = 9 - found.group[found.group > 0]
    assert outcome(lefts, rights, found.where(shuffled(len(found), random))) == first


SHOWN = ("tier", "status", "weight", "rank", "remittance_rank")


def shuffled(count: int, random: Any) -> npt.NDArray[np.int64]:
    order = list(range(count))
    random.shuffle(order)
    return np.array(order, np.int64)


# ---- by example ----


def statuses(state: State, *parts: Candidates) -> list[tuple[int, int, int, int]]:
    reviewed = ranking.review(state, Candidates.concat([*parts]))
    columns = (reviewed.left, reviewed.right, reviewed.tier, reviewed.status)
    return [*zip(*(column.tolist() for column in columns), strict=True)]


def test_a_lone_difference_is_a_variance() -> None:
    zero, one = np.array([0]), np.array([1])
    state = state_of_rows([{}, {}], [{"amount_cents": 1}, {}])
    lone = Candidates.of(zero, zero, Tier.T5, Reason.AMOUNT_DIFFERS)
    assert statuses(state, lone) == [(0, 0, 5, MatchStatus.VARIANCE)]
    suggested = Candidates.of(zero, one, Tier.T10, Reason.SUGGESTION)
    assert statuses(state, lone, suggested)[0] == (0, 0, 5, MatchStatus.VARIANCE)
    for rival in (Candidates.of(zero, one, Tier.T4), Candidates.of(one, zero, Tier.T5)):
        assert {row[3] for row in statuses(state, lone, rival)} == {MatchStatus.REVIEW}
    conflict = Candidates.of(zero, zero, Tier.T5, Reason.AMOUNT_DIFFERS | Reason.CONFLICT)
    assert statuses(state, conflict) == [(0, 0, 5, MatchStatus.REVIEW)]


def test_what_was_matched_meanwhile_is_left_out() -> None:
    state = state_of_rows([{}, {}, {}], [{}, {}])
    state.take(Candidates.of(np.array([2]), np.array([1]), Tier.T6))
    single = candidates_of([(0, 0, 7), (0, 1, 7), (2, 0, 7)], [])
    assert [row[:2] for row in statuses(state, single)] == [(0, 0)]
    assert statuses(state, candidates_of([], [(Tier.T8, 0, frozenset({0, 2}))])) == []


def test_a_sum_counts_once() -> None:
    """Three sums of two and a single pair: the payment has four candidates."""
    rows = [{"paid_cents": 50}] * 4 + [{"paid_cents": 100}]
    state = state_of_rows(rows, [{"amount_cents": 100}], Policy(candidates_max=4))
    sums = [(Tier.T8, 0, frozenset(pair)) for pair in ((0, 1), (2, 3), (1, 2))]
    reviewed = ranking.review(state, candidates_of([(4, 0, 7)], sums))
    by_group = {int(g): {int(r)} for g, r in zip(reviewed.group, reviewed.rank, strict=True)}
    assert len(reviewed) == 7
    assert sorted(next(iter(ranks)) for ranks in by_group.values()) == [1, 2, 3, 4]


def test_nothing_to_review() -> None:
    pools: list[list[Row]] = [[], [{}]]
    for rows in pools:
        state = state_of_rows(rows, rows)
        assert len(ranking.review(state, Candidates.concat([]))) == 0
        assert len(ranking.weights(state, *np.zeros((2, 0), np.int32))) == 0
