"""The ledger: batches once, whole or not at all, in order; what is in the chain and what is not."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import ledgers
import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select, text, update

from reassoc.core.errors import LimitError
from reassoc.stream import ledger_append
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ledger import REVISION, Ledger, raise_schema
from reassoc.stream.ledger_audit import Verification, verify
from reassoc.stream.ledger_chain import CHAINED
from reassoc.stream.ledger_rows import ItemSide, LedgerBatch
from reassoc.stream.ledger_schema import RELEASE_CHAIN
from reassoc.stream.ledger_store import LedgerError, fetch, make_engine


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger.open(url)
    yield opened
    opened.close()


def checked(ledger: Ledger) -> Verification:
    with ledger.reading() as connection:
        return verify(connection)


def count(ledger: Ledger, name: str) -> int:
    table = schema.metadata.tables[name]
    with ledger.reading() as connection:
        return int(fetch(connection, select(func.count()).select_from(table))[0][0])


def test_a_batch_is_written_once(ledger: Ledger) -> None:
    batch = ledgers.first_batch()
    assert ledger.append(1, batch)
    head = ledger.heads()
    assert not ledger.append(1, batch)
    assert ledger.heads() == head
    assert ledger.last_sequence(ledgers.TENANT) == 1
    assert ledger.last_sequence("south") == 0
    assert checked(ledger).sound
    assert checked(ledger).row_count == 12
    assert count(ledger, "item") == 2


def test_what_sqlite_has_logged_goes_into_the_file(ledger: Ledger, tmp_path: Path) -> None:
    def in_the_file_alone() -> int:
        alone = tmp_path / "alone.db"
        alone.write_bytes((tmp_path / "ledger.db").read_bytes())
        with closing(sqlite3.connect(alone)) as file:
            found = file.execute("SELECT count(*) FROM batch").fetchone()[0]
        return int(found)

    ledger.checkpoint()
    assert ledger.append(1, ledgers.first_batch())
    assert in_the_file_alone() == 0
    ledger.checkpoint()
    assert in_the_file_alone() == 1
    assert checked(ledger).sound


@pytest.mark.parametrize(
    "other",
    [
        ledgers.first_batch(day=1),
        ledgers.batch([ledgers.item(1, ItemSide.REMITTANCE)]),
        msgspec.structs.replace(
            ledgers.first_batch(), decisions=(ledgers.decision("d1", why="?"),) * 2
        ),
    ],
)
def test_a_known_sequence_with_other_content_is_refused(ledger: Ledger, other: LedgerBatch) -> None:
    ledger.append(1, ledgers.first_batch())
    with pytest.raises(LedgerError, match="another content"):
        ledger.append(1, other)
    assert checked(ledger).batch_count == 1


def test_a_gap_is_refused_and_nothing_of_the_call_is_kept(ledger: Ledger) -> None:
    entries = [(1, ledgers.first_batch()), (3, ledgers.batch())]
    with pytest.raises(LedgerError, match="batch 3 of a tenant follows batch 1"):
        ledger.append_many(entries)
    assert [count(ledger, table.name) for table in schema.metadata.sorted_tables] == [0] * len(
        schema.metadata.tables
    )
    assert ledger.append_many([(1, ledgers.first_batch()), (2, ledgers.batch())]) == [True, True]
    assert ledger.append_many([(2, ledgers.batch()), (3, ledgers.batch())]) == [False, True]


def test_tenants_have_chains_of_their_own(ledger: Ledger) -> None:
    south = msgspec.structs.replace(ledgers.batch(), tenant="south")
    ledger.append_many([(1, ledgers.first_batch()), (1, south), (2, ledgers.batch())])
    assert {tenant: head[0] for tenant, head in ledger.heads().items()} == {
        ledgers.TENANT: 2,
        "south": 1,
    }
    assert checked(ledger).heads == ledger.heads()


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"items": b"1234567"}, LedgerError, "item rows of a batch are cut"),
        ({"details": b"\xc1"}, LedgerError, "details of a batch cannot be read"),
        ({"details": ledgers.details({})}, LedgerError, "one value for each"),
        ({"cause": "weather"}, LedgerError, "cause"),
        ({"as_of": "yesterday, said Ann"}, LedgerError, "ISO 8601"),
        ({"tenant": ""}, LedgerError, "name"),
        ({"decisions": (ledgers.decision("d", kind="guess"),)}, LedgerError, "kind"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(
    ledger: Ledger, fields: dict[str, object], error: type[Exception], words: str
) -> None:
    batch = msgspec.structs.replace(ledgers.first_batch(), **fields)
    with pytest.raises(error, match=words):
        ledger.append(1, batch)
    assert count(ledger, "batch") == 0


def test_too_many_rows_are_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_append, "BATCH_ROWS_MAX", 1)
    with pytest.raises(LimitError, match="BATCH_ROWS_MAX"):
        ledger.append(1, ledgers.first_batch())


def test_a_full_disk_changes_nothing(ledger: Ledger) -> None:
    ledger.append(1, ledgers.first_batch())
    many = [ledgers.item(offset, ItemSide.PAYMENT) for offset in range(10, 5000)]
    with ledger.writing() as connection:
        pages = fetch(connection, text("PRAGMA page_count"))[0][0]
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 8}")
    with pytest.raises(OSError, match="full"):
        ledger.append(2, ledgers.batch(many))
    with ledger.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert checked(ledger).batch_count == 1
    assert ledger.append(2, ledgers.batch(many))
    assert checked(ledger).sound


def test_texts_of_a_decision_can_be_erased(ledger: Ledger) -> None:
    batch = ledgers.first_batch()
    ledger.append(1, batch)
    with ledger.writing() as connection:
        erased = dict.fromkeys(("who", "why", "refusal", "salt"))
        connection.execute(update(schema.decision_text).values(erased))
    assert checked(ledger).sound
    assert not ledger.append(1, batch), "what was erased cannot be compared any more"
    with pytest.raises(LedgerError, match="another content"):
        ledger.append(1, msgspec.structs.replace(batch, decisions=batch.decisions[:1]))


def test_salts_come_from_outside_and_hide_equal_texts(url: str) -> None:
    made: list[int] = []

    def random_bytes(size: int) -> bytes:
        made.append(size)
        return bytes([len(made)]) * size

    ledger = Ledger.open(url, random_bytes=random_bytes)
    same = (ledgers.decision("d"), ledgers.decision("d"))
    ledger.append(1, ledgers.batch(decisions=same))
    with ledger.reading() as connection:
        hashes = {row[0] for row in fetch(connection, select(schema.decision.c.text_hash))}
    ledger.close()
    assert len(made) == len(hashes) == 2


def test_no_text_of_people_is_in_a_chained_row(ledger: Ledger) -> None:
    canary = "CANARY"
    texts = {
        name: canary.encode()
        for name in ("trace", "payer_id", "payer_name", "payee_account", "payee_id")
    }
    batch = ledgers.batch(
        [ledgers.item(1, ItemSide.REMITTANCE)],
        [ledgers.change(1, ItemSide.REMITTANCE, 0, 6)],
        details=ledgers.details(texts),
        decisions=(ledgers.decision(canary, who=canary, why=canary, refusal=canary),),
        sources=((bytes(32), canary, "x12", 1),),
    )
    ledger.append(1, batch)
    with ledger.reading() as connection:
        chained = [fetch(connection, select(table)) for table in (schema.batch, *CHAINED)]
        kept = [fetch(connection, select(table)) for table in (
            schema.item_detail, schema.decision_text, schema.source_file)]  # fmt: skip
    assert canary not in repr(chained)
    assert all(canary in repr(rows) for rows in kept)


def test_the_release_book_is_a_chain(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        assert ledger.append_release(connection, **ledgers.release_rows(1)) == 1
        assert ledger.append_release(connection, **ledgers.release_rows(2)) == 2
    assert ledger.heads()[RELEASE_CHAIN][0] == 2
    assert checked(ledger).sound

    def again() -> None:
        with ledger.writing() as connection:
            ledger.append_release(connection, **ledgers.release_rows(3))
            ledger.append_release(connection, **ledgers.release_rows(2))

    with pytest.raises(LedgerError, match="already"):
        again()
    assert count(ledger, "release_file") == 2
    assert checked(ledger).batch_count == 2


def test_readers_see_one_moment_while_others_write(ledger: Ledger, url: str) -> None:
    ledger.append(1, ledgers.first_batch())
    reader = Ledger.open(url, read_only=True)
    with reader.reading() as connection:
        before = verify(connection)
        ledger.append(2, ledgers.batch())
        assert verify(connection) == before
    assert checked(reader).batch_count == 2
    with pytest.raises(OSError, match="SQLITE_READONLY"):
        reader.append(3, ledgers.batch())
    reader.close()


def test_threads_take_turns(ledger: Ledger) -> None:
    def work(tenant: str) -> None:
        batch = msgspec.structs.replace(ledgers.batch(), tenant=tenant)
        for sequence in range(1, 21):
            ledger.append(sequence, batch)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert checked(ledger).batch_count == 80
    assert checked(ledger).sound


def test_a_newer_schema_is_refused(ledger: Ledger, url: str) -> None:
    with ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="newer version"):
        Ledger.open(url)


def test_an_older_schema_is_raised_by_writers_only(ledger: Ledger, url: str) -> None:
    with ledger.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(LedgerError, match="older schema"):
        Ledger.open(url, read_only=True)


def test_an_empty_database_is_no_older_ledger(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerError, match="no ledger here yet"):
        Ledger.open(f"sqlite:///{tmp_path}/empty.db", read_only=True)


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    place.write_bytes(b"canary " * 1000)
    with pytest.raises(OSError, match=r"ledger\.db: it is no SQLite file.*last backup") as told:
        Ledger.open(f"sqlite:///{place}", read_only=True)
    assert "canary" not in str(told.value)


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "no url"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(LedgerError, match="expected"):
        Ledger.open(url)


def test_a_reader_makes_no_ledger(url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger here"):
        Ledger.open(url, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_migrations_make_the_schema(ledger: Ledger, tmp_path: Path) -> None:
    raised = make_engine(f"sqlite:///{tmp_path / 'raised.db'}", read_only=False)
    with raised.connect() as connection, connection.begin():
        raise_schema(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == REVISION
        by_migrations = tables_of(connection)
    raised.dispose()
    with ledger.reading() as connection:
        assert tables_of(connection) == by_migrations, "a new ledger has what migrations make"


def tables_of(connection: Connection) -> list[tuple[str, ...]]:
    """What the tables of a SQLite file are made by, in any order; and the schema's number."""
    rows = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master").all()
    words = [(kind, name, *sorted(re.split(r"[\s,]+", sql or ""))) for kind, name, sql in rows]
    (version,) = connection.exec_driver_sql("SELECT version_num FROM alembic_version").one()
    return [*sorted(words), ("version", version)]


def test_a_backup_is_a_ledger(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append(1, ledgers.first_batch())
    ledger.backup_to(tmp_path / "copy.db")
    ledger.append(2, ledgers.batch())
    with pytest.raises(LedgerError, match="already"):
        ledger.backup_to(tmp_path / "copy.db")
    copy = Ledger.open(f"sqlite:///{tmp_path / 'copy.db'}")
    assert copy.last_sequence(ledgers.TENANT) == 1
    assert copy.append(2, ledgers.batch())
    assert copy.heads() == ledger.heads()
    copy.close()


def test_names_of_sources_are_found_by_the_beginning_of_their_digest(ledger: Ledger) -> None:
    ledger.append(1, ledgers.first_batch())
    prefix = int.from_bytes(bytes(range(8)), "little")
    assert ledger.source_names([prefix, 5]) == {prefix: "a.835"}
