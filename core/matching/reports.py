"""What banks report: lines that repeat, and lines about money that another row stands for.

The same detail comes in a same-day and in a previous-day report, and again in a corrected one: of
equal lines the largest number seen in any one report is real, the others are copies.

An ACH credit is seen in the ACH file and again in the bank's report, a check in a lockbox list and
again there: one payment, which is now posted. Account, cents and day tell which, and the trace
where both have one. Where that is not certain, the line is still no second payment: money that may
be counted already is not counted again. The entries that it may be about are real and go on; only
whether they are posted is not known, so their funding stays by their dates. That holds, too, where
as many lines as entries are equal in every field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core._keys import mix
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.matching.ordering import id_keys, kept_first, sound_first
from reassoc.core.matching.pairing import (
    Days,
    Fits,
    Found,
    Keyed,
    Keys,
    Mask,
    Pairs,
    Rows,
    banking_days,
    first_date,
    fresh,
    group_numbers,
    hold,
    join_pairs,
    may_be_in,
    pair_up,
    rows_mask,
    rows_of,
    window,
)
from reassoc.core.matching.screening import ScreenedPayments
from reassoc.core.matching.texts import hashes, numbers, one_is_cut
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, text_parts
from reassoc.core.statuses import (
    Funding,
    LinkKind,
    PaymentSource,
    PaymentStatus,
    Rail,
    Reason,
)

# ---- lines that repeat ----

_CONTENT_TEXTS = (
    "account",
    "trace",
    "payer_id",
    "deposit",
    "payer_account",
    "company_id",
    "company_name",
    "entry_description",
    "receiver_id",
)
_CONTENT_NUMBERS = (
    "source",
    "kind",
    "type_code",
    "amount_cents",
    "settlement_date",
    "effective_date",
)


def hold_repeated_lines(
    right: PaymentColumns, paid: ScreenedPayments, kept: Sequence[Mask] = ()
) -> None:
    """Hold the copies among the lines of reports and lists: of equal content as many rows stay as
    one report holds at most: those that are kept, the last mask first, then the lowest ids, valid
    ones before any others.

    A report is one group of one file. A line read twice (the same id) is one line, and a line
    without a bank reference can be a copy of one with it. O(m), and O(k log k) for lines with the
    amount and account of another.
    """
    rows = rows_of((right.source != PaymentSource.ACH) & paid.money)
    if not len(rows):
        return
    near = mix(
        right.amount_cents[rows],
        right.settlement_date[rows],
        right.type_code[rows],
        hashes(right.account[rows]),
    )
    rows = rows[_keys.repeated(near)]
    if not len(rows):
        return
    loose, named = _content_numbers(right, rows), numbers(right.bank_reference[rows])
    content = group_numbers(loose, named)
    ids = sound_first(id_keys(right.id_digest[rows], right.id_offset[rows]), right.valid[rows])
    for mask in kept:
        ids = kept_first(ids, mask[rows])
    places_in_file = [~right.valid[rows], right.id_offset[rows], right.report[rows]]
    order = np.lexsort([*places_in_file, right.id_digest[rows], content])
    rows, ids = rows[order], ids[order]
    content, loose, named = content[order], loose[order], named[order]
    in_report = fresh(right.id_digest[rows], right.report[rows], content)
    again = ~(fresh(right.id_offset[rows]) | in_report)
    places = np.cumsum(~again) - 1
    number = places - np.maximum.accumulate(np.where(in_report, places, 0))
    starts = np.flatnonzero(fresh(content))
    kept_count = np.maximum.reduceat(number, starts) + 1
    copies = again | _beyond(content, ids, again, starts, kept_count)
    reports = group_numbers(loose, right.id_digest[rows], right.report[rows])
    copies |= _unnamed_copies(loose, reports, named > 0, ids, again, copies)
    held = rows[copies]
    paid.status[held] = PaymentStatus.DUPLICATE
    paid.reason[held] |= np.int64(Reason.DUPLICATE)
    paid.open[held] = False


def _content_numbers(right: PaymentColumns, rows: Rows) -> Keys:
    """Equal numbers for rows that say the same, but for the bank's reference."""
    columns = [numbers(getattr(right, name)[rows]) for name in _CONTENT_TEXTS]
    columns += [getattr(right, name)[rows] for name in _CONTENT_NUMBERS]
    return group_numbers(*columns)


def _beyond(
    content: Keys, ids: npt.NDArray[np.uint64], again: Mask, starts: Keys, kept_count: Keys
) -> Mask:
    """bool[k]: rows that are not among the lowest ids of their content. Rows stand by content."""
    order = np.lexsort([ids, again, content])
    places = np.arange(len(order))
    sizes = np.diff(np.append(starts, len(order)))
    beyond = np.zeros(len(order), np.bool_)
    beyond[order] = places - np.repeat(starts, sizes) >= np.repeat(kept_count, sizes)
    return beyond


def _unnamed_copies(
    loose: Keys,
    reports: Keys,
    named: Mask,
    ids: npt.NDArray[np.uint64],
    again: Mask,
    copies: Mask,
) -> Mask:
    """bool[k]: lines without a bank reference that repeat lines which have one.

    Banks often give no references during the day. Lines with references are all real; of equal ones
    without, as many as the largest report has beside those.

    loose, reports : content but for the reference, and that by report
    """
    size = int(loose.max()) + 1
    once = ~again
    largest = np.zeros(size, np.int64)
    np.maximum.at(largest, loose[once], np.bincount(reports[once])[reports[once]])
    certain = np.bincount(loose[named & ~copies], minlength=size)
    spare = np.where(certain > 0, np.maximum(largest - certain, 0), len(loose))
    left = np.flatnonzero(~named & ~copies)
    left = left[np.lexsort([ids[left], loose[left]])]
    first = np.searchsorted(loose[left], loose[left])
    found = np.zeros(len(loose), np.bool_)
    found[left] = np.arange(len(left)) - first >= spare[loose[left]]
    return found


# ---- lines about money that another row stands for ----


@dataclass(slots=True)
class _Lines:
    """Lines of reports and the entries that they may be about, in comparable form.

    rows : int32[k]        lines, then entries
    line : bool[k]
    rail, account, cents, trace : int64[k]   numbers; 0 for no account, no trace
    company : int64[k]     ACH company identifiers (P1) by number, 0 for none
    number : int64[k]      trace number of ACH, 0 or -1 for none
    day : int64[k]         banking day, DATE_NONE
    traces : TextColumn[k]  those of `trace`
    place : int32[m]       where a row stands in `rows`
    """

    rows: Rows
    line: Mask
    rail: Keys
    account: Keys
    cents: Keys
    trace: Keys
    company: Keys
    number: Keys
    day: Days
    traces: TextColumn
    place: Rows

    def pairs(
        self, on: Mask, columns: tuple[Keys, ...], days: int, keep: Callable[[Rows, Rows], Mask]
    ) -> Pairs:
        """Lines and entries, of those that are on, with equal columns, few days apart."""
        few, many = rows_of(on & self.line), rows_of(on & ~self.line)
        return pair_up(
            Keyed(self.rows[few], tuple(column[few] for column in columns)),
            *window(self.day[few], days, days),
            Keyed(self.rows[many], tuple(column[many] for column in columns)),
            self.day[many],
            lambda one, other: keep(self.place[one], self.place[other]),
        )

    def traces_agree(self, one: Rows, other: Rows) -> Mask:
        """bool[p]: not both have a trace, or they are equal, or one is a cut form of the other, as
        banks do to long ones. By places in `rows`."""
        ours, theirs = self.trace[one], self.trace[other]
        agree: Mask = (ours == 0) | (theirs == 0) | (ours == theirs)
        unequal = np.flatnonzero(~agree)
        agree[unequal] = one_is_cut(self.traces, one[unequal], other[unequal])
        return agree

    def all_agree(self, one: Rows, other: Rows) -> Mask:
        """bool[p]: traces agree, and companies do not differ where no equal trace speaks for them.
        By places in `rows`."""
        ours, theirs = self.company[one], self.company[other]
        told = (self.trace[one] == self.trace[other]) & (self.trace[one] != 0)
        agree: Mask = told | (ours == 0) | (theirs == 0) | (ours == theirs)
        return agree & self.traces_agree(one, other)


def link_reports(
    right: PaymentColumns,
    paid: ScreenedPayments,
    calendar: BankingCalendar,
    policy: Policy,
) -> list[Found]:
    """Link the bank's lines to the entries, or listed checks, that they report.

    Equal trace numbers of ACH first, then equal traces, then what is left; unique both ways each
    time, and what fitted several is not linked by less. Linked: the entry is POSTED
    (once the line's value date has come, and where its report adds up) and the line REPORTED.
    Writes status, reason, open, money and funding. O(m + k log k) for k rows with an account and
    amount that lines have.
    """
    check = right.source == PaymentSource.CHECK
    reported = (right.source == PaymentSource.BANK_ACH) | check & (right.report >= 0)
    usable = paid.money & (paid.status != PaymentStatus.DUPLICATE)
    lines = rows_of(usable & reported)
    if not len(lines):
        return []
    entries = usable & ~reported & ((right.source == PaymentSource.ACH) | check)
    both = _comparable(right, paid, calendar, lines, entries)
    taken, doubtful = np.zeros((2, len(right)), np.bool_)
    dated = first_date(right, np.arange(len(right), dtype=np.int32)) != DATE_NONE
    stages = []
    for pairs_of in (_by_number, _by_trace, _by_account):
        pairs = pairs_of(both, ~taken[both.rows], policy.posting_window_banking_days)
        fits = Fits(pairs, len(right))
        fits.sure = _unique(fits) & ~doubtful[fits.few] & ~doubtful[fits.many]
        if pairs_of is _by_account:
            fits.sure &= dated[fits.few] & dated[fits.many]
        taken[fits.few[fits.sure]] = taken[fits.many[fits.sure]] = True
        doubtful |= fits.touched(sure=False)
        doubtful |= (fits.count > 0) & ~taken
        _post(right, paid, fits)
        stages.append(fits)
    _leave_unclear(paid, lines, stages)
    return [fits.links(LinkKind.REPORT_OF) for fits in stages]


def _comparable(
    right: PaymentColumns,
    paid: ScreenedPayments,
    calendar: BankingCalendar,
    lines: Rows,
    usable: Mask,
) -> _Lines:
    """Lines, and those entries that have the amount, and the account, of any of them.

    PERF: most entries are put aside by hashes; what is left is numbered exactly.
    """
    cents = right.amount_cents
    entries = rows_of(usable & may_be_in(cents, cents[lines]))
    keys = [
        mix(cents[rows], hashes(right.account[rows], leading_zeros=False))
        for rows in (entries, lines)
    ]
    check = right.source[entries] == PaymentSource.CHECK
    entries = entries[may_be_in(*keys) | check]
    rows = np.concatenate([lines, entries])
    account = numbers(right.account[rows], leading_zeros=False)
    traces = right.trace[rows]
    refs = traces.refs.copy()
    refs[refs[:, 1] > _keys.TRACE_BYTES_MAX, 1] = 0
    traces = TextColumn(traces.source, refs)
    place = np.full(len(right), -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    return _Lines(
        rows=rows,
        line=np.arange(len(rows)) < len(lines),
        rail=paid.rail[rows].astype(np.int64),
        account=account,
        cents=cents[rows],
        trace=numbers(traces, leading_zeros=False),
        company=_keys.PayerTable().number(*text_parts(right.company_id[rows])).astype(np.int64),
        number=right.ach_trace[rows],
        day=banking_days(calendar, first_date(right, rows)),
        traces=traces,
        place=place,
    )


def _by_number(both: _Lines, left: Mask, days: int) -> Pairs:
    """Equal account, cents and trace number of ACH, which few reports give."""
    numbered = left & (both.number > 0) & (both.account > 0) & (both.rail == Rail.ACH)
    return both.pairs(numbered, (both.account, both.cents, both.number), days, both.traces_agree)


def _by_trace(both: _Lines, left: Mask, days: int) -> Pairs:
    """Equal rail, account, cents and trace. A check's number and amount tell it even where an
    account is not given."""
    traced, placed = left & (both.trace > 0), both.account > 0
    exact = both.pairs(
        traced & placed, (both.rail, both.account, both.cents, both.trace), days, _any_pair
    )
    checks = traced & (both.rail == Rail.CHECK)
    if not (checks & ~placed).any():
        return exact

    def one_unplaced(one: Rows, other: Rows) -> Mask:
        return ~(placed[one] & placed[other])

    return join_pairs(exact, both.pairs(checks, (both.cents, both.trace), days, one_unplaced))


def _any_pair(one: Rows, _: Rows) -> Mask:
    return np.ones(len(one), np.bool_)


def _by_account(both: _Lines, left: Mask, days: int) -> Pairs:
    """Equal rail, account and cents, and traces that do not contradict."""
    columns = (both.rail, both.account, both.cents)
    return both.pairs(left & (both.account > 0), columns, days, both.all_agree)


def _unique(fits: Fits) -> Mask:
    """bool[p]: pairs that are the only one of both their rows."""
    of_pair = group_numbers(fits.many)
    unique: Mask = fits.alone() & (np.bincount(of_pair)[of_pair] == 1)
    return unique & ~rows_mask(len(fits.count), fits.crowded_many)[fits.many]


def hold_lines_of_returned(right: PaymentColumns, paid: ScreenedPayments, policy: Policy) -> None:
    """Hold lines that tell of no known entry but have the trace and amount of money that went back:
    the line may be about that entry, though its account or day says otherwise.

    What is sent again comes as an entry of its own, so that this costs nothing where entries are
    known. Writes reason and hold; after returns and reversals were linked. O(m + k log k).
    """
    lines = rows_of(paid.open & (right.report >= 0))
    gone = rows_of(paid.back & (right.report < 0))
    if not len(lines) or not len(gone):
        return
    lines = lines[may_be_in(right.amount_cents[lines], right.amount_cents[gone])]
    traces = np.concatenate([lines, gone])
    trace = numbers(right.trace[traces], leading_zeros=False)
    of_line, of_gone = trace[: len(lines)], trace[len(lines) :]
    traced, known = of_line > 0, of_gone > 0
    days = policy.trace_window_days
    pairs = pair_up(
        Keyed(lines[traced], (right.amount_cents[lines[traced]], of_line[traced])),
        *window(first_date(right, lines[traced]).astype(np.int64), days, days),
        Keyed(gone[known], (right.amount_cents[gone[known]], of_gone[known])),
        first_date(right, gone[known]).astype(np.int64),
    )
    hold(paid, np.concatenate([pairs.few, pairs.crowded_few]), Reason.REPORT_UNCLEAR)


def _post(right: PaymentColumns, paid: ScreenedPayments, fits: Fits) -> None:
    lines, entries = fits.few[fits.sure], fits.many[fits.sure]
    fund(right, paid, entries, lines)
    paid.reason[entries] |= np.int64(Reason.REPORTED_BY_BANK)
    close_report(paid, lines)


def fund(right: PaymentColumns, paid: ScreenedPayments, rows: Rows, told_by: Rows) -> None:
    """Raise the funding of rows to that of what reports them, one for each; a report that does not
    add up says nothing of it."""
    sound = right.valid[told_by]
    rows, told_by = rows[sound], told_by[sound]
    paid.funding[rows] = np.maximum(paid.funding[rows], paid.funding[told_by])


def close_report(paid: ScreenedPayments, rows: Rows) -> None:
    """Rows that tell of money which other rows stand for: no payment, counted nowhere."""
    paid.status[rows] = PaymentStatus.REPORTED
    paid.open[rows] = paid.money[rows] = False
    paid.funding[rows] = Funding.NONE


def _leave_unclear(paid: ScreenedPayments, lines: Rows, stages: list[Fits]) -> None:
    for fits in stages:
        unclear = lines[(fits.count[lines] > 0) & (paid.status[lines] != PaymentStatus.REPORTED)]
        close_report(paid, unclear)
        paid.reason[unclear] |= np.int64(Reason.REPORT_UNCLEAR)
        paid.reason[rows_of(fits.touched(sure=False))] |= np.int64(Reason.REPORT_UNCLEAR)
