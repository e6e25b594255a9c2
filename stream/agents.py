"""The agents of a worker: they take batches off the streams and hand them on.

What is done with a batch, and when it counts as done, is the business of whom it is handed to; an
agent waits only where that one has no room, which holds its partition's fetches back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from faust.types import AppT

from reassoc.stream.log_batch import Batch


class Taker(Protocol):
    """Takes batches, in the order of each partition."""

    async def put(self, batch: Batch) -> None: ...


def add_agents(app: AppT, items: str, raw: Sequence[str], matching: Taker, intake: Taker) -> None:
    """Agents for the item log and the raw topics; none where there is no name of a topic."""
    for name, topics, taker in (
        ("match", [items] if items else [], matching),
        ("intake", list(raw), intake),
    ):
        if topics:
            _add(app, name, topics, taker)


def _add(app: AppT, name: str, topics: Sequence[str], taker: Taker) -> None:
    topic = app.topic(
        *topics, key_serializer="raw", value_type=bytes, value_serializer="raw", internal=False
    )

    async def hand_on(stream: Any) -> None:
        batches: AsyncIterator[Batch] = stream
        async for batch in batches:
            if not batch.is_void:
                await taker.put(batch)

    app.agent(topic, name=name, concurrency=1)(hand_on)
