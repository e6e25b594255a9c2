"""Single files that commands write."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reassoc.stream.outputs import OutputError, whole_file


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "open.csv"
    with whole_file(path) as out:
        out.write(b"first")
    with pytest.raises(ValueError, match="in between"):
        _half_of(path)
    assert path.read_bytes() == b"first"
    with whole_file(path) as out:
        out.write(b"third")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["open.csv"]


def _half_of(path: Path) -> None:
    with whole_file(path) as out:
        out.write(b"second")
        raise ValueError("in between")


def test_links_and_pipes_are_written_into(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with whole_file(link) as out:
        out.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with whole_file(pipe) as out:
        out.write(b"through")
    reader.join(10)
    assert got == [b"through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", [".", "/", "there", "not/there.csv"])
def test_what_cannot_be_written_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    path = Path(name) if name in "./" else tmp_path / name
    with pytest.raises(OutputError, match="cannot be written: "), whole_file(path) as out:
        out.write(b"x")


def test_a_terminal_that_is_full_is_said() -> None:
    program = (
        "from pathlib import Path\n"
        "from reassoc.stream.outputs import OutputError, whole_file\n"
        "try:\n"
        "    with whole_file(Path('-')) as out:\n"
        "        out.write(b'x')\n"
        "except OutputError as error:\n"
        "    raise SystemExit(str(error))\n"
    )
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert b"the terminal: cannot be written: No space left on device" in ended.stderr
