"""Every step of every status is either in the table with a reason or refused."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from reassoc.core.statuses import Funding, PaymentStatus, RemittanceStatus
from reassoc.stream.items import ItemFlag
from reassoc.stream.status_machine import (
    FUNDING_STEPS,
    PAYMENT_STEPS,
    REMITTANCE_STEPS,
    StatusError,
    check_funding,
    check_payments,
    check_remittances,
)

# A row is where it comes from, a column where it goes, in the order of the numbers; `x` is legal.
# Written out once more and by hand: a change of the table must be meant.
REMITTANCES = {
    #                      RIDNCDEMVPR UVAQW
    "RECEIVED": "          .xxxxxxxxxxx..xx",
    "INVALID": "           .xx....x..x.xxx.",
    "DUPLICATE": "         .xxxxxxxxxxxxxxx",
    "NO_FUNDS_EXPECTED": " ..xx...x..x.xxx.",
    "AWAITING_CHECK": "    ..x.x..xxxxxxxx.",
    "AWAITING_CARD": "     ..x..xxxxxxxxxx.",
    "AWAITING_EFT": "      ..x..xxxxxxxxxx.",
    "MATCHED": "           .xxxxxxxxxxxxxxx",
    "MATCHED_VARIANCE": "  ..x.xxxxxxxxxxxx",
    "PROBABLE": "          ..x.xxxxxxxxxxxx",
    "RELEASED": "          ..........xxxx..",
    "UNMATCHED_BY_RETURN": ".xxxxxxxxxxxxxxx",
    "VOIDED": "            ............x...",
    "ARCHIVED": "          .............x..",
    "QUARANTINED": "       .xxxxxxxxxxxxxxx",
    "AWAITING_WIRE": "     ..x....xxxxxxxxx",
}
PAYMENTS = {
    #                      RDNPUMPSRRWQR
    "RECEIVED": "          xxxxxxxxxx.xx",
    "DUPLICATE": "         .xx.xxxxxxxxx",
    "NOT_CLAIM_PAYMENT": " .xx.xxxxxxxxx",
    "PRENOTE": "           ...x.........",
    "UNMATCHED": "         .xx.xxxxxxxxx",
    "MATCHED": "           xxx.xxxxxx.xx",
    "PARTIAL": "           .xx.xxxxxxxxx",
    "SUGGESTED": "         .xx.xxxxxxxxx",
    "RETURNED": "          .xx.xxxxxxxxx",
    "REVERSED": "          .xx.xxxxxxxxx",
    "WRITTEN_TO_SUSPENSE": ".xx.xxxxxxxxx",
    "QUARANTINED": "       .xx.xxxxxxxxx",
    "REPORTED": "          .xx.xxxxxx.xx",
}
FUNDINGS = {"NONE": "xxxx", "EXPECTED": "xxxx", "SETTLED": "xxxx", "POSTED": "xxxx"}


def column(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


def flags(*values: int) -> np.ndarray:
    return np.array(values, np.uint16)


def fitting(status: int) -> int:
    """The flags that a remittance of a status must have."""
    if status in (RemittanceStatus.RELEASED, RemittanceStatus.ARCHIVED):
        return int(ItemFlag.RELEASED)
    return int(ItemFlag.CLOSED) if status == RemittanceStatus.VOIDED else 0


def remittance_step(before: int, after: int) -> None:
    had, has = fitting(before), fitting(after)
    if had & ItemFlag.RELEASED and after in (
        RemittanceStatus.UNMATCHED_BY_RETURN,
        RemittanceStatus.VOIDED,
    ):
        has |= int(ItemFlag.RELEASED)
    if not had & ItemFlag.RELEASED and after == RemittanceStatus.ARCHIVED:
        has = int(ItemFlag.MOVED)
    check_remittances(column(before), column(after), flags(had), flags(has))


def payment_step(before: int, after: int) -> None:
    suspense = PaymentStatus.WRITTEN_TO_SUSPENSE
    had, has = (int(ItemFlag.CLOSED) if status == suspense else 0 for status in (before, after))
    check_payments(column(before), column(after), flags(had), flags(has))


def funding_step(before: int, after: int) -> None:
    check_funding(column(before), column(after), column(PaymentStatus.MATCHED))


@pytest.mark.parametrize(
    ("names", "golden", "steps", "check"),
    [
        (RemittanceStatus, REMITTANCES, REMITTANCE_STEPS, remittance_step),
        (PaymentStatus, PAYMENTS, PAYMENT_STEPS, payment_step),
        (Funding, FUNDINGS, FUNDING_STEPS, funding_step),
    ],
)
def test_each_pair_of_statuses_is_legal_or_refused(
    names: type[IntEnum], golden: dict[str, str], steps: Any, check: Callable[[int, int], None]
) -> None:
    assert list(golden) == [status.name for status in names]
    for before in names:
        row = golden[before.name].strip()
        assert len(row) == len(names)
        for after, mark in zip(names, row, strict=True):
            legal = mark == "x"
            assert before == after or ((before, after) in steps) == legal, (before, after)
            if legal:
                check(before, after)
                continue
            with pytest.raises(StatusError, match=rf"from {before.name} to {after.name}"):
                check(before, after)
    assert all(len(reason) > 5 for reason in steps.values())


RELEASED, CLOSED = int(ItemFlag.RELEASED), int(ItemFlag.CLOSED)
DEFAULTED, MOVED, HELD = int(ItemFlag.DEFAULTED), int(ItemFlag.MOVED), int(ItemFlag.HELD)
R = RemittanceStatus


@pytest.mark.parametrize(
    ("before", "after", "had", "has", "what"),
    [
        (R.RELEASED, R.RELEASED, RELEASED, 0, "lose the flag"),
        (R.RELEASED, R.RELEASED, RELEASED | DEFAULTED, RELEASED, "lose the flag"),
        (R.MATCHED, R.RELEASED, 0, 0, "without the flag"),
        (R.MATCHED, R.MATCHED, 0, RELEASED, "not be RELEASED"),
        (R.MATCHED, R.UNMATCHED_BY_RETURN, 0, RELEASED, "not be RELEASED"),
        (R.UNMATCHED_BY_RETURN, R.AWAITING_EFT, RELEASED, RELEASED, "would be open"),
        (R.UNMATCHED_BY_RETURN, R.MATCHED, RELEASED, RELEASED, "would be open"),
        (R.MATCHED, R.MATCHED, 0, DEFAULTED, "by default without"),
        (R.MATCHED, R.VOIDED, 0, 0, "VOIDED without"),
        (R.MATCHED, R.ARCHIVED, 0, HELD, "neither released nor moved"),
        (R.MATCHED, R.MATCHED, 0, 1 << 12, "not known"),
        (R.MATCHED, 99, 0, 0, "from MATCHED to number 99"),
        (200, R.MATCHED, 0, 0, "from number 200"),
    ],
)
def test_flags_and_statuses_of_remittances_agree(
    before: int, after: int, had: int, has: int, what: str
) -> None:
    with pytest.raises(StatusError, match=what):
        check_remittances(column(before), column(after), flags(had), flags(has))


@pytest.mark.parametrize(
    ("before", "after", "had", "has"),
    [
        (R.UNMATCHED_BY_RETURN, R.RELEASED, RELEASED, RELEASED),
        (R.AWAITING_EFT, R.RELEASED, 0, RELEASED | DEFAULTED),
        (R.UNMATCHED_BY_RETURN, R.ARCHIVED, RELEASED, RELEASED),
        (R.RELEASED, R.RELEASED, RELEASED, RELEASED | HELD),
        (R.RELEASED, R.VOIDED, RELEASED, RELEASED | CLOSED),
        (R.QUARANTINED, R.ARCHIVED, 0, MOVED),
        (R.MATCHED, R.MATCHED, HELD, 0),
    ],
)
def test_what_time_and_people_may_do(before: int, after: int, had: int, has: int) -> None:
    check_remittances(column(before), column(after), flags(had), flags(has))


def test_payments_and_funding_have_rules_of_their_own() -> None:
    suspense, open_ = int(PaymentStatus.WRITTEN_TO_SUSPENSE), int(PaymentStatus.UNMATCHED)
    with pytest.raises(StatusError, match="suspense without"):
        check_payments(column(open_), column(suspense), flags(0), flags(0))
    with pytest.raises(StatusError, match="only remittances"):
        check_payments(column(open_), column(open_), flags(0), flags(RELEASED))
    with pytest.raises(StatusError, match="not known"):
        check_payments(column(open_), column(open_), flags(1 << 9), flags(0))
    settled = column(Funding.SETTLED)
    with pytest.raises(StatusError, match="without money"):
        check_funding(settled, column(Funding.NONE), column(open_))
    check_funding(settled, column(Funding.NONE), column(PaymentStatus.REPORTED))


def test_a_step_of_many_items_names_the_illegal_step_and_counts() -> None:
    before = np.full(100_000, R.MATCHED, np.uint8)
    after = before.copy()
    none = np.zeros(len(before), np.uint16)
    check_remittances(before, after, none, none)
    after[[5, 99_999]] = R.RECEIVED
    before[7], after[7] = R.VOIDED, R.MATCHED
    with pytest.raises(StatusError) as caught:
        check_remittances(before, after, none, none)
    assert str(caught.value) == (
        "2 remittances would go from MATCHED to RECEIVED, which no step may do "
        "(1 more by other steps); nothing was changed"
    )
    nothing = np.zeros(0, np.uint8)
    check_remittances(nothing, nothing, none[:0], none[:0])
