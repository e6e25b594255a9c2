"""A Kafka for tests, as a plugin: `pytest_plugins = ("kafka_servers",)`.

`kafka` is the address of a server: the one that KAFKA_BOOTSTRAP names, else one that all processes
of the run share. Whoever comes first starts it, whoever leaves last ends it. Without Java or the
jars of Kafka the test is skipped, and says why. Topics and groups: kafka_topics.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reassoc.loadtest.servers.kafka_server import KafkaServer
from reassoc.loadtest.servers.process import ServerError

END_SECONDS_MAX = 20.0


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of this run: host:port."""
    given = os.environ.get("KAFKA_BOOTSTRAP", "")
    if given:
        yield given
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    try:
        with _shared_server(shared) as bootstrap:
            yield bootstrap
    except ServerError as error:
        pytest.skip(f"no Kafka to test on: {error}")


@contextmanager
def _shared_server(shared: Path) -> Iterator[str]:
    """The server of a run. Each process that uses it has a shared lock on one file, so that the
    last one knows that it is, also where others were killed."""
    note = shared / "kafka.json"
    with (
        (shared / "kafka.users").open("a") as users,
        (shared / "kafka.lock").open("a") as changes,
    ):
        fcntl.flock(changes, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not note.exists():
            note.write_text(json.dumps(_start(shared / f"kafka-{uuid.uuid4().hex[:8]}")))
        fcntl.flock(changes, fcntl.LOCK_UN)
        try:
            yield json.loads(note.read_text())["bootstrap"]
        finally:
            fcntl.flock(changes, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                _end(int(json.loads(note.read_text())["pid"]))
                note.unlink()


_running: list[KafkaServer] = []
"""Of this process: else its process would be waited for when the variable goes."""


def _start(folder: Path) -> dict[str, str | int]:
    server = KafkaServer(folder)
    server.start()
    _running.append(server)
    return {"bootstrap": server.bootstrap, "pid": server.process.pid}


def _end(pid: int) -> None:
    """Its data goes with the run, so it need not end well."""
    for server in _running:
        if server.process.is_running and server.process.pid == pid:
            server.kill()
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + END_SECONDS_MAX
    while _is_there(pid) and time.monotonic() < end:
        time.sleep(0.05)


def _is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
