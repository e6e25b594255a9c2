"""The report of a warehouse as one HTML page: plots and tables, for a browser and for paper.

Nothing on the page is fetched: style and plots are in it, and every plot has its numbers in a table
beside it. Texts from files (names of payers) are escaped by the template, and taken literally in
plots.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reassoc.stream.console import dollars
from reassoc.stream.summary import Tally
from reassoc.stream.warehouse_report_figures import (
    SIDES,
    DayTally,
    LateTally,
    WarehouseReport,
)
from reassoc.stream.warehouse_report_view import (
    ALERT_MEANINGS,
    LATE_NOTE,
    PAYERS_SHOWN_MAX,
    RELEASE_MEANINGS,
    SOURCES,
    TIER_MEANINGS,
    ages_shown,
    open_statuses,
    payer_label,
    percent,
    total,
    whose,
    with_others,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DAYS_SHOWN_MAX = 66
"""Days that are shown one by one, a quarter's; of more, months are."""
BARS_MAX = 10
"""Payers in the plot of late ones."""
LABEL_CHARS_MAX = 26
TICKS_MAX = 12

_BLUE, _ORANGE, _GREEN, _INK, _SOFT, _LINE = (
    "#1f5f99", "#d9822b", "#3b8a5a", "#1c2733", "#5b6b7b", "#dfe5ea",
)  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reassoc",
    "font.size": 9,
    "text.color": _INK,
    # A $ is a $, in names from files and in ours, and no formula.
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Key:
    """One of the key figures at the top. warn : somebody should look"""

    name: str
    value: str
    more: str
    warn: bool = False


def report_page(report: WarehouseReport) -> bytes:
    """The page, as UTF-8. A second or two, most of it to load what draws plots."""
    # Imported late: nothing else needs them.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.jinja")
    return template.render(_page(report)).encode()


def _page(report: WarehouseReport) -> dict[str, Any]:
    """Everything that the template names."""
    shown = report.variances.by_payer[:PAYERS_SHOWN_MAX]
    return {
        "report": report,
        "title": _days_text(report),
        "heading": _days_text(report),
        "whose": whose(report).capitalize() if report.tenant is None else whose(report),
        "last_day": _day_text(report.last_day),
        "keys": _keys(report),
        "period": "month" if _by_month(report) else "day",
        "periods": _periods(report),
        "rates": (
            ("remittances", report.matched.remittances),
            ("payments", report.matched.payments),
        ),
        "ages": ages_shown(report),
        "open_sides": list(_open_sides(report)),
        "late": with_others(report.late.by_payer, report.late.other_payers),
        "late_note": LATE_NOTE,
        "variances": shown,
        "variances_left_out": report.variances.total.count - sum(one.count for one in shown),
        "plots": _plots(report),
        "tier_meanings": TIER_MEANINGS,
        "release_meanings": RELEASE_MEANINGS,
        "sources": SOURCES,
        "alert_meanings": ALERT_MEANINGS,
        "dollars": dollars,
        "percent": percent,
        "payer_label": payer_label,
        "total": total,
        "words": words,
    }


# ---- texts ----


def _day_text(day: str) -> str:
    """`4 March 2026`."""
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {parsed:%B} {parsed.year}"


def _days_text(report: WarehouseReport) -> str:
    first, last = report.first_day, report.last_day
    if first == last:
        return _day_text(last)
    if first[:7] == last[:7]:
        return f"{int(first[8:])} to {_day_text(last)}"
    return f"{_day_text(first)} to {_day_text(last)}"


def _keys(report: WarehouseReport) -> list[Key]:
    came, rate, released = report.received, report.matched.remittances, report.released
    gone = total(one.after_release for one in report.went_back)
    left, right = (total(one for one in report.open if one.side == side) for side in SIDES)
    days = released.median_banking_days
    return [
        Key(
            "Payments received",
            _compact(came.payments.cents),
            f"{came.payments.count:,} payments",
        ),
        Key(
            "Remittances received",
            _compact(came.remittances.cents),
            f"{came.remittances.count:,} 835s, {came.claims:,} claims",
        ),
        Key(
            "Remittances matched",
            percent(rate.matched.count, rate.expected.count),
            f"{percent(rate.matched.cents, rate.expected.cents)} of their money",
        ),
        Key("Released", _compact(released.total.cents), f"{released.total.count:,} 835s"),
        Key(
            "Receipt to release",
            "-" if days is None else f"{days} {'day' if days == 1 else 'days'}",
            "nothing released" if days is None else f"9 of 10 within {released.p90_banking_days}",
        ),
        Key("835s without release", _compact(left.cents), f"{left.count:,} open at the end"),
        Key("Money without 835", _compact(right.cents), f"{right.count:,} payments open"),
        Key("Back after release", f"{gone.count:,}", f"${dollars(gone.cents)}",
            warn=gone.count > 0),
    ]  # fmt: skip


def _compact(cents: int) -> str:
    """`$1.24 M`: three digits, for key figures and axes."""
    size = abs(cents) // 100
    for unit, name in ((10**9, " B"), (10**6, " M"), (10**3, " k")):
        if size >= unit:
            whole, hundredths = divmod(size * 100 // unit, 100)
            places = 0 if whole >= 100 else 1 if whole >= 10 else 2
            digits = f"{whole}" + f".{hundredths:02d}"[: places + 1] * (places > 0)
            return f"{'-' if cents < 0 else ''}${digits}{name}"
    return f"{'-' if cents < 0 else ''}${size}"


# ---- tables ----


def _by_month(report: WarehouseReport) -> bool:
    return len(report.days) > DAYS_SHOWN_MAX


def _periods(report: WarehouseReport) -> list[DayTally]:
    """The days, or the months that they make."""
    if not _by_month(report):
        return report.days
    months = []
    for month, group in groupby(report.days, lambda one: one.day[:7]):
        days = list(group)
        months.append(
            DayTally(
                month,
                total(one.remittances for one in days),
                total(one.payments for one in days),
                sum(one.claims for one in days),
                total(one.matched for one in days),
                total(one.undone for one in days),
            )
        )
    return months


def _by_age(report: WarehouseReport, side: str) -> list[Tally]:
    """Open items of a side, by ages_shown."""
    return [
        total(one for one in report.open if one.side == side and one.age == age)
        for age in ages_shown(report)
    ]


def _open_sides(
    report: WarehouseReport,
) -> Iterator[tuple[str, dict[str, dict[str, Tally]], list[Tally], Tally]]:
    for side in SIDES:
        sums = _by_age(report, side)
        yield side, open_statuses(report, side), sums, total(sums)


# ---- plots ----


def _plots(report: WarehouseReport) -> dict[str, Any]:
    """SVG of every plot that has something to show, else None."""
    from markupsafe import Markup
    from matplotlib import rc_context

    periods = _periods(report)
    tiers = [one for one in report.matched.by_tier if one.made.count]
    kinds = {name: one for name, one in report.released.by_kind.items() if one.count}
    late = [one for one in report.late.by_payer if one.late][:BARS_MAX]
    wide = (10.4, 2.7)
    ready: dict[str, tuple[bool, tuple[float, float], Callable[[Axes], str]]] = {
        "days": (bool(periods), wide, lambda axes: _draw_days(axes, periods)),
        "open": (bool(report.open), wide, lambda axes: _draw_open(axes, report)),
        "tiers": (
            bool(tiers),
            _bars_size(len(tiers)),
            lambda axes: _draw_bars(
                axes,
                [one.tier for one in tiers],
                [one.made.count for one in tiers],
                [f"{one.made.count:,}" for one in tiers],
                "Pairs matched by tier",
            ),
        ),
        "released": (
            bool(kinds),
            _bars_size(len(kinds)),
            lambda axes: _draw_bars(
                axes,
                [words(name) for name in kinds],
                [one.count for one in kinds.values()],
                [f"{one.count:,}  ({_compact(one.cents)})" for one in kinds.values()],
                "Remittances released by kind",
            ),
        ),
        "late": (bool(late), _bars_size(len(late)), lambda axes: _draw_late(axes, late)),
    }
    plots: dict[str, Any] = {}
    with rc_context(_STYLE):
        for name, (has_data, size, draw) in ready.items():
            plots[name] = Markup(_svg(name, size, draw)) if has_data else None
    return plots


def _bars_size(count: int) -> tuple[float, float]:
    """Inches of a plot of horizontal bars."""
    return 5.0, 0.15 + 0.29 * count


def _svg(name: str, size: tuple[float, float], draw: Callable[[Axes], str]) -> str:
    """One plot as an SVG element whose ids are its own on the page."""
    from html import escape

    from matplotlib.figure import Figure

    # A Figure of one's own: pyplot would keep it, and choose a backend for the whole process.
    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    text = draw(axes)
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = escape(text, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _draw_days(axes: Axes, periods: Sequence[DayTally]) -> str:
    places = list(range(len(periods)))
    width = 0.4
    for shift, name, color, tallies in (
        (-width / 2, "remittances received", _BLUE, [one.remittances for one in periods]),
        (width / 2, "payments received", _ORANGE, [one.payments for one in periods]),
    ):
        axes.bar(
            [place + shift for place in places],
            [one.cents // 100 for one in tallies],
            width,
            color=color,
            label=name,
        )
    axes.plot(
        places,
        [one.matched.cents // 100 for one in periods],
        color=_GREEN,
        marker="o",
        markersize=4,
        linewidth=1.4,
        label="matched",
    )
    step = -(-len(places) // TICKS_MAX)
    axes.set_xticks(places[::step], [_short_day(one.day) for one in periods][::step])
    axes.set_xlim(-0.7, len(places) - 0.3)
    _money_axis(axes)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        [*handles[1:], handles[0]],
        [*names[1:], names[0]],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0,
        fontsize=9,
    )
    return (
        f"Money received and matched, {periods[0].day} to {periods[-1].day}; "
        "the table below has the numbers"
    )


def _short_day(day: str) -> str:
    """`4 Mar` of a day, `Mar 2026` of a month."""
    if len(day) == len("2026-03"):
        return f"{date.fromisoformat(f'{day}-01'):%b %Y}"
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {parsed:%b}"


def _draw_open(axes: Axes, report: WarehouseReport) -> str:
    names = ages_shown(report)
    width = 0.38
    for number, (side, color) in enumerate(zip(SIDES, (_BLUE, _ORANGE), strict=True)):
        tallies = _by_age(report, side)
        bars = axes.bar(
            [place + (number - 0.5) * width for place in range(len(names))],
            [one.cents // 100 for one in tallies],
            width * 0.94,
            color=color,
            label=side,
        )
        labels = [f"{one.count:,}" if one.count else "" for one in tallies]
        axes.bar_label(bars, labels, padding=2, color=_SOFT, fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("banking days")
    axes.margins(y=0.12)
    _money_axis(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, fontsize=9)
    return "Money of open items by age, both sides; counts over the bars and in the tables below"


def _draw_late(axes: Axes, late: Sequence[LateTally]) -> str:
    return _draw_bars(
        axes,
        [_cut(one.payer_name or payer_label(one)) for one in late],
        [one.late for one in late],
        [f"{one.late:,} of {one.pairs:,}" for one in late],
        "Late pairs by payer",
        color=_ORANGE,
    )


def _cut(label: str) -> str:
    """A label that fits beside a bar; what cannot be printed is left out."""
    shown = "".join(char for char in label if char.isprintable())
    return shown if len(shown) <= LABEL_CHARS_MAX else shown[: LABEL_CHARS_MAX - 1] + "\u2026"


def _draw_bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[int],
    labels: Sequence[str],
    text: str,
    color: str = _BLUE,
) -> str:
    """Horizontal bars, the first one on top, each with its label."""
    places = list(range(len(names)))
    bars = axes.barh(places, list(values), 0.62, color=color)
    axes.bar_label(bars, list(labels), padding=4, fontsize=9)
    axes.set_yticks(places, list(names), color=_INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, max(*values, 1) * 1.3)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return f"{text}: " + "; ".join(
        f"{name} {label}" for name, label in zip(names, labels, strict=True)
    )


def _money_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _compact(round(value) * 100)))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.8)
    axes.spines["left"].set_visible(False)
