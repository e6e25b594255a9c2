"""Bank reports: every record, and what banks make of them."""

from __future__ import annotations

import datetime

import pytest
from bai2_build import ACCOUNT, GROUP, HEADER, detail, report

from reassoc.core import _bai2_fields, _bai2_reader, bai2
from reassoc.core.bai2 import BankReports, Direction, GroupStatus, direction_of, read_bai2
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode, LimitError, ParseError


def day(text: str) -> int:
    return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days


def codes(reports: BankReports) -> list[str]:
    return [FindingCode(code).name for code in reports.findings.code.tolist()]


def texts(data: bytes) -> list[list[bytes]]:
    return read_bai2(data).text_lines()


def test_every_record_gives_its_columns() -> None:
    reports = read_bai2(report(*detail(1250, "PAID", bank="B1", customer="C1"), total=1250))
    assert codes(reports) == []
    assert reports.files.row(0) == {
        "offset": 0, "sender": "122099999", "receiver": "ME", "creation_date": day("2026-03-16"),
        "creation_time": 8 * 60 + 29, "file_id": "1", "record_bytes": 80, "block_records": 0,
        "group_start": 0, "group_stop": 1, "declared_group_count": 1, "total_cents": 1350,
        "declared_total_cents": 1350, "total_declared": True, "record_count": 7,
        "declared_record_count": 7, "has_header": True, "has_trailer": True, "valid": True,
    }  # fmt: skip
    group = reports.groups.row(0)
    assert (group["receiver"], group["originator"]) == ("ME", "021000021")
    assert (group["status"], group["modifier"]) == (GroupStatus.UPDATE, 2)
    assert (group["as_of_date"], group["as_of_time"]) == (day("2026-03-16"), 23 * 60 + 59)
    account = reports.accounts.row(0)
    assert (account["account"], account["currency"], account["valid"]) == ("5566778", "USD", True)
    assert (account["summary_stop"], account["detail_stop"]) == (1, 1)
    summary = reports.summaries.row(0)
    assert (summary["type_code"], summary["amount_cents"], summary["item_count"]) == (10, 100, -1)
    line = reports.details.row(0)
    assert (line["type_code"], line["amount_cents"], line["record_number"]) == (165, 1250, 4)
    assert (line["bank_reference"], line["customer_reference"]) == ("B1", "C1")
    assert (line["value_date"], line["valid"]) == (None, True)
    assert reports.text_lines() == [[b"PAID"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", " \r\n"])
def test_line_ends_blank_lines_and_blanks_say_nothing(end: str) -> None:
    data = report(*detail(5, "A, B / C", more=["D"]), total=5, end=end)
    for whole in (data, b"\xef\xbb\xbf" + data, data + b"\x1a"):
        reports = read_bai2(whole)
        assert codes(reports) == []
        assert reports.text_lines() == [[b"A, B / C", b"D"]]


def test_a_report_without_line_ends_is_read_by_slashes_and_by_its_length() -> None:
    data = report(*detail(5, "A, B/", more=["D/"]), *detail(7), total=12)
    flat = read_bai2(data.replace(b"\n", b""))
    assert set(codes(flat)) == {"BAI2_RECORDS_JOINED"}
    assert flat.text_lines() == [[b"A, B", b"D"], []]
    padded = b"".join(line.ljust(80) for line in data.splitlines())
    fixed = read_bai2(padded)
    assert codes(fixed) == []
    assert fixed.details.amount_cents.tolist() == [5, 7]


def test_several_records_on_a_line_and_lines_broken_without_a_code() -> None:
    data = report("16,165,60,,,,X/  16,165,40,,,,Y", "Z Z", total=100)
    reports = read_bai2(data.replace(b",5/", b",6/"))
    assert codes(reports)[:2] == ["BAI2_RECORDS_JOINED", "BAI2_LINE_BROKEN"]
    assert reports.text_lines() == [[b"X/"], [b"YZ Z"]]
    assert reports.accounts.valid.tolist() == [True]


def test_dates_and_counts_in_a_text_are_no_records() -> None:
    text = "PAID 3/16,2026 AND 03/16,165 LESS 02/03,1,/ 49 OR / 88,7 "
    reports = read_bai2(report(*detail(5, text), total=5))
    assert codes(reports) == []
    assert reports.text_lines() == [[text.rstrip().encode()]]


@pytest.mark.parametrize(
    ("fields", "value_date", "parts"),
    [
        ("V,260318,", "2026-03-18", []),
        ("V,260318,1430", "2026-03-18", []),
        ("S,10,20,30", None, [(0, 10), (1, 20), (2, 30)]),
        ("S,,20,", None, [(0, 0), (1, 20), (2, 0)]),
        ("D,2,0,40,5,20", None, [(0, 40), (5, 20)]),
        ("0", None, []),
        ("", None, []),
    ],
)
def test_funds_types_in_details_and_summaries(
    fields: str, value_date: str | None, parts: list[tuple[int, int]]
) -> None:
    account = f"03,5566778,,010,100,3,{fields},015,0,,/"
    record = f"16,165,60,{fields},REF,CUST,TEXT"
    reports = read_bai2(report(record, total=60, account=account))
    assert codes(reports) == []
    want = day(value_date) if value_date else DATE_NONE
    assert reports.details.value_date.tolist() == [want]
    assert reports.summaries.value_date.tolist() == [want, DATE_NONE]
    assert reports.summaries.type_code.tolist() == [10, 15]
    assert reports.summaries.item_count.tolist() == [3, -1]
    line = reports.details.row(0)
    assert (line["bank_reference"], line["customer_reference"]) == ("REF", "CUST")
    rows = reports.availabilities
    found = list(zip(rows.days.tolist(), rows.amount_cents.tolist(), strict=True))
    assert found == parts * 2
    assert reports.text_lines() == [[b"TEXT"]]


def test_a_continuation_may_begin_anywhere_between_fields() -> None:
    record = "16,165,60,S,10,20,30,BANK,CUST,A TEXT"
    fields = record.split(",")
    whole = read_bai2(report(record, total=60)).details.row(0)
    for cut in range(2, len(fields) - 1):
        records = [",".join(fields[:cut]) + "/", "88," + ",".join(fields[cut:])]
        reports = read_bai2(report(*records, total=60))
        assert reports.text_lines() == [[b"A TEXT"]]
        assert codes(reports) == []
        line = reports.details.row(0)
        for name in ("type_code", "amount_cents", "bank_reference", "customer_reference"):
            assert line[name] == whole[name]


def test_summaries_go_on_in_continuations_by_the_book_and_as_banks_write_them() -> None:
    wanted = ([10, 15, 45], [100, -200, 300])
    for lines in (
        ["03,1,,010,100,,,015,-200,,/", "88,045,300,,/"],
        ["03,1,,010,100,,,015/", "88,-200,,,045,300,,/"],
        ["03,1,,010,100/", "88,015,-200,,/", "88,045,300,,/"],
        ["03,1,,010,100,,,015,-200,,,/", "88,045,300,,/"],
        ["03,1,,010,100,,015,-200,,045,300/"],
        ["03,1,,,,,,010,100,,,,,,,015,-200,,,045,300"],
    ):
        reports = read_bai2("\n".join([HEADER, GROUP, *lines, "49,200/"]).encode())
        found = reports.summaries
        assert (found.type_code.tolist(), found.amount_cents.tolist()) == wanted, lines
        assert "BAI2_ACCOUNT_TOTAL" not in codes(reports)


def test_text_begins_early_where_a_bank_leaves_references_out() -> None:
    for record in ("16,699,100,/", "16,699,100,,REF/", "16,699,100,,,/"):
        reports = read_bai2(report(record, "88,TFR TO SOMEBODY, LONDON", total=100))
        assert reports.text_lines() == [[b"TFR TO SOMEBODY, LONDON"]]


def test_a_slash_ends_text_lines_only_where_most_of_them_have_it() -> None:
    closed = report(*detail(1, "A  /", more=["B/", "C"]), total=1)
    assert texts(closed) == [[b"A", b"B", b"C"]]
    open_ended = report(*detail(1, "A/", more=["B", "/C"]), total=1)
    assert texts(open_ended) == [[b"A/", b"B", b"/C"]]


def test_totals_and_counts_are_checked() -> None:
    good = report(*detail(50), total=50)
    for old, new, code, valid in (
        (b"49,150,3", b"49,151,3", "BAI2_ACCOUNT_TOTAL", False),
        (b"49,150,3", b"49,150,4", "BAI2_ACCOUNT_RECORD_COUNT", True),
        (b"49,150,3", b"49,15O,3", "BAI2_CONTROL_NUMBER_BAD", False),
        (b"49,150,3", b"49,++150,3", "BAI2_CONTROL_NUMBER_BAD", False),
        (b"49,150,3", b"49,,3", "BAI2_TOTAL_BLANK", True),
        (b"98,150,1,5", b"98,151,1,5", "BAI2_GROUP_TOTAL", True),
        (b"98,150,1,5", b"98,150,2,5", "BAI2_GROUP_ACCOUNT_COUNT", True),
        (b"98,150,1,5", b"98,150,1,6", "BAI2_GROUP_RECORD_COUNT", True),
        (b"99,150,1,7", b"99,151,1,7", "BAI2_FILE_TOTAL", True),
        (b"99,150,1,7", b"99,150,2,7", "BAI2_FILE_GROUP_COUNT", True),
        (b"99,150,1,7", b"99,150,1,8", "BAI2_FILE_RECORD_COUNT", True),
    ):
        assert old in good
        reports = read_bai2(good.replace(old, new))
        assert codes(reports) == [code]
        assert reports.accounts.valid.tolist() == [valid]


def test_a_group_total_may_be_that_of_wrong_control_totals() -> None:
    reports = read_bai2(report(*detail(50), total=51))
    assert codes(reports) == ["BAI2_ACCOUNT_TOTAL"]
    assert reports.groups.valid.tolist() == [True]


def test_missing_records_are_told_and_the_rest_is_read() -> None:
    lines = report(*detail(50, "T"), total=50).splitlines(keepends=True)
    missing = [
        "BAI2_FILE_HEADER_MISSING",
        "BAI2_GROUP_HEADER_MISSING",
        "BAI2_ACCOUNT_HEADER_MISSING",
        None,
        "BAI2_ACCOUNT_TRAILER_MISSING",
        "BAI2_GROUP_TRAILER_MISSING",
        "BAI2_FILE_TRAILER_MISSING",
    ]
    for place, name in enumerate(missing):
        if name is not None:
            reports = read_bai2(b"".join(lines[:place] + lines[place + 1 :]))
            assert name in codes(reports)
            assert reports.details.amount_cents.tolist() == [50]
    only = read_bai2(lines[3])
    assert only.details.amount_cents.tolist() == [50]
    assert only.accounts.valid.tolist() == [False]


def test_fields_that_are_wrong_cost_only_themselves() -> None:
    for records, header, group, code in (
        (detail(5), HEADER.replace("260316", "261316"), GROUP, "BAI2_DATE_BAD"),
        (detail(5), HEADER.replace("0829", "2561"), GROUP, "BAI2_TIME_BAD"),
        (detail(5), HEADER.replace(",2/", ",3/"), GROUP, "BAI2_VERSION"),
        (detail(5), HEADER, GROUP.replace(",1,2", ",7,2"), "BAI2_GROUP_STATUS_BAD"),
        (detail(5), HEADER, GROUP.replace(",1,2", ",2,2"), "BAI2_GROUP_NO_MONEY"),
        (["16,16X,5,Z,,,"], HEADER, GROUP, "BAI2_TYPE_CODE_BAD"),
        (["16,165,5,Q,,,"], HEADER, GROUP, "BAI2_FUNDS_TYPE_BAD"),
        (["16,165,5,D,400,1,5,,,"], HEADER, GROUP, "BAI2_FUNDS_LIMIT"),
        (["16,165,-5,Z,,,"], HEADER, GROUP, "BAI2_AMOUNT_NEGATIVE"),
        (["16,165,0.05,Z,,,"], HEADER, GROUP, "BAI2_AMOUNT_BAD"),
        (["16,165,,Z,,,"], HEADER, GROUP, "BAI2_AMOUNT_BAD"),
    ):
        total = {"BAI2_AMOUNT_NEGATIVE": -5, "BAI2_AMOUNT_BAD": 0}.get(code, 5)
        reports = read_bai2(report(*records, total=total, header=header, group=group))
        assert codes(reports) == [code], code
        assert len(reports.details) == 1


def test_times_have_several_forms() -> None:
    for text, minute in (("14:59:35", 899), ("1459", 899), ("2400", 1440), ("9999", 1440)):
        reports = read_bai2(report(header=HEADER.replace("0829", text)))
        assert reports.files.creation_time.tolist() == [minute]
        assert codes(reports) == []


def test_currencies_are_inherited() -> None:
    reports = read_bai2(
        report(
            group=GROUP.replace("USD", "cad"), account=ACCOUNT.replace("USD", "").replace("/", "/")
        )
    )
    assert reports.accounts.currency.tolist() == [b"CAD"]
    assert codes(reports) == ["BAI2_CURRENCY", "BAI2_CURRENCY"]
    blank = read_bai2(report(group=GROUP.replace("USD", ""), account=ACCOUNT.replace("USD", "")))
    assert blank.accounts.currency.tolist() == [b"USD"]


def test_type_codes_move_money_by_their_range() -> None:
    for code, direction in (
        (99, Direction.NONE), (100, Direction.CREDIT), (399, Direction.CREDIT),
        (400, Direction.DEBIT), (699, Direction.DEBIT), (700, Direction.NONE),
        (890, Direction.NONE), (919, Direction.NONE), (920, Direction.CREDIT),
        (960, Direction.DEBIT), (-1, Direction.NONE),
    ):  # fmt: skip
        assert direction_of(code) is direction


def test_non_ascii_bytes_are_kept() -> None:
    reports = read_bai2(report(*detail(5, "CAF\xc9"), total=5))
    assert reports.texts.text[0] == "CAF\xc9"


def test_limits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    long = report(*detail(5, "X" * 9000), total=5)
    assert codes(read_bai2(long)) == ["BAI2_RECORD_LONG"]
    monkeypatch.setattr(_bai2_reader, "CONTINUATIONS_MAX", 3)
    many = read_bai2(report(*detail(5, "X", more=["Y"] * 9), total=5))
    assert codes(many) == ["BAI2_CONTINUATION_LIMIT"]
    assert many.text_lines() == [[b"X", b"Y", b"Y", b"Y"]]
    broken = read_bai2(report(*detail(5, "X"), *["Y"] * 9, total=5).replace(b",12/", b",3/"))
    assert codes(broken)[:4] == ["BAI2_LINE_BROKEN"] * 3 + ["BAI2_CONTINUATION_LIMIT"]
    assert broken.text_lines() == [[b"XYYY"]]
    for name in ("RECORDS_MAX", "FINDINGS_MAX"):
        with monkeypatch.context() as patch:
            patch.setattr(_bai2_reader, name, 0)
            with pytest.raises(LimitError, match=name):
                read_bai2(b"\n".join([b"16,165,x,,,,"] * 2))
    monkeypatch.setattr(bai2, "BAI2_BYTES_MAX", 10)
    with pytest.raises(LimitError, match="BAI2_BYTES_MAX"):
        read_bai2(long)
    assert _bai2_fields.amount_of(b"1" * 16) is None
    assert _bai2_fields.amount_of(b"0" * 9 + b"1" * 15) == int("1" * 15)


def test_leading_zeros_of_an_amount_are_no_limit() -> None:
    for text, cents in ((b"0", 0), (b"12345", 12345), (b"9" * 15, 10**15 - 1)):
        for sign, factor in ((b"", 1), (b"+", 1), (b"-", -1)):
            assert _bai2_fields.amount_of(sign + b"0" * 9000 + text) == factor * cents


def test_what_is_no_report_is_refused() -> None:
    for data in (b"", b"\n", b"88,TEXT\n", b"99,0,0,1/", b"hello", b"00,0004,1/2/345/\n"):
        with pytest.raises(ParseError) as caught:
            read_bai2(data)
        assert caught.value.code is FindingCode.BAI2_NO_RECORDS


def test_messages_say_the_place_and_no_value() -> None:
    reports = read_bai2(report("16,165,SECRET,Z,,,"))
    assert reports.message(0).startswith("BAI2_AMOUNT_BAD at byte ")
    assert "record 4" in reports.message(0)
    assert "SECRET" not in reports.message(0)
    assert "5566778" not in repr(reports)
