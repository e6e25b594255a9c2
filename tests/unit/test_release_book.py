"""The release book: each remittance in one file per sending, numbers that never repeat, names that
tell parties apart.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_world import AT, DAY, Crash, World, open_world, order_of
from small_feed import Entry as AchEntry
from small_feed import Marks, ach_file, interchange, remittance
from sqlalchemy import func, select, update

from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import LimitError
from reassoc.core.x12_835 import read_835
from reassoc.stream import release, release_draft
from reassoc.stream.envelope import CONTROL_NUMBER_MAX, Fallback, profile_of, written_identities
from reassoc.stream.ledger_audit import verify
from reassoc.stream.ledger_rows import ORDER_ROW, ReleaseOrder, rows_of
from reassoc.stream.ledger_schema import control_number, release_event, release_file, release_item
from reassoc.stream.profiles import (
    PROFILE_BYTES_MAX,
    ProfileError,
    decode_profile,
    encode_profile,
    profile_key,
)
from reassoc.stream.release_book import ReleaseBookError, ReleaseCounts
from reassoc.stream.release_draft import OrderError, party_name
from reassoc.stream.releaser import FAULT_POINTS
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.sinks import Written


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


def file_of(
    controls: list[int], *, receiver: str = "RECEIVER", sender: str = "SENDER", mark: str = ""
) -> bytes:
    """A file of remittances with these ST02; `mark` makes files differ."""
    one = [
        remittance(f"T{mark}{row}", 100 + row, control=f"{control:04d}")
        for row, control in enumerate(controls)
    ]
    return interchange(*one, receiver=receiver, sender=sender, set_count=len(one))


# ---- the property: whatever the split, whatever the crash ----

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where syncs cost nothing."""

FILES = [
    file_of([1, 2, 3, 2], mark="a"),
    file_of([1, 1], receiver="OTHER", mark="b"),
    file_of([5, 6, 7], sender="SECOND", mark="c"),
    interchange(remittance("Td", 5, marks=Marks("|", ">", "\n")), marks=Marks("|", ">", "\n")),
]
CARRIED = ach_file(*(AchEntry(7 + n, payload=interchange(remittance("E", 7 + n))) for n in (0, 1)))
ITEMS = [
    (data, row, sending, carried)
    for data, count, carried in [
        *((data, len(read_835(data).transactions), False) for data in FILES),
        (CARRIED, 2, True),
    ]
    for row in range(count)
    for sending in (1, 2)
]


@st.composite
def calls(draw: st.DrawFn) -> list[list[ReleaseOrder]]:
    """All items in any order, split into orders and calls anyhow; some orders come again."""
    order = draw(st.permutations(ITEMS))
    cuts = draw(st.lists(st.integers(0, len(order)), max_size=5))
    parts = itertools.pairwise([0, *sorted(cuts), len(order)])
    orders: list[list[ReleaseOrder]] = []
    for number, (start, stop) in enumerate(parts):
        by_file: dict[tuple[bytes, int, bool], list[int]] = {}
        for data, row, sending, carried in order[start:stop]:
            by_file.setdefault((data, sending, carried), []).append(row)
        orders.append(
            [
                order_of(data, rows, sending=sending, carried=carried, position=number + 1)
                for (data, sending, carried), rows in by_file.items()
            ]
        )
    again = draw(st.lists(st.integers(0, len(orders) - 1), max_size=3))
    return orders + [orders[number] for number in again]


@settings(max_examples=25)
@given(
    calls(),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(FAULT_POINTS), st.integers(1, 6)), max_size=4),
)
def test_each_is_in_one_file_whatever_the_split_and_the_crashes(
    orders: list[list[ReleaseOrder]], files_of: int, crashes: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, open_world(Path(folder)) as world:
        for data in (*FILES, CARRIED):
            world.keep(data)
        waiting = list(crashes)
        for call in orders:
            world.intend(*call, files_of=files_of)
            run_through(world, waiting)
        run_through(world, waiting)
        check_book(world, files_of)
        check_files(world)


def run_through(world: World, crashes: list[tuple[str, int]]) -> None:
    """Run until everything is delivered, with crashes and restarts between."""
    for _ in range(len(crashes) + 1):
        point, visit = crashes.pop() if crashes else ("", 0)
        passed = Counter[str]()

        def fault(
            name: str, point: str = point, visit: int = visit, passed: Counter[str] = passed
        ) -> None:
            passed[name] += 1
            if name == point and passed[name] == visit:
                raise Crash(name)

        world.restart(fault)
        try:
            world.releaser.run_once()
        except Crash:
            continue
    world.restart()
    world.releaser.run_once()
    assert world.book.unfinished() == []


def check_book(world: World, files_of: int) -> None:
    with world.ledger.reading() as connection:
        rows = connection.execute(
            select(
                release_item.c.tenant,
                release_item.c.digest,
                release_item.c.offset,
                release_item.c.sending,
                release_item.c.file,
                release_item.c.place,
            )
        ).all()
        done = connection.execute(
            select(func.count()).select_from(release_event).where(release_event.c.event == 2)
        ).scalar()
        files = connection.execute(select(release_file)).all()
    assert len(rows) == len({row[:4] for row in rows}) == len(ITEMS)
    assert done == len(files)
    for file in files:
        places = sorted(row.place for row in rows if row.file == file.file)
        assert places == list(range(file.item_count))
        assert file.item_count <= files_of


def check_files(world: World) -> None:
    """Numbers, counts and groups of what receivers got, as a reader sees them."""
    interchanges: Counter[tuple[str, str, str]] = Counter()
    groups: Counter[tuple[str, str, str]] = Counter()
    bodies: Counter[bytes] = Counter()
    for data in world.files().values():
        x12 = read_835(data)
        assert [x12.message(row) for row in range(len(x12.findings))] == []
        (sender,), (receiver,) = (
            x12.interchanges.sender.to_list(),
            x12.interchanges.receiver.to_list(),
        )
        interchanges[sender, receiver, x12.interchanges.control_number[0]] += 1
        for number in x12.groups.control_number.to_list():
            groups[sender, receiver, number] += 1
        seen = zip(
            x12.transactions.group.tolist(),
            x12.transactions.control_number.to_list(),
            strict=True,
        )
        assert max(Counter(seen).values()) == 1, "an ST02 repeats in its group"
        places = zip(x12.transactions.offset.tolist(), x12.transactions.end.tolist(), strict=True)
        bodies.update(data[start:stop] for start, stop in places)
    assert max(interchanges.values()) == max(groups.values()) == 1
    sent = Counter[bytes]()
    for data, row, _, carried in ITEMS:
        order = rows_of(order_of(data, [row], carried=carried).items, ORDER_ROW)[0]
        if carried:
            inner = interchange(remittance("E", 7 + row))
            x12 = read_835(inner)
            sent[inner[int(x12.transactions.offset[0]) : int(x12.transactions.end[0])]] += 1
        else:
            sent[data[order["start"] : order["stop"]]] += 1
    assert bodies == sent


# ---- what one call does ----


def test_numbers_go_on_between_two_parties(world: World) -> None:
    first = world.intend(order_of(file_of([1, 1, 1], mark="a")))
    other = world.intend(order_of(file_of([1], receiver="OTHER", mark="b")))
    second = world.intend(order_of(file_of([1, 2], mark="c")))
    numbers = [
        (one.interchange_control, one.group_control_first, one.group_count)
        for one in (*first, *other, *second)
    ]
    assert numbers == [(1, 1, 3), (1, 1, 1), (2, 4, 1)]
    assert second[0].name == "RECEIVER_SENDER_000000002.x12"
    assert second[0].day == DAY


def test_a_repeat_of_the_outbox_intends_nothing(world: World) -> None:
    order, more = order_of(file_of([1, 2], mark="a")), order_of(file_of([1, 2, 3], mark="b"))
    part = order_of(file_of([1, 2, 3], mark="b"), [1])
    assert len(world.intend(order, part)) == 1
    assert world.intend(order, part, order) == []
    assert [one.item_count for one in world.intend(order, more, more)] == [2]
    twice = order_of(file_of([1], mark="c"), sending=2)
    assert [one.item_count for one in world.intend(twice, twice)] == [1]
    sequence = world.ledger.heads()[""][0]
    assert world.intend(order, part, order) == []
    assert world.ledger.heads()[""][0] == sequence, "nothing new is no batch"


def test_an_item_released_for_another_tenant_is_left_out_and_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    data = file_of([1, 2])
    world.intend(order_of(data, [0], tenant="south"))
    (intent,) = world.intend(order_of(data))
    assert intent.item_count == 1
    assert "1 remittances were released for another tenant" in caplog.text


def test_what_has_no_bytes_here_is_booked_without_a_file(world: World) -> None:
    order = order_of(file_of([1, 2, 3]))
    rows = rows_of(order.items, ORDER_ROW).copy()
    rows["start"][0] = -1
    rows["stop"][1] = rows["start"][1]
    rows["release_kind"][:2] = 2
    bare = ReleaseOrder(order.tenant, 1, DAY, rows.tobytes(), order.controls, order.profiles)
    (intent,) = world.intend(bare)
    assert intent.item_count == 1
    cents = int(rows["cents"][2])
    assert world.book.counts() == ReleaseCounts(1, 1, cents, 1, 1, cents, 2)
    assert [one.number for one in world.book.unfinished()] == [intent.number]
    with world.ledger.reading() as connection:
        kinds = connection.execute(
            select(release_item.c.release_kind).where(release_item.c.file != intent.number)
        )
        assert kinds.scalars().all() == [2, 2]
    assert world.intend(bare) == []


def test_an_order_without_bytes_at_all_is_done(world: World) -> None:
    order = order_of(file_of([1, 2]))
    rows = rows_of(order.items, ORDER_ROW).copy()
    rows["start"] = -1
    bare = ReleaseOrder(order.tenant, 1, DAY, rows.tobytes(), order.controls, order.profiles)
    assert world.intend(bare) == world.book.unfinished() == []
    assert world.book.counts().without_file_count == 2
    assert world.intend(ReleaseOrder("t", 1, DAY, b"", (), ())) == []


def test_orders_that_contradict_themselves_are_refused(world: World) -> None:
    order = order_of(file_of([1, 2]))
    fields = (order.tenant, 7, DAY, order.items)
    with pytest.raises(OrderError, match="position 7 has 1 ST02 for 2 rows"):
        world.intend(ReleaseOrder(*fields, order.controls[:1], order.profiles))
    with pytest.raises(OrderError, match="position 7 names an envelope profile"):
        world.intend(ReleaseOrder(*fields, order.controls, ()))
    assert world.ledger.heads().get("") is None


def test_limits_are_checked(world: World) -> None:
    world.intend(order_of(file_of([1], mark="a")))
    with world.ledger.writing() as connection:
        connection.execute(update(control_number).values(last_interchange=CONTROL_NUMBER_MAX))
    heads = world.ledger.heads()
    with pytest.raises(LimitError, match="CONTROL_NUMBER_MAX"):
        world.intend(order_of(file_of([1], mark="b")))
    assert world.ledger.heads() == heads


def test_what_is_ordered_at_once_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_draft, "ORDER_ITEMS_MAX", 3)
    large, small = order_of(file_of([1, 1, 1, 1, 1])), order_of(file_of([1, 1], mark="b"))
    nothing = ReleaseOrder("t", 1, DAY, b"", (), ())
    intents = world.intend(large, nothing, small, large)
    assert [one.item_count for one in intents] == [3, 3, 1]
    assert world.book.counts().item_count == 7


def test_groups_and_files_have_limits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "INTERCHANGE_GROUPS_MAX", 2)
    data = file_of([1, 1, 1, 2, 3, 3])
    world.keep(data)
    intents = world.intend(order_of(data), files_of=5)
    assert [(one.item_count, one.group_count) for one in intents] == [(2, 2), (3, 1), (1, 1)]
    assert [one.group_control_first for one in intents] == [1, 3, 4]
    world.releaser.run_once()
    assert all(not len(read_835(file).findings) for file in world.files().values())


def test_an_order_without_a_day_has_that_of_the_moment(world: World) -> None:
    order = order_of(file_of([1]))
    (intent,) = world.book.intend([order], day=DATE_NONE, at=AT, rules=WarehouseRules())
    assert intent.day == DAY


def test_what_has_become_of_a_file_is_final(world: World) -> None:
    (intent,) = world.intend(order_of(file_of([1])))
    book, number, written = world.book, intent.number, Written(3, bytes(32))
    with pytest.raises(ReleaseBookError, match="no file 9"):
        book.done([(9, 1)], at=AT)
    with pytest.raises(ReleaseBookError, match="not in doubt"):
        book.answer(number, delivered=True, at=AT)
    book.prepared([(number, written)], at=AT)
    (found,) = book.unfinished()
    assert (found.prepared, found.is_in_doubt) == (written, False)
    with pytest.raises(ReleaseBookError, match="by another process"):
        book.prepared([(number, written)], at=AT)
    book.in_doubt(number, at=AT)
    assert book.unfinished()[0].is_in_doubt
    book.answer(number, delivered=False, at=AT)
    (found,) = book.unfinished()
    assert (found.prepared, found.is_in_doubt) == (None, False)
    book.prepared([(number, written)], at=AT)
    book.done([(number, 1)], at=AT)
    assert book.unfinished() == []
    with pytest.raises(ReleaseBookError, match="delivered already"):
        book.done([(number, 1)], at=AT)
    with pytest.raises(ReleaseBookError, match="delivered already"):
        book.in_doubt(number, at=AT)


def test_unfinished_files_come_in_pages_and_old_ones_are_not_looked_at_again(
    world: World,
) -> None:
    for row in range(5):
        world.intend(order_of(file_of([1], mark=str(row))))
    book = world.book
    assert [one.number for one in book.unfinished(limit=2)] == [1, 2]
    assert [one.number for one in book.unfinished(2, limit=2)] == [3, 4]
    for number in (1, 2, 4):
        book.done([(number, 1)], at=AT)
    assert [one.number for one in book.unfinished()] == [3, 5]
    assert [one.number for one in book.unfinished(3)] == [5]
    book.done([(3, 1)], at=AT)
    book.done([(5, 1)], at=AT)
    assert book.unfinished() == book.unfinished() == []
    world.intend(order_of(file_of([1], mark="z")))
    assert [one.number for one in book.unfinished()] == [6]
    counts = book.counts()
    assert (counts.file_count, counts.waiting_file_count, counts.waiting_item_count) == (6, 1, 1)


def test_the_chain_holds_over_the_book(world: World) -> None:
    data = file_of([1, 2])
    world.keep(data)
    world.intend(order_of(data))
    world.releaser.run_once()
    with world.ledger.reading() as connection:
        verification = verify(connection)
    assert verification.fault is None
    assert verification.heads[""][0] == 3


# ---- names ----

identities = st.one_of(
    st.sampled_from(
        [b"ABC", b"abc", b"A B", b"A-B", b"A B ", b"A:B", b"A>B", b"\xff", b"", b"A" * 40]
    ),
    st.binary(max_size=20),
)


@given(st.lists(st.tuples(st.sampled_from([b"ZZ", b"30", b"", b"zz"]), identities), min_size=2))
def test_different_parties_have_different_names(parties: list[tuple[bytes, bytes]]) -> None:
    names: dict[str, tuple[bytes, bytes, bytes]] = {}
    # A letter may be a delimiter: then it is a blank in what is written.
    for (qualifier, identity), component in itertools.product(parties, b":>B"):
        spare = Fallback(b"S", identity, b"005010X221A1")
        made = profile_of(b"", b"", (ord("*"), component, ord("~")), spare)
        made = replace(made, receiver=identity, receiver_qualifier=qualifier)
        written = written_identities(made)[1]
        name = party_name(qualifier, identity, written)
        assert names.setdefault(name, (qualifier, identity, written)) == (
            qualifier,
            identity,
            written,
        )
    assert len({name.casefold() for name in names}) == len(names)
    assert all(name.isascii() and name.replace("-", "").isalnum() for name in names)


def test_names_that_people_know_are_kept() -> None:
    assert party_name(b"ZZ", b"RECEIVER", b"ZZRECEIVER       ") == "RECEIVER"
    assert party_name(b"30", b"943210987", b"30943210987      ") == "943210987-30"
    assert party_name(b"ZZ", b"A CLINIC", b"ZZA CLINIC       ").startswith("A-CLINIC-")


# ---- profiles ----


@given(st.binary(max_size=20), st.binary(max_size=20), st.sampled_from(list(b"*|^")))
def test_profiles_come_back(sender: bytes, receiver: bytes, element: int) -> None:
    made = profile_of(b"", b"", (element, 0, ord("~")), Fallback(sender, receiver, b""))
    assert decode_profile(encode_profile(made)) == made
    assert profile_key(made) == profile_key(decode_profile(encode_profile(made)))
    other = profile_of(b"", b"", (element, 0, ord("~")), Fallback(sender + b"1", receiver, b""))
    assert profile_key(made) != profile_key(other)


def test_the_key_of_a_profile_never_changes() -> None:
    made = profile_of(b"", b"", (42, 0, 58), Fallback(b"USA", b"\xff\x00", b"004010X091A1"))
    assert profile_key(made) == 5142164644809462234


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xc1", b"\x90", bytes(PROFILE_BYTES_MAX + 1)])
def test_damaged_profiles_are_refused(data: bytes) -> None:
    with pytest.raises(ProfileError):
        decode_profile(data)


def test_profiles_with_impossible_parts_are_refused() -> None:
    made = profile_of(b"", b"", (42, 0, 58), Fallback(b"USA", b"R", b""))
    with pytest.raises(ProfileError, match="delimiter"):
        decode_profile(encode_profile(made).replace(b"\xa7element\x2a", b"\xa7element\xcd\x01\x00"))
    long = profile_of(b"", b"", (42, 0, 58), Fallback(b"U" * PROFILE_BYTES_MAX, b"R", b""))
    with pytest.raises(ProfileError, match="PROFILE_BYTES_MAX"):
        encode_profile(long)
