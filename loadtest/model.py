"""What is planned before it is written: remittances, payments, and which belongs to which."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reassoc.loadtest.claims import Body
from reassoc.loadtest.world import Payee, Payer, World

SETTLEMENT_BLANK = -1

# What a matcher may make of a pair, as the truth says it: see truth.py.
AUTO = "auto"
REVIEW = "review"
INDISTINGUISHABLE = "indistinguishable"
UNMATCHED = "unmatched"
NONE = "none"


@dataclass(slots=True)
class Remittance:
    """One 835 to be written. Claims are bytes [body_start, body_stop) of the chunk's body; days
    since 1970-01-01.

    `file` and `ordinal` are known once it is written.
    """

    payer: Payer
    payee: Payee
    trace: str
    payer_id: str
    paid_cents: int
    effective_day: int
    body_start: int
    body_stop: int
    segments: int
    claims: int
    charge_cents: int
    adjustments: tuple[tuple[str, int], ...] = ()
    handling: str = "I"
    method: str = "ACH"
    segments_claimed_extra: int = 0
    is_copy: bool = False
    file: str = ""
    ordinal: int = -1


@dataclass(slots=True)
class Payment:
    """One ACH entry to be written. `addenda` is the text of its one addenda, `embedded` the 835
    that a CTX carries.

    `file`, `ordinal` and `trace` are known once it is written.
    """

    payee: Payee
    odfi: str
    company_name: str
    company_id: str
    amount_cents: int
    effective_day: int
    settlement_day: int
    addenda: str = ""
    embedded: Remittance | None = None
    sec: str = "CCD"
    service_class: int = 220
    entry_description: str = "HCCLAIMPMT"
    transaction_code: int = 22
    copy_of: Payment | None = None
    file: str = ""
    ordinal: int = -1
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A row of the truth: a pair, or an item without a partner. expect: see truth.py."""

    case: str
    remittance: Remittance | None
    payment: Payment | None
    expect: str


@dataclass(slots=True)
class Chunk:
    """A run of payments that is planned and written together, and then forgotten.

    `spares` are remittances (with claims of their own) that cases may use beside the planned ones.
    """

    world: World
    day: int
    body: Body
    spares: list[Remittance]
    remittances: list[Remittance] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def add(
        self,
        case: str,
        remittance: Remittance | None,
        payment: Payment | None,
        expect: str = AUTO,
    ) -> None:
        """Put a pair, or one side of it (of which nothing is expected), into the feed and the
        truth.
        """
        alone = remittance is None or payment is None
        self.links.append(Link(case, remittance, payment, NONE if alone else expect))
        if payment is not None:
            self.payments.append(payment)
        # An 835 inside a CTX travels with its payment.
        if remittance is not None and (payment is None or payment.embedded is not remittance):
            self.remittances.append(remittance)


def pay(remittance: Remittance) -> Payment:
    """The CCD+ entry that pays a remittance: same trace, same cents, same day."""
    payer = remittance.payer
    return Payment(
        payee=remittance.payee,
        odfi=payer.odfi,
        company_name=payer.company_name,
        company_id=payer.company_id,
        amount_cents=remittance.paid_cents,
        effective_day=remittance.effective_day,
        settlement_day=remittance.effective_day,
        addenda=trace_segment(payer, remittance.trace) + payer.terminator,
    )


def trace_segment(payer: Payer, trace: str, payer_id: str = "") -> str:
    """TRN as the addenda carries it, without a terminator."""
    supplement = f"*{payer.supplement}" if payer.supplement else ""
    return f"TRN*1*{trace}*{payer_id or payer.payer_id}{supplement}"


def embed(remittance: Remittance, payment: Payment) -> None:
    """Make a payment a CTX that carries its 835."""
    remittance.handling = "C"
    payment.sec = "CTX"
    payment.addenda = ""
    payment.embedded = remittance


def copy_remittance(remittance: Remittance) -> Remittance:
    """The same 835 once more, for another envelope."""
    return replace(remittance, is_copy=True)


def copy_payment(payment: Payment) -> Payment:
    """The same entry once more, for another batch."""
    return replace(payment, copy_of=payment)
