"""The ledger: the append-only truth of the warehouse, for auditors.

Every step of every tenant is one batch of rows, hash-chained to the batch before it
(`ledger_chain.py`). It lies in SQLite (a file of its own, WAL, every commit synced) or PostgreSQL.
One writer at a time appends; readers open it read-only meanwhile. What can be asked of it is in
`ledger_views.py` (people), `ledger_history.py` (the matcher) and `ledger_audit.py` (auditors).
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Engine, Table, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from reassoc.core.errors import LimitError
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger_chain import (
    DECISION_KINDS,
    FIRST_HASH,
    NUMBER_TABLES,
    SALT_BYTES,
    Header,
    ReleaseEventRow,
    ReleaseFileRow,
    TableHash,
    as_numbers,
    batch_hash,
    decision_values,
    hash_values,
    row_numbers,
    text_hash,
)
from reassoc.stream.ledger_open import (
    Details,
    Keys,
    count_pending,
    decode_details,
    find_changes,
    fold_open,
    hash_details,
    is_fold_due,
    reopen,
    write_changes,
)
from reassoc.stream.ledger_rows import DETAIL_TEXTS, LedgerBatch, rows_of
from reassoc.stream.ledger_schema import BATCH_NUMBER_MAX, BATCH_ROWS_MAX, RELEASE_CHAIN
from reassoc.stream.ledger_store import (
    WRITES,
    LedgerError,
    Numbers,
    fetch,
    insert_keys,
    insert_numbers,
    insert_rows,
    is_sqlite,
    make_engine,
    wanted_rows,
)

REVISION = "0001"
"""The schema that this version writes: the newest of `migrations/versions`."""
CAUSES = ("items", "decision", "clock", "settings")
RELEASE_CAUSE = "release"
TENANT_CHARS_MAX = 200
_AS_OF = re.compile(r"[0-9TZ:.+ -]{0,40}")

KEY_TABLES = (schema.item_place, schema.item_business, schema.item_trace, schema.mention)

RandomBytes = Callable[[int], bytes]
Rows = npt.NDArray[Any]


@dataclass(slots=True)
class _Head:
    """The end of a chain."""

    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class _Checked:
    """A batch whose tables were read and checked; nothing of it needs the database any more."""

    batch: LedgerBatch
    tables: dict[str, Rows]
    details: Details

    def row_count(self) -> int:
        rows = sum(len(table) for table in self.tables.values())
        return rows + len(self.batch.decisions)


class Ledger:
    """A ledger that is open. Any thread may call any method.

    Raises LedgerError where a call is refused, OSError where the database fails; neither changes
    anything.
    """

    def __init__(self, engine: Engine, random_bytes: RandomBytes) -> None:
        self._engine = engine
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._pending: dict[str, tuple[int, int, int]] = {}

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
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

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
        checked = [(sequence, _check(batch)) for sequence, batch in entries]
        with self.writing() as connection:
            appender = _Appender(connection, self._random_bytes)
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
    ) -> int:
        """Write rows of the release book as one batch of its chain; its sequence.

        connection : of `writing`; nothing is durable before its block has ended
        day, as_of : the day, and when (ISO 8601)
        tenants, items : name and RELEASE_ITEM_ROW of each item

        Raises LedgerError where a file's name or number, or an item's sending, is there already.
        """
        rows = np.zeros(0, schema.RELEASE_ITEM_ROW) if items is None else items
        numbers = as_numbers(rows).tolist()
        tables: list[tuple[Table, list[tuple[Any, ...]]]] = [
            (schema.release_file, [_values(row) for row in files]),
            (
                schema.release_item,
                [(tenant, *row) for tenant, row in zip(tenants, numbers, strict=True)],
            ),
            (schema.release_event, [_values(row) for row in events]),
        ]
        appender = _Appender(connection, self._random_bytes)
        head = appender.head(RELEASE_CHAIN)
        count = sum(len(values) for _, values in tables)
        header = Header(
            appender.next_number(), RELEASE_CHAIN, head.sequence + 1, 0, 0, _as_of(as_of),
            RELEASE_CAUSE, count,
        )  # fmt: skip
        hashes = {}
        for table, values in tables:
            hashes[table.name] = TableHash()
            hashes[table.name].update(len(values), hash_values(values))
            appender.insert(table, header.number, values)
        appender.insert_batch(header, hashes)
        return header.sequence

    def _keep_open(
        self, connection: Connection, appender: _Appender
    ) -> dict[str, tuple[int, int, int]]:
        """Fold the open items of tenants whose changes have become many; what then is pending."""
        answer = {}
        for tenant, (added, batches) in appender.open_changes.items():
            changes, before, item_count = (
                self._pending[tenant]
                if tenant in self._pending
                else count_pending(connection, tenant)
            )
            if tenant in self._pending:
                changes, before = changes + added, before + batches
            if is_fold_due(changes, before, item_count):
                sequence = appender.head(tenant).sequence
                changes, before = 0, 0
                item_count = fold_open(connection, tenant, sequence)
            answer[tenant] = (changes, before, item_count)
        return answer

    # ---- asking ----

    def last_sequence(self, tenant: str) -> int:
        """The sequence of the tenant's last batch, 0 for none."""
        with self.reading() as connection:
            return _read_head(connection, tenant).sequence

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
        if read_only:
            raise LedgerError(
                "the ledger has an older schema: start the warehouse once to raise it"
            )
        # Imported late: it takes as long as all else that a command loads, and is needed once.
        from alembic import command
        from alembic.config import Config

        config = Config()
        folder = Path(__file__).parent / "migrations"
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

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
            detail = f": {cause}" if isinstance(cause, sqlite3.Error) else ""
            raise OSError(f"the ledger's database failed ({name}{detail})") from None


class _Appender:
    """Batches on their way into one transaction: whole numbers are collected and inserted at once,
    so that many small batches cost little more than a large one."""

    def __init__(self, connection: Connection, random_bytes: RandomBytes) -> None:
        self._connection = connection
        self._random_bytes = random_bytes
        self._heads: dict[str, _Head] = {}
        self._waiting: dict[str, list[Numbers]] = {}
        newest = fetch(connection, select(func.coalesce(func.max(schema.batch.c.number), 0)))
        self._number = int(newest[0][0])
        self.open_changes: dict[str, tuple[int, int]] = {}
        """tenant -> changes and batches that were added to `open_change`"""

    def head(self, tenant: str) -> _Head:
        """The end of a tenant's chain."""
        if tenant not in self._heads:
            self._heads[tenant] = _read_head(self._connection, tenant)
        return self._heads[tenant]

    def next_number(self) -> int:
        """The number of the next batch."""
        if self._number == BATCH_NUMBER_MAX:
            raise LimitError("the ledger has BATCH_NUMBER_MAX batches: begin a new one")
        return self._number + 1

    def append(self, sequence: int, checked: _Checked) -> bool:
        """Write a batch, or see that it is there."""
        batch = checked.batch
        head = self.head(batch.tenant)
        if sequence <= head.sequence:
            self._check_known(sequence, checked)
            return False
        if sequence != head.sequence + 1:
            raise LedgerError(
                f"batch {sequence} of a tenant follows batch {head.sequence}: those between them "
                "are missing; the outbox and the ledger are not of one home"
            )
        header = _header(self.next_number(), sequence, checked)
        salts = [self._random_bytes(SALT_BYTES) for _ in batch.decisions]
        hashed = [text_hash(row, salt) for row, salt in zip(batch.decisions, salts, strict=True)]
        self.insert_batch(header, _hashes(checked, hashed))
        self._insert_decisions(header.number, checked, salts, hashed)
        for table, _ in NUMBER_TABLES:
            rows = checked.tables[table.name]
            if len(rows):
                numbers = np.empty((len(rows), len(table.columns)), np.int64)
                numbers[:, 0] = row_numbers(header.number, len(rows))
                numbers[:, 1:] = as_numbers(rows)
                self._wait(table, numbers)
        self._insert_texts(checked)
        hashed_texts = self._insert_keys(header.number, checked)
        self._insert_open(sequence, checked, hashed_texts)
        return True

    def _wait(self, table: Table, numbers: Numbers) -> None:
        self._waiting.setdefault(table.name, []).append(numbers)

    def flush(self) -> None:
        """Insert what was collected."""
        for table, _ in NUMBER_TABLES:
            waiting = self._waiting.pop(table.name, [])
            if waiting:
                insert_numbers(self._connection, table, np.concatenate(waiting))
        for table in KEY_TABLES:
            waiting = self._waiting.pop(table.name, [])
            if waiting:
                insert_keys(self._connection, table, np.concatenate(waiting))

    def insert(self, table: Table, batch: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows with texts of a batch."""
        numbers = row_numbers(batch, len(rows)).tolist()
        values = [(number, *row) for number, row in zip(numbers, rows, strict=True)]
        insert_rows(self._connection, table, values)

    def insert_batch(self, header: Header, hashes: dict[str, TableHash]) -> None:
        """Insert the header and go on behind it."""
        head = self.head(header.tenant)
        computed = batch_hash(head.hash, header, hashes)
        values = tuple(getattr(header, name) for name in Header.__slots__)
        insert_rows(self._connection, schema.batch, [(*values, head.hash, computed)])
        self._number = header.number
        self._heads[header.tenant] = _Head(header.sequence, computed)

    def _insert_decisions(
        self, number: int, checked: _Checked, salts: Sequence[bytes], hashed: Sequence[bytes]
    ) -> None:
        rows = checked.batch.decisions
        values = [decision_values(row, value) for row, value in zip(rows, hashed, strict=True)]
        self.insert(schema.decision, number, values)
        texts = [
            (row.number, row.who, row.why, row.refusal, salt)
            for row, salt in zip(rows, salts, strict=True)
        ]
        self.insert(schema.decision_text, number, texts)

    def _insert_texts(self, checked: _Checked) -> None:
        batch, details = checked.batch, checked.details
        files = [
            (int(np.frombuffer(digest[:8], "<i8")[0]), digest, name, kind, byte_count)
            for digest, name, kind, byte_count in batch.sources
        ]
        insert_rows(self._connection, schema.source_file, files, again=True)
        if not batch.details:
            return
        items = checked.tables[schema.item.name]
        texts = [_texts(details[name]) for name in DETAIL_TEXTS]
        ids = (items["digest"].view("<i8").tolist(), items["offset"].tolist())
        rows = sorted(zip(*ids, *texts, strict=True))  # neighbours go to the same page
        insert_rows(self._connection, schema.item_detail, rows, again=True)
        names = sorted(set(zip(texts[1], texts[2], strict=True)))
        payers = [(batch.tenant, payer_id, name) for payer_id, name in names]
        insert_rows(self._connection, schema.payer, payers, again=True)

    def _insert_keys(self, number: int, checked: _Checked) -> dict[str, Keys]:
        """Leave what items and batches are found by; the hashes of the items' texts."""
        items = checked.tables[schema.item.name]
        numbers = row_numbers(number, len(items))
        self._wait(schema.item_place, _side_by_side(items["digest"], items["offset"], numbers))
        has_key = items["business_key"] != 0
        self._wait(
            schema.item_business,
            _side_by_side(items["business_key"][has_key], numbers[has_key]),
        )
        hashed = hash_details(checked.details)
        has_trace = hashed["trace"] != 0
        self._wait(schema.item_trace, _side_by_side(hashed["trace"][has_trace], numbers[has_trace]))
        digests = [
            rows[name]
            for rows in checked.tables.values()
            for name in rows.dtype.names or ()
            if name.endswith("digest")
        ]
        mentioned = np.unique(np.concatenate(digests))
        self._wait(schema.mention, _side_by_side(mentioned, np.full(len(mentioned), number)))
        return hashed

    def _insert_open(self, sequence: int, checked: _Checked, hashed: dict[str, Keys]) -> None:
        tables, batch = checked.tables, checked.batch
        items, statuses = tables[schema.item.name], tables[schema.status_change.name]
        changes = find_changes(items, statuses, hashed)
        opened = changes.opened
        if len(changes.reopened):
            self.flush()  # They may have come a batch ago.
            opened = np.concatenate([opened, reopen(self._connection, changes.reopened)])
        write_changes(self._connection, batch.tenant, sequence, opened, changes.changed)
        count = len(opened) + len(changes.changed)
        if count:
            before = self.open_changes.get(batch.tenant, (0, 0))
            self.open_changes[batch.tenant] = (before[0] + count, before[1] + 1)

    def _check_known(self, sequence: int, checked: _Checked) -> None:
        """Refuse a batch that is not the one that its sequence was given to."""
        table, tenant = schema.batch, checked.batch.tenant
        chosen = (table.c.tenant == tenant) & (table.c.sequence == sequence)
        rows = fetch(self._connection, select(table).where(chosen))
        refusal = LedgerError(
            f"batch {sequence} of a tenant is in the ledger with another content: the ledger was "
            "changed, or outbox and ledger are not of one home; run `reassoc audit verify`"
        )
        if not rows:
            raise refusal
        number, previous_hash, stored_hash = rows[0][0], rows[0][-2], rows[0][-1]
        hashed = self._known_text_hashes(number, checked)
        header = _header(number, sequence, checked)
        computed = batch_hash(previous_hash, header, _hashes(checked, hashed))
        if computed != stored_hash:
            raise refusal

    def _known_text_hashes(self, number: int, checked: _Checked) -> list[bytes]:
        """Hashes of decisions' texts with the salts that are kept; where a text was erased, the
        hash that stands in the chain."""
        text, decision = schema.decision_text, schema.decision
        numbers = row_numbers(number, len(checked.batch.decisions)).tolist()
        if not numbers:
            return []
        statement = (
            select(decision.c.number, decision.c.text_hash, text.c.salt)
            .outerjoin(text, text.c.decision == decision.c.number)
            .where(decision.c.number.between(numbers[0], numbers[-1]))
        )
        stored = {row[0]: row[1:] for row in fetch(self._connection, statement)}
        answer = []
        for place, row in zip(numbers, checked.batch.decisions, strict=True):
            kept, salt = stored.get(place, (b"", None))
            answer.append(kept if salt is None else text_hash(row, salt))
        return answer


def _check(batch: LedgerBatch) -> _Checked:
    """Read the tables of a batch. Raises LedgerError, LimitError."""
    if not 0 < len(batch.tenant) <= TENANT_CHARS_MAX:
        raise LedgerError(f"a tenant's name has 1 to {TENANT_CHARS_MAX} characters")
    if batch.cause not in CAUSES:
        raise LedgerError(f"the cause of a batch must be one of {', '.join(CAUSES)}")
    _as_of(batch.as_of)
    if any(row.kind not in DECISION_KINDS for row in batch.decisions):
        raise LedgerError("a decision is of a kind that the ledger has no number for")
    tables = {}
    data = (batch.items, batch.statuses, batch.pairs, batch.links, batch.alerts)
    for (table, kind), rows in zip(NUMBER_TABLES, data, strict=True):
        if len(rows) % kind.itemsize:
            raise LedgerError(f"the {table.name} rows of a batch are cut: the outbox is damaged")
        if len(rows) // kind.itemsize > BATCH_ROWS_MAX:
            raise LimitError(f"a batch has more {table.name} rows than BATCH_ROWS_MAX: make it two")
        tables[table.name] = rows_of(rows, kind)
    details = decode_details(batch.details, len(tables[schema.item.name]))
    return _Checked(batch, tables, details)


def _header(number: int, sequence: int, checked: _Checked) -> Header:
    batch = checked.batch
    return Header(
        number, batch.tenant, sequence, batch.position, batch.day, batch.as_of, batch.cause,
        checked.row_count(),
    )  # fmt: skip


def _hashes(checked: _Checked, hashed_texts: Sequence[bytes]) -> dict[str, TableHash]:
    hashes = {}
    for name, rows in checked.tables.items():
        hashes[name] = TableHash()
        hashes[name].update(len(rows), rows.tobytes())
    decisions = checked.batch.decisions
    values = [decision_values(row, kept) for row, kept in zip(decisions, hashed_texts, strict=True)]
    hashes[schema.decision.name] = TableHash()
    hashes[schema.decision.name].update(len(values), hash_values(values))
    return hashes


def _values(row: ReleaseFileRow | ReleaseEventRow) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in row.__struct_fields__)


def _as_of(value: str) -> str:
    if not _AS_OF.fullmatch(value):
        raise LedgerError("as_of of a batch must be a time in ISO 8601")
    return value


def _texts(values: Sequence[bytes]) -> list[str]:
    """Texts for people. All at once: one call each would cost more than the insert."""
    texts = b"\0".join(values).decode("utf-8", "replace").split("\0")
    if len(texts) != len(values):
        # PostgreSQL has no text with a zero byte in it.
        texts = [value.replace(b"\0", b"").decode("utf-8", "replace") for value in values]
    return texts


def _side_by_side(*columns: Rows) -> Numbers:
    """int64[n, k] of columns of 8 bytes."""
    return np.stack([column.view(np.int64) for column in columns], axis=1)


def _read_head(connection: Connection, tenant: str) -> _Head:
    batch = schema.batch
    rows = fetch(
        connection,
        select(batch.c.sequence, batch.c.hash)
        .where(batch.c.tenant == tenant)
        .order_by(batch.c.sequence.desc())
        .limit(1),
    )
    return _Head(rows[0][0], bytes(rows[0][1])) if rows else _Head(0, FIRST_HASH)


def _revision(connection: Connection) -> str | None:
    """The schema that a database has; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    rows = fetch(connection, text("SELECT version_num FROM alembic_version"))
    return str(rows[0][0]) if rows else None
