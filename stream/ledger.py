"""The ledger: the append-only truth of the warehouse, for auditors.

Every step of every tenant is one batch of rows, hash-chained to the batch before it
(`ledger_chain.py`). It lies in SQLite (a file of its own, WAL, every commit synced) or PostgreSQL.
One writer at a time appends, of however many processes; readers read meanwhile. What can be asked
of it is in `ledger_views.py` (people), `ledger_history.py` (the matcher) and `ledger_audit.py`
(auditors).
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger_append import (
    Appender,
    CheckedBatch,
    ControlNumberRow,
    RandomBytes,
    Rows,
    check_batch,
    read_head,
)
from reassoc.stream.ledger_chain import (
    ReleaseEventRow,
    ReleaseFileRow,
)
from reassoc.stream.ledger_open import (
    count_pending,
    fold_open,
    is_fold_due,
)
from reassoc.stream.ledger_rows import LedgerBatch
from reassoc.stream.ledger_store import (
    ADDS,
    ALONE,
    LOCK_WAIT_MS_MAX,
    WRITES,
    ConflictError,
    LedgerError,
    checkpoint,
    fetch,
    is_sqlite,
    make_engine,
    retried,
    wanted_rows,
)
from reassoc.stream.sqlite_file import sqlite_advice

REVISION = "0004"
"""The schema that this version writes: the newest of `migrations/versions`."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """What lay beside the columns of a tenant's open items after its batch `sequence`."""

    sequence: int
    changes: int
    batches: int
    item_count: int


class Ledger:
    """A ledger that is open. Any thread may call any method.

    Raises LedgerError where a call is refused, OSError where the database fails; neither changes
    anything.
    """

    def __init__(self, engine: Engine, random_bytes: RandomBytes) -> None:
        self._engine = engine
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}

    @classmethod
    def open(
        cls, url: str, *, read_only: bool = False, random_bytes: RandomBytes = secrets.token_bytes
    ) -> Ledger:
        """Open (and make, and bring up to date) a ledger.

        url : sqlite:///FILE or postgresql://...    random_bytes : makes salts

        Raises LedgerError for a ledger that a newer version has written, and, read-only, for one
        that is not there or of an older version.
        """
        ledger = cls(make_engine(url, read_only=read_only), random_bytes)
        try:
            ledger._check_schema(read_only)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Let go of files and connections."""
        self._engine.dispose()

    def checkpoint(self) -> None:
        """Bring what SQLite has logged into the file now, so that nobody waits for it later."""
        with self._translated():
            checkpoint(self._engine)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one moment of the ledger throughout."""
        with self._translated(), self._engine.connect() as connection:
            if not is_sqlite(connection):
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that alone may write; committed at the end of the block,
        undone where that raises. For the release book; everybody else calls `append`."""
        with self._lock, self._translated(), self._engine.connect() as connection:
            connection.execution_options(**{WRITES: ALONE})
            with connection.begin():
                yield connection

    @contextmanager
    def adding(self) -> Iterator[Connection]:
        """The same for tables beside the ledger: on PostgreSQL others write meanwhile."""
        if self.is_embedded:
            with self.writing() as connection:
                yield connection
            return
        with self._translated(), self._engine.connect() as connection:
            connection.execution_options(**{WRITES: ADDS})
            with connection.begin():
                yield connection

    @property
    def is_embedded(self) -> bool:
        """Whether it lies in a file of this machine, and not on a server that others share."""
        return self._engine.dialect.name == "sqlite"

    def new_session(self) -> Any:
        """A connection of psycopg's beside all others, each statement a transaction: for locks that
        a session holds. Whoever asks for it closes it. Not where the ledger is embedded."""
        with self._translated():
            pooled = self._engine.raw_connection()
            session = pooled.driver_connection
            pooled.detach()
            assert session is not None
            session.autocommit = True
            return session

    # ---- appending ----

    def append(self, sequence: int, batch: LedgerBatch) -> bool:
        """Write one batch, durably, whole or not at all; see `append_many`."""
        return self.append_many([(sequence, batch)])[0]

    def append_many(self, entries: Sequence[tuple[int, LedgerBatch]]) -> list[bool]:
        """Write batches of any tenants in one transaction.

        sequence : the outbox's, 1, 2, 3... in each tenant; batches of one tenant come in order

        -> for each whether it was written; False for a sequence that is there already. Raises
        LedgerError for a gap, for a known sequence with other content, for a batch that cannot be
        read, LimitError above BATCH_ROWS_MAX. About 2 microseconds a row.
        """
        checked = [(sequence, check_batch(batch)) for sequence, batch in entries]
        return retried(lambda: self._append(checked))

    def _append(self, checked: Sequence[tuple[int, CheckedBatch]]) -> list[bool]:
        with self.writing() as connection:
            appender = Appender(connection, self._random_bytes)
            answer = [appender.append(sequence, batch) for sequence, batch in checked]
            appender.flush()
            pending = self._keep_open(connection, appender)
        self._pending |= pending
        return answer

    def append_release(
        self,
        connection: Connection,
        *,
        day: int,
        as_of: str,
        files: Sequence[ReleaseFileRow] = (),
        tenants: Sequence[str] = (),
        items: Rows | None = None,
        events: Sequence[ReleaseEventRow] = (),
        control_numbers: Sequence[ControlNumberRow] = (),
    ) -> int:
        """Write rows of the release book as one batch of its chain; its sequence.

        connection : of `writing`; nothing is durable before its block has ended
        day, as_of : the day, and when (ISO 8601)
        tenants, items : name and RELEASE_ITEM_ROW of each item
        control_numbers : how far they are used by now, in no chain

        Raises LedgerError where a file's name or number, or an item's sending, is there already.
        """
        appender = Appender(connection, self._random_bytes)
        return appender.append_release(day, as_of, files, (tenants, items), events, control_numbers)

    def _keep_open(self, connection: Connection, appender: Appender) -> dict[str, _Pending]:
        """Fold the open items of tenants whose changes have become many; what then is pending."""
        answer = {}
        for tenant in appender.tenants():
            added, batches = appender.open_changes.get(tenant, (0, 0))
            known = self._pending.get(tenant)
            # Another process may have written for the tenant since, and folded.
            if known is not None and known.sequence == appender.first_head(tenant).sequence:
                changes, before = known.changes + added, known.batches + batches
                item_count = known.item_count
            elif not batches:
                continue
            else:
                changes, before, item_count = count_pending(connection, tenant)
            sequence = appender.head(tenant).sequence
            if is_fold_due(changes, before, item_count):
                changes, before = 0, 0
                item_count = fold_open(connection, tenant, sequence)
            answer[tenant] = _Pending(sequence, changes, before, item_count)
        return answer

    # ---- asking ----

    def last_sequence(self, tenant: str) -> int:
        """The sequence of the tenant's last batch, 0 for none."""
        with self.reading() as connection:
            return read_head(connection, tenant).sequence

    def heads(self) -> dict[str, tuple[int, bytes]]:
        """(sequence, hash) of the last batch of each chain, by tenant; RELEASE_CHAIN is the release
        book's. Worth noting elsewhere: nothing else shows that the newest batches were cut off."""
        batch = schema.batch
        last = (
            select(batch.c.tenant, func.max(batch.c.sequence).label("sequence"))
            .group_by(batch.c.tenant)
            .subquery()
        )
        statement = select(batch.c.tenant, batch.c.sequence, batch.c.hash).join(
            last, (last.c.tenant == batch.c.tenant) & (last.c.sequence == batch.c.sequence)
        )
        with self.reading() as connection:
            return {row[0]: (row[1], bytes(row[2])) for row in fetch(connection, statement)}

    def source_names(self, prefixes: Sequence[int]) -> dict[int, str]:
        """Names of files as they came, by the first 8 bytes of their digests (uint64); unknown ones
        are left out."""
        table = schema.source_file
        found: dict[int, str] = {}
        with self.reading() as connection:
            for wanted in wanted_rows(np.array(prefixes, np.uint64).view(np.int64)):
                named = wanted.join(table, table.c.digest_prefix == wanted.c.column1)
                statement = select(table.c.digest_prefix, table.c.name).select_from(named)
                for prefix, name in fetch(connection, statement, once=True):
                    found[prefix & 0xFFFF_FFFF_FFFF_FFFF] = name
        return found

    def backup_to(self, path: Path) -> None:
        """Copy a SQLite ledger as it is at one moment into a new file, while others write.

        Raises LedgerError for PostgreSQL, and where the file is there already.
        """
        with self._engine.connect() as connection, self._translated():
            if not is_sqlite(connection):
                raise LedgerError("a ledger on PostgreSQL is backed up with pg_dump")
            if path.exists():
                raise LedgerError("the file that the ledger is to be copied to is there already")
            target = sqlite3.connect(path)
            try:
                source = connection.connection.driver_connection
                assert isinstance(source, sqlite3.Connection)
                source.backup(target)
            finally:
                target.close()

    # ---- schema ----

    def _check_schema(self, read_only: bool) -> None:
        with self.reading() as connection:
            found = _revision(connection)
        if found == REVISION:
            return
        if found is not None and found > REVISION:
            raise LedgerError(
                f"the ledger has schema {found}, this version knows {REVISION}: "
                "it was written by a newer version; install that one"
            )
        if read_only and found is None:
            raise LedgerError(
                "there is no ledger here yet: it is made when the warehouse first runs"
            )
        if read_only:
            raise LedgerError(
                "the ledger has an older schema: start the warehouse once to raise it"
            )
        if found is None:
            self._make_schema()
            return
        with self.writing() as connection:
            raise_schema(connection)

    def _make_schema(self) -> None:
        """The tables of an empty database, as all migrations make them one after the other."""
        with self.writing() as connection:
            # Another process may have been faster.
            if _revision(connection) is None:
                schema.metadata.create_all(connection)
                stamp = Table(
                    "alembic_version",
                    MetaData(),
                    Column("version_num", String(32), nullable=False),
                    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
                )
                stamp.create(connection)
                connection.execute(stamp.insert().values(version_num=REVISION))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the database as ours. Their texts never leave: some hold values of rows."""
        driver = self._engine.dialect.dbapi
        assert driver is not None
        try:
            yield
        except (DBAPIError, driver.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            name = type(cause).__name__
            if isinstance(cause, driver.IntegrityError):
                raise LedgerError(
                    "the ledger has a row with one of these numbers or names already: "
                    "another writer, or a repeat that is none"
                ) from None
            if name in ("DeadlockDetected", "SerializationFailure"):
                raise ConflictError(f"others were in the way in the ledger ({name})") from None
            if name == "LockNotAvailable":
                raise OSError(
                    "the ledger's database kept others' lock for LOCK_WAIT_MS_MAX "
                    f"({LOCK_WAIT_MS_MAX} ms): it is tried again; look who writes so long"
                ) from None
            if _never_connected(error, name):
                raise OSError(
                    f"the ledger's database cannot be reached: {' '.join(str(cause).split())}"
                ) from None
            if isinstance(cause, sqlite3.Error):
                file = self._engine.url.database
                raise OSError(f"the ledger {file}: {sqlite_advice(cause)}") from None
            raise OSError(f"the ledger's database failed ({name})") from None
        except PoolTimeoutError:
            raise OSError("the ledger's connections were all in use for too long") from None


def _never_connected(error: Exception, name: str) -> bool:
    """Whether a server refused or was not there: what it says then is of places and users."""
    if not isinstance(error, DBAPIError) or error.statement is not None:
        return False
    return name == "OperationalError" and not isinstance(error.orig, sqlite3.Error)


def _revision(connection: Connection) -> str | None:
    """The schema that a database has; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    rows = fetch(connection, text("SELECT version_num FROM alembic_version"))
    return str(rows[0][0]) if rows else None


def raise_schema(connection: Connection) -> None:
    """Bring the tables of a database up to REVISION, by its migrations, from whatever they are."""
    # Imported late: it takes as long as all else that a command loads, and is needed once.
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
