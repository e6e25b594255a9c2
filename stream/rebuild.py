"""Match state that was lost, begun anew: what is missing is told apart from what is new by the
registry in the ledger's database, and only a person says that it is to be rebuilt.

Nothing is rebuilt here: a tenant that has begun anew has nothing applied, so the workers read its
partition from the beginning and make the same steps again, with the same numbers in the outbox,
which the ledger knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reassoc.stream.partition import Registry, forget_progress, partition_name
from reassoc.stream.state import State

Missing = Mapping[int, Sequence[str]]
"""By partition: tenants, and the partition itself, that the state does not know any more."""


def missing_tenants(state: State, registry: Registry) -> Missing:
    """What the state knew and does not know."""
    there = set(state.tenants())
    missing: dict[int, list[str]] = {}
    for tenant, seen in sorted(registry.tenants_seen().items()):
        if tenant not in there:
            missing.setdefault(seen.partition, []).append(tenant)
    return missing


def begin_anew(state: State, missing: Missing) -> int:
    """Let what is missing begin with nothing, and its partitions be read from their beginning; how
    much that was. May be done again after a crash. The partition's own record goes last, so that no
    worker opens it before all of its tenants are there."""
    count = 0
    for partition, tenants in missing.items():
        own = partition_name(partition)
        for tenant in tenants:
            if tenant != own:
                state.claim(tenant)
                count += 1
        if own in tenants:
            state.claim(own)
            count += 1
        else:
            forget_progress(state, partition)
    return count
