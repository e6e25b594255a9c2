"""`reassoc report` on a home: tables, CSV, JSON, and the page."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import msgspec
import pytest
import typer
from report_world import World
from typer.testing import CliRunner, Result

from reassoc.core.statuses import MatchStatus, PaymentStatus, RemittanceStatus, VarianceCause
from reassoc.stream.home import Home
from reassoc.stream.items import ItemFlag, ReleaseKind
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import AlertCode, DecisionAnswer, PairEvent
from reassoc.stream.report_commands import REPORT_HELP, report_command
from reassoc.stream.warehouse_report_figures import WarehouseReport
from reassoc.stream.warehouse_report_page import report_page

R, P = RemittanceStatus, PaymentStatus
PAYER = '=HE"ALTH$ & <script>alert(1)</script> [bold]'
DAYS = ("2026-03-30", "2026-03-31", "2026-04-01")

app = typer.Typer()
app.command("report", help=REPORT_HELP)(report_command)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three days: a payer with a name that must be escaped everywhere."""
    path = tmp_path / "home of 100%"
    ledger = Ledger.open(f"sqlite:///{Home.create_or_open(path).ledger_file}")
    world = World(ledger)
    for day in DAYS:
        step = world.step(day)
        matched = step.remittance(120_00, "2026-03-20", R.MATCHED, payer=PAYER)
        step.pair(matched, step.payment(120_00, day, P.MATCHED))
        flags, kind = ItemFlag.RELEASED, ReleaseKind.MATCH
        step.change(matched, R.RELEASED, flags=flags, release=kind)
        differs = step.remittance(90_00, day, R.MATCHED_VARIANCE, payer=PAYER)
        step.pair(
            differs, step.payment(80_00, day, P.SUGGESTED), PairEvent.MADE, MatchStatus.VARIANCE, 5,
            difference=-10_00, cause=VarianceCause.LEVY,
        )  # fmt: skip
        step.alert(matched, AlertCode.CROWDED_KEY)
        step.decision("hold", DecisionAnswer.REFUSED)
        step.write()
    ledger.close()
    return path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), *arguments])


def read(home: Path, *arguments: str) -> WarehouseReport:
    result = run(home, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.stdout, type=WarehouseReport)


class Page(HTMLParser):
    """Tags of a page, and the texts of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_days_are_chosen_and_by_default_the_last_days_month(home: Path) -> None:
    report = read(home)
    assert (report.first_day, report.last_day) == ("2026-04-01", "2026-04-01")
    assert report.received.remittances.count == 2
    report = read(home, "--from", DAYS[0], "--to", DAYS[1], "--tenant", "main")
    assert (report.tenant, [day.day for day in report.days]) == ("main", list(DAYS[:2]))
    assert report.variances.total.short_cents == 20_00


def test_tables_are_shown(home: Path) -> None:
    result = run(home, "--from", DAYS[0])
    assert result.exit_code == 0
    for word in ("Received", "T1", "360.00", "matched variance", "[bold]", "100.0 %"):
        assert word in result.stdout, word


def test_csv_has_every_figure_once(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    assert run(home, "--from", DAYS[0], "--csv", str(path)).exit_code == 0
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["section", "key", "sub_key", "count", "cents"]
    figures = {tuple(row[:3]): (row[3], row[4]) for row in rows}
    assert len(figures) == len(rows)
    assert figures["received", "remittances", ""] == ("6", "63000")
    assert figures["released", "match", ""] == ("3", "36000")
    assert figures["open_payments", "suggested", "0-3"] == ("3", "24000")
    assert figures["late", f"'{PAYER}", "worst_banking_days"] == ("8", "")
    assert figures["variances_short", f"'{PAYER}", "levy"] == ("3", "3000")


def test_the_page_stands_alone(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(home, "--from", DAYS[0], "--html", str(path)).exit_code == 0
    assert list(tmp_path.glob(".report*")) == []
    text = path.read_text()
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert not {"link", "iframe", "object", "img", "image"} & set(names)
    links = [values[name] for _, values in page.tags for name in ("href", "src", "xlink:href")
             if values.get(name)]  # fmt: skip
    assert links
    assert all(link is not None and link.startswith("#") for link in links)
    assert "url(http" not in text
    assert "@import" not in text
    ids = [values["id"] for _, values in page.tags if values.get("id")]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link is not None} <= set(ids)


def test_the_page_says_its_figures_without_pictures(home: Path) -> None:
    report = read(home, "--from", DAYS[0])
    page = Page(report_page(report).decode())
    plots = [values for tag, values in page.tags if tag == "svg"]
    assert len(plots) == 5
    assert all(values["role"] == "img" and values["aria-label"] for values in plots)
    for text in (*DAYS, "360.00", "630.00", "100.0 %", "30.00", "levy"):
        assert text in page.texts, text
    # The payer is named as it is, in the table and in the plot.
    assert [text for text in page.texts if text.startswith(f"PAYER {PAYER}")]
    assert [text for text in page.texts if text.startswith('PAYER =HE"ALTH$ & <scri')]


def test_a_page_is_the_same_each_time_and_leaves_no_trace(home: Path) -> None:
    report = read(home, "--from", DAYS[0])
    before = dict(mpl.rcParams)
    assert report_page(report) == report_page(report)
    assert dict(mpl.rcParams) == before


def test_many_days_are_shown_by_months(home: Path) -> None:
    report = read(home, "--from", DAYS[0])
    days = [
        msgspec.structs.replace(report.days[0], day=f"2026-{month:02d}-{day:02d}")
        for month in (1, 2, 3)
        for day in range(1, 26)
    ]
    page = Page(report_page(msgspec.structs.replace(report, days=days)).decode())
    assert {"2026-01", "2026-02", "2026-03", "Jan 2026"} <= set(page.texts)
    assert "2026-01-01" not in page.texts


def test_a_page_of_nothing(home: Path) -> None:
    text = report_page(read(home, "--from", "2025-01-01", "--to", "2025-01-31")).decode()
    assert "<svg" not in text
    assert text.count('class="none"') >= 7
    assert "1 to 31 January 2025" in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--from", "20260301"), 2, "--from 20260301: not a date"),
        (("--to", "2026-02-30"), 2, "not a date"),
        (("--from", "2026-04-02", "--to", "2026-04-01"), 2, "ends before it begins"),
        (("--tenant", "nobody"), 2, "no tenant of this name"),
        (("--csv", "/nowhere/report.csv"), 1, "cannot be written"),
    ],
)
def test_what_is_wrong_is_said(
    home: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    result = run(home, *arguments)
    assert result.exit_code == code
    assert says in re.sub(r"\s+", " ", result.stderr)


def test_a_folder_without_a_ledger(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing")
    assert (result.exit_code, result.stdout) == (2, "")
    Home.create_or_open(tmp_path / "new")
    result = run(tmp_path / "new")
    assert result.exit_code == 1
    assert "no ledger here yet" in result.stderr
