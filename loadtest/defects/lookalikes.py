"""Cases made to deceive: items that look as if they belonged together and do not, and payments
that differ from each other by next to nothing.
"""

from __future__ import annotations

from reassoc.loadtest.defects.amounts import offset_all
from reassoc.loadtest.defects.base import Defect, level, other_payer, siblings
from reassoc.loadtest.defects.bulk import own_trace, pay_all
from reassoc.loadtest.defects.rails import give_check_number, list_check
from reassoc.loadtest.defects.traces import lengthen, pay_through, plan_of, twins
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    AUTO,
    INDISTINGUISHABLE,
    NONE,
    REVIEW,
    Chunk,
    Remittance,
    adjust,
    clone_payment,
    copy_remittance,
    give_payer,
    pay,
    retrace,
)
from reassoc.loadtest.world import Payee

_SHARED_CHARACTERS = 15
_COMMON_CENTS = (5_000, 10_000, 15_000, 25_000, 50_000)
_MANY = 70
"""Pairs of one constant trace: more than a matcher looks at pair by pair."""


def _pairs(case: str, chunk: Chunk, remittances: list[Remittance], expect: str = AUTO) -> None:
    for remittance in remittances:
        chunk.add(case, remittance, pay(remittance), expect)


def _same_amount(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Payments of one payer to one payee, on one day, of one amount: only the trace tells."""
    _pairs(case, chunk, twins(chunk, remittance, 3))


def _near_digit(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Traces that differ in one digit."""
    first, second = twins(chunk, remittance)
    last = int(first.trace[-1])
    second.trace = f"{first.trace}5{last}"
    first.trace = f"{first.trace}5{(last + draws.between(1, 9)) % 10}"
    _pairs(case, chunk, [first, second])


def _near_transposed(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Traces in which two digits changed places."""
    first, second = twins(chunk, remittance)
    low = draws.one(9)
    high = draws.between(low + 1, 9)
    second.trace, first.trace = f"{first.trace}{low}{high}", f"{first.trace}{high}{low}"
    _pairs(case, chunk, [first, second])


def _near_part(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One trace is the start, or the end, of the other."""
    first, second = twins(chunk, remittance)
    second.trace = f"{first.trace}{draws.one(900) + 100}"
    if draws.chance(500):
        second.trace = f"{draws.one(900) + 100}{first.trace.lstrip('0')}"
    _pairs(case, chunk, [first, second])


def _near_zeros(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Traces of different payments that differ only in leading zeros: each side writes its own."""
    first, second = twins(chunk, remittance)
    second.trace = f"00{first.trace}"
    _pairs(case, chunk, [first, second])


def _near_punctuation(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Traces of different payments that differ only in a hyphen."""
    first, second = twins(chunk, remittance)
    second.trace = f"{first.trace[:4]}-{first.trace[4:]}"
    _pairs(case, chunk, [first, second])


def _near_zeros_lost(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Both payments of such traces come without leading zeros: which is which cannot be told."""
    first, second = twins(chunk, remittance)
    first.trace = f"0{first.trace}"
    second.trace = f"00{first.trace}"
    for each in (first, second):
        payment = pay(each)
        retrace(payment, each.payer, each.trace.lstrip("0"))
        payment.is_reported = False
        chunk.add(case, each, payment, INDISTINGUISHABLE)


def _swapped_payers(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two payers' payments to one payee each name the other payer; the traces are right."""
    first, second = siblings(chunk, remittance, 1)
    give_payer(second, other_payer(chunk, first.payer))
    if case.endswith("same_amount"):
        level([first, second])
    for each, other in ((first, second), (second, first)):
        payment = pay(each)
        payment.company_id, payment.company_name = other.payer.company_id, other.payer.company_name
        retrace(payment, other.payer, each.trace)
        chunk.add(case, each, payment, REVIEW)


def another_payee(chunk: Chunk, payee: Payee, draws: Draws) -> Payee:
    """Some other payee."""
    payees = chunk.world.payees
    return payees[(payee.number + draws.between(1, len(payees) - 1)) % len(payees)]


def _stranger(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A payment without its remittance, and a remittance without its payment: equal in trace and
    amount, but of another payer or for another payee.
    """
    (twin, other) = twins(chunk, remittance)
    other.trace = twin.trace
    if case.endswith("payer"):
        give_payer(other, other_payer(chunk, twin.payer))
    else:
        other.payee = another_payee(chunk, twin.payee, draws)
    chunk.add(case, twin, None)
    chunk.add(case, None, pay(other))


def _stranger_cut(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The same with a trace that is a cut form of the other, of the same payer and payee."""
    twin, other = twins(chunk, remittance)
    lengthen(twin, _SHARED_CHARACTERS + 6, draws)
    other.trace = twin.trace[:_SHARED_CHARACTERS]
    chunk.add(case, twin, None)
    chunk.add(case, None, pay(other))


def _chance_sum(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A payment comes, by chance, to the sum of remittances that it does not pay."""
    group = siblings(chunk, remittance, 2)
    payment = own_trace(pay_all(group), remittance, draws)
    for each in group:
        chunk.add(case, each, None)
    chunk.add(case, None, payment)


def _stray_sibling(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A remittance shares the trace of a bulk payment and is not in it."""
    group = siblings(chunk, remittance, 2)
    payment = pay_all(group[:2])
    is_suffixed, root = draws.chance(400), remittance.trace
    for number, sibling in enumerate(group, 1):
        sibling.trace = f"{root}-{number:02d}" if is_suffixed else root
    stray = group.pop()
    chunk.add_group(case, group, [payment], REVIEW)
    chunk.add(case, stray, None)


def _one_of_siblings(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two remittances of one trace and payee; the payment is the amount of one of them."""
    first, second = siblings(chunk, remittance, 1)
    second.trace = first.trace
    chunk.add(case, first, pay(first), REVIEW)
    chunk.add(case, second, None)


def _trace_for_two_payees(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One trace and amount on the same day for two payees."""
    first, second = twins(chunk, remittance)
    second.trace = first.trace
    second.payee = another_payee(chunk, first.payee, draws)
    _pairs(case, chunk, [first, second])


def _constant_trace(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A payer writes the same trace on payments to several payees."""
    group = siblings(chunk, remittance, 2)
    digits = "".join(mark for mark in remittance.trace if mark.isdigit())[-7:]
    payees = chunk.world.payees
    step = draws.between(1, max(1, (len(payees) - 1) // 2))
    for number, each in enumerate(group):
        each.trace = f"EO{digits}000"
        each.payee = payees[(remittance.payee.number + number * step) % len(payees)]
    _pairs(case, chunk, group)


def _constant_trace_many(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A payer writes EO0000000000 on all its payments, and there are many."""
    group = siblings(chunk, remittance, _MANY)
    for each in group:
        each.trace = "EO0000000000"
        each.payee = another_payee(chunk, remittance.payee, draws)
    _pairs(case, chunk, group, REVIEW)


def _constant_trace_one_payee(
    case: str, chunk: Chunk, remittance: Remittance, draws: Draws
) -> None:
    """A payer writes the same trace on payments of different amounts to one payee."""
    group = siblings(chunk, remittance, 1)
    adjust(group[1], group[0].paid_cents + draws.between(1, 5_000))
    for each in group:
        each.trace = remittance.trace
    _pairs(case, chunk, group, REVIEW)


def _plans_of_one(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """An aggregator pays for two plans, the same amount on the same day to the same payee."""
    aggregator = plan_of(chunk, remittance, draws)
    first, second = twins(chunk, remittance)
    plans = aggregator.plans
    other = plans[(plans.index(first.payer.number) + 1) % len(plans)]
    give_payer(second, chunk.world.payers[other])
    expect = AUTO if chunk.has_directory else REVIEW
    if case.endswith("zeros"):
        # What ties plans together looks at no leading zeros.
        second.trace, expect = f"00{first.trace}", REVIEW
    if case.endswith("same_trace"):
        second.trace, expect = first.trace, INDISTINGUISHABLE
    for each in (first, second):
        payment = pay_through(each, aggregator)
        if case.endswith("same_trace"):
            payment.is_reported = False
        chunk.add(case, each, payment, expect)


def _shared_payee(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two payers pay one payee the same amount on the same day, without a trace."""
    first, second = twins(chunk, remittance)
    give_payer(second, other_payer(chunk, first.payer))
    for each in (first, second):
        payment = pay(each)
        payment.addenda, payment.is_reported = "", False
        chunk.add(case, each, payment, REVIEW)


def _cut_alike(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two long traces that are one when they are cut at 15 characters."""
    first, second = twins(chunk, remittance)
    lengthen(first, _SHARED_CHARACTERS, draws)
    second.trace = f"{first.trace}{draws.one(900) + 100}"
    first.trace = f"{first.trace}{draws.one(900) + 1100}"
    for each in (first, second):
        payment = pay(each)
        retrace(payment, each.payer, each.trace[:_SHARED_CHARACTERS])
        payment.is_reported = False
        chunk.add(case, each, payment, INDISTINGUISHABLE)


def _other_rail(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A remittance of a check, and an ACH entry of the same trace, payer and amount."""
    remittance.method = "CHK"
    chunk.add_alone(case, remittance, pay(remittance))


def _variance_alike(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A payment is short by a fee, and comes to the amount of another open remittance."""
    first, second = siblings(chunk, remittance, 1)
    short = first.paid_cents - max(1, first.paid_cents * draws.between(1, 3) // 100)
    second.adjustments = (*second.adjustments, ("CS:EXADJ", second.paid_cents - short))
    second.paid_cents = short
    payment = pay(first)
    payment.amount_cents = short
    chunk.add(case, first, payment, REVIEW)
    chunk.add(case, second, None)


def _last_without_trace(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One of several payments of the same amount lost its addenda."""
    *others, last = twins(chunk, remittance, 2)
    _pairs(case, chunk, others)
    payment = pay(last)
    payment.addenda, payment.is_reported = "", False
    chunk.add(case, last, payment, REVIEW)


def _paid_twice(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payer sent one payment twice, as two entries: one of them is too much."""
    first = pay(remittance)
    second = clone_payment(first)
    first.is_reported = second.is_reported = False
    chunk.add(case, remittance, first, INDISTINGUISHABLE)
    chunk.add(case, None, second)


def _suffixed_beside_root(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Unpaid remittances count themselves behind the trace of a pair that is whole."""
    group = siblings(chunk, remittance, 2)
    chunk.add(case, remittance, pay(remittance))
    for number, stray in enumerate(group[1:], 1):
        stray.trace = f"{remittance.trace}-{number:02d}"
        chunk.add(case, stray, None)


def _bulk_with_another(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Beside the remittances of a bulk payment stands one of its trace that waits for no money of
    it: a copy, a zero-pay, or one of another payee with a payment of its own.
    """
    group = siblings(chunk, remittance, 2)
    for sibling in group:
        sibling.trace = remittance.trace
    other = group.pop()
    chunk.add_group(case, group, [pay_all(group)])
    if case.endswith("copy"):
        chunk.add(case, copy_remittance(group[1]), None)
    elif case.endswith("zero_pay"):
        offset_all(other, draws)
        chunk.add(case, other, None)
    else:
        other.payee = another_payee(chunk, remittance.payee, draws)
        chunk.add(case, other, pay(other))


def _common_amount(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Everybody pays the same few round amounts."""
    adjust(remittance, draws.pick(_COMMON_CENTS))
    payment = pay(remittance)
    expect = AUTO
    if case.endswith("no_trace"):
        payment.addenda, payment.is_reported, expect = "", False, REVIEW
    chunk.add(case, remittance, payment, expect)


def _check_number_twice(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Checks of two payers have the same number and amount, and came to the same box."""
    first, second = twins(chunk, remittance)
    give_payer(second, other_payer(chunk, first.payer))
    give_check_number(first, draws)
    second.trace, second.method = first.trace, first.method
    for each in (first, second):
        check = list_check(each, each.payer.account, "")
        chunk.add(case, each, check, AUTO if chunk.has_directory else INDISTINGUISHABLE)


LOOKALIKE_CASES = (
    Defect("common_amount", 80_000, _common_amount),
    Defect("common_amount_no_trace", 3_000, _common_amount, REVIEW),
    Defect("last_without_trace", 6_000, _last_without_trace, REVIEW, spares=2),
    Defect("paid_twice", 6_000, _paid_twice, INDISTINGUISHABLE),
    Defect("suffixed_beside_root", 6_000, _suffixed_beside_root, spares=2),
    Defect("bulk_beside_copy", 4_000, _bulk_with_another, spares=2),
    Defect("bulk_beside_zero_pay", 4_000, _bulk_with_another, spares=2),
    Defect("bulk_beside_other_payee", 4_000, _bulk_with_another, spares=2),
    Defect("check_number_twice", 4_000, _check_number_twice, spares=1),
    Defect("near_same_amount", 30_000, _same_amount, spares=3),
    Defect("near_trace_digit", 20_000, _near_digit, spares=1),
    Defect("near_trace_transposed", 20_000, _near_transposed, spares=1),
    Defect("near_trace_part", 20_000, _near_part, spares=1),
    Defect("near_trace_zeros", 15_000, _near_zeros, spares=1),
    Defect("near_trace_punctuation", 15_000, _near_punctuation, spares=1),
    Defect("near_trace_zeros_lost", 8_000, _near_zeros_lost, INDISTINGUISHABLE, spares=1),
    Defect("swapped_payers", 8_000, _swapped_payers, REVIEW, spares=1),
    Defect("swapped_payers_same_amount", 8_000, _swapped_payers, REVIEW, spares=1),
    Defect("stranger_of_other_payer", 12_000, _stranger, NONE, spares=1),
    Defect("stranger_of_other_payee", 12_000, _stranger, NONE, spares=1),
    Defect("stranger_with_cut_trace", 6_000, _stranger_cut, NONE, spares=1),
    Defect("chance_sum", 8_000, _chance_sum, NONE, spares=2),
    Defect("bulk_stray_sibling", 6_000, _stray_sibling, REVIEW, spares=2),
    Defect("bulk_one_of_siblings", 6_000, _one_of_siblings, REVIEW, spares=1),
    Defect("trace_for_two_payees", 15_000, _trace_for_two_payees, spares=1),
    Defect("constant_trace", 8_000, _constant_trace, spares=2),
    Defect("constant_trace_one_payee", 4_000, _constant_trace_one_payee, REVIEW, spares=1),
    Defect("constant_trace_many", 150, _constant_trace_many, REVIEW, spares=_MANY),
    Defect("aggregator_two_plans", 10_000, _plans_of_one, spares=1),
    Defect("aggregator_near_zeros", 3_000, _plans_of_one, REVIEW, spares=1),
    Defect("aggregator_same_trace", 6_000, _plans_of_one, INDISTINGUISHABLE, spares=1),
    Defect("shared_payee_no_trace", 6_000, _shared_payee, REVIEW, spares=1),
    Defect("cut_alike", 6_000, _cut_alike, INDISTINGUISHABLE, spares=1),
    Defect("check_and_entry_alike", 6_000, _other_rail, NONE),
    Defect("variance_alike", 6_000, _variance_alike, REVIEW, spares=1),
)
