"""Cases made to deceive, of money that goes back, comes again, or is told of twice."""

from __future__ import annotations

from dataclasses import replace

from reassoc.loadtest.dates import next_banking_day, previous_banking_day
from reassoc.loadtest.defects.base import Defect, siblings
from reassoc.loadtest.defects.bulk import own_trace, pay_all
from reassoc.loadtest.defects.rails import report_line
from reassoc.loadtest.defects.repeats import RETURN_CODES, reverse, send_back
from reassoc.loadtest.defects.traces import twins
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    INDISTINGUISHABLE,
    REVIEW,
    UNMATCHED,
    Chunk,
    Payment,
    Remittance,
    copy_payment,
    pay,
    trace_segment,
)


def _returned_beside_twin(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Of two payments that are equal but for their traces, one comes back."""
    first, second = twins(chunk, remittance)
    returned, kept = pay(first), pay(second)
    kept.is_reported = False
    day = next_banking_day(returned.settlement_day)
    chunk.add(case, first, returned, UNMATCHED)
    chunk.add(case, second, kept)
    chunk.add(case, None, send_back(returned, draws.pick(RETURN_CODES), day))


def _returned_and_sent_again(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The money came back and is paid again under the same trace; another payment of the same
    amount to the same payee stands beside it.
    """
    first, second = twins(chunk, remittance)
    returned = pay(first)
    day = next_banking_day(returned.settlement_day)
    again = paid_on(returned, next_banking_day(day))
    chunk.add(case, None, returned)
    chunk.add(case, None, send_back(returned, "R03", day))
    chunk.add(case, first, again)
    chunk.add(case, second, pay(second))


def paid_on(payment: Payment, day: int) -> Payment:
    """An entry like it, of another day."""
    return replace(payment, effective_day=day, settlement_day=day)


def _reissued_beside_open(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The money came back and is paid again under a new trace; another remittance of the same
    payer, payee and amount waits for its money, too.
    """
    first, second = twins(chunk, remittance)
    returned = pay(first)
    day = next_banking_day(returned.settlement_day)
    again = own_trace(paid_on(returned, next_banking_day(day)), first, draws)
    chunk.add(case, None, returned)
    chunk.add(case, None, send_back(returned, draws.pick(RETURN_CODES), day))
    chunk.add(case, first, again, REVIEW)
    chunk.add(case, second, None)


def _return_of_one(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A return fits two entries of one bank, amount and ACH trace, on two days."""
    first, second = twins(chunk, remittance)
    first.effective_day = previous_banking_day(first.effective_day)
    payments = [pay(first), pay(second)]
    payments[1].copy_of = payments[0]
    chunk.add(case, None, send_back(payments[0], "R03", next_banking_day(second.effective_day)))
    for each, payment in zip((first, second), payments, strict=True):
        payment.is_reported = False
        chunk.add(case, each, payment, INDISTINGUISHABLE)


def _bulk_returned(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payment for several remittances comes back."""
    group = siblings(chunk, remittance, 1)
    for sibling in group:
        sibling.trace = remittance.trace
    payment = pay_all(group)
    day = next_banking_day(payment.settlement_day)
    chunk.add_group(case, group, [payment], UNMATCHED)
    chunk.add(case, None, send_back(payment, draws.pick(RETURN_CODES), day))


def _undone_and_reported(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The money went back, and the bank's report still shows that it came."""
    payment = pay(remittance)
    day = next_banking_day(payment.settlement_day)
    undo = reverse(payment, day)
    if case.startswith("returned"):
        undo = send_back(payment, draws.pick(RETURN_CODES), day)
    chunk.add(case, remittance, payment, UNMATCHED)
    chunk.add(case, None, undo)
    chunk.add(case, None, report_line(payment, payment.settlement_day))


def _duplicate_and_reported(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """An entry is read twice, and the bank's report has the money once."""
    payment = pay(remittance)
    chunk.add(case, remittance, payment)
    chunk.add(case, None, copy_payment(payment))
    chunk.add(case, None, report_line(payment, payment.settlement_day))


def _reported_otherwise(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The bank's report has the credit of an entry a day later, or with its addenda cut."""
    payment = pay(remittance)
    payment.is_reported = False
    chunk.add(case, remittance, payment)
    day = payment.settlement_day
    if case.endswith("later"):
        day = next_banking_day(day)
    line = report_line(payment, day)
    if case.endswith("cut"):
        kept = len(trace_segment(remittance.payer, remittance.trace, "x")) - 4
        line.text = line.text[: line.text.index("TRN*1*") + kept]
    chunk.add(case, None, line)


def _report_beside_twin(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Of two payments that are equal but for their traces, one has no entry: the bank's report has
    both.
    """
    first, second = twins(chunk, remittance)
    payment = pay(first)
    payment.is_reported = False
    chunk.add(case, first, payment)
    chunk.add(case, None, report_line(payment, payment.settlement_day))
    chunk.add(case, second, report_line(pay(second), second.effective_day))


ECHO_CASES = (
    Defect("sent_again_beside_twin", 8_000, _returned_and_sent_again, spares=1),
    Defect("returned_beside_twin", 6_000, _returned_beside_twin, UNMATCHED, spares=1),
    Defect("reissued_beside_open", 4_000, _reissued_beside_open, REVIEW, spares=1),
    Defect("return_of_one", 3_000, _return_of_one, INDISTINGUISHABLE, spares=1),
    Defect("bulk_returned", 3_000, _bulk_returned, UNMATCHED, spares=1),
    Defect("returned_and_reported", 4_000, _undone_and_reported, UNMATCHED),
    Defect("reversed_and_reported", 4_000, _undone_and_reported, UNMATCHED),
    Defect("duplicate_and_reported", 4_000, _duplicate_and_reported),
    Defect("reported_a_day_later", 4_000, _reported_otherwise),
    Defect("reported_with_trace_cut", 4_000, _reported_otherwise),
    Defect("report_beside_twin", 6_000, _report_beside_twin, spares=1),
)
