"""`reassoc backup`, `restore`, and what a restored home needs of people: `doubt`, `resume`."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reassoc.stream.asking import AskingError, check_reason
from reassoc.stream.backup import (
    Manifest,
    Settled,
    backup,
    leave_to_people,
    released_files,
    restore,
)
from reassoc.stream.clock import iso, utc_now
from reassoc.stream.console import dollars
from reassoc.stream.exits import EXIT_USAGE, fail, tell
from reassoc.stream.home import KEY_VARIABLE, Home
from reassoc.stream.home_intake import open_vault
from reassoc.stream.ledger import Ledger
from reassoc.stream.open_home import open_home
from reassoc.stream.outputs import OutputError
from reassoc.stream.release_book import Intent, ReleaseBook
from reassoc.stream.serve_commands import reporting

DOUBTS_SHOWN_MAX = 1000
RESUMED_NAME = "releases-resumed.jsonl"
"""In data/: one line for each time that releases were let go on."""

BACKUP_HELP = (
    "Copy a warehouse into the new folder OUT: vault, ledger, match state and settings, all of one "
    "moment. It may serve meanwhile.\n\n"
    "The vault's master key is not in a backup, nor are the files in in/, done/, refused/, "
    "released/ and findings/: keep the key apart, and what senders gave you since the last "
    "backup.\n\n"
    "Exit code 0: made. 1: it failed, nothing was made. 2: wrong usage, or OUT is taken."
)
RESTORE_HELP = (
    "Make a new home of a backup. Every file is checked; the home appears whole or not at all.\n\n"
    "Nothing leaves it by itself, because nobody knows what was released after the backup: releases"
    " are held until `reassoc resume`, files that were not delivered by then are in doubt until "
    "`reassoc doubt` says of each, and control numbers go on behind a gap. Stop the old home "
    "first: two homes of one warehouse send everything twice.\n\n"
    "Exit code 0: restored. 1: the backup is damaged, nothing was made. 2: wrong usage, or the "
    "folder is taken."
)
DOUBT_HELP = (
    "Released files of which nobody knows whether they were delivered: list them, or say of some "
    "what is the case. Those that were not are written once more, the same bytes under the same "
    "name.\n\n"
    "Exit code 0: listed, or said. 1: it failed. 2: wrong usage, a file that is not in doubt, or "
    "another process works in DIR."
)
RESUME_HELP = (
    "Let the releases of a restored home go on, once you have fed it what came since the backup and"
    " compared what waits with what receivers have. Works while `reassoc serve` runs, which "
    "delivers then. Who did it and why is kept in data/releases-resumed.jsonl.\n\n"
    "Exit code 0: they go on. 1: it failed. 2: wrong usage, or they are not held."
)

HomeOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="The warehouse's folder.")]
NamesOption = list[str] | None


def backup_command(
    home: HomeOption,
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="A new folder.")],
) -> None:
    """`reassoc backup`."""
    with _reporting(home):
        place = Home.open(home)
        vault = open_vault(place, os.environ, utc_now, read_only=True)
        try:
            made = backup(place, out, copy_vault=vault.copy_to, taken_at=iso(utc_now()))
        finally:
            vault.close()
    tell(f"{out}: {len(made.files):,} files, {made.byte_count / 1e6:,.1f} MB, of {made.taken_at}")
    key = place.key_file(os.environ)
    where = KEY_VARIABLE if os.environ.get(KEY_VARIABLE) else key
    tell(f"The vault's key is not in it: keep a copy of {where} elsewhere.")


def restore_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="BACKUP",
            exists=True,
            file_okay=False,
            help="A folder that `reassoc backup` made.",
        ),
    ],
    home: Annotated[
        Path, typer.Option("--home", metavar="DIR", help="A new folder for the warehouse.")
    ],
    released: Annotated[
        Path | None,
        typer.Option(
            "--released",
            metavar="PATH",
            help="What receivers have: a folder with the released files, or a text file with their "
            "names. Those are not in doubt.",
        ),
    ] = None,
) -> None:
    """`reassoc restore`."""
    settled: list[Settled] = []

    def settle(place: Home) -> None:
        ledger = Ledger.open(f"sqlite:///{place.ledger_file}")
        try:
            known = released_files(released)
            settled.append(leave_to_people(ReleaseBook(ledger), known, iso(utc_now())))
        finally:
            ledger.close()

    with _reporting(home):
        manifest = restore(source, home, settle=settle)
        place = Home.open(home)
    _tell_restored(place, manifest, settled[0])


def _tell_restored(place: Home, manifest: Manifest, settled: Settled) -> None:
    tell(f"{place.path}: restored from the backup of {manifest.taken_at}")
    key = place.key_file(os.environ)
    if os.environ.get(KEY_VARIABLE):
        tell(f"The vault's key comes from {KEY_VARIABLE}.")
    elif not key.exists():
        tell(f"The vault's key is not in a backup: copy the old home's vault.key to {key},")
        tell(f"or set {KEY_VARIABLE}. Without it nothing of the vault can be read.")
    if settled.delivered_count:
        tell(f"Files that receivers have, now done: {settled.delivered_count:,}")
    if settled.in_doubt_count:
        tell(
            f"Files in doubt: {settled.in_doubt_count:,}; say of each whether it was delivered: "
            f"reassoc doubt --home {place.path}"
        )
    if not manifest.has_vault:
        tell("The vault did not lie in the home: it has a backup of its own.")
    tell("Releases are held. Feed what came since the backup, compare what waits with what")
    tell(f"receivers have, then: reassoc resume --home {place.path} --why TEXT")


def doubt_command(
    home: HomeOption,
    delivered: Annotated[
        NamesOption,
        typer.Option("--delivered", metavar="NAME", help="The receiver has it; repeatable."),
    ] = None,
    missing: Annotated[
        NamesOption,
        typer.Option(
            "--missing", metavar="NAME", help="The receiver never got it: send it; repeatable."
        ),
    ] = None,
) -> None:
    """`reassoc doubt`."""
    with reporting(home):
        place = Home.open(home)
        if not delivered and not missing:
            ledger = Ledger.open(f"sqlite:///{place.ledger_file}", read_only=True)
            try:
                _list_doubts(list(_doubts(ReleaseBook(ledger)).values()), place)
            finally:
                ledger.close()
            return
        with open_home(place, "reassoc doubt") as opened:
            _answer(opened.book, delivered or [], missing or [])


def _doubts(book: ReleaseBook) -> dict[str, Intent]:
    """Files in doubt by name. O(files that are not done)."""
    found: dict[str, Intent] = {}
    after = 0
    while intents := book.unfinished(after):
        after = intents[-1].number
        found |= {intent.name: intent for intent in intents if intent.is_in_doubt}
    return found


def _list_doubts(doubts: list[Intent], place: Home) -> None:
    if not doubts:
        tell("No file is in doubt.")
        return
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("file in doubt", overflow="fold")
    for name in ("remittances", "dollars"):
        table.add_column(name, justify="right", no_wrap=True)
    for intent in doubts[:DOUBTS_SHOWN_MAX]:
        table.add_row(intent.name, f"{intent.item_count:,}", dollars(intent.cents))
    Console().print(table)
    if len(doubts) > DOUBTS_SHOWN_MAX:
        tell(f"... {len(doubts) - DOUBTS_SHOWN_MAX:,} more")
    tell(f"\nSay: reassoc doubt --home {place.path} --delivered NAME, or --missing NAME")


def _answer(book: ReleaseBook, delivered: list[str], missing: list[str]) -> None:
    doubts = _doubts(book)
    for name in (*delivered, *missing):
        if name not in doubts:
            fail(f"{name}: no file in doubt; nothing was changed", EXIT_USAGE)
    if set(delivered) & set(missing):
        fail("a file cannot be both delivered and missing; nothing was changed", EXIT_USAGE)
    for names, is_delivered in ((delivered, True), (missing, False)):
        for name in dict.fromkeys(names):
            book.answer(doubts[name].number, delivered=is_delivered, at=iso(utc_now()))
    tell(f"Said of {len({*delivered, *missing}):,} files; {len(_doubts(book)):,} are in doubt.")


def resume_command(
    home: HomeOption,
    why: Annotated[str, typer.Option("--why", help="The reason, for the record.")],
    who: Annotated[str, typer.Option(help="Who decides. Default: the user's name.")] = "",
) -> None:
    """`reassoc resume`."""
    try:
        check_reason(who, why)
    except AskingError as error:
        fail(str(error), EXIT_USAGE)
    with reporting(home):
        place = Home.open(home)
        held = place.releases_held()
        if held is None:
            fail("releases are not held", EXIT_USAGE)
        # On disk before they go on: what was let go is never without its record.
        record_resumed(place, held, who or getpass.getuser(), why, utc_now())
        place.resume_releases()
        tell(f"releases go on; they were held: {held}")


def record_resumed(place: Home, held: str, who: str, why: str, now: datetime) -> None:
    """Write down, durably, that held releases go on."""
    line = {"at": now.astimezone(UTC).isoformat(), "who": who, "why": why, "held": held}
    with (place.data / RESUMED_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _reporting(home: Path) -> Iterator[None]:
    """As `reporting`; a folder that is taken is wrong usage."""
    with reporting(home):
        try:
            yield
        except OutputError as error:
            fail(str(error), EXIT_USAGE)
