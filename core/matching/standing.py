"""What stood when the day was last at its close, and what may be decided before the next one.

Between two closes the tiers of the policy's `close_tiers` decide nothing new: what they find waits,
and what stood stays as long as they would still make it. So the pairs between two closes are the
same for any order of arrival. What touches an item of unknown surroundings waits, too.
"""

from __future__ import annotations

import numpy as np

from reassoc.core.matching import traces
from reassoc.core.matching.again import Pairs, pair_keys, whole_groups
from reassoc.core.matching.pins import undone_pairs
from reassoc.core.matching.state import Candidates, Mask, State
from reassoc.core.statuses import Rail, Reason, Tier, among

JOINED_TIERS = (Tier.T0, Tier.T1, Tier.T2, Tier.T3)
"""Tiers that a matching of a neighbourhood runs; of all others it keeps what stood."""


def undo(state: State) -> None:
    """Tell the groups that stood and of which money went back, unless pinned. O(k log k)."""
    standing = _unpinned(state)
    if standing is None:
        return
    undone = standing.where(whole_groups(standing.match_id, state.paid.back[standing.payment]))
    undone = undone.where(~np.isin(undone.keys, pair_keys(state.undone.left, state.undone.right)))
    state.undone = Candidates.concat([state.undone, undone_pairs(state, undone)])


def _unpinned(state: State) -> Pairs | None:
    """What stood, less the groups that are pinned as a whole."""
    standing = state.again.standing
    if standing is None or not len(standing):
        return None
    return standing.where(~np.isin(standing.match_id, state.again.pins.match_id))


def keep(state: State, undecided: Candidates) -> Candidates:
    """In a neighbourhood: take what stood by tiers that were not run.

    undecided : what was found and not taken

    A group stays where its items are open, none is held or vetoed, and no other candidate speaks
    for one of them. Where the items are all open still and one of these is not so, the group is
    given back, WAITS_FOR_HORIZON; where one of them has left the tiers (matched otherwise, a
    duplicate now, undone), the group is gone. O(k log k).
    """
    standing = _unpinned(state)
    if standing is None:
        return Candidates.concat([])
    standing = standing.where(~np.isin(standing.tier, JOINED_TIERS))
    found = Candidates.of(standing.remittance, standing.payment, 0, group=standing.match_id)
    found.tier = standing.tier.astype(np.uint8, copy=False)
    left, right = state.remittances, state.payments
    closed = ~(left.open[found.left] & right.open[found.right])
    found = found.where(~whole_groups(found.group, closed))
    unsure = left.held[found.left] | right.held[found.right] | state.vetoed(found)
    unsure |= traces.is_contested(found, Candidates.concat([undecided, found]))
    unsure = whole_groups(found.group, unsure)
    state.take(found.where(~unsure))
    waiting = found.where(unsure)
    waiting.reason |= np.int64(Reason.WAITS_FOR_HORIZON)
    _, group, sizes = np.unique(waiting.group, return_inverse=True, return_counts=True)
    waiting.group[sizes[group] == 1] = 0
    return waiting


def demote(state: State, at_close: bool, is_part: bool) -> Candidates:
    """Take back what the tiers took and may not decide now, whole groups; their items stay out of
    the tiers. Pairs come back with WAITS_FOR_HORIZON.

    at_close : whether the day is at its close
    is_part : whether the pools are a neighbourhood. The keys of neighbours do not tell which checks
        are in which deposit, so that new matches of checks wait, too

    O(k log k) for k pairs that were taken.
    """
    now_only = state.again.standing is not None and not at_close
    if not is_part and not now_only and state.again.late is None:
        return Candidates.concat([])
    taken = Candidates.concat(state.taken)
    waits = np.zeros(len(taken), np.bool_)
    if is_part:
        waits |= state.payments.rail[taken.right] == Rail.CHECK
    if now_only:
        waits |= _of_close_tiers(state, taken)
    if waits.any():
        waits &= ~_stood(state.again.standing or Pairs.none(), taken)
    if state.again.late is not None:
        left, right = state.again.late
        waits |= left[taken.left] | right[taken.right]
    if not waits.any():
        return Candidates.concat([])
    waits |= (taken.group != 0) & whole_groups(taken.group, waits & (taken.group != 0))
    state.taken[:] = [taken.where(~waits)]
    waiting = taken.where(waits)
    waiting.reason |= np.int64(Reason.WAITS_FOR_HORIZON)
    return waiting


def _of_close_tiers(state: State, taken: Candidates) -> Mask:
    waits: Mask = among(Tier[name] for name in state.policy.close_tiers)[taken.tier]
    return waits


def _stood(standing: Pairs, taken: Candidates) -> Mask:
    """bool[k]: pairs that stood as they are: single ones, and sums of exactly the same rows."""
    if not len(standing):
        return np.zeros(len(taken), np.bool_)
    _, number, sizes = np.unique(standing.match_id, return_inverse=True, return_counts=True)
    order = np.argsort(standing.keys, kind="stable")
    keys = standing.keys[order]
    wanted = pair_keys(taken.left, taken.right)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = keys[place] == wanted
    its = np.where(there, number[order[place]], -1)
    alone = np.arange(len(taken))
    unit = np.where(taken.group == 0, alone, len(taken) + _group_numbers(taken))
    _, unit, counts = np.unique(unit, return_inverse=True, return_counts=True)
    lowest = np.full(len(counts), np.iinfo(np.int64).max)
    highest = np.full(len(counts), -1)
    np.minimum.at(lowest, unit, its)
    np.maximum.at(highest, unit, its)
    same = (lowest == highest) & (lowest >= 0)
    same &= counts == np.append(sizes, 0)[np.where(same, lowest, -1)]
    stood: Mask = same[unit]
    return stood


def _group_numbers(taken: Candidates) -> traces.Int64s:
    return np.unique(taken.group, return_inverse=True)[1].astype(np.int64)
