"""The inputs of a run: which files there are, what they are called, and their bytes.

Everything here is about containers (folders, gzip, zip); what the bytes mean is `kinds.py`.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reassoc.core.errors import ReassocError

MEMBERS_MAX = 100_000
"""Members of one zip archive that are read; an archive with more is refused as a whole."""
INPUTS_MAX = 5_000_000
"""Inputs of one run."""

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
RUN_MARKS = ("summary.json", "matches.csv", "remittances.csv", "payments.csv")
"""A folder that holds all of these is the result of an earlier run: it is never taken for input."""
UNFINISHED = re.compile(r"\..+\.partial-[0-9]+-[0-9a-f]{8}", re.S)
"""Names of the private folders of runs, which a run that was killed leaves behind: what it released
so far is never taken for input.
"""


class SourceError(ReassocError):
    """An input that cannot be read at all. The message says what is wrong and what to do, without a
    value of it.
    """


@dataclass(frozen=True, slots=True)
class Source:
    """One input: a file, or a member of an archive.

    name          what it is called in every output: relative to the argument it was found under,
                  `archive.zip!member`
    path          the file on disk
    member        index in the archive's directory, -1 for a file that is none
    size_bytes    bytes on disk (compressed, for a member)
    stamp         device, inode, size and modification time in ns, to see that nobody changed it
                  since
    """

    name: str
    path: Path
    member: int
    size_bytes: int
    stamp: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Problem:
    """An input, or a place where inputs may be, that was not read, and why."""

    name: str
    reason: str


@dataclass(slots=True)
class Discovery:
    """What was found under the arguments: sources in the order they are read, problems, and what
    was passed over.
    """

    sources: list[Source] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)
    passed_over: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    """A file before names are final: the name inside its argument, and the argument."""

    name: str
    argument: int
    path: Path
    status: os.stat_result


def discover(arguments: Sequence[Path], *, exclude: Sequence[Path] = ()) -> Discovery:
    """Find the inputs under files and folders (recursively), expand zip archives, and name each.

    The order is that of the arguments, and by name within each. A file reached twice is read once.
    Names are relative to the argument; where two files under different arguments would get the same
    name, each of them gets its argument, as it was typed, in front (and `#n` behind where even that
    is equal, as characters that cannot be shown can make it). `exclude` are folders that are
    not looked into (the output).

    Raises SourceError for an argument that does not exist and when there are more than INPUTS_MAX
    inputs.
    """
    result = Discovery()
    avoid = {os.path.realpath(folder) for folder in exclude}
    found: list[_Found] = []
    seen: set[tuple[int, int]] = set()
    for number, argument in enumerate(arguments):
        if not argument.exists():
            raise SourceError(f"{argument}: no such file or folder")
        for item in _walk(argument, number, avoid, result):
            key = (item.status.st_dev, item.status.st_ino)
            if key not in seen:
                seen.add(key)
                found.append(item)
    _name_apart(found, arguments)
    for item in found:
        _expand(item, result)
        if len(result.sources) > INPUTS_MAX:
            raise SourceError(
                f"more than INPUTS_MAX ({INPUTS_MAX}) inputs: give fewer folders per run"
            )
    return result


def _walk(argument: Path, number: int, avoid: set[str], result: Discovery) -> Iterator[_Found]:
    """The files of one argument, by name."""
    if not argument.is_dir():
        yield from _look(argument, printable(argument.name), number, result)
        return

    def failed(error: OSError) -> None:
        place = os.path.relpath(error.filename or argument, argument)
        result.unreadable.append(
            Problem(printable(place), f"folder cannot be listed: {error.strerror}")
        )

    paths: list[str] = []
    for folder, folders, files in os.walk(argument, onerror=failed):
        if os.path.realpath(folder) in avoid:
            folders.clear()
        elif UNFINISHED.fullmatch(os.path.basename(folder)):
            folders.clear()
            place = printable(os.path.relpath(folder, argument))
            result.passed_over.append(Problem(place, "left by a run that goes on or was killed"))
        elif set(RUN_MARKS).issubset(files):
            folders.clear()
            place = printable(os.path.relpath(folder, argument))
            result.passed_over.append(Problem(place, "the result of an earlier run"))
        else:
            paths += [os.path.relpath(os.path.join(folder, name), argument) for name in files]
    for relative in sorted(paths):
        yield from _look(argument / relative, printable(Path(relative).as_posix()), number, result)


def _look(path: Path, name: str, number: int, result: Discovery) -> Iterator[_Found]:
    try:
        status = path.stat()
    except OSError as error:
        result.unreadable.append(Problem(name, f"cannot be opened: {error.strerror}"))
        return
    if stat.S_ISREG(status.st_mode):
        yield _Found(name, number, path, status)
    else:
        result.unreadable.append(Problem(name, "not a file (a pipe, socket or device)"))


def _name_apart(found: Iterable[_Found], arguments: Sequence[Path]) -> None:
    """Put the argument in front of names that more than one file has."""
    by_name: dict[str, list[_Found]] = {}
    for item in found:
        by_name.setdefault(item.name, []).append(item)
    for items in by_name.values():
        if len(items) > 1:
            for item in items:
                argument = arguments[item.argument]
                base = argument if argument.is_dir() else argument.parent
                item.name = printable((base / item.name).as_posix())
    taken: set[str] = set()
    for item in found:
        if item.name in taken:
            item.name = f"{item.name}#{len(taken)}"
        taken.add(item.name)


def _expand(item: _Found, result: Discovery) -> None:
    """One source for a plain or gzip file, one per member for a zip archive."""
    status = item.status
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    try:
        with item.path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        result.unreadable.append(Problem(item.name, f"cannot be opened: {error.strerror}"))
        return
    if magic not in ZIP_MAGICS:
        result.sources.append(Source(item.name, item.path, -1, status.st_size, stamp))
        return
    try:
        with zipfile.ZipFile(item.path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        reason = "a damaged zip archive: ask the sender for it again"
        result.unreadable.append(Problem(item.name, reason))
        return
    if len(members) > MEMBERS_MAX:
        reason = (
            f"a zip archive of {len(members)} members, more than MEMBERS_MAX ({MEMBERS_MAX}): "
            "unpack it"
        )
        result.unreadable.append(Problem(item.name, reason))
        return
    files = [
        (printable(member.filename), index)
        for index, member in enumerate(members)
        if not member.is_dir()
    ]
    taken: set[str] = set()
    for name, index in sorted(files):
        unique = name if name not in taken else f"{name}#{index}"
        taken.add(unique)
        source = Source(
            f"{item.name}!{unique}", item.path, index, members[index].compress_size, stamp
        )
        result.sources.append(source)


def printable(name: str) -> str:
    """A file name that is safe in a table, a log and a CSV file: control and undecodable characters
    become `?`.
    """
    name = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "?" for character in name)
