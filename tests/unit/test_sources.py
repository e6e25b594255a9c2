"""What the inputs of a run are, what they are called, and what of them can be read."""

from __future__ import annotations

import gzip
import io
import os
import re
import time
import zipfile
from pathlib import Path
from random import Random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from small_feed import Entry, Marks, ach_file, interchange, remittance

from reassoc.stream import contents, kinds, outputs, sources
from reassoc.stream.contents import open_content
from reassoc.stream.kinds import Kind, kind_of
from reassoc.stream.sources import Source, SourceError, discover

X12 = interchange(remittance("T1", 100))
ACH = ach_file(Entry(100, "T1"))
CTX = ach_file(Entry(100, payload=X12), Entry(100, payload=X12))
BARS = Marks("|", ">", "\n")
TRUTH = b"remit_file,remit_ordinal,payment_file,payment_ordinal,payment_trace,case\n"


def zipped(method: int = zipfile.ZIP_DEFLATED, /, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return out.getvalue()


def names(found: sources.Discovery) -> list[str]:
    return [source.name for source in found.sources]


def read(source: Source) -> tuple[bytes, bytes]:
    with open_content(source) as content:
        stream = content.stream
        data = stream.read() if stream is not None else bytes(content.data or b"")
        return data, content.finish()[0]


def test_names_are_relative_sorted_and_expand_archives(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.835").write_bytes(X12)
    (tmp_path / "b" / "1.txt").write_bytes(gzip.compress(ACH))
    (tmp_path / "a.zip").write_bytes(zipped(y=X12, sub__x=gzip.compress(ACH)))
    found = discover([tmp_path])
    assert names(found) == ["a.zip!sub/x", "a.zip!y", "b/1.txt", "b/2.835"]
    assert [read(source) for source in found.sources] == [
        (data, blake3(data).digest()) for data in (ACH, X12, ACH, X12)
    ]
    assert names(discover([tmp_path / "b" / "2.835"])) == ["2.835"]


def test_what_a_killed_run_left_is_never_input(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial-4711-0123abcd" / "released"
    left.mkdir(parents=True)
    (left / "R_S_000000001.x12").write_bytes(X12)
    (tmp_path / ".out.partial-x").write_bytes(X12)
    found = discover([tmp_path])
    assert names(found) == [".out.partial-x"]
    assert [problem.name for problem in found.passed_over] == [".out.partial-4711-0123abcd"]
    with outputs.whole_or_nothing(tmp_path / "out") as private:
        assert sources.UNFINISHED.fullmatch(private.name)


def test_a_file_reached_twice_is_read_once_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(X12)
    (tmp_path / "two" / "y").write_bytes(ACH)
    found = discover([tmp_path / "one", tmp_path / "two", tmp_path / "two" / "x"])
    one, two = (printed.as_posix() for printed in (tmp_path / "one" / "x", tmp_path / "two" / "x"))
    assert names(found) == [one, two, "y"]


def test_the_output_and_earlier_runs_are_never_input(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(X12)
    for folder in ("out", "earlier"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "y").write_bytes(X12)
    for mark in sources.RUN_MARKS:
        (tmp_path / "earlier" / mark).write_bytes(b"")
    found = discover([tmp_path], exclude=[tmp_path / "out"])
    assert names(found) == ["x"]
    assert [problem.name for problem in found.passed_over] == ["earlier"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (X12, Kind.X12),
        (b"\xef\xbb\xbf\r\n " + X12, Kind.X12),
        (b"Content-Type: text/plain\r\n\r\n" + X12, Kind.X12),
        (remittance("T", 1), Kind.X12),
        (interchange(remittance("T", 1, marks=BARS), marks=BARS), Kind.X12),
        (ACH, Kind.ACH),
        (ACH.replace(b"\n", b""), Kind.ACH),
        (ACH.replace(b"\n", b"\r\n"), Kind.ACH),
        (ACH.replace(b"\n", b"  *\n"), Kind.ACH),
        (CTX.replace(b"\n", b" *\r\n"), Kind.ACH),
        (CTX.replace(b"\n", b" 00000017" * 10 + b"\n"), Kind.ACH),
        (CTX.replace(b"\n", b""), Kind.ACH),
        (b"\n\n" + ACH[95:], Kind.ACH),
        (ACH[190:], Kind.ACH),
        (b"", Kind.EMPTY),
        (b" \r\n", Kind.EMPTY),
        (b"01,BANK,ME,260316,1200,1,80,10,2/\n", Kind.BAI2),
        (TRUTH, Kind.OWN_TABLE),
        (b"Dear ISAAC, STanding orders follow.\n", Kind.UNKNOWN),
        (b"101,5,7\n6,5,4\n", Kind.UNKNOWN),
        (X12.decode().encode("utf-16"), Kind.UNKNOWN),
        (b"min_days = " + b"2" * 5000, Kind.UNKNOWN),
        (zipped(x=X12), Kind.ARCHIVE),
    ],
)  # fmt: skip
def test_kind_comes_from_content(data: bytes, kind: Kind) -> None:
    assert kind_of(data) is kind


@pytest.mark.parametrize("text", [b"a." * 32_000 + b"a = 1\n", b"[" + b"a." * 32_000 + b"a]\n"])
def test_a_key_of_many_parts_takes_no_time(text: bytes) -> None:
    began = time.process_time()
    assert kind_of(text) is Kind.UNKNOWN
    assert kind_of((b"x = {" + b"a." * 90 + b"a = 1}\n") * 330) is Kind.UNKNOWN
    assert time.process_time() - began < 5


_BEGINNINGS = (
    b"101 12",
    b"5200",
    b"622123456",
    b"705",
    b"8200000001",
    b"9000001",
    b"99999",
    b"ISA*",
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(_BEGINNINGS),
            st.sampled_from([0, 20, 24, 26, 84, 85, 88, 94]),
            st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b""]),
        ),
        max_size=16,
    )
)
def test_ach_is_told_at_once_as_line_by_line(lines: list[tuple[bytes, int, bytes]]) -> None:
    text = b"".join(begin + b"0" * count + end for begin, count, end in lines)
    at_once = kinds._is_ach(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "_ACH_LINES_AT_ONCE", re.compile(rb"(?!)"))
        assert kinds._is_ach(text) == at_once


def test_most_ach_files_are_told_at_once() -> None:
    assert kinds._ACH_LINES_AT_ONCE.match(ACH)


def damaged(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "bad").write_bytes(data)
    found = discover([tmp_path / "bad"])
    if found.unreadable:
        return found.unreadable[0].reason
    with pytest.raises(SourceError) as caught:
        read(found.sources[0])
    return str(caught.value)


def test_damaged_containers_say_so(tmp_path: Path) -> None:
    packed = gzip.compress(X12 * 50)
    assert "damaged or cut off" in damaged(tmp_path, packed[:-9])
    assert "damaged or cut off" in damaged(tmp_path, packed[:40] + b"\0\0\0\0" + packed[44:])
    archive = zipped(x=X12 * 50)
    assert "damaged zip archive" in damaged(tmp_path, archive[:100])
    flipped = bytearray(archive)
    flipped[60] ^= 0xFF
    assert "damaged" in damaged(tmp_path, bytes(flipped))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_damage_of_every_method_of_zip_says_so(tmp_path: Path, method: int, share: float) -> None:
    random = Random(7)
    archive = bytearray(zipped(method, x=X12 * 50 + random.randbytes(2 << 20)))
    at = 31 + int(share * len(archive))
    archive[at : at + 40] = bytes(40)
    assert "damaged" in damaged(tmp_path, bytes(archive))
    archive = bytearray(zipped(method, x=X12 * 50))
    for at in range(40, 60):
        archive[at] ^= 0xA5
    assert "damaged" in damaged(tmp_path, bytes(archive))


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "RATIO_FREE_BYTES", 1 << 20)
    reason = damaged(tmp_path, gzip.compress(b"ISA" + bytes(8 << 20)))
    assert "RATIO_MAX" in reason
    assert "RATIO_MAX" in damaged(tmp_path, zipped(x=b"ISA" + bytes(8 << 20)))


def test_a_file_that_changes_while_it_is_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(X12)
    (source,) = discover([path]).sources
    with pytest.raises(SourceError, match="changed while"), open_content(source):
        path.write_bytes(X12 + b"\n")


def test_what_is_no_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    reasons = {problem.name: problem.reason for problem in discover([tmp_path]).unreadable}
    assert set(reasons) == {"pipe", "dangling"}
    with pytest.raises(SourceError, match="no such file"):
        discover([tmp_path / "nowhere"])
