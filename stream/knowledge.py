"""What a tenant's record says, worked out once for all steps until it changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reassoc.core.calendar import BankingCalendar
from reassoc.core.directory import Directory
from reassoc.core.policy import Policy
from reassoc.stream.deciding import Setting
from reassoc.stream.release_choice import Rules
from reassoc.stream.tenant_record import TenantRecord, encode_tenant


@dataclass(frozen=True)
class Knowledge:
    """Policy, rules, calendar and directory of a tenant."""

    record: TenantRecord
    directory: Directory | None

    @cached_property
    def key(self) -> bytes:
        """Equal for tenants that know the same."""
        return encode_tenant(self.record)

    @cached_property
    def policy(self) -> Policy:
        """With what people approved."""
        return self.record.policy()

    @cached_property
    def rules(self) -> Rules:
        """Of the warehouse."""
        return Rules(self.record.rules(), self.calendar)

    @cached_property
    def calendar(self) -> BankingCalendar:
        """The banking days."""
        return self.record.calendar()

    def setting(self, *positions: int, at_clock: bool = False, at_close: bool = False) -> Setting:
        """What decides beside the items. positions : of the step of each tenant"""
        return Setting(
            self.policy,
            self.directory,
            self.calendar,
            self.record.final_day,
            at_close,
            at_clock,
            np.array(positions, np.int64),
        )
