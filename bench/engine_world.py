"""Engines over many open items, for the benches: the state, the log and the matcher are real, what
follows the outbox is not there.

The items of a world are half remittances, half ACH credits, each with a trace, a payer and an
amount of its own, so that none of them matches another. They are written into the state in bulk and
are kept in build/bench for the next run.

python bench/engine_world.py tick FILE     one clock step over a world; prints a line of JSON
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reassoc.core.ach import EntryKind
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.matching.neighbours import payment_keys, remittance_keys
from reassoc.core.policy import Policy
from reassoc.core.statuses import Funding, PaymentStatus, RemittanceStatus
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.clock import parse_as_of
from reassoc.stream.engine import Engine, Parts
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import Entry, ItemsEntry, Logged, SettingsEntry, SourceNote
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.items import (
    PAYMENT,
    PAYMENT_ITEM,
    REMITTANCE,
    REMITTANCE_ITEM,
    RecordKind,
    id_bytes,
    payment_pool,
    remittance_pool,
)
from reassoc.stream.records import Schema
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Records, State, Step
from reassoc.stream.state_sqlite import SqliteState
from reassoc.stream.verdicts import ALL_VALID

TENANT = "bench"
DAY = 20_542
"""2026-03-30, a Monday, which is open."""
OPENED, CLOSED = "2026-03-30T09:00", "2026-03-30T19:00"
BULK_ROWS = 50_000
FILE_ROWS = 6_000
PAYMENT_DIGESTS = 1 << 61
"""What the digests of an entry's files of payments are above those of its 835s: of one file, two
items could have one id."""
NOW = "2026-03-30T14:00:00Z"
Columns = dict[str, Any]


class Nothing:
    """A ledger, its history and a release book that know nothing and keep nothing."""

    def append_many(self, batches: Sequence[object]) -> list[bool]:
        return [True] * len(batches)

    def intend(self, orders: Sequence[object], **_: object) -> list[object]:
        return []

    def last_sequence(self, tenant: str) -> int:
        return 0

    def read_on(self) -> None:
        pass

    def may_know(self, digests: Any, offsets: Any) -> Any:
        return np.ones(len(offsets), np.bool_)

    def may_know_business(self, keys: Any) -> Any:
        return np.ones(len(keys), np.bool_)

    def known(self, tenant: str, digests: Any, offsets: Any, below_position: int) -> Any:
        return np.zeros(len(offsets), np.bool_)

    def known_business(self, tenant: str, keys: Any, below_position: int) -> Any:
        return np.zeros(len(keys), np.bool_)


class EntryLog:
    """The log of one tenant in memory. It forgets what was applied."""

    def __init__(self) -> None:
        self._entries: list[Logged] = []
        self._end = 0

    def append(self, entries: Sequence[tuple[str, Entry]]) -> None:
        for _, entry in entries:
            self._end += 1
            self._entries.append(Logged(self._end, NOW, entry))

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        self._entries = [logged for logged in self._entries if logged.position > after]
        return self._entries[:limit]


def no_directory(digest: bytes) -> Any:
    raise KeyError(digest)


def settings_entry() -> SettingsEntry:
    """The defaults, and the holidays of the Federal Reserve."""
    holidays = federal_reserve_calendar().holidays.astype("<i4").tobytes()
    return SettingsEntry("", "", b"", holidays)


class Engines:
    """One engine on a file."""

    def __init__(self, path: Path) -> None:
        self.file = SqliteFile(path)
        self.state = SqliteState(self.file)
        self.log = HomeLog(SqliteItemLog(self.file, lambda: NOW))
        nothing = Nothing()
        self.engine = Engine(
            Parts(
                log=self.log,
                state=self.state,
                ledger=nothing,
                book=nothing,
                history=nothing,
                load_directory=no_directory,
                now=lambda: NOW,
            )
        )

    def settle(self) -> None:
        """Make all steps, and empty the outbox."""
        while self.engine.match(1000) or self.engine.publish():
            pass


def _texts(form: bytes, numbers: np.ndarray) -> TextColumn:
    return TextColumn.from_values([form % number for number in numbers.tolist()])


def _filled(schema: Schema, count: int, given: Columns) -> Columns:
    """Rows of a schema: what is given, no texts and zeros else."""
    nothing = TextColumn(b"", np.zeros((count, 2), np.uint32))
    return {
        name: given[name].astype(kind)
        if name in given and kind != "text"
        else given.get(name, nothing if kind == "text" else np.zeros(count, kind))
        for name, kind in schema.types.items()
    }


def _same(count: int, value: object) -> np.ndarray:
    return np.full(count, value)


def remittances(numbers: np.ndarray, digest: int, *, schema: Schema = REMITTANCE) -> Columns:
    """835s that pay by ACH. numbers : int64[n]   what each one's trace, payer and amount come of"""
    count = len(numbers)
    return _filled(schema, count, {
        "position": _same(count, 1), "seen_day": _same(count, DAY),
        "closed_day": _same(count, DATE_NONE),
        "status": _same(count, int(RemittanceStatus.AWAITING_EFT)),
        "id_digest": np.uint64(digest) + (np.arange(count) // FILE_ROWS).astype(np.uint64),
        "id_offset": 200 + numbers * 7000,
        "trace": _texts(b"%015d", numbers), "payer_id": _texts(b"1%09d", numbers % 10**9),
        "payee_account": _texts(b"%012d", numbers % 5000),
        "payer_name": _texts(b"HEALTH PLAN %d", numbers % 500),
        "paid_cents": 10_000 + numbers, "effective_date": _same(count, DAY - 1),
        "payment_method": _same(count, b"ACH"), "handling": _same(count, b"I"),
        "credit_debit": _same(count, b"C"),
        "body_hash": (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15),
        "valid": _same(count, True), "carrier_offset": _same(count, -1),
        "ordinal": np.arange(count), "start": _same(count, -1), "stop": _same(count, -1),
        "checks": _same(count, ALL_VALID), "claims": _same(count, 16),
        "control": _texts(b"%04d", numbers % 10_000),
    })  # fmt: skip


def payments(numbers: np.ndarray, digest: int, *, schema: Schema = PAYMENT) -> Columns:
    """ACH credits that are settled; the one of a number is paid for the 835 of that number."""
    count = len(numbers)
    return _filled(schema, count, {
        "position": _same(count, 1), "seen_day": _same(count, DAY),
        "closed_day": _same(count, DATE_NONE),
        "status": _same(count, int(PaymentStatus.UNMATCHED)),
        "funding": _same(count, int(Funding.SETTLED)),
        "id_digest": np.uint64(digest) + (np.arange(count) // FILE_ROWS).astype(np.uint64),
        "id_offset": 120 + numbers * 190,
        "trace": _texts(b"%015d", numbers), "payer_id": _texts(b"1%09d", numbers % 10**9),
        "company_id": _texts(b"1%09d", numbers % 10**9),
        "company_name": _texts(b"PLAN %d", numbers % 500),
        "account": _texts(b"%012d", numbers % 5000),
        "amount_cents": 10_000 + numbers, "kind": _same(count, int(EntryKind.CREDIT)),
        "settlement_date": _same(count, DAY - 1), "effective_date": _same(count, DAY - 1),
        "rdfi_routing": _same(count, 21000021), "odfi": _same(count, 9100001),
        "ach_trace": 91_000_010_000_000 + numbers, "sec": _same(count, b"CCD"),
        "entry_description": _texts(b"HCCLAIMPMT", numbers[:0])
        if not count else TextColumn.from_values([b"HCCLAIMPMT"] * count),
        "original_trace": _same(count, -1), "original_rdfi": _same(count, -1),
        "return_trace": _same(count, -1), "report": _same(count, -1),
        "type_code": _same(count, 0), "valid": _same(count, True),
        "ordinal": np.arange(count),
    })  # fmt: skip


def entry(left: np.ndarray, right: np.ndarray, digest: int) -> ItemsEntry:
    """An entry of the log with the 835s and the payments of some numbers."""
    packed: list[bytes] = []
    for schema, make, numbers, file in (
        (REMITTANCE_ITEM, remittances, left, digest),
        (PAYMENT_ITEM, payments, right, digest + PAYMENT_DIGESTS),
    ):
        block = schema.pack(make(numbers, file, schema=schema))
        packed += [block.data, block.stops.astype("<i8").tobytes()]
    note = SourceNote(digest.to_bytes(8, "little") * 4, "bench", "X12", 1)
    return ItemsEntry((note,), packed[0], packed[1], packed[2], packed[3], ())


def _records(kind: RecordKind, schema: Schema, rows: Columns) -> Records:
    """Rows as records with the keys that a matcher would give them."""
    count = len(rows["status"])
    if kind == RecordKind.REMITTANCE:
        pool = remittance_pool(rows, np.full(count, -1, np.int32))
        columns = remittance_keys(pool, Policy(), None, carrier_offset=rows["carrier_offset"])
    else:
        columns = payment_keys(payment_pool(rows), Policy(), None)
    table = np.stack(columns, axis=1)
    return Records(
        id_bytes(rows["id_digest"], rows["id_offset"]),
        np.full(count, kind, np.uint8),
        table[table != 0],
        np.cumsum((table != 0).sum(axis=1), dtype=np.int64),
        schema.pack(rows),
    )


def fill(state: State, count: int) -> None:
    """So many open items: 835s of even numbers, payments of odd ones."""
    claim = state.claim(TENANT)
    for first in range(0, count, BULK_ROWS):
        size = min(BULK_ROWS, count - first)
        numbers = np.arange(first, first + size)
        # Digests of files are random: in the order of ids the items of all days are mixed.
        digests = np.random.default_rng(first).integers(1 << 40, 1 << 63, 2).tolist()
        puts = Records.concat(
            [
                _records(RecordKind.REMITTANCE, REMITTANCE, remittances(numbers[::2], digests[0])),
                _records(RecordKind.PAYMENT, PAYMENT, payments(numbers[1::2], digests[1])),
            ]
        )
        state.apply(claim, Step(claim.mark, claim.mark, puts))


def world_path(count: int, kept: Path) -> Path:
    """The file of a world with so many open items, made where it is not there."""
    path = kept / f"engine-{count}.db"
    if not path.exists():
        kept.mkdir(parents=True, exist_ok=True)
        making = kept / f"engine-{count}-{os.getpid()}.making"
        engines = Engines(making)
        engines.log.settle(settings_entry())
        engines.engine.tick(parse_as_of(OPENED))
        engines.log.append([(TENANT, entry(np.zeros(0, np.int64), np.zeros(0, np.int64), 1))])
        engines.settle()
        fill(engines.state, count)
        engines.file.close()
        making.replace(path)
    return path


@contextmanager
def copied(path: Path, folder: Path) -> Iterator[Engines]:
    """An engine on a copy of a world."""
    target = folder / path.name
    shutil.copyfile(path, target)
    engines = Engines(target)
    try:
        yield engines
    finally:
        engines.file.close()
        target.unlink()


def _memory_peak_mib() -> int:
    """Of this process: getrusage tells that of the one it was forked from as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) >> 10


def tick(path: Path) -> dict[str, Any]:
    """Close the day: what the step took, and the most memory that the process had."""
    engines = Engines(path)
    assert engines.engine.is_matched()
    engines.engine.tick(parse_as_of(CLOSED))
    start, cpu = time.perf_counter(), time.process_time()
    assert engines.engine.match(1) == 1
    figures = {
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "memory_peak_mib": _memory_peak_mib(),
        "items": sum(
            map(len, engines.state.scan(TENANT, (RecordKind.REMITTANCE, RecordKind.PAYMENT)))
        ),
    }
    engines.file.close()
    return figures


if __name__ == "__main__":
    print(json.dumps(tick(Path(sys.argv[2]))))
