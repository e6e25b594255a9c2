"""Envelope profiles are stored once and fetched seldom: a matcher remembers what its state has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_world import World
from small_feed import Entry, ach_file, interchange, remittance

from reassoc.core.errors import ReassocError
from reassoc.stream import profiles
from reassoc.stream.engine import Engine
from reassoc.stream.envelope import Profile
from reassoc.stream.items import RecordKind, id_parts
from reassoc.stream.ledger_rows import ReleaseOrder
from reassoc.stream.profiles import (
    PROFILE_BYTES_MAX,
    KnownProfiles,
    ProfileError,
    encode_profile,
    profile_key,
)
from reassoc.stream.state import Claim, Ids, Step, refusal_of

DAYS = 4


def profile(receiver: bytes) -> Profile:
    return Profile(
        b"ZZ", receiver, b"ZZ", b"PAYER", b"R", b"S", b"005010X221A1", b"X", b"00501", b"P",
        ord("*"), ord(":"), b"^", ord("~"),
    )  # fmt: skip


class Watched:
    """A world; what its steps stored and fetched of profiles, by their keys."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.stored: list[int] = []
        self.fetched: list[int] = []
        self.world = World(folder)
        self._folder = folder
        self._apply, self._fetch = self.world.state.apply, self.world.state.fetch
        patch.setattr(self.world.state, "apply", self.apply)
        patch.setattr(self.world.state, "apply_each", self.apply_each)
        patch.setattr(self.world.state, "fetch", self.fetch)

    def apply(self, claim: Claim, step: Step) -> None:
        ids = step.puts.ids[step.puts.kinds == RecordKind.PROFILE]
        self.stored += id_parts(ids)[0].tolist()
        self._apply(claim, step)

    def apply_each(self, steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
        return [refusal_of(self.world.state, claim, step) for claim, step in steps]

    def fetch(self, tenant: str, ids: Ids) -> Any:
        found = self._fetch(tenant, ids)
        self.fetched += id_parts(found.ids[found.kinds == RecordKind.PROFILE])[0].tolist()
        return found

    def feed(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.write_bytes(data)
        self.world.feed(self.world.sources(path))
        self.world.settle()

    def remittance(self, day: int) -> None:
        self.feed(f"{day}.835", interchange(remittance(f"T{day}", 700 + day), number=day + 1))

    def money(self, day: int) -> None:
        """Which pairs, and releases, the remittance of the same day."""
        self.feed(f"{day}.ach", ach_file(Entry(700 + day, f"T{day}")))

    @property
    def orders(self) -> list[ReleaseOrder]:
        return self.world.books.orders


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched(tmp_path / "home", monkeypatch)
    watched.world.tick("2026-03-17T12:00:00-04:00")
    yield watched
    watched.world.close()


def test_a_profile_is_stored_once_and_not_fetched(watched: Watched) -> None:
    for day in range(DAYS):
        watched.remittance(day)
    for day in range(DAYS):
        watched.money(day)
    assert len(watched.orders) == DAYS
    ((key, data),) = {each for order in watched.orders for each in order.profiles}
    assert profile_key(profiles.decode_profile(data)) == key
    assert watched.stored == [key]
    assert watched.fetched == []


def test_a_new_matcher_asks_the_state_for_it_once(watched: Watched) -> None:
    for day in range(DAYS):
        watched.remittance(day)
    watched.world.engine = Engine(watched.world.engine._parts)  # as a new process
    for day in range(DAYS):
        watched.money(day)
    assert len(watched.orders) == DAYS
    (key,) = watched.stored
    assert {each[0] for order in watched.orders for each in order.profiles} == {key}
    assert watched.fetched == [key]


def test_a_profile_of_a_step_that_failed_is_not_taken_for_stored(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(claim: Claim, step: Step) -> None:
        raise OSError("made by a test")

    with monkeypatch.context() as patch:
        patch.setattr(watched.world.state, "apply", fail)
        with pytest.raises(OSError, match="made by a test"):
            watched.remittance(0)
    watched.world.settle()
    watched.money(0)
    assert len(watched.stored) == len(watched.orders) == 1


def test_those_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = [encode_profile(profile(b"R%d" % number)) for number in range(4)]
    monkeypatch.setattr(profiles, "KNOWN_BYTES_MAX", 3 * len(encoded[0]))
    known = KnownProfiles()
    keys = [known.key_of(data) for data in encoded]
    assert keys == [profile_key(profile(b"R%d" % number)) for number in range(4)]
    known.add(dict(zip(keys[:3], encoded[:3], strict=True)))
    assert known.get(keys[0]) == encoded[0]
    known.add({keys[3]: encoded[3]})
    assert [key in known for key in keys] == [True, False, True, True]
    assert known.get(keys[1]) is None
    assert known.key_of(encoded[1]) == keys[1]
    known.add({keys[0]: encoded[0]})
    assert [key in known for key in keys] == [True, False, True, True]


def test_what_is_no_profile_has_no_key() -> None:
    for data in (b"", b"no profile", bytes(PROFILE_BYTES_MAX + 1)):
        with pytest.raises(ProfileError):
            KnownProfiles().key_of(data)
