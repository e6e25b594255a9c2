"""Slow plain-Python twin of the 835 scanner: the oracle of the tests, never called in production.

Written from the specification, apart from the compiled scanner, so that the two check each other.
One pass, one segment at a time, every value copied. `reference_envelope` finds headers and
delimiters, `reference_835` reads between ST and SE.
"""

from __future__ import annotations

from reassoc.core import reference_values as values
from reassoc.core.errors import FINDINGS_MAX, FindingCode, ParseError
from reassoc.core.reference_835 import KNOWN, Body
from reassoc.core.reference_envelope import (
    HEADER_COPY_BYTES_MAX,
    LAYOUT,
    Delimiters,
    Isa,
    Segment,
    bare_delimiters,
    find_isa,
    is_alphanumeric,
    is_followed,
    isa_id_end,
    may_hide_isa,
    read_isa,
    read_segment,
    skip_between,
    starts_isa,
)
from reassoc.core.reference_tables import Row, Tables, children_start

_ENVELOPE = frozenset({b"ISA", b"GS", b"ST", b"SE", b"GE", b"IEA", b"TA1"})


def delimiter_offsets(
    data: bytes, element_separator: int, terminator: int
) -> tuple[list[int], list[int]]:
    """Stage 1: offsets of separators and terminators, and which of them (as indexes) end segments.

    O(n).
    """
    offsets = [i for i, byte in enumerate(data) if byte in (element_separator, terminator)]
    return offsets, [index for index, offset in enumerate(offsets) if data[offset] == terminator]


class PlainRemittances:
    """What the twin read: `tables[name]` is a list of rows; text and codes are unwrapped bytes."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def __getattr__(self, name: str) -> list[Row]:
        try:
            return self.__dict__["tables"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None


def read_835_plain(data: bytes, findings_max: int = FINDINGS_MAX) -> PlainRemittances:
    """Read a whole input; ParseError X12_NO_SEGMENTS when no ISA, GS or ST begins it. O(n)."""
    reader = _Reader(bytes(data))
    if not reader.find_first_header():
        raise ParseError(FindingCode.X12_NO_SEGMENTS, 0, "no ISA, GS or ST")
    reader.walk()
    reader.tables.leave_out(findings_max, FindingCode.X12_FINDINGS_MORE)
    return PlainRemittances(reader.tables)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tables = Tables()
        self.delimiters = Delimiters(0, 0, 0)
        self.place = 0
        self.junk_told = False
        self.no_gs_told = False
        self.component_guessed = False
        self.interchange: Row | None = None
        self.group: Row | None = None
        self.transaction: Row | None = None
        self.body: Body | None = None
        self.ordinal = 0
        self.control = b""
        self.last_control = b""
        self.expects_trace = False

    # the walk

    def find_first_header(self) -> bool:
        """Find where X12 begins: an ISA, a GS or an ST at once, else an ISA further on."""
        start = skip_between(self.data, 0, None)
        if starts_isa(self.data, start):
            isa = read_isa(self.data, start)
            if isa is not None:
                self.open_isa(isa)
                return True
            return self.behind_broken_isa(start)
        delimiters = bare_delimiters(self.data, start)
        if delimiters is not None:
            self.go_bare(start, delimiters)
            return True
        found = find_isa(self.data, start, len(self.data))
        isa = read_isa(self.data, found) if found >= 0 else None
        if isa is None:
            return False
        self.tables.find(FindingCode.X12_JUNK, start)
        self.open_isa(isa)
        return True

    def go_bare(self, start: int, delimiters: Delimiters) -> None:
        self.delimiters = delimiters
        self.component_guessed = True
        self.place = start

    def behind_broken_isa(self, start: int) -> bool:
        """Go on at the first GS or ST behind an ISA that cannot be read, or at a whole ISA."""
        behind = isa_id_end(self.data, start)
        separator = self.data[behind]
        for place in range(behind + 1, len(self.data)):
            before = self.data[place - 1]
            if is_alphanumeric(before) or before == separator:
                continue
            if starts_isa(self.data, place):
                isa = read_isa(self.data, place)
                if isa is not None:
                    self.tables.find(FindingCode.X12_ISA_BROKEN, start)
                    self.open_isa(isa)
                    return True
            delimiters = bare_delimiters(self.data, place)
            if delimiters is not None:
                self.tables.find(FindingCode.X12_ISA_BROKEN, start)
                self.go_bare(place, delimiters)
                return True
        return False

    def walk(self) -> None:
        while True:
            self.place = skip_between(self.data, self.place, self.delimiters)
            if self.place >= len(self.data):
                break
            segment, terminated = read_segment(self.data, self.place, self.delimiters)
            self.place = segment.end if terminated else len(self.data)
            if starts_isa(self.data, segment.offset) or segment.name == b"ISA":
                self.isa(segment)
            else:
                self.step(segment, terminated)
        self.cut_interchange(len(self.data))

    def isa(self, segment: Segment) -> None:
        """A segment that starts with ISA; in a set it may be one whose id was damaged."""
        isa = read_isa(self.data, segment.offset)
        if isa is not None and is_followed(self.data, isa):
            self.cut_interchange(segment.offset)
            self.open_isa(isa)
            return
        if self.transaction is not None:
            self.inside(segment)
        else:
            self.cut_interchange(segment.offset)
            self.tell(FindingCode.X12_ISA_BROKEN, segment.offset)

    def step(self, segment: Segment, terminated: bool) -> None:
        """Take one segment, or the part of it before an ISA that a missing terminator hid in it."""
        hidden = -1
        if may_hide_isa(segment, segment.name in KNOWN | _ENVELOPE):
            hidden = find_isa(self.data, segment.offset + 1, segment.end)
            if hidden >= 0:
                segment, terminated = read_segment(
                    self.data, segment.offset, self.delimiters, hidden
                )
        known = segment.name in KNOWN | _ENVELOPE
        if not terminated and (known or hidden < 0 or self.transaction is not None):
            self.tell(FindingCode.X12_UNTERMINATED, segment.offset, self.ordinal + 1)
        if known or self.transaction is not None:
            self.segment(segment)
        else:
            self.tell_junk(segment.offset)
        if hidden >= 0:
            self.place = hidden

    def segment(self, segment: Segment) -> None:
        name = segment.name
        if name in _ENVELOPE:
            self.junk_told = False
            if name != b"TA1":
                getattr(self, "on_" + name.decode().lower())(segment)
            elif self.transaction is not None:
                self.ordinal += 1
                if self.body is not None:
                    self.body.ordinal = self.ordinal
        elif self.transaction is None:
            self.tell_junk(segment.offset)
        else:
            self.inside(segment)

    def inside(self, segment: Segment) -> None:
        assert self.transaction is not None
        self.ordinal += 1
        if self.body is not None:
            if self.component_guessed and segment.name == b"SVC":
                self.learn_component(segment.text(1))
            self.body.segment(segment)
        elif segment.name == b"TRN" and self.expects_trace:
            self.expects_trace = False
            self.transaction["trace"] = segment.text(2)
            self.transaction["payer_id"] = segment.text(3)

    def learn_component(self, composite: bytes) -> None:
        """Without an ISA the first SVC01 shows the component separator, behind two letters."""
        self.component_guessed = False
        if len(composite) > 2 and not is_alphanumeric(composite[2]) and composite[2] != ord(" "):
            assert self.interchange is not None
            assert self.body is not None
            self.interchange["component_separator"] = composite[2]
            self.body.component = composite[2:3]
            self.delimiters = Delimiters(
                self.delimiters.element, composite[2], self.delimiters.terminator
            )

    # findings

    def tell(self, code: FindingCode, offset: int, ordinal: int | None = None) -> None:
        """A finding about the open transaction set, or about the envelope when none is open."""
        told = 0
        if self.transaction is not None:
            told = self.ordinal if ordinal is None else ordinal
        row = self.body.transaction if self.body is not None else -1
        self.tables.find(code, offset, ordinal=told, transaction=row, current=self.current())

    def current(self) -> int:
        return -1 if self.interchange is None else len(self.tables["interchanges"]) - 1

    def tell_junk(self, offset: int) -> None:
        if not self.junk_told:
            self.junk_told = True
            self.tell(FindingCode.X12_JUNK, offset)

    # interchanges

    def open_isa(self, isa: Isa) -> None:
        self.delimiters = isa.delimiters
        self.component_guessed = self.junk_told = False
        self.open_interchange(isa.offset, True)
        self.fill_isa(isa)
        self.place = isa.end
        if isa.terminator_missing:
            self.tell(FindingCode.X12_ISA_TERMINATOR_MISSING, isa.offset)
        elif isa.unpadded:
            self.tell(FindingCode.X12_ISA_UNPADDED, isa.offset)
        if isa.delimiters.clash:
            self.tell(FindingCode.X12_DELIMITERS_CLASH, isa.offset)

    def open_interchange(self, offset: int, enveloped: bool) -> None:
        number = self.tables.add(
            "interchanges",
            file_offset=offset,
            file_end=-1,
            ordinal=len(self.tables["interchanges"]),
            enveloped=enveloped,
            closed=False,
            valid=not enveloped,
            element_separator=self.delimiters.element,
            component_separator=self.delimiters.component,
            segment_terminator=self.delimiters.terminator,
        )
        self.interchange = self.tables["interchanges"][number]
        self.no_gs_told = False
        if not enveloped:
            self.tell(FindingCode.X12_NO_ISA, offset)

    def fill_isa(self, isa: Isa) -> None:
        row = self.interchange
        assert row is not None
        segment = Segment(isa.offset, isa.end, isa.elements)
        repetition = segment.header(11)
        if len(repetition) == 1 and not is_alphanumeric(repetition[0]):
            row["repetition_separator"] = repetition[0]
        row["isa"] = self.kept(isa)
        row["sender_qualifier"], row["sender"] = segment.header(5)[:2], segment.header(6)
        row["receiver_qualifier"], row["receiver"] = segment.header(7)[:2], segment.header(8)
        row["date"] = values.date_days(segment.header(9))[0]
        row["version"] = segment.header(12)[:8]
        row["control_number"] = segment.header(13)
        row["usage"] = segment.header(15)[:2]

    def kept(self, header: Isa | Segment) -> bytes:
        return values.unwrapped(self.data[header.offset : header.end])[:HEADER_COPY_BYTES_MAX]

    def on_iea(self, segment: Segment) -> None:
        self.cut_group(segment.offset)
        row = self.interchange
        if row is None or not row["enveloped"]:
            if row is not None:
                self.close_interchange(segment.offset)
            self.tell(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
            return
        row["valid"] = self.check(
            segment,
            row["group_count"],
            row["control_number"],
            FindingCode.X12_IEA_COUNT,
            FindingCode.X12_IEA_CONTROL_NUMBER,
        )
        self.close_interchange(segment.end)

    def cut_interchange(self, at: int) -> None:
        """Close an interchange that has no IEA."""
        self.cut_group(at)
        if self.interchange is None:
            return
        if self.interchange["enveloped"]:
            self.tell(FindingCode.X12_IEA_MISSING, at)
        self.close_interchange(at)

    def close_interchange(self, end: int) -> None:
        assert self.interchange is not None
        self.interchange["file_end"] = end
        self.interchange["closed"] = True
        self.interchange = None

    # groups

    def on_gs(self, segment: Segment) -> None:
        self.cut_group(segment.offset)
        self.open_group(segment.offset, True)
        row = self.group
        assert row is not None
        row["gs"] = self.kept(segment)
        row["functional_id"] = segment.header(1)[:2]
        row["sender"], row["receiver"] = segment.header(2), segment.header(3)
        row["date"] = values.date_days(segment.header(4))[0]
        row["control_number"], row["version"] = segment.header(6), segment.header(8)

    def open_group(self, offset: int, enveloped: bool) -> None:
        if self.interchange is None:
            self.open_interchange(offset, False)
        assert self.interchange is not None
        self.interchange["group_count"] += enveloped
        number = self.tables.add(
            "groups",
            interchange=self.current(),
            file_offset=offset,
            ordinal=len(self.tables["groups"]),
            enveloped=enveloped,
            closed=False,
            valid=not enveloped,
        )
        self.group = self.tables["groups"][number]
        self.last_control = b""

    def on_ge(self, segment: Segment) -> None:
        self.cut_set(segment.offset)
        row = self.group
        if row is None or not row["enveloped"]:
            self.cut_group(segment.offset)
            self.tell(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
            return
        row["valid"] = self.check(
            segment,
            row["transaction_count"],
            row["control_number"],
            FindingCode.X12_GE_COUNT,
            FindingCode.X12_GE_CONTROL_NUMBER,
        )
        row["closed"] = True
        self.group = None

    def cut_group(self, at: int) -> None:
        """Close a group that has no GE."""
        self.cut_set(at)
        if self.group is None:
            return
        if self.group["enveloped"]:
            self.tell(FindingCode.X12_GE_MISSING, at)
        self.group["closed"] = True
        self.group = None

    # transaction sets

    def on_st(self, segment: Segment) -> None:
        self.cut_set(segment.offset)
        if self.group is None:
            inside = self.interchange is not None and self.interchange["enveloped"]
            self.open_group(segment.offset, False)
            if inside and not self.no_gs_told:
                self.no_gs_told = True
                self.tell(FindingCode.X12_NO_GS, segment.offset)
        assert self.group is not None
        assert self.interchange is not None
        self.group["transaction_count"] += 1
        self.interchange["transaction_count"] += 1
        self.ordinal = 1
        self.control = segment.trimmed(2)
        if segment.trimmed(1) == b"835":
            self.open_835(segment)
        else:
            self.open_skipped(segment)
        if self.control and self.control == self.last_control:
            self.tell(FindingCode.X12_ST_DUPLICATE, segment.offset)
        self.last_control = self.control

    def place_of(self, segment: Segment) -> dict[str, int]:
        return {
            "offset": segment.offset,
            "end": segment.end,
            "interchange": self.current(),
            "group": len(self.tables["groups"]) - 1,
        }

    def open_skipped(self, segment: Segment) -> None:
        self.expects_trace = segment.trimmed(1) == b"820"
        row = self.tables.add("skipped", **self.place_of(segment), set_id=segment.trimmed(1)[:4])
        self.transaction = self.tables["skipped"][row]

    def open_835(self, segment: Segment) -> None:
        number = self.tables.add(
            "transactions",
            **self.place_of(segment),
            ordinal=len(self.tables["transactions"]),
            control_number=segment.text(2),
            implementation=segment.text(3),
            balanced=False,
            valid=False,
        )
        row = self.transaction = self.tables["transactions"][number]
        names = ("claim", "service", "adjustment", "provider_adjustment")
        children_start(row, self.tables, names)
        self.body = Body(self.tables, number, self.delimiters.component, self.current())

    def on_se(self, segment: Segment) -> None:
        if self.transaction is None:
            self.tell(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
            return
        self.ordinal += 1
        self.check(
            segment,
            self.ordinal,
            self.control,
            FindingCode.X12_SE_COUNT,
            FindingCode.X12_SE_CONTROL_NUMBER,
        )
        self.close_set(segment.offset, segment.end)

    def cut_set(self, at: int) -> None:
        """Close a transaction set that has no SE."""
        if self.transaction is not None:
            self.tell(FindingCode.X12_SE_MISSING, at)
            self.close_set(at, at)

    def close_set(self, body_end: int, end: int) -> None:
        assert self.transaction is not None
        if self.body is not None:
            self.body.finish(body_end, end, self.ordinal)
        else:
            self.transaction["end"], self.transaction["segment_count"] = end, self.ordinal
        self.transaction = self.body = None

    def check(
        self,
        segment: Segment,
        counted: int,
        control: bytes,
        count_differs: FindingCode,
        control_differs: FindingCode,
    ) -> bool:
        """Count and control number of a trailer; whether both are right."""
        declared = values.count(segment.trimmed(1))
        if declared != counted:
            wrong = FindingCode.X12_COUNT_BAD if declared is None else count_differs
            self.tell(wrong, segment.offset)
        if segment.trimmed(2) != control.strip(LAYOUT):
            self.tell(control_differs, segment.offset)
            return False
        return declared == counted
