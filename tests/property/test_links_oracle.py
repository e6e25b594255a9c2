"""Links between payments against their rules said slowly; and what must hold for any input."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from links_oracle import LinksOracle
from pools import DAY, PAYMENT, payments

from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.matching.links import Links, link
from reassoc.core.matching.screening import (
    ScreenedPayments,
    hold_duplicate_payments,
    screen_payments,
)
from reassoc.core.policy import Policy
from reassoc.core.statuses import LinkKind, MatchStatus, PaymentSource, PaymentStatus

Row = dict[str, Any]
CALENDAR = BankingCalendar(np.zeros(0, np.int32))
POLICY = Policy(return_window_days=10)
NUMBERS = [0, 91000010000001, 91000010000002, 91000010000003]
DATES = [DAY, DAY, DAY + 1, DAY + 2, DAY + 4, DAY + 7, DAY + 20, None]
COLUMNS = ("status", "reason", "hold", "open", "money", "funding", "back")


def credit(random: Random) -> Row:
    return {
        "ach_trace": random.choice(NUMBERS),
        "amount_cents": random.choice([100, 100, 200]),
        "account": random.choice(["55", "0055", "77"]),
        "rdfi_routing": random.choice([21000021, 21000021, 91000019, -1]),
        "company_id": random.choice(["1234567890", "234567890", "9", ""]),
        "receiver_id": random.choice(["", "A1", "a-1", "B2"]),
        "settlement_date": random.choice(DATES),
        "effective_date": random.choice([DAY, DAY, None]),
        "trace": random.choice(["", "12345678", "012345678", "12345678901", "99"]),
    }


def returned(random: Random) -> Row:
    return credit(random) | {
        "kind": int(EntryKind.RETURN),
        "return_form": random.choice([0, 0, 0, 1, 1, 2]),
        "original_trace": random.choice([*NUMBERS, *NUMBERS, -1]),
        "original_rdfi": random.choice([2100002, 2100002, 9100001, -1, 0]),
        "return_trace": random.choice([*NUMBERS, -1]),
        "settlement_date": random.choice([DAY + 2, DAY + 4, *DATES]),
    }


def changed(random: Random) -> Row:
    cents = random.choice([0, 0, 100])
    row = returned(random) | {"kind": int(EntryKind.NOTIFICATION), "amount_cents": cents}
    return row | {"return_form": random.choice([3, 4])}


def reversal(random: Random) -> Row:
    name = random.choice(["REVERSAL", "reversal ", "Rev-ersal", "REVERSALS"])
    return credit(random) | {"kind": int(EntryKind.DEBIT), "entry_description": name}


def line(random: Random) -> Row:
    return credit(random) | {
        "source": int(random.choice([PaymentSource.BANK_ACH, PaymentSource.CHECK])),
        "report": random.choice([0, 0, 1]),
        "id_digest": random.choice([5, 6]),
        "type_code": random.choice([165, 142]),
        "ach_trace": random.choice([-1, -1, -1, *NUMBERS]),
        "effective_date": None,
        "bank_reference": random.choice(["", "", "R1", "R2"]),
        "rdfi_routing": -1,
        "account": random.choice(["55", "55", "0055", "77", ""]),
    }


def check(random: Random) -> Row:
    return line(random) | {"report": -1, "type_code": 0, "source": int(PaymentSource.CHECK)}


def bounced(random: Random) -> Row:
    return line(random) | {
        "kind": int(EntryKind.RETURN),
        "source": int(PaymentSource.CHECK),
        "settlement_date": random.choice([DAY + 2, DAY + 4, *DATES]),
    }


FOCUSES: list[list[Callable[[Random], Row]]] = [
    [credit, returned],
    [credit, returned, returned, reversal],
    [credit, credit, reversal],
    [credit, changed],
    [credit, line, line],
    [line, check],
    [line],
    [line, check, check, bounced],
    [credit, returned, changed, reversal, line, check],
]


@st.composite
def cases(draw: Callable[..., Any]) -> list[Row]:
    """Rows with unlike ids."""
    random = draw(st.randoms(use_true_random=False))
    makers = draw(st.sampled_from(FOCUSES))
    few = random.choice([credit(random), {}])
    rows = []
    for place in range(draw(st.integers(1, 9))):
        row = random.choice(makers)(random)
        # Values that rows share make more of them fit.
        shared = {name: few[name] for name in few if random.random() < 0.4 and name in row}
        if row.get("source"):
            shared.pop("ach_trace", None)
        row |= shared
        row["id_offset"] = 1000 + 10 * place + random.randrange(10)
        row["valid"] = random.random() < 0.9
        rows.append(row)
    random.shuffle(rows)
    return rows


def run(rows: list[Row]) -> tuple[dict[str, list[Any]], ScreenedPayments, Links]:
    """What screening gives, and what linking makes of it."""
    pool = payments(*rows)
    paid = screen_payments(pool, DAY + 5, CALENDAR)
    hold_duplicate_payments(pool, paid)
    start = {name: getattr(paid, name).tolist() for name in COLUMNS}
    return start, paid, link(pool, paid, CALENDAR, POLICY)


def links_of(links: Links) -> list[tuple[int, int, int, int]]:
    columns = (links.payment, links.other, links.kind, links.status)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_links_agree_with_the_oracle(rows: list[Row]) -> None:
    start, paid, links = run(rows)
    oracle = LinksOracle([{**PAYMENT, **row} for row in rows], start, POLICY)
    found = links_of(links)
    assert len(found) == len(set(found))
    assert set(found) == oracle.links
    for name in COLUMNS:
        assert getattr(paid, name).tolist() == [int(x) for x in getattr(oracle, name)], name


@settings(max_examples=100, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_links_do_not_depend_on_the_order_of_rows(rows: list[Row], random: Random) -> None:
    rows = [{"ach_trace": NUMBERS[1], **row} for row in rows]
    _, paid, links = run(rows)
    order = random.sample(range(len(rows)), len(rows))
    _, paid_again, links_again = run([rows[i] for i in order])
    for name in COLUMNS:
        assert getattr(paid, name)[order].tolist() == getattr(paid_again, name).tolist(), name
    back = [(order[p], order[o], k, s) for p, o, k, s in links_of(links_again)]
    assert back == links_of(links)
    assert links.days_apart.tolist() == links_again.days_apart.tolist()


@settings(max_examples=100, deadline=None)
@given(cases())
def test_money_is_never_counted_twice(rows: list[Row]) -> None:
    _, paid, links = run(rows)
    assert not (paid.open & paid.back).any()
    assert not (paid.open & ~paid.money).any()
    reported = links.kind == LinkKind.REPORT_OF
    assert not paid.open[links.payment[reported]].any()
    assert (paid.status[links.payment[reported]] == PaymentStatus.REPORTED).all()
    sure = reported & (links.status == MatchStatus.AUTO)
    for rows_of_side in (links.payment[sure], links.other[sure]):
        assert len(set(rows_of_side.tolist())) == sure.sum()


# ---- deposits ----


def deposited(random: Random) -> Row:
    kind = random.choice([PaymentSource.DEPOSIT, PaymentSource.CHECK, PaymentSource.CHECK])
    return {
        "source": int(kind),
        "report": random.choice([-1, 0, 0, 1]) if kind == PaymentSource.CHECK else 0,
        "id_digest": random.choice([5, 5, 6]),
        "ach_trace": -1,
        "trace": random.choice(["", "1001", "1002", "1003"]),
        "amount_cents": random.choice([100, 200, 300, 300, 400]),
        "account": random.choice(["55", "55", "55", "0055", "77", ""]),
        "settlement_date": random.choice([DAY, DAY, DAY, DAY + 1, None]),
        "effective_date": None,
        "deposit": random.choice(["", "", "D1", "D1", "D2"]),
    }


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 9))
def test_a_deposit_is_dropped_only_for_checks_that_come_to_it(random: Random, count: int) -> None:
    rows = [deposited(random) | {"id_offset": 100 + k} for k in range(count)]
    start, paid, links = run(rows)
    pool = [{**PAYMENT, **row} for row in rows]
    parts: dict[int, list[int]] = {}
    for check_row, deposit, kind, status in links_of(links):
        if kind == LinkKind.PART_OF:
            assert pool[check_row]["source"] == PaymentSource.CHECK
            assert pool[deposit]["source"] == PaymentSource.DEPOSIT
            if status == MatchStatus.AUTO:
                parts.setdefault(deposit, []).append(check_row)
            else:
                assert paid.hold[[check_row, deposit]].all()
    for row, begun in enumerate(start["open"]):
        deposit = pool[row]["source"] == PaymentSource.DEPOSIT
        if begun and deposit and paid.status[row] == PaymentStatus.REPORTED:
            cents = [pool[part]["amount_cents"] for part in parts[row]]
            assert sum(cents) == pool[row]["amount_cents"]
            assert all(paid.open[part] and not paid.hold[part] for part in parts[row])
    taken = [part for checks in parts.values() for part in checks]
    assert len(taken) == len(set(taken))
    order = random.sample(range(count), count)
    _, paid_again, links_again = run([rows[i] for i in order])
    for name in COLUMNS:
        assert getattr(paid, name)[order].tolist() == getattr(paid_again, name).tolist(), name
    back = {(order[p], order[o], k, s) for p, o, k, s in links_of(links_again)}
    assert back == set(links_of(links))
