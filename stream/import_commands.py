"""`reassoc import`: open items of another system, from a CSV, onto the logs of a warehouse."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from reassoc.core.directory import DEFAULT_TENANT, Directory
from reassoc.stream.console import dollars
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say
from reassoc.stream.home import Home
from reassoc.stream.imports import (
    IMPORT_BYTES_MAX,
    TEMPLATE,
    Imported,
    ImportFileError,
    read_import,
)
from reassoc.stream.item_log import Entry, ItemsEntry, Routing, SourceNote
from reassoc.stream.item_rows import Entries, Share
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM, payment_pool, remittance_pool
from reassoc.stream.open_home import OpenHome, open_home
from reassoc.stream.routing import Route, RouteBuilder, Router, Tenants, encode_route
from reassoc.stream.serve_commands import reporting
from reassoc.stream.take_in import NAME_BYTES

IMPORT_KIND = "IMPORT"
"""The kind of the source that imported items come from."""
PROBLEMS_SHOWN_MAX = 100
STEPS_AT_ONCE = 64
_NO_PROFILE = {0: b""}

IMPORT_HELP = (
    "Bring open items of another system along: 835s whose money is to come, money whose 835 is, as "
    "a CSV with a header. --template prints one.\n\n"
    "Columns: side (remittance or payment), amount, date; and, where they are known, reference, "
    "trace, payer_id, payer_name, payment_method, payee_npi, payee_tin, payee_routing, "
    "payee_account. A row that is wrong is told by line and column, and the others are taken. The "
    "same file twice is a copy. The 835s stay in the other system, so an imported one is booked as "
    "released without a file.\n\n"
    "Exit code 0: all rows were taken. 1: some were not, or it failed. 2: wrong usage, or another "
    "process works in DIR."
)


@dataclass(frozen=True, slots=True)
class TakenImport:
    """What became of a file. is_copy : it was taken before, and nothing was logged again"""

    is_copy: bool
    tenants: tuple[str, ...] = ()


def import_command(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False, help="UTF-8, commas."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="The warehouse's folder; made if missing."),
    ] = None,
    tenant: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="All items go to this tenant. Those of payees that the directory does not know "
            "are quarantined there until it does.",
        ),
    ] = "",
    template: Annotated[
        bool, typer.Option("--template", help="Print a file with one item of each side.")
    ] = False,
) -> None:
    """`reassoc import`."""
    if template:
        sys.stdout.buffer.write(TEMPLATE.encode())
        sys.stdout.flush()
        return
    if file is None or home is None:
        fail("give FILE.csv and --home DIR (or --template for a file to begin with)", EXIT_USAGE)
    with reporting(home):
        imported, data = _read(file)
        with open_home(Home.create_or_open(home), "reassoc import") as opened:
            directory = opened.use_settings().directory
            opened.engine.begin(opened.now())
            _check_tenant(tenant, directory)
            taken = take_import(imported, data, file.name, opened, Router(directory), tenant)
            settle(opened)
    _show(file, imported, taken)
    if imported.problem_count:
        raise typer.Exit(EXIT_UNREADABLE)


def _read(file: Path) -> tuple[Imported, bytes]:
    with file.open("rb") as opened:
        data = opened.read(IMPORT_BYTES_MAX + 1)
    try:
        return read_import(data), data
    except ImportFileError as error:
        fail(f"{file}: {error}", EXIT_UNREADABLE)


def _check_tenant(tenant: str, directory: Directory | None) -> None:
    known = directory.tenants if directory is not None else (DEFAULT_TENANT,)
    if tenant and tenant not in known:
        fail(f"--tenant: the directory has no such tenant; it has {', '.join(known)}", EXIT_USAGE)


def take_import(
    imported: Imported, data: bytes, name: str, opened: OpenHome, router: Router, tenant: str = ""
) -> TakenImport:
    """Put a file into the vault and its items onto the logs of their tenants, by one append.

    data : the bytes of the file    name : of the file, for people
    tenant : where all items go; empty: where their payees say

    As take_in does it: the bytes are safe before the log names them, and where the items went is
    remembered with them. Raises what vault and log raise, and ImportFileError where another content
    has its name. O(items).
    """
    log, digest = opened.log, imported.digest
    known = log.routings([digest]).get(digest)
    if known is not None and known.logged:
        return TakenImport(is_copy=True)
    stored = opened.vault.put([data])
    holder = log.routings([digest[:NAME_BYTES]]).get(digest[:NAME_BYTES])
    if holder is not None and holder.body != digest:
        raise ImportFileError(
            f"another content that came before has the same first {NAME_BYTES} bytes of its digest,"
            " by which items are named; nothing was taken: change a reference in the file"
        )
    route = _route(imported, router, tenant)
    note = SourceNote(digest, name, IMPORT_KIND, stored.byte_count)
    entries = Entries()
    for share in _shares(imported, route):
        entries.add(share, note, _NO_PROFILE)
    log.append(
        [(tenant, _without_profile(entry)) for tenant, entry in entries.take()],
        [
            (digest[:NAME_BYTES], Routing(digest, logged=True)),
            (digest, Routing(encode_route(route), logged=True)),
        ],
    )
    return TakenImport(is_copy=False, tenants=route.tenants)


def _without_profile(entry: Entry) -> Entry:
    # A remittance without bytes has no envelope either.
    return replace(entry, profiles=()) if isinstance(entry, ItemsEntry) else entry


def _route(imported: Imported, router: Router, tenant: str) -> Route:
    left, right = imported.remittances, imported.payments
    count = len(left["id_offset"])
    told = router.route(remittance_pool(left, np.full(count, -1, np.int32)), payment_pool(right))
    if tenant:
        told = Tenants((tenant,), np.zeros_like(told.remittances), np.zeros_like(told.payments))
    builder = RouteBuilder()
    builder.add(told)
    return builder.route()


def _shares(imported: Imported, route: Route) -> list[Share]:
    """The items of each tenant as packed rows."""
    left = REMITTANCE_ITEM.pack(imported.remittances)
    right = PAYMENT_ITEM.pack(imported.payments)
    left_of, right_of = route.remittances, route.payments
    of_left = left_of.between(0, len(left))
    of_right = right_of.between(0, len(right))
    return [
        Share(name, left.take(_of(of_left, number)), right.take(_of(of_right, number)))
        for number, name in enumerate(route.tenants)
    ]


def _of(numbers: npt.NDArray[np.uint32], number: int) -> npt.NDArray[np.int64]:
    return np.flatnonzero(numbers == number)


def settle(opened: OpenHome) -> None:
    """Decide what is on the logs, and release what may be. Without a clock entry, so that nothing
    else is due by it."""
    while opened.engine.match(STEPS_AT_ONCE) or opened.engine.publish():
        pass
    if opened.home.releases_held() is None:
        opened.releaser.run_once()


def _show(file: Path, imported: Imported, taken: TakenImport) -> None:
    for problem in imported.problems[:PROBLEMS_SHOWN_MAX]:
        say(f"{file}: {problem}")
    if imported.problem_count > PROBLEMS_SHOWN_MAX:
        say(f"{file}: {imported.problem_count - PROBLEMS_SHOWN_MAX:,} more problems")
    console = Console(highlight=False)
    if taken.is_copy:
        console.print("This file was taken before: nothing of it counts twice.")
        return
    table = Table(show_header=False, show_edge=False, pad_edge=False, box=None)
    for name, cents in (
        ("remittances", imported.remittances["paid_cents"]),
        ("payments", imported.payments["amount_cents"]),
    ):
        table.add_row(f"{name} taken", f"{len(cents):,}", dollars(int(cents.sum())))
    table.add_row("tenants", ", ".join(taken.tenants), "")
    if imported.problem_count:
        table.add_row("problems", f"{imported.problem_count:,}", "their rows were not taken")
    console.print(table)
