"""Which remittances a step releases, and why: the only place that decides it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.pool import text_parts
from reassoc.core.statuses import Funding, MatchStatus, RemittanceStatus, Tier, among
from reassoc.stream.deciding import Decided
from reassoc.stream.items import ItemFlag, ItemMark, ReleaseKind
from reassoc.stream.live import Columns, Live, Mask
from reassoc.stream.rules import HoldRule, WarehouseRules

Days = npt.NDArray[np.int32]
Kinds = npt.NDArray[np.uint8]

_AT_ONCE = among((Tier.T0, Tier.T1))
_MAY_DEFAULT = (
    RemittanceStatus.AWAITING_EFT,
    RemittanceStatus.AWAITING_CHECK,
    RemittanceStatus.AWAITING_CARD,
    RemittanceStatus.AWAITING_WIRE,
    RemittanceStatus.PROBABLE,
)
"""What waits for money that nobody has seen. What has a payment (matched, a variance) waits for
that one, and what went back is a matter for people."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of the warehouse in the form that items are compared with."""

    rules: WarehouseRules
    calendar: BankingCalendar


def choose(live: Live, decided: Decided, rules: Rules, day: int, *, at_clock: bool) -> Kinds:
    """uint8[n]: the ReleaseKind of each remittance that this step releases, NONE for all others.

    By match: matched by itself or by a person, funded as `funded_by` says; between clock entries
    only T0, T1 and what people matched, since the others lean on what may still come, and nothing
    where `release_at` says clock. Zero pay: at once. By default: at clock entries, days after the
    effective date (after the day it came, where it has none). Never what is held by a person or a
    rule, and never again what was released. O(n + k).
    """
    count = len(live.remittances)
    kinds = np.zeros(count, np.uint8)
    rows = live.remittances.rows
    barred = live.remittances.has(
        ItemFlag.RELEASED | ItemFlag.HELD | ItemFlag.CLOSED | ItemFlag.MOVED | ItemFlag.KNOWN_BEFORE
    )
    open_to = ~barred & ~_held_by_rule(rows, rules.rules)
    matched = rows["status"] == RemittanceStatus.MATCHED
    free = rows["status"] == RemittanceStatus.NO_FUNDS_EXPECTED
    may = decided.may_release & open_to
    if not at_clock:
        may &= ~live.remittances.late
    if not at_clock and rules.rules.release_at == "clock":
        return kinds
    kinds[may & free] = ReleaseKind.ZERO_PAY
    by_match = may & matched & ~_blocked(live, decided, rules.rules, at_clock)
    kinds[by_match] = ReleaseKind.MATCH
    if at_clock:
        default = open_to & (kinds == ReleaseKind.NONE) & _is_due(rows, rules, day)
        kinds[default] = ReleaseKind.DEFAULT
    return kinds


def _blocked(live: Live, decided: Decided, rules: WarehouseRules, at_clock: bool) -> Mask:
    """bool[n]: remittances with a pair that may not release them yet."""
    pairs = decided.pairs
    made = np.flatnonzero(pairs["status"] == MatchStatus.AUTO)
    remittance, payment = decided.pair_remittance[made], decided.pair_payment[made]
    wrong = np.zeros(len(made), np.bool_)
    if rules.funded_by == "posted":
        wrong |= live.payments.rows["funding"][payment] < Funding.POSTED
    if not at_clock:
        wrong |= ~_AT_ONCE[pairs["tier"][made]] & ~pairs["person"][made]
    blocked = np.zeros(len(live.remittances), np.bool_)
    blocked[remittance[wrong]] = True
    return blocked


def _is_due(rows: Columns, rules: Rules, day: int) -> Mask:
    """bool[n]: remittances whose default has come."""
    due = np.zeros(len(rows["status"]), np.bool_)
    waiting = np.flatnonzero(np.isin(rows["status"], _MAY_DEFAULT) & rows["valid"])
    if not len(waiting):
        return due
    effective = rows["effective_date"][waiting]
    anchor = np.where(effective == DATE_NONE, rows["seen_day"][waiting], effective)
    days = _default_days(rows, waiting, rules.rules)
    known = np.flatnonzero(days >= 0)
    last = rules.calendar.add(anchor[known], days[known])
    due[waiting[known[last <= day]]] = True
    return due


def _default_days(
    rows: Columns, waiting: npt.NDArray[np.int64], rules: WarehouseRules
) -> npt.NDArray[np.int64]:
    """int64[k]: banking days after which each is released by default, -1 for never."""
    general = rules.default_release_banking_days
    days = np.full(len(waiting), -1 if general is None else general, np.int64)
    undecided = np.ones(len(waiting), np.bool_)
    for default in rules.default_release:
        fits = undecided & _is_of(rows, waiting, default.payer_ids, default.payee_ids)
        days[fits] = -1 if default.banking_days is None else default.banking_days
        undecided &= ~fits
    return days


def _held_by_rule(rows: Columns, rules: WarehouseRules) -> Mask:
    held = np.zeros(len(rows["status"]), np.bool_)
    everything = np.arange(len(held))
    for rule in rules.hold:
        held |= _fits(rows, everything, rule)
    return held


def _fits(rows: Columns, everything: npt.NDArray[np.int64], rule: HoldRule) -> Mask:
    fits = _is_of(rows, everything, rule.payer_ids, rule.payee_ids)
    if rule.provider_adjustment:
        fits &= rows["marks"] & int(ItemMark.PROVIDER_ADJUSTMENT) != 0
    if rule.reversal:
        fits &= rows["marks"] & int(ItemMark.REVERSAL) != 0
    if rule.above_cents is not None:
        fits &= rows["paid_cents"] > rule.above_cents
    return fits


def _is_of(
    rows: Columns,
    some: npt.NDArray[np.int64],
    payer_ids: tuple[str, ...],
    payee_ids: tuple[str, ...],
) -> Mask:
    """bool[k]: rows of one of some payers, and of one of some payees; empty means any."""
    fits = np.ones(len(some), np.bool_)
    if payer_ids:
        wanted = {_keys.payer_form_of(value.encode()) for value in payer_ids}
        fits &= _any_form(rows, some, ("payer_id", "originator"), wanted, _keys.payer_form_of)
    if payee_ids:
        values = {value.strip().encode() for value in payee_ids}
        fits &= _any_form(rows, some, ("payee_entity_id", "payee_tin"), values, bytes.strip)
    return fits


def _any_form(
    rows: Columns,
    some: npt.NDArray[np.int64],
    names: tuple[str, ...],
    wanted: set[bytes],
    form: object,
) -> Mask:
    """bool[k]: rows of which one of some columns has a wanted form. Few values differ, so each is
    looked at once."""
    assert callable(form)
    fits = np.zeros(len(some), np.bool_)
    for name in names:
        column: TextColumn = rows[name][some]
        numbers = _keys.text_numbers(*text_parts(column))
        _, first, of_row = np.unique(numbers, return_index=True, return_inverse=True)
        known = np.array([form(column.raw(row)) in wanted for row in first.tolist()], np.bool_)
        fits |= known[of_row] if len(known) else fits
    return fits
