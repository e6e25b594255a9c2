"""What an item is by itself, before any pairing: does it wait for money, is it money, is it held.

One rule stands in one place: everything here looks at one side only, everything in `match` at
pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core._keys import mix
from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.ordering import (
    id_keys,
    kept_first,
    later_of_equals,
    sound_first,
)
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns, text_parts
from reassoc.core.statuses import (
    Funding,
    PaymentSource,
    PaymentStatus,
    Rail,
    Reason,
    RemittanceStatus,
)

Flags = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class ScreenedRemittances:
    """What is known of remittances by themselves; the matcher goes on writing into it.

    status : uint8[n]     RemittanceStatus where nothing is found
    reason : int64[n]    why (Reason flags)
    hold : int64[n]      reasons that keep it out of automatic matching, though it takes part
    open : bool[n]        waits for money: takes part in the tiers of its rail
    free : bool[n]        can be released without funds
    rail : uint8[n]       Rail: how its money comes
    """

    status: npt.NDArray[np.uint8]
    reason: Flags
    hold: Flags
    open: Mask
    free: Mask
    rail: npt.NDArray[np.uint8]


@dataclass(slots=True)
class ScreenedPayments:
    """What is known of payments by themselves; the matcher goes on writing into it.

    status, reason, hold, open : as for remittances
    money : bool[m]       moves money to the payee
    funding : uint8[m]    Funding
    rail : uint8[m]       Rail: how the money moves
    back : bool[m]        the money went back: returned or reversed
    """

    status: npt.NDArray[np.uint8]
    reason: Flags
    hold: Flags
    open: Mask
    money: Mask
    funding: npt.NDArray[np.uint8]
    rail: npt.NDArray[np.uint8]
    back: Mask


def set_flag(flags: Flags, where: Mask, reason: Reason) -> None:
    """Set a reason where a mask is true; a mask that is never true costs one pass."""
    if where.any():
        flags[where] |= np.int64(reason)


def _codes(column: npt.NDArray[np.bytes_]) -> npt.NDArray[Any]:
    """Short codes as unsigned numbers: numpy compares those far faster than bytes (bench_match)."""
    return np.ascontiguousarray(column).view(f"<u{column.dtype.itemsize}")


def _code(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


def _is_any(column: npt.NDArray[Any], codes: tuple[str, ...]) -> Mask:
    found = np.zeros(len(column), np.bool_)
    for code in codes:
        found |= column == _code(code)
    return found


def screen_remittances(left: RemittanceColumns, policy: Policy) -> ScreenedRemittances:
    """Sort remittances by how their money comes, if any. O(n).

    Taken out for good: debits, negative amounts, NON with money (INVALID); cards; zero-pays. Checks
    and wires wait for money of their own rail. Kept in, but never matched by themselves: other
    currencies than USD, money under a handling that announces none, an unknown method.
    """
    method, handling = _codes(left.payment_method), _codes(left.handling)
    currency, direction = _codes(left.currency), _codes(left.credit_debit)
    cents = left.paid_cents
    money, zero = cents > 0, cents == 0
    status = np.full(len(left), RemittanceStatus.AWAITING_EFT, np.uint8)
    reason, hold = np.zeros(len(left), np.int64), np.zeros(len(left), np.int64)
    debit, no_payment = direction == _code("D"), money & (method == _code("NON"))
    check, wire = money & (method == _code("CHK")), money & (method == _code("FWT"))
    card = money & _is_any(method, policy.card_methods)
    eft = _is_any(method, ("ACH", "BOP"))
    prenote = handling == _code("P")
    contradictory = money & (prenote | (handling == _code("H"))) & ~no_payment
    unfit = debit | (cents < 0) | no_payment
    set_flag(hold, (currency != 0) & (currency != _code("USD")), Reason.CURRENCY)
    set_flag(hold, contradictory | (direction != _code("C")) & ~debit, Reason.HANDLING)
    set_flag(hold, money & ~(eft | check | wire | card | no_payment), Reason.METHOD_UNKNOWN)
    set_flag(reason, zero, Reason.ZERO_AMOUNT)
    set_flag(reason, zero & prenote | no_payment, Reason.HANDLING)
    set_flag(reason, debit, Reason.DEBIT)
    set_flag(reason, cents < 0, Reason.AMOUNT_BAD)
    set_flag(reason, ~left.valid, Reason.REMITTANCE_INVALID)
    status[zero] = RemittanceStatus.NO_FUNDS_EXPECTED
    status[check] = RemittanceStatus.AWAITING_CHECK
    status[wire] = RemittanceStatus.AWAITING_WIRE
    status[card] = RemittanceStatus.AWAITING_CARD
    status[unfit] = RemittanceStatus.INVALID
    reason |= hold
    free = zero & ~debit & (hold == 0) & ~prenote & left.valid
    rail = np.full(len(left), Rail.ACH, np.uint8)
    rail[check], rail[wire] = Rail.CHECK, Rail.WIRE
    return ScreenedRemittances(status, reason, hold, money & ~(card | unfit), free, rail)


_RAIL_OF_SOURCE = np.array(
    [Rail.ACH, Rail.ACH, Rail.CHECK, Rail.CHECK, Rail.WIRE, Rail.OTHER], np.uint8
)
assert len(_RAIL_OF_SOURCE) == len(PaymentSource)

_STATUS_OF_KIND = {
    EntryKind.DEBIT: (PaymentStatus.NOT_CLAIM_PAYMENT, Reason.DEBIT),
    EntryKind.PRENOTE: (PaymentStatus.PRENOTE, Reason.PRENOTE),
    EntryKind.ZERO_DOLLAR: (PaymentStatus.RECEIVED, Reason.ZERO_AMOUNT),
    EntryKind.RETURN: (PaymentStatus.RETURNED, Reason.RETURN),
    EntryKind.NOTIFICATION: (PaymentStatus.NOT_CLAIM_PAYMENT, Reason.NOTIFICATION),
}


def screen_payments(
    right: PaymentColumns, as_of: int | None, calendar: BankingCalendar | None
) -> ScreenedPayments:
    """Tell money from other entries: credits with a readable amount. And how far it is. O(m).

    A bank's line that is neither an ACH credit nor a check, deposit or wire (BANK_OTHER) moves
    money, but none that a remittance explains: it is no claim payment.
    """
    rail = _RAIL_OF_SOURCE[right.source]
    credit = right.kind == EntryKind.CREDIT
    money = credit & (right.amount_cents > 0)
    other = rail == Rail.OTHER
    status = np.where(money, np.uint8(PaymentStatus.UNMATCHED), np.uint8(PaymentStatus.RECEIVED))
    reason = np.zeros(len(right), np.int64)
    others = np.flatnonzero(~money)
    for kind, (kind_status, kind_reason) in _STATUS_OF_KIND.items():
        rows = others[right.kind[others] == kind]
        status[rows] = kind_status
        reason[rows] = kind_reason
    empty = others[credit[others]]
    readable = right.valid[empty] & (right.amount_cents[empty] == 0)
    reason[empty] = np.where(readable, np.int64(Reason.ZERO_AMOUNT), np.int64(Reason.AMOUNT_BAD))
    set_flag(reason, ~right.valid, Reason.PAYMENT_INVALID)
    status[other] = PaymentStatus.NOT_CLAIM_PAYMENT
    funding = _funding(right, money, reason, as_of, calendar)
    hold, back = np.zeros(len(right), np.int64), np.zeros(len(right), np.bool_)
    return ScreenedPayments(status, reason, hold, money & ~other, money, funding, rail, back)


def _funding(
    right: PaymentColumns,
    money: Mask,
    reason: Flags,
    as_of: int | None,
    calendar: BankingCalendar | None,
) -> npt.NDArray[np.uint8]:
    """Settled when the settlement date, or the effective date rolled to a banking day, has come;
    posted where a bank's report shows it, unless its value date is still to come. On no day that
    is known nothing has come."""
    funding = np.where(money, np.uint8(Funding.EXPECTED), np.uint8(Funding.NONE))
    settlement = right.settlement_date
    blank = np.flatnonzero(settlement == DATE_NONE)
    if len(blank) and calendar is not None:
        settlement = settlement.copy()
        settlement[blank] = calendar.roll_forward(right.effective_date[blank])
    never = money & (right.settlement_date == DATE_NONE) & (right.effective_date == DATE_NONE)
    set_flag(reason, never, Reason.NO_SETTLEMENT_DATE)
    if as_of is None:
        return funding
    funding[money & (settlement != DATE_NONE) & (settlement <= as_of)] = Funding.SETTLED
    lines = np.flatnonzero(right.report >= 0)
    come = money[lines] & (settlement[lines] <= as_of)
    funding[lines[come]] = Funding.POSTED
    return funding


# ---- duplicates ----


def hold_duplicate_remittances(
    left: RemittanceColumns,
    items: _keys.Items,
    seen: ScreenedRemittances,
    kept: Sequence[Mask] = (),
) -> None:
    """Hold all but one of those whose payer, trace, cents, effective date and body are equal: what
    is kept stays, the last of its masks first, else the lowest id, a valid one before any invalid
    one.

    kept : bool[n] each: what is not carried by a duplicate, what a person decided something of,
        whose match stands, what was handed on earlier, so that its resend is not handed on again

    A file cut off in transfer and its resend have equal transactions, and only those of the resend
    can be released: they must not be held as duplicates of the others. Where the hash of the body
    is not known, only the same id (a file read twice) is a duplicate. O(n).
    """
    content, unknown = left.body_hash, left.body_hash == 0
    if unknown.any():
        content = np.where(unknown, mix(left.id_digest, left.id_offset), content)
    rows = _keys.repeated(np.ascontiguousarray(content))
    if not len(rows):
        return
    keys: list[npt.NDArray[Any]] = [items.trace_hashes(rows), items.payers(rows)]
    for column in (content, left.paid_cents, left.effective_date):
        keys.append(column[rows])
    ids = sound_first(id_keys(left.id_digest[rows], left.id_offset[rows]), left.valid[rows])
    for mask in kept:
        ids = kept_first(ids, mask[rows])
    held = rows[later_of_equals(keys, ids)]
    seen.status[held] = RemittanceStatus.DUPLICATE
    seen.reason[held] |= np.int64(Reason.DUPLICATE)
    seen.open[held] = seen.free[held] = False


def hold_duplicate_payments(
    right: PaymentColumns, paid: ScreenedPayments, kept: Sequence[Mask] = ()
) -> None:
    """Hold all but one of those with equal ODFI, trace number, day, RDFI, account and amount: what
    is kept stays, the last of its masks first, else the lowest id, a valid one before any invalid
    one.

    The day is that of settlement, where that is blank the effective date. Lines of reports have no
    trace number of their own: what of them repeats is told in `matching.reports`. O(m).
    """
    entries = paid.money & (right.source == PaymentSource.ACH)
    rows = _keys.repeated(mix(right.ach_trace, right.amount_cents), entries.view(np.uint8))
    if not len(rows):
        return
    settlement, effective = right.settlement_date[rows], right.effective_date[rows]
    keys: list[npt.NDArray[Any]] = [np.where(settlement == DATE_NONE, effective, settlement)]
    keys.append(_keys.text_hashes(*text_parts(right.account[rows])))
    for column in (right.odfi, right.ach_trace, right.rdfi_routing, right.amount_cents):
        keys.append(column[rows])
    ids = sound_first(id_keys(right.id_digest[rows], right.id_offset[rows]), right.valid[rows])
    for mask in kept:
        ids = kept_first(ids, mask[rows])
    held = rows[later_of_equals(keys, ids)]
    paid.status[held] = PaymentStatus.DUPLICATE
    paid.reason[held] |= np.int64(Reason.DUPLICATE)
    paid.open[held] = False
