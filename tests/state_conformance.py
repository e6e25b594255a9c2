"""What every implementation of the match state must pass.

A test class inherits StateConformance and gives a fixture `store`: `store.open()` opens the same
store once more, as another process would, or the same one after a crash. Nothing is closed before
the test's end, so opening again finds what was durable, not what a clean end would have written.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Protocol

import numpy as np
import pytest
from state_memory import MemoryState, MemoryStore, Row, ids_of, records_of, rows_of

from reassoc.core.errors import LimitError
from reassoc.stream.records import Block
from reassoc.stream.state import (
    BODY_BYTES_MAX,
    KEY_RECORDS_MAX,
    PROBE_KEYS_MAX,
    RECORD_KEYS_MAX,
    SCAN_RECORDS_MAX,
    Claim,
    FencedError,
    MarkError,
    OutboxEntry,
    Records,
    State,
    StateError,
    Step,
    UnclaimedError,
    no_ids,
)

A, B, C = b"\x00" * 16, b"\x00" * 15 + b"\x01", b"\xff" * 16
KEY_MAX = 2**64 - 1
ROWS: list[Row] = [(A, 1, [0, KEY_MAX], b"a"), (B, 2, [0, 7], b""), (C, 1, [], b"\x00c\x00")]


class DumpedState(State, Protocol):
    """A State that can also write itself as canonical bytes."""

    def dump(self, tenant: str) -> bytes: ...


class Store(Protocol):
    """One store under test."""

    def open(self) -> DumpedState: ...


MANY_BYTES, MANY_ROWS = 3 << 19, 5000
"""More than what one of several tenants may have in a call that is made for all of them."""
ENDS, EMPTY = np.zeros(1, np.int64), Block.of([b""])


def keys_of(*keys: int) -> np.ndarray:
    return np.array(keys, np.uint64)


def step(before: int, after: int, *rows: Row, outbox: tuple[bytes, ...] = ()) -> Step:
    return Step(before, after, records_of(rows), outbox=outbox)


def update(before: int, after: int, *changes: tuple[bytes, bytes]) -> Step:
    bodies = Block.of([body for _, body in changes])
    ids = ids_of([name for name, _ in changes])
    return Step(before, after, updates=ids, update_bodies=bodies)


def remove(before: int, after: int, *ids: bytes) -> Step:
    return Step(before, after, removes=ids_of(ids))


def seen(state: State, tenant: str = "t") -> list[Row]:
    return [row for piece in state.scan(tenant) for row in rows_of(piece)]


def probed(state: State, *keys: int) -> list[bytes]:
    return [row[0] for row in rows_of(state.probe("t", keys_of(*keys)).records)]


def filled(store: Store) -> tuple[DumpedState, Claim]:
    """Mark 1, ROWS, and one entry in the outbox."""
    state = store.open()
    claim = state.claim("t")
    state.apply(claim, step(0, 1, *ROWS, outbox=(b"first",)))
    return state, claim


class StateConformance:
    """The suite. `threads`: may be called from several threads at once."""

    threads = True

    # ---- claims ----

    def test_a_tenant_begins_with_nothing(self, store: Store) -> None:
        state = store.open()
        assert state.tenants() == []
        assert state.mark("t") == 0
        assert seen(state) == []
        assert state.outbox("t", 10) == []
        assert len(state.probe("t", keys_of(1)).records) == 0
        assert state.claim("t") == Claim("t", 1, 0)
        assert state.tenants() == ["t"]

    def test_without_a_claim_nothing_is_applied(self, store: Store) -> None:
        with pytest.raises(UnclaimedError):
            store.open().apply(Claim("t", 1, 0), step(0, 1))

    def test_a_tenant_that_is_known_to_have_begun_is_not_begun_again(self, store: Store) -> None:
        state = store.open()
        with pytest.raises(UnclaimedError):
            state.claim("t", may_begin=False)
        assert state.tenants() == []
        assert state.claim("t") == Claim("t", 1, 0)
        assert store.open().claim("t", may_begin=False) == Claim("t", 2, 0)

    def test_a_claim_is_durable_and_voids_the_earlier_ones(self, store: Store) -> None:
        state, first = filled(store)
        other = store.open()
        second = other.claim("t")
        assert second == Claim("t", first.epoch + 1, 1)
        for anyone in (state, other, store.open()):
            with pytest.raises(FencedError):
                anyone.apply(first, remove(1, 2, A))
            # A replay by a writer that lost its tenant is refused as well.
            with pytest.raises(FencedError):
                anyone.apply(first, step(0, 1, *ROWS))
            assert seen(anyone) == ROWS
        state.apply(second, remove(1, 2, A))  # the claim counts, not who holds it
        assert seen(store.open()) == ROWS[1:]

    def test_an_epoch_that_was_never_given_is_refused(self, store: Store) -> None:
        state, claim = filled(store)
        with pytest.raises(FencedError):
            state.apply(Claim("t", claim.epoch + 1, 1), remove(1, 2, A))

    # ---- marks ----

    def test_a_replay_changes_nothing(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, step(1, 5, (A, 9, [1], b"new"), outbox=(b"second",)))
        before, outbox = state.dump("t"), state.outbox("t", 10)
        for replay in (
            step(0, 1, *ROWS, outbox=(b"first",)),
            step(1, 5, (A, 9, [1], b"new")),
            step(2, 4, (B, 3, [], b"")),
            step(3, 3, (B, 3, [], b"")),
            update(0, 1, (b"n" * 16, b"")),
        ):
            state.apply(claim, replay)
        assert state.dump("t") == before
        assert state.outbox("t", 10) == outbox
        assert state.mark("t") == 5

    def test_a_step_about_no_entry_is_made(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, step(1, 1, (A, 4, [5], b"x"), outbox=(b"y",)))
        assert state.mark("t") == 1
        assert seen(state)[0] == (A, 4, [5], b"x")
        assert [entry.body for entry in state.outbox("t", 10)] == [b"first", b"y"]

    @pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 3), (2, 2), (5, 9)])
    def test_another_mark_is_refused(self, store: Store, before: int, after: int) -> None:
        state, claim = filled(store)
        held = state.dump("t")
        with pytest.raises(MarkError):
            state.apply(claim, step(before, after, (A, 4, [], b"x"), outbox=(b"y",)))
        assert state.dump("t") == held
        assert len(state.outbox("t", 10)) == 1

    # ---- records ----

    def test_ids_and_bodies_are_any_bytes(self, store: Store) -> None:
        state, claim = filled(store)
        rows: list[Row] = [
            (bytes((value, *range(14), value)), value, [value << 56 | value], bytes([value]) * 3)
            for value in range(256)
        ]
        state.apply(claim, step(1, 2, *reversed(rows)))
        expected = sorted([*ROWS, *rows])
        state = store.open()
        assert seen(state) == expected
        asked = [row[0] for row in reversed(rows)] * 2
        assert rows_of(state.fetch("t", ids_of(asked))) == sorted(rows)
        for name, _, keys, _ in rows:
            assert name in probed(state, *keys)

    def test_probe_sees_every_kind_and_each_record_once(self, store: Store) -> None:
        state, _ = filled(store)
        found = state.probe("t", keys_of(7, KEY_MAX, 0, 0, 12345))
        assert rows_of(found.records) == ROWS[:2]
        assert len(found.crowded) == 0
        assert probed(state, 1, 6, 8, KEY_MAX - 1) == []

    def test_a_probe_brings_records_by_ids_as_well(self, store: Store) -> None:
        state, _ = filled(store)
        wanted = ids_of([C, b"\xee" * 16, B, C])
        for keys, expected in (((), ROWS[1:]), ((7,), ROWS[1:]), ((0, 7, *range(8, 99)), ROWS)):
            found = state.probe("t", keys_of(*keys), wanted)
            assert rows_of(found.records) == expected
            assert len(found.crowded) == 0

    def test_puts_that_are_said_to_be_new_are_as_others(self, store: Store) -> None:
        state, claim = filled(store)
        rows = [(bytes([n]) * 16, 1, [7, n], bytes([n]) * n) for n in range(100, 160)]
        made = replace(step(1, 2, *rows, (B, 5, [9], b"other")), new_count=len(rows))
        state.apply(claim, made)
        state.apply(claim, made)
        assert seen(state) == sorted([ROWS[0], (B, 5, [9], b"other"), ROWS[2], *rows])
        assert probed(state, 9) == [B]
        assert probed(state, 120) == [rows[20][0]]
        for count in (-1, len(rows) + 2):
            with pytest.raises(ValueError, match="more puts are new"):
                state.apply(claim, replace(step(2, 3, *rows), new_count=count))

    def test_a_put_replaces_keys_and_body(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, step(1, 2, (A, 5, [7, 9], b"other")))
        assert probed(state, KEY_MAX) == []
        assert probed(state, 0) == [B]
        assert probed(state, 7) == [A, B]
        assert probed(state, 9) == [A]
        assert seen(state)[0] == (A, 5, [7, 9], b"other")

    def test_an_update_keeps_kind_and_keys(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, update(1, 2, (C, b""), (A, b"longer than it was")))
        assert seen(state) == [
            (A, 1, [0, KEY_MAX], b"longer than it was"),
            ROWS[1],
            (C, 1, [], b""),
        ]
        assert probed(state, 0) == [A, B]

    def test_an_update_of_nothing_undoes_the_step(self, store: Store) -> None:
        state, claim = filled(store)
        held = state.dump("t")
        bad = Step(
            1, 2, records_of([(b"n" * 16, 1, [3], b"n")]), ids_of([B, b"m" * 16]),
            Block.of([b"1", b"2"]), ids_of([A]), [b"never"],
        )  # fmt: skip
        with pytest.raises(StateError) as caught:
            state.apply(claim, bad)
        assert type(caught.value) is StateError
        for again in (state, store.open()):
            assert again.dump("t") == held
            assert again.outbox("t", 10) == [OutboxEntry(1, b"first")]
            assert probed(again, 3, 0) == [A, B]
        state.apply(claim, step(1, 2, outbox=(b"second",)))
        assert state.outbox("t", 10)[1] == OutboxEntry(2, b"second")

    def test_a_remove_takes_the_keys_along(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, remove(1, 2, A, b"not there".ljust(16)))
        assert probed(state, 0, KEY_MAX) == [B]
        # A record of the same id that comes later has only its own keys.
        state.apply(claim, step(2, 3, (A, 1, [5], b"")))
        assert probed(state, 0, KEY_MAX) == [B]
        assert probed(state, 5) == [A]

    def test_a_key_that_a_record_has_twice_is_one_key(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, step(1, 2, (A, 1, [9, 3, 9], b"")))
        assert probed(state, 9) == [A]
        assert seen(state)[0] == (A, 1, [9, 3, 9], b"")
        state.apply(claim, remove(2, 3, A))
        assert probed(state, 9, 3) == []

    def test_a_put_over_a_record_leaves_it_the_keys_of_the_last_one(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, step(1, 2, (A, 1, [0, KEY_MAX], b"same keys"), (C, 1, [7, 7, 0], b"")))
        assert probed(state, KEY_MAX) == [A]
        assert (probed(state, 0), probed(state, 7)) == ([A, B, C], [B, C])
        state.apply(claim, step(2, 3, (C, 1, [7, 5], b""), (A, 1, [], b"")))
        assert (probed(state, 0), probed(state, 7), probed(state, 5)) == ([B], [B, C], [C])
        # What was taken away comes again, and goes for good.
        state.apply(claim, step(3, 4, (A, 1, [0, 5], b""), (C, 1, [0], b"")))
        assert (probed(state, 0), probed(state, 7), probed(state, 5)) == ([A, B, C], [B], [A])
        state.apply(claim, remove(4, 5, A, C))
        assert (probed(store.open(), 0, 5, 7), probed(state, KEY_MAX)) == ([B], [])

    def test_many_steps_leave_what_plain_dictionaries_have(self, store: Store) -> None:
        """Records come in hundreds, change their keys, go and come again; some keys are of many."""
        state, model = store.open(), MemoryState(MemoryStore())
        claim, plain = state.claim("t"), model.claim("t")
        random = np.random.default_rng(3)
        ids = [number.to_bytes(4, "little") * 4 for number in range(600)]
        high = 0x9E3779B9 << 32
        few, many = [high + 1000 + n for n in range(3)], [high + n for n in range(99)]
        for mark in range(12):
            # At the end more goes than comes.
            chosen, puts = random.permutation(600)[:400].tolist(), 300 if mark < 8 else 20
            rows = [
                (ids[n], mark, [n, few[n * mark % 3], many[n * mark % 99]], b"%d" % n)
                for n in chosen[:puts]
            ]
            there = {row[0] for row in seen(model)}
            old = [ids[n] for n in chosen[puts:] if ids[n] in there]
            some, others = old[: len(old) // 4], old[len(old) // 4 :]
            made = Step(
                mark, mark + 1, records_of(rows), ids_of(some), Block.of([b"new"] * len(some)),
                ids_of(others),
            )  # fmt: skip
            state.apply(claim, made)
            model.apply(plain, made)
            other = store.open() if mark % 4 == 0 else state
            assert other.dump("t") == model.dump("t")
            for keys in ([*range(600)], few[:2], *([key] for key in few + many)):
                assert probed(other, *keys) == probed(model, *keys)

    def test_a_step_does_all_at_once(self, store: Store) -> None:
        state, claim = filled(store)
        whole = Step(
            1, 7, records_of([(b"n" * 16, 3, [7], b"n")]), ids_of([B]), Block.of([b"b"]),
            ids_of([C]), [b"x", b"y"],
        )  # fmt: skip
        state.apply(claim, whole)
        again = store.open()
        assert seen(again) == [ROWS[0], (B, 2, [0, 7], b"b"), (b"n" * 16, 3, [7], b"n")]
        assert again.mark("t") == 7
        assert [entry.sequence for entry in again.outbox("t", 10)] == [1, 2, 3]

    def test_empty_calls(self, store: Store) -> None:
        state, claim = filled(store)
        held = state.dump("t")
        state.apply(claim, Step(1, 1))
        assert state.dump("t") == held
        nothing = state.probe("t", keys_of())
        assert (len(nothing.records), len(nothing.crowded)) == (0, 0)
        assert nothing.records.ids.shape == (0, 16)
        assert state.fetch("t", no_ids()).ids.shape == (0, 16)
        assert state.outbox("t", 0) == []

    # ---- bulk ----

    def test_crowded_keys_bring_their_first_records(self, store: Store) -> None:
        state, claim = filled(store)
        count = KEY_RECORDS_MAX + 1
        rows: list[Row] = [(n.to_bytes(16, "big"), 1, [42, n], b"") for n in range(9, count + 9)]
        state.apply(claim, step(1, 2, *reversed(rows)))
        found = state.probe("t", keys_of(42, 7, count + 8))
        assert found.crowded.tolist() == [42]
        # B has the key 7, the last record is brought by a key of its own.
        expected = [ROWS[1][0], *(row[0] for row in rows)]
        assert [row[0] for row in rows_of(found.records)] == expected
        found = state.probe("t", keys_of(42))
        assert [row[0] for row in rows_of(found.records)] == [row[0] for row in rows[:-1]]
        state.apply(claim, remove(2, 3, rows[0][0]))
        found = state.probe("t", keys_of(42))
        assert (len(found.records), len(found.crowded)) == (KEY_RECORDS_MAX, 0)

    def test_scan_comes_in_order_and_in_pieces(self, store: Store) -> None:
        state, claim = filled(store)
        count = SCAN_RECORDS_MAX + 10
        ids = np.zeros((count, 2), ">u8")
        ids[:, 0] = 1
        ids[:, 1] = np.random.default_rng(5).permutation(count)
        zeros, ends = np.zeros(count, np.int64), np.arange(1, count + 1)
        kinds = (ids[:, 1] % 3).astype(np.uint8)
        bodies = Block(ids[:, 1].astype("u1").tobytes(), ends)
        packed = ids.view(np.uint8).reshape(count, 16)
        many = Records(packed, kinds, np.zeros(0, np.uint64), zeros, bodies)
        state.apply(claim, Step(1, 2, many, removes=ids_of([A, B, C])))
        pieces = list(state.scan("t"))
        assert [len(piece) for piece in pieces] == [SCAN_RECORDS_MAX, 10]
        whole = Records.concat(pieces)
        numbers = whole.ids.view(">u8")[:, 1]
        assert numbers.tolist() == list(range(count))
        assert whole.kinds.tolist() == (numbers % 3).tolist()
        assert whole.bodies.data == bytes(numbers.astype("u1"))
        of_kinds = Records.concat(list(state.scan("t", [2, 0])))
        assert of_kinds.ids.view(">u8")[:, 1].tolist() == [n for n in range(count) if n % 3 != 1]
        fetched = state.fetch("t", packed)
        assert np.array_equal(fetched.ids, whole.ids)
        assert fetched.bodies.data == whole.bodies.data

    def test_many_keys_at_once(self, store: Store) -> None:
        state, claim = filled(store)
        count = 70_000  # above what one statement or one round trip may carry
        ids = np.zeros((count, 2), "<u8")
        ids[:, 0] = np.arange(count) + 1
        keys = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1000)
        ends = np.arange(1, count + 1)
        packed = ids.view(np.uint8).reshape(count, 16)
        many = Records(packed, np.ones(count, np.uint8), keys, ends, Block(bytes(count), ends))
        state.apply(claim, Step(1, 2, many))
        found = state.probe("t", keys)
        assert len(found.records) == count
        assert sorted(found.records.keys.tolist()) == sorted(keys.tolist())
        changed = Block(b"x" * count, ends)
        state.apply(claim, Step(2, 3, updates=packed, update_bodies=changed))
        assert state.fetch("t", packed).bodies.data == changed.data
        state.apply(claim, Step(3, 4, removes=packed))
        assert len(state.probe("t", keys).records) == 0
        assert seen(state) == ROWS

    def test_limits_are_checked(self, store: Store) -> None:
        state, claim = filled(store)
        held = state.dump("t")
        with pytest.raises(ValueError, match="PROBE_KEYS_MAX"):
            state.probe("t", np.zeros(PROBE_KEYS_MAX + 1, np.uint64))
        with pytest.raises(LimitError, match="RECORD_KEYS_MAX"):
            state.apply(claim, step(1, 2, (A, 1, [1] * (RECORD_KEYS_MAX + 1), b"")))
        with pytest.raises(LimitError, match="BODY_BYTES_MAX"):
            state.apply(claim, step(1, 2, (A, 1, [], bytes(BODY_BYTES_MAX + 1))))
        assert state.dump("t") == held
        state.apply(claim, step(1, 2, (A, 1, [1] * RECORD_KEYS_MAX, bytes(BODY_BYTES_MAX))))
        assert len(state.fetch("t", ids_of([A])).bodies.data) == BODY_BYTES_MAX

    @pytest.mark.parametrize(
        "bad",
        [
            step(2, 1),
            step(1, 2, ROWS[0], ROWS[0]),
            Step(1, 2, records_of(ROWS), removes=ids_of([C])),
            Step(1, 2, updates=ids_of([A, A]), update_bodies=Block.of([b"", b""])),
            Step(1, 2, updates=ids_of([A]), update_bodies=Block.of([])),
            Step(1, 2, Records(ids_of([A]), np.zeros(2, np.uint8), keys_of(), ENDS, EMPTY)),
            Step(1, 2, Records(ids_of([A]), np.zeros(1, np.uint8), keys_of(1), ENDS, EMPTY)),
        ],
    )  # fmt: skip
    def test_a_step_that_contradicts_itself_is_a_fault_of_ours(
        self, store: Store, bad: Step
    ) -> None:
        state, claim = filled(store)
        held = state.dump("t")
        with pytest.raises(ValueError, match=r"twice|length|mark_before|last of key_stops"):
            state.apply(claim, bad)
        assert state.dump("t") == held

    # ---- outbox ----

    def test_outbox_goes_in_order_and_never_repeats_a_number(self, store: Store) -> None:
        state, claim = filled(store)
        state.apply(claim, step(1, 2, outbox=(b"2", b"3")))
        assert state.outbox("t", 2) == [OutboxEntry(1, b"first"), OutboxEntry(2, b"2")]
        assert state.outbox("t", 2, 1) == [OutboxEntry(2, b"2"), OutboxEntry(3, b"3")]
        assert state.outbox("t", 2, 3) == []
        state.acknowledge("t", 2)
        state.acknowledge("t", 1)  # again: nothing
        assert store.open().outbox("t", 9) == [OutboxEntry(3, b"3")]
        state.acknowledge("t", 3)
        again = store.open()
        assert again.outbox("t", 9) == []
        again.apply(claim, step(2, 3, outbox=(b"4",)))
        assert store.open().outbox("t", 9) == [OutboxEntry(4, b"4")]

    def test_tenants_are_apart(self, store: Store) -> None:
        state, claim = filled(store)
        other = state.claim("T")
        state.apply(other, step(0, 3, (A, 8, [7], b"of T"), outbox=(b"of T",)))
        assert state.tenants() == ["T", "t"]
        assert (seen(state), seen(state, "T")) == (ROWS, [(A, 8, [7], b"of T")])
        assert probed(state, 7) == [B]
        assert state.outbox("T", 9) == [OutboxEntry(1, b"of T")]
        state.acknowledge("T", 9)
        state.apply(claim, remove(1, 2, A, B, C))
        assert (state.mark("t"), state.mark("T")) == (2, 3)
        assert seen(state, "T") == [(A, 8, [7], b"of T")]
        assert state.outbox("t", 9) == [OutboxEntry(1, b"first")]
        with pytest.raises(MarkError):
            state.apply(other, step(0, 4))

    def test_a_dump_hangs_on_the_log_alone(self, store: Store) -> None:
        state, claim = filled(store)
        whole = state.dump("t")
        other = state.claim("other")
        state.apply(other, step(0, 0, ROWS[2], (A, 3, [1], b"old")))
        state.claim("other")
        state.apply(state.claim("other"), step(0, 1, ROWS[1], ROWS[0]))
        assert state.dump("other") == whole
        state.acknowledge("t", 1)
        assert state.dump("t") == whole
        state.apply(claim, step(1, 2))
        assert state.dump("t") != whole

    # ---- several tenants in one call ----

    def test_probes_of_several_tenants_are_those_of_each(self, store: Store) -> None:
        state, _ = filled(store)
        large = bytes(MANY_BYTES)
        state.apply(
            state.claim("T"),
            step(0, 1, (A, 1, [7], large), (B, 2, [7, 9], large), (C, 3, [], b"c")),
        )
        asks = [
            ("t", keys_of(7, 0), ids_of([C])),
            ("T", keys_of(9, 7, 7), no_ids()),  # more bytes than one of several brings
            ("nobody", keys_of(7), ids_of([A])),
            ("t", keys_of(), no_ids()),
            ("T", keys_of(), ids_of([C, C, b"not there".ljust(16)])),
            ("t", keys_of(*range(MANY_ROWS)), no_ids()),  # more keys than one of several has
        ]
        found = state.probe_each(asks)
        assert [rows_of(each.records) for each in found] == [
            rows_of(state.probe(*ask).records) for ask in asks
        ]
        assert [len(each.records) for each in found] == [3, 2, 0, 0, 1, 2]
        assert [each.crowded.tolist() for each in found] == [[]] * len(asks)
        assert state.probe_each([]) == []

    def test_each_of_several_probes_tells_its_crowded_keys(self, store: Store) -> None:
        state = store.open()
        count = KEY_RECORDS_MAX + 1
        for tenant in ("t", "T"):
            rows: list[Row] = [(b"%016d" % n, 1, [42], b"") for n in range(count)]
            state.apply(state.claim(tenant), step(0, 1, *rows))
        found = state.probe_each([("t", keys_of(42), no_ids()), ("T", keys_of(7, 42), no_ids())])
        assert [each.crowded.tolist() for each in found] == [[42], [42]]
        assert [len(each.records) for each in found] == [KEY_RECORDS_MAX] * 2

    def test_a_refused_step_among_several_costs_only_itself(self, store: Store) -> None:
        state, claim = filled(store)
        claims = {name: state.claim(name) for name in ("large", "fenced", "mark", "limit", "done")}
        state.claim("fenced")
        state.apply(claims["done"], step(0, 3, ROWS[1]))
        row: Row = (A, 5, [7], b"new")
        refusals = state.apply_each(
            [
                (claims["fenced"], step(0, 1, row)),
                (claim, step(1, 2, row, outbox=(b"second",))),
                (claims["mark"], step(7, 8, row)),
                (claims["limit"], step(0, 1, (A, 1, [1] * (RECORD_KEYS_MAX + 1), b""))),
                (claims["done"], step(0, 2, row)),  # a replay changes nothing
                (claims["large"], step(0, 1, (B, 1, [3], bytes(MANY_BYTES)), outbox=(b"1",))),
                (Claim("nobody", 1, 0), step(0, 1, row)),
            ]
        )
        assert [type(each) for each in refusals] == [
            FencedError, type(None), MarkError, LimitError, type(None), type(None), UnclaimedError,
        ]  # fmt: skip
        again = store.open()
        assert seen(again) == [row, *ROWS[1:]]
        assert again.outbox("t", 9) == [OutboxEntry(1, b"first"), OutboxEntry(2, b"second")]
        assert seen(again, "large") == [(B, 1, [3], bytes(MANY_BYTES))]
        assert seen(again, "done") == [ROWS[1]]
        marks = {name: again.mark(name) for name in ("t", *claims, "nobody")}
        assert marks == {"t": 2, "large": 1, "fenced": 0, "mark": 0, "limit": 0, "done": 3,
                         "nobody": 0}  # fmt: skip
        assert state.apply_each([]) == []

    def test_steps_of_many_tenants_at_once(self, store: Store) -> None:
        state = store.open()
        names = [f"tenant {number}" for number in range(150)]
        steps = [
            (state.claim(name), step(0, number + 1, (b"%016d" % number, 1, [number, 7], b"x")))
            for number, name in enumerate(names)
        ]
        assert state.apply_each(steps) == [None] * len(names)
        assert state.apply_each(steps) == [None] * len(names)  # again: nothing
        found = state.probe_each([(name, keys_of(7), no_ids()) for name in names])
        assert [rows_of(each.records) for each in found] == [
            [(b"%016d" % number, 1, [number, 7], b"x")] for number in range(len(names))
        ]
        assert [state.mark(name) for name in names] == list(range(1, len(names) + 1))

    # ---- several at once ----

    def test_readers_see_a_step_whole_or_not_at_all(self, store: Store) -> None:
        if not self.threads:
            pytest.skip("for one thread")
        state = store.open()
        claim = state.claim("t")
        ids = ids_of([bytes([n]) * 16 for n in range(200)])
        keys, ends = np.full(200, 5, np.uint64), np.arange(1, 201)
        stop = threading.Event()
        torn: list[set[int]] = []
        reads = [0]

        def read(other: DumpedState) -> None:
            while not stop.is_set():
                for found in (other.probe("t", keys_of(5)).records, other.fetch("t", ids)):
                    values = set(found.bodies.data) | set(found.kinds.tolist())
                    if len(found) not in (0, 200) or len(values) > 1:
                        torn.append(values)
                reads[0] += 1

        threads = [threading.Thread(target=read, args=(each,)) for each in (state, store.open())]
        for thread in threads:
            thread.start()
        try:
            for n in range(60):
                bodies = Block(bytes([n]) * 200, ends)
                kinds = np.full(200, n, np.uint8)
                state.apply(claim, Step(n, n + 1, Records(ids, kinds, keys, ends, bodies)))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert torn == []
        assert reads[0] > 0

    def test_of_two_claimers_only_the_last_one_writes(self, store: Store) -> None:
        if not self.threads:
            pytest.skip("for one thread")
        done: list[tuple[int, int]] = []

        def write(state: State) -> None:
            for _ in range(10):
                claim = state.claim("t")
                for mark in range(claim.mark, claim.mark + 5):
                    try:
                        state.apply(claim, step(mark, mark + 1, outbox=(b"%d" % mark,)))
                    except FencedError:
                        break
                    done.append((mark, claim.epoch))

        threads = [threading.Thread(target=write, args=(store.open(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = store.open()
        marks = sorted(mark for mark, _ in done)
        assert marks == list(range(state.mark("t")))
        entries: list[OutboxEntry] = []
        while more := state.outbox("t", 999, entries[-1].sequence if entries else 0):
            entries += more  # a call may bring fewer than it is asked for
        assert [entry.body for entry in entries] == [b"%d" % mark for mark in marks]
