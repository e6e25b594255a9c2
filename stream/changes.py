"""From what a matching says to one step: records that change, ledger rows, what is released.

Everything here compares the live columns with what they were; nothing decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core._keys import mix
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.pool import text_parts
from reassoc.core.statuses import MatchStatus, PaymentStatus, Reason, RemittanceStatus, among
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
    ALERT_ROW,
    DETAIL_TEXTS,
    ITEM_ROW,
    LINK_ROW,
    ORDER_ROW,
    PAIR_ROW,
    STATUS_ROW,
    AlertCode,
    DecisionRow,
    ItemSide,
    LedgerBatch,
    MovedItems,
    OutboxBody,
    PairEvent,
    ReleaseOrder,
    encode_body,
    encode_details,
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
from reassoc.stream.records import Block, Schema, joined, take
from reassoc.stream.state import Ids, Keys, Records, Step, Stops, no_ids
from reassoc.stream.status_machine import check_funding, check_payments, check_remittances

OUTBOX_ROWS_MAX = 100_000
"""Rows of one table in one outbox entry; a step that writes more makes several entries."""


@dataclass(slots=True)
class KeyedRows:
    """The keys of new items of one side: those of row i are keys[stops[i - 1] : stops[i]]."""

    keys: Keys
    stops: Stops

    @classmethod
    def none(cls) -> KeyedRows:
        """No items."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64))


@dataclass(slots=True)
class Making:
    """A step that is being made.

    tenant, mark, position : what it is about; mark is that of the state before
    day, as_of, cause : for the ledger
    kinds : uint8[n]          ReleaseKind of what it releases
    resend : int64[r]         rows of remittances that are sent once more
    remittance_keys, payment_keys   of the new items
    business : uint64 by side       business keys of new items
    vetoes : rows of items.VETO     that are new
    drop_pairs : uint8[k, 16]       ids of pairs that a person undid
    records : further records       profiles, the tenant's own
    rekeyed : the keys of all items are made anew
    moved : items that go to another tenant
    """

    tenant: str
    mark: int
    position: int
    day: int
    as_of: str
    cause: str
    kinds: npt.NDArray[np.uint8]
    resend: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    remittance_keys: KeyedRows = field(default_factory=KeyedRows.none)
    payment_keys: KeyedRows = field(default_factory=KeyedRows.none)
    vetoes: Columns | None = None
    records: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    sources: tuple[tuple[bytes, str, str, int], ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    rekeyed: bool = False
    forget: tuple[Rows, Rows] | None = None
    moved: MovedItems | None = None


Profiles = Callable[[list[int]], Mapping[int, bytes]]
"""Encoded envelope profiles by their keys."""


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
    batches = _batches(live, decided, making, pairs.events, closed_ids)
    order = _order(live.remittances, making, profiles)
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
        _pair_rows(new, visible_now & ~visible_before, PairEvent.MADE),
        _pair_rows(new, visible_now & visible_before & shown, PairEvent.CHANGED),
        _pair_rows(new, ~visible_now & visible_before, PairEvent.GONE),
        _pair_rows(old, gone & (old["status"] != DORMANT), PairEvent.GONE),
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


def _pair_rows(pairs: Columns, which: Mask, event: PairEvent) -> npt.NDArray[Any]:
    rows = np.flatnonzero(which)
    table = np.zeros(len(rows), PAIR_ROW)
    assert PAIR_ROW.names is not None
    for name in PAIR_ROW.names if len(rows) else ():
        if name != "event":
            table[name] = pairs[name][rows]
    table["event"] = event
    return table


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


# ---- what the ledger hears ----


def _batches(
    live: Live,
    decided: Decided,
    making: Making,
    pair_events: npt.NDArray[Any],
    closed: Ids,
) -> list[LedgerBatch]:
    """The rows of the step, in as many batches as OUTBOX_ROWS_MAX makes of them."""
    items, details = _item_rows(live, making)
    statuses = joined(
        [
            _status_rows(live.remittances, ItemSide.REMITTANCE),
            _status_rows(live.payments, ItemSide.PAYMENT),
        ]
    )
    tables = {
        "items": items,
        "statuses": statuses,
        "pairs": pair_events,
        "links": _link_rows(live, decided),
        "alerts": _alert_rows(live, decided),
    }
    most = max(len(table) for table in tables.values())
    batches = []
    for start in range(0, max(most, 1), OUTBOX_ROWS_MAX):
        part = slice(start, start + OUTBOX_ROWS_MAX)
        first = start == 0
        batches.append(
            LedgerBatch(
                making.tenant,
                making.position,
                making.day,
                making.as_of,
                making.cause,
                **{name: table[part].tobytes() for name, table in tables.items()},
                decisions=making.decisions if first else (),
                details=encode_details(
                    {name: (data, refs[part].tobytes()) for name, (data, refs) in details.items()}
                ),
                closed=closed.tobytes() if first else b"",
                sources=making.sources if first else (),
            )
        )
    return batches


_DETAIL_SOURCES = {
    ItemSide.REMITTANCE: ("trace", "payer_id", "payer_name", "payee_account", "payee_entity_id"),
    ItemSide.PAYMENT: ("trace", "payer_id", "company_name", "account", "receiver_id"),
}
"""Columns that ledger_rows.DETAIL_TEXTS are taken from."""


def _item_rows(live: Live, making: Making) -> tuple[npt.NDArray[Any], dict[str, _Texts]]:
    """Rows of the new items, and their texts by name."""
    tables, texts = [], {name: (b"", np.zeros((0, 2), np.uint32)) for name in DETAIL_TEXTS}
    for kind, side in ((ItemSide.REMITTANCE, live.remittances), (ItemSide.PAYMENT, live.payments)):
        rows = take(side.rows, np.flatnonzero(side.fresh))
        table = np.zeros(len(rows["status"]), ITEM_ROW)
        table["digest"], table["offset"] = rows["id_digest"], rows["id_offset"]
        table["side"], table["position"] = kind, making.position
        table["business_key"] = business_keys(rows, kind)
        if kind == ItemSide.REMITTANCE:
            table["cents"], table["day"] = rows["paid_cents"], rows["effective_date"]
            table["claims"] = rows["claims"]
        else:
            table["cents"], table["day"] = rows["amount_cents"], payment_day(rows)
            table["source"], table["kind"] = rows["source"], rows["kind"]
        tables.append(table)
        for name, source in zip(DETAIL_TEXTS, _DETAIL_SOURCES[kind], strict=True):
            texts[name] = _with(*texts[name], rows[source])
    return joined(tables), texts


_Texts = tuple[bytes, npt.NDArray[np.uint32]]
"""Values as ledger_rows.Texts has them; uint32[n, 2]."""


def _with(data: bytes, refs: npt.NDArray[np.uint32], column: TextColumn) -> _Texts:
    """Values, and those of a column behind them."""
    more, places = _keys.gather(*text_parts(column))
    places[:, 0] += np.uint32(len(data))
    return data + more, np.concatenate([refs, places])


def _values(column: TextColumn) -> list[bytes]:
    data = bytes(column.source) if len(column) else b""
    return [data[offset : offset + length] for offset, length in column.refs.tolist()]


def payment_day(rows: Columns) -> npt.NDArray[np.int32]:
    """int32[m]: settlement, else effective date."""
    settlement: npt.NDArray[np.int32] = rows["settlement_date"]
    effective: npt.NDArray[np.int32] = rows["effective_date"]
    return np.where(settlement == DATE_NONE, effective, settlement)


def business_keys(rows: Columns, side: ItemSide) -> Keys:
    """uint64[n]: what two copies of an item have in common whatever file they come in (design
    section 5): of an 835 its body without control numbers, of an ACH entry ODFI, trace, settlement
    day, RDFI, account and amount. 0 where that is not known."""
    if side == ItemSide.REMITTANCE:
        mixed = mix(rows["body_hash"].view(np.int64), rows["paid_cents"])
        return np.where(rows["body_hash"] == 0, np.uint64(0), mixed)
    account = _keys.text_hashes(*text_parts(rows["account"]))
    mixed = mix(
        rows["odfi"],
        rows["ach_trace"],
        payment_day(rows),
        rows["rdfi_routing"],
        account.view(np.int64),
        rows["amount_cents"],
    )
    return np.where((rows["source"] == 0) & (rows["ach_trace"] >= 0), mixed, np.uint64(0))


def _status_rows(side: Side, kind: ItemSide) -> npt.NDArray[Any]:
    rows = side.rows
    changed = side.fresh.copy()
    for name in ("status", "flags", "funding"):
        if name in rows:
            changed |= rows[name] != side.before[name]
    at = np.flatnonzero(changed)
    table = np.zeros(len(at), STATUS_ROW)
    table["digest"], table["offset"] = rows["id_digest"][at], rows["id_offset"][at]
    table["side"], table["reason"] = kind, rows["reason"][at]
    table["before"], table["after"] = side.before["status"][at], rows["status"][at]
    table["flags_before"], table["flags_after"] = side.before["flags"][at], rows["flags"][at]
    if "funding" in rows:
        table["funding_before"] = side.before["funding"][at]
        table["funding_after"] = rows["funding"][at]
    else:
        table["release_kind"] = rows["release_kind"][at]
    return table


def _link_rows(live: Live, decided: Decided) -> npt.NDArray[Any]:
    """Links of which one row is new: the others were told of before."""
    links, side = decided.links, live.payments
    at = np.flatnonzero(side.fresh[links.payment] | side.fresh[links.other])
    table = np.zeros(len(at), LINK_ROW)
    for prefix, rows in (("", links.payment[at]), ("other_", links.other[at])):
        table[f"{prefix}digest"] = side.rows["id_digest"][rows]
        table[f"{prefix}offset"] = side.rows["id_offset"][rows]
    table["kind"], table["status"] = links.kind[at], links.status[at]
    table["event"] = PairEvent.MADE
    return table


_ALERTS = {
    Reason.RIVAL_AFTER_RELEASE: AlertCode.RIVAL_AFTER_RELEASE,
    Reason.RETURN_AFTER_RELEASE: AlertCode.RETURN_AFTER_RELEASE,
}


_ALERTING = sum(map(int, _ALERTS))


def _alert_rows(live: Live, decided: Decided) -> npt.NDArray[Any]:
    """What somebody must look at, when it comes up: not again while it lasts."""
    tables = [np.zeros(0, ALERT_ROW)]
    for kind, side in ((ItemSide.REMITTANCE, live.remittances), (ItemSide.PAYMENT, live.payments)):
        came = side.rows["reason"] & ~side.before["reason"]
        for flag, code in _ALERTS.items() if (came & _ALERTING).any() else ():
            tables.append(_alerts(side, kind, np.flatnonzero(came & int(flag)), code))
        for alerting, code in (
            (side.has(ItemFlag.KNOWN_BEFORE), AlertCode.DUPLICATE_OF_HISTORY),
            (side.late, AlertCode.CROWDED_KEY),
        ):
            if alerting.any():
                tables.append(_alerts(side, kind, np.flatnonzero(side.fresh & alerting), code))
    tables.append(_funded_after_default(live, decided))
    return joined(tables)


def _alerts(side: Side, kind: ItemSide, rows: Rows, code: AlertCode) -> npt.NDArray[Any]:
    table = np.zeros(len(rows), ALERT_ROW)
    table["digest"], table["offset"] = side.rows["id_digest"][rows], side.rows["id_offset"][rows]
    table["side"], table["code"] = kind, code
    return table


def _funded_after_default(live: Live, decided: Decided) -> npt.NDArray[Any]:
    side, pairs = live.remittances, decided.pairs
    if not side.has(ItemFlag.DEFAULTED).any():
        return np.zeros(0, ALERT_ROW)
    made = np.flatnonzero(pairs["status"] == MatchStatus.AUTO)
    rows = decided.pair_remittance[made]
    was = lookup(pair_ids(live.pairs), pair_ids(take(pairs, made))) >= 0
    late = made[~was & side.has(ItemFlag.DEFAULTED)[rows] & ~side.fresh[rows]]
    table = _alerts(
        side,
        ItemSide.REMITTANCE,
        decided.pair_remittance[late],
        AlertCode.FUNDED_AFTER_DEFAULT,
    )
    table["match_id"] = pairs["match_id"][late]
    return table


# ---- what is released ----


def _order(side: Side, making: Making, profiles: Profiles) -> ReleaseOrder | None:
    going = np.concatenate([np.flatnonzero(making.kinds), making.resend]).astype(np.int64)
    if not len(going):
        return None
    rows = take(side.rows, going)
    # The order of ids is the order of files and of places in them.
    order = np.lexsort((rows["id_offset"], rows["id_digest"]))
    rows = take(rows, order)
    table = np.zeros(len(order), ORDER_ROW)
    for name, source in (
        ("digest", "id_digest"),
        ("offset", "id_offset"),
        ("start", "start"),
        ("stop", "stop"),
        ("profile", "profile"),
        ("cents", "paid_cents"),
        ("release_kind", "release_kind"),
        ("sending", "sendings"),
    ):
        table[name] = rows[source]
    table["carried"] = rows["carrier_offset"] >= 0
    wanted = np.unique(table["profile"][table["start"] >= 0]).tolist()
    found = profiles(wanted)
    return ReleaseOrder(
        making.tenant,
        making.position,
        making.day,
        table.tobytes(),
        tuple(_values(rows["control"])),
        tuple((key, found[key]) for key in wanted),
    )
