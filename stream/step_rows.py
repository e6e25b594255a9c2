"""What the ledger hears of a step, and what of it is released.

Everything here compares the live columns with what they were; nothing decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core._keys import mix
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.pool import text_parts
from reassoc.core.statuses import MatchStatus, Reason
from reassoc.stream.deciding import Decided
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
from reassoc.stream.making import Making
from reassoc.stream.records import joined, take
from reassoc.stream.state import Ids, Keys

OUTBOX_ROWS_MAX = 100_000
"""Rows of one table in one outbox entry; a step that writes more makes several entries."""

Profiles = Callable[[list[int]], Mapping[int, bytes]]
"""Encoded envelope profiles by their keys."""


def batches_of(
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


def order_of(side: Side, making: Making, profiles: Profiles) -> ReleaseOrder | None:
    """What a step releases, or sends once more; None where that is nothing. side : remittances"""
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


def pair_rows(pairs: Columns, which: Mask, event: PairEvent) -> npt.NDArray[Any]:
    """Rows of ledger_rows.PAIR_ROW: what happened to pairs, which are rows of items.PAIR."""
    rows = np.flatnonzero(which)
    table = np.zeros(len(rows), PAIR_ROW)
    assert PAIR_ROW.names is not None
    for name in PAIR_ROW.names if len(rows) else ():
        if name != "event":
            table[name] = pairs[name][rows]
    table["event"] = event
    return table
