"""Small pools for tests, made of rows that name only what matters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.pool import ADJUSTMENT, PaymentColumns, RemittanceColumns

DAY = 20528  # 2026-03-16, a Monday

REMITTANCE: Mapping[str, Any] = {
    "id_digest": 1,
    "id_offset": None,
    "trace": "0012345678",
    "payer_id": "1234567890",
    "originator": "",
    "paid_cents": 120000,
    "effective_date": DAY,
    "payment_method": "ACH",
    "handling": "I",
    "currency": "",
    "credit_debit": "C",
    "payee_bank": "021000021",
    "payee_account": "5566778",
    "payee_entity_id": "1999999984",
    "payee_tin": "112223333",
    "payee_entity_qualifier": "XX",
    "payer_name": "EXAMPLE HEALTH",
    "adjustments": (),
    "body_hash": None,
    "valid": True,
    "payment_row": -1,
}

PAYMENT: Mapping[str, Any] = {
    "id_digest": 2,
    "id_offset": None,
    "trace": "0012345678",
    "payer_id": "1234567890",
    "company_id": "1234567890",
    "company_name": "EXAMPLE HEALTH",
    "account": "5566778",
    "amount_cents": 120000,
    "kind": 1,
    "settlement_date": DAY,
    "effective_date": DAY,
    "rdfi_routing": 21000021,
    "odfi": 9100000,
    "ach_trace": None,
    "sec": "CCD",
    "entry_description": "HCCLAIMPMT",
    "receiver_id": "",
    "source": 0,
    "return_code": "",
    "return_form": 0,
    "original_trace": -1,
    "original_rdfi": -1,
    "return_trace": -1,
    "report": -1,
    "type_code": 0,
    "bank_reference": "",
    "deposit": "",
    "payer_account": "",
    "has_remittance": False,
    "valid": True,
}

# Where a row does not say: its number in the pool, so that no two rows are the same item by
# accident.
_NUMBERED = {"id_offset": 1000, "body_hash": 7777, "ach_trace": 91000000000000}


def _rows(defaults: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    filled = []
    for number, row in enumerate(rows):
        assert set(row) <= set(defaults), set(row) - set(defaults)
        whole = {**defaults, **row}
        filled.append(
            {
                k: _NUMBERED[k] + number if v is None and k in _NUMBERED else v
                for k, v in whole.items()
            }
        )
    return filled


def _column(name: str, kind: str, rows: list[dict[str, Any]]) -> Any:
    values = [row[name] for row in rows]
    if name == "adjustments":
        values = [np.array([*pairs], ADJUSTMENT).tobytes() for pairs in values]
    if kind == "text":
        return TextColumn.from_values(values)
    if kind.startswith("S"):
        return np.array([value.encode() for value in values], kind)
    return np.array([DATE_NONE if value is None else value for value in values], kind)


def remittances(*rows: Mapping[str, Any]) -> RemittanceColumns:
    """A pool of remittances; a row names what differs from REMITTANCE. A date may be None,
    adjustments are (reason, cents)."""
    filled = _rows(REMITTANCE, rows)
    return RemittanceColumns(
        **{name: _column(name, kind, filled) for name, kind in RemittanceColumns.types().items()}
    )


def payments(*rows: Mapping[str, Any]) -> PaymentColumns:
    """A pool of payments; a row names what differs from PAYMENT. A date may be None."""
    filled = _rows(PAYMENT, rows)
    return PaymentColumns(
        **{name: _column(name, kind, filled) for name, kind in PaymentColumns.types().items()}
    )
