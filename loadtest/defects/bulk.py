"""Cases of one payment for several remittances, and of several payments for one."""

from __future__ import annotations

from dataclasses import replace

from reassoc.loadtest.defects.base import Defect, siblings
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    AUTO,
    REVIEW,
    Chunk,
    Payment,
    Remittance,
    adjust,
    pay,
    retrace,
)

_SUFFIX_SIGNS = "-./_ "


def pay_all(remittances: list[Remittance]) -> Payment:
    """One payment for all, under the trace of the first."""
    payment = pay(remittances[0])
    payment.amount_cents = sum(remittance.paid_cents for remittance in remittances)
    return payment


def _shared_trace(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Several 835s carry the trace of the one payment for them."""
    group = siblings(chunk, remittance, 3)[: draws.between(2, 4)]
    for sibling in group:
        sibling.trace = remittance.trace
    chunk.add_group(case, group, [pay_all(group)])


def _suffixed_trace(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The 835s of one payment count themselves behind its trace: T-01, T-02."""
    group = siblings(chunk, remittance, 2)[: draws.between(2, 3)]
    payment = pay_all(group)
    sign, root = draws.pick(_SUFFIX_SIGNS), remittance.trace
    form = draws.pick(("{:02d}", "{}", "A{}"))
    for number, sibling in enumerate(group, 1):
        sibling.trace = root + sign + form.format(number)
    chunk.add_group(case, group, [payment])


def _no_root(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One payment for several 835s with traces of their own; the payment's is none of them."""
    group = siblings(chunk, remittance, 3)[: draws.between(2, 4)]
    chunk.add_group(case, group, [own_trace(pay_all(group), remittance, draws)], REVIEW)


def own_trace(payment: Payment, remittance: Remittance, draws: Draws) -> Payment:
    """The payment under a number that no remittance has."""
    retrace(payment, remittance.payer, f"7{draws.one(10**9):09d}{draws.one(10**6):06d}")
    return payment


def _by_npi(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """835s go out by NPI, the payment by the tax number that the NPIs belong to."""
    group = siblings(chunk, remittance, 2)
    sites = chunk.world.sites(remittance.payee)
    for sibling, site in zip(group, sites, strict=True):
        sibling.payee, sibling.has_accounts = site, not chunk.has_directory
    payment = pay_all(group)
    if case.endswith("shared_trace"):
        for sibling in group:
            sibling.trace = remittance.trace
        chunk.add_group(case, group, [payment], AUTO)
    else:
        chunk.add_group(case, group, [own_trace(payment, remittance, draws)], REVIEW)


def _split_by_payee(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A clearinghouse cut one 835 by payee: the parts share its trace and one account."""
    group = siblings(chunk, remittance, 1)
    for sibling, site in zip(group, chunk.world.sites(remittance.payee), strict=False):
        sibling.payee, sibling.trace = site, remittance.trace
    chunk.add_group(case, group, [pay_all(group)])


def _two_answers(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A fourth open 835 makes a second sum that comes to the payment: a + b + c = d + b."""
    group = siblings(chunk, remittance, 3)
    stray = group.pop()
    adjust(stray, group[0].paid_cents + group[2].paid_cents)
    chunk.add_group(case, group, [own_trace(pay_all(group), remittance, draws)], REVIEW)
    chunk.add(case, stray, None)


def parts_of(payment: Payment, draws: Draws, count: int) -> list[Payment]:
    """The payment as `count` payments of different amounts."""
    left, parts = payment.amount_cents, []
    for number in range(count, 1, -1):
        parts.append(replace(payment, amount_cents=draws.between(left // 9 + 1, left // number)))
        left -= parts[-1].amount_cents
    return [*parts, replace(payment, amount_cents=left)]


def _several_payments(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One 835 is paid in parts, under its trace or under numbers of their own."""
    parts = parts_of(pay(remittance), draws, draws.between(2, 3))
    for part in parts:
        if case.endswith("own_traces"):
            own_trace(part, remittance, draws)
    chunk.add_group(case, [remittance], parts, REVIEW)


BULK_CASES = (
    Defect("bulk_shared_trace", 4_000, _shared_trace, section="9", spares=3),
    Defect("bulk_suffixed_trace", 3_000, _suffixed_trace, section="9", spares=2),
    Defect("bulk_no_root", 3_000, _no_root, REVIEW, "9", spares=3),
    Defect("bulk_two_answers", 1_000, _two_answers, REVIEW, "9", spares=3),
    Defect("bulk_npi_shared_trace", 2_000, _by_npi, section="26", spares=2),
    Defect("bulk_npi_own_traces", 1_500, _by_npi, REVIEW, "26", spares=2),
    Defect("bulk_split_by_payee", 2_000, _split_by_payee, section="29", spares=1),
    Defect("split_same_trace", 1_500, _several_payments, REVIEW, "10"),
    Defect("split_own_traces", 1_500, _several_payments, REVIEW, "10"),
)
