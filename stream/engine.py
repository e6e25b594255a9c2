"""The engine of a home: log, matchers, ledger and releaser, and the order in which they go on.

No thread, clock or folder in here: `serve.py` runs these calls, and so do tests. Each of them may
be repeated at any time; what it did before is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from reassoc.core.directory import Directory
from reassoc.stream.clock import entries_until
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import ClockEntry, SettingsEntry
from reassoc.stream.ledger_rows import LedgerBatch, ReleaseOrder, decode_body
from reassoc.stream.matcher import History, Matcher
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.state import OutboxEntry, State
from reassoc.stream.tenant_record import TenantRecord

PUBLISH_ENTRIES_MAX = 64
"""Outbox entries of one tenant that are published at a time."""


class LedgerWriter(Protocol):
    """What the engine asks of a ledger."""

    def append_many(self, batches: Sequence[tuple[int, LedgerBatch]]) -> list[bool]: ...


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
    """One home's engine. `match` and `publish` each belong to one thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._matchers: dict[str, Matcher] = {}
        self._record = TenantRecord()

    # ---- settings and time ----

    def settle_settings(self, settings: SettingsEntry) -> bool:
        """Log settings if they are not the ones that hold. Whether they were new."""
        log = self._parts.log
        if log.settings == settings:
            return False
        log.append_to_all([settings])
        return True

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
        return TenantRecord(settings=self._parts.log.settings)

    # ---- matching ----

    def match(self, steps_max: int) -> int:
        """Make at most so many steps, the tenants in turn; how many were made."""
        done = 0
        tenants = self._parts.log.tenants()
        waiting = [self._matcher(tenant) for tenant in sorted(tenants)]
        waiting = [matcher for matcher in waiting if matcher.mark < tenants[matcher.tenant]]
        while waiting and done < steps_max:
            still = []
            for matcher in waiting:
                if matcher.step():
                    done += 1
                    still.append(matcher)
            waiting = still
        return done

    def is_matched(self) -> bool:
        """Whether every entry of every log is applied."""
        marks = self._parts.state.mark
        return all(marks(tenant) >= last for tenant, last in self._parts.log.tenants().items())

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

    def publish(self) -> int:
        """Take outbox entries to the ledger and the release book, and acknowledge them; how many.

        All tenants' entries of one call go to the ledger by one flush. Ledger first: a release
        order names what the ledger knows.
        """
        state, entries = self._parts.state, []
        for tenant in state.tenants():
            entries += [(tenant, entry) for entry in state.outbox(tenant, PUBLISH_ENTRIES_MAX)]
        if not entries:
            return 0
        bodies = [decode_body(entry.body) for _, entry in entries]
        self._parts.ledger.append_many(
            [
                (entry.sequence, body.ledger)
                for (_, entry), body in zip(entries, bodies, strict=True)
            ]
        )
        orders = [body.release for body in bodies if body.release is not None]
        for day in sorted({order.day for order in orders}):
            of_day = [order for order in orders if order.day == day]
            self._parts.book.intend(of_day, day=day, at=self._parts.now(), rules=self.rules)
        for tenant, last in _last_of_each(entries).items():
            state.acknowledge(tenant, last)
        return len(entries)

    def is_published(self) -> bool:
        """Whether no outbox holds anything."""
        state = self._parts.state
        return not any(state.outbox(tenant, 1) for tenant in state.tenants())


def _last_of_each(entries: Sequence[tuple[str, OutboxEntry]]) -> dict[str, int]:
    return {tenant: entry.sequence for tenant, entry in entries}
