"""Pairs that stand whatever the tiers would say, and what fits them as well.

A pin was made by a person, or is the match of a remittance that was released. It comes out as AUTO
with the given match id and tier, reason PINNED, whatever holds its items, which are in no other
pair. Money that went back undoes it, and nothing else does: then all of the match comes out as
UNMATCHED, and its other items wait again.

A payment that a person took out, into suspense or to another tenant, is in no pair. Other rows for
its money are copies or reports of it, or held: it does not come back by a second row.

What else fits a pinned item would be matched with it if the pin did not stand: it is a rival. It is
held, and both say so: one of the two matches may be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import EntryKind
from reassoc.core.matching.again import Pairs, whole_groups
from reassoc.core.matching.pairing import Keyed, may_be_in, pair_up, rows_mask, rows_of, window
from reassoc.core.matching.pairing import Pairs as Fitting
from reassoc.core.matching.screening import ScreenedPayments, ScreenedRemittances
from reassoc.core.matching.state import Candidates, Mask, Rows, Side, State
from reassoc.core.matching.traces import USABLE, Lefts, Traces, carried, keys_of, versions
from reassoc.core.statuses import LinkKind, MatchStatus, Reason, Tier

_WENT_BACK = np.int64(Reason.RETURNED | Reason.REVERSED)


def pin(state: State) -> None:
    """Take the pinned pairs out of the tiers, and undo those whose money went back, whole groups.
    What a person took out is in no tier either.

    The items of what is undone are as if nobody had pinned them. O(k log k).
    """
    pins = state.again.pins
    if state.again.aside is not None:
        state.payments.open[state.again.aside] = False
    if not len(pins):
        return
    undone = whole_groups(pins.match_id, state.paid.back[pins.payment])
    state.undone = Candidates.concat([state.undone, undone_pairs(state, pins.where(undone))])
    pinned = pins.where(~undone)
    state.pinned = _candidates(pinned, int(Reason.PINNED))
    state.remittances.open[pinned.remittance] = False
    state.payments.open[pinned.payment] = False


def undone_pairs(state: State, pairs: Pairs) -> Candidates:
    """Whole groups of pairs as undone: each row says how the money of any of them went back."""
    found = _candidates(pairs, 0)
    _, group = np.unique(pairs.match_id, return_inverse=True)
    said = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.bitwise_or.at(said, group, state.paid.reason[found.right] & _WENT_BACK)
    found.reason = said[group]
    return found


def _candidates(pairs: Pairs, reason: int) -> Candidates:
    count = len(pairs)
    return Candidates(
        left=pairs.remittance.astype(np.int32, copy=False),
        right=pairs.payment.astype(np.int32, copy=False),
        tier=pairs.tier.astype(np.uint8, copy=False),
        reason=np.full(count, reason, np.int64),
        rivals=np.zeros(count, np.uint32),
        group=pairs.match_id.astype(np.uint64, copy=False),
    )


# ---- rivals ----


@dataclass(slots=True)
class _Items:
    """One side, with what is pinned of it and what of that is of a released remittance."""

    side: Side
    screened: ScreenedRemittances | ScreenedPayments
    pinned: Mask
    released: Mask

    def rivals_told(self, rows: Rows, released: Mask) -> None:
        """Hold open rows as rivals; `released` says which of them after a release."""
        self.screened.hold[rows] |= np.int64(Reason.RIVAL)
        self.side.held[rows] = True
        self.side.items.hold(rows)
        self.flag(rows, released)

    def flag(self, rows: Rows, released: Mask) -> None:
        self.screened.reason[rows] |= np.int64(Reason.RIVAL)
        self.screened.reason[rows[released]] |= np.int64(Reason.RIVAL_AFTER_RELEASE)


def hold_rivals(traces: Traces) -> None:
    """Hold open items that fit a pinned one, and say so on both.

    A rival fits by trace, payer and amount (T1, T2 or T3), lies in the entry or is the entry that
    the other is tied to (T0), may be a version of a pinned remittance, or is another row for the
    money of a payment that is pinned or that a person took out. Where too many fit to say which,
    all of them are held as after a release. O(n + m + k log k) for k items that share a trace and
    payer with a pinned one.
    """
    state = traces.state
    pins, aside = state.pinned, state.again.aside
    if not len(pins) and aside is None:
        return
    released = state.again.released
    after = np.zeros(len(pins), np.bool_) if released is None else released[pins.left]
    left = _Items(
        state.remittances, state.seen,
        rows_mask(len(state.left), pins.left), rows_mask(len(state.left), pins.left[after]),
    )  # fmt: skip
    right = _Items(
        state.payments, state.paid,
        rows_mask(len(state.right), pins.right), rows_mask(len(state.right), pins.right[after]),
    )  # fmt: skip
    advised = rows_of(left.pinned & (state.remittances.cents > 0))
    credits = (state.right.kind == EntryKind.CREDIT) & (state.payments.cents > 0)
    paid = rows_of(right.pinned & credits)
    found = [
        (left, right, _by_trace(traces, advised, None)),
        (right, left, _by_trace(traces, None, paid)),
        (left, left, _versions(state, advised)),
        *_carrying(state, left, right),
        (right, right, _same_money(state, right.pinned if aside is None else right.pinned | aside)),
    ]
    for of, others, fits in found:
        _tell(of, others, fits, may_be_released=released is not None)


def _tell(of: _Items, others: _Items, fits: Fitting, may_be_released: bool) -> None:
    """Hold the many as rivals of the few, which are pinned."""
    crowded = np.full(len(fits.crowded_many), may_be_released)
    others.rivals_told(fits.many, of.released[fits.few])
    others.rivals_told(fits.crowded_many, crowded)
    for rows in (fits.few, fits.crowded_few):
        of.flag(rows, of.released[rows])


def _by_trace(traces: Traces, left: Rows | None, right: Rows | None) -> Fitting:
    """Pinned rows of one side (the one that is given) and open ones of the other that T1, T2 or T3
    could pair."""
    state = traces.state
    few_side, many_side = state.remittances, state.payments
    few_scope, many_scope = traces.left_scope, traces.right_scope
    if left is None:
        few_side, many_side = many_side, few_side
        few_scope, many_scope = many_scope, few_scope
    few = left if left is not None else right
    assert few is not None
    few_keys, many_keys = keys_of(few_side.items, few_scope), keys_of(many_side.items, many_scope)
    few = few[few_side.items.usable[few] & USABLE == USABLE]
    near = many_side.open & (many_side.items.usable & USABLE == USABLE)
    near &= may_be_in(many_keys, few_keys[few])
    many = rows_of(near)
    few = few[may_be_in(few_keys[few], many_keys[many])]
    kernel, span = traces.kernel(Lefts(state.remittances.items)), state.policy.trace_window_days

    def fits(one: Rows, other: Rows) -> Mask:
        if left is None:
            one, other = other, one
        tiers = kernel.tiers(np.ascontiguousarray(one), np.ascontiguousarray(other), span)
        fitting: Mask = (tiers >= Tier.T1) & (tiers <= Tier.T3)
        return fitting

    few_days, many_days = few_side.day.astype(np.int64), many_side.day.astype(np.int64)
    return pair_up(
        Keyed(few, (few_keys[few].view(np.int64), few_side.cents[few])),
        *window(few_days[few], span, span),
        Keyed(many, (many_keys[many].view(np.int64), many_side.cents[many])),
        many_days[many],
        fits,
    )


def _versions(state: State, pinned: Rows) -> Fitting:
    """Pinned remittances and open ones that may be a version of them."""
    side = state.remittances
    usable = side.items.usable & USABLE == USABLE
    pinned = pinned[usable[pinned]]
    near = may_be_in(side.items.keys, side.items.keys[pinned])
    return versions(state, pinned, rows_of(side.open & usable & near))


def _carrying(state: State, left: _Items, right: _Items) -> list[tuple[_Items, _Items, Fitting]]:
    """Pinned entries and open 835s in them; pinned 835s and the open entries that carry them."""
    rows, carriers, _ = carried(state)
    inside = right.pinned[carriers] & left.side.open[rows]
    around = left.pinned[rows] & right.side.open[carriers]
    return [
        (right, left, _plain(carriers[inside], rows[inside])),
        (left, right, _plain(rows[around], carriers[around])),
    ]


def _same_money(state: State, kept: Mask) -> Fitting:
    """Pinned payments, or such as a person took out, and open rows for the same money: a line of a
    bank and the entry that it reports, a deposit and its checks."""
    links = state.links
    if links is None:
        return _plain(np.zeros(0, np.int32), np.zeros(0, np.int32))
    same = (links.kind == LinkKind.REPORT_OF) | (links.kind == LinkKind.PART_OF)
    same &= links.status == MatchStatus.AUTO
    one = np.concatenate([links.payment[same], links.other[same]])
    other = np.concatenate([links.other[same], links.payment[same]])
    rival = kept[one] & state.payments.open[other]
    return _plain(one[rival], other[rival])


def _plain(few: Rows, many: Rows) -> Fitting:
    none: npt.NDArray[np.int32] = np.zeros(0, np.int32)
    return Fitting(few, many, none, none)
