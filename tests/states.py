"""The state of a matching, made of small pools, as the stages behind the join on traces find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pools import payments, remittances

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching import payees
from reassoc.core.matching.keys import KeyRules, payment_days, payment_items, remittance_items
from reassoc.core.matching.ordering import id_keys
from reassoc.core.matching.screening import screen_payments, screen_remittances
from reassoc.core.matching.state import Candidates, Side, State
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns

Row = Mapping[str, Any]


def _banking_days(calendar: BankingCalendar, days: npt.NDArray[np.int32]) -> Any:
    return calendar.between(np.where(days == DATE_NONE, days, 0), calendar.roll_forward(days))


def state_of_pools(
    left: RemittanceColumns, right: PaymentColumns, policy: Policy | None = None
) -> State:
    """A state in which all that expects money, and all money, is open; without a directory."""
    policy, calendar = policy or Policy(), BankingCalendar([])
    seen, paid = screen_remittances(left, policy), screen_payments(right, None, None)
    days = left.effective_date, payment_days(right)
    who = payees.identify(left, right, *days, None)
    rules = KeyRules.of(policy, None)
    sides = [
        Side(
            items=items,
            cents=cents,
            day=day,
            banking_day=_banking_days(calendar, day),
            payer=items.payer,
            payer_group=items.payer_group,
            payee=payee,
            tenant=tenant,
            rail=screened.rail,
            held=screened.hold != 0,
            open=screened.open,
            order=id_keys(pool.id_digest, pool.id_offset),
        )
        for items, cents, day, payee, tenant, screened, pool in (
            (
                remittance_items(left, rules, seen.hold),
                left.paid_cents,
                days[0],
                who.left_payee,
                who.left_tenant,
                seen,
                left,
            ),
            (
                payment_items(right, rules, paid.hold),
                right.amount_cents,
                days[1],
                who.right_payee,
                who.right_tenant,
                paid,
                right,
            ),
        )
    ]
    return State(left, right, policy, calendar, seen, paid, sides[0], sides[1], payers=rules.payers)


def state_of_rows(left: Sequence[Row], right: Sequence[Row], policy: Policy | None = None) -> State:
    """The same of rows of tests/pools.py. A row may say `held`, `closed` and `tenant`, too."""
    own = ("held", "closed", "tenant")
    bare = [
        [{k: v for k, v in row.items() if k not in own} for row in rows] for rows in (left, right)
    ]
    state = state_of_pools(remittances(*bare[0]), payments(*bare[1]), policy)
    for side, rows in ((state.remittances, left), (state.payments, right)):
        side.held |= np.array([row.get("held", False) for row in rows], np.bool_)
        side.open &= ~np.array([row.get("closed", False) for row in rows], np.bool_)
        side.tenant[:] = [row.get("tenant", 0) for row in rows]
    return state


def pairs_of(found: Candidates) -> list[tuple[int, int]]:
    """(remittance, payment) of each candidate, sorted."""
    return sorted(zip(found.left.tolist(), found.right.tolist(), strict=True))
