"""What events say of items beside what the ledger keeps of them: the step knows, so it says it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.statuses import Funding
from reassoc.stream.items import ItemMark, id_bytes
from reassoc.stream.ledger_rows import (
    ITEM_ROW,
    STATUS_ROW,
    EventFacts,
    ItemSide,
    LedgerBatch,
    rows_of,
)
from reassoc.stream.live import Live, lookup
from reassoc.stream.state import Ids

_DENIAL = np.uint8(ItemMark.DENIAL)


def event_facts(live: Live, batch: LedgerBatch) -> EventFacts:
    """Facts of the items of a step's batch. Looks nothing up where no event asks: most steps have
    no money that comes and no claim that is denied. O(live items log) else."""
    denied, cents = b"", b""
    left, right = live.remittances, live.payments
    is_denied = left.fresh & (left.rows["marks"] & _DENIAL != 0)
    if is_denied.any():
        items = rows_of(batch.items, ITEM_ROW)
        rows = lookup(left.ids, _ids(items[items["side"] == ItemSide.REMITTANCE]))
        denied = np.flatnonzero(is_denied[rows]).astype("<u4").tobytes()
    statuses = rows_of(batch.statuses, STATUS_ROW)
    settling = statuses[settles(statuses)]
    if len(settling):
        rows = lookup(right.ids, _ids(settling))
        cents = right.rows["amount_cents"][rows].astype("<i8").tobytes()
    return EventFacts(denied, cents)


def settles(statuses: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """bool[n]: which rows of STATUS_ROW are of payments whose money came."""
    after = statuses["funding_after"]
    came = (after == Funding.SETTLED) | (after == Funding.POSTED)
    changed = after != statuses["funding_before"]
    found: npt.NDArray[np.bool_] = (statuses["side"] == ItemSide.PAYMENT) & came & changed
    return found


def _ids(rows: npt.NDArray[Any]) -> Ids:
    return id_bytes(rows["digest"], rows["offset"])
