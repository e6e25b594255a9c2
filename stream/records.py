"""Rows of columns as bytes and back: how items travel on the log and lie in the state.

A row is its numbers, one after the other and little-endian, then the lengths of its texts, then the
texts. Packing and unpacking work on whole tables: nothing here touches a single row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.columns import TextColumn
from reassoc.core.pool import text_parts

Rows = npt.NDArray[Any] | slice
Stops = npt.NDArray[np.int64]

TEXT_BYTES_MAX = 0xFFFF
"""Bytes of one text: its length has two bytes. No field of a standard comes near."""
BLOCK_BYTES_MAX = 0xFFFFFFFF
"""Bytes of a block that is cut or packed: places in it have four bytes."""


@dataclass(frozen=True, slots=True, repr=False)
class Block:
    """Rows of any length in one buffer; row k ends at `stops[k]`, where row k + 1 begins.

    data : bytes        stops : int64[n], ascending
    """

    data: bytes
    stops: Stops

    def __len__(self) -> int:
        return len(self.stops)

    def __repr__(self) -> str:
        return f"<Block: {len(self)} rows, {len(self.data)} bytes>"

    @property
    def starts(self) -> Stops:
        """int64[n]: where each row begins."""
        starts = np.empty(len(self.stops), np.int64)
        if len(starts):
            starts[0] = 0
            starts[1:] = self.stops[:-1]
        return starts

    def _refs(self) -> npt.NDArray[np.uint32]:
        """uint32[n, 2]: where each row begins, and its bytes."""
        refs = np.empty((len(self.stops), 2), np.uint32)
        if len(refs):
            refs[0, 0] = 0
            refs[1:, 0] = self.stops[:-1]
            refs[:, 1] = self.stops
            refs[:, 1] -= refs[:, 0]
        return refs

    def row(self, number: int) -> bytes:
        """The bytes of one row."""
        start = int(self.stops[number - 1]) if number else 0
        return self.data[start : int(self.stops[number])]

    def rows(self) -> list[bytes]:
        """The bytes of every row."""
        data = self.data
        bounds = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        return [data[start:stop] for start, stop in bounds]

    def part(self, first: int, last: int) -> Block:
        """Rows [first, last)."""
        start, stop = (int(self.stops[row - 1]) if row else 0 for row in (first, last))
        return Block(self.data[start:stop], self.stops[first:last] - start)

    def take(self, rows: Rows) -> Block:
        """Some of the rows, by numbers, a mask or a slice. Raises OverflowError above
        BLOCK_BYTES_MAX. O(bytes taken)."""
        _check_size(len(self.data))
        refs = self._refs()[rows]
        data, taken = _keys.gather(np.frombuffer(self.data, np.uint8), refs)
        stops = np.cumsum(taken[:, 1], dtype=np.int64)
        if len(stops) and int(stops[-1]) != len(data):
            # A row that was asked for twice in a row is gathered once.
            return Block.of([data[start : start + length] for start, length in taken.tolist()])
        return Block(data, stops)

    @classmethod
    def of(cls, rows: Sequence[bytes]) -> Block:
        """Rows that are there one by one."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(b"".join(rows), np.cumsum(lengths))

    @classmethod
    def concat(cls, parts: Sequence[Block]) -> Block:
        """The rows of several blocks, one after the other."""
        stops, base = [np.zeros(0, np.int64)], 0
        for part in parts:
            stops.append(part.stops + base)
            base += len(part.data)
        return cls(b"".join(part.data for part in parts), np.concatenate(stops))


def _check_size(byte_count: int) -> None:
    if byte_count > BLOCK_BYTES_MAX:
        raise OverflowError(
            f"a block of {byte_count} bytes is above BLOCK_BYTES_MAX ({BLOCK_BYTES_MAX}): work on "
            "fewer rows at a time"
        )


Columns = Mapping[str, Any]
"""Column name -> numpy array, or TextColumn for texts; all of one length."""


class Schema:
    """Names and types of the columns of a table, in the order in which a row holds them.

    types : column name -> numpy dtype, or "text"    places : where each number lies in a row
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.types = dict(types)
        self.texts = [name for name, kind in types.items() if kind == "text"]
        numbers = [(name, f"<{kind}") for name, kind in types.items() if kind != "text"]
        lengths = [(f"{name} length", "<u2") for name in self.texts]
        self.fixed = np.dtype([*numbers, *lengths])
        self.names = [name for name, _ in numbers]
        self._first = next(iter(types))
        none = np.zeros((0, 2), np.uint32)
        self._nothing = {
            name: TextColumn(b"", none) if kind == "text" else np.zeros(0, kind)
            for name, kind in types.items()
        }
        self.places = {name: int(field[1]) for name, field in (self.fixed.fields or {}).items()}

    def pack(self, columns: Columns) -> Block:
        """The rows of a table as bytes.

        Raises ValueError where a column is missing, of another type or of another length,
        OverflowError for a text above TEXT_BYTES_MAX and above BLOCK_BYTES_MAX. O(bytes), two
        copies.
        """
        count = self._check(columns)
        fixed = np.zeros(count, self.fixed)
        for name in self.names:
            fixed[name] = columns[name]
        sources = [fixed.view(np.uint8).reshape(-1)]
        refs = np.zeros((count, 1 + len(self.texts), 2), np.uint64)
        refs[:, 0, 0] = np.arange(count, dtype=np.uint64) * np.uint64(self.fixed.itemsize)
        refs[:, 0, 1] = self.fixed.itemsize
        base = count * self.fixed.itemsize
        for place, name in enumerate(self.texts, 1):
            data, text_refs = _keys.gather(*text_parts(columns[name]))
            if count and int(text_refs[:, 1].max()) > TEXT_BYTES_MAX:
                raise OverflowError(f"a text of {name} is longer than TEXT_BYTES_MAX")
            fixed[f"{name} length"] = text_refs[:, 1]
            refs[:, place] = text_refs
            refs[:, place, 0] += np.uint64(base)
            sources.append(np.frombuffer(data, np.uint8))
            base += len(data)
        _check_size(base)
        data, _ = _keys.gather(
            np.concatenate(sources), np.ascontiguousarray(refs.reshape(-1, 2).astype(np.uint32))
        )
        return Block(data, np.cumsum(refs[:, :, 1].sum(axis=1), dtype=np.int64))

    def _check(self, columns: Columns) -> int:
        """The number of rows. numpy would take another type or a single value in silence."""
        if missing := self.types.keys() - columns.keys():
            raise ValueError(f"columns are missing: {', '.join(sorted(missing))}")
        for name in self.names:
            if columns[name].dtype != self.fixed[name]:
                raise ValueError(
                    f"the column {name} is {columns[name].dtype}, not {self.types[name]}"
                )
        counts = {len(columns[name]) for name in self.types}
        if len(counts) > 1:
            raise ValueError("the columns are not of one length")
        return counts.pop()

    def unpack(self, block: Block) -> dict[str, Any]:
        """The table of some rows; texts stay in the block's buffer.

        Raises ValueError where the rows are not of this schema. O(rows).
        """
        if not len(block):
            return dict(self._nothing)
        _check_size(len(block.data))
        starts, size = block.starts, self.fixed.itemsize
        source = np.frombuffer(block.data, np.uint8)
        refs = np.stack([starts, np.full(len(starts), size)], axis=1).astype(np.uint32)
        if len(starts) and int((starts + size - block.stops).max()) > 0:
            raise ValueError("a row is shorter than its schema")
        data, _ = _keys.gather(source, refs)
        fixed = np.frombuffer(data, self.fixed)
        columns: dict[str, Any] = {}
        at = starts + size
        for name in self.texts:
            lengths = fixed[f"{name} length"].astype(np.int64)
            columns[name] = TextColumn(
                block.data, np.stack([at, lengths], axis=1).astype(np.uint32)
            )
            at = at + lengths
        if not np.array_equal(at, block.stops):
            raise ValueError("a row is not as long as its schema says")
        for name in self.names:
            columns[name] = fixed[name].copy()
        return {name: columns[name] for name in self.types}

    def empty(self) -> dict[str, Any]:
        """A table of no rows."""
        return dict(self._nothing)

    def concat(self, parts: Sequence[Columns]) -> dict[str, Any]:
        """Tables one after the other, texts compacted where there are several. O(bytes)."""
        parts = [part for part in parts if len(part[self._first])]
        if len(parts) < 2:
            return dict(parts[0] if parts else self._nothing)
        return {
            name: TextColumn.concat([part[name] for part in parts])
            if kind == "text"
            else np.concatenate([part[name] for part in parts])
            for name, kind in self.types.items()
        }


def take(columns: Columns, rows: Rows) -> dict[str, Any]:
    """Some rows of a table (numbers, a mask or a slice); no text is copied."""
    return {name: column[rows] for name, column in columns.items()}
