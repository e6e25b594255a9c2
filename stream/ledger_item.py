"""One item in the ledger: where it is found, and all that ever became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from reassoc.core.errors import LimitError
from reassoc.core.statuses import (
    Funding,
    LinkKind,
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Tier,
    reason_text,
)
from reassoc.stream import ledger_schema as schema
from reassoc.stream.explain import explain
from reassoc.stream.items import ItemFlag, ReleaseKind, item_name, parse_item_name
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_chain import DECISION_KINDS, ReleaseEvent
from reassoc.stream.ledger_open import hash_texts
from reassoc.stream.ledger_rows import (
    DETAIL_TEXTS,
    AlertCode,
    DecisionAnswer,
    ItemSide,
    PairEvent,
)
from reassoc.stream.ledger_schema import BATCH_ROWS_MAX, PLACE_BITS
from reassoc.stream.ledger_store import fetch, wanted_rows

FOUND_MAX = 50
"""Items that a search gives."""
PREFIX_DIGITS_MIN = 4
"""Digits of an id that a search needs."""
HISTORY_BATCHES_MAX = 100_000
"""Batches that one history is searched in: those that say something about the item's file."""

_KIND_NAMES = {number: name for name, number in DECISION_KINDS.items()}
_DIGEST_DIGITS = 16


# ---- finding ----


class FoundItem(msgspec.Struct, frozen=True):
    """An item as it came; texts are empty where they were erased.

    tenant : whose it is; of what moved, the tenant that it came to last
    """

    tenant: str
    side: ItemSide
    digest: int
    offset: int
    cents: int
    day: int
    trace: str
    payer_id: str
    payer_name: str
    payee_account: str
    payee_id: str

    @property
    def name(self) -> str:
        """Its id as people type it."""
        return item_name(self.digest, self.offset)


def find_items(ledger: Ledger, text: str) -> list[FoundItem]:
    """Items by id (`0123456789abcdef-120`), by the first PREFIX_DIGITS_MIN or more digits of one,
    or by trace (letters and digits count, in any case): at most FOUND_MAX.

    Raises OSError where the database fails. A few milliseconds.
    """
    text = text.strip().lower()
    numbers: list[int] = []
    place, trace = schema.item_place, schema.item_trace
    is_named = _is_named(text)
    hashed = int(hash_texts([text.encode()]).view(np.int64)[0])
    with ledger.reading() as connection:
        if is_named is not None:
            statement = select(place.c.number).where(is_named)
            ordered = statement.order_by(place.c.digest, place.c.offset, place.c.number).limit(
                FOUND_MAX
            )
            numbers += [row[0] for row in fetch(connection, ordered)]
        if hashed:
            by_trace = (
                select(trace.c.number).where(trace.c.trace_hash == hashed).order_by(trace.c.number)
            )
            numbers += [row[0] for row in fetch(connection, by_trace.limit(FOUND_MAX))]
        return _read_items(connection, numbers[:FOUND_MAX])


def _is_named(text: str) -> ColumnElement[bool] | None:
    """What rows of `item_place` a text names; None for a text that is no id nor begins one."""
    place = schema.item_place
    known = parse_item_name(text)
    if known is not None and known[1] < 1 << 63:
        return and_(place.c.digest == _signed(known[0]), place.c.offset == known[1])
    digits = text.removesuffix("-")
    is_hex = all(digit in "0123456789abcdef" for digit in digits)
    if not is_hex or not PREFIX_DIGITS_MIN <= len(digits) <= _DIGEST_DIGITS:
        return None
    # All that begins with these digits is one range; the sign is the first bit, which is in them.
    first = _signed(int(digits.ljust(_DIGEST_DIGITS, "0"), 16))
    last = _signed(int(digits.ljust(_DIGEST_DIGITS, "f"), 16))
    return place.c.digest.between(first, last)


def _read_items(connection: Connection, numbers: Sequence[int]) -> list[FoundItem]:
    item, batch = schema.item, schema.batch
    columns = (item.c.number, batch.c.tenant, item.c.side, item.c.digest, item.c.offset)
    statement = (
        select(*columns, item.c.cents, item.c.day)
        .join_from(item, batch, batch.c.number == schema.batch_of(item.c.number))
        .where(item.c.number.in_(numbers))
    )
    rows = {row[0]: row[1:] for row in fetch(connection, statement)}
    ids = [(_unsigned(row[2]), row[3]) for row in rows.values()]
    texts = read_details(connection, ids)
    answer: dict[tuple[int, int], FoundItem] = {}
    for number in dict.fromkeys(numbers):
        tenant, side, digest, offset, cents, day = rows[number]
        found = (_unsigned(digest), offset)
        named: dict[str, Any] = {**texts.get(found, dict.fromkeys(DETAIL_TEXTS, ""))}
        # What moved came to each of its tenants: the last one has it.
        answer[found] = FoundItem(tenant, ItemSide(side), *found, cents, day, **named)
    return list(answer.values())


def read_details(
    connection: Connection, ids: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], dict[str, str]]:
    """Texts of items by their ids (digest, offset); those whose texts were erased are left out."""
    detail = schema.item_detail
    digests = np.array([digest for digest, _ in ids], np.uint64).view(np.int64)
    offsets = np.array([offset for _, offset in ids], np.int64)
    found: dict[tuple[int, int], dict[str, str]] = {}
    for wanted in wanted_rows(digests, offsets):
        same = (detail.c.digest == wanted.c.column1) & (detail.c.offset == wanted.c.column2)
        statement = select(detail).select_from(wanted.join(detail, same))
        for row in fetch(connection, statement, once=True):
            found[_unsigned(row[0]), row[1]] = dict(zip(DETAIL_TEXTS, row[2:], strict=True))
    return found


# ---- history ----


class Decided(msgspec.Struct, frozen=True):
    """A decision of a person, with its answer; texts are None where they were erased."""

    tenant: str
    number: str
    kind: str
    answer: DecisionAnswer
    item_count: int
    cents: int
    as_of: str
    who: str | None
    why: str | None
    refusal: str | None


class HistoryEvent(msgspec.Struct, frozen=True):
    """Something that became of an item.

    batch, tenant, position, day, as_of, cause : of the step
    kind : "item", "status", "pair", "link", "alert" or "release"
    text : what it is, in words
    other : the other item of a pair or a link, as `item_name` writes it
    match_id : of a pair or an alert, else 0
    file : name of the released file
    decisions : of the step, where a person caused it
    """

    batch: int
    tenant: str
    position: int
    day: int
    as_of: str
    cause: str
    kind: str
    text: str
    other: str = ""
    match_id: int = 0
    file: str = ""
    decisions: tuple[Decided, ...] = ()


def history(ledger: Ledger, digest: int, offset: int) -> list[HistoryEvent]:
    """All that became of an item, in order; empty for an item that never came.

    Raises LimitError above HISTORY_BATCHES_MAX, OSError where the database fails. O(rows of the
    batches that say something about the item's file).
    """
    key = (_signed(digest), offset)
    mention, batch = schema.mention, schema.batch
    found: list[HistoryEvent] = []
    with ledger.reading() as connection:
        statement = (
            select(batch)
            .join_from(batch, mention, mention.c.batch == batch.c.number)
            .where(mention.c.digest == key[0])
            .order_by(batch.c.number)
            .limit(HISTORY_BATCHES_MAX + 1)
        )
        batches = fetch(connection, statement)
        if len(batches) > HISTORY_BATCHES_MAX:
            raise LimitError(
                "more batches than HISTORY_BATCHES_MAX say something about the item's file: "
                "read the tables of the ledger themselves"
            )
        for row in batches:
            found += _of_batch(connection, row, key)
        found += _releases(connection, key)
    return sorted(found, key=lambda event: event.batch)


def _of_batch(
    connection: Connection, row: tuple[Any, ...], key: tuple[int, int]
) -> Iterator[HistoryEvent]:
    """What one batch says of an item."""
    number, tenant, _, position, day, as_of, cause = row[:7]
    step = (number, tenant, position, day, as_of, cause)
    events = [
        *_item_events(connection, number, key),
        *_pair_events(connection, number, key),
        *_link_events(connection, number, key),
    ]
    decisions: tuple[Decided, ...] = ()
    if events and cause == "decision":
        decisions = tuple(_decisions(connection, number, tenant, as_of))
    for kind, text, other, match_id in events:
        yield HistoryEvent(*step, kind, text, other, match_id, decisions=decisions)


_Event = tuple[str, str, str, int]
"""kind, text, other, match_id"""


def _rows(
    connection: Connection, table: Table, batch: int, *wanted: ColumnElement[bool]
) -> list[dict[str, Any]]:
    first = batch << PLACE_BITS
    in_batch = table.c.number.between(first, first + BATCH_ROWS_MAX - 1)
    statement = select(table).where(in_batch & or_(*wanted)).order_by(table.c.number)
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in fetch(connection, statement)]


def _is(table: Table, key: tuple[int, int], prefix: str = "") -> ColumnElement[bool]:
    digest, offset = table.c[f"{prefix}digest"], table.c[f"{prefix}offset"]
    return and_(digest == key[0], offset == key[1])


def _item_events(connection: Connection, batch: int, key: tuple[int, int]) -> Iterator[_Event]:
    for row in _rows(connection, schema.item, batch, _is(schema.item, key)):
        side = ItemSide(row["side"]).name.lower()
        yield "item", f"the {side} came", "", 0
    table = schema.status_change
    for row in _rows(connection, table, batch, _is(table, key)):
        yield "status", _status_text(row), "", 0
    for row in _rows(connection, schema.alert, batch, _is(schema.alert, key)):
        text = AlertCode(row["code"]).name.lower().replace("_", " ")
        yield "alert", text, "", _unsigned(row["match_id"])


def _status_text(row: dict[str, Any]) -> str:
    """`AWAITING_EFT to MATCHED; funding EXPECTED to SETTLED; HELD set; why`"""
    statuses = RemittanceStatus if row["side"] == ItemSide.REMITTANCE else PaymentStatus
    before, after = statuses(row["before"]), statuses(row["after"])
    parts = [f"{before.name} to {after.name}" if before != after else after.name]
    if row["funding_before"] != row["funding_after"]:
        funding = Funding(row["funding_before"]), Funding(row["funding_after"])
        parts.append(f"funding {funding[0].name} to {funding[1].name}")
    for flag in ItemFlag:
        was, is_set = row["flags_before"] & flag, row["flags_after"] & flag
        if flag == ItemFlag.MOVED and is_set and not was:
            parts.append("moved to another tenant")
        elif was != is_set:
            parts.append(f"{flag.name} {'set' if is_set else 'taken off'}")
    if row["release_kind"]:
        parts.append(f"released by {ReleaseKind(row['release_kind']).name.lower()}")
    if row["reason"]:
        parts.append(reason_text(Reason(row["reason"])))
    return "; ".join(parts)


def _pair_events(connection: Connection, batch: int, key: tuple[int, int]) -> Iterator[_Event]:
    table = schema.pair_event
    sides = _is(table, key, "remittance_"), _is(table, key, "payment_")
    for row in _rows(connection, table, batch, *sides):
        is_remittance = (row["remittance_digest"], row["remittance_offset"]) == key
        other = "payment" if is_remittance else "remittance"
        what = PairEvent(row["event"]).name.lower()
        status, tier = MatchStatus(row["status"]).name, Tier(row["tier"]).name
        person = ", by a person" if row["person"] else ""
        why = explain(row["reason"], row["agreed"], row["differed"], row["rewrites"])
        name = item_name(_unsigned(row[f"{other}_digest"]), row[f"{other}_offset"])
        text = f"pair {what}: {status}, {tier}{person}" + (f"; {why}" if why else "")
        yield "pair", text, name, _unsigned(row["match_id"])


def _link_events(connection: Connection, batch: int, key: tuple[int, int]) -> Iterator[_Event]:
    table = schema.link_event
    for row in _rows(connection, table, batch, _is(table, key), _is(table, key, "other_")):
        kind = LinkKind(row["kind"]).name.lower().replace("_", " ")
        what = f"link {PairEvent(row['event']).name.lower()}: "
        ids = (row["digest"], row["offset"]), (row["other_digest"], row["other_offset"])
        is_about = ids[0] == key
        other = ids[1] if is_about else ids[0]
        text = what + (f"this is a {kind}" if is_about else f"the other is a {kind} of this")
        yield "link", text, item_name(_unsigned(other[0]), other[1]), 0


def _decisions(connection: Connection, batch: int, tenant: str, as_of: str) -> Iterator[Decided]:
    decision, text = schema.decision, schema.decision_text
    first = batch << PLACE_BITS
    statement = (
        select(
            text.c.number,
            decision.c.kind,
            decision.c.answer,
            decision.c.item_count,
            decision.c.cents,
            text.c.who,
            text.c.why,
            text.c.refusal,
        )
        .join_from(decision, text, text.c.decision == decision.c.number)
        .where(decision.c.number.between(first, first + BATCH_ROWS_MAX - 1))
        .order_by(decision.c.number)
    )
    for number, kind, answer, item_count, cents, who, why, refusal in fetch(connection, statement):
        yield Decided(
            tenant, number, _KIND_NAMES[kind], DecisionAnswer(answer), item_count, cents, as_of,
            who, why, refusal,
        )  # fmt: skip


def _releases(connection: Connection, key: tuple[int, int]) -> Iterator[HistoryEvent]:
    """Intents of an item, and what became of its files."""
    item, file, event, batch = (
        schema.release_item,
        schema.release_file,
        schema.release_event,
        schema.batch,
    )
    columns = (item.c.file, item.c.sending, item.c.release_kind, item.c.position, item.c.tenant)
    step = (batch.c.number, batch.c.day, batch.c.as_of)
    statement = (
        select(*columns, file.c.name, *step)
        .join_from(item, file, file.c.file == item.c.file)
        .join(batch, batch.c.number == schema.batch_of(item.c.number))
        .where(_is(item, key))
        .order_by(item.c.number)
    )
    for number, sending, kind, position, tenant, name, *step_row in fetch(connection, statement):
        first, day, as_of = step_row
        why = ReleaseKind(kind).name.lower()
        text = f"to be sent by {why}" + (f", sending {sending}" if sending > 1 else "")
        fixed = ("release", "release", text, "", 0, name)
        yield HistoryEvent(first, tenant, position, day, as_of, *fixed)
        events = (
            select(event.c.event, event.c.at, batch.c.number, batch.c.day)
            .join_from(event, batch, batch.c.number == schema.batch_of(event.c.number))
            .where(event.c.file == number)
            .order_by(event.c.number)
        )
        for what, at, batch_number, batch_day in fetch(connection, events):
            text = f"file {ReleaseEvent(what).name.lower().replace('_', ' ')}"
            fixed = ("release", "release", text, "", 0, name)
            yield HistoryEvent(batch_number, tenant, position, batch_day, at, *fixed)


def _unsigned(value: int) -> int:
    return value & 0xFFFF_FFFF_FFFF_FFFF


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
