"""What a step does hangs on its items, not on how many wait: calls, keys, records are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import World
from pieces import Share, shares_of

from reassoc.core.errors import ReassocError
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream.items import REMITTANCE, RecordKind, id_bytes, id_parts
from reassoc.stream.ledger_rows import ITEM_ROW, STATUS_ROW
from reassoc.stream.live import id_keys_of
from reassoc.stream.matcher import Matcher
from reassoc.stream.records import take
from reassoc.stream.state import Ask, Ids, Keys, Probe, Records, Step, refusal_of
from reassoc.stream.state_sqlite import SqliteState

COUNTED = ("calls", "keys", "records", "written", "items", "statuses")


class Counting:
    """A state that counts what goes through it."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state
        self.counts = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def probe(self, tenant: str, keys: Keys, ids: Ids) -> Probe:
        found = self._state.probe(tenant, keys, ids)
        self.counts += Counter(calls=1, keys=len(keys) + len(ids), records=len(found.records))
        return found

    def probe_each(self, asks: Sequence[Ask]) -> list[Probe]:
        return [self.probe(*ask) for ask in asks]

    def fetch(self, tenant: str, ids: Ids) -> Records:
        found = self._state.fetch(tenant, ids)
        self.counts += Counter(calls=1, keys=len(ids), records=len(found))
        return found

    def scan(self, tenant: str, kinds: Sequence[int] = ()) -> Any:
        raise AssertionError("a step of items looks at all of a tenant")

    def apply_each(self, steps: Sequence[tuple[Any, Step]]) -> list[ReassocError | None]:
        return [refusal_of(self, claim, step) for claim, step in steps]

    def apply(self, claim: Any, step: Step) -> None:
        written = len(step.puts) + len(step.updates) + len(step.removes)
        self.counts += Counter(calls=1, written=written)
        self._state.apply(claim, step)


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feed") / "feed"
    generate_feed(folder, FeedOptions(payments=1200, seed=7, claims=1.2, directory=False))
    return folder


def _step_counts(folder: Path, feed: Path, waiting: int, item_count: int) -> Counter[str]:
    """What a step of so many 835s does where so many payments wait; each finds its payment."""
    world = World(folder)
    try:
        (share,) = shares_of(world, feed)
        lefts, rights = _partners(world, share)
        order = np.random.default_rng(3).permutation(len(lefts))
        lefts, rights = lefts[order], rights[order]
        assert len(lefts) >= waiting > item_count
        world.log.append([(share.tenant, share.entry([], rights[:waiting].tolist()))])
        world.settle()
        counting = Counting(world.state)
        matcher = Matcher(
            share.tenant,
            log=world.log,
            state=counting,
            history=world.books,
            load_directory=lambda digest: pytest.fail("there is no directory"),
        )
        counting.counts.clear()
        world.books.batches.clear()
        world.log.append([(share.tenant, share.entry(lefts[:item_count].tolist(), []))])
        assert matcher.step()
        world.engine.publish()
        batch = world.books.batches[-1][1]
        ids = _ids(take(share.remittances, lefts[:item_count]))
        rows = REMITTANCE.unpack(
            world.state.fetch(share.tenant, ids).of_kind(RecordKind.REMITTANCE).bodies
        )
        assert len(rows["status"]) == item_count
        pairs = world.state.probe(share.tenant, id_keys_of(*id_parts(ids))).records
        assert len(pairs.of_kind(RecordKind.PAIR)) == item_count
        counting.counts["items"] = len(batch.items) // ITEM_ROW.itemsize
        counting.counts["statuses"] = len(batch.statuses) // STATUS_ROW.itemsize
        return counting.counts
    finally:
        world.close()


def _ids(rows: Any) -> Ids:
    return id_bytes(rows["id_digest"], rows["id_offset"])


def _partners(world: World, share: Share) -> tuple[Any, Any]:
    """Rows of 835s and payments that have trace and amount in common, each once."""

    def named(rows: Any, cents: str) -> dict[tuple[str, int], int]:
        keys = [(rows["trace"][row], amount) for row, amount in enumerate(rows[cents].tolist())]
        counts = Counter(keys)
        return {key: row for row, key in enumerate(keys) if key[0] and counts[key] == 1}

    left = named(share.remittances, "paid_cents")
    right = named(share.payments, "amount_cents")
    both = [key for key in left if key in right and key[1] > 0]
    return np.array([left[key] for key in both]), np.array([right[key] for key in both])


@pytest.mark.parametrize("item_count", [1, 10])
def test_a_step_does_as_much_whatever_waits(tmp_path: Path, feed: Path, item_count: int) -> None:
    few = _step_counts(tmp_path / "few", feed, 40, item_count)
    many = _step_counts(tmp_path / "many", feed, 800, item_count)
    assert {name: few[name] for name in COUNTED} == {name: many[name] for name in COUNTED}
    assert few["items"] == item_count
    assert few["records"] >= item_count


def test_a_step_asks_in_as_few_calls_for_many_items_as_for_one(tmp_path: Path, feed: Path) -> None:
    one = _step_counts(tmp_path / "one", feed, 400, 1)
    many = _step_counts(tmp_path / "many", feed, 400, 200)
    assert many["calls"] == one["calls"]
    assert many["records"] <= 200 * one["records"]
