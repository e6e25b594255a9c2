"""Steps of several tenants: made and applied together where they are small, else one is applied
while the next one is made.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import case_files
import pytest
from engine_world import World
from small_feed import TWO_TENANTS, Entry, ach_file, interchange, remittance

from reassoc.core.errors import ReassocError
from reassoc.stream import stepping
from reassoc.stream.sqlite_file import StoreError
from reassoc.stream.state import Claim, Step


def world_in(folder: Path) -> World:
    """A home with three steps of work for each of two tenants and the quarantine."""
    folder.mkdir()
    directory = folder / "directory.toml"
    directory.write_text(TWO_TENANTS)
    world = World(folder, directory=directory)
    for day in range(3):
        money = folder / f"{day}.ach"
        entries = [Entry(700 + day, f"T{day}"), Entry(5, f"U{day}", account="42")]
        money.write_bytes(ach_file(*entries, Entry(6, f"V{day}", account="43")))
        era = folder / f"{day}.835"
        era.write_bytes(interchange(remittance(f"T{day}", 700 + day), number=day + 1))
        world.feed(world.sources(money, era))
    return world


def settled(world: World) -> dict[str, bytes]:
    """The state of each tenant when all is done."""
    world.settle()
    world.tick("2026-03-18T23:00:00-04:00")
    return {tenant: world.state.dump(tenant) for tenant in world.state.tenants()}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("failing", ["north", "south", "~quarantine"])
@pytest.mark.parametrize("visit", [1, 2, 3])
def test_a_step_that_cannot_be_applied_costs_no_tenant_anything(
    tmp_path: Path, failing: str, visit: int, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, world = world_in(tmp_path / "quiet"), world_in(tmp_path / "failing")
    try:
        apply, apply_each, visits = world.state.apply, world.state.apply_each, 0

        def visited(claims: Sequence[Claim]) -> None:
            nonlocal visits
            if any(claim.tenant == failing for claim in claims):
                visits += 1
                if visits == visit:
                    raise StoreError("made by a test")

        def fail(claim: Claim, step: Step) -> None:
            if not together:
                visited([claim])
            apply(claim, step)

        def fail_each(steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
            visited([claim for claim, _ in steps])
            return apply_each(steps)

        with monkeypatch.context() as patch:
            patch.setattr(stepping, "SMALL_BYTES_MAX", stepping.SMALL_BYTES_MAX * together)
            patch.setattr(world.state, "apply", fail)
            patch.setattr(world.state, "apply_each", fail_each)
            # Of those that were to be applied together, each is made and applied alone then.
            expected = pytest.raises(StoreError, match="made by a test")
            with nullcontext() if together else expected:
                world.engine.match(100)
            assert visits >= visit
        assert settled(world) == settled(quiet)
        assert len(world.books.batches) == len(quiet.books.batches)
    finally:
        world.close()
        quiet.close()


def test_of_large_ones_one_is_made_while_another_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepping, "SMALL_BYTES_MAX", 0)
    world = world_in(tmp_path / "home")
    try:
        world.engine.match(1)  # claims
        apply, made_meanwhile = world.state.apply, threading.Event()
        waits = iter([True])

        def slow(claim: Claim, step: Step) -> None:
            # The first step of a round is applied only when the second one has begun to be made.
            if next(waits, False):
                assert made_meanwhile.wait(30)
            apply(claim, step)

        fetch = world.state.probe

        def probed(tenant: str, *arguments: Any) -> Any:
            if tenant == "south":
                made_meanwhile.set()
            return fetch(tenant, *arguments)

        monkeypatch.setattr(world.state, "apply", slow)
        monkeypatch.setattr(world.state, "probe", probed)
        while not made_meanwhile.is_set():
            assert world.engine.match(1)
        assert next(waits, None) is None
    finally:
        world.close()


@pytest.mark.parametrize("together", [True, False])
def test_a_return_finds_no_entry_of_another_tenant(
    tmp_path: Path, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not together:
        monkeypatch.setattr(stepping, "SMALL_BYTES_MAX", 0)
    (tmp_path / "directory.toml").write_text(TWO_TENANTS)
    world = World(tmp_path / "w", directory=tmp_path / "directory.toml")
    try:
        files = {
            "era": case_files.era(case_files.Remit()),
            "paid": case_files.ach(case_files.Entry(number=7)),
            "back": case_files.ach(case_files.returned(case_files.Entry(number=7, account="42"))),
        }
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        world.tick("2026-03-16T12:00:00-04:00")
        world.feed(world.sources(*(tmp_path / name for name in files)))
        world.settle()
        assert set(world.state.tenants()) == {"north", "south"}
        assert [line.split(",")[1] for line in world.matches()[1:]] == ["auto"]
    finally:
        world.close()
