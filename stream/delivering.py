"""When a worker delivers: one of all at a time, and so that pairs come first.

A worker that is behind hands over little: after each group of files it waits for a while. Now and
then it gives the right to deliver away altogether, so that one that is idle may take it; where
nobody does it goes on itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from reassoc.stream.releaser import GoOn, Run

GIVE_WAY = 4.0
"""How much longer than files took those behind them wait where more comes in than is matched: so
delivering has its share of a worker that is never idle."""
GIVE_WAY_SECONDS_MAX = 10.0
ASIDE_SECONDS = 3.0
"""How long a worker that is behind leaves delivering to others, who look once a second."""
ASIDE_EVERY_SECONDS = 30.0
"""How long it goes on by itself where none of them has taken it."""
_LOOK_SECONDS = 0.05


class Right(Protocol):
    """The right to deliver, which one worker has: see delivery_lock.py."""

    def try_take(self) -> bool:
        """Take it where nobody has it; whether it is held now."""
        ...

    def release(self) -> None:
        """Give it back. Twice does nothing."""
        ...


class Delivers(Protocol):
    """Delivers what is due: see releaser.py."""

    def run_once(self, go_on: GoOn) -> Run:
        """Deliver, as long as `go_on` says so."""
        ...


class Delivering:
    """Delivers whenever it is asked to, from one thread at a time.

    is_behind : whether the worker takes in all it can    is_ending : whether it is to stop
    now : seconds of a clock that never goes back
    """

    def __init__(
        self,
        right: Right,
        releaser: Delivers,
        *,
        is_behind: Callable[[], bool],
        is_ending: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._right = right
        self._releaser = releaser
        self._is_behind = is_behind
        self._is_ending = is_ending
        self._now = now
        self._sleep = sleep
        self._aside_at = -ASIDE_EVERY_SECONDS
        """When it gave the right away last."""

    def deliver(self) -> Run | None:
        """Deliver what is due; None where another worker does, or may. Raises what the database and
        the releaser raise."""
        if self._stands_aside() or not self._right.try_take():
            return None
        return self._releaser.run_once(self._go_on)

    def _stands_aside(self) -> bool:
        if not self._is_behind():
            return False
        if self._is_long_since_aside():
            self._right.release()
            self._aside_at = self._now()
        return self._now() < self._aside_at + ASIDE_SECONDS

    def _is_long_since_aside(self) -> bool:
        return self._now() >= self._aside_at + ASIDE_EVERY_SECONDS

    def _go_on(self, seconds: float) -> bool:
        """Whether to deliver on, after files that took so long; waits where it is behind."""
        end = self._now() + min(GIVE_WAY * seconds, GIVE_WAY_SECONDS_MAX)
        while self._is_behind() and self._now() < end and not self._is_ending():
            self._sleep(_LOOK_SECONDS)
        return not self._is_ending() and not (self._is_behind() and self._is_long_since_aside())
