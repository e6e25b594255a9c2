"""A whole stack for the benches of the stream: servers and workers in a folder, a generated feed,
messages cut from it, and what the workers' metrics say.

The servers, the workers and the bench share the machine: what is reported is what all of them reach
together on its cores.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from small_files import small_files
from sqlalchemy import text

from reassoc.core.errors import ReassocError
from reassoc.loadtest.directory_file import TENANTS
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.loadtest.servers.stack import Stack
from reassoc.stream.chunks import plan
from reassoc.stream.kinds import Kind
from reassoc.stream.ledger import Ledger
from reassoc.stream.message import HEADER, TOPICS, RawMessage, encode_head, key_of
from reassoc.stream.read_message import read_parts
from reassoc.stream.routing import Router

HERE = Path(__file__).parent
KEPT = HERE.parent / "build" / "bench"
CLOCK = "2026-03-16T09:00"
PARTITIONS = 11
"""The feed's three tenants lie in partitions 1, 7 and 10: both of two workers have some to match,
whether each gets every second one or half of them in a row."""
_LOOK_SECONDS = 0.1
"""Between two looks: the worker answers with the processor that is measured."""
_LEDGER_LOOK_SECONDS = 0.25
_COUNT = text("SELECT count(*) FROM item")
_DATABASE_BYTES = text("SELECT pg_database_size(current_database())")
_PAIRS = text("SELECT count(*) FROM pair_event")
WAIT_SECONDS_MAX = 600.0
FETCH_BYTES, PARTITION_BYTES = 32 << 20, 4 << 20
TRANSACTION_MS = 600_000


@dataclass(frozen=True, slots=True)
class Message:
    """A raw message, ready to be sent."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def feed_of(payments: int, claims: int, tenants: int = len(TENANTS)) -> Path:
    """A generated feed without defects, which is kept for the next run."""
    shared = f"-{tenants}" if tenants != len(TENANTS) else ""
    folder = KEPT / f"stream-{payments}-{claims}{shared}"
    if not folder.exists():
        making = folder.with_suffix(".part")
        shutil.rmtree(making, ignore_errors=True)
        options = FeedOptions(payments=payments, seed=7, claims=claims, tenants=tenants)
        generate_feed(making, options)
        making.rename(folder)
    return folder


def messages_of(feed: Path, part_bytes: int) -> list[Message]:
    """The 835s and ACH files of a feed in messages of at most `part_bytes`, as `reassoc feed` would
    send them."""
    found = []
    for path in sorted([*feed.rglob("*.835"), *feed.rglob("*.ach")]):
        data = path.read_bytes()
        planned = plan(path.name, data, part_bytes=part_bytes)
        topic = f"reassoc.{TOPICS[Kind[planned.head.kind]]}"
        for part in planned.parts:
            headers = ((HEADER, encode_head(part)),)
            value = data[part.start : part.stop]
            found.append(Message(topic, key_of(part.digest, part.part), value, headers))
    return found


def small_messages_of(feed: Path) -> list[Message]:
    """Every 835 and every ACH entry of a feed as a file of its own, as somebody sends it who knows
    nothing of us: some 1 KiB each."""
    found = []
    for path in sorted([*feed.rglob("*.835"), *feed.rglob("*.ach")]):
        topic = f"reassoc.{TOPICS[Kind.X12 if path.suffix == '.835' else Kind.ACH]}"
        found += [Message(topic, None, each, ()) for each in small_files(path)]
    return found


def items_of(messages: Sequence[Message]) -> int:
    """835s and payments in messages."""
    raw = [RawMessage(each.value, each.headers, "") for each in messages]
    parts = read_parts(raw, router=Router(None), scratch=KEPT)
    return sum(len(part.remittances) + len(part.payments) for part in parts)


class StreamWorld:
    """Servers that run, and workers that are started as they are wanted."""

    def __init__(self, folder: Path, feed: Path, variables: Mapping[str, str]) -> None:
        settings = folder / "settings"
        (settings / "layouts").mkdir(parents=True)
        shutil.copy(feed / "directory.toml", settings)
        for path in feed.glob("*.layout.toml"):
            shutil.copy(path, settings / "layouts")
        clock = folder / "clock"
        clock.write_text(CLOCK)
        self.stack = Stack(
            folder / "stack",
            settings=settings,
            items_partitions=PARTITIONS,
            raw_partitions=PARTITIONS,
            variables={"REASSOC_CLOCK_FILE": str(clock), **variables},
        )

    @property
    def bootstrap(self) -> str:
        """Of the broker."""
        return self.stack.kafka.bootstrap

    def make_topics(self) -> None:
        """Let a worker make them, and end."""
        worker = self.stack.add_worker()
        worker.wait_ready()
        worker.stop()
        self.stack.workers.clear()

    def start(self, workers: int) -> None:
        """Start workers, and wait until all of them work."""
        for _ in range(workers):
            self.stack.add_worker()
        self.stack.wait_ready()

    def metric(self, name: str, labels: str = "") -> float:
        """A metric, summed over workers and labels that match an expression. Only this one is asked
        for: all of them, ten times a second, take a tenth of a worker."""
        wanted = re.compile(rf"^{name}(\{{.*{labels}.*\}})? (\S+)$", re.MULTILINE)
        page = f"metrics?name[]={name}"
        pages = [(each.ask(page) or b"").decode() for each in self.stack.workers]
        return sum(float(found[2]) for page in pages for found in wanted.finditer(page))

    def wait_applied(self, items: int) -> float:
        """Wait until so many items are applied; when that was. Fails where they are not in time, or
        are more."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        while (now := self.metric("reassoc_items_total")) < items:
            assert time.monotonic() < end, f"{now} of {items} items after {WAIT_SECONDS_MAX} s"
            # A look takes a worker some milliseconds, and only the last one tells the time.
            time.sleep(_LOOK_SECONDS if now > 0.8 * items else 3 * _LOOK_SECONDS)
        at = time.monotonic()
        assert now == items
        return at

    def wait_in_ledger(self, items: int) -> float:
        """Wait until the ledger has so many items; when that was. It may be away meanwhile."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        now = -1
        while now != items:
            assert time.monotonic() < end, f"{now} of {items} items after {WAIT_SECONDS_MAX} s"
            time.sleep(_LEDGER_LOOK_SECONDS)
            with (
                suppress(ReassocError, OSError),
                closing(self._ledger()) as ledger,
                ledger.reading() as connection,
            ):
                now = int(connection.execute(_COUNT).scalar_one())
        return time.monotonic()

    def pair_count(self) -> int:
        """Pairs that were made, by the ledger."""
        with closing(self._ledger()) as ledger, ledger.reading() as connection:
            return int(connection.execute(_PAIRS).scalar_one())

    def _ledger(self) -> Ledger:
        return Ledger.open(self.stack.postgres.url, read_only=True)

    def processor_seconds(self) -> dict[str, float]:
        """Of the workers and the servers so far."""
        found = {"kafka": _seconds(self.stack.kafka.pid)}
        if self.stack.redis is not None:
            found["redis"] = _seconds(self.stack.redis.pid)
        found["postgres"] = _seconds(self.stack.postgres.pid, children=True)
        for number, worker in enumerate(self.stack.workers, 1):
            found[f"worker_{number}"] = _seconds(worker.pid)
        return found

    def stored_bytes(self) -> dict[str, int]:
        """What the stores take: vaults, the item log, the database, the match state."""
        items = self.stack.folder / "kafka"
        found = {
            "vault": _folder_bytes(self.stack.folder / "vault"),
            "item_log": sum(map(_folder_bytes, items.rglob("reassoc.items-*"))),
        }
        with closing(self._ledger()) as ledger, ledger.reading() as connection:
            found["database"] = int(connection.execute(_DATABASE_BYTES).scalar_one())
        if self.stack.redis is not None:
            told = self.stack.redis.ask("INFO", "memory")
            found["redis"] = int(told.split("used_memory:")[1].split()[0])
        return found

    def resident_bytes(self) -> dict[str, int]:
        """Of the workers and the match state."""
        found = {
            f"worker_{number}": psutil.Process(worker.pid).memory_info().rss
            for number, worker in enumerate(self.stack.workers, 1)
        }
        if self.stack.redis is not None:
            found["redis"] = psutil.Process(self.stack.redis.pid).memory_info().rss
        return found


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _seconds(pid: int, *, children: bool = False) -> float:
    process = psutil.Process(pid)
    times = process.cpu_times()
    found = times.user + times.system
    if children:
        found += sum(_seconds(child.pid) for child in process.children(recursive=True))
    return float(found)


@contextmanager
def running(
    folder: Path, feed: Path, variables: Mapping[str, str] | None = None
) -> Iterator[StreamWorld]:
    """A world with its servers up and its topics made; everything ends with it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    world = StreamWorld(folder, feed, variables or {})
    try:
        world.stack.start_servers()
        world.make_topics()
        yield world
    finally:
        world.stack.stop()
        shutil.rmtree(world.stack.postgres_folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def send(bootstrap: str, messages: Sequence[Message]) -> None:
    """Send messages as fast as the broker takes them."""
    with held_back(bootstrap, messages) as let_go:
        let_go()


@contextmanager
def held_back(bootstrap: str, messages: Sequence[Message]) -> Iterator[Callable[[], float]]:
    """Messages that lie in their topics, in a transaction: workers, which read what is committed,
    see them once the function is called that is given; it tells when that was."""
    with asyncio.Runner() as runner:
        producer = runner.run(_begun(bootstrap))

        def let_go() -> float:
            at = time.monotonic()
            runner.run(producer.commit_transaction())
            return at

        try:
            runner.run(_send(producer, messages))
            yield let_go
        finally:
            runner.run(producer.stop())


async def _begun(bootstrap: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id="bench", linger_ms=5,
        transaction_timeout_ms=TRANSACTION_MS, max_request_size=2 << 20, max_batch_size=1 << 20,
    )  # fmt: skip
    await producer.start()
    await producer.begin_transaction()
    return producer


async def _send(producer: AIOKafkaProducer, messages: Sequence[Message]) -> None:
    on_their_way = [
        await producer.send(each.topic, each.value, key=each.key, headers=list(each.headers))
        for each in messages
    ]
    await asyncio.gather(*on_their_way)


@dataclass(frozen=True, slots=True)
class Read:
    """What a bare loop read."""

    messages: int
    byte_count: int
    seconds: float


def read_bare(bootstrap: str, messages: int) -> Read:
    """A bare aiokafka loop that reads so many messages off the raw topics and does nothing else."""
    return asyncio.run(_read_bare(bootstrap, messages))


async def _read_bare(bootstrap: str, messages: int) -> Read:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest",
        fetch_max_bytes=FETCH_BYTES, max_partition_fetch_bytes=PARTITION_BYTES,
    )  # fmt: skip
    await consumer.start()
    try:
        places = [
            TopicPartition(f"reassoc.{topic}", number)
            for topic in sorted(set(TOPICS.values()))
            for number in range(PARTITIONS)
        ]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        left, size, began = messages, 0, time.monotonic()
        while left > 0:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                left -= len(records)
                size += sum(len(record.value or b"") for record in records)
        return Read(messages, size, time.monotonic() - began)
    finally:
        await consumer.stop()
