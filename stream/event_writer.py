"""Events of published outbox entries, on their way to their topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from reassoc.stream.events import TOPICS, encode_event, events_of
from reassoc.stream.publisher import Published
from reassoc.stream.topic_batches import Message

SendAll = Callable[[Iterable[Message]], None]
"""Sends messages durably, those of a key in their order. Raises OSError where that fails."""


def event_topics(prefix: str) -> list[str]:
    """Names of all topics that events go to."""
    return [f"{prefix}.events.{name}" for name in TOPICS]


class EventWriter:
    """Tells events, at least once each and in the order of their tenant."""

    def __init__(self, prefix: str, send_all: SendAll) -> None:
        self._prefix = prefix
        self._send_all = send_all

    def tell(self, entries: Sequence[Published]) -> None:
        """Tell the events of entries that the ledger has and that are not acknowledged yet."""
        self._send_all(self._messages(entries))

    def _messages(self, entries: Sequence[Published]) -> Iterator[Message]:
        """Messages of entries, made one at a time: a large entry has many."""
        for _, sequence, body in entries:
            for suffix, key, event in events_of(sequence, body):
                yield f"{self._prefix}.{suffix}", key, encode_event(event)
