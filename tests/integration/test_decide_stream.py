"""What people decide of a warehouse on many machines: the same command, the same answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from worker_stacks import Rig, rig

from reassoc.loadtest.stream_compare import compare
from reassoc.stream.asking import answers
from reassoc.stream.config import load_config
from reassoc.stream.partition_log import partition_of
from reassoc.stream.topics import ITEMS_TOPIC, client_settings

PAYMENTS = 60
PARTITIONS = 3
WHY = "the payer asked for it"


def decides(made: Rig, kind: str, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """The answers of `reassoc decide`."""
    told = made.run("decide", kind, "--why", WHY, "--json", *words)
    assert told.exit_code == code, told.stderr
    given: list[dict[str, Any]] = json.loads(told.stdout)
    return given


def refused(made: Rig, kind: str, *words: str) -> str:
    """Why a decision was not even asked for."""
    told = made.run("decide", kind, "--why", WHY, *words)
    assert told.exit_code == 2, told.stdout
    return told.stderr


def waiting(made: Rig) -> list[dict[str, Any]]:
    """Remittances that wait for money, the oldest first."""
    words = ("--side", "remittances", "--status", "awaiting_eft", "--limit", "1000", "--json")
    rows: list[dict[str, Any]] = json.loads(made.run("open", *words).stdout)["rows"]
    return rows


def decided(made: Rig, item: str) -> list[tuple[str, str, str]]:
    """Kind, reason and answer of all that was decided of an item, as the ledger has it."""
    events = json.loads(made.run("history", item, "--json").stdout)["events"]
    found = [each for event in events for each in event["decisions"]]
    return [(each["kind"], each["why"], each["answer"]) for each in found]


def logged(made: Rig) -> int:
    """Records of the item log that anybody can read, of all partitions."""
    kafka = load_config(made.config_file).config.kafka

    async def ends() -> int:
        consumer = AIOKafkaConsumer(**client_settings(kafka), isolation_level="read_committed")
        await consumer.start()
        try:
            topic = f"{kafka.prefix}.{ITEMS_TOPIC}"
            found = await consumer.end_offsets(
                [TopicPartition(topic, n) for n in range(PARTITIONS)]
            )
            return sum(found.values())
        finally:
            await consumer.stop()

    return asyncio.run(ends())


@pytest.mark.slow
def test_what_people_decide_is_applied_and_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig(tmp_path, PAYMENTS, 1, items_partitions=PARTITIONS, raw_partitions=1) as made:
        made.send()
        made.rest()
        first, second, third, *_ = waiting(made)

        (answer,) = decides(made, "hold", "--item", first["item"])
        assert (answer["tenant"], answer["is_done"]) == (first["tenant"], True)
        assert (answer["item_count"], answer["cents"]) == (1, first["cents"])
        (answer,) = decides(made, "release", "--item", first["item"])
        assert answer["is_done"]
        (answer,) = decides(made, "release", "--item", first["item"], code=1)
        assert "see resend" in answer["refusal"]
        done = [(kind, WHY, "done") for kind in ("hold", "release")]
        assert decided(made, first["item"]) == done

        before = logged(made)
        assert "1 of the items are not open" in refused(made, "hold", "--item", f"{'0' * 16}-1")
        assert "--tenant is none" in refused(
            made, "alias", "--payer", "1", "--payer", "2", "--tenant", "nobody"
        )
        assert "no match has this id" in refused(made, "unmatch", "--match", "1" * 16)
        told = refused(made, "move", "--item", third["item"], "--to", "nobody")
        known = told.strip().rpartition(": ")[2].split(", ")
        assert third["tenant"] in known
        by_filter = ("--tenant", second["tenant"], "--status", "awaiting_eft")
        assert "look again" in refused(made, "hold", *by_filter, "--count", "1", "--cents", "1")
        assert logged(made) == before

        # The other tenant's log is in another partition.
        here, count = third["tenant"], PARTITIONS
        there = next(
            name for name in known if partition_of(name, count) != partition_of(here, count)
        )
        (answer,) = decides(made, "move", "--item", third["item"], "--to", there)
        assert (answer["tenant"], answer["is_done"]) == (here, True)
        made.rest()
        (moved,) = [row for row in waiting(made) if row["item"] == third["item"]]
        assert (moved["tenant"], moved["cents"]) == (there, third["cents"])
        assert "never go back" in refused(made, "move", "--item", third["item"], "--to", here)

        # Nobody works: it stands on the log, and is decided as soon as somebody does.
        made.stack.workers[0].stop()
        with monkeypatch.context() as soon:
            soon.setitem(answers.__kwdefaults__, "seconds_max", 2.0)
            (answer,) = decides(made, "void", "--item", second["item"], code=1)
        assert answer["is_done"] is None
        made.stack.add_worker().wait_ready()
        (answer,) = decides(made, "hold", "--item", third["item"])
        assert (answer["tenant"], answer["is_done"]) == (there, True)
        made.rest()
        assert decided(made, second["item"]) == [("void", WHY, "done")]
        assert compare(load_config(made.config_file).config).wrong == []
