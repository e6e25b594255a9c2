"""A national banking day's pool with its defects: all tiers, memory, and where the time goes.

Each pool is matched in a process of its own, so that memory is that of the matching and its pool.
Making the large pool takes minutes; it is kept in build/bench for the next run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pool_feed import pool_path

HERE = Path(__file__).parent
KEPT = HERE.parent / "build" / "bench"
LARGE = int(os.environ.get("REASSOC_BENCH_POOL", "2200000"))
SMALL = LARGE // 100
SECONDS_MAX = 10.0 * LARGE / 2_200_000
MEMORY_MAX_BYTES = 2 << 30
RATIO_MAX = 2.0
AUTOMATIC_MIN = 0.995


def _run(rows: int) -> dict[str, Any]:
    line = subprocess.run(
        [sys.executable, str(HERE / "pool_run.py"), str(pool_path(rows, KEPT))],
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE,
    ).stdout
    figures: dict[str, Any] = json.loads(line)
    assert figures["automatic_wrong"] == 0
    assert figures["automatic_right"] >= AUTOMATIC_MIN * figures["automatic_fair"] > 0.8 * rows
    return figures


def test_bench_pool_of_a_day(benchmark: Any) -> None:
    """All tiers over the pool of a day in 10 s and 2 GiB; an item costs at most twice what it does
    in a pool of a hundredth."""
    small = _run(SMALL)
    large = benchmark.pedantic(lambda: _run(LARGE), rounds=1)
    per_item = [
        run["seconds"]["total"] / (run["remittances"] + run["payments"]) for run in (small, large)
    ]
    benchmark.extra_info.update(
        remittances=large["remittances"],
        payments=large["payments"],
        seconds_by_stage=large["seconds"],
        memory_peak_mib=large["memory_peak_bytes"] >> 20,
        automatic=large["automatic_right"],
        time_per_item_to_a_hundredth=round(per_item[1] / per_item[0], 2),
    )
    assert large["seconds"]["total"] <= SECONDS_MAX
    assert large["memory_peak_bytes"] < MEMORY_MAX_BYTES
    assert per_item[1] <= RATIO_MAX * per_item[0]
