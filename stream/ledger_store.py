"""How rows get into the ledger's database and out of it in bulk, on SQLite and on PostgreSQL.

SQLAlchemy's own result rows cost more than all the rest of it, so whole columns go through the
driver: many rows in one INSERT on SQLite, a binary COPY on PostgreSQL, plain tuples on the way out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from enum import Enum
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Executable,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    column,
    create_engine,
    event,
    func,
    literal_column,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeEngine

from reassoc.core.errors import ReassocError
from reassoc.stream.postgres_arrays import (
    PostgresArray,
    big_array,
    big_array_with_none,
    bytes_array,
    let_send,
    text_array,
)
from reassoc.stream.sums import HALF_BITS, HALF_MASK

STATEMENT_ROWS = 64
"""Rows of one INSERT on SQLite: half the time of one row each; more of them gain little."""
CACHE_KIB = 64 << 10
"""Page cache of one SQLite connection."""
MAPPED_BYTES = 1 << 30
"""Bytes of a SQLite file that are read as memory: large values then cost one copy, not two."""
STATEMENT_ARRAY_ROWS = 1 << 16
"""Rows of one INSERT on PostgreSQL."""
COPY_ROWS = 512
"""Rows of whole numbers from which on PostgreSQL takes them faster by COPY than with others in one
statement."""
LOOKUP_ROWS = 5000
"""Keys that one statement asks for."""
CHECKPOINT_PAGES = 1 << 14
"""Pages of 4 KiB in SQLite's log after which a commit brings them into the file: 64 MiB, so that a
batch seldom waits for that."""
BUSY_TIMEOUT_MS = 60_000
LOCK_WAIT_MS_MAX = 60_000
"""Waiting for other writers on PostgreSQL."""
PAUSE_MS_MAX = 120_000
"""How long a transaction on PostgreSQL may lie idle: a writer that was stopped in the middle of one
is thrown out by then, and the others go on."""
STATEMENT_MS_MAX = 1_800_000
"""One statement on PostgreSQL: a report over years takes minutes."""
CONNECT_SECONDS_MAX = 10
SILENCE_MS_MAX = 60_000
"""Without an answer for so long, a connection to PostgreSQL counts as lost."""
POSTGRES_CONNECTIONS_MAX = 16
"""Connections of one process; more callers wait for one of them."""
WRITES = "reassoc_writes"
"""Execution option of a connection whose transactions begin with the right to write: ALONE, or with
others where the database can (ADDS)."""
ALONE, ADDS = "alone", "adds"
WRITE_LOCK_KEY = 0x7265_6173_736F_63
"""Advisory lock that a writing transaction takes on PostgreSQL: batch numbers have no gaps."""

CONFLICTS_MAX = 4
"""How often a transaction is tried that others are in the way of."""

Numbers = npt.NDArray[np.int64]
Result = TypeVar("Result")


class LedgerError(ReassocError):
    """The ledger refused a call, or it is not what it should be; nothing was changed."""


class LedgerUrlError(LedgerError):
    """A URL that can be no ledger's."""


class ConflictError(OSError):
    """Others were in the way of a transaction; nothing was changed, and it may be tried again."""


def retried(work: Callable[[], Result]) -> Result:
    """What `work` gives, which is one transaction: it is tried CONFLICTS_MAX times. Raises
    ConflictError at the last."""
    for _ in range(CONFLICTS_MAX - 1):
        with suppress(ConflictError):
            return work()
    return work()


def make_engine(url: str, *, read_only: bool) -> Engine:
    """An engine for a SQLite file or a PostgreSQL database; nothing is connected yet.

    Raises LedgerError for a URL of another kind, and where a file that is only to be read is not
    there.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerUrlError("the ledger's URL cannot be read: expected sqlite:///FILE") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(parsed, read_only)
    if backend == "postgresql":
        return _postgres_engine(parsed)
    raise LedgerUrlError(
        "a ledger lies in SQLite or PostgreSQL: expected sqlite:/// or postgresql://"
    )


def _sqlite_engine(url: URL, read_only: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise LedgerUrlError("the ledger's URL names no file: expected sqlite:///FILE")
    path = Path(url.database)
    if read_only and not path.is_file():
        raise LedgerError("there is no ledger here yet: it is made when the warehouse first runs")
    mode = "ro" if read_only else "rwc"
    target = f"{path.absolute().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        # Autocommit, as far as the driver goes: transactions begin in `_begin_sqlite`.
        return sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)

    engine = create_engine(url, creator=connect, poolclass=QueuePool, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite if not read_only else _set_up_reader)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres_engine(url: URL) -> Engine:
    # What a writer sees once it has the lock must be what the writers before it have left.
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_size=POSTGRES_CONNECTIONS_MAX,
        max_overflow=0,
        connect_args={
            "connect_timeout": CONNECT_SECONDS_MAX,
            "keepalives_idle": SILENCE_MS_MAX // 2000,
            "tcp_user_timeout": SILENCE_MS_MAX,
        },
    )
    event.listen(engine, "connect", _set_up_postgres)
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _set_up_postgres(connection: Any, _: object) -> None:
    let_send(connection)
    for name, milliseconds in (
        ("statement_timeout", STATEMENT_MS_MAX),
        ("lock_timeout", LOCK_WAIT_MS_MAX),
        ("idle_in_transaction_session_timeout", PAUSE_MS_MAX),
    ):
        connection.execute("SELECT set_config(%s, %s, false)", (name, str(milliseconds)))
    connection.commit()


def _set_up_reader(connection: sqlite3.Connection, _: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    _set_up_reader(connection, record)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _begin_sqlite(connection: Connection) -> None:
    writes = WRITES in connection.get_execution_options()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES) == ALONE:
        driver_of(connection).execute(f"SELECT pg_advisory_xact_lock({WRITE_LOCK_KEY})")


def checkpoint(engine: Engine) -> None:
    """Bring SQLite's log into the file, as far as nobody reads or writes what is in it."""
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")


def is_sqlite(connection: Connection) -> bool:
    """Which of the two it is."""
    return connection.dialect.name == "sqlite"


class Conflict(Enum):
    """What becomes of a row whose primary key is there already."""

    FAILS = ""
    STAYS = "OR IGNORE"
    REPLACES = "OR REPLACE"


class Inserts:
    """Rows on their way into tables of one transaction: `flush` brings all of them. On PostgreSQL
    that is one statement, but for large tables: a call of the database costs more than many rows.

    Rows are checked by the database at `flush`: what is asked of it before does not see them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers: dict[Table, list[Numbers]] = {}
        self._rows: dict[tuple[Table, Conflict], list[Sequence[Any]]] = {}

    def numbers(self, table: Table, values: Numbers) -> None:
        """Rows of whole numbers.

        values : int64[n, k]    k columns in the order of the table
        """
        if len(values):
            self._numbers.setdefault(table, []).append(values)

    def rows(
        self, table: Table, rows: Sequence[Sequence[Any]], conflict: Conflict = Conflict.FAILS
    ) -> None:
        """Rows with texts, all columns in the order of the table. conflict : STAYS leaves a row
        that is there as it is. Rows that REPLACES have different keys."""
        if rows:
            self._rows.setdefault((table, conflict), []).extend(rows)

    def flush(self) -> None:
        """Insert what was collected. O(rows), a copy of the numbers beside them.

        A table that is nothing but its key gets its rows in the order of the key: neighbours then
        go to the same page.
        """
        numbers = {table: np.concatenate(parts) for table, parts in self._numbers.items()}
        for table, values in numbers.items():
            if len(table.primary_key) == len(table.columns):
                numbers[table] = values[np.lexsort(values.T[::-1])]
        rows = self._rows
        self._numbers, self._rows = {}, {}
        if is_sqlite(self._connection):
            for table, values in numbers.items():
                _insert_sqlite(self._connection, table, values)
            for (table, conflict), some in rows.items():
                _insert_sqlite_rows(self._connection, table, some, conflict)
        else:
            _insert_together(self._connection, numbers, rows)


def _insert_sqlite(connection: Connection, table: Table, values: Numbers) -> None:
    """Insert rows of whole numbers, a list of STATEMENT_ROWS rows at a time."""
    cursor = driver_of(connection).cursor()
    count, width = values.shape
    whole = count - count % STATEMENT_ROWS
    if whole:
        groups = values[:whole].reshape(-1, STATEMENT_ROWS * width).tolist()
        cursor.executemany(_sqlite_insert(table, STATEMENT_ROWS), groups)
    if whole < count:
        cursor.executemany(_sqlite_insert(table, 1), values[whole:].tolist())
    cursor.close()


def _insert_sqlite_rows(
    connection: Connection, table: Table, rows: Sequence[Sequence[Any]], conflict: Conflict
) -> None:
    cursor = driver_of(connection).cursor()
    cursor.executemany(_sqlite_insert(table, 1, conflict.value), rows)
    cursor.close()


def fetch(
    connection: Connection,
    statement: Executable,
    values: Mapping[str, Any] | None = None,
    *,
    once: bool = False,
) -> list[tuple[Any, ...]]:
    """All rows of a statement as plain tuples of what the driver gives. `once`: the statement holds
    its values and is never seen again."""
    options: dict[str, Any] = {"compiled_cache": None} if once else {}
    result = connection.execute(statement, values or {}, execution_options=options)
    cursor = result.cursor
    assert cursor is not None
    rows = cast("list[tuple[Any, ...]]", cursor.fetchall())
    result.close()
    return rows


def ask(
    connection: Connection, statement: str, values: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """All rows of a statement in SQL that both databases understand, `?` for each value.

    For what every publishing asks: SQLAlchemy takes longer over a statement than the database.
    """
    if not is_sqlite(connection):
        statement = statement.replace("?", "%s")
    cursor = driver_of(connection).cursor()
    cursor.execute(statement, values)
    rows = cast("list[tuple[Any, ...]]", cursor.fetchall())
    cursor.close()
    return rows


def values_text(*columns: npt.NDArray[np.int64]) -> Iterator[str]:
    """Keys as tables in SQL, LOOKUP_ROWS at a time: `column1`, `column2`... of VALUES. They stand
    in the text, ten times as fast as bound ones."""
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for piece in pieces(len(rows), LOOKUP_ROWS):
        yield "VALUES " + ", ".join(f"({', '.join(map(str, row))})" for row in rows[piece])


def wanted_rows(*columns: npt.NDArray[np.int64]) -> Iterator[CTE]:
    """`values_text` as tables to join with, named `wanted`: `fetch` with `once`."""
    names = [column(f"column{place}", BigInteger()) for place in range(1, len(columns) + 1)]
    for values in values_text(*columns):
        yield text(values).columns(*names).cte("wanted")


def whole_numbers(rows: Sequence[tuple[Any, ...]], width: int) -> Numbers | None:
    """int64[n, width] of fetched rows; None where one of the values is no whole number."""
    if not rows:
        return np.zeros((0, width), np.int64)
    # A database may hold anything once somebody has changed it: 1.5 must not become 1.
    if set(map(type, chain.from_iterable(rows))) != {int}:
        return None
    flat = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * width)
    return flat.reshape(len(rows), width)


def pieces(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def driver_of(connection: Connection) -> Any:
    """The driver's own connection, for what SQLAlchemy does row by row."""
    return connection.connection.driver_connection


@cache
def _sqlite_insert(table: Table, rows: int, choice: str = "") -> str:
    row = f"({', '.join('?' * len(table.columns))})"
    return f'INSERT {choice} INTO "{table.name}" VALUES {", ".join([row] * rows)}'


def _insert_together(
    connection: Connection,
    numbers: Mapping[Table, Numbers],
    rows: Mapping[tuple[Table, Conflict], Sequence[Sequence[Any]]],
) -> None:
    """Insert into several tables of PostgreSQL: large tables first, the others by one statement."""
    parts: list[str] = []
    arrays: list[PostgresArray] = []
    # Not `executemany`: behind psycopg's pipeline PostgreSQL may not notice that a session pauses.
    with driver_of(connection).cursor(binary=True) as cursor:
        for table, values in numbers.items():
            if len(values) >= COPY_ROWS:
                _copy_postgres(connection, table, values)
                continue
            parts.append(_insert_of_numbers(table))
            arrays.append(big_array(values.ravel()))
        for (table, conflict), some in rows.items():
            statement = _insert_of_rows(table, conflict)
            for piece in pieces(len(some), STATEMENT_ARRAY_ROWS):
                columns = zip(*some[piece], strict=True)
                made = [
                    _array_of(each.type, values)
                    for each, values in zip(table.columns, columns, strict=True)
                ]
                if piece.stop < len(some):
                    cursor.execute(statement, made, prepare=True)
                else:
                    parts.append(statement)
                    arrays += made
        if parts:
            cursor.execute(_joined(tuple(parts)), arrays, prepare=True)


@cache
def _insert_of_numbers(table: Table) -> str:
    """Rows as one flat array: making one array costs as much for a row as for many."""
    width = len(table.columns)
    values = ", ".join(f"flat[at + {place}]" for place in range(width))
    return (
        f'INSERT INTO "{table.name}" SELECT {values} FROM (SELECT %s AS flat) AS given, '
        f"generate_series(1, array_length(flat, 1), {width}) AS at"
    )


@cache
def _insert_of_rows(table: Table, conflict: Conflict) -> str:
    names = ", ".join(["%s"] * len(table.columns))
    insert = f'INSERT INTO "{table.name}" SELECT * FROM unnest({names})'
    if conflict is Conflict.FAILS:
        return insert
    if conflict is Conflict.STAYS:
        return f"{insert} ON CONFLICT DO NOTHING"
    keys = ", ".join(f'"{each.name}"' for each in table.primary_key)
    more = [f'"{each.name}"' for each in table.columns if not each.primary_key]
    changes = ", ".join(f"{name} = excluded.{name}" for name in more)
    return f"{insert} ON CONFLICT ({keys}) DO UPDATE SET {changes}"


@lru_cache(maxsize=256)
def _joined(inserts: tuple[str, ...]) -> str:
    """Several INSERTs, of different tables, as one statement."""
    parts = [f"part{place} AS ({each})" for place, each in enumerate(inserts[:-1])]
    return f"WITH {', '.join(parts)} {inserts[-1]}" if parts else inserts[-1]


def _array_of(kind: TypeEngine[Any], values: Sequence[Any]) -> PostgresArray:
    """Values of a column as an array."""
    if isinstance(kind, LargeBinary):
        return bytes_array(values)
    if isinstance(kind, String):
        return text_array(values)
    return big_array_with_none(values) if None in values else big_array(values)


def _copy_postgres(connection: Connection, table: Table, values: Numbers) -> None:
    """COPY in PostgreSQL's binary form: a count of fields, then length and value of each, all
    big-endian."""
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for each in table.columns:
        size = 8 if isinstance(each.type, BigInteger) else 4
        size = 2 if isinstance(each.type, SmallInteger) else size
        fields += [(f"{each.name} size", ">i4"), (each.name, f">i{size}")]
    rows = np.empty(len(values), np.dtype(fields))
    rows["count"] = len(table.columns)
    for place, each in enumerate(table.columns):
        rows[f"{each.name} size"] = rows.dtype[each.name].itemsize
        rows[each.name] = values[:, place]
    with (
        driver_of(connection).cursor() as cursor,
        cursor.copy(f'COPY "{table.name}" FROM STDIN (FORMAT BINARY)') as copy,
    ):
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        copy.write(rows.tobytes())
        copy.write(b"\xff\xff")


# ---- sums ----


def sum_halves(cents: ColumnElement[int]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """The sum of a column as two, for `whole_sum`: one above int64 ends a statement of SQLite."""
    high = func.coalesce(func.sum(cents.op(">>")(literal_column(str(HALF_BITS)))), 0)
    low = func.coalesce(func.sum(cents.op("&")(literal_column(str(HALF_MASK)))), 0)
    return high, low
