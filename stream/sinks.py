"""Where released files go. A sink takes a file once, however often it is asked.

The release book keeps what a sink must be told when it is asked again: whether the file was
prepared, and with which bytes. A file that was prepared and is not in the private folder any more
has been delivered, even where the receiver has taken it away since.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream.renaming import rename_to_free

PARTIAL = ".partial"
"""Private folder of a folder sink: files that are not whole, or not delivered yet."""
SYNCS_AT_ONCE = 16
"""Files that are flushed to disk side by side."""
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


@dataclass(slots=True)
class Parcel:
    """A file on its way into a sink.

    name, receiver    unique for ever; the safe name of who gets it
    write             writes its bytes
    prepared          what it was at an earlier attempt, None where it never was prepared
    written           what it is now; None where it could not be written, or need not be
    delivery          how it got there, None while it is not there
    error             what went wrong with it: SinkError, BytesChangedError, or what `write` raised
    """

    name: str
    receiver: str
    write: Write
    prepared: Written | None = None
    written: Written | None = None
    delivery: Delivery | None = None
    error: Exception | None = None


class Sink(Protocol):
    """Takes files, many at a time. What is wrong with one is its error, and touches no other.

    Raises SinkError where it takes none at present.
    """

    def is_ready(self) -> bool:
        """Whether it remembers what was prepared. Where it does not (it is new, or what it keeps
        was removed), nobody knows of prepared files whether they were delivered."""
        ...

    def make_ready(self) -> None:
        """Begin anew: files that were prepared before are forgotten."""
        ...

    def prepare(self, parcels: Sequence[Parcel]) -> None:
        """Write the files where their receivers do not see them, durably: sets `written`, or
        `error`, or `delivery` where a file that was prepared is gone: it was delivered before."""
        ...

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        """Let the receivers have what is prepared, durably: sets `delivery` or `error`. Whoever
        calls has made durable before what was written."""
        ...


class FolderSink:
    """A folder per receiver: `root/receiver/name`.

    Files are written under `root/.partial` (same filesystem) and synced with it; once they are told
    as prepared, each is moved without ever replacing another, and the receivers' folders are
    synced. Many files share a sync of a folder, and their own are made side by side. One process
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

    # ---- written ----

    def prepare(self, parcels: Sequence[Parcel]) -> None:
        """See Sink. Memory: _BUFFER_BYTES, and what `write` needs."""
        with (
            _sink_errors(),
            self._locked() as partial,
            ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="sync") as syncs,
        ):
            fresh, syncing = [], []
            for parcel in parcels:
                with _own_errors(parcel):
                    if self._begin(partial, parcel):
                        fresh.append(parcel)
                        syncing.append(syncs.submit(_sync_file, parcel.name, partial))
            for parcel, sync in zip(fresh, syncing, strict=True):
                with _own_errors(parcel):
                    sync.result()
            try:
                self._fault("sink: synced")
                os.fsync(partial)
            except OSError:
                # Whether the disk has what was written is not known.
                self._drop(partial, fresh)
                raise
            self._fault("sink: listed")
            self._drop(partial, [parcel for parcel in fresh if parcel.error is not None])
            for parcel in parcels:
                self._check(parcel)

    def _begin(self, partial: int, parcel: Parcel) -> bool:
        """Write a file where that is needed; whether it was."""
        _check_names(parcel.name, parcel.receiver)
        if parcel.prepared is not None:
            if not _exists(parcel.name, partial):
                parcel.written, parcel.delivery = parcel.prepared, Delivery.TAKEN
                return False
            if _written(parcel.name, partial) == parcel.prepared:
                parcel.written = parcel.prepared
                return False
        try:
            parcel.written = self._write(partial, parcel)
        except Exception:
            self._drop(partial, [parcel])
            raise
        return True

    def _write(self, partial: int, parcel: Parcel) -> Written:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with _open(parcel.name, partial, flags, "wb", buffering=0) as file:
            self._fault("sink: opened")
            output = _Hashed(file)
            parcel.write(cast(BinaryIO, output))
            written = output.written()
            self._fault("sink: written")
        return written

    def _drop(self, partial: int, parcels: Sequence[Parcel]) -> None:
        """What is not prepared only takes up room. What was prepared stays whatever happens: were
        it removed, it would count as delivered."""
        for parcel in parcels:
            if parcel.prepared is None:
                parcel.written = None
                with suppress(OSError):
                    os.unlink(parcel.name, dir_fd=partial)

    def _check(self, parcel: Parcel) -> None:
        if parcel.error is None and parcel.prepared not in (None, parcel.written):
            parcel.written = None
            parcel.error = BytesChangedError(
                f"{parcel.name} would not have the bytes that it was prepared with: the content it "
                "is made from has changed; verify the vault"
            )

    # ---- moved ----

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        """See Sink."""
        with _sink_errors(), self._locked() as partial:
            waiting = [parcel for parcel in parcels if parcel.error is None]
            self._fault("sink: prepared")
            for receiver in sorted({parcel.receiver for parcel in waiting}):
                of_receiver = [parcel for parcel in waiting if parcel.receiver == receiver]
                try:
                    with _sink_errors():
                        self._move_all(partial, receiver, of_receiver)
                except SinkError as error:
                    for parcel in of_receiver:
                        if parcel.delivery is not Delivery.TAKEN:
                            parcel.delivery = None
                        parcel.error = parcel.error or error
            os.fsync(partial)
        self._fault("sink: folder synced")

    def _move_all(self, partial: int, receiver: str, parcels: Sequence[Parcel]) -> None:
        path = self._root / receiver
        moving = [parcel for parcel in parcels if parcel.delivery is None]
        if moving:
            if not path.is_dir():
                path.mkdir()
            # Every time: it may have been made by a process that died before it synced.
            with _folder(self._root) as root:
                os.fsync(root)
            self._fault("sink: folder made")
        elif not path.is_dir():
            return  # the receiver has taken its folder away with what lay in it
        with _folder(path) as folder:
            for parcel in moving:
                with _own_errors(parcel):
                    parcel.delivery = self._move(partial, folder, parcel)
            self._fault("sink: moved")
            # A move that was made before a crash is made durable as well.
            os.fsync(folder)
            for parcel in moving:
                if parcel.delivery is Delivery.FOUND:
                    os.unlink(parcel.name, dir_fd=partial)

    def _move(self, partial: int, folder: int, parcel: Parcel) -> Delivery:
        try:
            _rename_apart(parcel.name, partial, folder)
        except FileExistsError:
            if _written(parcel.name, folder) != parcel.written:
                raise NameTakenError(
                    f"another file lies where {parcel.receiver}/{parcel.name} belongs: take it "
                    "away, it is none of ours",
                    errno.EEXIST,
                ) from None
            return Delivery.FOUND
        return Delivery.MOVED

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


@contextmanager
def _own_errors(parcel: Parcel) -> Iterator[None]:
    """What goes wrong with one file is its own, and the others go on."""
    try:
        with _sink_errors():
            yield
    except Exception as error:
        parcel.error = error


def _sync_file(name: str, folder: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Hashed:
    """Counts and hashes what is written, and hands it on in pieces of _BUFFER_BYTES and what came
    last; until then it holds what it was given, which must not change. Its OSError is a SinkError:
    what else comes out of a writer is about the content."""

    def __init__(self, file: BinaryIO) -> None:
        """file : without a buffer of its own"""
        self._file = file
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._hasher = blake3()
        self._byte_count = 0

    def write(self, data: bytes | memoryview) -> int:
        size = len(data)
        self._waiting.append(data)
        self._waiting_bytes += size
        if self._waiting_bytes >= _BUFFER_BYTES:
            self._pass_on()
        return size

    def written(self) -> Written:
        """What was written, all of it handed to the system by now."""
        self._pass_on()
        return Written(self._byte_count, self._hasher.digest())

    def _pass_on(self) -> None:
        data = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0
        self._hasher.update(data)
        self._byte_count += len(data)
        with _sink_errors():
            while len(data):
                data = data[self._file.write(data) :]


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


def _open(
    name: str, folder: int, flags: int, mode: str, buffering: int = _BUFFER_BYTES
) -> BinaryIO:
    descriptor = os.open(name, flags, 0o640, dir_fd=folder)
    return cast(BinaryIO, open(descriptor, mode, buffering=buffering))


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


def _rename_apart(name: str, source: int, target: int) -> None:
    """Move a file to another folder, in one step. Raises FileExistsError where the name is taken.

    A link and an unlink would not do: a crash between the two, and a receiver that takes the file
    in that moment, look like a file that was never delivered.
    """
    if rename_to_free(name, name, source, target):
        return
    # The filesystem cannot do it (NFS). Nobody else writes these names, so to look first will do.
    if _exists(name, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
