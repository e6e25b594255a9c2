"""How long a stream stands still when something dies, and what is lost: nothing.

Small messages have gone through two workers. Then a worker, Redis, the broker or PostgreSQL is
killed with -9 and started again at once (a worker is not), or the match state is wiped and made
again from the item log. What is timed is from the kill to when the ledger has the last of the
messages that are sent once the servers are back. At the end every pair is there, once.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stream_world import StreamWorld, feed_of, items_of, messages_of, running, send

PAYMENTS = int(os.environ.get("REASSOC_BENCH_RECOVERY_PAYMENTS", "10000"))
SHARE = 10
"""Of the messages, which are sent after the kill."""
SESSION_SECONDS = "10"


def _worker(world: StreamWorld) -> None:
    """The worker that has most partitions of tenants is killed, and does not come back."""
    world.stack.workers[0].kill()


def _redis(world: StreamWorld) -> None:
    assert world.stack.redis is not None
    world.stack.redis.kill()
    world.stack.redis.start()


def _broker(world: StreamWorld) -> None:
    world.stack.kafka.kill()
    world.stack.kafka.start()


def _database(world: StreamWorld) -> None:
    world.stack.postgres.kill()
    world.stack.postgres.start()


def _wipe(world: StreamWorld) -> None:
    """All match state is lost, and the operator asks for it to be made again."""
    assert world.stack.redis is not None
    world.stack.redis.ask("FLUSHALL")
    command = [sys.executable, "-m", "reassoc.stream.cli", "rebuild", "--yes", "--config"]
    subprocess.run([*command, str(world.stack.config_file)], check=True, capture_output=True)


FAULTS: dict[str, Callable[[StreamWorld], None]] = {
    "worker": _worker, "redis": _redis, "broker": _broker, "database": _database, "wipe": _wipe,
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_bench_recovery(benchmark: Any, tmp_path: Path, name: str) -> None:
    """Seconds from the kill to the ledger's last row of what came right after it."""
    feed = feed_of(PAYMENTS, 1)
    messages = messages_of(feed, 1)
    random.Random(5).shuffle(messages)
    before, after = messages[: -len(messages) // SHARE], messages[-len(messages) // SHARE :]
    variables = {"REASSOC_WORKER_SESSION_TIMEOUT_S": SESSION_SECONDS}
    with running(tmp_path / "stack", feed, variables) as world:
        world.start(2)
        send(world.bootstrap, before)
        world.wait_in_ledger(items_of(before))
        began = time.monotonic()
        FAULTS[name](world)
        back = time.monotonic() - began
        send(world.bootstrap, after)
        seconds = world.wait_in_ledger(2 * PAYMENTS) - began
        assert world.pair_count() == PAYMENTS, "every pair is there, once"
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(
        items=2 * PAYMENTS, back_after_s=round(back, 2), applied_after_s=round(seconds, 2)
    )
