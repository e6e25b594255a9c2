"""A home with all its parts open: what `serve` and the commands work on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from reassoc.core.directory import Directory
from reassoc.stream.clock import Now, iso, utc_now
from reassoc.stream.engine import Engine, Parts
from reassoc.stream.home import Home, Settings
from reassoc.stream.home_intake import forget_contents, open_vault, use_settings
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_views import open_contents
from reassoc.stream.publisher import ordered_contents
from reassoc.stream.release_book import FOLDER_SINK, ReleaseBook
from reassoc.stream.releaser import Failure, Releaser
from reassoc.stream.settings import parse_directory
from reassoc.stream.sinks import FolderSink
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import State
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.vault import Vault

Fault = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OpenHome:
    """The parts of a home, open for writing, under the home's lock."""

    home: Home
    file: SqliteFile
    log: HomeLog
    state: SqliteState
    vault: Vault
    ledger: Ledger
    book: ReleaseBook
    releaser: Releaser
    engine: Engine
    now: Now

    def use_settings(self) -> Settings:
        """See home_intake.use_settings."""
        return use_settings(self.home, self.vault, self.log)

    def checkpoint(self) -> None:
        """Bring the logs of state and ledger into their files. Who closes them last does so too,
        and everybody waits for him: better while others are at work."""
        self.file.checkpoint()
        self.ledger.checkpoint()

    def forget_contents(self) -> int:
        """See home_intake.forget_contents."""
        return forget_contents(
            self.vault, self.log, self.now(), lambda: contents_in_use(self.ledger, self.state)
        )


@contextmanager
def open_home(
    home: Home,
    what: str,
    *,
    environment: Mapping[str, str] = os.environ,
    now: Now = utc_now,
    on_failure: Callable[[Failure], None] = lambda _: None,
    fault: Fault = lambda _: None,
) -> Iterator[OpenHome]:
    """Open all parts of a home, as its only writer.

    what : the command, for whoever finds the home locked    fault : for tests, told of each step

    Raises HomeLockedError, VaultError (no key), LedgerError, StoreError.
    """
    with (
        home.lock(what, iso(now())),
        open_parts(
            home, environment=environment, now=now, on_failure=on_failure, fault=fault
        ) as opened,
    ):
        yield opened


@contextmanager
def open_parts(
    home: Home,
    *,
    environment: Mapping[str, str] = os.environ,
    now: Now = utc_now,
    on_failure: Callable[[Failure], None] = lambda _: None,
    fault: Fault = lambda _: None,
    when_vault_is_made: Callable[[], None] | None = None,
) -> Iterator[OpenHome]:
    """The same for one of the processes that work together under one lock of the home: it is
    theirs, and is not taken here.

    when_vault_is_made : where another one writes the vault: returns when it can be read
    """
    with ExitStack() as stack:
        file = SqliteFile(home.state_file)
        stack.callback(file.close)
        ledger = Ledger.open(f"sqlite:///{home.ledger_file}")
        stack.callback(ledger.close)
        log = HomeLog(SqliteItemLog(file, lambda: iso(now())))
        state = SqliteState(file)
        if when_vault_is_made is not None:
            when_vault_is_made()
        vault = open_vault(home, environment, now, read_only=when_vault_is_made is not None)
        stack.callback(vault.close)
        book = ReleaseBook(ledger)
        releaser = Releaser(
            book,
            vault,
            {FOLDER_SINK: FolderSink(home.released, fault=fault)},
            now=now,
            jitter=random.random,
            on_failure=on_failure,
            fault=fault,
        )
        engine = Engine(
            Parts(
                log=log,
                state=state,
                ledger=ledger,
                book=book,
                history=History(ledger),
                load_directory=lambda digest: _directory(vault, digest),
                now=lambda: iso(now()),
            )
        )
        yield OpenHome(home, file, log, state, vault, ledger, book, releaser, engine, now)


def contents_in_use(ledger: Ledger, state: State) -> set[bytes]:
    """Contents of 835s that wait, of those whose release is ordered, and of files that are not
    delivered, by the first 8 bytes of their digests.

    Asked in the order in which an 835 goes on: one that leaves the first is in the second or, once
    that is acknowledged, in the third.
    """
    waiting = open_contents(ledger)
    ordered = ordered_contents(state)
    return waiting | ordered | ReleaseBook(ledger).unfinished_contents()


def _directory(vault: Vault, digest: bytes) -> Directory:
    return parse_directory(vault.read(digest, 0, vault.size(digest)))


def source_names(ledger: Ledger) -> Callable[[Sequence[int]], Mapping[int, str]]:
    """Names of files by the first 8 bytes of their digests."""
    return ledger.source_names
