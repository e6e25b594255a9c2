"""The part of a tenant's state that one step works on, as columns: items, pairs, vetoes."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _rows
from reassoc.core._keys import mix
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import Reason
from reassoc.stream.items import (
    PAIR,
    PAYMENT,
    PAYMENT_STATE,
    REMITTANCE,
    REMITTANCE_STATE,
    VETO,
    ItemFlag,
    RecordKind,
    id_bytes,
    payment_pool,
    remittance_pool,
)
from reassoc.stream.records import Block, RowTable, Schema, take
from reassoc.stream.state import Ids, Keys, Records

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Columns = MutableMapping[str, Any]

OUT_OF_MATCHING = ItemFlag.KNOWN_BEFORE | ItemFlag.CLOSED | ItemFlag.MOVED
"""Items with one of these flags are in no pair."""
_ID_KEY, _MATCH_KEY = 0x1D, 0x3A7C


def lookup(ids: Ids, wanted: Ids) -> Rows:
    """int64[k]: the row of each wanted id among `ids` (which are distinct), -1 for none.
    O(n + k)."""
    return _rows.find(np.ascontiguousarray(ids), np.ascontiguousarray(wanted))


def id_keys_of(digest: npt.NDArray[np.uint64], offset: npt.NDArray[np.int64]) -> Keys:
    """uint64[n]: the key under which pairs and vetoes of an item are found."""
    return _tagged(_ID_KEY, digest.view(np.int64), offset)


def match_keys_of(match_ids: npt.NDArray[np.uint64]) -> Keys:
    """uint64[n]: the key under which the pairs of a match are found."""
    return _tagged(_MATCH_KEY, match_ids.view(np.int64))


def _tagged(tag: int, *columns: npt.NDArray[np.int64]) -> Keys:
    return mix(np.full(len(columns[0]), tag, np.int64), *columns)


def profile_ids(keys: Sequence[int]) -> Ids:
    """uint8[k, 16]: ids of the records of envelope profiles, by their keys."""
    return np.frombuffer(b"".join(map(profile_id, keys)), np.uint8).reshape(-1, 16)


def profile_id(key: int) -> bytes:
    """Ids of items end in an offset; this one ends in what no offset is."""
    return key.to_bytes(8, "little") + b"\xff" * 8


def pair_ids(pairs: Columns) -> Ids:
    """uint8[k, 16]: ids of pair records. A pair of items may stand in two sums, so its match counts
    as well."""
    parts = [pairs[name].view(np.int64) for name in PAIR_PARTS]
    match_id = pairs["match_id"].view(np.int64) if "match_id" in pairs else parts[0] * 0
    first = _tagged(1, *parts, match_id)
    second = _tagged(2, match_id, *parts[::-1])
    return id_bytes(first, second.view(np.int64))


PAIR_PARTS = ("remittance_digest", "remittance_offset", "payment_digest", "payment_offset")


def takes_part(rows: Columns) -> Mask:
    """bool[n]: items that the matcher looks at, those aside among them."""
    mask: Mask = (rows["flags"] & int(OUT_OF_MATCHING) == 0) | are_aside(rows)
    return mask


def are_aside(rows: Columns) -> Mask:
    """bool[n]: payments that are in no pair, by which the matcher tells what else is about their
    money: those in suspense or moved, but for suspected duplicates."""
    flags = rows["flags"] & int(OUT_OF_MATCHING)
    if "amount_cents" not in rows:
        return np.zeros(len(flags), np.bool_)
    aside = (flags == int(ItemFlag.CLOSED)) | (flags == int(ItemFlag.MOVED))
    mask: Mask = aside & (rows["reason"] & int(Reason.DUPLICATE) == 0)
    return mask


@dataclass(slots=True)
class Side:
    """Items of one side: rows of items.REMITTANCE or PAYMENT.

    ids : uint8[n, 16]    fresh : bool[n]    not in the state yet
    late : bool[n]        their surroundings are not all in the pool: they wait for the clock
    before                rows of items.REMITTANCE_STATE or PAYMENT_STATE, as they were before the
                          step; 0 for what is fresh
    owner : int64[n]      whose each is, among the tenants of the step
    """

    rows: RowTable
    ids: Ids
    fresh: Mask
    late: Mask
    before: npt.NDArray[Any]
    owner: Rows

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def changed(self) -> Mask:
        """bool[n]: items that are fresh, or of which the step has changed something."""
        width = self.before.itemsize
        before = self.before.view(np.uint8).reshape(len(self), width)
        differs: Mask = (self.rows.row_bytes[:, :width] != before).any(axis=1)
        return self.fresh | differs

    @property
    def active(self) -> Rows:
        """Rows that take part in matching."""
        return np.flatnonzero(takes_part(self.rows))

    @property
    def aside(self) -> Mask:
        """bool[n]: see `are_aside`."""
        return are_aside(self.rows)

    def has(self, flag: ItemFlag) -> Mask:
        """bool[n]: whether a flag is set."""
        mask: Mask = self.rows["flags"] & int(flag) != 0
        return mask


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose rows are, among the tenants of which a step is made together: int64 each."""

    records: Rows
    remittances: Rows
    payments: Rows


@dataclass(slots=True)
class Live:
    """Items, pairs and vetoes of a step of one tenant, or of steps that are made together.

    pairs : rows of items.PAIR, as the state has them
    basis : the same less what a person undoes in this step, and with what a person makes
    vetoes : rows of items.VETO, those of this step among them
    whole : these are all items of the tenant
    pair_owner : int64[k]   whose `pairs` are
    """

    remittances: Side
    payments: Side
    pairs: Columns
    basis: Columns
    vetoes: Columns
    whole: bool
    pair_owner: Rows

    @classmethod
    def of(
        cls,
        records: Records,
        fresh_remittances: Columns,
        fresh_payments: Columns,
        *,
        whole: bool,
        late_ids: Ids | None = None,
        owners: Owners | None = None,
    ) -> Live:
        """Records of the state, and items that are new. owners : None for those of one tenant"""
        pairs = PAIR.unpack(records.bodies_of(RecordKind.PAIR))
        left, right = map(records.bodies_of, (RecordKind.REMITTANCE, RecordKind.PAYMENT))
        live = cls(
            _side(REMITTANCE, REMITTANCE_STATE, left, fresh_remittances, late_ids),
            _side(PAYMENT, PAYMENT_STATE, right, fresh_payments, late_ids),
            pairs,
            pairs,
            VETO.unpack(records.bodies_of(RecordKind.VETO)),
            whole,
            np.zeros(pairs.row_count, np.int64),
        )
        if owners is not None:
            live._tell(owners, records)
        return live

    def _tell(self, owners: Owners, records: Records) -> None:
        def of_kind(kind: RecordKind) -> Rows:
            found: Rows = owners.records[records.kinds == kind]
            return found

        self.pair_owner = of_kind(RecordKind.PAIR)
        for side, kind, fresh in (
            (self.remittances, RecordKind.REMITTANCE, owners.remittances),
            (self.payments, RecordKind.PAYMENT, owners.payments),
        ):
            side.owner = np.concatenate([of_kind(kind), fresh])

    @property
    def basis_owner(self) -> Rows:
        """int64[k]: whose `basis` is. Only one tenant's step has another basis than its pairs."""
        is_as_it_was = self.basis is self.pairs
        return self.pair_owner if is_as_it_was else np.zeros(len(self.basis["status"]), np.int64)

    def pools(self) -> tuple[RemittanceColumns, PaymentColumns, Rows, Rows]:
        """The matcher's columns of the items that take part, and their rows."""
        left, right = self.remittances.active, self.payments.active
        rows = take(self.remittances.rows, left)
        carried = np.flatnonzero(rows["carrier_offset"] >= 0)
        payment_row = np.full(len(left), -1, np.int32)
        if len(carried):
            carriers = id_bytes(rows["id_digest"][carried], rows["carrier_offset"][carried])
            payment_row[carried] = lookup(self.payments.ids[right], carriers)
        return (
            remittance_pool(rows, payment_row),
            payment_pool(take(self.payments.rows, right)),
            left,
            right,
        )


def _side(
    schema: Schema, state: np.dtype[Any], bodies: Block, fresh: Columns, late_ids: Ids | None
) -> Side:
    known = schema.unpack(bodies)
    rows = schema.concat([known, fresh]) if len(fresh["status"]) else known
    ids = id_bytes(rows["id_digest"], rows["id_offset"])
    is_fresh = np.arange(len(ids)) >= len(bodies)
    late = np.zeros(len(ids), np.bool_)
    if late_ids is not None and len(late_ids):
        late = lookup(_distinct(late_ids), ids) >= 0
    before = rows.row_bytes[:, : state.itemsize].copy().reshape(-1).view(state)
    before[len(bodies) :] = 0
    return Side(rows, ids, is_fresh, late, before, np.zeros(len(ids), np.int64))


def _distinct(ids: Ids) -> Ids:
    kept: Iterable[bytes] = dict.fromkeys(row.tobytes() for row in ids)
    return np.frombuffer(b"".join(kept), np.uint8).reshape(-1, 16)
