"""What a worker of a stream works on, opened from its configuration, and closed in the end."""

from __future__ import annotations

import os
import random
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reassoc.core.directory import Directory
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import Now, iso
from reassoc.stream.config import Config
from reassoc.stream.delivery_lock import DeliveryLock
from reassoc.stream.file_contents import FileContents
from reassoc.stream.home import Home, Stamps, read_settings, settings_stamps
from reassoc.stream.item_log import SettingsEntry
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_history import History
from reassoc.stream.part_book import FileNote, Part, PartBook
from reassoc.stream.release_book import FOLDER_SINK, ReleaseBook
from reassoc.stream.releaser import Failure, Releaser
from reassoc.stream.routing import RouteBuilder, Router, encode_route
from reassoc.stream.settings import parse_directory
from reassoc.stream.sinks import FolderSink
from reassoc.stream.state_redis import RedisState
from reassoc.stream.stepping import Stepper
from reassoc.stream.taking import Rules
from reassoc.stream.vault_keys import open_key_ring
from reassoc.stream.worker_vault import WorkerVaults, vaults_are_written

DIRECTORY_KIND = "SETTINGS"


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """Open parts. Any thread may use them, but the releaser, which one at a time runs."""

    config: Config
    settings: SettingsFolder
    state: RedisState
    stepper: Stepper
    ledger: Ledger
    history: History
    book: ReleaseBook
    parts: PartBook
    vaults: WorkerVaults
    contents: FileContents
    releaser: Releaser
    delivery: DeliveryLock
    scratch: Path
    now: Now

    def load_directory(self, digest: bytes) -> Directory:
        """The directory of a digest. Raises what the vault raises."""
        data = self.contents.read(digest, 0, self.contents.size(digest))
        return parse_directory(data)

    def settings_entry(self) -> SettingsEntry:
        """The settings as they are in their folder now, with the directory where every worker finds
        it. Raises what is wrong in them."""
        settings = read_settings(self.settings.home)
        if settings.directory_bytes:
            self._keep_directory(settings.directory_digest, settings.directory_bytes)
        return settings.entry(federal_reserve_calendar())

    def _keep_directory(self, digest: bytes, data: bytes) -> None:
        if self.parts.parts_of(digest):
            return
        lies = self.vaults.put([data])
        nothing = encode_route(RouteBuilder().route())
        place = Part(digest, 0, len(data), lies.vault, digest, 0, nothing, logged=True)
        self.parts.remember([place])
        note = FileNote(digest, len(data), "directory.toml", DIRECTORY_KIND, 1, complete=True)
        self.parts.remember_files([note])


class SettingsFolder:
    """The folder of the warehouse's settings, read again when one of its files has changed."""

    def __init__(self, folder: Path) -> None:
        """Raises what is wrong in them."""
        self.home = Home(Path(os.path.abspath(folder)))
        self._stamps: Stamps = ()
        self._rules = self._read()

    def rules(self) -> Rules:
        """By what intake reads and routes."""
        return self._rules

    def refresh(self) -> None:
        """Read them again where they have changed. Raises what is wrong in them: the old ones hold
        then."""
        stamps = settings_stamps(self.home)
        if stamps != self._stamps:
            self._stamps = stamps
            self._rules = self._read()

    def _read(self) -> Rules:
        self._stamps = settings_stamps(self.home)
        settings = read_settings(self.home)
        return Rules(Router(settings.directory), settings.layouts)


@contextmanager
def open_worker_parts(
    config: Config,
    *,
    environment: Mapping[str, str] = os.environ,
    now: Now,
    on_failure: Callable[[Failure], None] = lambda _: None,
) -> Iterator[WorkerParts]:
    """Open everything but Kafka. Raises PolicyError, DirectoryError, LayoutError, LedgerError,
    StoreError, VaultError and its kinds."""
    with ExitStack() as stack:
        settings = SettingsFolder(Path(config.warehouse.folder))
        ledger = Ledger.open(config.ledger.url)
        stack.callback(ledger.close)
        prefix = config.kafka.prefix
        state = RedisState(
            config.redis.url,
            prefix=prefix,
            records_max=config.redis.records_max,
            connect_seconds=config.redis.connect_seconds,
            call_seconds=config.redis.call_seconds,
        )
        stack.callback(state.close)
        vaults = _open_vaults(config, environment, now)
        stack.callback(vaults.close)
        parts = PartBook(ledger)
        contents = FileContents(parts, vaults)
        book = ReleaseBook(ledger)
        sinks = {FOLDER_SINK: FolderSink(Path(config.release.folder))}
        releaser = Releaser(
            book,
            contents,
            sinks,
            now=now,
            jitter=random.random,
            on_failure=on_failure,
            expect=contents.expect,
        )
        delivery = DeliveryLock(ledger)
        stack.callback(delivery.release)
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="reassoc-worker-"))
        yield WorkerParts(
            config,
            settings,
            state,
            Stepper(state),
            ledger,
            History(ledger),
            book,
            parts,
            vaults,
            contents,
            releaser,
            delivery,
            Path(scratch),
            now,
        )


def _open_vaults(config: Config, environment: Mapping[str, str], now: Now) -> WorkerVaults:
    place = config.vault
    may_create = not vaults_are_written(place.url)
    keys = open_key_ring(config.vault_key_file, environment, may_create=may_create)
    return WorkerVaults.open(
        place.url, place.name or None, keys, now=now, new_id=lambda: secrets.token_hex(8)
    )


def logged_at(now: Now) -> Callable[[], str]:
    """Now as the ledger writes it."""
    return lambda: iso(now())
