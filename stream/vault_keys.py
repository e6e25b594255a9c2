"""Master keys of the vault: what wraps the data key of each content.

A `KeyRing` may stand for a key service; `FileKeyRing` is a key file, or an environment variable.
Keys have ids; the newest wraps, older ones unwrap until a rotation is complete. No key is ever made
for a vault that has been written already: without the old one nothing in it can be read.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reassoc.stream.vault_errors import KeyMissingError, VaultError, WrongKeyError

KEY_BYTES = 32
NONCE_BYTES = 12
KEYS_MAX = 100
"""Keys of one ring."""
KEY_FILE_BYTES_MAX = 1 << 16
KEY_VARIABLE = "REASSOC_VAULT_KEY"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
FIRST_ID = "1"
"""Id of the first key of a file, and of a key in the environment that comes without one."""
_HEADER = (
    "# Master keys of a reassoc vault: an id and 32 bytes in base64 on each line, newest last.\n"
    "# Whoever has this file can read the vault; whoever loses it has lost the vault.\n"
)

Random = Callable[[int], bytes]


class KeyRing(Protocol):
    """Wraps data keys under master keys. Every method may be called from any thread.

    where : what messages name, e.g. the path of the key file
    """

    @property
    def where(self) -> str: ...

    @property
    def ids(self) -> Sequence[str]:
        """Ids of all keys, newest last; at least one."""
        ...

    def wrap(self, data_key: bytes, bound_to: bytes) -> bytes:
        """A data key under the newest key. It can be unwrapped with the same `bound_to` only."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Raises KeyMissingError for an id that is not here, WrongKeyError where the key does not
        fit."""
        ...


class _ThereError(VaultError):
    """Another process has made the key file."""


class FileKeyRing:
    """Master keys in memory, out of a key file or an environment variable.

    keys : id -> 32 bytes, newest last    where : what messages name
    """

    def __init__(self, keys: Mapping[str, bytes], where: str, random: Random = os.urandom) -> None:
        if not keys or len(keys) > KEYS_MAX:
            raise VaultError(f"{where}: holds no key, or more than KEYS_MAX ({KEYS_MAX})")
        for number, (key_id, key) in enumerate(keys.items(), 1):
            if not _ID.fullmatch(key_id) or len(key) != KEY_BYTES:
                raise VaultError(
                    f"{where}: key {number} is not an id (letters, digits, . _ -) with "
                    f"{KEY_BYTES} bytes in base64"
                )
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._where = where
        self._random = random

    def __repr__(self) -> str:
        return f"<FileKeyRing: {len(self._ciphers)} keys of {self._where}>"

    @property
    def where(self) -> str:
        """What messages name."""
        return self._where

    @property
    def ids(self) -> Sequence[str]:
        """Ids of all keys, newest last."""
        return list(self._ciphers)

    def wrap(self, data_key: bytes, bound_to: bytes) -> bytes:
        """nonce (12), sealed key, tag (16)"""
        nonce = self._random(NONCE_BYTES)
        return nonce + self._ciphers[self.ids[-1]].encrypt(nonce, data_key, bound_to)

    def unwrap(self, key_id: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Raises KeyMissingError, WrongKeyError."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise KeyMissingError(f"{self._where}: has no key {key_id!r}: add it back")
        try:
            return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError) as error:
            raise WrongKeyError(
                f"{self._where}: key {key_id!r} is not the one that this was written with"
            ) from error

    @classmethod
    def parse(cls, text: str, where: str, random: Random = os.urandom) -> FileKeyRing:
        """`base64` or `id:base64`, several with commas between them, newest last."""
        pairs = []
        for part in text.split(","):
            key_id, mark, value = part.strip().rpartition(":")
            pairs.append((key_id if mark else FIRST_ID, value))
        return cls(_decoded(pairs, where), where, random)

    @classmethod
    def load(cls, path: Path, random: Random = os.urandom) -> FileKeyRing:
        """Read a key file. Raises VaultError where it cannot be read, is none, or where others than
        its owner can read it; KeyMissingError where it is not there."""
        where = str(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(KEY_FILE_BYTES_MAX + 1)
        except FileNotFoundError as error:
            raise KeyMissingError(f"{where}: no such key file") from error
        except OSError as error:
            raise VaultError(f"{where}: cannot be read: {error.strerror}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise VaultError(f"{where}: others can read the key: chmod 600 it, or change the key")
        if len(data) > KEY_FILE_BYTES_MAX or not data.isascii():
            raise VaultError(f"{where}: is no key file")
        pairs = []
        for number, line in enumerate(data.decode().splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                words = line.split()
                if len(words) != 2:
                    raise VaultError(f"{where}: line {number} is not an id and a key")
                pairs.append((words[0], words[1]))
        return cls(_decoded(pairs, where), where, random)

    @classmethod
    def create(cls, path: Path, key_id: str, random: Random = os.urandom) -> FileKeyRing:
        """Make a key file with one key: mode 0600, durable when this returns. Never replaces one
        that is there (VaultError)."""
        key = random(KEY_BYTES)
        ring = cls({key_id: key}, str(path), random)
        _write_new(path, _HEADER + _line(key_id, key))
        return ring

    @classmethod
    def add(cls, path: Path, key_id: str, random: Random = os.urandom) -> FileKeyRing:
        """Add a newest key to a key file; `Vault.rotate` then wraps the data keys anew with it."""
        ring = cls.load(path, random)
        if key_id in ring.ids:
            raise VaultError(f"{path}: has a key {key_id!r} already")
        if len(ring.ids) >= KEYS_MAX:
            raise VaultError(f"{path}: holds KEYS_MAX ({KEYS_MAX}) keys: remove some that are old")
        try:
            text = path.read_text("ascii")
        except OSError as error:
            raise VaultError(f"{path}: cannot be read: {error.strerror}") from error
        partial = path.with_name(path.name + ".new")
        partial.unlink(missing_ok=True)
        ended = text if text.endswith("\n") else text + "\n"
        _write_new(partial, ended + _line(key_id, random(KEY_BYTES)))
        os.replace(partial, path)
        _sync_folder(path.parent)
        return cls.load(path, random)


def open_key_ring(
    path: Path, environ: Mapping[str, str], *, may_create: bool, random: Random = os.urandom
) -> FileKeyRing:
    """The keys of a vault: of REASSOC_VAULT_KEY where that is set, else of the key file.

    may_create : a key file that is missing is made. Only where the vault was never written
        (`vault_is_written`).

    Raises KeyMissingError and VaultError naming the path or the variable.
    """
    text = environ.get(KEY_VARIABLE)
    if text:
        return FileKeyRing.parse(text, f"environment variable {KEY_VARIABLE}", random)
    if path.exists() or path.is_symlink():
        return FileKeyRing.load(path, random)
    if not may_create:
        raise KeyMissingError(
            f"{path}: the key file is missing, and the vault was written with a key: put the file "
            f"back from where it is kept, or set {KEY_VARIABLE}. No new key is made: with it "
            "nothing that the vault holds could be read"
        )
    try:
        return FileKeyRing.create(path, FIRST_ID, random)
    except _ThereError:  # another worker that starts at the same time was faster
        return FileKeyRing.load(path, random)


def _decoded(pairs: Sequence[tuple[str, str]], where: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, (key_id, text) in enumerate(pairs, 1):
        if key_id in keys:
            raise VaultError(f"{where}: key {number} has the id of another one")
        try:
            keys[key_id] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise VaultError(f"{where}: key {number} is not base64") from error
    return keys


def _line(key_id: str, key: bytes) -> str:
    return f"{key_id} {base64.b64encode(key).decode()}\n"


def _write_new(path: Path, text: str) -> None:
    """Make a file that is whole when it is seen. Raises _ThereError where one is there."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        os.link(partial, path)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise _ThereError(f"{path}: is there already; a key is never replaced") from error
    except OSError as error:
        raise VaultError(f"{path}: the key cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
