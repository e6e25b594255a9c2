"""The files that a user writes: policy and directory, with errors that name the file and the
key.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from reassoc.core.directory import Directory, load_directory
from reassoc.core.errors import DirectoryError, PolicyError
from reassoc.core.policy import Policy

POLICY_BYTES_MAX = 16 << 20
DIRECTORY_BYTES_MAX = 1 << 30


def load_policy(path: Path) -> Policy:
    """Read a policy file (TOML, UTF-8, at most POLICY_BYTES_MAX).

    Raises PolicyError that names the file and the line (where it is no TOML) or the key (where a
    key is unknown or its value is of the wrong kind), and says what was expected.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= POLICY_BYTES_MAX else None
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from error
    if data is None:
        raise PolicyError(f"{path}: larger than POLICY_BYTES_MAX ({POLICY_BYTES_MAX} bytes)")
    try:
        return msgspec.toml.decode(data, type=Policy)
    except PolicyError as error:
        raise PolicyError(f"{path}: key {error}") from error
    except msgspec.ValidationError as error:
        raise PolicyError(f"{path}: {_with_key(str(error))}") from error
    except msgspec.DecodeError as error:
        raise PolicyError(f"{path}: not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise PolicyError(f"{path}: {error}") from error


def read_directory(path: Path) -> Directory:
    """Read a directory file (TOML, UTF-8, at most DIRECTORY_BYTES_MAX).

    Raises DirectoryError that names the file and the line or the key, never a value.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= DIRECTORY_BYTES_MAX else None
    except OSError as error:
        raise DirectoryError(f"{path}: cannot be read: {error.strerror}") from error
    if data is None:
        raise DirectoryError(
            f"{path}: larger than DIRECTORY_BYTES_MAX ({DIRECTORY_BYTES_MAX} bytes)"
        )
    try:
        return load_directory(data.decode())
    except DirectoryError as error:
        raise DirectoryError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise DirectoryError(f"{path}: not UTF-8 at byte {error.start}") from None


def _with_key(message: str) -> str:
    """msgspec ends its messages with "- at `$.a.b`": put the key in front, where people look."""
    text, found, place = message.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    return f"key {key}: {text}" if found and key else text
