"""The compiled 835 reader agrees with its plain twin, whatever the input, kernel and window."""

from __future__ import annotations

import io

import pytest
from corpus import Sample
from hypothesis import given, settings
from hypothesis import strategies as st
from x12_build import damaged, files, with_odd_values, wrapped
from x12_compare import compiled_rows, differences, twin_differences, whole_rows

from reassoc.core import _x12scan
from reassoc.core.reference import delimiter_offsets
from reassoc.core.x12_835 import iter_835


@given(files())
def test_sound_files(data: bytes) -> None:
    assert twin_differences(data) == []


@given(with_odd_values())
def test_odd_values(data: bytes) -> None:
    assert twin_differences(data) == []


@given(wrapped())
def test_wrapped_lines(data: bytes) -> None:
    assert twin_differences(data) == []


@given(damaged(wrapped()))
def test_damaged_wrapped_lines(data: bytes) -> None:
    assert twin_differences(data) == []


@settings(max_examples=12)  # the twin is slow
@given(files(), st.sampled_from([b" ", b"\0", b"\n", b"\r\n", b"\xef\xbb\xbf", b" \x1a\n"]))
def test_long_layout_between_and_behind_interchanges(data: bytes, fill: bytes) -> None:
    filled = (data + fill * (40_000 // len(fill))) * 2
    assert twin_differences(filled) == []
    whole = whole_rows(iter_835(filled, window_bytes=len(filled)))
    for window_bytes in (500, 20_000, 50_000):
        assert differences(whole_rows(iter_835(filled, window_bytes=window_bytes)), whole) == []


@given(damaged(files()))
def test_damaged_files(data: bytes) -> None:
    assert twin_differences(data) == []


@given(st.binary(max_size=400) | st.text("ISAGTEST*~:835 \n01", max_size=300).map(str.encode))
def test_noise(data: bytes) -> None:
    assert twin_differences(data) == []


@given(files() | damaged(files()), st.integers(1, 4000))
def test_windows_give_what_the_whole_gives(data: bytes, window_bytes: int) -> None:
    whole = compiled_rows(data)
    if isinstance(whole, dict):
        cut = whole_rows(iter_835(data, window_bytes=window_bytes))
        assert differences(cut, whole) == []


@given(files(), st.integers(1, 200))
def test_windows_of_a_stream_give_what_the_buffer_gives(data: bytes, window_bytes: int) -> None:
    cut = whole_rows(iter_835(io.BytesIO(data), window_bytes=window_bytes))
    assert differences(cut, whole_rows(iter_835(data, window_bytes=window_bytes))) == []


@pytest.mark.parametrize("kernel", _x12scan.kernels())
@given(data=st.binary(max_size=700), marks=st.tuples(st.integers(0, 255), st.integers(0, 255)))
def test_kernels_find_the_same_delimiters(kernel: str, data: bytes, marks: tuple[int, int]) -> None:
    if len(data) > 2:
        marks = (data[len(data) // 2], marks[1])
    offsets, ends = _x12scan.delimiter_offsets(data, *marks, kernel=kernel)
    assert (offsets.tolist(), ends.tolist()) == delimiter_offsets(data, *marks)


@pytest.mark.parametrize("kernel", _x12scan.kernels())
def test_kernels_at_any_alignment_and_length(kernel: str) -> None:
    data = (b"SVC*HC:99213*10*5~\n" * 30)[:513]
    for start in range(65):
        for stop in (start, start + 1, start + 63, start + 64, start + 65, 300, 513):
            piece = memoryview(data)[start:stop]
            offsets, ends = _x12scan.delimiter_offsets(piece, ord("*"), ord("~"), kernel=kernel)
            assert (offsets.tolist(), ends.tolist()) == delimiter_offsets(
                bytes(piece), ord("*"), ord("~")
            )


def test_every_sample(x12_samples: list[Sample]) -> None:
    told = {sample.name: twin_differences(sample.data) for sample in x12_samples}
    assert {name: text for name, text in told.items() if text} == {}


def test_every_sample_in_windows(x12_samples: list[Sample]) -> None:
    told = {}
    for sample in x12_samples:
        whole = compiled_rows(sample.data[:60000])
        for window_bytes in (1, 3, 100, 1000, 4096, 65536) if isinstance(whole, dict) else ():
            cut = whole_rows(iter_835(sample.data[:60000], window_bytes=window_bytes))
            told[sample.name, window_bytes] = differences(cut, whole)
    assert {name: text for name, text in told.items() if text} == {}
