"""The Faust application of a worker. Wiring only: who reads which topic, and hands it to whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import faust

from reassoc.stream.agents import Taker, add_agents
from reassoc.stream.config import Config
from reassoc.stream.strict_consumer import (
    SCHEME,
    PartitionsHook,
    StrictOptions,
    configure,
    register,
    strict_settings,
)
from reassoc.stream.topics import ITEMS_TOPIC, RAW_TOPICS, credentials

RAW_IN_FLIGHT_BYTES = 16 << 20
"""Of one partition, between fetch and the item log."""
IN_FLIGHT_BATCHES = 256
"""Of one partition: where messages come one by one a fetch brings few, and a partition that has no
room keeps others waiting (strict_consumer.PREFETCH_SECONDS)."""
STALL_SECONDS_MAX = 3600.0
"""A partition that waits for a lost state to be rebuilt stands still; longer than that, the worker
ends, to be started again."""
FETCH_WAIT_MS = 100


def make_app(
    config: Config,
    matching: Taker,
    intake: Taker,
    *,
    roles: Sequence[str],
    on_assigned: PartitionsHook,
    on_revoked: PartitionsHook,
    may_wait: Callable[[], bool],
) -> faust.App:
    """The application of one worker; all workers of a prefix are one group."""
    register()
    kafka, worker = config.kafka, config.worker
    brokers = [f"{SCHEME}://{host}" for host in kafka.bootstrap.split(",")]
    session = float(worker.session_timeout_s)
    settings: dict[str, Any] = strict_settings() | {
        "broker_session_timeout": session,
        "broker_heartbeat_interval": session / 5,
        "broker_request_timeout": max(40.0, session + 10),
    }
    app = faust.App(
        f"{kafka.prefix}.workers",
        broker=brokers,
        broker_credentials=credentials(kafka),
        **settings,
    )
    configure(
        app,
        StrictOptions(
            on_assigned=on_assigned,
            on_revoked=on_revoked,
            may_wait=may_wait,
            batches_in_flight_max=IN_FLIGHT_BATCHES,
            bytes_in_flight_max=RAW_IN_FLIGHT_BYTES,
            batch_seconds_max=STALL_SECONDS_MAX,
            fetch_wait_ms=FETCH_WAIT_MS,
            finish_seconds_max=min(8.0, worker.stop_seconds * 0.7),
            read_committed=True,
        ),
    )
    items = f"{kafka.prefix}.{ITEMS_TOPIC}" if "match" in roles else ""
    raw = [f"{kafka.prefix}.{name}" for name in RAW_TOPICS] if "intake" in roles else []
    add_agents(app, items, raw, matching, intake)
    return app
