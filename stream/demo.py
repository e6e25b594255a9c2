"""`reassoc serve --demo`: a made-up week in a warehouse, at a pace that can be followed.

The week is a list of scenes: files that come, banking days that open, a person who decides. Each
scene is a real `serve --drain` on a real home, whose clock is the scene's. Where the files come
from is found by name (entry points of DEMO_GROUP), because generators sit above this layer.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reassoc.core.columns import Column
from reassoc.core.errors import ReassocError
from reassoc.core.statuses import PaymentStatus, RemittanceStatus
from reassoc.stream.asking import entry_of, find_asked
from reassoc.stream.clock import parse_as_of
from reassoc.stream.console import dollars
from reassoc.stream.home import Home
from reassoc.stream.home_tables import read_items
from reassoc.stream.items import item_name
from reassoc.stream.open_home import OpenHome
from reassoc.stream.outputs import check_free
from reassoc.stream.serve import Served
from reassoc.stream.serve_running import running
from reassoc.stream.state import State

DEMO_GROUP = "reassoc.demo"
"""An entry point of this group makes the feed: a function of a folder that gives the scenes."""
PACE_SECONDS = 2.3
SETTLED_SECONDS = 60
"""How long before its scene a file was last changed."""
DECIDER = "demo"

RULES = """\
# Release an 835 without money when its effective date is three banking days back.
default_release_banking_days = 3
"""

Sum = tuple[int, int]
"""Count and cents."""

_R, _P = RemittanceStatus, PaymentStatus
_HELD: Mapping[str, frozenset[RemittanceStatus]] = {
    "held: no money seen": frozenset({_R.AWAITING_EFT, _R.AWAITING_CHECK, _R.AWAITING_WIRE}),
    "held: matched, money not settled": frozenset({_R.MATCHED}),
    "held: a person decides": frozenset(
        {_R.PROBABLE, _R.MATCHED_VARIANCE, _R.DUPLICATE, _R.INVALID, _R.QUARANTINED}
    ),
}
"""Lines of the picture, and the statuses of the 835s that each counts."""
RELEASED, WENT_BACK = "released: may be posted", "its money went back"
PAYMENTS = "payments without an 835"
LINES = (*_HELD, RELEASED, WENT_BACK, PAYMENTS)
_STYLES = dict(zip(LINES, ("yellow", "cyan", "magenta", "bold green", "red", ""), strict=True))
_REMITTANCES = {**_HELD, RELEASED: {_R.RELEASED}, WENT_BACK: {_R.UNMATCHED_BY_RETURN}}

OPENING = """\
A clinic is paid by health plans. Each payment comes twice: as money (ACH, through the bank) and as
an explanation (an X12 835). An 835 may be posted when its money is there. Until then it is HELD;
it is MATCHED when its payment is known to the cent; it is RELEASED when that money has settled.
"""


class DemoError(ReassocError):
    """The demo cannot run; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A moment of the week.

    at : as `parse_as_of` takes it    what : what happens    note : what it means, for a stranger
    files : copied into in/, each with its name there
    decide : a person releases the largest 835 of this status; None: nobody decides
    why : their reason
    """

    at: str
    what: str
    note: str = ""
    files: Sequence[tuple[Path, str]] = ()
    decide: RemittanceStatus | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is in the warehouse: count and cents of each of LINES."""

    sums: dict[str, Sum] = field(default_factory=lambda: dict.fromkeys(LINES, (0, 0)))


@dataclass(slots=True)
class _Stage:
    """What the audience sees: a table that changes, where there is a terminal to draw on, and what
    happened above it."""

    console: Console
    live: Live | None
    pause: Callable[[], None]
    picture: Picture = field(default_factory=Picture)
    table: Table = field(default_factory=Table)

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style), soft_wrap=self.live is None)

    def show(self, picture: Picture, at: datetime) -> None:
        """The new picture."""
        before, self.picture = self.picture, picture
        self.table = _table(picture, before, at)
        if self.live is not None:
            self.live.update(self.table, refresh=True)
        self.pause()


def run_demo(
    console: Console,
    home: Path | None,
    workers: int | None = None,
    *,
    pace_seconds: float = PACE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Picture:
    """Play the week; what is in the warehouse at its end.

    home : a new folder, which is kept; None: one that goes again
    pace_seconds : how long each scene stays, 0 for no time at all

    Raises OutputError where `home` is taken, DemoError without a feed, KeyboardInterrupt where the
    audience has seen enough, and what serving raises.
    """
    if home is not None:
        check_free(home)
    make_feed = _feed_maker()
    with tempfile.TemporaryDirectory(prefix="reassoc-demo-") as folder:
        scenes = make_feed(Path(folder) / "feed")
        place = Home.create_or_open(home or Path(folder) / "home")
        place.rules_file.write_text(RULES)
        with _stage(console, pace_seconds, sleep) as stage:
            stage.say(OPENING)
            for scene in scenes:
                _play(scene, place, stage, workers)
        _end(console, home, stage.picture)
        return stage.picture


def _feed_maker() -> Callable[[Path], Sequence[Scene]]:
    points = sorted(entry_points(group=DEMO_GROUP), key=lambda point: point.name)
    if not points:
        raise DemoError(
            f"no installed package makes a feed (entry point {DEMO_GROUP}): install reassoc again"
        )
    try:
        made: Callable[[Path], Sequence[Scene]] = points[0].load()
    except ImportError as error:
        raise DemoError(f"{points[0].value} could not be loaded: {error}") from error
    return made


@contextmanager
def _stage(
    console: Console, pace_seconds: float, sleep: Callable[[float], None]
) -> Iterator[_Stage]:
    def pause() -> None:
        if pace_seconds:
            sleep(pace_seconds)

    if not console.is_terminal:
        stage = _Stage(console, None, pause)
        yield stage
        console.print(stage.table)
        return
    # Drawn when something has changed: nothing here moves by itself.
    with Live(console=console, auto_refresh=False) as live:
        yield _Stage(console, live, pause)


# ---- scenes ----


def _play(scene: Scene, place: Home, stage: _Stage, workers: int | None) -> None:
    """Let the warehouse do what a scene is about, and tell what became of it."""
    at = parse_as_of(scene.at)
    stage.say(f"{at:%a %d %b %H:%M}  {scene.what}", "bold")
    for path, name in scene.files:
        _drop(path, place.inbox / name, at)
    with running(place, "reassoc serve --demo", workers, stage.say, now=lambda: at) as (
        opened,
        server,
    ):
        if scene.decide is not None:
            stage.say(f"      {_decide(scene, opened)}")
        files_before = _released_files(place)
        served = server.drain(at)
        if server.is_stopped:
            raise KeyboardInterrupt
        picture = take_picture(opened.state)
    for line in _outcome(served, stage.picture, picture):
        stage.say(f"      {line}")
    fresh = _released_files(place) - files_before
    if fresh:
        folders = ", ".join(sorted({f"released/{path.parent.name}" for path in fresh}))
        stage.say(f"      -> {_many(len(fresh), 'file', 'files')} in {folders}", "green")
    if scene.note:
        stage.say(f"      {scene.note}", "dim")
    stage.show(picture, at)


def _drop(path: Path, target: Path, at: datetime) -> None:
    shutil.copyfile(path, target)
    changed = at.timestamp() - SETTLED_SECONDS
    os.utime(target, (changed, changed))


def _released_files(place: Home) -> set[Path]:
    return set(place.released.glob("[!.]*/*.x12"))


def _decide(scene: Scene, opened: OpenHome) -> str:
    """A person releases the largest 835 of a status; what they said of it."""
    rows = read_items(opened.state, opened.state.tenants()).remittances
    found = np.flatnonzero(rows["status"] == scene.decide)
    row = int(found[np.argmax(rows["paid_cents"][found])])
    name = int(rows["id_digest"][row]), int(rows["id_offset"][row])
    for tenant, asked in find_asked(opened.state, [name], opened.state.tenants()).items():
        number = secrets.token_hex(8)
        entry = entry_of("release", asked, number=number, who=DECIDER, why=scene.why)
        opened.log.append([(tenant, entry)])
    dollars_paid = dollars(int(rows["paid_cents"][row]))
    return f'reassoc decide release --item {item_name(*name)} --why "{scene.why}" (${dollars_paid})'


def take_picture(state: State) -> Picture:
    """What is in a warehouse now. O(items), all in memory."""
    items = read_items(state, state.tenants())
    left, right = items.remittances, items.payments
    sums = {
        line: _sum(left["status"], left["paid_cents"], statuses)
        for line, statuses in _REMITTANCES.items()
    }
    waiting = {_P.UNMATCHED, _P.SUGGESTED}
    sums[PAYMENTS] = _sum(right["status"], right["amount_cents"], waiting)
    return Picture(sums)


def _sum(status: Column, cents: Column, wanted: Collection[int]) -> Sum:
    rows = np.isin(status, [int(one) for one in wanted])
    return int(rows.sum()), int(cents[rows].sum())


# ---- words ----


def _outcome(served: Served, before: Picture, after: Picture) -> Iterator[str]:
    """What came and what changed, in words."""
    taken = served.taken
    if taken.remittance_count:
        came = _many(taken.remittance_count, "835 came", "835s came")
        yield f"{came}, ${dollars(taken.remittance_cents)}"
    if taken.payment_count:
        came = _many(taken.payment_count, "ACH entry came", "ACH entries came")
        yield f"{came}, ${dollars(taken.payment_cents)}" if taken.payment_cents else came
    if taken.copy_count:
        yield "a copy of a file that came before: nothing of it counts"
    for line in LINES:
        more = after.sums[line][0] - before.sums[line][0]
        if more:
            cents = after.sums[line][1] - before.sums[line][1]
            sign = "+" if more > 0 else "-"
            yield f"{line}: {sign}{abs(more):,} (${dollars(abs(cents))})"


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _table(picture: Picture, before: Picture, at: datetime) -> Table:
    table = Table(title=f"{at:%A %d %B %Y, %H:%M} in New York", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("count", "dollars", "change"):
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    for line in LINES:
        count, cents = picture.sums[line]
        more = count - before.sums[line][0]
        change = f"{more:+,}" if more else ""
        table.add_row(line, f"{count:,}", dollars(cents), change, style=_STYLES[line])
    return table


def _end(console: Console, home: Path | None, picture: Picture) -> None:
    released, cents = picture.sums[RELEASED]
    waiting = sum(picture.sums[line][0] for line in _HELD)
    text = (
        f"\nThe week is over: {released:,} 835s (${dollars(cents)}) may be posted, {waiting:,} are "
        f"open, {picture.sums[PAYMENTS][0]:,} payments wait for an 835."
    )
    if home is None:
        text += "\nIts folder is gone; with --home DIR it is kept, to look around in."
    else:
        text += f"""
Look around:
  reassoc open --home {home}                      what waits, by age
  reassoc history TRACE --home {home}             all that became of an item
  reassoc status --home {home}                    how the warehouse is
  reassoc report --home {home} --html week.html   the week on a page
  reassoc audit verify --home {home}              nothing in the ledger was changed
  reassoc serve --home {home}                     go on: put files into {home / "in"}"""
    console.print(Text(text), soft_wrap=True)
