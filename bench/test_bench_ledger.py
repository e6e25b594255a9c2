"""The ledger in bulk: rows a second into SQLite, the open list over a million items, the audit.

The batch is one that a large step writes: 100,000 items, two status changes each, a pair for every
two of them, and their texts. Items lie in 200 files, or in a file each, which is the hard case.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest

from reassoc.core.calendar import BankingCalendar
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream.ageing import AgeBucket
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_append import Appender
from reassoc.stream.ledger_audit import verify
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_open import count_pending, fold_open
from reassoc.stream.ledger_rows import (
    ITEM_ROW,
    PAIR_ROW,
    STATUS_ROW,
    ItemSide,
    LedgerBatch,
    rows_of,
)
from reassoc.stream.ledger_views import OpenFilter, Order, open_items

ITEMS = 100_000
OPEN = int(os.environ.get("REASSOC_BENCH_OPEN", "1000000"))
DAY = 20_528
CALENDAR = BankingCalendar([])
WAITS = (
    [RemittanceStatus.AWAITING_EFT, RemittanceStatus.PROBABLE, RemittanceStatus.MATCHED],
    [PaymentStatus.UNMATCHED, PaymentStatus.SUGGESTED, PaymentStatus.QUARANTINED],
)


def _batch(sequence: int, files: int, *, opens: bool = False, texts: bool = True) -> LedgerBatch:
    """Items that come and are matched at once, or (`opens`) that wait."""
    random = np.random.default_rng(sequence)
    items = np.zeros(ITEMS, ITEM_ROW)
    items["digest"] = np.repeat(random.integers(0, 1 << 64, files, np.uint64), ITEMS // files)
    items["offset"] = np.tile(np.arange(ITEMS // files) * 7000, files)
    items["side"] = np.arange(ITEMS) % 2
    items["cents"] = random.integers(0, 10_000_000, ITEMS)
    items["day"] = DAY - random.integers(0, 120, ITEMS)
    items["business_key"] = random.integers(1, 1 << 64, ITEMS, np.uint64)
    items["position"] = sequence
    came = np.zeros(ITEMS, STATUS_ROW)
    for name in ("digest", "offset", "side"):
        came[name] = items[name]
    waits = [random.choice(statuses, ITEMS) for statuses in WAITS]
    came["after"] = np.where(items["side"] == 0, *waits)
    matched = came.copy()
    matched["before"] = came["after"]
    matched["after"] = np.where(items["side"] == 0, RemittanceStatus.MATCHED, PaymentStatus.MATCHED)
    pairs = np.zeros(ITEMS // 2, PAIR_ROW)
    for place, name in enumerate(("remittance", "payment")):
        pairs[f"{name}_digest"] = items["digest"][place::2]
        pairs[f"{name}_offset"] = items["offset"][place::2]
    pairs["match_id"] = random.integers(0, 1 << 64, ITEMS // 2, np.uint64)
    return LedgerBatch(
        "tenant", sequence, DAY, "2026-03-16T18:30:00-04:00", "items",
        items.tobytes(),
        (came if opens else np.concatenate([came, matched])).tobytes(),
        b"" if opens else pairs.tobytes(),
        details=_texts(random) if texts else b"",
    )  # fmt: skip


def _texts(random: np.random.Generator) -> bytes:
    def numbers(form: bytes, most: int) -> list[bytes]:
        return [form % value for value in random.integers(0, most, ITEMS).tolist()]

    payers = random.integers(0, 500, ITEMS).tolist()
    return msgspec.msgpack.encode(
        {
            "trace": numbers(b"%015d", 10**15),
            "payer_id": [b"1%09d" % payer for payer in payers],
            "payer_name": [b"HEALTH PLAN %d" % payer for payer in payers],
            "payee_account": numbers(b"%012d", 5000),
            "payee_id": numbers(b"%010d", 5000),
        }
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


@pytest.mark.parametrize("files", [200, ITEMS], ids=["large-files", "small-files"])
@pytest.mark.parametrize("what", ["rows", "rows-without-open-list", "rows-and-texts"])
def test_append(benchmark: Any, ledger: Ledger, files: int, what: str) -> None:
    made = iter(range(1, 100))

    def next_batch() -> tuple[tuple[int, LedgerBatch], dict[str, Any]]:
        sequence = next(made)
        return (sequence, _batch(sequence, files, texts=what == "rows-and-texts")), {}

    ledger.append(*next_batch()[0])
    if what == "rows-without-open-list":
        with mock.patch.object(Appender, "_insert_open"):
            benchmark.pedantic(ledger.append, setup=next_batch, rounds=3)
    else:
        benchmark.pedantic(ledger.append, setup=next_batch, rounds=3)
    rows = ITEMS * 7 // 2 + (ITEMS if what == "rows-and-texts" else 0)
    benchmark.extra_info["rows"] = rows
    benchmark.extra_info["rows_per_second"] = int(rows / benchmark.stats["min"])
    assert ledger.last_sequence("tenant") == 4


def test_audit(benchmark: Any, ledger: Ledger) -> None:
    for sequence in (1, 2):
        ledger.append(sequence, _batch(sequence, 200))

    def check() -> int:
        with ledger.reading() as connection:
            found = verify(connection)
        assert found.sound
        return found.row_count

    rows = benchmark.pedantic(check, rounds=2)
    benchmark.extra_info["rows"] = rows
    assert rows == ITEMS * 7


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_history(benchmark: Any, ledger: Ledger, known: bool) -> None:
    ledger.append(1, _batch(1, 200))
    history = History(ledger)
    items = rows_of(_batch(1 if known else 2, 200, texts=False).items, ITEM_ROW)
    answer = benchmark.pedantic(
        history.known, args=("tenant", items["digest"], items["offset"], 9), rounds=3
    )
    benchmark.extra_info["rows"] = ITEMS
    assert answer.all() if known else not answer.any()


@pytest.fixture(scope="module")
def open_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million open items; the last hundred thousand of them lie beside the columns."""
    path = tmp_path_factory.mktemp("open") / "ledger.db"
    last = OPEN // ITEMS
    for first, stop in ((1, last), (last, last + 1)):
        ledger = Ledger.open(f"sqlite:///{path}")
        for sequence in range(first, stop):
            ledger.append(sequence, _batch(sequence, 200, opens=True))
        with ledger.writing() as connection:
            if stop == last:
                fold_open(connection, "tenant", last - 1)
            else:
                assert count_pending(connection, "tenant")[0] == ITEMS
        ledger.close()
    return path


FILTERS: dict[str, OpenFilter] = {
    "everything": OpenFilter(),
    "side-status": OpenFilter(side=ItemSide.REMITTANCE, status=RemittanceStatus.PROBABLE),
    "cents": OpenFilter(cents_min=1_000_000, cents_max=9_000_000),
    "payer-id": OpenFilter(payer="1000000007"),
    "payer-name": OpenFilter(payer="health plan"),
    "payee": OpenFilter(payee="0000000007"),
    "trace": OpenFilter(trace="000123456789012"),
    "bucket": OpenFilter(bucket=AgeBucket.DAYS_11_TO_30),
    "all-at-once": OpenFilter(
        tenant="tenant",
        side=ItemSide.PAYMENT,
        status=PaymentStatus.UNMATCHED,
        payer="plan",
        payee="0000000007",
        older_than_banking_days=5,
        cents_min=1,
        cents_max=9_999_999,
    ),
}


@pytest.mark.parametrize("name", list(FILTERS))
@pytest.mark.parametrize("order", ["age", "cents"])
def test_open_list(benchmark: Any, open_ledger: Path, name: str, order: Order) -> None:
    ledger = Ledger.open(f"sqlite:///{open_ledger}", read_only=True)
    found = benchmark.pedantic(
        open_items,
        args=(ledger, FILTERS[name]),
        kwargs={"day": DAY, "calendar": CALENDAR, "order": order},
        rounds=5,
        warmup_rounds=1,
    )
    count = sum(total.count for total in found.totals)
    benchmark.extra_info["items"] = count
    ledger.close()
    assert len(found.rows) == min(count, 100)
    if name == "everything":
        assert count == OPEN // ITEMS * ITEMS


def test_open_list_of_a_fresh_process(benchmark: Any, open_ledger: Path) -> None:
    """The first question of a process: pages of the database are in the system's cache at most."""
    line = benchmark.pedantic(
        lambda: (
            subprocess.run(
                [sys.executable, __file__, str(open_ledger)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        ),
        rounds=3,
    )
    seconds, count = line.split()
    benchmark.extra_info["question_ms"] = float(seconds) * 1000
    assert int(count) == OPEN // ITEMS * ITEMS


def _ask_once(path: str) -> None:
    start = time.perf_counter()
    ledger = Ledger.open(f"sqlite:///{path}", read_only=True)
    found = open_items(ledger, OpenFilter(), day=DAY, calendar=CALENDAR)
    ledger.close()
    seconds = time.perf_counter() - start
    print(seconds, sum(total.count for total in found.totals))


if __name__ == "__main__":
    _ask_once(sys.argv[1])
