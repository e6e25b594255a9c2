"""Layout files of lockbox lists: TOML into `reassoc.core.lockbox.LockboxLayout`, with errors that
name the file and the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reassoc.core.errors import LayoutError
from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.settings import read_settings

LAYOUT_BYTES_MAX = 1 << 20


def load_layout(path: Path) -> LockboxLayout:
    """Read a layout file (TOML, UTF-8, at most LAYOUT_BYTES_MAX).

    Raises LayoutError that names the file and the line (where it is no TOML) or the key (where a
    key is unknown or its value is not usable), and says what was expected.
    """
    return read_settings(path, LockboxLayout, ("LAYOUT_BYTES_MAX", LAYOUT_BYTES_MAX), LayoutError)


def layout_of(layouts: Sequence[LockboxLayout], name: str, head: bytes) -> LockboxLayout | None:
    """The first layout that recognises an input by its name and its first bytes."""
    return next((layout for layout in layouts if layout.fits(name, head)), None)
