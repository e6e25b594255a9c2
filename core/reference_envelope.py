"""Plain twin of the envelope: where headers begin, which bytes delimit, where segments end.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reassoc.core.reference_values import unwrapped

ISA_ELEMENTS = 16
ISA_BYTES_MAX = 1024
"""The sixteenth separator of an ISA lies within so many bytes, or it is no ISA."""
ISA_ELEMENT_BYTES_MAX = 64
HEADER_COPY_BYTES_MAX = 1088
"""So much of an ISA or GS is kept."""
HEADER_BYTES_MAX = 512
"""The end of the segment behind an ISA lies within so many bytes, or it tells nothing."""
OVERLONG_ISA16_BYTES_MAX = 10
ISA_PADDED_BYTES = 106
TRAILER_ELEMENT_BYTES_MAX = 20
"""The last element of a trailer that is longer may hide an ISA behind it."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LAYOUT = b"\0\t\n\r \x1a"
"""Bytes that may stand between segments and count as nothing; byte order marks do too."""
_LINE_END = b"\r\n"
_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The delimiter bytes of an interchange; component 0 is none."""

    element: int
    component: int
    terminator: int

    @property
    def clash(self) -> bool:
        """Two of the bytes that segments are read by are the same."""
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
    """A segment: bytes [offset, end), with its terminator if it has one; elements with offsets."""

    offset: int
    end: int
    elements: list[tuple[int, bytes]]

    @property
    def name(self) -> bytes:
        return unwrapped(self.elements[0][1]).strip(LAYOUT)

    def raw(self, number: int) -> bytes:
        """Element `number` as it lies in the file; empty where it is absent."""
        return self.elements[number][1] if number < len(self.elements) else b""

    def text(self, number: int) -> bytes:
        """Element `number` without line wraps."""
        return unwrapped(self.raw(number))

    def trimmed(self, number: int) -> bytes:
        """Element `number` without line wraps and blanks around it."""
        return self.text(number).strip(LAYOUT)

    def header(self, number: int) -> bytes:
        """Element `number` of an ISA or GS: without line wraps and the padding behind it."""
        return self.text(number).rstrip(LAYOUT)

    def place(self, number: int) -> int:
        """Byte of element `number`; the end of the last element where it is absent."""
        if number < len(self.elements):
            return self.elements[number][0]
        offset, value = self.elements[-1]
        return offset + len(value)


def is_alphanumeric(byte: int) -> bool:
    """Whether a byte is an ASCII letter or digit."""
    return byte in _ALNUM


_ISA_ID = re.compile(rb"I[\r\n]*S[\r\n]*A")
"""A line wrap may stand in any segment id."""


def isa_id_end(data: bytes, offset: int) -> int:
    """Byte behind the segment id ISA that starts here; -1 where none does."""
    match = _ISA_ID.match(data, offset)
    return -1 if match is None else match.end()


def starts_isa(data: bytes, offset: int) -> bool:
    """Whether "ISA" stands here as a segment id, whatever follows."""
    end = isa_id_end(data, offset)
    return 0 <= end < len(data) and not is_alphanumeric(data[end])


def read_isa(data: bytes, offset: int) -> Isa | None:
    """Read the ISA that starts here by counting its sixteen separators; None without.

    Of an ISA with too few or too many elements the terminator would be a letter or the separator.
    """
    place = isa_id_end(data, offset)
    if place < 0:
        return None
    while place < len(data) and data[place] in b" \r\n":
        place += 1
    if place >= len(data) or is_alphanumeric(data[place]):
        return None
    separator = data[place]
    pieces = data[place + 1 : offset + ISA_BYTES_MAX].split(bytes([separator]), ISA_ELEMENTS - 1)
    if len(pieces) < ISA_ELEMENTS or not pieces[-1]:
        return None
    elements, at = [(offset, data[offset:place])], place + 1
    for piece in pieces[:-1]:
        if len(piece) > ISA_ELEMENT_BYTES_MAX:
            return None
        elements.append((at, piece))
        at += len(piece) + 1
    at = _behind_wrap(data, separator, at)
    component, terminator, end, missing = _settle(data, separator, at)
    if component in _LINE_END:
        component = 0
    if is_alphanumeric(terminator) or terminator == separator:
        return None
    elements.append((at, data[at : at + 1] if component else b""))
    return Isa(offset, end, elements, Delimiters(separator, component, terminator), missing)


def _behind_wrap(data: bytes, separator: int, at: int) -> int:
    """Where ISA16 stands: behind line ends at `at`, unless these end the ISA and ISA16 is empty."""
    place = at
    while place < len(data) and data[place] in _LINE_END:
        place += 1
    if place == len(data) or is_alphanumeric(data[place]) or data[place] == separator:
        return at
    return at if ending_byte(data, skip_layout(data, at), separator) is not None else place


def _settle(data: bytes, separator: int, at: int) -> tuple[int, int, int, bool]:
    """(component, terminator, end, whether the terminator was missing); ISA16 stands at `at`."""
    component = data[at]
    if at + 1 >= len(data):
        return component, 0, len(data), False
    behind = data[at + 1]
    following = skip_layout(data, at + 1)
    ending = ending_byte(data, following, separator)
    if ending is not None and (following == at + 1 or behind in _LINE_END):
        if ending == component:
            return 0, ending, at + 1, False
        if ending in _LINE_END and behind in _LINE_END:
            return component, behind, at + 2, False
        return component, ending, at + 1, True
    if behind in _LINE_END and following < len(data) and not is_alphanumeric(data[following]):
        return component, data[following], following + 1, False
    if ending_byte(data, skip_empty(data, at + 2, behind), separator) is None:
        for probe in range(at + 2, at + 2 + OVERLONG_ISA16_BYTES_MAX):
            ending = ending_byte(data, probe, separator)
            if ending is not None:
                return _settle_overlong(data, separator, at, probe, ending)
    return component, behind, at + 2, False


def _settle_overlong(
    data: bytes, separator: int, at: int, following: int, ending: int
) -> tuple[int, int, int, bool]:
    """As `_settle`, for an over-long ISA16 or an element too many before it.

    The component separator stands right before the terminator, or else where it should.
    """
    last = following
    while last > at + 1 and data[last - 1] != ending and data[last - 1] in LAYOUT:
        last -= 1
    missing = data[last - 1] != ending
    before = data[last - 1] if missing else data[last - 2]
    component = data[at]
    if before == separator:
        component = 0
    elif not is_alphanumeric(before):
        component = before
    return component, ending, following if missing else last, missing


_LAST_ELEMENTS = {
    rb"G[\r\n]*S": 8,
    rb"T[\r\n]*A[\r\n]*1": 5,
    rb"I[\r\n]*E[\r\n]*A": 2,
    rb"S[\r\n]*T": 2,
}


def ending_byte(data: bytes, offset: int, separator: int) -> int | None:
    """The byte that ends the GS, TA1, IEA or ST here; None when none of them starts here.

    It is the first byte behind the last element's separator that is part of no value: no letter, no
    digit, no blank, no point, and no separator of further elements.
    """
    for name, elements in _LAST_ELEMENTS.items():
        if re.compile(name + rb"[\r\n]*" + re.escape(bytes([separator]))).match(data, offset):
            passed = 0
            for byte in data[offset : offset + HEADER_BYTES_MAX]:
                if byte == separator:
                    passed += 1
                elif passed >= elements and not is_alphanumeric(byte) and byte not in b" .\0":
                    return byte
    return None


def bare_delimiters(data: bytes, offset: int) -> Delimiters | None:
    """Delimiters from the GS or ST that starts here without an ISA; the component is a guess."""
    if data[offset : offset + 2] not in (b"GS", b"ST") or len(data) < offset + 4:
        return None
    separator = data[offset + 2]
    if is_alphanumeric(separator) or separator in LAYOUT:
        return None
    terminator = ending_byte(data, offset, separator)
    if terminator is None:
        return None
    component = ord(">") if terminator == ord(":") else ord(":")
    if terminator in _LINE_END:
        following = skip_layout(data, data.index(terminator, offset))
        if following < len(data) and not is_alphanumeric(data[following]):
            terminator = terminator if data[following] == separator else data[following]
    return Delimiters(separator, component, terminator)


def find_isa(data: bytes, start: int, stop: int) -> int:
    """Byte of the next readable ISA in [start, stop) that a segment follows; -1 if none."""
    place = data.find(b"ISA", start, stop)
    while place >= 0 and place + 4 <= stop:
        isa = read_isa(data, place)
        if isa is not None and is_followed(data, isa):
            return place
        place = data.find(b"ISA", place + 1, stop)
    return -1


def is_followed(data: bytes, isa: Isa) -> bool:
    """Whether a GS, TA1, IEA or ST stands behind the ISA, or nothing at all."""
    following = skip_empty(data, isa.end, isa.delimiters.terminator)
    return (
        following == len(data) or ending_byte(data, following, isa.delimiters.element) is not None
    )


def may_hide_isa(segment: Segment, known: bool) -> bool:
    """Whether a segment may have swallowed an ISA because its own terminator is missing."""
    if len(segment.elements) > ISA_ELEMENTS or not known:
        return True
    trailers = (b"GS", b"ST", b"SE", b"GE", b"IEA")
    return segment.name in trailers and len(segment.elements[-1][1]) > TRAILER_ELEMENT_BYTES_MAX


def skip_empty(data: bytes, offset: int, terminator: int) -> int:
    """First byte from `offset` on that is neither layout nor a terminator doubled."""
    while offset < len(data) and (data[offset] in LAYOUT or data[offset] == terminator):
        offset += 1
    return offset


def skip_layout(data: bytes, offset: int) -> int:
    """First byte from `offset` on that is no layout."""
    while offset < len(data) and data[offset] in LAYOUT:
        offset += 1
    return offset


def skip_between(data: bytes, offset: int, delimiters: Delimiters | None) -> int:
    """First byte of the next segment, past layout, byte order marks and empty segments."""
    separator = delimiters.element if delimiters else -1
    while offset < len(data) and data[offset] != separator:
        if data[offset] in LAYOUT or (delimiters and data[offset] == delimiters.terminator):
            offset += 1
        elif data.startswith(BYTE_ORDER_MARK, offset):
            offset += 3
        else:
            break
    return offset


def read_segment(
    data: bytes, offset: int, delimiters: Delimiters, stop: int | None = None
) -> tuple[Segment, bool]:
    """The segment that starts here and whether a terminator ends it.

    Without one it ends before the blanks at `stop`, or at the end of the data.
    """
    limit = len(data) if stop is None else stop
    last = data.find(delimiters.terminator, offset, limit)
    terminated = last >= 0
    if not terminated:
        last = offset + len(data[offset:limit].rstrip(LAYOUT))
    elements = []
    place = offset
    for value in data[offset:last].split(bytes([delimiters.element])):
        elements.append((place, value))
        place += len(value) + 1
    return Segment(offset, last + terminated, elements), terminated
