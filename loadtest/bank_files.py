"""Writes banks' reports in BAI2: previous-day and same-day, in the way that large US banks do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reassoc.loadtest.dates import compact, next_banking_day, to_date
from reassoc.loadtest.defects.rails import report_line
from reassoc.loadtest.model import NONE, SETTLEMENT_BLANK, BankLine, Chunk, Link, Payment

REPORT_CASE = "bank_report"
CTX_CREDIT = 164
LINE_CHARACTERS_MAX = 78
"""A longer record goes on in records 88."""

_WITHOUT_REFERENCE = 3
"""The bank of every third payee gives no reference in its report of the running day."""

_CREDIT_TOTAL, _DEBIT_TOTAL = 100, 400
_PREVIOUS_DAY_FINAL, _SAME_DAY_INTERIM = 2, 3
_CREDIT_CODES = (22, 32)


def report_payments(chunk: Chunk, per_mille: int) -> None:
    """Put lines for the entries of `per_mille` of a thousand accounts into the chunk's reports; of
    every other such account also into the report of the running day.
    """
    if not per_mille:
        return
    for payment in chunk.payments:
        number = payment.payee.number * 7_919 % 1_000
        if number >= per_mille or not _is_reported(payment):
            continue
        line = report_line(payment, payment.settlement_day)
        if payment.sec == "CTX":
            line.type_code = CTX_CREDIT
        lines = [line]
        if number % 2:
            lines.append(replace(line, is_same_day=True, repeats=line))
        for each in lines:
            chunk.bank_lines.append(each)
            chunk.links.append(Link(REPORT_CASE, None, each, NONE))


def _is_reported(payment: Payment) -> bool:
    return (
        payment.is_reported
        and not payment.goes_out
        and payment.transaction_code in _CREDIT_CODES
        and payment.settlement_day != SETTLEMENT_BLANK
        and payment.amount_cents > 0
    )


class BankFiles:
    """Writes the reports of chunk after chunk: a file per bank, kind of report and chunk, or all
    into one file.

    put(name, data) appends bytes to the named file of the feed.
    """

    def __init__(self, put: Callable[[str, bytes], None], one_file: str = "") -> None:
        self._put = put
        self._one_file = one_file
        self._ordinal = 0
        self._serials: dict[str, int] = {}
        self._references = 0

    def write(self, chunk: Chunk) -> None:
        """Write the chunk's lines; note file, ordinal and bank reference on each. O(lines)."""
        files: dict[tuple[bool, int], list[BankLine]] = {}
        for line in chunk.bank_lines:
            files.setdefault((line.is_same_day, line.payee.destination), []).append(line)
        for (is_same_day, destination), lines in sorted(files.items()):
            name = self._name(chunk, is_same_day, destination)
            self._put(name, self._report(name, lines, chunk, is_same_day).encode("latin-1"))

    def _name(self, chunk: Chunk, is_same_day: bool, destination: int) -> str:
        if self._one_file:
            return self._one_file
        self._ordinal = 0
        stem = f"{'INTRADAY' if is_same_day else 'PRIORDAY'}{chunk.world.destinations[destination]}"
        serial = self._serials.get(stem, 0) + 1
        self._serials[stem] = serial
        return str(Path("bank", to_date(chunk.day).isoformat(), f"{stem}-{serial:04d}.bai2"))

    def _report(self, name: str, lines: list[BankLine], chunk: Chunk, is_same_day: bool) -> str:
        """01 to 99: a group for each bank and day, an account for each account."""
        modifier = _SAME_DAY_INTERIM if is_same_day else _PREVIOUS_DAY_FINAL
        groups: dict[tuple[str, int], dict[str, list[BankLine]]] = {}
        for line in lines:
            accounts = groups.setdefault((line.payee.rdfi, line.day), {})
            accounts.setdefault(line.payee.account.strip(), []).append(line)
        made = chunk.day if is_same_day else next_banking_day(chunk.day)
        bank = lines[0].payee.rdfi
        self._references += 1
        records = [f"01,{bank},EXCUSTOMER,{compact(made)[2:]},0500,{self._references},,,2/"]
        total = 0
        for (rdfi, day), accounts in sorted(groups.items()):
            sums, first = 0, len(records)
            as_of = compact(day)[2:]
            records.append(f"02,EXCUSTOMER,{rdfi},1,{as_of},2359,USD,{modifier}/")
            for account, of_account in sorted(accounts.items()):
                sums += self._account(records, name, account, of_account)
            records.append(f"98,{sums},{len(accounts)},{len(records) - first + 1}/")
            total += sums
        records.append(f"99,{total},{len(groups)},{len(records) + 1}/")
        return "\n".join(records) + "\n"

    def _account(self, records: list[str], name: str, account: str, lines: list[BankLine]) -> int:
        """03 to 49; returns the control total."""
        first, total = len(records), 0
        groups = ""
        for code, of_kind in (
            (_CREDIT_TOTAL, [line for line in lines if line.type_code < _DEBIT_TOTAL]),
            (_DEBIT_TOTAL, [line for line in lines if line.type_code >= _DEBIT_TOTAL]),
        ):
            if of_kind:
                cents = sum(line.amount_cents for line in of_kind)
                groups += f",{code},{cents},{len(of_kind)},Z"
                total += cents
        records.append(f"03,{account},USD{groups}/")
        for line in lines:
            line.bank_reference = self._reference(line)
            line.file, line.ordinal = name, self._ordinal
            self._ordinal += 1
            head = (
                f"16,{line.type_code},{line.amount_cents},Z,{line.bank_reference},"
                f"{line.customer_reference},"
            )
            records += _continued(head, line.text)
            total += line.amount_cents
        records.append(f"49,{total},{len(records) - first + 1}/")
        return total

    def _reference(self, line: BankLine) -> str:
        """A line that repeats another has its reference, whichever is written first; some banks
        give none during the day.
        """
        if line.is_same_day and line.payee.number % _WITHOUT_REFERENCE == 0:
            return ""
        known = line.repeats if line.repeats is not None else line
        if not known.bank_reference:
            self._references += 1
            known.bank_reference = f"EXREF{self._references:09d}"
        return known.bank_reference


def _continued(head: str, text: str) -> list[str]:
    """A record with its text, cut before a word where it is too long: 16, then 88 after 88."""
    if not text:
        return [f"{head}/"]
    records = [head]
    for number, word in enumerate(text.replace("PMT INFO:", "PMT\0INFO:").split(" ")):
        space = " " if number else ""
        if len(records[-1]) + len(space) + len(word) > LINE_CHARACTERS_MAX and number:
            records.append(f"88,{word}")
        else:
            records[-1] += space + word
    return [record.replace("\0", " ") for record in records]
