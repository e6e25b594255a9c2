"""A release book on a real ledger, a vault over plain bytes and orders by hand, for tests of what
is released.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from reassoc.core.ach import read_ach
from reassoc.core.x12_835 import Remittances, read_835
from reassoc.stream.envelope import Profile, profile_of
from reassoc.stream.ledger import Ledger
from reassoc.stream.ledger_rows import ORDER_ROW, LedgerBatch, ReleaseOrder
from reassoc.stream.profiles import encode_profile, profile_key
from reassoc.stream.release_book import FOLDER_SINK, Intent, ReleaseBook
from reassoc.stream.releaser import Failure, Releaser
from reassoc.stream.rules import WarehouseRules
from reassoc.stream.sinks import FolderSink
from reassoc.stream.vault_errors import DamagedError, NoContentError

DAY = 20_529
"""2026-03-17"""
AT = "2026-03-17T12:30:00.000+00:00"
TENANT = "north"


class Crash(BaseException):
    """The process ends here. No handler of errors sees it."""


class PlainVault:
    """Contents in memory. `damaged` are digests that cannot be read; `reads` counts calls."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.damaged: set[bytes] = set()
        self.reads = 0

    def put(self, data: bytes) -> bytes:
        digest: bytes = blake3(data).digest()
        self.contents[digest] = data
        return digest

    def read(self, digest: bytes, start: int, stop: int) -> bytes:
        self.reads += 1
        return self._get(digest)[start:stop]

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        return Stream(self._get(digest))

    def _get(self, digest: bytes) -> bytes:
        if digest in self.damaged:
            raise DamagedError("frame 3 of segment 1 does not authenticate")
        if digest not in self.contents:
            raise NoContentError("the vault does not have this content")
        return self.contents[digest]


class Stream(io.RawIOBase):
    """A content from front to back, in small pieces."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(min(len(buffer), 1000))
        buffer[: len(data)] = data
        return len(data)


class World:
    """Everything that a releaser needs, in a folder. `clock` moves only by hand. Files go one by
    one unless `group_files_max` says otherwise."""

    def __init__(self, folder: Path, group_files_max: int = 1) -> None:
        self.folder = folder
        self.group_files_max = group_files_max
        file = folder / "ledger.db"
        if not file.exists():
            file.write_bytes(_empty_ledger())
        self.ledger = Ledger.open(f"sqlite:///{file}")
        self.vault = PlainVault()
        self.released = folder / "released"
        self.clock = datetime(2026, 3, 17, 12, 30, tzinfo=UTC)
        self.failures: list[Failure] = []
        self.restart()

    def restart(self, fault: Callable[[str], None] = lambda _: None) -> None:
        """What a new process knows: files, ledger and vault."""
        self.book = ReleaseBook(self.ledger)
        self.sink = FolderSink(self.released, fault=fault)
        self.releaser = Releaser(
            self.book,
            self.vault,
            {FOLDER_SINK: self.sink},
            now=lambda: self.clock,
            jitter=lambda: 0.0,
            on_failure=self.failures.append,
            fault=fault,
            group_files_max=self.group_files_max,
        )

    def sleep(self, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)

    def keep(self, data: bytes) -> bytes:
        """A file comes: vault and ledger have it."""
        digest = self.vault.put(data)
        sequence = self.ledger.last_sequence(TENANT) + 1
        source = (digest, "a.835", "X12", len(data))
        batch = LedgerBatch(TENANT, sequence, DAY, AT, "items", sources=(source,))
        self.ledger.append(sequence, batch)
        return digest

    def intend(self, *orders: ReleaseOrder, files_of: int = 50_000) -> list[Intent]:
        rules = WarehouseRules(file_transactions_max=files_of)
        return self.book.intend(orders, day=DAY, at=AT, rules=rules)

    def files(self) -> dict[str, bytes]:
        """Everything that receivers see, by folder and name."""
        found = [path for path in self.released.rglob("*") if path.is_file()]
        return {
            path.relative_to(self.released).as_posix(): path.read_bytes()
            for path in sorted(found)
            if ".partial" not in path.parts
        }

    def close(self) -> None:
        self.ledger.close()


@cache
def _empty_ledger() -> bytes:
    """A ledger is made once: its migrations take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "ledger.db")
        Ledger.open(f"sqlite:///{file}").close()
        return file.read_bytes()


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        world.close()


def profiles_of(x12: Remittances) -> list[Profile]:
    """The profile of each transaction."""
    profiles = []
    for group, interchange in zip(
        x12.transactions.group.tolist(), x12.transactions.interchange.tolist(), strict=True
    ):
        marks = x12.interchanges.row(interchange)
        delimiters = (
            marks["element_separator"],
            marks["component_separator"],
            marks["segment_terminator"],
        )
        isa, gs = x12.interchanges.isa.raw(interchange), x12.groups.gs.raw(group)
        profiles.append(profile_of(isa, gs, delimiters, None))
    return profiles


def order_of(
    data: bytes,
    rows: Sequence[int] | None = None,
    *,
    tenant: str = TENANT,
    position: int = 1,
    sending: int = 1,
    carried: bool = False,
) -> ReleaseOrder:
    """An order of all 835s of a file, or of some."""
    x12 = read_ach(data).remittances if carried else read_835(data)
    chosen = list(range(len(x12.transactions))) if rows is None else list(rows)
    known = profiles_of(x12)
    items = np.zeros(len(chosen), ORDER_ROW)
    items["digest"] = int.from_bytes(blake3(data).digest(8), "little")
    items["offset"] = x12.transactions.offset[chosen]
    items["start"] = chosen if carried else x12.transactions.offset[chosen]
    items["stop"] = items["start"] + 1 if carried else x12.transactions.end[chosen]
    items["profile"] = [profile_key(known[row]) for row in chosen]
    items["cents"] = x12.transactions.paid_cents[chosen]
    items["release_kind"] = 1
    items["sending"] = sending
    items["carried"] = carried
    return ReleaseOrder(
        tenant,
        position,
        DAY,
        items.tobytes(),
        tuple(x12.transactions.control_number.raw(row) for row in chosen),
        tuple({profile_key(one): encode_profile(one) for one in known}.items()),
    )
