"""Transactions of released files out of the vault: of one file as it is written, or of many files
in one go, so that a content that has parts in all of them is read once.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from reassoc.core.errors import ParseError, ReassocError
from reassoc.stream.readers import PayloadReader, RangeReader, fewer_remittances, payloads
from reassoc.stream.release import SourceReader, copy_transactions
from reassoc.stream.release_draft import BODY_ROW, FileBody, Rows
from reassoc.stream.vault_errors import NoContentError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

GATHER_BYTES_MAX = 128 << 20
"""Bytes of transactions that are held in memory for files that go together; while those are
delivered, as many again for the next ones."""
GATHER_AT_ONCE = 2
"""Contents that are read at a time: most of it is decrypting and decompressing."""
CARRIED_BYTES_MAX = 64 << 20
"""Bytes of 835s out of addenda that are kept for files which follow."""
_CARRIED_BYTES = 1 << 16
"""What an 835 in addenda is counted with: its size is not known before it is read."""

Put = Callable[[int, bytes | memoryview], None]
"""Told a row and the bytes from it on."""


class ContentError(ReassocError):
    """What a file is made of cannot be read back."""


class Contents(Protocol):
    """What is needed of the vault. `digest` : 32 bytes"""

    def read(self, digest: bytes, start: int, stop: int) -> bytes:
        """The bytes of [start, stop) of a content."""
        ...

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        """A content from front to back."""
        ...


class Gathered:
    """Transactions by their content and place. What could not be read raises when it is taken."""

    def __init__(self) -> None:
        self._data: dict[tuple[int, int], bytes | memoryview] = {}
        self._errors: dict[int, Exception] = {}

    def put(self, name: int, start: int, data: bytes | memoryview) -> None:
        """Keep a transaction. name : first 8 bytes of the content's digest"""
        self._data[name, start] = data

    def fail(self, name: int, error: Exception) -> None:
        """Keep why the transactions of a content are not all there."""
        self._errors[name] = error

    def take(self, name: int, start: int) -> bytes | memoryview:
        """The bytes of a transaction. Raises what `fail` was told."""
        data = self._data.get((name, start))
        if data is None:
            raise self._errors[name]
        return data


class Carried:
    """835s in addenda, by their content. An ACH file has some of many senders for many receivers,
    and must be scanned to its end for any of them: so all are kept where there is room.
    """

    def __init__(self, bytes_max: int = CARRIED_BYTES_MAX) -> None:
        self._room = bytes_max
        self._lock = threading.Lock()
        self._kept: dict[bytes, dict[int, bytes]] = {}

    def read(self, vault: Contents, digest: bytes, numbers: Sequence[int]) -> list[bytes]:
        """The 835s of some numbers. Raises SourceError where one is not there."""
        found = self._kept.get(digest)
        if found is None:
            found = self._scan(vault, digest, frozenset(numbers))
        if not found.keys() >= set(numbers):
            raise fewer_remittances()
        return [found[number] for number in numbers]

    def _scan(self, vault: Contents, digest: bytes, wanted: frozenset[int]) -> dict[int, bytes]:
        """Those that are wanted, and the others where all of them are kept."""
        found: dict[int, bytes] = {}
        size, room = 0, self._room
        with closing(vault.open_stream(digest)) as stream:
            until_gap = _UntilGap(stream)
            try:
                for number, data in payloads(until_gap):
                    size += len(data)
                    if number in wanted or size <= room:
                        found[number] = data
            except ParseError:
                # What ends at a gap may be no file at all: it is the gap that is wrong.
                if until_gap.error is None:
                    raise
        if until_gap.error is not None:
            if not found.keys() >= wanted:
                raise until_gap.error
            return found
        with self._lock:
            if size <= self._room:
                self._room -= size
                self._kept[digest] = found
        return found


class _UntilGap(io.RawIOBase):
    """A content up to where a part of it did not come, and may never come.

    error : what was said there
    """

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__()
        self._stream = stream
        self.error: NoContentError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        try:
            return self._stream.readinto(buffer)
        except NoContentError as error:
            self.error = error
            return 0


def gather(
    bodies: Sequence[FileBody], vault: Contents, digests: Mapping[int, bytes], carried: Carried
) -> Gathered | None:
    """Read the transactions of several files, each content once, front to back; None where they are
    more than GATHER_BYTES_MAX.

    digests : full digests of the contents, by their first 8 bytes
    carried : of files that went before
    """
    rows = np.concatenate([rows_of(body) for body in bodies])
    sizes = np.where(rows["carried"] != 0, _CARRIED_BYTES, rows["stop"] - rows["start"])
    if int(sizes.sum()) > GATHER_BYTES_MAX:
        return None
    rows = rows[np.lexsort((rows["start"], rows["digest"]))]
    gathered = Gathered()

    def gather_one(part: Rows) -> None:
        name, starts = int(part["digest"][0]), part["start"].tolist()
        try:
            for row, data in _transactions(part, vault, digest_of(name, digests), carried):
                gathered.put(name, starts[row], data)
        except (OSError, ReassocError) as error:
            gathered.fail(name, error)

    parts = [rows[first:last] for first, last in runs(rows)]
    with ThreadPoolExecutor(GATHER_AT_ONCE) as readers:
        list(readers.map(gather_one, parts))
    return gathered


def _transactions(
    rows: Rows, vault: Contents, digest: bytes, carried: Carried
) -> Iterator[tuple[int, bytes | memoryview]]:
    """The transactions of one content, each with its row."""
    starts, stops = rows["start"].astype(np.int64), rows["stop"].astype(np.int64)
    if rows["carried"][0]:
        yield from enumerate(carried.read(vault, digest, starts.tolist()))
    else:
        read = partial(vault.read, digest)
        yield from RangeReader(read, starts, stops).take_all()


def rows_of(body: FileBody) -> Rows:
    """The rows of a file."""
    return np.frombuffer(body.rows, BODY_ROW)


def runs(rows: Rows) -> Iterator[tuple[int, int]]:
    """Ranges of neighbours that are of one content."""
    firsts = np.flatnonzero(np.diff(rows["digest"], prepend=~rows["digest"][:1])).tolist()
    yield from zip(firsts, [*firsts[1:], len(rows)], strict=True)


def digest_of(name: int, digests: Mapping[int, bytes]) -> bytes:
    """The full digest of a content. Raises ContentError where it is not known."""
    digest = digests.get(name)
    if digest is None:
        raise ContentError("the ledger does not know the file that a remittance came in")
    return digest


def copy_source(rows: Rows, vault: Contents, digest: bytes, write: Put) -> None:
    """Hand the transactions of one content to `write`, neighbours of one group in one piece with
    the row of the first."""
    groups = rows["group"].tolist()
    starts, stops = rows["start"].astype(np.int64), rows["stop"].astype(np.int64)

    def copy(reader: SourceReader) -> None:
        copy_transactions(reader, starts, stops, groups, write)

    if rows["carried"][0]:
        with closing(vault.open_stream(digest)) as stream:
            copy(PayloadReader(stream, starts, lambda _: None))
    else:
        copy(RangeReader(partial(vault.read, digest), starts, stops))
