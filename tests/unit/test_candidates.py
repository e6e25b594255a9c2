"""Tiers T4, T6, T7 and T10 against every pair looked at by itself, and what they match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import DAY, PAYMENT, REMITTANCE
from states import pairs_of, state_of_rows

from reassoc.core import _candidates
from reassoc.core.calendar import BankingCalendar
from reassoc.core.matching import candidates
from reassoc.core.matching.state import Candidates, State
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.reference_keys import payer_form, trace_forms
from reassoc.core.statuses import Reason, Tier

Row = Mapping[str, Any]
POLICY = Policy(
    trace_window_days=4,
    payee_window_banking_days=2,
    suggestion_window_banking_days=1,
    candidates_max=20,
    trace_prefixes=("EFT",),
    payers=(PayerRule(ids=("1234567890", "1341858386"), trace_prefixes=("EH",)),),
)
CALENDAR = BankingCalendar([])


# ---- the same, slowly ----


class Plain:
    """One row as the rules name its fields; None for what is not known."""

    def __init__(self, row: Row, is_payment: bool) -> None:
        own = PAYMENT if is_payment else REMITTANCE
        whole = {**own, **row}
        prefixes = [value.encode() for value in POLICY.trace_prefixes]
        form = payer_form(whole["payer_id"].encode())
        ruled = form in {payer_form(value.encode()) for value in POLICY.payers[0].ids}
        if ruled:
            prefixes += [value.encode() for value in POLICY.payers[0].trace_prefixes]
        prefixes.sort(key=lambda value: (-len(value), value))
        _, _, self.n3, self.n4 = trace_forms(whole["trace"].encode(), prefixes, [])
        self.group = ("rule" if ruled else form) or None
        account = whole["account" if is_payment else "payee_account"].lstrip("0")
        self.payee = account or None
        self.cents = whole["amount_cents" if is_payment else "paid_cents"]
        self.day = whole["effective_date"]
        if is_payment and self.day is None:
            self.day = whole["settlement_date"]
        self.tenant = whole.get("tenant", 0)
        self.rail = (
            "CHK" if whole.get("payment_method") == "CHK" or whole.get("source") == 2 else ""
        )
        self.open = not whole.get("closed", False)


def days_apart(a: Plain, b: Plain) -> int:
    return abs(int(a.day) - int(b.day))


def banking_days_apart(a: Plain, b: Plain) -> int:
    days = [int(CALENDAR.roll_forward(item.day)) for item in (a, b)]
    return abs(int(CALENDAR.between(*days)))


def could_pair(a: Plain, b: Plain) -> bool:
    return a.open and b.open and (a.tenant, a.rail, a.cents) == (b.tenant, b.rail, b.cents)


def contradict(a: Plain, b: Plain) -> bool:
    return a.payee is not None and b.payee is not None and a.payee != b.payee


def in_trace_window(a: Plain, b: Plain) -> bool:
    return a.day is None or b.day is None or days_apart(a, b) <= POLICY.trace_window_days


def within(a: Plain, b: Plain, banking_days: int) -> bool:
    return a.day is not None and b.day is not None and banking_days_apart(a, b) <= banking_days


def is_t4(a: Plain, b: Plain) -> bool:
    other_payer = a.group is None or b.group is None or a.group != b.group
    same = bool(a.n3) and a.n3 == b.n3 and a.payee is not None and a.payee == b.payee
    return same and other_payer and in_trace_window(a, b)


def is_t6(a: Plain, b: Plain) -> bool:
    short, whole = sorted((a.n3, b.n3), key=len)
    cut = 8 <= len(short) < len(whole) and (whole.startswith(short) or whole.endswith(short))
    payer = a.group is not None and a.group == b.group
    return cut and a.n4 != b.n4 and payer and not contradict(a, b) and in_trace_window(a, b)


def is_t7(a: Plain, b: Plain) -> bool:
    payer = a.group is not None and a.group == b.group
    payee = a.payee is not None and a.payee == b.payee
    lost = not a.n3 or not b.n3
    return lost and payer and payee and within(a, b, POLICY.payee_window_banking_days)


def is_t10(a: Plain, b: Plain) -> bool:
    return not contradict(a, b) and within(a, b, POLICY.suggestion_window_banking_days)


def plain_pairs(
    left: Sequence[Row], right: Sequence[Row], rule: Callable[[Plain, Plain], bool]
) -> list[tuple[int, int]]:
    lefts, rights = [Plain(row, False) for row in left], [Plain(row, True) for row in right]
    return [
        (i, j)
        for i, a in enumerate(lefts)
        for j, b in enumerate(rights)
        if could_pair(a, b) and rule(a, b)
    ]


def rivals_of(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return [sum((i == k) + (j == m) for k, m in pairs) - 2 for i, j in pairs]


# ---- rows ----

TRACES = st.sampled_from(
    ["", "000", "123456789", "00123456789", "12345678", "1234567", "12345678901", "45678901",
     "EH123456789", "EFT123456789", "11111111", "111111111", "1111111111111", "ABC12345678",
     "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123", "QRSTUVWXYZ0123"]
)  # fmt: skip
PAYERS = st.sampled_from(["1234567890", "1341858386", "1999999984", ""])
ACCOUNTS = st.sampled_from(["5566778", "005566778", "9", ""])
DAYS = st.sampled_from([None, DAY - 3, DAY - 1, DAY, DAY + 1, DAY + 5])


def _rows(amount: str, account: str, extra: dict[str, Any]) -> Any:
    return st.lists(
        st.fixed_dictionaries(
            {
                "trace": TRACES,
                "payer_id": PAYERS,
                account: ACCOUNTS,
                amount: st.sampled_from([100, 100, 100, 200]),
                "effective_date": DAYS,
                "closed": st.sampled_from([False, False, False, True]),
                "tenant": st.sampled_from([0, 0, 0, 1]),
                **extra,
            }
        ),
        max_size=12,
    )


LEFT = _rows(
    "paid_cents",
    "payee_account",
    {"payment_method": st.sampled_from(["ACH", "CHK"]), "originator": st.just("")},
)
RIGHT = _rows(
    "amount_cents", "account", {"source": st.sampled_from([0, 2]), "company_id": st.just("")}
)
FINDERS: list[tuple[Tier, Callable[[State], Candidates], Callable[[Plain, Plain], bool]]] = [
    (Tier.T4, candidates.find_by_trace_only, is_t4),
    (Tier.T6, candidates.find_cut, is_t6),
    (Tier.T7, candidates.find_by_payee, is_t7),
    (Tier.T10, lambda state: candidates.find_suggestions(state, Candidates.concat([])), is_t10),
]


@pytest.mark.parametrize(
    ("tier", "find", "rule"), FINDERS, ids=lambda value: getattr(value, "name", "")
)
@given(LEFT, RIGHT)
def test_pairs_are_those_of_the_rule(
    tier: Tier,
    find: Callable[[State], Candidates],
    rule: Callable[[Plain, Plain], bool],
    left: list[Row],
    right: list[Row],
) -> None:
    found = find(state_of_rows(left, right, POLICY))
    expected = plain_pairs(left, right, rule)
    assert pairs_of(found) == expected
    assert (found.tier == tier).all()
    order = np.lexsort([found.right, found.left])
    assert found.rivals[order].tolist() == rivals_of(expected)
    assert ((found.reason & Reason.TIE != 0) == (found.rivals > 0)).all()


@given(LEFT, RIGHT, st.integers(1, 3))
def test_no_more_than_the_best_are_suggested(left: list[Row], right: list[Row], most: int) -> None:
    every = state_of_rows(left, right, POLICY)
    whole = candidates.find_suggestions(every, Candidates.concat([]))
    weights = candidates.sides_of(every).weigh(whole.left, whole.right)
    first, second = every.remittances.order[whole.left], every.payments.order[whole.right]
    kept = np.zeros(len(whole), np.bool_)
    for column in (whole.left, whole.right):
        order = np.lexsort([second, first, -weights])
        for row in np.unique(column):
            kept[[k for k in order if column[k] == row][:most]] = True
    few = state_of_rows(left, right, Policy(**{**_as_dict(POLICY), "candidates_max": most}))
    found = candidates.find_suggestions(few, Candidates.concat([]))
    assert pairs_of(found) == pairs_of(whole.where(kept))
    rivals = dict(zip(zip(whole.left, whole.right, strict=True), whole.rivals, strict=True))
    assert [rivals[i, j] for i, j in zip(found.left, found.right, strict=True)] == [*found.rivals]


def _as_dict(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in policy.__struct_fields__}


@given(LEFT, RIGHT, st.data())
def test_suggestions_are_for_items_without_candidates(
    left: list[Row], right: list[Row], data: st.DataObject
) -> None:
    state = state_of_rows(left, right, POLICY)
    expected = plain_pairs(left, right, is_t10)
    known = data.draw(st.lists(st.sampled_from(expected), unique=True) if expected else st.just([]))
    table = np.array(known, np.int32).reshape(-1, 2)
    found = candidates.find_suggestions(state, Candidates.of(table[:, 0], table[:, 1], 7))
    lefts, rights = {i for i, _ in known}, {j for _, j in known}
    assert pairs_of(found) == [(i, j) for i, j in expected if i not in lefts or j not in rights]


@pytest.mark.parametrize(
    ("tier", "find", "rule"), FINDERS, ids=lambda value: getattr(value, "name", "")
)
@given(LEFT, RIGHT, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    tier: Tier,
    find: Callable[[State], Candidates],
    rule: object,
    left: list[Row],
    right: list[Row],
    random: Any,
) -> None:
    lefts = [{**row, "id_offset": place} for place, row in enumerate(left)]
    rights = [{**row, "id_offset": place} for place, row in enumerate(right)]
    policy = Policy(**{**_as_dict(POLICY), "candidates_max": 1, "auto_tiers": ("T6", "T7")})

    def outcome(lefts: list[dict[str, Any]], rights: list[dict[str, Any]]) -> object:
        state = state_of_rows(lefts, rights, policy)
        found = find(state)
        left_over = candidates.take_unique(state, found, candidates.may_match(state, found, tier))
        names = [
            [
                (lefts[i]["id_offset"], rights[j]["id_offset"], *rest)
                for i, j, *rest in zip(part.left, part.right, part.reason, part.rivals, strict=True)
            ]
            for part in (left_over, Candidates.concat(state.taken))
        ]
        return [sorted(part) for part in names]

    first = outcome(lefts, rights)
    random.shuffle(lefts)
    random.shuffle(rights)
    assert outcome(lefts, rights) == first


# ---- large blocks ----

MANY = 70
"""Items of a side of which there are more pairs than EDGES_MAX."""


def flagged(state: State) -> tuple[int, int]:
    bit = np.int64(Reason.BLOCK_TOO_LARGE)
    return int((state.seen.reason & bit != 0).sum()), int((state.paid.reason & bit != 0).sum())


def test_keys_with_too_many_pairs_are_left_alone() -> None:
    assert MANY * MANY > _candidates.EDGES_MAX
    state = state_of_rows([{"trace": ""}] * MANY, [{"trace": ""}] * MANY)
    assert len(candidates.find_by_payee(state)) == 0
    assert flagged(state) == (MANY, MANY)
    state = state_of_rows([{}] * MANY, [{"payer_id": "1999999984"}] * MANY)
    assert len(candidates.find_by_trace_only(state)) == 0
    assert flagged(state) == (MANY, MANY)
    state = state_of_rows([{"payee_account": ""}] * MANY, [{}] * MANY)
    assert len(candidates.find_suggestions(state, Candidates.concat([]))) == 0
    assert flagged(state) == (MANY, MANY)
    state = state_of_rows([{"trace": "123456789"}] * MANY, [{"trace": "12345678"}] * MANY)
    assert len(candidates.find_cut(state)) == 0
    assert flagged(state) == (MANY, MANY)


def test_items_of_too_large_a_key_are_not_unique_by_another() -> None:
    left = [{"trace": "", "effective_date": DAY + k % 2} for k in range(MANY)]
    right = [{"trace": ""} for _ in range(MANY)]
    state = state_of_rows([*left, {"trace": "123"}], right, Policy(payee_window_banking_days=1))
    found = candidates.find_by_payee(state)
    assert {i for i, _ in pairs_of(found)} == {MANY}
    assert (found.rivals >= _candidates.EDGES_MAX).all()


def test_of_many_items_of_a_key_only_near_days_count() -> None:
    days = range(DAY, DAY + 7 * MANY, 7)
    left = [{"trace": "", "effective_date": day} for day in days]
    right = [{"trace": "", "effective_date": day + 1} for day in reversed(days)]
    state = state_of_rows(left, right, POLICY)
    found = candidates.find_by_payee(state)
    assert pairs_of(found) == [(k, MANY - 1 - k) for k in range(MANY)]
    assert (found.rivals == 0).all()
    assert flagged(state) == (0, 0)


@given(st.data())
def test_of_many_traces_of_a_key_only_cut_ones_count(data: st.DataObject) -> None:
    tails = st.text("AB", max_size=4)
    backwards = data.draw(st.booleans())

    def trace(tail: str) -> str:
        return tail[::-1] + "X2345678" if backwards else "X2345678" + tail

    traces = [
        [trace(tail) for tail in data.draw(st.lists(tails, min_size=1, max_size=12))]
        + [trace("C" + "D" * (k % 2) + f"{k:03d}"[:: -1 if backwards else 1]) for k in range(MANY)]
        for _ in range(2)
    ]
    left, right = ([{"trace": value} for value in side] for side in traces)
    state = state_of_rows(left, right, POLICY)
    assert pairs_of(candidates.find_cut(state)) == plain_pairs(left, right, is_t6)
    assert flagged(state) == (0, 0)


# ---- what matches by itself ----

CUT = [{"trace": "1234567890123456"}], [{"trace": "123456789012345"}]


@pytest.mark.parametrize(
    ("policy", "matched"),
    [
        (Policy(), False),
        (Policy(auto_tiers=("T6",)), True),
        (Policy(auto_tiers=("T7",)), False),
        (Policy(payers=(PayerRule(ids=("1234567890",), auto_tiers=("T6",)),)), True),
        (
            Policy(
                payers=(
                    PayerRule(ids=("1341858386", "341858386")),
                    PayerRule(ids=("1999999984", "1234567890"), auto_tiers=("T6",)),
                )
            ),
            True,
        ),
        (
            Policy(
                payers=(
                    PayerRule(ids=("1341858386",), auto_tiers=("T6",)),
                    PayerRule(ids=("1999999984", "1234567890")),
                )
            ),
            False,
        ),
    ],
)
def test_the_policy_lets_a_tier_match(policy: Policy, matched: bool) -> None:
    state = state_of_rows(*CUT, policy)
    found = candidates.find_cut(state)
    rest = candidates.take_unique(state, found, candidates.may_match(state, found, Tier.T6))
    assert len(rest) == (not matched)
    assert [pairs_of(part) for part in state.taken if len(part)] == [[(0, 0)]] * matched
    assert state.remittances.open.tolist() == state.payments.open.tolist() == [not matched]
    assert rest.reason.tolist() == [Reason.CUT_TRACE | Reason.TIER_TO_REVIEW] * (not matched)


@pytest.mark.parametrize("close", [("T6",), ("T7",)])
def test_before_the_close_a_tier_waits(close: tuple[str, ...]) -> None:
    state = state_of_rows(*CUT, Policy(auto_tiers=("T6",), close_tiers=close))
    state.at_close = False
    found = candidates.find_cut(state)
    rest = candidates.take_unique(state, found, candidates.may_match(state, found, Tier.T6))
    waits = close == ("T6",)
    assert rest.reason.tolist() == [Reason.CUT_TRACE | Reason.WAITS_FOR_HORIZON] * waits


def test_held_items_and_ties_never_match() -> None:
    policy = Policy(auto_tiers=("T6",))
    for left, right in (
        ([{**CUT[0][0], "held": True}], CUT[1]),
        (CUT[0], [{**CUT[1][0], "held": True}]),
        (CUT[0] * 2, CUT[1]),
        (CUT[0], CUT[1] * 2),
    ):
        state = state_of_rows(left, right, policy)
        found = candidates.find_cut(state)
        rest = candidates.take_unique(state, found, np.ones(len(found), np.bool_))
        assert len(rest) == len(found) == max(len(left), len(right))
        assert all(len(part) == 0 for part in state.taken)
        assert not (rest.reason & Reason.TIER_TO_REVIEW).any()


def test_reasons_say_what_is_missing() -> None:
    other = state_of_rows([{}], [{"payer_id": "1999999984"}])
    assert candidates.find_by_trace_only(other).reason.tolist() == [Reason.PAYER_DIFFERS]
    nobody = state_of_rows([{}], [{"payer_id": "", "company_id": ""}])
    assert candidates.find_by_trace_only(nobody).reason.tolist() == [Reason.NO_PAYER]
    lost = state_of_rows([{}], [{"trace": ""}])
    assert candidates.find_by_payee(lost).reason.tolist() == [Reason.NO_PAYMENT_TRACE]


def test_empty_pools_have_no_candidates() -> None:
    for left, right in (([], []), ([{}], []), ([], [{}])):
        state = state_of_rows(left, right)
        for _, find, _ in FINDERS:
            assert len(find(state)) == 0


def test_suggestions_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"payee_account": "", "trace": f"{k}"} for k in range(8)]
    state = state_of_rows(rows, [{"account": "", "trace": ""}] * 8, Policy(candidates_max=4))
    none = Candidates.concat([])
    assert len(candidates.find_suggestions(state, none)) == 8 * 4 + 4 * 4
    monkeypatch.setattr(candidates, "SUGGESTIONS_MAX", 8 * 2)
    assert len(candidates.find_suggestions(state, none)) == 8 * 2 + 6 * 2
    monkeypatch.setattr(candidates, "SUGGESTIONS_MAX", 1)
    found = candidates.find_suggestions(state, none)
    assert {*found.left} == {*found.right} == {*range(8)}
