"""Stand-ins for stages that are not there yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reassoc.core.matching.state import Candidates, State
from reassoc.core.statuses import MatchStatus, Tier


@dataclass(frozen=True, slots=True)
class Links:
    payment: npt.NDArray[np.int32]
    other: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]
    days_apart: npt.NDArray[np.int32]


def link() -> Links:
    none = np.zeros(0, np.int32)
    return Links(none, none, none.astype(np.uint8), none.astype(np.uint8), none)


@dataclass(frozen=True, slots=True)
class Identities:
    left_payee: npt.NDArray[np.uint32]
    right_payee: npt.NDArray[np.uint32]
    left_tenant: npt.NDArray[np.uint32]
    right_tenant: npt.NDArray[np.uint32]
    tenants: tuple[str, ...]
    left_reason: npt.NDArray[np.int64]
    right_reason: npt.NDArray[np.int64]


def identify(left, right, left_day, right_day, directory) -> Identities:  # type: ignore[no-untyped-def]
    numbers: dict[tuple[str, str], int] = {}
    a = np.array(
        [
            numbers.setdefault((x[:8], y.lstrip("0")), len(numbers) + 1) if x and y else 0
            for x, y in zip(left.payee_bank, left.payee_account)
        ],
        np.uint32,
    )
    b = np.array(
        [
            numbers.setdefault((f"{x:09d}"[:8], y.strip().lstrip("0")), len(numbers) + 1)
            if x >= 0 and y
            else 0
            for x, y in zip(right.rdfi_routing.tolist(), right.account)
        ],
        np.uint32,
    )
    zero = np.zeros_like
    return Identities(
        a, b, zero(a), zero(b), ("default",), np.zeros(len(a), np.int64), np.zeros(len(b), np.int64)
    )


@dataclass(slots=True)
class Reviewed:
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    tier: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]
    reason: npt.NDArray[np.int64]
    rivals: npt.NDArray[np.uint32]
    group: npt.NDArray[np.uint64]
    weight: npt.NDArray[np.int32]
    rank: npt.NDArray[np.uint16]
    remittance_rank: npt.NDArray[np.uint16]


def review(state: State, candidates: Candidates) -> Reviewed:
    c = candidates
    n = len(c)
    lone = (np.bincount(c.left, minlength=len(state.left))[c.left] == 1) & (
        np.bincount(c.right, minlength=len(state.right))[c.right] == 1
    )
    held = state.remittances.held[c.left] | state.payments.held[c.right]
    status = np.where(lone & (c.tier == Tier.T5) & ~held, MatchStatus.VARIANCE, MatchStatus.REVIEW)
    ones = np.ones(n, np.uint16)
    return Reviewed(
        c.left,
        c.right,
        c.tier,
        status.astype(np.uint8),
        c.reason,
        c.rivals,
        c.group,
        np.zeros(n, np.int32),
        ones,
        ones,
    )


def weights(state: State, left, right):  # type: ignore[no-untyped-def]
    return np.zeros(len(left), np.int32)


def causes(state: State, left, right):  # type: ignore[no-untyped-def]
    return np.zeros(len(left), np.uint8), None
