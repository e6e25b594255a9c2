"""What a worker tells of itself: every happening becomes a metric, a line of the log, or both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.statuses import MatchStatus, Tier
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    ITEM_ROW,
    ORDER_ROW,
    PAIR_ROW,
    AlertCode,
    ItemSide,
    PairEvent,
    rows_of,
)
from reassoc.stream.log_batch import Batch
from reassoc.stream.logs import get_logger
from reassoc.stream.matcher import Made
from reassoc.stream.metrics import DeadReason, Metrics, Stage, TopicKind
from reassoc.stream.partition import Partition
from reassoc.stream.partition_log import LogRecord
from reassoc.stream.releaser import Failure
from reassoc.stream.state import FencedError
from reassoc.stream.stream_intake import Took


class _CountedBatch(msgspec.Struct, frozen=True, array_like=True):
    """The fields of a LedgerBatch that are counted; the others are passed over."""

    tenant: msgspec.Raw
    position: msgspec.Raw
    day: msgspec.Raw
    as_of: msgspec.Raw
    cause: msgspec.Raw
    items: memoryview
    statuses: memoryview
    pairs: memoryview
    links: memoryview
    alerts: memoryview


class _CountedRelease(msgspec.Struct, frozen=True, array_like=True):
    """The fields of a ReleaseOrder that are counted."""

    tenant: msgspec.Raw
    position: msgspec.Raw
    day: msgspec.Raw
    items: memoryview


class _Counted(msgspec.Struct, frozen=True, array_like=True):
    """The fields of an OutboxBody that are counted."""

    ledger: _CountedBatch
    release: _CountedRelease | None


_decode_counted = msgspec.msgpack.Decoder(_Counted).decode


class WorkerWatch:
    """For any thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = get_logger()

    # ---- a partition's thread ----

    def made(self, seconds: float) -> None:
        """A step was made."""
        self._metrics.took(Stage.STEP_MAKE, seconds)

    def applied(self, tenant: str, made: Made, arrived_ms: int, seconds: float) -> None:
        """A step was applied: its rows tell what it did."""
        self._metrics.took(Stage.STEP_APPLY, seconds)
        metrics, released, items = self._metrics, 0, 0
        for data in made.step.outbox:
            body = _decode_counted(data)
            batch, release = body.ledger, body.release
            payments = int(np.count_nonzero(rows_of(batch.items, ITEM_ROW)["side"]))
            remittances = len(batch.items) // ITEM_ROW.itemsize - payments
            metrics.items(ItemSide.REMITTANCE, remittances)
            metrics.items(ItemSide.PAYMENT, payments)
            items += remittances + payments
            if batch.pairs:
                self._matched(rows_of(batch.pairs, PAIR_ROW))
            for code in rows_of(batch.alerts, ALERT_ROW)["code"].tolist() if batch.alerts else ():
                metrics.alert(AlertCode(code))
            released += len(release.items) // ORDER_ROW.itemsize if release is not None else 0
        metrics.step(released)
        if arrived_ms and items:
            metrics.applied(np.full(items, time.time() - arrived_ms / 1000))

    def _matched(self, pairs: npt.NDArray[Any]) -> None:
        """Count pairs that were matched by themselves."""
        is_made = (pairs["event"] == PairEvent.MADE) & (pairs["status"] == MatchStatus.AUTO)
        counts = np.bincount(pairs["tier"][is_made])
        for tier in np.flatnonzero(counts).tolist():
            self._metrics.matched(Tier(tier), int(counts[tier]))

    def poison(self, record: LogRecord, why: str) -> None:
        """A record of the item log is none."""
        self._metrics.dead_letter(DeadReason.UNREADABLE)
        self._log.error("a record of the item log was passed over", offset=record.position - 1)

    def stopped(self, tenant: str, position: int, error: Exception) -> None:
        """A tenant does not go on."""
        self._log.error(
            "a tenant stops at an entry that it cannot apply, the others go on",
            tenant=tenant,
            offset=position - 1,
            exc_info=error,
        )

    # ---- partitions ----

    def opened(self, partition: Partition) -> None:
        """A partition is being applied."""
        self._metrics.held(False)
        self._log.info(
            "a partition is open",
            partition=partition.number,
            offset=partition.progress.position,
            count=len(partition.tenants),
        )

    def waits(self, number: int, error: Exception, seconds: float) -> None:
        """A store does not answer."""
        self._log.warning(
            "a partition waits for a store", partition=number, seconds=seconds, exc_info=error
        )

    def reopened(self, number: int, error: Exception) -> None:
        """Another worker has written, or the state went back."""
        if isinstance(error, FencedError):
            self._metrics.fenced()
        self._log.warning("a partition is opened anew", partition=number, exc_info=error)

    def lost(self, number: int, error: Exception) -> None:
        """The state must be rebuilt."""
        self._metrics.held(True)
        self._log.error("the match state was lost: run reassoc rebuild", partition=number)

    def read(self, count: int, byte_count: int) -> None:
        """Records of the item log came."""
        self._metrics.messages(TopicKind.ITEMS, count, byte_count)

    def published(self, number: int, count: int, seconds: float) -> None:
        """Outbox entries are in the ledger."""
        self._metrics.took(Stage.LEDGER_PUBLISH, seconds)

    # ---- intake ----

    def took(self, took: Took, batches: Sequence[Batch], seconds: float) -> None:
        """Messages were taken."""
        for batch in batches:
            kind = TopicKind(batch.topic[batch.topic.rindex("raw.") :])
            self._metrics.messages(kind, len(batch), batch.size_bytes)
        self._metrics.took(Stage.INTAKE_BATCH, seconds)
        if took.vault_seconds:
            self._metrics.took(Stage.VAULT_COMMIT, took.vault_seconds)
        for each in took.dead:
            self._metrics.dead_letter(each.code)
        if took.dead:
            self._log.warning("messages could not be taken", count=len(took.dead))

    def intake_waits(self, error: Exception, seconds: float) -> None:
        """A store does not answer."""
        self._log.warning("intake waits for a store", seconds=seconds, exc_info=error)

    # ---- the rest ----

    def not_delivered(self, failure: Failure) -> None:
        """A released file was not taken by its sink."""
        self._log.warning(
            "a released file was not delivered", code=failure.code.name, count=failure.attempts
        )

    def trouble(self, error: Exception) -> None:
        """Something of a worker does not work, and is tried again."""
        self._log.warning("a part of the worker has failed, and goes on", exc_info=error)

    def settings(self, error: Exception) -> None:
        """Settings cannot be used. `reassoc config check` tells which and why."""
        self._log.error("the settings cannot be used: those before them hold", exc_info=error)
