"""What the matcher works on: remittances and payments as columns that outlive the files they came
from.

A pool is a struct of arrays with one row an item, in any order. Ids are (digest, offset): the first
eight bytes of the digest of the file's decompressed bytes, and the item's byte in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import DATE_NONE, Table, TextColumn

if TYPE_CHECKING:
    from reassoc.core.ach import AchFiles
    from reassoc.core.x12_835 import Remittances

Rows = npt.NDArray[Any] | slice


@dataclass(frozen=True, slots=True, repr=False)
class _Columns:
    """Columns of equal length; the subclasses declare which, and `types` their types."""

    def __post_init__(self) -> None:
        lengths = set()
        for name, wanted in self._wanted():
            column = getattr(self, name)
            lengths.add(len(column))
            have = None if isinstance(column, TextColumn) else getattr(column, "dtype", "nothing")
            if have != wanted:
                raise ValueError(
                    f"{type(self).__name__}.{name} must be {wanted or 'text'}, not {have or 'text'}"
                )
        if len(lengths) > 1:
            raise ValueError(
                f"the columns of {type(self).__name__} have different lengths: {sorted(lengths)}"
            )

    @staticmethod
    def types() -> dict[str, str]:
        """Column name -> numpy dtype, or "text"."""
        raise NotImplementedError

    @classmethod
    @cache
    def _wanted(cls) -> list[tuple[str, np.dtype[Any] | None]]:
        """Names of columns and their dtypes, None for texts."""
        return [
            (name, None if kind == "text" else np.dtype(kind)) for name, kind in cls.types().items()
        ]

    def __len__(self) -> int:
        return len(getattr(self, self._wanted()[0][0]))

    def __repr__(self) -> str:
        # Never the columns: a log or a traceback that shows a pool must not show people's data.
        return f"<{type(self).__name__}: {len(self)} rows>"


C = TypeVar("C", bound=_Columns)


def _map(cls: type[C], make: Callable[[str, str], Any]) -> C:
    return cls(**{name: make(name, kind) for name, kind in cls.types().items()})


def text_parts(column: TextColumn) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
    """Source and references of a text column as arrays, the way the kernels take them. No copy."""
    return np.frombuffer(column.source, np.uint8), np.ascontiguousarray(column.refs)


def _empty(cls: type[C]) -> C:
    return _map(
        cls, lambda _, kind: TextColumn.from_values([]) if kind == "text" else np.zeros(0, kind)
    )


def _concat(cls: type[C], parts: Sequence[C]) -> C:
    if not parts:
        return _empty(cls)

    def joined(name: str, kind: str) -> Any:
        columns = [getattr(part, name) for part in parts]
        return TextColumn.concat(columns) if kind == "text" else np.concatenate(columns)

    return _map(cls, joined)


def _take(pool: C, rows: Rows) -> C:
    return _map(type(pool), lambda name, _: getattr(pool, name)[rows])


@dataclass(frozen=True, slots=True, repr=False)
class RemittanceColumns(_Columns):
    """835s, one row a transaction set. Field sources: see `_tables_835.h`.

    payer_id is TRN03, originator BPR10, paid_cents BPR02, effective_date BPR16 (days, DATE_NONE),
    payment_method BPR04, handling BPR01, currency CUR02 (empty is USD), credit_debit BPR03.
    body_hash is 0 where it is not known. valid is the final verdict: transaction, group and
    interchange. payment_row is the row of the payment whose CTX entry carried the 835, -1 for none.
    payee_entity_qualifier is N103 of the payee (XX NPI, FI TIN). adjustments holds the PLBs as
    packed ADJUSTMENT records, see `adjustments_of`.
    """

    id_digest: npt.NDArray[np.uint64]
    id_offset: npt.NDArray[np.int64]
    trace: TextColumn
    payer_id: TextColumn
    originator: TextColumn
    paid_cents: npt.NDArray[np.int64]
    effective_date: npt.NDArray[np.int32]
    payment_method: npt.NDArray[np.bytes_]
    handling: npt.NDArray[np.bytes_]
    currency: npt.NDArray[np.bytes_]
    credit_debit: npt.NDArray[np.bytes_]
    payee_bank: TextColumn
    payee_account: TextColumn
    payee_entity_id: TextColumn
    payee_tin: TextColumn
    payee_entity_qualifier: npt.NDArray[np.bytes_]
    payer_name: TextColumn
    adjustments: TextColumn
    body_hash: npt.NDArray[np.uint64]
    valid: npt.NDArray[np.bool_]
    payment_row: npt.NDArray[np.int32]

    @staticmethod
    def types() -> dict[str, str]:
        """Column name -> numpy dtype, or "text"."""
        return _REMITTANCE_TYPES

    @classmethod
    def from_tables(cls, remittances: Remittances, digest: int = 0) -> RemittanceColumns:
        """The 835s of one file, or of one window of it. digest : first 8 bytes of the file's
            digest.

        In a window, `valid` knows of groups and interchanges only what stood in it: one that is
        still open counts as it stands then. Texts stay in the source buffer (`compact` cuts them
        loose). O(rows).
        """
        table = remittances.transactions
        offsets = table.offset.astype(np.int64) + remittances.window_offset
        return cls._from_transactions(
            remittances, digest, offsets, np.full(len(table), -1, np.int32)
        )

    @classmethod
    def from_ach(cls, ach: AchFiles, digest: int = 0, payment_base: int = 0) -> RemittanceColumns:
        """The 835s that the CTX entries of an ACH file carry.

        digest : of the ACH file; payment_base : row of its first entry in the pool of payments. An
            835's id is the byte of its entry's record plus 1 plus its number in the entry. O(rows).
        """
        table = ach.remittances.transactions
        entries = np.asarray(ach.payload_entries, np.int32)[table.range]
        order = np.argsort(table.offset, kind="stable")
        numbers = np.zeros(len(table), np.int64)
        numbers[order] = _number_in_run(entries[order])
        offsets = ach.entries.offset.astype(np.int64)[entries] + ach.window_offset + 1 + numbers
        return cls._from_transactions(
            ach.remittances, digest, offsets, entries + np.int32(payment_base)
        )

    @classmethod
    def _from_transactions(
        cls,
        remittances: Remittances,
        digest: int,
        offsets: npt.NDArray[np.int64],
        payment_row: npt.NDArray[np.int32],
    ) -> RemittanceColumns:
        table = remittances.transactions
        return cls(
            id_digest=np.full(len(table), digest, np.uint64),
            id_offset=offsets,
            trace=table.trace,
            payer_id=table.payer_id,
            originator=table.originator,
            paid_cents=table.paid_cents,
            effective_date=table.effective_date,
            payment_method=table.payment_method,
            handling=table.handling,
            currency=table.currency,
            credit_debit=table.credit_debit,
            payee_bank=table.payee_bank,
            payee_account=table.payee_account,
            payee_entity_id=table.payee_entity_id,
            payee_tin=table.payee_tin,
            payee_entity_qualifier=table.payee_entity_qualifier,
            payer_name=table.payer_name,
            adjustments=_packed_adjustments(remittances),
            body_hash=table.body_hash,
            valid=table.valid
            & _verdict(remittances.groups, table.group)
            & _verdict(remittances.interchanges, table.interchange),
            payment_row=payment_row,
        )

    @classmethod
    def concat(cls, parts: Sequence[RemittanceColumns]) -> RemittanceColumns:
        """Pools one after the other, texts compacted; payment_row as it is. O(total size)."""
        return _concat(cls, parts)

    @classmethod
    def empty(cls) -> RemittanceColumns:
        """A pool of no rows."""
        return _empty(cls)

    def take(self, rows: Rows) -> RemittanceColumns:
        """The pool of the given rows (numbers, a mask or a slice); no text is copied. O(rows)."""
        return _take(self, rows)

    def compact(self) -> RemittanceColumns:
        """The same pool with its texts in buffers of their own: the file can go. O(size)."""
        return _concat(RemittanceColumns, [self])


@dataclass(frozen=True, slots=True, repr=False)
class PaymentColumns(_Columns):
    """Payments and what is about them: ACH entries, and lines of bank reports and lockbox lists.
    Field sources: see `_tables_ach.h`, `bai2.py`, `lockbox.py`; trace and payer_id are TRN02 and
    TRN03, for a check its number and the drawer's identifier.

    kind is ach.EntryKind, source statuses.PaymentSource. has_remittance: a CTX carried an 835.
    valid: entry, batch and file. receiver_id is 6, 40-54. A return or notification has its code
    (R02, C01), its form (ach.ReturnForm), the trace and the RDFI (8 digits) of the entry that it is
    about, and for dishonored and contested returns the trace of the return that they answer (-1
    where there is none). Bank lines have report, the number of their group in the file (-1 for
    others), type_code (0) and bank_reference; checks and deposits the deposit they stand in, checks
    the drawer's payer_account (routing and account, digits only).
    """

    id_digest: npt.NDArray[np.uint64]
    id_offset: npt.NDArray[np.int64]
    trace: TextColumn
    payer_id: TextColumn
    company_id: TextColumn
    company_name: TextColumn
    account: TextColumn
    amount_cents: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    settlement_date: npt.NDArray[np.int32]
    effective_date: npt.NDArray[np.int32]
    rdfi_routing: npt.NDArray[np.int32]
    odfi: npt.NDArray[np.int32]
    ach_trace: npt.NDArray[np.int64]
    sec: npt.NDArray[np.bytes_]
    entry_description: TextColumn
    receiver_id: TextColumn
    source: npt.NDArray[np.uint8]
    return_code: npt.NDArray[np.bytes_]
    return_form: npt.NDArray[np.uint8]
    original_trace: npt.NDArray[np.int64]
    original_rdfi: npt.NDArray[np.int32]
    return_trace: npt.NDArray[np.int64]
    report: npt.NDArray[np.int32]
    type_code: npt.NDArray[np.int16]
    bank_reference: TextColumn
    deposit: TextColumn
    payer_account: TextColumn
    has_remittance: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]

    @staticmethod
    def types() -> dict[str, str]:
        """Column name -> numpy dtype, or "text"."""
        return _PAYMENT_TYPES

    @classmethod
    def from_tables(cls, ach: AchFiles, digest: int = 0) -> PaymentColumns:
        """The entries of one ACH file, or of one window of it. digest : first 8 bytes of the file's
            digest.

        In a window, `valid` knows of batches and files only what stood in it. Texts stay in their
        buffers. O(rows).
        """
        entries, batches = ach.entries, ach.batches
        batch, count = entries.batch, len(entries)
        carried = np.zeros(len(entries), np.bool_)
        carried[np.asarray(ach.payload_entries)[ach.remittances.transactions.range]] = True
        batch_valid = batches.valid & _verdict(ach.files, batches.file)
        return cls(
            id_digest=np.full(len(entries), digest, np.uint64),
            id_offset=entries.offset.astype(np.int64) + ach.window_offset,
            trace=entries.trace,
            payer_id=entries.payer_id,
            company_id=_text_of(batches.company_id, batch),
            company_name=_text_of(batches.company_name, batch),
            account=entries.account,
            amount_cents=entries.amount_cents,
            kind=entries.kind,
            settlement_date=_of(batches.settlement_date, batch, DATE_NONE),
            effective_date=_of(batches.effective_date, batch, DATE_NONE),
            rdfi_routing=entries.rdfi_routing,
            odfi=_of(batches.odfi, batch, -1),
            ach_trace=entries.trace_number,
            sec=_of(batches.sec, batch, b""),
            entry_description=_text_of(batches.entry_description, batch),
            receiver_id=entries.identification,
            source=np.zeros(count, np.uint8),
            **_about(ach.returns, count),
            report=np.full(count, -1, np.int32),
            type_code=np.zeros(count, np.int16),
            bank_reference=_no_text(count),
            deposit=_no_text(count),
            payer_account=_no_text(count),
            has_remittance=carried,
            valid=entries.valid & _of(batch_valid, batch, True),
        )

    @classmethod
    def concat(cls, parts: Sequence[PaymentColumns]) -> PaymentColumns:
        """Pools one after the other, texts compacted. O(total size)."""
        return _concat(cls, parts)

    @classmethod
    def empty(cls) -> PaymentColumns:
        """A pool of no rows."""
        return _empty(cls)

    def take(self, rows: Rows) -> PaymentColumns:
        """The pool of the given rows (numbers, a mask or a slice); no text is copied. O(rows)."""
        return _take(self, rows)

    def compact(self) -> PaymentColumns:
        """The same pool with its texts in buffers of their own: the file can go. O(size)."""
        return _concat(PaymentColumns, [self])


_REMITTANCE_TYPES = {
    "id_digest": "u8",
    "id_offset": "i8",
    "trace": "text",
    "payer_id": "text",
    "originator": "text",
    "paid_cents": "i8",
    "effective_date": "i4",
    "payment_method": "S4",
    "handling": "S2",
    "currency": "S4",
    "credit_debit": "S2",
    "payee_bank": "text",
    "payee_account": "text",
    "payee_entity_id": "text",
    "payee_tin": "text",
    "payee_entity_qualifier": "S2",
    "payer_name": "text",
    "adjustments": "text",
    "body_hash": "u8",
    "valid": "?",
    "payment_row": "i4",
}

_PAYMENT_TYPES = {
    "id_digest": "u8",
    "id_offset": "i8",
    "trace": "text",
    "payer_id": "text",
    "company_id": "text",
    "company_name": "text",
    "account": "text",
    "amount_cents": "i8",
    "kind": "u1",
    "settlement_date": "i4",
    "effective_date": "i4",
    "rdfi_routing": "i4",
    "odfi": "i4",
    "ach_trace": "i8",
    "sec": "S4",
    "entry_description": "text",
    "receiver_id": "text",
    "source": "u1",
    "return_code": "S4",
    "return_form": "u1",
    "original_trace": "i8",
    "original_rdfi": "i4",
    "return_trace": "i8",
    "report": "i4",
    "type_code": "i2",
    "bank_reference": "text",
    "deposit": "text",
    "payer_account": "text",
    "has_remittance": "?",
    "valid": "?",
}


ADJUSTMENT = np.dtype([("reason", "S2"), ("cents", "<i8")])
"""A provider adjustment in RemittanceColumns.adjustments: PLB03-1 and the amount (PLB04)."""


def adjustments_of(remittances: RemittanceColumns, row: int) -> npt.NDArray[np.void]:
    """ADJUSTMENT[k]: the provider adjustments of one remittance; positive reduces the payment."""
    offset, length = remittances.adjustments.refs[row].tolist()
    return np.frombuffer(
        remittances.adjustments.source, ADJUSTMENT, length // ADJUSTMENT.itemsize, offset
    )


def _packed_adjustments(remittances: Remittances) -> TextColumn:
    table, rows = remittances.transactions, remittances.provider_adjustments
    packed = np.empty(len(rows), ADJUSTMENT)
    packed["reason"], packed["cents"] = rows.reason_code, rows.amount_cents
    spans = (table.provider_adjustment_start, table.provider_adjustment_stop)
    bounds = np.stack(spans, axis=1).astype(np.uint32) * np.uint32(ADJUSTMENT.itemsize)
    bounds[:, 1] -= bounds[:, 0]
    return TextColumn(packed.tobytes(), bounds)


def _no_text(count: int) -> TextColumn:
    return TextColumn(b"", np.zeros((count, 2), np.uint32))


def _about(returns: Table, count: int) -> dict[str, Any]:
    """What returns and notifications say of the entries they are about, by entry row."""
    columns = {
        "return_code": (np.zeros(count, "S4"), returns.code),
        "return_form": (np.zeros(count, np.uint8), returns.form),
        "original_trace": (np.full(count, -1, np.int64), returns.original_trace_number),
        "original_rdfi": (np.full(count, -1, np.int32), returns.original_rdfi),
        "return_trace": (np.full(count, -1, np.int64), returns.return_trace_number),
    }
    for column, values in columns.values():
        column[returns.entry] = values
    return {name: column for name, (column, _) in columns.items()}


def _of(column: npt.NDArray[Any], rows: npt.NDArray[np.int32], absent: object) -> npt.NDArray[Any]:
    """A parent's column for each child; `absent` where a child has no parent (row -1)."""
    return np.append(column, np.array([absent], column.dtype))[rows]


def _text_of(column: TextColumn, rows: npt.NDArray[np.int32]) -> TextColumn:
    return TextColumn(
        column.source, np.append(column.refs, np.zeros((1, 2), np.uint32), axis=0)[rows]
    )


def _verdict(parents: Table, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """The parents' `valid` for each child; true where there is no parent to be wrong."""
    verdict: npt.NDArray[np.bool_] = _of(parents.valid, rows, True)
    return verdict


def _number_in_run(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """0, 1, 2, ... within each run of equal neighbours."""
    places = np.arange(len(values))
    starts = np.zeros(len(values), np.int64)
    fresh = np.flatnonzero(np.diff(values)) + 1
    starts[fresh] = fresh
    return places - np.maximum.accumulate(starts) if len(values) else places
