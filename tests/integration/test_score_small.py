"""The targets of `make score`, on small feeds: two seeds of both profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from reassoc.loadtest.score import Score
from reassoc.loadtest.score_cli import to_json
from reassoc.loadtest.scoring_run import PROFILES, Trial, run_trials

SEEDS = (101, 102)
PAYMENTS = 3_000


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_is_wrong_and_the_targets_hold(profile: str, tmp_path: Path) -> None:
    trials = [Trial(profile, seed, PAYMENTS) for seed in SEEDS]

    def show(trial: Trial, score: Score) -> None:
        print(f"{trial}: {score.wrong.count} wrong, {score.failures()}")

    (total,) = run_trials(trials, tmp_path, 1, show).values()
    assert total.failures() == [], to_json(total)
    assert total.precision.of > PAYMENTS
    assert list(tmp_path.iterdir()) == []
