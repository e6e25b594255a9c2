"""Writes x12_summaries.json: what is found in every X12 sample.

Run it, then read the difference before keeping it.

    python tests/golden/make_x12_summaries.py
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from corpus import X12_ROOT, samples
from x12_compare import Rows, twin_rows

from reassoc.core.errors import FindingCode, ParseError

SUMMARIES = Path(__file__).with_name("x12_summaries.json")


def summary(rows: Rows | ParseError) -> dict[str, Any]:
    """Counts and sums of one file, in a fixed order."""
    if isinstance(rows, ParseError):
        return {"refused": rows.code.name}
    transactions = rows["transactions"]
    found = Counter(FindingCode(row["code"]).name for row in rows["findings"])
    skipped = Counter(row["set_id"].decode("latin-1") for row in rows["skipped"])
    return {
        "interchanges": len(rows["interchanges"]),
        "transactions": len(transactions),
        "balanced": sum(bool(row["balanced"]) for row in transactions),
        "valid": sum(bool(row["valid"]) for row in transactions),
        "claims": len(rows["claims"]),
        "services": len(rows["services"]),
        "adjustment_cents": sum(row["amount_cents"] for row in rows["adjustments"]),
        "paid_cents": sum(row["paid_cents"] for row in transactions),
        "claim_paid_cents": sum(row["claim_paid_cents"] for row in transactions),
        "provider_adjustment_cents": sum(row["provider_adjustment_cents"] for row in transactions),
        "skipped": dict(sorted(skipped.items())),
        "findings": dict(sorted(found.items())),
    }


def write() -> None:
    """Write the summaries of all samples, one line each, sorted by name."""
    lines = [
        f"{json.dumps(sample.name)}: {json.dumps(summary(twin_rows(sample.data)))}"
        for sample in samples(X12_ROOT)
    ]
    SUMMARIES.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
