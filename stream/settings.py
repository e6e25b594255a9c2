"""The files that a user writes, policy, warehouse rules, directory and layouts, with errors that
name the file and the key.

The texts of policy and rules travel on the item log, too, and are decoded from there again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import msgspec

from reassoc.core.directory import Directory, load_directory
from reassoc.core.errors import DirectoryError, PolicyError, ReassocError
from reassoc.core.policy import Policy
from reassoc.stream.rules import WarehouseRules

POLICY_BYTES_MAX = 8 << 20
RULES_BYTES_MAX = 2 << 20
"""Both are in one record of the state, beside the aliases of people: see state.BODY_BYTES_MAX."""
DIRECTORY_BYTES_MAX = 1 << 30
POLICY_LIMIT = ("POLICY_BYTES_MAX", POLICY_BYTES_MAX)
RULES_LIMIT = ("RULES_BYTES_MAX", RULES_BYTES_MAX)
DIRECTORY_LIMIT = ("DIRECTORY_BYTES_MAX", DIRECTORY_BYTES_MAX)

S = TypeVar("S")


def load_policy(path: Path) -> Policy:
    """Read a policy file (TOML, UTF-8, at most POLICY_BYTES_MAX).

    Raises PolicyError that names the file and the line (where it is no TOML) or the key (where a
    key is unknown or its value is of the wrong kind), and says what was expected.
    """
    return read_settings(path, Policy, POLICY_LIMIT, PolicyError)


def load_rules(path: Path) -> WarehouseRules:
    """Read a file of warehouse rules (TOML, UTF-8, at most RULES_BYTES_MAX). Raises PolicyError as
    load_policy does.
    """
    return read_settings(path, WarehouseRules, RULES_LIMIT, PolicyError)


def read_directory(path: Path) -> Directory:
    """Read a directory file (TOML, UTF-8, at most DIRECTORY_BYTES_MAX).

    Raises DirectoryError that names the file and the line or the key, never a value.
    """
    return decode_directory(read_bytes(path, DIRECTORY_LIMIT, DirectoryError), str(path))


def read_settings(
    path: Path, kind: type[S], limit: tuple[str, int], fault: type[ReassocError]
) -> S:
    """Read a TOML file into a struct that raises `fault` for what it does not take.

    limit : name and value of the most bytes

    Raises `fault` that names the file and the line or the key, and says what was expected.
    """
    return _decode(read_bytes(path, limit, fault), str(path), kind, fault)


def read_bytes(path: Path, limit: tuple[str, int], fault: type[ReassocError]) -> bytes:
    """A file of settings as it is. Raises `fault` where it cannot be read or is too large."""
    name, bytes_max = limit
    try:
        if path.stat().st_size > bytes_max:
            raise fault(f"{path}: larger than {name} ({bytes_max} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise fault(f"{path}: cannot be read: {error.strerror}") from error


def decode_policy(data: bytes | str, where: str) -> Policy:
    """A policy out of its text, empty for the defaults. Raises PolicyError that begins with
    `where`.
    """
    return _decode(data, where, Policy, PolicyError)


def decode_rules(data: bytes | str, where: str) -> WarehouseRules:
    """Warehouse rules out of their text, empty for the defaults. Raises PolicyError that begins
    with `where`.
    """
    return _decode(data, where, WarehouseRules, PolicyError)


@lru_cache(maxsize=2)
def parse_directory(data: bytes) -> Directory:
    """A directory out of the bytes of its file; the same one for the same bytes, since reading a
    large one takes as long as matching thousands of items. Raises DirectoryError, UnicodeError.
    """
    return load_directory(data.decode())


def decode_directory(data: bytes, where: str) -> Directory:
    """A directory out of its file. Raises DirectoryError that begins with `where`."""
    try:
        return parse_directory(data)
    except DirectoryError as error:
        raise DirectoryError(f"{where}: {_plain(str(error))}") from error
    except UnicodeDecodeError as error:
        raise DirectoryError(f"{where}: not UTF-8 at byte {error.start}") from None


def _decode(data: bytes | str, where: str, kind: type[S], fault: type[ReassocError]) -> S:
    try:
        return msgspec.toml.decode(data, type=kind)
    except fault as error:
        raise fault(f"{where}: key {error}") from error
    except msgspec.ValidationError as error:
        raise fault(f"{where}: {_with_key(str(error))}") from error
    except msgspec.DecodeError as error:
        raise fault(f"{where}: not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise fault(f"{where}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise fault(f"{where}: {error}") from error


_PLAIN = {
    "Object contains unknown field": "unknown key",
    "Object missing required field": "missing key",
}
"""What msgspec says, in the words of a file's author."""


def _plain(message: str) -> str:
    for said, plain in _PLAIN.items():
        message = message.replace(said, plain)
    return message


def _with_key(message: str) -> str:
    """msgspec ends its messages with "- at `$.a.b`": put the key in front, where people look."""
    text, found, place = _plain(message).partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    return f"key {key}: {text}" if found and key else text
