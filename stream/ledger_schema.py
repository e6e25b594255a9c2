"""Tables of the ledger: what is chained, what is derived, what can be erased.

Three kinds of tables:

- **chained**: `batch` and the rows of batches. They are only ever added to, and the hash of a batch
  is over its header and all its rows (`ledger_chain.py`).
- **release book**: `release_file`, `release_item`, `release_event` are chained as well, in the
  chain named RELEASE_CHAIN; `control_number` is the one row per sender and receiver that changes.
- **unchained**: `item_detail`, `decision_text` and `source_file` hold names, accounts and texts and
  may be erased; `part`, `part_copy`, `part_file`, `part_file_open` and `tenant_seen` lie here
  because all workers share this database (`part_book.py`); all others are derived from the rest and
  can be made again.

A row of a chained table has one number that says where it stands: `batch << PLACE_BITS | place`,
place counting from 0 in each table of each batch. So a batch's rows are one range of the primary
key, in their order, and no other column or index is needed for that. uint64 values are stored as
the int64 of the same bits.

Chained tables have no index beside that number: ids and keys are spread over the whole range, and
an index of them would cost more than all the rest. What is looked up has narrow tables of its own
(`item_place`, `item_business`, `item_trace`, `mention`), to which each append adds in the order of
their keys: a quarter of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.types import TypeEngine

from reassoc.stream.ledger_rows import ALERT_ROW, ITEM_ROW, LINK_ROW, PAIR_ROW, STATUS_ROW

PLACE_BITS = 24
BATCH_ROWS_MAX = 1 << PLACE_BITS
"""Rows that one batch may have in one table."""
BATCH_NUMBER_MAX = (1 << (63 - PLACE_BITS)) - 1
RELEASE_CHAIN = ""
"""Stands for a tenant's name in `batch` where a batch is of the release book. No tenant has it."""

BIG: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
SMALL: TypeEngine[int] = SmallInteger().with_variant(Integer(), "sqlite")
_TYPES: dict[str, TypeEngine[int]] = {
    "u1": SMALL,
    "u2": Integer(),
    "i4": Integer(),
    "u4": BIG,
    "i8": BIG,
    "u8": BIG,
}
"""numpy type -> the narrowest type that holds it signed. SQLite has but one."""

metadata = MetaData()


def batch_of(number: ColumnElement[int]) -> ColumnElement[int]:
    """The batch of a row, by its number: to join a chained table with `batch`."""
    # Written out: PostgreSQL shifts by an integer only, and a bound value would be a bigint.
    return number.op(">>")(literal_column(str(PLACE_BITS)))


def number_column(name: str, **options: Any) -> Column[int]:
    """A primary key that the writer gives, never the database."""
    return Column(name, BIG, primary_key=True, autoincrement=False, **options)


def _columns(rows: np.dtype[Any]) -> list[Column[int]]:
    assert rows.names is not None
    return [Column(name, _TYPES[rows[name].str[1:]], nullable=False) for name in rows.names]


def _row_table(name: str, rows: np.dtype[Any]) -> Table:
    """A chained table of whole numbers: its row number and the fields of a numpy row."""
    return Table(name, metadata, number_column("number"), *_columns(rows))


def _key_table(name: str, *names: str) -> Table:
    """A table that is its primary key: whole numbers, looked up by the first of them."""
    columns = [number_column(name) for name in names]
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


RELEASE_ITEM_ROW = np.dtype(
    [
        ("file", "<i8"),
        ("place", "<i4"),
        ("digest", "<u8"),
        ("offset", "<i8"),
        ("sending", "u1"),
        ("release_kind", "u1"),
        ("cents", "<i8"),
        ("position", "<i8"),
    ]
)
"""A remittance in a released file: its place in it (from 0), ReleaseKind, BPR02, and the position
of the step that released it. Its tenant's name stands beside it."""

batch = Table(
    "batch",
    metadata,
    number_column("number"),
    Column("tenant", String, nullable=False),
    Column("sequence", BIG, nullable=False),
    Column("position", BIG, nullable=False),
    Column("day", Integer, nullable=False),
    Column("as_of", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("row_count", BIG, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "sequence", name="batch_sequence"),
)
"""One step of one tenant. sequence: 1, 2, 3... in each tenant, as in the outbox. previous_hash: of
the tenant's batch before it, 32 zeros for the first."""

item = _row_table("item", ITEM_ROW)
status_change = _row_table("status_change", STATUS_ROW)
pair_event = _row_table("pair_event", PAIR_ROW)
link_event = _row_table("link_event", LINK_ROW)
alert = _row_table("alert", ALERT_ROW)

decision = Table(
    "decision",
    metadata,
    number_column("number"),
    Column("position", BIG, nullable=False),
    Column("kind", SMALL, nullable=False),
    Column("answer", SMALL, nullable=False),
    Column("item_count", BIG, nullable=False),
    Column("cents", BIG, nullable=False),
    Column("text_hash", LargeBinary, nullable=False),
)
"""A decision and its answer. kind: ledger_chain.DECISION_KINDS. text_hash: BLAKE3 of what stands in
`decision_text`, keyed with its salt: once text and salt are erased, it tells nothing."""

release_file = Table(
    "release_file",
    metadata,
    number_column("number"),
    Column("file", BIG, nullable=False, unique=True),
    Column("name", String, nullable=False, unique=True),
    Column("sink", String, nullable=False),
    Column("receiver", String, nullable=False),
    Column("sender", String, nullable=False),
    Column("interchange_control", BIG, nullable=False),
    Column("group_control_first", BIG, nullable=False),
    Column("group_count", Integer, nullable=False),
    Column("item_count", Integer, nullable=False),
    Column("cents", BIG, nullable=False),
    Column("day", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""An intent: one file that is to be delivered. file: its number, 1, 2, 3..., which the release book
gives. body: msgpack of whatever is needed to write the same bytes again. Never changed: what
becomes of the file stands in `release_event`, byte count and digest of its bytes as well."""

release_item = Table(
    "release_item",
    metadata,
    number_column("number"),
    Column("tenant", String, nullable=False),
    *_columns(RELEASE_ITEM_ROW),
    UniqueConstraint("digest", "offset", "sending", "tenant", name="release_item_sending"),
    Index("release_item_file", "file", "place"),
)
"""RELEASE_ITEM_ROW and the tenant's name. An item is sent once per sending."""

release_event = Table(
    "release_event",
    metadata,
    number_column("number"),
    Column("file", BIG, nullable=False),
    Column("event", SMALL, nullable=False),
    Column("at", String, nullable=False),
    Column("code", Integer, nullable=False),
    Column("byte_count", BIG),
    Column("digest", LargeBinary),
    Index("release_event_file", "file"),
)
"""What became of a file: ledger_chain.ReleaseEvent, when (ISO 8601 in UTC), a code for why. A
`prepared` event carries byte count and digest of what was written."""

control_number = Table(
    "control_number",
    metadata,
    Column("sender", String, primary_key=True),
    Column("receiver", String, primary_key=True),
    Column("last_interchange", BIG, nullable=False),
    Column("last_group", BIG, nullable=False),
)
"""The last ISA13 and GS06 that were used between two. Changed in the transaction of the intent."""

item_detail = Table(
    "item_detail",
    metadata,
    Column("digest", BIG, primary_key=True, autoincrement=False),
    Column("offset", BIG, primary_key=True, autoincrement=False),
    Column("trace", String, nullable=False),
    Column("payer_id", String, nullable=False),
    Column("payer_name", String, nullable=False),
    Column("payee_account", String, nullable=False),
    Column("payee_id", String, nullable=False),
    sqlite_with_rowid=False,
)
"""ledger_rows.DETAIL_TEXTS of an item, for people."""

item_place = _key_table("item_place", "digest", "offset", "number")
"""Where an item's row stands in `item`, by its id."""

item_business = _key_table("item_business", "business_key", "number")
"""The same by business key, for those that have one."""

item_trace = _key_table("item_trace", "trace_hash", "number")
"""The same by ledger_open.hash_texts of the trace, for those that have one."""

mention = _key_table("mention", "digest", "batch")
"""Which batches say something about items of a file, by the first half of their ids."""

source_file = Table(
    "source_file",
    metadata,
    number_column("digest_prefix"),
    Column("digest", LargeBinary, nullable=False),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("byte_count", BIG, nullable=False),
)
"""A file that items came from. digest_prefix: what their ids begin with, the first 8 bytes of the
digest as a little-endian number."""

decision_text = Table(
    "decision_text",
    metadata,
    number_column("decision"),
    Column("number", String, nullable=False, index=True),
    Column("who", String),
    Column("why", String),
    Column("refusal", String),
    Column("salt", LargeBinary),
)
"""Texts of a row of `decision` (its number), and the number that whoever asked has given it. NULL
where they were erased, salt and all."""

payer = Table(
    "payer",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("payer_id", String, primary_key=True),
    Column("payer_name", String, primary_key=True),
    sqlite_with_rowid=False,
)
"""Every payer that open items ever named, so that a name finds its identifiers."""

open_base = Table(
    "open_base",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("field", String, primary_key=True),
    Column("sequence", BIG, nullable=False),
    Column("item_count", BIG, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""The open items of a tenant as of one sequence: a row per field of ledger_open.OPEN_ROW, packed,
in the order of keys."""

open_change = Table(
    "open_change",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("sequence", BIG, primary_key=True, autoincrement=False),
    Column("opened", LargeBinary, nullable=False),
    Column("changed", LargeBinary, nullable=False),
)
"""What one batch did to the open items since: rows of ledger_open.OPEN_ROW and CHANGE_ROW."""

part = Table(
    "part",
    metadata,
    number_column("name"),
    number_column("start"),
    Column("digest", LargeBinary, nullable=False),
    Column("stop", BIG, nullable=False),
    Column("vault", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("content_offset", BIG, nullable=False),
    Column("route", LargeBinary, nullable=False),
    Column("logged", SMALL, nullable=False),
    sqlite_with_rowid=False,
)
"""A part of a file that came in messages. name: the first 8 bytes of the file's digest as a
little-endian number. [start, stop): its bytes in the file; they lie in a content of a worker's
vault from content_offset on. route: where its items went. logged: all of them are on the item log.
"""

part_copy = Table(
    "part_copy",
    metadata,
    Column("name", BIG, primary_key=True, autoincrement=False),
    Column("start", BIG, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, primary_key=True),
    Column("vault", String, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("stop", BIG, nullable=False),
    Column("content_offset", BIG, nullable=False),
)
"""Where bytes of a part lie as well, since it came once more. Nobody reads them there; whoever
erases a file must know of them."""

part_file = Table(
    "part_file",
    metadata,
    number_column("name"),
    Column("digest", LargeBinary, nullable=False),
    Column("byte_count", BIG, nullable=False),
    Column("file_name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("part_count", BIG, nullable=False),
    Column("complete", SMALL, nullable=False),
)
"""What was said of a file that came in messages. complete: its last part was sent."""

part_file_open = Table(
    "part_file_open",
    metadata,
    number_column("name"),
    Column("came_ms", BIG, nullable=False),
    Index("part_file_open_came", "came_ms", "name"),
)
"""Rows of `part_file` of which nobody has seen yet that all parts are there. came_ms: when that was
said of the file, milliseconds since 1970."""

tenant_seen = Table(
    "tenant_seen",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("first_position", BIG, nullable=False, server_default="0"),
)
"""Tenants that a worker has claimed at some time, the partition of the item log they lie in, and
the position of their first record in it, 0 where nobody said."""
