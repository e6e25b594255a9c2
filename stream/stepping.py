"""Steps of several matchers in turn: small ones together, of large ones the next is made while one
is applied.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from reassoc.core.errors import ReassocError
from reassoc.stream.item_steps import ApartError
from reassoc.stream.matcher import Made, Matcher
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.sqlite_file import StoreError

TOGETHER_TENANTS_MAX = 256
"""Tenants of which steps are made together."""
TOGETHER_BYTES_MAX = 1 << 20
"""Bytes of their entries: some thousands of items. What is larger gains little."""
ATTEMPTS_MAX = 3
"""How often steps are made together, each time without those that must be made alone."""


class Hooks(Protocol):
    """What becomes of steps. Raises what the matcher and its state raise."""

    def make(self, matcher: Matcher) -> Made | None:
        """Make a matcher's next step; None where it has none."""
        ...

    def apply(self, matcher: Matcher, made: Made) -> None:
        """Apply it."""
        ...

    def apply_each(self, steps: Sequence[tuple[Matcher, Made]], seconds: float) -> None:
        """Apply steps that were made together, which took so long."""
        ...


def step_each(matchers: Collection[Matcher], hooks: Hooks) -> tuple[int, list[Matcher]]:
    """A step of each matcher; how many there were, and the matchers that had none. Raises what the
    hooks raise, once nothing is under way."""
    done, left = 0, dict.fromkeys(matchers)
    for some in _alike(matchers):
        began = time.monotonic()
        if made := _made_together(some):
            hooks.apply_each(made, time.monotonic() - began)
        done += len(made)
        for matcher, _ in made:
            del left[matcher]
    alone, idle = _step_in_turn(list(left), hooks)
    return done + alone, idle


# ---- small steps ----


def _alike(matchers: Collection[Matcher]) -> Iterator[list[Matcher]]:
    """Matchers with a small entry of items that know the same, two or more at a time."""
    if len(matchers) < 2:
        return
    found: dict[bytes, list[Matcher]] = defaultdict(list)
    size: dict[bytes, int] = defaultdict(int)
    for matcher in matchers:
        entry_bytes = matcher.items_bytes()
        if not 0 < entry_bytes <= TOGETHER_BYTES_MAX or matcher.tenant == QUARANTINE:
            continue
        key = matcher.knowledge.key
        is_full = len(found[key]) >= TOGETHER_TENANTS_MAX
        if is_full or size[key] + entry_bytes > TOGETHER_BYTES_MAX:
            if len(found[key]) > 1:
                yield found[key]
            found[key], size[key] = [], 0
        found[key].append(matcher)
        size[key] += entry_bytes
    yield from (some for some in found.values() if len(some) > 1)


def _made_together(matchers: list[Matcher]) -> list[tuple[Matcher, Made]]:
    """The next step of each, but of those that must be made alone: what is wrong with one of them
    shows there."""
    for _ in range(ATTEMPTS_MAX):
        works = [work for matcher in matchers if (work := matcher.items_next()) is not None]
        if len(works) < len(matchers) or len(matchers) < 2:
            return []
        try:
            steps = matchers[0].steps_with(works)
        except ApartError as apart:
            matchers = [one for number, one in enumerate(matchers) if number not in apart.numbers]
            continue
        except StoreError:
            raise
        except ReassocError:
            return []
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
