"""Small ledgers for tests: batches of a few items, written as the matcher would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import TextColumn
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream.ledger_chain import ReleaseEvent, ReleaseEventRow, ReleaseFileRow
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    DETAIL_TEXTS,
    ITEM_ROW,
    LINK_ROW,
    PAIR_ROW,
    STATUS_ROW,
    DecisionRow,
    ItemSide,
    LedgerBatch,
    encode_details,
)
from reassoc.stream.ledger_schema import RELEASE_ITEM_ROW

DAY = 20_528
AS_OF = "2026-03-16T18:30:00-04:00"
TENANT = "north"
FILE = 0xF123_4567_89AB_CDEF
"""Digest of the file that items come from; its highest bit is set on purpose."""

R, P = RemittanceStatus, PaymentStatus


def rows(kind: np.dtype[Any], *values: dict[str, Any]) -> npt.NDArray[Any]:
    """Rows of a table; what is not given is 0."""
    table = np.zeros(len(values), kind)
    for row, value in enumerate(values):
        for name, content in value.items():
            table[name][row] = content
    return table


def item(offset: int, side: ItemSide, cents: int = 100, **more: Any) -> dict[str, Any]:
    """A row of ITEM_ROW."""
    values = {"digest": FILE, "offset": offset, "side": side, "cents": cents, "day": DAY}
    return values | {"position": 1, "business_key": 1000 + offset} | more


def change(
    offset: int, side: ItemSide, before: int, after: int, flags: Sequence[int] = (0, 0), **more: Any
) -> dict[str, Any]:
    """A row of STATUS_ROW."""
    values = {"digest": FILE, "offset": offset, "side": side, "before": before, "after": after}
    return values | {"flags_before": flags[0], "flags_after": flags[1]} | more


def details(*values: dict[str, bytes]) -> bytes:
    """LedgerBatch.details of items; what is not given is empty."""
    return details_of({name: [value.get(name, b"") for value in values] for name in DETAIL_TEXTS})


def details_of(texts: Mapping[str, Sequence[bytes]]) -> bytes:
    """The same by the names of the texts."""
    columns = {name: TextColumn.from_values(values) for name, values in texts.items()}
    return encode_details(
        {name: (bytes(one.source), one.refs.tobytes()) for name, one in columns.items()}
    )


def batch(
    items: Sequence[dict[str, Any]] = (), statuses: Sequence[dict[str, Any]] = (), **more: Any
) -> LedgerBatch:
    """A batch of TENANT; `more` are fields of LedgerBatch."""
    fields: dict[str, Any] = {
        "tenant": TENANT,
        "position": 1,
        "day": DAY,
        "as_of": AS_OF,
        "cause": "items",
        "items": rows(ITEM_ROW, *items).tobytes(),
        "statuses": rows(STATUS_ROW, *statuses).tobytes(),
    }
    return LedgerBatch(**fields | more)


def first_batch(**more: Any) -> LedgerBatch:
    """A remittance and a payment come and wait; every table has two rows or more."""
    pair = {
        "remittance_digest": FILE,
        "remittance_offset": 1,
        "payment_digest": FILE,
        "payment_offset": 2,
        "match_id": 1 << 63 | 7,
        "event": 1,
        "status": 3,
        "tier": 5,
        "agreed": 3,
    }
    link = {"digest": FILE, "offset": 2, "other_digest": FILE, "other_offset": 3}
    alert = {"digest": FILE, "offset": 1, "code": 1, "match_id": 5}
    return batch(
        [item(1, ItemSide.REMITTANCE), item(2, ItemSide.PAYMENT)],
        [
            change(1, ItemSide.REMITTANCE, R.RECEIVED, R.AWAITING_EFT),
            change(2, ItemSide.PAYMENT, P.RECEIVED, P.UNMATCHED),
        ],
        pairs=rows(PAIR_ROW, pair, pair | {"event": 3}).tobytes(),
        links=rows(
            LINK_ROW, link | {"kind": 2, "event": 1}, link | {"kind": 2, "event": 3}
        ).tobytes(),
        alerts=rows(ALERT_ROW, alert, alert | {"code": 5}).tobytes(),
        decisions=(decision("d1"), decision("d2", answer=2, refusal="it is released")),
        details=details(
            {"trace": b"TRACE-1", "payer_id": b"1341858386", "payer_name": b"ACME HEALTH"},
            {"trace": b"trace2", "payee_account": b"000123", "payee_id": b"1000000001"},
        ),
        sources=((bytes(range(32)), "a.835", "x12", 500),),
        **more,
    )


def decision(number: str, **more: Any) -> DecisionRow:
    """A decision of somebody."""
    fields: dict[str, Any] = {
        "position": 1,
        "number": number,
        "kind": "match",
        "who": "Ann",
        "why": "she called them",
        "answer": 1,
        "refusal": "",
        "item_count": 2,
        "cents": 200,
    }
    return DecisionRow(**fields | more)


def release_rows(file: int = 1) -> dict[str, Any]:
    """What append_release takes: one file with two items, prepared and done."""
    items = rows(
        RELEASE_ITEM_ROW,
        {"file": file, "place": 0, "digest": FILE, "offset": 1, "sending": file, "cents": 100},
        {"file": file, "place": 1, "digest": FILE, "offset": 9, "sending": file, "cents": 50},
    )
    name = f"RECEIVER_SENDER_{file:09d}.x12"
    return {
        "day": DAY,
        "as_of": AS_OF,
        "files": [
            ReleaseFileRow(file, name, "folder", "RECEIVER", "SENDER", file, 1, 1, 2, 150, DAY,
                           b"\x91\x01")
        ],
        "tenants": [TENANT, TENANT],
        "items": items,
        "events": [
            ReleaseEventRow(file, ReleaseEvent.PREPARED, AS_OF, 0, 900, bytes(32)),
            ReleaseEventRow(file, ReleaseEvent.DONE, AS_OF),
        ],
    }  # fmt: skip
