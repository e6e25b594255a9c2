"""`reassoc status --config`: how a warehouse on many machines is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import utc_now
from reassoc.stream.config import Config, Kafka
from reassoc.stream.desk_filters import FilterOptions
from reassoc.stream.desk_json import clock_json, open_json
from reassoc.stream.desk_view import show_released, show_totals
from reassoc.stream.incomplete import Incomplete, incomplete_files, now_ms
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_views import OpenList, open_items
from reassoc.stream.part_book import PartBook
from reassoc.stream.partition import PREFIX, read_partition
from reassoc.stream.rebuild import missing_tenants
from reassoc.stream.release_book import ReleaseBook, ReleaseCounts
from reassoc.stream.state_redis import RedisState
from reassoc.stream.topic_log import TopicLogError
from reassoc.stream.topics import DEAD_TOPIC, ITEMS_TOPIC, RAW_TOPICS, client_settings
from reassoc.stream.worker_commands import loaded_config, reporting
from reassoc.stream.worker_desk import open_worker_desk

RATE_SECONDS = 1.0
"""Between two looks, of which the rates come."""


class TopicStatus(msgspec.Struct, frozen=True):
    """A topic. messages : in it, or ever in it    lag : of them, not taken yet    rate : messages a
    second that come now"""

    name: str
    messages: int
    lag: int
    rate: float


class WorkerStatus(msgspec.Struct, frozen=True):
    """How a warehouse is.

    lost : tenants and partitions that the match state does not know any more
    outbox_entries : that wait for the ledger
    incomplete : files of which parts did not come
    """

    tenants: int
    lost: int
    topics: list[TopicStatus]
    outbox_entries: int
    incomplete: Incomplete
    clock: ClockEntry | None
    released: ReleaseCounts
    open: OpenList


def show_worker_status(path: Path, *, as_json: bool) -> None:
    """Show it. Ends the command where something cannot be asked."""
    config = loaded_config(path)
    with reporting(), open_worker_desk(config) as (state, ledger, clock):
        status = _status(config, state, ledger, clock)
    if as_json:
        shown = msgspec.structs.asdict(status)
        everything = open_json(status.open)
        told = {**shown, "clock": clock_json(status.clock), "open": everything["totals"]}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        _show(Console(), status)


def _status(
    config: Config, state: RedisState, ledger: Ledger, clock: ClockEntry | None
) -> WorkerStatus:
    tenants = [name for name in state.tenants() if not name.startswith(PREFIX)]
    day = clock.day if clock is not None else int(utc_now().timestamp()) // 86_400
    everything = open_items(
        ledger, FilterOptions().filter(), day=day, calendar=federal_reserve_calendar(), limit=0
    )
    book = PartBook(ledger)
    return WorkerStatus(
        len(tenants),
        sum(map(len, missing_tenants(state, book).values())),
        asyncio.run(_topics(config.kafka, state)),
        sum(state.outbox_length(tenant) for tenant in tenants),
        incomplete_files(book, now_ms()),
        clock,
        ReleaseBook(ledger).counts(),
        everything,
    )


async def _topics(kafka: Kafka, state: RedisState) -> list[TopicStatus]:
    """Every topic that workers read, and the one of what they could not."""
    settings = client_settings(kafka)
    names = [f"{kafka.prefix}.{name}" for name in (*RAW_TOPICS, ITEMS_TOPIC, DEAD_TOPIC)]
    consumer = AIOKafkaConsumer(
        **settings, enable_auto_commit=False, isolation_level="read_committed"
    )
    admin = AIOKafkaAdminClient(**settings)
    try:
        await consumer.start()
        await admin.start()
        there = [
            TopicPartition(described["topic"], each["partition"])
            for described in await admin.describe_topics(names)
            for each in described["partitions"]
        ]
        committed = await admin.list_consumer_group_offsets(f"{kafka.prefix}.workers")
        before = await consumer.end_offsets(there)
        await asyncio.sleep(RATE_SECONDS)
        after = await consumer.end_offsets(there)
    except KafkaError as error:
        raise TopicLogError(f"Kafka does not answer: {type(error).__name__}") from error
    finally:
        await consumer.stop()
        await admin.close()
    done = {tp: found.offset for tp, found in committed.items()}
    items = f"{kafka.prefix}.{ITEMS_TOPIC}"
    for tp in there:
        if tp.topic == items:
            done[tp] = read_partition(state, tp.partition)[1].position
    return [_topic(name, before, after, done) for name in names]


def _topic(name: str, before: dict[Any, int], after: dict[Any, int], done: dict[Any, int]) -> Any:
    own = [tp for tp in after if tp.topic == name]
    total = sum(after[tp] for tp in own)
    came = total - sum(before[tp] for tp in own)
    lags = [max(after[tp] - max(done.get(tp, 0), 0), 0) for tp in own]
    if name.endswith(f".{ITEMS_TOPIC}"):
        # Behind the last record of a transaction stands its marker.
        lags = [0 if lag == 1 else lag for lag in lags]
    lag = 0 if name.endswith(f".{DEAD_TOPIC}") else sum(lags)
    return TopicStatus(name, total, lag, came / RATE_SECONDS)


def _show(console: Console, status: WorkerStatus) -> None:
    if status.lost:
        console.print(
            f"The match state has lost {status.lost} tenants and partitions: run `reassoc rebuild`."
        )
    clock = status.clock
    console.print(
        f"{clock.kind} of a banking day: {clock.as_of}" if clock else "No banking day has opened."
    )
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("topic")
    for name in ("messages", "lag", "/s"):
        table.add_column(name, justify="right")
    for topic in status.topics:
        table.add_row(topic.name, f"{topic.messages:,}", f"{topic.lag:,}", f"{topic.rate:,.0f}")
    console.print(table)
    console.print(f"{status.tenants} tenants, {status.outbox_entries} entries wait for the ledger")
    _show_incomplete(console, status.incomplete)
    show_released(console, status.released)
    show_totals(console, status.open.totals)


def _show_incomplete(console: Console, incomplete: Incomplete) -> None:
    """What is missing of files, where something is."""
    if not incomplete.file_count:
        return
    more = " or more" if incomplete.has_more else ""
    console.print(
        f"\n{incomplete.file_count:,}{more} files are not whole: parts did not come, or were put "
        "aside. Feed them again (`reassoc feed --again`): what was taken counts once."
    )
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("file")
    for name in ("parts", "of", "bytes", "of"):
        table.add_column(name, justify="right")
    for file in incomplete.worst:
        numbers = (file.parts, file.part_count, file.bytes, file.byte_count)
        table.add_row(Text(file.name), *(f"{number:,}" for number in numbers))
    console.print(table)
