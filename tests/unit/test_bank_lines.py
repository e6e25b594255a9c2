"""Details of bank reports as payments: codes, texts, deposits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bai2_build import ACCOUNT, GROUP, detail, report

from reassoc.core import bank_lines
from reassoc.core._bank_text import Memo, read_memo
from reassoc.core.ach import EntryKind, TrnForm
from reassoc.core.bai2 import read_bai2
from reassoc.core.columns import DATE_NONE
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import PaymentSource

TRN = "TRN*1*0012345678*1234567890\\"


def payments(*records: list[str], **options: Any) -> PaymentColumns:
    lines = [line for record in records for line in record]
    return bank_lines.payments(read_bai2(report(*lines, **options)), digest=7)


def memo(*lines: str) -> Memo:
    return read_memo([line.encode() for line in lines])


@pytest.mark.parametrize(
    ("code", "source", "kind"),
    [
        (165, PaymentSource.BANK_ACH, EntryKind.CREDIT),
        (164, PaymentSource.BANK_ACH, EntryKind.CREDIT),
        (142, PaymentSource.BANK_ACH, EntryKind.CREDIT),
        (169, PaymentSource.BANK_ACH, EntryKind.CREDIT),
        (195, PaymentSource.WIRE, EntryKind.CREDIT),
        (208, PaymentSource.WIRE, EntryKind.CREDIT),
        (115, PaymentSource.DEPOSIT, EntryKind.CREDIT),
        (301, PaymentSource.DEPOSIT, EntryKind.CREDIT),
        (175, PaymentSource.DEPOSIT, EntryKind.CREDIT),
        (116, PaymentSource.CHECK, EntryKind.CREDIT),
        (475, PaymentSource.CHECK, EntryKind.DEBIT),
        (555, PaymentSource.CHECK, EntryKind.RETURN),
        (257, PaymentSource.BANK_OTHER, EntryKind.RETURN),
        (557, PaymentSource.BANK_ACH, EntryKind.RETURN),
        (558, PaymentSource.BANK_ACH, EntryKind.DEBIT),
        (451, PaymentSource.BANK_ACH, EntryKind.DEBIT),
        (399, PaymentSource.BANK_OTHER, EntryKind.CREDIT),
        (930, PaymentSource.BANK_OTHER, EntryKind.CREDIT),
        (970, PaymentSource.BANK_OTHER, EntryKind.DEBIT),
        (890, PaymentSource.BANK_OTHER, EntryKind.OTHER),
        (721, PaymentSource.BANK_OTHER, EntryKind.OTHER),
    ],
)
def test_a_type_code_says_what_a_detail_is(
    code: int, source: PaymentSource, kind: EntryKind
) -> None:
    pool = payments(detail(5, "TEXT", code=code))
    assert (pool.source[0], pool.kind[0]) == (source, kind)
    assert pool.type_code.tolist() == [code]


def test_an_unlisted_credit_with_a_trn_is_an_ach_credit() -> None:
    assert payments(detail(5, TRN, code=399)).source[0] == PaymentSource.BANK_ACH
    assert payments(detail(5, TRN, code=258)).source[0] == PaymentSource.BANK_OTHER
    assert payments(detail(5, "TRN*1*0012345678", code=399)).source[0] == PaymentSource.BANK_OTHER


def test_a_row_has_what_its_record_account_and_group_say() -> None:
    one = detail(1250, "TEXT", bank="B1", funds="V,260318,")
    two = detail(7, TRN)
    pool = payments(one, two, total=1257)
    assert pool.amount_cents.tolist() == [1250, 7]
    assert pool.settlement_date.tolist() == [20530, 20528]
    assert pool.rdfi_routing.tolist() == [21000021] * 2
    assert pool.account.to_list() == ["5566778"] * 2
    assert pool.bank_reference.to_list() == ["B1", ""]
    assert pool.trace.to_list() == ["", "0012345678"]
    assert pool.payer_id.to_list() == ["", "1234567890"]
    assert pool.report.tolist() == [0, 0]
    assert pool.id_digest.tolist() == [7, 7]
    data = report(*one, *two, total=1257)
    assert pool.id_offset.tolist() == [data.index(b"16,165,1250"), data.index(b"16,165,7")]
    assert pool.valid.all()
    for name in ("ach_trace", "odfi", "original_trace", "original_rdfi", "return_trace"):
        assert getattr(pool, name).tolist() == [-1, -1], name
    assert pool.effective_date.tolist() == [DATE_NONE] * 2


def test_a_routing_number_is_one_only_with_its_check_digit() -> None:
    for originator, routing in (("021000022", -1), ("BANK", -1), ("000000000", -1)):
        pool = payments(detail(5), total=5, group=GROUP.replace("021000021", originator))
        assert pool.rdfi_routing.tolist() == [routing]


def test_deleted_and_test_groups_are_no_money() -> None:
    for status, kind in (("1", 1), ("2", 0), ("3", 1), ("4", 0)):
        group = GROUP.replace(",1,260316", f",{status},260316")
        assert payments(detail(5), total=5, group=group).kind.tolist() == [kind]


def test_another_currency_never_pairs() -> None:
    pool = payments(detail(5, TRN), total=5, account=ACCOUNT.replace("USD", "CAD"))
    assert pool.source.tolist() == [PaymentSource.BANK_OTHER]
    assert not pool.valid.any()


def test_what_does_not_add_up_is_not_valid() -> None:
    assert not payments(detail(5), total=6).valid.any()
    assert payments(["16,165,,Z,,,"], ["16,165,5,Z,,,"], total=5).valid.tolist() == [False, True]


# ---- texts ----


def test_the_labels_of_a_large_bank() -> None:
    found = memo(
        "EXAMPLE HEALTH DES:HCCLAIMPMT ID:960100061 INDN:RIVER CLI",
        "NIC CO ID:1234567890 CCD PMT INFO:TRN*1*00123",
        "45678*1234567890\\",
    )
    assert found == Memo(
        form=TrnForm.EMBEDDED,
        trace=b"0012345678",
        payer_id=b"1234567890",
        company_id=b"1234567890",
        company_name=b"EXAMPLE HEALTH",
        entry_description=b"HCCLAIMPMT",
        receiver_id=b"960100061",
        sec=b"CCD",
    )


def test_the_labels_of_another_large_bank() -> None:
    found = memo(
        "ORIG CO NAME:EXAMPLE HEALTH ORIG ID:1234567890 DESC DATE:MAR 16 CO ENTRY DESCR:HCCLAIMPMT",
        "SEC:CCD TRACE#:091000010000001 EED:260317 IND ID:960100061 IND NAME:RIVER CLINIC",
        "TRN: 0751234567TC",
    )
    assert (found.company_name, found.company_id) == (b"EXAMPLE HEALTH", b"1234567890")
    assert (found.entry_description, found.sec) == (b"HCCLAIMPMT", b"CCD")
    assert (found.ach_trace, found.effective_date) == (91000010000001, 20529)
    assert found.receiver_id == b"960100061"
    assert (found.form, found.trace) == (TrnForm.NONE, b"")
    pool = payments(detail(5, "TRACE#:091000010000001"), total=5)
    assert (pool.ach_trace.tolist(), pool.odfi.tolist()) == ([91000010000001], [9100001])


def test_key_lines() -> None:
    found = memo(
        "ACH Credit Receipt, Entry Description: HCCLAIMPMT; -, SEC: CCD, Client Ref ID: 1",
        f"REMI: {TRN}",
        "EREF: E1",
        "DBNM: Example Health",
        "DABA: 021000089",
        "DACT: 12-34",
    )
    assert (found.trace, found.payer_id) == (b"0012345678", b"1234567890")
    assert (found.company_name, found.entry_description) == (b"Example Health", b"HCCLAIMPMT")
    assert (found.sec, found.reference) == (b"CCD", b"E1")
    assert (found.debtor_routing, found.debtor_account) == (b"021000089", b"1234")
    assert memo("REMI: 0012345678", "DBNM: X").trace == b"0012345678"
    assert memo("REMI: thanks for all", "DBNM: X").trace == b""


@pytest.mark.parametrize("cut", range(1, len(TRN)))
def test_a_trn_may_be_cut_by_the_end_of_a_line_anywhere(cut: int) -> None:
    for before, after in (("PMT INFO:", ""), ("", " MORE"), ("CO ID:1 ", "")):
        found = memo(before + TRN[:cut], TRN[cut:] + after, "DBNM: SOMEBODY")
        assert (found.trace, found.payer_id) == (b"0012345678", b"1234567890")


def test_a_trn_that_is_not_sure_gives_no_trace() -> None:
    assert memo(TRN, "DBNM: X", TRN).trace == b"0012345678"
    differ = memo(TRN, "DBNM: X", TRN.replace("0012345678", "0012345679"))
    assert (differ.form, differ.trace) == (TrnForm.UNCERTAIN, b"")
    cut = memo("TRN*1*00123", "45678")
    assert (cut.form, cut.trace) == (TrnForm.UNCERTAIN, b"")
    whole = memo("TRN*1*0012345678", "THANK YOU, ALL")
    assert whole.trace == b"0012345678"
    reports = read_bai2(report(*detail(1, "TRN*1*00123", more=["45678"]), *detail(1, TRN), total=2))
    assert bank_lines.uncertain_rows(bank_lines.read_memos(reports)).tolist() == [0]


def test_long_texts_are_read_up_to_a_limit() -> None:
    assert memo(*["X" * 500] * 20, TRN).trace == b""
    assert memo(*[":" * 70] * 200).form is TrnForm.NONE
    assert memo("X" * 8000 + TRN).trace == b""
    assert memo(TRN + " " + "X" * 8000).trace == b"0012345678"


# ---- checks, wires, returns, deposits ----


def test_the_trace_of_a_check_is_its_number_and_of_a_wire_its_reference() -> None:
    pool = payments(
        detail(1, code=116, customer="0001234"),
        detail(2, "Check, Check Serial Number: 24108, GS ID: 7", code=116, customer="GS1"),
        detail(3, code=195, customer="W123456"),
        detail(4, "Wire", code=195, customer="W1", more=["EREF: E123456"]),
        detail(5, TRN, code=195, customer="W1"),
        detail(6, code=165, customer="C1"),
    )
    assert pool.trace.to_list() == ["0001234", "24108", "W123456", "E123456", "0012345678", ""]


def test_a_check_has_its_drawers_account() -> None:
    more = ["DABA: 021000089", "DACT: 0012-34"]
    pool = payments(detail(1, "Check", code=116, more=more), detail(2, "ACH", more=more))
    assert pool.payer_account.to_list() == ["021000089001234", ""]


def test_returns_say_what_they_return() -> None:
    pool = payments(
        detail(1, 'Return, Reason: "R02"', code=557, customer="021000080000030"),
        detail(2, "Return of Client Ref ID: 021000080000031, GS ID: 1", code=257),
        detail(3, 'Reason: "R02"', code=165),
        detail(4, code=558),
    )
    assert pool.return_code.tolist() == [b"R02", b"", b"", b""]
    assert pool.original_trace.tolist() == [21000080000030, 21000080000031, -1, -1]
    assert pool.entry_description.to_list() == ["", "", "", "REVERSAL"]


def test_items_are_tied_to_their_deposit() -> None:
    pool = payments(
        detail(300, code=115, bank="D1"),
        detail(100, code=116, bank="D1", customer="1"),
        detail(201, code=116, bank="X2", customer="2"),
        detail(500, code=115),
        detail(150, code=116, customer="3"),
        detail(350, code=116, customer="4"),
        detail(500, code=115),
        detail(499, code=116, customer="5"),
        detail(70, code=301, customer="D9"),
        detail(70, code=116, bank="D9"),
    )
    assert pool.deposit.to_list() == [
        "D1", "D1", "X2",
        "20528-500-1", "20528-500-1", "20528-500-1",
        "20528-500-2", "",
        "D9", "D9",
    ]  # fmt: skip


def test_items_behind_their_deposit_that_come_to_its_amount_are_tied() -> None:
    pool = payments(
        detail(300, code=115, bank="D1"),
        detail(100, code=116, bank="I1"),
        detail(200, code=116, bank="I2"),
        detail(200, code=116, bank="I3"),
    )
    assert pool.deposit.to_list() == ["D1", "D1", "D1", "I3"]


def test_a_report_without_details_gives_no_rows() -> None:
    pool = bank_lines.payments(read_bai2(report()))
    assert len(pool) == 0
    assert pool.rdfi_routing.dtype == np.int32
