"""Banking days over a given list of holidays."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE

EPOCH = datetime.date(1970, 1, 1)
MONDAY = 20528  # 2026-03-16
HOLIDAYS = {MONDAY, MONDAY + 4, MONDAY + 5}  # Monday, Friday, Saturday
CALENDAR = BankingCalendar(np.array(sorted(HOLIDAYS), np.int32))


def is_banking_day(day: int) -> bool:
    return day not in HOLIDAYS and (EPOCH + datetime.timedelta(days=day)).weekday() < 5


def roll(day: int) -> int:
    while not is_banking_day(day):
        day += 1
    return day


@given(st.lists(st.integers(MONDAY - 40, MONDAY + 40)), st.integers(0, 12))
def test_agrees_with_counting_days(days: list[int], count: int) -> None:
    array = np.array(days, np.int32)
    assert CALENDAR.is_banking_day(array).tolist() == [is_banking_day(day) for day in days]
    assert CALENDAR.roll_forward(array).tolist() == [roll(day) for day in days]
    later = CALENDAR.add(array, count)
    assert later.dtype == np.int32
    for day, end in zip(map(roll, days), later.tolist(), strict=True):
        assert sum(is_banking_day(d) for d in range(day, end)) == count
        assert is_banking_day(end)
        assert CALENDAR.between([day], [end]).tolist() == [count]


def test_no_date_stays_no_date() -> None:
    none = np.array([DATE_NONE, MONDAY], np.int32)
    assert not CALENDAR.is_banking_day(none)[0]
    assert CALENDAR.roll_forward(none).tolist() == [DATE_NONE, MONDAY + 1]
    assert CALENDAR.between(none, none).tolist() == [DATE_NONE, 0]


def test_single_days_and_no_holidays() -> None:
    plain = BankingCalendar([])
    assert plain.roll_forward(MONDAY) == MONDAY
    assert plain.roll_forward(np.array([], np.int32)).tolist() == []


def test_holidays_are_days() -> None:
    with pytest.raises(ValueError, match="whole days"):
        BankingCalendar([0.5])
