"""Runs what decides about payments before the tiers, and says it in words that tests can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pools import DAY, payments

from reassoc.core.calendar import BankingCalendar
from reassoc.core.matching.links import link
from reassoc.core.matching.screening import hold_duplicate_payments, screen_payments
from reassoc.core.policy import Policy
from reassoc.core.statuses import Funding, LinkKind, MatchStatus, PaymentStatus, Reason

CALENDAR = BankingCalendar(np.array([DAY + 4], np.int32))  # the Friday is a holiday


class Linked:
    """Outcome for some payments; `links` as (payment, other, kind, status)."""

    def __init__(
        self,
        *rows: Mapping[str, Any],
        policy: Policy | None = None,
        as_of: int | None = DAY + 30,
    ) -> None:
        pool = payments(*rows)
        self.paid = screen_payments(pool, as_of, CALENDAR)
        hold_duplicate_payments(pool, self.paid)
        self.found = link(pool, self.paid, CALENDAR, policy or Policy())
        columns = (self.found.payment, self.found.other, self.found.kind, self.found.status)
        self.links = [
            (payment, other, LinkKind(kind), MatchStatus(status))
            for payment, other, kind, status in zip(*(c.tolist() for c in columns), strict=True)
        ]

    def status(self, row: int) -> PaymentStatus:
        return PaymentStatus(int(self.paid.status[row]))

    def reason(self, row: int) -> Reason:
        return Reason(int(self.paid.reason[row]))

    def hold(self, row: int) -> Reason:
        return Reason(int(self.paid.hold[row]))

    def funding(self, row: int) -> Funding:
        return Funding(int(self.paid.funding[row]))

    @property
    def open(self) -> list[int]:
        """Rows that take part in the tiers."""
        return np.flatnonzero(self.paid.open).tolist()

    @property
    def back(self) -> list[int]:
        """Rows whose money went back."""
        return np.flatnonzero(self.paid.back).tolist()
