"""Metrics: the numbers come out as they went in, and no label can grow without end."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from reassoc.core.statuses import Tier
from reassoc.stream.ageing import AgeBucket
from reassoc.stream.ledger_rows import AlertCode, ItemSide
from reassoc.stream.metrics import (
    BUCKETS,
    GOAL_SECONDS,
    PARTITIONS_MAX,
    DeadReason,
    Metrics,
    Stage,
    TopicKind,
)

LABELS_MAX = 50
"""Series that one metric of one worker has at most, but for buckets and lags."""


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


def test_what_is_counted_comes_out_under_its_labels() -> None:
    metrics = Metrics(
        open_items=lambda: {(ItemSide.PAYMENT, AgeBucket.LATE): 4},
        lags=lambda: {(TopicKind.ITEMS, 2): 17, (TopicKind.ITEMS, PARTITIONS_MAX): 1},
    )
    metrics.messages(TopicKind.RAW_X12, 3, 1000)
    metrics.items(ItemSide.REMITTANCE, 5)
    metrics.matched(Tier.T1, 2)
    metrics.step(released=2)
    metrics.fenced()
    metrics.dead_letter(DeadReason.UNREADABLE)
    metrics.alert(AlertCode.RETURN_AFTER_RELEASE)
    metrics.outbox_depth(9)
    metrics.undelivered(1)
    metrics.incomplete(3)
    metrics.held(True)
    assert value(metrics, "reassoc_messages_total", topic="raw.x12") == 3
    assert value(metrics, "reassoc_message_bytes_total", topic="raw.x12") == 1000
    assert value(metrics, "reassoc_items_total", side="remittance") == 5
    assert value(metrics, "reassoc_matched_pairs_total", tier="T1") == 2
    assert value(metrics, "reassoc_steps_total") == 1
    assert value(metrics, "reassoc_released_remittances_total") == 2
    assert value(metrics, "reassoc_fencing_refusals_total") == 1
    assert value(metrics, "reassoc_dead_letters_total", reason="unreadable") == 1
    assert value(metrics, "reassoc_alerts_total", code="return_after_release") == 1
    assert value(metrics, "reassoc_outbox_entries") == 9
    assert value(metrics, "reassoc_undelivered_files") == 1
    assert value(metrics, "reassoc_incomplete_files") == 3
    assert value(metrics, "reassoc_held") == 1
    assert value(metrics, "reassoc_open_items", side="payment", age="4") == 4
    assert value(metrics, "reassoc_open_items", side="payment", age="61+") == 0
    assert value(metrics, "reassoc_lag_messages", topic="items", partition="2") == 17
    assert str(PARTITIONS_MAX) not in metrics.exposition().decode().partition("lag_messages{")[2]


def test_the_goal_is_a_bound_of_the_buckets() -> None:
    assert GOAL_SECONDS in BUCKETS
    assert list(BUCKETS) == sorted(set(BUCKETS))


def test_an_array_of_latencies_counts_as_its_values_one_by_one() -> None:
    metrics = Metrics()
    seconds = np.concatenate(
        [np.array(BUCKETS), np.random.default_rng(5).exponential(0.05, 500), [-1.0, 99.0]]
    )
    metrics.applied(seconds[:100])
    metrics.applied(seconds[100:])
    for one in np.maximum(seconds, 0).tolist():
        metrics.took(Stage.STEP_MAKE, one)
    names = ("reassoc_arrival_to_applied_seconds", "reassoc_step_make_seconds")
    for bound in [*(str(bound) for bound in BUCKETS), "+Inf"]:
        ours, theirs = (value(metrics, f"{name}_bucket", le=bound) for name in names)
        assert ours == theirs, bound
    assert value(metrics, f"{names[0]}_count") == len(seconds)
    sums = [value(metrics, f"{name}_sum") for name in names]
    assert sums[0] == pytest.approx(sums[1])


def test_series_are_few_and_there_from_the_start() -> None:
    before = Metrics()
    families = list(text_string_to_metric_families(before.exposition().decode()))
    for family in families:
        assert family.documentation
        shown = [one for one in family.samples if not one.name.endswith("_bucket")]
        assert len(shown) <= LABELS_MAX, family.name
        for sample in family.samples:
            assert "tenant" not in sample.labels
    dead = [family for family in families if family.name == "reassoc_dead_letters"]
    assert {one.labels["reason"] for one in dead[0].samples if "reason" in one.labels} == set(
        DeadReason
    )


def test_two_workers_in_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.step()
    assert value(other, "reassoc_steps_total") == 0
    assert not [name for name in REGISTRY._names_to_collectors if name.startswith("reassoc")]


def test_labels_come_from_their_kinds_only() -> None:
    with pytest.raises(KeyError):
        Metrics().dead_letter("anything")  # type: ignore[arg-type]
