"""Files and batches of the plain ACH twin: headers, totals, control records. An oracle in tests."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode as Code

Row = dict[str, Any]
Fault = tuple[Code, int, int]

_SEC = set(
    b"ACK ADV ARC ATX BOC CCD CIE COR CTX DNE ENR IAT "
    b"MTE POP POS PPD RCK SHR TEL TRC TRX WEB XCK".split()
)
_EPOCH = dt.date(1970, 1, 1)


def read_number(text: bytes) -> int:
    """An unsigned number of digits only, else -1."""
    return int(text) if re.fullmatch(rb"[0-9]+", text) else -1


def read_date(text: bytes) -> int | None:
    """YYMMDD as days; DATE_NONE where blank or zero, None where it is no date."""
    if text.strip(b" ") == b"" or set(text) == {ord("0")}:
        return DATE_NONE
    if read_number(text) < 0:
        return None
    century = b"20" if text < b"70" else b"19"
    try:
        return (dt.datetime.strptime((century + text).decode(), "%Y%m%d").date() - _EPOCH).days
    except ValueError:
        return None


def settlement_date(day: int, near: int) -> int:
    """The date nearest to `near` that is this day of its year."""
    if near == DATE_NONE or not 1 <= day <= 366:
        return DATE_NONE
    year = (_EPOCH + dt.timedelta(near)).year
    candidates = [dt.date(y, 1, 1) + dt.timedelta(day - 1) for y in (year - 1, year, year + 1)]
    days = [
        (date - _EPOCH).days
        for y, date in zip((year - 1, year, year + 1), candidates, strict=True)
        if date.year == y
    ]
    return min(days, key=lambda value: abs(value - near), default=DATE_NONE)


def read_code(text: bytes) -> bytes:
    """A code column: upper case, without what fills it up."""
    return text.rstrip(b" ").upper().rstrip(b"\0")


def _columns(line: bytes, first: int, last: int) -> bytes:
    return line[first - 1 : last]


class FileTwin:
    """A file: `row` grows while it is read."""

    def __init__(self, offset: int, header: bytes, has_header: bool) -> None:
        day = read_date(_columns(header, 24, 29))
        self.date_bad = day is None
        self.adv = False
        self.control: tuple[int, int] | None = None
        self.hash = 0
        self.row: Row = {
            "file_offset": offset,
            "has_header": has_header,
            "has_control": False,
            "closed": False,
            "valid": True,
            "priority": read_code(_columns(header, 2, 3)),
            "destination": _columns(header, 4, 13).strip(b" "),
            "origin": _columns(header, 14, 23).strip(b" "),
            "creation_date": DATE_NONE if day is None else day,
            "creation_time": _columns(header, 30, 33).strip(b" "),
            "id_modifier": read_code(_columns(header, 34, 34)),
            "destination_name": _columns(header, 41, 63).strip(b" "),
            "origin_name": _columns(header, 64, 86).strip(b" "),
            "reference": _columns(header, 87, 94).strip(b" "),
            "batch_count": 0,
            "record_count": 0,
            "entry_addenda_count": 0,
            "entry_hash": 0,
            "debit_cents": 0,
            "credit_cents": 0,
        }
        for name in ("batch_count", "block_count", "entry_addenda_count", "entry_hash"):
            self.row[f"declared_{name}"] = -1
        self.row["declared_debit_cents"] = self.row["declared_credit_cents"] = -1

    def control_faults(self, line: bytes) -> list[Fault]:
        """Record 9 against what was counted."""
        row = self.row
        row["has_control"] = row["closed"] = True
        checks = [
            (2, 7, "batch_count", Code.ACH_FILE_BATCH_COUNT),
            (14, 21, "entry_addenda_count", Code.ACH_FILE_ENTRY_COUNT),
            (22, 31, "entry_hash", Code.ACH_FILE_HASH),
        ]
        if not self.adv:
            checks += [
                (32, 43, "debit_cents", Code.ACH_FILE_DEBIT_TOTAL),
                (44, 55, "credit_cents", Code.ACH_FILE_CREDIT_TOTAL),
            ]
        faults, row["valid"] = _compare(row, line, checks)
        row["declared_block_count"] = read_number(_columns(line, 8, 13))
        if row["declared_block_count"] < 0:
            faults.append((Code.ACH_CONTROL_NUMBER_BAD, 8, 13))
        return faults


class BatchTwin:
    """A batch: `row` grows while it is read."""

    def __init__(
        self, offset: int, number: int, header: bytes, has_header: bool, file: FileTwin
    ) -> None:
        self.header = header
        self.number = number
        self.file = file
        self.trace = -1
        self.sec = _columns(header, 51, 53).upper()
        self.iat = self.sec == b"IAT" or (
            self.sec == b"COR" and _columns(header, 5, 10).upper() == b"IATCOR"
        )
        self.adv = self.sec == b"ADV"
        file.adv = file.adv or self.adv
        effective = read_date(_columns(header, 70, 75))
        self.effective_bad = effective is None
        effective = DATE_NONE if effective is None else effective
        day = read_number(_columns(header, 76, 78))
        created = file.row["creation_date"]
        self.row: Row = {
            "file_offset": offset,
            "has_header": has_header,
            "has_control": False,
            "skipped": self.iat or self.adv,
            "closed": False,
            "valid": True,
            "service_class": read_number(_columns(header, 2, 4)),
            "company_name": _columns(header, 5, 20).strip(b" "),
            "company_discretionary": _columns(header, 21, 40).strip(b" "),
            "company_id": _columns(header, 41, 50).strip(b" "),
            "sec": read_code(self.sec),
            "entry_description": _columns(header, 54, 63).strip(b" "),
            "descriptive_date": _columns(header, 64, 69).strip(b" "),
            "effective_date": effective,
            "settlement_day": day,
            "settlement_date": settlement_date(day, effective if created == DATE_NONE else created),
            "originator_status": read_code(_columns(header, 79, 79)),
            "odfi": read_number(_columns(header, 80, 87)),
            "batch_number": read_number(_columns(header, 88, 94)),
            "entry_count": 0,
            "entry_addenda_count": 0,
            "entry_hash": 0,
            "debit_cents": 0,
            "credit_cents": 0,
        }
        for name in ("entry_addenda_count", "entry_hash", "debit_cents", "credit_cents"):
            self.row[f"declared_{name}"] = -1

    def header_faults(self) -> list[Fault]:
        """What is wrong with record 5."""
        faults: list[Fault] = []
        day = _columns(self.header, 76, 78)
        if self.row["service_class"] not in (200, 220, 225, 280):
            faults.append((Code.ACH_SERVICE_CLASS_UNKNOWN, 2, 4))
        if self.sec not in _SEC:
            faults.append((Code.ACH_SEC_UNKNOWN, 51, 53))
        if self.row["skipped"]:
            faults.append((Code.ACH_UNSUPPORTED_LAYOUT, 51, 53))
        if self.effective_bad:
            faults.append((Code.ACH_DATE_BAD, 70, 75))
        if day != b"   " and not 0 <= read_number(day) <= 366:
            faults.append((Code.ACH_DATE_BAD, 76, 78))
        if self.row["odfi"] < 0:
            faults.append((Code.ACH_NUMBER_BAD, 80, 87))
        if self.row["batch_number"] < 0:
            faults.append((Code.ACH_NUMBER_BAD, 88, 94))
        return faults

    def count(self, code: int, rdfi: int, amount: int) -> None:
        """An entry."""
        self.row["entry_count"] += 1
        self.row["entry_addenda_count"] += 1
        self.row["entry_hash"] = (self.row["entry_hash"] + max(rdfi, 0)) % 10**10
        if 20 <= code < 60 and amount > 0 and code % 10:
            self.row["credit_cents" if code % 10 < 5 else "debit_cents"] += amount

    def control_faults(self, line: bytes) -> list[Fault]:
        """Record 8 against what was counted and against record 5."""
        self.row["has_control"] = True
        checks = [
            (5, 10, "entry_addenda_count", Code.ACH_BATCH_ENTRY_COUNT),
            (11, 20, "entry_hash", Code.ACH_BATCH_HASH),
        ]
        if not self.adv:
            checks += [
                (21, 32, "debit_cents", Code.ACH_BATCH_DEBIT_TOTAL),
                (33, 44, "credit_cents", Code.ACH_BATCH_CREDIT_TOTAL),
            ]
        faults, self.row["valid"] = _compare(self.row, line, checks)
        if not self.row["has_header"]:
            return faults
        pairs = [
            (Code.ACH_SERVICE_CLASS_DIFFERS, 2, 4, 2),
            (Code.ACH_ODFI_DIFFERS, 80, 87, 80),
            (Code.ACH_BATCH_NUMBER_DIFFERS, 88, 94, 88),
        ]
        if not (self.adv or self.iat):
            pairs.append((Code.ACH_COMPANY_ID_DIFFERS, 45, 54, 41))
        for code, first, last, header_first in pairs:
            if _columns(line, first, last) != _columns(
                self.header, header_first, header_first + last - first
            ):
                faults.append((code, first, last))
        return faults

    def close(self) -> None:
        """Add the batch to its file."""
        self.row["closed"] = True
        total = self.file.row
        for name in ("entry_addenda_count", "debit_cents", "credit_cents"):
            total[name] += self.row[name]
        total["entry_hash"] = (total["entry_hash"] + self.row["entry_hash"]) % 10**10


def _compare(
    row: Row, line: bytes, checks: list[tuple[int, int, str, Code]]
) -> tuple[list[Fault], bool]:
    """Declared numbers, put into the row, against counted ones: (faults, there is none)."""
    faults: list[Fault] = []
    for first, last, name, code in checks:
        declared = read_number(_columns(line, first, last))
        row[f"declared_{name}"] = declared
        if declared != row[name]:
            faults.append((Code.ACH_CONTROL_NUMBER_BAD if declared < 0 else code, first, last))
    return faults, not faults
