"""The ACH reader on small files: what each record becomes, and what is said of what is wrong."""

from __future__ import annotations

import datetime as dt
import io
import mmap
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ach_build import Batch, Entry, ach_file, ach_lines, addenda_05, ctx_slices
from ach_compare import compiled_rows, differences, twin_rows
from corpus import REPOSITORY

from reassoc.core.ach import AchFiles, EntryKind, ReturnForm, TrnForm, iter_ach, read_ach, trn_of
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.errors import FindingCode, ParseError, Severity, severity
from reassoc.core.x12_835 import read_835

TRN = "TRN*1*0012345678*1234567890\\"
ISA = "ISA*00*          *00*          *ZZ*PAYER          *ZZ*RECEIVER       *260316*0800"
ISA += "*^*00501*000000001*0*P*:~"
PAYLOAD_835 = (
    "ST*835*0001~BPR*I*10*C*ACH*CTX*01*021000021*DA*1*1234567890**01*021000021*DA*2*20260316~"
    "TRN*1*0056-2000752902*1234567890~N1*PR*EXAMPLE HEALTH~N1*PE*RIVER CLINIC*XX*1234567893~"
    "LX*1~CLP*A1*1*10*10**12~SE*8*0001~"
)
GS = "GS*HP*PAYER*RECEIVER*20260316*0800*1*X*005010X221A1~"


def codes(ach: AchFiles) -> dict[str, int]:
    """Findings by code."""
    return dict(Counter(FindingCode(code).name for code in ach.findings.code.tolist()))


def clean(payments: int = 2) -> list[Batch]:
    """A right CCD+ batch."""
    return [Batch([Entry(amount=1000 + number, texts=[TRN]) for number in range(payments)])]


def test_reads_the_fields_of_a_ccd_file() -> None:
    ach = read_ach(ach_file(clean()))
    assert codes(ach) == {}
    row = ach.entries.row(1)
    assert {
        name: row[name] for name in ("amount_cents", "rdfi_routing", "trace_number", "kind")
    } == {
        "amount_cents": 1001,
        "rdfi_routing": 21000021,
        "trace_number": 91000010000002,
        "kind": EntryKind.CREDIT,
    }
    assert (row["account"], row["identification"], row["receiver_name"]) == (
        "15566778",
        "112233",
        "RIVER CLINIC",
    )
    assert (row["trace"], row["payer_id"], row["trn_form"]) == (
        "0012345678",
        "1234567890",
        TrnForm.BACKSLASH,
    )
    batch = ach.batches.row(0)
    assert (batch["company_name"], batch["company_id"], batch["sec"]) == (
        "EXAMPLE HEALTH",
        "1234567890",
        "CCD",
    )
    assert (batch["entry_description"], batch["settlement_day"], batch["odfi"]) == (
        "HCCLAIMPMT",
        317,
        9100001,
    )
    assert batch["effective_date"] == (dt.date(2026, 3, 16) - dt.date(1970, 1, 1)).days
    assert batch["closed"]
    assert batch["valid"]
    assert ach.files.valid[0]
    assert bytes(ach.source[int(ach.entries.offset[0]) :][:3]) == b"622"


@pytest.mark.parametrize(
    ("created", "day", "expected"),
    [
        ("261230", "002", dt.date(2027, 1, 2)),
        ("270104", "365", dt.date(2026, 12, 31)),
        ("280228", "366", dt.date(2028, 12, 31)),
        ("260316", "075", dt.date(2026, 3, 16)),
        ("260316", "   ", None),
        ("260316", "000", None),
    ],
)
def test_settlement_day_takes_the_year_nearest_to_the_file(
    created: str, day: str, expected: dt.date | None
) -> None:
    ach = read_ach(ach_file([Batch([Entry()], settlement=day)], creation=created))
    days = DATE_NONE if expected is None else (expected - dt.date(1970, 1, 1)).days
    assert ach.batches.settlement_date[0] == days


def test_settlement_day_without_a_file_date_goes_by_the_effective_date() -> None:
    ach = read_ach(
        ach_file([Batch([Entry()], settlement="364", effective="270101")], creation="      ")
    )
    assert ach.batches.settlement_date[0] == (dt.date(2026, 12, 30) - dt.date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("text", "form", "trace", "payer"),
    [
        ("TRN*1*0012345678*1234567890\\", TrnForm.BACKSLASH, "0012345678", "1234567890"),
        ("TRN*1*0012345678*1234567890~", TrnForm.TILDE, "0012345678", "1234567890"),
        ("trn*1*0012345678*1234567890~", TrnForm.TILDE, "0012345678", "1234567890"),
        ("TRN*1*0012345678*1234567890", TrnForm.UNTERMINATED, "0012345678", "1234567890"),
        ("TRN*1*0012345678", TrnForm.UNTERMINATED, "0012345678", ""),
        ("TRN*1*0012345678*1234567890*999\\", TrnForm.BACKSLASH, "0012345678", "1234567890"),
        ("PMT TRN*1*0012345678*1234567890\\ MORE", TrnForm.EMBEDDED, "0012345678", "1234567890"),
        ("TRN*1*0012345678*1234567890 MORE", TrnForm.EMBEDDED, "0012345678", "1234567890"),
        ("TRN|1|0012345678|1234567890\\", TrnForm.OTHER_SEPARATOR, "0012345678", "1234567890"),
        (
            "TRN\x1d1\x1d0012345678\x1d1234567890\x1c",
            TrnForm.OTHER_SEPARATOR,
            "0012345678",
            "1234567890",
        ),
        ("TRN*1*0012345678*1234567890!", TrnForm.OTHER_SEPARATOR, "0012345678", "1234567890"),
        ("TRN*1*TRN*1*0012345678*1234567890\\", TrnForm.DOUBLED, "0012345678", "1234567890"),
        ("TRN*1*PacificSource0012345*1234567890\\", TrnForm.NAME_GLUED, "0012345", "1234567890"),
        ("TRN*1*EFT0012345*1234567890\\", TrnForm.BACKSLASH, "EFT0012345", "1234567890"),
        ("TRN1*0012345678*1234567890\\", TrnForm.PREFIX_DAMAGED, "0012345678", "1234567890"),
        ("TRN:*1*0012345678*1234567890\\", TrnForm.PREFIX_DAMAGED, "0012345678", "1234567890"),
        ("TRN:*0012345678*1234567890\\", TrnForm.PREFIX_DAMAGED, "0012345678", "1234567890"),
        ("TRN# 0012345678", TrnForm.LABELLED, "0012345678", ""),
        ("TRN02 = 0012345678 TRN03 = 1234567890", TrnForm.LABELLED, "0012345678", "1234567890"),
        (
            "CCD PMT INFO:*1*0012345678*1234567890",
            TrnForm.PREFIX_MISSING,
            "0012345678",
            "1234567890",
        ),
        ("**1*0012345678*1234567890\\", TrnForm.PREFIX_MISSING, "0012345678", "1234567890"),
        ("CCD PMT INFO:*1*0012345678-PAYER", TrnForm.UNCERTAIN, "", ""),
        ("*1*0012345678\\", TrnForm.UNCERTAIN, "", ""),
        ("TRN*1*XXXXXX5678*1234567890\\", TrnForm.UNCERTAIN, "", ""),
        ("TRN*1**1234567890\\", TrnForm.UNCERTAIN, "", ""),
        ("TRN*2*0012345678*1234567890\\", TrnForm.UNCERTAIN, "", ""),
        ("TRN*1*0012345678 MORE", TrnForm.UNCERTAIN, "", ""),
        ("TRN*1*11111*1234567890\\TRN*1*22222*1234567890\\", TrnForm.UNCERTAIN, "", ""),
        ("TRN 12345", TrnForm.UNCERTAIN, "", ""),
        ("RETURN 2 OF 3", TrnForm.NONE, "", ""),
        ("bonus pay for amazing work on #OSS", TrnForm.NONE, "", ""),
        ("", TrnForm.NONE, "", ""),
    ],
)
def test_trn_forms(text: str, form: TrnForm, trace: str, payer: str) -> None:
    assert trn_of(text.encode("latin-1"))[:3] == (form, trace, payer)
    if len(text) <= 80 and "\x1c" not in text:
        entries = read_ach(ach_file([Batch([Entry(texts=[text])])])).entries
        assert (entries.trn_form[0], entries.trace[0], entries.payer_id[0]) == (form, trace, payer)


def test_trn04_is_kept() -> None:
    assert trn_of(b"TRN*1*0012345678*1234567890*999999999~") == (
        TrnForm.TILDE, "0012345678", "1234567890", "999999999",
    )  # fmt: skip


def test_addenda_of_another_entry_give_no_trace() -> None:
    lines = ach_lines(clean(1))
    lines[3] = addenda_05(TRN, 1, 777)
    ach = read_ach("\n".join(lines).encode())
    assert ach.entries.trn_form[0] == TrnForm.UNCERTAIN
    assert ach.entries.trace[0] == ""
    assert codes(ach) == {"ACH_ADDENDA_ENTRY_DIFFERS": 1, "ACH_TRN_UNCERTAIN": 1}


@pytest.mark.parametrize(
    ("payload", "transactions"),
    [
        (ISA + GS + PAYLOAD_835 + "GE*1*1~IEA*1*000000001~", 1),
        (PAYLOAD_835, 1),
        (
            "ST*835*0001~BPR*H*0*C*NON************20260316~"
            "TRN*1*0056-2000752902*1234567890~SE*4*0001~",
            1,
        ),
        (
            ISA
            + GS
            + "ST*820*0001~BPR*C*10*C*ACH~TRN*1*0056-2000752902*1234567890~SE*4*0001~"
            + "GE*1*1~IEA*1*000000001~",
            0,
        ),
    ],
)
@pytest.mark.parametrize("shape", ["whole", "cut", "shuffled"])
def test_ctx_payloads_are_joined_and_read(payload: str, transactions: int, shape: str) -> None:
    lines = ach_lines([Batch([Entry(texts=ctx_slices(payload))], sec="CTX"), *clean(1)])
    if shape == "cut":
        lines = [line.rstrip() for line in lines]
    if shape == "shuffled":
        lines[3], lines[4] = lines[4], lines[3]
    ach = read_ach("\n".join(lines).encode())
    assert bytes(ach.payload_bytes) == payload.encode()
    assert len(ach.remittances.transactions) == transactions
    assert ach.payload_entries.tolist() == [0]
    assert ach.entries.trace.to_list() == ["0056-2000752902", "0012345678"]
    assert ach.entries.payer_id.to_list() == ["1234567890"] * 2
    assert ach.entries.trn_form.tolist() == [TrnForm.PAYLOAD, TrnForm.BACKSLASH]
    expected = {"ACH_ADDENDA_SEQUENCE": 2} if shape == "shuffled" else {}
    assert {
        name: count for name, count in codes(ach).items() if name != "ACH_RECORD_SHORT"
    } == expected
    if transactions:
        assert (
            ach.remittances.transactions.paid_cents[0]
            == read_835(payload.encode()).transactions.paid_cents[0]
        )


def test_ctx_that_is_no_x12_and_two_835s_that_disagree() -> None:
    other = PAYLOAD_835.replace("0056-2000752902", "0056-2000752903")
    batch = Batch(
        [
            Entry(texts=["Debit First Account", "Debit Second Account"]),
            Entry(texts=ctx_slices(PAYLOAD_835 + other)),
            Entry(texts=["REMITTANCE TRN*1*0012345678*1234567890\\"]),
        ],
        sec="CTX",
    )
    ach = read_ach(ach_file([batch]))
    assert ach.entries.trn_form.tolist() == [TrnForm.NONE, TrnForm.UNCERTAIN, TrnForm.EMBEDDED]
    assert ach.entries.trace.to_list() == ["", "", "0012345678"]
    assert ach.payload_entries.tolist() == [1]


def test_ctx_without_its_batch_header_is_told_by_its_text() -> None:
    lines = ach_lines([Batch([Entry(texts=ctx_slices(PAYLOAD_835))], sec="CTX")])
    ach = read_ach("\n".join(line for line in lines if line[0] in "67").encode())
    assert ach.entries.trace[0] == "0056-2000752902"
    assert {"ACH_FILE_HEADER_MISSING", "ACH_BATCH_HEADER_MISSING"} <= codes(ach).keys()


def edit(lines: list[str], row: int, first: int, text: str) -> None:
    """Put `text` at column `first` (1-based) of a record."""
    lines[row] = lines[row][: first - 1] + text + lines[row][first - 1 + len(text) :]


@pytest.mark.parametrize(
    ("row", "first", "text", "code"),
    [
        (0, 24, "261316", "ACH_DATE_BAD"),
        (0, 40, "2", "ACH_FILE_HEADER_FORMAT"),
        (1, 2, "205", "ACH_SERVICE_CLASS_UNKNOWN ACH_SERVICE_CLASS_DIFFERS"),
        (1, 51, "QQQ", "ACH_SEC_UNKNOWN"),
        (1, 70, "260230", "ACH_DATE_BAD"),
        (1, 76, "367", "ACH_DATE_BAD"),
        (1, 41, "9", "ACH_COMPANY_ID_DIFFERS"),
        (1, 88, "0000009", "ACH_BATCH_NUMBER_DIFFERS"),
        (1, 80, "X", "ACH_NUMBER_BAD ACH_ODFI_DIFFERS"),
        (2, 2, "99", "ACH_TRANSACTION_CODE_UNKNOWN ACH_BATCH_CREDIT_TOTAL ACH_FILE_CREDIT_TOTAL"),
        (2, 12, "2", "ACH_CHECK_DIGIT"),
        (2, 12, "X", "ACH_ROUTING_BAD"),
        (2, 30, " ", "ACH_AMOUNT_BAD ACH_BATCH_CREDIT_TOTAL ACH_FILE_CREDIT_TOTAL"),
        (2, 79, "0", "ACH_ADDENDA_INDICATOR"),
        (2, 80, "X", "ACH_TRACE_BAD ACH_ADDENDA_ENTRY_DIFFERS"),
        (3, 2, "77", "ACH_ADDENDA_TYPE_UNKNOWN"),
        (3, 84, "0002", "ACH_ADDENDA_SEQUENCE"),
        (
            4,
            80,
            f"{9100001:08}{1:07}",
            "ACH_TRACE_ORDER ACH_ADDENDA_ENTRY_DIFFERS ACH_TRN_UNCERTAIN",
        ),
        (6, 5, "000005", "ACH_BATCH_ENTRY_COUNT"),
        (6, 11, "0000000001", "ACH_BATCH_HASH"),
        (6, 21, "000000000001", "ACH_BATCH_DEBIT_TOTAL"),
        (6, 33, "000000000001", "ACH_BATCH_CREDIT_TOTAL"),
        (6, 33, "X", "ACH_CONTROL_NUMBER_BAD"),
        (7, 2, "000002", "ACH_FILE_BATCH_COUNT"),
        (7, 8, "000002", "ACH_FILE_BLOCK_COUNT"),
        (7, 14, "00000009", "ACH_FILE_ENTRY_COUNT"),
        (7, 22, "0000000009", "ACH_FILE_HASH"),
        (7, 32, "000000000009", "ACH_FILE_DEBIT_TOTAL"),
        (7, 44, "000000000009", "ACH_FILE_CREDIT_TOTAL"),
    ],
)
def test_each_fault_is_found_in_its_place(row: int, first: int, text: str, code: str) -> None:
    lines = ach_lines(clean())
    edit(lines, row, first, text)
    data = "\n".join(lines).encode()
    ach = read_ach(data)
    assert codes(ach).keys() == set(code.split())
    assert differences(compiled_rows([ach]), twin_rows(data)) == []
    found = ach.findings.row(0)
    if row != 1 or "DIFFERS" not in code:
        assert found["record_number"] == row + 1
        assert found["file_offset"] // 95 == row
    if severity(FindingCode(found["code"])) is Severity.ERROR and row >= 6:
        assert not (ach.batches if row == 6 else ach.files).valid[0]
    if code.startswith("ACH_AMOUNT_BAD"):
        assert ach.entries.valid.tolist() == [False, True]
    assert all(ach.message(number) for number in range(len(ach.findings)))


@pytest.mark.parametrize("missing", ["1", "5", "8", "9", "15", "89", "1589"])
def test_missing_records_cost_nothing_but_a_finding(missing: str) -> None:
    lines = [line for line in ach_lines(clean()) if line[0] not in missing or line == "9" * 94]
    ach = read_ach("\n".join(lines).encode())
    assert ach.entries.amount_cents.tolist() == [1000, 1001]
    names = {
        "1": "ACH_FILE_HEADER_MISSING",
        "5": "ACH_BATCH_HEADER_MISSING",
        "8": "ACH_BATCH_CONTROL_MISSING",
        "9": "ACH_FILE_CONTROL_MISSING",
    }
    assert {names[kind] for kind in missing} <= codes(ach).keys()


@pytest.mark.parametrize("end", ["", "\n", "\r", "\r\n", "\n\n", "   \n"])
@pytest.mark.parametrize("cut", [False, True])
def test_line_ends_do_not_matter(end: str, cut: bool) -> None:
    if cut and end.strip(" ") == "":
        return
    lines = ach_lines(
        [Batch([Entry(texts=[TRN]), Entry(code=27)]), Batch([Entry(code=23, amount=0)], sec="PPD")]
    )
    data = "".join((line.rstrip() if cut else line) + end for line in lines).encode()
    ach = read_ach(data)
    plain = read_ach("\n".join(lines).encode())
    for name in ("amount_cents", "trace_number", "kind", "trn_form", "rdfi_routing", "batch"):
        assert np.array_equal(ach.entries[name], plain.entries[name])
    for name in ("account", "receiver_name", "trace"):
        assert ach.entries[name].to_list() == plain.entries[name].to_list()
    assert codes(ach).keys() <= {"ACH_RECORD_SHORT", "ACH_RECORD_LONG"}


def test_several_files_lower_case_bom_and_junk() -> None:
    data = (
        b"\xef\xbb\xbf"
        + ach_file(clean()).lower()
        + b"-- end --\n\n"
        + ach_file(clean(1), end="")
        + b"\x1a"
    )
    ach = read_ach(data)
    assert len(ach.files) == 2
    assert ach.files.valid.all()
    assert ach.files.closed.all()
    assert ach.entries.trace.to_list() == ["0012345678"] * 3
    assert ach.batches.sec.tolist() == [b"CCD"] * 2
    assert codes(ach) == {"ACH_JUNK": 1}


def test_a_lost_byte_in_a_file_without_line_ends_costs_two_records() -> None:
    data = ach_file([Batch([Entry(amount=1000 + number) for number in range(6)])], end="")
    ach = read_ach(data[: 94 * 3 + 20] + data[94 * 3 + 21 :])
    assert {1000, 1003, 1004, 1005} <= set(ach.entries.amount_cents.tolist())
    assert ach.batches.closed.all()


def test_returns_and_changes() -> None:
    tail = f"{9100001:08}{1:07}"
    plain = f"799R01{91000010000007:015}{'':6}{'02100002'}{'ACCOUNT CLOSED':<44}{tail}"
    contested = "799R72123456780000069      7563921800756392180000001067011234567800000702186 8"
    contested = contested.ljust(79)[:79] + tail
    change = f"798C01{91000010000007:015}{'':6}{'02100002'}{'998877':<29}{'':15}{tail}"
    for record, form, kind, code, text in (
        (plain, ReturnForm.RETURN, EntryKind.RETURN, b"R01", "ACCOUNT CLOSED"),
        (contested, ReturnForm.CONTESTED, EntryKind.RETURN, b"R72", ""),
        (change, ReturnForm.CHANGE, EntryKind.NOTIFICATION, b"C01", "998877"),
    ):
        ach = read_ach(ach_file([Batch([Entry(code=21, raw_addenda=[record])], sec="PPD")]))
        assert codes(ach) == {}
        assert (ach.returns.form[0], ach.entries.kind[0], ach.entries.return_code[0]) == (
            form,
            kind,
            code,
        )
        assert ach.addenda.information[0] == text
        assert ach.entries.original_trace_number[0] == ach.returns.original_trace_number[0] > 0


def test_iat_is_counted_and_skipped() -> None:
    batch = Batch([Entry(texts=["X"]), Entry()], sec="IAT")
    ach = read_ach(ach_file([batch, *clean(1)]))
    assert codes(ach) == {"ACH_UNSUPPORTED_LAYOUT": 1}
    assert ach.batches.skipped.tolist() == [True, False]
    assert ach.batches.entry_count.tolist() == [2, 1]
    assert len(ach.entries) == 1


def test_empty_and_foreign_input_is_refused_and_a_header_is_enough() -> None:
    for data in (b"", b"\n\n", b"ISA*00*~", b"hello\n", b"1,2,3\n4,5,6\n"):
        with pytest.raises(ParseError) as error:
            read_ach(data)
        assert error.value.code is FindingCode.ACH_NO_RECORDS
        with pytest.raises(ParseError):
            list(iter_ach(io.BytesIO(data)))
    assert len(read_ach(ach_lines(clean())[0].encode()).files) == 1


def test_accepts_every_kind_of_buffer(tmp_path: Path) -> None:
    data = ach_file(clean())
    path = tmp_path / "feed"
    path.write_bytes(data)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for buffer in (
            data,
            bytearray(data),
            memoryview(data)[:],
            mapped,
            np.frombuffer(data, np.uint8),
        ):
            ach = read_ach(buffer)
            assert ach.entries.amount_cents.tolist() == [1000, 1001]
            del ach


def test_an_entry_has_a_limited_number_of_addenda() -> None:
    entry = Entry(texts=["A"] * 10_003)
    data = "\n".join(line[:94] for line in _long_ctx(entry)).encode()
    ach = read_ach(data)
    assert (ach.entries.addenda_stop - ach.entries.addenda_start).tolist() == [9999, 1]
    assert codes(ach)["ACH_ADDENDA_LIMIT"] == 1
    assert codes(ach)["ACH_ADDENDA_ORPHAN"] == 4
    whole = compiled_rows([ach])
    assert differences(compiled_rows(iter_ach(io.BytesIO(data), window_bytes=50_000)), whole) == []


def _long_ctx(entry: Entry) -> list[str]:
    lines = ach_lines([Batch([Entry()], sec="CTX"), *clean(1)])
    records = [addenda_05(text, number % 10_000, 1) for number, text in enumerate(entry.texts, 1)]
    return lines[:3] + records + lines[3:]


def test_no_value_of_the_file_is_in_a_message() -> None:
    canary = "CANARY"
    lines = ach_lines(clean())
    data = (
        "\n".join(lines)
        .replace("RIVER CLINIC", f"{canary:<12}")
        .replace("0012345678", canary.ljust(10))
        .encode()
    )
    data = data.replace(b"705TRN", b"7X5TRN").replace(b"0000001000", b"000CANARY0") + b"\nCANARY\n"
    ach = read_ach(data)
    assert len(ach.findings) > 4
    assert not any(canary in ach.message(number) for number in range(len(ach.findings)))


def test_numbers_in_the_headers_are_those_of_the_enums() -> None:
    text = (REPOSITORY / "core" / "_ach_state.h").read_text()
    for name, number in re.findall(r"^    (ACH_\w+) = (\d+),$", text, re.MULTILINE):
        assert FindingCode[name] == int(number)
    trn = (REPOSITORY / "core" / "_ach_trn.h").read_text()
    assert {
        name: int(number)
        for name, number in re.findall(r"^    TRN_(\w+) = (\d+),", trn, re.MULTILINE)
    } == {form.name: form.value for form in TrnForm}
    kinds = (REPOSITORY / "core" / "_nacha.h").read_text()
    assert {
        name: int(number)
        for name, number in re.findall(r"^    KIND_(\w+) = (\d+),", kinds, re.MULTILINE)
    } == {kind.name: kind.value for kind in EntryKind}


@pytest.mark.parametrize("sec", ["CCD", "CTX"])
def test_the_texts_of_a_file_cut_anywhere_in_an_entry_lie_inside_it(sec: str) -> None:
    records = ach_file([Batch([Entry(texts=[TRN]), Entry()], sec=sec)]).split(b"\n")
    last = max(number for number, record in enumerate(records) if record.startswith(b"6"))
    before = b"\n".join(records[:last]) + b"\n"
    for length in range(len(records[last]) + 1):
        ach = read_ach(before + records[last][:length])
        for table in (ach.files, ach.batches, ach.entries, ach.addenda):
            for name in table.names:
                if isinstance(column := getattr(table, name), TextColumn):
                    ends = column.refs.astype(np.int64).sum(axis=1)
                    assert (ends <= len(ach.source)).all(), (length, name)
                    column.compact()
