"""How often the strict consumer asks a server: seldom while what came before is not through."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState

from reassoc.stream.strict_consumer import (
    FULL_FETCH_BYTES,
    FULL_FETCH_MS,
    StrictOptions,
    answer_when,
)


def asked(*, may_wait: bool) -> tuple[int, int]:
    """Bytes that an answer has at least, and milliseconds after which it comes all the same."""
    fetcher: Any = SimpleNamespace(_fetch_min_bytes=7, _fetch_max_wait_ms=7)
    answer_when(fetcher, StrictOptions(fetch_wait_ms=100, may_wait=lambda: may_wait))
    return fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms


def test_fetches_wait_for_more_only_where_they_may() -> None:
    assert asked(may_wait=False) == (1, 100)
    assert asked(may_wait=True) == (FULL_FETCH_BYTES, FULL_FETCH_MS)


def test_the_client_has_what_is_set() -> None:
    """These are no part of what aiokafka promises: another release may call them otherwise."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        client = SimpleNamespace(_loop=loop, _metadata_max_age_ms=1)
        fetcher = Fetcher(client, SubscriptionState())
        assert {"_fetch_min_bytes", "_fetch_max_wait_ms", "_prefetch_backoff"} <= set(vars(fetcher))
        await fetcher.close()

    asyncio.run(look())
