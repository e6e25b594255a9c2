"""The matcher of one tenant: entries of its log, one after the other, into steps of its state.

See docs/ENGINE.md. It is the tenant's only writer: its claim fences older ones off, and the state
refuses a step that was made from another mark. It reads no clock: all times come from the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from reassoc.core.columns import DATE_NONE
from reassoc.core.directory import Directory
from reassoc.core.errors import ReassocError
from reassoc.core.matching.neighbours import KEYS_VERSION
from reassoc.stream import decisions
from reassoc.stream.deciding import Setting, decide
from reassoc.stream.decisions import Decision, RefusedError
from reassoc.stream.forgetting import long_closed
from reassoc.stream.item_log import (
    ClockEntry,
    DecisionEntry,
    FenceEntry,
    ItemLog,
    ItemsEntry,
    Logged,
    SettingsEntry,
    TenantEntry,
)
from reassoc.stream.item_steps import ItemsWork, item_steps, steps_of
from reassoc.stream.items import (
    PAYMENT,
    REMITTANCE,
    RecordKind,
    id_parts,
)
from reassoc.stream.knowledge import Knowledge
from reassoc.stream.ledger_rows import DecisionAnswer, DecisionRow, MovedItems
from reassoc.stream.live import (
    Live,
    Rows,
    id_keys_of,
    match_keys_of,
    profile_id,
    profile_ids,
)
from reassoc.stream.making import Heading, Making
from reassoc.stream.neighbours import Centre, surround
from reassoc.stream.new_items import (
    History,
    keys_of,
)
from reassoc.stream.new_keys import give_new_keys
from reassoc.stream.profiles import KnownProfiles
from reassoc.stream.records import take
from reassoc.stream.rerouting import NOBODY, moved_items, out_of_quarantine
from reassoc.stream.routing import QUARANTINE
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.state import Claim, Records, State, Step
from reassoc.stream.status_machine import StatusError
from reassoc.stream.tenant_record import (
    ALIASES_MAX,
    TENANT_ID,
    TenantRecord,
    decode_tenant,
    tenant_row,
)

READ_ENTRIES_MAX = 64
"""Entries of the log that are read at a time."""

LoadDirectory = Callable[[bytes], Directory]
"""The directory of a digest, out of the vault."""


class LogError(ReassocError):
    """An entry of the log that cannot be what a log holds: the tenant stops here."""


@dataclass(frozen=True, slots=True)
class Made:
    """A step that is made and not applied; the tenant's record after it, and profiles that the
    state has then."""

    step: Step
    record: TenantRecord
    profiles: Mapping[int, bytes] = field(default_factory=dict)


class Matcher:
    """The writer of one tenant.

    For one thread at a time. Raises what the state raises: after FencedError or MarkError it is of
    no use any more; StatusError and LogError mean that the tenant must stop.
    """

    def __init__(
        self,
        tenant: str,
        *,
        log: ItemLog,
        state: State,
        history: History,
        load_directory: LoadDirectory,
        may_begin: bool = True,
    ) -> None:
        """may_begin : see State.claim"""
        self.tenant = tenant
        self._log = log
        self._state = state
        self._history = history
        self._load_directory = load_directory
        self._claim: Claim = state.claim(tenant, may_begin=may_begin)
        self._mark = self._claim.mark
        self._waiting: list[Logged] = []
        self._at = ""
        self._let_out_by: bytes | None = None
        self._has_read_history = False
        self._profiles = KnownProfiles()
        found = state.fetch(tenant, np.frombuffer(TENANT_ID, np.uint8).reshape(1, 16))
        if len(found):
            self._know(decode_tenant(found.bodies.row(0)))
        else:
            self._know(TenantRecord(keys=KEYS_VERSION))
        if self.record.keys != KEYS_VERSION:
            self._know(give_new_keys(state, self._claim, self._knowledge))

    @property
    def mark(self) -> int:
        """Position of the last entry that is applied."""
        return self._mark

    @property
    def record(self) -> TenantRecord:
        """Settings and clock as they are now."""
        return self._knowledge.record

    @property
    def claim(self) -> Claim:
        """The right to write that it has."""
        return self._claim

    @property
    def knowledge(self) -> Knowledge:
        """Settings, clock and directory as they are now."""
        return self._knowledge

    @property
    def rules(self) -> WarehouseRules:
        """The rules that hold now."""
        return self._knowledge.rules.rules

    def step(self) -> bool:
        """Apply the next entry of the log, what `let_out` logs included; whether there was one."""
        made = self.next_made()
        if made is not None:
            self.apply(made)
        return made is not None

    def next_made(self) -> Made | None:
        """As `make`, what `let_out` logs included."""
        made = self.make()
        return self.make() if made is None and self.let_out() else made

    def make(self) -> Made | None:
        """What the next entry of the log makes of the state; nothing is changed. None where there
        is no entry, or where it must wait: a close forgets what is old, and does so only when the
        ledger has it."""
        logged = self._next()
        if logged is None or (_is_close(logged.entry) and not self._is_in_ledger()):
            return None
        self._at = logged.at
        return self._made_of(logged)

    def _next(self) -> Logged | None:
        if not self._waiting:
            self._waiting = self._log.read(self.tenant, self._mark, READ_ENTRIES_MAX)
        if not self._waiting:
            return None
        logged = self._waiting[0]
        if logged.position <= self._mark:
            raise LogError(
                f"the log goes on at position {logged.position}, though {self._mark} is applied: "
                "it is damaged"
            )
        return logged

    def apply(self, made: Made) -> None:
        """Apply what was made last, durably. The next step can be made when that is done."""
        self._state.apply(self._claim, made.step)
        self.applied(made)

    def applied(self, made: Made) -> None:
        """What was made last is applied, by who has the claim."""
        self._mark = made.step.mark_after
        if _is_close(self._waiting.pop(0).entry):
            self._has_read_history = False
        self._know(made.record)
        self._profiles.add(made.profiles)

    def _is_in_ledger(self) -> bool:
        """Whether the ledger has all that was applied."""
        last = self._history.last_sequence(self.tenant)
        return not self._state.outbox(self.tenant, 1, last)

    def _know(self, record: TenantRecord) -> None:
        known = getattr(self, "_knowledge", None)
        if known is not None and known.record == record:
            return
        if self.tenant == QUARANTINE:
            self._knowledge = Knowledge(record, NOBODY)
            return
        digest = _directory_of(record)
        if known is not None and _directory_of(known.record) == digest:
            directory = known.directory
        else:
            directory = self._load_directory(digest) if digest else None
        self._knowledge = Knowledge(record, directory)

    def let_out(self) -> bool:
        """Where this is the quarantine: log the moves of items whose payees a new directory knows.
        Whether there were any. To be called when all of its log is applied: what was logged before
        a crash is applied before this looks again, so nothing is asked for twice.

        It looks once for each directory, and once after a start, when the next entry comes.
        """
        if self._waiting:
            return False
        digest = _directory_of(self.record)
        if self.tenant != QUARANTINE or self._let_out_by == digest or self.record.settings is None:
            return False
        directory = self._load_directory(digest) if digest else None
        moves = 0
        for move in out_of_quarantine(self._state, directory, self._mark):
            self._log.append([(QUARANTINE, move)])
            moves += 1
        self._let_out_by = digest
        return moves > 0

    def _made_of(self, logged: Logged) -> Made:
        entry, position, record = logged.entry, logged.position, self.record
        if isinstance(entry, ItemsEntry):
            return Made(self._take_items(entry, logged), record, self._new_profiles(entry))
        if isinstance(entry, ClockEntry):
            record = msgspec.structs.replace(record, clock=entry)
            if entry.kind == "start":
                return Made(self._start(record, position), record)
            return Made(self._tick(entry, record, position), record)
        if isinstance(entry, SettingsEntry):
            record = msgspec.structs.replace(record, settings=entry)
            return Made(self._match_anew(record, position, "settings"), record)
        if isinstance(entry, TenantEntry | FenceEntry):
            raise LogError(f"position {position} of the log belongs to another log: it is damaged")
        if entry.kind == "alias":
            return Made(*self._take_alias(entry, position))
        return Made(self._take_decision(entry, position), record)

    # ---- items ----

    def items_bytes(self) -> int:
        """Bytes of the entry that `make` takes next, where it is one of items; else 0, as where the
        log is damaged: `make` says so."""
        try:
            logged = self._next()
        except LogError:
            return 0
        if logged is None or not isinstance(logged.entry, ItemsEntry):
            return 0
        return len(logged.entry.remittances) + len(logged.entry.payments)

    def items_next(self) -> ItemsWork | None:
        """The entry that `make` takes next, where it is one of items."""
        logged = self._next()
        if logged is None or not isinstance(logged.entry, ItemsEntry):
            return None
        return self._work(logged.entry, logged)

    def steps_with(self, matchers: Sequence[Matcher], works: Sequence[ItemsWork]) -> list[Step]:
        """Steps of what some matchers gave as `items_next`, this one among them, which know the
        same. Raises what `item_steps` raises."""
        self._read_history(matchers)
        return item_steps(works, self._knowledge, self._state, self._history)

    def made_of(self, work: ItemsWork, step: Step) -> Made:
        """The step of what `items_next` gave, as `make` gives it."""
        return Made(step, self.record, self._new_profiles(work.entry))

    def _take_items(self, entry: ItemsEntry, logged: Logged) -> Step:
        (step,) = self.steps_with([self], [self._work(entry, logged)])
        return step

    def _work(self, entry: ItemsEntry, logged: Logged) -> ItemsWork:
        profiles = self._new_profiles(entry)
        heading = self._heading(logged.position, "items", profiles)
        heading.as_of = logged.at
        heading.sources = tuple(
            (note.digest, note.name, note.kind, note.byte_count) for note in entry.sources
        )
        heading.records = [
            (profile_id(key), RecordKind.PROFILE, data)
            for key, data in profiles.items()
            if key not in self._profiles
        ]
        return ItemsWork(heading, entry)

    def _new_profiles(self, entry: ItemsEntry) -> dict[int, bytes]:
        return {self._profiles.key_of(data): data for data in entry.profiles}

    def _read_history(self, matchers: Sequence[Matcher]) -> None:
        """Before the first items, and again when a close has forgotten some, for which it waited
        until the ledger had them. What came since is in the state."""
        behind = [one for one in matchers if not one._has_read_history]
        if behind:
            self._history.read_on()
        for one in behind:
            one._has_read_history = True

    # ---- the clock, and settings ----

    def _start(self, record: TenantRecord, position: int) -> Step:
        """What day it is, and nothing else."""
        self._know(record)
        live = Live.of(Records.none(), REMITTANCE.empty(), PAYMENT.empty(), whole=False)
        making = self._making(live, position, "clock")
        making.heading.records.append(tenant_row(record))
        return self._finish(live, making, self._knowledge.setting(position))

    def _tick(self, entry: ClockEntry, record: TenantRecord, position: int) -> Step:
        self._know(record)
        live = self._whole()
        _date(live, entry.day)
        making = self._making(live, position, "clock")
        making.heading.records.append(tenant_row(record))
        if entry.kind == "close":
            making.forget = long_closed(live, self.rules, self._knowledge.calendar, entry.day)
        setting = self._knowledge.setting(position, at_clock=True, at_close=entry.kind == "close")
        return self._finish(live, making, setting)

    def _match_anew(
        self,
        record: TenantRecord,
        position: int,
        cause: str,
        answers: tuple[DecisionRow, ...] = (),
    ) -> Step:
        """All items under new settings: keys and all."""
        self._know(record)
        live = self._whole()
        making = self._making(live, position, cause)
        making.heading.records.append(tenant_row(record))
        making.heading.decisions = answers
        making.rekeyed = True
        knowledge = self._knowledge
        making.remittance_keys, making.payment_keys = keys_of(
            live.remittances.rows, live.payments.rows, knowledge.policy, knowledge.directory
        )
        return self._finish(live, making, self._knowledge.setting(position))

    def _whole(self) -> Live:
        parts = list(self._state.scan(self.tenant))
        return Live.of(Records.concat(parts), REMITTANCE.empty(), PAYMENT.empty(), whole=True)

    # ---- decisions ----

    def _take_decision(self, entry: DecisionEntry, position: int) -> Step:
        try:
            live = self._around(entry)
            decision = decisions.apply(live, entry, position, self.record.day)
            making = self._making(live, position, "decision")
            making.kinds, making.resend = decision.kinds, decision.resend
            making.vetoes = decision.vetoes
            if decision.moved is not None:
                making.heading.moved = self._moved(entry.tenant, live, *decision.moved)
            making.heading.decisions = (_row(entry, position, decision),)
            return self._finish(live, making, self._knowledge.setting(position))
        except (RefusedError, StatusError) as error:
            # A decision never stops a tenant: what would break the life of an item is refused.
            return self._answer(entry, position, str(error))

    def _moved(self, target: str, live: Live, left: Rows, right: Rows) -> MovedItems:
        """What another tenant gets."""
        if target in ("", self.tenant, QUARANTINE):
            raise RefusedError("a move needs another tenant, which is not the quarantine")
        sides = take(live.remittances.rows, left), take(live.payments.rows, right)
        return moved_items(self._state, self.tenant, target, *sides)

    def _around(self, entry: DecisionEntry) -> Live:
        """The items that a decision is about, and their surroundings; all of the tenant where more
        pairs are about them than a key brings: a decision is never half done."""
        ids = decisions.ids_of(entry.remittances + entry.payments)
        if len(ids) > decisions.DECISION_ITEMS_MAX:
            raise RefusedError(
                f"more than DECISION_ITEMS_MAX ({decisions.DECISION_ITEMS_MAX}) items"
            )
        found = self._state.fetch(self.tenant, ids)
        match_ids = [entry.match_id] if entry.match_id else []
        of_match = match_keys_of(np.array(match_ids, np.uint64))
        centre = Centre(
            self.tenant, found.ids, found.keys, found.key_stops, are_new=False, match_keys=of_match
        )
        (around,) = surround(self._state, [centre])
        own = np.concatenate([of_match, id_keys_of(*id_parts(found.ids))])
        if np.isin(own, around.crowded).any():
            return self._whole()
        return Live.of(
            around.records,
            REMITTANCE.empty(),
            PAYMENT.empty(),
            whole=False,
            late_ids=around.late,
        )

    def _take_alias(self, entry: DecisionEntry, position: int) -> tuple[Step, TenantRecord]:
        record = self.record
        try:
            if len(entry.payers) != 2:
                raise RefusedError("an alias ties two identifiers together")
            if len(record.aliases) >= ALIASES_MAX:
                raise RefusedError(
                    f"more than ALIASES_MAX ({ALIASES_MAX}) aliases: use the directory"
                )
            pair = (entry.payers[0], entry.payers[1])
            if pair in record.aliases or pair[::-1] in record.aliases:
                raise RefusedError("these two identifiers mean one payer already")
            changed = msgspec.structs.replace(record, aliases=(*record.aliases, pair))
            changed.policy()
        except ReassocError as error:
            return self._answer(entry, position, str(error)), record
        answer = _row(entry, position, Decision(np.zeros(0, np.uint8)))
        return self._match_anew(changed, position, "decision", (answer,)), changed

    def _answer(self, entry: DecisionEntry, position: int, refusal: str) -> Step:
        """A step that only says no."""
        live = Live.of(Records.none(), REMITTANCE.empty(), PAYMENT.empty(), whole=False)
        making = self._making(live, position, "decision")
        making.heading.decisions = (_row(entry, position, None, refusal),)
        return self._finish(live, making, self._knowledge.setting(position))

    # ---- putting a step together ----

    def _making(self, live: Live, position: int, cause: str) -> Making:
        none = np.zeros(len(live.remittances), np.uint8)
        return Making([self._heading(position, cause, {})], none)

    def _heading(self, position: int, cause: str, here: Mapping[int, bytes]) -> Heading:
        record = self._knowledge.record
        as_of = record.as_of if cause == "clock" else self._at
        return Heading(
            self.tenant, self._mark, position, record.day, as_of, cause,
            profiles=lambda wanted: self._profiles_of(wanted, here),
        )  # fmt: skip

    def _finish(self, live: Live, making: Making, setting: Setting) -> Step:
        (step,) = steps_of(live, decide(live, setting), making, setting, self._knowledge.rules)
        return step

    def _profiles_of(self, wanted: list[int], here: Mapping[int, bytes]) -> dict[int, bytes]:
        """Profiles that are new with the step, remembered, or only in the state."""
        found: dict[int, bytes] = {}
        for key in wanted:
            data = here.get(key) or self._profiles.get(key)
            if data is not None:
                found[key] = data
        missing = [key for key in wanted if key not in found]
        if missing:
            stored = self._stored_profiles(missing)
            self._profiles.add(stored)
            found |= stored
        return found

    def _stored_profiles(self, keys: list[int]) -> dict[int, bytes]:
        found = self._state.fetch(self.tenant, profile_ids(keys))
        digest, _ = id_parts(found.ids) if len(found) else (np.zeros(0, np.uint64), None)
        return dict(zip(digest.tolist(), found.bodies.rows(), strict=True))


def apply_each(state: State, steps: Sequence[tuple[Matcher, Made]]) -> list[ReassocError | None]:
    """Apply what was made last of each matcher, durably; for each what it is refused with, None
    where it is applied. Raises where the state fails."""
    refusals = state.apply_each([(matcher.claim, made.step) for matcher, made in steps])
    for (matcher, made), refusal in zip(steps, refusals, strict=True):
        if refusal is None:
            matcher.applied(made)
    return refusals


def _is_close(entry: object) -> bool:
    return isinstance(entry, ClockEntry) and entry.kind == "close"


def _directory_of(record: TenantRecord) -> bytes:
    return record.settings.directory if record.settings is not None else b""


def _date(live: Live, day: int) -> None:
    """What came before the first clock entry came on its day: the days of a default are counted
    from there where an 835 has no date of its own."""
    for side in (live.remittances, live.payments):
        seen = side.rows["seen_day"]
        seen[seen == DATE_NONE] = day


def _row(
    entry: DecisionEntry, position: int, decision: Decision | None, refusal: str = ""
) -> DecisionRow:
    answer = DecisionAnswer.REFUSED if decision is None else DecisionAnswer.DONE
    count = decision.item_count if decision is not None else 0
    cents = decision.cents if decision is not None else 0
    return DecisionRow(
        position, entry.number, entry.kind, entry.who, entry.why, answer, refusal, count, cents
    )
