"""Two small files that are replaced whole: which keys a vault was written with, and what it keeps.

`head` holds the vault's index key, once under each master key that the vault hangs on: opening it
checks the keys. `policy` holds retention and legal holds, encrypted under the index key.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reassoc.stream.vault_errors import DamagedError, KeyMissingError, VaultError, WrongKeyError
from reassoc.stream.vault_keys import KEY_BYTES, NONCE_BYTES, KeyRing, Random
from reassoc.stream.vault_store import SEGMENTS, Store

HEAD = "head"
POLICY = "policy"
FORMAT = 1
SMALL_BYTES_MAX = 64 << 20
"""Bytes of either file."""
_MAGIC = b"reassoc vault head\n"
_DIGEST_BYTES = 32


class VaultHead(msgspec.Struct, frozen=True, array_like=True):
    """format : of everything in the vault    vault_id : hexadecimal    keys : id -> the index key
    under that master key"""

    format: int
    vault_id: str
    keys: dict[str, bytes]


class Lifted(msgspec.Struct, frozen=True, array_like=True):
    """Who lifted a hold, why and when (seconds since 1970 in UTC)."""

    why: str
    who: str
    at: int


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """A legal hold on a content. at : seconds since 1970 in UTC. lifted : None while it holds."""

    digest: bytes
    why: str
    who: str
    at: int
    lifted: Lifted | None = None


class VaultPolicy(msgspec.Struct, frozen=True, array_like=True):
    """retention_days : how long contents are kept; None: for ever. holds : oldest first."""

    retention_days: int | None = None
    holds: tuple[Hold, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(VaultHead).decode
_decode_policy = msgspec.msgpack.Decoder(VaultPolicy).decode


def is_written(store: Store) -> bool:
    """Whether a vault was begun here: anything at all lies in the store."""
    try:
        return bool(store.names())
    except FileNotFoundError:
        return False


def open_head(
    store: Store, keys: KeyRing, new_id: Callable[[], str], random: Random, *, read_only: bool
) -> tuple[VaultHead, bytes]:
    """The head and the index key; of an empty store, a new one.

    Raises KeyMissingError where a key that the vault hangs on is not in the ring, WrongKeyError
    where one is another key, DamagedError, and VaultError where there is no vault.
    """
    try:
        data = store.read(HEAD, 0, SMALL_BYTES_MAX)
    except FileNotFoundError as error:
        if is_written(store):
            raise DamagedError(
                f"{store.where}: `{HEAD}` is missing and the vault has been written: put it back "
                "from a backup; without it nothing can be read"
            ) from error
        if read_only:
            raise VaultError(f"{store.where}: no vault is here") from error
        head = VaultHead(FORMAT, new_id(), {})
        return add_newest_key(store, keys, head, random(KEY_BYTES))
    head = parse_head(store, data)
    index_key = _unwrapped(store, keys, head)
    if read_only or keys.ids[-1] in head.keys:
        return head, index_key
    return add_newest_key(store, keys, head, index_key)


def parse_head(store: Store, data: bytes) -> VaultHead:
    """What a head says. Raises DamagedError, and VaultError for another format."""
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not body.startswith(_MAGIC) or blake3(body).digest() != digest:
        raise DamagedError(
            f"{store.where}: `{HEAD}` is damaged ({len(data)} bytes): put it back from a backup"
        )
    try:
        head = _decode_head(body[len(_MAGIC) :])
    except msgspec.MsgspecError as error:
        raise VaultError(
            f"{store.where}: `{HEAD}` is of another version of reassoc: use that version"
        ) from error
    if head.format != FORMAT:
        raise VaultError(
            f"{store.where}: the vault has format {head.format}, this version of reassoc reads "
            f"{FORMAT}: use the version that wrote it"
        )
    return head


def _unwrapped(store: Store, keys: KeyRing, head: VaultHead) -> bytes:
    missing = [key_id for key_id in head.keys if key_id not in keys.ids]
    if missing:
        raise KeyMissingError(
            f"{keys.where}: lacks the key {', '.join(map(repr, missing))}, with which the vault in "
            f"{store.where} was written: add it back; it is needed until `reassoc vault rotate` is "
            "complete"
        )
    found = set()
    for key_id, wrapped in head.keys.items():
        try:
            found.add(keys.unwrap(key_id, wrapped, _bound_to(head.vault_id)))
        except WrongKeyError as error:
            raise WrongKeyError(
                f"{keys.where}: key {key_id!r} is not the one that the vault in {store.where} was "
                "written with: put the right key file back"
            ) from error
    if len(found) != 1:
        raise DamagedError(f"{store.where}: the keys in `{HEAD}` contradict each other")
    return found.pop()


def add_newest_key(
    store: Store, keys: KeyRing, head: VaultHead, index_key: bytes
) -> tuple[VaultHead, bytes]:
    """Remember the newest key of the ring: before a data key is wrapped with it."""
    key_id = keys.ids[-1]
    wrapped = keys.wrap(index_key, _bound_to(head.vault_id))
    head = msgspec.structs.replace(head, keys={**head.keys, key_id: wrapped})
    write_head(store, head)
    return head, index_key


def write_head(store: Store, head: VaultHead) -> None:
    """Replace the head, durably."""
    body = _MAGIC + _encode(head)
    store.replace(HEAD, body + blake3(body).digest())


def read_policy(store: Store, index_key: bytes, vault_id: str) -> VaultPolicy:
    """The policy; one that keeps for ever where nothing was stored yet. Raises DamagedError."""
    try:
        data = store.read(POLICY, 0, SMALL_BYTES_MAX)
    except FileNotFoundError as error:
        if any(name.startswith(f"{SEGMENTS}/") for name in store.names()):
            raise DamagedError(
                f"{store.where}: `{POLICY}` is missing: put it back from a backup; it says what "
                "must not be erased"
            ) from error
        return VaultPolicy()
    try:
        body = AESGCM(index_key).decrypt(
            data[:NONCE_BYTES], data[NONCE_BYTES:], _bound_to(vault_id)
        )
        return _decode_policy(body)
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise DamagedError(
            f"{store.where}: `{POLICY}` is damaged ({len(data)} bytes): put it back from a backup; "
            "it says what must not be erased"
        ) from error


def write_policy(
    store: Store, index_key: bytes, vault_id: str, policy: VaultPolicy, random: Random
) -> None:
    """Replace the policy, durably."""
    nonce = random(NONCE_BYTES)
    sealed = AESGCM(index_key).encrypt(nonce, _encode(policy), _bound_to(vault_id))
    store.replace(POLICY, nonce + sealed)


def _bound_to(vault_id: str) -> bytes:
    return b"reassoc vault index key\0" + vault_id.encode()
