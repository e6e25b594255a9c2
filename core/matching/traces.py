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
        left_items: _keys.Items | None = None,
        sums_only: bool = False,
    ) -> Table:
        """Edges (EDGE_COLUMNS of _resolve.h) between the given rows: of single pairs, or of sums.

        left_items : stand in for the remittances' own
        """
        state = self.state
        left_items = left_items or state.remittances.items
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
            sums_only,
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


def _candidates(edges: Table, rows: Mask | slice) -> Candidates:
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
    card remittance in it, or one of another tenant, is no pair, but keeps its siblings from being
    one by themselves. Where the money went back, the 835 waits for other money.
    """
    left, right, seen, paid = state.left, state.right, state.seen, state.paid
    rows, carriers, siblings = _carried(state)
    gone = paid.back[carriers]
    unusable = ~paid.open[carriers] & ~gone
    seen.reason[rows[unusable]] |= np.int64(Reason.CARRIER_NOT_USABLE)
    seen.open[rows[unusable]] = False
    taking = ~unusable & ~gone & seen.open[rows] & _one_tenant_and_rail(state, rows, carriers)
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


def _one_tenant_and_rail(state: State, rows: Rows, carriers: Rows) -> Mask:
    """bool[k]: whether an 835 inside an entry is about money of that kind, and of its tenant."""
    tenants = state.remittances.tenant[rows] == state.payments.tenant[carriers]
    same: Mask = tenants & (state.seen.rail[rows] == Rail.ACH)
    return same


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

    What is a root and what a part, see `root_length` in _resolve.h. A sum of which one item has
    another candidate is not sure.
    """
    state = traces.state
    found = [_sums(traces, None)]
    text, refs, cut_count = _tiers.cut_traces(
        state.remittances.items, state.remittances.open.view(np.uint8)
    )
    if cut_count:
        roots = TextColumn(text, refs)
        found.append(
            _sums(traces, remittance_items(state.left, traces.rules, state.seen.hold, roots))
        )
    sums, status = _distinct(found)
    contested = is_contested(sums, Candidates.concat([undecided, sums]))
    set_flag(sums.reason, contested, Reason.TIE)
    sure = (status == MatchStatus.AUTO) & ~contested
    state.take(sums.where(sure))
    known = np.isin(_pair_keys(sums), _pair_keys(undecided)) & (sums.group == 0)
    return sums.where(~sure & ~known & ((sums.group != 0) | (sums.tier == Tier.T5)))


def _sums(traces: Traces, roots: _keys.Items | None) -> Table:
    """Edges of sums among what is open, by whole traces or by the items of roots."""
    left, right = traces.state.remittances, traces.state.payments
    usable = _keys.USABLE_TRACE | _keys.USABLE_PAYER
    left_items = left.items if roots is None else roots
    left_on = left.open & (left_items.usable & usable == usable)
    right_on = right.open & (right.items.usable & usable == usable)
    return traces.settle(left_on, right_on, traces.to_review, left_items, sums_only=True)


def _distinct(tables: list[Table]) -> tuple[Candidates, npt.NDArray[np.uint8]]:
    """Edges of several tables, each pair of a group once, and their statuses."""
    found = Candidates.concat([_candidates(edges, slice(None)) for edges in tables])
    status = np.concatenate([edges.status for edges in tables])
    if len(tables) == 1 or not len(found):
        return found, status
    order = np.lexsort([found.group, _pair_keys(found)])
    pairs, groups = _pair_keys(found)[order], found.group[order]
    first = np.concatenate([[True], (np.diff(pairs) != 0) | (groups[1:] != groups[:-1])])
    return found.where(order[first]), status[order[first]]


def is_contested(sums: Candidates, others: Candidates) -> Mask:
    """bool[k]: rows of sums of which an item has a candidate outside of its own sum."""
    if not sums.group.any():
        return np.zeros(len(sums), np.bool_)
    members = sums.group != 0
    inside = np.isin(_pair_keys(others), _pair_keys(sums)[members])
    outside = others.where(~inside)
    named = np.isin(sums.left, outside.left) | np.isin(sums.right, outside.right)
    contested: Mask = np.isin(sums.group, sums.group[named & members]) & members
    return contested


def _pair_keys(pairs: Candidates) -> Int64s:
    keys: Int64s = pairs.left.astype(np.int64) << 32 | pairs.right
    return keys


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
    undone &= _one_tenant_and_rail(state, rows, carriers)
    carried = Candidates.of(rows[undone], carriers[undone], Tier.T0)
    usable = _keys.USABLE_TRACE | _keys.USABLE_PAYER
    left, right = state.remittances, state.payments
    left_on = left.open & (left.items.usable & usable == usable)
    left_on[carried.left] = False
    right_on = back & (right.items.usable & usable == usable)
    edges = traces.settle(left_on, right_on, np.zeros(_tiers.TIERS, np.int64))
    return Candidates.concat([carried, _candidates(edges, edges.status == MatchStatus.AUTO)])
