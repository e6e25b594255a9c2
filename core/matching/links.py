"""What payment rows are to each other: returns, reversals, notifications, and reports of the bank.

Decided before the tiers run, since it decides what takes part in them. One entry point, `link`.

    reports              lines that banks report more than once; what is in the ACH file, or a
                         lockbox list, and in a report
    returns, reversals   money that went back: takes no part any more
    deposits             what is a sum of other rows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.deposits import link_deposits
from reassoc.core.matching.ordering import id_keys
from reassoc.core.matching.pairing import Found, Mask, Rows, first_date
from reassoc.core.matching.reports import (
    hold_lines_of_returned,
    hold_repeated_lines,
    link_reports,
)
from reassoc.core.matching.returns import link_changes, link_returned_checks, link_returns
from reassoc.core.matching.reversals import link_reversals, reversal_rows
from reassoc.core.matching.screening import ScreenedPayments
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import PaymentSource, PaymentStatus


@dataclass(frozen=True, slots=True)
class Links:
    """Rows of payments that are about others, in the order of both ids, each pair once.

    payment : int32[k]      the row that tells: return, reversal, notification, bank line, check
    other : int32[k]        the row that it is about
    kind, status : uint8[k] LinkKind; MatchStatus AUTO, or REVIEW where it is about one of several
    days_apart : int32[k]   date of the telling row less the other's (settlement, else effective);
                            DATE_NONE where one has none
    """

    payment: Rows
    other: Rows
    kind: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]
    days_apart: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.payment)

    @classmethod
    def of(cls, right: PaymentColumns, found: list[Found]) -> Links:
        """What was found, in order. O(k log k + m)."""
        none = np.zeros(0, np.int32)
        payment = np.concatenate([none, *(part.payment for part in found)])
        other = np.concatenate([none, *(part.other for part in found)])
        kind = np.concatenate([none, *(np.full(len(part.payment), part.kind) for part in found)])
        status = np.concatenate([none, *(part.status for part in found)])
        both = np.concatenate([payment, other])
        ids = np.split(id_keys(right.id_digest[both], right.id_offset[both]), 2)
        order = np.lexsort([status, other, payment, kind, ids[1], ids[0]])
        payment, other, kind, status = payment[order], other[order], kind[order], status[order]
        again = np.zeros(len(order), np.bool_)
        again[1:] = (np.diff(payment) == 0) & (np.diff(other) == 0) & (np.diff(kind) == 0)
        payment, other = payment[~again], other[~again]
        days, others = first_date(right, payment), first_date(right, other)
        known = (days != DATE_NONE) & (others != DATE_NONE)
        apart = np.full(len(days), DATE_NONE, np.int32)
        apart[known] = days[known] - others[known]
        return cls(
            payment,
            other,
            kind[~again].astype(np.uint8),
            status[~again].astype(np.uint8),
            apart,
        )


def link(
    right: PaymentColumns,
    paid: ScreenedPayments,
    calendar: BankingCalendar,
    policy: Policy,
    *,
    kept: Sequence[Mask] = (),
    with_deposits: bool = True,
) -> Links:
    """Find what payment rows are about each other, and write into `paid` what comes of it.

    kept : bool[m] each    payments that stay where copies are held, the last mask first
    with_deposits : False leaves out which checks a deposit holds

    Written: status, reason, hold, open, back, money and funding. Call it once, on payments that are
    screened and without suspected duplicates. The order of rows makes no difference. O(m), and
    O(k log k) for rows that are returns, reversals, notifications or bank lines, or have the amount
    of one; rows that fit too many others are held, see pairing.
    """
    hold_repeated_lines(right, paid, kept)
    reports = link_reports(right, paid, calendar, policy)
    entries = (right.source == PaymentSource.ACH) | (right.source == PaymentSource.BANK_ACH)
    entries &= paid.status != PaymentStatus.DUPLICATE
    entries &= paid.status != PaymentStatus.REPORTED
    reversals = reversal_rows(right, entries)
    found, undone = link_returns(right, paid, policy, entries, reversals)
    found += link_returned_checks(right, paid, policy)
    found += link_reversals(right, paid, calendar, policy, entries, reversals, undone)
    hold_lines_of_returned(right, paid, policy)
    found += link_changes(right, paid, policy, entries)
    if with_deposits:
        found += link_deposits(right, paid, calendar, policy, reports)
    return Links.of(right, reports + found)
