"""`matches.csv` of a home: the pairs that its match state holds, as `reassoc match` writes them,
with one more column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from reassoc.core.match import Links, Matches
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.deciding import DORMANT
from reassoc.stream.items import (
    PAIR,
    PAYMENT,
    REMITTANCE,
    ItemFlag,
    RecordKind,
    id_bytes,
    payment_pool,
    remittance_pool,
)
from reassoc.stream.live import Columns, Rows, lookup
from reassoc.stream.records import take
from reassoc.stream.report import MATCH_COLUMNS, MatchTable, match_cells
from reassoc.stream.state import Ids, Records, State
from reassoc.stream.table import chunks, csv_cell, write_rows

HOME_MATCH_COLUMNS = f"{MATCH_COLUMNS},release"

SourceNames = Callable[[Sequence[int]], Mapping[int, str]]
"""Names of files by the first 8 bytes of their digest."""
ReleasedNames = Callable[[str, Ids], Sequence[str]]
"""Names of the files that remittances were released in, "" for none; by tenant and ids."""


@dataclass(frozen=True, slots=True)
class HomeItems:
    """All items and pairs of some tenants: rows of items.REMITTANCE, PAYMENT and PAIR.

    remittance_tenant, payment_tenant : int32[n], int32[m]   numbers in `tenants`
    pair_tenant : int32[k]
    """

    tenants: Sequence[str]
    remittances: Columns
    payments: Columns
    pairs: Columns
    remittance_tenant: npt.NDArray[np.int32]
    payment_tenant: npt.NDArray[np.int32]
    pair_tenant: npt.NDArray[np.int32]


def read_items(state: State, tenants: Sequence[str]) -> HomeItems:
    """Everything that the state holds of some tenants. O(items), all in memory."""
    parts: dict[RecordKind, list[Columns]] = {
        RecordKind.REMITTANCE: [], RecordKind.PAYMENT: [], RecordKind.PAIR: []
    }  # fmt: skip
    schemas = {
        RecordKind.REMITTANCE: REMITTANCE,
        RecordKind.PAYMENT: PAYMENT,
        RecordKind.PAIR: PAIR,
    }
    owner: dict[RecordKind, list[npt.NDArray[np.int32]]] = {kind: [] for kind in parts}
    for number, tenant in enumerate(tenants):
        records = Records.concat(list(state.scan(tenant, list(schemas))))
        for kind, schema in schemas.items():
            rows = schema.unpack(records.of_kind(kind).bodies)
            parts[kind].append(rows)
            count = len(rows[next(iter(rows))])
            owner[kind].append(np.full(count, number, np.int32))
    none = np.zeros(0, np.int32)
    tables = [schemas[kind].concat_columns([schemas[kind].empty(), *parts[kind]]) for kind in parts]
    owners = [np.concatenate([none, *owner[kind]]) for kind in parts]
    return HomeItems(tenants, tables[0], tables[1], tables[2], *owners)


def write_matches(
    out: IO[bytes], items: HomeItems, source_names: SourceNames, released: ReleasedNames
) -> int:
    """Write the table of pairs; how many. The order is that of `reassoc match`: files by name,
    remittances by place. O(k log k)."""
    shown = np.flatnonzero(items.pairs["status"] != DORMANT)
    table = _table(items, shown, source_names)
    releases = _release_names(items, shown, released)
    files = [csv_cell(name) for name in table.files]
    cells = match_cells(table, files)
    out.write(HOME_MATCH_COLUMNS.encode() + b"\n")
    order = table.order
    for part in chunks(len(order)):
        rows = order[part]
        names = [csv_cell(releases[row]) for row in rows.tolist()]
        write_rows(out, [*cells(part), names])
    return len(order)


def _table(items: HomeItems, shown: Rows, source_names: SourceNames) -> MatchTable:
    """Items in the order of their files' names, and of their places in them."""
    remittances, payments = items.remittances, items.payments
    digests = np.unique(np.concatenate([remittances["id_digest"], payments["id_digest"]]))
    names = source_names(digests.tolist())
    ranked = sorted(digests.tolist(), key=lambda digest: (names.get(digest, ""), digest))
    rank = np.zeros(len(digests), np.int32)
    rank[np.searchsorted(digests, np.array(ranked, np.uint64))] = np.arange(len(ranked))
    left, left_source = _in_order(remittances, digests, rank)
    right, right_source = _in_order(payments, digests, rank)
    pairs = take(items.pairs, shown)
    none = np.full(len(left), -1, np.int32)
    return MatchTable(
        matches=_matches(
            pairs,
            _places(remittances, left, pairs, "remittance"),
            _places(payments, right, pairs, "payment"),
            remittance_pool(take(remittances, left), none),
            payment_pool(take(payments, right)),
        ),
        remittance_source=left_source,
        remittance_ordinal=remittances["ordinal"][left],
        remittance_control=remittances["control"][left],
        payment_source=right_source,
        payment_ordinal=payments["ordinal"][right],
        files=[names.get(digest, "") for digest in ranked],
    )


def _in_order(
    rows: Columns, digests: npt.NDArray[np.uint64], rank: npt.NDArray[np.int32]
) -> tuple[Rows, npt.NDArray[np.int32]]:
    """Rows by file and place, and the number of each one's file."""
    file = rank[np.searchsorted(digests, rows["id_digest"])]
    order = np.lexsort((rows["id_offset"], file))
    return order, file[order]


def _places(rows: Columns, order: Rows, pairs: Columns, side: str) -> npt.NDArray[np.int32]:
    ids = id_bytes(rows["id_digest"][order], rows["id_offset"][order])
    wanted = id_bytes(pairs[f"{side}_digest"], pairs[f"{side}_offset"])
    return lookup(ids, wanted).astype(np.int32)


def _matches(
    pairs: Columns,
    remittance: npt.NDArray[np.int32],
    payment: npt.NDArray[np.int32],
    remittances: RemittanceColumns,
    payments: PaymentColumns,
) -> Matches:
    """The pairs in the form in which the matcher gives them, without what is about items."""
    none = np.zeros(0, np.int32)
    evidence = np.stack([pairs[f"evidence{place}"] for place in range(5)], axis=1)
    per_remittance, per_payment = len(remittances), len(payments)
    columns = {
        name: pairs[name]
        for name in PAIR.types
        if name in Matches.__dataclass_fields__ and not name.startswith("evidence")
    }
    return Matches(
        **columns,
        evidence=evidence,
        remittance=remittance,
        payment=payment,
        remittance_status=np.zeros(per_remittance, np.uint8),
        remittance_reason=np.zeros(per_remittance, np.int64),
        release=np.zeros(per_remittance, np.bool_),
        payment_status=np.zeros(per_payment, np.uint8),
        payment_reason=np.zeros(per_payment, np.int64),
        payment_funding=np.zeros(per_payment, np.uint8),
        remittance_tenant=np.zeros(per_remittance, np.uint32),
        payment_tenant=np.zeros(per_payment, np.uint32),
        tenants=(),
        links=Links(none, none, none.astype(np.uint8), none.astype(np.uint8), none),
        remittances=remittances,
        payments=payments,
    )


def _release_names(items: HomeItems, shown: Rows, released: ReleasedNames) -> list[str]:
    """The file of each pair's remittance, "" while it is held."""
    pairs = take(items.pairs, shown)
    ids = id_bytes(pairs["remittance_digest"], pairs["remittance_offset"])
    own = id_bytes(items.remittances["id_digest"], items.remittances["id_offset"])
    flags = np.append(items.remittances["flags"], np.uint16(0))[lookup(own, ids)]
    was = flags & int(ItemFlag.RELEASED) != 0
    names = np.full(len(ids), "", dtype=object)
    tenant_of = items.pair_tenant[shown]
    for number, tenant in enumerate(items.tenants):
        rows = np.flatnonzero(was & (tenant_of == number))
        if len(rows):
            names[rows] = list(released(tenant, ids[rows]))
    found: list[str] = names.tolist()
    return found
