"""Which rows of one kind could be about which of another: equal keys, and days within a window.

The few (returns, bank lines) are held against the many (entries). Rows that fit too many others are
told apart as crowded instead of being listed: what they are about cannot be said anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.screening import ScreenedPayments
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import LinkKind, MatchStatus, Reason

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Days = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int64]

SCAN_MAX = 128
"""Rows with the same key in the window that are looked at for one row."""

FITS_MAX = 16
"""Rows that one row may fit; more of them say no more to anybody, and memory stays bounded."""

CHUNK_PAIRS = 1 << 19
"""Pairs looked at in one go."""

DAY_LOWEST, DAY_HIGHEST = DATE_NONE + 1, 2**31 - 1
_DAY_BITS = 32
_BLOCK_ROWS = 1 << 15


class Keyed(NamedTuple):
    """Some rows of a pool, and the columns that have to be equal.

    rows : int32[k]
    columns : int64[k] each    the values themselves, or numbers that stand for them
    """

    rows: Rows
    columns: tuple[Keys, ...]


class Pairs(NamedTuple):
    """Rows that fit each other.

    few, many : int32[p]            rows, each pair once, in no order
    crowded_few : int32[k]          rows that fit too many; in no pair
    crowded_many : int32[l]         rows that crowded ones may fit; some more than once
    """

    few: Rows
    many: Rows
    crowded_few: Rows
    crowded_many: Rows


class Found(NamedTuple):
    """Links of one kind: the row that tells, the row it is about, and its MatchStatus."""

    payment: Rows
    other: Rows
    kind: LinkKind
    status: npt.NDArray[np.uint8]


class Fits:
    """What the few were found to fit, and which of it is sure.

    few, many : int32[p]            pairs
    crowded_few, crowded_many       see Pairs
    count : int64[m] by row         what each row fits; CROWDED for too many
    sure : bool[p]                  pairs that can be acted on; see `settle`
    """

    CROWDED = 1 << 32

    def __init__(self, pairs: Pairs, size: int) -> None:
        self.few, self.many, self.crowded_few, self.crowded_many = pairs
        self.count = np.bincount(self.few, minlength=size)
        self.count[self.crowded_few] = self.CROWDED
        self.sure = np.zeros(len(self.few), np.bool_)

    def alone(self) -> Mask:
        """bool[p]: pairs that are the only one of their telling row."""
        found: Mask = self.count[self.few] == 1
        return found

    def touched(self, *, sure: bool) -> Mask:
        """bool[m]: rows that sure pairs are about; or those that others are, or may be."""
        mask = rows_mask(len(self.count), self.many[self.sure == sure])
        if not sure:
            mask[self.crowded_many] = True
        return mask

    def tell(self, reason: npt.NDArray[np.int64], rows: Rows, unclear: Reason) -> None:
        """Say of telling rows that they fit nothing, or nothing for sure."""
        settled = rows_mask(len(self.count), self.few[self.sure])
        reason[rows[self.count[rows] == 0]] |= np.int64(Reason.NO_ORIGINAL)
        reason[rows[(self.count[rows] > 0) & ~settled[rows]]] |= np.int64(unclear)

    def links(self, kind: LinkKind) -> Found:
        """The pairs as links: AUTO where sure, else REVIEW."""
        status = np.where(self.sure, np.uint8(MatchStatus.AUTO), np.uint8(MatchStatus.REVIEW))
        return Found(self.few, self.many, kind, status)


def rows_of(mask: Mask) -> Rows:
    """int32[k]: where a mask is true."""
    return np.flatnonzero(mask).astype(np.int32)


def rows_mask(size: int, rows: npt.NDArray[np.signedinteger[Any]]) -> Mask:
    """bool[size]: true at the given rows."""
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return mask


def hold(paid: ScreenedPayments, rows: Rows, reason: Reason) -> None:
    """Keep payments from matching by themselves, and say why."""
    paid.hold[rows] |= np.int64(reason)
    paid.reason[rows] |= np.int64(reason)


def first_date(right: PaymentColumns, rows: Rows) -> npt.NDArray[np.int32]:
    """int32[k]: settlement dates of some rows, effective dates where those are blank."""
    settlement = right.settlement_date[rows]
    return np.where(settlement == DATE_NONE, right.effective_date[rows], settlement)


def banking_days(calendar: BankingCalendar, days: npt.NDArray[np.int32]) -> Days:
    """int64[k]: days rolled forward to banking days, counted; DATE_NONE stays. O(k)."""
    distinct, of_row = np.unique(days, return_inverse=True)
    counted = calendar.between(np.zeros(len(distinct), np.int32), calendar.roll_forward(distinct))
    return counted.astype(np.int64)[of_row]


def window(days: Days, before: int, after: int) -> tuple[Days, Days]:
    """First and last day that fit each; every day where there is none."""
    known = days != DATE_NONE
    return np.where(known, days - before, DAY_LOWEST), np.where(known, days + after, DAY_HIGHEST)


def may_be_in(values: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> Mask:
    """bool[n]: False where a 64-bit value is certainly none of those wanted. O(n + k).

    PERF: one look at a small table for every row of the pool, a block at a time so that everything
    stays in the cache, instead of a search or a hash of several columns (bench_links).
    """
    bits = min(max(10, (16 * len(wanted)).bit_length()), 62)
    spread, shift = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - bits)

    def places(part: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        spread_out = part.view(np.uint64) * spread
        spread_out >>= shift
        return spread_out.view(np.int64)

    table = np.zeros(1 << bits, np.bool_)
    table[places(wanted)] = True
    found = np.empty(len(values), np.bool_)
    for start in range(0, len(values), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        np.take(table, places(values[block]), out=found[block])
    return found


def pair_up(
    few: Keyed,
    low: Days,
    high: Days,
    many: Keyed,
    day: Days,
    keep: Callable[[Rows, Rows], Mask] | None = None,
) -> Pairs:
    """Pairs with equal columns and the day of the one from `low` to `high` of the other.

    low, high : int64[k] of the few; day : int64[l] of the many, DATE_NONE fits every window
    keep : which of given pairs (rows of few, rows of many) fit in everything else

    O((k + l) log (k + l)), and at most SCAN_MAX pairs are looked at for each of the few.
    """
    few_key, many_key = _ranks(few.columns, many.columns)
    places = (many_key << _DAY_BITS) + (day - DATE_NONE)
    order = np.argsort(places, kind="stable")
    places, many_rows = places[order], many.rows[order]
    base = few_key << _DAY_BITS
    starts = np.searchsorted(places, [base, base + (low.clip(DAY_LOWEST) - DATE_NONE)])
    stops = np.searchsorted(
        places, [base, base + (high.clip(DAY_LOWEST, DAY_HIGHEST) - DATE_NONE)], side="right"
    )
    stops = np.maximum(starts, stops)
    counts = stops - starts
    crowded = counts.sum(axis=0) > SCAN_MAX
    under = _covered(starts[:, crowded].ravel(), stops[:, crowded].ravel(), len(places))
    counts[:, crowded] = 0
    found: list[tuple[Rows, Rows]] = []
    for at, place in _expanded(starts, counts):
        pair = few.rows[at], many_rows[place]
        if keep is not None:
            fits = keep(*pair)
            pair = pair[0][fits], pair[1][fits]
        found.append(pair)
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    return _less_crowded(left, right, few.rows[crowded], many_rows[under])


def join_pairs(*parts: Pairs) -> Pairs:
    """Pairs of different few, in one."""
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _ranks(few: tuple[Keys, ...], many: tuple[Keys, ...]) -> tuple[Keys, Keys]:
    """Equal numbers for rows of both whose columns are equal."""
    ranks = group_numbers(*(np.concatenate(both) for both in zip(few, many, strict=True)))
    return ranks[: len(few[0])], ranks[len(few[0]) :]


def group_numbers(*columns: npt.NDArray[Any]) -> Keys:
    """int64[n]: equal numbers from 0 on for rows whose columns, of whole numbers, are all equal.
    Exact. O(n)."""
    return _keys.row_numbers([column.astype(np.int64, copy=False) for column in columns]) - 1


def fresh(*columns: npt.NDArray[Any]) -> Mask:
    """bool[n]: rows that differ from the one before them in any column."""
    found = np.ones(len(columns[0]), np.bool_)
    found[1:] = False
    for column in columns:
        found[1:] |= column[1:] != column[:-1]
    return found


def _covered(starts: Keys, stops: Keys, size: int) -> Mask:
    """bool[size]: places that lie in any of the spans."""
    change = np.zeros(size + 1, np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, stops, -1)
    return np.cumsum(change[:-1]) > 0


def _expanded(starts: Keys, counts: Keys) -> Iterator[tuple[Keys, Keys]]:
    """(index, place) of every place in spans, CHUNK_PAIRS or a few more at a time."""
    done = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    cuts = np.searchsorted(done, np.arange(0, int(done[-1]), CHUNK_PAIRS))
    cuts = np.unique(np.concatenate([cuts, [0, len(done) - 1]]))
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        size = counts[:, first:last].ravel()
        at = np.repeat(np.tile(np.arange(first, last), 2), size)
        shift = starts[:, first:last].ravel() - (np.cumsum(size) - size)
        yield at, np.repeat(shift, size) + np.arange(len(at))
    yield np.zeros(0, np.int64), np.zeros(0, np.int64)


def _less_crowded(few: Rows, many: Rows, crowded_few: Rows, crowded_many: Rows) -> Pairs:
    """The pairs, less those of rows that fit more than FITS_MAX."""
    rows, of_pair, counts = np.unique(few, return_inverse=True, return_counts=True)
    over = (counts > FITS_MAX)[of_pair]
    return Pairs(
        few[~over],
        many[~over],
        np.concatenate([crowded_few, rows[counts > FITS_MAX]]),
        np.concatenate([crowded_many, many[over]]),
    )
