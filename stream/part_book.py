"""The part book: which parts of which files came, where their bytes lie, where their items went.

On many machines a file comes as many messages, its parts, to any of the workers. A part is known by
the file's digest and its first byte in the file. What the book says of a part first stands for
ever: a part that comes again goes where it went. The book lies in the ledger's database and is no
part of the ledger; its writers do not wait for the ledger's.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import (
    CTE,
    Connection,
    Executable,
    Table,
    case,
    func,
    select,
    text,
    tuple_,
    union,
)

from reassoc.core.errors import LimitError
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_store import (
    LedgerError,
    driver_of,
    fetch,
    is_sqlite,
    pieces,
    retried,
    wanted_rows,
)
from reassoc.stream.partition_log import Seen
from reassoc.stream.postgres_arrays import (
    big_array,
    bytes_array,
    small_array,
    text_array,
)

STATEMENT_PARTS_MAX = 4096
STATEMENT_BYTES_MAX = 32 << 20
"""Parts, and bytes of their routes, that one statement writes or asks for. A single route may be
larger."""
ROUTE_BYTES_MAX = 64 << 20
"""Bytes of where the items of one part went."""
FILE_PARTS_MAX = 1 << 22
"""Parts of files whose places are asked for together."""
CONTENTS_ASKED_MAX = 1000
"""Contents of which one statement asks who has parts in them."""
VAULT_CHARS_MAX = 64
TENANTS_SEEN_MAX = 1_000_000
OPEN_FILES_MAX = 10_000
OPEN_PARTS_MAX = 1 << 20
"""Files that may not be whole, and parts that they should have, which one look is about."""
DIGEST_BYTES = 32
_NAME_BYTES = 8


class PartKey(NamedTuple):
    """What a part is known by. name : `file_name_of` its file    start : its first byte in it"""

    name: int
    start: int


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of a file.

    digest         of the whole file, 32 bytes
    start, stop    its bytes in the file are [start, stop)
    vault          name of the worker's vault in which they lie
    content, offset    digest of the content there, and where in it they begin
    route          where its items went: for whoever routes
    logged         all its items are on the item log
    """

    digest: bytes
    start: int
    stop: int
    vault: str
    content: bytes
    offset: int
    route: bytes
    logged: bool = False

    @property
    def key(self) -> PartKey:
        """What it is known by."""
        return PartKey(file_name_of(self.digest), self.start)


class FileNote(msgspec.Struct, frozen=True):
    """What was said of a file that comes in parts.

    digest : 32 bytes    byte_count : of the whole file
    name : for people    kind : kinds.Kind's name
    part_count : into which it was cut    complete : the last of them was sent
    """

    digest: bytes
    byte_count: int
    name: str
    kind: str
    part_count: int
    complete: bool = False


class PartCounts(NamedTuple):
    """How much of a file came: its parts, those of them whose items are logged, and bytes that lie
    in at least one of these. Parts that were cut in two ways overlap: their sum says nothing."""

    part_count: int
    logged_count: int
    byte_count: int


class OpenFile(msgspec.Struct, frozen=True):
    """A file that may not be whole. came_ms : when it was said what is to come, milliseconds since
    1970    came : what has"""

    note: FileNote
    came_ms: int
    came: PartCounts

    @property
    def is_whole(self) -> bool:
        """Whether the items of all its parts are logged."""
        return (
            self.came.logged_count >= self.note.part_count
            and self.came.byte_count >= self.note.byte_count
        )


def file_name_of(digest: bytes) -> int:
    """The first 8 bytes of a digest as int64, little-endian."""
    return int.from_bytes(digest[:_NAME_BYTES], "little", signed=True)


class PartBook:
    """The book, in a ledger's database. Any thread and any process may call it at once.

    Raises OSError where the database fails; every call may be made again then.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # ---- parts ----

    def known(self, keys: Sequence[PartKey]) -> dict[PartKey, Part]:
        """What is known of some parts; those that never came are left out.

        About 5 microseconds a part on PostgreSQL, all in memory at once.
        """
        wanted = sorted(set(keys))
        found: dict[PartKey, Part] = {}
        with self._ledger.reading() as connection:
            for piece in pieces(len(wanted), STATEMENT_PARTS_MAX):
                for row in _read_parts(connection, wanted[piece]):
                    part = _part(row)
                    found[part.key] = part
        return found

    def remember(self, parts: Sequence[Part]) -> dict[PartKey, Part]:
        """Write down parts, durably; what now stands for each of them, which is what was written
        first.

        Where that has another digest than the part that was given, two files have one name: the
        caller must refuse the second (`is_same_file`).

        Raises LimitError above ROUTE_BYTES_MAX, ValueError for a part that cannot be. About 10
        microseconds a new part on PostgreSQL.
        """
        first: dict[PartKey, Part] = {}
        for part in parts:
            _check(part)
            first.setdefault(part.key, part)
        # In one order everywhere, so that two who write the same do not wait for each other.
        ordered = [(key, first[key]) for key in sorted(first)]
        for piece in _portions(ordered):
            if retried(partial(self._insert, piece)) != len(piece):
                first |= self.known([key for key, _ in piece])
        return first

    def _insert(self, parts: Sequence[tuple[PartKey, Part]]) -> int:
        """Write parts that are new; how many were."""
        with self._ledger.adding() as connection:
            return _insert_parts(connection, parts)

    def remember_copies(self, parts: Sequence[Part]) -> None:
        """Write down, durably, where bytes of parts lie for which other places stand: what came
        once more, or cannot be used. Whoever erases a file must know of them. Nothing is asked of
        the database where there are none."""
        rows = [
            {
                "key": file_name_of(part.digest),
                "start": part.start,
                "content": part.content,
                "vault": part.vault,
                "digest": part.digest,
                "stop": part.stop,
                "offset": part.offset,
            }
            for part in parts
        ]
        rows.sort(key=lambda row: (row["key"], row["start"]))

        def write() -> None:
            with self._ledger.adding() as connection:
                connection.execute(_REMEMBER_COPY, rows)

        if rows:
            retried(write)

    def set_logged(self, keys: Sequence[PartKey]) -> None:
        """All items of some parts are on the item log. It may be forgotten in a crash of the
        database: then they are logged again, and dropped by their ids."""
        ordered = sorted(set(keys))
        for piece in pieces(len(ordered), STATEMENT_PARTS_MAX):
            retried(partial(self._set_logged, ordered[piece]))

    def _set_logged(self, keys: Sequence[PartKey]) -> None:
        with self._ledger.adding() as connection:
            _update_logged(connection, keys)

    def parts_of(self, digest: bytes) -> list[Part]:
        """The parts of a file that came, by their start, without their routes.

        Raises LimitError above FILE_PARTS_MAX. For reading a file back: routes may be large.
        """
        return self.parts_of_files([digest]).get(digest, [])

    def parts_of_files(self, digests: Collection[bytes]) -> dict[bytes, list[Part]]:
        """The same of several files at once; those of which nothing came are left out."""
        table, wanted = schema.part, set(digests)
        names = np.array(sorted({file_name_of(digest) for digest in wanted}), np.int64)
        found: dict[bytes, list[Part]] = {}
        with self._ledger.reading() as connection:
            for some in wanted_rows(names):
                named = some.join(table, table.c.name == some.c.column1)
                statement = (
                    select(*_PLACES)
                    .select_from(named)
                    .order_by(table.c.name, table.c.start)
                    .limit(FILE_PARTS_MAX + 1)
                )
                rows = fetch(connection, statement, once=True)
                if len(rows) > FILE_PARTS_MAX:
                    raise LimitError(
                        f"files have more parts than FILE_PARTS_MAX ({FILE_PARTS_MAX})"
                    )
                for part in map(_part, rows):
                    if part.digest in wanted:
                        found.setdefault(part.digest, []).append(part)
        return found

    def parts_named(self, name: int) -> list[Part]:
        """The same of the file of a name (`file_name_of`): what of its digest is in items' ids."""
        return self._named(schema.part, _PLACES, name)

    def copies_named(self, name: int) -> list[Part]:
        """The same of what `remember_copies` wrote down."""
        return self._named(schema.part_copy, _COPY_PLACES, name)

    def _named(self, table: Table, places: Sequence[Any], name: int) -> list[Part]:
        statement = (
            select(*places)
            .where(table.c.name == name)
            .order_by(table.c.start)
            .limit(FILE_PARTS_MAX + 1)
        )
        with self._ledger.reading() as connection:
            rows = fetch(connection, statement)
        if len(rows) > FILE_PARTS_MAX:
            raise LimitError(f"a file has more parts than FILE_PARTS_MAX ({FILE_PARTS_MAX})")
        return [_part(row) for row in rows]

    def file_counts(self, contents: Collection[bytes]) -> dict[bytes, int]:
        """How many files have parts or copies of parts in contents, in whatever vault. O(all parts)
        for each CONTENTS_ASKED_MAX of them: for people, not for steps."""
        wanted = sorted(contents)
        found: dict[bytes, int] = {}
        with self._ledger.reading() as connection:
            for first in range(0, len(wanted), CONTENTS_ASKED_MAX):
                some = wanted[first : first + CONTENTS_ASKED_MAX]
                files = union(  # each file of a content once
                    *(
                        select(table.c.content, table.c.name).where(table.c.content.in_(some))
                        for table in (schema.part, schema.part_copy)
                    )
                ).subquery()
                statement = select(files.c.content, func.count()).group_by(files.c.content)
                for content, count in fetch(connection, statement, once=True):
                    found[bytes(content)] = count
        return found

    def vaults_named(self) -> list[str]:
        """Names of the vaults that have parts or copies of parts, sorted. O(all parts): for people,
        not for steps."""
        vaults = union(*(select(table.c.vault) for table in (schema.part, schema.part_copy)))
        with self._ledger.reading() as connection:
            return sorted(vault for (vault,) in fetch(connection, vaults))

    def contents_named(self, vault: str) -> set[bytes]:
        """Digests of the contents of a vault that have parts or copies of parts. O(all parts), and
        all of the vault's contents in memory, at most vault.CONTENTS_MAX."""
        contents = union(
            *(
                select(table.c.content).where(table.c.vault == vault)
                for table in (schema.part, schema.part_copy)
            )
        )
        with self._ledger.reading() as connection:
            return {bytes(content) for (content,) in fetch(connection, contents)}

    # ---- files ----

    def remember_files(self, files: Sequence[FileNote]) -> list[FileNote]:
        """Write down what was said of files, durably; what now stands for each of them: what was
        said first, and `complete` once it was said. As in `remember`, look at its digest."""
        rows = [msgspec.structs.asdict(file) | {"key": file_name_of(file.digest)} for file in files]
        if not rows:
            return []
        for row in rows:
            row["complete"] = int(row["complete"])
        rows.sort(key=lambda row: (row["key"], row["complete"]))
        now = int(time.time() * 1000)
        came = [{"key": row["key"], "came_ms": now} for row in rows]

        def write() -> None:
            with self._ledger.adding() as connection:
                connection.execute(_REMEMBER_FILE, rows)
                connection.execute(_OPEN_FILE, came)

        retried(write)
        names = [file_name_of(file.digest) for file in files]
        found = self._files(names)
        return [found[name] for name in names]

    def file(self, digest: bytes) -> FileNote | None:
        """What was said of a file, None for nothing."""
        return self.files([digest]).get(digest)

    def files(self, digests: Collection[bytes]) -> dict[bytes, FileNote]:
        """The same of several files at once; those of which nothing was said are left out."""
        wanted = set(digests)
        found = self._files([file_name_of(digest) for digest in wanted])
        return {note.digest: note for note in found.values() if note.digest in wanted}

    def _files(self, names: Sequence[int]) -> dict[int, FileNote]:
        table = schema.part_file
        found: dict[int, FileNote] = {}
        with self._ledger.reading() as connection:
            for wanted in wanted_rows(np.array(sorted(set(names)), np.int64)):
                named = wanted.join(table, table.c.name == wanted.c.column1)
                statement = select(table.c.name, *_NOTES).select_from(named)
                for name, *row in fetch(connection, statement, once=True):
                    found[name] = _note(row)
        return found

    def counts(self, digests: Sequence[bytes]) -> dict[bytes, PartCounts]:
        """How much of some files came; those of which nothing came are left out."""
        by_name = {file_name_of(digest): digest for digest in digests}
        found: dict[bytes, PartCounts] = {}
        with self._ledger.reading() as connection:
            for wanted in wanted_rows(np.array(sorted(by_name), np.int64)):
                for name, *values in fetch(connection, _counts_of(wanted), once=True):
                    found[by_name[name]] = PartCounts(*map(int, values))
        return found

    def open_files(
        self, before_ms: int, after: OpenFile | None = None
    ) -> tuple[list[OpenFile], bool]:
        """Files of which it was said before a moment (milliseconds since 1970) what is to come, and
        not yet by `close_files` that it has; and whether there are more. Those that came first, or
        first after one, at most OPEN_FILES_MAX with OPEN_PARTS_MAX parts (one file may have more).
        """
        table, notes = schema.part_file_open, schema.part_file
        statement = (
            select(table.c.came_ms, *_NOTES)
            .join_from(table, notes, table.c.name == notes.c.name)
            .where(table.c.came_ms < before_ms)
            .order_by(table.c.came_ms, table.c.name)
            .limit(OPEN_FILES_MAX + 1)
        )
        if after is not None:
            last = after.came_ms, file_name_of(after.note.digest)
            statement = statement.where(tuple_(table.c.came_ms, table.c.name) > tuple_(*last))
        with self._ledger.reading() as connection:
            rows = fetch(connection, statement)
        found: list[tuple[int, FileNote]] = []
        parts = 0
        for came_ms, *row in rows[:OPEN_FILES_MAX]:
            note = _note(row)
            parts += note.part_count
            if found and parts > OPEN_PARTS_MAX:
                break
            found.append((came_ms, note))
        counts = self.counts([note.digest for _, note in found])
        nothing = PartCounts(0, 0, 0)
        files = [OpenFile(note, ms, counts.get(note.digest, nothing)) for ms, note in found]
        return files, len(files) < len(rows)

    def close_files(self, digests: Sequence[bytes]) -> None:
        """Nobody needs to look at some files any more."""
        rows = [{"key": name} for name in sorted({file_name_of(digest) for digest in digests})]
        if not rows:
            return

        def write() -> None:
            with self._ledger.adding() as connection:
                connection.execute(_CLOSE_FILE, rows)

        retried(write)

    # ---- tenants ----

    def see_tenant(self, tenant: str, partition: int, first_position: int = 0) -> bool:
        """Write down, durably, that a tenant is about to be claimed for the first time; whether it
        is. Raises LedgerError where its log was in another partition.

        first_position : of its first record
        """
        row = {"tenant": tenant, "partition": partition, "first_position": first_position}

        def write() -> None:
            with self._ledger.adding() as connection:
                connection.execute(_SEE_TENANT, row)

        before = self._partition_of(tenant)
        if before is None:
            with self._ledger.reading() as connection:
                count = int(connection.execute(_SEEN_COUNT).scalar_one())
            if count >= TENANTS_SEEN_MAX:
                raise LimitError(f"more tenants than TENANTS_SEEN_MAX ({TENANTS_SEEN_MAX})")
            retried(write)
        seen = before if before is not None else self._partition_of(tenant)
        if seen != partition:
            raise LedgerError(
                f"a tenant whose log is in partition {seen} was found in partition "
                f"{partition}: the topic of the item log must keep its number of partitions"
            )
        return before is None

    def _partition_of(self, tenant: str) -> int | None:
        with self._ledger.reading() as connection:
            found = connection.execute(_SEEN_PARTITION, {"tenant": tenant}).scalar_one_or_none()
        return None if found is None else int(found)

    def tenants_seen(self) -> dict[str, Seen]:
        """Every tenant that was ever claimed, and where its log begins."""
        table = schema.tenant_seen
        with self._ledger.reading() as connection:
            rows = fetch(
                connection, select(table.c.tenant, table.c.partition, table.c.first_position)
            )
        return {str(tenant): Seen(int(place), int(first)) for tenant, place, first in rows}


def _counts_of(wanted: CTE) -> Executable:
    """PartCounts of files by name. A part that is logged adds the bytes behind all such parts that
    begin before it; one that is not ends where it begins."""
    table = schema.part
    stop = case((table.c.logged == 1, table.c.stop), else_=table.c.start)
    before = func.max(stop).over(partition_by=table.c.name, order_by=table.c.start, rows=(None, -1))
    columns = (table.c.name, table.c.logged, table.c.start, stop.label("stop"))
    named = wanted.join(table, table.c.name == wanted.c.column1)
    part = select(*columns, func.coalesce(before, 0).label("before")).select_from(named).subquery()
    begin = case((part.c.start > part.c.before, part.c.start), else_=part.c.before)
    added = case((part.c.stop > begin, part.c.stop - begin), else_=0)
    sums = (func.count(), func.sum(part.c.logged), func.sum(added))
    return select(part.c.name, *sums).group_by(part.c.name)


def is_same_file(part: Part, standing: Part) -> bool:
    """Whether what stands for a part is of the same file, and not of another of its name."""
    return standing.digest == part.digest


# ---- rows ----

_COLUMNS = ("digest", "start", "stop", "vault", "content", "content_offset", "route", "logged")
"""Of `part`, in the order of Part's fields."""
_PLACES = [text("''") if name == "route" else schema.part.c[name] for name in _COLUMNS]
_COPY_PLACES = [
    {"route": text("''"), "logged": text("0")}.get(name, schema.part_copy.c.get(name))
    for name in _COLUMNS
]
"""The same of `part_copy`: no routes, and nothing logged."""
_NOTES = [column for column in schema.part_file.c if column.name != "name"]
"""Of `part_file`, in the order of FileNote's fields."""
_SQLITE_READ = [schema.part.c[name] for name in _COLUMNS]
_POSTGRES_READ = f"""
    SELECT {", ".join(f"p.{name}" for name in _COLUMNS)}
    FROM unnest(%s, %s) AS w (name, start) JOIN part p ON p.name = w.name AND p.start = w.start"""
_SQLITE_INSERT = "INSERT OR IGNORE INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_POSTGRES_INSERT = """
    INSERT INTO part SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_SQLITE_LOGGED = "UPDATE part SET logged = 1 WHERE name = ? AND start = ?"
POSTGRES_LOGGED = """
    UPDATE part SET logged = 1 FROM unnest(%s, %s) AS w (name, start)
    WHERE part.name = w.name AND part.start = w.start AND part.logged + 0 = 0"""
"""PERF: nothing is added. But of a bare column PostgreSQL knows, since it looked at a quiet moment,
that it is never 0: it then compares each part that is not logged with each that is wanted, which
under load takes minutes instead of a fifth of a second."""
_NO_WAIT = "SELECT set_config('synchronous_commit', 'off', true)"
_REMEMBER_COPY = text(
    "INSERT INTO part_copy VALUES (:key, :start, :content, :vault, :digest, :stop, :offset)"
    " ON CONFLICT DO NOTHING"
)
_REMEMBER_FILE = text(
    "INSERT INTO part_file"
    " VALUES (:key, :digest, :byte_count, :name, :kind, :part_count, :complete)"
    " ON CONFLICT (name) DO UPDATE SET complete = 1"
    " WHERE excluded.complete = 1 AND excluded.digest = part_file.digest"
)
_OPEN_FILE = text(
    "INSERT INTO part_file_open VALUES (:key, :came_ms) ON CONFLICT (name) DO NOTHING"
)
_CLOSE_FILE = text("DELETE FROM part_file_open WHERE name = :key")
_SEEN_COUNT = select(func.count()).select_from(schema.tenant_seen)
_SEEN_PARTITION = text("SELECT partition FROM tenant_seen WHERE tenant = :tenant")
_SEE_TENANT = text(
    "INSERT INTO tenant_seen (tenant, partition, first_position)"
    " VALUES (:tenant, :partition, :first_position) ON CONFLICT (tenant) DO NOTHING"
)


def _part(row: Sequence[Any]) -> Part:
    digest, start, stop, vault, content, offset, route, logged = row
    return Part(
        bytes(digest), start, stop, vault, bytes(content), offset, bytes(route or b""), bool(logged)
    )


def _note(row: Sequence[Any]) -> FileNote:
    digest, byte_count, name, kind, part_count, complete = row
    return FileNote(bytes(digest), byte_count, name, kind, part_count, bool(complete))


def _check(part: Part) -> None:
    if not len(part.digest) == len(part.content) == DIGEST_BYTES:
        raise ValueError("a digest of a part has not 32 bytes")
    if not 0 <= part.start <= part.stop or part.offset < 0:
        raise ValueError(f"a part cannot have bytes {part.start} to {part.stop}")
    if not 0 < len(part.vault) <= VAULT_CHARS_MAX:
        raise ValueError(f"a vault's name has 1 to VAULT_CHARS_MAX ({VAULT_CHARS_MAX}) characters")
    if len(part.route) > ROUTE_BYTES_MAX:
        raise LimitError(
            f"ROUTE_BYTES_MAX: where the items of one part went takes more than {ROUTE_BYTES_MAX} "
            "bytes: send the file in smaller parts"
        )


def _portions(
    parts: Sequence[tuple[PartKey, Part]],
) -> Iterator[Sequence[tuple[PartKey, Part]]]:
    """Parts for one statement each."""
    first = size = 0
    for row, (_, part) in enumerate(parts):
        size += len(part.route)
        if row - first == STATEMENT_PARTS_MAX or (row > first and size > STATEMENT_BYTES_MAX):
            yield parts[first:row]
            first, size = row, len(part.route)
    if first < len(parts):
        yield parts[first:]


def _keys(keys: Sequence[PartKey]) -> tuple[Any, Any]:
    numbers = np.fromiter(chain.from_iterable(keys), np.int64, 2 * len(keys)).reshape(-1, 2)
    return numbers[:, 0], numbers[:, 1]


def _read_parts(connection: Connection, keys: Sequence[PartKey]) -> Iterator[Sequence[Any]]:
    names, starts = _keys(keys)
    if not is_sqlite(connection):
        with driver_of(connection).cursor(binary=True) as cursor:
            cursor.execute(_POSTGRES_READ, (big_array(names), big_array(starts)), prepare=True)
            yield from cursor.fetchall()
        return
    table = schema.part
    for wanted in wanted_rows(names, starts):
        same = (table.c.name == wanted.c.column1) & (table.c.start == wanted.c.column2)
        statement = select(*_SQLITE_READ).select_from(wanted.join(table, same))
        yield from fetch(connection, statement, once=True)


def _insert_parts(connection: Connection, parts: Sequence[tuple[PartKey, Part]]) -> int:
    if is_sqlite(connection):
        cursor = driver_of(connection).cursor()
        cursor.executemany(
            _SQLITE_INSERT,
            (
                (name, start, p.digest, p.stop, p.vault, p.content, p.offset, p.route, p.logged)
                for (name, start), p in parts
            ),
        )
        count = int(cursor.rowcount)
        cursor.close()
        return count
    names, starts = _keys([key for key, _ in parts])
    values = (
        big_array(names),
        big_array(starts),
        bytes_array([part.digest for _, part in parts]),
        big_array([part.stop for _, part in parts]),
        text_array([part.vault for _, part in parts]),
        bytes_array([part.content for _, part in parts]),
        big_array([part.offset for _, part in parts]),
        bytes_array([part.route for _, part in parts]),
        small_array([part.logged for _, part in parts]),
    )
    with driver_of(connection).cursor(binary=True) as cursor:
        cursor.execute(_POSTGRES_INSERT, values, prepare=True)
        return int(cursor.rowcount)


def _update_logged(connection: Connection, keys: Sequence[PartKey]) -> None:
    if is_sqlite(connection):
        cursor = driver_of(connection).cursor()
        cursor.executemany(_SQLITE_LOGGED, keys)
        cursor.close()
        return
    names, starts = _keys(keys)
    with driver_of(connection).cursor(binary=True) as cursor:
        cursor.execute(_NO_WAIT)
        cursor.execute(POSTGRES_LOGGED, (big_array(names), big_array(starts)), prepare=True)
