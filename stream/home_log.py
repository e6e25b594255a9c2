"""The logs of a home: items go to tenants, time and settings to all of them.

A log of its own (HOME_TENANT) keeps what concerns everybody, so that a tenant that comes later
begins with the settings and the clock that hold by then.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from reassoc.stream.item_log import (
    NO_ENDS,
    ClockEntry,
    Entry,
    ItemLog,
    Logged,
    Routing,
    SettingsEntry,
)

HOME_TENANT = "~home"
"""A name that no tenant of a directory can have."""
_BACK = 512
"""Entries of the home's log that are read at a time, from its end back."""


class HomeLog:
    """An ItemLog that tells new tenants what holds, and everybody what changes."""

    def __init__(self, log: ItemLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self.start: ClockEntry | None = None
        self.clock: ClockEntry | None = None
        self.settings: SettingsEntry | None = None
        self._known = set(log.tenants())
        self._read_back()

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
        ends: Mapping[str, int] = NO_ENDS,
    ) -> list[int]:
        """As ItemLog; a tenant's first entries are the settings and the clock that hold now."""
        with self._lock:
            fresh = list(dict.fromkeys(tenant for tenant, _ in entries))
            fresh = [tenant for tenant in fresh if tenant not in self._known]
            if fresh:
                self._known |= set(self._log.tenants())
                fresh = [tenant for tenant in fresh if tenant not in self._known]
            first = [(tenant, entry) for tenant in fresh for entry in self._holding()]
            positions = self._log.append([*first, *entries], routings, ends)
            self._known |= set(fresh)
            return positions[len(first) :]

    def append_to_all(self, entries: Sequence[ClockEntry | SettingsEntry]) -> None:
        """Log time or settings for the home and every tenant, all or none."""
        if not entries:
            return
        with self._lock:
            self._known |= set(self._log.tenants())
            tenants = [HOME_TENANT, *sorted(self._known - {HOME_TENANT})]
            self._log.append([(tenant, entry) for entry in entries for tenant in tenants])
            for entry in entries:
                self._take(entry)

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        """As ItemLog."""
        return self._log.read(tenant, after, limit)

    def tenants(self) -> dict[str, int]:
        """As ItemLog, the home's own log left out."""
        tenants = self._log.tenants()
        tenants.pop(HOME_TENANT, None)
        return tenants

    def routing(self, digest: bytes) -> Routing | None:
        """As ItemLog."""
        return self._log.routing(digest)

    def close(self) -> None:
        """As ItemLog."""
        self._log.close()

    def _holding(self) -> list[Entry]:
        return [entry for entry in (self.settings, self.clock or self.start) if entry is not None]

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, ClockEntry) and entry.kind == "start":
            self.start = entry
        elif isinstance(entry, ClockEntry):
            self.clock = entry
        elif isinstance(entry, SettingsEntry):
            self.settings = entry

    def _read_back(self) -> None:
        """Find the last entry of each kind."""
        stop = self._log.tenants().get(HOME_TENANT, 0)
        while stop > 0 and (self.clock is None or self.settings is None):
            start = max(stop - _BACK, 0)
            newer = self.clock, self.settings
            for logged in self._log.read(HOME_TENANT, start, stop - start):
                self._take(logged.entry)
            self.clock, self.settings = newer[0] or self.clock, newer[1] or self.settings
            stop = start
