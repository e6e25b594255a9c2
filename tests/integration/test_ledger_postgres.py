"""The ledger on a real PostgreSQL: the same batches, the same hashes, the same answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import ledgers
import msgspec
import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import update

from reassoc.core.calendar import BankingCalendar
from reassoc.stream import ledger_schema as schema
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.ledger import Ledger, raise_schema
from reassoc.stream.ledger_audit import verify
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_item import find_items, history
from reassoc.stream.ledger_rows import ItemSide, LedgerBatch
from reassoc.stream.ledger_store import LedgerError, make_engine
from reassoc.stream.ledger_views import OpenFilter, open_items
from reassoc.stream.warehouse_report import make_report

pytest_plugins = ("postgres_servers",)


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger.open(url, random_bytes=bytes)
    yield opened
    opened.close()


def batches() -> list[tuple[int, LedgerBatch]]:
    items = [ledgers.item(offset, ItemSide.PAYMENT, offset) for offset in range(10, 400)]
    statuses = [ledgers.change(offset, ItemSide.PAYMENT, 0, 4) for offset in range(10, 400)]
    closed = [ledgers.change(offset, ItemSide.PAYMENT, 4, 5) for offset in range(10, 200)]
    south = msgspec.structs.replace(ledgers.first_batch(), tenant="south")
    return [
        (1, ledgers.first_batch()),
        (1, south),
        (2, ledgers.batch(items, statuses)),
        (3, ledgers.batch((), closed)),
    ]


def test_it_is_the_same_ledger_as_on_sqlite(ledger: Ledger, tmp_path: Path) -> None:
    embedded = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", random_bytes=bytes)
    for one in (ledger, embedded):
        assert one.append_many(batches()) == [True] * 4
        assert one.append_many(batches()) == [False] * 4
        with one.writing() as connection:
            one.append_release(connection, **ledgers.release_rows())
    assert ledger.heads() == embedded.heads()
    prefix = int.from_bytes(bytes(range(8)), "little")
    answers = []
    for one in (ledger, embedded):
        with one.reading() as connection:
            answers.append(
                (
                    verify(connection),
                    open_items(
                        one,
                        OpenFilter(payer="acme"),
                        day=ledgers.DAY,
                        calendar=BankingCalendar([]),
                    ),
                    open_items(
                        one, OpenFilter(), day=ledgers.DAY, calendar=BankingCalendar([]), limit=10
                    ),
                    history(one, ledgers.FILE, 1),
                    find_items(one, f"{ledgers.FILE:016x}"),
                    find_items(one, "trace2"),
                    one.source_names([prefix]),
                )
            )
    assert answers[0] == answers[1]
    assert answers[0][0].sound
    embedded.close()


def test_its_report_is_the_same_as_on_sqlite(ledger: Ledger, tmp_path: Path) -> None:
    embedded = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    days, reports = federal_reserve_calendar(), []
    for one in (ledger, embedded):
        one.append_many(batches())
        huge = [ledgers.item(9000 + n, ItemSide.PAYMENT, 2**62) for n in range(4)]
        one.append(4, ledgers.batch(huge, ()))
        with one.reading() as connection:
            reports.append(
                [make_report(connection, days, tenant=name) for name in (None, ledgers.TENANT)]
            )
    embedded.close()
    assert reports[0] == reports[1]
    assert reports[0][0].received.other_entries["other"].cents > 2**63


def test_its_schema_is_what_migrations_make(ledger: Ledger, url: str) -> None:
    with ledger.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
    reader = Ledger.open(url, read_only=True)
    assert reader.heads() == {}
    reader.close()
    engine = make_engine(url, read_only=False)
    with engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("CREATE SCHEMA raised")
        connection.exec_driver_sql("SET LOCAL search_path TO raised")
        raise_schema(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        transaction.rollback()
    engine.dispose()


def test_history_answers(ledger: Ledger) -> None:
    asked = History(ledger)
    ledger.append_many(batches())
    asked.read_on()
    digests = np.full(3, ledgers.FILE, np.uint64)
    assert asked.known(
        ledgers.TENANT, digests, np.array([1, 50, 5000]), below_position=9
    ).tolist() == [True, True, False]
    keys = np.array([1001, 1050, 0, 7], np.uint64)
    assert asked.known_business("south", keys, 9).tolist() == [True, False, False, False]


def test_tampering_is_found(ledger: Ledger) -> None:
    ledger.append_many(batches())
    with ledger.writing() as connection:
        changed = update(schema.status_change).values(reason=5)
        connection.execute(changed.where(schema.status_change.c.offset == 300))
    with ledger.reading() as connection:
        fault = verify(connection).fault
    assert fault is not None
    assert (fault.number, fault.sequence) == (3, 2)


def test_writers_of_several_processes_take_turns(ledger: Ledger, url: str) -> None:
    def work(tenant: str) -> None:
        own = Ledger.open(url)
        batch = msgspec.structs.replace(ledgers.first_batch(), tenant=tenant)
        for sequence in range(1, 11):
            own.append(sequence, batch)
        own.close()

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.reading() as connection:
        found = verify(connection)
    assert found.sound
    assert found.batch_count == 40


def test_refusals_show_no_values(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        ledger.append_release(connection, **ledgers.release_rows())

    def again() -> None:
        with ledger.writing() as connection:
            ledger.append_release(connection, **ledgers.release_rows())

    with pytest.raises(LedgerError) as caught:
        again()
    assert "RECEIVER" not in str(caught.value)
    with pytest.raises(LedgerError, match="pg_dump"):
        ledger.backup_to(Path("nowhere"))
