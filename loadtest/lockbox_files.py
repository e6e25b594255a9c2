"""Writes lockbox lists: the checks that came to a bank's boxes, one row a check, as CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reassoc.loadtest.dates import compact, to_date
from reassoc.loadtest.model import Chunk, ListedCheck

LAYOUT_NAME = "lockbox.layout.toml"
LAYOUT = """\
# How the lockbox lists of this feed are written.
name = "Example lockbox list"
format = "csv"
header_rows = 1

[recognise]
names = ["BOX*.csv", "lockbox.csv"]
first_line = "^Deposit Date,Lockbox,"

[fields]
check_number = { column = "Check Number" }
amount = { column = "Amount" }
deposit_date = { column = "Deposit Date", format = "MM/DD/YYYY" }
deposit = { column = "Batch" }
payer_name = { column = "Remitter" }
payer_routing = { column = "Drawer Routing" }
payer_account = { column = "Drawer Account" }
payee_routing = { column = "Routing" }
payee_account = { column = "Account" }
"""
COLUMNS = (
    "Deposit Date,Lockbox,Batch,Item,Routing,Account,Check Number,Amount,"
    "Drawer Routing,Drawer Account,Remitter"
)


class LockboxFiles:
    """Writes the lists of chunk after chunk: a file per bank and chunk, or all into one file.

    put(name, data) appends bytes to the named file of the feed.
    """

    def __init__(self, put: Callable[[str, bytes], None], one_file: str = "") -> None:
        self._put = put
        self._one_file = one_file
        self._has_layout = False
        self._ordinal = 0
        self._serials: dict[int, int] = {}

    def put_layout(self) -> None:
        """Write the layout of the lists, once."""
        if not self._has_layout:
            self._put(LAYOUT_NAME, LAYOUT.encode("ascii"))
            self._has_layout = True

    def write(self, chunk: Chunk) -> None:
        """Write the chunk's checks; note file and ordinal on each. O(checks)."""
        if chunk.checks:
            self.put_layout()
        by_bank: dict[int, list[ListedCheck]] = {}
        for check in chunk.checks:
            by_bank.setdefault(check.payee.destination, []).append(check)
        for destination, checks in sorted(by_bank.items()):
            name = self._name(chunk, destination)
            rows = [] if self._ordinal else [COLUMNS]
            serial = self._serials.get(destination, 0)
            for number, check in enumerate(checks, 1):
                check.file, check.ordinal = name, self._ordinal
                self._ordinal += 1
                rows.append(_row(check, serial, number))
            self._put(name, ("\r\n".join(rows) + "\r\n").encode("ascii"))

    def _name(self, chunk: Chunk, destination: int) -> str:
        serial = self._serials.get(destination, 0) + 1
        self._serials[destination] = serial
        if self._one_file:
            return self._one_file
        self._ordinal = 0
        bank = chunk.world.destinations[destination]
        day = to_date(chunk.day).isoformat()
        return str(Path("lockbox", day, f"BOX{bank}-{serial:04d}.csv"))


def _row(check: ListedCheck, batch: int, item: int) -> str:
    dollars = f"{check.amount_cents // 100}.{check.amount_cents % 100:02d}"
    day = compact(check.day)
    return (
        f"{day[4:6]}/{day[6:]}/{day[:4]},{check.payee.number:06d},{batch},{item},"
        f"{check.payee.rdfi},{check.payee.account.strip()},{check.number},{dollars},"
        f"{check.payer.odfi},{check.drawer_account},{check.drawer_name}"
    )
