"""Items on their way from one tenant to another: what the other log gets, and who leaves the
quarantine once the directory knows its payee.

A move is a decision on the log of the tenant that has the items. The step that makes it keeps them
in its outbox, and they are put on the other log when the ledger knows that they left. So no item is
ever of two tenants, wherever their logs lie; where a crash puts them there twice, the other tenant
knows them by their ids. See docs/decisions/0019.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from reassoc.core.directory import Directory
from reassoc.stream.item_log import (
    ENTRY_BYTES_MAX,
    DecisionEntry,
    Entry,
    ItemsEntry,
)
from reassoc.stream.item_rows import Entries, Share
from reassoc.stream.items import (
    PAYMENT,
    PAYMENT_ITEM,
    REMITTANCE,
    REMITTANCE_ITEM,
    ItemFlag,
    RecordKind,
    id_bytes,
)
from reassoc.stream.ledger_rows import MovedItems
from reassoc.stream.live import Columns, Mask, Rows, profile_ids
from reassoc.stream.profiles import decode_profile, profile_key
from reassoc.stream.records import Block, take
from reassoc.stream.routing import QUARANTINE, Router
from reassoc.stream.state import Records, State

NOBODY = Directory()
"""What the quarantine is matched by: nothing of it is anybody's, so nothing pairs or is released
there, whatever the directory says by then."""
MOVER = "directory"
"""Who decides that items leave the quarantine."""
MOVE_ITEMS_MAX = 2_048
"""Items of one such decision: it fits in the smallest message that a broker may be set to."""
_STAYS = int(ItemFlag.RELEASED | ItemFlag.CLOSED | ItemFlag.MOVED)


def moved_items(
    state: State, tenant: str, target: str, remittances: Columns, payments: Columns
) -> MovedItems:
    """Items of a tenant's state, rows of items.REMITTANCE and PAYMENT, as another one gets them.

    A person's word goes with them: what is held stays held, and so does an 835 of which a match was
    undone, since the other tenant does not know of which payment.
    """
    held = remittances["flags"] & int(ItemFlag.HELD) != 0
    held |= remittances["generation"] != 0
    free, kept = (take(remittances, np.flatnonzero(some)) for some in (~held, held))
    items = _items_entry(state, tenant, free, payments)
    if not held.any():
        return MovedItems(target, items)
    return MovedItems(target, items, _items_entry(state, tenant, kept, PAYMENT.empty()))


def _items_entry(state: State, tenant: str, remittances: Columns, payments: Columns) -> ItemsEntry:
    """Items as an entry. Files are not named again: they are known by digest."""
    packed = []
    for schema, rows in ((REMITTANCE_ITEM, remittances), (PAYMENT_ITEM, payments)):
        block = schema.pack({name: rows[name] for name in schema.types})
        packed += [block.data, block.stops.astype("<i8").tobytes()]
    keys = np.unique(remittances["profile"][remittances["start"] >= 0]).tolist()
    profiles = state.fetch(tenant, profile_ids(keys)).bodies.rows() if keys else []
    return ItemsEntry((), packed[0], packed[1], packed[2], packed[3], tuple(profiles))


def handed_on(
    state: State, moves: Sequence[MovedItems], entry_bytes_max: int = ENTRY_BYTES_MAX
) -> list[tuple[str, Entry]]:
    """What goes on the logs of other tenants, in entries of at most so many bytes. Not what a
    tenant has: it was put there before a crash, or the logs are lived through once more. O(items).
    """
    free, held = Entries(entry_bytes_max), Entries(entry_bytes_max)
    for move in moves:
        _add(state, move.tenant, move.items, free)
        if move.held is not None:
            _add(state, move.tenant, move.held, held)
    return free.take() + [
        (tenant, msgspec.structs.replace(entry, held=True)) for tenant, entry in held.take()
    ]


def _add(state: State, tenant: str, items: ItemsEntry, entries: Entries) -> None:
    left, right = _blocks(items)
    rows = REMITTANCE_ITEM.unpack(left), PAYMENT_ITEM.unpack(right)
    ids = np.concatenate([id_bytes(each["id_digest"], each["id_offset"]) for each in rows])
    if len(state.fetch(tenant, ids)) < len(ids):
        profiles = {profile_key(decode_profile(data)): data for data in items.profiles}
        entries.add(Share(tenant, left, right), None, profiles)


def _blocks(entry: ItemsEntry) -> tuple[Block, Block]:
    return (
        Block(entry.remittances, np.frombuffer(entry.remittance_stops, "<i8").astype(np.int64)),
        Block(entry.payments, np.frombuffer(entry.payment_stops, "<i8").astype(np.int64)),
    )


def out_of_quarantine(
    state: State, directory: Directory | None, position: int
) -> Iterator[DecisionEntry]:
    """Decisions that move items of the quarantine to the tenants of their payees, of at most
    MOVE_ITEMS_MAX items each.

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
            yield DecisionEntry(
                "move",
                f"{MOVER}-{position}-{place}",
                MOVER,
                "the directory knows the payee now",
                _ids(take(left, some_left)),
                _ids(take(right, some_right)),
                tenant=tenant,
            )
            place += 1


def _going(rows: Columns, wanted: Mask) -> Rows:
    return np.flatnonzero(wanted & (rows["flags"] & _STAYS == 0))


def _chunks(left: Rows, right: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Both, in pieces of at most MOVE_ITEMS_MAX in all."""
    both = np.concatenate([left, right])
    for start in range(0, len(both), MOVE_ITEMS_MAX):
        stop = start + MOVE_ITEMS_MAX
        yield left[start:stop], right[max(start - len(left), 0) : max(stop - len(left), 0)]


def _ids(rows: Columns) -> bytes:
    return id_bytes(rows["id_digest"], rows["id_offset"]).tobytes()
