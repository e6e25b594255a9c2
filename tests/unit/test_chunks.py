"""Parts of files: where they are cut, what a head must be, and messages of those who send none."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import msgspec
import pytest
from ach_build import Batch, Entry, ach_file
from feeding import NAME, by_file, by_parts, messages_of, planned, put_together, read
from small_feed import interchange, remittance

from reassoc.stream import chunks
from reassoc.stream.message import (
    HEAD_BYTES_MAX,
    HEADER,
    HeadError,
    PartHead,
    RawMessage,
    decode_head,
    encode_head,
    head_of,
)
from reassoc.stream.message_inputs import INPUT_BYTES_MAX

X12 = interchange(*(remittance(f"T{n}", 700 + n, control=f"{n:04}") for n in range(20)))


def test_a_file_that_fits_is_one_part_without_manifest() -> None:
    made = planned(X12, len(X12))
    assert [(part.start, part.stop, part.envelope) for part in made.parts] == [(0, len(X12), b"")]
    assert made.manifest is None


def test_parts_are_as_large_as_they_may_be_and_hold_no_more_items_than_they_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = len(remittance("T0", 700, control="0001"))
    sizes = [part.stop - part.start for part in planned(X12, 5 * size).parts]
    assert all(4 * size < each <= 5 * size for each in sizes[:-1])
    monkeypatch.setattr(chunks, "PART_ITEMS_MAX", 3)
    assert max(sum(part.run_counts) for part in planned(X12, 5 * size).parts) == 3


def test_a_wrong_total_at_a_files_end_makes_the_items_of_all_its_parts_invalid(
    tmp_path: Path,
) -> None:
    data = X12.replace(b"GE*20*", b"GE*21*")
    parts, made = by_parts(data, 1000, tmp_path)
    assert parts == by_file(data, tmp_path)
    assert len(made.parts) > 5
    assert b"X12_GE_COUNT" in made.findings


def test_the_order_of_traces_is_not_lost_between_parts(tmp_path: Path) -> None:
    entries = [Entry(trace=trace) for trace in (5, 6, 7, 5)]
    data = ach_file([Batch(entries)]).replace(b"091000010000007", b"0910000100000X7")
    parts, _ = by_parts(data, 1, tmp_path)
    assert parts == by_file(data, tmp_path)
    assert any(b"ACH_TRACE_ORDER" in line for line in parts.findings)


def test_a_header_that_cannot_be_meant_is_refused() -> None:
    (head, *_) = planned(X12, 1000).parts
    data = encode_head(head)
    wrong = [
        b"",
        data[:-1],
        data.replace(b"part1", b"part9"),
        bytes(HEAD_BYTES_MAX + 1),
        *(
            encode_head(msgspec.structs.replace(head, **{name: value}))
            for name, value in (
                ("digest", b"short"),
                ("kind", "EMPTY"),
                ("part", head.part_count),
                ("stop", head.byte_count + 1),
                ("payments", -1),
                ("run_bits", b"\7\7\7"),
            )
        ),
    ]
    assert decode_head(data) == head
    for each in wrong:
        with pytest.raises(HeadError):
            decode_head(each)


def test_bytes_that_are_not_those_of_their_header_give_nothing(tmp_path: Path) -> None:
    first, second, *_ = messages_of(planned(X12, 1000), X12)
    head = head_of(first)
    assert isinstance(head, PartHead)
    (whole,) = messages_of(planned(X12), X12)
    fewer = first.value[: -len(remittance("T1", 701))]
    shorter = msgspec.structs.replace(head, stop=head.start + len(fewer))
    messages = [
        RawMessage(first.value[:-1], first.headers, "place"),
        RawMessage(whole.value.replace(b"T1*", b"T2*"), whole.headers, "place"),
        RawMessage(fewer, [(HEADER, encode_head(shorter))], "place"),
        RawMessage(b"", [(HEADER, b"?")], "place"),
        second,
    ]
    found = read(messages, tmp_path)
    assert [bool(part.reason) for part in found] == [True, True, True, True, False]
    assert [len(part.remittances) for part in found[:4]] == [0, 0, 0, 0]
    assert len(found[4].remittances)


def test_messages_without_header_are_whole_inputs_also_compressed_ones(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one", X12)
        archive.writestr("two", gzip.compress(X12))
    values = [X12, gzip.compress(X12), packed.getvalue(), b"neither this nor that", b""]
    found = read([RawMessage(value, [], NAME) for value in values], tmp_path)
    assert [part.message for part in found] == [0, 1, 2, 2, 3, 4]
    whole = by_file(X12, tmp_path)
    assert [put_together([part]).remittances for part in found[:4]] == [whole.remittances] * 4
    assert [part.head.name for part in found[2:4]] == [f"{NAME}!one", f"{NAME}!two"]
    assert all(part.reason for part in found[4:])


def test_a_message_that_grows_beyond_its_limit_is_refused(tmp_path: Path) -> None:
    value = gzip.compress(bytes(INPUT_BYTES_MAX + 1))
    (part,) = read([RawMessage(value, [], NAME)], tmp_path)
    assert "MAX" in part.reason


def test_what_a_part_gave_shows_nothing_of_a_person(tmp_path: Path) -> None:
    (part,) = read([RawMessage(X12, [], NAME)], tmp_path)
    assert repr(part) == "<PartItems of message 0: 20 remittances, 0 payments>"
