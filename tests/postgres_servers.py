"""A PostgreSQL for tests, as a plugin: `pytest_plugins = ("postgres_servers",)`.

`postgres_url` is a database of the test's own, dropped behind it. It lies on the server that
DATABASE_URL names, else on one that all processes of the run share: whoever comes first starts it,
whoever leaves last ends it. Without PostgreSQL the test is skipped, and says why.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from shared_server import Note, shared_folder, shared_server, wait_for_end
from sqlalchemy import make_url

from reassoc.loadtest.servers.postgres_server import PostgresServer
from reassoc.loadtest.servers.process import ServerError


@pytest.fixture(scope="session")
def postgres_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of this run, and a database to begin from."""
    given = os.environ.get("DATABASE_URL", "")
    if given:
        yield make_url(given).set(drivername="postgresql").render_as_string(hide_password=False)
        return
    try:
        with shared_server(shared_folder(tmp_path_factory), "postgres", _start, _end) as note:
            yield note["url"]
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


def _start() -> Note:
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


def _end(note: Note) -> None:
    pid = note["pid"]
    for server in _running:
        if server.is_running and server.pid == pid:
            server.stop()
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGINT)
    wait_for_end(pid)
    shutil.rmtree(note["folder"], ignore_errors=True)


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
