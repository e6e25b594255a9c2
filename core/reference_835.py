"""Plain twin of the 835 itself: the segments between ST and SE into rows.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
Sources of the fields: 005010X221A1 and 004010X091A1, as `_tables_835.h` lists them.
"""

from __future__ import annotations

from typing import Any

from reassoc.core import reference_values as values
from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode, Severity, severity
from reassoc.core.reference_envelope import Segment
from reassoc.core.reference_tables import LEVEL, Row, Tables, children_start, children_stop

_HEADER_SECTION = frozenset({LEVEL.TRANSACTION, LEVEL.PAYER, LEVEL.PAYEE})
_PLB = 6
"""After the first PLB; rows are the transaction's, but only PLB may follow."""

_ALLOWED = {
    LEVEL.TRANSACTION: b"BPR TRN CUR REF DTM N1 LX CLP PLB",
    LEVEL.PAYER: b"N1 N3 N4 REF PER LX CLP PLB",
    LEVEL.PAYEE: b"N1 N3 N4 REF RDM LX CLP PLB",
    LEVEL.HEADER: b"TS3 TS2 LX CLP PLB",
    LEVEL.CLAIM: b"CAS NM1 MIA MOA REF DTM PER AMT QTY SVC LX CLP PLB",
    LEVEL.SERVICE: b"DTM CAS REF AMT QTY LQ SVC LX CLP PLB",
    _PLB: b"PLB",
}
_PLACES = {level: frozenset(names.split()) for level, names in _ALLOWED.items()}
KNOWN = frozenset().union(*_PLACES.values())

_MIA_AMOUNTS = frozenset({2, 4, *range(6, 15), *range(16, 20), 24})
_MOA_AMOUNTS = frozenset({2, 8, 9})
_TS3_AMOUNTS = frozenset({*range(5, 23), 24})
_TS2_AMOUNTS = frozenset({*range(1, 7), 8, 9, 15, 17, 18, 19})
SUMMARY_AMOUNTS = {b"MIA": _MIA_AMOUNTS, b"MOA": _MOA_AMOUNTS, b"TS3": _TS3_AMOUNTS, b"TS2": _TS2_AMOUNTS}
_REMARK_ELEMENTS = {b"MIA": (5, 20, 21, 22, 23), b"MOA": (3, 4, 5, 6, 7)}

_CAS_GROUPS = frozenset({b"CO", b"OA", b"PI", b"PR"})
_INT64 = range(-(2**63), 2**63)


class Sum:
    """A sum of amounts that remembers whether all of them could be read and whether it stayed within int64."""

    def __init__(self) -> None:
        self.cents = 0
        self.readable = True
        self.overflow = False

    def add(self, cents: int, readable: bool) -> None:
        self.readable &= readable
        self.cents += cents
        if self.cents not in _INT64:
            self.overflow = True
            self.cents = 0


class Body:
    """Reads one 835: `segment` for every segment behind ST, then `finish`."""

    def __init__(self, tables: Tables, transaction: int, component: int, version: bytes) -> None:
        self.tables = tables
        self.row = tables["transactions"][transaction]
        self.transaction = transaction
        self.component = bytes([component])
        self.version = version
        self.ordinal = 1
        self.level = LEVEL.TRANSACTION
        self.after_plb = False
        self.seen: set[bytes] = set()
        self.at = self.row["offset"]
        self.end = self.row["end"]
        self.claim = -1
        self.service = -1
        self.header = -1
        self.paid_readable = False
        self.claim_paid = Sum()
        self.provider = Sum()
        self.claim_sums = (Sum(), Sum(), Sum())
        self.service_sums = (Sum(), Sum())
        self.claim_place = (0, 0)
        self.service_place = (0, 0)
        self.last_address: tuple[int, int] | None = None

    # places and findings

    def find(self, code: FindingCode, offset: int, ordinal: int | None = None) -> None:
        self.tables.find(
            code,
            offset,
            ordinal=self.ordinal if ordinal is None else ordinal,
            transaction=self.transaction,
            claim=self.claim,
        )

    def owner(self) -> dict[str, int]:
        owners = {LEVEL.HEADER: self.header, LEVEL.CLAIM: self.claim, LEVEL.SERVICE: self.service}
        return {"level": int(self.level), "owner": owners.get(self.level, self.transaction)}

    def code(self, segment: Segment, number: int, width: int) -> bytes:
        value = segment.code(number)
        if len(value) > width:
            self.find(FindingCode.X12_CODE_TOO_LONG, segment.place(number))
        return value[:width]

    def required(self, segment: Segment, *numbers: int) -> None:
        for number in numbers:
            if not segment.code(number):
                self.find(FindingCode.X12_ELEMENT_MISSING, segment.place(number))

    def amount(self, segment: Segment, number: int, *, optional: bool = False) -> tuple[int, bool]:
        """(cents, readable); what cannot be read is 0 and a finding."""
        cents, code = values.amount_cents(segment.text(number))
        if code is FindingCode.X12_AMOUNT_EMPTY and optional:
            return 0, True
        if code is not None:
            self.find(code, segment.place(number))
        return cents, code is None

    def quantity(self, segment: Segment, number: int, absent: int = 0) -> int:
        value = segment.text(number)
        quantity, code = values.quantity_e4(value)
        if code is not None:
            self.find(code, segment.place(number))
        return quantity if value else absent

    def date(self, segment: Segment, number: int) -> int:
        days, code = values.date_days(segment.code(number))
        if code is not None:
            self.find(code, segment.place(number))
        return days

    # dispatch

    def segment(self, segment: Segment) -> None:
        self.ordinal += 1
        self.at = segment.offset
        name = segment.name
        if name not in KNOWN:
            self.find(FindingCode.X12_UNKNOWN_SEGMENT, segment.offset)
        else:
            place = _PLB if self.after_plb else self.level
            if name in (b"LX", b"CLP", b"SVC", b"PLB"):
                self.close_before(name)
            if name not in _PLACES[place]:
                self.find(FindingCode.X12_MISPLACED_SEGMENT, segment.offset)
            getattr(self, "on_" + name.decode().lower())(segment)
        self.end = segment.end
        self.seen.add(name)

    def close_before(self, name: bytes) -> None:
        self.close_service()
        if name != b"SVC":
            self.close_claim()

    # the transaction's own segments

    def on_bpr(self, segment: Segment) -> None:
        if b"BPR" in self.seen:
            self.find(FindingCode.X12_BPR_DUPLICATE, segment.offset)
            return
        row = self.row
        self.required(segment, 1, 4)
        row["handling"] = self.code(segment, 1, 2)
        row["paid_cents"], self.paid_readable = self.amount(segment, 2)
        row["credit_debit"] = self.code(segment, 3, 2)
        row["payment_method"] = self.code(segment, 4, 4)
        row["payment_format"] = self.code(segment, 5, 4)
        row["payer_bank_qualifier"] = self.code(segment, 6, 2)
        row["payer_bank"] = segment.text(7)
        row["payer_account_qualifier"] = self.code(segment, 8, 2)
        row["payer_account"] = segment.text(9)
        row["originator"] = segment.text(10)
        row["originator_supplement"] = segment.text(11)
        row["payee_bank_qualifier"] = self.code(segment, 12, 2)
        row["payee_bank"] = segment.text(13)
        row["payee_account_qualifier"] = self.code(segment, 14, 2)
        row["payee_account"] = segment.text(15)
        row["effective_date"] = self.date(segment, 16)
        if row["paid_cents"] < 0:
            self.find(FindingCode.X12_BPR_NEGATIVE, segment.place(2))
        if row["credit_debit"] != b"C":
            self.find(FindingCode.X12_BPR_DEBIT, segment.place(3))
        unpaid = {row["handling"] == b"H", row["payment_method"] == b"NON", row["paid_cents"] == 0}
        if self.paid_readable and len(unpaid) == 2:
            self.find(FindingCode.X12_NON_PAYMENT_MISMATCH, segment.offset)

    def on_trn(self, segment: Segment) -> None:
        if self.level not in _HEADER_SECTION or self.after_plb:
            return
        if b"TRN" in self.seen:
            self.find(FindingCode.X12_TRN_DUPLICATE, segment.offset)
            return
        self.required(segment, 2, 3)
        self.row["trace"] = segment.text(2)
        self.row["payer_id"] = segment.text(3)
        self.row["trace_supplement"] = segment.text(4)
        originator, payer = segment_text(self.row["originator"]), segment.code(3)
        if originator and payer and originator != payer:
            self.find(FindingCode.X12_BPR_PAYER_DIFFERS, segment.place(3))

    def on_cur(self, segment: Segment) -> None:
        currency = self.code(segment, 2, 4)
        if not self.row["currency"]:
            self.row["currency"] = currency
        if currency and currency != b"USD":
            self.find(FindingCode.X12_CURRENCY, segment.place(2))

    def on_ref(self, segment: Segment) -> None:
        qualifier, value = self.code(segment, 1, 4), segment.text(2)
        self.tables.add("references", **self.owner(), qualifier=qualifier, value=value)
        if self.level is LEVEL.TRANSACTION and not self.after_plb:
            if qualifier == b"EV" and not self.row["receiver_id"]:
                self.row["receiver_id"] = value
        elif self.level is LEVEL.PAYEE:
            if qualifier == b"TJ" and value:
                self.row["payee_tin"] = value
        elif self.level is LEVEL.SERVICE and qualifier == b"6R":
            row = self.tables["services"][self.service]
            row["line_control_number"] = row["line_control_number"] or value

    def on_dtm(self, segment: Segment) -> None:
        qualifier, days = self.code(segment, 1, 4), self.date(segment, 2)
        self.tables.add("dates", **self.owner(), qualifier=qualifier, date=days)
        if self.level in _HEADER_SECTION and not self.after_plb:
            if qualifier == b"405" and self.row["production_date"] == DATE_NONE:
                self.row["production_date"] = days
        elif self.level is LEVEL.SERVICE:
            row = self.tables["services"][self.service]
            if row["_dates"].get(qualifier, DATE_NONE) == DATE_NONE:
                row["_dates"][qualifier] = days

    def on_n1(self, segment: Segment) -> None:
        entity = self.code(segment, 1, 4)
        header = self.level in _HEADER_SECTION and not self.after_plb
        if header:
            self.level = {b"PR": LEVEL.PAYER, b"PE": LEVEL.PAYEE}.get(entity, LEVEL.TRANSACTION)
        qualifier = self.code(segment, 3, 2)
        name, number = segment.text(2), segment.text(4)
        self.tables.add(
            "entities", **self.owner(), offset=segment.offset, entity=entity, kind=b"", name=name, first_name=b"",
            middle_name=b"", suffix=b"", id_qualifier=qualifier, id=number,
        )  # fmt: skip
        who = {LEVEL.PAYER: "payer", LEVEL.PAYEE: "payee"}.get(self.level)
        mark = b"N1*" + entity
        if header and who is not None and mark not in self.seen:
            self.seen.add(mark)
            self.row[f"{who}_name"] = name
            self.row[f"{who}_entity_qualifier"] = qualifier
            self.row[f"{who}_entity_id"] = number

    def on_n3(self, segment: Segment) -> None:
        row = self.tables.add(
            "addresses", **self.owner(), line_1=segment.text(1), line_2=segment.text(2), city=b"", state=b"",
            postal_code=b"", country=b"",
        )  # fmt: skip
        self.last_address = (row, self.ordinal)

    def on_n4(self, segment: Segment) -> None:
        if self.last_address is not None and self.last_address[1] == self.ordinal - 1:
            row = self.tables["addresses"][self.last_address[0]]
        else:
            row = self.tables["addresses"][
                self.tables.add("addresses", **self.owner(), line_1=b"", line_2=b"")
            ]
        row["city"], row["state"] = segment.text(1), self.code(segment, 2, 2)
        row["postal_code"], row["country"] = segment.text(3), self.code(segment, 4, 4)

    def on_per(self, segment: Segment) -> None:
        row: Row = {"function": self.code(segment, 1, 2), "name": segment.text(2)}
        for number in (1, 2, 3):
            row[f"qualifier_{number}"] = self.code(segment, 1 + 2 * number, 2)
            row[f"number_{number}"] = segment.text(2 + 2 * number)
        self.tables.add("contacts", **self.owner(), **row)

    def on_rdm(self, segment: Segment) -> None:
        self.tables.add(
            "deliveries", transaction=self.transaction, method=self.code(segment, 1, 2), name=segment.text(2),
            number=segment.text(3),
        )  # fmt: skip

    def on_lx(self, segment: Segment) -> None:
        self.level = LEVEL.HEADER
        self.header = self.tables.add(
            "headers", transaction=self.transaction, offset=segment.offset, number=segment.text(1),
            claim_start=len(self.tables["claims"]),
        )  # fmt: skip

    def on_ts3(self, segment: Segment) -> None:
        self.summary(segment)

    def on_ts2(self, segment: Segment) -> None:
        self.summary(segment)

    def summary(self, segment: Segment) -> None:
        name = segment.name
        for number in range(1, min(len(segment.elements), 256)):
            value = segment.text(number)
            if value:
                cents = 0
                if number in SUMMARY_AMOUNTS[name]:
                    cents, _ = self.amount(segment, number)
                self.tables.add(
                    "summaries", **self.owner(), segment=name, element=number, value=value, amount_cents=cents
                )

    def on_plb(self, segment: Segment) -> None:
        self.level = LEVEL.TRANSACTION
        self.after_plb = True
        period = self.date(segment, 2)
        for number in range(3, 14, 2):
            composite = segment.text(number)
            if not composite and not segment.text(number + 1):
                continue
            reason, _, reference = composite.partition(self.component)
            cents, readable = self.amount(segment, number + 1)
            self.provider.add(cents, readable)
            self.tables.add(
                "provider_adjustments", transaction=self.transaction, offset=segment.offset,
                provider_id=segment.text(1), fiscal_period_end=period,
                reason_code=self.part(segment, number, reason, 2), reference=reference, amount_cents=cents,
            )  # fmt: skip

    def part(self, segment: Segment, number: int, value: bytes, width: int) -> bytes:
        value = value.rstrip(b" ")
        if len(value) > width:
            self.find(FindingCode.X12_CODE_TOO_LONG, segment.place(number))
        return value[:width]

    # claims and services

    def on_clp(self, segment: Segment) -> None:
        self.level = LEVEL.CLAIM
        self.claim = self.tables.add("claims", transaction=self.transaction, offset=segment.offset)
        row = self.tables["claims"][self.claim]
        self.claim_place = (segment.offset, self.ordinal)
        self.required(segment, 1, 2)
        row["patient_control_number"] = segment.text(1)
        row["status"] = self.code(segment, 2, 2)
        row["charge_cents"], charge_readable = self.amount(segment, 3)
        row["paid_cents"], paid_readable = self.amount(segment, 4)
        row["patient_responsibility_cents"], _ = self.amount(segment, 5, optional=True)
        row["filing_indicator"] = self.code(segment, 6, 2)
        row["payer_claim_number"] = segment.text(7)
        row["facility_type"] = self.code(segment, 8, 2)
        row["frequency"] = self.code(segment, 9, 2)
        row["drg"] = self.code(segment, 11, 4)
        row["drg_weight_e4"] = self.quantity(segment, 12)
        row["discharge_fraction_e4"] = self.quantity(segment, 13)
        self.claim_paid.add(row["paid_cents"], paid_readable)
        left, adjustments, charges = self.claim_sums = (Sum(), Sum(), Sum())
        left.add(row["charge_cents"], charge_readable)
        left.add(-row["paid_cents"], paid_readable)
        adjustments.readable = charges.readable = charge_readable
        children_start(row, self.tables, ("service", "adjustment"))

    def close_claim(self) -> None:
        if self.level not in (LEVEL.CLAIM, LEVEL.SERVICE) or self.claim < 0:
            return
        row = self.tables["claims"][self.claim]
        left, adjustments, charges = self.claim_sums
        children_stop(row, self.tables, ("service", "adjustment"))
        row["end"] = self.end
        row["adjustment_cents"] = adjustments.cents
        offset, ordinal = self.claim_place
        balanced = left.readable and adjustments.readable
        if balanced and left.cents != adjustments.cents:
            self.find(FindingCode.X12_CLAIM_UNBALANCED, offset, ordinal)
            balanced = False
        if row["service_start"] != row["service_stop"]:
            balanced &= charges.readable
            if charges.readable and charges.cents != row["charge_cents"]:
                self.find(FindingCode.X12_CLAIM_CHARGE_DIFFERS, offset, ordinal)
                balanced = False
        for total in self.claim_sums:
            if total.overflow:
                self.find(FindingCode.X12_SUM_OVERFLOW, offset, ordinal)
        row["balanced"] = balanced
        self.claim = -1

    def on_svc(self, segment: Segment) -> None:
        self.level = LEVEL.SERVICE
        self.service = self.tables.add("services", claim=self.claim, offset=segment.offset)
        row = self.tables["services"][self.service]
        self.service_place = (segment.offset, self.ordinal)
        qualifier, _, procedure = segment.text(1).partition(self.component)
        self.required(segment, 1)
        row["procedure_qualifier"] = self.part(segment, 1, qualifier, 2)
        row["procedure"] = procedure
        row["charge_cents"], charge_readable = self.amount(segment, 2)
        row["paid_cents"], paid_readable = self.amount(segment, 3)
        row["revenue_code"] = self.code(segment, 4, 8)
        row["paid_units_e4"] = self.quantity(segment, 5, 10000)
        row["submitted_procedure"] = segment.text(6)
        row["original_units_e4"] = self.quantity(segment, 7, row["paid_units_e4"])
        row["_dates"] = {}
        self.claim_sums[2].add(row["charge_cents"], charge_readable)
        left, _ = self.service_sums = (Sum(), Sum())
        left.add(row["charge_cents"], charge_readable)
        left.add(-row["paid_cents"], paid_readable)
        children_start(row, self.tables, ("adjustment",))

    def close_service(self) -> None:
        if self.level is not LEVEL.SERVICE:
            return
        row = self.tables["services"][self.service]
        left, adjustments = self.service_sums
        children_stop(row, self.tables, ("adjustment",))
        row["end"] = self.end
        dates = row.pop("_dates")
        for name, qualifiers in (("service_date", (b"472", b"150")), ("service_end_date", (b"151", b"472", b"150"))):
            known = [dates[q] for q in qualifiers if dates.get(q, DATE_NONE) != DATE_NONE]
            row[name] = known[0] if known else DATE_NONE
        row["balanced"] = left.readable and adjustments.readable and left.cents == adjustments.cents
        if left.readable and adjustments.readable and not row["balanced"]:
            self.find(FindingCode.X12_LINE_UNBALANCED, *self.service_place)
        self.service = -1
        self.level = LEVEL.CLAIM

    def on_cas(self, segment: Segment) -> None:
        group = self.code(segment, 1, 2)
        if group not in _CAS_GROUPS and not (group == b"CR" and self.version.startswith(b"004")):
            self.find(FindingCode.X12_CAS_GROUP, segment.place(1))
        claim = self.claim if self.level in (LEVEL.CLAIM, LEVEL.SERVICE) else -1
        for number in range(2, 18, 3):
            if not segment.text(number) and not segment.text(number + 1):
                continue
            self.required(segment, number)
            cents, readable = self.amount(segment, number + 1)
            reason = self.code(segment, number, 8)
            quantity = self.quantity(segment, number + 2)
            service = self.service if self.level is LEVEL.SERVICE else -1
            self.tables.add(
                "adjustments", claim=claim, service=service, group_code=group, reason_code=reason, amount_cents=cents,
                quantity_e4=quantity,
            )  # fmt: skip
            if claim >= 0:
                self.claim_sums[1].add(cents, readable)
            if service >= 0:
                self.service_sums[1].add(cents, readable)

    def on_nm1(self, segment: Segment) -> None:
        self.tables.add(
            "entities", **self.owner(), offset=segment.offset, entity=self.code(segment, 1, 4),
            kind=self.code(segment, 2, 2), name=segment.text(3), first_name=segment.text(4),
            middle_name=segment.text(5), suffix=segment.text(7), id_qualifier=self.code(segment, 8, 2),
            id=segment.text(9),
        )  # fmt: skip

    def on_mia(self, segment: Segment) -> None:
        self.summary(segment)
        self.remarks(segment)

    def on_moa(self, segment: Segment) -> None:
        self.summary(segment)
        self.remarks(segment)

    def remarks(self, segment: Segment) -> None:
        for number in _REMARK_ELEMENTS[segment.name]:
            if segment.code(number):
                code = self.code(segment, number, 8)
                self.tables.add(
                    "remarks", **self.owner(), source=segment.name, qualifier=b"HE", remark_code=code
                )

    def on_lq(self, segment: Segment) -> None:
        qualifier, code = self.code(segment, 1, 4), self.code(segment, 2, 8)
        self.tables.add("remarks", **self.owner(), source=b"LQ", qualifier=qualifier, remark_code=code)

    def on_amt(self, segment: Segment) -> None:
        qualifier = self.code(segment, 1, 4)
        cents, _ = self.amount(segment, 2, optional=True)
        self.tables.add("amounts", **self.owner(), qualifier=qualifier, amount_cents=cents)

    def on_qty(self, segment: Segment) -> None:
        qualifier = self.code(segment, 1, 4)
        self.tables.add("quantities", **self.owner(), qualifier=qualifier, quantity_e4=self.quantity(segment, 2))

    # the end

    def finish(self, end: int, segment_count: int) -> None:
        """Close what is open and strike the balance; SE's own findings are the caller's."""
        self.close_service()
        self.close_claim()
        self.claim = -1
        row = self.row
        row["end"], row["segment_count"] = end, segment_count
        if not row["payee_tin"] and row["payee_entity_qualifier"] == b"FI":
            row["payee_tin"] = row["payee_entity_id"]
        for name, code in ((b"BPR", FindingCode.X12_BPR_MISSING), (b"TRN", FindingCode.X12_TRN_MISSING)):
            if name not in self.seen:
                self.find(code, row["offset"], 1)
        row["claim_paid_cents"] = self.claim_paid.cents
        row["provider_adjustment_cents"] = self.provider.cents
        readable = self.paid_readable and self.claim_paid.readable and self.provider.readable
        total = self.claim_paid.cents - self.provider.cents
        row["balanced"] = readable and row["paid_cents"] == total
        if readable and not row["balanced"]:
            self.find(FindingCode.X12_TRANSACTION_UNBALANCED, row["offset"], 1)
        children_stop(row, self.tables, ("claim", "service", "adjustment", "provider_adjustment"))
        row["valid"] = not any(
            finding["transaction"] == self.transaction and severity(FindingCode(finding["code"])) is Severity.ERROR
            for finding in self.tables["findings"]
        )


def segment_text(value: Any) -> bytes:
    """A text value as it is compared with another element: without trailing blanks."""
    return bytes(value).rstrip(b" ")
