"""Brings the servers that tests and `make stack` need, where they are missing and can be had.

    python -m reassoc.loadtest.servers.install

Redis, PostgreSQL, Java and Maven come from Debian's packages (as root), Kafka's jars from Maven
Central. What cannot be had is told; tests that need it are skipped then, and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from reassoc.loadtest.servers.kafka_server import have_jars
from reassoc.loadtest.servers.process import ServerError

INSTALL_SECONDS_MAX = 600


@dataclass(frozen=True, slots=True)
class Need:
    """A program, and the Debian package that has it."""

    name: str
    package: str
    is_there: Callable[[], bool]


def _has_postgres() -> bool:
    return shutil.which("initdb") is not None or any(
        Path("/usr/lib/postgresql").glob("*/bin/initdb")
    )


NEEDS = (
    Need("Redis", "redis-server", lambda: shutil.which("redis-server") is not None),
    Need("PostgreSQL", "postgresql", _has_postgres),
    Need("Java", "openjdk-17-jre-headless", lambda: shutil.which("java") is not None),
    Need("Maven", "maven", lambda: shutil.which("mvn") is not None),
)


def install() -> list[str]:
    """Install what is missing; what could not be had, in plain words."""
    missing = [need for need in NEEDS if not need.is_there()]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt("update", "-q")
        _apt("install", "-q", "-y", "--no-install-recommends", *(need.package for need in missing))
    told = [
        f"{need.name} is missing: apt-get install {need.package}"
        for need in missing
        if not need.is_there()
    ]
    try:
        have_jars()
    except ServerError as error:
        told.append(str(error))
    return told


def _apt(*arguments: str) -> None:
    """Run apt-get; what it could not do shows in what is still missing."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            ["apt-get", *arguments],
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=INSTALL_SECONDS_MAX,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        typer.echo(f"apt-get {arguments[0]}: {type(error).__name__}", err=True)


def main() -> None:
    """Install, and tell what could not be had. Never fails: what is missing is skipped."""
    for line in install():
        typer.echo(f"{line} (tests that need it are skipped)", err=True)


if __name__ == "__main__":
    main()
