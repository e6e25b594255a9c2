"""The releaser: files from vault to sink, the same bytes each time, failures that are seen."""

from __future__ import annotations

import logging
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from release_world import TENANT, World, open_world, order_of
from small_feed import Entry, Marks, ach_file, interchange, remittance
from sqlalchemy import update
from x12_peers import oxedi_sums, pyx12_sums

from reassoc.core.x12_835 import read_835
from reassoc.stream import readers
from reassoc.stream.items import id_bytes
from reassoc.stream.ledger_rows import ORDER_ROW, rows_of
from reassoc.stream.ledger_schema import release_file
from reassoc.stream.release_book import FailureCode
from reassoc.stream.releaser import RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX, Run


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


def sets(count: int, *, same_control: bool = False, marks: Marks | None = None) -> list[bytes]:
    return [
        remittance(
            f"T{number}",
            100 + number,
            control="0001" if same_control else f"{number:04d}",
            marks=marks or Marks(),
        )
        for number in range(1, count + 1)
    ]


def check_with_peers(data: bytes, count: int, cents: int) -> None:
    """Three readers find the same in a released file, and nothing wrong with it."""
    x12 = read_835(data)
    assert [x12.message(row) for row in range(len(x12.findings))] == []
    assert (len(x12.transactions), int(x12.transactions.paid_cents.sum())) == (count, cents)
    for sums in (oxedi_sums(data), pyx12_sums(data)):
        assert not isinstance(sums, str)
        assert (sums.transactions, sums.paid_cents) == (count, cents)


def bodies(data: bytes) -> list[bytes]:
    x12 = read_835(data)
    places = zip(x12.transactions.offset.tolist(), x12.transactions.end.tolist(), strict=True)
    return [data[start:stop] for start, stop in places]


@pytest.mark.parametrize("between", ["", "\n", "\r\n"])
@pytest.mark.parametrize("span_bytes", [1, 2000, 1 << 20])
def test_files_hold_the_transactions_byte_for_byte(
    world: World, between: str, span_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SPAN_BYTES_MAX", span_bytes)
    marks = Marks(between=between)
    one = interchange(*sets(9, marks=marks), marks=marks, set_count=9)
    other = interchange(*sets(4, same_control=True, marks=marks), marks=marks, set_count=4)
    for data in (one, other):
        world.keep(data)
    chosen = [8, 0, 1, 2, 5]
    (intent,) = world.intend(order_of(other), order_of(one, chosen))
    assert world.releaser.run_once() == Run(1, 0, 0, 0)
    ((name, data),) = world.files().items()
    assert name == "RECEIVER/RECEIVER_SENDER_000000001.x12"
    kept = [bodies(one)[row] for row in sorted(chosen)]
    assert bodies(data) == bodies(other) + kept
    assert read_835(data).groups.transaction_count.tolist() == [1, 1, 1, 1, 5]
    check_with_peers(data, 9, intent.cents)
    assert world.releaser.run_once() == Run(0, 0, 0, 0)


def test_neighbours_are_one_read(world: World) -> None:
    data = interchange(*sets(200), set_count=200)
    world.keep(data)
    world.intend(order_of(data, range(0, 200, 2)))
    world.releaser.run_once()
    assert world.vault.reads == 1


def test_remittances_in_addenda_are_released(world: World) -> None:
    payloads = [interchange(one) for one in sets(3, same_control=True)]
    data = ach_file(*(Entry(101 + place, payload=one) for place, one in enumerate(payloads)))
    world.keep(data)
    (intent,) = world.intend(order_of(data, [0, 2], carried=True))
    assert world.releaser.run_once().delivered_count == 1
    (released,) = world.files().values()
    check_with_peers(released, 2, 101 + 103)
    assert bodies(released) == [bodies(payloads[0])[0], bodies(payloads[2])[0]]
    assert intent.group_count == 2


def test_a_resend_is_a_new_file(world: World) -> None:
    data = interchange(*sets(2), set_count=2)
    world.keep(data)
    world.intend(order_of(data))
    world.releaser.run_once()
    world.intend(order_of(data, [1], sending=2))
    world.releaser.run_once()
    first, second = world.files().values()
    assert bodies(first)[1:] == bodies(second)
    assert read_835(second).interchanges.control_number.to_list() == ["000000002"]


def test_a_damaged_content_fails_alone_and_is_seen(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bad = interchange(remittance("SECRETTRACE", 5), receiver="BAD")
    good = interchange(remittance("T1", 7), receiver="GOOD")
    digest = world.keep(bad)
    world.keep(good)
    world.vault.damaged.add(digest)
    (_, intent) = world.intend(order_of(bad), order_of(good))
    assert intent.receiver == "GOOD"
    with caplog.at_level(logging.INFO, "reassoc.stream.releaser"):
        assert world.releaser.run_once() == Run(1, 1, 0, 0)
    assert list(world.files()) == ["GOOD/GOOD_SENDER_000000001.x12"]
    failure = world.releaser.status().last_failure
    assert failure is not None
    assert (failure.code, failure.attempts, failure.is_of_receiver) == (
        FailureCode.CONTENT,
        1,
        False,
    )
    assert "frame 3" in failure.text
    assert "SECRETTRACE" not in caplog.text
    assert len(caplog.records) == 2
    assert world.failures == [failure]
    assert list((world.released / ".partial").iterdir()) == []
    world.vault.damaged.clear()
    world.sleep(RETRY_SECONDS_FIRST)
    assert world.releaser.run_once() == Run(1, 0, 0, 0)
    assert world.releaser.status().failures == ()
    assert [one.failure_code for one in world.book.unfinished()] == []


def test_a_run_that_is_not_to_go_on_leaves_the_rest_for_the_next(world: World) -> None:
    for receiver in ("ONE", "TWO", "THREE"):
        data = interchange(*sets(2), set_count=2, receiver=receiver)
        world.keep(data)
        world.intend(order_of(data))
    took: list[float] = []

    def once(seconds: float) -> bool:
        took.append(seconds)
        return len(took) != 1

    world.releaser._group_files_max = 1
    assert world.releaser.run_once(once) == Run(1, 0, 0, 0)
    assert len(world.files()) == 1
    assert world.releaser.run_once(once) == Run(2, 0, 0, 0)
    assert len(world.files()) == 3
    assert len(took) == 3
    assert all(seconds >= 0 for seconds in took)


def test_without_its_ledger_the_releaser_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its errors are of the kinds that a sink has too: they must not pass for a sink's."""
    data = interchange(*sets(2), set_count=2)
    world.keep(data)
    world.intend(order_of(data))

    def down(*_: object, **__: object) -> None:
        raise OSError("the ledger's database failed")

    for method in ("bodies", "sources", "prepared", "done", "unfinished"):
        with monkeypatch.context() as patched:
            patched.setattr(world.book, method, down)
            with pytest.raises(OSError, match="database failed"):
                world.releaser.run_once()
    assert world.failures == []
    assert world.releaser.run_once().delivered_count == 1
    assert len(world.files()) == 1


def test_a_damaged_row_of_the_book_fails_alone(world: World) -> None:
    for receiver in ("BAD", "GOOD"):
        data = interchange(*sets(2), set_count=2, receiver=receiver)
        world.keep(data)
        world.intend(order_of(data))
    with world.ledger.writing() as connection:
        connection.execute(update(release_file).where(release_file.c.file == 1).values(body=b"x"))
    assert world.releaser.run_once() == Run(1, 1, 0, 0)
    assert "audit verify" in world.failures[0].text


def test_a_wrong_place_sends_nothing(world: World) -> None:
    data = interchange(*sets(2), set_count=2)
    world.vault.contents[world.keep(data)] = b"x" + data
    world.intend(order_of(data))
    assert world.releaser.run_once().failed_count == 1
    assert world.files() == {}
    assert world.failures[0].code == FailureCode.CONTENT


def test_an_unknown_source_fails_until_it_is_known(world: World) -> None:
    data = interchange(*sets(2), set_count=2)
    world.intend(order_of(data))
    assert world.releaser.run_once().failed_count == 1
    assert "does not know the file" in world.failures[0].text
    world.keep(data)
    world.sleep(RETRY_SECONDS_FIRST)
    assert world.releaser.run_once().delivered_count == 1


def test_a_failing_receiver_waits_longer_and_longer_and_alone(world: World) -> None:
    for receiver in ("BAD", "GOOD"):
        for number in range(3):
            data = interchange(remittance(f"T{number}", 5 + number), receiver=receiver)
            world.keep(data)
            world.intend(order_of(data))
    world.released.mkdir()
    blocked = world.released / "BAD"
    blocked.write_bytes(b"not a folder")
    assert world.releaser.run_once() == Run(3, 1, 2, 0)
    waits = []
    for _ in range(14):
        (failure,) = world.releaser.status().failures
        assert (failure.is_of_receiver, failure.receiver) == (True, "BAD")
        waits.append(int((failure.next_at - failure.at).total_seconds()))
        world.sleep(waits[-1] - 1)
        assert world.releaser.run_once() == Run(0, 0, 3, 0)
        world.sleep(1)
        assert world.releaser.run_once() == Run(0, 1, 2, 0)
    assert waits == [min(RETRY_SECONDS_FIRST << n, RETRY_SECONDS_MAX) for n in range(14)]
    assert len(world.failures) == 1, "one alert for one trouble"
    assert failure.attempts == 14
    blocked.unlink()
    world.sleep(RETRY_SECONDS_MAX)
    assert world.releaser.run_once() == Run(3, 0, 0, 0)
    assert Counter(name.split("/")[0] for name in world.files()) == {"BAD": 3, "GOOD": 3}
    assert world.releaser.status().failures == ()


def test_a_full_disk_leaves_nothing_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = interchange(*sets(300), set_count=300)
    world.keep(data)
    world.intend(order_of(data))
    world.sink.make_ready()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patched:
        # The limit would stop the ledger as well, which is larger.
        patched.setattr(world.book, "failed", lambda *_, **__: None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(data) // 2, before[1]))
        try:
            assert world.releaser.run_once().failed_count == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert world.failures[0].code == FailureCode.SINK
    assert "File too large" in world.failures[0].text
    assert list((world.released / ".partial").iterdir()) == []
    world.sleep(RETRY_SECONDS_FIRST)
    assert world.releaser.run_once().delivered_count == 1
    check_with_peers(next(iter(world.files().values())), 300, int(sum(range(101, 401))))


def test_released_names_tell_the_last_file_of_each(world: World) -> None:
    data = interchange(*sets(3), set_count=3)
    world.keep(data)
    order = order_of(data)
    world.intend(order_of(data, [0, 1]))
    world.intend(order_of(data, [1], sending=2))
    rows = rows_of(order.items, ORDER_ROW)
    ids = id_bytes(rows["digest"].copy(), rows["offset"].copy())
    first, second = "RECEIVER_SENDER_000000001.x12", "RECEIVER_SENDER_000000002.x12"
    assert world.book.released_names(TENANT, ids) == [first, second, ""]
    assert world.book.released_names("other", ids) == ["", "", ""]
