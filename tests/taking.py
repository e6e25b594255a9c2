"""A vault and an item log in memory, written to their protocols, that fail where they shall."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from reassoc.stream.item_log import (
    ENTRY_BYTES_MAX,
    ENTRY_ITEMS_MAX,
    Entry,
    ItemsEntry,
    Logged,
    Routing,
    decode_entry,
    encode_entry,
)
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.records import Block
from reassoc.stream.sources import Source, discover


class CrashError(Exception):
    """The process died here."""


class Faults:
    """Counts the durable calls, and crashes before or after one of them.

    at : number of the call, from 1; after : the call is made before the crash
    """

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at, self.after, self.count = at, after, 0
        self.calls: list[str] = []

    def before(self, name: str) -> None:
        self.count += 1
        self.calls.append(name)
        if self.count == self.at and not self.after:
            raise CrashError(name)

    def done(self) -> None:
        if self.count == self.at and self.after:
            raise CrashError(self.calls[-1])


@dataclass(frozen=True)
class FakeStored:
    digest: bytes
    byte_count: int


class FakeVault:
    """Contents by their digests; keeps them where it is not told to drop them."""

    def __init__(self, faults: Faults | None = None, *, keeps: bool = True) -> None:
        self.faults, self.keeps = faults or Faults(), keeps
        self.contents: dict[bytes, bytes] = {}
        self.opened = 0

    def put(self, pieces: Iterable[bytes | memoryview]) -> FakeStored:
        self.faults.before("put")
        hasher, size, kept = blake3(), 0, []
        for piece in pieces:
            hasher.update(piece)
            size += len(piece)
            if self.keeps:
                kept.append(bytes(piece))
        digest = hasher.digest()
        if self.keeps:
            self.contents[digest] = b"".join(kept)
        self.faults.done()
        return FakeStored(digest, size)

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        self.opened += 1
        return _Raw(self.contents[digest])


class _Raw(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


class FakeLog:
    """Logs in memory, with every entry encoded and held to its limits."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.entries: dict[str, list[bytes]] = {}
        self.known: dict[bytes, Routing] = {}
        self.append_count = 0

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
    ) -> list[int]:
        self.faults.before("append")
        assert entries or routings
        self.append_count += 1
        positions = []
        for tenant, entry in entries:
            data = encode_entry(entry)
            assert len(data) <= ENTRY_BYTES_MAX
            assert isinstance(entry, ItemsEntry)
            items = len(entry.remittance_stops) // 8 + len(entry.payment_stops) // 8
            assert 0 < items <= ENTRY_ITEMS_MAX
            self.entries.setdefault(tenant, []).append(data)
            positions.append(len(self.entries[tenant]))
        for key, routing in routings:
            known = self.known.get(key, routing)
            self.known[key] = Routing(known.body, known.logged or routing.logged)
        self.faults.done()
        return positions

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        found = self.entries.get(tenant, [])[after : after + limit]
        return [Logged(after + 1 + n, "", decode_entry(data)) for n, data in enumerate(found)]

    def tenants(self) -> dict[str, int]:
        return {tenant: len(entries) for tenant, entries in self.entries.items()}

    def routings(self, keys: Sequence[bytes]) -> dict[bytes, Routing]:
        return {key: self.known[key] for key in keys if key in self.known}

    def close(self) -> None:
        pass

    def items_entries(self, tenant: str) -> list[ItemsEntry]:
        found = []
        for logged in self.read(tenant, 0, 1 << 30):
            assert isinstance(logged.entry, ItemsEntry)
            found.append(logged.entry)
        return found


def rows_of(entry: ItemsEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tables of an entry: remittances and payments."""
    left = Block(entry.remittances, np.frombuffer(entry.remittance_stops, "<i8"))
    right = Block(entry.payments, np.frombuffer(entry.payment_stops, "<i8"))
    return REMITTANCE_ITEM.unpack(left), PAYMENT_ITEM.unpack(right)


def logged_rows(log: FakeLog, tenant: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """All rows on a tenant's log, in the order of its entries."""
    tables = [rows_of(entry) for entry in log.items_entries(tenant)]
    if not tables:
        return REMITTANCE_ITEM.empty(), PAYMENT_ITEM.empty()
    return (
        REMITTANCE_ITEM.concat([table[0] for table in tables]),
        PAYMENT_ITEM.concat([table[1] for table in tables]),
    )


def ids_of(log: FakeLog) -> list[tuple[str, int, int]]:
    """(tenant, digest, offset) of every item on the log, as often as it is there, sorted."""
    return sorted(
        (tenant, digest, offset)
        for tenant in log.tenants()
        for table in logged_rows(log, tenant)
        for digest, offset in zip(
            table["id_digest"].tolist(), table["id_offset"].tolist(), strict=True
        )
    )


def sources_of(path: Path) -> list[Source]:
    """The inputs under a path."""
    return discover([path]).sources
