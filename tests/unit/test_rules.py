"""Warehouse rules: defaults are safe, and what is wrong is named by its key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from reassoc.core.errors import PolicyError
from reassoc.stream.item_log import ENTRY_BYTES_MAX, SettingsEntry, encode_entry
from reassoc.stream.rules import RULES_MAX, DefaultRelease, HoldRule, WarehouseRules
from reassoc.stream.settings import (
    POLICY_BYTES_MAX,
    RULES_BYTES_MAX,
    decode_rules,
    load_rules,
)
from reassoc.stream.state import BODY_BYTES_MAX
from reassoc.stream.tenant_record import ALIASES_MAX, TenantRecord, encode_tenant

GUIDE = Path(__file__).parents[2] / "docs" / "WAREHOUSE.md"


def test_nothing_is_released_without_money_unless_somebody_says_so() -> None:
    rules = WarehouseRules()
    assert rules.default_release_banking_days is None
    assert rules.funded_by == "settled"
    assert rules == decode_rules("", "here")
    never = decode_rules("[[default_release]]\npayer_ids = ['1234567890']", "here")
    assert never.default_release == (DefaultRelease(payer_ids=("1234567890",)),)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("release_at = 'noon'", "release_at must be one of match, clock"),
        ("funded_by = 1", "funded_by"),
        ("opening_time = '8:30'", "opening_time must be a time"),
        ("close_time = '24:00'", "close_time must be a time"),
        ("opening_time = '18:30'\nclose_time = '18:30'", "close_time must be later"),
        ("keep_closed_banking_days = 4", "keep_closed_banking_days must be from 5 to 2520"),
        ("file_transactions_max = 0", "file_transactions_max must be from 1"),
        ("default_release_banking_days = -1", "default_release_banking_days must be from 0"),
        ("[[default_release]]\nbanking_days = 3", r"default_release\[0\] must name"),
        ("[[default_release]]", r"default_release\[0\] must name"),
        (
            "[[default_release]]\nbanking_days = 9999\npayer_ids = ['1']",
            r"default_release\[0\].banking_days must be from 0 to 2520",
        ),
        ("[[hold]]\nname = 'all'", r"hold\[0\] holds everything"),
        ("[[hold]]\nabove_cents = -1", r"hold\[0\].above_cents"),
        ("[[hold]]\npayer_ids = ['--']", r"hold\[0\].payer_ids\[0\] is no identifier"),
        ("[[hold]]\npayee_ids = ['112223333', '12-3']", r"hold\[0\].payee_ids\[1\] must be an NPI"),
        ("[[hold]]\nabove_dollars = 5", "above_dollars|unknown key"),
    ],
)
def test_a_wrong_rule_is_named_by_its_key(text: str, what: str) -> None:
    with pytest.raises(PolicyError, match=what) as caught:
        decode_rules(text, "warehouse.toml")
    assert str(caught.value).startswith("warehouse.toml: ")
    assert "12-3" not in str(caught.value)


def test_rules_are_bounded() -> None:
    rule = HoldRule(reversal=True)
    assert len(WarehouseRules(hold=(rule,) * RULES_MAX).hold) == RULES_MAX
    with pytest.raises(PolicyError, match="RULES_MAX"):
        WarehouseRules(hold=(rule,) * (RULES_MAX + 1))
    payers = ("1234567890",) * (RULES_MAX + 1)
    with pytest.raises(PolicyError, match=r"default_release\[0\].payer_ids has 10001 entries"):
        WarehouseRules(default_release=(DefaultRelease(banking_days=3, payer_ids=payers),))


def test_the_rules_of_the_guide_are_usable_and_name_every_key(tmp_path: Path) -> None:
    text = GUIDE.read_text().partition("```toml")[2].partition("```")[0]
    path = tmp_path / "warehouse.toml"
    path.write_text(text)
    rules = load_rules(path)
    assert rules.hold
    assert rules.default_release
    for kind in (WarehouseRules, HoldRule, DefaultRelease):
        for field in msgspec.structs.fields(kind):
            assert f"{field.name} = " in text or f"[[{field.name}]]" in text, field.name


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"rules\.toml: cannot be read"):
        load_rules(tmp_path / "rules.toml")


def test_settings_that_may_be_given_fit_in_the_record_of_a_tenant() -> None:
    settings = SettingsEntry("#" * POLICY_BYTES_MAX, "#" * RULES_BYTES_MAX, bytes(32), bytes(400))
    aliases = tuple((f"1{n:09d}", f"2{n:09d}") for n in range(ALIASES_MAX))
    assert len(encode_entry(settings)) <= ENTRY_BYTES_MAX
    assert len(encode_tenant(TenantRecord(settings, aliases=aliases))) <= BODY_BYTES_MAX
