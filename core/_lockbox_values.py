"""Amounts and dates of lockbox lists, in the forms that a layout names."""

from __future__ import annotations

import datetime
import re

AMOUNT_DIGITS_MAX = 15
"""Digits of one amount in cents, leading zeros not counted."""
_DECIMAL = re.compile(
    r"(\(|-|\+)?\$?(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.(?P<part>[0-9]*))?(\)|-)?"
)
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_CENTURY_TURN = 80
_TOKEN = re.compile(r"YYYY|YY|MM|M|DD|D|.", re.DOTALL)
_PATTERNS = {
    "YYYY": ("y", "([0-9]{4})"),
    "YY": ("y", "([0-9]{2})"),
    "MM": ("m", "([0-9]{2})"),
    "M": ("m", "([0-9]{1,2})"),
    "DD": ("d", "([0-9]{2})"),
    "D": ("d", "([0-9]{1,2})"),
}


class AmountForm:
    """How amounts are written; exact, never a float. Raises ValueError naming the key."""

    __slots__ = ("_decimals", "_form")

    def __init__(self, form: str, decimals: int) -> None:
        if not 0 <= decimals <= 6:
            raise ValueError("decimals must be from 0 to 6")
        self._form, self._decimals = form, decimals

    def cents(self, text: str) -> int | None:
        """Cents of an amount; None where it is none, or has parts of a cent."""
        found = _DECIMAL.fullmatch(text.strip()) if text.isascii() else None
        if found is None:
            return None
        whole, part = found["whole"].replace(",", ""), found["part"] or ""
        if (not whole and not part) or (found[1] == "(") != (found[4] == ")"):
            return None
        if self._form == "implied":
            if found["part"] is not None:
                return None
            digits = whole.rjust(self._decimals + 1, "0")
            whole = digits[: len(digits) - self._decimals]
            part = digits[len(digits) - self._decimals :]
        whole = whole.lstrip("0")
        if part[2:].strip("0") or len(whole) > AMOUNT_DIGITS_MAX - 2:
            return None
        cents = int(whole or "0") * 100 + int(part[:2].ljust(2, "0"))
        return -cents if found[1] in ("(", "-") or found[4] == "-" else cents


class DateForm:
    """How dates are written: YYYY or YY, MM or M, DD or D, and what stands between them. Raises
    ValueError naming the key."""

    __slots__ = ("_order", "_pattern")

    def __init__(self, form: str) -> None:
        tokens = _TOKEN.findall(form)
        known = [_PATTERNS[token] for token in tokens if token in _PATTERNS]
        self._order = "".join(part for part, _ in known)
        if sorted(self._order) != ["d", "m", "y"]:
            raise ValueError("format must have one of YYYY, YY, one of MM, M and one of DD, D")
        self._pattern = re.compile(
            "".join(
                _PATTERNS[token][1] if token in _PATTERNS else re.escape(token) for token in tokens
            )
        )

    def days(self, text: str) -> int | None:
        """Days since 1970-01-01; None where it is no date of this form."""
        found = self._pattern.fullmatch(text.strip())
        if found is None:
            return None
        values = dict(zip(self._order, map(int, found.groups()), strict=True))
        year = values["y"]
        if year < 100:
            year += 1900 if year >= _CENTURY_TURN else 2000
        try:
            return datetime.date(year, values["m"], values["d"]).toordinal() - _EPOCH
        except ValueError:
            return None
