"""`reassoc feed` on a real broker: what is read back from the topics is what the files hold."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ach_build import Batch, Entry, ach_file
from aiokafka import AIOKafkaConsumer
from feeding import ROUTER, Content, by_file, put_together
from kafka_topics import new_name
from small_feed import interchange, remittance

from reassoc.loadtest.servers.kafka_server import Topic, create_topics
from reassoc.stream.message import RawMessage
from reassoc.stream.read_message import read_parts

pytest_plugins = ("kafka_servers",)

WAIT_SECONDS_MAX = 60.0
PARTITIONS = 3
COMMAND = [sys.executable, "-c", "from reassoc.stream.cli import main; main()", "feed"]
X12 = interchange(*(remittance(f"T{n}", 700 + n, control=f"{n:05}") for n in range(6000)))
ACH = ach_file([Batch([Entry(700 + n, texts=["TRN*1*T*1234567890~"]) for n in range(6000)])])


@pytest.fixture
def prefix(kafka: str) -> str:
    """The prefix of topics that nobody else uses."""
    prefix = new_name("feed")
    topics = [Topic(f"{prefix}.raw.{kind}", PARTITIONS) for kind in ("x12", "ach", "bai2")]
    asyncio.run(create_topics(kafka, topics))
    return prefix


def feed(kafka: str, prefix: str, *more: object, code: int = 0) -> dict[str, object]:
    arguments = [
        *COMMAND,
        "--json",
        f"--bootstrap={kafka}",
        f"--prefix={prefix}",
        *map(str, more),
    ]
    ended = subprocess.run(arguments, capture_output=True, timeout=WAIT_SECONDS_MAX, check=False)
    assert ended.returncode == code, ended.stderr.decode()
    found: dict[str, object] = json.loads(ended.stdout)
    return found


async def _consumed(kafka: str, topic: str) -> list[RawMessage]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [*consumer.assignment()]
        ends = await consumer.end_offsets(places)
        messages: list[RawMessage] = []
        while len(messages) < sum(ends.values()):
            for found in (await consumer.getmany(timeout_ms=1000)).values():
                messages += [RawMessage(one.value, one.headers, "place") for one in found]
        return messages
    finally:
        await consumer.stop()


def consumed(kafka: str, topic: str) -> list[RawMessage]:
    """All messages of a topic."""
    return asyncio.run(asyncio.wait_for(_consumed(kafka, topic), WAIT_SECONDS_MAX))


def read_back(messages: list[RawMessage], scratch: Path) -> Content:
    items = read_parts(messages, router=ROUTER, scratch=scratch)
    return put_together(sorted(items, key=lambda part: getattr(part.head, "part", 1 << 30)))


def test_what_is_read_from_the_topics_is_what_the_files_hold(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    (folder / "a" / "some file").write_bytes(X12)
    (folder / "b" / "some file").write_bytes(ACH)
    journal = tmp_path / "journal"
    for known in (0, 2):
        done = feed(
            kafka,
            prefix,
            folder / "a" / "some file",
            folder / "b" / "some file",
            f"--journal={journal}",
            "--compression=gzip",
        )
        assert (done["known_files"], done["sent_files"]) == (known, 2 - known)
    for kind, data in (("x12", X12), ("ach", ACH)):
        messages = consumed(kafka, f"{prefix}.raw.{kind}")
        assert len(messages) > 2
        found, whole = read_back(messages, tmp_path), by_file(data, tmp_path)
        assert (found.remittances, found.payments) == (whole.remittances, whole.payments)
        assert found.cents == whole.cents


def test_a_watched_folder_is_fed_until_the_feeder_is_told_to_end(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    watched = tmp_path / "watched"
    inbox = watched / "in"
    inbox.mkdir(parents=True)
    for name, data in (("good", X12), ("bad", b"neither this nor that")):
        (inbox / name).write_bytes(data)
        os.utime(inbox / name, (1, 1))
    arguments = [*COMMAND, f"--bootstrap={kafka}", f"--prefix={prefix}", "--watch", str(watched)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + WAIT_SECONDS_MAX
        while any(inbox.iterdir()) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=WAIT_SECONDS_MAX)
    assert process.returncode == 0, said.decode()
    assert [path.name for path in (watched / "done").rglob("*") if path.is_file()] == ["good"]
    refused = {path.name for path in (watched / "refused").rglob("*") if path.is_file()}
    assert refused == {"bad", "bad.why.txt"}
    whole = by_file(X12, tmp_path)
    found = read_back(consumed(kafka, f"{prefix}.raw.x12"), tmp_path)
    assert [row[8:] for row in found.remittances] == [row[8:] for row in whole.remittances]
