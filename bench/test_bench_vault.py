"""The vault on a generated 835: put, read back, many small files in batches, and opening a vault of
a hundred thousand contents. Every bench looks at what it stored.

One thread each: hashing, compressing, encrypting and the disk are all in the time.
"""

from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reassoc.loadtest.feed import write_remittance_file
from reassoc.stream.vault import Stored, Vault
from reassoc.stream.vault_keys import FileKeyRing

FILE_BYTES = 110_000_000
PIECE_BYTES = 1 << 20
SMALL_FILES = 2_000
SMALL_BYTES = 20_000
CONTENTS = 100_000
RECORD_BYTES_MAX = 400
OPEN_SECONDS_MAX = 5
ROUNDS = 5
KEYS = FileKeyRing({"bench": bytes(32)}, "bench")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("feed") / "feed.835"
    write_remittance_file(path, bytes_min=FILE_BYTES, seed=1)
    return path.read_bytes()


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Vault]:
    """A new vault at each call."""
    numbers = itertools.count()

    def make_vault() -> Vault:
        return open_vault(tmp_path / f"vault-{next(numbers)}")

    return make_vault


def open_vault(path: Path) -> Vault:
    ids = itertools.count()
    return Vault.open(
        path, KEYS, now=lambda: datetime(2026, 3, 16, tzinfo=UTC), new_id=lambda: f"{next(ids):08}"
    )


def pieces(data: bytes) -> Iterator[memoryview]:
    """As intake hands a mapped file over."""
    with memoryview(data) as view:
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]


class Core:
    """Times a call by what it takes of a core: on a shared machine the wall says little."""

    def __init__(self) -> None:
        self.best_seconds = float("inf")

    @contextmanager
    def timed(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.best_seconds = min(self.best_seconds, time.process_time() - start)


def note(benchmark: BenchmarkFixture, byte_count: int, core: Core) -> None:
    best = benchmark.stats.stats.min
    benchmark.extra_info.update(
        bytes=byte_count,
        megabytes_per_second=round(byte_count / best / 1e6, 1),
        megabytes_per_core_second=round(byte_count / core.best_seconds / 1e6, 1),
    )


def test_put(benchmark: BenchmarkFixture, data: bytes, make: Callable[[], Vault]) -> None:
    vaults: list[Vault] = []
    core = Core()

    def setup() -> tuple[tuple[Vault], dict[str, object]]:
        vaults.append(make())
        return (vaults[-1],), {}

    def put(vault: Vault) -> Stored:
        with core.timed():
            return vault.put(pieces(data))

    stored = benchmark.pedantic(put, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    assert stored.is_new
    assert vaults[-1].read(stored.digest, 0, stored.byte_count) == data
    benchmark.extra_info["ratio"] = round(len(data) / vaults[-1].stored_bytes(), 2)
    for vault in vaults:
        vault.close()
    note(benchmark, len(data), core)


def test_read(benchmark: BenchmarkFixture, data: bytes, make: Callable[[], Vault]) -> None:
    with make() as vault:
        digest = vault.put(pieces(data)).digest
        target = bytearray(len(data))
        core = Core()

        def read() -> int:
            at = 0
            with core.timed(), vault.open_stream(digest) as stream, memoryview(target) as view:
                while count := stream.readinto(view[at : at + PIECE_BYTES]):
                    at += count
            return at

        assert benchmark.pedantic(read, rounds=ROUNDS, warmup_rounds=1) == len(data)
        assert target == data
    note(benchmark, len(data), core)


def test_small_files_in_batches(
    benchmark: BenchmarkFixture, data: bytes, make: Callable[[], Vault]
) -> None:
    files = [
        data[number * SMALL_BYTES : (number + 1) * SMALL_BYTES] for number in range(SMALL_FILES)
    ]
    vaults: list[Vault] = []
    core = Core()

    def setup() -> tuple[tuple[Vault], dict[str, object]]:
        vaults.append(make())
        return (vaults[-1],), {}

    def put(vault: Vault) -> list[Stored]:
        with core.timed(), vault.batch() as batch:
            return [batch.put([file]) for file in files]

    stored = benchmark.pedantic(put, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    assert all(each.is_new for each in stored)
    for file, each in zip(files[::97], stored[::97], strict=True):
        assert vaults[-1].read(each.digest, 0, each.byte_count) == file
    for vault in vaults:
        vault.close()
    note(benchmark, SMALL_FILES * SMALL_BYTES, core)


def test_open_a_hundred_thousand(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with open_vault(path) as vault, vault.batch() as batch:
        digests = [batch.put([b"%d" % number]).digest for number in range(CONTENTS)]
    opened: list[Vault] = []

    def reopen() -> Vault:
        if opened:
            opened.pop().close()
        opened.append(open_vault(path))
        return opened[0]

    vault = benchmark.pedantic(reopen, rounds=ROUNDS, warmup_rounds=1)
    assert all(vault.has(digest) for digest in digests)
    assert benchmark.stats.stats.min < OPEN_SECONDS_MAX
    vault.close()
    tracemalloc.start()
    vault = open_vault(path)
    record_bytes = tracemalloc.get_traced_memory()[0] / CONTENTS
    tracemalloc.stop()
    vault.close()
    assert record_bytes < RECORD_BYTES_MAX
    benchmark.extra_info.update(rows=CONTENTS, bytes_per_content=round(record_bytes))
