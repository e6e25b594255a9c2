"""The report of any history and span is what a plain replay of it says."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from report_world import Item, Step, World

from reassoc.core.statuses import MatchStatus, PaymentStatus, RemittanceStatus
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.items import ItemFlag, ReleaseKind
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import ItemSide, PairEvent
from reassoc.stream.warehouse_report import make_report
from reassoc.stream.warehouse_report_figures import WarehouseReport

R, P = RemittanceStatus, PaymentStatus
BEGIN = date(2026, 3, 2)
OPEN = {R.AWAITING_EFT, R.MATCHED, R.PROBABLE, R.DUPLICATE}, {P.UNMATCHED, P.SUGGESTED, P.DUPLICATE}
AUTO = MatchStatus.AUTO

_NUMBER = st.integers(0, 9)
_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("come", "change")), _NUMBER, _NUMBER),
        st.tuples(st.sampled_from(("pair", "gone")), _NUMBER, _NUMBER),
        st.tuples(st.just("step"), st.just(0), st.integers(0, 2)),
    ),
    min_size=20,
    max_size=80,
)


class Replay:
    """Makes changes in a ledger, and counts what a report must say of them."""

    def __init__(self, world: World, first: int, last: int) -> None:
        self.world, self.first, self.last = world, first, last
        self.day = 0
        self.sides: tuple[list[Item], list[Item]] = ([], [])
        self.cents: dict[Item, int] = {}
        self.pairs: dict[tuple[Item, Item], int] = {}
        self.made: Counter[int] = Counter()
        self.undone: Counter[int] = Counter()
        self.released = 0
        self.at_end: Counter[tuple[str, str]] | None = None
        self.step = self._begin()

    def _begin(self) -> Step:
        return self.world.step((BEGIN + timedelta(self.day)).isoformat())

    def do(self, what: str, one: int, other: int) -> None:
        """One change."""
        if what == "step":
            self.step.write()
            self.day += other
            if self.day > self.last and self.at_end is None:
                self.at_end = self.open()
            self.step = self._begin()
        elif what == "come":
            side = one % 2
            cents = other * 100 + one
            make = self.step.payment if side else self.step.remittance
            item = make(cents, BEGIN.isoformat(), P.UNMATCHED if side else R.AWAITING_EFT)
            self.sides[side].append(item)
            self.cents[item] = cents
        elif what == "change":
            self._change(one, other)
        elif self.sides[0] and self.sides[1]:
            # Of few items, so that much becomes of one pair.
            left, right = (side[:2] for side in self.sides)
            pair = left[one % len(left)], right[other % len(right)]
            self._pair(what, pair, list(MatchStatus)[(one + other) % 4])

    def _change(self, one: int, other: int) -> None:
        side = one % 2
        if not self.sides[side]:
            return
        item = self.sides[side][other % len(self.sides[side])]
        if side:
            to = (P.UNMATCHED, P.MATCHED, P.SUGGESTED, P.DUPLICATE, P.REPORTED)[one // 2]
            self.step.change(item, to)
        elif one == 8 and not item.flags:
            self.released += self.first <= self.day <= self.last
            self.step.change(item, R.RELEASED, flags=ItemFlag.RELEASED, release=ReleaseKind.MANUAL)
        elif not item.flags:
            self.step.change(item, (R.AWAITING_EFT, R.MATCHED, R.PROBABLE, R.DUPLICATE)[one // 2])

    def _pair(self, what: str, pair: tuple[Item, Item], to: MatchStatus) -> None:
        before = self.pairs.get(pair, 0)
        if what == "gone":
            if not before:
                return
            # The ledger tells what it was, or that it had fallen asleep.
            shown = before if to % 2 else 0
            self.step.pair(*pair, PairEvent.GONE, shown)
            now = 0
        else:
            self.step.pair(*pair, PairEvent.CHANGED if before else PairEvent.MADE, to)
            now = int(to)
        self.pairs[pair] = now
        if self.first <= self.day <= self.last:
            cents = min(self.cents[item] for item in pair)
            self.made[cents] += before != AUTO and now == AUTO
            self.undone[cents] += before == AUTO and now != AUTO

    def open(self) -> Counter[tuple[str, str]]:
        """Cents and count of open items by side and status."""
        found: Counter[tuple[str, str]] = Counter()
        for side, names in ((ItemSide.REMITTANCE, R), (ItemSide.PAYMENT, P)):
            for item in self.sides[side]:
                if item.status in OPEN[side]:
                    name = names(item.status).name.lower()
                    found[name, "count"] += 1
                    found[name, "cents"] += self.cents[item]
        return found


@settings(max_examples=40)
@given(changes=_CHANGES, first=st.integers(0, 6), length=st.integers(0, 6))
def test_a_report_says_what_a_replay_does(
    changes: list[tuple[str, int, int]], first: int, length: int
) -> None:
    with TemporaryDirectory() as folder:
        ledger = Ledger.open(f"sqlite:///{folder}/ledger.db")
        try:
            replay = Replay(World(ledger), first, first + length)
            for change in changes:
                replay.do(*change)
            replay.do("step", 0, 99)
            report = _report(ledger, first, first + length)
        finally:
            ledger.close()
    matched = report.matched
    assert (matched.made.count, matched.made.cents) == _sums(replay.made)
    assert (matched.undone.count, matched.undone.cents) == _sums(replay.undone)
    assert report.released.total.count == replay.released
    found: Counter[tuple[str, str]] = Counter()
    for one in report.open:
        found[one.status, "count"] += one.count
        found[one.status, "cents"] += one.cents
    assert +found == +(replay.at_end or Counter())


def _report(ledger: Ledger, first: int, last: int) -> WarehouseReport:
    with ledger.reading() as connection:
        return make_report(
            connection,
            federal_reserve_calendar(),
            first_day=BEGIN + timedelta(first),
            last_day=BEGIN + timedelta(last),
        )


def _sums(counts: Counter[int]) -> tuple[int, int]:
    return counts.total(), sum(cents * count for cents, count in counts.items())
