"""Cases of one side only, of entries that are no claim payments, and of dates."""

from __future__ import annotations

from datetime import date

from reassoc.loadtest.dates import next_closed_day, roll_forward, to_days
from reassoc.loadtest.defects.base import Defect
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import NONE, SETTLEMENT_BLANK, Chunk, Remittance, pay

SATURDAY_HOLIDAYS = tuple(
    to_days(day) for day in (date(2026, 7, 3), date(2027, 6, 18), date(2027, 12, 24))
)
"""Fridays before a holiday on a Saturday: banking days, though many calendars close them."""
_YEAR_KNOWN_DAYS = 170


def _missing_payment(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The payment has not come."""
    chunk.add(case, remittance, None)


def _missing_remittance(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The remittance has not come."""
    chunk.add(case, None, pay(remittance))


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


def _payee_unknown(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Money for somebody whom the directory does not know: both sides wait until it does."""
    remittance.payee = draws.pick(chunk.world.strangers)
    payment = pay(remittance)
    if chunk.has_directory:
        chunk.add_alone(case, remittance, payment)
    else:
        chunk.add(case, remittance, payment)


def _effective_on_closed_day(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The effective date is a weekend or a holiday; money settles on the next banking day."""
    remittance.effective_day = next_closed_day(remittance.effective_day)
    payment = pay(remittance)
    payment.settlement_day = (
        roll_forward(payment.effective_day) if draws.chance(600) else SETTLEMENT_BLANK
    )
    chunk.add(case, remittance, payment)


def _effective_on_open_friday(
    case: str, chunk: Chunk, remittance: Remittance, draws: Draws
) -> None:
    """The effective date is the Friday before a holiday on a Saturday: money settles on it."""
    day = min(SATURDAY_HOLIDAYS, key=lambda friday: abs(friday - chunk.day))
    remittance.effective_day = day
    payment = pay(remittance)
    if abs(day - chunk.day) > _YEAR_KNOWN_DAYS:
        payment.settlement_day = SETTLEMENT_BLANK
    payment.is_reported = False
    chunk.add(case, remittance, payment)


def _settlement_blank(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The file comes as its originator wrote it: no settlement date yet."""
    payment = pay(remittance)
    payment.settlement_day = SETTLEMENT_BLANK
    chunk.add(case, remittance, payment)


NOISE_CASES = (
    Defect("missing_payment", 12_000, _missing_payment, NONE),
    Defect("missing_remittance", 12_000, _missing_remittance, NONE),
    Defect("prenote", 4_000, _prenote, NONE, "25"),
    Defect("unrelated_entry", 15_000, _unrelated_entry, NONE),
    Defect("payee_unknown", 1_500, _payee_unknown, NONE),
    Defect("effective_closed_day", 6_000, _effective_on_closed_day, section="22"),
    Defect("effective_open_friday", 1_500, _effective_on_open_friday, section="22"),
    Defect("settlement_blank", 6_000, _settlement_blank),
)
