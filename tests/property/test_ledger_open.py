"""The open list against a dictionary, and the chain, for any run of steps and any folding."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import ledgers
import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core.calendar import BankingCalendar
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream import ledger as ledger_module
from reassoc.stream.items import ItemFlag
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_audit import verify
from reassoc.stream.ledger_chain import NUMBER_TABLES, as_numbers, as_rows
from reassoc.stream.ledger_rows import ItemSide, LedgerBatch
from reassoc.stream.ledger_views import OpenFilter, open_items

ITEMS = 8
WAITS = {
    ItemSide.REMITTANCE: set(RemittanceStatus)
    - {
        RemittanceStatus.RECEIVED,
        RemittanceStatus.RELEASED,
        RemittanceStatus.VOIDED,
        RemittanceStatus.ARCHIVED,
    },
    ItemSide.PAYMENT: {
        PaymentStatus.UNMATCHED,
        PaymentStatus.SUGGESTED,
        PaymentStatus.PARTIAL,
        PaymentStatus.QUARANTINED,
        PaymentStatus.DUPLICATE,
    },
}
BEYOND = ItemFlag.RELEASED | ItemFlag.CLOSED | ItemFlag.MOVED

Standing = tuple[int, int]
"""status, flags"""


def side_of(offset: int) -> ItemSide:
    return ItemSide(offset % 2)


class World:
    """One tenant: batches of steps, and what is open by the plainest means."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.standing: dict[int, Standing] = {}
        self.sequence = 0

    def step(self, moves: list[tuple[int, int, int]]) -> tuple[int, LedgerBatch]:
        """The next batch: (item, status, flags) of some items; new ones come with it."""
        items, statuses, texts = [], [], []
        for offset, status, flags in moves:
            side = side_of(offset)
            if offset not in self.standing:
                items.append(ledgers.item(offset, side, 100 + offset))
                texts.append({"trace": b"T%d" % offset})
            before = self.standing.get(offset, (0, 0))
            after = (status % len(WAITS_OF[side]), flags)
            statuses.append(
                ledgers.change(offset, side, before[0], after[0], (before[1], after[1]))
            )
            self.standing[offset] = after
        self.sequence += 1
        batch = ledgers.batch(items, statuses, details=ledgers.details(*texts))
        return self.sequence, msgspec.structs.replace(batch, tenant=self.tenant)

    def open(self) -> dict[tuple[str, int], Standing]:
        return {
            (self.tenant, offset): (status, flags)
            for offset, (status, flags) in self.standing.items()
            if status in WAITS[side_of(offset)] and not flags & BEYOND
        }


WAITS_OF = {ItemSide.REMITTANCE: RemittanceStatus, ItemSide.PAYMENT: PaymentStatus}
MOVES = st.lists(
    st.tuples(
        st.integers(0, ITEMS - 1),
        st.integers(0, 63),
        st.sampled_from([0, 0, 0, 1, 2, 8, 16, 33]),
    ),
    max_size=6,
)
STEPS = st.lists(
    st.tuples(st.integers(0, 1), MOVES, st.booleans(), st.booleans()), min_size=1, max_size=8
)


@given(STEPS)
def test_the_open_list_is_what_waits(
    steps: list[tuple[int, list[tuple[int, int, int]], bool, bool]],
) -> None:
    worlds = [World("a"), World("b")]
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(f"sqlite:///{Path(folder) / 'ledger.db'}")
        waiting: list[tuple[int, LedgerBatch]] = []
        for world, moves, folds, goes_on in steps:
            waiting.append(worlds[world].step(moves))
            if goes_on:  # Several batches in one transaction.
                continue
            _append(ledger, waiting, folds)
            waiting = []
        _append(ledger, waiting, True)
        found = open_items(
            ledger, OpenFilter(), day=ledgers.DAY, calendar=BankingCalendar([]), limit=100
        )
        with ledger.reading() as connection:
            checked = verify(connection)
        ledger.close()
    expected = worlds[0].open() | worlds[1].open()
    assert {(row.tenant, row.offset): (row.status, row.flags) for row in found.rows} == expected
    assert all(row.trace == f"T{row.offset}" for row in found.rows)
    assert sum(total.cents for total in found.totals) == sum(100 + key[1] for key in expected)
    assert checked.sound
    assert checked.batch_count == len(steps)


def _append(ledger: Ledger, batches: list[tuple[int, LedgerBatch]], folds: bool) -> None:
    with mock.patch.object(ledger_module, "is_fold_due", return_value=folds):
        assert ledger.append_many(batches) == [True] * len(batches)
    assert ledger.append_many(batches) == [False] * len(batches)


@given(st.sampled_from([kind for _, kind in NUMBER_TABLES]), st.binary(max_size=2000))
def test_rows_of_any_bytes_are_kept_exactly(kind: np.dtype[np.void], data: bytes) -> None:
    rows = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
    kept = as_rows(as_numbers(rows), kind)
    assert kept is not None
    assert kept.tobytes() == rows.tobytes()
