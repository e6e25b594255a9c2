"""The check of a ledger: every hash computed again from the rows, and the first fault named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Table, bindparam, func, select

from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger_chain import (
    CHAINED,
    DECISION_KINDS,
    FIRST_HASH,
    HASH_BYTES,
    NUMBER_TABLES,
    Header,
    TableHash,
    as_rows,
    batch_hash,
    hash_values,
    text_hash,
)
from reassoc.stream.ledger_rows import DecisionRow
from reassoc.stream.ledger_schema import BATCH_ROWS_MAX, PLACE_BITS
from reassoc.stream.ledger_store import Numbers, fetch, whole_numbers

VERIFY_ROWS = 1 << 16
"""Rows of one table that the check holds at a time."""

_KIND_NAMES = {number: name for name, number in DECISION_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where the ledger is not what was written.

    number, tenant, sequence : of the batch      text : what is wrong with it
    """

    number: int
    tenant: str
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found, up to the first fault.

    heads : (sequence, hash) of each chain's last batch, by tenant; RELEASE_CHAIN is the release
        book's
    missing_heads : hashes that were noted earlier and are in no chain any more
    """

    batch_count: int
    row_count: int
    heads: Mapping[str, tuple[int, bytes]]
    fault: Fault | None
    missing_heads: tuple[bytes, ...] = ()

    @property
    def sound(self) -> bool:
        """Nothing was found."""
        return self.fault is None and not self.missing_heads


Progress = Callable[[int, int], None]
"""Told how many batches are checked, and of how many."""


class _BadRowsError(Exception):
    """Rows of a batch are not what could have been written; the text says of which table."""


def verify(
    connection: Connection,
    noted_heads: Collection[bytes] = (),
    progress: Progress | None = None,
) -> Verification:
    """Compute every hash again, oldest batch first, up to the first fault.

    noted_heads : hashes that were heads once; each must still be in a chain

    The connection's transaction must show one moment of the database throughout. O(rows), memory
    of VERIFY_ROWS rows a table.
    """
    total = int(fetch(connection, select(func.count()).select_from(schema.batch))[0][0])
    tables = [_TableRows(connection, table) for table in CHAINED]
    heads: dict[str, tuple[int, bytes]] = {}
    missing = set(noted_heads)
    batch_count = row_count = 0
    for values in _batches(connection):
        fault = _check_batch(values, heads, tables)
        if fault is not None:
            return Verification(batch_count, row_count, heads, fault)
        batch_count += 1
        row_count += int(values[7])
        missing.discard(heads[values[1]][1])
        if progress is not None:
            progress(batch_count, total)
    for table in tables:
        if table.peek() is not None:
            text = f"the ledger ends, but rows of {table.name} stand behind its last batch"
            fault = Fault(batch_count, "", 0, text)
            return Verification(batch_count, row_count, heads, fault)
    return Verification(batch_count, row_count, heads, None, tuple(sorted(missing)))


def _batches(connection: Connection) -> Iterator[tuple[Any, ...]]:
    """All rows of `batch`, by number."""
    number = schema.batch.c.number
    statement = select(schema.batch).where(number > bindparam("after")).order_by(number)
    after = -(1 << 63)
    while rows := fetch(connection, statement.limit(VERIFY_ROWS), {"after": after}):
        yield from rows
        after = rows[-1][0]


def _check_batch(
    values: tuple[Any, ...], heads: dict[str, tuple[int, bytes]], tables: list[_TableRows]
) -> Fault | None:
    """Check one batch behind those before it and take it into `heads`; its fault, if it has one."""
    *of_header, previous_hash, stored_hash = values
    header = Header(*of_header)
    place = (header.number, str(header.tenant), header.sequence)
    if not _is_header(header):
        return Fault(*place, "its header has values that no batch can have")
    sequence, head = heads.get(header.tenant, (0, FIRST_HASH))
    if header.sequence != sequence + 1:
        return Fault(*place, f"sequence {sequence + 1} of its chain is missing before it")
    if previous_hash != head:
        return Fault(*place, "it does not follow the batch before it in its chain")
    hashes: dict[str, TableHash] = {}
    try:
        for table in tables:
            hashes[table.name] = table.take(header.number)
    except _BadRowsError as error:
        return Fault(*place, str(error))
    if sum(hashed.count for hashed in hashes.values()) != header.row_count:
        return Fault(*place, "it has more or fewer rows than were written")
    computed = batch_hash(previous_hash, header, hashes)
    if computed != stored_hash:
        return Fault(*place, "its header or its rows are not those that were written")
    heads[header.tenant] = (header.sequence, computed)
    return None


def _is_header(header: Header) -> bool:
    numbers = (header.number, header.sequence, header.position, header.day, header.row_count)
    texts = (header.tenant, header.as_of, header.cause)
    return all(type(n) is int for n in numbers) and all(type(t) is str for t in texts)


class _TableRows:
    """The rows of one chained table, front to back, in pieces of VERIFY_ROWS."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.name = table.name
        self._connection = connection
        self._kind = {t.name: kind for t, kind in NUMBER_TABLES}.get(table.name)
        number = table.c.number
        statement = select(table).where(number > bindparam("after")).order_by(number)
        self._statement = statement.limit(VERIFY_ROWS)
        self._width = len(table.columns)
        self._after = -(1 << 63)
        self._rows: list[tuple[Any, ...]] = []
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._next = 0

    def peek(self) -> int | None:
        """The number of the next row, None behind the last."""
        if self._next == len(self._rows):
            self._rows = fetch(self._connection, self._statement, {"after": self._after})
            self._numbers = np.fromiter((row[0] for row in self._rows), np.int64, len(self._rows))
            self._next = 0
            if not self._rows:
                return None
            self._after = self._rows[-1][0]
        return int(self._numbers[self._next])

    def take(self, batch: int) -> TableHash:
        """Hash the rows of a batch. Raises _BadRowsError where rows stand before it, have other
        places than 0, 1, 2..., or values that cannot have been written."""
        hashed = TableHash()
        while (number := self.peek()) is not None and number >> PLACE_BITS <= batch:
            first = (batch << PLACE_BITS) + hashed.count
            if number != first:
                raise _BadRowsError(f"rows of {self.name} are missing, added or out of place")
            last = np.searchsorted(self._numbers, (batch << PLACE_BITS) + BATCH_ROWS_MAX)
            numbers = self._numbers[self._next : int(last)]
            if int(numbers[-1]) - int(numbers[0]) + 1 != len(numbers):
                raise _BadRowsError(f"rows of {self.name} are missing, added or out of place")
            rows = self._rows[self._next : int(last)]
            self._next = int(last)
            hashed.update(len(rows), self._canonical(rows))
        return hashed

    def _canonical(self, rows: list[tuple[Any, ...]]) -> bytes:
        if self._kind is None:
            if self.name == schema.decision.name:
                self._check_texts(rows)
            return hash_values([row[1:] for row in rows])
        numbers: Numbers | None = whole_numbers(rows, self._width)
        packed = None if numbers is None else as_rows(numbers[:, 1:], self._kind)
        if packed is None:
            raise _BadRowsError(f"a row of {self.name} has a value that was never written")
        return packed.tobytes()

    def _check_texts(self, rows: list[tuple[Any, ...]]) -> None:
        """Texts of decisions are not in the chain, but what was not erased must be what its hash
        is of."""
        text = schema.decision_text
        statement = select(text).where(text.c.decision.between(rows[0][0], rows[-1][0]))
        kept = {row[0]: row[1:] for row in fetch(self._connection, statement)}
        for row in rows:
            number, who, why, refusal, salt = kept.get(row[0], (None,) * 5)
            if salt is None:
                continue
            written = DecisionRow(row[1], number, "", who, why, row[3], refusal, 0, 0)
            if len(salt) != HASH_BYTES or text_hash(written, salt) != row[-1]:
                raise _BadRowsError("the texts of a decision are not those that were written")
