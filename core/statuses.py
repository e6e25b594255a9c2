"""What the matcher says about pairs and items: statuses, tiers, and the flags that explain them.

Numbers never change their meaning: new ones are added at the end, and one that is not given any
more stays free. `_resolve.h` repeats those that it writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt


class MatchStatus(IntEnum):
    """AUTO: matched. VARIANCE: all but the amount agrees. REVIEW: a person decides. UNMATCHED: it
    was, or would have been, a match; its money went back."""

    AUTO = 1
    VARIANCE = 2
    REVIEW = 3
    UNMATCHED = 4


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
    """Where an 835 stands. PROBABLE has candidates that wait for a person, QUARANTINED a payee that
    the directory does not know, UNMATCHED_BY_RETURN a payment whose money went back.

    The matcher never gives RECEIVED, VOIDED and ARCHIVED, and RELEASED is for who has released it:
    these are what comes before and after it."""

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
    QUARANTINED = 14
    AWAITING_WIRE = 15


class PaymentStatus(IntEnum):
    """Where a payment stands. RECEIVED moves no money; SUGGESTED has candidates, or a variance, for
    a person to see; REPORTED is the bank's report of money that another row stands for: never a
    second payment. The matcher never gives PARTIAL and WRITTEN_TO_SUSPENSE: a person decides so."""

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
    QUARANTINED = 11
    REPORTED = 12


class PaymentSource(IntEnum):
    """Where a payment was seen, and how its money moves. A BANK_ACH is an ACH credit in a bank's
    report; a DEPOSIT is money paid in, of checks that may be listed beside it; BANK_OTHER is none
    of these."""

    ACH = 0
    BANK_ACH = 1
    CHECK = 2
    DEPOSIT = 3
    WIRE = 4
    BANK_OTHER = 5


class Rail(IntEnum):
    """How money moves. Only items of the same rail are paired."""

    ACH = 0
    CHECK = 1
    WIRE = 2
    OTHER = 3


class LinkKind(IntEnum):
    """What one payment row is to another: see `Links`."""

    REPORT_OF = 1
    RETURN_OF = 2
    DISHONORED_RETURN_OF = 3
    CONTESTED_RETURN_OF = 4
    REVERSAL_OF = 5
    CHANGE_OF = 6
    PART_OF = 7


class VarianceCause(IntEnum):
    """Likely reason why a payment's amount is not its remittance's."""

    NONE = 0
    FEE = 1
    ADJUSTMENT = 2
    LEVY = 3
    FORWARD_BALANCE = 4
    MISSING_SIBLING = 5


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
    AMOUNT_BAD = 1 << 19
    REMITTANCE_INVALID = 1 << 20
    PAYMENT_INVALID = 1 << 21
    NOT_SETTLED = 1 << 22
    NO_SETTLEMENT_DATE = 1 << 23
    NO_HEALTHCARE_MARK = 1 << 24
    NO_COUNTERPART = 1 << 25
    CARRIER_NOT_USABLE = 1 << 26
    SUM_NOT_UNIQUE = 1 << 27
    BULK_CAPPED = 1 << 28
    SIBLING_MISSING = 1 << 29
    UNKNOWN_PAYEE = 1 << 30
    PAYEE_CONTRADICTION = 1 << 31
    PAYER_DIFFERS = 1 << 32
    NO_PAYMENT_TRACE = 1 << 33
    CUT_TRACE = 1 << 34
    SUGGESTION = 1 << 35
    WAITS_FOR_HORIZON = 1 << 36
    RETURNED = 1 << 37
    RETURN_DISHONORED = 1 << 38
    RETURN_UNCLEAR = 1 << 39
    REVERSED = 1 << 40
    REVERSAL_UNCLEAR = 1 << 41
    RETURN_AFTER_RELEASE = 1 << 42
    NO_ORIGINAL = 1 << 43
    ACCOUNT_CHANGED = 1 << 44
    REPORTED_BY_BANK = 1 << 45
    REPORT_UNCLEAR = 1 << 46
    PART_OF_DEPOSIT = 1 << 47
    DEPOSIT_DIFFERS = 1 << 48
    PAYEE_DIFFERS = 1 << 49
    REISSUE = 1 << 50
    PINNED = 1 << 51
    RIVAL = 1 << 52
    RIVAL_AFTER_RELEASE = 1 << 53
    VETOED = 1 << 54


_REASON_TEXTS: dict[Reason, str] = {
    Reason.TIE: "several candidates fit equally well",
    Reason.CONFLICT: "another remittance of the same payer has the same trace and other content",
    Reason.AMOUNT_DIFFERS: "amounts differ",
    Reason.CARRIED_SEVERAL: "the payment carries several remittances",
    Reason.TIER_TO_REVIEW: "this tier goes to review unless the policy lets it match",
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
    Reason.AMOUNT_BAD: "the amount is negative or not readable",
    Reason.REMITTANCE_INVALID: "the remittance does not balance or its envelope is wrong",
    Reason.PAYMENT_INVALID: "the entry, its batch or its file does not add up",
    Reason.NOT_SETTLED: "the payment has not settled",
    Reason.NO_SETTLEMENT_DATE: "the payment has neither a settlement nor an effective date",
    Reason.NO_HEALTHCARE_MARK: "the entry is not marked as a health care payment",
    Reason.NO_COUNTERPART: "no counterpart found",
    Reason.CARRIER_NOT_USABLE: "the payment that carries it is a suspected duplicate",
    Reason.SUM_NOT_UNIQUE: "several sums come to this amount",
    Reason.BULK_CAPPED: "too many items to try all sums",
    Reason.SIBLING_MISSING: "open items of the same trace do not add up to the amount",
    Reason.UNKNOWN_PAYEE: "the directory does not know the payee",
    Reason.PAYEE_CONTRADICTION: "the payee's identifiers belong to different payees",
    Reason.PAYER_DIFFERS: "trace and amount agree, but no alias ties the payers together",
    Reason.NO_PAYMENT_TRACE: "found without a trace number, by payer, payee, amount and date",
    Reason.CUT_TRACE: "one trace is a cut form of the other",
    Reason.SUGGESTION: "amount and date alone",
    Reason.WAITS_FOR_HORIZON: "decided at the close of the banking day",
    Reason.RETURNED: "the money was returned",
    Reason.RETURN_DISHONORED: "returned, and the return was refused",
    Reason.RETURN_UNCLEAR: "a return fits this payment and others",
    Reason.REVERSED: "the money was taken back by a reversal",
    Reason.REVERSAL_UNCLEAR: "a reversal fits this payment and others",
    Reason.RETURN_AFTER_RELEASE: "the money went back after the remittance was released",
    Reason.NO_ORIGINAL: "the entry it refers to has not been seen",
    Reason.ACCOUNT_CHANGED: "the receiving bank gave other account data",
    Reason.REPORTED_BY_BANK: "the bank's report shows it",
    Reason.REPORT_UNCLEAR: "the bank reported money that fits this payment and others",
    Reason.PART_OF_DEPOSIT: "its checks are listed one by one",
    Reason.REISSUE: "payer, payee and amount agree, the trace is new: it may be paid again",
    Reason.PAYEE_DIFFERS: "the payees are not the same",
    Reason.DEPOSIT_DIFFERS: "the deposit is not the sum of its checks",
    Reason.PINNED: "a person made this match, or it was released",
    Reason.RIVAL: "fits a match that stands already",
    Reason.RIVAL_AFTER_RELEASE: "fits a remittance that was released already, or its payment",
    Reason.VETOED: "a person undid this match",
}


def reason_text(flags: int) -> str:
    """Reason flags as text: clauses joined by `; `, empty for none."""
    return "; ".join(text for flag, text in _REASON_TEXTS.items() if flags & flag)


class Field(IntFlag):
    """Fields that a pair was compared on. DATE is the effective date of both sides; PAYEE that of
    the directory, without one bank and account; COMPANY whether the ACH company identifier, too,
    means the remittance's payer."""

    TRACE = 1 << 0
    PAYER = 1 << 1
    AMOUNT = 1 << 2
    DATE = 1 << 3
    PAYEE = 1 << 4
    COMPANY = 1 << 5


class Rewrite(IntFlag):
    """Rewrites that made two values equal: see the normal forms in `reference_keys`."""

    TRACE_N1 = 1 << 0
    TRACE_N2 = 1 << 1
    TRACE_N3 = 1 << 2
    TRACE_N4 = 1 << 3
    TRACE_N5 = 1 << 4
    PAYER_P1 = 1 << 5
    PAYER_P2 = 1 << 6


def among(numbers: Iterable[int]) -> npt.NDArray[np.bool_]:
    """bool[256]: which numbers of a byte are among some: `among(some)[column]` tells a column."""
    table = np.zeros(256, np.bool_)
    table[list(numbers)] = True
    return table
