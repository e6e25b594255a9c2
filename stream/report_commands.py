"""The command `reassoc report`: a span of a warehouse's days as tables, CSV, JSON, a page."""

from __future__ import annotations

import re
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reassoc.core.errors import ReassocError
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.desk_commands import ConfigOption, HomeOption, ledger_url
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, os_error_text
from reassoc.stream.home import HomeError
from reassoc.stream.ledger import Ledger
from reassoc.stream.outputs import OutputError, whole_file
from reassoc.stream.warehouse_report import make_report
from reassoc.stream.warehouse_report_figures import ReportError, WarehouseReport
from reassoc.stream.warehouse_report_view import report_csv, report_json, show_report

REPORT_HELP = (
    "Report on a span of a warehouse's days: what came, was matched, released, went back, and what "
    "was open at the end, by age.\n\n"
    "A step belongs to the banking day that was open when it was made. The report is made from the "
    "ledger alone, and the same days give the same report later on: what was open at the end is "
    "what was open then. Nothing of patients or accounts is in it.\n\n"
    "--html writes one page with plots, for a browser or a printer, that needs no network.\n\n"
    "Exit code 0: reported. 1: the ledger cannot be read, or a file not be written. 2: wrong usage."
)


def report_command(
    home: HomeOption = None,
    config: ConfigOption = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DATE",
            help="The first day (YYYY-MM-DD). Default: the first of the last day's month.",
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DATE",
            help="The last day. Default: the last banking day that the ledger knows.",
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Only this tenant.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write all figures as CSV; - for the terminal, and no tables.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with plots; - as above."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")
    ] = False,
) -> None:
    """`reassoc report`."""
    if [str(csv), str(html)].count("-") + as_json > 1:
        fail("--csv -, --html - and --json write to the terminal: give one of them", EXIT_USAGE)
    if csv is not None and csv == html:
        fail("--csv and --html are one file: give two", EXIT_USAGE)
    days = _day("--from", first), _day("--to", last)
    try:
        report = _read(ledger_url(home, config), days, tenant)
    except (HomeError, ReportError) as error:
        fail(str(error), EXIT_USAGE)
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)
    except OSError as error:
        fail(os_error_text(error), EXIT_UNREADABLE)
    try:
        if csv is not None:
            _write(csv, report_csv(report))
        if html is not None:
            # Imported late: plots take longer to load than a report to make.
            from reassoc.stream.warehouse_report_page import report_page

            _write(html, report_page(report))
    except OutputError as error:
        fail(str(error), EXIT_UNREADABLE)
    if "-" in (str(csv), str(html)):
        return
    if as_json:
        sys.stdout.write(report_json(report).decode())
    else:
        show_report(Console(), report)


def _read(url: str, days: tuple[date | None, date | None], tenant: str | None) -> WarehouseReport:
    ledger = Ledger.open(url, read_only=True)
    try:
        with ledger.reading() as connection:
            return make_report(
                connection,
                federal_reserve_calendar(),
                first_day=days[0],
                last_day=days[1],
                tenant=tenant,
            )
    finally:
        ledger.close()


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        # fromisoformat alone also takes 20260317 and 2026-W12-2, which are more likely slips.
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    fail(f"{option} {text}: not a date; write it as 2026-03-17", EXIT_USAGE)


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as out:
        out.write(data)
