"""Deposits and the checks that they stand for: money that may be reported as one sum and in parts.

Which checks a deposit holds is told, in this order, by

    the deposit's number, with account and day (the same day, else one within the posting window)
    the order of a bank report: the checks that follow a deposit and add up to it
    account, day and exact sum of the checks of one list or stretch of a report
    account and day, where there is one deposit for all that is left

Where the sum is right the checks are the payments, posted (where the deposit's report adds up), and
the deposit is no second one. Where it is not, or several fit, all of them are held: which money is
there twice is for a person to say. A deposit without listed checks is a payment itself, and so is a
check without a deposit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching.pairing import (
    FITS_MAX,
    Days,
    Fits,
    Found,
    Keyed,
    Keys,
    Mask,
    Rows,
    banking_days,
    first_date,
    group_numbers,
    hold,
    pair_up,
    rows_mask,
    rows_of,
    window,
)
from reassoc.core.matching.reports import close_report, fund
from reassoc.core.matching.screening import ScreenedPayments
from reassoc.core.matching.texts import numbers
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import (
    LinkKind,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
)


@dataclass(slots=True)
class _Money:
    """Deposits or checks.

    rows : int32[k]
    account, text : int64[k]   numbers; 0 where it is not given. text: the deposit's number
    date : int32[k]; day : int64[k] as a banking day
    report : int64[k]     number of the list or report they stand in, in which `offset` is the place
    left : bool[k]        not yet tied to the other
    """

    rows: Rows
    account: Keys
    text: Keys
    date: npt.NDArray[np.int32]
    day: Days
    report: Keys
    offset: Keys
    in_report: Mask
    left: Mask

    def part(self, rows: slice) -> _Money:
        """Some of the rows, as a table of their own."""
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return _Money(**columns)


@dataclass(slots=True)
class _Groups:
    """Checks that can only be in one deposit together. `of_check` is -1 for those in none.

    of_check : int64[k]; first : int64[g], one check of each; cents : int64[g], see `_sums`
    """

    of_check: Keys
    first: Keys
    cents: Keys

    @classmethod
    def of(cls, on: Mask, cents: Keys, *columns: npt.NDArray[Any]) -> _Groups:
        rows = np.flatnonzero(on)
        of_row = group_numbers(*(column[rows] for column in columns))
        _, first = np.unique(of_row, return_index=True)
        of_check = np.full(len(on), -1, np.int64)
        of_check[rows] = of_row
        return cls(of_check, rows[first], _sums(len(first), of_row, cents[rows]))


def _sums(size: int, of_row: Keys, cents: Keys) -> Keys:
    """int64[size]: exact sums of cents, none below zero, by number; -1 for those beyond int64."""
    high, low = np.zeros((2, size), np.int64)
    np.add.at(high, of_row, cents >> 32)
    np.add.at(low, of_row, cents & 0xFFFFFFFF)
    high += low >> 32
    return np.where(high >> 31 == 0, high << 32 | low & 0xFFFFFFFF, -1)


class _Tying:
    """What has been found so far."""

    def __init__(
        self, right: PaymentColumns, paid: ScreenedPayments, deposits: _Money, checks: _Money
    ) -> None:
        self.right, self.paid, self.deposits, self.checks = right, paid, deposits, checks
        self.check_cents = right.amount_cents[checks.rows]
        self.deposit_cents = right.amount_cents[deposits.rows]
        self.check_at: list[Keys] = []
        self.deposit_at: list[Keys] = []
        self.sure: list[Mask] = []

    def tie(self, check_at: Keys, deposit_at: Keys, sure: Mask) -> None:
        """Take checks and deposits, as they stand in their tables, for what belongs together."""
        self.checks.left[check_at] = self.deposits.left[deposit_at] = False
        self.check_at.append(check_at)
        self.deposit_at.append(deposit_at)
        self.sure.append(sure)

    def tie_groups(self, groups: _Groups, group: Keys, deposit_at: Keys) -> None:
        """Tie every check of each group to the group's deposit; sure where their sum is right."""
        deposit_of = np.full(len(groups.first), -1, np.int64)
        deposit_of[group] = deposit_at
        check_at = np.flatnonzero(groups.of_check >= 0)
        its = deposit_of[groups.of_check[check_at]]
        check_at, its = check_at[its >= 0], its[its >= 0]
        sums = _sums(len(self.deposits.rows), its, self.check_cents[check_at])
        self.tie(check_at, its, (sums == self.deposit_cents)[its])

    def doubt_groups(self, groups: _Groups, fits: Fits) -> None:
        """Groups that fit several deposits: any of these may hold their checks."""
        many_at = self._deposit_at(fits.many)
        order = np.argsort(fits.few, kind="stable")
        few, many_at = fits.few[order], many_at[order]
        check_at = np.flatnonzero(groups.of_check >= 0)
        starts = np.searchsorted(few, groups.of_check[check_at])
        counts = np.searchsorted(few, groups.of_check[check_at], side="right") - starts
        at = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        self.tie(np.repeat(check_at, counts), many_at[at], np.zeros(len(at), np.bool_))
        crowded = np.isin(groups.of_check, fits.crowded_few)
        self.hold(np.flatnonzero(crowded), self._deposit_at(fits.crowded_many))

    def hold(self, check_at: Keys, deposit_at: Keys) -> None:
        """Keep them from matching by themselves; too many to say which belongs to which."""
        self.checks.left[check_at] = self.deposits.left[deposit_at] = False
        for money, at in ((self.checks, check_at), (self.deposits, deposit_at)):
            hold(self.paid, money.rows[at], Reason.DEPOSIT_DIFFERS)

    def _deposit_at(self, rows: Rows) -> Keys:
        order = np.argsort(self.deposits.rows)
        at: Keys = order[np.searchsorted(self.deposits.rows[order], rows)]
        return at

    def conclude(self) -> list[Found]:
        """Write what was found: sure sums leave the checks, unsure ones hold both."""
        if not self.sure:
            return []
        checks = self.checks.rows[np.concatenate(self.check_at)]
        deposits = self.deposits.rows[np.concatenate(self.deposit_at)]
        sure = np.concatenate(self.sure)
        hold(self.paid, np.concatenate([checks[~sure], deposits[~sure]]), Reason.DEPOSIT_DIFFERS)
        fund(self.right, self.paid, checks[sure], deposits[sure])
        self.paid.reason[checks[sure]] |= np.int64(Reason.REPORTED_BY_BANK)
        close_report(self.paid, deposits[sure])
        self.paid.reason[deposits[sure]] |= np.int64(Reason.PART_OF_DEPOSIT)
        status = np.where(sure, np.uint8(MatchStatus.AUTO), np.uint8(MatchStatus.REVIEW))
        return [Found(checks, deposits, LinkKind.PART_OF, status)]


def link_deposits(
    right: PaymentColumns,
    paid: ScreenedPayments,
    calendar: BankingCalendar,
    policy: Policy,
    reports: list[Found],
) -> list[Found]:
    """Link checks to the deposits that they are part of.

    reports : which lines report which listed checks: a check stands, too, where its line does

    Writes status, reason, hold, open, money and funding. O(m + k log k) for k checks and deposits.
    """
    usable = paid.money & (paid.status != PaymentStatus.DUPLICATE)
    deposit_rows = rows_of(usable & (right.source == PaymentSource.DEPOSIT))
    check_rows = rows_of(usable & (right.source == PaymentSource.CHECK))
    if not len(deposit_rows) or not len(check_rows):
        return []
    deposits, checks = _money(right, calendar, deposit_rows, check_rows, reports)
    tying = _Tying(right, paid, deposits, checks)
    for days in (0, policy.posting_window_banking_days):
        _tie_by_number(tying, days)
    _tie_by_order(tying)
    for days in (0, policy.posting_window_banking_days):
        _tie_by_sum(tying, days)
    _tie_what_is_left(tying)
    return tying.conclude()


def _money(
    right: PaymentColumns,
    calendar: BankingCalendar,
    deposits: Rows,
    checks: Rows,
    reports: list[Found],
) -> tuple[_Money, _Money]:
    """Both in comparable form. A listed check that a line reports is read at the line's place."""
    place = np.arange(len(right), dtype=np.int32)
    for found in reports:
        sure = found.status == MatchStatus.AUTO
        place[found.other[sure]] = found.payment[sure]
    own = np.concatenate([deposits, checks])
    rows = np.concatenate([deposits, place[checks]])
    accounts = numbers(right.account[np.concatenate([rows, own])], leading_zeros=False)
    texts = numbers(right.deposit[np.concatenate([rows, own])], leading_zeros=False)
    ours, others = np.split(accounts, 2), np.split(texts, 2)
    date = first_date(right, rows)
    both = _Money(
        rows=own,
        account=np.where(ours[0] > 0, ours[0], ours[1]),
        text=np.where(others[0] > 0, others[0], others[1]),
        date=date,
        day=banking_days(calendar, date),
        report=group_numbers(right.id_digest[rows], right.report[rows]),
        offset=right.id_offset[rows],
        in_report=right.report[rows] >= 0,
        left=np.ones(len(own), np.bool_),
    )
    return both.part(slice(len(deposits))), both.part(slice(len(deposits), None))


def _tie_by_number(tying: _Tying, days: int) -> None:
    """Checks that name the deposit, in the same account where both say it."""
    deposits, checks = tying.deposits, tying.checks
    groups = _Groups.of(
        checks.left & (checks.text > 0), tying.check_cents, checks.text, checks.account, checks.date
    )
    at = np.flatnonzero(deposits.left & (deposits.text > 0))
    place = np.empty(len(tying.right), np.int64)
    place[deposits.rows[at]] = at
    few = groups.first

    def same_account(group: Rows, row: Rows) -> Mask:
        one, other = checks.account[few[group]], deposits.account[place[row]]
        agrees: Mask = (one == 0) | (other == 0) | (one == other)
        return agrees

    pairs = pair_up(
        Keyed(np.arange(len(few), dtype=np.int32), (checks.text[few],)),
        *window(checks.day[few] if days else checks.date[few].astype(np.int64), days, days),
        Keyed(deposits.rows[at], (deposits.text[at],)),
        deposits.day[at] if days else deposits.date[at].astype(np.int64),
        same_account,
    )
    fits = Fits(pairs, len(tying.right))
    alone = fits.alone()
    tying.tie_groups(groups, fits.few[alone].astype(np.int64), place[fits.many[alone]])
    fits.few, fits.many = fits.few[~alone], fits.many[~alone]
    tying.doubt_groups(groups, fits)


def _stretches(tying: _Tying) -> tuple[Keys, Keys]:
    """By check: which stretch of its report it stands in, and the deposit that begins it (-1).

    A stretch is what stands between two deposits of one account.
    """
    deposits, checks = tying.deposits, tying.checks
    count = len(deposits.rows)
    columns = [
        np.concatenate([getattr(deposits, name), getattr(checks, name)])
        for name in ("offset", "account", "report")
    ]
    order = np.lexsort(columns)
    deposit = order < count
    stretch = np.empty(len(order), np.int64)
    stretch[order] = np.cumsum(deposit)
    latest = np.maximum.accumulate(np.where(deposit, np.arange(len(order)), -1))
    head = np.where(latest >= 0, order[latest], -1)
    for column in columns[1:]:
        head[column[order] != column[head]] = -1
    heads = np.empty(len(order), np.int64)
    heads[order] = head
    return stretch[count:], np.where(checks.in_report, heads[count:], -1)


def _stretch_groups(tying: _Tying) -> tuple[_Groups, Keys]:
    checks = tying.checks
    stretch, head = _stretches(tying)
    on = checks.left & (checks.account > 0)
    columns = (checks.report, checks.account, checks.date, checks.text)
    groups = _Groups.of(on, tying.check_cents, *columns, np.where(checks.in_report, stretch, 0))
    return groups, head


def _tie_by_order(tying: _Tying) -> None:
    """Checks that follow a deposit in a report, have its day and come to its amount."""
    groups, head = _stretch_groups(tying)
    deposit_at = head[groups.first]
    group = np.flatnonzero(deposit_at >= 0)
    deposit_at = deposit_at[group]
    fits = tying.deposits.left[deposit_at]
    fits &= tying.deposit_cents[deposit_at] == groups.cents[group]
    fits &= tying.deposits.date[deposit_at] == tying.checks.date[groups.first[group]]
    single = np.bincount(deposit_at[fits], minlength=len(tying.deposits.rows)) == 1
    fits &= single[deposit_at]
    tying.tie_groups(groups, group[fits], deposit_at[fits])


def _tie_by_sum(tying: _Tying, days: int) -> None:
    """Checks of one list, or stretch of a report, that come to a deposit; unique both ways."""
    deposits, checks = tying.deposits, tying.checks
    groups, _ = _stretch_groups(tying)
    at = np.flatnonzero(deposits.left & (deposits.account > 0))
    place = np.empty(len(tying.right), np.int64)
    place[deposits.rows[at]] = at
    few = groups.first
    pairs = pair_up(
        Keyed(np.arange(len(few), dtype=np.int32), (checks.account[few], groups.cents)),
        *window(checks.day[few] if days else checks.date[few].astype(np.int64), days, days),
        Keyed(deposits.rows[at], (deposits.account[at], tying.deposit_cents[at])),
        deposits.day[at] if days else deposits.date[at].astype(np.int64),
    )
    fits = Fits(pairs, len(tying.right))
    dated = (checks.date[few[fits.few]] != DATE_NONE) & (
        deposits.date[place[fits.many]] != DATE_NONE
    )
    others = np.bincount(fits.many, minlength=len(tying.right))
    others[fits.crowded_many] = Fits.CROWDED
    unique = fits.alone() & (others[fits.many] == 1) & dated
    tying.tie_groups(groups, fits.few[unique].astype(np.int64), place[fits.many[unique]])


def _tie_what_is_left(tying: _Tying) -> None:
    """Of one account and day: all checks that are left, against the one deposit; or all are held.

    Numbers that differ say nothing here: a list and a report may number deposits in their own ways.
    """
    deposits, checks = tying.deposits, tying.checks
    account = np.concatenate([deposits.account, checks.account])
    date = np.concatenate([deposits.date, checks.date])
    left = np.concatenate([deposits.left, checks.left]) & (account > 0) & (date != DATE_NONE)
    block = group_numbers(account, date)
    size, count = int(block.max(initial=-1)) + 1, len(deposits.rows)
    deposit_at, check_at = np.flatnonzero(left[:count]), np.flatnonzero(left[count:])
    deposit_block, check_block = block[deposit_at], block[count + check_at]
    order = np.argsort(deposit_block, kind="stable")
    deposit_at, deposit_block = deposit_at[order], deposit_block[order]
    starts = np.searchsorted(deposit_block, check_block)
    counts = np.searchsorted(deposit_block, check_block, side="right") - starts
    sums = _sums(size, check_block, tying.check_cents[check_at])
    several = counts > FITS_MAX
    crowded = rows_mask(size, check_block[several])
    tying.hold(check_at[several], deposit_at[crowded[deposit_block]])
    counts[several] = 0
    at = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    sure = np.repeat(counts == 1, counts)
    sure &= tying.deposit_cents[deposit_at[at]] == np.repeat(sums[check_block], counts)
    tying.tie(np.repeat(check_at, counts), deposit_at[at], sure)
