"""What the ledger hears of steps, and what of them is released.

Everything here compares the live columns with what they were; nothing decides. Rows of all tenants
of which steps are made together are told at once, and divided then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core._keys import mix
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.pool import text_parts
from reassoc.core.statuses import MatchStatus, Reason
from reassoc.stream.deciding import Decided
from reassoc.stream.event_facts import EventRows
from reassoc.stream.items import ItemFlag
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    DETAIL_TEXTS,
    ITEM_ROW,
    LINK_ROW,
    ORDER_ROW,
    PAIR_ROW,
    STATUS_ROW,
    AlertCode,
    EventFacts,
    ItemSide,
    LedgerBatch,
    PairEvent,
    ReleaseOrder,
    encode_details,
)
from reassoc.stream.live import (
    Columns,
    Live,
    Mask,
    Rows,
    Side,
    lookup,
    pair_ids,
)
from reassoc.stream.making import Heading, Making
from reassoc.stream.owners import Owned, divided
from reassoc.stream.records import RowTable, take
from reassoc.stream.state import Ids, Keys

OUTBOX_ROWS_MAX = 100_000
"""Rows of one table in one outbox entry; a step that writes more makes several entries."""

Told = tuple[LedgerBatch, EventFacts]
"""A batch, and what events say beside it."""


def batches_of(
    live: Live, decided: Decided, making: Making, pair_events: Owned, closed: Ids
) -> list[list[Told]]:
    """The rows of each tenant's step, in as many batches as OUTBOX_ROWS_MAX makes of them.

    pair_events : rows of ledger_rows.PAIR_ROW   closed : of the one tenant, where items leave
    """
    items = Owned.concat([_item_rows(live, making, kind) for kind in _SIDES])
    statuses = Owned.concat([_status_rows(_side_of(live, kind), kind) for kind in _SIDES])
    tables = {
        "items": items,
        "statuses": statuses,
        "pairs": pair_events,
        "links": _link_rows(live, decided),
        "alerts": _alert_rows(live, decided),
    }
    count = len(making.headings)
    by_tenant = {name: table.divided(count) for name, table in tables.items()}
    facts = EventRows.of(live, items.rows, statuses.rows)
    denied = Owned(facts.denied, items.owner).divided(count)
    cents = Owned(facts.cents, statuses.owner).divided(count)
    new = [_new_items(_side_of(live, kind), count) for kind in _SIDES]
    found = []
    for number, heading in enumerate(making.headings):
        own = {name: table[number] for name, table in by_tenant.items()}
        told = _Rows(own, _details([rows[number] for rows in new]), denied[number], cents[number])
        found.append(told.batches(heading, closed))
    return found


_SIDES = (ItemSide.REMITTANCE, ItemSide.PAYMENT)


def _side_of(live: Live, kind: ItemSide) -> Side:
    return live.remittances if kind == ItemSide.REMITTANCE else live.payments


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is told of the step of one tenant. denied, cents : of its items and its statuses"""

    tables: dict[str, npt.NDArray[Any]]
    details: dict[str, _Texts]
    denied: Mask
    cents: npt.NDArray[np.int64]

    def batches(self, heading: Heading, closed: Ids) -> list[Told]:
        """In pieces of OUTBOX_ROWS_MAX rows of a table."""
        most = max(len(table) for table in self.tables.values())
        return [
            self._batch(heading, closed, start) for start in range(0, max(most, 1), OUTBOX_ROWS_MAX)
        ]

    def _batch(self, heading: Heading, closed: Ids, start: int) -> Told:
        part, first = slice(start, start + OUTBOX_ROWS_MAX), start == 0
        rows = {name: table[part] for name, table in self.tables.items()}
        batch = LedgerBatch(
            heading.tenant,
            heading.position,
            heading.day,
            heading.as_of,
            heading.cause,
            **{name: some.tobytes() for name, some in rows.items()},
            decisions=heading.decisions if first else (),
            details=encode_details(
                {name: (data, refs[part].tobytes()) for name, (data, refs) in self.details.items()}
            ),
            closed=closed.tobytes() if first else b"",
            sources=heading.sources if first else (),
        )
        facts = EventRows(self.denied[part], self.cents[part])
        return batch, facts.facts(rows["items"], rows["statuses"])


_DETAIL_SOURCES = {
    ItemSide.REMITTANCE: ("trace", "payer_id", "payer_name", "payee_account", "payee_entity_id"),
    ItemSide.PAYMENT: ("trace", "payer_id", "company_name", "account", "receiver_id"),
}
"""Columns that ledger_rows.DETAIL_TEXTS are taken from."""


def _item_rows(live: Live, making: Making, kind: ItemSide) -> Owned:
    """Rows of the new items of one side."""
    side = _side_of(live, kind)
    new = np.flatnonzero(side.fresh)
    rows, owner = take(side.rows, new), side.owner[new]
    table = np.zeros(len(new), ITEM_ROW)
    table["digest"], table["offset"] = rows["id_digest"], rows["id_offset"]
    table["side"], table["position"] = kind, making.positions[owner]
    table["business_key"] = business_keys(rows, kind)
    if kind == ItemSide.REMITTANCE:
        table["cents"], table["day"] = rows["paid_cents"], rows["effective_date"]
        table["claims"] = rows["claims"]
    else:
        table["cents"], table["day"] = rows["amount_cents"], payment_day(rows)
        table["source"], table["kind"] = rows["source"], rows["kind"]
    return Owned(table, owner)


def _new_items(side: Side, count: int) -> list[RowTable]:
    """The new items of each tenant."""
    new = np.flatnonzero(side.fresh)
    return [side.rows.take(new[rows]) for rows in divided(side.owner[new], count)]


def _details(sides: list[RowTable]) -> dict[str, _Texts]:
    """Texts of the new items of one tenant, by name."""
    texts: dict[str, _Texts] = {name: (b"", np.zeros((0, 2), np.uint32)) for name in DETAIL_TEXTS}
    for kind, rows in zip(_SIDES, sides, strict=True):
        for name, source in zip(DETAIL_TEXTS, _DETAIL_SOURCES[kind], strict=True):
            if rows.row_count:
                texts[name] = _with(*texts[name], rows[source])
    return texts


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


def _status_rows(side: Side, kind: ItemSide) -> Owned:
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
    return Owned(table, side.owner[at])


def _link_rows(live: Live, decided: Decided) -> Owned:
    """Links of which one row is new: the others were told of before."""
    links, side = decided.links, live.payments
    at = np.flatnonzero(side.fresh[links.payment] | side.fresh[links.other])
    table = np.zeros(len(at), LINK_ROW)
    for prefix, rows in (("", links.payment[at]), ("other_", links.other[at])):
        table[f"{prefix}digest"] = side.rows["id_digest"][rows]
        table[f"{prefix}offset"] = side.rows["id_offset"][rows]
    table["kind"], table["status"] = links.kind[at], links.status[at]
    table["event"] = PairEvent.MADE
    return Owned(table, side.owner[links.payment[at]])


_ALERTS = {
    Reason.RIVAL_AFTER_RELEASE: AlertCode.RIVAL_AFTER_RELEASE,
    Reason.RETURN_AFTER_RELEASE: AlertCode.RETURN_AFTER_RELEASE,
}


_ALERTING = sum(map(int, _ALERTS))


def _alert_rows(live: Live, decided: Decided) -> Owned:
    """What somebody must look at, when it comes up: not again while it lasts."""
    tables = [Owned(np.zeros(0, ALERT_ROW), np.zeros(0, np.int64))]
    for kind in _SIDES:
        side = _side_of(live, kind)
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
    return Owned.concat(tables)


def _alerts(side: Side, kind: ItemSide, rows: Rows, code: AlertCode) -> Owned:
    table = np.zeros(len(rows), ALERT_ROW)
    table["digest"], table["offset"] = side.rows["id_digest"][rows], side.rows["id_offset"][rows]
    table["side"], table["code"] = kind, code
    return Owned(table, side.owner[rows])


def _funded_after_default(live: Live, decided: Decided) -> Owned:
    side, pairs = live.remittances, decided.pairs
    if not side.has(ItemFlag.DEFAULTED).any():
        return Owned(np.zeros(0, ALERT_ROW), np.zeros(0, np.int64))
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
    table.rows["match_id"] = pairs["match_id"][late]
    return table


# ---- what is released ----


def orders_of(side: Side, making: Making) -> list[ReleaseOrder | None]:
    """What each tenant's step releases, or sends once more; None where that is nothing.

    side : remittances
    """
    going = np.concatenate([np.flatnonzero(making.kinds), making.resend]).astype(np.int64)
    if not len(going):
        return [None] * len(making.headings)
    return [
        _order_of(take(side.rows, going[rows]), heading) if len(rows) else None
        for rows, heading in zip(
            divided(side.owner[going], len(making.headings)), making.headings, strict=True
        )
    ]


def _order_of(rows: Columns, heading: Heading) -> ReleaseOrder:
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
    found = heading.profiles(wanted)
    return ReleaseOrder(
        heading.tenant,
        heading.position,
        heading.day,
        table.tobytes(),
        tuple(_values(rows["control"])),
        tuple((key, found[key]) for key in wanted),
    )


def pair_rows(pairs: Columns, owner: Rows, which: Mask, event: PairEvent) -> Owned:
    """Rows of ledger_rows.PAIR_ROW: what happened to pairs, which are rows of items.PAIR."""
    rows = np.flatnonzero(which)
    table = np.zeros(len(rows), PAIR_ROW)
    assert PAIR_ROW.names is not None
    for name in PAIR_ROW.names if len(rows) else ():
        if name != "event":
            table[name] = pairs[name][rows]
    table["event"] = event
    return Owned(table, owner[rows])
