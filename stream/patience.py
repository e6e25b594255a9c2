"""Calls that are made again until a store answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from reassoc.stream.sqlite_file import StoreError
from reassoc.stream.vault_errors import VaultError

RETRY_SECONDS_FIRST = 0.2
RETRY_SECONDS_MAX = 10.0

T = TypeVar("T")


async def patiently(
    call: Callable[[], Awaitable[T]], waits: Callable[[Exception, float], None]
) -> T:
    """What a call answers, which is made again after 0.2, 0.4... at most RETRY_SECONDS_MAX seconds
    where a store, a disk or the network fails. Raises what no time mends: a wrong key, damage.

    waits : is told of each failure, and how long it waits
    """
    seconds = RETRY_SECONDS_FIRST
    while True:
        try:
            return await call()
        except (StoreError, VaultError, OSError) as error:
            # The vault says by the same kind of error what no time mends.
            if isinstance(error, VaultError) and not isinstance(error.__cause__, OSError):
                raise
            waits(error, seconds)
            await asyncio.sleep(seconds)
            seconds = min(seconds * 2, RETRY_SECONDS_MAX)
