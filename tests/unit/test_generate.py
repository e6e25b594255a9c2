"""The feed generator: clean feeds are balanced, whole, the same every time, and say the truth."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import oxedi
import pytest
import typer
from feed_check import TruthRow, cents, read_ach, read_feed, read_x12
from typer.testing import CliRunner

from reassoc.core.x12_835 import read_835
from reassoc.loadtest import ach_files
from reassoc.loadtest.cli import generate
from reassoc.loadtest.dates import banking_days, is_banking_day, to_date, to_days
from reassoc.loadtest.defects import DEFECTS
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.feed import (
    FeedOptions,
    generate_feed,
    write_payment_file,
    write_remittance_file,
)
from reassoc.loadtest.world import STYLES, npi, routing_number
from reassoc.loadtest.write import FeedError

CLEAN = FeedOptions(payments=900, seed=11, claims=5)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("feed") / "clean"
    generate_feed(root, CLEAN)
    return root


@pytest.fixture(scope="module")
def rows(clean: Path) -> list[TruthRow]:
    return read_feed(clean)


def digest(root: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()


def test_clean_feed_balances_at_every_level(rows: list[TruthRow]) -> None:
    for row in rows:
        assert row.remittance is not None
        assert row.remittance.count_right
        assert row.remittance.balanced
        for claim in row.remittance.claims():
            assert claim.balanced
            assert all(line.balanced for line in claim.lines)


def test_clean_pairs_agree_in_trace_cents_date_and_account(rows: list[TruthRow]) -> None:
    assert len(rows) == CLEAN.payments
    assert {row.case for row in rows} == {"clean", "ctx"}
    for row in rows:
        assert row.remittance is not None
        assert row.entry is not None
        bpr, trn = row.remittance.get("BPR"), row.remittance.get("TRN")
        assert row.entry.amount == row.remittance.paid > 0
        assert row.entry.batch[53:63] == "HCCLAIMPMT"
        assert "20" + row.entry.batch[69:75] == bpr[16]
        assert (row.entry.record[3:12], row.entry.record[12:29].strip()) == (bpr[13], bpr[15])
        assert bpr[10] == trn[3]
        if row.case == "clean":
            assert row.entry.text.rstrip("~\\") == "*".join(trn)
            assert row.entry.text[-1] in "~\\"
            assert bpr[1] == "I"
        else:
            assert row.payment_file == row.remit_file
            assert bpr[1] == "C"
            assert bpr[5] == "CTX"


def test_traces_are_unique_by_payer(rows: list[TruthRow]) -> None:
    keys = {tuple(row.remittance.get("TRN")[2:4]) for row in rows if row.remittance is not None}
    assert len(keys) == len(rows)


def test_clean_feed_varies(clean: Path, rows: list[TruthRow]) -> None:
    claims = [segment for row in rows if row.remittance for segment in row.remittance.segments]
    names = {segment[0] for segment in claims}
    assert {"CLP", "CAS", "SVC", "PLB", "MIA", "MOA", "LQ", "AMT", "QTY", "REF", "TS3"} <= names
    assert {segment[2] for segment in claims if segment[0] == "CLP"} >= {"1", "2", "19", "22"}
    controls = [segment[1] for segment in claims if segment[0] == "CLP" and segment[2] != "22"]
    assert len(set(controls)) > 0.97 * len(controls)
    paid = {segment[4] for segment in claims if segment[0] == "CLP"}
    assert len(paid) > 500
    starts = {path.read_bytes()[103:108] for path in clean.rglob("*.835")}
    assert len(starts) >= 6
    ends = {path.read_bytes()[94:96].strip(b"0123456789 ") for path in clean.rglob("*.ach")}
    assert ends == {b"\n", b"\r\n", b""}


def test_reversal_comes_right_before_its_correction(rows: list[TruthRow]) -> None:
    for row in rows:
        assert row.remittance is not None
        claims = [segment for segment in row.remittance.segments if segment[0] == "CLP"]
        for number, claim in enumerate(claims):
            if claim[2] == "22":
                assert cents(claim[3]) < 0
                assert claims[number + 1][1] == claim[1]
                assert cents(claims[number + 1][3]) == -cents(claim[3])


def test_our_reader_finds_nothing_wrong(clean: Path, rows: list[TruthRow]) -> None:
    transactions = paid = 0
    for path in sorted(clean.rglob("*.835")):
        remittances = read_835(path.read_bytes())
        assert len(remittances.findings) == 0
        transactions += len(remittances.transactions)
        paid += int(remittances.transactions.paid_cents.sum())
    assert transactions == sum(row.remit_file.endswith(".835") for row in rows)
    assert paid == sum(
        row.remittance.paid for row in rows if row.remittance and row.remit_file.endswith(".835")
    )


def test_another_reader_finds_nothing_wrong(clean: Path) -> None:
    for path in sorted(clean.rglob("*.835"))[:40]:
        assert list(oxedi.parse(path.read_bytes()).diagnostics) == []


def test_our_ach_reader_finds_nothing_wrong(clean: Path, rows: list[TruthRow]) -> None:
    ach = pytest.importorskip("reassoc.core.ach", reason="the ACH reader is not built")
    entries = embedded = 0
    for path in sorted(clean.rglob("*.ach")):
        found = ach.read_ach(path.read_bytes())
        assert len(found.findings) == 0
        assert len(found.remittances.findings) == 0
        entries += len(found.entries)
        embedded += len(found.remittances.transactions)
    assert entries == len(rows)
    assert embedded == sum(row.case == "ctx" for row in rows)


def test_same_options_give_the_same_bytes(tmp_path: Path, clean: Path) -> None:
    generate_feed(tmp_path / "again", CLEAN)
    assert digest(tmp_path / "again") == digest(clean)
    generate_feed(tmp_path / "other", FeedOptions(payments=900, seed=12, claims=5))
    assert digest(tmp_path / "other") != digest(clean)


def test_bytes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    generate_feed(tmp_path / "feed", FeedOptions(payments=60, seed=1, claims=2, defects=True))
    assert digest(tmp_path / "feed")[:16] == "e14e91e20c7075a8"


def distinct(items: Iterable[Any]) -> list[Any]:
    return list({id(item): item for item in items if item is not None}.values())


def test_summary_counts_what_was_written(tmp_path: Path) -> None:
    summary = generate_feed(tmp_path / "feed", FeedOptions(payments=300, seed=2, defects=True))
    rows = read_feed(tmp_path / "feed")
    remittances = distinct(row.remittance for row in rows)
    entries = distinct(row.entry for row in rows)
    assert summary.remittances == len(remittances)
    assert summary.payments == len(entries)
    assert summary.bank_lines == len(distinct(row.line for row in rows)) > 0
    assert summary.listed_checks == len(distinct(row.check for row in rows)) > 0
    assert summary.claims == sum(len(remittance.claims()) for remittance in remittances)
    assert summary.paid_cents == sum(remittance.paid for remittance in remittances)
    assert summary.entry_cents == sum(entry.amount for entry in entries)
    assert sum(summary.cases.values()) == sum(summary.expects.values()) == len(rows)
    files = [path for path in (tmp_path / "feed").rglob("*") if path.is_file()]
    assert summary.bytes == sum(path.stat().st_size for path in files)
    kinds = (
        summary.remittance_files
        + summary.payment_files
        + summary.bank_files
        + summary.lockbox_files
    )
    others = {"truth.csv", "directory.toml", "lockbox.layout.toml"}
    assert kinds == sum(path.name not in others for path in files)


def test_mean_claims_and_amounts_are_realistic(tmp_path: Path) -> None:
    summary = generate_feed(tmp_path / "feed", FeedOptions(payments=3000, seed=5))
    assert 14.5 < summary.claims / summary.remittances < 17.5
    assert 4_800_00 < summary.paid_cents / summary.remittances < 6_000_00
    assert 420 < summary.bytes / summary.claims < 520


def test_one_file_of_each_kind(tmp_path: Path) -> None:
    options = FeedOptions(payments=400, seed=3, claims=2, defects=True, one_file=True)
    generate_feed(tmp_path / "feed", options)
    names = sorted(path.name for path in (tmp_path / "feed").iterdir())
    assert {"payments.ach", "remittances.835", "truth.csv", "bank.bai2", "lockbox.csv"} < set(names)
    assert len(names) <= 7
    assert len(read_feed(tmp_path / "feed")) >= 400


def test_single_remittance_file_is_as_large_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "big.835"
    summary = write_remittance_file(path, 1_000_000, seed=4)
    data = path.read_bytes()
    assert 1_000_000 <= len(data) == summary.bytes < 1_400_000
    assert b"\n" not in data
    found = read_x12(data)
    assert len(found) == summary.remittances
    assert all(remittance.balanced and remittance.count_right for remittance in found)


def test_single_payment_file_has_the_entries_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "big.ach"
    write_payment_file(path, 700, seed=4)
    entries = read_ach(path.read_bytes())
    assert len(entries) == 700
    assert {entry.batch[50:53] for entry in entries} == {"CCD"}


def test_a_full_control_record_starts_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ach_files, "FILE_RECORDS_MAX", 300)
    path = tmp_path / "several.ach"
    write_payment_file(path, 700, seed=4)
    assert len(read_ach(path.read_bytes())) == 700
    assert path.read_text().count("\n101 99") > 1


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(FeedError, match="not an empty folder"):
        generate_feed(tmp_path, FeedOptions(payments=5))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_when_it_fails_half_way(tmp_path: Path) -> None:
    def stop(done: int, byte_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_feed(tmp_path / "feed", FeedOptions(payments=50, claims=1), stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        FeedOptions(payments=0),
        FeedOptions(payments=1, claims=0.5),
        FeedOptions(payments=1, seed=-1),
        FeedOptions(payments=1, days=0),
        FeedOptions(payments=1, rates_ppm={"no_such_case": 1}),
        FeedOptions(payments=1, rates_ppm={"check": 600_000, "zero_pay": 600_000}),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: FeedOptions) -> None:
    with pytest.raises(FeedError):
        generate_feed(tmp_path / "feed", options)
    assert list(tmp_path.iterdir()) == []


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(generate)
    return made


def test_command_prints_a_table_or_json(tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app(), ["--out", str(tmp_path / "a"), "--payments", "20"])
    assert shown.exit_code == 0
    assert "remittances" in shown.output
    arguments = ["--out", str(tmp_path / "b"), "--payments", "20", "--json", "--rate", "check=1/2"]
    printed = runner.invoke(app(), arguments)
    assert printed.exit_code == 0
    assert set(json.loads(printed.stdout)["cases"]) == {"check", "clean", "ctx"}


def test_command_lists_the_cases() -> None:
    runner = CliRunner()
    listed = json.loads(runner.invoke(app(), ["--list-cases", "--json"]).stdout)
    assert [row["case"] for row in listed] == [defect.name for defect in DEFECTS]
    assert all(row["expect"] and row["what"] for row in listed)
    shown = runner.invoke(app(), ["--list-cases"], env={"COLUMNS": "80"})
    # The names are what --rate takes: none is cut in a narrow terminal.
    assert all(defect.name in shown.output for defect in DEFECTS)


def test_a_case_that_is_not_there_is_met_with_what_is_like_it(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "f"), "--payments", "5", "--rate", "amount_varianc=0.1"]
    said = CliRunner().invoke(app(), arguments)
    assert said.exit_code == 2
    assert "'amount_varianc' (amount_variance" in said.stderr
    assert "--list-cases" in said.stderr


def test_command_takes_profile_reports_and_no_directory(tmp_path: Path) -> None:
    out = tmp_path / "feed"
    arguments = ["--out", str(out), "--payments", "30", "--profile", "adversarial"]
    arguments += ["--bank-reports", "1/2", "--no-directory", "--json"]
    printed = json.loads(CliRunner().invoke(app(), arguments).stdout)
    assert printed["cases"]["bank_report"] > 0
    assert not (out / "directory.toml").exists()


def test_payees_are_shared_out_among_tenants(tmp_path: Path) -> None:
    names, bytes_of = [], []
    for tenants in (1, 3, 12):
        out = tmp_path / str(tenants)
        arguments = ["--out", str(out), "--payments", "400", "--tenants", str(tenants)]
        assert CliRunner().invoke(app(), arguments).exit_code == 0
        payees = tomllib.loads((out / "directory.toml").read_text())["payees"]
        names.append({payee["tenant"] for payee in payees})
        paths = (path for path in sorted(out.rglob("*")) if path.suffix in (".835", ".ach"))
        bytes_of.append([path.read_bytes() for path in paths])
    assert [len(each) for each in names] == [1, 3, 12]
    assert names[0] < names[1] < names[2]
    assert bytes_of[0] == bytes_of[1] == bytes_of[2] != []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--profile", "odd"],
        ["--defects", "--profile", "clean"],
        ["--tenants", "0"],
        ["--tenants", "100001"],
        ["--bank-reports", "2"],
        ["--bank-reports", "x"],
        ["--rate", "check=2"],
        ["--rate", "check"],
        ["--rate", "check=1e999999999"],
        ["--rate", "nothing=0.1"],
        ["--files", "few"],
        ["--payments", "-3"],
        ["--out", "/proc/cannot/write"],
    ],
)
def test_usage_errors_exit_with_2(tmp_path: Path, arguments: list[str]) -> None:
    start = ["--out", str(tmp_path / "feed"), "--payments", "5"]
    assert CliRunner().invoke(app(), start + arguments).exit_code == 2


def test_a_folder_that_cannot_be_written_is_named() -> None:
    ended = CliRunner().invoke(app(), ["--out", "/proc/no/place", "--payments", "1"])
    assert "/proc/no/place: No such file" in ended.stderr
    assert "Nothing was written" in ended.stderr


def test_payments_fall_on_banking_days() -> None:
    days = banking_days(to_days(date(2026, 7, 2)), 3)
    assert [to_date(day).isoformat() for day in days] == ["2026-07-02", "2026-07-03", "2026-07-06"]
    closed = (date(2026, 1, 1), date(2026, 11, 26), date(2027, 7, 5), date(2026, 3, 15))
    assert not any(is_banking_day(to_days(day)) for day in closed)
    opened = (date(2026, 7, 3), date(2027, 6, 18), date(2027, 12, 24))
    assert all(is_banking_day(to_days(day)) for day in opened)


def test_draws_are_those_of_pcg64() -> None:
    draws = Draws(7, 3)
    assert draws.below(1000, 5).tolist() == [975, 884, 231, 731, 405]
    assert sorted(set(Draws(1).among([1, 0, 3], 200).tolist())) == [0, 2]


def test_check_digits() -> None:
    assert routing_number(1)[:2] == "99"
    assert npi(999_998) == "1999999984"


def test_no_delimiter_occurs_in_any_text() -> None:
    used = {mark for style in STYLES for mark in (style.element, style.component, style.terminator)}
    assert used.isdisjoint("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .-@")
