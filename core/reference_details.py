"""Plain twin of the 835's details: the segments that hang on whatever loop is open.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
"""

from __future__ import annotations

from reassoc.core import reference_values as values
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode
from reassoc.core.reference_envelope import Segment
from reassoc.core.reference_tables import Level, Row, Tables

_SUMMARY_AMOUNTS = {
    b"MIA": frozenset({2, 4, *range(6, 15), *range(16, 20), 24}),
    b"MOA": frozenset({2, 8, 9}),
    b"TS3": frozenset({*range(5, 23), 24}),
    b"TS2": frozenset({*range(1, 7), 8, 9, 15, 17, 18, 19}),
}
"""Elements that the guide makes amounts (data element 782)."""
_REMARK_ELEMENTS = {b"MIA": (5, 20, 21, 22, 23), b"MOA": (3, 4, 5, 6, 7)}
_ELEMENT_MAX = 255


class Details:
    """The state of one 835 while it is read, and the segments that are rows and little else."""

    def __init__(self, tables: Tables, transaction: int, component: int, interchange: int) -> None:
        self.tables = tables
        self.row = tables["transactions"][transaction]
        self.transaction = transaction
        self.interchange = interchange
        self.component = bytes([component])
        self.ordinal = 1
        self.level = Level.TRANSACTION
        self.claim = self.service = self.header = -1
        self.service_dates: dict[bytes, int] = {}
        self.seen: set[bytes] = set()

    # findings and values

    def find(self, code: FindingCode, offset: int, ordinal: int | None = None) -> None:
        self.tables.find(
            code,
            offset,
            ordinal=self.ordinal if ordinal is None else ordinal,
            transaction=self.transaction,
            claim=self.claim,
            current=self.interchange,
        )

    def owner(self) -> dict[str, int]:
        owners = {
            Level.HEADER: self.header,
            Level.CLAIM: self.claim,
            Level.SERVICE: self.service,
        }
        return {"level": int(self.level), "owner": owners.get(self.level, self.transaction)}

    def part(self, segment: Segment, number: int, value: bytes, width: int) -> bytes:
        """A code, cut to the width of its column."""
        if len(value) > width:
            self.find(FindingCode.X12_CODE_TOO_LONG, segment.place(number))
        return value[:width]

    def code(self, segment: Segment, number: int, width: int) -> bytes:
        return self.part(segment, number, segment.text(number), width)

    def required(self, segment: Segment, *numbers: int) -> None:
        for number in numbers:
            if not segment.raw(number):
                self.find(FindingCode.X12_ELEMENT_MISSING, segment.offset)

    def amount(self, segment: Segment, number: int, *, optional: bool = False) -> tuple[int, bool]:
        """(cents, readable); what cannot be read is 0 and a finding."""
        cents, code = values.amount_cents(segment.text(number))
        if code is FindingCode.X12_AMOUNT_EMPTY and optional:
            return 0, True
        if code is not None:
            self.find(code, segment.place(number))
        return cents, code is None

    def quantity(self, segment: Segment, number: int, absent: int = 0) -> int:
        quantity, code = values.quantity_e4(segment.text(number))
        if code is not None:
            self.find(code, segment.place(number))
        return quantity if segment.raw(number) else absent

    def date(self, segment: Segment, number: int) -> int:
        days, code = values.date_days(segment.text(number))
        if code is not None:
            self.find(code, segment.place(number))
        return days

    # segments

    def on_ref(self, segment: Segment) -> None:
        qualifier, value = self.code(segment, 1, 4), segment.text(2)
        self.tables.add("references", **self.owner(), qualifier=qualifier, value=value)
        if self.level is Level.SERVICE:
            if qualifier == b"6R":
                self.tables["services"][self.service]["line_control_number"] = value
        elif self.level is Level.PAYEE:
            if qualifier == b"TJ":
                self.row["payee_tin"] = value
        elif self.level in (Level.TRANSACTION, Level.PAYER) and qualifier == b"EV":
            self.row["receiver_id"] = value

    def on_dtm(self, segment: Segment) -> None:
        qualifier, days = self.code(segment, 1, 4), self.date(segment, 2)
        self.tables.add("dates", **self.owner(), qualifier=qualifier, date=days)
        if self.level is Level.SERVICE:
            self.service_dates[qualifier] = days
        elif self.level <= Level.PAYEE and qualifier == b"405":
            self.row["production_date"] = days

    def settle_service_dates(self) -> None:
        """472 is the date of service; 150 and 151 are the first and the last day of several."""
        row, dates = self.tables["services"][self.service], self.service_dates
        row["service_date"] = dates.get(b"472", dates.get(b"150", DATE_NONE))
        row["service_end_date"] = dates.get(b"151", DATE_NONE)
        if row["service_end_date"] == DATE_NONE:
            row["service_end_date"] = row["service_date"]

    def on_n1(self, segment: Segment) -> None:
        entity, qualifier = self.code(segment, 1, 4), self.code(segment, 3, 2)
        name, number = segment.text(2), segment.text(4)
        who = {b"PR": "payer", b"PE": "payee"}.get(entity)
        if who is not None and self.claim < 0:
            self.level = Level.PAYER if who == "payer" else Level.PAYEE
            if who.encode() not in self.seen:
                self.seen.add(who.encode())
                self.row[f"{who}_name"] = name
                self.row[f"{who}_entity_qualifier"] = qualifier
                self.row[f"{who}_entity_id"] = number
                if who == "payee" and qualifier == b"FI":
                    self.row["payee_tin"] = number
        self.entity(segment, entity, name=name, id_qualifier=qualifier, id=number)

    def on_nm1(self, segment: Segment) -> None:
        self.entity(
            segment,
            self.code(segment, 1, 4),
            kind=self.code(segment, 2, 2),
            name=segment.text(3),
            first_name=segment.text(4),
            middle_name=segment.text(5),
            suffix=segment.text(7),
            id_qualifier=self.code(segment, 8, 2),
            id=segment.text(9),
        )

    def entity(self, segment: Segment, entity: bytes, **columns: bytes) -> None:
        self.tables.add("entities", **self.owner(), offset=segment.offset, entity=entity, **columns)

    def on_n3(self, segment: Segment) -> None:
        self.tables.add("addresses", **self.owner(), line_1=segment.text(1), line_2=segment.text(2))

    def on_n4(self, segment: Segment) -> None:
        """Completes the address before it, where that is of the same owner and has no city yet."""
        addresses = self.tables["addresses"]
        last = addresses[-1] if addresses else {"city": b"?"}
        owner = self.owner()
        if last["city"] or any(last[name] != number for name, number in owner.items()):
            last = addresses[self.tables.add("addresses", **owner)]
        last["city"], last["state"] = segment.text(1), self.code(segment, 2, 2)
        last["postal_code"], last["country"] = segment.text(3), self.code(segment, 4, 4)

    def on_per(self, segment: Segment) -> None:
        row: Row = {"function": self.code(segment, 1, 2), "name": segment.text(2)}
        for number in (1, 2, 3):
            row[f"qualifier_{number}"] = self.code(segment, 1 + 2 * number, 2)
            row[f"number_{number}"] = segment.text(2 + 2 * number)
        self.tables.add("contacts", **self.owner(), **row)

    def on_rdm(self, segment: Segment) -> None:
        self.tables.add(
            "deliveries",
            transaction=self.transaction,
            method=self.code(segment, 1, 2),
            name=segment.text(2),
            number=segment.text(3),
        )

    def on_amt(self, segment: Segment) -> None:
        qualifier = self.code(segment, 1, 4)
        cents, _ = self.amount(segment, 2, optional=True)
        self.tables.add("amounts", **self.owner(), qualifier=qualifier, amount_cents=cents)

    def on_qty(self, segment: Segment) -> None:
        qualifier, quantity = self.code(segment, 1, 4), self.quantity(segment, 2)
        self.tables.add("quantities", **self.owner(), qualifier=qualifier, quantity_e4=quantity)

    def on_lq(self, segment: Segment) -> None:
        self.remark(segment, b"LQ", self.code(segment, 1, 4), 2)

    def on_mia(self, segment: Segment) -> None:
        self.summary(segment)

    def on_moa(self, segment: Segment) -> None:
        self.summary(segment)

    def on_ts3(self, segment: Segment) -> None:
        self.summary(segment)

    def on_ts2(self, segment: Segment) -> None:
        self.summary(segment)

    def summary(self, segment: Segment) -> None:
        """One row for each element that holds something; its remark codes are remarks too."""
        name = segment.name
        for number in range(1, min(len(segment.elements), _ELEMENT_MAX + 1)):
            if segment.raw(number):
                cents = 0
                if number in _SUMMARY_AMOUNTS[name]:
                    cents, _ = self.amount(segment, number, optional=True)
                self.tables.add(
                    "summaries",
                    **self.owner(),
                    segment=name,
                    element=number,
                    value=segment.text(number),
                    amount_cents=cents,
                )
        for number in _REMARK_ELEMENTS.get(name, ()):
            self.remark(segment, name, b"HE", number)

    def remark(self, segment: Segment, source: bytes, qualifier: bytes, number: int) -> None:
        if segment.raw(number):
            self.tables.add(
                "remarks",
                **self.owner(),
                source=source,
                qualifier=qualifier,
                remark_code=self.code(segment, number, 8),
            )
