"""Packed rows: every kernel against the plainest way to do the same, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import _rows

MANY = 3_000
"""Rows of a call that lets go of the interpreter's lock."""
few_ids = st.lists(st.sampled_from([bytes([n]) * 16 for n in range(6)]), max_size=12)


def ids_of(values: list[bytes]) -> Any:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)


@given(few_ids, few_ids)
def test_ids_are_found_as_a_dict_finds_them(ids: list[bytes], wanted: list[bytes]) -> None:
    rows = {value: row for row, value in enumerate(ids)}
    found = _rows.find(ids_of(ids), ids_of(wanted))
    assert found.tolist() == [rows.get(value, -1) for value in wanted]


def test_ids_that_differ_in_one_bit_are_others() -> None:
    ids = np.zeros((129, 16), np.uint8)
    for bit in range(128):
        ids[bit + 1, bit // 8] = 1 << bit % 8
    assert _rows.find(ids, ids).tolist() == list(range(129))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[bytes], list[list[bytes]]]:
    """Numbers of rows of one width, and the texts of each."""
    count, width, texts = draw(st.integers(0, 5)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    numbers = st.lists(st.binary(min_size=width, max_size=width), min_size=count, max_size=count)
    values = st.lists(st.binary(max_size=4), min_size=texts, max_size=texts)
    return draw(numbers), draw(st.lists(values, min_size=count, max_size=count))


def table_of(numbers: list[bytes], texts: list[list[bytes]]) -> tuple[Any, Any, bytes]:
    """The arguments of the kernels; the source lies in another order than the rows."""
    lengths = [b"".join(len(text).to_bytes(2, "little") for text in row) for row in texts]
    fixed = [each + length for each, length in zip(numbers, lengths, strict=True)]
    width = len(fixed[0]) if fixed else 2
    refs = np.zeros((len(texts[0]) if texts else 1, len(fixed), 2), np.uint32)
    source = b"unused"
    for row in reversed(range(len(fixed))):
        for place, text in enumerate(texts[row]):
            refs[place, row] = len(source), len(text)
            source += text
    return np.frombuffer(b"".join(fixed), np.uint8).reshape(len(fixed), width), refs, source


@given(tables(), st.data())
def test_tables_are_taken_packed_and_cut(
    table: tuple[list[bytes], list[list[bytes]]], data: st.DataObject
) -> None:
    numbers, texts = table
    fixed, refs, source = table_of(numbers, texts)
    rows = [each.tobytes() + b"".join(row) for each, row in zip(fixed, texts, strict=True)]
    count = len(rows)
    packed, stops = _rows.pack(fixed, refs, source)
    assert packed == b"".join(rows)
    assert stops.tolist() == np.cumsum([len(row) for row in rows], dtype=int).tolist()
    again, again_refs = _rows.unpack(packed, stops, fixed.shape[1], len(refs))
    assert again.tolist() == fixed.tolist()
    assert _rows.pack(again, again_refs, packed)[0] == packed
    places = data.draw(st.lists(st.integers(0, count - 1), max_size=8)) if count else []
    some = np.array(places, np.int64)
    wanted = b"".join(rows[place] for place in places)
    assert _rows.block_take(packed, stops, some)[0] == wanted
    assert _rows.pack(*_rows.take(fixed, refs, some), source)[0] == wanted


def test_many_rows_are_as_few() -> None:
    fixed = np.arange(MANY * 8, dtype=np.uint8).reshape(MANY, 8)
    fixed[:, 6:] = [3, 0]
    refs = np.empty((1, MANY, 2), np.uint32)
    refs[0, :, 0], refs[0, :, 1] = np.arange(MANY) % 5, 3
    packed, stops = _rows.pack(fixed, refs, b"abcdefgh")
    again, again_refs = _rows.unpack(packed, stops, 8, 1)
    assert (again == fixed).all()
    back = np.arange(MANY)[::-1].copy()
    taken, taken_stops = _rows.block_take(packed, stops, back)
    assert (taken, taken_stops[-1]) == (_rows.pack(*_rows.take(again, again_refs, back), packed)[0],
                                        len(packed))  # fmt: skip
    ids = np.random.default_rng(1).integers(0, 256, (MANY, 16), np.uint8)
    assert (_rows.find(ids, ids[back]) == back).all()


def test_what_is_no_table_is_refused() -> None:
    fixed, refs, source = table_of([b"ab", b"cd"], [[b"x"], [b"y"]])
    packed, stops = _rows.pack(fixed, refs, source)
    for bad in (2, -1, 2**62):
        with pytest.raises(IndexError, match="none of a row"):
            _rows.take(fixed, refs, np.array([0, bad]))
        with pytest.raises(IndexError, match="none of a row"):
            _rows.block_take(packed, stops, np.array([bad]))
    with pytest.raises(ValueError, match="outside of its source"):
        _rows.pack(fixed, refs, source[:-1])
    with pytest.raises(ValueError, match="different lengths"):
        _rows.pack(fixed[:1].copy(), refs, source)
    with pytest.raises(ValueError, match="part of the numbers"):
        _rows.unpack(packed, stops, 1, 1)
    with pytest.raises(ValueError, match="shorter than its schema"):
        _rows.unpack(packed, stops, 6, 1)
    with pytest.raises(ValueError, match="not as long as"):
        _rows.unpack(packed + b"z", np.add(stops, [0, 1]), 4, 1)
    for bad_stops in ([5, 99], [5, 3], [-1, 5]):
        with pytest.raises(ValueError, match=r"outside of its source|shorter"):
            _rows.unpack(packed, np.array(bad_stops), 4, 1)
    for bad_stops in ([5, 99], [5, 3]):
        with pytest.raises(ValueError, match="outside of its source"):
            _rows.block_take(packed, np.array(bad_stops), np.array([0, 1]))
    with pytest.raises(ValueError, match="16 bytes"):
        _rows.find(np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.uint8))


keys = st.lists(st.integers(0, 2**64 - 1), max_size=3)
records = st.lists(st.tuples(st.integers(0, 255), keys, st.binary(max_size=5)), max_size=5)


@given(records)
def test_records_are_put_together_and_taken_apart(
    rows: list[tuple[int, list[int], bytes]],
) -> None:
    kinds = np.array([kind for kind, _, _ in rows], np.uint8)
    flat = np.array([key for _, some, _ in rows for key in some], np.uint64)
    stops = np.cumsum([len(some) for _, some, _ in rows], dtype=np.int64)
    values = _rows.values(kinds, flat, stops, [body for _, _, body in rows])
    assert values == [
        bytes([kind])
        + len(some).to_bytes(2, "little")
        + b"".join(key.to_bytes(8, "little") for key in some)
        + body
        for kind, some, body in rows
    ]
    again = _rows.split_values(values)
    assert [part.tolist() for part in again[:3]] == [p.tolist() for p in (kinds, flat, stops)]
    assert again[3] == [body for _, _, body in rows]


def test_what_is_no_record_is_refused() -> None:
    one, key = np.ones(1, np.uint8), np.ones(1, np.uint64)
    for stops in ([2], [-1], [70_000]):
        with pytest.raises(ValueError, match="keys of a record"):
            _rows.values(one, key, np.array(stops), [b""])
    for bodies in ([], [b"", b""]):
        with pytest.raises(ValueError, match="different lengths"):
            _rows.values(one, key, np.array([1]), bodies)
    for value in (b"", b"\1\0", b"\1\1\0short"):
        with pytest.raises(ValueError, match="shorter than its keys"):
            _rows.split_values([value])
