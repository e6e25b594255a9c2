"""Segments: how contents get onto the store, and what is done about one that was cut off.

A segment is two files: data (frames, one content after the other) and an index. Data is durable
before the index names it, so what the index names is there. Where files grow, an index is made
before its data, and several commits go into one segment; elsewhere a segment is written by one
commit, data first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from reassoc.stream.vault_catalogue import Segment
from reassoc.stream.vault_frames import Sealed
from reassoc.stream.vault_index import (
    DATA_MAGIC,
    Entry,
    Head,
    IndexCodec,
    ParsedIndex,
    Seal,
    entry_of,
)
from reassoc.stream.vault_store import SEGMENTS, Sink, Store

SEGMENT_BYTES_MAX = 256 << 20
"""Bytes of data after which a segment of a folder is sealed. A content larger than PUT_MEMORY_MAX
has a segment of its own, of any size."""
INDEX_BYTES_MAX = 1 << 30
"""Bytes of one index."""
READ_TRIES = 3
"""How often a file is read again that was replaced while it was read."""


def data_name(segment: str) -> str:
    """File of a segment's frames."""
    return f"{SEGMENTS}/{segment}.data"


def index_name(segment: str) -> str:
    """File of a segment's index."""
    return f"{SEGMENTS}/{segment}.index"


class SegmentWriter:
    """A new segment. Not thread safe: its owner holds a lock, or is alone with it.

    Raises OSError; after that it can only be closed, and `recover` says what is left of it.
    """

    def __init__(self, store: Store, codec: IndexCodec, name: str, previous: str) -> None:
        self.name = name
        self.data_bytes = len(DATA_MAGIC)
        self.committed = Segment(name)
        self._store = store
        self._codec = codec
        self._blocks: list[bytes] = [codec.block(name, 0, Head(name, previous))]
        self._block_count = 1
        self._entry_count = 0
        self._index_bytes = 0
        self._index: Sink | None = None
        self._data: Sink | None = None
        try:
            if store.can_append:
                self._index = store.create(index_name(name))
                self._write_blocks()
            self._data = store.create(data_name(name))
            self._data.write([DATA_MAGIC])
        except BaseException:
            with suppress(OSError):
                self.close()
            raise

    def write(self, parts: Sequence[bytes]) -> int:
        """Append frames; the byte at which they begin."""
        assert self._data is not None
        offset = self.data_bytes
        self._data.write(parts)
        self.data_bytes += sum(map(len, parts))
        return offset

    def commit(
        self, contents: Sequence[tuple[Sealed, int]], at: int, *, seal: bool
    ) -> tuple[Segment, list[Entry]]:
        """Make contents durable that were written at their offsets; `at` is the time, in seconds
        since 1970. What is sealed is closed."""
        assert self._data is not None
        entries = [entry_of(sealed, offset, at) for sealed, offset in contents]
        self._data.sync()
        self._add(self._codec.commits(self.name, self._block_count, entries))
        self._entry_count += len(entries)
        self._finish(seal)
        return self.committed, entries

    def seal(self) -> Segment:
        """Close a segment for good."""
        self._finish(seal=True)
        return self.committed

    def _finish(self, seal: bool) -> None:
        assert self._data is not None
        assert seal or self._store.can_append, "an object is written once"
        if seal:
            last = Seal(self._entry_count, self.data_bytes, True)
            self._add([self._codec.block(self.name, self._block_count, last)])
            self._data.close()
            self._data = None
        if self._index is None:
            self._index = self._store.create(index_name(self.name))
        self._write_blocks()
        if seal:
            self._index.close()
            self._index = None
        stamp = self._store.stamp(index_name(self.name))
        self.committed = Segment(
            self.name, self._index_bytes, self.data_bytes, is_sealed=seal, stamp=stamp
        )

    def _add(self, blocks: list[bytes]) -> None:
        self._blocks += blocks
        self._block_count += len(blocks)

    def _write_blocks(self) -> None:
        assert self._index is not None
        self._index.write(self._blocks)
        self._index.sync()
        self._index_bytes += sum(map(len, self._blocks))
        self._blocks = []

    def close(self) -> None:
        """Let go of the files as they are."""
        for sink in (self._data, self._index):
            if sink is not None:
                with suppress(OSError):
                    sink.close()
        self._data = self._index = None

    def abandon(self) -> None:
        """Remove a segment to which nothing was committed."""
        self.close()
        self._store.remove(data_name(self.name))
        self._store.remove(index_name(self.name))


def read_index(store: Store, segment: str) -> tuple[bytes, int]:
    """The bytes of an index and its stamp, both of one moment."""
    name = index_name(segment)
    for _ in range(READ_TRIES):
        stamp = store.stamp(name)
        data = store.read(name, 0, INDEX_BYTES_MAX)
        if store.stamp(name) == stamp:
            return data, stamp
    raise OSError(f"{name} is replaced faster than it can be read")


def segment_of(segment: str, found: ParsedIndex, stamp: int) -> Segment:
    """A segment as its index says it is."""
    if found.seal is not None:
        data_bytes, has_data = found.seal.data_bytes, found.seal.has_data
    else:
        stops = [each.decode().stop for each in found.entries]
        data_bytes, has_data = max(stops, default=len(DATA_MAGIC)), True
    return Segment(segment, found.stop, data_bytes, found.seal is not None, has_data, stamp)


def recover(
    store: Store, codec: IndexCodec, segment: str, committed_bytes: int | None = None
) -> Segment | None:
    """Cut off what was not committed to a segment of a folder, and seal it; None where nothing was
    committed, and it was removed.

    committed_bytes : of the index, where they are known; else all blocks that are whole count.

    The index is written anew: what is in the cache of a disk that failed is not believed. Where it
    is damaged nothing is touched: `verify` tells of it.
    """
    data, stamp = read_index(store, segment)
    found = codec.parse(segment, data[:committed_bytes])
    if found.damages or found.seal is not None:
        return segment_of(segment, found, stamp)
    size = store.names().get(data_name(segment))
    if not found.entries:
        if found.head is not None or size is None:
            store.remove(data_name(segment))
            store.remove(index_name(segment))
            return None
        return segment_of(segment, found, stamp)
    committed = segment_of(segment, found, stamp)
    seal = Seal(len(found.entries), committed.data_bytes, True)
    block = codec.block(segment, found.blocks, seal)
    store.replace(index_name(segment), data[: found.stop] + block)
    if size is not None and size > committed.data_bytes:
        store.cut(data_name(segment), committed.data_bytes)
    committed.index_bytes += len(block)
    committed.is_sealed = True
    committed.stamp = store.stamp(index_name(segment))
    return committed
