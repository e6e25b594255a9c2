"""Tiers T8 and T9 without a shared trace root: one payment for several remittances of one payer and
payee, and several payments for one.

Exact sums only. All solutions are counted: two or more are for a person, and so is one whose items
another sum uses as well. The search itself is compiled, see `_bulk.h`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reassoc.core import _bulk, _keys
from reassoc.core._keys import mix
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.ordering import Keys
from reassoc.core.matching.state import Candidates, Mask, Rows, Side, State
from reassoc.core.policy import Policy
from reassoc.core.statuses import Rail, Reason, Tier

SOLUTIONS_SHOWN = _bulk.SOLUTIONS_SHOWN
"""Solutions of one single item that become candidates; all are counted."""

_CONTESTED = np.int64(Reason.SUM_NOT_UNIQUE | Reason.TIE | Reason.BULK_CAPPED | Reason.CONFLICT)


def find_sums(state: State, singles: Candidates, loose: Candidates) -> Candidates:
    """Sums of open items that come to one open item of the other side, to the cent.

    singles : undecided pairs of equal cents; their items take no part
    loose : pairs whose trace and payer agree though their amounts differ (T5); an item that has
        such pairs is only the sum of items that one of them is among

    Candidates of tiers T8 (one payment) and T9 (one remittance), at most SOLUTIONS_SHOWN sums of
    each single item: of the fewest items first, then of the fewest banking days between them and
    the single one, then by ids. The rows of one sum share `group`, made of the ids of its items.

    What takes part is above zero, of a known payer, payee and day, and of equal tenant, rail,
    payer group and payee; the items of a sum are each below the single one's amount and within the
    policy's bulk window of it. Where more items than bulk_items_max would do, or so many that
    bulk_work_max sums could be formed, nothing is guessed: they and the single one get BULK_CAPPED.
    (A search among n items forms up to 2^ceil(n/2) + 2^floor(n/2) sums.)

    reason : SUM_NOT_UNIQUE, the single item has other solutions; TIE, one of the items is part of a
        sum of another single item, shown or not, or traces and payers speak for other sums (see
        _traces_differ); BULK_CAPPED, one of them could also be part of a sum that was not looked
        for; else TIER_TO_REVIEW where the policy does not let the tier match by itself
    rivals : other solutions of the single item, and other single items of whose sums one item is a
        part (that of the item with the most)

    O(n log n) for n open items, and for each search up to the sums said above; about 100 bytes an
    open item.
    """
    rows = (
        _taking_part(state.remittances, singles.left),
        _taking_part(state.payments, singles.right),
    )
    _, blocks = _keys.join(
        _block_keys(state.remittances, rows[0]), _block_keys(state.payments, rows[1])
    )
    ties = _open_ties(state, loose)
    left = _searched(state.remittances, rows[0], ties[0], ties[1])
    right = _searched(state.payments, rows[1], ties[1], ties[0])
    heads, members = _bulk.find_sums(
        blocks, left, right, state.policy.bulk_window_banking_days, _items_max(state.policy)
    )
    state.seen.reason[left.capped] |= np.int64(Reason.BULK_CAPPED)
    state.paid.reason[right.capped] |= np.int64(Reason.BULK_CAPPED)
    if not len(heads):
        return Candidates.concat([])
    return _as_candidates(state, left, right, ties, heads, members)


def take_unique(state: State, found: Candidates, tier: int, may: bool) -> Candidates:
    """Match by themselves, if they `may`, the sums of one tier that are the only one of their
    single item, share no item with another one and hold no item that is held or in conflict with
    another remittance; hand back the rest. Nor where items without a day, which no search takes,
    could be part of another sum.

    Where they may not, they are handed back with TIER_TO_REVIEW. O(k log k).
    """
    if not len(found):
        return found
    _, group = np.unique(found.group, return_inverse=True)
    clear = (found.tier == tier) & (found.group != 0) & (found.reason & _CONTESTED == 0)
    clear &= state.remittances.open[found.left] & state.payments.open[found.right]
    clear &= ~state.remittances.held[found.left] & ~state.payments.held[found.right]
    clear &= ~state.vetoed(found)
    clear &= _of_one_group(found.left, group) & _of_one_group(found.right, group)
    clear &= _adds_up(state, found, group)
    clear &= ~_has_undated_rival(state, found, tier)
    unclear_groups = np.bincount(group, ~clear) > 0
    taken = ~unclear_groups[group]
    review = np.int64(Reason.TIER_TO_REVIEW)
    if not may:
        found.reason[taken] |= review
        return found
    matched = found.where(taken)
    matched.reason &= ~review
    if len(matched):
        state.take(matched)
    return found.where(~taken)


def _has_undated_rival(state: State, found: Candidates, tier: int) -> Mask:
    """bool[k]: an open item of no known day has the payer and payee of the single item, and less
    than its amount."""
    if tier == Tier.T8:
        singles, rows, others = state.payments, found.right, state.remittances
    else:
        singles, rows, others = state.remittances, found.left, state.payments
    undated = others.open & (others.banking_day == DATE_NONE) & (others.cents > 0)
    undated &= (others.payer_group != 0) & (others.payee != 0)
    at = np.flatnonzero(undated).astype(np.int32)
    keys, place = np.unique(_block_keys(others, at), return_inverse=True)
    if not len(keys):
        return np.zeros(len(found), np.bool_)
    least = np.full(len(keys), np.iinfo(np.int64).max)
    np.minimum.at(least, place, others.cents[at])
    wanted = _block_keys(singles, rows)
    where = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    rival: Mask = (keys[where] == wanted) & (least[where] < singles.cents[rows])
    return rival


def _taking_part(side: Side, taken: Rows) -> Rows:
    mask = side.open & (side.payer_group != 0) & (side.payee != 0) & (side.cents > 0)
    mask &= (side.banking_day != DATE_NONE) & (side.rail != Rail.OTHER)
    mask[taken] = False
    return np.flatnonzero(mask).astype(np.int32)


def _block_keys(side: Side, rows: Rows) -> Keys:
    return mix(side.tenant[rows], side.rail[rows], side.payer_group[rows], side.payee[rows])


def _open_ties(state: State, loose: Candidates) -> tuple[Rows, Rows]:
    live = state.remittances.open[loose.left] & state.payments.open[loose.right]
    return loose.left[live], loose.right[live]


def _searched(side: Side, rows: Rows, tied: Rows, tied_to: Rows) -> _bulk.BulkSide:
    order = np.lexsort((tied_to, tied))
    return _bulk.BulkSide(
        rows, side.cents, side.banking_day, side.tenant, side.payer_group, side.payee, side.rail,
        side.order, tied[order], tied_to[order],
    )  # fmt: skip


def _items_max(policy: Policy) -> int:
    """Items of the largest search that the policy allows."""
    items = policy.bulk_items_max
    while items > 0 and _bulk.sums_of(items) > policy.bulk_work_max:
        items -= 1
    return items


def _as_candidates(
    state: State,
    left: _bulk.BulkSide,
    right: _bulk.BulkSide,
    ties: tuple[Rows, Rows],
    heads: Rows,
    members: Rows,
) -> Candidates:
    """Solutions as rows of pairs, with what speaks against each; see find_sums."""
    sizes = heads[:, 3].astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    tier, single, solutions = (np.repeat(heads[:, column], sizes) for column in range(3))
    several_left = tier == Tier.T8
    found_left = np.where(several_left, members, single)
    found_right = np.where(several_left, single, members)

    searches = np.maximum(left.sums[found_left], right.sums[found_right])
    others = np.repeat(np.maximum.reduceat(searches, starts) - np.uint32(1), sizes)
    differ = _traces_differ(ties, found_left, found_right, several_left, starts)
    tie = (others > 0) | np.repeat(differ, sizes)
    near_cap = left.capped[found_left] | right.capped[found_right]
    reason = np.zeros(len(tier), np.int64)
    reason[solutions > 1] |= np.int64(Reason.SUM_NOT_UNIQUE)
    reason[tie] |= np.int64(Reason.TIE)
    reason[np.repeat(np.logical_or.reduceat(near_cap, starts), sizes)] |= np.int64(
        Reason.BULK_CAPPED
    )
    for number in (Tier.T8, Tier.T9):
        if number.name not in state.policy.auto_tiers:
            reason[(tier == number) & (reason == 0)] = np.int64(Reason.TIER_TO_REVIEW)
    hashes = _id_hashes(state, found_left, found_right, several_left)
    group = mix(np.repeat(np.add.reduceat(hashes, starts), sizes))
    return Candidates(
        left=found_left.astype(np.int32, copy=False),
        right=found_right.astype(np.int32, copy=False),
        tier=tier.astype(np.uint8),
        reason=reason,
        rivals=(solutions - 1).astype(np.uint32) + others,
        group=np.maximum(group, np.uint64(1)),
    )


def _id_hashes(state: State, left: Rows, right: Rows, several_left: Mask) -> Keys:
    """uint64[k]: hashes that add up, over the rows of a sum, to one of the ids of its items."""
    of_left = mix(state.left.id_digest[left], state.left.id_offset[left])
    of_right = mix(state.right.id_digest[right], state.right.id_offset[right])
    member = np.where(several_left, of_left, of_right)
    single = np.where(several_left, of_right, of_left)
    return mix(member, single, several_left)


def _traces_differ(
    ties: tuple[Rows, Rows], left: Rows, right: Rows, several_left: Mask, starts: Rows
) -> Mask:
    """bool[sums]: an item that shares trace and payer with the single item is missing from the sum,
    or an item of the sum shares them with others and not with the single item.

    ties : int32[t], int32[t]    rows of remittances and payments that share them
    starts : int64[sums]         first row of each sum among left, right and several_left
    """
    known = np.unique(ties[0].astype(np.int64) << 32 | ties[1])
    here = np.isin(left.astype(np.int64) << 32 | right, known)
    tied_left, tied_right = known >> 32, known & 0xFFFFFFFF
    elsewhere = np.where(several_left, np.isin(left, tied_left), np.isin(right, tied_right)) & ~here
    single = np.where(several_left, right, left)[starts]
    ties_of_single = np.where(
        several_left[starts], _times(single, tied_right), _times(single, tied_left)
    )
    missing = np.add.reduceat(here.astype(np.int64), starts) < ties_of_single
    return missing | np.logical_or.reduceat(elsewhere, starts)


def _times(rows: Rows, among: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64[k]: how often each row stands in `among`."""
    ordered = np.sort(among)
    last = np.searchsorted(ordered, rows, side="right")
    return last - np.searchsorted(ordered, rows)


def _of_one_group(rows: Rows, group: npt.NDArray[np.intp]) -> Mask:
    """bool[k]: the item stands in no other group."""
    order = np.lexsort((group, rows))
    rows_sorted, group_sorted = rows[order], group[order]
    splits = (rows_sorted[1:] == rows_sorted[:-1]) & (group_sorted[1:] != group_sorted[:-1])
    lone = np.ones(len(rows), np.bool_)
    lone[np.isin(rows, rows_sorted[1:][splits])] = False
    return lone


def _adds_up(state: State, found: Candidates, group: npt.NDArray[np.intp]) -> Mask:
    """bool[k]: the group has one single item, and the others come to it, to the cent."""
    several_left = found.tier == Tier.T8
    single = np.where(several_left, found.right, found.left)
    single_cents = np.where(
        several_left, state.payments.cents[found.right], state.remittances.cents[found.left]
    )
    member_cents = np.where(
        several_left, state.remittances.cents[found.left], state.payments.cents[found.right]
    )
    first = np.unique(group, return_index=True)[1][group]
    missing = single_cents[first]
    missing_of_group = missing[np.unique(group, return_index=True)[1]].copy()
    np.subtract.at(missing_of_group, group, member_cents)
    split = np.zeros(len(missing_of_group), np.bool_)
    split[group[(single != single[first]) | (found.tier != found.tier[first])]] = True
    fits: Mask = ((missing_of_group == 0) & ~split)[group]
    return fits
