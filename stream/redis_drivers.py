"""How one Redis server, and how a cluster is reached. A driver makes one attempt at a call.

A server is spoken to by the thread that asks: by way of an event loop in a thread of its own each
call would wait several times for Python's lock, where other threads compute (decision 17). The
nodes of a cluster are found and followed by redis-py's asyncio client, on such a loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, wait
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECTIONS_MAX = 8
"""Calls of a process that are under way at a time; more callers wait for one of them."""
END_SECONDS_MAX = 5.0
"""For connections and thread to end."""

_CLUSTER = "+cluster"
_Value = TypeVar("_Value")


class Driver(Protocol):
    """Any thread may call it, CONNECTIONS_MAX at a time. Raises what redis-py raises, OSError and
    TimeoutError."""

    def execute(self, command: tuple[Any, ...], seconds: float) -> Any:
        """One attempt at a command. seconds : that nothing may come"""
        ...

    def execute_each(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> list[Any]:
        """One attempt at each of some commands: their answers, or errors of redis-py. Raises where
        nothing could be told of any of them."""
        ...

    def on_primaries(self, command: tuple[Any, ...], seconds: float) -> list[Any]:
        """The same of every primary."""
        ...

    def close(self) -> None:
        """End connections; calls under way fail."""
        ...


def driver_of(url: str, connect_seconds: float) -> Driver:
    """The driver for a URL, see `redis_client.RedisClient`. Connects nothing yet. Raises ValueError
    for another kind of URL."""
    scheme, _, rest = url.partition("://")
    if scheme in ("redis", "rediss") and rest:
        return ServerDriver(url, connect_seconds)
    if scheme in ("redis" + _CLUSTER, "rediss" + _CLUSTER) and rest:
        return ClusterDriver(url, connect_seconds)
    raise ValueError("a Redis URL begins with redis://, rediss://, redis+cluster:// or rediss+...")


# ---- one server ----

_attempt = threading.local()


class _Connection(redis.Connection):
    """A connection that waits as long as the attempt of its thread may."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        send: Callable[..., None] = super().send_packed_command
        self._set_limit()
        send(command, check_health)
        self._set_limit()  # it may have connected anew

    def _set_limit(self) -> None:
        if self._sock is not None:
            self._sock.settimeout(_attempt.seconds)


class _TlsConnection(redis.SSLConnection, _Connection):
    """The same over TLS."""


class ServerDriver:
    """Speaks to one server."""

    def __init__(self, url: str, connect_seconds: float) -> None:
        self._pool = redis.BlockingConnectionPool.from_url(
            url,
            connection_class=_TlsConnection if url.startswith("rediss") else _Connection,
            max_connections=CONNECTIONS_MAX,
            timeout=connect_seconds,
            socket_connect_timeout=connect_seconds,
            retry=Retry(NoBackoff(), 0),  # who calls counts attempts
            protocol=2,
        )
        self._redis = redis.Redis(connection_pool=self._pool)
        self._execute: Callable[..., Any] = self._redis.execute_command

    def execute(self, command: tuple[Any, ...], seconds: float) -> Any:
        """See Driver."""
        _attempt.seconds = seconds
        return self._execute(*command)

    def execute_each(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> list[Any]:
        """See Driver."""
        _attempt.seconds = seconds
        with self._redis.pipeline(transaction=False) as pipeline:
            add: Callable[..., Any] = pipeline.execute_command
            for command in commands:
                add(*command)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        return answers

    def on_primaries(self, command: tuple[Any, ...], seconds: float) -> list[Any]:
        """See Driver."""
        return [self.execute(command, seconds)]

    def close(self) -> None:
        """See Driver."""
        self._pool.disconnect(inuse_connections=True)


# ---- a cluster ----


class ClusterDriver:
    """Speaks to the nodes of a cluster, on an event loop in a thread of its own."""

    def __init__(self, url: str, connect_seconds: float) -> None:
        self._cluster = _cluster_of(url, connect_seconds)
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="redis", daemon=True)
        self._thread.start()

    def execute(self, command: tuple[Any, ...], seconds: float) -> Any:
        """See Driver."""
        return self._run(lambda: self._cluster.execute_command(*command), seconds)

    def execute_each(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> list[Any]:
        """See Driver. One after the other: they lie on different nodes."""

        async def ask() -> list[Any]:
            answers: list[Any] = []
            for command in commands:
                try:
                    answers.append(await self._cluster.execute_command(*command))
                except redis.RedisError as error:
                    answers.append(error)
            return answers

        return self._run(ask, seconds)

    def on_primaries(self, command: tuple[Any, ...], seconds: float) -> list[Any]:
        """See Driver."""

        async def ask() -> list[Any]:
            await self._cluster.initialize()
            nodes = self._cluster.get_primaries()
            return [await node.execute_command(*command) for node in nodes]

        return self._run(ask, seconds)

    def close(self) -> None:
        """See Driver."""
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        wait([ending], timeout=3 * END_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_SECONDS_MAX)
        self._loop.close()

    def _run(self, call: Callable[[], Awaitable[_Value]], seconds: float) -> _Value:
        async def bounded() -> _Value:
            async with asyncio.timeout(seconds):
                return await call()

        calling: Coroutine[Any, Any, _Value] = bounded()
        future = asyncio.run_coroutine_threadsafe(calling, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ConnectionError("the loop has ended") from None
        except BaseException:
            future.cancel()  # an interrupt, say
            raise

    async def _end(self) -> None:
        """Let go of the connections: what waits for them fails, and is not tried again."""
        mine = asyncio.current_task()
        await asyncio.wait([asyncio.create_task(self._let_go())], timeout=END_SECONDS_MAX)
        others = [task for task in asyncio.all_tasks() if task is not mine]
        if others:
            _, hanging = await asyncio.wait(others, timeout=END_SECONDS_MAX)
            for task in hanging:
                task.cancel()

    async def _let_go(self) -> None:
        await self._cluster.aclose()
        # aclose does nothing for a client that is about to look for the nodes anew.
        for nodes in ("nodes_cache", "startup_nodes"):
            await self._cluster.nodes_manager.aclose(nodes)


def _cluster_of(url: str, connect_seconds: float) -> RedisCluster:
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    user, _, hosts = place.partition("/")[0].rpartition("@")
    name, _, password = user.partition(":")
    return RedisCluster(
        startup_nodes=[_node(host) for host in hosts.split(",")],
        require_full_coverage=False,  # tenants on other nodes go on
        username=unquote(name) or None,
        password=unquote(password) or None,
        ssl=scheme.startswith("rediss"),
        ssl_ca_certs=_ca_certs(query),
        socket_timeout=None,  # each attempt has its own time
        socket_connect_timeout=connect_seconds,
        retry=AsyncRetry(NoBackoff(), 0),
        protocol=2,
        max_connections=CONNECTIONS_MAX,
    )


def _ca_certs(query: str) -> str | None:
    """The file of whom certificates are believed from, None where the URL names none."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    file = options.pop("ssl_ca_certs", None)
    if options or file == "":
        raise ValueError("behind the nodes of a cluster only ssl_ca_certs=FILE may stand")
    return file


def _node(text: str) -> ClusterNode:
    parts = urlsplit(f"//{text}")
    return ClusterNode(parts.hostname or "", parts.port or 6379)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
