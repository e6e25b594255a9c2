"""Money that goes back: returns, their refusals, reversals; and notifications of change."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from linked import Linked
from pools import DAY

from reassoc.core.ach import EntryKind, ReturnForm
from reassoc.core.matching import pairing
from reassoc.core.policy import Policy
from reassoc.core.statuses import LinkKind, MatchStatus, PaymentSource, PaymentStatus, Reason

Row = dict[str, Any]
TRACE, RETURN_TRACE = 91000010000001, 21000020000077
CREDIT: Row = {"ach_trace": TRACE}
RETURN: Row = {
    "kind": int(EntryKind.RETURN),
    "return_code": "R03",
    "return_form": int(ReturnForm.RETURN),
    "original_trace": TRACE,
    "original_rdfi": 2100002,
    "ach_trace": RETURN_TRACE,
    "settlement_date": DAY + 2,
}
DISHONORED: Row = RETURN | {
    "return_code": "R61",
    "return_form": int(ReturnForm.DISHONORED),
    "return_trace": RETURN_TRACE,
    "ach_trace": 91000010000088,
    "settlement_date": DAY + 3,
}
CONTESTED: Row = DISHONORED | {
    "return_code": "R71",
    "return_form": int(ReturnForm.CONTESTED),
    "ach_trace": 21000020000099,
    "settlement_date": DAY + 7,
}
REVERSAL: Row = {
    "kind": int(EntryKind.DEBIT),
    "entry_description": "REVERSAL",
    "ach_trace": 91000010000500,
    "settlement_date": DAY + 3,
}
AUTO, REVIEW = MatchStatus.AUTO, MatchStatus.REVIEW


def test_a_returned_credit_takes_no_part() -> None:
    found = Linked(CREDIT, RETURN)
    assert found.links == [(1, 0, LinkKind.RETURN_OF, AUTO)]
    assert found.found.days_apart.tolist() == [2]
    assert found.status(0) == PaymentStatus.RETURNED
    assert found.reason(0) == Reason.RETURNED
    assert (found.open, found.back) == ([], [0])


def test_a_return_takes_effect_whatever_stands_first() -> None:
    for rows in ([CREDIT, RETURN], [RETURN, CREDIT]):
        assert len(Linked(*rows).back) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"ach_trace": TRACE + 1},
        {"rdfi_routing": 91000019},
        {"settlement_date": DAY + 3},
        {"settlement_date": DAY + 2 - 61},
        {"kind": int(EntryKind.DEBIT)},
    ],
)
def test_a_return_of_another_entry_leaves_the_credit(other: Row) -> None:
    found = Linked(CREDIT | other, RETURN)
    assert found.links == []
    assert found.reason(1) & Reason.NO_ORIGINAL
    assert found.back == []


def test_a_return_of_another_amount_holds_the_credit() -> None:
    found = Linked(CREDIT | {"amount_cents": 120001}, RETURN)
    assert found.reason(0) & Reason.RETURN_UNCLEAR
    assert found.reason(1) & Reason.RETURN_UNCLEAR
    assert found.back == []


@pytest.mark.parametrize(
    "lacking",
    [
        {"settlement_date": None},
        {"rdfi_routing": -1},
        {"settlement_date": DAY + 2},
        {"settlement_date": DAY + 2 - 60},
    ],
)
def test_what_is_not_given_excludes_nothing(lacking: Row) -> None:
    assert Linked(CREDIT | lacking, RETURN).back == [0]


def test_a_return_that_fits_two_holds_both() -> None:
    again = CREDIT | {"settlement_date": DAY - 7, "account": "999"}
    found = Linked(CREDIT, again, RETURN)
    assert {link[1:] for link in found.links} == {
        (0, LinkKind.RETURN_OF, REVIEW),
        (1, LinkKind.RETURN_OF, REVIEW),
    }
    assert found.hold(0) == found.hold(1) == Reason.RETURN_UNCLEAR
    assert found.reason(2) & Reason.RETURN_UNCLEAR
    assert (found.open, found.back) == ([0, 1], [])


def test_a_suspected_duplicate_is_no_original() -> None:
    found = Linked(CREDIT, CREDIT, RETURN)
    assert found.status(1) == PaymentStatus.DUPLICATE
    assert found.back == [0]


def test_two_returns_of_one_entry_return_it_once() -> None:
    found = Linked(CREDIT, RETURN, RETURN)
    assert [link[3] for link in found.links] == [AUTO, AUTO]
    assert found.back == [0]


def test_a_trace_number_of_zeros_is_never_sure() -> None:
    found = Linked({"ach_trace": 0}, RETURN | {"original_trace": 0})
    assert found.links == [(1, 0, LinkKind.RETURN_OF, REVIEW)]
    assert found.hold(0) == Reason.RETURN_UNCLEAR


def test_a_dishonored_return_leaves_the_payment_to_a_person() -> None:
    found = Linked(CREDIT, RETURN, DISHONORED)
    assert (2, 1, LinkKind.DISHONORED_RETURN_OF, AUTO) in found.links
    assert found.hold(0) == Reason.RETURN_DISHONORED
    assert (found.open, found.back) == ([0], [])


def test_a_dishonored_return_is_found_by_the_original_where_it_names_no_return() -> None:
    found = Linked(CREDIT, RETURN, DISHONORED | {"return_trace": -1})
    assert found.hold(0) == Reason.RETURN_DISHONORED


def test_a_contested_dishonored_return_returns_again() -> None:
    found = Linked(CONTESTED, DISHONORED, RETURN, CREDIT)
    assert (0, 1, LinkKind.CONTESTED_RETURN_OF, AUTO) in found.links
    assert found.status(3) == PaymentStatus.RETURNED
    assert found.back == [3]


def test_a_dishonored_return_answers_all_copies_of_the_return() -> None:
    found = Linked(CREDIT, RETURN, RETURN, DISHONORED)
    assert found.hold(0) == Reason.RETURN_DISHONORED
    assert found.back == []


def test_a_dishonored_return_of_nothing_seen_says_so() -> None:
    found = Linked(CREDIT, DISHONORED)
    assert found.reason(1) & Reason.NO_ORIGINAL
    assert found.hold(0) == 0


def test_more_originals_than_can_be_listed_are_held() -> None:
    rows = [CREDIT | {"account": str(k)} for k in range(6)] + [RETURN]
    with mock.patch.object(pairing, "FITS_MAX", 5):
        crowded = Linked(*rows)
    with mock.patch.object(pairing, "SCAN_MAX", 5):
        unread = Linked(*rows)
    for found in (crowded, unread):
        assert found.links == []
        assert all(found.hold(k) == Reason.RETURN_UNCLEAR for k in range(6))
        assert found.reason(6) & Reason.RETURN_UNCLEAR
        assert found.back == []


# ---- bounced checks ----

CHECK: Row = {"source": int(PaymentSource.CHECK), "trace": "1001", "ach_trace": -1}
BOUNCED: Row = CHECK | {"kind": int(EntryKind.RETURN), "report": 0, "settlement_date": DAY + 5}


def test_a_returned_check_is_back() -> None:
    found = Linked(CHECK, CHECK | {"trace": "1002"}, BOUNCED)
    assert found.links == [(2, 0, LinkKind.RETURN_OF, AUTO)]
    assert found.back == [0]


def test_a_returned_check_without_a_number_holds_what_it_may_be() -> None:
    found = Linked(CHECK, BOUNCED | {"trace": ""})
    assert found.links == [(1, 0, LinkKind.RETURN_OF, REVIEW)]
    assert found.hold(0) == Reason.RETURN_UNCLEAR


# ---- reversals ----


@pytest.mark.parametrize("name", ["REVERSAL", "Reversal  "])
def test_a_reversal_takes_its_credit_back(name: str) -> None:
    found = Linked(CREDIT, REVERSAL | {"entry_description": name})
    assert found.links == [(1, 0, LinkKind.REVERSAL_OF, AUTO)]
    assert found.status(0) == PaymentStatus.REVERSED
    assert found.reason(0) == Reason.REVERSED
    assert (found.open, found.back) == ([], [0])


@pytest.mark.parametrize(
    "other",
    [
        {"entry_description": "RENT"},
        {"company_id": "1999999999"},
        {"account": "999"},
        {"amount_cents": 119999},
        {"rdfi_routing": 91000019},
        {"settlement_date": DAY - 3},
        {"company_id": ""},
    ],
)
def test_another_debit_takes_nothing_back(other: Row) -> None:
    found = Linked(CREDIT, REVERSAL | other)
    assert found.links == []
    assert found.back == []


def test_the_window_of_a_reversal_counts_banking_days() -> None:
    # Monday; Friday is a holiday, so that the fifth banking day is the Tuesday after it.
    assert Linked(CREDIT, REVERSAL | {"settlement_date": DAY + 8}).back == [0]
    assert Linked(CREDIT, REVERSAL | {"settlement_date": DAY + 9}).back == []
    shorter = Policy(reversal_window_banking_days=2)
    assert Linked(CREDIT, REVERSAL, policy=shorter).back == []


def test_two_reversals_of_two_equal_credits_are_unclear() -> None:
    found = Linked(CREDIT, {"ach_trace": TRACE + 1}, REVERSAL, REVERSAL)
    assert {link[3] for link in found.links} == {REVIEW}
    assert len(found.links) == 4
    assert found.hold(0) == found.hold(1) == Reason.REVERSAL_UNCLEAR
    assert found.open == [0, 1]


def test_the_receiver_tells_two_equal_credits_apart() -> None:
    first, second = CREDIT | {"receiver_id": "A-1"}, {"ach_trace": TRACE + 1, "receiver_id": "B2"}
    found = Linked(first, second, REVERSAL | {"receiver_id": "a1"})
    assert found.back == [0]
    assert found.open == [1]
    found = Linked(first, second | {"receiver_id": ""}, REVERSAL | {"receiver_id": "a1"})
    assert found.back == []


def test_an_undated_reversal_is_for_a_person() -> None:
    undated = {"settlement_date": None, "effective_date": None}
    found = Linked(CREDIT, REVERSAL | undated)
    assert found.links == [(1, 0, LinkKind.REVERSAL_OF, REVIEW)]
    assert found.hold(0) == Reason.REVERSAL_UNCLEAR


def test_a_reversal_that_was_sent_back_takes_nothing() -> None:
    its_return = RETURN | {"original_trace": REVERSAL["ach_trace"], "settlement_date": DAY + 4}
    found = Linked(CREDIT, REVERSAL, its_return)
    assert found.status(1) == PaymentStatus.RETURNED
    assert found.hold(0) == Reason.REVERSAL_UNCLEAR
    assert (found.open, found.back) == ([0], [])


def test_a_reversal_in_the_report_of_a_credit_in_the_report() -> None:
    line = {"source": int(PaymentSource.BANK_ACH), "report": 0, "ach_trace": -1}
    assert Linked(line, REVERSAL | line).back == [0]


# ---- notifications ----

CHANGE: Row = {
    "kind": int(EntryKind.NOTIFICATION),
    "return_code": "C01",
    "return_form": int(ReturnForm.CHANGE),
    "original_trace": TRACE,
    "original_rdfi": 2100002,
    "amount_cents": 0,
    "settlement_date": DAY + 2,
}


def test_a_notification_of_change_only_says_so() -> None:
    found = Linked(CREDIT, CHANGE)
    assert found.links == [(1, 0, LinkKind.CHANGE_OF, AUTO)]
    assert found.reason(0) == Reason.ACCOUNT_CHANGED
    assert (found.hold(0), found.open, found.back) == (0, [0], [])


def test_a_prenote_can_be_what_is_changed() -> None:
    found = Linked(CREDIT | {"kind": int(EntryKind.PRENOTE), "amount_cents": 0}, CHANGE)
    assert found.links == [(1, 0, LinkKind.CHANGE_OF, AUTO)]


def test_a_refused_notification_is_linked_and_changes_nothing() -> None:
    refused = CHANGE | {"return_code": "C61", "return_form": int(ReturnForm.CHANGE_REFUSED)}
    found = Linked(CREDIT, refused)
    assert found.links == [(1, 0, LinkKind.CHANGE_OF, AUTO)]
    assert found.reason(0) == 0


def test_a_notification_of_nothing_seen_says_so() -> None:
    assert Linked(CHANGE).reason(0) & Reason.NO_ORIGINAL
