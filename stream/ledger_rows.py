"""Rows of the ledger as packed arrays: what a step of the matcher says happened.

All chained rows are whole numbers: no personal data is in them, and they are hashed and stored by
the thousand. Item ids are (digest, offset). The outbox carries a `LedgerBatch` as msgpack.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.stream.item_log import ItemsEntry

_ID = [("digest", "<u8"), ("offset", "<i8")]
_PAIR_ID = [
    ("remittance_digest", "<u8"),
    ("remittance_offset", "<i8"),
    ("payment_digest", "<u8"),
    ("payment_offset", "<i8"),
]


class ItemSide(IntEnum):
    """Which of the two an item is."""

    REMITTANCE = 0
    PAYMENT = 1


class PairEvent(IntEnum):
    """What became of a pair. CHANGED: its status or tier, or whether a person made it."""

    MADE = 1
    CHANGED = 2
    GONE = 3


class AlertCode(IntEnum):
    """What somebody must look at now."""

    RIVAL_AFTER_RELEASE = 1
    RETURN_AFTER_RELEASE = 2
    DUPLICATE_OF_HISTORY = 3
    FUNDED_AFTER_DEFAULT = 4
    CROWDED_KEY = 5


class DecisionAnswer(IntEnum):
    """What became of a person's decision."""

    DONE = 1
    REFUSED = 2


ITEM_ROW = np.dtype(
    [
        *_ID,
        ("side", "u1"),
        ("source", "u1"),
        ("kind", "u1"),
        ("cents", "<i8"),
        ("day", "<i4"),
        ("business_key", "<u8"),
        ("position", "<i8"),
        ("claims", "<i4"),
    ]
)
"""An item came. day: BPR16, or settlement, else effective date (DATE_NONE for none). business_key:
0 for none. source, kind: PaymentSource and EntryKind, 0 for remittances."""

STATUS_ROW = np.dtype(
    [
        *_ID,
        ("side", "u1"),
        ("before", "u1"),
        ("after", "u1"),
        ("funding_before", "u1"),
        ("funding_after", "u1"),
        ("flags_before", "<u2"),
        ("flags_after", "<u2"),
        ("reason", "<i8"),
        ("release_kind", "u1"),
    ]
)
"""A status, a funding or flags changed. A new item's before is RECEIVED (0) with funding 0."""

PAIR_ROW = np.dtype(
    [
        *_PAIR_ID,
        ("match_id", "<u8"),
        ("event", "u1"),
        ("status", "u1"),
        ("tier", "u1"),
        ("reason", "<i8"),
        ("agreed", "<u2"),
        ("differed", "<u2"),
        ("rewrites", "<u2"),
        ("rivals", "<u4"),
        ("days_apart", "<i4"),
        ("difference_cents", "<i8"),
        ("cause", "u1"),
        ("weight", "<i4"),
        ("person", "u1"),
    ]
)
"""A match or a candidate was made, changed or went."""

LINK_ROW = np.dtype(
    [
        *_ID,
        ("other_digest", "<u8"),
        ("other_offset", "<i8"),
        ("kind", "u1"),
        ("status", "u1"),
        ("event", "u1"),
    ]
)
"""A payment row is about another: returns, reversals, reports (statuses.LinkKind)."""

ALERT_ROW = np.dtype([*_ID, ("side", "u1"), ("code", "u1"), ("match_id", "<u8")])

DETAIL_TEXTS = ("trace", "payer_id", "payer_name", "payee_account", "payee_id")


class DecisionRow(msgspec.Struct, frozen=True, array_like=True):
    """A decision and its answer. `refusal` says why not, without a value of an item.

    cents : paid by the remittances that it is about; where it is about payments only, of these
    """

    position: int
    number: str
    kind: str
    who: str
    why: str
    answer: int
    refusal: str
    item_count: int
    cents: int


class LedgerBatch(msgspec.Struct, frozen=True, array_like=True):
    """What one step writes. Tables are the bytes of arrays of the dtypes above.

    tenant, position : the step: last position of the log that it applied
    day, as_of, cause : open banking day; logged time; "items", "decision", "clock" or "settings"
    details : `encode_details` of one value for each row of `items` and text name; not chained
    closed : ids (16 bytes each) that leave the match state with this step
    sources : (digest, name, kind, byte_count) of files that came
    """

    tenant: str
    position: int
    day: int
    as_of: str
    cause: str
    items: bytes = b""
    statuses: bytes = b""
    pairs: bytes = b""
    links: bytes = b""
    alerts: bytes = b""
    decisions: tuple[DecisionRow, ...] = ()
    details: bytes = b""
    closed: bytes = b""
    sources: tuple[tuple[bytes, str, str, int], ...] = ()


class ReleaseOrder(msgspec.Struct, frozen=True, array_like=True):
    """What one step releases: rows of ORDER_ROW, and the ST02 of each."""

    tenant: str
    position: int
    day: int
    items: bytes
    controls: tuple[bytes, ...]
    profiles: tuple[tuple[int, bytes], ...]


ORDER_ROW = np.dtype(
    [
        *_ID,
        ("start", "<i8"),
        ("stop", "<i8"),
        ("profile", "<u8"),
        ("cents", "<i8"),
        ("release_kind", "u1"),
        ("sending", "u1"),
        ("carried", "u1"),
    ]
)
"""One remittance to be sent. sending counts from 1; carried: it lies in the addenda of an ACH file,
and `start` is its ordinal there."""


class EventFacts(msgspec.Struct, frozen=True, array_like=True):
    """What events say beside the rows of the ledger.

    denied : uint32[k], places among the remittances of `items` of those with a denied claim
    cents : int64[m], of the payments of the rows of `statuses` whose money came, in their order
    """

    denied: bytes = b""
    cents: bytes = b""


class MovedItems(msgspec.Struct, frozen=True, array_like=True):
    """Items that have left a tenant and go to another one's log.

    tenant : whose they are from now on
    items : in one entry which may be larger than a log takes
    held : the same, of remittances that are held there from the start; None for none
    """

    tenant: str
    items: ItemsEntry
    held: ItemsEntry | None = None


class OutboxBody(msgspec.Struct, frozen=True, array_like=True):
    """One outbox entry: what the ledger must hold, what must be released after that, what is told
    of it, and what another tenant gets."""

    ledger: LedgerBatch
    release: ReleaseOrder | None = None
    facts: EventFacts = EventFacts()
    moved: MovedItems | None = None


encode_body = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(OutboxBody).decode


def rows_of(data: bytes | memoryview, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """The rows of a table of a batch."""
    return np.frombuffer(data, kind)


Texts = tuple[bytes, bytes]
"""Values in one buffer, and offset and length of each: uint32[n, 2], little-endian. Neighbours may
share their bytes."""


_decode_details = msgspec.msgpack.Decoder(dict[str, Texts]).decode


def encode_details(texts: Mapping[str, Texts]) -> bytes:
    """LedgerBatch.details of the texts by their names."""
    return msgspec.msgpack.encode(texts)


def decode_texts(details: bytes) -> dict[str, list[bytes]]:
    """The values by their names. Raises ValueError for what `encode_details` does not make."""
    try:
        found = _decode_details(details)
    except msgspec.MsgspecError as error:
        raise ValueError("no details") from error
    return {name: _values(*texts) for name, texts in found.items()}


def _values(data: bytes, refs: bytes) -> list[bytes]:
    places = np.frombuffer(refs, "<u4").reshape(-1, 2)
    starts, stops = places[:, 0], places.sum(axis=1, dtype=np.int64)
    if len(places) and int(stops.max()) > len(data):
        raise ValueError("a text ends behind its buffer")
    return [data[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
