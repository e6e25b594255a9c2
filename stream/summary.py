"""Counts and cents of a run, for machines (`summary.json`, `--json`) and for the table at the
end.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.errors import FindingCode, severity
from reassoc.core.statuses import (
    Funding,
    LinkKind,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    RemittanceStatus,
    VarianceCause,
)
from reassoc.stream import package_version
from reassoc.stream.outcome import Outcome
from reassoc.stream.report import Verdicts, best_last, enum_names
from reassoc.stream.sources import Discovery


class Tally(msgspec.Struct, frozen=True):
    """How many, and how much money: whole cents."""

    count: int
    cents: int


class NotRead(msgspec.Struct, frozen=True):
    """An input that was not read, and why."""

    file: str
    reason: str


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs. `copies` had the same content as another one: their items are duplicates."""

    read: int
    copies: int
    x12: int
    ach: int
    bank_reports: int
    lists: int
    unreadable: list[NotRead]
    passed_over: list[NotRead]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """All remittances, or all payments, by their final status and by tenant."""

    total: Tally
    by_status: dict[str, Tally]
    by_tenant: dict[str, Tally]


class Payments(Side, frozen=True, kw_only=True):
    """Payments, by whether the money is there, and by where they were seen."""

    by_funding: dict[str, Tally]
    by_source: dict[str, Tally]


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs, candidates among them. Cents are those of the payments, each counted once, where it
    fits best; of `variance_by_cause` the differences, payment less remittance.
    """

    total: Tally
    funded: Tally
    by_status: dict[str, Tally]
    by_tier: dict[str, Tally]
    variance_by_cause: dict[str, Tally]


class LinkTallies(msgspec.Struct, frozen=True, kw_only=True):
    """What payment rows are to each other: sure links, and those that a person must look at."""

    by_kind: dict[str, Tally]
    unclear: dict[str, Tally]


class ReleasedInterchange(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    interchange_control_number: str
    groups: int
    transactions: int
    cents: int


class Released(msgspec.Struct, frozen=True, kw_only=True):
    total: Tally
    groups: int
    interchanges: list[ReleasedInterchange]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    total: int
    by_severity: dict[str, int]
    by_code: dict[str, int]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in numbers. `bytes` are decompressed ones; `seconds` and `bytes_per_second` are
    wall-clock.
    """

    reassoc: str
    as_of: str
    inputs: Inputs
    remittances: Side
    payments: Payments
    matches: Pairs
    links: LinkTallies
    released: Released
    findings: Findings
    claims: int
    services: int
    other_transactions: int
    bytes: int
    seconds: float
    bytes_per_second: int

    def to_json(self) -> builtins.bytes:
        """Indented JSON, with a line end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def summarise(outcome: Outcome, found: Discovery, seconds: float) -> Summary:
    """Count a run. O(items)."""
    pools, items = outcome.pools, outcome.items
    verdict = Verdicts(outcome)
    byte_count = sum(one.byte_count for one in items)
    tenants = outcome.matches.tenants
    return Summary(
        reassoc=package_version(),
        as_of=outcome.as_of.isoformat(),
        inputs=Inputs(
            read=len(items),
            copies=int((pools.copy_of >= 0).sum()),
            x12=sum(one.kind.name == "X12" for one in items),
            ach=sum(one.kind.name == "ACH" for one in items),
            bank_reports=sum(one.kind.name == "BAI2" for one in items),
            lists=sum(one.kind.name == "LOCKBOX" for one in items),
            unreadable=[NotRead(problem.name, problem.reason) for problem in found.unreadable],
            passed_over=[NotRead(problem.name, problem.reason) for problem in found.passed_over],
        ),
        remittances=Side(
            total=_total(pools.remittances.paid_cents),
            by_status=_tallies(
                verdict.remittance_status,
                pools.remittances.paid_cents,
                enum_names(RemittanceStatus),
            ),
            by_tenant=_tallies(verdict.remittance_tenant, pools.remittances.paid_cents, tenants),
        ),
        payments=Payments(
            total=_total(pools.payments.amount_cents),
            by_status=_tallies(
                verdict.payment_status, pools.payments.amount_cents, enum_names(PaymentStatus)
            ),
            by_funding=_tallies(
                verdict.payment_funding, pools.payments.amount_cents, enum_names(Funding)
            ),
            by_tenant=_tallies(verdict.payment_tenant, pools.payments.amount_cents, tenants),
            by_source=_tallies(
                pools.payments.source.astype(np.int64),
                pools.payments.amount_cents,
                enum_names(PaymentSource),
            ),
        ),
        matches=_pairs(outcome),
        links=_links(outcome),
        released=_released(outcome),
        findings=_findings([one.finding_counts for one in items]),
        claims=sum(one.claim_count for one in items),
        services=sum(one.service_count for one in items),
        other_transactions=sum(one.other_transaction_count for one in items),
        bytes=byte_count,
        seconds=round(seconds, 3),
        bytes_per_second=round(byte_count / seconds) if seconds > 0 else 0,
    )


def _total(cents: npt.NDArray[np.int64]) -> Tally:
    # Python's integers: a sum of many int64 amounts may be larger than one.
    return Tally(len(cents), _sum(cents))


def _sum(cents: npt.NDArray[np.int64]) -> int:
    """Exact sum, also beyond 64 bits."""
    high, low = cents >> 32, cents & 0xFFFFFFFF
    return (int(high.sum()) << 32) + int(low.sum())


def _tallies(
    values: npt.NDArray[np.int64], cents: npt.NDArray[np.int64], names: Sequence[str]
) -> dict[str, Tally]:
    """Count and cents by value, those that occur, in the order of the values."""
    result = {}
    for value in np.unique(values).tolist():
        if value >= 0 and names[value]:
            chosen = values == value
            result[names[value]] = Tally(int(chosen.sum()), _sum(cents[chosen]))
    return result


def _pairs(outcome: Outcome) -> Pairs:
    matches, payments = outcome.matches, outcome.pools.payments
    rows = outcome.payment_rows[matches.payment]
    best = np.full(len(payments), -1, np.int64)
    pairs = best_last(matches, matches.rank)
    best[rows[pairs]] = pairs
    cents = np.where(best[rows] == np.arange(len(rows)), payments.amount_cents[rows], 0)
    statuses = enum_names(MatchStatus)
    tiers = [f"T{tier}" for tier in range(11)]
    causes = enum_names(VarianceCause)
    causes[VarianceCause.NONE] = "unknown"
    variance = matches.status == MatchStatus.VARIANCE
    return Pairs(
        total=_total(cents),
        funded=_total(cents[matches.funded]),
        by_status=_tallies(matches.status.astype(np.int64), cents, statuses),
        by_tier=_tallies(matches.tier.astype(np.int64), cents, tiers),
        variance_by_cause=_tallies(
            matches.cause[variance].astype(np.int64), matches.difference_cents[variance], causes
        ),
    )


def _links(outcome: Outcome) -> LinkTallies:
    links = outcome.matches.links
    cents = outcome.pools.payments.amount_cents[outcome.payment_rows[links.payment]]
    sure, names = links.status == MatchStatus.AUTO, enum_names(LinkKind)
    kinds = links.kind.astype(np.int64)
    return LinkTallies(
        by_kind=_tallies(kinds[sure], cents[sure], names),
        unclear=_tallies(kinds[~sure], cents[~sure], names),
    )


def _released(outcome: Outcome) -> Released:
    interchanges = [
        ReleasedInterchange(
            file=file.name,
            interchange_control_number=f"{file.control_number:09d}",
            groups=file.group_count,
            transactions=file.transaction_count,
            cents=file.cents,
        )
        for file in outcome.files
    ]
    return Released(
        total=Tally(
            sum(one.transactions for one in interchanges), sum(one.cents for one in interchanges)
        ),
        groups=sum(one.groups for one in interchanges),
        interchanges=interchanges,
    )


def _findings(parts: Sequence[Counter[int]]) -> Findings:
    counts: Counter[int] = sum(parts, Counter())
    by_severity: Counter[str] = Counter()
    for code, count in counts.items():
        by_severity[severity(FindingCode(code)).name.lower()] += count
    return Findings(
        total=counts.total(),
        by_severity=dict(sorted(by_severity.items())),
        by_code={FindingCode(code).name: counts[code] for code in sorted(counts)},
    )
