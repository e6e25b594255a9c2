"""Matching again: what stands, what people undid, what fits both, and the keys of neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pools import DAY, payments, remittances

from reassoc.core import _keys
from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.match import Matches, Pairs, match
from reassoc.core.matching.neighbours import (
    KEYS_VERSION,
    bear_on,
    meeting,
    payment_keys,
    remittance_keys,
    sought,
    waits_for_close,
)
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.pool import RemittanceColumns
from reassoc.core.statuses import (
    Field,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Tier,
)

AUTO, REVIEW, VARIANCE, UNMATCHED = (
    MatchStatus.AUTO,
    MatchStatus.REVIEW,
    MatchStatus.VARIANCE,
    MatchStatus.UNMATCHED,
)
Row = dict[str, Any]
RETURN = {"kind": 5, "original_rdfi": 2100002}


def run(left: list[Row], right: list[Row], policy: Policy | None = None, **more: Any) -> Matches:
    return match(
        remittances(*left),
        payments(*right),
        policy=policy,
        calendar=BankingCalendar(np.zeros(0, np.int32)),
        **{"as_of": DAY + 30, **more},
    )


def made(*rows: tuple[int, int], match_id: int | None = None, tier: int = Tier.T1) -> Pairs:
    """Pairs of (remittance, payment), of one match id or of one each."""
    columns = np.array(rows, np.int32).reshape(-1, 2)
    numbers = [match_id or 100 + k for k in range(len(rows))]
    tiers = np.full(len(rows), tier, np.uint8)
    return Pairs(columns[:, 0], columns[:, 1], np.array(numbers, np.uint64), tiers)


def pairs(m: Matches) -> list[tuple[int, int, int, int]]:
    columns = (m.remittance, m.payment, m.status, m.tier)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def has(flags: Any, reason: Reason) -> list[bool]:
    found: list[bool] = (flags & np.int64(reason) != 0).tolist()
    return found


def on(*flags: bool) -> Any:
    return np.array(flags, np.bool_)


# ---- pins ----


def test_a_pin_stands_whatever_the_fields_say() -> None:
    left = [{"trace": "A1", "paid_cents": 500}, {}]
    right = [{"trace": "B2", "amount_cents": 400, "payer_id": "9"}, {}]
    m = run(left, right, pins=made((0, 0), tier=Tier.T10))
    assert pairs(m) == [(0, 0, AUTO, Tier.T10), (1, 1, AUTO, Tier.T1)]
    assert m.match_id[0] == 100
    assert has(m.reason, Reason.PINNED) == [True, False]
    assert m.difference_cents.tolist() == [-100, 0]
    assert m.differed[0] & Field.AMOUNT
    assert m.differed[0] & Field.TRACE
    assert m.release.tolist() == [True, True]
    assert m.remittance_status.tolist() == [RemittanceStatus.MATCHED] * 2
    assert m.payment_status.tolist() == [PaymentStatus.MATCHED] * 2


@pytest.mark.parametrize(("second", "difference"), [(700, 0), (650, -50)])
def test_people_match_one_with_several(second: int, difference: int) -> None:
    left = [{"paid_cents": 1000}, {"paid_cents": 200, "trace": "X9"}]
    right = [{"amount_cents": 500, "trace": "C3"}, {"amount_cents": second, "trace": "D4"}]
    rows = ((0, 0), (0, 1), (1, 0), (1, 1))
    m = run(left, right, pins=made(*rows, match_id=7, tier=Tier.T10))
    assert [pair[:3] for pair in pairs(m)] == [(i, j, AUTO) for i, j in sorted(rows)]
    assert m.difference_cents.tolist() == [difference] * 4
    agreed = (m.agreed & Field.AMOUNT != 0).tolist()
    assert agreed == [difference == 0] * 4
    assert agreed == (m.differed & Field.AMOUNT == 0).tolist()


@pytest.mark.parametrize("pinned", [False, True])
def test_a_remittance_of_several_payments_is_free_once_all_are_funded(pinned: bool) -> None:
    left = [{"paid_cents": 300}]
    right = [{"amount_cents": 100}, {"amount_cents": 200, "settlement_date": DAY + 9}]
    policy = Policy(auto_tiers=("T9",))
    pins = made((0, 0), (0, 1), match_id=9, tier=Tier.T9) if pinned else None
    for as_of, free in ((DAY + 8, False), (DAY + 9, True)):
        m = run(left, right, policy, as_of=as_of, pins=pins)
        assert pairs(m) == [(0, 0, AUTO, Tier.T9), (0, 1, AUTO, Tier.T9)]
        assert m.release.tolist() == [free]
    assert not run(left, right, policy, pins=pins, released=on(True)).release[0]


def test_money_that_went_back_undoes_the_whole_pinned_match() -> None:
    left = [{"paid_cents": 300}, {"trace": "Z8", "paid_cents": 200}]
    right = [
        {"amount_cents": 100, "trace": "Q1", "ach_trace": 91},
        {"amount_cents": 200, "trace": "Z8", "ach_trace": 92},
        {**RETURN, "amount_cents": 100, "original_trace": 91, "ach_trace": 93},
        {"amount_cents": 300, "ach_trace": 94},
    ]
    pins = made((0, 0), (0, 1), match_id=5, tier=Tier.T9)
    m = run(left, right, pins=pins, released=on(True, False))
    assert pairs(m) == [
        (0, 0, UNMATCHED, Tier.T9),
        (0, 1, UNMATCHED, Tier.T9),
        (0, 3, AUTO, Tier.T1),
        (1, 1, AUTO, Tier.T1),
    ]
    gone = m.status == UNMATCHED
    assert set(m.match_id[gone].tolist()) == {5}
    assert all(has(m.reason[gone], Reason.RETURNED))
    assert all(has(m.reason[gone], Reason.RETURN_AFTER_RELEASE))
    assert not any(has(m.reason, Reason.PINNED))
    assert has(m.payment_reason, Reason.RETURNED)[:2] == [True, False]
    assert not m.release[0]
    assert m.release[1]


def test_a_pinned_duplicate_stays_and_its_double_is_held() -> None:
    same = {"trace": "", "payer_id": "", "company_id": "", "ach_trace": 5}
    right = [{**same, "id_offset": 1}, {**same, "id_offset": 2}]
    m = run([{}, {"trace": "B2"}], right, pins=made((0, 1)))
    assert pairs(m) == [(0, 1, AUTO, Tier.T1)]
    assert m.payment_status.tolist() == [PaymentStatus.DUPLICATE, PaymentStatus.MATCHED]


def test_what_is_matched_and_a_duplicate_is_not_handed_on() -> None:
    left = [{"body_hash": 3, "id_offset": 1}, {"body_hash": 3, "id_offset": 2}]
    right = [{}, {"trace": "Z9", "payer_id": "7"}]
    m = run(left, right, pins=made((0, 0), (1, 1)), released=on(True, False))
    assert pairs(m) == [(0, 0, AUTO, Tier.T1), (1, 1, AUTO, Tier.T1)]
    assert not m.release.any()


# ---- rivals ----


def test_a_second_payment_for_a_released_remittance_is_a_rival() -> None:
    m = run([{}], [{}, {}], pins=made((0, 0)), released=on(True))
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    for reason in (Reason.RIVAL, Reason.RIVAL_AFTER_RELEASE):
        assert has(m.remittance_reason, reason) == [True]
        assert has(m.payment_reason, reason) == [False, True]
    assert m.payment_status.tolist() == [PaymentStatus.MATCHED, PaymentStatus.UNMATCHED]
    assert not run([{}], [{}, {}], released=on(True)).release[0]


def test_a_rival_is_shown_where_it_fits_and_never_matched() -> None:
    left = [{}, {"body_hash": 1, "trace": "12345678", "effective_date": DAY + 1}]
    m = run(left, [{}, {"trace": "12345678"}], pins=made((0, 0)))
    assert pairs(m) == [(0, 0, AUTO, Tier.T1), (1, 1, REVIEW, Tier.T1)]
    assert has(m.reason, Reason.RIVAL) == [False, True]
    assert not any(has(m.remittance_reason, Reason.RIVAL_AFTER_RELEASE))


@pytest.mark.parametrize(
    "other",
    [
        {"amount_cents": 1},
        {"account": "99"},
        {"payer_id": "555", "company_id": "555"},
        {"settlement_date": DAY + 400, "effective_date": DAY + 400},
        {"trace": "55"},
        {"source": int(PaymentSource.WIRE)},
    ],
)
def test_what_does_not_fit_is_no_rival(other: Row) -> None:
    m = run([{}], [{}, other], pins=made((0, 0)), released=on(True))
    assert not any(has(m.payment_reason, Reason.RIVAL))
    assert not any(has(m.remittance_reason, Reason.RIVAL))


def test_another_version_of_a_released_remittance_is_a_rival() -> None:
    left = [{}, {"paid_cents": 7, "effective_date": DAY + 3}, {"payee_tin": "9", "paid_cents": 8}]
    right = [{}, {"amount_cents": 7}]
    m = run(left, right, pins=made((0, 0)), released=on(True, False, False))
    assert (1, 1, REVIEW, Tier.T1) in pairs(m)
    assert has(m.remittance_reason, Reason.RIVAL_AFTER_RELEASE) == [True, True, False]
    assert not any(has(m.payment_reason, Reason.RIVAL_AFTER_RELEASE))


def test_a_match_that_was_undone_has_no_rivals() -> None:
    right = [{"ach_trace": 91}, {**RETURN, "original_trace": 91, "ach_trace": 93}, {}]
    m = run([{}], right, pins=made((0, 0)), released=on(True))
    assert pairs(m) == [(0, 0, UNMATCHED, Tier.T1), (0, 2, AUTO, Tier.T1)]
    assert not any(has(m.payment_reason, Reason.RIVAL))


def test_pinned_entries_and_what_they_carry() -> None:
    left = [{"payment_row": 0}, {"payment_row": 0, "trace": "B2"}, {"effective_date": DAY + 1}]
    m = run(left, [{"has_remittance": True}], pins=made((0, 0), tier=Tier.T0))
    assert pairs(m) == [(0, 0, AUTO, Tier.T0)]
    assert has(m.remittance_reason, Reason.RIVAL) == [True, True, True]
    assert has(m.remittance_reason, Reason.CONFLICT) == [False, False, True]
    assert not any(has(m.remittance_reason, Reason.CARRIER_NOT_USABLE))


def test_the_entry_of_an_835_that_a_person_matched_otherwise_is_held() -> None:
    left = [{"payment_row": 0, "trace": "B2"}, {"trace": "C3"}]
    right = [{"has_remittance": True, "trace": "C3"}, {"trace": "D4", "amount_cents": 5}]
    m = run(left, right, pins=made((0, 1)))
    assert pairs(m) == [(0, 1, AUTO, Tier.T1), (1, 0, REVIEW, Tier.T1)]
    assert has(m.payment_reason, Reason.RIVAL) == [True, False]
    assert has(m.remittance_reason, Reason.RIVAL) == [True, True]


def test_the_entry_that_a_pinned_line_reports_is_held() -> None:
    line = {"source": int(PaymentSource.BANK_ACH), "report": 0, "trace": "", "payer_id": ""}
    m = run([{"trace": "A1"}, {}], [line, {}], pins=made((0, 0)))
    assert pairs(m) == [(0, 0, AUTO, Tier.T1), (1, 1, REVIEW, Tier.T1)]
    assert has(m.payment_reason, Reason.RIVAL) == [True, True]


def test_too_many_rivals_are_all_held() -> None:
    right: list[Row] = [{} for _ in range(200)]
    m = run([{}], right, pins=made((0, 0)), released=on(True))
    assert pairs(m) == [(0, 0, AUTO, Tier.T1)]
    assert has(m.payment_reason, Reason.RIVAL)[1:] == [True] * 199
    assert has(m.remittance_reason, Reason.RIVAL_AFTER_RELEASE) == [True]


# ---- vetoes ----


@pytest.mark.parametrize(
    ("left", "right", "tier"),
    [
        ([{"payment_row": 0}], [{"has_remittance": True}], Tier.T0),
        ([{}], [{}], Tier.T1),
        ([{}], [{}, {"amount_cents": 3}], Tier.T1),
        ([{"trace": "12345678"}], [{}], Tier.T2),
        ([{"trace": "ABCD12345678"}], [{"trace": "ABCD1234"}], Tier.T6),
        ([{}], [{"trace": ""}], Tier.T7),
        ([{"paid_cents": 9}, {"paid_cents": 3, "payee_tin": "1"}], [{"amount_cents": 12}], Tier.T8),
        ([{"paid_cents": 9}], [{"amount_cents": 7}, {"amount_cents": 2}], Tier.T9),
        ([{"trace": "A", "paid_cents": 9}, {"trace": "B", "paid_cents": 3}],
         [{"trace": "C", "amount_cents": 12}], Tier.T8),
    ],
)  # fmt: skip
def test_what_a_person_undid_is_only_shown(left: list[Row], right: list[Row], tier: Tier) -> None:
    policy = Policy(auto_tiers=("T6", "T7", "T8", "T9"))
    before = run(left, right, policy)
    assert (0, 0, AUTO, tier) in pairs(before)
    m = run(left, right, policy, vetoes=made((0, 0)))
    chosen = m.tier == tier
    assert sorted(m.match_id[chosen]) == sorted(before.match_id[before.tier == tier])
    assert set(m.status.tolist()) == {REVIEW}
    assert all(has(m.reason[chosen], Reason.VETOED))
    assert not m.release.any()


def test_an_undone_pair_still_speaks_against_others() -> None:
    left = [{"payer_id": "1234567890"}, {"payer_id": "7777777777", "payee_tin": "5"}]
    right = [{"payer_id": "1234567890"}, {"payer_id": "8888888888"}]
    policy = Policy(payers=(PayerRule(ids=("1234567890", "7777777777", "8888888888")),))
    assert pairs(run(left, right, policy)) == [(0, 0, AUTO, Tier.T1), (1, 1, AUTO, Tier.T3)]
    m = run(left, right, policy, vetoes=made((0, 0)))
    assert {(i, j, status) for i, j, status, _ in pairs(m)} == {
        (i, j, REVIEW) for i in (0, 1) for j in (0, 1)
    }


def test_a_variance_that_a_person_undid_is_none() -> None:
    left, right = [{"paid_cents": 9}], [{"amount_cents": 8}]
    assert pairs(run(left, right)) == [(0, 0, VARIANCE, Tier.T5)]
    m = run(left, right, vetoes=made((0, 0)))
    assert pairs(m) == [(0, 0, REVIEW, Tier.T5)]
    assert m.remittance_status.tolist() == [RemittanceStatus.PROBABLE]


# ---- what stood ----

CUT: list[Row] = [{"trace": "ABCD12345678"}]
CUT_MONEY: list[Row] = [{"trace": "ABCD1234"}]
OPTED = Policy(auto_tiers=("T6", "T7", "T8", "T9"))


def stood(m: Matches) -> Pairs:
    rows = m.status == AUTO
    return Pairs(m.remittance[rows], m.payment[rows], m.match_id[rows], m.tier[rows])


def between(left: list[Row], right: list[Row], standing: Pairs, **more: Any) -> Matches:
    return run(left, right, OPTED, at_close=False, surest_only=True, standing=standing, **more)


def test_in_a_neighbourhood_what_stood_is_kept() -> None:
    for left, right in (
        (CUT, CUT_MONEY),
        ([{"paid_cents": 9}, {"paid_cents": 3, "payee_tin": "1"}], [{"amount_cents": 12}]),
    ):
        close = run(left, right, OPTED)
        m = between(left, right, stood(close))
        assert pairs(m) == pairs(close)
        assert m.match_id.tolist() == close.match_id.tolist()
        assert m.release.all()
        assert not any(pair[2] == AUTO for pair in pairs(between(left, right, Pairs.none())))


@pytest.mark.parametrize(
    "more",
    [
        {"right": [*CUT_MONEY, {"trace": "ABCD12345678", "amount_cents": 4}]},
        {"vetoes": made((0, 0))},
        {"late": (on(True), on(False))},
        {"left": [{**CUT[0], "currency": "CAD"}]},
    ],
)
def test_what_stood_and_is_not_sure_any_more_waits(more: dict[str, Any]) -> None:
    standing = stood(run(CUT, CUT_MONEY, OPTED))
    m = between(more.pop("left", CUT), more.pop("right", CUT_MONEY), standing, **more)
    assert (0, 0, REVIEW, Tier.T6) in pairs(m)
    told = (m.remittance == 0) & (m.payment == 0)
    assert all(has(m.reason[told], Reason.WAITS_FOR_HORIZON))
    assert m.remittance_status.tolist() == [RemittanceStatus.PROBABLE]
    assert m.payment_status[0] == PaymentStatus.SUGGESTED
    assert not m.release.any()


def test_what_stood_gives_way_to_a_surer_match() -> None:
    right = [*CUT_MONEY, {"trace": "ABCD12345678"}]
    m = between(CUT, right, stood(run(CUT, CUT_MONEY, OPTED)))
    assert pairs(m) == [(0, 1, AUTO, Tier.T1)]
    assert m.payment_status.tolist() == [PaymentStatus.UNMATCHED, PaymentStatus.MATCHED]


@pytest.mark.parametrize("surest_only", [False, True])
def test_what_stood_and_went_back_is_undone(surest_only: bool) -> None:
    right = [
        {**CUT_MONEY[0], "ach_trace": 91},
        {**RETURN, "original_trace": 91, "ach_trace": 93, "trace": ""},
    ]
    standing = stood(run(CUT, right[:1], OPTED))
    m = run(CUT, right, OPTED, standing=standing, at_close=False, surest_only=surest_only)
    assert pairs(m) == [(0, 0, UNMATCHED, Tier.T6)]
    assert m.match_id.tolist() == standing.match_id.tolist()
    assert m.remittance_status.tolist() == [RemittanceStatus.UNMATCHED_BY_RETURN]
    assert m.payment_status[0] == PaymentStatus.RETURNED


def test_a_sum_of_other_rows_is_not_what_stood() -> None:
    left = [{"paid_cents": cents, "payee_tin": str(cents)} for cents in (9, 3)]
    close = run(left, [{"amount_cents": 12}])
    assert pairs(close) == [(0, 0, AUTO, Tier.T8), (1, 0, AUTO, Tier.T8)]
    one = stood(close)
    for standing in (
        Pairs(one.remittance[:1], one.payment[:1], one.match_id[:1], one.tier[:1]),
        replace(one, match_id=np.array([1, 2], np.uint64)),
    ):
        m = run(left, [{"amount_cents": 12}], at_close=False, standing=standing)
        assert set(m.status.tolist()) == {REVIEW}
    m = run(left, [{"amount_cents": 12}], at_close=False, standing=one)
    assert set(m.status.tolist()) == {AUTO}


def test_checks_wait_for_the_close_in_a_neighbourhood() -> None:
    left, right = [{"payment_method": "CHK"}], [{"source": int(PaymentSource.CHECK)}]
    close = run(left, right)
    assert pairs(close) == [(0, 0, AUTO, Tier.T1)]
    assert pairs(between(left, right, Pairs.none())) == [(0, 0, REVIEW, Tier.T1)]
    assert pairs(between(left, right, stood(close))) == pairs(close)
    assert pairs(run(left, right, at_close=False)) == pairs(close)


def test_match_ids_are_made_of_ids_alone() -> None:
    left = [{"id_offset": 5, "paid_cents": 9}, {"id_offset": 6, "paid_cents": 3, "payee_tin": "1"}]
    loose = [{"id_offset": 7, "trace": "L1", "paid_cents": 5, "payee_account": "42"}]
    loose += [{"id_offset": 8, "trace": "L2", "paid_cents": 6, "payee_account": "42"}]
    right = [
        {"id_offset": 9, "amount_cents": 12},
        {"id_offset": 10, "trace": "L9", "amount_cents": 11, "account": "42"},
    ]
    few = run([*left, *loose], right, OPTED)
    assert few.tier.tolist() == [Tier.T8] * 4
    others: list[Row] = [
        {"id_offset": 2000 + k, "trace": f"O{k}", "payer_id": "31"} for k in range(20)
    ]
    many = run([*others, *loose[::-1], *left[::-1]], [*others_paid(others), *right[::-1]], OPTED)
    assert set(few.match_id.tolist()) == set(many.match_id[many.tier == Tier.T8].tolist())


def others_paid(rows: list[Row]) -> list[Row]:
    return [{"trace": row["trace"], "payer_id": "31", "company_id": "31"} for row in rows]


# ---- what is refused ----


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"pins": made((0, 3))}, "pins names a payment row"),
        ({"vetoes": made((-1, 0))}, "vetoes names a remittance row"),
        ({"standing": replace(made((0, 0)), match_id=np.zeros(1, np.uint64))}, "standing has a"),
        ({"pins": replace(made((0, 0)), tier=np.zeros(2, np.uint8))}, "different lengths"),
        ({"late": (on(True), on())}, r"late\[1\] has 0 rows, the payments have 1"),
        ({"released": on()}, "released has 0 rows"),
    ],
)
def test_what_cannot_be_is_refused(more: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        run([{}], [{}], **more)


# ---- keys of neighbours ----


def keys_of(pool: RemittanceColumns, policy: Policy | None = None, *carriers: int) -> Any:
    offsets = np.full(len(pool), -1, np.int64)
    offsets[: len(carriers)] = carriers
    return remittance_keys(pool, policy or Policy(), None, offsets)


def test_stable_keys_are_those_of_the_bytes() -> None:
    left = remittances({"trace": "0012-3"}, {}, {"payer_id": "7777777777"}, {"trace": "000"})
    right = payments({"trace": "123"}, {"payer_id": ""}, {"payer_id": "9"})
    policy = Policy(payers=(PayerRule(ids=("9", "7777777777")),))
    ours, theirs = keys_of(left, policy)[0], payment_keys(right, policy, None)[0]
    assert ours[0] == theirs[0] != 0
    assert ours[1] == theirs[1] != 0  # by the company identifier
    assert ours[2] == theirs[2] != 0  # an alias
    assert ours[3] == 0
    assert len(set(ours.tolist())) == 4
    turned = keys_of(left.take(np.array([2, 1])), policy)[0]
    assert turned.tolist() == ours[[2, 1]].tolist()
    # Kept beside items: where it changes, KEYS_VERSION does.
    assert (ours[0], KEYS_VERSION) == (13344349125348880392, 2)


def test_only_what_could_meet_shares_a_key() -> None:
    left = remittances({"body_hash": 0}, {"paid_cents": 0})
    trace, body, carrier = keys_of(left, None, 40)
    assert carrier[1] == 0
    assert trace.all(), "one that pays nothing as well: its carrier may be tied to it by hand"
    assert body.all()
    right = payments(
        {"id_digest": 1, "id_offset": 40, "has_remittance": True, "ach_trace": 91},
        {**RETURN, "original_trace": 91, "ach_trace": 92, "return_trace": -1},
        {"kind": 5, "return_form": 1, "original_trace": 91, "return_trace": 92, "ach_trace": 94},
        {"source": int(PaymentSource.BANK_ACH), "ach_trace": -1, "account": "0005566778"},
        {"source": int(PaymentSource.CHECK), "ach_trace": -1, "account": "", "trace": "12345678"},
    )
    columns = payment_keys(right, Policy(), None)
    met = meeting(np.concatenate(columns)).reshape(len(columns), len(right))
    rows = [{int(column[row]) for column in met} - {0} for row in range(len(right))]
    assert carrier[0] in rows[0]
    assert trace[0] in rows[0]
    assert rows[0] & rows[1]
    assert rows[1] & rows[2]
    assert rows[0] & rows[3]
    assert rows[0] & rows[4]
    assert waits_for_close(right).tolist() == [False] * 4 + [True]


def test_equal_numbers_meet_only_where_one_is_named() -> None:
    right = payments(
        {"ach_trace": 91, "account": "1", "trace": "51"},
        {"ach_trace": 91, "account": "2", "trace": "52"},
        {**RETURN, "original_trace": 91, "ach_trace": 92},
        {**RETURN, "original_trace": 91, "ach_trace": 93},
    )
    columns = np.stack(payment_keys(right, Policy(), None))
    of = [column[column != 0] for column in columns.T]
    found = [
        [bool(np.isin(sought(keys), others).any()) for others in of] for keys in of
    ]  # row by row: what a search for its keys brings
    assert found == [
        [True, False, True, True],
        [False, True, True, True],
        [True, True, True, True],
        [True, True, True, True],
    ]
    met = [set(meeting(columns[:, rows].ravel()).tolist()) - {0} for rows in ([0, 2], [1, 2])]
    assert met[0] & met[1]
    apart = [meeting(keys) for keys in of[:2]]
    assert not set(apart[0].tolist()) & set(apart[1].tolist()) - {0}
    offered = of[0][(of[0] & 3) == 1]
    assert bear_on(of[2], offered).any()
    assert bear_on(of[0], offered).any()
    assert not bear_on(of[2], of[0][(of[0] & 3) == 0]).any()


def test_copies_of_what_has_no_account_share_a_key() -> None:
    right = payments(
        *[{"ach_trace": 91, "account": ""}] * 2,
        *[{"ach_trace": 91, "kind": int(EntryKind.PRENOTE), "amount_cents": 0}] * 2,
        {"ach_trace": 91, "account": "", "amount_cents": 7, "trace": "52"},
    )
    columns = np.stack(payment_keys(right, Policy(), None))
    rows = [set(meeting(keys).tolist()) - {0} for keys in columns.T]
    assert rows[0] & rows[1]
    assert rows[2] & rows[3]
    assert not rows[0] & rows[2]
    assert not rows[0] & rows[4]


def test_a_held_item_must_be_there() -> None:
    none = np.zeros(0, np.uint8), np.zeros((0, 2), np.uint32)
    numbers = np.zeros(0, np.int64)
    items = _keys.Items(
        *none, *none, _keys.PayerTable(), _keys.Affixes([]), numbers, np.zeros(0, np.int32),
        np.zeros(0, np.uint64), numbers, numbers,
    )  # fmt: skip
    assert len(items.stable_keys()) == 0
    with pytest.raises(IndexError):
        items.hold(np.zeros(1, np.int32))
