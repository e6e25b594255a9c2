"""Verdicts that come late: an envelope or a batch is known to be right only where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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

Ints32 = npt.NDArray[np.int32]
Ints64 = npt.NDArray[np.int64]


class Envelopes:
    """Envelopes of one stream of windows: verdicts by file-wide number, and one profile row per
    kind of envelope.

    A verdict is final only in the window in which its envelope closes, so transactions keep the
    numbers of their group and interchange until the input has ended.
    """

    def __init__(self, profiles: list[Profile], *, ends_in_window: bool = False) -> None:
        """`ends_in_window`: no envelope goes on in another window, so rows serve as numbers."""
        self._profiles = profiles
        self._rows: dict[Profile, int] = {profile: row for row, profile in enumerate(profiles)}
        self._seen: dict[tuple[object, ...], int] = {}
        self._verdicts: tuple[dict[int, bool], dict[int, bool]] = ({}, {})
        self._numbers: list[tuple[Ints64, Ints64]] = []
        self._ends_in_window = ends_in_window

    def see(self, remittances: Remittances) -> Ints32:
        """Take a window's envelopes; the profile row of each of its transactions."""
        transactions = remittances.transactions
        numbers = []
        for verdicts, table, rows in (
            (self._verdicts[0], remittances.groups, transactions.group),
            (self._verdicts[1], remittances.interchanges, transactions.interchange),
        ):
            ordinals = np.arange(len(table)) if self._ends_in_window else table.ordinal
            verdicts.update(zip(ordinals.tolist(), table.valid.tolist(), strict=True))
            numbers.append(_ordinals(ordinals, rows))
        self._numbers.append((numbers[0], numbers[1]))
        return self._profile_rows(remittances)

    def verdicts(self) -> Iterator[npt.NDArray[np.uint8]]:
        """GROUP_VALID and INTERCHANGE_VALID of each transaction, one array per window seen."""
        group_valid, interchange_valid = (_as_array(verdicts) for verdicts in self._verdicts)
        for groups, interchanges in self._numbers:
            yield np.where(group_valid[groups], GROUP_VALID, 0).astype(np.uint8) | np.where(
                interchange_valid[interchanges], INTERCHANGE_VALID, 0
            ).astype(np.uint8)

    def _profile_rows(self, remittances: Remittances) -> Ints32:
        transactions = remittances.transactions
        rows = np.zeros(len(transactions), np.int32)
        pairs = transactions.interchange.astype(np.int64) << 32 | (
            transactions.group.astype(np.int64) & 0xFFFFFFFF
        )
        values, inverse = np.unique(pairs, return_inverse=True)
        by_pair = np.full(len(values), -1, np.int32)
        window = _WindowEnvelopes(remittances)
        for number, pair in enumerate(values.tolist()):
            interchange, group = pair >> 32, pair & 0xFFFFFFFF
            isa, gs, delimiters = window.envelope(interchange, group)
            if isa:
                by_pair[number] = self._profile_row(isa, gs, delimiters, None)
                continue
            # Without an ISA the identities are the transaction's own.
            for transaction in np.flatnonzero(inverse == number).tolist():
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


def _ordinals(ordinals: npt.NDArray[np.integer[Any]], rows: Ints32) -> Ints64:
    """File-wide numbers of the envelopes in `rows`; -1 where a transaction has none."""
    if not len(ordinals):
        return np.full(len(rows), -1, np.int64)
    return np.where(rows >= 0, ordinals[np.maximum(rows, 0)].astype(np.int64), -1)


def _as_array(verdicts: dict[int, bool]) -> npt.NDArray[np.bool_]:
    """Verdicts by number, with a true one at the end for -1: a transaction without that
    envelope.
    """
    array = np.ones(max(verdicts, default=-1) + 2, np.bool_)
    array[list(verdicts.keys())] = list(verdicts.values())
    array[-1] = True
    return array


def _fallback(remittances: Remittances, row: int) -> Fallback:
    transactions = remittances.transactions
    sender = transactions.payer_id.raw(row) or transactions.originator.raw(row)
    receiver = (
        transactions.receiver_id.raw(row)
        or transactions.payee_tin.raw(row)
        or transactions.payee_entity_id.raw(row)
    )
    return Fallback(sender.strip(), receiver.strip(), transactions.implementation.raw(row).strip())


class BatchVerdicts:
    """Validity of ACH entries once their batch and file have ended, over the windows of an
    input.
    """

    def __init__(self) -> None:
        self._batches: dict[int, bool] = {}
        self._files: dict[int, bool] = {}
        self._seen: list[tuple[npt.NDArray[np.bool_], Ints64, Ints64]] = []

    def see(self, window: AchFiles) -> None:
        """Take a window's entries, batches and files."""
        entries, batches, files = window.entries, window.batches, window.files
        self._batches.update(zip(batches.ordinal.tolist(), batches.valid.tolist(), strict=True))
        self._files.update(zip(files.ordinal.tolist(), files.valid.tolist(), strict=True))
        batch = _ordinals(batches.ordinal, entries.batch)
        file_of_batch = _ordinals(files.ordinal, batches.file)
        file = np.append(file_of_batch, -1)[entries.batch]
        self._seen.append((entries.valid.copy(), batch, file))

    def valid(self) -> Iterator[npt.NDArray[np.bool_]]:
        """Per window: entry, batch and file are all valid."""
        batches, files = _as_array(self._batches), _as_array(self._files)
        for valid, batch, file in self._seen:
            yield valid & batches[batch] & files[file]
