"""Redis for tests: REDIS_URL where it is set, else a server of our own; with states that close."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from reassoc.loadtest.servers.redis_server import RedisCluster, RedisServer
from reassoc.stream.state_redis import RedisState


class RedisStore:
    """One prefix of a Redis; every opening has connections and a thread of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.prefix = f"test-{uuid.uuid4().hex[:12]}"
        self.options = options
        self.states: list[RedisState] = []

    def open(self) -> RedisState:
        self.states.append(RedisState(self.url, prefix=self.prefix, **self.options))
        return self.states[-1]

    def close(self) -> None:
        """Close every state."""
        for state in self.states:
            state.close()
        self.states.clear()


def need_redis() -> None:
    """Skip where there is no redis-server."""
    if shutil.which("redis-server") is None:
        pytest.skip("no Redis to test on: apt-get install redis-server")


@contextmanager
def running_server(folder: Path, **options: str | None) -> Iterator[RedisServer]:
    """A server of our own."""
    need_redis()
    server = RedisServer(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_cluster(
    folder: Path, certificate: tuple[Path, Path] | None = None
) -> Iterator[RedisCluster]:
    """Three nodes of our own, which speak TLS where they have a certificate."""
    need_redis()
    cluster = RedisCluster(folder, certificate=certificate)
    cluster.start()
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()


@contextmanager
def any_redis(folder: Path) -> Iterator[str]:
    """The URL of REDIS_URL, or of a server of our own."""
    if url := os.environ.get("REDIS_URL"):
        yield url
    else:
        with running_server(folder) as server:
            yield server.url


@contextmanager
def store_of(url: str, **options: int) -> Iterator[RedisStore]:
    """A store whose keys are removed at the end."""
    store = RedisStore(url, **options)
    try:
        yield store
    finally:
        store.close()
        scheme, _, rest = url.partition("://")
        nodes, slash, more = rest.partition("/")
        for node in nodes.split(","):
            place = f"{scheme.partition('+')[0]}://{node}{slash}{more}"
            asyncio.run(_clean(place, store.prefix))


async def _clean(url: str, prefix: str) -> None:
    async with Redis.from_url(url) as redis:
        async for key in redis.scan_iter(match=f"{{{prefix}*", count=1000):
            await redis.unlink(key)
