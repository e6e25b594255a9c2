"""The item log in the engine's SQLite file.

Positions are given inside of the transaction that writes them, so they have no gaps and no doubles
however many processes append.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

import msgspec

from reassoc.core.errors import LimitError
from reassoc.stream.item_log import (
    ENTRY_BYTES_MAX,
    NO_ENDS,
    Entry,
    LogEndError,
    Logged,
    Routing,
    decode_entry,
    encode_entry,
)
from reassoc.stream.sqlite_file import SqliteFile, StoreError

READ_BYTES_MAX = 64 << 20
"""Bytes of entries that one read brings at most, beyond the first of them."""

STATEMENT_KEYS_MAX = 512
"""Keys of routings that one statement asks for."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS log (
        tenant TEXT NOT NULL, position INTEGER NOT NULL, at TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, position))""",
    """CREATE TABLE IF NOT EXISTS log_end (
        tenant TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS routing (
        digest BLOB PRIMARY KEY, body BLOB NOT NULL, logged INTEGER NOT NULL) WITHOUT ROWID""",
)

_SET_END = "INSERT OR REPLACE INTO log_end VALUES (?, ?)"
_REMEMBER = """INSERT INTO routing VALUES (?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET logged = max(logged, excluded.logged)"""


class SqliteItemLog:
    """The logs of all tenants in one file, which `close` closes.

    now : the time of logging as text, ISO 8601 in UTC
    """

    def __init__(self, file: SqliteFile, now: Callable[[], str]) -> None:
        self._file = file
        self._now = now
        file.make_tables(_TABLES)

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
        ends: Mapping[str, int] = NO_ENDS,
    ) -> list[int]:
        """Append (tenant, entry) pairs and routings, durably, all or none; positions of entries.

        ends : last positions that some tenants' logs must have

        Raises LimitError above ENTRY_BYTES_MAX, LogEndError where a log does not end there,
        StoreError where the file fails. One transaction.
        """
        bodies = [encode_entry(entry) for _, entry in entries]
        for number, body in enumerate(bodies, 1):
            if len(body) > ENTRY_BYTES_MAX:
                raise LimitError(
                    f"entry {number} of {len(bodies)} has {len(body)} bytes, above "
                    f"ENTRY_BYTES_MAX ({ENTRY_BYTES_MAX}): log its items in several entries"
                )
        if not entries and not routings:
            return []
        at = self._now()
        positions = []
        with self._file.write() as connection:
            if any(_last_position(connection, tenant) != end for tenant, end in ends.items()):
                raise LogEndError("the log went on meanwhile")
            last: dict[str, int] = {}
            for (tenant, _), body in zip(entries, bodies, strict=True):
                position = last.get(tenant, 0) or _last_position(connection, tenant)
                last[tenant] = position + 1
                connection.execute(
                    "INSERT INTO log VALUES (?, ?, ?, ?)", (tenant, position + 1, at, body)
                )
                positions.append(position + 1)
            connection.executemany(_SET_END, last.items())
            connection.executemany(
                _REMEMBER, [(key, known.body, known.logged) for key, known in routings]
            )
        return positions

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        """At most `limit` entries behind a position, in order: fewer where READ_BYTES_MAX is
        reached, none only where there is none. Raises StoreError for an entry that is damaged or
        missing."""
        rows: list[tuple[int, str, bytes]] = []
        size = 0
        with self._file.read() as connection:
            for row in connection.execute(
                "SELECT position, at, body FROM log WHERE tenant = ? AND position > ?"
                " ORDER BY position LIMIT ?",
                (tenant, after, max(limit, 0)),
            ):
                if row[0] != after + len(rows) + 1:
                    raise StoreError(
                        f"{self._file.path}: the log entry at position {after + len(rows) + 1} is "
                        "missing: the file is damaged; restore the last backup"
                    )
                rows.append(row)
                size += len(row[2])
                if size >= READ_BYTES_MAX:
                    break
        return [self._logged(*row) for row in rows]

    def _logged(self, position: int, at: str, body: bytes) -> Logged:
        try:
            return Logged(position, at, decode_entry(body))
        except msgspec.MsgspecError:
            # What msgspec says may quote the entry.
            raise StoreError(
                f"{self._file.path}: the log entry at position {position} cannot be read: it is "
                "damaged, or a newer program wrote it; use that one, or restore the last backup"
            ) from None

    def tenants(self) -> dict[str, int]:
        """Every tenant with an entry, and its last position."""
        with self._file.read() as connection:
            return dict(connection.execute("SELECT tenant, position FROM log_end").fetchall())

    def routings(self, keys: Sequence[bytes]) -> dict[bytes, Routing]:
        """What was appended of some keys; those that never came are left out."""
        found: dict[bytes, Routing] = {}
        with self._file.read() as connection:
            for start in range(0, len(keys), STATEMENT_KEYS_MAX):
                some = keys[start : start + STATEMENT_KEYS_MAX]
                marks = ", ".join("?" * len(some))
                for key, body, logged in connection.execute(
                    f"SELECT digest, body, logged FROM routing WHERE digest IN ({marks})", some
                ):
                    found[key] = Routing(body, bool(logged))
        return found

    def close(self) -> None:
        """Close the file, for the state that shares it as well."""
        self._file.close()


def _last_position(connection: sqlite3.Connection, tenant: str) -> int:
    row = connection.execute("SELECT position FROM log_end WHERE tenant = ?", (tenant,)).fetchone()
    return row[0] if row else 0
