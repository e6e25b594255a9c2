"""What comes into a home that is killed all the time: files of a feed in phases, with copies and
truncated ones among them, moved in at once or written slowly.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path

SETTLED_AGO_S = 3600
"""How old the files are that are moved into in/: they count as complete at once."""
PIECE_PAUSE_S_MAX = 0.3
PIECE_GAP_S_MAX = 4.0
"""Between two pieces of a file that is written slowly, as planned, and as it came on a machine that
is busy; above SETTLE_SECONDS what is there would be taken for all of it."""


class ChaosError(Exception):
    """The run itself could not be made."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file that comes: its name below in/, its bytes; slowly: written in place, in pieces."""

    name: str
    data: bytes
    slowly: bool = False


def phases_of(feed: Path, rng: random.Random, phases_max: int) -> list[tuple[date, list[Delivery]]]:
    """Files of a feed by the date in their path, with copies and truncated ones among them; what
    comes after the first phases is the last one, all together."""
    by_day: dict[date, list[Delivery]] = {}
    for path in sorted(path for path in feed.rglob("*") if path.is_file()):
        day = _day_of(path)
        if day is not None:
            name = "-".join(path.relative_to(feed).parts)
            by_day.setdefault(day, []).extend(_deliveries(name, path.read_bytes(), rng))
    days = sorted(by_day)
    cut = days[phases_max - 1 :]
    phases = [(day, by_day[day]) for day in days[: phases_max - 1]]
    if cut:
        phases.append((cut[-1], [one for day in cut for one in by_day[day]]))
    return phases


def _day_of(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.parent.name)
    except ValueError:
        return None


def _deliveries(name: str, data: bytes, rng: random.Random) -> Iterator[Delivery]:
    if rng.random() < 0.08:
        yield Delivery(f"cut-{name}", data[: rng.randrange(len(data) // 2, len(data))])
    yield Delivery(name, data, slowly=rng.random() < 0.15)
    if rng.random() < 0.12:
        yield Delivery(f"again-{name}", data)


class Feeder:
    """Puts files into in/, a little at a time. `step` does what is due."""

    def __init__(
        self, inbox: Path, deliveries: Sequence[Delivery], rng: random.Random, gap_s: float
    ) -> None:
        self._inbox = inbox
        self._aside = inbox.parent / "arriving"
        self._aside.mkdir(exist_ok=True)
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        for one in deliveries:
            pause_s = rng.uniform(0, gap_s)
            for action in self._actions(one, rng):
                self._waiting.append((pause_s, action))
                pause_s = rng.uniform(0, PIECE_PAUSE_S_MAX)
        self._due = 0.0
        self._written: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def step(self, now_s: float) -> None:
        """Do what is due; at most one thing."""
        if self._waiting and now_s >= self._due:
            self._waiting.popleft()[1]()
            if self._waiting:
                self._due = now_s + self._waiting[0][0]

    def finish(self) -> None:
        """Do all that is left."""
        while self._waiting:
            self._waiting.popleft()[1]()

    def _actions(self, one: Delivery, rng: random.Random) -> list[Callable[[], None]]:
        if not one.slowly:
            return [lambda: self._move(one)]
        cuts = sorted({0, *(rng.randrange(len(one.data)) for _ in range(3)), len(one.data)})
        return [partial(self._write, one, start, stop) for start, stop in pairwise(cuts)]

    def _move(self, one: Delivery) -> None:
        path = self._aside / one.name
        path.write_bytes(one.data)
        _make_old(path)
        path.rename(self._inbox / one.name)

    def _write(self, one: Delivery, start: int, stop: int) -> None:
        path = self._inbox / one.name
        now_s = time.monotonic()
        if start and now_s - self._written[one.name] > PIECE_GAP_S_MAX:
            raise ChaosError("this machine is too slow: a piece of a file came too late")
        self._written[one.name] = now_s
        with path.open("ab") as out:
            out.write(one.data[start:stop])
        if stop == len(one.data):
            _make_old(path)


def _make_old(path: Path) -> None:
    then = time.time() - SETTLED_AGO_S
    os.utime(path, (then, then))
