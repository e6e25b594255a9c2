"""Where people decide: a warehouse in a folder. The one on many machines is `decide_stream.py`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from reassoc.stream.asking import ANSWER_SECONDS_MAX, AskingError
from reassoc.stream.clock import iso, utc_now
from reassoc.stream.home import Home, HomeLockedError
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import ClockEntry, Entry
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.ledger import Ledger
from reassoc.stream.open_home import open_home
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import State
from reassoc.stream.state_sqlite import SqliteState

WAIT_SECONDS = 0.1


class Place(Protocol):
    """A warehouse as a decision needs it.

    decider : when what nobody has answered is decided, for people
    """

    decider: str

    @property
    def state(self) -> State:
        """The match state, to look at."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger, to read."""
        ...

    @property
    def clock(self) -> ClockEntry | None:
        """The last opening or close, None before the first."""
        ...

    @property
    def tenants(self) -> list[str]:
        """Tenants that have a matcher, sorted."""
        ...

    def log(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Put (tenant, entry) pairs on the item log; they are durable when this returns. Raises
        AskingError and LogEndError where nothing was put there."""
        ...

    def settle(self) -> None:
        """Decide what was put there, where nobody else does."""
        ...


class HomePlace:
    """A home, whether somebody serves it or not."""

    decider = "`reassoc serve` runs"

    def __init__(self, home: Home, state: State, log: HomeLog, ledger: Ledger) -> None:
        self.home = home
        self.state = state
        self.ledger = ledger
        self._log = log
        # Ends of the logs that what is asked was checked against.
        self._ends: dict[str, int] = {}

    @property
    def clock(self) -> ClockEntry | None:
        """See Place."""
        return self._log.clock

    @property
    def tenants(self) -> list[str]:
        """See Place."""
        return self.state.tenants()

    @property
    def logged_tenants(self) -> set[str]:
        """Tenants that the log has something of."""
        return {*self._log.tenants()}

    def log(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """See Place."""
        self._log.append(entries, ends=self._ends)

    def settle(self) -> None:
        """See Place. Without a clock entry, so that nothing else is due by it."""
        if self.home.holder() is not None:
            return
        # Somebody who began to serve since decides it instead.
        with suppress(HomeLockedError), open_home(self.home, "reassoc decide") as opened:
            engine = opened.engine
            while engine.match(64) or engine.publish():
                pass
            if self.home.releases_held() is None:
                opened.releaser.run_once()

    def see_all_of(self, tenant: str) -> None:
        """Wait until all of a tenant's log is applied, and ask nothing if it goes on after that.
        Raises AskingError after ANSWER_SECONDS_MAX."""
        waited = 0.0
        while True:
            end = self._ends[tenant] = self._log.tenants().get(tenant, 0)
            if self.state.mark(tenant) >= end:
                return
            if waited >= ANSWER_SECONDS_MAX:
                raise AskingError(f"{tenant} still has entries to match: ask again later")
            self.settle()
            time.sleep(WAIT_SECONDS)
            waited += WAIT_SECONDS


@contextmanager
def open_home_place(home: Home) -> Iterator[HomePlace]:
    """A home, to decide in. Raises LedgerError, StoreError."""
    file = SqliteFile(home.state_file)
    try:
        ledger = Ledger.open(f"sqlite:///{home.ledger_file}", read_only=True)
        try:
            log = HomeLog(SqliteItemLog(file, lambda: iso(utc_now())))
            yield HomePlace(home, SqliteState(file), log, ledger)
        finally:
            ledger.close()
    finally:
        file.close()
