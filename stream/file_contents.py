"""Files by their digests, put together from parts that lie in any worker's vault."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

from reassoc.core.errors import LimitError
from reassoc.stream.part_book import FileNote, Part
from reassoc.stream.vault import READ_BYTES_MAX
from reassoc.stream.vault_errors import NoContentError
from reassoc.stream.vault_keeping import short
from reassoc.stream.vault_read import ContentReader
from reassoc.stream.worker_vault import WorkerVaults

FILES_CACHED_MAX = 20_000
PARTS_CACHED_MAX = 100_000
"""Files whose places are kept, some 600 bytes each, and parts of them, 300 bytes each: more than
what a released file is made of, and small inputs are read once."""


class PartPlaces(Protocol):
    """What is needed of the part book."""

    def parts_of(self, digest: bytes) -> list[Part]:
        """The parts of a file that came, by their start."""
        ...

    def parts_of_files(self, digests: Collection[bytes]) -> Mapping[bytes, list[Part]]:
        """The same of several files; those of which nothing came may be left out."""
        ...

    def files(self, digests: Collection[bytes]) -> Mapping[bytes, FileNote]:
        """What was said of files; those of which nothing was said may be left out."""
        ...


@dataclass(frozen=True, slots=True)
class _Places:
    """The parts of a file by their start."""

    parts: Sequence[Part]
    starts: Sequence[int]

    def cover(self, start: int, stop: int) -> list[tuple[Part, int, int]]:
        """The parts that make up [start, stop), each with the bytes wanted of it, as they count in
        the file; as far as they are there without a gap."""
        found: list[tuple[Part, int, int]] = []
        row = bisect_right(self.starts, start) - 1
        while start < stop and 0 <= row < len(self.parts):
            part = self.parts[row]
            if not part.start <= start < part.stop:
                break
            found.append((part, start, min(stop, part.stop)))
            start = found[-1][2]
            row += 1
        return found


class _Expected(NamedTuple):
    """Files that one call expected, and what was said of some of them by then."""

    digests: frozenset[bytes] = frozenset()
    told: Mapping[bytes, FileNote] = MappingProxyType({})


class FileContents:
    """Files by their digests, put together from parts in any worker's vault; what no part book
    knows is looked for in the vaults themselves. Any thread may call it.

    It is what the releaser and the loading of directories need of a vault. Raises NoContentError
    for bytes that did not come, and what vaults and book raise.
    """

    def __init__(self, book: PartPlaces, vaults: WorkerVaults) -> None:
        self._book = book
        self._vaults = vaults
        self._lock = threading.Lock()
        self._cached: OrderedDict[bytes, _Places] = OrderedDict()
        self._cached_parts = 0
        self._expected = _Expected()
        self._expected_before = _Expected()

    def expect(self, digests: Collection[bytes]) -> None:
        """Files that will be read soon: their places, and what was said of them, are asked for by
        the thousand, not one by one.

        Those of the call before are still known then, since they may be read meanwhile; all others
        are forgotten, and those that were used least beyond FILES_CACHED_MAX and PARTS_CACHED_MAX.
        """
        wanted = frozenset(digests)
        with self._lock:
            for digest in self._cached.keys() - wanted - self._expected.digests:
                self._drop(digest)
            missing = [digest for digest in wanted if digest not in self._cached]
        told = self._book.files(wanted)
        with self._lock:
            self._expected_before, self._expected = self._expected, _Expected(wanted, told)
        for digest, parts in self._book.parts_of_files(missing).items():
            self._keep(digest, parts)

    def read(self, digest: bytes, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises LimitError above vault.READ_BYTES_MAX, ValueError
        for a range that cannot be."""
        if not 0 <= start <= stop:
            raise ValueError(f"bytes {start} to {stop}")
        if stop - start > READ_BYTES_MAX:
            raise LimitError(f"READ_BYTES_MAX ({READ_BYTES_MAX}): read smaller pieces")
        return b"".join(self._read(digest, start, stop))

    def size(self, digest: bytes) -> int:
        """Bytes of a file, as was said of it; else up to where its parts came."""
        note = self._note(digest)
        if note is not None:
            return note.byte_count
        places = self._places(digest)
        return places.parts[-1].stop

    def _note(self, digest: bytes) -> FileNote | None:
        """What was said of a file, as it was when it was expected."""
        with self._lock:
            for expected in (self._expected, self._expected_before):
                if digest in expected.digests:
                    return expected.told.get(digest)
        return self._book.files([digest]).get(digest)

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        """A file from front to back, or from any place. Raises NoContentError where nothing of it
        came; where a part is missing, reads do."""

        def read_into(start: int, target: memoryview) -> None:
            at = 0
            for piece in self._read(digest, start, start + len(target)):
                target[at : at + len(piece)] = piece
                at += len(piece)

        self._places(digest)
        return ContentReader(self.size(digest), read_into)

    def _read(self, digest: bytes, start: int, stop: int) -> Iterator[bytes]:
        if start == stop:
            return
        found = self._places(digest).cover(start, stop)
        if not found or found[-1][2] < stop:
            # Parts may have come since.
            self._forget(digest)
            found = self._places(digest).cover(start, stop)
        if not found or found[-1][2] < stop:
            first = found[-1][2] if found else start
            raise NoContentError(
                f"file {short(digest)}: its part from byte {first} on did not come"
            )
        for part, first, last in found:
            offset = part.offset - part.start
            yield self._vaults.read(part.vault, part.content, first + offset, last + offset)

    def _places(self, digest: bytes) -> _Places:
        with self._lock:
            found = self._cached.get(digest)
            if found is not None:
                self._cached.move_to_end(digest)
                return found
        return self._keep(digest, self._book.parts_of(digest) or [self._whole(digest)])

    def _whole(self, digest: bytes) -> Part:
        """A content of some vault as the only part of itself."""
        vault = self._vaults.find(digest)
        if vault is None:
            raise NoContentError(f"file {short(digest)}: no part of it came, and no vault has it")
        size = self._vaults.size(vault, digest)
        return Part(digest, 0, size, vault, digest, 0, b"")

    def _keep(self, digest: bytes, parts: Sequence[Part]) -> _Places:
        places = _Places(parts, [part.start for part in parts])
        with self._lock:
            self._drop(digest)
            self._cached[digest] = places
            self._cached_parts += len(parts)
            while len(self._cached) > 1 and (
                len(self._cached) > FILES_CACHED_MAX or self._cached_parts > PARTS_CACHED_MAX
            ):
                self._drop(next(iter(self._cached)))
        return places

    def _forget(self, digest: bytes) -> None:
        with self._lock:
            self._drop(digest)

    def _drop(self, digest: bytes) -> None:
        places = self._cached.pop(digest, None)
        self._cached_parts -= len(places.parts) if places is not None else 0
