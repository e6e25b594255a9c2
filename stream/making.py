"""What a step is made from, beside the live items and what was decided of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reassoc.stream.ledger_rows import (
    DecisionRow,
    MovedItems,
)
from reassoc.stream.live import (
    Columns,
    Rows,
)
from reassoc.stream.state import Keys, Stops


@dataclass(slots=True)
class KeyedRows:
    """The keys of new items of one side: those of row i are keys[stops[i - 1] : stops[i]]."""

    keys: Keys
    stops: Stops

    @classmethod
    def none(cls) -> KeyedRows:
        """No items."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64))

    def part(self, first: int, last: int) -> KeyedRows:
        """Of rows [first, last)."""
        start, stop = (int(self.stops[row - 1]) if row else 0 for row in (first, last))
        return KeyedRows(self.keys[start:stop], self.stops[first:last] - start)

    @property
    def counts(self) -> Stops:
        """int64[n]: how many keys each row has."""
        return np.diff(self.stops, prepend=0)


Profiles = Callable[[list[int]], Mapping[int, bytes]]
"""Encoded envelope profiles by their keys."""


@dataclass(slots=True)
class Heading:
    """What a step says of itself, beside its items.

    tenant, mark, position : what it is about; mark is that of the state before
    day, as_of, cause : for the ledger
    profiles : of what it releases
    records : further records       profiles, the tenant's own
    sources, decisions : for the ledger
    moved : items that go to another tenant
    """

    tenant: str
    mark: int
    position: int
    day: int
    as_of: str
    cause: str
    profiles: Profiles
    records: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    sources: tuple[tuple[bytes, str, str, int], ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    moved: MovedItems | None = None


@dataclass(slots=True)
class Making:
    """A step that is being made, or steps of several tenants: those are of new items only.

    headings : of each tenant, by its number as an owner
    kinds : uint8[n]          ReleaseKind of what is released
    resend : int64[r]         rows of remittances that are sent once more
    remittance_keys, payment_keys   of the new items
    vetoes : rows of items.VETO     that are new
    rekeyed : the keys of all items are made anew
    forget : rows of remittances and of payments that leave the state
    """

    headings: Sequence[Heading]
    kinds: npt.NDArray[np.uint8]
    resend: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    remittance_keys: KeyedRows = field(default_factory=KeyedRows.none)
    payment_keys: KeyedRows = field(default_factory=KeyedRows.none)
    vetoes: Columns | None = None
    rekeyed: bool = False
    forget: tuple[Rows, Rows] | None = None

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """int64[t]: of each tenant's step on its log."""
        return np.array([heading.position for heading in self.headings], np.int64)

    @property
    def heading(self) -> Heading:
        """Of the step of one tenant."""
        (only,) = self.headings
        return only
