"""A home with all its parts open: what `serve` and the commands work on."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from reassoc.core.directory import Directory
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.engine import Engine, Parts
from reassoc.stream.home import Home, Settings, read_settings
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_history import History
from reassoc.stream.ledger_views import open_contents
from reassoc.stream.release_book import FOLDER_SINK, ReleaseBook
from reassoc.stream.releaser import Failure, Releaser
from reassoc.stream.settings import parse_directory
from reassoc.stream.sinks import FolderSink
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.vault import Vault, vault_is_written
from reassoc.stream.vault_keys import open_key_ring

Now = Callable[[], datetime]
Fault = Callable[[str], None]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


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
        """Read the settings files and log them where they have changed."""
        settings = read_settings(self.home)
        if settings.directory_bytes:
            self.vault.put([settings.directory_bytes])
        self.engine.settle_settings(settings.entry(federal_reserve_calendar()))
        return settings

    def forget_contents(self) -> int:
        """Erase what the vault keeps no longer, by its retention; how many contents that were.

        What an 835 that waits, a file that is not delivered, or the directory still needs is kept
        for as long as it does, whatever the retention says.
        """
        if self.vault.retention_days is None:
            return 0
        needed = open_contents(self.ledger) | self.book.unfinished_contents()
        settings = self.log.settings
        directory = settings.directory if settings is not None else b""
        return self.vault.apply_retention(
            self.now(), lambda digest: digest == directory or digest[:8] in needed
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
    reads_vault_only: bool = False,
) -> Iterator[OpenHome]:
    """The same for one of the processes that work together under one lock of the home: it is
    theirs, and is not taken here. At most one of them writes the vault."""
    with ExitStack() as stack:
        file = SqliteFile(home.state_file)
        stack.callback(file.close)
        vault = open_vault(home, environment, now, read_only=reads_vault_only)
        stack.callback(vault.close)
        ledger = Ledger.open(f"sqlite:///{home.ledger_file}")
        stack.callback(ledger.close)
        log = HomeLog(SqliteItemLog(file, lambda: iso(now())))
        state = SqliteState(file)
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


def open_vault(
    home: Home, environment: Mapping[str, str], now: Now, *, read_only: bool = False
) -> Vault:
    """The vault of a home, with its key; the first start makes one."""
    keys = open_key_ring(
        home.key_file(environment), environment, may_create=not vault_is_written(home.vault)
    )
    return Vault.open(
        home.vault,
        keys,
        now=now,
        new_id=lambda: secrets.token_hex(8),
        read_only=read_only,
    )


def _directory(vault: Vault, digest: bytes) -> Directory:
    return parse_directory(vault.read(digest, 0, vault.size(digest)))


def source_names(ledger: Ledger) -> Callable[[Sequence[int]], Mapping[int, str]]:
    """Names of files by the first 8 bytes of their digests."""
    return ledger.source_names
