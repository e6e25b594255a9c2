"""How contents become durable: sealed frames wait in memory, and one commit writes all that wait.

Threads that put at once share a commit: the first to get the lock writes for everybody who waits. A
content too large to wait in memory goes into a segment of its own while it is being read. After a
failure the segment that was being written is cut back and never written again: whether a disk that
refused to flush has the bytes is not known.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reassoc.core.errors import ReassocError
from reassoc.stream.vault_catalogue import Catalogue, check_room
from reassoc.stream.vault_errors import VaultError
from reassoc.stream.vault_frames import Sealed, seal
from reassoc.stream.vault_index import IndexCodec
from reassoc.stream.vault_keys import KeyRing, Random
from reassoc.stream.vault_segments import (
    SEGMENT_BYTES_MAX,
    SegmentWriter,
    data_name,
    index_name,
    recover,
)
from reassoc.stream.vault_store import Buffer, Store

PUT_MEMORY_MAX = 8 << 20
"""Encrypted bytes of one content that wait in memory; a larger one gets a segment of its own."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(slots=True, repr=False)
class Waiting:
    """A content that is not durable yet: its frames in memory, or in a segment of its own."""

    sealed: Sealed
    parts: list[bytes]
    writer: SegmentWriter | None = None

    @property
    def memory_bytes(self) -> int:
        """What it takes while it waits."""
        return sum(map(len, self.parts))


@dataclass(slots=True, eq=False)
class _Ticket:
    contents: Sequence[Waiting]
    is_done: bool = False
    error: BaseException | None = None
    stored: set[bytes] = field(default_factory=set)


def seconds_of(moment: datetime) -> int:
    """Seconds since 1970 in UTC. Raises ValueError for a time without its offset."""
    if moment.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    return int(moment.timestamp())


class Committer:
    """Writes segments. Every method may be called from any thread; raises OSError where the store
    fails, LimitError above CONTENTS_MAX."""

    def __init__(
        self,
        store: Store,
        codec: IndexCodec,
        catalogue: Catalogue,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self.lock = threading.RLock()
        """Held while anything is written: whoever rewrites an index takes it too."""
        self._store = store
        self._codec = codec
        self._catalogue = catalogue
        self._now = now
        self._new_id = new_id
        self._queue: list[_Ticket] = []
        self._queue_lock = threading.Lock()
        self._current: SegmentWriter | None = None
        self._previous = ""
        self._unsettled: dict[str, int] = {}
        self._in_flight: set[str] = set()

    def seal(self, pieces: Iterable[Buffer], keys: KeyRing, random: Random) -> Waiting:
        """Compress and encrypt a content; nothing of it is left where its pieces end badly."""
        parts: list[bytes] = []
        writer: SegmentWriter | None = None
        size = 0

        def emit(frame: bytes) -> None:
            nonlocal writer, size
            parts.append(frame)
            size += len(frame)
            try:
                if writer is None and size > PUT_MEMORY_MAX:
                    writer = self._new_segment()
                if writer is not None:
                    writer.write(parts)
                    parts.clear()
            except OSError as error:
                raise self._error_of(error) from error

        try:
            return Waiting(seal(pieces, keys, random, emit), parts, writer)
        except BaseException:
            if writer is not None:
                self._abandon(writer)
            raise

    def drop(self, content: Waiting) -> None:
        """Forget a content that nobody wants."""
        if content.writer is not None:
            self._abandon(content.writer)
            content.writer = None

    def commit(self, contents: Sequence[Waiting]) -> set[bytes]:
        """Make contents durable, each once; digests of those that were not there before."""
        ticket = _Ticket(contents)
        with self._queue_lock:
            self._queue.append(ticket)
        with self.lock:
            if not ticket.is_done:
                with self._queue_lock:
                    tickets, self._queue = self._queue, []
                self._write(tickets)
        if ticket.error is not None:
            raise self._error_of(ticket.error) from ticket.error
        return ticket.stored

    def _error_of(self, error: BaseException) -> ReassocError:
        """Each thread raises an error of its own: one that is shared collects tracebacks."""
        if isinstance(error, ReassocError):
            return type(error)(*error.args)
        reason = error.strerror if isinstance(error, OSError) else None
        return VaultError(
            f"{self._store.where}: contents were not stored: {reason or type(error).__name__}; "
            "what was stored before is safe"
        )

    def _write(self, tickets: Sequence[_Ticket]) -> None:
        wanted: dict[bytes, tuple[Waiting, _Ticket]] = {}
        for ticket in tickets:
            for content in ticket.contents:
                digest = content.sealed.digest
                if digest in wanted or is_live(self._catalogue, digest):
                    self.drop(content)
                else:
                    wanted[digest] = (content, ticket)
        try:
            check_room(len(self._catalogue), len(wanted))
            contents = [content for content, _ in wanted.values()]
            shared = [content for content in contents if content.writer is None]
            for content in contents:
                if content.writer is not None:
                    self._commit_own(content)
            if shared:
                self._commit_shared(shared)
            for digest, (_, ticket) in wanted.items():
                ticket.stored.add(digest)
        except BaseException as error:
            for ticket in tickets:
                ticket.error = error
            for content, _ in wanted.values():
                self.drop(content)
            if not isinstance(error, Exception):
                raise
        finally:
            for ticket in tickets:
                ticket.is_done = True

    def _commit_own(self, content: Waiting) -> None:
        writer = content.writer
        assert writer is not None
        content.writer = None
        offset = writer.data_bytes - sum(content.sealed.frame_lengths)
        self._commit_to(writer, [(content.sealed, offset)], seal=True)

    def _commit_shared(self, contents: Sequence[Waiting]) -> None:
        writer = self._current or self._new_segment()
        self._current = writer
        try:
            placed = [(each.sealed, writer.write(each.parts)) for each in contents]
        except BaseException:
            self._give_up(writer)
            raise
        is_full = writer.data_bytes >= SEGMENT_BYTES_MAX or not self._store.can_append
        self._commit_to(writer, placed, seal=is_full)

    def _commit_to(
        self, writer: SegmentWriter, placed: Sequence[tuple[Sealed, int]], *, seal: bool
    ) -> None:
        try:
            segment, entries = writer.commit(placed, seconds_of(self._now()), seal=seal)
        except BaseException:
            self._give_up(writer)
            raise
        self._catalogue.put(segment, entries)
        self._previous = writer.name
        if seal:
            self._in_flight.discard(writer.name)
            if writer is self._current:
                self._current = None

    def _new_segment(self) -> SegmentWriter:
        new_id = self._new_id()
        if not _ID.fullmatch(new_id):
            raise VaultError("an id for a segment must be 1 to 64 letters, digits, - and _")
        name = f"{self._now().astimezone(UTC):%Y%m%dT%H%M%S}-{new_id}"
        self._in_flight.add(name)
        try:
            return SegmentWriter(self._store, self._codec, name, self._previous)
        except OSError:
            self._unsettled[name] = 0
            self._try_to_settle()
            raise

    def _abandon(self, writer: SegmentWriter) -> None:
        try:
            writer.abandon()
            self._in_flight.discard(writer.name)
        except OSError:
            self._unsettled[writer.name] = 0

    def _give_up(self, writer: SegmentWriter) -> None:
        writer.close()
        if writer is self._current:
            self._current = None
        self._unsettled[writer.name] = writer.committed.index_bytes
        self._try_to_settle()

    def _try_to_settle(self) -> None:
        with suppress(OSError):
            self.settle()

    def settle(self) -> None:
        """Cut back the segments in which a commit failed. Raises OSError while the store still
        fails."""
        with self.lock:
            for name, committed_bytes in list(self._unsettled.items()):
                if committed_bytes and self._store.can_append:
                    segment = recover(self._store, self._codec, name, committed_bytes)
                    assert segment is not None, "a segment with commits stays"
                    self._catalogue.put(segment, ())
                else:
                    # Nothing of it was acknowledged.
                    self._store.remove(data_name(name))
                    self._store.remove(index_name(name))
                del self._unsettled[name]
                self._in_flight.discard(name)

    def seal_current(self) -> None:
        """Seal the segment that is being written; the next commit begins another one."""
        with self.lock:
            writer, self._current = self._current, None
            if writer is None:
                return
            try:
                self._catalogue.put(writer.seal(), ())
                self._in_flight.discard(writer.name)
            except BaseException:
                self._give_up(writer)
                raise

    def in_flight(self) -> set[str]:
        """Segments that are being written: the current one, and those of large contents."""
        with self.lock:
            return set(self._in_flight)

    def begin_after(self, segment: str) -> None:
        """Name the segment that the next one follows."""
        self._previous = segment


def is_live(catalogue: Catalogue, digest: bytes) -> bool:
    """Whether a content is there and was not erased."""
    found = catalogue.find(digest)
    return found is not None and found[1].erased is None
