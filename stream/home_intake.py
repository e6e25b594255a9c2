"""What taking files in needs of a home: its vault, its logs and its settings.

Nothing of matching or of the ledger is loaded for it: it is at work while the rest still starts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime

from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import Now, iso
from reassoc.stream.home import Home, Settings, read_settings
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.vault import Vault, vault_is_written
from reassoc.stream.vault_keys import open_key_ring

Needed = Callable[[], Collection[bytes]]
"""Contents that must not be erased, by the first 8 bytes of their digests."""


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


@contextmanager
def open_intake(
    home: Home, environment: Mapping[str, str], now: Now
) -> Iterator[tuple[Vault, HomeLog]]:
    """Vault and logs of a home, for one of the processes that work under its lock: the only one
    that writes the vault. Raises VaultError (no key), StoreError."""
    with (
        closing(SqliteFile(home.state_file)) as file,
        closing(open_vault(home, environment, now)) as vault,
    ):
        yield vault, HomeLog(SqliteItemLog(file, lambda: iso(now())))


def use_settings(home: Home, vault: Vault, log: HomeLog) -> Settings:
    """Read the settings files; log them where they have changed. Raises what is wrong in them."""
    settings = read_settings(home)
    if settings.directory_bytes:
        vault.put([settings.directory_bytes])
    log.settle(settings.entry(federal_reserve_calendar()))
    return settings


def forget_contents(vault: Vault, log: HomeLog, at: datetime, needed: Needed) -> int:
    """Erase what the vault keeps no longer, by its retention; how many contents that were.

    What an 835 that waits, a file that is not delivered, or the directory still needs is kept for
    as long as it does, whatever the retention says.
    """
    if vault.retention_days is None:
        return 0
    kept = needed()
    settings = log.settings
    directory = settings.directory if settings is not None else b""
    return vault.apply_retention(at, lambda digest: digest == directory or digest[:8] in kept)


def needed_contents(home: Home) -> Collection[bytes]:
    """See `Needed`. The ledger must be there."""
    from reassoc.stream.ledger import Ledger
    from reassoc.stream.open_home import contents_in_use
    from reassoc.stream.state_sqlite import SqliteState

    with (
        closing(Ledger.open(f"sqlite:///{home.ledger_file}", read_only=True)) as ledger,
        closing(SqliteFile(home.state_file)) as file,
    ):
        return contents_in_use(ledger, SqliteState(file))
