"""What the ledger knows of items: exact answers behind a filter that may only err to one side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledgers
import msgspec
import numpy as np
import pytest

from reassoc.stream import ledger_history
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_history import History, ever_had
from reassoc.stream.ledger_rows import ItemSide

TENANT = ledgers.TENANT


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


def known(history: History, *offsets: int, below: int = 99, tenant: str = TENANT) -> list[bool]:
    digests = np.full(len(offsets), ledgers.FILE, np.uint64)
    return history.known(tenant, digests, np.array(offsets, np.int64), below).tolist()


def known_business(
    history: History, *keys: int, below: int = 99, tenant: str = TENANT
) -> list[bool]:
    return history.known_business(tenant, np.array(keys, np.uint64), below).tolist()


def put(ledger: Ledger, sequence: int, *offsets: int, tenant: str = TENANT) -> None:
    """Items at some offsets, whose business keys are the offsets with the highest bit set."""
    items = [
        ledgers.item(
            offset,
            ItemSide.PAYMENT,
            position=sequence,
            business_key=offset and offset | 1 << 63,
        )
        for offset in offsets
    ]
    ledger.append(sequence, msgspec.structs.replace(ledgers.batch(items), tenant=tenant))


def test_only_what_was_logged_below_the_position_is_known(ledger: Ledger) -> None:
    put(ledger, 1, 10, 20)
    put(ledger, 2, 30)
    history = History(ledger)
    assert known(history, 10, 30, 40, 20) == [True, True, False, True]
    assert known(history, 10, 30, below=2) == [True, False]
    assert known(history, 10, below=1) == [False]
    assert known_business(history, 10 | 1 << 63, 30 | 1 << 63, 10, below=2) == [True, False, False]
    assert known(history) == known_business(history) == []


def test_tenants_do_not_know_each_other(ledger: Ledger) -> None:
    put(ledger, 1, 10)
    put(ledger, 1, 20, tenant="south")
    history = History(ledger)
    assert known(history, 10, 20) == [True, False]
    assert known(history, 10, 20, tenant="south") == [False, True]
    assert known_business(history, 20 | 1 << 63) == [False]


def test_a_few_are_looked_up_without_a_history(ledger: Ledger) -> None:
    put(ledger, 1, 10)
    put(ledger, 1, 20, tenant="south")
    offsets = np.array([20, 10, 30])
    digests = np.full(3, ledgers.FILE, np.uint64)
    assert ever_had(ledger, TENANT, digests, offsets).tolist() == [False, True, False]
    assert ever_had(ledger, "south", digests, offsets).tolist() == [True, False, False]
    assert ever_had(ledger, "nobody", digests[:0], offsets[:0]).tolist() == []


def test_key_zero_is_none(ledger: Ledger) -> None:
    put(ledger, 1, 0)
    history = History(ledger)
    assert known(history, 0) == [True]
    assert known_business(history, 0) == [False]


def test_it_sees_what_others_append(ledger: Ledger) -> None:
    history = History(ledger)
    assert known(history, 10) == [False]
    put(ledger, 1, 10)
    assert known(history, 10) == [False], "it has not read on"
    history.read_on()
    assert known(history, 10, 20) == [True, False]
    with ledger.writing() as connection:
        ledger.append_release(connection, **ledgers.release_rows())
    put(ledger, 2, 20)
    history.read_on()
    assert known(history, 10, 20) == [True, True]


def test_the_filter_grows_and_never_loses_a_key(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_history, "FILTER_BYTES_MIN", 16)
    monkeypatch.setattr(ledger_history, "FILTER_BYTES_MAX", 1024)
    monkeypatch.setattr(ledger_history, "SCAN_ROWS", 7)
    history = History(ledger)
    sizes = set()
    for sequence in range(1, 30):
        put(ledger, sequence, *range(100 * sequence, 100 * sequence + 40))
        history.read_on()
        everything = [100 * one + place for one in range(1, sequence + 1) for place in range(40)]
        assert all(known(history, *everything))
        assert not any(known(history, *(offset + 50 for offset in everything)))
        sizes.add(history._filter.size)
    assert len(sizes) > 1
    assert max(sizes) == 1024, "and not more than its limit"


def test_a_filter_that_always_says_yes_changes_no_answer(ledger: Ledger) -> None:
    put(ledger, 1, *range(10, 30))
    history = History(ledger)
    history._filter._bits[:] = 255
    offsets = range(0, 6000)
    assert known(history, *offsets) == [10 <= offset < 30 for offset in offsets]
    keys = [offset | 1 << 63 for offset in offsets]
    assert known_business(history, *keys) == [10 <= offset < 30 for offset in offsets]


def test_most_answers_come_from_the_filter() -> None:
    keys = np.random.default_rng(5).integers(0, 1 << 64, 200_000, dtype=np.uint64)
    old, new = keys[:100_000], keys[100_000:]
    made = ledger_history._Filter(ledger_history._filter_bytes(len(old)))
    made.add(old)
    assert made.may_have(old).all()
    assert made.may_have(new).mean() < 0.02


def test_others_read_on_while_the_filter_is_made_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_history, "FILTER_BYTES_MIN", 16)
    history, scan = History(ledger), History._scan
    is_read, go_on = threading.Event(), threading.Event()

    def scan_slowly(self: History, connection: Any, target: Any, batch: int) -> int:
        newest = scan(self, connection, target, batch)
        if target is not self._filter and batch == 0:
            is_read.set()
            assert go_on.wait(30)
        return newest

    monkeypatch.setattr(History, "_scan", scan_slowly)
    put(ledger, 1, *range(100))
    growing = threading.Thread(target=history.read_on)
    growing.start()
    assert is_read.wait(30)
    before = history._filter
    put(ledger, 2, *range(200, 220))
    history.read_on()
    assert all(known(history, *range(100), *range(200, 220)))
    put(ledger, 3, 300)
    go_on.set()
    growing.join(30)
    assert history._filter.size > before.size
    assert all(known(history, *range(100), *range(200, 220), 300))
    history.read_on()
    assert history._filter.count == 2 * 121 - 1, "each key once, but for the one that is none"
