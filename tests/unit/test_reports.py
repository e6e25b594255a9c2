"""Bank reports: repeated lines, lines about entries that are known, deposits and their checks."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from linked import Linked
from pools import DAY

from reassoc.core.matching import pairing
from reassoc.core.statuses import (
    Funding,
    LinkKind,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
)

Row = dict[str, Any]
AUTO, REVIEW = MatchStatus.AUTO, MatchStatus.REVIEW
BANK: Row = {"id_digest": 5, "report": 0, "ach_trace": -1, "odfi": -1, "effective_date": None}
LINE: Row = BANK | {"source": int(PaymentSource.BANK_ACH), "type_code": 165}
CHECK: Row = {
    "source": int(PaymentSource.CHECK),
    "id_digest": 6,
    "ach_trace": -1,
    "trace": "1001",
    "amount_cents": 500,
}
CHECK_LINE: Row = CHECK | BANK | {"type_code": 116}
DEPOSIT: Row = BANK | {
    "source": int(PaymentSource.DEPOSIT),
    "type_code": 115,
    "trace": "",
    "amount_cents": 1000,
}


def test_an_entry_that_the_bank_reports_is_posted_and_the_line_no_payment() -> None:
    for rows, entry, line in (([{}, LINE], 0, 1), ([LINE, {}], 1, 0)):
        found = Linked(*rows)
        assert found.links == [(line, entry, LinkKind.REPORT_OF, AUTO)]
        assert found.funding(entry) == Funding.POSTED
        assert found.reason(entry) == Reason.REPORTED_BY_BANK
        assert found.status(line) == PaymentStatus.REPORTED
        assert found.funding(line) == Funding.NONE
        assert found.open == [entry]


def test_a_line_without_an_entry_is_a_posted_payment() -> None:
    found = Linked(LINE)
    assert found.links == []
    assert found.open == [0]
    assert found.funding(0) == Funding.POSTED


@pytest.mark.parametrize(
    "other",
    [
        {"account": "999"},
        {"amount_cents": 120001},
        {"settlement_date": DAY + 2},
        {"trace": "98765"},
    ],
)
def test_a_line_about_other_money_is_a_payment(other: Row) -> None:
    found = Linked({}, LINE | other)
    assert found.links == []
    assert found.open == [0, 1]


@pytest.mark.parametrize(
    "form",
    [
        {"account": "00-05566778"},
        {"trace": ""},
        {"trace": "12-345678"},
        {"settlement_date": DAY + 1},
    ],
)
def test_the_same_money_in_another_form(form: Row) -> None:
    assert Linked({}, LINE | form).open == [0]


def test_the_posting_window_counts_banking_days() -> None:
    # Thursday to Monday, with the Friday a holiday.
    assert Linked({"settlement_date": DAY + 3}, LINE | {"settlement_date": DAY + 7}).open == [0]


def test_a_trace_that_the_bank_cut_is_no_other_trace() -> None:
    cut = LINE | {"trace": "1234567890"}
    assert Linked({"trace": "12345678901234"}, cut).open == [0]
    assert Linked({"trace": "12345671234"}, LINE | {"trace": "1234567"}).open == [0, 1]


def test_traces_part_equal_payments_first_then_what_is_left() -> None:
    rows = [{"trace": "A1"}, {"trace": "B2"}, {"trace": ""}]
    rows += [LINE | {"trace": "B2"}, LINE | {"trace": ""}, LINE | {"trace": "A1"}]
    found = Linked(*rows)
    assert {link[:2] for link in found.links} == {(3, 1), (4, 2), (5, 0)}
    assert found.open == [0, 1, 2]


def test_a_trace_number_in_the_line_tells() -> None:
    entries = [{"trace": "", "ach_trace": 11}, {"trace": "", "ach_trace": 12}]
    lines = [LINE | {"trace": "", "ach_trace": k, "type_code": k} for k in (12, 11)]
    found = Linked(*entries, *lines)
    assert {link[:2] for link in found.links} == {(2, 1), (3, 0)}


def test_an_unclear_line_is_no_payment_and_the_entries_go_on() -> None:
    found = Linked({}, LINE | {"trace": ""}, LINE | {"trace": ""})
    assert [link[3] for link in found.links] == [REVIEW, REVIEW]
    assert found.open == [0]
    assert found.hold(0) == 0
    assert found.reason(0) == found.reason(1) == Reason.REPORT_UNCLEAR
    assert found.funding(0) == Funding.SETTLED


def test_as_many_lines_as_entries_equal_in_every_field_stay_unclear() -> None:
    found = Linked({}, {}, LINE, LINE, as_of=DAY - 1)
    assert len(found.links) == 4
    assert found.open == [0, 1]
    assert found.funding(0) == found.funding(1) == Funding.EXPECTED


def test_a_line_with_a_value_date_to_come_posts_nothing_yet() -> None:
    found = Linked({}, LINE | {"settlement_date": DAY + 1}, as_of=DAY)
    assert found.funding(0) == Funding.SETTLED
    assert found.open == [0]


def test_a_report_that_does_not_add_up_links_and_posts_nothing() -> None:
    entry = {"settlement_date": DAY + 9, "effective_date": DAY + 1}
    line = LINE | {"trace": "0012345678", "settlement_date": DAY + 8, "id_offset": 7}
    for valid, funding in ((True, Funding.POSTED), (False, Funding.EXPECTED)):
        found = Linked(entry, line | {"valid": valid}, as_of=DAY + 8)
        assert found.links == [(1, 0, LinkKind.REPORT_OF, AUTO)]
        assert found.funding(0) == funding
        assert found.reason(0) == Reason.REPORTED_BY_BANK
        assert found.status(1) == PaymentStatus.REPORTED
        checks = two_checks(settlement_date=DAY + 1, effective_date=DAY + 1)
        deposit = DEPOSIT | {"valid": valid}
        found = Linked(*checks, deposit, as_of=DAY)
        assert {link[1:] for link in found.links} == {(2, LinkKind.PART_OF, AUTO)}
        assert [found.funding(k) for k in range(3)] == [funding, funding, Funding.NONE]


def test_a_returned_entry_is_still_what_the_line_reports() -> None:
    returned = {"kind": 5, "original_trace": 77, "ach_trace": 78, "settlement_date": DAY + 2}
    found = Linked({"ach_trace": 77}, returned, LINE)
    assert found.status(0) == PaymentStatus.RETURNED
    assert found.open == []


def test_an_undated_entry_is_linked_by_its_trace_alone() -> None:
    undated = {"settlement_date": None, "effective_date": None}
    assert Linked(undated, LINE).funding(0) == Funding.POSTED
    found = Linked(undated, LINE | {"trace": ""})
    assert found.links == [(1, 0, LinkKind.REPORT_OF, REVIEW)]
    assert found.open == [0]


def test_more_entries_than_can_be_listed() -> None:
    with mock.patch.object(pairing, "FITS_MAX", 2):
        found = Linked({}, {}, {}, LINE | {"trace": ""})
    assert found.links == []
    assert found.open == [0, 1, 2]
    assert all(found.reason(k) == Reason.REPORT_UNCLEAR for k in range(4))


# ---- lines that repeat ----


def test_a_line_repeated_in_another_report_is_a_copy() -> None:
    for again in ({"report": 1}, {"id_digest": 9}):
        found = Linked(LINE, LINE | again)
        assert found.status(1) == PaymentStatus.DUPLICATE
        assert found.open == [0]


def test_equal_lines_of_one_report_are_all_real() -> None:
    assert Linked(LINE, LINE).open == [0, 1]
    found = Linked(LINE, LINE, LINE | {"report": 1}, LINE | {"report": 1}, LINE | {"report": 2})
    assert found.open == [0, 1]


def test_the_largest_number_in_any_report_counts() -> None:
    found = Linked(LINE | {"report": 1}, LINE, LINE, LINE)
    assert len(found.open) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"type_code": 142},
        {"trace": "1"},
        {"company_name": "OTHER"},
        {"settlement_date": DAY + 1},
    ],
)
def test_lines_that_say_other_things_are_no_copies(other: Row) -> None:
    assert Linked(LINE, LINE | {"report": 1} | other).open == [0, 1]
    references = {"bank_reference": "R1"}, {"report": 1, "bank_reference": "R2"}
    assert Linked(*(LINE | each for each in references)).open == [0, 1]


def test_a_line_without_a_reference_repeats_one_with_it() -> None:
    named, unnamed = LINE | {"bank_reference": "R1"}, LINE | {"report": 1}
    assert Linked(unnamed, named).open == [1]
    assert Linked(unnamed, unnamed, named).open == [0, 2]
    assert Linked(unnamed, named, named | {"bank_reference": "R2"}).open == [1, 2]
    assert Linked(unnamed | {"report": 0}, named).open == [0, 1]


def test_a_line_read_twice_is_one_line() -> None:
    once = LINE | {"id_offset": 7}
    assert len(Linked(once, once).open) == 1
    assert len(Linked(once, once, LINE | {"report": 1}).open) == 1


def test_the_copy_of_a_damaged_report_stands() -> None:
    found = Linked(LINE | {"valid": False}, LINE | {"report": 1})
    assert found.open == [1]


def test_a_list_of_checks_sent_again() -> None:
    rows = [CHECK, CHECK | {"trace": "1002"}]
    assert Linked(*rows, *(row | {"id_digest": 9} for row in rows)).open == [0, 1]


# ---- checks and deposits ----


def test_a_listed_check_and_its_line_are_one_payment() -> None:
    found = Linked(CHECK, CHECK_LINE | {"trace": "0001001"})
    assert found.links == [(1, 0, LinkKind.REPORT_OF, AUTO)]
    assert found.open == [0]
    assert found.funding(0) == Funding.POSTED


def test_a_check_is_told_by_its_number_where_a_list_gives_no_account() -> None:
    assert Linked(CHECK | {"account": ""}, CHECK_LINE).open == [0]
    assert Linked(CHECK | {"account": ""}, CHECK_LINE | {"trace": "1002"}).open == [0, 1]


def two_checks(**fields: Any) -> list[Row]:
    return [CHECK | fields, CHECK | fields | {"trace": "1002"}]


@pytest.mark.parametrize("text", ["", "D-1"])
def test_a_deposit_is_its_checks(text: str) -> None:
    found = Linked(*two_checks(deposit=text), DEPOSIT | {"deposit": "d1" if text else ""})
    assert found.links == [(0, 2, LinkKind.PART_OF, AUTO), (1, 2, LinkKind.PART_OF, AUTO)]
    assert found.status(2) == PaymentStatus.REPORTED
    assert found.reason(2) & Reason.PART_OF_DEPOSIT
    assert found.open == [0, 1]
    assert [found.funding(k) for k in range(3)] == [Funding.POSTED, Funding.POSTED, Funding.NONE]


@pytest.mark.parametrize("text", ["", "D1"])
def test_a_deposit_of_another_sum_holds_all(text: str) -> None:
    deposit = DEPOSIT | {"deposit": text, "amount_cents": 999}
    found = Linked(*two_checks(deposit=text), deposit)
    assert {link[3] for link in found.links} == {REVIEW}
    assert [found.hold(k) for k in range(3)] == [Reason.DEPOSIT_DIFFERS] * 3
    assert found.open == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "D1"])
@pytest.mark.parametrize("report", [{}, {"report": -1, "id_digest": 6}])
def test_a_sum_of_checks_beyond_all_amounts_is_no_deposit(text: str, report: Row) -> None:
    large = {"amount_cents": 1 << 62, "deposit": text}
    checks = [CHECK_LINE | large | report | {"trace": f"100{k}"} for k in range(5)]
    found = Linked(DEPOSIT | large, *checks)
    assert {link[3] for link in found.links} == {REVIEW}
    assert found.open == list(range(6))
    found = Linked(DEPOSIT | large, *checks[:1])
    assert found.links == [(1, 0, LinkKind.PART_OF, AUTO)]


def test_a_deposit_without_listed_checks_is_a_payment() -> None:
    found = Linked(DEPOSIT, *two_checks(account="999"))
    assert found.links == []
    assert found.open == [0, 1, 2]
    assert found.hold(0) == 0


def test_numbers_that_a_list_gives_in_its_own_way() -> None:
    found = Linked(*two_checks(deposit="17"), DEPOSIT | {"deposit": "REF9"})
    assert found.open == [0, 1]


def test_checks_behind_a_deposit_in_a_report_belong_to_it() -> None:
    rows: list[Row] = []
    for deposit in (0, 1):
        rows.append(DEPOSIT | {"bank_reference": str(deposit)})
        rows += [CHECK_LINE | {"trace": f"{deposit}7{k}"} for k in (1, 2)]
    found = Linked(*rows)
    assert {link[:2] for link in found.links} == {(1, 0), (2, 0), (4, 3), (5, 3)}
    assert found.open == [1, 2, 4, 5]


def test_listed_checks_stand_where_their_lines_do() -> None:
    lines = [CHECK_LINE, CHECK_LINE | {"trace": "1002"}]
    found = Linked(*two_checks(), DEPOSIT, *lines)
    assert found.open == [0, 1]
    assert {link[:3] for link in found.links} == {
        (0, 2, LinkKind.PART_OF),
        (1, 2, LinkKind.PART_OF),
        (3, 0, LinkKind.REPORT_OF),
        (4, 1, LinkKind.REPORT_OF),
    }


def test_two_deposits_that_could_be_the_same_checks_are_held() -> None:
    other = {"bank_reference": "B"}
    found = Linked(*two_checks(), DEPOSIT, DEPOSIT | other)
    assert {link[3] for link in found.links} == {REVIEW}
    assert all(found.hold(k) == Reason.DEPOSIT_DIFFERS for k in range(4))


def test_a_deposit_booked_a_banking_day_later() -> None:
    found = Linked(
        *two_checks(deposit="D1"), DEPOSIT | {"deposit": "D1", "settlement_date": DAY + 1}
    )
    assert found.open == [0, 1]
    far = DEPOSIT | {"deposit": "D1", "settlement_date": DAY + 2}
    assert Linked(*two_checks(deposit="D1"), far).open == [0, 1, 2]


def test_a_wire_is_money_of_its_own_rail() -> None:
    wire = LINE | {"source": int(PaymentSource.WIRE), "type_code": 195}
    found = Linked({}, wire, wire | {"report": 1})
    assert found.links == []
    assert found.open == [0, 1]
    assert found.funding(1) == Funding.POSTED


def test_money_that_no_remittance_explains_takes_no_part() -> None:
    found = Linked(LINE | {"source": int(PaymentSource.BANK_OTHER), "type_code": 206})
    assert found.status(0) == PaymentStatus.NOT_CLAIM_PAYMENT
    assert found.open == []
