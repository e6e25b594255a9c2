"""Cases of items that come twice, and of money that goes back."""

from __future__ import annotations

from dataclasses import replace

from reassoc.loadtest.dates import next_banking_day, previous_banking_day
from reassoc.loadtest.defects.base import Defect, level, siblings
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    INDISTINGUISHABLE,
    REVIEW,
    SETTLEMENT_BLANK,
    UNMATCHED,
    Chunk,
    Notice,
    Payment,
    Remittance,
    copy_payment,
    copy_remittance,
    pay,
    retrace,
)

RETURN_CODES = ("R02", "R03", "R04", "R16", "R20", "R23")
_REUSE_DAYS = (181, 220, 365)
"""Days after which a trace may be used again: beyond the 180 of the policy, if by one."""


def _duplicate_remittance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The same 835 again, in a later interchange of the same file."""
    chunk.add(case, remittance, pay(remittance))
    chunk.add(case, copy_remittance(remittance), None)


def _duplicate_payment(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The same entry again, same trace and all, in a later batch of the same file."""
    payment = pay(remittance)
    chunk.add(case, remittance, payment)
    chunk.add(case, None, copy_payment(payment))


def _resend_changed(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """An 835 is sent again with other content under the same trace; the last one is right."""
    corrected = copy_remittance(remittance)
    change = draws.between(100, 5_000)
    if draws.chance(500):
        pairs = (("72:EXREFUND", -change), ("WO:EXREFUND", change))
        corrected.adjustments = (*corrected.adjustments, *pairs)
    else:
        corrected.adjustments = (*corrected.adjustments, ("L6", -change))
        corrected.paid_cents += change
    chunk.add(case, remittance, None)
    chunk.add(case, corrected, pay(corrected), REVIEW)


def _trace_reused(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payer uses a trace again for the same payee, days or many months later."""
    late = case.endswith("later")
    earlier, later = siblings(chunk, remittance, 1)
    earlier.trace = later.trace
    if late:
        # One day more, so that the day before is at least as far away.
        earlier.effective_day = previous_banking_day(
            earlier.effective_day - draws.pick(_REUSE_DAYS) + 1
        )
    else:
        earlier.effective_day = previous_banking_day(earlier.effective_day - draws.between(2, 9))
    first, second = pay(earlier), pay(later)
    # A settlement date has no year: half a year on it would be taken for the next one.
    first.settlement_day = SETTLEMENT_BLANK if late else first.settlement_day
    first.is_reported = False
    chunk.add(case, earlier, first, "auto" if late else REVIEW)
    chunk.add(case, later, second, "auto" if late else REVIEW)


def send_back(payment: Payment, code: str, day: int) -> Payment:
    """The return of an entry, as the receiving bank sends it out."""
    payment.is_reported = False
    return replace(
        payment,
        odfi=payment.payee.rdfi,
        rdfi=payment.odfi,
        addenda="",
        embedded=None,
        notice=Notice(code, payment),
        transaction_code=payment.transaction_code // 10 * 10 + 1,
        settlement_day=day,
        goes_out=True,
        is_reported=False,
    )


def _returned(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The receiving bank sends the money back; the return may be read before its original."""
    payment = pay(remittance)
    back = send_back(payment, draws.pick(RETURN_CODES), next_banking_day(payment.settlement_day))
    back.is_early = case == "return_first"
    chunk.add(case, remittance, payment, UNMATCHED)
    chunk.add(case, None, back)


def _returned_same_trace(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Another entry has the ACH trace of the one that is returned, at another bank."""
    _, other = siblings(chunk, remittance, 1)
    payees = chunk.world.payees
    other.payee = next(
        payee
        for payee in (*payees[remittance.payee.number :], *payees)
        if payee.rdfi != remittance.payee.rdfi
    )
    payment = pay(remittance)
    stranger = replace(pay(other), copy_of=payment)
    back = send_back(payment, draws.pick(RETURN_CODES), next_banking_day(payment.settlement_day))
    chunk.add(case, remittance, payment, UNMATCHED)
    chunk.add(case, None, back)
    chunk.add(case, other, stranger)


def _dishonored(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payer's bank refuses the return; the receiving bank may contest that."""
    payment = pay(remittance)
    day = next_banking_day(payment.settlement_day)
    back = send_back(payment, "R03", day)
    day = next_banking_day(day)
    refused = replace(
        back,
        odfi=payment.odfi,
        rdfi=payment.payee.rdfi,
        notice=Notice(draws.pick(("R61", "R67", "R69")), payment, back),
        settlement_day=day,
        goes_out=False,
    )
    contested = case == "return_contested"
    chunk.add(case, remittance, payment, UNMATCHED if contested else REVIEW)
    chunk.add(case, None, back)
    chunk.add(case, None, refused)
    if contested:
        notice = Notice("R73", payment, refused)
        again = replace(back, notice=notice, settlement_day=next_banking_day(day))
        chunk.add(case, None, again)


def reverse(payment: Payment, day: int) -> Payment:
    """The debit that takes a credit back: described REVERSAL, with a trace of its own."""
    payment.is_reported = False
    return replace(
        payment,
        entry_description="REVERSAL",
        service_class=225,
        transaction_code=payment.transaction_code + 5,
        addenda="",
        effective_day=day,
        settlement_day=day,
        is_reported=False,
    )


def _reversed(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payer takes the money back within five banking days."""
    payment = pay(remittance)
    day = payment.settlement_day
    for _ in range(draws.between(1, 4)):
        day = next_banking_day(day)
    chunk.add(case, remittance, payment, UNMATCHED)
    chunk.add(case, None, reverse(payment, day))


def _reversal_of_one(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One reversal fits two payments: nobody can tell which of them was taken back."""
    pair = siblings(chunk, remittance, 1)
    level(pair)
    payments = [pay(each) for each in pair]
    for each, payment in zip(pair, payments, strict=True):
        payment.is_reported = False
        chunk.add(case, each, payment, INDISTINGUISHABLE)
    chunk.add(case, None, reverse(payments[0], next_banking_day(payments[0].settlement_day)))


def _reissued(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The money came back and is paid again under a new trace; no new 835 comes."""
    first = pay(remittance)
    day = next_banking_day(first.settlement_day)
    again = replace(
        first, effective_day=next_banking_day(day), settlement_day=next_banking_day(day)
    )
    retrace(again, remittance.payer, f"7{draws.one(10**9):09d}{draws.one(10**6):06d}")
    chunk.add(case, None, first)
    chunk.add(case, None, send_back(first, draws.pick(RETURN_CODES), day))
    chunk.add(case, remittance, again, REVIEW)


def _sent_again(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The money came back and is paid again under the same trace."""
    first = pay(remittance)
    day = next_banking_day(first.settlement_day)
    again = replace(
        first, effective_day=next_banking_day(day), settlement_day=next_banking_day(day)
    )
    chunk.add(case, None, first)
    chunk.add(case, None, send_back(first, draws.pick(RETURN_CODES), day))
    chunk.add(case, remittance, again)


def _change_notice(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The receiving bank corrects account data for the next time; the money stays."""
    payment = pay(remittance)
    notice = send_back(payment, draws.pick(("C01", "C02", "C05")), payment.settlement_day)
    payment.is_reported = True
    notice.sec, notice.amount_cents = "COR", 0
    chunk.add(case, remittance, payment)
    chunk.add(case, None, notice)


REPEAT_CASES = (
    Defect("duplicate_remittance", 6_000, _duplicate_remittance, section="15"),
    Defect("duplicate_payment", 3_000, _duplicate_payment),
    Defect("resend_changed", 3_000, _resend_changed, REVIEW, "16"),
    Defect("trace_reused", 1_500, _trace_reused, REVIEW, "17", spares=1),
    Defect("trace_reused_later", 1_500, _trace_reused, section="17", spares=1),
    Defect("returned", 5_000, _returned, UNMATCHED, "18"),
    Defect("return_first", 2_000, _returned, UNMATCHED, "18"),
    Defect("returned_same_entry_trace", 1_000, _returned_same_trace, UNMATCHED, "18", spares=1),
    Defect("return_dishonored", 800, _dishonored, REVIEW, "18"),
    Defect("return_contested", 800, _dishonored, UNMATCHED, "18"),
    Defect("reversed", 2_000, _reversed, UNMATCHED, "19"),
    Defect("reversal_of_one", 600, _reversal_of_one, INDISTINGUISHABLE, "19", spares=1),
    Defect("reissued", 1_500, _reissued, REVIEW, "20"),
    Defect("sent_again", 1_000, _sent_again),
    Defect("change_notice", 3_000, _change_notice, section="18"),
)
