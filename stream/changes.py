"""From what a matching says to one step: the records that change. step_rows.py has the rest.

Everything here compares the live columns with what they were; nothing decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE
from reassoc.core.statuses import PaymentStatus, RemittanceStatus, among
from reassoc.stream.deciding import DORMANT, Decided
from reassoc.stream.event_facts import event_facts
from reassoc.stream.items import (
    PAIR,
    PAYMENT,
    REMITTANCE,
    VETO,
    ItemFlag,
    RecordKind,
    ReleaseKind,
    id_bytes,
)
from reassoc.stream.ledger_rows import (
    LedgerBatch,
    MovedItems,
    OutboxBody,
    PairEvent,
    ReleaseOrder,
    encode_body,
)
from reassoc.stream.live import (
    Columns,
    Live,
    Mask,
    Rows,
    Side,
    id_keys_of,
    lookup,
    match_keys_of,
    pair_ids,
)
from reassoc.stream.making import KeyedRows, Making
from reassoc.stream.records import Block, Schema, joined, take
from reassoc.stream.state import Ids, Keys, Records, Step, Stops, no_ids
from reassoc.stream.status_machine import check_funding, check_payments, check_remittances
from reassoc.stream.step_rows import Profiles, batches_of, order_of, pair_rows


def make_step(live: Live, decided: Decided, making: Making, profiles: Profiles) -> Step:
    """Put a step together. Raises StatusError where an item would come to a status that it cannot
    have: then nothing may be applied. O(items)."""
    _release(live.remittances, making)
    for side, closed in (
        (live.remittances, _closed_remittances),
        (live.payments, _closed_payments),
    ):
        _close(side, closed(side.rows), making.day)
    _check(live)
    pairs = _pair_changes(live, decided)
    puts, updates, bodies = _item_records(live, making)
    new_count = 0 if making.rekeyed else sum(map(len, puts))
    puts += [pairs.puts, *_veto_records(making), _other_records(making)]
    updates = np.concatenate([updates, pairs.updates])
    bodies = Block.concat([bodies, pairs.bodies])
    removes = [pairs.gone]
    closed_ids = no_ids()
    if making.forget is not None:
        closed_ids, pairs_gone = _forgotten(live, decided, making.forget)
        removes += [closed_ids, pairs_gone]
        puts = [_without(part, removes) for part in puts]
        new_count = 0
        keep = lookup(np.concatenate(removes), updates) < 0
        updates, bodies = updates[keep], bodies.take(np.flatnonzero(keep))
    batches = batches_of(live, decided, making, pairs.events, closed_ids)
    order = order_of(live.remittances, making, profiles)
    return Step(
        making.mark,
        making.position,
        Records.concat(puts),
        updates,
        bodies,
        np.unique(np.concatenate(removes), axis=0) if any(map(len, removes)) else no_ids(),
        [encode_body(body) for body in _outbox(live, batches, order, making.moved)],
        new_count,
    )


def _outbox(
    live: Live, batches: list[LedgerBatch], order: ReleaseOrder | None, moved: MovedItems | None
) -> list[OutboxBody]:
    """Entries of the outbox: what follows from the step comes with the last of its batches."""
    bodies = [OutboxBody(batch, facts=event_facts(live, batch)) for batch in batches]
    bodies[-1] = OutboxBody(batches[-1], order, bodies[-1].facts, moved)
    return bodies


def _release(side: Side, making: Making) -> None:
    rows, kinds = side.rows, making.kinds
    going = np.flatnonzero(kinds)
    rows["flags"][going] |= np.uint16(ItemFlag.RELEASED)
    rows["flags"][kinds == ReleaseKind.DEFAULT] |= np.uint16(ItemFlag.DEFAULTED)
    rows["status"][going] = RemittanceStatus.RELEASED
    rows["release_kind"][going] = kinds[going]
    rows["sendings"][going] = 1
    rows["sendings"][making.resend] += np.uint8(1)


_CLOSED_PAYMENTS = among(
    (
        PaymentStatus.RECEIVED,
        PaymentStatus.DUPLICATE,
        PaymentStatus.NOT_CLAIM_PAYMENT,
        PaymentStatus.PRENOTE,
        PaymentStatus.RETURNED,
        PaymentStatus.REVERSED,
        PaymentStatus.REPORTED,
        PaymentStatus.MATCHED,
        PaymentStatus.WRITTEN_TO_SUSPENSE,
    )
)
"""Payments that wait for nothing; a matched one leaves the state only with its remittances."""
_CLOSED_REMITTANCES = among(
    (
        RemittanceStatus.DUPLICATE,
        RemittanceStatus.RELEASED,
        RemittanceStatus.VOIDED,
        RemittanceStatus.ARCHIVED,
    )
)


def _closed_remittances(rows: Columns) -> Mask:
    closed: Mask = _CLOSED_REMITTANCES[rows["status"]]
    return closed


def _closed_payments(rows: Columns) -> Mask:
    closed: Mask = _CLOSED_PAYMENTS[rows["status"]]
    closed |= rows["flags"] & int(ItemFlag.MOVED) != 0
    return closed


def _close(side: Side, closed: Mask, day: int) -> None:
    known = side.rows["closed_day"]
    newly = closed & (known == DATE_NONE)
    known[newly] = day
    known[~closed] = DATE_NONE


def _check(live: Live) -> None:
    left, right = live.remittances, live.payments
    for side, check in ((left, check_remittances), (right, check_payments)):
        was, now = side.before, side.rows
        check(was["status"], now["status"], was["flags"], now["flags"])
    check_funding(right.before["funding"], right.rows["funding"], right.rows["status"])


# ---- records ----


def _item_records(live: Live, making: Making) -> tuple[list[Records], Ids, Block]:
    puts, ids, bodies = [], [], []
    for side, schema, kind, keyed in (
        (live.remittances, REMITTANCE, RecordKind.REMITTANCE, making.remittance_keys),
        (live.payments, PAYMENT, RecordKind.PAYMENT, making.payment_keys),
    ):
        put = np.flatnonzero(side.fresh | making.rekeyed)
        puts.append(_keyed_records(schema, kind, side, put, keyed))
        updated = np.flatnonzero(side.changed & ~side.fresh & (not making.rekeyed))
        ids.append(side.ids[updated])
        bodies.append(schema.pack(take(side.rows, updated)))
    return puts, np.concatenate(ids), Block.concat(bodies)


def _keyed_records(
    schema: Schema, kind: RecordKind, side: Side, rows: Rows, keyed: KeyedRows
) -> Records:
    return Records(
        side.ids[rows],
        np.full(len(rows), kind, np.uint8),
        keyed.keys,
        keyed.stops,
        schema.pack(take(side.rows, rows)),
    )


def _pair_keys(pairs: Columns, *more: Keys) -> tuple[Keys, Stops]:
    columns = [
        id_keys_of(pairs[f"{side}_digest"], pairs[f"{side}_offset"])
        for side in ("remittance", "payment")
    ]
    keys = np.stack([*columns, *more], axis=1)
    return keys.ravel(), np.arange(1, len(keys) + 1) * keys.shape[1]


def _records_of(schema: Schema, kind: RecordKind, rows: Columns, *more: Keys) -> Records:
    """Records of pairs or vetoes: found by both items, and by further keys."""
    ids = pair_ids(rows)
    return Records(
        ids, np.full(len(ids), kind, np.uint8), *_pair_keys(rows, *more), schema.pack(rows)
    )


_SHOWN_AS = ("status", "tier", "person")


@dataclass(frozen=True, slots=True)
class _PairChanges:
    """puts : pairs that are new, or that are found by other keys from now on
    updates, bodies : ids and bodies of those of which something else has changed
    gone : ids of those that are no more
    events : rows of ledger_rows.PAIR_ROW
    """

    puts: Records
    updates: Ids
    bodies: Block
    gone: Ids
    events: npt.NDArray[Any]


def _pair_changes(live: Live, decided: Decided) -> _PairChanges:
    """What becomes of the pairs. One with an item that is not among the live ones is none of this
    step's business."""
    new, old = PAIR.table(decided.pairs), PAIR.table(live.pairs)
    new_ids, old_ids = pair_ids(new), pair_ids(old)
    at = lookup(old_ids, new_ids)
    fresh = at < 0
    differs, shown, rekeyed = np.zeros((3, len(at)), np.bool_)
    known = np.flatnonzero(~fresh)
    was, now = old.take(at[known]), new.take(known)
    differs[known] = (was.row_bytes != now.row_bytes).any(axis=1)
    for name in _SHOWN_AS:
        shown[known] |= was[name] != now[name]
    rekeyed[known] = was["match_id"] != now["match_id"]
    rekeyed |= fresh
    put = take(new, np.flatnonzero(rekeyed))
    updated = np.flatnonzero(differs & ~rekeyed)
    both = _is_here(live, old)
    gone = (lookup(new_ids, old_ids) < 0) & both
    visible_now = new["status"] != DORMANT
    visible_before = np.append(old["status"] != DORMANT, False)[at]
    events = [
        pair_rows(new, visible_now & ~visible_before, PairEvent.MADE),
        pair_rows(new, visible_now & visible_before & shown, PairEvent.CHANGED),
        pair_rows(new, ~visible_now & visible_before, PairEvent.GONE),
        pair_rows(old, gone & (old["status"] != DORMANT), PairEvent.GONE),
    ]
    return _PairChanges(
        _records_of(PAIR, RecordKind.PAIR, put, match_keys_of(put["match_id"])),
        new_ids[updated],
        PAIR.pack(take(new, updated)),
        old_ids[gone],
        joined(events),
    )


def _is_here(live: Live, pairs: Columns) -> Mask:
    here = np.ones(len(pairs["status"]), np.bool_)
    for side, items in (("remittance", live.remittances), ("payment", live.payments)):
        ids = id_bytes(pairs[f"{side}_digest"], pairs[f"{side}_offset"])
        here &= lookup(items.ids, ids) >= 0
    return here


def _veto_records(making: Making) -> list[Records]:
    if making.vetoes is None:
        return []
    return [_records_of(VETO, RecordKind.VETO, making.vetoes)]


def _other_records(making: Making) -> Records:
    rows = list({row[0]: row for row in making.records}.values())
    ids = np.frombuffer(b"".join(row[0] for row in rows), np.uint8).reshape(-1, 16)
    kinds = np.array([row[1] for row in rows], np.uint8)
    return Records(
        ids,
        kinds,
        np.zeros(0, np.uint64),
        np.zeros(len(rows), np.int64),
        Block.of([row[2] for row in rows]),
    )


def _forgotten(live: Live, decided: Decided, forget: tuple[Rows, Rows]) -> tuple[Ids, Ids]:
    """Ids of items that leave the state, and of the pairs that go with them."""
    left = np.zeros(len(live.remittances) + 1, np.bool_)
    right = np.zeros(len(live.payments) + 1, np.bool_)
    left[forget[0]] = right[forget[1]] = True
    going = left[decided.pair_remittance] | right[decided.pair_payment]
    ids = np.concatenate([live.remittances.ids[forget[0]], live.payments.ids[forget[1]]])
    return ids, pair_ids(take(decided.pairs, np.flatnonzero(going)))


def _without(records: Records, removes: list[Ids]) -> Records:
    keep = lookup(np.concatenate(removes), records.ids) < 0
    return records if keep.all() else records.take(np.flatnonzero(keep))
