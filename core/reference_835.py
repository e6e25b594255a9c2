"""Plain twin of the 835 itself: its payment, claims, services and adjustments, and their balances.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
Sources of the fields: 005010X221A1 and 004010X091A1, as `_tables_835.h` lists them.
"""

from __future__ import annotations

from reassoc.core.errors import FindingCode, Severity, severity
from reassoc.core.reference_details import Details
from reassoc.core.reference_envelope import Segment
from reassoc.core.reference_tables import Level, Tables, children_start, children_stop

_HEADER = b"BPR TRN CUR REF DTM N1 N3 N4 PER RDM LX TS3 TS2"
_DETAIL = b"CLP CAS NM1 MIA MOA AMT QTY SVC LQ PLB"
KNOWN = frozenset(_HEADER.split() + _DETAIL.split())
_CAS_GROUPS = frozenset({b"CO", b"OA", b"PI", b"PR", b"CR"})
_INT64 = range(-(2**63), 2**63)


class Sum:
    """A sum of amounts that knows whether all could be read; 0 again once it leaves int64."""

    def __init__(self) -> None:
        self.cents = 0
        self.readable = True
        self.overflow = False

    def add(self, cents: int, readable: bool) -> None:
        self.readable &= readable
        self.cents += cents
        if self.cents not in _INT64:
            self.cents, self.overflow = 0, True


class Body(Details):
    """Reads one 835: `segment` for every segment behind ST, then `finish`."""

    def __init__(self, tables: Tables, transaction: int, component: int, interchange: int) -> None:
        super().__init__(tables, transaction, component, interchange)
        self.paid_readable = True
        self.overflow = False
        self.claim_paid, self.provider = Sum(), Sum()
        self.claim_adjustments, self.line_charges, self.line_adjustments = Sum(), Sum(), Sum()
        self.claim_ordinal = self.service_ordinal = 0

    def segment(self, segment: Segment) -> None:
        """Take the next segment of the transaction."""
        self.ordinal += 1
        name = segment.name
        if name not in KNOWN:
            self.find(FindingCode.X12_UNKNOWN_SEGMENT, segment.offset)
            return
        if name == b"SVC":
            self.close_service(segment.offset)
        elif name in (b"LX", b"CLP", b"PLB"):
            self.close_claim(segment.offset)
        getattr(self, "on_" + name.decode().lower())(segment)

    # the payment

    def on_bpr(self, segment: Segment) -> None:
        if self.claim >= 0:
            self.find(FindingCode.X12_MISPLACED_SEGMENT, segment.offset)
        if b"BPR" in self.seen:
            self.find(FindingCode.X12_BPR_DUPLICATE, segment.offset)
            return
        self.seen.add(b"BPR")
        row = self.row
        self.required(segment, 1, 4)
        row["handling"] = self.code(segment, 1, 2)
        row["paid_cents"], self.paid_readable = self.amount(segment, 2)
        row["credit_debit"] = self.code(segment, 3, 2)
        row["payment_method"] = self.code(segment, 4, 4)
        row["payment_format"] = self.code(segment, 5, 4)
        for who, first in (("payer", 6), ("payee", 12)):
            row[f"{who}_bank_qualifier"] = self.code(segment, first, 2)
            row[f"{who}_bank"] = segment.text(first + 1)
            row[f"{who}_account_qualifier"] = self.code(segment, first + 2, 2)
            row[f"{who}_account"] = segment.text(first + 3)
        row["originator"], row["originator_supplement"] = segment.text(10), segment.text(11)
        row["effective_date"] = self.date(segment, 16)
        if row["paid_cents"] < 0:
            self.find(FindingCode.X12_BPR_NEGATIVE, segment.offset)
        if row["credit_debit"] != b"C":
            self.find(FindingCode.X12_BPR_DEBIT, segment.offset)
        notice, no_method = row["handling"] == b"H", row["payment_method"] == b"NON"
        if notice != no_method or (notice and row["paid_cents"] != 0):
            self.find(FindingCode.X12_NON_PAYMENT_MISMATCH, segment.offset)

    def on_trn(self, segment: Segment) -> None:
        if self.claim >= 0:
            self.find(FindingCode.X12_MISPLACED_SEGMENT, segment.offset)
            return
        if b"TRN" in self.seen:
            self.find(FindingCode.X12_TRN_DUPLICATE, segment.offset)
            return
        self.seen.add(b"TRN")
        self.required(segment, 2, 3)
        row = self.row
        row["trace"], row["payer_id"] = segment.text(2), segment.text(3)
        row["trace_supplement"] = segment.text(4)
        if row["originator"] and row["payer_id"] and row["originator"] != row["payer_id"]:
            self.find(FindingCode.X12_BPR_PAYER_DIFFERS, segment.offset)

    def on_cur(self, segment: Segment) -> None:
        self.row["currency"] = currency = self.code(segment, 2, 4)
        if currency not in (b"", b"USD"):
            self.find(FindingCode.X12_CURRENCY, segment.offset)

    def on_lx(self, segment: Segment) -> None:
        self.level = Level.HEADER
        self.header = self.tables.add(
            "headers",
            transaction=self.transaction,
            offset=segment.offset,
            number=segment.text(1),
            claim_start=len(self.tables["claims"]),
        )

    def on_plb(self, segment: Segment) -> None:
        self.level = Level.TRANSACTION
        self.required(segment, 1)
        period = self.date(segment, 2)
        for number in range(3, len(segment.elements), 2):
            if not segment.raw(number) and not segment.raw(number + 1):
                continue
            self.required(segment, number)
            reason, _, reference = segment.text(number).partition(self.component)
            cents, readable = self.amount(segment, number + 1)
            self.provider.add(cents, readable)
            self.tables.add(
                "provider_adjustments",
                transaction=self.transaction,
                offset=segment.offset,
                provider_id=segment.text(1),
                fiscal_period_end=period,
                reason_code=self.part(segment, number, reason, 2),
                reference=reference,
                amount_cents=cents,
            )

    # claims, services, adjustments

    def on_clp(self, segment: Segment) -> None:
        self.level = Level.CLAIM
        self.claim_ordinal = self.ordinal
        self.claim = self.tables.add("claims", transaction=self.transaction, offset=segment.offset)
        row = self.tables["claims"][self.claim]
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
        self.claim_adjustments, self.line_charges = Sum(), Sum()
        self.claim_adjustments.readable = charge_readable and paid_readable
        children_start(row, self.tables, ("service", "adjustment"))

    def close_claim(self, end: int) -> None:
        """Strike the balance of the open claim; its services count with their readability."""
        self.close_service(end)
        if self.claim < 0:
            return
        row, offset = self.tables["claims"][self.claim], self.tables["claims"][self.claim]["offset"]
        children_stop(row, self.tables, ("service", "adjustment"))
        row["end"] = end
        row["adjustment_cents"] = self.claim_adjustments.cents
        left = row["charge_cents"] - self.claim_adjustments.cents
        paid_agrees = self.claim_adjustments.readable and left == row["paid_cents"]
        has_lines = row["service_start"] != row["service_stop"]
        charge_agrees = not has_lines or self.line_charges.cents == row["charge_cents"]
        if not paid_agrees:
            self.find(FindingCode.X12_CLAIM_UNBALANCED, offset, self.claim_ordinal)
        if not charge_agrees:
            self.find(FindingCode.X12_CLAIM_CHARGE_DIFFERS, offset, self.claim_ordinal)
        row["balanced"] = paid_agrees and charge_agrees
        self.overflow |= self.claim_adjustments.overflow or self.line_charges.overflow
        self.claim, self.level = -1, Level.TRANSACTION

    def on_svc(self, segment: Segment) -> None:
        if self.claim < 0:
            self.find(FindingCode.X12_MISPLACED_SEGMENT, segment.offset)
        self.level = Level.SERVICE
        self.service_ordinal = self.ordinal
        self.service = self.tables.add("services", claim=self.claim, offset=segment.offset)
        row = self.tables["services"][self.service]
        qualifier, found, procedure = segment.text(1).partition(self.component)
        if len(qualifier) > 2 and not found:
            qualifier, procedure = b"", qualifier
            self.find(FindingCode.X12_ELEMENT_MISSING, segment.offset)
        row["procedure_qualifier"] = self.part(segment, 1, qualifier, 2)
        row["procedure"] = procedure
        row["charge_cents"], charge_readable = self.amount(segment, 2)
        row["paid_cents"], paid_readable = self.amount(segment, 3)
        row["revenue_code"] = self.code(segment, 4, 8)
        row["paid_units_e4"] = self.quantity(segment, 5, 10000)
        row["submitted_procedure"] = segment.text(6)
        row["original_units_e4"] = self.quantity(segment, 7, row["paid_units_e4"])
        self.service_dates = {}
        self.line_adjustments = Sum()
        self.line_adjustments.readable = charge_readable and paid_readable
        self.line_charges.add(row["charge_cents"], True)
        self.claim_adjustments.readable &= self.line_adjustments.readable
        children_start(row, self.tables, ("adjustment",))

    def close_service(self, end: int) -> None:
        """Strike the balance of the open service."""
        if self.service < 0:
            return
        row = self.tables["services"][self.service]
        children_stop(row, self.tables, ("adjustment",))
        row["end"] = end
        self.settle_service_dates()
        left = row["charge_cents"] - self.line_adjustments.cents
        row["balanced"] = self.line_adjustments.readable and left == row["paid_cents"]
        if not row["balanced"]:
            self.find(FindingCode.X12_LINE_UNBALANCED, row["offset"], self.service_ordinal)
        self.overflow |= self.line_adjustments.overflow
        self.service = -1

    def on_cas(self, segment: Segment) -> None:
        if self.claim < 0:
            self.find(FindingCode.X12_MISPLACED_SEGMENT, segment.offset)
        group = self.code(segment, 1, 2)
        if group not in _CAS_GROUPS:
            self.find(FindingCode.X12_CAS_GROUP, segment.offset)
        for number in range(2, len(segment.elements), 3):
            if not any(segment.raw(number + place) for place in range(3)):
                continue
            self.required(segment, number)
            cents, readable = self.amount(segment, number + 1)
            self.tables.add(
                "adjustments",
                claim=self.claim,
                service=self.service,
                group_code=group,
                reason_code=self.code(segment, number, 8),
                amount_cents=cents,
                quantity_e4=self.quantity(segment, number + 2),
            )
            self.claim_adjustments.add(cents, readable)
            if self.service >= 0:
                self.line_adjustments.add(cents, readable)

    # the end

    def finish(self, body_end: int, end: int, segment_count: int) -> None:
        """Close what is open and strike the balance; what SE itself says is checked before."""
        self.close_claim(body_end)
        row, first = self.row, 1
        row["end"], row["segment_count"] = end, segment_count
        if b"BPR" not in self.seen:
            self.find(FindingCode.X12_BPR_MISSING, row["offset"], first)
        if b"TRN" not in self.seen:
            self.find(FindingCode.X12_TRN_MISSING, row["offset"], first)
        overflow = self.overflow or self.claim_paid.overflow or self.provider.overflow
        if overflow:
            self.find(FindingCode.X12_SUM_OVERFLOW, row["offset"], first)
        row["claim_paid_cents"] = self.claim_paid.cents
        row["provider_adjustment_cents"] = self.provider.cents
        readable = self.paid_readable and self.claim_paid.readable and self.provider.readable
        total = self.claim_paid.cents - self.provider.cents
        row["balanced"] = (
            b"BPR" in self.seen and readable and not overflow and row["paid_cents"] == total
        )
        if not row["balanced"]:
            self.find(FindingCode.X12_TRANSACTION_UNBALANCED, row["offset"], first)
        names = ("claim", "service", "adjustment", "provider_adjustment")
        children_stop(row, self.tables, names)
        row["valid"] = not any(
            finding["transaction"] == self.transaction
            and severity(FindingCode(finding["code"])) is Severity.ERROR
            for finding in self.tables["findings"]
        )
