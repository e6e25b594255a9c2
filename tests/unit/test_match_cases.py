"""The edge cases of re-association row by row of a pool, and what the guards must do."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from pools import DAY, payments, remittances

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.match import Matches, match
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.statuses import (
    Field,
    Funding,
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Rewrite,
    Tier,
    reason_text,
)

CALENDAR = BankingCalendar(np.array([], np.int32))
AUTO, VARIANCE, REVIEW = MatchStatus.AUTO, MatchStatus.VARIANCE, MatchStatus.REVIEW
Row = dict[str, Any]


def run(left: list[Row], right: list[Row], as_of: int | None = DAY, **policy: Any) -> Matches:
    return match(
        remittances(*left),
        payments(*right),
        policy=Policy(**policy),
        calendar=CALENDAR,
        as_of=as_of,
    )


def pairs(m: Matches) -> list[tuple[int, int, MatchStatus, Tier]]:
    rows = zip(m.remittance, m.payment, m.status, m.tier, strict=True)
    return [(int(r), int(p), MatchStatus(s), Tier(t)) for r, p, s, t in rows]


def remittance_statuses(m: Matches) -> list[RemittanceStatus]:
    return [RemittanceStatus(value) for value in m.remittance_status]


def payment_statuses(m: Matches) -> list[PaymentStatus]:
    return [PaymentStatus(value) for value in m.payment_status]


def test_clean_pair_is_t1_funded_and_released() -> None:
    m = run([{}], [{}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert m.funded.all()
    assert m.release.all()
    assert m.reason[0] == 0
    assert m.agreed[0] == sum(Field)
    assert m.differed[0] == m.rewrites[0] == m.rivals[0] == m.days_apart[0] == 0
    assert remittance_statuses(m) == [RemittanceStatus.MATCHED]
    assert payment_statuses(m) == [PaymentStatus.MATCHED]


def test_case_01_leading_zeros_lost() -> None:
    m = run([{"trace": "12345678"}], [{}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T2)]
    assert m.rewrites[0] == Rewrite.TRACE_N3


def test_case_02_spaces_and_hyphens() -> None:
    m = run([{"trace": "AB 123-45"}], [{"trace": "AB12345"}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T2)]
    assert m.rewrites[0] == Rewrite.TRACE_N2


@pytest.mark.parametrize("trace", ["ab12345", " AB12345 ", "AB1\r\n2345"])
def test_case_02_case_trim_and_line_wraps_are_still_t1(trace: str) -> None:
    m = run([{"trace": "AB12345"}], [{"trace": trace}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert m.rewrites[0] == (0 if "\r" in trace else Rewrite.TRACE_N1)


def test_case_03_payer_with_and_without_leading_one() -> None:
    m = run([{"payer_id": "1234567890"}], [{"payer_id": "234567890"}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert m.rewrites[0] == Rewrite.PAYER_P1


def test_case_04_aggregator_is_t3_once_aliased_and_t4_before() -> None:
    left, right = [{"payer_id": "1234567890"}], [{"payer_id": "1341858379"}]
    assert pairs(run(left, right)) == [(0, 0, REVIEW, Tier.T4)]
    alias = PayerRule(ids=("234567890", "1341858379"))
    m = run(left, right, payers=(alias,))
    assert pairs(m) == [(0, 0, AUTO, Tier.T3)]
    assert m.rewrites[0] == Rewrite.PAYER_P2
    assert pairs(run(left, right, payers=(alias,), review_tiers=("T3",))) == [
        (0, 0, REVIEW, Tier.T3)
    ]


def test_case_07_no_addenda_never_matches_by_itself() -> None:
    m = run([{}], [{"trace": "", "payer_id": ""}])
    assert pairs(m) == [(0, 0, REVIEW, Tier.T7)]
    assert payment_statuses(m) == [PaymentStatus.SUGGESTED]
    assert m.payment_reason[0] & Reason.NO_TRACE


@pytest.mark.parametrize("side", ["remittances", "payments"])
def test_case_08_tie_goes_to_review_with_its_rivals(side: str) -> None:
    several = [{}, {"payee_tin": "999999999"}]
    m = run(several, [{}]) if side == "remittances" else run([{}], several[:1] * 2)
    assert [pair[2:] for pair in pairs(m)] == [(REVIEW, Tier.T1)] * 2
    assert all(m.reason & Reason.TIE)
    assert m.rivals.tolist() == [1, 1]
    assert not m.release.any()
    assert set(remittance_statuses(m)) == {RemittanceStatus.PROBABLE}
    assert set(payment_statuses(m)) == {PaymentStatus.SUGGESTED}


def test_case_11_amount_short_is_a_variance() -> None:
    m = run([{}], [{"amount_cents": 117600}])
    assert pairs(m) == [(0, 0, VARIANCE, Tier.T5)]
    assert m.differed[0] == Field.AMOUNT
    assert remittance_statuses(m) == [RemittanceStatus.MATCHED_VARIANCE]
    assert not m.release.any()


@pytest.mark.parametrize(("method", "handling"), [("NON", "H"), ("CHK", "I"), ("ACH", "I")])
def test_case_12_zero_pay_is_released_without_funds(method: str, handling: str) -> None:
    m = run([{"paid_cents": 0, "payment_method": method, "handling": handling}], [{}])
    assert pairs(m) == []
    assert remittance_statuses(m) == [RemittanceStatus.NO_FUNDS_EXPECTED]
    assert m.release.all()


@pytest.mark.parametrize(
    "blocker", [{"valid": False}, {"credit_debit": "D"}, {"currency": "CAD"}, {"handling": "P"}]
)
def test_case_12_zero_pay_is_not_released_where_something_is_wrong(blocker: Row) -> None:
    assert not run([{"paid_cents": 0, **blocker}], []).release.any()


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("CHK", RemittanceStatus.AWAITING_CHECK),
        ("CCC", RemittanceStatus.AWAITING_CARD),
        ("FWT", RemittanceStatus.AWAITING_WIRE),
        ("NON", RemittanceStatus.INVALID),
    ],
)
def test_cases_13_and_14_check_card_wire_and_non_never_pair_with_ach(
    method: str, status: RemittanceStatus
) -> None:
    m = run([{"payment_method": method}], [{}])
    assert pairs(m) == []
    assert remittance_statuses(m) == [status]
    assert payment_statuses(m) == [PaymentStatus.UNMATCHED]


def test_case_15_duplicate_is_held_and_ids_say_which() -> None:
    twins = [{"body_hash": 5, "id_digest": digest, "id_offset": 9} for digest in (8, 3)]
    m = run(twins, [{}])
    assert pairs(m) == [(1, 0, AUTO, Tier.T1)]
    assert remittance_statuses(m) == [RemittanceStatus.DUPLICATE, RemittanceStatus.MATCHED]
    assert m.release.tolist() == [False, True]


@pytest.mark.parametrize("amount", [120000, 110000])
def test_case_16_resend_with_corrections_goes_to_review(amount: int) -> None:
    m = run([{}, {"paid_cents": amount}], [{}])
    assert {pair[2] for pair in pairs(m)} == {REVIEW}
    assert all(m.reason & Reason.CONFLICT)
    assert not m.release.any()


def test_case_17_reused_trace_is_a_conflict_unless_dates_are_far_apart() -> None:
    later = {"effective_date": DAY + 400}
    right = [{}, {"effective_date": DAY + 400, "settlement_date": DAY + 400}]
    m = run([{}, later], right, as_of=DAY + 1)
    assert pairs(m) == [(0, 0, AUTO, Tier.T1), (1, 1, AUTO, Tier.T1)]
    assert m.release.tolist() == [True, False]
    near = run([{}, {"effective_date": DAY + 30, "paid_cents": 5}], [{}, {"amount_cents": 5}])
    assert {pair[2] for pair in pairs(near)} == {REVIEW}


def test_case_17_same_trace_for_another_payee_is_no_conflict() -> None:
    other = {"payee_tin": "445556666", "paid_cents": 5}
    m = run([{}, other], [{}, {"amount_cents": 5}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1), (1, 1, AUTO, Tier.T1)]


def test_case_21_same_result_whichever_side_is_listed_in_what_order() -> None:
    left = [{"trace": str(k), "id_offset": k} for k in (111111, 222222, 333333)]
    right = [{"trace": str(k), "id_offset": k} for k in (333333, 111111, 222222)]
    m = run(left, right)
    assert pairs(m) == [(0, 1, AUTO, Tier.T1), (1, 2, AUTO, Tier.T1), (2, 0, AUTO, Tier.T1)]


@pytest.mark.parametrize(
    ("settlement", "effective", "funded_on"),
    [(DAY + 1, DAY, DAY + 1), (None, DAY, DAY), (None, DAY - 2, DAY), (None, None, None)],
)
def test_case_22_funded_on_the_settlement_day_or_the_rolled_effective_day(
    settlement: int | None, effective: int | None, funded_on: int | None
) -> None:
    right = [{"settlement_date": settlement, "effective_date": effective}]
    for as_of in range(DAY - 3, DAY + 4):
        m = run([{}], right, as_of=as_of)
        assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
        assert m.funded[0] == m.release[0] == (funded_on is not None and as_of >= funded_on)
    assert not run([{}], right, as_of=None).funded.any()


@pytest.mark.parametrize("value_date", [None, DAY - 1, DAY + 10])
def test_without_a_day_nothing_is_funded_that_a_bank_reports_either(value_date: int | None) -> None:
    line = {"source": 1, "report": 0, "id_digest": 3, "settlement_date": value_date}
    entry = {"settlement_date": value_date}
    for right in ([line], [entry, line]):
        m = run([{}], right, as_of=None)
        assert payment_statuses(m)[1:] == [PaymentStatus.REPORTED] * (len(right) - 1)
        assert [pair[2:] for pair in pairs(m)] == [(AUTO, Tier.T1)]
        assert not m.funded.any()
        assert not m.release.any()
        assert m.payment_funding[0] == Funding.EXPECTED


def test_case_23_unbalanced_is_matched_but_invalid_and_not_released() -> None:
    m = run([{"valid": False}], [{}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert remittance_statuses(m) == [RemittanceStatus.INVALID]
    assert m.reason[0] & Reason.REMITTANCE_INVALID
    assert not m.release.any()


def test_payment_that_does_not_add_up_is_matched_but_releases_nothing() -> None:
    m = run([{}], [{"valid": False}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert m.reason[0] & Reason.PAYMENT_INVALID
    assert not m.release.any()


def test_case_24_route_by_evidence_and_flag() -> None:
    plain = {"entry_description": "PAYMENT"}
    m = run([{}], [plain, {**plain, "trace": "", "payer_id": "", "sec": "PPD"}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert payment_statuses(m) == [PaymentStatus.MATCHED, PaymentStatus.NOT_CLAIM_PAYMENT]
    assert all(m.payment_reason & Reason.NO_HEALTHCARE_MARK)


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 5, 6])
def test_case_25_only_credits_are_money(kind: int) -> None:
    m = run([{}], [{"kind": kind}])
    assert pairs(m) == []
    assert payment_statuses(m)[0] not in (PaymentStatus.MATCHED, PaymentStatus.UNMATCHED)
    assert m.payment_funding[0] == Funding.NONE


def test_case_25_zero_dollar_entry_carries_a_zero_pay() -> None:
    zero_pay = {"paid_cents": 0, "payment_method": "NON", "handling": "H", "payment_row": 0}
    m = run([zero_pay], [{"kind": 4, "amount_cents": 0}])
    assert pairs(m) == []
    assert m.release.all()


def test_unreadable_amount_never_matches() -> None:
    m = run([{"paid_cents": 0, "valid": False}], [{"amount_cents": 0, "valid": False}])
    assert pairs(m) == []
    assert m.payment_reason[0] & Reason.AMOUNT_BAD
    assert remittance_statuses(m) == [RemittanceStatus.INVALID]


def test_case_30_same_trace_from_two_payers_does_not_cross() -> None:
    other = {"payer_id": "1999999999"}
    m = run([{}, other], [other, {}])
    assert pairs(m) == [(0, 1, AUTO, Tier.T1), (1, 0, AUTO, Tier.T1)]


def test_exact_traces_go_first_and_leave_the_near_ones() -> None:
    m = run([{"trace": "12345678"}, {}], [{"trace": "12345678"}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert remittance_statuses(m)[1] == RemittanceStatus.AWAITING_EFT
    assert pairs(run([{"trace": "012345678"}, {}], [{"trace": "12345678"}])) == [
        (0, 0, REVIEW, Tier.T2),
        (1, 0, REVIEW, Tier.T2),
    ]


@pytest.mark.parametrize("trace", ["", "000000", "--", "9" * 120])
def test_unusable_traces_are_none(trace: str) -> None:
    m = run([{"trace": trace}], [{"trace": trace}])
    assert pairs(m) == [(0, 0, REVIEW, Tier.T7)]
    assert m.remittance_reason[0] & Reason.NO_TRACE


@pytest.mark.parametrize("payer", ["", "0000000000", "1000000000", "9" * 60])
def test_unusable_payers_are_nobody(payer: str) -> None:
    m = run([{"payer_id": payer}], [{"payer_id": payer, "company_id": payer}])
    assert pairs(m) == [(0, 0, REVIEW, Tier.T4)]
    assert m.remittance_reason[0] & Reason.NO_PAYER


def test_ignored_payers_are_nobody() -> None:
    dummy = {"payer_id": "1999999999"}
    assert pairs(run([dummy], [dummy])) == [(0, 0, AUTO, Tier.T1)]
    ignored = run([dummy], [dummy], ignored_payer_ids=("999999999",))
    assert pairs(ignored) == [(0, 0, REVIEW, Tier.T4)]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"currency": "CAD"}, Reason.CURRENCY),
        ({"handling": "H"}, Reason.HANDLING),
        ({"payment_method": ""}, Reason.METHOD_UNKNOWN),
    ],
)
def test_doubtful_remittances_only_go_to_review(held: Row, reason: Reason) -> None:
    m = run([held], [{}])
    assert pairs(m) == [(0, 0, REVIEW, Tier.T1)]
    assert m.reason[0] == reason
    assert not m.release.any()
    assert pairs(run([held], [{"amount_cents": 1}])) == [(0, 0, REVIEW, Tier.T5)]


@pytest.mark.parametrize("bad", [{"credit_debit": "D"}, {"paid_cents": -120000}])
def test_what_is_no_credit_is_never_matched(bad: Row) -> None:
    m = run([bad], [{"amount_cents": abs(bad.get("paid_cents", 120000))}])
    assert pairs(m) == []
    assert remittance_statuses(m) == [RemittanceStatus.INVALID]


def test_dates_out_of_the_window_do_not_match() -> None:
    m = run([{}], [{"effective_date": DAY + 181}], trace_window_days=180)
    assert pairs(m) == []
    assert m.remittance_reason[0] & m.payment_reason[0] & Reason.OUT_OF_WINDOW
    m = run([{}], [{"effective_date": DAY + 180}], trace_window_days=180)
    assert m.days_apart.tolist() == [180]
    assert run([{"effective_date": None}], [{}]).days_apart.tolist() == [DATE_NONE]


def test_duplicate_payments_are_held() -> None:
    twin = {"ach_trace": 91000010000001, "id_offset": 5}
    m = run([{}], [{**twin, "id_digest": 9}, {**twin, "id_digest": 4}, {**twin, "account": ""}])
    assert payment_statuses(m)[0] == PaymentStatus.DUPLICATE
    assert {(p, status) for _, p, status, _ in pairs(m)} == {(1, REVIEW), (2, REVIEW)}
    m = run([{}], [{**twin, "id_digest": 9}, {**twin, "id_digest": 4}])
    assert pairs(m) == [(0, 1, AUTO, Tier.T1)]


def test_the_same_file_twice_is_one_of_each() -> None:
    left, right = {"id_offset": 1, "body_hash": 0}, {"id_offset": 1, "ach_trace": 5}
    m = run([left, left], [right, right])
    assert len(pairs(m)) == 1
    assert sorted(remittance_statuses(m)) == [RemittanceStatus.DUPLICATE, RemittanceStatus.MATCHED]


def test_affixes_of_the_payer_are_taken_off() -> None:
    rule = PayerRule(ids=("1234567890",), trace_prefixes=("EFT",), trace_suffixes=("-########",))
    with_affixes = {"trace": "eft-0012345678-20260316"}
    m = run([{}], [with_affixes], payers=(rule,))
    assert pairs(m) == [(0, 0, AUTO, Tier.T2)]
    assert m.rewrites[0] == Rewrite.TRACE_N4
    assert pairs(run([{}], [with_affixes])) == [(0, 0, REVIEW, Tier.T10)]


def test_case_28_the_835_inside_its_payment_is_t0() -> None:
    m = run(
        [{"payment_row": 0, "trace": "", "payer_id": ""}], [{"trace": "", "has_remittance": True}]
    )
    assert pairs(m) == [(0, 0, AUTO, Tier.T0)]
    assert m.agreed[0] & Field.AMOUNT
    assert not m.agreed[0] & Field.TRACE
    assert m.release.all()


def test_t0_needs_one_835_and_the_amount() -> None:
    short = run([{"payment_row": 0, "paid_cents": 7}], [{"has_remittance": True}])
    assert pairs(short) == [(0, 0, VARIANCE, Tier.T5)]
    several = run(
        [
            {"payment_row": 0, "paid_cents": 70000},
            {"payment_row": 0, "paid_cents": 50000, "trace": "9"},
        ],
        [{"has_remittance": True}],
    )
    assert pairs(several) == [(0, 0, REVIEW, Tier.T0), (1, 0, REVIEW, Tier.T0)]
    assert all(several.reason & Reason.CARRIED_SEVERAL)


def test_t0_comes_before_a_copy_that_came_by_another_way() -> None:
    carried = {"payment_row": 0, "body_hash": 5, "id_digest": 2}
    m = run([carried, {"body_hash": 5, "id_digest": 1}], [{"has_remittance": True}])
    assert pairs(m) == [(1, 0, AUTO, Tier.T1)]
    m = run([carried, {"body_hash": 6}], [{"has_remittance": True}])
    assert pairs(m) == [(0, 0, AUTO, Tier.T0)]


def test_constant_traces_go_to_review_whole() -> None:
    left = [{"trace": "EO1", "paid_cents": k % 50 + 1} for k in range(300)]
    right = [{"trace": "EO1", "amount_cents": k % 60 + 1} for k in range(300)]
    m = run(left, right)
    assert set(m.status) == {REVIEW}
    assert all(m.reason & Reason.BLOCK_TOO_LARGE)
    assert len(set(m.remittance.tolist())) == 300
    assert len(m) <= 600 * 8


def test_reason_text_says_every_reason_and_nothing_of_the_data() -> None:
    assert reason_text(0) == ""
    assert len({reason_text(reason) for reason in Reason}) == len(Reason)
    assert reason_text(Reason.TIE | Reason.CURRENCY).count(";") == 1


def test_as_of_needs_a_calendar() -> None:
    with pytest.raises(ValueError, match="calendar"):
        match(remittances({}), payments({}), as_of=DAY)


def test_as_of_is_a_day_and_no_moment() -> None:
    day = date(2026, 3, 16)
    assert match(remittances({}), payments({}), calendar=CALENDAR, as_of=day).funded.all()
    moment = datetime(2026, 3, 16, 8, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="as_of is a day"):
        match(remittances({}), payments({}), calendar=CALENDAR, as_of=moment)


def test_empty_pools() -> None:
    assert len(run([], [])) == len(run([{}], [])) == len(run([], [{}])) == 0
