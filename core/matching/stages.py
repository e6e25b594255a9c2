"""The order of the tiers: the surest first, and what none of them takes goes to review."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reassoc.core import _tiers
from reassoc.core.matching import bulk, candidates, pins, ranking, reissues, standing, traces
from reassoc.core.matching.keys import KeyRules
from reassoc.core.matching.outcome import Decided
from reassoc.core.matching.screening import set_flag
from reassoc.core.matching.state import Candidates, Mask, State
from reassoc.core.statuses import MatchStatus, Reason, Tier

OnStage = Callable[[str], None]
"""Told the name of each stage as it begins."""


def decide(
    state: State,
    rules: KeyRules,
    on_stage: OnStage,
    *,
    at_close: bool = True,
    surest_only: bool = False,
) -> tuple[Decided, _tiers.Matching]:
    """Run the tiers over the open items. Returns the pairs and the kernel that explains them.

    at_close : the day is at its close; what stood stays before it, too, see `standing`
    surest_only : run T0 to T3 only, the pools being a neighbourhood
    """
    on_stage("what stands")
    pins.pin(state)
    standing.undo(state)
    joined = traces.Traces.of(state, rules)
    pins.hold_rivals(joined)
    on_stage("T0")
    carried = traces.pair_carried(joined)
    on_stage("T1 T2 T3")
    same_trace = traces.pair_by_trace(joined)
    if surest_only:
        on_stage("money that went back")
        undone = traces.pairs_undone(joined, with_sums=False)
        stood = standing.keep(state, Candidates.concat([carried, same_trace]))
        known = Candidates.concat([same_trace, stood])
    else:
        known, undone = _all_tiers(state, joined, same_trace, on_stage)
    on_stage("review")
    reviewed = ranking.review(state, Candidates.concat([carried, known]))
    waiting = standing.demote(state, at_close, surest_only)
    on_stage("explanation")
    sure = [(taken, MatchStatus.AUTO) for taken in (*state.taken, state.pinned)]
    sure += [(waiting, MatchStatus.REVIEW)]
    sure += [(gone, MatchStatus.UNMATCHED) for gone in (undone, state.undone)]
    parts = [Decided.sure(pairs, status) for pairs, status in sure if len(pairs)]
    parts.append(Decided.reviewed(reviewed))
    state.taken.clear()
    state.compiled = None  # its counts are large, and no stage needs them any more
    return Decided.concat(parts), joined.kernel(traces.Lefts(state.remittances.items))


def _all_tiers(
    state: State, joined: traces.Traces, same_trace: Candidates, on_stage: OnStage
) -> tuple[Candidates, Candidates]:
    """What comes behind T3: candidates for review, and pairs whose money went back."""
    on_stage("T8 T9, one trace root")
    rooted = traces.pair_by_root(joined, same_trace)
    undecided = Candidates.concat([same_trace, rooted])
    on_stage("money that went back")
    undone = traces.pairs_undone(joined)
    return _loose_tiers(state, undecided, on_stage), undone


def _loose_tiers(state: State, undecided: Candidates, on_stage: OnStage) -> Candidates:
    """T4 and T6 to T10 on what is open: what the policy lets match by itself is taken, all other
    candidates are returned."""
    on_stage("T4")
    payer_unknown = candidates.find_by_trace_only(state)
    surer = Candidates.concat([undecided, payer_unknown])
    on_stage("T6")
    cut = candidates.find_cut(state)
    cut = _take(state, cut, candidates.may_match(state, cut, Tier.T6), surer)
    surer = Candidates.concat([surer, cut])
    on_stage("T7")
    traceless = candidates.find_by_payee(state)
    traceless = _take(state, traceless, candidates.may_match(state, traceless, Tier.T7), surer)
    singles = _still_open(state, [surer, traceless])
    on_stage("T8 T9")
    loose = singles.tier == Tier.T5
    sums = bulk.find_sums(state, singles.where(~loose), singles.where(loose))
    set_flag(sums.reason, traces.is_contested(sums, singles), Reason.TIE)
    set_flag(sums.reason, traces.has_versions(state, sums), Reason.CONFLICT)
    bulk_may = state.policy.may_match_unrooted(state.at_close)
    split_may = bool(state.policy.may_match(state.at_close) >> int(Tier.T9) & 1)
    sums = bulk.take_unique(state, sums, Tier.T8, bulk_may)
    sums = bulk.take_unique(state, sums, Tier.T9, split_may)
    known = _still_open(state, [singles, sums])
    on_stage("T10")
    reissued = reissues.find_reissues(state, known)
    suggestions = candidates.find_suggestions(state, Candidates.concat([known, reissued]))
    return _name_horizon(state, Candidates.concat([known, reissued, suggestions]))


def _take(state: State, found: Candidates, may: Mask, undecided: Candidates) -> Candidates:
    """Match what is unique and may; not what an earlier tier has candidates for, be it of other
    cents: a trace and payer that agree with another item speak for that one."""
    left_named, right_named = np.zeros(len(state.left), np.bool_), np.zeros(len(state.right), bool)
    left_named[undecided.left] = right_named[undecided.right] = True
    may = may & ~(left_named[found.left] | right_named[found.right])
    conflict = np.isin(found.left, traces.conflicting(state, found.left[may]))
    set_flag(found.reason, conflict, Reason.CONFLICT)
    return candidates.take_unique(state, found, may & ~conflict)


def _still_open(state: State, parts: list[Candidates]) -> Candidates:
    found = Candidates.concat(parts)
    both_open = state.remittances.open[found.left] & state.payments.open[found.right]
    return found if both_open.all() else found.where(both_open)


def _name_horizon(state: State, found: Candidates) -> Candidates:
    """What goes to review only because the day is not at its close says so."""
    if state.at_close:
        return found
    policy = state.policy
    waiting = policy.may_match(True) & ~policy.may_match(False)
    waits = (waiting >> found.tier.astype(np.int64) & 1).astype(np.bool_)
    waits &= found.reason & np.int64(Reason.TIER_TO_REVIEW) != 0
    found.reason[waits] ^= np.int64(Reason.TIER_TO_REVIEW | Reason.WAITS_FOR_HORIZON)
    return found
