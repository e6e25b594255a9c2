"""The report of a warehouse: what happened in a span of days, and how things stood at its end.

A step belongs to the banking day that was open when it was made. All figures are counts and whole
cents. Only the batches of the span are read, a tenant at a time, in pieces; what was open at the
end is what is open now with every later change taken back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import reduce
from itertools import islice
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.statuses import (
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    RemittanceStatus,
    Tier,
    VarianceCause,
)
from reassoc.stream import warehouse_report_sql as sql
from reassoc.stream.ageing import BUCKET_NAMES, ages, buckets, received_late
from reassoc.stream.items import ItemFlag, ReleaseKind
from reassoc.stream.ledger_chain import DECISION_KINDS
from reassoc.stream.ledger_open import open_mask, read_open
from reassoc.stream.ledger_rows import AlertCode, DecisionAnswer, ItemSide
from reassoc.stream.ledger_store import fetch, wanted_rows
from reassoc.stream.summary import Tally
from reassoc.stream.sums import HALF_BITS, HALF_MASK, whole_sum
from reassoc.stream.table import iso_date
from reassoc.stream.warehouse_report_figures import (
    BY_PERSON,
    OTHER_PAYERS,
    SIDES,
    DayTally,
    DecisionTally,
    Late,
    LateTally,
    Matched,
    OpenTally,
    Rate,
    Received,
    Released,
    ReportError,
    TierTally,
    Variances,
    VarianceTally,
    WarehouseReport,
    WentBack,
)
from reassoc.stream.warehouse_report_pairs import (
    PairHistory,
    as_numbers,
    is_in,
    keys_of,
    read_history,
)

SPAN_DAYS_MAX = 3660
"""Days of one report: ten years."""
SPAN_ROWS_MAX = 1 << 26
"""Rows of one tenant's ledger in the span of a report: about 40 bytes of memory each."""
PAYERS_MAX = 1000
"""Payers that are told one by one, those with the most cases; the others are told together."""
PAYERS_HELD_MAX = 1 << 18
"""Payers that are counted one by one; those that are first seen beyond are told with the others."""
TENANTS_MAX = 100_000
"""Tenants of one report."""

EPOCH = date(1970, 1, 1)

Numbers = npt.NDArray[np.int64]
Statuses = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]
K = TypeVar("K")
T = TypeVar("T")


# ---- making it ----


def make_report(
    connection: Connection,
    calendar: BankingCalendar,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    tenant: str | None = None,
) -> WarehouseReport:
    """Report on a span of days.

    connection : of a ledger, in a transaction that sees one moment of it
    first_day : by default the first of the last day's month
    last_day : by default the last banking day that the ledger (or the tenant) knows
    tenant : None for all

    Raises ReportError for a tenant that the ledger does not know, for a span that ends before it
    begins, where no last day is given and the ledger is empty, and above SPAN_DAYS_MAX,
    SPAN_ROWS_MAX and TENANTS_MAX. O(n log n) for n rows in the span, and changes of status behind
    it.
    """
    names = _tenants(connection, tenant)
    if last_day is None:
        last_day = _last_known(connection, names)
    if first_day is None:
        first_day = last_day.replace(day=1)
    if first_day > last_day:
        raise ReportError("the span ends before it begins: give a first day that is not later")
    first, last = (first_day - EPOCH).days, (last_day - EPOCH).days
    if last - first >= SPAN_DAYS_MAX:
        raise ReportError(f"a report is of at most SPAN_DAYS_MAX ({SPAN_DAYS_MAX}) days: give less")
    figures = _Figures(calendar, first, last)
    for name in names:
        chain = sql.chain(connection, name, first, last)
        if chain.next_sequence > chain.first_sequence:
            if sql.row_count(connection, chain) > SPAN_ROWS_MAX:
                raise ReportError(
                    f"one tenant has more rows than SPAN_ROWS_MAX ({SPAN_ROWS_MAX}) in these days: "
                    "report on less days at a time"
                )
            figures.add(connection, chain)
        if chain.next_sequence > 1:
            figures.add_open(_open_at_end(connection, chain))
    return figures.report(first_day.isoformat(), last_day.isoformat(), tenant)


def _tenants(connection: Connection, tenant: str | None) -> list[str]:
    names = list(islice(sql.tenants(connection), TENANTS_MAX + 1))
    if tenant is not None:
        if tenant not in names:
            raise ReportError("the ledger knows no tenant of this name")
        return [tenant]
    if len(names) > TENANTS_MAX:
        raise ReportError(f"more tenants than TENANTS_MAX ({TENANTS_MAX}): report on one")
    return names


def _last_known(connection: Connection, names: Sequence[str]) -> date:
    last = max((sql.last_day(connection, name) for name in names), default=DATE_NONE)
    if last == DATE_NONE:
        raise ReportError("the ledger knows no banking day yet: give the last day of the report")
    return date.fromordinal(EPOCH.toordinal() + last)


class _Sum:
    """A tally that grows."""

    __slots__ = ("cents", "count")

    def __init__(self) -> None:
        self.count = self.cents = 0

    def add(self, count: int, cents: int) -> None:
        self.count += count
        self.cents += cents

    def tally(self) -> Tally:
        return Tally(self.count, self.cents)


class _Sums(dict[Any, _Sum]):
    """Tallies that grow, by what they are of."""

    def __missing__(self, key: Any) -> _Sum:
        self[key] = _Sum()
        return self[key]

    def of(self, key: Any) -> Tally:
        """The tally of one; zero where there is none. Adds nothing."""
        return self[key].tally() if key in self else Tally(0, 0)

    def named(self, names: Iterable[tuple[Any, str]]) -> dict[str, Tally]:
        """The tallies by the names of their keys, those that are there, in the order of names."""
        return {name: self[key].tally() for key, name in names if key in self}

    def total(self) -> Tally:
        """All of them together."""
        return Tally(
            sum(one.count for one in self.values()), sum(one.cents for one in self.values())
        )


def _grouped(codes: Numbers, cents: Numbers) -> Iterator[tuple[int, int, int]]:
    """(code, count, cents) of rows of equal codes. The sums are exact however large they are."""
    values, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    high, low = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    np.add.at(high, places, cents >> HALF_BITS)
    np.add.at(low, places, cents & HALF_MASK)
    sums = map(whole_sum, high.tolist(), low.tolist())
    yield from zip(values.tolist(), counts.tolist(), sums, strict=True)


class _Figures:
    """The figures of all tenants, as they are added."""

    def __init__(self, calendar: BankingCalendar, first: int, last: int) -> None:
        self._calendar, self._first, self._last = calendar, first, last
        self._came = _Came(first)
        self._pairs = _Pairs(calendar, first)
        self._released, self._waited = _Sums(), Counter[int]()
        self._went_back, self._duplicates, self._open = _Sums(), _Sums(), _Sums()
        self._alerts, self._decisions = Counter[int](), Counter[tuple[int, int]]()
        self._decided = _Sums()

    def add(self, connection: Connection, chain: sql.Chain) -> None:
        """Add what a tenant's steps of the span say."""
        history = read_history(connection, chain)
        self._came.add(connection, chain, history)
        self._pairs.add(connection, chain, history)
        for (kind, came, day), count, (cents,) in sql.counts(connection, sql.released(chain), 3):
            self._released[kind].add(count, cents)
            self._waited[int(self._calendar.between(came, day))] += count
        for piece in sql.pieces(connection, sql.went_back(chain)):
            digest, offset, status, cents = as_numbers(piece, 4)
            after = is_in(history.returned, keys_of(digest, offset))
            for code, count, total in _grouped(status << 1 | after, cents):
                self._went_back[code >> 1, code & 1].add(count, total)
        for (side,), count, (cents,) in sql.counts(connection, sql.duplicates(chain), 1):
            self._duplicates[side].add(count, cents)
        for (code,), count, _ in sql.counts(connection, sql.alerts(chain), 1):
            self._alerts[code] += count
        for key, count, (items, cents) in sql.counts(connection, sql.decisions(chain), 2):
            self._decisions[key[0], key[1]] += count
            if key[1] == DecisionAnswer.DONE:
                self._decided[key[0]].add(items, cents)

    def add_open(self, columns: Columns) -> None:
        """Add a tenant's _OPEN_FIELDS at the end of the span."""
        age = buckets(ages(columns["day"], self._last, self._calendar))
        side, status = (columns[name].astype(np.int64) for name in ("side", "status"))
        codes = side << 16 | status << 8 | age
        for code, count, cents in _grouped(codes, columns["cents"]):
            self._open[code].add(count, cents)

    def report(self, first_day: str, last_day: str, tenant: str | None) -> WarehouseReport:
        """All of it."""
        return WarehouseReport(
            first_day=first_day,
            last_day=last_day,
            tenant=tenant,
            days=self._days(),
            received=self._came.received(),
            matched=self._matched(),
            released=self._releases(),
            open=[self._open_tally(code) for code in sorted(self._open)],
            variances=self._pairs.variances(),
            late=self._pairs.late(),
            went_back=[
                WentBack(
                    status.name.lower(),
                    self._went_back.of((status, 0)),
                    self._went_back.of((status, 1)),
                )
                for status in (PaymentStatus.RETURNED, PaymentStatus.REVERSED)
            ],
            alerts={
                code.name.lower(): self._alerts[code] for code in AlertCode if self._alerts[code]
            },
            duplicates={SIDES[side]: self._duplicates.of(side) for side in ItemSide},
            decisions=[
                self._decision(name, number)
                for name, number in DECISION_KINDS.items()
                if any(self._decisions[number, answer] for answer in DecisionAnswer)
            ],
        )

    def _days(self) -> list[DayTally]:
        """Days on which something came or was matched or undone, in order."""
        came, pairs = self._came, self._pairs
        days = {day for day, _ in came.days} | {*pairs.made_days, *pairs.undone_days}
        return [
            DayTally(
                iso_date(self._first + day),
                came.days.of((day, ItemSide.REMITTANCE)),
                came.days.of((day, ItemSide.PAYMENT)),
                came.claims[day],
                pairs.made_days.of(day),
                pairs.undone_days.of(day),
            )
            for day in sorted(days)
        ]

    def _matched(self) -> Matched:
        made, undone = self._pairs.made, self._pairs.undone
        names = [name for name in (*Tier.__members__, BY_PERSON) if name in {*made, *undone}]
        return Matched(
            made=made.total(),
            undone=undone.total(),
            by_tier=[TierTally(name, made.of(name), undone.of(name)) for name in names],
            remittances=self._came.rate(ItemSide.REMITTANCE),
            payments=self._came.rate(ItemSide.PAYMENT),
        )

    def _releases(self) -> Released:
        return Released(
            total=self._released.total(),
            by_kind=self._released.named((kind, kind.name.lower()) for kind in ReleaseKind),
            # A resend changes no status: only the decision tells of it.
            resent=self._decided.of(DECISION_KINDS["resend"]),
            median_banking_days=nearest_rank(self._waited, 50),
            p90_banking_days=nearest_rank(self._waited, 90),
        )

    def _open_tally(self, code: int) -> OpenTally:
        side, status, age = code >> 16, code >> 8 & 0xFF, code & 0xFF
        statuses = RemittanceStatus if side == ItemSide.REMITTANCE else PaymentStatus
        tally = self._open[code]
        name = statuses(status).name.lower()
        return OpenTally(SIDES[side], name, BUCKET_NAMES[age], tally.count, tally.cents)

    def _decision(self, name: str, number: int) -> DecisionTally:
        done, refused = (
            self._decisions[number, answer]
            for answer in (DecisionAnswer.DONE, DecisionAnswer.REFUSED)
        )
        decided = self._decided.of(number)
        return DecisionTally(name, done, refused, decided.count, decided.cents)


def nearest_rank(counts: Mapping[int, int], percent: int) -> int | None:
    """The smallest value that at least `percent` of 100 do not exceed; None of nothing.

    counts : how often each value is there
    """
    rank = -(-sum(counts.values()) * percent // 100)
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= rank:
            return value
    return None


# ---- what came ----

_NO_MONEY_DUE = (
    RemittanceStatus.INVALID,
    RemittanceStatus.DUPLICATE,
    RemittanceStatus.NO_FUNDS_EXPECTED,
    RemittanceStatus.VOIDED,
)
_NO_REMITTANCE_DUE = (
    PaymentStatus.RECEIVED,
    PaymentStatus.DUPLICATE,
    PaymentStatus.NOT_CLAIM_PAYMENT,
    PaymentStatus.PRENOTE,
    PaymentStatus.RETURNED,
    PaymentStatus.REVERSED,
    PaymentStatus.REPORTED,
)
_BEYOND = (RemittanceStatus.RELEASED, RemittanceStatus.ARCHIVED)
_REPORTED = "reported_again"
_LAST = np.dtype([("key", "<u8"), ("status", "u1"), ("moved", "?"), ("kind", "u1")])


class _Came:
    """What came in the span, by days (from its first), sides and sources; what of it waits for a
    counterpart, and what has one at the end."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.days, self.claims = _Sums(), Counter[int]()
        self._sides, self._sources, self._others = _Sums(), _Sums(), _Sums()
        self._expected, self._matched = _Sums(), _Sums()

    def add(self, connection: Connection, chain: sql.Chain, history: PairHistory) -> None:
        """Add what a tenant has received."""
        last = _last_statuses(connection, chain)
        for piece in sql.pieces(connection, sql.items(chain)):
            digest, offset, side, source, kind, cents, claims, day = as_numbers(piece, 8)
            keys, day = keys_of(digest, offset), day - self._first
            for number, _, total in _grouped(day, claims):
                self.claims[number] += total
            now = last[np.searchsorted(last["key"], keys)]
            due, has = _due_and_has(side, cents, now, is_in(history.matched, keys))
            other = (side == ItemSide.PAYMENT) & (
                (kind != EntryKind.CREDIT) | (now["status"] == PaymentStatus.REPORTED)
            )
            codes = day << 16 | side << 12 | source << 8 | due.astype(np.int64) << 1 | has
            self._add_money(_grouped(codes[~other], cents[~other]))
            for number, count, total in _grouped(kind[other], cents[other]):
                is_report = number == EntryKind.CREDIT
                name = _REPORTED if is_report else EntryKind(number).name.lower()
                self._others[name].add(count, total)

    def _add_money(self, groups: Iterable[tuple[int, int, int]]) -> None:
        for code, count, cents in groups:
            side = code >> 12 & 0xF
            self._sides[side].add(count, cents)
            self.days[code >> 16, side].add(count, cents)
            if side == ItemSide.PAYMENT:
                self._sources[code >> 8 & 0xF].add(count, cents)
            if code & 2:
                self._expected[side].add(count, cents)
            if code & 2 and code & 1:
                self._matched[side].add(count, cents)

    def received(self) -> Received:
        return Received(
            remittances=self._sides.of(ItemSide.REMITTANCE),
            claims=self.claims.total(),
            payments=self._sides.of(ItemSide.PAYMENT),
            payments_by_source=self._sources.named(
                (source, source.name.lower()) for source in PaymentSource
            ),
            other_entries=self._others.named((name, name) for name in sorted(self._others)),
        )

    def rate(self, side: ItemSide) -> Rate:
        return Rate(self._expected.of(side), self._matched.of(side))


def _last_statuses(connection: Connection, chain: sql.Chain) -> npt.NDArray[Any]:
    """_LAST: where each item that changed in the span stood at its end, in the order of keys."""
    parts = [np.zeros(0, _LAST)]
    for piece in sql.pieces(connection, sql.statuses(chain)):
        digest, offset, status, flags, kind = as_numbers(piece, 5)
        rows = np.zeros(len(piece), _LAST)
        rows["key"], rows["status"], rows["kind"] = keys_of(digest, offset), status, kind
        rows["moved"] = flags & int(ItemFlag.MOVED) != 0
        parts.append(rows)
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["key"], kind="stable")]
    last = np.ones(len(rows), np.bool_)
    np.not_equal(rows["key"][1:], rows["key"][:-1], out=last[:-1])
    found: npt.NDArray[Any] = rows[last]
    return found


def _due_and_has(
    side: Numbers, cents: Numbers, now: npt.NDArray[Any], in_match: Mask
) -> tuple[Mask, Mask]:
    """bool[n] each: items that wait for a counterpart, and those that are matched."""
    status = now["status"]
    left = side == ItemSide.REMITTANCE
    done = np.where(left, np.isin(status, _NO_MONEY_DUE), np.isin(status, _NO_REMITTANCE_DUE))
    due: Mask = (cents > 0) & ~done & ~now["moved"]
    by_match = in_match | (now["kind"] == ReleaseKind.MATCH)
    found = (status == RemittanceStatus.MATCHED) | np.isin(status, _BEYOND) & by_match
    has: Mask = np.where(left, found, status == PaymentStatus.MATCHED)
    return due, has


# ---- pairs ----


class _Pairs:
    """Pairs that were matched in the span and that ceased to be, by days (from its first) and
    tiers; variances; who was late."""

    def __init__(self, calendar: BankingCalendar, first: int) -> None:
        self._calendar, self._first = calendar, first
        self.made, self.undone = _Sums(), _Sums()
        self.made_days, self.undone_days = _Sums(), _Sums()
        self._variances: dict[tuple[str, str], VarianceTally] = {}
        self._late: dict[str, LateTally] = {}

    def add(self, connection: Connection, chain: sql.Chain, history: PairHistory) -> None:
        """Add the events of a tenant's pairs."""
        for piece in sql.pieces(connection, sql.pairs(chain)):
            *numbers, payer_ids, payer_names = zip(*piece, strict=True)
            rows = as_numbers(list(zip(*numbers, strict=True)), 13)
            at = np.searchsorted(history.number, rows[0])
            before, now = history.before[at], history.now[at]
            self._add_matches(rows, before, now)
            came = np.flatnonzero((now == MatchStatus.VARIANCE) & (before != MatchStatus.VARIANCE))
            stands = history.final[at] == MatchStatus.VARIANCE
            for row in came.tolist():
                cause, difference = rows[3:5, row].tolist()
                self._add_variance(
                    payer_ids[row], payer_names[row], cause, difference, int(stands[row])
                )
            ach = np.isin(rows[12], (PaymentSource.ACH, PaymentSource.BANK_ACH))
            stands = np.flatnonzero(ach & history.last[at] & (now == MatchStatus.AUTO))
            self._add_late(
                rows[:, stands],
                [payer_ids[row] for row in stands.tolist()],
                [payer_names[row] for row in stands.tolist()],
            )

    def _add_matches(self, rows: Numbers, before: Statuses, now: Statuses) -> None:
        ceased = before == MatchStatus.AUTO
        told = ceased != (now == MatchStatus.AUTO)
        _, tier, person, _, _, day, left_cents, _, _, right_cents, *_ = rows[:, told]
        codes = (day - self._first) << 8 | tier << 2 | (person != 0) << 1 | ceased[told]
        # The smaller of both amounts, so that the pairs of a sum add up to it.
        for code, count, cents in _grouped(codes, np.minimum(left_cents, right_cents)):
            tier_name = BY_PERSON if code & 2 else Tier(code >> 2 & 0x3F).name
            by_tier, by_day = (
                (self.undone, self.undone_days) if code & 1 else (self.made, self.made_days)
            )
            by_tier[tier_name].add(count, cents)
            by_day[code >> 8].add(count, cents)

    def _add_variance(
        self, payer_id: str, payer_name: str, cause: int, difference: int, stands: int
    ) -> None:
        name = VarianceCause(cause).name.lower()
        short, over = max(-difference, 0), max(difference, 0)
        one = VarianceTally(payer_id, payer_name, name, 1, stands, short, over)
        _hold(self._variances, (payer_id, name), (OTHER_PAYERS, name), one, more_variances)

    def _add_late(self, rows: Numbers, payer_ids: list[str], payer_names: list[str]) -> None:
        effective, came, settlement, payment_came = rows[[7, 8, 10, 11]].astype(np.int32)
        late = received_late(effective, settlement, came, payment_came, self._calendar)
        due = np.where(effective == DATE_NONE, settlement, effective)
        behind = np.maximum(
            self._calendar.between(due, came), self._calendar.between(effective, payment_came)
        )
        numbers: dict[str, int] = {}
        payer = np.array([numbers.setdefault(one, len(numbers)) for one in payer_ids], np.int64)
        worst = np.zeros(len(numbers), np.int64)
        np.maximum.at(worst, payer, np.where(late, behind, 0))
        pairs, lates = np.bincount(payer), np.bincount(payer[late], minlength=len(numbers))
        names = dict(zip(payer_ids, payer_names, strict=True))
        for payer_id, number in numbers.items():
            one = LateTally(
                payer_id, names[payer_id], int(pairs[number]), int(lates[number]),
                int(worst[number]),
            )  # fmt: skip
            _hold(self._late, payer_id, OTHER_PAYERS, one, more_late)

    def variances(self) -> Variances:
        """By cause, and by payer and cause."""
        none = VarianceTally("", "", "", 0, 0, 0, 0)
        everything = list(self._variances.values())
        most = sorted(everything, key=lambda one: (-one.count, one.payer_id, one.cause))
        others = msgspec.structs.replace(none, payer_name=OTHER_PAYERS)
        causes = []
        for cause in (cause.name.lower() for cause in VarianceCause):
            found = [one for one in everything if one.cause == cause]
            if found:
                causes.append(
                    reduce(more_variances, found, msgspec.structs.replace(none, cause=cause))
                )
        return Variances(
            total=reduce(more_variances, everything, none),
            by_cause=causes,
            by_payer=most[:PAYERS_MAX],
            other_payers=reduce(more_variances, most[PAYERS_MAX:], others),
        )

    def late(self) -> Late:
        """By payer."""
        everything = list(self._late.values())
        most = sorted(everything, key=lambda one: (-one.late, -one.pairs, one.payer_id))
        others = LateTally("", OTHER_PAYERS, 0, 0, 0)
        return Late(
            total=reduce(more_late, everything, LateTally("", "", 0, 0, 0)),
            by_payer=most[:PAYERS_MAX],
            other_payers=reduce(more_late, most[PAYERS_MAX:], others),
        )


def _hold(held: dict[K, T], key: K, others: K, one: T, join: Callable[[T, T], T]) -> None:
    """Add a tally to those of its payer; beyond PAYERS_HELD_MAX payers to those of all others."""
    if key not in held and len(held) >= PAYERS_HELD_MAX:
        key = others
    held[key] = join(held[key], one) if key in held else one


def more_variances(left: VarianceTally, right: VarianceTally) -> VarianceTally:
    """Both together, under the first one's name."""
    return msgspec.structs.replace(
        left,
        count=left.count + right.count,
        standing=left.standing + right.standing,
        short_cents=left.short_cents + right.short_cents,
        over_cents=left.over_cents + right.over_cents,
    )


def more_late(left: LateTally, right: LateTally) -> LateTally:
    """Both together, under the first one's name."""
    return msgspec.structs.replace(
        left,
        pairs=left.pairs + right.pairs,
        late=left.late + right.late,
        worst_banking_days=max(left.worst_banking_days, right.worst_banking_days),
    )


# ---- what was open at the end ----

_OPEN_FIELDS = ("key", "side", "status", "cents", "day")
_BACK = np.dtype(
    [("key", "<u8"), ("digest", "<i8"), ("offset", "<i8"), ("side", "u1"), ("status", "u1")]
)


def _open_at_end(connection: Connection, chain: sql.Chain) -> Columns:
    """_OPEN_FIELDS of a tenant's open items at the end of the span: what is open now, and every
    change since then taken back, the newest first. No more is held than was ever open at once."""
    parts = read_open(connection, chain.tenant, _OPEN_FIELDS)
    columns: Columns = {
        name: np.concatenate(
            [
                part.columns[name] if part.live is None else part.columns[name][part.live]
                for part in parts
            ]
        )
        for name in _OPEN_FIELDS
    }
    back = np.zeros(0, _BACK)
    for piece in sql.pieces(connection, sql.undone_changes(chain)):
        digest, offset, side, status, flags = as_numbers(piece, 5)
        # Of several changes of an item the oldest one says what it was before all of them.
        keys, first = np.unique(keys_of(digest, offset)[::-1], return_index=True)
        at = len(piece) - 1 - first
        rows = np.zeros(len(keys), _BACK)
        rows["key"], rows["digest"], rows["offset"] = keys, digest[at], offset[at]
        rows["side"], rows["status"] = side[at], status[at]
        rows = rows[open_mask(rows["side"], rows["status"], flags[at].astype(np.uint16))]
        stays = ~is_in(keys, columns["key"])
        columns = {name: column[stays] for name, column in columns.items()}
        back = np.concatenate([back[~is_in(keys, back["key"])], rows])
    cents, day = _money_of(connection, back)
    more = {"key": back["key"], "side": back["side"], "status": back["status"], "cents": cents,
            "day": day}  # fmt: skip
    return {name: np.concatenate([column, more[name]]) for name, column in columns.items()}


def _money_of(
    connection: Connection, rows: npt.NDArray[Any]
) -> tuple[Numbers, npt.NDArray[np.int32]]:
    """Cents and ITEM_ROW.day of items, by digest and offset."""
    order = np.argsort(rows["key"])
    keys = rows["key"][order]
    cents, day = np.zeros(len(rows), np.int64), np.full(len(rows), DATE_NONE, np.int32)
    for wanted in wanted_rows(rows["digest"][order], rows["offset"][order]):
        columns = as_numbers(fetch(connection, sql.money(wanted), once=True), 4)
        at = order[np.searchsorted(keys, keys_of(columns[0], columns[1]))]
        cents[at], day[at] = columns[2], columns[3]
    return cents, day
