"""A program that makes keys otherwise than the one before: its settings give all items new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case_files import Entry, Remit, ach, era, returned
from engine_world import World

from reassoc.core.matching.neighbours import KEYS_VERSION
from reassoc.stream import new_items
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.home import Home, read_settings
from reassoc.stream.item_log import SettingsEntry

PAID = Entry(number=7)


def fed(world: World, name: str, data: bytes) -> None:
    path = world.folder / name
    path.write_bytes(data)
    world.feed(world.sources(path))
    world.settle()


def statuses(world: World) -> list[str]:
    return [line.split(",")[1] for line in world.matches()[1:]]


def test_a_home_logs_the_version_of_its_keys(tmp_path: Path) -> None:
    settings = read_settings(Home.create_or_open(tmp_path / "home"))
    assert settings.entry(federal_reserve_calendar()).keys == KEYS_VERSION


@pytest.mark.parametrize("anew", [True, False])
def test_new_settings_give_old_items_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    world = World(tmp_path / "w")
    world.tick("2026-03-16T12:00:00-04:00")
    with monkeypatch.context() as old:
        for name in ("payment_keys", "remittance_keys"):
            old.setattr(new_items, name, _no_keys)
        fed(world, "era", era(Remit()))
        fed(world, "eft", ach(PAID))
    settings = world.log.settings
    assert settings is not None
    assert settings.keys == 1
    changed = SettingsEntry(
        "", "" if anew else "# another\n", b"", settings.holidays, KEYS_VERSION if anew else 1
    )
    assert world.log.settle(changed)
    world.settle()
    assert statuses(world) == ["auto"]
    fed(world, "back", ach(returned(PAID), created="260318"))
    assert statuses(world) == ["unmatched"], "the return found its entry"


def _no_keys(side: Any, *_: object, **__: object) -> list[Any]:
    return [np.zeros(len(side), np.uint64)]
