"""The vault: contents in and out, on a folder and on object stores."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from blake3 import blake3
from vault_build import World, noise, ring

from reassoc.core.errors import LimitError
from reassoc.stream import vault as vault_module
from reassoc.stream import vault_batch, vault_catalogue, vault_commit, vault_frames, vault_segments
from reassoc.stream.vault import Vault, vault_is_written
from reassoc.stream.vault_errors import (
    BusyError,
    DamagedError,
    HeldError,
    KeyMissingError,
    NoContentError,
    VaultError,
    WrongKeyError,
)

FRAME = vault_frames.FRAME_BYTES_MAX
SIZES = (0, 1, 100, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME + 17)
_numbers = itertools.count()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["folder", "file://", "memory://", "dir::file://"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where no vault is yet."""
    kind = str(request.param)
    if kind == "folder":
        return str(tmp_path / "vault")
    if kind == "memory://":
        return f"memory://vault-{next(_numbers)}"
    return f"{kind}{tmp_path / 'vault'}"


def pieces(data: bytes, size: int) -> Iterator[memoryview]:
    """A content in one buffer that is used again and again, as a reader of files does."""
    buffer = bytearray(size)
    for start in range(0, len(data), size):
        part = data[start : start + size]
        buffer[: len(part)] = part
        yield memoryview(buffer)[: len(part)]


@pytest.mark.parametrize("piece_size", [37_123, FRAME, 5 * FRAME])
def test_what_was_put_is_read_back(world: World, url: str, piece_size: int) -> None:
    contents = {size: noise(size, size // 2) + bytes(size - size // 2) for size in SIZES}
    with world.open(url) as vault:
        for data in contents.values():
            stored = vault.put(pieces(data, piece_size))
            assert (stored.digest, stored.byte_count) == (blake3(data).digest(), len(data))
            assert stored.is_new
            assert not vault.put([data]).is_new
    with world.open(url, read_only=True) as vault:
        for data in contents.values():
            digest = blake3(data).digest()
            assert vault.has(digest)
            assert vault.size(digest) == len(data)
            assert vault.read(digest, 0, len(data)) == data
        assert vault.verify() == []
        assert {each.digest for each in vault.contents()} == {
            blake3(data).digest() for data in contents.values()
        }


def test_a_large_content_has_a_segment_of_its_own(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_commit, "PUT_MEMORY_MAX", 2 * FRAME)
    data = noise(1, 5 * FRAME + 3)
    with world.open(url) as vault:
        small = vault.put([b"small"])
        large = vault.put([data])
        assert not vault.put([data]).is_new
        segments = {each.digest: each.segment for each in vault.contents()}
        assert segments[small.digest] != segments[large.digest]
        assert vault.read(large.digest, FRAME - 2, 3 * FRAME) == data[FRAME - 2 : 3 * FRAME]
        with pytest.raises(ZeroDivisionError):
            vault.put(data if number < 4 else bytes(1 // 0) for number in range(5))
        assert vault.verify() == []
    with world.open(url) as vault:
        assert vault.verify() == []
        assert vault.has(large.digest)


def test_a_stream_reads_from_any_place(world: World, url: str) -> None:
    data = noise(2, 2 * FRAME + 5)
    with world.open(url) as vault:
        stream = vault.open_stream(vault.put([data]).digest)
        assert stream.readable()
        assert stream.seekable()
        assert stream.seek(-10, io.SEEK_END) == len(data) - 10
        assert stream.read() == data[-10:]
        assert stream.read(5) == b""
        stream.seek(FRAME - 3)
        assert stream.read(6) == data[FRAME - 3 : FRAME + 3]
        assert stream.tell() == FRAME + 3
        assert stream.seek(2, io.SEEK_CUR) == FRAME + 5
        with pytest.raises(ValueError, match="before the beginning"):
            stream.seek(-1)
        assert io.BufferedReader(vault.open_stream(vault.put([data]).digest)).read() == data


def test_ranges_outside_are_refused(world: World, tmp_path: Path) -> None:
    with world.open(tmp_path / "vault") as vault:
        digest = vault.put([b"abc"]).digest
        assert vault.read(digest, 1, 1) == b""
        for start, stop in ((-1, 2), (2, 1), (0, 4)):
            with pytest.raises(ValueError, match="of 3"):
                vault.read(digest, start, stop)
        with pytest.raises(NoContentError, match="is not in the vault"):
            vault.read(bytes(32), 0, 0)


def test_a_batch_is_one_commit(world: World, url: str) -> None:
    with world.open(url) as vault:
        with vault.batch() as batch:
            stored = [batch.put([b"%d" % number]) for number in range(50)]
            assert not batch.put([b"7"]).is_new
            assert not vault.has(stored[0].digest)
        assert all(vault.has(each.digest) for each in stored)
        assert len({each.segment for each in vault.contents()}) == 1

        def put_and_fail() -> None:
            with vault.batch() as batch:
                batch.put([b"nobody wants it"])
                raise KeyError

        with pytest.raises(KeyError):
            put_and_fail()
        assert not vault.has(blake3(b"nobody wants it").digest())
        assert vault.verify() == []


def test_a_full_batch_commits_what_it_has(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_batch, "BATCH_CONTENTS_MAX", 2)
    with world.open(tmp_path / "vault") as vault, vault.batch() as batch:
        first = batch.put([b"1"]).digest
        assert not vault.has(first)
        batch.put([b"2"])
        assert vault.has(first)


def test_threads_put_at_once(world: World, url: str) -> None:
    contents = [noise(number % 30, 3_000) for number in range(60)]
    with world.open(url) as vault:
        gate = threading.Barrier(4)

        def put(numbers: range) -> int:
            gate.wait()
            return sum(vault.put([contents[number]]).is_new for number in numbers)

        with ThreadPoolExecutor(4) as threads:
            parts = [range(start, len(contents), 4) for start in range(4)]
            assert sum(threads.map(put, parts)) >= 30
        assert len(list(vault.contents())) == 30
        for data in contents:
            assert vault.read(blake3(data).digest(), 0, len(data)) == data
        assert vault.verify() == []


def test_segments_are_sealed_when_they_are_full(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_commit, "SEGMENT_BYTES_MAX", 1000)
    with world.open(tmp_path / "vault") as vault:
        for number in range(9):
            vault.put([noise(number, 400)])
        assert len({each.segment for each in vault.contents()}) == 3
        assert vault.verify() == []


def test_limits_are_checked(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.open(tmp_path / "vault") as vault:
        monkeypatch.setattr(vault_catalogue, "CONTENTS_MAX", 2)
        vault.put([b"1"])
        vault.put([b"2"])
        with pytest.raises(LimitError, match="CONTENTS_MAX"):
            vault.put([b"3"])
        monkeypatch.setattr(vault_module, "READ_BYTES_MAX", 0)
        with pytest.raises(LimitError, match="READ_BYTES_MAX"):
            vault.read(blake3(b"1").digest(), 0, 1)
        monkeypatch.setattr(vault_frames, "CONTENT_BYTES_MAX", 5)
        with pytest.raises(LimitError, match="CONTENT_BYTES_MAX"):
            vault.put([b"123456"])


def test_nothing_plain_lies_in_the_folder(world: World, tmp_path: Path) -> None:
    word = b"NM1*QC*1*DOE*JANE"
    with world.open(tmp_path / "vault") as vault:
        digest = vault.put([word * 100]).digest
        vault.hold(digest, "a secret reason", "somebody")
    files = [path for path in (tmp_path / "vault").rglob("*") if path.is_file()]
    found = b"".join(path.read_bytes() for path in files)
    for text in (word, digest, digest.hex().encode(), b"secret", b"somebody"):
        assert text not in found
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_one_writer_and_any_number_of_readers(world: World, tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with world.open(path) as writer:
        first = writer.put([b"first"]).digest
        with pytest.raises(BusyError, match="another process writes"):
            world.open(path)
        with world.open(path, read_only=True) as reader:
            assert reader.read(first, 0, 5) == b"first"
            second = writer.put([b"second"]).digest
            assert reader.read(second, 0, 6) == b"second"
            writer.erase(first, "a request", "me")
            with pytest.raises(NoContentError, match="erased"):
                reader.read(first, 0, 5)
            assert reader.verify() == []
            with pytest.raises(VaultError, match="read-only"):
                reader.put([b"third"])
    with pytest.raises(VaultError, match="closed"):
        writer.has(first)
    assert not (tmp_path / "none").exists()
    with pytest.raises(VaultError, match="no vault is here"):
        world.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_an_erased_content_is_gone(world: World, url: str) -> None:
    with world.open(url) as vault:
        with vault.batch() as batch:
            gone, stays = batch.put([b"gone"]).digest, batch.put([b"stays"]).digest
        assert vault.read(gone, 0, 4) == b"gone"
        vault.erase(gone, "a request", "me")
        with pytest.raises(NoContentError, match="erased on 2026-03-16"):
            vault.read(gone, 0, 4)
        assert vault.verify() == []
    with world.open(url) as vault:
        assert not vault.has(gone)
        assert vault.has(stays)
        notes = {each.digest: each.erased for each in vault.contents()}
        tombstone = notes[gone]
        assert tombstone is not None
        assert (tombstone.who, tombstone.why) == ("me", "a request")
        assert notes[stays] is None
        with pytest.raises(NoContentError):
            vault.erase(gone, "again", "me")
        assert vault.put([b"gone"]).is_new
        vault.erase(stays, "a request", "me")
        assert vault.verify() == []
    with world.open(url) as vault:
        assert vault.read(gone, 0, 4) == b"gone"
        assert not vault.has(stays)


def test_the_key_of_an_erased_content_is_nowhere(world: World, tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with world.open(path) as vault:
        digest = vault.put([b"to be erased"]).digest
        found = vault._catalogue.find(digest)
        assert found is not None
        wrapped = found[1].wrapped
        old = (path / vault_segments.index_name(found[0].name)).open("rb")
        with old:
            vault.erase(digest, "a request", "me")
            # The file that was replaced, still open here, was overwritten.
            assert not any(old.read())
        for segment in vault._catalogue.segments:
            data, _ = vault_segments.read_index(vault._store, segment.name)
            for entry in vault._codec.parse(segment.name, data).entries:
                assert wrapped not in bytes(entry.place)
        # Nothing in the segment can be read any more, so its bytes are gone too.
        assert not (path / vault_segments.data_name(found[0].name)).exists()


def test_holds_and_retention_keep(world: World, url: str) -> None:
    with world.open(url) as vault:
        first, second = vault.put([b"1"]).digest, vault.put([b"2"]).digest
        vault.hold(first, "case 1", "counsel")
        vault.hold(first, "case 2", "counsel")
        with pytest.raises(HeldError, match="legal hold"):
            vault.erase(first, "a request", "me")
        assert vault.unhold(first, "closed", "counsel") == 1
        vault.retain(30)
        with pytest.raises(HeldError, match="until 2026-04-15"):
            vault.erase(second, "a request", "me")
        assert vault.apply_retention(world.now + timedelta(days=29)) == 0
        with pytest.raises(VaultError, match="not held"):
            vault.unhold(second, "closed", "counsel")
        for bad in (0, -1, 40_000):
            with pytest.raises(VaultError, match="a retention is from"):
                vault.retain(bad)
        with pytest.raises(VaultError, match="who must say"):
            vault.hold(second, "why", " ")
    with world.open(url) as vault:
        assert vault.retention_days == 30
        assert vault.apply_retention(world.now + timedelta(days=30)) == 1
        assert vault.has(first)
        assert not vault.has(second)
        assert vault.unhold(first, "closed", "counsel") == 0
        vault.retain(None)
        assert vault.apply_retention(world.now + timedelta(days=9999)) == 0
        vault.erase(first, "a request", "me")


def test_rotation_wraps_anew_and_frees_the_old_key(world: World, url: str) -> None:
    with world.open(url, ring("a")) as vault:
        first = vault.put([b"1"]).digest
    with world.open(url, ring("a", "b")) as vault:
        second = vault.put([b"2"]).digest
        assert vault.key_use() == {"a": 1, "b": 1}
    with pytest.raises(KeyMissingError, match="lacks the key 'a'"):
        world.open(url, ring("b"))
    with world.open(url, ring("a", "b")) as vault:
        assert vault.rotate() == 1
        assert vault.rotate() == 0
        assert vault.key_use() == {"b": 2}
    with world.open(url, ring("b")) as vault:
        assert vault.read(first, 0, 1) + vault.read(second, 0, 1) == b"12"
        assert vault.verify() == []
    with pytest.raises(KeyMissingError, match="lacks the key 'b'"):
        world.open(url, ring("a"))


def test_a_wrong_key_is_refused(world: World, url: str) -> None:
    with world.open(url) as vault:
        vault.put([b"1"])
    wrong = type(ring())({"a": bytes(32)}, "another key file")
    with pytest.raises(WrongKeyError, match="another key file: key 'a' is not the one"):
        world.open(url, wrong)


def test_a_vault_without_its_head_is_not_begun_again(world: World, tmp_path: Path) -> None:
    path = tmp_path / "vault"
    assert not vault_is_written(path)
    with world.open(path) as vault:
        vault.put([b"1"])
    assert vault_is_written(path)
    (path / "head").unlink()
    with pytest.raises(DamagedError, match="`head` is missing"):
        world.open(path)
    assert not (path / "head").exists()


def test_a_copy_is_made_while_others_put(world: World, url: str, tmp_path: Path) -> None:
    with world.open(url) as vault:
        digests = [vault.put([noise(number, 50_000)]).digest for number in range(5)]
        vault.erase(digests.pop(), "a request", "me")
        vault.hold(digests[0], "case", "counsel")
        stop = threading.Event()

        def put() -> int:
            count = 0
            while not stop.is_set() and count < 500:
                vault.put([b"%d" % count])
                count += 1
            return count

        with ThreadPoolExecutor(1) as threads:
            putting = threads.submit(put)
            assert vault.copy_to(tmp_path / "copy") > 200_000
            stop.set()
            assert putting.result() > 0
        with pytest.raises(VaultError, match="not an empty folder"):
            vault.copy_to(tmp_path / "copy")
        assert vault.verify() == []
    with world.open(tmp_path / "copy") as copy:
        assert copy.verify() == []
        assert all(copy.has(digest) for digest in digests)
        with pytest.raises(HeldError):
            copy.erase(digests[0], "a request", "me")


def test_a_content_in_two_segments_is_erased_in_both(world: World) -> None:
    url = f"memory://vault-{next(_numbers)}"
    vaults: list[Vault] = [world.open(url), world.open(url)]
    digests = {vault.put([b"the same"]).digest for vault in vaults}
    for vault in vaults:
        vault.close()
    (digest,) = digests
    with world.open(url) as vault:
        assert vault.verify() == []
        vault.erase(digest, "a request", "me")
        assert not vault.has(digest)
    with world.open(url) as vault:
        assert not vault.has(digest)


def test_urls_that_cannot_be_used(world: World) -> None:
    with pytest.raises(VaultError, match="URL cannot be used"):
        world.open("nothing-like-it://bucket/vault")


def test_a_reader_beside_large_contents_that_are_there_already(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their segments come and go while the reader looks at the folder."""
    monkeypatch.setattr(vault_commit, "PUT_MEMORY_MAX", 1000)
    data = noise(1, 5000)
    with world.open(tmp_path / "vault") as vault:
        vault.put([data])
        with world.open(tmp_path / "vault", read_only=True) as reader:
            with ThreadPoolExecutor(1) as threads:
                putting = threads.submit(lambda: [vault.put([data]) for _ in range(100)])
                while not putting.done():
                    assert not reader.has(bytes(32))
                assert not any(stored.is_new for stored in putting.result())
            assert reader.verify() == []
