"""The files that a user writes, policy, directory and layouts, with errors that name the file and
the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from reassoc.core.directory import Directory, load_directory
from reassoc.core.errors import DirectoryError, PolicyError, ReassocError
from reassoc.core.policy import Policy

POLICY_BYTES_MAX = 16 << 20
DIRECTORY_BYTES_MAX = 1 << 30

S = TypeVar("S")


def load_policy(path: Path) -> Policy:
    """Read a policy file (TOML, UTF-8, at most POLICY_BYTES_MAX).

    Raises PolicyError that names the file and the line (where it is no TOML) or the key (where a
    key is unknown or its value is of the wrong kind), and says what was expected.
    """
    return read_settings(path, Policy, ("POLICY_BYTES_MAX", POLICY_BYTES_MAX), PolicyError)


def read_directory(path: Path) -> Directory:
    """Read a directory file (TOML, UTF-8, at most DIRECTORY_BYTES_MAX).

    Raises DirectoryError that names the file and the line or the key, never a value.
    """
    data = _bytes_of(path, ("DIRECTORY_BYTES_MAX", DIRECTORY_BYTES_MAX), DirectoryError)
    try:
        return load_directory(data.decode())
    except DirectoryError as error:
        raise DirectoryError(f"{path}: {_plain(str(error))}") from error
    except UnicodeDecodeError as error:
        raise DirectoryError(f"{path}: not UTF-8 at byte {error.start}") from None


def read_settings(
    path: Path, kind: type[S], limit: tuple[str, int], fault: type[ReassocError]
) -> S:
    """Read a TOML file into a struct that raises `fault` for what it does not take.

    limit : name and value of the most bytes

    Raises `fault` that names the file and the line or the key, and says what was expected.
    """
    data = _bytes_of(path, limit, fault)
    try:
        return msgspec.toml.decode(data, type=kind)
    except fault as error:
        raise fault(f"{path}: key {error}") from error
    except msgspec.ValidationError as error:
        raise fault(f"{path}: {_with_key(str(error))}") from error
    except msgspec.DecodeError as error:
        raise fault(f"{path}: not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise fault(f"{path}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise fault(f"{path}: {error}") from error


def _bytes_of(path: Path, limit: tuple[str, int], fault: type[ReassocError]) -> bytes:
    name, bytes_max = limit
    try:
        if path.stat().st_size > bytes_max:
            raise fault(f"{path}: larger than {name} ({bytes_max} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise fault(f"{path}: cannot be read: {error.strerror}") from error


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
