"""The matcher's rules said slowly, one item against every other: what `reassoc.core.match` must
agree with.

Works on the rows of tests/pools.py. Blocks, joins and hashes do not occur here; a rule stands where
it is stated. What payments say of one another (returns, reversals, reports) is not its matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import combinations
from typing import Any, NamedTuple

from reassoc.core.calendar import BankingCalendar
from reassoc.core.directory import Payee
from reassoc.core.policy import Policy, longest_first
from reassoc.core.reference_keys import payer_form, trace_forms
from reassoc.core.statuses import MatchStatus, PaymentSource, Rail

Row = Mapping[str, Any]
EPOCH = date(1970, 1, 1)
Rows = frozenset[int]
Edge = tuple[int, int]
AUTO, VARIANCE, REVIEW = MatchStatus.AUTO, MatchStatus.VARIANCE, MatchStatus.REVIEW
ROOT_BYTES_MIN = 6
SENT_AGAIN = 11
_ROOT_MARKS = b"-./_ "
_RAIL_OF_METHOD = {"CHK": Rail.CHECK, "FWT": Rail.WIRE}
_RAIL_OF_SOURCE = {
    PaymentSource.ACH: Rail.ACH,
    PaymentSource.BANK_ACH: Rail.ACH,
    PaymentSource.CHECK: Rail.CHECK,
    PaymentSource.DEPOSIT: Rail.CHECK,
    PaymentSource.WIRE: Rail.WIRE,
    PaymentSource.BANK_OTHER: Rail.OTHER,
}


class Pair(NamedTuple):
    """A pair with what decides about it."""

    remittance: int
    payment: int
    status: MatchStatus
    tier: int


@dataclass(frozen=True)
class Item:
    """One row as the tiers see it; None for what is not known."""

    n1: bytes
    n3: bytes
    n4: bytes
    payer: object
    group: object
    payee: object
    tenant: str | None
    rail: Rail
    cents: int
    day: int | None
    banking_day: int | None
    held: bool


@dataclass(frozen=True)
class Sum:
    """A bulk candidate: `one` item of one side pays or is paid by `many` of the other."""

    tier: int
    one: int
    many: Rows


@dataclass
class Oracle:
    """Matches small pools by looking at every pair, tier after tier.

    several : after `run`, for each payment (tier 8) or remittance (tier 9) with more sums than are
        shown, all of them; which are shown is not said, so `pairs` has none of these
    parts : siblings that, with others, could be parts of a payment, and are not all of it
    payee_of, tenant_of : what a directory would say of a row
    """

    remittances: Sequence[Row]
    payments: Sequence[Row]
    policy: Policy
    calendar: BankingCalendar
    at_close: bool = True
    payee_of: Callable[[Row], object] | None = None
    tenant_of: Callable[[Row], str | None] | None = None
    pairs: list[Pair] = field(default_factory=list)
    several: dict[tuple[int, int], list[Sum]] = field(default_factory=dict)
    parts: set[Edge] = field(default_factory=set)

    def __post_init__(self) -> None:
        left, right = self.remittances, self.payments
        self.right_duplicates: set[int] = set()
        self.right_duplicates = self._duplicates(
            [row if self._has_business_key(row) else None for row in right],
            self._payment_business_key,
        )
        self.left_duplicates = self._duplicates(left, self._remittance_business_key)
        self.a = [self._item(row, self.doubtful(row)) for row in left]
        self.b = [self._item(row, False) for row in right]
        self.left = {i for i, row in enumerate(left) if self.expects_money(row)}
        self.right = {j for j, row in enumerate(right) if self.is_money(row)}
        self.left -= self.left_duplicates
        self.right -= self.right_duplicates
        self.left -= {i for i in self.left if self.a[i].tenant is None}
        self.right -= {j for j in self.right if self.b[j].tenant is None}

    # ---- items ----

    def _item(self, row: Row, held: bool) -> Item:
        n1, _, n3, n4 = self.forms(row)
        payer, group = self.payer(row)
        side = "paid_cents" in row
        day = row["effective_date"]
        if not side and day is None:
            day = row["settlement_date"]
        rolled = None if day is None else int(self.calendar.between(0, self._rolled(day)))
        return Item(
            n1=n1, n3=n3, n4=n4, payer=payer, group=group,
            payee=(self.payee_of or account_of)(row),
            tenant=(self.tenant_of or (lambda _: "default"))(row),
            rail=_rail(row),
            cents=row["paid_cents"] if side else row["amount_cents"],
            day=day, banking_day=rolled, held=held,
        )  # fmt: skip

    def _rolled(self, day: int) -> int:
        return int(self.calendar.roll_forward(day))

    def _usable_payer(self, text: str) -> bytes:
        form = payer_form(text.encode())
        ignored = {payer_form(value.encode()) for value in self.policy.ignored_payer_ids}
        return b"" if form in ignored else form

    def payer(self, row: Row) -> tuple[object, object]:
        """P1 and P2; both None where nobody is known."""
        form = self._usable_payer(row["payer_id"])
        if not form and "company_id" in row:
            form = self._usable_payer(row["company_id"])
        for place, rule in enumerate(self.policy.payers):
            if form in {payer_form(value.encode()) for value in rule.ids}:
                return form, place
        return (form, form) if form else (None, None)

    def forms(self, row: Row) -> tuple[bytes, bytes, bytes, bytes]:
        prefixes, suffixes = [*self.policy.trace_prefixes], [*self.policy.trace_suffixes]
        group = self.payer(row)[1]
        if isinstance(group, int):
            prefixes += self.policy.payers[group].trace_prefixes
            suffixes += self.policy.payers[group].trace_suffixes
        return trace_forms(row["trace"].encode(), longest_first(prefixes), longest_first(suffixes))

    def _duplicates(self, rows: Sequence[Row | None], business_key: Any) -> set[int]:
        held = set()
        for i, row in enumerate(rows):
            for k, other in enumerate(rows):
                if row is None or other is None or i == k:
                    continue
                if business_key(row) != business_key(other):
                    continue
                if (*self._stays(other), k) < (*self._stays(row), i):
                    held.add(i)
        return held

    def _stays(self, row: Row) -> tuple[Any, ...]:
        """The lowest of equals stays: not carried by a duplicate, valid, of the lowest id."""
        lost = row.get("payment_row", -1) in self.right_duplicates
        return lost, not row["valid"], row["id_digest"], row["id_offset"]

    def _remittance_business_key(self, row: Row) -> object:
        content = row["body_hash"] or ("id", row["id_digest"], row["id_offset"])
        n1, payer = self.forms(row)[0], self.payer(row)[0]
        return content, payer, n1, row["paid_cents"], row["effective_date"]

    def _has_business_key(self, row: Row) -> bool:
        return row["source"] == PaymentSource.ACH and row["kind"] == 1 and row["amount_cents"] > 0

    def _payment_business_key(self, row: Row) -> object:
        day = row["effective_date"] if row["settlement_date"] is None else row["settlement_date"]
        names = ("odfi", "ach_trace", "rdfi_routing", "account", "amount_cents")
        return (day, *(row[name] for name in names))

    def is_money(self, row: Row) -> bool:
        credit = row["kind"] == 1 and row["amount_cents"] > 0
        return bool(credit and _rail(row) != Rail.OTHER)

    def expects_money(self, row: Row) -> bool:
        """Money, advised as a credit, that neither a card brings nor nothing."""
        return bool(
            row["paid_cents"] > 0
            and row["credit_debit"] != "D"
            and row["payment_method"] not in {"NON", *self.policy.card_methods}
        )

    def doubtful(self, row: Row) -> bool:
        return bool(
            row["currency"] not in ("", "USD")
            or row["handling"] in ("H", "P")
            or row["credit_debit"] != "C"
            or row["payment_method"] not in ("ACH", "BOP", "CHK", "FWT")
        )

    # ---- two items ----

    def _in_window(self, a: int | None, b: int | None) -> bool:
        return a is None or b is None or abs(a - b) <= self.policy.trace_window_days

    def _banking_days_at_most(self, i: int, j: int, most: int) -> bool:
        a, b = self.a[i].banking_day, self.b[j].banking_day
        return a is not None and b is not None and abs(a - b) <= most

    def contradict(self, i: int, j: int) -> bool:
        """Whether both payees are known and differ."""
        a, b = self.a[i].payee, self.b[j].payee
        return a is not None and b is not None and a != b

    def _same_payee(self, i: int, j: int) -> bool:
        return self.a[i].payee is not None and self.a[i].payee == self.b[j].payee

    def _same_group(self, i: int, j: int) -> bool:
        return self.a[i].group is not None and self.a[i].group == self.b[j].group

    def tier(self, i: int, j: int) -> int | None:
        """The one tier that a pair of open items could be found at; 11 for money sent again."""
        r, p = self.a[i], self.b[j]
        if i not in self.left or j not in self.right:
            return None
        if r.tenant != p.tenant or r.rail != p.rail:
            return None
        found = self._trace_tier(i, j) if r.n3 and p.n3 else None
        if found is None and r.cents == p.cents:
            found = self._tier_without_trace(i, j)
        return found

    def _trace_tier(self, i: int, j: int) -> int | None:
        r, p = self.a[i], self.b[j]
        if not self._in_window(r.day, p.day):
            return None
        if self._same_group(i, j) and r.n4 == p.n4:
            if r.cents != p.cents:
                return None if self.contradict(i, j) else 5
            if r.payer != p.payer:
                return 3
            return 1 if r.n1 == p.n1 else 2
        if r.cents != p.cents:
            return None
        if not self._same_group(i, j) and r.n3 == p.n3 and self._same_payee(i, j):
            return 4
        if self._same_group(i, j) and is_cut(r.n3, p.n3) and not self.contradict(i, j):
            return 6
        return None

    def _tier_without_trace(self, i: int, j: int) -> int | None:
        lost = not self.a[i].n3 or not self.b[j].n3
        near = self._banking_days_at_most(i, j, self.policy.payee_window_banking_days)
        if lost and near and self._same_group(i, j) and self._same_payee(i, j):
            return 7
        if self._sent_again(i, j):
            return SENT_AGAIN
        near = self._banking_days_at_most(i, j, self.policy.suggestion_window_banking_days)
        return 10 if near and not self.contradict(i, j) else None

    def _sent_again(self, i: int, j: int) -> bool:
        """Whether the payment, later and of another trace, could be in the place of a lost one."""
        r, p = self.a[i], self.b[j]
        if not r.n3 or not p.n3 or r.day is None or p.day is None:
            return False
        later = 0 < p.day - r.day <= self.policy.trace_window_days
        return later and self._same_group(i, j) and self._same_payee(i, j)

    def conflict(self, i: int) -> bool:
        """Whether another remittance has the same trace and payer, near in time, and is not for
        another payee."""
        return any(k != i and self._conflict_of(i, k) for k in self.left if self.a[k].n3)

    def _conflict_of(self, i: int, k: int) -> bool:
        x, y = self.a[i], self.a[k]
        if x.payer is None or x.payer != y.payer or x.n1 != y.n1 or not x.n3:
            return False
        if x.tenant != y.tenant or x.rail != y.rail:
            return False
        return self._in_window(x.day, y.day) and not self._for_another(i, k)

    def _for_another(self, i: int, k: int) -> bool:
        """Whether two remittances are known to be for two payees."""
        payees = {self.a[i].payee, self.a[k].payee} - {None}
        a, b = self.remittances[i], self.remittances[k]
        known = "payee_tin" if a["payee_tin"] and b["payee_tin"] else "payee_entity_id"
        return len(payees) > 1 or len({a[known], b[known]} - {""}) > 1

    def edges(self) -> dict[tuple[int, int], int]:
        """All pairs of open items with their tier."""
        found = {(i, j): self.tier(i, j) for i in self.left for j in self.right}
        found |= {(i, j): 5 for i, j in self.parts if i in self.left and j in self.right}
        return {pair: tier for pair, tier in found.items() if tier is not None}

    # ---- tiers ----

    def run(self) -> list[Pair]:
        """Match; the pairs in the order of their rows, those of `several` left out."""
        self._carried()
        conflicts = {i for i in self.left if self.conflict(i)}
        self.barred = conflicts | {i for i in self.left if self.a[i].held}
        for highest in (1, 2, 3):
            self._match_at(range(1, highest + 1), self.barred, ())
        rooted = self._rooted_sums()
        barred = {i for i in self.left if self.a[i].held}
        conflicts = {i for i in self.left if self.conflict(i)}
        self._match_at((6,), barred | conflicts, (1, 2, 3, 4, 5), rooted)
        conflicts = {i for i in self.left if self.conflict(i)}
        self._match_at((7,), barred | conflicts, (1, 2, 3, 4, 5, 6), rooted)
        self._review(rooted + self._free_sums(rooted))
        return sorted(set(self.pairs))

    def allowed(self, tier: int, group: object = None) -> bool:
        """Whether a tier may match by itself."""
        name = f"T{tier}"
        if not self.at_close and name in self.policy.close_tiers:
            return False
        if tier <= 3:
            return name not in self.policy.review_tiers
        rule = self.policy.payers[group] if isinstance(group, int) else None
        return name in self.policy.auto_tiers or (rule is not None and name in rule.auto_tiers)

    def _take(self, pairs: Iterable[tuple[int, int]], tier: int) -> None:
        for i, j in pairs:
            self.pairs.append(Pair(i, j, AUTO, tier))
            self.left.discard(i)
            self.right.discard(j)

    def _carried(self) -> None:
        carried: set[int] = set()
        for j, payment in enumerate(self.payments):
            if payment["kind"] != 1 or payment["amount_cents"] <= 0:
                continue
            inside = [
                i
                for i, row in enumerate(self.remittances)
                if row["payment_row"] == j
                and row["paid_cents"] != 0
                and i not in self.left_duplicates
            ]
            mine = [i for i in inside if i in self.left]
            if j not in self.right:
                self.left -= set(mine)
                continue
            place = self.b[j].tenant, self.b[j].rail
            mine = [i for i in mine if (self.a[i].tenant, self.a[i].rail) == place]
            for i in mine:
                equal = self.a[i].cents == self.b[j].cents
                takes = not self.a[i].held and len(inside) == 1
                takes_alone = takes and not self.contradict(i, j)
                status = AUTO if takes_alone and equal and self.allowed(0) else REVIEW
                status = VARIANCE if takes and not equal else status
                self.pairs.append(Pair(i, j, status, 5 if len(inside) == 1 and not equal else 0))
            self.left -= set(mine)
            self.right -= {j} if mine else set()
            carried |= set(mine)
        for i in self.left:
            if any(self._is_copy(i, k) for k in carried):
                self.a[i] = replace(self.a[i], held=True)

    def _is_copy(self, i: int, k: int) -> bool:
        """Whether a remittance may be another copy of a carried one."""
        x, y = self.a[i], self.a[k]
        if not x.n3 or x.payer is None or (x.n1, x.payer) != (y.n1, y.payer):
            return False
        if (x.tenant, x.rail) != (y.tenant, y.rail) or not self._in_window(x.day, y.day):
            return False
        return x.payee is None or y.payee is None or x.payee == y.payee

    def _match_at(
        self,
        tiers: Iterable[int],
        barred: set[int],
        surer: Sequence[int],
        sums: Sequence[Sum] = (),
    ) -> None:
        """Take the pairs that are alone at these tiers. Payees that contradict make no edge; an
        item with an open candidate of a surer tier, or in a sum, waits for a person."""
        all_edges = self.edges()
        able = {
            pair: tier
            for pair, tier in all_edges.items()
            if tier in tiers and not (tier <= 3 and self.contradict(*pair))
        }
        better = [pair for pair, tier in all_edges.items() if tier in surer]
        better += [pair for s in sums for pair in members(s)]
        other = {p for p, tier in all_edges.items() if tier == 5 or self.contradict(*p)}
        exact = {pair for pair in other if self._as_written(*pair)}
        taken = [
            ((i, j), tier)
            for (i, j), tier in able.items()
            if sum(e[0] == i or e[1] == j for e in able) == 1
            and not any(e[0] == i or e[1] == j for e in better)
            and (self._as_written(i, j) or tier > 3 or not touching(exact, (i, j)))
            and i not in barred
            and self.allowed(tier, self.a[i].group)
        ]
        for pair, tier in taken:
            self._take([pair], tier)

    def _as_written(self, i: int, j: int) -> bool:
        return self.a[i].n1 == self.b[j].n1

    def _root(self, i: int) -> bytes | None:
        """N4 of a remittance's trace without the 1 to 3 letters or digits behind its last mark."""
        n1 = self.a[i].n1
        for length in (1, 2, 3):
            head, mark, part = n1[: -length - 1], n1[-length - 1 : -length], n1[-length:]
            if mark and mark in _ROOT_MARKS and part.isalnum():
                _, _, n3, n4 = self.forms({**self.remittances[i], "trace": head.decode()})
                return n4 if len(n3) >= ROOT_BYTES_MIN else None
        return None

    def _siblings(self, by_root: bool) -> dict[Edge, bool]:
        """Open pairs of one trace, or of a payment's trace and a remittance's root, near in time;
        true where the amounts are equal. Those of contradicting payees are only such of amounts."""
        found = {}
        for i in self.left:
            n4 = (self._root(i) if by_root else None) or self.a[i].n4
            for j in self.right:
                r, p = self.a[i], self.b[j]
                equal = r.cents == p.cents
                if not r.n3 or not p.n3 or n4 != p.n4 or not self._same_group(i, j):
                    continue
                if (r.tenant, r.rail) != (p.tenant, p.rail) or not self._in_window(r.day, p.day):
                    continue
                if equal or not self.contradict(i, j):
                    found[i, j] = equal
        return found

    def _rooted_sums(self) -> list[Sum]:
        """T8 and T9 of a shared trace root: automatic ones are taken, others given back. What is
        not the whole of a payment is kept as its parts."""
        found: list[Sum] = []
        pairs = {pair for pair, tier in self.edges().items() if tier in (1, 2, 3, 5)}
        for by_root in (False, True):
            siblings = self._siblings(by_root)
            sums = self._sums_of_payments(siblings) + self._sums_of_remittances(siblings)
            summed = {pair for s in sums for pair in members(s)}
            rest = {p for p in siblings if not touching(summed, p)}
            loose = {p for p in rest if not siblings[p]}
            self.parts |= {p for p in loose if sum(q[1] == p[1] for q in loose) > 1}
            pairs |= self.parts | {p for p, equal in siblings.items() if equal}
            found += [s for s in sums if s not in found]
        for s in found:
            others = (pairs | {p for o in found for p in members(o)}) - set(members(s))
            contested = any(touching(others, pair) for pair in members(s))
            held = any(self.a[i].held for i, _ in members(s))
            rooted = "T8" not in self.policy.review_tiers
            may = rooted if s.tier == 8 else "T9" in self.policy.auto_tiers
            may &= self.at_close or f"T{s.tier}" not in self.policy.close_tiers
            twice = any(self._said_twice(*two) for two in combinations(members(s), 2))
            payees = {self.a[i].payee for i, _ in members(s)} | {
                self.b[j].payee for _, j in members(s)
            }
            one_payee = len(payees - {None}) < 2
            if may and not held and not contested and one_payee and not (twice and s.tier == 8):
                self._take(members(s), s.tier)
        return [s for s in found if all(i in self.left for i, _ in members(s))]

    def _said_twice(self, one: Edge, other: Edge) -> bool:
        """Whether nothing but their content tells two remittances of a payment apart; with numbered
        parts not even the amount."""
        said = []
        for i, j in (one, other):
            x = self.a[i]
            said.append((x.n1, x.payer, x.cents if x.n4 == self.b[j].n4 else None))
        return said[0] == said[1] and not self._for_another(one[0], other[0])

    def _block(self, item: Item) -> object:
        return item.tenant, item.rail, item.group, item.n4

    def _sums_of_payments(self, siblings: Mapping[Edge, bool]) -> list[Sum]:
        """T8: of payments that are the only ones of their trace with siblings."""
        found = []
        for j in {j for _, j in siblings}:
            block = self._block(self.b[j])
            rivals = {k for _, k in siblings if self._block(self.b[k]) == block}
            own = {i: equal for (i, k), equal in siblings.items() if k == j}
            exact = any(equal and not self.contradict(i, j) for i, equal in own.items())
            many = frozenset(i for i, equal in own.items() if not equal)
            whole = sum(self.a[i].cents for i in many) == self.b[j].cents
            if rivals == {j} and not exact and len(many) > 1 and whole:
                found.append(Sum(8, j, many))
        return found

    def _sums_of_remittances(self, siblings: Mapping[Edge, bool]) -> list[Sum]:
        """T9: of remittances that nobody shares the trace with."""
        found = []
        for i in {i for i, _ in siblings}:
            own = {j: equal for (k, j), equal in siblings.items() if k == i}
            blocks = {self._block(self.b[j]) for j in own}
            rivals = {k for k, j in siblings if self._block(self.b[j]) in blocks}
            exact = any(equal and not self.contradict(i, j) for j, equal in own.items())
            many = frozenset(j for j, equal in own.items() if not equal)
            whole = sum(self.b[j].cents for j in many) == self.a[i].cents
            if rivals == {i} and not exact and len(many) > 1 and whole:
                found.append(Sum(9, i, many))
        return found

    def _free_sums(self, rooted: list[Sum]) -> list[Sum]:
        """T8 and T9 without a root, for items without a candidate of equal cents: automatic ones
        are taken, others given back."""
        edges = self.edges()
        named = [pair for pair, tier in edges.items() if tier in (1, 2, 3, 4, 6, 7)]
        named += [pair for s in rooted for pair in members(s)]
        left = self.left - {i for i, _ in named}
        right = self.right - {j for _, j in named}
        found = [s for j in sorted(right) for s in self._sums_of(8, j, left, edges)]
        found += [s for i in sorted(left) for s in self._sums_of(9, i, right, edges)]
        for tier, one in {(s.tier, s.one) for s in found}:
            sums = [s for s in found if (s.tier, s.one) == (tier, one)]
            if len(sums) > 1:
                self.several[tier, one] = sums
        conflicts = {i for i in self.left if self.conflict(i)}
        clear = [s for s in found if not conflicts & {i for i, _ in members(s)}]
        for s in [s for s in clear if self._stands_alone(s, found, edges)]:
            if self.allowed(s.tier):
                self._take(members(s), s.tier)
        return found

    def _stands_alone(self, s: Sum, others: list[Sum], edges: Mapping[Edge, int]) -> bool:
        """Whether no other sum and no trace speaks for one of its items."""
        mine = set(members(s))
        left, right = {i for i, _ in mine}, {j for _, j in mine}
        if any(self.a[i].held for i in left):
            return False
        if self._has_undated_rival(s):
            return False
        rivals = {pair for other in others if other != s for pair in members(other)}
        if any(i in left or j in right for i, j in rivals):
            return False
        tied = {pair for pair, tier in edges.items() if tier == 5}
        return not any(i in left or j in right for i, j in tied - mine)

    def _has_undated_rival(self, s: Sum) -> bool:
        """Whether an open item of no known day could be part of the single one, too."""
        one = self.b[s.one] if s.tier == 8 else self.a[s.one]
        rows = [self.a[i] for i in self.left] if s.tier == 8 else [self.b[j] for j in self.right]
        place = one.tenant, one.rail, one.group, one.payee
        return any(
            x.banking_day is None
            and 0 < x.cents < one.cents
            and (x.tenant, x.rail, x.group, x.payee) == place
            for x in rows
        )

    def _sums_of(self, tier: int, one: int, many: set[int], edges: Mapping[Edge, int]) -> list[Sum]:
        able, partners = [], set()
        ones, others = (self.b, self.a) if tier == 8 else (self.a, self.b)
        for k in range(len(others)):
            i, j = (k, one) if tier == 8 else (one, k)
            partners |= {k} if edges.get((i, j)) == 5 else set()
            near = self._banking_days_at_most(i, j, self.policy.bulk_window_banking_days)
            scopes = [(x.tenant, x.rail) for x in (self.a[i], self.b[j])]
            if k not in many or not near or scopes[0] != scopes[1]:
                continue
            smaller = others[k].cents < ones[one].cents
            if smaller and self._same_group(i, j) and self._same_payee(i, j):
                able.append(k)
        if len(able) > self.policy.bulk_items_max:
            return []
        return [
            Sum(tier, one, frozenset(chosen))
            for count in range(2, len(able) + 1)
            for chosen in combinations(able, count)
            if sum(others[k].cents for k in chosen) == ones[one].cents
            and (not partners or partners & set(chosen))
        ]

    def _review(self, sums: list[Sum]) -> None:
        """What is left for a person, and the variances."""
        sums = [s for s in sums if all(i in self.left and j in self.right for i, j in members(s))]
        self.several = {k: [s for s in v if s in sums] for k, v in self.several.items()}
        summed = {pair: s.tier for s in sums for pair in members(s)}
        edges = self.edges()
        known = {pair for pair, tier in edges.items() if tier <= 9} | set(summed)
        again = self._for_the_lonely(SENT_AGAIN, edges, known)
        suggested = again | self._for_the_lonely(10, edges, known | again)
        exact = {pair for pair, tier in edges.items() if tier <= 3 and not self.contradict(*pair)}
        for pair, tier in edges.items():
            better = {e for e in exact if e[0] == pair[0]} and {e for e in exact if e[1] == pair[1]}
            told = pair in summed or (better and pair not in self.parts)
            if tier <= 9 and not (tier == 5 and told):
                alone = not touching(known - {pair}, pair) and pair[0] not in self.barred
                self.pairs.append(Pair(*pair, VARIANCE if tier == 5 and alone else REVIEW, tier))
        self.pairs += [Pair(*pair, REVIEW, 10) for pair in suggested]
        of_several = {p for v in self.several.values() for s in v for p in members(s)}
        self.pairs += [Pair(*p, REVIEW, t) for p, t in summed.items() if p not in of_several]

    def _for_the_lonely(self, tier: int, edges: Mapping[Edge, int], known: set[Edge]) -> set[Edge]:
        """Pairs of a tier one item of which, or both, has no known candidate."""
        left, right = {i for i, _ in known}, {j for _, j in known}
        found = {pair for pair, at in edges.items() if at == tier}
        return {(i, j) for i, j in found if i not in left or j not in right}


def touching(pairs: set[Edge], pair: Edge) -> set[Edge]:
    """Those that share an item with a pair."""
    return {other for other in pairs if other[0] == pair[0] or other[1] == pair[1]}


def members(s: Sum) -> list[tuple[int, int]]:
    """The pairs of a sum: (remittance, payment)."""
    return [(k, s.one) if s.tier == 8 else (s.one, k) for k in sorted(s.many)]


def is_cut(a: bytes, b: bytes) -> bool:
    """Whether one trace is what is left of the other: its first or last 8 characters or more."""
    short, whole = sorted((a, b), key=len)
    at_an_end = whole.startswith(short) or whole.endswith(short)
    return len(short) >= 8 and len(short) < len(whole) and at_an_end


def _rail(row: Row) -> Rail:
    if "source" in row:
        return _RAIL_OF_SOURCE[PaymentSource(row["source"])]
    return _RAIL_OF_METHOD.get(row["payment_method"], Rail.ACH)


def _plain(text: str) -> str:
    return "".join(c for c in text.upper() if c.isalnum())


def account_of(row: Row) -> object:
    """Routing number and account, or None where either is missing."""
    if "payee_bank" in row:
        bank, account = row["payee_bank"], row["payee_account"]
    else:
        bank = f"{row['rdfi_routing']:09d}" if row["rdfi_routing"] > 0 else ""
        account = row["account"]
    bank, account = _plain(bank), _plain(account).lstrip("0")
    return (bank, account) if bank and account else None


class PlainDirectory:
    """Payees of a directory, looked up one by one: what every identifier known must agree on."""

    def __init__(self, payees: Sequence[Payee]) -> None:
        self.payees = payees

    def payee_of(self, row: Row) -> object:
        """The place of an item's payee, None for unknown or contradicting ones. For a payment of
        which no bank is known the number of an account says enough, if it is that of one payee."""
        if "payee_bank" not in row and row["rdfi_routing"] <= 0:
            number = _plain(row["account"]).lstrip("0")
            owners = set(self._holders(row, "numbers", number))
            return owners.pop() if len(owners) == 1 else None
        asked = [set(self._holders(row, "accounts", account_of(row)))]
        naming = list(asked)
        if "payee_tin" in row:
            npi = row["payee_entity_id"] if row["payee_entity_qualifier"] == "XX" else ""
            by_npi = set(self._holders(row, "npis", npi))
            by_tin = set(self._holders(row, "tins", row["payee_tin"]))
            asked += [by_npi, by_tin]
            naming += [by_npi, {k for k in by_tin if self.payees[k].aggregation == "TIN"}]
        named = {k for holders in naming for k in holders}
        fits = [k for k in named if all(k in holders for holders in asked if holders)]
        return fits[0] if len(named) == 1 == len(fits) else None

    def tenant_of(self, row: Row) -> str | None:
        """Whose money it is, None for nobody's."""
        place = self.payee_of(row)
        return self.payees[place].tenant if isinstance(place, int) else None

    def _holders(self, row: Row, key: str, value: object) -> Iterator[int]:
        day = row["effective_date"]
        if day is None and "settlement_date" in row:
            day = row["settlement_date"]
        for place, payee in enumerate(self.payees):
            accounts = [(one.routing, _plain(one.account).lstrip("0")) for one in payee.accounts]
            owned: Sequence[object] = accounts
            if key == "numbers":
                owned = [number for _, number in accounts]
            elif key != "accounts":
                owned = getattr(payee, key)
            if value and value in owned and (day is None or _holds(payee, day)):
                yield place


def _holds(payee: Payee, day: int) -> bool:
    today = EPOCH + timedelta(day)
    return (payee.from_ or today) <= today <= (payee.until or today)


def may_be_released(row: Row) -> bool:
    """A zero-pay that needs no funds."""
    return bool(
        row["paid_cents"] == 0
        and row["valid"]
        and row["credit_debit"] == "C"
        and row["currency"] in ("", "USD")
        and row["handling"] != "P"
    )
