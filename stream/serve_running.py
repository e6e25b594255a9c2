"""A home that runs: its parts in this process, or in processes of their own.

    taking files in    its own vault writer, log                 (serve_taking.py)
    matching           this process, and more, with some tenants each
    publishing         ledger and release book                    (serve_parts.py)
    delivering         the receivers' folders

The processes are forked from this one, which keeps the home's lock, looks after the time and ends
with the first of them that fails. What they hand to each other lies on disk.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from reassoc.stream.clock import Now, iso, utc_now
from reassoc.stream.exits import say
from reassoc.stream.home import Home, Settings, read_settings
from reassoc.stream.home_intake import needed_contents, open_intake
from reassoc.stream.serve_taking import (
    TAKING_LANES,
    HomeTaking,
    IntakeParts,
    WorkerTaking,
    taking_here,
)
from reassoc.stream.worker import Flag, Make, Tell, Worker

if TYPE_CHECKING:
    from reassoc.stream.open_home import OpenHome
    from reassoc.stream.releaser import Failure
    from reassoc.stream.serve import Server
    from reassoc.stream.serve_parts import HomeDelivering, HomeMatching, HomePublishing

MATCHERS_MAX = 4
"""Processes that match, each some tenants: one more than there are cores, since each of them waits
for the disk at times."""
SWITCH_SECONDS = 1e-4
"""How long a thread may hold Python's lock while another wants it: with the usual 5 ms, a thread
that comes back from each of thousands of short calls of SQLite waits that long each time."""
GC_OBJECTS = 50_000
"""Objects that are made between two looks for unused cycles: rows come and go by the ten thousand,
none of them in a cycle."""


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
        opened, server = make(stack, home, workers, tell, now)
        stack.enter_context(_stopping(server))
        yield opened, server


def _server_here(
    stack: ExitStack, home: Home, workers: int | None, tell: Tell, now: Now
) -> tuple[OpenHome, Server]:
    """Everything in this process."""
    from reassoc.stream.open_home import contents_in_use, open_parts
    from reassoc.stream.serve import Server
    from reassoc.stream.serve_parts import HomeDelivering, HomeMatching, HomePublishing

    opened = stack.enter_context(open_parts(home, now=now, on_failure=_telling(tell)))
    parts = IntakeParts(home, opened.vault, opened.log, now, lambda: contents_in_use(opened.ledger))
    taking = stack.enter_context(taking_here(parts, workers or _cpu_count(), Flag(), tell))
    matching, publishing = HomeMatching(opened), HomePublishing(opened)
    delivering = HomeDelivering(opened)
    return opened, Server(opened, taking, [matching], publishing, delivering, say=tell)


def _server_of_processes(
    stack: ExitStack, home: Home, workers: int | None, tell: Tell, now: Now
) -> tuple[OpenHome, Server]:
    """A process for each part. The first one takes files in, and is forked before the others have
    even been loaded."""
    # All of them have the directory then: to read a large one takes a while.
    settings = read_settings(home)
    stopping = Flag()
    taker = _taker(stack, home, workers, stopping, tell, now)

    from reassoc.stream.open_home import open_parts
    from reassoc.stream.serve import Server
    from reassoc.stream.serve_parts import (
        HomeMatching,
        WorkerDelivering,
        WorkerMatching,
        WorkerPublishing,
    )

    def forked(name: str, make: Make) -> Worker:
        worker = Worker(name, make, lanes=1, tell=tell)
        stack.callback(worker.close)
        return worker

    matching, publishing, delivering = _makers(home, now)
    publisher, deliverer = forked("publishing", publishing), forked("delivering", delivering)
    matchers = [forked("matching", matching) for _ in range(_matcher_count(settings) - 1)]
    opened = stack.enter_context(open_parts(home, now=now, is_vault_made=taker.open))
    others = [publisher, deliverer, *matchers]
    for worker in others:
        worker.begin()
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


def _taker(
    stack: ExitStack, home: Home, workers: int | None, stopping: Flag, tell: Tell, now: Now
) -> Worker:
    """The process that takes files in, begun."""

    @contextmanager
    def taking(told: Tell) -> Iterator[HomeTaking]:
        with open_intake(home, os.environ, now) as (vault, log):
            parts = IntakeParts(home, vault, log, now, lambda: needed_contents(home))
            with taking_here(parts, workers or _reader_count(), stopping, told) as made:
                yield made

    worker = Worker("taking files in", taking, lanes=TAKING_LANES, tell=tell)
    stack.callback(worker.close)
    worker.begin()
    return worker


def _makers(home: Home, now: Now) -> tuple[Make, Make, Make]:
    """What makes the parts for matching, publishing and delivering."""
    from reassoc.stream.open_home import open_parts
    from reassoc.stream.serve_parts import HomeDelivering, HomeMatching, HomePublishing

    def is_made() -> None:
        """They are begun when the vault is there."""

    @contextmanager
    def matching(_: Tell) -> Iterator[HomeMatching]:
        with open_parts(home, now=now, is_vault_made=is_made) as opened:
            yield HomeMatching(opened)

    @contextmanager
    def publishing(_: Tell) -> Iterator[HomePublishing]:
        with open_parts(home, now=now, is_vault_made=is_made) as opened:
            yield HomePublishing(opened)

    @contextmanager
    def delivering(told: Tell) -> Iterator[HomeDelivering]:
        with open_parts(home, now=now, on_failure=_telling(told), is_vault_made=is_made) as opened:
            yield HomeDelivering(opened)

    return matching, publishing, delivering


def _telling(tell: Tell) -> Callable[[Failure], None]:
    return lambda failure: tell(f"not delivered: {failure.name or 'a sink'}: {failure.text}")


def _matcher_count(settings: Settings) -> int:
    """Matchers that the home can use: of a directory's tenants and the quarantine."""
    directory = settings.directory
    tenants = 1 if directory is None else len(directory.tenants) + 1
    return min(_cpu_count() + 1, tenants, MATCHERS_MAX)


def _reader_count() -> int:
    """Files that a process of its own reads at a time: beside the matchers, half of the cores."""
    return max(_cpu_count() // 2, 1)


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


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
