"""Open items of another system: a CSV of remittances and payments that wait there, as items.

Who moves to this warehouse brings along what is open: 835s whose money is to come, money whose 835
is. Their bytes stay where they are, so a remittance of an import has none here: it is matched and
booked as released, without a file. docs/WAREHOUSE.md describes the columns. A row that is wrong is
told by its line and its column, never by its value; the others are taken.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from blake3 import blake3

from reassoc.core.ach import EntryKind
from reassoc.core.bank_lines import routing_of
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.errors import LimitError, ReassocError
from reassoc.core.statuses import PaymentSource
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.records import Schema
from reassoc.stream.verdicts import ALL_VALID

IMPORT_BYTES_MAX = 256 << 20
IMPORT_ROWS_MAX = 1_000_000
PROBLEMS_MAX = 10_000
"""Problems that are told; more are only counted."""
TEXT_LENGTH_MAX = 60
"""Characters of a name or a reference."""
TRACE_LENGTH_MAX = 50
"""TRN02."""
AMOUNT_DIGITS_MAX = 13
"""Digits before the point."""

COLUMNS = (
    "side",
    "reference",
    "trace",
    "payer_id",
    "payer_name",
    "amount",
    "date",
    "payment_method",
    "payee_npi",
    "payee_tin",
    "payee_routing",
    "payee_account",
)
REQUIRED = ("side", "amount", "date")
TEMPLATE = (
    ",".join(COLUMNS) + "\r\n"
    "remittance,R-1001,0012345678,1234567890,EXAMPLE HEALTH,1200.00,2026-03-17,ACH,"
    "1999999984,112223333,021000021,5566778\r\n"
    "payment,P-2002,0012345678,1234567890,EXAMPLE HEALTH,1200.00,2026-03-17,ACH,"
    ",,021000021,5566778\r\n"
)
"""A file as it should be, with one item of each side."""

_SOURCES = {"ACH": PaymentSource.BANK_ACH, "CHK": PaymentSource.CHECK, "FWT": PaymentSource.WIRE}
"""By payment method. ACH money of another system is like a line of a bank's report: should the
entry itself come, too, that one is the payment, and the import its report."""
_HEALTHCARE_MARK = b"HCCLAIMPMT"
_AMOUNT = re.compile(rf"(\d{{1,{AMOUNT_DIGITS_MAX}}})(?:\.(\d{{1,2}}))?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EPOCH = date(1970, 1, 1)


class ImportFileError(ReassocError):
    """The file as a whole is no import; the message says what was expected."""


class _BadValueError(Exception):
    """A value that is none of its column; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row. line : from 1, where the row begins; column : empty for the row"""

    line: int
    column: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}{', ' if self.column else ''}{self.column}: {self.what}"


@dataclass(frozen=True, slots=True, repr=False)
class Imported:
    """Items of a file.

    remittances, payments : columns of items.REMITTANCE_ITEM and PAYMENT_ITEM
    digest : BLAKE3 of the file, 32 bytes; ids are made of it and of the byte where a row begins
    problems : the first PROBLEMS_MAX, by line; problem_count : how many there are
    """

    remittances: dict[str, Any]
    payments: dict[str, Any]
    digest: bytes
    problems: list[Problem]
    problem_count: int

    def __repr__(self) -> str:
        counts = len(self.remittances["id_offset"]), len(self.payments["id_offset"])
        return f"<Imported: {counts[0]} remittances, {counts[1]} payments>"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row whose values are all right."""

    offset: int
    number: int
    values: dict[str, Any]


@dataclass(slots=True)
class _Found:
    remittances: list[_Row] = field(default_factory=list)
    payments: list[_Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0

    def tell(self, line: int, column: str, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(line, column, what))


def read_import(data: bytes) -> Imported:
    """Read a file of open items.

    data : UTF-8, fields parted by commas, a header with the names of COLUMNS in any order; those of
        REQUIRED must be there

    Raises ImportFileError where it has no such header, LimitError above IMPORT_BYTES_MAX or
    IMPORT_ROWS_MAX. O(bytes), about 50 us a row.
    """
    if len(data) > IMPORT_BYTES_MAX:
        raise LimitError(f"IMPORT_BYTES_MAX: more than {IMPORT_BYTES_MAX} bytes: split the file")
    lines = _Lines(data)
    reader = csv.reader(lines, strict=True)
    names = _header(reader)
    found = _Found()
    for number, (offset, line, fields) in enumerate(_rows(lines, reader, found)):
        if number >= IMPORT_ROWS_MAX:
            raise LimitError(f"IMPORT_ROWS_MAX: more than {IMPORT_ROWS_MAX} rows: split the file")
        values = _values(names, fields, line, found)
        if values is not None:
            side = found.remittances if values["side"] == "remittance" else found.payments
            side.append(_Row(offset, number, values))
    digest = blake3(data).digest()
    return Imported(
        _remittances(found.remittances, digest),
        _payments(found.payments, digest),
        digest,
        found.problems,
        found.problem_count,
    )


# ---- rows ----


class _Lines(Iterator[str]):
    """Lines as text, one by one; `offset` and `number` are of the line that comes next."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.splitlines(keepends=True)
        self.offset = 0
        self.number = 1
        self._at = 0

    def __next__(self) -> str:
        if self._at == len(self._lines):
            raise StopIteration
        line = self._lines[self._at]
        self._at += 1
        self.number += 1
        self.offset += len(line)
        # What is no UTF-8 stays visible as such, in its own field.
        text = line.decode("utf-8", "surrogateescape")
        return text.removeprefix("\ufeff") if self._at == 1 else text


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise ImportFileError("line 1: the header cannot be parted into fields") from error
    expected = f"expected a header with {', '.join(COLUMNS)}"
    for place, name in enumerate(names, 1):
        if name not in COLUMNS:
            raise ImportFileError(f"line 1, field {place}: no known column; {expected}")
        if names.index(name) != place - 1:
            raise ImportFileError(f"line 1, field {place}: {name} stands there twice")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ImportFileError(f"line 1: no column {', '.join(missing)}; {expected}")
    return names


def _rows(
    lines: _Lines, reader: Iterator[list[str]], found: _Found
) -> Iterator[tuple[int, int, list[str]]]:
    """(byte, line, fields) of each row that can be parted; blank lines are none."""
    while True:
        offset, line = lines.offset, lines.number
        try:
            fields = next(reader, None)
        except csv.Error:
            last = lines.number - 1
            found.tell(line, "", f"a quoted field does not end, or has no comma (to line {last})")
            continue
        if fields is None:
            return
        if any(fields):
            yield offset, line, fields


def _values(names: list[str], fields: list[str], line: int, found: _Found) -> dict[str, Any] | None:
    """The values of a row; None where one of them is wrong, which is told."""
    if len(fields) != len(names):
        found.tell(line, "", f"{len(fields)} fields, and the header has {len(names)}")
        return None
    texts = dict.fromkeys(COLUMNS, "") | dict(zip(names, map(str.strip, fields), strict=True))
    values: dict[str, Any] = {}
    for name, check in _CHECKS.items():
        try:
            values[name] = check(texts[name])
        except _BadValueError as error:
            found.tell(line, name, str(error))
    return values if len(values) == len(COLUMNS) else None


# ---- values ----


def _side(text: str) -> str:
    side = text.lower()
    if side not in ("remittance", "payment"):
        raise _BadValueError("must be remittance or payment")
    return side


def _cents(text: str) -> int:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise _BadValueError(
            "must be dollars and cents, written as 1200.50, without signs and commas"
        )
    cents = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
    if not cents:
        raise _BadValueError("must be more than 0: what has no money waits for none")
    return cents


def _day(text: str) -> int:
    if not _DATE.fullmatch(text):
        raise _BadValueError("must be a day, written as 2026-03-17")
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise _BadValueError("there is no such day") from None


def _method(text: str) -> str:
    method = text.upper() or "ACH"
    if method not in _SOURCES:
        raise _BadValueError(f"must be one of {', '.join(_SOURCES)}, or empty for ACH")
    return method


def _text_of(length_max: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(text) > length_max:
            raise _BadValueError(f"has {len(text)} characters, more than {length_max}")
        if not text.isprintable():
            raise _BadValueError("has characters that cannot be printed, or are no UTF-8")
        return text

    return check


def _digits_of(count: int, name: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text and not (text.isascii() and text.isdigit() and len(text) == count):
            raise _BadValueError(f"must be {name}: {count} digits, leading zeros with them")
        return text

    return check


def _routing(text: str) -> str:
    if text and routing_of(text) < 0:
        raise _BadValueError(
            "must be a routing number: nine digits, the last one their check digit"
        )
    return text


_CHECKS: dict[str, Callable[[str], Any]] = {
    "side": _side,
    "reference": _text_of(TEXT_LENGTH_MAX),
    "trace": _text_of(TRACE_LENGTH_MAX),
    "payer_id": _text_of(TEXT_LENGTH_MAX),
    "payer_name": _text_of(TEXT_LENGTH_MAX),
    "amount": _cents,
    "date": _day,
    "payment_method": _method,
    "payee_npi": _digits_of(10, "an NPI"),
    "payee_tin": _digits_of(9, "a tax number"),
    "payee_routing": _routing,
    "payee_account": _text_of(TEXT_LENGTH_MAX),
}
assert tuple(_CHECKS) == COLUMNS


# ---- items ----


def _remittances(rows: list[_Row], digest: bytes) -> dict[str, Any]:
    """Rows as 835s whose bytes are elsewhere."""
    columns = _blank(REMITTANCE_ITEM, rows, digest)
    npis, tins = _column(rows, "payee_npi"), _column(rows, "payee_tin")
    columns |= {
        "trace": _texts(rows, "trace"),
        "payer_id": _texts(rows, "payer_id"),
        "originator": _texts(rows, "payer_id"),
        "paid_cents": np.array(_column(rows, "amount"), np.int64),
        "effective_date": np.array(_column(rows, "date"), np.int32),
        "payment_method": np.array(_column(rows, "payment_method"), "S4"),
        "payee_bank": _texts(rows, "payee_routing"),
        "payee_account": _texts(rows, "payee_account"),
        "payee_entity_id": TextColumn.from_values(
            npi or tin for npi, tin in zip(npis, tins, strict=True)
        ),
        "payee_tin": _texts(rows, "payee_tin"),
        "payee_entity_qualifier": np.array(
            [b"XX" if npi else b"FI" if tin else b"" for npi, tin in zip(npis, tins, strict=True)],
            "S2",
        ),
        "payer_name": _texts(rows, "payer_name"),
        "body_hash": np.array([_body_hash(row) for row in rows], np.uint64),
    }
    columns["handling"][:] = b"I"
    columns["credit_debit"][:] = b"C"
    columns["checks"][:] = ALL_VALID
    for name in ("carrier_offset", "start", "stop"):
        columns[name][:] = -1
    return columns


def _payments(rows: list[_Row], digest: bytes) -> dict[str, Any]:
    """Rows as money that was seen."""
    columns = _blank(PAYMENT_ITEM, rows, digest)
    routings = [routing_of(text) if text else -1 for text in _column(rows, "payee_routing")]
    columns |= {
        "trace": _texts(rows, "trace"),
        "payer_id": _texts(rows, "payer_id"),
        "company_name": _texts(rows, "payer_name"),
        "account": _texts(rows, "payee_account"),
        "amount_cents": np.array(_column(rows, "amount"), np.int64),
        "settlement_date": np.array(_column(rows, "date"), np.int32),
        "rdfi_routing": np.array(routings, np.int32),
        # The other system says that it pays claims.
        "entry_description": TextColumn.from_values([_HEALTHCARE_MARK] * len(rows)),
        "source": np.array(
            [_SOURCES[method] for method in _column(rows, "payment_method")], np.uint8
        ),
        "bank_reference": _texts(rows, "reference"),
    }
    columns["kind"][:] = EntryKind.CREDIT
    columns["effective_date"][:] = DATE_NONE
    for name in ("odfi", "ach_trace", "original_trace", "original_rdfi", "return_trace", "report"):
        columns[name][:] = -1
    return columns


def _blank(schema: Schema, rows: list[_Row], digest: bytes) -> dict[str, Any]:
    """Columns of some rows, all valid, with their ids and nothing else."""
    columns: dict[str, Any] = {
        name: TextColumn.from_values([b""] * len(rows))
        if kind == "text"
        else np.zeros(len(rows), kind)
        for name, kind in schema.types.items()
    }
    columns["id_digest"][:] = int.from_bytes(digest[:8], "little")
    columns["id_offset"][:] = [row.offset for row in rows]
    columns["ordinal"][:] = [row.number for row in rows]
    columns["valid"][:] = True
    return columns


def _column(rows: list[_Row], name: str) -> list[Any]:
    return [row.values[name] for row in rows]


def _texts(rows: list[_Row], name: str) -> TextColumn:
    return TextColumn.from_values(_column(rows, name))


def _body_hash(row: _Row) -> int:
    """Equal for equal rows of any file: an item that is imported again is a suspected duplicate,
    held and shown. Never 0, which means that the body is not known."""
    text = "\x1f".join(str(row.values[name]) for name in COLUMNS)
    return int.from_bytes(blake3(text.encode()).digest(8), "little") or 1
