"""Files of which parts did not come: put aside, lost on their way, or never sent.

Only what came in parts is looked at, and only once it was said how many there are. A file that is
whole is not looked at again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from reassoc.stream.part_book import OpenFile, PartBook

GRACE_MS = 15 * 60_000
"""From when a file's end came until what is missing of it is told. Parts come in any order."""
TOLD_MS_MAX = 30 * 86_400_000
"""How long it is told: what did not come by then comes no more."""
WORST_MAX = 20
LOOKS_MAX = 20
"""How often the book is asked for files on, each time for part_book.OPEN_FILES_MAX at most."""


class IncompleteFile(msgspec.Struct, frozen=True):
    """A file that is not whole, and how much of it came.

    name, kind : as it was sent    digest : hexadecimal
    parts, part_count : whose items are logged, and there should be
    bytes, byte_count : that lie in such parts, and there should be
    came_ms : when it was said how many there are, milliseconds since 1970
    """

    name: str
    kind: str
    digest: str
    parts: int
    part_count: int
    bytes: int
    byte_count: int
    came_ms: int


class Incomplete(msgspec.Struct, frozen=True):
    """Files that are not whole. worst : those with most missing, at most WORST_MAX    has_more :
    there are more than LOOKS_MAX looks are about"""

    file_count: int
    has_more: bool
    worst: list[IncompleteFile]


def now_ms() -> int:
    """Milliseconds since 1970, by this machine."""
    return int(time.time() * 1000)


def incomplete_files(book: PartBook, now: int) -> Incomplete:
    """What is missing at a moment (milliseconds since 1970). Changes nothing."""
    count, worst, has_more = 0, list[OpenFile](), False
    for looked_at, are_more in _looks(book, now):
        has_more = are_more
        found = [file for file in looked_at if _is_told(file, now)]
        count += len(found)
        worst = sorted(worst + found, key=lambda file: file.came.byte_count - file.note.byte_count)
        worst = worst[:WORST_MAX]
    return Incomplete(count, has_more, [_told(file) for file in worst])


def count_incomplete(book: PartBook, now: int) -> int:
    """How many files are not whole at a moment; the others that are looked at are done with."""
    count = 0
    for looked_at, _ in _looks(book, now):
        book.close_files([file.note.digest for file in looked_at if not _is_told(file, now)])
        count += sum(_is_told(file, now) for file in looked_at)
    return count


def _looks(book: PartBook, now: int) -> Iterator[tuple[list[OpenFile], bool]]:
    """Files that may not be whole, some at a time, and whether there are more."""
    after: OpenFile | None = None
    for _ in range(LOOKS_MAX):
        looked_at, has_more = book.open_files(now - GRACE_MS, after)
        yield looked_at, has_more
        if not has_more:
            return
        after = looked_at[-1]


def _is_told(file: OpenFile, now: int) -> bool:
    return not file.is_whole and now - file.came_ms <= TOLD_MS_MAX


def _told(file: OpenFile) -> IncompleteFile:
    note, came = file.note, file.came
    return IncompleteFile(
        note.name,
        note.kind,
        note.digest.hex(),
        came.logged_count,
        note.part_count,
        came.byte_count,
        note.byte_count,
        file.came_ms,
    )
