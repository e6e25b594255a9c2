"""Texts and rows by number: which are equal, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import _keys
from reassoc.core.columns import TextColumn
from reassoc.core.matching.texts import CUT_BYTES_MIN, hashes, numbers, one_is_cut
from reassoc.core.pool import text_parts

TEXTS = st.lists(st.binary(max_size=6) | st.text("01aA- \xe9", max_size=150).map(str.encode))


def _form(value: bytes, leading_zeros: bool) -> bytes:
    kept = bytes(c for c in value.upper() if c >= 0x80 or chr(c).isalnum())
    return kept if leading_zeros else kept.lstrip(b"0")


@given(TEXTS, st.booleans())
def test_numbers_of_texts(values: list[bytes], leading_zeros: bool) -> None:
    """Equal where letters and digits are, in any case; 0 where there are none."""
    column = TextColumn.from_values(values)
    found = numbers(column, leading_zeros=leading_zeros).tolist()
    hashed = hashes(column, leading_zeros=leading_zeros).tolist()
    seen: dict[bytes, int] = {b"": 0}
    forms = [_form(value, leading_zeros) for value in values]
    assert found == [seen.setdefault(form, len(seen)) for form in forms]
    assert [hash_ == 0 for hash_ in hashed] == [form == b"" for form in forms]
    assert len(set(zip(found, hashed, strict=True))) == len(set(found))


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 1) | st.just(2**63 - 1))))
def test_numbers_of_rows(rows: list[tuple[int, int]]) -> None:
    """Equal where all columns are, from 1 on."""
    columns = np.array(rows, np.int64).reshape(-1, 2)
    found = _keys.row_numbers([np.ascontiguousarray(column) for column in columns.T])
    seen: dict[tuple[int, int], int] = {}
    assert found.tolist() == [seen.setdefault(row, len(seen) + 1) for row in rows]


def test_rows_of_columns_that_do_not_fit() -> None:
    """Columns of different lengths, and more of them than there is room for."""
    with pytest.raises(ValueError, match="lengths"):
        _keys.row_numbers([np.zeros(2, np.int64), np.zeros(3, np.int64)])
    with pytest.raises(OverflowError, match="NUMBERED_COLUMNS_MAX"):
        _keys.row_numbers([np.zeros(2, np.int64)] * (_keys.NUMBERED_COLUMNS_MAX + 1))


@pytest.mark.parametrize(
    ("one", "other", "cut"),
    [
        ("12345678", "A-12345678", True),
        ("00012345678", "12345678-9", True),
        ("ab1234567", "AB 1234567 X", True),
        ("12345678", "A12345678B", False),
        ("12345678", "0012345678", False),
        ("1234567", "12345678", False),
        ("", "12345678", False),
        ("1" * 100, "1" * 101, False),
        ("1" * 99, "1" * 100, True),
    ],
)
def test_one_is_cut(one: str, other: str, cut: bool) -> None:
    """A proper start or end, either way round, long enough and not too long."""
    assert CUT_BYTES_MIN == 8
    column = TextColumn.from_values([one, other])
    rows = np.array([0, 1], np.int32)
    assert one_is_cut(column, rows, rows[::-1]).tolist() == [cut, cut]


def test_texts_outside_of_their_source() -> None:
    """References that point nowhere are refused, not read."""
    source, refs = text_parts(TextColumn.from_values(["12345678", "123456789"]))
    beyond = refs.copy()
    beyond[1, 1] += 1
    with pytest.raises(ValueError, match="outside"):
        _keys.text_numbers(source, beyond)
    with pytest.raises(ValueError, match="outside"):
        _keys.one_is_cut(source, refs, beyond, CUT_BYTES_MIN)
