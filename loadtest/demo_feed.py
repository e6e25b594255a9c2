"""The feed of `reassoc serve --demo`: a small week of a clinic, as scenes that the stream plays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from reassoc.core.statuses import RemittanceStatus
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream.demo import Scene

DEMO_OPTIONS = FeedOptions(
    payments=90,
    seed=5,
    claims=2.0,
    days=3,
    start_date=date(2026, 3, 17),
    ctx_per_mille=0,
    directory=False,
    rates_ppm={
        "amount_variance": 30_000,
        "bulk_shared_trace": 30_000,
        "duplicate_remittance": 30_000,
        "missing_payment": 40_000,
        "missing_remittance": 30_000,
        "returned": 40_000,
        "zero_pay": 50_000,
    },
)
"""Payments settle on Tuesday, Wednesday and Thursday; the 835s come a day ahead."""

MON, TUE, WED, THU, FRI = (f"2026-03-{day}" for day in range(16, 21))


def make_demo_feed(folder: Path) -> list[Scene]:
    """Make the feed in a new folder; the scenes of the week, whose files lie there."""
    generate_feed(folder, DEMO_OPTIONS)
    return [*_first_days(folder), *_last_days(folder)]


def _files(folder: Path, kind: str, day: str, pattern: str) -> list[tuple[Path, str]]:
    return [(path, path.name) for path in sorted((folder / kind / day).glob(pattern))]


def _first_days(folder: Path) -> Iterator[Scene]:
    yield Scene(
        f"{MON}T09:30",
        "Payers send 835s: what they say that they pay tomorrow",
        "Nobody posts these yet: saying is not paying. Two look like copies: a person decides.",
        _files(folder, "835", TUE, "*"),
    )
    yield Scene(
        f"{MON}T20:00",
        "The bank hands over the ACH entries that settle tomorrow",
        "Same trace, payer and cents, unique both ways: matched. The money is not there yet.",
        _files(folder, "ach", TUE, "BANK*"),
    )
    yield Scene(
        f"{TUE}T08:30",
        "The banking day opens: today's credits are final",
        "Now the money is there: what is matched to the cent is released, byte for byte.",
    )
    first, name = _files(folder, "835", TUE, "*")[0]
    yield Scene(
        f"{TUE}T09:00",
        "A payer sends a file of yesterday once more, under another name",
        "The same content is known by its digest. Nothing is posted twice.",
        [(first, f"AGAIN-{name}")],
    )
    yield Scene(
        f"{TUE}T09:30",
        "More 835s; some of them pay nothing",
        "Where nothing was paid no money is awaited: a zero pay is released at once.",
        _files(folder, "835", WED, "*"),
    )
    yield Scene(
        f"{TUE}T14:00",
        "The bank tells of returned entries",
        "What was released lost its money: its books are open again, and people are alerted.",
        _files(folder, "ach", TUE, "RETURNS*"),
    )
    yield Scene(
        f"{TUE}T20:00",
        "ACH entries of tomorrow",
        "",
        _files(folder, "ach", WED, "BANK*"),
    )


def _last_days(folder: Path) -> Iterator[Scene]:
    yield Scene(f"{WED}T08:30", "The banking day opens")
    yield Scene(
        f"{WED}T10:15",
        "A person looks at an 835 whose payment differs in amount, and releases it",
        "What differs by a cent is never guessed. Who decided, and why, stays in the ledger.",
        decide=RemittanceStatus.MATCHED_VARIANCE,
        why="the payer confirmed a fee by phone",
    )
    yield Scene(
        f"{WED}T11:00",
        "More 835s",
        "",
        _files(folder, "835", THU, "*"),
    )
    yield Scene(
        f"{WED}T20:00",
        "ACH entries of tomorrow",
        "",
        _files(folder, "ach", THU, "BANK*"),
    )
    yield Scene(f"{THU}T08:30", "The banking day opens")
    yield Scene(
        f"{THU}T14:00",
        "Another return",
        "",
        _files(folder, "ach", THU, "RETURNS*"),
    )
    yield Scene(
        f"{FRI}T08:30",
        "Three banking days after Tuesday, some of Tuesday's money has not come",
        "This clinic's warehouse.toml says not to wait longer: released without money, and told.",
    )
