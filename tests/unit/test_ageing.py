"""Banking days that items have waited, their buckets, and what was received late."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from reassoc.core.columns import DATE_NONE
from reassoc.stream.ageing import (
    BUCKET_NAMES,
    AgeBucket,
    ages,
    buckets,
    payments_late,
    received_late,
    remittances_late,
)
from reassoc.stream.calendar import federal_reserve_calendar

FED = federal_reserve_calendar()


def days(*texts: str) -> np.ndarray:
    numbers = [(date.fromisoformat(text) - date(1970, 1, 1)).days if text else DATE_NONE
               for text in texts]  # fmt: skip
    return np.array(numbers, np.int32)


def test_ages_count_banking_days_only() -> None:
    # 2026-07-03 (Friday) is a banking day, 2026-05-25 (Monday) a holiday.
    anchors = days("2026-05-22", "2026-05-23", "2026-05-25", "2026-05-26", "2026-05-29", "")
    found = ages(anchors, int(days("2026-05-28")[0]), FED)
    assert found.tolist() == [3, 2, 2, 2, -1, DATE_NONE]
    assert ages(days("2026-07-02"), int(days("2026-07-06")[0]), FED).tolist() == [2]


def test_every_age_has_its_bucket() -> None:
    edges = {
        AgeBucket.IN_TOLERANCE: (-400, -1, 0, 1, 3),
        AgeBucket.LATE: (4,),
        AgeBucket.DAYS_5_TO_10: (5, 10),
        AgeBucket.DAYS_11_TO_30: (11, 30),
        AgeBucket.DAYS_31_TO_60: (31, 60),
        AgeBucket.DAYS_61_AND_MORE: (61, 100_000),
        AgeBucket.NO_DATE: (DATE_NONE,),
    }
    for bucket, values in edges.items():
        assert buckets(values).tolist() == [bucket] * len(values)
    assert buckets(np.zeros(0, np.int32)).dtype == np.uint8
    names = [BUCKET_NAMES[bucket] for bucket in edges]
    assert names == ["0-3", "4", "5-10", "11-30", "31-60", "61+", "no date"]


@pytest.mark.parametrize(
    ("effective", "settlement", "remittance_seen", "payment_seen", "remittance", "payment"),
    [
        ("2026-03-17", "2026-03-17", "2026-03-20", "2026-03-17", False, False),
        ("2026-03-17", "2026-03-17", "2026-03-23", "2026-03-17", True, False),
        ("2026-03-17", "2026-03-17", "2026-03-12", "2026-03-20", False, False),
        ("2026-03-17", "2026-03-24", "2026-03-16", "2026-03-23", False, True),
        ("", "2026-03-17", "2026-03-23", "2026-03-17", True, False),
        ("", "", "2026-03-23", "2026-03-17", False, False),
        ("2026-03-17", "2026-03-17", "", "", False, False),
        # Over a weekend: effective on Saturday is due on Monday.
        ("2026-03-14", "2026-03-16", "2026-03-19", "2026-03-19", False, False),
        ("2026-03-14", "2026-03-16", "2026-03-20", "2026-03-20", True, True),
    ],
)
def test_three_business_days_of_core_370(
    effective: str,
    settlement: str,
    remittance_seen: str,
    payment_seen: str,
    remittance: bool,
    payment: bool,
) -> None:
    due, settled, seen, paid = map(days, (effective, settlement, remittance_seen, payment_seen))
    assert remittances_late(due, settled, seen, FED).tolist() == [remittance]
    assert payments_late(due, paid, FED).tolist() == [payment]
    assert received_late(due, settled, seen, paid, FED).tolist() == [remittance or payment]
