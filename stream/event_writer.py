"""Events of published outbox entries, on their way to their topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reassoc.stream.events import encode_event, events_of
from reassoc.stream.publisher import Published

SendAll = Callable[[Sequence[tuple[str, bytes, bytes]]], None]
"""Sends (topic, key, value) durably, in their order. Raises OSError where that fails."""


class EventWriter:
    """Tells events, at least once each and in the order of their tenant."""

    def __init__(self, prefix: str, send_all: SendAll) -> None:
        self._prefix = prefix
        self._send_all = send_all

    def tell(self, entries: Sequence[Published]) -> None:
        """Tell the events of entries that the ledger has and that are not acknowledged yet."""
        messages = []
        for _, sequence, body in entries:
            for suffix, key, event in events_of(sequence, body):
                messages.append((f"{self._prefix}.{suffix}", key, encode_event(event)))
        if messages:
            self._send_all(messages)
