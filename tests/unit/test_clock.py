"""Openings and closes of banking days, in New York, over holidays and daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core.calendar import BankingCalendar
from reassoc.core.errors import LimitError
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import (
    ENTRIES_MAX,
    EPOCH,
    NEW_YORK,
    ClockError,
    entries_until,
    is_behind,
    moment,
    open_day,
    parse_as_of,
)
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.rules import WarehouseRules

FED = federal_reserve_calendar()
RULES = WarehouseRules()


def day(text: str) -> int:
    return (date.fromisoformat(text) - EPOCH).days


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def told(entries: list[ClockEntry]) -> list[str]:
    return [f"{entry.kind} {entry.as_of}" for entry in entries]


def test_a_new_home_begins_with_the_latest_opening() -> None:
    friday = at("2026-03-13T08:30")
    before = entries_until(None, friday - timedelta(seconds=1), FED, RULES)
    assert told(before) == [
        "opening 2026-03-12T08:30:00-04:00",
        "close 2026-03-12T18:30:00-04:00",
    ]
    assert told(entries_until(None, friday, FED, RULES)) == ["opening 2026-03-13T08:30:00-04:00"]
    sunday = entries_until(None, at("2026-03-15T12:00"), FED, RULES)
    assert [(entry.kind, open_day(entry)) for entry in sunday] == [
        ("opening", day("2026-03-13")),
        ("close", day("2026-03-13")),
    ]


def test_weekends_holidays_and_the_change_of_clocks_lie_between() -> None:
    # 2026-03-08 clocks go forward, 2026-11-01 back; 2026-11-11 is a holiday, a Wednesday.
    last = ClockEntry("opening", day("2026-03-06"), "2026-03-06T08:30:00-05:00")
    assert told(entries_until(last, at("2026-03-09T23:00"), FED, RULES)) == [
        "close 2026-03-06T18:30:00-05:00",
        "opening 2026-03-09T08:30:00-04:00",
        "close 2026-03-09T18:30:00-04:00",
    ]
    last = ClockEntry("close", day("2026-10-30"), "2026-10-30T18:30:00-04:00")
    entries = entries_until(last, at("2026-11-12T09:00"), FED, RULES)
    opened = [entry.day for entry in entries if entry.kind == "opening"]
    assert day("2026-11-11") not in opened
    assert len(opened) == 8
    assert told(entries)[0] == "opening 2026-11-02T08:30:00-05:00"
    assert entries[-1].kind == "opening"
    # A Saturday holiday does not move: the Friday before is a banking day.
    last = ClockEntry("close", day("2026-07-02"), "2026-07-02T18:30:00-04:00")
    assert entries_until(last, at("2026-07-03T08:30"), FED, RULES)[0].day == day("2026-07-03")


def test_a_moment_in_another_zone_is_that_moment() -> None:
    last = ClockEntry("opening", day("2026-03-12"), "2026-03-12T08:30:00-04:00")
    assert entries_until(last, datetime(2026, 3, 12, 22, 29, 59, tzinfo=UTC), FED, RULES) == []
    assert len(entries_until(last, datetime(2026, 3, 12, 22, 30, tzinfo=UTC), FED, RULES)) == 1
    with pytest.raises(ValueError, match="time zone"):
        entries_until(last, datetime(2026, 3, 12), FED, RULES)


def test_a_clock_that_was_set_back_gives_nothing_and_is_told() -> None:
    last = ClockEntry("close", day("2026-03-12"), "2026-03-12T18:30:00-04:00")
    for now in (at("2026-03-12T18:29"), at("2020-01-02T12:00")):
        assert is_behind(last, now)
        assert entries_until(last, now, FED, RULES) == []
    assert not is_behind(last, at("2026-03-12T18:30"))
    assert not is_behind(None, at("1999-01-01T00:00"))


def test_new_settings_never_turn_time_back_or_lose_a_close() -> None:
    last = ClockEntry("opening", day("2026-03-12"), "2026-03-12T08:30:00-04:00")
    earlier = WarehouseRules(opening_time="05:00", close_time="07:00")
    assert told(entries_until(last, at("2026-03-12T08:30"), FED, earlier)) == [
        "close 2026-03-12T08:30:00-04:00"
    ]
    holiday = BankingCalendar(np.append(FED.holidays, day("2026-03-12")))
    entries = entries_until(last, at("2026-03-13T09:00"), holiday, RULES)
    assert [(entry.kind, entry.day) for entry in entries] == [
        ("close", day("2026-03-12")),
        ("opening", day("2026-03-13")),
    ]


def test_too_long_a_sleep_is_a_wrong_date() -> None:
    last = ClockEntry("close", day("2026-03-12"), "2026-03-12T18:30:00-04:00")
    years = entries_until(last, at("2046-01-01T00:00"), FED, RULES)
    assert len(years) <= ENTRIES_MAX
    with pytest.raises(LimitError, match="ENTRIES_MAX"):
        entries_until(last, at("2047-01-01T00:00"), FED, RULES)
    with pytest.raises(LimitError, match="--as-of"):
        entries_until(last, at("9999-12-31T00:00"), FED, RULES)


_MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


@given(first=_MOMENTS, looks=st.lists(_MOMENTS, max_size=6))
def test_how_often_somebody_looks_changes_nothing(first: datetime, looks: list[datetime]) -> None:
    start = entries_until(None, first, FED, RULES)
    end = max([first, *looks])
    whole = start + entries_until(start[-1], end, FED, RULES)
    pieces = list(start)
    for look in looks:  # in any order: those that lie back give nothing
        pieces += entries_until(pieces[-1], look, FED, RULES)
    assert pieces == whole
    moments = [moment(entry) for entry in whole]
    assert moments == sorted(moments)
    assert all(moments[i] < moments[i + 1] for i in range(len(moments) - 1))
    kinds = [entry.kind for entry in whole]
    assert kinds == (["opening", "close"] * len(kinds))[: len(kinds)]
    assert FED.is_banking_day([entry.day for entry in whole]).all()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-31", "2026-04-01T03:59:59+00:00"),
        ("2026-12-31", "2027-01-01T04:59:59+00:00"),
        ("2026-03-31T12:00", "2026-03-31T16:00:00+00:00"),
        (" 2026-03-31 12:00:30 ", "2026-03-31T16:00:30+00:00"),
        ("2026-03-31T12:00Z", "2026-03-31T12:00:00+00:00"),
        ("2026-03-31T12:00:01+02:00", "2026-03-31T10:00:01+00:00"),
        ("2026-11-01T01:30-04:00", "2026-11-01T05:30:00+00:00"),
    ],
)
def test_moments_as_people_write_them(text: str, instant: str) -> None:
    found = parse_as_of(text)
    assert found.astimezone(UTC).isoformat() == instant
    assert found.tzinfo is not None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "write 2026-03-31"),
        ("today", "write 2026-03-31"),
        ("20260331", "write 2026-03-31"),
        ("31.03.2026", "write 2026-03-31"),
        ("2026-03-31T12", "write 2026-03-31"),
        ("2026-02-29", "no such day"),
        ("2026-03-31T24:30", "no such day"),
        ("2026-03-31T12:00+25:00", "no such day"),
        ("9999-12-31", "1999 to 2100"),
        ("0001-01-01T00:00+10:00", "1999 to 2100"),
        ("2026-03-08T02:30", "set forward"),
        ("2026-11-01T01:30", "twice"),
    ],
)
def test_what_is_no_moment_is_told(text: str, what: str) -> None:
    with pytest.raises(ClockError, match=what):
        parse_as_of(text)
