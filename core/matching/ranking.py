"""Candidates in the order in which a person should look at them, and no more than that person can.

What speaks for a pair is added up in hundredths of bits (`_evidence.h`): trace, payer, payee,
company and days apart by fixed weights, the amount by its rarity. A sum is one candidate: it weighs
as much as the weakest of its pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core import _candidates, _keys
from reassoc.core._keys import mix
from reassoc.core.matching.candidates import sides_of
from reassoc.core.matching.screening import set_flag
from reassoc.core.matching.state import Candidates, Mask, Rows, State
from reassoc.core.statuses import MatchStatus, Reason, Tier

ITEM_WEIGHT = 100
"""Taken off a sum for each item beyond two: with every one, twice as many sums could be."""
RANK_MAX = 65535

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Evidence = npt.NDArray[np.int16]


@dataclass(slots=True)
class Reviewed:
    """Pairs that wait for a person, k rows in the order of (remittance id, payment id).

    left, right, tier, reason, rivals, group   as in Candidates
    status : uint8[k]                 MatchStatus REVIEW or VARIANCE
    weight : int32[k]                 hundredths of bits; of a sum for all its rows
    evidence : int16[k, PARTS]        what trace, payer, payee, amount and date of the pair add; a
                                      sum weighs as its weakest pair, less for its size
    rank, remittance_rank : uint16[k] place among the candidates of its payment, of its remittance,
                                      from 1 on; a sum has one place
    """

    left: Rows
    right: Rows
    tier: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]
    reason: Int64s
    rivals: npt.NDArray[np.uint32]
    group: Keys
    weight: Int32s
    evidence: Evidence
    rank: npt.NDArray[np.uint16]
    remittance_rank: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(slots=True)
class _Units:
    """What a row is a part of: itself, or its sum. Numbers and keys, by row.

    unit : int32[k]            number of the unit: its first row
    first, second : uint64[k]  what tells units apart, whatever the order of rows: the lowest
                               remittance id, then the payment id, or a hash of all ids of a sum
    """

    unit: Int32s
    first: Keys
    second: Keys


def weights(state: State, left: Rows, right: Rows, parts: Evidence | None = None) -> Int32s:
    """int32[k]: what speaks for each pair, in hundredths of bits. O(k), and once O(n + m).

    parts : int16[k, PARTS]   out: what each field adds
    """
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    return sides_of(state).weigh(left, right, parts=parts)


def review(state: State, candidates: Candidates) -> Reviewed:
    """Rank candidates of all tiers and cut them to the policy's `candidates_max` for each item.

    Pairs that people undid say so (VETOED). A pair that two tiers found counts at the surer one;
    one that is part of a sum counts there. Those of items that matched meanwhile are left out, sums
    whole. A candidate stays where it is among the best of its remittance or of its payment, so
    every item keeps its best. A lone pair whose amounts differ, and that nothing holds, is a
    VARIANCE. O(k log k).
    """
    found = candidates
    for wanted in (_still_there, _at_their_best):
        keep = wanted(state, found)
        found = found if keep.all() else found.where(keep)
    set_flag(found.reason, state.vetoed(found), Reason.VETOED)
    status = _statuses(state, found)
    units = _units(state, found)
    weight, evidence = _weights(state, found)
    ranks = _ranks(state, found, units, weight)
    rows = _kept(units, np.minimum(*ranks) <= state.policy.candidates_max)
    if len(rows) < len(found):
        found, status, weight = found.where(rows), status[rows], weight[rows]
        evidence = evidence[rows]
        first_rows = np.searchsorted(rows, units.unit[rows]).astype(np.int32)
        units = _Units(first_rows, units.first[rows], units.second[rows])
        ranks = _ranks(state, found, units, weight)
    return _in_order(state, found, status, units, (weight, evidence), ranks)


# ---- which of them ----


def _still_there(state: State, found: Candidates) -> Mask:
    """Neither item was matched by itself; of a sum, none of all its items."""
    gone = np.zeros(len(found), np.bool_)
    for side, rows in (("left", found.left), ("right", found.right)):
        matched = np.zeros(len(getattr(state, side)), np.bool_)
        for taken in state.taken:
            matched[getattr(taken, side)] = True
        gone |= matched[rows]
    if gone.any():
        gone |= (found.group != 0) & np.isin(found.group, found.group[gone])
    return ~gone


def _at_their_best(state: State, found: Candidates) -> Mask:
    """Rows less those of pairs that stand elsewhere at a surer tier, or, differing in amount, are
    part of a sum."""
    keep = np.ones(len(found), np.bool_)
    pair = found.left.astype(np.int64) << 32 | found.right
    rows = _keys.repeated(pair.view(np.uint64))
    if not len(rows):
        return keep
    pair, tier, single = pair[rows], found.tier[rows], found.group[rows] == 0
    order = np.lexsort([tier, ~single, pair])
    again = pair[order[1:]] == pair[order[:-1]]
    keep[rows[order[1:][again & single[order[1:]]]]] = False
    loose = single & (tier == Tier.T5)
    keep[rows[loose & np.isin(pair, pair[~single])]] = False
    return keep


def _statuses(state: State, found: Candidates) -> npt.NDArray[np.uint8]:
    """VARIANCE for a pair of T5 that is the only candidate of both but for suggestions."""
    status = np.full(len(found), MatchStatus.REVIEW, np.uint8)
    rows = np.flatnonzero(found.tier == Tier.T5)
    if not len(rows):
        return status
    counted = found.tier != Tier.T10
    lone = np.ones(len(rows), np.bool_)
    for column, side in ((found.left, state.remittances), (found.right, state.payments)):
        counts = np.bincount(column[counted], minlength=len(side.open))
        lone &= (counts[column[rows]] == 1) & ~side.held[column[rows]]
    lone &= found.reason[rows] & np.int64(Reason.CONFLICT | Reason.VETOED) == 0
    status[rows[lone]] = MatchStatus.VARIANCE
    return status


# ---- weights and ranks ----


def _units(state: State, found: Candidates) -> _Units:
    unit = np.arange(len(found), dtype=np.int32)
    first = state.remittances.order[found.left]
    second = state.payments.order[found.right]
    rows = np.flatnonzero(found.group)
    if len(rows):
        order, starts, place = _sums(found.group[rows])
        ids = mix(first[rows], second[rows])
        unit[rows] = np.minimum.reduceat(rows[order], starts)[place]
        second[rows] = np.add.reduceat(ids[order], starts)[place]
        first[rows] = np.minimum.reduceat(first[rows][order], starts)[place]
    return _Units(unit, first, second)


def _sums(group: Keys) -> tuple[Int64s, Int64s, Int64s]:
    """The rows of each sum side by side: their order, where each sum starts in it, and the number
    of the sum of each row."""
    order = np.argsort(group, kind="stable")
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = group[order[1:]] != group[order[:-1]]
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(fresh) - 1
    return order, np.flatnonzero(fresh), place


def _weights(state: State, found: Candidates) -> tuple[Int32s, Evidence]:
    evidence = np.empty((len(found), _candidates.PARTS), np.int16)
    rows = np.flatnonzero(found.group)
    if not len(rows):
        return weights(state, found.left, found.right, evidence), evidence
    order, starts, place = _sums(found.group[rows])
    cents = _agreed_cents(state, found.where(rows), order, starts)
    sums = np.zeros(len(found), np.int64)
    sums[rows] = np.where(cents > 0, cents, -1)[place]
    weight = sides_of(state).weigh(found.left, found.right, sums, evidence)
    sizes = np.diff(np.append(starts, len(rows)))
    least = np.minimum.reduceat(weight[rows][order], starts)
    weight[rows] = (least - ITEM_WEIGHT * np.maximum(sizes - 2, 0))[place]
    return weight, evidence


def _agreed_cents(state: State, pairs: Candidates, order: Int64s, starts: Int64s) -> Int64s:
    """int64[sums]: what each sum comes to on both sides, 0 where they differ."""
    left, right = pairs.left[order], pairs.right[order]
    paid, advised = state.payments.cents[right], state.remittances.cents[left]
    one_payment = pairs.tier[order[starts]] == Tier.T8
    parts = np.where(one_payment, np.add.reduceat(advised, starts), np.add.reduceat(paid, starts))
    whole = np.where(one_payment, paid[starts], advised[starts])
    agreed: Int64s = np.where(parts == whole, whole, 0)
    return agreed


def _ranks(state: State, found: Candidates, units: _Units, weight: Int32s) -> tuple[Int32s, Int32s]:
    """Ranks among the candidates of the remittance, and among those of the payment."""
    ranks = [
        _candidates.rank(rows, len(side.open), weight, units.first, units.second, units.unit)[1]
        for rows, side in ((found.left, state.remittances), (found.right, state.payments))
    ]
    return ranks[0], ranks[1]


def _kept(units: _Units, among_best: Mask) -> Int64s:
    """Rows of the units of which any row is among the best."""
    kept = np.zeros(len(units.unit), np.bool_)
    kept[units.unit[among_best]] = True
    return np.flatnonzero(kept[units.unit])


# ---- order ----


def _in_order(
    state: State,
    found: Candidates,
    status: npt.NDArray[np.uint8],
    units: _Units,
    weights_and_evidence: tuple[Int32s, Evidence],
    ranks: tuple[Int32s, Int32s],
) -> Reviewed:
    ids = state.remittances.order
    place = found.left
    if not (ids[1:] > ids[:-1]).all():
        places = np.empty(len(ids), np.int32)
        places[np.argsort(ids, kind="stable")] = np.arange(len(ids), dtype=np.int32)
        place = places[found.left]
    order, _ = _candidates.rank(
        place,
        len(ids),
        np.zeros(len(found), np.int32),
        state.payments.order[found.right],
        units.second,
        np.arange(len(found), dtype=np.int32),
    )
    found = found.where(order)
    weight, evidence = weights_and_evidence
    left_rank, right_rank = (np.minimum(rank[order], RANK_MAX).astype(np.uint16) for rank in ranks)
    return Reviewed(
        left=found.left,
        right=found.right,
        tier=found.tier,
        status=status[order],
        reason=found.reason,
        rivals=found.rivals,
        group=found.group,
        weight=weight[order],
        evidence=evidence[order],
        rank=right_rank,
        remittance_rank=left_rank,
    )
