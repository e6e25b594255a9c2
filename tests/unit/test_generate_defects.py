"""Every case of the generator is what it says, and its truth is what a perfect matcher may find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from feed_check import TruthRow, read_feed

from reassoc.loadtest.dates import is_banking_day, to_days
from reassoc.loadtest.defects import DEFECTS, RATE_UNIT, plan_rates
from reassoc.loadtest.feed import FeedOptions, generate_feed

NAMES = [defect.name for defect in DEFECTS]


def make(root: Path, case: str, payments: int = 40) -> list[TruthRow]:
    options = FeedOptions(payments=payments, seed=21, claims=3, rates_ppm={case: RATE_UNIT})
    generate_feed(root / "feed", options)
    return read_feed(root / "feed")


def trace_of(text: str) -> str:
    return text[text.index("TRN*1*") :].split("*")[2]


def bare(trace: str) -> str:
    return "".join(mark for mark in trace if mark.isalnum()).lstrip("0")


@pytest.mark.parametrize("case", NAMES)
def test_case_at_rate_one_is_everywhere_and_balances(tmp_path: Path, case: str) -> None:
    rows = make(tmp_path, case)
    assert len(rows) >= 40
    assert {row.case for row in rows} == {case}
    for row in rows:
        if row.remittance is not None:
            assert row.remittance.count_right == (case != "invalid_segment_count")
            assert row.remittance.balanced == (case != "invalid_unbalanced")
            assert all(claim.balanced for claim in row.remittance.claims())
        if row.remittance is not None and row.entry is not None:
            same = row.remittance.paid == row.entry.amount
            assert same == (case != "amount_variance")
            assert bare(trace_of(row.entry.text)).startswith(bare(row.remittance.get("TRN")[2]))


@pytest.mark.parametrize(
    "case", ["missing_payment", "zero_pay", "zero_pay_offset", "zero_pay_check", "check"]
)
def test_remittances_alone(tmp_path: Path, case: str) -> None:
    for row in make(tmp_path, case):
        assert row.entry is None
        assert row.remittance is not None
        bpr = row.remittance.get("BPR")
        expected = {
            "missing_payment": ("I", "ACH"),
            "check": ("I", "CHK"),
            "zero_pay_check": ("I", "CHK"),
        }.get(case, ("H", "NON"))
        assert (bpr[1], bpr[4]) == expected
        assert (row.remittance.paid == 0) == case.startswith("zero_pay")
        assert len(bpr) == 17


@pytest.mark.parametrize("case", ["missing_remittance", "prenote", "unrelated_entry"])
def test_entries_alone(tmp_path: Path, case: str) -> None:
    rows = make(tmp_path, case)
    for row in rows:
        assert row.remittance is None
        assert row.entry is not None
        if case == "prenote":
            assert row.entry.amount == 0
            assert row.entry.record[1:3] in ("23", "33")
        assert (row.entry.batch[53:63] == "HCCLAIMPMT") == (case != "unrelated_entry")
    if case == "unrelated_entry":
        codes = {row.entry.record[1:3] for row in rows if row.entry is not None}
        assert codes == {"22", "32", "27", "37"}


def test_traces_differ_only_in_what_the_case_says(tmp_path: Path) -> None:
    for row in make(tmp_path / "zeros", "leading_zeros_lost"):
        assert row.remittance is not None
        assert row.entry is not None
        here, there = row.remittance.get("TRN")[2], trace_of(row.entry.text)
        assert here != there
        assert here.lstrip("0") == there.lstrip("0")
    for row in make(tmp_path / "spaces", "spaces_hyphens"):
        assert row.remittance is not None
        assert row.entry is not None
        here, there = row.remittance.get("TRN")[2], trace_of(row.entry.text)
        assert here != there
        assert bare(here) == bare(there)


def test_terminators_of_the_trace(tmp_path: Path) -> None:
    for row in make(tmp_path / "none", "trn_unterminated"):
        assert row.entry is not None
        assert row.entry.text[-1].isalnum()
    texts = [row.entry.text for row in make(tmp_path / "extra", "trn_extra_text") if row.entry]
    assert any(text.startswith("HCCLAIMPMT") for text in texts)
    assert any(text.startswith("TRN") for text in texts)


def test_payer_identifier_lacks_its_one_on_one_side(tmp_path: Path) -> None:
    sides = set()
    for row in make(tmp_path, "payer_id_without_one"):
        assert row.remittance is not None
        assert row.entry is not None
        here = row.remittance.get("TRN")[3]
        there = row.entry.text.rstrip("~\\").split("*")[3]
        assert here[-9:] == there[-9:]
        sides.add((len(here), len(there)))
    assert sides == {(9, 10), (10, 9)}


def test_duplicates_follow_what_they_repeat(tmp_path: Path) -> None:
    rows = make(tmp_path / "remittances", "duplicate_remittance")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.entry is not None
        assert second.entry is None
        assert first.remittance is not None
        assert second.remittance is not None
        assert first.remittance.body == second.remittance.body
        assert first.remit_file == second.remit_file
    rows = make(tmp_path / "payments", "duplicate_payment")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.remittance is not None
        assert second.remittance is None
        assert first.entry is not None
        assert second.entry is not None
        assert first.entry.record == second.entry.record
        assert first.entry.text == second.entry.text


def test_two_payers_use_one_trace(tmp_path: Path) -> None:
    rows = make(tmp_path, "same_trace_two_payers")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.remittance is not None
        assert second.remittance is not None
        here, there = first.remittance.get("TRN"), second.remittance.get("TRN")
        assert here[2] == there[2]
        assert here[3] != there[3]


def test_effective_dates_on_closed_days_settle_later(tmp_path: Path) -> None:
    settled = set()
    for row in make(tmp_path, "effective_closed_day"):
        assert row.entry is not None
        text = row.entry.batch[69:75]
        effective = date(2000 + int(text[:2]), int(text[2:4]), int(text[4:]))
        assert not is_banking_day(to_days(effective))
        settlement = row.entry.batch[75:78]
        settled.add(settlement)
        if settlement.strip():
            assert int(settlement) > effective.timetuple().tm_yday
    assert "   " in settled
    assert len(settled) > 1


def test_settlement_may_be_blank(tmp_path: Path) -> None:
    for row in make(tmp_path, "settlement_blank"):
        assert row.entry is not None
        assert row.entry.batch[75:78] == "   "


def test_default_rates_show_every_case(tmp_path: Path) -> None:
    options = FeedOptions(payments=4000, seed=8, claims=1, defects=True)
    summary = generate_feed(tmp_path / "feed", options)
    assert set(summary.cases) == {*NAMES, "clean", "ctx"}
    assert summary.cases["clean"] > 2500


def test_named_rates_are_kept_and_the_others_give_way() -> None:
    only = plan_rates(False, {"check": 250_000})
    assert sum(only) == only[NAMES.index("check")] == 250_000
    both = plan_rates(True, {"check": 990_000})
    assert both[NAMES.index("check")] == 990_000
    assert 0 < both[NAMES.index("zero_pay")] < 15_000
    assert sum(both) <= RATE_UNIT
    assert sum(plan_rates(True, {"check": RATE_UNIT})) == RATE_UNIT
    defaults: Callable[[str], int] = {
        defect.name: defect.rate_ppm for defect in DEFECTS
    }.__getitem__
    assert plan_rates(True, {}) == tuple(defaults(name) for name in NAMES)
