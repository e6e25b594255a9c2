"""The bytes of an input, decompressed: mapped where they lie plain on disk, streamed once where
they are compressed.
"""

from __future__ import annotations

import gzip
import io
import lzma
import mmap
import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from blake3 import blake3

from reassoc.core.errors import LimitError
from reassoc.stream.kinds import HEAD_BYTES
from reassoc.stream.sources import GZIP_MAGIC, Source, SourceError

DECOMPRESSED_BYTES_MAX = 256 << 30
"""Bytes that one compressed input may become."""
RATIO_MAX = 200
"""Times its compressed size that an input may become, once it is larger than RATIO_FREE_BYTES. EDI
reaches 10 to 40.
"""
RATIO_FREE_BYTES = 64 << 20
ARCHIVES_OPEN_MAX = 8
"""Zip directories kept open at a time, so that reading an archive's members does not parse it for
each of them.
"""

PIECE_BYTES = 1 << 20
"""Bytes of one piece of an input that is handed on whole."""

Progress = Callable[[int], None]
"""Told how many more bytes on disk were consumed."""

_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile)
NOT_OPENED = (*_DAMAGED, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises for an archive or a member that is encrypted or damaged, or of a method that
is not read here."""


class Content:
    """The decompressed bytes of one input. Exactly one of `data` and `stream` is there.

    data     the whole input, mapped (or b"" for an empty one)
    stream   what is read from front to back, once
    head     the first HEAD_BYTES, or all there are
    """

    __slots__ = ("_hashed", "_hasher", "data", "head", "stream")

    def __init__(self, data: mmap.mmap | bytes | None, stream: ContentStream | None) -> None:
        self.data = data
        self.stream = stream
        self._hasher = blake3()
        self._hashed = 0
        self.head = (
            stream.peek(HEAD_BYTES) if stream is not None else bytes((data or b"")[:HEAD_BYTES])
        )

    @property
    def input(self) -> mmap.mmap | bytes | ContentStream:
        """What the readers of `reassoc.core` take."""
        if self.stream is not None:
            return self.stream
        assert self.data is not None
        return self.data

    def hash_to(self, offset: int) -> None:
        """Hash the mapped bytes up to `offset`, while they are in the cache from being scanned.
        Nothing for a stream.
        """
        if self.data is not None and offset > self._hashed:
            with memoryview(self.data) as view:
                self._hasher.update(view[self._hashed : offset])
            self._hashed = offset

    def finish(self) -> tuple[bytes, int]:
        """Consume the rest; BLAKE3 digest (32 bytes) and number of the decompressed bytes.

        Raises SourceError where the rest of a compressed input is damaged: the checksum at its end
        vouches for all.
        """
        if self.stream is not None:
            while self.stream.read(1 << 20):
                pass
            return self.stream.digest(), self.stream.position
        assert self.data is not None
        self.hash_to(len(self.data))
        return self._hasher.digest(), len(self.data)


def pieces(content: Content) -> Iterator[memoryview | bytes]:
    """All bytes of an input, in pieces of at most PIECE_BYTES: views of a mapped one, which hold
    only until the next piece is asked for. Nothing is hashed on the way but a stream.
    """
    if content.stream is not None:
        while piece := content.stream.read(PIECE_BYTES):
            yield piece
        return
    with memoryview(content.data or b"") as view:
        for start in range(0, len(view), PIECE_BYTES):
            with view[start : start + PIECE_BYTES] as part:
                yield part


def read_whole(content: Content, limit: int, name: str) -> bytes:
    """All bytes of an input that is read whole. Raises LimitError beyond the limit."""
    if content.stream is None:
        data = bytes(content.data or b"") if len(content.data or b"") <= limit else None
    else:
        pieces, size = [], 0
        while size <= limit and (piece := content.stream.read(1 << 20)):
            pieces.append(piece)
            size += len(piece)
        data = b"".join(pieces) if size <= limit else None
    if data is None:
        raise LimitError(f"{name}: more than {limit} bytes in one file: split it")
    return data


class ContentStream(io.RawIOBase):
    """Bytes of a stream, read once from front to back: counted and hashed."""

    def __init__(self, raw: io.BufferedIOBase) -> None:
        super().__init__()
        self._raw = raw
        self._ahead = b""
        self._hasher = blake3()
        self.position = 0

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or all there are, without consuming them."""
        while len(self._ahead) < size:
            piece = self._take(size - len(self._ahead))
            if not piece:
                break
            self._ahead += piece
        return self._ahead[:size]

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all that remain when negative); b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._take(size)
        self._hasher.update(data)
        self.position += len(data)
        return data

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def digest(self) -> bytes:
        """BLAKE3 of what was read so far, 32 bytes."""
        return self._hasher.digest()

    def _take(self, size: int) -> bytes:
        return self._raw.read(size)


class LimitedStream(ContentStream):
    """Decompressed bytes of an input, held to the limits.

    Raises SourceError from any read where it fails, the compressed data is damaged or a limit would
    be passed.
    """

    def __init__(self, raw: io.BufferedIOBase, compressed_bytes: int) -> None:
        super().__init__(raw)
        self._limit = min(DECOMPRESSED_BYTES_MAX, RATIO_FREE_BYTES + RATIO_MAX * compressed_bytes)
        self._taken = 0

    def _take(self, size: int) -> bytes:
        try:
            data = self._raw.read(size)
        except _DAMAGED as error:
            raise self._damaged() from error
        except OSError as error:
            if error.errno is None:  # not the system's: bzip2 says so of damaged data
                raise self._damaged() from error
            raise SourceError(f"reading failed: {error.strerror or 'input error'}") from error
        self._taken += len(data)
        if self._taken > self._limit:
            name = (
                "DECOMPRESSED_BYTES_MAX" if self._limit == DECOMPRESSED_BYTES_MAX else "RATIO_MAX"
            )
            raise SourceError(
                f"grows beyond {self._limit} bytes when decompressed ({name}): if it is what it "
                "should be, decompress it and give the plain file"
            )
        return data

    def _damaged(self) -> SourceError:
        return SourceError(
            f"compressed data is damaged or cut off after {self._taken} decompressed bytes; "
            "nothing of it is used: ask the sender for it again"
        )


class _Archives:
    """Open zip archives, the ones used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, zipfile.ZipFile] = OrderedDict()

    def open_member(self, path: Path, member: int) -> tuple[IO[bytes], int]:
        """A member's decompressing reader, and its compressed size. It outlives the archive's place
        in the cache.
        """
        with self._lock:
            archive = self._open.pop(path, None) or zipfile.ZipFile(path)
            self._open[path] = archive
            while len(self._open) > ARCHIVES_OPEN_MAX:
                self._open.popitem(last=False)[1].close()
            info = archive.infolist()[member]
            return archive.open(info), info.compress_size

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


_archives = _Archives()


def close_archives() -> None:
    """Close the zip archives that were kept open; at the end of a run."""
    _archives.close()


@contextmanager
def open_content(source: Source, progress: Progress | None = None) -> Iterator[Content]:
    """Open an input: mapped when it is a plain file, streamed when it is compressed (gzip, zip,
    gzip in zip).

    `progress` hears of the bytes on disk as they are consumed by decompression; for a mapped file
    the caller knows. Raises SourceError where it cannot be opened, and at the end where the file
    has changed since it was found.
    """
    with _opened(source, progress) as content:
        yield content
        try:
            status = os.stat(source.path)
        except OSError as error:
            raise SourceError(
                f"gone while it was read ({error.strerror}); nothing of it is used"
            ) from error
        now = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if now != source.stamp:
            raise SourceError(
                "changed while it was read; nothing of it is used: run again when it is complete"
            )


@contextmanager
def _opened(source: Source, progress: Progress | None) -> Iterator[Content]:
    with ExitStack() as stack:
        try:
            content = _open(source, progress, stack)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or 'input error'}") from error
        except NOT_OPENED as error:
            raise SourceError(
                "an encrypted or damaged zip member, or a method not read here: unpack it"
            ) from error
        yield content


def _open(source: Source, progress: Progress | None, stack: ExitStack) -> Content:
    if source.member >= 0:
        raw, size = _archives.open_member(source.path, source.member)
        stack.enter_context(raw)
        # A member is a buffered reader in the library's types and a raw one in what it can do.
        return Content(None, unpacked_stream(cast(io.RawIOBase, raw), size))
    file = stack.enter_context(source.path.open("rb"))
    if file.read(2) == GZIP_MAGIC:
        file.seek(0)
        return Content(None, unpacked_stream(_Counted(file, progress), source.size_bytes))
    if file.seek(0, io.SEEK_END) == 0:
        return Content(b"", None)
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    stack.callback(_unmap, mapped)
    mapped.madvise(mmap.MADV_SEQUENTIAL)
    return Content(mapped, None)


def _unmap(mapped: mmap.mmap) -> None:
    # A traceback may still hold a view; the mapping then goes with the last of them.
    with suppress(BufferError):
        mapped.close()


def unpacked_stream(raw: io.RawIOBase, compressed_bytes: int) -> LimitedStream:
    """Decompress gzip data, be it a file or a zip member; other zip members come decompressed
    already. Raises SourceError where it is damaged from the start, OSError as the system does.
    """
    buffered = io.BufferedReader(raw, 1 << 20)
    try:
        is_gzip = buffered.peek(2)[:2] == GZIP_MAGIC
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SourceError(
            "compressed data is damaged from the start: ask the sender for it again"
        ) from error
    inner: io.BufferedIOBase = gzip.GzipFile(fileobj=buffered) if is_gzip else buffered
    return LimitedStream(inner, compressed_bytes)


class _Counted(io.RawIOBase):
    """A file that tells how many bytes were read from it."""

    def __init__(self, file: IO[bytes], progress: Progress | None) -> None:
        super().__init__()
        self._file = file
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        if self._progress is not None:
            self._progress(count)
        return count
