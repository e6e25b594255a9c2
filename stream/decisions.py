"""What people decide, applied to live items before they are matched: or refused, with the reason.

A refusal changes nothing and is recorded with the decision. Texts of refusals name no value of an
item.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reassoc.core.ach import EntryKind
from reassoc.core.errors import ReassocError
from reassoc.core.statuses import (
    MatchStatus,
    PaymentStatus,
    RemittanceStatus,
    Tier,
)
from reassoc.stream.item_log import DecisionEntry
from reassoc.stream.items import PAIR, VETO, ItemFlag, ItemMark, ReleaseKind, id_bytes
from reassoc.stream.live import OUT_OF_MATCHING, Columns, Live, Mask, Rows, lookup
from reassoc.stream.records import take
from reassoc.stream.state import Ids
from reassoc.stream.sums import exact_sum

DECISION_ITEMS_MAX = 100_000
"""Items of one decision."""
DECISION_CENTS_MAX = 10**18
"""Of the items of one decision in all, either way: what the ledger can hold."""


class RefusedError(ReassocError):
    """A decision that cannot be done; the text says why."""


@dataclass(slots=True)
class Decision:
    """What a decision does beside changing flags: for the step.

    kinds : uint8[n]       ReleaseKind of remittances that it releases
    resend : int64[r]      rows of remittances that it sends again
    vetoes                 rows of items.VETO that it adds
    moved                  rows of remittances and of payments that go to another tenant
    item_count, cents      what it is about, for the ledger: see ledger_rows.DecisionRow
    """

    kinds: npt.NDArray[np.uint8]
    resend: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    vetoes: Columns | None = None
    moved: tuple[Rows, Rows] | None = None
    item_count: int = 0
    cents: int = 0


def ids_of(data: bytes) -> Ids:
    """uint8[k, 16]: the ids that a decision names."""
    return np.frombuffer(data, np.uint8).reshape(-1, 16)


def apply(live: Live, entry: DecisionEntry, position: int, day: int) -> Decision:
    """Change the live items as a person decided.

    Raises RefusedError; then nothing may be applied.
    """
    left = _rows(live.remittances.ids, entry.remittances, "remittances")
    right = _rows(live.payments.ids, entry.payments, "payments")
    decision = Decision(np.zeros(len(live.remittances), np.uint8))
    _count(decision, live, left, right)
    if entry.kind == "match":
        _match(live, left, right, entry, position)
    elif entry.kind == "unmatch":
        _unmatch(live, entry, position, decision)
    elif entry.kind in ("hold", "unhold"):
        _hold(live, left, right, holds=entry.kind == "hold")
    elif entry.kind == "release":
        _release(live, left, right, decision)
    elif entry.kind == "resend":
        _resend(live, left, right, decision)
    elif entry.kind == "void":
        _void(live, left, right)
    elif entry.kind == "suspense":
        _suspend(live, left, right)
    elif entry.kind == "reopen":
        _reopen(live, left, right)
    elif entry.kind == "move":
        _move(live, left, right)
        decision.moved = left, right
    else:
        raise RefusedError(f"a decision of the kind {entry.kind} is not about items")
    return decision


def _count(decision: Decision, live: Live, left: Rows, right: Rows) -> None:
    """What a match has on both sides is the same money, and counts once."""
    decision.item_count = len(left) + len(right)
    paid, came = live.remittances.rows["paid_cents"], live.payments.rows["amount_cents"]
    decision.cents = exact_sum(paid[left] if len(left) else came[right])
    if abs(decision.cents) > DECISION_CENTS_MAX:
        raise RefusedError(
            f"more than DECISION_CENTS_MAX ({DECISION_CENTS_MAX}) cents in all: decide about fewer "
            "at once, and look at the amounts"
        )


def _rows(ids: Ids, wanted: bytes, what: str) -> Rows:
    rows = lookup(ids, ids_of(wanted))
    missing = int((rows < 0).sum())
    if missing:
        raise RefusedError(f"{missing} of the {what} are not open or recent items of this tenant")
    if len(np.unique(rows)) < len(rows):
        raise RefusedError(f"one of the {what} is named twice")
    return rows


def _refuse(bad: Mask, text: str) -> None:
    count = int(np.count_nonzero(bad))
    if count:
        raise RefusedError(f"{count} of {len(bad)} {text}")


def _only(rows: Rows, others: Rows, kind: str, what: str) -> None:
    if len(others) or not len(rows):
        raise RefusedError(f"{kind} takes {what}, and at least one")


# ---- matches ----


def _match(live: Live, left: Rows, right: Rows, entry: DecisionEntry, position: int) -> None:
    if not len(left) or not len(right):
        raise RefusedError("a match needs at least one remittance and one payment")
    if len(left) > 1 and len(right) > 1:
        raise RefusedError(
            "several remittances with several payments are no single match: "
            "make one for each payment"
        )
    _check_matchable(live, left, right)
    difference = int(live.payments.rows["amount_cents"][right].sum()) - int(
        live.remittances.rows["paid_cents"][left].sum()
    )
    if difference != entry.difference_cents:
        raise RefusedError(
            "payments less remittances are not the difference that was confirmed: look again"
        )
    touched = _touching(live, live.basis, left, right)
    made = touched & (live.basis["status"] == MatchStatus.AUTO)
    _refuse(live.basis["person"][made], "matches of these items were made by a person: undo first")
    pairs = _person_pairs(live, left, right, difference, position)
    # What the matcher had made of these items gives way; other candidates of them are gone.
    live.basis = PAIR.concat([take(live.basis, np.flatnonzero(~touched)), pairs])


def _check_matchable(live: Live, left: Rows, right: Rows) -> None:
    remittances, payments = live.remittances, live.payments
    status = remittances.rows["status"][left]
    _refuse_released(live, left, right)
    _refuse(remittances.has(OUT_OF_MATCHING)[left], "remittances are voided, moved or duplicates")
    _refuse(
        payments.has(OUT_OF_MATCHING)[right],
        "payments are in suspense, moved or duplicates: see reopen",
    )
    _refuse(
        np.isin(status, (RemittanceStatus.DUPLICATE, RemittanceStatus.QUARANTINED)),
        "remittances are duplicates, or of an unknown payee",
    )
    _refuse(remittances.rows["paid_cents"][left] <= 0, "remittances expect no money")
    money = payments.rows["kind"][right] == EntryKind.CREDIT
    money &= payments.rows["amount_cents"][right] > 0
    _refuse(~money, "payments move no money")
    gone = (
        PaymentStatus.RETURNED,
        PaymentStatus.REVERSED,
        PaymentStatus.DUPLICATE,
        PaymentStatus.REPORTED,
        PaymentStatus.QUARANTINED,
    )
    _refuse(
        np.isin(payments.rows["status"][right], gone),
        "payments went back, are duplicates, of an unknown payee, or reports of another payment",
    )


def _refuse_released(live: Live, left: Rows, right: Rows) -> None:
    """Money that a released remittance was matched with is spent: it pays for no other."""
    made = _touching(live, live.basis, left, right)
    made &= live.basis["status"] == MatchStatus.AUTO
    at = lookup(live.remittances.ids, _pair_side(live.basis, "remittance"))
    released = np.append(live.remittances.has(ItemFlag.RELEASED), False)[at]
    _refuse((made & released)[made], "matches of these items were released: they stand")


def _pair_side(pairs: Columns, side: str) -> Ids:
    return id_bytes(pairs[f"{side}_digest"], pairs[f"{side}_offset"])


def _touching(live: Live, pairs: Columns, left: Rows, right: Rows) -> Mask:
    """bool[k]: pairs with one of these items."""
    found: Mask = lookup(live.remittances.ids[left], _pair_side(pairs, "remittance")) >= 0
    found |= lookup(live.payments.ids[right], _pair_side(pairs, "payment")) >= 0
    return found


def _person_pairs(live: Live, left: Rows, right: Rows, difference: int, position: int) -> Columns:
    """Rows of items.PAIR: each remittance with each payment, one match."""
    lefts, rights = np.repeat(left, len(right)), np.tile(right, len(left))
    pairs = PAIR.empty()
    count = len(lefts)
    columns = {name: np.zeros(count, column.dtype) for name, column in pairs.items()}
    for side, items, rows in (
        ("remittance", live.remittances, lefts),
        ("payment", live.payments, rights),
    ):
        columns[f"{side}_digest"] = items.rows["id_digest"][rows]
        columns[f"{side}_offset"] = items.rows["id_offset"][rows]
    ids = sorted(row.tobytes() for row in (*live.remittances.ids[left], *live.payments.ids[right]))
    number = int.from_bytes(blake3(b"match by a person" + b"".join(ids)).digest(8), "little")
    columns["match_id"][:] = number | 1  # 0 would be no match
    columns["status"][:] = MatchStatus.AUTO
    columns["tier"][:] = _tier_of(live, lefts, rights)
    columns["difference_cents"][:] = difference
    columns["person"][:] = True
    columns["made_position"][:] = position
    return columns


def _tier_of(live: Live, lefts: Rows, rights: Rows) -> int:
    """The tier that had found these items together, T10 where none had."""
    both = lookup(live.remittances.ids[lefts], _pair_side(live.basis, "remittance")) >= 0
    both &= lookup(live.payments.ids[rights], _pair_side(live.basis, "payment")) >= 0
    tiers = live.basis["tier"][both]
    return int(tiers.min()) if len(tiers) else int(Tier.T10)


def _unmatch(live: Live, entry: DecisionEntry, position: int, decision: Decision) -> None:
    wanted = live.basis["match_id"] == np.uint64(entry.match_id)
    wanted &= np.isin(live.basis["status"], (MatchStatus.AUTO, MatchStatus.VARIANCE))
    pairs = take(live.basis, np.flatnonzero(wanted))
    if not len(pairs["status"]):
        raise RefusedError("no match of this tenant has this id now")
    left = lookup(live.remittances.ids, _pair_side(pairs, "remittance"))
    right = lookup(live.payments.ids, _pair_side(pairs, "payment"))
    released = live.remittances.has(ItemFlag.RELEASED)[left]
    _refuse(released, "remittances of the match were released: it stands")
    for items, rows in ((live.remittances, left), (live.payments, right)):
        items.rows["generation"][np.unique(rows)] += np.uint32(1)
    vetoes = {name: pairs[name] for name in VETO.types if name != "position"}
    vetoes["position"] = np.full(len(left), position, np.int64)
    decision.vetoes = {name: vetoes[name] for name in VETO.types}
    _count(decision, live, np.unique(left), np.unique(right))
    live.vetoes = VETO.concat([live.vetoes, decision.vetoes])
    live.basis = take(live.basis, np.flatnonzero(~wanted))


# ---- release ----


def _hold(live: Live, left: Rows, right: Rows, *, holds: bool) -> None:
    _only(left, right, "hold" if holds else "unhold", "remittances")
    _refuse(live.remittances.has(ItemFlag.RELEASED)[left], "remittances were released already")
    gone = ItemFlag.CLOSED | ItemFlag.MOVED
    _refuse(live.remittances.has(gone)[left], "remittances are voided or moved")
    flags = live.remittances.rows["flags"]
    if holds:
        flags[left] |= np.uint16(ItemFlag.HELD)
    else:
        flags[left] &= ~np.uint16(ItemFlag.HELD)


def _release(live: Live, left: Rows, right: Rows, decision: Decision) -> None:
    _only(left, right, "release", "remittances")
    side = live.remittances
    _refuse(side.has(ItemFlag.RELEASED)[left], "remittances were released already: see resend")
    _refuse(side.has(ItemFlag.CLOSED | ItemFlag.MOVED)[left], "remittances are voided or moved")
    _refuse(
        side.rows["status"][left] == RemittanceStatus.QUARANTINED,
        "remittances are of an unknown payee: move them to a tenant first",
    )
    _refuse(
        side.rows["marks"][left] & np.uint8(ItemMark.INCOMPLETE) != 0,
        "remittances have no end, as in a file that was cut off: ask for the whole file, or void "
        "them",
    )
    decision.kinds[left] = ReleaseKind.MANUAL
    side.rows["flags"][left] &= ~np.uint16(ItemFlag.HELD)


def _resend(live: Live, left: Rows, right: Rows, decision: Decision) -> None:
    _only(left, right, "resend", "remittances")
    side = live.remittances
    _refuse(~side.has(ItemFlag.RELEASED)[left], "remittances were never released")
    _refuse(side.has(ItemFlag.CLOSED | ItemFlag.MOVED)[left], "remittances are voided or moved")
    _refuse(side.rows["sendings"][left] == 255, "remittances were sent 255 times")
    decision.resend = left


# ---- what leaves matching, and comes back ----


def _void(live: Live, left: Rows, right: Rows) -> None:
    _only(left, right, "void", "remittances")
    _close(live, live.remittances.ids, left, "remittance")
    side = live.remittances
    _refuse(side.has(ItemFlag.RELEASED)[left], "remittances were released already")
    _refuse(side.has(ItemFlag.CLOSED | ItemFlag.MOVED)[left], "remittances are closed already")
    side.rows["flags"][left] |= np.uint16(ItemFlag.CLOSED)
    side.rows["status"][left] = RemittanceStatus.VOIDED


_NO_MONEY_THERE = (
    PaymentStatus.RECEIVED,
    PaymentStatus.PRENOTE,
    PaymentStatus.RETURNED,
    PaymentStatus.REVERSED,
    PaymentStatus.REPORTED,
)
"""Payments that never moved money, or whose money went back or is another row's."""


def _suspend(live: Live, left: Rows, right: Rows) -> None:
    _only(right, left, "suspense", "payments")
    _close(live, live.payments.ids, right, "payment")
    side = live.payments
    _refuse(side.has(ItemFlag.CLOSED | ItemFlag.MOVED)[right], "payments are closed already")
    matched = (PaymentStatus.MATCHED, PaymentStatus.PARTIAL)
    _refuse(np.isin(side.rows["status"][right], matched), "payments are matched: undo that first")
    _refuse(np.isin(side.rows["status"][right], _NO_MONEY_THERE), "payments have no money there")
    side.rows["flags"][right] |= np.uint16(ItemFlag.CLOSED)
    side.rows["status"][right] = PaymentStatus.WRITTEN_TO_SUSPENSE


def _close(live: Live, ids: Ids, rows: Rows, side: str) -> None:
    """Pairs of what leaves: matches of people stand in the way, all others go."""
    touched = lookup(ids[rows], _pair_side(live.basis, side)) >= 0
    made = touched & (live.basis["status"] == MatchStatus.AUTO) & live.basis["person"]
    _refuse(made[touched], "pairs of these items were made by a person: undo that first")
    live.basis = take(live.basis, np.flatnonzero(~touched))


def _reopen(live: Live, left: Rows, right: Rows) -> None:
    """Payments out of suspense, and suspected duplicates of history that are none. What is voided
    stays so."""
    if not len(left) and not len(right):
        raise RefusedError("reopen takes payments in suspense, or suspected duplicates")
    voided = live.remittances.has(ItemFlag.CLOSED | ItemFlag.MOVED)[left]
    _refuse(voided, "remittances are voided or moved, which is final")
    _refuse(~live.remittances.has(ItemFlag.KNOWN_BEFORE)[left], "remittances are not held")
    back = int(ItemFlag.CLOSED | ItemFlag.KNOWN_BEFORE)
    _refuse(live.payments.rows["flags"][right] & back == 0, "payments are not in suspense")
    _refuse(live.payments.has(ItemFlag.MOVED)[right], "payments are moved")
    live.remittances.rows["flags"][left] &= ~np.uint16(back)
    live.payments.rows["flags"][right] &= ~np.uint16(back)


def _move(live: Live, left: Rows, right: Rows) -> None:
    """Out of this tenant; the other one gets them when the ledger knows that they left."""
    if not len(left) and not len(right):
        raise RefusedError("move takes at least one item")
    released = live.remittances.has(ItemFlag.RELEASED)[left]
    _refuse(released, "remittances were released already")
    gone = ItemFlag.CLOSED | ItemFlag.MOVED
    _refuse(live.remittances.has(gone)[left], "remittances are voided or moved")
    _refuse(live.payments.has(gone)[right], "payments are in suspense or moved")
    _refuse_released(live, left, right)
    _close(live, live.remittances.ids, left, "remittance")
    _close(live, live.payments.ids, right, "payment")
    live.remittances.rows["flags"][left] |= np.uint16(ItemFlag.MOVED)
    live.remittances.rows["status"][left] = RemittanceStatus.ARCHIVED
    live.payments.rows["flags"][right] |= np.uint16(ItemFlag.MOVED)
