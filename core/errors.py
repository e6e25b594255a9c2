"""Every exception class and every stable code of `reassoc.core`.

Codes never change their number or their meaning; new ones are added at the end of their block. A
finding's text carries places, lengths and our own counts, never a value from the file: files hold
patients and accounts. `_findings.h` repeats the numbers for the compiled scanners; a test holds the
two together.
"""

from __future__ import annotations

from enum import IntEnum

FINDINGS_MAX = 100_000
"""Findings of one window of X12 or ACH, or of one input read at once; those behind them are counted
only, by a last finding. What makes a transaction or an entry not valid does so all the same.
"""


class ReassocError(Exception):
    """Root of every exception that reassoc raises on purpose."""


class ParseError(ReassocError):
    """The input as a whole cannot be read: it is no X12, ACH, BAI2 or lockbox list at all.

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


class LayoutError(ReassocError):
    """The layout of a lockbox list is not usable; the message names the key."""


class DirectoryError(ReassocError):
    """A directory is not usable, or contradicts itself; the message names the key."""


class Severity(IntEnum):
    """How much a finding costs. ERROR makes its transaction (or entry) unfit for release by
    itself."""

    INFO = 0
    WARNING = 1
    ERROR = 2


class FindingCode(IntEnum):
    """What can be wrong with a file. 1000-1999 X12, 2000-2999 ACH, 3000-3499 BAI2, 3500-3999
    lockbox lists. `describe` gives the text, `severity` the severity."""

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
    X12_FINDINGS_MORE = 1091
    # ACH: the input as a whole
    ACH_NO_RECORDS = 2000
    ACH_JUNK = 2002
    ACH_RECORD_SHORT = 2003
    ACH_RECORD_LONG = 2004
    ACH_RECORD_MISPLACED = 2005
    ACH_UNSUPPORTED_LAYOUT = 2006
    ACH_FILE_HEADER_FORMAT = 2007
    # ACH: missing records
    ACH_FILE_HEADER_MISSING = 2010
    ACH_FILE_CONTROL_MISSING = 2011
    ACH_BATCH_HEADER_MISSING = 2012
    ACH_BATCH_CONTROL_MISSING = 2013
    # ACH: control of a file
    ACH_FILE_BATCH_COUNT = 2020
    ACH_FILE_BLOCK_COUNT = 2021
    ACH_FILE_FILLER_MISSING = 2022
    ACH_FILE_ENTRY_COUNT = 2023
    ACH_FILE_HASH = 2024
    ACH_FILE_DEBIT_TOTAL = 2025
    ACH_FILE_CREDIT_TOTAL = 2026
    # ACH: control of a batch
    ACH_BATCH_ENTRY_COUNT = 2030
    ACH_BATCH_HASH = 2031
    ACH_BATCH_DEBIT_TOTAL = 2032
    ACH_BATCH_CREDIT_TOTAL = 2033
    ACH_SERVICE_CLASS_DIFFERS = 2034
    ACH_COMPANY_ID_DIFFERS = 2035
    ACH_BATCH_NUMBER_DIFFERS = 2036
    ACH_ODFI_DIFFERS = 2037
    ACH_SERVICE_CLASS_UNKNOWN = 2038
    ACH_SEC_UNKNOWN = 2039
    # ACH: fields
    ACH_NUMBER_BAD = 2050
    ACH_CONTROL_NUMBER_BAD = 2051
    ACH_AMOUNT_BAD = 2052
    ACH_DATE_BAD = 2053
    ACH_ROUTING_BAD = 2054
    ACH_CHECK_DIGIT = 2055
    ACH_TRACE_BAD = 2056
    ACH_TRACE_ORDER = 2057
    ACH_TRANSACTION_CODE_UNKNOWN = 2058
    ACH_ADDENDA_INDICATOR = 2059
    # ACH: addenda
    ACH_ADDENDA_TYPE_UNKNOWN = 2070
    ACH_ADDENDA_SEQUENCE = 2071
    ACH_ADDENDA_ENTRY_DIFFERS = 2072
    ACH_ADDENDA_COUNT = 2073
    ACH_ADDENDA_TOO_MANY = 2074
    ACH_ADDENDA_ORPHAN = 2075
    ACH_ADDENDA_LIMIT = 2076
    ACH_RETURN_CODE_UNKNOWN = 2077
    ACH_TRN_UNCERTAIN = 2078
    # ACH: findings themselves
    ACH_FINDINGS_MORE = 2090
    # BAI2: the input as a whole and its records
    BAI2_NO_RECORDS = 3000
    BAI2_JUNK = 3001
    BAI2_RECORD_UNKNOWN = 3002
    BAI2_RECORD_DAMAGED = 3003
    BAI2_RECORD_LONG = 3004
    BAI2_RECORDS_JOINED = 3005
    BAI2_LINE_BROKEN = 3006
    BAI2_UNTERMINATED = 3007
    BAI2_CONTINUATION_ORPHAN = 3008
    BAI2_CONTINUATION_LIMIT = 3009
    BAI2_FIELD_COUNT = 3010
    BAI2_TEXT_EARLY = 3011
    # BAI2: missing records
    BAI2_FILE_HEADER_MISSING = 3020
    BAI2_FILE_TRAILER_MISSING = 3021
    BAI2_GROUP_HEADER_MISSING = 3022
    BAI2_GROUP_TRAILER_MISSING = 3023
    BAI2_ACCOUNT_HEADER_MISSING = 3024
    BAI2_ACCOUNT_TRAILER_MISSING = 3025
    BAI2_TRAILER_UNEXPECTED = 3026
    # BAI2: totals and counts
    BAI2_ACCOUNT_TOTAL = 3030
    BAI2_ACCOUNT_RECORD_COUNT = 3031
    BAI2_GROUP_TOTAL = 3032
    BAI2_GROUP_ACCOUNT_COUNT = 3033
    BAI2_GROUP_RECORD_COUNT = 3034
    BAI2_FILE_TOTAL = 3035
    BAI2_FILE_GROUP_COUNT = 3036
    BAI2_FILE_RECORD_COUNT = 3037
    BAI2_TOTAL_BLANK = 3038
    BAI2_CONTROL_NUMBER_BAD = 3039
    # BAI2: fields
    BAI2_AMOUNT_BAD = 3050
    BAI2_AMOUNT_NEGATIVE = 3051
    BAI2_SUMMARY_AMOUNT_BAD = 3052
    BAI2_TYPE_CODE_BAD = 3053
    BAI2_ITEM_COUNT_BAD = 3054
    BAI2_FUNDS_TYPE_BAD = 3055
    BAI2_FUNDS_LIMIT = 3056
    BAI2_DATE_BAD = 3057
    BAI2_TIME_BAD = 3058
    BAI2_GROUP_STATUS_BAD = 3059
    BAI2_GROUP_NO_MONEY = 3060
    BAI2_CURRENCY = 3061
    BAI2_ACCOUNT_EMPTY = 3062
    BAI2_VERSION = 3063
    BAI2_TRN_UNCERTAIN = 3064
    # lockbox lists
    LOCKBOX_NO_ROWS = 3500
    LOCKBOX_COLUMN_MISSING = 3501
    LOCKBOX_ROW_SHORT = 3502
    LOCKBOX_ROW_BROKEN = 3503
    LOCKBOX_RECORD_UNKNOWN = 3504
    LOCKBOX_AMOUNT_BAD = 3505
    LOCKBOX_AMOUNT_NEGATIVE = 3506
    LOCKBOX_DATE_BAD = 3507
    LOCKBOX_ROUTING_BAD = 3508
    LOCKBOX_NUMBER_MISSING = 3509
    LOCKBOX_TEXT_BAD = 3510
    LOCKBOX_ROW_LONG = 3511
    LOCKBOX_TOTAL_COUNT = 3520
    LOCKBOX_TOTAL_AMOUNT = 3521
    LOCKBOX_TOTAL_BAD = 3522


_I, _W, _E = Severity.INFO, Severity.WARNING, Severity.ERROR
_MORE = "more findings than FINDINGS_MAX: the rest of them is counted only"

_CATALOGUE: dict[FindingCode, tuple[Severity, str]] = {
    FindingCode.X12_NO_SEGMENTS: (_E, "no segment could be read"),
    FindingCode.X12_ISA_UNPADDED: (
        _I,
        "ISA is not 106 bytes long: its elements are not padded to their fixed widths",
    ),
    FindingCode.X12_ISA_TERMINATOR_MISSING: (
        _W,
        "the byte after ISA16 is not the terminator; it was taken from the segment behind",
    ),
    FindingCode.X12_ISA_BROKEN: (
        _E,
        "ISA without its sixteen elements: the interchange cannot be read",
    ),
    FindingCode.X12_NO_ISA: (_W, "no ISA: delimiters were taken from the first GS or ST"),
    FindingCode.X12_NO_GS: (_W, "transaction set outside of a functional group"),
    FindingCode.X12_JUNK: (_W, "bytes between envelopes that are no segment; skipped"),
    FindingCode.X12_UNTERMINATED: (_W, "the last segment has no terminator"),
    FindingCode.X12_UNKNOWN_SEGMENT: (
        _W,
        "a segment that the 835 does not have; kept, but in no column",
    ),
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
    FindingCode.X12_ST_DUPLICATE: (
        _W,
        "ST02 repeats the control number of the transaction set before it",
    ),
    FindingCode.X12_TRAILER_UNEXPECTED: (_W, "SE, GE or IEA without the header it would close"),
    # An unreadable amount counts as 0 and unbalances whatever it belongs to; only the
    # transaction's balance is an error.
    FindingCode.X12_AMOUNT_BAD: (_W, "not an amount"),
    FindingCode.X12_AMOUNT_EMPTY: (_W, "a required amount is empty"),
    FindingCode.X12_AMOUNT_DECIMALS: (_W, "an amount with more than two decimals"),
    FindingCode.X12_AMOUNT_OVERFLOW: (_W, "an amount too large to be kept exactly"),
    FindingCode.X12_DATE_BAD: (_W, "not a date"),
    FindingCode.X12_QUANTITY_BAD: (_W, "not a quantity"),
    FindingCode.X12_CODE_TOO_LONG: (
        _W,
        "an element longer than the guide allows; its column holds the beginning",
    ),
    FindingCode.X12_CAS_GROUP: (_W, "CAS01 is not a claim adjustment group code"),
    FindingCode.X12_ELEMENT_MISSING: (_W, "a required element is missing"),
    FindingCode.X12_COUNT_BAD: (_E, "a control count is not a number"),
    FindingCode.X12_BPR_MISSING: (_E, "the 835 has no BPR: nothing says what was paid"),
    FindingCode.X12_TRN_MISSING: (
        _E,
        "the 835 has no TRN: nothing says which payment it belongs to",
    ),
    FindingCode.X12_BPR_NEGATIVE: (_E, "BPR02 is negative"),
    FindingCode.X12_BPR_DEBIT: (_E, "BPR03 is not C: the 835 does not advise a credit"),
    FindingCode.X12_BPR_PAYER_DIFFERS: (_W, "BPR10 and TRN03 name different payers"),
    FindingCode.X12_TRN_DUPLICATE: (_E, "a second TRN before the first claim"),
    FindingCode.X12_BPR_DUPLICATE: (_E, "a second BPR in the transaction"),
    FindingCode.X12_NON_PAYMENT_MISMATCH: (
        _W,
        "BPR01, BPR02 and BPR04 do not agree whether money is paid",
    ),
    FindingCode.X12_CURRENCY: (_W, "CUR names another currency than USD"),
    FindingCode.X12_LINE_UNBALANCED: (_W, "SVC02 less the adjustments of the service is not SVC03"),
    FindingCode.X12_CLAIM_UNBALANCED: (_W, "CLP03 less the adjustments of the claim is not CLP04"),
    FindingCode.X12_CLAIM_CHARGE_DIFFERS: (_W, "CLP03 is not the sum of SVC02 of its services"),
    FindingCode.X12_TRANSACTION_UNBALANCED: (
        _E,
        "BPR02 is not the sum of CLP04 less the PLB amounts",
    ),
    FindingCode.X12_SUM_OVERFLOW: (_E, "a sum of amounts is too large to be kept exactly"),
    FindingCode.X12_TRANSACTION_TOO_LARGE: (
        _E,
        "the transaction is larger than TRANSACTION_BYTES_MAX; its detail was skipped",
    ),
    FindingCode.X12_FINDINGS_MORE: (_W, _MORE),
    FindingCode.ACH_NO_RECORDS: (_E, "no record of an ACH file could be read"),
    FindingCode.ACH_JUNK: (_W, "bytes that are no record; skipped"),
    FindingCode.ACH_RECORD_SHORT: (
        _I,
        "the record has fewer than 94 columns; the rest was taken as blank",
    ),
    FindingCode.ACH_RECORD_LONG: (_I, "blanks beyond the 94 columns of the record"),
    FindingCode.ACH_RECORD_MISPLACED: (
        _W,
        "a control record without the batch or file it would close",
    ),
    FindingCode.ACH_UNSUPPORTED_LAYOUT: (
        _W,
        "an IAT or ADV batch: counted and checked, its entries are in no table",
    ),
    FindingCode.ACH_FILE_HEADER_FORMAT: (
        _W,
        "record size, blocking factor and format code are not 094, 10 and 1",
    ),
    FindingCode.ACH_FILE_HEADER_MISSING: (_W, "no file header (1) before this record"),
    FindingCode.ACH_FILE_CONTROL_MISSING: (_W, "the file has no control record (9)"),
    FindingCode.ACH_BATCH_HEADER_MISSING: (_W, "no batch header (5) before this record"),
    FindingCode.ACH_BATCH_CONTROL_MISSING: (_W, "the batch has no control record (8)"),
    FindingCode.ACH_FILE_BATCH_COUNT: (
        _E,
        "the file control's batch count is not the number counted",
    ),
    FindingCode.ACH_FILE_BLOCK_COUNT: (
        _W,
        "the file control's block count is not the number counted",
    ),
    FindingCode.ACH_FILE_FILLER_MISSING: (
        _I,
        "the file is not filled up to a multiple of ten records",
    ),
    FindingCode.ACH_FILE_ENTRY_COUNT: (
        _E,
        "the file control's entry and addenda count is not the number counted",
    ),
    FindingCode.ACH_FILE_HASH: (_E, "the file control's entry hash is not the sum counted"),
    FindingCode.ACH_FILE_DEBIT_TOTAL: (_E, "the file control's debit total is not the sum counted"),
    FindingCode.ACH_FILE_CREDIT_TOTAL: (
        _E,
        "the file control's credit total is not the sum counted",
    ),
    FindingCode.ACH_BATCH_ENTRY_COUNT: (
        _E,
        "the batch control's entry and addenda count is not the number counted",
    ),
    FindingCode.ACH_BATCH_HASH: (_E, "the batch control's entry hash is not the sum counted"),
    FindingCode.ACH_BATCH_DEBIT_TOTAL: (
        _E,
        "the batch control's debit total is not the sum counted",
    ),
    FindingCode.ACH_BATCH_CREDIT_TOTAL: (
        _E,
        "the batch control's credit total is not the sum counted",
    ),
    FindingCode.ACH_SERVICE_CLASS_DIFFERS: (_W, "service class of batch header and control differ"),
    FindingCode.ACH_COMPANY_ID_DIFFERS: (
        _W,
        "company identification of batch header and control differ",
    ),
    FindingCode.ACH_BATCH_NUMBER_DIFFERS: (_W, "batch number of batch header and control differ"),
    FindingCode.ACH_ODFI_DIFFERS: (_W, "originating bank of batch header and control differ"),
    FindingCode.ACH_SERVICE_CLASS_UNKNOWN: (
        _W,
        "the service class is none of 200, 220, 225 and 280",
    ),
    FindingCode.ACH_SEC_UNKNOWN: (_I, "not a standard entry class code"),
    FindingCode.ACH_NUMBER_BAD: (_W, "a numeric field that is no number"),
    FindingCode.ACH_CONTROL_NUMBER_BAD: (_E, "a control field that is no number"),
    FindingCode.ACH_AMOUNT_BAD: (_E, "the amount is no number"),
    FindingCode.ACH_DATE_BAD: (_W, "not a date"),
    FindingCode.ACH_ROUTING_BAD: (_W, "the receiving bank's routing number is no number"),
    FindingCode.ACH_CHECK_DIGIT: (_W, "the routing number's check digit is wrong"),
    FindingCode.ACH_TRACE_BAD: (_W, "the trace number is no number"),
    FindingCode.ACH_TRACE_ORDER: (
        _W,
        "the trace number is not above the one before it in the batch",
    ),
    FindingCode.ACH_TRANSACTION_CODE_UNKNOWN: (_W, "not a transaction code"),
    FindingCode.ACH_ADDENDA_INDICATOR: (
        _W,
        "the addenda indicator and the addenda that follow do not agree",
    ),
    FindingCode.ACH_ADDENDA_TYPE_UNKNOWN: (_W, "not an addenda type"),
    FindingCode.ACH_ADDENDA_SEQUENCE: (_W, "the addenda are not numbered 1, 2, 3 and so on"),
    FindingCode.ACH_ADDENDA_ENTRY_DIFFERS: (
        _W,
        "the addenda does not end with the last digits of its entry's trace number",
    ),
    FindingCode.ACH_ADDENDA_COUNT: (_W, "the entry's number of addenda is not the number counted"),
    FindingCode.ACH_ADDENDA_TOO_MANY: (
        _W,
        "more than one addenda in an entry of a class that allows one",
    ),
    FindingCode.ACH_ADDENDA_ORPHAN: (_W, "addenda without an entry before it"),
    FindingCode.ACH_ADDENDA_LIMIT: (
        _W,
        "more addenda than ENTRY_ADDENDA_MAX in one entry; the rest belongs to none",
    ),
    FindingCode.ACH_RETURN_CODE_UNKNOWN: (_W, "not a return reason or change code"),
    FindingCode.ACH_TRN_UNCERTAIN: (
        _I,
        "a TRN may be there, but which characters are its trace is not sure; none was taken",
    ),
    FindingCode.ACH_FINDINGS_MORE: (_W, _MORE),
    FindingCode.BAI2_NO_RECORDS: (_E, "no record of a BAI2 report could be read"),
    FindingCode.BAI2_JUNK: (_W, "lines that are no record; skipped"),
    FindingCode.BAI2_RECORD_UNKNOWN: (_W, "not a record code of BAI2"),
    FindingCode.BAI2_RECORD_DAMAGED: (_W, "the record code is not followed by a comma"),
    FindingCode.BAI2_RECORD_LONG: (
        _W,
        "the record is longer than RECORD_BYTES_MAX; its end was left out",
    ),
    FindingCode.BAI2_RECORDS_JOINED: (_I, "several records on one line"),
    FindingCode.BAI2_LINE_BROKEN: (_I, "the record goes on in a line without a record code"),
    FindingCode.BAI2_UNTERMINATED: (_I, "a record without the slash at its end"),
    FindingCode.BAI2_CONTINUATION_ORPHAN: (_W, "a continuation without a record before it"),
    FindingCode.BAI2_CONTINUATION_LIMIT: (
        _W,
        "more continuations than CONTINUATIONS_MAX; the rest was left out",
    ),
    FindingCode.BAI2_FIELD_COUNT: (
        _I,
        "fields too many or too few where a continuation or summary begins; read as it was meant",
    ),
    FindingCode.BAI2_TEXT_EARLY: (_I, "the text begins before both references were given"),
    FindingCode.BAI2_FILE_HEADER_MISSING: (_W, "no file header (01) before this record"),
    FindingCode.BAI2_FILE_TRAILER_MISSING: (_W, "the file has no trailer (99)"),
    FindingCode.BAI2_GROUP_HEADER_MISSING: (_W, "no group header (02) before this record"),
    FindingCode.BAI2_GROUP_TRAILER_MISSING: (_W, "the group has no trailer (98)"),
    FindingCode.BAI2_ACCOUNT_HEADER_MISSING: (_E, "no account (03) before this record"),
    FindingCode.BAI2_ACCOUNT_TRAILER_MISSING: (
        _E,
        "the account has no trailer (49): its total cannot be checked",
    ),
    FindingCode.BAI2_TRAILER_UNEXPECTED: (
        _W,
        "a trailer without the account, group or file it would close",
    ),
    FindingCode.BAI2_ACCOUNT_TOTAL: (_E, "the account's control total is not the sum counted"),
    FindingCode.BAI2_ACCOUNT_RECORD_COUNT: (
        _W,
        "the account's record count is not the number counted",
    ),
    FindingCode.BAI2_GROUP_TOTAL: (_E, "the group's control total is not the sum counted"),
    FindingCode.BAI2_GROUP_ACCOUNT_COUNT: (
        _W,
        "the group's account count is not the number counted",
    ),
    FindingCode.BAI2_GROUP_RECORD_COUNT: (_W, "the group's record count is not the number counted"),
    FindingCode.BAI2_FILE_TOTAL: (_E, "the file's control total is not the sum counted"),
    FindingCode.BAI2_FILE_GROUP_COUNT: (_W, "the file's group count is not the number counted"),
    FindingCode.BAI2_FILE_RECORD_COUNT: (_W, "the file's record count is not the number counted"),
    FindingCode.BAI2_TOTAL_BLANK: (_I, "the control total is blank: nothing could be checked"),
    FindingCode.BAI2_CONTROL_NUMBER_BAD: (_E, "a control total or count that is no number"),
    FindingCode.BAI2_AMOUNT_BAD: (_E, "the amount of a detail is missing or no number"),
    FindingCode.BAI2_AMOUNT_NEGATIVE: (_E, "the amount of a detail has a sign"),
    FindingCode.BAI2_SUMMARY_AMOUNT_BAD: (_W, "the amount of a summary is no number"),
    FindingCode.BAI2_TYPE_CODE_BAD: (_W, "not a type code: three digits"),
    FindingCode.BAI2_ITEM_COUNT_BAD: (_W, "an item count that is no number"),
    FindingCode.BAI2_FUNDS_TYPE_BAD: (_W, "not a funds type, or not the fields that it asks for"),
    FindingCode.BAI2_FUNDS_LIMIT: (
        _W,
        "more parts than FUNDS_ENTRIES_MAX in a distribution of funds; not read",
    ),
    FindingCode.BAI2_DATE_BAD: (_W, "not a date"),
    FindingCode.BAI2_TIME_BAD: (_W, "not a time"),
    FindingCode.BAI2_GROUP_STATUS_BAD: (
        _W,
        "the group's status is none of 1 to 4; taken as an update",
    ),
    FindingCode.BAI2_GROUP_NO_MONEY: (
        _I,
        "a group that deletes or tests: its details are no money",
    ),
    FindingCode.BAI2_CURRENCY: (_W, "another currency than USD"),
    FindingCode.BAI2_ACCOUNT_EMPTY: (_W, "the account has no number"),
    FindingCode.BAI2_VERSION: (_I, "the version is not 2"),
    FindingCode.BAI2_TRN_UNCERTAIN: (
        _I,
        "a TRN may be there, but which characters are its trace is not sure; none was taken",
    ),
    FindingCode.LOCKBOX_NO_ROWS: (_E, "no row of a lockbox list could be read"),
    FindingCode.LOCKBOX_COLUMN_MISSING: (
        _E,
        "the header does not name a column that the layout asks for",
    ),
    FindingCode.LOCKBOX_ROW_SHORT: (_E, "the row ends before a field that the layout asks for"),
    FindingCode.LOCKBOX_ROW_BROKEN: (_E, "the row cannot be parted into fields"),
    FindingCode.LOCKBOX_ROW_LONG: (
        _E,
        "the row has more fields than the header names: a delimiter may stand in one of them",
    ),
    FindingCode.LOCKBOX_RECORD_UNKNOWN: (
        _W,
        "the layout does not say what this kind of row is; skipped",
    ),
    FindingCode.LOCKBOX_AMOUNT_BAD: (_E, "the amount is missing or not what the layout says"),
    FindingCode.LOCKBOX_AMOUNT_NEGATIVE: (_E, "the amount is negative"),
    FindingCode.LOCKBOX_DATE_BAD: (_W, "not a date of the layout's form"),
    FindingCode.LOCKBOX_ROUTING_BAD: (_W, "not a routing number, or its check digit is wrong"),
    FindingCode.LOCKBOX_NUMBER_MISSING: (_W, "the check has no number"),
    FindingCode.LOCKBOX_TEXT_BAD: (
        _W,
        "bytes that the layout's encoding does not have; read as Latin-1",
    ),
    FindingCode.LOCKBOX_TOTAL_COUNT: (_E, "the totals row's count is not the number counted"),
    FindingCode.LOCKBOX_TOTAL_AMOUNT: (_E, "the totals row's amount is not the sum counted"),
    FindingCode.LOCKBOX_TOTAL_BAD: (_E, "a count or an amount of the totals row is no number"),
}


def severity(code: FindingCode) -> Severity:
    """The severity of a finding code; fixed for the code."""
    return _CATALOGUE[code][0]


def describe(code: FindingCode) -> str:
    """The text of a finding code: what is wrong, in one clause, with no value of the file in it."""
    return _CATALOGUE[code][1]
