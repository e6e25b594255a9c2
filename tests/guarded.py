"""Buffers that end (or begin) at a page nobody may touch: one byte too far is a fault at once."""

from __future__ import annotations

import ctypes
import mmap

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_PROT_NONE = 0
PAGE_BYTES = mmap.PAGESIZE


class GuardedArena:
    """Memory of `capacity` bytes (rounded up to pages) between two pages without access.

    Inputs are copied right against the page behind (`at_end`) or the one before (`at_start`). One
    input at a time: the next one overwrites it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = -(-max(capacity, 1) // PAGE_BYTES) * PAGE_BYTES
        self._pages = mmap.mmap(-1, self.capacity + 2 * PAGE_BYTES)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        for guard in (address, address + PAGE_BYTES + self.capacity):
            if _LIBC.mprotect(guard, PAGE_BYTES, _PROT_NONE) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def at_end(self, data: bytes) -> memoryview:
        """`data` with its last byte before the guard page; writable, as long as `data`."""
        return self._place(data, PAGE_BYTES + self.capacity - len(data))

    def at_start(self, data: bytes) -> memoryview:
        """`data` with its first byte behind the guard page."""
        return self._place(data, PAGE_BYTES)

    def byte_behind(self) -> int:
        """Read one byte of the page behind: faults. For the test that the guard guards."""
        return self._pages[PAGE_BYTES + self.capacity]

    def _place(self, data: bytes, start: int) -> memoryview:
        if len(data) > self.capacity:
            raise ValueError(f"{len(data)} bytes do not fit into {self.capacity}")
        view = memoryview(self._pages)[start : start + len(data)]
        view[:] = data
        return view
