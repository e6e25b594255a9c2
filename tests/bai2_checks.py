"""What holds of every bank report that was read, whatever was in it."""

from __future__ import annotations

from reassoc.core import bank_lines
from reassoc.core.bai2 import BankReports, read_bai2
from reassoc.core.errors import FindingCode, ParseError


def read_or_refuse(data: bytes) -> BankReports | None:
    """The report, or None where it is refused as none."""
    try:
        return read_bai2(data)
    except ParseError:
        return None


def check_consistent(reports: BankReports) -> None:
    """Rows refer to rows that are there, findings to bytes; nothing invalid is a valid payment."""
    details, accounts, groups = reports.details, reports.accounts, reports.groups
    parents = (
        (details.account, accounts),
        (accounts.group, groups),
        (groups.file, reports.files),
    )
    for rows, parent in parents:
        assert all(0 <= row < len(parent) for row in rows.tolist())
    assert details.text_start.tolist()[1:] == details.text_stop.tolist()[:-1]
    assert (reports.findings.file_offset <= len(reports.source)).all()
    for text in reports.texts.text:
        assert text is not None
    for row, code in enumerate(reports.findings.code.tolist()):
        assert reports.message(row).startswith(FindingCode(code).name)
    pool = bank_lines.payments(reports)
    assert len(pool) == len(details)
    broken = ~(details.valid & accounts.valid[details.account])
    assert not (pool.valid & broken).any()
