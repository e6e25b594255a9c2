"""Bank reports as tables for people: groups, accounts, their amounts, details, and findings where
they belong.
"""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.core import bank_lines
from reassoc.core.bai2 import BankReports, Direction, GroupStatus, direction_of
from reassoc.core.errors import FindingCode, describe, severity
from reassoc.stream.console import dollars
from reassoc.stream.inspect_835 import FINDING_STYLES, Mask, safe
from reassoc.stream.table import iso_date

_TYPE_NAMES = {
    10: "opening ledger",
    15: "closing ledger",
    30: "current ledger",
    40: "opening available",
    45: "closing available",
    60: "current available",
    72: "one-day float",
    74: "float of two days or more",
    100: "total credits",
    110: "total lockbox deposits",
    115: "lockbox deposit",
    116: "item in a lockbox deposit",
    142: "ACH credit",
    165: "preauthorized ACH credit",
    166: "ACH settlement",
    169: "other ACH credit",
    175: "deposit of checks",
    195: "incoming wire",
    255: "check posted and returned",
    257: "returned ACH item",
    301: "commercial deposit",
    399: "other credit",
    400: "total debits",
    451: "ACH debit",
    455: "preauthorized ACH debit",
    475: "check paid",
    495: "outgoing wire",
    555: "deposited item returned",
    557: "returned ACH item",
    558: "ACH reversal",
    698: "fees",
    699: "other debit",
}
"""Type codes that health care payments and what stands around them come with."""
_DIRECTIONS = {Direction.CREDIT: "credit", Direction.DEBIT: "debit", Direction.NONE: ""}
_NO_ROW = -1
_TRACE_WIDTH_MAX = 22
"""Most traces fit; the rest of a narrow terminal is for the text."""


def show_report(console: Console, reports: BankReports, mask: Mask, limit: int) -> None:
    """Print a report with up to `limit` details (an account without any counts as one) and as many
    findings of each place; the counts at the end are of all. O(size).
    """
    _Report(console, reports, mask, limit).show()


class _Report:
    """Prints one input: usually one file of a bank, its groups and accounts."""

    def __init__(self, console: Console, reports: BankReports, mask: Mask, limit: int) -> None:
        self._console = console
        self._reports = reports
        self._mask = mask
        self._limit = limit
        self._left = limit
        memos = bank_lines.read_memos(reports)
        self._payments = bank_lines.payments(reports, memos=memos)
        self._lines = reports.text_lines()
        self._uncertain = set(bank_lines.uncertain_rows(memos).tolist())
        self._by_place: dict[tuple[str, int], list[int]] = {}
        findings = reports.findings
        owners = {
            "detail": findings.detail.tolist(),
            "account": findings.account.tolist(),
            "group": findings.group.tolist(),
        }
        for row, record in enumerate(findings.record_number.tolist()):
            # What is missing at the input's end is no fault of the record that is the last.
            places = ((name, of[row]) for name, of in owners.items() if record and of[row] >= 0)
            self._by_place.setdefault(next(places, ("", _NO_ROW)), []).append(row)

    def show(self) -> None:
        files, groups = self._reports.files, self._reports.groups
        for file in range(len(files)):
            if files.has_header[file]:
                made = iso_date(int(files.creation_date[file])) or "no date"
                line = f"Report {safe(files.file_id[file])} from {safe(files.sender[file])} to "
                self._say(f"{line}{self._mask(files.receiver[file])}, made {made}")
            for group in range(int(files.group_start[file]), int(files.group_stop[file])):
                if self._left > 0:
                    self._group(group, int(groups.account_start[group]))
        self._finding_lines("", _NO_ROW)
        self._totals()

    def _say(self, line: str, style: str = "bold") -> None:
        self._console.print(Text(line, style))

    def _group(self, row: int, account_start: int) -> None:
        groups = self._reports.groups
        status = int(groups.status[row])
        known = status in list(GroupStatus)
        named = GroupStatus(status).name.lower() if known else "of unknown status"
        currency = groups.currency[row].decode("latin-1")
        self._say(
            f"Group {row}: {named}, from {safe(groups.originator[row])} to "
            f"{self._mask(groups.receiver[row])}, as of "
            f"{iso_date(int(groups.as_of_date[row])) or 'no date'}, {safe(currency)}"
        )
        self._finding_lines("group", row)
        for account in range(account_start, int(groups.account_stop[row])):
            if self._left > 0:
                self._account(account)

    def _account(self, row: int) -> None:
        accounts, summaries = self._reports.accounts, self._reports.summaries
        start, stop = int(accounts.detail_start[row]), int(accounts.detail_stop[row])
        credits, debits = self._sums(start, stop)
        state = "no control total"
        if accounts.total_declared[row]:
            declared, counted = (
                int(accounts.declared_total_cents[row]),
                int(accounts.total_cents[row]),
            )
            state = "its control total agrees"
            if declared != counted:
                state = f"CONTROL TOTAL {dollars(declared)}, COUNTED {dollars(counted)}"
        self._say(
            f"Account {row}: {self._mask(accounts.account[row])}, {stop - start:,} details, "
            f"credits {dollars(credits)}, debits {dollars(debits)}; {state}"
        )
        amounts = [
            f"{_type_name(int(summaries.type_code[at]))} "
            + dollars(int(summaries.amount_cents[at]))
            for at in range(int(accounts.summary_start[row]), int(accounts.summary_stop[row]))
            if summaries.has_amount[at]
        ]
        if amounts:
            self._say("  " + ", ".join(amounts), "")
        shown = min(stop - start, self._left)
        if shown:
            self._details(start, start + shown)
        if start + shown < stop:
            self._say(f"  {stop - start - shown:,} more details", "dim")
        self._finding_lines("account", row)
        self._console.print()
        self._left -= max(shown, 1)

    def _sums(self, start: int, stop: int) -> tuple[int, int]:
        """Credits and debits among details, in cents."""
        details = self._reports.details
        sums = dict.fromkeys(Direction, 0)
        codes, cents = details.type_code[start:stop], details.amount_cents[start:stop]
        for code, amount in zip(codes.tolist(), cents.tolist(), strict=True):
            sums[direction_of(code)] += amount
        return sums[Direction.CREDIT], sums[Direction.DEBIT]

    def _details(self, start: int, stop: int) -> None:
        table = Table(show_edge=False, pad_edge=False)
        table.add_column("detail", no_wrap=True)
        table.add_column("type", no_wrap=True)
        table.add_column("amount", justify="right", no_wrap=True)
        table.add_column("trace, payer; references", overflow="fold", max_width=_TRACE_WIDTH_MAX)
        table.add_column("text", overflow="fold")
        details, mask = self._reports.details, self._mask
        for row in range(start, stop):
            code = int(details.type_code[row])
            known = (self._payments.trace[row], self._payments.payer_id[row])
            trace = [safe(part) for part in known if part]
            references = (details.bank_reference[row], details.customer_reference[row])
            trace += [mask(reference) for reference in references if reference]
            text = "\n".join(safe(line.decode("latin-1")) for line in self._lines[row] if line)
            table.add_row(
                str(row),
                f"{_type_code(code)} {_DIRECTIONS[direction_of(code)]}".rstrip(),
                dollars(int(details.amount_cents[row])),
                Text("\n".join(trace)),
                Text(mask.HIDDEN if mask.hides and text else text),
            )
            notes = [self._finding(finding) for finding in self._by_place.get(("detail", row), [])]
            if row in self._uncertain:
                notes.append(_said(FindingCode.BAI2_TRN_UNCERTAIN, int(details.record_number[row])))
            for note in notes:
                table.add_row("", "", "", "", note)
        self._console.print(table)

    def _finding_lines(self, place: str, row: int) -> None:
        rows = self._by_place.get((place, row), [])
        for finding in rows[: self._limit]:
            self._console.print(self._finding(finding))

    def _finding(self, row: int) -> Text:
        findings = self._reports.findings
        code = FindingCode(int(findings.code[row]))
        return _said(code, int(findings.record_number[row]))

    def _totals(self) -> None:
        reports, details = self._reports, self._reports.details
        codes = details.type_code.tolist()
        counts, cents = Counter(codes), Counter[int]()
        for code, amount in zip(codes, details.amount_cents.tolist(), strict=True):
            cents[code] += amount
        if counts:
            self._console.print(_types_table(counts, cents))
        self._say(
            f"In all: {len(reports.groups):,} groups, {len(reports.accounts):,} accounts, "
            f"{len(details):,} details, {reports.record_count:,} records",
            "",
        )
        found = Counter(reports.findings.code.tolist())
        found[int(FindingCode.BAI2_TRN_UNCERTAIN)] += len(self._uncertain)
        for number, count in sorted((+found).items()):
            code = FindingCode(number)
            self._say(f"{count:>9,}  {code.name}: {describe(code)}", FINDING_STYLES[severity(code)])
        if self._left <= 0:
            self._say(f"Only the first {self._limit} details are shown; --limit shows more.", "dim")


def _said(code: FindingCode, record: int) -> Text:
    place = f"record {record}: " if record else ""
    return Text(f"{place}{code.name}: {describe(code)}", FINDING_STYLES[severity(code)])


def _types_table(counts: Counter[int], cents: Counter[int]) -> Table:
    table = Table(title="Details by type code", title_justify="left", show_edge=False)
    for name in ("type", "", "meaning"):
        table.add_column(name)
    for name in ("details", "dollars"):
        table.add_column(name, justify="right", no_wrap=True)
    for code, count in sorted(counts.items()):
        meaning, way = _TYPE_NAMES.get(code, ""), _DIRECTIONS[direction_of(code)]
        table.add_row(_type_code(code), way, meaning, f"{count:,}", dollars(cents[code]))
    return table


def _type_code(code: int) -> str:
    return f"{code:03d}" if code >= 0 else "none"


def _type_name(code: int) -> str:
    return _TYPE_NAMES.get(code, f"type {_type_code(code)}")
