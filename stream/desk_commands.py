"""What people see of a warehouse: `reassoc status`, `open`, `history`, `matches`.

They work while it serves, and change nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from reassoc.core.calendar import BankingCalendar
from reassoc.core.statuses import Funding
from reassoc.stream import desk_view
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import iso, utc_now
from reassoc.stream.desk_filters import FilterError, FilterOptions, status_name
from reassoc.stream.desk_json import clock_json, history_json, open_json
from reassoc.stream.exits import EXIT_USAGE, fail, say
from reassoc.stream.home import Holder, Home
from reassoc.stream.home_log import HomeLog
from reassoc.stream.home_tables import read_items, write_matches
from reassoc.stream.item_log import ClockEntry
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_item import PREFIX_DIGITS_MIN, find_items, history
from reassoc.stream.ledger_views import OPEN_LIMIT_MAX, OpenList, open_items
from reassoc.stream.outputs import whole_file
from reassoc.stream.partition import PREFIX
from reassoc.stream.release_book import ReleaseBook, ReleaseCounts
from reassoc.stream.serve_commands import reporting
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import State
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.table import csv_cell, iso_date

STATUS_HELP = (
    "How a warehouse is: who serves it, the banking day that is open, what waits to be matched, "
    "written and delivered, and what is open.\n\n"
    "Exit code 0: shown. 1: its data cannot be read. 2: DIR is no warehouse."
)
OPEN_HELP = (
    "What is open: 835s without money, money without 835s, what is matched and not released; by "
    "age in banking days, payer, payee.\n\n"
    "All filters must fit. Totals are of all that fits, the list is the first --limit of them.\n\n"
    "Exit code 0: shown. 1: its data cannot be read. 2: wrong usage."
)
HISTORY_HELP = (
    "Everything that the ledger knows of an item, in order: how it came, what became of it, when, "
    "why and by whom, its matches, its released files.\n\n"
    "ITEM is an id as `reassoc open` shows it, its beginning, or a trace number.\n\n"
    "Exit code 0: shown. 1: its data cannot be read. 2: no such item."
)
MATCHES_HELP = (
    "Write the pairs that stand, as `reassoc match` writes its matches.csv, with one more column: "
    "release, the released file's name, empty while the remittance is held.\n\n"
    "Matches that were released longer ago than keep_closed_banking_days are in the ledger only: "
    "see history and report.\n\n"
    "Exit code 0: written. 1: it cannot be read or written. 2: wrong usage."
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The warehouse's folder.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Instead of --home: the workers' configuration, for a warehouse on many machines.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Desk:
    """A warehouse opened for reading.

    clock : the last opening or close, None before the first
    day : the open banking day, or today in New York before the first clock entry
    """

    state: State
    ledger: Ledger
    calendar: BankingCalendar
    clock: ClockEntry | None

    @property
    def day(self) -> int:
        return self.clock.day if self.clock is not None else int(utc_now().timestamp()) // 86_400

    @property
    def tenants(self) -> list[str]:
        """Tenants that have a matcher, sorted."""
        return [name for name in self.state.tenants() if not name.startswith(PREFIX)]


@dataclass(frozen=True, slots=True)
class HomeDesk(Desk):
    """The same of a home, with what only a home has."""

    home: Home
    log: HomeLog


def ledger_url(home: Path | None, config: Path | None) -> str:
    """Where the ledger of a warehouse is. Raises HomeError; ends the command where the options or
    the configuration are wrong."""
    check_one_place(home, config)
    if home is not None:
        return f"sqlite:///{Home.open(home).ledger_file}"
    from reassoc.stream.worker_commands import loaded_config

    return loaded_config(config).ledger.url


def check_one_place(home: Path | None, config: Path | None) -> None:
    """End the command where none or both were given."""
    if (home is None) == (config is None):
        fail("give --home DIR or --config FILE.toml of the workers, one of them", EXIT_USAGE)


NO_SUCH_TENANT = "--tenant is none that items came for"


def _tell_unknown(tenants: Collection[str], tenant: str) -> None:
    """An empty list may be the truth of a tenant of the directory, or a slip of the pen."""
    if tenant and tenant not in tenants:
        say(NO_SUCH_TENANT)


@contextmanager
def open_desk(home: Path | None, config: Path | None) -> Iterator[Desk]:
    """Open a warehouse for reading: a home, or the one of a configuration. Raises HomeError,
    ConfigError, LedgerError, StoreError."""
    check_one_place(home, config)
    if home is not None:
        with open_home_desk(home) as desk:
            yield desk
        return
    from reassoc.stream.worker_commands import loaded_config
    from reassoc.stream.worker_desk import open_worker_desk

    with open_worker_desk(loaded_config(config)) as (state, ledger, clock):
        yield Desk(state, ledger, federal_reserve_calendar(), clock)


@contextmanager
def open_home_desk(home: Path) -> Iterator[HomeDesk]:
    """Open a home for reading. Raises HomeError, LedgerError, StoreError."""
    place = Home.open(home)
    file = SqliteFile(place.state_file)
    try:
        ledger = Ledger.open(f"sqlite:///{place.ledger_file}", read_only=True)
        try:
            log = HomeLog(SqliteItemLog(file, lambda: iso(utc_now())))
            calendar = federal_reserve_calendar()
            yield HomeDesk(SqliteState(file), ledger, calendar, log.clock, place, log)
        finally:
            ledger.close()
    finally:
        file.close()


# ---- status ----


class Waiting(msgspec.Struct, frozen=True):
    """What a tenant's log and outbox hold that is not done."""

    tenant: str
    entries: int
    outbox: int


class Status(msgspec.Struct, frozen=True):
    """How a warehouse is. held : why releases are held, None where they are not"""

    home: str
    held: str | None
    serving: Holder | None
    clock: ClockEntry | None
    tenants: list[Waiting]
    released: ReleaseCounts
    open: OpenList


def status_command(
    home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """`reassoc status`."""
    if config is not None and home is None:
        from reassoc.stream.worker_status import show_worker_status

        show_worker_status(config, as_json=as_json)
        return
    check_one_place(home, config)
    assert home is not None
    with reporting(home), open_home_desk(home) as desk:
        status = _status(desk)
        if as_json:
            shown = msgspec.structs.asdict(status)
            clock, everything = clock_json(status.clock), open_json(status.open)
            _print_json({**shown, "clock": clock, "open": everything["totals"]})
        else:
            desk_view.show_status(Console(), status)


def _status(desk: HomeDesk) -> Status:
    tenants = []
    for tenant, last in sorted(desk.log.tenants().items()):
        outbox = len(desk.state.outbox(tenant, 1000))
        tenants.append(Waiting(tenant, last - desk.state.mark(tenant), outbox))
    everything = open_items(
        desk.ledger, FilterOptions().filter(), day=desk.day, calendar=desk.calendar, limit=0
    )
    return Status(
        str(desk.home.path),
        desk.home.releases_held(),
        desk.home.holder(),
        desk.clock,
        tenants,
        ReleaseBook(desk.ledger).counts(),
        everything,
    )


# ---- open ----


def open_command(
    home: HomeOption = None,
    config: ConfigOption = None,
    tenant: Annotated[str, typer.Option(help="Of this tenant.")] = "",
    side: Annotated[str, typer.Option(help="remittances or payments.")] = "",
    status: Annotated[str, typer.Option(help="Its status, such as awaiting_eft.")] = "",
    payer: Annotated[str, typer.Option(help="Identifier, or a part of the name.")] = "",
    payee: Annotated[str, typer.Option(help="NPI, tax number or account.")] = "",
    age: Annotated[str, typer.Option(help="0-3, 4, 5-10, 11-30, 31-60, 61+ or 'no date'.")] = "",
    older_than: Annotated[
        int | None, typer.Option(metavar="DAYS", help="Waits for more banking days than this.")
    ] = None,
    cents_min: Annotated[int | None, typer.Option(metavar="CENTS", help="At least.")] = None,
    cents_max: Annotated[int | None, typer.Option(metavar="CENTS", help="At most.")] = None,
    trace: Annotated[str, typer.Option(help="Trace number.")] = "",
    limit: Annotated[int, typer.Option(min=0, max=OPEN_LIMIT_MAX, help="Rows of the list.")] = 50,
    by_amount: Annotated[
        bool, typer.Option("--by-amount", help="The largest first, not the oldest.")
    ] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the list as CSV; - for the terminal."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """`reassoc open`."""
    if csv_file is not None and as_json:
        fail("give --csv or --json, one of them", EXIT_USAGE)
    options = FilterOptions(
        tenant, side, status, payer, payee, age, older_than, cents_min, cents_max, trace
    )
    with reporting(home), open_desk(home, config) as desk:
        _tell_unknown(desk.tenants, tenant)
        try:
            found = open_items(
                desk.ledger,
                options.filter(),
                day=desk.day,
                calendar=desk.calendar,
                limit=limit,
                order="cents" if by_amount else "age",
            )
        except (FilterError, ValueError) as error:
            fail(str(error), EXIT_USAGE)
        if csv_file is not None:
            _write_open(csv_file, found)
    if csv_file is not None:
        return
    if as_json:
        _print_json(open_json(found))
    else:
        desk_view.show_open(Console(), found)


OPEN_COLUMNS = (
    "item", "tenant", "side", "status", "funding", "cents", "date", "age_banking_days", "trace",
    "payer_id", "payer_name", "payee_id",
)  # fmt: skip


def _write_open(path: Path, found: OpenList) -> None:
    with whole_file(path) as out:
        out.write((",".join(OPEN_COLUMNS) + "\n").encode())
        for row in found.rows:
            cells = (
                row.name, row.tenant, row.side.name.lower(), status_name(row.side, row.status),
                Funding(row.funding).name.lower(), row.cents, iso_date(row.day),
                "" if row.age_banking_days is None else row.age_banking_days,
                row.trace, row.payer_id, row.payer_name, row.payee_id,
            )  # fmt: skip
            out.write((",".join(map(_cell, cells)) + "\n").encode())


def _cell(value: str | int) -> str:
    return csv_cell(value) if isinstance(value, str) else str(value)


# ---- history ----


def history_command(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An id, its beginning, or a trace.")],
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """`reassoc history`."""
    with reporting(home), open_desk(home, config) as desk:
        found = find_items(desk.ledger, item)
        if not found:
            fail(
                f"the ledger knows no item by this: give an id, {PREFIX_DIGITS_MIN} or more of its "
                "first digits, or a trace number",
                EXIT_USAGE,
            )
        events = history(desk.ledger, found[0].digest, found[0].offset)
    if as_json:
        _print_json(history_json(found[0], events, [other.name for other in found[1:]]))
        return
    desk_view.show_history(Console(), found[0], events)
    if len(found) > 1:
        desk_view.show_others(Console(), found[1:])


# ---- matches ----


def matches_command(
    csv_file: Annotated[
        Path, typer.Option("--csv", metavar="FILE", help="The file to write; - for the terminal.")
    ],
    home: HomeOption = None,
    config: ConfigOption = None,
    tenant: Annotated[str, typer.Option(help="Of this tenant only.")] = "",
) -> None:
    """`reassoc matches`."""
    with reporting(home), open_desk(home, config) as desk:
        _tell_unknown(desk.tenants, tenant)
        tenants = [name for name in desk.tenants if name == (tenant or name)]
        items = read_items(desk.state, tenants)
        book = ReleaseBook(desk.ledger)

        with whole_file(csv_file) as out:
            write_matches(out, items, desk.ledger.source_names, book.released_names)


def _print_json(value: object) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.buffer.write(text + b"\n")
