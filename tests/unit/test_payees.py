"""Payees of items: by account without a directory, by every identifier with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import DAY, payments, remittances

from reassoc.core import _payees
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.directory import Directory, load_directory
from reassoc.core.matching.holders import DAY_FIRST, DAY_LAST, Holders
from reassoc.core.matching.payees import Identities, identify
from reassoc.core.pool import text_parts
from reassoc.core.statuses import Reason

Row = dict[str, Any]
UNKNOWN, CONTRADICTION = int(Reason.UNKNOWN_PAYEE), int(Reason.PAYEE_CONTRADICTION)

DIRECTORY = """
[[payees]]
name = "River Clinic"
tenant = "north"
tins = ["112223333"]
npis = ["1999999984"]
accounts = [
    { routing = "021000021", account = "5566778" },
    { routing = "021000021", account = "888", until = 2026-03-15 },
]

[[payees]]
name = "Hill Clinic"
tenant = "south"
tins = ["44-5556666"]
npis = ["1888888882"]
aggregation = "NPI"
accounts = [
    { routing = "021000021", account = "00-42a" },
    { routing = "021000021", account = "888", from = 2026-03-16 },
]

[[payees]]
name = "Hill Clinic, the other"
tins = ["445556666"]
npis = ["1777777771"]
aggregation = "NPI"
accounts = [{ routing = "026009593", account = "42A" }]
"""
NOTHING = {"payee_bank": "", "payee_account": "", "payee_entity_id": "", "payee_tin": ""}


def identities(left: list[Row], right: list[Row], directory: Directory | None = None) -> Identities:
    a, b = remittances(*left), payments(*right)
    return identify(a, b, a.effective_date, b.effective_date, directory)


@pytest.fixture(scope="module")
def directory() -> Directory:
    return load_directory(DIRECTORY)


@pytest.mark.parametrize(
    ("remittance", "payment", "same"),
    [
        ({}, {}, True),
        ({"payee_account": "0005566778"}, {}, True),
        ({"payee_account": "55-66 778"}, {"account": "005566778"}, True),
        ({"payee_account": "x1"}, {"account": "X1"}, True),
        ({"payee_account": "5566779"}, {}, False),
        ({"payee_bank": "021-000-021"}, {}, True),
        ({"payee_bank": "021000022"}, {}, False),
        ({"payee_account": "55667780"}, {}, False),
    ],
)
def test_without_a_directory_a_payee_is_a_bank_and_an_account(
    remittance: Row, payment: Row, same: bool
) -> None:
    found = identities([remittance], [payment])
    assert (found.left_payee[0] == found.right_payee[0]) is np.bool_(same)
    assert found.left_payee[0] != 0
    assert found.tenants == ("default",)
    assert not found.left_tenant.any()
    assert not found.left_reason.any()


@pytest.mark.parametrize(
    "missing",
    [
        {"payee_bank": ""},
        {"payee_bank": "21000021"},
        {"payee_bank": "0210000211"},
        {"payee_bank": "02100002X"},
        {"payee_bank": "000000000"},
        {"payee_account": ""},
        {"payee_account": "000"},
        {"payee_account": "9" * 65},
    ],
)
def test_an_account_that_lacks_a_part_is_unknown(missing: Row) -> None:
    found = identities([missing], [{"rdfi_routing": -1}, {"rdfi_routing": 0}, {"account": "-"}])
    assert found.left_payee.tolist() == [0]
    assert found.right_payee.tolist() == [0, 0, 0]
    assert not found.left_reason.any()
    assert not found.right_reason.any()


@pytest.mark.parametrize(
    ("row", "payee"),
    [
        ({}, 1),
        ({**NOTHING, "payee_bank": "021000021", "payee_account": "5566778"}, 1),
        ({**NOTHING, "payee_entity_id": "1999999984"}, 1),
        ({**NOTHING, "payee_tin": "11-2223333"}, 1),
        ({**NOTHING, "payee_entity_id": "112223333", "payee_entity_qualifier": "FI"}, 1),
        ({"payee_tin": "999999999", "payee_entity_id": "1234567893"}, 1),
        ({**NOTHING, "payee_entity_id": "1888888882", "payee_tin": "445556666"}, 2),
        ({**NOTHING, "payee_entity_id": "1777777771", "payee_tin": "445556666"}, 3),
        ({**NOTHING, "payee_bank": "021000021", "payee_account": "42A"}, 2),
        ({**NOTHING, "payee_bank": "026009593", "payee_account": "42A"}, 3),
    ],
)
def test_every_identifier_can_tell_the_payee(directory: Directory, row: Row, payee: int) -> None:
    found = identities([row], [], directory)
    assert found.left_payee.tolist() == [payee]
    assert found.left_reason.tolist() == [0]
    tenant = directory.payees[payee - 1].tenant
    assert found.tenants[found.left_tenant[0]] == tenant


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (NOTHING, UNKNOWN),
        ({**NOTHING, "payee_tin": "445556666"}, UNKNOWN),  # two payees have it
        ({**NOTHING, "payee_entity_id": "1999999984", "payee_entity_qualifier": "FI"}, UNKNOWN),
        ({**NOTHING, "payee_entity_id": "112223333", "payee_entity_qualifier": "XX"}, UNKNOWN),
        ({"payee_entity_id": "1888888882"}, CONTRADICTION),
        ({"payee_tin": "445556666"}, CONTRADICTION),
        ({"payee_entity_id": "445556666", "payee_entity_qualifier": "FI"}, CONTRADICTION),
        ({**NOTHING, "payee_entity_id": "1888888882", "payee_tin": "112223333"}, CONTRADICTION),
    ],
)
def test_who_cannot_be_told_is_quarantined(directory: Directory, row: Row, reason: int) -> None:
    found = identities([row], [], directory)
    assert found.left_payee.tolist() == [0]
    assert found.left_reason.tolist() == [reason]


@pytest.mark.parametrize(
    ("day", "payee"), [(DAY - 1, 1), (DAY, 2), (DAY + 1, 2), (DAY - 5000, 1), (None, 0)]
)
def test_accounts_change_hands_on_a_day(directory: Directory, day: int | None, payee: int) -> None:
    row = {**NOTHING, "payee_bank": "021000021", "payee_account": "888", "effective_date": day}
    found = identities([row], [{"account": "888", "effective_date": day}], directory)
    assert found.left_payee.tolist() == [payee]
    assert found.right_payee.tolist() == [payee]
    assert found.right_reason.tolist() == [0 if payee else UNKNOWN]


def test_payments_are_told_by_their_account(directory: Directory) -> None:
    rows: list[Row] = [
        {},
        {"account": "42A"},
        {"account": "42A", "rdfi_routing": 26009593},
        {"account": "1"},
        {"source": 1, "rdfi_routing": -1},
        {"source": 1, "rdfi_routing": -1, "account": "42A"},  # at two banks, of two payees
        {"source": 1, "rdfi_routing": -1, "account": "888", "effective_date": DAY - 1},
        {"source": 1, "rdfi_routing": -1, "account": "888"},
    ]
    found = identities([], rows, directory)
    assert found.right_payee.tolist() == [1, 2, 3, 0, 1, 0, 1, 2]
    assert (found.right_reason == UNKNOWN).tolist() == [payee == 0 for payee in found.right_payee]


def test_repr_of_a_directory_shows_counts_only(directory: Directory) -> None:
    assert repr(directory) == "<Directory: 3 payees, 0 payers>"


# ---- against a plain twin ----


DAYS = st.one_of(st.none(), st.integers(0, 9))
HOLDINGS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), DAYS, DAYS, st.booleans()), max_size=12
)


@given(HOLDINGS, st.lists(st.tuples(st.integers(0, 4), DAYS, st.integers(0, 4)), max_size=20))
def test_holders_are_those_of_the_twin(
    holdings: list[tuple[int, int, int | None, int | None, bool]],
    asked: list[tuple[int, int | None, int]],
) -> None:
    decides = {payee: decide for _, payee, _, _, decide in holdings}
    rows = [
        (value, payee, DAY_FIRST if first is None else first, DAY_LAST if last is None else last)
        for value, payee, first, last, _ in holdings
        if first is None or last is None or first <= last
    ]
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    holders = Holders(
        [str(value) for value in columns[0]], None, columns[1], columns[2], columns[3],
        [decides[payee] for payee in columns[1]],
    )  # fmt: skip

    def held_by(value: int, day: int) -> set[int]:
        return {p for v, p, first, last in rows if v == value and first <= day <= last}

    numbers = holders.number(TextColumn.from_values([str(value) for value, _, _ in asked]))
    days = np.array([DATE_NONE if day is None else day for _, day, _ in asked], np.int32)
    payees = np.array([payee for _, _, payee in asked], np.uint32)
    sole = holders.payee(numbers, days).tolist()
    wrong = holders.contradicts(numbers, payees, days).tolist()
    for at, (value, day, payee) in enumerate(asked):
        moments = range(-1, 11) if day is None else [day]
        alone = {
            next(iter(found))
            for found in (held_by(value, moment) for moment in moments)
            if len(found) == 1 and decides[next(iter(found))]
        }
        assert sole[at] == (next(iter(alone)) if len(alone) == 1 else 0)
        holding = {found for moment in moments for found in held_by(value, moment)}
        assert wrong[at] == bool(payee and holding and payee not in holding)
    clashes = any(
        sum(decides[payee] for payee in held_by(value, day)) > 1
        for value in range(1, 4)
        for day in range(-1, 11)
    )
    assert (holders.clash is not None) == clashes


@given(st.lists(st.binary(max_size=70)), st.booleans())
def test_identifiers_are_numbered_by_their_form(values: list[bytes], is_account: bool) -> None:
    def form(value: bytes) -> bytes:
        text = bytes(b for b in value.upper() if b >= 0x80 or chr(b).isalnum())
        text = text.lstrip(b"0") if is_account else text
        return text if len(text) <= _payees.IDENTIFIER_BYTES_MAX else b""

    table = _payees.Identifiers()
    column = text_parts(TextColumn.from_values(values))
    numbers = table.number(*column, is_account=is_account).tolist()
    forms: dict[bytes, int] = {b"": 0}
    assert numbers == [forms.setdefault(form(value), len(forms)) for value in values]
    assert len(table) == len(forms)
    again = table.number(*column, is_account=is_account, may_add=False)
    assert again.tolist() == numbers


def test_many_identifiers_grow_the_table() -> None:
    values = [str(10**30 + i * i) if i % 3 else str(i + 1) for i in range(5000)]
    column = text_parts(TextColumn.from_values(values))
    table = _payees.Identifiers()
    numbers = table.number(*column)
    assert len(np.unique(numbers)) == 5000
    assert (table.number(*column, may_add=False) == numbers).all()


def test_references_outside_of_the_source_are_refused() -> None:
    source, refs = np.zeros(4, np.uint8), np.array([[2, 3]], np.uint32)
    for call in (_payees.Identifiers().number, _payees.routings):
        with pytest.raises(ValueError, match="outside"):
            call(source, refs)
    with pytest.raises(ValueError, match="lengths"):
        _payees.Identifiers().number(source, refs, np.zeros(2, np.int32))
