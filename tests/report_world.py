"""Steps of a warehouse written into a real ledger, said in a few words: for tests of its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from ledgers import details_of

from reassoc.core.ach import EntryKind
from reassoc.core.columns import DATE_NONE
from reassoc.core.statuses import Funding, MatchStatus, PaymentSource, PaymentStatus
from reassoc.stream.items import ItemFlag, ReleaseKind
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import (
    ALERT_ROW,
    DETAIL_TEXTS,
    ITEM_ROW,
    PAIR_ROW,
    STATUS_ROW,
    AlertCode,
    DecisionAnswer,
    DecisionRow,
    ItemSide,
    LedgerBatch,
    PairEvent,
)


def day_number(text: str) -> int:
    """Days since 1970-01-01, DATE_NONE for none."""
    return (date.fromisoformat(text) - date(1970, 1, 1)).days if text else DATE_NONE


@dataclass(eq=False)
class Item:
    """An item, and where it stands."""

    digest: int
    offset: int
    side: ItemSide
    status: int = 0
    funding: int = 0
    flags: int = 0
    release_kind: int = 0


@dataclass
class World:
    """A ledger, and the last sequence of each tenant."""

    ledger: Ledger
    sequences: dict[str, int] = field(default_factory=dict)
    item_count: int = 0

    def step(self, day: str, tenant: str = "main") -> Step:
        """The next step of a tenant."""
        return Step(self, tenant, day)


class Step:
    """One step of a tenant that is being made; `write` puts it into the ledger."""

    def __init__(self, world: World, tenant: str, day: str) -> None:
        self._world, self._tenant, self._day = world, tenant, day
        self._rows: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in ("items", "statuses", "pairs", "alerts")
        }
        self._details: dict[str, list[bytes]] = {name: [] for name in DETAIL_TEXTS}
        self._decisions: list[DecisionRow] = []

    def remittance(
        self, cents: int, day: str, status: int, *, payer: str = "", claims: int = 1, **to: Any
    ) -> Item:
        """A new 835, and what became of it in this step."""
        row = (ItemSide.REMITTANCE, 0, 0, cents, day_number(day), 0, 1, claims)
        return self._item(row, payer, status, **to)

    def payment(
        self,
        cents: int,
        day: str,
        status: int = PaymentStatus.UNMATCHED,
        *,
        source: PaymentSource = PaymentSource.ACH,
        kind: EntryKind = EntryKind.CREDIT,
        payer: str = "",
        **to: Any,
    ) -> Item:
        """A new payment, and what became of it in this step."""
        row = (ItemSide.PAYMENT, source, kind, cents, day_number(day), 0, 1, 0)
        return self._item(row, payer, status, **to)

    def arrive(self, item: Item, cents: int, day: str, status: int) -> None:
        """An 835 that another tenant had comes to this one."""
        row = (ItemSide.REMITTANCE, 0, 0, cents, day_number(day), 0, 1, 1)
        item.status = item.flags = 0
        self._add(item, row, "", status)

    def _item(self, row: tuple[Any, ...], payer: str, status: int, **to: Any) -> Item:
        self._world.item_count += 1
        number = self._world.item_count
        # Digests as they come: half of them are above int64.
        item = Item(number * 0xC2B2AE3D27D4EB4F % 2**64, number, row[0])
        self._add(item, row, payer, status, **to)
        return item

    def _add(self, item: Item, row: tuple[Any, ...], payer: str, status: int, **to: Any) -> None:
        self._rows["items"].append((item.digest, item.offset, *row))
        texts = {"payer_id": payer, "payer_name": payer and f"PAYER {payer}"}
        for name in DETAIL_TEXTS:
            self._details[name].append(texts.get(name, "").encode())
        self.change(item, status, **to)

    def change(
        self,
        item: Item,
        status: int,
        *,
        funding: Funding = Funding.NONE,
        flags: ItemFlag | None = None,
        release: ReleaseKind | None = None,
    ) -> None:
        """An item comes to a status."""
        after = int(item.flags if flags is None else flags)
        kind = int(item.release_kind if release is None else release)
        self._rows["statuses"].append(
            (item.digest, item.offset, item.side, item.status, status, item.funding, funding,
             item.flags, after, 0, kind)
        )  # fmt: skip
        item.status, item.funding, item.flags, item.release_kind = status, funding, after, kind

    def pair(
        self,
        remittance: Item,
        payment: Item,
        event: PairEvent = PairEvent.MADE,
        status: MatchStatus = MatchStatus.AUTO,
        tier: int = 1,
        *,
        person: bool = False,
        difference: int = 0,
        cause: int = 0,
        reason: int = 0,
    ) -> None:
        """Something becomes of a pair."""
        row = np.zeros(1, PAIR_ROW)
        for name, item in (("remittance", remittance), ("payment", payment)):
            row[f"{name}_digest"], row[f"{name}_offset"] = item.digest, item.offset
        row["match_id"], row["event"], row["status"], row["tier"] = 7, event, status, tier
        row["reason"] = reason
        row["person"], row["difference_cents"], row["cause"] = person, difference, cause
        self._rows["pairs"].append(row[0].item())

    def alert(self, item: Item, code: AlertCode) -> None:
        """Somebody must look."""
        self._rows["alerts"].append((item.digest, item.offset, item.side, code, 0))

    def decision(self, kind: str, answer: DecisionAnswer, items: int = 0, cents: int = 0) -> None:
        """A person decided."""
        number = f"{self._day}-{len(self._decisions)}"
        self._decisions.append(
            DecisionRow(1, number, kind, "somebody", "because", answer, "", items, cents)
        )

    def write(self) -> None:
        """Append the step to the ledger."""
        sequence = self._world.sequences.get(self._tenant, 0) + 1
        kinds = {"items": ITEM_ROW, "statuses": STATUS_ROW, "pairs": PAIR_ROW, "alerts": ALERT_ROW}
        tables = {name: np.array(self._rows[name], kind).tobytes() for name, kind in kinds.items()}
        batch = LedgerBatch(
            self._tenant,
            sequence,
            day_number(self._day),
            f"{self._day}T12:00:00-05:00",
            "items",
            **tables,
            decisions=tuple(self._decisions),
            details=details_of(self._details),
        )
        assert self._world.ledger.append(sequence, batch)
        self._world.sequences[self._tenant] = sequence
