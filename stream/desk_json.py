"""What people see of a warehouse, for programs: the same names as on the screen.

Ids are text as `reassoc open` shows them: as numbers they are above what many readers of JSON hold
exactly. Money is in cents, days are ISO 8601, null where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from reassoc.core.statuses import Funding
from reassoc.stream.ageing import BUCKET_NAMES
from reassoc.stream.desk_filters import status_name
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.ledger_item import FoundItem, HistoryEvent
from reassoc.stream.ledger_rows import ItemSide
from reassoc.stream.ledger_views import OpenItem, OpenList
from reassoc.stream.table import iso_date

Json = dict[str, Any]


def open_json(found: OpenList) -> Json:
    """`reassoc open`: rows, and the totals of all that fits."""
    return {
        "rows": [_open_item(row) for row in found.rows],
        "totals": [
            {
                "side": _side(total.side),
                "status": status_name(total.side, total.status),
                "age": BUCKET_NAMES[total.bucket],
                "count": total.count,
                "cents": total.cents,
            }
            for total in found.totals
        ],
    }


def history_json(item: FoundItem, events: Sequence[HistoryEvent], others: Sequence[str]) -> Json:
    """`reassoc history`: an item, what became of it, and ids of others that the search found."""
    return {
        "item": {"item": item.name, **_came(item)},
        "events": [_event(event) for event in events],
        "others": list(others),
    }


def clock_json(clock: ClockEntry | None) -> Json | None:
    """The last opening or close."""
    if clock is None:
        return None
    return {"kind": clock.kind, "date": _date(clock.day), "as_of": clock.as_of}


def _open_item(row: OpenItem) -> Json:
    return {
        "item": row.name,
        **_came(row),
        "status": status_name(row.side, row.status),
        "funding": Funding(row.funding).name.lower(),
        "age_banking_days": row.age_banking_days,
    }


def _came(item: OpenItem | FoundItem) -> Json:
    return {
        "tenant": item.tenant,
        "side": _side(item.side),
        "cents": item.cents,
        "date": _date(item.day),
        "trace": item.trace,
        "payer_id": item.payer_id,
        "payer_name": item.payer_name,
        "payee_account": item.payee_account,
        "payee_id": item.payee_id,
    }


def _event(event: HistoryEvent) -> Json:
    return {
        **msgspec.structs.asdict(event),
        "day": _date(event.day),
        "match_id": f"{event.match_id:016x}" if event.match_id else None,
        "decisions": [
            {**msgspec.structs.asdict(one), "answer": one.answer.name.lower()}
            for one in event.decisions
        ],
    }


def _side(side: ItemSide) -> str:
    return side.name.lower()


def _date(day: int) -> str | None:
    return iso_date(day) or None
