"""Inputs of many messages as one buffer, and what readers of 835s and of ACH do alike with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import Table
from reassoc.core.errors import FINDINGS_MAX, FindingCode, LimitError, ReassocError
from reassoc.core.x12_835 import Remittances
from reassoc.stream.envelope import Profile
from reassoc.stream.message import KEY_BYTES, PartHead, checks_of, other_items
from reassoc.stream.message_inputs import Input
from reassoc.stream.part_items import NO_PROFILES
from reassoc.stream.profiles import encode_profile, profile_key
from reassoc.stream.records import Block
from reassoc.stream.take_in import PROFILES_MAX
from reassoc.stream.verdicts import OWN_VALID, Checks, Profiles

Ints32 = npt.NDArray[np.int32]
Ints64 = npt.NDArray[np.int64]

_MORE = np.array([FindingCode.X12_FINDINGS_MORE, FindingCode.ACH_FINDINGS_MORE], np.uint16)


def name_of(head: PartHead) -> int:
    """What ids of a file's items begin with."""
    return int.from_bytes(head.digest[:KEY_BYTES], "little")


class EncodedProfiles:
    """Profiles of the messages of one call: keys and encodings, by row.

    keys : uint64[k]
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._profiles: list[Profile] = []
        self._rows = Profiles(self._profiles)
        self._encoded: list[Mapping[int, bytes]] = []
        self.keys = np.zeros(0, np.uint64)

    def rows_of(self, tables: Remittances) -> Ints32:
        """int32[n]: the row of each 835's profile. Raises LimitError, ProfileError."""
        rows = self._rows.rows_of(tables)
        fresh = self._profiles[len(self._encoded) :]
        try:
            if len(self._profiles) > PROFILES_MAX:
                raise LimitError(
                    f"PROFILES_MAX: more than {PROFILES_MAX} kinds of envelope at a time: split it"
                )
            keys = [profile_key(profile) for profile in fresh]
            self._encoded += [
                {key: encode_profile(profile)} for key, profile in zip(keys, fresh, strict=True)
            ]
        except ReassocError:
            self._forget()  # whoever comes next shall not suffer from it
            raise
        self.keys = np.append(self.keys, np.array(keys, np.uint64))
        return rows

    def of(self, rows: Ints32) -> Mapping[int, bytes]:
        """Encodings by keys of those that some rows name."""
        if not len(rows):
            return NO_PROFILES
        if len(rows) == 1 or len(self._encoded) == 1:
            return self._encoded[int(rows[0])]
        numbers = np.unique(rows).tolist()
        return {key: data for number in numbers for key, data in self._encoded[number].items()}


class InputBatch:
    """Inputs that lie one behind the other in one buffer.

    _starts : int64[k]    where each begins, its envelope first
    _shift : int64[k]    from a place in the buffer to the place in the file
    """

    def __init__(self, batch: Sequence[Input], between: bytes) -> None:
        self._batch = batch
        self._heads = [found.head for found in batch if isinstance(found.head, PartHead)]
        pieces: list[bytes] = []
        for found, head in zip(batch, self._heads, strict=True):
            pieces += (head.envelope, found.data, between)
        pieces.pop()
        sizes = np.fromiter(map(len, [*pieces, b""]), np.int64, len(pieces) + 1).reshape(-1, 3)
        self._buffer = b"".join(pieces)
        self._starts = np.cumsum(sizes.sum(axis=1)) - sizes.sum(axis=1)
        self._stops = self._starts + sizes[:, 0] + sizes[:, 1]
        self._envelopes = sizes[:, 0]
        begins = np.array([head.start for head in self._heads], np.int64)
        self._shift = begins - self._starts - self._envelopes
        self._names = np.array([name_of(head) for head in self._heads], np.uint64)
        self._is_cut = np.array([not head.is_whole for head in self._heads])
        self._reasons: dict[int, str] = {}

    def _stand_apart(self, *findings: Table) -> None:
        """Raise LimitError where findings of one of several were left out, maybe for those of
        another: each is then to be read alone."""
        for table in findings:
            if len(self._batch) > 1 and np.isin(table.code, _MORE).any():
                raise LimitError(f"FINDINGS_MAX: more than {FINDINGS_MAX} findings in one batch")

    def _settle(self, checks: Checks, bounds: Ints64) -> None:
        """Put what parts cannot tell into the checks of their items, from their heads."""
        lengths = np.diff(bounds)
        is_told = self._is_cut.copy()
        for number in np.flatnonzero(self._is_cut).tolist():
            reason = other_items(self._heads[number], int(lengths[number]))
            if reason:
                self._reasons[number], is_told[number] = reason, False
        rows = np.repeat(is_told, lengths)
        outer = checks_of([self._heads[number] for number in np.flatnonzero(is_told).tolist()])
        checks[rows] = checks[rows] & np.uint8(OWN_VALID) | outer

    def _bounds_of(self, inputs: npt.NDArray[Any]) -> Ints64:
        """int64[k + 1]: rows of each input, of rows that lie in these, ascending."""
        return np.searchsorted(inputs, np.arange(len(self._batch) + 1))


def sums_of(values: Ints64, bounds: Ints64) -> list[int]:
    """The sum of each input's values."""
    totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])[bounds]
    sums: list[int] = np.diff(totals).tolist()
    return sums


def blocks_of(block: Block, bounds: Ints64) -> list[Block]:
    """The rows of each input."""
    begins = np.concatenate([np.zeros(1, np.int64), block.stops])[bounds]
    stops = block.stops - np.repeat(begins[:-1], np.diff(bounds))
    data, places = block.data, pairwise(begins.tolist())
    rows = pairwise(bounds.tolist())
    return [
        Block(data[start:stop], stops[first:last])
        for (start, stop), (first, last) in zip(places, rows, strict=True)
    ]


def numbers_in_file(heads: Sequence[PartHead], name: str, bounds: Ints64, inputs: Ints64) -> Ints32:
    """int32[n]: numbers of rows in their files. name : of what stands before each part"""
    before = np.array([getattr(head, name) for head in heads], np.int64)
    return (np.arange(len(inputs)) - bounds[inputs] + before[inputs]).astype(np.int32)


def with_columns(table: Table, **columns: npt.NDArray[Any]) -> Table:
    """A table with other columns of the same names."""
    mine = {name: table[name] for name in table.names} | columns
    return Table("findings", mine, table.kinds, table.docs)


def claims_of(tables: Remittances) -> Ints32:
    """int32[n]: claims in each 835."""
    transactions = tables.transactions
    claims = transactions.claim_stop.astype(np.int64) - transactions.claim_start
    counts: Ints32 = claims.astype(np.int32)
    return counts
