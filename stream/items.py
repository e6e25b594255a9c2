"""What the warehouse knows of an item: its row on the item log, and its row in the match state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core.columns import TextColumn
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.records import RowTable, Schema

Keys = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.uint8]


class RecordKind(IntEnum):
    """Kinds of records in the match state. FOR_ALL and PROGRESS: of a partition, `partition.py`."""

    TENANT = 0
    REMITTANCE = 1
    PAYMENT = 2
    PAIR = 3
    VETO = 4
    PROFILE = 5
    FOR_ALL = 6
    PROGRESS = 7


class ItemFlag(IntFlag):
    """What people and time did to an item.

    HELD: a person holds it back from release. RELEASED: it is beyond the point of no return.
    KNOWN_BEFORE: its business key stands in the history behind the state; suspected duplicate.
    CLOSED: a person took it out of matching (voided, written to suspense). MOVED: it went to
    another tenant. DEFAULTED: it was released without its money having been seen.
    """

    HELD = 1
    RELEASED = 2
    KNOWN_BEFORE = 4
    CLOSED = 8
    MOVED = 16
    DEFAULTED = 32


class ItemMark(IntFlag):
    """What a rule of release may look for inside a remittance.

    REVERSAL: a claim with CLP02 = 22 is in it. PROVIDER_ADJUSTMENT: a PLB with an amount is.
    DENIAL: a claim with CLP02 = 4, or one that pays nothing though it was charged. INCOMPLETE: it
    has no end (SE), as in a file that was cut off; nobody can send that on.
    """

    REVERSAL = 1
    PROVIDER_ADJUSTMENT = 2
    DENIAL = 4
    INCOMPLETE = 8


class ReleaseKind(IntEnum):
    """Why a remittance was released."""

    NONE = 0
    MATCH = 1
    ZERO_PAY = 2
    DEFAULT = 3
    MANUAL = 4


REMITTANCE_ITEM = Schema(
    {
        **{name: kind for name, kind in RemittanceColumns.types().items() if name != "payment_row"},
        "carrier_offset": "i8",
        "ordinal": "i4",
        "start": "i8",
        "stop": "i8",
        "profile": "u8",
        "checks": "u1",
        "claims": "i4",
        "marks": "u1",
        "control": "text",
    }
)
"""A remittance on the log: the matcher's columns and those of intake.RemittanceRows.

carrier_offset : byte of the CTX entry that carries it, in the same file; -1 for none
profile : key of its envelope profile, see `profiles.py`
marks : ItemMark
"""

PAYMENT_ITEM = Schema({**PaymentColumns.types(), "ordinal": "i4"})
"""A payment on the log."""

_STATE = {
    "position": "i8",
    "seen_day": "i4",
    "closed_day": "i4",
    "status": "u1",
    "reason": "i8",
    "flags": "u2",
    "generation": "u4",
}
_REMITTANCE_STATE = {**_STATE, "release_kind": "u1", "sendings": "u1"}
_PAYMENT_STATE = {**_STATE, "funding": "u1"}

REMITTANCE = Schema({**_REMITTANCE_STATE, **REMITTANCE_ITEM.types})
PAYMENT = Schema({**_PAYMENT_STATE, **PAYMENT_ITEM.types})
REMITTANCE_STATE = Schema(_REMITTANCE_STATE).fixed
PAYMENT_STATE = Schema(_PAYMENT_STATE).fixed
"""An item in the state. What steps change of it comes first, as REMITTANCE_STATE or PAYMENT_STATE.

position : of its entry on the log
seen_day : the banking day that was open when it was logged (days since 1970-01-01)
closed_day : the one on which nothing was left to wait for, DATE_NONE while something is
status, reason, funding : RemittanceStatus or PaymentStatus, Reason flags, Funding
flags : ItemFlag                     generation : raised by every un-match
release_kind : ReleaseKind           sendings : how often it was released
"""

PAIR = Schema(
    {
        "remittance_digest": "u8",
        "remittance_offset": "i8",
        "payment_digest": "u8",
        "payment_offset": "i8",
        "match_id": "u8",
        "status": "u1",
        "tier": "u1",
        "reason": "i8",
        "agreed": "u2",
        "differed": "u2",
        "rewrites": "u2",
        "rivals": "u4",
        "days_apart": "i4",
        "difference_cents": "i8",
        "cause": "u1",
        "weight": "i4",
        "evidence0": "i2",
        "evidence1": "i2",
        "evidence2": "i2",
        "evidence3": "i2",
        "evidence4": "i2",
        "rank": "u2",
        "remittance_rank": "u2",
        "funded": "?",
        "standing": "?",
        "person": "?",
        "made_position": "i8",
    }
)
"""A pair: the columns of core.match.Matches by ids.

standing : it was matched at the last clock entry, so it may stay until the next one; or a
    remittance was released with it since, so it stays
person : a person made it; only a person, or a return of the money, undoes it
made_position : position of the entry that made it
"""

VETO = Schema(
    {
        "remittance_digest": "u8",
        "remittance_offset": "i8",
        "payment_digest": "u8",
        "payment_offset": "i8",
        "position": "i8",
    }
)
"""A pair that a person undid: never matched by itself again."""


def id_bytes(digest: npt.NDArray[np.uint64], offset: npt.NDArray[np.int64]) -> Ids:
    """uint8[n, 16]: ids as the state has them, little-endian digest and offset."""
    ids = np.empty((len(digest), 2), "<u8")
    ids[:, 0] = digest
    ids[:, 1] = offset.view(np.uint64) if offset.dtype == np.int64 else offset
    return ids.view(np.uint8).reshape(len(digest), 16)


def id_parts(ids: Ids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Digest and offset of ids."""
    parts = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)
    return parts[:, 0].astype(np.uint64), parts[:, 1].astype(np.uint64).view(np.int64)


def item_name(digest: int, offset: int) -> str:
    """An id as people read and type it: `0123456789abcdef-120`."""
    return f"{digest:016x}-{offset}"


def parse_item_name(text: str) -> tuple[int, int] | None:
    """(digest, offset) of what item_name wrote, None for anything else."""
    digest, dash, offset = text.partition("-")
    if not dash or len(digest) != 16 or not offset.isascii() or not offset.isdigit():
        return None
    try:
        return int(digest, 16), int(offset)
    except ValueError:
        return None


def remittance_pool(
    rows: Mapping[str, Any], payment_row: npt.NDArray[np.int32]
) -> RemittanceColumns:
    """The matcher's columns of rows of REMITTANCE or REMITTANCE_ITEM."""
    names = [name for name in RemittanceColumns.types() if name != "payment_row"]
    return RemittanceColumns(**_columns_of(rows, names), payment_row=payment_row)


def payment_pool(rows: Mapping[str, Any]) -> PaymentColumns:
    """The matcher's columns of rows of PAYMENT or PAYMENT_ITEM."""
    return PaymentColumns(**_columns_of(rows, PaymentColumns.types()))


def _columns_of(rows: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Columns as the matcher's kernels take them: each one behind the other."""
    if isinstance(rows, RowTable):
        return rows.columns(names)
    columns = ((name, rows[name]) for name in names)
    return {
        name: column if isinstance(column, TextColumn) else np.ascontiguousarray(column)
        for name, column in columns
    }
