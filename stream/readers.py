"""Transactions of an input once more, by their place: for releasing them byte for byte."""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import iter_ach
from reassoc.stream.contents import ContentStream, open_content
from reassoc.stream.kinds import Kind
from reassoc.stream.release import SourceReader
from reassoc.stream.sources import Source, SourceError
from reassoc.stream.vault_errors import NoContentError

SPAN_BYTES_MAX = 8 << 20
"""Bytes that a range reader reads at a time; a longer transaction is read whole."""
LINE_END_BYTES = 2
SPAN_GAP_BYTES_MAX = 256 << 10
"""Bytes between two transactions that are read along rather than in two calls."""

Ints = npt.NDArray[np.int64]


@contextmanager
def open_reader(
    source: Source, kind: Kind, starts: Ints, on_advance: Callable[[int], None]
) -> Iterator[SourceReader]:
    """Open an input for reading transactions back, front to back. `starts` are those that will be
    asked for.

    A mapped file is read in place; a compressed one is decompressed once more; an ACH file is
    scanned once more, since its 835s lie in slices. Raises SourceError where the input is no longer
    what it was.
    """
    with open_content(source) as content:
        if kind is Kind.ACH:
            yield PayloadReader(content.input, starts, on_advance)
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


class RangeReader(SourceReader):
    """Transactions of a content that is read by ranges, neighbours by one call."""

    gaps_join = True

    def __init__(self, read: Callable[[int, int], bytes], starts: Ints, stops: Ints) -> None:
        """
        read : the bytes of [start, stop)
        starts, stops : int64[k]   what will be asked for, by ascending starts
        """
        self._read = read
        self._starts, self._stops = starts, stops
        self._spans = _spans(starts, stops)
        self._data = memoryview(b"")
        self._start = self._stop = 0

    def take(self, start: int, stop: int) -> memoryview:
        """The bytes of [start, stop). Raises SourceError where no transaction begins there."""
        self._go_to(start)
        return self._data[start - self._start : stop - self._start]

    def take_all(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """Everything that was to be asked for: row and bytes. Raises as `take`.

        Bytes that lie close together stay parts of what was read, others are copied out of it.
        """
        for first, last, start, stop in self._spans:
            data = self._read_span(first, last, start, stop)
            starts = (self._starts[first:last] - start).tolist()
            stops = (self._stops[first:last] - start).tolist()
            wanted = sum(stops) - sum(starts)
            pieces = zip(starts, stops, strict=True)
            if 2 * wanted < len(data):
                yield from enumerate((bytes(data[at:end]) for at, end in pieces), first)
            else:
                yield from enumerate((data[at:end] for at, end in pieces), first)

    def between(self, start: int, stop: int) -> bytes:
        if stop >= self._stop:
            return b"apart"  # What follows is read by another call.
        return bytes(self._data[start - self._start : stop - self._start])

    def _go_to(self, start: int) -> None:
        """Read on to the span that holds a byte."""
        if start < self._stop:
            return
        first, last, self._start, self._stop = next(span for span in self._spans if start < span[3])
        self._data = memoryview(b"")
        self._data = self._read_span(first, last, self._start, self._stop)

    def _read_span(self, first: int, last: int, start: int, stop: int) -> memoryview:
        try:
            data = self._read(start, stop)
        except NoContentError:
            if last - first == 1:
                raise
            data = self._read_each(first, last, start, stop)
        if len(data) != stop - start:
            raise SourceError("a content is shorter than when it was read first")
        _check_begin(data, self._starts[first:last] - start)
        return memoryview(data)

    def _read_each(self, first: int, last: int, start: int, stop: int) -> bytes:
        """A span of which parts between the transactions did not come, and may never come: those
        are left empty. What stands between neighbours is read with them where it is there."""
        data = bytearray(stop - start)
        for row in range(first, last):
            at, end = int(self._starts[row]), int(self._stops[row])
            data[at - start : end - start] = self._read(at, end)
            behind = int(self._starts[row + 1]) if row + 1 < last else end
            if end < behind <= end + LINE_END_BYTES:
                with suppress(NoContentError):
                    data[end - start : behind - start] = self._read(end, behind)
        return bytes(data)


def _spans(starts: Ints, stops: Ints) -> Iterator[tuple[int, int, int, int]]:
    """Rows [first, last) that are read by one call, and the bytes [start, stop) of it."""
    first, count = 0, len(starts)
    start, stop = starts.tolist(), stops.tolist()
    while first < count:
        last, end = first + 1, stop[first]
        while (
            last < count
            and start[last] - end <= SPAN_GAP_BYTES_MAX
            and stop[last] - start[first] <= SPAN_BYTES_MAX
        ):
            end = max(end, stop[last])
            last += 1
        yield first, last, start[first], end
        first = last


def _check_begin(data: bytes, places: Ints) -> None:
    """A place that is wrong must not send somebody else's bytes."""
    view = np.frombuffer(data, np.uint8)
    if not (np.all(view[places] == ord("S")) and np.all(view[places + 1] == ord("T"))):
        raise SourceError("no transaction begins where one was when the content was read first")


class PayloadReader(SourceReader):
    """835s in addenda, by their number in the file."""

    def __init__(
        self,
        source: mmap.mmap | bytes | io.RawIOBase,
        starts: Ints,
        on_advance: Callable[[int], None],
    ) -> None:
        """`starts` : int64[k], the numbers that will be asked for, ascending."""
        self._payloads = payloads(source, starts)
        self._on_advance = on_advance

    def take(self, start: int, stop: int) -> bytes | memoryview:
        for number, data in self._payloads:
            if number == start:
                self._on_advance(stop - start)
                return data
        raise fewer_remittances()


def fewer_remittances() -> SourceError:
    """What is raised where an 835 in addenda is not there any more."""
    return SourceError(
        "an input holds fewer remittances than when it was read first; nothing was written"
    )


def payloads(
    source: mmap.mmap | bytes | io.RawIOBase, starts: Ints | None = None
) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of the 835s in an ACH file's addenda, of some of them where `starts` says
    which. Memory: one window."""
    base = 0
    for window in iter_ach(source):
        transactions = window.remittances.transactions
        stop = base + len(transactions)
        if starts is None:
            numbers = list(range(base, stop))
        else:
            first, last = np.searchsorted(starts, [base, stop])
            numbers = starts[first:last].tolist()
        for number in numbers:
            row = number - base
            yield (
                number,
                bytes(window.remittances.source[transactions.offset[row] : transactions.end[row]]),
            )
        base = stop
