"""The report of a warehouse as tables on a terminal, as one long CSV table, and as JSON."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.stream.ageing import BUCKET_NAMES, TOLERANCE_BANKING_DAYS
from reassoc.stream.console import dollars
from reassoc.stream.summary import Tally
from reassoc.stream.table import csv_cell
from reassoc.stream.warehouse_report_figures import (
    BY_PERSON,
    SIDES,
    LateTally,
    OpenTally,
    Rate,
    VarianceTally,
    WarehouseReport,
)

PAYERS_SHOWN_MAX = 15
"""Payers that are shown on a terminal and on the page; CSV and JSON have more."""
CSV_HEADER = ("section", "key", "sub_key", "count", "cents")

SOURCES = {
    "ach": "ACH",
    "bank_ach": "ACH in bank reports",
    "check": "checks",
    "deposit": "deposits",
    "wire": "wires",
    "bank_other": "other bank lines",
}
TIER_MEANINGS = {
    "T0": "the 835 came inside the payment",
    "T1": "trace, payer and amount",
    "T2": "the same, after the trace was normalised",
    "T3": "the same, the payer by an alias",
    "T4": "trace, amount and payee",
    "T5": "trace and payer",
    "T6": "a cut trace, payer and amount",
    "T7": "payer, payee, amount and date",
    "T8": "one payment for several 835s",
    "T9": "several payments for one 835",
    "T10": "amount and date",
    BY_PERSON: "made by a person",
}
RELEASE_MEANINGS = {
    "match": "its money was found and funded",
    "zero_pay": "nothing was to be paid",
    "default": "waited long enough without its money",
    "manual": "a person released it",
    "resent": "released before, sent once more",
}
ALERT_MEANINGS = {
    "rival_after_release": "something else fits a remittance that was released",
    "return_after_release": "the money went back after the remittance was released",
    "duplicate_of_history": "looks like an item that was closed long ago",
    "funded_after_default": "the money came after a release by default",
    "crowded_key": "too much shares a key: decided at the clock only",
}
LATE_NOTE = (
    f"ACH pairs matched in these days. Late: the 835 came more than {TOLERANCE_BANKING_DAYS} "
    "banking days after the effective day, or the payment did. Only what was received can be "
    "measured: when the payer sent it is not visible here."
)


# ---- texts that terminal and page share ----


def words(name: str) -> str:
    """`zero_pay` as people read it."""
    return name.replace("_", " ")


def percent(part: int, whole: int) -> str:
    """`98.4 %`, for display: never 100 where one is missing, never 0 where there is one."""
    if not whole:
        return "-"
    tenths = (part * 2000 + whole) // (2 * whole)
    if 0 < part < whole:
        tenths = min(max(tenths, 1), 999)
    return f"{tenths // 10}.{tenths % 10} %"


def payer_label(one: LateTally | VarianceTally) -> str:
    """A payer's name and identifier, as far as they are known."""
    if one.payer_name and one.payer_id:
        return f"{one.payer_name} ({one.payer_id})"
    return one.payer_name or one.payer_id or "(not known)"


def whose(report: WarehouseReport) -> str:
    """Whose items it is about."""
    return "all tenants" if report.tenant is None else f"tenant {report.tenant}"


def ages_shown(report: WarehouseReport) -> list[str]:
    """Ages that a table of open items has: all with a date, and those without where there are."""
    dated: list[str] = list(BUCKET_NAMES[:-1])
    undated = BUCKET_NAMES[-1]
    return [*dated, undated] if any(one.age == undated for one in report.open) else dated


def open_statuses(report: WarehouseReport, side: str) -> dict[str, dict[str, Tally]]:
    """Open items of a side: status -> age -> tally, statuses as the report has them."""
    found: dict[str, dict[str, Tally]] = {}
    for one in report.open:
        if one.side == side:
            found.setdefault(one.status, {})[one.age] = Tally(one.count, one.cents)
    return found


def total(tallies: Iterable[Tally | OpenTally]) -> Tally:
    """All of them together."""
    count = cents = 0
    for one in tallies:
        count, cents = count + one.count, cents + one.cents
    return Tally(count, cents)


def with_others(payers: list[LateTally], others: LateTally) -> list[LateTally]:
    """The payers that are shown, and all others as one where there are more."""
    rest = [*payers[PAYERS_SHOWN_MAX:], *([others] if others.pairs else [])]
    if not rest:
        return payers
    joined = LateTally(
        "",
        others.payer_name,
        sum(one.pairs for one in rest),
        sum(one.late for one in rest),
        max(one.worst_banking_days for one in rest),
    )
    return [*payers[:PAYERS_SHOWN_MAX], joined]


# ---- JSON and CSV ----


def report_json(report: WarehouseReport) -> bytes:
    """Indented JSON, with a line end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def report_csv(report: WarehouseReport) -> bytes:
    """One long table: CSV_HEADER, and a row per figure; a cell is empty where there is no such
    figure. Payers by their identifiers. docs/REPORT.md tells the sections."""
    out = io.StringIO()
    out.write(",".join(CSV_HEADER) + "\n")
    for section, key, sub_key, count, cents in _csv_rows(report):
        numbers = (str(count), "" if cents is None else str(cents))
        out.write(",".join((section, csv_cell(key), csv_cell(sub_key), *numbers)) + "\n")
    return out.getvalue().encode()


_CsvRow = tuple[str, str, str, int, int | None]


def _csv_rows(report: WarehouseReport) -> Iterator[_CsvRow]:
    yield from _csv_received(report)
    for tier in report.matched.by_tier:
        yield _tally_row("matched", tier.tier, "made", tier.made)
        yield _tally_row("matched", tier.tier, "undone", tier.undone)
    for side, rate in (
        ("remittances", report.matched.remittances),
        ("payments", report.matched.payments),
    ):
        yield _tally_row("match_rate", side, "expected", rate.expected)
        yield _tally_row("match_rate", side, "matched", rate.matched)
    released = report.released
    for kind, tally in released.by_kind.items():
        yield _tally_row("released", kind, "", tally)
    yield _tally_row("released", "resent", "", released.resent)
    if released.median_banking_days is not None and released.p90_banking_days is not None:
        yield "release_banking_days", "median", "", released.median_banking_days, None
        yield "release_banking_days", "p90", "", released.p90_banking_days, None
    for one in report.open:
        yield f"open_{one.side}", one.status, one.age, one.count, one.cents
    yield from _csv_payers(report)
    for gone in report.went_back:
        yield _tally_row("went_back", gone.status, "before_release", gone.before_release)
        yield _tally_row("went_back", gone.status, "after_release", gone.after_release)
    for code, count in report.alerts.items():
        yield "alerts", code, "", count, None
    for side, tally in report.duplicates.items():
        yield _tally_row("duplicates", side, "", tally)
    for decided in report.decisions:
        yield "decisions", decided.kind, "done", decided.done, decided.cents
        yield "decisions", decided.kind, "refused", decided.refused, None


def _csv_received(report: WarehouseReport) -> Iterator[_CsvRow]:
    came = report.received
    yield _tally_row("received", "remittances", "", came.remittances)
    yield "received", "claims", "", came.claims, None
    yield _tally_row("received", "payments", "", came.payments)
    for source, tally in came.payments_by_source.items():
        yield _tally_row("received_payments", source, "", tally)
    for kind, tally in came.other_entries.items():
        yield _tally_row("other_entries", kind, "", tally)
    for day in report.days:
        yield _tally_row("days", day.day, "remittances", day.remittances)
        yield "days", day.day, "claims", day.claims, None
        yield _tally_row("days", day.day, "payments", day.payments)
        yield _tally_row("days", day.day, "matched", day.matched)
        yield _tally_row("days", day.day, "undone", day.undone)


def _csv_payers(report: WarehouseReport) -> Iterator[_CsvRow]:
    variances = [*report.variances.by_payer]
    variances += [report.variances.other_payers] if report.variances.other_payers.count else []
    for one in variances:
        key = one.payer_id or one.payer_name
        yield "variances_short", key, one.cause, one.count, one.short_cents
        yield "variances_over", key, one.cause, one.count, one.over_cents
        yield "variances_standing", key, one.cause, one.standing, None
    late = [*report.late.by_payer]
    late += [report.late.other_payers] if report.late.other_payers.pairs else []
    for payer in late:
        key = payer.payer_id or payer.payer_name
        yield "late", key, "pairs", payer.pairs, None
        yield "late", key, "late", payer.late, None
        yield "late", key, "worst_banking_days", payer.worst_banking_days, None


def _tally_row(section: str, key: str, sub_key: str, tally: Tally) -> _CsvRow:
    return section, key, sub_key, tally.count, tally.cents


# ---- the terminal ----


def show_report(console: Console, report: WarehouseReport) -> None:
    """Tables, one after the other."""
    days = f"{report.first_day} to {report.last_day}"
    console.print(Text(f"Report of {days}, {whose(report)}", "bold"))
    for table in (
        _received_table(report),
        _matched_table(report),
        _released_table(report),
        *(_open_table(report, side) for side in SIDES),
        _variance_table(report),
        _late_table(report),
        _other_table(report),
    ):
        console.print()
        console.print(table)
    console.print()
    console.print(Text(LATE_NOTE, "dim"))


def _table(name: str, *columns: str, about: str = "") -> Table:
    """A table with a column of names, columns of numbers, and one of remarks where `about` names
    it."""
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(Text(name), overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    if about:
        table.add_column(about)
    return table


def _cells(tally: Tally) -> tuple[str, str]:
    return f"{tally.count:,}", dollars(tally.cents)


def _received_table(report: WarehouseReport) -> Table:
    came = report.received
    table = _table("Received", "count", "dollars", about=" ")
    table.add_row("remittances (835)", *_cells(came.remittances), f"{came.claims:,} claims")
    table.add_row("payments", *_cells(came.payments))
    for source, tally in came.payments_by_source.items():
        table.add_row(f"  {SOURCES[source]}", *_cells(tally))
    for kind, tally in came.other_entries.items():
        table.add_row(f"  {words(kind)}", *_cells(tally), "not counted as payments")
    return table


def _matched_table(report: WarehouseReport) -> Table:
    matched = report.matched
    table = _table("Matched", "pairs", "dollars", "undone", "dollars", about="by")
    for tier in matched.by_tier:
        meaning = TIER_MEANINGS[tier.tier]
        table.add_row(tier.tier, *_cells(tier.made), *_cells(tier.undone), meaning)
    table.add_row("all", *_cells(matched.made), *_cells(matched.undone))
    table.add_row()
    for side, rate in (("remittances", matched.remittances), ("payments", matched.payments)):
        table.add_row(f"of the {side} received", *_rate_cells(rate))
    return table


def _rate_cells(rate: Rate) -> tuple[str, ...]:
    return (
        percent(rate.matched.count, rate.expected.count),
        percent(rate.matched.cents, rate.expected.cents),
        "",
        "",
        f"are matched; {rate.expected.count:,} wait for a counterpart or have it",
    )


def _released_table(report: WarehouseReport) -> Table:
    released = report.released
    table = _table("Released", "count", "dollars", about=" ")
    for kind, tally in {**released.by_kind, "resent": released.resent}.items():
        table.add_row(words(kind), *_cells(tally), RELEASE_MEANINGS[kind])
    if released.median_banking_days is not None:
        days = f"{released.median_banking_days} (median), {released.p90_banking_days} (90 %)"
        table.add_row("banking days", "", "", f"from receipt to release: {days}")
    return table


def _open_table(report: WarehouseReport, side: str) -> Table:
    shown = ages_shown(report)
    table = _table(f"Open {side} at the end of {report.last_day}", *shown, "all", "dollars")
    statuses = open_statuses(report, side)
    for status, by_age in statuses.items():
        counts = (f"{by_age[age].count:,}" if age in by_age else "" for age in shown)
        table.add_row(words(status), *counts, *_cells(total(by_age.values())))
    by_age_total = [
        f"{total(by_age[age] for by_age in statuses.values() if age in by_age).count:,}"
        for age in shown
    ]
    everything = total(one for one in report.open if one.side == side)
    table.add_row("all", *by_age_total, *_cells(everything))
    return table


def _variance_table(report: WarehouseReport) -> Table:
    found = report.variances
    table = _table("Amounts differ", "pairs", "standing", "short", "over", about="cause")
    for one in found.by_payer[:PAYERS_SHOWN_MAX]:
        _add_variance(table, payer_label(one), one)
    if len(found.by_payer) > PAYERS_SHOWN_MAX or found.other_payers.count:
        table.add_row("...", "", "", "", "", "more: see the CSV")
    _add_variance(table, "all", found.total)
    return table


def _add_variance(table: Table, name: str, one: VarianceTally) -> None:
    money = dollars(one.short_cents), dollars(one.over_cents)
    table.add_row(Text(name), f"{one.count:,}", f"{one.standing:,}", *money, words(one.cause))


def _late_table(report: WarehouseReport) -> Table:
    late = report.late
    table = _table("Received late", "pairs", "late", "share", "worst, banking days")
    for one in with_others(late.by_payer, late.other_payers):
        _add_late(table, payer_label(one), one)
    _add_late(table, "all", late.total)
    return table


def _add_late(table: Table, name: str, one: LateTally) -> None:
    worst = f"{one.worst_banking_days:,}" if one.late else ""
    share = percent(one.late, one.pairs)
    table.add_row(Text(name), f"{one.pairs:,}", f"{one.late:,}", share, worst)


def _other_table(report: WarehouseReport) -> Table:
    table = _table("Went back, alerts, duplicates, decisions", "count", "dollars", about=" ")
    for gone in report.went_back:
        table.add_row(f"{gone.status} before release", *_cells(gone.before_release))
        table.add_row(f"{gone.status} after release", *_cells(gone.after_release))
    for code, count in report.alerts.items():
        table.add_row(f"alert: {words(code)}", f"{count:,}", "", ALERT_MEANINGS[code])
    for side, tally in report.duplicates.items():
        table.add_row(f"duplicates among {side}", *_cells(tally), "suspected, held")
    for one in report.decisions:
        refused = f"{one.refused:,} refused" if one.refused else ""
        table.add_row(f"decision: {one.kind}", f"{one.done:,}", dollars(one.cents), refused)
    return table
