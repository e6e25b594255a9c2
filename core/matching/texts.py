"""Texts compared by what they say: letters and digits in upper case, leading zeros dropped where
the field is a number.

Hashes bring equal texts together; that they are equal is always told by their bytes (_texts.h).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.columns import TextColumn
from reassoc.core.pool import text_parts

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

CUT_BYTES_MIN = 8
"""A text that is this long or longer can be a cut form of another; a shorter one is too common."""


def numbers(column: TextColumn, *, leading_zeros: bool = True) -> Numbers:
    """int64[n]: equal numbers for texts that say the same, 0 for those without letters and digits.

    leading_zeros : whether zeros in front say something

    The numbers mean nothing outside of the call. O(n + bytes).
    """
    return _keys.text_numbers(*text_parts(column), is_number=not leading_zeros)


def hashes(column: TextColumn, *, leading_zeros: bool = True) -> Hashes:
    """uint64[n]: equal hashes for texts that say the same. O(bytes)."""
    return _keys.text_hashes(*text_parts(column), is_number=not leading_zeros)


def one_is_cut(column: TextColumn, one: Rows, other: Rows) -> Mask:
    """bool[p]: whether one of two values, both numbers, is a proper start or end of the other and
    has CUT_BYTES_MIN letters and digits or more. O(bytes)."""
    source, refs = text_parts(column)
    return _keys.one_is_cut(source, refs[one], refs[other], CUT_BYTES_MIN, is_number=True)
