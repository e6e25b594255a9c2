"""House rules that a machine can check: widths, sizes, and what the sources must not talk about."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from corpus import REPOSITORY

FOLDERS = ("core", "stream", "loadtest", "bench", "tests", "docs")
_PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
_WIDTH: int = _PROJECT["tool"]["ruff"]["line-length"]
LINE_MAX = {".py": _WIDTH, ".pyi": _WIDTH, ".pyx": _WIDTH, ".pxd": _WIDTH, ".h": _WIDTH}
"""Headers may be wider: the table lists are macros with their continuation in one column."""
FUNCTION_LINES_MAX = 70

_LEFT_OVER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
_MAKERS = (
    "chat" + "gpt",
    "clau" + "de",
    "anthro" + "pic",
    "open" + "ai",
    "co" + "pilot",
    "l" + "lm",
)
_OF_THE_MAKING = re.compile(
    r"(?i)\b(?:"
    + "|".join(_MAKERS)
    + r")\b|/wo"
    + r"rk/|issue\s+#?\d+|\bprompt\b(?! to| for)|\bsession of the\b"
)


def _files(suffixes: set[str]) -> list[Path]:
    found = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*")]
    found += [path for path in REPOSITORY.iterdir() if path.is_file()]
    return sorted(path for path in found if path.suffix in suffixes)


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", _files(set(LINE_MAX)), ids=_name)
def test_lines_are_not_too_long(path: Path) -> None:
    width = LINE_MAX[path.suffix]
    lines = path.read_text().splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > width] == []


@pytest.mark.parametrize("path", _files({".py"}), ids=_name)
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize(
    "path", _files({".py", ".pyi", ".pyx", ".pxd", ".h", ".md", ".toml"}), ids=_name
)
def test_nothing_is_left_to_do_or_told_of_the_making(path: Path) -> None:
    if path.name == Path(__file__).name:
        return
    text = path.read_text()
    assert _LEFT_OVER.findall(text) == []
    assert _OF_THE_MAKING.findall(text) == []


@pytest.mark.parametrize("path", _files({".py", ".pyx", ".pxd", ".h"}), ids=_name)
def test_text_is_clean(path: Path) -> None:
    data = path.read_bytes()
    assert b"\t" not in data or path.name == "Makefile"
    assert b"\r" not in data
    assert not data or data.endswith(b"\n")
    assert not re.search(rb"[ \t]+\n", data), "blanks at the end of a line"
