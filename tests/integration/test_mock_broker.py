"""The strict driver on librdkafka's mock broker: needs no Java, so something is tried everywhere.

It has no transactions, and forgets what is above 5 MiB in a partition. Rebalances and crashes in
earnest: test_strict_consumer.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from faust_processes import processed, wait_for, worker
from faust_worker import Plan
from kafka_topics import new_name

PARTITIONS = 4
"""What the mock broker gives every topic."""
RECORDS = 60
WAIT_SECONDS_MAX = 20.0


@pytest.fixture
def producer() -> Iterator[Producer]:
    """A client in which the broker lives."""
    client = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    yield client
    client.flush(WAIT_SECONDS_MAX)


def test_a_killed_worker_is_followed_by_one_that_does_the_rest(
    producer: Producer, tmp_path: Path
) -> None:
    (broker,) = producer.list_topics(timeout=WAIT_SECONDS_MAX).brokers.values()
    plan = Plan(
        driver="strict",
        bootstrap=f"{broker.host}:{broker.port}",
        group=new_name("group"),
        topic=new_name("topic"),
        out=str(tmp_path / "out"),
        pause=0.05,
        settings={"broker_session_timeout": 6.0, "broker_heartbeat_interval": 1.0},
        options={"partition_fetch_bytes_max": 1, "read_committed": False},
    )
    for number in range(RECORDS):
        producer.produce(plan.topic, b"%d" % number, partition=number % PARTITIONS)
        producer.flush(WAIT_SECONDS_MAX)
    with worker(plan) as first:
        wait_for(lambda: len(processed(plan.out)) >= 10, "at work")
        first.kill()
    before = len(processed(plan.out))
    wanted = {(p, offset) for p in range(PARTITIONS) for offset in range(RECORDS // PARTITIONS)}
    with worker(plan, pause=0.0):
        wait_for(lambda: set(processed(plan.out)) == wanted, "all of it done")
    assert before < RECORDS
    assert len(processed(plan.out)) < 2 * RECORDS
