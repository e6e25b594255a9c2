"""`reassoc inspect`: what a file is, for a person to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.core.ach import AchFiles, EntryKind, iter_ach
from reassoc.core.bai2 import BAI2_BYTES_MAX, read_bai2
from reassoc.core.errors import FindingCode, describe, severity
from reassoc.core.x12_835 import Remittances, iter_835
from reassoc.stream.console import dollars
from reassoc.stream.contents import Content, open_content, read_whole
from reassoc.stream.inspect_835 import FINDING_STYLES, Mask, safe, show_remittances
from reassoc.stream.inspect_bai2 import show_report
from reassoc.stream.kinds import ADVICE, Kind, kind_of
from reassoc.stream.sources import Source, SourceError, discover
from reassoc.stream.table import iso_date


def inspect_file(console: Console, path: Path, member: str, *, mask: bool, limit: int) -> None:
    """Show a file, or a member of an archive; `limit` is how many claims, entries or details, and
    findings, are shown.

    Raises SourceError or ParseError where it cannot be read. The whole file is read, to count what
    it holds.
    """
    found = discover([path])
    for problem in found.unreadable:
        raise SourceError(problem.reason)
    sources = found.sources
    if member:
        sources = [source for source in sources if source.name == f"{path.name}!{member}"]
        if not sources:
            raise SourceError("no such member in the archive")
    elif sources and sources[0].member >= 0:
        _show_archive(console, sources)
        return
    source = sources[0]
    with open_content(source) as content:
        kind = kind_of(content.head)
        if kind not in (Kind.X12, Kind.ACH, Kind.BAI2):
            raise SourceError(ADVICE.get(kind, kind.value))
        console.print(Text(f"{source.name}: {kind.value}", "bold"))
        view = _View(console, Mask(mask), limit)
        if kind is Kind.X12:
            view.x12(content)
        elif kind is Kind.ACH:
            view.ach(content)
        else:
            data = read_whole(content, BAI2_BYTES_MAX, "BAI2_BYTES_MAX")
            show_report(console, read_bai2(data), Mask(mask), limit)
        digest, byte_count = content.finish()
    console.print(Text(f"{byte_count:,} bytes, BLAKE3 {digest.hex()}"))


def _show_archive(console: Console, sources: Iterable[Source]) -> None:
    table = Table("member", "what it is", show_edge=False, pad_edge=False)
    table.add_column("bytes", justify="right")
    for source in sources:
        try:
            with open_content(source) as content:
                what = kind_of(content.head).value
        except SourceError as error:
            what = str(error)
        table.add_row(Text(source.name), what, f"{source.size_bytes:,}")
    console.print(table)
    console.print(Text("Look at one of them with: reassoc inspect ARCHIVE.zip!MEMBER"))


class _View:
    """Prints windows until the limit is reached, and counts all of them."""

    def __init__(self, console: Console, mask: Mask, limit: int) -> None:
        self._console = console
        self._mask = mask
        self._limit = limit
        self._left = limit
        self._counts: Counter[str] = Counter()
        self._cents: Counter[str] = Counter()
        self._codes: Counter[int] = Counter()

    def x12(self, content: Content) -> None:
        """An X12 file: its envelopes, its 835s, and a count of all."""
        for window in iter_835(content.input):
            self._count_835(window)
            if self._counts["windows"] == 0:
                self._envelopes(window)
            self._counts["windows"] += 1
            self._left -= show_remittances(self._console, window, self._mask, self._left)
            self._loose_findings(window)
        self._totals()

    def ach(self, content: Content) -> None:
        """An ACH file: its batches and entries, the 835s inside of them, and a count of all."""
        for window in iter_ach(content.input):
            entries = window.entries
            self._counts["entries"] += len(entries)
            self._counts["addenda"] += len(window.addenda)
            self._counts["835s in addenda"] += len(window.remittances.transactions)
            kinds = entries.kind.tolist()
            for kind, cents in zip(kinds, entries.amount_cents.tolist(), strict=True):
                self._cents[EntryKind(kind).name.lower().replace("_", " ")] += cents
            self._codes.update(window.findings.code.tolist())
            self._codes.update(window.remittances.findings.code.tolist())
            self._entries(window)
        self._totals()

    def _count_835(self, window: Remittances) -> None:
        counts = self._counts
        counts["835s"] += len(window.transactions)
        for set_id in window.skipped.set_id.tolist():
            counts[f"{safe(set_id.decode('latin-1')) or 'other'}s (not read)"] += 1
        counts["claims"] += len(window.claims)
        counts["services"] += len(window.services)
        self._cents["paid (BPR02)"] += sum(window.transactions.paid_cents.tolist())
        self._codes.update(window.findings.code.tolist())

    def _envelopes(self, window: Remittances) -> None:
        interchanges = window.interchanges
        for row in range(min(len(interchanges), 5)):
            if not interchanges.enveloped[row]:
                continue
            delimiters = " ".join(
                f"{name} 0x{int(column[row]):02X}"
                for name, column in (
                    ("element", interchanges.element_separator),
                    ("component", interchanges.component_separator),
                    ("terminator", interchanges.segment_terminator),
                )
            )
            line = (
                f"Interchange {safe(interchanges.control_number[row])} from "
                f"{safe(interchanges.sender[row])} to {safe(interchanges.receiver[row])}, "
                f"{iso_date(int(interchanges.date[row]))}; {delimiters}"
            )
            self._console.print(Text(line, "bold"))

    def _entries(self, window: AchFiles) -> None:
        entries = window.entries
        shown = min(len(entries), max(self._left, 0))
        by_entry = _by_row(window.findings.entry.tolist())
        batch = -1
        table: Table | None = None
        for row in range(shown):
            if int(entries.batch[row]) != batch or table is None:
                self._print(table)
                batch = int(entries.batch[row])
                self._console.print(Text(_batch_line(window, batch), "bold"))
                self._finding_lines(
                    window,
                    [
                        r
                        for r in _by_row(window.findings.batch.tolist()).get(batch, [])
                        if window.findings.entry[r] < 0
                    ],
                )
                table = _entry_table()
            table.add_row(*_entry_cells(window, row, self._mask))
            for finding in by_entry.get(row, []):
                table.add_row("", *[""] * 5, _finding_text(window, finding))
        self._print(table)
        self._left -= shown
        if len(window.remittances.transactions) and shown:
            self._console.print(Text("Remittances inside of addenda", "bold"))
            show_remittances(self._console, window.remittances, self._mask, self._limit)
        outside = [row for row in range(len(window.findings)) if window.findings.batch[row] < 0]
        self._finding_lines(window, outside[: self._limit])

    def _print(self, table: Table | None) -> None:
        if table is not None:
            self._console.print(table)

    def _finding_lines(self, window: AchFiles, rows: Iterable[int]) -> None:
        for row in rows:
            self._console.print(_finding_text(window, row))

    def _loose_findings(self, window: Remittances) -> None:
        """Findings outside of any 835: envelopes, junk, other transaction sets."""
        loose = [
            row
            for row, transaction in enumerate(window.findings.transaction.tolist())
            if transaction < 0
        ]
        for row in loose[: self._limit]:
            code = FindingCode(int(window.findings.code[row]))
            place = f"byte {int(window.findings.file_offset[row])}"
            self._console.print(
                Text(f"{code.name} at {place}: {describe(code)}", FINDING_STYLES[severity(code)])
            )

    def _totals(self) -> None:
        self._counts.pop("windows", None)
        counts = ", ".join(f"{count:,} {name}" for name, count in self._counts.items())
        money = ", ".join(f"{name} {dollars(cents)}" for name, cents in self._cents.items())
        self._console.print(Text(f"In all: {counts}; {money}"))
        for code, count in sorted(self._codes.items()):
            known = FindingCode(code)
            line = f"{count:>9,}  {known.name}: {describe(known)}"
            self._console.print(Text(line, FINDING_STYLES[severity(known)]))
        if self._left <= 0:
            self._console.print(
                Text(f"Only the first {self._limit} are shown; --limit shows more.", "dim")
            )


def _batch_line(window: AchFiles, batch: int) -> str:
    if batch < 0:
        return "Entries outside of a batch"
    batches = window.batches
    effective, settled = (
        iso_date(int(batches.effective_date[batch])),
        iso_date(int(batches.settlement_date[batch])),
    )
    return (
        f"Batch {int(batches.batch_number[batch])}: {batches.sec[batch].decode('latin-1')} from "
        f"{safe(batches.company_name[batch])} ({safe(batches.company_id[batch])}), "
        f"{safe(batches.entry_description[batch])}, effective {effective or 'not said'}, "
        f"settles {settled or 'not said'}"
    )


def _entry_table() -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name in ("entry", "kind", "receiver", "account"):
        table.add_column(name, overflow="fold")
    table.add_column("amount", justify="right", overflow="fold")
    # Numbers that do not fit go on in the next line: cut off, they are worth nothing.
    table.add_column("trace number", overflow="fold")
    table.add_column("remittance trace (TRN02, TRN03)", overflow="fold")
    return table


def _entry_cells(window: AchFiles, row: int, mask: Mask) -> Iterator[str | Text]:
    entries = window.entries
    yield str(int(entries.ordinal[row]))
    kind = EntryKind(int(entries.kind[row])).name.lower().replace("_", " ")
    yield f"{int(entries.transaction_code[row]):02d} {kind}"
    yield Text(mask(entries.receiver_name[row]))
    yield Text(mask(entries.account[row]))
    yield dollars(int(entries.amount_cents[row]))
    trace = int(entries.trace_number[row])
    yield f"{trace:015d}" if trace >= 0 else ""
    yield Text(f"{safe(entries.trace[row])} {safe(entries.payer_id[row])}".strip())


def _finding_text(window: AchFiles, row: int) -> Text:
    code = FindingCode(int(window.findings.code[row]))
    record = int(window.findings.record_number[row])
    place = f"record {record}: " if record else ""
    return Text(f"{place}{code.name}: {describe(code)}", FINDING_STYLES[severity(code)])


def _by_row(owners: list[int]) -> dict[int, list[int]]:
    """Rows of findings by the row that owns them."""
    rows: dict[int, list[int]] = {}
    for row, owner in enumerate(owners):
        rows.setdefault(owner, []).append(row)
    return rows
