"""What was fed: a small file that lets a feeder go on where it stopped, and send nothing twice.

It is written in groups: what a crash takes from it is sent again, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from reassoc.core.errors import ReassocError
from reassoc.stream.sources import Source
from reassoc.stream.sqlite_file import SqliteFile

CONTENTS_MAX = 5_000_000
"""Contents that are remembered, and twice as many places of files; the oldest are forgotten. About
200 bytes each."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS fed_content (digest BLOB PRIMARY KEY, part_bytes INTEGER NOT NULL, "
    "part_count INTEGER NOT NULL, acked INTEGER NOT NULL, done INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS fed_place (place TEXT PRIMARY KEY, stamp TEXT NOT NULL, "
    "digest BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS fed_stream (name TEXT PRIMARY KEY)",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a content was fed.

    part_bytes, part_count : how it was cut    acked : parts, from the first, that Kafka has
    done : everything of it was sent, its manifest too
    """

    digest: bytes
    part_bytes: int
    part_count: int
    acked: int
    done: bool


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be remembered. source : where the content lay"""

    source: Source
    progress: Progress


class JournalError(ReassocError):
    """A journal that is not of this stream."""


class FeedJournal(AbstractContextManager["FeedJournal"]):
    """What was fed, in one SQLite file. Any thread may call it. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        """Opens it, or makes it; its folder must exist."""
        self._file = SqliteFile(path)
        self._file.make_tables(_TABLES)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def belong(self, stream: str) -> None:
        """Be the journal of a stream. What was sent to one was not sent to another: raises
        JournalError where it is another's already.

        stream : what it is for ever, such as the cluster's id and the prefix of its topics
        """
        with self._file.write() as connection:
            connection.execute(
                "INSERT INTO fed_stream SELECT ? WHERE NOT EXISTS (SELECT 1 FROM fed_stream)",
                (stream,),
            )
            ((name,),) = connection.execute("SELECT name FROM fed_stream").fetchall()
        if name != stream:
            raise JournalError(
                f"{self._file.path}: knows what was sent to another stream ({name}, and this is "
                f"{stream}): name another journal with --journal"
            )

    def of_source(self, source: Source) -> Progress | None:
        """What was fed of a file that is as it was then: its bytes need not be read for that."""
        with self._file.read() as connection:
            row = connection.execute(
                "SELECT digest FROM fed_place WHERE place = ? AND stamp = ?",
                (_place(source), _stamp(source)),
            ).fetchone()
        return self.of_content(row[0]) if row is not None else None

    def of_content(self, digest: bytes) -> Progress | None:
        """What was fed of a content."""
        with self._file.read() as connection:
            row = connection.execute(
                "SELECT part_bytes, part_count, acked, done FROM fed_content WHERE digest = ?",
                (digest,),
            ).fetchone()
        if row is None:
            return None
        part_bytes, part_count, acked, done = row
        return Progress(digest, part_bytes, part_count, acked, bool(done))

    def keep(self, notes: Sequence[Note]) -> None:
        """Remember, durably, in one transaction."""
        if not notes:
            return
        with self._file.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO fed_content VALUES (?, ?, ?, ?, ?)",
                [
                    (each.digest, each.part_bytes, each.part_count, each.acked, each.done)
                    for each in (note.progress for note in notes)
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO fed_place VALUES (?, ?, ?)",
                [
                    (_place(note.source), _stamp(note.source), note.progress.digest)
                    for note in notes
                ],
            )
            for table, most in (("fed_content", CONTENTS_MAX), ("fed_place", 2 * CONTENTS_MAX)):
                connection.execute(
                    f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?",
                    (most,),
                )


def _place(source: Source) -> str:
    path = str(source.path.absolute()).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return f"{path}#{source.member}"


def _stamp(source: Source) -> str:
    return "-".join(map(str, source.stamp))
