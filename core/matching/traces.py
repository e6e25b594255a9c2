"""Pairs that share a trace: an 835 inside the entry that pays it (T0), the tiers of one join on
trace and payer (T1, T2, T3, T5, and sums of one trace), and sums of one trace root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys, _tiers
from reassoc.core.columns import TextColumn, build_table
from reassoc.core.matching.again import pair_keys
from reassoc.core.matching.keys import KeyRules, remittance_items
from reassoc.core.matching.pairing import (
    Keyed,
    Pairs,
    may_be_in,
    pair_up,
    rows_mask,
    rows_of,
    window,
)
from reassoc.core.matching.screening import ScreenedPayments, ScreenedRemittances, set_flag
from reassoc.core.matching.state import Candidates, Mask, Rows, Side, State
from reassoc.core.policy import Policy
from reassoc.core.pool import text_parts
from reassoc.core.statuses import MatchStatus, Rail, Reason, RemittanceStatus, Tier

USABLE = _keys.USABLE_TRACE | _keys.USABLE_PAYER

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]
Statuses = npt.NDArray[np.uint8]


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
class Lefts:
    """Remittances as one join takes them: all of the pool, or some rows of it.

    items                    in normal form
    rows : int32[k] or None  their rows in the pool; None for all
    """

    items: _keys.Items
    rows: Rows | None = None

    def of(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The values of these remittances in a column of the pool."""
        return column if self.rows is None else column[self.rows]


@dataclass(slots=True)
class Traces:
    """Both sides, to be joined by their traces as often as it takes.

    to_review : int64[TIERS]                       see `reasons_to_review`
    left_scope, right_scope : uint32[n], uint32[m] tenant and rail; only items of the same are
                                                   compared
    """

    state: State
    rules: KeyRules
    to_review: Int64s
    left_scope: Numbers
    right_scope: Numbers

    @classmethod
    def of(cls, state: State, rules: KeyRules) -> Traces:
        """The sides of a matching, by its policy and horizon."""
        to_review = reasons_to_review(state.policy, state.at_close)
        return cls(state, rules, to_review, _scope(state.remittances), _scope(state.payments))

    def kernel(self, lefts: Lefts) -> _tiers.Matching:
        """The tiers over these remittances and the payments."""
        left, right = self.state.remittances, self.state.payments
        return _tiers.Matching(
            lefts.items,
            right.items,
            lefts.of(left.payee),
            right.payee,
            lefts.of(self.left_scope),
            self.right_scope,
        )

    def settle(
        self,
        lefts: Lefts,
        left_on: Mask,
        right_on: Mask,
        to_review: Int64s,
        sums_only: bool = False,
    ) -> tuple[Candidates, Statuses]:
        """Edges (see _resolve.h) between some of the remittances and payments, and the MatchStatus
        of each: of single pairs, or of sums.
        """
        state = self.state
        partner, blocks = _keys.join(
            keys_of(lefts.items, lefts.of(self.left_scope)),
            keys_of(state.payments.items, self.right_scope),
            left_on.view(np.uint8),
            right_on.view(np.uint8),
        )
        reason = lefts.of(state.seen.reason)
        columns = self.kernel(lefts).settle(
            partner,
            blocks,
            *self._payee_hashes(lefts, partner, len(blocks) > 0),
            state.policy.trace_window_days,
            to_review,
            sums_only,
            reason,
            state.paid.reason,
            self._vetoed(lefts),
        )
        edges = build_table("edges", columns, b"")
        found = Candidates(
            edges.left, edges.right, edges.tier, edges.reason, edges.rivals, edges.group
        )
        if lefts.rows is not None:
            state.seen.reason[lefts.rows] = reason
            found.left = lefts.rows[found.left]
        return found, edges.status

    def _vetoed(self, lefts: Lefts) -> npt.NDArray[np.uint64]:
        """uint64[v]: the pairs that people undid, by the rows of one join, ascending."""
        vetoes = self.state.again.vetoes
        left, right = vetoes.remittance, vetoes.payment
        if lefts.rows is not None and len(vetoes):
            place = np.full(len(self.state.left), -1, np.int32)
            place[lefts.rows] = np.arange(len(lefts.rows), dtype=np.int32)
            there = place[left] >= 0
            left, right = place[left[there]], right[there]
        return np.sort(pair_keys(left, right)).view(np.uint64)

    def _payee_hashes(
        self, lefts: Lefts, partner: Rows, has_blocks: bool
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """What tells payees of remittances apart, where several share a block."""
        left = self.state.left
        tin, entity = np.zeros(len(partner), np.uint64), np.zeros(len(partner), np.uint64)
        if has_blocks:
            places = np.flatnonzero(partner == _keys.PARTNER_SEVERAL)
            rows = places if lefts.rows is None else lefts.rows[places]
            tin[places] = _keys.text_hashes(*text_parts(left.payee_tin[rows]))
            entity[places] = _keys.text_hashes(*text_parts(left.payee_entity_id[rows]))
        return tin, entity


def _scope(side: Side) -> Numbers:
    return side.tenant << np.uint32(2) | side.rail


def keys_of(items: _keys.Items, scope: Numbers) -> npt.NDArray[np.uint64]:
    """uint64[n]: the keys of trace and payer, apart for other scopes."""
    if not scope.any():
        return items.keys
    mixed: npt.NDArray[np.uint64] = scope * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= items.keys
    return mixed


# ---- T0 ----


def pair_carried(traces: Traces) -> Candidates:
    """T0: an 835 inside the CTX entry that pays it. Neither takes part in other tiers, whatever
    comes of it; what is undecided is returned. Other copies of the 835 are held.

    By itself only where the entry carries one 835 with money, and the amounts agree. A check or
    card remittance in it, or one of another tenant, is no pair, but keeps its siblings from being
    one by themselves. Where the money went back, the 835 waits for other money.
    """
    state, to_review = traces.state, traces.to_review
    left, right, seen, paid = state.left, state.right, state.seen, state.paid
    rows, carriers, siblings = _unpinned(state, *carried(state))
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
    ours, theirs = state.remittances.payee[rows], state.payments.payee[carriers]
    set_flag(reason, (ours != 0) & (theirs != 0) & (ours != theirs), Reason.PAYEE_DIFFERS)
    reason[equal & alone] |= to_review[Tier.T0]
    found = Candidates.of(rows, carriers, Tier.T0, rivals=(siblings - 1).astype(np.uint32))
    found.tier[alone & ~equal] = Tier.T5
    found.reason = reason
    seen.open[rows] = paid.open[carriers] = False
    sure = (reason == 0) & (seen.hold[rows] == 0) & (paid.hold[carriers] == 0)
    sure &= ~state.vetoed(found)
    state.take(found.where(sure))
    _hold_other_copies(traces, np.concatenate([rows, _pinned_carried(state)]))
    return found.where(~sure)


def _unpinned(
    state: State, rows: Rows, carriers: Rows, siblings: Int64s
) -> tuple[Rows, Rows, Int64s]:
    """Those of which neither the 835 nor the entry stands in a match already."""
    pinned = state.pinned
    if not len(pinned):
        return rows, carriers, siblings
    free = ~rows_mask(len(state.left), pinned.left)[rows]
    free &= ~rows_mask(len(state.right), pinned.right)[carriers]
    return rows[free], carriers[free], siblings[free]


def _pinned_carried(state: State) -> Rows:
    """int32[k]: 835s whose match with the entry that carries them stands already."""
    pinned = state.pinned
    rows: Rows = pinned.left[state.left.payment_row[pinned.left] == pinned.right]
    return rows


def _hold_other_copies(traces: Traces, copied: Rows) -> None:
    """Hold open remittances with the trace (N1) and payer (P1) of a carried one, within the trace
    window of it and not for another payee: its money is known, and would be counted twice.

    O(n + k log k).
    """
    state = traces.state
    side, seen = state.remittances, state.seen
    copied = copied[side.items.usable[copied] & USABLE == USABLE]
    if not len(copied):
        return
    near = may_be_in(side.items.keys.view(np.int64), side.items.keys[copied].view(np.int64))
    rows = rows_of(side.open & near & (side.items.usable & USABLE == USABLE))

    def no_other_payee(one: Rows, other: Rows) -> Mask:
        a, b = side.payee[one], side.payee[other]
        same: Mask = (a == 0) | (b == 0) | (a == b)
        return same

    held = _fitting(sharing_trace(state, rows, copied, no_other_payee))
    seen.hold[held] |= np.int64(Reason.CONFLICT)
    seen.reason[held] |= np.int64(Reason.CONFLICT)
    side.held[held] = True
    side.items.hold(held)


def conflicting(state: State, rows: Rows) -> Rows:
    """int32[l]: those of some remittances of which another open one may be a version: of the same
    trace (N1) and payer (P1), within the trace window and not for another payee, as _resolve.h has
    it for the tiers of one trace. O(n + k log k)."""
    side = state.remittances
    rows = np.unique(rows[side.items.usable[rows] & USABLE == USABLE])
    if not len(rows):
        return rows
    near = may_be_in(side.items.keys.view(np.int64), side.items.keys[rows].view(np.int64))
    others = rows_of(side.open & near & (side.items.usable & USABLE == USABLE))
    return _fitting(versions(state, rows, others))


def versions(state: State, rows: Rows, others: Rows) -> Pairs:
    """Pairs of remittances with usable traces and payers, of which one may be a version of the
    other; see `conflicting`."""
    return sharing_trace(state, rows, others, lambda one, other: _may_replace(state, one, other))


def _may_replace(state: State, one: Rows, other: Rows) -> Mask:
    """bool[p]: two remittances, and not known to be for two payees."""
    pool, payee = state.left, state.remittances.payee
    differs = np.zeros(len(one), np.bool_)
    unknown = np.ones(len(one), np.bool_)
    for column in (pool.payee_tin, pool.payee_entity_id):
        a, b = (_keys.text_hashes(*text_parts(column[some])) for some in (one, other))
        differs |= unknown & (a != 0) & (b != 0) & (a != b)
        unknown &= (a == 0) | (b == 0)
    differs |= (payee[one] != 0) & (payee[other] != 0) & (payee[one] != payee[other])
    kept: Mask = ~differs & (one != other)
    return kept


def sharing_trace(
    state: State, rows: Rows, others: Rows, keep: Callable[[Rows, Rows], Mask]
) -> Pairs:
    """Pairs of remittances of equal trace (N1), payer (P1), tenant and rail, within the trace
    window of each other, that are to be kept. O((k + l) log (k + l))."""
    side, span = state.remittances, state.policy.trace_window_days

    def columns(some: Rows) -> tuple[Int64s, ...]:
        said = (side.items.trace_hashes(some), side.items.payers(some), _scope(side)[some])
        return tuple(column.astype(np.int64) for column in said)

    days = side.day.astype(np.int64)
    return pair_up(
        Keyed(rows, columns(rows)),
        *window(days[rows], span, span),
        Keyed(others, columns(others)),
        days[others],
        keep,
    )


def _fitting(pairs: Pairs) -> Rows:
    """int32[l]: the few that fit any of the many, or too many to say which."""
    return np.concatenate([pairs.few, pairs.crowded_few])


def _one_tenant_and_rail(state: State, rows: Rows, carriers: Rows) -> Mask:
    """bool[k]: whether an 835 inside an entry is about money of that kind, and of its tenant."""
    tenants = state.remittances.tenant[rows] == state.payments.tenant[carriers]
    same: Mask = tenants & (state.seen.rail[rows] == Rail.ACH)
    return same


def carried(state: State) -> tuple[Rows, Rows, Int64s]:
    """835s with money inside entries with money: their rows, those of the entries, and how many
    such 835s each of these entries carries."""
    left, right = state.left, state.right
    rows = np.flatnonzero(left.payment_row >= 0)
    duplicate = state.seen.status[rows] == RemittanceStatus.DUPLICATE
    rows = rows[(left.paid_cents[rows] != 0) & ~duplicate]
    carriers = left.payment_row[rows]
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
    lefts = Lefts(state.remittances.items)
    found, status = traces.settle(lefts, left_on, right_on, traces.to_review)
    sure = status == MatchStatus.AUTO
    state.take(found.where(sure))
    return found.where(~sure)


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

    What is a root and what a part, see `root_length` in _roots.h. A sum of which one item has
    another candidate is not sure.
    """
    state = traces.state
    sums, status = _sums(traces, state.remittances.open, state.payments.open, traces.to_review)
    contested = is_contested(sums, Candidates.concat([undecided, sums]))
    set_flag(sums.reason, contested, Reason.TIE)
    versions, payees_differ = _of_versions(state, sums), _of_several_payees(state, sums)
    set_flag(sums.reason, versions, Reason.CONFLICT)
    set_flag(sums.reason, payees_differ, Reason.PAYEE_DIFFERS)
    too_large = state.seen.reason[sums.left] | state.paid.reason[sums.right]
    too_large &= np.int64(Reason.BLOCK_TOO_LARGE)
    unclear = contested | versions | payees_differ | (too_large != 0)
    unclear = np.isin(sums.group, sums.group[unclear])
    sure = (status == MatchStatus.AUTO) & ~unclear
    state.take(sums.where(sure))
    known = np.isin(_pair_keys(sums), _pair_keys(undecided)) & (sums.group == 0)
    return sums.where(~sure & ~known & ((sums.group != 0) | (sums.tier == Tier.T5)))


def _sums(
    traces: Traces, left_on: Mask, right_on: Mask, to_review: Int64s
) -> tuple[Candidates, Statuses]:
    """Edges of sums between some remittances and payments, by their traces and by their roots."""
    state, right = traces.state, traces.state.payments
    rows = np.flatnonzero(left_on).astype(np.int32)
    right_on = right_on & (right.items.usable & USABLE == USABLE)
    siblings, hold = state.left.take(rows), state.seen.hold[rows]

    def edges(items: _keys.Items) -> tuple[Candidates, Statuses]:
        usable = items.usable & USABLE == USABLE
        return traces.settle(Lefts(items, rows), usable, right_on, to_review, sums_only=True)

    items = remittance_items(siblings, traces.rules, hold)
    found = [edges(items)]
    text, refs, cut_count = _tiers.cut_traces(items)
    if cut_count:
        trace = TextColumn(text, refs)
        found.append(edges(remittance_items(siblings, traces.rules, hold, trace)))
    return _distinct(found)


def _distinct(tables: list[tuple[Candidates, Statuses]]) -> tuple[Candidates, Statuses]:
    """Edges of several joins, each pair of a group once, and their statuses."""
    found = Candidates.concat([edges for edges, _ in tables])
    status = np.concatenate([statuses for _, statuses in tables])
    if len(tables) == 1 or not len(found):
        return found, status
    order = np.lexsort([found.group, _pair_keys(found)])
    pairs, groups = _pair_keys(found)[order], found.group[order]
    first = np.concatenate([[True], (np.diff(pairs) != 0) | (groups[1:] != groups[:-1])])
    return found.where(order[first]), status[order[first]]


def _of_versions(state: State, sums: Candidates) -> Mask:
    """bool[k]: rows of a sum whose remittance is in it twice: one of the two may replace the other,
    and a third may be missing. Two are one where nothing but their content tells them apart, with
    numbered parts not even the amount: the numbers would. A payee that is not known tells nothing.
    """
    rows = rows_of((sums.group != 0) & (sums.tier == Tier.T8))
    left, right = sums.left[rows], sums.right[rows]
    items = state.remittances.items
    unnumbered = items.keys[left] == state.payments.items.keys[right]
    said = (
        sums.group[rows],
        items.trace_hashes(left),
        items.payers(left),
        np.where(unnumbered, state.remittances.cents[left], 0),
    )
    parts = Keyed(rows, tuple(column.astype(np.int64) for column in said))
    any_day = np.zeros(len(rows), np.int64)

    def may_replace(one: Rows, other: Rows) -> Mask:
        return _may_replace(state, sums.left[one], sums.left[other])

    twice = pair_up(parts, any_day, any_day, parts, any_day, may_replace)
    return rows_mask(len(sums), _fitting(twice))


def _of_several_payees(state: State, sums: Candidates) -> Mask:
    """bool[k]: rows of sums whose items, as far as known, are of several payees. Money to an
    account whose bank is not told contradicts none of them, but they contradict each other."""
    _, group = np.unique(sums.group, return_inverse=True)
    highest = np.zeros(len(sums), np.int64)
    lowest = np.full(len(sums), np.iinfo(np.int64).max)
    for payee in (state.remittances.payee[sums.left], state.payments.payee[sums.right]):
        known = np.flatnonzero(payee)
        np.maximum.at(highest, group[known], payee[known])
        np.minimum.at(lowest, group[known], payee[known])
    several: Mask = (lowest < highest)[group] & (sums.group != 0)
    return several


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


def has_versions(state: State, sums: Candidates) -> Mask:
    """bool[k]: rows of sums without a shared trace root of which a remittance is `conflicting`:
    the money may be that of another version, be it that the sum then does not come out."""
    conflict = np.isin(sums.left, conflicting(state, sums.left))
    whole: Mask = np.isin(sums.group, sums.group[conflict])
    return whole


def _pair_keys(pairs: Candidates) -> Int64s:
    return pair_keys(pairs.left, pairs.right)


# ---- money that went back ----


def pairs_undone(traces: Traces, with_sums: bool = True) -> Candidates:
    """What payments would have been matched with whose money went back: pairs of T0 to T3 and sums
    of one trace, with remittances that nothing else pays. What stood and was undone is told there
    (see standing.undone), and left out here.

    with_sums : False leaves out the sums
    """
    state = traces.state
    if not state.paid.back.any():
        return Candidates.concat([])
    back = state.paid.back & ~rows_mask(len(state.right), state.undone.right)
    left, right = state.remittances, state.payments
    waits = left.open & ~rows_mask(len(state.left), state.undone.left)
    inside = _carried_undone(state, waits, back)
    left_on = waits & (left.items.usable & USABLE == USABLE)
    left_on[inside.left] = False
    right_on = back & (right.items.usable & USABLE == USABLE)
    always = np.zeros(_tiers.TIERS, np.int64)
    pairs, status = traces.settle(Lefts(left.items), left_on, right_on, always)
    pairs = pairs.where(status == MatchStatus.AUTO)
    if not with_sums:
        return Candidates.concat([inside, pairs])
    left_on[pairs.left] = right_on[pairs.right] = False
    sums, status = _sums(traces, left_on, right_on, always)
    sure = (status == MatchStatus.AUTO) & ~is_contested(sums, sums)
    return Candidates.concat([inside, pairs, sums.where(sure)])


def _carried_undone(state: State, waits: Mask, back: Mask) -> Candidates:
    """835s that wait, inside entries whose money went back."""
    rows, carriers, siblings = carried(state)
    equal = state.left.paid_cents[rows] == state.right.amount_cents[carriers]
    undone = back[carriers] & waits[rows] & (siblings == 1) & equal
    undone &= _one_tenant_and_rail(state, rows, carriers)
    found = Candidates.of(rows[undone], carriers[undone], Tier.T0)
    return found.where(~state.vetoed(found))
