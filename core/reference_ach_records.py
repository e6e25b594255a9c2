"""Records of the plain ACH twin: what a record is, what its fields look like. For tests only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reassoc.core.reference_ach_files import read_number

ADDENDA_TYPES = {2, 5, 98, 99, *range(10, 19)}


@dataclass
class Record:
    """One record: its bytes as they are, and filled up to 94 columns."""

    offset: int
    raw: bytes
    number: int

    @property
    def line(self) -> bytes:
        """The record filled up with blanks."""
        return self.raw.ljust(94)

    @property
    def type(self) -> bytes:
        """First column."""
        return self.raw[:1]

    def columns(self, first: int, last: int) -> bytes:
        """Columns first to last, 1-based and inclusive, as the layouts give them."""
        return self.line[first - 1 : last]

    @property
    def filler(self) -> bool:
        """A line of nines."""
        return len(self.raw) >= 2 and set(self.raw) == {ord("9")}


def known_code(code: int) -> bool:
    """Whether a transaction code is one of Nacha's."""
    tens, units = divmod(code, 10)
    return (tens in (2, 3, 4) and units in (1, 2, 3, 4, 6, 7, 8, 9)) or (
        tens == 5 and 1 <= units <= 6
    )


def check_digit(digits: bytes) -> int:
    """The ninth digit of a routing number."""
    return (
        -sum(
            weight * int(chr(digit))
            for weight, digit in zip((3, 7, 1, 3, 7, 1, 3, 7), digits, strict=True)
        )
        % 10
    )


def plausible(data: bytes, at: int, strict: bool) -> bool:
    """Whether a record starts at `at`; `strict` in the middle of other bytes."""
    head = data[at : at + 12]
    if len(head) < 12:
        return False
    two = read_number(head[1:3])
    match chr(head[0]):
        case "1":
            return two == 1 and (not strict or (head[3:4] == b" " and read_number(head[4:12]) >= 0))
        case "5" | "8":
            return read_number(head[1:4]) in ((200, 220, 225, 280) if strict else range(200, 300))
        case "6":
            if not 20 <= two <= 89 or read_number(head[3:11]) < 0:
                return False
            return not strict or (known_code(two) and head[11] == 48 + check_digit(head[3:11]))
        case "7":
            return not strict and two in ADDENDA_TYPES
        case "9":
            return not strict and read_number(head[1:12]) >= 0
        case _:
            return False


def looks_like_x12(text: bytes) -> bool:
    """An ISA somewhere, or a GS or ST at the start, each with a separator after it."""
    stripped = text.lstrip(b" ")
    return bool(
        re.match(rb"(?:GS|ST)[^A-Za-z0-9 ].", stripped, re.DOTALL)
        or re.search(rb"ISA[^A-Za-z0-9 ]", stripped)
    )
