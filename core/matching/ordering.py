"""The order of ids, which is the order of everything that the matcher gives out.

An id is (digest, offset); `id_keys` turns a column of them into one sortable number a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core._keys import mix

Keys = npt.NDArray[np.uint64]
KEY_BITS = 63


def id_keys(digest: npt.NDArray[np.uint64], offset: npt.NDArray[np.int64]) -> Keys:
    """uint64[n]: numbers in the same order as (digest, offset), equal for equal ids.

    O(n) where rows of one file stand together, as they do in pools that were read; else O(n log n).
    """
    if not len(digest):
        return np.zeros(0, np.uint64)
    starts = np.concatenate([[0], np.flatnonzero(digest[1:] != digest[:-1]) + 1])
    files, of_run = np.unique(digest[starts], return_inverse=True)
    lowest = int(offset.min())
    offset_bits = (int(offset.max()) - lowest).bit_length()
    if (len(files) - 1).bit_length() + offset_bits > KEY_BITS:
        return _dense_ranks(digest, offset)
    heads = of_run.astype(np.uint64) << np.uint64(offset_bits)
    lengths = np.diff(np.append(starts, len(digest)))
    keys: Keys = np.repeat(heads, lengths)
    keys |= (offset - lowest).view(np.uint64)
    return keys


def ids_ascend(digest: npt.NDArray[np.uint64], offset: npt.NDArray[np.int64]) -> bool:
    """Whether the rows stand in the order of their ids, none twice: those of one file do. O(n)."""
    same = digest[1:] == digest[:-1]
    return bool(((digest[1:] > digest[:-1]) | same & (offset[1:] > offset[:-1])).all())


def _dense_ranks(digest: npt.NDArray[np.uint64], offset: npt.NDArray[np.int64]) -> Keys:
    order = np.lexsort([offset, digest])
    fresh = np.zeros(len(order), np.int64)
    digest, offset = digest[order], offset[order]
    fresh[1:] = (digest[1:] != digest[:-1]) | (offset[1:] != offset[:-1])
    ranks: Keys = np.empty(len(order), np.uint64)
    ranks[order] = np.cumsum(fresh)
    return ranks


def pair_order(left: Keys, right: Keys, match_ids: Keys) -> npt.NDArray[np.int64] | None:
    """Order of pairs by (left, right, match id); None where they stand in it already. O(k log k),
    one sort.

    left, right : uint64[k]    keys of both items of each pair
    match_ids : uint64[k]      tells apart pairs that stand in two sums
    """
    if (left[1:] > left[:-1]).all():
        return None
    # PERF: rows of one file stand together; a sort that finds what is sorted takes a fifth
    order: npt.NDArray[np.int64] = np.argsort(left, kind="stable")
    in_order = left[order]
    tied = np.zeros(len(order) + 1, np.bool_)
    tied[1:-1] = in_order[1:] == in_order[:-1]
    places = np.flatnonzero(tied[1:] | tied[:-1])
    if len(places):
        rows = order[places]
        order[places] = rows[np.lexsort([match_ids[rows], right[rows], left[rows]])]
    return order


def sound_first(ids: Keys, valid: npt.NDArray[np.bool_]) -> Keys:
    """uint64[n]: keys in the order of (not valid, id), for keys of id_keys (KEY_BITS wide)."""
    return ids | (~valid).astype(np.uint64) << np.uint64(KEY_BITS)


def kept_first(ids: Keys, kept: npt.NDArray[np.bool_]) -> Keys:
    """uint64[n]: keys in the order of (not kept, id). O(n log n)."""
    order = np.lexsort([ids, ~kept])
    ranks: Keys = np.empty(len(order), np.uint64)
    ranks[order] = np.arange(len(order), dtype=np.uint64)
    return ranks


def later_of_equals(columns: list[npt.NDArray[Any]], ids: Keys) -> npt.NDArray[np.bool_]:
    """bool[n]: rows whose columns all equal those of another row with a lower id.

    Where ids are equal too, the first of the rows stays. The columns hold whole numbers and are
    compared themselves; a hash only brings equal ones together. O(n log n).
    """
    mixed = mix(*columns)
    order = np.argsort(mixed, kind="stable")
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in columns:
        same &= column[order[1:]] == column[order[:-1]]
    later = np.zeros(len(order), np.bool_)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))[: len(order)]
    if len(starts):
        ids = ids[order]
        lowest = np.repeat(np.minimum.reduceat(ids, starts), np.diff(np.append(starts, len(order))))
        keeper = np.flatnonzero(ids == lowest)
        group = np.searchsorted(starts, keeper, side="right")
        first = np.concatenate([[True], group[1:] != group[:-1]])
        later[order] = True
        later[order[keeper[first]]] = False
    return later
