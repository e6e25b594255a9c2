"""Items on their way from one tenant to another: the entries of both logs, and who leaves the
quarantine once the directory knows its payee.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reassoc.core.directory import Directory
from reassoc.stream.item_log import ENTRY_ITEMS_MAX, DecisionEntry, Entry, ItemsEntry
from reassoc.stream.items import (
    PAYMENT,
    PAYMENT_ITEM,
    REMITTANCE,
    REMITTANCE_ITEM,
    ItemFlag,
    RecordKind,
    id_bytes,
)
from reassoc.stream.live import Columns, Mask, Rows, profile_ids
from reassoc.stream.records import take
from reassoc.stream.routing import QUARANTINE, Router
from reassoc.stream.state import Records, State

NOBODY = Directory()
"""What the quarantine is matched by: nothing of it is anybody's, so nothing pairs or is released
there, whatever the directory says by then."""
MOVER = "directory"
"""Who decides that items leave the quarantine."""
_STAYS = int(ItemFlag.RELEASED | ItemFlag.CLOSED | ItemFlag.MOVED)


def items_entry(state: State, tenant: str, remittances: Columns, payments: Columns) -> ItemsEntry:
    """Items of a tenant's state, rows of items.REMITTANCE and PAYMENT, as another log takes them.
    Files are not named again: they are known by digest."""
    packed = []
    for schema, rows in ((REMITTANCE_ITEM, remittances), (PAYMENT_ITEM, payments)):
        block = schema.pack({name: rows[name] for name in schema.types})
        packed += [block.data, block.stops.astype("<i8").tobytes()]
    keys = np.unique(remittances["profile"][remittances["start"] >= 0]).tolist()
    profiles = state.fetch(tenant, profile_ids(keys)).bodies.rows() if keys else []
    return ItemsEntry((), packed[0], packed[1], packed[2], packed[3], tuple(profiles))


def out_of_quarantine(
    state: State, directory: Directory | None, position: int
) -> Iterator[list[tuple[str, Entry]]]:
    """Decisions that move items of the quarantine to the tenants of their payees, each with the
    items for the other log: what one append takes, of at most ENTRY_ITEMS_MAX items.

    directory : the one that holds; without one everything goes to the default tenant
    position : mark of the quarantine, for the decisions' numbers

    Stays: whom nobody knows still, and what was moved, voided or written to suspense. Nothing where
    the quarantine has not changed since its items were moved: so it may be asked at any time after
    the matcher has applied its log. O(items).
    """
    records = Records.concat(
        list(state.scan(QUARANTINE, (RecordKind.REMITTANCE, RecordKind.PAYMENT)))
    )
    left = REMITTANCE.unpack(records.of_kind(RecordKind.REMITTANCE).bodies)
    right = PAYMENT.unpack(records.of_kind(RecordKind.PAYMENT).bodies)
    if not len(records):
        return
    found = Router(directory).reroute(left, right)
    place = 0
    for number, tenant in enumerate(found.names):
        if tenant == QUARANTINE:
            continue
        going = _going(left, found.remittances == number), _going(right, found.payments == number)
        for some_left, some_right in _chunks(*going):
            part = take(left, some_left), take(right, some_right)
            decision = DecisionEntry(
                "move",
                f"{MOVER}-{position}-{place}",
                MOVER,
                "the directory knows the payee now",
                _ids(part[0]),
                _ids(part[1]),
                tenant=tenant,
            )
            yield [(QUARANTINE, decision), (tenant, items_entry(state, QUARANTINE, *part))]
            place += 1


def _going(rows: Columns, wanted: Mask) -> Rows:
    return np.flatnonzero(wanted & (rows["flags"] & _STAYS == 0))


def _chunks(left: Rows, right: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Both, in pieces of at most ENTRY_ITEMS_MAX in all."""
    both = np.concatenate([left, right])
    for start in range(0, len(both), ENTRY_ITEMS_MAX):
        stop = start + ENTRY_ITEMS_MAX
        yield left[start:stop], right[max(start - len(left), 0) : max(stop - len(left), 0)]


def _ids(rows: Columns) -> bytes:
    return id_bytes(rows["id_digest"], rows["id_offset"]).tobytes()
