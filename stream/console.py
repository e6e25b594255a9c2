"""What people see of a run: progress while it goes, a table at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from reassoc.stream.summary import Inputs, NotRead, Summary, Tally

PROBLEMS_SHOWN_MAX = 20
"""Inputs that could not be read that are listed on the screen; summary.json has all."""

REMITTANCE_MEANINGS: Mapping[str, str] = {
    "released": "may be posted: written to released/",
    "matched": "its payment is known but not settled yet",
    "matched_variance": "its payment differs in amount: held, see matches.csv",
    "probable": "likely payments: a person decides, see matches.csv",
    "awaiting_eft": "no payment has been seen for it",
    "awaiting_check": "paid by check: none has been seen for it",
    "awaiting_wire": "paid by wire: none has been seen for it",
    "awaiting_card": "paid by card: not matched",
    "unmatched_by_return": "its payment went back: the money is not there",
    "quarantined": "the directory does not know its payee: never matched",
    "no_funds_expected": "nothing was paid, so no payment is awaited",
    "duplicate": "the same remittance came before",
    "invalid": "does not balance or is damaged: never released, see findings.csv",
    "received": "not decided",
}
PAYMENT_MEANINGS: Mapping[str, str] = {
    "matched": "its remittance is known",
    "unmatched": "no remittance has been seen for it",
    "suggested": "likely remittances: a person decides, see matches.csv",
    "quarantined": "the directory does not know its payee: never matched",
    "reported": "the bank's report of money that another row stands for",
    "partial": "remittances for a part of it are known",
    "not_claim_payment": "a debit, or a credit that is no claim payment",
    "prenote": "a test entry, never money",
    "duplicate": "the same payment came before",
    "returned": "sent back by the receiving bank",
    "reversed": "taken back by the payer",
    "written_to_suspense": "set aside",
    "received": "moves no money: its amount is zero or cannot be read",
}


def dollars(cents: int) -> str:
    """`-1,234.56`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def show_summary(console: Console, summary: Summary, out: str) -> None:
    """The table at the end of a run, and what to look at next."""
    inputs = summary.inputs
    console.print(
        Text(
            f"{inputs.read:,} files read ({_kinds(inputs)}), "
            f"{summary.bytes / 1e6:,.1f} MB in {summary.seconds:,.2f} s "
            f"({summary.bytes_per_second / 1e6:,.0f} MB/s); {summary.claims:,} claims. "
            f"Money as of {summary.as_of}."
        )
    )
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("dollars", justify="right", no_wrap=True)
    table.add_column("meaning")
    _add_side(
        table,
        "Remittances (835)",
        summary.remittances.total,
        summary.remittances.by_status,
        REMITTANCE_MEANINGS,
        _tenants(summary.remittances.by_tenant),
    )
    _add_side(
        table,
        "Payments",
        summary.payments.total,
        summary.payments.by_status,
        PAYMENT_MEANINGS,
        _sources(summary.payments.by_source),
    )
    _add_pairs(table, summary)
    console.print(table)
    errors = summary.findings.by_severity.get("error", 0)
    if summary.findings.total:
        console.print(
            Text(
                f"{summary.findings.total:,} findings, {errors:,} of them errors: see findings.csv"
            )
        )
    _show_problems(console, "passed over", inputs.passed_over, "dim")
    _show_problems(console, "could not be read", inputs.unreadable, "bold red")
    released = summary.released
    console.print(
        Text(
            f"Result in {out}: {released.total.count:,} remittances in "
            f"{len(released.interchanges):,} released interchanges, matches.csv, remittances.csv, "
            "payments.csv, links.csv, findings.csv, summary.json"
        )
    )


def _kinds(inputs: Inputs) -> str:
    kinds = [f"{inputs.x12:,} X12", f"{inputs.ach:,} ACH"]
    kinds += [f"{inputs.bank_reports:,} BAI2"] if inputs.bank_reports else []
    kinds += [f"{inputs.lists:,} lists"] if inputs.lists else []
    return ", ".join(kinds)


def _add_side(
    table: Table,
    title: str,
    total: Tally,
    by_status: Mapping[str, Tally],
    meanings: Mapping[str, str],
    about: str = "",
) -> None:
    table.add_row(Text(title, "bold"), f"{total.count:,}", dollars(total.cents), about)
    for status, tally in by_status.items():
        label = "  " + status.replace("_", " ")
        table.add_row(label, f"{tally.count:,}", dollars(tally.cents), meanings.get(status, ""))
    table.add_row()


def _add_pairs(table: Table, summary: Summary) -> None:
    pairs = summary.matches
    tiers = ", ".join(f"{tier}: {tally.count:,}" for tier, tally in pairs.by_tier.items())
    table.add_row(
        Text("Matches, candidates", "bold"),
        f"{pairs.total.count:,}",
        dollars(pairs.total.cents),
        tiers,
    )
    for status, tally in pairs.by_status.items():
        table.add_row(
            "  " + status, f"{tally.count:,}", dollars(tally.cents), _PAIR_MEANINGS.get(status, "")
        )
        if status == "variance":
            for cause, part in pairs.variance_by_cause.items():
                label = "    " + cause.replace("_", " ")
                table.add_row(label, f"{part.count:,}", dollars(part.cents), "the difference")
    table.add_row(
        "  funded", f"{pairs.funded.count:,}", dollars(pairs.funded.cents), "the money has settled"
    )
    _add_links(table, summary)


def _add_links(table: Table, summary: Summary) -> None:
    links = summary.links
    if not links.by_kind and not links.unclear:
        return
    table.add_row()
    table.add_row(Text("Links of payments", "bold"), "", "", "see links.csv")
    for tallies, about in ((links.by_kind, ""), (links.unclear, "unclear: a person decides")):
        for kind, tally in tallies.items():
            label = "  " + kind.replace("_", " ")
            meaning = about or _LINK_MEANINGS.get(kind, "")
            table.add_row(label, f"{tally.count:,}", dollars(tally.cents), meaning)


def _sources(by_source: Mapping[str, Tally]) -> str:
    """`ACH: 1,860, checks: 34`; nothing where all came by ACH."""
    if set(by_source) <= {"ach"}:
        return ""
    return ", ".join(
        f"{_SOURCES.get(name, name)}: {tally.count:,}" for name, tally in by_source.items()
    )


def _tenants(by_tenant: Mapping[str, Tally]) -> str:
    return "" if len(by_tenant) < 2 else f"of {len(by_tenant):,} tenants"


_SOURCES = {
    "ach": "ACH",
    "bank_ach": "ACH in bank reports",
    "check": "checks",
    "deposit": "deposits",
    "wire": "wires",
    "bank_other": "other bank lines",
}
_LINK_MEANINGS = {
    "report_of": "the bank's report shows the payment: posted",
    "return_of": "the payment was sent back",
    "dishonored_return_of": "the return was refused",
    "contested_return_of": "the refusal was refused: sent back again",
    "reversal_of": "the payer took the payment back",
    "change_of": "the receiving bank gave other account data",
    "part_of": "a check of a deposit",
}


_PAIR_MEANINGS = {
    "auto": "unique both ways and equal to the cent",
    "variance": "the same payment by trace and payer, but the amounts differ",
    "review": "candidates: a person decides",
    "unmatched": "undone: the money went back",
}


def _show_problems(console: Console, label: str, problems: Sequence[NotRead], style: str) -> None:
    for problem in problems[:PROBLEMS_SHOWN_MAX]:
        console.print(Text.assemble((f"{label}: ", style), f"{problem.file}: {problem.reason}"))
    if len(problems) > PROBLEMS_SHOWN_MAX:
        console.print(
            Text(f"{label}: {len(problems) - PROBLEMS_SHOWN_MAX:,} more, see summary.json", style)
        )


class ProgressBar:
    """Progress on a terminal (stderr), with the rate; silent where stderr is none."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None)

    def step(self, name: str, byte_count: int) -> None:
        """Begin a step that goes through `byte_count` bytes, or an unknown amount of work when
        0.
        """
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=byte_count or None)

    def advance(self, byte_count: int) -> None:
        """Any thread may call this."""
        self._progress.advance(self._task, byte_count)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
