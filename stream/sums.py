"""Sums of cents that are exact however large: amounts are what files say, and their sum may be
above int64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HALF_BITS = 32
HALF_MASK = (1 << HALF_BITS) - 1
"""Amounts are summed in an upper and a lower half."""


def whole_sum(high: int, low: int) -> int:
    """The sum of amounts by the sums of their upper and lower halves."""
    return (int(high) << HALF_BITS) + int(low)


def exact_sum(cents: npt.NDArray[np.int64]) -> int:
    """The sum of some amounts."""
    return whole_sum(int((cents >> HALF_BITS).sum()), int((cents & HALF_MASK).sum()))
