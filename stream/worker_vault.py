"""Vaults of many workers: each writes one of its own, `URL/NAME`, and reads those of all.

A worker that dies leaves its vault's name free, and the next one that starts goes on with it: so
vaults are as many as workers ever ran at once, and one more whenever one is full. All are under the
same master keys. A file that came in parts is read back with the part book, which knows the vault
of each part (file_contents.py).
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reassoc.stream.message import Reference
from reassoc.stream.vault import Vault, open_store, vault_is_written
from reassoc.stream.vault_errors import BusyError, NoContentError, VaultError
from reassoc.stream.vault_keys import KeyRing
from reassoc.stream.vault_store import Buffer

VAULTS_MAX = 100_000
"""Vaults that one name has in turn, or all workers that name none have together."""
OWN_CONTENTS_MAX = 250_000
"""Contents of a vault beyond which its worker begins another one: each takes 260 bytes of memory.
"""
OPEN_CONTENTS_MAX = 1_000_000
VAULTS_OPEN_MAX = 64
"""Contents of other vaults that are kept open, 260 bytes of memory each, but for one vault; and how
many vaults."""
WORKER_NAME = re.compile(r"[A-Za-z0-9_-]{1,56}", re.ASCII)
"""What a worker may be named. Its vaults are NAME, NAME.2, NAME.3..., which no worker is named."""
_VAULT_NAME = re.compile(WORKER_NAME.pattern + r"(\.[1-9][0-9]{0,5})?", re.ASCII)

Now = Callable[[], datetime]
NewId = Callable[[], str]


@dataclass(slots=True)
class _Own:
    """A vault that this worker writes. users : threads that put into it or read from it"""

    number: int
    name: str
    vault: Vault
    users: int = 0

    def close_unless_used(self) -> None:
        """Seal and close it."""
        if not self.users:
            self.vault.close()


class WorkerVaults:
    """The vault that this worker writes, which is another one whenever one is full, and those of
    others, read-only. Any thread may call it.

    Raises VaultError and its kinds.
    """

    def __init__(
        self, url: str, name: str | None, keys: KeyRing, *, now: Now, new_id: NewId
    ) -> None:
        """`open` makes one."""
        self._url = url
        self._first_name = name
        self._keys = keys
        self._now = now
        self._new_id = new_id
        self._lock = threading.Lock()
        # Another vault takes a second to open, for which nobody who puts something waits.
        self._others_lock = threading.Lock()
        self._others: OrderedDict[str, Vault] = OrderedDict()
        self._own = self._next(-1)

    @classmethod
    def open(
        cls, url: str | Path, name: str | None, keys: KeyRing, *, now: Now, new_id: NewId
    ) -> WorkerVaults:
        """Open the last vault of a name (NAME, NAME.2, NAME.3...), or begin the next one where that
        is full (OWN_CONTENTS_MAX). Without a name, which only a folder can do, the last of w0, w1,
        w2... that no process writes, or the next one.

        Raises BusyError where another process writes it, and beyond VAULTS_MAX; VaultError where a
        name is needed, or is none (WORKER_NAME).
        """
        root = str(url).rstrip("/")
        if name is None and not is_folder(root):
            raise VaultError(
                f"{root}: an object store does not tell which vaults are being written: give each "
                "worker a vault's name of its own in its configuration"
            )
        if name is not None and not WORKER_NAME.fullmatch(name):
            raise VaultError("a vault's name has 1 to 56 letters, digits, - and _")
        return cls(root, name, keys, now=now, new_id=new_id)

    @property
    def name(self) -> str:
        """Name of the vault that this worker writes now."""
        return self._own.name

    def put(self, pieces: Iterable[Buffer]) -> Reference:
        """Store a content as Vault.put does; where it lies. Raises what that and `open` raise."""
        with self._using(self._own_with_room) as own:
            return Reference(own.name, own.vault.put(pieces).digest)

    def close(self) -> None:
        """Seal and close the own vault. Twice does nothing."""
        self._own.vault.close()

    @contextmanager
    def _using(self, choose: Callable[[], _Own]) -> Iterator[_Own]:
        """An own vault, which stays open as long as it is used."""
        with self._lock:
            own = choose()
            own.users += 1
        try:
            yield own
        finally:
            with self._lock:
                own.users -= 1
                if own is not self._own:
                    own.close_unless_used()

    def _own_with_room(self) -> _Own:
        """The own vault, from now on the next one where it is full."""
        if self._own.vault.content_count >= OWN_CONTENTS_MAX:
            full, self._own = self._own, self._next(self._own.number)
            full.close_unless_used()
        return self._own

    def _next(self, before: int) -> _Own:
        """The vault that is written after the one of a number, -1 for none: the last one that is
        there, that nobody writes and that is not full, or a new one."""
        there = _numbers(self._url, self._first_name)
        for number in sorted(there, reverse=True):
            if number == before or (self._first_name is not None and number < before):
                continue
            own = self._opened(number)
            if own is not None and own.vault.content_count < OWN_CONTENTS_MAX:
                return own
            if own is not None:
                own.vault.close()
                break
        for number in range(max(there, default=-1) + 1, VAULTS_MAX):
            if (own := self._opened(number)) is not None:
                return own
        raise BusyError(
            f"{self._url}: all of VAULTS_MAX ({VAULTS_MAX}) vaults are full or being written"
        )

    def _opened(self, number: int) -> _Own | None:
        """A vault to write; None where another worker that chooses for itself writes it."""
        name = _name(self._first_name, number)
        url = vault_url(self._url, name)
        try:
            vault = Vault.open(url, self._keys, now=self._now, new_id=self._new_id)
        except BusyError:
            if self._first_name is not None:
                raise
            return None
        return _Own(number, name, vault)

    def read(self, vault: str, digest: bytes, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of a content of any worker's vault, all of it without them. Raises
        NoContentError where it is not there, what Vault.read raises else."""
        with self._reading(vault) as found:
            return found.read(digest, start, found.size(digest) if stop is None else stop)

    def size(self, vault: str, digest: bytes) -> int:
        """Bytes of a content of any worker's vault. Raises NoContentError."""
        with self._reading(vault) as found:
            return found.size(digest)

    def find(self, digest: bytes) -> str | None:
        """The name of a vault that has a content, the own one first; None where none has it. It
        looks through all vaults: for what no book knows."""
        own = self.name
        for name in [own, *(name for name in vault_names(self._url) if name != own)]:
            with self._reading(name) as found:
                if found.has(digest):
                    return name
        return None

    @contextmanager
    def _reading(self, name: str) -> Iterator[Vault]:
        if name == self.name:
            with self._using(lambda: self._own) as own:
                if own.name == name:
                    yield own.vault
                    return
        yield self._other(name)

    def _other(self, name: str) -> Vault:
        with self._others_lock:
            found = self._others.get(name) or self._opened_to_read(name)
            self._others[name] = found
            self._others.move_to_end(name)
            # They have no file open, and another thread may still read from the one that goes.
            while len(self._others) > 1 and self._too_many_open():
                self._others.popitem(last=False)
            return found

    def _opened_to_read(self, name: str) -> Vault:
        url = vault_url(self._url, name)
        # The name may come out of a message.
        if not _VAULT_NAME.fullmatch(name) or not vault_is_written(url):
            raise NoContentError(f"{self._url}: no vault of the name that a content is to be in")
        return Vault.open(url, self._keys, now=self._now, new_id=self._new_id, read_only=True)

    def _too_many_open(self) -> bool:
        contents = sum(vault.content_count for vault in self._others.values())
        return len(self._others) > VAULTS_OPEN_MAX or contents > OPEN_CONTENTS_MAX


def _name(first: str | None, number: int) -> str:
    """Names that come after one another: w0, w1, w2..., or NAME, NAME.2, NAME.3..."""
    if first is None:
        return f"w{number}"
    return first if number == 0 else f"{first}.{number + 1}"


def _numbers(root: str, first: str | None) -> set[int]:
    """Numbers of the names of that kind that are there."""
    pattern = r"w(0|[1-9]\d*)" if first is None else re.escape(first) + r"(?:\.(\d+))?"
    found = (re.fullmatch(pattern, name, re.ASCII) for name in _folders(root))
    numbers = {int(match[1] or 1) for match in found if match is not None}
    return numbers if first is None else {number - 1 for number in numbers}


def vault_url(root: str, name: str) -> str:
    """Where the vault of a name lies."""
    return f"{root}/{name}"


def is_folder(url: str) -> bool:
    """Whether vaults of a URL lie in a folder of this machine."""
    return "://" not in url.removeprefix("file://").removeprefix("local://") and "::" not in url


def _folders(root: str) -> list[str]:
    """Names under a URL that vaults may have."""
    with closing(open_store(root, read_only=True)) as store:
        try:
            found = store.folders()
        except OSError as error:
            raise VaultError(f"{root}: cannot be looked at: {type(error).__name__}") from error
    return sorted(name for name in found if _VAULT_NAME.fullmatch(name))


def vault_names(url: str | Path) -> list[str]:
    """Names of all vaults under a URL, sorted. Raises VaultError."""
    root = str(url).rstrip("/")
    return [name for name in _folders(root) if vault_is_written(vault_url(root, name))]


def vaults_are_written(url: str | Path) -> bool:
    """Whether any vault was begun under a URL: then their key must not be made anew."""
    return bool(vault_names(url))
