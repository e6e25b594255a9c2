"""Rows of columns as bytes and back: how items travel on the log and lie in the state.

A row is its numbers, one after the other and little-endian, then the lengths of its texts, then the
texts. Packing and unpacking work on whole tables: nothing here touches a single row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core import _keys, _rows
from reassoc.core.columns import TextColumn
from reassoc.core.pool import text_parts

Rows = npt.NDArray[Any] | slice
Stops = npt.NDArray[np.int64]

TEXT_BYTES_MAX = 0xFFFF
"""Bytes of one text: its length has two bytes. No field of a standard comes near."""


class Block(msgspec.Struct, frozen=True, gc=False):
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
        _rows.BLOCK_BYTES_MAX. O(bytes taken)."""
        return Block(*_rows.block_take(self.data, self.stops, _numbers(rows, len(self.stops))))

    @classmethod
    def of(cls, rows: Sequence[bytes]) -> Block:
        """Rows that are there one by one."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(b"".join(rows), np.cumsum(lengths))

    @classmethod
    def concat(cls, parts: Sequence[Block]) -> Block:
        """The rows of several blocks, one after the other."""
        counts = np.fromiter([len(part.stops) for part in parts], np.int64, len(parts))
        sizes = np.fromiter([len(part.data) for part in parts], np.int64, len(parts))
        stops = np.concatenate([np.zeros(0, np.int64), *(part.stops for part in parts)])
        stops += np.repeat(np.cumsum(sizes) - sizes, counts)
        return cls(b"".join([part.data for part in parts]), stops)


def _numbers(rows: Rows, count: int) -> npt.NDArray[np.int64]:
    """int64[k]: rows by their numbers, which may be given as a mask or a slice."""
    if isinstance(rows, slice):
        return np.arange(*rows.indices(count))
    if rows.dtype == np.bool_:
        return np.flatnonzero(rows)
    return np.ascontiguousarray(rows, np.int64)


Columns = Mapping[str, Any]
"""Column name -> numpy array, or TextColumn for texts; all of one length."""


class RowTable(MutableMapping[str, Any]):
    """A table that lies row by row, as it is packed: all its columns are taken, put together and
    compared at once. A column is a view of it: what is written there is in the table.

    schema : its columns
    fixed : schema.fixed[n]      the numbers of each row, and the lengths of its texts
    refs : uint32[t, n, 2]       where the texts of each text column lie in `source`

    Columns of texts cannot be replaced. PERF: some forty columns by themselves cost forty calls for
    whatever is done with the table, which is most of a small step.
    """

    __slots__ = ("fixed", "refs", "schema", "source")

    def __init__(
        self,
        schema: Schema,
        fixed: npt.NDArray[Any],
        refs: npt.NDArray[np.uint32],
        source: bytes,
    ) -> None:
        self.schema = schema
        self.fixed = fixed
        self.refs = refs
        self.source = source

    @property
    def row_count(self) -> int:
        """How many rows there are; len() is the number of columns, as of any mapping."""
        return len(self.fixed)

    @property
    def row_bytes(self) -> npt.NDArray[np.uint8]:
        """uint8[n, w]: numbers and lengths of each row as they lie there; a view."""
        width = self.schema.fixed.itemsize
        return self.fixed.view(np.uint8).reshape(len(self.fixed), width)

    def __getitem__(self, name: str) -> Any:
        if name in self.schema.number_names:
            return self.fixed[name]
        return TextColumn(self.source, self.refs[self.schema.text_places[name]])

    def __setitem__(self, name: str, values: Any) -> None:
        if name not in self.schema.number_names:
            raise KeyError(f"{name} is no column of numbers")
        self.fixed[name] = values

    def __delitem__(self, name: str) -> None:
        raise TypeError("a table keeps its columns")

    def __contains__(self, name: object) -> bool:
        return name in self.schema.types

    def __iter__(self) -> Iterator[str]:
        return iter(self.schema.types)

    def __len__(self) -> int:
        return len(self.schema.types)

    def __repr__(self) -> str:
        # Never the values: they are people's data.
        return f"<RowTable: {self.row_count} rows>"

    def columns(self, names: Iterable[str]) -> dict[str, Any]:
        """Some of the columns, each of numbers by itself and one value behind the other."""
        fixed, numbers = self.fixed, self.schema.number_names
        return {name: fixed[name].copy() if name in numbers else self[name] for name in names}

    def take(self, rows: Rows) -> RowTable:
        """Some of the rows; no text is copied."""
        numbers = _numbers(rows, len(self.fixed))
        fixed, refs = _rows.take(self.row_bytes, self.refs, numbers)
        return RowTable(self.schema, self.schema.rows_of(fixed), refs, self.source)


class Schema:
    """Names and types of the columns of a table, in the order in which a row holds them.

    types : column name -> numpy dtype, or "text"    places : where each number lies in a row
    texts : names of the texts                       text_places : their numbers
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.types = dict(types)
        self.texts = [name for name, kind in types.items() if kind == "text"]
        self.text_places = {name: place for place, name in enumerate(self.texts)}
        numbers = [(name, f"<{kind}") for name, kind in types.items() if kind != "text"]
        lengths = [(f"{name} length", "<u2") for name in self.texts]
        self.fixed = np.dtype([*numbers, *lengths])
        self.names = [name for name, _ in numbers]
        self.number_names = frozenset(self.names)
        self._first = next(iter(types))
        self.places = {name: int(field[1]) for name, field in (self.fixed.fields or {}).items()}

    def pack(self, columns: Columns) -> Block:
        """The rows of a table as bytes.

        Raises ValueError where a column is missing, of another type or of another length,
        OverflowError for a text above TEXT_BYTES_MAX and above _rows.BLOCK_BYTES_MAX. O(bytes).
        """
        table = self._by_rows(columns)
        return Block(*_rows.pack(table.row_bytes, table.refs, table.source))

    def _by_rows(self, columns: Columns) -> RowTable:
        if isinstance(columns, RowTable) and columns.schema is self:
            return columns
        count = self._check(columns)
        fixed = np.zeros(count, self.fixed)
        for name in self.names:
            fixed[name] = columns[name]
        all_refs = np.empty((len(self.texts), count, 2), np.uint32)
        sources, base = [], 0
        for place, name in enumerate(self.texts):
            data, refs = _keys.gather(*text_parts(columns[name]))
            if count and int(refs[:, 1].max()) > TEXT_BYTES_MAX:
                raise OverflowError(f"a text of {name} is longer than TEXT_BYTES_MAX")
            fixed[f"{name} length"] = refs[:, 1]
            _rows.check_size(base + len(data))
            all_refs[place] = refs
            all_refs[place, :, 0] += np.uint32(base)
            sources.append(data)
            base += len(data)
        return RowTable(self, fixed, all_refs, b"".join(sources))

    def rows_of(self, row_bytes: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """fixed[n]: the numbers of rows that lie as bytes, uint8[n, w]; a view."""
        return row_bytes.reshape(-1).view(self.fixed)

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

    def unpack(self, block: Block) -> RowTable:
        """The table of some rows; texts stay in the block's buffer.

        Raises ValueError where the rows are not of this schema. O(rows).
        """
        width = self.fixed.itemsize
        fixed, refs = _rows.unpack(block.data, block.stops, width, len(self.texts))
        return RowTable(self, self.rows_of(fixed), refs, block.data)

    def empty(self) -> RowTable:
        """A table of no rows."""
        return RowTable(self, np.zeros(0, self.fixed), _no_refs(len(self.texts)), b"")

    def widen(self, table: RowTable) -> RowTable:
        """The rows of a schema with whose columns this one ends; what they lack is 0. Raises
        ValueError for another schema. No text is copied."""
        narrow = table.schema
        if self.texts != narrow.texts or self.names[-len(narrow.names) :] != narrow.names:
            raise ValueError("the schema does not end with the columns of the table")
        wide = RowTable(self, np.zeros(table.row_count, self.fixed), table.refs, table.source)
        wide.row_bytes[:, self.fixed.itemsize - narrow.fixed.itemsize :] = table.row_bytes
        return wide

    def table(self, columns: Columns) -> RowTable:
        """The same table row by row. Raises what `pack` raises."""
        return self._by_rows(columns)

    def concat(self, parts: Sequence[Columns]) -> RowTable:
        """Tables one after the other. Raises OverflowError above _rows.BLOCK_BYTES_MAX of texts,
        those included that no row uses any more. O(bytes)."""
        tables = [self.table(part) for part in parts if len(part[self._first])]
        if len(tables) < 2:
            return tables[0] if tables else self.empty()
        _rows.check_size(sum(len(table.source) for table in tables))
        refs, base = [], 0
        for table in tables:
            refs.append(table.refs.copy())
            refs[-1][:, :, 0] += np.uint32(base)
            base += len(table.source)
        return RowTable(
            self,
            self.rows_of(np.concatenate([table.row_bytes for table in tables])),
            np.concatenate(refs, axis=1),
            b"".join([table.source for table in tables]),
        )

    def concat_columns(self, tables: Sequence[Columns]) -> dict[str, Any]:
        """As `concat`, column by column and without texts that no row uses: for more rows than one
        block holds."""
        return {
            name: TextColumn.concat([table[name] for table in tables])
            if kind == "text"
            else np.concatenate([table[name] for table in tables])
            for name, kind in self.types.items()
        }


def _no_refs(columns: int) -> npt.NDArray[np.uint32]:
    return np.zeros((columns, 0, 2), np.uint32)


def joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Structured rows of one dtype, one after the other. PERF: numpy compares the fields of dtypes
    for every part."""
    return np.concatenate([part.view(np.uint8) for part in parts]).view(parts[0].dtype)


def take(columns: Columns, rows: Rows) -> MutableMapping[str, Any]:
    """Some rows of a table (numbers, a mask or a slice); no text is copied."""
    if isinstance(columns, RowTable):
        return columns.take(rows)
    return {name: column[rows] for name, column in columns.items()}
