"""The item log on Kafka: records of partitions, and a tenant's log as a view of one.

A partition holds the records of some tenants, and those for all of its tenants (key HOME_TENANT):
time and settings. A tenant's log is what is its own and, from its first record on, what is for all;
before that, the settings and the clock that held by then. So it is the same for everybody who reads
the partition, and no writer has to tell a new tenant anything. See docs/decisions/0014.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec
from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream.home_log import HOME_TENANT
from reassoc.stream.item_log import (
    NO_ENDS,
    ClockEntry,
    Entry,
    FenceEntry,
    Logged,
    Routing,
    SettingsEntry,
    decode_entry,
)

FOR_ALL_MAX = 100_000
"""Entries for all tenants of one partition: openings and closes of two hundred years."""


_Kind = TypeVar("_Kind", ClockEntry, SettingsEntry)


class RecordError(ReassocError):
    """A record of the item log that no program of this kind wrote. It is passed over, by everybody
    who reads the log."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record of the item log's topic.

    tenant : the record's key    position : its offset + 1
    at_ms : when it was logged, milliseconds since 1970 in UTC    body : the encoded entry
    arrived_ms : when the first message came that it is made of, 0 where nobody said
    """

    tenant: str
    position: int
    at_ms: int
    body: bytes
    arrived_ms: int = 0

    def logged(self) -> Logged:
        """What it says. Raises RecordError."""
        try:
            entry = decode_entry(self.body)
        except msgspec.MsgspecError:
            # What msgspec says may quote the entry.
            raise RecordError(
                f"the record of {len(self.body)} bytes is no entry of an item log"
            ) from None
        is_for_all = isinstance(entry, ClockEntry | SettingsEntry | FenceEntry)
        if is_for_all != (self.tenant == HOME_TENANT):
            raise RecordError("time, settings and fences are for all tenants, and nothing else is")
        return Logged(self.position, moment(self.at_ms), entry)


class Seen(NamedTuple):
    """A tenant that a worker claimed once.

    partition : that its log is in    first_position : of its first record, 0 where nobody said
    """

    partition: int
    first_position: int = 0


def moment(at_ms: int) -> str:
    """ISO 8601 in UTC."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds")


@lru_cache(maxsize=1 << 16)
def partition_of(tenant: str, count: int) -> int:
    """The partition of a tenant's records, for ever: of a topic with `count` partitions."""
    return int.from_bytes(blake3(tenant.encode()).digest(4), "little") % count


class ForAll:
    """Entries for all tenants of a partition, in their order."""

    def __init__(self, entries: Sequence[Logged] = ()) -> None:
        self._entries = list(entries)

    @property
    def settings(self) -> SettingsEntry | None:
        """Those that hold now."""
        return self._last(SettingsEntry)

    @property
    def clock(self) -> ClockEntry | None:
        """The last entry about time, which may be a start; None before the first."""
        return self._last(ClockEntry)

    def add(self, logged: Logged) -> None:
        """Take the next one; one that is there already is left out."""
        if not self._entries or self._entries[-1].position < logged.position:
            self._entries.append(logged)

    def holding(self, position: int) -> list[Logged]:
        """What a tenant begins with whose first record is there: settings and clock, in the order
        in which they were logged."""
        before = [each for each in self._entries if each.position < position]
        last: dict[type, Logged] = {type(each.entry): each for each in before}
        return sorted(last.values(), key=lambda each: each.position)

    def _last(self, kind: type[_Kind]) -> _Kind | None:
        entries = (each.entry for each in reversed(self._entries))
        return next((entry for entry in entries if isinstance(entry, kind)), None)


Append = Callable[[Sequence[tuple[str, Entry]]], None]


class PartitionLog:
    """An ItemLog for the matchers of one partition: what was read of it and is not applied yet.

    For one thread. `append` hands to whoever writes the topic.
    """

    def __init__(self, append: Append) -> None:
        self._append = append
        self._waiting: dict[str, deque[Logged]] = {}

    def put(self, tenant: str, logged: Logged) -> None:
        """Put the next entry of a tenant behind the others."""
        self._waiting.setdefault(tenant, deque()).append(logged)

    def drop(self, tenant: str) -> None:
        """Forget what waits of a tenant that has stopped."""
        self._waiting.pop(tenant, None)

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        """At most `limit` entries behind a position, in order; what is not behind it is forgotten.
        None does not mean that the partition has ended."""
        entries = self._waiting.get(tenant, deque())
        while entries and entries[0].position <= after:
            entries.popleft()
        return [entries[place] for place in range(min(limit, len(entries)))]

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
        ends: Mapping[str, int] = NO_ENDS,
    ) -> list[int]:
        """Hand entries to whoever writes the topic, all or none; nobody is told their positions."""
        assert not routings, "routings of a stream stand in the part book"
        assert not ends, "only one worker tells all tenants something"
        self._append(entries)
        return []

    def tenants(self) -> dict[str, int]:
        """Tenants of which something waits, and the last position of each."""
        return {name: entries[-1].position for name, entries in self._waiting.items() if entries}

    def routings(self, keys: Sequence[bytes]) -> dict[bytes, Routing]:
        """None: see part_book.py."""
        return {}

    def close(self) -> None:
        """Nothing is held."""
