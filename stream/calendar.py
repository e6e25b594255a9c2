"""The Federal Reserve's banking days, from the `holidays` package."""

from __future__ import annotations

from functools import cache

import numpy as np

from reassoc.core.calendar import BankingCalendar

YEAR_FIRST = 1999
"""The first year whose holidays `holidays.FederalReserve` knows."""
YEAR_LAST = 2100
"""The last year that the calendar is built for; days outside of both are banking days unless on a
weekend.
"""


@cache
def federal_reserve_calendar() -> BankingCalendar:
    """The days on which the Federal Reserve Banks settle ACH, for YEAR_FIRST to YEAR_LAST. Built
    once, 20 ms.

    A holiday on a Sunday moves to Monday; one on a Saturday does not move, so the Friday before it
    is a banking day (2026-07-03, 2027-06-18, 2027-12-24). `holidays.UnitedStates` is the federal
    government's calendar, which does move them, and `holidays.NYSE` is the exchange's: neither is
    right for settlement.
    """
    # Imported late: it brings the calendars of every country, a tenth of a second.
    from holidays.financial.federal_reserve import FederalReserve

    days = FederalReserve(  # type: ignore[no-untyped-call]
        years=range(YEAR_FIRST, YEAR_LAST + 1)
    )
    return BankingCalendar(np.array(sorted(days), dtype="datetime64[D]").astype(np.int32))
