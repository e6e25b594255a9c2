"""Texts compared by what they say: letters and digits in upper case, leading zeros dropped where
the field is a number.

Hashes bring equal texts together; that they are equal is always told by their bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.columns import TextColumn
from reassoc.core.pool import text_parts

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

CUT_BYTES_MIN = 8
"""A text that is this long or longer can be a cut form of another; a shorter one is too common."""

_ALNUM = np.array([byte >= 0x80 or chr(byte).isalnum() for byte in range(256)])
_UPPER = np.array([*(chr(byte).upper().encode()[0] for byte in range(0x80)), *range(0x80, 0x100)])
_UPPER = _UPPER.astype(np.uint8)
_LEADING = ~_ALNUM
_LEADING[ord("0")] = True


def without_zeros(column: TextColumn) -> TextColumn:
    """The same texts from their first letter or digit on that is no zero. O(n + zeros)."""
    source, refs = text_parts(column)
    refs = refs.copy()
    rows = np.flatnonzero(refs[:, 1])
    while len(rows):
        rows = rows[_LEADING[source[refs[rows, 0]]]]
        refs[rows, 0] += np.uint32(1)
        refs[rows, 1] -= np.uint32(1)
        rows = rows[refs[rows, 1] > 0]
    return TextColumn(column.source, refs)


def normal(column: TextColumn) -> TextColumn:
    """The letters and digits of each text in upper case, in a source of their own. O(bytes)."""
    source, refs = _keys.gather(*text_parts(column))
    data = np.frombuffer(source, np.uint8)
    kept = _ALNUM[data]
    before = np.zeros(len(data) + 1, np.int64)
    np.cumsum(kept, out=before[1:])
    starts = before[refs[:, 0]]
    stops = before[refs[:, 0].astype(np.int64) + refs[:, 1]]
    spans = np.stack([starts, stops - starts], axis=1).astype(np.uint32)
    return TextColumn(_UPPER[data[kept]].tobytes(), spans)


def same(one: TextColumn, other: TextColumn) -> Mask:
    """bool[n]: whether the bytes of both columns' values are equal, row by row. O(bytes)."""
    equal: Mask = one.lengths == other.lengths
    rows = np.flatnonzero(equal & (one.lengths > 0))
    if len(rows):
        lengths = one.lengths[rows].astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        within = np.arange(starts[-1] + lengths[-1])
        differs = _bytes_at(one, rows, starts, lengths, within)
        differs = differs != _bytes_at(other, rows, starts, lengths, within)
        equal[rows] = ~np.logical_or.reduceat(differs, starts)
    return equal


def _bytes_at(
    column: TextColumn, rows: Numbers, starts: Numbers, lengths: Numbers, within: Numbers
) -> npt.NDArray[Any]:
    source = np.frombuffer(column.source, np.uint8)
    shift = column.offsets[rows].astype(np.int64) - starts
    taken: npt.NDArray[Any] = source[np.repeat(shift, lengths) + within]
    return taken


def one_is_cut(one: TextColumn, other: TextColumn) -> Mask:
    """bool[n]: whether one value is a proper start or end of the other, row by row, and has
    CUT_BYTES_MIN bytes or more. For normal forms. O(bytes)."""
    lengths = np.minimum(one.lengths, other.lengths)
    cut: Mask = (lengths >= CUT_BYTES_MIN) & (one.lengths != other.lengths)
    rows = np.flatnonzero(cut)
    if len(rows):
        size = lengths[rows]
        found = np.zeros(len(rows), np.bool_)
        for at_end in (False, True):
            found |= same(_slice(one, rows, size, at_end), _slice(other, rows, size, at_end))
        cut[rows] = found
    return cut


def _slice(
    column: TextColumn, rows: Numbers, size: npt.NDArray[np.uint32], at_end: bool
) -> TextColumn:
    starts = column.offsets[rows]
    if at_end:
        starts = starts + column.lengths[rows] - size
    return TextColumn(column.source, np.stack([starts, size], axis=1))


def numbers(column: TextColumn) -> Numbers:
    """int64[n]: equal numbers for equal normal forms, 0 for texts without letters and digits.

    The numbers mean nothing outside of the call. O(n log n + bytes).
    """
    hashes = _keys.text_hashes(*text_parts(column))
    _, first, of_row = np.unique(hashes, return_index=True, return_inverse=True)
    found: Numbers = np.where(hashes != 0, of_row + 1, 0).astype(np.int64)
    forms = normal(column)
    wrong = np.flatnonzero(~same(forms, forms[first[of_row]]))
    others: dict[bytes, int] = {}
    for row in wrong.tolist():  # only where 64-bit hashes of different texts are equal
        found[row] = others.setdefault(forms.raw(row), len(first) + 1 + len(others))
    return found
