"""An object that lives in a process of its own and is called as if it were here.

Python runs one thread of a process at a time: what must go on at the same time as something else
gets a process. It is forked from one that has loaded everything, before that has threads or open
files; it dies with it, at once, however that ends; and it never does anything by itself: it answers
calls, each in its turn on one of some lanes, and what a call raises is raised by the caller.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, Literal, NoReturn

from reassoc.core.errors import ReassocError

LANES_MAX = 8
"""Calls of one worker that go on at a time."""
END_SECONDS_MAX = 60.0
"""How long a worker may take to close what it has open before it is killed."""
EXIT_SECONDS_MAX = 5.0
"""The same when it has closed everything."""
_LOOK_SECONDS = 0.005
_PR_SET_PDEATHSIG = 1
_OPEN = "open"

Tell = Callable[[str], None]
Make = Callable[[Tell], AbstractContextManager[object]]
"""Makes the object, in its process. It is handed what tells people something, for calls of lane 0.
"""
Told = tuple[Literal["told"], str]
Done = tuple[Literal["done"], Any]
Failed = tuple[Literal["failed"], BaseException, BaseException | None]


class WorkerError(ReassocError):
    """A process of the warehouse ended by itself or was ended: everything it had done stays done,
    and the rest is done after a new start."""


class Flag:
    """Says yes or no to processes that are forked after it was made. To be set from anywhere, a
    signal handler included: it is one byte of memory that they share."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Say yes from now on."""
        self._byte[0] = 1

    def is_set(self) -> bool:
        """Whether it says yes."""
        return self._byte[0] == 1


def can_fork() -> bool:
    """Whether workers can be had: where the system ends them together with their parent."""
    return sys.platform == "linux"


class Worker:
    """A process with one object. `call` may be used by any thread, one at a time on each lane.

    Make it before there are threads, and before files are open that must not be in two processes.
    """

    def __init__(self, name: str, make: Make, *, lanes: int, tell: Tell) -> None:
        """
        name : for people    lanes : at most LANES_MAX
        tell : is called with what the object tells, by whoever waits for a call on lane 0
        """
        if not 1 <= lanes <= LANES_MAX:
            raise ValueError(f"lanes: from 1 to LANES_MAX ({LANES_MAX})")
        self.name = name
        self._tell = tell
        self._locks = [threading.Lock() for _ in range(lanes)]
        pairs = [Pipe() for _ in range(lanes)]
        self._lanes = [near for near, _ in pairs]
        self._is_told = False
        self._stage = 0  # 1 when it was told to make the object, 2 when it has
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._pid = os.fork()
        if self._pid == 0:
            for near in self._lanes:
                near.close()
            _live([far for _, far in pairs], make, parent)
        for _, far in pairs:
            far.close()

    def begin(self) -> None:
        """Let it make the object; `open`, or the first call on lane 0, waits for that. Raises
        WorkerError."""
        with self._locks[0]:
            if self._stage == 0:
                self._send(0, _OPEN)
                self._stage = 1

    def open(self) -> None:
        """Let it make the object, and wait for that. Raises what making it raised, and
        WorkerError. Twice does nothing."""
        self.begin()
        with self._locks[0]:
            self._wait_until_made()

    def _wait_until_made(self) -> None:
        if self._stage == 1:
            self._answer(0)
            self._stage = 2

    def call(self, lane: int, method: str, *arguments: object) -> Any:
        """Call a method of the object, and wait for it. Raises what it raises (with its cause), and
        WorkerError where the process has ended."""
        with self._locks[lane]:
            if lane == 0:
                self._wait_until_made()
            self._send(lane, (method, arguments))
            return self._answer(lane)

    def end(self) -> None:
        """Let it close what it has open and end; calls must have come back. `close` waits for that.
        Twice does nothing."""
        if self._is_told or self._pid == 0:
            return
        self._is_told = True
        for lane in self._lanes:
            with suppress(OSError, ValueError):
                lane.send(None)

    def close(self) -> None:
        """End it when it has closed what it has open; calls must have come back. Raises what
        closing raises. Twice does nothing."""
        if self._pid == 0:
            return
        try:
            self.end()
            with suppress(WorkerError):  # it was told by now why it has ended
                self._wait_until_made()
                if self._lanes[0].poll(END_SECONDS_MAX):
                    self._answer(0)
            self._wait(EXIT_SECONDS_MAX)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, whatever it does. Twice does nothing."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._wait(END_SECONDS_MAX)
            self._pid = 0
        for lane in self._lanes:
            lane.close()

    def _wait(self, seconds: float) -> None:
        """Take in the end of the process, which must come by itself."""
        end = time.monotonic() + seconds
        while self._pid and time.monotonic() < end:
            try:
                ended, _ = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has taken it in
                ended = self._pid
            if ended:
                self._pid = 0
            else:
                time.sleep(_LOOK_SECONDS)

    def _send(self, lane: int, request: object) -> None:
        try:
            self._lanes[lane].send(request)
        except (OSError, ValueError):
            raise self._gone() from None

    def _answer(self, lane: int) -> Any:
        """What a call came to; what is told meanwhile goes to whom it is for."""
        while True:
            try:
                answer: Told | Done | Failed = self._lanes[lane].recv()
            except (EOFError, OSError):
                raise self._gone() from None
            if answer[0] == "told":
                self._tell(answer[1])
            elif answer[0] == "done":
                return answer[1]
            else:
                _, error, cause = answer
                raise error from cause

    def _gone(self) -> WorkerError:
        return WorkerError(
            f"the process for {self.name} has ended (killed, or out of memory: see the system's "
            "log); nothing is lost: start again"
        )


# ---- in the new process ----


def _live(lanes: Sequence[Connection], make: Make, parent: int) -> NoReturn:
    """Answer calls until there are no more."""
    code = 1
    try:
        # The parent says when to end; Ctrl-C and a service manager's signal reach every process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _die_with(parent)
        _answer_all(lanes, make)
        code = 0
    except BaseException as error:
        # Where it was, and not what it says: that may hold somebody's data.
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
        sys.stderr.write(f"{type(error).__name__} in a process of the warehouse\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    """Let the system kill this process when its parent ends: two of one kind must never work on one
    home, and the parent's lock is what keeps them apart."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _answer_all(lanes: Sequence[Connection], make: Make) -> None:
    first, telling = lanes[0], threading.Lock()

    def tell(text: str) -> None:
        with telling:
            first.send(("told", text))

    try:
        if first.recv() is None:
            return  # closed before it was opened
        with make(tell) as made:
            first.send(("done", None))
            others = [
                threading.Thread(target=_answer_on, args=(lane, made), daemon=True)
                for lane in lanes[1:]
            ]
            for thread in others:
                thread.start()
            _answer_on(first, made)
            for thread in others:
                thread.join()
    except BaseException as error:
        first.send(_failed(error))
    else:
        first.send(("done", None))


def _answer_on(lane: Connection, made: object) -> None:
    """Answer the calls of one lane."""
    while True:
        try:
            request = lane.recv()
        except (EOFError, OSError):
            os._exit(1)  # the parent is gone
        if request is None:
            return
        method, arguments = request
        try:
            answer: Done | Failed = ("done", getattr(made, method)(*arguments))
        except BaseException as error:
            answer = _failed(error)
        lane.send(answer)


def _failed(error: BaseException) -> Failed:
    """An error and its cause as they can be sent. One that is not ours keeps where it came from."""
    if not isinstance(error, ReassocError | OSError):
        error.add_note("".join(traceback.format_tb(error.__traceback__)))
    return "failed", _sendable(error), error.__cause__ and _sendable(error.__cause__)


def _sendable(error: BaseException) -> BaseException:
    """The error, or where it does not survive being sent, one that says as much."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = type(error).__name__
        return WorkerError(str(error)) if isinstance(error, ReassocError) else RuntimeError(kind)
    return error
