"""A program that makes keys otherwise than the one that filled a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case_files import Entry, Remit, ach, era, returned
from engine_world import World

from reassoc.core.matching import neighbours
from reassoc.stream import new_items
from reassoc.stream.matcher import Matcher
from reassoc.stream.state import Records
from reassoc.stream.tenant_record import TENANT_ID, decode_tenant, encode_tenant

PAID = Entry(number=7)


def put(world: World, name: str, data: bytes) -> None:
    """Log a file, and match nothing."""
    path = world.folder / name
    path.write_bytes(data)
    world.feed(world.sources(path))


def statuses(world: World) -> list[str]:
    return [line.split(",")[1] for line in world.matches()[1:]]


def records(world: World) -> Records:
    (tenant,) = (name for name in world.state.tenants() if not name.startswith("~"))
    return Records.concat(list(world.state.scan(tenant)))


@pytest.fixture
def filled_by_an_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an 835 under keys that nothing finds now, and behind it on its log, not matched
    yet, another 835 of the same payment, and the payment, whose day has come."""
    world = World(tmp_path / "w")
    world.tick("2026-03-18T12:00:00-04:00")
    with monkeypatch.context() as old:
        for name in ("payment_keys", "remittance_keys"):
            old.setattr(new_items, name, _other_keys)
        old.setattr("reassoc.stream.matcher.KEYS_VERSION", 1)
        old.setattr("reassoc.stream.new_keys.KEYS_VERSION", 1)
        put(world, "era", era(Remit()))
        world.settle()
        put(world, "rival", era(Remit(claims=(100000, 20000)), number=2))
        put(world, "eft", ach(PAID))
    world.file.close()
    return tmp_path / "w"


def test_what_waits_on_the_log_meets_what_was_there(filled_by_an_older_one: Path) -> None:
    world = World(filled_by_an_older_one)
    for name in ("era", "rival", "eft"):
        world.vault.put([(filled_by_an_older_one / name).read_bytes()])
    world.settle()
    assert statuses(world) == ["review", "review"]
    assert not len(world.books.released_rows())
    put(world, "back", ach(returned(PAID), created="260318"))
    world.settle()
    assert statuses(world) == []


def test_nothing_but_the_keys_is_new(filled_by_an_older_one: Path) -> None:
    world = World(filled_by_an_older_one)
    before = records(world)
    (tenant,) = (name for name in world.state.tenants() if not name.startswith("~"))
    parts = {"log": world.log, "state": world.state, "history": world.books}
    mark = world.state.mark(tenant)
    for version in (neighbours.KEYS_VERSION, neighbours.KEYS_VERSION):
        matcher = Matcher(tenant, **parts, load_directory=world._load)
        assert matcher.record.keys == version
        assert matcher.mark == world.state.mark(tenant) == mark
        after = records(world)
        bodies = dict(zip(map(bytes, after.ids), after.bodies.rows(), strict=True))
        assert decode_tenant(bodies.pop(TENANT_ID)).keys == version
        was = dict(zip(map(bytes, before.ids), before.bodies.rows(), strict=True))
        assert decode_tenant(was.pop(TENANT_ID)).keys == 1
        assert bodies == was
        assert after.keys.tolist() != before.keys.tolist()


def test_a_record_without_a_version_is_of_the_first() -> None:
    old = encode_tenant(decode_tenant(b"\x93\xc0\xc0\x90"))
    assert decode_tenant(old).keys == 1


def _other_keys(side: Any, *_: object, **__: object) -> list[Any]:
    return [np.arange(1, len(side) + 1, dtype=np.uint64) * np.uint64(4)]
