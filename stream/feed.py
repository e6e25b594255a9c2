"""Files into raw topics, each of them once, as far as anybody can say.

A file is read once to find its parts (`chunks.py`), then its parts are sent, then its manifest.
Bytes in flight are limited, so a slow broker makes a slow feeder. What Kafka has is noted in a
journal: a feeder that was stopped goes on behind the last part that it knows to be there.
"""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from reassoc.core.errors import LimitError, ParseError, ReassocError
from reassoc.core.lockbox import LockboxLayout
from reassoc.core.windows import Buffer, bytes_view
from reassoc.stream.chunks import NoInputError, Plan, plan
from reassoc.stream.contents import Content, open_content, pieces
from reassoc.stream.feed_journal import FeedJournal, Note, Progress
from reassoc.stream.intake import our_faults, reason_of
from reassoc.stream.kinds import Kind
from reassoc.stream.message import (
    HEADER,
    PART_BYTES_MAX,
    TOPICS,
    Head,
    HeadError,
    PartHead,
    Reference,
    encode_head,
    key_of,
)
from reassoc.stream.sources import Source, SourceError
from reassoc.stream.take_in import UNPACKED_BYTES_MAX

IN_FLIGHT_BYTES_MAX = 32 << 20
"""Bytes that were sent and that the broker has not taken yet; at least one message."""
IN_FLIGHT_MAX = 8192
"""Messages of the same."""
NOTES_MAX = 512
"""Notes that wait to be written into the journal together."""
ACK_SECONDS_MAX = 120.0
"""How long a message may be on its way."""
PIECE_BYTES = 1 << 20
PROBLEMS_MAX = 1000
"""Files that were not sent of which the reason is kept."""


class FeedError(ReassocError):
    """Kafka did not take what was sent; run again to go on behind what it has."""


class Producer(Protocol):
    """What is needed of aiokafka's producer: idempotent, acks of all replicas."""

    async def send(
        self, topic: str, value: bytes, *, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> Awaitable[Any]:
        """Queue a message; what it gives is done when the broker has it."""
        ...


class PartVault(Protocol):
    """Where bytes go that no message can hold."""

    def put(self, pieces: Iterable[bytes | memoryview]) -> Reference:
        """Store a content durably; where readers of messages find it."""
        ...


@dataclass(slots=True)
class Fed:
    """What became of the files.

    sent_files, known_files : that were sent now, or had been before    passed_over : no inputs
    refused_files : that were not sent    problems : (name, reason) of the first PROBLEMS_MAX
    """

    sent_files: int = 0
    known_files: int = 0
    passed_over: int = 0
    refused_files: int = 0
    messages: int = 0
    sent_bytes: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, name: str, reason: str) -> None:
        """Count a file that was not sent."""
        self.refused_files += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append((name, reason))


@dataclass(slots=True)
class _InFlight:
    """A message on its way; note : what is to be remembered when it is there."""

    taken: asyncio.Future[Any]
    byte_count: int
    note: Note


class Feeder:
    """Sends files. For one task at a time.

    fed : what became of them so far
    """

    def __init__(
        self,
        producer: Producer,
        journal: FeedJournal,
        *,
        prefix: str,
        scratch: Path,
        layouts: Sequence[LockboxLayout] = (),
        vault: PartVault | None = None,
        part_bytes: int = PART_BYTES_MAX,
    ) -> None:
        """`scratch` : a folder with room for the largest compressed file, decompressed; `prefix` :
        of the topics; `vault` : for parts that no message can hold, which are refused without it.
        """
        self._producer = producer
        self._journal = journal
        self._prefix = prefix
        self._scratch = scratch
        self._layouts = layouts
        self._vault = vault
        self._part_bytes = part_bytes
        self._in_flight: deque[_InFlight] = deque()
        self._in_flight_bytes = 0
        self._notes: list[Note] = []
        self._stopping = False
        self.fed = Fed()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping

    def stop(self) -> None:
        """Send no message more; what is on its way is waited for."""
        self._stopping = True

    async def feed(self, source: Source, *, again: bool = False) -> str:
        """Send a file; why it was not sent, empty where it was, or had been before.

        again : also if its content was fed before

        Everything of it is in Kafka when `drain` has returned. Raises FeedError, StoreError, and
        what the vault raises. Memory: IN_FLIGHT_BYTES_MAX, and a large part that goes into a vault.
        """
        if self._stopping:
            return ""
        if not again and _is_done(await asyncio.to_thread(self._journal.of_source, source)):
            self.fed.known_files += 1
            return ""
        try:
            await self._feed(source, again)
        except NoInputError:
            self.fed.passed_over += 1
        except (SourceError, LimitError, ParseError, HeadError) as error:
            reason = reason_of(error)
            self.fed.refuse(source.name, reason)
            return reason
        return ""

    async def drain(self) -> None:
        """Wait for all that was sent, and write the journal. Raises FeedError, StoreError."""
        while self._in_flight:
            await self._take_oldest()
        await self.keep()

    async def keep(self) -> None:
        """Write what is known to be there into the journal. Raises StoreError."""
        notes, self._notes = self._notes, []
        latest = {(note.source.path, note.source.member): note for note in notes}
        await asyncio.to_thread(self._journal.keep, list(latest.values()))

    async def _feed(self, source: Source, again: bool) -> None:
        async with _opened(source, self._scratch) as view:
            planned = await asyncio.to_thread(self._planned, source, view)
            self._check(planned)
            known = await asyncio.to_thread(self._journal.of_content, planned.head.digest)
            if _is_done(known) and not again:
                self._notes.append(Note(source, self._progress(planned, len(planned.parts), True)))
                self.fed.known_files += 1
                return
            first = 0 if again else self._first_part(planned, known)
            await self._send_parts(source, planned, view, first)
        # Only now is it known that nobody changed the file meanwhile.
        if planned.manifest is not None and not self._stopping:
            await self._send(source, planned, planned.manifest, planned.findings)
        if not self._stopping:
            self.fed.sent_files += 1

    def _planned(self, source: Source, view: memoryview) -> Plan:
        with our_faults():
            return plan(source.name, view, layouts=self._layouts, part_bytes=self._part_bytes)

    def _check(self, planned: Plan) -> None:
        """Refuse what cannot be sent before any of it is."""
        large = next(filter(planned.is_large, planned.parts), None)
        if large is not None and self._vault is None:
            raise SourceError(
                f"{large.stop - large.start} bytes from byte {large.start} on cannot be cut and "
                f"are more than a message holds ({self._part_bytes}): they go through a vault, so "
                "give the workers' configuration (--config) and run again"
            )

    def _first_part(self, planned: Plan, known: Progress | None) -> int:
        """The first part that Kafka is not known to have."""
        if known is None or known != self._progress(planned, known.acked, False):
            return 0
        return known.acked

    def _progress(self, planned: Plan, acked: int, done: bool) -> Progress:
        count = len(planned.parts)
        return Progress(planned.head.digest, planned.byte_limit, count, acked, done)

    async def _send_parts(
        self, source: Source, planned: Plan, view: memoryview, first: int
    ) -> None:
        for part in planned.parts[first:]:
            if self._stopping:
                return
            if planned.is_large(part):
                head = await asyncio.to_thread(self._put, part, view)
                await self._send(source, planned, head, b"")
            else:
                await self._send(source, planned, part, bytes(view[part.start : part.stop]))

    def _put(self, part: PartHead, view: memoryview) -> PartHead:
        """Put the bytes of a part into the vault; the part with its place there."""
        assert self._vault is not None
        stored = self._vault.put(_pieces(view, part.start, part.stop))
        return replace(part, reference=stored)

    async def _send(self, source: Source, planned: Plan, head: Head, value: bytes) -> None:
        """Send one message, when there is room for it on the way."""
        while self._in_flight and (
            self._in_flight_bytes + len(value) > IN_FLIGHT_BYTES_MAX
            or len(self._in_flight) >= IN_FLIGHT_MAX
        ):
            await self._take_oldest()
        number = head.part if isinstance(head, PartHead) else head.part_count
        done = number + 1 == head.part_count + (planned.manifest is not None)
        taken = await self._given(
            self._producer.send(
                f"{self._prefix}.{TOPICS[Kind[head.kind]]}",
                value,
                key=key_of(head.digest, number),
                headers=[(HEADER, encode_head(head))],
            )
        )
        on_its_way = asyncio.ensure_future(taken)
        on_its_way.add_done_callback(_look_at)  # also of those behind one that failed
        acked = min(number + 1, head.part_count)
        note = Note(source, self._progress(planned, acked, done))
        self._in_flight.append(_InFlight(on_its_way, len(value), note))
        self._in_flight_bytes += len(value)
        self.fed.messages += 1
        self.fed.sent_bytes += len(value)

    async def _take_oldest(self) -> None:
        oldest = self._in_flight[0]
        await self._given(oldest.taken)
        self._in_flight.popleft()
        self._in_flight_bytes -= oldest.byte_count
        self._notes.append(oldest.note)
        if len(self._notes) >= NOTES_MAX:
            await self.keep()

    async def _given(self, awaited: Awaitable[Any]) -> Any:
        """What Kafka gives. Raises FeedError."""
        try:
            return await asyncio.wait_for(awaited, ACK_SECONDS_MAX)
        except TimeoutError as error:
            raise FeedError(
                f"Kafka took nothing for {ACK_SECONDS_MAX:.0f} seconds: look whether its brokers "
                "are well, and run again to go on"
            ) from error
        except ReassocError:
            raise
        except Exception as error:
            raise FeedError(
                f"Kafka did not take a message ({type(error).__name__}): look whether its topics "
                "are there and what they allow, and run again to go on"
            ) from error


def _is_done(known: Progress | None) -> bool:
    return known is not None and known.done


def _look_at(done: asyncio.Future[Any]) -> None:
    if not done.cancelled():
        done.exception()


def _pieces(view: memoryview, start: int, stop: int) -> Iterator[memoryview]:
    for at in range(start, stop, PIECE_BYTES):
        yield view[at : min(at + PIECE_BYTES, stop)]


# ---- the bytes of a file ----


@asynccontextmanager
async def _opened(source: Source, scratch: Path) -> AsyncIterator[memoryview]:
    """A file's bytes, decompressed, opened and closed where it may take its time."""
    with ExitStack() as stack:
        view = await asyncio.to_thread(stack.enter_context, plain_bytes(source, scratch))
        yield view


@contextmanager
def plain_bytes(source: Source, scratch: Path) -> Iterator[memoryview]:
    """A file's bytes: mapped where it lies plain; decompressed in memory up to UNPACKED_BYTES_MAX,
    else in a nameless file in `scratch`.

    Raises SourceError where it cannot be read, and at the end where it has changed meanwhile.
    """
    with open_content(source) as content:
        yield bytes_view(_plain(content, scratch))


def _plain(content: Content, scratch: Path) -> Buffer:
    if content.stream is None:
        return content.data or b""
    head = content.stream.peek(UNPACKED_BYTES_MAX + 1)
    if len(head) <= UNPACKED_BYTES_MAX:
        return head
    try:
        with tempfile.TemporaryFile(dir=scratch) as file:
            for piece in pieces(content):
                file.write(piece)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise SourceError(
            f"cannot be decompressed in {scratch}: {error.strerror or 'failed'}"
        ) from error
