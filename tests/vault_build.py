"""Small vaults for tests: a clock that is set by hand, ids that count, bytes that are drawn from a
seed, and a store that fails when it is told to."""

from __future__ import annotations

import errno
import itertools
import os
import random as pseudo
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from reassoc.stream.vault import Vault
from reassoc.stream.vault_keys import FileKeyRing
from reassoc.stream.vault_store import Buffer, LocalStore, Sink

KEY_A = bytes(range(32))
KEY_B = bytes(range(32, 64))
START = datetime(2026, 3, 16, 12, 0, tzinfo=UTC)


def ring(*ids: str) -> FileKeyRing:
    """Keys by ids out of "a" and "b", newest last."""
    known = {"a": KEY_A, "b": KEY_B}
    return FileKeyRing({key_id: known[key_id] for key_id in ids or ("a",)}, "the test's keys")


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress."""
    return pseudo.Random(seed).randbytes(size)


class World:
    """A clock and ids for all vaults of one test."""

    def __init__(self) -> None:
        self.now = START
        self._ids = itertools.count()

    def new_id(self) -> str:
        return f"{next(self._ids):06}"

    def open(
        self, url: str | Path, keys: FileKeyRing | None = None, *, read_only: bool = False
    ) -> Vault:
        return Vault.open(
            url,
            keys or ring(),
            now=lambda: self.now,
            new_id=self.new_id,
            random=os.urandom,
            read_only=read_only,
        )

    def open_on(self, store: FailingStore) -> Vault:
        return Vault(store, ring(), now=lambda: self.now, new_id=self.new_id)


class FailingStore(LocalStore):
    """A folder that fails from one call on, or after some bytes, until it is mended.

    fail : told the name of each call ("write", "sync", "create", "replace", "cut", "remove");
        an error number makes it fail
    bytes_left : of all writes together; the rest of the write that passes it is lost, then ENOSPC
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, read_only=False)
        self.fail: Callable[[str], int] = lambda _: 0
        self.bytes_left: int | None = None

    def mend(self) -> None:
        self.fail = lambda _: 0
        self.bytes_left = None

    def check(self, call: str) -> None:
        number = self.fail(call)
        if number:
            raise OSError(number, os.strerror(number))

    def create(self, name: str) -> Sink:
        self.check("create")
        return _FailingSink(self, super().create(name))

    def replace(self, name: str, data: bytes) -> None:
        self.check("replace")
        super().replace(name, data)

    def cut(self, name: str, size: int) -> None:
        self.check("cut")
        super().cut(name, size)

    def remove(self, name: str) -> None:
        self.check("remove")
        super().remove(name)


class _FailingSink:
    def __init__(self, store: FailingStore, sink: Sink) -> None:
        self._store = store
        self._sink = sink

    def write(self, parts: Sequence[Buffer]) -> None:
        self._store.check("write")
        for part in parts:
            left = self._store.bytes_left
            if left is not None and len(part) > left:
                self._sink.write([bytes(part)[:left]])
                self._store.bytes_left = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if left is not None:
                self._store.bytes_left = left - len(part)
            self._sink.write([part])

    def sync(self) -> None:
        self._store.check("sync")
        self._sink.sync()

    def close(self) -> None:
        self._sink.close()
