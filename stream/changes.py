"""From what a matching says to steps: the records that change. step_rows.py has the rest.

Everything here compares the live columns with what they were; nothing decides. What is of several
tenants is compared at once, and divided among their steps at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reassoc.core.columns import DATE_NONE
from reassoc.core.statuses import PaymentStatus, RemittanceStatus, among
from reassoc.stream.deciding import DORMANT, Decided
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
from reassoc.stream.ledger_rows import MovedItems, OutboxBody, PairEvent, ReleaseOrder, encode_body
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
from reassoc.stream.making import Heading, KeyedRows, Making
from reassoc.stream.owners import Owned, divided
from reassoc.stream.records import Block, Schema, take
from reassoc.stream.state import Ids, Keys, Records, Step, Stops, no_ids
from reassoc.stream.status_machine import check_funding, check_payments, check_remittances
from reassoc.stream.step_rows import Told, batches_of, orders_of, pair_rows


def make_steps(live: Live, decided: Decided, making: Making) -> list[Step]:
    """Put the step of each tenant together. Raises StatusError where an item would come to a status
    that it cannot have: then nothing may be applied. O(items)."""
    _release(live.remittances, making)
    for side, closed in (
        (live.remittances, _closed_remittances),
        (live.payments, _closed_payments),
    ):
        _close(side, closed(side.rows), making.headings[0].day)
    if making.forget is not None:
        _let_go(live, making.forget)
    _check(live)
    pairs = _pair_changes(live, decided)
    changes = _item_changes(live, making)
    changes.add(pairs.changes)
    changes.put(_veto_records(making), 0)
    closed_ids = no_ids()
    if making.forget is not None:
        closed_ids, others_gone = _forgotten(live, decided, making.forget)
        changes.forget([closed_ids, others_gone])
    told = batches_of(live, decided, making, pairs.events, closed_ids)
    orders = orders_of(live.remittances, making)
    own = changes.divided(len(making.headings))
    return list(map(_step, own, making.headings, told, orders))


def _step(own: _Own, heading: Heading, told: list[Told], order: ReleaseOrder | None) -> Step:
    gone = own.removes
    return Step(
        heading.mark,
        heading.position,
        Records.concat([own.puts, _other_records(heading)]),
        own.updates,
        own.bodies,
        np.unique(gone, axis=0) if len(gone) else no_ids(),
        [encode_body(body) for body in _outbox(told, order, heading.moved)],
        own.new_count,
    )


def _outbox(
    told: list[Told], order: ReleaseOrder | None, moved: MovedItems | None
) -> list[OutboxBody]:
    """Entries of the outbox: what follows from the step comes with the last of its batches."""
    bodies = [OutboxBody(batch, facts=facts) for batch, facts in told]
    bodies[-1] = OutboxBody(told[-1][0], order, bodies[-1].facts, moved)
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


def _let_go(live: Live, forget: tuple[Rows, Rows]) -> None:
    """Suspected duplicates that leave the state are not listed as open any more: nobody could
    decide about them."""
    for side, rows, duplicate in (
        (live.remittances, forget[0], RemittanceStatus.DUPLICATE),
        (live.payments, forget[1], PaymentStatus.DUPLICATE),
    ):
        copies = rows[side.rows["status"][rows] == duplicate]
        side.rows["flags"][copies] |= np.uint16(ItemFlag.CLOSED)


def _check(live: Live) -> None:
    left, right = live.remittances, live.payments
    for side, check in ((left, check_remittances), (right, check_payments)):
        was, now = side.before, side.rows
        check(was["status"], now["status"], was["flags"], now["flags"])
    check_funding(right.before["funding"], right.rows["funding"], right.rows["status"])


# ---- records ----


@dataclass(frozen=True, slots=True)
class _Own:
    """What changes for one tenant, see state.Step."""

    puts: Records
    updates: Ids
    bodies: Block
    removes: Ids
    new_count: int


@dataclass(slots=True)
class _Changes:
    """What changes for all tenants of the steps, each with whose it is.

    puts, put_owner : records that are new or replaced; the first `new_count` are of new items
    updates, update_owner, bodies : ids of records of which only the bodies change
    removes, remove_owner : ids of records that leave
    """

    puts: Records
    put_owner: Rows
    updates: Ids
    update_owner: Rows
    bodies: Block
    removes: Ids
    remove_owner: Rows
    new_count: int = 0

    def put(self, records: Sequence[Records], owner: int) -> None:
        """Put more, of one tenant."""
        for some in records:
            self.puts = Records.concat([self.puts, some])
            self.put_owner = np.concatenate([self.put_owner, np.full(len(some), owner)])

    def add(self, more: _Changes) -> None:
        """Change more, behind what is there."""
        self.puts = Records.concat([self.puts, more.puts])
        self.put_owner = np.concatenate([self.put_owner, more.put_owner])
        self.updates = np.concatenate([self.updates, more.updates])
        self.update_owner = np.concatenate([self.update_owner, more.update_owner])
        self.bodies = Block.concat([self.bodies, more.bodies])
        self.removes = np.concatenate([self.removes, more.removes])
        self.remove_owner = np.concatenate([self.remove_owner, more.remove_owner])

    def forget(self, removes: Sequence[Ids]) -> None:
        """Remove records of the one tenant whatever else becomes of them."""
        self.removes = np.concatenate([self.removes, *removes])
        self.remove_owner = np.zeros(len(self.removes), np.int64)
        kept = np.flatnonzero(lookup(self.removes, self.puts.ids) < 0)
        self.puts, self.put_owner = self.puts.take(kept), self.put_owner[kept]
        kept = np.flatnonzero(lookup(self.removes, self.updates) < 0)
        self.updates, self.bodies = self.updates[kept], self.bodies.take(kept)
        self.update_owner = self.update_owner[kept]
        self.new_count = 0

    def divided(self, count: int) -> list[_Own]:
        """Of each of so many tenants."""
        if count == 1:
            return [_Own(self.puts, self.updates, self.bodies, self.removes, self.new_count)]
        rows = (
            divided(owner, count)
            for owner in (self.put_owner, self.update_owner, self.remove_owner)
        )
        new = np.bincount(self.put_owner[: self.new_count], minlength=count).tolist()
        return [
            _Own(
                self.puts.take(put),
                self.updates[updated],
                self.bodies.take(updated),
                self.removes[removed],
                new_count,
            )
            for put, updated, removed, new_count in zip(*rows, new, strict=True)
        ]


def _item_changes(live: Live, making: Making) -> _Changes:
    puts, put_owner, ids, owner, bodies = [], [], [], [], []
    for side, schema, kind, keyed in (
        (live.remittances, REMITTANCE, RecordKind.REMITTANCE, making.remittance_keys),
        (live.payments, PAYMENT, RecordKind.PAYMENT, making.payment_keys),
    ):
        put = np.flatnonzero(side.fresh | making.rekeyed)
        puts.append(_keyed_records(schema, kind, side, put, keyed))
        put_owner.append(side.owner[put])
        updated = np.flatnonzero(side.changed & ~side.fresh & (not making.rekeyed))
        ids.append(side.ids[updated])
        owner.append(side.owner[updated])
        bodies.append(schema.pack(take(side.rows, updated)))
    changes = _Changes(
        Records.concat(puts),
        np.concatenate(put_owner),
        np.concatenate(ids),
        np.concatenate(owner),
        Block.concat(bodies),
        no_ids(),
        np.zeros(0, np.int64),
    )
    changes.new_count = 0 if making.rekeyed else len(changes.puts)
    return changes


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
    """changes : puts are pairs that are new, or that are found by other keys from now on; updates
        those of which something else has changed; removes those that are no more
    events : rows of ledger_rows.PAIR_ROW
    """

    changes: _Changes
    events: Owned


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
    owner, old_owner = decided.pair_owner, live.pair_owner
    events = [
        pair_rows(new, owner, visible_now & ~visible_before, PairEvent.MADE),
        pair_rows(new, owner, visible_now & visible_before & shown, PairEvent.CHANGED),
        pair_rows(new, owner, ~visible_now & visible_before, PairEvent.GONE),
        pair_rows(old, old_owner, gone & (old["status"] != DORMANT), PairEvent.GONE),
    ]
    changes = _Changes(
        _records_of(PAIR, RecordKind.PAIR, put, match_keys_of(put["match_id"])),
        owner[rekeyed],
        new_ids[updated],
        owner[updated],
        PAIR.pack(take(new, updated)),
        old_ids[gone],
        old_owner[gone],
    )
    return _PairChanges(changes, Owned.concat(events))


def _is_here(live: Live, pairs: Columns) -> Mask:
    here = np.ones(len(pairs["status"]), np.bool_)
    for side, items in (("remittance", live.remittances), ("payment", live.payments)):
        here &= lookup(items.ids, _ids(pairs, side)) >= 0
    return here


def _veto_records(making: Making) -> list[Records]:
    if making.vetoes is None:
        return []
    return [_records_of(VETO, RecordKind.VETO, making.vetoes)]


def _other_records(heading: Heading) -> Records:
    return Records.without_keys(list({row[0]: row for row in heading.records}.values()))


def _forgotten(live: Live, decided: Decided, forget: tuple[Rows, Rows]) -> tuple[Ids, Ids]:
    """Ids of items that leave the state, and of the pairs and vetoes that go with them."""
    left = np.zeros(len(live.remittances) + 1, np.bool_)
    right = np.zeros(len(live.payments) + 1, np.bool_)
    left[forget[0]] = right[forget[1]] = True
    going = left[decided.pair_remittance] | right[decided.pair_payment]
    ids = np.concatenate([live.remittances.ids[forget[0]], live.payments.ids[forget[1]]])
    vetoes = live.vetoes
    undone = left[lookup(live.remittances.ids, _ids(vetoes, "remittance"))]
    undone |= right[lookup(live.payments.ids, _ids(vetoes, "payment"))]
    gone = take(decided.pairs, np.flatnonzero(going)), take(vetoes, np.flatnonzero(undone))
    return ids, np.concatenate([pair_ids(each) for each in gone])


def _ids(pairs: Columns, side: str) -> Ids:
    return id_bytes(pairs[f"{side}_digest"], pairs[f"{side}_offset"])
