"""Every case of the generator is what it says, and its truth is what a perfect matcher may find."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest
from feed_check import TruthRow, difference, groups, read_feed

from reassoc.core.ach import read_ach
from reassoc.core.bai2 import read_bai2
from reassoc.core.directory import load_directory
from reassoc.core.lockbox import LockboxLayout, read_lockbox
from reassoc.loadtest.dates import is_banking_day, to_days
from reassoc.loadtest.defects import DEFECTS, PROFILES, RATE_UNIT, plan_rates
from reassoc.loadtest.feed import FeedOptions, generate_feed

NAMES = [defect.name for defect in DEFECTS]


CASES = {defect.name: defect for defect in DEFECTS}
OTHER_AMOUNT = ("amount_variance", "variance_")
UNBALANCED = ("invalid_unbalanced", "negative_total")


def make(root: Path, case: str, payments: int = 40, directory: bool = True) -> list[TruthRow]:
    if CASES[case].spares > 10:
        payments = 4
    options = FeedOptions(
        payments=payments, seed=21, claims=3, rates_ppm={case: RATE_UNIT}, directory=directory
    )
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
            assert row.remittance.balanced == (case not in UNBALANCED)
            assert all(claim.balanced for claim in row.remittance.claims())
    for group in groups(rows):
        assert (difference(group) == 0) == (not case.startswith(OTHER_AMOUNT))
        assert len({row.expect for row in group}) == 1
    expects = {row.expect for row in rows}
    assert CASES[case].expect in expects
    assert expects <= {CASES[case].expect, "auto", "none"}


@pytest.mark.parametrize(
    ("case", "expect"),
    [
        ("aggregator_aliased", "review"),
        ("aggregator_two_plans", "review"),
        ("check_listed", "review"),
        ("check_reported", "review"),
        ("payee_unknown", "auto"),
        ("bulk_npi_shared_trace", "auto"),
    ],
)
def test_without_a_directory_less_can_be_known(tmp_path: Path, case: str, expect: str) -> None:
    rows = make(tmp_path, case, directory=False)
    assert {row.expect for row in rows} - {"none"} == {expect}
    assert not (tmp_path / "feed" / "directory.toml").exists()


def test_returns_name_the_entry_that_came_back(tmp_path: Path) -> None:
    rows = make(tmp_path, "return_contested")
    forms = [row.entry.addenda[0] for row in rows if row.entry and row.entry.addenda]
    originals = {
        row.entry.record[79:]: row.entry for row in rows if row.expect == "unmatched" and row.entry
    }
    returns = {
        row.entry.record[79:]: row.entry for row in rows if row.entry and row.entry.record[2] == "1"
    }
    assert {form[3:6] for form in forms if form[1:3] == "99"} >= {"R03", "R73"}
    for entry in returns.values():
        record, original = entry.addenda[0], originals[entry.addenda[0][6:21]]
        assert entry.amount == original.amount
        assert record[27:35] == original.record[3:11]
        goes_back = record[3:6] in ("R03", "R73")
        other_bank = original.record[79:87] if goes_back else original.record[3:11]
        assert entry.record[3:11] == other_bank
        if record[3:6] != "R03":
            assert record[38:53] in returns
        if record[3:6] == "R73":
            assert record[58:73] in returns


def test_reversals_take_back_the_whole_amount(tmp_path: Path) -> None:
    rows = make(tmp_path, "reversed")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.entry is not None
        assert second.entry is not None
        assert second.entry.batch[53:63].strip() == "REVERSAL"
        assert second.entry.record[1:3] == "27"
        assert second.entry.record[3:39] == first.entry.record[3:39]
        assert second.entry.batch[40:50] == first.entry.batch[40:50]
        assert second.entry.record[79:] != first.entry.record[79:]


def test_bank_reports_repeat_entries_and_themselves(tmp_path: Path) -> None:
    options = FeedOptions(payments=300, seed=5, claims=1, reported_per_mille=1000)
    generate_feed(tmp_path / "feed", options)
    rows = read_feed(tmp_path / "feed")
    lines = [row.line for row in rows if row.line is not None]
    entries = [row.entry for row in rows if row.entry is not None]
    previous = [line for line in lines if line.modifier == "2"]
    same_day = [line for line in lines if line.modifier == "3"]
    assert len(previous) == len(entries)
    assert 0 < len(same_day) < len(previous)
    keys = {(line.fields[4], line.amount, line.account) for line in previous}
    named = [line for line in same_day if line.fields[4]]
    assert 0 < len(named) < len(same_day)
    assert {(line.fields[4], line.amount, line.account) for line in named} <= keys
    assert len({line.fields[4] for line in previous}) == len(previous)
    assert sum(line.amount for line in previous) == sum(entry.amount for entry in entries)
    assert {row.expect for row in rows if row.line is not None} == {"none"}


@pytest.mark.parametrize("name", ["default", "adversarial"])
def test_profiles_balance_by_every_case(tmp_path: Path, name: str) -> None:
    options = FeedOptions(payments=1500, seed=4, claims=1.2, profile=name)
    summary = generate_feed(tmp_path / "feed", options)
    rows = read_feed(tmp_path / "feed")
    assert sum(summary.cases.values()) == len(rows)
    differing = {group[0].case for group in groups(rows) if difference(group)}
    assert all(case.startswith(OTHER_AMOUNT) for case in differing)
    for path in sorted((tmp_path / "feed").rglob("*.ach")):
        found = read_ach(path.read_bytes())
        assert len(found.findings) == len(found.remittances.findings) == 0
    for path in sorted((tmp_path / "feed").rglob("*.bai2")):
        assert len(read_bai2(path.read_bytes()).findings) == 0
    layout = msgspec.toml.decode(
        (tmp_path / "feed" / "lockbox.layout.toml").read_bytes(), type=LockboxLayout
    )
    for path in sorted((tmp_path / "feed" / "lockbox").rglob("*.csv")):
        data = path.read_bytes()
        assert layout.fits(path.name, data)
        assert len(read_lockbox(data, layout).findings) == 0
    load_directory((tmp_path / "feed" / "directory.toml").read_text())


def test_every_numbered_edge_case_has_a_case() -> None:
    numbers = {defect.section for defect in DEFECTS} - {""}
    # 21 is any pair, in whichever order it is read; 28 is any CTX.
    assert numbers == {str(number) for number in range(1, 31)} - {"21", "28"}


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
    options = FeedOptions(payments=8000, seed=8, claims=1, defects=True)
    summary = generate_feed(tmp_path / "feed", options)
    assert set(summary.cases) == {*PROFILES["default"], "clean", "ctx", "bank_report"}
    assert summary.cases["clean"] > 4500


def test_named_rates_are_kept_and_the_others_give_way() -> None:
    only = plan_rates("clean", {"check": 250_000})
    assert sum(only) == only[NAMES.index("check")] == 250_000
    both = plan_rates("default", {"check": 990_000})
    assert both[NAMES.index("check")] == 990_000
    assert 0 < both[NAMES.index("zero_pay")] < 15_000
    assert sum(both) <= RATE_UNIT
    assert sum(plan_rates("default", {"check": RATE_UNIT})) == RATE_UNIT
    defaults = PROFILES["default"]
    assert plan_rates("default", {}) == tuple(defaults.get(name, 0) for name in NAMES)
    assert sum(PROFILES["adversarial"].values()) < RATE_UNIT
