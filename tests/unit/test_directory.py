"""The directory file: what is refused and by which key, who is one payer when, and proposals."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import DAY, payments, remittances

from reassoc.core import _keys
from reassoc.core import directory as module
from reassoc.core.columns import TextColumn
from reassoc.core.directory import Alias, Directory, load_directory, propose
from reassoc.core.errors import DirectoryError
from reassoc.core.matching import payers
from reassoc.core.matching.keys import KeyRules, payment_items, remittance_items
from reassoc.core.policy import PayerRule, Policy
from reassoc.core.pool import text_parts

DOCS = Path(__file__).parents[2] / "docs"
Row = dict[str, Any]

PAYERS = """
[[payers]]
name = "Agent"
ids = ["1341858386"]
names = ["PAYING AGENT INCORPORATED"]
aggregator = true
plans = ["1555555555"]
accounts = [{ routing = "021000021", account = "0099" }]

[[payers]]
name = "Plan"
ids = ["1555555555", "PLAN9"]

[[payers]]
name = "Until March"
ids = ["1777777777", "DATED"]
names = ["OLD PLAN"]
until = 2026-03-16

[[payers]]
name = "Since then"
ids = ["1666666666", "DATED"]
from = 2026-03-17
"""


def test_the_file_shown_is_a_directory() -> None:
    page = (DOCS / "DIRECTORY.md").read_text()
    block = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    directory = load_directory(block[1])
    assert [len(directory.payees), len(directory.payers)] == [3, 2]
    assert directory.tenants == ("default", "north", "south")
    for struct in (module.Payee, module.Payer, module.Account):
        for name in struct.__struct_encode_fields__:
            assert re.search(rf"\b{name} = ", block[1]), name


def test_example_in_the_documentation_is_a_directory() -> None:
    directory = load_directory((module.__doc__ or "").split("\n\n", 1)[1])
    assert len(directory.payees) == len(directory.payers) == 1


def test_every_key_is_documented() -> None:
    for struct in (module.Payee, module.Payer, module.Account):
        for name in struct.__struct_encode_fields__:
            assert name in (struct.__doc__ or ""), name


ONE = '[[payees]]\nname = "a"\nnpis = ["1999999984"]\n'
ACCOUNT = '{ routing = "021000021", account = "12" }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[payees]]\nname = 5", "payees[0].name: "),
        ('[[payees]]\nname = "a"\nwho = 1', "payees[0]: Object contains unknown field"),
        ("payees = 3", "payees: "),
        ("[[payees]", "not TOML"),
        ('[[payees]]\nname = "a"', "payees[0] must have at least one of"),
        (ONE + "tenant = ' '", "payees[0].tenant "),
        (ONE + 'aggregation = "EIN"', "payees[0].aggregation: "),
        (ONE + "from = 2026-02-01\nuntil = 2026-01-31", "payees[0].until is before"),
        (ONE + 'tins = ["1"]', "payees[0].tins[0] must have 9 digits"),
        (ONE + 'tins = ["112223333", "A12223333"]', "payees[0].tins[1] must have 9 digits"),
        ('[[payees]]\nname = "a"\nnpis = ["199999998"]', "payees[0].npis[0] must have 10"),
        (ONE + 'accounts = [{ routing = "1", account = "2" }]', "payees[0].accounts[0].routing"),
        (ONE + 'accounts = [{ routing = "021000021", account = "00" }]',
         "payees[0].accounts[0].account"),
        (ONE + f"until = 2026-01-01\naccounts = [{ACCOUNT[:-2]}, from = 2026-01-02 }}]",
         "payees[0].accounts[0] is never valid"),
        (ONE + ONE, "payees[1].npis[0] is also one of payees[0]"),
        ('[[payers]]\nname = "a"', "payers[0] must have at least one of"),
        ('[[payers]]\nname = "a"\nids = ["-"]', "payers[0].ids[0] is no identifier"),
        ('[[payers]]\nname = "a"\nnames = ["-"]', "payers[0].names[0] must have"),
        ('[[payers]]\nname = "a"\nids = ["1"]\nplans = ["2"]', "payers[0].plans needs"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_by_key(text: str, message: str) -> None:
    with pytest.raises(DirectoryError) as caught:
        load_directory(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", ["JANE DOE", "O'HARA", "x - at `$.JANE`"])
def test_errors_never_tell_a_value(value: str) -> None:
    for key in ("aggregation", "from", "tins", "npis", "accounts", "until"):
        with pytest.raises(DirectoryError) as caught:
            load_directory(f'[[payees]]\nname = "a"\n{key} = "{value}"')
        assert value not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def payee(keys: str) -> str:
    return f'[[payees]]\nname = "x"\n{keys}\n'


def payer(keys: str) -> str:
    return f'[[payers]]\nname = "x"\n{keys}\n'


TIN = 'tins = ["112223333"]\n'


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        (payee(f"accounts = [{ACCOUNT}]"), payee(f"accounts = [{ACCOUNT}]"), "accounts[0]"),
        (payee('accounts = [{ routing = "021-000-021", account = "0-12" }]'),
         payee(f"accounts = [{ACCOUNT}]"), "accounts[0]"),
        (payee(TIN), payee(TIN), "tins[0]"),
        (payee(TIN + "until = 2026-01-01"), payee(TIN + "from = 2026-01-01"), "tins[0]"),
        (payee(TIN), payee(TIN + "until = 2026-01-01"), "tins[0]"),
        (payer('ids = ["1234567890"]'), payer('ids = ["5", "234567890"]'), "ids[1]"),
        (payer('ids = ["5"]\naggregator = true\nplans = ["7"]'),
         payer('ids = ["6"]\naggregator = true\nplans = ["7"]'), "plans[0]"),
        (payer('names = ["A. B."]'), payer('names = ["ab"]'), "names[0]"),
        (payer(f'ids = ["1"]\naccounts = [{ACCOUNT}]'),
         payer(f'ids = ["2"]\naccounts = [{ACCOUNT}]'), "accounts[0]"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(one: str, other: str, key: str) -> None:
    load_directory(one)
    kind = "payees" if "[[payees]]" in one else "payers"
    with pytest.raises(DirectoryError) as caught:
        load_directory(one + other)
    message = str(caught.value)
    assert re.match(rf"{kind}\[[01]\]\.{re.escape(key)} is also one of {kind}\[[01]\]", message)
    assert "112223333" not in message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TIN + "until = 2026-01-01", TIN + "from = 2026-01-02"),
        (TIN + 'aggregation = "NPI"', TIN + 'aggregation = "NPI"'),
        (TIN, TIN + 'aggregation = "NPI"'),
        (f"accounts = [{ACCOUNT[:-2]}, until = 2026-01-01 }}]",
         f"accounts = [{ACCOUNT[:-2]}, from = 2026-01-02 }}]"),
        (f"accounts = [{ACCOUNT}]", 'accounts = [{ routing = "026009593", account = "12" }]'),
        (f"accounts = [{ACCOUNT}, {ACCOUNT}]", 'tins = ["445556666"]'),
    ],
)  # fmt: skip
def test_what_merely_looks_like_a_contradiction_is_taken(one: str, other: str) -> None:
    assert len(load_directory(payee(one) + payee(other)).payees) == 2


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIRECTORY_ROWS_MAX", 3)
    load_directory(payee(TIN))
    with pytest.raises(DirectoryError, match="DIRECTORY_ROWS_MAX"):
        load_directory(payee(TIN) + payee('npis = ["1999999984"]'))


def test_many_that_share_an_identifier_are_checked_in_time() -> None:
    rows = "".join(
        payee(
            TIN + f'aggregation = "NPI"\nnpis = ["{1000000000 + n}"]\nfrom = {1990 + n % 30}-01-01'
        )
        for n in range(2000)
    )
    started = time.thread_time()
    load_directory(rows)
    assert time.thread_time() - started < 5


# ---- who is one payer ----


def sides(
    left: list[Row], right: list[Row], policy: Policy | None = None
) -> tuple[list[int], list[int]]:
    """Payer groups of both sides."""
    rules = KeyRules(*payers.rules(policy or Policy(), load_directory(PAYERS)))
    a, b = remittances(*left), payments(*right)
    return (
        remittance_items(a, rules, np.zeros(len(a), np.int64)).payer_group.tolist(),
        payment_items(b, rules, np.zeros(len(b), np.int64)).payer_group.tolist(),
    )


def test_an_aggregator_and_its_plans_are_one_payer() -> None:
    left, right = sides(
        [{"payer_id": "1555555555"}, {"payer_id": "PLAN9"}, {"payer_id": "2"}],
        [{"payer_id": "341858386"}, {"payer_id": "3"}],
    )
    assert left[0] == left[1] == right[0]
    assert len({left[0], left[2], right[1], 0}) == 4


def test_a_rule_of_the_policy_joins_what_the_directory_has() -> None:
    policy = Policy(payers=(PayerRule(ids=("PLAN9", "1777777777")),))
    left, right = sides([{"payer_id": "1341858386"}], [{"payer_id": "DATED"}], policy)
    assert left == right


@pytest.mark.parametrize(("day", "same"), [(DAY, 0), (DAY + 1, 1), (None, 2)])
def test_a_payer_may_change_on_a_day(day: int | None, same: int) -> None:
    on = {"effective_date": day, "settlement_date": day}
    left, right = sides(
        [{"payer_id": "1777777777", "effective_date": DAY}, {"payer_id": "1666666666",
          "effective_date": DAY + 1}],
        [{"payer_id": "DATED", **on}],
    )  # fmt: skip
    assert [left[0] == right[0], left[1] == right[0]] == [same == 0, same == 1]


@pytest.mark.parametrize(
    ("row", "group"),
    [
        ({"company_id": "1555555555", "company_name": "OLD PLAN"}, "PLAN9"),
        ({"company_id": "77", "company_name": "OLD PLAN"}, "1777777777"),
        ({"company_id": "77", "company_name": "Old-Plan"}, "1777777777"),
        ({"company_id": "77", "company_name": "OLD PLAN", "effective_date": DAY + 1}, "77"),
        ({"company_id": "77", "company_name": "PAYING AGENT INC"}, "PLAN9"),
        ({"company_id": "77", "company_name": "PAYING AGENT INCORPORATED"}, "PLAN9"),
        ({"company_id": "77", "company_name": "PAYING AGENT IN"}, "77"),
        ({"company_id": "", "company_name": "SOMEBODY"}, ""),
        ({"company_id": "77", "payer_account": "021000021000099"}, "PLAN9"),
        ({"company_id": "77", "payer_account": "02100002199"}, "PLAN9"),
        ({"company_id": "77", "payer_account": "021000021990"}, "77"),
        ({"payer_id": "1999999999", "company_id": "PLAN9"}, "PLAN9"),
    ],
)
def test_what_stands_in_for_the_payer_of_a_payment(row: Row, group: str) -> None:
    policy = Policy(ignored_payer_ids=("1999999999",))
    left, right = sides([{"payer_id": group, "payer_name": ""}], [{"payer_id": "", **row}], policy)
    assert left == right
    assert (right == [0]) == (not group)


@pytest.mark.parametrize(
    ("row", "group"),
    [
        ({"originator": "PLAN9", "payer_name": "OLD PLAN"}, "PLAN9"),
        ({"originator": "77", "payer_name": "OLD PLAN"}, "77"),
        ({"originator": "000", "payer_name": "old plan"}, "1777777777"),
        ({"payer_name": "PAYING AGENT INC"}, ""),
        ({"payer_name": "PAYING AGENT, INCORPORATED"}, "PLAN9"),
        ({"payer_name": "OLD PLAN", "effective_date": DAY + 1}, ""),
    ],
)
def test_what_stands_in_for_the_payer_of_a_remittance(row: Row, group: str) -> None:
    known: Row = {"payer_id": group, "payer_name": ""}
    left, _ = sides([{"payer_id": "", **row}, known], [])
    assert left[0] == left[1]
    assert (left[0] == 0) == (not group)


def test_a_company_name_that_two_payers_have_when_cut_is_nobodys() -> None:
    text = payer('ids = ["1"]\nnames = ["BLUE PLAN OF THE NORTH"]') + payer(
        'ids = ["2"]\nnames = ["BLUE PLAN OF THE SOUTH"]'
    )
    rules = KeyRules(*payers.rules(Policy(), load_directory(text)))
    pool = payments(*({"payer_id": "", "company_id": "", "company_name": name}
                      for name in ("BLUE PLAN OF THE", "BLUE PLAN OF THE SOUTH")))  # fmt: skip
    found = payment_items(pool, rules, np.zeros(2, np.int64)).payer_group
    assert found[0] == 0
    assert found[1] == rules.payers.groups(*text_parts(TextColumn.from_values(["2"])))[0]


def test_an_identifier_that_the_policy_ignores_is_refused() -> None:
    with pytest.raises(DirectoryError, match=re.escape("payers[1].ids[1] is one of")):
        payers.rules(Policy(ignored_payer_ids=("PLAN9",)), load_directory(PAYERS))


def test_groups_that_opted_in_are_those_of_the_whole_payer() -> None:
    policy = Policy(
        payers=(PayerRule(ids=("Z",)), PayerRule(ids=("Y", "PLAN9"), auto_tiers=("T6",)))
    )
    table, _ = payers.rules(policy, load_directory(PAYERS))
    agent = table.groups(*text_parts(TextColumn.from_values(["1341858386"])))
    assert payers.opted_groups(policy, table, "T6").tolist() == agent.tolist()
    assert len(payers.opted_groups(Policy(), table, "T6")) == 0


def test_payers_of_one_directory_share_the_affixes_of_the_policy() -> None:
    policy = Policy(payers=(PayerRule(ids=("PLAN9",), trace_prefixes=("EH",)),))
    rules = KeyRules(*payers.rules(policy, load_directory(PAYERS)))
    hold = np.zeros(1, np.int64)
    a = remittance_items(remittances({"trace": "EH4711", "payer_id": "1341858386"}), rules, hold)
    b = payment_items(payments({"trace": "4711", "payer_id": "PLAN9"}), rules, hold)
    assert a.keys[0] == b.keys[0]


# ---- proposals ----


def groups_of(text: str, *ids: str) -> list[int]:
    table, _ = payers.rules(Policy(), load_directory(text))
    return [int(n) for n in table.groups(*text_parts(TextColumn.from_values([*ids])))]


def test_pairs_that_share_an_identifier_become_one_entry() -> None:
    text = propose(
        [
            Alias("1555555555", "1341858386", 'THE "PLAN"', "PAYING AGENT"),
            Alias("1341858386", "77"),
            Alias("8", "9"),
            Alias("0", "0", "NOBODY", "KNOWN"),
            Alias("6", "6"),
        ]
    )
    assert text.count("[[payers]]") == 2
    one, two, three, four, five = groups_of(text, "1555555555", "341858386", "77", "8", "9")
    assert one == two == three != four == five
    assert 'name = "PAYING AGENT"' in text


def test_the_order_of_pairs_does_not_matter() -> None:
    pairs = [Alias("1", "2"), Alias("3", "4"), Alias("2", "4", "N"), Alias("5", "6")]
    pairs += [Alias("1234567890", "7"), Alias("8", "23-4567890"), Alias("0", "8", "N-1")]
    pairs += [Alias("0", "8", "N 1")]
    assert propose(pairs) == propose(pairs[::-1])
    assert propose([]) == ""


def test_proposals_stand_beside_the_directory() -> None:
    directory = load_directory(PAYERS)
    assert propose([Alias("PLAN9", "1341858386")], directory) == ""
    text = propose([Alias("PLAN9", "NEW1"), Alias("NEW1", "1666666666")], directory)
    both = PAYERS + text
    one, two, three = groups_of(both, "PLAN9", "NEW1", "1341858386")
    assert one == two == three
    again = propose([Alias("NEW2", "PLAN9")], load_directory(both))
    assert len({*groups_of(both + again, "NEW1", "NEW2", "PLAN9")}) == 1


def test_a_name_is_proposed_where_there_is_no_identifier() -> None:
    text = propose([Alias("PLAN9", "", "The Plan", "AGENT\x1b OF PLAN")], load_directory(PAYERS))
    assert 'names = ["AGENT OF PLAN"]' in text
    directory = load_directory(PAYERS + text)
    assert isinstance(directory, Directory)
    assert _keys.payer_form_of(directory.payers[-1].plans[0].encode()) != b""
