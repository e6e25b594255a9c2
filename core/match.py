"""The matcher: which payment belongs to which remittance, by tiers and guards.

A pure function over two pools. The outcome depends on what the pools hold, never on the order of
their rows: ties go to review, ids decide which of two duplicates stays, and pairs come out in the
order of ids.

    screening    what no EFT pays, and what is no money, is set aside; duplicates are held
    T0           an 835 inside the CTX entry that pays it
    T1 T2 T3 T5  found by one join on trace and payer, settled from the surest on (`_resolve.h`)

What a tier leaves is what the next one works on.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, build_table
from reassoc.core.matching.ordering import id_keys, ids_ascend, pair_order
from reassoc.core.matching.screening import (
    Flags,
    Mask,
    ScreenedPayments,
    ScreenedRemittances,
    hold_duplicate_payments,
    hold_duplicate_remittances,
    screen_payments,
    screen_remittances,
    set_flag,
)
from reassoc.core.policy import Policy, longest_first
from reassoc.core.pool import PaymentColumns, RemittanceColumns, text_parts
from reassoc.core.statuses import (
    Funding,
    MatchStatus,
    PaymentStatus,
    Rail,
    Reason,
    RemittanceStatus,
    Tier,
    reason_text,
)

if TYPE_CHECKING:
    from reassoc.core.ach import AchFiles
    from reassoc.core.x12_835 import Remittances

__all__ = ["Matches", "match", "reason_text"]

Rows = npt.NDArray[np.int32]
EPOCH = datetime.date(1970, 1, 1)
HEALTHCARE_MARK = b"HCCLAIMPMT"


@dataclass(frozen=True, slots=True, repr=False)
class Matches:
    """What was found. Pairs stand in the order of (remittance id, payment id), items in the order
    of their pool.

    remittance, payment : int32[k]   rows in `remittances` and `payments`
    match_id : uint64[k]             made of both ids; pairs of one bulk match share it
    status, tier : uint8[k]          MatchStatus, Tier
    reason : int64[k]               Reason flags, see reason_text
    agreed, differed : uint16[k]     Field flags; a field that one side lacks is in neither
    rewrites : uint16[k]             Rewrite flags: the normal forms that made trace and payer equal
    rivals : uint32[k]               other candidates that either side had
    days_apart : int32[k]            payment's date less the remittance's; DATE_NONE for none
    funded : bool[k]                 the payment has settled at `as_of`
    remittance_status : uint8[n]     RemittanceStatus        remittance_reason : int64[n]
    release : bool[n]                may be posted now: matched automatically and funded, or no
                                     funds expected; valid on both sides and not held
    payment_status : uint8[m]        PaymentStatus           payment_reason : int64[m]
    payment_funding : uint8[m]       Funding
    remittances, payments            the pools that the rows count in
    """

    remittance: Rows
    payment: Rows
    match_id: npt.NDArray[np.uint64]
    status: npt.NDArray[np.uint8]
    tier: npt.NDArray[np.uint8]
    reason: Flags
    agreed: npt.NDArray[np.uint16]
    differed: npt.NDArray[np.uint16]
    rewrites: npt.NDArray[np.uint16]
    rivals: npt.NDArray[np.uint32]
    days_apart: npt.NDArray[np.int32]
    funded: Mask
    remittance_status: npt.NDArray[np.uint8]
    remittance_reason: Flags
    release: Mask
    payment_status: npt.NDArray[np.uint8]
    payment_reason: Flags
    payment_funding: npt.NDArray[np.uint8]
    remittances: RemittanceColumns
    payments: PaymentColumns

    def __len__(self) -> int:
        return len(self.remittance)

    def __repr__(self) -> str:
        return f"<Matches: {len(self)} pairs>"


def match(
    remittances: RemittanceColumns | Remittances,
    payments: PaymentColumns | AchFiles,
    *,
    policy: Policy | None = None,
    calendar: BankingCalendar | None = None,
    as_of: int | datetime.date | None = None,
) -> Matches:
    """Pair remittances with payments.

    remittances, payments : pools, or what read_835 and read_ach gave; with an AchFiles, the 835s
        that its CTX entries
        carry are added behind the given remittances (see Matches.remittances)
    policy : None is Policy()
    calendar : banking days; needed with `as_of`
    as_of : the day up to which payments count as settled (date, or days since 1970-01-01); None:
        nothing is funded

    Raises ValueError for `as_of` without a calendar, and for a payment_row that is none. O(n + m)
    on average, for blocks of equal trace and payer see _resolve.h; about 150 bytes a row beside the
    pools.
    """
    policy = policy or Policy()
    as_of_day = (as_of - EPOCH).days if isinstance(as_of, datetime.date) else as_of
    if as_of_day is not None and calendar is None:
        raise ValueError("as_of needs a calendar: banking days decide what has settled")
    left, right = _pools(remittances, payments)
    seen, paid = screen_remittances(left, policy), screen_payments(right, as_of_day, calendar)
    left_items, right_items = _items(left, right, seen.hold, paid.hold, policy)
    hold_duplicate_remittances(left, left_items, seen)
    hold_duplicate_payments(right, paid)
    matching = _keys.Matching(
        left_items,
        right_items,
        policy.trace_window_days,
        policy.may_match(),
        seen.reason,
        paid.reason,
    )
    _pair_carried(left, right, seen, paid, matching, policy)
    _pair_by_trace(left, left_items, right_items, seen, paid, matching)
    return _outcome(left, right, seen, paid, matching)


def _pools(
    remittances: RemittanceColumns | Remittances, payments: PaymentColumns | AchFiles
) -> tuple[RemittanceColumns, PaymentColumns]:
    if isinstance(remittances, RemittanceColumns):
        left = remittances
    else:
        left = RemittanceColumns.from_tables(remittances)
    if isinstance(payments, PaymentColumns):
        return left, payments
    carried = RemittanceColumns.from_ach(payments)
    if len(carried):
        left = RemittanceColumns.concat([left, carried])
    return left, PaymentColumns.from_tables(payments)


# ---- keys ----


def _items(
    left: RemittanceColumns,
    right: PaymentColumns,
    left_hold: Flags,
    right_hold: Flags,
    policy: Policy,
) -> tuple[_keys.Items, _keys.Items]:
    """Both sides in normal form. A payment's date is its effective one, else its settlement."""
    payers, affixes = _payer_rules(policy)
    dates = right.effective_date
    undated = dates == DATE_NONE
    if undated.any():
        dates = np.where(undated, right.settlement_date, dates)
    return (
        _keys.Items(
            *text_parts(left.trace), *text_parts(left.payer_id), payers, affixes,
            left.paid_cents, left.effective_date, left.id_digest, left.id_offset, left_hold,
        ),
        _keys.Items(
            *text_parts(right.trace), *text_parts(right.payer_id), payers, affixes,
            right.amount_cents, dates, right.id_digest, right.id_offset, right_hold,
        ),
    )  # fmt: skip


def _payer_rules(policy: Policy) -> tuple[_keys.PayerTable, _keys.Affixes]:
    """The policy's payers in normal form: who is one payer (P2), who is nobody, and the affixes of
    each.

    Set 0 of the affixes is empty, so that payers without any take the short way.
    """
    sets: list[tuple[list[bytes], list[bytes]]] = []

    def affix_set(prefixes: tuple[str, ...], suffixes: tuple[str, ...]) -> int:
        affixes = (
            longest_first([*policy.trace_prefixes, *prefixes]),
            longest_first([*policy.trace_suffixes, *suffixes]),
        )
        if not any(affixes):
            return 0
        sets.append(affixes)
        return len(sets)

    common = affix_set((), ())
    rules = [
        (
            [_keys.payer_form_of(value.encode()) for value in rule.ids],
            affix_set(rule.trace_prefixes, rule.trace_suffixes),
        )
        for rule in policy.payers
    ]
    ignored = [_keys.payer_form_of(value.encode()) for value in policy.ignored_payer_ids]
    return _keys.PayerTable(rules, ignored, common), _keys.Affixes(sets)


# ---- tiers ----


def _pair_carried(
    left: RemittanceColumns,
    right: PaymentColumns,
    seen: ScreenedRemittances,
    paid: ScreenedPayments,
    matching: _keys.Matching,
    policy: Policy,
) -> None:
    """T0: an 835 inside the CTX entry that pays it. Neither takes part in other tiers, whatever
    comes of it.

    By itself only where the entry carries one 835 with money, and the amounts agree. A check or
    card remittance in it is no pair, but keeps its siblings from being one by themselves.
    """
    rows = np.flatnonzero(left.payment_row >= 0)
    rows = rows[(left.paid_cents[rows] != 0) & (seen.status[rows] != RemittanceStatus.DUPLICATE)]
    carriers = left.payment_row[rows]
    if len(rows) and carriers.max() >= len(right):
        raise ValueError(f"payment_row {carriers.max()} is no row of the {len(right)} payments")
    rows, carriers = rows[paid.money[carriers]], carriers[paid.money[carriers]]
    held = ~paid.open[carriers]
    seen.reason[rows[held]] |= np.int64(Reason.CARRIER_NOT_USABLE)
    seen.open[rows[held]] = False
    rows, carriers = rows[~held], carriers[~held]
    siblings = np.bincount(carriers, minlength=len(right))[carriers].astype(np.uint32)
    eft = seen.open[rows] & (seen.rail[rows] == Rail.ACH)
    rows, carriers, siblings = rows[eft], carriers[eft], siblings[eft]
    alone, takes = siblings == 1, seen.hold[rows] == 0
    equal = left.paid_cents[rows] == right.amount_cents[carriers]
    decidable = bool(policy.may_match() & 1)
    status = np.full(len(rows), MatchStatus.REVIEW, np.uint8)
    status[takes & alone & equal & decidable] = MatchStatus.AUTO
    status[takes & alone & ~equal] = MatchStatus.VARIANCE
    tier = np.where(alone & ~equal, np.uint8(Tier.T5), np.uint8(Tier.T0))
    reason = np.zeros(len(rows), np.int64)
    set_flag(reason, ~alone, Reason.CARRIED_SEVERAL)
    set_flag(reason, ~equal, Reason.AMOUNT_DIFFERS)
    set_flag(reason, equal & alone & (not decidable), Reason.TIER_TO_REVIEW)
    matching.put(
        rows.astype(np.int32),
        carriers.astype(np.int32),
        status,
        tier,
        reason,
        siblings - np.uint32(1),
    )
    seen.open[rows] = False
    paid.open[carriers] = False


def _pair_by_trace(
    left: RemittanceColumns,
    left_items: _keys.Items,
    right_items: _keys.Items,
    seen: ScreenedRemittances,
    paid: ScreenedPayments,
    matching: _keys.Matching,
) -> None:
    """T1, T2, T3 and T5, from one join on trace N4 and payer P2."""
    left_on, right_on = _taking_part(left_items, seen), _taking_part(right_items, paid)
    partner, blocks = _keys.join(left_items.keys, right_items.keys, left_on, right_on)
    tin, entity = np.zeros(len(left), np.uint64), np.zeros(len(left), np.uint64)
    if len(blocks):
        rows = np.flatnonzero(partner == _keys.PARTNER_SEVERAL)
        tin[rows] = _keys.text_hashes(*text_parts(left.payee_tin[rows]))
        entity[rows] = _keys.text_hashes(*text_parts(left.payee_entity_id[rows]))
    matching.settle(partner, blocks, tin, entity)


def _taking_part(
    items: _keys.Items, side: ScreenedRemittances | ScreenedPayments
) -> npt.NDArray[np.uint8]:
    traces = items.usable & _keys.USABLE_TRACE != 0
    payers = items.usable & _keys.USABLE_PAYER != 0
    set_flag(side.reason, side.open & ~traces, Reason.NO_TRACE)
    set_flag(side.reason, side.open & ~payers, Reason.NO_PAYER)
    taking = side.open & traces & payers & (side.rail == Rail.ACH)
    flags: npt.NDArray[np.uint8] = taking.view(np.uint8)
    return flags


# ---- the outcome ----


def _canonical_order(
    remittance: Rows, payment: Rows, left: RemittanceColumns, right: PaymentColumns
) -> npt.NDArray[np.int64] | None:
    """The order of pairs by (remittance id, payment id); None where they stand in it already."""
    ascending = (remittance[1:] > remittance[:-1]).all()
    if ascending and ids_ascend(left.id_digest, left.id_offset):
        return None
    left_keys = id_keys(left.id_digest, left.id_offset)[remittance]
    return pair_order(left_keys, id_keys(right.id_digest, right.id_offset)[payment])


# Status of an item by the MatchStatus of its pairs (0 is none). An item has one pair that is AUTO
# or VARIANCE, or any number that are all REVIEW.
_REMITTANCE_OUTCOMES = np.array(
    [
        RemittanceStatus.RECEIVED,
        RemittanceStatus.MATCHED,
        RemittanceStatus.MATCHED_VARIANCE,
        RemittanceStatus.PROBABLE,
    ],
    np.uint8,
)
_PAYMENT_OUTCOMES = np.array(
    [
        PaymentStatus.RECEIVED,
        PaymentStatus.MATCHED,
        PaymentStatus.SUGGESTED,
        PaymentStatus.SUGGESTED,
    ],
    np.uint8,
)


def _outcome(
    left: RemittanceColumns,
    right: PaymentColumns,
    seen: ScreenedRemittances,
    paid: ScreenedPayments,
    matching: _keys.Matching,
) -> Matches:
    funded = matching.put_outcomes(
        np.ascontiguousarray(left.valid).view(np.uint8),
        np.ascontiguousarray(right.valid).view(np.uint8),
        (paid.funding >= Funding.SETTLED).view(np.uint8),
        _REMITTANCE_OUTCOMES,
        _PAYMENT_OUTCOMES,
        seen.status,
        paid.status,
        seen.free.view(np.uint8),
    ).view(np.bool_)
    _explain_remittances(left, seen)
    _explain_payments(right, paid)
    pairs = build_table("pairs", matching.take_pairs(), b"")
    order = _canonical_order(pairs.remittance, pairs.payment, left, right)
    columns: dict[str, Any] = {
        name: pairs[name] if order is None else pairs[name][order] for name in pairs.names
    }
    return Matches(
        **columns,
        funded=funded if order is None else funded[order],
        remittance_status=seen.status,
        remittance_reason=seen.reason,
        release=seen.free,
        payment_status=paid.status,
        payment_reason=paid.reason,
        payment_funding=paid.funding,
        remittances=left,
        payments=right,
    )


def _explain_remittances(left: RemittanceColumns, seen: ScreenedRemittances) -> None:
    wrong = ~left.valid
    if wrong.any():
        wrong &= seen.status != RemittanceStatus.DUPLICATE
        seen.status[wrong] = RemittanceStatus.INVALID
    set_flag(seen.reason, seen.status == RemittanceStatus.AWAITING_EFT, Reason.NO_COUNTERPART)


def _explain_payments(right: PaymentColumns, paid: ScreenedPayments) -> None:
    """Money that has neither a trace nor the mark of health care is no claim payment."""
    marked = _keys.text_equals(*text_parts(right.entry_description), HEALTHCARE_MARK)
    unmarked = paid.money & ~right.has_remittance & ~marked
    set_flag(paid.reason, unmarked, Reason.NO_HEALTHCARE_MARK)
    waiting = paid.status == PaymentStatus.UNMATCHED
    set_flag(paid.reason, waiting, Reason.NO_COUNTERPART)
    if waiting.any():
        traceless = paid.reason & np.int64(Reason.NO_TRACE) != 0
        paid.status[waiting & unmarked & traceless] = PaymentStatus.NOT_CLAIM_PAYMENT
