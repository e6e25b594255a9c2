"""Layout files of lockbox lists: TOML into `reassoc.core.lockbox.LockboxLayout`, with errors that
name the file and the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from reassoc.core.errors import LayoutError
from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.settings import _with_key

LAYOUT_BYTES_MAX = 1 << 20


def load_layout(path: Path) -> LockboxLayout:
    """Read a layout file (TOML, UTF-8, at most LAYOUT_BYTES_MAX).

    Raises LayoutError that names the file and the line (where it is no TOML) or the key (where a
    key is unknown or its value is not usable), and says what was expected.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LAYOUT_BYTES_MAX else None
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read: {error.strerror}") from error
    if data is None:
        raise LayoutError(f"{path}: larger than LAYOUT_BYTES_MAX ({LAYOUT_BYTES_MAX} bytes)")
    try:
        return msgspec.toml.decode(data, type=LockboxLayout)
    except LayoutError as error:
        raise LayoutError(f"{path}: key {error}") from error
    except msgspec.ValidationError as error:
        raise LayoutError(f"{path}: {_with_key(str(error))}") from error
    except msgspec.DecodeError as error:
        raise LayoutError(f"{path}: not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise LayoutError(f"{path}: {error}") from error


def layout_of(layouts: Sequence[LockboxLayout], name: str, head: bytes) -> LockboxLayout | None:
    """The first layout that recognises an input by its name and its first bytes."""
    return next((layout for layout in layouts if layout.fits(name, head)), None)
