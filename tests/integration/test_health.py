"""The health server over real sockets: its answers, and that nobody can hold it up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from reassoc.stream import health
from reassoc.stream.health import (
    CONNECTIONS_MAX,
    NAMES_MAX,
    REQUEST_BYTES_MAX,
    HealthServer,
    serve,
)
from reassoc.stream.metrics import Metrics

Ask = Callable[[bytes], Awaitable[tuple[int, dict[str, str], bytes]]]
WAIT_SECONDS_MAX = 20.0


def run(talk: Callable[[HealthServer], Awaitable[None]], **checks: Any) -> None:
    """Serve on a free port while `talk` goes on."""

    async def both() -> None:
        metrics = Metrics()
        metrics.step()
        server = await serve(
            "127.0.0.1",
            0,
            alive=checks.get("alive", lambda: {"loop": True}),
            ready=checks.get("ready", lambda: {"assigned": True}),
            registry=metrics.registry,
        )
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await talk(server)
        finally:
            await server.close()

    asyncio.run(both())


async def ask(server: HealthServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        await writer.drain()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


async def get(server: HealthServer, path: str) -> tuple[int, dict[str, str], bytes]:
    return await ask(server, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def test_checks_are_told_and_one_that_is_not_well_is_503() -> None:
    state = {"assigned": True, "state": True, "not_held": True}

    async def talk(server: HealthServer) -> None:
        status, headers, body = await get(server, "/readyz")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body) == {"ok": True, "checks": state}
        state["not_held"] = False
        status, _, body = await get(server, "/readyz?verbose")
        assert (status, json.loads(body)) == (503, {"ok": False, "checks": state})
        assert (await get(server, "/healthz"))[0] == 200

    run(talk, ready=lambda: state)


def test_a_check_that_raises_is_not_well_and_its_value_shows_nowhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> Mapping[str, bool]:
        raise ValueError("Zq7canary")

    async def talk(server: HealthServer) -> None:
        status, _, body = await get(server, "/healthz")
        assert status == 503
        assert b"canary" not in body

    run(talk, alive=broken)
    written = capsys.readouterr().err
    assert "ValueError at test_health.py:" in written
    assert "canary" not in written


def test_metrics_are_what_prometheus_reads() -> None:
    async def talk(server: HealthServer) -> None:
        status, headers, body = await get(server, "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=")
        assert int(headers["Content-Length"]) == len(body)
        assert b"reassoc_steps_total 1.0\n" in body
        _, headers, body = await ask(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")
        assert (body, int(headers["Content-Length"]) > 1000) == (b"", True)
        _, _, body = await get(server, "/metrics?name[]=reassoc_steps_total&name[]=nothing")
        assert b"reassoc_steps_total 1.0\n" in body
        assert b"reassoc_items_total" not in body
        too_many = "&".join(["name[]=a"] * (NAMES_MAX + 1))
        assert (await get(server, f"/metrics?{too_many}"))[0] == 400

    run(talk)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nA: " + b"a" * (2 * REQUEST_BYTES_MAX), 431),
    ],
)
def test_other_requests_are_refused(request_bytes: bytes, status: int) -> None:
    async def talk(server: HealthServer) -> None:
        assert (await ask(server, request_bytes))[0] == status
        assert (await get(server, "/healthz"))[0] == 200

    run(talk)


def test_those_who_say_nothing_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS_MAX", 0.05)

    async def talk(server: HealthServer) -> None:
        assert (await ask(server, b"GET /healthz"))[0] == 408

    run(talk)


def test_connections_are_bounded_and_a_close_ends_them() -> None:
    async def talk(server: HealthServer) -> None:
        silent = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CONNECTIONS_MAX)
        ]
        while len(server._open) < CONNECTIONS_MAX:
            await asyncio.sleep(0.001)
        assert (await get(server, "/healthz"))[0] == 503
        silent.pop()[1].close()
        while len(server._open) >= CONNECTIONS_MAX:
            await asyncio.sleep(0.001)
        assert (await get(server, "/healthz"))[0] == 200
        await server.close()
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(talk)


def test_a_taken_port_is_an_error() -> None:
    async def talk(server: HealthServer) -> None:
        with pytest.raises(OSError, match="address"):
            await serve(
                "127.0.0.1", server.port, alive=dict, ready=dict, registry=Metrics().registry
            )

    run(talk)
