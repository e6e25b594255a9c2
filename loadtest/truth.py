"""truth.csv: what belongs to what.

A row is a pair or one item without a partner, whose other side is empty. Files are named relative
to the feed's folder. `remit_ordinal` counts the 835s of a file from 0 (for an 835 inside a CTX:
those inside its ACH file), `payment_ordinal` the entries of an ACH file, the records 16 of a bank's
report or the data rows of a lockbox list. `payment_trace` is the trace number of an ACH entry.
`expect` says what a matcher may make of the row:

    auto                the rules allow it to be matched by itself
    review              it belongs together, but only a person can say so
    indistinguishable   no field could tell it from another: only review is right
    unmatched           it belonged together until the money went back
    none                one item alone: no partner, or it must not be matched
"""

from __future__ import annotations

from collections.abc import Callable

from reassoc.loadtest.model import Chunk

TRUTH_NAME = "truth.csv"
TRUTH_HEADER = "remit_file,remit_ordinal,payment_file,payment_ordinal,payment_trace,case,expect"


class Truth:
    """Writes the truth chunk by chunk; put(name, data) appends to a file of the feed."""

    def __init__(self, put: Callable[[str, bytes], None]) -> None:
        self._put = put
        self._put(TRUTH_NAME, f"{TRUTH_HEADER}\n".encode("ascii"))

    def add(self, chunk: Chunk) -> None:
        """Write the rows of a chunk whose items have been written. O(rows)."""
        rows: list[str] = []
        for link in chunk.links:
            remittance, payment = link.remittance, link.payment
            left = f"{remittance.file},{remittance.ordinal}" if remittance is not None else ","
            right = ",,"
            if payment is not None:
                right = f"{payment.file},{payment.ordinal},{payment.trace}"
            rows.append(f"{left},{right},{link.case},{link.expect}\n")
        self._put(TRUTH_NAME, "".join(rows).encode("ascii"))
