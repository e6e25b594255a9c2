"""What was found, put together: pairs with their explanations, and what they mean for items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys, _tiers
from reassoc.core._candidates import PARTS
from reassoc.core.matching.ordering import ids_ascend, pair_order
from reassoc.core.matching.ranking import Reviewed
from reassoc.core.matching.screening import Flags, Mask, set_flag
from reassoc.core.matching.state import Candidates, Rows, State
from reassoc.core.pool import text_parts
from reassoc.core.statuses import (
    Field,
    Funding,
    MatchStatus,
    PaymentStatus,
    Rail,
    Reason,
    RemittanceStatus,
    Tier,
)

HEALTHCARE_MARK = b"HCCLAIMPMT"
_BLOCKING = Reason.REMITTANCE_INVALID | Reason.PAYMENT_INVALID | Reason.NOT_SETTLED
"""Reasons that keep what is matched from being released."""
_WENT_BACK = Reason.RETURNED | Reason.REVERSED
"""What a payment of a match says of itself, and not of the others of its match."""


@dataclass(slots=True)
class Decided:
    """Pairs with what was decided about them; k rows, columns as in Matches."""

    remittance: Rows
    payment: Rows
    match_id: npt.NDArray[np.uint64]
    status: npt.NDArray[np.uint8]
    tier: npt.NDArray[np.uint8]
    reason: Flags
    rivals: npt.NDArray[np.uint32]
    weight: npt.NDArray[np.int32]
    evidence: npt.NDArray[np.int16]
    rank: npt.NDArray[np.uint16]
    remittance_rank: npt.NDArray[np.uint16]

    @classmethod
    def sure(cls, pairs: Candidates, status: MatchStatus) -> Decided:
        """Pairs that have no rivals: each is its items' first candidate, and needs no weighing."""
        ones = np.ones(len(pairs), np.uint16)
        weight = np.zeros(len(pairs), np.int32)
        no_evidence = np.broadcast_to(np.zeros(PARTS, np.int16), (len(pairs), PARTS))
        return cls(
            pairs.left, pairs.right, pairs.group, np.full(len(pairs), status, np.uint8),
            pairs.tier, pairs.reason, pairs.rivals, weight, no_evidence, ones, ones,
        )  # fmt: skip

    @classmethod
    def reviewed(cls, pairs: Reviewed) -> Decided:
        """Candidates in their ranking."""
        return cls(
            pairs.left, pairs.right, pairs.group, pairs.status, pairs.tier, pairs.reason,
            pairs.rivals, pairs.weight, pairs.evidence, pairs.rank, pairs.remittance_rank,
        )  # fmt: skip

    @classmethod
    def concat(cls, parts: list[Decided]) -> Decided:
        """Pairs one after the other. The parts are used up, a column at a time: they are large."""
        columns = []
        for name in cls.__slots__:
            columns.append(np.concatenate([getattr(part, name) for part in parts]))
            for part in parts:
                delattr(part, name)
        return cls(*columns)

    def put_in_order(self, order: npt.NDArray[np.int64] | None) -> None:
        """Take the rows in another order, a column at a time: together they are large."""
        if order is not None:
            for name in Decided.__slots__:
                setattr(self, name, getattr(self, name)[order])


def describe(state: State, decided: Decided, kernel: _tiers.Matching) -> dict[str, Any]:
    """Columns of Matches that follow from the pairs, those of `decided` among them, in the order of
    (remittance id, payment id, match id). O(k log k) where the pools are in another order."""
    decided.put_in_order(_canonical_order(state, decided))
    columns: dict[str, Any] = {name: getattr(decided, name) for name in Decided.__slots__}
    left, right = columns["remittance"], columns["payment"]
    agreed, differed, rewrites, days_apart = kernel.describe(left, right, columns["match_id"])
    _compare_companies(state, left, right, agreed, differed)
    settled = state.paid.funding >= Funding.SETTLED
    funded = settled[right]
    columns["reason"] = _reasons(state, columns, funded)
    differences = _differences(state, columns)
    _compare_sums(columns["tier"], differences, agreed, differed)
    _compare_pinned(state, columns, differences, agreed, differed)
    return {
        **columns,
        "agreed": agreed,
        "differed": differed,
        "rewrites": rewrites,
        "days_apart": days_apart,
        "funded": funded,
        "difference_cents": differences,
    }


def _canonical_order(state: State, decided: Decided) -> npt.NDArray[np.int64] | None:
    """The order of pairs by (remittance id, payment id); None where they stand in it already."""
    left = decided.remittance
    ascending = (left[1:] > left[:-1]).all()
    if ascending and ids_ascend(state.left.id_digest, state.left.id_offset):
        return None
    right = state.payments.order[decided.payment]
    return pair_order(state.remittances.order[left], right, decided.match_id)


def _compare_sums(
    tier: npt.NDArray[np.uint8],
    differences: npt.NDArray[np.int64],
    agreed: npt.NDArray[np.uint16],
    differed: npt.NDArray[np.uint16],
) -> None:
    """The amounts of a sum agree where the sum does."""
    exact = ((tier == Tier.T8) | (tier == Tier.T9)) & (differences == 0)
    if exact.any():
        agreed[exact] |= np.uint16(Field.AMOUNT)
        differed[exact] &= ~np.uint16(Field.AMOUNT)


def _compare_pinned(
    state: State,
    columns: dict[str, Any],
    differences: npt.NDArray[np.int64],
    agreed: npt.NDArray[np.uint16],
    differed: npt.NDArray[np.uint16],
) -> None:
    """People match several with several: the difference of each row is that of its whole match,
    each item counted once, and the amounts agree where the match does."""
    if not len(state.pinned):
        return
    rows = np.flatnonzero(columns["reason"] & np.int64(Reason.PINNED))
    _, match = np.unique(columns["match_id"][rows], return_inverse=True)
    total = np.zeros(int(match.max()) + 1, np.int64)
    for column, cents, sign in (
        (columns["payment"][rows], state.payments.cents, 1),
        (columns["remittance"][rows], state.remittances.cents, -1),
    ):
        _, once = np.unique(match << 32 | column, return_index=True)
        np.add.at(total, match[once], sign * cents[column[once]])
    differences[rows] = total[match]
    several = rows[np.bincount(match)[match] > 1]
    exact, other = several[differences[several] == 0], several[differences[several] != 0]
    for some, holds, fails in ((exact, agreed, differed), (other, differed, agreed)):
        holds[some] |= np.uint16(Field.AMOUNT)
        fails[some] &= ~np.uint16(Field.AMOUNT)


def _compare_companies(
    state: State,
    left: Rows,
    right: Rows,
    agreed: npt.NDArray[np.uint16],
    differed: npt.NDArray[np.uint16],
) -> None:
    """Whether the company identifier, beside TRN03, means the remittance's payer."""
    company = state.company_group
    if company is None:
        return
    a, b = state.remittances.payer_group[left], company[right]
    known = (a != 0) & (b != 0)
    agreed[known & (a == b)] |= np.uint16(Field.COMPANY)
    differed[known & (a != b)] |= np.uint16(Field.COMPANY)


def _reasons(state: State, columns: dict[str, Any], funded: Mask) -> Flags:
    left, right = columns["remittance"], columns["payment"]
    reason: Flags = columns["reason"]
    reason |= state.seen.hold[left]
    reason |= state.paid.hold[right]
    undone = np.flatnonzero(columns["status"] == MatchStatus.UNMATCHED)
    reason[undone] |= state.paid.reason[right[undone]] & np.int64(_WENT_BACK)
    set_flag(reason, ~state.left.valid[left], Reason.REMITTANCE_INVALID)
    set_flag(reason, ~state.right.valid[right], Reason.PAYMENT_INVALID)
    set_flag(reason, (columns["status"] == MatchStatus.AUTO) & ~funded, Reason.NOT_SETTLED)
    return reason


def _differences(state: State, columns: dict[str, Any]) -> npt.NDArray[np.int64]:
    """int64[k]: payments less remittances, of a pair or of all rows of one sum."""
    left, right, tier = columns["remittance"], columns["payment"], columns["tier"]
    differences: npt.NDArray[np.int64] = state.payments.cents[right]
    differences -= state.remittances.cents[left]
    rows = np.flatnonzero((tier == Tier.T8) | (tier == Tier.T9))
    if len(rows):
        paid, advised = state.payments.cents[right[rows]], state.remittances.cents[left[rows]]
        _, first, number = np.unique(
            columns["match_id"][rows], return_index=True, return_inverse=True
        )
        sums = np.zeros((2, len(first)), np.int64)
        np.add.at(sums[0], number, paid)
        np.add.at(sums[1], number, advised)
        bulk = tier[rows[first]] == Tier.T8
        total = np.where(bulk, paid[first] - sums[1], sums[0] - advised[first])
        differences[rows] = total[number]
    return differences


# ---- what the pairs mean for their items ----


def conclude(state: State, columns: dict[str, Any], released: Mask | None) -> None:
    """Statuses and reasons of items by their pairs, and what may be released. O(k + n + m)."""
    seen, paid = state.seen, state.paid
    left, right = columns["remittance"], columns["payment"]
    status, reason, tier = columns["status"], columns["reason"], columns["tier"]
    review, suggestion = status == MatchStatus.REVIEW, tier == Tier.T10
    seen.status[left[review & ~suggestion]] = RemittanceStatus.PROBABLE
    paid.status[right[review]] = PaymentStatus.SUGGESTED
    variance = status == MatchStatus.VARIANCE
    seen.status[left[variance]] = RemittanceStatus.MATCHED_VARIANCE
    paid.status[right[variance]] = PaymentStatus.SUGGESTED
    undone = status == MatchStatus.UNMATCHED
    seen.status[left[undone]] = RemittanceStatus.UNMATCHED_BY_RETURN
    if released is not None:
        late = undone & released[left]
        set_flag(reason, late, Reason.RETURN_AFTER_RELEASE)
    sure = status == MatchStatus.AUTO
    seen.status[left[sure]] = RemittanceStatus.MATCHED
    paid.status[right[sure]] = PaymentStatus.MATCHED
    told = np.flatnonzero(reason != 0)
    np.bitwise_or.at(seen.reason, left[told], reason[told])
    np.bitwise_or.at(paid.reason, right[told], reason[told] & ~np.int64(_WENT_BACK))
    blocked = reason & np.int64(_BLOCKING) != 0
    if len(state.pinned):
        # Of two that say the same a person may have matched the one: it is not handed on twice.
        blocked |= seen.reason[left] & np.int64(Reason.DUPLICATE) != 0
    seen.free[left[sure & ~blocked]] = True
    seen.free[left[sure & blocked]] = False
    if released is not None:
        seen.free &= ~released
    _explain_remittances(state)
    _explain_payments(state)


_WAITING = (
    RemittanceStatus.AWAITING_EFT,
    RemittanceStatus.AWAITING_CHECK,
    RemittanceStatus.AWAITING_WIRE,
)


def _explain_remittances(state: State) -> None:
    seen, valid = state.seen, state.left.valid
    kept = (RemittanceStatus.DUPLICATE, RemittanceStatus.QUARANTINED)
    if not valid.all():
        seen.status[~valid & ~np.isin(seen.status, kept)] = RemittanceStatus.INVALID
    waiting = seen.status == RemittanceStatus.AWAITING_EFT
    for status in _WAITING[1:]:
        waiting |= seen.status == status
    set_flag(seen.reason, waiting, Reason.NO_COUNTERPART)


def _explain_payments(state: State) -> None:
    """An ACH credit that has neither a trace nor the mark of health care is no claim payment."""
    right, paid = state.right, state.paid
    marked = _keys.text_equals(*text_parts(right.entry_description), HEALTHCARE_MARK)
    unmarked = paid.money & (paid.rail == Rail.ACH) & ~right.has_remittance & ~marked
    set_flag(paid.reason, unmarked, Reason.NO_HEALTHCARE_MARK)
    waiting = paid.status == PaymentStatus.UNMATCHED
    set_flag(paid.reason, waiting, Reason.NO_COUNTERPART)
    if waiting.any():
        traceless = paid.reason & np.int64(Reason.NO_TRACE) != 0
        paid.status[waiting & unmarked & traceless] = PaymentStatus.NOT_CLAIM_PAYMENT
