"""New items of entries: their rows in the state, their keys, and which of them came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE
from reassoc.core.directory import Directory
from reassoc.core.matching.neighbours import payment_keys, remittance_keys
from reassoc.core.policy import Policy
from reassoc.core.statuses import PaymentStatus, Reason, RemittanceStatus
from reassoc.stream.item_log import ItemsEntry
from reassoc.stream.items import (
    PAYMENT,
    PAYMENT_ITEM,
    REMITTANCE,
    REMITTANCE_ITEM,
    ItemFlag,
    id_bytes,
    payment_pool,
    remittance_pool,
)
from reassoc.stream.ledger_rows import ItemSide
from reassoc.stream.live import Columns, Mask, Side, takes_part
from reassoc.stream.making import KeyedRows
from reassoc.stream.records import Block, RowTable, Schema
from reassoc.stream.state import Ids, Stops
from reassoc.stream.step_rows import business_keys

Schemas = tuple[Schema, Schema]
"""Of items on the log, and in the state."""


class History(Protocol):
    """Items that left the state, by the ledger: only what was logged below a position counts."""

    def read_on(self) -> None:
        """Take in what the ledger has by now."""
        ...

    def last_sequence(self, tenant: str) -> int:
        """The outbox sequence up to which the ledger has what the tenant's steps were."""
        ...

    def may_know(self, digests: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64]) -> Mask:
        """bool[n]: which ids `known` is to be asked of; of all others it says no, whosever they
        are."""
        ...

    def may_know_business(self, keys: npt.NDArray[np.uint64]) -> Mask:
        """The same for `known_business`."""
        ...

    def known(
        self,
        tenant: str,
        digests: npt.NDArray[np.uint64],
        offsets: npt.NDArray[np.int64],
        below_position: int,
    ) -> Mask: ...

    def known_business(
        self, tenant: str, keys: npt.NDArray[np.uint64], below_position: int
    ) -> Mask: ...


@dataclass(frozen=True, slots=True)
class NewRows:
    """New items of one side, those of each tenant behind those of the one before.

    rows : of items.REMITTANCE or PAYMENT
    stops : int64[t]   behind the last row of each tenant
    """

    rows: RowTable
    stops: npt.NDArray[np.int64]

    @classmethod
    def of(cls, blocks: Sequence[Block], schemas: Schemas, positions: Stops, day: int) -> NewRows:
        """Rows of the state for the items of entries."""
        item_schema, schema = schemas
        counts = np.array([len(block) for block in blocks])
        block = blocks[0] if len(blocks) == 1 else Block.concat(blocks)
        rows = schema.widen(item_schema.unpack(block))
        rows["position"] = np.repeat(positions, counts)
        rows["seen_day"], rows["closed_day"] = day, DATE_NONE
        return cls(rows, np.cumsum(counts))

    def __len__(self) -> int:
        return self.rows.row_count

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """int64[n]: the number of the tenant whose each is."""
        return np.repeat(np.arange(len(self.stops)), np.diff(self.stops, prepend=0))

    def bounds(self, number: int) -> tuple[int, int]:
        """The rows of a tenant: from, to."""
        return int(self.stops[number - 1]) if number else 0, int(self.stops[number])

    def without(self, known: Mask) -> NewRows:
        """Those of the one tenant that are not known."""
        rows = self.rows.take(~known)
        return NewRows(rows, np.array([rows.row_count]))


def remittance_rows(entries: Sequence[ItemsEntry], positions: Stops, day: int) -> NewRows:
    """Rows of the state for the remittances of entries, each of another tenant.

    positions : int64[t]   of the entries
    """
    blocks = [_block(entry.remittances, entry.remittance_stops) for entry in entries]
    new = NewRows.of(blocks, (REMITTANCE_ITEM, REMITTANCE), positions, day)
    for number, entry in enumerate(entries):
        if entry.held:
            new.rows["flags"][slice(*new.bounds(number))] |= np.uint16(ItemFlag.HELD)
    return new


def payment_rows(entries: Sequence[ItemsEntry], positions: Stops, day: int) -> NewRows:
    """The same for payments."""
    blocks = [_block(entry.payments, entry.payment_stops) for entry in entries]
    return NewRows.of(blocks, (PAYMENT_ITEM, PAYMENT), positions, day)


def _block(data: bytes, stops: bytes) -> Block:
    return Block(data, np.frombuffer(stops, "<i8").astype(np.int64))


def ids_of(rows: Columns) -> Ids:
    """Ids of items, by row."""
    return id_bytes(rows["id_digest"], rows["id_offset"])


def keys_of(
    left: Columns, right: Columns, policy: Policy, directory: Directory | None
) -> tuple[KeyedRows, KeyedRows]:
    """The keys by which items find each other."""
    count = len(left["status"])
    remittances = remittance_pool(left, np.full(count, -1, np.int32))
    carriers = left["carrier_offset"]
    return (
        _keyed(remittance_keys(remittances, policy, directory, carrier_offset=carriers), count),
        _keyed(payment_keys(payment_pool(right), policy, directory), len(right["status"])),
    )


def _keyed(columns: list[npt.NDArray[np.uint64]], count: int) -> KeyedRows:
    """Keys by row: those that are not 0, each once."""
    if not columns or not count:
        return KeyedRows(np.zeros(0, np.uint64), np.zeros(count, np.int64))
    table = np.sort(np.stack(columns, axis=1), axis=1)
    kept = table != 0
    kept[:, 1:] &= table[:, 1:] != table[:, :-1]
    return KeyedRows(table[kept], np.cumsum(kept.sum(axis=1), dtype=np.int64))


def joined(left: KeyedRows, right: KeyedRows) -> KeyedRows:
    """The keys of some rows and of those behind them."""
    return KeyedRows(
        np.concatenate([left.keys, right.keys]),
        np.concatenate([left.stops, right.stops + len(left.keys)]),
    )


def known_business(
    history: History, tenants: Sequence[str], new: NewRows, side: ItemSide, positions: Stops
) -> Mask:
    """bool[n]: new items of which a copy left the state long ago, or is there still.

    tenants, positions : of each, the latter of the entries
    """
    keys = business_keys(new.rows, side)
    known: Mask = (keys != 0) & history.may_know_business(keys)
    if known.any():
        for number, (tenant, position) in enumerate(zip(tenants, positions.tolist(), strict=True)):
            some = slice(*new.bounds(number))
            if known[some].any():
                known[some] &= history.known_business(tenant, keys[some], position)
    return known


def mark_known_before(side: Side, kind: ItemSide, known: Mask) -> None:
    """Suspected duplicates of what left the state long ago, or left matching (voided, moved, a
    suspected duplicate itself): held and shown. Copies of what still takes part are the matcher's
    matter, which knows which of them is sound.

    side : the new items, and what is around them   known : bool[n] of the new, see `known_business`
    """
    rows = side.rows
    # Of what was cut off in transfer the whole one is no copy.
    gone = ~side.fresh & ~takes_part(rows) & rows["valid"]
    if not known.any() and not gone.any():
        return
    keys = business_keys(rows, kind)
    new, here = np.flatnonzero(side.fresh), keys[~side.fresh & ~gone]
    known = known | (keys[new] != 0) & np.isin(keys[new], keys[gone])
    copies = new[known & ~np.isin(keys[new], here)]
    rows["flags"][copies] |= np.uint16(ItemFlag.KNOWN_BEFORE)
    rows["status"][copies] = _AS_KNOWN[kind]
    rows["reason"][copies] |= np.int64(Reason.DUPLICATE)


_AS_KNOWN = {
    ItemSide.REMITTANCE: RemittanceStatus.DUPLICATE,
    ItemSide.PAYMENT: PaymentStatus.DUPLICATE,
}
