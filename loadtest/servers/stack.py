"""A whole stack on this machine, without containers: Kafka, Redis, PostgreSQL and workers.

    python -m reassoc.loadtest.servers.stack --folder build/stack

Everything lies in one folder and listens on the loopback address only. The folder may be used
again: the servers start on what it holds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from blake3 import blake3

from reassoc.loadtest.servers.kafka_server import KafkaServer
from reassoc.loadtest.servers.postgres_server import PostgresServer
from reassoc.loadtest.servers.process import STOP_SECONDS_MAX, ServerError, free_port
from reassoc.loadtest.servers.redis_server import RedisServer

READY_SECONDS_MAX = 120.0
WORKERS_MAX = 8
_LOOK_SECONDS = 0.1


class WorkerProcess:
    """One `reassoc worker`, which can be stopped, killed, paused and started again."""

    def __init__(self, name: str, folder: Path, config: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self.port = free_port()
        self._config = config
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the running process. Raises ServerError."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it; `wait_ready` waits until it works."""
        if self.is_running:
            raise ServerError(f"{self.name} is running already")
        environment = {
            **os.environ,
            **self._variables,
            "REASSOC_WORKER_HEALTH_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "reassoc.stream.cli", "worker", "--config"]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it says that it can do its work."""
        return self.ask("readyz") is not None

    def ask(self, page: str) -> bytes | None:
        """A page of its health server; None where it does not answer, or with an error."""
        with suppress(OSError):
            place = f"http://127.0.0.1:{self.port}/{page}"
            with urllib.request.urlopen(place, timeout=5) as answer:
                return bytes(answer.read())
        return None

    def wait_ready(self, seconds: float = READY_SECONDS_MAX) -> None:
        """Wait until it works. Raises ServerError with the end of its log."""
        end = time.monotonic() + seconds
        while not self.is_ready():
            if not self.is_running or time.monotonic() > end:
                why = "is not ready in time" if self.is_running else "has ended"
                tail = self.log_file.read_text(errors="replace")[-3000:]
                raise ServerError(f"{self.name} {why}; the end of {self.log_file}:\n{tail}")
            time.sleep(_LOOK_SECONDS)

    def signal(self, number: int) -> None:
        """Send a signal: SIGSTOP pauses it, SIGCONT lets it go on."""
        os.killpg(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait until it has ended; its exit code. Raises ServerError where it does not."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name} has not ended after {seconds} s") from None

    def stop(self) -> int:
        """End it as its keeper would, and its exit code; killed after STOP_SECONDS_MAX."""
        if self._process is None:
            return 0
        if self.is_running:
            self.signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS_MAX)
        self.kill()
        code = self._process.returncode
        self._process = None
        return int(code)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self.is_running:
            self.signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS_MAX)


class Stack:
    """Servers and workers in a folder.

    redis : another match state than the stack's own server, as a URL
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Path,
        prefix: str = "reassoc",
        items_partitions: int = 6,
        raw_partitions: int = 6,
        appendfsync: str | None = "everysec",
        redis: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """
        settings : folder of policy.toml, warehouse.toml, directory.toml and layouts/
        variables : of the workers' environment, see stream/config.py
        """
        self.folder = folder
        for name in ("kafka", "redis", "workers", "vault", "released"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.kafka = KafkaServer(folder / "kafka")
        self.redis = None if redis else RedisServer(folder / "redis", appendfsync=appendfsync)
        self.postgres_folder = _postgres_folder(folder)
        self.postgres = PostgresServer(self.postgres_folder)
        self._redis_url = redis
        self._settings = settings
        self._prefix = prefix
        self._partitions = items_partitions, raw_partitions
        self._variables = dict(variables or {})
        self._count = 0
        self.workers: list[WorkerProcess] = []

    @property
    def config_file(self) -> Path:
        """The workers' configuration."""
        return self.folder / "reassoc.toml"

    def start_servers(self) -> None:
        """Start the servers, and write the configuration. Raises ServerError."""
        self.kafka.start()
        if self.redis is not None:
            self.redis.start()
        self.postgres.start()
        items, raw = self._partitions
        redis = self._redis_url or (self.redis.url if self.redis is not None else "")
        self.config_file.write_text(
            f"""[kafka]
bootstrap = "{self.kafka.bootstrap}"
prefix = "{self._prefix}"
items_partitions = {items}
raw_partitions = {raw}
replication = 1

[redis]
url = "{redis}"

[ledger]
url = "{self.postgres.url}"

[vault]
url = "{self.folder / "vault"}"

[release]
folder = "{self.folder / "released"}"

[warehouse]
folder = "{self._settings}"
"""
        )

    def add_worker(self) -> WorkerProcess:
        """Start one more worker."""
        self._count += 1
        worker = WorkerProcess(
            f"worker-{self._count}", self.folder / "workers", self.config_file, self._variables
        )
        self.workers.append(worker)
        worker.start()
        return worker

    def wait_ready(self) -> None:
        """Wait until all workers work."""
        for worker in self.workers:
            worker.wait_ready()

    def stop(self) -> None:
        """End everything."""
        for worker in self.workers:
            worker.stop()
        for server in (self.kafka, self.redis, self.postgres):
            if server is not None:
                server.stop()


def _postgres_folder(folder: Path) -> Path:
    """Where the database lies: root has it run by another user, who may not enter the folders of
    many a home. One for each folder of a stack, so that a stack finds it again."""
    if os.geteuid() != 0:
        return folder / "postgres"
    name = blake3(str(folder.absolute()).encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"reassoc-postgres-{name}"
    place.mkdir(mode=0o755, exist_ok=True)
    return place


def main(
    folder: Annotated[Path, typer.Option(help="Of all data; made where it is not there.")],
    workers: Annotated[int, typer.Option(min=1, max=WORKERS_MAX, help="Workers to run.")] = 2,
    settings: Annotated[
        Path | None, typer.Option(help="Folder of policy, warehouse, directory, layouts.")
    ] = None,
) -> None:
    """Run Kafka, Redis, PostgreSQL and workers until Ctrl-C."""
    place = folder.absolute()
    own = settings.absolute() if settings is not None else place / "settings"
    own.mkdir(parents=True, exist_ok=True)
    stack = Stack(place, settings=own)
    try:
        stack.start_servers()
        for _ in range(workers):
            stack.add_worker()
        stack.wait_ready()
        pages = " ".join(f"http://127.0.0.1:{each.port}/metrics" for each in stack.workers)
        typer.echo(
            f"Kafka {stack.kafka.bootstrap}, {workers} workers.\n"
            f"Feed:    reassoc feed PATH --config {stack.config_file}\n"
            f"Look:    reassoc status --config {stack.config_file}\n"
            f"Metrics: {pages}\n"
            "Stop with Ctrl-C; what lies in the folder goes on with the next start."
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while all(worker.is_running for worker in stack.workers):
            time.sleep(1.0)
        typer.echo("a worker has ended: see its log", err=True)
        raise typer.Exit(1)
    except ServerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("stopping")
    finally:
        stack.stop()


if __name__ == "__main__":
    typer.run(main)
