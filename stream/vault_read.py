"""Reading contents back: only the frames that are asked for are decrypted, and a few are kept."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reassoc.stream.vault_catalogue import Segment
from reassoc.stream.vault_errors import DamagedError
from reassoc.stream.vault_frames import FRAME_BYTES_MAX, frame_count, frame_size, open_frame
from reassoc.stream.vault_index import Place
from reassoc.stream.vault_keys import KeyRing
from reassoc.stream.vault_segments import data_name
from reassoc.stream.vault_store import Store

FRAMES_CACHED_MAX = 16
"""Decrypted frames that are kept: 16 MiB."""
OPENED_MAX = 256
"""Contents whose data keys are kept unwrapped."""
_FETCH_FRAMES = 8
"""Frames that are read from the store at once."""


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """A content whose data key is at hand. starts : int64[frames + 1] in the segment's data."""

    digest: bytes
    segment: str
    content_id: bytes
    byte_count: int
    starts: npt.NDArray[np.int64]
    cipher: AESGCM


def opened(keys: KeyRing, digest: bytes, segment: str, place: Place) -> Opened:
    """Unwrap the data key of a content. Raises KeyMissingError, WrongKeyError; ValueError where the
    index contradicts itself."""
    lengths = np.frombuffer(place.frame_lengths, "<u4")
    if len(lengths) != frame_count(place.byte_count):
        raise ValueError("the number of frames does not fit the content's length")
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) + place.offset
    data_key = keys.unwrap(place.key_id, place.wrapped, place.content_id)
    return Opened(digest, segment, place.content_id, place.byte_count, starts, AESGCM(data_key))


class FrameReader:
    """Frames of contents, through a cache. Every method may be called from any thread."""

    def __init__(self, store: Store, keys: KeyRing) -> None:
        self._store = store
        self._keys = keys
        self._lock = threading.Lock()
        self._frames: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._opened: OrderedDict[bytes, Opened] = OrderedDict()

    def forget(self, digest: bytes) -> None:
        """Nothing of a content stays in the caches: it was erased, or its key wrapped anew."""
        with self._lock:
            self._opened.pop(digest, None)
            for key in [key for key in self._frames if key[0] == digest]:
                del self._frames[key]

    def open(self, digest: bytes, segment: Segment, place: Place) -> Opened:
        """A content by its place. Raises DamagedError, KeyMissingError, WrongKeyError."""
        with self._lock:
            found = self._opened.get(digest)
            if found is not None and found.content_id == place.content_id:
                self._opened.move_to_end(digest)
                return found
        try:
            found = opened(self._keys, digest, segment.name, place)
        except ValueError as error:
            raise damaged(digest, segment.name, 0, 0) from error
        with self._lock:
            self._opened[digest] = found
            while len(self._opened) > OPENED_MAX:
                self._opened.popitem(last=False)
        return found

    def read(self, content: Opened, start: int, stop: int) -> bytes:
        """A content's bytes [start, stop); all of them must be there. As `read_into`."""
        return b"".join(self._parts(content, start, stop))

    def read_into(self, content: Opened, start: int, target: memoryview) -> None:
        """Fill `target` with a content's bytes from `start` on; all of them must be there.

        Raises DamagedError, OSError.
        """
        at = 0
        for part in self._parts(content, start, start + len(target)):
            target[at : at + len(part)] = part
            at += len(part)

    def _parts(self, content: Opened, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes as they lie in the frames."""
        at = start
        while at < stop:
            first = at // FRAME_BYTES_MAX
            last = min((stop - 1) // FRAME_BYTES_MAX, first + _FETCH_FRAMES - 1)
            for number, plain in self._frames_of(content, first, last):
                begin = at - number * FRAME_BYTES_MAX
                end = min(len(plain), stop - number * FRAME_BYTES_MAX)
                yield memoryview(plain)[begin:end]
                at += end - begin

    def _frames_of(self, content: Opened, first: int, last: int) -> list[tuple[int, bytes]]:
        with self._lock:
            kept = {
                number: plain
                for number in range(first, last + 1)
                if (plain := self._frames.get((content.digest, number))) is not None
            }
            for number in kept:
                self._frames.move_to_end((content.digest, number))
        missing = [number for number in range(first, last + 1) if number not in kept]
        if missing:
            fetched = self._fetch(content, missing[0], missing[-1])
            kept.update(fetched)
            with self._lock:
                # An erasure meanwhile must not find its content in the cache again.
                if self._opened.get(content.digest) is content:
                    self._frames.update(
                        {(content.digest, number): plain for number, plain in fetched.items()}
                    )
                while len(self._frames) > FRAMES_CACHED_MAX:
                    self._frames.popitem(last=False)
        return [(number, kept[number]) for number in range(first, last + 1)]

    def _fetch(self, content: Opened, first: int, last: int) -> dict[int, bytes]:
        base, stop = int(content.starts[first]), int(content.starts[last + 1])
        data = memoryview(self._store.read(data_name(content.segment), base, stop))
        count = len(content.starts) - 1
        fetched = {}
        for number in range(first, last + 1):
            start, end = int(content.starts[number]), int(content.starts[number + 1])
            try:
                fetched[number] = open_frame(
                    content.cipher,
                    content.content_id,
                    number,
                    count,
                    bytes(data[start - base : end - base]),
                    frame_size(content.byte_count, number),
                )
            except ValueError as error:
                raise damaged(content.digest, content.segment, start, end) from error
        return fetched


def damaged(digest: bytes, segment: str, start: int, stop: int) -> DamagedError:
    """What a reader is told."""
    return DamagedError(
        f"content {digest.hex()[:16]}: bytes {start} to {stop} of {data_name(segment)} are damaged "
        "or missing: put the file back from a backup; `reassoc vault verify` shows all damage"
    )


class ContentReader(io.RawIOBase):
    """A content as a file that can be read from any place. Not thread safe."""

    def __init__(self, byte_count: int, read_into: Callable[[int, memoryview], None]) -> None:
        super().__init__()
        self._byte_count = byte_count
        self._read_into = read_into
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Raises ValueError for a place before the beginning; behind the end there is nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._byte_count}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        with memoryview(buffer) as whole, whole.cast("B") as view:
            count = max(0, min(len(view), self._byte_count - self._at))
            if count:
                with view[:count] as target:
                    self._read_into(self._at, target)
            self._at += count
        return count
