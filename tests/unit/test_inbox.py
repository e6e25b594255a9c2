"""Which files of the inbox are complete, and where they go."""

from __future__ import annotations

import ctypes
import io
import os
import zipfile
from datetime import date
from pathlib import Path

import pytest

from reassoc.stream import inbox as inbox_module
from reassoc.stream import renaming
from reassoc.stream.contents import close_archives, open_content
from reassoc.stream.inbox import NAME_BYTES_MAX, SETTLE_SECONDS, Inbox, InboxError, Look
from reassoc.stream.sources import SourceError

DAY = date(2026, 3, 16)
T0 = 1_773_600_000.0


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def put(inbox: Inbox, name: str, data: bytes = b"ISA", at_s: float = T0) -> Path:
    path = inbox.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (at_s, at_s))
    return path


def names(look: Look) -> list[str]:
    return [one.name for one in look.ready]


def under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


FUTURE = T0 + 9999
"""The time of files whose clock is ahead of ours: only two looks can tell whether they change."""


def test_a_file_is_complete_when_it_has_not_changed_between_two_looks(inbox: Inbox) -> None:
    path = put(inbox, "b/x.835", at_s=FUTURE)
    assert inbox.settle(T0 + 1) == Look(waiting=1)
    assert inbox.settle(T0 + SETTLE_SECONDS) == Look(waiting=1)
    assert names(inbox.settle(T0 + 1 + SETTLE_SECONDS)) == ["b/x.835"]
    for number, change in enumerate((b"ISA*", b"ISA+")):  # it grows; it is written anew
        path.write_bytes(change)
        os.utime(path, (FUTURE + number + 1,) * 2)
        assert inbox.settle(T0 + 20) == Look(waiting=1)
        assert names(inbox.settle(T0 + 20 + SETTLE_SECONDS)) == ["b/x.835"]


def test_another_file_under_the_same_name_starts_anew(inbox: Inbox) -> None:
    put(inbox, "x", at_s=FUTURE)
    inbox.settle(T0)
    other = put(inbox, ".other", at_s=FUTURE)
    other.rename(inbox.inbox / "x")
    assert inbox.settle(T0 + SETTLE_SECONDS).waiting == 1


def test_a_clock_that_is_set_back_does_not_block(inbox: Inbox) -> None:
    put(inbox, "x")
    inbox.settle(T0 + 10_000)
    assert inbox.settle(T0).waiting == 1
    assert names(inbox.settle(T0 + SETTLE_SECONDS)) == ["x"]


def test_old_files_are_taken_at_once_and_young_ones_when_they_settle(inbox: Inbox) -> None:
    put(inbox, "old", at_s=T0 - SETTLE_SECONDS)
    put(inbox, "young", at_s=T0 - 1)
    put(inbox, "from_the_future", at_s=T0 + 9999)
    first = inbox.settle(T0)
    assert (names(first), first.waiting) == (["old"], 2)
    last = inbox.settle(T0 + SETTLE_SECONDS)
    assert names(last) == ["from_the_future", "old", "young"]


def test_what_is_still_written_is_not_looked_at(inbox: Inbox) -> None:
    for name in (".x", "x.part", "x.PARTIAL", "x.tmp", "x.filepart", ".hidden/x", "a.part/y"):
        put(inbox, name, at_s=T0 - 100)
    assert names(inbox.settle(T0)) == ["a.part/y"]


def test_archives_are_their_members_under_names_relative_to_the_inbox(inbox: Inbox) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good", b"ISA" * 99)
        archive.writestr("bad", b"GS*" * 99)
    data = bytearray(out.getvalue())
    at = data.index(b"bad") + 6
    data[at : at + 4] = b"\xff\xff\xff\xff"
    put(inbox, "p/a.zip", bytes(data), T0 - 100)
    put(inbox, "p/b.zip", bytes(data)[:50], T0 - 100)
    good, broken = inbox.settle(T0).ready
    assert [source.name for source in good.sources] == ["p/a.zip!bad", "p/a.zip!good"]
    with pytest.raises(SourceError), open_content(good.sources[0]) as content:
        content.finish()
    with open_content(good.sources[1]) as content:
        assert content.finish()[1] == 297
    close_archives()
    assert broken.sources == ()
    assert [problem.name for problem in broken.problems] == ["p/b.zip"]


def test_places_that_cannot_be_read_are_told_and_block_nothing(inbox: Inbox) -> None:
    put(inbox, "good", at_s=T0 - 100)
    (inbox.inbox / "link").symlink_to(inbox.inbox / "good")
    os.mkfifo(inbox.inbox / "pipe")
    look = inbox.settle(T0)
    assert names(look) == ["good"]
    assert {problem.name for problem in look.problems} == {"link", "pipe"}


def test_missing_permissions_are_told_and_not_fatal(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "secret", "locked/x"):
        put(inbox, name, at_s=T0 - 100)
    scan, read = os.scandir, Path.open

    def refuse(name: str) -> None:
        if name in ("secret", "locked"):
            raise PermissionError(13, "Permission denied")

    def scandir(folder: Path) -> object:
        refuse(folder.name)
        return scan(folder)

    def open_path(path: Path, mode: str) -> object:
        refuse(path.name)
        return read(path, mode)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "open", open_path)
    look = inbox.settle(T0)
    assert names(look) == ["good"]
    assert {(problem.name, problem.reason) for problem in look.problems} == {
        (name, "cannot be looked at: Permission denied") for name in ("secret", "locked")
    }


def test_a_look_is_bounded(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "LOOK_FILES_MAX", 3)
    monkeypatch.setattr(inbox_module, "DEPTH_MAX", 2)
    paths = [put(inbox, f"{number}", at_s=T0 - 100) for number in range(5)]
    put(inbox, "a/b/c/d", at_s=T0 - 100)
    look = inbox.settle(T0)
    assert (names(look), look.is_cut) == (["0", "1", "2"], True)
    for path in paths:
        inbox.move_done(path, DAY)
    look = inbox.settle(T0)
    assert (names(look), look.is_cut) == ([], False)
    assert [problem.name for problem in look.problems] == ["a/b/c"]


def test_done_files_keep_their_place_and_empty_folders_go(inbox: Inbox) -> None:
    one, other = put(inbox, "p/q/x", b"1"), put(inbox, "p/y", b"2")
    assert inbox.move_done(one, DAY) == inbox.done / "2026-03-16/p/q/x"
    assert under(inbox.inbox) == ["p", "p/y"]
    inbox.move_done(other, DAY)
    assert under(inbox.inbox) == []
    assert inbox.inbox.is_dir()
    assert (inbox.done / "2026-03-16/p/q/x").read_bytes() == b"1"


@pytest.mark.parametrize("in_one_step", [True, False])
def test_nothing_is_ever_overwritten(
    inbox: Inbox, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:
        monkeypatch.setattr(renaming, "_renameat2", None)
    taken = inbox.done / "2026-03-16" / "x.3"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody's")
    long = "y" * NAME_BYTES_MAX
    moved = [inbox.move_done(put(inbox, "x", b"%d" % n), DAY) for n in range(20)]
    moved += [inbox.move_done(put(inbox, long, b"%d" % n), DAY) for n in range(20, 23)]
    assert len(set(moved)) == 23
    assert [path.read_bytes() for path in moved] == [b"%d" % n for n in range(23)]
    assert taken.read_bytes() == b"somebody's"


def test_refused_files_have_a_text_beside_them(inbox: Inbox) -> None:
    moved = [
        inbox.move_refused(put(inbox, name, b"%d" % n), DAY, ["line\x1b one", "two"])
        for n, name in enumerate(["p/x", "p/x", "p/x.why.txt", "z" * NAME_BYTES_MAX])
    ]
    assert [path.read_bytes() for path in moved] == [b"0", b"1", b"2", b"3"]
    for path in moved:
        assert Path(f"{path}.why.txt").read_text() == "line? one\ntwo\n"
    assert len(under(inbox.refused / "2026-03-16")) == 9


@pytest.mark.parametrize("step", ["touch", "rename", "sync"])
def test_a_move_that_fails_leaves_the_file_and_no_litter(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = put(inbox, "p/x", b"1")

    def fail(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "touch":
            patch.setattr(Path, "touch", fail)
        else:
            patch.setattr(os, {"rename": "rename", "sync": "fsync"}[step], fail)
        with pytest.raises(InboxError, match="No space"):
            inbox.move_refused(path, DAY, ["why"])
    assert path.read_bytes() == b"1"
    assert [name for name in under(inbox.refused) if "x" in name] == []
    moved = inbox.move_refused(path, DAY, ["why"])
    assert moved.read_bytes() == b"1"


def test_a_move_in_one_step_that_fails_is_told_and_leaves_the_file(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(inbox, "p/x", b"1")

    def fail(*_: object) -> int:
        ctypes.set_errno(28)
        return -1

    with monkeypatch.context() as patch:
        patch.setattr(renaming, "_renameat2", fail)
        with pytest.raises(InboxError, match="No space"):
            inbox.move_done(path, DAY)
    assert path.read_bytes() == b"1"
    assert under(inbox.done) == ["2026-03-16", "2026-03-16/p"]
    assert inbox.move_done(path, DAY).read_bytes() == b"1"


def test_a_file_that_somebody_else_took_is_told(inbox: Inbox) -> None:
    path = put(inbox, "x")
    path.unlink()
    with pytest.raises(InboxError, match="cannot be moved"):
        inbox.move_done(path, DAY)
    assert under(inbox.done) == ["2026-03-16"]
