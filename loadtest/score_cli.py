"""`reassoc score`: a result held against the truth, as tables or JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.core.errors import ReassocError
from reassoc.loadtest.score import (
    AUTO_SHARE_MIN,
    REVIEW_SHARE_MIN,
    Amount,
    Line,
    Score,
    Share,
    score_result,
)
from reassoc.stream.console import dollars

EXIT_MISSED, EXIT_USAGE = 1, 2

SCORE_HELP = (
    "Hold a result against the truth: what was matched right, what wrong, what a person still "
    "finds.\n\n"
    "OUT is the folder that match wrote, TRUTH the truth.csv of the feed (or the feed's folder). "
    "A pair that is matched by itself is right only where the truth has it and lets it be matched; "
    "a sum only where it has exactly the true rows. For the others it counts whether the true pair "
    "is among the first three candidates of its payment or its remittance. Money is that of the "
    "pair, the smaller of its two amounts.\n\n"
    "Exit code 0: scored. 1: --check, and a target is missed. 2: wrong usage, or not of one feed."
)

_LEGEND = (
    "right, wrong: matched by itself. first 3, later: shown for review, the true pair among the "
    "first three candidates or behind them. missed: not shown. apart: rightly not matched. "
    "expected: what the truth lets be made of a case; a tie is a pair that nothing tells apart."
)
_SHARES_LEGEND = (
    "precision: right, of all matched by itself. recall: right or among the first 3, of all that "
    "have a partner. auto: right, of the pairs that may be automatic. review: right or among the "
    "first 3, of those that only review finds. tie: in review, of those that nothing tells apart."
)


def score_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that match wrote.")],
    truth: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="truth.csv, or the folder of the feed.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="End with 1 unless no automatic pair is wrong, "
            f"{AUTO_SHARE_MIN:.1%} of the pairs that may be automatic are, and "
            f"{REVIEW_SHARE_MIN:.0%} of the others are among the first candidates.",
        ),
    ] = False,
) -> None:
    try:
        score = score_result(out, truth)
    except ReassocError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(Text(f"reassoc score: {error}"))
        raise typer.Exit(EXIT_USAGE) from None
    if as_json:
        sys.stdout.write(to_json(score))
    else:
        show_score(Console(), score)
    if check and score.failures():
        raise typer.Exit(EXIT_MISSED)


score_command.__doc__ = SCORE_HELP


def to_json(score: Score) -> str:
    """A score as indented JSON, its missed targets in `failures`."""
    value: dict[str, Any] = {**msgspec.to_builtins(score), "failures": score.failures()}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def show_score(console: Console, score: Score) -> None:
    """The tables of a score, and whether its targets hold."""
    console.print(Text(_LEGEND, "dim"))
    console.print()
    console.print(_lines_table("By tier", score.tiers, None))
    console.print()
    console.print(_lines_table("By case of the truth", score.cases, score.expects))
    console.print()
    console.print(_shares_table(score))
    console.print(Text(_SHARES_LEGEND, "dim"))
    failures = score.failures()
    for failure in failures:
        console.print(Text(f"missed: {failure}", "bold red"))
    if not failures:
        console.print(Text("All targets hold.", "green"))


def _lines_table(title: str, lines: Mapping[str, Line], expects: Mapping[str, str] | None) -> Table:
    """Tiers are shown with their money, cases with what the truth expects of them."""
    # Names of cases are long: without the padding they and six counts fit into 80 columns.
    padding = (0, 1, 0, 0) if expects is None else (0, 0, 0, 0)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=padding)
    table.add_column("", no_wrap=True)
    if expects is not None:
        table.add_column("expected", overflow="fold")
    heads = ["right", "wrong", "first 3", "later", "missed"]
    heads += ["dollars right", "wrong"] if expects is None else ["apart"]
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    total = sum(lines.values(), Line())
    for name, line in (*lines.items(), ("total", total)):
        style = "bold red" if line.auto_wrong.count else "bold" if line is total else ""
        counts = [
            line.auto_right.count,
            line.auto_wrong.count,
            line.review_first.count,
            line.review_later.count,
            line.missed.count,
        ]
        cells = [name] if expects is None else [name, _short(expects.get(name, ""))]
        counts += [] if expects is None else [line.apart]
        cells += [f"{count:,}" if count else "" for count in counts]
        cells += [_dollars(line.auto_right), _dollars(line.auto_wrong)] if expects is None else []
        table.add_row(*cells, style=style)
    return table


def _short(expect: str) -> str:
    return expect.replace("indistinguishable", "tie").replace("unmatched", "undone")


def _dollars(amount: Amount) -> str:
    return dollars(amount.cents) if amount.count else ""


def _shares_table(score: Score) -> Table:
    table = Table(title="Shares", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("hit", "of", "share", "95 % bounds", "of money"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, share in (
        ("precision", score.precision),
        ("recall", score.recall),
        ("auto", score.auto_share),
        ("review", score.review_share),
        ("tie", score.tie_share),
    ):
        table.add_row(name, *_share_cells(share))
    return table


def _share_cells(share: Share) -> list[str]:
    if share.share is None or share.low is None or share.high is None:
        return ["0", "0", "", "", ""]
    money = "" if share.cents_share is None else _percent(share.cents_share, 3)
    bounds = f"{_percent(share.low, 4)} - {_percent(share.high, 4)}"
    return [f"{share.hit:,}", f"{share.of:,}", _percent(share.share, 3), bounds, money]


def _percent(share: float, digits: int) -> str:
    """Cut, not rounded: only all of them are 100 %."""
    unit = 10**digits
    return f"{floor(share * 100 * unit) / unit:.{digits}f}%"


__all__ = ["score_command", "show_score", "to_json"]
