"""The logs of a home: items go to tenants, time and settings to all of them.

A log of its own (HOME_TENANT) keeps what concerns everybody, so that a tenant that comes later
begins with the settings and the clock that hold by then. It names the tenants as well: several
processes append, and whoever adds a tenant, or tells all of them something, does so only where that
log ends as they know it; else they read on and try again. So no tenant misses anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from reassoc.stream.item_log import (
    NO_ENDS,
    ClockEntry,
    Entry,
    ItemLog,
    LogEndError,
    Logged,
    Routing,
    SettingsEntry,
    TenantEntry,
)

HOME_TENANT = "~home"
"""A name that no tenant of a directory can have."""
ATTEMPTS_MAX = 1000
"""Appends that are tried because others append at the same time."""
_BACK = 512
"""Entries of the home's log that are read at a time."""


class HomeLog:
    """An ItemLog that tells new tenants what holds, and everybody what changes."""

    def __init__(self, log: ItemLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self.start: ClockEntry | None = None
        self.clock: ClockEntry | None = None
        self.settings: SettingsEntry | None = None
        self._known: set[str] = set()
        self._end = log.tenants().get(HOME_TENANT, 0)
        self._read_back(self._end)
        # After the end was read: who is not in it by now is named behind it.
        self._known |= set(log.tenants())

    def append(
        self,
        entries: Sequence[tuple[str, Entry]],
        routings: Sequence[tuple[bytes, Routing]] = (),
        ends: Mapping[str, int] = NO_ENDS,
    ) -> list[int]:
        """As ItemLog; a tenant's first entries are the settings and the clock that hold now."""
        with self._lock:
            for _ in range(ATTEMPTS_MAX):
                fresh = self._fresh(tenant for tenant, _ in entries)
                if not fresh:
                    return self._log.append(entries, routings, ends)
                first: list[tuple[str, Entry]] = [
                    (HOME_TENANT, TenantEntry(tenant)) for tenant in fresh
                ]
                first += [(tenant, entry) for tenant in fresh for entry in self._holding()]
                here = {**ends, HOME_TENANT: self._end}
                try:
                    positions = self._log.append([*first, *entries], routings, here)
                except LogEndError:
                    if not self._read_on():
                        raise  # it is another log that went on
                    continue
                self._end += len(fresh)
                self._known |= set(fresh)
                return positions[len(first) :]
            raise self._crowded()

    def append_to_all(self, entries: Sequence[ClockEntry | SettingsEntry]) -> None:
        """Log time or settings for the home and every tenant, all or none."""
        if not entries:
            return
        with self._lock:
            for _ in range(ATTEMPTS_MAX):
                tenants = [HOME_TENANT, *sorted(self._known - {HOME_TENANT})]
                pairs = [(tenant, entry) for entry in entries for tenant in tenants]
                try:
                    self._log.append(pairs, ends={HOME_TENANT: self._end})
                except LogEndError:
                    self._read_on()
                    continue
                self._end += len(entries)
                for entry in entries:
                    self._take(entry)
                return
            raise self._crowded()

    def settle(self, settings: SettingsEntry) -> bool:
        """Log settings if they are not the ones that hold. Whether they were new."""
        self.read_on()
        if self.settings == settings:
            return False
        self.append_to_all([settings])
        return True

    def read_on(self) -> None:
        """See what other processes have logged for all."""
        with self._lock:
            self._read_on()

    def read(self, tenant: str, after: int, limit: int) -> list[Logged]:
        """As ItemLog."""
        return self._log.read(tenant, after, limit)

    def tenants(self) -> dict[str, int]:
        """As ItemLog, the home's own log left out."""
        tenants = self._log.tenants()
        tenants.pop(HOME_TENANT, None)
        return tenants

    def routings(self, keys: Sequence[bytes]) -> dict[bytes, Routing]:
        """As ItemLog."""
        return self._log.routings(keys)

    def close(self) -> None:
        """As ItemLog."""
        self._log.close()

    def _fresh(self, tenants: Iterable[str]) -> list[str]:
        return [tenant for tenant in dict.fromkeys(tenants) if tenant not in self._known]

    def _holding(self) -> list[Entry]:
        return [entry for entry in (self.settings, self.clock or self.start) if entry is not None]

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, TenantEntry):
            self._known.add(entry.tenant)
        elif isinstance(entry, ClockEntry) and entry.kind == "start":
            self.start = entry
        elif isinstance(entry, ClockEntry):
            self.clock = entry
        elif isinstance(entry, SettingsEntry):
            self.settings = entry

    def _read_on(self) -> bool:
        """Take what was logged for all since; whether that was anything."""
        before = self._end
        while found := self._log.read(HOME_TENANT, self._end, _BACK):
            for logged in found:
                self._take(logged.entry)
            self._end = found[-1].position
        return self._end > before

    def _read_back(self, stop: int) -> None:
        """Find the last entry of each kind, up to a position."""
        while stop > 0 and (self.clock is None or self.settings is None):
            start = max(stop - _BACK, 0)
            newer = self.clock, self.settings
            for logged in self._log.read(HOME_TENANT, start, stop - start):
                self._take(logged.entry)
            self.clock, self.settings = newer[0] or self.clock, newer[1] or self.settings
            stop = start

    def _crowded(self) -> LogEndError:
        return LogEndError(
            f"others append all the time: {ATTEMPTS_MAX} attempts (ATTEMPTS_MAX) were in vain"
        )
