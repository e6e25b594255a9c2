"""Exactly one worker delivers, whoever dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from reassoc.stream.delivery_lock import DELIVERY_LOCK_KEY, DeliveryLock
from reassoc.stream.ledger import Ledger

pytest_plugins = ("postgres_servers",)

_HOLD = """
import sys
from reassoc.stream.delivery_lock import DELIVERY_LOCK_KEY, DeliveryLock
from reassoc.stream.ledger import Ledger
lock = DeliveryLock(Ledger.open(sys.argv[1]))
print(lock.try_take(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ledgers(postgres_url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Of two workers."""
    both = Ledger.open(postgres_url), Ledger.open(postgres_url)
    yield both
    for ledger in both:
        ledger.close()


def test_one_of_two_has_it_and_the_other_follows(ledgers: tuple[Ledger, Ledger]) -> None:
    one, two = map(DeliveryLock, ledgers)
    assert not one.is_held()
    assert one.try_take()
    assert one.try_take()
    assert one.is_held()
    assert not two.try_take()
    assert not two.is_held()
    one.release()
    one.release()
    assert not one.is_held()
    assert two.try_take()
    assert not one.try_take()
    two.release()


def test_it_is_lost_with_its_session_and_can_be_taken_again(
    ledgers: tuple[Ledger, Ledger], postgres_url: str
) -> None:
    one, two = map(DeliveryLock, ledgers)
    assert one.try_take()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_database d"
            " ON d.oid = database AND d.datname = current_database() WHERE locktype = 'advisory'"
        )
    assert two.try_take()
    assert not one.is_held()
    assert not one.try_take()
    two.release()
    assert one.try_take()
    one.release()


def test_a_holder_that_is_killed_leaves_it_free(
    ledgers: tuple[Ledger, Ledger], postgres_url: str
) -> None:
    lock = DeliveryLock(ledgers[0])
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not lock.try_take()
        holder.kill()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # The database sees it a moment later.
        connection.execute("SET lock_timeout = '30s'")
        connection.execute("SELECT pg_advisory_lock(%s)", (DELIVERY_LOCK_KEY,))
        connection.execute("SELECT pg_advisory_unlock_all()")
    assert lock.try_take()
    lock.release()


def test_an_embedded_ledger_is_its_processs_own(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    lock = DeliveryLock(ledger)
    assert lock.try_take()
    assert lock.is_held()
    lock.release()
    ledger.close()
