"""A backup is of one moment, whoever writes meanwhile; a restored home sends nothing by itself."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream import backup as backup_module
from reassoc.stream.backup import (
    CONTROL_NUMBER_GAP,
    BackupError,
    Manifest,
    backup,
    leave_to_people,
    read_manifest,
    released_files,
    restore,
)
from reassoc.stream.envelope import Profile
from reassoc.stream.home import Home
from reassoc.stream.home_intake import open_vault
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import ORDER_ROW, ReleaseOrder
from reassoc.stream.open_home import open_home
from reassoc.stream.outputs import OutputError
from reassoc.stream.profiles import encode_profile, profile_key
from reassoc.stream.release_book import Intent, ReleaseBook
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.sinks import Written

AT = "2026-03-12T12:00:00+00:00"


def connect(path: Path, timeout: float = 30) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=timeout)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose two databases are enough like the real ones: an outbox, and what was taken out
    of it."""
    made = Home.create_or_open(tmp_path / "home")
    with closing(connect(made.state_file)) as state:
        state.execute("PRAGMA journal_mode = WAL")
        state.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, digest BLOB)")
        state.execute("CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, body BLOB)")
    with closing(connect(made.ledger_file)) as ledger:
        ledger.execute("PRAGMA journal_mode = WAL")
        ledger.execute("CREATE TABLE batch (sequence INTEGER PRIMARY KEY, body BLOB)")
        ledger.execute("CREATE TABLE control_number (last_interchange INT, last_group INT)")
        ledger.execute("INSERT INTO control_number VALUES (41, 77)")
    made.vault.mkdir()
    (made.vault / "first").touch()
    return made


def copy_vault(home: Home) -> Callable[[Path], None]:
    return lambda target: (
        shutil.copytree(home.vault, target, copy_function=shutil.copyfile) and None
    )


def take(home: Home, out: Path) -> Manifest:
    return backup(home, out, copy_vault=copy_vault(home), taken_at=AT)


def nothing(_: Home) -> None:
    """Nothing has to be settled."""


# ---- one moment ----


class Engine:
    """Writes a home as the engine does: vault, log with outbox, ledger, acknowledgement."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with (
            closing(connect(self.home.state_file)) as state,
            closing(connect(self.home.ledger_file)) as ledger,
        ):
            while not self._stop.is_set() and self.count < 100_000:
                self.count += 1
                self._step(state, ledger)

    def try_step(self) -> None:
        """A step, unless somebody has locked the home."""
        with (
            closing(connect(self.home.state_file, 0)) as state,
            closing(connect(self.home.ledger_file, 0)) as ledger,
        ):
            self.count += 1
            try:
                self._step(state, ledger)
            except sqlite3.OperationalError:
                self.count -= 1

    def _step(self, state: sqlite3.Connection, ledger: sqlite3.Connection) -> None:
        digest, body = secrets.token_bytes(8), secrets.token_bytes(64)
        with (self.home.vault / "first").open("ab") as segment:
            segment.write(digest)
        state.execute("BEGIN IMMEDIATE")
        state.execute("INSERT INTO log VALUES (?, ?)", (self.count, digest))
        state.execute("INSERT INTO outbox VALUES (?, ?)", (self.count, body))
        state.execute("COMMIT")
        ledger.execute("BEGIN IMMEDIATE")
        ledger.execute("INSERT INTO batch VALUES (?, ?)", (self.count, body))
        ledger.execute("COMMIT")
        state.execute("DELETE FROM outbox WHERE sequence <= ?", (self.count,))


def check_one_moment(folder: Path) -> int:
    """What must hold between the parts of a backup; the last position of its log."""
    with closing(connect(folder / "data" / "state.db")) as state:
        digests = [row[0] for row in state.execute("SELECT digest FROM log")]
        outbox = dict(state.execute("SELECT sequence, body FROM outbox"))
    with closing(connect(folder / "data" / "ledger.db")) as ledger:
        batches = dict(ledger.execute("SELECT sequence, body FROM batch"))
    last = len(digests)
    assert (folder / "data" / "vault" / "first").read_bytes().startswith(b"".join(digests))
    # The ledger has all that was acknowledged, nothing that the state does not know yet, and of
    # what is not acknowledged the very same.
    assert set(batches) | set(outbox) == set(range(1, last + 1))
    assert all(batches[sequence] == outbox[sequence] for sequence in set(batches) & set(outbox))
    return last


def test_backups_are_of_one_moment_while_the_engine_writes(home: Home, tmp_path: Path) -> None:
    seen = []
    with Engine(home) as engine:
        for number in range(12):
            before = engine.count
            take(home, tmp_path / f"backup-{number}")
            seen.append(check_one_moment(tmp_path / f"backup-{number}"))
            assert seen[-1] >= before - 1
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_no_step_fits_between_the_two_snapshots(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, open_database = Engine(home), backup_module._connect
    tried = 0

    def after_a_step(path: Path) -> sqlite3.Connection:
        nonlocal tried
        tried += 1
        engine.try_step()
        return open_database(path)

    monkeypatch.setattr(backup_module, "_connect", after_a_step)
    take(home, tmp_path / "backup")
    assert check_one_moment(tmp_path / "backup") == engine.count
    assert 0 < engine.count < tried


def test_nobody_waits_for_the_copying(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the snapshots and the copies others commit, and the copies do not see it."""
    copy = backup_module._copy_database

    def late(snapshot: sqlite3.Connection, path: Path) -> None:
        with closing(connect(home.state_file, 0)) as state:
            state.execute("INSERT INTO log (digest) VALUES (x'00')")
        with closing(connect(home.ledger_file, 0)) as ledger:
            ledger.execute("INSERT INTO batch (body) VALUES (x'00')")
        copy(snapshot, path)

    monkeypatch.setattr(backup_module, "_copy_database", late)
    take(home, tmp_path / "backup")
    assert check_one_moment(tmp_path / "backup") == 0


def test_a_transaction_under_way_is_waited_for(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "LOCK_WAIT_SECONDS_MAX", 0.05)
    with closing(connect(home.ledger_file)) as ledger:
        ledger.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackupError, match=r"ledger\.db: SQLite failed \(SQLITE_BUSY"):
            take(home, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        with closing(connect(home.state_file, 0)) as state:  # its lock was let go
            state.execute("INSERT INTO log (digest) VALUES (x'00')")


# ---- what is in it ----


def test_a_backup_becomes_the_same_home_elsewhere(home: Home, tmp_path: Path) -> None:
    (home.vault / "first").write_bytes(b"sealed")
    home.policy_file.write_text("trace_window_days = 7\n")
    home.layouts.mkdir()
    (home.layouts / "bank.toml").write_text("")
    (home.path / "vault.key").write_text("the secret")
    (home.released / "a.x12").write_bytes(b"x")
    out = tmp_path / "backup"
    made = take(home, out)
    files = [file.path for file in made.files]
    assert files == [
        "data/ledger.db",
        "data/state.db",
        "data/vault/first",
        "home.toml",
        "layouts/bank.toml",
        "policy.toml",
    ]
    assert read_manifest(out) == made
    assert "not in this backup" in made.key
    seen: list[Path] = []
    assert restore(out, tmp_path / "new", settle=lambda home: seen.append(home.path)) == made
    new = Home.open(tmp_path / "new")
    assert seen != [new.path]  # it was settled before it was there
    assert (new.vault / "first").read_bytes() == b"sealed"
    assert new.policy_file.read_text() == "trace_window_days = 7\n"
    assert stat.S_IMODE(new.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(new.state_file.stat().st_mode) == 0o600
    assert str(new.releases_held()) == f"restored from the backup of {AT}"
    assert list(new.released.iterdir()) == []
    with closing(connect(new.ledger_file)) as ledger:
        numbers = ledger.execute("SELECT * FROM control_number").fetchall()
    assert numbers == [(41 + CONTROL_NUMBER_GAP, 77 + CONTROL_NUMBER_GAP)]


def damage(out: Path, kind: str) -> None:
    path = out / "data" / "vault" / "first"
    if kind == "flip":
        path.write_bytes(b"sealeD")
    elif kind == "cut":
        path.write_bytes(b"seale")
    elif kind == "missing":
        path.unlink()
    elif kind == "surplus":
        (out / "data" / "vault" / "second").write_bytes(b"")
    elif kind == "link":
        (out / "data" / "vault" / "second").symlink_to("first")
    elif kind == "manifest":
        (out / "manifest.json").write_bytes(b"{")
    elif kind == "none":
        (out / "manifest.json").unlink()
    else:
        manifest = msgspec.json.decode((out / "manifest.json").read_bytes())
        manifest["format"] = 9 if kind == "newer" else 1
        if kind == "outside":
            manifest["files"][0]["path"] = "../outside"
        (out / "manifest.json").write_bytes(msgspec.json.encode(manifest))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("flip", r"1 files are not what the manifest says \(data/vault/first\)"),
        ("cut", "1 files are not what the manifest says"),
        ("missing", "1 files are missing and 0 are too many"),
        ("surplus", r"0 files are missing and 1 are too many \(data/vault/second\)"),
        ("link", "neither a file nor a folder"),
        ("manifest", "damaged"),
        ("none", "no backup"),
        ("newer", "format 9, and this version knows up to 1"),
        ("outside", r"files\[0\].path leaves the backup"),
    ],
)
def test_a_damaged_backup_restores_nothing(
    home: Home, tmp_path: Path, kind: str, what: str
) -> None:
    out = tmp_path / "backup"
    (home.vault / "first").write_bytes(b"sealed")
    take(home, out)
    damage(out, kind)
    with pytest.raises(BackupError, match=what):
        restore(out, tmp_path / "new", settle=nothing)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "home"]


def test_nothing_is_written_over(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "backup"
    take(home, out)
    with pytest.raises(OutputError, match="not an empty folder"):
        take(home, out)
    with pytest.raises(OutputError, match="not an empty folder"):
        restore(out, home.path, settle=nothing)
    with pytest.raises(OutputError, match="lies in the home"):
        take(home, home.path / "in" / ".." / "backup")
    with pytest.raises(OutputError, match="lies in the backup"):
        restore(out, out / "new", settle=nothing)

    def fail(_: Home) -> None:
        raise BackupError("settling failed")

    with pytest.raises(BackupError, match="settling failed"):
        restore(out, tmp_path / "new", settle=fail)
    assert not (tmp_path / "new").exists()


def test_a_damaged_or_missing_database_gives_no_backup(home: Home, tmp_path: Path) -> None:
    with closing(connect(home.state_file)) as state:
        rows = [(secrets.token_bytes(3000),) for _ in range(50)]
        state.executemany("INSERT INTO log (digest) VALUES (?)", rows)
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(home.state_file.read_bytes())
    data[40_960:49_152] = bytes(8192)
    home.state_file.write_bytes(data)
    with pytest.raises(BackupError, match=r"damaged|SQLite failed"):
        take(home, tmp_path / "backup")
    home.state_file.unlink()
    with pytest.raises(BackupError, match="missing"):
        take(home, tmp_path / "backup")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


# ---- what was released since ----


class Book:
    """A release book of a few files, three to a page."""

    def __init__(self, *intents: Intent) -> None:
        self.open = {intent.number: intent for intent in intents}
        self.told: list[tuple[str, int]] = []

    def unfinished(self, after: int = 0) -> list[Intent]:
        return [intent for number, intent in sorted(self.open.items()) if number > after][:3]

    def done(self, delivered: Sequence[tuple[int, int]], *, at: str) -> None:
        assert at == AT
        for number, _ in delivered:
            self.told.append(("done", number))
            del self.open[number]

    def in_doubt(self, number: int, *, at: str) -> None:
        self.told.append(("in doubt", number))
        self.open[number] = replace(self.open[number], is_in_doubt=True)


def intent(number: int, **values: object) -> Intent:
    name = f"R_S_{number:09d}.x12"
    made = Intent(number, name, "folder", "R", "S", number, number, 1, 1, 100, 20_000)
    return replace(made, **values)  # type: ignore[arg-type]


def test_what_was_not_done_waits_for_a_person(tmp_path: Path) -> None:
    written = Written(3, blake3(b"abc").digest())
    book = Book(
        intent(1),
        intent(2),
        intent(3, prepared=written),
        intent(5, prepared=written),
        intent(6, is_in_doubt=True),
        intent(7, is_in_doubt=True),
        intent(8),
    )
    for number, data in ((2, b"any"), (3, b"abc"), (5, b"other"), (7, b"any"), (9, b"strange")):
        folder = tmp_path / f"receiver {number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"R_S_{number:09d}.x12").write_bytes(data)
    (tmp_path / "receiver 1" / ".R_S_000000001.x12").write_bytes(b"not there yet")
    settled = leave_to_people(book, released_files(tmp_path), AT)
    assert book.told == [
        ("in doubt", 1),
        ("done", 2),
        ("done", 3),
        ("in doubt", 5),
        ("done", 7),
        ("in doubt", 8),
    ]
    assert (settled.delivered_count, settled.in_doubt_count) == (3, 4)


def test_names_may_stand_in_a_list(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("R_S_000000002.x12\n\nR_S_000000003.x12\n")
    assert released_files(names) == {"R_S_000000002.x12": None, "R_S_000000003.x12": None}
    assert released_files(None) == {}
    with pytest.raises(BackupError, match="cannot be read"):
        released_files(tmp_path / "missing")
    book = Book(intent(2, prepared=Written(3, b"")), intent(4))
    leave_to_people(book, released_files(names), AT)
    assert book.told == [("done", 2), ("in doubt", 4)]


PROFILE = Profile(
    receiver_qualifier=b"ZZ",
    receiver=b"CLINIC",
    sender_qualifier=b"ZZ",
    sender=b"PAYER",
    group_receiver=b"CLINIC",
    group_sender=b"PAYER",
    version=b"005010X221A1",
    agency=b"X",
    isa_version=b"00501",
    usage=b"T",
    element=ord("*"),
    component=ord(":"),
    repetition=b"^",
    terminator=ord("~"),
)


def order(offset: int) -> ReleaseOrder:
    rows = np.zeros(1, ORDER_ROW)
    rows["digest"], rows["offset"], rows["start"], rows["stop"] = 7, offset, offset, offset + 50
    rows["profile"], rows["cents"], rows["sending"] = profile_key(PROFILE), 100, 1
    profiles = ((profile_key(PROFILE), encode_profile(PROFILE)),)
    return ReleaseOrder("default", offset, 20_000, rows.tobytes(), (b"0001",), profiles)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tuple[Home, Ledger]]:
    made = Home.create_or_open(tmp_path / "home")
    with closing(connect(made.state_file)) as state:
        state.execute("PRAGMA journal_mode = WAL")
        state.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, digest BLOB)")
    opened = Ledger.open(f"sqlite:///{made.ledger_file}")
    yield made, opened
    opened.close()


def test_a_restored_book_gives_no_number_twice(ledger: tuple[Home, Ledger], tmp_path: Path) -> None:
    home, opened = ledger
    book = ReleaseBook(opened)
    rules = WarehouseRules()
    first = book.intend([order(1), order(2)], day=20_000, at=AT, rules=rules)
    book.done([(first[0].number, 1)], at=AT)
    second = book.intend([order(3)], day=20_000, at=AT, rules=rules)
    out = tmp_path / "backup"
    backup(home, out, copy_vault=None, taken_at=AT)
    lost = book.intend([order(4)], day=20_001, at=AT, rules=rules)

    def settle(restored: Home) -> None:
        inner = Ledger.open(f"sqlite:///{restored.ledger_file}")
        try:
            settled = leave_to_people(ReleaseBook(inner), {}, AT)
            assert (settled.delivered_count, settled.in_doubt_count) == (0, 1)
        finally:
            inner.close()

    restore(out, tmp_path / "new", settle=settle)
    again = Ledger.open(f"sqlite:///{Home.open(tmp_path / 'new').ledger_file}")
    try:
        new_book = ReleaseBook(again)
        waiting = new_book.unfinished()
        assert [(one.name, one.is_in_doubt) for one in waiting] == [(second[0].name, True)]
        # What was done stays done, and is never intended again.
        assert new_book.intend([order(1)], day=20_002, at=AT, rules=rules) == []
        later = new_book.intend([order(5)], day=20_002, at=AT, rules=rules)
        assert (
            later[0].interchange_control == second[0].interchange_control + 1 + CONTROL_NUMBER_GAP
        )
        assert later[0].name != lost[0].name
    finally:
        again.close()


def test_the_real_parts_come_back_and_go_on(tmp_path: Path) -> None:
    """A home that is open is backed up by another process, and the copy opens with its key."""
    content = b"ISA*00*" * 1000
    now = datetime(2026, 3, 12, 15, tzinfo=UTC)
    old = Home.create_or_open(tmp_path / "home")
    with open_home(old, "reassoc serve", environment={}, now=lambda: now) as parts:
        digest = parts.vault.put([content]).digest
        parts.log.append([("north", ClockEntry("opening", 20_524, AT))])
        parts.engine.match(10)
        logged, mark = parts.log.tenants(), parts.state.mark("north")
        assert mark == logged["north"] >= 1
        with open_vault(old, {}, lambda: now, read_only=True) as vault:
            backup(old, tmp_path / "backup", copy_vault=vault.copy_to, taken_at=AT)
    restore(tmp_path / "backup", tmp_path / "new", settle=nothing)
    new = Home.open(tmp_path / "new")
    with pytest.raises(ReassocError, match=r"new/vault\.key"):
        open_home(new, "reassoc serve", environment={}).__enter__()
    shutil.copy(old.path / "vault.key", new.path / "vault.key")
    with open_home(new, "reassoc serve", environment={}, now=lambda: now) as parts:
        assert parts.log.tenants() == logged
        assert parts.state.mark("north") == mark
        assert len(parts.state.outbox("north", 10)) == 1
        assert parts.engine.publish() == 1
        assert parts.vault.read(digest, 0, len(content)) == content
        assert parts.vault.verify() == []
