"""Homes that live through anything, as a seed says: no law breaks, and no step ever stops."""

from __future__ import annotations

from typing import get_args

from reassoc.stream.item_log import DecisionKind
from reassoc.stream.ledger_chain import DECISION_KINDS


def test_the_ledger_has_a_number_for_every_kind_of_decision() -> None:
    # A batch with another kind would be refused for ever, and with it all that comes behind.
    assert set(DECISION_KINDS) == set(get_args(DecisionKind))
    assert len(set(DECISION_KINDS.values())) == len(DECISION_KINDS)
