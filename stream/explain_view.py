"""An explanation on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.stream.console import dollars
from reassoc.stream.explanation import Candidate, Explanation, Item

ITEMS_SHOWN_MAX = 30
RIVALS_SHOWN_MAX = 10
EVIDENCE_PER_BAR = 150
"""Hundredths of bits that one character of a bar stands for."""

_VERDICTS = {
    "agree": Text("agrees", "green"),
    "differ": Text("differs", "bold red"),
    "missing": Text("missing", "yellow"),
    "unusable": Text("not usable", "yellow"),
    "seen": Text("not compared", "dim"),
}
_STYLES = {"auto": "bold green", "variance": "bold yellow", "review": "bold yellow"}


def show_explanation(console: Console, match: Explanation) -> None:
    """Print an explanation for a person. Account numbers are masked in it already."""
    style = _STYLES.get(match.status, "bold red")
    console.print(Text.assemble("Match ", (match.match_id, "bold")))
    console.print(Text.assemble((match.status.upper(), style), f"  {match.status_text}"))
    console.print(Text.assemble((match.tier, "bold"), f"  {match.tier_text}"))
    console.print()
    console.print(_fields(match))
    console.print(Text(_days(match)))
    if match.evidence:
        console.print(f"\nWhat speaks for it, {match.weight / 100:.1f} bits in all:")
        console.print(_evidence(match))
        console.print()
    if match.difference_cents:
        cause = f"; likely cause: {match.cause_text}" if match.cause_text else ""
        console.print(
            Text(f"The payment differs by {dollars(match.difference_cents)}{cause}.", "bold")
        )
    _bullets(console, "Made equal by", match.rewrites)
    _bullets(console, "In the way, or to know", match.reasons)
    console.print()
    for title, items, cents in (
        ("Remittances", match.remittances, match.remittance_cents),
        ("Payments", match.payments, match.payment_cents),
    ):
        console.print(_items(title, items, cents, match.reasons))
        console.print()
    _show_rivals(console, match)
    for link in match.links:
        other = f" ({link.other})" if link.other else ""
        money = f" {dollars(link.cents)}" if link.cents is not None else ""
        reason = f": {link.reason}" if link.reason else ""
        console.print(
            Text(f"Linked: {link.kind.replace('_', ' ')}{other}{money}, {link.status}{reason}")
        )
    if match.to_release:
        _bullets(console, "To be released, it needs", match.to_release)


def _fields(match: Explanation) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("remittance", overflow="fold")
    table.add_column("payment", overflow="fold")
    table.add_column("", overflow="fold")
    for line in match.fields:
        verdict = _VERDICTS[line.verdict].copy()
        if line.note:
            verdict.append(f" ({line.note})", "dim")
        table.add_row(line.field, line.remittance or "-", line.payment or "-", verdict)
    return table


def _evidence(match: Explanation) -> Table:
    """What each field adds to the evidence, as bars from a line in the middle."""
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("against", justify="right", no_wrap=True)
    table.add_column("for", no_wrap=True)
    parts = {**match.evidence, "size of the sum": match.weight - sum(match.evidence.values())}
    for field, part in parts.items():
        if not part and field not in match.evidence:
            continue
        bar = "█" * max(1, round(abs(part) / EVIDENCE_PER_BAR)) if part else ""
        against, speaks = (bar, "") if part < 0 else ("", bar)
        table.add_row(field, f"{part / 100:+.1f}", Text(against, "red"), Text(speaks, "green"))
    return table


def _days(match: Explanation) -> str:
    if match.days_apart is None:
        return "Days apart: not known, a date is missing."
    if match.days_apart == 0:
        return "Both have the same effective date."
    side = "after" if match.days_apart > 0 else "before"
    count = abs(match.days_apart)
    days = "day" if count == 1 else "days"
    return f"The payment is dated {count:,} {days} {side} the remittance."


def _items(title: str, items: Sequence[Item], cents: int, said: Sequence[str]) -> Table:
    table = Table(
        title=title, title_justify="left", show_edge=False, pad_edge=False, header_style="bold"
    )
    table.add_column("where", overflow="fold")
    table.add_column("trace", overflow="fold")
    table.add_column("dollars", justify="right", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("status", overflow="fold")
    for item in items[:ITEMS_SHOWN_MAX]:
        # What is said of the match need not be said again of each item.
        why = "; ".join(clause for clause in item.why.split("; ") if clause not in said)
        status = item.status.replace("_", " ") + (f": {why}" if why else "")
        place = f"{item.file} #{item.ordinal}"
        table.add_row(place, item.trace or "-", dollars(item.cents), item.date, status)
    if len(items) > ITEMS_SHOWN_MAX:
        table.add_row(f"{len(items) - ITEMS_SHOWN_MAX:,} more", "", "", "", "")
    if len(items) > 1:
        table.add_row(Text("sum", "bold"), "", Text(dollars(cents), "bold"), "", "")
    return table


def _show_rivals(console: Console, match: Explanation) -> None:
    if not match.rivals:
        return
    console.print(_rivals(match.rivals))
    if len(match.rivals) > RIVALS_SHOWN_MAX:
        console.print(Text(f"{len(match.rivals) - RIVALS_SHOWN_MAX:,} more, see --json"))
    console.print(
        Text(
            f"This one is number {match.rank} for its payment and number {match.remittance_rank} "
            "for its remittance."
        )
    )
    console.print()


def _rivals(rivals: Sequence[Candidate]) -> Table:
    table = Table(
        title="Other candidates of the same items, best first",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    for name in ("match", "tier"):
        table.add_column(name, no_wrap=True)
    for name in ("rank", "bits"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("shares")
    table.add_column("with", overflow="fold")
    table.add_column("dollars", justify="right", no_wrap=True)
    for rival in rivals[:RIVALS_SHOWN_MAX]:
        rank = rival.remittance_rank if rival.shares == "the remittance" else rival.rank
        table.add_row(
            rival.match_id,
            rival.tier,
            str(rank),
            f"{rival.weight / 100:.1f}",
            rival.shares.removeprefix("the "),
            rival.other,
            dollars(rival.other_cents),
        )
    return table


def _bullets(console: Console, title: str, texts: Sequence[str]) -> None:
    if texts:
        console.print(Text(f"{title}:"))
        for text in texts:
            console.print(Text(f"  - {text}"))
