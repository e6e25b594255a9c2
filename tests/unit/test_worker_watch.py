"""What a worker counts of a step is what its outbox entries say."""

from __future__ import annotations

from typing import Any

import numpy as np

from reassoc.core.statuses import MatchStatus, Tier
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    DETAIL_TEXTS,
    ITEM_ROW,
    ORDER_ROW,
    PAIR_ROW,
    AlertCode,
    EventFacts,
    ItemSide,
    LedgerBatch,
    OutboxBody,
    PairEvent,
    ReleaseOrder,
    encode_body,
    encode_details,
)
from reassoc.stream.matcher import Made
from reassoc.stream.metrics import Metrics
from reassoc.stream.records import Block
from reassoc.stream.state import Records, Step, no_ids
from reassoc.stream.tenant_record import TenantRecord
from reassoc.stream.worker_watch import WorkerWatch


def rows(kind: np.dtype[Any], *values: dict[str, int]) -> bytes:
    table = np.zeros(len(values), kind)
    for row, value in enumerate(values):
        for name, content in value.items():
            table[name][row] = content
    return table.tobytes()


def made(*bodies: OutboxBody) -> Made:
    outbox = [encode_body(body) for body in bodies]
    step = Step(3, 4, Records.concat([]), no_ids(), Block.of([]), no_ids(), outbox)
    return Made(step, TenantRecord())


def test_items_pairs_alerts_and_releases_of_a_step_are_counted() -> None:
    pair = {"event": PairEvent.MADE, "status": MatchStatus.AUTO, "tier": Tier.T1}
    first = LedgerBatch(
        "north",
        4,
        20_528,
        "2026-03-16T12:00:00+00:00",
        "items",
        items=rows(ITEM_ROW, {}, {"side": ItemSide.PAYMENT}, {}),
        pairs=rows(
            PAIR_ROW,
            pair,
            pair | {"tier": Tier.T2},
            pair | {"event": PairEvent.GONE},
            pair | {"status": MatchStatus.REVIEW},
        ),
        alerts=rows(ALERT_ROW, *[{"code": AlertCode.RETURN_AFTER_RELEASE}] * 2),
        details=encode_details({name: (b"", bytes(24)) for name in DETAIL_TEXTS}),
        sources=((b"\1" * 32, "a.835", "835", 9),),
    )
    second = LedgerBatch("north", 4, 20_528, "", "items", items=rows(ITEM_ROW, {}))
    order = ReleaseOrder("north", 4, 20_528, rows(ORDER_ROW, {}, {}), (b"1", b"2"), ((7, b"p"),))
    metrics = Metrics()
    bodies = OutboxBody(first), OutboxBody(second, order, EventFacts(b"1234", b"12345678"))
    WorkerWatch(metrics).applied("north", made(*bodies), arrived_ms=1, seconds=0.1)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"reassoc_{name}", labels)

    assert value("items_total", side="remittance") == 3
    assert value("items_total", side="payment") == 1
    assert value("matched_pairs_total", tier="T1") == 1
    assert value("matched_pairs_total", tier="T2") == 1
    assert value("matched_pairs_total", tier="T3") == 0
    assert value("alerts_total", code="return_after_release") == 2
    assert value("released_remittances_total") == 2
    assert value("steps_total") == 1
    assert "seconds_count 4.0" in metrics.exposition().decode()
