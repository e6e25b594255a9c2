"""Commands about a result that is there: `reassoc explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from reassoc.core.errors import ReassocError
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail
from reassoc.stream.explain_view import show_explanation
from reassoc.stream.explanation import explain_match

EXPLAIN_HELP = (
    "Explain one match of a result: both sides field by field, the rewrites that made them equal, "
    "the other candidates, and what would release it.\n\n"
    "OUT is the folder that match wrote. MATCH_ID is one of the column match_id in its tables, or "
    "the beginning of one that no other match has. Account and tax numbers are shown with their "
    "last four digits.\n\n"
    "Exit code 0: explained. 1: a table is damaged. 2: wrong usage, no such match or folder."
)

OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Folder that match wrote.")]


def explain_command(
    out: OutArgument,
    match_id: Annotated[
        str, typer.Argument(metavar="MATCH_ID", help="Hexadecimal id of a match, or its beginning.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """`reassoc explain`."""
    try:
        explanation = explain_match(out, match_id)
    except ReassocError as error:
        fail(str(error), EXIT_USAGE)
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror}", EXIT_UNREADABLE)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(explanation), indent=2)
        sys.stdout.write(text.decode() + "\n")
    else:
        show_explanation(Console(), explanation)
