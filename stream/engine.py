"""The engine of a home: log, matchers, ledger and releaser, and the order in which they go on.

No thread, clock or folder in here: `serve.py` runs these calls, and so do tests. Each of them may
be repeated at any time; what it did before is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from reassoc.core.directory import Directory
from reassoc.stream.clock import entries_until
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.ledger_rows import MovedItems
from reassoc.stream.matcher import Made, Matcher
from reassoc.stream.new_items import History
from reassoc.stream.publisher import Book, LedgerWriter, Publisher
from reassoc.stream.rerouting import handed_on
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.state import State
from reassoc.stream.stepping import Stepped, Stepper, step_each
from reassoc.stream.tenant_record import TenantRecord


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


class _Steps:
    """See stepping.Hooks."""

    def make(self, matcher: Matcher) -> Made | None:
        return matcher.next_made()

    def apply(self, matcher: Matcher, made: Made) -> None:
        matcher.apply(made)

    def stepped(self, steps: Sequence[Stepped]) -> None:
        for step in steps:
            if step.refusal is not None:
                raise step.refusal


class Engine:
    """One home's engine. `match` and `publish` each belong to one thread, of one process or of two.

    _busy : tenants whose matcher may have a step to make, or something to log after its last
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._matchers: dict[str, Matcher] = {}
        self._busy: set[str] = set()
        self._stepper = Stepper(parts.state)
        self._publisher = Publisher(
            parts.state,
            parts.ledger,
            parts.book,
            now=parts.now,
            rules=lambda: self.rules,
            hand_on=self._hand_on,
        )

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
        """A step of each; how many there were."""
        done, idle = step_each(matchers, _Steps(), self._stepper)
        self._busy -= {matcher.tenant for matcher in idle}
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

    def _hand_on(self, moves: Sequence[MovedItems]) -> None:
        if entries := handed_on(self._parts.state, moves):
            self._parts.log.append(entries)

    def publish(self, *, releases: bool = True) -> int:
        """See Publisher.publish, for all tenants."""
        return self._publisher.publish(self._parts.state.tenants(), releases=releases)

    def is_settled(self) -> bool:
        """Whether everything is matched and published, and nothing was handed on meanwhile: what is
        published may be another tenant's to match."""
        ends = self._parts.log.tenants()
        return self.is_matched() and self.is_published() and self._parts.log.tenants() == ends

    def is_published(self) -> bool:
        """Whether no outbox holds anything."""
        state = self._parts.state
        return not any(state.outbox(tenant, 1) for tenant in state.tenants())
