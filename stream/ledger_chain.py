"""The hash chain of the ledger: what the hash of a batch is over.

Each tenant's batches are a chain, the release book's are one more. A batch's hash is BLAKE3 over
msgpack of the hash before it, the header, and for each chained table the count and the BLAKE3 of
its rows in order: whole numbers as little-endian fields of fixed width, rows with texts as msgpack.
So nothing can be changed, added, removed or moved without every later hash of the chain being
another one. Only the newest batches can be cut off unseen: note the heads elsewhere, and compare.
`ledger_audit.py` checks a whole ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3
from sqlalchemy import Table

from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    ITEM_ROW,
    LINK_ROW,
    PAIR_ROW,
    STATUS_ROW,
    DecisionRow,
)
from reassoc.stream.ledger_schema import PLACE_BITS
from reassoc.stream.ledger_store import Numbers

HASH_BYTES = 32
FIRST_HASH = bytes(HASH_BYTES)
"""Stands before the first batch of a chain."""
SALT_BYTES = 32

DECISION_KINDS: Mapping[str, int] = {
    "match": 1,
    "unmatch": 2,
    "release": 3,
    "resend": 4,
    "hold": 5,
    "unhold": 6,
    "void": 7,
    "suspense": 8,
    "alias": 9,
    "move": 10,
    "reopen": 11,
}
"""item_log.DecisionKind -> its number, for ever."""


class ReleaseEvent(IntEnum):
    """What became of a released file."""

    PREPARED = 1
    DONE = 2
    FAILED = 3
    IN_DOUBT = 4


class ReleaseFileRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of `release_file` without its row number; see the table."""

    file: int
    name: str
    sink: str
    receiver: str
    sender: str
    interchange_control: int
    group_control_first: int
    group_count: int
    item_count: int
    cents: int
    day: int
    body: bytes


class ReleaseEventRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of `release_event` without its row number; see the table."""

    file: int
    event: int
    at: str
    code: int = 0
    byte_count: int | None = None
    digest: bytes | None = None


_pack = msgspec.msgpack.Encoder().encode

NUMBER_TABLES: tuple[tuple[Table, np.dtype[Any]], ...] = (
    (schema.item, ITEM_ROW),
    (schema.status_change, STATUS_ROW),
    (schema.pair_event, PAIR_ROW),
    (schema.link_event, LINK_ROW),
    (schema.alert, ALERT_ROW),
)
CHAINED: tuple[Table, ...] = (
    *(table for table, _ in NUMBER_TABLES),
    schema.decision,
    schema.release_file,
    schema.release_item,
    schema.release_event,
)
"""Every table whose rows are in the chain, in the order in which a batch's hash takes them."""


@dataclass(frozen=True, slots=True)
class Header:
    """A row of `batch` but for its hashes; see the table."""

    number: int
    tenant: str
    sequence: int
    position: int
    day: int
    as_of: str
    cause: str
    row_count: int


@dataclass(slots=True)
class TableHash:
    """The rows of one table of a batch, as they are hashed: how many, and the BLAKE3 so far."""

    count: int = 0
    _hasher: Any = field(default_factory=blake3)

    def update(self, count: int, data: bytes) -> None:
        """Take more rows."""
        if count:
            self.count += count
            self._hasher.update(data)

    def parts(self) -> tuple[int, bytes]:
        """(count, digest); the digest is empty where there is no row."""
        return self.count, self._hasher.digest() if self.count else b""


def batch_hash(previous: bytes, header: Header, hashes: Mapping[str, TableHash]) -> bytes:
    """The hash of a batch, 32 bytes. `hashes` by names of tables; those without rows may be left
    out."""
    none = TableHash()
    tables = [hashes.get(table.name, none).parts() for table in CHAINED]
    values = [getattr(header, name) for name in Header.__slots__]
    return blake3(_pack([previous, values, tables])).digest()


def row_numbers(batch: int, count: int) -> Numbers:
    """int64[count]: the numbers of a batch's rows in one table."""
    return np.arange(count, dtype=np.int64) + (batch << PLACE_BITS)


def as_numbers(rows: npt.NDArray[Any]) -> Numbers:
    """int64[n, k] of packed rows; uint64 by its bits."""
    assert rows.dtype.names is not None
    numbers = np.empty((len(rows), len(rows.dtype.names)), np.int64)
    for place, name in enumerate(rows.dtype.names):
        column = rows[name]
        numbers[:, place] = column.view(np.int64) if column.dtype == np.uint64 else column
    return numbers


def as_rows(numbers: Numbers, kind: np.dtype[Any]) -> npt.NDArray[Any] | None:
    """Packed rows of int64[n, k]; None where a value does not fit its field."""
    assert kind.names is not None
    rows = np.empty(len(numbers), kind)
    for place, name in enumerate(kind.names):
        column = numbers[:, place]
        rows[name] = column.view(np.uint64) if kind[name] == np.uint64 else column
        if kind[name].itemsize < 8 and not np.array_equal(rows[name], column):
            return None
    return rows


def text_hash(row: DecisionRow, salt: bytes) -> bytes:
    """What the chain has of a decision's texts."""
    return blake3(_pack([row.number, row.who, row.why, row.refusal]), key=salt).digest()


def decision_values(row: DecisionRow, hashed: bytes) -> tuple[Any, ...]:
    """A row of `decision` without its number. Raises KeyError for a kind that nobody knows."""
    kind = DECISION_KINDS[row.kind]
    return row.position, kind, row.answer, row.item_count, row.cents, hashed


def hash_values(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Canonical bytes of rows with texts: msgpack tells every value's type and length."""
    return b"".join(map(_pack, rows))
