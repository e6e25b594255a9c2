"""The state of a matching, made of rows that name only what sums and causes depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pools import payments, remittances

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.ordering import id_keys
from reassoc.core.matching.screening import screen_payments, screen_remittances
from reassoc.core.matching.state import Candidates, Side, State
from reassoc.core.policy import Policy

Row = Mapping[str, Any]
ROW: Row = {
    "id": None,  # place in its file; the row's number where it is not told
    "cents": 100,
    "day": 10,  # a banking day, by number; None for none
    "payer": 1,
    "payee": 1,
    "tenant": 0,
    "rail": 0,
    "held": False,
    "open": True,
    "adjustments": (),  # (reason, cents)
}


def _side(rows: Sequence[Row], digest: Any, offset: Any) -> Side:
    def column(name: str, kind: str) -> npt.NDArray[Any]:
        return np.array([row[name] for row in rows], kind)

    days = np.array([DATE_NONE if row["day"] is None else row["day"] for row in rows], np.int32)
    return Side(
        items=cast(Any, None),
        cents=column("cents", "i8"),
        day=days,
        banking_day=days,
        payer=column("payer", "u4"),
        payer_group=column("payer", "u4"),
        payee=column("payee", "u4"),
        tenant=column("tenant", "u4"),
        rail=column("rail", "u1"),
        held=column("held", "?"),
        open=column("open", "?"),
        order=id_keys(digest, offset),
    )


def _whole(rows: Sequence[Row]) -> list[dict[str, Any]]:
    filled = []
    for number, row in enumerate(rows):
        assert set(row) <= set(ROW), set(row) - set(ROW)
        whole = {**ROW, **row}
        whole["id"] = number if whole["id"] is None else whole["id"]
        filled.append(whole)
    return filled


def state_of(left: Sequence[Row], right: Sequence[Row], policy: Policy | None = None) -> State:
    """A state of these remittances and payments; see ROW."""
    policy = policy or Policy()
    lefts, rights = _whole(left), _whole(right)
    left_pool = remittances(
        *(
            {"id_offset": row["id"], "paid_cents": row["cents"], "adjustments": row["adjustments"]}
            for row in lefts
        )
    )
    right_pool = payments(
        *({"id_offset": row["id"], "amount_cents": row["cents"]} for row in rights)
    )
    return State(
        left=left_pool,
        right=right_pool,
        policy=policy,
        calendar=BankingCalendar([]),
        seen=screen_remittances(left_pool, policy),
        paid=screen_payments(right_pool, None, None),
        remittances=_side(lefts, left_pool.id_digest, left_pool.id_offset),
        payments=_side(rights, right_pool.id_digest, right_pool.id_offset),
    )


def pairs(rows: Sequence[tuple[int, int]] = (), tier: int = 5) -> Candidates:
    """Candidates of one tier, by rows."""
    table = np.array(rows, np.int32).reshape(-1, 2)
    return Candidates.of(table[:, 0].copy(), table[:, 1].copy(), tier)
