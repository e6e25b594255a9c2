"""`reassoc feed`: files into the raw topics of a stream."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_gzip, has_lz4, has_zstd
from aiokafka.errors import KafkaError
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from reassoc.core.errors import LayoutError, ReassocError
from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.config import Config, ConfigError, Kafka, load_config
from reassoc.stream.contents import close_archives
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say, tell
from reassoc.stream.feed import PROBLEMS_MAX, Fed, Feeder
from reassoc.stream.feed_journal import FeedJournal
from reassoc.stream.inbox import Inbox, InboxError, Ready
from reassoc.stream.layouts import load_layout
from reassoc.stream.message import MESSAGE_BYTES_MAX
from reassoc.stream.sources import Discovery, SourceError, discover
from reassoc.stream.topics import TopicError, client_settings, cluster_id
from reassoc.stream.vault_keys import open_key_ring
from reassoc.stream.worker_vault import WorkerVaults, vaults_are_written

FEED_VAULT = "feed"
"""The feeder's vault, beside those of the workers."""
LINGER_MS = 5
BATCH_BYTES = 1 << 20
LOOK_SECONDS = 1.0
"""Between two looks at a folder that is watched."""
PROBLEMS_SHOWN_MAX = 20
COMPRESSIONS = {"none": lambda: True, "gzip": has_gzip, "lz4": has_lz4, "zstd": has_zstd}
"""And whether what they need is installed."""
JOURNAL_NAME = "feed.journal"

FEED_HELP = (
    "Send files to the workers: 835s and ACH files in parts, bank reports and lockbox lists whole; "
    "gzip and zip are unpacked.\n\n"
    "A journal (--journal) knows what was sent: a feeder that was stopped goes on where it was, "
    "and a content is sent once, whatever its file is called (--again sends it anyhow, which "
    "changes nothing). With --watch DIR files of DIR/in are sent when they are complete, and moved "
    "to DIR/done, or to DIR/refused with the reason beside them. A bad file is told, and the "
    "others are sent.\n\n"
    "Exit code 0: all was sent, now or before; with --watch, ended as asked. 1: a file was not, or "
    "Kafka failed. 2: wrong usage."
)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done. watched : None where paths are fed"""

    found: Discovery
    watched: Inbox | None
    again: bool
    show: Callable[[Fed], None]


def feed_command(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Files and folders to send.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Brokers to begin with.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The workers' configuration.")
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Send what comes into DIR/in, until stopped.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Of the topics' names.")] = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What was sent.", show_default=f"DIR/{JOURNAL_NAME}"),
    ] = None,
    layout: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Layout of a lockbox list.")
    ] = None,
    compression: Annotated[
        str, typer.Option(help="Of messages: none, gzip, lz4 or zstd.")
    ] = "none",
    again: Annotated[bool, typer.Option("--again", help="Send what was sent before, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """`reassoc feed`."""
    if bool(paths) == (watch is not None):
        fail("name files and folders, or a folder with --watch", EXIT_USAGE)
    if compression not in COMPRESSIONS:
        fail(f"--compression must be one of {', '.join(COMPRESSIONS)}", EXIT_USAGE)
    if not COMPRESSIONS[compression]():
        fail(f"--compression {compression} needs the package cramjam: install it", EXIT_USAGE)
    settings, layouts = _settings(config, bootstrap, prefix, layout or [])
    try:
        inbox = Inbox(watch) if watch is not None else None
        found = discover(paths or [])
    except (SourceError, OSError) as error:
        fail(str(error), EXIT_USAGE)
    place = journal or (watch or Path()) / JOURNAL_NAME
    began = time.monotonic()
    try:
        with _showing(found, inbox is None) as show, FeedJournal(place) as kept:
            work = _Work(found, inbox, again, show)
            vault = settings if config is not None else None
            fed, stopped = asyncio.run(
                _run(work, settings.kafka, kept, layouts, vault, compression)
            )
    except (ReassocError, OSError) as error:
        fail(str(error), EXIT_UNREADABLE)
    finally:
        close_archives()
    _report(fed, time.monotonic() - began, as_json=as_json)
    if stopped and inbox is None:
        fail("stopped before all was sent: run again to go on", EXIT_UNREADABLE)
    if fed.refused_files and inbox is None:
        raise typer.Exit(EXIT_UNREADABLE)


def _settings(
    path: Path | None, bootstrap: str | None, prefix: str | None, layouts: Sequence[Path]
) -> tuple[Config, list[LockboxLayout]]:
    """The configuration with what the command line says on top, and layouts of lockbox lists: those
    of the warehouse as well where a configuration names it."""
    try:
        config = load_config(path).config
        given = {"bootstrap": bootstrap, "prefix": prefix}
        kafka = replace(config.kafka, **{name: to for name, to in given.items() if to is not None})
        own = Path(config.warehouse.folder) / "layouts" if path is not None else None
        found = [*(sorted(own.glob("*.toml")) if own is not None else ()), *layouts]
        return replace(config, kafka=kafka), [load_layout(layout) for layout in found]
    except (ConfigError, LayoutError) as error:
        fail(str(error), EXIT_USAGE)


# ---- running ----


async def _run(
    work: _Work,
    kafka: Kafka,
    journal: FeedJournal,
    layouts: Sequence[LockboxLayout],
    vault: Config | None,
    compression: str,
) -> tuple[Fed, bool]:
    """Feed; what became of it, and whether it was stopped. vault : of whose configuration"""
    with tempfile.TemporaryDirectory(prefix="reassoc-feed-") as scratch, ExitStack() as stack:
        async with _producing(kafka, compression) as producer:
            journal.belong(f"{await cluster_id(kafka)}/{kafka.prefix}")
            feeder = Feeder(
                producer,
                journal,
                prefix=kafka.prefix,
                scratch=Path(scratch),
                layouts=layouts,
                vault=_vault(vault, stack) if vault is not None else None,
            )
            _stop_on_signals(feeder)
            try:
                if work.watched is None:
                    await _feed_found(work, feeder)
                else:
                    await _watch(work.watched, work, feeder)
                await feeder.drain()
            finally:
                # What Kafka has is remembered, whatever went wrong with the rest.
                await feeder.keep()
            return feeder.fed, feeder.is_stopping


@asynccontextmanager
async def _producing(kafka: Kafka, compression: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        **client_settings(kafka),
        acks="all",
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
        max_request_size=max(kafka.message_bytes_max, MESSAGE_BYTES_MAX),
        compression_type=None if compression == "none" else compression,
    )
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise TopicError(
            f"Kafka at {kafka.bootstrap} cannot be reached: {type(error).__name__}"
        ) from error
    try:
        yield producer
    finally:
        await producer.stop()


def _vault(config: Config, stack: ExitStack) -> WorkerVaults:
    """The feeder's vault; it is begun where it is not there."""
    place = config.vault
    key_file = Path(place.key_file or Path(config.warehouse.folder) / "vault.key")
    keys = open_key_ring(key_file, os.environ, may_create=not vaults_are_written(place.url))
    vaults = WorkerVaults.open(
        place.url,
        FEED_VAULT,
        keys,
        now=lambda: datetime.now(UTC),
        new_id=lambda: secrets.token_hex(8),
    )
    stack.callback(vaults.close)
    return vaults


def _stop_on_signals(feeder: Feeder) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, ValueError):  # in the main thread only
            loop.add_signal_handler(number, feeder.stop)


async def _feed_found(work: _Work, feeder: Feeder) -> None:
    for problem in work.found.unreadable:
        feeder.fed.refuse(problem.name, problem.reason)
    feeder.fed.passed_over += len(work.found.passed_over)
    for source in work.found.sources:
        if feeder.is_stopping:
            return
        await feeder.feed(source, again=work.again)
        work.show(feeder.fed)


async def _watch(inbox: Inbox, work: _Work, feeder: Feeder) -> None:
    """Feed what is complete, and move it when all of it is there."""
    while not feeder.is_stopping:
        look = await asyncio.to_thread(inbox.settle, time.time())
        fed: list[tuple[Ready, list[str]]] = []
        for ready in look.ready:
            reasons = [f"{problem.name}: {problem.reason}" for problem in ready.problems]
            for source in ready.sources:
                if reason := await feeder.feed(source, again=work.again):
                    reasons.append(f"{source.name}: {reason}")
            if feeder.is_stopping:
                break
            fed.append((ready, reasons))
            work.show(feeder.fed)
        await feeder.drain()
        await asyncio.to_thread(_move, inbox, fed)
        if not fed and not feeder.is_stopping:
            await asyncio.sleep(LOOK_SECONDS)


def _move(inbox: Inbox, fed: Sequence[tuple[Ready, list[str]]]) -> None:
    close_archives()
    today = datetime.now(UTC).date()
    for ready, reasons in fed:
        try:
            if reasons:
                inbox.move_refused(ready.path, today, reasons)
                say(f"{ready.name}: refused: {reasons[0]}")
            else:
                inbox.move_done(ready.path, today)
        except InboxError as error:
            say(str(error))


# ---- what people see ----


@contextmanager
def _showing(found: Discovery, is_bounded: bool) -> Iterator[Callable[[Fed], None]]:
    """Progress on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("feeding", total=len(found.sources) if is_bounded else None)
        began = time.monotonic()

        def show(fed: Fed) -> None:
            rate = fed.sent_bytes / max(time.monotonic() - began, 0.001)
            done = fed.sent_files + fed.known_files + fed.passed_over + fed.refused_files
            text = f"{done} files, {fed.sent_bytes >> 20} MiB, {rate / 1e6:.0f} MB/s"
            progress.update(task, completed=done, description=text)

        yield show


def _report(fed: Fed, seconds: float, *, as_json: bool) -> None:
    if as_json:
        found = asdict(fed) | {"seconds": round(seconds, 3)}
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    rate = fed.sent_bytes / max(seconds, 0.001) / 1e6
    tell(
        f"{fed.sent_files} files sent ({fed.sent_bytes} bytes in {fed.messages} messages, "
        f"{rate:.0f} MB/s), {fed.known_files} were sent before, {fed.refused_files} not sent"
    )
    for name, reason in fed.problems[:PROBLEMS_SHOWN_MAX]:
        say(f"{name}: {reason}")
    if fed.refused_files > PROBLEMS_SHOWN_MAX:
        say(f"and {fed.refused_files - PROBLEMS_SHOWN_MAX} more: --json tells of {PROBLEMS_MAX}")
