"""Plain twin of the tables: rows as dictionaries, with the columns that `_tables_835.h` declares.

Slow and obvious on purpose. Tests hold the compiled scanner against it; production never calls it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from reassoc.core.columns import DATE_NONE
from reassoc.core.errors import FindingCode

Row = dict[str, Any]


class Level(IntEnum):
    """What a REF, DTM, AMT, N1, ... hangs on."""

    TRANSACTION = 0
    PAYER = 1
    PAYEE = 2
    HEADER = 3
    CLAIM = 4
    SERVICE = 5


_NAMES = (
    "interchanges groups transactions skipped claims services adjustments provider_adjustments "
    "references dates amounts quantities remarks entities addresses contacts deliveries headers "
    "summaries findings"
)
NAMES = tuple(_NAMES.split())

_TEXTS = {
    "interchanges": "isa sender_qualifier sender receiver_qualifier receiver version "
    "control_number usage",
    "groups": "gs functional_id sender receiver control_number version",
    "transactions": "control_number implementation handling credit_debit payment_method "
    "payment_format payer_bank_qualifier payer_bank payer_account_qualifier payer_account "
    "originator originator_supplement payee_bank_qualifier payee_bank payee_account_qualifier "
    "payee_account trace payer_id trace_supplement currency receiver_id payer_name "
    "payer_entity_qualifier payer_entity_id payee_name payee_entity_qualifier payee_entity_id "
    "payee_tin",
    "skipped": "set_id trace payer_id",
    "services": "line_control_number",
    "entities": "kind name first_name middle_name suffix id_qualifier id",
    "addresses": "line_1 line_2 city state postal_code country",
}
_DATES = {
    "interchanges": "date",
    "groups": "date",
    "transactions": "effective_date production_date",
}
_NUMBERS = {
    "interchanges": "repetition_separator group_count transaction_count",
    "groups": "transaction_count",
    "transactions": "range segment_count paid_cents claim_paid_cents provider_adjustment_cents",
    "skipped": "range",
    "findings": "range",
}


class Tables(dict[str, list[Row]]):
    """Every table by name, and the finding that is written to most often."""

    def __init__(self) -> None:
        super().__init__((name, []) for name in NAMES)

    def add(self, table: str, **values: Any) -> int:
        """Append a row and return its number; columns not given are empty, 0 or no date."""
        row: Row = dict.fromkeys(_TEXTS.get(table, "").split(), b"")
        row.update(dict.fromkeys(_DATES.get(table, "").split(), DATE_NONE))
        row.update(dict.fromkeys(_NUMBERS.get(table, "").split(), 0))
        row.update(values)
        self[table].append(row)
        return len(self[table]) - 1

    def find(
        self,
        code: FindingCode,
        offset: int,
        *,
        ordinal: int = 0,
        transaction: int = -1,
        claim: int = -1,
        current: int = -1,
    ) -> None:
        """Append a finding at a byte of the file; `current` is the open interchange."""
        self.add(
            "findings",
            code=int(code),
            file_offset=offset,
            segment_ordinal=ordinal,
            transaction=transaction,
            claim=claim,
            interchange=current,
        )

    def leave_out(self, findings_max: int, more: FindingCode) -> None:
        """Only so many findings, and one more for those behind them."""
        findings = self["findings"]
        rest = findings[findings_max:]
        if rest:
            del findings[findings_max:]
            self.find(more, rest[0]["file_offset"])


def children_start(row: Row, tables: Tables, names: tuple[str, ...]) -> None:
    """Set where the row's child ranges begin."""
    for name in names:
        row[f"{name}_start"] = len(tables[f"{name}s"])


def children_stop(row: Row, tables: Tables, names: tuple[str, ...]) -> None:
    """Set where the row's child ranges end."""
    for name in names:
        row[f"{name}_stop"] = len(tables[f"{name}s"])
