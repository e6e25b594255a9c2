"""Items that go to another tenant: handed on once the ledger knows, once more after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_machine import Home, View, id_of, made_of

from reassoc.stream.item_log import DecisionEntry, Entry, ItemsEntry, SettingsEntry, encode_entry
from reassoc.stream.items import ItemFlag
from reassoc.stream.ledger_rows import decode_body
from reassoc.stream.rerouting import handed_on
from reassoc.stream.sqlite_file import StoreError

COUNT = 40
MOVED = int(ItemFlag.MOVED)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """One tenant with items of both kinds that wait."""
    made = Home(tmp_path / "w", SettingsEntry("", "", b"", b""), with_ledger=False)
    remittances = [{"paid_cents": 100 + number} for number in range(COUNT)]
    payments = [{"amount_cents": 90_000 + number, "ach_trace": number} for number in range(COUNT)]
    supply = made_of(remittances, payments)
    made.log.append([("north", supply.entry([*range(COUNT)], [*range(COUNT)]))])
    made.settle()
    yield made
    made.close()


def move(home: Home, target: str = "south") -> None:
    """All items of the tenant, in one decision."""
    view = View(home, "north")
    ids = (b"".join(map(id_of, sorted(side))) for side in (view.left, view.right))
    home.log.append([("north", DecisionEntry("move", "n1", "me", "why", *ids, tenant=target))])


def here(home: Home, tenant: str) -> tuple[int, int]:
    """Items of a tenant that have not moved away."""
    view = View(home, tenant)
    sides = (view.left, view.right)
    left, right = (sum(not row["flags"] & MOVED for row in side.values()) for side in sides)
    return left, right


def test_what_moved_comes_once_though_its_handing_on_failed_and_crashed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(home)
    append, failures = home.log.append, iter(["before", "behind"])

    def failing(entries: Sequence[tuple[str, Entry]], *more: Any) -> list[int]:
        when = next(failures, "")
        if when == "before":
            raise StoreError("the disk is full")
        positions = append(entries, *more)
        if when == "behind":
            raise StoreError("nobody knows whether it is there")
        return positions

    monkeypatch.setattr(home.log, "append", failing)
    for _ in range(2):
        with pytest.raises(StoreError):
            home.settle()
        assert here(home, "north") == (0, 0)
        home.restart()
    home.settle()
    assert next(failures, None) is None
    assert here(home, "south") == (COUNT, COUNT)
    rows = [row for _, batch in home.books.batches for row in batch.decisions]
    assert {row.item_count for row in rows} == {2 * COUNT}


def test_what_was_handed_on_meanwhile_is_not_settled(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.engine.is_settled()
    move(home)
    assert not home.engine.is_settled()
    while home.engine.match(1):
        pass
    assert not home.engine.is_settled()
    # The publisher, between the two questions: its outbox is empty then.
    is_published = home.engine.is_published

    def publishes() -> bool:
        while home.engine.publish():
            pass
        return is_published()

    monkeypatch.setattr(home.engine, "is_published", publishes)
    assert not home.engine.is_settled()
    while home.engine.match(1):
        pass
    home.settle()
    assert home.engine.is_settled()


def test_a_move_to_nobody_else_is_refused(home: Home) -> None:
    for target in ("", "north", "~quarantine"):
        move(home, target)
    home.settle()
    assert here(home, "north") == (COUNT, COUNT)
    assert list(home.log.tenants()) == ["north"]


def test_what_a_log_has_no_room_for_comes_in_pieces(home: Home) -> None:
    move(home)
    while home.engine.match(1):
        pass
    bodies = [decode_body(entry.body) for entry in home.state.outbox("north", 100)]
    moves = [body.moved for body in bodies if body.moved is not None]
    whole = handed_on(home.state, moves)
    assert len(whole) == 1
    size = len(encode_entry(whole[0][1]))
    pieces = handed_on(home.state, moves, size // 3)
    assert len(pieces) > 3
    assert all(len(encode_entry(entry)) <= size // 3 for _, entry in pieces)
    home.log.append(pieces)
    while home.engine.match(1):
        pass
    assert here(home, "south") == (COUNT, COUNT)
    assert handed_on(home.state, moves) == [], "the other tenant has all of it"
    assert all(isinstance(entry, ItemsEntry) and not entry.sources for _, entry in pieces)
