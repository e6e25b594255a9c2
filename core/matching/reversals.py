"""Reversals: debits that take credits back.

A reversal has a trace number of its own. What it takes back is told by company, account, bank and
amount, within a few banking days after the credit; and by the receiver's number where it separates
several. Where it does not, all of them wait for a person. Source: Nacha's rules on reversing
entries (batch description REVERSAL, full amount, five banking days).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core._keys import mix
from reassoc.core.ach import EntryKind
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.matching.pairing import (
    Fits,
    Found,
    Keyed,
    Keys,
    Mask,
    Pairs,
    Rows,
    banking_days,
    first_date,
    hold,
    may_be_in,
    pair_up,
    rows_mask,
    rows_of,
    window,
)
from reassoc.core.matching.returns import Undone
from reassoc.core.matching.screening import ScreenedPayments
from reassoc.core.matching.texts import hashes, numbers
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, text_parts
from reassoc.core.statuses import LinkKind, PaymentStatus, Reason

REVERSAL_MARK = b"REVERSAL"


def reversal_rows(right: PaymentColumns, entries: Mask) -> Rows:
    """int32[k]: debits of batches that are called REVERSAL (letters and digits, in any case)."""
    debits = rows_of(entries & (right.kind == EntryKind.DEBIT))
    return debits[_keys.text_equals(*text_parts(right.entry_description[debits]), REVERSAL_MARK)]


def link_reversals(
    right: PaymentColumns,
    paid: ScreenedPayments,
    calendar: BankingCalendar,
    policy: Policy,
    entries: Mask,
    reversals: Rows,
    undone: Undone,
) -> list[Found]:
    """Link reversals to the credits that they take back.

    entries : bool[m]     ACH entries that can be an original
    reversals : int32[k]  see reversal_rows
    undone : reversals that were themselves sent back; what they say is for a person

    Writes status, reason, hold, open and back. O(m + k log k) for k rows with a reversal's amount.
    """
    if not len(reversals):
        return []
    cents = right.amount_cents
    credits = rows_of(entries & paid.money & may_be_in(cents, cents[reversals]))
    companies = _keys.PayerTable()
    near = _near(right, credits, companies), _near(right, reversals, companies)
    credits = credits[may_be_in(*near)]
    pairs = _credits_of(right, calendar, policy, reversals, credits, companies)
    fits = Fits(_by_receiver(right, pairs), len(right))
    dated = (first_date(right, fits.few) != DATE_NONE) & (first_date(right, fits.many) != DATE_NONE)
    stands = ~(undone.certain | undone.doubtful)[fits.few]
    fits.sure = fits.alone() & dated & stands
    fits.tell(paid.reason, reversals, Reason.REVERSAL_UNCLEAR)
    taken = rows_mask(len(right), fits.many[fits.sure])
    hold(paid, rows_of(fits.touched(sure=False) & ~taken & ~paid.back), Reason.REVERSAL_UNCLEAR)
    rows = rows_of(taken)
    paid.reason[rows] |= np.int64(Reason.REVERSED)
    paid.status[rows[~paid.back[rows]]] = PaymentStatus.REVERSED
    paid.open[rows] = False
    paid.back[rows] = True
    return [fits.links(LinkKind.REVERSAL_OF)]


def _near(right: PaymentColumns, rows: Rows, companies: _keys.PayerTable) -> npt.NDArray[np.uint64]:
    """uint64[k]: equal where amount, account and company (P1) are.

    PERF: nearly all credits with the amount of a reversal are put aside by it.
    """
    account = hashes(right.account[rows], leading_zeros=False)
    company = companies.number(*text_parts(right.company_id[rows]))
    return mix(right.amount_cents[rows], account, company)


def _credits_of(
    right: PaymentColumns,
    calendar: BankingCalendar,
    policy: Policy,
    reversals: Rows,
    credits: Rows,
    companies: _keys.PayerTable,
) -> Pairs:
    """Credits of the same company (P1), account and amount, in the banking days before each."""
    both = np.concatenate([reversals, credits])
    company = companies.number(*text_parts(right.company_id[both])).astype(np.int64)
    account = numbers(right.account[both], leading_zeros=False)
    columns = (company, account, right.amount_cents[both])
    known = (company > 0) & (account > 0)
    day = banking_days(calendar, first_date(right, both))
    few, many = known.copy(), known.copy()
    few[len(reversals) :] = False
    many[: len(reversals)] = False

    def same_bank(one: Rows, other: Rows) -> Mask:
        bank, its = right.rdfi_routing[one], right.rdfi_routing[other]
        agrees: Mask = (bank <= 0) | (its <= 0) | (bank == its)
        return agrees

    return pair_up(
        Keyed(both[few], tuple(column[few] for column in columns)),
        *window(day[few], policy.reversal_window_banking_days, 0),
        Keyed(both[many], tuple(column[many] for column in columns)),
        day[many],
        same_bank,
    )


def _by_receiver(right: PaymentColumns, pairs: Pairs) -> Pairs:
    """Of several credits the one with the reversal's receiver number, if all others have another.

    One whose number is not given could be meant as well, so that all stay.
    """
    of_few = numbers_of(right.receiver_id, pairs.few, pairs.many)
    told, its = of_few[: len(pairs.few)], of_few[len(pairs.few) :]
    same, unknown = (told == its) & (told > 0), its == 0
    size = len(right)
    separates = rows_mask(size, pairs.few[same]) & ~rows_mask(size, pairs.few[unknown])
    kept = same | ~separates[pairs.few]
    return Pairs(pairs.few[kept], pairs.many[kept], pairs.crowded_few, pairs.crowded_many)


def numbers_of(column: TextColumn, *rows: Rows) -> Keys:
    """Numbers of a text column's values at some rows, comparable with each other."""
    return numbers(column[np.concatenate(rows)])
