"""How a caller uses the public names, for the type checker only: nobody runs or imports this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from reassoc.core import (
    AchFiles,
    BankingCalendar,
    BankReports,
    Directory,
    Links,
    LockboxLayout,
    LockboxList,
    Matches,
    MatchStatus,
    PaymentColumns,
    Policy,
    RemittanceColumns,
    Remittances,
    Table,
    TextColumn,
    bank_payments,
    iter_835,
    iter_ach,
    load_directory,
    lockbox_payments,
    match,
    read_835,
    read_ach,
    read_bai2,
    read_lockbox,
    reason_text,
)


def readers(remittance_file: Path, payment_file: Path) -> None:
    remittances = read_835(remittance_file.read_bytes())
    assert_type(remittances, Remittances)
    payments = read_ach(memoryview(payment_file.read_bytes()))
    assert_type(payments, AchFiles)
    assert_type(payments.remittances, Remittances)
    with remittance_file.open("rb") as file:
        assert_type(iter_835(file, window_bytes=1 << 20), Iterator[Remittances])
    assert_type(iter_ach(payment_file.read_bytes()), Iterator[AchFiles])


def columns(remittances: Remittances, payments: AchFiles) -> None:
    claims = remittances.claims
    assert_type(claims, Table)
    assert_type(payments.entries, Table)
    assert_type(len(claims), int)
    assert_type(claims.names, list[str])
    assert_type(claims.row(0), dict[str, Any])
    assert_type(claims.take(slice(0, 3)), Table)
    assert_type(claims["paid_cents"], npt.NDArray[Any] | TextColumn)
    cents: npt.NDArray[np.int64] = claims.paid_cents
    trace: TextColumn = payments.entries.trace
    assert_type(trace[0], str)
    assert_type(trace[np.arange(2)], TextColumn)
    assert_type(trace.to_list(), list[str])
    print(int(cents.sum()), remittances.message(0))


def matching(remittances: Remittances, payments: AchFiles) -> None:
    assert_type(match(remittances, payments), Matches)
    left = RemittanceColumns.from_tables(remittances, digest=1)
    right = PaymentColumns.from_tables(payments, digest=2)
    assert_type(left, RemittanceColumns)
    assert_type(right, PaymentColumns)
    calendar = BankingCalendar(np.zeros(0, np.int32))
    matches = match(left, right, policy=Policy(), calendar=calendar, as_of=20_000)
    assert_type(matches.match_id, npt.NDArray[np.uint64])
    assert_type(matches.days_apart, npt.NDArray[np.int32])
    assert_type(matches.payments, PaymentColumns)


def refused(remittances: Remittances) -> None:
    match(remittances, remittances)  # type: ignore[arg-type]
    read_835(b"", window_bytes=1)  # type: ignore[call-arg]
    remittances.claims["paid_cents"].upper()  # type: ignore[union-attr]


def other_rails(
    remittances: RemittanceColumns, report: Path, listed: Path, layout: LockboxLayout, known: str
) -> None:
    reports = read_bai2(report.read_bytes())
    assert_type(reports, BankReports)
    checks = read_lockbox(listed.read_bytes(), layout)
    assert_type(checks, LockboxList)
    payments = PaymentColumns.concat([bank_payments(reports), lockbox_payments(checks, digest=1)])
    assert_type(payments, PaymentColumns)
    directory = load_directory(known)
    assert_type(directory, Directory)
    matches = match(remittances, payments, directory=directory)
    assert_type(matches.links, Links)
    assert_type(reason_text(int(matches.reason[0])), str)
    print(MatchStatus(int(matches.status[0])).name)
