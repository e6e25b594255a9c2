"""What a file is, told from its first bytes and never from its name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from enum import Enum
from itertools import islice

from reassoc.core.lockbox import LockboxLayout
from reassoc.core.policy import Policy

HEAD_BYTES = 64 << 10
"""How much of an input is looked at to tell what it is."""
ACH_LINES = 12
"""How many of the first records are looked at to see whether they are ACH records."""
SETTINGS_DOTS_MAX = 100
"""Dots in a line of a settings file: the time that a dotted key takes grows with their square."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n\x00\x1a"

# The separator is whatever byte follows the segment id; it must come again where the standard puts
# it.
_X12_START = re.compile(
    rb"ISA([^A-Za-z0-9]).{0,3}?\1"
    rb"|GS([^A-Za-z0-9 ])[A-Z0-9]{1,4}\2"
    rb"|ST([^A-Za-z0-9 ])\d{3}(?:\3|[^A-Za-z0-9])",
    re.S,
)
_ISA_LATER = re.compile(rb"ISA([^A-Za-z0-9\s])[0-9A-Z ]{2}\1.{10}\1[0-9A-Z ]{2}\1.{10}\1", re.S)
_ACH_RECORD = re.compile(
    rb"1\d\d[ 0-9]{2}[0-9 A-Za-z]|5 ?(?:200|220|225|280)|6\d\d\d{6}|7\d\d"
    rb"|8(?:200|220|225|280)[\d ]{6}|9[\d ]{6}"
)
_ACH_LINES_AT_ONCE = re.compile(rb"(?:(?=%s)[^\r\n]{30,94}\r?\n){7}" % _ACH_RECORD.pattern)
"""More than half of ACH_LINES records in a row."""
_BAI2_START = re.compile(
    rb"01,[^,\r\n]{0,60},[^,\r\n]{0,60},\d{6},"
    rb"|02,[^,\r\n]{0,60},[^,\r\n]{0,60},[1-4]?,\d{6},"
    rb"|03,[^,\r\n]{0,60}[,/][^\r\n]*[\r\n]+(?:16|49|88),"
    rb"|16,\d{3},\d+,[^\r\n]*[\r\n]+(?:16,\d{3}|49|88),"
)
_SETTINGS = (
    frozenset(Policy.__struct_fields__),
    frozenset(("payees", "payers")),
    frozenset(LockboxLayout.__struct_fields__),
)
_OWN_TABLES = (
    b"remit_file,remit_ordinal,payment_file,payment_ordinal,payment_trace,case",
    b"match_id,status,tier,reason,remit_file,",
)


class Kind(Enum):
    """What an input is. The value is how people read it."""

    X12 = "X12"
    ACH = "ACH"
    BAI2 = "a BAI2 bank report"
    LOCKBOX = "a lockbox list"
    OWN_TABLE = "a table that reassoc wrote"
    SETTINGS = "a policy, directory or layout file"
    ARCHIVE = "an archive inside an archive"
    EMPTY = "empty"
    UNKNOWN = "unknown"


ADVICE = {
    Kind.ARCHIVE: "an archive of a kind that is not read here: unpack it first",
    Kind.EMPTY: "empty: ask the sender whether the transfer was cut off",
    Kind.UNKNOWN: "neither X12 nor ACH nor BAI2: a lockbox list needs a layout that recognises it "
    "(match --layout); else look whether it is encrypted or in another encoding",
}
"""Why an input of a kind cannot be read, and what to do."""


def kind_of(head: bytes) -> Kind:
    """Tell what an input is from its first bytes (HEAD_BYTES of them, or all there are).
    O(len(head)).

    X12 begins, after an optional byte order mark and blanks, with ISA, GS or ST and a separator
    that is repeated where the standard has it; other text in front of an ISA is let through. ACH is
    a majority of records that begin as ACH records do, at line ends or every 94 bytes. BAI2 begins
    with an 01 or 02 with its date, or with account or detail records that go together.
    """
    if not head:
        return Kind.EMPTY
    text = head.removeprefix(_BOM).lstrip(_BLANKS)
    if _X12_START.match(text):
        return Kind.X12
    if _is_ach(text):
        return Kind.ACH
    if text.startswith(_OWN_TABLES):
        return Kind.OWN_TABLE
    if _BAI2_START.match(text):
        return Kind.BAI2
    if _is_settings(text, is_whole=len(head) < HEAD_BYTES):
        return Kind.SETTINGS
    if text.startswith(
        (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")
    ) or (head[257:262] == b"ustar"):
        return Kind.ARCHIVE
    if _ISA_LATER.search(text):
        return Kind.X12
    return Kind.EMPTY if not text and len(head) < HEAD_BYTES else Kind.UNKNOWN


def _is_ach(text: bytes) -> bool:
    """True when more than half of the first records look like ACH records and at least one says
    more than its type.
    """
    if _ACH_LINES_AT_ONCE.match(text):  # PERF: as nearly all are, a tenth of the time
        return True
    first = islice(_pieces(text[: 94 * ACH_LINES * 4]), ACH_LINES)
    records = [record for record in first if record.strip()]
    hits = len([each for each in records if len(each) >= 30 and _ACH_RECORD.match(each)])
    return 2 * hits > len(records) > 0


def _pieces(text: bytes) -> Iterator[bytes]:
    """Lines that are not blank, without what somebody wrote behind the record; of those that have
    room for several records each that would be one."""
    for line in text.splitlines():
        if not line.strip():
            continue
        stop = len(line) if len(line) >= 2 * 94 else 1
        yield from (line[start : start + 94] for start in range(0, stop, 94))


def _is_settings(text: bytes, *, is_whole: bool) -> bool:
    """TOML whose keys are all those of one of the files that a user writes."""
    if not is_whole:
        # What a table's beginning leaves behind it may be cut; what stands before it is whole.
        text = text[: max(text.rfind(b"\n["), 0)]
    if any(line.count(b".") > SETTINGS_DOTS_MAX for line in text.splitlines()):
        return False
    try:
        keys = set(tomllib.loads(text.decode()))
    except (ValueError, RecursionError):  # no TOML, no UTF-8, or an integer too long to convert
        return False
    return bool(keys) and any(keys <= known for known in _SETTINGS)
