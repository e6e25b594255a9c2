"""Print the ratios of a bench run, and append them with their machine to bench/history.jsonl when
asked to.

python bench/report.py build/bench/last.json [--append]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).parent / "history.jsonl"


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def commit() -> str:
    """The commit the figures belong to, with a + where the tree has changes."""
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return run.stdout.strip() or "unknown"


def figures(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """For each bench its best time in milliseconds and what it noted."""
    return {
        bench["name"]: {"min_ms": round(bench["stats"]["min"] * 1e3, 3), **bench["extra_info"]}
        for bench in run["benchmarks"]
    }


def main() -> int:
    """Print a line for each bench; with --append keep the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="what pytest --benchmark-json wrote")
    parser.add_argument(
        "--append", action="store_true", help="append a line to bench/history.jsonl"
    )
    arguments = parser.parse_args()
    run = json.loads(arguments.run.read_text())
    rows = figures(run)
    for name, row in rows.items():
        noted = ", ".join(f"{key} {value}" for key, value in row.items() if key != "min_ms")
        print(f"{name}: {row['min_ms']} ms; {noted}")
    if arguments.append:
        line = {
            "date": run["datetime"][:10],
            "commit": commit(),
            "processor": processor(),
            "python": platform.python_version(),
            "benches": rows,
        }
        with HISTORY.open("a") as history:
            history.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
