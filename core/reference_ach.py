"""Plain twin of the ACH reader: slow, written from the record layouts by slicing; for tests only.

`read` gives the same rows as ach.read_ach, as dicts with the names of the columns, but for the
rows of the CTX payloads' X12, which has a twin of its own. Texts are bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from reassoc.core import reference_trn
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FINDINGS_MAX
from reassoc.core.errors import FindingCode as Code
from reassoc.core.reference_ach_files import (
    BatchTwin,
    FileTwin,
    Row,
    read_code,
    read_date,
    read_number,
)
from reassoc.core.reference_ach_records import (
    ADDENDA_TYPES,
    Record,
    check_digit,
    known_code,
    looks_like_x12,
    plausible,
)
from reassoc.core.reference_trn import Trn

_KINDS = {2: 1, 7: 2, 3: 3, 8: 3, 4: 4, 9: 4}
_COUNTED = {b"CTX", b"TRX", b"ATX", b"ENR"}
_DIGITS = re.compile(rb"[0-9]+")

ENTRY_ADDENDA_MAX = 9999
ENTRY_BYTES_MAX = 2 << 20


@dataclass
class EntryTwin:
    """The entry whose addenda may still follow."""

    row: Row | None
    record: Record
    trace: int
    declared: int
    addenda: list[Record] = field(default_factory=list)
    slices: list[tuple[int, bytes]] = field(default_factory=list)
    types: set[int] = field(default_factory=set)
    trn: Trn = field(default_factory=Trn)


class AchTwin:
    """One reading of an input."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tables: dict[str, list[Row]] = {
            name: []
            for name in (
                "files",
                "batches",
                "entries",
                "addenda",
                "returns",
                "payloads",
                "findings",
            )
        }
        self.file: FileTwin | None = None
        self.batch: BatchTwin | None = None
        self.entry: EntryTwin | None = None
        self.records = 0

    # Findings

    def find(
        self, code: Code, record: Record, first: int = 0, last: int = 0, entry: Row | None = None
    ) -> None:
        """Note what is wrong with columns first to last of a record (0: the record as a whole)."""
        start = min(max(first - 1, 0), len(record.raw))
        width = last - first + 1 if first else len(record.raw)
        length = min(width, len(record.raw) - start)
        self.find_at(code, record.offset + start, length, record.number, record.type, first, entry)

    def find_at(
        self,
        code: Code,
        offset: int,
        length: int,
        number: int,
        kind: bytes,
        column: int = 0,
        entry: Row | None = None,
    ) -> None:
        """Note what is wrong at a place."""
        self.tables["findings"].append(
            {
                "code": int(code),
                "file_offset": offset,
                "length": length,
                "record_number": number,
                "record_type": kind,
                "position": column,
                "entry": -1 if entry is None else entry["_row"],
            }
        )

    # Records

    def read(self) -> dict[str, list[Row]]:
        """Read everything."""
        at, after, told = 0, False, False
        data, size = self.data, len(self.data)
        kind = b""
        while at < size:
            byte = data[at : at + 1]
            if byte in b"\r\n":
                after = False
            elif byte in b" \t":
                if after and not told:
                    self.find_at(Code.ACH_RECORD_LONG, at, 0, self.records, kind)
                    told = True
            elif data[at : at + 3] == b"\xef\xbb\xbf":
                at += 2
            elif byte in b"\0\x1a":
                pass
            elif byte in b"156789" and (not after or plausible(data, at, False)):
                line = re.split(rb"[\r\n]", data[at : at + 94])[0]
                self.records += 1
                record = Record(at, line, self.records)
                self.take(record)
                at += len(line)
                after, told, kind = len(line) == 94, False, record.type
                continue
            else:
                self.find_at(Code.ACH_JUNK, at, 0, self.records, b"")
                at += 1
                while (
                    at < size and data[at : at + 1] not in b"\r\n" and not plausible(data, at, True)
                ):
                    at += 1
                after = False
                continue
            at += 1
        self.end_entry()
        self.end_file()
        return self.tables

    def take(self, record: Record) -> None:
        """One record."""
        if record.type == b"7":
            self.limit_entry(record)
            self.addenda(record)
        else:
            self.end_entry()
            if record.type == b"1":
                self.end_file()
                self.begin_file(record, True)
            elif record.type == b"5":
                self.begin_batch(record, True)
            elif record.type == b"6":
                self.begin_entry(record)
            elif record.type == b"8":
                self.batch_control(record)
            elif not record.filler:
                self.file_control(record)
        if len(record.raw) < 94 and not record.filler:
            self.find(Code.ACH_RECORD_SHORT, record)
        if self.file is not None:
            self.file.row["record_count"] += 1

    # Files and batches

    def begin_file(self, record: Record, has_header: bool) -> None:
        """A record 1, or a record that should have come after one."""
        self.file = FileTwin(record.offset, record.line if has_header else b" " * 94, has_header)
        self.file.row["ordinal"] = len(self.tables["files"])
        self.tables["files"].append(self.file.row)
        if not has_header:
            self.find_at(Code.ACH_FILE_HEADER_MISSING, record.offset, 0, record.number, record.type)
            return
        if self.file.date_bad:
            self.find(Code.ACH_DATE_BAD, record, 24, 29)
        if record.columns(35, 40) != b"094101":
            self.find(Code.ACH_FILE_HEADER_FORMAT, record, 35, 40)

    def need_file(self, record: Record) -> FileTwin:
        """The file that this record belongs to."""
        if self.file is None or self.file.row["has_control"]:
            self.end_file()
            self.begin_file(record, False)
        assert self.file is not None
        return self.file

    def end_file(self) -> None:
        """The next file begins, or the input ends."""
        self.end_batch()
        file, self.file = self.file, None
        if file is None:
            return
        if file.control is None:
            self.find_at(Code.ACH_FILE_CONTROL_MISSING, file.row["file_offset"], 0, 0, b"")
            return
        offset, number = file.control
        if file.row["declared_block_count"] not in (-1, -(-file.row["record_count"] // 10)):
            self.find_at(Code.ACH_FILE_BLOCK_COUNT, offset + 7, 6, number, b"9", 8)
        if file.row["record_count"] % 10:
            self.find_at(Code.ACH_FILE_FILLER_MISSING, offset, 0, number, b"9")

    def begin_batch(self, record: Record, has_header: bool) -> BatchTwin:
        """A record 5, or an entry that should have come after one."""
        self.end_batch()
        file = self.need_file(record)
        batch = BatchTwin(
            record.offset, record.number, record.line if has_header else b" " * 94, has_header, file
        )
        self.batch = batch
        batch.row["ordinal"] = len(self.tables["batches"])
        self.tables["batches"].append(batch.row)
        file.row["batch_count"] += 1
        if not has_header:
            self.find_at(
                Code.ACH_BATCH_HEADER_MISSING, record.offset, 0, record.number, record.type
            )
        for code, first, last in batch.header_faults() if has_header else []:
            self.find(code, record, first, last)
        return batch

    def end_batch(self) -> None:
        """The batch is over, with or without its control record."""
        batch, self.batch = self.batch, None
        if batch is None:
            return
        if not batch.row["has_control"]:
            kind = b"5" if batch.row["has_header"] else b""
            self.find_at(
                Code.ACH_BATCH_CONTROL_MISSING, batch.row["file_offset"], 0, batch.number, kind
            )
        batch.close()

    def batch_control(self, record: Record) -> None:
        """A record 8."""
        if self.batch is None:
            self.find(Code.ACH_RECORD_MISPLACED, record)
            return
        for code, first, last in self.batch.control_faults(record.line):
            self.find(code, record, first, last)
        self.end_batch()

    def file_control(self, record: Record) -> None:
        """A record 9 that is no filler."""
        if self.file is not None and self.file.row["has_control"]:
            self.find(Code.ACH_RECORD_MISPLACED, record)
            return
        self.end_batch()
        file = self.need_file(record)
        file.control = (record.offset, record.number)
        for code, first, last in file.control_faults(record.line):
            self.find(code, record, first, last)

    # Entries

    def begin_entry(self, record: Record) -> None:
        """A record 6."""
        batch = self.batch or self.begin_batch(record, False)
        code = max(read_number(record.columns(2, 3)), 0)
        routing = read_number(record.columns(4, 12))
        amount = read_number(record.columns(30, 39))
        trace = read_number(record.columns(80, 94))
        batch.count(code, read_number(record.columns(4, 11)), amount)
        counted = batch.sec in _COUNTED
        declared = read_number(record.columns(55, 58)) if counted else -1
        self.entry = EntryTwin(None, record, trace, declared)
        if batch.row["skipped"]:
            return
        indicator = record.columns(79, 79)
        row: Row = {
            "_row": len(self.tables["entries"]),
            "offset": record.offset,
            "ordinal": len(self.tables["entries"]),
            "record_number": record.number,
            "batch": len(self.tables["batches"]) - 1,
            "transaction_code": code,
            "rdfi_routing": routing,
            "account": record.columns(13, 29).strip(b" "),
            "amount_cents": max(amount, 0),
            "identification": record.columns(40, 54).strip(b" "),
            "receiver_name": (record.columns(59, 74) if counted else record.columns(55, 76)).strip(
                b" "
            ),
            "discretionary": read_code(record.columns(77, 78)),
            "addenda_indicator": int(indicator) if _DIGITS.fullmatch(indicator) else 255,
            "trace_number": trace,
            "addenda_start": len(self.tables["addenda"]),
            "addenda_stop": len(self.tables["addenda"]),
            "kind": 0
            if not known_code(code) or code == 56
            else 2
            if code == 55
            else _KINDS.get(code % 10, 0),
            "valid": amount >= 0,
            "return_code": b"",
            "original_trace_number": 0,
            "original_rdfi": 0,
        }
        self.entry.row = row
        self.tables["entries"].append(row)
        if not known_code(code):
            self.find(Code.ACH_TRANSACTION_CODE_UNKNOWN, record, 2, 3, row)
        if routing < 0:
            self.find(Code.ACH_ROUTING_BAD, record, 4, 12, row)
        elif check_digit(record.columns(4, 11)) != routing % 10:
            self.find(Code.ACH_CHECK_DIGIT, record, 12, 12, row)
        if amount < 0:
            self.find(Code.ACH_AMOUNT_BAD, record, 30, 39, row)
        if trace < 0:
            self.find(Code.ACH_TRACE_BAD, record, 80, 94, row)
        else:
            if trace <= batch.trace:
                self.find(Code.ACH_TRACE_ORDER, record, 80, 94, row)
            batch.trace = trace

    def limit_entry(self, record: Record) -> None:
        """An entry has at most so many addenda and bytes."""
        if self.entry is None:
            return
        full = len(self.entry.addenda) >= ENTRY_ADDENDA_MAX
        if full:
            self.find(Code.ACH_ADDENDA_LIMIT, record, 0, 0, self.entry.row)
        if full or record.offset - self.entry.record.offset > ENTRY_BYTES_MAX:
            self.end_entry()

    def end_entry(self) -> None:
        """Nothing more can belong to the entry."""
        entry, self.entry = self.entry, None
        if entry is None or entry.row is None or self.batch is None:
            return
        row, batch = entry.row, self.batch
        row["addenda_stop"] = len(self.tables["addenda"])
        if row["addenda_indicator"] != (1 if entry.addenda else 0):
            self._find_in_entry(Code.ACH_ADDENDA_INDICATOR, entry, 79, 79)
        if entry.declared not in (-1, len(entry.addenda)) and not entry.types & {98, 99}:
            self._find_in_entry(Code.ACH_ADDENDA_COUNT, entry, 55, 58)
        if batch.sec in (b"CCD", b"PPD") and len(entry.slices) > 1:
            self._find_in_entry(Code.ACH_ADDENDA_TOO_MANY, entry, 79, 79)
        if 99 in entry.types:
            row["kind"] = 5
        elif 98 in entry.types or batch.sec == b"COR":
            row["kind"] = 6
        first = entry.slices[0][1] if entry.slices else b""
        if entry.slices and (
            batch.sec == b"CTX" or (not batch.row["has_header"] and looks_like_x12(first))
        ):
            self._join(entry)
        row["trn_form"], row["trace"], row["payer_id"], row["trace_supplement"] = (
            entry.trn.form,
            entry.trn.trace.encode("latin-1"),
            entry.trn.payer_id.encode("latin-1"),
            entry.trn.supplement.encode("latin-1"),
        )

    def _find_in_entry(self, code: Code, entry: EntryTwin, first: int, last: int) -> None:
        record = entry.record
        self.find_at(
            code, record.offset + first - 1, last - first + 1, record.number, b"6", first, entry.row
        )

    def _join(self, entry: EntryTwin) -> None:
        """The text of a CTX, out of its addenda."""
        numbers = [number for number, _ in entry.slices]
        if sorted(numbers) == list(range(1, len(numbers) + 1)):
            entry.slices.sort(key=lambda numbered: numbered[0])
        text = b"".join(slice_ for _, slice_ in entry.slices).rstrip(b" ")
        assert entry.row is not None
        x12 = looks_like_x12(text)
        if not x12:
            entry.trn = reference_trn.find_trn(text[:4096])
            if entry.trn.form == reference_trn.UNCERTAIN:
                self.find_at(
                    Code.ACH_TRN_UNCERTAIN,
                    entry.record.offset,
                    0,
                    entry.record.number,
                    b"6",
                    0,
                    entry.row,
                )
        self.tables["payloads"].append({"entry": entry.row["_row"], "text": text, "x12": x12})

    # Addenda

    def addenda(self, record: Record) -> None:
        """A record 7."""
        if self.batch is not None:
            self.batch.row["entry_addenda_count"] += 1
        entry = self.entry
        if entry is None:
            self.find(Code.ACH_ADDENDA_ORPHAN, record)
            return
        entry.addenda.append(record)
        if entry.row is None:
            return
        kind = read_number(record.columns(2, 3))
        row: Row = {
            "offset": record.offset,
            "entry": entry.row["_row"],
            "record_number": record.number,
            "type_code": kind if kind >= 0 else 255,
            "sequence": read_number(record.columns(84, 87)) if kind == 5 else -1,
            "entry_sequence": read_number(record.columns(88, 94)),
            "information": record.columns(4, 83 if kind == 5 else 79).strip(b" "),
        }
        self.tables["addenda"].append(row)
        entry.types.add(kind)
        if kind == 5:
            entry.slices.append((row["sequence"], record.columns(4, 83)))
            if row["sequence"] != len(entry.slices):
                self.find(Code.ACH_ADDENDA_SEQUENCE, record, 84, 87, entry.row)
        tail = entry.trace % 10**7 if entry.trace >= 0 else -1
        if row["entry_sequence"] != tail:
            self.find(Code.ACH_ADDENDA_ENTRY_DIFFERS, record, 88, 94, entry.row)
        if kind == 5:
            foreign = row["entry_sequence"] >= 0 and tail >= 0 and row["entry_sequence"] != tail
            self._trn(entry, record, foreign)
        elif kind in (98, 99):
            self._return(entry.row, record, kind, row)
        elif kind not in ADDENDA_TYPES:
            self.find(Code.ACH_ADDENDA_TYPE_UNKNOWN, record, 2, 3, entry.row)

    def _trn(self, entry: EntryTwin, record: Record, foreign: bool) -> None:
        assert self.batch is not None
        if self.batch.sec == b"CTX":
            return
        found = reference_trn.find_trn(record.columns(4, 83))
        known = entry.trn
        if found.form == reference_trn.NONE:
            return
        doubt = reference_trn.UNCERTAIN in (found.form, known.form) or foreign
        if not doubt and known.form != reference_trn.NONE:
            if known.trace == found.trace:
                return
            doubt = True
        if doubt and known.form != reference_trn.UNCERTAIN:
            self.find(Code.ACH_TRN_UNCERTAIN, record, 4, 83, entry.row)
        entry.trn = Trn(reference_trn.UNCERTAIN) if doubt else found

    def _return(self, entry: Row, record: Record, kind: int, addenda: Row) -> None:
        """Addenda 98 and 99."""
        code = record.columns(4, 6)
        letter, number = code[:1].upper(), read_number(code[1:])
        if number < 1 or letter != (b"C" if kind == 98 else b"R"):
            self.find(Code.ACH_RETURN_CODE_UNKNOWN, record, 4, 6, entry)
        form = 3 if kind == 98 else 0
        if kind == 99 and letter == b"R":
            form = 1 if 61 <= number <= 70 else 2 if 71 <= number <= 79 else 0
        if kind == 98 and letter == b"C" and 61 <= number <= 69:
            form = 4
        row: Row = {
            "form": form,
            "entry": entry["_row"],
            "addenda": len(self.tables["addenda"]) - 1,
            "code": read_code(code),
            "original_trace_number": read_number(record.columns(7, 21)),
            "original_rdfi": read_number(record.columns(28, 35)),
            "return_trace_number": read_number(record.columns(39, 53)) if form in (1, 2) else -1,
            "return_settlement_day": read_number(record.columns(54, 56)) if form in (1, 2) else -1,
            "return_reason": read_code(record.columns(57, 58)) if form in (1, 2) else b"",
            "original_settlement_day": read_number(record.columns(36, 38)) if form == 2 else -1,
            "dishonored_trace_number": read_number(record.columns(59, 73)) if form == 2 else -1,
            "dishonored_settlement_day": read_number(record.columns(74, 76)) if form == 2 else -1,
            "dishonored_reason": read_code(record.columns(77, 78)) if form == 2 else b"",
            "change_code": read_code(record.columns(65, 67)) if form == 4 else b"",
            "trace_sequence": read_number(record.columns(68, 74)) if form == 4 else -1,
        }
        day = read_date(record.columns(22, 27))
        row["date"] = DATE_NONE if form not in (0, 2) or day is None else day
        if form == 0 and day is None:
            self.find(Code.ACH_DATE_BAD, record, 22, 27, entry)
        places = {0: (36, 79), 1: (59, 79), 2: (36, 35), 3: (36, 64), 4: (36, 64)}
        addenda["information"] = record.columns(*places[form]).strip(b" ")
        self.tables["returns"].append(row)
        entry["return_code"] = row["code"]
        entry["original_trace_number"] = row["original_trace_number"]
        entry["original_rdfi"] = row["original_rdfi"]


def read(data: bytes, findings_max: int = FINDINGS_MAX) -> dict[str, Any]:
    """Read an input. O(n), slowly."""
    twin = AchTwin(data)
    tables = twin.read()
    rest = tables["findings"][findings_max:]
    if rest:
        del tables["findings"][findings_max:]
        first = rest[0]
        twin.find_at(
            Code.ACH_FINDINGS_MORE, first["file_offset"], len(rest), first["record_number"], b"\0"
        )
    return tables
