"""The matcher's rules said slowly, one item against every other: what `reassoc.core.match` must
agree with.

Works on the rows of tests/pools.py. Blocks, joins and hashes do not occur here; a rule stands where
it is stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reassoc.core.policy import Policy, longest_first
from reassoc.core.reference_keys import payer_form, trace_forms
from reassoc.core.statuses import MatchStatus

Row = Mapping[str, Any]


class Pair(NamedTuple):
    """A pair with what decides about it."""

    remittance: int
    payment: int
    status: MatchStatus
    tier: int


class Oracle:
    """Matches small pools by looking at every pair, tier after tier."""

    def __init__(self, remittances: Sequence[Row], payments: Sequence[Row], policy: Policy) -> None:
        self.left, self.right, self.policy = remittances, payments, policy
        self.left_duplicates = self._duplicates(remittances, self._remittance_business_key)
        self.right_duplicates = self._duplicates(
            [row if self.is_money(row) else None for row in payments], self._payment_business_key
        )
        self.pairs: list[Pair] = []

    # ---- items ----

    def payer(self, row: Row) -> bytes:
        form = payer_form(row["payer_id"].encode())
        return (
            b"" if form in {payer_form(v.encode()) for v in self.policy.ignored_payer_ids} else form
        )

    def payer_group(self, row: Row) -> object:
        form = self.payer(row)
        for place, rule in enumerate(self.policy.payers):
            if form in {payer_form(value.encode()) for value in rule.ids}:
                return place
        return form

    def forms(self, row: Row) -> tuple[bytes, bytes, bytes, bytes]:
        prefixes, suffixes = [*self.policy.trace_prefixes], [*self.policy.trace_suffixes]
        group = self.payer_group(row)
        if isinstance(group, int):
            prefixes += self.policy.payers[group].trace_prefixes
            suffixes += self.policy.payers[group].trace_suffixes
        return trace_forms(row["trace"].encode(), longest_first(prefixes), longest_first(suffixes))

    def _duplicates(self, rows: Sequence[Row | None], business_key: Any) -> set[int]:
        held = set()
        for i, row in enumerate(rows):
            for k, other in enumerate(rows):
                if (
                    row is None
                    or other is None
                    or i == k
                    or business_key(row) != business_key(other)
                ):
                    continue
                ids = (
                    (not other["valid"], other["id_digest"], other["id_offset"], k),
                    (not row["valid"], row["id_digest"], row["id_offset"], i),
                )
                if ids[0] < ids[1]:
                    held.add(i)
        return held

    def _remittance_business_key(self, row: Row) -> object:
        content = row["body_hash"] or ("id", row["id_digest"], row["id_offset"])
        n1 = self.forms(row)[0]
        return content, self.payer(row), n1, row["paid_cents"], row["effective_date"]

    def _payment_business_key(self, row: Row) -> object:
        day = row["effective_date"] if row["settlement_date"] is None else row["settlement_date"]
        return (
            row["odfi"],
            row["ach_trace"],
            day,
            row["rdfi_routing"],
            row["account"],
            row["amount_cents"],
        )

    def is_money(self, row: Row) -> bool:
        return bool(row["kind"] == 1 and row["amount_cents"] > 0)

    def expects_eft(self, row: Row) -> bool:
        """Money, advised as a credit, by no means other than ACH."""
        other_means = {"CHK", "FWT", "NON", *self.policy.card_methods}
        return bool(
            row["paid_cents"] > 0
            and row["credit_debit"] != "D"
            and row["payment_method"] not in other_means
        )

    def doubtful(self, row: Row) -> bool:
        return (
            row["currency"] not in ("", "USD")
            or row["handling"] in ("H", "P")
            or row["credit_debit"] != "C"
            or row["payment_method"] not in ("ACH", "BOP")
        )

    # ---- two items ----

    def in_window(self, a: int | None, b: int | None) -> bool:
        return a is None or b is None or abs(a - b) <= self.policy.trace_window_days

    def tier(self, i: int, j: int) -> int | None:
        r, p = self.left[i], self.right[j]
        date = p["settlement_date"] if p["effective_date"] is None else p["effective_date"]
        a, b = self.forms(r), self.forms(p)
        if not a[2] or not b[2] or a[3] != b[3] or not self.payer(r) or not self.payer(p):
            return None
        if self.payer_group(r) != self.payer_group(p) or not self.in_window(
            r["effective_date"], date
        ):
            return None
        if r["paid_cents"] != p["amount_cents"]:
            return 5
        if self.payer(r) != self.payer(p):
            return 3
        return 1 if a[0] == b[0] else 2

    def conflict(self, i: int, k: int) -> bool:
        a, b = self.left[i], self.left[k]
        if self.payer(a) != self.payer(b) or self.forms(a)[0] != self.forms(b)[0]:
            return False
        if a["payee_tin"] and b["payee_tin"]:
            other_payee = a["payee_tin"] != b["payee_tin"]
        else:
            entities = a["payee_entity_id"], b["payee_entity_id"]
            other_payee = all(entities) and entities[0] != entities[1]
        return self.in_window(a["effective_date"], b["effective_date"]) and not other_payee

    # ---- tiers ----

    def run(self) -> list[Pair]:
        left = {
            i
            for i, r in enumerate(self.left)
            if self.expects_eft(r) and i not in self.left_duplicates
        }
        right = {
            j
            for j, p in enumerate(self.right)
            if self.is_money(p) and j not in self.right_duplicates
        }
        self._carried(left, right)
        left = {i for i in left if self.forms(self.left[i])[2] and self.payer(self.left[i])}
        right = {j for j in right if self.forms(self.right[j])[2] and self.payer(self.right[j])}
        edges = {(i, j): self.tier(i, j) for i in left for j in right}
        edges = {pair: tier for pair, tier in edges.items() if tier is not None}
        barred = {i for i in left if self.doubtful(self.left[i])}
        barred |= {i for i in left for k in left if i != k and self.conflict(i, k)}
        for highest in (1, 2, 3):
            self._tier(edges, highest, left, right, barred)
        self._rest({e: t for e, t in edges.items() if e[0] in left and e[1] in right}, barred)
        return sorted(self.pairs)

    def _carried(self, left: set[int], right: set[int]) -> None:
        for j, payment in enumerate(self.right):
            if not self.is_money(payment):
                continue
            inside = [
                i
                for i, r in enumerate(self.left)
                if r["payment_row"] == j and r["paid_cents"] != 0 and i not in self.left_duplicates
            ]
            mine = [i for i in inside if i in left]
            for i in mine:
                left.discard(i)
                if j not in right:
                    continue
                equal = self.left[i]["paid_cents"] == payment["amount_cents"]
                allowed = not self.doubtful(self.left[i]) and len(inside) == 1
                status = MatchStatus.REVIEW
                if allowed and not equal:
                    status = MatchStatus.VARIANCE
                elif allowed and "T0" not in self.policy.review_tiers:
                    status = MatchStatus.AUTO
                self.pairs.append(Pair(i, j, status, 5 if len(inside) == 1 and not equal else 0))
            if mine:
                right.discard(j)

    def _tier(
        self,
        edges: Mapping[tuple[int, int], int | None],
        highest: int,
        left: set[int],
        right: set[int],
        barred: set[int],
    ) -> None:
        able = [(e, t) for e, t in edges.items() if t is not None and t <= highest]
        able = [(e, t) for e, t in able if e[0] in left and e[1] in right]
        for (i, j), tier in able:
            alone = sum(e[0] == i or e[1] == j for e, _ in able) == 1
            if alone and i not in barred and f"T{tier}" not in self.policy.review_tiers:
                self.pairs.append(Pair(i, j, MatchStatus.AUTO, tier))
                left.discard(i)
                right.discard(j)

    def _rest(self, edges: Mapping[tuple[int, int], int | None], barred: set[int]) -> None:
        equal = {e for e, tier in edges.items() if tier != 5}
        for (i, j), tier in edges.items():
            if tier == 5 and any(e[0] == i for e in equal) and any(e[1] == j for e in equal):
                continue
            lone = sum(e[0] == i or e[1] == j for e in edges) == 1
            status = MatchStatus.REVIEW
            if tier == 5 and lone and i not in barred:
                status = MatchStatus.VARIANCE
            self.pairs.append(Pair(i, j, status, int(tier or 0)))


def may_be_released(row: Row) -> bool:
    """A zero-pay that needs no funds."""
    return bool(
        row["paid_cents"] == 0
        and row["valid"]
        and row["credit_debit"] == "C"
        and row["currency"] in ("", "USD")
        and row["handling"] != "P"
    )
