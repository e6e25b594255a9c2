"""Transactions of an input once more, by their place: for releasing them byte for byte."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import iter_ach
from reassoc.stream.contents import Content, ContentStream, open_content
from reassoc.stream.kinds import Kind
from reassoc.stream.release import SourceReader
from reassoc.stream.sources import Source, SourceError


@contextmanager
def open_reader(
    source: Source, kind: Kind, starts: npt.NDArray[np.int64], on_advance: Callable[[int], None]
) -> Iterator[SourceReader]:
    """Open an input for reading transactions back, front to back. `starts` are those that will be
    asked for.

    A mapped file is read in place; a compressed one is decompressed once more; an ACH file is
    scanned once more, since its 835s lie in slices. Raises SourceError where the input is no longer
    what it was.
    """
    with open_content(source) as content:
        if kind is Kind.ACH:
            yield _PayloadReader(content, starts, on_advance)
        elif content.stream is not None:
            yield _StreamReader(content.stream, on_advance)
        else:
            assert content.data is not None
            yield _MappedReader(content.data, on_advance)


class _MappedReader(SourceReader):
    gaps_join = True

    def __init__(self, data: mmap.mmap | bytes, on_advance: Callable[[int], None]) -> None:
        self._data = data
        self._on_advance = on_advance

    def take(self, start: int, stop: int) -> bytes | memoryview:
        self._on_advance(stop - start)
        return memoryview(self._data)[start:stop]

    def between(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]


class _StreamReader(SourceReader):
    def __init__(self, stream: ContentStream, on_advance: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_advance = on_advance

    def take(self, start: int, stop: int) -> bytes | memoryview:
        stream = self._stream
        while stream.position < start:
            if not stream.read(min(1 << 20, start - stream.position)):
                break
        data = bytearray()
        while stream.position == start + len(data) and len(data) < stop - start:
            piece = stream.read(stop - start - len(data))
            if not piece:
                break
            data += piece
        if len(data) != stop - start:
            raise SourceError(
                "an input is shorter than it was when it was read first; nothing was written"
            )
        self._on_advance(stop - start)
        return bytes(data)


class _PayloadReader(SourceReader):
    """835s in addenda, by their number in the file."""

    def __init__(
        self, content: Content, starts: npt.NDArray[np.int64], on_advance: Callable[[int], None]
    ) -> None:
        self._payloads = _payloads(content, starts)
        self._on_advance = on_advance

    def take(self, start: int, stop: int) -> bytes | memoryview:
        for number, data in self._payloads:
            if number == start:
                self._on_advance(stop - start)
                return data
        raise SourceError(
            "an input holds fewer remittances than when it was read first; nothing was written"
        )


def _payloads(content: Content, starts: npt.NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of the wanted 835s."""
    base = 0
    for window in iter_ach(content.input):
        transactions = window.remittances.transactions
        first, last = np.searchsorted(starts, [base, base + len(transactions)])
        for number in starts[first:last].tolist():
            row = number - base
            yield (
                number,
                bytes(window.remittances.source[transactions.offset[row] : transactions.end[row]]),
            )
        base += len(transactions)
