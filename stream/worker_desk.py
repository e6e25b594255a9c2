"""A warehouse on many machines, opened for reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from reassoc.stream.config import Config
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.leader import LEADER_PARTITION
from reassoc.stream.ledger import Ledger
from reassoc.stream.partition import read_partition
from reassoc.stream.state_redis import RedisState


@contextmanager
def open_worker_desk(config: Config) -> Iterator[tuple[RedisState, Ledger, ClockEntry | None]]:
    """Match state, ledger, and the last opening or close. Raises LedgerError, StoreError."""
    with (
        closing(Ledger.open(config.ledger.url, read_only=True)) as ledger,
        closing(RedisState(config.redis.url, prefix=config.kafka.prefix)) as state,
    ):
        for_all, _ = read_partition(state, LEADER_PARTITION)
        clock = for_all.clock
        yield state, ledger, clock if clock is not None and clock.kind != "start" else None
