"""The parts of a file together are the file, whatever its form, its faults, and their size."""

from __future__ import annotations

from pathlib import Path

import pytest
from ach_build import Batch, Entry, ach_file, ctx_slices
from corpus import Sample
from feeding import NAME, by_file, by_parts, manifest_of, put_together, read, said
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_feed import interchange, remittance
from x12_build import damaged, files, with_odd_values, wrapped

from reassoc.core.errors import ParseError
from reassoc.stream.message import RawMessage
from reassoc.stream.sources import SourceError

PART_SIZES = st.integers(1, 4000) | st.sampled_from([120, 500, 1000])
settings_of_law = settings(suppress_health_check=list(HealthCheck))


def check_law(data: bytes, part_bytes: int, scratch: Path) -> int:
    """Parts and manifest together are the file; how many parts there were."""
    whole = by_file(data, scratch)
    try:
        parts, made = by_parts(data, part_bytes, scratch)
    except (SourceError, ParseError):
        assert whole.reason
        return 0
    assert parts == whole
    assert b"".join(data[part.start : part.stop] for part in made.parts) == data
    if made.manifest is not None:
        assert said(made.manifest) == manifest_of(whole)
        assert made.manifest.part_count == len(made.parts)
    return len(made.parts)


@settings_of_law
@given(files(), PART_SIZES)
def test_parts_of_a_sound_835_file_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, part_bytes: int
) -> None:
    check_law(data, part_bytes, tmp_path_factory.getbasetemp())


@settings_of_law
@given(damaged(files()) | with_odd_values() | wrapped(), PART_SIZES)
def test_parts_of_a_damaged_835_file_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, part_bytes: int
) -> None:
    check_law(data, part_bytes, tmp_path_factory.getbasetemp())


@st.composite
def ach_inputs(draw: st.DrawFn) -> bytes:
    """One or more ACH files; some records of them changed, lost or doubled."""
    data = b""
    for _ in range(draw(st.integers(1, 2))):
        batches = draw(st.lists(ach_batches(), max_size=3))
        data += ach_file(batches, draw(st.sampled_from(["\n", "\r\n", ""])))
    return data


@st.composite
def ach_batches(draw: st.DrawFn) -> Batch:
    sec = draw(st.sampled_from(["CCD", "CTX", "PPD", "COR"]))
    return Batch(draw(st.lists(ach_entries(sec), max_size=4)), sec)


@st.composite
def ach_entries(draw: st.DrawFn, sec: str) -> Entry:
    texts = draw(st.lists(st.sampled_from(["TRN*1*T1*1234567890~", "NOTE"]), max_size=1))
    if sec == "CTX" and draw(st.booleans()):
        sets = [remittance(f"T{n}", 700 + n) for n in range(draw(st.integers(1, 2)))]
        payload = interchange(*sets, sender=draw(st.sampled_from(["ONE", "OTHER"])))
        texts = ctx_slices(payload.decode())
    code = draw(st.sampled_from([22, 27, 32, 23, 21]))
    trace = draw(st.sampled_from([0, 0, 0, 5]))
    return Entry(draw(st.integers(0, 99999)), code, texts, trace=trace)


@settings_of_law
@given(ach_inputs(), PART_SIZES)
def test_parts_of_an_ach_file_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, part_bytes: int
) -> None:
    check_law(data, part_bytes, tmp_path_factory.getbasetemp())


@settings_of_law
@given(damaged(ach_inputs()), PART_SIZES)
def test_parts_of_a_damaged_ach_file_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, part_bytes: int
) -> None:
    check_law(data, part_bytes, tmp_path_factory.getbasetemp())


def test_an_ach_file_that_was_cut_off_anywhere_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    data = ach_file([Batch([Entry(700), Entry(800, texts=["TRN*1*T1*1234567890~"])])])
    for stop in range(230, 700, 3):
        assert not by_file(data[:stop], tmp_path).reason
        check_law(data[:stop], 200, tmp_path)


@settings_of_law
@given(st.lists(files() | damaged(files()) | ach_inputs() | damaged(ach_inputs()), max_size=6))
def test_whole_files_that_are_read_together_are_what_each_is_alone(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    scratch = tmp_path_factory.getbasetemp()
    messages = [RawMessage(data, [], NAME) for data in contents]
    together = read(messages, scratch)
    assert [part.message for part in together] == list(range(len(contents)))
    for data, part in zip(contents, together, strict=True):
        assert put_together([part]) == by_file(data, scratch)


@pytest.mark.parametrize("part_bytes", [300, 3000, 100_000])
def test_parts_of_sample_835s_are_the_files(
    tmp_path: Path, x12_samples: list[Sample], part_bytes: int
) -> None:
    assert sum(check_law(one.data, part_bytes, tmp_path) > 1 for one in x12_samples) > 5


@pytest.mark.parametrize("part_bytes", [300, 3000])
def test_parts_of_sample_ach_files_are_the_files(
    tmp_path: Path, ach_samples: list[Sample], part_bytes: int
) -> None:
    plain = [one for one in ach_samples if not one.name.endswith(".gz")]
    assert sum(check_law(one.data, part_bytes, tmp_path) > 1 for one in plain) > 3
