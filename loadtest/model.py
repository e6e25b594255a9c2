"""What is planned before it is written: remittances, payments, and which belongs to which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from reassoc.loadtest.claims import Body
from reassoc.loadtest.world import Payee, Payer, World

SETTLEMENT_BLANK = -1
CTX_BYTES_MAX = 400_000
"""An embedded 835 may be no longer than this: 9,999 addenda hold 80 bytes each."""

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

    `has_accounts` puts the payer's and the payee's account into BPR. `file` and `ordinal` are known
    once it is written.
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
    has_accounts: bool = True
    is_copy: bool = False
    file: str = ""
    ordinal: int = -1


@dataclass(frozen=True, slots=True)
class Notice:
    """What an addenda 98 or 99 says: which entry came back, or should be sent otherwise.

    code : str             R02, R61 (dishonored), R71 (contested), C01
    original : Payment     the entry that it is about
    answers : Payment      for a dishonored or contested one: the return or dishonored return
    """

    code: str
    original: Payment
    answers: Payment | None = None


@dataclass(slots=True)
class Payment:
    """One ACH entry to be written. `addenda` is the text of its one addenda, `embedded` the 835
    that a CTX carries, `notice` the addenda of a return or a notification of change.

    `goes_out` puts it into a file that the receiving bank sent, `is_early` into the folder of the
    day before; `is_reported` lets the bank's report show it.
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
    notice: Notice | None = None
    sec: str = "CCD"
    service_class: int = 220
    entry_description: str = "HCCLAIMPMT"
    transaction_code: int = 22
    rdfi: str = ""
    copy_of: Payment | None = None
    goes_out: bool = False
    is_early: bool = False
    is_reported: bool = True
    file: str = ""
    ordinal: int = -1
    trace: str = ""


@dataclass(slots=True)
class BankLine:
    """One line (record 16) of a bank's BAI2 report on the payee's account.

    `is_same_day` puts it into the report of the running day, `bank_reference` is set when it is
    written unless it repeats another's. `file` and `ordinal` are known once it is written.
    """

    payee: Payee
    type_code: int
    amount_cents: int
    day: int
    customer_reference: str = ""
    text: str = ""
    is_same_day: bool = False
    repeats: BankLine | None = None
    bank_reference: str = ""
    file: str = ""
    ordinal: int = -1
    trace: str = ""


@dataclass(slots=True)
class ListedCheck:
    """One row of a lockbox list: a check that came to the payee's box. `drawer_name` may be empty.

    `file` and `ordinal` are known once it is written.
    """

    payee: Payee
    payer: Payer
    number: str
    amount_cents: int
    day: int
    drawer_account: str
    drawer_name: str
    file: str = ""
    ordinal: int = -1
    trace: str = ""


Item = Payment | BankLine | ListedCheck


@dataclass(frozen=True, slots=True)
class Link:
    """A row of the truth: a pair, or an item without a partner. expect: see truth.py."""

    case: str
    remittance: Remittance | None
    payment: Item | None
    expect: str


@dataclass(slots=True)
class Chunk:
    """A run of payments that is planned and written together, and then forgotten.

    `spares` are remittances (with claims of their own) that cases may use beside the planned ones.
    `has_directory` : the feed has a directory, so aliases and payees' identifiers are known.
    """

    world: World
    day: int
    body: Body
    spares: list[Remittance]
    has_directory: bool = True
    remittances: list[Remittance] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    bank_lines: list[BankLine] = field(default_factory=list)
    checks: list[ListedCheck] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def add(
        self, case: str, remittance: Remittance | None, payment: Item | None, expect: str = AUTO
    ) -> None:
        """Put a pair, or one side of it (of which nothing is expected), into the feed and the
        truth.
        """
        alone = remittance is None or payment is None
        self.links.append(Link(case, remittance, payment, NONE if alone else expect))
        if isinstance(payment, Payment):
            self.payments.append(payment)
        elif isinstance(payment, BankLine):
            self.bank_lines.append(payment)
        elif payment is not None:
            self.checks.append(payment)
        # An 835 inside a CTX travels with its payment.
        carried = isinstance(payment, Payment) and payment.embedded is remittance
        if remittance is not None and not carried:
            self.remittances.append(remittance)

    def add_group(
        self,
        case: str,
        remittances: Iterable[Remittance],
        payments: Iterable[Payment],
        expect: str = AUTO,
    ) -> None:
        """Put remittances and payments that belong to each other as a whole into the feed, and a
        row for each pair of them into the truth.
        """
        remittances, payments = list(remittances), list(payments)
        self.remittances += remittances
        self.payments += payments
        for remittance in remittances:
            self.links += [Link(case, remittance, payment, expect) for payment in payments]

    def add_alone(self, case: str, remittance: Remittance, payment: Payment) -> None:
        """Put both into the feed, and a row for each of them into the truth: they are no pair."""
        self.add(case, remittance, payment)
        self.links[-1:] = [Link(case, remittance, None, NONE), Link(case, None, payment, NONE)]


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
    payment.is_reported = False
    return replace(payment, copy_of=payment)


def clone_payment(payment: Payment) -> Payment:
    """An entry like it, with a trace of its own."""
    return replace(payment)


def retrace(payment: Payment, payer: Payer, trace: str, payer_id: str = "") -> None:
    """Give a payment's addenda another trace or payer identifier."""
    payment.addenda = trace_segment(payer, trace, payer_id) + payer.terminator


def give_payer(remittance: Remittance, payer: Payer) -> None:
    """Make it a remittance of another payer; it keeps its trace, which stays unique."""
    remittance.payer, remittance.payer_id = payer, payer.payer_id


def adjust(remittance: Remittance, target_cents: int, code: str = "CS:EXADJ") -> None:
    """Make a remittance pay `target_cents`, by a PLB where it does not already."""
    taken = remittance.paid_cents - target_cents
    if taken:
        remittance.adjustments = (*remittance.adjustments, (code, taken))
        remittance.paid_cents = target_cents
