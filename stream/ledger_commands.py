"""Commands about the ledger for auditors: `reassoc audit verify`."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from reassoc.core.errors import ReassocError
from reassoc.stream.desk_commands import ConfigOption, HomeOption, ledger_url
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, os_error_text, say
from reassoc.stream.home import HomeError
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_audit import Verification, verify
from reassoc.stream.ledger_chain import HASH_BYTES
from reassoc.stream.ledger_schema import RELEASE_CHAIN
from reassoc.stream.ledger_store import LedgerUrlError

VERIFY_HELP = (
    "Check that nothing in the ledger was changed, removed, added or moved.\n\n"
    "Every hash is computed again from the rows, and the newest hash of each chain (its head) is "
    "printed. Note the heads outside of this machine: only that shows later whether the newest "
    "batches were cut off. Give noted ones with --head. Works while the warehouse runs.\n\n"
    "Exit code 0: sound. 1: a fault was found, or the ledger cannot be read. 2: wrong usage."
)

audit_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Checks for auditors.")
_HEAD = re.compile(rf"[0-9a-f]{{{2 * HASH_BYTES}}}")


@audit_app.callback()
def _audit() -> None:
    """Makes `verify` a command of its own name, however many there are."""


@audit_app.command("verify", help=VERIFY_HELP)
def verify_command(
    home: HomeOption = None,
    config: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--ledger", metavar="URL", help="Instead of both: sqlite:///FILE or postgresql://..."
        ),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="HASH", help="A head that was noted; may be given again."),
    ] = None,
) -> None:
    """`reassoc audit verify`."""
    if sum(place is not None for place in (home, config, url)) != 1:
        fail("give --home, --config or --ledger, one of them", EXIT_USAGE)
    noted = [head.strip().lower() for head in heads or []]
    if not all(map(_HEAD.fullmatch, noted)):
        fail(f"--head takes a hash of {2 * HASH_BYTES} hexadecimal digits", EXIT_USAGE)
    try:
        place = url if url is not None else ledger_url(home, config)
        found = _verify(place, [bytes.fromhex(head) for head in noted])
    except (HomeError, LedgerUrlError) as error:
        fail(str(error), EXIT_USAGE)
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)
    except OSError as error:
        fail(os_error_text(error), EXIT_UNREADABLE)
    _show(found)
    if not found.sound:
        raise typer.Exit(EXIT_UNREADABLE)


def _verify(url: str, noted: list[bytes]) -> Verification:
    ledger = Ledger.open(url, read_only=True)
    columns = (TextColumn("checking batches"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("verify", total=None)
            with ledger.reading() as connection:
                return verify(
                    connection,
                    noted,
                    lambda done, total: bar.update(task, completed=done, total=total),
                )
    finally:
        ledger.close()


def _show(found: Verification) -> None:
    console = Console()
    table = Table("chain", "batches", "head")
    table.columns[1].justify = "right"
    table.columns[2].overflow = "fold"
    for tenant, (sequence, head) in sorted(found.heads.items()):
        name = tenant if tenant != RELEASE_CHAIN else "(release book)"
        table.add_row(name, f"{sequence:,}", head.hex())
    console.print(table)
    checked = f"{found.batch_count:,} batches, {found.row_count:,} rows"
    if found.fault is not None:
        fault = found.fault
        where = f"batch {fault.number}"
        if fault.sequence:
            name = f"tenant {fault.tenant}" if fault.tenant != RELEASE_CHAIN else "the release book"
            where += f", sequence {fault.sequence} of {name}"
        say(f"the ledger was changed at {where}: {fault.text}; sound before it: {checked}")
    for head in found.missing_heads:
        say(f"head {head.hex()} is in no chain any more: batches up to it were removed or changed")
    if found.sound:
        console.print(f"sound: {checked}", highlight=False)
