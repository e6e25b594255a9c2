"""Stacks of servers and workers for tests: a feed, its settings, the workers' clock, and rest."""

from __future__ import annotations

import faulthandler
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.loadtest.servers.process import ServerError
from reassoc.loadtest.servers.stack import Stack
from reassoc.loadtest.stream_rest import wait_for_rest
from reassoc.stream.cli import app
from reassoc.stream.clock import parse_as_of
from reassoc.stream.config import load_config
from reassoc.stream.worker_commands import CLOCK_VARIABLE

EARLY, LATE = "2026-03-16T09:00", "2026-03-31"
REST_SECONDS_MAX = 120.0
COMMAND_SECONDS_MAX = 120.0


class Rig:
    """A stack, a feed, and the moment that its workers take for now."""

    def __init__(self, folder: Path, payments: int, **options: Any) -> None:
        self.feed, settings = folder / "feed", folder / "settings"
        rates = FeedOptions(payments, seed=7, claims=1.5, defects=True, directory=True)
        generate_feed(self.feed, rates)
        (settings / "layouts").mkdir(parents=True)
        shutil.copy(self.feed / "directory.toml", settings)
        (settings / "warehouse.toml").write_text('release_at = "clock"\n')
        for path in self.feed.glob("*.layout.toml"):
            shutil.copy(path, settings / "layouts")
        self._feeding = ["--journal", str(folder / "feed.journal")]
        self.clock = folder / "now"
        self.set_clock(EARLY)
        variables = {CLOCK_VARIABLE: str(self.clock)} | options.pop("variables", {})
        self.stack = Stack(folder / "stack", settings=settings, variables=variables, **options)

    def set_clock(self, moment: str) -> None:
        """Let the workers take this for now."""
        partial = self.clock.with_suffix(".part")
        partial.write_text(moment)
        partial.replace(self.clock)

    def send(self, *paths: Path, words: Sequence[str] = ()) -> dict[str, Any]:
        """`reassoc feed`; what it says it did."""
        answer = self.run(
            "feed", *map(str, paths or (self.feed,)), *words, *self._feeding, "--json"
        )
        assert answer.exit_code == 0, answer.stderr
        told: dict[str, Any] = json.loads(answer.stdout)
        return told

    def run(self, *words: str) -> Result:
        """A command on this stack's configuration. In this process: to load what a command needs
        takes longer than most of them do. One that hangs ends the process, and says where."""
        faulthandler.dump_traceback_later(COMMAND_SECONDS_MAX, exit=True)
        try:
            told = CliRunner().invoke(app, [*words, "--config", str(self.config_file)])
        finally:
            faulthandler.cancel_dump_traceback_later()
        if told.exception is not None and not isinstance(told.exception, SystemExit):
            raise told.exception
        return told

    @property
    def config_file(self) -> Path:
        return self.stack.config_file

    def rest(self, keep: Callable[[], None] = lambda: None) -> None:
        """Wait until all that was sent is applied, written and delivered."""
        config = load_config(self.config_file).config
        now = parse_as_of(self.clock.read_text())
        assert wait_for_rest(config, now, REST_SECONDS_MAX, keep) == ""


@contextmanager
def rig(folder: Path, payments: int, workers: int, **options: Any) -> Iterator[Rig]:
    """A rig whose workers are ready; the test is skipped where a server cannot be had."""
    made = Rig(folder, payments, **options)
    try:
        try:
            made.stack.start_servers()
        except ServerError as error:
            pytest.skip(f"no servers to test on: {error}")
        for _ in range(workers):
            made.stack.add_worker()
        made.stack.wait_ready()
        yield made
    finally:
        made.stack.stop()
        shutil.rmtree(made.stack.postgres_folder, ignore_errors=True)
