"""From the outbox to the ledger and the release book, in the order that loses nothing.

    ledger, logs of other tenants, release book, acknowledged by the call after that

A crash between any two of these repeats the earlier ones, which know what they have: batches are
numbered by the outbox, items are known by their ids, and an item is intended once for each of its
sendings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from reassoc.stream.ledger_rows import (
    ORDER_ROW,
    LedgerBatch,
    MovedItems,
    OutboxBody,
    ReleaseOrder,
    decode_body,
    rows_of,
)
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.state import State

PUBLISH_ENTRIES_MAX = 64
"""Outbox entries of one tenant that are published at a time."""
WAITING_RELEASES_MAX = 1 << 18
"""Remittances whose release orders may wait in memory to be intended."""

Published = tuple[str, int, OutboxBody]
"""Tenant, sequence and body of an outbox entry."""


class LedgerWriter(Protocol):
    """What is asked of a ledger."""

    def append_many(self, entries: Sequence[tuple[int, LedgerBatch]]) -> list[bool]: ...


class Book(Protocol):
    """What is asked of a release book."""

    def intend(
        self, orders: Sequence[ReleaseOrder], *, day: int, at: str, rules: WarehouseRules
    ) -> Sequence[object]: ...


class Publisher:
    """Publishes what steps left in the outboxes. For one thread at a time.

    _appended, _intended, _acknowledged : last outbox sequence of each tenant that the ledger has,
        that the release book has as well, and that was acknowledged
    _orders : what was released and is not intended yet
    """

    def __init__(
        self,
        state: State,
        ledger: LedgerWriter,
        book: Book,
        *,
        now: Callable[[], str],
        rules: Callable[[], WarehouseRules],
        hand_on: Callable[[Sequence[MovedItems]], None],
        tell: Callable[[Sequence[Published]], None] = lambda _: None,
    ) -> None:
        """
        now : ISO 8601 in UTC, for people only    rules : those that hold
        hand_on : puts what has moved on the logs of the tenants that it belongs to now, durably
        tell : is told what the ledger has, before it is acknowledged; again after a crash
        """
        self._state = state
        self._ledger = ledger
        self._book = book
        self._now = now
        self._rules = rules
        self._hand_on = hand_on
        self._tell = tell
        self._appended: dict[str, int] = {}
        self._intended: dict[str, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._orders: list[ReleaseOrder] = []
        self.found: set[str] = set()
        """Tenants of which the last call of `publish` took entries: there may be more."""

    def publish(self, tenants: Iterable[str], *, releases: bool = True) -> int:
        """Take outbox entries to the ledger and the release book; how many were new. The next call
        acknowledges them: files can be delivered before that.

        releases : also intend what they release; else that waits for a later call, or for
            WAITING_RELEASES_MAX remittances, which makes fewer files of it

        All tenants' entries of one call go to the ledger by one flush. Ledger first: a release
        order names what the ledger knows. What was not acknowledged when the process ends comes
        again, and ledger and book know it.
        """
        self._acknowledge()
        entries: list[Published] = []
        self.found.clear()
        for tenant in tenants:
            after = self._appended.get(tenant, 0)
            found = self._state.outbox(tenant, PUBLISH_ENTRIES_MAX, after)
            self.found |= {tenant} if found else set()
            entries += [(tenant, entry.sequence, decode_body(entry.body)) for entry in found]
        if entries:
            self._ledger.append_many([(number, body.ledger) for _, number, body in entries])
            if moves := [body.moved for _, _, body in entries if body.moved is not None]:
                self._hand_on(moves)
            self._tell(entries)
            self._appended |= {tenant: number for tenant, number, _ in entries}
            self._orders += [body.release for _, _, body in entries if body.release is not None]
        if releases or sum(len(order.controls) for order in self._orders) >= WAITING_RELEASES_MAX:
            self._intend()
        return len(entries)

    def _intend(self) -> None:
        """Make files of what was released."""
        for day in sorted({order.day for order in self._orders}):
            of_day = [order for order in self._orders if order.day == day]
            self._book.intend(of_day, day=day, at=self._now(), rules=self._rules())
        self._orders.clear()
        self._intended = self._appended.copy()

    def _acknowledge(self) -> None:
        """Acknowledge what ledger and release book have."""
        for tenant, last in self._intended.items():
            if self._acknowledged.get(tenant, 0) < last:
                self._state.acknowledge(tenant, last)
                self._acknowledged[tenant] = last


def ordered_contents(state: State) -> set[bytes]:
    """First 8 bytes of the digests of what release orders in the outboxes name."""
    found = set[bytes]()
    for tenant in state.tenants():
        after = 0
        while entries := state.outbox(tenant, PUBLISH_ENTRIES_MAX, after):
            after = entries[-1].sequence
            orders = [decode_body(entry.body).release for entry in entries]
            for order in orders:
                if order is not None:
                    digests = np.unique(rows_of(order.items, ORDER_ROW)["digest"])
                    found.update(digest.tobytes() for digest in digests)
    return found
