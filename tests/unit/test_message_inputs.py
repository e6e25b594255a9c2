"""Raw messages of producers that know nothing of heads: what is damaged costs only itself."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from small_feed import Entry, ach_file, interchange, remittance

from reassoc.stream import message_inputs
from reassoc.stream.message import RawMessage
from reassoc.stream.part_items import PartItems
from reassoc.stream.read_message import read_parts
from reassoc.stream.routing import Router

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
FILES = [interchange(remittance(f"T{n}", 700 + n), number=n) * 50 for n in range(1, 4)]


def read(folder: Path, *values: bytes) -> list[PartItems]:
    messages = [RawMessage(value, (), f"raw/0@{row}") for row, value in enumerate(values)]
    parts = read_parts(messages, router=Router(None), scratch=folder)
    return sorted(parts, key=lambda part: part.head.name)


def zipped(method: int, files: Sequence[bytes] = FILES) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number, data in enumerate(files):
            archive.writestr(f"f{number}", data)
    return out.getvalue()


def counts_of(parts: Sequence[PartItems]) -> list[int]:
    return [len(part.remittances) for part in parts]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_member_costs_only_itself(tmp_path: Path, method: int, packed: bool) -> None:
    files = [gzip.compress(data, mtime=0) for data in FILES] if packed else FILES
    archive = bytearray(zipped(method, files))
    assert counts_of(read(tmp_path, bytes(archive))) == [50, 50, 50]
    second = archive.index(b"PK\x03\x04", 4)
    for at in range(second + 45, second + 75):
        archive[at] ^= 0xA5
    parts = read(tmp_path, bytes(archive), FILES[0])
    assert counts_of(parts) == [50, 0, 50, 50]
    assert "damaged" in parts[1].reason
    assert parts[1].head.name == "raw/0@0!f1"


@pytest.mark.parametrize("method", METHODS)
def test_no_damage_stops_the_reading(tmp_path: Path, method: int) -> None:
    whole, random = zipped(method), Random(method)
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(random.choice((1, 2, 4))):
            data[random.randrange(4, len(data))] = random.randrange(256)
        parts = read(tmp_path, bytes(data), FILES[0])
        assert counts_of(parts)[-1] == 50
        assert not any("internal error" in part.reason for part in parts)


def test_what_was_unpacked_of_damaged_members_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_inputs, "INPUT_BYTES_MAX", 3 << 20)
    cut = gzip.compress(b"ISA*" + b" " * (3 << 20))[:-9]
    parts = read(tmp_path, zipped(zipfile.ZIP_STORED, [cut, cut, FILES[0]]))
    assert [part.reason[:15] for part in parts] == ["INPUT_BYTES_MAX", "compressed data"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_fault_of_ours_costs_only_its_input(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_by = message_inputs.told_by

    def failing(name: str, head: bytes, layouts: Sequence[object]) -> object:
        if b"T2" in head:
            raise ZeroDivisionError("a secret value")
        return told_by(name, head, layouts)

    monkeypatch.setattr(message_inputs, "told_by", failing)
    parts = read(tmp_path, *([zipped(zipfile.ZIP_DEFLATED)] if packed else FILES))
    assert counts_of(parts) == [50, 0, 50]
    assert parts[1].reason.startswith("internal error")
    assert "secret" not in parts[1].reason


def test_a_head_that_cannot_be_judged_costs_only_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_of = message_inputs.head_of

    def failing(message: RawMessage) -> object:
        if message.place.endswith("@1"):
            raise ZeroDivisionError("a secret value")
        return head_of(message)

    monkeypatch.setattr(message_inputs, "head_of", failing)
    parts = read(tmp_path, *FILES)
    assert counts_of(parts) == [50, 0, 50]
    assert parts[1].reason.startswith("internal error")


def test_text_with_a_number_that_python_does_not_convert_is_unknown(tmp_path: Path) -> None:
    parts = read(tmp_path, b"x = " + b"2" * 5000, FILES[0])
    assert "neither X12" in parts[0].reason
    assert counts_of(parts) == [0, 50]


def test_a_small_message_of_millions_of_lines_is_refused_and_no_other(tmp_path: Path) -> None:
    sound = ach_file(Entry(700, "T1"))
    hostile = gzip.compress(sound + b"6\n" * (1 << 20))
    parts = read(tmp_path, hostile, sound)
    assert [len(part.payments) for part in parts] == [0, 1]
    assert "ask the sender for it again" in parts[0].reason
    spaced = sound.replace(b"\n", b"\n\n\n")
    assert [len(part.payments) for part in read(tmp_path, spaced)] == [1]
