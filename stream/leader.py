"""What one worker does for all: it logs banking days, and settings when they change.

It is the one that owns partition 0 of the item log. It looks at what the log says, not at what it
remembers: a leader that was fenced off and comes back goes on where the log is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from reassoc.core.errors import DirectoryError, LayoutError, PolicyError
from reassoc.stream.clock import Now, entries_until
from reassoc.stream.item_log import ClockEntry, SettingsEntry
from reassoc.stream.partition import Partition
from reassoc.stream.tenant_record import TenantRecord

LEADER_PARTITION = 0
LOOK_SECONDS = 0.5
"""Between two looks at the clock and the settings."""


class ForAllWriter(Protocol):
    """Writes for every partition, see topic_log.LeaderLog."""

    async def append_to_all(self, entries: list[ClockEntry | SettingsEntry]) -> None: ...


class Leader:
    """Logs for all, as long as it is awaited. One for each time that the partition is opened.

    read_settings : the settings files, kept where every worker finds them; called in a thread
    fault : told what is wrong in them, once for each fault
    """

    def __init__(
        self,
        partition: Partition,
        writer: ForAllWriter,
        *,
        now: Now,
        read_settings: Callable[[], SettingsEntry],
        fault: Callable[[Exception], None],
    ) -> None:
        self._partition = partition
        self._writer = writer
        self._now = now
        self._read_settings = read_settings
        self._fault = fault
        self._settings: SettingsEntry | None = None
        self._clock: ClockEntry | None = None
        self._told = ""

    async def run(self) -> None:
        """Log what is due, until it is cancelled. Raises NotLeaderError, TopicLogError."""
        while not self._partition.is_behind_fence:
            await asyncio.sleep(LOOK_SECONDS / 5)
        self._settings = self._partition.for_all.settings
        self._clock = self._partition.for_all.clock
        while True:
            await self._log_settings()
            await self._log_time()
            await asyncio.sleep(LOOK_SECONDS)

    async def _log_settings(self) -> None:
        """Log the settings where they have changed; what is wrong in them is told once."""
        try:
            settings = await asyncio.to_thread(self._read_settings)
        except (PolicyError, DirectoryError, LayoutError) as error:
            if str(error) != self._told:
                self._told = str(error)
                self._fault(error)
            return
        self._told = ""
        if settings != self._settings:
            await self._writer.append_to_all([settings])
            self._settings = settings

    async def _log_time(self) -> None:
        """Log openings and closes that have come."""
        if self._settings is None:
            return  # nobody knows yet when a day closes
        record = TenantRecord(settings=self._settings)
        last = self._clock if self._clock is not None and self._clock.kind != "start" else None
        entries = entries_until(last, self._now(), record.calendar(), record.rules())
        if entries:
            await self._writer.append_to_all(list(entries))
            self._clock = entries[-1]
