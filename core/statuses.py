"""What the matcher says about pairs and items: statuses, tiers, and the flags that explain them.

Numbers never change their meaning; new ones are added at the end. `_resolve.h` repeats those that
it writes.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class MatchStatus(IntEnum):
    """AUTO: matched. VARIANCE: all but the amount agrees. REVIEW: a person decides."""

    AUTO = 1
    VARIANCE = 2
    REVIEW = 3


class Tier(IntEnum):
    """How a pair was found, from the surest on."""

    T0 = 0
    T1 = 1
    T2 = 2
    T3 = 3
    T4 = 4
    T5 = 5
    T6 = 6
    T7 = 7
    T8 = 8
    T9 = 9
    T10 = 10


class RemittanceStatus(IntEnum):
    """Where an 835 stands. PROBABLE has candidates that wait for a person."""

    RECEIVED = 0
    INVALID = 1
    DUPLICATE = 2
    NO_FUNDS_EXPECTED = 3
    AWAITING_CHECK = 4
    AWAITING_CARD = 5
    AWAITING_EFT = 6
    MATCHED = 7
    MATCHED_VARIANCE = 8
    PROBABLE = 9
    RELEASED = 10
    UNMATCHED_BY_RETURN = 11
    VOIDED = 12
    ARCHIVED = 13


class PaymentStatus(IntEnum):
    """Where a payment stands. SUGGESTED has candidates, or a variance, for a person to see."""

    RECEIVED = 0
    DUPLICATE = 1
    NOT_CLAIM_PAYMENT = 2
    PRENOTE = 3
    UNMATCHED = 4
    MATCHED = 5
    PARTIAL = 6
    SUGGESTED = 7
    RETURNED = 8
    REVERSED = 9
    WRITTEN_TO_SUSPENSE = 10


class Funding(IntEnum):
    """Whether a payment's money is there. NONE: the entry moves no money to the payee."""

    NONE = 0
    EXPECTED = 1
    SETTLED = 2
    POSTED = 3


class Reason(IntFlag):
    """Why a pair or an item is where it is."""

    TIE = 1 << 0
    CONFLICT = 1 << 1
    AMOUNT_DIFFERS = 1 << 2
    CARRIED_SEVERAL = 1 << 3
    TIER_TO_REVIEW = 1 << 4
    BLOCK_TOO_LARGE = 1 << 5
    OUT_OF_WINDOW = 1 << 6
    CURRENCY = 1 << 7
    HANDLING = 1 << 8
    METHOD_UNKNOWN = 1 << 9
    NO_TRACE = 1 << 10
    NO_PAYER = 1 << 11
    DUPLICATE = 1 << 12
    DEBIT = 1 << 13
    PRENOTE = 1 << 14
    RETURN = 1 << 15
    NOTIFICATION = 1 << 16
    ZERO_AMOUNT = 1 << 17
    WIRE = 1 << 18
    AMOUNT_BAD = 1 << 19
    REMITTANCE_INVALID = 1 << 20
    PAYMENT_INVALID = 1 << 21
    NOT_SETTLED = 1 << 22
    NO_SETTLEMENT_DATE = 1 << 23
    NO_HEALTHCARE_MARK = 1 << 24
    NO_COUNTERPART = 1 << 25
    CARRIER_NOT_USABLE = 1 << 26


_REASON_TEXTS: dict[Reason, str] = {
    Reason.TIE: "several candidates fit equally well",
    Reason.CONFLICT: "another remittance of the same payer has the same trace and other content",
    Reason.AMOUNT_DIFFERS: "amounts differ",
    Reason.CARRIED_SEVERAL: "the payment carries several remittances",
    Reason.TIER_TO_REVIEW: "the policy sends this tier to review",
    Reason.BLOCK_TOO_LARGE: "too many items share this trace and payer",
    Reason.OUT_OF_WINDOW: "trace and payer agree, but the dates are too far apart",
    Reason.CURRENCY: "the currency is not USD",
    Reason.HANDLING: "handling code, payment method and amount do not agree whether money is paid",
    Reason.METHOD_UNKNOWN: "the payment method is missing or unknown",
    Reason.NO_TRACE: "no usable trace number",
    Reason.NO_PAYER: "no usable payer identifier",
    Reason.DUPLICATE: "suspected duplicate of another item",
    Reason.DEBIT: "a debit, not money for the payee",
    Reason.PRENOTE: "a prenote moves no money",
    Reason.RETURN: "a return entry",
    Reason.NOTIFICATION: "a notification of change moves no money",
    Reason.ZERO_AMOUNT: "the amount is zero",
    Reason.WIRE: "paid by wire, never by ACH",
    Reason.AMOUNT_BAD: "the amount is negative or not readable",
    Reason.REMITTANCE_INVALID: "the remittance does not balance or its envelope is wrong",
    Reason.PAYMENT_INVALID: "the entry, its batch or its file does not add up",
    Reason.NOT_SETTLED: "the payment has not settled",
    Reason.NO_SETTLEMENT_DATE: "the payment has neither a settlement nor an effective date",
    Reason.NO_HEALTHCARE_MARK: "the entry is not marked as a health care payment",
    Reason.NO_COUNTERPART: "no counterpart found",
    Reason.CARRIER_NOT_USABLE: "the payment that carries it is a suspected duplicate",
}


def reason_text(flags: int) -> str:
    """Reason flags as text: clauses joined by `; `, empty for none."""
    return "; ".join(text for flag, text in _REASON_TEXTS.items() if flags & flag)


class Field(IntFlag):
    """Fields that a pair was compared on. DATE is the effective date of both sides."""

    TRACE = 1 << 0
    PAYER = 1 << 1
    AMOUNT = 1 << 2
    DATE = 1 << 3
    ROUTING = 1 << 4
    ACCOUNT = 1 << 5
    COMPANY = 1 << 6


class Rewrite(IntFlag):
    """Rewrites that made two values equal: see the normal forms in `reference_keys`."""

    TRACE_N1 = 1 << 0
    TRACE_N2 = 1 << 1
    TRACE_N3 = 1 << 2
    TRACE_N4 = 1 << 3
    TRACE_N5 = 1 << 4
    PAYER_P1 = 1 << 5
    PAYER_P2 = 1 << 6
