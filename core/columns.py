"""Tables of columns: one numpy array per field, text left where it lies in the source.

Kinds of column (the scanners' headers declare each column with one of these):

    row      int32    row number in another table, -1 for none
    date     int32    days since 1970-01-01, DATE_NONE for none
    cents    int64    money; never a float
    int64 int32 int16 uint64 uint32 uint16 uint8
    flag     bool
    code2 code4 code8   numpy bytes S2, S4, S8: short codes, readable and comparable as they are
    near     TextColumn, kept as distance from the row's `offset` and length in the scanner
    text     TextColumn: (offset, length) into the source, decoded only when somebody looks
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys

if TYPE_CHECKING:
    import pyarrow as pa

DATE_NONE = -(2**31)
"""The date of a row that has none (int32)."""

_DTYPES: Mapping[str, str] = {
    "row": "<i4",
    "date": "<i4",
    "cents": "<i8",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "uint64": "<u8",
    "uint32": "<u4",
    "uint16": "<u2",
    "uint8": "|u1",
    "flag": "|b1",
    "code2": "|S2",
    "code4": "|S4",
    "code8": "|S8",
}

Source = bytes | bytearray | memoryview
Column = npt.NDArray[Any]


class TextColumn:
    """A column of text that lies in a source buffer.

    source : buffer        the bytes that the offsets count from; kept alive, never copied
    refs : uint32[n, 2]    offset and length of each value

    Indexing with an int decodes one value (CR and LF inside a value are line wraps and are left
    out); with a slice, a mask or an array of rows it gives another TextColumn over the same source.
    O(1) per value.
    """

    __slots__ = ("refs", "source")

    def __init__(self, source: Source, refs: npt.NDArray[np.uint32]) -> None:
        if refs.dtype != np.uint32 or refs.ndim != 2 or refs.shape[1] != 2:
            raise ValueError(f"refs must be uint32[n, 2], not {refs.dtype}{list(refs.shape)}")
        self.source = memoryview(source)
        self.refs = refs

    @classmethod
    def from_values(cls, values: Iterable[str | bytes]) -> TextColumn:
        """Build a column from Python values (UTF-8); its source is their concatenation. O(total
        length)."""
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        lengths = np.fromiter((len(value) for value in encoded), np.uint32, len(encoded))
        offsets = np.zeros(len(encoded), np.uint32)
        np.cumsum(lengths[:-1], out=offsets[1:], dtype=np.uint32)
        return cls(b"".join(encoded), np.stack([offsets, lengths], axis=1))

    @property
    def offsets(self) -> npt.NDArray[np.uint32]:
        """uint32[n]: where each value starts in the source."""
        return self.refs[:, 0]

    @property
    def lengths(self) -> npt.NDArray[np.uint32]:
        """uint32[n]: bytes of each value, as they lie in the source; 0 is an empty or absent
        value."""
        return self.refs[:, 1]

    def __len__(self) -> int:
        return len(self.refs)

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> TextColumn: ...
    def __getitem__(
        self, rows: int | np.integer[Any] | slice | npt.NDArray[Any]
    ) -> str | TextColumn:
        if isinstance(rows, int | np.integer):
            return decode(self.raw(int(rows)))
        if isinstance(rows, slice):
            return TextColumn(self.source, self.refs[rows])
        # PERF: a reference is taken as one number of eight bytes: a quarter of the time
        whole = np.ascontiguousarray(self.refs).view(np.uint64).ravel()
        return TextColumn(self.source, whole[rows].view(np.uint32).reshape(-1, 2))

    def __iter__(self) -> Iterator[str]:
        source = self.source
        for offset, length in self.refs.tolist():
            yield decode(bytes(source[offset : offset + length]))

    def raw(self, row: int) -> bytes:
        """The bytes of one value, without CR and LF."""
        offset, length = self.refs[row].tolist()
        value = bytes(self.source[offset : offset + length])
        return (
            value.replace(b"\r", b"").replace(b"\n", b"")
            if b"\n" in value or b"\r" in value
            else value
        )

    def to_list(self) -> list[str]:
        """Every value, decoded. O(total length)."""
        return list(self)

    def compact(self) -> TextColumn:
        """The same values over a source of their own that holds nothing else. O(total length).

        For columns that outlive the file they were read from.
        """
        source = np.frombuffer(self.source, np.uint8)
        data, refs = _keys.gather(source, np.ascontiguousarray(self.refs))
        if len(data) == int(self.refs[:, 1].sum(dtype=np.int64)):
            return TextColumn(data, refs)
        # Neighbours share their bytes there; here each value has its own, one behind the other.
        lengths = self.refs[:, 1].astype(np.int64)
        stops = np.cumsum(lengths)
        starts = stops - lengths
        positions = np.repeat(self.refs[:, 0].astype(np.int64) - starts, lengths)
        positions += np.arange(len(positions))
        refs = np.stack([starts, lengths], axis=1).astype(np.uint32)
        return TextColumn(source[positions].tobytes(), refs)

    @staticmethod
    def concat(columns: Sequence[TextColumn]) -> TextColumn:
        """Columns one after the other, over one source that holds their values only. O(total
        length)."""
        parts = [column.compact() for column in columns]
        if len(parts) == 1:
            return parts[0]
        refs = np.concatenate([np.zeros((0, 2), np.uint32), *(part.refs for part in parts)])
        row = base = 0
        for part in parts:
            refs[row : row + len(part), 0] += np.uint32(base)
            row, base = row + len(part), base + len(part.source)
            if base > 0xFFFFFFFF:
                raise OverflowError("a text column holds at most 4 GiB of text")
        return TextColumn(b"".join([part.source for part in parts]), refs)

    def __repr__(self) -> str:
        return f"<TextColumn of {len(self)} values>"


def decode(value: bytes) -> str:
    """Text of a field: line wraps removed, UTF-8 where it is UTF-8, else Latin-1, which never
    fails."""
    if b"\n" in value or b"\r" in value:
        value = value.replace(b"\r", b"").replace(b"\n", b"")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Table:
    """Columns of equal length, each an attribute: `claims.paid_cents` is an int64 array,
    `claims.offset[3]` a number.

    `names` lists the columns, `kinds` and `docs` map a name to its kind and its meaning; `len()` is
    the number of rows.
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, Column | TextColumn],
        kinds: Mapping[str, str],
        docs: Mapping[str, str],
    ) -> None:
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"the columns of {name} have different lengths: {sorted(lengths)}")
        self._name = name
        self._columns = dict(columns)
        self._rows = lengths.pop() if lengths else 0
        self.kinds = kinds
        self.docs = docs

    @property
    def names(self) -> list[str]:
        """Column names, in the order they were declared."""
        return list(self._columns)

    def __len__(self) -> int:
        return self._rows

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_columns"][name]
        except KeyError:
            raise AttributeError(f"no column {name!r} in this table") from None

    def __getitem__(self, name: str) -> Column | TextColumn:
        return self._columns[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._columns]

    def row(self, row: int) -> dict[str, Any]:
        """One row as plain Python values (codes and text as str, dates as numbers of days or
        None)."""
        values: dict[str, Any] = {}
        for name, column in self._columns.items():
            value = column[row]
            if isinstance(value, bytes):
                values[name] = decode(value)
            elif self.kinds[name] == "date":
                values[name] = None if value == DATE_NONE else int(value)
            else:
                values[name] = value if isinstance(value, str) else value.item()
        return values

    def take(self, rows: npt.NDArray[Any] | slice) -> Table:
        """The table of the given rows (a mask, an array of row numbers or a slice). O(rows
        taken)."""
        columns = {name: column[rows] for name, column in self._columns.items()}
        return Table(self._name, columns, self.kinds, self.docs)

    def to_arrow(self) -> pa.Table:
        """The table as a pyarrow.Table: text as string, dates as date32, no value for DATE_NONE.

        Numbers are not copied. Raises ImportError, with what to install, where pyarrow is missing.
        O(text bytes).
        """
        from reassoc.core.arrow import table_to_arrow

        return table_to_arrow(self)

    def __repr__(self) -> str:
        return f"<{self._name}: {self._rows} rows, {len(self._columns)} columns>"


class _Memory:
    """Memory of a compiled scanner as numpy sees it; freed with its owner."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, address: int, shape: tuple[int, ...], typestr: str, owner: object) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": shape,
            "typestr": typestr,
        }
        self.owner = owner


TakenColumn = tuple[str, str, str, int, int, object]


def build_table(name: str, taken: list[TakenColumn], source: Source) -> Table:
    """Make a Table of what a compiled scanner gave: (name, kind, doc, address, rows, owner) per
    column. No copy."""
    columns: dict[str, Column | TextColumn] = {}
    arrays: dict[str, Column] = {}
    for column, kind, _, address, rows, owner in taken:
        if kind == "near":
            columns[column] = TextColumn(source, _near_refs(arrays["offset"], address, rows, owner))
        elif kind == "text":
            refs = _array(address, (rows, 2), "<u4", owner)
            columns[column] = TextColumn(source, refs)
        else:
            columns[column] = arrays[column] = _array(address, (rows,), _DTYPES[kind], owner)
    kinds = {column: kind for column, kind, *_ in taken}
    docs = {column: doc for column, _, doc, *_ in taken}
    return Table(name, columns, kinds, docs)


def _near_refs(offsets: Column, address: int, rows: int, owner: object) -> npt.NDArray[np.uint32]:
    """uint32[n, 2] of texts that are kept as uint16 distance from the row's offset, and length."""
    refs = _array(address, (rows, 2), "<u2", owner).astype(np.uint32)
    refs[:, 0] += offsets
    return refs


def _array(address: int, shape: tuple[int, ...], typestr: str, owner: object) -> npt.NDArray[Any]:
    if owner is None:
        return np.zeros(shape, np.dtype(typestr))
    return np.asarray(_Memory(address, shape, typestr, owner))
