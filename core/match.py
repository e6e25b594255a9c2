"""The matcher: which payment belongs to which remittance, by tiers and guards.

A pure function over two pools. The outcome depends on what the pools hold, never on the order of
their rows: ties go to review, ids decide which of two duplicates stays, and pairs come out in the
order of ids.

    screening    what no money pays, and what is no money, is set aside; duplicates are held
    payees       whose items these are: payee and tenant; unknown ones are quarantined
    links        returns, reversals and bank reports: which payments stand
    pins         pairs that stand already, and what fits them as well
    traces       T0 to T3, and sums of one trace root (T8, T9): what shares a trace
    candidates   T4, T6, T7, T10: what shares less
    bulk         sums without a shared trace (T8, T9)
    reissues     money sent again under a new trace
    ranking      what no tier decided goes to review, the likeliest first
    standing     what stood at the last close, and what may be decided before the next one
    outcome      what the pairs mean for their items

What a tier takes is gone for the next one. docs/ARCHITECTURE.md tells more.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _keys
from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.matching import payees
from reassoc.core.matching.again import Again, Pairs
from reassoc.core.matching.keys import (
    KeyRules,
    payment_days,
    payment_items,
    remittance_items,
)
from reassoc.core.matching.links import Links, link
from reassoc.core.matching.ordering import id_keys
from reassoc.core.matching.outcome import conclude, describe
from reassoc.core.matching.pairing import rows_mask
from reassoc.core.matching.payers import company_groups
from reassoc.core.matching.screening import (
    Flags,
    Mask,
    ScreenedPayments,
    ScreenedRemittances,
    hold_duplicate_payments,
    hold_duplicate_remittances,
    screen_payments,
    screen_remittances,
)
from reassoc.core.matching.stages import OnStage, decide
from reassoc.core.matching.state import Rows, Side, State
from reassoc.core.matching.variance import causes
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import PaymentStatus, RemittanceStatus, Tier, reason_text

if TYPE_CHECKING:
    from reassoc.core.ach import AchFiles
    from reassoc.core.directory import Directory
    from reassoc.core.x12_835 import Remittances

__all__ = ["Links", "Matches", "Pairs", "match", "reason_text"]

DAYS_SPAN_MAX = 100_000
"""Days between the first and the last date of a pool up to which each day is counted once."""
EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, repr=False)
class Matches:
    """What was found. Pairs stand in the order of (remittance id, payment id), items in the order
    of their pool.

    remittance, payment : int32[k]   rows in `remittances` and `payments`
    match_id : uint64[k]             made of the ids of both items, of a sum of those of all its
                                     items: the same in every call, whatever else a pool holds;
                                     pairs of one sum share it
    status, tier : uint8[k]          MatchStatus, Tier
    reason : int64[k]               Reason flags, see reason_text
    agreed, differed : uint16[k]     Field flags; a field that one side lacks is in neither
    rewrites : uint16[k]             Rewrite flags: the normal forms that made trace and payer equal
    rivals : uint32[k]               other candidates that either side had
    days_apart : int32[k]            payment's date less the remittance's; DATE_NONE for none
    difference_cents : int64[k]      payment less remittance; of a sum, payments less remittances
    cause : uint8[k]                 VarianceCause: why amounts may differ
    weight : int32[k]                evidence for a pair in review, in hundredths of bits, see
                                     `matching.ranking`; 0 for other pairs
    evidence : int16[k, 5]           what trace, payer, payee, amount and date add to the weight of
                                     a pair in review, in hundredths of bits; 0 for other pairs
    rank : uint16[k]                 place among the candidates of its payment, from 1; a sum is one
    remittance_rank : uint16[k]      place among the candidates of its remittance
    funded : bool[k]                 the payment has settled at `as_of`
    remittance_status : uint8[n]     RemittanceStatus        remittance_reason : int64[n]
    release : bool[n]                may be posted now: matched automatically and funded, or no
                                     funds expected; valid on both sides and not held
    payment_status : uint8[m]        PaymentStatus           payment_reason : int64[m]
    payment_funding : uint8[m]       Funding
    remittance_tenant : uint32[n]    payment_tenant : uint32[m]    numbers in `tenants`
    links                            what payment rows are to each other, see Links
    remittances, payments            the pools that the rows count in
    """

    remittance: Rows
    payment: Rows
    match_id: npt.NDArray[np.uint64]
    status: npt.NDArray[np.uint8]
    tier: npt.NDArray[np.uint8]
    reason: Flags
    agreed: npt.NDArray[np.uint16]
    differed: npt.NDArray[np.uint16]
    rewrites: npt.NDArray[np.uint16]
    rivals: npt.NDArray[np.uint32]
    days_apart: npt.NDArray[np.int32]
    difference_cents: npt.NDArray[np.int64]
    cause: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.int32]
    evidence: npt.NDArray[np.int16]
    rank: npt.NDArray[np.uint16]
    remittance_rank: npt.NDArray[np.uint16]
    funded: Mask
    remittance_status: npt.NDArray[np.uint8]
    remittance_reason: Flags
    release: Mask
    payment_status: npt.NDArray[np.uint8]
    payment_reason: Flags
    payment_funding: npt.NDArray[np.uint8]
    remittance_tenant: npt.NDArray[np.uint32]
    payment_tenant: npt.NDArray[np.uint32]
    tenants: tuple[str, ...]
    links: Links
    remittances: RemittanceColumns
    payments: PaymentColumns

    def __len__(self) -> int:
        return len(self.remittance)

    def __repr__(self) -> str:
        return f"<Matches: {len(self)} pairs>"


def match(
    remittances: RemittanceColumns | Remittances,
    payments: PaymentColumns | AchFiles,
    *,
    policy: Policy | None = None,
    calendar: BankingCalendar | None = None,
    as_of: int | datetime.date | None = None,
    directory: Directory | None = None,
    released: Mask | None = None,
    at_close: bool = True,
    pins: Pairs | None = None,
    vetoes: Pairs | None = None,
    standing: Pairs | None = None,
    late: tuple[Mask, Mask] | None = None,
    spoken: tuple[Mask, Mask] | None = None,
    aside: Mask | None = None,
    surest_only: bool = False,
    on_stage: OnStage = lambda name: None,
) -> Matches:
    """Pair remittances with payments.

    remittances, payments : pools, or what read_835 and read_ach gave; with an AchFiles, the 835s
        that its CTX entries carry are added behind the given remittances (see Matches.remittances)
    policy : None is Policy()
    calendar : banking days; needed with `as_of`; None: Monday to Friday
    as_of : the day up to which payments count as settled (date, or days since 1970-01-01); None:
        nothing is funded
    directory : payees and payers; None: all belongs to tenant "default", and a payee is a bank and
        an account
    released : bool[n] remittances that were handed on earlier; not released again, and flagged
        where their money went back; None for none
    at_close : the banking day is at its close; False: the policy's close_tiers only show what they
        find, and with `standing` keep of it what they would still make
    pins : pairs that stand whatever the tiers would say: a person made them, or the remittance was
        released; the pairs of one match together, see `matching.pins`
    vetoes : pairs that a person undid: only candidates (VETOED), unless pinned
    standing : pairs that were automatic at the last close. Where money of one went back, all of the
        match comes out as UNMATCHED
    late : bool[n], bool[m] items whose surroundings are not fully known: their matches wait
        (WAITS_FOR_HORIZON), unless pinned
    spoken : bool[n], bool[m] items of which a person decided something: of copies these stay
    aside : bool[m] payments that a person took out: in no pair, see `matching.pins`
    surest_only : the pools are a neighbourhood, closed under `matching.neighbours`: only T0 to T3,
        T5 and what went back are looked for, and of other tiers `standing` is kept where nothing
        found speaks against it. Which checks a deposit holds is not looked for, so that matches of
        checks wait unless they stood
    on_stage : told the name of each stage as it begins

    Raises ValueError for `as_of` without a calendar or with a time, for a payment_row that is none,
    for masks of another length and for pairs that name rows that are not there, DirectoryError
    where the directory lists an identifier that the policy ignores. O(n + m) on average, for blocks
    of equal trace and payer see _resolve.h, for sums _bulk.h; about 200 bytes a row beside the
    pools.
    """
    as_of_day = _day_of(as_of, calendar)
    left, right = _pools(remittances, payments)
    pins, vetoes = pins or Pairs.none(), vetoes or Pairs.none()
    again = Again(pins, vetoes, standing, late, released, spoken, aside)
    again.check(len(left), len(right))
    rules = KeyRules.of(policy or Policy(), directory)
    state, tenants = _prepare(
        left, right, policy or Policy(), rules, calendar, as_of_day, directory, again, on_stage,
        with_deposits=not surest_only,
    )  # fmt: skip
    state.at_close = at_close or standing is not None
    pairs, kernel = decide(state, rules, on_stage, at_close=at_close, surest_only=surest_only)
    columns = describe(state, pairs, kernel)
    on_stage("statuses")
    return _concluded(state, columns, tenants)


def _day_of(as_of: int | datetime.date | None, calendar: BankingCalendar | None) -> int | None:
    """Days since 1970-01-01."""
    if isinstance(as_of, datetime.datetime):
        raise ValueError(f"as_of is a day, not a moment: {as_of}")
    if as_of is not None and calendar is None:
        raise ValueError("as_of needs a calendar: banking days decide what has settled")
    return (as_of - EPOCH).days if isinstance(as_of, datetime.date) else as_of


def _concluded(state: State, columns: dict[str, Any], tenants: tuple[str, ...]) -> Matches:
    columns["cause"] = _causes(state, columns)
    conclude(state, columns, state.again.released)
    assert state.links is not None
    return Matches(
        **columns,
        remittance_status=state.seen.status,
        remittance_reason=state.seen.reason,
        release=state.seen.free,
        payment_status=state.paid.status,
        payment_reason=state.paid.reason,
        payment_funding=state.paid.funding,
        remittance_tenant=state.remittances.tenant,
        payment_tenant=state.payments.tenant,
        tenants=tenants,
        links=state.links,
        remittances=state.left,
        payments=state.right,
    )


def _pools(
    remittances: RemittanceColumns | Remittances, payments: PaymentColumns | AchFiles
) -> tuple[RemittanceColumns, PaymentColumns]:
    if isinstance(remittances, RemittanceColumns):
        left = remittances
    else:
        left = RemittanceColumns.from_tables(remittances)
    if isinstance(payments, PaymentColumns):
        return left, payments
    carried = RemittanceColumns.from_ach(payments)
    if len(carried):
        left = RemittanceColumns.concat([left, carried])
    return left, PaymentColumns.from_tables(payments)


# ---- the sides ----


def _prepare(
    left: RemittanceColumns,
    right: PaymentColumns,
    policy: Policy,
    rules: KeyRules,
    calendar: BankingCalendar | None,
    as_of_day: int | None,
    directory: Directory | None,
    again: Again,
    on_stage: OnStage,
    *,
    with_deposits: bool,
) -> tuple[State, tuple[str, ...]]:
    """Everything that is known of items before the tiers run, and the names of tenants."""
    on_stage("screening")
    seen, paid = screen_remittances(left, policy), screen_payments(right, as_of_day, calendar)
    on_stage("payees")
    right_day = payment_days(right)
    identities = payees.identify(left, right, left.effective_date, right_day, directory)
    _quarantine(seen, paid, identities)
    on_stage("normal forms")
    left_items = remittance_items(left, rules, seen.hold)
    kept_left, kept_right = _kept(again, len(left), len(right))
    hold_duplicate_payments(right, paid, kept_right)
    hold_duplicate_remittances(left, left_items, seen, [_has_carrier(left, paid), *kept_left])
    on_stage("returns and reports")
    calendar = calendar or BankingCalendar(np.zeros(0, np.int32))
    links = link(right, paid, calendar, policy, kept=kept_right, with_deposits=with_deposits)
    right_items = payment_items(right, rules, paid.hold)
    state = State(
        left, right, policy, calendar, seen, paid,
        _remittance_side(left, left_items, seen, identities, calendar),
        _payment_side(right, right_items, paid, identities, calendar),
        company_group=company_groups(right, rules.payers, right_day),
        payers=rules.payers,
        again=again,
        links=links,
    )  # fmt: skip
    return state, identities.tenants


def _kept(again: Again, left_count: int, right_count: int) -> tuple[list[Mask], list[Mask]]:
    """Which of copies stay, of both sides, the weakest reason first."""
    left, right = [], []
    if again.spoken is not None:
        left.append(again.spoken[0])
        right.append(again.spoken[1])
    if again.aside is not None:
        right.append(again.aside)
    if len(again.pins):
        left.append(rows_mask(left_count, again.pins.remittance))
        right.append(rows_mask(right_count, again.pins.payment))
    if again.released is not None:
        left.append(again.released)
    return left, right


def _has_carrier(left: RemittanceColumns, paid: ScreenedPayments) -> Mask:
    """bool[n]: false for 835s inside an entry that is held as a duplicate: of equal ones that stays
    whose entry does, for it is its money. The weakest reason of all to stay."""
    carried = np.flatnonzero(left.payment_row >= 0)
    carriers, count = left.payment_row[carried], len(paid.status)
    if len(carried) and carriers.max() >= count:
        raise ValueError(f"payment_row {carriers.max()} is no row of the {count} payments")
    stands = np.ones(len(left), np.bool_)
    stands[carried] = paid.status[carriers] != PaymentStatus.DUPLICATE
    return stands


def _quarantine(
    seen: ScreenedRemittances, paid: ScreenedPayments, identities: payees.Identities
) -> None:
    """Set aside what belongs to nobody that the directory knows: it is shown, never guessed."""
    seen.reason |= identities.left_reason
    unknown = (identities.left_reason != 0) & (seen.status != RemittanceStatus.INVALID)
    seen.status[unknown] = RemittanceStatus.QUARANTINED
    seen.open[unknown] = seen.free[unknown] = False
    # Returns and notices stand under the originator's bank: only money is somebody's.
    unknown = (identities.right_reason != 0) & paid.open
    paid.reason[unknown] |= identities.right_reason[unknown]
    paid.status[unknown] = PaymentStatus.QUARANTINED
    paid.open[unknown] = False


def _side(
    items: _keys.Items,
    screened: ScreenedRemittances | ScreenedPayments,
    calendar: BankingCalendar,
    day: npt.NDArray[np.int32],
    **columns: Any,
) -> Side:
    return Side(
        items=items,
        day=day,
        banking_day=_banking_days(calendar, day, screened.open),
        payer=items.payer,
        payer_group=items.payer_group,
        rail=screened.rail,
        held=screened.hold != 0,
        open=screened.open,
        **columns,
    )


def _remittance_side(
    left: RemittanceColumns,
    items: _keys.Items,
    seen: ScreenedRemittances,
    identities: payees.Identities,
    calendar: BankingCalendar,
) -> Side:
    return _side(
        items, seen, calendar, left.effective_date,
        cents=left.paid_cents,
        payee=identities.left_payee,
        tenant=identities.left_tenant,
        order=id_keys(left.id_digest, left.id_offset),
    )  # fmt: skip


def _payment_side(
    right: PaymentColumns,
    items: _keys.Items,
    paid: ScreenedPayments,
    identities: payees.Identities,
    calendar: BankingCalendar,
) -> Side:
    return _side(
        items, paid, calendar, payment_days(right),
        cents=right.amount_cents,
        payee=identities.right_payee,
        tenant=identities.right_tenant,
        order=id_keys(right.id_digest, right.id_offset),
    )  # fmt: skip


def _banking_days(
    calendar: BankingCalendar, days: npt.NDArray[np.int32], rows: Mask
) -> npt.NDArray[np.int32]:
    """int32[n]: banking days since 1970-01-01 of each day rolled forward. Few days differ, so each
    is counted once."""
    if not len(days):
        return days
    known = days != DATE_NONE
    if not known.any():
        return days
    first, last = int(days[known].min()), int(days[known].max())
    if last - first > DAYS_SPAN_MAX:
        return calendar.between(np.zeros(len(days), np.int32), calendar.roll_forward(days))
    span = np.arange(first, last + 1, dtype=np.int32)
    counts = calendar.between(np.zeros(len(span), np.int32), calendar.roll_forward(span))
    return np.where(known, counts[np.where(known, days - first, 0)], DATE_NONE).astype(np.int32)


def _causes(state: State, columns: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Why amounts may differ, of pairs of T5."""
    cause = np.zeros(len(columns["tier"]), np.uint8)
    rows = np.flatnonzero(columns["tier"] == Tier.T5)
    if len(rows):
        cause[rows], _ = causes(state, columns["remittance"][rows], columns["payment"][rows])
    return cause
