"""Rows as bytes and back: any schema and any values, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import _rows
from reassoc.core.columns import TextColumn
from reassoc.stream.items import PAIR, PAYMENT, REMITTANCE_ITEM
from reassoc.stream.records import TEXT_BYTES_MAX, Block, Schema, take

_BITS = {"i8": (-(2**63), 2**63 - 1), "i4": (-(2**31), 2**31 - 1), "u8": (0, 2**64 - 1),
         "u4": (0, 2**32 - 1), "u2": (0, 2**16 - 1), "u1": (0, 255), "?": (0, 1)}  # fmt: skip
texts = st.binary(max_size=6)
pieces = st.lists(texts, max_size=8)


def _values(kind: str) -> st.SearchStrategy[Any]:
    return texts if kind == "text" else st.integers(*_BITS[kind])


@st.composite
def tables(draw: st.DrawFn) -> tuple[Schema, dict[str, list[Any]]]:
    """A schema, and values of its columns."""
    kinds = draw(st.lists(st.sampled_from([*_BITS, "text", "text"]), min_size=1, max_size=6))
    types = {f"c{number}": kind for number, kind in enumerate(kinds)}
    count = draw(st.integers(0, 6))
    values = {
        name: draw(st.lists(_values(kind), min_size=count, max_size=count))
        for name, kind in types.items()
    }
    return Schema(types), values


def columns_of(schema: Schema, values: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        name: TextColumn.from_values(each) if (kind := schema.types[name]) == "text"
        else np.array(each, kind)
        for name, each in values.items()
    }  # fmt: skip


def values_of(schema: Schema, columns: dict[str, Any]) -> dict[str, list[Any]]:
    """The bytes of texts as they lie there: a TextColumn leaves line ends out when asked."""
    assert list(columns) == list(schema.types)
    return {
        name: [bytes(column.source[at : at + size]) for at, size in column.refs.tolist()]
        if schema.types[name] == "text" else column.tolist()
        for name, column in columns.items()
    }  # fmt: skip


@given(tables())
def test_a_table_comes_back_as_it_was(table: tuple[Schema, dict[str, list[Any]]]) -> None:
    schema, values = table
    block = schema.pack(columns_of(schema, values))
    columns = schema.unpack(block)
    assert values_of(schema, columns) == values
    for name in schema.names:
        assert columns[name].dtype == np.dtype(schema.types[name])
        assert columns[name].flags.writeable
    # A row says all there is to it: rows in any order, and one by one, are the same rows.
    order = np.arange(len(block))[::-1]
    turned = schema.unpack(Block.of(block.rows()[::-1]))
    assert values_of(schema, turned) == values_of(schema, take(columns, order))
    assert schema.pack(turned).rows() == block.rows()[::-1]


@given(tables(), st.data())
def test_tables_are_taken_and_put_together(
    table: tuple[Schema, dict[str, list[Any]]], data: st.DataObject
) -> None:
    schema, values = table
    columns = columns_of(schema, values)
    count = len(next(iter(values.values())))
    some = data.draw(st.lists(st.integers(0, count - 1), max_size=5)) if count else []
    taken = take(columns, np.array(some, np.int64))
    expected = {name: [each[row] for row in some] for name, each in values.items()}
    assert values_of(schema, taken) == expected
    parts = [columns, schema.empty(), taken]
    for whole in (schema.concat(parts), schema.concat_columns(parts)):
        assert values_of(schema, whole) == {n: values[n] + expected[n] for n in values}
    assert values_of(schema, schema.concat([])) == {name: [] for name in values}


@given(pieces, st.lists(pieces, max_size=3), st.data())
def test_blocks_are_lists_of_bytes(
    rows: list[bytes], others: list[list[bytes]], data: st.DataObject
) -> None:
    block = Block.of(rows)
    assert len(block) == len(rows)
    assert block.rows() == [block.row(number) for number in range(len(rows))] == rows
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    assert block.take(np.array(numbers, np.int64)).rows() == [rows[number] for number in numbers]
    mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    kept = [row for row, keep in zip(rows, mask, strict=True) if keep]
    assert block.take(np.array(mask, np.bool_)).rows() == kept
    assert block.take(slice(1, 4)).rows() == rows[1:4]
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    assert block.part(first, last).rows() == rows[first:last]
    joined = Block.concat([block, *map(Block.of, others)])
    assert joined.rows() == rows + [row for other in others for row in other]


@given(tables(), st.data())
def test_rows_that_lie_together_are_the_same_table(
    table: tuple[Schema, dict[str, list[Any]]], data: st.DataObject
) -> None:
    """Taken, put together, changed in a column and packed, they give what columns give."""
    schema, values = table
    columns = columns_of(schema, values)
    count = len(next(iter(values.values())))
    rows = schema.table(columns)
    some = data.draw(st.lists(st.integers(0, count - 1), max_size=5)) if count else []
    both = schema.concat([rows.take(np.array(some, np.int64)), rows])
    expected = {name: [each[row] for row in some] + each for name, each in values.items()}
    for name in schema.names:
        expected[name] = [*reversed(expected[name])]
        both[name] = np.array(expected[name], schema.types[name])
    assert values_of(schema, both) == expected
    assert schema.pack(both).rows() == schema.pack(columns_of(schema, expected)).rows()
    assert not some or values_of(schema, rows) == values, "several tables become one of its own"


def test_a_schema_is_widened_in_front() -> None:
    wide = Schema({"position": "i8", "flags": "u2", **MIXED.types})
    rows = wide.widen(MIXED.table(mixed(3)))
    rows["position"], rows["flags"] = 7, [1, 2, 3]
    assert values_of(wide, rows) == {
        "position": [7] * 3, "flags": [1, 2, 3], **values_of(MIXED, MIXED.table(mixed(3)))
    }  # fmt: skip
    assert wide.unpack(wide.pack(rows))["cents"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="does not end with"):
        MIXED.widen(rows)
    with pytest.raises(KeyError):
        rows["name"] = TextColumn.from_values(["a"] * 3)


def test_a_row_asked_for_twice_in_a_row_comes_twice() -> None:
    block = Block.of([b"ab", b"", b"cde"]).take(np.array([2, 2, 1, 1, 0, 2]))
    assert block.rows() == [b"cde", b"cde", b"", b"", b"ab", b"cde"]


@pytest.mark.parametrize("schema", [REMITTANCE_ITEM, PAYMENT, PAIR])
def test_tables_of_no_rows(schema: Schema) -> None:
    empty = schema.empty()
    assert {len(column) for column in empty.values()} == {0}
    assert len(schema.pack(empty)) == 0
    assert len(Block.concat([])) == len(Block.of([])) == 0


MIXED = Schema({"cents": "i8", "name": "text", "day": "i4", "note": "text"})


def mixed(count: int) -> dict[str, Any]:
    return {
        "cents": np.arange(count, dtype=np.int64),
        "name": TextColumn.from_values(["x" * number for number in range(count)]),
        "day": np.arange(count, dtype=np.int32),
        "note": TextColumn.from_values(["note"] * count),
    }


def test_what_is_no_row_of_the_schema_is_refused() -> None:
    block = MIXED.pack(mixed(3))
    rows = block.rows()
    for bad in (rows[1][:-1], rows[1] + b"x", b"", rows[1][: MIXED.fixed.itemsize - 1]):
        with pytest.raises(ValueError, match="schema"):
            MIXED.unpack(Block.of([rows[0], bad, rows[2]]))
    for stops in ([1000], [-1], [10, 5, len(block.data)]):
        with pytest.raises(ValueError, match=r"schema|source|row"):
            MIXED.unpack(Block(block.data, np.array(stops, np.int64)))
    with pytest.raises(ValueError, match="schema"):
        PAIR.unpack(block)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cents": np.zeros(3, np.int32)}, "the column cents is int32, not i8"),
        ({"cents": np.zeros(3, np.float64)}, "the column cents is float64"),
        ({"day": np.zeros(1, np.int32)}, "not of one length"),
        ({"note": TextColumn.from_values(["a"])}, "not of one length"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MIXED.pack(mixed(3) | change)
    with pytest.raises(ValueError, match="columns are missing: day, note"):
        MIXED.pack({name: mixed(3)[name] for name in ("cents", "name")})


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Schema({"text": "text"})
    longest = TextColumn.from_values([b"", b"x" * TEXT_BYTES_MAX])
    assert text.unpack(text.pack({"text": longest}))["text"].lengths.tolist() == [0, TEXT_BYTES_MAX]
    with pytest.raises(OverflowError, match="TEXT_BYTES_MAX"):
        text.pack({"text": TextColumn.from_values([b"x" * (TEXT_BYTES_MAX + 1)])})
    block = MIXED.pack(mixed(3))
    monkeypatch.setattr(_rows, "BLOCK_BYTES_MAX", len(block.data) - 1)
    for call in (lambda: MIXED.unpack(block), lambda: block.take(slice(None)),
                 lambda: MIXED.pack(mixed(3))):  # fmt: skip
        with pytest.raises(OverflowError, match="BLOCK_BYTES_MAX"):
            call()
