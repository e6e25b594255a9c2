"""The vault when machines die and disks fail: what was acknowledged stays readable, what failed
says so, and the vault works again.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3
from vault_build import FailingStore, World, noise, ring

from reassoc.stream import vault_commit
from reassoc.stream.vault import Vault
from reassoc.stream.vault_errors import VaultError
from reassoc.stream.vault_objects import ObjectStore

CONTENTS = [b"", b"a first content", noise(1, 120), noise(2, 40)]
KILLS = 4


def digest_of(data: bytes) -> bytes:
    return blake3(data).digest()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks are not asked to flush: here files are cut, and calls of the store fail, by the test.
    What would be lost without a flush is written down in `Written.lengths`."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


class Written:
    """A vault that nobody closed, and how long its files were after each commit."""

    def __init__(self, path: Path, world: World) -> None:
        self.path = path
        self.lengths: list[tuple[int, int]] = []
        vault = world.open(path)
        for data in CONTENTS:
            vault.put([data])
            (segment,) = vault._catalogue.segments
            self.lengths.append((segment.index_bytes, segment.data_bytes))
        self.segment = segment.name
        self.files = {
            file.relative_to(path): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file() and file.name != "lock"
        }
        vault.close()

    def restore(self, folder: Path, index_bytes: int, data_bytes: int) -> None:
        """The folder as a crash leaves it, with the files of that length."""
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in self.files.items():
            length = {".index": index_bytes, ".data": data_bytes}.get(name.suffix, len(data))
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data[:length])


@pytest.fixture
def written(tmp_path: Path, world: World) -> Written:
    return Written(tmp_path / "written", world)


def check_recovered(world: World, folder: Path, committed: int) -> None:
    """The first `committed` contents are there, the others are not and can be put."""
    with world.open(folder, read_only=True) as vault:
        assert [vault.has(digest_of(data)) for data in CONTENTS].count(True) == committed
    with world.open(folder) as vault:
        for number, data in enumerate(CONTENTS):
            assert vault.has(digest_of(data)) == (number < committed)
        assert vault.verify() == []
        for data in CONTENTS:
            vault.put([data])
    with world.open(folder) as vault:
        assert all(vault.read(digest_of(data), 0, len(data)) == data for data in CONTENTS)
        assert vault.verify() == []


def test_a_crash_at_any_byte_of_the_index(world: World, written: Written, tmp_path: Path) -> None:
    last_index = written.lengths[-1][0]
    head_bytes = next(block for block in range(16, 400) if block_ends(written, block))
    for index_bytes in range(head_bytes, last_index + 1):
        committed = sum(index <= index_bytes for index, _ in written.lengths)
        # The data that a block names is on disk before the block is begun.
        begun = min(committed + (index_bytes > head_bytes), len(CONTENTS))
        data_bytes = written.lengths[begun - 1][1] if begun else 16
        written.restore(tmp_path / "crashed", index_bytes, data_bytes)
        check_recovered(world, tmp_path / "crashed", committed)


def block_ends(written: Written, place: int) -> bool:
    """Whether the first block of the index ends there."""
    index = next(data for name, data in written.files.items() if name.suffix == ".index")
    return place == 16 + int.from_bytes(index[8:12], "little")


def test_a_crash_at_any_byte_of_the_data(world: World, written: Written, tmp_path: Path) -> None:
    for committed in (1, 2, 3):
        index_bytes, start = written.lengths[committed - 1]
        for data_bytes in range(start, written.lengths[committed][1] + 1, 3):
            written.restore(tmp_path / "crashed", index_bytes, data_bytes)
            check_recovered(world, tmp_path / "crashed", committed)


def test_a_crash_that_left_zeros(world: World, written: Written, tmp_path: Path) -> None:
    index_bytes, data_bytes = written.lengths[1]
    written.restore(tmp_path / "crashed", index_bytes, data_bytes)
    for file in (tmp_path / "crashed" / "segments").iterdir():
        with file.open("ab") as end:
            end.write(bytes(777))
    check_recovered(world, tmp_path / "crashed", 2)


def test_a_crash_before_anything_was_committed(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    with world.open(folder):
        pass
    (folder / "segments" / "x.index").touch()
    with world.open(folder) as vault:
        assert vault.verify() == []
        assert vault.put([b"1"]).is_new


def fail_put(vault: Vault, data: bytes) -> None:
    with pytest.raises(VaultError, match=r"were not stored: [A-Z]"):
        vault.put([data])
    assert not vault.has(digest_of(data))


def check_after_failure(world: World, store: FailingStore, vault: Vault, folder: Path) -> None:
    """The first content is there, the second can be put; by this process, and by the next."""
    first, second = CONTENTS[2], CONTENTS[3]
    assert vault.read(digest_of(first), 0, len(first)) == first
    store.mend()
    assert vault.put([second]).is_new
    assert vault.verify() == []
    vault.erase(digest_of(second), "a request", "me")
    vault.close()
    with world.open(folder) as again:
        assert again.verify() == []
        assert again.has(digest_of(first))
        assert not again.has(digest_of(second))


def check_after_death(world: World, store: FailingStore, folder: Path) -> None:
    """The process died while the disk failed: only the lock goes."""
    store.close()
    with world.open(folder) as again:
        assert again.has(digest_of(CONTENTS[2]))
        again.put([CONTENTS[3]])
        assert again.verify() == []


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("own_segment", [False, True])
def test_a_full_disk_at_any_byte(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool, own_segment: bool
) -> None:
    if own_segment:
        monkeypatch.setattr(vault_commit, "PUT_MEMORY_MAX", 1)
    failures = 0
    for left in range(0, 500, 7):
        folder = tmp_path / f"vault-{left}"
        store = FailingStore(folder)
        vault = world.open_on(store)
        vault.put([CONTENTS[2]])
        store.bytes_left = left
        try:
            vault.put([CONTENTS[3]])
        except VaultError:
            failures += 1
        else:
            assert vault.has(digest_of(CONTENTS[3]))
            store.mend()
            vault.close()
            break
        if dies:
            check_after_death(world, store, folder)
        else:
            check_after_failure(world, store, vault, folder)
    assert failures > 30


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("also_mending", [False, True])
@pytest.mark.parametrize(
    ("call", "number", "which"),
    [
        ("sync", errno.EIO, 0),
        ("sync", errno.EIO, 1),
        ("write", errno.EIO, 0),
        ("write", errno.EROFS, 1),
        ("", errno.EROFS, 0),
    ],
)
def test_calls_that_fail(
    world: World,
    tmp_path: Path,
    dies: bool,
    also_mending: bool,
    call: str,
    number: int,
    which: int,
) -> None:
    """One call fails, or from it on every call: then not even what failed can be cut off."""
    store = FailingStore(tmp_path / "vault")
    vault = world.open_on(store)
    vault.put([CONTENTS[2]])
    seen = 0

    def fail(name: str) -> int:
        nonlocal seen
        if call in ("", name):
            seen += 1
            return number if seen == which + 1 or (also_mending and seen > which) else 0
        return number if also_mending and seen > which else 0

    store.fail = fail
    fail_put(vault, CONTENTS[3])
    if also_mending:
        fail_put(vault, CONTENTS[3])
    if dies:
        check_after_death(world, store, tmp_path / "vault")
    else:
        check_after_failure(world, store, vault, tmp_path / "vault")


@pytest.mark.parametrize("which", range(4))
def test_a_crash_while_keys_are_wrapped_anew(world: World, tmp_path: Path, which: int) -> None:
    folder = tmp_path / "vault"
    for data in CONTENTS[:3]:
        with world.open(folder) as vault:
            vault.put([data])
    store = FailingStore(folder)
    keys = ring("a", "b")
    vault = Vault(store, keys, now=lambda: world.now, new_id=world.new_id)
    calls = iter(range(10))
    store.fail = lambda name: errno.EIO if name == "replace" and next(calls) == which else 0
    with pytest.raises(VaultError, match="not complete: do it again"):
        vault.rotate()
    store.close()
    with world.open(folder, keys) as vault:
        assert vault.verify() == []
        assert vault.rotate() == 3 - which
        assert vault.key_use() == {"b": 3}
    with world.open(folder, ring("b")) as vault:
        assert all(vault.has(digest_of(data)) for data in CONTENTS[:3])


@pytest.mark.parametrize("call", ["replace", "remove"])
def test_a_crash_while_a_content_is_erased(world: World, tmp_path: Path, call: str) -> None:
    store = FailingStore(tmp_path / "vault")
    vault = world.open_on(store)
    digest = vault.put([CONTENTS[1]]).digest
    store.fail = lambda name: errno.EIO if name == call else 0
    with pytest.raises(VaultError, match="was not erased"):
        vault.erase(digest, "a request", "me")
    store.close()
    with world.open(tmp_path / "vault") as vault:
        # Once the index is replaced the content is gone, even if its bytes could not be removed.
        assert vault.has(digest) == (call == "replace")
        assert vault.verify() == []


@pytest.mark.parametrize("is_whole", [False, True])
def test_an_object_that_was_half_replaced(tmp_path: Path, is_whole: bool) -> None:
    """A store that replaces objects in pieces dies in the first or in the second of them."""
    (tmp_path / "vault").mkdir()
    store = ObjectStore(f"dir::file://{tmp_path / 'vault'}", read_only=False)
    store.replace("head", b"before")
    store.replace("head", b"after")
    assert store.names() == {"head": 5}
    whole = b"after" + blake3(b"after").digest()
    place = next(tmp_path.rglob("head"))
    place.with_name("head.new").write_bytes(whole if is_whole else whole[:-1])
    place.write_bytes(b"bef" if is_whole else b"before")
    store.settle()
    assert store.names() == {"head": 5 if is_whole else 6}
    assert store.read("head", 0, 100) == (b"after" if is_whole else b"before")


PUTTING = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from vault_build import noise, ring
from reassoc.stream import vault_commit
from reassoc.stream.vault import Vault
vault_commit.SEGMENT_BYTES_MAX = 200_000
vault_commit.PUT_MEMORY_MAX = 50_000
vault = Vault.open(
    Path(sys.argv[1]), ring(), now=lambda: datetime.now(UTC), new_id=lambda: os.urandom(8).hex()
)
for number in range(int(sys.argv[2]), 1 << 30):
    stored = vault.put([noise(number, number * 7919 % 80_000)])
    sys.stdout.write(f"{number} {stored.digest.hex()}\\n")
    sys.stdout.flush()
"""


def test_a_process_that_is_killed(world: World, tmp_path: Path) -> None:
    draws = random.Random(5)
    acknowledged: dict[int, bytes] = {}
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", PUTTING, str(tmp_path / "vault"), str(len(acknowledged))],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        ) as process:
            assert process.stdout is not None
            for _ in range(draws.randrange(1, 40)):
                line = process.stdout.readline()
                number, digest = line.split()
                acknowledged[int(number)] = bytes.fromhex(digest.decode())
            process.send_signal(signal.SIGKILL)
            for line in process.stdout.read().splitlines():
                if len(line.split()) == 2 and len(line.split()[1]) == 64:
                    acknowledged[int(line.split()[0])] = bytes.fromhex(line.split()[1].decode())
        with world.open(tmp_path / "vault", read_only=True) as vault:
            for number, digest in acknowledged.items():
                data = noise(number, number * 7919 % 80_000)
                assert vault.read(digest, 0, len(data)) == data
    with world.open(tmp_path / "vault") as vault:
        assert vault.verify() == []
        assert all(vault.has(digest) for digest in acknowledged.values())
