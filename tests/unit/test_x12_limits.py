"""Where the 835 reader's limits are, and that what lies beyond them costs only itself."""

from __future__ import annotations

import mmap
import subprocess
import sys
import time

import pytest

from reassoc.core import FindingCode, LimitError, iter_835, read_835
from reassoc.core.columns import DATE_NONE

HEAD = (
    b"ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *260316*1200*^"
    b"*00501*000000001*0*P*:~GS*HP*S*R*20260316*1200*1*X*005010X221A1~"
)
TAIL = b"GE*%d*1~IEA*1*000000001~"


def transaction(number: int, name: bytes = b"DOE", claims: int = 1) -> bytes:
    body = [
        b"ST*835*%04d" % number,
        b"BPR*I*%d.00*C*ACH*CCP*01*091000019*DA*1*1234567890**01*021000021*DA*2*20260317"
        % (10 * claims),
        b"TRN*1*T%d*1234567890" % number,
        b"N1*PR*PAYER",
        b"N1*PE*PAYEE*XX*1999999984",
    ]
    for claim in range(claims):
        body += [b"CLP*A%d*1*10*10" % claim, b"NM1*QC*1*" + name]
    return b"~".join([*body, b"SE*%d*%04d~" % (len(body) + 1, number)])


def names(codes: list[int]) -> list[str]:
    return [FindingCode(code).name for code in codes]


def test_a_text_longer_than_a_column_holds_is_cut_and_told() -> None:
    data = HEAD + transaction(1, b"N" * 70_000) + transaction(2) + TAIL % 2
    read = read_835(data)
    assert names(read.findings.code.tolist()) == ["X12_CODE_TOO_LONG"]
    patients = read.entities.take(read.entities.entity == b"QC")
    assert patients.name.lengths.tolist() == [65_535, 3]
    assert dict(read.segments(0)).values()  # the whole of it is still reachable
    assert max(len(segment) for _, segment in read.segments(0)) > 70_000
    assert read.transactions.valid.tolist() == [True, True]


def test_a_transaction_larger_than_the_limit_is_given_up_alone() -> None:
    data = HEAD + transaction(1) + transaction(2, claims=3000) + transaction(3) + TAIL % 3
    windows = list(iter_835(data, window_bytes=4096, transaction_bytes_max=16_384))
    traces = [trace for window in windows for trace in window.transactions.trace]
    valid = [bool(flag) for window in windows for flag in window.transactions.valid]
    found = [name for window in windows for name in names(window.findings.code.tolist())]
    assert traces == ["T1", "T2", "T3"]
    assert valid == [True, False, True]
    assert "X12_TRANSACTION_TOO_LARGE" in found
    assert sum(len(window.claims) for window in windows) == 2
    assert windows[-1].groups.valid.tolist()[-1]  # what was walked over still counts


def test_a_buffer_beyond_32_bit_offsets_is_refused_with_the_way_out() -> None:

    with mmap.mmap(-1, 1 << 32) as large, pytest.raises(LimitError, match="iter_835"):
        read_835(large)


def test_a_hundred_thousand_transactions_and_none() -> None:
    none = read_835(HEAD + TAIL % 0)
    assert (len(none.transactions), len(none.findings)) == (0, 0)
    many = b"".join(transaction(number) for number in range(1, 100_001))
    read = read_835(HEAD + many + TAIL % 100_000)
    assert len(read.transactions) == 100_000
    assert int(read.transactions.paid_cents.sum()) == 100_000 * 1000
    assert len(read.findings) == 0


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_line_may_wrap_anywhere(line_end: bytes) -> None:
    data = HEAD + transaction(1) + transaction(2) + TAIL % 2
    whole = read_835(data)
    for width in range(20, 200):
        lines = [data[at : at + width] for at in range(0, len(data), width)]
        read = read_835(line_end.join(lines))
        assert read.transactions.trace.to_list() == whole.transactions.trace.to_list()
        assert read.transactions.valid.tolist() == [True, True]
        for mark in ("element_separator", "component_separator", "segment_terminator"):
            assert read.interchanges[mark].tolist() == whole.interchanges[mark].tolist()
        assert set(names(read.findings.code.tolist())) <= {"X12_ISA_UNPADDED"}


def test_line_ends_in_the_place_of_isa16_that_a_segment_follows_are_terminators() -> None:
    for line_end in (b"\n", b"\r\n", b"\r"):
        data = (HEAD + transaction(1) + TAIL % 1).replace(b":~", b"~").replace(b"~", line_end)
        read = read_835(data)
        assert read.transactions.trace.to_list() == ["T1"]
        assert read.interchanges.component_separator.tolist() == [0]
        assert read.interchanges.segment_terminator.tolist() == [line_end[0]]


@pytest.mark.parametrize("fill", [b" ", b"\0", b"\n"])
def test_layout_behind_a_file_is_walked_once(fill: bytes) -> None:
    # Were it walked again with each block this would take minutes.
    data = HEAD + transaction(1) + TAIL % 1
    filled = data + fill * (64 << 20)
    began = time.process_time()
    assert len(read_835(filled).findings) == 0
    windows = list(iter_835(filled))
    assert sum(len(window.transactions) for window in windows) == 1
    assert windows[-1].window_offset > 48 << 20
    assert time.process_time() - began < 20


def test_eight_nuls_are_no_date() -> None:
    dated = (
        transaction(1)
        .replace(b"N1*PR", b"DTM*405*\0\0\0\0\0\0\0\0~N1*PR")
        .replace(b"SE*8", b"SE*9")
    )
    read = read_835(HEAD + dated + TAIL % 1)
    assert names(read.findings.code.tolist()) == ["X12_DATE_BAD"]
    assert read.dates.date.tolist() == [DATE_NONE]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was reserved")
def test_a_segment_of_nothing_but_separators_reserves_no_rows() -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from reassoc.core import iter_835, read_835
        data = sys.stdin.buffer.read()
        def reserved():
            return int(Path("/proc/self/status").read_text().split("VmPeak:")[1].split()[0]) << 10
        before = reserved()
        assert len(read_835(data).transactions) == 1
        assert sum(len(window.transactions) for window in iter_835(data)) == 1
        print(reserved() - before)
    """
    data = HEAD + b"ST*835*0001~CAS*CO" + b"*" * (16 << 20) + b"~SE*3*0001~" + TAIL % 1
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, stdout=subprocess.PIPE, check=True, timeout=300
    )
    assert int(done.stdout) < 120 * len(data)  # 1,400 when each of them reserved rows of all tables


@pytest.mark.parametrize(
    ("segment", "table", "rows"),
    [
        (b"CAS*C*1~", "adjustments", 1),
        (b"CAS*C*1***1~", "adjustments", 2),
        (b"CAS*C*1***1***1~", "adjustments", 3),
        (b"PLB***1~", "provider_adjustments", 1),
        (b"PLB***1**1**1~", "provider_adjustments", 3),
        (b"MOA***1*1*1*1*1~", "remarks", 5),
        (b"MIA*****1***************1*1*1*1~", "remarks", 5),
        (b"MOA***1*1*1*1*1~", "summaries", 5),
        (b"TS3*1*1*1*1*1*1*1*1~", "summaries", 8),
        (b"LQ*HE*1~", "remarks", 1),
        (b"REF~", "references", 1),
        (b"DTM~", "dates", 1),
        (b"N3~", "addresses", 1),
        (b"CLP~", "claims", 1),
    ],
)
def test_segments_that_give_most_rows_have_room_for_them(
    segment: bytes, table: str, rows: int
) -> None:
    count = 30_000
    many = transaction(1).replace(b"~SE*", b"~" + segment * count + b"SE*")
    whole = read_835(HEAD + many + TAIL % 1)
    few = read_835(HEAD + transaction(1) + TAIL % 1)
    assert len(getattr(whole, table)) - len(getattr(few, table)) == rows * count


def test_terminators_doubled_behind_the_isa() -> None:
    data = HEAD.replace(b":~GS", b":~~\r\n~GS") + transaction(1) + TAIL % 1
    read = read_835(data)
    assert read.interchanges.component_separator.tolist() == [ord(":")]
    assert len(read.findings) == 0
