"""What decides about payments before the tiers: returns, notifications and bank lines in a pool."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reassoc.core.ach import EntryKind, ReturnForm
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import TextColumn
from reassoc.core.matching.links import Links, link
from reassoc.core.matching.screening import ScreenedPayments, screen_payments
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import MatchStatus, PaymentSource

ROWS = int(os.environ.get("REASSOC_BENCH_ROWS", "1000000"))
DAY = 20528
CALENDAR = BankingCalendar(np.zeros(0, np.int32))


def _digits(numbers: npt.NDArray[np.int64], width: int) -> TextColumn:
    text = np.char.zfill(numbers.astype(f"S{width}"), width)
    places = np.arange(len(numbers), dtype=np.uint32) * np.uint32(width)
    return TextColumn(
        text.tobytes(), np.stack([places, np.full(len(places), width, np.uint32)], axis=1)
    )


def _constant(text: bytes, count: int) -> TextColumn:
    return TextColumn(text, np.tile(np.array([[0, len(text)]], np.uint32), (count, 1)))


def _pool(rows: int, *, all_alike: bool) -> PaymentColumns:
    """1 % returns, 0.1 % notifications and 5 % lines of a bank's report, each about one entry."""
    random = np.random.default_rng(7)
    tellers = [rows // 100, rows // 1000, rows // 20]
    entries = rows - sum(tellers)
    about = np.concatenate(
        [np.arange(entries), *(random.permutation(entries)[:count] for count in tellers)]
    )
    counts = [entries, *tellers]
    kind = np.repeat(
        [EntryKind.CREDIT, EntryKind.RETURN, EntryKind.NOTIFICATION, EntryKind.CREDIT], counts
    ).astype(np.uint8)
    line = np.repeat([False, False, False, True], counts)
    told = (kind == EntryKind.RETURN) | (kind == EntryKind.NOTIFICATION)
    cents = random.lognormal(12, 1.5, entries).astype(np.int64) + 1
    account, number = random.integers(1, 20000, entries), 91 * 10**12 + np.arange(entries)
    trace = np.arange(entries) + 10**9
    if all_alike:
        cents[:], account[:], number[:], trace[:] = 10000, 7, 0, 0
    days = (DAY + np.arange(entries) % 5)[about] + 2 * told
    columns: dict[str, Any] = {
        name: _constant(b"", rows) if dtype == "text" else np.zeros(rows, dtype)
        for name, dtype in PaymentColumns.types().items()
    }
    columns |= {
        "id_offset": np.arange(rows) * 94,
        "trace": _digits(trace[about], 12),
        "company_id": _constant(b"1234567890", rows),
        "account": _digits(account[about], 10),
        "amount_cents": np.where(kind == EntryKind.NOTIFICATION, 0, cents[about]),
        "kind": kind,
        "settlement_date": days.astype(np.int32),
        "effective_date": days.astype(np.int32),
        "rdfi_routing": np.full(rows, 21000021, np.int32),
        "ach_trace": np.where(
            line, -1, np.where(told, 5 * 10**13 + np.arange(rows), number[about])
        ),
        "source": np.where(line, PaymentSource.BANK_ACH, PaymentSource.ACH).astype(np.uint8),
        "return_form": np.where(
            kind == EntryKind.NOTIFICATION, ReturnForm.CHANGE, ReturnForm.RETURN
        ).astype(np.uint8),
        "original_trace": np.where(told, number[about], -1),
        "report": np.where(line, 0, -1).astype(np.int32),
        "valid": np.ones(rows, np.bool_),
    }
    return PaymentColumns(**columns)


@pytest.mark.parametrize("all_alike", [False, True], ids=["plain", "all alike"])
def test_bench_links(benchmark: Any, all_alike: bool) -> None:
    """Everything apart, as a feed is; and one account, amount and trace for all, the worst."""
    pool = _pool(ROWS, all_alike=all_alike)

    def setup() -> tuple[tuple[ScreenedPayments], dict[str, Any]]:
        return (screen_payments(pool, DAY + 30, CALENDAR),), {}

    def run(paid: ScreenedPayments) -> Links:
        return link(pool, paid, CALENDAR, Policy())

    links = benchmark.pedantic(run, setup=setup, rounds=3)
    benchmark.extra_info |= {"rows": ROWS, "links": len(links)}
    tellers = ROWS // 100 + ROWS // 1000 + ROWS // 20
    assert len(links) == (0 if all_alike else tellers)
    assert (links.status == MatchStatus.AUTO).all()
