"""Text columns and tables: values, slices, their own sources, Arrow."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from reassoc.core.columns import DATE_NONE, Table, TextColumn


def test_text_is_decoded_when_looked_at() -> None:
    source = "ab\r\ncdé".encode() + b"\xe9"
    refs = np.array([[0, 6], [6, 2], [8, 1], [0, 0]], np.uint32)
    column = TextColumn(source, refs)
    assert column.to_list() == ["abcd", "é", "é", ""]  # line wraps go; UTF-8, else Latin-1
    assert column.raw(0) == b"abcd"
    assert column[np.array([True, False, False, True])].to_list() == ["abcd", ""]
    assert column[1:].lengths.tolist() == [2, 1, 0]


def test_concat_and_compact_keep_values_and_drop_the_rest() -> None:
    one = TextColumn(b"..alpha....beta", np.array([[2, 5], [11, 4]], np.uint32))
    two = TextColumn.from_values(["", "gamma"])
    joined = TextColumn.concat([one, two])
    assert joined.to_list() == ["alpha", "beta", "", "gamma"]
    assert bytes(joined.source) == b"alphabetagamma"
    assert TextColumn.concat([]).to_list() == []


def test_refs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="uint32"):
        TextColumn(b"", np.zeros((1, 2), np.int64))


def make_table() -> Table:
    columns = {
        "paid_cents": np.array([120000, -410], np.int64),
        "date": np.array([20528, DATE_NONE], np.int32),
        "code": np.array([b"CO", b""], "S2"),
        "name": TextColumn.from_values(["RIVER", "CLINIC"]),
        "valid": np.array([True, False]),
    }
    kinds = {
        "paid_cents": "cents",
        "date": "date",
        "code": "code2",
        "name": "text",
        "valid": "flag",
    }
    return Table("claims", columns, kinds, dict.fromkeys(columns, "a column"))


def test_a_table_is_its_columns() -> None:
    table = make_table()
    assert len(table) == 2
    assert table.names == ["paid_cents", "date", "code", "name", "valid"]
    assert table.row(1) == {
        "paid_cents": -410,
        "date": None,
        "code": "",
        "name": "CLINIC",
        "valid": False,
    }
    assert table.take(np.array([1])).name.to_list() == ["CLINIC"]
    with pytest.raises(AttributeError, match="no column 'fee'"):
        _ = table.fee


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Table("t", {"a": np.zeros(1), "b": np.zeros(2)}, {}, {})


def test_arrow_has_types_and_no_value_for_no_date() -> None:
    pytest.importorskip("pyarrow")
    arrow = make_table().to_arrow()
    assert arrow.column("paid_cents").to_pylist() == [120000, -410]
    assert arrow.column("date").to_pylist() == [date(2026, 3, 16), None]
    assert arrow.column("code").to_pylist() == ["CO", ""]
    assert arrow.column("name").to_pylist() == ["RIVER", "CLINIC"]
    assert arrow.column("valid").to_pylist() == [True, False]


def test_values_of_a_compact_column_lie_one_behind_the_other() -> None:
    """Those of neighbours that refer to the same bytes, too: who cuts it relies on that."""
    refs = np.array([[4, 3], [4, 3], [0, 0], [0, 3], [0, 3]], np.uint32)
    compact = TextColumn(b"abcdefg", refs).compact()
    assert bytes(compact.source) == b"efgefgabcabc"
    assert compact.refs.tolist() == [[0, 3], [3, 3], [6, 0], [6, 3], [9, 3]]
    both = TextColumn.concat([compact, TextColumn(b"abcdefg", refs[:2])])
    assert both.to_list() == ["efg", "efg", "", "abc", "abc", "efg", "efg"]
