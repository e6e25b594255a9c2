"""Steps of several matchers in turn: while one is applied, the next one is made."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor

from reassoc.stream.matcher import Made, Matcher


def step_each(
    matchers: Collection[Matcher],
    make: Callable[[Matcher], Made | None],
    apply: Callable[[Matcher, Made], None],
) -> tuple[int, list[Matcher]]:
    """A step of each matcher; how many there were, and the matchers that had none. While one step
    is applied, the next one is made. Raises what `make` and `apply` raise, once nothing is under
    way."""
    if len(matchers) == 1:
        return _step_alone(next(iter(matchers)), make, apply)
    done, idle = 0, []
    with ThreadPoolExecutor(1, thread_name_prefix="applying") as applier:
        before: Future[None] | None = None
        for matcher in matchers:
            made = make(matcher)
            if made is None:
                idle.append(matcher)
                continue
            if before is not None:
                before.result()
            before = applier.submit(apply, matcher, made)
            done += 1
        if before is not None:
            before.result()
    return done, idle


def _step_alone(
    matcher: Matcher,
    make: Callable[[Matcher], Made | None],
    apply: Callable[[Matcher, Made], None],
) -> tuple[int, list[Matcher]]:
    """As `step_each`, where there is nothing to make meanwhile."""
    made = make(matcher)
    if made is None:
        return 0, [matcher]
    apply(matcher, made)
    return 1, []
