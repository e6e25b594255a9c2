"""Where a partition's reader begins, and how far a topic goes."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.types import AppT

from reassoc.stream.config import Kafka
from reassoc.stream.log_batch import Partition as TopicAndNumber
from reassoc.stream.partition import Progress
from reassoc.stream.strict_consumer import StrictConsumerError, consumer_of
from reassoc.stream.topic_log import TopicLogError
from reassoc.stream.topics import ITEMS_TOPIC, client_settings

REWIND_MS = 10_000
"""How much of a partition is read again when it is opened. A Redis that was killed has lost at most
its last two seconds (appendfsync everysec), on some nodes of a cluster and not on others; what is
applied already is passed over by the tenants' marks."""
ANSWER_SECONDS_MAX = 10.0


class TopicReader:
    """Positions in the item log, asked beside the group's consumer."""

    def __init__(self, kafka: Kafka) -> None:
        self._topic = f"{kafka.prefix}.{ITEMS_TOPIC}"
        self._client = AIOKafkaConsumer(
            **client_settings(kafka), enable_auto_commit=False, isolation_level="read_committed"
        )

    async def start(self, app: AppT) -> None:
        """Connect, for an application. Raises TopicLogError."""
        self._app = app
        await self._asked(self._client.start())

    async def stop(self) -> None:
        """Let go."""
        await self._client.stop()

    async def begin_of(self, number: int, progress: Progress) -> int:
        """The offset from which a partition is to be read: a little before `progress`. Raises
        TopicLogError."""
        if progress.position == 0:
            return 0
        return await self._offset_at(number, progress.at_ms - REWIND_MS, progress.position)

    async def seek(self, number: int, offset: int) -> None:
        """Read a partition from there on. Where it is not ours at this moment, nothing is done."""
        try:
            await consumer_of(self._app).seek(TopicAndNumber(self._topic, number), offset)
        except StrictConsumerError:
            return

    async def ends(self, topics: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions end. Raises TopicLogError."""
        found: dict[TopicPartition, int] = await self._asked(self._client.end_offsets(topics))
        return found

    async def _offset_at(self, number: int, at_ms: int, most: int) -> int:
        """Offset of the first record at a time or later, at most `most`."""
        partition = TopicPartition(self._topic, number)
        found = await self._asked(self._client.offsets_for_times({partition: max(at_ms, 0)}))
        place = found.get(partition)
        return most if place is None else min(int(place.offset), most)

    async def _asked(self, question: Any) -> Any:
        try:
            return await question
        except KafkaError as error:
            raise TopicLogError(f"Kafka does not answer: {type(error).__name__}") from error
