"""Items of many inputs put together: the two pools that are matched, and where each row of them
came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import TextColumn
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.envelope import Profile
from reassoc.stream.intake import Items, RemittanceRows
from reassoc.stream.verdicts import ALL_VALID

Ints32 = npt.NDArray[np.int32]


@dataclass(slots=True)
class Pools:
    """All items of a run, in the order of the inputs and of their bytes.

    remittances, rows, remittance_source   n rows each; sources are numbers of inputs
    payments, payment_ordinal, payment_source   m rows each
    profiles        of all inputs; rows.profile counts in them
    copy_of : int32[inputs]   number of the input whose content is the same, -1 for what is no copy
    """

    remittances: RemittanceColumns
    rows: RemittanceRows
    remittance_source: Ints32
    payments: PaymentColumns
    payment_ordinal: Ints32
    payment_source: Ints32
    profiles: list[Profile]
    copy_of: Ints32

    @property
    def remittance_is_copy(self) -> npt.NDArray[np.bool_]:
        """bool[n]: from an input whose content an earlier input had; never matched."""
        return self._is_copy(self.remittance_source)

    @property
    def payment_is_copy(self) -> npt.NDArray[np.bool_]:
        """bool[m]: as `remittance_is_copy`."""
        return self._is_copy(self.payment_source)

    def _is_copy(self, source: Ints32) -> npt.NDArray[np.bool_]:
        if not len(source):
            return np.zeros(0, np.bool_)
        return np.asarray(self.copy_of[source] >= 0)


def pool(all_items: Sequence[Items]) -> Pools:
    """Put the items of all inputs together; lets the inputs' own columns go. O(items)."""
    profiles: dict[Profile, int] = {}
    columns: list[RemittanceColumns] = []
    rows: list[RemittanceRows] = []
    payments: list[PaymentColumns] = []
    ordinals: list[Ints32] = []
    valid: list[npt.NDArray[np.bool_]] = []
    remittance_counts, payment_counts = np.zeros((2, len(all_items)), np.int64)
    payment_base = 0
    for number, items in enumerate(all_items):
        remittance_counts[number] = sum(map(len, items.remittances))
        payment_counts[number] = sum(map(len, items.payments))
        mapping = np.array(
            [profiles.setdefault(profile, len(profiles)) for profile in items.profiles], np.int32
        )
        for part in items.remittance_rows:
            if len(part):
                part.profile = mapping[part.profile]
            rows.append(part)
        for column in items.remittances:
            # The rows of an input count from its own first payment.
            row = column.payment_row
            columns.append(
                replace(
                    column, payment_row=np.where(row >= 0, row + payment_base, -1).astype(np.int32)
                )
            )
        payments += items.payments
        ordinals += items.payment_ordinals
        valid += [checks == ALL_VALID for checks in items.payment_checks]
        payment_base += int(payment_counts[number])
        items.let_go()
    all_rows = _concat_rows(rows)
    all_payments = PaymentColumns.concat(payments)
    all_remittances = RemittanceColumns.concat(columns)
    remittance_source = np.repeat(np.arange(len(all_items), dtype=np.int32), remittance_counts)
    payment_source = np.repeat(np.arange(len(all_items), dtype=np.int32), payment_counts)
    digests = np.array(
        [int.from_bytes(items.digest[:8], "little") for items in all_items], np.uint64
    )
    return Pools(
        remittances=replace(
            all_remittances,
            id_digest=_take(digests, remittance_source),
            valid=(all_rows.checks & ALL_VALID) == ALL_VALID,
        ),
        rows=all_rows,
        remittance_source=remittance_source,
        payments=replace(
            all_payments,
            id_digest=_take(digests, payment_source),
            valid=np.concatenate([np.zeros(0, np.bool_), *valid]),
        ),
        payment_ordinal=np.concatenate(ordinals) if ordinals else np.zeros(0, np.int32),
        payment_source=payment_source,
        profiles=list(profiles),
        copy_of=_copies(all_items),
    )


def _take(values: npt.NDArray[np.uint64], rows: Ints32) -> npt.NDArray[np.uint64]:
    return values[rows] if len(rows) else np.zeros(0, np.uint64)


def _copies(all_items: Sequence[Items]) -> Ints32:
    """For each input, the first one with the same content; -1 for that first one itself."""
    first: dict[bytes, int] = {}
    copies = np.full(len(all_items), -1, np.int32)
    for number, items in enumerate(all_items):
        if items.digest and first.setdefault(items.digest, number) != number:
            copies[number] = first[items.digest]
    return copies


def _concat_rows(parts: Sequence[RemittanceRows]) -> RemittanceRows:
    values: dict[str, object] = {}
    empty = {"start": np.int64, "stop": np.int64, "checks": np.uint8}
    for column in fields(RemittanceRows):
        pieces = [getattr(part, column.name) for part in parts]
        if column.name == "control":
            values[column.name] = TextColumn.concat(pieces)
        else:
            values[column.name] = np.concatenate(
                [np.zeros(0, empty.get(column.name, np.int32)), *pieces]
            )
    return RemittanceRows(**values)  # type: ignore[arg-type]
