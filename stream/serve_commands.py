"""`reassoc serve`: a warehouse in a folder."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from reassoc.core.errors import DirectoryError, LayoutError, PolicyError, ReassocError
from reassoc.stream.clock import ClockError, parse_as_of
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say
from reassoc.stream.home import Home, HomeError, read_settings
from reassoc.stream.open_home import Now, OpenHome, iso, open_parts, utc_now
from reassoc.stream.outputs import OutputError
from reassoc.stream.releaser import Failure
from reassoc.stream.serve import Served, Server
from reassoc.stream.serve_parts import (
    TAKING_LANES,
    HomeDelivering,
    HomeMatching,
    HomePublishing,
    HomeTaking,
    WorkerDelivering,
    WorkerMatching,
    WorkerPublishing,
    WorkerTaking,
    taking_here,
)
from reassoc.stream.serve_view import show_served
from reassoc.stream.worker import Flag, Make, Tell, Worker, can_fork

WORKERS_MAX = 64
MATCHERS_MAX = 4
"""Processes that match, each some tenants: one more than there are cores, since each of them waits
for the disk at times."""
SWITCH_SECONDS = 1e-4
"""How long a thread may hold Python's lock while another wants it: with the usual 5 ms, a thread
that comes back from each of thousands of short calls of SQLite waits that long each time."""
GC_OBJECTS = 50_000
"""Objects that are made between two looks for unused cycles: rows come and go by the ten thousand,
none of them in a cycle."""

SERVE_HELP = (
    "Run a warehouse in a folder: take files from DIR/in, hold 835s until their money is there, "
    "release them to DIR/released/RECEIVER.\n\n"
    "A file counts as complete when it has not changed for five seconds (names that begin with a "
    "point or end in .part or .tmp are still being written). What was taken moves to DIR/done, "
    "what cannot be read to DIR/refused with the reason beside it. DIR is made where it is not "
    "there; DIR/policy.toml, DIR/warehouse.toml, DIR/directory.toml and DIR/layouts/*.toml are its "
    "settings. Everything else lies in DIR/data; the key of the vault in DIR/vault.key (keep a "
    "copy elsewhere), or in REASSOC_VAULT_KEY.\n\n"
    "In a restored home nothing is delivered until `reassoc resume` lets releases go on.\n\n"
    "Exit code 0: ended as asked. 1: it failed, or with --drain a release could not be delivered. "
    "2: wrong usage, or another process works in DIR."
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The warehouse's folder.")
]


def serve_command(
    home: HomeOption = None,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain", help="Take what is there, decide and release what may be, and end."
        ),
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="DATETIME",
            help="Log openings and closes of banking days up to this moment instead of the wall "
            "clock's: 2026-03-31 (its end), 2026-03-31T12:00 (New York), or with an offset.",
        ),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Show a small made-up week: held, matched, released; and end."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=WORKERS_MAX,
            help="Files that are read at a time.",
            show_default="one for each core",
        ),
    ] = None,
    pace: Annotated[
        float | None, typer.Option(min=0, max=60, hidden=True, help="Seconds of a demo's scene.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --drain: print what was done as JSON.")
    ] = False,
) -> None:
    """`reassoc serve`."""
    until = _moment(as_of)
    if as_json and not drain:
        fail("--json goes with --drain", EXIT_USAGE)
    if demo:
        if drain or until is not None:
            fail("--demo has a clock of its own: give it without --drain and --as-of", EXIT_USAGE)
        _demo(home, workers, pace)
        return
    if home is None:
        fail("give --home DIR, the warehouse's folder (or --demo for a made-up one)", EXIT_USAGE)
    with reporting(home):
        place = Home.create_or_open(home)
        with running(place, "reassoc serve", workers, in_processes=can_fork()) as (opened, server):
            _announce(place, drain)
            served = server.drain(until) if drain else server.run(until)
            _show(opened, served, as_json=as_json)
    if drain and served.undelivered_count:
        raise typer.Exit(EXIT_UNREADABLE)


def _announce(home: Home, drain: bool) -> None:
    if not drain:
        say(f"serving {home.path}: put files into {home.inbox}; stop with Ctrl-C or SIGTERM")


def _show(opened: OpenHome, served: Served, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(served), indent=2) + b"\n")
    else:
        show_served(Console(), opened, served)


@contextmanager
def running(
    home: Home,
    what: str,
    workers: int | None,
    tell: Tell = say,
    *,
    now: Now = utc_now,
    in_processes: bool = False,
) -> Iterator[tuple[OpenHome, Server]]:
    """A home that is open, and a server for it that signals stop.

    in_processes : taking files in, publishing and delivering have a process each, beside the
        matchers in this one; else all is done here. Not where threads are at work already.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)
    with ExitStack() as stack:
        stack.enter_context(home.lock(what, iso(now())))
        make = _server_of_processes if in_processes else _server_here
        opened, server = make(stack, home, workers or _cpu_count(), tell, now)
        stack.enter_context(_stopping(server))
        yield opened, server


def _server_here(
    stack: ExitStack, home: Home, workers: int, tell: Tell, now: Now
) -> tuple[OpenHome, Server]:
    """Everything in this process."""
    opened = stack.enter_context(open_parts(home, now=now, on_failure=_telling(tell)))
    taking = stack.enter_context(taking_here(opened, workers, Flag(), tell))
    return opened, Server(
        opened,
        taking,
        [HomeMatching(opened)],
        HomePublishing(opened),
        HomeDelivering(opened),
        say=tell,
    )


def _server_of_processes(
    stack: ExitStack, home: Home, workers: int, tell: Tell, now: Now
) -> tuple[OpenHome, Server]:
    """A process for each part. The first one to open the home is the one that may make a vault."""
    stopping = Flag()

    @contextmanager
    def taking(told: Tell) -> Iterator[HomeTaking]:
        with (
            open_parts(home, now=now) as opened,
            taking_here(opened, workers, stopping, told) as made,
        ):
            yield made

    @contextmanager
    def matching(_: Tell) -> Iterator[HomeMatching]:
        with open_parts(home, now=now, reads_vault_only=True) as opened:
            yield HomeMatching(opened)

    @contextmanager
    def publishing(_: Tell) -> Iterator[HomePublishing]:
        with open_parts(home, now=now, reads_vault_only=True) as opened:
            yield HomePublishing(opened)

    @contextmanager
    def delivering(told: Tell) -> Iterator[HomeDelivering]:
        with open_parts(
            home, now=now, on_failure=_telling(told), reads_vault_only=True
        ) as opened:
            yield HomeDelivering(opened)

    def forked(name: str, make: Make, lanes: int = 1) -> Worker:
        worker = Worker(name, make, lanes=lanes, tell=tell)
        stack.callback(worker.close)
        return worker

    taker = forked("taking files in", taking, TAKING_LANES)
    publisher = forked("publishing", publishing)
    deliverer = forked("delivering", delivering)
    matchers = [forked("matching", matching) for _ in range(_matcher_count(home) - 1)]
    taker.open()
    others = [publisher, deliverer, *matchers]
    for worker in others:
        worker.begin()
    opened = stack.enter_context(open_parts(home, now=now, reads_vault_only=True))
    for worker in others:
        worker.open()
    return opened, Server(
        opened,
        WorkerTaking(taker, stopping),
        [HomeMatching(opened), *map(WorkerMatching, matchers)],
        WorkerPublishing(publisher),
        WorkerDelivering(deliverer),
        say=tell,
    )


def _matcher_count(home: Home) -> int:
    """Matchers that the home can use. The directory is read here, before there are other processes:
    all of them have it then."""
    directory = read_settings(home).directory
    tenants = 1 if directory is None else len(directory.tenants) + 1
    return min(_cpu_count() + 1, tenants, MATCHERS_MAX)


def _telling(tell: Tell) -> Callable[[Failure], None]:
    return lambda failure: tell(f"not delivered: {failure.name or 'a sink'}: {failure.text}")


@contextmanager
def _stopping(server: Server) -> Iterator[None]:
    """SIGTERM and SIGINT end the server when it is done with what it has begun."""
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        # Signals can be set in the main thread only.
        with suppress(ValueError):
            before[number] = signal.signal(number, lambda *_: server.stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reporting(home: Path) -> Iterator[None]:
    """Ends a command with the message and the code of what goes wrong in a home."""
    try:
        yield
    except (HomeError, PolicyError, DirectoryError, LayoutError, ClockError) as error:
        fail(str(error), EXIT_USAGE)
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)
    except OSError as error:
        fail(f"{error.filename or home}: {error.strerror}", EXIT_UNREADABLE)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_as_of(text)
    except ClockError as error:
        fail(f"--as-of {text}: {error}", EXIT_USAGE)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _demo(home: Path | None, workers: int | None, pace_seconds: float | None) -> None:
    from reassoc.stream.demo import PACE_SECONDS, run_demo

    pace = PACE_SECONDS if pace_seconds is None else pace_seconds
    with reporting(home or Path("demo")):
        try:
            run_demo(Console(highlight=False), home, workers, pace_seconds=pace)
        except OutputError as error:
            fail(str(error), EXIT_USAGE)
        except KeyboardInterrupt:
            say("the demo was stopped")
