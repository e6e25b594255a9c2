"""The layers hold: who may import what, in Python and Cython sources alike."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import REPOSITORY

CORE_OUTSIDERS = {"numpy", "msgspec"}
CORE_OPTIONAL = {"pyarrow"}
"""Imported only inside a function, for whoever asks for it."""
CORE_FORBIDDEN = {
    "asyncio",
    "logging",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
}
CYTHON_OWN = {"cython", "libc", "cpython"}
_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+(?:\s*,\s*[\w.]+)*))", re.MULTILINE
)
_OPEN = re.compile(r"(?<![\w.])open\s*\(")


def sources(*folders: str) -> list[Path]:
    """Every Python and Cython source under the given folders."""
    suffixes = {".py", ".pyi", ".pyx", ".pxd"}
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    return sorted(path for path in found if path.suffix in suffixes)


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a source imports; for Cython taken from the text."""
    text = path.read_text()
    if path.suffix in {".pyx", ".pxd"}:
        for match in _IMPORT.finditer(text):
            yield from (name.strip() for name in (match[1] or match[2]).split(","))
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides which layer it reaches"
            module = node.module or ""
            yield module
            if module in ("reassoc", "reassoc.core"):
                yield from (f"{module}.{alias.name}" for alias in node.names)


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", sources("core"), ids=_name)
def test_core_is_pure(path: Path) -> None:
    for name in imports(path):
        top = name.partition(".")[0]
        if top == "reassoc":
            assert name == "reassoc" or name.startswith("reassoc.core"), f"{name} in {path}"
            continue
        allowed = CORE_OUTSIDERS | CORE_OPTIONAL | (CYTHON_OWN if path.suffix != ".py" else set())
        assert top in allowed or top in sys.stdlib_module_names, f"{name} in {path}"
        assert top not in CORE_FORBIDDEN, f"{name} in {path}"
    assert not _OPEN.search(path.read_text()), f"{path} opens a file"


@pytest.mark.parametrize("path", sources("core"), ids=_name)
def test_optional_packages_are_imported_late(path: Path) -> None:
    if path.suffix != ".py":
        return
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & CORE_OPTIONAL, path


@pytest.mark.parametrize("path", sources("stream"), ids=_name)
def test_stream_knows_nothing_above_it(path: Path) -> None:
    for name in imports(path):
        assert not name.startswith(("reassoc.loadtest", "reassoc.web")), f"{name} in {path}"


@pytest.mark.parametrize("path", sources("core", "stream", "loadtest", "bench", "tests"), ids=_name)
def test_nobody_imports_a_second_copy(path: Path) -> None:
    for name in imports(path):
        assert name.partition(".")[0] not in {"core", "stream", "loadtest", "web"}, (
            f"{name} in {path}"
        )


@pytest.mark.parametrize("path", sources("core", "stream", "loadtest"), ids=_name)
def test_the_twins_stay_out_of_production(path: Path) -> None:
    if path.name.startswith("reference"):
        return
    for name in imports(path):
        assert not name.startswith("reassoc.core.reference"), f"{name} in {path}"
