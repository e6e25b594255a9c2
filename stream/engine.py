"""The engine of a home: log, matchers, ledger and releaser, and the order in which they go on.

No thread, clock or folder in here: `serve.py` runs these calls, and so do tests. Each of them may
be repeated at any time; what it did before is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from reassoc.core.directory import Directory
from reassoc.stream.clock import entries_until
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.ledger_rows import (
    ORDER_ROW,
    LedgerBatch,
    ReleaseOrder,
    decode_body,
    rows_of,
)
from reassoc.stream.matcher import History, Matcher
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.state import State
from reassoc.stream.tenant_record import TenantRecord

PUBLISH_ENTRIES_MAX = 64
"""Outbox entries of one tenant that are published at a time."""
WAITING_RELEASES_MAX = 1 << 18
"""Remittances whose release orders may wait in memory to be intended."""


class LedgerWriter(Protocol):
    """What the engine asks of a ledger."""

    def append_many(self, entries: Sequence[tuple[int, LedgerBatch]]) -> list[bool]: ...


class Book(Protocol):
    """What the engine asks of a release book."""

    def intend(
        self, orders: Sequence[ReleaseOrder], *, day: int, at: str, rules: WarehouseRules
    ) -> Sequence[object]: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What an engine is made of; see docs/ENGINE.md for the protocols. now : ISO 8601 in UTC, for
    people only."""

    log: HomeLog
    state: State
    ledger: LedgerWriter
    book: Book
    history: History
    load_directory: Callable[[bytes], Directory]
    now: Callable[[], str]


class Engine:
    """One home's engine. `match` and `publish` each belong to one thread, of one process or of two.

    _appended, _intended, _acknowledged : last outbox sequence of each tenant that the ledger has,
        that the release book has as well, and that was acknowledged
    _orders : what was released and is not intended yet
    _busy : tenants whose matcher may have a step to make, or something to log after its last
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._matchers: dict[str, Matcher] = {}
        self._appended: dict[str, int] = {}
        self._intended: dict[str, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._orders: list[ReleaseOrder] = []
        self._busy: set[str] = set()

    # ---- settings and time ----

    @property
    def rules(self) -> WarehouseRules:
        """The rules that hold."""
        return self._now().rules()

    def begin(self, moment: datetime) -> None:
        """Say what day it is where nothing has said so yet: in a new home, before its first files.
        That of the latest opening, whose credits are final only when it is logged."""
        log, record = self._parts.log, self._now()
        if log.clock is None and log.start is None:
            opening = entries_until(None, moment, record.calendar(), record.rules())[0]
            log.append_to_all([ClockEntry("start", opening.day, moment.isoformat())])

    def tick(self, until: datetime) -> int:
        """Log the openings and closes up to a moment; how many. Raises as `entries_until`."""
        record = self._now()
        log = self._parts.log
        entries = entries_until(log.clock, until, record.calendar(), record.rules())
        log.append_to_all(entries)
        return len(entries)

    def _now(self) -> TenantRecord:
        self._parts.log.read_on()
        return TenantRecord(settings=self._parts.log.settings)

    # ---- matching ----

    def match(self, steps: int) -> int:
        """Make steps, the tenants in turn, until so many are made or none is left; a round that was
        begun is ended. How many were made."""
        done = 0
        tenants = self._parts.log.tenants()
        matchers = [self._matcher(tenant) for tenant in sorted(tenants)]
        self._busy |= {one.tenant for one in matchers if one.mark < tenants[one.tenant]}
        while done < steps and (waiting := [one for one in matchers if one.tenant in self._busy]):
            done += self._round(waiting)
        return done

    def _round(self, matchers: Sequence[Matcher]) -> int:
        """A step of each; how many there were. While one is applied, the next one is made."""
        done = 0
        with ThreadPoolExecutor(1, thread_name_prefix="applying") as applier:
            before: Future[None] | None = None
            for matcher in matchers:
                made = matcher.make()
                if made is None:
                    self._busy.discard(matcher.tenant)
                    continue
                if before is not None:
                    before.result()
                before = applier.submit(matcher.apply, made)
                done += 1
            if before is not None:
                before.result()
        return done

    def is_matched(self) -> bool:
        """Whether every entry of every log is applied, and no matcher has more to log."""
        marks = self._parts.state.mark
        ends = self._parts.log.tenants()
        return not self._busy and all(marks(tenant) >= last for tenant, last in ends.items())

    def _matcher(self, tenant: str) -> Matcher:
        matcher = self._matchers.get(tenant)
        if matcher is None:
            parts = self._parts
            matcher = self._matchers[tenant] = Matcher(
                tenant,
                log=parts.log,
                state=parts.state,
                history=parts.history,
                load_directory=parts.load_directory,
            )
        return matcher

    # ---- what follows ----

    def publish(self, *, releases: bool = True) -> int:
        """Take outbox entries to the ledger and the release book; how many were new. The next call
        acknowledges them: files can be delivered before that.

        releases : also intend what they release; else that waits for a later call, or for
            WAITING_RELEASES_MAX remittances, which makes fewer files of it

        All tenants' entries of one call go to the ledger by one flush. Ledger first: a release
        order names what the ledger knows. What was not acknowledged when the process ends comes
        again, and ledger and book know it.
        """
        self._acknowledge()
        state, entries = self._parts.state, []
        for tenant in state.tenants():
            after = self._appended.get(tenant, 0)
            found = state.outbox(tenant, PUBLISH_ENTRIES_MAX, after)
            entries += [(tenant, entry.sequence, decode_body(entry.body)) for entry in found]
        if entries:
            self._parts.ledger.append_many([(number, body.ledger) for _, number, body in entries])
            self._appended |= {tenant: number for tenant, number, _ in entries}
            self._orders += [body.release for _, _, body in entries if body.release is not None]
        if releases or sum(len(order.controls) for order in self._orders) >= WAITING_RELEASES_MAX:
            self._intend()
        return len(entries)

    def _intend(self) -> None:
        """Make files of what was released."""
        for day in sorted({order.day for order in self._orders}):
            of_day = [order for order in self._orders if order.day == day]
            self._parts.book.intend(of_day, day=day, at=self._parts.now(), rules=self.rules)
        self._orders.clear()
        self._intended = self._appended.copy()

    def _acknowledge(self) -> None:
        """Acknowledge what ledger and release book have."""
        for tenant, last in self._intended.items():
            if self._acknowledged.get(tenant, 0) < last:
                self._parts.state.acknowledge(tenant, last)
                self._acknowledged[tenant] = last

    def is_published(self) -> bool:
        """Whether no outbox holds anything."""
        state = self._parts.state
        return not any(state.outbox(tenant, 1) for tenant in state.tenants())


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
