"""The report of a warehouse: a small world of which every figure is known, and its edges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from report_world import Item, World, day_number
from sqlalchemy.dialects import sqlite

from reassoc.core.ach import EntryKind
from reassoc.core.statuses import (
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    VarianceCause,
)
from reassoc.stream import warehouse_report
from reassoc.stream import warehouse_report_sql as sql
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.items import ItemFlag, ReleaseKind
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import AlertCode, DecisionAnswer, PairEvent
from reassoc.stream.summary import Tally
from reassoc.stream.warehouse_report import make_report
from reassoc.stream.warehouse_report_figures import (
    DayTally,
    DecisionTally,
    LateTally,
    OpenTally,
    ReportError,
    TierTally,
    VarianceTally,
    WarehouseReport,
    WentBack,
)

R, P = RemittanceStatus, PaymentStatus
RELEASED = ItemFlag.RELEASED
BY_DEFAULT = ItemFlag.RELEASED | ItemFlag.DEFAULTED


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield World(ledger)
    ledger.close()


def report(
    world: World, first: str | None = None, last: str | None = None, tenant: str | None = None
) -> WarehouseReport:
    with world.ledger.reading() as connection:
        return make_report(
            connection,
            federal_reserve_calendar(),
            first_day=date.fromisoformat(first) if first else None,
            last_day=date.fromisoformat(last) if last else None,
            tenant=tenant,
        )


Items = dict[str, Item]


def february(world: World, of: Items) -> None:
    """One that is released in the span, one released by default before it, one that stays open."""
    step = world.step("2026-02-26")
    of["early"] = step.remittance(100_00, "2026-02-26", R.AWAITING_EFT, payer="1P1", claims=9)
    of["by_default"] = step.remittance(50_00, "2026-02-10", R.AWAITING_EFT, payer="1P2")
    step.remittance(70_00, "2026-01-05", R.AWAITING_EFT, payer="1P2")
    step.change(of["by_default"], R.RELEASED, flags=BY_DEFAULT, release=ReleaseKind.DEFAULT)
    step.write()


def monday(world: World, of: Items) -> None:
    """A pair at once, the early one's money, a zero pay, a duplicate, other entries."""
    step = world.step("2026-03-02")
    of["exact"] = step.remittance(200_00, "2026-03-02", R.MATCHED, payer="1P1", claims=3)
    of["money"] = step.payment(200_00, "2026-03-02", P.MATCHED)
    step.pair(of["exact"], of["money"])
    step.change(of["exact"], R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    of["early_money"] = step.payment(100_00, "2026-03-02", P.MATCHED)
    step.pair(of["early"], of["early_money"], tier=2)
    step.change(of["early"], R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    zero = step.remittance(0, "2026-03-02", R.NO_FUNDS_EXPECTED, claims=2)
    step.change(zero, R.RELEASED, flags=RELEASED, release=ReleaseKind.ZERO_PAY)
    copy = step.remittance(200_00, "2026-03-02", R.DUPLICATE)
    step.alert(copy, AlertCode.DUPLICATE_OF_HISTORY)
    step.payment(5_00, "2026-03-02", P.NOT_CLAIM_PAYMENT, kind=EntryKind.DEBIT)
    step.payment(200_00, "2026-03-02", P.REPORTED, source=PaymentSource.BANK_ACH)
    step.write()


def tuesday(world: World, of: Items) -> None:
    """Matched, then undone by a person; matched after the span; a variance; the default is funded;
    candidates."""
    step = world.step("2026-03-03")
    of["undone"] = step.remittance(300_00, "2026-03-03", R.MATCHED, payer="1P3")
    of["wrong"] = step.payment(300_00, "2026-03-03", P.MATCHED)
    step.pair(of["undone"], of["wrong"], tier=7)
    of["later"] = step.remittance(400_00, "2026-02-20", R.AWAITING_EFT, payer="1P3")
    of["differs"] = step.remittance(1000_00, "2026-03-02", R.MATCHED_VARIANCE, payer="1P4")
    of["less"] = step.payment(976_00, "2026-03-02", P.SUGGESTED)
    step.pair(
        of["differs"], of["less"], PairEvent.MADE, MatchStatus.VARIANCE, 5, difference=-24_00,
        cause=VarianceCause.FEE,
    )  # fmt: skip
    funds = step.payment(50_00, "2026-03-03", P.MATCHED)
    step.pair(of["by_default"], funds)
    step.alert(of["by_default"], AlertCode.FUNDED_AFTER_DEFAULT)
    of["guess"] = step.remittance(10_00, "", R.PROBABLE)
    step.pair(of["guess"], of["less"], PairEvent.MADE, MatchStatus.REVIEW, 10)
    step.write()
    step = world.step("2026-03-03")
    step.pair(of["undone"], of["wrong"], PairEvent.GONE, tier=7)
    step.change(of["undone"], R.AWAITING_EFT)
    step.change(of["wrong"], P.UNMATCHED)
    step.decision("unmatch", DecisionAnswer.DONE, 2, 300_00)
    step.decision("release", DecisionAnswer.REFUSED)
    step.write()


def wednesday(world: World, of: Items) -> None:
    """A return after a release and one before; a sum by a person; by hand; resent."""
    step = world.step("2026-03-04")
    step.change(of["money"], P.RETURNED)
    step.pair(
        of["exact"],
        of["money"],
        PairEvent.CHANGED,
        MatchStatus.UNMATCHED,
        reason=Reason.RETURN_AFTER_RELEASE,
    )
    step.change(of["exact"], R.UNMATCHED_BY_RETURN)
    step.alert(of["exact"], AlertCode.RETURN_AFTER_RELEASE)
    step.payment(33_00, "2026-03-04", P.RETURNED)
    of["part_one"] = step.remittance(60_00, "2026-03-03", R.MATCHED, payer="1P2", claims=0)
    part_two = step.remittance(40_00, "2026-03-03", R.MATCHED, payer="1P2", claims=0)
    whole = step.payment(100_00, "2026-03-04", P.MATCHED, source=PaymentSource.CHECK)
    step.pair(of["part_one"], whole, tier=8, person=True)
    step.pair(part_two, whole, tier=8, person=True)
    step.change(of["guess"], R.RELEASED, flags=RELEASED, release=ReleaseKind.MANUAL)
    step.decision("release", DecisionAnswer.DONE, 1, 10_00)
    step.decision("resend", DecisionAnswer.DONE, 2, 300_00)
    step.write()


def after_the_span(world: World, of: Items) -> None:
    """Nothing of it may be seen."""
    step = world.step("2026-03-05")
    late_money = step.payment(400_00, "2026-02-20", P.MATCHED)
    step.pair(of["later"], late_money)
    step.change(of["later"], R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    step.pair(of["differs"], of["less"], PairEvent.GONE, MatchStatus.VARIANCE, 5)
    step.change(of["differs"], R.AWAITING_EFT)
    step.change(of["less"], P.UNMATCHED)
    step.change(of["part_one"], R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    step.change(of["early_money"], P.RETURNED)
    step.alert(of["later"], AlertCode.CROWDED_KEY)
    step.decision("hold", DecisionAnswer.DONE, 1, 1)
    step.write()
    step = world.step("2026-03-06")
    step.change(of["differs"], R.VOIDED, flags=ItemFlag.CLOSED)
    step.write()


def build(world: World) -> None:
    """February, three days of March that are reported on (2nd to 4th), and what came after."""
    of: Items = {}
    for happens in (february, monday, tuesday, wednesday, after_the_span):
        happens(world, of)


NONE = Tally(0, 0)


def test_what_came_and_was_matched_in_a_small_world(world: World) -> None:
    build(world)
    found = report(world, "2026-03-02", "2026-03-04")
    assert (found.first_day, found.last_day, found.tenant) == ("2026-03-02", "2026-03-04", None)

    assert found.days == [
        DayTally("2026-03-02", Tally(3, 400_00), Tally(2, 300_00), 6, Tally(2, 300_00), NONE),
        DayTally(
            "2026-03-03", Tally(4, 1710_00), Tally(3, 1326_00), 4, Tally(2, 350_00),
            Tally(1, 300_00),
        ),
        DayTally(
            "2026-03-04", Tally(2, 100_00), Tally(2, 133_00), 0, Tally(2, 100_00),
            Tally(1, 200_00),
        ),
    ]  # fmt: skip
    came = found.received
    assert (came.remittances, came.claims) == (Tally(9, 2210_00), 10)
    assert came.payments == Tally(7, 1759_00)
    assert came.payments_by_source == {"ach": Tally(6, 1659_00), "check": Tally(1, 100_00)}
    assert came.other_entries == {"debit": Tally(1, 5_00), "reported_again": Tally(1, 200_00)}

    assert found.matched.by_tier == [
        TierTally("T1", Tally(2, 250_00), Tally(1, 200_00)),
        TierTally("T2", Tally(1, 100_00), NONE),
        TierTally("T7", Tally(1, 300_00), Tally(1, 300_00)),
        TierTally("person", Tally(2, 100_00), NONE),
    ]
    assert (found.matched.made, found.matched.undone) == (Tally(6, 750_00), Tally(2, 500_00))
    # Not the zero pay and the duplicate; exact, undone, later, differs, guess, both parts are due.
    assert found.matched.remittances.expected == Tally(7, 2010_00)
    assert found.matched.remittances.matched == Tally(2, 100_00)
    # early_money, wrong, less, funds and whole; not the returned ones.
    assert found.matched.payments.expected == Tally(5, 1526_00)
    assert found.matched.payments.matched == Tally(3, 250_00)


def test_what_left_and_what_stayed_in_a_small_world(world: World) -> None:
    build(world)
    found = report(world, "2026-03-02", "2026-03-04")
    assert found.released.by_kind == {
        "match": Tally(2, 300_00),
        "zero_pay": Tally(1, 0),
        "manual": Tally(1, 10_00),
    }
    assert (found.released.total, found.released.resent) == (Tally(4, 310_00), Tally(2, 300_00))
    # 0 (exact, zero), 1 (guess), 2 (early).
    assert found.released.median_banking_days == 0
    assert found.released.p90_banking_days == 2

    assert found.open == [
        OpenTally("remittances", "duplicate", "0-3", 1, 200_00),
        OpenTally("remittances", "awaiting_eft", "0-3", 1, 300_00),
        OpenTally("remittances", "awaiting_eft", "5-10", 1, 400_00),
        OpenTally("remittances", "awaiting_eft", "31-60", 1, 70_00),
        OpenTally("remittances", "matched", "0-3", 2, 100_00),
        OpenTally("remittances", "matched_variance", "0-3", 1, 1000_00),
        OpenTally("payments", "unmatched", "0-3", 1, 300_00),
        OpenTally("payments", "suggested", "0-3", 1, 976_00),
    ]

    fee = VarianceTally("1P4", "PAYER 1P4", "fee", 1, 1, 24_00, 0)
    assert found.variances.by_payer == [fee]
    assert found.variances.total == VarianceTally("", "", "", 1, 1, 24_00, 0)
    assert found.variances.by_cause == [VarianceTally("", "", "fee", 1, 1, 24_00, 0)]

    # exact went back and undone was undone: neither stands at the end. The check is no ACH pair.
    assert found.late.by_payer == [
        LateTally("1P2", "PAYER 1P2", 1, 1, 14),
        LateTally("1P1", "PAYER 1P1", 1, 0, 0),
    ]
    assert found.late.total == LateTally("", "", 2, 1, 14)


def test_what_somebody_should_know_of_in_a_small_world(world: World) -> None:
    build(world)
    found = report(world, "2026-03-02", "2026-03-04")
    assert found.went_back == [
        WentBack("returned", Tally(1, 33_00), Tally(1, 200_00)),
        WentBack("reversed", NONE, NONE),
    ]
    assert found.alerts == {
        "return_after_release": 1,
        "duplicate_of_history": 1,
        "funded_after_default": 1,
    }
    assert found.duplicates == {"remittances": Tally(1, 200_00), "payments": NONE}
    assert found.decisions == [
        DecisionTally("unmatch", 1, 0, 2, 300_00),
        DecisionTally("release", 1, 1, 1, 10_00),
        DecisionTally("resend", 1, 0, 2, 300_00),
    ]


def test_a_day_is_a_part_of_its_span(world: World) -> None:
    """The pair was made before the day: what it was is looked up in the batches behind."""
    build(world)
    found = report(world, "2026-03-04", "2026-03-04")
    assert [day.day for day in found.days] == ["2026-03-04"]
    assert found.matched.by_tier == [
        TierTally("T1", NONE, Tally(1, 200_00)),
        TierTally("person", Tally(2, 100_00), NONE),
    ]
    assert found.went_back[0].after_release == Tally(1, 200_00)
    assert found.late.total.pairs == 0
    assert found.open == report(world, "2026-03-02", "2026-03-04").open


def test_what_a_pair_was_before_the_span_is_looked_up(world: World) -> None:
    """Its last event counts, in a batch behind one that is about the remittance alone."""
    step = world.step("2026-03-02")
    steady, moody = (step.remittance(cents, "2026-03-02", R.MATCHED) for cents in (5, 7))
    money = step.payment(9, "2026-03-02", P.MATCHED)
    step.pair(steady, money)
    step.pair(moody, money)
    step.pair(moody, money, PairEvent.CHANGED, MatchStatus.REVIEW)
    step.write()
    for item in (steady, moody):
        step = world.step("2026-03-02")
        step.change(item, R.PROBABLE)
        step.write()
    step = world.step("2026-03-03")
    # It had fallen asleep: the row does not say what it was.
    step.pair(steady, money, PairEvent.GONE, 0)
    step.pair(moody, money, PairEvent.CHANGED, MatchStatus.AUTO, person=True)
    step.write()
    matched = report(world, "2026-03-03", "2026-03-03").matched
    assert matched.by_tier == [
        TierTally("T1", NONE, Tally(1, 5)),
        TierTally("person", Tally(1, 7), NONE),
    ]


def test_by_default_a_report_is_of_the_last_days_month(world: World) -> None:
    build(world)
    found = report(world)
    assert (found.first_day, found.last_day) == ("2026-03-01", "2026-03-06")
    assert found.released.by_kind["match"] == Tally(4, 760_00)
    # Nothing is taken back: the report says what the ledger's own list of open items says.
    assert [(one.status, one.age, one.count) for one in found.open] == [
        ("duplicate", "4", 1),
        ("awaiting_eft", "0-3", 1),
        ("awaiting_eft", "31-60", 1),
        ("matched", "0-3", 1),
        ("unmatched", "0-3", 1),
        ("unmatched", "4", 1),
    ]


def test_days_without_steps(world: World) -> None:
    build(world)
    found = report(world, "2026-02-27", "2026-03-01")
    assert found.days == []
    assert found.received.remittances == found.matched.made == found.released.total == NONE
    assert found.released.median_banking_days is None
    assert [(one.status, one.cents) for one in found.open] == [
        ("awaiting_eft", 100_00),
        ("awaiting_eft", 70_00),
    ]
    before = report(world, "2025-01-01", "2025-12-31")
    assert before.open == before.days == []


def test_a_ledger_without_steps(world: World) -> None:
    with pytest.raises(ReportError, match="no banking day yet"):
        report(world)
    found = report(world, "2026-03-01", "2026-03-31")
    assert found.days == found.open == found.decisions == []
    assert found.duplicates == {"remittances": NONE, "payments": NONE}


def test_steps_before_the_first_clock_entry_are_of_no_day(world: World) -> None:
    step = world.step("")
    step.remittance(9_00, "2026-03-02", R.AWAITING_EFT)
    step.remittance(8_00, "", R.AWAITING_EFT)
    step.write()
    with pytest.raises(ReportError, match="no banking day yet"):
        report(world)
    found = report(world, "2026-03-02", "2026-03-02")
    assert found.received.remittances == NONE
    assert found.open == [
        OpenTally("remittances", "awaiting_eft", "0-3", 1, 9_00),
        OpenTally("remittances", "awaiting_eft", "no date", 1, 8_00),
    ]


def test_what_cannot_be_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    build(world)
    with pytest.raises(ReportError, match="ends before it begins"):
        report(world, "2026-03-05", "2026-03-04")
    with pytest.raises(ReportError, match="SPAN_DAYS_MAX"):
        report(world, "2016-01-01", "2026-03-04")
    with pytest.raises(ReportError, match="no tenant of this name"):
        report(world, tenant="nobody")
    monkeypatch.setattr(warehouse_report, "SPAN_ROWS_MAX", 10)
    with pytest.raises(ReportError, match="SPAN_ROWS_MAX"):
        report(world, "2026-03-02", "2026-03-04")
    monkeypatch.setattr(warehouse_report, "TENANTS_MAX", 0)
    with pytest.raises(ReportError, match="TENANTS_MAX"):
        report(world)


def test_tenants_are_apart_and_together(world: World) -> None:
    """An item that moves is of the one until the move, of the other from then on."""
    step = world.step("2026-03-02", "one")
    item = step.remittance(10_00, "2026-03-02", R.AWAITING_EFT)
    step.write()
    step = world.step("2026-03-02", "two")
    step.payment(4_00, "2026-03-02")
    step.write()
    step = world.step("2026-03-03", "one")
    step.change(item, R.ARCHIVED, flags=ItemFlag.MOVED)
    step.write()
    step = world.step("2026-03-03", "two")
    step.arrive(item, 10_00, "2026-03-02", R.AWAITING_EFT)
    step.write()

    first, second = (report(world, "2026-03-02", "2026-03-03", name) for name in ("one", "two"))
    assert (first.open, first.matched.remittances.expected) == ([], NONE)
    left = OpenTally("remittances", "awaiting_eft", "0-3", 1, 10_00)
    right = OpenTally("payments", "unmatched", "0-3", 1, 4_00)
    assert second.open == [left, right]
    assert report(world, "2026-03-02", "2026-03-03").open == [left, right]
    assert report(world, "2026-03-01", "2026-03-02").open == [left, right]
    assert report(world, "2026-03-01", "2026-03-02", "two").open == [right]


def test_sums_are_exact_above_int64(world: World) -> None:
    step = world.step("2026-03-02")
    for _ in range(3):
        huge = step.remittance(2**62 + 1, "2026-03-02", R.DUPLICATE)
        step.change(huge, R.RELEASED, flags=RELEASED, release=ReleaseKind.MANUAL)
    step.remittance(2**62 + 1, "2026-03-02", R.AWAITING_EFT)
    step.remittance(2**62 + 1, "2026-03-02", R.AWAITING_EFT)
    step.decision("release", DecisionAnswer.DONE, 3, 2**62)
    step.write()
    found = report(world, "2026-03-02", "2026-03-02")
    assert found.received.remittances.cents == 5 * (2**62 + 1)
    assert found.released.total.cents == 3 * (2**62 + 1)
    assert found.open[0].cents == 2 * (2**62 + 1)
    assert found.duplicates["remittances"].cents == 3 * (2**62 + 1)


def test_many_payers_are_told_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    step = world.step("2026-03-10")
    for payer, day in (("1A", "2026-03-02"), ("1B", "2026-03-10"), ("1C", "2026-03-03"),
                       ("1C", "2026-03-10")):  # fmt: skip
        remittance = step.remittance(9, day, R.MATCHED, payer=payer)
        step.pair(remittance, step.payment(9, day, P.MATCHED))
        differs = step.remittance(9, day, R.MATCHED_VARIANCE, payer=payer)
        step.pair(
            differs, step.payment(10, day), PairEvent.MADE, MatchStatus.VARIANCE, 5, difference=1
        )
    step.write()
    monkeypatch.setattr(warehouse_report, "PAYERS_MAX", 1)
    found = report(world)
    assert found.late.by_payer == [LateTally("1C", "PAYER 1C", 2, 1, 5)]
    assert found.late.other_payers == LateTally("", "(other payers)", 2, 1, 6)
    assert found.late.total == LateTally("", "", 4, 2, 6)
    assert [one.payer_id for one in found.variances.by_payer] == ["1C"]
    assert found.variances.other_payers.count == found.variances.other_payers.over_cents == 2
    # Those that are first seen when no more are counted one by one.
    monkeypatch.setattr(warehouse_report, "PAYERS_HELD_MAX", 1)
    found = report(world)
    assert (found.late.total.pairs, found.late.total.late) == (4, 2)
    assert found.variances.total.count == 4


def test_only_the_span_is_read(world: World) -> None:
    """Every statement goes through ranges and keys: no table is read from end to end, and rows
    come in their order without being sorted."""
    build(world)
    dialect = sqlite.dialect()
    with world.ledger.reading() as connection:
        chain = sql.chain(connection, "main", day_number("2026-03-02"), day_number("2026-03-04"))
        in_order = (
            sql.items, sql.statuses, sql.pair_events, sql.pairs, sql.undone_changes, sql.went_back,
        )  # fmt: skip
        grouped = (sql.released, sql.duplicates, sql.alerts, sql.decisions)
        for make in (*in_order, *grouped):
            text = make(chain).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").fetchall()
            steps = [row[3] for row in plan]
            assert steps[0].startswith("SEARCH batch USING"), (make, steps)
            assert not [step for step in steps if "SCAN" in step or "AUTOMATIC" in step], steps
            assert make in grouped or not [step for step in steps if "TEMP" in step], steps
