"""The report of a warehouse: a small world of which every figure is known, and its edges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from report_world import World

from reassoc.core.ach import EntryKind
from reassoc.core.statuses import (
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    VarianceCause,
)
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


def build(world: World) -> None:
    """February, three days of March that are reported on (2nd to 4th), and what came after."""
    # Before the span: one that is released in it, one released by default before, one open.
    step = world.step("2026-02-26")
    early = step.remittance(100_00, "2026-02-26", R.AWAITING_EFT, payer="1P1", claims=9)
    by_default = step.remittance(50_00, "2026-02-10", R.AWAITING_EFT, payer="1P2")
    step.remittance(70_00, "2026-01-05", R.AWAITING_EFT, payer="1P2")
    step.change(by_default, R.RELEASED, flags=BY_DEFAULT, release=ReleaseKind.DEFAULT)
    step.write()

    # Monday: a pair at once, the early one's money, a zero pay, a duplicate, other entries.
    step = world.step("2026-03-02")
    exact = step.remittance(200_00, "2026-03-02", R.MATCHED, payer="1P1", claims=3)
    money = step.payment(200_00, "2026-03-02", P.MATCHED)
    step.pair(exact, money)
    step.change(exact, R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    early_money = step.payment(100_00, "2026-03-02", P.MATCHED)
    step.pair(early, early_money, tier=2)
    step.change(early, R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    zero = step.remittance(0, "2026-03-02", R.NO_FUNDS_EXPECTED, claims=2)
    step.change(zero, R.RELEASED, flags=RELEASED, release=ReleaseKind.ZERO_PAY)
    copy = step.remittance(200_00, "2026-03-02", R.DUPLICATE)
    step.alert(copy, AlertCode.DUPLICATE_OF_HISTORY)
    step.payment(5_00, "2026-03-02", P.NOT_CLAIM_PAYMENT, kind=EntryKind.DEBIT)
    step.payment(200_00, "2026-03-02", P.REPORTED, source=PaymentSource.BANK_ACH)
    step.write()

    # Tuesday: matched, then undone by a person; matched later (after the span); a variance; the
    # default is funded; candidates.
    step = world.step("2026-03-03")
    undone = step.remittance(300_00, "2026-03-03", R.MATCHED, payer="1P3")
    wrong = step.payment(300_00, "2026-03-03", P.MATCHED)
    step.pair(undone, wrong, tier=7)
    later = step.remittance(400_00, "2026-02-20", R.AWAITING_EFT, payer="1P3")
    differs = step.remittance(1000_00, "2026-03-02", R.MATCHED_VARIANCE, payer="1P4")
    less = step.payment(976_00, "2026-03-02", P.SUGGESTED)
    step.pair(
        differs, less, PairEvent.MADE, MatchStatus.VARIANCE, 5, difference=-24_00,
        cause=VarianceCause.FEE,
    )  # fmt: skip
    funds = step.payment(50_00, "2026-03-03", P.MATCHED)
    step.pair(by_default, funds)
    step.alert(by_default, AlertCode.FUNDED_AFTER_DEFAULT)
    guess = step.remittance(10_00, "", R.PROBABLE)
    step.pair(guess, less, PairEvent.MADE, MatchStatus.REVIEW, 10)
    step.write()
    step = world.step("2026-03-03")
    step.pair(undone, wrong, PairEvent.GONE, tier=7)
    step.change(undone, R.AWAITING_EFT)
    step.change(wrong, P.UNMATCHED)
    step.decision("unmatch", DecisionAnswer.DONE, 2, 300_00)
    step.decision("release", DecisionAnswer.REFUSED)
    step.write()

    # Wednesday: a return after a release and one before; a sum by a person; by hand; resent.
    step = world.step("2026-03-04")
    step.change(money, P.RETURNED)
    step.pair(
        exact, money, PairEvent.CHANGED, MatchStatus.UNMATCHED, reason=Reason.RETURN_AFTER_RELEASE
    )
    step.change(exact, R.UNMATCHED_BY_RETURN)
    step.alert(exact, AlertCode.RETURN_AFTER_RELEASE)
    step.payment(33_00, "2026-03-04", P.RETURNED)
    part_one = step.remittance(60_00, "2026-03-03", R.MATCHED, payer="1P2", claims=0)
    part_two = step.remittance(40_00, "2026-03-03", R.MATCHED, payer="1P2", claims=0)
    whole = step.payment(100_00, "2026-03-04", P.MATCHED, source=PaymentSource.CHECK)
    step.pair(part_one, whole, tier=8, person=True)
    step.pair(part_two, whole, tier=8, person=True)
    step.change(guess, R.RELEASED, flags=RELEASED, release=ReleaseKind.MANUAL)
    step.decision("release", DecisionAnswer.DONE, 1, 10_00)
    step.decision("resend", DecisionAnswer.DONE, 2, 300_00)
    step.write()

    # After the span: nothing of it may be seen.
    step = world.step("2026-03-05")
    late_money = step.payment(400_00, "2026-02-20", P.MATCHED)
    step.pair(later, late_money)
    step.change(later, R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    step.pair(differs, less, PairEvent.GONE, MatchStatus.VARIANCE, 5)
    step.change(differs, R.AWAITING_EFT)
    step.change(less, P.UNMATCHED)
    step.change(part_one, R.RELEASED, flags=RELEASED, release=ReleaseKind.MATCH)
    step.change(early_money, P.RETURNED)
    step.alert(later, AlertCode.CROWDED_KEY)
    step.decision("hold", DecisionAnswer.DONE, 1, 1)
    step.write()
    step = world.step("2026-03-06")
    step.change(differs, R.VOIDED, flags=ItemFlag.CLOSED)
    step.write()


NONE = Tally(0, 0)


def test_every_figure_of_a_small_world(world: World) -> None:
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
