"""Physical records of a BAI2 report put together to logical ones, and those read into rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from reassoc.core._bai2_fields import (
    FUNDS,
    FUNDS_ENTRIES_MAX,
    PLAIN_FUNDS,
    Fields,
    Funds,
    amount_of,
    date_of,
    is_type_code,
    time_of,
)
from reassoc.core._bai2_records import (
    BROKEN,
    DAMAGED,
    JOINED,
    LONG,
    RECORD_BYTES_MAX,
    UNKNOWN,
    records,
)
from reassoc.core._bai2_tables import reference
from reassoc.core._bai2scan import DetailRows
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode, LimitError

CONTINUATIONS_MAX = 1000
"""Continuations (88), and lines without a code, of one record; what is beyond is left out
(BAI2_CONTINUATION_LIMIT)."""
RECORDS_MAX = 2_000_000
"""Physical records of one report."""
FINDINGS_MAX = 1_000_000
"""Findings of one report; with more it is none that anybody can use."""

_INT64_MAX = 2**63 - 1
_TOTAL = re.compile(rb"[+-]?[0-9]{1,24}")
"""A total may have more digits than one amount."""


class GroupStatus(IntEnum):
    """What a group does to what was reported before. A test has no effect."""

    UPDATE = 1
    DELETION = 2
    CORRECTION = 3
    TEST = 4


@dataclass(slots=True)
class Rows:
    """Rows of the tables, in their columns' order; those of details and texts in columns."""

    files: list[tuple[Any, ...]] = field(default_factory=list)
    groups: list[tuple[Any, ...]] = field(default_factory=list)
    accounts: list[tuple[Any, ...]] = field(default_factory=list)
    summaries: list[tuple[Any, ...]] = field(default_factory=list)
    details: DetailRows = field(default_factory=DetailRows)
    availabilities: list[tuple[Any, ...]] = field(default_factory=list)
    findings: list[tuple[Any, ...]] = field(default_factory=list)
    record_count: int = 0


@dataclass(slots=True)
class _Level:
    """An open file, group or account.

    head : its header's columns; child_start : its first row among its children; totals : sums of
    the children as counted, and as their trailers declare them.
    """

    row: int
    offset: int
    first_record: int
    head: tuple[Any, ...]
    child_start: int
    detail_start: int = 0
    total_cents: int = 0
    declared_sum_cents: int = 0
    child_count: int = 0
    has_header: bool = True
    valid: bool = True


class Reader:
    """Physical records into logical ones, those into rows."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._rows = Rows()
        self._file: _Level | None = None
        self._group: _Level | None = None
        self._account: _Level | None = None
        self._groups_open = 0
        self._detail = -1
        self._number = 0
        self._number_last = 0
        self._code = 0
        self._at = 0
        self._broken_count = 0
        self._pieces: list[tuple[int, int]] = []
        self._currency = b"USD"

    def read(self) -> Rows:
        for code, at, start, stop, flags in records(self._data, self._take_details):
            if code in (BROKEN, UNKNOWN):
                self._without_code(code, at, start, stop)
                continue
            self._rows.record_count += 1
            if self._rows.record_count > RECORDS_MAX:
                raise LimitError(
                    f"RECORDS_MAX: more than {RECORDS_MAX} records; split the report by its groups"
                )
            if flags:
                self._note_flags(flags, code, at)
            if code == 88:
                self._continue(at, start, stop)
                continue
            self._finish()
            self._number = self._number_last = self._rows.record_count
            self._code, self._at, self._pieces = code, at, [(start, stop)]
            self._broken_count = 0
        self._finish()
        self._at, self._number = len(self._data), 0
        self._close_file(None)
        return self._rows

    def _take_details(self, start: int) -> int:
        """Read the run of plain details that begins at a line with a 16: where the line behind it
        begins; 0 where the first is not plain."""
        # What came before ends here, plain or not.
        self._finish()
        rows, account = self._rows, self._account
        if account is None:
            return 0
        stop, count, cents = rows.details.read_run(
            self._data,
            start,
            line_bytes_max=RECORD_BYTES_MAX,
            continuations_max=CONTINUATIONS_MAX,
            records_max=RECORDS_MAX - rows.record_count,
            account=account.row,
            record_number=rows.record_count,
        )
        if not count:
            return 0
        rows.record_count += count
        account.total_cents += cents
        self._detail = rows.details.detail_count - 1
        return stop

    # ---- records ----

    def _find(self, code: FindingCode, at: int, length: int = 0, *, record: int = -1) -> None:
        """Note a finding at a byte of the record that is read."""
        kind = b"%02d" % self._code if self._code and self._number else b""
        if len(self._rows.findings) >= FINDINGS_MAX:
            raise LimitError(f"FINDINGS_MAX: more than {FINDINGS_MAX} things are wrong with it")
        self._rows.findings.append(
            (
                code,
                at,
                min(length, 0xFFFFFFFF),
                self._number if record < 0 else record,
                kind,
                self._file.row if self._file else -1,
                self._group.row if self._group else -1,
                self._account.row if self._account else -1,
                self._detail,
            )
        )

    def _note_flags(self, flags: int, code: int, at: int) -> None:
        number = self._rows.record_count
        for flag, finding in (
            (JOINED, FindingCode.BAI2_RECORDS_JOINED),
            (DAMAGED, FindingCode.BAI2_RECORD_DAMAGED),
            (LONG, FindingCode.BAI2_RECORD_LONG),
        ):
            if flags & flag:
                self._find(finding, at, record=number)

    def _continue(self, at: int, start: int, stop: int) -> None:
        number = self._rows.record_count
        if not self._pieces:
            self._find(FindingCode.BAI2_CONTINUATION_ORPHAN, at, stop - at, record=number)
            return
        self._number_last = number
        if len(self._pieces) > CONTINUATIONS_MAX:
            if len(self._pieces) == CONTINUATIONS_MAX + 1:
                self._find(FindingCode.BAI2_CONTINUATION_LIMIT, at, record=number)
                self._pieces.append((stop, stop))
            return
        self._pieces.append((start, stop))

    def _without_code(self, code: int, at: int, start: int, stop: int) -> None:
        """A line that begins with no record code: the end of the one before, where that one was
        not closed or is text."""
        last = self._pieces[-1] if self._pieces else None
        goes_on = last is not None and (
            self._code == 16 or self._data[last[1] - 1 : last[1]] != b"/"
        )
        if last is not None and goes_on and code == BROKEN:
            self._broken_count += 1
            if self._broken_count <= CONTINUATIONS_MAX:
                self._find(FindingCode.BAI2_LINE_BROKEN, start, stop - start)
                self._pieces[-1] = (last[0], stop)
            elif self._broken_count == CONTINUATIONS_MAX + 1:
                self._find(FindingCode.BAI2_CONTINUATION_LIMIT, start)
            return
        finding = FindingCode.BAI2_RECORD_UNKNOWN if code == UNKNOWN else FindingCode.BAI2_JUNK
        findings = self._rows.findings
        if findings and findings[-1][0] == finding and findings[-1][3] == self._number:
            # Lines of junk one after the other are one finding.
            before = findings.pop()
            at = before[1]
        self._find(finding, at, stop - at)

    def _finish(self) -> None:
        """Read the logical record that has been put together."""
        if not self._pieces:
            return
        self._detail = -1
        code = self._code
        if code == 16:
            self._read_detail()
        else:
            start, stop = self._pieces[-1]
            if self._data.find(b"/", start, stop) < 0:
                self._find(FindingCode.BAI2_UNTERMINATED, stop)
            fields = Fields(self._data, self._pieces, holds_text=False)
            _READERS[code](self, fields)
        self._pieces = []

    # ---- fields ----

    def _text(self, fields: Fields) -> int:
        value = fields.take()
        return reference(fields.at, fields.at + len(value)) if value else 0

    def _date(self, fields: Fields) -> int:
        value = fields.take()
        day = date_of(value) if value else DATE_NONE
        if day is None:
            self._find(FindingCode.BAI2_DATE_BAD, fields.at, len(value or b""))
        return DATE_NONE if day is None else day

    def _time(self, fields: Fields) -> int:
        value = fields.take()
        minute = time_of(value) if value else -1
        if minute is None:
            self._find(FindingCode.BAI2_TIME_BAD, fields.at, len(value or b""))
        return -1 if minute is None else minute

    def _size(self, fields: Fields) -> int:
        """A count that says little: 0 where it is none."""
        value = fields.take()
        return int(value) if value and len(value) <= 9 and value.isdigit() else 0

    def _currency_of(self, fields: Fields, inherited: bytes) -> bytes:
        value = (fields.take() or b"").upper()[:4] or inherited
        if value != b"USD":
            self._find(FindingCode.BAI2_CURRENCY, fields.at)
        return value

    def _funds(self, kind: bytes, fields: Fields) -> Funds:
        """The fields behind a funds type."""
        funds = Funds(kind)
        if kind == b"V":
            funds.value(fields.take() or b"", fields.take() or b"")
        elif kind == b"S":
            for days in (b"0", b"1", b"2"):
                funds.add(days, fields.take() or b"")
        elif kind == b"D":
            count = fields.take() or b""
            if not count.isdigit() or len(count) > 4:
                funds.problem = 1
            elif int(count) > FUNDS_ENTRIES_MAX:
                funds.problem = 2
            else:
                for _ in range(int(count)):
                    funds.add(fields.take() or b"", fields.take() or b"")
        if funds.problem:
            bad, many = FindingCode.BAI2_FUNDS_TYPE_BAD, FindingCode.BAI2_FUNDS_LIMIT
            self._find(bad if funds.problem == 1 else many, fields.at)
        return funds

    def _keep_parts(self, funds: Funds, summary: int, detail: int) -> None:
        self._rows.availabilities += [(summary, detail, days, cents) for days, cents in funds.parts]

    # ---- headers ----

    def _read_file_header(self, fields: Fields) -> None:
        self._close_file(None)
        head = (
            self._text(fields),
            self._text(fields),
            self._date(fields),
            self._time(fields),
            self._text(fields),
            self._size(fields),
            self._size(fields),
        )
        version = fields.take()
        if version != b"2":
            self._find(FindingCode.BAI2_VERSION, fields.at)
        self._open_file(head, has_header=True)

    def _open_file(self, head: tuple[Any, ...], *, has_header: bool) -> _Level:
        row = len(self._rows.files)
        if not has_header:
            self._find(FindingCode.BAI2_FILE_HEADER_MISSING, self._at)
        self._file = _Level(
            row, self._at, self._number, head, len(self._rows.groups), has_header=has_header
        )
        # A placeholder keeps the row until the file ends.
        self._rows.files.append(())
        return self._file

    def _read_group_header(self, fields: Fields) -> None:
        self._close_group(None)
        if self._file is None:
            self._open_file(_NO_FILE_HEAD, has_header=False)
        receiver, originator = self._text(fields), self._text(fields)
        status = fields.take() or b""
        if status not in (b"1", b"2", b"3", b"4"):
            self._find(FindingCode.BAI2_GROUP_STATUS_BAD, fields.at, len(status))
            status = b"1"
        elif status in (b"2", b"4"):
            self._find(FindingCode.BAI2_GROUP_NO_MONEY, fields.at)
        day, minute = self._date(fields), self._time(fields)
        self._currency = self._currency_of(fields, b"USD")
        modifier = fields.take() or b""
        head = (
            receiver,
            originator,
            int(status),
            day,
            minute,
            self._currency,
            int(modifier) if modifier in (b"1", b"2", b"3", b"4") else 0,
        )
        self._open_group(head, has_header=True)

    def _open_group(self, head: tuple[Any, ...], *, has_header: bool) -> _Level:
        file = self._file or self._open_file(_NO_FILE_HEAD, has_header=False)
        file.child_count += 1
        if not has_header:
            self._currency = b"USD"
            self._find(FindingCode.BAI2_GROUP_HEADER_MISSING, self._at)
        row = len(self._rows.groups)
        self._group = _Level(
            row, self._at, self._number, head, len(self._rows.accounts), has_header=has_header
        )
        self._rows.groups.append(())
        return self._group

    def _read_account(self, fields: Fields) -> None:
        self._close_account(None)
        if self._group is None:
            self._open_group(_NO_GROUP_HEAD, has_header=False)
        number = self._text(fields)
        if not number:
            self._find(FindingCode.BAI2_ACCOUNT_EMPTY, fields.at)
        currency = self._currency_of(fields, self._currency)
        account = self._open_account((number, currency), has_header=True)
        self._read_summaries(account, fields)

    def _open_account(self, head: tuple[Any, ...], *, has_header: bool) -> _Level:
        group = self._group or self._open_group(_NO_GROUP_HEAD, has_header=False)
        group.child_count += 1
        if not has_header:
            self._find(FindingCode.BAI2_ACCOUNT_HEADER_MISSING, self._at)
        rows = self._rows
        self._account = _Level(
            len(rows.accounts),
            self._at,
            self._number,
            head,
            len(rows.summaries),
            rows.details.detail_count,
            has_header=has_header,
            valid=has_header,
        )
        rows.accounts.append(())
        return self._account

    # ---- summaries ----

    def _read_summaries(self, account: _Level, fields: Fields) -> None:
        """Groups of type code, amount, item count and funds type; blank type codes are passed."""
        blanks = 0
        while (code := fields.take()) is not None:
            if not code:
                blanks += 1
                continue
            if blanks % 4:
                self._find(FindingCode.BAI2_FIELD_COUNT, fields.at)
            blanks = 0
            at = fields.at
            if not is_type_code(code):
                self._find(FindingCode.BAI2_TYPE_CODE_BAD, at, len(code))
            self._read_summary(account, int(code) if is_type_code(code) else -1, at, fields)

    def _read_summary(self, account: _Level, code: int, at: int, fields: Fields) -> None:
        amount = fields.take() or b""
        cents = amount_of(amount) if amount else 0
        if cents is None:
            self._find(FindingCode.BAI2_SUMMARY_AMOUNT_BAD, fields.at, len(amount))
            cents = 0
        account.total_cents += cents
        count, kind = self._count_and_funds(fields)
        funds = self._funds(kind, fields)
        self._keep_parts(funds, len(self._rows.summaries), -1)
        self._rows.summaries.append(
            (
                at,
                account.row,
                code,
                cents,
                bool(amount),
                count,
                kind,
                funds.value_date,
                funds.value_time,
            )
        )

    def _count_and_funds(self, fields: Fields) -> tuple[int, bytes]:
        """Item count (-1 for none) and funds type. Where a continuation begins with a type code
        in their place, the bank has left them out."""
        begin = fields.mark()
        count = fields.take() or b""
        count_is_fresh = fields.fresh
        behind = fields.mark()
        kind = (fields.take() or b"").upper()
        if kind not in FUNDS:
            self._find(FindingCode.BAI2_FIELD_COUNT, fields.at)
            if count_is_fresh and is_type_code(count) and amount_of(kind) is not None:
                fields.reset(begin)
                return -1, b""
            if is_type_code(kind):
                fields.reset(behind)
            else:
                self._find(FindingCode.BAI2_FUNDS_TYPE_BAD, fields.at, len(kind))
            kind = b""
        if count and not (count.isdigit() and len(count) <= 9):
            self._find(FindingCode.BAI2_ITEM_COUNT_BAD, fields.at)
            count = b""
        return int(count) if count else -1, kind

    # ---- details ----

    def _read_detail(self) -> None:
        """A 16: where what follows its funds type is in its place, it is split at once; others are
        taken field by field."""
        account = self._account or self._open_account(_NO_ACCOUNT_HEAD, has_header=False)
        rows = self._rows
        self._detail = rows.details.detail_count
        start, stop = self._pieces[0]
        parts = self._data[start:stop].split(b",", 5)
        if len(parts) == 6 and parts[2] in PLAIN_FUNDS:
            code, amount, kind, bank, customer, text = parts
            date, minute = DATE_NONE, -1
            begin = start + len(code) + len(amount) + len(kind) + 3
            bank_ref = reference(begin, begin + len(bank)) if bank else 0
            begin += len(bank) + 1
            customer_ref = reference(begin, begin + len(customer)) if customer else 0
            begin += len(customer) + 1
            texts = [(begin, stop), *self._pieces[1:]] if text else self._pieces[1:]
        else:
            fields = Fields(self._data, self._pieces, holds_text=True)
            code, amount = fields.take() or b"", fields.take() or b""
            kind, date, minute = self._detail_funds(fields)
            bank_ref, customer_ref = self._references(fields)
            texts = fields.rest()
        text_start = rows.details.text_count
        self._keep_texts(texts)
        number, cents, valid = self._code_and_amount(code, amount)
        account.total_cents += cents
        rows.details.add_detail(
            self._at,
            self._number,
            account.row,
            number,
            cents,
            kind,
            date,
            minute,
            bank_ref,
            customer_ref,
            text_start,
            valid,
        )

    def _code_and_amount(self, code: bytes, amount: bytes) -> tuple[int, int, bool]:
        number = int(code) if is_type_code(code) else -1
        if number < 0:
            self._find(FindingCode.BAI2_TYPE_CODE_BAD, self._at, len(code))
        cents = amount_of(amount)
        if cents is None:
            if number == 890 and not amount:
                return number, 0, True
            self._find(FindingCode.BAI2_AMOUNT_BAD, self._at, len(amount))
            return number, 0, False
        if amount[:1] in (b"-", b"+"):
            self._find(FindingCode.BAI2_AMOUNT_NEGATIVE, self._at, len(amount))
            return number, cents, False
        return number, cents, True

    def _detail_funds(self, fields: Fields) -> tuple[bytes, int, int]:
        behind = fields.mark()
        kind = (fields.take() or b"").upper()
        if kind not in FUNDS:
            # Not skipped: the bank left the field out, or it is a reference.
            self._find(FindingCode.BAI2_FUNDS_TYPE_BAD, fields.at, len(kind))
            fields.reset(behind)
            return b"", DATE_NONE, -1
        funds = self._funds(kind, fields)
        self._keep_parts(funds, -1, self._detail)
        return kind, funds.value_date, funds.value_time

    def _references(self, fields: Fields) -> tuple[int, int]:
        found = [0, 0]
        for place in (0, 1):
            if not fields.next_holds(2 - place):
                self._find(FindingCode.BAI2_TEXT_EARLY, fields.at)
                break
            found[place] = self._text(fields)
        return found[0], found[1]

    def _keep_texts(self, spans: list[tuple[int, int]]) -> None:
        data, details = self._data, self._rows.details
        for place, (start, stop) in enumerate(spans):
            # The slash that ends a record before its text is none of it.
            if stop <= start or (place == 0 and stop == start + 1 and data[start] == _SLASH):
                continue
            details.add_text(reference(start, stop))

    # ---- trailers ----

    def _read_account_trailer(self, fields: Fields) -> None:
        if self._account is None:
            self._find(FindingCode.BAI2_TRAILER_UNEXPECTED, self._at)
        else:
            self._close_account(self._trailer(fields, counts=1))

    def _read_group_trailer(self, fields: Fields) -> None:
        if self._group is None:
            self._find(FindingCode.BAI2_TRAILER_UNEXPECTED, self._at)
        else:
            self._close_group(self._trailer(fields, counts=2))

    def _read_file_trailer(self, fields: Fields) -> None:
        if self._file is None:
            self._find(FindingCode.BAI2_TRAILER_UNEXPECTED, self._at)
        else:
            self._close_file(self._trailer(fields, counts=2))

    def _trailer(self, fields: Fields, counts: int) -> _Trailer:
        """Control total, number of children (not in a 49) and of records."""
        value = fields.take() or b""
        total = int(value) if _TOTAL.fullmatch(value) else None
        numbers = []
        bad = bool(value) and total is None
        for _ in range(counts):
            count = fields.take() or b""
            known = count.isdigit() and len(count) <= 18
            bad |= bool(count) and not known
            numbers.append(int(count) if known else -1)
        # A blank total is a bank's way; a trailer that says nothing at all was cut off.
        bad |= not value and numbers[-1] < 0
        if not value and not bad:
            self._find(FindingCode.BAI2_TOTAL_BLANK, fields.at)
        if bad:
            self._find(FindingCode.BAI2_CONTROL_NUMBER_BAD, fields.at)
        return _Trailer(total, numbers[0] if counts == 2 else -1, numbers[-1], not bad)

    def _close_account(self, trailer: _Trailer | None) -> None:
        account = self._account
        if account is None:
            return
        control = self._control(account, trailer, _ACCOUNT_FINDINGS)
        rows = self._rows
        rows.accounts[account.row] = (
            account.offset,
            self._group.row if self._group else -1,
            *account.head,
            account.child_start,
            len(rows.summaries),
            account.detail_start,
            rows.details.detail_count,
            *control,
        )
        self._account = None
        self._add_up(self._group, account, trailer)

    def _close_group(self, trailer: _Trailer | None) -> None:
        self._close_account(None)
        group = self._group
        if group is None:
            return
        control = self._control(group, trailer, _GROUP_FINDINGS)
        rows = self._rows
        rows.groups[group.row] = (
            group.offset,
            self._file.row if self._file else -1,
            *group.head,
            group.child_start,
            len(rows.accounts),
            trailer.child_count if trailer else -1,
            *control,
        )
        self._group = None
        self._add_up(self._file, group, trailer)

    def _close_file(self, trailer: _Trailer | None) -> None:
        self._close_group(None)
        file = self._file
        if file is None:
            return
        control = self._control(file, trailer, _FILE_FINDINGS)
        rows = self._rows
        rows.files[file.row] = (
            file.offset,
            *file.head,
            file.child_start,
            len(rows.groups),
            trailer.child_count if trailer else -1,
            *control,
        )
        self._file = None

    @staticmethod
    def _add_up(parent: _Level | None, child: _Level, trailer: _Trailer | None) -> None:
        if parent is not None:
            parent.total_cents += child.total_cents
            declared = None if trailer is None else trailer.total_cents
            parent.declared_sum_cents += child.total_cents if declared is None else declared

    def _control(
        self, level: _Level, trailer: _Trailer | None, codes: _ControlFindings
    ) -> tuple[Any, ...]:
        """Check a trailer against what was counted; the columns that say so.

        A group's total may be the sum of the accounts' amounts or of their control totals: where
        one of those is wrong, it is that one that is told.
        """
        # Its trailer's continuations count; a missing one ended before the record that is read.
        last = self._number_last if trailer else max(self._number - 1, level.first_record)
        if not self._number:
            last = self._rows.record_count
        counted = last - level.first_record + 1
        valid = level.valid
        if trailer is None:
            self._find(codes.missing, self._at)
            valid = valid and codes.missing is not FindingCode.BAI2_ACCOUNT_TRAILER_MISSING
            return (
                _clipped(level.total_cents),
                0,
                False,
                counted,
                -1,
                level.has_header,
                False,
                valid,
            )
        sums = {level.total_cents}
        if codes.children is not None:
            sums.add(level.declared_sum_cents)
        if trailer.total_cents is not None and trailer.total_cents not in sums:
            self._find(codes.total, self._at)
            valid = False
        if codes.children is not None and trailer.child_count not in (-1, level.child_count):
            self._find(codes.children, self._at)
        if trailer.record_count not in (-1, counted):
            self._find(codes.records, self._at)
        return (
            _clipped(level.total_cents),
            _clipped(trailer.total_cents or 0),
            trailer.total_cents is not None,
            counted,
            trailer.record_count,
            level.has_header,
            True,
            valid and trailer.readable,
        )


@dataclass(frozen=True, slots=True)
class _Trailer:
    """What a trailer declares: None and -1 for what is blank or no number."""

    total_cents: int | None
    child_count: int
    record_count: int
    readable: bool


@dataclass(frozen=True, slots=True)
class _ControlFindings:
    missing: FindingCode
    total: FindingCode
    records: FindingCode
    children: FindingCode | None = None


_ACCOUNT_FINDINGS = _ControlFindings(
    FindingCode.BAI2_ACCOUNT_TRAILER_MISSING,
    FindingCode.BAI2_ACCOUNT_TOTAL,
    FindingCode.BAI2_ACCOUNT_RECORD_COUNT,
)
_GROUP_FINDINGS = _ControlFindings(
    FindingCode.BAI2_GROUP_TRAILER_MISSING,
    FindingCode.BAI2_GROUP_TOTAL,
    FindingCode.BAI2_GROUP_RECORD_COUNT,
    FindingCode.BAI2_GROUP_ACCOUNT_COUNT,
)
_FILE_FINDINGS = _ControlFindings(
    FindingCode.BAI2_FILE_TRAILER_MISSING,
    FindingCode.BAI2_FILE_TOTAL,
    FindingCode.BAI2_FILE_RECORD_COUNT,
    FindingCode.BAI2_FILE_GROUP_COUNT,
)
_NO_FILE_HEAD = (0, 0, DATE_NONE, -1, 0, 0, 0)
_NO_GROUP_HEAD = (0, 0, int(GroupStatus.UPDATE), DATE_NONE, -1, b"USD", 0)
_NO_ACCOUNT_HEAD = (0, b"USD")
_SLASH = ord("/")
_READERS = {
    1: Reader._read_file_header,
    2: Reader._read_group_header,
    3: Reader._read_account,
    49: Reader._read_account_trailer,
    98: Reader._read_group_trailer,
    99: Reader._read_file_trailer,
}


def _clipped(total: int) -> int:
    return max(-_INT64_MAX, min(_INT64_MAX, total))
