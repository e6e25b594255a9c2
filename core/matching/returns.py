"""Entries that come back: returns with their refusals, and notifications of change.

A return names the trace number of the entry that it sends back. A trace number repeats (other
banks, other days, numbers that are all zero), so the receiving bank, the amount and the days must
agree as well, and a return that fits several entries holds them all instead of choosing one.

    return       R01..       its original was returned: the money is back
    dishonored   R61..R70    the return was refused: the original waits for a person
    contested    R71..R79    the refusal was refused: returned again
    notification C01..       other account data; moves no money and changes no match

What a return comes to is read off all rows together, whatever their order. Source: Nacha's layouts
of addenda 98 and 99.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import EntryKind, ReturnForm
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.pairing import (
    Fits,
    Found,
    Keyed,
    Mask,
    Pairs,
    Rows,
    first_date,
    hold,
    join_pairs,
    may_be_in,
    pair_up,
    rows_mask,
    rows_of,
    window,
)
from reassoc.core.matching.screening import ScreenedPayments
from reassoc.core.matching.texts import numbers
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import LinkKind, PaymentSource, PaymentStatus, Reason

Column = npt.NDArray[np.int64]
_Same = Callable[[Rows, Rows], Mask]


class Undone(NamedTuple):
    """bool[m] each: entries that were sent back, and those of which that is not certain."""

    certain: Mask
    doubtful: Mask


class _Returns(NamedTuple):
    """Rows by what they say."""

    plain: Rows
    dishonored: Rows
    contested: Rows

    @classmethod
    def of(cls, right: PaymentColumns) -> _Returns:
        returned = right.kind == EntryKind.RETURN
        rows = rows_of(returned & (right.source != PaymentSource.CHECK))
        form = right.return_form[rows]
        dishonored, contested = form == ReturnForm.DISHONORED, form == ReturnForm.CONTESTED
        return cls(rows[~(dishonored | contested)], rows[dishonored], rows[contested])


def link_returns(
    right: PaymentColumns, paid: ScreenedPayments, policy: Policy, entries: Mask, reversals: Rows
) -> tuple[list[Found], Undone]:
    """Link returns to the credits, or reversing debits, that they send back.

    entries : bool[m]     ACH entries that can be an original
    reversals : int32[k]  debits that take credits back; what comes of their return is told, not
                          written

    Writes status, reason, hold, open and back. O(m + k log k) for k returns.
    """
    told = _Returns.of(right)
    undone = Undone(np.zeros(len(right), np.bool_), np.zeros(len(right), np.bool_))
    if not sum(map(len, told)):
        return [], undone
    originals = _named(right, entries, told.plain)
    originals = originals[(paid.money | rows_mask(len(right), reversals))[originals]]
    sent = Fits(_originals(right, policy, told.plain, originals), len(right))
    refused = Fits(_refused_returns(right, policy, told), len(right))
    upheld = Fits(_refusals(right, policy, told), len(right))
    named = right.original_trace > 0
    equal = right.amount_cents[sent.few] == right.amount_cents[sent.many]
    sent.sure = sent.alone() & named[sent.few] & equal
    original_of = _about(sent, np.arange(len(right)))
    refused.sure = _clear(refused, right, original_of)
    upheld.sure = _clear(upheld, right, _about(refused, original_of))
    for fits, rows in ((sent, told.plain), (refused, told.dishonored), (upheld, told.contested)):
        fits.tell(paid.reason, rows, Reason.RETURN_UNCLEAR)
    _undo(right, paid, sent, refused, upheld, undone)
    return [
        sent.links(LinkKind.RETURN_OF),
        refused.links(LinkKind.DISHONORED_RETURN_OF),
        upheld.links(LinkKind.CONTESTED_RETURN_OF),
    ], undone


def _named(right: PaymentColumns, entries: Mask, tellers: Rows) -> Rows:
    """int32[k]: entries that may have a trace number which any of the tellers name."""
    return rows_of(entries & may_be_in(right.ach_trace, right.original_trace[tellers]))


def _originals(right: PaymentColumns, policy: Policy, tellers: Rows, entries: Rows) -> Pairs:
    """Entries with the trace number, bank and amount that a return names, not younger than it;
    where there are none of its amount, those of others, for a person to see.

    An entry without a settlement date has not been given one yet, or the file lacks it: any day
    fits. A return without one, in the bank's own file, has the effective date of its original,
    which may have settled after that.
    """
    named = right.original_trace[tellers] >= 0
    settlement, effective = right.settlement_date[entries], right.effective_date[entries]
    known = (settlement != DATE_NONE) & (effective != DATE_NONE)
    earlier = np.where(known, np.minimum(settlement, effective), settlement)

    def of(some: Rows, day: npt.NDArray[np.int32], *others: Column) -> Pairs:
        return pair_up(
            Keyed(some, (right.original_trace[some], *(column[some] for column in others))),
            *_days_back(right, policy, some),
            Keyed(entries, (right.ach_trace[entries], *(column[entries] for column in others))),
            day.astype(np.int64),
            lambda few, many: _same_bank(right.original_rdfi[few], right.rdfi_routing[many] // 10),
        )

    def of_all(some: Rows, *others: Column) -> Pairs:
        dated = right.settlement_date[some] != DATE_NONE
        return join_pairs(of(some[dated], settlement, *others), of(some[~dated], earlier, *others))

    exact = of_all(tellers[named], right.amount_cents)
    fitted = rows_mask(len(right), np.concatenate([exact.few, exact.crowded_few]))
    return join_pairs(exact, of_all(tellers[named & ~fitted[tellers]]))


def _refused_returns(right: PaymentColumns, policy: Policy, told: _Returns) -> Pairs:
    """Returns that dishonored ones answer: by the return's trace number, or by the original's."""

    def same(few: Rows, many: Rows) -> Mask:
        original = right.original_trace
        bank = _same_bank(right.original_rdfi[few], right.original_rdfi[many])
        named = (original[few] < 0) | (original[few] == original[many])
        agrees: Mask = bank & named
        return agrees

    by_return = right.return_trace[told.dishonored] > 0
    by_original = ~by_return & (right.original_trace[told.dishonored] >= 0)
    return join_pairs(
        _pairs(
            right, policy, told.dishonored[by_return], right.return_trace, told.plain,
            right.ach_trace, same,
        ),
        _pairs(
            right, policy, told.dishonored[by_original], right.original_trace, told.plain,
            right.original_trace, same,
        ),
    )  # fmt: skip


def _refusals(right: PaymentColumns, policy: Policy, told: _Returns) -> Pairs:
    """Dishonored returns that contested ones answer: about the same original and return."""

    def same(few: Rows, many: Rows) -> Mask:
        one, other = right.return_trace[few], right.return_trace[many]
        bank = _same_bank(right.original_rdfi[few], right.original_rdfi[many])
        agrees: Mask = bank & ((one <= 0) | (other <= 0) | (one == other))
        return agrees

    tellers = told.contested[right.original_trace[told.contested] >= 0]
    names = right.original_trace
    return _pairs(right, policy, tellers, names, told.dishonored, names, same)


def _pairs(
    right: PaymentColumns,
    policy: Policy,
    tellers: Rows,
    named: Column,
    rows: Rows,
    names: Column,
    same: _Same,
) -> Pairs:
    return pair_up(
        Keyed(tellers, (named[tellers], right.amount_cents[tellers])),
        *_days_back(right, policy, tellers),
        Keyed(rows, (names[rows], right.amount_cents[rows])),
        first_date(right, rows).astype(np.int64),
        same,
    )


def _days_back(right: PaymentColumns, policy: Policy, rows: Rows) -> tuple[Column, Column]:
    return window(first_date(right, rows).astype(np.int64), policy.return_window_days, 0)


def _same_bank(named: npt.NDArray[np.int32], bank: npt.NDArray[np.int32]) -> Mask:
    """bool[p]: whether the first eight digits agree; a bank that is not given fits any."""
    agrees: Mask = (named <= 0) | (bank <= 0) | (named == bank)
    return agrees


# ---- what comes of them ----


def _about(fits: Fits, subject: Column) -> Column:
    """int64[m]: by telling row, the subject of the row that it is surely about; -1 for none."""
    found = np.full(len(subject), -1, np.int64)
    found[fits.few[fits.sure]] = subject[fits.many[fits.sure]]
    return found


def _clear(fits: Fits, right: PaymentColumns, subject: Column) -> Mask:
    """bool[p]: pairs of rows that fit one other; or several which say the same: copies of one
    return, with its trace number, about one original."""
    _, of_pair = np.unique(fits.few, return_inverse=True)
    copies = np.ones(len(fits.few), np.bool_)
    for values in (subject[fits.many], right.ach_trace[fits.many]):
        lowest, highest = np.full(len(values), 2**63 - 1), np.full(len(values), -(2**63))
        np.minimum.at(lowest, of_pair, values)
        np.maximum.at(highest, of_pair, values)
        copies &= (lowest == highest)[of_pair]
    copies &= subject[fits.many] >= 0
    named = (right.original_trace > 0) | (right.return_trace > 0)
    clear: Mask = (fits.alone() | copies) & named[fits.few]
    return clear


def _undo(
    right: PaymentColumns,
    paid: ScreenedPayments,
    sent: Fits,
    refused: Fits,
    upheld: Fits,
    undone: Undone,
) -> None:
    """Write what a return and its refusals come to for the entry that they are about."""
    size = len(right)
    contested = upheld.touched(sure=True)
    unsettled = upheld.touched(sure=False)
    refusal, refused_return = refused.few[refused.sure], refused.many[refused.sure]
    stands = rows_mask(size, refused_return[contested[refusal]])
    falls = rows_mask(size, refused_return[~contested[refusal]]) & ~stands
    open_question = refused.touched(sure=False)
    open_question[refused_return[unsettled[refusal]]] = True
    teller, original = sent.few[sent.sure], sent.many[sent.sure]
    undone.certain[original[~(falls | open_question)[teller]]] = True
    dishonored = rows_mask(size, original[falls[teller]])
    unclear = sent.touched(sure=False)
    unclear[original[open_question[teller]]] = True
    dishonored &= ~undone.certain
    unclear &= ~undone.certain
    undone.doubtful[:] = dishonored | unclear
    hold(paid, rows_of(dishonored & paid.money), Reason.RETURN_DISHONORED)
    hold(paid, rows_of(unclear & paid.money), Reason.RETURN_UNCLEAR)
    _take_back(paid, rows_of(undone.certain))


def _take_back(paid: ScreenedPayments, rows: Rows) -> None:
    paid.status[rows] = PaymentStatus.RETURNED
    paid.reason[rows] |= np.int64(Reason.RETURNED)
    paid.open[rows] = False
    paid.back[rows] = paid.money[rows]


# ---- checks that come back ----


def link_returned_checks(
    right: PaymentColumns, paid: ScreenedPayments, policy: Policy
) -> list[Found]:
    """Link the bank's lines of deposited checks that were returned to these checks. O(m).

    By account, amount and number. Where a number is not given, the check is only held.
    """
    check = right.source == PaymentSource.CHECK
    rows = rows_of(check & (right.kind == EntryKind.RETURN))
    if not len(rows):
        return []
    usable = check & paid.money & (paid.status != PaymentStatus.DUPLICATE)
    both = np.concatenate([rows, rows_of(usable)])
    account = numbers(right.account[both], leading_zeros=False)
    number = np.zeros(len(right), np.int64)
    number[both] = numbers(right.trace[both], leading_zeros=False)
    told, kept = np.arange(len(both)) < len(rows), account > 0
    few, many = both[told & kept], both[~told & kept]

    def same(one: Rows, other: Rows) -> Mask:
        ours, theirs = number[one], number[other]
        agrees: Mask = (ours == 0) | (theirs == 0) | (ours == theirs)
        return agrees

    pairs = pair_up(
        Keyed(few, (account[told & kept], right.amount_cents[few])),
        *_days_back(right, policy, few),
        Keyed(many, (account[~told & kept], right.amount_cents[many])),
        first_date(right, many).astype(np.int64),
        same,
    )
    fits = Fits(pairs, len(right))
    fits.sure = fits.alone() & (number[fits.few] > 0) & (number[fits.few] == number[fits.many])
    fits.tell(paid.reason, rows, Reason.RETURN_UNCLEAR)
    gone = fits.touched(sure=True)
    hold(paid, rows_of(fits.touched(sure=False) & ~gone), Reason.RETURN_UNCLEAR)
    _take_back(paid, rows_of(gone))
    return [fits.links(LinkKind.RETURN_OF)]


# ---- notifications of change ----

_CHANGEABLE = (EntryKind.CREDIT, EntryKind.DEBIT, EntryKind.PRENOTE, EntryKind.ZERO_DOLLAR)


def link_changes(
    right: PaymentColumns, paid: ScreenedPayments, policy: Policy, entries: Mask
) -> list[Found]:
    """Link notifications of change, and their refusals, to the entries that they are about. O(m).

    As returns, but of any entry, prenotes too, and by the amount only where the notification has
    one. Nothing comes of it but a word on the entry.
    """
    rows = rows_of(right.kind == EntryKind.NOTIFICATION)
    if not len(rows):
        return []

    def same(few: Rows, many: Rows) -> Mask:
        cents = right.amount_cents[few]
        bank = _same_bank(right.original_rdfi[few], right.rdfi_routing[many] // 10)
        agrees: Mask = bank & ((cents == 0) | (cents == right.amount_cents[many]))
        return agrees

    tellers = rows[right.original_trace[rows] >= 0]
    originals = _named(right, entries, tellers)
    originals = originals[np.isin(right.kind[originals], _CHANGEABLE)]
    pairs = pair_up(
        Keyed(tellers, (right.original_trace[tellers],)),
        *_days_back(right, policy, tellers),
        Keyed(originals, (right.ach_trace[originals],)),
        right.settlement_date[originals].astype(np.int64),
        same,
    )
    fits = Fits(pairs, len(right))
    fits.sure = fits.alone() & (right.original_trace[fits.few] > 0)
    paid.reason[rows[fits.count[rows] == 0]] |= np.int64(Reason.NO_ORIGINAL)
    notices = right.return_form[fits.few] != ReturnForm.CHANGE_REFUSED
    paid.reason[fits.many[fits.sure & notices]] |= np.int64(Reason.ACCOUNT_CHANGED)
    return [fits.links(LinkKind.CHANGE_OF)]
