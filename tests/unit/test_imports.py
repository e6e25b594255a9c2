"""Open items of another system: exact amounts, wrong rows told by place, the others taken."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import LimitError
from reassoc.core.match import match
from reassoc.core.statuses import MatchStatus, PaymentStatus, RemittanceStatus, Tier
from reassoc.stream import imports
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.imports import (
    COLUMNS,
    TEMPLATE,
    Imported,
    ImportFileError,
    read_import,
)
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM, payment_pool, remittance_pool

GOOD = {
    "side": "remittance",
    "reference": "R-1",
    "trace": "0012345678",
    "payer_id": "1234567890",
    "payer_name": "EXAMPLE HEALTH",
    "amount": "1200.00",
    "date": "2026-03-17",
    "payment_method": "ACH",
    "payee_npi": "1999999984",
    "payee_tin": "112223333",
    "payee_routing": "021000021",
    "payee_account": "5566778",
}


def file_of(*rows: dict[str, str], **options: Any) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, **options)
    writer.writeheader()
    writer.writerows(GOOD | row for row in rows)
    return out.getvalue().encode()


def told(found: Imported) -> list[str]:
    return [str(problem) for problem in found.problems]


def pair(found: Imported) -> Any:
    left = remittance_pool(found.remittances, np.full(len(found.remittances["trace"]), -1, "i4"))
    calendar = federal_reserve_calendar()
    return match(left, payment_pool(found.payments), calendar=calendar, as_of=30_000)


def test_the_template_is_two_items_that_match() -> None:
    data = TEMPLATE.encode()
    found = read_import(data)
    assert found.problems == []
    assert found.digest == blake3(data).digest()
    left, right = found.remittances, found.payments
    assert (len(left["trace"]), len(right["trace"])) == (1, 1)
    for columns in (left, right):
        assert columns["id_digest"][0] == int.from_bytes(found.digest[:8], "little")
        row = data[int(columns["id_offset"][0]) :].split(b",")[0]
        assert row == (b"remittance" if columns is left else b"payment")
    assert (left["start"][0], left["stop"][0], left["carrier_offset"][0]) == (-1, -1, -1)
    assert left["payee_entity_qualifier"][0] == b"XX"
    assert right["effective_date"][0] == DATE_NONE
    result = pair(found)
    assert (result.status.tolist(), result.tier.tolist()) == ([MatchStatus.AUTO], [Tier.T1])
    assert result.release.tolist() == [True]


def test_items_travel_on_the_log_as_they_are() -> None:
    found = read_import(file_of({}, {"side": "payment"}, {"trace": ""}))
    for schema, columns in (
        (REMITTANCE_ITEM, found.remittances),
        (PAYMENT_ITEM, found.payments),
    ):
        back = schema.unpack(schema.pack(columns))
        for name in schema.types:
            assert list(back[name]) == list(columns[name]), name


def test_rows_are_as_open_as_they_were_elsewhere() -> None:
    """Without a trace, of every rail, and imported once more: nothing is lost or paid twice."""
    rows = [
        {"trace": "", "side": "payment", "reference": "P-1"},
        {"trace": "", "side": "payment", "reference": "P-2"},
        {"side": "payment", "payment_method": "CHK", "trace": "70071"},
        {"side": "remittance", "payment_method": "FWT", "trace": "9"},
    ]
    once = read_import(file_of(*rows))
    result = pair(once)
    assert result.payment_status.tolist() == [PaymentStatus.UNMATCHED] * 3
    assert result.remittance_status.tolist() == [RemittanceStatus.AWAITING_WIRE]
    again = read_import(file_of(*rows, lineterminator="\n"))
    assert again.digest != once.digest
    left, right = (
        {name: schema.concat([one, two])[name] for name in schema.types}
        for schema, one, two in (
            (REMITTANCE_ITEM, once.remittances, again.remittances),
            (PAYMENT_ITEM, once.payments, again.payments),
        )
    )
    both = pair(Imported(left, right, b"", [], 0))
    assert (
        sorted(both.payment_status.tolist())
        == [PaymentStatus.DUPLICATE] * 3 + [PaymentStatus.UNMATCHED] * 3
    )
    assert sorted(both.remittance_status.tolist()) == [
        RemittanceStatus.DUPLICATE,
        RemittanceStatus.AWAITING_WIRE,
    ]


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("side", "both", "must be remittance or payment"),
        ("amount", "", "must be dollars"),
        ("amount", "1,200.00", "must be dollars"),
        ("amount", "-5.00", "must be dollars"),
        ("amount", "1.005", "must be dollars"),
        ("amount", "1e3", "must be dollars"),
        ("amount", "\u0661\u0662", "must be dollars"),
        ("amount", "10000000000000", "must be dollars"),
        ("amount", "0.00", "more than 0"),
        ("date", "03/17/2026", "must be a day"),
        ("date", "2026-02-30", "no such day"),
        ("payment_method", "CCC", "one of ACH, CHK, FWT"),
        ("payee_npi", "199999998", "an NPI: 10 digits"),
        ("payee_tin", "11-2223333", "a tax number: 9 digits"),
        ("payee_routing", "021000022", "check digit"),
        ("trace", "secret" * 10, "60 characters, more than 50"),
        ("payer_name", "secret\x07", "cannot be printed"),
        ("payee_account", "secret\udcff", "no UTF-8"),
    ],
)
def test_a_wrong_value_is_told_by_its_place_only(column: str, value: str, what: str) -> None:
    text = file_of({}, {}).decode().replace(GOOD[column], "@", 1)
    good, marked = text.split("\r\n")[2], text.split("\r\n")[1].replace("@", f'"{value}"', 1)
    assert "@" not in marked
    data = "\r\n".join([",".join(COLUMNS), good, marked, good, ""])
    found = read_import(data.encode("utf-8", "surrogateescape"))
    assert len(found.remittances["trace"]) == 2
    assert len(told(found)) == found.problem_count == 1
    assert told(found)[0].startswith(f"line 3, {column}: ")
    assert what in told(found)[0]
    assert "secret" not in told(found)[0]


def test_rows_that_cannot_be_parted_cost_only_themselves() -> None:
    header, row = file_of({}).decode().split("\r\n")[:2]
    data = "\n".join([header, row, row + ",more", "", ",,", row, 'remittance,"R"x,1', row, '"open'])
    found = read_import(data.encode())
    assert told(found) == [
        "line 3: 13 fields, and the header has 12",
        "line 7: a quoted field does not end, or has no comma (to line 7)",
        "line 9: a quoted field does not end, or has no comma (to line 9)",
    ]
    assert len(found.remittances["trace"]) == 3
    offsets = found.remittances["id_offset"].tolist()
    assert [data[offset : offset + len(row)] for offset in offsets] == [row] * 3


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("", "no column side, amount, date"),
        ("side,amount", "no column date"),
        ("side,amount,date,secret", "field 4: no known column"),
        ("side,amount,date,side", "field 4: side stands there twice"),
        ('"side', "cannot be parted"),
    ],
)
def test_a_file_without_its_header_is_no_import(header: str, what: str) -> None:
    with pytest.raises(ImportFileError, match=what) as caught:
        read_import(f"{header}\nx\n".encode())
    assert "secret" not in str(caught.value)


def test_columns_may_stand_in_any_order_and_be_missing() -> None:
    data = "\ufeff Date ,AMOUNT,side\r\n2026-03-17,.5,payment\r\n2026-03-17,0.5,Payment\r\n"
    found = read_import(data.encode())
    assert told(found) == [
        "line 2, amount: must be dollars and cents, written as 1200.50, without signs and commas"
    ]
    assert found.payments["amount_cents"].tolist() == [50]
    assert found.payments["ordinal"].tolist() == [1]


def test_limits_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "PROBLEMS_MAX", 2)
    found = read_import(file_of(*[{"amount": "x"}] * 5))
    assert (len(found.problems), found.problem_count) == (2, 5)
    monkeypatch.setattr(imports, "IMPORT_ROWS_MAX", 4)
    with pytest.raises(LimitError, match="IMPORT_ROWS_MAX"):
        read_import(file_of(*[{}] * 5))
    monkeypatch.setattr(imports, "IMPORT_BYTES_MAX", 40)
    with pytest.raises(LimitError, match="IMPORT_BYTES_MAX"):
        read_import(file_of({}))


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


@given(
    rows=st.lists(st.tuples(st.integers(1, 10**15 - 1), _TEXT, st.booleans()), max_size=8),
    end=st.sampled_from(["\r\n", "\n"]),
)
def test_amounts_and_places_are_exact(rows: list[tuple[int, str, bool]], end: str) -> None:
    data = file_of(
        *(
            {
                "amount": str(Decimal(cents) / 100),
                "payer_name": name,
                "side": "payment" if paid else "remittance",
            }
            for cents, name, paid in rows
        ),
        lineterminator=end,
    )
    found = read_import(data)
    expected: dict[bool, list[int]] = {False: [], True: []}
    bad = 0
    for cents, name, paid in rows:
        if name.strip().isprintable():
            expected[paid].append(cents)
        else:
            bad += 1
    assert found.problem_count == bad
    assert found.remittances["paid_cents"].tolist() == expected[False]
    assert found.payments["amount_cents"].tolist() == expected[True]
    for columns in (found.remittances, found.payments):
        for offset in columns["id_offset"].tolist():
            assert data[offset - len(end) : offset] == end.encode()
