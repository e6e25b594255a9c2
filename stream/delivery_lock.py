"""Who delivers: of all workers on one ledger exactly one at a time hands files to the sinks.

On PostgreSQL the right is a lock of a session, which the database gives back when the session ends:
with the process, with its machine, or when it has been silent for too long. On SQLite one process
has the home, and always holds it.
"""

from __future__ import annotations

import threading
from typing import Any

from reassoc.stream.ledger import Ledger

DELIVERY_LOCK_KEY = 0x7265_6173_736F_64
"""Advisory lock of whoever delivers."""
SILENCE_SECONDS_MAX = 300
"""A holder that does not ask `is_held` for so long loses the lock: it stands still, and the files
wait. Ask several times as often."""

_TAKE = f"SELECT pg_try_advisory_lock({DELIVERY_LOCK_KEY})"
_IS_MINE = f"""
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint << 32 | objid::bigint = {DELIVERY_LOCK_KEY})"""
_SETTINGS = {
    "idle_session_timeout": SILENCE_SECONDS_MAX * 1000,
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
"""Of the session: the database notices by itself that its other end is gone."""


class DeliveryLock:
    """The right to deliver from a ledger. Any thread may call it.

    The releaser asks `is_held` before each run. Should a holder stand still between that and its
    delivery, the release book refuses what it then does twice: `prepared` and `done` are said once.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._mutex = threading.Lock()
        self._session: Any = None

    def try_take(self) -> bool:
        """Take it where nobody has it; whether it is held now. Raises OSError where the database
        cannot be reached."""
        if self._ledger.is_embedded:
            return True
        with self._mutex:
            if self._session is not None and self._ask(_IS_MINE):
                return True
            self._let_go()
            self._session = self._ledger.new_session()
            for name, value in _SETTINGS.items():
                self._ask("SELECT set_config(%s, %s, false) <> ''", (name, str(value)))
            if not self._ask(_TAKE):
                self._let_go()
            return self._session is not None

    def is_held(self) -> bool:
        """Whether it is held at this moment: the database is asked. False where it cannot be."""
        if self._ledger.is_embedded:
            return True
        with self._mutex:
            if self._session is not None and not self._ask(_IS_MINE):
                self._let_go()
            return self._session is not None

    def release(self) -> None:
        """Give it back. Twice does nothing."""
        with self._mutex:
            self._let_go()

    def _ask(self, statement: str, values: tuple[str, ...] = ()) -> bool:
        """What the session answers; False where it is lost."""
        import psycopg

        try:
            return bool(self._session.execute(statement, values).fetchone()[0])
        except psycopg.Error:
            return False

    def _let_go(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
