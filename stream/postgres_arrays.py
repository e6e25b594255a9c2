"""Columns as PostgreSQL's arrays, in its binary form: thousands of rows are one statement then.

psycopg makes arrays of lists value by value; columns of one width are one numpy conversion here.
psycopg is imported late: a warehouse on SQLite does without it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

_HEAD = struct.Struct(">iiIii").pack
"""Dimensions, whether there are NULLs, the values' type, how many, number of the first."""
_SIZE = struct.Struct(">i").pack
_NULL = _SIZE(-1)
_VALUE = struct.Struct(">q").pack
_SIZED_VALUE = struct.Struct(">iq").pack
_FEW = 32
"""Numbers up to which one by one is cheaper than an array of numpy."""
_MANY = 256
"""Values from which on whole columns are cheaper than one after the other."""
_SMALL, _BIG, _BYTES, _TEXT = 21, 20, 17, 25


class PostgresArray:
    """An array that stands ready, for connections that `let_send` was called of."""

    __slots__ = ("data",)

    def __init__(self, kind: int, count: int, values: bytes) -> None:
        # That there may be NULLs says nothing of whether there are.
        self.data = _HEAD(1, 1, kind, count, 1) + values


class BigArray(PostgresArray):
    """bigint[]"""


class SmallArray(PostgresArray):
    """smallint[]"""


class BytesArray(PostgresArray):
    """bytea[]"""


class TextArray(PostgresArray):
    """text[]"""


_ARRAY_TYPES = {BigArray: 1016, SmallArray: 1005, BytesArray: 1001, TextArray: 1009}


def big_array(values: npt.ArrayLike) -> BigArray:
    """Whole numbers of 8 bytes. O(n), some nanoseconds each."""
    if isinstance(values, tuple | list) and len(values) < _FEW:
        return BigArray(_BIG, len(values), b"".join([_SIZED_VALUE(8, value) for value in values]))
    numbers = np.asarray(values, np.int64)
    return BigArray(_BIG, len(numbers), _fixed(numbers, 8))


def small_array(values: npt.ArrayLike) -> SmallArray:
    """Whole numbers of 2 bytes."""
    numbers = np.asarray(values, np.int16)
    return SmallArray(_SMALL, len(numbers), _fixed(numbers, 2))


def big_array_with_none(values: Sequence[int | None]) -> BigArray:
    """The same as `big_array`, some of them None."""
    packed = [None if value is None else _VALUE(value) for value in values]
    return BigArray(_BIG, len(values), _varying(packed))


def bytes_array(values: Sequence[bytes | None]) -> BytesArray:
    """Bytes of any length. 0.1 microseconds each where there are many."""
    return BytesArray(_BYTES, len(values), _varying(values))


def text_array(values: Sequence[str | None]) -> TextArray:
    """Texts; they hold no zero byte. 0.1 microseconds each where there are many, and plain."""
    if len(values) >= _MANY and None not in values:
        texts = cast("Sequence[str]", values)
        data, lengths = "".join(texts).encode(), _lengths(texts)
        if len(data) == lengths.sum():
            return TextArray(_TEXT, len(values), _joined(data, lengths))
    encoded = [None if value is None else value.encode() for value in values]
    return TextArray(_TEXT, len(values), _varying(encoded))


def let_send(connection: Any) -> None:
    """Let cursors of a psycopg connection take arrays as values."""
    for kind, dumper in _dumpers():
        connection.adapters.register_dumper(kind, dumper)


def _fixed(numbers: npt.NDArray[Any], size: int) -> bytes:
    rows = np.empty(len(numbers), np.dtype([("size", ">i4"), ("value", f">i{size}")]))
    rows["size"] = size
    rows["value"] = numbers
    return rows.tobytes()


def _varying(values: Sequence[bytes | None]) -> bytes:
    """Each value behind its size; nothing behind the size of NULL."""
    if len(values) >= _MANY and None not in values:
        present = cast("Sequence[bytes]", values)
        return _joined(b"".join(present), _lengths(present))
    return b"".join([_NULL if each is None else _SIZE(len(each)) + each for each in values])


def _joined(data: bytes, lengths: npt.NDArray[np.int64]) -> bytes:
    """The same of values that lie one behind the other."""
    places = np.cumsum(lengths) - lengths + 4 * np.arange(len(lengths))
    answer = np.empty(len(data) + 4 * len(lengths), np.uint8)
    is_data = np.ones(len(answer), np.bool_)
    of_sizes = places[:, None] + np.arange(4)
    is_data[of_sizes] = False
    answer[of_sizes] = lengths.astype(">i4").view(np.uint8).reshape(-1, 4)
    answer[is_data] = np.frombuffer(data, np.uint8)
    return answer.tobytes()


def _lengths(values: Sequence[str] | Sequence[bytes]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(len, values), np.int64, len(values))


@cache
def _dumpers() -> list[tuple[type[PostgresArray], Any]]:
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    def dumper(array_type: int) -> Any:
        class _Ready(Dumper):
            format = Format.BINARY
            oid = array_type

            def dump(self, obj: Any) -> bytes:
                data: bytes = obj.data
                return data

        return _Ready

    return [(kind, dumper(number)) for kind, number in _ARRAY_TYPES.items()]
