"""Decisions on their way to the topic: never to a wrong partition, never with a false answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reassoc.stream import decide_stream
from reassoc.stream.asking import AskingError
from reassoc.stream.cli import app
from reassoc.stream.config import Config, Kafka, Warehouse
from reassoc.stream.decide_stream import StreamPlace
from reassoc.stream.item_log import DecisionEntry, Entry
from reassoc.stream.ledger import Ledger
from reassoc.stream.part_book import PartBook
from reassoc.stream.partition import partition_name
from reassoc.stream.partition_log import partition_of
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.topic_log import TopicLogError

PARTITIONS = 5
ENTRY = DecisionEntry("hold", "0123456789abcdef", "somebody", "a reason")


class Topic:
    """A TopicLog that keeps what it is given; `answers` says whether it ever returns."""

    answers = True
    entries: Sequence[tuple[str, Entry]] = ()

    def __init__(self, kafka: Kafka, partition_count: int) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def append(self, entries: Sequence[tuple[str, Entry]]) -> None:
        Topic.entries = entries
        if not Topic.answers:
            await asyncio.Event().wait()


async def count(kafka: Kafka) -> int:
    return PARTITIONS


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamPlace]:
    """A stream that knows one tenant, in the partition that it belongs to."""
    monkeypatch.setattr(Topic, "answers", True)
    monkeypatch.setattr(Topic, "entries", ())
    monkeypatch.setattr(decide_stream, "TopicLog", Topic)
    monkeypatch.setattr(decide_stream, "items_partitions", count)
    file = SqliteFile(tmp_path / "state.db")
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    PartBook(ledger).see_tenant("north", partition_of("north", PARTITIONS))
    state = SqliteState(file)
    for name in ("north", partition_name(0)):
        state.claim(name)
    yield StreamPlace(Config(warehouse=Warehouse(folder=str(tmp_path))), state, ledger, None)
    ledger.close()
    file.close()


def test_a_decision_is_logged_for_a_tenant_that_is_known(place: StreamPlace) -> None:
    assert place.tenants == ["north"]
    place.log([("north", ENTRY)])
    assert Topic.entries == [("north", ENTRY)]


def test_items_may_move_to_tenants_of_the_log_and_of_the_directory(
    place: StreamPlace, tmp_path: Path
) -> None:
    PartBook(place.ledger).see_tenant(QUARANTINE, 0)
    PartBook(place.ledger).see_tenant(partition_name(1), 1)
    assert place.targets == {"north"}
    directory = '[[payees]]\nname = "South"\nnpis = ["1999999984"]\ntenant = "south"\n'
    (tmp_path / "directory.toml").write_text(directory)
    assert place.targets == {"default", "north", "south"}


def test_nothing_is_logged_where_a_tenant_is_in_another_partition(
    place: StreamPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AskingError, match="the configuration of the workers"):
        place.log([("north", ENTRY), ("south", ENTRY)])
    monkeypatch.setattr(f"{__name__}.PARTITIONS", 1)
    with pytest.raises(AskingError, match="the configuration of the workers"):
        place.log([("north", ENTRY)])
    assert Topic.entries == ()


def test_a_topic_that_does_not_answer_is_not_waited_for_without_end(
    place: StreamPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Topic, "answers", False)
    monkeypatch.setattr(decide_stream, "LOG_SECONDS_MAX", 0.01)
    with pytest.raises(TopicLogError, match="it may be decided"):
        place.log([("north", ENTRY)])


@pytest.mark.parametrize("places", [(), ("--home", "here", "--config", "there.toml")])
def test_a_decision_needs_one_warehouse(places: Sequence[str]) -> None:
    told = CliRunner().invoke(app, ["decide", "hold", "--why", "a reason", *places])
    assert told.exit_code == 2
    assert "give --home DIR or --config FILE.toml" in told.output
