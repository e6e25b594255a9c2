"""Claims by the hundred thousand: a pool of balanced claim texts whose numbers and amounts are
filled in per claim.

A pool entry is the text of one claim (or of a reversal and its correction), written with
* : ^ and ~. What differs from
claim to claim has a fixed width and a known place: patient control number, payer claim number, and,
in most entries, cents that move from the contractual adjustment to the payment, so that amounts
vary and every rule still balances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reassoc.loadtest.claim_money import Kind
from reassoc.loadtest.claim_texts import CONTROL_DIGITS, ClaimText, write_claim
from reassoc.loadtest.draws import Draws, Ints

STREAM_POOL = 2

POOL_ENTRIES_MAX = 4096
POOL_ENTRIES_MIN = 256
SHIFT_CENTS_MAX = 5000
"""Cents that may move from adjustment to payment: below this, so that no digit above the tens
changes.
"""

_SLOTS = 4
_CONTROL_FACTOR = 387_420_489
_SHIFT_PLACES = ((0, 1000), (1, 100), (3, 10), (4, 1))

# The three regions of the pool, and what they are made of (per mille).
_MIX = ((Kind.PAID, 905), (Kind.DENIED, 65), (Kind.CORRECTION, 18), (Kind.FORWARDED, 12))


@dataclass(frozen=True, slots=True)
class Region:
    """Pool entries [start, stop)."""

    start: int
    stop: int

    def draw(self, draws: Draws, count: int) -> Ints:
        """int64[count]: entries of the region."""
        return self.start + draws.below(self.stop - self.start, count)


class ClaimPool:
    """Claim texts and what is in them, one row per entry.

    texts : list of bytes; shiftable : bool[n];
    lengths, paid_cents, charge_cents, segments, claims : int64[n];
    *_places : int64[n, 4], byte in the text, -1 where there is none.
    """

    def __init__(
        self,
        texts: list[ClaimText],
        mixed: Region,
        mixed_short: Region,
        paid: Region,
        denied: Region,
        reversed_: Region,
    ) -> None:
        self.texts = [text.data for text in texts]
        self.mixed, self.mixed_short, self.paid, self.denied = mixed, mixed_short, paid, denied
        self.reversed = reversed_
        self.lengths = np.array([len(text.data) for text in texts], np.int64)
        self.paid_cents = np.array([text.paid_cents for text in texts], np.int64)
        self.charge_cents = np.array([text.charge_cents for text in texts], np.int64)
        self.segments = np.array([text.data.count(b"~") for text in texts], np.int64)
        self.claims = np.array([text.claims for text in texts], np.int64)
        self.shiftable = np.array([text.shiftable for text in texts], np.bool_)
        self.control_places = _places([text.control_places for text in texts])
        self.claim_number_places = _places([text.claim_number_places for text in texts])
        self.up_places = _places([text.up_places for text in texts])
        self.down_places = _places([text.down_places for text in texts])
        self.up_cents = _low_cents(texts, self.up_places)
        self.down_cents = _low_cents(texts, self.down_places)

    def __len__(self) -> int:
        return len(self.texts)


def build_pool(seed: int, claims_total: int, first_day: int) -> ClaimPool:
    """The pool of a feed of about `claims_total` claims whose payments start on `first_day`.
    O(pool).
    """
    draws = Draws(seed, STREAM_POOL)
    count = max(POOL_ENTRIES_MIN, min(POOL_ENTRIES_MAX, claims_total // 4))
    short_count, paid_count, denied_count = count // 4, count // 8, count // 32 + 4
    texts: list[ClaimText] = []

    def grow(kinds: Sequence[Kind], short: bool = False) -> Region:
        start = len(texts)
        texts.extend(write_claim(draws, kind, short, first_day) for kind in kinds)
        return Region(start, len(texts))

    names = [name for name, _ in _MIX]
    weights = [weight for _, weight in _MIX]
    mixed = grow([names[index] for index in draws.among(weights, count).tolist()])
    mixed_short = grow(
        [names[index] for index in draws.among(weights, short_count).tolist()], short=True
    )
    paid = grow([Kind.PAID] * paid_count)
    denied = grow([Kind.DENIED] * denied_count)
    reversed_ = grow([Kind.REVERSAL] * denied_count)
    return ClaimPool(texts, mixed, mixed_short, paid, denied, reversed_)


@dataclass(frozen=True)
class Body:
    """The claims of a run of remittances, one after the other.

    data : bytes                          text of all claims
    entries : int64[n]                    pool entry of each
    stops : int64[n]                      byte in `data` behind each
    paid_cents, charge_cents : int64[n]   of each, as written
    """

    data: bytes
    entries: Ints
    stops: Ints
    paid_cents: Ints
    charge_cents: Ints

    @cached_property
    def view(self) -> memoryview:
        """`data`, to be sliced without copying."""
        return memoryview(self.data)


def shifts(pool: ClaimPool, entries: Ints, draws: Draws) -> Ints:
    """int64[n]: cents that move to the payment of each claim; 0 where the entry cannot vary."""
    drawn = draws.below(SHIFT_CENTS_MAX, len(entries))
    return np.where(pool.shiftable[entries], drawn, 0)


def write_body(pool: ClaimPool, entries: Ints, shift_cents: Ints, first_claim: int) -> Body:
    """Write one claim per entry, numbered from `first_claim`. O(bytes)."""
    texts = pool.texts
    joined = bytearray(b"".join([texts[entry] for entry in entries.tolist()]))
    stops = np.cumsum(pool.lengths[entries])
    starts = stops - pool.lengths[entries]
    data = np.frombuffer(joined, np.uint8)
    numbers = first_claim + np.arange(len(entries), dtype=np.int64)
    for slot in range(_SLOTS):
        _fill_digits(data, starts, pool.control_places[entries, slot], numbers * _CONTROL_FACTOR)
        _fill_digits(data, starts, pool.claim_number_places[entries, slot], numbers)
        _fill_cents(
            data, starts, pool.up_places[entries, slot], pool.up_cents[entries, slot] + shift_cents
        )
        _fill_cents(
            data,
            starts,
            pool.down_places[entries, slot],
            pool.down_cents[entries, slot] - shift_cents,
        )
    return Body(
        data=bytes(joined),
        entries=entries,
        stops=stops,
        paid_cents=pool.paid_cents[entries] + shift_cents,
        charge_cents=pool.charge_cents[entries],
    )


def _places(rows: list[tuple[int, ...]]) -> Ints:
    return np.array([row + (-1,) * (_SLOTS - len(row)) for row in rows], np.int64)


def _low_cents(texts: list[ClaimText], places: Ints) -> Ints:
    """The last four digits of the amounts at the places."""
    rows = [
        [int(text.data[place : place + 5].replace(b".", b"")) if place >= 0 else 0 for place in row]
        for text, row in zip(texts, places.tolist(), strict=True)
    ]
    return np.array(rows, np.int64)


def _fill_digits(data: npt.NDArray[np.uint8], starts: Ints, places: Ints, values: Ints) -> None:
    """Write CONTROL_DIGITS digits of each value at its place. O(n)."""
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        return
    at = starts[rows] + places[rows] + CONTROL_DIGITS
    left = values[rows] % 10**CONTROL_DIGITS
    for _ in range(CONTROL_DIGITS):
        at -= 1
        left, digit = np.divmod(left, 10)
        data[at] = 48 + digit


def _fill_cents(data: npt.NDArray[np.uint8], starts: Ints, places: Ints, cents: Ints) -> None:
    """Write the last four digits (dd.dd) of each amount at its place. O(n)."""
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        return
    at = starts[rows] + places[rows]
    values = cents[rows]
    for step, unit in _SHIFT_PLACES:
        data[at + step] = 48 + values // unit % 10
