"""A PostgreSQL of its own in a folder: for tests, fault runs and the stack on one machine.

PostgreSQL refuses to run as root. Where root calls, the server runs as the user `postgres` (or
`nobody`), to whom the folder is given.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from reassoc.loadtest.servers.process import ServerError, ServerProcess, free_port

START_SECONDS_MAX = 60.0
"""Until it answers; after a kill it reads its log again first."""
INITDB_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 20.0
START_ATTEMPTS_MAX = 5
"""After a kill, processes of the one before may still be ending; then it is started again."""
_BINARIES = Path("/usr/lib/postgresql")
_USER = "reassoc"
_LOOK_SECONDS = 0.05
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    # A socket's path may have no more than 107 bytes, so there is none but the loopback's.
    "unix_socket_directories=",
    "shared_buffers=64MB",
    "max_connections=100",
    "max_wal_size=512MB",
    "autovacuum_max_workers=1",
    "max_parallel_workers=0",
    "jit=off",
    "timezone=UTC",
)


class PostgresServer:
    """One server. `start`, `stop` and `kill` may follow each other in any order; its data stay.

    folder : made where it is not there; every folder above it must let the server's user through
    durable : False for tests that end no server: commits do not wait for the disk
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Raises ServerError where PostgreSQL is not installed."""
        self._binaries = _find_binaries()
        self._folder = folder
        self._data = folder / "data"
        self._durable = durable
        self._user = _server_user()
        self._port = 0
        self._process = ServerProcess("postgres", folder)

    @property
    def url(self) -> str:
        """postgresql://..., the same after each start. Raises ServerError before the first."""
        if not self._port:
            raise ServerError("postgres was not started yet")
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """Of the process that all others of it hang on. Raises ServerError."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its first process is there."""
        return self._process.is_running

    def start(self) -> None:
        """Start it and wait until it answers. Raises ServerError."""
        if self.is_running:
            raise ServerError("postgres is running already")
        self._make_folder()
        self._port = self._port or free_port()
        durable = "on" if self._durable else "off"
        settings = [*_SETTINGS, f"port={self._port}", f"fsync={durable}"]
        if not self._durable:
            settings += ["synchronous_commit=off", "full_page_writes=off"]
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        for setting in settings:
            command += ["-c", setting]
        for left in range(START_ATTEMPTS_MAX - 1, -1, -1):
            try:
                self._process.start(
                    command, self._answers, seconds=START_SECONDS_MAX, user=self._user
                )
                return
            except ServerError:
                if not left:
                    raise
                time.sleep(0.5)

    def stop(self) -> None:
        """End it: connections are closed, what is committed is in its files. Twice does nothing."""
        if not self.is_running:
            return
        os.kill(self._process.pid, signal.SIGINT)
        end = time.monotonic() + STOP_SECONDS_MAX
        while self.is_running and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and all its processes at once, as a power cut does. Twice does nothing."""
        if not self.is_running:
            return
        # Each is in a group of its own, and would end by itself, but only some time later.
        pids = _children(self._process.pid)
        self._process.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        program = str(self._binaries / "pg_isready")
        command = [program, "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(command, check=False, timeout=START_SECONDS_MAX).returncode == 0

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self._folder, self._user, -1)
        if (self._data / "PG_VERSION").is_file():
            return
        command = [
            str(self._binaries / "initdb"), "--pgdata", str(self._data), "--username", _USER,
            "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync",
        ]  # fmt: skip
        made = subprocess.run(
            command,
            cwd="/",
            user=self._user,
            capture_output=True,
            text=True,
            check=False,
            timeout=INITDB_SECONDS_MAX,
        )
        if made.returncode:
            raise ServerError(
                f"initdb failed in {self._folder}: its user must be able to enter every folder "
                f"above it; the end of what it said:\n{made.stderr[-1000:]}"
            )


def _find_binaries() -> Path:
    """The folder of PostgreSQL's programs, of the newest version that is installed."""
    found = [path.parent for path in _BINARIES.glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is None:
        raise ServerError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(on_path).resolve().parent


def _server_user() -> int | None:
    """Who the server runs as; None: whoever calls."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise ServerError("PostgreSQL does not run as root: make a user named postgres")


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]
