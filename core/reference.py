"""Slow plain-Python twin of the 835 scanner: the oracle of the tests, never called in production.

Written from the specification alone, so that it and the compiled scanner check each other. One pass, one segment at a
time, every value copied. `reference_envelope` finds headers and delimiters, `reference_835` reads between ST and SE.
"""

from __future__ import annotations

from reassoc.core import reference_values as values
from reassoc.core.errors import FindingCode, ParseError
from reassoc.core.reference_835 import Body
from reassoc.core.reference_envelope import (
    Delimiters,
    Isa,
    Segment,
    bare_delimiters,
    find_header,
    find_isa,
    is_mark,
    read_isa,
    read_segment,
    skip_between,
    starts_isa,
)
from reassoc.core.reference_tables import Row, Tables, children_start

DETAIL_LOOPS = frozenset({b"HL", b"LX", b"ENT", b"RMR", b"CLM", b"INS"})
"""Segments that open a detail loop in sets other than the 835: a TRN behind them is no payment's."""
_NO_DELIMITERS = Delimiters(0, 0, 0, 0)


def delimiter_offsets(data: bytes, element_separator: int, terminator: int) -> tuple[list[int], list[int]]:
    """Stage 1: offsets of every separator and terminator, and which of them (as indexes) are terminators. O(n)."""
    offsets = [i for i, byte in enumerate(data) if byte in (element_separator, terminator)]
    return offsets, [index for index, offset in enumerate(offsets) if data[offset] == terminator]


class PlainRemittances:
    """What the twin read: `tables[name]` is a list of rows; text and codes are bytes without line wraps."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def __getattr__(self, name: str) -> list[Row]:
        try:
            return self.__dict__["tables"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None


def read_835_plain(data: bytes) -> PlainRemittances:
    """Read a whole input; raises ParseError X12_NO_SEGMENTS when there is no ISA, GS or ST in it. O(n), slowly."""
    reader = _Reader(bytes(data))
    reader.run()
    if not reader.tables["interchanges"] and not reader.broken:
        raise ParseError(FindingCode.X12_NO_SEGMENTS, 0, "no ISA, GS or ST")
    return PlainRemittances(reader.tables)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tables = Tables()
        self.delimiters = _NO_DELIMITERS
        self.place = 0
        self.last_end = 0
        self.broken = False
        self.junk = -1
        self.interchange: Row | None = None
        self.group: Row | None = None
        self.transaction: Row | None = None
        self.body: Body | None = None
        self.ordinal = 0
        self.control = b""
        self.last_control: bytes | None = None
        self.detail = False
        self.groups_seen = 0
        self.component_guessed = False

    # the walk

    def run(self) -> None:
        while True:
            terminator = self.delimiters.terminator
            self.place = skip_between(self.data, self.place, terminator)
            if self.place >= len(self.data):
                break
            if self.interchange is None:
                if not self.hunt():
                    break
            elif starts_isa(self.data, self.place):
                self.end_interchange(None)
                self.open_isa()
            else:
                self.step(read_segment(self.data, self.place, self.delimiters))
        self.end_junk(len(self.data))
        self.end_interchange(None)

    def hunt(self) -> bool:
        """Outside of any interchange: to the next header, over junk and stray trailers."""
        if self.delimiters is not _NO_DELIMITERS and not starts_isa(self.data, self.place):
            segment = read_segment(self.data, self.place, self.delimiters)
            if segment.name in (b"SE", b"GE", b"IEA") and len(segment.elements) > 1:
                segment = self.cut_at_isa(segment)
                self.end_junk(segment.offset)
                self.tables.find(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
                self.place = segment.end
                return True
        found = find_header(self.data, self.place)
        if found < 0:
            self.start_junk(self.place)
            return False
        if found > self.place:
            self.start_junk(self.place)
        self.end_junk(found)
        self.place = found
        if self.data.startswith(b"ISA", found):
            self.open_isa()
        else:
            self.open_bare()
        return True

    def step(self, segment: Segment) -> None:
        name = segment.name
        if not segment.terminated:
            self.unterminated(segment)
        if name in (b"ST", b"SE", b"GS", b"GE", b"IEA"):
            self.end_junk(segment.offset)
            if name == b"IEA":
                segment = self.cut_at_isa(segment)
            getattr(self, "on_" + name.decode().lower())(segment)
        elif self.transaction is not None:
            self.inside(segment)
        elif name != b"TA1":
            cut = find_isa(self.data, segment.offset, segment.end)
            self.start_junk(segment.offset)
            if cut >= 0:
                self.place = cut
                return
        else:
            self.end_junk(segment.offset)
        self.place = segment.end
        if self.junk < 0:
            self.last_end = segment.end

    def inside(self, segment: Segment) -> None:
        assert self.transaction is not None
        self.ordinal += 1
        if self.body is not None:
            if self.component_guessed and segment.name == b"SVC":
                self.learn_component(segment.text(1))
            self.body.segment(segment)
        elif segment.name in DETAIL_LOOPS:
            self.detail = True
        elif segment.name == b"TRN" and not self.detail:
            self.detail = True
            self.transaction["trace"] = segment.text(2)
            self.transaction["payer_id"] = segment.text(3)

    def unterminated(self, segment: Segment) -> None:
        """Only the last segment of the input can be without a terminator."""
        if self.transaction is not None and self.body is not None:
            row = len(self.tables["transactions"]) - 1
            ordinal = self.ordinal + 1
        else:
            row, ordinal = -1, 0
        self.tables.find(FindingCode.X12_UNTERMINATED, segment.offset, ordinal=ordinal, transaction=row)

    def cut_at_isa(self, segment: Segment) -> Segment:
        """An IEA whose terminator is missing swallows the ISA behind it: give that back."""
        cut = find_isa(self.data, segment.offset, segment.end)
        if cut < 0:
            return segment
        self.tables.find(FindingCode.X12_UNTERMINATED, segment.offset)
        return read_segment(self.data, segment.offset, self.delimiters, cut)

    def learn_component(self, composite: bytes) -> None:
        self.component_guessed = False
        if len(composite) > 2 and is_mark(composite[2]):
            assert self.interchange is not None
            assert self.body is not None
            self.interchange["component_separator"] = composite[2]
            self.body.component = composite[2:3]
            self.delimiters = Delimiters(
                self.delimiters.element, composite[2], self.delimiters.repetition, self.delimiters.terminator
            )

    # junk

    def start_junk(self, offset: int) -> None:
        if self.junk < 0:
            self.junk = offset

    def end_junk(self, end: int) -> None:
        if self.junk >= 0:
            self.tables.find(FindingCode.X12_JUNK, self.junk)
            self.junk = -1

    # interchanges

    def open_isa(self) -> None:
        self.end_junk(self.place)
        isa = read_isa(self.data, self.place)
        if isa is None:
            self.broken = True
            self.tables.find(FindingCode.X12_ISA_BROKEN, self.place)
            self.place += 3
            self.junk = -1
            self.skip_broken()
            return
        self.delimiters = isa.delimiters
        self.component_guessed = False
        self.interchange = self.add_interchange(isa.offset, True)
        self.fill_isa(isa)
        self.place = self.last_end = isa.end
        for wrong, code in (
            (isa.unpadded, FindingCode.X12_ISA_UNPADDED),
            (isa.terminator_missing, FindingCode.X12_ISA_TERMINATOR_MISSING),
            (isa.delimiters.clash, FindingCode.X12_DELIMITERS_CLASH),
        ):
            if wrong:
                self.tables.find(code, isa.offset)

    def skip_broken(self) -> None:
        """Go on at the next header; what lies between belongs to the broken ISA and is no junk of its own."""
        found = find_header(self.data, self.place)
        self.place = found if found >= 0 else len(self.data)

    def add_interchange(self, offset: int, enveloped: bool) -> Row:
        number = len(self.tables["interchanges"])
        self.tables.add(
            "interchanges", file_offset=offset, file_end=-1, ordinal=number, enveloped=enveloped, closed=False,
            valid=not enveloped, element_separator=self.delimiters.element,
            component_separator=self.delimiters.component, repetition_separator=self.delimiters.repetition,
            segment_terminator=self.delimiters.terminator,
        )  # fmt: skip
        self.groups_seen = 0
        return self.tables["interchanges"][number]

    def fill_isa(self, isa: Isa) -> None:
        row = self.interchange
        assert row is not None
        segment = Segment(isa.offset, isa.end, isa.elements, True)
        row["isa"] = values.unwrapped(self.data[isa.offset : isa.end])
        row["sender_qualifier"] = self.code(segment, 5, 2)
        row["sender"] = segment.code(6)
        row["receiver_qualifier"] = self.code(segment, 7, 2)
        row["receiver"] = segment.code(8)
        row["date"] = self.date(segment, 9)
        row["version"] = self.code(segment, 12, 8)
        row["control_number"] = segment.text(13)
        row["usage"] = self.code(segment, 15, 2)

    def open_bare(self) -> None:
        self.delimiters = bare_delimiters(self.data, self.place)
        self.component_guessed = True
        self.interchange = self.add_interchange(self.place, False)
        self.last_end = self.place
        self.tables.find(FindingCode.X12_NO_ISA, self.place)

    def on_iea(self, segment: Segment) -> None:
        self.end_group(None)
        row = self.interchange
        assert row is not None
        if not row["enveloped"]:
            self.tables.find(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
            self.last_end = segment.end
            self.end_interchange(None)
            return
        row["valid"] = self.check_count(segment, row["group_count"], FindingCode.X12_IEA_COUNT) & self.check_control(
            segment, row["control_number"], FindingCode.X12_IEA_CONTROL_NUMBER
        )
        self.last_end = segment.end
        self.close_interchange(segment.end)

    def end_interchange(self, end: int | None) -> None:
        """Close an interchange that has no IEA."""
        self.end_junk(self.place)
        self.end_group(None)
        if self.interchange is None:
            return
        if self.interchange["enveloped"]:
            self.tables.find(FindingCode.X12_IEA_MISSING, self.last_end)
        self.close_interchange(self.last_end if end is None else end)

    def close_interchange(self, end: int) -> None:
        assert self.interchange is not None
        self.interchange["file_end"] = end
        self.interchange["closed"] = True
        self.interchange = None

    # groups

    def on_gs(self, segment: Segment) -> None:
        self.end_group(None)
        self.add_group(segment.offset, True)
        row = self.group
        assert row is not None
        row["gs"] = values.unwrapped(self.data[segment.offset : segment.end])
        row["functional_id"] = self.code(segment, 1, 2)
        row["sender"], row["receiver"] = segment.text(2), segment.text(3)
        row["date"] = self.date(segment, 4)
        row["control_number"], row["version"] = segment.text(6), segment.text(8)
        assert self.interchange is not None
        self.interchange["group_count"] += 1

    def add_group(self, offset: int, enveloped: bool) -> None:
        number = len(self.tables["groups"])
        self.tables.add(
            "groups", interchange=len(self.tables["interchanges"]) - 1, file_offset=offset, ordinal=number,
            enveloped=enveloped, closed=False, valid=not enveloped,
        )  # fmt: skip
        self.group = self.tables["groups"][number]
        self.last_control = None

    def on_ge(self, segment: Segment) -> None:
        self.end_transaction(None)
        if self.group is None or not self.group["enveloped"]:
            self.tables.find(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
            return
        row = self.group
        row["valid"] = self.check_count(
            segment, row["transaction_count"], FindingCode.X12_GE_COUNT
        ) & self.check_control(segment, row["control_number"], FindingCode.X12_GE_CONTROL_NUMBER)
        row["closed"] = True
        self.group = None

    def end_group(self, _: None) -> None:
        self.end_transaction(None)
        if self.group is None:
            return
        if self.group["enveloped"]:
            self.tables.find(FindingCode.X12_GE_MISSING, self.last_end)
        self.group["closed"] = True
        self.group = None

    # transactions

    def on_st(self, segment: Segment) -> None:
        self.end_transaction(None)
        if self.group is None:
            self.tables.find(FindingCode.X12_NO_GS, segment.offset)
            self.add_group(segment.offset, False)
        assert self.group is not None
        assert self.interchange is not None
        self.group["transaction_count"] += 1
        self.interchange["transaction_count"] += 1
        self.ordinal = 1
        self.control = segment.text(2)
        place = {
            "offset": segment.offset,
            "end": segment.end,
            "interchange": len(self.tables["interchanges"]) - 1,
            "group": len(self.tables["groups"]) - 1,
        }
        repeated = self.last_control is not None and self.last_control == self.control
        self.last_control = self.control
        if segment.code(1) != b"835":
            self.open_skipped(segment, place)
        else:
            self.open_835(segment, place)
        if repeated:
            row = len(self.tables["transactions"]) - 1 if self.body is not None else -1
            ordinal = 1 if self.body is not None else 0
            self.tables.find(
                FindingCode.X12_ST_DUPLICATE, segment.place(2), ordinal=ordinal, transaction=row
            )

    def open_skipped(self, segment: Segment, place: dict[str, int]) -> None:
        self.detail = False
        self.body = None
        row = self.tables.add("skipped", **place, set_id=self.code(segment, 1, 4))
        self.transaction = self.tables["skipped"][row]

    def open_835(self, segment: Segment, place: dict[str, int]) -> None:
        number = len(self.tables["transactions"])
        self.tables.add(
            "transactions", **place, ordinal=number, control_number=segment.text(2), implementation=segment.text(3),
            balanced=False, valid=False,
        )  # fmt: skip
        self.transaction = self.tables["transactions"][number]
        children_start(
            self.transaction, self.tables, ("claim", "service", "adjustment", "provider_adjustment")
        )
        assert self.group is not None
        version = self.group["version"] or segment.text(3)
        self.body = Body(self.tables, number, self.delimiters.component, version)
        if not segment.code(2):
            self.body.find(FindingCode.X12_ELEMENT_MISSING, segment.place(2))

    def on_se(self, segment: Segment) -> None:
        if self.transaction is None:
            self.tables.find(FindingCode.X12_TRAILER_UNEXPECTED, segment.offset)
            return
        self.ordinal += 1
        if self.body is not None:
            self.body.ordinal = self.ordinal
            row = self.body.transaction
            self.check_count(segment, self.ordinal, FindingCode.X12_SE_COUNT, row)
            self.check_control(segment, self.control, FindingCode.X12_SE_CONTROL_NUMBER, row)
        self.close_transaction(segment.end)

    def end_transaction(self, _: None) -> None:
        """Close a transaction that has no SE."""
        if self.transaction is None:
            return
        if self.body is not None:
            self.tables.find(
                FindingCode.X12_SE_MISSING, self.last_end, ordinal=self.ordinal, transaction=self.body.transaction
            )
        self.close_transaction(self.last_end)

    def close_transaction(self, end: int) -> None:
        assert self.transaction is not None
        if self.body is not None:
            self.body.finish(end, self.ordinal)
        else:
            self.transaction["end"], self.transaction["segment_count"] = end, self.ordinal
        self.transaction = self.body = None

    # elements of the envelope

    def code(self, segment: Segment, number: int, width: int) -> bytes:
        value = segment.code(number)
        if len(value) > width:
            self.tables.find(FindingCode.X12_CODE_TOO_LONG, segment.place(number))
        return value[:width]

    def date(self, segment: Segment, number: int) -> int:
        days, code = values.date_days(segment.code(number), short=True)
        if code is not None:
            self.tables.find(code, segment.place(number))
        return days

    def check_count(self, segment: Segment, counted: int, code: FindingCode, transaction: int = -1) -> bool:
        declared = values.count(segment.code(1))
        if declared == counted:
            return True
        wrong = FindingCode.X12_COUNT_BAD if declared is None else code
        self.found(wrong, segment, 1, transaction)
        return False

    def check_control(self, segment: Segment, expected: bytes, code: FindingCode, transaction: int = -1) -> bool:
        if segment.code(2) == expected.rstrip(b" "):
            return True
        self.found(code, segment, 2, transaction)
        return False

    def found(self, code: FindingCode, segment: Segment, number: int, transaction: int) -> None:
        ordinal = self.ordinal if transaction >= 0 else 0
        self.tables.find(code, segment.place(number), ordinal=ordinal, transaction=transaction)
