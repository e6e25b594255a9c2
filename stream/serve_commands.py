"""`reassoc serve`: a warehouse in a folder."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from reassoc.core.errors import DirectoryError, LayoutError, PolicyError, ReassocError
from reassoc.stream.clock import ClockError, parse_as_of
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, os_error_text, say
from reassoc.stream.home import Home, HomeError
from reassoc.stream.outputs import OutputError
from reassoc.stream.serve_running import running
from reassoc.stream.worker import can_fork

if TYPE_CHECKING:
    from reassoc.stream.open_home import OpenHome
    from reassoc.stream.serve import Served

WORKERS_MAX = 64
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
            show_default="one for two cores",
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
    # The process ends: to look through all of its objects once more for cycles takes 0.15 s.
    gc.freeze()
    if drain and served.undelivered_count:
        raise typer.Exit(EXIT_UNREADABLE)


def _announce(home: Home, drain: bool) -> None:
    if not drain:
        say(f"serving {home.path}: put files into {home.inbox}; stop with Ctrl-C or SIGTERM")


def _show(opened: OpenHome, served: Served, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(served), indent=2) + b"\n")
    else:
        from reassoc.stream.serve_view import show_served

        show_served(Console(), opened, served)


@contextmanager
def reporting(home: Path | None) -> Iterator[None]:
    """Ends a command with the message and the code of what goes wrong in a warehouse."""
    try:
        yield
    except (HomeError, PolicyError, DirectoryError, LayoutError, ClockError) as error:
        fail(str(error), EXIT_USAGE)
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)
    except BrokenPipeError:
        raise  # nobody reads on: `main` ends quietly
    except OSError as error:
        fail(os_error_text(error, str(home or "")), EXIT_UNREADABLE)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_as_of(text)
    except ClockError as error:
        fail(f"--as-of {text}: {error}", EXIT_USAGE)


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
