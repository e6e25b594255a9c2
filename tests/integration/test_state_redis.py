"""The match state in Redis: the suite on a server and on a cluster, and what only servers can do:
die, forget scripts or everything, fill up, move slots, and answer into the void."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis.exceptions
from home_feed import drain, drop, make_feed
from redis_stores import RedisStore, any_redis, running_cluster, running_server, store_of
from state_conformance import ROWS, StateConformance, filled, probed, seen, step
from state_memory import MemoryState, MemoryStore, ids_of, records_of
from tls_files import make_certificate

from reassoc.core.errors import LimitError
from reassoc.loadtest.servers.process import free_port
from reassoc.loadtest.servers.redis_server import RedisCluster, RedisServer
from reassoc.stream import redis_client, state_redis
from reassoc.stream.items import RecordKind
from reassoc.stream.records import Block
from reassoc.stream.sqlite_file import SqliteFile, StoreError
from reassoc.stream.state import KEY_RECORDS_MAX, Claim, Records, State, Step, UnclaimedError
from reassoc.stream.state_redis import RedisState
from reassoc.stream.state_sqlite import SqliteState

ITEM_BYTES_MAX = 350


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with any_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def tls_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with a certificate that the URL says is to be trusted."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    port = free_port()
    options = (
        "--tls-port", str(port), "--tls-auth-clients", "no", "--tls-cert-file", str(certificate),
        "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate),
    )  # fmt: skip
    with running_server(folder / "redis", options=options):
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def tls_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    folder = tmp_path_factory.mktemp("tls-cluster")
    with running_cluster(folder / "nodes", make_certificate(folder)) as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may do anything to; what it answered is on its disk."""
    with running_server(tmp_path / "redis", appendfsync="always") as made:
        yield made


@pytest.fixture
def own(server: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(server.url)
    yield made
    made.close()


class ShortConformance(StateConformance):
    """Without what takes long."""

    test_many_keys_at_once = None
    test_many_steps_leave_what_plain_dictionaries_have = None
    test_scan_comes_in_order_and_in_pieces = None
    test_crowded_keys_bring_their_first_records = None
    test_readers_see_a_step_whole_or_not_at_all = None


class TestRedisState(StateConformance):
    @pytest.fixture
    def store(self, url: str) -> Iterator[RedisStore]:
        with store_of(url) as made:
            yield made


class TestRedisStateOverTls(ShortConformance):
    @pytest.fixture
    def store(self, tls_url: str) -> Iterator[RedisStore]:
        with store_of(tls_url) as made:
            yield made


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(tls_url: str) -> None:
    with pytest.raises(StoreError, match="its certificate does not hold here"):
        RedisState(tls_url.partition("?")[0], prefix="tls")


class TestRedisStateOnACluster(StateConformance):
    @pytest.fixture
    def store(self, cluster: RedisCluster) -> Iterator[RedisStore]:
        with store_of(cluster.url) as made:
            yield made


class TestRedisStateOnAClusterOverTls(ShortConformance):
    @pytest.fixture
    def store(self, tls_cluster: RedisCluster) -> Iterator[RedisStore]:
        with store_of(tls_cluster.url) as made:
            yield made


def test_a_cluster_that_nobody_vouches_for_is_not_spoken_to(tls_cluster: RedisCluster) -> None:
    with pytest.raises(StoreError, match="its certificate does not hold here"):
        RedisState(tls_cluster.url.partition("?")[0], prefix="tls")


@pytest.mark.parametrize("query", ["db=1", "ssl_ca_certs=", "ssl_cert_reqs=none&ssl_ca_certs=a"])
def test_a_cluster_is_told_what_its_url_may_not_say(query: str) -> None:
    with pytest.raises(ValueError, match="only ssl_ca_certs"):
        RedisState(f"rediss+cluster://127.0.0.1:1/?{query}", prefix="tls")


class TestRedisStateInSmallCalls(ShortConformance):
    """The same where every call needs several, and every step is sent before it is made. Much would
    take very long in calls of three rows, and readers would see no whole step in fifty."""

    @pytest.fixture
    def store(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
        monkeypatch.setattr(state_redis, "CALL_ROWS_MAX", 3)
        monkeypatch.setattr(state_redis, "CALL_BYTES_MAX", 0)
        monkeypatch.setattr(state_redis, "PART_BYTES_MAX", 2)
        monkeypatch.setattr(state_redis, "REPLY_BYTES_MAX", 2)
        monkeypatch.setattr(state_redis, "OUTBOX_READ_BYTES_MAX", 64)
        with store_of(url) as made:
            yield made


def numbered(mark: int) -> Step:
    """New records, changed ones, removed ones and outbox entries: all from the mark."""

    def name(number: int) -> bytes:
        return number.to_bytes(16, "little")

    rows = [(name(mark * 100 + n), 1, [n, mark], b"%d" % mark * 40) for n in range(100)]
    old = [(mark - 1) * 100 + n for n in range(100)] if mark else []
    return Step(
        mark, mark + 1, records_of(rows), ids_of([name(n) for n in old[:50]]),
        Block.of([b"u%d" % mark] * len(old[:50])), ids_of([name(n) for n in old[50:]]),
        [b"o%d" % mark] * 2,
    )  # fmt: skip


def noted(mark: int) -> Step:
    """About no entry of the log: to make it twice would show in the outbox."""
    return Step(mark, mark, outbox=[b"note %d" % mark])


def assert_equal(state: RedisState, model: MemoryState) -> None:
    assert state.dump("t") == model.dump("t")
    assert state.outbox("t", 999) == model.outbox("t", 999)


# ---- servers that die ----


def test_a_server_that_is_killed_again_and_again_loses_nothing_it_answered(
    server: RedisServer, own: RedisStore
) -> None:
    state, model = own.open(), MemoryState(MemoryStore())
    claim, plain = state.claim("t"), model.claim("t")
    done = threading.Event()
    kills, answers = [0], [0]

    def kill() -> None:
        while not done.wait(0.1):
            server.restart()
            kills[0] += 1
            # Up for a tenth of a second only, a server on a busy machine need not answer at all.
            before = answers[0]
            while answers[0] == before and not done.wait(0.01):
                pass

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        mark = 0
        while kills[0] < 5 or mark < 40:
            for made in (numbered(mark), noted(mark + 1)):
                state.apply(claim, made)
                model.apply(plain, made)
                answers[0] += 1
            mark += 1
    finally:
        done.set()
        killer.join()
    server.restart()
    assert_equal(own.open(), model)


@pytest.mark.parametrize("made", [numbered(1), noted(1)])
def test_a_step_whose_answer_was_lost_is_made_once(
    own: RedisStore, monkeypatch: pytest.MonkeyPatch, made: Step
) -> None:
    state, model = own.open(), MemoryState(MemoryStore())
    claim, plain = state.claim("t"), model.claim("t")
    for each in (numbered(0), made):
        model.apply(plain, each)
    state.apply(claim, numbered(0))
    command, lost = state._client._command, [3]

    def losing(*words: Any) -> Any:
        answer = command(*words)
        if lost[0]:
            lost[0] -= 1
            raise redis.exceptions.ConnectionError("lost")
        return answer

    monkeypatch.setattr(state._client, "_command", losing)
    state.apply(claim, made)
    assert lost == [0]
    assert_equal(state, model)


def test_a_server_that_is_gone_is_told_and_had_again(
    server: RedisServer, own: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "ATTEMPTS_MAX", 2)
    state, claim = filled(own)
    server.kill()
    for call in (lambda: state.mark("t"), lambda: state.apply(claim, step(1, 2)), own.open):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+: Redis cannot be had after 2"):
            call()
    server.start()
    assert seen(state) == ROWS
    state.apply(claim, step(1, 2))


def test_a_server_that_hangs_is_told_in_time(
    server: RedisServer, own: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "ATTEMPTS_MAX", 2)
    own.options["call_seconds"] = 0.2
    state, claim = filled(own)
    server.pause()
    with pytest.raises(StoreError, match=r"cannot be had after 2 attempts \(TimeoutError\)"):
        state.apply(claim, step(1, 2, outbox=(b"second",)))
    server.resume()
    # Whether it was made is not known: made again it is there once.
    own.options.clear()
    state = own.open()
    state.apply(claim, step(1, 2, outbox=(b"second",)))
    assert [entry.body for entry in state.outbox("t", 9)] == [b"first", b"second"]


def test_a_call_that_hangs_ends_when_the_state_is_closed(
    server: RedisServer, own: RedisStore
) -> None:
    state, _ = filled(own)
    told: list[str] = []

    def ask() -> None:
        try:
            state.mark("t")
        except StoreError as error:
            told.append(str(error))

    server.pause()
    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(0.2)
    state.close()
    asking.join()
    assert len(told) == 1
    assert "was closed during a call" in told[0]


# ---- servers that forget ----


def test_scripts_that_the_server_forgot_are_brought_again(
    server: RedisServer, own: RedisStore
) -> None:
    state, claim = filled(own)
    for mark in range(1, 4):
        server.ask("SCRIPT", "FLUSH")
        state.apply(claim, step(mark, mark + 1))
        server.ask("SCRIPT", "FLUSH")
        assert probed(state, 0) == sorted([ROWS[0][0], ROWS[1][0]])
    assert state.mark("t") == 4


def test_a_lost_state_is_neither_written_nor_begun_by_mistake(
    server: RedisServer, own: RedisStore
) -> None:
    state, claim = filled(own)
    assert state.is_claimed("t")
    assert state.claim("t", may_begin=False) == Claim("t", claim.epoch + 1, 1)
    server.ask("FLUSHALL")
    with pytest.raises(UnclaimedError, match="rebuild it from the item log"):
        state.apply(claim, step(1, 2))
    with pytest.raises(UnclaimedError):
        state.claim("t", may_begin=False)
    assert not state.is_claimed("t")
    assert (state.tenants(), seen(state), state.mark("t")) == ([], [], 0)
    assert state.claim("t") == Claim("t", 1, 0)
    assert state.tenants() == ["t"]


# ---- limits ----


def test_a_tenant_does_not_grow_above_its_limit(url: str) -> None:
    with store_of(url, records_max=4) as store:
        state, claim = filled(store)
        held = state.dump("t")
        rows = [(bytes([n]) * 16, 1, [n], b"") for n in range(1, 4)]
        with pytest.raises(LimitError, match=r"5 records, above records_max \(4\): let items"):
            state.apply(claim, step(1, 2, *rows[:2], outbox=(b"never",)))
        assert state.dump("t") == held
        assert (state.open_count("t"), state.outbox_length("t")) == (3, 1)
        # What comes for what goes is no growth, and a lowered limit lets things go.
        state.apply(claim, Step(1, 2, records_of(rows), removes=ids_of([r[0] for r in ROWS[1:]])))
        assert state.open_count("t") == 4
        # Nor is what comes over what is there: the limit is met to the record.
        state.apply(claim, step(2, 2, *rows, (ROWS[0][0], 3, [1], b"over")))
        with pytest.raises(LimitError, match="5 records"):
            state.apply(claim, step(2, 3, *rows, ROWS[1]))
        assert state.open_count("t") == 4
        low = RedisState(url, prefix=store.prefix, records_max=2)
        store.states.append(low)
        low.apply(claim, Step(2, 3, removes=ids_of([rows[0][0]])))
        assert low.open_count("t") == 3


def test_a_full_server_is_told_and_changes_nothing(server: RedisServer, own: RedisStore) -> None:
    state, claim = filled(own)
    held = state.dump("t")
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    big = step(1, 2, *((bytes([n]) * 16, 1, [n], bytes(4000)) for n in range(1, 90)))
    with pytest.raises(StoreError, match="its memory is full: raise maxmemory"):
        state.apply(claim, big)
    assert state.dump("t") == held
    server.ask("CONFIG", "SET", "maxmemory", "0")
    state.apply(claim, big)
    assert state.open_count("t") == 92


def test_a_server_that_drops_keys_is_refused(
    server: RedisServer, own: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    server.ask("CONFIG", "SET", "hash-max-listpack-value", "64")
    own.open()
    assert "set hash-max-listpack-value of Redis to 512 or more" in caplog.text
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreError, match="set maxmemory-policy to noeviction"):
        own.open()


def test_prefixes_and_urls_that_cannot_be_are_refused(url: str) -> None:
    for prefix in ("", "a:b", "{a}", "a" * 65):
        with pytest.raises(ValueError, match="a prefix is"):
            RedisState(url, prefix=prefix)
    with pytest.raises(ValueError, match="a Redis URL begins with"):
        RedisState("http://localhost", prefix="a")
    closed = RedisState(url, prefix="a")
    closed.close()
    closed.close()
    with pytest.raises(StoreError, match="was closed"):
        closed.mark("t")


def items_of(home: Path) -> Records:
    """The items that wait in the state of a home."""
    file = SqliteFile(home / "data" / "state.db")
    state: State = SqliteState(file)
    try:
        kinds = (RecordKind.REMITTANCE, RecordKind.PAYMENT)
        pieces = [piece for tenant in state.tenants() for piece in state.scan(tenant, kinds)]
    finally:
        state.close()
    return Records.concat(pieces)


@pytest.mark.parametrize("side", ["835", "ach"])
def test_an_open_item_takes_little_memory(tmp_path: Path, own: RedisStore, side: str) -> None:
    feed = make_feed(tmp_path / "feed", 2000)
    drop(tmp_path / "home", [path for path in (feed / side).rglob("*") if path.is_file()])
    drain(tmp_path / "home", "2026-03-19")
    items = items_of(tmp_path / "home")
    assert len(items) > 1500
    state = own.open()
    claim = state.claim("t")
    for start in range(0, len(items), 250):
        some = np.arange(start, min(start + 250, len(items)))
        state.apply(claim, Step(start, start + 250, items.take(some)))
    assert used_bytes(state) / len(items) <= ITEM_BYTES_MAX
    kept = Records.concat(list(state.scan("t")))
    order = np.lexsort(items.ids.T[::-1])
    assert kept.bodies.data == items.take(order).bodies.data


def used_bytes(state: RedisState) -> int:
    """Of all keys, each with its place in Redis's own table."""
    keys = state._client.call("KEYS", "*")
    sizes = state._client.calls([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys])
    return sum(sizes) + 16 * len(keys)


def test_what_was_crowded_is_not_any_more_when_records_leave(url: str) -> None:
    """Keys go from a list to a set of their own, and are gone with their last record."""
    with store_of(url) as store:
        state = store.open()
        claim = state.claim("t")
        rows = [(n.to_bytes(16, "big"), 1, [7], b"") for n in range(KEY_RECORDS_MAX + 2)]
        state.apply(claim, step(0, 1, *rows))
        assert state.probe("t", np.array([7], np.uint64)).crowded.tolist() == [7]
        for mark, count in enumerate((2, KEY_RECORDS_MAX - 4, 4), 1):
            going, rows = rows[:count], rows[count:]
            state.apply(claim, Step(mark, mark + 1, removes=ids_of([row[0] for row in going])))
            assert probed(state, 7) == [row[0] for row in rows]
        state.apply(claim, step(4, 5, ROWS[1]))
        assert probed(state, 7) == [ROWS[1][0]]
        used = state._client.call("HGET", state._head("t"), b"u")
        assert used == b"2"


def test_a_tenant_that_shrinks_gives_its_memory_back(server: RedisServer, own: RedisStore) -> None:
    state = own.open()
    claim = state.claim("t")
    rows = [(n.to_bytes(16, "big"), 1, [n, n + 10_000, n % 3], b"") for n in range(3000)]
    state.apply(claim, step(0, 1, *rows))
    for mark, start in enumerate(range(0, 3000, 100), 1):
        going = ids_of([row[0] for row in rows[start : start + 100]])
        state.apply(claim, Step(mark, mark + 1, removes=going))
    # Some keys went before the tenant had shrunk, and are still noted as gone.
    assert used_bytes(state) < 3000 * 3 * 25
    state.apply(claim, step(31, 32, *rows))
    state.apply(claim, Step(32, 33, removes=ids_of([row[0] for row in rows])))
    left = {key.rpartition(b":")[2] for key in state._client.call("KEYS", "*{*}:*")}
    assert left <= {b"h", b"tenants"}


# ---- clusters ----


def test_a_slot_that_moves_lets_no_step_be_made_by_halves(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "ATTEMPTS_MAX", 2)
    with store_of(cluster.url) as store:
        state, claim = filled(store)
        held = state.dump("t")
        slot = cluster.nodes[0].ask("CLUSTER", "KEYSLOT", state._head("t").decode())
        ids = [node.ask("CLUSTER", "MYID") for node in cluster.nodes]
        at = int(slot) * len(ids) // 16384
        other = (at + 1) % len(ids)
        cluster.nodes[other].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[at])
        cluster.nodes[at].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[other])
        try:
            many = [(bytes([n]) * 16, 1, [n], b"") for n in range(1, 200)]
            with pytest.raises(StoreError, match="cannot be had"):
                state.apply(claim, step(1, 2, *many))
            with pytest.raises(StoreError, match="cannot be had"):
                probed(state, 7)
        finally:
            for node in cluster.nodes:
                node.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        assert state.dump("t") == held
        state.apply(claim, step(1, 2, *many))
        assert state.open_count("t") == len(ROWS) + len(many)


def test_a_node_that_dies_leaves_the_tenants_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "ATTEMPTS_MAX", 2)
    with running_cluster(tmp_path) as cluster:
        store = RedisStore(cluster.url)
        try:
            state = store.open()
            claims = {name: state.claim(name) for name in map(str, range(20))}
            node_of = {
                name: int(cluster.nodes[0].ask("CLUSTER", "KEYSLOT", state._head(name).decode()))
                * 3 // 16384
                for name in claims
            }  # fmt: skip
            assert set(node_of.values()) == {0, 1, 2}
            cluster.kill(1)
            for name, claim in claims.items():
                if node_of[name] == 1:
                    continue
                state.apply(claim, step(0, 1, *ROWS))
                assert seen(state, name) == ROWS
            lost = next(name for name in claims if node_of[name] == 1)
            with pytest.raises(StoreError):
                state.apply(claims[lost], step(0, 1, *ROWS))
        finally:
            store.close()
