"""How long an item has waited, in banking days, and what was received late.

A remittance's age counts from its effective date (BPR16), a payment's from its settlement day. CORE
370 lets the 835 come from three business days before to three after the effective entry date of its
payment; when the payer released it is not visible here, so late means received late.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from reassoc.core.calendar import BankingCalendar, Days
from reassoc.core.columns import DATE_NONE

TOLERANCE_BANKING_DAYS = 3

Mask = npt.NDArray[np.bool_]


class AgeBucket(IntEnum):
    """Ages that are shown together."""

    IN_TOLERANCE = 0
    LATE = 1
    DAYS_5_TO_10 = 2
    DAYS_11_TO_30 = 3
    DAYS_31_TO_60 = 4
    DAYS_61_AND_MORE = 5
    NO_DATE = 6


BUCKET_NAMES = ("0-3", "4", "5-10", "11-30", "31-60", "61+", "no date")
"""By AgeBucket, as people read them."""
BUCKET_STARTS = (0, TOLERANCE_BANKING_DAYS + 1, 5, 11, 31, 61)
"""First age of each bucket, in banking days; below the first is in tolerance, too."""
assert len(BUCKET_NAMES) == len(AgeBucket) == len(BUCKET_STARTS) + 1


def ages(anchors: npt.ArrayLike, day: int, calendar: BankingCalendar) -> Days:
    """int32[n]: banking days from each anchor, rolled forward to one, until `day`.

    anchors : int32[n] days since 1970-01-01, DATE_NONE gives DATE_NONE

    Negative while the anchor is to come. O(n log k) for k holidays.
    """
    return calendar.between(anchors, day)


def buckets(age: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """uint8[n]: AgeBucket of ages as `ages` gives them. O(n)."""
    days = np.asarray(age, np.int64)
    found = np.searchsorted(BUCKET_STARTS, days, side="right") - 1
    numbers = np.where(days == DATE_NONE, int(AgeBucket.NO_DATE), np.maximum(found, 0))
    return numbers.astype(np.uint8)


def remittances_late(
    effective: npt.ArrayLike,
    settlement: npt.ArrayLike,
    seen: npt.ArrayLike,
    calendar: BankingCalendar,
) -> Mask:
    """bool[n]: 835s received more than TOLERANCE_BANKING_DAYS after the effective entry date.

    effective : int32[n] BPR16, by CORE 370 the effective entry date of the payment, too
    settlement : int32[n] of the payment, what counts where there is no BPR16
    seen : int32[n] day on which the 835 was received

    False where the days are not known. O(n log k).
    """
    due = np.asarray(effective, np.int32)
    due = np.where(due == DATE_NONE, np.asarray(settlement, np.int32), due)
    return _more_than_tolerance(due, seen, calendar)


def payments_late(effective: npt.ArrayLike, seen: npt.ArrayLike, calendar: BankingCalendar) -> Mask:
    """bool[n]: payments received more than TOLERANCE_BANKING_DAYS after what their 835 says (BPR16:
    `effective`). seen : int32[n] day on which the payment was received. O(n log k).
    """
    return _more_than_tolerance(effective, seen, calendar)


def received_late(
    effective: npt.ArrayLike,
    settlement: npt.ArrayLike,
    remittance_seen: npt.ArrayLike,
    payment_seen: npt.ArrayLike,
    calendar: BankingCalendar,
) -> Mask:
    """bool[n]: pairs of which either side was received late. O(n log k)."""
    late: Mask = remittances_late(effective, settlement, remittance_seen, calendar)
    return late | payments_late(effective, payment_seen, calendar)


def _more_than_tolerance(
    due: npt.ArrayLike, seen: npt.ArrayLike, calendar: BankingCalendar
) -> Mask:
    late: Mask = calendar.between(due, seen) > TOLERANCE_BANKING_DAYS
    return late
