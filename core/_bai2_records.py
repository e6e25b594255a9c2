"""Bytes of a BAI2 report to its physical records: lines parted that hold several, long lines cut
where they have a fixed length, lines without a record code told apart.

A record code is two digits, a comma or slash behind them. Rules: BAI, Cash Management Balance
Reporting Specifications Version 2 (10/2005), section on physical records, and what banks send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

RECORD_BYTES_MAX = 8192
"""Bytes of one physical record; what is beyond is left out (BAI2_RECORD_LONG)."""
FIXED_BYTES_MIN = 20
"""Shortest fixed length of physical records that is believed."""

BROKEN, UNKNOWN = 0, 100
"""Codes of what is none: a line without a record code; two digits that are no record code."""
JOINED, DAMAGED, LONG = 1, 2, 4
"""Flags of a record: stood behind another on its line; its code was not followed by a comma; was
cut."""

Record = tuple[int, int, int, int, int]
"""(code, byte of the code, first byte of the fields, one after their last byte, flags)"""
TakeDetails = Callable[[int], int]
"""Byte where a line with a 16 begins -> byte of the line behind the details that were taken from
there on; 0 for none."""

_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n\x00\x1a]+")
_PRINTED = re.compile(rb"[^\s\x00\x1a]")
_LINE_END = re.compile(rb"[\r\n]")
_CODE = re.compile(rb"[ \t]*(01|02|03|16|49|88|98|99)(?:,|(?=/)|(?=[ \t]*$))")
_DAMAGED = re.compile(rb"[ \t]*(88):")
_ANY_CODE = re.compile(rb"[ \t]*\d\d,")
_LENGTH = re.compile(rb"[ \t]*01,(?:[^,/\r\n]*,){5}([0-9]{1,4})[,/]")
# What may stand behind a slash on the same line. Text holds slashes, so only what begins as that
# record must is taken for one.
_BEHIND = re.compile(
    rb"/[ \t]*(?=(?:"
    rb"(01),[^,/]{0,40},[^,/]{0,40},\d{6},"
    rb"|(02),[^,/]{0,40},[^,/]{0,40},[1-4]?,\d{6},"
    rb"|(03),[^,/]{0,40}[,/]"
    rb"|(16),\d{3},[+-]?\d*(?:/|,[012ZVSD]?[,/])"
    rb"|(49),[+-]?\d*,\d*[ \t]*(?:/|$)"
    rb"|(88),"
    rb"|(98),[+-]?\d*,\d*,\d*[ \t]*(?:/|$)"
    rb"|(99),[+-]?\d*,\d*,\d*[ \t]*(?:/|$)"
    rb"))"
)
_MAY_FOLLOW = {
    BROKEN: frozenset((1, 2, 3, 16)),
    1: frozenset((2, 88)),
    2: frozenset((3, 88, 98)),
    3: frozenset((16, 49, 88)),
    16: frozenset((16, 49)),
    49: frozenset((3, 88, 98)),
    98: frozenset((2, 88, 99)),
    99: frozenset((1, 88)),
}
"""Record that a line begins with, or goes on with -> records that may stand behind it."""


def records(data: bytes, take_details: TakeDetails) -> Iterator[Record]:
    """The physical records of an input, in order; blank lines are left out. O(n).

    take_details : asked at each line that begins with a 16 and is no longer than a record may be;
        what it takes is not among the records
    """
    begin = len(_BOM) if data.startswith(_BOM) else 0
    one_line = _is_one_line(data, begin)
    fixed = _fixed_bytes(data, begin)
    lines = _Lines(data, begin, fixed)
    may_take = not one_line and not fixed
    base = BROKEN
    for line_start, stop in lines:
        start, flags = line_start, 0
        if may_take and data.startswith(b"16,", start) and stop - start <= RECORD_BYTES_MAX:
            lines.place = take_details(start) or stop
            if lines.place != stop:
                base = 16
                continue
        while start < stop:
            found = _CODE.match(data, start, stop)
            at, code = start, BROKEN
            if found is not None:
                at, code, start = found.start(1), int(found[1]), found.end()
            elif (damaged := _DAMAGED.match(data, start, stop)) is not None:
                at, code, start = damaged.start(1), 88, damaged.end()
                flags |= DAMAGED
            elif _ANY_CODE.match(data, start, stop):
                code = UNKNOWN
            if code not in (88, BROKEN, UNKNOWN):
                base = code
            end, after = _end(data, start, stop, base, one_line)
            last = _trimmed(data, start, end)
            if last > start or code not in (BROKEN, UNKNOWN):
                if last - start > RECORD_BYTES_MAX:
                    last = start + RECORD_BYTES_MAX
                    flags |= LONG
                yield code, at, start, last, flags
            start, flags = after, JOINED


def _is_one_line(data: bytes, begin: int) -> bool:
    """Nothing stands behind the first line that is not blank."""
    first = _PRINTED.search(data, begin)
    end = _LINE_END.search(data, first.start()) if first is not None else None
    return end is None or _PRINTED.search(data, end.start()) is None


class _Lines:
    """The lines of an input from `place` on, which whoever walks them may move."""

    __slots__ = ("_data", "_fixed", "place")

    def __init__(self, data: bytes, begin: int, fixed: int) -> None:
        self._data, self._fixed, self.place = data, fixed, begin

    def __iter__(self) -> Iterator[tuple[int, int]]:
        fixed = self._fixed
        while (line := _LINE.search(self._data, self.place)) is not None:
            start, stop = line.span()
            self.place = stop
            if not fixed or stop - start <= fixed:
                yield start, stop
                continue
            for piece in range(start, stop, fixed):
                yield piece, min(piece + fixed, stop)


def _fixed_bytes(data: bytes, begin: int) -> int:
    """The physical length that the file header states, where the input has no line ends and a
    record begins at each multiple of it (the first few are looked at); else 0."""
    line = _LINE.search(data, begin)
    header = _LENGTH.match(data, line.start()) if line is not None else None
    if line is None or header is None:
        return 0
    length, (start, stop) = int(header[1]), line.span()
    if length < FIXED_BYTES_MIN or stop - start <= length:
        return 0
    starts = range(start + length, min(stop, start + 8 * length), length)
    return length if all(_CODE.match(data, at, stop) for at in starts) else 0


def _end(data: bytes, start: int, stop: int, base: int, one_line: bool) -> tuple[int, int]:
    """(one after the record's slash, where the next record on the line begins); both are `stop`
    where no other stands behind it."""
    allowed = _MAY_FOLLOW[base]
    place = start
    while (found := _BEHIND.search(data, place, stop)) is not None:
        code = int(found[found.lastindex or 0])
        if code in allowed or (code == 88 and one_line):
            return found.start() + 1, found.end()
        place = found.start() + 1
    return stop, stop


def _trimmed(data: bytes, start: int, stop: int) -> int:
    """One after the last byte that is no blank."""
    while stop > start and data[stop - 1] in b" \t":
        stop -= 1
    return stop
