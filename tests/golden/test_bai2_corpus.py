"""Every BAI2 sample: what it holds, whose totals are right, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from corpus import BAI2_ROOT, samples

from reassoc.core.bai2 import BankReports, read_bai2
from reassoc.core.bank_lines import payments
from reassoc.core.errors import FindingCode, ParseError
from reassoc.core.statuses import PaymentSource

NO_REPORT = {
    "moov-io__bai2/3940e35d8f932097",
    "moov-io__bai2/771e938e4458e983",
    "moov-io__bai2/e262a7798c82c66e",
    "moov-io__bai2/f96b9eec61a21275",
    "moov-io__bai2/sample-parseError.txt",
}
"""Test inputs of a fuzzer, quoted in a form of its own, and one that begins with record 00."""

EXPECTED: dict[str, dict[str, Any]] = {
    "ministryofjustice__bai2/account_trailer_amount_blank_example.bai2": {
        "records": 8, "groups": 1, "accounts": 2, "summaries": 0, "details": 0, "texts": 0,
        "valid_accounts": 2, "valid_groups": 1, "cents": 0,
        "findings": {"BAI2_TOTAL_BLANK": 2},
    },
    "ministryofjustice__bai2/citi_example.bai2": {
        "records": 14, "groups": 1, "accounts": 1, "summaries": 2, "details": 1, "texts": 7,
        "valid_accounts": 1, "valid_groups": 1, "cents": 1,
        "findings": {"BAI2_CURRENCY": 2},
    },
    "ministryofjustice__bai2/nwb_example.bai2": {
        "records": 18, "groups": 1, "accounts": 1, "summaries": 9, "details": 5, "texts": 6,
        "valid_accounts": 1, "valid_groups": 1, "cents": 2854,
        "findings": {"BAI2_CURRENCY": 1},
    },
    "moov-io__bai2/sample1.txt": {
        "records": 27, "groups": 1, "accounts": 2, "summaries": 8, "details": 17, "texts": 17,
        "valid_accounts": 2, "valid_groups": 1, "cents": 640000,
        "findings": {"BAI2_CURRENCY": 3},
    },
    "moov-io__bai2/sample2.txt": {
        "records": 31, "groups": 4, "accounts": 5, "summaries": 25, "details": 4, "texts": 2,
        "valid_accounts": 5, "valid_groups": 4, "cents": 30950000,
        "findings": {},
    },
    "moov-io__bai2/sample3.txt": {
        "records": 74, "groups": 1, "accounts": 15, "summaries": 90, "details": 26, "texts": 40,
        "valid_accounts": 15, "valid_groups": 1, "cents": 99131,
        "findings": {"BAI2_RECORDS_JOINED": 11, "BAI2_LINE_BROKEN": 1},
    },
    "moov-io__bai2/sample5-issue113.txt": {
        "records": 124, "groups": 1, "accounts": 5, "summaries": 18, "details": 20, "texts": 110,
        "valid_accounts": 3, "valid_groups": 0, "cents": 3830414636,
        "findings": {
            "BAI2_ACCOUNT_TOTAL": 2, "BAI2_ACCOUNT_RECORD_COUNT": 2, "BAI2_RECORD_DAMAGED": 1,
            "BAI2_GROUP_TOTAL": 1, "BAI2_GROUP_ACCOUNT_COUNT": 1, "BAI2_GROUP_RECORD_COUNT": 1,
            "BAI2_FILE_RECORD_COUNT": 1,
        },
    },
    "venturehacks__bai2/daily.bai2": {
        "records": 8, "groups": 1, "accounts": 1, "summaries": 0, "details": 1, "texts": 1,
        "valid_accounts": 1, "valid_groups": 1, "cents": 25001,
        "findings": {},
    },
    "venturehacks__bai2/daily_with_summary.bai2": {
        "records": 11, "groups": 1, "accounts": 1, "summaries": 8, "details": 1, "texts": 1,
        "valid_accounts": 1, "valid_groups": 1, "cents": 25001,
        "findings": {},
    },
    "venturehacks__bai2/eod_with_slash_in_text.bai2": {
        "records": 18, "groups": 1, "accounts": 1, "summaries": 0, "details": 1, "texts": 12,
        "valid_accounts": 1, "valid_groups": 1, "cents": 8325982,
        "findings": {},
    },
    "venturehacks__bai2/invalid_checksum_eod.bai2": {
        "records": 17, "groups": 1, "accounts": 1, "summaries": 0, "details": 1, "texts": 11,
        "valid_accounts": 0, "valid_groups": 1, "cents": 8325982,
        "findings": {"BAI2_ACCOUNT_TOTAL": 1},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def bai2_samples() -> dict[str, bytes]:
    """Every sample by its name."""
    found = {sample.name: sample.data for sample in samples(BAI2_ROOT)}
    if not found:
        pytest.skip(f"the samples are not at hand: no {BAI2_ROOT}")
    return found


def summary(reports: BankReports) -> dict[str, Any]:
    """What EXPECTED says of a sample."""
    findings: dict[str, int] = {}
    for code in reports.findings.code.tolist():
        name = FindingCode(code).name
        findings[name] = findings.get(name, 0) + 1
    return {
        "records": reports.record_count,
        "groups": len(reports.groups),
        "accounts": len(reports.accounts),
        "summaries": len(reports.summaries),
        "details": len(reports.details),
        "texts": len(reports.texts),
        "valid_accounts": int(reports.accounts.valid.sum()),
        "valid_groups": int(reports.groups.valid.sum()),
        "cents": int(reports.details.amount_cents.sum()),
        "findings": findings,
    }


def test_every_sample_gives_what_is_in_it(bai2_samples: dict[str, bytes]) -> None:
    assert set(bai2_samples) == set(EXPECTED) | NO_REPORT
    for name, expected in EXPECTED.items():
        assert summary(read_bai2(bai2_samples[name])) == expected, name


def test_what_is_no_report_is_refused(bai2_samples: dict[str, bytes]) -> None:
    for name in NO_REPORT:
        with pytest.raises(ParseError):
            read_bai2(bai2_samples[name])


def test_texts_and_references_of_samples(bai2_samples: dict[str, bytes]) -> None:
    moov = read_bai2(bai2_samples["moov-io__bai2/sample5-issue113.txt"])
    assert moov.details.customer_reference[2] == "AB/GS/RPFILERP0001/RPBA0001"
    assert moov.text_lines()[2][1] == b"EREF: AB/GS/RPFILERP0001/RPBA0001"
    assert moov.text_lines()[9][1] == b"EREF: 07370568132"
    joined = read_bai2(bai2_samples["moov-io__bai2/sample3.txt"])
    assert joined.text_lines()[8][0].split()[-1] == b"1111111111111111111111111"
    assert joined.text_lines()[0] == [b"TRANSFER   PAYPAL             PPD"]
    slashes = read_bai2(bai2_samples["venturehacks__bai2/eod_with_slash_in_text.bai2"])
    assert slashes.text_lines()[0][5] == b"/MEXICO ;"
    fixed = read_bai2(bai2_samples["moov-io__bai2/sample1.txt"])
    assert fixed.text_lines()[0] == [b"RETURNED CHEQUE"]


def test_availability_of_samples(bai2_samples: dict[str, bytes]) -> None:
    reports = read_bai2(bai2_samples["moov-io__bai2/sample2.txt"])
    rows = reports.availabilities
    columns = (rows.summary, rows.detail, rows.days, rows.amount_cents)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == [
        (-1, 0, 0, 100000), (-1, 0, 1, 200000), (-1, 0, 2, 150000),
        (-1, 1, 0, 0), (-1, 1, 1, 200000), (-1, 1, 2, 300000),
        (21, -1, 0, 20000000), (21, -1, 1, 30000000), (21, -1, 3, 20000000),
    ]  # fmt: skip
    value_dates = reports.details.value_date.tolist()
    assert [date > 0 for date in value_dates] == [False, False, True, False]


def test_samples_as_payments(bai2_samples: dict[str, bytes]) -> None:
    pool = payments(read_bai2(bai2_samples["moov-io__bai2/sample5-issue113.txt"]))
    rows = {code: row for row, code in enumerate(pool.type_code.tolist())}
    returned = rows[557]
    assert pool.return_code[returned] == b"R02"
    assert pool.original_trace[returned] == 21000080000030
    assert pool.company_name[rows[195]] == "TEST AND COMPANY"
    assert pool.trace[rows[475]] == "24108"
    assert pool.source[rows[175]] == PaymentSource.DEPOSIT
    assert pool.rdfi_routing.tolist() == [26015079] * 20
    for name in ("moov-io__bai2/sample1.txt", "ministryofjustice__bai2/citi_example.bai2"):
        foreign = payments(read_bai2(bai2_samples[name]))
        assert set(foreign.source.tolist()) == {PaymentSource.BANK_OTHER}
        assert not foreign.valid.any()
