"""Redis as the warehouse uses it: bounded calls from any thread, to one server or to a cluster.

What may pass by itself (a lost connection, a failover, a server that loads its data, a slot that
moves) is tried again, a bounded number of times: so every call must be one that may be made twice.
How a server is reached is a driver's business (redis_drivers.py).
"""

from __future__ import annotations

import hashlib
import random
import re
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, TypeVar

import redis.exceptions as errors

from reassoc.stream.redis_drivers import CONNECTIONS_MAX, Driver, driver_of
from reassoc.stream.sqlite_file import StoreError

ATTEMPTS_MAX = 8
"""How often a call is made that fails of what may pass by itself: some five seconds of pauses."""
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 2.0
"""Between two attempts: doubled each time, and shortened at random by up to a half."""
CONNECT_SECONDS_MAX = 3.0
CALL_SECONDS_MAX = 10.0
"""For the answer to a small call; callers give large ones more."""
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
    "TLS": "its certificate does not hold here: name a file of whom it is to be believed from, in"
    " the URL as ?ssl_ca_certs=FILE, or by SSL_CERT_FILE",
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
        self._driver: Driver = driver_of(url, connect_seconds)
        self._slots = threading.Semaphore(CONNECTIONS_MAX)
        self._closing = threading.Event()

    def call(self, *command: Any, seconds: float = 0.0) -> Any:
        """The answer to a command, with bytes for texts.

        seconds : what an attempt may take beyond `call_seconds`. Raises StoreError.
        """
        return self._patiently(lambda limit: self._command(command, limit), seconds)

    def calls(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers to commands that have nothing to do with each other, in their order."""
        return [self.call(*command) for command in commands]

    def run(self, script: Script, keys: Sequence[Any], *values: Any, seconds: float = 0.0) -> Any:
        """What a script answers. Its keys must lie in one slot. Raises StoreError."""
        tail = (len(keys), *keys, *values)
        return self._patiently(lambda limit: self._script(script, tail, limit), seconds)

    def run_each(
        self,
        script: Script,
        calls: Sequence[tuple[Sequence[Any], Sequence[Any]]],
        seconds: float = 0.0,
    ) -> list[Any]:
        """What a script answers to several calls, of keys and values each, which may lie in
        different slots: sent together where the server is one. Raises StoreError, where any of them
        may have been answered."""
        tails = [(len(keys), *keys, *values) for keys, values in calls]
        return self._patiently(lambda limit: self._scripts(script, tails, limit), seconds)

    def settings(self, pattern: str) -> list[dict[bytes, bytes]]:
        """What CONFIG GET says, of every primary; empty where that is not allowed."""
        try:
            return [_pairs(each) for each in self._on_primaries("CONFIG", "GET", pattern)]
        except _RefusedError:
            return []

    def run_ids(self) -> list[str]:
        """Of every primary, what it was given when it was started; sorted."""
        return sorted(str(each["run_id"]) for each in self._on_primaries("INFO", "server"))

    def close(self) -> None:
        """End connections; calls under way fail with StoreError. Twice does nothing."""
        if not self._closing.is_set():
            self._closing.set()
            self._driver.close()

    def _on_primaries(self, *command: Any) -> list[Any]:
        return self._patiently(lambda limit: self._driver.on_primaries(command, limit), 0.0)

    def _patiently(self, attempt: Callable[[float], _Value], seconds: float) -> _Value:
        pause, limit = PAUSE_SECONDS_MIN, self._call_seconds + seconds
        for left in range(ATTEMPTS_MAX - 1, -1, -1):
            try:
                return self._attempted(attempt, limit)
            except (errors.RedisError, errors.RedisClusterException, OSError) as error:
                if self._closing.is_set():
                    raise StoreError(f"{self.where}: was closed during a call") from None
                if not _may_pass(error):
                    raise _RefusedError(f"{self.where}: {_advice(error)}") from error
                if not left:
                    raise StoreError(
                        f"{self.where}: Redis cannot be had after {ATTEMPTS_MAX} attempts "
                        f"({type(error).__name__}): see whether it runs, and try again"
                    ) from error
            self._closing.wait(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        raise AssertionError("the last attempt raises")

    def _attempted(self, attempt: Callable[[float], _Value], limit: float) -> _Value:
        if self._closing.is_set():
            raise StoreError(f"{self.where}: was closed: open it again")
        if not self._slots.acquire(timeout=limit):
            raise TimeoutError("all connections are in use")
        try:
            return attempt(limit)
        except Exception:
            if self._closing.is_set():
                # Of a connection that is closed under a reader anything may be missing.
                raise StoreError(f"{self.where}: was closed during a call") from None
            raise
        finally:
            self._slots.release()

    def _command(self, command: tuple[Any, ...], limit: float) -> Any:
        return self._driver.execute(command, limit)

    def _scripts(self, script: Script, tails: Sequence[tuple[Any, ...]], limit: float) -> list[Any]:
        commands = [("EVALSHA", script.digest, *tail) for tail in tails]
        answers = self._driver.execute_each(commands, limit)
        for place, answer in enumerate(answers):
            if isinstance(answer, errors.NoScriptError):
                answers[place] = self._script(script, tails[place], limit)
            elif isinstance(answer, Exception):
                raise answer
        return answers

    def _script(self, script: Script, tail: tuple[Any, ...], limit: float) -> Any:
        try:
            return self._command(("EVALSHA", script.digest, *tail), limit)
        except errors.NoScriptError:
            # The server is new, or somebody flushed its scripts. This brings the script as well.
            return self._command(("EVAL", script.text, *tail), limit)


class _RefusedError(StoreError):
    """Trying again would not help."""


def _pairs(answer: Any) -> dict[bytes, bytes]:
    if isinstance(answer, dict):
        return {_bytes(name): _bytes(value) for name, value in answer.items()}
    return dict(zip(answer[::2], answer[1::2], strict=True))


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _may_pass(error: Exception) -> bool:
    if isinstance(error, _LASTING) or _is_not_trusted(error):
        return False
    text = str(error)
    return isinstance(error, _PASSING) or text.startswith(_PASSING_CODES) or _SLOT_MOVES in text


def _is_not_trusted(error: BaseException) -> bool:
    """Whether it comes of a certificate that does not hold."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _advice(error: Exception) -> str:
    """What a person can do about an error. Redis's own text stays out: it may quote data."""
    text = str(error)
    kind = type(error).__name__
    if _is_not_trusted(error):
        return f"{_ADVICE['TLS']} ({kind})"
    if isinstance(error, errors.OutOfMemoryError):
        return f"{_ADVICE['OOM']} ({kind})"
    if isinstance(error, errors.NoPermissionError):
        return f"{_ADVICE['NOPERM']} ({kind})"
    if isinstance(error, _LASTING):
        return f"{_ADVICE['WRONGPASS']} ({kind})"
    code = re.match(r"[A-Z]*", text)
    word = code.group() if code else ""
    return f"{_ADVICE.get(word, 'Redis refused a call: look at its log')} ({word or kind})"
