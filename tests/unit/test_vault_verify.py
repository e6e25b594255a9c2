"""Every damaged, missing or surplus byte of a vault is found, and told with its place."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3
from vault_build import World, noise

from reassoc.stream import vault_commit
from reassoc.stream.vault import Vault
from reassoc.stream.vault_errors import DamagedError, VaultError
from reassoc.stream.vault_verify import Damage

CONTENTS = [b"a first content", b"", noise(1, 100)]
ERASED = b"an erased content"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def whole(tmp_path: Path, world: World) -> Path:
    """Two segments, with an erased content, a hold and a policy."""
    path = tmp_path / "whole"
    with world.open(path) as vault:
        vault.put([CONTENTS[0]])
        gone = vault.put([ERASED]).digest
        vault.put([CONTENTS[1]])
    with world.open(path) as vault:
        vault.hold(vault.put([CONTENTS[2]]).digest, "case", "counsel")
        vault.erase(gone, "a request", "me")
    return path


def files_of(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file() and each.name != "lock")


def erased_range(world: World, path: Path) -> tuple[str, range]:
    """Bytes that are noise: nobody can tell whether they are the right ones."""
    with world.open(path, read_only=True) as vault:
        for _, segment, place in vault._catalogue:
            if place.erased is not None:
                return f"{segment.name}.data", range(place.offset, place.stop)
    raise AssertionError


def verify(world: World, path: Path) -> list[Damage] | None:
    """None where the vault does not even open."""
    try:
        with world.open(path, read_only=True) as vault:
            for data in CONTENTS:
                check_read(vault, data)
            return vault.verify()
    except DamagedError:
        return None


def check_read(vault: Vault, data: bytes) -> None:
    """What is read is right, or is refused."""
    try:
        assert vault.read(blake3(data).digest(), 0, len(data)) == data
    except VaultError:
        return


def test_a_whole_vault_has_no_damage(world: World, whole: Path) -> None:
    seen = 0

    def hear(count: int) -> None:
        nonlocal seen
        seen += count

    with world.open(whole, read_only=True) as vault:
        assert vault.verify(hear) == []
        assert 0.5 * vault.stored_bytes() < seen <= vault.stored_bytes()


def test_every_changed_byte_is_found(world: World, whole: Path, tmp_path: Path) -> None:
    noise_name, noise_range = erased_range(world, whole)
    path = tmp_path / "damaged"
    shutil.copytree(whole, path)
    checked = 0
    for file in files_of(path):
        data = file.read_bytes()
        for place in range(len(data)):
            if file.name == noise_name and place in noise_range:
                continue
            changed = bytearray(data)
            changed[place] ^= 1 << place % 8
            file.write_bytes(changed)
            damages = verify(world, path)
            if file.name in ("head", "policy"):
                assert damages is None
            else:
                assert damages
                name = file.relative_to(path).as_posix()
                assert any(
                    each.file == name and each.start <= place < each.stop for each in damages
                ), (name, place, damages)
            checked += 1
        file.write_bytes(data)
    assert checked > 800
    assert verify(world, path) == []


def test_every_missing_end_is_found(world: World, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    shutil.copytree(whole, path)
    for file in files_of(path):
        data = file.read_bytes()
        for size in range(len(data)):
            file.write_bytes(data[:size])
            damages = verify(world, path)
            assert damages is None or damages, (file.name, size)
        file.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda file: file.write_bytes(file.read_bytes() + b"x"), "behind|belong"),
        (lambda file: file.unlink(), "missing|without an index"),
        (lambda file: file.with_name("other.txt").write_bytes(b"x"), "not a file of the vault"),
    ],
)
@pytest.mark.parametrize("suffix", [".data", ".index"])
def test_other_files(
    world: World, whole: Path, change: Callable[[Path], object], what: str, suffix: str
) -> None:
    file = next(each for each in files_of(whole) if each.suffix == suffix)
    change(file)
    damages = verify(world, whole)
    assert damages
    assert any(word in damages[0].what for word in what.split("|")), damages


@pytest.mark.parametrize("name", ["head", "policy"])
def test_a_vault_without_its_small_files_does_not_open(
    world: World, whole: Path, name: str
) -> None:
    (whole / name).unlink()
    for read_only in (True, False):
        with pytest.raises(DamagedError, match=f"`{name}` is missing"):
            world.open(whole, read_only=read_only)


@pytest.mark.parametrize("name", ["head", "policy"])
def test_small_files_are_looked_at_again(world: World, whole: Path, name: str) -> None:
    with world.open(whole, read_only=True) as vault:
        (whole / name).write_bytes(b"x" * 60)
        (damage,) = vault.verify()
        assert (damage.file, damage.stop) == (name, 60)
        (whole / name).unlink()
        assert [each.file for each in vault.verify()] == [name]


def test_a_missing_segment_is_found_by_its_follower(world: World, whole: Path) -> None:
    first = min(file.stem for file in files_of(whole) if file.suffix == ".index")
    for file in files_of(whole):
        if file.stem == first:
            file.unlink()
    damages = verify(world, whole)
    assert damages
    assert [each.what.split(":")[0] for each in damages] == ["missing"]


def test_a_frame_of_another_content_is_found(world: World, tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with world.open(path) as vault:
        first, second = (vault.put([noise(number, 64)]).digest for number in (1, 2))
    (file,) = path.rglob("*.data")
    data = bytearray(file.read_bytes())
    with world.open(path, read_only=True) as vault:
        one, two = (vault._catalogue.find(digest) for digest in (first, second))
        assert one is not None
        assert two is not None
        assert one[1].stop - one[1].offset == two[1].stop - two[1].offset
        data[one[1].offset : one[1].stop] = data[two[1].offset : two[1].stop]
    file.write_bytes(data)
    with world.open(path, read_only=True) as vault:
        (damage,) = vault.verify()
        assert damage.digest == first
        with pytest.raises(DamagedError, match=first.hex()[:16]):
            vault.read(first, 0, 64)
        assert vault.read(second, 0, 64) == noise(2, 64)


def test_what_is_damaged_is_neither_cut_nor_rewritten(world: World, tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with world.open(path) as vault:
        digests = [vault.put([noise(number, 50)]).digest for number in range(3)]
        lengths = [segment.index_bytes for segment in vault._catalogue.segments]
    (file,) = path.rglob("*.index")
    data = bytearray(file.read_bytes())
    data[lengths[0] // 2] ^= 1
    file.write_bytes(data)
    before = {each: each.read_bytes() for each in files_of(path)}
    with world.open(path) as vault:
        there = [digest for digest in digests if vault.has(digest)]
        assert 0 < len(there) < 3
        with pytest.raises(DamagedError, match="put it back from a backup"):
            vault.erase(there[0], "a request", "me")
        assert vault.verify()
        assert vault.put([b"new"]).is_new
    assert all(each.read_bytes() == data for each, data in before.items())
    data[lengths[0] // 2] ^= 1
    file.write_bytes(data)
    with world.open(path) as vault:
        assert vault.verify() == []
        assert all(vault.has(digest) for digest in digests)


def test_nothing_is_found_while_others_write(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_commit, "PUT_MEMORY_MAX", 1_000_000)
    path = tmp_path / "vault"
    with world.open(path) as vault, world.open(path, read_only=True) as reader:
        stop = threading.Event()

        def work() -> int:
            count = 0
            while not stop.is_set() and count < 400:
                digest = vault.put([noise(count, 30_000 + count % 7 * 300_000)]).digest
                if count % 3 == 0:
                    vault.erase(digest, "a request", "me")
                count += 1
            return count

        with ThreadPoolExecutor(1) as threads:
            working = threads.submit(work)
            try:
                for _ in range(5):
                    assert vault.verify() == []
                    assert reader.verify() == []
            finally:
                stop.set()
            assert working.result() > 0
