"""What a run decided, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

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
