"""Where the vault's files lie: names and bytes, nothing of what they mean.

`LocalStore` is a folder: files grow by appending, and one process writes at a time. What else
fsspec reaches is in `vault_objects.py`: objects that are written once. Every method raises OSError
where the store fails.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from reassoc.stream.vault_errors import BusyError

Buffer = bytes | bytearray | memoryview
SEGMENTS = "segments"
NEW = ".new"
"""Ending of a file that will replace another one."""
_LOCK = "lock"


class Sink(Protocol):
    """A new file that is being written."""

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append."""
        ...

    def sync(self) -> None:
        """What was written is durable, where files grow; nothing where they are written once."""
        ...

    def close(self) -> None:
        """The file is whole. It is durable where files are written once."""
        ...


class Store(Protocol):
    """Files by names such as `head` and `segments/x.data`.

    where : what messages name      can_append : whether `Sink.sync` makes a part of a file durable
    """

    where: str
    can_append: bool

    def names(self) -> dict[str, int]:
        """Every file and its bytes, those that `replace` makes on its way included."""
        ...

    def folders(self) -> list[str]:
        """Names of folders right below, none where there is nothing. Other vaults may lie there."""
        ...

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes of a file, fewer where it ends before. Raises FileNotFoundError."""
        ...

    def create(self, name: str) -> Sink:
        """A new file; its name is durable when `sync` or `close` returns."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Put bytes in the place of a file, whole or not at all, durably. What was there before is
        overwritten as far as the store can."""
        ...

    def settle(self) -> None:
        """Finish or undo what `replace` was at when its process died."""
        ...

    def cut(self, name: str, size: int) -> None:
        """Shorten a file, durably. Only where files grow."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file durably; nothing where there is none."""
        ...

    def stamp(self, name: str) -> int:
        """Another number once the file was replaced; always 0 where that cannot be told cheaply.
        Raises FileNotFoundError."""
        ...

    def is_written_now(self) -> bool:
        """Whether another process has the store open for writing, as far as can be told."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class LocalStore:
    """A folder, mode 0700, files 0600.

    read_only : nothing is written, made or locked. Else the folder is locked until `close`: raises
    BusyError where another process, or this one, has it open for writing.
    """

    can_append = True

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self.where = str(folder)
        self._folder = folder
        self._lock = -1
        if not read_only:
            (folder / SEGMENTS).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()

    def _take_lock(self) -> int:
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise BusyError(
                f"{self.where}: another process writes this vault: end it first, or open the vault "
                "read-only"
            ) from error
        except BaseException:
            os.close(handle)
            raise
        return handle

    def names(self) -> dict[str, int]:
        """Every file but the lock, and its bytes."""
        found = {}
        for prefix, folder in (("", self._folder), (f"{SEGMENTS}/", self._folder / SEGMENTS)):
            with os.scandir(folder) as entries:
                for entry in entries:
                    # A file may go while the folder is being read.
                    with suppress(FileNotFoundError):
                        if entry.is_file() and prefix + entry.name != _LOCK:
                            found[prefix + entry.name] = entry.stat().st_size
        return found

    def folders(self) -> list[str]:
        """Names of folders right below."""
        try:
            with os.scandir(self._folder) as entries:
                return [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []

    def read(self, name: str, start: int, stop: int) -> bytes:
        """Bytes of a file, fewer where it ends before."""
        handle = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(handle, stop - start, start)
            if len(data) == stop - start or not data:
                return data
            pieces = [data]
            at = start + len(data)
            while at < stop and (data := os.pread(handle, stop - at, at)):
                pieces.append(data)
                at += len(data)
            return b"".join(pieces)
        finally:
            os.close(handle)

    def create(self, name: str) -> LocalSink:
        """A new file."""
        return LocalSink(self._folder / name)

    def replace(self, name: str, data: bytes) -> None:
        """By a rename. The bytes that were there are overwritten with zeros afterwards; file
        systems and disks that keep old blocks keep them all the same."""
        path = self._folder / name
        partial = path.with_name(path.name + NEW)
        partial.unlink(missing_ok=True)
        sink = LocalSink(partial)
        try:
            sink.write([data])
            sink.sync()
        finally:
            sink.close()
        before = -1
        with suppress(FileNotFoundError):
            before = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.replace(partial, path)
            _sync_folder(path.parent)
            if before >= 0:
                _write_all(before, bytes(os.fstat(before).st_size))
                os.fsync(before)
        finally:
            if before >= 0:
                os.close(before)

    def settle(self) -> None:
        """A file that was to replace another one and did not is removed."""
        for name in self.names():
            if name.endswith(NEW):
                self.remove(name)

    def cut(self, name: str, size: int) -> None:
        """Shorten a file, durably; one that is shorter stays as it is."""
        handle = os.open(self._folder / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(handle).st_size > size:
                os.ftruncate(handle, size)
                os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, name: str) -> None:
        """Remove a file durably."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def stamp(self, name: str) -> int:
        """The file's number on its disk."""
        return os.stat(self._folder / name).st_ino

    def is_written_now(self) -> bool:
        """Whether somebody else holds the lock."""
        if self._lock >= 0:
            return False
        try:
            handle = os.open(self._folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class LocalSink:
    """A new file of a folder."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o600)
        self._folder = path.parent
        self._is_named = False

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append."""
        for part in parts:
            _write_all(self._handle, part)

    def sync(self) -> None:
        """The bytes, and at the first time the name too, are on disk."""
        os.fdatasync(self._handle)
        if not self._is_named:
            _sync_folder(self._folder)
            self._is_named = True

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)


def _write_all(handle: int, data: Buffer) -> None:
    with memoryview(data) as view:
        at = os.write(handle, view)
        while at < len(view):
            at += os.write(handle, view[at:])


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
