"""`reassoc score`: a result held against the truth, as tables or JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
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
    console.print(_lines_table("By tier", score.tiers, None))
    console.print()
    console.print(_lines_table("By case of the truth", score.cases, score.expects))
    console.print()
    console.print(_shares_table(score))
    failures = score.failures()
    for failure in failures:
        console.print(Text(f"missed: {failure}", "bold red"))
    if not failures:
        console.print(Text("All targets hold.", "green"))


def _lines_table(title: str, lines: Mapping[str, Line], expects: Mapping[str, str] | None) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("", no_wrap=True)
    if expects is not None:
        table.add_column("truth expects")
    for name in ("auto\nright", "auto\nwrong", "review,\nfirst 3", "review,\nlater", "missed"):
        table.add_column(name, justify="right", no_wrap=True)
    if expects is not None:
        table.add_column("rightly\napart", justify="right", no_wrap=True)
    table.add_column("dollars\nright", justify="right", no_wrap=True)
    table.add_column("dollars\nwrong", justify="right", no_wrap=True)
    total = sum(lines.values(), Line())
    for name, line in (*lines.items(), ("total", total)):
        style = "bold red" if line.auto_wrong.count else "bold" if line is total else ""
        cells = [name] if expects is None else [name, expects.get(name, "")]
        amounts = (
            line.auto_right,
            line.auto_wrong,
            line.review_first,
            line.review_later,
            line.missed,
        )
        cells += [f"{amount.count:,}" if amount.count else "" for amount in amounts]
        if expects is not None:
            cells.append(f"{line.apart:,}" if line.apart else "")
        cells += [_dollars(line.auto_right), _dollars(line.auto_wrong)]
        table.add_row(*cells, style=style)
    return table


def _dollars(amount: Amount) -> str:
    return f"{amount.cents // 100:,}.{amount.cents % 100:02d}" if amount.count else ""


def _shares_table(score: Score) -> Table:
    table = Table(title="Shares", title_justify="left", show_edge=False, pad_edge=False)
    for name in ("", "of", "hit", "share", "95 % bounds", "of the money"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=bool(name))
    for name, share in (
        ("precision: automatic pairs that are right", score.precision),
        ("recall: right, or among the first candidates", score.recall),
        ("automatic, of those that may be", score.auto_share),
        ("right or first, of those that only review finds", score.review_share),
        ("in review, of those that nothing tells apart", score.tie_share),
    ):
        table.add_row(name, *_share_cells(share))
    return table


def _share_cells(share: Share) -> list[str]:
    if share.share is None or share.low is None or share.high is None:
        return ["0", "0", "", "", ""]
    money = "" if share.cents_share is None else f"{share.cents_share:.4%}"
    return [
        f"{share.of:,}",
        f"{share.hit:,}",
        f"{share.share:.4%}",
        f"{share.low:.4%} to {share.high:.4%}",
        money,
    ]


__all__ = ["score_command", "show_score", "to_json"]
