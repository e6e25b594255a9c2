"""Whether a stream is at rest: nothing waits anywhere, and nothing changes any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from reassoc.core.errors import ReassocError
from reassoc.loadtest.chaos_compare import tenants_of
from reassoc.stream.clock import entries_until
from reassoc.stream.config import Config, Kafka
from reassoc.stream.ledger import Ledger
from reassoc.stream.partition import read_partition
from reassoc.stream.partition_log import ForAll
from reassoc.stream.release_book import ReleaseBook
from reassoc.stream.state import State
from reassoc.stream.tenant_record import TenantRecord
from reassoc.stream.topics import ITEMS_TOPIC, RAW_TOPICS, client_settings
from reassoc.stream.worker_desk import open_worker_desk

LOOKS = 3
"""Looks between which nothing changes."""
LOOK_SECONDS = 1.0
KAFKA_SECONDS_MAX = 30.0

Ends = dict[TopicPartition, int]


def wait_for_rest(
    config: Config, now: datetime, seconds_max: float, keep: Callable[[], None]
) -> str:
    """Wait until a stream is at rest; "" then, else what still went on after `seconds_max`.

    now : the moment that its workers take for now    keep : called between two looks
    """
    end = time.monotonic() + seconds_max
    seen, same, why = "", 0, "nobody has looked"
    while time.monotonic() < end:
        keep()
        try:
            why, now_seen = _look(config, now)
        except (ReassocError, KafkaError, OSError) as error:
            why, now_seen = f"cannot be asked: {error}", ""
        same = same + 1 if not why and now_seen == seen else 0
        if same >= LOOKS:
            return ""
        seen = now_seen
        time.sleep(LOOK_SECONDS)
    return why or "it goes on all the time"


def _look(config: Config, now: datetime) -> tuple[str, str]:
    """What goes on, and a text that changes with everything that does."""
    ends, lag = asyncio.run(asyncio.wait_for(_offsets(config.kafka), KAFKA_SECONDS_MAX))
    with open_worker_desk(config) as (state, ledger, _):
        why = _waiting(state, ledger, ends, now)
        marks = [state.mark(tenant) for tenant in tenants_of(state)]
    if lag:
        why = f"{lag} raw messages are not taken"
    return why, f"{sorted(ends.items())} {marks}"


def _waiting(state: State, ledger: Ledger, ends: Ends, now: datetime) -> str:
    for number in range(len(ends)):
        for_all, _ = read_partition(state, number)
        if not _is_told(for_all, now):
            return f"partition {number} has not seen the last close"
    for tenant in tenants_of(state):
        if state.outbox(tenant, 1):
            return f"the outbox of {tenant} is not empty"
    files = len(ReleaseBook(ledger).unfinished())
    return f"{files} files are not delivered" if files else ""


def _is_told(for_all: ForAll, now: datetime) -> bool:
    """Whether all openings and closes up to a moment are there."""
    if for_all.settings is None or for_all.clock is None:
        return False
    record = TenantRecord(settings=for_all.settings)
    return not entries_until(for_all.clock, now, record.calendar(), record.rules())


async def _offsets(kafka: Kafka) -> tuple[Ends, int]:
    """Where the item log's partitions end, and how many raw messages are not taken."""
    settings = client_settings(kafka)
    consumer = AIOKafkaConsumer(
        **settings, enable_auto_commit=False, isolation_level="read_committed"
    )
    admin = AIOKafkaAdminClient(**settings)
    try:
        await consumer.start()
        await admin.start()
        names = [f"{kafka.prefix}.{name}" for name in (ITEMS_TOPIC, *RAW_TOPICS)]
        there = [
            TopicPartition(described["topic"], each["partition"])
            for described in await admin.describe_topics(names)
            for each in described["partitions"]
        ]
        committed = await admin.list_consumer_group_offsets(f"{kafka.prefix}.workers")
        ends: Ends = await consumer.end_offsets(there)
    finally:
        await consumer.stop()
        await admin.close()
    items = {place: end for place, end in ends.items() if place.topic == names[0]}
    lag = 0
    for place in ends.keys() - items.keys():
        done = committed[place].offset if place in committed else 0
        lag += max(ends[place] - max(done, 0), 0)
    return items, lag
