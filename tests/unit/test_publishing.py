"""When a server publishes: the ledger at once or when it is due, files when they are worth it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from waiting import until

from reassoc.stream.serve import Server


class Publishing:
    """Tells what it was called with; `waiting` are counts of what the next calls find."""

    def __init__(self, *waiting: int) -> None:
        self.calls: list[bool] = []
        self.waiting = [*waiting]

    def publish(self, releases: bool) -> int:
        self.calls.append(releases)
        return self.waiting.pop(0) if self.waiting else 0


@contextmanager
def publishing(part: Publishing, set_up: Callable[[Server], None]) -> Iterator[Server]:
    """A server of which only this goes on."""
    nothing: Any = None
    server = Server(nothing, nothing, part, nothing, say=print)
    set_up(server)
    thread = threading.Thread(target=server._publish_on)
    thread.start()
    try:
        yield server
    finally:
        server._end_threads()
        thread.join(30)
        assert not thread.is_alive()


def test_a_drain_that_takes_files_lets_the_ledger_wait_and_then_catch_up() -> None:
    def taking(server: Server) -> None:
        server._is_taking, server._linger_s = True, 1000.0

    part = Publishing(2, 2)
    with publishing(part, taking) as server:
        until(lambda: len(part.calls) == 3)
        for _ in range(5):
            server._applied.set()
            until(lambda: not server._applied.is_set())
        assert part.calls == [True, False, False], "all there was, and then it waits"
        part.waiting = [1]
        server._is_taking = False
        until(lambda: len(part.calls) > 5)
        assert not any(part.calls[3:5]), "files wait for more"
        server._idle_since = server._wakes
        until(lambda: part.calls[-1])


def test_else_the_ledger_follows_at_once() -> None:
    def serving(server: Server) -> None:
        server._linger_s = 1000.0

    part = Publishing(1, 1, 1)
    with publishing(part, serving):
        until(lambda: not part.waiting)
        assert part.calls[:3] == [True, False, False]
