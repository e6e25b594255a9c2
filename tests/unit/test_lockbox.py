"""Lockbox lists by their layout: forms, fields, totals, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reassoc.core import lockbox
from reassoc.core._lockbox_values import AmountForm, DateForm
from reassoc.core.ach import EntryKind
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode, LayoutError, LimitError, ParseError
from reassoc.core.lockbox import LockboxLayout, LockboxList, read_lockbox
from reassoc.core.statuses import PaymentSource
from reassoc.stream.layouts import layout_of, load_layout

DOCS = Path(__file__).parents[2] / "docs"
DELIMITED = """
name = "Example"
format = "csv"
header_rows = 1
[recognise]
names = ["*.csv"]
first_line = "^Check No,"
[fields]
check_number = { column = "Check No" }
amount = { column = "Amount" }
deposit_date = { column = "Date", format = "M/D/YYYY" }
deposit = { column = "Batch" }
payer_id = { column = 5 }
payer_name = { column = "Remitter" }
payer_routing = { column = "RT" }
payer_account = { column = "Acct" }
payee_account = { value = "5566778" }
payee_routing = { value = "021000021" }
"""
LIST = b"""Check No,Amount,Date,Batch,Id,Remitter,RT,Acct
0001,"1,200.00",3/16/2026,7,1234567890,"EXAMPLE, INC",021000089,12-34
0002,$50.5,12/1/2026,7,,CAF\xc3\x89 HEALTH,,
"""
FIXED = """
name = "Example"
format = "fixed"
record_type = { start = 1, length = 1 }
detail_types = ["6"]
skipped_types = ["1"]
[recognise]
first_line = "^1EXAMPLE"
[fields]
amount = { start = 2, length = 10, form = "implied" }
check_number = { start = 12, length = 6 }
[[headers]]
types = ["5"]
[headers.fields]
deposit_date = { start = 2, length = 6, format = "YYMMDD" }
deposit = { start = 8, length = 3 }
[[totals]]
types = ["7"]
scope = "batch"
count = { start = 2, length = 4 }
amount = { start = 6, length = 12, form = "implied" }
[[totals]]
types = ["9"]
count = { start = 2, length = 4 }
"""
RECORDS = (
    "1EXAMPLE BANK",
    "5260316007",
    "60000120000000101",
    "60000005050000102",
    "70002000000125050",
    "5260317008",
    "60000000100000103",
    "70001000000000100",
    "90003",
)


def layout(text: str, **changes: Any) -> LockboxLayout:
    raw = msgspec.toml.decode(text.encode())
    return msgspec.convert({**raw, **changes}, LockboxLayout)


def codes(listed: LockboxList) -> list[str]:
    return [FindingCode(code).name for code in listed.findings.code.tolist()]


def delimited(data: bytes, **changes: Any) -> LockboxList:
    return read_lockbox(data, layout(DELIMITED, **changes))


def fixed(*records: str, end: str = "\n", **changes: Any) -> LockboxList:
    return read_lockbox((end.join(records) + end).encode(), layout(FIXED, **changes))


def test_a_delimited_list() -> None:
    listed = delimited(LIST)
    assert codes(listed) == []
    assert listed.items.row(0) == {
        "offset": LIST.index(b"0001"), "row_number": 2, "amount_cents": 120000,
        "deposit_date": 20528, "payee_routing": 21000021, "valid": True, "check_number": "0001",
        "deposit": "7", "payer_id": "1234567890", "payer_name": "EXAMPLE, INC",
        "payer_routing": "021000089", "payer_account": "12-34", "payee_account": "5566778",
        "trace": "",
    }  # fmt: skip
    assert listed.items.amount_cents.tolist() == [120000, 5050]
    assert listed.items.payer_name[1] == "CAF\u00c9 HEALTH"


def test_line_ends_and_marks_say_nothing() -> None:
    for data in (b"\xef\xbb\xbf" + LIST, LIST.replace(b"\n", b"\r\n\r\n"), LIST.rstrip()):
        assert delimited(data).items.amount_cents.tolist() == [120000, 5050]


def test_a_fixed_list_with_headers_and_totals() -> None:
    listed = fixed(*RECORDS)
    assert codes(listed) == []
    items = listed.items
    assert items.check_number.to_list() == ["000101", "000102", "000103"]
    assert items.amount_cents.tolist() == [120000, 5050, 100]
    assert items.deposit_date.tolist() == [20528, 20528, 20529]
    assert items.deposit.to_list() == ["007", "007", "008"]
    assert items.valid.all()


def test_each_header_has_its_own_form_of_date() -> None:
    headers = [
        {
            "types": [kind],
            "fields": {"deposit_date": {"start": 2, "length": 8, "format": form}},
        }
        for kind, form in (("5", "YYYYMMDD"), ("4", "MMDDYYYY"))
    ]
    records = [RECORDS[0], "520260316", RECORDS[2], "403172026", RECORDS[3]]
    listed = fixed(*records, headers=headers, totals=[])
    assert codes(listed) == []
    assert listed.items.deposit_date.tolist() == [20528, 20529]


def test_records_of_a_stated_length_need_no_line_ends() -> None:
    flat = "".join(record.ljust(20) for record in RECORDS)
    listed = read_lockbox(flat.encode(), layout(FIXED, record_bytes=20))
    assert codes(listed) == []
    assert listed.items.amount_cents.tolist() == [120000, 5050, 100]
    assert listed.items.offset.tolist() == [40, 60, 120]


def test_totals_are_checked_by_batch_and_file() -> None:
    records = list(RECORDS)
    records[4] = "70003000000125051"
    listed = fixed(*records)
    assert codes(listed) == ["LOCKBOX_TOTAL_COUNT", "LOCKBOX_TOTAL_AMOUNT"]
    assert listed.items.valid.tolist() == [False, False, True]
    records[4], records[8] = "7000X000000125050", "90004"
    listed = fixed(*records)
    assert codes(listed) == ["LOCKBOX_TOTAL_BAD", "LOCKBOX_TOTAL_COUNT"]
    assert not listed.items.valid.any()


def test_wrong_rows_cost_only_themselves() -> None:
    rows = [
        (b"0003,1.234,3/16/2026,7,,,,", "LOCKBOX_AMOUNT_BAD", False),
        (b"0003,,3/16/2026,7,,,,", "LOCKBOX_AMOUNT_BAD", False),
        (b"0003,-1.00,3/16/2026,7,,,,", "LOCKBOX_AMOUNT_NEGATIVE", False),
        (b"0003", "LOCKBOX_ROW_SHORT", False),
        (b"0003,1.00,3/16/2026,7,,,,,stray", "LOCKBOX_ROW_LONG", False),
        (b"0003,1.00,16.3.2026,7,,,,", "LOCKBOX_DATE_BAD", True),
        (b",1.00,3/16/2026,7,,,,", "LOCKBOX_NUMBER_MISSING", True),
        (b"0003,1.00,3/16/2026,7,,\xff,,", "LOCKBOX_TEXT_BAD", True),
    ]
    for row, code, valid in rows:
        listed = delimited(LIST + row + b"\n0009,9.00,3/16/2026,7,,,,\n")
        assert codes(listed) == [code]
        assert listed.findings.file_offset.tolist() == [len(LIST)]
        assert listed.findings.record_number.tolist() == [4]
        assert listed.items.valid.tolist() == [True, True, valid, True]
    for amount in (b"$1,234.50", b"1,234"):
        parted = delimited(LIST + b"0003," + amount + b",3/16/2026,7,,,,\n")
        assert "LOCKBOX_ROW_LONG" in codes(parted)
        assert parted.items.valid.tolist() == [True, True, False]
    assert codes(delimited(LIST + b"0003,1.00,3/16/2026,7,,,,,,\n")) == []
    routing = {"amount": {"column": "Amount"}, "payee_routing": {"column": "RT"}}
    assert "LOCKBOX_ROUTING_BAD" in codes(
        delimited(LIST.replace(b"021000089", b"021000088"), fields=routing)
    )
    assert codes(fixed(*RECORDS, "8")) == ["LOCKBOX_RECORD_UNKNOWN"]
    assert "0003" not in delimited(LIST + b"0003,x,,,,,,").message(0)


def test_quoted_fields_may_hold_a_line_end_and_broken_ones_cost_only_their_line() -> None:
    two_lines = b'0003,1.00,3/16/2026,7,,"A\nB",,\n'
    listed = delimited(LIST + two_lines + b"0004,2.00,3/16/2026,7,,,,\n")
    assert (codes(listed), listed.items.amount_cents.tolist()[2:]) == ([], [100, 200])
    behind = [
        b"0004,2.00,3/16/2026,7,,,,\n",
        b'0004,2.00,3/16/2026,7,,"B, INC",,\n',
        b'"0004","2.00",3/16/2026,7,,,,\n',
        b'0004,2.00,3/16/2026,7,"",,,\n',
    ]
    for row in behind:
        broken = delimited(LIST + b'0003,"1.00,3/16/2026,7,,,,\n' + row + behind[0])
        assert codes(broken) == ["LOCKBOX_ROW_BROKEN"]
        assert broken.items.check_number.to_list() == ["0001", "0002", "0004", "0004"]
        assert broken.findings.file_offset.tolist() == [len(LIST)]
    last = delimited(LIST + b'0003,"1.00,3/16/2026,7,,,,\n')
    assert codes(last) == ["LOCKBOX_ROW_BROKEN"]


def test_a_quote_within_a_field_opens_nothing() -> None:
    rows = (b'0003,1.00,,7,,O"BRIEN,,\n', b'0004,2.00,,7,,12" PIPE,,\n', b"0005,3.00,,7,,C,,\n")
    for given in (rows, rows[:1] + rows[2:], rows[1:]):
        listed = delimited(LIST + b"".join(given))
        assert codes(listed) == []
        assert listed.items.check_number.to_list()[2:] == [row[:4].decode() for row in given]
    assert delimited(LIST + rows[0]).items.payer_name[2] == 'O"BRIEN'


def test_bytes_that_are_no_text_in_the_second_line_of_a_row_are_told() -> None:
    listed = delimited(LIST + b'0003,1.00,,7,,"A\n\xff",,\n')
    assert codes(listed) == ["LOCKBOX_TEXT_BAD"]


def test_input_without_rows_or_columns_is_refused() -> None:
    for data, code in (
        (b"", FindingCode.LOCKBOX_NO_ROWS),
        (LIST.splitlines()[0], FindingCode.LOCKBOX_NO_ROWS),
        (LIST.replace(b"Amount", b"Sum"), FindingCode.LOCKBOX_COLUMN_MISSING),
    ):
        with pytest.raises(ParseError) as caught:
            delimited(data)
        assert caught.value.code is code


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    long = LIST + b"0003," + b"1" * 70000 + b",,,,,,\n"
    assert codes(delimited(long)) == ["LOCKBOX_ROW_BROKEN"]
    monkeypatch.setattr(lockbox, "LOCKBOX_BYTES_MAX", 10)
    with pytest.raises(LimitError, match="LOCKBOX_BYTES_MAX"):
        delimited(LIST)


def test_items_as_payments() -> None:
    pool = lockbox.payments(delimited(LIST), digest=9)
    assert pool.trace.to_list() == ["0001", "0002"]
    assert pool.source.tolist() == [PaymentSource.CHECK] * 2
    assert pool.kind.tolist() == [EntryKind.CREDIT] * 2
    assert pool.payer_id.to_list() == ["1234567890", ""]
    assert pool.company_name.to_list() == ["EXAMPLE, INC", "CAF\u00c9 HEALTH"]
    assert pool.payer_account.to_list() == ["0210000891234", ""]
    assert pool.account.to_list() == ["5566778"] * 2
    assert pool.rdfi_routing.tolist() == [21000021] * 2
    assert pool.deposit.to_list() == ["7", "7"]
    assert pool.settlement_date.tolist() == [20528, 20788]
    assert pool.effective_date.tolist() == [DATE_NONE] * 2
    for name in ("report", "ach_trace", "odfi", "original_trace", "original_rdfi", "return_trace"):
        assert getattr(pool, name).tolist() == [-1, -1], name
    wires = lockbox.payments(delimited(LIST, source="wire"))
    assert wires.source.tolist() == [PaymentSource.WIRE] * 2


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("1", 100), ("1.", 100), (".5", 50), ("1.20", 120), ("1,234.56", 123456), ("$7.00", 700),
        ("(1.00)", -100), ("-1.00", -100), ("1.00-", -100), ("1.2300", 123), ("0", 0),
        ("9999999999999.99", 999999999999999),
        ("1.234", None), ("", None), (".", None), ("1,23.00", None), ("1 000", None), ("x", None),
        ("(1.00", None), ("1e5", None), ("99999999999999.00", None), ("\u0661", None),
        ("--1", None), ("0" * 9000 + "12.30", 1230), ("-" + "0" * 9000, 0),
    ],
)  # fmt: skip
def test_amounts_are_exact(text: str, cents: int | None) -> None:
    assert AmountForm("decimal", 2).cents(text) == cents


def test_implied_decimals() -> None:
    assert AmountForm("implied", 2).cents("000012345") == 12345
    assert AmountForm("implied", 2).cents("5") == 5
    assert AmountForm("implied", 2).cents("0" * 9000 + "5") == 5
    assert AmountForm("implied", 0).cents("5") == 500
    assert AmountForm("implied", 4).cents("12300") == 123
    assert AmountForm("implied", 4).cents("12345") is None
    assert AmountForm("implied", 2).cents("1.00") is None


def test_dates() -> None:
    for form, text in (
        ("YYYYMMDD", "20260316"), ("YYMMDD", "260316"), ("MM/DD/YYYY", "03/16/2026"),
        ("M/D/YY", "3/16/26"), ("DD.MM.YYYY", "16.03.2026"), ("YYYY-MM-DD", "2026-03-16"),
    ):  # fmt: skip
        assert DateForm(form).days(text) == 20528
        assert DateForm(form).days("x") is None
    assert DateForm("YYYYMMDD").days("20260231") is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"recognise": {}}, "recognise"),
        ({"recognise": {"first_line": "("}}, "recognise.first_line"),
        ({"delimiter": ""}, "delimiter"),
        ({"header_rows": -1}, "header_rows"),
        ({"header_rows": 0}, "fields.check_number.column"),
        ({"record_bytes": -1}, "record_bytes"),
        ({"fields": {}}, "fields.amount"),
        ({"fields": {"amount": {}}}, "fields.amount"),
        ({"fields": {"amount": {"column": 0}}}, "fields.amount.column"),
        ({"fields": {"amount": {"column": 1, "value": "1"}}}, "fields.amount"),
        ({"fields": {"amount": {"start": 1}}}, "fields.amount"),
        ({"fields": {"amount": {"start": 1, "length": 1}}}, "fields.amount.start"),
        ({"fields": {"amount": {"column": 1, "decimals": 9}}}, "fields.amount.decimals"),
        ({"detail_types": ["6"]}, "record_type"),
        ({"record_type": {"column": 1}}, "detail_types"),
        (
            {"record_type": {"column": 1}, "detail_types": ["6"], "skipped_types": ["6"]},
            "skipped_types",
        ),
        (
            {"fields": {"amount": {"column": 1}, "deposit_date": {"column": 2, "format": "YYYY"}}},
            "fields.deposit_date.format",
        ),
    ],
)
def test_a_layout_that_cannot_be_used_names_its_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises((LayoutError, msgspec.ValidationError), match=re.escape(key)):
        layout(DELIMITED, **changes)


@pytest.mark.parametrize("place", [{"start": 0, "length": 9}, {"start": 2, "length": 0}])
def test_places_count_from_one_and_have_a_length(place: dict[str, int]) -> None:
    with pytest.raises(LayoutError, match=re.escape("fields.amount must lie within")):
        layout(FIXED, fields={"amount": place})


def test_layout_files_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "layout.toml"
    path.write_text(DELIMITED)
    assert load_layout(path).name == "Example"
    for text, words in (
        (DELIMITED + "colour = 7", "colour"),
        (DELIMITED.replace('"csv"', '"xls"'), "key format"),
        (DELIMITED.replace("header_rows = 1", "header_rows = 900"), "key header_rows"),
        ("a = = b", "not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(LayoutError, match=words) as caught:
            load_layout(path)
        assert str(path) in str(caught.value)
    with pytest.raises(LayoutError, match="cannot be read"):
        load_layout(tmp_path / "none")


def test_a_layout_recognises_its_files() -> None:
    one = layout(DELIMITED)
    assert one.fits("a/b/X.CSV", LIST)
    assert one.fits("x.zip!lists/x.csv", b"\xef\xbb\xbf" + LIST)
    assert not one.fits("x.txt", LIST)
    assert not one.fits("x.csv", b"Amount,Check No\n")
    assert layout_of([layout(FIXED), one], "x.csv", LIST) is one
    assert layout_of([layout(FIXED)], "x.csv", LIST) is None


def test_the_layouts_that_the_page_shows_are_layouts() -> None:
    page = (DOCS / "LOCKBOX.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    assert {layout(block).format for block in blocks} == {"csv", "fixed"}
    for struct in (lockbox.LockboxLayout, lockbox.Fields, lockbox.AmountPlace, lockbox.DatePlace):
        for name in struct.__struct_fields__:
            assert re.search(rf"\b{name}\b", page), name
