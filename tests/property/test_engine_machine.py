"""Homes that live through anything, as a seed says: no law breaks, and no step ever stops."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from engine_machine import Home, made_of

from reassoc.stream.item_log import DecisionKind, SettingsEntry
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
