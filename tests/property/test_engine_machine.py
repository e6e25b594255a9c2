"""Homes that live through anything, as a seed says: no law breaks, and no step ever stops."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from canonical import ids
from engine_machine import (
    MOMENTS,
    POLICIES,
    Home,
    Life,
    View,
    again,
    dumps,
    id_of,
    made_of,
    outcome,
)
from pools import DAY

from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.match import match
from reassoc.core.policy import Policy
from reassoc.core.statuses import (
    Funding,
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
)
from reassoc.stream.item_log import DecisionEntry, DecisionKind, SettingsEntry
from reassoc.stream.items import PAYMENT, REMITTANCE, ItemFlag
from reassoc.stream.ledger_chain import DECISION_KINDS
from reassoc.stream.live import Live
from reassoc.stream.state import Records


def test_the_ledger_has_a_number_for_every_kind_of_decision() -> None:
    # A batch with another kind would be refused for ever, and with it all that comes behind.
    assert set(DECISION_KINDS) == set(get_args(DecisionKind))
    assert len(set(DECISION_KINDS.values())) == len(DECISION_KINDS)


def test_what_has_no_date_and_came_before_the_first_clock_waits_for_its_default(
    tmp_path: Path,
) -> None:
    rules = "default_release_banking_days = 2\n"
    home = Home(tmp_path / "w", SettingsEntry("", rules, b"", b""), with_ledger=False)
    try:
        supply = made_of([{"effective_date": None}], [])
        home.log.append([("north", supply.entry([0], []))])
        for moment, count in (("16T12:00", 0), ("17T20:00", 0), ("18T12:00", 1)):
            home.tick(f"2026-03-{moment}")
            assert len(home.books.released_rows()) == count
    finally:
        home.close()


def test_money_that_a_list_showed_early_may_be_unclear_again(tmp_path: Path) -> None:
    # Of two entries the list may mean either, so both wait for their settlement day: no step stops.
    home = Home(tmp_path / "w", SettingsEntry("", "", b"", b""), with_ledger=False)
    try:
        entry = {"settlement_date": DAY + 1, "effective_date": DAY + 1}
        line = {"source": 1, "ach_trace": -1, "bank_reference": "R1", "report": -1}
        supply = made_of([], [{**entry, "ach_trace": 1}, line, {**entry, "ach_trace": 2}])
        for rows, funding in (([0, 1], Funding.SETTLED), ([2], Funding.EXPECTED)):
            home.log.append([("north", supply.entry([], rows))])
            home.tick("2026-03-16T12:00")
            assert View(home, "north").right[1, 0]["funding"] == funding
    finally:
        home.close()


def test_a_payment_of_what_was_released_is_not_moved_to_pay_once_more(tmp_path: Path) -> None:
    home = Home(tmp_path / "w", SettingsEntry("", "", b"", b""), with_ledger=False)
    try:
        home.log.append([("north", made_of([{}], [{}]).entry([0], [0]))])
        home.tick("2026-03-16T12:00")
        assert len(home.books.released_rows()) == 1
        before = View(home, "north")
        (payment,) = before.right
        entry = DecisionEntry("move", "n1", "me", "why", b"", id_of(payment), tenant="south")
        home.log.append([("north", entry)])
        home.settle()
        assert list(home.log.tenants()) == ["north"]
        assert View(home, "north").made == before.made
        assert not View(home, "north").right[payment]["flags"]
    finally:
        home.close()


def test_two_payments_of_what_was_released_by_hand_are_a_tie_in_any_order(tmp_path: Path) -> None:
    found = []
    for number, pieces in enumerate(([[0, 1]], [[0], [1]], [[1], [0]])):
        home = Home(tmp_path / f"{number}", SettingsEntry("", "", b"", b""), with_ledger=False)
        try:
            supply = made_of([{}], [{"ach_trace": 1}, {"ach_trace": 2}])
            home.log.append([("north", supply.entry([0], []))])
            home.tick("2026-03-16T12:00")
            (left,) = View(home, "north").left
            release = DecisionEntry("release", "n1", "me", "why", id_of(left))
            home.log.append([("north", release)])
            for piece in pieces:
                home.log.append([("north", supply.entry([], piece))])
                home.settle()
            found.append(outcome(home))
        finally:
            home.close()
    assert found[0] == found[1] == found[2]
    assert not any(pair["status"] == MatchStatus.AUTO for pair in found[0]["north"][2].values())


def test_what_was_forgotten_is_known_when_it_comes_again(tmp_path: Path) -> None:
    rules = "keep_closed_banking_days = 5\n"
    home = Home(tmp_path / "w", SettingsEntry("", rules, b"", b""), with_ledger=True)
    try:
        paid = {"ach_trace": 91000010000001, "original_rdfi": -1}
        back = {"kind": int(EntryKind.RETURN), "original_trace": paid["ach_trace"],
                "original_rdfi": 2100002, "ach_trace": 5}  # fmt: skip
        supply = made_of([{"body_hash": 7}, {"body_hash": 7}], [paid, paid, {**paid, **back}])
        first = supply.entry([0], [0])
        home.log.append([("north", first)])
        home.tick("2026-03-16T20:00")
        assert len(home.books.released_rows()) == 1
        home.tick("2026-03-25T20:00")
        view = View(home, "north")
        assert view.left == view.right == view.pairs == {}
        home.restart()
        home.log.append([("north", first)])
        home.settle()
        view = View(home, "north")
        assert view.left == view.right == {}
        home.log.append([("north", supply.entry([1], [1, 2]))])
        home.tick("2026-03-26T20:00")
        view = View(home, "north")
        (copy,) = view.left.values()
        again_paid, returned = view.right[1, 1000], view.right[1, 2000]
        assert copy["status"] == RemittanceStatus.DUPLICATE
        assert again_paid["status"] == PaymentStatus.DUPLICATE
        assert copy["flags"] == again_paid["flags"] == ItemFlag.KNOWN_BEFORE
        assert returned["reason"] & Reason.NO_ORIGINAL
        assert len(home.books.released_rows()) == 1
    finally:
        home.close()


# ---- any world ----


def _seeds(few: int) -> list[int]:
    many = os.environ.get("REASSOC_HYPOTHESIS") == "long"
    return list(range(40 * few if many else few))


@pytest.mark.parametrize("seed", _seeds(12))
def test_no_law_breaks(tmp_path: Path, seed: int) -> None:
    life = Life(tmp_path / "w", seed, with_ledger=seed % 4 == 0)
    try:
        life.go()
        assert life.steps
    finally:
        life.home.close()


@pytest.mark.parametrize("seed", _seeds(5))
def test_order_and_pieces_between_two_other_entries_change_nothing(
    tmp_path: Path, seed: int
) -> None:
    life = Life(tmp_path / "w", 100 + seed, release_at="clock")
    homes = [life.home]
    try:
        life.go()
        homes.append(again(life, tmp_path / "same", None))
        assert dumps(homes[-1]) == dumps(life.home)
        homes.append(again(life, tmp_path / "other", Random(seed)))
        assert outcome(homes[-1]) == outcome(life.home)
    finally:
        for home in homes:
            home.close()


@pytest.mark.parametrize("seed", _seeds(6))
def test_the_first_close_says_what_one_call_of_match_says(tmp_path: Path, seed: int) -> None:
    policy = POLICIES[seed % len(POLICIES)]
    settings = SettingsEntry(policy, "[[hold]]\nabove_cents = 0\n", b"", b"")
    life = Life(tmp_path / "w", seed, settings=settings, decides=False, moments=MOMENTS[:1])
    try:
        life.go()
        life.home.tick("2026-03-16T22:00")
        for tenant in life.home.log.tenants():
            assert _told(View(life.home, tenant)) == _matched(life, tenant, policy)
    finally:
        life.home.close()


def _told(view: View) -> set[tuple[Any, ...]]:
    return {(*key, pair["status"], pair["tier"]) for key, pair in view.pairs.items()}


def _matched(life: Life, tenant: str, policy: str) -> set[tuple[Any, ...]]:
    records = Records.concat(list(life.home.state.scan(tenant)))
    live = Live.of(records, REMITTANCE.empty(), PAYMENT.empty(), whole=True)
    left, right, _, _ = live.pools()
    m = match(
        left,
        right,
        policy=msgspec.toml.decode(policy, type=Policy),
        calendar=BankingCalendar(np.zeros(0, np.int32)),
        as_of=DAY,
    )
    lefts, rights = ids(left), ids(right)
    columns = (m.match_id, m.status, m.tier)
    return {
        (lefts[m.remittance[k]], rights[m.payment[k]], *(int(column[k]) for column in columns))
        for k in range(len(m))
    }
