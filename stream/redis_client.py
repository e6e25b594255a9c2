"""Redis as the warehouse uses it: bounded calls from any thread, to one server or to a cluster.

redis-py's asyncio client runs on an event loop in a thread of its own, and callers wait for it.
What may pass by itself (a lost connection, a failover, a server that loads its data, a slot that
moves) is tried again, a bounded number of times: so every call must be one that may be made twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis.exceptions as errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from reassoc.stream.sqlite_file import StoreError

CONNECTIONS_MAX = 8
"""Calls of a process that are under way at a time; more callers wait for one of them."""
ATTEMPTS_MAX = 8
"""How often a call is made that fails of what may pass by itself: some five seconds of pauses."""
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 2.0
"""Between two attempts: doubled each time, and shortened at random by up to a half."""
CONNECT_SECONDS_MAX = 3.0
CALL_SECONDS_MAX = 10.0
"""For the answer to a small call; callers give large ones more."""
END_SECONDS_MAX = 5.0
"""For connections and thread to end."""

_CLUSTER = "+cluster"
_PASSING = (
    errors.AskError,
    errors.BusyLoadingError,
    errors.ClusterError,
    errors.ConnectionError,
    errors.ReadOnlyError,
    errors.RedisClusterException,
    errors.TimeoutError,
    errors.TryAgainError,
    OSError,
    TimeoutError,
)
_LASTING = (errors.AuthenticationError, errors.AuthorizationError)
_PASSING_CODES = ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY")
_SLOT_MOVES = "non local key"
"""In what Redis says where a script meets a slot that is on its way to another node."""
_ADVICE = {
    "OOM": "its memory is full: raise maxmemory, or take tenants to another server",
    "MISCONF": "it cannot write to its disk: look at its log and make room",
    "NOAUTH": "it asks for a password: give user and password in the URL",
    "WRONGPASS": "it does not know the user and password of the URL",
    "NOPERM": "its user may not do this: allow it all keys of the prefix, and scripts",
    "WRONGTYPE": "a key of the state holds something else: use another prefix",
}

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Script:
    """A Lua script of redis_scripts/, behind what all of them begin with."""

    name: str

    @cached_property
    def text(self) -> bytes:
        """What Redis is given."""
        folder = files("reassoc.stream") / "redis_scripts"
        return b"\n".join((folder / f"{name}.lua").read_bytes() for name in ("common", self.name))

    @cached_property
    def digest(self) -> str:
        """By which Redis knows it."""
        return hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


class RedisClient:
    """Calls to the server or cluster of a URL. Every method may be called from any thread.

    url : redis://HOST:PORT/0, rediss://... with TLS, or for a cluster redis+cluster://HOST:PORT,...
          and rediss+cluster://..., each with USER:PASSWORD@ where the server asks for it

    Nothing is connected before the first call. Raises ValueError for another kind of URL. Not to be
    carried through a fork.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_seconds: float = CONNECT_SECONDS_MAX,
        call_seconds: float = 0.0,
    ) -> None:
        """
        connect_seconds : for a connection to come
        call_seconds : for an attempt at one call, beside what a large one is given
        """
        self._call_seconds = call_seconds
        self.where = re.sub(r"^.*@|^[a-z+]*://|/.*$", "", url.split("://", 1)[-1])
        self._redis = _client(url, connect_seconds)
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="redis", daemon=True)
        self._ending = threading.Lock()
        self._closed = False
        self._thread.start()

    def call(self, *command: Any, seconds: float = 0.0) -> Any:
        """The answer to a command, with bytes for texts.

        seconds : what an attempt may take beyond `call_seconds`. Raises StoreError.
        """
        return self._run(self._patiently(lambda: self._command(*command), seconds))

    def calls(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers to commands that have nothing to do with each other, in their order."""
        return self._run(self._all(commands))

    def run(self, script: Script, keys: Sequence[Any], *values: Any, seconds: float = 0.0) -> Any:
        """What a script answers. Its keys must lie in one slot. Raises StoreError."""
        tail = (len(keys), *keys, *values)
        return self._run(self._patiently(lambda: self._script(script, tail), seconds))

    def settings(self, pattern: str) -> list[dict[bytes, bytes]]:
        """What CONFIG GET says, of every primary; empty where that is not allowed."""
        try:
            return self._run(self._patiently(lambda: self._settings(pattern), 0.0))
        except _RefusedError:
            return []

    def run_ids(self) -> list[str]:
        """Of every primary, what it was given when it was started; sorted."""
        return self._run(self._patiently(self._run_ids, 0.0))

    def close(self) -> None:
        """End connections and thread; calls under way fail with StoreError. Twice does nothing."""
        with self._ending:
            if self._closed:
                return
            self._closed = True
            ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
            wait([ending], timeout=3 * END_SECONDS_MAX)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(END_SECONDS_MAX)
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, _Value]) -> _Value:
        """Run it on the loop, and wait. It is bounded by itself."""
        if self._closed:
            coroutine.close()
            raise StoreError(f"{self.where}: was closed: open it again")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise StoreError(f"{self.where}: was closed during a call") from None
        except BaseException:
            future.cancel()  # an interrupt, say
            raise

    async def _patiently(self, attempt: Callable[[], Awaitable[_Value]], seconds: float) -> _Value:
        pause = PAUSE_SECONDS_MIN
        for left in range(ATTEMPTS_MAX - 1, -1, -1):
            if self._closed:
                raise StoreError(f"{self.where}: was closed during a call")
            try:
                async with self._slots, asyncio.timeout(self._call_seconds + seconds):
                    return await attempt()
            except (errors.RedisError, errors.RedisClusterException, OSError) as error:
                if not _may_pass(error):
                    raise _RefusedError(f"{self.where}: {_advice(error)}") from error
                if not left:
                    raise StoreError(
                        f"{self.where}: Redis cannot be had after {ATTEMPTS_MAX} attempts "
                        f"({type(error).__name__}): see whether it runs, and try again"
                    ) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        raise AssertionError("the last attempt raises")

    async def _command(self, *command: Any, **where: Any) -> Any:
        return await self._redis.execute_command(*command, **where)

    async def _all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(commands), CONNECTIONS_MAX):
            some = commands[start : start + CONNECTIONS_MAX]
            tasks = [self._patiently(partial(self._command, *one), 0.0) for one in some]
            answers += await asyncio.gather(*tasks)
        return answers

    async def _script(self, script: Script, tail: tuple[Any, ...]) -> Any:
        try:
            return await self._command("EVALSHA", script.digest, *tail)
        except errors.NoScriptError:
            # The server is new, or somebody flushed its scripts. This brings the script as well.
            return await self._command("EVAL", script.text, *tail)

    async def _settings(self, pattern: str) -> list[dict[bytes, bytes]]:
        if not isinstance(self._redis, RedisCluster):
            return [_pairs(await self._command("CONFIG", "GET", pattern))]
        await self._redis.initialize()
        nodes = self._redis.get_primaries()
        return [_pairs(await node.execute_command("CONFIG", "GET", pattern)) for node in nodes]

    async def _run_ids(self) -> list[str]:
        if isinstance(self._redis, RedisCluster):
            await self._redis.initialize()
            nodes = self._redis.get_primaries()
            found = [await node.execute_command("INFO", "server") for node in nodes]
        else:
            found = [await self._command("INFO", "server")]
        return sorted(str(each["run_id"]) for each in found)

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
        await self._redis.aclose()
        if isinstance(self._redis, RedisCluster):
            # aclose does nothing for a client that is about to look for the nodes anew.
            for nodes in ("nodes_cache", "startup_nodes"):
                await self._redis.nodes_manager.aclose(nodes)
        else:
            await self._redis.connection_pool.disconnect()


class _RefusedError(StoreError):
    """Trying again would not help."""


def _client(url: str, connect_seconds: float) -> Redis | RedisCluster:
    scheme, _, rest = url.partition("://")
    shared: dict[str, Any] = {
        "socket_timeout": None,  # each attempt has its own time
        "socket_connect_timeout": connect_seconds,
        "retry": Retry(NoBackoff(), 0),  # attempts are counted here
        "protocol": 2,
        "max_connections": CONNECTIONS_MAX,
    }
    if scheme in ("redis", "rediss") and rest:
        pool = BlockingConnectionPool.from_url(url, timeout=connect_seconds, **shared)
        return Redis.from_pool(pool)
    if scheme in ("redis" + _CLUSTER, "rediss" + _CLUSTER) and rest:
        user, _, hosts = rest.partition("/")[0].rpartition("@")
        name, _, password = user.partition(":")
        return RedisCluster(
            startup_nodes=[_node(host) for host in hosts.split(",")],
            require_full_coverage=False,  # tenants on other nodes go on
            username=unquote(name) or None,
            password=unquote(password) or None,
            ssl=scheme.startswith("rediss"),
            **shared,
        )
    raise ValueError("a Redis URL begins with redis://, rediss://, redis+cluster:// or rediss+...")


def _node(text: str) -> ClusterNode:
    parts = urlsplit(f"//{text}")
    return ClusterNode(parts.hostname or "", parts.port or 6379)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _pairs(answer: Any) -> dict[bytes, bytes]:
    if isinstance(answer, dict):
        return {_bytes(name): _bytes(value) for name, value in answer.items()}
    return dict(zip(answer[::2], answer[1::2], strict=True))


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _may_pass(error: Exception) -> bool:
    if isinstance(error, _LASTING):
        return False
    text = str(error)
    return isinstance(error, _PASSING) or text.startswith(_PASSING_CODES) or _SLOT_MOVES in text


def _advice(error: Exception) -> str:
    """What a person can do about an error. Redis's own text stays out: it may quote data."""
    text = str(error)
    kind = type(error).__name__
    if isinstance(error, errors.OutOfMemoryError):
        return f"{_ADVICE['OOM']} ({kind})"
    if isinstance(error, errors.NoPermissionError):
        return f"{_ADVICE['NOPERM']} ({kind})"
    if isinstance(error, _LASTING):
        return f"{_ADVICE['WRONGPASS']} ({kind})"
    code = re.match(r"[A-Z]*", text)
    word = code.group() if code else ""
    return f"{_ADVICE.get(word, 'Redis refused a call: look at its log')} ({word or kind})"
