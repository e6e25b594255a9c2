"""The folder sink: a file is moved to its receiver once, whole, and never over another."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from blake3 import blake3

from reassoc.stream import renaming
from reassoc.stream.sinks import (
    PARTIAL,
    BytesChangedError,
    Delivery,
    FolderSink,
    NameTakenError,
    Parcel,
    SinkError,
    Written,
)

NAME = "EAST_PAYER_000000001.x12"
DATA = b"ISA*00*" * 1000
WRITTEN = Written(len(DATA), blake3(DATA).digest())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    FolderSink(tmp_path / "released").make_ready()
    return tmp_path / "released"


def write_all(data: bytes = DATA) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        for start in range(0, len(data), 999):
            file.write(data[start : start + 999])

    return write


def hand_over(
    root: Path, parcel: Parcel, on_prepared: Callable[[Written], None] = lambda _: None
) -> Delivery:
    """Deliver one file as the releaser does."""
    sink = FolderSink(root)
    sink.prepare([parcel])
    if parcel.error is None and parcel.prepared is None:
        assert parcel.written is not None
        on_prepared(parcel.written)
    sink.deliver([parcel])
    if parcel.error is not None:
        raise parcel.error
    assert parcel.delivery is not None
    return parcel.delivery


def deliver(root: Path, data: bytes = DATA, prepared: Written | None = None) -> Delivery:
    told: list[Written] = []
    parcel = Parcel(NAME, "EAST", write_all(data), prepared)
    delivery = hand_over(root, parcel, told.append)
    assert told == ([] if prepared else [Written(len(data), blake3(data).digest())])
    return delivery


@pytest.fixture(params=["renameat2", "without"])
def rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.setattr(renaming, "_renameat2", None)


@pytest.mark.usefixtures("rename")
def test_a_file_is_moved_once(root: Path) -> None:
    assert deliver(root) is Delivery.MOVED
    assert (root / "EAST" / NAME).read_bytes() == DATA
    assert os.listdir(root / PARTIAL) == []
    assert deliver(root) is Delivery.FOUND
    assert deliver(root, prepared=WRITTEN) is Delivery.TAKEN
    (root / "EAST" / NAME).unlink()
    assert deliver(root, prepared=WRITTEN) is Delivery.TAKEN
    assert os.listdir(root / "EAST") == os.listdir(root / PARTIAL) == []


@pytest.mark.usefixtures("rename")
def test_another_file_of_the_name_is_never_replaced(root: Path) -> None:
    (root / "EAST").mkdir()
    other = root / "EAST" / NAME
    for make in (
        lambda: other.write_bytes(DATA[:-1]),
        lambda: other.write_bytes(b""),
        lambda: other.symlink_to(root / "elsewhere"),
        other.mkdir,
        lambda: os.mkfifo(other),
    ):
        make()
        before = other.lstat()
        with pytest.raises(NameTakenError) as caught:
            deliver(root)
        assert caught.value.code == errno.EEXIST
        with pytest.raises(NameTakenError):
            deliver(root, prepared=WRITTEN)
        assert other.lstat().st_ino == before.st_ino
        assert (root / PARTIAL / NAME).read_bytes() == DATA
        if other.is_dir():
            other.rmdir()
        else:
            other.unlink()
    assert deliver(root, prepared=WRITTEN) is Delivery.MOVED


def test_the_folder_is_synced_before_a_file_that_was_found_leaves_the_private_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, unlink = os.fsync, os.unlink

    def synced(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').resolve().name}")
        fsync(descriptor)

    def unlinked(name: str, *, dir_fd: int) -> None:
        steps.append("unlink")
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "unlink", unlinked)
    deliver(root)
    before = [f"sync {NAME}", "sync .partial", "sync released", "sync EAST"]
    assert steps == [*before, "sync .partial"]
    steps.clear()
    deliver(root)
    assert steps == [*before, "unlink", "sync .partial"]


def test_a_prepared_file_keeps_its_bytes(root: Path) -> None:
    partial = root / PARTIAL / NAME
    partial.write_bytes(b"torn")
    with pytest.raises(BytesChangedError):
        deliver(root, DATA + b"x", prepared=WRITTEN)
    assert partial.exists()
    assert not (root / "EAST").exists()
    assert deliver(root, prepared=WRITTEN) is Delivery.MOVED
    assert (root / "EAST" / NAME).read_bytes() == DATA


def test_what_fails_before_it_is_prepared_leaves_nothing(root: Path) -> None:
    def broken(file: BinaryIO) -> None:
        file.write(DATA)
        raise ValueError("content")

    with pytest.raises(ValueError, match="content"):
        hand_over(root, Parcel(NAME, "EAST", broken))
    assert os.listdir(root / PARTIAL) == []
    assert os.listdir(root) == [PARTIAL]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("visit", [1, 2, 3, 4, 5])
def test_a_sync_that_fails_is_an_error_and_the_retry_delivers(
    root: Path, visit: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Written] = []
    fsync, calls = os.fsync, 0

    def failing(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == visit:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    def go(prepared: Written | None) -> Delivery:
        return hand_over(root, Parcel(NAME, "EAST", write_all(), prepared), told.append)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(SinkError) as caught:
            go(None)
    assert caught.value.code == code
    assert len(told) == (0 if visit <= 2 else 1)
    delivery = go(told[0] if told else None)
    assert delivery is (Delivery.MOVED if visit <= 3 else Delivery.TAKEN)
    assert (root / "EAST" / NAME).read_bytes() == DATA
    assert told == [WRITTEN]


def test_folders_that_cannot_be_written(root: Path) -> None:
    (root / "EAST").write_bytes(b"in the way")
    with pytest.raises(SinkError, match="File exists"):
        deliver(root)
    (root / "EAST").unlink()
    assert deliver(root, prepared=WRITTEN) is Delivery.MOVED
    (root / PARTIAL).rmdir()
    with pytest.raises(SinkError, match="No such file"):
        deliver(root, prepared=WRITTEN)
    assert not FolderSink(root).is_ready()
    file = root / "file"
    file.write_bytes(b"")
    with pytest.raises(SinkError):
        FolderSink(file / "released").make_ready()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read(root: Path) -> None:
    (root / "EAST").mkdir(mode=0o500)
    with pytest.raises(SinkError, match="Permission denied"):
        deliver(root)
    (root / "EAST").chmod(0o700)
    assert deliver(root, prepared=WRITTEN) is Delivery.MOVED


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".partial", "a/b", "/etc", "a\0b", "-x", "a b", "\xe4", "x" * 201]
)
def test_unsafe_names_are_refused(root: Path, name: str) -> None:
    for names in ((name, "EAST"), (NAME, name)):
        with pytest.raises(SinkError, match="not safe"):
            hand_over(root, Parcel(*names, write_all()))
    assert os.listdir(root) == [PARTIAL]


def test_one_process_delivers_at_a_time(root: Path) -> None:
    holder = (
        "import fcntl, os, sys\n"
        "descriptor = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(descriptor, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(root / PARTIAL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(SinkError, match="another process"):
            deliver(root)
        child.communicate()
    assert deliver(root) is Delivery.MOVED


def test_only_its_owner_and_group_may_read_a_file(root: Path) -> None:
    deliver(root)
    assert (root / PARTIAL).stat().st_mode & 0o077 == 0
    assert (root / "EAST" / NAME).stat().st_mode & 0o137 == 0
