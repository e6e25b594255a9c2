"""The worked examples of re-association by name, each from the bytes of files on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from case_files import Entry, Found, Remit, ach, era, run

from reassoc.core.ach import read_ach
from reassoc.core.statuses import (
    Funding,
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Tier,
    VarianceCause,
)
from reassoc.core.x12_835 import read_835

AUTO, VARIANCE, REVIEW = MatchStatus.AUTO, MatchStatus.VARIANCE, MatchStatus.REVIEW

CLEAN_835 = (
    b"ST*835*0001~BPR*I*1200.00*C*ACH*CCP*01*091000019*DA*998877*1234567890**01*021000021*DA"
    b"*5566778*20260317~TRN*1*0012345678*1234567890~REF*EV*CLRHS01~DTM*405*20260316~"
    b"N1*PR*EXAMPLE HEALTH~N3*1 MAIN ST~N4*OMAHA*NE*68102~PER*BL*EDI DESK*TE*8005550100~"
    b"N1*PE*RIVER CLINIC*XX*1999999984~REF*TJ*112223333~LX*1~"
    b"CLP*A1*1*1000.00*800.00*50.00*12*P001~NM1*QC*1*DOE*JANE****MI*M1~"
    b"SVC*HC:99214*600.00*500.00**1~DTM*472*20260301~CAS*CO*45*100.00~"
    b"SVC*HC:93000*400.00*300.00**1~DTM*472*20260301~CAS*CO*45*50.00~CAS*PR*1*50.00~"
    b"CLP*A2*1*500.00*400.00*25.00*12*P002~CAS*CO*45*75.00~CAS*PR*3*25.00~"
    b"NM1*QC*1*ROE*RICHARD****MI*M2~SE*26*0001~"
)
CLEAN_ACH = (
    b"5220EXAMPLE HEALTH                      1234567890CCDHCCLAIMPMT260316260317   "
    b"1091000010000001\n"
    b"6220210000215566778          0000120000112223333      RIVER CLINIC            "
    b"1091000010000001\n"
    b"705TRN*1*0012345678*1234567890~                                               "
    b"     00010000001\n"
)


def enveloped(transaction: bytes) -> bytes:
    """ISA..IEA around one ST..SE."""
    head, tail = era().split(b"GE*0")
    return head + transaction + b"GE*1" + tail


def test_clean_pair() -> None:
    found = run(enveloped(CLEAN_835), CLEAN_ACH)
    assert found.pairs == [Found(0, 0, AUTO, Tier.T1)]
    assert found.why() == 0
    assert found.remittances == [RemittanceStatus.MATCHED]
    assert found.payments == [PaymentStatus.MATCHED]
    assert found.matches.payment_funding[0] == Funding.SETTLED
    assert found.release == [True]


def test_clean_pair_reads_without_a_finding() -> None:
    read = read_835(enveloped(CLEAN_835))
    assert len(read.findings) == 0
    assert read.claims.paid_cents.tolist() == [80000, 40000]
    assert read.transactions.paid_cents.tolist() == [120000]
    entries = read_ach(CLEAN_ACH).entries
    assert entries.amount_cents.tolist() == [120000]
    assert entries.trace[0] == "0012345678"


def test_offset_and_interest() -> None:
    remit = Remit(claims=(120000, 80000), plb=(("WO:OLDCLM77", 31250), ("L6", -410)))
    assert remit.cents == 169160
    found = run(era(remit), ach(Entry(cents=169160)))
    assert found.pairs == [Found(0, 0, AUTO, Tier.T1)]
    assert found.release == [True]


def test_forward_balance_b_is_released_without_an_eft() -> None:
    remit = Remit(trace="REMITB", claims=(-80000, 30000), plb=(("FB:REMITB", -50000),))
    assert remit.cents == 0
    found = run(era(remit))
    assert found.remittances == [RemittanceStatus.NO_FUNDS_EXPECTED]
    assert found.release == [True]


def test_forward_balance_c_is_paid_less_it() -> None:
    remit = Remit(trace="REMITC", claims=(90000,), plb=(("FB:REMITB", 50000),))
    assert remit.cents == 40000
    found = run(era(remit), ach(Entry(trace="REMITC", cents=40000)))
    assert found.pairs == [Found(0, 0, AUTO, Tier.T1)]
    assert found.release == [True]
    ignored = run(era(remit), ach(Entry(trace="REMITC", cents=90000)))
    assert ignored.pairs == [Found(0, 0, VARIANCE, Tier.T5)]
    assert ignored.matches.cause.tolist() == [VarianceCause.FORWARD_BALANCE]


def test_delayed_recoupment() -> None:
    now = Remit(trace="RECOUP1", claims=(-20000, 10000, 70000), plb=(("WO:P4", -10000),))
    later = Remit(trace="RECOUP2", claims=(50000,), plb=(("WO:P4", 10000),), day="20260324")
    assert (now.cents, later.cents) == (70000, 40000)
    found = run(
        era(now, later),
        ach(Entry(trace="RECOUP1", cents=70000), Entry(trace="RECOUP2", cents=40000)),
    )
    assert found.pairs == [Found(0, 0, AUTO, Tier.T1), Found(1, 1, AUTO, Tier.T1)]
    assert found.release == [True, True]


# ---- bulk ----

PARTS = (125000, 90000, 85000, 210000)
LUMP = Entry(cents=300000, trace="99887766")


def parts(**of_the_last: str) -> list[Remit]:
    """The four open 835s; the changes are of the one of 2,100.00, the odd one out."""
    remits = [Remit(trace=f"5500{n}", claims=(cents,)) for n, cents in enumerate(PARTS)]
    return [*remits[:3], replace(remits[3], **of_the_last)]


@pytest.mark.parametrize("auto_tiers", [(), ("T8",)])
def test_bulk_with_two_answers_is_a_review(auto_tiers: tuple[str, ...]) -> None:
    found = run(era(*parts()), ach(LUMP), auto_tiers=auto_tiers)
    assert {pair[2:] for pair in found.pairs} == {(REVIEW, Tier.T8)}
    assert sorted(pair.remittance for pair in found.pairs) == [0, 1, 1, 2, 3]
    assert found.match_ids() == 2
    assert all(reason & Reason.SUM_NOT_UNIQUE for reason in found.reasons())
    assert found.release == [False] * 4


def test_bulk_separated_by_trace_root() -> None:
    remits = [replace(remit, trace=f"99887766-{n}") for n, remit in enumerate(parts()[:3])]
    found = run(era(*remits, parts()[3]), ach(LUMP))
    assert found.pairs == [Found(row, 0, AUTO, Tier.T8) for row in range(3)]
    assert found.match_ids() == 1
    assert found.release == [True, True, True, False]


@pytest.mark.parametrize(
    "elsewhere", [{"day": "20260325"}, {"account": "9988"}], ids=["date", "payee"]
)
def test_bulk_separated_by_date_or_payee(elsewhere: dict[str, str]) -> None:
    files = era(*parts(**elsewhere)), ach(LUMP)
    found = run(*files)
    assert found.pairs == [Found(row, 0, REVIEW, Tier.T8) for row in range(3)]
    assert found.match_ids() == 1
    assert not found.why() & Reason.SUM_NOT_UNIQUE
    opted_in = run(*files, auto_tiers=("T8",))
    assert opted_in.pairs == [Found(row, 0, AUTO, Tier.T8) for row in range(3)]
    assert opted_in.release == [True, True, True, False]


# ---- variance ----


def test_variance_of_two_percent_is_explained_as_a_fee() -> None:
    found = run(era(Remit()), ach(Entry(cents=117600)))
    assert found.pairs == [Found(0, 0, VARIANCE, Tier.T5)]
    assert found.matches.difference_cents.tolist() == [-2400]
    assert found.matches.cause.tolist() == [VarianceCause.FEE]
    assert found.remittances == [RemittanceStatus.MATCHED_VARIANCE]
    assert found.release == [False]
