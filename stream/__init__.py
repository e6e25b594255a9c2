"""Everything with files, clocks and people in it: partner feeds, the main job, the command line."""

from __future__ import annotations

from importlib import metadata


def package_version() -> str:
    """Version of the installed package; `unknown` where it runs without being installed."""
    try:
        return metadata.version("reassoc")
    except metadata.PackageNotFoundError:
        return "unknown"
