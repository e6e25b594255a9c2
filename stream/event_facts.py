"""What events say of items beside what the ledger keeps of them: the step knows, so it says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.statuses import Funding
from reassoc.stream.items import ItemMark, id_bytes
from reassoc.stream.ledger_rows import EventFacts, ItemSide
from reassoc.stream.live import Live, lookup
from reassoc.stream.state import Ids

_DENIAL = np.uint8(ItemMark.DENIAL)


@dataclass(frozen=True, slots=True)
class EventRows:
    """Facts of rows for the ledger.

    denied : bool[n]    which of the new items are 835s with a denied claim
    cents : int64[m]    of the payments of rows of statuses whose money came; 0 for the others
    """

    denied: npt.NDArray[np.bool_]
    cents: npt.NDArray[np.int64]

    @classmethod
    def of(cls, live: Live, items: npt.NDArray[Any], statuses: npt.NDArray[Any]) -> EventRows:
        """Looks nothing up where no event asks: most steps have no money that comes and no claim
        that is denied. O(live items) else.

        items, statuses : rows of ledger_rows.ITEM_ROW and STATUS_ROW
        """
        facts = cls(np.zeros(len(items), np.bool_), np.zeros(len(statuses), np.int64))
        left, right = live.remittances, live.payments
        is_denied = left.fresh & (left.rows["marks"] & _DENIAL != 0)
        if is_denied.any():
            places = np.flatnonzero(items["side"] == ItemSide.REMITTANCE)
            facts.denied[places] = is_denied[lookup(left.ids, _ids(items[places]))]
        settling = np.flatnonzero(settles(statuses))
        if len(settling):
            rows = lookup(right.ids, _ids(statuses[settling]))
            facts.cents[settling] = right.rows["amount_cents"][rows]
        return facts

    def facts(self, items: npt.NDArray[Any], statuses: npt.NDArray[Any]) -> EventFacts:
        """As a batch of these rows says them."""
        denied, cents = b"", b""
        if self.denied.any():
            of_remittances = self.denied[items["side"] == ItemSide.REMITTANCE]
            denied = np.flatnonzero(of_remittances).astype("<u4").tobytes()
        settling = settles(statuses)
        if settling.any():
            cents = self.cents[settling].astype("<i8").tobytes()
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
