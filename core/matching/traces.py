"""Pairs that share a trace: an 835 inside the entry that pays it (T0), the tiers of one join on
trace and payer (T1, T2, T3, T5, and sums of one trace), and sums of one trace root.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys, _tiers
from reassoc.core.columns import Table, TextColumn, build_table
from reassoc.core.matching.keys import KeyRules, remittance_items
from reassoc.core.matching.screening import ScreenedPayments, ScreenedRemittances, set_flag
from reassoc.core.matching.state import Candidates, Mask, Rows, Side, State
from reassoc.core.policy import Policy
from reassoc.core.pool import text_parts
from reassoc.core.statuses import MatchStatus, Rail, Reason, RemittanceStatus, Tier

ROOT_BYTES_MIN = 6
"""Letters and digits that a trace must have before its suffix, to be the root of several."""
SUFFIX_BYTES_MAX = 3
_SEPARATORS = b"-./_ "

Int64s = npt.NDArray[np.int64]


def reasons_to_review(policy: Policy, at_close: bool) -> Int64s:
    """int64[TIERS]: why each tier may not match by itself, 0 where it may."""
    now, later = policy.may_match(at_close), policy.may_match(True)
    reasons = np.full(_tiers.TIERS, Reason.TIER_TO_REVIEW, np.int64)
    for tier in range(_tiers.TIERS):
        if now >> tier & 1:
            reasons[tier] = 0
        elif later >> tier & 1:
            reasons[tier] = Reason.WAITS_FOR_HORIZON
    return reasons


@dataclass(slots=True)
class Traces:
    """Both sides, to be joined by their traces as often as it takes.

    to_review : int64[TIERS]   see `reasons_to_review`
    """

    state: State
    rules: KeyRules
    to_review: Int64s

    def kernel(self, left_items: _keys.Items) -> _tiers.Matching:
        """The tiers over these remittances and the payments."""
        left, right = self.state.remittances, self.state.payments
        return _tiers.Matching(
            left_items, right.items, left.payee, right.payee, _scope(left), _scope(right)
        )

    def settle(
        self,
        left_on: Mask,
        right_on: Mask,
        to_review: Int64s,
        roots: _keys.Items | None = None,
    ) -> Table:
        """Edges (EDGE_COLUMNS of _resolve.h) between the given rows; with the items of `roots` for
        the remittances, only sums.
        """
        state = self.state
        left_items = state.remittances.items if roots is None else roots
        partner, blocks = _keys.join(
            _keys_of(left_items, state.remittances),
            _keys_of(state.payments.items, state.payments),
            left_on.view(np.uint8),
            right_on.view(np.uint8),
        )
        edges = self.kernel(left_items).settle(
            partner,
            blocks,
            *self._payee_hashes(partner, len(blocks) > 0),
            state.policy.trace_window_days,
            to_review,
            roots is not None,
            state.seen.reason,
            state.paid.reason,
        )
        return build_table("edges", edges, b"")

    def _payee_hashes(
        self, partner: Rows, has_blocks: bool
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """What tells payees of remittances apart, where several share a block."""
        left = self.state.left
        tin, entity = np.zeros(len(left), np.uint64), np.zeros(len(left), np.uint64)
        if has_blocks:
            rows = np.flatnonzero(partner == _keys.PARTNER_SEVERAL)
            tin[rows] = _keys.text_hashes(*text_parts(left.payee_tin[rows]))
            entity[rows] = _keys.text_hashes(*text_parts(left.payee_entity_id[rows]))
        return tin, entity


def _scope(side: Side) -> npt.NDArray[np.uint32]:
    """uint32[n]: tenant and rail. Only items of the same are compared."""
    return side.tenant << np.uint32(2) | side.rail


def _keys_of(items: _keys.Items, side: Side) -> npt.NDArray[np.uint64]:
    """uint64[n]: the keys of trace and payer, apart for other scopes."""
    scope = _scope(side)
    if not scope.any():
        return items.keys
    mixed: npt.NDArray[np.uint64] = items.keys ^ scope * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def _candidates(edges: Table, rows: Mask) -> Candidates:
    return Candidates(
        **{
            name: np.ascontiguousarray(edges[name][rows])
            for name in ("left", "right", "tier", "reason", "rivals", "group")
        }
    )


# ---- T0 ----


def pair_carried(state: State, to_review: Int64s) -> Candidates:
    """T0: an 835 inside the CTX entry that pays it. Neither takes part in other tiers, whatever
    comes of it; what is undecided is returned.

    By itself only where the entry carries one 835 with money, and the amounts agree. A check or
    card remittance in it is no pair, but keeps its siblings from being one by themselves. Where the
    money went back, the 835 waits for other money.
    """
    left, right, seen, paid = state.left, state.right, state.seen, state.paid
    rows, carriers, siblings = _carried(state)
    gone = paid.back[carriers]
    unusable = ~paid.open[carriers] & ~gone
    seen.reason[rows[unusable]] |= np.int64(Reason.CARRIER_NOT_USABLE)
    seen.open[rows[unusable]] = False
    taking = ~unusable & ~gone & seen.open[rows] & (seen.rail[rows] == Rail.ACH)
    rows, carriers, siblings = rows[taking], carriers[taking], siblings[taking]
    alone, equal = siblings == 1, left.paid_cents[rows] == right.amount_cents[carriers]
    reason = np.zeros(len(rows), np.int64)
    set_flag(reason, ~alone, Reason.CARRIED_SEVERAL)
    set_flag(reason, ~equal, Reason.AMOUNT_DIFFERS)
    reason[equal & alone] |= to_review[Tier.T0]
    found = Candidates.of(rows, carriers, Tier.T0, rivals=(siblings - 1).astype(np.uint32))
    found.tier[alone & ~equal] = Tier.T5
    found.reason = reason
    seen.open[rows] = paid.open[carriers] = False
    sure = (reason == 0) & (seen.hold[rows] == 0) & (paid.hold[carriers] == 0)
    state.take(found.where(sure))
    return found.where(~sure)


def _carried(state: State) -> tuple[Rows, Rows, Int64s]:
    """835s with money inside entries with money: their rows, those of the entries, and how many
    such 835s each of these entries carries."""
    left, right = state.left, state.right
    rows = np.flatnonzero(left.payment_row >= 0)
    duplicate = state.seen.status[rows] == RemittanceStatus.DUPLICATE
    rows = rows[(left.paid_cents[rows] != 0) & ~duplicate]
    carriers = left.payment_row[rows]
    if len(rows) and carriers.max() >= len(right):
        raise ValueError(f"payment_row {carriers.max()} is no row of the {len(right)} payments")
    moved = state.paid.money[carriers]
    rows, carriers = rows[moved], carriers[moved]
    siblings = np.bincount(carriers, minlength=len(right))[carriers]
    return rows.astype(np.int32), carriers, siblings


# ---- one join on trace and payer ----


def pair_by_trace(traces: Traces) -> Candidates:
    """T1, T2 and T3: what is sure is taken, what is undecided returned, T5 among it."""
    state = traces.state
    left_on = _taking_part(state.remittances, state.seen)
    right_on = _taking_part(state.payments, state.paid)
    edges = traces.settle(left_on, right_on, traces.to_review)
    sure = edges.status == MatchStatus.AUTO
    state.take(_candidates(edges, sure))
    return _candidates(edges, ~sure)


def _taking_part(side: Side, screened: ScreenedRemittances | ScreenedPayments) -> Mask:
    traces = side.items.usable & _keys.USABLE_TRACE != 0
    payers = side.items.usable & _keys.USABLE_PAYER != 0
    set_flag(screened.reason, side.open & ~traces, Reason.NO_TRACE)
    set_flag(screened.reason, side.open & ~payers, Reason.NO_PAYER)
    taking: Mask = side.open & traces & payers
    return taking


def pair_by_root(traces: Traces, undecided: Candidates) -> Candidates:
    """T8 and T9 of one trace, or of one root of traces with numbered parts: `12345678-01` and
    `12345678-02` for `12345678`. Sums of all open siblings are taken; siblings that are not all of
    a payment are returned.

    A root has ROOT_BYTES_MIN letters and digits or more, a part at most SUFFIX_BYTES_MAX, behind
    one of `-./_ `. A sum one item of which has another candidate in `undecided` is not sure.
    """
    state = traces.state
    left, right = state.remittances, state.payments
    roots = _roots(state, traces.rules)
    usable = _keys.USABLE_TRACE | _keys.USABLE_PAYER
    left_on = left.open & (roots.usable & usable == usable)
    right_on = right.open & (right.items.usable & usable == usable)
    if not (left_on.any() and right_on.any()):
        return Candidates.concat([])
    edges = traces.settle(left_on, right_on, traces.to_review, roots)
    found = _candidates(edges, np.ones(len(edges), np.bool_))
    known = np.isin(_pair_keys(found), _pair_keys(undecided)) & (found.group == 0)
    contested = _contested(found, undecided)
    set_flag(found.reason, contested, Reason.TIE)
    sure = (edges.status == MatchStatus.AUTO) & ~contested
    state.take(found.where(sure))
    return found.where(~sure & ~known)


def _contested(sums: Candidates, undecided: Candidates) -> Mask:
    """bool[k]: rows of sums of which an item has a candidate outside of its own sum."""
    if not sums.group.any():
        return np.zeros(len(sums), np.bool_)
    inside = np.isin(_pair_keys(undecided), _pair_keys(sums))
    others = undecided.where(~inside)
    named = np.isin(sums.left, others.left) | np.isin(sums.right, others.right)
    contested: Mask = np.isin(sums.group, sums.group[named]) & (sums.group != 0)
    return contested


def _pair_keys(pairs: Candidates) -> Int64s:
    return pairs.left.astype(np.int64) << 32 | pairs.right


def _roots(state: State, rules: KeyRules) -> _keys.Items:
    """Open remittances with the part behind the root of their traces cut off."""
    rows = np.flatnonzero(state.remittances.open)
    refs = np.zeros_like(state.left.trace.refs)
    refs[rows] = state.left.trace.refs[rows]
    source = np.frombuffer(state.left.trace.source, np.uint8)
    cut = np.zeros(len(rows), np.uint32)
    for length in range(1, SUFFIX_BYTES_MAX + 1):
        cut[_ends_in_part(source, refs[rows], length)] = length + 1
    if not cut.any():
        return state.remittances.items
    refs[rows, 1] -= cut
    roots = TextColumn(state.left.trace.source, refs)
    return remittance_items(state.left, rules, state.seen.hold, roots)


def _ends_in_part(source: npt.NDArray[np.uint8], refs: npt.NDArray[np.uint32], length: int) -> Mask:
    """bool[k]: whether a text ends in a separator and `length` letters or digits, behind a root."""
    is_separator, is_part = np.zeros((2, 256), np.bool_)
    is_separator[list(_SEPARATORS)] = True
    is_part[[byte for byte in range(128) if chr(byte).isalnum()]] = True
    found = refs[:, 1] >= ROOT_BYTES_MIN + 1 + length
    ends = refs[found].astype(np.int64).sum(axis=1)
    fits = is_separator[source[ends - length - 1]]
    for place in range(1, length + 1):
        fits &= is_part[source[ends - place]]
    found[found] = fits
    return found


# ---- money that went back ----


def pairs_undone(traces: Traces) -> Candidates:
    """What payments would have been matched with whose money went back: pairs of T0 to T3 and sums
    of one trace, with remittances that nothing else pays."""
    state = traces.state
    back = state.paid.back
    if not back.any():
        return Candidates.concat([])
    rows, carriers, siblings = _carried(state)
    equal = state.left.paid_cents[rows] == state.right.amount_cents[carriers]
    undone = back[carriers] & state.seen.open[rows] & (siblings == 1) & equal
    undone &= state.seen.rail[rows] == Rail.ACH
    carried = Candidates.of(rows[undone], carriers[undone], Tier.T0)
    usable = _keys.USABLE_TRACE | _keys.USABLE_PAYER
    left, right = state.remittances, state.payments
    left_on = left.open & (left.items.usable & usable == usable)
    left_on[carried.left] = False
    right_on = back & (right.items.usable & usable == usable)
    edges = traces.settle(left_on, right_on, np.zeros(_tiers.TIERS, np.int64))
    return Candidates.concat([carried, _candidates(edges, edges.status == MatchStatus.AUTO)])
