"""The match state in the engine's SQLite file.

Rows go in by the ten thousand, so no statement is run per row: a call hands SQLite its ids, keys
and bodies as one blob each, and a statement cuts them up by the rows of `number`. That is two to
three times as fast as a statement per row, and Python's lock is free meanwhile, so other threads go
on (bench/test_bench_state.py). Keys are 8 bytes, big-endian: blobs in the order of the numbers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from reassoc.core.errors import LimitError, ReassocError
from reassoc.stream.records import Block
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import (
    ID_BYTES,
    KEY_RECORDS_MAX,
    PROBE_KEYS_MAX,
    SCAN_RECORDS_MAX,
    Ask,
    Claim,
    FencedError,
    Ids,
    Keys,
    MarkError,
    OutboxEntry,
    Probe,
    Records,
    StateError,
    Step,
    Stops,
    UnclaimedError,
    as_text,
    check_step,
    distinct,
    dump_records,
    no_ids,
    refusal_of,
)

STATEMENT_ROWS_MAX = 1 << 16
"""Rows that one statement handles: as many as `number` has."""
STATEMENT_BYTES_MAX = 64 << 20
"""Bytes of bodies that one statement is handed, beyond those of one row."""
PROBE_ROWS_MAX = 1 << 17
"""Ids that one statement of a probe brings; where there are more, crowded keys are looked for."""
OUTBOX_READ_BYTES_MAX = 64 << 20
"""Bytes of outbox entries that one call brings at most, beyond the first of them."""

_KEY_BYTES = 8
_DIGITS = 9
"""Of a number in a layout: STATEMENT_BYTES_MAX and a body have eight, the sum fits as well."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS tenant (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL,
        mark INTEGER NOT NULL, next_sequence INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS record (
        tenant INTEGER NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL, keys BLOB NOT NULL,
        body BLOB NOT NULL, PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS record_key (
        tenant INTEGER NOT NULL, key BLOB NOT NULL, id BLOB NOT NULL,
        PRIMARY KEY (tenant, key, id)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS outbox (
        tenant INTEGER NOT NULL REFERENCES tenant, sequence INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, sequence))""",
    "CREATE TABLE IF NOT EXISTS number (n INTEGER PRIMARY KEY)",
    f"""INSERT INTO number
        WITH RECURSIVE up (n) AS (
            SELECT 0 UNION ALL SELECT n + 1 FROM up WHERE n + 1 < {STATEMENT_ROWS_MAX})
        SELECT n FROM up WHERE NOT EXISTS (SELECT 1 FROM number)""",
)

_ID = f"substr(:ids, n * {ID_BYTES} + 1, {ID_BYTES})"
_KEY = f"substr(:keys, n * {_KEY_BYTES} + 1, {_KEY_BYTES})"


def _number(field: int, fields: int) -> str:
    """SQL of a number of row n of a layout, see `_layout`."""
    place = f"n * {fields * _DIGITS} + {field * _DIGITS + 1}"
    return f"CAST(substr(:layout, {place}, {_DIGITS}) AS INTEGER)"


_ROWS_OF_IDS = f"""SELECT r.id, r.kind, r.keys, r.body FROM number
    CROSS JOIN record AS r ON r.tenant = :tenant AND r.id = {_ID} WHERE n < :count"""
_KEYS_OF_IDS = f"""SELECT r.id, r.keys FROM number
    CROSS JOIN record AS r ON r.tenant = :tenant AND r.id = {_ID} WHERE n < :count"""
_IDS_OF_KEYS = f"""SELECT n, k.id FROM number
    CROSS JOIN record_key AS k ON k.tenant = :tenant AND k.key = {_KEY} WHERE n < :count
    ORDER BY n, k.id LIMIT {PROBE_ROWS_MAX}"""
_CROWDED = f"""SELECT n FROM number WHERE n < :count AND (
    SELECT 1 FROM record_key AS k WHERE k.tenant = :tenant AND k.key = {_KEY}
    LIMIT 1 OFFSET {KEY_RECORDS_MAX}) IS NOT NULL"""
_FIRST_OF_KEY = f"""SELECT id FROM record_key WHERE tenant = :tenant AND key = :key
    ORDER BY id LIMIT {KEY_RECORDS_MAX}"""
_PUT = f"""INSERT INTO record SELECT :tenant, {_ID}, {_number(4, 5)},
    substr(:keys, {_number(0, 5)}, {_number(1, 5)}),
    substr(:bodies, {_number(2, 5)}, {_number(3, 5)}) FROM number WHERE n < :count"""
_PUT_KEYS = f"""INSERT OR IGNORE INTO record_key
    SELECT :tenant, {_KEY}, {_ID} FROM number WHERE n < :count"""
_UPDATE = f"""UPDATE record SET body = new.body FROM (
        SELECT {_ID} AS id, substr(:bodies, {_number(0, 2)}, {_number(1, 2)}) AS body
        FROM number WHERE n < :count) AS new
    WHERE record.tenant = :tenant AND record.id = new.id"""
_REMOVE = f"""DELETE FROM record WHERE tenant = :tenant
    AND id IN (SELECT {_ID} FROM number WHERE n < :count)"""
_REMOVE_KEYS = f"""DELETE FROM record_key WHERE tenant = :tenant
    AND (key, id) IN (SELECT {_KEY}, {_ID} FROM number WHERE n < :count)"""


class SqliteState:
    """State in one file, which `close` closes. See `state.State` for what each call promises."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        file.make_tables(_TABLES)

    def tenants(self) -> list[str]:
        """Every tenant that was claimed once, sorted."""
        with self._file.read() as connection:
            return sorted(name for (name,) in connection.execute("SELECT name FROM tenant"))

    def claim(self, tenant: str, *, may_begin: bool = True) -> Claim:
        """Become the tenant's only writer: every earlier claim is void from now on."""
        with self._file.write() as connection:
            if not may_begin and _tenant(connection, tenant)[0] < 0:
                raise self._unclaimed()
            ((epoch, mark),) = connection.execute(
                "INSERT INTO tenant (name, epoch, mark, next_sequence) VALUES (?, 1, 0, 1)"
                " ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1 RETURNING epoch, mark",
                (tenant,),
            ).fetchall()
        return Claim(tenant, epoch, mark)

    def mark(self, tenant: str) -> int:
        """The position up to which the tenant's log is applied, 0 for nothing."""
        with self._file.read() as connection:
            return _tenant(connection, tenant)[1]

    def probe(self, tenant: str, keys: Keys, ids: Ids | None = None) -> Probe:
        """Records by their keys, and by ids as `fetch` does, in the order of ids. At most
        PROBE_KEYS_MAX keys (ValueError)."""
        if len(keys) > PROBE_KEYS_MAX:
            raise ValueError(f"more than PROBE_KEYS_MAX ({PROBE_KEYS_MAX}) keys")
        wanted = distinct(keys)
        found = {row.tobytes() for row in ids} if ids is not None else set[bytes]()
        crowded = [np.zeros(0, np.uint64)]
        with self._file.read() as connection:
            number, _ = _tenant(connection, tenant)
            for start in range(0, len(wanted), STATEMENT_ROWS_MAX):
                some = wanted[start : start + STATEMENT_ROWS_MAX]
                having, too_many = _ids_of_keys(connection, number, some)
                found |= having
                crowded.append(too_many)
            records = _fetch(connection, number, _unpacked(sorted(found)))
            return Probe(records, np.concatenate(crowded))

    def probe_each(self, asks: Sequence[Ask]) -> list[Probe]:
        """Several probes, each as `probe` makes it."""
        return [self.probe(tenant, keys, ids) for tenant, keys, ids in asks]

    def fetch(self, tenant: str, ids: Ids) -> Records:
        """Records by their ids, in the order of ids; ids that are not there are left out."""
        with self._file.read() as connection:
            number, _ = _tenant(connection, tenant)
            return _fetch(connection, number, _unique(ids))

    def scan(self, tenant: str, kinds: Sequence[int] = ()) -> Iterator[Records]:
        """All records (of some kinds) in the order of ids, in pieces of at most SCAN_RECORDS_MAX.

        Each piece is a snapshot of its own, so a slow reader holds nothing up.
        """
        after: bytes | None = b""
        while after is not None:
            with self._file.read() as connection:
                number, _ = _tenant(connection, tenant)
                piece, after = _piece(connection, number, after, kinds)
            if len(piece):
                yield piece

    def dump(self, tenant: str) -> bytes:
        """Mark and records of one moment, as `state.dump_records` writes them. All in memory."""
        with self._file.read() as connection:
            number, mark = _tenant(connection, tenant)
            pieces: list[Records] = []
            after: bytes | None = b""
            while after is not None:
                piece, after = _piece(connection, number, after, ())
                pieces.append(piece)
        return dump_records(mark, pieces)

    def apply(self, claim: Claim, step: Step) -> None:
        """Make a step, durably, whole or not at all; see `state.State.apply`. One transaction."""
        check_step(step)
        with self._file.write() as connection:
            self._make(connection, claim, step)

    def apply_each(self, steps: Sequence[tuple[Claim, Step]]) -> list[ReassocError | None]:
        """Steps of different tenants, see `state.State.apply_each`. One transaction, unless one of
        them is refused."""
        try:
            for _, step in steps:
                check_step(step)
            with self._file.write() as connection:
                for claim, step in steps:
                    self._make(connection, claim, step)
        except (StateError, LimitError):
            return [refusal_of(self, claim, step) for claim, step in steps]
        return [None] * len(steps)

    def _make(self, connection: sqlite3.Connection, claim: Claim, step: Step) -> None:
        row = connection.execute(
            "SELECT number, epoch, mark, next_sequence FROM tenant WHERE name = ?",
            (claim.tenant,),
        ).fetchone()
        if row is None:
            raise self._unclaimed()
        number, epoch, mark, next_sequence = row
        if epoch != claim.epoch:
            raise FencedError(
                f"the claim of epoch {claim.epoch} is void, the tenant's epoch is {epoch}: "
                "another writer has taken over, this one must stop"
            )
        if step.mark_after <= mark and not step.mark_before == step.mark_after == mark:
            return
        if step.mark_before != mark:
            raise MarkError(
                f"the step was made from mark {step.mark_before}, the state has {mark}: probe again"
            )
        _remove(connection, number, np.concatenate([step.puts.ids, step.removes]))
        _put(connection, number, step.puts)
        _update(connection, number, step.updates, step.update_bodies)
        connection.executemany(
            "INSERT INTO outbox VALUES (?, ?, ?)",
            ((number, next_sequence + k, body) for k, body in enumerate(step.outbox)),
        )
        connection.execute(
            "UPDATE tenant SET mark = ?, next_sequence = ? WHERE number = ?",
            (step.mark_after, next_sequence + len(step.outbox), number),
        )

    def _unclaimed(self) -> UnclaimedError:
        return UnclaimedError(
            f"{self._file.path}: the tenant has no epoch: its state was lost; rebuild it from the "
            "item log"
        )

    def outbox(self, tenant: str, limit: int, after: int = 0) -> list[OutboxEntry]:
        """The entries that nobody acknowledged, oldest first, at most `limit`, behind a sequence:
        fewer where OUTBOX_READ_BYTES_MAX is reached, none only where there is none."""
        entries, size = [], 0
        with self._file.read() as connection:
            number, _ = _tenant(connection, tenant)
            for sequence, body in connection.execute(
                "SELECT sequence, body FROM outbox WHERE tenant = ? AND sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (number, after, max(limit, 0)),
            ):
                entries.append(OutboxEntry(sequence, body))
                size += len(body)
                if size >= OUTBOX_READ_BYTES_MAX:
                    break
        return entries

    def acknowledge(self, tenant: str, sequence: int) -> None:
        """Forget the outbox entries up to and with this one: what they ask for is durable."""
        with self._file.write() as connection:
            number, _ = _tenant(connection, tenant)
            connection.execute(
                "DELETE FROM outbox WHERE tenant = ? AND sequence <= ?", (number, sequence)
            )

    def close(self) -> None:
        """Close the file, for the item log that shares it as well."""
        self._file.close()


def _tenant(connection: sqlite3.Connection, tenant: str) -> tuple[int, int]:
    """A tenant's number and mark; for one that nobody claimed, a number that no row has."""
    row = connection.execute("SELECT number, mark FROM tenant WHERE name = ?", (tenant,)).fetchone()
    return (row[0], row[1]) if row else (-1, 0)


def _call(number: int, *, ids: Ids | None = None, keys: Keys | None = None) -> dict[str, Any]:
    """Parameters of a statement over ids, keys or pairs of them."""
    call: dict[str, Any] = {"tenant": number}
    if ids is not None:
        call |= {"count": len(ids), "ids": ids.tobytes()}
    if keys is not None:
        call |= {"count": len(keys), "keys": _cuttable(keys.astype(">u8").tobytes())}
    return call


def _cuttable(data: bytes) -> bytes:
    """A blob to be cut by substr, which makes NULL of any part of a blob without bytes."""
    return data or b"\x00"


def _ids_of_keys(
    connection: sqlite3.Connection, number: int, keys: Keys
) -> tuple[set[bytes], Keys]:
    """Ids of the records that have some keys, at most STATEMENT_ROWS_MAX; and the crowded ones of
    the keys, of which only the first records are there.

    Where the ids are no more than one statement brings they tell themselves which keys are crowded:
    one search of each key.
    """
    rows = connection.execute(_IDS_OF_KEYS, _call(number, keys=keys)).fetchall()
    if len(rows) <= KEY_RECORDS_MAX:
        return {id_ for _, id_ in rows}, keys[:0]
    if len(rows) < PROBE_ROWS_MAX:
        counts = np.bincount(np.fromiter((row for row, _ in rows), np.int64, len(rows)))
        many = {*np.flatnonzero(counts > KEY_RECORDS_MAX).tolist()}
        found = {id_ for row, id_ in rows if row not in many}
        crowded = keys[np.array(sorted(many), np.int64)]
    else:
        crowded = _crowded(connection, number, keys)
        found = _ids_of_easy(connection, number, keys[~np.isin(keys, crowded)])
    for key in crowded.tolist():
        call = {"tenant": number, "key": key.to_bytes(_KEY_BYTES, "big")}
        found.update(id_ for (id_,) in connection.execute(_FIRST_OF_KEY, call))
    return found, crowded


def _ids_of_easy(connection: sqlite3.Connection, number: int, keys: Keys) -> set[bytes]:
    """Ids of the records that have some keys, none of which is crowded."""
    found: set[bytes] = set()
    # So many at a time that their records cannot be more than a statement brings.
    for start in range(0, len(keys), PROBE_ROWS_MAX // KEY_RECORDS_MAX):
        some = keys[start : start + PROBE_ROWS_MAX // KEY_RECORDS_MAX]
        found.update(id_ for _, id_ in connection.execute(_IDS_OF_KEYS, _call(number, keys=some)))
    return found


def _crowded(connection: sqlite3.Connection, number: int, keys: Keys) -> Keys:
    """Those of the keys that more than KEY_RECORDS_MAX records have."""
    rows = [row for (row,) in connection.execute(_CROWDED, _call(number, keys=keys))]
    return keys[np.array(rows, np.int64)]


def _fetch(connection: sqlite3.Connection, number: int, ids: Ids) -> Records:
    """The records of ids that are sorted and stand there once."""
    rows: list[Any] = []
    for start in range(0, len(ids), STATEMENT_ROWS_MAX):
        some = ids[start : start + STATEMENT_ROWS_MAX]
        rows += connection.execute(_ROWS_OF_IDS, _call(number, ids=some)).fetchall()
    return _records(rows)


def _piece(
    connection: sqlite3.Connection, number: int, after: bytes, kinds: Sequence[int]
) -> tuple[Records, bytes | None]:
    """The next records behind an id, and the last of them; None where no more can follow."""
    of_kinds = f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    rows = connection.execute(
        f"SELECT id, kind, keys, body FROM record WHERE tenant = ? AND id > ?{of_kinds}"
        " ORDER BY id LIMIT ?",
        (number, after, *map(int, kinds), SCAN_RECORDS_MAX),
    ).fetchall()
    return _records(rows), rows[-1][0] if len(rows) == SCAN_RECORDS_MAX else None


def _records(rows: Sequence[tuple[bytes, int, bytes, bytes]]) -> Records:
    """Rows of (id, kind, keys, body) as packed arrays."""
    if not rows:
        return Records.none()
    # PERF: a list for each column; zip(*rows) makes an iterator of every row, at ten times the cost
    kinds = np.fromiter([row[1] for row in rows], np.uint8, len(rows))
    keys = _unpacked_keys([row[2] for row in rows])
    bodies = Block.of([row[3] for row in rows])
    return Records(_unpacked([row[0] for row in rows]), kinds, *keys, bodies)


def _unpacked_keys(packed: Sequence[bytes]) -> tuple[Keys, Stops]:
    """The keys of some records, and where those of each end."""
    counts = np.fromiter(map(len, packed), np.int64, len(packed)) // _KEY_BYTES
    return np.frombuffer(b"".join(packed), ">u8").astype(np.uint64), np.cumsum(counts)


def _put(connection: sqlite3.Connection, number: int, puts: Records) -> None:
    """Write records that are not there, in the order of ids; then their keys, in their order."""
    puts = puts.take(np.argsort(as_text(puts.ids), kind="stable"))
    for start, stop in _statements(puts.bodies):
        some = puts.take(np.arange(start, stop))
        key_bytes, body_bytes = some.key_counts * _KEY_BYTES, _lengths(some.bodies)
        layout = _layout(
            some.key_stops * _KEY_BYTES - key_bytes + 1,
            key_bytes,
            some.bodies.stops - body_bytes + 1,
            body_bytes,
            some.kinds.astype(np.int64),
        )
        call = _call(number, keys=some.keys) | _call(number, ids=some.ids)
        call |= {"layout": layout, "bodies": _cuttable(some.bodies.data)}
        connection.execute(_PUT, call)
    ids = np.repeat(puts.ids, puts.key_counts, axis=0)
    _change_keys(connection, _PUT_KEYS, number, puts.keys, ids)


def _remove(connection: sqlite3.Connection, number: int, ids: Ids) -> None:
    """Take records away with their keys; ids that are not there do nothing."""
    ids = _unique(ids)
    for start in range(0, len(ids), STATEMENT_ROWS_MAX):
        some = _call(number, ids=ids[start : start + STATEMENT_ROWS_MAX])
        there = connection.execute(_KEYS_OF_IDS, some).fetchall()
        if not there:
            continue
        names, packed = zip(*there, strict=True)
        keys, stops = _unpacked_keys(packed)
        key_ids = np.repeat(_unpacked(names), np.diff(stops, prepend=0), axis=0)
        _change_keys(connection, _REMOVE_KEYS, number, keys, key_ids)
        connection.execute(_REMOVE, some)


def _change_keys(
    connection: sqlite3.Connection, statement: str, number: int, keys: Keys, ids: Ids
) -> None:
    """Write or remove rows of record_key, in their order: neighbours lie on one page."""
    order = np.argsort(keys, kind="stable")
    for start in range(0, len(order), STATEMENT_ROWS_MAX):
        some = order[start : start + STATEMENT_ROWS_MAX]
        connection.execute(statement, _call(number, ids=ids[some], keys=keys[some]))


def _update(connection: sqlite3.Connection, number: int, ids: Ids, bodies: Block) -> None:
    """Change bodies. Raises StateError where an id is not there."""
    changed = 0
    for start, stop in _statements(bodies):
        some = bodies.take(slice(start, stop))
        lengths = _lengths(some)
        call = _call(number, ids=ids[start:stop]) | {
            "layout": _layout(some.stops - lengths + 1, lengths),
            "bodies": _cuttable(some.data),
        }
        changed += connection.execute(_UPDATE, call).rowcount
    if changed != len(ids):
        raise StateError(
            f"{len(ids) - changed} of {len(ids)} records to be updated are not in the state: the "
            "step was not made from what the state has; probe again"
        )


def _statements(bodies: Block) -> Iterator[tuple[int, int]]:
    """Ranges of rows for one statement each, within STATEMENT_ROWS_MAX and STATEMENT_BYTES_MAX."""
    start = 0
    while start < len(bodies):
        base = int(bodies.stops[start - 1]) if start else 0
        full = int(np.searchsorted(bodies.stops, base + STATEMENT_BYTES_MAX, side="right"))
        stop = min(max(full, start + 1), start + STATEMENT_ROWS_MAX, len(bodies))
        yield start, stop
        start = stop


def _layout(*fields: Stops) -> bytes:
    """Numbers of rows as text that SQL can cut: _DIGITS decimals each, row by row.

    Each field is int64[n], from 0 and below 10 ** _DIGITS.
    """
    rest = np.stack(fields, axis=1)
    text = np.empty((*rest.shape, _DIGITS), np.uint8)
    for place in range(_DIGITS - 1, -1, -1):
        text[..., place] = rest % 10 + ord("0")
        rest //= 10
    return text.tobytes()


def _lengths(bodies: Block) -> Stops:
    return np.diff(bodies.stops, prepend=0)


def _unique(ids: Ids) -> Ids:
    """Ids sorted, each once."""
    return distinct(as_text(ids)).view(np.uint8).reshape(-1, ID_BYTES)


def _unpacked(ids: Sequence[bytes]) -> Ids:
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, ID_BYTES) if ids else no_ids()
