"""The strict driver on a real Kafka: whatever becomes of its workers, nothing is lost, and nobody
commits what is not theirs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust_processes import processed, wait_for, worker
from faust_worker import TROUBLE, Plan
from kafka_topics import committed, new_name, new_topic, produce, read_all

pytest_plugins = ("kafka_servers",)
pytestmark = pytest.mark.slow

ONE_RECORD = {"partition_fetch_bytes_max": 1}
"""A batch is one record."""


def a_plan(kafka: str, folder: Path, partitions: int = 1, **more: Any) -> Plan:
    """A worker on a new topic, alone in its group."""
    return Plan(
        driver="strict",
        bootstrap=kafka,
        group=new_name("group"),
        topic=new_topic(kafka, partitions),
        out=str(folder / "one"),
        **{"options": ONE_RECORD, **more},
    )


def test_a_worker_killed_in_the_middle_of_a_batch_has_it_again(kafka: str, tmp_path: Path) -> None:
    plan = a_plan(kafka, tmp_path, pause=0.1)
    produce(kafka, plan.topic, [b"%d" % n for n in range(40)], apart=True)
    with worker(plan) as first:
        wait_for(lambda: len(processed(plan.out)) >= 8, "at the eighth record")
        first.kill()
    before = len(processed(plan.out))
    (end,) = committed(kafka, plan.group, plan.topic)
    assert end <= before < 40
    with worker(plan, pause=0.0):
        wait_for(lambda: committed(kafka, plan.group, plan.topic) == [40], "at the end")
    assert [offset for _, offset in processed(plan.out)] == [*range(before), *range(end, 40)]


def test_workers_come_and_go_and_nothing_is_lost(kafka: str, tmp_path: Path) -> None:
    plan = a_plan(kafka, tmp_path, 6, pause=0.02)
    names = [str(tmp_path / name) for name in ("one", "two", "three")]
    produce(kafka, plan.topic, [b"%d" % n for n in range(1200)], partitions=6, apart=True)
    with worker(plan, out=names[0]) as first, worker(plan, out=names[1], may_wait=True) as second:
        wait_for(lambda: all(len(processed(name)) > 20 for name in names[:2]), "two at work")
        with worker(plan, out=names[2]) as third:
            wait_for(lambda: len(processed(names[2])) > 20, "three at work")
            first.signal(signal.SIGTERM)
            first.wait()
            third.kill()
        alone = len(processed(names[1]))
        wait_for(lambda: len(processed(names[1])) > alone + 100, "the second one left alone")
        wait_for(lambda: committed(kafka, plan.group, plan.topic, 6) == [200] * 6, "at the end")
        second.signal(signal.SIGTERM)
        second.wait()
    counts = Counter(processed(*names))
    assert set(counts) == {(partition, offset) for partition in range(6) for offset in range(200)}
    assert sum(counts.values()) < 1200 * 1.5


def test_a_worker_that_slept_through_its_session_commits_nothing_and_goes_on(
    kafka: str, tmp_path: Path
) -> None:
    plan = a_plan(kafka, tmp_path, 2, pause=1.0)
    sleeper, other = str(tmp_path / "sleeper"), str(tmp_path / "other")
    produce(kafka, plan.topic, [b"%d" % n for n in range(20)], partitions=2, apart=True)
    with worker(plan, out=sleeper) as asleep:
        wait_for(lambda: processed(sleeper), "at work")
        asleep.signal(signal.SIGSTOP)
        with worker(plan, out=other, pause=0.0):
            wait_for(lambda: committed(kafka, plan.group, plan.topic, 2) == [10, 10], "all done")
            asleep.signal(signal.SIGCONT)
            seen = []
            for _ in range(30):
                seen.append(committed(kafka, plan.group, plan.topic, 2))
                time.sleep(0.1)
            assert seen == [[10, 10]] * 30
            produce(kafka, plan.topic, [b"%d" % n for n in range(20)], partitions=2, apart=True)
            wait_for(lambda: committed(kafka, plan.group, plan.topic, 2) == [20, 20], "all done")
        assert asleep.process.poll() is None
    assert max(offset for _, offset in processed(sleeper)) >= 10  # it has a partition again
    assert set(processed(sleeper, other)) == {(p, n) for p in range(2) for n in range(20)}


def test_poison_goes_to_its_topic_and_holds_up_nobody(kafka: str, tmp_path: Path) -> None:
    plan = a_plan(kafka, tmp_path, trouble="poison", dead=new_topic(kafka))
    produce(kafka, plan.topic, [b"1", TROUBLE, b"2", b"3"], apart=True)
    with worker(plan):
        wait_for(lambda: committed(kafka, plan.group, plan.topic) == [4], "at the end")
    assert read_all(kafka, plan.dead, 1) == [TROUBLE]


def test_a_seek_goes_back_below_what_is_committed_and_the_commit_follows(
    kafka: str, tmp_path: Path
) -> None:
    plan = a_plan(kafka, tmp_path)
    produce(kafka, plan.topic, [b"%d" % n for n in range(6)] + [TROUBLE] + [b"7"] * 5, apart=True)
    with worker(plan):
        wait_for(lambda: committed(kafka, plan.group, plan.topic) == [12], "at the end")
    with worker(plan, seek_to=4, trouble="hold"):
        wait_for(lambda: committed(kafka, plan.group, plan.topic) == [6], "back")
    assert [offset for _, offset in processed(plan.out)] == [*range(12), 4, 5]


def test_aborted_transactions_are_not_seen_and_leave_no_gap(kafka: str, tmp_path: Path) -> None:
    plan = a_plan(kafka, tmp_path)
    asyncio.run(_transactions(kafka, plan.topic))
    with worker(plan):
        wait_for(lambda: committed(kafka, plan.group, plan.topic) == [11], "at the end")
    # Each transaction ends with a marker, which takes an offset.
    assert [offset for _, offset in processed(plan.out)] == [0, 1, 2, 8, 9, 10]


async def _transactions(kafka: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=new_name("writer"))
    async with producer:
        for is_good in (True, False, True):
            await producer.begin_transaction()
            for n in range(3):
                await producer.send_and_wait(topic, b"%d" % n, partition=0)
            await (producer.commit_transaction() if is_good else producer.abort_transaction())
