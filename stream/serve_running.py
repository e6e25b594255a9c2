"""A home that runs: its parts in this process, or in processes of their own.

    taking files in    serve_taking.py, the only writer of the vault
    matching           this process
    publishing         serve_parts.py: ledger and release book
    delivering         serve_parts.py: the receivers' folders

The processes are forked from this one, which keeps the home's lock, looks after the time and ends
with the first of them that fails. What they hand to each other lies on disk.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import Now, iso, utc_now
from reassoc.stream.exits import say
from reassoc.stream.home import Home
from reassoc.stream.home_intake import needed_contents, open_intake
from reassoc.stream.processors import processor_count
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
    from reassoc.stream.serve_parts import HomeDelivering, HomePublishing

    opened = stack.enter_context(open_parts(home, now=now, on_failure=_telling(tell)))
    needed = partial(contents_in_use, opened.ledger, opened.state)
    parts = IntakeParts(home, opened.vault, opened.log, now, needed)
    taking = stack.enter_context(taking_here(parts, workers or processor_count(), Flag(), tell))
    return opened, Server(opened, taking, HomePublishing(opened), HomeDelivering(opened), say=tell)


def _server_of_processes(
    stack: ExitStack, home: Home, workers: int | None, tell: Tell, now: Now
) -> tuple[OpenHome, Server]:
    """A process for each part. The first one takes files in: it is at work while the modules of the
    others are still being loaded here."""
    stopping = Flag()
    taker = _taker(stack, home, workers, stopping, tell, now)

    # The others have the calendar then: to make it takes a while.
    federal_reserve_calendar()

    from reassoc.stream.open_home import open_parts
    from reassoc.stream.serve import Server
    from reassoc.stream.serve_parts import WorkerDelivering, WorkerPublishing

    publisher, deliverer = _publisher(stack, home, tell, now), _deliverer(stack, home, tell, now)
    opened = stack.enter_context(open_parts(home, now=now, when_vault_is_made=taker.open))
    publisher.begin()
    deliverer.begin()
    # They close what they have open side by side.
    for worker in (taker, publisher, deliverer):
        stack.callback(worker.end)
    return opened, Server(
        opened,
        WorkerTaking(taker, stopping),
        WorkerPublishing(publisher),
        WorkerDelivering(deliverer),
        say=tell,
    )


def _taker(
    stack: ExitStack, home: Home, workers: int | None, stopping: Flag, tell: Tell, now: Now
) -> Worker:
    """The process that takes files in, begun: the only one that writes the vault."""

    @contextmanager
    def make(told: Tell) -> Iterator[HomeTaking]:
        with open_intake(home, os.environ, now) as (vault, log):
            parts = IntakeParts(home, vault, log, now, lambda: needed_contents(home))
            with taking_here(parts, workers or _reader_count(), stopping, told) as made:
                yield made

    worker = _forked(stack, "taking files in", make, tell, TAKING_LANES)
    worker.begin()
    return worker


def _publisher(stack: ExitStack, home: Home, tell: Tell, now: Now) -> Worker:
    """The process that publishes; to be begun when the vault and the ledger are there."""
    from reassoc.stream.open_home import open_parts
    from reassoc.stream.serve_parts import HomePublishing

    @contextmanager
    def make(_: Tell) -> Iterator[HomePublishing]:
        with open_parts(home, now=now, when_vault_is_made=_is_made) as opened:
            yield HomePublishing(opened)

    return _forked(stack, "publishing", make, tell)


def _deliverer(stack: ExitStack, home: Home, tell: Tell, now: Now) -> Worker:
    """The process that delivers; as `_publisher`."""
    from reassoc.stream.open_home import open_parts
    from reassoc.stream.serve_parts import HomeDelivering

    @contextmanager
    def make(told: Tell) -> Iterator[HomeDelivering]:
        with open_parts(
            home, now=now, on_failure=_telling(told), when_vault_is_made=_is_made
        ) as opened:
            yield HomeDelivering(opened)

    return _forked(stack, "delivering", make, tell)


def _forked(stack: ExitStack, name: str, make: Make, tell: Tell, lanes: int = 1) -> Worker:
    worker = Worker(name, make, lanes=lanes, tell=tell)
    stack.callback(worker.close)
    return worker


def _is_made() -> None:
    """For those that are begun when it is."""


def _telling(tell: Tell) -> Callable[[Failure], None]:
    return lambda failure: tell(f"not delivered: {failure.name or 'a sink'}: {failure.text}")


def _reader_count() -> int:
    """Files that a process of its own reads at a time: the matchers want the other cores."""
    return max(processor_count() // 2, 1)


@contextmanager
def _stopping(server: Server) -> Iterator[None]:
    """SIGTERM and SIGINT end the server when it is done with what it has begun."""

    def stop(*_: object) -> None:
        # In a thread: this one may have been interrupted while it holds a lock that stopping needs.
        threading.Thread(target=server.stop).start()

    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        # Signals can be set in the main thread only.
        with suppress(ValueError):
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
