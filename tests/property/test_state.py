"""Any sequence of calls gives the same on the plain state and in SQLite, errors included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_memory import MemoryState, MemoryStore, ids_of, records_of, rows_of

from reassoc.core.errors import ReassocError
from reassoc.stream.records import Block
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import Claim, Probe, Records, Step
from reassoc.stream.state_sqlite import SqliteState

_NAMES = [b"\x00" * 16, b"\x00" * 15 + b"\x01", b"a" + b"\x00" * 15, b"a" * 16, b"\xff" * 16]
_KEYS = [0, 1, 0x0100, 2**63 - 1, 2**63, 2**64 - 1]

names = st.sampled_from(_NAMES)
bodies = st.binary(max_size=5)
keys = st.lists(st.sampled_from(_KEYS), max_size=4)
rows = st.tuples(names, st.integers(0, 2), keys, bodies)
steps = st.fixed_dictionaries(
    {
        # Near the state's mark, and near each other: most are made, some are not.
        "before": st.sampled_from([0, 0, 0, 0, 0, -1, 1]),
        "length": st.sampled_from([0, 1, 1, 1, 3, -1]),
        "puts": st.lists(rows, max_size=3, unique_by=lambda row: row[0]),
        "updates": st.lists(st.tuples(names, bodies), max_size=2, unique_by=lambda row: row[0]),
        "removes": st.lists(names, max_size=2, unique=True),
        "outbox": st.lists(bodies, max_size=2),
    }
)
tenants = st.sampled_from(["a", "b"])
calls = st.one_of(
    st.tuples(st.just("apply"), tenants, st.sampled_from([0, 0, 0, 0, 0, 1, -1]), steps),
    st.tuples(st.just("claim"), tenants),
    st.tuples(st.just("probe"), tenants, keys, st.lists(names, max_size=3)),
    st.tuples(st.just("fetch"), tenants, st.lists(names, max_size=4)),
    st.tuples(st.just("scan"), tenants, st.lists(st.integers(0, 3), max_size=2)),
    st.tuples(st.just("outbox"), tenants, st.integers(0, 3)),
    st.tuples(st.just("acknowledge"), tenants, st.integers(0, 6)),
    st.tuples(st.just("reopen"), tenants),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state") / "state.db"


def _made(state: Any, tenant: str, epoch: int, made: dict[str, Any]) -> None:
    taken = {row[0] for row in made["puts"]}
    updates = [row for row in made["updates"] if row[0] not in taken]
    taken |= {row[0] for row in updates}
    before = state.mark(tenant) + made["before"]
    step = Step(
        before, before + made["length"], records_of(made["puts"]),
        ids_of([row[0] for row in updates]), Block.of([row[1] for row in updates]),
        ids_of([name for name in made["removes"] if name not in taken]), made["outbox"],
    )  # fmt: skip
    state.apply(Claim(tenant, epoch, 0), step)


def _plain(value: Any) -> Any:
    if isinstance(value, Probe):
        return rows_of(value.records), value.crowded.tolist()
    if isinstance(value, Records):
        return rows_of(value)
    return value


def _outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or what kind of refusal."""
    try:
        return _plain(call())
    except (ReassocError, ValueError) as error:
        return type(error)


def _run(state: Any, prefix: str, epochs: dict[str, int], call: tuple[Any, ...]) -> Any:
    name, tenant, *rest = call
    tenant = prefix + tenant
    if name == "apply":
        epoch = epochs.get(tenant, 1) + rest[0]
        return _outcome(lambda: _made(state, tenant, epoch, rest[1]))
    if name == "probe":
        probed = np.array(rest[0], np.uint64)
        return _outcome(lambda: state.probe(tenant, probed, ids_of(rest[1])))
    if name == "fetch":
        return _outcome(lambda: state.fetch(tenant, ids_of(rest[0])))
    if name == "scan":
        return _outcome(lambda: Records.concat(list(state.scan(tenant, rest[0]))))
    return _outcome(lambda: getattr(state, name)(tenant, *rest))


_count = iter(range(10**9))


@given(sequence=st.lists(calls, max_size=25))
def test_any_sequence_of_calls_gives_the_same(path: Path, sequence: list[Any]) -> None:
    # One file for all examples, with tenants of its own for each: so they are held apart, too.
    prefix = f"{next(_count)} "
    kept = MemoryStore()
    model, real = MemoryState(kept), SqliteState(SqliteFile(path))
    epochs: dict[str, int] = {}
    try:
        for call in [("claim", "a"), *sequence]:
            if call[0] == "reopen":
                real.close()
                model, real = MemoryState(kept), SqliteState(SqliteFile(path))
                continue
            expected = _run(model, prefix, epochs, call)
            assert _run(real, prefix, epochs, call) == expected
            if call[0] == "claim":
                epochs[expected.tenant] = expected.epoch
            for tenant in (prefix + "a", prefix + "b"):
                assert real.dump(tenant) == model.dump(tenant)
                assert real.outbox(tenant, 99) == model.outbox(tenant, 99)
    finally:
        real.close()
