"""A PostgreSQL for tests, as a plugin: `pytest_plugins = ("postgres_servers",)`.

`postgres_url` is a database of the test's own, dropped behind it. It lies on the server that
DATABASE_URL names, else on one that all processes of the run share: whoever comes first starts it,
whoever leaves last ends it. Without PostgreSQL the test is skipped, and says why.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from reassoc.loadtest.servers.postgres_server import PostgresServer
from reassoc.loadtest.servers.process import ServerError

END_SECONDS_MAX = 20.0


@pytest.fixture(scope="session")
def postgres_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of this run, and a database to begin from."""
    given = os.environ.get("DATABASE_URL", "")
    if given:
        yield make_url(given).set(drivername="postgresql").render_as_string(hide_password=False)
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    try:
        with _shared_server(shared) as url:
            yield url
    except ServerError as error:
        pytest.skip(f"no PostgreSQL to test on: {error}")


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """A new database, empty."""
    with own_database(postgres_server_url) as url:
        yield url


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """A new database on a server, dropped at the end with whoever is still connected."""
    name = f"reassoc_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        try:
            connection.execute(f'CREATE DATABASE "{name}"')
        except psycopg.errors.InsufficientPrivilege:
            pytest.skip("no PostgreSQL to test on: DATABASE_URL's user may not make databases")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def _shared_server(shared: Path) -> Iterator[str]:
    """The server of a run. Each process that uses it has a shared lock on one file, so that the
    last one knows that it is, also where others were killed."""
    note = shared / "postgres.json"
    with (
        (shared / "postgres.users").open("a") as users,
        (shared / "postgres.lock").open("a") as changes,
    ):
        fcntl.flock(changes, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not note.exists():
            note.write_text(json.dumps(_start()))
        fcntl.flock(changes, fcntl.LOCK_UN)
        try:
            yield json.loads(note.read_text())["url"]
        finally:
            fcntl.flock(changes, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                _end(**json.loads(note.read_text()))
                note.unlink()


def _start() -> dict[str, str | int]:
    # Not below pytest's folder: nobody but its owner may enter that, and root's server has another.
    folder = Path(tempfile.mkdtemp(prefix="reassoc-postgres-"))
    server = PostgresServer(folder, durable=False)
    try:
        server.start()
    except ServerError:
        shutil.rmtree(folder)
        raise
    _running.append(server)
    return {"url": server.url, "pid": server.pid, "folder": str(folder)}


_running: list[PostgresServer] = []
"""Of this process: else its process would be waited for when the variable goes."""


def _end(url: str, pid: int, folder: str) -> None:
    for server in _running:
        if server.is_running and server.pid == pid:
            server.stop()
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGINT)
    end = time.monotonic() + END_SECONDS_MAX
    while _is_there(pid) and time.monotonic() < end:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def _is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    folder = Path(tempfile.mkdtemp(prefix="reassoc-postgres-"))
    try:
        server = PostgresServer(folder)
        server.start()
    except ServerError as error:
        shutil.rmtree(folder)
        pytest.skip(f"no PostgreSQL to test on: {error}")
    yield server
    server.stop()
    shutil.rmtree(folder)
