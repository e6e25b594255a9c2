"""The folder of a warehouse: made once, never over something else, one process at a time."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from reassoc.core.calendar import BankingCalendar
from reassoc.core.errors import DirectoryError, LayoutError, PolicyError
from reassoc.core.policy import Policy
from reassoc.stream import home as home_module
from reassoc.stream.home import (
    KEY_FILE_VARIABLE,
    KEY_VARIABLE,
    LAYOUTS_MAX,
    Holder,
    Home,
    HomeError,
    HomeLockedError,
    read_settings,
)
from reassoc.stream.item_log import decode_entry, encode_entry
from reassoc.stream.rules import WarehouseRules

FOLDERS = ["data", "done", "findings", "in", "refused", "released"]
SINCE = "2026-03-12T08:30:00-04:00"


def test_a_home_is_made_once_and_opened_ever_after(tmp_path: Path) -> None:
    made = Home.create_or_open(tmp_path / "new" / "home")
    assert sorted(path.name for path in made.path.iterdir()) == sorted([*FOLDERS, "home.toml"])
    assert stat.S_IMODE(made.data.stat().st_mode) == 0o700
    assert made.vault == made.path / "data" / "vault"
    made.state_file.write_bytes(b"state")
    made.data.chmod(0o755)
    made.released.rmdir()
    again = Home.create_or_open(made.path)
    assert again == made == Home.open(made.path)
    assert made.state_file.read_bytes() == b"state"
    assert made.released.is_dir()
    assert stat.S_IMODE(made.data.stat().st_mode) == 0o700


def test_settings_and_waiting_files_may_be_there_before(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("trace_window_days = 5\n")
    (tmp_path / "layouts").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.835").write_bytes(b"x")
    home = Home.create_or_open(tmp_path)
    assert (home.inbox / "a.835").exists()
    assert read_settings(home).policy == Policy(trace_window_days=5)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HomeError, match="not empty and no home"):
        Home.create_or_open(tmp_path)
    with pytest.raises(HomeError, match="no home of reassoc"):
        Home.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(HomeError, match="a file, not a folder"):
        Home.create_or_open(tmp_path / "thesis.txt")
    below = tmp_path / "thesis.txt" / "home"
    with pytest.raises(HomeError, match="cannot be used"):
        Home.create_or_open(below)


@pytest.mark.parametrize("point", ["write", "replace", "mkdir"])
def test_a_home_that_was_not_made_to_the_end_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target = {"write": (home_module.os, "fsync"), "replace": (Path, "replace"),
              "mkdir": (Path, "chmod")}[point]  # fmt: skip
    if point == "mkdir":
        (tmp_path / "data").mkdir(mode=0o755)
    with monkeypatch.context() as patch:
        patch.setattr(*target, fail)
        with pytest.raises(HomeError, match="No space left"):
            Home.create_or_open(tmp_path)
    assert not (tmp_path / "home.toml").exists()
    assert Home.create_or_open(tmp_path).data.is_dir()


def test_lost_data_is_never_begun_anew(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path / "home")
    home.data.rmdir()
    with pytest.raises(HomeError, match="restore a backup"):
        Home.create_or_open(home.path)
    home.data.mkdir()
    home.state_file.write_bytes(b"state")
    (home.path / "home.toml").unlink()
    with pytest.raises(HomeError, match="has contents"):
        Home.create_or_open(home.path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"format = 2\n", "format 2, and this version knows up to 1"),
        (b"format = 0\n", "format must be from 1"),
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"format = 'one'\n", "damaged"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, text: bytes, what: str) -> None:
    home = Home.create_or_open(tmp_path)
    (home.path / "home.toml").write_bytes(text)
    with pytest.raises(HomeError, match=what):
        Home.create_or_open(tmp_path)


def test_the_key_lies_where_the_environment_says(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    assert home.key_file({}) == home.path / "vault.key"
    assert home.key_file({KEY_FILE_VARIABLE: "/etc/keys/vault"}) == Path("/etc/keys/vault")
    assert home.key_file({KEY_VARIABLE: "secret"}) == home.path / "vault.key"
    with pytest.raises(HomeError, match="both set") as caught:
        home.key_file({KEY_VARIABLE: "secret", KEY_FILE_VARIABLE: "/etc/keys/vault"})
    assert "secret" not in str(caught.value)


# ---- the lock ----


def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    assert home.holder() is None
    with home.lock("reassoc serve", SINCE):
        holder = home.holder()
        assert holder is not None
        assert (holder.pid, holder.command, holder.since) == (os.getpid(), "reassoc serve", SINCE)
        text = f"reassoc serve. .process {os.getpid()} on .*since {SINCE}.*end that one"
        with pytest.raises(HomeLockedError, match=text), home.lock("reassoc erase", SINCE):
            pass
    assert home.holder() is None
    with home.lock("x" * 10_000, SINCE):
        holder = home.holder()
        assert holder is not None
        assert len(holder.command) == 200
    with pytest.raises(ZeroDivisionError), home.lock("fails", SINCE):
        _ = 1 // 0
    assert home.holder() is None


_CHILD = """
import sys, time
from pathlib import Path
from reassoc.stream.home import Home
with Home.open(Path(sys.argv[1])).lock("reassoc serve", "then"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_no_lock(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    command = [sys.executable, "-c", _CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"locked\n"
            with pytest.raises(HomeLockedError, match=f"process {child.pid} on"):
                home.lock("reassoc serve", SINCE).__enter__()
            assert home.holder() is not None
        finally:
            child.send_signal(signal.SIGKILL)
    assert b"then" in home.lock_file.read_bytes()
    assert home.holder() is None
    with home.lock("reassoc serve", SINCE):
        assert home.holder() is not None


def test_a_lock_of_somebody_who_says_nothing_is_still_one(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    with home.lock("reassoc serve", SINCE):
        home.lock_file.write_bytes(b"{")
        with pytest.raises(HomeLockedError, match="another process"):
            home.lock("reassoc serve", SINCE).__enter__()
        with pytest.raises(HomeLockedError, match="another process"):
            home.holder()


def test_releases_are_held_until_somebody_says_so(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    assert home.releases_held() is None
    home.hold_releases("restored from the backup of yesterday")
    assert Home.open(tmp_path).releases_held() == "restored from the backup of yesterday"
    home.hold_file.write_bytes(b"\xff")
    assert "cannot be read" in str(home.releases_held())
    home.resume_releases()
    home.resume_releases()
    assert home.releases_held() is None


# ---- its settings ----


def test_settings_are_read_whole_and_travel_on_the_log(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    calendar = BankingCalendar([(date(2026, 12, 25) - date(1970, 1, 1)).days])
    none = read_settings(home)
    assert (none.policy, none.rules, none.directory) == (Policy(), WarehouseRules(), None)
    assert none.entry(calendar).directory == b""
    home.policy_file.write_text("trace_window_days = 7\n")
    home.rules_file.write_text('funded_by = "posted"\n')
    directory = b'[[payees]]\nname = "River Clinic"\ntins = ["112223333"]\n'
    home.directory_file.write_bytes(directory)
    home.layouts.mkdir()
    layout = 'delimiter = "|"\n[details]\namount = 1\n'
    found = read_settings(home)
    assert found.policy == Policy(trace_window_days=7)
    assert found.rules == WarehouseRules(funded_by="posted")
    assert found.directory is not None
    assert found.directory_bytes == directory
    entry = decode_entry(encode_entry(found.entry(calendar)))
    assert entry == found.entry(calendar)
    assert entry.directory == blake3(directory).digest()
    assert np.frombuffer(entry.holidays, "<i4").tolist() == calendar.holidays.tolist()
    assert "River" not in repr(found)
    (home.layouts / "first.toml").write_text(layout)
    with pytest.raises(LayoutError, match=r"layouts/first\.toml"):
        read_settings(home)


@pytest.mark.parametrize(
    ("name", "text", "fault", "what"),
    [
        ("policy.toml", "trace_window_days = -1", PolicyError, "key trace_window_days"),
        ("warehouse.toml", "funded_by = 'faith'", PolicyError, "key funded_by"),
        ("warehouse.toml", "releas_at = 'clock'", PolicyError, "unknown key"),
        ("warehouse.toml", "hold = [", PolicyError, "not TOML"),
        ("directory.toml", "[[payees]]\nname = 1", DirectoryError, "name"),
        ("directory.toml", "\udcff", DirectoryError, "not UTF-8"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(
    tmp_path: Path, name: str, text: str, fault: type[Exception], what: str
) -> None:
    home = Home.create_or_open(tmp_path)
    (home.path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(fault, match=rf"{name}: .*{what}") as caught:
        read_settings(home)
    assert "faith" not in str(caught.value)


def test_layouts_are_bounded(tmp_path: Path) -> None:
    home = Home.create_or_open(tmp_path)
    home.layouts.mkdir()
    for number in range(LAYOUTS_MAX + 1):
        (home.layouts / f"{number}.toml").touch()
    with pytest.raises(LayoutError, match="LAYOUTS_MAX"):
        read_settings(home)


def test_a_holder_that_has_ended_is_known_to_be_gone() -> None:
    holder = Holder(os.getpid(), socket.gethostname(), "reassoc serve", "now")
    assert not holder.is_gone
    process = subprocess.Popen([sys.executable, "-c", ""])
    ended = Holder(process.pid, socket.gethostname(), "reassoc serve", "now")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended.is_gone, "though nobody has taken it in"
    process.wait()
    assert ended.is_gone
    assert not Holder(process.pid, "another machine", "reassoc serve", "now").is_gone
