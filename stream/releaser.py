"""The releaser: writes the files that the release book intends, and hands them to their sinks.

Nothing is dropped: what a sink does not take is tried again, later and later, and is seen until it
is delivered. A receiver that fails does not keep the others waiting, nor does a content that the
vault cannot give back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import BinaryIO

import numpy as np

from reassoc.core.errors import ReassocError
from reassoc.stream.gathering import (
    Carried,
    ContentError,
    Contents,
    Gathered,
    copy_source,
    digest_of,
    gather,
    rows_of,
    runs,
)
from reassoc.stream.intake import place_of
from reassoc.stream.profiles import decode_profile
from reassoc.stream.release import InterchangeWriter
from reassoc.stream.release_book import FailureCode, Intent, ReleaseBook, ReleaseBookError
from reassoc.stream.release_draft import FileBody, Rows
from reassoc.stream.sinks import FAULT_POINTS as SINK_FAULT_POINTS
from reassoc.stream.sinks import (
    BytesChangedError,
    Fault,
    NameTakenError,
    Parcel,
    Sink,
    SinkError,
    Write,
)

GROUP_FILES_MAX = 256
GROUP_ITEMS_FIRST = 2_000
GROUP_ITEMS_MAX = 10_000
"""Files, and remittances in them, that go together: they share reads and syncs. The first ones are
few, so that files are written while others are read."""
RETRY_SECONDS_FIRST = 5
RETRY_SECONDS_MAX = 3600
"""A retry waits twice as long as the one before, up to this; jitter takes up to half of it off."""
FAILURES_MAX = 10_000
"""Failures that are remembered; beyond it the oldest are forgotten, and so tried again at once."""
FAULT_POINTS = (
    "releaser: begun",
    "releaser: half written",
    *SINK_FAULT_POINTS,
    "releaser: delivered",
    "releaser: done",
)
"""Between which steps a crash is told apart, from an intent to its done row."""

GoOn = Callable[[float], bool]
"""Told how many seconds a group of files took: whether to go on with the next one."""

_EPOCH = date(1970, 1, 1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that was not delivered, and why.

    attempts          how often in a row it (or another file of its receiver) failed
    at, next_at       when it failed, when it is tried again
    is_of_receiver    all files of the receiver wait with it
    """

    number: int
    name: str
    receiver: str
    code: FailureCode
    text: str
    attempts: int
    at: datetime
    next_at: datetime
    is_of_receiver: bool


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did: files delivered, files that failed, files that wait for their time, files
    in doubt."""

    delivered_count: int
    failed_count: int
    waiting_count: int
    in_doubt_count: int


@dataclass(frozen=True, slots=True)
class ReleaserStatus:
    """How the releaser is: failures that stand, the oldest first; the last one there ever was; and
    what the last run did."""

    failures: tuple[Failure, ...]
    last_failure: Failure | None
    last_run: Run | None


_Key = tuple[str, str, int]
"""What waits: sink, receiver, and number of a file, 0 for all of the receiver. No receiver: all."""


class Releaser:
    """Delivers what a book intends. One at a time for a book; `status` may be called by others."""

    def __init__(
        self,
        book: ReleaseBook,
        vault: Contents,
        sinks: Mapping[str, Sink],
        *,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        on_failure: Callable[[Failure], None] = lambda _: None,
        fault: Fault = lambda _: None,
        group_files_max: int = GROUP_FILES_MAX,
        expect: Callable[[Collection[bytes]], None] = lambda _: None,
    ) -> None:
        """
        now : aware of its zone      jitter : from 0 to 1
        group_files_max : files that go together
        on_failure : told the first failure of a file, and each that is of another kind
        expect : told which contents will be read, by their digests, before they are
        """
        self._book = book
        self._vault = vault
        self._sinks = sinks
        self._now = now
        self._jitter = jitter
        self._on_failure = on_failure
        self._fault = fault
        self._group_files_max = group_files_max
        self._expect = expect
        self._lock = threading.Lock()
        self._failures: OrderedDict[_Key, Failure] = OrderedDict()
        self._last_failure: Failure | None = None
        self._last_run: Run | None = None

    def run_once(self, go_on: GoOn = lambda _: True) -> Run:
        """Try every intent whose time has come, oldest first.

        go_on : asked after each group of files; may wait

        Raises what the ledger raises: without it nothing can be told. All else is a failure of one
        file, or of one receiver, and is in `status`.
        """
        counts = Counter[str]()
        for name, sink in self._sinks.items():
            self._make_ready(name, sink)
        began = time.monotonic()
        for packed in self._packed_ahead(self._due_groups(counts)):
            # What has failed since it was packed makes others wait.
            due = [(intent, parcel) for intent, parcel in packed if not self._waits(intent)]
            counts["waiting"] += len(packed) - len(due)
            delivered = self._try(due) if due else 0
            counts["delivered"] += delivered
            counts["failed"] += len(due) - delivered
            if not go_on(time.monotonic() - began):
                break
            began = time.monotonic()
        run = Run(counts["delivered"], counts["failed"], counts["waiting"], counts["in doubt"])
        with self._lock:
            self._last_run = run
        return run

    def status(self) -> ReleaserStatus:
        """How it is."""
        with self._lock:
            return ReleaserStatus(
                tuple(self._failures.values()), self._last_failure, self._last_run
            )

    def _make_ready(self, name: str, sink: Sink) -> None:
        """A sink that remembers nothing: of what was prepared for it nobody knows whether it was
        delivered, and a guess would lose a file or send it twice."""
        key = (name, "", 0)
        failure = self._failures.get(key)
        if failure is not None and _is_ahead(failure, self._now()):
            return
        try:
            is_ready = sink.is_ready()
            if not is_ready:
                self._doubt(name)
                sink.make_ready()
            self._forget(key)
        except SinkError as error:
            self._keep(key, 0, "", FailureCode.SINK, f"the sink cannot be made ready: {error}")

    def _doubt(self, sink: str) -> None:
        """What was prepared for a sink is in doubt."""
        after = 0
        while intents := self._book.unfinished(after):
            for intent in intents:
                after = intent.number
                if intent.sink == sink and intent.prepared and not intent.is_in_doubt:
                    _log.warning("%s: whether it was delivered is in doubt", intent.name)
                    self._book.in_doubt(intent.number, at=self._at())

    def _waits(self, intent: Intent) -> bool:
        now = self._now()
        keys = _keys(intent)
        return any(key in self._failures and _is_ahead(self._failures[key], now) for key in keys)

    def _due_groups(self, counts: Counter[str]) -> Iterator[list[Intent]]:
        """Files whose time has come, those that go together; counts the others."""
        after = 0
        while intents := self._book.unfinished(after):
            after = intents[-1].number
            sure = [intent for intent in intents if not intent.is_in_doubt]
            counts["in doubt"] += len(intents) - len(sure)
            for group in _groups(sure, self._group_files_max):
                due = [intent for intent in group if not self._waits(intent)]
                counts["waiting"] += len(group) - len(due)
                if due:
                    yield due

    def _packed_ahead(
        self, groups: Iterable[Sequence[Intent]]
    ) -> Iterator[list[tuple[Intent, Parcel]]]:
        """The files with what the sink gets of them; while one group is delivered, the next one is
        read from the vault."""
        waiting: tuple[Sequence[Intent], Future[list[Parcel]]] | None = None
        carried = Carried()
        with ThreadPoolExecutor(1, thread_name_prefix="packing") as packer:
            for group in groups:
                before, waiting = waiting, (group, packer.submit(self._pack, group, carried))
                if before is not None:
                    yield list(zip(before[0], before[1].result(), strict=True))
            if waiting is not None:
                yield list(zip(waiting[0], waiting[1].result(), strict=True))

    def _try(self, packed: Sequence[tuple[Intent, Parcel]]) -> int:
        """Deliver some files of one sink; how many went."""
        self._fault("releaser: begun")
        intents, parcels = [one for one, _ in packed], [one for _, one in packed]
        sink = self._sinks.get(intents[0].sink)
        try:
            if sink is None:
                raise SinkError("no sink of that name is set up here")
            sink.prepare(parcels)
            self._book_prepared(intents, parcels)
            sink.deliver(parcels)
        except SinkError as error:
            for parcel in parcels:
                parcel.error = parcel.error or error
        self._fault("releaser: delivered")
        done = [
            (intent, parcel)
            for intent, parcel in zip(intents, parcels, strict=True)
            if parcel.error is None and parcel.delivery is not None
        ]
        if done:
            self._book.done(
                [(intent.number, int(parcel.delivery or 0)) for intent, parcel in done],
                at=self._at(),
            )
        self._fault("releaser: done")
        for intent, _ in done:
            for key in _keys(intent):
                self._forget(key)
            _log.info("%s: delivered, %d remittances", intent.name, intent.item_count)
        for intent, parcel in zip(intents, parcels, strict=True):
            if parcel.error is not None:
                self._tell(intent, parcel.error)
        return len(done)

    def _book_prepared(self, intents: Sequence[Intent], parcels: Sequence[Parcel]) -> None:
        """Make durable what was written, before a receiver sees it."""
        fresh = [
            (intent.number, parcel.written)
            for intent, parcel in zip(intents, parcels, strict=True)
            if parcel.error is None and parcel.prepared is None and parcel.written is not None
        ]
        if not fresh:
            return
        try:
            self._book.prepared(fresh, at=self._at())
        except ReleaseBookError as error:
            # Another releaser has a file of these: none of them may be moved.
            for parcel in parcels:
                parcel.error = parcel.error or error

    def _pack(self, intents: Sequence[Intent], carried: Carried) -> list[Parcel]:
        """What the sink gets of some files. What the book or the vault cannot give of one is that
        one's error."""
        bodies = self._book.bodies([intent.number for intent in intents])
        good = [body for body in bodies if isinstance(body, FileBody)]
        prefixes = np.unique(
            np.concatenate([np.zeros(0, np.uint64), *(rows_of(body)["digest"] for body in good)])
        )
        digests = self._book.sources(prefixes.tolist())
        self._expect(digests.values())
        gathered = gather(good, self._vault, digests, carried) if len(good) > 1 else None
        writes = (
            self._writing(intent, body, digests, gathered)
            for intent, body in zip(intents, bodies, strict=True)
        )
        return [
            Parcel(intent.name, intent.receiver, write, intent.prepared)
            for intent, write in zip(intents, writes, strict=True)
        ]

    def _writing(
        self,
        intent: Intent,
        body: FileBody | ReassocError,
        digests: Mapping[int, bytes],
        gathered: Gathered | None,
    ) -> Write:
        def write(output: BinaryIO) -> None:
            if not isinstance(body, FileBody):
                raise body
            try:
                write_file(intent, body, self._vault, digests, output, self._fault, gathered)
            except SinkError:
                raise
            except OSError as error:
                raise ContentError(f"the vault cannot be read: {_reason(error)}") from error
            except ReassocError as error:
                raise ContentError(f"a content of the file cannot be read back: {error}") from error

        return write

    def _tell(self, intent: Intent, error: Exception) -> None:
        """Book and remember why a file did not go."""
        _, of_receiver, of_file = _keys(intent)
        if isinstance(error, NameTakenError):
            self._fail(intent, of_file, FailureCode.NAME_TAKEN, str(error))
        elif isinstance(error, SinkError):
            self._fail(intent, of_receiver, FailureCode.SINK, str(error))
        elif isinstance(error, BytesChangedError):
            self._fail(intent, of_file, FailureCode.BYTES_CHANGED, str(error))
        elif isinstance(error, ContentError):
            self._fail(intent, of_file, FailureCode.CONTENT, str(error))
        elif isinstance(error, ReleaseBookError):
            # Another releaser has the file, or the book is damaged there: nothing to book.
            self._keep(of_file, intent.number, intent.name, FailureCode.INTERNAL, str(error))
        else:
            # A fault of ours must not keep the other files waiting, and its text may hold a value.
            text = f"internal error, please report it: {place_of(error)}"
            self._fail(intent, of_file, FailureCode.INTERNAL, text)

    def _fail(self, intent: Intent, key: _Key, code: FailureCode, text: str) -> None:
        # The ledger has the first of equal failures: a sink that is down for a week is one row.
        if intent.failure_code != code:
            self._book.failed(intent.number, at=self._at(), code=code)
        self._keep(key, intent.number, intent.name, code, text)

    def _keep(self, key: _Key, number: int, name: str, code: FailureCode, text: str) -> None:
        now = self._now()
        before = self._failures.get(key)
        attempts = before.attempts + 1 if before is not None else 1
        doubled = min(attempts - 1, RETRY_SECONDS_MAX.bit_length())
        seconds = min(RETRY_SECONDS_FIRST << doubled, RETRY_SECONDS_MAX)
        next_at = now + timedelta(seconds=seconds * (1 - self._jitter() / 2))
        failure = Failure(number, name, key[1], code, text, attempts, now, next_at, key[2] == 0)
        _log.warning("%s: not delivered, attempt %d: %s", name or key[0], attempts, text)
        with self._lock:
            self._failures[key] = self._last_failure = failure
            while len(self._failures) > FAILURES_MAX:
                self._failures.popitem(last=False)
        if before is None or before.code != code:
            self._on_failure(failure)

    def _forget(self, key: _Key) -> None:
        with self._lock:
            self._failures.pop(key, None)

    def _at(self) -> str:
        return self._now().astimezone(UTC).isoformat(timespec="milliseconds")


def write_file(
    intent: Intent,
    body: FileBody,
    vault: Contents,
    digests: Mapping[int, bytes],
    output: BinaryIO,
    fault: Fault = lambda _: None,
    gathered: Gathered | None = None,
) -> None:
    """Write the bytes of a file, the same ones each time: day and numbers are the intent's.

    digests : full digests of the sources, by their first 8 bytes
    gathered : transactions that were read already

    Raises ContentError where a source is not known, SourceError where it is other than when it was
    read first, and what the vault raises. Memory: SPAN_BYTES_MAX, or the longest transaction.
    """
    profile = decode_profile(body.profile)
    rows = rows_of(body)
    writer = InterchangeWriter(
        profile,
        _EPOCH + timedelta(days=intent.day),
        intent.interchange_control,
        intent.group_control_first,
        np.bincount(rows["group"], minlength=intent.group_count).tolist(),
    )
    for first, last in runs(rows):
        part = rows[first:last]
        name, write = int(part["digest"][0]), _to(writer, output, part)
        if gathered is None:
            copy_source(part, vault, digest_of(name, digests), write)
        else:
            for row, start in enumerate(part["start"].tolist()):
                write(row, gathered.take(name, start))
        if first == 0:
            fault("releaser: half written")
    writer.close(output)


def _to(
    writer: InterchangeWriter, output: BinaryIO, rows: Rows
) -> Callable[[int, bytes | memoryview], None]:
    groups = rows["group"].tolist()
    return lambda row, data: writer.write(output, groups[row], data)


def _groups(intents: Sequence[Intent], files_max: int) -> Iterator[list[Intent]]:
    """Files of one sink that go together: within the limits, a larger one alone. Those of one
    sender stand side by side: their 835s lie in the same contents."""
    group: list[Intent] = []
    size, items_max = 0, GROUP_ITEMS_FIRST
    for intent in sorted(intents, key=lambda one: (one.sink, one.sender, one.number)):
        is_full = len(group) >= files_max or size + intent.item_count > items_max
        if group and (is_full or group[0].sink != intent.sink):
            yield group
            group, size, items_max = [], 0, min(2 * items_max, GROUP_ITEMS_MAX)
        group.append(intent)
        size += intent.item_count
    if group:
        yield group


def _keys(intent: Intent) -> tuple[_Key, _Key, _Key]:
    """What a file may wait with: all of its sink, all of its receiver, itself alone."""
    return (
        (intent.sink, "", 0),
        (intent.sink, intent.receiver, 0),
        (intent.sink, intent.receiver, intent.number),
    )


def _is_ahead(failure: Failure, now: datetime) -> bool:
    """Whether the time of a retry is to come. A clock that was set back does not delay it."""
    return failure.at <= now < failure.next_at


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "input or output error"
