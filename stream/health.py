"""What a worker tells of itself over HTTP: that it lives, whether it may be given work, what it
counts. For probes and Prometheus, not for people: no TLS and no users, so bind it to a network
that only they reach.

    GET /healthz    200, or 503 where the process must be started again
    GET /readyz     200, or 503 while it cannot do its work; both with the checks as JSON
    GET /metrics    the exposition for Prometheus; some of it by ?name[]=METRIC
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from reassoc.stream.logs import get_logger

_log = get_logger()

REQUEST_BYTES_MAX = 8192
"""Of the request line and the headers; no request has a body."""
REQUEST_SECONDS_MAX = 5.0
"""For a request to come, and again for its answer to go."""
NAMES_MAX = 64
"""Metrics that one request names."""
CONNECTIONS_MAX = 32
CLOSE_SECONDS_MAX = 1.0
LINGER_READS_MAX = 16
"""Pieces of a request that nobody wants which are read before the connection is closed."""

Checks = Callable[[], Mapping[str, bool]]
"""Names of checks and whether each is well. Called in the server's loop: it must answer at once,
from what others have found out. One that raises counts as not well."""

_TEXTS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_PLAIN = "text/plain; charset=utf-8"


class Report(msgspec.Struct, frozen=True):
    """What /healthz and /readyz answer."""

    ok: bool
    checks: dict[str, bool]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    kind: str = _PLAIN

    def encode(self, *, with_body: bool) -> bytes:
        text = _TEXTS[self.status]
        body = self.body or f"{text}\n".encode()
        head = (
            f"HTTP/1.1 {self.status} {text}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        if self.status == 405:
            head += "Allow: GET, HEAD\r\n"
        return head.encode() + b"\r\n" + (body if with_body else b"")


class HealthServer:
    """A server that runs, made by `serve`. Each connection has one request."""

    def __init__(self, alive: Checks, ready: Checks, registry: CollectorRegistry) -> None:
        self._pages: dict[str, Callable[[list[str]], _Answer]] = {
            "/healthz": lambda _: _checked(alive),
            "/readyz": lambda _: _checked(ready),
            "/metrics": lambda names: _metrics(registry, names),
        }
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=REQUEST_BYTES_MAX, backlog=CONNECTIONS_MAX
        )

    @property
    def port(self) -> int:
        """The port that it listens on; the one that was found free where 0 was asked for."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(self._open, timeout=CLOSE_SECONDS_MAX)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        is_one_too_many = len(self._open) >= CONNECTIONS_MAX
        self._open[task] = writer
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                refusal = _Answer(503).encode(with_body=True)
                answer = refusal if is_one_too_many else await self._answer(reader)
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    writer.write(answer)
                    await writer.drain()
                    await _until_it_is_read(reader, writer)
        finally:
            del self._open[task]
            writer.close()
            # What the other side does not take is dropped: nobody waits for it.
            with suppress(OSError):
                await asyncio.wait_for(writer.wait_closed(), CLOSE_SECONDS_MAX)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _Answer(408).encode(with_body=True)
        except asyncio.LimitOverrunError:
            return _Answer(431).encode(with_body=True)
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        target, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            return _Answer(400).encode(with_body=True)
        if method not in (b"GET", b"HEAD"):
            return _Answer(405).encode(with_body=True)
        path, _, query = target.decode("latin-1").partition("?")
        try:
            names = _names_of(query)
        except ValueError:
            return _Answer(400).encode(with_body=True)
        page = self._pages.get(path)
        answer = _Answer(404) if page is None else _made(lambda: page(names))
        return answer.encode(with_body=method == b"GET")


async def _until_it_is_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the other side take the answer: a close with bytes unread would throw it away."""
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            for _ in range(LINGER_READS_MAX):
                if not await reader.read(REQUEST_BYTES_MAX):
                    return


def _names_of(query: str) -> list[str]:
    """The metrics that are asked for by `name[]`, as Prometheus' own clients take it; none for all.
    Raises ValueError above NAMES_MAX.
    """
    return parse_qs(query, max_num_fields=NAMES_MAX).get("name[]", [])


def _metrics(registry: CollectorRegistry, names: list[str]) -> _Answer:
    wanted = registry.restricted_registry(names) if names else registry
    return _Answer(200, generate_latest(wanted), CONTENT_TYPE_LATEST)


def _made(page: Callable[[], _Answer]) -> _Answer:
    """A page, whatever its makers do: a probe must get an answer."""
    try:
        return page()
    except Exception:
        _log.exception("a page for probes could not be made")
        return _Answer(503)


def _checked(checks: Checks) -> _Answer:
    try:
        found = {name: bool(is_well) for name, is_well in checks().items()}
    except Exception:
        _log.exception("a check could not be made")
        found = {"checks": False}
    report = Report(all(found.values()), found)
    status = 200 if report.ok else 503
    return _Answer(status, msgspec.json.encode(report) + b"\n", "application/json")


async def serve(
    host: str, port: int, *, alive: Checks, ready: Checks, registry: CollectorRegistry
) -> HealthServer:
    """Serve in the running loop until `close`.

    alive : what a restart would mend (threads that died, a loop that hangs)
    ready : what must hold before work makes sense (assigned, state reachable, not held)
    port : 0 for one that is free

    Raises OSError where the port cannot be had.
    """
    server = HealthServer(alive, ready, registry)
    await server.start(host, port)
    return server
