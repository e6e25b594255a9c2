"""What takes files in while a warehouse runs: here, or in a process of its own (`worker.py`), with
the same calls.

It loads nothing of matching or of the ledger, so that it is at work while the rest still starts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reassoc.stream.clock import Now
from reassoc.stream.contents import close_archives
from reassoc.stream.home import Home, Settings
from reassoc.stream.home_intake import Needed, forget_contents, use_settings
from reassoc.stream.home_log import HomeLog
from reassoc.stream.inbox import Inbox
from reassoc.stream.routing import Router
from reassoc.stream.taking import Intake, Rules, Taken
from reassoc.stream.vault import Vault
from reassoc.stream.worker import Flag, Tell, Worker

TAKING_LANES = 2
"""Calls at a time of the process: settings may change while it takes."""
_TAKE, _KEEP = range(TAKING_LANES)
SCRATCH = "scratch-"
"""What folders of a home's data begin with that are gone when it ends."""


class Taking(Protocol):
    """Takes files in, and keeps the vault and the settings."""

    def use_settings(self) -> None:
        """Log the settings if they have changed, and read by them. Raises what is wrong in them."""
        ...

    def take(self) -> tuple[Taken, bool]:
        """See Intake.take."""
        ...

    def stop(self) -> None:
        """Let `take` come back when the files it reads are logged. From any thread."""
        ...

    def forget_contents(self) -> int:
        """See home_intake.forget_contents."""
        ...


def rules_of(settings: Settings) -> Rules:
    """What intake needs of the settings."""
    return Rules(Router(settings.directory), settings.layouts)


@dataclass(frozen=True, slots=True)
class IntakeParts:
    """What taking files in works on. needed : see home_intake"""

    home: Home
    vault: Vault
    log: HomeLog
    now: Now
    needed: Needed


@contextmanager
def taking_here(
    parts: IntakeParts, worker_count: int, stopping: Flag, tell: Tell
) -> Iterator[HomeTaking]:
    """The part that takes files in. Raises what is wrong in the settings.

    worker_count : files that are read at a time    stopping : what `stop` sets
    """
    home = parts.home
    for left in home.data.glob(f"{SCRATCH}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home.data) as scratch:
        intake = Intake(
            Inbox(home.path),
            parts.vault,
            parts.log,
            rules=rules_of(use_settings(home, parts.vault, parts.log)),
            findings=home.findings,
            scratch=Path(scratch),
            worker_count=worker_count,
            now=parts.now,
            say=tell,
        )
        try:
            yield HomeTaking(parts, intake, stopping)
        finally:
            close_archives()


class HomeTaking:
    """Taking, here."""

    def __init__(self, parts: IntakeParts, intake: Intake, stopping: Flag) -> None:
        self._parts = parts
        self._intake = intake
        self._stopping = stopping

    def use_settings(self) -> None:
        parts = self._parts
        self._intake.use(rules_of(use_settings(parts.home, parts.vault, parts.log)))

    def take(self) -> tuple[Taken, bool]:
        return self._intake.take(stop=self._stopping.is_set)

    def stop(self) -> None:
        self._stopping.set()

    def forget_contents(self) -> int:
        parts = self._parts
        return forget_contents(parts.vault, parts.log, parts.now(), parts.needed)


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
