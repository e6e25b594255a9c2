"""The item log: everything that can change an outcome, in order, per tenant.

The outcome of a warehouse is a function of these logs. Positions are above 0 and rise in each
tenant. `item_log_sqlite.py` is the embedded implementation; `partition_log.py` is a tenant's log as
a view of a partition of Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import msgspec

from reassoc.core.errors import ReassocError

ENTRY_BYTES_MAX = 16 << 20
"""Bytes of one encoded entry."""
ENTRY_ITEMS_MAX = 16_384
"""Items of one entry."""
NO_ENDS: Mapping[str, int] = MappingProxyType({})


class LogEndError(ReassocError):
    """A log has gone on since somebody looked."""


class SourceNote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The file that items come from.

    digest : BLAKE3 of its decompressed bytes, 32 bytes; item ids begin with its first 8
    name : as it was found, for people
    kind : kinds.Kind's name
    byte_count : decompressed bytes
    """

    digest: bytes
    name: str
    kind: str
    byte_count: int


class ItemsEntry(msgspec.Struct, frozen=True, tag="items", array_like=True):
    """Remittances and payments of one tenant: rows of items.REMITTANCE_ITEM and PAYMENT_ITEM.

    One entry is one step of the matcher, so that the outcome hangs on the log alone and not on how
    fast it was read. Whoever logs puts the items of many small files that wait together into one
    entry: an entry costs a step and a flush, however small it is.

    sources : the files that the items come from; a large file goes on in further entries
    remittances, payments : packed rows; the stops are int64 little-endian
    profiles : encoded envelope profiles that the remittances name by their key, see `profiles.py`
    held : the remittances are held from the start, as they were where they come from
    """

    sources: tuple[SourceNote, ...]
    remittances: bytes
    remittance_stops: bytes
    payments: bytes
    payment_stops: bytes
    profiles: tuple[bytes, ...]
    held: bool = False


DecisionKind = Literal[
    "match",
    "unmatch",
    "release",
    "resend",
    "hold",
    "unhold",
    "void",
    "suspense",
    "reopen",
    "alias",
    "move",
]


class DecisionEntry(msgspec.Struct, frozen=True, tag="decision", array_like=True):
    """What a person decided.

    remittances, payments : 16-byte ids, one after the other
    match_id : of the match that is undone; 0 where ids are named
    who, why : for the ledger; `why` may be what people write, so it never enters a hash chain
    payers : two identifiers that mean one payer from now on (alias)
    difference_cents : payments less remittances of a match, which the person has confirmed
    tenant : where the items move to (move)
    number : made by whoever asks, to find the answer; unique
    """

    kind: DecisionKind
    number: str
    who: str
    why: str
    remittances: bytes = b""
    payments: bytes = b""
    match_id: int = 0
    payers: tuple[str, ...] = ()
    difference_cents: int = 0
    tenant: str = ""


class ClockEntry(msgspec.Struct, frozen=True, tag="clock", array_like=True):
    """A banking day opens (credits of the day are final) or closes.

    A start is the first entry of a new home: it says what day it is, so that what comes before the
    first opening has one, and decides nothing: no credit is final by it.

    day : days since 1970-01-01    as_of : when, ISO 8601 with its offset
    """

    kind: Literal["start", "opening", "close"]
    day: int
    as_of: str


class SettingsEntry(msgspec.Struct, frozen=True, tag="settings", array_like=True):
    """Policy, warehouse rules, directory and calendar from now on.

    policy, rules : TOML texts, empty for the defaults
    directory : digest of the directory file in the vault, empty for none
    holidays : int32 little-endian, days since 1970-01-01
    """

    policy: str
    rules: str
    directory: bytes
    holidays: bytes


class TenantEntry(msgspec.Struct, frozen=True, tag="tenant", array_like=True):
    """A tenant that is new, on the log of the home: from here on it gets what concerns all."""

    tenant: str


class FenceEntry(msgspec.Struct, frozen=True, tag="fence", array_like=True):
    """On a partition of Kafka: whoever writes for its owner has begun, and all that an earlier one
    wrote stands before this. It concerns no tenant."""


Entry = ItemsEntry | DecisionEntry | ClockEntry | SettingsEntry | TenantEntry | FenceEntry

encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode


@dataclass(frozen=True, slots=True)
class Routing:
    """To which tenants a file's items went: `body` is for whoever routes; `logged` says that all
    its items are on the log."""

    body: bytes
    logged: bool


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry with its place. `at` is when it was logged, ISO 8601 in UTC: for people only."""

    position: int
    at: str
    entry: Entry


class ItemLog(Protocol):
    """The logs of all tenants. Every method may be called from any thread, and by several processes
    at once."""

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
        ends: Mapping[str, int] = NO_ENDS,
    ) -> list[int]:
        """Append (tenant, entry) pairs, durably, all or none; their positions.

        routings : (key, routing) pairs that are durable no later than the entries. A key is a full
            digest, or the first 8 bytes of one. The first body of a key stands for ever; `logged`
            may be set later. A file that comes again is routed as before, whatever the directory
            says by then: an item never stands in two tenants' logs.

        ends : last positions that some tenants' logs must have, for who appends by what it saw

        Raises LimitError above ENTRY_BYTES_MAX, LogEndError where a log does not end there.
        """
        ...

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        """At most `limit` entries behind a position, in order."""
        ...

    def tenants(self) -> dict[str, int]:
        """Every tenant with an entry, and its last position."""
        ...

    def routings(self, keys: Sequence[bytes]) -> dict[bytes, Routing]:
        """What was appended of some keys; those that never came are left out."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
