"""What goes wrong in real feeds, one function per case, and the tables of them.

A case gets a remittance that is clean, balanced and not yet in the feed, and adds to the chunk what
the case consists of: altered pairs, one side only, or several rows. The truth that it adds is what
a perfect matcher may find.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from reassoc.loadtest.defects.amounts import AMOUNT_CASES
from reassoc.loadtest.defects.base import Apply, Claims, Defect
from reassoc.loadtest.defects.bulk import BULK_CASES
from reassoc.loadtest.defects.echoes import ECHO_CASES
from reassoc.loadtest.defects.lookalikes import LOOKALIKE_CASES
from reassoc.loadtest.defects.noise import NOISE_CASES
from reassoc.loadtest.defects.rails import RAIL_CASES
from reassoc.loadtest.defects.repeats import REPEAT_CASES
from reassoc.loadtest.defects.traces import TRACE_CASES

__all__ = [
    "DEFECTS",
    "PROFILES",
    "RATE_UNIT",
    "Apply",
    "Claims",
    "Defect",
    "plan_rates",
]

RATE_UNIT = 1_000_000

DEFAULT_CASES = (
    *TRACE_CASES,
    *BULK_CASES,
    *AMOUNT_CASES,
    *RAIL_CASES,
    *REPEAT_CASES,
    *NOISE_CASES,
)
DEFECTS: tuple[Defect, ...] = (*DEFAULT_CASES, *LOOKALIKE_CASES, *ECHO_CASES)

# In the adversarial profile the ordinary cases come at a third of their rates, with the look-alikes
# among them.
_ORDINARY_SHARE = 3

PROFILES: dict[str, dict[str, int]] = {
    "clean": {},
    "default": {case.name: case.rate_ppm for case in DEFAULT_CASES},
    "adversarial": {
        **{case.name: case.rate_ppm // _ORDINARY_SHARE for case in DEFAULT_CASES},
        **{case.name: case.rate_ppm for case in (*LOOKALIKE_CASES, *ECHO_CASES)},
    },
}


def plan_rates(profile: str, named: Mapping[str, int]) -> tuple[int, ...]:
    """Rates in parts per million, one per row of DEFECTS, adding up to at most RATE_UNIT.

    profile : of PROFILES
    named : case -> ppm    kept as they are; the other cases have the rates of the profile, scaled
                           down where there is no room left for them

    Raises ValueError for an unknown case or profile, a rate outside 0 .. RATE_UNIT, or rates that
    add up to more.
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    known = {defect.name for defect in DEFECTS}
    for name, rate_ppm in named.items():
        if name not in known:
            near = ", ".join(get_close_matches(name, known)) or "none is like it"
            raise ValueError(f"there is no case {name!r} ({near}); --list-cases shows all")
        if not 0 <= rate_ppm <= RATE_UNIT:
            raise ValueError(f"the rate of {name} is not between 0 and 1")
    room = RATE_UNIT - sum(named.values())
    if room < 0:
        raise ValueError("the named rates add up to more than 1")
    defaults = {name: ppm for name, ppm in PROFILES[profile].items() if name not in named}
    wanted = sum(defaults.values())
    if wanted > room:
        defaults = {name: rate_ppm * room // wanted for name, rate_ppm in defaults.items()}
    return tuple(named.get(defect.name, defaults.get(defect.name, 0)) for defect in DEFECTS)
