"""A Kafka for tests, as a plugin: `pytest_plugins = ("kafka_servers",)`.

`kafka` is the address of a server: the one that KAFKA_BOOTSTRAP names, else one that all processes
of the run share. Whoever comes first starts it, whoever leaves last ends it. Without Java or the
jars of Kafka the test is skipped, and says why. Topics and groups: kafka_topics.py.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_server import Note, shared_folder, shared_server, wait_for_end

from reassoc.loadtest.servers.kafka_server import KafkaServer
from reassoc.loadtest.servers.process import ServerError


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of this run: host:port."""
    given = os.environ.get("KAFKA_BOOTSTRAP", "")
    if given:
        yield given
        return
    shared = shared_folder(tmp_path_factory)
    try:
        with shared_server(shared, "kafka", lambda: _start(shared), _end) as note:
            yield note["bootstrap"]
    except ServerError as error:
        pytest.skip(f"no Kafka to test on: {error}")


_running: list[KafkaServer] = []
"""Of this process: else its process would be waited for when the variable goes."""


def _start(shared: Path) -> Note:
    server = KafkaServer(shared / f"kafka-{uuid.uuid4().hex[:8]}")
    server.start()
    _running.append(server)
    return {"bootstrap": server.bootstrap, "pid": server.process.pid}


def _end(note: Note) -> None:
    """Its data goes with the run, so it need not end well."""
    pid = note["pid"]
    for server in _running:
        if server.process.is_running and server.process.pid == pid:
            server.kill()
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
