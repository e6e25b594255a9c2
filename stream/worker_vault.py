"""Vaults of many workers: each writes one of its own, `URL/NAME`, and reads those of all.

A worker that dies leaves its vault's name free, and the next one that starts goes on with it: so
vaults are as many as workers ever ran at once. All are under the same master keys. A file that came
in parts is read back with the part book, which knows the vault of each part.
"""

from __future__ import annotations

import io
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from reassoc.core.errors import LimitError
from reassoc.stream.part_book import FileNote, Part
from reassoc.stream.vault import READ_BYTES_MAX, Vault, open_store, vault_is_written
from reassoc.stream.vault_errors import BusyError, NoContentError, VaultError
from reassoc.stream.vault_keeping import short
from reassoc.stream.vault_keys import KeyRing
from reassoc.stream.vault_read import ContentReader

VAULTS_MAX = 256
"""Vaults that workers choose for themselves: as many workers may run at once on one URL."""
OWN_CONTENTS_MAX = 1_000_000
"""Contents of a vault beyond which a worker that starts begins another one: each takes 260 bytes of
its memory."""
VAULTS_OPEN_MAX = 64
"""Vaults of others that are kept open: each has about 260 bytes a content in memory."""
FILES_CACHED_MAX = 20_000
PARTS_CACHED_MAX = 100_000
"""Files whose places are kept, some 600 bytes each, and parts of them, 300 bytes each: more than
what a released file is made of, and small inputs are read once."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

Now = Callable[[], datetime]
NewId = Callable[[], str]


class PartPlaces(Protocol):
    """What is needed of the part book."""

    def parts_of(self, digest: bytes) -> list[Part]:
        """The parts of a file that came, by their start."""
        ...

    def parts_of_files(self, digests: Collection[bytes]) -> Mapping[bytes, list[Part]]:
        """The same of several files; those of which nothing came may be left out."""
        ...

    def file(self, digest: bytes) -> FileNote | None:
        """What was said of a file."""
        ...


class WorkerVaults:
    """The vault that this worker writes, and those of others, read-only. Any thread may call it.

    own : the vault    name : of it, which the part book names

    Raises VaultError and its kinds.
    """

    def __init__(
        self, url: str, name: str, own: Vault, keys: KeyRing, *, now: Now, new_id: NewId
    ) -> None:
        """`open` makes one."""
        self.name = name
        self.own = own
        self._url = url
        self._keys = keys
        self._now = now
        self._new_id = new_id
        self._lock = threading.Lock()
        self._others: OrderedDict[str, Vault] = OrderedDict()

    @classmethod
    def open(
        cls, url: str | Path, name: str | None, keys: KeyRing, *, now: Now, new_id: NewId
    ) -> WorkerVaults:
        """Open the vault of a name, or begin it, or of NAME-2, NAME-3... where those before are
        full; without a name the first of w0, w1, w2... that no process writes, which only a folder
        can tell, and that is not full (OWN_CONTENTS_MAX).

        Raises BusyError where another process writes it, or all of VAULTS_MAX; VaultError where a
        name is needed, or has other characters than letters, digits, - and _.
        """
        root = str(url).rstrip("/")
        if name is None and not is_folder(root):
            raise VaultError(
                f"{root}: an object store does not tell which vaults are being written: give each "
                "worker a vault's name of its own in its configuration"
            )
        if name is not None and not _NAME.fullmatch(name):
            raise VaultError("a vault's name has 1 to 64 letters, digits, - and _")
        for chosen in _choices(name):
            try:
                own = Vault.open(vault_url(root, chosen), keys, now=now, new_id=new_id)
            except BusyError:
                if name is not None:
                    raise
                continue
            if own.content_count < OWN_CONTENTS_MAX:
                return cls(root, chosen, own, keys, now=now, new_id=new_id)
            own.close()
        raise BusyError(
            f"{root}: all of VAULTS_MAX ({VAULTS_MAX}) vaults are full or being written"
        )

    def close(self) -> None:
        """Seal and close the own vault. Twice does nothing."""
        self.own.close()

    def read(self, vault: str, digest: bytes, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of a content of any worker's vault, all of it without them. Raises
        NoContentError where it is not there, what Vault.read raises else."""
        found = self._vault(vault)
        return found.read(digest, start, found.size(digest) if stop is None else stop)

    def size(self, vault: str, digest: bytes) -> int:
        """Bytes of a content of any worker's vault. Raises NoContentError."""
        return self._vault(vault).size(digest)

    def find(self, digest: bytes) -> str | None:
        """The name of a vault that has a content, the own one first; None where none has it. It
        looks through all vaults: for what no book knows."""
        if self.own.has(digest):
            return self.name
        for name in vault_names(self._url):
            if name != self.name and self._vault(name).has(digest):
                return name
        return None

    def _vault(self, name: str) -> Vault:
        if name == self.name:
            return self.own
        with self._lock:
            found = self._others.get(name)
            if found is not None:
                self._others.move_to_end(name)
                return found
            # The name may come out of a message.
            if not _NAME.fullmatch(name) or not vault_is_written(vault_url(self._url, name)):
                raise NoContentError(
                    f"{self._url}: no vault of the name that a content is to be in"
                )
            found = Vault.open(
                vault_url(self._url, name),
                self._keys,
                now=self._now,
                new_id=self._new_id,
                read_only=True,
            )
            self._others[name] = found
            # They have no file open, and another thread may still read from the one that goes.
            while len(self._others) > VAULTS_OPEN_MAX:
                self._others.popitem(last=False)
            return found


def _choices(name: str | None) -> Iterator[str]:
    """Names of vaults in the order in which a worker asks for them."""
    if name is None:
        yield from (f"w{number}" for number in range(VAULTS_MAX))
    else:
        yield name
        yield from (f"{name}-{number}" for number in range(2, VAULTS_MAX + 1))


def vault_url(root: str, name: str) -> str:
    """Where the vault of a name lies."""
    return f"{root}/{name}"


def is_folder(url: str) -> bool:
    """Whether vaults of a URL lie in a folder of this machine."""
    return "://" not in url.removeprefix("file://").removeprefix("local://") and "::" not in url


def vault_names(url: str | Path) -> list[str]:
    """Names of all vaults under a URL, sorted. Raises VaultError."""
    root = str(url).rstrip("/")
    with closing(open_store(root, read_only=True)) as store:
        try:
            found = store.folders()
        except OSError as error:
            raise VaultError(f"{root}: cannot be looked at: {type(error).__name__}") from error
    return sorted(
        name for name in found if _NAME.fullmatch(name) and vault_is_written(vault_url(root, name))
    )


def vaults_are_written(url: str | Path) -> bool:
    """Whether any vault was begun under a URL: then their key must not be made anew."""
    return bool(vault_names(url))


# ---- files out of parts ----


@dataclass(frozen=True, slots=True)
class _Places:
    """The parts of a file by their start."""

    parts: Sequence[Part]
    starts: Sequence[int]

    def cover(self, start: int, stop: int) -> list[tuple[Part, int, int]]:
        """The parts that make up [start, stop), each with the bytes wanted of it, as they count in
        the file; as far as they are there without a gap."""
        found: list[tuple[Part, int, int]] = []
        row = bisect_right(self.starts, start) - 1
        while start < stop and 0 <= row < len(self.parts):
            part = self.parts[row]
            if not part.start <= start < part.stop:
                break
            found.append((part, start, min(stop, part.stop)))
            start = found[-1][2]
            row += 1
        return found


class FileContents:
    """Files by their digests, put together from parts in any worker's vault; what no part book
    knows is looked for in the vaults themselves. Any thread may call it.

    It is what the releaser and the loading of directories need of a vault. Raises NoContentError
    for bytes that did not come, and what vaults and book raise.
    """

    def __init__(self, book: PartPlaces, vaults: WorkerVaults) -> None:
        self._book = book
        self._vaults = vaults
        self._lock = threading.Lock()
        self._cached: OrderedDict[bytes, _Places] = OrderedDict()
        self._cached_parts = 0

    def expect(self, digests: Collection[bytes]) -> None:
        """Files that will be read soon: their places are asked for by the thousand, not one by one.
        Beyond FILES_CACHED_MAX and PARTS_CACHED_MAX those are forgotten that were used least."""
        with self._lock:
            missing = [digest for digest in set(digests) if digest not in self._cached]
        for digest, parts in self._book.parts_of_files(missing).items():
            self._keep(digest, parts)

    def read(self, digest: bytes, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises LimitError above vault.READ_BYTES_MAX, ValueError
        for a range that cannot be."""
        if not 0 <= start <= stop:
            raise ValueError(f"bytes {start} to {stop}")
        if stop - start > READ_BYTES_MAX:
            raise LimitError(f"READ_BYTES_MAX ({READ_BYTES_MAX}): read smaller pieces")
        return b"".join(self._read(digest, start, stop))

    def size(self, digest: bytes) -> int:
        """Bytes of a file, as was said of it; else up to where its parts came."""
        note = self._book.file(digest)
        if note is not None:
            return note.byte_count
        places = self._places(digest)
        return places.parts[-1].stop

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        """A file from front to back, or from any place. Raises NoContentError where nothing of it
        came; where a part is missing, reads do."""

        def read_into(start: int, target: memoryview) -> None:
            at = 0
            for piece in self._read(digest, start, start + len(target)):
                target[at : at + len(piece)] = piece
                at += len(piece)

        self._places(digest)
        return ContentReader(self.size(digest), read_into)

    def _read(self, digest: bytes, start: int, stop: int) -> Iterator[bytes]:
        if start == stop:
            return
        found = self._places(digest).cover(start, stop)
        if not found or found[-1][2] < stop:
            # Parts may have come since.
            self._forget(digest)
            found = self._places(digest).cover(start, stop)
        if not found or found[-1][2] < stop:
            first = found[-1][2] if found else start
            raise NoContentError(
                f"file {short(digest)}: its part from byte {first} on did not come"
            )
        for part, first, last in found:
            offset = part.offset - part.start
            yield self._vaults.read(part.vault, part.content, first + offset, last + offset)

    def _places(self, digest: bytes) -> _Places:
        with self._lock:
            found = self._cached.get(digest)
            if found is not None:
                self._cached.move_to_end(digest)
                return found
        return self._keep(digest, self._book.parts_of(digest) or [self._whole(digest)])

    def _whole(self, digest: bytes) -> Part:
        """A content of some vault as the only part of itself."""
        vault = self._vaults.find(digest)
        if vault is None:
            raise NoContentError(f"file {short(digest)}: no part of it came, and no vault has it")
        size = self._vaults.size(vault, digest)
        return Part(digest, 0, size, vault, digest, 0, b"")

    def _keep(self, digest: bytes, parts: Sequence[Part]) -> _Places:
        places = _Places(parts, [part.start for part in parts])
        with self._lock:
            self._drop(digest)
            self._cached[digest] = places
            self._cached_parts += len(parts)
            while len(self._cached) > 1 and (
                len(self._cached) > FILES_CACHED_MAX or self._cached_parts > PARTS_CACHED_MAX
            ):
                self._drop(next(iter(self._cached)))
        return places

    def _forget(self, digest: bytes) -> None:
        with self._lock:
            self._drop(digest)

    def _drop(self, digest: bytes) -> None:
        places = self._cached.pop(digest, None)
        self._cached_parts -= len(places.parts) if places is not None else 0
