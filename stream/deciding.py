"""One matching inside a step: the live items through `core.match`, and what that means for them.

Written into the live columns: statuses, reasons and funding. Given back: the pairs that stand now,
and which remittances may be released.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.directory import Directory
from reassoc.core.match import Links, Matches, match
from reassoc.core.matching.again import Pairs, whole_groups
from reassoc.core.matching.neighbours import waits_for_close
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import (
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Tier,
    among,
)
from reassoc.stream.items import PAIR, ItemFlag, id_bytes
from reassoc.stream.live import Columns, Live, Mask, Rows, lookup, pair_ids
from reassoc.stream.records import take

LOOSE_TIERS = (Tier.T4, Tier.T6, Tier.T7, Tier.T8, Tier.T9, Tier.T10)
"""Tiers that only the clock looks at: what they found then is shown until the next entry."""
_IS_LOOSE = among(LOOSE_TIERS)
_IS_FOUND_AGAIN = among((Tier.T0, Tier.T1, Tier.T2, Tier.T3))
"""Tiers of which the matcher finds by itself what went back."""
DORMANT = 0
"""Status of a pair that stood at the last clock entry and does not stand now: it is not shown."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What decides beside the items.

    day : the last banking day whose credits are final, DATE_NONE before the first
    at_close, at_clock : the step is a close; is a clock entry
    positions : int64[t]   of the step on the log of each tenant
    """

    policy: Policy
    directory: Directory | None
    calendar: BankingCalendar
    day: int
    at_close: bool
    at_clock: bool
    positions: npt.NDArray[np.int64]


@dataclass(slots=True)
class Decided:
    """What a matching says, by rows of the live sides.

    pairs : rows of items.PAIR, dormant ones among them
    pair_owner : int64[k]   whose they are, see live.Side
    pair_remittance, pair_payment : int64[k]   rows of the sides
    may_release : bool[n]   matched by itself and funded, or free of funds; valid
    links                   between rows of payments, see core Links; in rows of the side
    """

    pairs: Columns
    pair_owner: Rows
    pair_remittance: Rows
    pair_payment: Rows
    may_release: Mask
    links: Links

    @classmethod
    def nothing(cls) -> Decided:
        """Of no items."""
        rows, days = np.zeros(0, np.int32), np.zeros(0, np.int32)
        codes, none = np.zeros(0, np.uint8), np.zeros(0, np.int64)
        links = Links(rows, rows, codes, codes, days)
        return cls(PAIR.empty(), none, none, none, np.zeros(0, np.bool_), links)


def decide(live: Live, setting: Setting) -> Decided:
    """Match the live items. O(items), see core.match. PERF: a tenant that has none yet is told
    settings and time as well, which took milliseconds."""
    if not (len(live.remittances) or len(live.payments) or len(live.basis["status"])):
        return Decided.nothing()
    left, right, left_rows, right_rows = live.pools()
    released = live.remittances.has(ItemFlag.RELEASED)[left_rows]
    aside = live.payments.aside[right_rows]
    stored = _Stored(live, left_rows, right_rows)
    matches = match(
        left,
        right,
        policy=setting.policy,
        calendar=setting.calendar,
        as_of=setting.day if setting.day != DATE_NONE else None,
        directory=setting.directory,
        released=released,
        at_close=setting.at_close,
        pins=stored.pairs(stored.pinned()),
        vetoes=stored.vetoes(),
        standing=stored.pairs(stored.standing()),
        late=(live.remittances.late[left_rows], live.payments.late[right_rows]),
        spoken=_spoken(live, left_rows, right_rows),
        aside=aside if aside.any() else None,
        surest_only=not live.whole,
    )
    _take_statuses(live, matches, left_rows, right_rows, _told_less(live, right, matches))
    owner = live.remittances.owner[left_rows[matches.remittance]]
    pairs = _pairs_of(matches, setting.positions[owner])
    known = lookup(pair_ids(live.basis), pair_ids(pairs))
    pairs["person"] = _inherited(live.basis, known, "person")
    made = np.append(live.basis["made_position"], 0)[known]
    pairs["made_position"] = np.where(known >= 0, made, pairs["made_position"])
    _keep_explanations(pairs, live.basis, known)
    if setting.at_clock:
        pairs["standing"] = pairs["status"] == MatchStatus.AUTO
    else:
        pairs["standing"] = _inherited(live.basis, known, "standing")
        pairs, owner = _with_kept(live, pairs, owner, not live.whole)
    remittance = lookup(live.remittances.ids, _ids(pairs, "remittance"))
    payment = lookup(live.payments.ids, _ids(pairs, "payment"))
    _show_candidates(live, pairs, remittance, payment)
    people = pairs["person"]
    _unpin(live.remittances.rows["reason"], left_rows, remittance[people])
    _unpin(live.payments.rows["reason"], right_rows, payment[people])
    may_release = np.zeros(len(live.remittances), np.bool_)
    may_release[left_rows] = matches.release
    links = _links_of(live, matches, right_rows)
    return Decided(pairs, owner, remittance, payment, may_release, links)


def keep_released(decided: Decided, released: Mask) -> None:
    """What a remittance is released with stands from now on, as what a clock entry has seen does.

    released : bool[n]   remittances that this step releases
    """
    made = np.flatnonzero(decided.pairs["status"] == MatchStatus.AUTO)
    decided.pairs["standing"][made] |= released[decided.pair_remittance[made]]


_NEW_EACH_TIME = ("status", "funded", "standing", "person", "made_position", "reason")
_RIVAL = int(Reason.RIVAL | Reason.RIVAL_AFTER_RELEASE)


def _keep_explanations(pairs: Columns, stored: Columns, known: Rows) -> None:
    """A match that the matcher made and that stands because it was released says why it was made,
    and what has come up since: the matcher itself only sees that it stands."""
    pinned = pairs["reason"] & int(Reason.PINNED) != 0
    rows = np.flatnonzero(pinned & ~pairs["person"] & (known >= 0))
    if not len(rows):
        return
    at = known[rows]
    for name in PAIR.types:
        if name not in _NEW_EACH_TIME:
            pairs[name][rows] = stored[name][at]
    waited = int(Reason.NOT_SETTLED)
    pairs["reason"][rows] = stored["reason"][at] & ~waited | pairs["reason"][rows] & _RIVAL


def _unpin(reason: npt.NDArray[np.int64], rows: Rows, of_people: Rows) -> None:
    """The same for the items, `rows` of a side: only what people matched is pinned to be seen. Else
    each release would change its items once more, when the next clock entry looks at them."""
    pinned = np.zeros(len(reason), np.bool_)
    pinned[rows] = True
    pinned[of_people] = False
    reason[pinned] &= ~np.int64(Reason.PINNED)


def _ids(pairs: Columns, side: str) -> npt.NDArray[np.uint8]:
    return id_bytes(pairs[f"{side}_digest"], pairs[f"{side}_offset"])


class _Stored:
    """Pairs of the state as the matcher takes them: by rows of its pools. PERF: most small steps
    meet none, and each of these would take dozens of calls to say so."""

    def __init__(self, live: Live, left_rows: Rows, right_rows: Rows) -> None:
        self._live = live
        self._left = _places(left_rows, len(live.remittances))
        self._right = _places(right_rows, len(live.payments))

    def pinned(self) -> Mask:
        """bool[k]: rows of matches that people made, or of which a remittance was released.

        What a released remittance is matched with later is no pin until a clock entry has seen it:
        between two of them the first payment that comes must not shut out the next.
        """
        pairs = self._live.basis
        if not len(pairs["status"]):
            return np.zeros(0, np.bool_)
        at = lookup(self._live.remittances.ids, _ids(pairs, "remittance"))
        released = np.append(self._live.remittances.has(ItemFlag.RELEASED), False)[at]
        undone = pairs["status"] == MatchStatus.UNMATCHED
        released &= pairs["standing"] | undone
        told = undone | (pairs["status"] == MatchStatus.AUTO)
        pinned: Mask = told & whole_groups(pairs["match_id"], told & (pairs["person"] | released))
        return pinned

    def standing(self) -> Mask:
        """bool[k]: rows of other matches that stood at the last clock entry, or that went back
        since and that no tier finds by itself."""
        pairs = self._live.basis
        lost = (pairs["status"] == MatchStatus.UNMATCHED) & ~_IS_FOUND_AGAIN[pairs["tier"]]
        standing: Mask = (pairs["standing"] | lost) & ~self.pinned()
        return standing

    def pairs(self, wanted: Mask) -> Pairs:
        """Those of which all items take part."""
        rows = np.flatnonzero(wanted)
        if not len(rows):
            return Pairs.none()
        pairs = take(self._live.basis, rows)
        left, right, both = self._rows(pairs)
        groups = pairs["match_id"][both]
        whole = ~np.isin(groups, pairs["match_id"][~both]) if not both.all() else both
        return Pairs(left[whole], right[whole], groups[whole], pairs["tier"][both][whole])

    def vetoes(self) -> Pairs:
        if not len(self._live.vetoes["position"]):
            return Pairs.none()
        left, right, _ = self._rows(self._live.vetoes)
        return Pairs(left, right, np.zeros(len(left), np.uint64), np.zeros(len(left), np.uint8))

    def _rows(self, pairs: Columns) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Mask]:
        left = self._left[lookup(self._live.remittances.ids, _ids(pairs, "remittance"))]
        right = self._right[lookup(self._live.payments.ids, _ids(pairs, "payment"))]
        both = (left >= 0) & (right >= 0)
        return left[both], right[both], both


def _places(rows: Rows, count: int) -> npt.NDArray[np.int32]:
    """int32[count + 1]: place of each row among `rows`, -1 for none; the last one is for -1."""
    places = np.full(count + 1, -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return places


def _spoken(live: Live, left_rows: Rows, right_rows: Rows) -> tuple[Mask, Mask] | None:
    """bool[n], bool[m]: items that a person holds, or of which a match was undone."""
    left, right = live.remittances, live.payments
    held = left.has(ItemFlag.HELD) | (left.rows["generation"] != 0)
    undone = right.rows["generation"] != 0
    if not (held.any() or undone.any()):
        return None
    return held[left_rows], undone[right_rows]


_WENT_BACK = among((PaymentStatus.RETURNED, PaymentStatus.REVERSED))


def _told_less(live: Live, right: PaymentColumns, matches: Matches) -> Mask:
    """bool[m]: payments of the pool of which a part of the items tells less than the last clock
    entry did: checks and deposits that no match is about, now or before."""
    if live.whole:
        return np.zeros(len(right), np.bool_)
    rows = live.payments.active
    made = np.zeros(len(right), np.bool_)
    made[matches.payment[matches.status == MatchStatus.AUTO]] = True
    was = _HAS_MATCH[live.payments.rows["status"][rows]]
    less: Mask = waits_for_close(right) & ~live.payments.fresh[rows] & ~made & ~was
    return less


def _take_statuses(
    live: Live, matches: Matches, left_rows: Rows, right_rows: Rows, told_less: Mask
) -> None:
    """Statuses, reasons and funding of the items that took part. What was released, or
    written to suspense, stays so unless its money went back; of what was moved only that is told.
    """
    rows = live.remittances.rows
    status = matches.remittance_status.copy()
    released = live.remittances.has(ItemFlag.RELEASED)[left_rows]
    status[released & (status != RemittanceStatus.UNMATCHED_BY_RETURN)] = RemittanceStatus.RELEASED
    rows["status"][left_rows] = status
    rows["reason"][left_rows] = matches.remittance_reason
    rows, told = live.payments.rows, ~told_less
    status = matches.payment_status.copy()
    kept = live.payments.aside[right_rows] & ~_WENT_BACK[status]
    moved = live.payments.has(ItemFlag.MOVED)[right_rows]
    status[kept] = PaymentStatus.WRITTEN_TO_SUSPENSE
    told &= ~(kept & moved)
    for name, column in (
        ("status", status),
        ("reason", matches.payment_reason),
        ("funding", matches.payment_funding),
    ):
        rows[name][right_rows[told]] = column[told]


def _pairs_of(matches: Matches, positions: npt.NDArray[np.int64]) -> Columns:
    pairs: Columns = {}
    for side, pool, rows in (
        ("remittance", matches.remittances, matches.remittance),
        ("payment", matches.payments, matches.payment),
    ):
        pairs[f"{side}_digest"] = pool.id_digest[rows]
        pairs[f"{side}_offset"] = pool.id_offset[rows]
    for name in PAIR.types:
        if name.startswith("evidence"):
            pairs[name] = np.ascontiguousarray(matches.evidence[:, int(name[-1])])
        elif hasattr(Matches, name) and name not in pairs:
            pairs[name] = getattr(matches, name)
    none = np.zeros(len(matches), np.bool_)
    pairs["standing"] = pairs["person"] = none
    pairs["made_position"] = positions
    return {name: pairs[name] for name in PAIR.types}


def _inherited(stored: Columns, known: Rows, name: str) -> Mask:
    """bool[k]: the flag that a pair has in the state, False for new ones (-1)."""
    flags: Mask = np.append(stored[name], False)[known]
    return flags


def _with_kept(live: Live, pairs: Columns, owner: Rows, is_part: bool) -> tuple[Columns, Rows]:
    """Add pairs of the state that this matching does not speak of: candidates of tiers that were
    not run, while both items wait, and the memory of what stood at the last clock entry."""
    stored = live.basis
    if not len(stored["status"]):
        return pairs, owner
    fresh = lookup(pair_ids(pairs), pair_ids(stored)) < 0
    keep = np.zeros(len(fresh), np.bool_)
    if is_part:
        waiting = _waiting(live, stored)
        loose = _IS_LOOSE[stored["tier"]] & (stored["status"] == MatchStatus.REVIEW)
        keep = fresh & loose & waiting
    dormant = fresh & stored["standing"] & ~keep
    kept, dormant = np.flatnonzero(keep), np.flatnonzero(dormant)
    asleep = take(stored, dormant)
    asleep["status"] = np.full(len(dormant), DORMANT, np.uint8)
    owners = [owner, live.basis_owner[kept], live.basis_owner[dormant]]
    return PAIR.concat([pairs, take(stored, kept), asleep]), np.concatenate(owners)


_REMITTANCE_WAITS = (
    RemittanceStatus.AWAITING_EFT,
    RemittanceStatus.AWAITING_CHECK,
    RemittanceStatus.AWAITING_WIRE,
    RemittanceStatus.PROBABLE,
    RemittanceStatus.UNMATCHED_BY_RETURN,
)
_REMITTANCE_WAITS_FOR = among(_REMITTANCE_WAITS)
_REMITTANCE_IS_ALONE = among(_REMITTANCE_WAITS[:3])
_PAYMENT_WAITS = among((PaymentStatus.UNMATCHED, PaymentStatus.SUGGESTED))
_HAS_MATCH = among((PaymentStatus.MATCHED, PaymentStatus.PARTIAL))


def _waiting(live: Live, pairs: Columns) -> Mask:
    """bool[k]: pairs of which both items still wait."""
    left = lookup(live.remittances.ids, _ids(pairs, "remittance"))
    right = lookup(live.payments.ids, _ids(pairs, "payment"))
    waits_left = np.append(_REMITTANCE_WAITS_FOR[live.remittances.rows["status"]], False)
    waits_right = np.append(_PAYMENT_WAITS[live.payments.rows["status"]], False)
    waiting: Mask = waits_left[left] & waits_right[right]
    return waiting


def _show_candidates(live: Live, pairs: Columns, remittance: Rows, payment: Rows) -> None:
    """Items that have candidates for a person say so; payments of which people matched a part."""
    review = pairs["status"] == MatchStatus.REVIEW
    shown = np.unique(remittance[review & (pairs["tier"] != Tier.T10)])
    status = live.remittances.rows["status"]
    waits = _REMITTANCE_IS_ALONE[status[shown]]
    status[shown[waits]] = RemittanceStatus.PROBABLE
    status = live.payments.rows["status"]
    shown = np.unique(payment[review])
    status[shown[status[shown] == PaymentStatus.UNMATCHED]] = PaymentStatus.SUGGESTED
    made = (pairs["status"] == MatchStatus.AUTO) & pairs["person"]
    rest = made & (pairs["difference_cents"] > 0)
    rows = payment[rest]
    status[rows[status[rows] == PaymentStatus.MATCHED]] = PaymentStatus.PARTIAL


def _links_of(live: Live, matches: Matches, right_rows: Rows) -> Links:
    links = matches.links
    told = np.ones(len(links), np.bool_)
    if not live.whole:
        waits = waits_for_close(matches.payments)
        told = ~(waits[links.payment] | waits[links.other])
    return Links(
        right_rows[links.payment[told]].astype(np.int32),
        right_rows[links.other[told]].astype(np.int32),
        links.kind[told],
        links.status[told],
        links.days_apart[told],
    )
