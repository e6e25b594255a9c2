"""Sums against all subsets tried one by one, and what no order of rows may change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sides import ROW, pairs, state_of

from reassoc.core.matching import bulk
from reassoc.core.matching.state import Candidates, State
from reassoc.core.policy import Policy
from reassoc.core.statuses import Rail, Reason

REMITTANCES, PAYMENTS = 0, 1
Item = tuple[int, int]  # side and row
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """Two small pools, pairs that are decided otherwise or nearly, and a policy."""

    sides: tuple[Rows, Rows]
    singles: list[tuple[int, int]]
    loose: list[tuple[int, int]]
    policy: Policy

    def state(self) -> State:
        return state_of(*self.sides, self.policy)

    def find(self, state: State) -> Candidates:
        return bulk.find_sums(state, pairs(self.singles, 4), pairs(self.loose))


def _policy(random: Random) -> Policy:
    return Policy(
        bulk_window_banking_days=random.choice([0, 1, 3]),
        bulk_items_max=random.choice([2, 4, 10, 10, 25]),
        bulk_work_max=random.choice([200_000, 200_000, 200_000, 12]),
        auto_tiers=random.choice([(), ("T8",), ("T8", "T9")]),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    random = Random(draw(st.integers(0, 2**48)))
    amounts = random.choice([[1, 2, 3, 4], [5, 5, 10, 20, 40], list(range(1, 60)), [2**61, 2**62]])
    ids = random.sample(range(100), 20)
    alike = random.random() < 0.6

    def some() -> float:
        return 0.0 if alike else random.random()

    def row() -> dict[str, Any]:
        return {
            **ROW,
            "id": ids.pop(),
            "cents": random.choice(amounts) if some() < 0.95 else random.choice([0, -5]),
            "day": 10 + random.choice([0, 0, 1, 3]) if some() < 0.95 else None,
            "payer": 1 if some() < 0.9 else random.choice([0, 2]),
            "payee": 1 if some() < 0.9 else random.choice([0, 2]),
            "tenant": int(some() > 0.97),
            "rail": Rail.ACH if some() < 0.95 else Rail.OTHER,
            "held": some() > 0.95,
            "open": some() < 0.95,
        }

    left = [row() for _ in range(random.randint(0, 10))]
    right = [row() for _ in range(random.randint(1, 10 if random.random() < 0.3 else 3))]
    for single in right:  # most amounts are sums
        if left and random.random() < 0.8:
            some_of = random.sample(left, random.randint(1, len(left)))
            single["cents"] = min(sum(item["cents"] for item in some_of), 2**63 - 1)
    if random.random() < 0.4:
        left, right = right, left
    every = [(i, j) for i in range(len(left)) for j in range(len(right))]
    return Case(
        (left, right),
        random.sample(every, min(len(every), random.choice([0, 0, 1]))),
        random.sample(every, min(len(every), random.choice([0, 0, 1, 4]))),
        _policy(random),
    )


class Oracle:
    """The rules of T8 and T9, said slowly."""

    def __init__(self, case: Case) -> None:
        self.case, self.policy = case, case.policy
        self.solutions: dict[Item, list[tuple[Item, ...]]] = {}
        self.capped: set[Item] = set()
        for side, rows in enumerate(case.sides):
            for row in range(len(rows)):
                if self.takes_part((side, row)):
                    self.search((side, row))

    def of(self, item: Item) -> dict[str, Any]:
        return self.case.sides[item[0]][item[1]]

    def takes_part(self, item: Item) -> bool:
        row = self.of(item)
        known = row["payer"] and row["payee"] and row["day"] is not None
        decided = item[1] in {pair[item[0]] for pair in self.case.singles}
        fit = row["open"] and row["cents"] > 0 and row["rail"] != Rail.OTHER
        return bool(known and fit and not decided)

    def tied(self, item: Item) -> set[Item]:
        """Open items whose trace and payer agree with this one's."""
        side, row = item
        others = {(1 - side, pair[1 - side]) for pair in self.case.loose if pair[side] == row}
        return {other for other in others if self.of(other)["open"] and self.of(item)["open"]}

    def members(self, single: Item) -> list[Item]:
        """The items that could be part of a sum, in the order of ids."""
        one, other_side = self.of(single), 1 - single[0]
        fit = []
        for row, other in enumerate(self.case.sides[other_side]):
            if not self.takes_part((other_side, row)) or other["cents"] >= one["cents"]:
                continue
            same = all(one[name] == other[name] for name in ("tenant", "rail", "payer", "payee"))
            near = abs(one["day"] - other["day"]) <= self.policy.bulk_window_banking_days
            if same and near:
                fit.append((other_side, row))
        return sorted(fit, key=lambda item: self.of(item)["id"])

    def search(self, single: Item) -> None:
        items = self.members(single)
        if len(items) < 2:
            return
        half = len(items) // 2
        sums = 2 ** (len(items) - half) + 2**half
        if len(items) > self.policy.bulk_items_max or sums > self.policy.bulk_work_max:
            self.capped |= {single, *items}
            return
        tied = self.tied(single)
        found = [
            chosen
            for size in range(2, len(items) + 1)
            for chosen in combinations(items, size)
            if sum(self.of(item)["cents"] for item in chosen) == self.of(single)["cents"]
            and (not tied or tied & set(chosen))
        ]
        if found:
            self.solutions[single] = found

    def rank(self, single: Item, chosen: tuple[Item, ...]) -> tuple[int, int, list[int]]:
        day = self.of(single)["day"]
        apart = sum(abs(self.of(item)["day"] - day) for item in chosen)
        return len(chosen), apart, [self.of(item)["id"] for item in chosen]

    def other_searches(self, single: Item, chosen: Sequence[Item]) -> int:
        """Other single items of whose sums one of these items is a part: that with the most."""
        searches = {one: {one, *(i for sums in found for i in sums)}
                    for one, found in self.solutions.items() if one != single}  # fmt: skip
        return max(sum(i in used for used in searches.values()) for i in (single, *chosen))

    def reason(self, single: Item, chosen: tuple[Item, ...], others: int) -> Reason:
        reason = Reason(0)
        if len(self.solutions[single]) > 1:
            reason |= Reason.SUM_NOT_UNIQUE
        elsewhere = any(self.tied(item) and single not in self.tied(item) for item in chosen)
        if others or elsewhere or self.tied(single) - set(chosen):
            reason |= Reason.TIE
        if self.capped & {single, *chosen}:
            reason |= Reason.BULK_CAPPED
        tier = f"T{9 - single[0]}"
        if not reason and tier not in self.policy.auto_tiers:
            reason = Reason.TIER_TO_REVIEW
        return reason

    def run(self) -> Iterator[tuple[int, Item, frozenset[int], int, int]]:
        """(tier, single item, rows of the sum, reason, rivals) of each candidate."""
        for single, found in self.solutions.items():
            best = sorted(found, key=lambda chosen: self.rank(single, chosen))
            for chosen in best[: bulk.SOLUTIONS_SHOWN]:
                others = self.other_searches(single, chosen)
                reason = int(self.reason(single, chosen, others))
                rows = frozenset(row for _, row in chosen)
                yield 9 - single[0], single, rows, reason, len(found) - 1 + others


def told(found: Candidates) -> list[tuple[int, Item, frozenset[int], int, int]]:
    """The candidates in the oracle's words."""
    groups = []
    for group in np.unique(found.group):
        rows = np.flatnonzero(found.group == group)
        assert (
            len({*zip(found.tier[rows], found.reason[rows], found.rivals[rows], strict=True)}) == 1
        )
        tier = int(found.tier[rows[0]])
        side = PAYMENTS if tier == 8 else REMITTANCES
        columns = (found.left[rows].tolist(), found.right[rows].tolist())
        (single,) = set(columns[side])
        assert len(set(columns[1 - side])) == len(rows) >= 2
        groups.append(
            (
                tier,
                (side, single),
                frozenset(columns[1 - side]),
                int(found.reason[rows[0]]),
                int(found.rivals[rows[0]]),
            )
        )
    return groups


def _key(candidate: tuple[int, Item, frozenset[int], int, int]) -> Any:
    return candidate[0], candidate[1], sorted(candidate[2])


@settings(max_examples=5 * settings.default.max_examples)
@given(cases())
def test_agrees_with_all_subsets(case: Case) -> None:
    state = case.state()
    before = state.seen.reason.copy(), state.paid.reason.copy()
    found, oracle = case.find(state), Oracle(case)
    assert sorted(told(found), key=_key) == sorted(oracle.run(), key=_key)
    for side, (reasons, old) in enumerate(
        zip((state.seen.reason, state.paid.reason), before, strict=True)
    ):
        flagged = {(side, int(row)) for row in np.flatnonzero(reasons & Reason.BULK_CAPPED)}
        assert flagged == {item for item in oracle.capped if item[0] == side}
        assert (reasons & ~np.int64(Reason.BULK_CAPPED) == old).all()


def has_undated_rival(case: Case, payment: int) -> bool:
    """Whether a remittance that no search takes, since it has no day, could be part of a sum."""
    paid = case.sides[PAYMENTS][payment]
    return any(
        row["open"] and row["day"] is None and 0 < row["cents"] < paid["cents"]
        and row["payer"] and row["payee"]
        and all(row[name] == paid[name] for name in ("payer", "payee", "tenant", "rail"))
        for row in case.sides[REMITTANCES]
    )  # fmt: skip


@given(cases())
def test_what_is_taken_is_the_only_sum(case: Case) -> None:
    state = case.state()
    found = case.find(state)
    expected = [
        candidate
        for candidate in told(found)
        if candidate[0] == 8
        and not Reason(candidate[3]) & ~Reason.TIER_TO_REVIEW
        and not case.sides[PAYMENTS][candidate[1][1]]["held"]
        and not any(case.sides[REMITTANCES][row]["held"] for row in candidate[2])
        and not has_undated_rival(case, candidate[1][1])
    ]
    rest = bulk.take_unique(state, found, 8, may=True)
    taken = Candidates.concat(state.taken)
    assert len(rest) + len(taken) == len(found)
    assert [candidate[:3] for candidate in told(taken)] == [c[:3] for c in expected]
    assert (taken.reason == 0).all()
    assert not state.remittances.open[taken.left].any()
    assert not state.payments.open[taken.right].any()
    left_cents, right_cents = state.remittances.cents, state.payments.cents
    for _, (_, payment), rows, _, _ in told(taken):
        assert sum(left_cents[row] for row in rows) == right_cents[payment]
    assert len(set(taken.left.tolist())) == len(taken)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(case: Case, random: Random) -> None:
    orders = [random.sample(range(len(rows)), len(rows)) for rows in case.sides]
    left, right = (
        [rows[old] for old in order] for rows, order in zip(case.sides, orders, strict=True)
    )
    moved = Case(
        (left, right),
        [(orders[0].index(i), orders[1].index(j)) for i, j in case.singles],
        [(orders[0].index(i), orders[1].index(j)) for i, j in reversed(case.loose)],
        case.policy,
    )

    def canonical(one: Case) -> Any:
        state = one.state()
        found = one.find(state)
        ids = [np.array([row["id"] for row in rows], np.int64) for rows in one.sides]
        names = ("tier", "reason", "rivals", "group")
        columns = [getattr(found, name).tolist() for name in names]
        left, right = ids[0][found.left].tolist(), ids[1][found.right].tolist()
        rows = zip(left, right, *columns, strict=True)
        items = [
            sorted(zip(ids[side].tolist(), reasons.tolist(), strict=True))
            for side, reasons in enumerate((state.seen.reason, state.paid.reason))
        ]
        return sorted(rows), items

    assert canonical(moved) == canonical(case)


@given(cases())
def test_colliding_hashes_change_nothing(case: Case) -> None:
    """With one block for all items the numbers decide, not the hashes."""
    state, expected = case.state(), case.find(case.state())

    def one_block(side: Any, rows: Any) -> Any:
        return np.zeros(len(rows), np.uint64)

    with mock.patch.object(bulk, "_block_keys", one_block):
        assert sorted(told(case.find(state)), key=_key) == sorted(told(expected), key=_key)
