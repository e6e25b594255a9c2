"""Steps that are made together are, byte for byte, those that are made one by one: whatever the
items of several tenants have in common, and however entries come.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from engine_world import World
from partitions import Reading, Topic, topic_of
from pieces import shares_of
from state_memory import MemoryState

from reassoc.core.errors import ReassocError
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream import item_steps, stepping
from reassoc.stream.item_log import ItemsEntry
from reassoc.stream.item_steps import ApartError
from reassoc.stream.records import Block
from reassoc.stream.state import Claim, Records, Step

PAYMENTS, TENANTS = 240, 24
DAYS = ("2026-03-17T12:00", "2026-03-18T12:00", "2026-03-19")
FIELDS = ("ids", "kinds", "keys", "key_stops")


def told(step: Step) -> tuple[object, ...]:
    """All that a step says, byte for byte."""

    def block(some: Block) -> list[object]:
        return [some.data, some.stops.tolist()]

    def records(some: Records) -> list[object]:
        return [*(getattr(some, name).tobytes() for name in FIELDS), *block(some.bodies)]

    return (
        (step.mark_before, step.mark_after, step.new_count, *map(bytes, step.outbox)),
        records(step.puts),
        (step.updates.tobytes(), *block(step.update_bodies)),
        step.removes.tobytes(),
    )


@dataclass
class Told:
    """What the steps of a reading were, and how many of them were made with others."""

    steps: dict[tuple[str, int], object] = field(default_factory=dict)
    together: int = 0
    apart: int = 0


def read(topic: Topic, world: World, monkeypatch: pytest.MonkeyPatch, *, alone: bool) -> Told:
    """Take a topic in as a worker does."""
    found = Told()
    applied, made = MemoryState.apply, item_steps.item_steps

    def apply(state: MemoryState, claim: Claim, step: Step) -> None:
        found.steps[claim.tenant, step.mark_after] = told(step)
        applied(state, claim, step)

    def steps(works: Sequence[item_steps.ItemsWork], *rest: Any) -> list[Step]:
        try:
            answer = made(works, *rest)
        except ApartError:
            found.apart += 1
            raise
        found.together += len(answer) if len(answer) > 1 else 0
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(MemoryState, "apply", apply)
        patch.setattr("reassoc.stream.matcher.item_steps", steps)
        if alone:
            patch.setattr(stepping, "SMALL_BYTES_MAX", 0)
        reading = Reading(topic, world.directory)
        reading.finish()
    assert reading.stops == []
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["own items", "items of others"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A feed with defects of many tenants. Of others: some entries are put on a second log as well,
    as if their items had moved, and some of those come changed."""
    folder = tmp_path_factory.mktemp("together")
    feed = folder / "feed"
    options = FeedOptions(payments=PAYMENTS, seed=11, claims=1.2, defects=True, tenants=TENANTS)
    generate_feed(feed, options)
    made = World(folder / "world", directory=feed / "directory.toml")
    rng = random.Random(request.param)
    pieces = []
    for share in shares_of(made, feed):
        pieces += share.pieces(np.random.default_rng(rng.randrange(1 << 30)), 4)
    rng.shuffle(pieces)
    tenants = sorted({tenant for tenant, _ in pieces})
    assert len(tenants) > TENANTS / 2
    size = len(pieces) // len(DAYS) + 1
    for place, day in enumerate(DAYS):
        for piece in pieces[place * size : (place + 1) * size]:
            made.log.append([piece])
            if request.param and rng.random() < 0.2:
                made.log.append([(rng.choice(tenants), piece[1])])
        made.tick(day)
    yield made
    made.close()


def test_steps_together_are_those_of_each_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = read(topic_of(world, 2), world, monkeypatch, alone=True)
    together = read(topic_of(world, 2), world, monkeypatch, alone=False)
    assert alone.together == 0
    assert together.together > len(alone.steps) / 20
    assert together.apart > 0
    assert together.steps.keys() == alone.steps.keys()
    for key, step in alone.steps.items():
        assert together.steps[key] == step, key


@pytest.mark.parametrize("world", [True], indirect=True, ids=["items of others"])
def test_what_is_wrong_with_one_stops_that_one_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while steps are made together, whosever it is, costs nobody else anything."""
    expected = read(topic_of(world, 2), world, monkeypatch, alone=True)
    made = item_steps.item_steps
    raised = []

    def steps(works: Sequence[item_steps.ItemsWork], *rest: Any) -> list[Step]:
        if len(works) > 1 and len(raised) < 5:
            raised.append(len(works))
            raise ReassocError("of one of them")
        return made(works, *rest)

    monkeypatch.setattr(item_steps, "item_steps", steps)
    found = read(topic_of(world, 2), world, monkeypatch, alone=False)
    assert len(raised) == 5
    assert found.steps == expected.steps


@pytest.mark.parametrize("world", [True], indirect=True, ids=["items of others"])
def test_large_entries_are_stepped_by_themselves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = topic_of(world, 1)
    entries = [record.logged().entry for record in topic.records[0]]
    sizes = [len(e.remittances + e.payments) for e in entries if isinstance(e, ItemsEntry)]
    expected = read(topic_of(world, 1), world, monkeypatch, alone=True)
    all_small = read(topic_of(world, 1), world, monkeypatch, alone=False)
    monkeypatch.setattr(stepping, "SMALL_BYTES_MAX", sorted(sizes)[len(sizes) // 2])
    found = read(topic, world, monkeypatch, alone=False)
    assert 0 < found.together < all_small.together
    assert found.steps == expected.steps
