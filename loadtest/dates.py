"""Days as int days since 1970-01-01, and the banking days of the Federal Reserve."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import holidays

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def to_days(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - EPOCH_ORDINAL


@lru_cache(maxsize=4096)
def to_date(days: int) -> date:
    """The date of a number of days since 1970-01-01."""
    return date.fromordinal(days + EPOCH_ORDINAL)


@lru_cache(maxsize=4096)
def compact(days: int) -> str:
    """YYYYMMDD, as X12 writes a date."""
    return f"{to_date(days):%Y%m%d}"


@lru_cache(maxsize=64)
def _closed(year: int) -> frozenset[date]:
    return frozenset(holidays.financial_holidays("XFED", years=year))


@lru_cache(maxsize=4096)
def is_banking_day(days: int) -> bool:
    """Whether the Federal Reserve settles on that day."""
    day = to_date(days)
    return day.weekday() < 5 and day not in _closed(day.year)


def roll_forward(days: int) -> int:
    """The day itself when it is a banking day, else the next one."""
    while not is_banking_day(days):
        days += 1
    return days


def previous_banking_day(days: int) -> int:
    """The last banking day before that day."""
    days -= 1
    while not is_banking_day(days):
        days -= 1
    return days


def next_banking_day(days: int) -> int:
    """The first banking day after that day."""
    return roll_forward(days + 1)


def next_closed_day(days: int) -> int:
    """The first day from that one on that is a weekend or a holiday."""
    while is_banking_day(days):
        days += 1
    return days


def banking_days(start: int, count: int) -> list[int]:
    """`count` banking days, the first one at or after `start`."""
    found: list[int] = []
    day = start
    for _ in range(count):
        day = roll_forward(day)
        found.append(day)
        day += 1
    return found
