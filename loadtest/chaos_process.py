"""Serving processes of a home, and the moments at which they are killed, or one of their parts is.

They are forks of one process that has the modules loaded: that saves a second of each start.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from reassoc.loadtest.chaos_feed import ChaosError, Feeder

SESSION_S_MAX = 1.5
SESSION_LONG_S_MAX = 9.0
"""How long a process may live before it is killed, mostly and at times."""
LONG_PER_MILLE = 60
PART_ONE_IN = 4
"""One kill of so many takes only one of the processes of a serving one."""
START_S_MAX = 0.5
REST_S_MAX = 300.0
"""How long a process that nobody kills may take to come to rest."""
LOOK_S = 0.002
PRELOADED = (
    "reassoc.stream.cli",
    "reassoc.stream.demo",
    "reassoc.loadtest.cli",
    "reassoc.loadtest.score_cli",
    "reassoc.loadtest.chaos_compare",
    __name__,
)
Trigger = Literal["time", "start", "log", "ledger", "vault", "partial", "released", "done"]

_WATCHED: dict[Trigger, str] = {
    "log": "data/state.db-wal",
    "ledger": "data/ledger.db-wal",
    "vault": "data/vault/segments",
    "partial": "released/.partial",
    "released": "released",
    "done": "done",
}
"""What is going on where it is killed: the file or folder that changes first."""
_TRIGGERS: tuple[Trigger, ...] = ("time", "time", "start", *_WATCHED)


def run_command(arguments: Sequence[str], output: str) -> None:
    """`reassoc` in this process, its output appended to a file."""
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    from reassoc.stream.cli import main

    sys.argv = ["reassoc", *arguments]
    main()


class Processes:
    """Starts serving processes of a home, and kills them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.output = home.parent / f"{home.name}.log"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))

    def start(self, *more: str) -> Any:
        arguments = ["serve", "--home", str(self.home), "--workers", "2", *more]
        process = self._context.Process(
            target=run_command, args=(arguments, str(self.output)), daemon=True
        )
        process.start()
        return process

    def rest(self, as_of: str) -> None:
        """Drain in peace. Raises ChaosError where it does not end well."""
        code = _ended(self.start("--drain", "--as-of", as_of))
        if code != 0:
            tail = self.output.read_text(errors="replace")[-2000:]
            raise ChaosError(f"a drain of {self.home} ended with {code}:\n{tail}")

    def hunt(self, rng: random.Random, arguments: Sequence[str], feeder: Feeder | None) -> str:
        """Start a process and kill it; what was going on, "" where it ended before."""
        trigger = rng.choice(_TRIGGERS)
        watched = self.home / _WATCHED[trigger] if trigger in _WATCHED else None
        process = self.start(*arguments)
        began = time.monotonic()
        longest = SESSION_LONG_S_MAX if rng.randrange(1000) < LONG_PER_MILLE else SESSION_S_MAX
        limit_s = rng.uniform(0, START_S_MAX) if trigger == "start" else rng.uniform(0.05, longest)
        visits = rng.choice((1, 1, 1, 2, 4))
        if watched is not None:
            limit_s = longest
        before = _stamp(watched)
        while process.exitcode is None:
            now_s = time.monotonic()
            if feeder is not None:
                feeder.step(now_s)
            seen = _stamp(watched)
            if seen != before:
                before, visits = seen, visits - 1
            is_due = now_s - began >= limit_s
            if is_due or not visits:
                time.sleep(rng.choice((0, 0, 0.001, 0.004)))
                parts = _children(process.pid)
                if parts and not rng.randrange(PART_ONE_IN):
                    return self._kill_part(process, rng.choice(parts))
                process.kill()
                process.join()
                was_killed = process.exitcode is not None and process.exitcode < 0
                process.close()
                going_on = "time" if is_due and watched is not None else trigger
                return going_on if was_killed else ""
            time.sleep(LOOK_S)
        process.close()
        return ""

    def _kill_part(self, process: Any, part: int) -> str:
        """Kill one of the processes of a serving one, which must end by itself then."""
        with suppress(ProcessLookupError):  # it may be about to end
            os.kill(part, signal.SIGKILL)
        code = _ended(process)
        if code not in (0, 1):
            raise ChaosError(f"without one of its processes it ended with {code}")
        return "part" if code else ""


def _ended(process: Any) -> int | None:
    """The exit code of a process that ends by itself; None for one that did not in time."""
    process.join(REST_S_MAX)
    code: int | None = process.exitcode
    if code is None:
        process.kill()
        process.join()
    process.close()
    return code


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _stamp(path: Path | None) -> tuple[int, ...]:
    """Changes when a file does, or what lies in a folder, or in its folders."""
    if path is None:
        return ()
    try:
        if not path.is_dir():
            status = path.stat()
            return status.st_size, status.st_mtime_ns
        folders = [path, *(one for one in path.iterdir())]
        return tuple(number for one in folders for number in _short_stamp(one))
    except OSError:
        return ()


def _short_stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
