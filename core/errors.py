"""Every exception class and every stable code of `reassoc.core`.

Codes never change their number or their meaning; new ones are added at the end of their block. A finding's text
carries places, lengths and our own counts, never a value from the file: files hold patients and accounts.
`_findings.h` repeats the numbers for the compiled scanners; a test holds the two together.
"""

from __future__ import annotations

from enum import IntEnum


class ReassocError(Exception):
    """Root of every exception that reassoc raises on purpose."""


class ParseError(ReassocError):
    """The input as a whole cannot be read: it is no X12 or no ACH at all.

    Whatever is wrong inside a file that can be read is a finding, not an exception.

    code : FindingCode    stable
    offset : int          byte in the input, counted from 0
    """

    def __init__(self, code: FindingCode, offset: int, detail: str) -> None:
        super().__init__(f"{code.name} at byte {offset}: {detail}")
        self.code = code
        self.offset = offset
        self.detail = detail


class LimitError(ReassocError):
    """A named limit would be exceeded; the message names the limit and what to do."""


class PolicyError(ReassocError):
    """A policy is not usable; the message names the key."""


class Severity(IntEnum):
    """How much a finding costs. ERROR makes its transaction (or entry) unfit for release by itself."""

    INFO = 0
    WARNING = 1
    ERROR = 2


class FindingCode(IntEnum):
    """What can be wrong with a file. 1000-1999 X12, 2000-2999 ACH. `describe` gives severity and text."""

    # X12: the interchange as a whole
    X12_NO_SEGMENTS = 1000
    X12_ISA_UNPADDED = 1001
    X12_ISA_TERMINATOR_MISSING = 1002
    X12_ISA_BROKEN = 1003
    X12_NO_ISA = 1004
    X12_NO_GS = 1005
    X12_JUNK = 1006
    X12_UNTERMINATED = 1007
    X12_UNKNOWN_SEGMENT = 1008
    X12_MISPLACED_SEGMENT = 1009
    X12_DELIMITERS_CLASH = 1010
    # X12: counts and control numbers
    X12_SE_MISSING = 1020
    X12_SE_COUNT = 1021
    X12_SE_CONTROL_NUMBER = 1022
    X12_GE_MISSING = 1023
    X12_GE_COUNT = 1024
    X12_GE_CONTROL_NUMBER = 1025
    X12_IEA_MISSING = 1026
    X12_IEA_COUNT = 1027
    X12_IEA_CONTROL_NUMBER = 1028
    X12_ST_DUPLICATE = 1029
    X12_TRAILER_UNEXPECTED = 1030
    # X12: elements
    X12_AMOUNT_BAD = 1040
    X12_AMOUNT_EMPTY = 1041
    X12_AMOUNT_DECIMALS = 1042
    X12_AMOUNT_OVERFLOW = 1043
    X12_DATE_BAD = 1044
    X12_QUANTITY_BAD = 1045
    X12_CODE_TOO_LONG = 1046
    X12_CAS_GROUP = 1047
    X12_ELEMENT_MISSING = 1048
    X12_COUNT_BAD = 1049
    # X12: the 835
    X12_BPR_MISSING = 1060
    X12_TRN_MISSING = 1061
    X12_BPR_NEGATIVE = 1062
    X12_BPR_DEBIT = 1063
    X12_BPR_PAYER_DIFFERS = 1064
    X12_TRN_DUPLICATE = 1065
    X12_BPR_DUPLICATE = 1066
    X12_NON_PAYMENT_MISMATCH = 1067
    X12_CURRENCY = 1068
    # X12: balance
    X12_LINE_UNBALANCED = 1080
    X12_CLAIM_UNBALANCED = 1081
    X12_CLAIM_CHARGE_DIFFERS = 1082
    X12_TRANSACTION_UNBALANCED = 1083
    X12_SUM_OVERFLOW = 1084
    # X12: limits
    X12_TRANSACTION_TOO_LARGE = 1090


_I, _W, _E = Severity.INFO, Severity.WARNING, Severity.ERROR

_CATALOGUE: dict[FindingCode, tuple[Severity, str]] = {
    FindingCode.X12_NO_SEGMENTS: (_E, "no segment could be read"),
    FindingCode.X12_ISA_UNPADDED: (_I, "ISA is not 106 bytes long: its elements are not padded to their fixed widths"),
    FindingCode.X12_ISA_TERMINATOR_MISSING: (
        _W,
        "the byte after ISA16 is not the segment terminator; it was taken from the segment that follows",
    ),
    FindingCode.X12_ISA_BROKEN: (_E, "ISA without its sixteen elements: the interchange cannot be read"),
    FindingCode.X12_NO_ISA: (_W, "no ISA: delimiters were taken from the first GS or ST"),
    FindingCode.X12_NO_GS: (_W, "transaction set outside of a functional group"),
    FindingCode.X12_JUNK: (_W, "bytes between envelopes that are no segment; skipped"),
    FindingCode.X12_UNTERMINATED: (_W, "the last segment has no terminator"),
    FindingCode.X12_UNKNOWN_SEGMENT: (_W, "a segment that the 835 does not have; kept, but in no column"),
    FindingCode.X12_MISPLACED_SEGMENT: (_W, "a segment where the 835 does not allow it"),
    FindingCode.X12_DELIMITERS_CLASH: (_E, "two delimiters of the ISA are the same byte"),
    FindingCode.X12_SE_MISSING: (_E, "the transaction set has no SE"),
    FindingCode.X12_SE_COUNT: (_E, "SE01 is not the number of segments counted"),
    FindingCode.X12_SE_CONTROL_NUMBER: (_E, "SE02 is not the control number of ST02"),
    FindingCode.X12_GE_MISSING: (_E, "the functional group has no GE"),
    FindingCode.X12_GE_COUNT: (_E, "GE01 is not the number of transaction sets counted"),
    FindingCode.X12_GE_CONTROL_NUMBER: (_E, "GE02 is not the control number of GS06"),
    FindingCode.X12_IEA_MISSING: (_E, "the interchange has no IEA"),
    FindingCode.X12_IEA_COUNT: (_E, "IEA01 is not the number of functional groups counted"),
    FindingCode.X12_IEA_CONTROL_NUMBER: (_E, "IEA02 is not the control number of ISA13"),
    FindingCode.X12_ST_DUPLICATE: (_W, "ST02 repeats the control number of the transaction set before it"),
    FindingCode.X12_TRAILER_UNEXPECTED: (_W, "SE, GE or IEA without the header it would close"),
    # An unreadable amount counts as 0 and unbalances whatever it belongs to; only the transaction's balance is an error.
    FindingCode.X12_AMOUNT_BAD: (_W, "not an amount"),
    FindingCode.X12_AMOUNT_EMPTY: (_W, "a required amount is empty"),
    FindingCode.X12_AMOUNT_DECIMALS: (_W, "an amount with more than two decimals"),
    FindingCode.X12_AMOUNT_OVERFLOW: (_W, "an amount too large to be kept exactly"),
    FindingCode.X12_DATE_BAD: (_W, "not a date"),
    FindingCode.X12_QUANTITY_BAD: (_W, "not a quantity"),
    FindingCode.X12_CODE_TOO_LONG: (_W, "a code longer than the guide allows; its column holds the beginning"),
    FindingCode.X12_CAS_GROUP: (_W, "CAS01 is not a claim adjustment group code"),
    FindingCode.X12_ELEMENT_MISSING: (_W, "a required element is missing"),
    FindingCode.X12_COUNT_BAD: (_E, "a control count is not a number"),
    FindingCode.X12_BPR_MISSING: (_E, "the 835 has no BPR: nothing says what was paid"),
    FindingCode.X12_TRN_MISSING: (_E, "the 835 has no TRN: nothing says which payment it belongs to"),
    FindingCode.X12_BPR_NEGATIVE: (_E, "BPR02 is negative"),
    FindingCode.X12_BPR_DEBIT: (_E, "BPR03 is not C: the 835 does not advise a credit"),
    FindingCode.X12_BPR_PAYER_DIFFERS: (_W, "BPR10 and TRN03 name different payers"),
    FindingCode.X12_TRN_DUPLICATE: (_E, "a second TRN before the first claim"),
    FindingCode.X12_BPR_DUPLICATE: (_E, "a second BPR in the transaction"),
    FindingCode.X12_NON_PAYMENT_MISMATCH: (_W, "BPR01, BPR02 and BPR04 do not agree whether money is paid"),
    FindingCode.X12_CURRENCY: (_W, "CUR names another currency than USD"),
    FindingCode.X12_LINE_UNBALANCED: (_W, "SVC02 less the adjustments of the service is not SVC03"),
    FindingCode.X12_CLAIM_UNBALANCED: (_W, "CLP03 less the adjustments of the claim is not CLP04"),
    FindingCode.X12_CLAIM_CHARGE_DIFFERS: (_W, "CLP03 is not the sum of SVC02 of its services"),
    FindingCode.X12_TRANSACTION_UNBALANCED: (_E, "BPR02 is not the sum of CLP04 less the PLB amounts"),
    FindingCode.X12_SUM_OVERFLOW: (_E, "a sum of amounts is too large to be kept exactly"),
    FindingCode.X12_TRANSACTION_TOO_LARGE: (_E, "the transaction is larger than TRANSACTION_BYTES_MAX; its detail was skipped"),
}


def severity(code: FindingCode) -> Severity:
    """The severity of a finding code; fixed for the code."""
    return _CATALOGUE[code][0]


def describe(code: FindingCode) -> str:
    """The text of a finding code: what is wrong, in one clause, with no value of the file in it."""
    return _CATALOGUE[code][1]
