"""Plain twin of the value readers: amounts, quantities, counts and dates, one value at a time.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
"""

from __future__ import annotations

import datetime
import re

from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode

INT64_MAX = 2**63 - 1
CENTS_MAX = 10**13 - 1
"""A hundred billion dollars, less a cent."""
CHARACTERS_MAX = 18
"""Longest decimal, sign and point counted."""
COUNT_DIGITS_MAX = 10

_DECIMAL = re.compile(rb"(-?)([0-9]*)(?:\.([0-9]*))?")
_EPOCH = datetime.date(1970, 1, 1).toordinal()


def unwrapped(value: bytes) -> bytes:
    """A value without the CR and LF that a line wrap put into it."""
    return value.replace(b"\r", b"").replace(b"\n", b"")


def decimal(value: bytes, places: int) -> tuple[int, FindingCode | None]:
    """Read a plain decimal as an integer of 10**-places units, or say what is wrong with it.

    Returns (number, None) or (0, code) with X12_AMOUNT_BAD, _DECIMALS or _OVERFLOW. A value that is
    no decimal at all is bad before anything else is asked of it; then its length counts.
    """
    match = _DECIMAL.fullmatch(value)
    if match is None:
        return 0, FindingCode.X12_AMOUNT_BAD
    sign, whole, fraction = match[1], match[2], match[3] or b""
    if not whole and not fraction:
        return 0, FindingCode.X12_AMOUNT_BAD
    if len(value) > CHARACTERS_MAX:
        return 0, FindingCode.X12_AMOUNT_OVERFLOW
    if len(fraction) > places:
        return 0, FindingCode.X12_AMOUNT_DECIMALS
    number = int((whole + fraction.ljust(places, b"0")) or b"0")
    if number > (CENTS_MAX if places == 2 else INT64_MAX):
        return 0, FindingCode.X12_AMOUNT_OVERFLOW
    return (-number if sign else number), None


def amount_cents(value: bytes) -> tuple[int, FindingCode | None]:
    """An amount in cents, see `decimal`; empty is X12_AMOUNT_EMPTY (the caller may allow it)."""
    if not value:
        return 0, FindingCode.X12_AMOUNT_EMPTY
    return decimal(value, 2)


def quantity_e4(value: bytes) -> tuple[int, FindingCode | None]:
    """A quantity in ten-thousandths; whatever is wrong with it is X12_QUANTITY_BAD. Empty is 0."""
    if not value:
        return 0, None
    number, code = decimal(value, 4)
    return number, None if code is None else FindingCode.X12_QUANTITY_BAD


def count(value: bytes) -> int | None:
    """A control count: digits only, at most COUNT_DIGITS_MAX of them; None when it is not."""
    if not value or len(value) > COUNT_DIGITS_MAX or not value.isdigit():
        return None
    return int(value)


def date_days(value: bytes) -> tuple[int, FindingCode | None]:
    """CCYYMMDD or YYMMDD (this century) as days since 1970-01-01; empty is DATE_NONE."""
    if not value:
        return DATE_NONE, None
    if len(value) == 6:
        value = b"20" + value
    if len(value) == 8 and value.isdigit():
        try:
            day = datetime.date(int(value[:4]), int(value[4:6]), int(value[6:]))
        except ValueError:
            return DATE_NONE, FindingCode.X12_DATE_BAD
        return day.toordinal() - _EPOCH, None
    return DATE_NONE, FindingCode.X12_DATE_BAD
