"""Banking days as entries of the item log: which openings and closes there are until a moment.

The engine never asks what time it is: time reaches it as logged entries. A banking day opens when
its credits are final (08:30 in New York unless the rules say otherwise) and closes when what leans
on uniqueness is decided. Pure functions: whoever calls hands in the moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from reassoc.core.calendar import BankingCalendar
from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.calendar import YEAR_FIRST, YEAR_LAST
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.rules import WarehouseRules

ENTRIES_MAX = 2 * 252 * 20
"""Entries of one call: openings and closes of twenty years. A home that slept longer has been given
a wrong date.
"""
NEW_YORK = ZoneInfo("America/New_York")
EPOCH = date(1970, 1, 1)

_DAY_END = time(23, 59, 59)
_AS_OF = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<time>\d{2}:\d{2}(?::\d{2})?)(?P<offset>Z|[+-]\d{2}:\d{2})?)?",
    re.ASCII,
)


Now = Callable[[], datetime]
"""A clock: the moment, aware of its zone."""


class ClockError(ReassocError):
    """A moment that was handed in is none, or not one; the message says how to write it."""


def entries_until(
    last: ClockEntry | None, until: datetime, calendar: BankingCalendar, rules: WarehouseRules
) -> list[ClockEntry]:
    """The openings and closes of banking days after `last` up to `until`, in order.

    last : the last clock entry of the log; None: the latest opening at or before `until`, and the
        close after it if that has come, too
    until : with a time zone; earlier than `last`: none, see is_behind

    Each opening is followed by its close, also where new settings have made the day a holiday or
    moved the close to before the opening: times never go back. Raises ValueError for an `until`
    without a time zone, LimitError above ENTRIES_MAX. O(days).
    """
    if until.tzinfo is None:
        raise ValueError("until needs a time zone")
    until_day = (until.astimezone(NEW_YORK).date() - EPOCH).days
    if last is None:
        return _first_entries(until, until_day, calendar, rules)
    entries: list[ClockEntry] = []
    if last.kind == "opening":
        entries.append(_entry("close", last.day, rules))
    _check_count(last.day, until_day, calendar)
    days = np.arange(last.day + 1, max(until_day, last.day) + 1)
    for day in days[calendar.is_banking_day(days)].tolist():
        entries += [_entry("opening", day, rules), _entry("close", day, rules)]
    return _come(_not_before(entries, moment(last)), until)


def is_behind(last: ClockEntry | None, now: datetime) -> bool:
    """Whether `now` lies before the last entry: the machine's clock was set back."""
    return last is not None and now < moment(last)


def open_day(entry: ClockEntry) -> int:
    """The banking day whose credits are final, in days since 1970-01-01. A day stays open after its
    close, until the next opening.
    """
    return entry.day


def moment(entry: ClockEntry) -> datetime:
    """When an entry is, with its time zone."""
    return datetime.fromisoformat(entry.as_of)


def parse_as_of(text: str) -> datetime:
    """A moment as people give it, with a time zone.

    2026-03-31 is the end of that day in New York, after its close; 2026-03-31T12:00 (or with
    seconds) a time in New York; 2026-03-31T12:00-04:00 or ...Z a time as it says.

    Raises ClockError for anything else, for years that the calendar does not know, and for a time
    that the change to or from daylight saving leaves out or has twice.
    """
    found = _AS_OF.fullmatch(text.strip())
    if found is None:
        raise ClockError("not a moment: write 2026-03-31, 2026-03-31T12:00 or 2026-03-31T12:00Z")
    try:
        day = date.fromisoformat(found["day"])
        if not YEAR_FIRST <= day.year <= YEAR_LAST:
            raise ClockError(f"the calendar knows the years {YEAR_FIRST} to {YEAR_LAST} only")
        clock = time.fromisoformat(found["time"]) if found["time"] else _DAY_END
        if found["offset"]:
            return datetime.fromisoformat(f"{day}T{clock}{found['offset']}")
    except ValueError:
        raise ClockError("not a moment: there is no such day, time or offset") from None
    return _in_new_york(day, clock)


def _in_new_york(day: date, clock: time) -> datetime:
    local = datetime.combine(day, clock, NEW_YORK)
    if local.astimezone(UTC).astimezone(NEW_YORK).replace(fold=0) != local:
        raise ClockError("no such time in New York: clocks are set forward over it")
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        raise ClockError("New York has this time twice: add its offset, as in T01:30-04:00")
    return local


def _first_entries(
    until: datetime, until_day: int, calendar: BankingCalendar, rules: WarehouseRules
) -> list[ClockEntry]:
    # No calendar closes for a month; the latest opening is that of the last of these days that has
    # opened, which is at most one banking day back.
    days = np.arange(until_day - 31, until_day + 1)
    opened = [
        entry
        for day in days[calendar.is_banking_day(days)].tolist()
        if moment(entry := _entry("opening", day, rules)) <= until
    ]
    if not opened:
        raise ClockError("the calendar has no banking day in the month before: check its holidays")
    return [opened[-1], *_come([_entry("close", opened[-1].day, rules)], until)]


def _entry(kind: Literal["opening", "close"], day: int, rules: WarehouseRules) -> ClockEntry:
    clock = time.fromisoformat(rules.opening_time if kind == "opening" else rules.close_time)
    # Daylight saving begins and ends on Sundays, so no time of a banking day is missing or double.
    when = datetime.combine(date.fromordinal(EPOCH.toordinal() + day), clock, NEW_YORK)
    return ClockEntry(kind, day, when.isoformat())


def _check_count(last_day: int, until_day: int, calendar: BankingCalendar) -> None:
    banking_days = int(calendar.between(last_day + 1, until_day + 1))
    if 2 * banking_days > ENTRIES_MAX:
        raise LimitError(
            f"the last logged banking day is {banking_days} banking days back, more than "
            f"ENTRIES_MAX ({ENTRIES_MAX}) openings and closes: check the date of this machine "
            "or of --as-of"
        )


def _not_before(entries: Sequence[ClockEntry], earliest: datetime) -> list[ClockEntry]:
    """The same with times that never go back."""
    moved = []
    for entry in entries:
        as_of = earliest.isoformat() if moment(entry) < earliest else entry.as_of
        moved.append(ClockEntry(entry.kind, entry.day, as_of))
        earliest = moment(moved[-1])
    return moved


def _come(entries: Sequence[ClockEntry], until: datetime) -> list[ClockEntry]:
    return [entry for entry in entries if moment(entry) <= until]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
