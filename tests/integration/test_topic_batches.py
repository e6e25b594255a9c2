"""Batches of messages on librdkafka's mock broker: they lie where single messages would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from confluent_kafka import Producer
from kafka_topics import new_name

from reassoc.stream.topic_batches import Message, TopicBatches

PARTITIONS = 4
"""What the mock broker gives every topic."""
BATCH_BYTES = 1 << 12
WAIT_SECONDS_MAX = 20.0
KEYS = [b"north", b"south", b"east", b"west", b"up", b"down"]


@pytest.fixture
def bootstrap() -> Iterator[str]:
    """Address of a broker that lives in a client."""
    client = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    (broker,) = client.list_topics(timeout=WAIT_SECONDS_MAX).brokers.values()
    yield f"{broker.host}:{broker.port}"
    client.flush(WAIT_SECONDS_MAX)


def _producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=BATCH_BYTES
    )


async def _places(bootstrap: str, topic: str) -> dict[bytes, list[tuple[int, bytes]]]:
    """Partition and value of each message of a topic by its key, in the order of partitions."""
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for record in (await consumer.getmany(place, timeout_ms=1000)).get(place, []):
                    found.setdefault(record.key, []).append((record.partition, record.value))
    return found


def test_packed_messages_lie_where_single_ones_do_in_their_order(bootstrap: str) -> None:
    topic, other = new_name("topic"), new_name("topic")
    large = b"x" * (3 * BATCH_BYTES)
    values = [large if number == 70 else b"%d" % number * 9 for number in range(600)]
    messages: list[Message] = [
        (topic, KEYS[number % len(KEYS)], value) for number, value in enumerate(values)
    ]
    wanted: dict[bytes, list[bytes]] = {}
    for _, key, value in messages:
        wanted.setdefault(key, []).append(value)

    async def run() -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX), _producer(bootstrap) as producer:
            singles = {
                key: (await producer.send_and_wait(other, b"", key=key)).partition for key in KEYS
            }
            batches = TopicBatches(producer)
            await batches.learn([topic])
            packed = await asyncio.to_thread(batches.pack, messages)
            assert (packed.count, packed.byte_count) == (600, sum(map(len, values)))
            assert len(packed.batches[topic, singles[KEYS[70 % len(KEYS)]]]) > 2
            await batches.send(packed)
            found = await _places(bootstrap, topic)
        assert {key: [value for _, value in told] for key, told in found.items()} == wanted
        assert {key: {place for place, _ in told} for key, told in found.items()} == {
            key: {place} for key, place in singles.items()
        }

    asyncio.run(run())


def test_what_is_sent_by_itself_is_not_put_into_a_packed_batch(bootstrap: str) -> None:
    topic = new_name("topic")

    async def run() -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX), _producer(bootstrap) as producer:
            batches = TopicBatches(producer)
            await batches.learn([topic])
            packed = batches.pack([(topic, b"north", b"1")])
            ((place, (batch,)),) = packed.batches.items()
            sent = asyncio.ensure_future(batches.send(packed))
            for _ in range(2):
                await asyncio.sleep(0)  # Now the batch waits for the producer's own task.
            await producer.send_and_wait(topic, b"2", partition=place[1])
            await sent
        assert batch.record_count() == 1

    asyncio.run(run())


def test_a_producer_that_has_ended_takes_nothing(bootstrap: str) -> None:
    async def run() -> None:
        async with _producer(bootstrap) as producer:
            topic = new_name("topic")
            batches = TopicBatches(producer)
            await batches.learn([topic])
        with pytest.raises(KafkaError):
            await batches.send(batches.pack([(topic, b"north", b"1")]))

    asyncio.run(run())
