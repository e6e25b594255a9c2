"""What the vault holds, in memory: one packed record for each content, about 250 bytes.

Truth lies in the indexes of the segments; this is what was read of them. A content may lie in two
segments (two writers of an object store, a commit that failed late): one of them is read, and an
erasure finds both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reassoc.core.errors import LimitError
from reassoc.stream.vault_index import Entry, Place, packed, unpacked

CONTENTS_MAX = 4_000_000
"""Contents of one vault, erased ones included: about 1 GiB of memory."""


@dataclass(slots=True)
class Segment:
    """A segment whose index was read.

    index_bytes, data_bytes : up to where it is committed
    stamp : of the index file as it was read
    """

    name: str
    index_bytes: int = 0
    data_bytes: int = 0
    is_sealed: bool = False
    has_data: bool = True
    stamp: int = 0


@dataclass(slots=True)
class Catalogue:
    """Contents and segments. Every method may be called from any thread."""

    segments: list[Segment] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _records: dict[bytes, bytes] = field(default_factory=dict)
    _copies: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __len__(self) -> int:
        return len(self._records)

    def segment(self, name: str) -> Segment | None:
        """By its name."""
        with self._lock:
            number = self._numbers.get(name)
            return None if number is None else self.segments[number]

    def put(self, segment: Segment, entries: Iterable[Entry]) -> None:
        """A segment as it is now, and entries of it that are new or changed.

        Raises LimitError above CONTENTS_MAX.
        """
        with self._lock:
            number = self._numbers.setdefault(segment.name, len(self.segments))
            if number == len(self.segments):
                self.segments.append(segment)
            else:
                self.segments[number] = segment
            for each in entries:
                self._put(number, each)

    def _put(self, number: int, each: Entry) -> None:
        record = packed(number, each.place)
        before = self._records.get(each.digest)
        if before is None:
            check_room(len(self._records), 1)
            self._records[each.digest] = record
            return
        before_number, place = unpacked(before)
        if before_number == number or place.erased is not None:
            # An erased content may have come again; then the tombstone stays in its segment only.
            if each.is_live or before_number == number:
                self._records[each.digest] = record
        elif each.is_live:
            self._copies.setdefault(each.digest, {})[number] = record
        copies = self._copies.get(each.digest)
        if copies is not None and not each.is_live:
            copies.pop(number, None)
            if not unpacked(self._records[each.digest])[1].wrapped and copies:
                self._records[each.digest] = copies.popitem()[1]
            if not copies:
                del self._copies[each.digest]

    def find(self, digest: bytes) -> tuple[Segment, Place] | None:
        """Where a content lies, or why it is no more; None for one that never came."""
        with self._lock:
            record = self._records.get(digest)
            if record is None:
                return None
            number, place = unpacked(record)
            return self.segments[number], place

    def segments_of(self, digest: bytes) -> list[str]:
        """Names of every segment that holds a key of a content."""
        with self._lock:
            records = [self._records[digest], *self._copies.get(digest, {}).values()]
            found = (unpacked(record) for record in records)
            return [self.segments[number].name for number, place in found if place.erased is None]

    def __iter__(self) -> Iterator[tuple[bytes, Segment, Place]]:
        """Every content in the order in which they came; what comes meanwhile may be left out."""
        with self._lock:
            digests = list(self._records)
        for digest in digests:
            found = self.find(digest)
            if found is not None:
                yield digest, *found


def check_room(count: int, more: int) -> None:
    """Raise LimitError where a vault of `count` contents has no room for more."""
    if count + more > CONTENTS_MAX:
        raise LimitError(
            f"the vault holds CONTENTS_MAX ({CONTENTS_MAX}) contents: begin another vault"
        )
