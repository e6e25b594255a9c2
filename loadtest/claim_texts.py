"""One claim as X12 text (loops 2100 and 2110 of 005010X221A1), balanced in exact cents.

Codes are written, their texts are not: code texts belong to their publishers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reassoc.loadtest.claim_money import Claim, Kind, Line, can_shift, draw_claims
from reassoc.loadtest.dates import compact
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.world import npi

CONTROL_DIGITS = 9
"""Digits of a claim's own numbers, filled in when a remittance is written."""

_LAST = (
    "SAMPLE",
    "TESTER",
    "DOE",
    "ROE",
    "EXAMPLE",
    "MADEUP",
    "NOBODY",
    "SPECIMEN",
    "DUMMY",
    "FICTION",
    "INVENT",
    "MOCK",
)
_FIRST = (
    "ALEX",
    "BLAIR",
    "CASEY",
    "DREW",
    "ELLIS",
    "FINLEY",
    "GRAY",
    "HARPER",
    "INDY",
    "JULES",
    "KIT",
    "LANE",
)
_REMARKS = ("N130", "N522", "M15", "MA130", "N4", "M76")
_FILINGS = ("12", "12", "12", "13", "HM", "MB", "MC", "CH")


@dataclass(frozen=True, slots=True)
class ClaimText:
    """A pool entry: text, cents, and the bytes where numbers and amounts are filled in (see
    `claims`).
    """

    data: bytes
    claims: int
    charge_cents: int
    paid_cents: int
    shiftable: bool
    control_places: tuple[int, ...]
    claim_number_places: tuple[int, ...]
    up_places: tuple[int, ...]
    down_places: tuple[int, ...]


@dataclass(slots=True)
class Person:
    """Who a claim is for, and what stays the same between a reversal and its correction."""

    segment: str
    filing: str
    control_prefix: str
    service_day: int
    rendering: str = ""
    facility: str = "11"
    references: str = ""
    remark: str = ""


@dataclass(slots=True)
class Writer:
    """Collects text and the places that are filled in later."""

    short: bool
    parts: list[str] = field(default_factory=list)
    length: int = 0
    controls: list[int] = field(default_factory=list)
    claim_numbers: list[int] = field(default_factory=list)
    ups: list[int] = field(default_factory=list)
    downs: list[int] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Write text."""
        self.parts.append(text)
        self.length += len(text)

    def money(self, cents: int, places: list[int] | None = None) -> None:
        """Write an amount; in `places`, note where its last four digits (dd.dd) begin."""
        text = amount(cents, self.short)
        self.add(text)
        if places is not None:
            places.append(self.length - 5)

    def number(self, prefix: str, places: list[int]) -> None:
        """Write a prefix and leave room for a claim's own digits."""
        self.add(prefix)
        places.append(self.length)
        self.add("0" * CONTROL_DIGITS)


def amount(cents: int, short: bool = False) -> str:
    """An X12 amount: 1200.00, or 1200, 1200.5, .5 where `short` says to leave out what may be left
    out.
    """
    whole, part = divmod(abs(cents), 100)
    sign = "-" if cents < 0 else ""
    if not short:
        return f"{sign}{whole}.{part:02d}"
    digits = f"{whole}.{part:02d}".rstrip("0").rstrip(".")
    return sign + (digits.removeprefix("0") if whole == 0 and part else digits)


def write_claim(draws: Draws, kind: Kind, short: bool, first_day: int) -> ClaimText:
    """Make one pool entry. Amounts are short or vary, never both. O(lines)."""
    person = _person(draws, first_day)
    writer = Writer(short)
    claims = draw_claims(draws, kind)
    if kind is Kind.DENIED:
        person.remark = draws.pick(_REMARKS)
    shiftable = not short and kind in (Kind.PAID, Kind.FORWARDED) and can_shift(claims[0])
    for claim in claims:
        _write(writer, claim, person, shiftable, draws)
    return ClaimText(
        data="".join(writer.parts).encode("ascii"),
        claims=len(claims),
        charge_cents=sum(claim.charge * claim.sign for claim in claims),
        paid_cents=sum(claim.paid * claim.sign for claim in claims),
        shiftable=shiftable,
        control_places=tuple(writer.controls),
        claim_number_places=tuple(writer.claim_numbers),
        up_places=tuple(writer.ups),
        down_places=tuple(writer.downs),
    )


def _person(draws: Draws, first_day: int) -> Person:
    last, first = draws.pick(_LAST), draws.pick(_FIRST)
    middle = draws.pick(("", "", "A", "J", "Q"))
    member = f"EXM{draws.one(100_000_000):08d}"
    person = Person(
        segment=f"NM1*QC*1*{last}*{first}*{middle}***MI*{member}~",
        filing=draws.pick(_FILINGS),
        control_prefix=draws.pick(("PT", "A", "EX-", "ACCT")),
        service_day=first_day - draws.between(6, 60),
        facility=draws.pick(("11", "11", "11", "22", "13")),
    )
    if draws.chance(150):
        person.segment += f"NM1*IL*1*{last}*{draws.pick(_FIRST)}****MI*{member}~"
    if draws.chance(30):
        person.segment += f"NM1*74*1*{last}*{first}****C*{member}~"
    if draws.chance(880):
        doctor = f"{draws.pick(_LAST)}*{draws.pick(_FIRST)}"
        person.rendering = f"NM1*82*1*{doctor}****XX*{npi(500_000 + draws.one(3000))}~"
    if draws.chance(40):
        person.rendering += f"NM1*TT*2*EXAMPLE OTHER PLAN*****PI*EXOTH{draws.one(90):02d}~"
    if draws.chance(700):
        person.references += f"REF*1L*EXGRP{draws.one(100_000):05d}~"
    if draws.chance(300):
        person.references += f"REF*EA*EXMED{draws.one(1_000_000):06d}~"
    if draws.chance(120):
        person.remark = draws.pick(_REMARKS)
    return person


def _write(writer: Writer, claim: Claim, person: Person, shiftable: bool, draws: Draws) -> None:
    sign = claim.sign
    writer.add("CLP*")
    writer.number(person.control_prefix, writer.controls)
    writer.add(f"*{claim.status}*")
    writer.money(claim.charge * sign)
    writer.add("*")
    writer.money(claim.paid * sign, writer.ups if shiftable else None)
    writer.add("*")
    if claim.patient or not draws.chance(300):
        writer.money(claim.patient * sign)
    writer.add(f"*{person.filing}*")
    writer.number("EX2", writer.claim_numbers)
    writer.add(f"*{person.facility}*{7 if claim.status == 22 else 1}~")
    if claim.outside:
        _adjust(writer, "CO", [("144", claim.outside)], sign)
    if not claim.detailed:
        _adjust_line(writer, claim.lines[0], sign, shiftable=False)
    writer.add(person.segment + person.rendering)
    _claim_tail(writer, claim, person, draws)
    if claim.detailed:
        for number, line in enumerate(claim.lines):
            _write_line(writer, claim, line, number, person, shiftable and number == 0, draws)


def _claim_tail(writer: Writer, claim: Claim, person: Person, draws: Draws) -> None:
    if not claim.detailed:
        writer.add("MIA*0***")
        writer.money(claim.paid * claim.sign)
        writer.add(f"*{person.remark}~" if person.remark else "~")
    elif person.filing == "MB" or (person.remark and draws.chance(300)):
        writer.add(f"MOA***{person.remark or 'MA01'}~")
    writer.add(person.references)
    if draws.chance(550) or not claim.detailed:
        end = person.service_day + (0 if claim.detailed else 3)
        writer.add(f"DTM*232*{compact(person.service_day)}~DTM*233*{compact(end)}~")
    if draws.chance(700):
        writer.add(f"DTM*050*{compact(person.service_day + 3)}~")
    if draws.chance(40):
        writer.add("PER*CX*MEMBER DESK*TE*8005550199~")
    if claim.sign > 0 and claim.paid and draws.chance(180):
        writer.add("AMT*AU*")
        writer.money(claim.charge - sum(line.contract for line in claim.lines))
        writer.add("~")
    if not claim.detailed:
        writer.add(f"QTY*CA*{draws.between(1, 9)}~")


def _write_line(
    writer: Writer,
    claim: Claim,
    line: Line,
    number: int,
    person: Person,
    shiftable: bool,
    draws: Draws,
) -> None:
    sign = claim.sign
    code = f"HC:{line.code}" + draws.pick(("", "", "", ":25", ":59"))
    writer.add(f"SVC*{code}*")
    writer.money(line.charge * sign)
    writer.add("*")
    writer.money(line.paid * sign, writer.ups if shiftable else None)
    writer.add(f"**{1 if draws.chance(850) else draws.between(2, 4)}~")
    writer.add(f"DTM*472*{compact(person.service_day)}~")
    _adjust_line(writer, line, sign, shiftable)
    if draws.chance(850):
        writer.number(f"REF*6R*L{number + 1}", writer.controls if len(writer.controls) < 4 else [])
        writer.add("~")
    allowed = line.charge - line.contract
    if sign > 0 and line.paid and (not shiftable or allowed % 10_000 < 5_000) and draws.chance(800):
        writer.add("AMT*B6*")
        writer.money(allowed, writer.ups if shiftable else None)
        writer.add("~")
    if line.denied or (person.remark and draws.chance(200)):
        writer.add(f"LQ*HE*{person.remark or 'N130'}~")


def _adjust_line(writer: Writer, line: Line, sign: int, shiftable: bool) -> None:
    if line.contract:
        writer.add("CAS*CO*45*")
        writer.money(line.contract * sign, writer.downs if shiftable else None)
        writer.add("~")
    patient = [
        (code, cents) for code, cents in (("1", line.deductible), ("3", line.copay)) if cents
    ]
    if patient:
        _adjust(writer, "PR", patient, sign)
    if line.denied:
        _adjust(writer, "CO", [("16", line.denied)], sign)


def _adjust(writer: Writer, group: str, reasons: list[tuple[str, int]], sign: int) -> None:
    """One CAS: up to six triplets of reason, amount and (left out) quantity."""
    writer.add(f"CAS*{group}")
    for number, (code, cents) in enumerate(reasons):
        writer.add(("**" if number else "*") + f"{code}*")
        writer.money(cents * sign)
    writer.add("~")
