"""One SQLite file as the engine uses it: the settings that make it safe, who may write, and errors
that say what to do.

State and item log share one file, and other processes append to it while the engine runs. So there
is one writer at a time in a process, behind a lock, and each of its transactions takes the file's
write lock at once (BEGIN IMMEDIATE): it waits where it can still wait. Readers have connections of
their own and see a snapshot (WAL), whatever is written meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from reassoc.core.errors import ReassocError

APPLICATION_ID = 0x52454153
"""In the file's header: it is one of ours ("REAS")."""
SCHEMA_VERSION = 1
"""In the file's header: what the tables look like. A file of a newer one is refused."""
BUSY_WAIT_MS_MAX = 20_000
"""Waiting for another process's transaction; they last a second at the very most."""
OPEN_ATTEMPTS_MAX = 100
"""Two processes that make one file meet without a wait of SQLite's own; then it is tried again."""
OPEN_PAUSE_MS = 50
PAGE_BYTES = 8192
WRITER_CACHE_BYTES = 256 << 20
READER_CACHE_BYTES = 16 << 20
READERS_MAX = 8
"""Connections that read at once; more callers wait for one of them."""
CHECKPOINT_BYTES = 256 << 20
"""Bytes of log (the -wal file) after which a commit brings them into the file itself. A large step
changes most pages of the index: so the next one finds them in the log, and they are moved once."""


class StoreError(ReassocError):
    """The store itself failed (disk, lock, damage): nothing was changed, and it may be tried again
    once the message's advice was followed."""


_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: make room and try again",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the rights of the file and its folder",
    sqlite3.SQLITE_PERM: "it cannot be used: check the rights of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check its folder, and rights and open files",
    sqlite3.SQLITE_BUSY: f"another process kept it locked for {BUSY_WAIT_MS_MAX} ms: end what "
    "holds it, or try again",
    sqlite3.SQLITE_LOCKED: "it is locked: try again",
    sqlite3.SQLITE_CORRUPT: "it is damaged: stop, keep it aside, and restore the last backup",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file, or damaged: keep it aside, and restore the last "
    "backup",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: look at the system's log, and verify "
    "the file before it is used again",
    sqlite3.SQLITE_TOOBIG: "a value is too big for SQLite: hand in less at a time",
}


def sqlite_advice(error: sqlite3.Error) -> str:
    """What a person can do about an error of SQLite. Its own text stays out: it may quote data."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    advice = _ADVICE.get(code & 0xFF, "SQLite refused a statement: verify the file")
    return f"{advice} ({name})"


class SqliteFile:
    """An open file. Every method may be called from any thread.

    path : the file, made with rights for its owner only where it is missing (its folder must exist)

    Raises StoreError where it cannot be used, is another program's, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._readers = threading.BoundedSemaphore(READERS_MAX)
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._make()
        self._writer: sqlite3.Connection | None = self._open_writer()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer: committed durably at the end, undone by any exception.

        Not to be nested. Keep it short: other threads and processes wait for it.
        """
        with self._write_lock, self._telling():
            if self._closed:
                raise self._closed_error()
            if self._writer is None:
                self._writer = self._open_writer()
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._undo(connection)
                raise

    def _undo(self, connection: sqlite3.Connection) -> None:
        """Leave the writer without a transaction, whatever it takes."""
        try:
            if connection.in_transaction:  # a full disk, say, has ended it already
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            self._writer = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A snapshot to read from: what was committed when its first statement began."""
        with self._readers, self._telling():
            connection = self._take_reader()
            try:
                connection.execute("BEGIN")
                yield connection
            except sqlite3.Error:
                connection.close()
                raise
            finally:
                self._give_back(connection)

    def _take_reader(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._closed:
                raise self._closed_error()
            if self._idle:
                return self._idle.pop()
        connection = self._connect(READER_CACHE_BYTES)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        """Keep a reader that is well for the next one who asks."""
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:  # closed after an error
            connection.close()
            return
        with self._pool_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def make_tables(self, statements: Sequence[str]) -> None:
        """Make tables that are missing, by statements that do nothing where they are there."""
        with self.write() as connection:
            for statement in statements:
                connection.execute(statement)

    def verify(self) -> None:
        """Read the whole file and check its structure. Raises StoreError where it is damaged."""
        with self.read() as connection:
            answers = connection.execute("PRAGMA quick_check(1)").fetchall()
        if answers != [("ok",)]:
            raise StoreError(f"{self.path}: {_ADVICE[sqlite3.SQLITE_CORRUPT]} (quick_check)")

    def backup_to(self, path: Path) -> None:
        """Write a copy of one moment, while others go on writing; it has its name once it is whole
        and on disk. Raises StoreError where the name is taken or the copy cannot be written."""
        if path.exists():
            raise StoreError(f"{path}: is there already: name a file that is not")
        partial = path.with_name(f"{path.name}.partial")
        try:
            partial.unlink(missing_ok=True)
            _make_private(partial)
            with self.read() as source:
                try:
                    with closing(sqlite3.connect(partial)) as target:
                        source.backup(target)
                        # A backup is one file: without this, reading it would need a second.
                        target.execute("PRAGMA journal_mode=DELETE")
                except sqlite3.Error as error:
                    raise StoreError(f"{partial}: {sqlite_advice(error)}") from error
            os.replace(partial, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror or 'failed'}") from error

    def checkpoint(self) -> None:
        """Bring the log into the file, as far as nobody reads what is before it."""
        with self._write_lock, self._telling():
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection; one that reads is closed when it is done. Twice does nothing."""
        with self._write_lock, self._pool_lock:
            self._closed = True
            connections = [*self._idle, *([self._writer] if self._writer else [])]
            self._idle.clear()
            self._writer = None
            # The writer is the last one: it brings the log into the file and takes it away.
            for connection in connections:
                connection.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Errors of SQLite in our words. What the caller did wrong with its interface passes."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError):
                raise
            raise StoreError(f"{self.path}: {sqlite_advice(error)}") from error

    def _closed_error(self) -> StoreError:
        return StoreError(f"{self.path}: was closed: open it again")

    def _make(self) -> None:
        try:
            _make_private(self.path)
        except FileExistsError:
            return
        except OSError as error:
            reason = error.strerror or "failed"
            raise StoreError(f"{self.path}: cannot be made: {reason}: check its folder") from error

    def _connect(self, cache_bytes: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_WAIT_MS_MAX / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA cache_size={-(cache_bytes >> 10)}")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA temp_store=MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_writer(self) -> sqlite3.Connection:
        with self._telling():
            connection = self._connect(WRITER_CACHE_BYTES)
            try:
                # Before anything is changed in a file that may be somebody else's.
                self._check_header(connection)
                connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
                _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL"))
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // PAGE_BYTES}")
                connection.execute(f"PRAGMA journal_size_limit={CHECKPOINT_BYTES}")
                self._sign(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _sign(self, connection: sqlite3.Connection) -> None:
        """Write our marks into a new file's header."""
        if self._check_header(connection):
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def _check_header(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is signed: False for a new one."""
        application, version, tables = _header_of(connection)
        if (application, version, tables) == (0, 0, 0):
            return False
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path}: is another program's SQLite file: name another file")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: has version {version} of the tables, this program knows "
                f"{SCHEMA_VERSION}: use the newer program that made it"
            )
        return True


def _header_of(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application, version and number of tables, as they were at one moment: another process may
    be signing the file and making its tables, and half of each is no file of anybody's."""
    connection.execute("BEGIN")
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        connection.execute("ROLLBACK")
    return application, version, tables


def _make_private(path: Path) -> None:
    """An empty file that only its owner may read: account numbers will stand in it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _patiently(call: Callable[[], object]) -> None:
    """Call again while another process makes the same file: SQLite does not wait for that."""
    for attempt in range(1, OPEN_ATTEMPTS_MAX + 1):
        try:
            call()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == OPEN_ATTEMPTS_MAX:
                raise
            time.sleep(OPEN_PAUSE_MS / 1000)
        else:
            return


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable."""
    with suppress(OSError):  # not every filesystem can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
