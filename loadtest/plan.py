"""Plans a chunk of the feed: who pays whom how much, for which claims, and which case each payment
shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reassoc.loadtest.claims import ClaimPool, shifts, write_body
from reassoc.loadtest.dates import compact
from reassoc.loadtest.defects import Claims, Defect
from reassoc.loadtest.draws import Draws, Ints
from reassoc.loadtest.model import CTX_BYTES_MAX, Chunk, Remittance, embed, pay
from reassoc.loadtest.world import World

STREAM_CHUNK = 3

CTX_PER_MILLE = 80
PLB_PER_MILLE = 120
PAID_CENTS_MIN = 500
RATE_UNIT = 1_000_000

# How much larger or smaller than the mean a remittance is, in thousandths: a log-normal shape
# (sigma 1), mean 1000.
_SIZES = (
    55, 85, 106, 125, 142, 158, 173, 188, 203, 218, 233, 247, 262, 277, 292, 307, 323, 339, 355,
    371, 388, 405, 422, 440, 459, 478, 498, 518, 539, 561, 583, 606, 631, 656, 682, 710, 738, 768,
    800, 833, 868, 905, 945, 986, 1031, 1078, 1130, 1185, 1244, 1309, 1381, 1459, 1546, 1644, 1755,
    1882, 2031, 2208, 2424, 2699, 3066, 3600, 4512, 6937,
)  # fmt: skip


@dataclass(slots=True)
class Counters:
    """Numbers that go on through the whole feed."""

    payer_traces: list[int]
    claims: int = 0
    entry_traces: dict[str, int] = field(default_factory=dict)
    interchanges: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planner:
    """Everything that stays the same from chunk to chunk. `defects` and `rates_ppm` go together."""

    seed: int
    world: World
    pool: ClaimPool
    claims_mean_milli: int
    defects: Sequence[Defect]
    rates_ppm: Sequence[int]
    ctx_per_mille: int = CTX_PER_MILLE
    has_directory: bool = True

    def plan(self, number: int, day: int, count: int, counters: Counters) -> Chunk:
        """Plan chunk `number`: `count` cases of one banking day. O(claims)."""
        draws = Draws(self.seed, STREAM_CHUNK, number)
        steps = np.cumsum(np.asarray([*self.rates_ppm, RATE_UNIT], np.int64))
        cases = np.searchsorted(steps, draws.below(RATE_UNIT, count), side="right")
        cases = np.minimum(cases, len(self.defects))
        spare_count = sum(
            self.defects[case].spares for case in cases.tolist() if case < len(self.defects)
        )
        claims = np.array([*(defect.claims for defect in self.defects), Claims.PAYING], np.int64)
        chunk, base = self._draw(
            draws, day, np.concatenate([claims[cases], np.zeros(spare_count, np.int64)]), counters
        )
        chunk.spares = base[count:]
        for remittance, case in zip(base[:count], cases.tolist(), strict=True):
            if case < len(self.defects):
                defect = self.defects[case]
                defect.apply(defect.name, chunk, remittance, draws)
                continue
            payment = pay(remittance)
            size = remittance.body_stop - remittance.body_start
            if draws.chance(self.ctx_per_mille) and size < CTX_BYTES_MAX:
                embed(remittance, payment)
                chunk.add("ctx", remittance, payment)
            else:
                chunk.add("clean", remittance, payment)
        return chunk

    def _draw(
        self, draws: Draws, day: int, kinds: Ints, counters: Counters
    ) -> tuple[Chunk, list[Remittance]]:
        """Draw one balanced remittance per element of `kinds` (int64[n]: Claims), and the claims of
        all.
        """
        count = len(kinds)
        payer_count = len(self.world.payers)
        payers = draws.among(
            [payer_count * 2 // (number + 1) + 1 for number in range(payer_count)], count
        )
        payees = draws.below(len(self.world.payees), count)
        sizes = np.asarray(_SIZES, np.int64)[draws.below(len(_SIZES), count)]
        fragments = (
            1
            + ((self.claims_mean_milli - 1000) * sizes + draws.below(RATE_UNIT, count)) // RATE_UNIT
        )
        starts = np.concatenate([[0], np.cumsum(fragments)])
        entries = self._entries(draws, np.repeat(payers, fragments), np.repeat(kinds, fragments))
        moved = shifts(self.pool, entries, draws)
        totals = np.add.reduceat(self.pool.paid_cents[entries] + moved, starts[:-1])
        # A remittance that would pay nothing, or less, gets claims that are all paid.
        paying = kinds == Claims.PAYING
        poor = np.repeat((totals < PAID_CENTS_MIN) & paying, fragments)
        entries[poor] = self.pool.paid.draw(draws, int(poor.sum()))
        moved[poor] = 0
        body = write_body(self.pool, entries, moved, counters.claims)
        counters.claims += len(entries)
        chunk = Chunk(self.world, day, body, [], self.has_directory)
        sums = [
            np.add.reduceat(values, starts[:-1]).tolist()
            for values in (
                body.paid_cents,
                body.charge_cents,
                self.pool.segments[entries],
                self.pool.claims[entries],
            )
        ]
        edges = np.concatenate([[0], body.stops])[starts].tolist()
        date_text = compact(day)
        base: list[Remittance] = []
        for row, (payer_number, payee_number) in enumerate(
            zip(payers.tolist(), payees.tolist(), strict=True)
        ):
            payer = self.world.payers[payer_number]
            serial = counters.payer_traces[payer_number]
            counters.payer_traces[payer_number] = serial + 1
            paid = sums[0][row]
            adjustments = (
                _adjustments(draws, paid) if paid > 10_000 and draws.chance(PLB_PER_MILLE) else ()
            )
            base.append(
                Remittance(
                    payer=payer,
                    payee=self.world.payees[payee_number],
                    trace=payer.trace(serial, date_text),
                    payer_id=payer.payer_id,
                    paid_cents=paid - sum(cents for _, cents in adjustments),
                    effective_day=day,
                    body_start=edges[row],
                    body_stop=edges[row + 1],
                    segments=sums[2][row],
                    claims=sums[3][row],
                    charge_cents=sums[1][row],
                    adjustments=adjustments,
                )
            )
        return chunk, base

    def _entries(self, draws: Draws, payers: Ints, kinds: Ints) -> Ints:
        """int64[n]: a pool entry for each claim, from the region that its payer's way of writing
        amounts asks for.
        """
        short = np.array([payer.short_amounts for payer in self.world.payers], np.bool_)[payers]
        pool = self.pool
        regions = (pool.mixed, pool.mixed_short, pool.denied, pool.reversed)
        which = np.where(kinds != Claims.PAYING, kinds + 1, short.astype(np.int64))
        starts = np.array([region.start for region in regions], np.int64)[which]
        spans = np.array([region.stop - region.start for region in regions], np.int64)[which]
        return starts + draws.below(spans, len(payers))


def _adjustments(draws: Draws, paid: int) -> tuple[tuple[str, int], ...]:
    """PLB pairs that leave more than half of what the claims pay; positive takes away."""
    old_claim = f"EX2{draws.one(10**9):09d}"
    taken = draws.between(1, paid // 4)
    match draws.one(6):
        case 0:
            return ((f"WO:{old_claim}", taken),)
        case 1:
            return (("L6", -draws.between(1, 2_500)),)
        case 2:
            return ((f"WO:{old_claim}", taken), (f"L6:{old_claim}", -draws.between(1, 900)))
        case 3:
            return ((f"FB:EXREMIT{draws.one(10**6):06d}", taken),)
        case 4:
            # The payer acknowledges a refund that was sent to it: the two cancel out.
            return ((f"72:{old_claim}", -taken), (f"WO:{old_claim}", taken))
        case _:
            return (("CS:EXLEVY", taken // 8 + 1), ("E3", draws.between(1, 500)))
