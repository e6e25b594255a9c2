"""The folder that a warehouse lives in: its layout, its format, its settings, and who works in it.

    DIR/in/          files that come            DIR/home.toml        says that this is a home
    DIR/done/        files that were taken      DIR/policy.toml      what may match by itself
    DIR/refused/     files that were not        DIR/warehouse.toml   when to release, what to hold
    DIR/released/    835s that may be posted    DIR/directory.toml   who is who
    DIR/findings/    what is wrong in files     DIR/layouts/*.toml   lockbox lists
    DIR/data/        vault, state, ledger       DIR/vault.key        the vault's master key

One process at a time changes a home; the lock of the operating system says who, so that what a dead
process left is no lock.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from blake3 import blake3

from reassoc.core.calendar import BankingCalendar
from reassoc.core.directory import Directory
from reassoc.core.errors import DirectoryError, LayoutError, PolicyError, ReassocError
from reassoc.core.lockbox import LockboxLayout
from reassoc.core.policy import Policy
from reassoc.stream.item_log import SettingsEntry
from reassoc.stream.layouts import load_layout
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.settings import (
    DIRECTORY_LIMIT,
    POLICY_LIMIT,
    RULES_LIMIT,
    decode_directory,
    decode_policy,
    decode_rules,
    read_bytes,
)

LAYOUTS_MAX = 1000
HOME_FORMAT = 1
"""Number of the layout that this version makes and knows."""
MARKER = "home.toml"
MARKER_BYTES_MAX = 1 << 16
HOLDER_BYTES_MAX = 1 << 12
COMMAND_LENGTH_MAX = 200
"""Characters of a command that stand in the lock."""
ORPHANS_SECONDS_MAX = 5.0
"""How long the processes of one that was killed may take to end, by the system's hand."""
ORPHANS_LOOK_SECONDS = 0.01
KEY_VARIABLE = "REASSOC_VAULT_KEY"
KEY_FILE_VARIABLE = "REASSOC_VAULT_KEY_FILE"

_FOLDERS = ("in", "done", "refused", "released", "findings", "data")
SETTINGS_NAMES = ("policy.toml", "warehouse.toml", "directory.toml", "layouts")
_BEFORE_THE_HOME = {*_FOLDERS, *SETTINGS_NAMES, "vault.key", f".{MARKER}.part", "lost+found"}
"""What may lie in a folder before it becomes a home: a user's settings, files that wait, and what
an earlier start did not end.
"""
_MARKER_TEXT = f"""\
# This folder is a home of reassoc: docs/WAREHOUSE.md says what lies in it.
format = {HOME_FORMAT}
"""


class HomeError(ReassocError):
    """The folder cannot be used as a home; the message says why and what to do."""


class HomeLockedError(HomeError):
    """Another process works in the home; the message says which."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock of a home. since : ISO 8601"""

    pid: int
    host: str
    command: str
    since: str

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended, as far as this machine can tell."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        try:
            # One that has ended is there until its parent takes that in.
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (OSError, IndexError):
            return False

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.pid} on {self.host}, since {self.since})"


class _Marker(msgspec.Struct, frozen=True):
    format: int


@dataclass(frozen=True, slots=True)
class Home:
    """A folder of the layout above. Made by `create_or_open` and `open`; `path` is absolute."""

    path: Path

    @classmethod
    def create_or_open(cls, path: Path) -> Home:
        """The home in a folder, made where the folder is missing, empty, or holds nothing but
        settings and files that wait in in/.

        The marker is written last: a home that was not made to the end is made again. Raises
        HomeError for a folder with anything else in it, and as `open` does.
        """
        home = cls(Path(os.path.abspath(path)))
        try:
            if not home._has_marker():
                home._check_free()
                home._make_folders()
                _write_durably(home.path / MARKER, _MARKER_TEXT.encode())
                return home
        except OSError as error:
            raise _unusable(path, error) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Home:
        """The home in a folder that is one; folders that are missing in it are made again.

        Raises HomeError where it is none, is of a newer format, or its data/ is gone: an empty one
        would release everything a second time.
        """
        home = cls(Path(os.path.abspath(path)))
        try:
            if not home._has_marker():
                raise HomeError(f"{path}: no home of reassoc (it has no {MARKER})")
            home._check_format()
            if not home.data.is_dir():
                raise HomeError(
                    f"{home.data}: missing, though {path} is a home: mount it, or restore a backup "
                    "into a new folder"
                )
            home._make_folders()
        except OSError as error:
            raise _unusable(path, error) from error
        return home

    # ---- places ----

    @property
    def inbox(self) -> Path:
        return self.path / "in"

    @property
    def done(self) -> Path:
        return self.path / "done"

    @property
    def refused(self) -> Path:
        return self.path / "refused"

    @property
    def released(self) -> Path:
        return self.path / "released"

    @property
    def findings(self) -> Path:
        return self.path / "findings"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def vault(self) -> Path:
        return self.data / "vault"

    @property
    def state_file(self) -> Path:
        return self.data / "state.db"

    @property
    def ledger_file(self) -> Path:
        return self.data / "ledger.db"

    @property
    def lock_file(self) -> Path:
        return self.data / "lock"

    @property
    def policy_file(self) -> Path:
        return self.path / "policy.toml"

    @property
    def rules_file(self) -> Path:
        return self.path / "warehouse.toml"

    @property
    def directory_file(self) -> Path:
        return self.path / "directory.toml"

    @property
    def layouts(self) -> Path:
        return self.path / "layouts"

    @property
    def hold_file(self) -> Path:
        return self.data / "releases-held"

    def key_file(self, environment: Mapping[str, str]) -> Path:
        """Where the file with the vault's master keys lies: where REASSOC_VAULT_KEY_FILE says, else
        vault.key in the home. What stands in REASSOC_VAULT_KEY goes before any file.

        Raises HomeError where both variables are set.
        """
        elsewhere = environment.get(KEY_FILE_VARIABLE, "")
        if elsewhere and environment.get(KEY_VARIABLE):
            raise HomeError(f"{KEY_VARIABLE} and {KEY_FILE_VARIABLE} are both set: set one of them")
        return Path(os.path.abspath(elsewhere)) if elsewhere else self.path / "vault.key"

    # ---- who works in it ----

    @contextmanager
    def lock(self, what: str, since: str) -> Iterator[None]:
        """Be the only process that changes the home.

        what : the command, for whoever is refused    since : now, ISO 8601

        Raises HomeLockedError at once where another process has it, naming that one. The lock goes
        with the process, however it ends, and with those it has forked: where it is gone already,
        they follow in a moment, which is waited for.
        """
        try:
            handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.lock_file, error) from error
        try:
            self._take(handle)
            holder = Holder(os.getpid(), socket.gethostname(), what[:COMMAND_LENGTH_MAX], since)
            os.ftruncate(handle, 0)
            os.pwrite(handle, msgspec.json.encode(holder), 0)
            try:
                yield
            finally:
                with suppress(OSError):  # a full disk must not hide what ended the block
                    os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def holder(self) -> Holder | None:
        """Who has the lock now; None for nobody. Raises HomeLockedError where somebody has it that
        cannot be told.

        It looks by taking the lock for a moment, but only where a name stands in it: whoever ends
        well takes its name out.
        """
        try:
            handle = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self.lock_file, error) from error
        try:
            if os.fstat(handle).st_size:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(handle)
            if holder is None:
                raise HomeLockedError(f"{self.path}: in use by another process") from None
            return holder
        except OSError as error:
            raise _unusable(self.lock_file, error) from error
        finally:
            os.close(handle)
        return None

    def _take(self, handle: int) -> None:
        end = time.monotonic() + ORPHANS_SECONDS_MAX
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read_holder(handle)
                if holder is not None and holder.is_gone and time.monotonic() < end:
                    time.sleep(ORPHANS_LOOK_SECONDS)
                    continue
                raise HomeLockedError(
                    f"{self.path}: in use by {holder or 'another process'}; end that one first, or "
                    "wait for it"
                ) from None
            except OSError as error:
                raise _unusable(self.lock_file, error) from error
            return

    # ---- releases of a restored home ----

    def hold_releases(self, why: str) -> None:
        """Let nothing be delivered until `resume_releases`. why : for people, one line"""
        try:
            _write_durably(self.hold_file, f"{why}\n".encode())
        except OSError as error:
            raise _unusable(self.hold_file, error) from error

    def releases_held(self) -> str | None:
        """Why nothing may be delivered; None where it may."""
        try:
            return self.hold_file.read_text().strip() or "held"
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return "held, and the reason cannot be read"

    def resume_releases(self) -> None:
        """Let releases go on."""
        try:
            self.hold_file.unlink(missing_ok=True)
            _sync(self.data)
        except OSError as error:
            raise _unusable(self.hold_file, error) from error

    # ---- making it ----

    def _has_marker(self) -> bool:
        if self.path.exists() and not self.path.is_dir():
            raise HomeError(f"{self.path}: a file, not a folder")
        return (self.path / MARKER).exists()

    def _check_format(self) -> None:
        marker = self.path / MARKER
        with marker.open("rb") as file:
            data = file.read(MARKER_BYTES_MAX)
        try:
            made = msgspec.toml.decode(data, type=_Marker).format
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HomeError(f"{marker}: damaged: it must say format = {HOME_FORMAT}") from error
        if made > HOME_FORMAT:
            raise HomeError(
                f"{self.path}: a home of format {made}, and this version knows up to {HOME_FORMAT}:"
                " use the version of reassoc that made it, or a newer one"
            )
        if made < 1:
            raise HomeError(f"{marker}: format must be from 1 to {HOME_FORMAT}")

    def _check_free(self) -> None:
        names = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        strangers = len(names - _BEFORE_THE_HOME)
        if strangers:
            raise HomeError(
                f"{self.path}: not empty and no home ({strangers} entries that are none of a "
                "home's): give a new folder"
            )
        if self.data.is_dir() and any(self.data.iterdir()):
            raise HomeError(
                f"{self.data}: has contents, but {self.path} has no {MARKER}: restore that file, or"
                " give a new folder"
            )

    def _make_folders(self) -> None:
        for name in _FOLDERS:
            mode = 0o700 if name == "data" else 0o777
            (self.path / name).mkdir(mode, parents=True, exist_ok=True)
        if stat.S_IMODE(self.data.stat().st_mode) & 0o077:
            self.data.chmod(0o700)
        _sync(self.path)


# ---- its settings ----


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings files of a home as they were read once, all of them usable.

    policy_text, rules_text : TOML; empty where the file is missing, which means the defaults
    directory_bytes : the directory file, for the vault; empty for none
    directory_digest : BLAKE3 of it, 32 bytes; empty for none
    """

    policy_text: str
    policy: Policy
    rules_text: str
    rules: WarehouseRules
    directory_bytes: bytes
    directory_digest: bytes
    directory: Directory | None
    layouts: tuple[LockboxLayout, ...]

    def entry(self, calendar: BankingCalendar) -> SettingsEntry:
        """What the item log gets of them."""
        holidays = calendar.holidays.astype("<i4").tobytes()
        return SettingsEntry(self.policy_text, self.rules_text, self.directory_digest, holidays)


def read_settings(home: Home) -> Settings:
    """Read every settings file of a home.

    Raises PolicyError, DirectoryError or LayoutError that names the file and the line or the key.
    """
    policy_bytes = _bytes_if_there(home.policy_file, POLICY_LIMIT, PolicyError)
    rules_bytes = _bytes_if_there(home.rules_file, RULES_LIMIT, PolicyError)
    directory_bytes = _bytes_if_there(home.directory_file, DIRECTORY_LIMIT, DirectoryError)
    policy = decode_policy(policy_bytes, str(home.policy_file))
    rules = decode_rules(rules_bytes, str(home.rules_file))
    directory = None
    if directory_bytes:
        directory = decode_directory(directory_bytes, str(home.directory_file))
    return Settings(
        policy_bytes.decode(),
        policy,
        rules_bytes.decode(),
        rules,
        directory_bytes,
        blake3(directory_bytes).digest() if directory_bytes else b"",
        directory,
        _read_layouts(home.layouts),
    )


Stamps = tuple[tuple[str, int, int, int], ...]


def settings_stamps(home: Home) -> Stamps:
    """Name, inode, size and time of each settings file: what has changed since is read again."""
    stamps = []
    for path in (
        home.policy_file,
        home.rules_file,
        home.directory_file,
        *sorted(home.layouts.glob("*.toml")),
    ):
        with suppress(OSError):
            status = path.stat()
            stamps.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(stamps)


def _bytes_if_there(path: Path, limit: tuple[str, int], fault: type[ReassocError]) -> bytes:
    return read_bytes(path, limit, fault) if path.exists() else b""


def _read_layouts(folder: Path) -> tuple[LockboxLayout, ...]:
    paths = sorted(path for path in folder.glob("*.toml") if not path.name.startswith("."))
    if len(paths) > LAYOUTS_MAX:
        raise LayoutError(f"{folder}: {len(paths)} layouts, more than LAYOUTS_MAX ({LAYOUTS_MAX})")
    return tuple(load_layout(path) for path in paths)


def _read_holder(handle: int) -> Holder | None:
    """Who wrote itself into the lock; None where nothing legible stands there (yet)."""
    try:
        return msgspec.json.decode(os.pread(handle, HOLDER_BYTES_MAX, 0), type=Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write_durably(path: Path, data: bytes) -> None:
    """Put a file in place as a whole, and flush it and its folder."""
    private = path.with_name(f".{path.name}.part")
    with private.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    private.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(path: Path, error: OSError) -> HomeError:
    return HomeError(f"{path}: cannot be used: {error.strerror or 'input or output error'}")
