"""Lockbox lists as columns: every bank has a form of its own, so a layout says what is where.

A list is rows of delimited fields (csv) or of fields at fixed places (fixed). Rows are details
(one check each), headers whose values hold for the details behind them, totals that are checked,
or nothing. What is wrong with a row is a finding and costs only that row. docs/LOCKBOX.md shows
layouts.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from reassoc.core._lockbox_layout import (
    BOM,
    FIELDS_MAX,
    LINE_BYTES_MAX,
    AmountPlace,
    DatePlace,
    Fields,
    Header,
    LockboxLayout,
    Place,
    Recognise,
    Totals,
)
from reassoc.core._lockbox_values import AmountForm, DateForm
from reassoc.core.ach import EntryKind
from reassoc.core.bank_lines import routing_of
from reassoc.core.columns import DATE_NONE, Column, Table, TextColumn
from reassoc.core.errors import (
    FindingCode,
    LimitError,
    ParseError,
    describe,
    severity,
)
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import PaymentSource
from reassoc.core.windows import Buffer, bytes_view

__all__ = [
    "LOCKBOX_BYTES_MAX",
    "AmountPlace",
    "DatePlace",
    "Fields",
    "Header",
    "LockboxLayout",
    "LockboxList",
    "Place",
    "Recognise",
    "Totals",
    "payments",
    "read_lockbox",
]

LOCKBOX_BYTES_MAX = 512 << 20
"""Bytes of one list: it is read whole."""


# ---- reading ----

_TEXTS = (
    "check_number",
    "deposit",
    "payer_id",
    "payer_name",
    "payer_routing",
    "payer_account",
    "payee_account",
    "trace",
)
_ITEM_COLUMNS = (
    ("offset", "int64", "<i8", "byte of the row"),
    ("row_number", "uint32", "<u4", "1-based number of the row in the list"),
    ("amount_cents", "cents", "<i8", "0 and not valid where it is no amount"),
    ("deposit_date", "date", "<i4", "when it was paid in"),
    ("payee_routing", "int32", "<i4", "9 digits with a right check digit; -1 for none"),
    ("valid", "flag", "|b1", "no finding of severity error about the row or its totals"),
)
_FINDING_COLUMNS = (
    ("code", "uint16", "<u2", "errors.FindingCode"),
    ("file_offset", "int64", "<i8", "byte of the row"),
    ("record_number", "uint32", "<u4", "1-based number of the row in the list"),
    ("item", "row", "<i4", "row in items, -1 for none"),
    ("severity", "uint8", "|u1", "errors.Severity: 0 info, 1 warning, 2 error"),
)


@dataclass(frozen=True, slots=True, repr=False)
class LockboxList:
    """A list that was read: items (details, row k is data row k) and findings."""

    layout: LockboxLayout
    items: Table
    findings: Table

    def message(self, finding: int) -> str:
        """One finding as text: code, place, what is wrong. It holds no value of the list."""
        row = self.findings.row(finding)
        code = FindingCode(row["code"])
        place = f"byte {row['file_offset']}, row {row['record_number']}"
        return f"{code.name} at {place}: {describe(code)}"

    def __repr__(self) -> str:
        return f"<LockboxList: {len(self.items)} items, {len(self.findings)} findings>"


class _Row(NamedTuple):
    """A row of a list; fields as text, None where it cannot be parted."""

    offset: int
    number: int
    fields: list[str] | None
    is_legible: bool


@dataclass(slots=True)
class _Rows:
    """Columns of the items and findings, as lists."""

    numbers: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name, *_ in _ITEM_COLUMNS}
    )
    texts: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _TEXTS})
    findings: list[tuple[FindingCode, int, int, int]] = field(default_factory=list)


def read_lockbox(buffer: Buffer, layout: LockboxLayout) -> LockboxList:
    """Read a list by its layout.

    Raises ParseError LOCKBOX_NO_ROWS where no detail was found, LOCKBOX_COLUMN_MISSING where the
    header row lacks a column, LimitError for more than LOCKBOX_BYTES_MAX. O(n).
    """
    view = bytes_view(buffer)
    if len(view) > LOCKBOX_BYTES_MAX:
        raise LimitError(
            f"LOCKBOX_BYTES_MAX: a list of {len(view)} bytes is too large; split it by its deposits"
        )
    rows = _Reader(layout, bytes(view)).read()
    count = len(rows.numbers["offset"])
    if not count:
        raise ParseError(
            FindingCode.LOCKBOX_NO_ROWS, 0, f"no row of this layout in {len(view)} bytes"
        )
    columns: dict[str, Column | TextColumn] = {
        name: np.array(rows.numbers[name], dtype) for name, _, dtype, _ in _ITEM_COLUMNS
    }
    columns |= {name: TextColumn.from_values(rows.texts[name]) for name in _TEXTS}
    kinds = {name: kind for name, kind, *_ in _ITEM_COLUMNS} | dict.fromkeys(_TEXTS, "text")
    docs = {name: doc for name, *_, doc in _ITEM_COLUMNS} | dict.fromkeys(_TEXTS, "see Fields")
    return LockboxList(layout, Table("items", columns, kinds, docs), _findings(rows))


def _findings(rows: _Rows) -> Table:
    found = [(*row, severity(row[0])) for row in rows.findings]
    cells = list(zip(*found, strict=True)) if found else [()] * len(_FINDING_COLUMNS)
    columns: dict[str, Column | TextColumn] = {
        name: np.array(values, dtype)
        for (name, _, dtype, _), values in zip(_FINDING_COLUMNS, cells, strict=True)
    }
    kinds = {name: kind for name, kind, *_ in _FINDING_COLUMNS}
    return Table("findings", columns, kinds, {name: doc for name, *_, doc in _FINDING_COLUMNS})


_PARTED = re.compile(r"\s*[-(]?\s*\$?\s*[0-9]{1,3},[0-9]{3}(\.[0-9]*)?\)?-?\s*")
"""An amount with a thousands separator, as it stands in two fields."""


class _Reader:
    """Rows of a list by its layout."""

    def __init__(self, layout: LockboxLayout, data: bytes) -> None:
        self._layout = layout
        self._data = data
        self._rows = _Rows()
        self._names: dict[str, int] = {}
        self._carried: dict[str, str] = {}
        self._batch_starts = [0] * len(layout.totals)
        amount = layout.fields.amount
        assert amount is not None
        self._amount = AmountForm(amount.form, amount.decimals)
        # A row's own date has its form; one that a header gave came in that header's.
        date = layout.fields.deposit_date
        self._dates = None if date is None else DateForm(date.format)
        self._header_dates = DateForm("YYYYMMDD")
        self._row = _Row(0, 0, [], True)

    def read(self) -> _Rows:
        layout = self._layout
        for row in self._delimited() if layout.format == "csv" else self._fixed():
            self._row = row
            if not row.is_legible:
                self._find(FindingCode.LOCKBOX_TEXT_BAD)
            if row.number <= layout.header_rows:
                if row.number == layout.header_rows and layout.format == "csv":
                    self._read_names(row.fields or [])
                continue
            if row.fields is None:
                self._find(FindingCode.LOCKBOX_ROW_BROKEN)
            else:
                self._read_row()
        return self._rows

    def _find(self, code: FindingCode, item: int = -1) -> None:
        self._rows.findings.append((code, self._row.offset, self._row.number, item))

    # ---- rows ----

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines, or records of the stated length, with their offsets."""
        data, size = self._data, self._layout.record_bytes
        begin = len(BOM) if data.startswith(BOM) else 0
        if self._layout.format == "fixed" and size:
            for start in range(begin, len(data), size):
                yield start, data[start : start + size]
            return
        for line in re.finditer(rb"[^\r\n\x1a]+", data[begin:]):
            yield begin + line.start(), line[0]

    def _text(self, line: bytes) -> tuple[str, bool]:
        try:
            return line.decode(self._layout.encoding), True
        except UnicodeDecodeError:
            return line.decode("latin-1"), False

    def _fixed(self) -> Iterator[_Row]:
        for number, (offset, line) in enumerate(self._lines(), 1):
            if len(line) > LINE_BYTES_MAX:
                yield _Row(offset, number, None, True)
                continue
            # One character a byte, so that places are bytes; the texts are decoded in `_value`.
            yield _Row(offset, number, [line.decode("latin-1")], self._text(line)[1])

    def _delimited(self) -> Iterator[_Row]:
        lines = self._lines()
        line = next(lines, None)
        number = 0
        while line is not None:
            offset, (text, is_legible) = line[0], self._text(line[1])
            line = next(lines, None)
            number += 1
            fields, is_open = self._parted([text])
            if is_open and line is not None:
                # A quoted field goes on in the next line: one more. Where it does not end there,
                # this row is broken and the next line is a row of its own.
                following, follows = self._text(line[1])
                fields, is_open = self._parted([text, following])
                if fields is not None:
                    line, is_legible = next(lines, None), is_legible and follows
            yield _Row(offset, number, None if is_open else fields, is_legible)

    def _parted(self, texts: list[str]) -> tuple[list[str] | None, bool]:
        """Fields of the first row in one or two lines, None where there is none; and whether a
        quoted field is still open behind them. Quotes of two lines must be right, lest a row is
        taken for a field."""
        layout = self._layout
        if sum(map(len, texts)) > LINE_BYTES_MAX:
            return None, False
        is_open = False

        def given() -> Iterator[str]:
            nonlocal is_open
            yield from texts
            is_open = True

        try:
            rows = csv.reader(
                given(),
                delimiter=layout.delimiter,
                quotechar=layout.quote or None,
                quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
                strict=len(texts) > 1,
            )
            fields = next(rows, [])
        except csv.Error:
            return None, is_open
        return fields if len(fields) <= FIELDS_MAX else None, is_open

    def _read_names(self, names: list[str]) -> None:
        self._names = {name.strip().lower(): place for place, name in enumerate(names)}
        for key, place in self._layout.places():
            if isinstance(place.column, str) and place.column.lower() not in self._names:
                raise ParseError(
                    FindingCode.LOCKBOX_COLUMN_MISSING,
                    self._row.offset,
                    f"the header does not have the column of {key}",
                )

    # ---- fields ----

    def _column(self, place: Place) -> int:
        """The number of a column, from 0."""
        if isinstance(place.column, str):
            return self._names.get(place.column.lower(), FIELDS_MAX)
        assert place.column is not None
        return place.column - 1

    def _value(self, place: Place | None) -> str | None:
        """The field at a place, without blanks around it; None where the row ends before it."""
        fields = self._row.fields
        assert fields is not None
        if place is None:
            return ""
        if place.value is not None:
            return place.value
        if place.column is not None:
            column = self._column(place)
            return fields[column].strip() if column < len(fields) else None
        assert place.start is not None
        assert place.length is not None
        line = fields[0]
        if place.start > len(line):
            return None
        raw = line[place.start - 1 : place.start - 1 + place.length].encode("latin-1")
        return self._text(raw)[0].strip()

    def _read_row(self) -> None:
        layout = self._layout
        if layout.record_type is None:
            self._read_detail()
            return
        kind = self._value(layout.record_type) or ""
        if kind in layout.detail_types:
            self._read_detail()
            return
        for header in layout.headers:
            if kind in header.types:
                self._carry(header)
                return
        for number, totals in enumerate(layout.totals):
            if kind in totals.types:
                self._check_totals(number, totals)
                return
        if kind not in layout.skipped_types:
            self._find(FindingCode.LOCKBOX_RECORD_UNKNOWN)

    def _carry(self, header: Header) -> None:
        for name in header.fields.__struct_fields__:
            place = getattr(header.fields, name)
            if place is not None:
                self._carried[name] = self._value(place) or ""
                if isinstance(place, DatePlace):
                    self._header_dates = DateForm(place.format)

    def _is_long(self) -> bool:
        """Whether the row has more than the header names: something behind that, or an amount that
        its own thousands separator parts, which would be read as far less than it is. Blank fields
        behind a row's last are usual."""
        fields, count = self._row.fields, len(self._names)
        assert fields is not None
        if not count or len(fields) <= count:
            return False
        amount = self._layout.fields.amount
        column = self._column(amount) if amount is not None and amount.column is not None else count
        near = fields[column : column + 2]
        return any(map(str.strip, fields[count:])) or _PARTED.fullmatch(",".join(near)) is not None

    def _text_of(self, name: str, item: int) -> str:
        place = getattr(self._layout.fields, name)
        if place is None:
            return self._carried.get(name, "")
        value = self._value(place)
        if value is None:
            if name == "check_number":
                self._find(FindingCode.LOCKBOX_ROW_SHORT, item)
            return ""
        return value

    def _read_detail(self) -> None:
        numbers, texts = self._rows.numbers, self._rows.texts
        item = len(numbers["offset"])
        errors = len(self._rows.findings)
        if self._is_long():
            self._find(FindingCode.LOCKBOX_ROW_LONG, item)
        cents = self._cents(item)
        values = {name: self._text_of(name, item) for name in _TEXTS}
        if self._layout.source == "check" and not values["check_number"]:
            self._find(FindingCode.LOCKBOX_NUMBER_MISSING, item)
        date = self._date(item)
        routing = self._routing(item)
        new = self._rows.findings[errors:]
        is_valid = not any(severity(finding[0]) == 2 for finding in new)
        row = (self._row.offset, self._row.number, cents, date, routing, is_valid)
        for (name, *_), number in zip(_ITEM_COLUMNS, row, strict=True):
            numbers[name].append(number)
        for name, value in values.items():
            texts[name].append(value)

    def _cents(self, item: int) -> int:
        value = self._value(self._layout.fields.amount)
        if value is None:
            self._find(FindingCode.LOCKBOX_ROW_SHORT, item)
            return 0
        cents = self._amount.cents(value)
        if cents is None:
            self._find(FindingCode.LOCKBOX_AMOUNT_BAD, item)
            return 0
        if cents < 0:
            self._find(FindingCode.LOCKBOX_AMOUNT_NEGATIVE, item)
        return cents

    def _date(self, item: int) -> int:
        value = self._text_of("deposit_date", item)
        if not value:
            return DATE_NONE
        day = (self._dates or self._header_dates).days(value)
        if day is None:
            self._find(FindingCode.LOCKBOX_DATE_BAD, item)
        return DATE_NONE if day is None else day

    def _routing(self, item: int) -> int:
        value = self._text_of("payee_routing", item)
        routing = routing_of(value)
        if value and routing < 0:
            self._find(FindingCode.LOCKBOX_ROUTING_BAD, item)
        return routing

    # ---- totals ----

    def _check_totals(self, number: int, totals: Totals) -> None:
        """Compare a totals row with the details that it is about; what differs is not valid."""
        numbers = self._rows.numbers
        start = self._batch_starts[number] if totals.scope == "batch" else 0
        cents = numbers["amount_cents"][start:]
        errors = len(self._rows.findings)
        if totals.count is not None:
            value = self._value(totals.count) or ""
            if not (value.isdecimal() and len(value) <= 12):
                self._find(FindingCode.LOCKBOX_TOTAL_BAD)
            elif int(value) != len(cents):
                self._find(FindingCode.LOCKBOX_TOTAL_COUNT)
        if totals.amount is not None:
            form = AmountForm(totals.amount.form, totals.amount.decimals)
            total = form.cents(self._value(totals.amount) or "")
            if total is None:
                self._find(FindingCode.LOCKBOX_TOTAL_BAD)
            elif total != sum(cents):
                self._find(FindingCode.LOCKBOX_TOTAL_AMOUNT)
        if len(self._rows.findings) > errors:
            numbers["valid"][start:] = [False] * len(cents)
        self._batch_starts[number] = start + len(cents)


# ---- as payments ----

_SOURCES = {
    "check": PaymentSource.CHECK,
    "ach": PaymentSource.BANK_ACH,
    "wire": PaymentSource.WIRE,
}


def payments(listed: LockboxList, digest: int = 0) -> PaymentColumns:
    """The items of a list as payments, in order. digest : first 8 bytes of the file's digest.

    trace is the check's number, for other money the remitter's; the deposit's date is the
    settlement date, the drawer's bank and account payer_account. O(items).
    """
    items, source = listed.items, _SOURCES[listed.layout.source]
    count = len(items)
    is_check = source is PaymentSource.CHECK
    first, second = (
        (items.check_number, items.trace) if is_check else (items.trace, items.check_number)
    )
    empty = TextColumn(b"", np.zeros((count, 2), np.uint32))
    columns: dict[str, Any] = {
        name: empty if kind == "text" else np.zeros(count, kind)
        for name, kind in PaymentColumns.types().items()
    }
    for name in ("odfi", "ach_trace", "original_trace", "original_rdfi", "return_trace", "report"):
        columns[name] -= 1
    columns["id_digest"] += np.uint64(digest)
    columns["kind"] += np.uint8(EntryKind.CREDIT)
    columns["source"] += np.uint8(source)
    columns["effective_date"] += np.int32(DATE_NONE)
    columns |= {
        "id_offset": items.offset,
        "trace": _joined(lambda one, other: one or other, first, second),
        "payer_id": items.payer_id,
        "company_name": items.payer_name,
        "account": items.payee_account,
        "amount_cents": items.amount_cents,
        "settlement_date": items.deposit_date,
        "rdfi_routing": items.payee_routing,
        "deposit": items.deposit,
        "payer_account": _joined(_digits, items.payer_routing, items.payer_account),
        "valid": items.valid,
    }
    return PaymentColumns(**columns)


def _joined(join: Callable[[str, str], str], one: TextColumn, other: TextColumn) -> TextColumn:
    return TextColumn.from_values(join(a, b) for a, b in zip(one, other, strict=True))


def _digits(routing: str, account: str) -> str:
    return "".join(char for char in routing + account if char.isascii() and char.isdigit())
