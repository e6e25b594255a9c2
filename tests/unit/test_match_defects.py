"""Damage of real feeds that once made wrong pairs: what must hold, by name."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from pools import DAY, payments, remittances

from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.match import Matches, match
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.statuses import (
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Tier,
)

CALENDAR = BankingCalendar(np.array([], np.int32))
AUTO = MatchStatus.AUTO
Row = dict[str, Any]

CREDIT: Row = {"ach_trace": 91000010000001}
RETURN: Row = {
    "kind": int(EntryKind.RETURN),
    "return_code": "R02",
    "original_trace": 91000010000001,
    "original_rdfi": 2100002,
    "trace": "",
    "payer_id": "",
}


def run(left: list[Row], right: list[Row], *, released: Any = None, **policy: Any) -> Matches:
    return match(
        remittances(*left),
        payments(*right),
        policy=Policy(**policy),
        calendar=CALENDAR,
        as_of=DAY + 30,
        released=released,
    )


def automatic(m: Matches) -> list[tuple[int, int, int]]:
    rows = zip(m.remittance, m.payment, m.tier, strict=True)
    return [
        (int(r), int(p), int(t)) for (r, p, t), s in zip(rows, m.status, strict=True) if s == AUTO
    ]


def test_a_return_with_its_originals_effective_date_takes_back_what_settled_later() -> None:
    sunday = {"effective_date": DAY - 1}
    m = run([{}], [CREDIT | sunday, RETURN | sunday | {"settlement_date": None}])
    assert m.payment_status[0] == PaymentStatus.RETURNED
    assert m.remittance_status[0] == RemittanceStatus.UNMATCHED_BY_RETURN
    assert automatic(m) == []
    assert not m.release.any()


def test_what_was_released_stays_and_its_resend_is_not_released_again() -> None:
    copies = [{"body_hash": 5, "id_digest": digest} for digest in (9, 1)]
    m = run(copies, [{}], released=np.array([True, False]))
    assert automatic(m) == [(0, 0, Tier.T1)]
    assert m.remittance_status.tolist() == [RemittanceStatus.MATCHED, RemittanceStatus.DUPLICATE]
    assert not m.release.any()
    free = {"paid_cents": 0, "handling": "H", "payment_method": "NON"}
    m = run([row | free for row in copies], [], released=np.array([True, False]))
    assert not m.release.any()


def test_an_equal_trace_of_other_cents_keeps_a_payment_from_tiers_that_lean_on_less() -> None:
    short = {"trace": "A1234567", "paid_cents": 140000}
    payment = {"trace": "A1234567"}
    for tier, other in (("T6", "A1234567890"), ("T7", "")):
        assert automatic(run([{"trace": other}], [payment], auto_tiers=(tier,)))
        m = run([short, {"trace": other}], [payment], auto_tiers=(tier,))
        assert automatic(m) == []
        assert set(m.status.tolist()) == {MatchStatus.REVIEW}
    parts = [{"trace": "A1234567", "paid_cents": cents} for cents in (60000, 30000)]
    assert automatic(run([*parts, {"trace": ""}], [payment], auto_tiers=("T7",))) == []


def test_a_remittance_with_a_payment_of_other_cents_takes_no_payment_without_a_trace() -> None:
    short, untraced = {"amount_cents": 110000}, {"trace": ""}
    assert automatic(run([{}], [short, untraced], auto_tiers=("T7",))) == []


REVERSAL: Row = {"kind": int(EntryKind.DEBIT), "entry_description": "REVERSAL"}
CARRIER: Row = CREDIT | {"sec": "CTX"}
LINE: Row = {
    "source": int(PaymentSource.BANK_ACH),
    "report": 0,
    "id_digest": 3,
    "ach_trace": -1,
    "rdfi_routing": -1,
    "odfi": -1,
    "effective_date": None,
    "account": "XXX6778",
}


def test_a_copy_of_a_carried_remittance_takes_no_money_by_itself() -> None:
    carried, copy = {"payment_row": 0, "body_hash": 1}, {"body_hash": 2, "id_digest": 9}
    assert automatic(run([carried, copy], [CARRIER, LINE])) == [(0, 0, Tier.T0)]
    again = CARRIER | {"ach_trace": 91000010000009}
    m = run([carried, carried | {"payment_row": 1, "id_digest": 5}, copy], [CARRIER, again])
    assert automatic(m) == [(0, 0, Tier.T0)]
    assert m.remittance_reason[2] & Reason.CONFLICT
    other_payee = copy | {"payee_account": "999"}
    m = run([carried, other_payee], [CARRIER, {"account": "999"}])
    assert automatic(m) == [(0, 0, Tier.T0), (1, 1, Tier.T1)]


def test_of_two_copies_of_a_file_the_835s_stay_whose_entries_do() -> None:
    for count, first_valid, digests in ((1, False, (1, 2)), (1, False, (2, 1)), (40, True, (1, 1))):
        left: list[Row] = []
        right: list[Row] = []
        for digest, valid in zip(digests, (first_valid, True), strict=True):
            for k in range(count):
                carrier = CARRIER | {"id_digest": digest, "id_offset": 10 * k, "valid": valid}
                inside = {"id_digest": digest, "id_offset": 10 * k + 1, "body_hash": 1 + k}
                left.append(inside | {"payment_row": len(right), "trace": f"7766{k}"})
                right.append(carrier | {"ach_trace": 91000010000001 + k, "trace": ""})
        m = run(left, right)
        stands = range(count, 2 * count) if not first_valid else range(count)
        assert automatic(m) == [(k, k, Tier.T0) for k in stands]
        assert np.flatnonzero(m.release).tolist() == [*stands]
        copies = m.payment_status == PaymentStatus.DUPLICATE
        assert (m.remittance_status[copies] == RemittanceStatus.DUPLICATE).all()


def test_a_sum_with_two_versions_of_one_remittance_waits() -> None:
    whole = {"trace": "12345678", "amount_cents": 120000}
    parts = [{"trace": f"12345678-0{k}", "paid_cents": 10000 * k} for k in (7, 5)]
    assert len(automatic(run(parts, [whole]))) == 2
    third = {"paid_cents": 20000, "trace": "12345678-03"}
    m = run([*parts, third, third | {"body_hash": 5}], [whole | {"amount_cents": 160000}])
    assert automatic(m) == []
    assert m.remittance_reason[2] & Reason.CONFLICT


def test_a_version_that_does_not_tell_its_payee_is_one_of_a_sum_too() -> None:
    one = {"trace": "X1234567", "paid_cents": 70000}
    other = one | {"paid_cents": 20000}
    whole = {"trace": "X1234567", "amount_cents": 110000}
    elsewhere = {"payee_tin": "999888777"}
    assert len(automatic(run([one, other, other | elsewhere], [whole]))) == 3
    for untold in ({"payee_tin": ""}, {"payee_tin": "", "payee_entity_id": ""}):
        m = run([one, other, other | untold], [whole])
        assert automatic(m) == []
        assert (m.remittance_reason & Reason.CONFLICT != 0).tolist() == [False, True, True]
        assert not m.release.any()


def test_a_sum_is_not_all_of_a_block_too_large_to_look_at() -> None:
    parts = [{"trace": "12345678", "paid_cents": cents} for cents in (70000, 50000)]
    more = [{"trace": f"12345678-{k}", "paid_cents": 100 + k} for k in range(600)]
    whole = {"trace": "12345678"}
    assert automatic(run([*parts, *more[:5]], [whole])) == []
    assert automatic(run([*parts, *more], [whole])) == []


def test_a_line_about_money_that_went_back_is_no_other_money() -> None:
    late = {"account": "5566778", "settlement_date": DAY + 2}
    for line in ({}, {"account": ""}, late):
        for back in (RETURN, REVERSAL):
            m = run([{}], [CREDIT, back, LINE | line])
            assert automatic(m) == []
            assert not m.release.any()
            assert m.payment_reason[2] & Reason.REPORT_UNCLEAR
    sent_again = {"ach_trace": 91000010000009}
    assert automatic(run([{}], [CREDIT, RETURN, sent_again])) == [(0, 2, Tier.T1)]


def test_a_version_of_a_remittance_keeps_it_from_tiers_that_lean_on_less() -> None:
    one = {"trace": "A1234567890"}
    for tier, trace in (("T6", "A1234567"), ("T7", "")):
        payment = {"trace": trace}
        for corrected in ({"paid_cents": 130000}, {}):
            m = run([one, one | corrected], [payment], auto_tiers=(tier,))
            assert automatic(m) == []
        other_payee = one | {"paid_cents": 130000, "payee_tin": "999888777"}
        assert automatic(run([one, other_payee], [payment], auto_tiers=(tier,)))


def test_a_version_of_a_remittance_keeps_a_sum_without_a_trace_from_matching() -> None:
    one, other = ({"trace": f"A777{k}", "paid_cents": 10000 * k} for k in (7, 5))
    untraced: Row = {"trace": ""}
    parts = [untraced | {"amount_cents": row["paid_cents"]} for row in (one, other)]
    whole = one | {"paid_cents": 120000}
    sums: list[tuple[str, list[Row], list[Row]]] = [
        ("T8", [one, other], [untraced]),
        ("T9", [whole], parts),
    ]
    for tier, left, right in sums:
        assert len(automatic(run(left, right, auto_tiers=(tier,)))) == 2
        for cents in (75000, 125000):
            corrected = left[0] | {"paid_cents": cents}
            m = run([*left, corrected], right, auto_tiers=(tier,))
            assert automatic(m) == []
            assert (m.reason[m.tier == Tier[tier]] & Reason.CONFLICT != 0).all()
            assert not m.release.any()
            other_payee = corrected | {"payee_tin": "999888777", "trace": one["trace"]}
            assert len(automatic(run([*left, other_payee], right, auto_tiers=(tier,)))) == 2


def test_a_report_that_does_not_add_up_releases_nothing_before_it_settles() -> None:
    later = {"effective_date": DAY + 40, "settlement_date": DAY + 40}
    line = LINE | {"account": "5566778", "settlement_date": DAY + 39}
    for valid in (True, False):
        m = match(
            remittances({"effective_date": DAY + 40}),
            payments(CREDIT | later, line | {"valid": valid}),
            calendar=CALENDAR,
            as_of=DAY + 39,
        )
        assert automatic(m) == [(0, 0, Tier.T1)]
        assert m.payment_status[1] == PaymentStatus.REPORTED
        assert m.release.tolist() == [valid]


def test_a_sum_of_remittances_for_several_payees_waits() -> None:
    parts = [
        {"paid_cents": cents, "payee_account": account}
        for cents, account in ((70000, "5566778"), (50000, "999"))
    ]
    line = LINE | {"account": "5566778"}
    assert automatic(run(parts, [line])) == []
    assert len(automatic(run([parts[0], parts[1] | {"payee_account": ""}], [line]))) == 2


def test_an_equal_trace_of_other_cents_stands_against_one_equal_in_a_normal_form() -> None:
    payment = {"trace": "1045-47948", "amount_cents": 60000}
    other = {"trace": "104547948", "paid_cents": 60000}
    part = {"trace": "1045-47948", "paid_cents": 50000}
    assert automatic(run([other], [payment])) == [(0, 0, Tier.T2)]
    assert automatic(run([other, part], [payment])) == []
    parts = [part, part | {"paid_cents": 10000}]
    assert automatic(run([other, *parts], [payment])) == []
    more = {"trace": "104547948", "amount_cents": 50000}
    assert automatic(run([other], [payment, more])) == []
    assert automatic(run([other], [payment, more | {"trace": "10454-7948"}])) == [(0, 0, Tier.T2)]


def test_an_equal_trace_of_another_account_stands_against_one_equal_in_a_normal_form() -> None:
    exact, near = {"trace": "12345"}, {"trace": "0012345"}
    elsewhere = {"account": "999"}
    assert automatic(run([exact], [near])) == [(0, 0, Tier.T2)]
    m = run([exact], [exact | elsewhere, near])
    assert automatic(m) == []
    assert set(m.tier.tolist()) == {Tier.T1, Tier.T2}
    assert automatic(run([exact | {"payee_account": "999"}, near], [exact])) == []
    assert automatic(run([exact], [{"trace": "12-345"} | elsewhere, near])) == [(0, 1, Tier.T2)]
    own = exact | {"payee_account": "999"}
    m = run([exact, own], [exact | elsewhere, near])
    assert automatic(m) == [(0, 1, Tier.T2), (1, 0, Tier.T1)]


def test_what_one_pair_takes_speaks_against_another_in_any_order_of_rows() -> None:
    """Y has the trace of A as it is written, and is B's, by alias, at the same tier as A with X."""
    rule = PayerRule(ids=("1234567890", "1341858386"))
    one = {"trace": "0012345", "paid_cents": 10000, "id_offset": 1}
    other = {**one, "paid_cents": 20000, "id_offset": 2, "payer_id": "1341858386"}
    money = {"trace": "12345", "amount_cents": 10000, "id_offset": 3}
    exact = {"trace": "0012345", "amount_cents": 20000, "id_offset": 4}
    for left in permutations([one, other]):
        for right in permutations([money, exact]):
            m = run([*left], [*right], payers=(rule,))
            assert automatic(m) == [(left.index(other), right.index(exact), Tier.T3)]
            assert m.release.tolist() == [row is other for row in left]


def test_an_item_without_a_day_keeps_a_sum_without_a_trace_from_matching() -> None:
    parts = [{"trace": f"77{k}", "paid_cents": 10000 * k} for k in (7, 5)]
    assert len(automatic(run(parts, [{}], auto_tiers=("T8",)))) == 2
    undated = {"trace": "7799", "paid_cents": 50000, "effective_date": None}
    assert automatic(run([*parts, undated], [{}], auto_tiers=("T8",))) == []
    other = undated | {"payee_account": "999"}
    assert len(automatic(run([*parts, other], [{}], auto_tiers=("T8",)))) == 2


def test_an_835_inside_an_entry_for_another_account_is_for_a_person() -> None:
    m = run([{"payment_row": 0, "payee_account": "99"}], [{"has_remittance": True}])
    assert automatic(m) == []
    assert m.tier.tolist() == [Tier.T0]
    assert m.reason[0] & Reason.PAYEE_DIFFERS
    assert m.release.tolist() == [False]


def test_masked_traces_say_nothing() -> None:
    for masked in ("XXXXXXXXXX", "99999999", "00-7777-7777"):
        m = run([{"trace": masked}], [{"trace": masked}])
        assert automatic(m) == []
        assert m.remittance_reason[0] & Reason.NO_TRACE
    assert automatic(run([{"trace": "1111"}], [{"trace": "1111"}])) == [(0, 0, Tier.T1)]


def test_a_line_of_another_company_is_not_the_report_of_an_entry() -> None:
    line = {"source": PaymentSource.BANK_ACH, "report": 0, "trace": "", "payer_id": ""}
    m = run([], [CREDIT, line | {"company_id": "1341858386", "id_offset": 5}])
    assert len(m.links.payment) == 0
    m = run([], [CREDIT, line | {"company_id": "234567890", "id_offset": 5}])
    assert m.payment_status[1] == PaymentStatus.REPORTED


def test_a_reversal_by_a_company_without_its_leading_one_takes_back() -> None:
    reversal = {
        "kind": int(EntryKind.DEBIT),
        "entry_description": "REVERSAL",
        "company_id": "234567890",
        "trace": "",
        "settlement_date": DAY + 1,
    }
    m = run([{}], [CREDIT, reversal])
    assert m.payment_status[0] == PaymentStatus.REVERSED
    assert m.remittance_status[0] == RemittanceStatus.UNMATCHED_BY_RETURN
    assert m.reason[0] & Reason.REVERSED
