"""`reassoc import`: the rows of a CSV on the logs of their tenants, once."""

from __future__ import annotations

import csv
from pathlib import Path

from home_feed import done, drain

from reassoc.stream.home import Home

HEADER = "side,reference,trace,payer_id,amount,date,payee_npi,payee_routing,payee_account\n"
DIRECTORY = """\
[[payees]]
name = "LAKE LABS"
tenant = "north"
npis = ["1999999984"]
accounts = [{ routing = "021000021", account = "5566778" }]

[[payees]]
name = "HILL IMAGING"
tenant = "south"
npis = ["1990010013"]
"""


def rows_of(home: Path, folder: Path) -> list[dict[str, str]]:
    """The open list."""
    done("open", "--home", home, "--limit", 1000, "--csv", folder / "open.csv")
    with (folder / "open.csv").open() as file:
        return list(csv.DictReader(file))


def test_rows_go_to_their_tenants_and_wait_there(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "open items.csv"
    home.mkdir()
    (home / "directory.toml").write_text(DIRECTORY)
    file.write_text(
        HEADER
        + "remittance,R1,0012345678,1234567890,1200.00,2026-03-17,1999999984,,\n"
        + "remittance,R2,T2,1234567890,10.00,2026-03-17,1990010013,,\n"
        + "remittance,R3,T3,1234567890,11.00,2026-03-17,1234567893,,\n"
        + "payment,P1,T9,1234567890,13.00,2026-03-17,,021000021,5566778\n"
    )
    said = done("import", file, "--home", home)
    assert "remittances taken" in said
    found = {(row["tenant"], row["side"], row["cents"]) for row in rows_of(home, tmp_path)}
    assert found == {
        ("north", "remittance", "120000"),
        ("south", "remittance", "1000"),
        ("~quarantine", "remittance", "1100"),
        ("north", "payment", "1300"),
    }
    assert "taken before" in done("import", file, "--home", home)
    assert len(rows_of(home, tmp_path)) == 4
    done("vault", "verify", "--home", home)
    done("audit", "verify", "--home", home)


def test_bad_rows_are_told_by_line_and_column_and_the_others_taken(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "items.csv"
    file.write_text(
        HEADER
        + "remittance,R1,SECRETTRACE,1234567890,12OO.SECRET,2026-03-17,,,\n"
        + "payment,P1,T1,1234567890,13.00,2026-03-17,,,\n"
    )
    said = done("import", file, "--home", home, code=1)
    assert "items.csv: line 2, amount: must be" in said
    assert "SECRET" not in said
    assert [row["cents"] for row in rows_of(home, tmp_path)] == ["1300"]


def test_all_items_may_be_one_tenants(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "items.csv"
    home.mkdir()
    (home / "directory.toml").write_text(DIRECTORY)
    file.write_text(HEADER + "payment,P1,T1,1234567890,13.00,2026-03-17,,,\n")
    said = done("import", file, "--home", home, "--tenant", "east", code=2)
    assert "north, south" in said
    done("import", file, "--home", home, "--tenant", "south")
    assert [row["tenant"] for row in rows_of(home, tmp_path)] == ["south"]


def test_wrong_usage_and_files_that_are_no_import(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "items.csv"
    assert "--template" in done("import", code=2)
    done("import", file, "--home", home, code=2)
    file.write_text("who,what\n")
    assert "no known column" in done("import", file, "--home", home, code=1)
    assert not home.exists()
    template = done("import", "--template")
    assert template.startswith("side,reference,trace")
    Home.create_or_open(home)
    file.write_bytes(template.encode())
    assert "1,200.00" in done("import", file, "--home", home)


def test_what_is_imported_matches_and_is_released_without_a_file(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "items.csv"
    file.write_bytes(done("import", "--template").encode())
    done("import", file, "--home", home)
    drain(home, "2026-03-31")
    assert rows_of(home, tmp_path) == []
    assert not list((home / "released").glob("*/*"))
