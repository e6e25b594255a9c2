"""Backup of a home while it is served, and restore into a new one.

State and ledger are two files that must be of one moment. A state older than the ledger would make
its next steps again under numbers that the ledger has already, with other content; a ledger older
than the state would lack what the state has forgotten. So both are locked for writing, a snapshot
of each is opened, and the locks are let go: a few milliseconds. Then the snapshots are copied,
whatever is written meanwhile, and the vault last: it holds everything that a log names before the
log does, and only grows. The master key is never part of a backup.

What was released after a backup was made, the restored book does not know. So in a restored home
nothing leaves before a person says so: releases are held, files that were not done are in doubt,
and control numbers go on behind a gap. docs/WAREHOUSE.md tells what to do then.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec
from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream.home import MARKER, SETTINGS_NAMES, Home
from reassoc.stream.outputs import OutputError, whole_or_nothing
from reassoc.stream.release_book import Intent
from reassoc.stream.sinks import Delivery, Written

BACKUP_FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 256 << 20
FILES_MAX = 1_000_000
"""Files of one backup, and names of one list of released files."""
LOCK_WAIT_SECONDS_MAX = 60.0
"""How long a backup waits for the transaction that is under way."""
CONTROL_NUMBER_GAP = 100_000
"""Control numbers that a restored home leaves out between each sender and receiver: more files than
were sent since the backup."""
DAMAGES_SHOWN_MAX = 5
_BUFFER_BYTES = 1 << 20
_PAGES_AT_ONCE = 1 << 12


class BackupError(ReassocError):
    """A backup cannot be made, or is not whole; the message says what to do."""


class BackupFile(msgspec.Struct, frozen=True):
    """A file of a backup: its path in it and in the home, its bytes and their BLAKE3 in hex."""

    path: str
    byte_count: int
    blake3: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. taken_at : ISO 8601; has_vault : the vault lay in the home"""

    format: int
    taken_at: str
    has_vault: bool
    key: str
    files: tuple[BackupFile, ...]

    @property
    def byte_count(self) -> int:
        return sum(file.byte_count for file in self.files)


KEY_NOTE = "the vault's master key is not in this backup: keep it apart, without it nothing is read"


# ---- making one ----


def backup(
    home: Home, out: Path, *, copy_vault: Callable[[Path], object] | None, taken_at: str
) -> Manifest:
    """Copy a home into the new folder `out`, while others work in it.

    copy_vault : copies everything committed into a folder that is not there yet (Vault.copy_to);
        None where the vault does not lie in the home, and has a backup of its own
    taken_at : now, ISO 8601

    `out` appears whole, on disk, or not at all. Files in in/, done/, released/, refused/ and
    findings/ are not copied. Raises BackupError, OutputError where `out` is taken or lies in the
    home, and whatever copy_vault raises. Writers wait for milliseconds; beside the copies, memory
    is 16 MiB.
    """
    if out.resolve().is_relative_to(home.path.resolve()):
        raise OutputError(f"{out}: lies in the home, and would be lost with it: give another place")
    with whole_or_nothing(out) as folder:
        (folder / home.data.name).mkdir(0o700)
        with _of_one_moment(home.state_file, home.ledger_file) as snapshots:
            for path, snapshot in snapshots.items():
                _copy_database(snapshot, folder / path.relative_to(home.path))
        if copy_vault is not None:
            copy_vault(folder / home.vault.relative_to(home.path))
        _copy_settings(home, folder)
        manifest = Manifest(
            BACKUP_FORMAT, taken_at, copy_vault is not None, KEY_NOTE, tuple(_files(folder))
        )
        (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


@contextmanager
def _of_one_moment(*paths: Path) -> Iterator[Mapping[Path, sqlite3.Connection]]:
    """A snapshot of each database, all of the same moment: no transaction of any of them ended
    between one and another.

    Databases are locked in the order given. Nobody holds one of them while waiting for another.
    """
    with ExitStack() as stack:
        snapshots: dict[Path, sqlite3.Connection] = {}
        with ExitStack() as locks:
            for path in paths:
                writer = locks.enter_context(closing(_connect(path)))
                with _telling(path):
                    writer.execute("BEGIN IMMEDIATE")
            for path in paths:
                snapshots[path] = stack.enter_context(closing(_connect(path)))
                with _telling(path):
                    snapshots[path].execute("BEGIN")
                    # A snapshot begins with the first thing that is read in it.
                    snapshots[path].execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield snapshots


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise BackupError(f"{path}: missing: nothing was taken in yet, or it lies elsewhere")
    with _telling(path):
        return sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=LOCK_WAIT_SECONDS_MAX,
        )


def _copy_database(snapshot: sqlite3.Connection, path: Path) -> None:
    path.touch(0o600)
    with _telling(path), closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # Within its transaction the snapshot does not move, however long this takes.
        snapshot.backup(copy, pages=_PAGES_AT_ONCE)
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise BackupError(f"{path.name}: damaged in the home itself: restore an earlier backup")


def _copy_settings(home: Home, folder: Path) -> None:
    for name in (MARKER, *SETTINGS_NAMES):
        source = home.path / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copyfile(source, folder / name)


def _files(folder: Path) -> list[BackupFile]:
    found = []
    for path in _walk(folder):
        written = _written(path)
        name = path.relative_to(folder).as_posix()
        found.append(BackupFile(name, written.byte_count, written.digest.hex()))
    return found


def _walk(folder: Path) -> list[Path]:
    """Every file below a folder, sorted. Raises BackupError above FILES_MAX, and for what is
    neither file nor folder."""
    paths: list[Path] = []
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent) / name for name in (*folders, *names)):
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BackupError(f"{path}: neither a file nor a folder: take it out")
        paths += [Path(parent) / name for name in names]
        if len(paths) > FILES_MAX:
            raise BackupError(f"{folder}: more than FILES_MAX ({FILES_MAX}) files")
    return sorted(paths)


def _written(path: Path) -> Written:
    hasher, size = blake3(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_BUFFER_BYTES):
            hasher.update(piece)
            size += len(piece)
    return Written(size, hasher.digest())


# ---- taking one back ----


def restore(source: Path, target: Path, *, settle: Callable[[Home], object]) -> Manifest:
    """Make a home of a backup in the new folder `target`.

    settle : does to the restored home what must be done before anybody sees it: leave_to_people on
        its release book

    Every file is checked against the manifest; nothing may be missing or there too much. Releases
    of the new home are held, and its control numbers go on behind CONTROL_NUMBER_GAP. It appears
    whole, on disk, or not at all. Raises BackupError, OutputError where `target` is taken or lies
    in the backup, and whatever `settle` raises.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise OutputError(f"{target}: lies in the backup, which must stay as it is: give another")
    manifest = read_manifest(source)
    _check_names(source, manifest)
    with whole_or_nothing(target) as folder:
        damaged = [file.path for file in manifest.files if not _copy_file(source, folder, file)]
        if damaged:
            shown = ", ".join(damaged[:DAMAGES_SHOWN_MAX])
            raise BackupError(
                f"{source}: {len(damaged)} files are not what the manifest says ({shown}): "
                "nothing was restored; take another copy of the backup"
            )
        home = Home.open(folder)
        _skip_control_numbers(home.ledger_file)
        home.hold_releases(f"restored from the backup of {manifest.taken_at}")
        settle(home)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """What a backup says it holds. Raises BackupError where it is none, or of a newer version."""
    path = source / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise BackupError(f"{path}: larger than MANIFEST_BYTES_MAX ({MANIFEST_BYTES_MAX})")
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BackupError(f"{source}: no backup ({path.name}: {error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError(f"{path}: damaged: take another copy of the backup") from error
    if manifest.format > BACKUP_FORMAT:
        raise BackupError(
            f"{source}: a backup of format {manifest.format}, and this version knows up to "
            f"{BACKUP_FORMAT}: use the version of reassoc that made it, or a newer one"
        )
    return manifest


def _check_names(source: Path, manifest: Manifest) -> None:
    named = [file.path for file in manifest.files]
    for place, name in enumerate(named):
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/" or "\0" in name:
            raise BackupError(f"{source / MANIFEST}: files[{place}].path leaves the backup")
    there = {path.relative_to(source).as_posix() for path in _walk(source)} - {MANIFEST}
    missing, surplus = set(named) - there, there - set(named)
    if missing or surplus or len(set(named)) != len(named):
        shown = ", ".join(sorted(missing | surplus)[:DAMAGES_SHOWN_MAX])
        raise BackupError(
            f"{source}: {len(missing)} files are missing and {len(surplus)} are too many ({shown}):"
            " nothing was restored; take another copy of the backup"
        )


def _copy_file(source: Path, folder: Path, file: BackupFile) -> bool:
    """Copy a file and say whether it is what the manifest says."""
    target = folder / file.path
    # What lies in data/ is nobody else's to read.
    target.parent.mkdir(0o700 if file.path.startswith("data/") else 0o777, True, True)
    hasher, size = blake3(), 0
    with (source / file.path).open("rb", buffering=0) as read, target.open("wb") as write:
        if file.path.startswith("data/"):
            target.chmod(0o600)
        while piece := read.read(_BUFFER_BYTES):
            hasher.update(piece)
            size += len(piece)
            write.write(piece)
    return (size, hasher.hexdigest()) == (file.byte_count, file.blake3)


def _skip_control_numbers(ledger: Path) -> None:
    """Files that were sent after the backup have numbers that must not be given again."""
    with _telling(ledger), closing(_connect(ledger)) as connection:
        connection.execute(
            "UPDATE control_number SET last_interchange = last_interchange + ?,"
            " last_group = last_group + ?",
            (CONTROL_NUMBER_GAP, CONTROL_NUMBER_GAP),
        )


# ---- what was released since ----


class Book(Protocol):
    """What is asked of the release book: release_book.ReleaseBook."""

    def unfinished(self, after: int = 0) -> list[Intent]: ...

    def done(self, delivered: Sequence[tuple[int, int]], *, at: str) -> None: ...

    def in_doubt(self, number: int, *, at: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the files that a restored book has not as done."""

    delivered_count: int
    in_doubt_count: int


def leave_to_people(book: Book, released: Mapping[str, Path | None], at: str) -> Settled:
    """Settle the files that were not done when the backup was made: those that are known to be
    delivered are done, all others are in doubt, until a person says whether they were.

    released : from `released_files`    at : now, ISO 8601 in UTC

    A file that lies there with other bytes than it was prepared with stays in doubt. O(files).
    """
    delivered = in_doubt = last = 0
    while intents := book.unfinished(last):
        for intent in intents:
            last = intent.number
            if intent.name in released and _is_same(intent, released[intent.name]):
                book.done([(intent.number, int(Delivery.FOUND))], at=at)
                delivered += 1
                continue
            if not intent.is_in_doubt:
                book.in_doubt(intent.number, at=at)
            in_doubt += 1
    return Settled(delivered, in_doubt)


def released_files(source: Path | None) -> dict[str, Path | None]:
    """Files that receivers have, by name: those below a folder, or the lines of a text file (then
    nothing is known of their bytes). None: none are known. Raises BackupError.
    """
    if source is None:
        return {}
    try:
        if source.is_dir():
            return {path.name: path for path in _walk(source) if not path.name.startswith(".")}
        lines = source.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{source}: cannot be read as a folder or a list of names") from error
    if len(lines) > FILES_MAX:
        raise BackupError(f"{source}: more than FILES_MAX ({FILES_MAX}) names")
    return dict.fromkeys(lines)


def _is_same(intent: Intent, path: Path | None) -> bool:
    if path is None or intent.prepared is None:
        return True
    return _written(path) == intent.prepared


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Errors of SQLite as ours. Their own text stays out: it may quote data."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise BackupError(
            f"{path}: SQLite failed ({name}): check the disk, its rights, and who else uses it"
        ) from error
