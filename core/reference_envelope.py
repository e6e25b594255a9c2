"""Plain twin of the envelope: where headers begin, which bytes delimit, where segments end.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reassoc.core.reference_values import unwrapped

ISA_BYTES_MAX = 512
"""The sixteenth separator of an ISA lies within so many bytes, or it is no ISA."""
HEADER_BYTES_MAX = 512
"""The end of a GS, TA1 or ST lies within so many bytes, where a terminator is taken from it."""
ISA_PADDED_BYTES = 106
COMPONENT_DEFAULT = ord(":")

BETWEEN = frozenset(b"\0\t\n\r \xef\xbb\xbf")
"""Bytes that may stand between segments and count as nothing (the last three are the UTF-8 byte order mark)."""
_WRAP = b"\r\n"
_BLANK = b" "
_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The four delimiter bytes; repetition is 0 where there is none."""

    element: int
    component: int
    repetition: int
    terminator: int

    @property
    def clash(self) -> bool:
        """Two of the bytes that the 835 is read by are the same (it repeats no element)."""
        return len({self.element, self.component, self.terminator}) < 3


@dataclass(frozen=True, slots=True)
class Isa:
    """An ISA segment: [offset, end) with its terminator, where that stands behind ISA16."""

    offset: int
    end: int
    elements: list[tuple[int, bytes]]
    delimiters: Delimiters
    terminator_missing: bool

    @property
    def unpadded(self) -> bool:
        return self.end - self.offset != ISA_PADDED_BYTES


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: bytes [offset, end), terminator included where `terminated`; elements with their offsets."""

    offset: int
    end: int
    elements: list[tuple[int, bytes]]
    terminated: bool

    @property
    def name(self) -> bytes:
        return unwrapped(self.elements[0][1])

    def raw(self, number: int) -> bytes:
        """Element `number` as it lies in the file; empty where it is absent."""
        return self.elements[number][1] if number < len(self.elements) else b""

    def text(self, number: int) -> bytes:
        """Element `number` without line wraps."""
        return unwrapped(self.raw(number))

    def code(self, number: int) -> bytes:
        """Element `number` without line wraps and trailing blanks."""
        return self.text(number).rstrip(b" ")

    def place(self, number: int) -> int:
        """Byte of element `number`; the end of the last element where it is absent."""
        if number < len(self.elements):
            return self.elements[number][0]
        offset, value = self.elements[-1]
        return offset + len(value)


def is_mark(byte: int) -> bool:
    """Whether a byte may be a separator: no letter, digit, blank, line end or NUL."""
    return byte not in _ALNUM and byte not in b" \r\n\0"


def starts_isa(data: bytes, offset: int) -> bool:
    """Whether "ISA" and a separator stand here (blanks between them allowed)."""
    if data[offset : offset + 3] != b"ISA":
        return False
    place = offset + 3
    while place < len(data) and data[place] in _BLANK:
        place += 1
    return place < len(data) and is_mark(data[place])


def read_isa(data: bytes, offset: int) -> Isa | None:
    """Read the ISA that starts here by counting its sixteen separators; None when it has not got them."""
    place = offset + 3
    while data[place] in _BLANK:
        place += 1
    separator = data[place]
    marks = []
    for found in range(place, min(len(data), offset + ISA_BYTES_MAX)):
        if data[found] == separator:
            marks.append(found)
            if len(marks) == 16:
                break
    if len(marks) < 16 or marks[15] + 1 >= len(data):
        return None
    elements = [(offset, data[offset:place])]
    elements += [(a + 1, data[a + 1 : b]) for a, b in zip(marks, marks[1:], strict=False)]
    if any(re.search(rb"[^A-Za-z0-9 ][ \t\r\n]*GS\Z", value) for _, value in elements[1:]):
        return None
    return _close_isa(data, offset, separator, marks[15] + 1, elements)


def _close_isa(
    data: bytes, offset: int, separator: int, place: int, elements: list[tuple[int, bytes]]
) -> Isa:
    component = data[place]
    terminator, end, missing = _isa_terminator(data, separator, place)
    if missing and terminator == component:
        component = COMPONENT_DEFAULT
        elements = [*elements, (place, b"")]
        end = place + 1
    else:
        elements = [*elements, (place, data[place : place + 1])]
    version = unwrapped(elements[12][1])
    mark = unwrapped(elements[11][1])[:1]
    repetition = mark[0] if version >= b"00402" and mark and is_mark(mark[0]) else 0
    found = Delimiters(separator, component, repetition, terminator)
    return Isa(offset, end, elements, found, missing)


def _isa_terminator(data: bytes, separator: int, place: int) -> tuple[int, int, bool]:
    """(terminator, end of the ISA, whether it was missing) from what stands behind ISA16 at `place`."""
    behind = place + 1
    if behind >= len(data):
        return ord("~"), behind, True
    if _names(data, behind, separator) == b"GS":
        return _header_end(data, behind, separator, ord("~")), behind, True
    if data[behind] not in b" \t\r\n":
        return data[behind], behind + 1, False
    following = behind
    while following < len(data) and data[following] in b" \t\r\n":
        following += 1
    line_end = next((i for i in range(behind, following) if data[i] in _WRAP), -1)
    if following < len(data) and data[following] not in _ALNUM:
        return data[following], following + 1, False
    fallback = data[line_end] if line_end >= 0 else ord("~")
    if _names(data, following, separator):
        terminator = _header_end(data, following, separator, fallback)
        if terminator not in _WRAP:
            return terminator, behind, True
    if line_end < 0:
        return fallback, behind, True
    return fallback, line_end + 1, False


def _names(data: bytes, offset: int, separator: int) -> bytes:
    """The header that starts here with this separator: GS, TA1, ST or nothing."""
    for name in (b"GS", b"TA1", b"ST"):
        if data.startswith(name + bytes([separator]), offset):
            return name
    return b""


_LAST_ELEMENT = {b"GS": 8, b"TA1": 5, b"ST": 2}


def _header_end(data: bytes, offset: int, separator: int, fallback: int) -> int:
    """The byte that ends the header segment here: what stands behind its last element.

    A GS of another length than the standard's would give a separator there: then it is what
    stands before the next ST.
    """
    name = _names(data, offset, separator)
    window = data[offset : offset + HEADER_BYTES_MAX]
    place = -1
    for _ in range(_LAST_ELEMENT[name]):
        place = window.find(separator, place + 1)
        if place < 0:
            break
    else:
        for byte in window[place + 1 :]:
            if byte in _ALNUM or byte in _BLANK or (byte == separator and name == b"ST"):
                continue
            if byte != separator:
                return byte
            break
    mark = re.escape(bytes([separator]))
    before = re.search(rb"([^A-Za-z0-9 %b])[ \t\r\n]*ST%b[0-9]{3}%b" % (mark, mark, mark), window[2:])
    return before[1][0] if before else fallback


def bare_delimiters(data: bytes, offset: int) -> Delimiters:
    """Delimiters from the GS or ST that starts here, where there is no ISA; the component is a guess."""
    separator = data[offset + 2]
    terminator = _header_end(data, offset, separator, ord("~"))
    return Delimiters(separator, COMPONENT_DEFAULT, 0, terminator)


_HEADER = re.compile(
    rb"(?<![A-Za-z0-9])(?:ISA[ ]*[^A-Za-z0-9 \r\n\0]"
    rb"|GS([^A-Za-z0-9 \r\n\0])[A-Za-z0-9]{1,4}\1|ST([^A-Za-z0-9 \r\n\0])[0-9]{3}\2)"
)


def find_header(data: bytes, start: int) -> int:
    """Byte of the next ISA, GS or ST from `start` on, wherever it stands; -1 when there is none.

    Only asked between interchanges. An ISA in running text counts when it has its sixteen separators; one that
    stands at `start` itself always counts, so that a broken one is told.
    """
    place = start
    while True:
        match = _HEADER.search(data, place)
        if match is None:
            return -1
        found = match.start()
        if not data.startswith(b"ISA", found) or found == start or read_isa(data, found) is not None:
            return found
        place = found + 3


def find_isa(data: bytes, start: int, stop: int) -> int:
    """Byte of a whole ISA inside [start, stop), which a missing terminator glued to what precedes it; -1 if none."""
    for match in re.compile(rb"(?<![A-Za-z0-9])ISA").finditer(data, start, stop):
        if starts_isa(data, match.start()) and read_isa(data, match.start()) is not None:
            return match.start()
    return -1


def skip_between(data: bytes, offset: int, terminator: int) -> int:
    """First byte of the next segment: blanks, line ends and empty segments are passed over."""
    while offset < len(data) and (data[offset] in BETWEEN or data[offset] == terminator):
        offset += 1
    return offset


def read_segment(data: bytes, offset: int, delimiters: Delimiters, stop: int | None = None) -> Segment:
    """The segment that starts here, up to its terminator (or to `stop`, or to the end of the data)."""
    limit = len(data) if stop is None else stop
    end = data.find(delimiters.terminator, offset, limit)
    terminated = end >= 0
    last = end if terminated else limit
    elements = []
    place = offset
    for value in data[offset:last].split(bytes([delimiters.element])):
        elements.append((place, value))
        place += len(value) + 1
    return Segment(offset, last + 1 if terminated else last, elements, terminated)
