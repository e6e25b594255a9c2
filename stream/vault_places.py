"""The vaults that a command is about: that of a home, or those of the workers, one for each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reassoc.stream.clock import utc_now
from reassoc.stream.config import Config
from reassoc.stream.home import Home
from reassoc.stream.vault import Vault
from reassoc.stream.vault_errors import BusyError, NoContentError, VaultError
from reassoc.stream.vault_keys import KeyRing, open_key_ring
from reassoc.stream.worker_vault import vault_names, vault_url


@dataclass(frozen=True, slots=True)
class NamedVault:
    """A vault that is there. name : "" of a home's"""

    name: str
    url: str | Path
    keys: KeyRing

    def open(self, *, read_only: bool) -> Vault:
        """Open it. Raises VaultError and its kinds: BusyError where somebody writes it."""
        return Vault.open(
            self.url,
            self.keys,
            now=utc_now,
            new_id=lambda: secrets.token_hex(8),
            read_only=read_only,
        )


@dataclass(frozen=True, slots=True)
class Vaults:
    """Vaults under one ring of master keys. key_file : where these lie, unless a variable holds
    them"""

    each: Sequence[NamedVault]
    key_file: Path

    @contextmanager
    def opened(self, *, read_only: bool) -> Iterator[list[tuple[NamedVault, Vault]]]:
        """All of them at once: where one cannot be opened, nothing was done to any."""
        with ExitStack() as stack:
            yield [
                (place, stack.enter_context(place.open(read_only=read_only))) for place in self.each
            ]

    def having(self, prefix: str) -> tuple[bytes, Vaults]:
        """The content whose digest begins so, and the vaults in which it is not erased. Raises
        NoContentError where there is none, or more than one. O(contents)."""
        found: dict[bytes, list[NamedVault]] = {}
        for place in self.each:
            with place.open(read_only=True) as vault:
                for content in vault.contents():
                    if content.digest.hex().startswith(prefix):
                        having = found.setdefault(content.digest, [])
                        if content.erased is None:
                            having.append(place)
        if len(found) != 1:
            reason = "begins more than one digest" if found else "is no content of the vault"
            raise NoContentError(f"{prefix}: {reason}")
        ((digest, places),) = found.items()
        return digest, Vaults(places, self.key_file)

    def check_nobody_writes(self) -> None:
        """Raises BusyError where somebody writes one of them; in a folder only, an object store
        does not know."""
        for place in self.each:
            try:
                place.open(read_only=False).close()
            except BusyError:
                raise
            except VaultError:
                continue  # it is told when it is its turn


def home_vault(home: Home) -> Vaults:
    """That of a home. Raises HomeError, VaultError."""
    key_file = home.key_file(os.environ)
    keys = open_key_ring(key_file, os.environ, may_create=False)
    return Vaults([NamedVault("", home.vault, keys)], key_file)


def worker_vaults(config: Config, name: str = "") -> Vaults:
    """Those of the workers of a configuration, or one of them. Raises VaultError, also where there
    is none."""
    root = config.vault.url.rstrip("/")
    there = vault_names(root)
    if not there:
        raise VaultError(f"{config.vault.url}: there is no vault (vault.url of the configuration)")
    if name and name not in there:
        raise VaultError(f"{name}: no vault of that name; there are {', '.join(there)}")
    keys = open_key_ring(config.vault_key_file, os.environ, may_create=False)
    each = [NamedVault(one, vault_url(root, one), keys) for one in there if name in ("", one)]
    return Vaults(each, config.vault_key_file)
