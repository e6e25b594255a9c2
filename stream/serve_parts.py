"""What goes on with what was matched while a warehouse runs: publishing and delivering.

Each part has the same calls here and in a process of its own (`worker.py`), where it has the home
open for itself.
"""

from __future__ import annotations

from typing import Protocol

from reassoc.stream.open_home import OpenHome
from reassoc.stream.releaser import Run
from reassoc.stream.worker import Worker


class Publishing(Protocol):
    """Takes what the matchers decided to the ledger, and makes files of what is released."""

    def publish(self, releases: bool) -> int:
        """See Engine.publish."""
        ...


class Delivering(Protocol):
    """Takes files to their receivers."""

    def deliver(self) -> Run:
        """Deliver what can be; see Releaser.run_once."""
        ...


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
