"""What a caller that matches again and again knows from before: pairs that stand, and pairs that
people undid.

All of it is handed in by rows of the pools of one call. Match ids are made of the ids of the items
(of a sum, of all of them), never of rows or of what else is in a pool: the same pair or sum has the
same id in every call.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False)
class Pairs:
    """Pairs of an earlier call, k rows in any order. The rows of one sum share a match id, and come
    all together: what is a part of a sum is none.

    remittance, payment : int32[k]   rows in the pools
    match_id : uint64[k]             as in Matches; 0 where it does not matter (vetoes)
    tier : uint8[k]                  Tier
    """

    remittance: Rows
    payment: Rows
    match_id: npt.NDArray[np.uint64]
    tier: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.remittance)

    def __repr__(self) -> str:
        return f"<Pairs: {len(self)}>"

    @classmethod
    def none(cls) -> Pairs:
        """No pairs."""
        rows = np.zeros(0, np.int32)
        return cls(rows, rows, np.zeros(0, np.uint64), np.zeros(0, np.uint8))

    @property
    def keys(self) -> Keys:
        """int64[k]: both rows of each pair as one number."""
        return pair_keys(self.remittance, self.payment)

    def where(self, rows: Mask) -> Pairs:
        """Some of them."""
        return Pairs(*(getattr(self, column.name)[rows] for column in fields(self)))


def pair_keys(left: Rows, right: Rows) -> Keys:
    """int64[k]: rows of remittances and payments as one number each."""
    keys: Keys = left.astype(np.int64) << 32 | right
    return keys


def whole_groups(group: npt.NDArray[np.uint64], rows: Mask) -> Mask:
    """bool[k]: rows of the groups of which any row is set."""
    return np.isin(group, group[rows]) if rows.any() else rows


@dataclass(frozen=True, slots=True)
class Again:
    """What is known from before, checked.

    pins      pairs that stand whatever the tiers would say
    vetoes    pairs that are never made automatically
    standing  pairs that were automatic when the day was last at its close; None: nobody says so
    late      bool[n], bool[m]: items whose surroundings are not fully known; None for none
    released  bool[n]: remittances that were handed on; None for none
    spoken    bool[n], bool[m]: items of which a person decided something; None for none
    aside     bool[m]: payments that a person took out; None for none
    """

    pins: Pairs = field(default_factory=Pairs.none)
    vetoes: Pairs = field(default_factory=Pairs.none)
    standing: Pairs | None = None
    late: tuple[Mask, Mask] | None = None
    released: Mask | None = None
    spoken: tuple[Mask, Mask] | None = None
    aside: Mask | None = None

    def check(self, left_count: int, right_count: int) -> None:
        """Raise ValueError where rows, lengths or match ids are none that can be."""
        for name in ("pins", "vetoes", "standing"):
            pairs = getattr(self, name)
            if pairs is not None:
                _check_pairs(name, pairs, left_count, right_count)
                if name != "vetoes" and not pairs.match_id.all():
                    raise ValueError(f"{name} has a match_id of 0: every pair that stands has one")
        for name in ("late", "spoken"):
            for side, mask in enumerate(getattr(self, name) or ()):
                _check_mask(f"{name}[{side}]", mask, side, (left_count, right_count))
        for name, side in (("released", 0), ("aside", 1)):
            mask = getattr(self, name)
            if mask is not None:
                _check_mask(name, mask, side, (left_count, right_count))

    @property
    def was_released(self) -> Mask | None:
        """`released`, None where nothing was."""
        return self.released if self.released is not None and self.released.any() else None


def _check_mask(name: str, mask: Mask, side: int, counts: tuple[int, int]) -> None:
    if len(mask) != counts[side]:
        items = ("remittances", "payments")[side]
        raise ValueError(f"{name} has {len(mask)} rows, the {items} have {counts[side]}")


def _check_pairs(name: str, pairs: Pairs, left_count: int, right_count: int) -> None:
    lengths = {len(getattr(pairs, column.name)) for column in fields(pairs)}
    if len(lengths) > 1:
        raise ValueError(f"the columns of {name} have different lengths: {sorted(lengths)}")
    for side, rows, count in (
        ("remittance", pairs.remittance, left_count),
        ("payment", pairs.payment, right_count),
    ):
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
            raise ValueError(f"{name} names a {side} row that is none of the {count} in the pool")
