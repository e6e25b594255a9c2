"""What the ledger knows of items that the match state may have forgotten, asked by the thousand.

Nearly every item that comes is new. A filter in memory answers for those without a look into the
database; it may say yes wrongly, never no. What it says yes to is looked up. It is made by reading
the items once, and goes on from there when `read_on` is called.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    func,
    select,
)

from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_open import item_keys
from reassoc.stream.ledger_schema import PLACE_BITS
from reassoc.stream.ledger_store import fetch, wanted_rows

FILTER_BYTES_MAX = 128 << 20
"""Bytes of the filter: enough for 50 million items. With more of them it says yes wrongly more
often, which costs lookups and nothing else."""
FILTER_BYTES_MIN = 1 << 16
FILTER_KEY_BITS = 10
"""Bits for each key, of which an item has two: then one of a hundred answers is wrong."""
SCAN_ROWS = 1 << 17
"""Rows of `item` that are read at a time."""

_HASHES = 4
_POSITION_MAX = 2**62
"""Above every position of a log."""
_BUSINESS_SALT = np.uint64(0xA24BAED4963EE407)
_SECOND_FACTOR = np.uint64(0x9FB21C651E98DF25)

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


class History:
    """Which items and business keys of a tenant were logged before. Any thread may call it.

    Only rows whose log position is below the asker's count, so that a replay gives the same answer
    as the first time.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()  # of the filter
        self._reading = threading.Lock()  # of how far it has read
        self._growing = threading.Lock()
        self._filter = _Filter(FILTER_BYTES_MIN)
        self._batch = 0
        self.read_on()

    def last_sequence(self, tenant: str) -> int:
        """The sequence of the tenant's last batch, 0 for none."""
        return self._ledger.last_sequence(tenant)

    def may_know(self, digests: Keys, offsets: npt.NDArray[np.int64]) -> Mask:
        """bool[n]: ids that an item of any tenant may have, as of the last `read_on`. O(n) in
        memory."""
        return self._masked(item_keys(digests, offsets))

    def may_know_business(self, keys: Keys) -> Mask:
        """bool[n]: the same for business keys."""
        return self._masked(keys ^ _BUSINESS_SALT)

    def _masked(self, keys: Keys) -> Mask:
        mask = np.zeros(len(keys), np.bool_)
        mask[self._may_have(keys)] = True
        return mask

    def known(
        self,
        tenant: str,
        digests: Keys,
        offsets: npt.NDArray[np.int64],
        below_position: int,
    ) -> Mask:
        """bool[n]: whether the tenant's ledger has an item of that id below a position.

        digests, offsets : uint64[n], int64[n]

        As of the last `read_on`. Raises OSError where the database fails. O(n) in memory where
        nothing is known, about 10 us an item otherwise.
        """
        place = schema.item_place
        columns = (place.c.digest, place.c.offset)
        rows = self._may_have(item_keys(digests, offsets))
        ids = (_signed(digests[rows]), np.ascontiguousarray(offsets[rows]))
        return self._below(len(digests), rows, place, columns, ids, tenant, below_position)

    def known_business(self, tenant: str, keys: Keys, below_position: int) -> Mask:
        """bool[n]: whether the tenant's ledger has an item of that business key below a position;
        False for key 0, which is none.

        keys : uint64[n]. As `known`.
        """
        table = schema.item_business
        rows = self._may_have(keys ^ _BUSINESS_SALT)
        rows = rows[keys[rows] != 0]
        columns, values = (table.c.business_key,), (_signed(keys[rows]),)
        return self._below(len(keys), rows, table, columns, values, tenant, below_position)

    def read_on(self) -> None:
        """Take in the items of batches that were added since. Raises OSError where the database
        fails. O(items that are new), one look where there are none.

        Where the filter has become too small it is made again, for twice as many: whoever calls
        then waits for all items to be read. Others neither wait nor miss anything meanwhile.
        """
        with self._reading, self._ledger.reading() as connection:
            self._batch = self._scan(connection, self._filter, self._batch)
            is_full = self._filter.is_full()
        if is_full and self._growing.acquire(blocking=False):
            try:
                self._grow()
            finally:
                self._growing.release()

    def _may_have(self, keys: Keys) -> npt.NDArray[np.int64]:
        with self._lock:
            return np.flatnonzero(self._filter.may_have(keys))

    def _below(
        self,
        count: int,
        rows: npt.NDArray[np.int64],
        table: Table,
        columns: tuple[ColumnElement[int], ...],
        keys: tuple[npt.NDArray[np.int64], ...],
        tenant: str,
        below_position: int,
    ) -> Mask:
        """bool[count]: those of some rows that the ledger has."""
        answer = np.zeros(count, np.bool_)
        if len(rows):
            with self._ledger.reading() as connection:
                answer[rows] = _below(connection, table, columns, keys, tenant, below_position)
        return answer

    def _grow(self) -> None:
        size = _filter_bytes(2 * self._filter.count)
        if size <= self._filter.size:
            return
        larger = _Filter(size)
        with self._ledger.reading() as connection:
            batch = self._scan(connection, larger, 0)
        with self._reading, self._ledger.reading() as connection:
            self._batch = self._scan(connection, larger, batch)
            with self._lock:
                self._filter = larger

    def _scan(self, connection: Connection, target: _Filter, batch: int) -> int:
        """Take the items of batches behind one into a filter; the number of the last batch."""
        newest = fetch(connection, select(func.coalesce(func.max(schema.batch.c.number), 0)))[0][0]
        item = schema.item
        columns = (item.c.number, item.c.digest, item.c.offset, item.c.business_key)
        statement = (
            select(*columns)
            .where(item.c.number > bindparam("after"))
            .where(item.c.number <= ((newest + 1) << PLACE_BITS) - 1)
            .order_by(item.c.number)
            .limit(SCAN_ROWS)
        )
        after = ((batch + 1) << PLACE_BITS) - 1
        while newest > batch and (rows := fetch(connection, statement, {"after": after})):
            numbers = np.array(rows, np.int64)
            digests = np.ascontiguousarray(numbers[:, 1]).view(np.uint64)
            keys = np.ascontiguousarray(numbers[:, 3]).view(np.uint64)
            with self._lock:
                target.add(item_keys(digests, numbers[:, 2]))
                target.add(keys[keys != 0] ^ _BUSINESS_SALT)
            after = rows[-1][0]
        return int(newest)


def ever_had(ledger: Ledger, tenant: str, digests: Keys, offsets: npt.NDArray[np.int64]) -> Mask:
    """bool[n]: whether a tenant's ledger has items of some ids. For few of them: each is looked up,
    about 10 us, and no filter is made first. Raises OSError where the database fails."""
    place = schema.item_place
    ids = (_signed(digests), np.ascontiguousarray(offsets))
    with ledger.reading() as connection:
        found = _below(
            connection, place, (place.c.digest, place.c.offset), ids, tenant, _POSITION_MAX
        )
    return np.array(found, np.bool_)


class _Filter:
    """A Bloom filter of 64-bit keys that are spread evenly."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._bits = np.zeros(size, np.uint8)

    def is_full(self) -> bool:
        """Whether it has more keys than it is good for."""
        return self.count * FILTER_KEY_BITS > 8 * self.size

    def add(self, keys: Keys) -> None:
        """Remember keys. O(keys)."""
        self.count += len(keys)
        for bits in self._places(keys):
            np.bitwise_or.at(self._bits, bits >> 3, np.uint8(1) << (bits & 7).astype(np.uint8))

    def may_have(self, keys: Keys) -> Mask:
        """bool[n]: False where a key was never added."""
        answer = np.ones(len(keys), np.bool_)
        for bits in self._places(keys):
            answer &= self._bits[bits >> 3] >> (bits & 7).astype(np.uint8) & np.uint8(1) != 0
        return answer

    def _places(self, keys: Keys) -> list[npt.NDArray[np.int64]]:
        # The size is a power of two. Two numbers made of the key stand for any number of hashes.
        mask = np.uint64(8 * self.size - 1)
        first = keys ^ keys >> np.uint64(29)
        step = (keys * _SECOND_FACTOR) >> np.uint64(20) | np.uint64(1)
        places = [first + np.uint64(number) * step & mask for number in range(_HASHES)]
        return [place.view(np.int64) for place in places]


def _filter_bytes(keys: int) -> int:
    """Power of two for a number of keys, within the limits."""
    size = FILTER_BYTES_MIN
    while size < FILTER_BYTES_MAX and keys * FILTER_KEY_BITS > 8 * size:
        size *= 2
    return size


def _below(
    connection: Connection,
    table: Table,
    columns: tuple[ColumnElement[int], ...],
    keys: tuple[npt.NDArray[np.int64], ...],
    tenant: str,
    below_position: int,
) -> list[bool]:
    """Which of n keys have a row in `item` of that tenant below a position. `table` leads to the
    rows by `columns`."""
    item, batch = schema.item, schema.batch
    is_counted = (batch.c.tenant == tenant) & (item.c.position < below_position)
    found: set[tuple[Any, ...]] = set()
    for wanted in wanted_rows(*keys):
        pairs = zip(columns, wanted.c, strict=True)
        source = (
            wanted.join(table, and_(*(column == value for column, value in pairs)))
            .join(item, item.c.number == table.c.number)
            .join(batch, batch.c.number == schema.batch_of(item.c.number))
        )
        statement = select(*columns).select_from(source).where(is_counted)
        found |= set(fetch(connection, statement, once=True))
    return [key in found for key in zip(*(column.tolist() for column in keys), strict=True)]


def _signed(keys: Keys) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(keys).view(np.int64)
