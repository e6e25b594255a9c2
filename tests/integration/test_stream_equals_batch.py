"""What arrives in any order and any pieces ends as `reassoc match` has it, and between two clock
entries neither order nor pieces make a difference.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from engine_world import World
from pieces import Share, shares_of

from reassoc.core.policy import Policy
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream.home_tables import read_items
from reassoc.stream.items import ItemFlag
from reassoc.stream.job import run_match
from reassoc.stream.layouts import load_layout
from reassoc.stream.settings import read_directory

PAYMENTS = 240
AS_OF = "2026-03-31"
RELEASE_AT_CLOCK = 'release_at = "clock"\n'
UNLIKE = ("weight", "evidence", "release")
"""Evidence counts how rare an amount is among all items of a pool: here those of one tenant."""


@pytest.fixture(scope="module", params=["default", "adversarial"])
def feed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feed")
    options = FeedOptions(payments=PAYMENTS, seed=11, claims=1.2, profile=request.param)
    generate_feed(folder / "feed", options)
    run_match(
        [folder / "feed"],
        folder / "out",
        as_of=date.fromisoformat(AS_OF),
        policy=Policy(),
        directory=read_directory(folder / "feed" / "directory.toml"),
        layouts=_layouts(folder / "feed"),
    )
    return folder


def _layouts(folder: Path) -> list[object]:
    return [load_layout(path) for path in _layout_files(folder)]


def _layout_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.layout.toml"))


def _world(folder: Path, feed: Path, rules: str = RELEASE_AT_CLOCK) -> World:
    return World(
        folder,
        rules=rules,
        directory=feed / "feed" / "directory.toml",
        layouts=_layout_files(feed / "feed"),
    )


def _rows(lines: Sequence[str]) -> list[tuple[str, ...]]:
    rows = []
    for row in csv.DictReader(lines):
        rows.append(tuple(value for name, value in row.items() if name not in UNLIKE))
    return rows


def _arrive(
    world: World, shares: Sequence[Share], random: np.random.Generator, piece_count: int
) -> None:
    """Everything in pieces, those of the tenants mixed, with the matchers now ahead, now behind."""
    pieces = [piece for share in shares for piece in share.pieces(random, piece_count)]
    for number in random.permutation(len(pieces)).tolist():
        world.log.append([pieces[number]])
        if random.random() < 0.5:
            world.settle()
    world.settle()


@pytest.mark.parametrize(("seed", "piece_count"), [(1, 1), (2, 3), (3, 12), (4, 40)])
def test_any_order_and_pieces_end_as_the_batch(
    feed: Path, tmp_path: Path, seed: int, piece_count: int
) -> None:
    world = _world(tmp_path / "world", feed)
    try:
        shares = shares_of(world, feed / "feed")
        world.books.names = _names(shares)
        _arrive(world, shares, np.random.default_rng(seed), piece_count)
        world.tick(AS_OF)
        batch = _rows((feed / "out" / "matches.csv").read_text().splitlines())
        assert len(batch) > PAYMENTS / 2
        assert _rows(world.matches()) == batch
    finally:
        world.close()


def _names(shares: Sequence[Share]) -> dict[int, str]:
    return {
        int.from_bytes(note.digest[:8], "little"): note.name
        for share in shares
        for note in share.sources
    }


def _everything(world: World) -> tuple[list[tuple[str, ...]], list[tuple[object, ...]]]:
    """Pairs, and what is known of each item."""
    items = read_items(world.state, world.state.tenants())
    known = []
    for rows, columns in (
        (items.remittances, ("status", "reason", "flags", "release_kind", "closed_day")),
        (items.payments, ("status", "reason", "flags", "funding", "closed_day")),
    ):
        names = ("id_digest", "id_offset", *columns)
        known += list(zip(*(rows[name].tolist() for name in names), strict=True))
    return _rows(world.matches()), sorted(known)


DAYS = (date(2026, 3, 17), date(2026, 3, 19))


def _two_weeks(
    folder: Path, feed: Path, seed: int, piece_count: int, rules: str
) -> tuple[list[tuple[str, ...]], list[tuple[object, ...]], np.ndarray]:
    """Items come as their days do, with openings and closes between them."""
    world = _world(folder, feed, rules)
    try:
        random = np.random.default_rng(seed)
        shares = shares_of(world, feed / "feed")
        world.books.names = _names(shares)
        by_day = [share.split([(day - date(1970, 1, 1)).days for day in DAYS]) for share in shares]
        for number, until in enumerate((f"{DAYS[0]}T20:00", f"{DAYS[1]}T12:00", AS_OF)):
            _arrive(world, [parts[number] for parts in by_day], random, piece_count)
            world.tick(until)
        return *_everything(world), world.books.released_rows()
    finally:
        world.close()


@pytest.mark.parametrize("days", ["", "default_release_banking_days = 2\n"])
def test_between_clock_entries_order_and_pieces_make_no_difference(
    feed: Path, tmp_path: Path, days: str
) -> None:
    rules = RELEASE_AT_CLOCK + days
    pairs, items, released = _two_weeks(tmp_path / "a", feed, 5, 1, rules)
    assert any(row[1] == "auto" for row in pairs)
    assert len(released) > PAYMENTS / 3
    for seed, piece_count in ((6, 4), (7, 17)):
        again = _two_weeks(tmp_path / f"b{seed}", feed, seed, piece_count, rules)
        assert again[0] == pairs
        assert again[1] == items
        assert sorted(again[2].tolist()) == sorted(released.tolist())


def test_released_at_once_is_released_once(feed: Path, tmp_path: Path) -> None:
    _, items, released = _two_weeks(tmp_path / "a", feed, 8, 9, "")
    ids = list(zip(released["digest"].tolist(), released["offset"].tolist(), strict=True))
    assert len(ids) == len(set(ids)) > PAYMENTS / 3
    flags = {(digest, offset): state[2] for digest, offset, *state in items}
    assert all(flags[one] & int(ItemFlag.RELEASED) for one in ids)
