"""Keys that more records have than a probe brings: what is near them waits for the clock, and
people decide all the same."""

from __future__ import annotations

from pathlib import Path

import engine_world
import pytest
from case_files import Entry, Remit, ach, era, returned
from engine_world import World
from state_memory import MemoryState, MemoryStore

from reassoc.stream import state
from reassoc.stream.item_log import DecisionEntry
from reassoc.stream.items import RecordKind
from reassoc.stream.state import Records

KEY_RECORDS_MAX = 3


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(state, "KEY_RECORDS_MAX", KEY_RECORDS_MAX)
    monkeypatch.setattr(engine_world, "SqliteState", lambda _: MemoryState(MemoryStore()))
    made = World(tmp_path / "w")
    made.tick("2026-03-16T12:00:00-04:00")
    return made


def fed(world: World, name: str, data: bytes) -> None:
    path = world.folder / name
    path.write_bytes(data)
    world.feed(world.sources(path))
    world.settle()


def statuses(world: World) -> list[str]:
    return [line.split(",")[1] for line in world.matches()[1:]]


def test_a_decision_about_items_near_a_crowded_key(world: World) -> None:
    fed(world, "era", era(Remit(trace="9999")))
    for number in range(2 * KEY_RECORDS_MAX):  # of one account and amount
        fed(world, f"eft{number}", ach(Entry(number=number + 1, trace=f"88{number}")))
    (tenant,) = (name for name in world.state.tenants() if not name.startswith("~"))
    there = Records.concat(list(world.state.scan(tenant)))
    remittance, payment = (
        there.of_kind(kind).ids[0].tobytes() for kind in (RecordKind.REMITTANCE, RecordKind.PAYMENT)
    )
    world.log.append([(tenant, DecisionEntry("match", "1", "me", "seen", remittance, payment))])
    world.settle()
    (line,) = world.matches()[1:]
    assert "a person" in line


@pytest.mark.parametrize("numbered_alike", [1, 2 * KEY_RECORDS_MAX])
def test_many_of_one_number_match_at_once_and_a_return_of_it_by_the_clock(
    world: World, numbered_alike: int
) -> None:
    entries = [
        Entry(number=7, trace=f"88{place}", cents=100 + place, account=f"{70 + place}")
        for place in range(numbered_alike)
    ]
    for place, entry in enumerate(entries):
        remit = Remit(trace=entry.trace, claims=(entry.cents,), account=entry.account)
        fed(world, f"era{place}", era(remit, number=place + 1))
        fed(world, f"eft{place}", ach(entry))
    assert statuses(world) == ["auto"] * numbered_alike
    fed(world, "back", ach(returned(entries[-1]), created="260318"))
    world.tick("2026-03-18T23:59:00-04:00")
    assert sorted(statuses(world)) == ["auto"] * (numbered_alike - 1) + ["unmatched"]
