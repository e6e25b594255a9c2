"""Money sent again: a payment with a new trace number for a remittance whose own payment went back,
or never came.

Payer, payee and amount agree, the traces do not, and the payment is the later one. That is for a
person to see, whatever the policy.
"""

from __future__ import annotations

import numpy as np

from reassoc.core import _candidates, _keys
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.candidates import sides_of
from reassoc.core.matching.state import Candidates, Mask, Side, State
from reassoc.core.statuses import Reason, Tier


def find_reissues(state: State, known: Candidates) -> Candidates:
    """Open pairs of known payer and payee, equal both, and equal cents, whose usable traces differ,
    the payment dated after the remittance and within the trace window; at least one of both has no
    candidate in `known`. Tier T10, reason REISSUE. O(n + m + pairs).
    """
    left, right = state.remittances, state.payments
    left_free, right_free = left.open.copy(), right.open.copy()
    left_free[known.left] = False
    right_free[known.right] = False
    found = Candidates.concat(
        [
            _later_pairs(state, _traced(left) & left_free, _traced(right)),
            _later_pairs(state, _traced(left) & ~left_free, _traced(right) & right_free),
        ]
    )
    rivals = np.bincount(found.left, minlength=len(left.open))[found.left]
    rivals += np.bincount(found.right, minlength=len(right.open))[found.right] - 2
    found.rivals = rivals.astype(np.uint32)
    found.reason[rivals > 0] |= np.int64(Reason.TIE)
    return found


def _traced(side: Side) -> Mask:
    traced: Mask = side.items.usable & _keys.USABLE_TRACE != 0
    traced &= side.open & (side.day != DATE_NONE)
    return traced


def _later_pairs(
    state: State,
    left_on: Mask,
    right_on: Mask,
) -> Candidates:
    left, right = state.remittances, state.payments
    if not (left_on.any() and right_on.any()):
        return Candidates.concat([])
    degrees = np.zeros(len(left.open), np.uint32), np.zeros(len(right.open), np.uint32)
    rows = sides_of(state).find(
        _candidates.KEY_PAYEE,
        state.policy.trace_window_days,  # in banking days: more than as many days
        state.policy.candidates_max,
        left_on.view(np.uint8),
        right_on.view(np.uint8),
        state.seen.reason,
        state.paid.reason,
        *degrees,
    )
    found = Candidates.of(*rows, Tier.T10, Reason.REISSUE)
    days = right.day[found.right].astype(np.int64) - left.day[found.left]
    return found.where((days > 0) & (days <= state.policy.trace_window_days))
