"""The topics of a stream: their names, what each of them must be like, and making them.

PREFIX.raw.x12, .raw.ach, .raw.bai2    bytes as received
PREFIX.items                           the item log: kept for ever, its partitions never change
PREFIX.dead                            what could not be taken, and why
PREFIX.events.*                        what others may want to hear, see events.py
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from faust.auth import SASLCredentials, SSLCredentials

from reassoc.core.errors import ReassocError
from reassoc.stream.config import Kafka, kafka_password
from reassoc.stream.events import TOPICS as EVENT_TOPICS

RAW_TOPICS = ("raw.x12", "raw.ach", "raw.bai2")
ITEMS_TOPIC = "items"
DEAD_TOPIC = "dead"
FINDINGS_TOPIC = "findings"
EVENT_PARTITIONS = 3
RAW_RETENTION_MS = 7 * 86_400_000
"""What was taken lies in the vault: raw messages are kept for as long as workers may be away."""
EVENT_RETENTION_MS = FINDINGS_RETENTION_MS = 30 * 86_400_000
REQUEST_SECONDS_MAX = 30.0
_FOR_EVER = "-1"
_LOOK_SECONDS = 0.1


class TopicError(ReassocError):
    """A topic is missing or not as it must be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is made."""

    name: str
    partitions: int
    settings: Mapping[str, str]


def client_settings(kafka: Kafka) -> dict[str, Any]:
    """Arguments of every aiokafka client. Raises ConfigError and TopicError where a file cannot be
    read."""
    security = kafka.security
    found: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap,
        "security_protocol": security.protocol,
    }
    try:
        if security.protocol.endswith("SSL"):
            found["ssl_context"] = ssl.create_default_context(cafile=security.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise TopicError(
            f"kafka.security.ca_file: cannot be read: {type(error).__name__}"
        ) from error
    if security.protocol.startswith("SASL"):
        found["sasl_mechanism"] = security.mechanism
        found["sasl_plain_username"] = security.user
        found["sasl_plain_password"] = kafka_password(security)
    return found


def credentials(kafka: Kafka) -> Any:
    """The same for Faust: what it calls credentials, None for an open broker. Raises TopicError."""
    found = client_settings(kafka)
    context = found.get("ssl_context")
    if "sasl_mechanism" in found:
        return SASLCredentials(
            username=found["sasl_plain_username"],
            password=found["sasl_plain_password"],
            ssl_context=context,
            mechanism=found["sasl_mechanism"],
        )
    return SSLCredentials(context) if context is not None else None


def topics_of(kafka: Kafka) -> list[Topic]:
    """Every topic of a stream, as it is made where it is not there."""
    size = {"max.message.bytes": str(kafka.message_bytes_max)}
    raw = {**size, "retention.ms": str(RAW_RETENTION_MS)}
    items = {
        **size,
        "retention.ms": _FOR_EVER,
        "retention.bytes": _FOR_EVER,
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
    }
    events = {"retention.ms": str(EVENT_RETENTION_MS)}
    named = [Topic(name, kafka.raw_partitions, raw) for name in RAW_TOPICS]
    named.append(Topic(ITEMS_TOPIC, kafka.items_partitions, items))
    named.append(Topic(DEAD_TOPIC, 1, {**size, "retention.ms": _FOR_EVER}))
    findings = {**size, "retention.ms": str(FINDINGS_RETENTION_MS)}
    named.append(Topic(FINDINGS_TOPIC, EVENT_PARTITIONS, findings))
    named += [Topic(f"events.{name}", EVENT_PARTITIONS, events) for name in EVENT_TOPICS]
    return [Topic(f"{kafka.prefix}.{each.name}", each.partitions, each.settings) for each in named]


async def ensure_topics(kafka: Kafka) -> int:
    """Make the topics that are not there; the partitions of the item log, which only grow wrong.

    Raises TopicError where a topic cannot be made, or the item log is not kept for ever.
    """
    async with _admin(kafka) as admin:
        there = set(await admin.list_topics())
        missing = [topic for topic in topics_of(kafka) if topic.name not in there]
        if missing:
            await _create(admin, missing, kafka.replication)
        return await _partitions(admin, f"{kafka.prefix}.{ITEMS_TOPIC}")


async def items_partitions(kafka: Kafka) -> int:
    """The partitions of the item log, for who must not make one. Raises TopicError."""
    name = f"{kafka.prefix}.{ITEMS_TOPIC}"
    async with _admin(kafka) as admin:
        if name not in await admin.list_topics():
            raise TopicError(f"Kafka at {kafka.bootstrap} has no topic {name}: no worker ever ran")
        return await _partitions(admin, name)


async def cluster_id(kafka: Kafka) -> str:
    """What the cluster is called for ever. Raises TopicError."""
    async with _admin(kafka) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


@asynccontextmanager
async def _admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """Who is asked about topics. Raises TopicError."""
    admin = AIOKafkaAdminClient(
        **client_settings(kafka), request_timeout_ms=int(REQUEST_SECONDS_MAX * 1000)
    )
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise TopicError(
            f"Kafka at {kafka.bootstrap} cannot be asked: {type(error).__name__}"
        ) from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication: int) -> None:
    wanted = [
        NewTopic(each.name, each.partitions, replication, topic_configs=dict(each.settings))
        for each in topics
    ]
    answer: Any = await admin.create_topics(wanted)
    for name, code, *_ in answer.topic_errors:
        fault = for_code(code)
        if code and fault is not TopicAlreadyExistsError:
            raise TopicError(
                f"topic {name} cannot be made ({fault.__name__}): make it by hand, or see "
                "kafka.replication and what this user may do"
            )


async def _partitions(admin: AIOKafkaAdminClient, name: str) -> int:
    """Partitions of a topic, once the broker that is asked has heard of it."""
    end = time.monotonic() + REQUEST_SECONDS_MAX
    while True:
        (described,) = await admin.describe_topics([name])
        if not described.get("error_code"):
            return len(described["partitions"])
        fault = for_code(described["error_code"])
        if fault is not UnknownTopicOrPartitionError or time.monotonic() > end:
            raise TopicError(f"topic {name} cannot be read: {fault.__name__}")
        await asyncio.sleep(_LOOK_SECONDS)
