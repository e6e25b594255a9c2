"""How batches get into the ledger: checked, numbered, hashed, and inserted many at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, select

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
    decode_details,
    find_changes,
    hash_details,
    reopen,
    write_changes,
)
from reassoc.stream.ledger_rows import DETAIL_TEXTS, LedgerBatch, rows_of
from reassoc.stream.ledger_schema import BATCH_NUMBER_MAX, BATCH_ROWS_MAX, RELEASE_CHAIN
from reassoc.stream.ledger_store import (
    Conflict,
    Inserts,
    LedgerError,
    Numbers,
    ask,
    fetch,
)

CAUSES = ("items", "decision", "clock", "settings")
RELEASE_CAUSE = "release"
TENANT_CHARS_MAX = 200
_AS_OF = re.compile(r"[0-9TZ:.+ -]{0,40}")

_DIGESTS = [
    (table.name, name)
    for table, kind in NUMBER_TABLES
    for name in kind.names or ()
    if name.endswith("digest")
]
"""Columns that say what a row is about."""

ControlNumberRow = tuple[str, str, int, int]
"""Sender, receiver, and the last ISA13 and GS06 between them."""
RandomBytes = Callable[[int], bytes]
Rows = npt.NDArray[Any]


@dataclass(slots=True)
class Head:
    """The end of a chain."""

    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch whose tables were read and checked; nothing of it needs the database any more."""

    batch: LedgerBatch
    tables: dict[str, Rows]
    details: Details

    def row_count(self) -> int:
        rows = sum(len(table) for table in self.tables.values())
        return rows + len(self.batch.decisions)


class Appender:
    """Batches on their way into one transaction: rows are collected and inserted at once, so that
    many small batches cost little more than a large one."""

    def __init__(self, connection: Connection, random_bytes: RandomBytes) -> None:
        self._connection = connection
        self._random_bytes = random_bytes
        self._heads: dict[str, Head] = {}
        self._first_heads: dict[str, Head] = {}
        self._inserts = Inserts(connection)
        self._number = -1
        """Of the last batch of all, -1 where nobody has asked."""
        self.open_changes: dict[str, tuple[int, int]] = {}
        """tenant -> changes and batches that were added to `open_change`"""

    def head(self, tenant: str) -> Head:
        """The end of a tenant's chain."""
        if tenant not in self._heads:
            newest, head = _read_newest(self._connection, tenant)
            self._heads[tenant] = self._first_heads[tenant] = head
            if self._number < 0:
                self._number = newest
        return self._heads[tenant]

    def first_head(self, tenant: str) -> Head:
        """The end that a tenant's chain had before anything was written here."""
        self.head(tenant)
        return self._first_heads[tenant]

    def tenants(self) -> list[str]:
        """Whose chains were asked for."""
        return list(self._heads)

    def _next_number(self) -> int:
        """The number of the next batch; behind `head`."""
        if self._number == BATCH_NUMBER_MAX:
            raise LimitError("the ledger has BATCH_NUMBER_MAX batches: begin a new one")
        return self._number + 1

    def append(self, sequence: int, checked: CheckedBatch) -> bool:
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
        header = _header(self._next_number(), sequence, checked)
        salts = [self._random_bytes(SALT_BYTES) for _ in batch.decisions]
        hashed = [text_hash(row, salt) for row, salt in zip(batch.decisions, salts, strict=True)]
        self._insert_batch(header, _hashes(checked, hashed))
        self._insert_decisions(header.number, checked, salts, hashed)
        for table, _ in NUMBER_TABLES:
            rows = checked.tables[table.name]
            if len(rows):
                numbers = np.empty((len(rows), len(table.columns)), np.int64)
                numbers[:, 0] = row_numbers(header.number, len(rows))
                numbers[:, 1:] = as_numbers(rows)
                self._inserts.numbers(table, numbers)
        self._insert_texts(checked)
        hashed_texts = self._insert_keys(header.number, checked)
        self._insert_open(sequence, checked, hashed_texts)
        return True

    def append_release(
        self,
        day: int,
        as_of: str,
        files: Sequence[ReleaseFileRow],
        items: tuple[Sequence[str], Rows | None],
        events: Sequence[ReleaseEventRow],
        control_numbers: Sequence[ControlNumberRow],
    ) -> int:
        """Write rows of the release book; see `Ledger.append_release`."""
        self._inserts.rows(schema.control_number, control_numbers, Conflict.REPLACES)
        tenants, rows = items
        numbers = [] if rows is None else as_numbers(rows).tolist()
        tables: list[tuple[Table, list[tuple[Any, ...]]]] = [
            (schema.release_file, [_values(row) for row in files]),
            (
                schema.release_item,
                [(tenant, *row) for tenant, row in zip(tenants, numbers, strict=True)],
            ),
            (schema.release_event, [_values(row) for row in events]),
        ]
        head = self.head(RELEASE_CHAIN)
        header = Header(
            self._next_number(),
            RELEASE_CHAIN,
            head.sequence + 1,
            0,
            day,
            _as_of(as_of),
            RELEASE_CAUSE,
            sum(len(values) for _, values in tables),
        )
        hashes = {}
        for table, values in tables:
            hashes[table.name] = TableHash()
            hashes[table.name].update(len(values), hash_values(values))
            self._insert(table, header.number, values)
        self._insert_batch(header, hashes)
        self.flush()
        return header.sequence

    def flush(self) -> None:
        """Insert what was collected."""
        self._inserts.flush()

    def _insert(self, table: Table, batch: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Leave rows with texts of a batch."""
        numbers = row_numbers(batch, len(rows)).tolist()
        values = [(number, *row) for number, row in zip(numbers, rows, strict=True)]
        self._inserts.rows(table, values)

    def _insert_batch(self, header: Header, hashes: dict[str, TableHash]) -> None:
        """Leave the header and go on behind it."""
        head = self.head(header.tenant)
        computed = batch_hash(head.hash, header, hashes)
        values = tuple(getattr(header, name) for name in Header.__slots__)
        self._inserts.rows(schema.batch, [(*values, head.hash, computed)])
        self._number = header.number
        self._heads[header.tenant] = Head(header.sequence, computed)

    def _insert_decisions(
        self, number: int, checked: CheckedBatch, salts: Sequence[bytes], hashed: Sequence[bytes]
    ) -> None:
        rows = checked.batch.decisions
        values = [decision_values(row, value) for row, value in zip(rows, hashed, strict=True)]
        self._insert(schema.decision, number, values)
        texts = [
            (row.number, row.who, row.why, row.refusal, salt)
            for row, salt in zip(rows, salts, strict=True)
        ]
        self._insert(schema.decision_text, number, texts)

    def _insert_texts(self, checked: CheckedBatch) -> None:
        batch, details = checked.batch, checked.details
        files = [
            (int(np.frombuffer(digest[:8], "<i8")[0]), digest, name, kind, byte_count)
            for digest, name, kind, byte_count in batch.sources
        ]
        self._inserts.rows(schema.source_file, files, Conflict.STAYS)
        if not batch.details:
            return
        items = checked.tables[schema.item.name]
        texts = [_texts(details[name]) for name in DETAIL_TEXTS]
        ids = (items["digest"].view("<i8").tolist(), items["offset"].tolist())
        rows = sorted(zip(*ids, *texts, strict=True))  # neighbours go to the same page
        self._inserts.rows(schema.item_detail, rows, Conflict.STAYS)
        names = sorted(set(zip(texts[1], texts[2], strict=True)))
        payers = [(batch.tenant, payer_id, name) for payer_id, name in names]
        self._inserts.rows(schema.payer, payers, Conflict.STAYS)

    def _insert_keys(self, number: int, checked: CheckedBatch) -> dict[str, Keys]:
        """Leave what items and batches are found by; the hashes of the items' texts."""
        items = checked.tables[schema.item.name]
        numbers = row_numbers(number, len(items))
        places = _side_by_side(items["digest"], items["offset"], numbers)
        self._inserts.numbers(schema.item_place, places)
        hashed = hash_details(checked.details)
        for table, keys in (
            (schema.item_business, items["business_key"]),
            (schema.item_trace, hashed["trace"]),
        ):
            has_key = keys != 0
            self._inserts.numbers(table, _side_by_side(keys[has_key], numbers[has_key]))
        digests = [
            checked.tables[table][name] for table, name in _DIGESTS if len(checked.tables[table])
        ]
        mentioned = np.unique(np.concatenate([np.zeros(0, np.uint64), *digests]))
        batches = np.full(len(mentioned), number)
        self._inserts.numbers(schema.mention, _side_by_side(mentioned, batches))
        return hashed

    def _insert_open(self, sequence: int, checked: CheckedBatch, hashed: dict[str, Keys]) -> None:
        tables, batch = checked.tables, checked.batch
        items, statuses = tables[schema.item.name], tables[schema.status_change.name]
        changes = find_changes(items, statuses, hashed)
        opened = changes.opened
        if len(changes.reopened):
            self.flush()  # They may have come a batch ago.
            opened = np.concatenate([opened, reopen(self._connection, changes.reopened)])
        write_changes(self._inserts, batch.tenant, sequence, opened, changes.changed)
        count = len(opened) + len(changes.changed)
        if count:
            before = self.open_changes.get(batch.tenant, (0, 0))
            self.open_changes[batch.tenant] = (before[0] + count, before[1] + 1)

    def _check_known(self, sequence: int, checked: CheckedBatch) -> None:
        """Refuse a batch that is not the one that its sequence was given to."""
        table, tenant = schema.batch, checked.batch.tenant
        chosen = (table.c.tenant == tenant) & (table.c.sequence == sequence)
        self.flush()  # It may be one of these.
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

    def _known_text_hashes(self, number: int, checked: CheckedBatch) -> list[bytes]:
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


def check_batch(batch: LedgerBatch) -> CheckedBatch:
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
    return CheckedBatch(batch, tables, details)


def _header(number: int, sequence: int, checked: CheckedBatch) -> Header:
    batch = checked.batch
    return Header(
        number, batch.tenant, sequence, batch.position, batch.day, batch.as_of, batch.cause,
        checked.row_count(),
    )  # fmt: skip


def _hashes(checked: CheckedBatch, hashed_texts: Sequence[bytes]) -> dict[str, TableHash]:
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
    numbers = np.empty((len(columns[0]), len(columns)), np.int64)
    for place, column in enumerate(columns):
        numbers[:, place] = column.view(np.int64)
    return numbers


def read_head(connection: Connection, tenant: str) -> Head:
    """The end of a tenant's chain."""
    return _read_newest(connection, tenant)[1]


def _read_newest(connection: Connection, tenant: str) -> tuple[int, Head]:
    """The number of the last batch of all, 0 for none; the end of a tenant's chain."""
    ((number, sequence, hashed),) = ask(connection, _NEWEST, [tenant])
    return number, Head(sequence, bytes(hashed)) if sequence else Head(0, FIRST_HASH)


_NEWEST = """
    SELECT newest.number, last.sequence, last.hash
    FROM (SELECT coalesce(max(number), 0) AS number FROM batch) AS newest
    LEFT JOIN
        (SELECT sequence, hash FROM batch WHERE tenant = ? ORDER BY sequence DESC LIMIT 1) AS last
    ON 1 = 1
"""
