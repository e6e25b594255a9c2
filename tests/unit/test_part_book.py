"""The part book, on SQLite and on PostgreSQL: what was said first of a part stands for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import text

from reassoc.core.errors import LimitError
from reassoc.stream import ledger_schema as schema
from reassoc.stream import part_book
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_store import LedgerError, driver_of
from reassoc.stream.part_book import (
    FileNote,
    Part,
    PartBook,
    PartCounts,
    PartKey,
    file_name_of,
    is_same_file,
)
from reassoc.stream.partition_log import Seen
from reassoc.stream.postgres_arrays import big_array

pytest_plugins = ("postgres_servers",)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger.open(url)
    yield opened
    opened.close()


@pytest.fixture
def book(ledger: Ledger) -> PartBook:
    return PartBook(ledger)


def digest_of(number: int) -> bytes:
    """A digest whose name is a negative number for odd ones."""
    return np.random.default_rng(number).bytes(7) + bytes([(number % 2) << 7 | 1]) + bytes(24)


def part(file: int, number: int, vault: str = "w0", **more: object) -> Part:
    made = Part(
        digest=digest_of(file),
        start=number * 100,
        stop=number * 100 + 100,
        vault=vault,
        content=bytes([number % 251]) * 32,
        offset=number,
        route=b"route %d of %d" % (number, file),
    )
    return msgspec.structs.replace(made, **more)


def test_a_file_is_found_by_its_name_and_what_shares_its_contents(book: PartBook) -> None:
    shared, own = b"s" * 32, b"o" * 32
    mine = [part(1, 0, content=shared), part(1, 1, content=shared), part(1, 2, content=own)]
    others = [part(2, 0, content=shared), part(3, 0, content=shared, vault="w1")]
    book.remember([*mine, *others])
    assert book.parts_named(file_name_of(digest_of(1))) == book.parts_of(digest_of(1)) != []
    assert book.parts_named(file_name_of(digest_of(9))) == []
    found = book.file_counts([shared, own])
    assert found == {shared: 3, own: 1}
    assert book.file_counts([]) == {}


FAR_MS = 1 << 50
"""Later than any test."""


def note(file: int, parts: int) -> FileNote:
    """What is said of a file of parts as `part` makes them."""
    return FileNote(digest_of(file), parts * 100, f"file {file}", "X12", parts, complete=True)


def test_what_was_remembered_is_known_with_every_byte(book: PartBook) -> None:
    # More than one statement takes, in any order, one twice, an empty and a binary route.
    count = part_book.STATEMENT_PARTS_MAX + 10
    parts = [part(file, number) for file in (1, 2) for number in range(count // 2)]
    parts[3] = msgspec.structs.replace(parts[3], route=b"")
    parts[4] = msgspec.structs.replace(parts[4], route=bytes(range(256)), vault="wörker")
    given = [*reversed(parts), parts[7]]
    standing = book.remember(given)
    assert standing == {one.key: one for one in parts}
    assert book.known([one.key for one in given]) == standing
    assert book.known([PartKey(file_name_of(digest_of(1)), 1), PartKey(0, 0)]) == {}
    assert book.known([]) == book.remember([]) == {}


def test_the_first_stands_for_ever(book: PartBook) -> None:
    first = [part(1, number) for number in range(5)]
    book.remember(first[:3])
    later = [part(1, number, vault="w1", route=b"elsewhere") for number in range(5)]
    standing = book.remember(later)
    assert list(standing.values()) == [*first[:3], *later[3:]]
    assert book.remember(first) == standing


def test_another_file_of_the_same_name_is_seen(book: PartBook) -> None:
    one = part(1, 0)
    other = msgspec.structs.replace(one, digest=one.digest[:8] + bytes([9]) * 24)
    assert one.key == other.key
    assert is_same_file(one, book.remember([one])[one.key])
    assert not is_same_file(other, book.remember([other])[other.key])
    assert book.parts_of(other.digest) == []
    # Also where both come in one call.
    second = part(2, 0)
    rival = msgspec.structs.replace(second, digest=second.digest[:8] + bytes([9]) * 24)
    standing = book.remember([second, rival])
    assert (
        is_same_file(second, standing[second.key]),
        is_same_file(rival, standing[rival.key]),
    ) == (True, False)


def test_logged_is_set_for_those_that_are_named(book: PartBook) -> None:
    parts = [part(file, number) for file in (1, 2) for number in range(4)]
    book.remember(parts)
    logged = {parts[1].key, parts[6].key}
    book.set_logged([*logged, PartKey(12345, 0)])
    book.set_logged(list(logged))
    found = book.known([one.key for one in parts])
    assert {key for key, one in found.items() if one.logged} == logged
    assert book.remember(parts) == found
    assert book.counts([digest_of(1), digest_of(2), digest_of(3)]) == {
        digest_of(1): PartCounts(4, 1, 100),
        digest_of(2): PartCounts(4, 1, 100),
    }


def test_bytes_that_two_cuts_of_a_file_have_in_common_count_once(book: PartBook) -> None:
    cuts = [(0, 100), (100, 200), (50, 150), (60, 70), (300, 400), (350, 420), (500, 600)]
    parts = [
        msgspec.structs.replace(part(1, number), start=start, stop=stop)
        for number, (start, stop) in enumerate(cuts)
    ]
    book.remember(parts)
    assert book.counts([digest_of(1)])[digest_of(1)] == PartCounts(7, 0, 0)
    book.set_logged([each.key for each in parts[:-1]])
    assert book.counts([digest_of(1)])[digest_of(1)] == PartCounts(7, 6, 200 + 120)


def test_a_file_is_read_back_by_its_places(book: PartBook) -> None:
    parts = [part(1, number) for number in range(20)]
    book.remember([*reversed(parts), part(2, 3)])
    expected = [msgspec.structs.replace(one, route=b"") for one in parts]
    assert book.parts_of(digest_of(1)) == expected
    assert book.parts_of(digest_of(3)) == []


def test_what_was_said_of_a_file_first_stands_and_it_becomes_complete(book: PartBook) -> None:
    note = FileNote(digest_of(1), 900, "a.835", "X12", 9)
    assert book.file(note.digest) is None
    assert book.remember_files([note]) == [note]
    done = msgspec.structs.replace(note, name="b.835", complete=True)
    assert book.remember_files([done, note]) == [msgspec.structs.replace(note, complete=True)] * 2
    assert book.remember_files([note])[0].complete
    rival = msgspec.structs.replace(note, digest=note.digest[:8] + bytes([7]) * 24)
    assert book.remember_files([rival])[0].digest == note.digest
    assert book.file(rival.digest) is None
    assert book.file(note.digest) == msgspec.structs.replace(note, complete=True)
    assert book.remember_files([]) == []


def test_a_tenant_is_new_once_and_stays_in_its_partition(book: PartBook) -> None:
    assert book.see_tenant("north", 3, 17)
    assert not book.see_tenant("north", 3, 18)
    assert book.see_tenant("süd", 0)
    with pytest.raises(LedgerError, match="partition 3"):
        book.see_tenant("north", 4)
    assert book.tenants_seen() == {"north": Seen(3, 17), "süd": Seen(0)}


def test_parts_that_cannot_be_are_refused(book: PartBook, monkeypatch: pytest.MonkeyPatch) -> None:
    good = part(1, 1)
    for wrong in ({"stop": 50}, {"start": -1}, {"vault": ""}, {"content": b"x"}, {"offset": -1}):
        with pytest.raises(ValueError, match=r"part|vault"):
            book.remember([good, msgspec.structs.replace(good, **wrong)])
    monkeypatch.setattr(part_book, "ROUTE_BYTES_MAX", 100)
    with pytest.raises(LimitError, match="ROUTE_BYTES_MAX"):
        book.remember([msgspec.structs.replace(good, route=bytes(101))])
    assert book.parts_of(good.digest) == []


def test_large_routes_go_in_statements_of_their_own(
    book: PartBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_book, "STATEMENT_BYTES_MAX", 1000)
    parts = [part(1, number, route=bytes([number]) * (300 * number)) for number in range(8)]
    standing = book.remember(parts)
    assert list(standing.values()) == parts == list(book.known(list(standing)).values())


def test_a_ledger_of_the_first_schema_is_raised(ledger: Ledger, url: str) -> None:
    with ledger.writing() as connection:
        for table in (
            schema.part,
            schema.part_copy,
            schema.part_file,
            schema.part_file_open,
            schema.tenant_seen,
        ):
            table.drop(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(LedgerError, match="older schema"):
        Ledger.open(url, read_only=True)
    raised = Ledger.open(url)
    one = part(1, 1)
    assert PartBook(raised).remember([one]) == {one.key: one}
    raised.close()


def test_files_of_the_second_schema_are_looked_at(ledger: Ledger, url: str) -> None:
    PartBook(ledger).remember_files([note(1, 2)])
    PartBook(ledger).see_tenant("north", 3, 17)
    with ledger.writing() as connection:
        schema.part_file_open.drop(connection)
        schema.part_copy.drop(connection)
        connection.execute(text("ALTER TABLE tenant_seen DROP COLUMN first_position"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    raised = Ledger.open(url)
    files, _ = PartBook(raised).open_files(FAR_MS)
    assert [file.note for file in files] == [note(1, 2)]
    assert not PartBook(raised).open_files(0)[0]
    assert PartBook(raised).tenants_seen() == {"north": Seen(3)}
    raised.close()


def test_a_file_is_looked_at_until_its_last_part_is_logged(book: PartBook) -> None:
    book.remember_files([note(1, 2), note(2, 1)])
    parts = [part(1, 0), part(1, 1), part(2, 0)]
    book.remember(parts)
    book.set_logged([each.key for each in (parts[0], parts[2])])
    seen = {file.note.digest: file for file in book.open_files(FAR_MS)[0]}
    assert seen[digest_of(1)].came == PartCounts(2, 1, 100)
    assert [seen[digest_of(number)].is_whole for number in (1, 2)] == [False, True]
    book.close_files([digest_of(2), digest_of(3)])
    assert [file.note for file in book.open_files(FAR_MS)[0]] == [note(1, 2)]
    book.set_logged([parts[1].key])
    assert [file.is_whole for file in book.open_files(FAR_MS)[0]] == [True]


def test_one_look_is_about_a_bounded_number_of_files_and_parts(
    book: PartBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        book.remember_files([note(number, 50)])
    assert (len(book.open_files(FAR_MS)[0]), book.open_files(FAR_MS)[1]) == (4, False)
    monkeypatch.setattr(part_book, "OPEN_PARTS_MAX", 120)
    assert (len(book.open_files(FAR_MS)[0]), book.open_files(FAR_MS)[1]) == (2, True)
    monkeypatch.setattr(part_book, "OPEN_PARTS_MAX", 10)
    assert (len(book.open_files(FAR_MS)[0]), book.open_files(FAR_MS)[1]) == (1, True)
    monkeypatch.setattr(part_book, "OPEN_PARTS_MAX", 1000)
    monkeypatch.setattr(part_book, "OPEN_FILES_MAX", 3)
    files, has_more = book.open_files(FAR_MS)
    assert (len(files), has_more) == (3, True)
    rest, has_more = book.open_files(FAR_MS, files[-1])
    assert (len(rest), has_more) == (1, False)
    digests = {file.note.digest for file in [*files, *rest]}
    assert digests == {digest_of(number) for number in range(4)}


def test_workers_that_write_the_same_at_once_agree(book: PartBook, url: str) -> None:
    keys = [(file, number) for file in range(4) for number in range(100)]
    answers: dict[int, list[dict[PartKey, Part]]] = {}

    def work(worker: int) -> None:
        own = Ledger.open(url)
        rng = np.random.default_rng(worker)
        mine = PartBook(own)
        answers[worker] = []
        for _ in range(6):
            some = [keys[row] for row in rng.permutation(len(keys))[:150]]
            parts = [part(*key, vault=f"w{worker}") for key in some]
            answers[worker].append(mine.remember(parts))
            mine.set_logged([one.key for one in parts[:50]])
        own.close()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    truth = book.known([part(*key).key for key in keys])
    told = [(key, one) for each in answers.values() for found in each for key, one in found.items()]
    assert len(told) == 4 * 6 * 150
    assert len({one.vault for _, one in told}) > 1
    assert all(truth[key].vault == one.vault for key, one in told)


def test_postgres_finds_parts_to_be_logged_by_their_keys(postgres_url: str) -> None:
    """Also where its figures are of a moment at which every part was logged."""
    ledger = Ledger.open(postgres_url)
    try:
        book = PartBook(ledger)
        book.remember(first := [part(1, number) for number in range(20_000)])
        book.set_logged([one.key for one in first])
        with ledger.adding() as connection:
            connection.execute(text("ANALYZE part"))
        book.remember(later := [part(2, number) for number in range(1000)])
        keys = [big_array(places) for places in zip(*(p.key for p in later[:200]), strict=True)]
        with ledger.adding() as connection, driver_of(connection).cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {part_book.POSTGRES_LOGGED}", keys)
            ((told,),) = cursor.fetchall()
        assert list(_compared_in_vain(told[0]["Plan"])) == []
        assert book.counts([digest_of(2)])[digest_of(2)].logged_count == 200
    finally:
        ledger.close()


def _compared_in_vain(plan: dict[str, Any]) -> Iterator[int]:
    """How many pairs of rows were looked at and did not belong together, where any did not."""
    if plan.get("Rows Removed by Join Filter"):
        yield plan["Rows Removed by Join Filter"]
    for inner in plan.get("Plans", ()):
        yield from _compared_in_vain(inner)
