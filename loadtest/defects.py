"""What goes wrong in real feeds, one function per case, and the table of them.

A case gets a remittance that is clean, balanced and not yet in the feed, and adds to the chunk what
the case consists of: altered pairs, one side only, or several rows. The truth that it adds is what
a perfect matcher may find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reassoc.loadtest.dates import next_closed_day, roll_forward
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    REVIEW,
    SETTLEMENT_BLANK,
    Chunk,
    Payment,
    Remittance,
    copy_payment,
    copy_remittance,
    pay,
    trace_segment,
)

Apply = Callable[[str, Chunk, Remittance, Draws], None]


@dataclass(frozen=True, slots=True)
class Defect:
    """A case: its name in the truth, its share of all payments by default, and how it is made.

    rate_ppm : int          per million payments
    denied_claims : bool    the remittance it gets pays nothing
    spares : int            further remittances (in `chunk.spares`) that one case uses
    """

    name: str
    rate_ppm: int
    apply: Apply
    denied_claims: bool = False
    spares: int = 0


def _leading_zeros(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One side of the pair writes the trace without its leading zeros."""
    bare = remittance.trace.lstrip("0")
    full = remittance.trace if remittance.trace != bare else f"000{bare}"
    in_addenda = draws.chance(700)
    remittance.trace = full if in_addenda else bare
    payment = pay(remittance)
    _set_trace(payment, remittance, bare if in_addenda else full)
    chunk.add(case, remittance, payment)


def _spaces_and_hyphens(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The trace is written in groups on the bank's side: `EX 12-345` for `EX12345`."""
    plain = remittance.trace.replace("-", "")
    cut = draws.between(2, 4)
    middle = draws.between(cut + 1, len(plain) - 1)
    payment = pay(remittance)
    first = draws.pick((" ", "-"))
    _set_trace(payment, remittance, f"{plain[:cut]}{first}{plain[cut:middle]}-{plain[middle:]}")
    chunk.add(case, remittance, payment)


def _missing_payment(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    chunk.add(case, remittance, None)


def _missing_remittance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    chunk.add(case, None, pay(remittance))


def _amount_variance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payment is short by a fee in per cent or by a levy that no PLB tells of."""
    payment = pay(remittance)
    paid = remittance.paid_cents
    taken = (
        paid * draws.pick((1, 2, 3)) // 100 if draws.chance(500) else draws.between(1, paid // 2)
    )
    payment.amount_cents -= max(1, taken)
    chunk.add(case, remittance, payment, REVIEW)


def _duplicate_remittance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The same 835 again, in a later interchange of the same file."""
    chunk.add(case, remittance, pay(remittance))
    chunk.add(case, copy_remittance(remittance), None)


def _duplicate_payment(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The same entry again, same trace and all, in a later batch of the same file."""
    payment = pay(remittance)
    chunk.add(case, remittance, payment)
    chunk.add(case, None, copy_payment(payment))


def _zero_pay(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Every claim is denied: H and NON, no money."""
    remittance.handling, remittance.method = "H", "NON"
    chunk.add(case, remittance, None)


def _zero_pay_offset(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The claims pay, and an old debt takes it all: H and NON with a PLB."""
    remittance.handling, remittance.method = "H", "NON"
    owed = remittance.paid_cents
    code = draws.pick(("WO", "FB"))
    remittance.adjustments = (
        *remittance.adjustments,
        (f"{code}:EXDEBT{draws.one(10**6):06d}", owed),
    )
    remittance.paid_cents = 0
    chunk.add(case, remittance, None)


def _zero_pay_check(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Every claim is denied, and the payer calls the nothing a check."""
    remittance.method = "CHK"
    chunk.add(case, remittance, None)


def _check(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Paid by check: no ACH entry will come."""
    remittance.method = "CHK"
    chunk.add(case, remittance, None)


def _trn_unterminated(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    payment = pay(remittance)
    payment.addenda = trace_segment(remittance.payer, remittance.trace)
    chunk.add(case, remittance, payment)


def _trn_extra_text(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Other text stands before or behind the TRN in the addenda."""
    payment = pay(remittance)
    payment.addenda = (
        f"{payment.addenda} EXAMPLE ADVICE {draws.one(10**4):04d}"
        if draws.chance(500)
        else f"HCCLAIMPMT ZP EXPAY {payment.addenda}"
    )
    chunk.add(case, remittance, payment)


def _payer_id_without_one(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One side writes the payer's tax number without the 1 before it."""
    payment = pay(remittance)
    bare = remittance.payer_id[1:]
    if draws.chance(500):
        payment.addenda = (
            trace_segment(remittance.payer, remittance.trace, bare) + remittance.payer.terminator
        )
    else:
        remittance.payer_id = bare
    chunk.add(case, remittance, payment)


def _prenote(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A test entry with no money before the first payment to an account."""
    payment = pay(remittance)
    payment.amount_cents = 0
    payment.transaction_code = draws.pick((23, 33))
    payment.addenda = payment.addenda if draws.chance(300) else ""
    chunk.add(case, None, payment)


def _unrelated_entry(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Payroll, premiums and card settlements come in the same files."""
    payment = pay(remittance)
    payment.company_name, payment.company_id = f"EXAMPLE CO {draws.one(90):02d}", "9970000001"
    (
        payment.sec,
        payment.entry_description,
        payment.transaction_code,
        payment.service_class,
        payment.addenda,
    ) = draws.pick(
        (
            ("PPD", "PAYROLL", 22, 220, ""),
            ("PPD", "PAYROLL", 32, 220, ""),
            ("CCD", "MERCH DEP", 22, 220, "DEPOSIT OF THE DAY"),
            ("CCD", "PREMIUM", 27, 225, "RMR*IV*EXPREMIUM\\"),
            ("PPD", "RENT", 37, 225, ""),
        )
    )
    chunk.add(case, None, payment)


def _same_trace_two_payers(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two payers use one trace number, each for a payment of its own."""
    other = chunk.spares.pop()
    payers = chunk.world.payers
    if other.payer.number == remittance.payer.number:
        other.payer = payers[(remittance.payer.number + 1) % len(payers)]
        other.payer_id = other.payer.payer_id
    other.trace = remittance.trace
    chunk.add(case, remittance, pay(remittance))
    chunk.add(case, other, pay(other))


def _invalid_unbalanced(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """BPR02 is not what the claims and PLB come to; the payment is what BPR02 says."""
    remittance.paid_cents += draws.pick((1, -1, 100, 2_500, -250))
    chunk.add(case, remittance, pay(remittance))


def _invalid_segment_count(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """SE01 is wrong."""
    remittance.segments_claimed_extra = draws.pick((1, -1, 7))
    chunk.add(case, remittance, pay(remittance))


def _effective_on_closed_day(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The effective date is a weekend or a holiday; money settles on the next banking day."""
    remittance.effective_day = next_closed_day(remittance.effective_day)
    payment = pay(remittance)
    payment.settlement_day = (
        roll_forward(payment.effective_day) if draws.chance(600) else SETTLEMENT_BLANK
    )
    chunk.add(case, remittance, payment)


def _settlement_blank(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The file comes as its originator wrote it: no settlement date yet."""
    payment = pay(remittance)
    payment.settlement_day = SETTLEMENT_BLANK
    chunk.add(case, remittance, payment)


def _set_trace(payment: Payment, remittance: Remittance, trace: str) -> None:
    payment.addenda = trace_segment(remittance.payer, trace) + remittance.payer.terminator


DEFECTS: tuple[Defect, ...] = (
    Defect("leading_zeros_lost", 15_000, _leading_zeros),
    Defect("spaces_hyphens", 10_000, _spaces_and_hyphens),
    Defect("missing_payment", 12_000, _missing_payment),
    Defect("missing_remittance", 12_000, _missing_remittance),
    Defect("amount_variance", 8_000, _amount_variance),
    Defect("duplicate_remittance", 6_000, _duplicate_remittance),
    Defect("duplicate_payment", 3_000, _duplicate_payment),
    Defect("zero_pay", 15_000, _zero_pay, denied_claims=True),
    Defect("zero_pay_offset", 5_000, _zero_pay_offset),
    Defect("zero_pay_check", 4_000, _zero_pay_check, denied_claims=True),
    Defect("check", 15_000, _check),
    Defect("trn_unterminated", 10_000, _trn_unterminated),
    Defect("trn_extra_text", 10_000, _trn_extra_text),
    Defect("payer_id_without_one", 8_000, _payer_id_without_one),
    Defect("prenote", 4_000, _prenote),
    Defect("unrelated_entry", 15_000, _unrelated_entry),
    Defect("same_trace_two_payers", 4_000, _same_trace_two_payers, spares=1),
    Defect("invalid_unbalanced", 4_000, _invalid_unbalanced),
    Defect("invalid_segment_count", 3_000, _invalid_segment_count),
    Defect("effective_closed_day", 6_000, _effective_on_closed_day),
    Defect("settlement_blank", 6_000, _settlement_blank),
)

RATE_UNIT = 1_000_000


def plan_rates(defects_on: bool, named: Mapping[str, int]) -> tuple[int, ...]:
    """Rates in parts per million, one per row of DEFECTS, adding up to at most RATE_UNIT.

    named : case -> ppm    kept as they are; with `defects_on` the other cases keep their own
                           rates, scaled down where there is no room left for them; without it
                           the other cases do not occur

    Raises ValueError for an unknown case, a rate outside 0 .. RATE_UNIT, or rates that add up to
    more.
    """
    known = {defect.name for defect in DEFECTS}
    for name, rate_ppm in named.items():
        if name not in known:
            raise ValueError(f"there is no case {name!r}; the cases are {', '.join(sorted(known))}")
        if not 0 <= rate_ppm <= RATE_UNIT:
            raise ValueError(f"the rate of {name} is not between 0 and 1")
    room = RATE_UNIT - sum(named.values())
    if room < 0:
        raise ValueError("the named rates add up to more than 1")
    defaults = {
        defect.name: defect.rate_ppm
        for defect in DEFECTS
        if defects_on and defect.name not in named
    }
    wanted = sum(defaults.values())
    if wanted > room:
        defaults = {name: rate_ppm * room // wanted for name, rate_ppm in defaults.items()}
    return tuple(named.get(defect.name, defaults.get(defect.name, 0)) for defect in DEFECTS)
