"""Every place at which a home writes something, by name; and the hooks that tell which is passed.

A test arms one of them: the process ends there, with the home's folder as it is at that moment, or
the call fails as a disk does.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reassoc.stream import ledger_store, sqlite_file, vault_store
from reassoc.stream.releaser import FAULT_POINTS as RELEASER_POINTS
from reassoc.stream.vault_store import Buffer, LocalSink


class Point(NamedTuple):
    """name : as it is told    what : which step of which part ends there"""

    name: str
    what: str


def _table_points(part: str, what: str, *writes: str) -> list[Point]:
    return [Point(f"{part}: {write}", f"{what}, before: {write}") for write in writes]


_COMMITS = ("commit", "committed")
_LOGS = ("insert log", "insert log_end", "insert routing", *_COMMITS)
POINTS = (
    *_table_points("open", "tables of state.db are made", "insert number", *_COMMITS),
    *_table_points("settings", "settings go to the log", *_LOGS),
    Point("intake: read", "files are read, nothing is durable"),
    Point("vault: half of segment written", "contents are on their way into a segment"),
    Point("vault: sync segment", "a segment is written and not flushed"),
    Point("vault: half of index written", "a commit, a head or a seal of the index"),
    Point("vault: sync index", "the index is written and not flushed"),
    Point("intake: in the vault", "contents are durable, nothing is logged"),
    *_table_points("intake", "items go to the log", *_LOGS),
    Point("intake: logged", "items are on the log, their files lie in in/"),
    Point("intake: moved", "files lie in done/"),
    *_table_points("clock", "an opening and a close go to the log", *_LOGS),
    *_table_points("decision", "what people decide goes to the log", *_LOGS),
    *_table_points("matcher", "a claim or a step of a tenant", "insert tenant", "insert record",
                   "insert record_key", "update record", "delete record", "delete record_key",
                   "insert outbox", "update tenant", *_COMMITS),
    *_table_points("ledger", "batches and the release book", "insert batch", "insert source_file",
                   "insert item", "insert item_detail", "insert item_place", "insert item_trace",
                   "insert item_business", "insert payer", "insert status_change",
                   "insert pair_event", "insert link_event", "insert mention",
                   "insert open_change", "insert decision", "insert decision_text",
                   "insert control_number", "insert release_file",
                   "insert release_item", "insert release_event", *_COMMITS),
    *_table_points("outbox", "the outbox is acknowledged", "delete outbox", *_COMMITS),
    *(Point(name, "a file on its way to its receiver") for name in RELEASER_POINTS),
)  # fmt: skip
"""All that a run passes. Of a backup, see test_faults."""
TWICE = (
    "vault: half of index written",
    "clock: commit",
    "matcher: insert record",
    "matcher: commit",
    "matcher: committed",
    "ledger: insert release_event",
    "ledger: commit",
    "ledger: committed",
    "outbox: commit",
    "outbox: committed",
    "sink: prepared",
    "sink: moved",
    "releaser: delivered",
)
"""Points at which it is killed a second time, at a visit in the middle of the run."""
_STAGES = {"matching": "matcher", "applying": "matcher", "publishing": "outbox"}
"""What threads of a server do to state.db."""


class Crash(BaseException):
    """The process ends here. No handler of errors sees it."""


class Faults:
    """Told each point that is passed; does what was armed at one of them.

    stage : what the test is doing, the first half of the names of what goes into state.db
    """

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.stage = "open"
        self._armed: tuple[str, range, Callable[[], None]] | None = None
        self._lock = threading.Lock()

    def of_state(self, what: str) -> None:
        """Something is written into state.db."""
        thread, _, _ = threading.current_thread().name.partition("_")
        self(f"{_STAGES.get(thread, self.stage)}: {what}")

    def arm(self, point: str, visits: range, act: Callable[[], None]) -> None:
        """Call `act` at these visits of a point, the first being 1."""
        self._armed = (point, visits, act)

    def __call__(self, point: str) -> None:
        with self._lock:
            self.passed[point] += 1
            visit = self.passed[point]
        if self._armed is not None and point == self._armed[0] and visit in self._armed[1]:
            self._armed[2]()


_WRITES = re.compile(
    r'\s*(INSERT|UPDATE|DELETE)\s+(?:OR\s+\w+\s+)?(?:INTO\s+|FROM\s+)?"?(\w+)', re.ASCII
)


class _Cursor(sqlite3.Cursor):
    connection: _Connection

    def execute(self, sql: str, *more: Any) -> Any:
        self._tell(sql)
        if sql.startswith("PRAGMA synchronous"):
            # Folders are copied here, no machine loses its power: flushing would only take time.
            sql = "PRAGMA synchronous=OFF"
        answer = super().execute(sql, *more)
        if sql == "COMMIT":
            self.connection.tell("committed")
        return answer

    def executemany(self, sql: str, rows: Any, /) -> Any:
        self._tell(sql)
        return super().executemany(sql, rows)

    def _tell(self, sql: str) -> None:
        found = _WRITES.match(sql)
        if found:
            self.connection.tell(f"{found[1].lower()} {found[2]}")
        elif sql == "COMMIT":
            self.connection.tell("commit")


class _Connection(sqlite3.Connection):
    tell: Callable[[str], None] = staticmethod(lambda _: None)

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, *more: Any) -> Any:
        return self.cursor().execute(sql, *more)

    def executemany(self, sql: str, rows: Any, /) -> Any:
        return self.cursor().executemany(sql, rows)

    def commit(self) -> None:
        writes = self.in_transaction and self.total_changes > getattr(self, "changes", 0)
        if writes:
            self.tell("commit")
        super().commit()
        self.changes = self.total_changes
        if writes:
            self.tell("committed")


class _Sqlite:
    """The module sqlite3, with connections that tell."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **options, factory=_Connection)
        connection.tell = self._tell
        return connection


@contextmanager
def hooked(faults: Faults) -> Iterator[None]:
    """Databases and vaults that are opened in the block tell what they write."""

    class Sink(LocalSink):
        def __init__(self, path: Path) -> None:
            self._kind = {".data": "segment", ".index": "index"}.get(path.suffix, "other file")
            super().__init__(path)

        def write(self, parts: Sequence[Buffer]) -> None:
            # A crash may leave any part of what is written.
            whole = b"".join(parts)
            super().write([whole[: len(whole) // 2]])
            faults(f"vault: half of {self._kind} written")
            super().write([whole[len(whole) // 2 :]])

        def sync(self) -> None:
            faults(f"vault: sync {self._kind}")
            super().sync()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_file, "sqlite3", _Sqlite(faults.of_state))
        patch.setattr(ledger_store, "sqlite3", _Sqlite(lambda what: faults(f"ledger: {what}")))
        patch.setattr(vault_store, "LocalSink", Sink)
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        yield


def full(name: str = "SQLITE_FULL") -> sqlite3.OperationalError:
    """What SQLite says of a disk: SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR."""
    error = sqlite3.OperationalError("made by a test")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error
