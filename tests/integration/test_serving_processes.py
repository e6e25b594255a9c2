"""A warehouse in several processes: how they begin, what they see of each other, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from home_feed import TUESDAY, WEDNESDAY, done, drain, drop, files_of, make_feed, released, traces
from small_feed import interchange, remittance
from waiting import is_alive, until

from reassoc.stream.home import Home, HomeLockedError
from reassoc.stream.serve_running import running
from reassoc.stream.worker import can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="processes need Linux")

PROCESSES = ("taking files in", "publishing", "delivering")
"""In the order in which they are forked."""


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_feed(tmp_path_factory.mktemp("feed") / "feed")


@contextmanager
def serve(home: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`reassoc serve` that has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reassoc.stream.cli", "serve", "--home", str(home), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "serving" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.parametrize("number", range(len(PROCESSES)), ids=PROCESSES)
def test_a_process_that_is_killed_ends_the_run_and_costs_nothing(
    feed: Path, tmp_path: Path, number: int
) -> None:
    home = tmp_path / "home"
    with serve(home) as process:
        pids = children(process)
        assert len(pids) == len(PROCESSES)
        drop(home, files_of(feed, TUESDAY))
        until(lambda: bool(released(home)))
        os.kill(pids[number], signal.SIGKILL)
        # The others look at it once a second; the one that takes files in is asked as often.
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert f"the process for {PROCESSES[number]} has ended" in errors
        assert "start again" in errors
    assert not any(map(is_alive, pids))
    drop(home, files_of(feed, WEDNESDAY))
    drain(home, WEDNESDAY)
    other = tmp_path / "other"
    drop(other, [*files_of(feed, TUESDAY), *files_of(feed, WEDNESDAY)])
    drain(other, WEDNESDAY)
    assert traces(released(home)) == traces(released(other))
    assert len(set(traces(released(home)))) == len(traces(released(home)))


def test_a_signal_ends_all_of_them(feed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serve(home) as process:
        pids = children(process)
        drop(home, files_of(feed, TUESDAY))
        # As Ctrl-C and service managers do it: every process gets it.
        for pid in (*pids, process.pid):
            os.kill(pid, signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
        assert "files taken" in output
    assert not any(map(is_alive, pids))
    assert not any((home / "data").glob("scratch-*"))


def test_a_new_start_waits_for_what_a_killed_one_leaves(feed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    drop(home, files_of(feed, TUESDAY))
    for _ in range(3):
        with serve(home) as process:
            pids = children(process)
            with pytest.raises(HomeLockedError, match="reassoc serve"):
                Home.open(home).lock("a test", "now").__enter__()
            process.kill()
    assert any((home / "data").glob("scratch-*"))
    drain(home, TUESDAY)
    assert not any(map(is_alive, pids))
    assert released(home)
    assert not any((home / "data").glob("scratch-*")), "nothing of the killed ones is left"


def test_settings_that_change_hold_in_every_process(feed: Path, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    drop(other, files_of(feed, TUESDAY))
    drain(other, datetime.now(UTC).date().isoformat())
    expected = traces(released(other))
    assert expected
    with serve(home) as process:
        assert process.stderr is not None
        drop(home, files_of(feed, TUESDAY))
        until(lambda: traces(released(home)) == expected)
        before = released(home)
        (home / "policy.toml").write_text('review_tiers = ["T0", "T1", "T2", "T3"]\n')
        assert "hold from now on" in process.stderr.readline()
        drop(home, files_of(feed, WEDNESDAY))
        until(lambda: not any((home / "in").rglob("*.*")))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
    drain(home, WEDNESDAY)
    assert released(home) == before, "everything waits for a person since then"


@pytest.mark.parametrize("waits", [True, False])
def test_retention_keeps_what_is_still_needed(tmp_path: Path, waits: bool) -> None:
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    path = home / "in" / "a.835"
    path.write_bytes(interchange(remittance("T1", 100 if waits else 0, day="20260316")))
    os.utime(path, (0, 0))
    drain(home, TUESDAY)
    done("vault", "retain", "--home", home, 1)
    later = datetime.now(UTC) + timedelta(days=4000)
    with running(
        Home.open(home), "test", 1, lambda _: None, now=lambda: later, in_processes=True
    ) as (opened, server):
        served = server.drain(datetime(2026, 3, 18, 22, tzinfo=UTC))
        digest = next(content.digest for content in opened.vault.contents())
        kept = opened.vault.has(digest)
    assert (served.erased_count, kept) == ((0, True) if waits else (1, False))


def test_a_key_that_is_missing_refuses_to_start(feed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    drop(home, files_of(feed, TUESDAY))
    drain(home, TUESDAY)
    (home / "vault.key").unlink()
    assert "key" in done("serve", "--home", home, "--drain", code=1)
