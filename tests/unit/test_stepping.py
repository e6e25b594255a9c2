"""The stepper of a worker: what several threads bring is made together, and each gets its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from state_memory import MemoryState, MemoryStore

from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream import stepping
from reassoc.stream.item_steps import ApartError
from reassoc.stream.sqlite_file import StoreError
from reassoc.stream.state import Claim, Step
from reassoc.stream.stepping import Stepped, Stepper


class Kitchen:
    """Where the fakes are stepped: which were together, and what is to happen there."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.before: Callable[[Sequence[str]], None] = lambda names: None


class Fake:
    """A matcher as far as the stepper goes."""

    def __init__(self, kitchen: Kitchen, tenant: str, knows: str = "the same", size: int = 1):
        self.kitchen = kitchen
        self.tenant = tenant
        self.knowledge = self
        self.key = knows.encode()
        self.size = size
        self.claim = Claim(tenant, 1, 0)
        self.made: list[Step] = []

    def items_bytes(self) -> int:
        return self.size

    def items_next(self) -> Fake:
        return self

    def steps_with(self, matchers: Sequence[Fake], works: Sequence[Fake]) -> list[Step]:
        names = [work.tenant for work in works]
        assert [matcher.tenant for matcher in matchers] == names
        self.kitchen.before(names)
        self.kitchen.rounds.append(names)
        return [Step(0, 1)] * len(works)

    def made_of(self, work: Fake, step: Step) -> Any:
        return _Made(step)

    def applied(self, made: Any) -> None:
        self.made.append(made.step)


class _Made:
    def __init__(self, step: Step) -> None:
        self.step = step


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def state() -> MemoryState:
    made = MemoryState(MemoryStore())
    for tenant in "abcdefgh":
        made.claim(tenant)
    return made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def names_of(steps: Sequence[Stepped]) -> list[str]:
    assert all(step.refusal is None and step.making >= 0 <= step.applying for step in steps)
    return [step.matcher.tenant for step in steps]


def fakes(kitchen: Kitchen, *tenants: str, **more: Any) -> Any:
    return [Fake(kitchen, tenant, **more) for tenant in tenants]


def test_what_comes_meanwhile_is_done_together(
    kitchen: Kitchen, state: MemoryState, threads: ThreadPoolExecutor
) -> None:
    stepper = Stepper(state)
    begun, go_on = threading.Event(), threading.Event()

    def hold(names: Sequence[str]) -> None:
        if names == ["a"]:
            begun.set()
            assert go_on.wait(30)

    kitchen.before = hold
    first = threads.submit(stepper.step, fakes(kitchen, "a"))
    assert begun.wait(30)
    others = [threads.submit(stepper.step, fakes(kitchen, *some)) for some in ("bc", "d", "e")]
    while len(stepper._waiting) < len(others):
        threading.Event().wait(0.001)
    go_on.set()
    assert names_of(first.result(30)) == ["a"]
    assert [names_of(each.result(30)) for each in others] == [["b", "c"], ["d"], ["e"]]
    assert kitchen.rounds[0] == ["a"]
    assert sorted(kitchen.rounds[1]) == ["b", "c", "d", "e"]
    assert len(kitchen.rounds) == 2
    assert [state.mark(tenant) for tenant in "abcde"] == [1] * 5


def test_who_comes_first_waits_for_as_many_as_came_last_time(
    kitchen: Kitchen,
    state: MemoryState,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test_what_comes_meanwhile_is_done_together(kitchen, state, threads)
    stepper = Stepper(state)
    monkeypatch.setattr(stepping, "COMPANY_SECONDS_MAX", 30.0)
    stepper._expected = 3
    kitchen.rounds.clear()
    coming = [threads.submit(stepper.step, fakes(kitchen, tenant)) for tenant in "abc"]
    assert [names_of(each.result(20)) for each in coming] == [["a"], ["b"], ["c"]]
    assert [sorted(each) for each in kitchen.rounds] == [["a", "b", "c"]]
    # Nobody else comes: no longer than a moment.
    monkeypatch.setattr(stepping, "COMPANY_SECONDS_MAX", 0.01)
    assert names_of(stepper.step(fakes(kitchen, "d"))) == ["d"]
    assert stepper._expected == 1


def test_only_those_who_know_the_same_are_together_and_no_more_than_fit(
    kitchen: Kitchen, state: MemoryState, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper = Stepper(state)
    matchers = fakes(kitchen, "a", "b") + fakes(kitchen, "c", knows="another directory")
    assert sorted(names_of(stepper.step(matchers))) == ["a", "b", "c"]
    assert kitchen.rounds == [["a", "b"], ["c"]]
    kitchen.rounds.clear()
    monkeypatch.setattr(stepping, "TOGETHER_TENANTS_MAX", 2)
    monkeypatch.setattr(stepping, "TOGETHER_BYTES_MAX", 10)
    stepper.step(fakes(kitchen, "a", "b", "c", size=3) + fakes(kitchen, "d", "e", size=6))
    assert kitchen.rounds == [["a", "b"], ["c", "d"], ["e"]]
    kitchen.rounds.clear()
    stepper.step(fakes(kitchen, stepping.QUARANTINE, "f"))
    assert kitchen.rounds == [[stepping.QUARANTINE], ["f"]]


def test_who_must_be_alone_is_left_out_and_the_others_go_on(
    kitchen: Kitchen, state: MemoryState
) -> None:
    def apart(names: Sequence[str]) -> None:
        if "b" in names and len(names) > 1:
            raise ApartError([names.index("b")])

    kitchen.before = apart
    assert names_of(Stepper(state).step(fakes(kitchen, "a", "b", "c"))) == ["a", "c"]

    def never(names: Sequence[str]) -> None:
        raise ApartError([0])

    kitchen.before = never
    assert Stepper(state).step(fakes(kitchen, *"abcdefgh")) == []

    def wrong(names: Sequence[str]) -> None:
        raise ReassocError("with one of them")

    kitchen.before = wrong
    assert Stepper(state).step(fakes(kitchen, "a", "b")) == []


@pytest.mark.parametrize("error", [StoreError("away"), OSError("of the ledger")])
@pytest.mark.parametrize("when", ["making", "applying"])
def test_where_a_store_fails_only_those_it_is_about_are_made_alone(
    kitchen: Kitchen,
    state: MemoryState,
    error: Exception,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply_each = state.apply_each

    def fail(names: Sequence[str]) -> None:
        if "b" in names:
            raise error

    def fail_then(steps: Any) -> Any:
        refusals = apply_each(steps)  # it fails when they are made
        fail([claim.tenant for claim, _ in steps])
        return refusals

    if when == "making":
        kitchen.before = fail
    else:
        monkeypatch.setattr(state, "apply_each", fail_then)
    matchers = [
        *fakes(kitchen, "a"),
        *fakes(kitchen, "b", "c", knows="another directory"),
        *fakes(kitchen, "d", knows="a third one"),
    ]
    assert names_of(Stepper(state).step(matchers)) == ["a", "d"]
    assert [len(matcher.made) for matcher in matchers] == [1, 0, 0, 1]


def test_an_error_of_the_program_is_told_to_all_and_ends_nothing(
    kitchen: Kitchen, state: MemoryState, threads: ThreadPoolExecutor
) -> None:
    stepper = Stepper(state)
    stepper._expected = 2

    def fail(names: Sequence[str]) -> None:
        raise IndexError("a fault")

    kitchen.before = fail
    coming = [threads.submit(stepper.step, fakes(kitchen, tenant)) for tenant in "ab"]
    for each in coming:
        with pytest.raises(IndexError, match="a fault"):
            each.result(30)
    kitchen.before = lambda names: None
    assert names_of(stepper.step(fakes(kitchen, "a"))) == ["a"]


def test_a_refusal_is_of_the_one_that_was_refused(
    kitchen: Kitchen, state: MemoryState, monkeypatch: pytest.MonkeyPatch
) -> None:
    matchers = fakes(kitchen, "a", "b")
    refused = LimitError("full")
    apply = state.apply

    def full(claim: Claim, step: Step) -> None:
        if claim.tenant == "a":
            raise refused
        apply(claim, step)

    monkeypatch.setattr(state, "apply", full)
    steps = Stepper(state).step(matchers)
    assert [step.refusal for step in steps] == [refused, None]
    assert [len(matcher.made) for matcher in matchers] == [0, 1]
