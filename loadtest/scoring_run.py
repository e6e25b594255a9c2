"""Many feeds made, matched and scored: `make score`.

Every seed of every profile is a feed of its own, made in a scratch folder that is removed once it
is scored. Ends with 1 where a target is missed in a profile, over all its seeds.

    python -m reassoc.loadtest.scoring_run --seeds 10 --payments 100000 --work build/score
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from reassoc.core.policy import Policy
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.loadtest.score import Score, score_result
from reassoc.loadtest.score_cli import show_score, to_json
from reassoc.stream.job import run_match
from reassoc.stream.layouts import load_layout
from reassoc.stream.settings import load_policy, read_directory

PROFILES = ("default", "adversarial")
AS_OF = date(2026, 12, 31)
"""Long after the last payment of a feed has settled."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One feed to score. claims: mean number per remittance; few keep it quick."""

    profile: str
    seed: int
    payments: int
    claims: float = 1.2


def run_trial(trial: Trial, work: Path, worker_count: int = 1) -> Score:
    """Make a feed under `work`, match it with its directory and policy, score it, remove it."""
    with tempfile.TemporaryDirectory(dir=work, prefix=f"{trial.profile}-{trial.seed}-") as scratch:
        feed, out = Path(scratch) / "feed", Path(scratch) / "out"
        generate_feed(
            feed,
            FeedOptions(
                payments=trial.payments,
                seed=trial.seed,
                claims=trial.claims,
                profile=trial.profile,
            ),
        )
        policy, directory = feed / "policy.toml", feed / "directory.toml"
        run_match(
            [feed],
            out,
            as_of=AS_OF,
            policy=load_policy(policy) if policy.exists() else Policy(),
            directory=read_directory(directory) if directory.exists() else None,
            layouts=[load_layout(path) for path in sorted(feed.glob("*.layout.toml"))],
            worker_count=worker_count,
        )
        return score_result(out, feed)


def run_trials(
    trials: Sequence[Trial], work: Path, processes: int, done: Callable[[Trial, Score], None]
) -> dict[str, Score]:
    """Scores by profile, of all its seeds together; `done` hears of each trial as it ends."""
    work.mkdir(parents=True, exist_ok=True)
    totals: dict[str, Score] = {}
    for trial, score in _scores(trials, work, processes):
        done(trial, score)
        known = totals.get(trial.profile)
        totals[trial.profile] = score if known is None else known + score
    return {profile: totals[profile] for profile in dict.fromkeys(t.profile for t in trials)}


def _scores(trials: Sequence[Trial], work: Path, processes: int) -> Iterator[tuple[Trial, Score]]:
    if processes == 1:
        for trial in trials:
            yield trial, run_trial(trial, work)
        return
    # Spawned: a forked child would inherit the threads' locks of a run before it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = {pool.submit(run_trial, trial, work): trial for trial in trials}
        for future in as_completed(futures):
            yield futures[future], future.result()


def main(
    seeds: Annotated[
        int, typer.Option(min=1, help="Feeds per profile, seeds from --first on.")
    ] = 10,
    payments: Annotated[int, typer.Option(min=1, help="Payments per feed.")] = 100_000,
    claims: Annotated[float, typer.Option(help="Mean number of claims per remittance.")] = 1.2,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Feeds at a time.")] = 2,
    work: Annotated[Path, typer.Option(help="Folder for feeds and score.json.")] = Path(
        "build/score"
    ),
) -> None:
    """Score many generated feeds, of the default defects and of look-alikes; 1 for a miss."""
    console = Console()
    trials = [
        Trial(profile, seed, payments, claims)
        for seed in range(first, first + seeds)
        for profile in PROFILES
    ]
    console.print(
        f"{seeds} seeds ({first} to {first + seeds - 1}) of {payments:,} payments, "
        f"profiles {' and '.join(PROFILES)}, {processes} at a time"
    )
    began = time.monotonic()

    def done(trial: Trial, score: Score) -> None:
        console.print(Text(f"{time.monotonic() - began:6.0f} s  {_line(trial, score)}"))

    totals = run_trials(trials, work, processes, done)
    for profile, score in totals.items():
        console.rule(f"profile {profile}, {seeds} seeds together")
        show_score(console, score)
        (work / f"score-{profile}.json").write_text(to_json(score))
    if any(score.failures() for score in totals.values()):
        sys.exit(1)


def _line(trial: Trial, score: Score) -> str:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.3%}"

    return (
        f"{trial.profile} seed {trial.seed}: wrong {score.wrong.count:,} of {score.precision.of:,} "
        f"automatic; automatic {share(score.auto_share.share)}, "
        f"review {share(score.review_share.share)}, ties {share(score.tie_share.share)}"
    )


if __name__ == "__main__":
    typer.run(main)
