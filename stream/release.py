"""Released interchanges: transactions that may be posted, byte for byte, in envelopes of their
own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from reassoc.core.errors import LimitError
from reassoc.stream.envelope import (
    CONTROL_NUMBER_MAX,
    Profile,
    gs_around_number,
    write_ge,
    write_iea,
    write_isa,
)

GROUP_TRANSACTIONS_MAX = 999_999
"""GE01 has six digits."""
INTERCHANGE_GROUPS_MAX = 99_999
"""IEA01 has five digits."""
FILES_OPEN_MAX = 512
"""Interchanges kept open for writing at a time; the ones written last."""
_BUFFER_BYTES = 1 << 17

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Releasable:
    """Transactions that may be posted, k rows in the order they are written: by source, and by
    place within it.

    source : int64[k]     number of the input
    start, stop : int64[k]   where ST..SE lies in it, in the terms of whoever reads it back
    profile : int64[k]    row of `profiles`
    controls              ST02 of each, k values
    cents : int64[k]      BPR02
    """

    source: Ints
    start: Ints
    stop: Ints
    profile: Ints
    controls: Sequence[bytes]
    cents: Ints
    profiles: Sequence[Profile]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which interchange and group each transaction goes to; all numbers are fixed before a byte is
    written.

    interchange, group : int64[k]   0-based over the whole run; control numbers are these plus one
    interchange_profile : int64[n]  row of `profiles` per interchange
    group_sizes : int64[g]          transactions per group
    group_counts : int64[n]         groups per interchange
    """

    interchange: Ints
    group: Ints
    interchange_profile: Ints
    group_sizes: Ints
    group_counts: Ints


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """One released interchange: a file name, and what it holds."""

    name: str
    profile: Profile
    control_number: int
    group_count: int
    transaction_count: int
    cents: int


def plan_release(items: Releasable, transactions_max: int | None = None) -> Plan:
    """Give each transaction its interchange and group. O(k log k).

    One interchange per profile, in the order of the sorted profiles; a new group where an ST02
    would repeat or GROUP_TRANSACTIONS_MAX is reached, a new interchange where
    INTERCHANGE_GROUPS_MAX is, or `transactions_max` where that is given.
    """
    count = len(items)
    codes: dict[bytes, int] = {}
    control = np.fromiter(
        (codes.setdefault(value, len(codes)) for value in items.controls), np.int64, count
    )
    interchange = np.zeros(count, np.int64)
    group = np.zeros(count, np.int64)
    interchange_profile: list[int] = []
    group_counts: list[int] = []
    group_count = 0
    ranks = sorted(set(items.profile.tolist()), key=lambda row: items.profiles[row])
    by_profile = np.argsort(items.profile, kind="stable")
    sorted_profiles = items.profile[by_profile]
    for row in ranks:
        first, last = np.searchsorted(sorted_profiles, [row, row + 1]).tolist()
        for start in range(first, last, transactions_max or count):
            rows = by_profile[start : min(start + (transactions_max or count), last)]
            sequence = split_at_repeats(control[rows], GROUP_TRANSACTIONS_MAX)
            group[rows] = sequence + group_count
            interchange[rows] = sequence // INTERCHANGE_GROUPS_MAX + len(interchange_profile)
            groups = int(sequence[-1]) + 1
            group_count += groups
            while groups > 0:
                interchange_profile.append(row)
                group_counts.append(min(groups, INTERCHANGE_GROUPS_MAX))
                groups -= INTERCHANGE_GROUPS_MAX
    if max(group_count, len(interchange_profile)) > CONTROL_NUMBER_MAX:
        raise LimitError(
            f"more groups than CONTROL_NUMBER_MAX ({CONTROL_NUMBER_MAX}): "
            "release fewer files per run"
        )
    sizes = np.bincount(group, minlength=group_count).astype(np.int64)
    return Plan(
        interchange,
        group,
        np.array(interchange_profile, np.int64),
        sizes,
        np.array(group_counts, np.int64),
    )


def split_at_repeats(values: Ints, size_max: int) -> Ints:
    """Number of the group of each value, in order: a new one begins where a value would repeat in
    it or it is full.

    values : int64[n] -> int64[n], ascending from 0. O(n log n).
    """
    count = len(values)
    order = np.argsort(values, kind="stable")
    previous = np.full(count, -1, np.int64)
    same = values[order][1:] == values[order][:-1]
    previous[order[1:][same]] = order[:-1][same]
    # A group that starts at s ends before the first i whose value was last seen at or after s.
    highest = np.maximum.accumulate(previous) if count else previous
    groups = np.zeros(count, np.int64)
    start = 0
    while start < count:
        stop = min(int(np.searchsorted(highest, start)), start + size_max)
        if stop >= count:
            break
        groups[stop] = 1
        start = stop
    return np.cumsum(groups)


class SourceReader:
    """Gives back the bytes of transactions of one input, front to back.

    take(start, stop) -> bytes-like    the bytes of [start, stop)
    gaps_join : bool                   neighbours with nothing but a line end between them may be
                                       taken as one
    """

    gaps_join = False

    def take(self, start: int, stop: int) -> bytes | memoryview:
        raise NotImplementedError

    def between(self, start: int, stop: int) -> bytes:
        """The bytes between two transactions; asked only where `gaps_join`. Anything but a line end
        keeps them apart."""
        raise NotImplementedError


def write_released(
    items: Releasable,
    plan: Plan,
    folder: Path,
    day: date,
    readers: Callable[[int], SourceReader],
) -> list[ReleasedFile]:
    """Write the interchanges into `folder` (which exists) and say what each holds.

    `readers(source)` is called once per source, in ascending order. ISA09 and GS04 hold `day`,
    times are 0000: the same input gives the same bytes. Memory: FILES_OPEN_MAX buffers and one
    transaction, whatever the size of the release.
    """
    files = _name_files(items, plan)
    with _Files(folder, files, plan, day) as output:
        starts = np.flatnonzero(np.diff(items.source, prepend=-1))
        stops = np.append(starts[1:], len(items))[: len(starts)]
        for first, last in zip(starts.tolist(), stops.tolist(), strict=True):
            reader = readers(int(items.source[first]))
            _copy_source(items, plan, output, reader, first, last)
    return files


def _copy_source(
    items: Releasable, plan: Plan, output: _Files, reader: SourceReader, first: int, last: int
) -> None:
    """Copy the transactions of one source."""
    groups = plan.group[first:last].tolist()
    interchanges = plan.interchange[first:last].tolist()

    def write(row: int, data: bytes | memoryview) -> None:
        output.write(interchanges[row], groups[row], data)

    copy_transactions(reader, items.start[first:last], items.stop[first:last], groups, write)


def copy_transactions(
    reader: SourceReader,
    starts: Ints,
    stops: Ints,
    groups: Sequence[int],
    write: Callable[[int, bytes | memoryview], None],
) -> None:
    """Hand the transactions of one source to `write`, each with its row, neighbours of one group in
    one piece with the row of the first.

    starts, stops : int64[k]   as the reader takes them, in its order
    groups                     k numbers; different ones are never in one piece
    """
    start, stop = starts.tolist(), stops.tolist()
    row = 0
    while row < len(groups):
        end = row + 1
        while (
            reader.gaps_join
            and end < len(groups)
            and groups[end] == groups[row]
            and 0 <= start[end] - stop[end - 1] <= 2
            and not reader.between(stop[end - 1], start[end]).strip(b"\r\n")
        ):
            end += 1
        write(row, reader.take(start[row], stop[end - 1]))
        row = end


def _name_files(items: Releasable, plan: Plan) -> list[ReleasedFile]:
    count = len(plan.interchange_profile)
    sizes = np.bincount(plan.interchange, minlength=count).tolist()
    cents = np.zeros(count, np.int64)
    np.add.at(cents, plan.interchange, items.cents)
    files = []
    for number, row in enumerate(plan.interchange_profile.tolist()):
        profile = items.profiles[row]
        name = f"{slug(profile.receiver)}_{slug(profile.sender)}_{number + 1:09d}.x12"
        files.append(
            ReleasedFile(
                name,
                profile,
                number + 1,
                int(plan.group_counts[number]),
                sizes[number],
                int(cents[number]),
            )
        )
    return files


def slug(value: bytes) -> str:
    """An identity as a part of a file name. Different identities may have the same one."""
    return re.sub(r"[^A-Za-z0-9]+", "-", value.decode("latin-1")).strip("-")[:30] or "UNKNOWN"


class InterchangeWriter:
    """Writes one interchange from front to back: ISA, groups of transactions as they come, IEA.

    Line ends behind the terminators of the envelope are those of the first transaction.
    """

    def __init__(
        self,
        profile: Profile,
        day: date,
        control_number: int,
        group_control_first: int,
        group_sizes: Sequence[int],
    ) -> None:
        """
        control_number : ISA13        group_control_first : GS06 of group 0, the others count on
        group_sizes : GE01 of each group
        """
        self._profile = profile
        self._day = day
        self._control_number = control_number
        self._group_control_first = group_control_first
        self._group_sizes = group_sizes
        self._group = -1
        self._line_end = b""
        self._gs = (b"", b"")

    def write(self, file: BinaryIO, group: int, data: bytes | memoryview) -> None:
        """Append transactions to a group; groups count from 0 and come one after the other."""
        profile = self._profile
        if self._group < 0:
            self._line_end = _line_end(data, profile.terminator)
            file.write(write_isa(profile, self._control_number, self._day) + self._line_end)
            self._gs = gs_around_number(profile, self._day)
        if self._group != group:
            self._close_group(file)
            self._group = group
            before, behind = self._gs
            control_number = self._group_control_first + group
            file.write(b"%b%d%b%b" % (before, control_number, behind, self._line_end))
        file.write(data)
        if data[-1] != profile.terminator:  # the source ended without one
            file.write(bytes((profile.terminator,)))
        if self._line_end:
            file.write(self._line_end)

    def close(self, file: BinaryIO) -> None:
        """Write the trailers."""
        self._close_group(file)
        trailer = write_iea(self._profile, len(self._group_sizes), self._control_number)
        file.write(trailer + self._line_end)

    def _close_group(self, file: BinaryIO) -> None:
        if self._group >= 0:
            size = self._group_sizes[self._group]
            control_number = self._group_control_first + self._group
            file.write(write_ge(self._profile, size, control_number) + self._line_end)


class _Files:
    """The interchanges being written: at most FILES_OPEN_MAX of them open."""

    def __init__(self, folder: Path, files: Sequence[ReleasedFile], plan: Plan, day: date) -> None:
        self._folder = folder
        self._files = files
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()
        self._group_first = (np.cumsum(plan.group_counts) - plan.group_counts).tolist()
        sizes = plan.group_sizes.tolist()
        self._writers = [
            InterchangeWriter(
                file.profile, day, file.control_number, first + 1, sizes[first : first + count]
            )
            for file, first, count in zip(
                files, self._group_first, plan.group_counts.tolist(), strict=True
            )
        ]

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for number, writer in enumerate(self._writers):
                writer.close(self._handle(number))
        for handle in self._open.values():
            handle.close()

    def write(self, interchange: int, group: int, data: bytes | memoryview) -> None:
        """Append transactions to a group; the groups of an interchange come one after the other."""
        group -= self._group_first[interchange]
        self._writers[interchange].write(self._handle(interchange), group, data)

    def _handle(self, interchange: int) -> BinaryIO:
        handle = self._open.pop(interchange, None)
        if handle is None:
            handle = (self._folder / self._files[interchange].name).open(
                "ab", buffering=_BUFFER_BYTES
            )
        self._open[interchange] = handle
        if len(self._open) > FILES_OPEN_MAX:
            self._open.popitem(last=False)[1].close()
        return handle


def _line_end(data: bytes | memoryview, terminator: int) -> bytes:
    """What the source writes behind its terminators: nothing, LF or CRLF."""
    head = bytes(data[:4096])
    after = head[head.find(bytes((terminator,))) + 1 :][:2]
    if after == b"\r\n":
        return after
    return b"\n" if after[:1] == b"\n" else b""
