"""Steps of new items: of one tenant, or of several at once.

A step of few items costs what its calls cost, whatever it is about: so steps of tenants that know
the same are made together, each with the outcome that it has alone. What could be told apart only
by more than this looks at is made alone after all: items that share a key or an id with those of
another tenant, what came before, crowded keys, and pairs in review, whose weights hang on the
amounts of all items that are matched with them (docs/decisions/0021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.matching.neighbours import meeting
from reassoc.core.statuses import MatchStatus
from reassoc.stream.changes import make_steps
from reassoc.stream.deciding import Decided, Setting, decide, keep_released
from reassoc.stream.forgetting import unpaired
from reassoc.stream.item_log import ItemsEntry
from reassoc.stream.knowledge import Knowledge
from reassoc.stream.ledger_rows import ItemSide
from reassoc.stream.live import Live, Mask, Owners, lookup
from reassoc.stream.making import Heading, KeyedRows, Making
from reassoc.stream.neighbours import Centre, Surroundings, surround
from reassoc.stream.new_items import (
    History,
    NewRows,
    ids_of,
    joined,
    keys_of,
    known_business,
    mark_known_before,
    payment_rows,
    remittance_rows,
)
from reassoc.stream.release_choice import Rules, choose
from reassoc.stream.state import Records, State, Step, as_text

Numbers = npt.NDArray[np.int64]
_MADE_ALONE = (MatchStatus.REVIEW, MatchStatus.VARIANCE)


class ApartError(Exception):
    """Steps that cannot be made together with the others. numbers : of their tenants"""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__("some steps must be made alone")
        self.numbers = frozenset(numbers)


@dataclass(frozen=True, slots=True)
class ItemsWork:
    """The entry of items that a tenant's log has next, and the heading of its step."""

    heading: Heading
    entry: ItemsEntry


def item_steps(
    works: Sequence[ItemsWork], knowledge: Knowledge, state: State, history: History
) -> list[Step]:
    """The steps of new items of different tenants, which know the same.

    Raises ApartError where there are several and some must be made alone, StatusError where an item
    would come to a status that it cannot have. Nothing is changed. O(items), and some milliseconds.
    """
    new = _New.of(works, knowledge)
    around = new.surround(state)
    if len(works) > 1:
        _stay_apart(new.entangled(around))
    known = new.came_before(history, Records.concat([its.records for its in around]))
    if known.any():
        _stay_apart(np.unique(new.owner[known]).tolist() if len(works) > 1 else [])
        new = new.without(known)
        around = new.surround(state)
    live = new.live(around, history)
    setting = knowledge.setting(*new.positions.tolist())
    decided = decide(live, setting)
    if len(works) > 1:
        in_review = np.isin(decided.pairs["status"], _MADE_ALONE)
        _stay_apart(decided.pair_owner[in_review].tolist())
    kinds = np.zeros(len(live.remittances), np.uint8)
    making = Making(new.headings, kinds)
    making.remittance_keys, making.payment_keys = new.keys
    return steps_of(live, decided, making, setting, knowledge.rules)


def steps_of(
    live: Live, decided: Decided, making: Making, setting: Setting, rules: Rules
) -> list[Step]:
    """Choose what is released, and put the steps together."""
    kinds = choose(live, decided, rules, setting.day, at_clock=setting.at_clock)
    making.kinds = np.where(making.kinds != 0, making.kinds, kinds)
    keep_released(decided, making.kinds != 0)
    if making.forget is not None:
        making.forget = unpaired(live, decided, *making.forget)
    return make_steps(live, decided, making)


def _stay_apart(numbers: Sequence[int]) -> None:
    if numbers:
        raise ApartError(numbers)


@dataclass(frozen=True, slots=True)
class _New:
    """New items of some tenants, and the keys of both sides."""

    headings: list[Heading]
    knowledge: Knowledge
    left: NewRows
    right: NewRows
    keys: tuple[KeyedRows, KeyedRows]

    @classmethod
    def of(cls, works: Sequence[ItemsWork], knowledge: Knowledge) -> _New:
        headings, entries = [work.heading for work in works], [work.entry for work in works]
        positions = np.array([heading.position for heading in headings], np.int64)
        day = knowledge.record.day
        left = remittance_rows(entries, positions, day)
        right = payment_rows(entries, positions, day)
        return cls._keyed(headings, knowledge, left, right)

    @classmethod
    def _keyed(
        cls, headings: list[Heading], knowledge: Knowledge, left: NewRows, right: NewRows
    ) -> _New:
        keys = keys_of(left.rows, right.rows, knowledge.policy, knowledge.directory)
        return cls(headings, knowledge, left, right, keys)

    @property
    def positions(self) -> Numbers:
        """int64[t]"""
        return np.array([heading.position for heading in self.headings], np.int64)

    @property
    def owner(self) -> Numbers:
        """int64[n + m]: the tenant of each remittance, and of each payment."""
        return np.concatenate([self.left.owner, self.right.owner])

    def without(self, known: Mask) -> _New:
        """Those of the one tenant that are not known. known : bool[n + m]"""
        count = len(self.left)
        left, right = self.left.without(known[:count]), self.right.without(known[count:])
        return self._keyed(self.headings, self.knowledge, left, right)

    def surround(self, state: State) -> list[Surroundings]:
        """What bears on the items of each tenant."""
        left_ids, right_ids = ids_of(self.left.rows), ids_of(self.right.rows)
        centres = []
        for number, heading in enumerate(self.headings):
            left, right = self.left.bounds(number), self.right.bounds(number)
            ids = np.concatenate([left_ids[slice(*left)], right_ids[slice(*right)]])
            keyed = joined(self.keys[0].part(*left), self.keys[1].part(*right))
            centres.append(Centre(heading.tenant, ids, keyed.keys, keyed.stops, are_new=True))
        return surround(state, centres)

    def entangled(self, around: Sequence[Surroundings]) -> list[int]:
        """Tenants with items that share a key or an id with those of another one, or around which
        something may be missing."""
        records = Records.concat([its.records for its in around])
        owner = np.repeat(np.arange(len(around)), [len(its.records) for its in around])
        left, right = self.keys
        keys = meeting(np.concatenate([records.keys, left.keys, right.keys]))
        whose = [
            np.repeat(owner, records.key_counts),
            np.repeat(self.left.owner, left.counts),
            np.repeat(self.right.owner, right.counts),
        ]
        shared = _shared(keys[keys != 0], np.concatenate(whose)[keys != 0])
        ids = [records.ids, ids_of(self.left.rows), ids_of(self.right.rows)]
        shared += _shared(as_text(np.concatenate(ids)), np.concatenate([owner, self.owner]))
        late = [number for number, its in enumerate(around) if len(its.late) or not its.is_whole]
        return shared + late

    def came_before(self, history: History, records: Records) -> Mask:
        """bool[n + m]: remittances and payments that came before, by their ids.

        records : around all of them, with what the state has of themselves
        """
        ids = np.concatenate([ids_of(self.left.rows), ids_of(self.right.rows)])
        known = lookup(records.ids, ids) >= 0
        _, first = np.unique(as_text(ids), return_index=True)
        again = np.ones(len(ids), np.bool_)
        again[first] = False
        known |= again
        known |= np.concatenate([self._in_history(history, new) for new in (self.left, self.right)])
        return known

    def _in_history(self, history: History, new: NewRows) -> Mask:
        digests, offsets = new.rows["id_digest"], new.rows["id_offset"]
        known = history.may_know(digests, offsets)
        for number, heading in enumerate(self.headings) if known.any() else ():
            some = slice(*new.bounds(number))
            if known[some].any():
                known[some] = history.known(
                    heading.tenant, digests[some], offsets[some], heading.position
                )
        return known

    def live(self, around: Sequence[Surroundings], history: History) -> Live:
        """All of it, as columns; suspected duplicates of what left the state are marked."""
        records = Records.concat([its.records for its in around])
        tenants = [heading.tenant for heading in self.headings]
        known = {}
        for new, kind in ((self.left, ItemSide.REMITTANCE), (self.right, ItemSide.PAYMENT)):
            known[kind] = known_business(history, tenants, new, kind, self.positions)
            if len(tenants) > 1:
                _stay_apart(np.unique(new.owner[known[kind]]).tolist())
        if len(tenants) == 1:
            owners, late = None, around[0].late
        else:
            counts = [len(its.records) for its in around]
            whose = np.repeat(np.arange(len(tenants)), counts)
            owners, late = Owners(whose, self.left.owner, self.right.owner), None
        live = Live.of(
            records, self.left.rows, self.right.rows, whole=False, late_ids=late, owners=owners
        )
        mark_known_before(live.remittances, ItemSide.REMITTANCE, known[ItemSide.REMITTANCE])
        mark_known_before(live.payments, ItemSide.PAYMENT, known[ItemSide.PAYMENT])
        return live


def _shared(values: npt.NDArray[Any], owner: Numbers) -> list[int]:
    """Owners of a value that another one has as well."""
    order = np.lexsort((owner, values))
    values, owner = values[order], owner[order]
    at = np.flatnonzero((values[1:] == values[:-1]) & (owner[1:] != owner[:-1]))
    return [*owner[at].tolist(), *owner[at + 1].tolist()]
