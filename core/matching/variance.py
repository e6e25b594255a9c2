"""Why a payment's amount may not be its remittance's (T5): a likely cause, never more.

Looked for in this order; the first that fits is told:

    FORWARD_BALANCE    a provider adjustment FB of the remittance is the difference
    LEVY               the payment is short by a provider adjustment IR or LE
    ADJUSTMENT         another provider adjustment is the difference
    MISSING_SIBLING    one open item of the same tenant, rail, payer and payee has exactly the
                       missing amount, within the bulk window: a payment where it is short (its day
                       against the remittance's), a remittance where it is over (its day against the
                       payment's)
    FEE                the payment is short by a rate that somebody would agree on, see _is_fee
    LEVY               the payment is short, and the remittance has an IR or LE of any amount: a
                       payee under a levy

A provider adjustment is the difference whichever sign it has: BPR02 holds it already, so the money
differs by it where it was not applied, and by its opposite where it was applied twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.pairing import group_numbers
from reassoc.core.matching.state import Mask, Rows, Side, State
from reassoc.core.pool import ADJUSTMENT, RemittanceColumns, text_parts
from reassoc.core.statuses import VarianceCause

Cents = npt.NDArray[np.int64]

FEE_BASIS_POINTS_MAX = 500
FEE_STEPS = (1, 5, 10, 25, 50, 100)
"""Basis points that the rates looked for are multiples of: the smaller the amount, the rounder."""
FEE_APART_CENTS_MIN = 10
"""Fees at two neighbouring rates differ by this much at least, so that of ten differences that are
no fee at most about one looks like one."""
FEE_CENTS_MAX = 10**14
"""Amounts above this have no fee; it keeps the sums below within int64."""

_FORWARD = (b"FB",)
_LEVIES = (b"IR", b"LE")


def causes(
    state: State, left: Rows, right: Rows
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Likely cause and size of the difference of pairs.

    left, right : int32[k]    rows of remittances and payments whose amounts differ
    -> uint8[k], VarianceCause     -> int64[k], payment less remittance, in cents

    O(k log k + n + m); with the open items of equal payer, payee and amount.
    """
    difference = state.payments.cents[right] - state.remittances.cents[left]
    cause = np.full(len(left), VarianceCause.NONE, np.uint8)
    short = difference < 0
    forward, levy, other, under_levy = _adjusted(state.left, left, difference)
    rules = (
        (VarianceCause.FORWARD_BALANCE, forward),
        (VarianceCause.LEVY, levy & short),
        (VarianceCause.ADJUSTMENT, other | levy),
        (VarianceCause.MISSING_SIBLING, _sibling_missing(state, left, right, difference)),
        (VarianceCause.FEE, _is_fee(state.remittances.cents[left], -difference)),
        (VarianceCause.LEVY, under_levy & short),
    )
    for number, fits in reversed(rules):
        cause[fits & (difference != 0)] = number
    return cause, difference


def _adjusted(
    remittances: RemittanceColumns, rows: Rows, difference: Cents
) -> tuple[Mask, Mask, Mask, Mask]:
    """bool[k] each: an FB is the difference; an IR or LE is; another adjustment is; there is an IR
    or LE of any amount."""
    source, refs = text_parts(remittances.adjustments[rows])
    size = ADJUSTMENT.itemsize
    counts = refs[:, 1].astype(np.int64) // size
    pair = np.repeat(np.arange(len(rows)), counts)
    nth = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = refs[pair, 0].astype(np.int64) + nth * size
    packed = np.ascontiguousarray(source[places[:, None] + np.arange(size)])
    adjustments = packed.view(ADJUSTMENT).reshape(-1)
    reason, cents = adjustments["reason"], adjustments["cents"]
    same = (cents == difference[pair]) | (cents == -difference[pair])
    is_forward, is_levy = np.isin(reason, _FORWARD), np.isin(reason, _LEVIES)

    def has(which: Mask) -> Mask:
        found: Mask = np.bincount(pair[which], minlength=len(rows)) > 0
        return found

    return (
        has(same & is_forward),
        has(same & is_levy),
        has(same & ~is_forward & ~is_levy),
        has(is_levy),
    )


def _is_fee(cents: Cents, short_cents: Cents) -> Mask:
    """bool[k]: the payment is short by a rate of the remittance's amount, to the cent.

    The rate is a whole number of basis points, from 1 to FEE_BASIS_POINTS_MAX, and a multiple of
    the finest of FEE_STEPS at which neighbouring fees of this amount are FEE_APART_CENTS_MIN apart:
    whole basis points from 1,000.00 on, whole percents from 10.00 on; smaller amounts have none.
    The fee may be rounded up or down at half a cent. 24.00 of 1,200.00 is 2 percent.
    """
    fits = (short_cents > 0) & (cents >= FEE_APART_CENTS_MIN * 10_000 // FEE_STEPS[-1])
    fits &= (cents <= FEE_CENTS_MAX) & (short_cents <= cents)
    cents, short_cents = np.where(fits, cents, 1), np.where(fits, short_cents, 0)
    step = np.full(len(cents), FEE_STEPS[-1], np.int64)
    for finer in reversed(FEE_STEPS):
        step[cents * finer >= FEE_APART_CENTS_MIN * 10_000] = finer
    rate = (short_cents * 10_000 + cents * step // 2) // (cents * step) * step
    off = np.abs(short_cents * 10_000 - cents * rate)
    fits &= (rate >= 1) & (rate <= FEE_BASIS_POINTS_MAX) & (off <= 5_000)
    return fits


def _sibling_missing(state: State, left: Rows, right: Rows, difference: Cents) -> Mask:
    """bool[k]: an open item has the missing amount."""
    over, short = np.flatnonzero(difference > 0), np.flatnonzero(difference < 0)
    window = state.policy.bulk_window_banking_days
    found = np.zeros(len(left), np.bool_)
    found[over] = _is_there(
        state.remittances, left[over], state.payments, right[over], difference[over], window
    )
    found[short] = _is_there(
        state.payments, right[short], state.remittances, left[short], -difference[short], window
    )
    return found


def _is_there(
    side: Side, itself: Rows, others: Side, of: Rows, cents: Cents, window_days: int
) -> Mask:
    """bool[k]: `side` has an open item of these cents, beside the one `itself`, that is of the
    tenant, rail, payer and payee of the other side's item `of` and within the window of it."""
    if not len(of):
        return np.zeros(0, np.bool_)
    known = (others.payer_group[of] != 0) & (others.payee[of] != 0)
    known &= others.banking_day[of] != DATE_NONE
    fits = side.open & (side.payer_group != 0) & (side.payee != 0)
    rows = np.flatnonzero(fits & (side.banking_day != DATE_NONE))
    rows = rows[np.isin(side.cents[rows], cents)]
    keys = group_numbers(
        *(
            np.concatenate([column[of], mine[rows]])
            for column, mine in (
                (others.tenant, side.tenant),
                (others.rail, side.rail),
                (others.payer_group, side.payer_group),
                (others.payee, side.payee),
            )
        ),
        np.concatenate([cents, side.cents[rows]]),
    )
    wanted, have = keys[: len(of)], keys[len(of) :]
    day = side.banking_day[rows].astype(np.int64)
    ranked = np.sort(have << 32 | (day + 2**31))
    at = wanted << 32
    middle = others.banking_day[of].astype(np.int64) + 2**31
    first = np.searchsorted(ranked, at | np.maximum(middle - window_days, 0))
    stop = np.searchsorted(ranked, at | np.minimum(middle + window_days, 2**32 - 1), side="right")
    own_place = np.full(len(side.cents), -1, np.int64)
    own_place[rows] = have
    own_day = side.banking_day[itself].astype(np.int64) + 2**31
    is_itself = (own_place[itself] == wanted) & (np.abs(own_day - middle) <= window_days)
    there: Mask = known & (stop - first > is_itself)
    return there
