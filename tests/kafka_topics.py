"""Topics and groups of a Kafka for tests: made, filled, looked at. Every name is used once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition

from reassoc.loadtest.servers.kafka_server import Topic, create_topics


def new_name(word: str) -> str:
    """A name that no other test uses, for a topic or a group."""
    return f"{word}-{uuid.uuid4().hex[:12]}"


def new_topic(bootstrap: str, partitions: int = 1) -> str:
    """Make a topic; its name."""
    name = new_name("topic")
    asyncio.run(create_topics(bootstrap, [Topic(name, partitions)]))
    return name


def produce(
    bootstrap: str, topic: str, values: Sequence[bytes], *, partitions: int = 1, apart: bool = False
) -> None:
    """Send values, in turns to the partitions. apart : each as a batch of its own, so that a small
    fetch brings one of them."""
    asyncio.run(_produce(bootstrap, topic, values, partitions, apart))


async def _produce(
    bootstrap: str, topic: str, values: Iterable[bytes], partitions: int, apart: bool
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        sent = None
        for number, value in enumerate(values):
            sent = await producer.send(topic, value, partition=number % partitions)
            if apart:
                await sent
        if sent is not None:
            await producer.flush()


def committed(bootstrap: str, group: str, topic: str, partitions: int = 1) -> list[int]:
    """What a group has committed of a topic, by partition; 0 where nothing."""
    return asyncio.run(_committed(bootstrap, group, topic, partitions))


async def _committed(bootstrap: str, group: str, topic: str, partitions: int) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        found = {}  # the server is just making a place for it
    finally:
        await admin.close()
    offsets = (found.get(TopicPartition(topic, number)) for number in range(partitions))
    return [0 if offset is None else max(offset.offset, 0) for offset in offsets]


def read_all(bootstrap: str, topic: str, count: int, seconds: float = 20.0) -> list[bytes]:
    """The values of a topic, once there are `count`. Fails where there are not in time."""
    return asyncio.run(_read_all(bootstrap, topic, count, seconds))


async def _read_all(bootstrap: str, topic: str, count: int, seconds: float) -> list[bytes]:
    values: list[bytes] = []
    async with (
        asyncio.timeout(seconds),
        AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        ) as consumer,
    ):
        while len(values) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
    return values
