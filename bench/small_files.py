"""A feed's transactions, each as a file of its own of some 1 KiB: one 835 in an envelope, or one
ACH entry in a batch and a file with controls that are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

RECORD_BYTES = 94
_ISA_BYTES = 106
_DEBITS = ("27", "28", "37", "38")


def small_files(path: Path) -> list[bytes]:
    """The transactions of an .835 or .ach file."""
    data = path.read_bytes()
    return list(_of_835(data) if path.suffix == ".835" else _of_ach(data))


def _of_835(data: bytes) -> Iterator[bytes]:
    """The envelope and control numbers are those of the file."""
    separator, terminator = data[3:4], data[_ISA_BYTES - 1 : _ISA_BYTES]
    isa = data[:_ISA_BYTES]
    group, body = b"", list[bytes]()
    for raw in data[_ISA_BYTES:].split(terminator):
        segment = raw.strip(b"\r\n")
        elements = segment.split(separator)
        if elements[0] == b"GS":
            group, body = segment, []
        elif elements[0] not in (b"GE", b"IEA"):
            body.append(segment)
        if elements[0] == b"SE":
            ends = [
                separator.join([b"GE", b"1", group.split(separator)[6]]),
                separator.join([b"IEA", b"1", isa.split(separator)[13]]),
            ]
            yield isa + b"".join(each + terminator for each in [group, *body, *ends])
            body = []


def _of_ach(data: bytes) -> Iterator[bytes]:
    lines = [line.decode("latin-1") for line in data.splitlines()]
    if len(lines) == 1:  # without line ends
        lines = [lines[0][at : at + RECORD_BYTES] for at in range(0, len(lines[0]), RECORD_BYTES)]
    header = batch = ""
    entry = list[str]()
    for line in lines:
        kind = line[0]
        if kind in "689" and entry:
            yield _ach_file(header, batch, entry)
            entry = []
        if kind == "1":
            header = line
        elif kind == "5":
            batch = line
        elif kind in "67":
            entry.append(line)


def _ach_file(header: str, batch: str, entry: list[str]) -> bytes:
    """With the controls of one entry and its addenda (Nacha record types 8 and 9)."""
    first, count = entry[0], len(entry)
    routing, cents = int(first[3:11]), int(first[29:39])
    debit, credit = (cents, 0) if first[1:3] in _DEBITS else (0, cents)
    totals = f"{count:06d}{routing:010d}{debit:012d}{credit:012d}"
    end = f"8{batch[1:4]}{totals}{batch[40:50]}{'':25}{batch[79:94]}"
    blocks = -(-(count + 4) // 10)
    last = f"9{1:06d}{blocks:06d}{count:08d}{totals[6:]}".ljust(RECORD_BYTES)
    records = [header, batch, *entry, end, last]
    records += ["9" * RECORD_BYTES] * (10 * blocks - len(records))
    return "".join(record + "\n" for record in records).encode("latin-1")
