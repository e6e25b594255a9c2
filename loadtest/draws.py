"""Random draws that are the same on every machine, for every numpy.

Only the raw output of PCG64 is used (numpy promises never to change it); everything above it is
integer arithmetic, so no floating point library can make two machines differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
T = TypeVar("T")

LIMIT_MAX = 1 << 31
"""Draws are below this: the product with 32 random bits must fit int64."""

_REFILL = 512


class Draws:
    """One stream of draws; the same seed and stream numbers give the same draws.

    seed, stream : int    0 or more; streams of one seed are independent of each other
    """

    def __init__(self, seed: int, *stream: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *stream]))
        self._ready: list[int] = []

    def words(self, count: int) -> Ints:
        """int64[count]: uniform in 0 .. 2**32 - 1. O(count)."""
        raw = np.asarray(self._bits.random_raw(count), np.uint64)
        return (raw >> np.uint64(32)).astype(np.int64)

    def below(self, limit: int | Ints, count: int) -> Ints:
        """int64[count]: uniform in 0 .. limit - 1; limit is one number or one per draw, each 1 ..
        LIMIT_MAX.
        """
        return (self.words(count) * limit) >> 32

    def among(self, weights: Sequence[int], count: int) -> Ints:
        """int64[count]: indexes into `weights`, each as often as its weight says."""
        steps = np.cumsum(np.asarray(weights, np.int64))
        return np.searchsorted(steps, self.below(int(steps[-1]), count), side="right").astype(
            np.int64
        )

    def one(self, limit: int) -> int:
        """One int, uniform in 0 .. limit - 1."""
        if not self._ready:
            self._ready = self.words(_REFILL).tolist()
        return (self._ready.pop() * limit) >> 32

    def between(self, low: int, high: int) -> int:
        """One int, uniform in low .. high, both included."""
        return low + self.one(high - low + 1)

    def chance(self, per_mille: int) -> bool:
        """True in `per_mille` of a thousand draws."""
        return self.one(1000) < per_mille

    def pick(self, values: Sequence[T]) -> T:
        """One of the values, each as likely as the other."""
        return values[self.one(len(values))]
