"""Where released files go. A sink takes a file once, however often it is asked.

The release book keeps what a sink must be told when it is asked again: whether the file was
prepared, and with which bytes. A file that was prepared and is not in the private folder any more
has been delivered, even where the receiver has taken it away since.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from blake3 import blake3

from reassoc.core.errors import ReassocError

PARTIAL = ".partial"
"""Private folder of a folder sink: files that are not whole, or not delivered yet."""
NAME_BYTES_MAX = 200
"""Bytes of a file name, or of a receiver's folder."""
FAULT_POINTS = (
    "sink: opened",
    "sink: written",
    "sink: synced",
    "sink: listed",
    "sink: prepared",
    "sink: folder made",
    "sink: moved",
    "sink: folder synced",
)
"""Between which steps of a delivery a crash is told apart."""
_BUFFER_BYTES = 1 << 20
_RENAME_NOREPLACE = 1
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)

Fault = Callable[[str], None]
"""Told each fault point that is passed; a test raises there."""
Write = Callable[[BinaryIO], None]
"""Writes the bytes of a file, the same ones each time."""


class Delivery(IntEnum):
    """How a file got there. MOVED: now. TAKEN: before, and what the receiver did with it is not
    known. FOUND: before, it lies there with equal bytes."""

    MOVED = 1
    TAKEN = 2
    FOUND = 3


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: its bytes, and their BLAKE3 digest (32 bytes)."""

    byte_count: int
    digest: bytes


class SinkError(ReassocError):
    """A sink does not take files of a receiver at present. code : errno, 0 for none"""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class NameTakenError(SinkError):
    """Another file has the name."""


class BytesChangedError(ReassocError):
    """A file came out other than when it was prepared."""


class Sink(Protocol):
    """Takes files. `name` is unique for ever, `receiver` the safe name of who gets it.

    Raises SinkError where it cannot.
    """

    def is_ready(self) -> bool:
        """Whether it remembers what was prepared. Where it does not (it is new, or what it keeps
        was removed), nobody knows of prepared files whether they were delivered."""
        ...

    def make_ready(self) -> None:
        """Begin anew: files that were prepared before are forgotten."""
        ...

    def deliver(
        self,
        name: str,
        receiver: str,
        write: Write,
        *,
        prepared: Written | None,
        on_prepared: Callable[[Written], None],
    ) -> Delivery:
        """Deliver a file.

        prepared : what `on_prepared` was told at an earlier attempt, None where it never was
        on_prepared : makes it durable that the file is written; told before the receiver sees it

        Raises NameTakenError, BytesChangedError, and whatever `write` raises.
        """
        ...


class FolderSink:
    """A folder per receiver: `root/receiver/name`.

    A file is written under `root/.partial` (same filesystem), synced with its folder, told as
    prepared, moved without ever replacing another, and the receiver's folder is synced. One process
    delivers at a time: `.partial` is locked meanwhile.
    """

    def __init__(self, root: Path, *, fault: Fault = lambda _: None) -> None:
        self._root = root
        self._fault = fault

    def is_ready(self) -> bool:
        """Whether `.partial` is there. It is made once and never removed."""
        with _sink_errors():
            return (self._root / PARTIAL).is_dir()

    def make_ready(self) -> None:
        """Make the folders, durably."""
        with _sink_errors():
            self._root.mkdir(parents=True, exist_ok=True)
            (self._root / PARTIAL).mkdir(mode=0o700, exist_ok=True)
            with _folder(self._root) as root:
                os.fsync(root)

    def deliver(
        self,
        name: str,
        receiver: str,
        write: Write,
        *,
        prepared: Written | None,
        on_prepared: Callable[[Written], None],
    ) -> Delivery:
        """See Sink. Memory: _BUFFER_BYTES, and what `write` needs."""
        _check_names(name, receiver)
        with _sink_errors(), self._locked() as partial:
            written = prepared
            if written is None:
                written = self._prepare(partial, name, write)
                on_prepared(written)
                self._fault("sink: prepared")
            elif not _exists(name, partial):
                self._sync(receiver)
                return Delivery.TAKEN
            # A damaged one is written anew in its place. It stays there whatever happens: were it
            # removed, it would count as delivered.
            elif (
                _written(name, partial) != written and self._write(partial, name, write) != written
            ):
                raise BytesChangedError(
                    f"{name} would not have the bytes that it was prepared with: the content it is "
                    "made from has changed; verify the vault"
                )
            return self._move(partial, name, receiver, written)

    def _prepare(self, partial: int, name: str, write: Write) -> Written:
        try:
            return self._write(partial, name, write)
        except Exception:
            # What is not prepared only takes up room.
            with suppress(OSError):
                os.unlink(name, dir_fd=partial)
            raise

    def _write(self, partial: int, name: str, write: Write) -> Written:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with _open(name, partial, flags, "wb") as file:
            self._fault("sink: opened")
            output = _Hashed(file)
            write(cast(BinaryIO, output))
            file.flush()
            self._fault("sink: written")
            os.fsync(file.fileno())
        self._fault("sink: synced")
        os.fsync(partial)
        self._fault("sink: listed")
        return output.written()

    def _move(self, partial: int, name: str, receiver: str, written: Written) -> Delivery:
        path = self._root / receiver
        if not path.is_dir():
            path.mkdir()
        # Every time: it may have been made by a process that died before it synced.
        with _folder(self._root) as root:
            os.fsync(root)
        self._fault("sink: folder made")
        with _folder(path) as folder:
            delivery = Delivery.MOVED
            try:
                _rename_apart(name, partial, folder)
            except FileExistsError:
                if _written(name, folder) != written:
                    raise NameTakenError(
                        f"another file lies where {receiver}/{name} belongs: take it away, it is "
                        "none of ours",
                        errno.EEXIST,
                    ) from None
                delivery = Delivery.FOUND
            self._fault("sink: moved")
            os.fsync(folder)
            if delivery is Delivery.FOUND:
                os.unlink(name, dir_fd=partial)
            os.fsync(partial)
        self._fault("sink: folder synced")
        return delivery

    def _sync(self, receiver: str) -> None:
        """A move that was made before a crash is made durable, unless the receiver removed its
        folder with it."""
        with suppress(FileNotFoundError), _folder(self._root / receiver) as folder:
            os.fsync(folder)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The private folder, for this process alone."""
        with _folder(self._root / PARTIAL) as partial:
            try:
                fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SinkError(
                    "another process delivers into the same folder: only one may"
                ) from None
            yield partial


class _Hashed:
    """Counts and hashes what is written. Its OSError is a SinkError: what else comes out of a
    writer is about the content."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hasher = blake3()
        self._byte_count = 0

    def write(self, data: bytes | memoryview) -> int:
        with _sink_errors():
            self._file.write(data)
        self._hasher.update(data)
        self._byte_count += len(data)
        return len(data)

    def written(self) -> Written:
        return Written(self._byte_count, self._hasher.digest())


@contextmanager
def _sink_errors() -> Iterator[None]:
    """OSError of the sink as SinkError."""
    try:
        yield
    except OSError as error:
        text = os.strerror(error.errno) if error.errno else "input or output error"
        raise SinkError(f"the sink's folder cannot be used: {text}", error.errno or 0) from error


def _check_names(*names: str) -> None:
    """Names come from identities in files, made safe by who asks: this is the last gate."""
    for name in names:
        if not _SAFE.fullmatch(name) or len(name) > NAME_BYTES_MAX:
            raise SinkError("a file or folder name that is not safe; nothing was written")


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(name: str, folder: int, flags: int, mode: str) -> BinaryIO:
    descriptor = os.open(name, flags, 0o640, dir_fd=folder)
    return cast(BinaryIO, open(descriptor, mode, buffering=_BUFFER_BYTES))


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _written(name: str, folder: int) -> Written | None:
    """What a file holds, None where it is no plain file."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = _open(name, folder, flags, "rb")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    hasher, size = blake3(), 0
    with file:
        while piece := file.read(_BUFFER_BYTES):
            hasher.update(piece)
            size += len(piece)
    return Written(size, hasher.digest())


_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _rename_apart(name: str, source: int, target: int) -> None:
    """Move a file to another folder, in one step. Raises FileExistsError where the name is taken.

    A link and an unlink would not do: a crash between the two, and a receiver that takes the file
    in that moment, look like a file that was never delivered.
    """
    if _renameat2 is not None:
        path = os.fsencode(name)
        if _renameat2(source, path, target, path, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code))
    # The filesystem cannot do it (NFS). Nobody else writes these names, so to look first will do.
    if _exists(name, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
