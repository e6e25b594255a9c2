"""Release orders into rows of the release book: which files there are, and what is in each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reassoc.core.errors import ReassocError
from reassoc.stream.envelope import Profile, written_identities
from reassoc.stream.ledger_chain import ReleaseEvent, ReleaseEventRow, ReleaseFileRow
from reassoc.stream.ledger_rows import ORDER_ROW, ReleaseOrder, rows_of
from reassoc.stream.ledger_schema import RELEASE_ITEM_ROW
from reassoc.stream.profiles import decode_profile
from reassoc.stream.release import Releasable, plan_release, slug

ORDER_ITEMS_MAX = 1 << 20
"""Remittances of one transaction of `intend`."""
NO_SINK = "none"
"""Sink of remittances that are released without a file: their bytes are not in the vault."""
BODY_ROW = np.dtype(
    [("digest", "<u8"), ("start", "<i8"), ("stop", "<i8"), ("group", "<u4"), ("carried", "u1")]
)
"""A transaction of a file: where it lies (see ledger_rows.ORDER_ROW), and its group, from 0."""

_PLAIN = re.compile(rb"[A-Z0-9]{1,30}")
_QUALIFIER = re.compile(rb"[A-Z0-9]{2}")
_NAME_HASH_DIGITS = 16

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[Any]


class OrderError(ReassocError):
    """A release order that contradicts itself."""


class FileBody(msgspec.Struct, frozen=True, array_like=True):
    """Whatever is needed to write a file, beside its numbers and its day.

    profile : see profiles.py      rows : of BODY_ROW, in the order in which they are written
    """

    profile: bytes
    rows: bytes


encode_body = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(FileBody).decode


@dataclass(frozen=True, slots=True)
class Order:
    """Remittances of several orders. profile : int64[n], row of `profiles` and `encoded`"""

    rows: Rows
    tenants: list[str]
    positions: Ints
    controls: list[bytes]
    profile: Ints
    profiles: list[Profile]
    encoded: list[bytes]


def portions(orders: Sequence[ReleaseOrder]) -> Iterator[list[ReleaseOrder]]:
    """Orders in turn, ORDER_ITEMS_MAX remittances at a time: one of more is cut."""
    portion: list[ReleaseOrder] = []
    room = ORDER_ITEMS_MAX
    for order in orders:
        count, done = len(order.items) // ORDER_ROW.itemsize, 0
        while done < count:
            stop = min(done + room, count)
            portion.append(_cut(order, done, stop))
            room -= stop - done
            done = stop
            if not room:
                yield portion
                portion, room = [], ORDER_ITEMS_MAX
    if portion:
        yield portion


def _cut(order: ReleaseOrder, start: int, stop: int) -> ReleaseOrder:
    if start == 0 and stop * ORDER_ROW.itemsize == len(order.items):
        return order
    size = ORDER_ROW.itemsize
    return msgspec.structs.replace(
        order,
        items=order.items[start * size : stop * size],
        controls=order.controls[start:stop],
    )


def join_orders(orders: Sequence[ReleaseOrder]) -> Order:
    """Orders as one. Raises OrderError."""
    parts, positions, profile_parts = [], [], []
    tenants: list[str] = []
    controls: list[bytes] = []
    known: dict[bytes, int] = {}
    for order in orders:
        rows = rows_of(order.items, ORDER_ROW)
        by_key = dict(order.profiles)
        where = f"the release order at position {order.position}"
        if len(order.controls) != len(rows):
            raise OrderError(f"{where} has {len(order.controls)} ST02 for {len(rows)} rows")
        keys, inverse = np.unique(rows["profile"], return_inverse=True)
        numbers = np.zeros(len(keys), np.int64)
        # What has no bytes has no envelope either.
        wanted = set(np.unique(rows["profile"][rows["start"] >= 0]).tolist())
        for place, key in enumerate(keys.tolist()):
            if key not in wanted:
                continue
            if key not in by_key:
                raise OrderError(f"{where} names an envelope profile that it does not hold")
            numbers[place] = known.setdefault(by_key[key], len(known))
        profile_parts.append(numbers[inverse])
        parts.append(rows)
        tenants += [order.tenant] * len(rows)
        controls += order.controls
        positions.append(np.full(len(rows), order.position, np.int64))
    nothing = np.zeros(0, np.int64)
    return Order(
        np.concatenate([np.zeros(0, ORDER_ROW), *parts]),
        tenants,
        np.concatenate([nothing, *positions]),
        controls,
        np.concatenate([nothing, *profile_parts]),
        [decode_profile(data) for data in known],
        list(known),
    )


class ControlNumbers(Protocol):
    """Counts ISA13 and GS06 between two parties."""

    def take(self, profile: Profile, group_count: int) -> tuple[int, int]:
        """The next ISA13, and the first of the next GS06."""
        ...


class Draft:
    """Rows of the book for the files that are being intended."""

    def __init__(
        self, order: Order, number: int, day: int, sink: str, numbers: ControlNumbers
    ) -> None:
        """number : of the last file there is      day : of the envelopes"""
        self._order = order
        self._number = number
        self._day = day
        self._sink = sink
        self._numbers = numbers
        self.files: list[ReleaseFileRow] = []
        self.items: list[Rows] = []
        self.tenants: list[str] = []
        self.events: list[ReleaseEventRow] = []

    def add(self, rows: Ints, transactions_max: int, at: str) -> None:
        """Rows of the order, as files of at most so many remittances; those without bytes apart.

        at : now, ISO 8601 in UTC
        """
        taken = self._order.rows[rows]
        has_bytes = (taken["start"] >= 0) & (taken["stop"] > taken["start"])
        self._add_files(rows[has_bytes], transactions_max)
        self._add_without_file(rows[~has_bytes], at)

    def _add_files(self, rows: Ints, transactions_max: int) -> None:
        """Files of the remittances with bytes."""
        order = self._order
        rows = rows[_by_place(order.rows[rows])]
        taken = order.rows[rows]
        releasable = Releasable(
            source=np.zeros(len(rows), np.int64),
            start=taken["start"],
            stop=taken["stop"],
            profile=order.profile[rows],
            controls=[order.controls[row] for row in rows.tolist()],
            cents=taken["cents"],
            profiles=order.profiles,
        )
        plan = plan_release(releasable, transactions_max)
        group_first = np.cumsum(plan.group_counts) - plan.group_counts
        by_file = np.argsort(plan.interchange, kind="stable")
        stops = np.searchsorted(plan.interchange[by_file], np.arange(len(group_first)), "right")
        start = 0
        for interchange, stop in enumerate(stops.tolist()):
            places = by_file[start:stop]
            groups = plan.group[places] - group_first[interchange]
            profile = int(plan.interchange_profile[interchange])
            self._add_file(rows[places], groups, profile, int(plan.group_counts[interchange]))
            start = stop

    def _add_without_file(self, rows: Ints, at: str) -> None:
        """The remittances without bytes: done with being booked."""
        if not len(rows):
            return
        self._number += 1
        self.files.append(
            ReleaseFileRow(
                file=self._number,
                name=f"without-file-{self._number:09d}",
                sink=NO_SINK,
                receiver="",
                sender="",
                interchange_control=0,
                group_control_first=0,
                group_count=0,
                item_count=len(rows),
                cents=int(self._order.rows["cents"][rows].sum()),
                day=self._day,
                body=encode_body(FileBody(b"", b"")),
            )
        )
        self.events.append(ReleaseEventRow(self._number, int(ReleaseEvent.DONE), at))
        self._add_items(rows)

    def _add_file(self, rows: Ints, groups: Ints, profile_row: int, group_count: int) -> None:
        order = self._order
        profile = order.profiles[profile_row]
        control, group_control = self._numbers.take(profile, group_count)
        from_written, to_written = written_identities(profile)
        receiver = party_name(profile.receiver_qualifier, profile.receiver, to_written)
        sender = party_name(profile.sender_qualifier, profile.sender, from_written)
        body = np.zeros(len(rows), BODY_ROW)
        for name in ("digest", "start", "stop", "carried"):
            body[name] = order.rows[name][rows]
        body["group"] = groups
        self._number += 1
        self.files.append(
            ReleaseFileRow(
                file=self._number,
                name=f"{receiver}_{sender}_{control:09d}.x12",
                sink=self._sink,
                receiver=receiver,
                sender=sender,
                interchange_control=control,
                group_control_first=group_control,
                group_count=group_count,
                item_count=len(rows),
                cents=int(order.rows["cents"][rows].sum()),
                day=self._day,
                body=encode_body(FileBody(order.encoded[profile_row], body.tobytes())),
            )
        )
        self._add_items(rows)

    def _add_items(self, rows: Ints) -> None:
        order = self._order
        items = np.zeros(len(rows), RELEASE_ITEM_ROW)
        for name in ("digest", "offset", "sending", "release_kind", "cents"):
            items[name] = order.rows[name][rows]
        items["file"] = self._number
        items["place"] = np.arange(len(rows))
        items["position"] = order.positions[rows]
        self.items.append(items)
        self.tenants += [order.tenants[row] for row in rows.tolist()]


def _by_place(rows: Rows) -> Ints:
    """Order of rows by source (the one that came first goes first), place in it, and sending."""
    _, first, inverse = np.unique(rows["digest"], return_index=True, return_inverse=True)
    return np.lexsort((rows["sending"], rows["start"], first[inverse]))


def party_name(qualifier: bytes, identity: bytes, written: bytes) -> str:
    """Who sends or gets a file, as a part of names of files and folders: different parties have
    different ones. The identity where it is plain (its qualifier behind it, but for ZZ), else what
    can be shown of it and a hash.

    written : both as the ISA has them (envelope.written_identities); it can hang on the delimiters
    """
    is_plain = _PLAIN.fullmatch(identity) and _QUALIFIER.fullmatch(qualifier)
    if is_plain and written == qualifier + identity.ljust(15)[:15]:
        return (identity if qualifier == b"ZZ" else identity + b"-" + qualifier).decode()
    hashed = blake3(encode_body([qualifier, identity, written])).hexdigest()
    return f"{slug(identity)}-{hashed[:_NAME_HASH_DIGITS]}"
