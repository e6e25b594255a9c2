"""The match state in SQLite: the suite, and what only a file can do: fill up, lock, break, die."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_conformance import ROWS, StateConformance, filled, probed, remove, seen, step
from state_memory import MemoryState, MemoryStore, ids_of, records_of

from reassoc.stream import sqlite_file, state_sqlite
from reassoc.stream.records import Block
from reassoc.stream.sqlite_file import SqliteFile, StoreError
from reassoc.stream.state import KEY_RECORDS_MAX, OutboxEntry, Records, Step
from reassoc.stream.state_sqlite import PROBE_ROWS_MAX, SqliteState


class FileStore:
    """One file; every opening is a SqliteFile of its own, as in another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[SqliteFile] = []

    def open(self) -> SqliteState:
        self.files.append(SqliteFile(self.path))
        return SqliteState(self.files[-1])


class DictStore:
    def __init__(self) -> None:
        self.kept = MemoryStore()

    def open(self) -> MemoryState:
        return MemoryState(self.kept)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FileStore]:
    made = FileStore(tmp_path / "state.db")
    yield made
    for file in made.files:
        file.close()


class TestSqliteState(StateConformance):
    @pytest.fixture
    def store(self, files: FileStore) -> FileStore:
        return files


class TestSqliteStateInSmallStatements(StateConformance):
    """The same where every call needs several statements."""

    @pytest.fixture
    def store(self, files: FileStore, monkeypatch: pytest.MonkeyPatch) -> FileStore:
        monkeypatch.setattr(state_sqlite, "STATEMENT_ROWS_MAX", 999)
        monkeypatch.setattr(state_sqlite, "STATEMENT_BYTES_MAX", 2)
        return files

    # They would take very long in statements of two bytes.
    test_many_keys_at_once = None
    test_scan_comes_in_order_and_in_pieces = None
    test_readers_see_a_step_whole_or_not_at_all = None


class TestMemoryState(StateConformance):
    threads = False

    @pytest.fixture
    def store(self) -> DictStore:
        return DictStore()


class Failing:
    """The writer's connection, which fails once it has run some statements."""

    def __init__(self, connection: sqlite3.Connection, left: int) -> None:
        self.connection, self.left = connection, left
        self.seen: list[str] = []

    def _count(self, statement: str) -> None:
        self.seen.append(statement.split()[0])
        self.left -= 1
        if self.left < 0 and statement != "ROLLBACK":
            raise sqlite3.OperationalError("injected")

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._count(statement)
        return self.connection.execute(statement, *values)

    def executemany(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._count(statement)
        return self.connection.executemany(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


WHOLE = Step(
    1, 2, records_of([(b"n" * 16, 1, [3, 7], b"n"), (ROWS[1][0], 5, [9], b"again")]),
    ids_of([ROWS[2][0]]), Block.of([b"changed"]), ids_of([ROWS[0][0]]), [b"x", b"y"],
)  # fmt: skip


def test_a_failure_at_any_statement_changes_nothing(files: FileStore) -> None:
    state, claim = filled(files)
    file, held = files.files[0], state.dump("t")
    writer = file._writer
    for left in range(100):
        failing = file._writer = Failing(writer, left)  # type: ignore[assignment]
        try:
            state.apply(claim, WHOLE)
        except StoreError:
            assert not writer.in_transaction
            for each in (state, files.open()):
                assert each.dump("t") == held
                assert len(each.outbox("t", 9)) == 1
                assert probed(each, 3, 7, 9) == [ROWS[1][0]]
            files.files.pop().close()
        else:
            break
    file._writer = writer
    assert failing.seen[-1] == "COMMIT"
    assert left == len(failing.seen) > 8
    assert state.mark("t") == 2
    assert probed(files.open(), 3, 7, 9) == sorted([b"n" * 16, ROWS[1][0]])


def test_an_interrupt_inside_of_a_statement_changes_nothing(files: FileStore) -> None:
    state, claim = filled(files)
    held, writer = state.dump("t"), files.files[0]._writer
    calls, limit = 0, 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > limit

    writer.set_progress_handler(stop, 40)
    while True:
        calls = 0
        try:
            state.apply(claim, WHOLE)
            break
        except StoreError:
            assert state.dump("t") == held
            limit += 1
    writer.set_progress_handler(None, 0)
    assert limit > 10
    assert state.mark("t") == 2


_CHILD = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from test_state_sqlite import Failing, kill_step
    from reassoc.stream.sqlite_file import SqliteFile
    from reassoc.stream.state_sqlite import SqliteState

    class Killing(Failing):
        def _count(self, statement):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    file = SqliteFile(Path(sys.argv[1]))
    state = SqliteState(file)
    claim = state.claim("t")
    file._writer = Killing(file._writer, int(sys.argv[2]))
    for mark in range(claim.mark, claim.mark + 1000):
        state.apply(claim, kill_step(mark))
        print(mark + 1, flush=True)
    """
)


def kill_step(mark: int) -> Step:
    """New records, changed ones, removed ones and outbox entries: all from the mark."""

    def name(number: int) -> bytes:
        return number.to_bytes(16, "little")

    rows = [(name(mark * 1000 + n), 1, [n, mark], b"%d" % mark * 40) for n in range(1000)]
    old = [(mark - 1) * 1000 + n for n in range(1000)] if mark else []
    return Step(
        mark, mark + 1, records_of(rows), ids_of([name(n) for n in old[:500]]),
        Block.of([b"u%d" % mark] * len(old[:500])), ids_of([name(n) for n in old[500:]]),
        [b"o%d" % mark] * 2,
    )  # fmt: skip


@pytest.mark.parametrize("statements", [3, 21, 33, 46, 10**9])
def test_a_kill_in_the_middle_loses_nothing(files: FileStore, statements: int) -> None:
    tests = Path(__file__).parent
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(files.path), str(statements)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
    )
    assert child.stdout is not None
    told = []
    for line in child.stdout:
        told.append(int(line))
        if len(told) == 5:  # else it kills itself
            child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()

    state = files.open()
    files.files[0].verify()
    mark = state.mark("t")
    assert mark - (told[-1] if told else 0) in (0, 1) or len(told) >= 5
    assert mark >= (told[-1] if told else 0)
    model = MemoryState(MemoryStore())
    claim = model.claim("t")
    for number in range(mark):
        model.apply(claim, kill_step(number))
    assert state.dump("t") == model.dump("t")
    assert state.outbox("t", 99) == model.outbox("t", 99)
    state.apply(state.claim("t"), kill_step(mark))
    model.apply(claim, kill_step(mark))
    assert state.dump("t") == model.dump("t")


def test_a_full_disk_is_told_and_leaves_a_usable_file(files: FileStore) -> None:
    state, claim = filled(files)
    writer = files.files[0]._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages + 2}")
    big = step(1, 2, *((bytes([n]) * 16, 1, [n], bytes(4000)) for n in range(1, 90)))
    with pytest.raises(StoreError, match=r"state\.db: the disk is full: make room.*SQLITE_FULL"):
        state.apply(claim, big)
    assert seen(state) == ROWS
    writer.execute("PRAGMA max_page_count=1000000")
    state.apply(claim, big)
    assert state.mark("t") == 2


def test_a_file_without_rights_to_write_is_told(files: FileStore) -> None:
    state, claim = filled(files)
    writer = files.files[0]._writer
    writer.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreError, match=r"state\.db: it cannot be written.*SQLITE_READONLY"):
        state.apply(claim, remove(1, 2, ROWS[0][0]))
    writer.execute("PRAGMA query_only=OFF")
    state.apply(claim, remove(1, 2, ROWS[0][0]))
    assert seen(state) == ROWS[1:]


def test_a_file_that_another_process_locks_is_told(
    files: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_WAIT_MS_MAX", 20)
    state, claim = filled(files)
    with closing(sqlite3.connect(files.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"state\.db: another process kept it locked"):
            state.apply(claim, remove(1, 2, ROWS[0][0]))
        assert seen(state) == ROWS  # reading goes on
        other.execute("ROLLBACK")
    state.apply(claim, remove(1, 2, ROWS[0][0]))


def test_a_damaged_file_is_told(files: FileStore) -> None:
    state, _ = filled(files)
    state.close()
    data = bytearray(files.path.read_bytes())
    for page in range(2, len(data) // sqlite_file.PAGE_BYTES):
        data[page * sqlite_file.PAGE_BYTES : page * sqlite_file.PAGE_BYTES + 100] = b"\xa5" * 100
    files.path.write_bytes(data)
    file = SqliteFile(files.path)
    files.files.append(file)
    with pytest.raises(StoreError, match=r"state\.db: it is damaged: stop, keep it aside"):
        file.verify()
    with pytest.raises(StoreError, match="damaged"):
        seen(SqliteState(file))
    files.path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="no SQLite file"):
        SqliteFile(files.path)


def test_files_of_others_and_of_newer_programs_are_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's SQLite file"):
        SqliteFile(path)
    assert path.read_bytes() == before
    newer = tmp_path / "newer.db"
    SqliteFile(newer).close()
    with closing(sqlite3.connect(newer)) as other:
        other.execute(f"PRAGMA user_version={sqlite_file.SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="use the newer program"):
        SqliteFile(newer)
    with pytest.raises(StoreError, match="cannot be made: No such file"):
        SqliteFile(tmp_path / "nowhere" / "state.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteFile(tmp_path)


def test_a_file_that_another_process_makes_meanwhile_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed, and given tables, between any two statements of the one who opens it."""
    path = tmp_path / "state.db"
    connect = SqliteFile._connect
    sign = (
        f"BEGIN IMMEDIATE; PRAGMA application_id={sqlite_file.APPLICATION_ID};"
        f"PRAGMA user_version={sqlite_file.SCHEMA_VERSION};"
        "CREATE TABLE IF NOT EXISTS t (x); COMMIT"
    )
    countdown = iter(())

    def meanwhile(_statement: str) -> None:
        if next(countdown, None) == "now":
            with (
                closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
                suppress(sqlite3.OperationalError),  # while the opener reads, nobody can
            ):
                other.executescript(sign)

    def watched(file: SqliteFile, cache_bytes: int) -> sqlite3.Connection:
        connection = connect(file, cache_bytes)
        connection.set_trace_callback(meanwhile)
        return connection

    monkeypatch.setattr(SqliteFile, "_connect", watched)
    for statements_before in range(20):
        path.unlink(missing_ok=True)
        countdown = iter([*["wait"] * statements_before, "now"])
        SqliteFile(path).close()
        assert next(countdown, None) is None or statements_before > 10


def test_the_file_is_durable_private_and_closed_for_good(files: FileStore) -> None:
    state, claim = filled(files)
    file = files.files[0]
    names = ("journal_mode", "synchronous", "foreign_keys", "application_id")
    modes = [file._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    assert modes == ["wal", 2, 1, sqlite_file.APPLICATION_ID]
    for path in files.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    state.close()
    state.close()
    assert [path.name for path in files.path.parent.iterdir()] == ["state.db"]
    for call in (lambda: state.mark("t"), lambda: state.apply(claim, step(1, 2))):
        with pytest.raises(StoreError, match="was closed: open it again"):
            call()


def test_a_caller_that_fails_leaves_no_transaction(files: FileStore) -> None:
    filled(files)
    file = files.files[0]
    for context in (file.write, file.read):
        with suppress(KeyError), context() as connection:
            connection.execute("SELECT * FROM outbox")
            raise KeyError
    with file.write() as connection:
        connection.execute("DELETE FROM outbox")
    assert files.open().outbox("t", 9) == []


def test_a_backup_is_one_moment_and_opens_as_a_store(files: FileStore, tmp_path: Path) -> None:
    state, claim = filled(files)
    copy = tmp_path / "backup" / "state.db"
    with pytest.raises(StoreError, match="cannot be written: No such file"):
        files.files[0].backup_to(copy)
    copy.parent.mkdir()
    files.files[0].backup_to(copy)
    state.apply(claim, remove(1, 2, ROWS[0][0]))
    assert [path.name for path in copy.parent.iterdir()] == ["state.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="is there already"):
        files.files[0].backup_to(copy)
    restored = FileStore(copy)
    again = restored.open()
    assert seen(again) == ROWS
    assert again.outbox("t", 9) == [OutboxEntry(1, b"first")]
    restored.files[0].verify()
    restored.files[0].close()


def test_readers_are_bounded_and_used_again(files: FileStore) -> None:
    state, _ = filled(files)
    file = files.files[0]
    for _ in range(50):
        state.mark("t")
    assert len(file._idle) == 1
    scan = state.scan("t")
    next(scan)
    assert len(file._idle) == 1  # a scan that waits holds no connection
    scan.close()


def test_a_probe_of_many_crowded_keys_brings_the_first_of_each(files: FileStore) -> None:
    """More ids than a statement brings: some of the keys have too many records, others do not."""
    records, keys, crowded = KEY_RECORDS_MAX + 4, 36, 20
    assert (records - 4) * keys > PROBE_ROWS_MAX
    ids = np.zeros((records, 2), ">u8")
    ids[:, 1] = np.arange(records)
    # The last of the records have only the keys that are crowded by them.
    counts = np.where(np.arange(records) < KEY_RECORDS_MAX, keys, crowded)
    stops = np.cumsum(counts)
    places = np.arange(stops[-1]) - np.repeat(stops - counts, counts)
    rows = Records(
        ids.view(np.uint8).reshape(records, 16), np.ones(records, np.uint8),
        places.astype(np.uint64), stops, Block(b"", np.zeros(records, np.int64)),
    )  # fmt: skip
    state = files.open()
    state.apply(state.claim("t"), Step(0, 1, rows))
    found = state.probe("t", np.arange(keys, dtype=np.uint64))
    assert found.crowded.tolist() == list(range(crowded))
    assert len(found.records) == KEY_RECORDS_MAX
    assert found.records.ids.tobytes() == rows.ids[:KEY_RECORDS_MAX].tobytes()
    easy = state.probe("t", np.arange(crowded, keys, dtype=np.uint64))
    assert (len(easy.records), len(easy.crowded)) == (KEY_RECORDS_MAX, 0)
