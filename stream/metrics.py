"""What a worker counts, for Prometheus. Every label has a small, fixed set of values: no tenant, no
file, no item is one, so that the number of series does not grow with the business.

A `Metrics` has a registry of its own; nothing is global. Every method may be called from any thread
and takes about a microsecond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, StrEnum

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from reassoc.core.statuses import Tier
from reassoc.stream import package_version
from reassoc.stream.ageing import BUCKET_NAMES, AgeBucket
from reassoc.stream.ledger_rows import AlertCode, ItemSide

GOAL_SECONDS = 0.05
"""From a message's arrival to the step that applied its items; a bound of the buckets."""
BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, GOAL_SECONDS),
    *(0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
PARTITIONS_MAX = 1000
"""Partitions of one topic whose lag is shown; as many as config.py lets a topic have."""


class TopicKind(StrEnum):
    """Topics as they are counted."""

    RAW_X12 = "raw.x12"
    RAW_ACH = "raw.ach"
    RAW_BAI2 = "raw.bai2"
    ITEMS = "items"
    EVENTS = "events"
    DEAD = "dead"


class DeadReason(StrEnum):
    """Why a message went to the dead-letter topic."""

    HEAD_BAD = "head_bad"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    DIGEST_DIFFERS = "digest_differs"
    COLLISION = "collision"
    CUT_OTHERWISE = "cut_otherwise"
    REFERENCE_LOST = "reference_lost"
    FAILED = "failed"


class Stage(Enum):
    """What is timed: name of the metric, and what it means."""

    INTAKE_BATCH = ("intake_batch", "To read a batch of messages, keep it and log its items")
    VAULT_COMMIT = ("vault_commit", "To make a batch's bytes durable in the vault")
    STEP_MAKE = ("step_make", "To make a step of the matcher")
    STEP_APPLY = ("step_apply", "To apply a step to the match state")
    LEDGER_PUBLISH = ("ledger_publish", "To append what outboxes hold to the ledger")


OpenCounts = Callable[[], Mapping[tuple[ItemSide, AgeBucket], int]]
"""Items that wait, by side and age. Called at every scrape: it must answer from memory."""
Lags = Callable[[], Mapping[tuple[TopicKind, int], int]]
"""Messages behind the end, by topic and partition, of what this worker owns. As OpenCounts."""


class Metrics:
    """The metrics of one process."""

    def __init__(self, *, open_items: OpenCounts = dict, lags: Lags = dict) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        info = Info("reassoc_build", "Version of the worker", registry=self.registry)
        info.info({"version": package_version()})
        self._add_flow()
        self._add_trouble()
        self._applied = ArrivalSeconds()
        self.registry.register(self._applied)
        self.registry.register(_OpenItems(open_items))
        self.registry.register(_Lag(lags))
        self._stages = {
            stage: Histogram(
                f"reassoc_{stage.value[0]}_seconds",
                stage.value[1],
                buckets=BUCKETS,
                registry=self.registry,
            )
            for stage in Stage
        }

    def _add_flow(self) -> None:
        kinds = [kind.value for kind in TopicKind]
        self._messages = self._counter("messages", "Messages read or written", "topic", kinds)
        self._bytes = self._counter("message_bytes", "Bytes of these messages", "topic", kinds)
        sides = [_name(side) for side in ItemSide]
        self._items = self._counter("items", "Items that steps brought in", "side", sides)
        tiers = [tier.name for tier in Tier]
        self._matched = self._counter("matched_pairs", "Pairs matched by themselves", "tier", tiers)
        self._steps = self._plain("steps", "Steps of the matcher that were applied")
        self._released = self._plain("released_remittances", "Remittances that steps released")

    def _add_trouble(self) -> None:
        self._fenced = self._plain(
            "fencing_refusals", "Steps that were refused since another worker has the tenant"
        )
        reasons = [reason.value for reason in DeadReason]
        self._dead = self._counter("dead_letters", "Messages put aside", "reason", reasons)
        codes = [_name(code) for code in AlertCode]
        self._alerts = self._counter("alerts", "What somebody must look at", "code", codes)
        self._outbox = self._gauge("outbox_entries", "Entries that wait for the ledger")
        self._undelivered = self._gauge("undelivered_files", "Released files that wait for a sink")
        self._incomplete = self._gauge(
            "incomplete_files", "Files of which parts did not come, or were put aside"
        )
        self._held = self._gauge("held", "1 while no step is made until the state is rebuilt")

    def _counter(
        self, name: str, text: str, label: str, values: Iterable[str]
    ) -> dict[str, Counter]:
        """A child for each value: from the start, so that a rate is known from the first one."""
        counter = Counter(f"reassoc_{name}", text, [label], registry=self.registry)
        return {value: counter.labels(value) for value in values}

    def _plain(self, name: str, text: str) -> Counter:
        return Counter(f"reassoc_{name}", text, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"reassoc_{name}", text, registry=self.registry)

    # ---- what flows ----

    def messages(self, kind: TopicKind, count: int, byte_count: int) -> None:
        """Messages that came from, or went to, topics of a kind."""
        self._messages[kind].inc(count)
        self._bytes[kind].inc(byte_count)

    def items(self, side: ItemSide, count: int) -> None:
        """New items of applied steps."""
        self._items[_name(side)].inc(count)

    def matched(self, tier: Tier, count: int) -> None:
        """Pairs that were matched by themselves at a tier."""
        self._matched[tier.name].inc(count)

    def step(self, released: int = 0) -> None:
        """A step that was applied, and the remittances that it released."""
        self._steps.inc()
        self._released.inc(released)

    def took(self, stage: Stage, seconds: float) -> None:
        """How long something took."""
        self._stages[stage].observe(seconds)

    def applied(self, seconds: npt.NDArray[np.float64]) -> None:
        """float64[n]: for each new item, from the arrival of its message, or the oldest that was
        taken together with it, to the step that applied it. O(n)."""
        self._applied.add(seconds)

    # ---- what is wrong ----

    def fenced(self) -> None:
        """A step that was refused, since another worker has claimed the tenant."""
        self._fenced.inc()

    def dead_letter(self, reason: DeadReason) -> None:
        """A message that went to the dead-letter topic."""
        self._dead[reason].inc()

    def alert(self, code: AlertCode, count: int = 1) -> None:
        """Alerts of applied steps."""
        self._alerts[_name(code)].inc(count)

    def outbox_depth(self, entries: int) -> None:
        """Entries in the outboxes of all tenants that this worker owns."""
        self._outbox.set(entries)

    def undelivered(self, files: int) -> None:
        """Released files that no sink has taken yet; told by the worker that delivers."""
        self._undelivered.set(files)

    def incomplete(self, files: int) -> None:
        """Files of which parts did not come; told by the worker of the first partition."""
        self._incomplete.set(files)

    def held(self, held: bool) -> None:
        """Whether the match state was lost and no step is made until it is rebuilt."""
        self._held.set(held)

    def exposition(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)


def _name(value: Enum) -> str:
    return value.name.lower()


class ArrivalSeconds(Collector):
    """A histogram that takes arrays: a batch of thousands of messages is one call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = np.zeros(len(BUCKETS) + 1, np.int64)
        self._sum = 0.0

    def add(self, seconds: npt.NDArray[np.float64]) -> None:
        """float64[n]; a clock that went back counts as no time. O(n log b) for b buckets."""
        seconds = np.maximum(seconds, 0.0)
        places = np.searchsorted(BUCKETS, seconds, side="left")
        counts = np.bincount(places, minlength=len(BUCKETS) + 1)
        with self._lock:
            self._counts += counts
            self._sum += float(seconds.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """As prometheus_client asks for it."""
        with self._lock:
            counts, total = self._counts.cumsum().tolist(), self._sum
        bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "reassoc_arrival_to_applied_seconds",
            "From a message's arrival to the step that applied its items, by items",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=total,
        )


class _OpenItems(Collector):
    def __init__(self, counts: OpenCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "reassoc_open_items", "Items that wait, by banking days", labels=["side", "age"]
        )
        found = self._counts()
        for side in ItemSide:
            for age in AgeBucket:
                family.add_metric([_name(side), BUCKET_NAMES[age]], found.get((side, age), 0))
        yield family


class _Lag(Collector):
    def __init__(self, lags: Lags) -> None:
        self._lags = lags

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "reassoc_lag_messages", "Messages behind the end", labels=["topic", "partition"]
        )
        for (kind, partition), lag in sorted(self._lags().items()):
            if 0 <= partition < PARTITIONS_MAX:
                family.add_metric([kind.value, str(partition)], lag)
        yield family
