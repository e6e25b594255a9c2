"""Homes that live through anything, as a seed says: no law breaks, and no step ever stops."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from engine_machine import Home, View, id_of, made_of, outcome
from pools import DAY

from reassoc.core.statuses import Funding, MatchStatus
from reassoc.stream.asking import Asked, AskingError, moved
from reassoc.stream.item_log import DecisionEntry, DecisionKind, SettingsEntry
from reassoc.stream.ledger_chain import DECISION_KINDS


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
        paid = Asked(payments=[id_of(payment)])
        entry = DecisionEntry("move", "n1", "me", "why", b"", id_of(payment), tenant="south")
        with pytest.raises(AskingError, match="were released: they stand"):
            moved(home.state, "north", paid, "south", entry, home.books.known_to)
        # Asked before the release was seen, it is refused when its turn comes.
        home.log.append([("north", entry)])
        home.settle()
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
