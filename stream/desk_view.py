"""Tables of a warehouse on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reassoc.stream.ageing import BUCKET_NAMES, AgeBucket
from reassoc.stream.console import PAYMENT_MEANINGS, REMITTANCE_MEANINGS, dollars
from reassoc.stream.desk_filters import status_name
from reassoc.stream.ledger_item import FoundItem, HistoryEvent
from reassoc.stream.ledger_rows import ItemSide
from reassoc.stream.ledger_views import OpenList, OpenTotal
from reassoc.stream.release_book import ReleaseCounts
from reassoc.stream.table import iso_date

if TYPE_CHECKING:
    from reassoc.stream.desk_commands import Status

_TITLES = {ItemSide.REMITTANCE: "Remittances (835)", ItemSide.PAYMENT: "Payments"}
_MEANINGS = {ItemSide.REMITTANCE: REMITTANCE_MEANINGS, ItemSide.PAYMENT: PAYMENT_MEANINGS}
ACCOUNT_SHOWN = 4
"""Last characters of an account that are shown."""


def _table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    return table


def show_status(console: Console, status: Status) -> None:
    """Who serves, what time it is, what waits, what is open."""
    serving = f"served by {status.serving}" if status.serving else "nobody serves it"
    console.print(Text(f"{status.home}: {serving}"), soft_wrap=True)
    if status.held is not None:
        console.print(Text(f"Releases are held ({status.held}): reassoc resume lets them go on"))
    if status.clock is None:
        console.print("No banking day has opened yet.")
    else:
        console.print(Text(f"Last {status.clock.kind}: {status.clock.as_of}"))
    console.print()
    table = _table("tenant", "to match", "to write", numbers=("to match", "to write"))
    for tenant in status.tenants:
        table.add_row(tenant.tenant, f"{tenant.entries:,}", f"{tenant.outbox:,}")
    console.print(table)
    show_released(console, status.released)
    show_totals(console, status.open.totals)


def show_released(console: Console, released: ReleaseCounts) -> None:
    """How far releases are."""
    console.print(
        f"\nReleased: {released.item_count:,} remittances in {released.file_count:,} files, "
        f"{dollars(released.cents)} dollars; not delivered yet: "
        f"{released.waiting_file_count:,} files\n"
    )


def show_totals(console: Console, totals: Sequence[OpenTotal]) -> None:
    """What is open by status, and by age."""
    for side in ItemSide:
        of_side = [total for total in totals if total.side == side]
        if not of_side:
            continue
        table = _table(f"Open: {_TITLES[side]}", "count", "dollars", numbers=("count", "dollars"))
        table.add_column("meaning")
        for status in sorted({total.status for total in of_side}):
            cells = [total for total in of_side if total.status == status]
            name = status_name(side, status)
            table.add_row(
                f"  {name.replace('_', ' ')}", *_sums(cells), _MEANINGS[side].get(name, "")
            )
        table.add_row("  all", *_sums(of_side), "", style="bold")
        console.print(table)
        ages = _table("  banking days", "count", "dollars", numbers=("count", "dollars"))
        for bucket in AgeBucket:
            cells = [total for total in of_side if total.bucket == bucket]
            if cells:
                ages.add_row(f"  {BUCKET_NAMES[bucket]}", *_sums(cells))
        console.print(ages)
        console.print()


def _sums(totals: Sequence[OpenTotal]) -> tuple[str, str]:
    count = sum(total.count for total in totals)
    return f"{count:,}", dollars(sum(total.cents for total in totals))


def show_open(console: Console, found: OpenList) -> None:
    """The list, and the totals of all that fits."""
    if found.rows:
        console.print(_open_table(found, console.width))
        count = sum(total.count for total in found.totals)
        if count > len(found.rows):
            console.print(f"... {count - len(found.rows):,} more: see --limit, --csv")
        console.print()
    show_totals(console, found.totals)
    if not found.totals:
        console.print("Nothing is open that fits.")


TRACE_COLUMNS_MIN = 100
"""Width of a terminal from which on the open list has room for traces."""


def _open_table(found: OpenList, width: int) -> Table:
    """What people type, and numbers, are never cut; a narrow terminal has no room for traces."""
    numbers = ("days", "dollars")
    names = ["item", "status", "days", "dollars", "date", "trace", "payer"]
    if width < TRACE_COLUMNS_MIN:
        names.remove("trace")
    table = _table(*names, numbers=numbers)
    table.columns[1].no_wrap = table.columns[-1].no_wrap = False
    for row in found.rows:
        cells: dict[str, str | Text] = {
            "item": row.name,
            "status": status_name(row.side, row.status).replace("_", " "),
            "days": "" if row.age_banking_days is None else str(row.age_banking_days),
            "dollars": dollars(row.cents),
            "date": iso_date(row.day),
            "trace": Text(row.trace),
            "payer": Text(row.payer_name or row.payer_id),
        }
        table.add_row(*(cells[name] for name in names))
    return table


def show_others(console: Console, found: Sequence[FoundItem]) -> None:
    """Other items that a search found."""
    others = "1 other item is" if len(found) == 1 else f"{len(found)} other items are"
    console.print(f"\n{others} found by this:")
    table = _table("item", "tenant", "side", "dollars", "date", numbers=("dollars",))
    for item in found:
        side = item.side.name.lower()
        table.add_row(item.name, item.tenant, side, dollars(item.cents), iso_date(item.day))
    console.print(table)


def show_history(console: Console, item: FoundItem, events: Sequence[HistoryEvent]) -> None:
    """An item, and all that became of it."""
    payer = item.payer_name or item.payer_id
    console.print(
        Text(
            f"{item.side.name.capitalize()} {item.name} of {item.tenant}: "
            f"{dollars(item.cents)} dollars, {iso_date(item.day) or 'no date'}, "
            f"trace {item.trace or 'none'}, payer {payer or 'unknown'}"
        ),
        soft_wrap=True,
    )
    names = ["when", "tenant", "by", "what"]
    if len({event.tenant for event in events}) < 2:
        names.remove("tenant")
    table = _table(*names)
    table.columns[-1].no_wrap = False
    for event in events:
        cells: dict[str, str | Text] = {
            "when": event.as_of[:16].replace("T", " "),
            "tenant": Text(event.tenant),
            "by": event.cause,
            "what": Text(_words(event)),
        }
        table.add_row(*(cells[name] for name in names))
    console.print(table)


def _words(event: HistoryEvent) -> str:
    words = [event.text]
    if event.other:
        words.append(f"with {event.other}")
    if event.match_id:
        words.append(f"match {event.match_id:016x}")
    if event.file:
        words.append(event.file)
    for decision in event.decisions:
        who = decision.who or "somebody (erased)"
        words.append(f"{who} decided {decision.kind}: {decision.why or '(erased)'}")
    return "; ".join(words)
