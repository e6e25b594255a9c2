"""Start Faust workers in processes of their own, and see what they did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from faust_worker import Plan

START_SECONDS_MAX = 60.0
"""For what takes a second on a machine that has time."""
_SCRIPT = Path(__file__).with_name("faust_worker.py")


class Worker:
    """A running worker."""

    def __init__(self, plan: Plan, environment: Mapping[str, str]) -> None:
        self.plan = plan
        with Path(f"{plan.out}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_SCRIPT), json.dumps(asdict(plan))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it at once. Twice does nothing."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(START_SECONDS_MAX)

    def wait(self) -> int:
        """How it ended."""
        return self.process.wait(START_SECONDS_MAX)

    @property
    def log(self) -> str:
        """What it printed."""
        return Path(f"{self.plan.out}.log").read_text(errors="replace")


@contextmanager
def worker(
    plan: Plan, environment: Mapping[str, str] | None = None, **changes: Any
) -> Iterator[Worker]:
    """A worker, killed at the end. changes : of the plan"""
    running = Worker(replace(plan, **changes), environment or {})
    try:
        yield running
    finally:
        running.kill()


def processed(*outs: str) -> list[tuple[int, int]]:
    """Partition and offset of what workers have processed, in their order."""
    found: list[tuple[int, int]] = []
    for out in outs:
        if Path(out).exists():
            for line in Path(out).read_text().splitlines():
                partition, offset = line.split()
                found.append((int(partition), int(offset)))
    return found


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so. Fails where it is not in time."""
    end = time.monotonic() + START_SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, f"in {START_SECONDS_MAX} s: not {what}"
        time.sleep(0.1)
