"""The matcher: which payment belongs to which remittance, by the tiers and guards that the policy allows.

A pure function over two pools. The outcome depends on what the pools hold, never on the order of their rows: ties go
to review, ids decide which of two duplicates stays, and pairs come out in the order of ids.

Order of work: items that money cannot move are set aside (`_remittances_seen`, `_payments_seen`), duplicates are held,
835s are paired with the CTX entry that carried them (T0), and one join on trace and payer finds the rest (T1, T2, T3,
T5: see `_resolve.h`). What a tier leaves is what the next one works on.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.ach import AchFiles, EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, TextColumn, build_table
from reassoc.core.policy import Policy, longest_first
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.reference_keys import payer_form
from reassoc.core.statuses import (
    Funding,
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Tier,
    reason_text,
)

if TYPE_CHECKING:
    from reassoc.core.x12_835 import Remittances

__all__ = ["Matches", "match", "reason_text"]

Flags = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
EPOCH = datetime.date(1970, 1, 1)
HEALTHCARE_MARK = b"HCCLAIMPMT"


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found. Pairs are parallel arrays in the order of (remittance id, payment id); items are in pool order.

    remittance, payment : int32[k]   rows in `remittances` and `payments`
    match_id : uint64[k]             made of both ids; pairs of one bulk match share it
    status, tier : uint8[k]          MatchStatus, Tier
    reason : uint32[k]               Reason flags
    agreed, differed : uint16[k]     Field flags; a field that one side lacks is in neither
    rewrites : uint16[k]             Rewrite flags: the normal forms that made trace and payer equal
    rivals : uint32[k]               other candidates that either side had
    days_apart : int32[k]            payment's effective date less the remittance's; DATE_NONE where one is missing
    funded : bool[k]                 the payment has settled at `as_of`
    remittance_status : uint8[n]     RemittanceStatus        remittance_reason : uint32[n]
    release : bool[n]                may be posted now: funded automatic match, or no funds expected; valid, not held
    payment_status : uint8[m]        PaymentStatus           payment_reason : uint32[m]
    payment_funding : uint8[m]       Funding
    remittances, payments            the pools that the rows count in
    """

    remittance: npt.NDArray[np.int32]
    payment: npt.NDArray[np.int32]
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


def match(
    remittances: RemittanceColumns | Remittances,
    payments: PaymentColumns | AchFiles,
    *,
    policy: Policy | None = None,
    calendar: BankingCalendar | None = None,
    as_of: int | datetime.date | None = None,
) -> Matches:
    """Pair remittances with payments.

    remittances, payments : pools, or what read_835 and read_ach gave. With a whole ACH file, the 835s that its CTX
        entries carry are added behind the given remittances (see Matches.remittances).
    policy : None is Policy()
    calendar : banking days, needed where `as_of` is given
    as_of : the day up to which payments count as settled (date, or days since 1970-01-01); None: nothing is funded

    Raises ValueError for `as_of` without a calendar. O(n + m) on average; about 200 bytes a row beside the pools.
    """
    policy = policy or Policy()
    as_of_day = (as_of - EPOCH).days if isinstance(as_of, datetime.date) else as_of
    if as_of_day is not None and calendar is None:
        raise ValueError(
            "as_of needs a calendar: which days are banking days decides what has settled"
        )
    left, right = _pools(remittances, payments)
    seen, paid = _remittances_seen(left, policy), _payments_seen(right, as_of_day, calendar)
    left_items, right_items = _items(left, right, policy)
    _hold_duplicate_remittances(left, left_items, seen)
    _hold_duplicate_payments(right, paid)
    matching = _keys.Matching(
        left_items, right_items, seen.hold, paid.hold, policy.trace_window_days, policy.may_match()
    )
    _pair_carried(left, right, seen, paid, matching, policy)
    _pair_by_trace(left, left_items, right_items, seen, paid, matching)
    pairs = build_table("pairs", matching.take_pairs(), b"")
    order = _canonical_order(pairs.remittance, pairs.payment, left, right)
    columns = {name: pairs[name] if order is None else pairs[name][order] for name in pairs.names}
    return _matches(left, right, seen, paid, matching, columns)


def _pools(
    remittances: RemittanceColumns | Remittances, payments: PaymentColumns | AchFiles
) -> tuple[RemittanceColumns, PaymentColumns]:
    left = (
        remittances
        if isinstance(remittances, RemittanceColumns)
        else RemittanceColumns.from_tables(remittances)
    )
    if isinstance(payments, PaymentColumns):
        return left, payments
    carried = RemittanceColumns.from_ach(payments)
    return RemittanceColumns.concat([left, carried]) if len(
        carried
    ) else left, PaymentColumns.from_tables(payments)


# ---- what an item is by itself ----


@dataclass(slots=True)
class _Remittances:
    """What is known of remittances by themselves.

    status : uint8[n]     where one stands that nothing is found for
    reason : uint32[n]    why
    hold : uint32[n]      reasons that keep it out of automatic matching, though it takes part
    open : bool[n]        waits for an EFT: takes part
    free : bool[n]        can be released without funds
    """

    status: npt.NDArray[np.uint8]
    reason: Flags
    hold: Flags
    open: Mask
    free: Mask


@dataclass(slots=True)
class _Payments:
    """The same of payments. money : bool[m] it moves money to the payee; funding : uint8[m]; open : takes part."""

    status: npt.NDArray[np.uint8]
    reason: Flags
    hold: Flags
    open: Mask
    money: Mask
    funding: npt.NDArray[np.uint8]


def _codes(column: npt.NDArray[np.bytes_]) -> npt.NDArray[Any]:
    """Short codes as unsigned numbers: numpy compares those a hundred times faster than bytes (bench_match)."""
    return np.ascontiguousarray(column).view(f"<u{column.dtype.itemsize}")


def _code(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


def _is_any(column: npt.NDArray[Any], codes: tuple[str, ...]) -> Mask:
    found = np.zeros(len(column), np.bool_)
    for code in codes:
        found |= column == _code(code)
    return found


def _flag(flags: Flags, where: Mask, reason: Reason) -> None:
    """Set a reason where a mask is true; masks that are never true cost one pass."""
    if where.any():
        flags[where] |= np.uint32(reason)


def _remittances_seen(left: RemittanceColumns, policy: Policy) -> _Remittances:
    method, handling = _codes(left.payment_method), _codes(left.handling)
    currency, direction = _codes(left.currency), _codes(left.credit_debit)
    cents = left.paid_cents
    money, zero = cents > 0, cents == 0
    status = np.full(len(left), RemittanceStatus.AWAITING_EFT, np.uint8)
    reason, hold = np.zeros(len(left), np.uint32), np.zeros(len(left), np.uint32)
    notice = _is_any(handling, ("H", "P"))
    debit, no_payment = direction == _code("D"), money & (method == _code("NON"))
    check, wire = money & (method == _code("CHK")), money & (method == _code("FWT"))
    card = money & _is_any(method, policy.card_methods)
    eft = _is_any(method, ("ACH", "BOP"))
    contradictory = money & notice & ~no_payment | (direction != _code("C")) & ~debit
    _flag(hold, (currency != 0) & (currency != _code("USD")), Reason.CURRENCY)
    _flag(hold, contradictory, Reason.HANDLING)
    _flag(hold, money & ~(eft | check | wire | card | no_payment), Reason.METHOD_UNKNOWN)
    _flag(reason, zero, Reason.ZERO_AMOUNT)
    _flag(reason, zero & (handling == _code("P")) | no_payment, Reason.HANDLING)
    _flag(reason, debit, Reason.DEBIT)
    _flag(reason, cents < 0, Reason.AMOUNT_BAD)
    _flag(reason, wire, Reason.WIRE)
    _flag(reason, ~left.valid, Reason.REMITTANCE_INVALID)
    status[zero] = RemittanceStatus.NO_FUNDS_EXPECTED
    status[check] = RemittanceStatus.AWAITING_CHECK
    status[card] = RemittanceStatus.AWAITING_CARD
    unfit = debit | (cents < 0) | no_payment
    status[unfit] = RemittanceStatus.INVALID
    free = zero & ~debit & (hold == 0) & (handling != _code("P")) & left.valid
    return _Remittances(status, reason, hold, money & ~(check | wire | card | unfit), free)


_STATUS_OF_KIND = {
    EntryKind.DEBIT: (PaymentStatus.NOT_CLAIM_PAYMENT, Reason.DEBIT),
    EntryKind.PRENOTE: (PaymentStatus.PRENOTE, Reason.PRENOTE),
    EntryKind.ZERO_DOLLAR: (PaymentStatus.RECEIVED, Reason.ZERO_AMOUNT),
    EntryKind.RETURN: (PaymentStatus.RETURNED, Reason.RETURN),
    EntryKind.NOTIFICATION: (PaymentStatus.NOT_CLAIM_PAYMENT, Reason.NOTIFICATION),
}


def _payments_seen(
    right: PaymentColumns, as_of: int | None, calendar: BankingCalendar | None
) -> _Payments:
    credit = right.kind == EntryKind.CREDIT
    money = credit & (right.amount_cents > 0)
    status = np.where(money, np.uint8(PaymentStatus.UNMATCHED), np.uint8(PaymentStatus.RECEIVED))
    reason = np.zeros(len(right), np.uint32)
    others = np.flatnonzero(~money)
    for kind, (kind_status, kind_reason) in _STATUS_OF_KIND.items():
        rows = others[right.kind[others] == kind]
        status[rows] = kind_status
        reason[rows] = kind_reason
    empty = others[credit[others]]
    readable = right.valid[empty] & (right.amount_cents[empty] == 0)
    reason[empty] = np.where(readable, np.uint32(Reason.ZERO_AMOUNT), np.uint32(Reason.AMOUNT_BAD))
    _flag(reason, ~right.valid, Reason.PAYMENT_INVALID)
    funding = _funding(right, money, reason, as_of, calendar)
    return _Payments(status, reason, np.zeros(len(right), np.uint32), money.copy(), money, funding)


def _funding(
    right: PaymentColumns,
    money: Mask,
    reason: Flags,
    as_of: int | None,
    calendar: BankingCalendar | None,
) -> npt.NDArray[np.uint8]:
    """Funding of each entry: settled when its settlement date, or its effective date rolled to a banking day, is past."""
    funding = np.where(money, np.uint8(Funding.EXPECTED), np.uint8(Funding.NONE))
    settlement = right.settlement_date
    blank = np.flatnonzero(settlement == DATE_NONE)
    if len(blank) and calendar is not None:
        settlement = settlement.copy()
        settlement[blank] = calendar.roll_forward(right.effective_date[blank])
    never = money & (settlement == DATE_NONE) & (right.effective_date == DATE_NONE)
    _flag(reason, never, Reason.NO_SETTLEMENT_DATE)
    if as_of is not None:
        funding[money & (settlement != DATE_NONE) & (settlement <= as_of)] = Funding.SETTLED
    return funding


# ---- keys ----


def _text(column: TextColumn) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
    return np.frombuffer(column.source, np.uint8), np.ascontiguousarray(column.refs)


def _items(
    left: RemittanceColumns, right: PaymentColumns, policy: Policy
) -> tuple[_keys.Items, _keys.Items]:
    """Both sides in normal form. A payment is dated by its effective date, as BPR16 is; else by its settlement."""
    table = _keys.PayerTable()
    left_payers, left_bare = table.number(*_text(left.payer_id))
    right_payers, right_bare = table.number(*_text(right.payer_id))
    names = table.names()
    ignored = {payer_form(value.encode()) for value in policy.ignored_payer_ids}
    if ignored:
        known = np.array(
            [0 if name in ignored else number for number, name in enumerate(names)], np.uint32
        )
        left_payers, right_payers = known[left_payers], known[right_payers]
    groups, affix_sets, affixes = _payer_rules(names, policy)
    dates = right.effective_date
    if (dates == DATE_NONE).any():
        dates = np.where(dates == DATE_NONE, right.settlement_date, dates)
    return (
        _keys.Items(
            *_text(left.trace), left_payers, left_bare, groups, affix_sets, affixes,
            left.paid_cents, left.effective_date, left.id_digest, left.id_offset,
        ),
        _keys.Items(
            *_text(right.trace), right_payers, right_bare, groups, affix_sets, affixes,
            right.amount_cents, dates, right.id_digest, right.id_offset,
        ),
    )  # fmt: skip


def _payer_rules(names: list[bytes], policy: Policy) -> tuple[Flags, Flags, _keys.Affixes]:
    """P2 number and affix set of each payer number. Payers without a rule are their own group."""
    rule_of = {
        payer_form(value.encode()): place
        for place, rule in enumerate(policy.payers)
        for value in rule.ids
    }
    everyone = (longest_first(policy.trace_prefixes), longest_first(policy.trace_suffixes))
    sets: list[tuple[list[bytes], list[bytes]]] = [everyone]
    for rule in policy.payers:
        prefixes = longest_first([*policy.trace_prefixes, *rule.trace_prefixes])
        suffixes = longest_first([*policy.trace_suffixes, *rule.trace_suffixes])
        sets.append((prefixes, suffixes))
    rules = [rule_of.get(name, -1) for name in names]
    groups = np.array(
        [len(names) + rule if rule >= 0 else i for i, rule in enumerate(rules)], np.uint32
    )
    used = np.array([1 + (rule + 1) if any(sets[rule + 1]) else 0 for rule in rules], np.uint32)
    return groups, used, _keys.Affixes(sets)


# ---- duplicates ----


def _later_of_equals(
    keys: list[npt.NDArray[Any]], digest: npt.NDArray[Any], offset: npt.NDArray[Any]
) -> Mask:
    """bool[k]: rows whose keys all equal another row's with a lower id."""
    order = np.lexsort([offset, digest, *keys])
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    later = np.zeros(len(order), np.bool_)
    later[order[1:]] = same
    return later


def _mix(*columns: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """uint64[n]: a hash of several integer columns; equal rows have equal hashes."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed ^= column.astype(np.int64, copy=False).view(np.uint64)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _hold_duplicate_remittances(
    left: RemittanceColumns, items: _keys.Items, seen: _Remittances
) -> None:
    """Equal payer, trace, cents, effective date and body: all but the lowest id are held. No body hash: equal id."""
    unknown = left.body_hash == 0
    content = (
        np.where(unknown, _mix(left.id_digest, left.id_offset), left.body_hash)
        if unknown.any()
        else left.body_hash
    )
    rows = _keys.repeated(np.ascontiguousarray(content))
    if not len(rows):
        return
    keys = [
        content[rows],
        left.paid_cents[rows],
        left.effective_date[rows],
        items.trace_hashes(rows),
    ]
    keys.append(items.payers(rows))
    held = rows[_later_of_equals(keys, left.id_digest[rows], left.id_offset[rows])]
    seen.status[held] = RemittanceStatus.DUPLICATE
    seen.reason[held] |= np.uint32(Reason.DUPLICATE)
    seen.open[held] = seen.free[held] = False


def _hold_duplicate_payments(right: PaymentColumns, paid: _Payments) -> None:
    """Equal ODFI, trace number, settlement day, RDFI, account and amount: all but the lowest id are held."""
    rough = _mix(right.ach_trace, right.amount_cents)
    rows = _keys.repeated(rough, paid.money.view(np.uint8))
    if not len(rows):
        return
    day = np.where(right.settlement_date == DATE_NONE, right.effective_date, right.settlement_date)[
        rows
    ]
    account = _keys.text_hashes(*_text(right.account[rows]))
    numbers = (right.odfi, right.ach_trace, right.rdfi_routing, right.amount_cents)
    keys = [day, account, *(column[rows] for column in numbers)]
    held = rows[_later_of_equals(keys, right.id_digest[rows], right.id_offset[rows])]
    paid.status[held] = PaymentStatus.DUPLICATE
    paid.reason[held] |= np.uint32(Reason.DUPLICATE)
    paid.open[held] = False


# ---- tiers ----


def _pair_carried(
    left: RemittanceColumns,
    right: PaymentColumns,
    seen: _Remittances,
    paid: _Payments,
    matching: _keys.Matching,
    policy: Policy,
) -> None:
    """T0: an 835 inside the CTX entry that pays it. Neither takes part in other tiers, whatever comes of it.

    By itself only where the entry carries one 835 with money, and the amounts agree. A check or card remittance in it
    is no pair, but keeps its siblings from being one by themselves.
    """
    rows = np.flatnonzero(left.payment_row >= 0)
    rows = rows[(left.paid_cents[rows] != 0) & (seen.status[rows] != RemittanceStatus.DUPLICATE)]
    carriers = left.payment_row[rows]
    if len(rows) and carriers.max() >= len(right):
        raise ValueError(f"payment_row {carriers.max()} is no row of the {len(right)} payments")
    rows, carriers = rows[paid.money[carriers]], carriers[paid.money[carriers]]
    held = ~paid.open[carriers]
    seen.reason[rows[held]] |= np.uint32(Reason.CARRIER_NOT_USABLE)
    seen.open[rows[held]] = False
    rows, carriers = rows[~held], carriers[~held]
    siblings = np.bincount(carriers, minlength=len(right))[carriers].astype(np.uint32)
    eft = seen.open[rows]
    rows, carriers, siblings = rows[eft], carriers[eft], siblings[eft]
    takes = seen.hold[rows] == 0
    equal = left.paid_cents[rows] == right.amount_cents[carriers]
    alone = siblings == 1
    decidable = bool(policy.may_match() & 1)
    status = np.full(len(rows), MatchStatus.REVIEW, np.uint8)
    status[takes & alone & equal & decidable] = MatchStatus.AUTO
    status[takes & alone & ~equal] = MatchStatus.VARIANCE
    tier = np.where(alone & ~equal, np.uint8(Tier.T5), np.uint8(Tier.T0))
    reason = np.zeros(len(rows), np.uint32)
    _flag(reason, ~alone, Reason.CARRIED_SEVERAL)
    _flag(reason, ~equal, Reason.AMOUNT_DIFFERS)
    _flag(reason, equal & alone & (not decidable), Reason.TIER_TO_REVIEW)
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
    seen: _Remittances,
    paid: _Payments,
    matching: _keys.Matching,
) -> None:
    """T1, T2, T3 and T5, from one join on trace N4 and payer P2."""
    left_on, right_on = _taking_part(left_items, seen), _taking_part(right_items, paid)
    partner, blocks = _keys.join(
        left_items.keys, right_items.keys, left_on.view(np.uint8), right_on.view(np.uint8)
    )
    tin, entity = np.zeros(len(left), np.uint64), np.zeros(len(left), np.uint64)
    if len(blocks):
        rows = np.flatnonzero(partner == _keys.PARTNER_SEVERAL)
        tin[rows] = _keys.text_hashes(*_text(left.payee_tin[rows]))
        entity[rows] = _keys.text_hashes(*_text(left.payee_entity_id[rows]))
    matching.settle(partner, blocks, tin, entity)


def _taking_part(items: _keys.Items, side: _Remittances | _Payments) -> Mask:
    traces, payers = items.usable()
    _flag(side.reason, side.open & ~traces, Reason.NO_TRACE)
    _flag(side.reason, side.open & ~payers, Reason.NO_PAYER)
    taking: Mask = side.open & traces & payers
    return taking


# ---- the outcome ----


def _canonical_order(
    remittance: npt.NDArray[np.int32],
    payment: npt.NDArray[np.int32],
    left: RemittanceColumns,
    right: PaymentColumns,
) -> npt.NDArray[np.int64] | None:
    """The order of pairs by (remittance id, payment id); None where they stand in it already."""
    digest, offset = left.id_digest[remittance], left.id_offset[remittance]
    ascending = (digest[1:] > digest[:-1]) | (digest[1:] == digest[:-1]) & (
        offset[1:] > offset[:-1]
    )
    if ascending.all():
        return None
    keys = (right.id_offset[payment], right.id_digest[payment], offset, digest)
    order: npt.NDArray[np.int64] = np.lexsort(keys)
    return order


def _matches(
    left: RemittanceColumns,
    right: PaymentColumns,
    seen: _Remittances,
    paid: _Payments,
    matching: _keys.Matching,
    pairs: dict[str, Any],
) -> Matches:
    remittance, payment, status, reason = (
        pairs[name] for name in ("remittance", "payment", "status", "reason")
    )
    funded = paid.funding[payment] >= Funding.SETTLED
    auto = status == MatchStatus.AUTO
    _flag(reason, ~left.valid[remittance], Reason.REMITTANCE_INVALID)
    _flag(reason, ~right.valid[payment], Reason.PAYMENT_INVALID)
    _flag(reason, auto & ~funded, Reason.NOT_SETTLED)
    _mark_remittances(left, seen, matching.left_reason, remittance, status, reason)
    _mark_payments(right, paid, matching.right_reason, payment, status, reason)
    release = seen.free
    release[remittance[auto & funded & left.valid[remittance] & right.valid[payment]]] = True
    return Matches(
        **pairs,
        funded=funded,
        remittance_status=seen.status,
        remittance_reason=seen.reason,
        release=release,
        payment_status=paid.status,
        payment_reason=paid.reason,
        payment_funding=paid.funding,
        remittances=left,
        payments=right,
    )


_REMITTANCE_OUTCOMES = (
    (MatchStatus.REVIEW, RemittanceStatus.PROBABLE),
    (MatchStatus.VARIANCE, RemittanceStatus.MATCHED_VARIANCE),
    (MatchStatus.AUTO, RemittanceStatus.MATCHED),
)
_PAYMENT_OUTCOMES = (
    (MatchStatus.REVIEW, PaymentStatus.SUGGESTED),
    (MatchStatus.VARIANCE, PaymentStatus.SUGGESTED),
    (MatchStatus.AUTO, PaymentStatus.MATCHED),
)


def _mark_remittances(
    left: RemittanceColumns,
    seen: _Remittances,
    found: Flags,
    rows: npt.NDArray[np.int32],
    status: npt.NDArray[np.uint8],
    reason: Flags,
) -> None:
    for outcome, item_status in _REMITTANCE_OUTCOMES:
        seen.status[rows[status == outcome]] = item_status
    seen.status[~left.valid & (seen.status != RemittanceStatus.DUPLICATE)] = (
        RemittanceStatus.INVALID
    )
    _explain(
        seen.reason, seen.hold | found, rows, reason, seen.status == RemittanceStatus.AWAITING_EFT
    )


def _mark_payments(
    right: PaymentColumns,
    paid: _Payments,
    found: Flags,
    rows: npt.NDArray[np.int32],
    status: npt.NDArray[np.uint8],
    reason: Flags,
) -> None:
    for outcome, item_status in _PAYMENT_OUTCOMES:
        paid.status[rows[status == outcome]] = item_status
    unmarked = (
        paid.money
        & ~right.has_remittance
        & ~_keys.text_equals(*_text(right.entry_description), HEALTHCARE_MARK)
    )
    _flag(paid.reason, unmarked, Reason.NO_HEALTHCARE_MARK)
    nothing = (
        (paid.status == PaymentStatus.UNMATCHED)
        & unmarked
        & (paid.reason & np.uint32(Reason.NO_TRACE) != 0)
    )
    paid.status[nothing] = PaymentStatus.NOT_CLAIM_PAYMENT
    _explain(paid.reason, found, rows, reason, paid.status == PaymentStatus.UNMATCHED)


def _explain(
    item_reason: Flags, found: Flags, rows: npt.NDArray[np.int32], reason: Flags, waiting: Mask
) -> None:
    """Give items the reasons of their pairs, what was found about them, and that nothing was."""
    item_reason |= found
    told = np.flatnonzero(reason)
    np.bitwise_or.at(item_reason, rows[told], reason[told])
    _flag(item_reason, waiting, Reason.NO_COUNTERPART)
