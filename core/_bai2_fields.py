"""Fields of bank reports: amounts, dates, times, funds types."""

from __future__ import annotations

import datetime
import re
from functools import lru_cache

from reassoc.core.columns import DATE_NONE

AMOUNT_DIGITS_MAX = 15
"""Digits of one amount in cents, leading zeros not counted."""
FUNDS_ENTRIES_MAX = 99
"""Parts of one distributed availability (funds type D)."""

PLAIN_FUNDS = frozenset((b"", b"0", b"1", b"2", b"Z"))
"""Funds types that nothing follows."""
FUNDS = PLAIN_FUNDS | {b"V", b"S", b"D"}

_AMOUNT = re.compile(rb"[+-]?0*([0-9]{1,15})")
_TYPE_CODE = re.compile(rb"[0-9]{3}")
_CLOCK = re.compile(rb"([0-9]{2}):?([0-9]{2})(?::?[0-9]{2})?")
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_CENTURY_TURN = 80
"""Years from 80 on are 19xx."""
_SLASH = ord("/")
_REFERENCE = re.compile(rb"[ \t]*[^ \t:]{0,35}[ \t]*")


def amount_of(field: bytes) -> int | None:
    """Cents of an amount, a sign allowed; None where it is none. Never a float."""
    found = _AMOUNT.fullmatch(field)
    if found is None:
        return None
    cents = int(found[1])
    return -cents if field[:1] == b"-" else cents


def is_type_code(field: bytes) -> bool:
    """Three digits."""
    return _TYPE_CODE.fullmatch(field) is not None


@lru_cache(maxsize=4096)
def date_of(field: bytes) -> int | None:
    """Days since 1970-01-01 of a YYMMDD (or YYYYMMDD) date; None where it is none."""
    if len(field) not in (6, 8) or not field.isdigit():
        return None
    year, month, day = int(field[:-4]), int(field[-4:-2]), int(field[-2:])
    if len(field) == 6:
        year += 1900 if year >= _CENTURY_TURN else 2000
    try:
        return datetime.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def time_of(field: bytes) -> int | None:
    """Minute of the day of HHMM, HHMMSS, HH:MM or HH:MM:SS; 1440 for 2400 and 9999; else None."""
    if field == b"9999":
        return 24 * 60
    found = _CLOCK.fullmatch(field)
    if found is None:
        return None
    minutes = int(found[1]) * 60 + int(found[2])
    return minutes if int(found[2]) < 60 and minutes <= 24 * 60 else None


class Funds:
    """What a funds type and the fields behind it say. `problem`: 0 none, 1 bad, 2 too many
    parts."""

    __slots__ = ("parts", "problem", "type", "value_date", "value_time")

    def __init__(self, kind: bytes) -> None:
        self.type = kind
        self.value_date = DATE_NONE
        self.value_time = -1
        self.parts: list[tuple[int, int]] = []
        self.problem = 0

    def value(self, day: bytes, clock: bytes) -> None:
        """Funds type V: a date, and a time that may be blank."""
        when, minute = date_of(day), time_of(clock) if clock else -1
        self.problem |= when is None or minute is None
        self.value_date = DATE_NONE if when is None else when
        self.value_time = -1 if minute is None else minute

    def add(self, days: bytes, amount: bytes) -> None:
        """One part: so much in so many days; a blank amount is none."""
        number, cents = amount_of(days), amount_of(amount) if amount else 0
        if number is None or cents is None or not 0 <= number < 10_000:
            self.problem |= 1
        else:
            self.parts.append((number, cents))


class Fields:
    """The fields of one logical record, taken one by one over its continuations.

    A slash at the end of a physical record stands for the comma before the next field. `at` is the
    byte of the field taken last; `fresh`: it was the first of a continuation.

    holds_text : a 16; its references may hold slashes, so only the last byte of a physical record
        can be its end. In other records the first slash is, and what is behind it is left out.
    """

    __slots__ = ("_data", "_holds_text", "_piece", "_place", "_stop", "at", "fresh", "pieces")

    def __init__(self, data: bytes, pieces: list[tuple[int, int]], *, holds_text: bool) -> None:
        self._data, self._holds_text, self.pieces = data, holds_text, pieces
        self.at, self.fresh = pieces[0][0], False
        self._piece = self._place = self._stop = 0
        self._enter(0)

    def take(self) -> bytes | None:
        """The next field without blanks around it; None where there is none."""
        self.fresh = self._place < 0
        if self.fresh:
            if self.is_last_piece:
                return None
            self._enter(self._piece + 1)
        start, data = self._place, self._data
        comma = data.find(b",", start, self._stop)
        if comma < 0:
            stop, self._place = self._stop, -1
            if stop > start and data[stop - 1] == _SLASH:
                stop -= 1
        else:
            stop, self._place = comma, comma + 1
        field = data[start:stop]
        if field.isalnum():
            # Nearly every field of a header: neither blanks nor line ends.
            self.at = start
            return field
        if b"\n" in field or b"\r" in field:
            field = field.replace(b"\r", b"").replace(b"\n", b"")
        self.at = start + len(field) - len(field.lstrip())
        return field.strip()

    def mark(self) -> tuple[int, int, int]:
        """Where the next field is taken from, for `reset`."""
        return self._piece, self._place, self._stop

    def reset(self, mark: tuple[int, int, int]) -> None:
        """Go back to a mark."""
        self._piece, self._place, self._stop = mark

    @property
    def is_last_piece(self) -> bool:
        """No continuation follows the physical record that is read."""
        return self._piece + 1 >= len(self.pieces)

    def next_holds(self, wanted: int) -> bool:
        """False where the next field would be the first of a continuation that begins not with so
        many references but with text."""
        if self._place >= 0 or self.is_last_piece:
            return True
        start, stop = self.pieces[self._piece + 1]
        fields = self._data[start:stop].removesuffix(b"/").split(b",", wanted)[:wanted]
        return len(fields) == wanted and all(_REFERENCE.fullmatch(field) for field in fields)

    def rest(self) -> list[tuple[int, int]]:
        """The spans that were not taken: text. The first may be the slash alone."""
        following = self.pieces[self._piece + 1 :]
        return [(self._place, self._stop), *following] if self._place >= 0 else following

    def _enter(self, piece: int) -> None:
        self._piece = piece
        self._place, self._stop = self.pieces[piece]
        if not self._holds_text:
            slash = self._data.find(b"/", self._place, self._stop)
            self._stop = self._stop if slash < 0 else slash
