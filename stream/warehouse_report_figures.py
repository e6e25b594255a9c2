"""The figures of the report of a warehouse, as its JSON has them.

Names of fields and values stay what they are; new ones may come. Money is whole cents, days are ISO
dates. Nothing of patients or accounts is in any of them.
"""

from __future__ import annotations

import msgspec

from reassoc.core.errors import ReassocError
from reassoc.stream.summary import Tally

BY_PERSON = "person"
"""Stands for a tier where a person made the match."""
OTHER_PAYERS = "(other payers)"
"""Stands for the name of a payer where many are told together."""
SIDES = ("remittances", "payments")
"""By ItemSide, as they are called here."""


class ReportError(ReassocError):
    """The report that was asked for cannot be made; the message says why and what to do."""


class DayTally(msgspec.Struct, frozen=True):
    """One day: what came, claims of the remittances that came, pairs that were matched and that
    ceased to be."""

    day: str
    remittances: Tally
    payments: Tally
    claims: int
    matched: Tally
    undone: Tally


class Received(msgspec.Struct, frozen=True):
    """What came.

    payments : credits, by PaymentSource; not those that only report the money of another row
    other_entries : what else payment files hold: reports of another row's money, by EntryKind what
        is no credit
    """

    remittances: Tally
    claims: int
    payments: Tally
    payments_by_source: dict[str, Tally]
    other_entries: dict[str, Tally]


class TierTally(msgspec.Struct, frozen=True):
    """Pairs of one tier (`T1`, or BY_PERSON) that were matched, and that ceased to be."""

    tier: str
    made: Tally
    undone: Tally


class Rate(msgspec.Struct, frozen=True):
    """Of what came in the span and waits for a counterpart: all, and what had one at the end."""

    expected: Tally
    matched: Tally


class Matched(msgspec.Struct, frozen=True):
    """Pairs; cents are those of the smaller side."""

    made: Tally
    undone: Tally
    by_tier: list[TierTally]
    remittances: Rate
    payments: Rate


class Released(msgspec.Struct, frozen=True):
    """First releases by ReleaseKind, and what people had sent once more.

    median_banking_days, p90_banking_days : from receipt to release; null where nothing was released
    """

    total: Tally
    by_kind: dict[str, Tally]
    resent: Tally
    median_banking_days: int | None
    p90_banking_days: int | None


class OpenTally(msgspec.Struct, frozen=True):
    """Open items of one side, status and age (ageing.BUCKET_NAMES) at the end of the last day."""

    side: str
    status: str
    age: str
    count: int
    cents: int


class VarianceTally(msgspec.Struct, frozen=True):
    """Pairs that differ in the amount.

    standing : how many of them stood so at the end
    short_cents, over_cents : by how much payments were below and above their remittances
    """

    payer_id: str
    payer_name: str
    cause: str
    count: int
    standing: int
    short_cents: int
    over_cents: int


class Variances(msgspec.Struct, frozen=True):
    """Pairs that came to differ in the span: by cause (without payer), and by payer and cause."""

    total: VarianceTally
    by_cause: list[VarianceTally]
    by_payer: list[VarianceTally]
    other_payers: VarianceTally


class LateTally(msgspec.Struct, frozen=True):
    """Pairs of one payer, and those received late.

    pairs : ACH pairs that were matched in the span and stood at its end
    worst_banking_days : the most that one came behind its day, 0 where none was late
    """

    payer_id: str
    payer_name: str
    pairs: int
    late: int
    worst_banking_days: int


class Late(msgspec.Struct, frozen=True):
    """Received late: more than ageing.TOLERANCE_BANKING_DAYS after the effective day."""

    total: LateTally
    by_payer: list[LateTally]
    other_payers: LateTally


class WentBack(msgspec.Struct, frozen=True):
    """Payments whose money went back: PaymentStatus, and whether a remittance was released."""

    status: str
    before_release: Tally
    after_release: Tally


class DecisionTally(msgspec.Struct, frozen=True):
    """Decisions of one kind; items and cents are of those that were done."""

    kind: str
    done: int
    refused: int
    items: int
    cents: int


class WarehouseReport(msgspec.Struct, frozen=True, kw_only=True):
    """A span of days. tenant : null for all"""

    first_day: str
    last_day: str
    tenant: str | None
    days: list[DayTally]
    received: Received
    matched: Matched
    released: Released
    open: list[OpenTally]
    variances: Variances
    late: Late
    went_back: list[WentBack]
    alerts: dict[str, int]
    duplicates: dict[str, Tally]
    decisions: list[DecisionTally]
