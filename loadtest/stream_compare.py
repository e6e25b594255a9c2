"""A stream at rest, held against a quiet run of the embedded engine over the same item log.

    python -m reassoc.loadtest.stream_compare --config build/stack/reassoc.toml

The item log is read whole and written into a home's log, a tenant's as docs/decisions/0014 says
what it is: settings and clock that held, its own entries, and those for all since. An engine on
SQLite runs that to its end. Whatever workers, brokers and stores went through meanwhile, the
stream must know the same, item by item, and the laws of a warehouse must hold for it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from sqlalchemy import select

from reassoc.core.directory import Directory
from reassoc.core.errors import ReassocError
from reassoc.loadtest.chaos_compare import (
    Picture,
    broken_rules,
    differences,
    picture_of,
    tenants_of,
    unfinished,
)
from reassoc.stream import ledger_schema as schema
from reassoc.stream.clock import utc_now
from reassoc.stream.config import Config, Kafka, load_config
from reassoc.stream.engine import Engine, Parts
from reassoc.stream.home_log import HOME_TENANT, HomeLog
from reassoc.stream.item_log import Entry, FenceEntry
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_history import History
from reassoc.stream.part_book import PartBook
from reassoc.stream.partition import read_partition
from reassoc.stream.partition_log import ForAll, LogRecord, RecordError
from reassoc.stream.release_book import ReleaseBook
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.topics import ITEMS_TOPIC, client_settings
from reassoc.stream.vault_against_book import against_book, missing_vaults
from reassoc.stream.vault_errors import BusyError
from reassoc.stream.vault_places import worker_vaults
from reassoc.stream.worker_parts import WorkerParts, open_worker_parts

READ_SECONDS_MAX = 600.0
"""For the whole item log."""
SILENT_SECONDS_MAX = 30.0
"""Without a record of it, though it has not ended."""
FETCH_MS = 500
APPEND_ENTRIES = 256
MATCH_STEPS = 64
AT = "2026-01-01T00:00:00.000+00:00"
"""When the quiet run says that all was logged: no decision hangs on it."""

LoadDirectory = Callable[[bytes], Directory]


class CompareError(ReassocError):
    """The comparison itself could not be made. The message says why."""


# ---- the log of a partition, as logs of tenants ----


@dataclass(slots=True)
class Views:
    """What the tenants of one partition have on their logs.

    is_leader : of partition 0, whose entries for all are those of the home
    ends : position of the last entry of each tenant    last : of the last record
        that is not about its owners
    poison : records that everybody passes over
    """

    is_leader: bool
    ends: dict[str, int] = field(default_factory=dict)
    last: int = 0
    poison: int = 0
    _for_all: ForAll = field(default_factory=ForAll)

    def add(self, record: LogRecord) -> list[tuple[str, Entry]]:
        """Take the next record; what it puts on which logs, in order."""
        try:
            logged = record.logged()
        except RecordError:
            self.poison += 1
            return []
        if isinstance(logged.entry, FenceEntry):
            return []
        self.last = record.position
        if record.tenant == HOME_TENANT:
            self._for_all.add(logged)
            tenants = sorted(self.ends)
            self.ends = dict.fromkeys(tenants, record.position)
            home = [HOME_TENANT] if self.is_leader else []
            return [(tenant, logged.entry) for tenant in [*home, *tenants]]
        is_new = record.tenant not in self.ends
        held = self._for_all.holding(record.position) if is_new else []
        self.ends[record.tenant] = record.position
        return [(record.tenant, each.entry) for each in [*held, logged]]


async def read_log(kafka: Kafka) -> AsyncIterator[tuple[int, LogRecord]]:
    """Every record of the item log with its partition, one partition after the other, as far as
    each goes when it is begun. Raises CompareError."""
    consumer = AIOKafkaConsumer(
        **client_settings(kafka), enable_auto_commit=False, isolation_level="read_committed"
    )
    topic = f"{kafka.prefix}.{ITEMS_TOPIC}"
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            count = await _partition_count(kafka, topic)
            await consumer.start()
            for number in range(count):
                async for record in _read_partition(consumer, TopicPartition(topic, number)):
                    yield number, record
    except (KafkaError, TimeoutError) as error:
        raise CompareError(f"{topic} cannot be read: {type(error).__name__}") from error
    finally:
        await consumer.stop()


async def _partition_count(kafka: Kafka, topic: str) -> int:
    admin = AIOKafkaAdminClient(**client_settings(kafka))
    try:
        await admin.start()
        (described,) = await admin.describe_topics([topic])
        return len(described["partitions"])
    finally:
        await admin.close()


async def _read_partition(
    consumer: AIOKafkaConsumer, place: TopicPartition
) -> AsyncIterator[LogRecord]:
    consumer.assign([place])
    await consumer.seek_to_beginning(place)
    end = (await consumer.end_offsets([place]))[place]
    silent = 0
    while await consumer.position(place) < end:
        found = (await consumer.getmany(place, timeout_ms=FETCH_MS)).get(place, [])
        silent = 0 if found else silent + 1
        if silent * FETCH_MS > SILENT_SECONDS_MAX * 1000:
            raise CompareError(f"{place.topic} says nothing more in partition {place.partition}")
        for each in found:
            key = (each.key or b"").decode("utf-8", "replace")
            yield LogRecord(key, each.offset + 1, each.timestamp, each.value or b"")


async def fill(log: SqliteItemLog, kafka: Kafka) -> dict[int, Views]:
    """Write all tenants' logs anew; what each partition came to. Raises CompareError, StoreError.
    Memory: APPEND_ENTRIES entries."""
    views: dict[int, Views] = {}
    waiting: list[tuple[str, Entry]] = []
    async for number, record in read_log(kafka):
        view = views.setdefault(number, Views(is_leader=number == 0))
        waiting += view.add(record)
        if len(waiting) >= APPEND_ENTRIES:
            log.append(waiting)
            waiting = []
    log.append(waiting)
    return views


# ---- the quiet run ----


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the quiet run knows.

    views : what each partition came to    grown : tenants whose logs it went on to write
    """

    picture: Picture
    day: int
    views: Mapping[int, Views]
    grown: Sequence[str]


def run_quietly(kafka: Kafka, load_directory: LoadDirectory, folder: Path) -> Quiet:
    """Let an engine run the whole item log, in a folder. Raises CompareError, StoreError."""
    with ExitStack() as stack:
        file = SqliteFile(folder / "state.db")
        stack.callback(file.close)
        ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        stack.callback(ledger.close)
        plain, state = SqliteItemLog(file, lambda: AT), SqliteState(file)
        views = asyncio.run(fill(plain, kafka))
        ends = plain.tenants()
        log = HomeLog(plain)
        engine = Engine(
            Parts(
                log=log,
                state=state,
                ledger=ledger,
                book=ReleaseBook(ledger),
                history=History(ledger),
                load_directory=load_directory,
                now=lambda: AT,
            )
        )
        while engine.match(MATCH_STEPS) or engine.publish():
            pass
        grown = [name for name, last in plain.tenants().items() if last != ends.get(name)]
        day = log.clock.day if log.clock is not None else 0
        return Quiet(picture_of(state, ledger, day), day, views, sorted(grown))


# ---- comparing ----


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of it. wrong : lines, none where all is as it must be

    item_ids : digest (8 bytes, as the ledger has them) and offset of every item of the ledger
    """

    wrong: Sequence[str]
    item_ids: AbstractSet[tuple[int, int]]
    released: int
    decisions: int


def compare(config: Config) -> Compared:
    """Hold a stream at rest against a quiet run, and against the laws. Nobody may write meanwhile.

    Raises CompareError, and what stores and vaults raise. All in memory: about 10 KB an item.
    """
    with open_worker_parts(config, now=lambda: datetime.now(UTC)) as parts:
        with tempfile.TemporaryDirectory() as folder:
            quiet = run_quietly(config.kafka, parts.load_directory, Path(folder))
        lines = [f"{name}: the quiet run goes on where the stream stopped" for name in quiet.grown]
        lines += _half_done(parts, quiet.views)
        found = picture_of(parts.state, parts.ledger, quiet.day)
        lines += differences(quiet.picture, found)
        released = Path(config.release.folder)
        lines += [] if lines else broken_rules(parts.state, parts.ledger, parts.contents, released)
        lines += _damaged(config, parts.parts)
        with parts.ledger.reading() as connection:
            rows = connection.execute(select(schema.item.c.digest, schema.item.c.offset))
            ids = {(int(row[0]), int(row[1])) for row in rows}
    return Compared(lines, ids, len(found["released"]), len(found["decisions"]))


def _half_done(parts: WorkerParts, views: Mapping[int, Views]) -> list[str]:
    """What the stream has not finished: by tenants and partitions."""
    ends = {tenant: last for view in views.values() for tenant, last in view.ends.items()}
    lines = unfinished(parts.state, parts.ledger, ends)
    for tenant in sorted(set(tenants_of(parts.state)) - set(ends)):
        lines.append(f"{tenant}: has a state and no entry on the item log")
    for number, view in views.items():
        if read_partition(parts.state, number)[1].position < view.last:
            lines.append(f"partition {number}: is not applied to its end")
    # Whether parts are known to be logged is no matter: a database that is killed may forget it.
    return lines


def seal_vaults_left(config: Config) -> None:
    """Open and close the vaults that no running worker writes, as more workers would: where the
    writer of one died, and fewer ran after it, nobody has sealed it yet."""
    for place in worker_vaults(config).each:
        with suppress(BusyError):
            place.open(read_only=False).close()


def _damaged(config: Config, book: PartBook) -> list[str]:
    """What is damaged in the workers' vaults, and what the part book names that they have not."""
    lines = list[str]()
    with worker_vaults(config).opened(read_only=True) as opened:
        for place, vault in opened:
            lines += [f"vault {place.name}: {damage}" for damage in vault.verify()]
            named = book.contents_named(place.name)
            found = against_book(named, vault.contents(), utc_now())
            if found.missing:
                lines.append(f"vault {place.name}: {len(found.missing)} contents are not there")
        lines += missing_vaults([place.name for place, _ in opened], book)
    return lines


def main(
    config: Annotated[Path, typer.Option(help="The workers' configuration.")],
) -> None:
    """Compare; 1 for any difference."""
    try:
        found = compare(load_config(config).config)
    except (ReassocError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for line in found.wrong:
        typer.echo(line)
    if found.wrong:
        raise typer.Exit(1)
    typer.echo(
        f"equal: {len(found.item_ids)} items, {found.released} released, "
        f"{found.decisions} decisions"
    )


if __name__ == "__main__":
    typer.run(main)
