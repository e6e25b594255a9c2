"""Commands about the vault of a home, or those of workers: `reassoc vault verify`, `list`,
`rotate` and so on."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reassoc.core.errors import ReassocError
from reassoc.stream.clock import utc_now
from reassoc.stream.config import load_config
from reassoc.stream.console import ProgressBar
from reassoc.stream.desk_commands import ConfigOption, HomeOption, JsonOption
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say, tell
from reassoc.stream.home import Home
from reassoc.stream.ledger import Ledger
from reassoc.stream.part_book import Part, PartBook, file_name_of
from reassoc.stream.vault import Vault, VaultContent
from reassoc.stream.vault_against_book import against_book, missing_vaults
from reassoc.stream.vault_errors import NoContentError
from reassoc.stream.vault_keys import KEY_VARIABLE, FileKeyRing
from reassoc.stream.vault_places import NamedVault, Vaults, home_vault, worker_vaults
from reassoc.stream.worker_commands import reporting

PREFIX_DIGITS_MIN = 8
"""Hexadecimal digits that a content must at least be named by."""
FILE_DIGITS = 16
"""Hexadecimal digits of a file's digest that an item's id begins with."""
DAMAGES_SHOWN_MAX = 1000

T = TypeVar("T")
Opened = Sequence[tuple[NamedVault, Vault]]

_FILE = re.compile(r"[0-9a-f]{16}-\d+|[0-9a-f]{16,64}")

vault_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The vault of a home, or those of workers: look at them, check them, erase from them, "
    "change their keys.",
)

VaultOption = Annotated[
    str, typer.Option("--vault", metavar="NAME", help="With --config: of the vaults this one only.")
]
ContentArgument = Annotated[
    str,
    typer.Argument(metavar="DIGEST", help="BLAKE3 digest in hexadecimal, or its beginning."),
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason; it is kept for ever.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", help="Who decided it. Default: the user of this machine.")
]


@contextmanager
def _vaults(home: Path | None, config: Path | None, name: str = "") -> Iterator[Vaults]:
    """The vaults that a command is about."""
    if (home is None) == (config is None) or (home is not None and name):
        fail(
            "give --home DIR or --config FILE.toml of the workers (and --vault NAME for one of "
            "theirs)",
            EXIT_USAGE,
        )
    with reporting():
        if home is not None:
            yield home_vault(Home.open(home))
        elif config is not None:
            yield worker_vaults(load_config(config).config, name)


@vault_app.command("verify")
def verify_command(
    home: HomeOption = None, config: ConfigOption = None, vault: VaultOption = ""
) -> None:
    """Read every byte of the vaults and say what is damaged, missing or surplus.

    With --config also what the part book names and no vault has, which are damages, and contents
    that it does not name, which are none: nobody will read them, nor would an erasure find them.

    May run while the server or workers do. Exit code 0: all is whole. 1: something is not, or could
    not be compared. 2: wrong usage.
    """
    use, count = Counter[str](), 0
    with _vaults(home, config, vault) as vaults, _book_of(config) as book:
        for place in vaults.each:
            with _telling(vaults, place) as told:
                named = set() if book is None else book.contents_named(place.name)
                with place.open(read_only=True) as opened:
                    told.count = _verify(place, opened)
                    if book is not None:
                        found = against_book(named, opened.contents(), utc_now())
                        told.count += len(found.missing)
                        _show(found.lines(place.name, book))
                    use.update(opened.key_use())
            count += told.count
        if book is not None and not vault:
            gone = missing_vaults([place.name for place in vaults.each], book)
            count += len(gone)
            _show(gone)
    for key_id, hanging in use.items():
        tell(f"key {key_id!r}: {hanging:,} contents hang on it")
    if count > DAMAGES_SHOWN_MAX:
        say(f"of each vault no more than {DAMAGES_SHOWN_MAX:,} are shown")
    if count:
        fail(f"{count:,} damages", EXIT_UNREADABLE)
    tell(f"{use.total():,} contents are whole")
    if config is not None and book is None:
        fail("the part book was not asked what is missing", EXIT_UNREADABLE)


@dataclass(slots=True)
class _Told:
    """How much is wrong with a vault; 1 where that ended what was done with it."""

    count: int = 1


@contextmanager
def _telling(vaults: Vaults, place: NamedVault) -> Iterator[_Told]:
    """Where there are several vaults, say what is wrong with one and go on with the others."""
    told = _Told()
    try:
        yield told
    except (ReassocError, OSError) as error:
        if len(vaults.each) == 1:
            raise
        say(f"{place.name}: {error}")
        told.count = max(told.count, 1)


def _verify(place: NamedVault, vault: Vault) -> int:
    """Show what is damaged in a vault; how much that is."""
    where = f"{place.name}/" if place.name else ""
    with ProgressBar(Console(stderr=True)) as progress:
        progress.step(f"verifying {place.name}".rstrip(), vault.stored_bytes())
        damages = vault.verify(progress.advance)
    for damage in damages[:DAMAGES_SHOWN_MAX]:
        about = "" if damage.digest is None else f" (content {damage.digest.hex()})"
        typer.echo(
            f"{where}{damage.file}, bytes {damage.start} to {damage.stop}{about}: {damage.what}; "
            f"{damage.remedy}"
        )
    return len(damages)


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


@contextmanager
def _book_of(config: Path | None) -> Iterator[PartBook | None]:
    """The part book of a configuration; None where it cannot be asked, which is said."""
    if config is None:
        yield None
        return
    try:
        ledger = Ledger.open(load_config(config).config.ledger.url, read_only=True)
    except (ReassocError, OSError) as error:
        say(f"{error}; what the part book names is not compared")
        yield None
        return
    with closing(ledger):
        yield PartBook(ledger)


@vault_app.command("list")
def list_command(
    home: HomeOption = None,
    config: ConfigOption = None,
    vault: VaultOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show every content: digest, bytes, when it was stored, what holds or erased it.

    Exit code 0: shown. 1: a vault cannot be read. 2: wrong usage.
    """
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    if config is not None:
        table.add_column("vault", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("stored", no_wrap=True)
    table.add_column("state")
    count = 0
    with _vaults(home, config, vault) as vaults:
        for place in vaults.each:
            with _telling(vaults, place) as told, place.open(read_only=True) as opened:
                _list(place, opened, None if as_json else table)
                told.count = 0
            count += told.count
    if not as_json:
        Console().print(table)
    if count:
        fail(f"{count} of the vaults cannot be read", EXIT_UNREADABLE)


def _list(place: NamedVault, vault: Vault, table: Table | None) -> None:
    """Add a vault's contents to a table; print them as JSON where there is none."""
    named = {"vault": place.name} if place.name else {}
    for content in vault.contents():
        if table is None:
            sys.stdout.write(json.dumps(named | _fields(content)) + "\n")
            continue
        table.add_row(
            *named.values(),
            content.digest.hex()[:16],
            f"{content.byte_count:,}",
            f"{content.stored_at:%Y-%m-%d %H:%M}",
            _state(content),
        )


def _state(content: VaultContent) -> str:
    if content.erased is not None:
        at = datetime.fromtimestamp(content.erased.at, UTC)
        return escape(f"erased {at:%Y-%m-%d} by {content.erased.who}: {content.erased.why}")
    return escape("; ".join(f"held by {hold.who}: {hold.why}" for hold in content.holds))


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
    home: HomeOption = None,
    config: ConfigOption = None,
    vault: VaultOption = "",
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Add a new key to the key file first.")
    ] = False,
) -> None:
    """Wrap every data key anew with the newest master key; contents are not rewritten.

    The server, or the workers, must not run. Keep older keys as long as backups that were made
    under them. Exit code 0: complete. 1: it is not; run it again. 2: wrong
    usage.
    """
    if new_key and vault:
        fail("a new key is for all vaults: leave out --vault", EXIT_USAGE)
    count, use, left = 0, Counter[str](), 0
    with _vaults(home, config, vault) as vaults:
        vaults.check_nobody_writes()
    if new_key:
        with reporting():
            _add_key(vaults.key_file)
    with _vaults(home, config, vault) as vaults:  # once more: with the new key
        for place in vaults.each:
            with _telling(vaults, place) as told, place.open(read_only=False) as opened:
                count += opened.rotate()
                use.update(opened.key_use())
                told.count = 0
            left += told.count
    tell(f"{count:,} data keys wrapped anew; keys in use: {', '.join(use)}")
    if left:
        fail(f"{left} of the vaults are left: run it again without --new-key", EXIT_UNREADABLE)


def _add_key(path: Path) -> None:
    """Raises what the key file raises."""
    if KEY_VARIABLE in os.environ:
        fail(f"{KEY_VARIABLE} is set: add the new key there, behind the others", EXIT_USAGE)
    key_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    FileKeyRing.add(path, key_id)
    tell(f"{path}: key {key_id!r} was added: keep a copy of the file where the vault is not")


@vault_app.command("find")
def find_command(
    item: Annotated[
        str,
        typer.Argument(metavar="ITEM|DIGEST", help="An item's id, or a file's digest."),
    ],
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE.toml", help="The workers' configuration.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Show where the bytes of a file lie that came to the workers, by the part book.

    In which contents of which vaults, erased or not, and how many other files have bytes in these:
    what is held or erased is a content, with all that lies in it. Bytes that came once more may lie
    in a content of their own: that is a copy, which nobody reads. In a home a file is one content.

    Exit code 0: shown. 1: no such file came, or it cannot be looked for. 2: wrong usage.
    """
    if not _FILE.fullmatch(item):
        fail("give an item's id, or 16 to 64 hexadecimal digits of a file's digest", EXIT_USAGE)
    name = file_name_of(bytes.fromhex(item[:FILE_DIGITS]))
    with (
        reporting(),
        closing(Ledger.open(load_config(config).config.ledger.url, read_only=True)) as ledger,
    ):
        book = PartBook(ledger)
        parts = [part for part in book.parts_named(name) if _is_of(part, item)]
        copies = [part for part in book.copies_named(name) if _is_of(part, item)]
        counts = book.file_counts({part.content for part in (*parts, *copies)})
    if not parts and not copies:
        fail(f"{item}: no such file came", EXIT_UNREADABLE)
    read = {(part.vault, part.content) for part in parts}
    _show_places(_places([*parts, *copies], counts, read), as_json=as_json)


def _is_of(part: Part, item: str) -> bool:
    """Whether a part is of the file of an item's id, or of a digest that begins so."""
    return part.digest.hex().startswith(item.partition("-")[0])


def _places(
    parts: Sequence[Part], counts: Mapping[bytes, int], read: Container[tuple[str, bytes]]
) -> list[dict[str, object]]:
    """A row for each content that has parts of a file. read : vaults and contents where they are
    read, others are copies"""
    sizes = Counter[tuple[str, bytes]]()
    for part in parts:
        sizes[part.vault, part.content] += part.stop - part.start
    return [
        {
            "vault": vault,
            "content": content.hex(),
            "bytes": size,
            "other_files": counts.get(content, 1) - 1,
            "copy": (vault, content) not in read,
        }
        for (vault, content), size in sorted(sizes.items())
    ]


def _show_places(places: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    if as_json:
        for place in places:
            sys.stdout.write(json.dumps(place) + "\n")
        return
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("vault", no_wrap=True)
    table.add_column("content", no_wrap=True)
    table.add_column("bytes of the file", justify="right")
    table.add_column("other files in it", justify="right")
    table.add_column("")
    for place in places:
        table.add_row(
            str(place["vault"]),
            str(place["content"])[:16],
            f"{place['bytes']:,}",
            f"{place['other_files']:,}",
            "copy" if place["copy"] else "",
        )
    Console().print(table)


@vault_app.command("erase")
def erase_command(
    content: ContentArgument,
    why: WhyOption,
    who: WhoOption = None,
    home: HomeOption = None,
    config: ConfigOption = None,
    vault: VaultOption = "",
) -> None:
    """Erase a content for ever: its key is destroyed.

    The server, or the workers, must not run. Of workers' vaults all that have it are changed.
    Backups that were made before still have it.

    Exit code 0: erased. 1: refused or failed. 2: wrong usage, or no such content.
    """
    with _changing(home, config, vault, content) as (digest, opened):
        for _, each in opened:
            each.check_free(digest)
        _change(opened, lambda each: each.erase(digest, why, who or getpass.getuser()))
        tell(f"content {digest.hex()} is erased")


@vault_app.command("hold")
def hold_command(
    content: ContentArgument,
    why: WhyOption,
    who: WhoOption = None,
    home: HomeOption = None,
    config: ConfigOption = None,
    vault: VaultOption = "",
) -> None:
    """Put a legal hold on a content: it cannot be erased.

    The server, or the workers, must not run. Exit code 0: held. 1: refused or failed. 2: wrong
    usage, or no such content.
    """
    with _changing(home, config, vault, content) as (digest, opened):
        _change(opened, lambda each: each.hold(digest, why, who or getpass.getuser()))
        tell(f"content {digest.hex()} is held")


@vault_app.command("unhold")
def unhold_command(
    content: ContentArgument,
    why: WhyOption,
    who: WhoOption = None,
    home: HomeOption = None,
    config: ConfigOption = None,
    vault: VaultOption = "",
) -> None:
    """Lift the oldest legal hold on a content.

    The server, or the workers, must not run. Exit code 0: lifted. 1: refused or failed. 2: wrong
    usage, or no such content.
    """
    with _changing(home, config, vault, content) as (digest, opened):
        # A copy that came later may have none of the holds.
        held = [(place, each) for place, each in opened if each.holds_on(digest)] or opened
        left = max(_change(held, lambda each: each.unhold(digest, why, who or getpass.getuser())))
        tell(f"content {digest.hex()}: a hold is lifted, {left} are left on it")


@contextmanager
def _changing(
    home: Path | None, config: Path | None, name: str, text: str
) -> Iterator[tuple[bytes, Opened]]:
    """The content whose digest begins so, and the vaults that have it, all of them open to be
    changed."""
    wanted = text.lower()
    if len(wanted) < PREFIX_DIGITS_MIN or any(digit not in "0123456789abcdef" for digit in wanted):
        fail(f"DIGEST must be {PREFIX_DIGITS_MIN} to 64 hexadecimal digits", EXIT_USAGE)
    with _vaults(home, config, name) as vaults:
        try:
            digest, having = vaults.having(wanted)
        except NoContentError as error:
            fail(str(error), EXIT_USAGE)
        if not having.each:
            fail(f"content {digest.hex()} is erased already", EXIT_UNREADABLE)
        with having.opened(read_only=False) as opened:
            yield digest, opened


def _change(opened: Opened, change: Callable[[Vault], T]) -> list[T]:
    """Change vaults; where one fails the others are changed all the same, and it is told."""
    done: list[T] = []
    for place, vault in opened:
        try:
            done.append(change(vault))
        except (ReassocError, OSError) as error:
            if len(opened) == 1:
                raise
            say(f"{place.name}: was not changed: {error}")
    if len(done) < len(opened):
        names = ", ".join(place.name for place, _ in opened)
        fail(
            f"{len(opened) - len(done)} of {names} were not changed, the others were: "
            "mend what is told above and run it again for these, with --vault NAME",
            EXIT_UNREADABLE,
        )
    return done


@vault_app.command("retain")
def retain_command(
    days: Annotated[
        str, typer.Argument(metavar="DAYS|forever", help="How long contents are kept.")
    ],
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="The warehouse's folder.")],
) -> None:
    """Set how long contents of a home are kept: at least that long, and no longer.

    `reassoc serve` erases what is older at each opening and close; never what is held, nor what an
    835 that waits, or a file that is not delivered, still needs. Workers keep theirs for ever.

    The server must not run. Exit code 0: set. 1: refused or failed. 2: not a number of days.
    """
    if days != "forever" and not (days.isascii() and days.isdigit()):
        fail("DAYS must be a number of days, or forever", EXIT_USAGE)
    with _vaults(home, None) as vaults, vaults.each[0].open(read_only=False) as vault:
        vault.retain(None if days == "forever" else int(days))
        tell(f"contents are kept {'for ever' if days == 'forever' else f'{days} days'}")
