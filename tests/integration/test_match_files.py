"""835 and ACH bytes in, matches out: the worked examples, read rather than made of columns."""

from __future__ import annotations

import numpy as np

from reassoc.core.ach import read_ach
from reassoc.core.calendar import BankingCalendar
from reassoc.core.match import match
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import MatchStatus, RemittanceStatus, Tier
from reassoc.core.x12_835 import read_835

CALENDAR = BankingCalendar(np.array([], np.int32))
SETTLED = 20529  # 2026-03-17

CLEAN = (
    "ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         "
    "*260316*0900*^*00501*000000001*0*P*:~GS*HP*PAYER*CLINIC*20260316*0900*1*X*005010X221A1~"
    "ST*835*0001~BPR*I*1200.00*C*ACH*CCP*01*091000019*DA*998877*1234567890**"
    "01*021000021*DA*5566778*20260317~TRN*1*0012345678*1234567890~REF*EV*CLRHS01~"
    "DTM*405*20260316~N1*PR*EXAMPLE HEALTH~N3*1 MAIN ST~N4*OMAHA*NE*68102~"
    "PER*BL*EDI DESK*TE*8005550100~N1*PE*RIVER CLINIC*XX*1999999984~REF*TJ*112223333~LX*1~"
    "CLP*A1*1*1000.00*800.00*50.00*12*P001~NM1*QC*1*DOE*JANE****MI*M1~"
    "SVC*HC:99214*600.00*500.00**1~DTM*472*20260301~CAS*CO*45*100.00~"
    "SVC*HC:93000*400.00*300.00**1~DTM*472*20260301~CAS*CO*45*50.00~CAS*PR*1*50.00~"
    "CLP*A2*1*500.00*400.00*25.00*12*P002~CAS*CO*45*75.00~CAS*PR*3*25.00~"
    "NM1*QC*1*ROE*RICHARD****MI*M2~SE*26*0001~GE*1*1~IEA*1*000000001~"
)


def _record(text: str) -> str:
    assert len(text) <= 94, len(text)
    return text.ljust(94) + "\n"


def ach_file(sec: str, addenda: list[str], cents: int = 120000) -> bytes:
    """One file, one batch, one credit, with its addenda; every total is right."""
    count = f"{len(addenda):04}" if sec == "CTX" else ""
    name = "RIVER CLINIC"
    receiver = f"{count}{name:<16}" if sec == "CTX" else name
    company = f"{'EXAMPLE HEALTH':<16}{'':20}1234567890"
    lines = [
        "101 021000021 0910000192603160900A094101RIVER BANK             EXAMPLE BANK",
        f"5220{company}{sec}HCCLAIMPMT260316260317   1091000010000001",
        f"6220210000215566778          {cents:010}000112223333   {receiver:<22}  1091000010000001",
    ]
    lines += [f"705{part:<80}{i:04}0000001" for i, part in enumerate(addenda, 1)]
    entries = 1 + len(addenda)
    lines.append(f"8220{entries:06}0002100002{0:012}{cents:012}1234567890{'':25}091000010000001")
    blocks = -(-(len(lines) + 1) // 10)
    lines.append(f"9000001{blocks:06}{entries:08}0002100002{0:012}{cents:012}")
    lines += ["9" * 94] * (blocks * 10 - len(lines))
    return "".join(map(_record, lines)).encode()


def test_clean_pair_from_files() -> None:
    remittances, payments = (
        read_835(CLEAN.encode()),
        read_ach(ach_file("CCD", [r"TRN*1*0012345678*1234567890\ "])),
    )
    m = match(remittances, payments, calendar=CALENDAR, as_of=SETTLED)
    assert (m.status.tolist(), m.tier.tolist()) == ([MatchStatus.AUTO], [Tier.T1])
    assert m.release.tolist() == [True]
    assert not match(remittances, payments, calendar=CALENDAR, as_of=SETTLED - 1).release.any()


def test_wrong_envelope_is_matched_but_not_released() -> None:
    broken = CLEAN.replace("GE*1*1~", "GE*2*1~")
    m = match(
        read_835(broken.encode()),
        read_ach(ach_file("CCD", ["TRN*1*12345678*234567890"])),
        calendar=CALENDAR,
        as_of=SETTLED,
    )
    assert (m.status.tolist(), m.tier.tolist()) == ([MatchStatus.AUTO], [Tier.T2])
    assert m.remittance_status.tolist() == [RemittanceStatus.INVALID]
    assert not m.release.any()


def test_835_inside_a_ctx_is_t0_wherever_it_is_cut() -> None:
    text = CLEAN
    slices = [text[i : i + 80] for i in range(0, len(text), 80)]
    ach = read_ach(ach_file("CTX", slices))
    m = match(RemittanceColumns.empty(), ach, calendar=CALENDAR, as_of=SETTLED)
    assert (m.status.tolist(), m.tier.tolist()) == ([MatchStatus.AUTO], [Tier.T0])
    assert m.remittances.payment_row.tolist() == [0]
    assert m.payments.has_remittance.tolist() == [True]
    assert m.release.tolist() == [True]
    short = match(RemittanceColumns.empty(), read_ach(ach_file("CTX", slices, cents=117600)))
    assert (short.status.tolist(), short.tier.tolist()) == ([MatchStatus.VARIANCE], [Tier.T5])


def test_pools_of_windows_and_files_are_the_pool_of_all() -> None:
    ach = read_ach(ach_file("CCD", ["TRN*1*0012345678*1234567890~"]))
    left = RemittanceColumns.from_tables(read_835(CLEAN.encode()), digest=7)
    right = PaymentColumns.from_tables(ach, digest=8)
    both = PaymentColumns.concat(
        [right, right.take(np.array([], np.int32)), PaymentColumns.empty()]
    )
    m = match(left.compact(), both)
    assert m.match_id.tolist() == match(left, right).match_id.tolist()
    assert both.company_name.to_list() == ["EXAMPLE HEALTH"]
    assert both.odfi.tolist() == [9100001]
