"""The parts of a running warehouse: what takes files in, what matches, what publishes, and what
delivers.

Each has the same calls here and in a process of its own (`worker.py`). A part has the home open for
itself; only the one that takes files in writes the vault.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from reassoc.stream.contents import close_archives
from reassoc.stream.home import Settings
from reassoc.stream.inbox import Inbox
from reassoc.stream.open_home import OpenHome
from reassoc.stream.releaser import Run
from reassoc.stream.routing import Router
from reassoc.stream.taking import Intake, Rules, Taken
from reassoc.stream.worker import Flag, Tell, Worker

TAKING_LANES = 2
"""Calls at a time of the part that takes files in: settings may change while it takes."""
_TAKE, _KEEP = range(TAKING_LANES)


class Taking(Protocol):
    """Takes files in, and keeps the vault and the settings."""

    def use_settings(self) -> None:
        """Log the settings if they have changed, and read by them. Raises what is wrong in them."""

    def take(self) -> tuple[Taken, bool]:
        """See Intake.take."""

    def stop(self) -> None:
        """Let `take` come back when the files it reads are logged. From any thread or signal
        handler."""

    def forget_contents(self) -> int:
        """See OpenHome.forget_contents."""


class Matching(Protocol):
    """Matches some of the tenants."""

    def match(self, steps: int, tenants: Collection[str]) -> int:
        """See Engine.match. A tenant must always be named to the same part."""


class Publishing(Protocol):
    """Takes what the matchers decided to the ledger, and makes files of what is released."""

    def publish(self, releases: bool) -> int:
        """See Engine.publish."""


class Delivering(Protocol):
    """Takes files to their receivers."""

    def deliver(self) -> Run:
        """Deliver what can be; see Releaser.run_once."""


def rules_of(settings: Settings) -> Rules:
    """What intake needs of the settings."""
    return Rules(Router(settings.directory), settings.layouts)


@contextmanager
def taking_here(
    opened: OpenHome, worker_count: int, stopping: Flag, tell: Tell
) -> Iterator[HomeTaking]:
    """The part that takes files in, of a home that is open. Raises what is wrong in the settings.

    worker_count : files that are read at a time    stopping : what `stop` sets
    """
    home = opened.home
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=home.data) as scratch:
        intake = Intake(
            Inbox(home.path),
            opened.vault,
            opened.log,
            rules=rules_of(opened.use_settings()),
            findings=home.findings,
            scratch=Path(scratch),
            worker_count=worker_count,
            now=opened.now,
            say=tell,
        )
        try:
            yield HomeTaking(opened, intake, stopping)
        finally:
            close_archives()


class HomeTaking:
    """Taking, here."""

    def __init__(self, opened: OpenHome, intake: Intake, stopping: Flag) -> None:
        self._opened = opened
        self._intake = intake
        self._stopping = stopping

    def use_settings(self) -> None:
        self._intake.use(rules_of(self._opened.use_settings()))

    def take(self) -> tuple[Taken, bool]:
        return self._intake.take(stop=self._stopping.is_set)

    def stop(self) -> None:
        self._stopping.set()

    def forget_contents(self) -> int:
        return self._opened.forget_contents()


class HomeMatching:
    """Matching, here."""

    def __init__(self, opened: OpenHome) -> None:
        self._opened = opened

    def match(self, steps: int, tenants: Collection[str]) -> int:
        return self._opened.engine.match(steps, tenants)


class HomePublishing:
    """Publishing, here."""

    def __init__(self, opened: OpenHome) -> None:
        self._opened = opened

    def publish(self, releases: bool) -> int:
        return self._opened.engine.publish(releases=releases)


class HomeDelivering:
    """Delivering, here."""

    def __init__(self, opened: OpenHome) -> None:
        self._opened = opened

    def deliver(self) -> Run:
        return self._opened.releaser.run_once()


class WorkerTaking:
    """Taking, of a worker with a HomeTaking."""

    def __init__(self, worker: Worker, stopping: Flag) -> None:
        self._worker = worker
        self._stopping = stopping

    def use_settings(self) -> None:
        self._worker.call(_KEEP, "use_settings")

    def take(self) -> tuple[Taken, bool]:
        taken: tuple[Taken, bool] = self._worker.call(_TAKE, "take")
        return taken

    def stop(self) -> None:
        self._stopping.set()

    def forget_contents(self) -> int:
        return int(self._worker.call(_KEEP, "forget_contents"))


class WorkerMatching:
    """Matching, of a worker with a HomeMatching."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def match(self, steps: int, tenants: Collection[str]) -> int:
        return int(self._worker.call(0, "match", steps, tenants))


class WorkerPublishing:
    """Publishing, of a worker with a HomePublishing."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def publish(self, releases: bool) -> int:
        return int(self._worker.call(0, "publish", releases))


class WorkerDelivering:
    """Delivering, of a worker with a HomeDelivering."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def deliver(self) -> Run:
        run: Run = self._worker.call(0, "deliver")
        return run
