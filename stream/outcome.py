"""What a run decided, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.match import Matches
from reassoc.stream.intake import Items
from reassoc.stream.pools import Pools
from reassoc.stream.release import ReleasedFile


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run decided, row by row.

    matches           over the rows of the pools that are no copies
    remittance_rows, payment_rows   rows of the pools that `matches` counts in
    files             released interchanges
    released_in : int32[n]          row of `files` per remittance of the pools, -1 where not
                                    released
    """

    pools: Pools
    items: Sequence[Items]
    matches: Matches
    remittance_rows: npt.NDArray[np.int64]
    payment_rows: npt.NDArray[np.int64]
    files: Sequence[ReleasedFile]
    released_in: npt.NDArray[np.int32]
    as_of: date


class _Filled:
    """Matches of a matcher that does not give all columns yet, with plain ones in their place."""

    def __init__(self, matches: Matches) -> None:
        self._matches = matches
        count = len(matches)
        self._plain = {
            "weight": np.zeros(count, np.int32),
            "rank": np.ones(count, np.uint16),
            "remittance_rank": np.ones(count, np.uint16),
            "difference_cents": matches.payments.amount_cents[matches.payment]
            - matches.remittances.paid_cents[matches.remittance],
            "cause": np.zeros(count, np.uint8),
            "remittance_tenant": np.zeros(len(matches.remittances), np.uint32),
            "payment_tenant": np.zeros(len(matches.payments), np.uint32),
            "tenants": ("default",),
        }

    def __len__(self) -> int:
        return len(self._matches)

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._matches, name):
            return getattr(self._matches, name)
        return self._plain[name]


def filled(matches: Matches) -> Any:
    """The same, with all columns."""
    return _Filled(matches)
