"""Several workers write to one ledger on PostgreSQL, whoever owns a tenant at the moment."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import ledger_writer
import ledgers
import msgspec
import numpy as np
import pytest
from release_world import AT, DAY, order_of
from small_feed import interchange, remittance
from sqlalchemy import func, select

from reassoc.core.calendar import BankingCalendar
from reassoc.loadtest.servers.postgres_server import PostgresServer
from reassoc.stream import ledger_schema as schema
from reassoc.stream import ledger_store
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_audit import verify
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_store import LedgerError
from reassoc.stream.ledger_views import OpenFilter, open_items
from reassoc.stream.release_book import Intent, ReleaseBook, ReleaseBookError
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.sinks import Written

pytest_plugins = ("postgres_servers",)

WRITERS = 4
ALL = len(ledger_writer.TENANTS) * ledger_writer.BATCHES


def start_writers(url: str) -> list[subprocess.Popen[bytes]]:
    script = Path(ledger_writer.__file__)
    return [
        subprocess.Popen([sys.executable, script, url, str(seed)], stdout=subprocess.PIPE)
        for seed in range(WRITERS)
    ]


def told_by(writers: list[subprocess.Popen[bytes]]) -> list[dict[str, int]]:
    answers = []
    for writer in writers:
        output, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        answers.append(json.loads(output))
    return answers


def check_ledger(ledger: Ledger, history: History) -> int:
    """The chains are whole, everything is there, and a reader of before sees it; batches that the
    release book has."""
    history.read_on()
    change = schema.open_change
    counting = select(func.count()).select_from(change).group_by(change.c.tenant)
    with ledger.reading() as connection:
        found = verify(connection)
        unfolded = connection.execute(counting).scalars().all()
    # Each writer folds by what all have written.
    assert max(unfolded, default=0) <= ledger_writer.OPEN_BATCHES_MAX
    assert found.sound
    heads = dict(found.heads)
    booked = heads.pop(schema.RELEASE_CHAIN, (0, b""))[0]
    assert {tenant: head[0] for tenant, head in heads.items()} == dict.fromkeys(
        ledger_writer.TENANTS, ledger_writer.BATCHES
    )
    assert found.batch_count == ALL + booked
    for number, tenant in enumerate(ledger_writer.TENANTS):
        offsets = number * 10_000 + 10 * np.arange(1, ledger_writer.BATCHES + 1)
        digests = np.full(len(offsets), ledgers.FILE, np.uint64)
        assert history.known(tenant, digests, offsets, 1000).all()
        # Positions have gaps: the last batch stands at 3 + 25 * 7.
        assert history.known(tenant, digests, offsets, 178).sum() == len(offsets) - 1
    shown = open_items(ledger, OpenFilter(), day=ledgers.DAY, calendar=BankingCalendar([]))
    assert sum(total.count for total in shown.totals) == 8 * 2 * ledger_writer.ITEMS
    return booked


def test_workers_hammer_one_ledger_and_every_batch_is_written_once(postgres_url: str) -> None:
    ledger = Ledger.open(postgres_url)
    history = History(ledger)
    answers = told_by(start_writers(postgres_url))
    booked = check_ledger(ledger, history)
    assert sum(answer["written"] for answer in answers) == ALL
    assert sum(answer["booked"] for answer in answers) == booked
    assert sum(answer["failed"] for answer in answers) == 0
    assert booked > 0
    assert sum(answer["written"] > 0 for answer in answers) > 1
    ledger.close()


def test_a_database_that_is_killed_loses_nothing_and_the_writers_go_on(
    own_postgres: PostgresServer,
) -> None:
    ledger = Ledger.open(own_postgres.url)
    history = History(ledger)
    writers = start_writers(own_postgres.url)
    heads: dict[str, tuple[int, bytes]] = {}
    for part in (1, 2, 3):
        while sum(head[0] for head in heads.values()) < part * ALL // 5:
            time.sleep(0.01)
            heads = ledger.heads()
        own_postgres.kill()
        with pytest.raises(OSError, match="database failed"):
            ledger.heads()
        own_postgres.start()
        after = ledger.heads()
        assert all(after[chain][0] >= head[0] for chain, head in heads.items())
    answers = told_by(writers)
    check_ledger(ledger, history)
    assert sum(answer["failed"] for answer in answers) > 0
    ledger.close()


def test_an_old_owner_is_answered_or_refused_like_any_writer(postgres_url: str) -> None:
    old, new = Ledger.open(postgres_url), Ledger.open(postgres_url)
    batches = [(number, ledger_writer.batch_of("t0", number)) for number in range(1, 9)]
    assert old.append_many(batches[:4]) == [True] * 4
    assert new.append_many(batches[2:6]) == [False, False, True, True]
    # The old owner comes back with what it had made, and with what it never should have.
    assert old.append_many(batches[3:7]) == [False, False, False, True]
    with pytest.raises(LedgerError, match="another content"):
        old.append(7, ledger_writer.batch_of("t0", 8))
    with pytest.raises(LedgerError, match="are missing"):
        new.append(9, msgspec.structs.replace(batches[7][1], position=99))
    assert new.append(8, batches[7][1])
    old.close()
    new.close()


def test_a_writer_that_stands_still_is_waited_for_no_longer_than_is_said(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_store, "LOCK_WAIT_MS_MAX", 100)
    one, other = Ledger.open(postgres_url), Ledger.open(postgres_url)
    with one.writing(), pytest.raises(OSError, match="LOCK_WAIT_MS_MAX"):
        other.append(1, ledger_writer.batch_of("t0", 1))
    assert other.append(1, ledger_writer.batch_of("t0", 1))
    one.close()
    other.close()


def test_a_writer_that_was_stopped_in_the_middle_is_thrown_out(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_store, "PAUSE_MS_MAX", 200)
    one, other = Ledger.open(postgres_url), Ledger.open(postgres_url)
    answers = []

    def pause() -> None:
        with one.writing() as connection:
            one.append_release(connection, **ledgers.release_rows())
            answers.append(other.append(1, ledger_writer.batch_of("t0", 1)))

    with pytest.raises(OSError, match="database failed"):
        pause()
    assert answers == [True]
    assert set(other.heads()) == {"t0"}
    assert set(one.heads()) == {"t0"}
    one.close()
    other.close()


def test_release_books_of_several_workers_intend_each_remittance_once(postgres_url: str) -> None:
    files = [
        interchange(
            *(remittance(f"T{n}{row}", 100 + row, control=f"{row + 1:04d}") for row in range(6)),
            receiver=f"RECEIVER{n % 2}",
            set_count=6,
        )
        for n in range(12)
    ]
    told: list[list[Intent]] = [[] for _ in range(3)]
    opened = [Ledger.open(postgres_url) for _ in told]
    books = [ReleaseBook(ledger) for ledger in opened]

    def work(worker: int) -> None:
        chance = random.Random(worker)
        for number in chance.sample(range(12), 12):
            order = order_of(files[number], chance.sample(range(6), 4), position=number + 1)
            rules = WarehouseRules(file_transactions_max=3)
            told[worker] += books[worker].intend([order], day=DAY, at=AT, rules=rules)
            books[worker].unfinished()

    with ThreadPoolExecutor(len(told)) as workers:
        list(workers.map(work, range(len(told))))
    intents = sorted(chain.from_iterable(told), key=lambda one: one.number)
    assert [one.number for one in intents] == list(range(1, len(intents) + 1))
    assert len({(one.sender, one.receiver, one.interchange_control) for one in intents}) == len(
        intents
    )
    item = schema.release_item.c
    with opened[0].reading() as connection:
        assert verify(connection).sound
        rows = connection.execute(select(item.digest, item.offset, item.sending)).all()
    assert len(rows) == len(set(rows)) == sum(one.item_count for one in intents)
    for worker, book in enumerate(books):
        # What one of them delivers, the others need not look at any more.
        left = book.unfinished()
        assert [one.number for one in left] == [one.number for one in intents[worker:]]
        written = Written(1, bytes(32))
        book.prepared([(left[0].number, written)], at=AT)
        with pytest.raises(ReleaseBookError, match="another process"):
            books[worker - 1].prepared([(left[0].number, written)], at=AT)
        book.done([(left[0].number, 1)], at=AT)
    for ledger in opened:
        ledger.close()
