"""`reassoc generate`: the generator on the command line."""

from __future__ import annotations

import json
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from reassoc.loadtest.defects import DEFECTS, PROFILES, RATE_UNIT
from reassoc.loadtest.directory_file import TENANTS
from reassoc.loadtest.feed import (
    REPORTED_PER_MILLE,
    START_DATE,
    FeedOptions,
    FeedSummary,
    generate_feed,
)
from reassoc.loadtest.plan import CTX_PER_MILLE
from reassoc.loadtest.write import FeedError
from reassoc.stream.console import dollars

EXIT_USAGE = 2
_PROGRESS_PAYMENTS_MIN = 20_000


_Out = Annotated[Path | None, typer.Option(help="Folder to make; it must not exist or be empty.")]
_Payments = Annotated[int | None, typer.Option(help="How many payments, faulty ones included.")]
_Defects = Annotated[
    bool,
    typer.Option("--defects", help="With what goes wrong in real feeds: --profile default."),
]
_Profile = Annotated[
    str,
    typer.Option(
        help="clean, default (what goes wrong in real feeds) or adversarial (with look-alikes "
        "at high rates)."
    ),
]
_Rates = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CASE=FRACTION",
        help="Rate of one case, e.g. amount_variance=0.05; repeatable. "
        "Without --defects and --profile only the named cases occur.",
    ),
]
_START = datetime.combine(START_DATE, datetime.min.time())
_StartDate = Annotated[
    datetime,
    typer.Option(
        formats=["%Y-%m-%d"],
        metavar="DATE",
        show_default=str(START_DATE),
        help="First day (YYYY-MM-DD) that payments settle; a banking day, or the next one counts.",
    ),
]
_Files = Annotated[
    str, typer.Option(help="many: as senders send them; one: a single file of each kind.")
]
_Directory = Annotated[
    bool, typer.Option(help="Write directory.toml: payees and payers by their identifiers.")
]
_TENANTS = len(TENANTS)
_Tenants = Annotated[
    int, typer.Option(help="Tenants of the directory, among whom the payees are shared out.")
]
_BankReports = Annotated[
    str,
    typer.Option(
        metavar="FRACTION",
        help="Accounts whose entries a bank's BAI2 report shows, too "
        f"(where not given: {REPORTED_PER_MILLE / 1000:g}, in clean feeds 0).",
    ),
]


def generate(
    out: _Out = None,
    payments: _Payments = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    claims: Annotated[float, typer.Option(help="Mean number of claims per remittance.")] = 16.0,
    defects: _Defects = False,
    profile: _Profile = "",
    rate: _Rates = None,
    start_date: _StartDate = _START,
    days: Annotated[int, typer.Option(help="Banking days that the payments spread over.")] = 5,
    files: _Files = "many",
    directory: _Directory = True,
    tenants: _Tenants = _TENANTS,
    bank_reports: _BankReports = "",
    list_cases: Annotated[bool, typer.Option("--list-cases", help="Show the cases.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make a feed of synthetic 835s, ACH files and bank reports, with the truth beside it.

    Exit code 0: made. 2: wrong usage, or the folder cannot be written.
    """
    errors = Console(stderr=True)
    if list_cases:
        _show_cases(json_)
        return
    try:
        if out is None or payments is None:
            raise FeedError("--out and --payments are needed: see reassoc generate --help")
        if defects and profile not in ("", "default"):
            raise FeedError("--defects is --profile default: give one of them")
        if files not in ("many", "one"):
            raise FeedError("--files must be many or one")
        options = FeedOptions(
            payments=payments,
            seed=seed,
            claims=claims,
            defects=defects,
            rates_ppm=_rates(rate or []),
            start_date=start_date.date(),
            days=days,
            one_file=files == "one",
            profile=profile,
            directory=directory,
            reported_per_mille=_per_mille(bank_reports),
            tenants=tenants,
        )
        summary = _run(out, options, errors)
    except FeedError as fault:
        _say(errors, str(fault))
        raise typer.Exit(EXIT_USAGE) from None
    except OSError as fault:
        _say(errors, f"{out}: {fault.strerror}. Nothing was written.")
        raise typer.Exit(EXIT_USAGE) from None
    if json_:
        typer.echo(json.dumps(summary.to_dict()))
    else:
        Console().print(_table(summary, out))


def _say(errors: Console, message: str) -> None:
    errors.print(f"reassoc generate: {message}", highlight=False, markup=False, soft_wrap=True)


def _rates(texts: list[str]) -> dict[str, int]:
    """CASE=FRACTION options as parts per million, exactly."""
    rates_ppm: dict[str, int] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            # An exponent could ask for a number of any length.
            fraction = Fraction(value if len(value) <= 30 and "e" not in value.lower() else "")
        except (ValueError, ZeroDivisionError):
            fraction = Fraction(-1)
        if not equals or not 0 <= fraction <= 1:
            raise FeedError(
                f"--rate {text}: write CASE=FRACTION with a fraction between 0 and 1, "
                "as 0.05 or 1/20"
            )
        rates_ppm[name] = round(fraction * RATE_UNIT)
    return rates_ppm


def _per_mille(text: str) -> int:
    """The --bank-reports option; -1 where it was not given."""
    if not text:
        return -1
    try:
        fraction = Fraction(text if len(text) <= 30 and "e" not in text.lower() else "")
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(-1)
    if not 0 <= fraction <= 1:
        raise FeedError("--bank-reports must be a fraction between 0 and 1, as 0.05 or 1/20")
    return round(fraction * 1000)


def _show_cases(as_json: bool) -> None:
    """The cases as a table, or as JSON."""
    rows = [
        {
            "case": case.name,
            "section": case.section,
            "rates_ppm": {name: rates.get(case.name, 0) for name, rates in PROFILES.items()},
            "expect": case.expect,
            "what": _one_line(case.apply.__doc__),
        }
        for case in DEFECTS
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    title = "Cases, by their number among the thirty edge cases"
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("case", no_wrap=True)
    table.add_column("number")
    for name in ("default", "adversarial"):
        table.add_column(name, justify="right")
    table.add_column("expect", overflow="fold")
    table.add_row("clean", "21", "rest", "rest", "auto")
    table.add_row("ctx", "28", f"{CTX_PER_MILLE / 10:g} % of the rest", "", "auto")
    table.add_row("bank_report", "", f"{REPORTED_PER_MILLE / 10:g} % of accounts", "", "none")
    for case in DEFECTS:
        shares = [
            f"{PROFILES[name].get(case.name, 0) / 10_000:.2f} %"
            for name in ("default", "adversarial")
        ]
        table.add_row(case.name, case.section, *shares, case.expect)
    Console().print(table)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _run(out: Path, options: FeedOptions, errors: Console) -> FeedSummary:
    if options.payments < _PROGRESS_PAYMENTS_MIN or not errors.is_terminal:
        return generate_feed(out, options)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} payments, {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("generating", total=options.payments, rate="")

        def advance(done: int, byte_count: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{byte_count / elapsed / 1e6:,.0f} MB/s" if elapsed else ""
            bar.update(task, completed=done, rate=speed)

        return generate_feed(out, options, advance)


def _table(summary: FeedSummary, out: Path) -> Table:
    table = Table(title=f"Feed in {out}", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    speed = summary.bytes / summary.seconds / 1e6 if summary.seconds else 0.0
    for name, value in (
        ("bytes", f"{summary.bytes:,}"),
        ("835 files", f"{summary.remittance_files:,}"),
        ("ACH files", f"{summary.payment_files:,}"),
        ("bank reports", f"{summary.bank_files:,}"),
        ("lockbox lists", f"{summary.lockbox_files:,}"),
        ("remittances", f"{summary.remittances:,}"),
        ("ACH entries", f"{summary.payments:,}"),
        ("lines of bank reports", f"{summary.bank_lines:,}"),
        ("listed checks", f"{summary.listed_checks:,}"),
        ("claims", f"{summary.claims:,}"),
        ("paid by the 835s", "$" + dollars(summary.paid_cents)),
        ("amount of the entries", "$" + dollars(summary.entry_cents)),
        ("seconds", f"{summary.seconds:.1f} ({speed:,.0f} MB/s)"),
    ):
        table.add_row(name, value)
    table.add_section()
    for case, count in summary.cases.items():
        table.add_row(case, f"{count:,}")
    return table
