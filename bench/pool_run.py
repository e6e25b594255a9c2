"""Match a kept pool once, in a process of its own, and say how long each stage took.

python bench/pool_run.py POOL     prints one line of JSON; memory is what the process had at most
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from pool_feed import load_pool

from reassoc.core.directory import load_directory
from reassoc.core.match import Matches, match
from reassoc.core.statuses import MatchStatus
from reassoc.loadtest.score import AUTO, REVIEW
from reassoc.stream.calendar import federal_reserve_calendar

AS_OF = 20600
ROUNDS = 3


class Marks:
    """When each stage began."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, float]] = [("pools", time.perf_counter())]

    def put(self, name: str) -> None:
        self._begun.append((name, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, and `total`."""
        stages = {
            name: stop - start
            for (name, start), (_, stop) in zip(self._begun, self._begun[1:], strict=False)
        }
        return {**stages, "total": sum(stages.values())}


def _count_wrong(matches: Matches, truth: np.ndarray) -> tuple[int, int, int]:
    """Automatic pairs that are right, those that are not, and how many the truth lets be."""
    width = len(matches.payments) + 1
    fair = truth[(truth[:, 2] == AUTO) | (truth[:, 2] == REVIEW)].astype(np.int64)
    known = fair[:, 0] * width + fair[:, 1]
    sure = matches.status == MatchStatus.AUTO
    pairs = matches.remittance[sure].astype(np.int64) * width + matches.payment[sure]
    right = int(np.isin(pairs, known).sum())
    return right, len(pairs) - right, int((truth[:, 2] == AUTO).sum())


def _memory_peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    remittances, payments, directory_text, truth = load_pool(Path(sys.argv[1]))
    directory = load_directory(directory_text)
    calendar = federal_reserve_calendar()
    best: dict[str, float] = {}
    matches = None
    for _ in range(ROUNDS):
        del matches  # or the next round would stand beside it
        marks = Marks()
        matches = match(
            remittances, payments, calendar=calendar, as_of=AS_OF, directory=directory,
            on_stage=marks.put,
        )  # fmt: skip
        marks.put("end")
        seconds = marks.seconds()
        if not best or seconds["total"] < best["total"]:
            best = seconds
    right, wrong, fair = _count_wrong(matches, truth)
    print(
        json.dumps(
            {
                "remittances": len(remittances),
                "payments": len(payments),
                "seconds": {name: round(value, 4) for name, value in best.items()},
                "memory_peak_bytes": _memory_peak_bytes(),
                "automatic_right": right,
                "automatic_wrong": wrong,
                "automatic_fair": fair,
            }
        )
    )


if __name__ == "__main__":
    main()
