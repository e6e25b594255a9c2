"""Tiers that lean on less than trace and payer: T4, T6, T7 and T10.

    T4   trace and amount, payee known; the payer is another, or unknown
    T6   payer and amount, one trace is a cut form of the other
    T7   payer, payee, amount and date; one of the two has no trace
    T10  amount and date

All look at items that are still open. Pairs are found by a join on what must be equal
(`_candidates.h`) and compared on the values. A pair is unique both ways where neither item has
another pair of the tier, or stands in a block too large to be looked at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reassoc.core import _candidates, _keys
from reassoc.core.matching.payers import opted_groups
from reassoc.core.matching.state import Candidates, Mask, Rows, Side, State
from reassoc.core.statuses import Reason, Tier

Degrees = npt.NDArray[np.uint32]

SUGGESTIONS_MAX = 1 << 22
"""Where suggestions for all open items would come to more than this, each gets fewer, but one."""


def sides_of(state: State) -> _candidates.Sides:
    """Both sides as the compiled code takes them; made once for a matching."""
    if state.compiled is None:
        left, right = state.remittances, state.payments
        state.compiled = _candidates.Sides(
            left.items, right.items, _columns(left), _columns(right), state.company_group
        )
    return state.compiled


def _columns(side: Side) -> tuple[npt.NDArray[np.generic], ...]:
    return (
        side.cents,
        side.day,
        side.banking_day,
        side.payer_group,
        side.payee,
        side.tenant,
        side.rail,
        side.order,
    )


class _Search:
    """Pairs of one tier, found by one or more keys; degrees count those of each item."""

    def __init__(self, state: State, window: int, shown_max: int | None = None) -> None:
        self.state, self.window = state, window
        self.shown_max = state.policy.candidates_max if shown_max is None else shown_max
        self.left_degree: Degrees = np.zeros(len(state.remittances.open), np.uint32)
        self.right_degree: Degrees = np.zeros(len(state.payments.open), np.uint32)
        self.found: list[tuple[Rows, Rows]] = []

    def add(self, key: int, left_on: Mask, right_on: Mask) -> None:
        """Look for pairs of one key among some rows. No pair may be found by two keys."""
        if not (left_on.any() and right_on.any()):
            return
        state = self.state
        pairs = sides_of(state).find(
            key,
            self.window,
            self.shown_max,
            left_on.view(np.uint8),
            right_on.view(np.uint8),
            state.seen.reason,
            state.paid.reason,
            self.left_degree,
            self.right_degree,
        )
        self.found.append(pairs)

    def candidates(self, tier: Tier, reason: Reason) -> Candidates:
        """What was found, with rivals; TIE where there are any."""
        none = np.zeros(0, np.int32)
        left = np.concatenate([none, *(pair[0] for pair in self.found)])
        right = np.concatenate([none, *(pair[1] for pair in self.found)])
        rivals = self.left_degree[left] + self.right_degree[right] - np.uint32(2)
        found = Candidates.of(left, right, tier, reason, rivals)
        found.reason[rivals > 0] |= np.int64(Reason.TIE)
        return found


def find_by_trace_only(state: State) -> Candidates:
    """T4: equal N3, cents and payee (known), payers that are not known to be one; within the trace
    window. A shared payee makes up for the payer, whom no alias ties to the other yet. O(n + m).
    """
    left, right = state.remittances, state.payments
    search = _Search(state, state.policy.trace_window_days)
    search.add(_candidates.KEY_TRACE, left.open, right.open)
    found = search.candidates(Tier.T4, Reason.PAYER_DIFFERS)
    nobody = (left.payer_group[found.left] == 0) | (right.payer_group[found.right] == 0)
    found.reason[nobody] ^= np.int64(Reason.PAYER_DIFFERS | Reason.NO_PAYER)
    return found


def find_cut(state: State) -> Candidates:
    """T6: the shorter N3, at least CUT_BYTES_MIN long, begins or ends the longer; payer and cents
    equal, payees not contradicting; within the trace window. O(n + m)."""
    left, right = state.remittances.open, state.payments.open
    search = _Search(state, state.policy.trace_window_days)
    search.add(_candidates.KEY_FRONT, left, right)
    search.add(_candidates.KEY_BACK, left, right)
    return search.candidates(Tier.T6, Reason.CUT_TRACE)


def find_by_payee(state: State) -> Candidates:
    """T7: one of the two has no usable trace; payer, payee (both known) and cents equal, banking
    days within the payee window. O(n + m)."""
    left, right = state.remittances, state.payments
    left_traced = left.items.usable & _keys.USABLE_TRACE != 0
    right_traced = right.items.usable & _keys.USABLE_TRACE != 0
    search = _Search(state, state.policy.payee_window_banking_days)
    search.add(_candidates.KEY_PAYEE, left.open & ~left_traced, right.open)
    search.add(_candidates.KEY_PAYEE, left.open & left_traced, right.open & ~right_traced)
    return search.candidates(Tier.T7, Reason.NO_PAYMENT_TRACE)


def find_suggestions(state: State, known: Candidates) -> Candidates:
    """T10: cents equal, payees not contradicting, banking days within the suggestion window; at
    least one of both has no candidate of a higher tier.

    known : all candidates of higher tiers

    Of an item with many, only the best are given (see ranking): `candidates_max`, or fewer in pools
    where that would be more than SUGGESTIONS_MAX in all. Rivals count all. O(n + m + pairs).
    """
    left, right = state.remittances, state.payments
    items = max(int(left.open.sum()), int(right.open.sum()), 1)
    shown_max = max(1, min(state.policy.candidates_max, SUGGESTIONS_MAX // items))
    left_free, right_free = left.open.copy(), right.open.copy()
    left_free[known.left] = False
    right_free[known.right] = False
    search = _Search(state, state.policy.suggestion_window_banking_days, shown_max)
    search.add(_candidates.KEY_AMOUNT, left_free, right.open)
    search.add(_candidates.KEY_AMOUNT, left.open & ~left_free, right_free)
    return search.candidates(Tier.T10, Reason.SUGGESTION)


# ---- what matches by itself ----


def may_match(state: State, found: Candidates, tier: Tier) -> Mask:
    """bool[k]: whether the policy lets candidates of this tier match by themselves, now: for
    everybody, or for the payer of one of the two (the payers of a pair that may match are one)."""
    if _waits(state, tier):
        return np.zeros(len(found), np.bool_)
    return _opted(state, found, tier)


def _waits(state: State, tier: Tier) -> bool:
    return not state.at_close and tier.name in state.policy.close_tiers


def _opted(state: State, found: Candidates, tier: Tier) -> Mask:
    if tier.name in state.policy.auto_tiers:
        return np.ones(len(found), np.bool_)
    if state.payers is None or not any(rule.auto_tiers for rule in state.policy.payers):
        return np.zeros(len(found), np.bool_)
    groups = opted_groups(state.policy, state.payers, tier.name)
    allowed: Mask = np.isin(state.payments.payer_group[found.right], groups)
    return allowed


def take_unique(state: State, found: Candidates, may: Mask) -> Candidates:
    """Match those of a tier that are unique both ways and held on neither side.

    found : candidates of one tier, with all rivals
    may : bool[k]     which may match, by the policy (see may_match) and by what else is known
    -> what is left, of items that are still open. Where the policy alone stood against a match,
       TIER_TO_REVIEW is added, or WAITS_FOR_HORIZON if it does so before the day's close only

    O(k).
    """
    if not len(found):
        return found
    left, right = state.remittances, state.payments
    sure = (found.rivals == 0) & ~(left.held[found.left] | right.held[found.right])
    sure &= left.open[found.left] & right.open[found.right]
    sure &= ~state.vetoed(found)
    state.take(found.where(sure & may))
    tier = Tier(int(found.tier[0]))
    opted = _opted(state, found, tier)
    found.reason[sure & ~opted] |= np.int64(Reason.TIER_TO_REVIEW)
    if _waits(state, tier):
        found.reason[sure & opted & ~may] |= np.int64(Reason.WAITS_FOR_HORIZON)
    return found.where(left.open[found.left] & right.open[found.right])
