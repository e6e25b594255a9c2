"""Many messages on their way to Kafka as whole batches, which any thread can make.

One by one, a message costs the event loop 25 microseconds; here the loop sees a batch of hundreds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

BATCH_BYTES = 1 << 17
"""Of one batch: far below what brokers take (message.max.bytes), large beside a request."""

Message = tuple[str, bytes, bytes]
"""Topic, key and value."""
_Place = tuple[str, int]
"""Topic and partition."""


@dataclass(slots=True)
class Packed:
    """Messages as batches.

    batches : of each partition, in their order
    count, byte_count : of the messages, and of their values
    """

    batches: dict[_Place, list[BatchBuilder]] = field(default_factory=dict)
    count: int = 0
    byte_count: int = 0


class TopicBatches:
    """Sends to a few topics that it has learned of."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        """producer : its `max_batch_size` is that of the batches"""
        self._producer = producer
        self._partitioner = DefaultPartitioner()
        self._partitions: dict[str, list[int]] = {}

    async def learn(self, topics: Iterable[str]) -> None:
        """See which partitions topics have; what they get later stays empty until the next start.
        Raises KafkaError."""
        for topic in topics:
            self._partitions[topic] = list(await self._producer.partitions_for(topic))

    def pack(self, messages: Iterable[Message]) -> Packed:
        """Messages as batches; one that is larger than a batch is one by itself. They lie where
        the producer's `send` puts them. For any thread; 2 us a message."""
        packed = Packed()
        places: dict[tuple[str, bytes], _Place] = {}
        stamp = time.time_ns() // 1_000_000
        for topic, key, value in messages:
            place = places.get((topic, key))
            if place is None:
                place = places[topic, key] = (topic, self._partition(topic, key))
            batches = packed.batches.setdefault(place, [])
            if not batches or not _append(batches[-1], stamp, key, value):
                batches.append(self._producer.create_batch())
                _append(batches[-1], stamp, key, value)
            packed.count += 1
            packed.byte_count += len(value)
        for batches in packed.batches.values():
            batches[-1].close()  # else messages of others are put into it
        return packed

    async def send(self, packed: Packed) -> None:
        """Send what was packed; it is durable when this returns, those of a key in their order.
        Raises KafkaError; then any of it may be there. Whoever calls bounds the time."""
        sending = (self._send_in_turn(place, batches) for place, batches in packed.batches.items())
        # All of them end before anybody sends again: what came late would stand behind it.
        for error in await asyncio.gather(*sending, return_exceptions=True):
            if error is not None:
                raise error

    async def _send_in_turn(self, place: _Place, batches: Iterable[BatchBuilder]) -> None:
        topic, partition = place
        for batch in batches:
            # An idempotent producer has one batch of a partition under way at a time anyway.
            await (await self._producer.send_batch(batch, topic, partition=partition))

    def _partition(self, topic: str, key: bytes) -> int:
        partitions = self._partitions[topic]
        return int(self._partitioner(key, partitions, partitions))


def _append(batch: BatchBuilder, stamp: int, key: bytes, value: bytes) -> bool:
    """Whether there was room."""
    return batch.append(timestamp=stamp, key=key, value=value) is not None
