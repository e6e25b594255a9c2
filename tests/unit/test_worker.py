"""An object in a process of its own: calls, errors, ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import is_alive, until

from reassoc.core.errors import ParseError, ReassocError
from reassoc.stream.vault_errors import VaultError
from reassoc.stream.worker import LANES_MAX, Flag, Tell, Worker, WorkerError, can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="workers need Linux")


class Target:
    def __init__(self, tell: Tell, flag: Flag) -> None:
        self._tell = tell
        self._flag = flag

    def echo(self, *values: object) -> tuple[object, ...]:
        return values

    def process(self) -> int:
        return os.getpid()

    def say(self, *texts: str) -> int:
        for text in texts:
            self._tell(text)
        return len(texts)

    def fail(self, error: BaseException, cause: BaseException | None) -> None:
        raise error from cause

    def parse_error(self) -> None:
        raise ParseError.__new__(ParseError)

    def divide(self) -> float:
        return 1 / 0

    def wait_for_flag(self) -> bool:
        end = time.monotonic() + 20
        while not self._flag.is_set() and time.monotonic() < end:
            time.sleep(0.005)
        return self._flag.is_set()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def ignores(self) -> list[bool]:
        return [signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGINT, signal.SIGTERM)]


@contextmanager
def working(
    told: list[str] | None = None, lanes: int = 2, flag: Flag | None = None
) -> Iterator[Worker]:
    @contextmanager
    def make(tell: Tell) -> Iterator[Target]:
        yield Target(tell, flag or Flag())

    worker = Worker("tests", make, lanes=lanes, tell=(told if told is not None else []).append)
    try:
        worker.open()
        yield worker
    finally:
        worker.kill()


def test_calls_come_back_from_another_process() -> None:
    with working() as worker:
        assert worker.call(0, "process") != os.getpid()
        assert worker.call(1, "process") == worker.call(0, "process")
        assert worker.call(0, "echo", 1, b"two", {"three": 3.0}) == (1, b"two", {"three": 3.0})
        assert worker.call(0, "ignores") == [True, True], "its parent says when it ends"
        worker.close()
        worker.close()
        with pytest.raises(WorkerError, match="the process for tests has ended"):
            worker.call(0, "process")


def test_several_end_side_by_side() -> None:
    @contextmanager
    def make(_: Tell) -> Iterator[object]:
        yield object()
        time.sleep(0.5)

    workers = [Worker("tests", make, lanes=2, tell=print) for _ in range(3)]
    for worker in workers:
        worker.open()
    begun = time.monotonic()
    for worker in workers:
        worker.end()
        worker.end()
    for worker in workers:
        worker.close()
        worker.end()
    assert time.monotonic() - begun < 1.4, "one after the other they take 1.5 s"


def test_what_is_told_comes_before_the_answer() -> None:
    told: list[str] = []
    with working(told) as worker:
        assert worker.call(0, "say", "one", "two") == 2
        assert told == ["one", "two"]


def test_errors_are_raised_where_the_call_was_made() -> None:
    with working() as worker:
        with pytest.raises(VaultError, match="no room") as caught:
            worker.call(0, "fail", VaultError("no room"), OSError(28, "no space"))
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(OSError, match="no space") as disk:
            worker.call(0, "fail", OSError(28, "no space"), None)
        assert disk.value.errno == 28
        with pytest.raises(ZeroDivisionError) as ours:
            worker.call(1, "divide")
        assert any("in divide" in note for note in ours.value.__notes__), "where it happened"
        # One that cannot be sent: of its kind no more is known than that it is ours.
        with pytest.raises(ReassocError):
            worker.call(0, "parse_error")
        assert worker.call(0, "echo") == ()


def test_lanes_go_on_side_by_side() -> None:
    flag = Flag()
    with working(flag=flag) as worker:
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(worker.call(0, "wait_for_flag")))
        thread.start()
        assert worker.call(1, "echo", "meanwhile") == ("meanwhile",)
        assert not answers
        flag.set()
        thread.join(20)
        assert answers == [True]


def test_one_that_dies_is_told_to_whoever_waits() -> None:
    with working() as worker:
        with pytest.raises(WorkerError, match="nothing is lost: start again"):
            worker.call(0, "die")
        with pytest.raises(WorkerError):
            worker.call(1, "process")
        worker.close()


def test_what_making_and_closing_raise_is_raised_here() -> None:
    @contextmanager
    def make(_: Tell) -> Iterator[object]:
        raise VaultError("no key")
        yield

    worker = Worker("tests", make, lanes=1, tell=print)
    with pytest.raises(VaultError, match="no key"):
        worker.open()
    worker.close()

    # The first call, or closing, waits for it just as well.
    worker = Worker("tests", make, lanes=1, tell=print)
    worker.begin()
    with pytest.raises(VaultError, match="no key"):
        worker.call(0, "process")
    worker.close()
    worker = Worker("tests", make, lanes=1, tell=print)
    worker.begin()
    with pytest.raises(VaultError, match="no key"):
        worker.close()

    @contextmanager
    def make_and_fail(_: Tell) -> Iterator[object]:
        yield object()
        raise VaultError("was not sealed")

    worker = Worker("tests", make_and_fail, lanes=1, tell=print)
    worker.open()
    with pytest.raises(VaultError, match="was not sealed"):
        worker.close()


def test_one_that_was_never_begun_ends() -> None:
    @contextmanager
    def make(_: Tell) -> Iterator[object]:
        yield pytest.fail("made")

    Worker("tests", make, lanes=1, tell=print).close()


@pytest.mark.parametrize("lanes", [0, LANES_MAX + 1])
def test_lanes_have_a_limit(lanes: int) -> None:
    with pytest.raises(ValueError, match="LANES_MAX"):
        Worker("tests", lambda _: pytest.fail("made"), lanes=lanes, tell=print)


PARENT = """
import os, sys, time
from contextlib import contextmanager
from reassoc.stream.worker import Worker
@contextmanager
def make(tell):
    yield os
worker = Worker("tests", make, lanes=1, tell=print)
worker.open()
print(worker.call(0, "getpid"), flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not is_alive(child))
