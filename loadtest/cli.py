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

from reassoc.loadtest.defects import RATE_UNIT
from reassoc.loadtest.feed import START_DATE, FeedOptions, FeedSummary, generate_feed
from reassoc.loadtest.write import FeedError

EXIT_USAGE = 2
_PROGRESS_PAYMENTS_MIN = 20_000


def generate(
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist or be empty.")],
    payments: Annotated[int, typer.Option(help="How many payments, faulty ones included.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    claims: Annotated[float, typer.Option(help="Mean number of claims per remittance.")] = 16.0,
    defects: Annotated[
        bool,
        typer.Option("--defects", help="With what goes wrong in real feeds, at default rates."),
    ] = False,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CASE=FRACTION",
            help="Rate of one case, e.g. amount_variance=0.05; repeatable. "
            "Without --defects only the named cases occur.",
        ),
    ] = None,
    start_date: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="First day that payments settle.")
    ] = datetime.combine(START_DATE, datetime.min.time()),  # noqa: B008
    days: Annotated[int, typer.Option(help="Banking days that the payments spread over.")] = 5,
    files: Annotated[
        str,
        typer.Option(help="many: as senders send them; one: a single 835 and a single ACH file."),
    ] = "many",
    json_: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make a feed of synthetic 835s and ACH files, and truth.csv: what belongs together."""
    errors = Console(stderr=True)
    try:
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
        ("remittances", f"{summary.remittances:,}"),
        ("ACH entries", f"{summary.payments:,}"),
        ("claims", f"{summary.claims:,}"),
        ("paid by the 835s", _dollars(summary.paid_cents)),
        ("amount of the entries", _dollars(summary.entry_cents)),
        ("seconds", f"{summary.seconds:.1f} ({speed:,.0f} MB/s)"),
    ):
        table.add_row(name, value)
    table.add_section()
    for case, count in summary.cases.items():
        table.add_row(case, f"{count:,}")
    return table


def _dollars(cents: int) -> str:
    return f"${cents // 100:,}.{cents % 100:02d}"
