"""When a worker delivers, and when it leaves that to others."""

from __future__ import annotations

from dataclasses import dataclass, field

from reassoc.stream.delivering import (
    ASIDE_EVERY_SECONDS,
    ASIDE_SECONDS,
    GIVE_WAY,
    GIVE_WAY_SECONDS_MAX,
    Delivering,
)
from reassoc.stream.releaser import GoOn, Run

GROUP_SECONDS = 0.5


@dataclass
class Right:
    """The right, and who has it."""

    holder: str = ""

    def of(self, name: str) -> RightOf:
        return RightOf(self, name)


@dataclass
class RightOf:
    right: Right
    name: str

    def try_take(self) -> bool:
        self.right.holder = self.right.holder or self.name
        return self.right.holder == self.name

    def release(self) -> None:
        if self.right.holder == self.name:
            self.right.holder = ""


@dataclass
class World:
    """A clock, and a worker for which groups of files are always due."""

    seconds: float = 1000.0
    behind: bool = False
    ending: bool = False
    groups_max: int = 1_000_000
    groups: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def run_once(self, go_on: GoOn) -> Run:
        count = 0
        while count < self.groups_max:
            self.seconds += GROUP_SECONDS
            self.groups.append(self.seconds)
            count += 1
            if not go_on(GROUP_SECONDS):
                break
        return Run(count, 0, 0, 0)

    def delivering(self, right: RightOf) -> Delivering:
        return Delivering(
            right,
            self,
            is_behind=lambda: self.behind,
            is_ending=lambda: self.ending,
            now=self.now,
            sleep=self.sleep,
        )


def test_one_that_is_not_behind_delivers_without_a_pause() -> None:
    world, right = World(groups_max=20), Right()
    assert world.delivering(right.of("a")).deliver() == Run(20, 0, 0, 0)
    assert world.seconds == 1000 + 20 * GROUP_SECONDS
    assert right.holder == "a"


def test_one_that_is_behind_waits_after_each_group_and_stands_aside_now_and_then() -> None:
    world, right = World(behind=True), Right()
    delivering = world.delivering(right.of("a"))
    aside = 0
    while world.seconds < 1200:
        run = delivering.deliver()
        if run is None:
            assert right.holder == ""
            world.seconds += 1.0
            aside += 1
    between = [
        later - before for before, later in zip(world.groups, world.groups[1:], strict=False)
    ]
    assert min(between) >= GROUP_SECONDS * (1 + GIVE_WAY)
    assert max(between) < GROUP_SECONDS * (2 + GIVE_WAY) + ASIDE_SECONDS + 1
    # Each time for ASIDE_SECONDS, asked once a second, and about every ASIDE_EVERY_SECONDS.
    assert 200 / (ASIDE_EVERY_SECONDS + 8) * ASIDE_SECONDS <= aside <= 24
    assert len(world.groups) > 200 / (GROUP_SECONDS * (1 + GIVE_WAY)) * 0.8


def test_another_takes_what_one_that_is_behind_gives_away() -> None:
    busy, idle, right = World(behind=True), World(groups_max=1), Right("a")
    first, second = busy.delivering(right.of("a")), idle.delivering(right.of("b"))
    assert second.deliver() is None
    assert first.deliver() is None
    assert second.deliver() == Run(1, 0, 0, 0)
    busy.seconds += ASIDE_SECONDS
    assert first.deliver() is None, "it is the other's now"
    assert busy.groups == []


def test_it_waits_no_longer_than_its_limit_and_not_when_it_is_to_end() -> None:
    world, right = World(groups_max=2), Right()
    delivering = world.delivering(right.of("a"))
    world.behind = True
    assert delivering.deliver() is None
    world.seconds += ASIDE_SECONDS
    began = world.seconds
    assert delivering._go_on(100.0)
    assert GIVE_WAY_SECONDS_MAX <= world.seconds - began < GIVE_WAY_SECONDS_MAX + 1
    world.ending = True
    began = world.seconds
    assert not delivering._go_on(100.0)
    assert world.seconds == began
