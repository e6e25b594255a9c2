"""To which tenants items go: by the directory, and what nobody can tell to quarantine.

A file's routing is remembered before its first item is logged (`item_log.ItemLog.remember`), so
that a file that comes again goes where it went, whatever the directory says by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.ach import EntryKind
from reassoc.core.directory import DEFAULT_TENANT, Directory
from reassoc.core.errors import DirectoryError, LimitError, ReassocError
from reassoc.core.matching.keys import payment_days
from reassoc.core.matching.payees import identify
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.statuses import PaymentSource
from reassoc.stream.items import payment_pool, remittance_pool

QUARANTINE = "~quarantine"
"""The tenant of items whose payee nobody can tell. No directory may name it."""
ROUTE_BYTES_MAX = 64 << 20
"""Bytes of an encoded route: 5 million changes of the tenant between neighbours in one file."""

Numbers = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class RouteError(ReassocError):
    """What was remembered of a file's routing cannot be used."""


@dataclass(frozen=True, slots=True)
class Tenants:
    """Tenants of items that were routed together.

    names : tenants, among them some that nothing goes to
    remittances, payments : uint32[n], uint32[m]    numbers in `names`
    """

    names: tuple[str, ...]
    remittances: Numbers
    payments: Numbers


class Router:
    """Tells the tenant of each item."""

    def __init__(self, directory: Directory | None) -> None:
        """Without a directory everything goes to "default".

        Raises DirectoryError where a payee has the name of the quarantine for its tenant.
        """
        self._directory = directory
        for place, payee in enumerate(directory.payees if directory is not None else ()):
            if payee.tenant == QUARANTINE:
                raise DirectoryError(
                    f"payees[{place}].tenant is the name of the quarantine: take another one"
                )

    def route(self, left: RemittanceColumns, right: PaymentColumns) -> Tenants:
        """Tenants of the items of one window.

        left.payment_row : row in `right` of the entry that carries an 835, -1 for none

        An item goes to the tenant of its payee, whom all of its identifiers must mean on its day.
        What a CTX entry carries goes with it, and so it does where only the 835s say whose it is. A
        return or notification stands under the originator's bank: its payee is told by the bank
        and account of its original, else by the account alone, else by the original where that is
        among `right`. Everything else goes to QUARANTINE. O(n + m).
        """
        if self._directory is None:
            zeros = np.zeros(len(left), np.uint32), np.zeros(len(right), np.uint32)
            return Tenants((DEFAULT_TENANT,), *zeros)
        told = (right.source == PaymentSource.ACH) & (
            (right.kind == EntryKind.RETURN) | (right.kind == EntryKind.NOTIFICATION)
        )
        remittances, payments = self._by_payee(left, _as_received(right, told))
        lost = np.flatnonzero(told & (payments == 0))
        if len(lost):
            alone = right.take(lost)
            alone = replace(alone, rdfi_routing=np.zeros(len(lost), np.int32))
            payments[lost] = self._by_payee(RemittanceColumns.empty(), alone)[1]
        _carry(left.payment_row, remittances, payments)
        if len(lost):
            _follow_originals(right, told, payments)
        return Tenants((QUARANTINE, *self._directory.tenants), remittances, payments)

    def reroute(self, remittances: Mapping[str, Any], payments: Mapping[str, Any]) -> Tenants:
        """Tenants of items that were logged before, from whatever files: for what lies in
        quarantine when the directory has changed.

        remittances, payments : rows of items.REMITTANCE_ITEM and PAYMENT_ITEM, or of REMITTANCE
            and PAYMENT
        """
        right = payment_pool(payments)
        rows = carrier_rows(remittances["id_digest"], remittances["carrier_offset"], right)
        return self.route(remittance_pool(remittances, rows), right)

    def _by_payee(self, left: RemittanceColumns, right: PaymentColumns) -> tuple[Numbers, Numbers]:
        """Numbers of tenants by the directory, from 1 on; 0 for items without a payee."""
        found = identify(left, right, left.effective_date, payment_days(right), self._directory)
        one, zero = np.uint32(1), np.uint32(0)
        return (
            np.where(found.left_payee > 0, found.left_tenant + one, zero),
            np.where(found.right_payee > 0, found.right_tenant + one, zero),
        )


def carrier_rows(
    digest: npt.NDArray[np.uint64], carrier_offset: Rows, right: PaymentColumns
) -> npt.NDArray[np.int32]:
    """int32[n]: rows in `right` of the entries that carry 835s, by file and byte; -1 where there is
    none. O((n + m) log m).
    """
    rows = np.full(len(digest), -1, np.int32)
    carried = np.flatnonzero(carrier_offset >= 0)
    if len(carried) and len(right):
        kind = np.dtype([("digest", "<u8"), ("offset", "<i8")])
        keys, wanted = np.empty(len(right), kind), np.empty(len(carried), kind)
        keys["digest"], keys["offset"] = right.id_digest, right.id_offset
        wanted["digest"], wanted["offset"] = digest[carried], carrier_offset[carried]
        order = np.argsort(keys, kind="stable")
        place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        rows[carried] = np.where(keys[order][place] == wanted, order[place], -1)
    return rows


def _as_received(right: PaymentColumns, told: Mask) -> PaymentColumns:
    """The payments, with returns and notifications under the bank of their original."""
    if not told.any():
        return right
    bank = np.where(right.original_rdfi > 0, _with_check_digit(right.original_rdfi), np.int32(0))
    return replace(right, rdfi_routing=np.where(told, bank, right.rdfi_routing).astype(np.int32))


def _with_check_digit(banks: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Routing numbers of nine digits from their first eight: 3, 7, 1 weigh the digits, and the
    ninth makes the sum a multiple of ten.
    """
    total = np.zeros(len(banks), np.int64)
    rest = banks.astype(np.int64)
    for weight in (7, 3, 1, 7, 3, 1, 7, 3):
        total += weight * (rest % 10)
        rest //= 10
    return (banks.astype(np.int64) * 10 + -total % 10).astype(np.int32)


def _follow_originals(right: PaymentColumns, told: Mask, tenants: Numbers) -> None:
    """Send returns that nobody can place where the entries went that they name by trace number and
    bank, if that is one tenant.
    """
    lost = np.flatnonzero(told & (tenants == 0) & (right.original_trace > 0))
    places = ~told & (tenants > 0) & np.isin(right.ach_trace, right.original_trace[lost])
    found: dict[tuple[int, int], set[int]] = {}
    for row in np.flatnonzero(places).tolist():
        key = int(right.ach_trace[row]), int(right.rdfi_routing[row]) // 10
        found.setdefault(key, set()).add(int(tenants[row]))
    for row in lost.tolist():
        key = int(right.original_trace[row]), int(right.original_rdfi[row])
        candidates = found.get(key, set())
        if len(candidates) == 1:
            tenants[row] = min(candidates)


def _carry(carrier: npt.NDArray[np.int32], remittances: Numbers, payments: Numbers) -> None:
    """Send 835s with the entries that carry them; an entry without a payee goes with its 835s, if
    those that have one go to the same tenant.
    """
    carried = np.flatnonzero(carrier >= 0)
    if not len(carried):
        return
    entries = carrier[carried]
    own = remittances[carried]
    telling = (payments[entries] == 0) & (own > 0)
    lowest = np.full(len(payments), np.iinfo(np.uint32).max, np.uint32)
    highest = np.zeros(len(payments), np.uint32)
    np.minimum.at(lowest, entries[telling], own[telling])
    np.maximum.at(highest, entries[telling], own[telling])
    agreed = lowest == highest
    payments[agreed] = highest[agreed]
    remittances[carried] = payments[entries]


# ---- what is remembered ----

ROUTES_KEPT = 4096
"""Of items that all go to one tenant, in memory: small messages have few."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Numbers of rows in a row, as runs: run k is numbers[k] up to row stops[k].

    numbers : uint32[k]    stops : int64[k], ascending
    """

    numbers: Numbers
    stops: Rows

    def __len__(self) -> int:
        return int(self.stops[-1]) if len(self.stops) else 0

    def between(self, start: int, stop: int) -> Numbers:
        """uint32[stop - start]: the numbers of some rows. O(rows)."""
        if start >= stop:
            return np.zeros(0, np.uint32)
        first, last = np.searchsorted(self.stops, [start, stop - 1], "right")
        stops = np.minimum(self.stops[first : last + 1], stop)
        counts = np.diff(stops, prepend=np.int64(start))
        values: Numbers = np.repeat(self.numbers[first : last + 1], counts)
        return values


@dataclass(frozen=True, slots=True)
class Route:
    """To which tenants the items of a file go, both sides in the order of the file."""

    tenants: tuple[str, ...]
    remittances: Runs
    payments: Runs


class RouteBuilder:
    """A route, put together window by window."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._sides: tuple[_RunBuilder, _RunBuilder] = (_RunBuilder(), _RunBuilder())

    def add(self, tenants: Tenants) -> None:
        """Take the tenants of the next window."""
        for side, numbers in zip(self._sides, (tenants.remittances, tenants.payments), strict=True):
            used, inverse = np.unique(numbers, return_inverse=True)
            names = [tenants.names[number] for number in used.tolist()]
            own = [self._names.setdefault(name, len(self._names)) for name in names]
            side.add(np.array(own, np.uint32)[inverse])

    def route(self) -> Route:
        """What was added so far."""
        return Route(tuple(self._names), *(side.runs() for side in self._sides))


class _RunBuilder:
    def __init__(self) -> None:
        self._numbers: list[Numbers] = []
        self._stops: list[Rows] = []
        self._count = 0

    def add(self, numbers: Numbers) -> None:
        if not len(numbers):
            return
        last = np.append(np.flatnonzero(np.diff(numbers)), len(numbers) - 1)
        stops = last + 1 + self._count
        if self._numbers and self._numbers[-1][-1] == numbers[0]:
            self._numbers[-1], self._stops[-1] = self._numbers[-1][:-1], self._stops[-1][:-1]
        self._numbers.append(numbers[last])
        self._stops.append(stops.astype(np.int64))
        self._count += len(numbers)

    def runs(self) -> Runs:
        return Runs(
            np.concatenate([np.zeros(0, np.uint32), *self._numbers]),
            np.concatenate([np.zeros(0, np.int64), *self._stops]),
        )


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A route as it is remembered: numbers are uint32 and stops int64, little-endian."""

    tenants: tuple[str, ...]
    remittances: bytes
    remittance_stops: bytes
    payments: bytes
    payment_stops: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode


def encode_route(route: Route) -> bytes:
    """A route as bytes, 12 for each run. Raises LimitError above ROUTE_BYTES_MAX."""
    data = _encode(
        _Body(
            route.tenants,
            route.remittances.numbers.astype("<u4").tobytes(),
            route.remittances.stops.astype("<i8").tobytes(),
            route.payments.numbers.astype("<u4").tobytes(),
            route.payments.stops.astype("<i8").tobytes(),
        )
    )
    if len(data) > ROUTE_BYTES_MAX:
        raise LimitError(
            f"ROUTE_BYTES_MAX: the tenants of a file's items change so often that to remember them "
            f"takes {len(data)} bytes, more than {ROUTE_BYTES_MAX}: split the file"
        )
    return data


@lru_cache(ROUTES_KEPT)
def route_to_one(tenant: str, remittance_count: int, payment_count: int) -> tuple[Route, bytes]:
    """The route of items that all go to one tenant, and as bytes."""
    builder = RouteBuilder()
    counts = remittance_count, payment_count
    builder.add(Tenants((tenant,), *(np.zeros(count, np.uint32) for count in counts)))
    route = builder.route()
    return route, encode_route(route)


def decode_route(data: bytes) -> Route:
    """What encode_route wrote. Raises RouteError for anything else."""
    try:
        body = _decode(data)
        sides = [
            Runs(np.frombuffer(numbers, "<u4"), np.frombuffer(stops, "<i8"))
            for numbers, stops in (
                (body.remittances, body.remittance_stops),
                (body.payments, body.payment_stops),
            )
        ]
    except (msgspec.MsgspecError, ValueError) as error:
        raise RouteError("a remembered routing is damaged: its fields cannot be read") from error
    for side in sides:
        is_sound = (
            len(side.numbers) == len(side.stops)
            and bool((side.numbers < len(body.tenants)).all())
            and bool((np.diff(side.stops, prepend=np.int64(0)) > 0).all())
        )
        if not is_sound:
            raise RouteError("a remembered routing is damaged: its runs are not in order")
    return Route(body.tenants, *sides)
