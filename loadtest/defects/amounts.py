"""Cases of money that differs, and of remittances that move none."""

from __future__ import annotations

from reassoc.loadtest.defects.base import Claims, Defect, siblings
from reassoc.loadtest.defects.bulk import pay_all
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    CTX_BYTES_MAX,
    NONE,
    REVIEW,
    Chunk,
    Remittance,
    adjust,
    embed,
    pay,
)


def _amount_variance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payment is short by something that nobody tells of."""
    payment = pay(remittance)
    payment.amount_cents -= draws.between(1, max(1, remittance.paid_cents // 2))
    chunk.add(case, remittance, payment, REVIEW)


def _fee(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payment is short by a fee in per cent."""
    payment = pay(remittance)
    percent_tenths = draws.pick((10, 15, 20, 25, 30))
    payment.amount_cents -= max(1, (remittance.paid_cents * percent_tenths + 500) // 1000)
    chunk.add(case, remittance, payment, REVIEW)


def _levy(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A levy was taken from the payment; its PLB is there, but the balance leaves it out again."""
    taken = draws.between(1, max(1, remittance.paid_cents // 3))
    pairs = ((f"LE:EXLEVY{draws.one(10**5):05d}", taken), ("CS:EXLEVYBACK", -taken))
    remittance.adjustments = (*remittance.adjustments, *pairs)
    payment = pay(remittance)
    payment.amount_cents -= taken
    chunk.add(case, remittance, payment, REVIEW)


def _adjustment(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """What a PLB takes away, the payment still has."""
    taken = draws.between(1, max(1, remittance.paid_cents // 3))
    code = "FB:EXBALANCE" if case.endswith("forward_balance") else f"WO:EX2{draws.one(10**9):09d}"
    adjust(remittance, remittance.paid_cents - taken, code)
    payment = pay(remittance)
    payment.amount_cents += taken
    chunk.add(case, remittance, payment, REVIEW)


def _missing_sibling(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One of the remittances that share the payment's trace never came."""
    group = siblings(chunk, remittance, 2)
    for sibling in group:
        sibling.trace = remittance.trace
    payment = pay_all(group)
    chunk.add_group(case, group[: draws.between(1, 2)], [payment], REVIEW)


def _zero_pay(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Every claim is denied: H and NON, no money."""
    remittance.handling, remittance.method = "H", "NON"
    chunk.add(case, remittance, None)


def offset_all(remittance: Remittance, draws: Draws) -> None:
    """An old debt takes all that the claims pay: H and NON with a PLB."""
    remittance.handling, remittance.method = "H", "NON"
    adjust(remittance, 0, f"{draws.pick(('WO', 'FB'))}:EXDEBT{draws.one(10**6):06d}")


def _zero_pay_offset(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """An old debt takes all that the claims pay: H and NON with a PLB."""
    offset_all(remittance, draws)
    chunk.add(case, remittance, None)


def _zero_pay_check(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Every claim is denied, and the payer calls the nothing a check."""
    remittance.method = "CHK"
    chunk.add(case, remittance, None)


def _zero_pay_ctx(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A zero-dollar entry that carries the 835 of the nothing that it pays."""
    remittance.method = "NON"
    payment = pay(remittance)
    payment.transaction_code = draws.pick((24, 34))
    if remittance.body_stop - remittance.body_start < CTX_BYTES_MAX:
        embed(remittance, payment)
    remittance.handling = "H"
    chunk.add_alone(case, remittance, payment)


def _forward_balance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """More is taken back than the claims pay: FB lifts it to zero, a later 835 carries the debt."""
    later = siblings(chunk, remittance, 1)[1]
    debt = draws.between(1, max(1, later.paid_cents // 2))
    claims_cents = remittance.paid_cents
    if case == "forward_balance":
        pairs = ((f"WO:EXDEBT{draws.one(10**6):06d}", claims_cents + debt),)
        remittance.adjustments = (*remittance.adjustments, *pairs)
        claims_cents = -debt
    debt = -claims_cents
    remittance.adjustments = (*remittance.adjustments, (f"FB:{later.trace}", -debt))
    remittance.handling, remittance.method, remittance.paid_cents = "H", "NON", 0
    chunk.add(case, remittance, None)
    adjust(later, later.paid_cents - debt, f"FB:{remittance.trace}")
    if later.paid_cents > 0:
        chunk.add(case, later, pay(later))
        return
    # The later claims do not pay enough: the rest of the debt goes on.
    adjust(later, 0, "FB:EXNEXT")
    later.handling, later.method = "H", "NON"
    chunk.add(case, later, None)


def _negative_total(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Reversed claims come to less than nothing, and no FB lifts it: the 835 does not balance."""
    remittance.handling, remittance.method, remittance.paid_cents = "H", "NON", 0
    chunk.add(case, remittance, None)


def _invalid_unbalanced(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """BPR02 is not what the claims and PLB come to; the payment is what BPR02 says."""
    remittance.paid_cents += draws.pick((1, -1, 100, 2_500, -250))
    chunk.add(case, remittance, pay(remittance))


def _invalid_segment_count(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """SE01 is wrong."""
    remittance.segments_claimed_extra = draws.pick((1, -1, 7))
    chunk.add(case, remittance, pay(remittance))


AMOUNT_CASES = (
    Defect("amount_variance", 3_000, _amount_variance, REVIEW, "11"),
    Defect("variance_fee", 3_000, _fee, REVIEW, "11"),
    Defect("variance_levy", 1_500, _levy, REVIEW, "11"),
    Defect("variance_adjustment", 1_500, _adjustment, REVIEW, "11"),
    Defect("variance_forward_balance", 1_500, _adjustment, REVIEW, "11"),
    Defect("variance_missing_sibling", 1_000, _missing_sibling, REVIEW, "11", spares=2),
    Defect("zero_pay", 15_000, _zero_pay, NONE, "12", Claims.DENIED),
    Defect("zero_pay_offset", 5_000, _zero_pay_offset, NONE, "12"),
    Defect("zero_pay_check", 4_000, _zero_pay_check, NONE, "12", Claims.DENIED),
    Defect("zero_pay_ctx", 2_000, _zero_pay_ctx, NONE, "25", Claims.DENIED),
    Defect("forward_balance", 2_000, _forward_balance, section="27", spares=1),
    Defect("forward_balance_reversed", 1_500, _forward_balance, "auto", "27", Claims.REVERSED, 1),
    Defect("negative_total", 1_000, _negative_total, NONE, "23", Claims.REVERSED),
    Defect("invalid_unbalanced", 4_000, _invalid_unbalanced),
    Defect("invalid_segment_count", 3_000, _invalid_segment_count),
)
