"""An engine without vault encryption, ledger and sinks, for tests of the matcher: real state and
log, plain stand-ins that remember what they were given.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reassoc.core.directory import Directory, load_directory
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import parse_as_of
from reassoc.stream.engine import Engine, Parts
from reassoc.stream.home_log import HomeLog
from reassoc.stream.home_tables import read_items, write_matches
from reassoc.stream.item_log import SettingsEntry
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.layouts import load_layout
from reassoc.stream.ledger_rows import ORDER_ROW, LedgerBatch, ReleaseOrder
from reassoc.stream.routing import Router
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.sources import Source, discover
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Ids
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.take_in import log_all, read_in


class Kept:
    """What a vault says of content."""

    def __init__(self, data: bytes) -> None:
        self.digest = blake3(data).digest()
        self.byte_count = len(data)
        self.is_new = True


class PlainVault:
    """Contents in memory."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}

    def put(self, pieces: Iterable[bytes | memoryview]) -> Kept:
        data = b"".join(bytes(piece) for piece in pieces)
        kept = Kept(data)
        self.contents[kept.digest] = data
        return kept

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        return _Raw(self.contents[digest])


class _Raw(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        return self._inner.readinto(buffer)


class Books:
    """A ledger, its history and a release book that only remember."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, LedgerBatch]] = []
        self.orders: list[ReleaseOrder] = []
        self.names: dict[int, str] = {}
        self.last: dict[str, int] = {}

    def append_many(self, batches: Sequence[tuple[int, LedgerBatch]]) -> list[bool]:
        self.batches += batches
        for number, batch in batches:
            self.last[batch.tenant] = max(self.last.get(batch.tenant, 0), number)
            for digest, name, _, _ in batch.sources:
                self.names[int.from_bytes(digest[:8], "little")] = name
        return [True] * len(batches)

    def intend(
        self, orders: Sequence[ReleaseOrder], *, rules: WarehouseRules, day: int, at: str
    ) -> Sequence[object]:
        self.orders += orders
        return []

    def released_rows(self) -> npt.NDArray[np.void]:
        """Rows of ORDER_ROW, of all orders."""
        parts = [np.frombuffer(order.items, ORDER_ROW) for order in self.orders]
        return np.concatenate([np.zeros(0, ORDER_ROW), *parts])

    def last_sequence(self, tenant: str) -> int:
        return self.last.get(tenant, 0)

    def read_on(self) -> None:
        pass

    def may_know(self, digests: object, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return np.ones(len(offsets), np.bool_)

    def may_know_business(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        return np.ones(len(keys), np.bool_)

    def known(
        self, tenant: str, digests: object, offsets: npt.NDArray[np.int64], below_position: int
    ) -> npt.NDArray[np.bool_]:
        return np.zeros(len(offsets), np.bool_)

    def known_business(
        self, tenant: str, keys: npt.NDArray[np.uint64], below_position: int
    ) -> npt.NDArray[np.bool_]:
        return np.zeros(len(keys), np.bool_)


class World:
    """One home's engine in a folder, fed by hand."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = "",
        rules: str = "",
        directory: Path | None = None,
        layouts: Sequence[Path] = (),
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.file = SqliteFile(folder / "state.db")
        self.state = SqliteState(self.file)
        self.log = HomeLog(SqliteItemLog(self.file, lambda: "2026-01-01T00:00:00Z"))
        self.vault = PlainVault()
        self.books = Books()
        self.directory: Directory | None = None
        digest = b""
        if directory is not None:
            self.directory = load_directory(directory.read_text())
            digest = blake3(directory.read_bytes()).digest()
        self.router = Router(self.directory)
        self.layouts = [load_layout(path) for path in layouts]
        self.engine = Engine(
            Parts(
                log=self.log,
                state=self.state,
                ledger=self.books,
                book=self.books,
                history=self.books,
                load_directory=self._load,
                now=lambda: "2026-01-01T00:00:00Z",
            )
        )
        holidays = federal_reserve_calendar().holidays.astype("<i4").tobytes()
        self.log.settle(SettingsEntry(policy, rules, digest, holidays))

    def _load(self, digest: bytes) -> Directory:
        assert self.directory is not None
        return self.directory

    def sources(self, *paths: Path) -> list[Source]:
        return discover(paths).sources

    def feed(self, sources: Sequence[Source]) -> None:
        """Take these inputs in as one: one entry of the log for each tenant, where they fit."""
        taken = [
            read_in(
                source,
                vault=self.vault,
                log=self.log,
                router=self.router,
                layouts=self.layouts,
                scratch=self.folder,
            )
            for source in sources
        ]
        log_all(taken, self.log)

    def settle(self) -> None:
        """Make all steps that can be made, and publish them."""
        while self.engine.match(1000) or self.engine.publish():
            pass
        assert self.engine.is_matched()

    def tick(self, until: str | datetime) -> None:
        self.engine.tick(parse_as_of(until) if isinstance(until, str) else until)
        self.settle()

    def matches(self) -> list[str]:
        """Lines of matches.csv."""
        out = io.BytesIO()
        write_matches(
            out,
            read_items(self.state, self.state.tenants()),
            lambda digests: self.books.names,
            self._released,
        )
        return out.getvalue().decode().splitlines()

    def _released(self, tenant: str, ids: Ids) -> list[str]:
        return ["released" for _ in ids]

    def close(self) -> None:
        self.file.close()
