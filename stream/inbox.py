"""The folder where files come in: which of them are complete, and where they go when they are done.

    in/         what partners and other programs put there, in folders of any depth
    done/       what was taken in, by day
    refused/    what was not, by day, each with a text beside it that says why

A file is moved only when all of it is on the item log. After a crash between the two it is found
again, and is a copy of what came before.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from reassoc.core.errors import ReassocError
from reassoc.stream.renaming import rename_to_free
from reassoc.stream.sources import Problem, Source, SourceError, discover, printable

SETTLE_SECONDS = 5.0
"""How long a file must not have changed to be taken for complete."""
LOOK_FILES_MAX = 10_000
"""Files of one look; what is beyond them is seen when these have gone."""
DEPTH_MAX = 32
"""Folders in folders that are looked into."""
NAMES_MAX = 1 << 20
"""Files of one name in one day's folder."""
NAME_BYTES_MAX = 255
"""Bytes of a file's name, as common filesystems have it."""

WRITING_SUFFIXES = (".part", ".partial", ".tmp", ".filepart")
"""Endings of names under which programs write what they rename when it is complete."""

_WHY = ".why.txt"

Stamp = tuple[int, int, int, int]


class InboxError(ReassocError):
    """A file cannot be moved; it stays where it is. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A complete file.

    name : relative to in/, safe to show
    sources : itself, or the members of an archive; none where it cannot be read at all
    problems : what of it cannot be read
    """

    path: Path
    name: str
    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Look:
    """What was seen. `waiting` counts files that may still grow; `problems` are places that cannot
    be read, which stay where they are; `is_cut` says that there was more than LOOK_FILES_MAX.
    """

    ready: list[Ready] = field(default_factory=list)
    waiting: int = 0
    problems: list[Problem] = field(default_factory=list)
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    stamp: Stamp
    since_s: float


class Inbox:
    """The folders in/, done/ and refused/ of a home, on one filesystem. Looking belongs to one
    thread, moving to another."""

    def __init__(self, home: Path) -> None:
        """Makes the folders that are not there. Raises OSError."""
        self.inbox, self.done, self.refused = (home / name for name in ("in", "done", "refused"))
        for folder in (self.inbox, self.done, self.refused):
            folder.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, _Seen] = {}

    def settle(self, now_s: float) -> Look:
        """Look at what is in in/ now.

        now_s : seconds since 1970-01-01, by the clock that the filesystem has
        A file is complete when it was last changed SETTLE_SECONDS ago, or when two looks that are
        so far apart found it with the same size, time and inode, and none between them found
        another (clocks may differ). Names that begin with a point or end in
        one of WRITING_SUFFIXES are not looked at. A file comes up in every look until it is moved.
        O(files); of each ready one the first bytes are read, of an archive the directory.
        """
        look = Look()
        seen: dict[str, _Seen] = {}
        for path, relative in self._files(look):
            if len(seen) >= LOOK_FILES_MAX:
                look.is_cut = True
                break
            try:
                status = path.lstat()
            except OSError as error:
                look.problems.append(_unreadable(relative, error))
                continue
            if not stat.S_ISREG(status.st_mode):
                reason = "not a file (a link, pipe, socket or device): put the file itself there"
                look.problems.append(Problem(printable(relative), reason))
                continue
            seen[relative] = now = self._compare(relative, status, now_s)
            is_old = now_s - status.st_mtime >= SETTLE_SECONDS
            if is_old or now_s - now.since_s >= SETTLE_SECONDS:
                self._add(look, path, relative, now.stamp)
            else:
                look.waiting += 1
        self._seen = seen
        return look

    def move_done(self, path: Path, day: date) -> Path:
        """Move a file of in/ to done/<day>/, under its relative name; where it is now.

        What is there already is never overwritten: the name gets a number. Folders of in/ that are
        empty then are removed. Not flushed to disk: a move that a crash undoes is made again, and
        the file is a copy of what came before. Raises InboxError.
        """
        return self._move(path, self.done / day.isoformat(), None)

    def move_refused(self, path: Path, day: date, reasons: Sequence[str]) -> Path:
        """Move a file to refused/<day>/, as `move_done`, with `<name>.why.txt` beside it.

        reasons : lines of that text, for people; nobody may be named in them
        """
        return self._move(path, self.refused / day.isoformat(), reasons)

    # ---- looking ----

    def _files(self, look: Look) -> Iterator[tuple[Path, str]]:
        """Candidates, by name within each folder, with their names relative to in/."""
        folders = [self.inbox]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    names = sorted(
                        (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries
                    )
            except OSError as error:
                look.problems.append(_unreadable(self._relative(folder), error))
                continue
            inner = []
            for name, is_folder in names:
                path = folder / name
                if name.startswith("."):
                    continue
                if not is_folder and not name.lower().endswith(WRITING_SUFFIXES):
                    yield path, self._relative(path)
                elif is_folder and len(path.parts) - len(self.inbox.parts) > DEPTH_MAX:
                    reason = f"more than DEPTH_MAX ({DEPTH_MAX}) folders deep: not looked into"
                    look.problems.append(Problem(printable(self._relative(path)), reason))
                elif is_folder:
                    inner.append(path)
            folders += reversed(inner)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.inbox).as_posix()

    def _compare(self, relative: str, status: os.stat_result, now_s: float) -> _Seen:
        """Since when the file is as it is now."""
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        before = self._seen.get(relative)
        # A clock that was set back must not make anything wait for as long.
        if before is None or before.stamp != stamp or before.since_s > now_s:
            return _Seen(stamp, now_s)
        return before

    def _add(self, look: Look, path: Path, relative: str, stamp: Stamp) -> None:
        try:
            path.open("rb").close()
            found = discover([path])
        except FileNotFoundError:
            return  # somebody else took it
        except (OSError, SourceError) as error:
            # Nobody can say yet whether it is good: it waits for the permission.
            look.problems.append(_unreadable(relative, error))
            return
        if any(source.stamp != stamp for source in found.sources):
            look.waiting += 1  # it has changed since it was looked at
            return
        short, name = printable(path.name), printable(relative)
        sources = tuple(
            replace(source, name=name + source.name.removeprefix(short)) for source in found.sources
        )
        problems = tuple(
            Problem(name + problem.name.removeprefix(short), problem.reason)
            for problem in found.unreadable
        )
        look.ready.append(Ready(path, name, sources, problems))

    # ---- moving ----

    def _move(self, path: Path, folder: Path, reasons: Sequence[str] | None) -> Path:
        relative = path.relative_to(self.inbox)
        target = folder / relative
        try:
            _make_folder(target.parent)
            if reasons is not None or not _moved_to_free(path, target):
                target = _move_beside(path, target, reasons)
        except OSError as error:
            advice = (
                "in, done and refused must lie on one filesystem"
                if error.errno == errno.EXDEV
                else "look at the folder's permissions and room"
            )
            raise InboxError(
                f"{printable(relative.as_posix())}: cannot be moved ({error.strerror}): {advice}"
            ) from error
        self._seen.pop(relative.as_posix(), None)
        self._remove_empty(path.parent)
        return target

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder of in/ that is empty now, and those around it."""
        while folder != self.inbox:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _moved_to_free(path: Path, target: Path) -> bool:
    """Whether a file could be moved to a name because nothing had it."""
    try:
        return rename_to_free(path, target)
    except FileExistsError:
        return False


def _move_beside(path: Path, target: Path, reasons: Sequence[str] | None) -> Path:
    """Move a file to a name, or the first free one with a number; where it is now."""
    target = _reserve(target, tail=_WHY if reasons is not None else "")
    try:
        if reasons is not None:
            _write_why(target, reasons)
        os.rename(path, target)
    except BaseException:
        _give_up(target, has_why=reasons is not None)
        raise
    return target


def _unreadable(relative: str, error: OSError | SourceError) -> Problem:
    why = error.strerror if isinstance(error, OSError) else "gone"
    return Problem(printable(relative), f"cannot be looked at: {why}")


def _make_folder(folder: Path) -> None:
    """Make a folder and those around it, durably."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    _sync_folder(folder.parent)


def _reserve(target: Path, tail: str) -> Path:
    """Make an empty file under the first free one of `x`, `x.2`, `x.3` .., which whatever is moved
    there replaces: nobody else can take the name between looking and moving.
    """
    while True:
        number = _first_free(target, tail)
        found = _numbered(target, number, tail)
        with suppress(FileExistsError):
            found.touch(exist_ok=False)
            return found


def _first_free(target: Path, tail: str) -> int:
    """A number that is free, though the one before it is not. O(log names) looks."""

    def is_taken(number: int) -> bool:
        path = _numbered(target, number, tail)
        return os.path.lexists(path) or (bool(tail) and os.path.lexists(f"{path}{tail}"))

    taken, free = 0, 1
    while is_taken(free):
        taken, free = free, free * 2
        if free > NAMES_MAX:
            raise OSError(errno.EMFILE, f"more than NAMES_MAX ({NAMES_MAX}) files of this name")
    while free - taken > 1:
        middle = (taken + free) // 2
        taken, free = (middle, free) if is_taken(middle) else (taken, middle)
    return free


def _numbered(target: Path, number: int, tail: str) -> Path:
    """The name with a number behind it, from 2 on; cut where it would be too long for that."""
    end = f".{number}" if number > 1 else ""
    room = NAME_BYTES_MAX - len(end) - len(tail)
    return target.with_name(os.fsdecode(os.fsencode(target.name)[:room]) + end)


def _write_why(target: Path, reasons: Sequence[str]) -> None:
    text = "".join(f"{printable(reason)}\n" for reason in reasons)
    with open(f"{target}{_WHY}", "x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _give_up(target: Path, *, has_why: bool) -> None:
    with suppress(OSError):
        os.unlink(target)
        if has_why:
            os.unlink(f"{target}{_WHY}")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
