"""`reassoc backup`, `restore`, `doubt`: a home comes back as it was, and sends nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from home_feed import (
    TUESDAY,
    WEDNESDAY,
    done,
    drain,
    drop,
    files_of,
    make_feed,
    released,
    run,
    traces,
)

from reassoc.stream.home import Home
from reassoc.stream.serve_running import running


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_feed(tmp_path_factory.mktemp("feed") / "feed")


def picture(home: Path, folder: Path) -> tuple[str, str]:
    """Matches and the open list as CSV."""
    done("open", "--home", home, "--limit", 1000, "--csv", folder / "open.csv")
    done("matches", "--home", home, "--csv", folder / "matches.csv")
    return (folder / "open.csv").read_text(), (folder / "matches.csv").read_text()


def test_a_restored_home_is_as_it_was_and_sends_nothing_twice(feed: Path, tmp_path: Path) -> None:
    home, backup, new = (tmp_path / name for name in ("home", "backup", "new"))
    drop(home, files_of(feed, TUESDAY))
    drain(home, TUESDAY)
    before, first = picture(home, tmp_path), released(home)
    assert first
    said = done("backup", "--home", home, "--out", backup)
    assert "vault's key is not in it" in said
    assert str(home / "vault.key") in said
    drop(home, files_of(feed, WEDNESDAY))
    drain(home, WEDNESDAY)
    second = released(home)
    assert picture(home, tmp_path) != before

    said = done("restore", backup, "--home", new)
    assert str(new / "vault.key") in said
    assert "reassoc resume" in said
    assert "key file is missing" in done("vault", "verify", "--home", new, code=1)
    shutil.copyfile(home / "vault.key", new / "vault.key")
    (new / "vault.key").chmod(0o600)
    assert picture(new, tmp_path) == before
    done("audit", "verify", "--home", new)
    done("vault", "verify", "--home", new)

    # What came since comes again; it is held, whatever is decided.
    drop(new, [*files_of(feed, WEDNESDAY), *files_of(feed, TUESDAY)])
    drain(new, WEDNESDAY, code=1)
    assert not released(new)
    done("resume", "--home", new, "--why", "receivers have nothing of Wednesday")
    drain(new, WEDNESDAY)
    again = released(new)
    parties = {name.rpartition("_")[0] for name in first}
    known = {name for name in again if name.rpartition("_")[0] in parties}
    assert known
    assert not known & set(second), "a number was given twice"
    assert traces(again) == traces({name: second[name] for name in set(second) - set(first)})
    done("audit", "verify", "--home", new)


def test_of_files_in_doubt_only_the_missing_ones_are_sent(feed: Path, tmp_path: Path) -> None:
    home, backup, new = (tmp_path / name for name in ("home", "backup", "new"))
    Home.create_or_open(home).hold_releases("for the test")
    drop(home, files_of(feed, TUESDAY))
    drain(home, TUESDAY, code=1)
    done("backup", "--home", home, "--out", backup)
    done("resume", "--home", home, "--why", "for the test")
    drain(home, TUESDAY)
    delivered = released(home)
    found, lost, missing = sorted(delivered)[:3]

    names = tmp_path / "names.txt"
    names.write_text(f"{found}\n")
    said = done("restore", backup, "--home", new, "--released", names)
    assert "now done: 1" in said
    assert f"in doubt: {len(delivered) - 1}" in said
    shutil.copyfile(home / "vault.key", new / "vault.key")
    (new / "vault.key").chmod(0o600)
    said = done("doubt", "--home", new)
    assert found not in said
    assert lost in said
    assert missing in said
    done("resume", "--home", new, "--why", "compared")
    drain(new, TUESDAY, code=1)
    assert not released(new)

    assert "no file in doubt" in done("doubt", "--home", new, "--delivered", found, code=2)
    both = ("--delivered", lost, "--missing", lost)
    assert "both delivered and missing" in done("doubt", "--home", new, *both, code=2)
    said = done("doubt", "--home", new, "--delivered", lost, "--missing", missing)
    assert f"Said of 2 files; {len(delivered) - 3} are in doubt" in said
    run("serve", "--home", new, "--drain", "--as-of", TUESDAY)
    assert released(new) == {missing: delivered[missing]}


def test_a_backup_is_taken_while_somebody_serves(feed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    drop(home, files_of(feed, TUESDAY))
    drain(home, TUESDAY)
    with running(Home.open(home), "test", 1):
        done("backup", "--home", home, "--out", tmp_path / "backup")
        said = done("doubt", "--home", home, "--missing", "x.x12", code=2)
        assert "in use by `test`" in said
    done("restore", tmp_path / "backup", "--home", tmp_path / "new")


def test_wrong_usage(feed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "no home" in done("backup", "--home", tmp_path, "--out", tmp_path / "b", code=2)
    drop(home, files_of(feed, TUESDAY))
    drain(home, TUESDAY)
    assert "lies in the home" in done("backup", "--home", home, "--out", home, code=2)
    assert "no backup" in done("restore", home, "--home", tmp_path / "new", code=1)
    done("restore", tmp_path / "none", "--home", tmp_path / "new", code=2)
    done("backup", "--home", home, "--out", tmp_path / "b")
    (tmp_path / "b" / "data" / "ledger.db").write_bytes(b"")
    assert "nothing was restored" in done(
        "restore", tmp_path / "b", "--home", tmp_path / "n", code=1
    )
    assert "No file is in doubt" in done("doubt", "--home", home)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home"]
