"""The release book: which files are to be delivered, what is in them, and what became of them.

An intent fixes a file before any sink sees it: its name, its transactions and their order, the
control numbers and the day of its envelope. All of that lies in the ledger, in its release chain,
so a file can be written again with the same bytes at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum
from itertools import chain

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, bindparam, func, select

from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.envelope import CONTROL_NUMBER_MAX, Profile, written_identities
from reassoc.stream.items import Ids, id_parts
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_append import ControlNumberRow
from reassoc.stream.ledger_chain import ReleaseEvent, ReleaseEventRow, ReleaseFileRow
from reassoc.stream.ledger_rows import ReleaseOrder
from reassoc.stream.ledger_schema import (
    release_event,
    release_file,
    source_file,
)
from reassoc.stream.ledger_store import (
    ask,
    fetch,
    pieces,
    sum_halves,
    values_text,
)
from reassoc.stream.release_draft import (
    BODY_ROW,
    NO_SINK,
    Draft,
    FileBody,
    Order,
    decode_body,
    join_orders,
    portions,
)
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.sinks import Written
from reassoc.stream.sums import whole_sum

UNFINISHED_MAX = 1000
"""Intents that `unfinished` gives at a time."""
FOLDER_SINK = "folder"
_PROBE_ROWS = 5000
_EPOCH = date(1970, 1, 1)
_log = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]


class ReleaseBookError(ReassocError):
    """An event that the book refuses; nothing was changed."""


class FailureCode(IntEnum):
    """Why an attempt to deliver failed. NOT_DELIVERED: a person said so of a file in doubt."""

    SINK = 1
    NAME_TAKEN = 2
    CONTENT = 3
    BYTES_CHANGED = 4
    INTERNAL = 5
    NOT_DELIVERED = 6


@dataclass(frozen=True, slots=True)
class Intent:
    """A file that is to be delivered.

    number              of the file, 1, 2, 3...
    name, receiver      file name, unique for ever, and the safe name of who gets it
    sink, sender        name of the sink; whose 835s are in it
    interchange_control, group_control_first   ISA13, and GS06 of the first group
    day                 of the envelope, days since 1970-01-01
    prepared            what was written, where the file was prepared
    is_in_doubt         nobody knows whether it was delivered: a person must say
    failure_code        FailureCode of the last failed attempt, 0 for none
    """

    number: int
    name: str
    sink: str
    receiver: str
    sender: str
    interchange_control: int
    group_control_first: int
    group_count: int
    item_count: int
    cents: int
    day: int
    prepared: Written | None = None
    is_in_doubt: bool = False
    failure_code: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseCounts:
    """How far releases are: files that were intended, with remittances and cents; those of them
    that are not delivered; remittances that had no file."""

    file_count: int
    item_count: int
    cents: int
    waiting_file_count: int
    waiting_item_count: int
    waiting_cents: int
    without_file_count: int


class ReleaseBook:
    """Intents and what became of them, in a ledger. Any thread may call it.

    `at` is now, ISO 8601 in UTC. Every method raises what the ledger raises: LedgerError where it
    refuses, OSError where it fails.
    """

    def __init__(self, ledger: Ledger, *, sink: str = FOLDER_SINK) -> None:
        """sink : name of the one that gets new files"""
        self._ledger = ledger
        self._sink = sink
        # Files up to this one are done, which is final: nobody has to look at them again.
        self._done_to = 0

    def intend(
        self, orders: Sequence[ReleaseOrder], *, day: int, at: str, rules: WarehouseRules
    ) -> list[Intent]:
        """Make files of what was ordered; the intents that are new. ORDER_ITEMS_MAX remittances are
        one transaction.

        day : of the envelopes, days since 1970-01-01; DATE_NONE for that of `at`

        A remittance that has an intent for that sending is left out: its order came before. One
        file holds one profile and at most `rules.file_transactions_max` remittances by source and
        place, a new group (GS) where an ST02 would repeat. Remittances whose bytes are not in the
        vault are booked as done, without a file.

        Raises OrderError for an order that contradicts itself, LimitError above CONTROL_NUMBER_MAX.
        What was intended by then stays so. O(n log n), about 20 us per remittance.
        """
        intents = []
        for portion in portions(orders):
            intents += self._intend(join_orders(portion), day, at, rules)
        return intents

    def _intend(self, order: Order, day: int, at: str, rules: WarehouseRules) -> list[Intent]:
        with self._ledger.writing() as connection:
            rows = _new_rows(connection, order)
            if not len(rows):
                return []
            ((number,),) = ask(connection, "SELECT coalesce(max(file), 0) FROM release_file")
            numbers = _ControlNumbers(connection, order.profiles)
            of_envelopes = day if day != DATE_NONE else _day_of(at)
            draft = Draft(order, number, of_envelopes, self._sink, numbers)
            draft.add(rows, rules.file_transactions_max, at)
            self._ledger.append_release(
                connection,
                day=_day_of(at),
                as_of=at,
                files=draft.files,
                tenants=draft.tenants,
                items=np.concatenate(draft.items),
                events=draft.events,
                control_numbers=numbers.used(),
            )
        return [_intent(file) for file in draft.files if file.sink != NO_SINK]

    def unfinished(self, after: int = 0, limit: int = UNFINISHED_MAX) -> list[Intent]:
        """Intents that are not done, by number, above `after`; at most `limit`."""
        done = (
            select(release_event.c.file)
            .where(
                release_event.c.event == int(ReleaseEvent.DONE),
                release_event.c.file == release_file.c.file,
            )
            .exists()
        )
        columns = [release_file.c[name] for name in Intent.__slots__ if name in _FILE_COLUMNS]
        floor = self._done_to
        with self._ledger.reading() as connection:
            last = connection.execute(select(func.max(release_file.c.file))).scalar() or 0
            found = connection.execute(
                select(release_file.c.file.label("number"), *columns)
                .where(release_file.c.file > max(after, floor), ~done)
                .order_by(release_file.c.file)
                .limit(limit)
            )
            intents = [Intent(**row) for row in found.mappings()]
            if after <= floor:
                self._done_to = intents[0].number - 1 if intents else last
            events = _events(connection, [intent.number for intent in intents])
        return [_as_of(intent, events.get(intent.number, [])) for intent in intents]

    def unfinished_contents(self) -> set[bytes]:
        """First 8 bytes of the digests of files that unfinished intents are made of."""
        found = set[bytes]()
        after = 0
        while intents := self.unfinished(after):
            after = intents[-1].number
            for body in self.bodies([intent.number for intent in intents]):
                if isinstance(body, ReleaseBookError):
                    raise body
                digests = np.frombuffer(body.rows, BODY_ROW)["digest"]
                found.update(value.tobytes() for value in np.unique(digests))
        return found

    def body(self, number: int) -> FileBody:
        """What is in a file. Raises ReleaseBookError where there is none, or its row is damaged."""
        body = self.bodies([number])[0]
        if isinstance(body, ReleaseBookError):
            raise body
        return body

    def bodies(self, numbers: Sequence[int]) -> list[FileBody | ReleaseBookError]:
        """What is in each of some files; for one that is not there or whose row is damaged, the
        error. All are in memory at once: 29 bytes a remittance."""
        found: dict[int, bytes] = {}
        chosen = release_file.c.file.in_(bindparam("wanted", expanding=True))
        statement = select(release_file.c.file, release_file.c.body).where(chosen)
        with self._ledger.reading() as connection:
            for first in range(0, len(numbers), _PROBE_ROWS):
                wanted = list(numbers[first : first + _PROBE_ROWS])
                found |= dict(fetch(connection, statement, {"wanted": wanted}))
        return [_body(number, found.get(number)) for number in numbers]

    def sources(self, prefixes: Sequence[int]) -> dict[int, bytes]:
        """Full digest (32 bytes) of each source that the ledger knows, by its first 8 bytes."""
        signed = np.array(prefixes, np.uint64).view(np.int64).tolist()
        found: dict[int, bytes] = {}
        with self._ledger.reading() as connection:
            for first in range(0, len(signed), _PROBE_ROWS):
                wanted = signed[first : first + _PROBE_ROWS]
                digests = connection.execute(
                    select(source_file.c.digest).where(source_file.c.digest_prefix.in_(wanted))
                ).scalars()
                found |= {int.from_bytes(digest[:8], "little"): bytes(digest) for digest in digests}
        return found

    def prepared(self, written: Sequence[tuple[int, Written]], *, at: str) -> None:
        """Files are written: their bytes are fixed, of all or none. Raises ReleaseBookError where
        another process has prepared or delivered one: two must not release from one book."""
        self._add(
            [_Event(number, ReleaseEvent.PREPARED, written=one) for number, one in written], at
        )

    def done(self, delivered: Sequence[tuple[int, int]], *, at: str) -> None:
        """Files are delivered: (number, code), the code being sinks.Delivery. Raises
        ReleaseBookError where one was done before; then none is."""
        self._add([_Event(number, ReleaseEvent.DONE, code) for number, code in delivered], at)

    def failed(self, number: int, *, at: str, code: FailureCode) -> None:
        """An attempt failed; the file stays unfinished."""
        self._add([_Event(number, ReleaseEvent.FAILED, int(code))], at)

    def in_doubt(self, number: int, *, at: str) -> None:
        """Nobody knows whether a file was delivered: it waits for `answer`."""
        self._add([_Event(number, ReleaseEvent.IN_DOUBT)], at)

    def answer(self, number: int, *, delivered: bool, at: str) -> None:
        """A person says whether a file in doubt was delivered: it is done, or written once more.
        Raises ReleaseBookError for a file that is not in doubt."""
        event, code = ReleaseEvent.DONE, 0
        if not delivered:
            event, code = ReleaseEvent.FAILED, int(FailureCode.NOT_DELIVERED)
        self._add([_Event(number, event, code, is_answer=True)], at)

    def _add(self, events: Sequence[_Event], at: str) -> None:
        numbers = [event.number for event in events]
        with self._ledger.writing() as connection:
            names, before = _named_events(connection, numbers)
            for event in events:
                _check_event(event, names.get(event.number), before.get(event.number, []))
            rows = [
                ReleaseEventRow(
                    event.number,
                    int(event.event),
                    at,
                    event.code,
                    event.written.byte_count if event.written else None,
                    event.written.digest if event.written else None,
                )
                for event in events
            ]
            self._ledger.append_release(connection, day=_day_of(at), as_of=at, events=rows)

    def released_names(self, tenant: str, ids: Ids) -> list[str]:
        """Name of the file that each item was sent in last, empty for none.

        ids : uint8[n, 16]. O(n log rows).
        """
        digest, offset = id_parts(ids)
        found: dict[tuple[int, int], tuple[int, str]] = {}
        with self._ledger.reading() as connection:
            for values in values_text(digest.view(np.int64), offset):
                statement = _LAST_NAMES.format(values)
                for owner, item_digest, item_offset, sending, name in ask(connection, statement):
                    key = (item_digest, item_offset)
                    if owner == tenant:
                        found[key] = max(found.get(key, (0, "")), (sending, name))
        keys = zip(digest.view(np.int64).tolist(), offset.tolist(), strict=True)
        return [found.get(key, (0, ""))[1] for key in keys]

    def counts(self) -> ReleaseCounts:
        """How far releases are. O(files)."""
        file, item = func.count(), func.coalesce(func.sum(release_file.c.item_count), 0)
        cents = sum_halves(release_file.c.cents)
        done = select(release_event.c.file).where(
            release_event.c.event == int(ReleaseEvent.DONE),
            release_event.c.file == release_file.c.file,
        )
        with_file = release_file.c.sink != NO_SINK
        every = select(file, item, *cents).select_from(release_file).where(with_file)
        with self._ledger.reading() as connection:
            files = connection.execute(every).one()
            waiting = connection.execute(
                every.where(release_file.c.file > self._done_to, ~done.exists())
            ).one()
            without = connection.execute(select(item).where(release_file.c.sink == NO_SINK))
            found = [(one[0], one[1], whole_sum(*one[2:])) for one in (files, waiting)]
            return ReleaseCounts(*map(int, (*found[0], *found[1], without.scalar_one())))


def _body(number: int, data: bytes | None) -> FileBody | ReleaseBookError:
    if data is None:
        return ReleaseBookError(f"the release book has no file {number}")
    try:
        return decode_body(data)
    except msgspec.MsgspecError:
        return ReleaseBookError(
            f"file {number} is damaged in the release book: run `reassoc audit verify`"
        )


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that becomes of a file."""

    number: int
    event: ReleaseEvent
    code: int = 0
    written: Written | None = None
    is_answer: bool = False


def _check_event(event: _Event, name: str | None, events: Sequence[ReleaseEventRow]) -> None:
    """Refuse what cannot become of a file after what became of it."""
    if name is None:
        raise ReleaseBookError(f"the release book has no file {event.number}")
    if any(before.event == ReleaseEvent.DONE for before in events):
        raise ReleaseBookError(f"{name} is delivered already: nothing more becomes of it")
    stands = _standing(events)
    if event.is_answer and not stands.is_in_doubt:
        raise ReleaseBookError(f"{name} is not in doubt: it is delivered by itself")
    if event.event is ReleaseEvent.PREPARED and stands.prepared is not None:
        raise ReleaseBookError(
            f"{name} was prepared by another process: only one may release from a book"
        )


_FILE_COLUMNS = frozenset(one.name for one in release_file.c) - {"number", "file", "body"}
_LAST_NAMES = """
    SELECT item.tenant, item.digest, item."offset", item.sending, file.name
    FROM ({}) AS wanted
    JOIN release_item AS item ON item.digest = column1 AND item."offset" = column2
    JOIN release_file AS file ON file.file = item.file
"""
"""Of all tenants: PostgreSQL may not know a new one yet, and would begin with its rows then."""
_SENDINGS = """
    SELECT item.digest, item."offset", item.sending, item.tenant
    FROM ({}) AS wanted
    JOIN release_item AS item ON item.digest = column1 AND item."offset" = column2
"""
_KNOWN_CONTENTS = """
    SELECT column1 FROM ({}) AS wanted
    WHERE EXISTS (SELECT 1 FROM release_item AS item WHERE item.digest = column1)
"""
_NAMED_EVENTS = """
    SELECT file.file, file.name, event.event, event.at, event.code, event.byte_count, event.digest
    FROM ({}) AS wanted
    JOIN release_file AS file ON file.file = column1
    LEFT JOIN release_event AS event ON event.file = file.file
    ORDER BY event.number
"""
"""Filled with `values_text`."""


def _new_rows(connection: Connection, order: Order) -> Ints:
    """Rows that have no intent yet, each remittance and sending once."""
    digest, offset = order.rows["digest"].copy(), order.rows["offset"].copy()
    seen: dict[tuple[int, int, int], str] = {}
    known = np.isin(digest, _known_contents(connection, np.unique(digest)))
    for values in values_text(digest[known].view(np.int64), offset[known]):
        rows = ask(connection, _SENDINGS.format(values))
        seen |= {(row[0], row[1], row[2]): row[3] for row in rows}
    new: list[int] = []
    foreign = 0
    keys = zip(
        digest.view(np.int64).tolist(),
        offset.tolist(),
        order.rows["sending"].tolist(),
        strict=True,
    )
    for row, key in enumerate(keys):
        tenant = seen.setdefault(key, "\0")
        if tenant == "\0":
            seen[key] = order.tenants[row]
            new.append(row)
        foreign += tenant not in ("\0", order.tenants[row])
    if foreign:
        # What an item is hangs on its id, not on whose it is: it is never sent twice by itself.
        _log.warning("%d remittances were released for another tenant before: left out", foreign)
    return np.array(new, np.int64)


def _known_contents(connection: Connection, digests: Digests) -> Digests:
    """uint64[k]: contents of which something was intended before. Most that is released comes first
    of its content, and needs no look at each remittance."""
    found: list[int] = []
    for values in values_text(digests.view(np.int64)):
        found += [row[0] for row in ask(connection, _KNOWN_CONTENTS.format(values))]
    return np.array(found, np.int64).view(np.uint64)


class _ControlNumbers:
    """ISA13 and GS06 by sender and receiver, counted on within the transaction of an intent, which
    alone may write."""

    def __init__(self, connection: Connection, profiles: Sequence[Profile]) -> None:
        """profiles : all that numbers will be taken for. A statement for each _PARTIES_MAX."""
        self._connection = connection
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        self._taken: set[tuple[str, str]] = set()
        keys = sorted({_parties(profile) for profile in profiles})
        for piece in pieces(len(keys), _PARTIES_MAX):
            chosen = " OR ".join(["sender = ? AND receiver = ?"] * len(keys[piece]))
            values = list(chain.from_iterable(keys[piece]))
            for sender, receiver, *last in ask(connection, _LAST_NUMBERS + chosen, values):
                self._last[sender, receiver] = last[0], last[1]

    def take(self, profile: Profile, group_count: int) -> tuple[int, int]:
        """The next ISA13, and the first of the next GS06. Raises LimitError at the last."""
        key = _parties(profile)
        interchange, group = self._last.get(key, (0, 0))
        if max(interchange + 1, group + group_count) > CONTROL_NUMBER_MAX:
            raise LimitError(
                f"CONTROL_NUMBER_MAX ({CONTROL_NUMBER_MAX}): the control numbers between a sender "
                "and a receiver are used up"
            )
        self._last[key] = interchange + 1, group + group_count
        self._taken.add(key)
        return interchange + 1, group + 1

    def used(self) -> list[ControlNumberRow]:
        """How far the numbers are used that were taken."""
        return [(*key, *self._last[key]) for key in sorted(self._taken)]


_PARTIES_MAX = 100
"""Senders and receivers that one statement asks for."""
_LAST_NUMBERS = "SELECT sender, receiver, last_interchange, last_group FROM control_number WHERE "


def _parties(profile: Profile) -> tuple[str, str]:
    """Sender and receiver of files of a profile."""
    sender, receiver = written_identities(profile)
    return sender.decode("latin-1").rstrip(), receiver.decode("latin-1").rstrip()


def _day_of(at: str) -> int:
    return (date.fromisoformat(at[:10]) - _EPOCH).days


def _intent(row: ReleaseFileRow) -> Intent:
    values = {name: getattr(row, name) for name in Intent.__slots__ if name in _FILE_COLUMNS}
    return Intent(number=row.file, **values)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a file stands by its events; see Intent."""

    prepared: Written | None = None
    is_in_doubt: bool = False
    failure_code: int = 0


def _standing(events: Sequence[ReleaseEventRow]) -> _Standing:
    stands = _Standing()
    for event in events:
        if event.event == ReleaseEvent.PREPARED:
            assert event.byte_count is not None
            assert event.digest is not None
            stands = replace(stands, prepared=Written(event.byte_count, event.digest))
        elif event.event == ReleaseEvent.IN_DOUBT:
            stands = replace(stands, is_in_doubt=True)
        elif event.event == ReleaseEvent.FAILED:
            stands = replace(stands, failure_code=event.code)
            if event.code == FailureCode.NOT_DELIVERED:
                stands = _Standing(failure_code=event.code)
    return stands


def _as_of(intent: Intent, events: Sequence[ReleaseEventRow]) -> Intent:
    stands = _standing(events)
    return replace(
        intent,
        prepared=stands.prepared,
        is_in_doubt=stands.is_in_doubt,
        failure_code=stands.failure_code,
    )


def _events(connection: Connection, numbers: Sequence[int]) -> dict[int, list[ReleaseEventRow]]:
    """Events of files, in their order."""
    columns = [release_event.c[name] for name in ReleaseEventRow.__struct_fields__]
    found: dict[int, list[ReleaseEventRow]] = {}
    rows = connection.execute(
        select(*columns).where(release_event.c.file.in_(numbers)).order_by(release_event.c.number)
    )
    for row in rows:
        found.setdefault(row.file, []).append(ReleaseEventRow(*row))
    return found


def _named_events(
    connection: Connection, numbers: Sequence[int]
) -> tuple[dict[int, str], dict[int, list[ReleaseEventRow]]]:
    """Names of files, those that are there, and the events of each in their order."""
    names: dict[int, str] = {}
    events: dict[int, list[ReleaseEventRow]] = {}
    for values in values_text(np.array(numbers, np.int64)):
        for file, name, event, *more in ask(connection, _NAMED_EVENTS.format(values)):
            names[file] = name
            if event is not None:
                events.setdefault(file, []).append(ReleaseEventRow(file, event, *more))
    return names, events
