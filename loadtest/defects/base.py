"""What a case is, and what several cases need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import Chunk, Remittance, adjust, give_payer
from reassoc.loadtest.world import Payer

Apply = Callable[[str, Chunk, Remittance, Draws], None]


class Claims(IntEnum):
    """What the claims of a case's remittance are: a mixture that pays, all denied, all reversed."""

    PAYING = 0
    DENIED = 1
    REVERSED = 2


@dataclass(frozen=True, slots=True)
class Defect:
    """A case: its name in the truth, its share of all payments by default, and how it is made.

    rate_ppm : int       per million payments
    expect : str         what the truth says of its pairs, for people to read
    section : str        number of the case among the thirty edge cases, "" for others
    claims : Claims      of the remittance it gets
    spares : int         further remittances (in `chunk.spares`) that one case uses
    """

    name: str
    rate_ppm: int
    apply: Apply
    expect: str = "auto"
    section: str = ""
    claims: Claims = Claims.PAYING
    spares: int = 0


def siblings(chunk: Chunk, remittance: Remittance, count: int) -> list[Remittance]:
    """The remittance and `count` spares, all of its payer and payee."""
    found = [remittance]
    for _ in range(count):
        spare = chunk.spares.pop()
        give_payer(spare, remittance.payer)
        spare.payee = remittance.payee
        found.append(spare)
    return found


def level(remittances: list[Remittance]) -> None:
    """Make all pay the same, by a PLB where it is needed."""
    target = min(remittance.paid_cents for remittance in remittances)
    for remittance in remittances:
        adjust(remittance, target)


def other_payer(chunk: Chunk, payer: Payer) -> Payer:
    """A payer that no alias ties to this one."""
    payers = chunk.world.payers
    return payers[(payer.number + 1) % len(payers)]
