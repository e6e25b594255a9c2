"""Banking days: weekdays that are no holiday. Which days are holidays is told from outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE

Days = npt.NDArray[np.int32]


class BankingCalendar:
    """Monday to Friday, less the given holidays.

    holidays : int32[k]    days since 1970-01-01, in any order; those on a weekend change nothing

    All methods take days as an int or an int32 array and give int32 arrays; DATE_NONE gives
    DATE_NONE. O(n log k).
    """

    __slots__ = ("_busdays", "holidays")

    def __init__(self, holidays: npt.ArrayLike) -> None:
        days = np.asarray(holidays)
        if days.size and not np.issubdtype(days.dtype, np.integer):
            raise ValueError(f"holidays must be whole days since 1970-01-01, not {days.dtype}")
        self.holidays: Days = np.unique(days.astype(np.int32).ravel())
        self._busdays = np.busdaycalendar(holidays=self.holidays.astype("datetime64[D]"))

    def is_banking_day(self, days: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """bool[n]: whether each day is one; False for DATE_NONE."""
        known, dates = _dates(days)
        answer: npt.NDArray[np.bool_] = np.is_busday(dates, busdaycal=self._busdays) & known
        return answer

    def roll_forward(self, days: npt.ArrayLike) -> Days:
        """int32[n]: the day itself where it is a banking day, else the next one."""
        return self.add(days, 0)

    def add(self, days: npt.ArrayLike, count: npt.ArrayLike) -> Days:
        """int32[n]: the day rolled forward, then `count` banking days on (back where negative)."""
        known, dates = _dates(days)
        moved = np.busday_offset(dates, count, roll="forward", busdaycal=self._busdays)
        return np.where(known, moved.astype(np.int64), DATE_NONE).astype(np.int32)

    def between(self, starts: npt.ArrayLike, stops: npt.ArrayLike) -> Days:
        """int32[n]: banking days from start on and before stop; negative where stop is earlier."""
        known_starts, start_dates = _dates(starts)
        known_stops, stop_dates = _dates(stops)
        counts = np.busday_count(start_dates, stop_dates, busdaycal=self._busdays)
        return np.where(known_starts & known_stops, counts, DATE_NONE).astype(np.int32)


def _dates(days: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Which days are known, and all of them as datetime64 (day 0 for the others)."""
    numbers = np.asarray(days, np.int64)
    known = numbers != DATE_NONE
    return known, np.where(known, numbers, 0).astype("datetime64[D]")
