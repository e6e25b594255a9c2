"""Steps of several matchers: small ones together, of large ones the next is made while one is
applied.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from reassoc.core.errors import ReassocError
from reassoc.stream.item_steps import ApartError
from reassoc.stream.matcher import Made, Matcher, apply_each
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.state import State

TOGETHER_TENANTS_MAX = 256
"""Tenants of which steps are made together."""
TOGETHER_BYTES_MAX = 1 << 20
"""Bytes of their entries: some thousands of items."""
SMALL_BYTES_MAX = 128 << 10
"""Bytes of one of these entries, some hundreds of items. What is larger gains little, and is
applied while the next one is made."""
COMPANY_SECONDS_MAX = 0.01
"""How long who comes first waits for as many threads as came last time, without a pause between
them."""
ATTEMPTS_MAX = 6
"""How often steps are made together, each time without those that must be made alone: there are
five reasons for that, which show one after the other."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step that was made together with others. refusal : what it was refused with, None where it
    is applied   making, applying : its share of the seconds that both took"""

    matcher: Matcher
    made: Made
    refusal: ReassocError | None
    making: float
    applying: float


class Hooks(Protocol):
    """What becomes of steps. Raises what the matcher and its state raise."""

    def make(self, matcher: Matcher) -> Made | None:
        """Make a matcher's next step; None where it has none."""
        ...

    def apply(self, matcher: Matcher, made: Made) -> None:
        """Apply it."""
        ...

    def stepped(self, steps: Sequence[Stepped]) -> None:
        """Steps were made and applied together, or refused."""
        ...


def step_each(
    matchers: Collection[Matcher], hooks: Hooks, stepper: Stepper
) -> tuple[int, list[Matcher]]:
    """A step of each matcher; how many there were, and the matchers that had none. Raises what the
    hooks raise, once nothing is under way."""
    small = [one for one in matchers if 0 < one.items_bytes() <= SMALL_BYTES_MAX]
    steps = stepper.step(small) if small else []
    if steps:
        hooks.stepped(steps)
    done = {step.matcher for step in steps}
    alone, idle = _step_in_turn([one for one in matchers if one not in done], hooks)
    return len(steps) + alone, idle


# ---- small steps ----


@dataclass(slots=True, eq=False)
class _Request:
    """Matchers whose next steps somebody waits for, and what became of them."""

    matchers: Sequence[Matcher]
    steps: list[Stepped] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False
    thread: int = field(default_factory=threading.get_ident)


class Stepper:
    """Makes and applies small steps of new items. Any thread may call it: while it works for one,
    the others wait, and what they bring is done together after that. Where several came last time,
    the first waits a moment for as many.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._is_busy = False
        self._came: set[int] = set()
        """Threads that came since nobody waited."""
        self._expected = 0

    def step(self, matchers: Sequence[Matcher]) -> list[Stepped]:
        """The next steps of matchers whose next entry is one of items. Those are left out that must
        be made alone, and those with which something went wrong, be it with a store: that shows
        there, and only where it belongs."""
        request = _Request(matchers)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: request.is_done or not self._is_busy)
            except BaseException:
                self._forget(request)
                raise
            if not request.is_done:
                self._is_busy = True
        if not request.is_done:
            self._work(request)
        if request.error is not None:
            raise request.error
        return request.steps

    def _forget(self, request: _Request) -> None:
        if request in self._waiting:
            self._waiting.remove(request)

    def _is_complete(self) -> bool:
        return len(self._waiting) >= self._expected

    def _work(self, own: _Request) -> None:
        """Do what waits, the caller's own among it."""
        requests: list[_Request] = []
        try:
            with self._changed:
                if not self._came:
                    self._changed.wait_for(self._is_complete, COMPANY_SECONDS_MAX)
                requests, self._waiting = self._waiting, []
            self._step(requests)
        except BaseException as error:
            for request in requests:
                request.error = error
            raise
        finally:
            with self._changed:
                self._forget(own)
                for request in requests:
                    request.is_done = True
                self._is_busy = False
                self._came |= {request.thread for request in requests}
                if not self._waiting:
                    self._expected = len(self._came)
                    self._came.clear()
                self._changed.notify_all()

    def _step(self, requests: Sequence[_Request]) -> None:
        of = {matcher: request for request in requests for matcher in request.matchers}
        for some in _alike(of):
            began = time.monotonic()
            try:
                made = _made_together(some)
                then = time.monotonic()
                refusals = apply_each(self._state, made) if made else []
            except (ReassocError, OSError):
                # What of it was applied is made again, from the same mark, and is a replay then.
                continue
            if not made:
                continue
            making = (then - began) / len(made)
            applying = (time.monotonic() - then) / len(made)
            for (matcher, one), refusal in zip(made, refusals, strict=True):
                of[matcher].steps.append(Stepped(matcher, one, refusal, making, applying))


def _alike(matchers: Collection[Matcher]) -> Iterator[list[Matcher]]:
    """Matchers that know the same, as many as may be stepped together."""
    found: dict[bytes, list[Matcher]] = defaultdict(list)
    size: dict[bytes, int] = defaultdict(int)
    for matcher in matchers:
        entry_bytes = matcher.items_bytes()
        # What the quarantine knows is not what its record says.
        key = b"" if matcher.tenant == QUARANTINE else matcher.knowledge.key
        is_full = len(found[key]) >= TOGETHER_TENANTS_MAX
        if is_full or size[key] + entry_bytes > TOGETHER_BYTES_MAX:
            yield found.pop(key)
            size[key] = 0
        found[key].append(matcher)
        size[key] += entry_bytes
    yield from found.values()


def _made_together(matchers: list[Matcher]) -> list[tuple[Matcher, Made]]:
    """The next step of each, but of those that must be made alone."""
    for _ in range(ATTEMPTS_MAX):
        works = [work for matcher in matchers if (work := matcher.items_next()) is not None]
        if not works or len(works) < len(matchers):
            return []
        try:
            steps = matchers[0].steps_with(matchers, works)
        except ApartError as apart:
            matchers = [one for number, one in enumerate(matchers) if number not in apart.numbers]
            continue
        parts = zip(matchers, works, steps, strict=True)
        return [(matcher, matcher.made_of(work, step)) for matcher, work, step in parts]
    return []


# ---- one after the other ----


def _step_in_turn(matchers: Sequence[Matcher], hooks: Hooks) -> tuple[int, list[Matcher]]:
    """A step of each: while one is applied, the next one is made."""
    if len(matchers) == 1:
        return _step_alone(matchers[0], hooks)
    done, idle = 0, []
    with ThreadPoolExecutor(1, thread_name_prefix="applying") as applier:
        before: Future[None] | None = None
        for matcher in matchers:
            made = hooks.make(matcher)
            if made is None:
                idle.append(matcher)
                continue
            if before is not None:
                before.result()
            before = applier.submit(hooks.apply, matcher, made)
            done += 1
        if before is not None:
            before.result()
    return done, idle


def _step_alone(matcher: Matcher, hooks: Hooks) -> tuple[int, list[Matcher]]:
    """As `_step_in_turn`, where there is nothing to make meanwhile."""
    made = hooks.make(matcher)
    if made is None:
        return 0, [matcher]
    hooks.apply(matcher, made)
    return 1, []
