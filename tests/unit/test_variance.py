"""Likely causes of a difference: each rule at its edges, and which goes before which."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sides import Row, state_of

from reassoc.core.matching import variance
from reassoc.core.matching.state import State
from reassoc.core.policy import Policy
from reassoc.core.statuses import VarianceCause

NONE, FEE, ADJUSTMENT = VarianceCause.NONE, VarianceCause.FEE, VarianceCause.ADJUSTMENT
LEVY, FORWARD, SIBLING = (
    VarianceCause.LEVY,
    VarianceCause.FORWARD_BALANCE,
    VarianceCause.MISSING_SIBLING,
)


def _first_pair(state: State) -> tuple[VarianceCause, int]:
    rows = np.zeros(1, np.int32)
    cause, difference = variance.causes(state, rows, rows)
    assert cause.dtype == np.uint8
    assert difference.dtype == np.int64
    return VarianceCause(int(cause[0])), int(difference[0])


def cause_of(
    remittance_cents: int,
    payment_cents: int,
    adjustments: Any = (),
    *,
    left: tuple[Row, ...] = (),
    right: tuple[Row, ...] = (),
) -> VarianceCause:
    """The cause for a pair; `left` and `right` are further open items."""
    remittance = {"cents": remittance_cents, "adjustments": adjustments}
    state = state_of([remittance, *left], [{"cents": payment_cents}, *right])
    cause, difference = _first_pair(state)
    assert difference == payment_cents - remittance_cents
    return cause


def test_two_percent_of_1200_is_a_fee() -> None:
    assert cause_of(120000, 117600) == FEE


@pytest.mark.parametrize(
    ("cents", "fee", "cause"),
    [
        (120000, 12, FEE),  # one basis point
        (120000, 11, NONE),
        (120000, 6000, FEE),  # 500 basis points
        (120000, 6012, NONE),
        (120000, 2401, NONE),
        (123456, 3580, FEE),  # 2.9 % is 35.80224
        (123456, 3581, NONE),
        (123450, 617, FEE),  # 0.5 % is 6.1725
        (100100, 5005, FEE),
        (150050, 1501, FEE),  # 1 % is 15.005: up ...
        (150050, 1500, FEE),  # ... or down
        (150050, 1499, NONE),
        (99999, 19, NONE),  # below 1,000.00 a multiple of 5 basis points
        (99999, 50, FEE),
        (20000, 100, FEE),  # 200.00: of 5; 0.5 %
        (19999, 30, NONE),  # below: of 10; 15 basis points are none
        (19999, 40, FEE),
        (1000, 10, FEE),  # 10.00: whole percents
        (1000, 15, NONE),
        (999, 10, NONE),
        (10**14, 10**12, FEE),
        (10**14 + 10**4, 10**12 + 10**2, NONE),
        (2**62, 2**61, NONE),
        (2**63 - 1, 1, NONE),
    ],
)
def test_a_fee_is_a_rate_that_somebody_would_agree_on(
    cents: int, fee: int, cause: VarianceCause
) -> None:
    assert cause_of(cents, cents - fee) == cause


def test_money_over_is_no_fee() -> None:
    assert cause_of(120000, 122400) == NONE


def test_equal_amounts_have_no_cause() -> None:
    assert cause_of(120000, 120000, [("WO", 0), ("FB", 0), ("IR", 5)]) == NONE


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("cents", [3125, -3125])
def test_an_adjustment_of_the_difference(cents: int, sign: int) -> None:
    assert cause_of(50000, 50000 + sign * 3125, [("L6", -410), ("WO", cents)]) == ADJUSTMENT
    assert cause_of(50000, 50000 + sign * 3125, [("WO", 3125), ("FB", cents)]) == FORWARD
    assert cause_of(50000, 50000 + sign * 3124, [("WO", cents), ("FB", cents)]) == NONE


def test_a_levy_takes_money() -> None:
    assert cause_of(50000, 46875, [("IR", 3125)]) == LEVY
    assert cause_of(50000, 46875, [("LE", -3125)]) == LEVY
    assert cause_of(50000, 53125, [("LE", 3125)]) == ADJUSTMENT
    assert cause_of(50000, 46873, [("LE", 100)]) == LEVY  # under a levy
    assert cause_of(50000, 53127, [("LE", 100)]) == NONE


def test_a_missing_remittance_where_the_payment_is_over() -> None:
    assert cause_of(50000, 80000, left=({"cents": 30000},)) == SIBLING
    assert cause_of(50000, 80000, right=({"cents": 30000},)) == NONE


def test_a_missing_payment_where_it_is_short() -> None:
    assert cause_of(80000, 50001, right=({"cents": 29999},)) == SIBLING
    assert cause_of(80000, 50001, left=({"cents": 29999},)) == NONE


@pytest.mark.parametrize(
    "change",
    [
        {"cents": 30001},
        {"day": 14},
        {"day": 6},
        {"day": None},
        {"payer": 2},
        {"payer": 0},
        {"payee": 2},
        {"payee": 0},
        {"tenant": 1},
        {"rail": 1},
        {"open": False},
    ],
)
def test_a_sibling_is_of_the_same_payer_payee_and_window(change: Row) -> None:
    sibling = {"cents": 30000}
    assert cause_of(50000, 80000, left=({**sibling, **change},)) == NONE
    assert cause_of(50000, 80000, left=({**sibling, **change}, {**sibling, "day": 13})) == SIBLING


def test_nothing_is_its_own_sibling() -> None:
    assert cause_of(50000, 100000) == NONE
    assert cause_of(50000, 100000, left=({"cents": 50000},)) == SIBLING
    assert cause_of(100000, 50000) == NONE
    assert cause_of(100000, 50000, right=({"cents": 50000},)) == SIBLING


def test_unknown_payers_have_no_siblings() -> None:
    state = state_of(
        [{"cents": 500, "payer": 0}, {"cents": 300, "payer": 0}], [{"cents": 800, "payer": 0}]
    )
    assert _first_pair(state) == (NONE, 300)


def test_the_surest_cause_is_told() -> None:
    sibling = ({"cents": 2400},)
    forward, levy, other = ("FB", 2400), ("IR", 2400), ("WO", 2400)
    assert cause_of(120000, 117600, [other, levy, forward], right=sibling) == FORWARD
    assert cause_of(120000, 117600, [other, levy], right=sibling) == LEVY
    assert cause_of(120000, 117600, [other, ("IR", 1)], right=sibling) == ADJUSTMENT
    assert cause_of(120000, 117600, [("IR", 1)], right=sibling) == SIBLING
    assert cause_of(120000, 117600, [("IR", 1)]) == FEE
    assert cause_of(120000, 117601, [("IR", 1)]) == LEVY


def _plain_cause(left: list[Row], right: list[Row], i: int, j: int, window: int) -> VarianceCause:
    """The rules in their order, said slowly."""
    difference = right[j]["cents"] - left[i]["cents"]
    adjustments = left[i]["adjustments"]
    exact = {reason for reason, cents in adjustments if abs(cents) == abs(difference)}
    levied = {"IR", "LE"} & {reason for reason, _ in adjustments}
    if difference > 0:
        others, itself, one = left, i, right[j]
    else:
        others, itself, one = right, j, left[i]
    sibling = any(
        other["open"]
        and k != itself
        and other["cents"] == abs(difference)
        and other["payee"] == one["payee"]
        and abs(other["day"] - one["day"]) <= window
        for k, other in enumerate(others)
    )
    step = next((s for s in (1, 5, 10, 25, 50, 100) if left[i]["cents"] * s >= 100_000), None)
    fees = [
        Fraction(left[i]["cents"] * rate, 10_000) for rate in range(step or 501, 501, step or 1)
    ]
    rules = (
        (FORWARD, "FB" in exact),
        (LEVY, difference < 0 and bool(exact & {"IR", "LE"})),
        (ADJUSTMENT, bool(exact - {"FB"})),
        (SIBLING, sibling),
        (FEE, any(abs(-difference - fee) <= Fraction(1, 2) for fee in fees)),
        (LEVY, difference < 0 and bool(levied)),
    )
    return next((cause for cause, fits in rules if fits and difference), NONE)


def test_many_pairs_at_once_follow_the_rules() -> None:
    random = np.random.default_rng(7)
    kinds = ["WO", "FB", "IR", "72"]
    left: list[Row] = [
        {
            "cents": int(random.integers(1, 40)) * 100,
            "payee": int(random.integers(1, 3)),
            "day": int(random.integers(5, 15)),
            "open": bool(random.random() < 0.8),
            "adjustments": [
                (str(random.choice(kinds)), int(random.integers(-9, 9)) * 100)
                for _ in range(random.integers(0, 3))
            ],
        }
        for _ in range(60)
    ]
    right: list[Row] = [  # fees among them
        {**row, "adjustments": (), "cents": row["cents"] * (100 - k % 2) // 100}
        for k, row in enumerate(reversed(left))
    ]
    state = state_of(left, right, Policy(bulk_window_banking_days=2))
    rows = np.array([(i, j) for i in range(60) for j in range(60)], np.int32)
    cause, _ = variance.causes(state, rows[:, 0].copy(), rows[:, 1].copy())
    assert cause.tolist() == [_plain_cause(left, right, i, j, 2) for i, j in rows.tolist()]
    assert (np.bincount(cause, minlength=6) > 0).all()


def test_no_pairs() -> None:
    none = np.zeros(0, np.int32)
    cause, difference = variance.causes(state_of([{}], [{}]), none, none)
    assert len(cause) == len(difference) == 0
