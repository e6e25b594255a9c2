"""One partition of the item log: its tenants' matchers, and how far it is applied.

Records are taken in their order. Between two records for all tenants (time, settings) the tenants
go on side by side; at such a record all of them have applied what came before it.

A partition remembers, under a name of its own in the match state, the records for all and how far
everything is applied. That is where its reader begins, not what it committed: a state that has lost
its last second (a Redis that was killed) says so by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from reassoc.core.directory import Directory
from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.home_log import HOME_TENANT
from reassoc.stream.item_log import FenceEntry, Logged, decode_entry, encode_entry
from reassoc.stream.items import RecordKind
from reassoc.stream.matcher import LogError, Made, Matcher
from reassoc.stream.new_items import History
from reassoc.stream.partition_log import (
    Append,
    ForAll,
    LogRecord,
    PartitionLog,
    RecordError,
    Seen,
)
from reassoc.stream.publisher import Publisher
from reassoc.stream.records import Block
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.state import ID_BYTES, Claim, Records, State, Step, UnclaimedError
from reassoc.stream.status_machine import StatusError
from reassoc.stream.stepping import Stepped, Stepper, step_each

PREFIX = "~partition-"
"""What the names of partitions in the match state begin with: no tenant of a directory can."""
PUBLISHES_MAX = 10_000
"""Calls of the publisher for which one close waits."""
_PROGRESS_ID = bytes(ID_BYTES)


class Registry(Protocol):
    """Which tenants there ever were, durably: without it a lost state looks like a new tenant."""

    def tenants_seen(self) -> dict[str, Seen]:
        """Every tenant that a worker claimed once."""
        ...

    def see_tenant(self, tenant: str, partition: int, first_position: int = 0) -> object:
        """Remember a tenant, durably, before its first step."""
        ...


class Watch(Protocol):
    """Hears what happens in a partition. Called by the thread that takes."""

    def made(self, seconds: float) -> None:
        """A step was made, which took so long."""
        ...

    def applied(self, tenant: str, made: Made, arrived_ms: int, seconds: float) -> None:
        """A step was applied, which took so long, of what had arrived at that time; 0 where nobody
        said."""
        ...

    def poison(self, record: LogRecord, why: str) -> None:
        """A record was passed over."""
        ...

    def stopped(self, tenant: str, position: int, error: Exception) -> None:
        """A tenant stops at an entry that it cannot apply; the others go on."""
        ...


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far a partition is applied: position and time of the last record, 0 for none."""

    position: int = 0
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class PartitionParts:
    """What a partition works on.

    append : hands entries to whoever writes the topic
    stepper : of all partitions of a worker: their small steps are made together
    """

    state: State
    history: History
    registry: Registry
    load_directory: Callable[[bytes], Directory]
    append: Append
    publisher: Callable[[ForAll], Publisher]
    watch: Watch
    stepper: Stepper


class LostStateError(UnclaimedError):
    """The match state does not know tenants that it knew: it must be rebuilt first."""


class Partition:
    """For one thread at a time, but `publish`.

    progress : how far everything is applied
    _first : positions of the first records of tenants, 0 where nobody said
    _unpublished : tenants whose outboxes may have entries that nobody took to the ledger
    unpublished_bytes : of outbox entries since something was published last, about
    fence_position : of the FenceEntry behind which this worker alone writes for the partition

    Raises LostStateError where the state was lost; FencedError and MarkError where another worker
    has the partition or the state went back: make it anew, and read from `progress` on. What a
    store raises while it fails can be tried again with the same records.
    """

    def __init__(self, number: int, parts: PartitionParts) -> None:
        self.number = number
        self._parts = parts
        self._name = partition_name(number)
        seen = parts.registry.tenants_seen()
        self._first = {
            tenant: place.first_position
            for tenant, place in seen.items()
            if place.partition == number
        }
        self._seen = set(self._first)
        lost = self._seen - set(parts.state.tenants())
        if self._name in lost:
            raise self._lost_state(lost)
        self._claim = parts.state.claim(self._name, may_begin=self._name not in self._seen)
        self._see(self._name, 0)
        self._log = PartitionLog(parts.append)
        self._matchers: dict[str, Matcher] = {}
        self._arrivals: dict[str, dict[int, int]] = {}
        self._stopped: dict[str, Progress] = {}
        self._publishing = threading.Lock()
        self.for_all, self.progress = read_partition(parts.state, number)
        # What came behind the progress is read once more: a state that went back a second or two
        # has only not met it yet.
        new = {name for name in lost if seen[name].first_position > self.progress.position}
        if lost - new:
            raise self._lost_state(lost - new)
        self._seen -= new
        self._taken = 0
        self.unpublished_bytes = 0
        self.fence_position = 0
        self._publisher = parts.publisher(self.for_all)
        self._unpublished = set[str]()
        for tenant in sorted(self._seen - {self._name}):
            self._matcher(tenant)

    @property
    def tenants(self) -> list[str]:
        """Its tenants, sorted."""
        return sorted(self._matchers.copy())  # the publisher asks while new ones come

    @property
    def taken(self) -> int:
        """Position of the last record that was taken since it was opened, 0 for none: the offset
        that comes next. What is behind `progress` of it is not applied to its end."""
        return self._taken

    @property
    def is_behind_fence(self) -> bool:
        """Whether all that an earlier owner wrote is taken."""
        return self._taken >= self.fence_position

    @property
    def stopped(self) -> list[str]:
        """Tenants that do not go on, sorted."""
        return sorted(self._stopped)

    # ---- taking ----

    def take(self, records: Sequence[LogRecord]) -> int:
        """Apply records, in the order of the partition; how many steps were made. What was taken
        before is passed over, so the same records may be taken again after an error."""
        steps = 0
        for record in records:
            if record.position <= self._taken:
                continue
            logged = self._decoded(record)
            if logged is not None and isinstance(logged.entry, FenceEntry):
                steps += self._apply_waiting()
            elif logged is not None and record.tenant == HOME_TENANT:
                steps += self._apply_waiting()
                self._keep(logged)
                for tenant, matcher in self._matchers.items():
                    if matcher.mark > 0 and logged.position > self._first[tenant]:
                        self._put(tenant, logged)
                steps += self._apply_waiting()
            elif logged is not None:
                self._put_own(record, logged)
            self._taken = record.position
        steps += self._apply_waiting()
        if records:
            self._go_on(Progress(records[-1].position, records[-1].at_ms))
        return steps

    def let_out(self) -> bool:
        """Where the quarantine is here: see Matcher.let_out. Nothing before the fence is taken:
        until then what an earlier owner logged may still come."""
        if not self.is_behind_fence:
            return False
        matcher = self._matchers.get(QUARANTINE)
        return matcher is not None and QUARANTINE not in self._stopped and matcher.let_out()

    def publish(self, *, releases: bool = True) -> int:
        """See Publisher.publish. From any thread."""
        with self._publishing:
            self.unpublished_bytes = 0
            # In this order: what is applied from here on is looked at by the next call.
            tenants = sorted(self._unpublished.copy())
            self._unpublished.difference_update(tenants)
            try:
                count = self._publisher.publish(tenants, releases=releases)
            except BaseException:
                self._unpublished.update(tenants)
                raise
            self._unpublished.update(self._publisher.found)
            return count

    def _decoded(self, record: LogRecord) -> Logged | None:
        try:
            return record.logged()
        except RecordError as error:
            self._parts.watch.poison(record, str(error))
            return None

    def _put_own(self, record: LogRecord, logged: Logged) -> None:
        matcher = self._matcher(record.tenant, record.position)
        # A worker may have died between the steps with which a tenant begins: the others are made
        # now, and none that it did not begin with.
        is_beginning = matcher.mark < (self._first[record.tenant] or record.position)
        if is_beginning and not self._log.read(record.tenant, 0, 1):
            for held in self.for_all.holding(record.position):
                self._put(record.tenant, held)
        self._put(record.tenant, logged, record.arrived_ms)

    def _put(self, tenant: str, logged: Logged, arrived_ms: int = 0) -> None:
        is_new = logged.position > self._matchers[tenant].mark
        if is_new and tenant not in self._stopped:
            self._log.put(tenant, logged)
            self._arrivals.setdefault(tenant, {})[logged.position] = arrived_ms

    # ---- steps ----

    def _apply_waiting(self) -> int:
        """Make steps until nothing waits; how many."""
        steps = publishes = 0
        while waiting := self._waiting():
            done, idle = step_each(waiting, self, self._parts.stepper)
            steps += done
            if done or not any(matcher.tenant in self._log.tenants() for matcher in idle):
                continue
            # A close waits for the ledger.
            self.publish(releases=False)
            publishes += 1
            if publishes > PUBLISHES_MAX:
                raise LimitError(
                    f"PUBLISHES_MAX: the ledger has not caught up after {PUBLISHES_MAX} calls"
                )
        return steps

    def _waiting(self) -> list[Matcher]:
        found = []
        for tenant in sorted(self._log.tenants()):
            matcher = self._matchers[tenant]
            if self._log.read(tenant, matcher.mark, 1):
                found.append(matcher)
        return found

    def make(self, matcher: Matcher) -> Made | None:
        """See stepping.Hooks, as the next two."""
        began = time.monotonic()
        try:
            made = matcher.make()
        except (StatusError, LogError) as error:
            self._stop(matcher, error)
            return None
        if made is not None:
            self._parts.watch.made(time.monotonic() - began)
        return made

    def apply(self, matcher: Matcher, made: Made) -> None:
        """Apply a step."""
        began = time.monotonic()
        try:
            matcher.apply(made)
        except LimitError as error:
            self._stop(matcher, error)
            return
        self._is_applied(matcher, made, time.monotonic() - began)

    def stepped(self, steps: Sequence[Stepped]) -> None:
        """Take note of steps that were made and applied together."""
        failed: ReassocError | None = None
        for step in steps:
            self._parts.watch.made(step.making)
            if step.refusal is None:
                self._is_applied(step.matcher, step.made, step.applying)
            elif isinstance(step.refusal, LimitError):
                self._stop(step.matcher, step.refusal)
            else:
                failed = failed or step.refusal
        if failed is not None:
            raise failed

    def _is_applied(self, matcher: Matcher, made: Made, seconds: float) -> None:
        self.unpublished_bytes += sum(map(len, made.step.outbox))
        self._unpublished.add(matcher.tenant)
        arrived_ms = self._arrivals.get(matcher.tenant, {}).pop(made.step.mark_after, 0)
        self._parts.watch.applied(matcher.tenant, made, arrived_ms, seconds)

    def _stop(self, matcher: Matcher, error: Exception) -> None:
        """Let a tenant stop: what is behind its mark is taken again after the next start."""
        tenant = matcher.tenant
        first = self._log.read(tenant, matcher.mark, 1)
        position = first[0].position if first else matcher.mark + 1
        self._stopped[tenant] = Progress(position - 1, self.progress.at_ms)
        self._log.drop(tenant)
        self._arrivals.pop(tenant, None)
        self._parts.watch.stopped(tenant, position, error)

    # ---- tenants ----

    def _matcher(self, tenant: str, first_position: int = 0) -> Matcher:
        matcher = self._matchers.get(tenant)
        if matcher is None:
            parts = self._parts
            matcher = Matcher(
                tenant,
                log=self._log,
                state=parts.state,
                history=parts.history,
                load_directory=parts.load_directory,
                may_begin=tenant not in self._seen,
            )
            self._see(tenant, first_position)
            self._matchers[tenant] = matcher
            # An older owner may have made steps until a moment ago.
            self._unpublished.add(tenant)
        return matcher

    def _see(self, tenant: str, first_position: int) -> None:
        """Remember a tenant that was claimed and has nothing yet. In this order: one that is seen
        and not there was lost."""
        if tenant not in self._seen:
            self._parts.registry.see_tenant(tenant, self.number, first_position)
            self._seen.add(tenant)
            self._first[tenant] = first_position

    def _lost_state(self, lost: Collection[str]) -> LostStateError:
        return LostStateError(
            f"partition {self.number}: the match state does not know {len(lost)} of "
            f"{len(self._seen)} tenants that it knew: it was lost; run `reassoc rebuild`"
        )

    # ---- what the partition itself remembers ----

    def _keep(self, logged: Logged) -> None:
        """Remember a record for all, before any tenant has it."""
        if logged.position > self._claim.mark:
            body = _encode_held(logged)
            put = _record(logged.position.to_bytes(ID_BYTES, "big"), RecordKind.FOR_ALL, body)
            self._step(logged.position, put)
        self.for_all.add(logged)

    def _go_on(self, progress: Progress) -> None:
        """Remember how far everything is applied: no further than where a tenant has stopped."""
        progress = min([progress, *self._stopped.values()], key=lambda each: each.position)
        if progress.position > self.progress.position:
            put = _record(_PROGRESS_ID, RecordKind.PROGRESS, msgspec.msgpack.encode(progress))
            self._step(self._claim.mark, put)
            self.progress = progress

    def _step(self, mark: int, put: Records) -> None:
        self._parts.state.apply(self._claim, Step(self._claim.mark, mark, put))
        self._claim = Claim(self._name, self._claim.epoch, mark)


def partition_name(number: int) -> str:
    """The name of a partition in the match state."""
    return f"{PREFIX}{number}"


def read_partition(state: State, number: int) -> tuple[ForAll, Progress]:
    """What a partition remembers: its records for all, and how far it is applied."""
    records = Records.concat(list(state.scan(partition_name(number))))
    own = records.of_kind(RecordKind.PROGRESS).bodies.rows()
    progress = msgspec.msgpack.decode(own[0], type=Progress) if own else Progress()
    entries = [_decode_held(body) for body in records.of_kind(RecordKind.FOR_ALL).bodies.rows()]
    return ForAll(sorted(entries, key=lambda each: each.position)), progress


def forget_progress(state: State, number: int) -> None:
    """Let a partition be read from its beginning; whoever has it is fenced off."""
    claim = state.claim(partition_name(number))
    progress = np.frombuffer(_PROGRESS_ID, np.uint8).reshape(1, ID_BYTES)
    state.apply(claim, Step(claim.mark, claim.mark, removes=progress))


_Held = tuple[int, str, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decode: msgspec.msgpack.Decoder[_Held] = msgspec.msgpack.Decoder(_Held)


def _encode_held(logged: Logged) -> bytes:
    return _encode((logged.position, logged.at, encode_entry(logged.entry)))


def _decode_held(body: bytes) -> Logged:
    position, at, entry = _decode.decode(body)
    return Logged(position, at, decode_entry(entry))


def _record(name: bytes, kind: RecordKind, body: bytes) -> Records:
    return Records(
        np.frombuffer(name, np.uint8).reshape(1, ID_BYTES),
        np.array([kind], np.uint8),
        np.zeros(0, np.uint64),
        np.zeros(1, np.int64),
        Block.of([body]),
    )
