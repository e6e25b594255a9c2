"""Arrays of PostgreSQL: a long column is what its values are one after the other."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from reassoc.stream.postgres_arrays import bytes_array, text_array

HEAD_BYTES = 20


def behind_sizes(values: Sequence[bytes | None]) -> bytes:
    parts = [
        struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
        for value in values
    ]
    return b"".join(parts)


@pytest.mark.parametrize("odd", ["", "plain", "\u00e9\u20ac\U0001f600", None], ids=repr)
@pytest.mark.parametrize("count", [0, 1, 127, 128, 1000])
def test_each_value_stands_behind_its_size(count: int, odd: str | None) -> None:
    texts = [f"TRACE{number}" * (number % 5) for number in range(count)]
    values: list[str | None] = [*texts, odd, *texts]
    encoded = [None if value is None else value.encode() for value in values]
    text, data = text_array(values).data, bytes_array(encoded).data
    assert text[HEAD_BYTES:] == data[HEAD_BYTES:] == behind_sizes(encoded)
    assert struct.unpack_from(">i", text, 12) == struct.unpack_from(">i", data, 12)
    assert struct.unpack_from(">i", text, 12) == (2 * count + 1,)
