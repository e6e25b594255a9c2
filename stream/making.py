"""What a step is made from, beside the live items and what was decided of them."""

from __future__ import annotations

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


@dataclass(slots=True)
class Making:
    """A step that is being made.

    tenant, mark, position : what it is about; mark is that of the state before
    day, as_of, cause : for the ledger
    kinds : uint8[n]          ReleaseKind of what it releases
    resend : int64[r]         rows of remittances that are sent once more
    remittance_keys, payment_keys   of the new items
    business : uint64 by side       business keys of new items
    vetoes : rows of items.VETO     that are new
    drop_pairs : uint8[k, 16]       ids of pairs that a person undid
    records : further records       profiles, the tenant's own
    rekeyed : the keys of all items are made anew
    moved : items that go to another tenant
    """

    tenant: str
    mark: int
    position: int
    day: int
    as_of: str
    cause: str
    kinds: npt.NDArray[np.uint8]
    resend: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    remittance_keys: KeyedRows = field(default_factory=KeyedRows.none)
    payment_keys: KeyedRows = field(default_factory=KeyedRows.none)
    vetoes: Columns | None = None
    records: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    sources: tuple[tuple[bytes, str, str, int], ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    rekeyed: bool = False
    forget: tuple[Rows, Rows] | None = None
    moved: MovedItems | None = None
