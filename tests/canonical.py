"""The outcome of a matching in terms of ids: the same for any order of the same rows."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from reassoc.core.match import Matches
from reassoc.core.pool import PaymentColumns, RemittanceColumns

PAIR_COLUMNS = ("remittance_rank",)
"""Columns of pairs that are called like columns of items."""


def ids(items: RemittanceColumns | PaymentColumns) -> list[tuple[int, int]]:
    """(digest, offset) of every row."""
    return list(zip(items.id_digest.tolist(), items.id_offset.tolist(), strict=True))


def canonical(m: Matches) -> dict[str, Any]:
    """All columns of pairs and links in their order, and of items by ids."""
    left, right = ids(m.remittances), ids(m.payments)
    columns = {f.name: getattr(m, f.name) for f in fields(m)}
    arrays = {name: c.tolist() for name, c in columns.items() if isinstance(c, np.ndarray)}
    arrays["remittance"] = [left[row] for row in arrays["remittance"]]
    arrays["payment"] = [right[row] for row in arrays["payment"]]
    of_left = [n for n in arrays if n.startswith(("remittance_", "release"))]
    of_left = [n for n in of_left if n not in PAIR_COLUMNS]
    of_right = [n for n in arrays if n.startswith("payment_")]
    of_pairs = [n for n in arrays if n not in of_left and n not in of_right]
    assert min(len(of_left), len(of_right)) >= 3
    return {
        "tenants": m.tenants,
        "remittances": sorted(zip(left, *(arrays[n] for n in of_left), strict=True)),
        "payments": sorted(zip(right, *(arrays[n] for n in of_right), strict=True)),
        "pairs": list(zip(*(arrays[n] for n in of_pairs), strict=True)),
        "links": _links(m, right),
    }


def _links(m: Matches, right: list[tuple[int, int]]) -> list[Any]:
    columns = []
    for column in fields(m.links):
        values = getattr(m.links, column.name).tolist()
        if column.name in ("payment", "other"):
            values = [right[row] if row >= 0 else None for row in values]
        columns.append(values)
    return list(zip(*columns, strict=True))
