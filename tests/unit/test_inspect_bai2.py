"""`reassoc inspect` of a bank's report: what it shows, what it hides, where its findings stand."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from bai2_build import ACCOUNT, GROUP, HEADER, detail, report
from typer.testing import CliRunner

from reassoc.stream import cli

RECORDS = [
    *detail(
        120_000,
        "EXAMPLE HLTH DES:HCCLAIMPMT",
        bank="BANKREF1",
        customer="CUSTREF1",
        more=["INDN:RIVER CLINIC", "TRN*1*TRACE77*1234567890"],
    ),
    *detail(5_000, code=475, customer="1042"),
    *detail(7, code=165),
]
TOTAL = 125_007
PERSONAL = ("5566778", "RIVER", "BANKREF1", "CUSTREF1", "EXAMPLE HLTH")


def inspect(path: Path, *options: str, columns: int = 200) -> str:
    result = CliRunner().invoke(
        cli.app, ["inspect", str(path), *options], env={"COLUMNS": str(columns)}
    )
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "bank"
    made.write_bytes(report(*RECORDS, total=TOTAL))
    return made


def test_a_report_is_shown_with_its_accounts_details_and_types(path: Path) -> None:
    text = inspect(path)
    for words in (
        "a BAI2 bank report",
        "Report 1 from 122099999 to ME, made 2026-03-16",
        "Group 0: update, from 021000021 to ME, as of 2026-03-16, USD",
        "Account 0: 5566778, 3 details, credits 1,200.07, debits 50.00; its control total agrees",
        "opening ledger 1.00",
        "TRACE77",
        "INDN:RIVER CLINIC",
        "preauthorized ACH credit",
        "check paid",
        "In all: 1 groups, 1 accounts, 3 details",
    ):
        assert words in text
    types = [line.split("│") for line in text.splitlines() if "preauthorized" in line]
    assert [cell.strip() for cell in types[0]][-2:] == ["2", "1,200.07"]


def test_a_mask_hides_who_is_meant_and_keeps_traces_and_money(path: Path) -> None:
    for mask, options in ((False, []), (True, ["--mask"])):
        text = inspect(path, *options)
        for value in PERSONAL:
            assert (value in text) is not mask, value
        for value in ("TRACE77", "1234567890", "1042", "1,200.00"):
            assert value in text


def test_findings_stand_where_they_belong(tmp_path: Path) -> None:
    records = [*detail(100), "16,165,1x0,Z,,/"]
    path = tmp_path / "bank"
    path.write_bytes(report(*records, total=101))
    lines = inspect(path).splitlines()
    (bad,) = (number for number, line in enumerate(lines) if "record 5: BAI2_AMOUNT_BAD" in line)
    assert lines[bad - 1].lstrip().startswith("1 ")
    assert any("CONTROL TOTAL 2.01, COUNTED 2.00" in line for line in lines)
    assert any("record 6: BAI2_ACCOUNT_TOTAL" in line for line in lines)
    assert any(line.startswith("        1  BAI2_ACCOUNT_TOTAL") for line in lines)


def test_what_is_missing_at_the_end_is_said_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    path.write_bytes("\n".join([HEADER, GROUP, ACCOUNT, *detail(100), ""]).encode())
    lines = inspect(path).splitlines()
    last = max(number for number, line in enumerate(lines) if "1.00" in line and "165" in line)
    for code in ("ACCOUNT", "GROUP", "FILE"):
        name = f"BAI2_{code}_TRAILER_MISSING"
        assert any(line.startswith((name, f"        1  {name}")) for line in lines), name
        assert not any("│" in line and name in line for line in lines)
    assert any("no control total" in line for line in lines[:last])


def test_a_limit_is_kept_and_said_and_totals_are_of_all(path: Path) -> None:
    text = inspect(path, "--limit", "1")
    assert "2 more details" in text
    assert "check paid" in text
    assert "3 details" in text
    assert "Only the first 1 details are shown" in text
    assert "Account 0" not in inspect(path, "--limit", "0")


def test_compressed_reports_and_narrow_terminals_show_whole_numbers(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))
    text = inspect(path, columns=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    for value in ("1,200.00", "TRACE77", "1234567890", "CUSTREF1"):
        assert value in text


def test_control_characters_never_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    path.write_bytes(report(*detail(100, "A\x1b[31mB", bank="C\x07D"), total=100))
    text = inspect(path)
    assert "\x1b" not in text
    assert "\x07" not in text
