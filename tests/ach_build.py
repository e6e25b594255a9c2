"""Builds small ACH files for tests: right by default; what is to be wrong is put in by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

ODFI = 9100001
RDFI = "02100002"


@dataclass
class Entry:
    """A record 6 and its addenda texts; `raw_addenda` are whole records 7."""

    amount: int = 1000
    code: int = 22
    texts: list[str] = field(default_factory=list)
    raw_addenda: list[str] = field(default_factory=list)
    trace: int = 0


@dataclass
class Batch:
    """A batch; `sec` decides the layout of its entries."""

    entries: list[Entry]
    sec: str = "CCD"
    settlement: str = "317"
    effective: str = "260316"


def addenda_05(text: str, sequence: int, trace: int) -> str:
    """A record 7 of type 05."""
    return f"705{text:<80}{sequence:04}{trace:07}"


def entry_lines(entry: Entry, sec: str, trace: int) -> list[str]:
    """A record 6 and its records 7."""
    count = len(entry.texts) + len(entry.raw_addenda)
    name = f"{count:04}{'RIVER CLINIC':<16}  " if sec == "CTX" else f"{'RIVER CLINIC':<22}"
    line = f"6{entry.code:02}{RDFI}1{'15566778':<17}{entry.amount:010}{'112233':<15}{name}  "
    lines = [f"{line}{int(count > 0)}{ODFI:08}{trace:07}"]
    lines += [addenda_05(text, number, trace) for number, text in enumerate(entry.texts, 1)]
    return lines + entry.raw_addenda


def ach_lines(batches: list[Batch], creation: str = "260316") -> list[str]:
    """The records of one file, fillers included; every count and total is right."""
    lines = [f"101 091000019 {ODFI:08}1{creation}0800A094101{'BANK':<23}{'ORIGIN':<23}{'':8}"]
    total = [0, 0, 0, 0]
    trace = 0
    for number, batch in enumerate(batches, 1):
        lines.append(
            f"5200{'EXAMPLE HEALTH':<16}{'':20}1234567890{batch.sec}HCCLAIMPMT260316"
            f"{batch.effective}{batch.settlement:>3}1{ODFI:08}{number:07}"
        )
        part = [0, 0, 0, 0]
        for entry in batch.entries:
            trace = entry.trace or trace + 1
            records = entry_lines(entry, batch.sec, trace)
            lines += records
            part[0] += len(records)
            part[1] += int(RDFI)
            part[3 if entry.code % 10 < 5 else 2] += entry.amount
        lines.append(
            f"8200{part[0]:06}{part[1] % 10**10:010}{part[2]:012}{part[3]:012}1234567890"
            f"{'':25}{ODFI:08}{number:07}"
        )
        total = [old + new for old, new in zip(total, part, strict=True)]
    blocks = -(-(len(lines) + 1) // 10)
    lines.append(
        f"9{len(batches):06}{blocks:06}{total[0]:08}{total[1] % 10**10:010}"
        f"{total[2]:012}{total[3]:012}{'':39}"
    )
    lines += ["9" * 94] * (blocks * 10 - len(lines))
    assert all(len(line) == 94 for line in lines)
    return lines


def ach_file(batches: list[Batch], end: str = "\n", creation: str = "260316") -> bytes:
    """One file as bytes, each record followed by `end`."""
    return "".join(line + end for line in ach_lines(batches, creation)).encode("latin-1")


def ctx_slices(payload: str) -> list[str]:
    """A payload cut into the 80 columns of addenda."""
    return [payload[at : at + 80] for at in range(0, len(payload), 80)]
