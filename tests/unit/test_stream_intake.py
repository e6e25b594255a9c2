"""Messages taken in: they go where they went first, and no file is taken for another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from blake3 import blake3
from engine_world import PlainVault
from small_feed import interchange, remittance

from reassoc.stream.item_log import ItemsEntry
from reassoc.stream.ledger import Ledger
from reassoc.stream.message import RawMessage, Reference
from reassoc.stream.metrics import DeadReason
from reassoc.stream.part_book import Part, PartBook, file_name_of
from reassoc.stream.routing import RouteBuilder, Router, encode_route
from reassoc.stream.stream_intake import StreamIntake, Took
from reassoc.stream.taking import Rules

DATA = interchange(remittance("77001", 12_345))
MESSAGE = RawMessage(DATA, (), "raw.x12/0@7")
NOTHING = encode_route(RouteBuilder().route())


class Vaults:
    """One worker's vault, in memory."""

    def __init__(self) -> None:
        self.own = PlainVault()

    def put(self, pieces: Sequence[bytes]) -> Reference:
        return Reference("w0", self.own.put(pieces).digest)

    def read(self, vault: str, digest: bytes) -> bytes:
        return self.own.contents[digest]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[PartBook]:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield PartBook(ledger)
    ledger.close()


def intake(book: PartBook, folder: Path) -> StreamIntake:
    rules = Rules(Router(None), ())
    return StreamIntake(Vaults(), book, lambda: rules, scratch=folder, entry_bytes_max=1 << 20)


def items_of(took: Took) -> int:
    entries = [entry for _, entry in took.entries]
    assert all(isinstance(entry, ItemsEntry) for entry in entries)
    return sum(len(entry.remittance_stops) // 8 for entry in entries)


def test_a_part_that_is_logged_is_not_logged_again(book: PartBook, tmp_path: Path) -> None:
    taking = intake(book, tmp_path)
    first = taking.take([MESSAGE, MESSAGE])
    assert (items_of(first), len(first.keys), first.dead) == (1, 1, [])
    # Not known to be logged: as after a crash, it is logged once more.
    assert items_of(taking.take([MESSAGE])) == 1
    taking.set_logged(first)
    again = taking.take([MESSAGE])
    assert (again.entries, again.keys, again.dead) == ([], [], [])


def test_where_bytes_lie_that_came_once_more_is_known(book: PartBook, tmp_path: Path) -> None:
    """Beside another message, so in another content."""
    digest, more = blake3(DATA).digest(), RawMessage(DATA + b"\n", (), "raw.x12/0@8")
    name = file_name_of(digest)
    taking = intake(book, tmp_path)
    taking.take([MESSAGE])
    taking.take([MESSAGE, MESSAGE])
    assert len(book.copies_named(name)) == 1, "both in one content"
    taking.take([more, MESSAGE])
    first, second = book.copies_named(name)
    assert {first.offset, second.offset} == {0, len(DATA) + 1}
    assert (first.digest, first.start, first.stop) == (digest, 0, len(DATA))
    (stands,) = book.parts_of(digest)
    counts = book.file_counts([stands.content, first.content, second.content])
    assert sorted(counts.values()) == [1, 1, 2]
    taking.take([more, MESSAGE])
    assert len(book.copies_named(name)) == 2, "the same content once more"


@pytest.mark.parametrize("logged", [False, True])
def test_another_file_of_the_same_name_is_never_taken_for_a_copy(
    book: PartBook, tmp_path: Path, logged: bool
) -> None:
    """Its digest begins with the same 8 bytes: it is put aside and told, not dropped."""
    other = blake3(DATA).digest()[:8] + bytes(24)
    book.remember([Part(other, 0, len(DATA), "w0", other, 0, NOTHING, logged=logged)])
    took = intake(book, tmp_path).take([MESSAGE])
    assert took.entries == []
    assert [(dead.message, dead.code) for dead in took.dead] == [(0, DeadReason.COLLISION)]
    assert "another file that came before" in took.dead[0].reason
    (copy,) = book.copies_named(file_name_of(other))
    assert copy.digest == blake3(DATA).digest()


@pytest.mark.parametrize("logged", [False, True])
def test_a_part_that_ends_behind_the_one_that_came_first_is_no_copy_of_it(
    book: PartBook, tmp_path: Path, logged: bool
) -> None:
    digest = blake3(DATA).digest()
    book.remember([Part(digest, 0, len(DATA) - 1, "w0", digest, 0, NOTHING, logged=logged)])
    took = intake(book, tmp_path).take([MESSAGE])
    assert took.entries == []
    assert [dead.code for dead in took.dead] == [DeadReason.CUT_OTHERWISE]
    assert "cut in two ways" in took.dead[0].reason


def test_a_file_whose_parts_all_came_is_a_copy_as_a_whole(book: PartBook, tmp_path: Path) -> None:
    digest, half = blake3(DATA).digest(), len(DATA) // 2
    first = Part(digest, 0, half, "w0", digest, 0, NOTHING, logged=True)
    second = Part(digest, half, len(DATA), "w0", digest, half, NOTHING)
    book.remember([first, second])
    (dead,) = intake(book, tmp_path).take([MESSAGE]).dead
    assert dead.code == DeadReason.CUT_OTHERWISE
    book.set_logged([second.key])
    took = intake(book, tmp_path).take([MESSAGE])
    assert (took.entries, took.keys, took.dead) == ([], [], [])


def test_a_part_that_ends_within_one_that_is_logged_is_a_copy(
    book: PartBook, tmp_path: Path
) -> None:
    digest = blake3(DATA).digest()
    book.remember([Part(digest, 0, len(DATA) + 1, "w0", digest, 0, NOTHING, logged=True)])
    took = intake(book, tmp_path).take([MESSAGE])
    assert (took.entries, took.keys, took.dead) == ([], [], [])


def test_a_part_goes_where_it_went_first(book: PartBook, tmp_path: Path) -> None:
    """Whatever the directory says by now; what cannot be the same part is told."""
    digest = blake3(DATA).digest()
    book.remember([Part(digest, 0, len(DATA), "w0", digest, 0, NOTHING)])
    took = intake(book, tmp_path).take([MESSAGE])
    assert [dead.code for dead in took.dead] == [DeadReason.FAILED]
    assert "it held 0 remittances and 0 payments, and now 1 and 0" in took.dead[0].reason
