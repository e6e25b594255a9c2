"""Which steps the statuses of items may take: the model, as a table, and a check of whole arrays.

The matcher decides an item again whenever something about it changes, so most statuses of what is
still open lead to most others. What may never happen is in the table by not being in it: an item
that came is not left undecided, how an 835 is paid does not change, what was released is never open
again, what is voided stays so. One step of the matcher may be several in the model (it came, it was
matched, it was released): the table holds those as one. docs/WAREHOUSE.md draws it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from reassoc.core.errors import ReassocError
from reassoc.core.statuses import Funding, PaymentStatus, RemittanceStatus, among
from reassoc.stream.items import ItemFlag

Statuses = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
E = TypeVar("E", bound=IntEnum)
Steps = Mapping[tuple[E, E], str]
"""(before, after) -> why that can be; what is not in it is illegal."""


class StatusError(ReassocError):
    """A step would give items statuses that they cannot have: nothing of it may be applied."""


def _steps(*parts: tuple[Iterable[E], Iterable[E], str]) -> dict[tuple[E, E], str]:
    """A table of parts: every status of the first to every other one of the second."""
    steps: dict[tuple[E, E], str] = {}
    for sources, targets, reason in parts:
        for before in sources:
            for after in targets:
                if before != after:
                    steps.setdefault((before, after), reason)
    return steps


# ---- remittances ----

_R = RemittanceStatus
_AWAITING = (_R.AWAITING_EFT, _R.AWAITING_CHECK, _R.AWAITING_WIRE, _R.AWAITING_CARD)
_FOUND = (_R.PROBABLE, _R.MATCHED_VARIANCE, _R.MATCHED, _R.UNMATCHED_BY_RETURN)
_SET_ASIDE = (_R.DUPLICATE, _R.QUARANTINED)
_FIRST = (_R.INVALID, _R.NO_FUNDS_EXPECTED, *_SET_ASIDE, *_AWAITING, *_FOUND)
"""What the matcher says of a remittance that is neither released nor closed."""
_IS_BEYOND_RELEASE = among((_R.RELEASED, _R.UNMATCHED_BY_RETURN, _R.VOIDED, _R.ARCHIVED))

REMITTANCE_STEPS: Steps[RemittanceStatus] = _steps(
    ((_R.RECEIVED,), _FIRST, "it came and was decided"),
    (_SET_ASIDE, _FIRST, "the other copy is gone, or its payee is known now"),
    ((*_AWAITING, *_FOUND), _SET_ASIDE, "a copy of it came, or its payee is not known any more"),
    ((_R.INVALID, _R.NO_FUNDS_EXPECTED), _SET_ASIDE, "a sounder copy came, or its payee is gone"),
    ((*_AWAITING, *_FOUND), _FOUND, "candidates, rivals, returns or people came or went"),
    (_FOUND, _AWAITING, "what it was paired with is gone, or was undone"),
    ((_R.AWAITING_EFT,), (_R.AWAITING_CARD,), "the policy names its payment method as a card now"),
    ((_R.AWAITING_CARD,), (_R.AWAITING_EFT,), "the policy does not any more"),
    ((_R.INVALID, _R.NO_FUNDS_EXPECTED), (_R.MATCHED,), "a person paired it with money"),
    (
        (_R.MATCHED, _R.UNMATCHED_BY_RETURN),
        (_R.INVALID, _R.NO_FUNDS_EXPECTED),
        "what a person paired it with is gone, or was undone",
    ),
    ((_R.RECEIVED, *_FIRST), (_R.RELEASED,), "matched and funded, zero pay, by default or by hand"),
    ((_R.RELEASED,), (_R.UNMATCHED_BY_RETURN,), "its money went back after the release"),
    ((*_FIRST, _R.RELEASED), (_R.VOIDED,), "a person voided it"),
    ((*_FIRST, _R.RELEASED), (_R.ARCHIVED,), "released long ago, or moved to another tenant"),
)


def check_remittances(
    before: Statuses, after: Statuses, flags_before: Flags, flags_after: Flags
) -> None:
    """Refuse statuses and flags that remittances cannot come to.

    before, after : uint8[n]              RemittanceStatus; before is RECEIVED for what is new
    flags_before, flags_after : uint16[n] ItemFlag

    Beside the table of steps: RELEASED has the flag; with the flag a remittance is RELEASED,
    UNMATCHED_BY_RETURN, VOIDED or ARCHIVED, and never loses it; the first release of one goes to
    RELEASED; DEFAULTED is released; VOIDED is CLOSED; ARCHIVED was released or moved.

    Raises StatusError that names the step or the rule and how many break it, never an item. O(n).
    """
    _check_steps("remittances", before, after, _REMITTANCES)
    _check_flags("remittances", flags_before, flags_after)
    released = flags_after & np.uint16(ItemFlag.RELEASED) != 0
    closed = flags_after & np.uint16(ItemFlag.CLOSED) != 0
    moved = flags_after & np.uint16(ItemFlag.MOVED) != 0
    defaulted = flags_after & np.uint16(ItemFlag.DEFAULTED) != 0
    lost = flags_before & ~flags_after & np.uint16(ItemFlag.RELEASED | ItemFlag.DEFAULTED)
    first = released & (flags_before & np.uint16(ItemFlag.RELEASED) == 0)
    kind = "remittances"
    _refuse(kind, lost != 0, "would lose the flag that they were released, or by default")
    _refuse(kind, (after == _R.RELEASED) & ~released, "would be RELEASED without the flag of it")
    _refuse(kind, first & (after != _R.RELEASED), "would be released and not be RELEASED")
    _refuse(kind, released & ~_IS_BEYOND_RELEASE[after], "were released and would be open")
    _refuse(kind, defaulted & ~released, "would be released by default without being released")
    _refuse(kind, (after == _R.VOIDED) & ~closed, "would be VOIDED without the flag CLOSED")
    gone = (after == _R.ARCHIVED) & ~released & ~moved
    _refuse(kind, gone, "would be ARCHIVED, but were neither released nor moved")


# ---- payments ----

_P = PaymentStatus
_OPEN = (
    _P.UNMATCHED,
    _P.SUGGESTED,
    _P.MATCHED,
    _P.PARTIAL,
    _P.NOT_CLAIM_PAYMENT,
    _P.DUPLICATE,
    _P.QUARANTINED,
)
_WITHOUT_MONEY = (_P.RETURNED, _P.REVERSED, _P.REPORTED)

PAYMENT_STEPS: Steps[PaymentStatus] = _steps(
    ((_P.RECEIVED,), (_P.PRENOTE, *_OPEN, *_WITHOUT_MONEY), "it came and was decided"),
    (_OPEN, _OPEN, "candidates, copies, people or settings came or went"),
    (_OPEN, (_P.RETURNED, _P.REVERSED), "its money went back"),
    (_OPEN, (_P.REPORTED,), "another row stands for its money"),
    (_WITHOUT_MONEY, _OPEN, "the return is refused, or what was told of it is unclear now"),
    (_WITHOUT_MONEY, _WITHOUT_MONEY, "something surer was told of it"),
    ((_P.MATCHED,), (_P.RECEIVED,), "a person had paired an entry without money, and undid it"),
    (
        tuple(status for status in _OPEN if status != _P.MATCHED),
        (_P.WRITTEN_TO_SUSPENSE,),
        "a person wrote it to suspense",
    ),
    ((_P.WRITTEN_TO_SUSPENSE,), _OPEN, "a person took it back from suspense"),
    (
        (_P.WRITTEN_TO_SUSPENSE,),
        _WITHOUT_MONEY,
        "its money went back, or another row stands for it, after it was written to suspense",
    ),
    (
        (_P.RETURNED, _P.REVERSED),
        (_P.WRITTEN_TO_SUSPENSE,),
        "the return of what was written to suspense is refused, or unclear now",
    ),
)


def check_payments(
    before: Statuses, after: Statuses, flags_before: Flags, flags_after: Flags
) -> None:
    """Refuse statuses and flags that payments cannot come to.

    before, after : uint8[m]              PaymentStatus; before is RECEIVED for what is new
    flags_before, flags_after : uint16[m] ItemFlag

    Beside the table of steps: WRITTEN_TO_SUSPENSE is CLOSED, and a payment is never released.

    Raises StatusError that names the step or the rule and how many break it, never an item. O(m).
    """
    _check_steps("payments", before, after, _PAYMENTS)
    _check_flags("payments", flags_before, flags_after)
    closed = flags_after & np.uint16(ItemFlag.CLOSED) != 0
    released = flags_after & np.uint16(ItemFlag.RELEASED | ItemFlag.DEFAULTED) != 0
    suspense = after == _P.WRITTEN_TO_SUSPENSE
    _refuse("payments", suspense & ~closed, "would be in suspense without the flag CLOSED")
    _refuse("payments", released, "would be released: only remittances are")


# ---- funding ----

_F = Funding
_MONEY = (_F.EXPECTED, _F.SETTLED, _F.POSTED)

FUNDING_STEPS: Steps[Funding] = _steps(
    ((_F.NONE,), _MONEY, "it came, or no other row stands for its money any more"),
    ((_F.EXPECTED,), (_F.SETTLED, _F.POSTED), "its settlement day came, or the bank reports it"),
    ((_F.SETTLED,), (_F.POSTED,), "the bank reports it"),
    (
        (_F.POSTED,),
        (_F.EXPECTED, _F.SETTLED),
        "the bank's report fits others, too, or is withdrawn",
    ),
    (
        (_F.SETTLED,),
        (_F.EXPECTED,),
        "a list of the bank that showed it fits others, too, or its day is a holiday now",
    ),
    (_MONEY, (_F.NONE,), "another row stands for its money"),
)


def check_funding(before: Statuses, after: Statuses, status_after: Statuses) -> None:
    """Refuse fundings that payments cannot come to.

    before, after : uint8[m]   Funding; before is NONE for what is new
    status_after : uint8[m]    PaymentStatus

    Beside the table of steps: what waits for a remittance is money.

    Raises StatusError that names the step or the rule and how many break it, never an item. O(m).
    """
    _check_steps("payments", before, after, _FUNDINGS)
    waiting = _WAITS[status_after]
    _refuse("payments", waiting & (after == _F.NONE), "would wait for a remittance without money")


# ---- how it is checked ----

_FLAGS = sum(ItemFlag)
_WAITS = among((_P.UNMATCHED, _P.SUGGESTED))


@dataclass(frozen=True, slots=True)
class _Machine:
    """names : of the statuses
    legal : bool[size + 1, size + 1]   by before and after, the last ones for what is no status
    """

    names: type[IntEnum]
    legal: npt.NDArray[np.bool_]


def _machine(
    steps: Mapping[tuple[Any, Any], str], names: type[IntEnum], passing: set[Any]
) -> _Machine:
    """passing : statuses that nothing may stay in"""
    size = max(names) + 1
    legal = np.zeros((size + 1, size + 1), np.bool_)
    stays = [status for status in names if status not in passing]
    legal[stays, stays] = True
    for step in steps:
        legal[step] = True
    return _Machine(names, legal)


_REMITTANCES = _machine(REMITTANCE_STEPS, _R, {_R.RECEIVED})
_PAYMENTS = _machine(PAYMENT_STEPS, _P, set())
_FUNDINGS = _machine(FUNDING_STEPS, _F, set())


def _check_steps(kind: str, before: Statuses, after: Statuses, machine: _Machine) -> None:
    """Look every step up."""
    size, names = len(machine.legal) - 1, machine.names
    known = [np.minimum(column, np.uint8(size)) for column in (before, after)]
    bad = np.flatnonzero(~machine.legal[known[0], known[1]])
    if not len(bad):
        return
    kinds, counts = np.unique(before[bad].astype(np.int64) << 8 | after[bad], return_counts=True)
    most = int(counts.argmax())
    first, last = divmod(int(kinds[most]), 256)
    others = f" ({len(bad) - counts[most]} more by other steps)" if len(kinds) > 1 else ""
    raise StatusError(
        f"{counts[most]} {kind} would go from {_name(names, first)} to {_name(names, last)}, "
        f"which no step may do{others}; nothing was changed"
    )


def _name(names: type[IntEnum], number: int) -> str:
    return names(number).name if number in {*names} else f"number {number}, which is none"


def _check_flags(kind: str, *columns: Flags) -> None:
    for flags in columns:
        _refuse(kind, flags & ~np.uint16(_FLAGS) != 0, "have flags that are not known")


def _refuse(kind: str, bad: Mask, what: str) -> None:
    if bad.any():
        raise StatusError(f"{np.count_nonzero(bad)} {kind} {what}; nothing was changed")
