"""What goes wrong with a stream, and is mended a little later, one thing over the other.

    worker, feeder              killed (SIGKILL), and started again
    broker, redis, database     killed, and started again on the same data
    join, leave                 one more worker for a while; one is told to stop, and comes again
    pause                       a worker stands still (SIGSTOP) for longer than its session, and
                                goes on where it was, among others that have its partitions
    wipe                        all match state is lost, and `reassoc rebuild --yes` asked for

The servers' keeper is in here too: a worker that ends by itself is started again.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from reassoc.loadtest.chaos_feed import ChaosError
from reassoc.loadtest.servers.process import ServerError, ServerProcess
from reassoc.loadtest.servers.stack import Stack, WorkerProcess

Kind = Literal["worker", "feeder", "broker", "redis", "database", "join", "leave", "pause", "wipe"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WEIGHTS: dict[Kind, int] = {
    "worker": 10, "feeder": 2, "broker": 2, "redis": 4, "database": 3, "join": 1, "leave": 2,
    "pause": 1,
}  # fmt: skip
"""How often each happens after the first round; state is wiped once."""
AWAY_S_MAX = 4.0
"""How long something stays away."""
BEYOND_SESSION_S = (1.5, 5.0)
JOINED_S_MAX = 14.0
MENDS_MAX = 60
"""Attempts to mend one thing, a second apart."""
ENDS_MAX = 500
"""Times that workers and feeder may end by themselves."""
REBUILD_SECONDS_MAX = 120.0


@dataclass(slots=True)
class _Mend:
    """What is to be done, when. name : of what is away meanwhile"""

    due_s: float
    name: str
    call: Callable[[], None]
    attempts: int = 0


@dataclass(slots=True)
class Happened:
    """What did, by kind; ends : times that something ended by itself, by name and exit code."""

    kinds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)


class FeedProcess:
    """`reassoc feed --watch FOLDER`."""

    def __init__(self, folder: Path, config: Path, layouts: Sequence[Path]) -> None:
        (folder / "in").mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._config = config
        self._layouts = layouts
        self._process = ServerProcess("feeder", folder.parent)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.is_running

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "reassoc.stream.cli", "feed"]
        command += ["--watch", str(self._folder), "--config", str(self._config)]
        for path in self._layouts:
            command += ["--layout", str(path)]
        self._process.start(command, lambda: True, seconds=1.0)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def stop(self) -> None:
        """End it as its keeper would."""
        self._process.stop()


class Faults:
    """Does one thing after another to a stack. For one thread; `mend` must be called often."""

    def __init__(
        self, stack: Stack, feeder: FeedProcess, rng: random.Random, session_s: float
    ) -> None:
        self._stack = stack
        self._feeder = feeder
        self._rng = rng
        self._session_s = session_s
        self._mends: list[_Mend] = []
        self._restarts: dict[str, float] = {}
        self.happened = Happened()

    def plan(self, count: int) -> list[Kind]:
        """Kinds in the order in which they are to happen: each once before any comes again."""
        planned: list[Kind] = self._rng.sample(KINDS, len(KINDS))
        planned += self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
        return planned[:count]

    def strike(self, kind: Kind) -> bool:
        """Let it happen; False where it cannot now."""
        acts: dict[Kind, Callable[[], bool]] = {
            "worker": self._kill_worker, "feeder": self._kill_feeder, "broker": self._kill_broker,
            "redis": self._kill_redis, "database": self._kill_database, "join": self._join,
            "leave": self._leave, "pause": self._pause, "wipe": self._wipe,
        }  # fmt: skip
        if not acts[kind]():
            return False
        self.happened.kinds[kind] += 1
        return True

    def mend(self, now_s: float) -> None:
        """Mend what is due, and start what has ended by itself."""
        for each in [mend for mend in self._mends if mend.due_s <= now_s]:
            self._mends.remove(each)
            try:
                each.call()
            except (ServerError, subprocess.SubprocessError) as error:
                each.attempts += 1
                each.due_s = time.monotonic() + 1.0
                if each.attempts >= MENDS_MAX:
                    raise ChaosError(f"{each.name} cannot be mended: {error}") from error
                self._mends.append(each)
        self._keep(now_s)

    def mend_all(self) -> None:
        """Wait until everything is mended."""
        while self._mends:
            self.mend(time.monotonic())
            time.sleep(0.05)

    def rebuild_if_lost(self) -> None:
        """Do as the log of a worker asks its keeper to. A Redis that dies in the second in which a
        tenant comes for the first time does not know it any more, though the ledger does."""
        try:
            _run([*_CLI, "rebuild", "--config", str(self._stack.config_file)])
        except subprocess.CalledProcessError:
            self.happened.ends["state lost"] += 1
            self._rebuild()

    # ---- keeping ----

    def _keep(self, now_s: float) -> None:
        """Start again, after a second, what ended by itself."""
        for worker in list(self._stack.workers):
            if worker.is_running or worker.name in self._away:
                continue
            self.happened.ends[f"worker {worker.stop()}"] += 1
            self._restart_soon(worker.name, worker.start, now_s)
        if not self._feeder.is_running and "feeder" not in self._away:
            self.happened.ends["feeder"] += 1
            self._restart_soon("feeder", self._feeder.start, now_s)
        if self.happened.ends.total() > ENDS_MAX:
            raise ChaosError(f"ENDS_MAX ({ENDS_MAX}): workers end by themselves all the time")

    def _restart_soon(self, name: str, start: Callable[[], None], now_s: float) -> None:
        self._mends.append(_Mend(now_s + 1.0, name, start))

    @property
    def _away(self) -> set[str]:
        return {each.name for each in self._mends}

    def _later(self, name: str, call: Callable[[], None], low_s: float, high_s: float) -> bool:
        self._mends.append(_Mend(time.monotonic() + self._rng.uniform(low_s, high_s), name, call))
        return True

    def _some_worker(self) -> WorkerProcess | None:
        there = [
            worker
            for worker in self._stack.workers
            if worker.is_running and worker.name not in self._away
        ]
        return self._rng.choice(there) if there else None

    # ---- what happens ----

    def _kill_worker(self) -> bool:
        worker = self._some_worker()
        if worker is None:
            return False
        worker.kill()
        return self._later(worker.name, worker.start, 0, AWAY_S_MAX)

    def _leave(self) -> bool:
        worker = self._some_worker()
        if worker is None:
            return False
        worker.signal(signal.SIGTERM)
        return self._later(worker.name, lambda: _start_again(worker), 1, AWAY_S_MAX)

    def _pause(self) -> bool:
        worker = self._some_worker()
        if worker is None:
            return False
        worker.signal(signal.SIGSTOP)
        low_s, high_s = (self._session_s + more for more in BEYOND_SESSION_S)
        return self._later(worker.name, lambda: worker.signal(signal.SIGCONT), low_s, high_s)

    def _join(self) -> bool:
        worker = self._stack.add_worker()

        def leave() -> None:
            worker.stop()
            self._stack.workers.remove(worker)

        return self._later(worker.name, leave, JOINED_S_MAX / 2, JOINED_S_MAX)

    def _kill_feeder(self) -> bool:
        if not self._feeder.is_running:
            return False
        self._feeder.kill()
        return self._later("feeder", self._feeder.start, 0, AWAY_S_MAX)

    def _kill_broker(self) -> bool:
        if "broker" in self._away:
            return False
        self._stack.kafka.kill()
        return self._later("broker", self._stack.kafka.start, 0, AWAY_S_MAX)

    def _kill_redis(self) -> bool:
        redis = self._stack.redis
        if redis is None or "redis" in self._away:
            return False
        redis.kill()
        return self._later("redis", redis.start, 0, AWAY_S_MAX)

    def _kill_database(self) -> bool:
        if "database" in self._away:
            return False
        self._stack.postgres.kill()
        return self._later("database", self._stack.postgres.start, 0, AWAY_S_MAX)

    def _wipe(self) -> bool:
        redis = self._stack.redis
        if redis is None or "redis" in self._away:
            return False
        with suppress(ServerError):
            redis.ask("FLUSHALL")
            return self._later("state", self._rebuild, 0, AWAY_S_MAX)
        return False

    def _rebuild(self) -> None:
        _run([*_CLI, "rebuild", "--yes", "--config", str(self._stack.config_file)])


_CLI = (sys.executable, "-m", "reassoc.stream.cli")


def _start_again(worker: WorkerProcess) -> None:
    worker.stop()
    worker.start()


def _run(command: Sequence[str]) -> None:
    """Run a command to its end. Raises SubprocessError where it fails."""
    subprocess.run(
        command, check=True, capture_output=True, timeout=REBUILD_SECONDS_MAX, env=os.environ
    )
