"""The banking calendar is that of the Federal Reserve Banks."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from reassoc.stream.calendar import federal_reserve_calendar

# Holidays as the Federal Reserve publishes them (K.8), those on a weekday.
CLOSED = {
    2021: "0101 0118 0215 0531 0705 0906 1011 1111 1125",
    2023: "0102 0116 0220 0529 0619 0704 0904 1009 1123 1225",
    2026: "0101 0119 0216 0525 0619 0907 1012 1111 1126 1225",
    2027: "0101 0118 0215 0531 0705 0906 1011 1111 1125",
    2028: "0117 0221 0529 0619 0704 0904 1009 1123 1225",
}


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize("text", ["2026-07-03", "2027-06-18", "2027-12-24", "2021-12-24"])
def test_the_friday_before_a_saturday_holiday_is_a_banking_day(text: str) -> None:
    assert federal_reserve_calendar().is_banking_day(day(text))


@pytest.mark.parametrize("year", CLOSED)
def test_closed_weekdays_are_the_published_ones(year: int) -> None:
    calendar = federal_reserve_calendar()
    first, last = day(f"{year}-01-01"), day(f"{year}-12-31")
    days = np.arange(first, last + 1, dtype=np.int32)
    weekday = (days + 3) % 7 < 5
    closed = days[weekday & ~calendar.is_banking_day(days)]
    assert (
        " ".join(f"{np.datetime64(int(d), 'D').astype(date):%m%d}" for d in closed) == CLOSED[year]
    )


def test_a_sunday_holiday_moves_to_monday() -> None:
    calendar = federal_reserve_calendar()
    assert calendar.roll_forward(day("2027-07-03")).tolist() == day("2027-07-06")
