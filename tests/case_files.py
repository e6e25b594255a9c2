"""Small files for the cases that have a name, and what the matcher makes of them.

Everything is written as bytes and read by the readers, so that a case is tested from the file on.
Everything is made up.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from reassoc.core import bank_lines
from reassoc.core.ach import read_ach
from reassoc.core.bai2 import read_bai2
from reassoc.core.match import Matches, match
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import MatchStatus, PaymentStatus, Reason, RemittanceStatus, Tier
from reassoc.core.x12_835 import read_835
from reassoc.stream.calendar import federal_reserve_calendar

PAYER, TRACE = "1234567890", "0012345678"
ODFI, RDFI, ACCOUNT = "09100001", "021000021", "5566778"
AS_OF = datetime.date(2026, 3, 31)


# ---- 835s ----


@dataclass(frozen=True)
class Remit:
    """An 835: `claims` are what they pay, in cents; what is paid is their sum less the PLBs."""

    trace: str = TRACE
    claims: tuple[int, ...] = (80000, 40000)
    plb: tuple[tuple[str, int], ...] = ()
    paid: int | None = None
    payer: str = PAYER
    payer_name: str = "EXAMPLE HEALTH"
    handling: str = ""
    method: str = ""
    bank: str = RDFI
    account: str = ACCOUNT
    day: str = "20260317"
    npi: str = "1999999984"
    tin: str = "112223333"

    @property
    def cents(self) -> int:
        """BPR02: what is said, else what balances."""
        balanced = sum(self.claims) - sum(cents for _, cents in self.plb)
        return balanced if self.paid is None else self.paid

    def segments(self, control: str) -> list[str]:
        """ST..SE of it."""
        method = self.method or ("ACH" if self.cents else "NON")
        handling = self.handling or ("I" if self.cents else "H")
        payee = f"01*{self.bank}*DA*{self.account}" if self.account else "***"
        body = [
            f"ST*835*{control}",
            f"BPR*{handling}*{money(self.cents)}*C*{method}*CCP*01*091000019*DA*998877*{self.payer}"
            f"**{payee}*{self.day}",
            f"TRN*1*{self.trace}*{self.payer}",
            f"N1*PR*{self.payer_name}",
            f"N1*PE*RIVER CLINIC*XX*{self.npi}" if self.npi else "N1*PE*RIVER CLINIC",
            *([f"REF*TJ*{self.tin}"] if self.tin else []),
            *(["LX*1"] if self.claims else []),
        ]
        for number, cents in enumerate(self.claims, 1):
            status = 22 if cents < 0 else 1
            body.append(
                f"CLP*A{number}*{status}*{money(cents)}*{money(cents)}**12*{self.trace}{number}"
            )
            body.append("NM1*QC*1*DOE*JANE****MI*M1")
        if self.plb:
            pairs = "*".join(f"{reason}*{money(cents)}" for reason, cents in self.plb)
            body.append(f"PLB*{self.npi or self.tin}*20261231*{pairs}")
        return [*body, f"SE*{len(body) + 1}*{control}"]


def money(cents: int) -> str:
    """Cents as X12 writes them."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def era(*remits: Remit, number: int = 1, end: str = "~") -> bytes:
    """ISA..IEA around 835s; `number` is its control number, ISA13."""
    segments = [
        f"ISA*00*{'':10}*00*{'':10}*ZZ*{'SENDER':15}*ZZ*{'RECEIVER':15}*260316*1200*^*00501"
        f"*{number:09d}*0*P*:",
        f"GS*HP*PAYER*RECEIVER*20260316*1200*{number}*X*005010X221A1",
    ]
    for place, remit in enumerate(remits, 1):
        segments += remit.segments(f"{place:04d}")
    segments += [f"GE*{len(remits)}*{number}", f"IEA*1*{number:09d}"]
    return "".join(segment + end for segment in segments).encode()


# ---- ACH ----


@dataclass(frozen=True)
class Entry:
    """A record 6 in a batch of its own. `text` is the addenda's (TRN by default, None for no
    addenda), `payload` what a CTX carries, `record_7` a whole addenda of another type."""

    cents: int = 120000
    trace: str = TRACE
    payer: str = PAYER
    text: str | None = ""
    payload: bytes = b""
    record_7: str = ""
    code: int = 22
    number: int = 0
    sec: str = "CCD"
    description: str = "HCCLAIMPMT"
    company: str = PAYER
    company_name: str = "EXAMPLE HEALTH"
    account: str = ACCOUNT
    rdfi: str = RDFI
    effective: str = "260317"
    settles: str = ""

    def texts(self) -> list[str]:
        """What stands in its addenda 05."""
        if self.payload:
            whole = self.payload.decode("latin-1")
            return [whole[at : at + 80] for at in range(0, len(whole), 80)]
        if self.text is None or self.record_7:
            return []
        return [self.text or f"TRN*1*{self.trace}*{self.payer}~"]


def ach(*entries: Entry, created: str = "260316") -> bytes:
    """An ACH file; entries without a number get theirs from their place."""
    lines = [f"101 091000019{'1234567890'}{created}0800A094101{'BANK':23}{'ORIGIN':23}{'':8}"]
    records, hashed, debits, credits = 0, 0, 0, 0
    for place, given in enumerate(entries, 1):
        entry = replace(given, number=given.number or place)
        part = _batch(entry, place)
        lines += part
        records, hashed = records + len(part) - 2, hashed + int(entry.rdfi[:8])
        debits += entry.cents if _is_debit(entry) else 0
        credits += 0 if _is_debit(entry) else entry.cents
    blocks = -(-(len(lines) + 1) // 10)
    totals = f"{records:08d}{hashed % 10**10:010d}{debits:012d}{credits:012d}"
    lines.append(f"9{len(entries):06d}{blocks:06d}{totals}{'':39}")
    lines += ["9" * 94] * (blocks * 10 - len(lines))
    assert all(len(line) == 94 for line in lines)
    return "".join(line + "\n" for line in lines).encode("latin-1")


def _is_debit(entry: Entry) -> bool:
    return entry.code % 10 >= 5


def _batch(entry: Entry, place: int) -> list[str]:
    sec = "CTX" if entry.payload else entry.sec
    texts = entry.texts()
    count = len(texts) + bool(entry.record_7)
    who = f"{count:04d}{'RIVER CLINIC':16}  " if sec == "CTX" else f"{'RIVER CLINIC':22}"
    kind = 225 if _is_debit(entry) else 220
    lines = [
        f"5{kind}{entry.company_name:16.16}{'':20}{entry.company:10}{sec}{entry.description:10}"
        f"260316{entry.effective}{entry.settles:>3}1{ODFI}{place:07d}",
        f"6{entry.code}{entry.rdfi}{entry.account:17}{entry.cents:010d}{'112223333':15}{who}  "
        f"{int(count > 0)}{ach_trace(entry.number)}",
    ]
    lines += [f"705{text:80}{at:04d}{entry.number:07d}" for at, text in enumerate(texts, 1)]
    lines += [entry.record_7] if entry.record_7 else []
    debits, credits = (entry.cents, 0) if _is_debit(entry) else (0, entry.cents)
    lines.append(
        f"8{kind}{1 + count:06d}{int(entry.rdfi[:8]):010d}{debits:012d}{credits:012d}"
        f"{entry.company:10}{'':25}{ODFI}{place:07d}"
    )
    return lines


def ach_trace(number: int) -> str:
    """The trace number, record 6 columns 80-94, of an entry."""
    return f"{ODFI}{number:07d}"


def returned(original: Entry, reason: str = "R03", **changes: Any) -> Entry:
    """The return of an entry, which must have a number; changes are of the returning entry."""
    back = replace(original, code=21, number=original.number + 5000, effective="260318")
    about = f"{reason}{ach_trace(original.number)}{'':6}{original.rdfi[:8]}{'':44}"
    back = replace(back, record_7=f"799{about}{ach_trace(back.number)}", payload=b"")
    return replace(back, **changes)


def dishonored(back: Entry, original: Entry, reason: str = "R69") -> Entry:
    """The refusal of a return."""
    number = back.number + 1000
    about = f"{reason}{ach_trace(original.number)}{'':6}{original.rdfi[:8]}{'':3}"
    about += f"{ach_trace(back.number)}07703{'':21}"
    return replace(back, number=number, record_7=f"799{about}{ach_trace(number)}")


def contested(refusal: Entry, back: Entry, original: Entry, reason: str = "R73") -> Entry:
    """The objection to the refusal of a return."""
    number = refusal.number + 1000
    about = f"{reason}{ach_trace(original.number)}260318{original.rdfi[:8]}076"
    about += f"{ach_trace(back.number)}07703{ach_trace(refusal.number)}07869 "
    return replace(refusal, number=number, record_7=f"799{about}{ach_trace(number)}")


def changed(original: Entry, code: str = "C01") -> Entry:
    """A notification of change about an entry."""
    number = original.number + 6000
    about = f"{code}{ach_trace(original.number)}{'':6}{original.rdfi[:8]}{'7788':29}{'':15}"
    note = replace(original, code=21, cents=0, sec="COR", number=number, payload=b"")
    return replace(note, record_7=f"798{about}{ach_trace(number)}")


def reversal(original: Entry, **changes: Any) -> Entry:
    """A debit that takes an entry's money back; it has its own trace."""
    debit = replace(original, code=27, description="REVERSAL", text=None, payload=b"")
    return replace(debit, **{"number": original.number + 7000, "effective": "260319", **changes})


# ---- bank reports ----


@dataclass(frozen=True)
class Line:
    """A 16 record of a bank's report: by default an ACH credit whose text holds the addenda."""

    cents: int = 120000
    code: int = 165
    text: str = (
        f"EXAMPLE HEALTH DES:HCCLAIMPMT ID:112233333 INDN:RIVER CLINIC CO ID:{PAYER} CCD"
        f" PMT INFO:TRN*1*{TRACE}*{PAYER}\\"
    )
    bank_reference: str = ""
    customer_reference: str = ""


def bai2(*lines: Line, account: str = ACCOUNT, day: str = "260317", number: int = 1) -> bytes:
    """A BAI2 report of one account, all totals right."""
    total = sum(line.cents for line in lines)
    records = [f"03,{account},USD,010,,,/"]
    for line in lines:
        references = f"{line.bank_reference},{line.customer_reference}"
        records.append(f"16,{line.code},{line.cents},Z,{references},{line.text}")
    records.append(f"49,{total},{len(records) + 1}/")
    records = [f"02,RECEIVER,{RDFI},1,{day},,USD,2/", *records]
    records.append(f"98,{total},1,{len(records) + 1}/")
    records = [f"01,{RDFI},RECEIVER,{day},0800,{number},,,2/", *records]
    records.append(f"99,{total},1,{len(records) + 1}/")
    return "".join(record + "\n" for record in records).encode()


# ---- what comes of them ----


class Found(NamedTuple):
    """A pair by the places of its items among all remittances and all payments."""

    remittance: int
    payment: int
    status: MatchStatus
    tier: Tier


@dataclass(frozen=True)
class Result:
    """An outcome, easily asked."""

    matches: Matches
    pairs: list[Found] = field(default_factory=list)

    @property
    def remittances(self) -> list[RemittanceStatus]:
        return [RemittanceStatus(value) for value in self.matches.remittance_status]

    @property
    def payments(self) -> list[PaymentStatus]:
        return [PaymentStatus(value) for value in self.matches.payment_status]

    @property
    def release(self) -> list[bool]:
        return self.matches.release.tolist()

    @property
    def auto(self) -> list[Found]:
        return [pair for pair in self.pairs if pair.status == MatchStatus.AUTO]

    def reasons(self) -> list[Reason]:
        """Of the pairs, in their order."""
        return [Reason(int(value)) for value in self.matches.reason]

    def why(self) -> Reason:
        """All reasons of all pairs together."""
        return Reason(int(np.bitwise_or.reduce(self.matches.reason, initial=0)))

    def match_ids(self) -> int:
        """How many different matches the pairs belong to."""
        return len(set(self.matches.match_id.tolist()))


def pool(files: Sequence[bytes]) -> tuple[RemittanceColumns, PaymentColumns]:
    """The items of files in the order of arrival. Those with an ISA first are 835s, those with an
    01 record are bank reports."""
    left, right, count = [], [], 0
    for data in files:
        digest = int.from_bytes(blake2b(data, digest_size=8).digest())
        if data.startswith(b"ISA"):
            left.append(RemittanceColumns.from_tables(read_835(data), digest))
            continue
        if data.startswith(b"01,"):
            paid = bank_lines.payments(read_bai2(data), digest)
        else:
            read = read_ach(data)
            left.append(RemittanceColumns.from_ach(read, digest, count))
            paid = PaymentColumns.from_tables(read, digest)
        right.append(paid)
        count += len(paid)
    return RemittanceColumns.concat(left), PaymentColumns.concat(right)


def run(*files: bytes, as_of: datetime.date = AS_OF, **options: Any) -> Result:
    """Read and match. Options of match() itself are `directory`, `released`, `at_close`; all others
    are keys of the policy."""
    own = {k: options.pop(k) for k in ("directory", "released", "at_close") if k in options}
    if "released" in own:
        own["released"] = np.array(own["released"], np.bool_)
    calendar = federal_reserve_calendar()
    left, right = pool(files)
    m = match(left, right, policy=Policy(**options), calendar=calendar, as_of=as_of, **own)
    rows = zip(m.remittance, m.payment, m.status, m.tier, strict=True)
    found = [Found(int(r), int(p), MatchStatus(s), Tier(t)) for r, p, s, t in rows]
    return Result(m, found)
