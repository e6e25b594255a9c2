"""What `reassoc serve` shows when it ends."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from reassoc.stream.console import dollars
from reassoc.stream.open_home import OpenHome
from reassoc.stream.serve import Served


def show_served(console: Console, opened: OpenHome, served: Served) -> None:
    """What came, what was done with it, what waits."""
    taken, counts = served.taken, opened.book.counts()
    table = Table(show_header=False, show_edge=False, pad_edge=False, box=None)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("")

    def row(name: str, count: int, more: str = "") -> None:
        table.add_row(name, f"{count:,}", more)

    row("files taken", taken.file_count, f"{taken.byte_count / 1e6:,.1f} MB")
    if taken.copy_count:
        row("  copies of earlier ones", taken.copy_count, "nothing of them counts twice")
    if taken.refused_count:
        row("files refused", taken.refused_count, f"see {opened.home.refused}")
    row("remittances", taken.remittance_count, dollars(taken.remittance_cents))
    row("payments", taken.payment_count, f"{dollars(taken.payment_cents)} in credits")
    row("files released", served.delivered_count, f"of {counts.file_count:,} in all")
    if served.undelivered_count:
        row("files not delivered", served.undelivered_count, "see reassoc status")
    console.print(table)
    clock = opened.log.clock
    if clock is not None:
        console.print(f"Last {clock.kind} of a banking day: {clock.as_of}")
    console.print(
        f"What waits: reassoc open --home {opened.home.path}", highlight=False, soft_wrap=True
    )
