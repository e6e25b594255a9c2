"""Commands about the vault of a home: `reassoc vault verify`, `list`, `rotate` and so on."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reassoc.core.errors import ReassocError
from reassoc.stream.console import ProgressBar
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say
from reassoc.stream.home import Home
from reassoc.stream.vault import Vault, VaultContent
from reassoc.stream.vault_keys import KEY_VARIABLE, FileKeyRing, open_key_ring

PREFIX_DIGITS_MIN = 8
"""Hexadecimal digits that a content must at least be named by."""
DAMAGES_SHOWN_MAX = 1000

vault_app = typer.Typer(
    no_args_is_help=True,
    help="The vault of a home: look at it, check it, erase from it, change its keys.",
)

HomeOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="The warehouse's folder.")]
ContentArgument = Annotated[
    str,
    typer.Argument(metavar="DIGEST", help="BLAKE3 digest in hexadecimal, or its beginning."),
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason; it is kept for ever.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who decided it. Default: the user of this machine.")
]


@contextmanager
def _open(home: Path, *, read_only: bool) -> Iterator[Vault]:
    """The vault of a home; every failure becomes a message and an exit code."""
    try:
        place = Home.open(home)
        keys = open_key_ring(place.key_file(os.environ), os.environ, may_create=False)
        with Vault.open(
            place.vault,
            keys,
            now=lambda: datetime.now(UTC),
            new_id=lambda: secrets.token_hex(8),
            read_only=read_only,
        ) as vault:
            yield vault
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)


@vault_app.command("verify")
def verify_command(home: HomeOption) -> None:
    """Read every byte of the vault and say what is damaged, missing or surplus.

    May run while the server does. Exit code 0: all is whole. 1: something is not.
    """
    with _open(home, read_only=True) as vault:
        with ProgressBar(Console(stderr=True)) as progress:
            progress.step("verifying", vault.stored_bytes())
            damages = vault.verify(progress.advance)
        use = vault.key_use()
        for key_id, count in use.items():
            say(f"key {key_id!r}: {count:,} contents hang on it")
        for damage in damages[:DAMAGES_SHOWN_MAX]:
            about = "" if damage.digest is None else f" (content {damage.digest.hex()})"
            typer.echo(
                f"{damage.file}, bytes {damage.start} to {damage.stop}{about}: {damage.what}; "
                f"{damage.remedy}"
            )
        if len(damages) > DAMAGES_SHOWN_MAX:
            say(f"{len(damages) - DAMAGES_SHOWN_MAX:,} more are not shown")
        if damages:
            fail(f"{len(damages):,} damages", EXIT_UNREADABLE)
        say(f"{sum(use.values()):,} contents are whole")


@vault_app.command("list")
def list_command(
    home: HomeOption,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show every content: digest, bytes, when it was stored, what holds or erased it.

    Exit code 0: shown. 1: the vault cannot be read.
    """
    with _open(home, read_only=True) as vault:
        if as_json:
            for content in vault.contents():
                sys.stdout.write(json.dumps(_fields(content)) + "\n")
            return
        table = Table(show_edge=False, pad_edge=False, header_style="bold")
        table.add_column("digest", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("stored", no_wrap=True)
        table.add_column("state")
        for content in vault.contents():
            table.add_row(
                content.digest.hex()[:16],
                f"{content.byte_count:,}",
                f"{content.stored_at:%Y-%m-%d %H:%M}",
                _state(content),
            )
        Console().print(table)


def _state(content: VaultContent) -> str:
    if content.erased is not None:
        at = datetime.fromtimestamp(content.erased.at, UTC)
        return f"erased {at:%Y-%m-%d} by {content.erased.who}: {content.erased.why}"
    return "; ".join(f"held by {hold.who}: {hold.why}" for hold in content.holds)


def _fields(content: VaultContent) -> dict[str, object]:
    erased = content.erased
    return {
        "digest": content.digest.hex(),
        "bytes": content.byte_count,
        "stored_at": content.stored_at.isoformat(),
        "key": content.key_id,
        "segment": content.segment,
        "holds": [{"who": hold.who, "why": hold.why} for hold in content.holds],
        "erased": None
        if erased is None
        else {
            "who": erased.who,
            "why": erased.why,
            "at": datetime.fromtimestamp(erased.at, UTC).isoformat(),
        },
    }


@vault_app.command("rotate")
def rotate_command(
    home: HomeOption,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Add a new key to the key file first.")
    ] = False,
) -> None:
    """Wrap every data key anew with the newest master key; contents are not rewritten.

    The server must not run. Keep older keys as long as backups that were made under them.
    Exit code 0: complete. 1: it is not; run it again.
    """
    if new_key:
        _add_key(home)
    with _open(home, read_only=False) as vault:
        count = vault.rotate()
        say(f"{count:,} data keys wrapped anew; keys in use: {', '.join(vault.key_use())}")


def _add_key(home: Path) -> None:
    if KEY_VARIABLE in os.environ:
        fail(f"{KEY_VARIABLE} is set: add the new key there, behind the others", EXIT_USAGE)
    try:
        path = Home.open(home).key_file(os.environ)
        key_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        FileKeyRing.add(path, key_id)
    except ReassocError as error:
        fail(str(error), EXIT_UNREADABLE)
    say(f"{path}: key {key_id!r} was added: keep a copy of the file where the vault is not")


@vault_app.command("erase")
def erase_command(
    home: HomeOption, content: ContentArgument, why: WhyOption, who: WhoOption = None
) -> None:
    """Erase a content for ever: its key is destroyed. The server must not run.

    Backups that were made before still have it. Exit code 0: erased. 1: refused or failed.
    """
    with _open(home, read_only=False) as vault:
        digest = _digest(vault, content)
        vault.erase(digest, why, who or getpass.getuser())
        say(f"content {digest.hex()} is erased")


@vault_app.command("hold")
def hold_command(
    home: HomeOption, content: ContentArgument, why: WhyOption, who: WhoOption = None
) -> None:
    """Put a legal hold on a content: it cannot be erased. The server must not run.

    Exit code 0: held. 1: refused or failed.
    """
    with _open(home, read_only=False) as vault:
        digest = _digest(vault, content)
        vault.hold(digest, why, who or getpass.getuser())
        say(f"content {digest.hex()} is held")


@vault_app.command("unhold")
def unhold_command(
    home: HomeOption, content: ContentArgument, why: WhyOption, who: WhoOption = None
) -> None:
    """Lift the oldest legal hold on a content. The server must not run.

    Exit code 0: lifted. 1: refused or failed.
    """
    with _open(home, read_only=False) as vault:
        digest = _digest(vault, content)
        left = vault.unhold(digest, why, who or getpass.getuser())
        say(f"content {digest.hex()}: a hold is lifted, {left} are left on it")


@vault_app.command("retain")
def retain_command(
    home: HomeOption,
    days: Annotated[
        str, typer.Argument(metavar="DAYS|forever", help="How long contents are kept.")
    ],
) -> None:
    """Set how long contents are kept: at least that long, and no longer.

    `reassoc serve` erases what is older at each opening and close; never what is held, nor what an
    835 that waits, or a file that is not delivered, still needs.

    The server must not run. Exit code 0: set. 1: refused or failed. 2: not a number of days.
    """
    if days != "forever" and not (days.isascii() and days.isdigit()):
        fail("DAYS must be a number of days, or forever", EXIT_USAGE)
    with _open(home, read_only=False) as vault:
        vault.retain(None if days == "forever" else int(days))
        say("contents are kept for ever" if days == "forever" else f"contents are kept {days} days")


def _digest(vault: Vault, text: str) -> bytes:
    """The digest that begins so. Ends the command where it is none, or not one only."""
    wanted = text.lower()
    if len(wanted) < PREFIX_DIGITS_MIN or any(digit not in "0123456789abcdef" for digit in wanted):
        fail(f"DIGEST must be {PREFIX_DIGITS_MIN} to 64 hexadecimal digits", EXIT_USAGE)
    found = [each.digest for each in vault.contents() if each.digest.hex().startswith(wanted)]
    if len(found) != 1:
        reason = "begins more than one digest" if found else "is no content of the vault"
        fail(f"{wanted}: {reason}", EXIT_USAGE)
    return found[0]
