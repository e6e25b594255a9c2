"""Verdicts that come late: an envelope or a batch is known to be right only where it ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import AchFiles
from reassoc.core.columns import Table, TextColumn
from reassoc.core.x12_835 import Remittances
from reassoc.stream.envelope import Delimiters, Fallback, Profile, identity_of, profile_of

OWN_VALID, GROUP_VALID, INTERCHANGE_VALID = 1, 2, 4
"""Bits of RemittanceRows.checks."""
ALL_VALID = OWN_VALID | GROUP_VALID | INTERCHANGE_VALID

PROFILES_REMEMBERED_MAX = 100_000
"""Kinds of envelope whose profile is looked up rather than made again."""

_INNER_OPEN, _OUTER_OPEN = 8, 16

Ints32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Checks = npt.NDArray[np.uint8]
Enclosed = tuple[Table, Ints32]
"""Envelopes of a window, and of each row the one it lies in (-1 for none)."""


class _Level:
    """Verdicts of one kind of envelope, by its number in the file.

    Only the last envelope of a window can go on in the next one, so of all the others nothing is
    remembered: memory is that of one verdict a window.
    """

    def __init__(self) -> None:
        self._late: dict[int, bool] = {}
        self._last: list[int] = []
        self._highest = -1

    def see(self, table: Table, rows: Ints32) -> Bools:
        """Take a window's envelopes; which of its rows lie in the last of them."""
        if not len(table):
            self._last.append(-1)
            return np.zeros(len(rows), np.bool_)
        ordinals, valid = table.ordinal, table.valid
        for row in np.flatnonzero(ordinals <= self._highest).tolist():
            ordinal = int(ordinals[row])
            assert ordinal in self._late, "only the last envelope of a window goes on"
            self._late[ordinal] = bool(valid[row])
        last = len(table) - 1
        assert last == int(np.argmax(ordinals)), "envelopes come in the order of their numbers"
        self._highest = int(ordinals[last])
        self._last.append(self._highest)
        self._late[self._highest] = bool(valid[last])
        is_last: Bools = rows == last
        return is_last

    def settled(self, window: int) -> bool:
        """The verdict of the last envelope of a window, once the input has ended."""
        last = self._last[window]
        return last < 0 or self._late[last]


class Verdicts:
    """Verdicts of rows that lie in groups that lie in interchanges, or in batches of files.

    A verdict is final only in the window in which its envelope closes. `see` gives the bits that
    are sure, and marks rows in what may go on; `settle` makes them final when the input has ended.
    """

    def __init__(self) -> None:
        self._inner, self._outer = _Level(), _Level()

    def see(self, own: Bools, inner: Enclosed, outer: Enclosed) -> Checks:
        """uint8[n]: bits of a window's rows. Windows must come in their order."""
        checks = closed_checks(own, inner, outer)
        checks[self._inner.see(*inner)] |= _INNER_OPEN
        checks[self._outer.see(*outer)] |= _OUTER_OPEN
        return checks

    def settle(self, window: int, checks: Checks) -> Checks:
        """uint8[n]: the final bits of the rows of a window, which is counted from 0. O(n)."""
        levels = (
            (self._inner, _INNER_OPEN, GROUP_VALID),
            (self._outer, _OUTER_OPEN, INTERCHANGE_VALID),
        )
        for level, mark, bit in levels:
            is_open = (checks & mark) != 0
            if is_open.any():
                verdict = np.uint8(bit if level.settled(window) else 0)
                checks = np.where(is_open, (checks & ~np.uint8(bit)) | verdict, checks)
        return (checks & np.uint8(ALL_VALID)).astype(np.uint8)


def closed_checks(own: Bools, inner: Enclosed, outer: Enclosed) -> Checks:
    """uint8[n]: bits of rows none of whose envelopes goes on; one that is not there is valid."""
    checks = np.where(own, np.uint8(OWN_VALID), np.uint8(0))
    for (table, rows), bit in ((inner, GROUP_VALID), (outer, INTERCHANGE_VALID)):
        checks |= np.where(np.append(table.valid, True)[rows], np.uint8(bit), np.uint8(0))
    return checks


def enclosing(remittances: Remittances) -> tuple[Enclosed, Enclosed]:
    """Groups and interchanges of a window's transactions."""
    transactions = remittances.transactions
    return (
        (remittances.groups, transactions.group),
        (remittances.interchanges, transactions.interchange),
    )


def batches_of(window: AchFiles) -> tuple[Enclosed, Enclosed]:
    """Batches and files of a window's entries."""
    batch = window.entries.batch
    return (window.batches, batch), (window.files, np.append(window.batches.file, -1)[batch])


class Profiles:
    """One row per kind of envelope of an input."""

    def __init__(self, profiles: list[Profile]) -> None:
        """`profiles` : the list that is filled."""
        self._profiles = profiles
        self._rows: dict[Profile, int] = {profile: row for row, profile in enumerate(profiles)}
        self._seen: dict[tuple[object, ...], int] = {}

    def rows_of(self, remittances: Remittances) -> Ints32:
        """int32[n]: the profile row of each of a window's transactions."""
        transactions = remittances.transactions
        rows = np.zeros(len(transactions), np.int32)
        pairs = transactions.interchange.astype(np.int64) << 32 | (
            transactions.group.astype(np.int64) & 0xFFFFFFFF
        )
        values, inverse = np.unique(pairs, return_inverse=True)
        by_pair = np.full(len(values), -1, np.int32)
        window = _WindowEnvelopes(remittances)
        order = np.argsort(inverse, kind="stable")
        stops = np.cumsum(np.bincount(inverse, minlength=len(values))).tolist()
        for number, pair in enumerate(values.tolist()):
            interchange, group = pair >> 32, pair & 0xFFFFFFFF
            isa, gs, delimiters = window.envelope(interchange, group)
            if isa:
                by_pair[number] = self._profile_row(isa, gs, delimiters, None)
                continue
            # Without an ISA the identities are the transaction's own.
            start = stops[number - 1] if number else 0
            for transaction in order[start : stops[number]].tolist():
                spare = _fallback(remittances, transaction)
                rows[transaction] = self._profile_row(isa, gs, delimiters, spare)
        common = by_pair[inverse] if len(values) else rows
        return np.where(common >= 0, common, rows).astype(np.int32)

    def _profile_row(
        self, isa: bytes, gs: bytes, delimiters: Delimiters, spare: Fallback | None
    ) -> int:
        key = (identity_of(isa, gs, delimiters), delimiters, spare)
        row = self._seen.get(key)
        if row is None:
            profile = profile_of(isa, gs, delimiters, spare)
            row = self._rows.setdefault(profile, len(self._profiles))
            if row == len(self._profiles):
                self._profiles.append(profile)
            if len(self._seen) < PROFILES_REMEMBERED_MAX:
                self._seen[key] = row
        return row


class _WindowEnvelopes:
    """The envelopes of one window, their columns as plain lists: there may be one per 835."""

    def __init__(self, remittances: Remittances) -> None:
        interchanges, groups = remittances.interchanges, remittances.groups
        self._isa = [raw if there else b"" for raw, there in _texts(interchanges, "isa")]
        self._gs = [raw if there else b"" for raw, there in _texts(groups, "gs")]
        self._delimiters = list(
            zip(
                interchanges.element_separator.tolist(),
                interchanges.component_separator.tolist(),
                interchanges.segment_terminator.tolist(),
                strict=True,
            )
        )

    def envelope(self, interchange: int, group: int) -> tuple[bytes, bytes, Delimiters]:
        """ISA, GS (each empty where it is not there) and delimiters of a transaction."""
        gs = self._gs[group] if group < len(self._gs) else b""
        return self._isa[interchange], gs, self._delimiters[interchange]


def _texts(table: Table, name: str) -> Iterator[tuple[bytes, bool]]:
    column = table[name]
    assert isinstance(column, TextColumn)
    data = bytes(column.source)
    for (offset, length), there in zip(column.refs.tolist(), table.enveloped.tolist(), strict=True):
        yield data[offset : offset + length], there


def _fallback(remittances: Remittances, row: int) -> Fallback:
    transactions = remittances.transactions
    sender = transactions.payer_id.raw(row) or transactions.originator.raw(row)
    receiver = (
        transactions.receiver_id.raw(row)
        or transactions.payee_tin.raw(row)
        or transactions.payee_entity_id.raw(row)
    )
    return Fallback(sender.strip(), receiver.strip(), transactions.implementation.raw(row).strip())
