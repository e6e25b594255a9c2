"""A server process: started in a folder, waited for, stopped or killed, started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reassoc.core.errors import ReassocError

STOP_SECONDS_MAX = 20.0
"""How long a server may take to end by itself before it is killed."""
_LOOK_SECONDS = 0.05


class ServerError(ReassocError):
    """A server could not be had, started or reached. The message says what to do."""


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """One process in a session of its own, whose output goes to a file in its folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """What it printed."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of the running process. Raises ServerError."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(
        self,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        *,
        seconds: float,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        """Start it and wait until it answers. Raises ServerError with the end of what it printed.

        user : number of the user it runs as, None: whoever calls
        """
        if self.is_running:
            raise ServerError(f"{self.name} is running already")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                user=user,
            )
        end = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running or time.monotonic() > end:
                why = "did not answer in time" if self.is_running else "ended by itself"
                self.kill()
                tail = self.log_file.read_text(errors="replace")[-2000:]
                raise ServerError(f"{self.name} {why}; the end of {self.log_file}:\n{tail}")
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """End it as its keeper would; killed after STOP_SECONDS_MAX. Twice does nothing."""
        if self.is_running:
            self.signal(signal.SIGTERM)
            try:
                self._wait(STOP_SECONDS_MAX)
                return
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """End it at once, with all that it started. Twice does nothing."""
        if self.is_running:
            self.signal(signal.SIGKILL)
            self._wait(STOP_SECONDS_MAX)
        self._process = None

    def signal(self, number: int) -> None:
        """Send a signal to it and all that it started: SIGSTOP pauses, SIGCONT lets it go on."""
        os.killpg(self.pid, number)

    def _wait(self, seconds: float) -> None:
        assert self._process is not None
        self._process.wait(seconds)
        self._process = None


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
