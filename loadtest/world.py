"""Who sends, who is paid and through which banks. Every name and number is invented and looks it.

Routing numbers start with 99, which no bank has; payers' tax numbers with 97 and payees' with 96,
which the tax office never gave out as employer prefixes of these kinds; all check digits are right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reassoc.loadtest.draws import Draws

STREAM_WORLD = 1

PAYERS_MAX = 48
PAYEES_MAX = 5000
RECEIVERS_MAX = 8
RDFI_COUNT = 30
DESTINATIONS_MAX = 6
SITES = 3
"""Places of a payee that have a provider identifier of their own."""
STRANGERS = 5
"""Payees that no directory knows."""
AGGREGATORS = 2

_TOWNS = (
    ("OMAHA", "NE", "68102"),
    ("TULSA", "OK", "74103"),
    ("DAYTON", "OH", "45402"),
    ("BOISE", "ID", "83702"),
    ("MACON", "GA", "31201"),
    ("ALBANY", "NY", "12207"),
    ("FRESNO", "CA", "93721"),
    ("DULUTH", "MN", "55802"),
)
_CLINICS = (
    "RIVER",
    "HILL",
    "LAKE",
    "OAK",
    "PRAIRIE",
    "HARBOR",
    "SUMMIT",
    "VALLEY",
    "MEADOW",
    "CEDAR",
)
_KINDS = (
    "CLINIC",
    "HOSPITAL",
    "DENTAL",
    "IMAGING",
    "PHARMACY",
    "LABS",
    "PEDIATRICS",
    "SURGERY CTR",
)


@dataclass(frozen=True, slots=True)
class Delimiters:
    """How a sender writes X12: one byte each, the line end (if any) behind the terminator."""

    element: str
    component: str
    repetition: str
    terminator: str
    line_end: str = ""

    def dress(self, plain: bytes) -> bytes:
        """`plain`, written with * : ^ ~, as this sender writes it. O(len)."""
        if self != PLAIN:
            new = (self.element + self.component + self.repetition).encode("latin-1")
            table = bytes.maketrans(b"*:^", new)
            if self.line_end:
                return plain.translate(table).replace(
                    b"~", (self.terminator + self.line_end).encode("latin-1")
                )
            return plain.translate(
                bytes.maketrans(b"*:^~", new + self.terminator.encode("latin-1"))
            )
        return plain


PLAIN = Delimiters("*", ":", "^", "~")
STYLES = (
    PLAIN,
    Delimiters("*", ":", "^", "~", "\n"),
    PLAIN,
    Delimiters("*", ">", "^", "~", "\r\n"),
    Delimiters("|", ":", "^", "~"),
    PLAIN,
    Delimiters("\x1d", "\x1f", "\x1e", "\x1c"),
    Delimiters("*", "<", "!", "'"),
    Delimiters("*", ":", "^", "\n"),
    PLAIN,
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends interchanges: a payer itself or somebody who sends for several."""

    number: int
    isa_id: str
    delimiters: Delimiters


@dataclass(frozen=True, slots=True)
class Payer:
    """A payer. `block` is its loop 1000A, ready to be written, `trace_style` an index into the
    forms of `trace`.
    """

    number: int
    name: str
    company_name: str
    payer_id: str
    company_id: str
    sender: Sender
    odfi: str
    account: str
    trace_style: int
    terminator: str
    short_amounts: bool
    provider_totals: bool
    supplement: str
    block: str

    def trace(self, number: int, day: str) -> str:
        """TRN02 of the payer's payment `number` (below 10**7): unique, in this payer's form."""
        scrambled = number * 7_368_787 % 10_000_000
        serial = f"{self.number + 1:02d}{scrambled:07d}"
        match self.trace_style:
            case 0:
                return "0" + serial
            case 1:
                return "EX" + serial
            case 2:
                return "88" + day[2:6] + serial
            case 3:
                return f"{serial[:2]}-{serial[2:]}"
            case _:
                return f"000{serial}"


@dataclass(frozen=True, slots=True)
class Payee:
    """Who is paid. `block` is loop 1000B, ready to be written; `destination` says whose ACH file it
    is paid in.
    """

    number: int
    name: str
    npi: str
    tax_id: str
    rdfi: str
    account: str
    destination: int
    receiver: str
    block: str


@dataclass(frozen=True, slots=True)
class Aggregator:
    """Who pays in its own name for plans (numbers of payers)."""

    name: str
    company_name: str
    payer_id: str
    plans: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class World:
    """Everybody in a feed. `strangers` are payees and `unknown_aggregator` a payer that no
    directory knows.
    """

    payers: tuple[Payer, ...]
    payees: tuple[Payee, ...]
    destinations: tuple[str, ...]
    strangers: tuple[Payee, ...]
    aggregators: tuple[Aggregator, ...]
    unknown_aggregator: Aggregator

    def sites(self, payee: Payee) -> list[Payee]:
        """The payee as its SITES places: each with an identifier of its own, all with its account
        and, where they say it, its tax number.
        """
        found = []
        for place, identifier in enumerate(site_npis(payee)):
            name = f"{payee.name} SITE {place + 1}"
            block = f"N1*PE*{name}*XX*{identifier}~"
            block += f"REF*TJ*{payee.tax_id}~" if place % 2 else ""
            found.append(replace(payee, name=name, npi=identifier, block=block))
        return found


def site_npis(payee: Payee) -> list[str]:
    """The provider identifiers of a payee's SITES places."""
    return [npi(600_000 + payee.number * SITES + place) for place in range(SITES)]


def routing_number(serial: int) -> str:
    """Nine digits, 99 first, with the check digit that banks use."""
    digits = f"99{serial:06d}"
    total = sum(
        weight * int(digit) for weight, digit in zip((3, 7, 1, 3, 7, 1, 3, 7), digits, strict=True)
    )
    return f"{digits}{-total % 10}"


def npi(serial: int) -> str:
    """Ten digits, 199 first, with the Luhn digit of an NPI (as if 80840 stood before it)."""
    digits = f"199{serial:06d}"
    total = 24
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"


def build_world(seed: int, payments: int, is_dense: bool = False) -> World:
    """The world of a feed of about `payments` payments: few people for a small feed, and for a
    dense one a tenth of the payees and a third of the payers. O(payers + payees).
    """
    draws = Draws(seed, STREAM_WORLD)
    payer_count = min(PAYERS_MAX // 3 if is_dense else PAYERS_MAX, 3 + payments // 40)
    sender_count = max(2, payer_count * 2 // 3)
    senders = [
        Sender(number, f"EXSENDER{number + 1:03d}", STYLES[number % len(STYLES)])
        for number in range(sender_count)
    ]
    # A payer sends for itself while senders last; the rest share the first ones, as clients of a
    # clearinghouse do.
    payers = tuple(
        _payer(
            number, senders[number if number < sender_count else number % 3 % sender_count], draws
        )
        for number in range(payer_count)
    )
    destination_count = min(DESTINATIONS_MAX, 1 + payments // 50)
    receiver_count = min(RECEIVERS_MAX, 2 + payments // 100)
    payee_count = min(PAYEES_MAX, 5 + payments // (200 if is_dense else 20))
    everyone = tuple(
        _payee(number, destination_count, receiver_count, draws)
        for number in range(payee_count + STRANGERS)
    )
    destinations = tuple(routing_number(900 + number) for number in range(destination_count))
    return World(
        payers=payers,
        payees=everyone[:payee_count],
        destinations=destinations,
        strangers=everyone[payee_count:],
        aggregators=tuple(_aggregator(number, payer_count) for number in range(AGGREGATORS)),
        unknown_aggregator=_aggregator(AGGREGATORS, 0),
    )


def _aggregator(number: int, payer_count: int) -> Aggregator:
    """Every fourth payer is a plan of the same aggregator; neighbours never are."""
    return Aggregator(
        name=f"EXAMPLE PAYMENTS {number + 1}",
        company_name=f"EXAMPLE PAYMTS {number + 1}",
        payer_id=f"1978{number * 1_001 + 4_321:06d}",
        plans=tuple(range(number + 1, payer_count, 4)),
    )


def _payer(number: int, sender: Sender, draws: Draws) -> Payer:
    name = f"EXAMPLE HEALTH {number + 1:02d}"
    town, state, zip_code = draws.pick(_TOWNS)
    payer_id = f"197{1_000_003 + number * 7919:07d}"
    block = f"N1*PR*{name}~N3*{draws.between(1, 9999)} SAMPLE AVE~N4*{town}*{state}*{zip_code}~"
    if draws.chance(400):
        block += f"REF*2U*EXPAY{number + 1:03d}~"
    block += f"PER*CX*CLAIMS DESK*TE*80055501{number % 100:02d}~" if draws.chance(300) else ""
    block += f"PER*BL*EDI DESK*TE*80055502{number % 100:02d}*EM*EDI{number + 1:02d}@EXAMPLE.COM~"
    return Payer(
        number=number,
        name=name,
        company_name=f"EXAMPLE HLTH {number + 1:02d}",
        payer_id=payer_id,
        company_id=payer_id if draws.chance(800) else f"9{payer_id[1:]}",
        sender=sender,
        odfi=routing_number(100 + draws.one(12) * 7),
        account=f"{700_000 + number * 37}",
        # The first five payers show the five forms, so that even a small feed has them.
        trace_style=number if number < 5 else draws.one(5),
        terminator="~" if number % 2 else "\\",
        short_amounts=number % 4 == 2,
        provider_totals=number % 5 == 4,
        supplement=f"EXSUPP{number + 1:03d}" if number % 6 == 5 else "",
        block=block,
    )


def _payee(number: int, destination_count: int, receiver_count: int, draws: Draws) -> Payee:
    name = f"{draws.pick(_CLINICS)} {draws.pick(_KINDS)} {number + 1:04d}"
    town, state, zip_code = draws.pick(_TOWNS)
    identifier = npi(1000 + number)
    tax_id = f"96{100_000 + number:07d}"
    bank = draws.one(RDFI_COUNT)
    block = f"N1*PE*{name}*XX*{identifier}~"
    if draws.chance(500):
        block += f"N3*{draws.between(1, 999)} TEST ST~N4*{town}*{state}*{zip_code}~"
    block += f"REF*TJ*{tax_id}~"
    return Payee(
        number=number,
        name=name,
        npi=identifier,
        tax_id=tax_id,
        rdfi=routing_number(500 + bank * 3),
        account=f"{55_000_000 + number * 13}" if number % 3 else f"{0:03d}{440_000 + number * 17}",
        destination=bank % destination_count,
        receiver=f"EXRECV{draws.one(receiver_count) + 1:03d}",
        block=block,
    )
