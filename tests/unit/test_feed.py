"""Feeding files: what is sent, what is not sent twice, and where a stopped feeder goes on."""

from __future__ import annotations

import asyncio
import gzip
import os
import zipfile
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from feeding import ROUTER, by_file, put_together, source_of
from small_feed import interchange, remittance
from taking import FakeVault, sources_of

from reassoc.stream import feed
from reassoc.stream.contents import close_archives
from reassoc.stream.feed import Feeder, FeedError, PartVault
from reassoc.stream.feed_journal import FeedJournal, JournalError
from reassoc.stream.message import Manifest, PartHead, RawMessage, Reference, head_of
from reassoc.stream.part_items import PartItems
from reassoc.stream.read_message import read_parts

PART_BYTES = 1500
DATA = interchange(*(remittance(f"T{n}", 700 + n, control=f"{n:04}") for n in range(40)))


class Broker:
    """A producer that keeps what it is given, and may stop taking anything.

    takes : messages that it takes before it fails
    """

    def __init__(self, takes: int = 1 << 30) -> None:
        self.takes = takes
        self.messages: list[RawMessage] = []
        self.topics: list[str] = []
        self.keys: list[bytes] = []

    async def send(
        self, topic: str, value: bytes, *, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> Awaitable[object]:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if len(self.messages) < self.takes:
            self.messages.append(RawMessage(value, list(headers), topic))
            self.topics.append(topic)
            self.keys.append(key)
            done.set_result(None)
        else:
            done.set_exception(ConnectionError("gone"))
        return done

    def items(self, scratch: Path) -> list[PartItems]:
        return read_parts(self.messages, router=ROUTER, scratch=scratch)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FeedJournal]:
    with FeedJournal(tmp_path / "journal") as kept:
        yield kept
    close_archives()


def feeder_of(
    broker: Broker, journal: FeedJournal, scratch: Path, vault: PartVault | None = None
) -> Feeder:
    return Feeder(
        broker, journal, prefix="pre", scratch=scratch, vault=vault, part_bytes=PART_BYTES
    )


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


async def feed_all(feeder: Feeder, path: Path, *, again: bool = False) -> list[str]:
    reasons = [await feeder.feed(source, again=again) for source in sources_of(path)]
    await feeder.drain()
    return reasons


def test_what_is_fed_is_the_file_and_its_manifest_ends_it(
    tmp_path: Path, journal: FeedJournal
) -> None:
    broker, path = Broker(), put(tmp_path / "in" / "some file", DATA)
    assert asyncio.run(feed_all(feeder_of(broker, journal, tmp_path), path)) == [""]
    assert put_together(broker.items(tmp_path)) == by_file(DATA, tmp_path)
    heads = [head_of(message) for message in broker.messages]
    assert len(heads) > 5
    assert isinstance(heads[-1], Manifest)
    assert all(isinstance(head, PartHead) for head in heads[:-1])
    assert set(broker.topics) == {"pre.raw.x12"}
    assert len(set(broker.keys)) == len(heads)


@pytest.mark.parametrize("large", [False, True])
def test_compressed_files_are_fed_as_what_they_hold(
    tmp_path: Path, journal: FeedJournal, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(feed, "UNPACKED_BYTES_MAX", 1000)
    other = interchange(remittance("OTHER", 5))
    path = tmp_path / "in" / "two.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", gzip.compress(DATA))
        archive.writestr("two", other)
    broker = Broker()
    assert asyncio.run(feed_all(feeder_of(broker, journal, tmp_path), path)) == ["", ""]
    digests = {part.head.digest for part in broker.items(tmp_path)}
    assert digests == {blake3(DATA).digest(), blake3(other).digest()}


def test_the_same_content_is_sent_once_whatever_its_file_is_called(
    tmp_path: Path, journal: FeedJournal
) -> None:
    first, second = put(tmp_path / "in" / "a", DATA), put(tmp_path / "in" / "b", DATA)
    for path, known in ((first, 0), (first, 1), (second, 1), (second, 1)):
        broker = Broker()
        feeder = feeder_of(broker, journal, tmp_path)
        asyncio.run(feed_all(feeder, path))
        assert (feeder.fed.known_files, bool(broker.messages)) == (known, not known)
    broker = Broker()
    asyncio.run(feed_all(feeder_of(broker, journal, tmp_path), first, again=True))
    assert put_together(broker.items(tmp_path)) == by_file(DATA, tmp_path)


def test_a_feeder_that_failed_goes_on_behind_what_the_broker_has(
    tmp_path: Path, journal: FeedJournal
) -> None:
    path = put(tmp_path / "in" / "a", DATA)
    first = Broker(takes=4)
    feeder = feeder_of(first, journal, tmp_path)

    async def fail() -> None:
        with pytest.raises(FeedError, match="run again"):
            await feed_all(feeder, path)
        await feeder.keep()

    asyncio.run(fail())
    second = Broker()
    asyncio.run(feed_all(feeder_of(second, journal, tmp_path), path))
    together = [*first.messages, *second.messages]
    assert len(first.messages) == 4
    items = read_parts(together, router=ROUTER, scratch=tmp_path)
    whole = by_file(DATA, tmp_path)
    assert [row for part in items for row in part.remittances.rows()] == whole.remittances


def test_a_feeder_that_is_asked_to_stop_sends_no_message_more(
    tmp_path: Path, journal: FeedJournal
) -> None:
    path, broker = put(tmp_path / "in" / "a", DATA), Broker()
    feeder = feeder_of(broker, journal, tmp_path)
    taking = broker.send

    async def send(*args: object, **more: object) -> Awaitable[object]:
        feeder.stop()
        return await taking(*args, **more)  # type: ignore[arg-type]

    broker.send = send  # type: ignore[method-assign, assignment]
    asyncio.run(feed_all(feeder, path))
    assert len(broker.messages) == 1
    assert feeder.fed.sent_files == 0
    known = journal.of_content(blake3(DATA).digest())
    assert known is not None
    assert (known.acked, known.done) == (1, False)


def test_what_cannot_be_cut_goes_through_a_vault_and_is_refused_without_one(
    tmp_path: Path, journal: FeedJournal
) -> None:
    claims = tuple(f"CLP*A{n}*1*0*0**12*P{n:03}" for n in range(300))
    data = interchange(remittance("T1", 0, claims=claims), remittance("T2", 700, control="0002"))
    path, broker = put(tmp_path / "in" / "a", data), Broker()
    feeder = feeder_of(broker, journal, tmp_path)
    (reason,) = asyncio.run(feed_all(feeder, path))
    assert "vault" in reason
    assert (broker.messages, feeder.fed.refused_files) == ([], 1)
    vault = FakeVault()
    feeder = feeder_of(broker, journal, tmp_path, LargeParts(vault))
    assert asyncio.run(feed_all(feeder, path)) == [""]
    unread = broker.items(tmp_path)
    assert [bool(part.reason) for part in unread].count(True) == len(vault.contents) == 1
    broker.messages = [_with_bytes(message, vault) for message in broker.messages]
    whole = by_file(data, tmp_path)
    assert put_together(broker.items(tmp_path)).remittances == whole.remittances


class LargeParts:
    """Puts parts into a vault that is named w7."""

    def __init__(self, vault: FakeVault) -> None:
        self.vault = vault

    def put(self, pieces: Iterable[bytes | memoryview]) -> Reference:
        return Reference("w7", self.vault.put(pieces).digest)


def _with_bytes(message: RawMessage, vault: FakeVault) -> RawMessage:
    head = head_of(message)
    if not isinstance(head, PartHead) or head.reference is None:
        return message
    assert head.reference.vault == "w7"
    return RawMessage(vault.contents[head.reference.digest], message.headers, message.place)


def test_a_bad_file_is_told_and_the_others_are_sent(tmp_path: Path, journal: FeedJournal) -> None:
    put(tmp_path / "in" / "a", b"neither this nor that")
    put(tmp_path / "in" / "b", DATA)
    put(tmp_path / "in" / "policy.toml", b"[payees]\n")
    broker = Broker()
    feeder = feeder_of(broker, journal, tmp_path)
    reasons = asyncio.run(feed_all(feeder, tmp_path / "in"))
    assert [bool(reason) for reason in reasons] == [True, False, False]
    assert (feeder.fed.sent_files, feeder.fed.refused_files, feeder.fed.passed_over) == (1, 1, 1)
    assert feeder.fed.problems[0][0] == "a"


def test_a_fault_of_ours_costs_only_its_file(
    tmp_path: Path, journal: FeedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = feed.plan

    def fail(name: str, *args: Any, **more: Any) -> Any:
        if name == "a":
            raise ZeroDivisionError("a secret value")
        return planned(name, *args, **more)

    monkeypatch.setattr(feed, "plan", fail)
    for name in "ab":
        put(tmp_path / "in" / name, DATA)
    feeder = feeder_of(Broker(), journal, tmp_path)
    reasons = asyncio.run(feed_all(feeder, tmp_path / "in"))
    assert (feeder.fed.sent_files, feeder.fed.refused_files) == (1, 1)
    assert reasons[0].startswith("internal error")
    assert "secret" not in reasons[0]


def test_a_file_that_changes_while_it_is_sent_gets_no_manifest(
    tmp_path: Path, journal: FeedJournal
) -> None:
    path, broker = put(tmp_path / "in" / "a", DATA), Broker()
    feeder, source = feeder_of(broker, journal, tmp_path), source_of(path)
    taking = broker.send

    async def send(*args: object, **more: object) -> Awaitable[object]:
        os.utime(path, (1, 1))
        return await taking(*args, **more)  # type: ignore[arg-type]

    broker.send = send  # type: ignore[method-assign, assignment]

    async def run() -> str:
        reason = await feeder.feed(source)
        await feeder.drain()
        return reason

    assert "changed" in asyncio.run(run())
    assert all(isinstance(head_of(message), PartHead) for message in broker.messages)
    assert feeder.fed.sent_files == 0


def test_bytes_on_the_way_are_limited(
    tmp_path: Path, journal: FeedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "IN_FLIGHT_BYTES_MAX", 2 * PART_BYTES)
    path = put(tmp_path / "in" / "a", DATA)
    waiting: list[asyncio.Future[object]] = []
    most = 0

    class Slow(Broker):
        async def send(
            self, topic: str, value: bytes, *, key: bytes, headers: Sequence[tuple[str, bytes]]
        ) -> Awaitable[object]:
            nonlocal most
            await super().send(topic, value, key=key, headers=headers)
            loop = asyncio.get_running_loop()
            done: asyncio.Future[object] = loop.create_future()
            waiting.append(done)
            most = max(most, sum(not each.done() for each in waiting))
            loop.call_later(0.001, done.set_result, None)
            return done

    broker = Slow()
    asyncio.run(feed_all(feeder_of(broker, journal, tmp_path), path))
    assert 1 < most <= 3
    assert len(broker.messages) > 6


def test_a_journal_is_of_one_stream(tmp_path: Path) -> None:
    """What was sent to one stream would be left out for another."""
    with FeedJournal(tmp_path / "journal") as kept:
        kept.belong("cluster/reassoc")
        kept.belong("cluster/reassoc")
    with FeedJournal(tmp_path / "journal") as again:
        again.belong("cluster/reassoc")
        with pytest.raises(JournalError, match=r"another stream .*name another journal"):
            again.belong("cluster/other")
