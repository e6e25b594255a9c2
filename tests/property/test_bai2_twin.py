"""The compiled reading of plain details, and of their texts, beside the same in plain Python: same
rows, same findings, whatever is in the report.
"""

from __future__ import annotations

from dataclasses import fields
from unittest import mock

import numpy as np
import pytest
from bai2_build import report
from bai2_checks import read_or_refuse
from corpus import BAI2_ROOT, samples
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import _bai2scan, bank_lines
from reassoc.core._bai2_reader import Reader
from reassoc.core._bank_text import Memo, read_memo
from reassoc.core.bai2 import BankReports
from reassoc.core.columns import Table, TextColumn

_LABELS = (
    "ORIG CO NAME", "CO NAME", "DES", "ID", "INDN", "CO ID", "SEC", "TRACE#", "EED", "REASON",
    "RETURN OF CLIENT REF ID", "CHKN", "CHECK NO", "DABA", "DACT", "EREF", "REMI", "DBNM", "XY",
    "PMT INFO", "CLIENT REF ID", "TRN", "ENTRY DESC", "Co Id", "ABCDEF", "ABCDEFG", "IND ID",
)  # fmt: skip
_VALUES = (
    "TRN*1*00123456*1234567890\\", "TRN*1*0012", "3456*1234567890~", "TRN*1*777888*9876543210",
    "TRN: 123456TC", "TRN: 12345TC*", "XTRN:123456TC", "TRN# 8899", "*1*12345*1999999999",
    "123456789012345", "260316", "800229", "790229", "991332", "R03", "r02x", "(R29)", "CCD",
    "CTX", "PPDX", "ccd", "12\xb25", "A,B;C", '"X"', "EXAMPLE HEALTH", "A-1/2.3", "1234",
    "CHECK 55", "\t", "=", ":", " ", ";", ",", "/", "/16,165,1,Z,,", "/ 88,", "\xe9",
)  # fmt: skip
_LABELLED = st.builds(
    "{}{}{}".format,
    st.sampled_from(_LABELS),
    st.sampled_from((":", " :", ": ", ":=")),
    st.sampled_from(_VALUES),
)
_TEXTS = st.lists(_LABELLED | st.sampled_from(_VALUES), max_size=5).map(" ".join)
_HEADS = st.builds(
    "16,{:03},{},{},{},{},{}".format,
    st.sampled_from((165, 142, 169, 475, 495, 195, 555, 557, 558, 255, 301, 175, 116, 399, 890)),
    st.integers(0, 10**16),
    st.sampled_from(("", "0", "1", "2", "Z", "z", "V,260316,1200", "S,1,2,3", "D,1,0,5", "Q")),
    st.sampled_from(("", "B1", "B 2")),
    st.sampled_from(("", "R1", " ", "123456789012345")),
    _TEXTS | st.just("/"),
)
_MORE = st.builds("{}{}".format, st.sampled_from(("88,", "88,", "88,", "", "88:", " 88,")), _TEXTS)
_OTHERS = st.sampled_from(("49,1,3/", "03,77,,/", "", "  ", "JUNK", "12,3", "88," + "X" * 8200))
_LINES = st.lists(_HEADS | _MORE | _OTHERS, max_size=12)
_ENDS = st.sampled_from(("\n", "\r\n", "\n\n", "\r", "\x00", " \n", "/\n"))


def columns_of(table: Table) -> dict[str, object]:
    """Every column as plain values; texts with their places too."""
    columns: dict[str, object] = {}
    for name in table.names:
        column = table[name]
        columns[name] = column.refs.tolist() if isinstance(column, TextColumn) else column.tolist()
    return columns


def tables_of(reports: BankReports | None) -> list[dict[str, object]]:
    if reports is None:
        return []
    names = ("files", "groups", "accounts", "summaries", "details", "texts", "availabilities")
    return [columns_of(getattr(reports, name)) for name in (*names, "findings")]


def check_alike(data: bytes) -> None:
    """Read `data` with runs of plain details and record by record; and its texts both ways."""
    reports = read_or_refuse(data)
    with mock.patch.object(Reader, "_take_details", return_value=0):
        assert tables_of(reports) == tables_of(read_or_refuse(data))
    if reports is not None:
        check_memos(bank_lines.read_memos(reports), list(map(read_memo, reports.text_lines())))


def check_memos(memos: Table, expected: list[Memo]) -> None:
    assert len(memos) == len(expected)
    for field in fields(Memo):
        values = [getattr(memo, field.name) for memo in expected]
        if field.name in ("debtor_routing", "debtor_account", "remittance"):
            continue
        column = memos[field.name]
        if isinstance(column, TextColumn):
            assert [column.raw(row) for row in range(len(column))] == values, field.name
        else:
            assert column.tolist() == np.array(values, column.dtype).tolist(), field.name
    drawers = [memo.debtor_routing + memo.debtor_account for memo in expected]
    assert [memos.drawer.raw(row) for row in range(len(memos))] == drawers


@given(_LINES, _ENDS)
def test_made_reports(lines: list[str], end: str) -> None:
    check_alike(report(*lines, end=end))


@given(st.lists(st.lists(_TEXTS, max_size=5), max_size=4))
def test_made_texts(texts: list[list[str]]) -> None:
    lines = [[line.encode("latin-1") for line in lines] for lines in texts]
    column = TextColumn.from_values(line for each in lines for line in each)
    stops = np.cumsum([len(each) for each in lines], dtype=np.uint32)
    starts = stops - np.array([len(each) for each in lines], np.uint32)
    taken = _bai2scan.read_memos(column.source, column.refs, starts, stops)
    check_memos(bank_lines.memo_table(taken), list(map(read_memo, lines)))


def test_samples() -> None:
    for sample in samples(BAI2_ROOT):
        check_alike(sample.data)


def test_long_texts() -> None:
    for size in (*range(4085, 4100), 9000):
        text = ("TRN*1*00123456*1234567890\\ REMI: 1234 " + "X" * size)[:size]
        more = [f"88,{text[start : start + 70]}" for start in range(0, size, 70)]
        check_alike(report("16,165,5,Z,,,", *more, total=5))


def test_every_cut_of_a_report() -> None:
    data = report("16,165,5,Z,B,C,A DES:X ID:1", "88,TRN*1*0012345678*1234567890\\", total=5)
    for place in range(len(data)):
        check_alike(data[:place])
        check_alike(data[:place] + b"/" + data[place:])


def test_rows_that_are_not_there_are_refused() -> None:
    column = TextColumn.from_values([b"ABC"])
    one, two, none = (np.array([each], np.uint32) for each in (1, 2, 0))
    for starts, stops in ((none, two), (one, none)):
        with pytest.raises(ValueError, match="outside"):
            _bai2scan.read_memos(column.source, column.refs, starts, stops)
    far = np.array([[2, 2]], np.uint32)
    with pytest.raises(ValueError, match="outside"):
        _bai2scan.read_memos(column.source, far, none, one)
    with pytest.raises(ValueError, match="stop"):
        _bai2scan.read_memos(column.source, column.refs, none, np.zeros(2, np.uint32))
