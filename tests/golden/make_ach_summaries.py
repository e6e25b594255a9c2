"""Writes ach_summaries.json: what is found in every ACH sample. Read the difference, then keep it.

    python tests/golden/make_ach_summaries.py

The summaries come from the plain twin, not from the reader that they check.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ach_compare import Rows, twin_rows
from corpus import ACH_ROOT, samples

from reassoc.core.errors import FindingCode

SUMMARIES = Path(__file__).with_name("ach_summaries.json")


def unpacked(data: bytes) -> bytes:
    """The sample itself: two of them are kept compressed."""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def summary(rows: Rows) -> dict[str, Any]:
    """Counts and sums of one input, in a fixed order."""
    found = Counter(FindingCode(row["code"]).name for row in rows["findings"])
    return {
        "files": len(rows["files"]),
        "records": sum(row["record_count"] for row in rows["files"]),
        "batches": len(rows["batches"]),
        "sec": sorted({row["sec"].decode() for row in rows["batches"]}),
        "valid_batches": sum(bool(row["valid"]) for row in rows["batches"]),
        "entries": len(rows["entries"]),
        "entries_in_batches": sum(row["entry_count"] for row in rows["batches"]),
        "addenda": len(rows["addenda"]),
        "addenda_types": dict(
            sorted(Counter(str(row["type_code"]) for row in rows["addenda"]).items())
        ),
        "returns": len(rows["returns"]),
        "payloads": len(rows["payloads"]),
        "x12_payloads": sum(bool(row["x12"]) for row in rows["payloads"]),
        "amount_cents": sum(row["amount_cents"] for row in rows["entries"]),
        "debit_cents": sum(row["debit_cents"] for row in rows["batches"]),
        "credit_cents": sum(row["credit_cents"] for row in rows["batches"]),
        "kinds": dict(sorted(Counter(str(row["kind"]) for row in rows["entries"]).items())),
        "findings": dict(sorted(found.items())),
    }


def write() -> None:
    """Write the summaries of all samples, one line each, sorted by name."""
    lines = [
        f"{json.dumps(sample.name)}: {json.dumps(summary(twin_rows(unpacked(sample.data))))}"
        for sample in samples(ACH_ROOT)
    ]
    SUMMARIES.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
