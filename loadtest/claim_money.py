"""What a claim comes to: charges, adjustments and payments in exact cents, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from reassoc.loadtest.draws import Draws

_OFFICE = (
    ("99213", 14_500),
    ("99214", 21_500),
    ("36415", 2_400),
    ("80053", 6_800),
    ("93000", 9_500),
    ("G0463", 18_000),
)
_OUTPATIENT = (
    ("71046", 24_000),
    ("74177", 72_000),
    ("70553", 98_000),
    ("96372", 9_000),
    ("29881", 118_000),
)


class Kind(IntEnum):
    """What becomes of a claim."""

    PAID = 0
    DENIED = 1
    CORRECTION = 2
    FORWARDED = 3
    REVERSAL = 4


@dataclass(slots=True)
class Line:
    """A service line: charge - contract - other - patient = paid, all in cents."""

    code: str
    charge: int
    contract: int = 0
    deductible: int = 0
    copay: int = 0
    denied: int = 0

    @property
    def paid(self) -> int:
        """What the payer pays for the line."""
        return self.charge - self.contract - self.deductible - self.copay - self.denied


@dataclass(slots=True)
class Claim:
    """A claim before it is written. `outside` is adjusted at claim level (CO*144), `sign` is -1 in
    a reversal.
    """

    status: int
    lines: list[Line]
    outside: int = 0
    sign: int = 1
    detailed: bool = True

    @property
    def charge(self) -> int:
        """Total charge."""
        return sum(line.charge for line in self.lines)

    @property
    def paid(self) -> int:
        """Total payment."""
        return sum(line.paid for line in self.lines) - self.outside

    @property
    def patient(self) -> int:
        """What the patient owes."""
        return sum(line.deductible + line.copay for line in self.lines)


def draw_claims(draws: Draws, kind: Kind) -> list[Claim]:
    """The claim of one pool entry; two (a reversal and the claim paid anew) for a correction."""
    match kind:
        case Kind.REVERSAL:
            return _correction(draws)[:1]
        case Kind.DENIED:
            return [_denied(draws)]
        case Kind.CORRECTION:
            return _correction(draws)
        case Kind.FORWARDED:
            claim = _paid(draws)
            claim.status = 19
            return [claim]
        case _:
            return [_paid(draws)]


def can_shift(claim: Claim) -> bool:
    """Whether 0.00 to 49.99 can move from the first line's CO*45 to the payment with no carry into
    the hundreds.
    """
    first = claim.lines[0]
    return (
        claim.detailed
        and min(first.paid, claim.paid) >= 0
        and first.paid % 10_000 < 5_000
        and claim.paid % 10_000 < 5_000
        and first.contract % 10_000 >= 5_000
        and min(first.paid, claim.paid, first.contract) >= 1_000
    )


def _paid(draws: Draws) -> Claim:
    roll = draws.one(1000)
    status = 2 if draws.chance(60) else 1
    if roll < 12:
        return _stay(draws, status)
    lines = [_line(draws, roll < 95) for _ in range(draws.pick((1, 1, 2, 2, 2, 3, 3, 5)))]
    claim = Claim(status, lines)
    if draws.chance(50) and claim.paid > 4_000:
        claim.outside = claim.paid // 50
    _make_room(claim)
    return claim


def _make_room(claim: Claim) -> None:
    """Move the first line's contract and charge a little where that lets its payment vary (see
    `can_shift`).
    """
    first = claim.lines[0]
    if first.contract < 1_000 or first.paid < 6_000:
        return
    wanted = first.contract // 10_000 * 10_000 + 5_000 + first.contract % 5_000
    first.charge += wanted - first.contract
    first.contract = wanted
    for more in range(0, 10_000, 1_000):
        if (first.paid + more) % 10_000 < 5_000 and (claim.paid + more) % 10_000 < 5_000:
            first.charge += more
            return


def _line(draws: Draws, outpatient: bool) -> Line:
    code, base = draws.pick(_OUTPATIENT if outpatient else _OFFICE)
    charge = base * draws.between(70, 200) // 100
    charge -= charge % 100 if draws.chance(700) else 0
    line = Line(code, charge, contract=charge * draws.between(12, 52) // 100)
    allowed = charge - line.contract
    roll = draws.one(10)
    if roll < 3:
        line.copay = min(allowed // 2, draws.pick((1_000, 1_500, 2_000, 2_500, 4_000)))
    elif roll < 5:
        line.deductible = allowed * draws.pick((10, 20, 30)) // 100
    elif roll == 5:
        line.deductible, line.copay = allowed // 5, allowed // 10
    return line


def _stay(draws: Draws, status: int) -> Claim:
    """An inpatient stay: one large amount, adjusted at claim level, no service lines."""
    charge = draws.between(200_000, 1_000_000)
    line = Line(
        "",
        charge,
        contract=charge * draws.between(35, 70) // 100,
        deductible=draws.pick((0, 0, 40_000)),
    )
    return Claim(status, [line], detailed=False)


def _denied(draws: Draws) -> Claim:
    lines = [_line(draws, draws.chance(150)) for _ in range(draws.between(1, 2))]
    for line in lines:
        line.contract = line.deductible = line.copay = 0
        line.denied = line.charge
    return Claim(4 if draws.chance(80) else 1, lines)


def _correction(draws: Draws) -> list[Claim]:
    """A reversal of what was paid, then the claim paid anew with one amount changed."""
    old = _line(draws, draws.chance(200))
    change = old.contract // draws.between(2, 6)
    change = min(change, old.paid // 2) if draws.chance(250) else -change
    new = Line(old.code, old.charge, old.contract + change, old.deductible, old.copay)
    return [Claim(22, [old], sign=-1), Claim(1, [new])]
