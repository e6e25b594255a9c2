"""Where people decide: a warehouse on many machines.

A decision is a record of the item log's topic like any other, so the owner of the tenant's
partition takes it in its order. What is asked is checked against the match state before; what has
come since decides whether it is still so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reassoc.stream.asking import AskingError
from reassoc.stream.config import Config
from reassoc.stream.decide_places import named_tenants
from reassoc.stream.home import Home
from reassoc.stream.item_log import ClockEntry, Entry
from reassoc.stream.ledger import Ledger
from reassoc.stream.part_book import PartBook
from reassoc.stream.partition import PREFIX
from reassoc.stream.partition_log import partition_of
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.state import State
from reassoc.stream.topic_log import TopicLog, TopicLogError
from reassoc.stream.topics import items_partitions
from reassoc.stream.worker_desk import open_worker_desk

LOG_SECONDS_MAX = 30.0
"""How long Kafka may take to have a decision."""


class StreamPlace:
    """The warehouse of a configuration: see decide_places.Place."""

    decider = "the workers run"

    def __init__(
        self, config: Config, state: State, ledger: Ledger, clock: ClockEntry | None
    ) -> None:
        self.state = state
        self.ledger = ledger
        self.clock = clock
        self._settings = Home(Path(config.warehouse.folder))
        self._kafka = config.kafka

    @property
    def tenants(self) -> list[str]:
        """See Place."""
        return [name for name in self.state.tenants() if not name.startswith(PREFIX)]

    @property
    def targets(self) -> set[str]:
        """See Place."""
        seen = PartBook(self.ledger).tenants_seen()
        known = {name for name in seen if not name.startswith(PREFIX)}
        return named_tenants(self._settings) | known - {QUARANTINE}

    def log(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """See Place. Raises TopicLogError, LimitError: then some of it may be there."""
        try:
            asyncio.run(self._append(entries))
        except TimeoutError as error:
            raise TopicLogError(
                f"Kafka has not said after {LOG_SECONDS_MAX:.0f} s that it has the decision: it "
                "may be decided; look with `reassoc history` before you ask again"
            ) from error

    async def _append(self, entries: Sequence[tuple[str, Entry]]) -> None:
        async with asyncio.timeout(LOG_SECONDS_MAX):
            count = await items_partitions(self._kafka)
            self._check_partitions([tenant for tenant, _ in entries], count)
            log = TopicLog(self._kafka, count)
            try:
                await log.start()
                await log.append(entries)
            finally:
                await log.stop()

    def _check_partitions(self, tenants: Sequence[str], count: int) -> None:
        """A record in another partition than a tenant's would stop that one."""
        seen = PartBook(self.ledger).tenants_seen()
        partitions = {tenant: place.partition for tenant, place in seen.items()}
        wrong = sum(partitions.get(name) != partition_of(name, count) for name in tenants)
        if wrong:
            raise AskingError(
                f"the item log at {self._kafka.bootstrap} has not the partitions that {wrong} of "
                "the tenants are known in: is this the configuration of the workers?"
            )

    def settle(self) -> None:
        """The workers do."""


@contextmanager
def open_stream_place(config: Config) -> Iterator[StreamPlace]:
    """A warehouse on many machines, to decide in. Raises LedgerError, StoreError."""
    with open_worker_desk(config) as (state, ledger, clock):
        yield StreamPlace(config, state, ledger, clock)
