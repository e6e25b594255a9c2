"""Rows of several tenants in one table, and how they are divided again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.stream.records import joined

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Owned:
    """rows : [n] of one dtype    owner : int64[n], the number of the tenant whose each is"""

    rows: npt.NDArray[Any]
    owner: Rows

    @classmethod
    def concat(cls, parts: Sequence[Owned]) -> Owned:
        """Rows one after the other."""
        return cls(joined([part.rows for part in parts]), np.concatenate([p.owner for p in parts]))

    def divided(self, count: int) -> list[npt.NDArray[Any]]:
        """The rows of each of so many tenants, in their order."""
        return [self.rows] if count == 1 else [self.rows[at] for at in divided(self.owner, count)]


def divided(owner: Rows, count: int) -> list[Rows]:
    """int64 each: the numbers of the rows of each of so many tenants, in their order. O(n log n).

    owner : int64[n]
    """
    if count == 1:
        return [np.arange(len(owner))]
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(count + 1)).tolist()
    return [order[start:stop] for start, stop in pairwise(bounds)]
