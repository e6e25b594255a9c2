"""Which closed items a state forgets at a close of the day."""

from __future__ import annotations

import numpy as np

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.stream.deciding import Decided
from reassoc.stream.live import Live, Rows
from reassoc.stream.rules import WarehouseRules


def long_closed(
    live: Live, rules: WarehouseRules, calendar: BankingCalendar, day: int
) -> tuple[Rows, Rows]:
    """Rows of items that have been closed for as long as the state remembers them."""
    limit = int(calendar.add(day, -rules.keep_closed_banking_days))
    rows = []
    for side in (live.remittances, live.payments):
        closed = side.rows["closed_day"]
        rows.append(np.flatnonzero((closed != DATE_NONE) & (closed <= limit)))
    return rows[0], rows[1]


def unpaired(live: Live, decided: Decided, left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Those of some items of which no pair goes to an item that stays. O(rounds * pairs)."""
    going_left = np.zeros(len(live.remittances), np.bool_)
    going_right = np.zeros(len(live.payments), np.bool_)
    going_left[left] = going_right[right] = True
    a, b = decided.pair_remittance, decided.pair_payment
    while True:
        torn = going_left[a] != going_right[b]
        if not torn.any():
            return np.flatnonzero(going_left), np.flatnonzero(going_right)
        going_left[a[torn]] = going_right[b[torn]] = False
