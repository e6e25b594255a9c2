"""The releaser: writes the files that the release book intends, and hands them to their sinks.

Nothing is dropped: what a sink does not take is tried again, later and later, and is seen until it
is delivered. A receiver that fails does not keep the others waiting, nor does a content that the
vault cannot give back.
"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import BinaryIO, Protocol

import numpy as np

from reassoc.core.errors import ReassocError
from reassoc.stream.intake import where_it_failed
from reassoc.stream.ledger_store import LedgerError
from reassoc.stream.profiles import decode_profile
from reassoc.stream.readers import PayloadReader, RangeReader
from reassoc.stream.release import InterchangeWriter, SourceReader, copy_transactions
from reassoc.stream.release_book import FailureCode, Intent, ReleaseBook, ReleaseBookError
from reassoc.stream.release_draft import BODY_ROW, FileBody, Rows
from reassoc.stream.sinks import FAULT_POINTS as SINK_FAULT_POINTS
from reassoc.stream.sinks import (
    BytesChangedError,
    Delivery,
    Fault,
    NameTakenError,
    Sink,
    SinkError,
    Written,
)

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

_EPOCH = date(1970, 1, 1)
_log = logging.getLogger(__name__)


class ContentError(ReassocError):
    """What a file is made of cannot be read back."""


class _LedgerDownError(Exception):
    """Takes an error of the ledger through a sink, which has errors of the same kinds."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def _ledger_apart() -> Iterator[None]:
    try:
        yield
    except (OSError, LedgerError) as error:
        raise _LedgerDownError(error) from error


class Contents(Protocol):
    """What the releaser needs of the vault. `digest` : 32 bytes"""

    def read(self, digest: bytes, start: int, stop: int) -> bytes:
        """The bytes of [start, stop) of a content."""
        ...

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        """A content from front to back."""
        ...


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
    ) -> None:
        """
        now : aware of its zone      jitter : from 0 to 1
        on_failure : told the first failure of a file, and each that is of another kind
        """
        self._book = book
        self._vault = vault
        self._sinks = sinks
        self._now = now
        self._jitter = jitter
        self._on_failure = on_failure
        self._fault = fault
        self._lock = threading.Lock()
        self._failures: OrderedDict[_Key, Failure] = OrderedDict()
        self._last_failure: Failure | None = None
        self._last_run: Run | None = None

    def run_once(self) -> Run:
        """Try every intent whose time has come, oldest first.

        Raises what the ledger raises: without it nothing can be told. All else is a failure of one
        file, or of one receiver, and is in `status`.
        """
        delivered = failed = waiting = in_doubt = after = 0
        for name, sink in self._sinks.items():
            self._make_ready(name, sink)
        while intents := self._book.unfinished(after):
            for intent in intents:
                after = intent.number
                if intent.is_in_doubt:
                    in_doubt += 1
                elif self._waits(intent):
                    waiting += 1
                elif self._try(intent):
                    delivered += 1
                else:
                    failed += 1
        run = Run(delivered, failed, waiting, in_doubt)
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

    def _try(self, intent: Intent) -> bool:
        """Deliver one file; whether it went."""
        of_all, of_receiver, of_file = _keys(intent)
        self._fault("releaser: begun")
        try:
            delivery = self._hand_over(intent)
        except _LedgerDownError as failed:
            raise failed.error from None
        except NameTakenError as error:
            self._fail(intent, of_file, FailureCode.NAME_TAKEN, str(error))
        except SinkError as error:
            self._fail(intent, of_receiver, FailureCode.SINK, str(error))
        except BytesChangedError as error:
            self._fail(intent, of_file, FailureCode.BYTES_CHANGED, str(error))
        except ContentError as error:
            self._fail(intent, of_file, FailureCode.CONTENT, str(error))
        except ReleaseBookError as error:
            # Another releaser has the file, or the book is damaged there: nothing to book.
            self._keep(of_file, intent.number, intent.name, FailureCode.INTERNAL, str(error))
        except Exception:
            # A fault of ours must not keep the other files waiting, and its text may hold a value.
            text = f"internal error, please report it: {where_it_failed()}"
            self._fail(intent, of_file, FailureCode.INTERNAL, text)
        else:
            self._fault("releaser: delivered")
            self._book.done(intent.number, at=self._at(), code=delivery)
            self._fault("releaser: done")
            for key in (of_all, of_receiver, of_file):
                self._forget(key)
            _log.info("%s: delivered, %d remittances", intent.name, intent.item_count)
            return True
        return False

    def _hand_over(self, intent: Intent) -> Delivery:
        sink = self._sinks.get(intent.sink)
        if sink is None:
            raise SinkError("no sink of that name is set up here")
        with _ledger_apart():
            body = self._book.body(intent.number)
            prefixes = np.unique(np.frombuffer(body.rows, BODY_ROW)["digest"])
            digests = self._book.sources(prefixes.tolist())

        def write(output: BinaryIO) -> None:
            try:
                write_file(intent, body, self._vault, digests, output, self._fault)
            except SinkError:
                raise
            except OSError as error:
                raise ContentError(f"the vault cannot be read: {_reason(error)}") from error
            except ReassocError as error:
                raise ContentError(f"a content of the file cannot be read back: {error}") from error

        def on_prepared(written: Written) -> None:
            with _ledger_apart():
                self._book.prepared(intent.number, written, at=self._at())

        return sink.deliver(
            intent.name, intent.receiver, write, prepared=intent.prepared, on_prepared=on_prepared
        )

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
) -> None:
    """Write the bytes of a file, the same ones each time: day and numbers are the intent's.

    digests : full digests of the sources, by their first 8 bytes

    Raises ContentError where a source is not known, SourceError where it is other than when it was
    read first, and what the vault raises. Memory: SPAN_BYTES_MAX, or the longest transaction.
    """
    profile = decode_profile(body.profile)
    rows = np.frombuffer(body.rows, BODY_ROW)
    writer = InterchangeWriter(
        profile,
        _EPOCH + timedelta(days=intent.day),
        intent.interchange_control,
        intent.group_control_first,
        np.bincount(rows["group"], minlength=intent.group_count).tolist(),
    )
    firsts = np.flatnonzero(np.diff(rows["digest"], prepend=~rows["digest"][:1])).tolist()
    for first, last in zip(firsts, [*firsts[1:], len(rows)], strict=True):
        digest = digests.get(int(rows["digest"][first]))
        if digest is None:
            raise ContentError("the ledger does not know the file that a remittance came in")
        _copy_source(rows[first:last], vault, digest, writer, output)
        if first == 0:
            fault("releaser: half written")
    writer.close(output)


def _copy_source(
    rows: Rows, vault: Contents, digest: bytes, writer: InterchangeWriter, output: BinaryIO
) -> None:
    """Copy the transactions of one source."""
    groups = rows["group"].tolist()
    starts, stops = rows["start"].astype(np.int64), rows["stop"].astype(np.int64)

    def write(row: int, data: bytes | memoryview) -> None:
        writer.write(output, groups[row], data)

    def copy(reader: SourceReader) -> None:
        copy_transactions(reader, starts, stops, groups, write)

    if rows["carried"][0]:
        with closing(vault.open_stream(digest)) as stream:
            copy(PayloadReader(stream, starts, lambda _: None))
    else:
        copy(RangeReader(lambda start, stop: vault.read(digest, start, stop), starts, stops))


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
