"""Walking an input of any size in windows: over a buffer without copying, over a file read once."""

from __future__ import annotations

import io
from typing import IO, Any, Protocol, TypeAlias

Buffer: TypeAlias = Any
"""Anything with the buffer protocol: bytes, bytearray, memoryview, mmap, numpy array."""


class Windows(Protocol):
    """Where a walk stands. offset : int, position in the input of the next window's first byte."""

    offset: int

    def window(self, size: int) -> tuple[memoryview, bool]:
        """The next `size` bytes (fewer at the end), and whether nothing follows them."""
        ...

    def take(self, size: int) -> None:
        """Be done with the first `size` bytes of the window."""
        ...


def bytes_view(buffer: Buffer) -> memoryview:
    """A buffer as uint8[n], not copied. TypeError: it is none; ValueError: not contiguous."""
    view = memoryview(buffer)
    if not view.contiguous:
        raise ValueError("the buffer is not contiguous")
    return view.cast("B") if view.format != "B" or view.ndim != 1 else view


def open_windows(source: Buffer | IO[bytes]) -> Windows:
    """Windows over a buffer, or over a binary file object from where it stands."""
    buffer: Buffer = source
    try:
        return BufferWindows(bytes_view(buffer))
    except TypeError:
        return FileWindows(buffer)


class BufferWindows:
    """Windows over a buffer that is there as a whole: views, no copies."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.offset = 0

    def window(self, size: int) -> tuple[memoryview, bool]:
        return self.view[self.offset : self.offset + size], self.offset + size >= len(self.view)

    def take(self, size: int) -> None:
        self.offset += size


class FileWindows:
    """Windows over a file that is read once. Each is a new bytes object: results point into it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.rest = b""
        self.offset = 0
        self.ended = False

    def window(self, size: int) -> tuple[memoryview, bool]:
        if not self.ended and len(self.rest) < size:
            whole = io.BytesIO()
            whole.write(self.rest)
            while whole.tell() < size and not self.ended:
                chunk = self.file.read(size - whole.tell())
                self.ended = not chunk
                whole.write(chunk)
            self.rest = whole.getvalue()
        return memoryview(self.rest)[:size], self.ended and len(self.rest) <= size

    def take(self, size: int) -> None:
        self.rest = self.rest[size:]
        self.offset += size
