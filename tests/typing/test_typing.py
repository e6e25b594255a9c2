"""The types that callers see: a file that uses the public names passes mypy strict, and the stubs
of the compiled modules say what those modules hold.

mypy is a tool of `make lint` and `make type`; without it these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import REPOSITORY

HERE = Path(__file__).resolve().parent
PACKAGES = REPOSITORY / "build" / "pkgroot"
COMPILED = tuple(
    f"reassoc.core.{name}"
    for name in (
        "_x12scan",
        "_nacha",
        "_bai2scan",
        "_keys",
        "_tiers",
        "_payees",
        "_bulk",
        "_candidates",
        "_rows",
    )
)

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed"),
    pytest.mark.skipif(
        "libasan" in os.environ.get("LD_PRELOAD", ""),
        reason="types do not depend on the sanitizers, under which mypy takes minutes",
    ),
]


def run(folder: Path, *arguments: str) -> None:
    """Run a module of mypy in `folder`, with the package on its path; its output is the failure."""
    paths = {"MYPYPATH": str(PACKAGES), "PYTHONPATH": str(PACKAGES)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_public_names_have_the_types_they_are_said_to_have(tmp_path: Path) -> None:
    """`refused` in the file holds calls that must be errors: strict refuses an idle ignore."""
    settings = str(REPOSITORY / "pyproject.toml")
    example = str(HERE / "public_names.py")
    run(tmp_path, "mypy", "--strict", "--config-file", settings, example)


@pytest.mark.slow
def test_stubs_say_what_the_compiled_modules_hold(tmp_path: Path) -> None:
    allowed = str(HERE / "stubtest_allowlist.txt")
    run(tmp_path, "mypy.stubtest", "--allowlist", allowed, *COMPILED)
