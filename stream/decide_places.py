"""Where people decide: a warehouse in a folder. The one on many machines is `decide_stream.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from reassoc.stream.clock import iso, utc_now
from reassoc.stream.home import Home, HomeLockedError, read_settings
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import ClockEntry, Entry
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.ledger import Ledger
from reassoc.stream.open_home import open_home
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import State
from reassoc.stream.state_sqlite import SqliteState


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

    @property
    def targets(self) -> set[str]:
        """Tenants that items may move to."""
        ...

    def log(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Put (tenant, entry) pairs on the item log; they are durable when this returns. Raises
        AskingError where nothing was put there."""
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

    @property
    def clock(self) -> ClockEntry | None:
        """See Place."""
        return self._log.clock

    @property
    def tenants(self) -> list[str]:
        """See Place."""
        return self.state.tenants()

    @property
    def targets(self) -> set[str]:
        """See Place."""
        return named_tenants(self.home) | {*self._log.tenants()} - {QUARANTINE}

    def log(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """See Place."""
        self._log.append(entries)

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


def named_tenants(settings: Home) -> set[str]:
    """Tenants that the directory in a folder of settings names. Raises what is wrong in them."""
    directory = read_settings(settings).directory
    return {*directory.tenants} if directory is not None else set()


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
