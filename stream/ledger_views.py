"""The open list: what waits, filtered, added up by status and age, the first rows in full.

It is answered from columns (`ledger_open.py`): a million items are filtered and added up in a
fraction of a second, whatever is asked; texts are read only for the rows that are shown. What
became of one item is in `ledger_item.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, func, or_, select, union

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import LimitError
from reassoc.stream import ledger_schema as schema
from reassoc.stream.ageing import BUCKET_STARTS, AgeBucket, ages
from reassoc.stream.items import item_name
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_item import read_details
from reassoc.stream.ledger_open import OpenPart, hash_texts, read_open
from reassoc.stream.ledger_rows import DETAIL_TEXTS, ItemSide
from reassoc.stream.ledger_store import fetch
from reassoc.stream.rules import BANKING_DAYS_MAX
from reassoc.stream.sums import HALF_BITS, HALF_MASK, whole_sum

OPEN_LIMIT_MAX = 100_000
"""Rows that one open list gives; its totals are of all."""
PAYERS_MAX = 5000
"""Payers that one filter may mean."""

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]
Order = Literal["age", "cents"]

_SHOWN = ("digest", "offset", "side", "status", "funding", "flags", "cents", "day")
_STATUSES = 32
_BUCKETS = len(AgeBucket)
_CELLS = 2 * _STATUSES * _BUCKETS


class OpenFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which open items: all that is set must fit.

    tenant : None for all of them
    side, status : one of them, and a status of it (RemittanceStatus, PaymentStatus)
    payer : identifier, with or without the leading 1 of an EIN, or a part of the name
    payee : NPI, tax number or account
    bucket : ageing.AgeBucket
    older_than_banking_days : waits for more than so many
    cents_min, cents_max : both included
    trace : letters and digits count, in any case
    """

    tenant: str | None = None
    side: ItemSide | None = None
    status: int | None = None
    payer: str = ""
    payee: str = ""
    bucket: AgeBucket | None = None
    older_than_banking_days: int | None = None
    cents_min: int | None = None
    cents_max: int | None = None
    trace: str = ""


class OpenItem(msgspec.Struct, frozen=True):
    """A row of the open list. age_banking_days: None without a day to count from."""

    tenant: str
    side: ItemSide
    digest: int
    offset: int
    status: int
    funding: int
    flags: int
    cents: int
    day: int
    age_banking_days: int | None
    trace: str
    payer_id: str
    payer_name: str
    payee_account: str
    payee_id: str

    @property
    def name(self) -> str:
        """Its id as people type it."""
        return item_name(self.digest, self.offset)


class OpenTotal(msgspec.Struct, frozen=True):
    """How many items of one side, status and ageing bucket are open, and their cents."""

    side: ItemSide
    status: int
    bucket: AgeBucket
    count: int
    cents: int


class OpenList(msgspec.Struct, frozen=True):
    """The first rows of an open list, and the totals of all of it; cells without items are left
    out. Add cells up for totals by status or by bucket alone."""

    rows: list[OpenItem]
    totals: list[OpenTotal]


def open_items(
    ledger: Ledger,
    filters: OpenFilter,
    *,
    day: int,
    calendar: BankingCalendar,
    limit: int = 100,
    order: Order = "age",
) -> OpenList:
    """What waits.

    day, calendar : what ages are counted to, and by
    order : "age", the oldest first and those without a day last; or "cents", the largest first

    Raises LimitError above OPEN_LIMIT_MAX or PAYERS_MAX, ValueError for a filter that contradicts
    itself, OSError where the database fails. O(open items of the tenants): 0.1 s for a million.
    """
    if not 0 <= limit <= OPEN_LIMIT_MAX:
        raise LimitError(f"an open list shows at most OPEN_LIMIT_MAX ({OPEN_LIMIT_MAX}) rows")
    edges = [_day_of_age(start, day, calendar) for start in BUCKET_STARTS[1:]]
    counts, high, low = np.zeros((3, _CELLS), np.int64)
    found: list[tuple[str, Columns]] = []
    with ledger.reading() as connection:
        for tenant in [filters.tenant] if filters.tenant else _tenants(connection):
            chosen = _Chosen(connection, tenant, filters, day, calendar)
            for part in chosen.parts():
                rows = chosen.rows(part)
                cells = _cells(part.columns, rows, edges)
                counts += np.bincount(cells, minlength=_CELLS)
                cents = _taken(part.columns["cents"], rows)
                np.add.at(high, cells, cents >> HALF_BITS)
                np.add.at(low, cells, cents & HALF_MASK)
                found.append((tenant, _first(part.columns, rows, limit, order)))
        shown = _merge(found, limit, order)
        items = _with_texts(connection, shown, day, calendar)
    return OpenList(items, _totals(counts, list(map(whole_sum, high.tolist(), low.tolist()))))


def open_contents(ledger: Ledger) -> set[bytes]:
    """First 8 bytes of the digests of files with items that are open. O(open items)."""
    found = set[bytes]()
    with ledger.reading() as connection:
        for tenant in _tenants(connection):
            for part in read_open(connection, tenant, ["digest"]):
                column = part.columns["digest"]
                live = column if part.live is None else column[part.live]
                digests = np.unique(live).astype("<u8").tobytes()
                found.update(digests[at : at + 8] for at in range(0, len(digests), 8))
    return found


def _tenants(connection: Connection) -> list[str]:
    base, change = schema.open_base.c.tenant, schema.open_change.c.tenant
    return sorted(row[0] for row in fetch(connection, union(select(base), select(change))))


class _Chosen:
    """The open items of one tenant that fit."""

    def __init__(
        self,
        connection: Connection,
        tenant: str,
        filters: OpenFilter,
        day: int,
        calendar: BankingCalendar,
    ) -> None:
        self._connection = connection
        self._tenant = tenant
        self._filters = filters
        self._day = day
        self._calendar = calendar
        self._texts = {
            "payer": filters.payer.strip(),
            "payee_id": filters.payee,
            "payee_account": filters.payee,
            "trace": filters.trace,
        }
        self._payers = np.zeros(0, np.uint64)
        if self._texts["payer"]:
            self._payers = _payer_hashes(connection, tenant, self._texts["payer"])

    def parts(self) -> list[OpenPart]:
        """All items of the tenant, with the columns that are asked for."""
        hashed = [name for name, text in self._texts.items() if text]
        return read_open(self._connection, self._tenant, [*_SHOWN, *hashed])

    def rows(self, part: OpenPart) -> Numbers | None:
        """Numbers of the rows that fit, ascending; None for all of them."""
        masks = self._number_masks(part.columns)
        if part.live is not None:
            masks.append(part.live)
        rows: Numbers | None = None
        if masks:
            mask = masks[0]
            for other in masks[1:]:
                mask = mask & other
            rows = np.flatnonzero(mask)
        # Texts are looked at only where the numbers fit.
        if self._texts["payer"]:
            rows = _narrow(rows, _among(_taken(part.columns["payer"], rows), self._payers))
        if self._texts["payee_id"]:
            wanted = _hash(self._texts["payee_id"])
            ids, accounts = part.columns["payee_id"], part.columns["payee_account"]
            rows = _narrow(rows, (_taken(ids, rows) == wanted) | (_taken(accounts, rows) == wanted))
        if self._texts["trace"]:
            wanted = _hash(self._texts["trace"])
            rows = _narrow(rows, _taken(part.columns["trace"], rows) == wanted)
        return rows

    def _number_masks(self, columns: Columns) -> list[Mask]:
        filters = self._filters
        masks: list[Mask] = []
        if filters.side is not None:
            masks.append(columns["side"] == filters.side)
        if filters.status is not None:
            if filters.side is None:
                raise ValueError("a status is one of a side: name the side, too")
            masks.append(columns["status"] == filters.status)
        if filters.cents_min is not None:
            masks.append(columns["cents"] >= filters.cents_min)
        if filters.cents_max is not None:
            masks.append(columns["cents"] <= filters.cents_max)
        if filters.older_than_banking_days is not None:
            masks.append(self._aged(columns["day"], filters.older_than_banking_days + 1, None))
        if filters.bucket == AgeBucket.NO_DATE:
            masks.append(columns["day"] == DATE_NONE)
        elif filters.bucket is not None:
            starts = [None, *BUCKET_STARTS[1:], None]
            masks.append(self._aged(columns["day"], *starts[filters.bucket : filters.bucket + 2]))
        return masks

    def _aged(self, days: npt.NDArray[Any], start: int | None, stop: int | None) -> Mask:
        """Which have an age from `start` on and below `stop`, in banking days."""
        mask: Mask = days != DATE_NONE
        if start is not None:
            mask = mask & (days <= _day_of_age(start, self._day, self._calendar))
        if stop is not None:
            mask = mask & (days > _day_of_age(stop, self._day, self._calendar))
        return mask


def _taken(column: npt.NDArray[Any], rows: Numbers | None) -> npt.NDArray[Any]:
    return column if rows is None else column[rows]


def _narrow(rows: Numbers | None, mask: Mask) -> Numbers:
    return np.flatnonzero(mask) if rows is None else rows[mask]


def _among(hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> Mask:
    """bool[n]: which hashes are wanted ones (sorted)."""
    if not len(wanted):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    found: Mask = wanted[places] == hashes
    return found


def _payer_hashes(connection: Connection, tenant: str, text: str) -> npt.NDArray[np.uint64]:
    """Hashes of the payers that a text may mean, as OPEN_ROW has them."""
    payer = schema.payer
    numbers = [text, f"1{text}", text.removeprefix("1")]
    named = func.lower(payer.c.payer_name).contains(text.lower(), autoescape=True)
    statement = (
        select(payer.c.payer_id, payer.c.payer_name)
        .where((payer.c.tenant == tenant) & or_(payer.c.payer_id.in_(numbers), named))
        .limit(PAYERS_MAX + 1)
    )
    rows = fetch(connection, statement)
    if len(rows) > PAYERS_MAX:
        raise LimitError(f"the filter means more than PAYERS_MAX ({PAYERS_MAX}) payers: say more")
    return np.sort(hash_texts([(number + name).encode() for number, name in rows]))


def _hash(text: str) -> np.uint64:
    """The hash of a filter's text. One without a letter or digit fits nothing."""
    value: np.uint64 = hash_texts([text.encode()])[0]
    return value if value else np.uint64(1)


def _day_of_age(age: int, day: int, calendar: BankingCalendar) -> int:
    """The latest day from which at least `age` banking days have passed until `day`."""
    if not 0 < age <= BANKING_DAYS_MAX + 1:
        raise ValueError(f"an age must be from 0 to {BANKING_DAYS_MAX} banking days")
    # Weekends and holidays leave more than half of all days: the day lies within twice the age.
    days = np.arange(day - 2 * age - 60, day + 1, dtype=np.int32)
    old = np.flatnonzero(ages(days, day, calendar) >= age)
    return int(days[old[-1]]) if len(old) else int(days[0]) - 1


def _cells(columns: Columns, rows: Numbers | None, edges: Sequence[int]) -> npt.NDArray[np.int64]:
    """The number of each row's cell of the totals."""
    days = _taken(columns["day"], rows)
    bucket = np.zeros(len(days), np.uint8)
    for edge in edges:
        bucket += days <= edge
    bucket[days == DATE_NONE] = AgeBucket.NO_DATE
    cells = _taken(columns["side"], rows).astype(np.int64)
    cells *= _STATUSES
    cells += _taken(columns["status"], rows)
    cells *= _BUCKETS
    cells += bucket
    return cells


def _totals(counts: npt.NDArray[np.int64], cents: Sequence[int]) -> list[OpenTotal]:
    cells = np.flatnonzero(counts).tolist()
    return [
        OpenTotal(
            ItemSide(cell // _BUCKETS // _STATUSES),
            cell // _BUCKETS % _STATUSES,
            AgeBucket(cell % _BUCKETS),
            int(counts[cell]),
            cents[cell],
        )
        for cell in cells
    ]


def _ranks(columns: Columns, rows: Numbers | None, order: Order) -> npt.NDArray[np.int64]:
    """What rows are sorted by, the smallest first."""
    if order == "cents":
        return -_taken(columns["cents"], rows)
    days = _taken(columns["day"], rows).astype(np.int64)
    days[days == DATE_NONE] = 1 << 32
    return days


def _first(columns: Columns, rows: Numbers | None, limit: int, order: Order) -> Columns:
    """The first rows in order; ids decide where ranks are equal. O(rows)."""
    ranks = _ranks(columns, rows, order)
    chosen = np.arange(len(ranks))
    if len(ranks) > limit:
        last = np.partition(ranks, limit - 1)[limit - 1] if limit else ranks.min() - 1
        chosen = np.flatnonzero(ranks <= last)
    places = chosen if rows is None else rows[chosen]
    sorting = (columns["offset"][places], columns["digest"][places], ranks[chosen])
    places = places[np.lexsort(sorting)[:limit]]
    return {name: columns[name][places] for name in _SHOWN}


def _merge(
    found: Sequence[tuple[str, Columns]], limit: int, order: Order
) -> list[tuple[str, dict[str, int]]]:
    """The first rows of all tenants, one dict each."""
    rows: list[tuple[int, str, dict[str, int]]] = []
    for tenant, columns in found:
        ranks = _ranks(columns, None, order).tolist()
        values = zip(*(columns[name].tolist() for name in _SHOWN), strict=True)
        for rank, row in zip(ranks, values, strict=True):
            rows.append((rank, tenant, dict(zip(_SHOWN, row, strict=True))))
    rows.sort(key=lambda row: (row[0], row[2]["digest"], row[2]["offset"]))
    return [(tenant, row) for _, tenant, row in rows[:limit]]


def _with_texts(
    connection: Connection,
    rows: Sequence[tuple[str, dict[str, int]]],
    day: int,
    calendar: BankingCalendar,
) -> list[OpenItem]:
    texts = read_details(connection, [(row["digest"], row["offset"]) for _, row in rows])
    days = np.array([row["day"] for _, row in rows], np.int32)
    items = []
    for (tenant, row), age in zip(rows, ages(days, day, calendar).tolist(), strict=True):
        values: dict[str, Any] = dict(row)
        values["side"] = ItemSide(row["side"])
        values |= texts.get((row["digest"], row["offset"]), dict.fromkeys(DETAIL_TEXTS, ""))
        waits = None if age == DATE_NONE else age
        items.append(OpenItem(tenant=tenant, age_banking_days=waits, **values))
    return items
