"""`reassoc worker` and `reassoc rebuild`: a warehouse on many machines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from reassoc.core.errors import DirectoryError, LayoutError, PolicyError, ReassocError
from reassoc.stream.clock import ClockError, Now, parse_as_of, utc_now
from reassoc.stream.config import Config, ConfigError, check_paths, load_config
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, os_error_text, say

if TYPE_CHECKING:
    from reassoc.stream.worker_parts import WorkerParts

CLOCK_VARIABLE = "REASSOC_CLOCK_FILE"
"""A file with the moment that a worker takes for now: for rehearsals on old feeds. Never where real
money is."""

WORKER_HELP = (
    "Run a worker: take raw messages, match, publish to the ledger and deliver, with as many other "
    "workers as run with the same kafka.prefix.\n\n"
    "Everything it needs to know stands in one TOML file and in environment variables: see "
    "`reassoc config check`. It ends on SIGTERM when what is in flight is done, at most "
    "worker.stop_seconds later; it may as well be killed.\n\n"
    "Exit code 0: ended as asked. 1: it failed: start it again. 2: a wrong configuration."
)
REBUILD_HELP = (
    "Let the workers rebuild match state that was lost (an empty Redis, a node without its data): "
    "they refuse to go on by themselves, since a state that is not there looks like a new one.\n\n"
    "Tenants that are missing begin anew, and the workers read the item log from its beginning; "
    "the ledger knows what it has, so nothing is released twice. Without --yes it only tells what "
    "is missing.\n\n"
    "Exit code 0: nothing is missing, or it was begun. 1: something is missing (without --yes), or "
    "a store does not answer. 2: a wrong configuration."
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.toml", help="The configuration, see `config check`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def worker_command(config: ConfigOption = None) -> None:
    """`reassoc worker`."""
    try:
        loaded = load_config(config)
    except ConfigError as error:
        fail(str(error), EXIT_USAGE)
    if problems := check_paths(loaded):
        fail("\n".join(problems), EXIT_USAGE)
    with reporting():
        run_worker(loaded.config)


def rebuild_command(
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Begin missing tenants anew.")] = False,
    as_json: JsonOption = False,
) -> None:
    """`reassoc rebuild`."""
    from reassoc.stream.rebuild import begin_anew, missing_tenants

    loaded = loaded_config(config)
    with reporting(), opened_parts(loaded) as parts:
        missing = missing_tenants(parts.state, parts.parts)
        begun = begin_anew(parts.state, missing) if yes else 0
    if as_json:
        told = {"missing": sum(map(len, missing.values())), "begun": begun}
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    elif not missing:
        typer.echo("The match state knows every tenant that it knew: nothing to rebuild.")
    elif yes:
        typer.echo(
            f"{begun} tenants and partitions begin anew. The workers rebuild them now: "
            "`reassoc status` shows how far they are."
        )
    else:
        typer.echo(
            f"The match state has lost {sum(map(len, missing.values()))} tenants and partitions. "
            "If its data cannot be brought back, run this again with --yes."
        )
    if missing and not yes:
        raise typer.Exit(EXIT_UNREADABLE)


def run_worker(config: Config) -> None:
    """Run a worker until SIGTERM or SIGINT. Raises what it raises."""
    import uvloop

    from reassoc.stream import allocator, logs
    from reassoc.stream.metrics import Metrics
    from reassoc.stream.worker_watch import WorkerWatch

    allocator.bound_arenas()
    logs.configure(config.log.level, config.log.format, tenants=config.log.tenants)
    logs.catch_the_uncaught()
    from reassoc.stream.stream_worker import Gauges, StreamWorker

    gauges = Gauges()
    metrics = Metrics(open_items=lambda: gauges.open_items, lags=lambda: gauges.lags)
    watch = WorkerWatch(metrics)

    async def run() -> None:
        from reassoc.stream.worker_parts import open_worker_parts

        opening = open_worker_parts(config, now=clock(), on_failure=watch.not_delivered)
        parts = await asyncio.to_thread(opening.__enter__)
        try:
            worker = StreamWorker(parts, metrics, gauges, watch)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, worker.stop)
            say(f"worker {os.getpid()} runs; stop it with SIGTERM")
            await worker.run()
        finally:
            await asyncio.to_thread(opening.__exit__, None, None, None)

    # For the loop that Faust makes in a thread of its own as well.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(run())


def clock() -> Now:
    """The machine's, or the one of a file that is read each time."""
    path = os.environ.get(CLOCK_VARIABLE)
    if not path:
        return utc_now

    def read() -> datetime:
        return parse_as_of(Path(path).read_text().strip()).astimezone(UTC)

    return read


@contextmanager
def opened_parts(config: Config) -> Iterator[WorkerParts]:
    """The parts of a stream, for a command."""
    from reassoc.stream.worker_parts import open_worker_parts

    with open_worker_parts(config, now=clock()) as parts:
        yield parts


def loaded_config(path: Path | None) -> Config:
    """The configuration of a file and the environment; ends the command where it is wrong."""
    try:
        return load_config(path).config
    except ConfigError as error:
        fail(str(error), EXIT_USAGE)


@contextmanager
def reporting() -> Iterator[None]:
    """Ends a command with the message and the code of what goes wrong in a stream."""
    try:
        yield
    except (ConfigError, PolicyError, DirectoryError, LayoutError, ClockError) as error:
        fail(str(error), EXIT_USAGE)
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)
    except BrokenPipeError:
        raise  # nobody reads on: `main` ends quietly
    except OSError as error:
        fail(os_error_text(error), EXIT_UNREADABLE)
