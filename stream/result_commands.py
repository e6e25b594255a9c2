"""Commands about a result that is there: `reassoc explain` and `reassoc propose`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from reassoc.core.directory import Alias, propose
from reassoc.core.errors import ReassocError
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say
from reassoc.stream.explain_view import show_explanation
from reassoc.stream.explanation import explain_match
from reassoc.stream.result import Result, ResultError
from reassoc.stream.settings import read_directory
from reassoc.stream.table import uncelled
from reassoc.stream.table_read import TableError

EXPLAIN_HELP = (
    "Explain one match of a result: both sides field by field, the rewrites that made them equal, "
    "the other candidates, and what would release it.\n\n"
    "OUT is the folder that match wrote. MATCH_ID is one of the column match_id in its tables, or "
    "the beginning of one that no other match has. Account and tax numbers are shown with their "
    "last four digits.\n\n"
    "Exit code 0: explained. 1: a table is damaged. 2: wrong usage, no such match or folder."
)

PROPOSE_HELP = (
    "Print directory entries that would have matched these pairs: aliases of payers.\n\n"
    "Give the ids of review matches that a person found to be right. Where the payers of a pair "
    "are not known to be one, the entry that ties them together is printed, as TOML to "
    "look at and paste into the directory; nothing is written anywhere. With --directory, what it "
    "ties together already is left out.\n\n"
    "Exit code 0: printed, or there is nothing to propose. 1: a table is damaged. 2: wrong usage, "
    "no such match or folder."
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
    except TableError as error:
        fail(str(error), EXIT_UNREADABLE)
    except ReassocError as error:
        fail(str(error), EXIT_USAGE)
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror}", EXIT_UNREADABLE)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(explanation), indent=2)
        sys.stdout.write(text.decode() + "\n")
    else:
        show_explanation(Console(), explanation)


def propose_command(
    out: OutArgument,
    match_ids: Annotated[
        list[str],
        typer.Argument(metavar="MATCH_ID", help="Approved matches: ids, or their beginnings."),
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", metavar="FILE.toml", help="The directory that the run was made with."
        ),
    ] = None,
) -> None:
    """`reassoc propose`."""
    try:
        known = None if directory is None else read_directory(directory)
        text = propose(aliases_of(out, match_ids), known)
    except TableError as error:
        fail(str(error), EXIT_UNREADABLE)
    except ReassocError as error:
        fail(str(error), EXIT_USAGE)
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror}", EXIT_UNREADABLE)
    if text:
        sys.stdout.write(text)
    else:
        say("nothing to propose: the payers of these matches are one already, or are not known")


def aliases_of(out: Path, match_ids: Sequence[str]) -> list[Alias]:
    """The payers of both sides of matches, as a person approved them.

    Raises ResultError for an unknown match, and for one whose money went back.
    """
    aliases = []
    with Result(out) as result:
        for match_id in match_ids:
            rows = result.match(match_id)
            if rows[0]["status"] == "unmatched":
                raise ResultError(f"{rows[0]['match_id']}: undone, its money went back")
            remittances, payments = result.items(rows, "remit"), result.items(rows, "payment")
            aliases += [
                Alias(
                    remittance_id=uncelled(remittance["payer_id"]),
                    payment_id=uncelled(payment["payer_id"] or payment["company_id"]),
                    remittance_name=uncelled(remittance["payer_name"]),
                    payment_name=uncelled(payment["company_name"]),
                )
                for remittance in remittances
                for payment in payments
            ]
    return aliases
