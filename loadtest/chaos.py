"""A warehouse that is killed all the time, held against one that is left in peace: `make chaos`.

    python -m reassoc.loadtest.chaos --seed 7 --kills 300 --payments 2000 --work build/chaos

A feed with defects is cut into phases by the dates of its files. Both homes get the files of a
phase, the serving processes of the one are killed (SIGKILL) meanwhile, at any time and aimed: soon
after the start, in the middle of commits, while a file is released. At a phase's end both homes
must know the same; then people decide the same things in both. See docs/CHAOS.md.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import typer

from reassoc.core.statuses import MatchStatus
from reassoc.loadtest.chaos_compare import (
    Picture,
    Row,
    broken_laws,
    differences,
    read_picture,
)
from reassoc.loadtest.chaos_feed import ChaosError, Delivery, Feeder, phases_of
from reassoc.loadtest.chaos_process import SESSION_S_MAX, Processes
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream.home import Home
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import DecisionEntry, DecisionKind
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.items import ItemFlag, id_bytes
from reassoc.stream.sqlite_file import SqliteFile

CLAIMS_MEAN = 1.5
SESSIONS_PER_KILL_MAX = 4
WHO = "chaos"
ITEM_TABLES = ("remittances", "payments", "sources")
Mode = Literal["clock", "match"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of."""

    seed: int
    kills: int
    payments: int
    phases: int = 5
    mode: Mode = "clock"


@dataclass(slots=True)
class Result:
    """What came of a run. kills : by what was going on"""

    kills: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0
    decisions: int = 0
    released: int = 0
    wrong: list[str] = field(default_factory=list)


# ---- people ----


def decide(home: Path, seen: Picture, rng: random.Random, phase: int) -> int:
    """Log decisions of people, see `decisions_of`; how many."""
    place = Home.open(home)
    entries = decisions_of(seen, rng, phase)
    with closing(SqliteFile(place.state_file)) as file:
        HomeLog(SqliteItemLog(file, lambda: "2026-01-01T00:00:00.000+00:00")).append(entries)
    return len(entries)


def decisions_of(seen: Picture, rng: random.Random, phase: int) -> list[tuple[str, DecisionEntry]]:
    """Decisions of people: chosen by what a warehouse knows, so equal ones get equal ones."""
    remittances = sorted(seen["remittances"].items())
    released = [key for key, row in remittances if row["flags"] & ItemFlag.RELEASED]
    held = [key for key, row in remittances if row["flags"] == ItemFlag.HELD]
    waiting = [key for key, row in remittances if not row["flags"]]
    pairs = [pair for _, pair in sorted(seen["pairs"].items(), key=lambda pair: pair[0])]
    owners = [key[0] for key, _ in sorted(seen["pairs"].items(), key=lambda pair: pair[0])]
    entries: list[tuple[str, DecisionEntry]] = []

    def add(kind: DecisionKind, tenant: str, **more: Any) -> None:
        number = f"chaos-{phase}-{len(entries)}"
        entries.append((tenant, DecisionEntry(kind, number, WHO, "because", **more)))

    kinds: list[tuple[DecisionKind, list[tuple[Any, ...]], int]] = [
        ("hold", waiting, 2), ("unhold", held, 1), ("release", waiting, 1), ("void", waiting, 1),
        ("resend", released, 1),
    ]  # fmt: skip
    for kind, keys, count in kinds:
        for tenant, name in rng.sample(keys, min(count, len(keys))):
            add(kind, tenant, remittances=bytes.fromhex(name))
    numbered = list(zip(owners, pairs, strict=True))
    made = [one for one in numbered if one[1]["status"] == MatchStatus.AUTO]
    asked = [one for one in numbered if one[1]["status"] == MatchStatus.REVIEW]
    for tenant, pair in rng.sample(made, min(2, len(made))):
        add("unmatch", tenant, match_id=pair["match_id"])
    for tenant, pair in rng.sample(asked, min(2, len(asked))):
        add("match", tenant, remittances=_id(pair, "remittance"), payments=_id(pair, "payment"),
            difference_cents=pair["difference_cents"])  # fmt: skip
    return entries


def _id(pair: dict[str, Any], side: str) -> bytes:
    digest = np.array([pair[f"{side}_digest"]], np.uint64)
    return id_bytes(digest, np.array([pair[f"{side}_offset"]], np.int64)).tobytes()


# ---- a run ----


def run(plan: Plan, work: Path, say: Callable[[str], None]) -> Result:
    """One run in the new folder `work`. Raises ChaosError where it cannot be made."""
    rng = random.Random(plan.seed)
    feed, result = work / "feed", Result()
    options = FeedOptions(plan.payments, seed=plan.seed, claims=CLAIMS_MEAN, defects=True)
    generate_feed(feed, options)
    phases = phases_of(feed, rng, plan.phases)
    result.deliveries = sum(len(deliveries) for _, deliveries in phases)
    homes = [Processes(_new_home(work / name, feed, plan.mode)) for name in ("killed", "quiet")]
    killed, quiet = homes
    before = (phases[0][0] - timedelta(days=1)).isoformat()
    for home in homes:
        home.rest(before)
    for number, (day, deliveries) in enumerate(phases):
        end = day.isoformat()
        wanted = plan.kills * (number + 1) // len(phases) - result.kills.total()
        _hunt_phase(killed, deliveries, wanted, (before, end), rng, result)
        Feeder(quiet.home / "in", deliveries, random.Random(0), 0).finish()
        quiet.rest(end)
        _decide_in_both(homes, plan, number, rng, result)
        say(f"phase {number + 1} of {len(phases)}: {result.kills.total()} kills")
        if result.wrong:
            return result
        before = end
    last = (phases[-1][0] + timedelta(days=21)).isoformat()
    _hunt_phase(killed, (), 0, (before, last), rng, result)
    quiet.rest(last)
    _compare(homes, plan, "at the end", result)
    for home in homes:
        result.wrong += [f"{home.home.name}: {line}" for line in broken_laws(home.home)]
    result.released = len(read_picture(killed.home)["released"])
    return result


def _new_home(home: Path, feed: Path, mode: Mode) -> Path:
    (home / "in").mkdir(parents=True)
    (home / "layouts").mkdir()
    (home / "warehouse.toml").write_text(f'release_at = "{mode}"\n')
    shutil.copyfile(feed / "directory.toml", home / "directory.toml")
    if (feed / "policy.toml").exists():
        shutil.copyfile(feed / "policy.toml", home / "policy.toml")
    for path in feed.glob("*.layout.toml"):
        shutil.copyfile(path, home / "layouts" / path.name)
    return home


def _hunt_phase(
    home: Processes,
    deliveries: Sequence[Delivery],
    wanted: int,
    moments: tuple[str, str],
    rng: random.Random,
    result: Result,
) -> None:
    """Feed a phase while processes are killed, then drain it while more of them are, then rest."""
    before, end = moments
    shuffled = rng.sample(deliveries, len(deliveries))
    feeder = Feeder(home.home / "in", shuffled, rng, SESSION_S_MAX * wanted / (len(shuffled) + 1))
    goal = result.kills.total() + wanted
    middle = goal - wanted // 2
    for _ in range(SESSIONS_PER_KILL_MAX * wanted):
        if result.kills.total() >= goal:
            break
        is_feeding = result.kills.total() < middle and len(feeder)
        if not is_feeding:
            feeder.finish()
        drain = ["--drain"] if not is_feeding or rng.random() < 0.6 else []
        as_of = before if is_feeding else end
        going_on = home.hunt(rng, [*drain, "--as-of", as_of], feeder if is_feeding else None)
        if going_on:
            result.kills[going_on] += 1
    feeder.finish()
    home.rest(end)


def _decide_in_both(
    homes: Sequence[Processes], plan: Plan, phase: int, rng: random.Random, result: Result
) -> None:
    if plan.mode == "clock":
        _compare(homes, plan, f"after phase {phase + 1}", result)
    seed = rng.random()
    for home in homes if plan.mode == "clock" else homes[:1]:
        seen = read_picture(home.home)
        result.decisions += decide(home.home, seen, random.Random(seed), phase)


def _compare(homes: Sequence[Processes], plan: Plan, when: str, result: Result) -> None:
    killed, quiet = (read_picture(home.home) for home in homes)
    if plan.mode == "match":
        # Which items there are hangs on no order; what became of them may.
        quiet, killed = _names_alone(quiet), _names_alone(killed)
    result.wrong += [f"{when}: {line}" for line in differences(quiet, killed)]


def _names_alone(seen: Picture) -> Picture:
    tables = {name: dict.fromkeys(seen[name], Row()) for name in ITEM_TABLES}
    return Picture(tables, seen.day)


# ---- the command ----


def main(
    work: Annotated[Path, typer.Option(help="A new folder for feed and homes.")],
    seed: Annotated[int, typer.Option(help="Of the feed and of all chances.")] = 1,
    kills: Annotated[int, typer.Option(min=0, help="Processes to kill.")] = 20,
    payments: Annotated[int, typer.Option(min=10, help="Payments of the feed.")] = 120,
    phases: Annotated[int, typer.Option(min=1, help="At whose ends both homes are at rest.")] = 5,
    release_at: Annotated[
        str, typer.Option(help="clock: held against a quiet run. match: the laws only.")
    ] = "clock",
    record: Annotated[
        Path | None, typer.Option(help="File that a line about the run is appended to.")
    ] = None,
) -> None:
    """Kill a warehouse again and again, and compare; 1 for any difference."""
    if release_at not in ("clock", "match"):
        raise typer.BadParameter("clock or match", param_hint="--release-at")
    if work.exists():
        raise typer.BadParameter(f"{work} is there already", param_hint="--work")
    work.mkdir(parents=True)
    plan = Plan(seed, kills, payments, phases, "clock" if release_at == "clock" else "match")
    began = time.monotonic()
    try:
        result = run(plan, work, typer.echo)
    except ChaosError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    seconds = round(time.monotonic() - began)
    line = {
        "commit": commit_of(),
        "seed": seed,
        "mode": plan.mode,
        "kills": result.kills.total(),
        "by": dict(sorted(result.kills.items())),
        "payments": payments,
        "files": result.deliveries,
        "decisions": result.decisions,
        "released": result.released,
        "seconds": seconds,
        "result": "wrong" if result.wrong else {"clock": "equal", "match": "lawful"}[plan.mode],
    }
    typer.echo(msgspec.json.encode(line).decode())
    for wrong in result.wrong:
        typer.echo(wrong)
    if record is not None:
        with record.open("ab") as out:
            out.write(msgspec.json.encode(line) + b"\n")
    if result.wrong or result.kills.total() < kills:
        raise typer.Exit(1)


def commit_of() -> str:
    """The commit that this program is of, short."""
    folder = Path(__file__).parent
    answer = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return answer.stdout.strip() or "unknown"


if __name__ == "__main__":
    typer.run(main)
