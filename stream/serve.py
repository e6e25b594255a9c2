"""The running warehouse: threads around an engine, each of which may be killed at any moment.

    intake      what is complete in in/ goes to the vault and the item log
    matching    entries of the log become steps of the state
    publishing  the outbox goes to the ledger, and what it releases becomes files to be delivered
    releasing   these files go to their receivers
    main        logs openings and closes, looks after the others

Everything that a thread does may be done again; what they hand to each other lies on disk. So the
threads may as well only wait for a process that does it, see `serve_running.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from reassoc.core.errors import DirectoryError, LayoutError, PolicyError, ReassocError
from reassoc.stream.clock import is_behind
from reassoc.stream.home import Stamps, settings_stamps
from reassoc.stream.open_home import OpenHome
from reassoc.stream.serve_parts import Delivering, Publishing
from reassoc.stream.serve_taking import Taking
from reassoc.stream.sqlite_file import StoreError
from reassoc.stream.state import FencedError, MarkError
from reassoc.stream.taking import Taken
from reassoc.stream.vault_errors import VaultError

STEPS_AT_ONCE = 1
"""Steps of the matchers between two looks at whether to stop: one of each tenant at least."""
IDLE_SECONDS = 0.1
"""How long matching waits where nobody wakes it: decisions come from other processes."""
SETTLE_SECONDS = 0.1
"""How long a drain waits between two looks at whether all is done."""
LINGER_SECONDS = 0.5
"""How long what is released may wait for more, while the matchers are at work."""
DRAIN_LINGER_SECONDS = 30.0
"""The same for a drain, of which nobody waits for the first file."""
LOOK_SECONDS = 1.0
"""How long intake waits between two looks at in/."""
RETRY_SECONDS_MAX = 60.0
"""A store that fails is tried again after 1, 2, 4... seconds, at most this many."""
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(slots=True)
class Served:
    """What a run did: counts of files, steps, outbox entries and released files."""

    taken: Taken = field(default_factory=Taken)
    step_count: int = 0
    published_count: int = 0
    delivered_count: int = 0
    undelivered_count: int = 0
    clock_count: int = 0
    erased_count: int = 0


class Server:
    """Runs a home until it is told to stop, or until nothing is left to do."""

    def __init__(
        self,
        opened: OpenHome,
        taking: Taking,
        publishing: Publishing,
        delivering: Delivering,
        *,
        say: Say,
    ) -> None:
        self._opened = opened
        self._taking = taking
        self._publishing = publishing
        self._delivering = delivering
        self._say = say
        self._stop = threading.Event()
        self._end = threading.Event()
        self._logged = threading.Event()
        self._applied = threading.Event()
        self._intended = threading.Event()
        self._settled = threading.Event()
        self._waking = threading.Lock()
        self._is_taking = False
        self._wakes, self._idle_since = 0, -1
        self._linger_s = LINGER_SECONDS
        self._fault: BaseException | None = None
        self._held: str | None = None
        self._was_behind = False
        self._stamps: Stamps = ()
        self.served = Served()

    def stop(self) -> None:
        """End soon, at a moment when nothing is half done. From any thread."""
        self._stop.set()
        self._taking.stop()
        self._end_threads()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def _end_threads(self) -> None:
        self._end.set()
        for wakes in (self._logged, self._applied, self._intended):
            wakes.set()

    # ---- until it is stopped ----

    def run(self, until: datetime | None) -> Served:
        """Serve until `stop`. Openings and closes are logged as the wall clock passes them, or,
        with `until`, those up to it now and none after it. Raises what a thread could not handle.
        """
        self._patiently("reading the settings", self._use_settings)
        self._patiently("logging the time", lambda: self._log_time(until))
        with self._threads(("intake", self._take_on), *self._what_follows()):
            while not self._stop.wait(LOOK_SECONDS):
                self._patiently("reading the settings", self._use_new_settings)
                if until is None:
                    self._patiently("logging the time", lambda: self._log_time(None))
        self._raise_fault()
        return self._ended()

    # ---- until nothing is left ----

    def drain(self, until: datetime | None) -> Served:
        """Take what is there, decide and release what may be up to `until` (None: now), and end.

        What is in in/ is taken first, then the time is logged: the openings and closes see it all.
        """
        self._patiently("reading the settings", self._use_settings)
        opened = self._opened
        self._patiently("logging the time", lambda: opened.engine.begin(until or opened.now()))
        self._linger_s = DRAIN_LINGER_SECONDS
        with self._threads(*self._what_follows()):
            self._is_taking = True
            while not self._stop.is_set():
                if self._patiently("taking files", self._take):
                    break
                self._stop.wait(LOOK_SECONDS)
            if not self._stop.is_set():
                self._patiently("logging the time", lambda: self._log_time(until))
                self._is_taking = False
                self._wait_until_settled()
                # While the last files are delivered; whoever closes them does so as well.
                with suppress(StoreError, OSError):
                    opened.checkpoint()
        self._raise_fault()
        if not self._stop.is_set():
            # What is still to be delivered; the threads have ended, and this goes on all the same.
            self._patiently("releasing", self._deliver, until=self._stop)
        return self._ended()

    def _ended(self) -> Served:
        """What the run did; while releases are held nobody counted what waits for them."""
        if self._held is not None:
            self.served.undelivered_count = self._opened.book.counts().waiting_file_count
        return self.served

    def _wait_until_settled(self) -> None:
        """Until every entry is matched and every outbox is empty."""
        engine = self._opened.engine
        while not self._stop.is_set() and not engine.is_settled():
            self._settled.wait(SETTLE_SECONDS)
            self._settled.clear()

    def _is_matching(self) -> bool:
        """Whether the matchers may have something to do: they have not looked since they were
        woken, or have found something when they looked last."""
        return self._idle_since != self._wakes

    # ---- threads ----

    def _what_follows(self) -> list[tuple[str, Callable[[], None]]]:
        """Threads that go on with what is on the log."""
        return [
            ("matching", self._match_on),
            ("publishing", self._publish_on),
            ("releasing", self._release_on),
        ]

    def _take_on(self) -> None:
        while not self._end.is_set():
            if self._patiently("taking files", self._take):
                self._end.wait(LOOK_SECONDS)

    def _take(self) -> bool:
        """Take what is complete; whether that was all there is for now."""
        taken, is_all = self._taking.take()
        self.served.taken += taken
        if taken.logged_count:
            self._wake_matchers()
        return is_all

    def _wake_matchers(self) -> None:
        with self._waking:
            self._wakes += 1
        self._logged.set()

    def _match_on(self) -> None:
        engine = self._opened.engine
        while not self._end.is_set():
            self._logged.clear()
            wakes = self._wakes
            count = self._patiently("matching", lambda: engine.match(STEPS_AT_ONCE))
            if count:
                self.served.step_count += count
                self._idle_since = -1
                continue
            if self._idle_since != wakes:
                # Nothing to do, or a close that waits until everything is written.
                self._idle_since = wakes
                self._applied.set()
                self._settled.set()
            self._logged.wait(IDLE_SECONDS)

    def _publish_on(self) -> None:
        """The ledger follows at once, but where a drain takes files in: there the processors have
        enough to do, and it catches up when the last are taken. What is released waits while there
        is work, so that files are few where work is much."""
        since, has_more = 0.0, False
        while not self._end.is_set():
            self._applied.wait(IDLE_SECONDS)
            self._applied.clear()
            lingers = time.monotonic() < since + self._linger_s
            lingers &= self._is_matching() or self._is_taking
            if lingers and self._is_taking and not has_more:
                continue
            publish = partial(self._publishing.publish, not lingers)
            count = self._patiently("writing the ledger", publish)
            has_more = bool(count)
            if count:
                self.served.published_count += count
                self._wake_matchers()
                self._applied.set()
            if not lingers:
                since = time.monotonic()
                self._intended.set()
                self._settled.set()

    def _release_on(self) -> None:
        while not self._end.is_set():
            self._intended.wait(LOOK_SECONDS)
            self._intended.clear()
            if not self._end.is_set():
                self._patiently("releasing", self._deliver)

    def _deliver(self) -> int:
        held = self._opened.home.releases_held()
        if held != self._held:
            self._held = held
            self._say(
                f"releases are held ({held}): reassoc resume lets them go on"
                if held is not None
                else "releases go on"
            )
        if held is not None:
            return 0
        run = self._delivering.deliver()
        self.served.delivered_count += run.delivered_count
        self.served.undelivered_count = run.failed_count + run.waiting_count + run.in_doubt_count
        return run.delivered_count

    def _log_time(self, until: datetime | None) -> None:
        """Log the openings and closes up to a moment, None for now. One that is behind what was
        logged is told, once while it lasts: time on the log never goes back."""
        opened = self._opened
        moment = until or opened.now()
        behind = is_behind(opened.log.clock, moment)
        if behind and not self._was_behind:
            whose = "the clock of this machine is" if until is None else "--as-of is"
            self._say(
                f"{whose} behind the last opening or close that was logged: no others are logged "
                "until it has caught up"
            )
        self._was_behind = behind
        count = opened.engine.tick(moment)
        self.served.clock_count += count
        if count:
            self._wake_matchers()
            self.served.erased_count += self._taking.forget_contents()

    # ---- settings ----

    def _use_settings(self) -> None:
        """Log the settings if they have changed, and read by them. Raises what is wrong in them."""
        self._stamps = settings_stamps(self._opened.home)
        self._taking.use_settings()
        self._wake_matchers()

    def _use_new_settings(self) -> None:
        """The same when a file has changed. What is wrong is told once, and the old ones hold."""
        if settings_stamps(self._opened.home) == self._stamps:
            return
        try:
            self._use_settings()
            self._say("the settings have changed, and hold from now on")
        except (PolicyError, DirectoryError, LayoutError) as error:
            self._say(f"the settings have changed, but the old ones hold: {error}")

    # ---- faults ----

    def _patiently(
        self, what: str, call: Callable[[], T], until: threading.Event | None = None
    ) -> T | None:
        """Call until it works: a full disk or a store that is away is told and tried again. What
        would not get better by itself ends the run.

        until : gives up when that is set; None: when the threads are to end
        """
        given_up = until or self._end
        seconds = 1.0
        while True:
            try:
                return call()
            except (FencedError, MarkError):
                raise
            except (StoreError, VaultError, OSError) as error:
                # The vault says by the same kind of error what no time mends: a key, damage.
                if isinstance(error, VaultError) and not isinstance(error.__cause__, OSError):
                    raise
                text = (error.strerror if isinstance(error, OSError) else "") or str(error)
                self._say(f"{what} failed, and is tried again in {seconds:.0f} s: {text}")
                if given_up.wait(seconds):
                    return None
                seconds = min(seconds * 2, RETRY_SECONDS_MAX)

    @contextmanager
    def _threads(self, *named: tuple[str, Callable[[], None]]) -> Iterator[None]:
        threads = [
            threading.Thread(target=self._guarded, args=(call,), name=name, daemon=True)
            for name, call in named
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end_threads()
            for thread in threads:
                thread.join()

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self._fault = error
            self.stop()

    def _raise_fault(self) -> None:
        if self._fault is None:
            return
        if isinstance(self._fault, ReassocError | OSError):
            raise self._fault
        raise RuntimeError("a thread of the warehouse ended") from self._fault
