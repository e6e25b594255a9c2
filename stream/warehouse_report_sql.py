"""What the report of a warehouse asks its ledger, as SQL for SQLite and PostgreSQL.

A span of days is a range of a tenant's batches, found by bisection, since its days never go back;
the rows of a batch are a range of the primary key. So only the batches of the span are read, and
single rows that an item's id leads to. Rows come in their order and in pieces.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from sqlalchemy import (
    CTE,
    Alias,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Subquery,
    Table,
    and_,
    case,
    func,
    or_,
    select,
)

from reassoc.core.statuses import (
    MatchStatus,
    PaymentStatus,
    RemittanceStatus,
)
from reassoc.stream import ledger_schema as schema
from reassoc.stream.items import ItemFlag
from reassoc.stream.ledger_rows import ItemSide, PairEvent
from reassoc.stream.ledger_schema import BATCH_ROWS_MAX, RELEASE_CHAIN
from reassoc.stream.ledger_store import fetch, is_sqlite, sum_halves
from reassoc.stream.sums import whole_sum

FETCH_ROWS = 1 << 16
"""Rows that are taken from the database at a time."""

Source = Alias | FromClause
Row = tuple[Any, ...]
PAIR_IDS = ("remittance_digest", "remittance_offset", "payment_digest", "payment_offset")
Count = tuple[Row, int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Chain:
    """The batches of one tenant, seen from a span of days.

    tenant : its name
    first_sequence, next_sequence : of its first batch of the span, of its first one behind it
    last_day : the day of its last batch
    """

    tenant: str
    first_sequence: int
    next_sequence: int
    last_day: int


# ---- which batches ----


def tenants(connection: Connection) -> Iterator[str]:
    """Every tenant's name, sorted. O(log batches) each: from one to the next by the index."""
    batch = schema.batch
    name = RELEASE_CHAIN
    while True:
        statement = select(func.min(batch.c.tenant)).where(batch.c.tenant > name)
        ((found,),) = fetch(connection, statement)
        if found is None:
            return
        name = str(found)
        yield name


def last_day(connection: Connection, tenant: str) -> int:
    """The day of a tenant's last batch."""
    return _day_of(connection, tenant, _last_sequence(connection, tenant))


def chain(connection: Connection, tenant: str, first_day: int, last_day: int) -> Chain:
    """Where a span of days lies among a tenant's batches. O(log^2 batches)."""
    last = _last_sequence(connection, tenant)

    def day_of(sequence: int) -> int:
        return _day_of(connection, tenant, sequence)

    sequences = range(1, last + 1)
    first = bisect_left(sequences, first_day, key=day_of) + 1
    following = bisect_left(sequences, last_day + 1, key=day_of) + 1
    return Chain(tenant, first, following, day_of(last))


def _last_sequence(connection: Connection, tenant: str) -> int:
    batch = schema.batch
    statement = select(func.coalesce(func.max(batch.c.sequence), 0))
    return int(fetch(connection, statement.where(batch.c.tenant == tenant))[0][0])


def _day_of(connection: Connection, tenant: str, sequence: int) -> int:
    batch = schema.batch
    chosen = (batch.c.tenant == tenant) & (batch.c.sequence == sequence)
    return int(fetch(connection, select(batch.c.day).where(chosen))[0][0])


# ---- pieces of statements ----


def _batch_of(row: Source, of: Source) -> ColumnElement[bool]:
    return of.c.number == schema.batch_of(row.c.number)


def _rows_of(row: Source, of: Source) -> ColumnElement[bool]:
    """Rows of a batch, by the range of their numbers: the batch leads to its rows."""
    first = of.c.number * BATCH_ROWS_MAX
    return row.c.number.between(first, first + (BATCH_ROWS_MAX - 1))


def _in_span(one: Chain) -> ColumnElement[bool]:
    """Of `batch`: batches of the span."""
    batch = schema.batch.c
    sequences = batch.sequence.between(one.first_sequence, one.next_sequence - 1)
    return and_(batch.tenant == one.tenant, sequences)


def _with_item(
    rows: FromClause, item: Source, ids: Sequence[ColumnElement[int]], name: str
) -> tuple[FromClause, Source]:
    """Rows joined with the items of their tenant that have these ids, and the items' batches."""
    place, came = schema.item_place.alias(f"{name}_place"), schema.batch.alias(f"{name}_batch")
    named = and_(place.c.digest == ids[0], place.c.offset == ids[1])
    joined = (
        rows.join(place, named)
        .join(item, item.c.number == place.c.number)
        .join(came, and_(_batch_of(item, came), came.c.tenant == schema.batch.c.tenant))
    )
    return joined, came


def _counted(
    rows: Subquery,
    names: Sequence[str],
    sums: Sequence[str] = (),
    only: ColumnElement[bool] | None = None,
) -> Select[Any]:
    """Count rows, and sum some of their columns, by others; see `counts`."""
    keys = [rows.c[name] for name in names]
    halves = [half for name in sums for half in sum_halves(rows.c[name])]
    counted = select(*keys, func.count(), *halves).group_by(*keys)
    return counted if only is None else counted.where(only)


def counts(connection: Connection, statement: Select[Any], keys: int) -> Iterator[Count]:
    """The rows of a statement that counts by `keys` columns: (values, count, sums)."""
    for piece in pieces(connection, statement):
        for row in piece:
            halves = row[keys + 1 :]
            pairs = zip(halves[::2], halves[1::2], strict=True)
            sums = tuple(starmap(whole_sum, pairs))
            yield row[:keys], int(row[keys]), sums


# ---- what is asked ----


def items(one: Chain) -> Select[Any]:
    """Items that came in the span. -> digest, offset, side, source, kind, cents, claims, day"""
    batch, item = schema.batch, schema.item
    names = ("digest", "offset", "side", "source", "kind", "cents", "claims")
    columns = [item.c[name] for name in names]
    return _in_order(select(*columns, batch.c.day), item, one)


def statuses(one: Chain) -> Select[Any]:
    """Changes of status in the span, in their order.

    -> digest, offset, status after, flags after, release kind
    """
    status = schema.status_change
    names = ("digest", "offset", "after", "flags_after", "release_kind")
    return _in_order(select(*(status.c[name] for name in names)), status, one)


def pair_events(one: Chain) -> Select[Any]:
    """What became of pairs in the span, in its order.

    -> number, digest and offset of the remittance, digest and offset of the payment, PairEvent,
    MatchStatus, Reason
    """
    pair = schema.pair_event
    columns = [pair.c[name] for name in ("number", *PAIR_IDS, "event", "status", "reason")]
    return _in_order(select(*columns), pair, one)


def pairs(one: Chain) -> Select[Any]:
    """Events of matches and variances in the span, in their order, with both items.

    -> number, tier, whether a person made it, cause, difference in cents, day of the event; cents,
    day, day on which it came of the remittance, then of the payment; PaymentSource; payer's id and
    name as the remittance has them
    """
    batch, pair, detail = schema.batch, schema.pair_event, schema.item_detail
    rows: FromClause = batch.join(pair, _rows_of(pair, batch))
    columns: list[ColumnElement[Any]] = [
        *(pair.c[name] for name in ("number", "tier", "person", "cause", "difference_cents")),
        batch.c.day,
    ]
    for side in ("remittance", "payment"):
        item = schema.item.alias(side)
        ids = pair.c[f"{side}_digest"], pair.c[f"{side}_offset"]
        rows, came = _with_item(rows, item, ids, side)
        columns += [item.c.cents, item.c.day, came.c.day.label(f"{side}_came")]
    columns.append(item.c.source)
    texts = and_(
        detail.c.digest == pair.c.remittance_digest, detail.c.offset == pair.c.remittance_offset
    )
    rows = rows.outerjoin(detail, texts)
    columns += [func.coalesce(detail.c[name], "") for name in ("payer_id", "payer_name")]
    told = or_(
        pair.c.status.in_([MatchStatus.AUTO, MatchStatus.VARIANCE]),
        pair.c.event != PairEvent.MADE,
    )
    chosen = select(*columns).select_from(rows).where(_in_span(one), told)
    return chosen.order_by(batch.c.sequence, pair.c.number)


def earlier_events(one: Chain, digest: int, before_batch: int) -> Select[Any]:
    """Events of pairs with a remittance of a file, in the newest batch before one that mentions the
    file. No row: there is no such batch. Where it is about other things there is one row, of NULLs
    but for the batch.

    -> batch, offset of the remittance, digest and offset of the payment, MatchStatus
    """
    batch, pair, mention = schema.batch, schema.pair_event, schema.mention
    newest = (
        select(func.max(mention.c.batch))
        .select_from(mention.join(batch, batch.c.number == mention.c.batch))
        .where(
            mention.c.digest == digest,
            mention.c.batch < before_batch,
            batch.c.tenant == one.tenant,
        )
        .scalar_subquery()
    )
    own = schema.batch.alias("own")
    fits = and_(_rows_of(pair, own), pair.c.remittance_digest == digest)
    names = (*PAIR_IDS[1:], "status")
    return (
        select(own.c.number, *(pair.c[name] for name in names))
        .select_from(own.outerjoin(pair, fits))
        .where(own.c.number == newest)
        .order_by(pair.c.number)
    )


def row_count(connection: Connection, one: Chain) -> int:
    """Rows of all tables in the span."""
    batch = schema.batch
    statement = select(func.coalesce(func.sum(batch.c.row_count), 0)).where(_in_span(one))
    return int(fetch(connection, statement)[0][0])


def first_batch(connection: Connection, one: Chain) -> int:
    """The number of the first batch of the span."""
    batch = schema.batch
    chosen = (batch.c.tenant == one.tenant) & (batch.c.sequence == one.first_sequence)
    return int(fetch(connection, select(batch.c.number).where(chosen))[0][0])


def released(one: Chain) -> Select[Any]:
    """Remittances that were released, each by its first release.

    -> release kind, day on which it came, day of the release, count, cents
    """
    status = schema.status_change
    flag = int(ItemFlag.RELEASED)
    first = and_(
        status.c.side == ItemSide.REMITTANCE,
        status.c.flags_before.op("&")(flag) == 0,
        status.c.flags_after.op("&")(flag) != 0,
    )
    inner = _changes(one, status.c.release_kind).where(first)
    return _counted(inner.subquery("rows"), ("release_kind", "came", "day"), ("cents",))


def went_back(one: Chain) -> Select[Any]:
    """Payments whose money went back. -> digest, offset, PaymentStatus, cents"""
    status = schema.status_change
    gone = [PaymentStatus.RETURNED, PaymentStatus.REVERSED]
    inner = _changes(one, status.c.digest, status.c.offset, status.c.after).where(
        status.c.side == ItemSide.PAYMENT,
        status.c.after.in_(gone),
        status.c.before.not_in(gone),
    )
    rows = inner.subquery("rows")
    return select(*(rows.c[name] for name in ("digest", "offset", "after", "cents")))


def duplicates(one: Chain) -> Select[Any]:
    """Items that came to be suspected duplicates. -> side, count, cents"""
    status = schema.status_change.c
    copy = case(
        (status.side == ItemSide.REMITTANCE, int(RemittanceStatus.DUPLICATE)),
        else_=int(PaymentStatus.DUPLICATE),
    )
    inner = _changes(one, status.side).where(status.after == copy, status.before != copy)
    return _counted(inner.subquery("rows"), ("side",), ("cents",))


def _changes(one: Chain, *columns: ColumnElement[Any]) -> Select[Any]:
    """Changes of status in the span: some columns, day, and cents and first day of the item."""
    batch, status, item = schema.batch, schema.status_change, schema.item
    ids = status.c.digest, status.c.offset
    rows, came = _with_item(batch.join(status, _rows_of(status, batch)), item, ids, "item")
    chosen = select(*columns, batch.c.day, came.c.day.label("came"), item.c.cents)
    return chosen.select_from(rows).where(_in_span(one))


def alerts(one: Chain) -> Select[Any]:
    """-> AlertCode, count"""
    batch, alert = schema.batch, schema.alert
    inner = select(alert.c.code).select_from(batch.join(alert, _rows_of(alert, batch)))
    return _counted(inner.where(_in_span(one)).subquery("rows"), ("code",))


def decisions(one: Chain) -> Select[Any]:
    """-> ledger_chain.DECISION_KINDS, DecisionAnswer, count, items, cents"""
    batch, decision = schema.batch, schema.decision
    inner = select(
        decision.c.kind, decision.c.answer, decision.c.item_count, decision.c.cents
    ).select_from(batch.join(decision, _rows_of(decision, batch)))
    rows = inner.where(_in_span(one)).subquery("rows")
    return _counted(rows, ("kind", "answer"), ("item_count", "cents"))


def undone_changes(one: Chain) -> Select[Any]:
    """Changes of status behind the span, the newest first.

    -> digest, offset, side, status before, flags before
    """
    batch, status = schema.batch, schema.status_change
    names = ("digest", "offset", "side", "before", "flags_before")
    return (
        select(*(status.c[name] for name in names))
        .select_from(batch.join(status, _rows_of(status, batch)))
        .where(batch.c.tenant == one.tenant, batch.c.sequence >= one.next_sequence)
        .order_by(batch.c.sequence.desc(), status.c.number.desc())
    )


def money(wanted: CTE) -> Select[Any]:
    """Items by their ids, `column1` and `column2` of a table. -> digest, offset, cents, day"""
    item, place = schema.item, schema.item_place
    named = and_(place.c.digest == wanted.c.column1, place.c.offset == wanted.c.column2)
    rows = wanted.join(place, named).join(item, item.c.number == place.c.number)
    names = ("digest", "offset", "cents", "day")
    return select(*(item.c[name] for name in names)).select_from(rows)


def _in_order(chosen: Select[Any], row: Table, one: Chain) -> Select[Any]:
    batch = schema.batch
    rows = chosen.select_from(batch.join(row, _rows_of(row, batch))).where(_in_span(one))
    return rows.order_by(batch.c.sequence, row.c.number)


def pieces(connection: Connection, statement: Select[Any]) -> Iterator[Sequence[Row]]:
    """The rows of a statement in lists of at most FETCH_ROWS."""
    if not is_sqlite(connection):
        with connection.execute(statement, execution_options={"yield_per": FETCH_ROWS}) as result:
            yield from result.partitions()
        return
    # The driver's own tuples: SQLAlchemy's rows take half as long again.
    with connection.execute(statement) as result:
        assert result.cursor is not None
        while piece := result.cursor.fetchmany(FETCH_ROWS):
            yield piece
