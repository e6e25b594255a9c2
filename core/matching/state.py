"""What the stages of one matching share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reassoc.core import _candidates, _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.matching.again import Again, pair_keys, whole_groups
from reassoc.core.matching.links import Links
from reassoc.core.matching.screening import ScreenedPayments, ScreenedRemittances
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
_CANDIDATE_COLUMNS = ("left", "right", "tier", "reason", "rivals", "group")


@dataclass(slots=True)
class Side:
    """One side in the form that the tiers compare.

    cents : int64[n]
    day : int32[n]            effective date (a payment's settlement date where it has none)
    banking_day : int32[n]    that day rolled forward, as a count of banking days; DATE_NONE
    payer, payer_group : uint32[n]   P1 and P2 numbers, 0 for unknown; see _keys.PayerTable
    payee : uint32[n]         number of the payee, 0 for unknown; equal numbers, same payee
    tenant : uint32[n]        number of the tenant
    rail : uint8[n]           statuses.Rail
    held : bool[n]            there are reasons against matching it by itself
    open : bool[n]            still takes part; cleared where it is matched
    order : uint64[n]         ids as sortable numbers, see matching.ordering
    """

    items: _keys.Items
    cents: npt.NDArray[np.int64]
    day: npt.NDArray[np.int32]
    banking_day: npt.NDArray[np.int32]
    payer: npt.NDArray[np.uint32]
    payer_group: npt.NDArray[np.uint32]
    payee: npt.NDArray[np.uint32]
    tenant: npt.NDArray[np.uint32]
    rail: npt.NDArray[np.uint8]
    held: Mask
    open: Mask
    order: npt.NDArray[np.uint64]


@dataclass(slots=True)
class Candidates:
    """Pairs that could be matches, k rows in any order. A bulk candidate is the rows of one group.

    left, right : int32[k]   rows of the remittance and the payment
    tier : uint8[k]          statuses.Tier
    reason : int64[k]        statuses.Reason
    rivals : uint32[k]       other candidates that either side has at this tier
    group : uint64[k]        shared by the rows of one sum (any number but 0), 0 for single pairs
    """

    left: Rows
    right: Rows
    tier: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.int64]
    rivals: npt.NDArray[np.uint32]
    group: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.left)

    def where(self, rows: Mask | npt.NDArray[np.int64]) -> Candidates:
        """Some of them, by a mask or by numbers."""
        return Candidates(*(getattr(self, name)[rows] for name in _CANDIDATE_COLUMNS))

    @classmethod
    def of(
        cls,
        left: Rows,
        right: Rows,
        tier: int,
        reason: int = 0,
        rivals: npt.NDArray[np.uint32] | None = None,
        group: npt.NDArray[np.uint64] | None = None,
    ) -> Candidates:
        """Candidates of one tier with one reason."""
        count = len(left)
        return cls(
            left=left.astype(np.int32, copy=False),
            right=right.astype(np.int32, copy=False),
            tier=np.full(count, tier, np.uint8),
            reason=np.full(count, reason, np.int64),
            rivals=np.zeros(count, np.uint32) if rivals is None else rivals,
            group=np.zeros(count, np.uint64) if group is None else group,
        )

    @classmethod
    def concat(cls, parts: list[Candidates]) -> Candidates:
        """Candidates one after the other."""
        if not parts:
            none = np.zeros(0, np.int32)
            return cls.of(none, none, 0)
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in _CANDIDATE_COLUMNS
            )
        )


@dataclass(slots=True)
class State:
    """One matching on its way. Stages read the sides and hand in candidates; what they match by
    itself goes through `take`.

    left, right                the pools
    seen, paid                 what is known of items by themselves
    remittances, payments      the sides, rows as in the pools
    at_close                   the banking day is at its close: tiers that lean on uniqueness decide
    company_group              uint32[m] or None: P2 number of a payment's company identifier
    payers                     the numbers of payers; None: no rule names one
    again                      what is known from earlier matchings
    links                      what payment rows are to each other; None before they are linked
    taken : list               what stages matched by themselves, as Candidates
    pinned                     pairs that stand whatever the tiers would say
    undone                     pairs that stood and whose money went back
    compiled                   the sides for compiled code, see matching.candidates.sides_of
    """

    left: RemittanceColumns
    right: PaymentColumns
    policy: Policy
    calendar: BankingCalendar
    seen: ScreenedRemittances
    paid: ScreenedPayments
    remittances: Side
    payments: Side
    at_close: bool = True
    company_group: npt.NDArray[np.uint32] | None = None
    payers: _keys.PayerTable | None = None
    again: Again = field(default_factory=Again)
    links: Links | None = None
    taken: list[Candidates] = field(default_factory=list)
    pinned: Candidates = field(default_factory=lambda: Candidates.concat([]))
    undone: Candidates = field(default_factory=lambda: Candidates.concat([]))
    compiled: _candidates.Sides | None = None

    def take(self, matched: Candidates) -> None:
        """Match these by themselves: their items leave the tiers. The caller has checked that they
        are unique and not held."""
        self.remittances.open[matched.left] = False
        self.payments.open[matched.right] = False
        self.taken.append(matched)

    def vetoed(self, found: Candidates) -> Mask:
        """bool[k]: pairs that a person undid, and the other rows of sums that hold one. Every stage
        that matches by itself leaves these out; they still count as candidates. O(k log v)."""
        vetoes = self.again.vetoes
        if not len(vetoes):
            return np.zeros(len(found), np.bool_)
        hit: Mask = np.isin(pair_keys(found.left, found.right), vetoes.keys)
        hit |= (found.group != 0) & whole_groups(found.group, hit)
        return hit
