"""New items of an entry: their rows in the state, their keys, and which of them came before."""

from __future__ import annotations

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
    RecordKind,
    id_bytes,
    payment_pool,
    remittance_pool,
)
from reassoc.stream.ledger_rows import ItemSide
from reassoc.stream.live import Columns, Mask, lookup
from reassoc.stream.making import KeyedRows
from reassoc.stream.neighbours import Surroundings
from reassoc.stream.records import Block
from reassoc.stream.state import Ids, Records, as_text
from reassoc.stream.step_rows import business_keys


class History(Protocol):
    """Items that left the state, by the ledger: only what was logged below a position counts."""

    def read_on(self) -> None:
        """Take in what the ledger has by now."""
        ...

    def last_sequence(self, tenant: str) -> int:
        """The outbox sequence up to which the ledger has what the tenant's steps were."""
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


def new_rows(entry: ItemsEntry, position: int, day: int) -> tuple[Columns, Columns]:
    """Rows of the state for the remittances and the payments of an entry."""
    sides = []
    for item_schema, schema, data, stops in (
        (REMITTANCE_ITEM, REMITTANCE, entry.remittances, entry.remittance_stops),
        (PAYMENT_ITEM, PAYMENT, entry.payments, entry.payment_stops),
    ):
        block = Block(data, np.frombuffer(stops, "<i8").astype(np.int64))
        rows = schema.widen(item_schema.unpack(block))
        rows["position"], rows["seen_day"], rows["closed_day"] = position, day, DATE_NONE
        sides.append(rows)
    return sides[0], sides[1]


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


def came_before(
    history: History,
    tenant: str,
    left: Columns,
    right: Columns,
    around: Surroundings,
    position: int,
) -> tuple[Mask, Mask]:
    """bool[n], bool[m]: items that came before, by their ids.

    around : of all of them, with what the state has of themselves
    """
    ids = np.concatenate([ids_of(left), ids_of(right)])
    known = lookup(around.records.ids, ids) >= 0
    _, first = np.unique(as_text(ids), return_index=True)
    again = np.ones(len(ids), np.bool_)
    again[first] = False
    known |= again
    known |= np.concatenate(
        [
            history.known(tenant, rows["id_digest"], rows["id_offset"], position)
            for rows in (left, right)
        ]
    )
    return known[: len(left["status"])], known[len(left["status"]) :]


def mark_known_before(
    history: History,
    tenant: str,
    records: Records,
    left: Columns,
    right: Columns,
    position: int,
) -> None:
    """Suspected duplicates of what left the state long ago: held and shown. Copies of what is
    still there are the matcher's matter, which knows which of them is sound."""
    for rows, side, kind, schema, status in (
        (left, ItemSide.REMITTANCE, RecordKind.REMITTANCE, REMITTANCE,
         RemittanceStatus.DUPLICATE),
        (right, ItemSide.PAYMENT, RecordKind.PAYMENT, PAYMENT, PaymentStatus.DUPLICATE),
    ):  # fmt: skip
        keys = business_keys(rows, side)
        if not keys.any():
            continue
        known = (keys != 0) & history.known_business(tenant, keys, position)
        if not known.any():
            continue
        here = schema.unpack(records.bodies_of(kind))
        known &= ~np.isin(keys, business_keys(here, side))
        rows["flags"][known] |= np.uint16(ItemFlag.KNOWN_BEFORE)
        rows["status"][known] = status
        rows["reason"][known] |= np.int64(Reason.DUPLICATE)
