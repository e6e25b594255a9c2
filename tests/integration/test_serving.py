"""A warehouse that serves: files that come while it runs, settings that change, what is kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from home_feed import done, drain, drop, files_of, make_feed, released
from small_feed import interchange, remittance
from waiting import until

from reassoc.stream.home import Home
from reassoc.stream.open_home import OpenHome, contents_in_use
from reassoc.stream.serve import Server
from reassoc.stream.serve_running import running

AS_OF = datetime(2026, 3, 17, 15, 0, tzinfo=UTC)


@contextmanager
def serving(
    home: Path, now: Callable[[], datetime]
) -> Iterator[tuple[OpenHome, Server, list[str]]]:
    """A server in a thread of its own; what it says."""
    said: list[str] = []
    with running(Home.create_or_open(home), "test", 2, said.append, now=now) as (opened, server):
        thread = threading.Thread(target=server.run, args=(None,))
        thread.start()
        try:
            yield opened, server, said
        finally:
            server.stop()
            thread.join(30)
            assert not thread.is_alive()


def put(home: Path, files: Iterable[Path]) -> None:
    """Put files into in/, as if they had been there for a while by the clock of the test."""
    drop(home, files)
    for path in (home / "in").iterdir():
        os.utime(path, (0, AS_OF.timestamp() - 60))


def test_files_are_taken_as_they_come_and_settings_as_they_change(tmp_path: Path) -> None:
    home, feed = tmp_path / "home", make_feed(tmp_path / "feed")
    moment = [AS_OF]
    with serving(home, lambda: moment[0]) as (opened, server, said):
        put(home, files_of(feed, "2026-03-17"))
        until(lambda: server.served.taken.file_count > 0 and opened.engine.is_matched())
        until(lambda: bool(released(home)))
        before = opened.log.settings
        (home / "policy.toml").write_text('review_tiers = ["T1"]\n')
        until(lambda: opened.log.settings != before)
        (home / "policy.toml").write_text("nonsense = 1\n")
        until(lambda: any("the old ones hold" in text for text in said))
        assert opened.log.settings is not None
        assert opened.log.settings.policy == 'review_tiers = ["T1"]\n'
        sent = dict(released(home))
        put(home, files_of(feed, "2026-03-18"))
        moment[0] += timedelta(days=1)
        until(lambda: not any((home / "in").rglob("*.*")) and opened.engine.is_matched())
        until(opened.engine.is_published)
        until(lambda: opened.log.clock is not None and opened.log.clock.day == 20530)  # 2026-03-18
        assert released(home) == sent  # T1 goes to review by now, and nothing is sent again


def test_a_clock_that_is_set_back_logs_nothing_twice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    drain(home, "2026-03-18")
    with serving(home, lambda: AS_OF) as (opened, server, said):
        until(lambda: any("behind" in text for text in said))
        assert server.served.clock_count == 0
        assert opened.log.clock is not None


@pytest.mark.parametrize("waits", [True, False])
def test_retention_keeps_what_is_still_needed(tmp_path: Path, waits: bool) -> None:
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    data = interchange(remittance("T1", 100 if waits else 0, day="20260316"))
    path = home / "in" / "a.835"
    path.write_bytes(data)
    os.utime(path, (0, 0))
    drain(home, "2026-03-17")
    done("vault", "retain", "--home", home, 1)
    later = datetime.now(UTC) + timedelta(days=4000)
    with running(Home.open(home), "test", 1, lambda _: None, now=lambda: later) as (opened, _):
        digest = next(content.digest for content in opened.vault.contents())
        erased = opened.forget_contents()
        assert (erased, opened.vault.has(digest)) == ((0, True) if waits else (1, False))


def test_retention_keeps_what_a_release_is_ordered_of(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    path = home / "in" / "a.835"
    path.write_bytes(interchange(remittance("T1", 0, day="20260316")))
    os.utime(path, (0, 0))
    with running(Home.create_or_open(home), "test", 1, lambda _: None, now=lambda: AS_OF) as (
        opened,
        server,
    ):
        engine = opened.engine
        server._taking.use_settings()
        engine.begin(AS_OF)
        server._taking.take()
        engine.match(100)
        (content,) = opened.vault.contents()

        def is_in_use() -> bool:
            return content.digest[:8] in contents_in_use(opened.ledger, opened.state)

        assert is_in_use(), "its release is in the outbox only"
        assert engine.publish(releases=False)
        assert is_in_use(), "the ledger has it as released, and it is in no file yet"
        engine.publish()
        assert is_in_use()
        assert engine.publish() == 0
        assert engine.is_published()
        assert is_in_use(), "its file is not delivered"
        assert opened.releaser.run_once().delivered_count == 1
        assert not is_in_use()


def test_a_file_that_cannot_be_moved_is_taken_once(tmp_path: Path) -> None:
    home, feed = tmp_path / "home", make_feed(tmp_path / "feed")
    moment = [AS_OF]
    with serving(home, lambda: moment[0]) as (_, server, said):
        (home / "done").rmdir()
        (home / "done").write_bytes(b"in the way")
        file = files_of(feed, "2026-03-17")[:1]
        put(home, file)
        until(lambda: server.served.taken.file_count == 1)
        time.sleep(2.5)
        assert server.served.taken.file_count == 1
        assert len([text for text in said if "cannot be moved" in text]) == 1
        assert len(list((home / "in").iterdir())) == 1
