"""Writing the item log's topic.

`TopicLog` is for whoever adds to tenants' logs: intake, and people's commands. What it writes may
be there twice after a crash; items and decisions are known by their ids. `LeaderLog` is for what
must be there once and in all partitions, or in none: time, settings, moves out of the quarantine.
Its transactional id is that of a partition, so a new owner fences the one before off.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import RecordMetadata

from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.config import Kafka
from reassoc.stream.home_log import HOME_TENANT
from reassoc.stream.item_log import (
    ClockEntry,
    Entry,
    FenceEntry,
    SettingsEntry,
    encode_entry,
)
from reassoc.stream.partition_log import partition_of
from reassoc.stream.topics import ITEMS_TOPIC, client_settings

RECORD_MARGIN_BYTES = 4 << 10
"""What a record takes beside its entry."""
TRANSACTION_SECONDS = 30
ARRIVED = "arrived"
"""A header of what intake logs: milliseconds since 1970, int64 big-endian."""
_ARRIVED = struct.Struct(">q")
BATCH_BYTES = 1 << 20
APPEND_SECONDS_MAX = 60.0
"""How long Kafka may take for what is appended together, before it is appended again."""
STOP_SECONDS_MAX = 4.0
"""How long a producer that ends may take to send what waits."""

Headers = Sequence[tuple[str, bytes]]


class TopicLogError(ReassocError, OSError):
    """The topic could not be written: nothing of a LeaderLog's append is there, and anything of a
    TopicLog's may be. To be tried again."""


class NotLeaderError(ReassocError):
    """Another worker owns the partition by now: this one must not write any more."""


class TopicLog:
    """Adds entries to tenants' logs."""

    def __init__(self, kafka: Kafka, partition_count: int) -> None:
        self._topic = f"{kafka.prefix}.{ITEMS_TOPIC}"
        self._count = partition_count
        self._bytes_max = kafka.message_bytes_max
        self._producer = AIOKafkaProducer(
            **client_settings(kafka),
            enable_idempotence=True,
            acks="all",
            max_request_size=kafka.message_bytes_max,
            max_batch_size=min(BATCH_BYTES, kafka.message_bytes_max),
        )

    async def start(self) -> None:
        """Connect. Raises TopicLogError."""
        await _started(self._producer)

    async def stop(self) -> None:
        """Send what waits, and let go."""
        await end_producer(self._producer)

    async def append(
        self, entries: Sequence[tuple[str, Entry]], arrived_ms: int = 0
    ) -> dict[str, int]:
        """Write (tenant, entry) pairs; they are durable when this returns. The position of each
        tenant's last one. Raises TopicLogError, LimitError for an entry that no record can hold.

        arrived_ms : when the first message came that they are made of, for who measures
        """
        records = _records(entries, self._bytes_max)
        try:
            async with asyncio.timeout(APPEND_SECONDS_MAX):
                written = await self._write(records, [(ARRIVED, _ARRIVED.pack(arrived_ms))])
        except (KafkaError, TimeoutError) as error:
            raise _failed(self._topic, error) from error
        tenants = (tenant for tenant, _, _ in records)
        return {tenant: at.offset + 1 for tenant, at in zip(tenants, written, strict=True)}

    async def _write(
        self, records: Sequence[tuple[str, bytes, bytes]], headers: Headers
    ) -> list[RecordMetadata]:
        """Where records are, once they are durable."""
        sent = [
            await self._producer.send(
                self._topic,
                body,
                key=key,
                partition=partition_of(tenant, self._count),
                headers=headers,
            )
            for tenant, key, body in records
        ]
        return await asyncio.gather(*sent)


class LeaderLog:
    """Adds entries whole or not at all, for the owner of a partition.

    After NotLeaderError and TopicLogError it is of no use any more: whether the entries are there
    is seen behind the fence of another one.
    """

    def __init__(self, kafka: Kafka, partition_count: int, partition: int) -> None:
        self._topic = f"{kafka.prefix}.{ITEMS_TOPIC}"
        self._count = partition_count
        self._partition = partition
        self._bytes_max = kafka.message_bytes_max
        self._lock = asyncio.Lock()
        self._producer = AIOKafkaProducer(
            **client_settings(kafka),
            transactional_id=f"{kafka.prefix}.items-{partition}",
            transaction_timeout_ms=TRANSACTION_SECONDS * 1000,
            max_request_size=kafka.message_bytes_max,
        )

    async def start(self) -> int:
        """Connect, and fence off whoever wrote for the partition before; what that one had begun is
        undone. The position of a FenceEntry behind all that it wrote. Raises TopicLogError."""
        await _started(self._producer)
        ((_, key, body),) = _records([(HOME_TENANT, FenceEntry())], self._bytes_max)
        (offset,) = await self._write([(self._partition, key, body)])
        return offset + 1

    async def stop(self) -> None:
        """Let go."""
        await end_producer(self._producer)

    async def append(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Write (tenant, entry) pairs, all or none."""
        await self._write(
            (partition_of(tenant, self._count), key, body)
            for tenant, key, body in _records(entries, self._bytes_max)
        )

    async def append_to_all(self, entries: Sequence[ClockEntry | SettingsEntry]) -> None:
        """Write entries for the tenants of every partition, in their order, all or none."""
        records = _records([(HOME_TENANT, entry) for entry in entries], self._bytes_max)
        await self._write(
            (partition, key, body) for _, key, body in records for partition in range(self._count)
        )

    async def _write(self, records: Iterable[tuple[int, bytes, bytes]]) -> list[int]:
        """Write records in one transaction; their offsets."""
        try:
            async with (
                self._lock,
                asyncio.timeout(TRANSACTION_SECONDS + STOP_SECONDS_MAX),
                self._producer.transaction(),
                asyncio.timeout(TRANSACTION_SECONDS),  # then it is undone, in a bounded time too
            ):
                sent = [
                    await self._producer.send(self._topic, body, key=key, partition=partition)
                    for partition, key, body in records
                ]
                return [done.offset for done in await asyncio.gather(*sent)]
        except ProducerFenced as error:
            raise NotLeaderError(
                "another worker has taken the partition over: this one stops writing for it"
            ) from error
        except (KafkaError, TimeoutError) as error:
            raise _failed(self._topic, error) from error


def arrived_of(headers: Sequence[tuple[str, bytes]]) -> int:
    """When the first message of a record arrived, 0 where nobody said."""
    for name, value in headers:
        if name == ARRIVED and len(value) == _ARRIVED.size:
            return int(_ARRIVED.unpack(value)[0])
    return 0


def _records(
    entries: Sequence[tuple[str, Entry]], bytes_max: int
) -> list[tuple[str, bytes, bytes]]:
    """Tenant, key and body of each record."""
    found = []
    for tenant, entry in entries:
        body = encode_entry(entry)
        if len(body) > bytes_max - RECORD_MARGIN_BYTES:
            raise LimitError(
                f"an entry of {len(body)} bytes is above what kafka.message_bytes_max "
                f"({bytes_max}) leaves for one: raise it, for the topic as well"
            )
        found.append((tenant, tenant.encode(), body))
    return found


async def _started(producer: AIOKafkaProducer) -> None:
    try:
        await producer.start()
    except KafkaError as error:
        raise TopicLogError(f"Kafka cannot be reached: {type(error).__name__}") from error


async def end_producer(producer: AIOKafkaProducer) -> None:
    """Let a producer send what waits, and end it: by force where Kafka does not answer in time."""
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await producer.stop()
    except (KafkaError, TimeoutError):
        await producer._sender.close()
        await producer.client.close()


def _failed(topic: str, error: Exception) -> TopicLogError:
    return TopicLogError(f"topic {topic} was not written: {type(error).__name__}")
