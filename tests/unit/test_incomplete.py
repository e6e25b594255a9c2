"""Files of which parts did not come are told, after a while and for a while."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from reassoc.stream import incomplete, part_book
from reassoc.stream.incomplete import (
    GRACE_MS,
    TOLD_MS_MAX,
    WORST_MAX,
    Incomplete,
    IncompleteFile,
    count_incomplete,
    incomplete_files,
    now_ms,
)
from reassoc.stream.ledger import Ledger
from reassoc.stream.part_book import FileNote, Part, PartBook
from reassoc.stream.worker_status import _show_incomplete


@pytest.fixture
def book(tmp_path: Path) -> Iterator[PartBook]:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield PartBook(ledger)
    ledger.close()


def digest_of(file: int) -> bytes:
    return bytes([file]) * 32


def comes(book: PartBook, file: int, numbers: range, part_count: int) -> None:
    """Some parts of a file, and its end."""
    digest = digest_of(file)
    parts = [Part(digest, n * 10, n * 10 + 10, "w0", digest, 0, b"") for n in numbers]
    book.remember(parts)
    book.set_logged([part.key for part in parts])
    book.remember_files([FileNote(digest, part_count * 10, f"[{file}]", "X12", part_count)])


def test_what_is_missing_is_told_with_the_most_missing_first(book: PartBook) -> None:
    began = now_ms()
    comes(book, 1, range(2), 3)
    comes(book, 2, range(5), 5)
    comes(book, 3, range(0), 4)
    late = now_ms() + GRACE_MS + 1
    assert incomplete_files(book, began + GRACE_MS) == Incomplete(0, False, [])
    told = incomplete_files(book, late)
    assert (told.file_count, told.has_more) == (2, False)
    assert [file.name for file in told.worst] == ["[3]", "[1]"]
    last = told.worst[1]
    assert began <= last.came_ms < late
    assert last == IncompleteFile("[1]", "X12", digest_of(1).hex(), 2, 3, 20, 30, last.came_ms)
    # A command that only looks has closed nothing, and what is whole is never told.
    assert len(book.open_files(late)[0]) == 3


def test_a_file_that_is_whole_is_looked_at_once(book: PartBook) -> None:
    comes(book, 1, range(2), 3)
    comes(book, 2, range(5), 5)
    late = now_ms() + GRACE_MS + 1
    assert count_incomplete(book, late) == 1
    assert [file.note.digest for file in book.open_files(late)[0]] == [digest_of(1)]
    comes(book, 1, range(2, 3), 3)
    assert count_incomplete(book, late) == 0
    assert book.open_files(late) == ([], False)


def test_what_never_comes_is_not_told_for_ever(book: PartBook) -> None:
    comes(book, 1, range(2), 3)
    assert count_incomplete(book, now_ms() + TOLD_MS_MAX - 1000) == 1
    assert count_incomplete(book, now_ms() + TOLD_MS_MAX + 1000) == 0
    assert book.open_files(now_ms() + 1) == ([], False)


def test_people_see_how_many_and_the_worst(book: PartBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_book, "OPEN_FILES_MAX", 2)
    monkeypatch.setattr(incomplete, "LOOKS_MAX", WORST_MAX // 2 + 1)
    for file in range(WORST_MAX + 3):
        comes(book, file, range(1), file + 2)
    told = incomplete_files(book, now_ms() + GRACE_MS + 1)
    out = io.StringIO()
    _show_incomplete(Console(file=out, width=100), told)
    lines = out.getvalue().splitlines()
    assert f"{WORST_MAX + 2} or more files are not whole" in lines[1]
    assert lines[-WORST_MAX].split() == [f"[{WORST_MAX + 1}]", "1", f"{WORST_MAX + 3}", "10", "230"]
    assert len(told.worst) == WORST_MAX


def test_old_files_that_miss_parts_do_not_hide_newer_ones(
    book: PartBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_book, "OPEN_FILES_MAX", 3)
    for file in range(10):
        comes(book, file, range(1), 2)
    for file in range(10, 20):
        comes(book, file, range(2), 2)
    late = now_ms() + GRACE_MS + 1
    assert count_incomplete(book, late) == 10
    told = incomplete_files(book, late)
    assert (told.file_count, told.has_more, len(told.worst)) == (10, False, 10)
    assert len(book.open_files(late, None)[0]) == 3
    assert sum(1 for _ in incomplete._looks(book, late)) == 4, "what is whole is not looked at"
