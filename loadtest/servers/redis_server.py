"""Redis on this machine: one server, or a cluster of some."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from reassoc.loadtest.servers.process import ServerError, ServerProcess, free_port

START_SECONDS_MAX = 30.0
CLUSTER_SECONDS_MAX = 30.0
"""For the nodes of a cluster to know each other."""
NODES_MAX = 16
SLOTS = 16384
_BUS_PORT = 10_000
"""What a node adds to its port for the other nodes."""
_PORT_MAX = 65_535 - _BUS_PORT
_PORT_TRIES_MAX = 1_000
_LOOK_SECONDS = 0.05


class RedisServer:
    """A redis-server in a folder, with the settings that the match state asks for.

    folder      : made where it is missing; the data stay there
    port        : 0 takes a free one, once
    appendfsync : "always", "everysec", or None for no file at all
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        appendfsync: str | None = "everysec",
        options: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._folder = folder
        self._options = (*_settings(appendfsync), *options)
        self._process = ServerProcess("redis", folder)

    @property
    def url(self) -> str:
        """Of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the running server. Raises ServerError."""
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until its data are loaded. Raises ServerError."""
        program = shutil.which("redis-server")
        if program is None:
            raise ServerError("redis-server is not installed: apt-get install redis-server")
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--daemonize", "no"]
        command += ["--dir", str(self._folder.resolve()), *self._options]
        self._process.start(command, self._is_ready, seconds=START_SECONDS_MAX)

    def stop(self) -> None:
        """End it as its keeper would. Twice does nothing."""
        self._process.stop()

    def kill(self) -> None:
        """End it at once. Twice does nothing."""
        self._process.kill()

    def restart(self) -> None:
        """Kill it and start it on the same data."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang: it takes what is sent and does not answer."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """The answer to a command of simple words. Raises ServerError."""
        return _ask(self.port, *words)

    def _is_ready(self) -> bool:
        try:
            return self.ask("PING") == "PONG"
        except ServerError:
            return False


class RedisCluster:
    """Primaries without replicas, which share the slots.

    certificate : files of a certificate and of its key, by which the nodes speak TLS among each
        other and to whoever uses `url`
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        *,
        appendfsync: str | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        if not 1 <= nodes <= NODES_MAX:
            raise ServerError(f"a cluster has 1 to NODES_MAX ({NODES_MAX}) nodes")
        options = (
            "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no",
            "--cluster-node-timeout", "5000",
        )  # fmt: skip
        self._certificate = certificate
        # Where a node is met: with TLS that is another port than the plain one, which `ask` uses.
        self._ports = [_bus_free_port() for _ in range(nodes)]
        self.nodes = [
            RedisServer(
                folder / f"node{n}",
                0 if certificate else port,
                appendfsync=appendfsync,
                options=(*options, *(_tls_settings(port, *certificate) if certificate else ())),
            )
            for n, port in enumerate(self._ports)
        ]

    @property
    def url(self) -> str:
        """Of the cluster, as `redis_client` reads it."""
        nodes = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        if self._certificate is None:
            return f"redis+cluster://{nodes}"
        return f"rediss+cluster://{nodes}/?ssl_ca_certs={self._certificate[0]}"

    @property
    def urls(self) -> list[str]:
        """Of each node."""
        return [node.url for node in self.nodes]

    def start(self) -> None:
        """Start the nodes, give each its share of the slots where they are new, and wait until all
        know it. Raises ServerError."""
        try:
            for node in self.nodes:
                node.start()
            if "cluster_slots_assigned:0" in self.nodes[0].ask("CLUSTER", "INFO"):
                self._introduce()
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.stop()

    def kill(self, node: int) -> None:
        """End one node at once."""
        self.nodes[node].kill()

    def _introduce(self) -> None:
        bounds = [SLOTS * n // len(self.nodes) for n in range(len(self.nodes) + 1)]
        for number, node in enumerate(self.nodes):
            first, last = bounds[number], bounds[number + 1] - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", str(self._ports[0]))

    def _wait(self) -> None:
        end = time.monotonic() + CLUSTER_SECONDS_MAX
        while not all(self._is_whole(node) for node in self.nodes):
            if time.monotonic() > end:
                raise ServerError(f"the Redis nodes did not meet within {CLUSTER_SECONDS_MAX} s")
            time.sleep(_LOOK_SECONDS)

    def _is_whole(self, node: RedisServer) -> bool:
        lines = node.ask("CLUSTER", "INFO").splitlines()
        wanted = {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}"}
        return wanted <= set(lines) and f"cluster_known_nodes:{len(self.nodes)}" in lines


def _settings(appendfsync: str | None) -> tuple[str, ...]:
    durable = ["--appendonly", "no"]
    if appendfsync is not None:
        durable = ["--appendonly", "yes", "--appendfsync", appendfsync]
    return (
        *durable, "--save", "", "--maxmemory-policy", "noeviction",
        "--hash-max-listpack-value", "512", "--hash-max-listpack-entries", "128",
    )  # fmt: skip


def _tls_settings(port: int, certificate: Path, key: Path) -> tuple[str, ...]:
    return (
        "--tls-port", str(port), "--tls-cluster", "yes", "--tls-auth-clients", "no",
        "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(certificate),
    )  # fmt: skip


def _bus_free_port() -> int:
    """A free port whose bus port is free as well, and not above the last port."""
    for _ in range(_PORT_TRIES_MAX):
        port = free_port()
        if port <= _PORT_MAX and _is_free(port + _BUS_PORT):
            return port
    raise ServerError(f"no free pair of ports in {_PORT_TRIES_MAX} tries")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _ask(port: int, *words: str) -> str:
    """One inline command: the words of its answer. Raises ServerError."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\nQUIT\r\n")
            with connection.makefile("rb") as reply:
                data = reply.read()
    except OSError as error:
        raise ServerError(f"Redis on port {port} does not answer: see that it runs") from error
    if data.startswith(b"-"):
        raise ServerError(f"Redis on port {port} refused {words[0]}: {data[1:80]!r}")
    if data.startswith(b"$"):
        length, _, rest = data[1:].partition(b"\r\n")
        return rest[: max(int(length), 0)].decode()
    return data[1:].partition(b"\r\n")[0].decode()
