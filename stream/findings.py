"""Findings as lines of `findings.csv`: places, codes and our own words, never a value of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import AchFiles
from reassoc.core.bai2 import BankReports
from reassoc.core.columns import Table
from reassoc.core.errors import FindingCode, describe, severity
from reassoc.core.lockbox import LockboxList
from reassoc.core.x12_835 import Remittances
from reassoc.stream.table import csv_cell

FINDINGS_HEADER = "file,byte_offset,segment_or_record,code,severity,message"
_MORE = frozenset((FindingCode.X12_FINDINGS_MORE, FindingCode.ACH_FINDINGS_MORE))
PART_FINDINGS_BYTES_MAX = 512 << 10
"""Bytes of findings of one message, as of a manifest; what is beyond is counted only."""
_ADDENDA_TEXT_START = 3  # 0-based column where the 80 characters of an 05 begin
_ADDENDA_TEXT_BYTES = 80


def x12_findings(out: IO[bytes], counts: Counter[int], name: str, window: Remittances) -> None:
    """Write a window's X12 findings: the segment is its id and its number in the transaction (ST is
    1).
    """
    findings = window.findings
    if len(findings):
        places = _segment_places(findings)
        _write(out, counts, name, findings, findings.file_offset, places)


def ach_findings(out: IO[bytes], counts: Counter[int], name: str, window: AchFiles) -> None:
    """Write a window's ACH findings: the record is its number in the input, from 1."""
    findings = window.findings
    if len(findings):
        places = [
            f"record {number}" if number else "" for number in findings.record_number.tolist()
        ]
        _write(out, counts, name, findings, findings.file_offset, places)


def payload_findings(out: IO[bytes], counts: Counter[int], name: str, window: AchFiles) -> None:
    """Write the findings in 835s that came in addenda, at the byte of the addenda record where each
    lies.
    """
    findings = window.remittances.findings
    if len(findings):
        offsets, records = _payload_places(window, findings)
        segments = _segment_places(findings)
        places = [
            f"{place} in record {record}".lstrip()
            for place, record in zip(segments, records, strict=True)
        ]
        _write(out, counts, name, findings, offsets, places)


def bai2_findings(
    out: IO[bytes],
    counts: Counter[int],
    name: str,
    reports: BankReports,
    uncertain: npt.NDArray[np.int64],
) -> None:
    """Write a bank report's findings; `uncertain` are rows of details whose TRN is not sure."""
    findings, details = reports.findings, reports.details
    code = np.full(len(uncertain), FindingCode.BAI2_TRN_UNCERTAIN, np.uint16)
    codes = np.concatenate([findings.code, code])
    offsets = np.concatenate([findings.file_offset, details.offset[uncertain].astype(np.int64)])
    records = np.concatenate([findings.record_number, details.record_number[uncertain]])
    _write_records(out, counts, name, codes, offsets, records)


def lockbox_findings(out: IO[bytes], counts: Counter[int], name: str, listed: LockboxList) -> None:
    """Write a lockbox list's findings; a record is a row of the list, counted from 1."""
    found = listed.findings
    _write_records(out, counts, name, found.code, found.file_offset, found.record_number)


def _write_records(
    out: IO[bytes],
    counts: Counter[int],
    name: str,
    codes: npt.NDArray[Any],
    offsets: npt.NDArray[Any],
    records: npt.NDArray[Any],
) -> None:
    if len(codes):
        places = [f"record {number}" if number else "" for number in records.tolist()]
        findings = Table("findings", {"code": codes}, {"code": "uint16"}, {"code": "its code"})
        _write(out, counts, name, findings, offsets, places)


def _segment_places(findings: Table) -> list[str]:
    """`CLP 14`: the segment and its number in the transaction; only one of them, or nothing, where
    that is all.
    """
    segments = [segment.decode("latin-1") for segment in findings.segment.tolist()]
    ordinals = [str(ordinal) if ordinal else "" for ordinal in findings.segment_ordinal.tolist()]
    return [
        f"{segment} {ordinal}".strip() for segment, ordinal in zip(segments, ordinals, strict=True)
    ]


def _payload_places(window: AchFiles, findings: Table) -> tuple[npt.NDArray[np.int64], list[int]]:
    """File offsets and record numbers of findings in payloads: slice n of a payload is addenda
    record n of its entry.
    """
    entries = window.entries
    rows = window.payload_entries[findings.range]
    starts = window.payloads.start[np.flatnonzero(window.payloads.x12)].astype(np.int64)
    position = np.maximum(findings.file_offset - starts[findings.range], 0)
    first = entries.addenda_start[rows].astype(np.int64)
    last = entries.addenda_stop[rows].astype(np.int64) - 1
    addenda = np.clip(first + position // _ADDENDA_TEXT_BYTES, first, last)
    records = window.addenda.record_number[addenda].tolist()
    offsets = window.addenda.offset[addenda].astype(np.int64) + window.window_offset
    return offsets + _ADDENDA_TEXT_START + position % _ADDENDA_TEXT_BYTES, records


def _write(
    out: IO[bytes],
    counts: Counter[int],
    name: str,
    findings: Table,
    offsets: npt.NDArray[Any],
    places: list[str],
) -> None:
    """One line per finding, in the order of their bytes."""
    codes, inverse, totals = np.unique(findings.code, return_inverse=True, return_counts=True)
    counts.update(dict(zip(codes.tolist(), totals.tolist(), strict=True)))
    for code in _MORE.intersection(codes.tolist()):
        # One finding stands for as many as were left out.
        counts[code] += int((findings.length[findings.code == code].astype(np.int64) - 1).sum())
    tails = []
    for code in codes.tolist():
        known = FindingCode(code)
        tails.append(f",{known.name},{severity(known).name.lower()},{csv_cell(describe(known))}\n")
    order = np.argsort(offsets, kind="stable").tolist()
    begin = csv_cell(name) + ","
    all_offsets = offsets.tolist()
    numbers = inverse.tolist()
    lines = [f"{begin}{all_offsets[row]},{places[row]}{tails[numbers[row]]}" for row in order]
    out.write("".join(lines).encode("utf-8"))


def first_lines(lines: bytes) -> bytes:
    """The lines of a message's findings that are kept: PART_FINDINGS_BYTES_MAX of them."""
    if len(lines) <= PART_FINDINGS_BYTES_MAX:
        return lines
    return lines[: lines.rfind(b"\n", 0, PART_FINDINGS_BYTES_MAX) + 1]


def line_pieces(lines: bytes, size: int) -> Iterator[bytes]:
    """Lines of a table in pieces of at most so many bytes, cut at their ends; a line that is longer
    is a piece of its own. O(bytes)."""
    start = 0
    while start < len(lines):
        stop = len(lines)
        if stop - start > size:
            stop = lines.rfind(b"\n", start, start + size) + 1
            stop = stop or lines.find(b"\n", start + size) + 1 or len(lines)
        yield lines[start:stop]
        start = stop
