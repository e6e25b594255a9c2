"""Any sequence of calls gives the same on the plain state and in Redis, errors included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_stores import RedisStore, any_redis, store_of
from state_memory import MemoryState, MemoryStore
from test_state import _run, calls

_count = iter(range(10**9))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisStore]:
    with any_redis(tmp_path_factory.mktemp("redis")) as url, store_of(url) as made:
        yield made


@settings(max_examples=40)
@given(sequence=st.lists(calls, max_size=25))
def test_any_sequence_of_calls_gives_the_same_in_redis(
    store: RedisStore, sequence: list[Any]
) -> None:
    # One prefix for all examples, with tenants of its own for each: so they are held apart, too.
    prefix = f"{next(_count)} "
    kept = MemoryStore()
    model, real = MemoryState(kept), store.open()
    epochs: dict[str, int] = {}
    for call in [("claim", "a"), *sequence]:
        if call[0] == "reopen":
            store.close()
            model, real = MemoryState(kept), store.open()
            continue
        expected = _run(model, prefix, epochs, call)
        assert _run(real, prefix, epochs, call) == expected
        if call[0] == "claim":
            epochs[expected.tenant] = expected.epoch
        for tenant in (prefix + "a", prefix + "b"):
            assert real.dump(tenant) == model.dump(tenant)
            assert real.outbox(tenant, 99) == model.outbox(tenant, 99)
            assert real.open_count(tenant) == len(model._tenant(tenant).records)
    store.close()
