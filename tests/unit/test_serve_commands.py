"""`reassoc serve`: wrong usage, draining, and releases that are held until a person lets go."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from home_feed import TUESDAY, WEDNESDAY, done, drain, drop, files_of, make_feed, released

from reassoc.stream import cli
from reassoc.stream.clock import parse_as_of
from reassoc.stream.home import Home
from reassoc.stream.serve_running import running


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_feed(tmp_path_factory.mktemp("feed") / "feed")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve"], "give --home DIR"),
        (["serve", "--home", "h", "--drain", "--as-of", "2026-02-30"], "no such day"),
        (["serve", "--home", "h", "--json"], "--json goes with --drain"),
        (["serve", "--demo", "--drain"], "a clock of its own"),
        (["serve", "--demo", "--home", "strange"], "not an empty folder"),
        (["serve", "--home", "strange", "--drain"], "no home"),
        (["servee"], "Did you mean 'serve'"),
    ],
)
def test_wrong_usage_is_told_and_changes_nothing(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "file").touch()
    assert said in done(*arguments, code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["strange"]


def test_draining_twice_releases_once(feed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    drop(home, files_of(feed, TUESDAY))
    first = json.loads(
        done("serve", "--home", home, "--drain", "--as-of", TUESDAY, "--workers", 1, "--json")
    )
    assert first["taken"]["file_count"] == len(files_of(feed, TUESDAY))
    assert first["delivered_count"] == len(released(home)) > 0
    before = released(home)
    drop(home, files_of(feed, TUESDAY))
    drain(home, WEDNESDAY)
    assert released(home) == before


def test_held_releases_wait_for_a_person(feed: Path, tmp_path: Path) -> None:
    place = Home.create_or_open(tmp_path / "home")
    home = place.path
    place.hold_releases("looked at by hand")
    drop(home, files_of(feed, TUESDAY))
    said = drain(home, TUESDAY, code=1)
    assert "releases are held (looked at by hand): reassoc resume" in said
    assert "files not delivered" in said
    assert not released(home)
    assert "must have 1 to" in done("resume", "--home", home, "--why", " ", code=2)
    assert place.releases_held() is not None
    assert "releases go on" in done("resume", "--home", home, "--why", "all compared")
    kept = (place.data / "releases-resumed.jsonl").read_text().splitlines()
    assert [json.loads(line)["why"] for line in kept] == ["all compared"]
    assert "releases are not held" in done("resume", "--home", home, "--why", "again", code=2)
    drain(home, TUESDAY)
    assert released(home)


def test_a_server_that_runs_sees_when_releases_are_let_go(feed: Path, tmp_path: Path) -> None:
    place = Home.create_or_open(tmp_path / "home")
    place.hold_releases("restored")
    drop(place.path, files_of(feed, TUESDAY))
    told: list[str] = []
    with running(place, "test", 1, told.append) as (opened, server):
        thread = threading.Thread(target=server.run, args=(parse_as_of(TUESDAY),))
        thread.start()
        try:
            wait_until(lambda: opened.book.counts().waiting_file_count > 0)
            time.sleep(0.3)
            assert not released(place.path)
            place.resume_releases()
            wait_until(lambda: opened.book.counts().waiting_file_count == 0)
        finally:
            server.stop()
            thread.join()
        assert server.is_stopped
    assert released(place.path)
    assert told == [
        "releases are held (restored): reassoc resume lets them go on",
        "releases go on",
    ]
    assert msgspec.json.encode(server.served)


HEAVY = {"alembic", "matplotlib", "numpy", "sqlalchemy"}
LOADED = """\
import sys
from typer.testing import CliRunner
from reassoc.stream import cli
assert CliRunner().invoke(cli.app, sys.argv[1:]).exit_code == 0
print(*{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [(["--help"], set()), (["open", "--home", "home"], {"numpy", "sqlalchemy"})],
)
def test_a_command_loads_what_it_needs(
    arguments: list[str], allowed: set[str], feed: Path, tmp_path: Path
) -> None:
    drop(tmp_path / "home", files_of(feed, TUESDAY)[:1])
    drain(tmp_path / "home", TUESDAY)
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(ran.stdout.split()) & HEAVY == allowed


def test_every_command_can_be_loaded() -> None:
    for late in cli.LATE:
        assert late.name in done(late.name, "--help")


def wait_until(is_so: object, seconds: float = 30) -> None:
    assert callable(is_so)
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.05)
