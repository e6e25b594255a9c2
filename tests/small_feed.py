"""Small 835s and ACH files by hand, for tests of what is done with them. Everything is made up."""

from __future__ import annotations

from dataclasses import dataclass

TWO_TENANTS = """
[[payees]]
name = "River Clinic"
tenant = "north"
accounts = [{ routing = "021000021", account = "5566778" }]
tins = ["112223333"]
npis = ["1999999984"]

[[payees]]
name = "Hill Clinic"
tenant = "south"
accounts = [{ routing = "021000021", account = "42" }]
"""
"""A directory: whose accounts are those that entries go to, and one more."""


@dataclass(frozen=True)
class Marks:
    """Delimiters, and what stands behind a terminator."""

    element: str = "*"
    component: str = ":"
    terminator: str = "~"
    between: str = ""

    def write(self, *segments: str) -> bytes:
        """Segments given with `*` and `:`, in these delimiters."""
        table = str.maketrans({"*": self.element, ":": self.component})
        ends = self.terminator + self.between
        return "".join(segment.translate(table) + ends for segment in segments).encode("latin-1")


PLAIN = Marks()


def remittance(
    trace: str,
    cents: int,
    *,
    payer: str = "1234567890",
    control: str = "0001",
    method: str = "ACH",
    day: str = "20260316",
    claims: tuple[str, ...] = (),
    marks: Marks = PLAIN,
    segment_count: int | None = None,
) -> bytes:
    """ST..SE of an 835 that balances: one claim of the whole amount, or the given segments."""
    amount = f"{cents // 100}.{cents % 100:02d}"
    body = claims or (
        f"CLP*A1*1*{amount}*{amount}**12*P001",
        "NM1*QC*1*DOE*JANE****MI*M1",
    )
    handling = "I" if cents else "H"
    segments = [
        f"ST*835*{control}",
        f"BPR*{handling}*{amount}*C*{method if cents else 'NON'}*CCP*01*091000019*DA*998877*{payer}"
        f"**01*021000021*DA*5566778*{day}",
        f"TRN*1*{trace}*{payer}",
        "N1*PR*EXAMPLE HEALTH",
        "N1*PE*RIVER CLINIC*XX*1999999984",
        "REF*TJ*112223333",
        *(("LX*1", *body) if cents or claims else ()),
    ]
    count = segment_count if segment_count is not None else len(segments) + 1
    return marks.write(*segments, f"SE*{count}*{control}")


def interchange(
    *sets: bytes,
    sender: str = "SENDER",
    receiver: str = "RECEIVER",
    number: int = 1,
    marks: Marks = PLAIN,
    group_sender: str = "PAYER",
    set_count: int | None = None,
    group_count: int = 1,
    version: str = "005010X221A1",
    usage: str = "P",
) -> bytes:
    """ISA..IEA with one group around the transaction sets."""
    repetition, isa_version = ("^", "00501") if version.startswith("005") else ("U", "00401")
    head = marks.write(
        f"ISA*00*{'':10}*00*{'':10}*ZZ*{sender:15}*ZZ*{receiver:15}*260316*1200*{repetition}"
        f"*{isa_version}*{number:09d}*0*{usage}*:",
        f"GS*HP*{group_sender}*{receiver}*20260316*1200*{number}*X*{version}",
    )
    counted = len(sets) if set_count is None else set_count
    return (
        head
        + b"".join(sets)
        + marks.write(f"GE*{counted}*{number}", f"IEA*{group_count}*{number:09d}")
    )


@dataclass(frozen=True)
class Entry:
    """One credit: CCD+ with a TRN, or CTX around a payload."""

    cents: int
    trace: str = ""
    payer: str = "1234567890"
    payload: bytes = b""
    account: str = "5566778"
    receiver: str = "RIVER CLINIC"
    code: int = 22


ODFI = "09100001"
RDFI = "021000021"


def ach_file(*entries: Entry, settles: str = "075", effective: str = "260316") -> bytes:
    """A sound ACH file with one batch per entry; settles on day 075 (2026-03-16)."""
    lines = [
        f"101 0910000191234567890260315{'1200'}A094101{'RIVER BANK':23}{'EXAMPLE HEALTH':23}{'':8}"
    ]
    addenda_total = entry_hash = credits = 0
    for number, entry in enumerate(entries, 1):
        added, batch_lines = _batch(number, entry, settles, effective)
        lines += batch_lines
        addenda_total += 1 + added
        entry_hash += int(RDFI[:8])
        credits += entry.cents
    blocks = -(-(len(lines) + 1) // 10)
    lines.append(
        f"9{len(entries):06d}{blocks:06d}{addenda_total:08d}{entry_hash % 10**10:010d}{0:012d}"
        f"{credits:012d}{'':39}"
    )
    lines += ["9" * 94] * (blocks * 10 - len(lines))
    return "".join(line + "\n" for line in lines).encode("latin-1")


def _batch(number: int, entry: Entry, settles: str, effective: str) -> tuple[int, list[str]]:
    kind = "CTX" if entry.payload else "CCD"
    text = entry.payload.decode("latin-1") or f"TRN*1*{entry.trace}*{entry.payer}~"
    slices = [text[start : start + 80] for start in range(0, len(text), 80)]
    trace = f"{ODFI}{number:07d}"
    who = (
        f"{len(slices):04d}{entry.receiver:16.16}  " if entry.payload else f"{entry.receiver:22.22}"
    )
    lines = [
        f"5220{'EXAMPLE HEALTH':16}{'':20}{entry.payer:10.10}{kind}HCCLAIMPMT{'':6}"
        f"{effective}{settles}1{ODFI}{number:07d}",
        f"6{entry.code}{RDFI}{entry.account:17.17}{entry.cents:010d}{'112223333':15}{who}  1"
        f"{trace}",
    ]
    lines += [f"705{piece:80}{place:04d}{number:07d}" for place, piece in enumerate(slices, 1)]
    lines.append(
        f"8220{1 + len(slices):06d}{int(RDFI[:8]):010d}{0:012d}{entry.cents:012d}"
        f"{entry.payer:10.10}{'':25}{ODFI}{number:07d}"
    )
    return len(slices), lines
