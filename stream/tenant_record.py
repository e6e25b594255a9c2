"""What a tenant's matcher remembers beside its items: settings, clock, aliases."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from reassoc.core.calendar import BankingCalendar
from reassoc.core.columns import DATE_NONE
from reassoc.core.policy import PayerRule, Policy, payer_id_form
from reassoc.stream.item_log import ClockEntry, SettingsEntry
from reassoc.stream.items import RecordKind
from reassoc.stream.rules import WarehouseRules

ALIASES_MAX = 100_000
"""Aliases that people approved, of one tenant."""
TENANT_ID = bytes(16)
"""Id of the tenant's own record in the state."""


class TenantRecord(msgspec.Struct, frozen=True, array_like=True):
    """settings, clock : the last entry of each kind, None before the first
    aliases : pairs of identifiers that people said mean one payer
    keys : by which version of keys the items of the state are found, see
        core/matching/neighbours.KEYS_VERSION
    """

    settings: SettingsEntry | None = None
    clock: ClockEntry | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    keys: int = 1

    @property
    def day(self) -> int:
        """The open banking day (days since 1970-01-01), DATE_NONE before the first clock entry."""
        return self.clock.day if self.clock is not None else DATE_NONE

    @property
    def final_day(self) -> int:
        """The last day whose credits are final, DATE_NONE before the first opening."""
        is_open = self.clock is not None and self.clock.kind != "start"
        return self.day if is_open else DATE_NONE

    @property
    def as_of(self) -> str:
        """The logged time."""
        return self.clock.as_of if self.clock is not None else ""

    def policy(self) -> Policy:
        """The policy with what people approved."""
        text = self.settings.policy if self.settings is not None else ""
        return with_aliases(msgspec.toml.decode(text, type=Policy), self.aliases)

    def rules(self) -> WarehouseRules:
        """The rules of the warehouse."""
        text = self.settings.rules if self.settings is not None else ""
        return msgspec.toml.decode(text, type=WarehouseRules)

    def calendar(self) -> BankingCalendar:
        """The banking days."""
        holidays = self.settings.holidays if self.settings is not None else b""
        return BankingCalendar(np.frombuffer(holidays, "<i4").astype(np.int32))


encode_tenant = msgspec.msgpack.Encoder().encode
decode_tenant = msgspec.msgpack.Decoder(TenantRecord).decode


def tenant_row(record: TenantRecord) -> tuple[bytes, int, bytes]:
    """Id, kind and body of the tenant's record in the state."""
    return TENANT_ID, RecordKind.TENANT, encode_tenant(record)


def with_aliases(policy: Policy, aliases: tuple[tuple[str, str], ...]) -> Policy:
    """The policy with further aliases: rules that an alias ties together become one, behind the
    others. O(aliases * ids of the rule that one is about)."""
    rules = dict(enumerate(policy.payers))
    places: dict[bytes, set[int]] = {}
    for place, rule in rules.items():
        for form in _forms(rule.ids):
            places.setdefault(form, set()).add(place)
    for new, pair in enumerate(aliases, len(rules)):
        at = set().union(*(places.get(form, ()) for form in _forms(pair)))
        tied = [rules.pop(place) for place in sorted(at)]
        distinct = _forms([*(value for rule in tied for value in rule.ids), *pair])
        rules[new] = PayerRule(
            ids=tuple(sorted(distinct.values())),
            name=next((rule.name for rule in tied if rule.name), ""),
            trace_prefixes=_joined(tied, "trace_prefixes"),
            trace_suffixes=_joined(tied, "trace_suffixes"),
            auto_tiers=_joined(tied, "auto_tiers"),
        )
        for form in distinct:
            places[form] = places.get(form, set()) - at | {new}
    return msgspec.structs.replace(policy, payers=tuple(rules.values()))


def _forms(values: Sequence[str]) -> dict[bytes, str]:
    """Identifiers by their normal form, of equal ones the first."""
    return {payer_id_form("alias", value): value for value in reversed(values)}


def _joined(rules: list[PayerRule], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for rule in rules for value in getattr(rule, name)))
