"""Who holds an identifier on a day: accounts, provider identifiers and tax numbers of payees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from reassoc.core._payees import Identifiers
from reassoc.core.columns import DATE_NONE, TextColumn

Numbers = npt.NDArray[np.uint32]
Days = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Table = npt.NDArray[np.int64]

DAY_FIRST = DATE_NONE + 1
DAY_LAST = 2**31 - 1
"""Bounds of what holds always, in days since 1970-01-01."""

Span = tuple[int, int, int, int]
"""(number, first day, last day, value): days since 1970-01-01, both included."""


class Spans:
    """Values by number and day; the spans of one number do not overlap.

    table : int64[k, 4]    spans in any order, see Span
    size : int             numbers are below it
    """

    def __init__(self, table: Table, size: int) -> None:
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        number = table[:, 0]
        self._starts = _moments(number, table[:, 1])
        self._number, self._stop = number, table[:, 2]
        self._value = table[:, 3].astype(np.uint32)
        firsts = np.flatnonzero(np.diff(number, prepend=-1))
        lowest = np.minimum.reduceat(self._value, firsts) if len(firsts) else self._value
        highest = np.maximum.reduceat(self._value, firsts) if len(firsts) else self._value
        always = (table[:, 1] == DAY_FIRST) & (table[:, 2] == DAY_LAST)
        self._undated = np.zeros(size, np.uint32)
        self._undated[number[firsts]] = np.where(lowest == highest, lowest, 0)
        self._by_day = np.zeros(size, np.bool_)
        self._by_day[number[~always]] = True
        self._any_by_day = bool(self._by_day.any())

    def at(self, numbers: Numbers, days: Days) -> Numbers:
        """uint32[n]: the value of each number on a day, 0 for none.

        Without a day (DATE_NONE) that of every span of the number, 0 where they differ. O(n), for
        numbers whose values change O(log spans) each.
        """
        values: Numbers = self._undated[numbers]
        if self._any_by_day:
            rows = np.flatnonzero(self._by_day[numbers] & (days != DATE_NONE))
            values[rows] = self._on(numbers[rows], days[rows])
        return values

    def _on(self, numbers: Numbers, days: Days) -> Numbers:
        number, day = numbers.astype(np.int64), days.astype(np.int64)
        place = np.searchsorted(self._starts, _moments(number, day), "right") - 1
        found = (place >= 0) & (self._number[place] == number) & (self._stop[place] >= day)
        return np.where(found, self._value[place], np.uint32(0))


def _moments(number: npt.NDArray[np.int64], day: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64[n]: sortable by (number, day)."""
    return (number << 32) + day


class Holders:
    """Payees by identifier and day.

    values : identifiers as they are written  routings : the banks of accounts, else None
    payees : number of each one's payee, from 1 on
    starts, stops : days since 1970-01-01, both included; see DAY_FIRST and DAY_LAST
    decides : whether it names its payee by itself, where nobody else holds it on the day
    is_account : leading zeros say nothing

    clash : (a, b) or None    places of two that decide for different payees on the same day
    """

    def __init__(
        self,
        values: Sequence[str],
        routings: Sequence[int] | None,
        payees: Sequence[int],
        starts: Sequence[int],
        stops: Sequence[int],
        decides: Sequence[bool],
        *,
        is_account: bool = False,
    ) -> None:
        self._is_account = is_account
        self._identifiers = Identifiers()
        banks = None if routings is None else np.array(routings, np.int32)
        numbers = self.number(TextColumn.from_values(values), banks, may_add=True)
        size = len(self._identifiers)
        counts = np.bincount(numbers, minlength=size)
        once = counts[numbers] == 1
        columns = [np.array(column, np.int64) for column in (starts, stops, payees)]
        lone = np.stack([numbers.astype(np.int64), *columns], axis=1)[once]
        self._single = np.zeros(size, np.uint32)
        self._single[lone[:, 0]] = lone[:, 3]
        self.clash: tuple[int, int] | None = None
        sole: list[Span] = []
        known: list[Span] = []
        pairs: list[Span] = []
        for number, group in groupby(
            sorted(
                (numbers.item(i), payees[i], starts[i], stops[i], decides[i], i)
                for i in np.flatnonzero(~once).tolist()
            ),
            key=itemgetter(0),
        ):
            rows = list(group)
            sole += self._sole(number, rows)
            known += [(number, *span, 1) for span in _union((row[2], row[3]) for row in rows)]
            for payee, held in groupby(rows, key=itemgetter(1)):
                pair = number << 32 | payee
                pairs += [(pair, *span, 1) for span in _union((row[2], row[3]) for row in held)]
        deciding = lone[np.array(decides, np.bool_)[once]]
        self._sole_at = Spans(np.concatenate([deciding, _table(sole)]), size)
        lone[:, 3] = 1
        self._known_at = Spans(np.concatenate([lone, _table(known)]), size)
        self._pairs, self._pair_at = _pair_spans(_table(pairs))

    def number(
        self, column: TextColumn, routings: Days | None = None, *, may_add: bool = False
    ) -> Numbers:
        """uint32[n]: the number of each identifier of a column, 0 for those that nobody has."""
        return self._identifiers.number(
            np.frombuffer(column.source, np.uint8),
            np.ascontiguousarray(column.refs),
            routings,
            is_account=self._is_account,
            may_add=may_add,
        )

    def payee(self, numbers: Numbers, days: Days) -> Numbers:
        """uint32[n]: the payee that each identifier names by itself on the day, 0 for none."""
        return self._sole_at.at(numbers, days)

    def contradicts(self, numbers: Numbers, payees: Numbers, days: Days) -> Mask:
        """bool[n]: whether others hold the identifier on the day, and this payee does not."""
        somebodys = (numbers != 0) & (payees != 0)
        found: Mask = somebodys & (self._single[numbers] != payees)
        rows = np.flatnonzero(found)
        numbers, payees, days = numbers[rows], payees[rows], days[rows]
        wrong = self._known_at.at(numbers, days) != 0
        if len(self._pairs):
            pair = (numbers.astype(np.int64) << 32) | payees
            place = np.minimum(np.searchsorted(self._pairs, pair), len(self._pairs) - 1)
            own = np.where(self._pairs[place] == pair, place + 1, 0).astype(np.uint32)
            wrong &= self._pair_at.at(own, days) == 0
        found[rows] = wrong
        return found

    def _sole(self, number: int, rows: list[tuple[int, int, int, int, bool, int]]) -> list[Span]:
        """Spans of the days on which one payee alone holds it, and it decides."""
        spans = []
        held: dict[int, int] = {}
        deciding: dict[int, int] = {}  # payee -> place of its last holding that decides
        events = [(row[2], 1, row) for row in rows] + [(row[3] + 1, 0, row) for row in rows]
        events.sort(key=lambda event: (event[0], event[1], event[2][5]))
        for at, (day, begins, (_, payee, _, _, decides, place)) in enumerate(events):
            if begins:
                held[payee] = held.get(payee, 0) + 1
                if decides:
                    deciding[payee] = max(place, deciding.get(payee, -1))
                if len(deciding) > 1 and self.clash is None:
                    one, other = list(deciding.values())[:2]
                    self.clash = (max(one, other), min(one, other))
            else:
                held[payee] -= 1
                if not held[payee]:
                    del held[payee]
                    deciding.pop(payee, None)
            until = events[at + 1][0] if at + 1 < len(events) else day
            if until > day and len(held) == 1 == len(deciding):
                spans.append((number, day, until - 1, next(iter(held))))
        return spans


def _union(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same days in spans that neither overlap nor touch."""
    start, stop = DAY_LAST + 2, DAY_LAST
    for first, last in sorted(spans):
        if start > DAY_LAST:
            start, stop = first, last
        elif first <= stop + 1:
            stop = max(stop, last)
        else:
            yield start, stop
            start, stop = first, last
    yield start, stop


def _pair_spans(table: Table) -> tuple[npt.NDArray[np.int64], Spans]:
    """(identifier, payee) as sorted numbers, and the days of each by its place from 1 on."""
    pairs, place = np.unique(table[:, 0], return_inverse=True)
    table[:, 0] = place + 1
    return pairs, Spans(table, len(pairs) + 1)


def _table(spans: Sequence[Span]) -> Table:
    return np.array(spans, np.int64).reshape(-1, 4)
