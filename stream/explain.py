"""Why two items are a pair, in words: what agreed, what differed, which rewrites made them
equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reassoc.core.match import Matches
from reassoc.core.statuses import Field, Reason, Rewrite, reason_text
from reassoc.stream.table import csv_cell, pick_cells

REWRITE_TEXTS = {
    Rewrite.TRACE_N1: "trace in another case or spacing",
    Rewrite.TRACE_N2: "trace without punctuation",
    Rewrite.TRACE_N3: "trace without leading zeros",
    Rewrite.TRACE_N4: "trace without the policy's prefix or suffix",
    Rewrite.TRACE_N5: "a cut trace",
    Rewrite.PAYER_P1: "payer identifier without its leading 1",
    Rewrite.PAYER_P2: "payer identifiers of one payer by the policy or the directory",
}


def explain(reason: int, agreed: int, differed: int, rewrites: int) -> str:
    """`trace, payer, amount agree; date differs; trace without leading zeros; the payment has not
    settled`.
    """
    parts = []
    same = [field.name.lower() for field in Field if field.name and agreed & field]
    other = [field.name.lower() for field in Field if field.name and differed & field]
    if same:
        parts.append(f"{', '.join(same)} {'agree' if len(same) > 1 else 'agrees'}")
    if other:
        parts.append(f"{', '.join(other)} {'differ' if len(other) > 1 else 'differs'}")
    parts += [text for flag, text in REWRITE_TEXTS.items() if rewrites & flag]
    # That amounts differ is already said by the field.
    told = reason & ~Reason.AMOUNT_DIFFERS if differed & Field.AMOUNT else reason
    if told:
        parts.append(reason_text(told))
    return "; ".join(parts)


def explain_cells(matches: Matches, rows: npt.NDArray[np.int64]) -> list[str]:
    """Cells with the explanation of each pair; few differ, so each is made once."""
    flags = np.stack(
        [
            column[rows].astype(np.int64)
            for column in (matches.reason, matches.agreed, matches.differed, matches.rewrites)
        ],
        axis=1,
    )
    # One number per row: the three 16-bit columns beside each other, above them a number for the
    # reasons.
    _, reason_number = np.unique(flags[:, 0], return_inverse=True)
    packed = flags[:, 1] | flags[:, 2] << 16 | flags[:, 3] << 32 | reason_number << 48
    _, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    names = [csv_cell(explain(*flags[row].tolist())) for row in first.tolist()]
    return pick_cells(names, inverse)
