"""The open items of the ledger, kept as columns beside the chained rows: derived, never a truth.

What is open follows from status and flags alone (`open_mask`), so a batch says by itself which
items open, change and close. Each append leaves that as two small packed tables (`open_change`).
They are folded into columns, one packed array per field and tenant (`open_base`), when they have
become many. A reader takes the columns that it needs and the changes since: no list of a million
rows is ever read or updated row by row.

Open are remittances that are neither released, voided, archived nor moved, whatever else they are
(held, invalid, a suspected duplicate: each has its status to be told by); and payments that are
UNMATCHED, SUGGESTED, PARTIAL, QUARANTINED or DUPLICATE. A matched payment is not listed: what is
matched and not released is listed by its remittance, so no money is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, func, select

from reassoc.core import _keys
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream import ledger_schema as schema
from reassoc.stream.items import ItemFlag
from reassoc.stream.ledger_rows import DETAIL_TEXTS, ItemSide, decode_texts
from reassoc.stream.ledger_store import Inserts, LedgerError, fetch, wanted_rows

OPEN_CHANGES_MAX = 1 << 16
"""Changes kept beside the columns; an eighth of the rows of the columns where that is more."""
OPEN_BATCHES_MAX = 4096
"""Batches whose changes are kept beside the columns."""
OPEN_ITEMS_MAX = 1 << 26
"""Open items of one tenant: a field of them is one value of the database, at most 512 MiB."""

OPEN_ROW = np.dtype(
    [
        ("key", "<u8"),
        ("digest", "<u8"),
        ("offset", "<i8"),
        ("side", "u1"),
        ("status", "u1"),
        ("funding", "u1"),
        ("flags", "<u2"),
        ("cents", "<i8"),
        ("day", "<i4"),
        ("payer", "<u8"),
        ("payee_id", "<u8"),
        ("payee_account", "<u8"),
        ("trace", "<u8"),
    ]
)
"""An open item. key: `item_keys`. day: what its age counts from, ITEM_ROW.day. Texts are hashes
(`hash_details`), enough to filter by; payer is of identifier and name."""

CHANGE_ROW = np.dtype(
    [("key", "<u8"), ("status", "u1"), ("funding", "u1"), ("flags", "<u2"), ("open", "u1")]
)
"""What became of an item that was open before: where it stands now, and whether it still is."""

HASHED = ("payer", "payee_id", "payee_account", "trace")

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Details = Mapping[str, Sequence[bytes]]

_OFFSET_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_KEY_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_OPEN_STATUSES = np.zeros((2, 256), np.bool_)
_OPEN_STATUSES[ItemSide.REMITTANCE, list(RemittanceStatus)] = True
_OPEN_STATUSES[
    ItemSide.REMITTANCE,
    [
        RemittanceStatus.RECEIVED,
        RemittanceStatus.RELEASED,
        RemittanceStatus.VOIDED,
        RemittanceStatus.ARCHIVED,
    ],
] = False
_OPEN_STATUSES[
    ItemSide.PAYMENT,
    [
        PaymentStatus.UNMATCHED,
        PaymentStatus.SUGGESTED,
        PaymentStatus.PARTIAL,
        PaymentStatus.QUARANTINED,
        PaymentStatus.DUPLICATE,
    ],
] = True
_BEYOND = np.uint16(ItemFlag.RELEASED | ItemFlag.CLOSED | ItemFlag.MOVED)


def open_mask(side: Rows, status: Rows, flags: Rows) -> Mask:
    """bool[n]: which of n items are open, by what stands in ITEM_ROW and STATUS_ROW."""
    answer: Mask = _OPEN_STATUSES[side, status] & (flags & _BEYOND == 0)
    return answer


def item_keys(digest: Keys, offset: npt.NDArray[np.int64]) -> Keys:
    """uint64[n]: one number per item id. Ids of one file never share one; those of several files
    do as seldom as files share their 8 bytes of digest."""
    keys: Keys = digest ^ offset.astype(np.int64).view(np.uint64) * _OFFSET_FACTOR
    keys ^= keys >> np.uint64(32)
    keys *= _KEY_FACTOR
    keys ^= keys >> np.uint64(32)
    return keys


def hash_texts(values: Sequence[bytes]) -> Keys:
    """uint64[n]: hashes of letters and digits, case folded; 0 for none."""
    lengths = np.fromiter(map(len, values), np.uint32, len(values))
    starts = np.cumsum(lengths, dtype=np.uint32) - lengths
    source = np.frombuffer(b"".join(values), np.uint8)
    return _keys.text_hashes(source, np.stack([starts, lengths], axis=1))


def hash_details(details: Details) -> dict[str, Keys]:
    """`hash_texts` of each of HASHED, by one value of each of DETAIL_TEXTS per item."""
    named = zip(details["payer_id"], details["payer_name"], strict=True)
    values = [number + name for number, name in named]
    count = len(values)
    for name in HASHED[1:]:
        values += details[name]
    hashes = hash_texts(values)
    return {name: hashes[at * count : (at + 1) * count] for at, name in enumerate(HASHED)}


def decode_details(details: bytes, count: int) -> Details:
    """LedgerBatch.details: one value per item in each of DETAIL_TEXTS; all empty where there are
    none. Raises LedgerError."""
    if not details:
        return {name: [b""] * count for name in DETAIL_TEXTS}
    try:
        texts = decode_texts(details)
    except ValueError:
        raise LedgerError("the details of a batch cannot be read: the outbox is damaged") from None
    if set(texts) != set(DETAIL_TEXTS) or {len(v) for v in texts.values()} != {count}:
        raise LedgerError("the details of a batch do not have one value for each of its items")
    return texts


# ---- what a batch changes ----


class OpenChanges(msgspec.Struct, frozen=True):
    """OPEN_ROW and CHANGE_ROW rows of one batch, and the rows of its statuses that open an item
    that came earlier (`reopened`)."""

    opened: Rows
    changed: Rows
    reopened: Rows


def find_changes(items: Rows, statuses: Rows, hashed: Mapping[str, Keys]) -> OpenChanges:
    """What a batch of ITEM_ROW and STATUS_ROW rows does to the open items. O(n log n).

    hashed : `hash_details` of the items
    """
    keys = item_keys(statuses["digest"], statuses["offset"])
    order = np.argsort(keys, kind="stable")
    first, last = _ends(keys[order])
    before, after = statuses[order[first]], statuses[order[last]]
    keys = keys[order[first]]
    was_open = open_mask(before["side"], before["before"], before["flags_before"])
    is_open = open_mask(after["side"], after["after"], after["flags_after"])

    new_keys = item_keys(items["digest"], items["offset"])
    new_order = np.argsort(new_keys, kind="stable")
    places, is_new = _find(new_keys[new_order], keys)
    opens = is_new & is_open
    opened = _open_rows(keys[opens], after[opens])
    rows = new_order[places[opens]]
    for name in ("cents", "day"):
        opened[name] = items[name][rows]
    for name in HASHED:
        opened[name] = hashed[name][rows]

    stays = ~is_new & was_open
    changed = np.zeros(int(stays.sum()), CHANGE_ROW)
    changed["key"] = keys[stays]
    changed["open"] = is_open[stays]
    for name, source in _AFTER.items():
        changed[name] = after[source][stays]
    return OpenChanges(opened, changed, after[~is_new & ~was_open & is_open])


_AFTER = {"status": "after", "funding": "funding_after", "flags": "flags_after"}


def _open_rows(keys: Keys, statuses: Rows) -> Rows:
    rows = np.zeros(len(keys), OPEN_ROW)
    rows["key"] = keys
    for name in ("digest", "offset", "side"):
        rows[name] = statuses[name]
    for name, source in _AFTER.items():
        rows[name] = statuses[source]
    return rows


def _ends(keys: Keys) -> tuple[Mask, Mask]:
    """The first and the last row of each run of equal keys, as masks over sorted keys."""
    step = np.ones(len(keys) + 1, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=step[1:-1])
    return step[:-1], step[1:]


def _find(sorted_keys: Keys, wanted: Keys) -> tuple[npt.NDArray[np.int64], Mask]:
    """Places of keys among sorted ones, and which of them are there (place 0 for the others)."""
    if not len(sorted_keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    places = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    found: Mask = sorted_keys[places] == wanted
    return np.where(found, places, 0).astype(np.int64), found


def reopen(connection: Connection, statuses: Rows) -> Rows:
    """OPEN_ROW rows of items that came with earlier batches. Items that the ledger does not have
    are left out."""
    item, detail, place = schema.item, schema.item_detail, schema.item_place
    digests, offsets = statuses["digest"].view(np.int64), statuses["offset"]
    ids = list(zip(digests.tolist(), offsets.tolist(), strict=True))
    columns = [item.c.digest, item.c.offset, item.c.cents, item.c.day]
    texts = [detail.c[name] for name in DETAIL_TEXTS]
    same = (detail.c.digest == item.c.digest) & (detail.c.offset == item.c.offset)
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for wanted in wanted_rows(digests, offsets):
        named = (place.c.digest == wanted.c.column1) & (place.c.offset == wanted.c.column2)
        source = wanted.join(place, named).join(item, item.c.number == place.c.number)
        statement = select(*columns, *texts).select_from(source.outerjoin(detail, same))
        found |= {(row[0], row[1]): row[2:] for row in fetch(connection, statement, once=True)}
    rows = [row for row, key in enumerate(ids) if key in found]
    values = [found[ids[row]] for row in rows]
    opened = _open_rows(item_keys(statuses["digest"], statuses["offset"])[rows], statuses[rows])
    opened["cents"] = [value[0] for value in values]
    opened["day"] = [value[1] for value in values]
    details = {
        name: [(value[at] or "").encode() for value in values]
        for at, name in enumerate(DETAIL_TEXTS, 2)
    }
    for name, hashes in hash_details(details).items():
        opened[name] = hashes
    return opened


def write_changes(
    inserts: Inserts, tenant: str, sequence: int, opened: Rows, changed: Rows
) -> None:
    """Leave what a batch did."""
    if len(opened) or len(changed):
        row = (tenant, sequence, opened.tobytes(), changed.tobytes())
        inserts.rows(schema.open_change, [row])


# ---- reading and folding ----


class OpenPart(msgspec.Struct, frozen=True):
    """Some of a tenant's open items. live: which rows are open, None for all of them."""

    columns: Mapping[str, npt.NDArray[Any]]
    live: Mask | None = None


def read_open(connection: Connection, tenant: str, fields: Sequence[str]) -> list[OpenPart]:
    """Some fields of OPEN_ROW of all open items of a tenant, in no order that means anything.

    O(open items), about 2 ms for each field of a million.
    """
    base, change = schema.open_base, schema.open_change
    events = fetch(
        connection,
        select(change.c.opened, change.c.changed)
        .where(change.c.tenant == tenant)
        .order_by(change.c.sequence),
    )
    needed = {*fields, *(("key", *_AFTER) if events else ())}
    stored = fetch(
        connection,
        select(base.c.field, base.c.data).where(
            (base.c.tenant == tenant) & base.c.field.in_(sorted(needed))
        ),
    )
    columns = {name: np.zeros(0, OPEN_ROW[name]) for name in needed}
    columns |= {name: np.frombuffer(data, OPEN_ROW[name]) for name, data in stored}
    return _merge(columns, events) if events else [OpenPart(columns)]


def _merge(
    columns: dict[str, npt.NDArray[Any]], events: Sequence[tuple[bytes, bytes]]
) -> list[OpenPart]:
    """The columns (sorted by key) as they stand after what happened since, and what is new."""
    opened = [np.frombuffer(data, OPEN_ROW) for data, _ in events]
    latest = _latest(opened, [np.frombuffer(data, CHANGE_ROW) for _, data in events])
    places, found = _find(columns["key"], latest["key"])
    live = np.ones(len(columns["key"]), np.bool_)
    live[places[found]] = latest["open"][found] != 0
    for name in _AFTER:
        columns[name] = columns[name].copy()
        columns[name][places[found]] = latest[name][found]

    # What an item is never changes, so any of its rows will do for what is not its status.
    rows = np.concatenate(opened)
    keys = np.ascontiguousarray(rows["key"])
    order = np.argsort(keys, kind="stable")
    wanted = latest[~found & (latest["open"] != 0)]
    places, known = _find(keys[order], np.ascontiguousarray(wanted["key"]))
    wanted, numbers = wanted[known], order[places[known]]
    added = {name: rows[name][numbers] for name in columns}
    added |= {name: np.ascontiguousarray(wanted[name]) for name in _AFTER}
    return [OpenPart(columns, live), OpenPart(added)]


def _latest(opened: Sequence[Rows], changed: Sequence[Rows]) -> Rows:
    """CHANGE_ROW of where each item that something happened to stands now, by key."""
    parts = []
    for new, old in zip(opened, changed, strict=True):
        rows = np.zeros(len(new) + len(old), CHANGE_ROW)
        for name in ("key", *_AFTER):
            rows[name][: len(new)] = new[name]
        rows["open"] = 1
        rows[len(new) :] = old
        parts.append(rows)
    rows = np.concatenate(parts)
    keys = np.ascontiguousarray(rows["key"])
    order = np.argsort(keys, kind="stable")
    return rows[order[_ends(keys[order])[1]]]


def fold_open(connection: Connection, tenant: str, sequence: int) -> int:
    """Put the changes of a tenant up to its last batch, `sequence`, into its columns; how many
    items are open. Raises LedgerError above OPEN_ITEMS_MAX. O(open items log)."""
    assert OPEN_ROW.names is not None
    parts = read_open(connection, tenant, OPEN_ROW.names)
    columns = {
        name: np.concatenate(
            [
                part.columns[name] if part.live is None else part.columns[name][part.live]
                for part in parts
            ]
        )
        for name in OPEN_ROW.names
    }
    count = len(columns["key"])
    if count > OPEN_ITEMS_MAX:
        raise LedgerError(
            f"more open items of one tenant than OPEN_ITEMS_MAX ({OPEN_ITEMS_MAX}): "
            "release, void or write off what will never be matched"
        )
    order = np.argsort(columns["key"], kind="stable")
    base, change = schema.open_base, schema.open_change
    connection.execute(delete(base).where(base.c.tenant == tenant))
    for name in OPEN_ROW.names:
        row = (tenant, name, sequence, count, columns[name][order].tobytes())
        inserts = Inserts(connection)
        inserts.rows(base, [row])
        inserts.flush()
    connection.execute(delete(change).where(change.c.tenant == tenant))
    return count


def count_pending(connection: Connection, tenant: str) -> tuple[int, int, int]:
    """What lies beside the columns of a tenant: (changes, batches), and how many rows the columns
    have."""
    base, change = schema.open_base, schema.open_change
    opened_bytes, changed_bytes, batches = fetch(
        connection,
        select(
            func.coalesce(func.sum(func.length(change.c.opened)), 0),
            func.coalesce(func.sum(func.length(change.c.changed)), 0),
            func.count(),
        ).where(change.c.tenant == tenant),
    )[0]
    counts = fetch(
        connection,
        select(base.c.item_count).where((base.c.tenant == tenant) & (base.c.field == "key")),
    )
    changes = int(opened_bytes) // OPEN_ROW.itemsize + int(changed_bytes) // CHANGE_ROW.itemsize
    return changes, batches, counts[0][0] if counts else 0


def is_fold_due(changes: int, batches: int, item_count: int) -> bool:
    """Whether the changes beside the columns have become many."""
    return batches > OPEN_BATCHES_MAX or changes > max(OPEN_CHANGES_MAX, item_count // 8)
