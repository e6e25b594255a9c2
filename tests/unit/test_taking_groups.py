"""In which order files that wait are taken, and which of them together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reassoc.stream import taking
from reassoc.stream.inbox import Ready
from reassoc.stream.taking import FILE_BYTES, GROUP_BYTES_FIRST, GROUP_BYTES_MAX


def ready(name: str, *sizes: int) -> Ready:
    """A file that is complete, with inputs of these sizes."""
    sources: Any = tuple(SimpleNamespace(size_bytes=size) for size in sizes)
    return Ready(Path(name), name, sources, ())


def order(*files: Ready) -> list[str]:
    return [one.name for one in taking._in_turn(files)]


def test_folders_take_turns_by_their_bytes() -> None:
    backlog = [ready(f"big/{n:02d}.835", 10 << 20) for n in range(20)]
    little = [ready(f"little/{n}.ach", 1 << 10) for n in range(5)]
    found = order(*backlog, *little)
    assert found[:2] == ["big/00.835", "little/0.ach"]
    assert set(found[:6]) == {"big/00.835", *(one.name for one in little)}
    assert [name for name in found if name.startswith("big/")] == [one.name for one in backlog]
    assert sorted(found) == sorted(one.name for one in (*backlog, *little))


def test_files_right_in_the_inbox_are_one_more_folder() -> None:
    assert order(ready("a.835", 5), ready("b.835", 5), ready("x/c.835", 5)) == [
        "a.835",
        "x/c.835",
        "b.835",
    ]
    assert order() == []


def groups(files: Sequence[Ready]) -> list[int]:
    """Weights of the groups."""
    found = list(taking._groups(files))
    assert [one for group in found for one in group] == list(files)
    return [sum(map(taking._weight, group)) for group in found]


def test_groups_grow_to_their_limit() -> None:
    size = (1 << 20) - FILE_BYTES
    found = groups([ready(f"{n}", size) for n in range(400)])
    assert [weight >> 20 for weight in found[:7]] == [8, 12, 18, 27, 40, 60, 64]
    assert (GROUP_BYTES_FIRST, GROUP_BYTES_MAX) == (8 << 20, 64 << 20)
    assert sum(found) == 400 << 20


def test_a_file_that_is_larger_than_a_group_goes_alone() -> None:
    huge = ready("huge", 10 * GROUP_BYTES_MAX)
    assert len(groups([ready("a", 1), huge, ready("b", 1)])) == 3
    many = ready("archive", *([1] * 10_000))
    assert taking._weight(many) == 10_000 * (1 + FILE_BYTES), "each input in it takes its time"
    assert groups([]) == []
    assert taking._weight(ready("nothing readable in it")) == FILE_BYTES
