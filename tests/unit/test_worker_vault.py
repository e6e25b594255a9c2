"""Vaults of many workers: one writer each, and files out of parts that lie in any of them."""

from __future__ import annotations

import io
import secrets
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3
from vault_build import START, World, noise, ring

from reassoc.core.errors import LimitError
from reassoc.stream import file_contents, worker_vault
from reassoc.stream.file_contents import FileContents
from reassoc.stream.ledger import Ledger
from reassoc.stream.message import Reference
from reassoc.stream.part_book import FileNote, Part, PartBook
from reassoc.stream.vault import Vault
from reassoc.stream.vault_errors import BusyError, NoContentError, VaultError, WrongKeyError
from reassoc.stream.vault_keys import FileKeyRing
from reassoc.stream.worker_vault import (
    WorkerVaults,
    vault_names,
    vaults_are_written,
)

_WRITE = """
import sys, secrets, time
from pathlib import Path
from reassoc.stream.clock import utc_now
from reassoc.stream.vault_keys import FileKeyRing
from reassoc.stream.worker_vault import WorkerVaults
keys = FileKeyRing({"a": bytes(range(32))}, "keys")
vaults = WorkerVaults.open(
    sys.argv[1], None, keys, now=utc_now, new_id=lambda: secrets.token_hex(8)
)
for text in sys.argv[2:]:
    vaults.put([text.encode()])
print(vaults.name, flush=True)
sys.stdin.read()
"""


class Book:
    """A part book in memory that counts what it is asked."""

    def __init__(self) -> None:
        self.parts: dict[bytes, list[Part]] = {}
        self.notes: dict[bytes, FileNote] = {}
        self.asked: list[int] = []
        self.asked_of = 0

    def parts_of(self, digest: bytes) -> list[Part]:
        return self.parts_of_files([digest]).get(digest, [])

    def parts_of_files(self, digests: Collection[bytes]) -> dict[bytes, list[Part]]:
        self.asked.append(len(digests))
        return {digest: list(self.parts[digest]) for digest in digests if digest in self.parts}

    def files(self, digests: Collection[bytes]) -> dict[bytes, FileNote]:
        self.asked_of += len(digests)
        return {digest: self.notes[digest] for digest in digests if digest in self.notes}


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[WorkerVaults]]:
    """Three workers on one folder."""
    opened = [open_vaults(tmp_path / "vaults") for _ in range(3)]
    yield opened
    for vaults in opened:
        vaults.close()


def open_vaults(
    folder: Path | str, name: str | None = None, keys: FileKeyRing | None = None
) -> WorkerVaults:
    return WorkerVaults.open(
        folder, name, keys or ring(), now=lambda: START, new_id=lambda: secrets.token_hex(8)
    )


def spread(
    data: bytes, cuts: list[int], workers: list[WorkerVaults], book: Book
) -> tuple[bytes, list[Part]]:
    """A file in parts, by turns in the vaults of workers, each in a content with others' bytes."""
    digest = blake3(data).digest()
    parts = []
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(data)], strict=True)):
        vaults = workers[number % len(workers)]
        before = noise(start, number * 10)
        stored = vaults.put([before, data[start:stop], b"of another"])
        parts.append(Part(digest, start, stop, vaults.name, stored.digest, len(before), b"", True))
    book.parts[digest] = parts
    return digest, parts


def test_each_worker_has_a_vault_of_its_own_and_reads_those_of_others(
    workers: list[WorkerVaults], tmp_path: Path
) -> None:
    assert [one.name for one in workers] == ["w0", "w1", "w2"]
    stored = [one.put([b"of ", one.name.encode()]) for one in workers]
    for reader in workers:
        found = [
            reader.read(one.name, each.digest) for one, each in zip(workers, stored, strict=True)
        ]
        assert found == [b"of w0", b"of w1", b"of w2"]
        assert reader.read("w1", stored[1].digest, 3, 5) == b"w1"
    # What came after a vault was opened by others is seen as well.
    later = workers[2].put([b"later"])
    assert workers[0].read("w2", later.digest) == b"later"
    assert workers[0].find(later.digest) == "w2"
    assert workers[0].find(bytes(32)) is None
    assert vault_names(tmp_path / "vaults") == ["w0", "w1", "w2"]
    # And what was erased is seen no more.
    workers[2].close()
    url = f"{tmp_path}/vaults/w2"
    with Vault.open(url, ring(), now=lambda: START, new_id=World().new_id) as vault:
        vault.erase(later.digest, "asked for", "Ann")
    with pytest.raises(NoContentError):
        workers[0].read("w2", later.digest)


@pytest.mark.parametrize("name", [None, "north"])
@pytest.mark.parametrize("starts_anew", [False, True])
def test_a_worker_goes_on_with_another_vault_when_its_own_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, starts_anew: bool
) -> None:
    monkeypatch.setattr(worker_vault, "OWN_CONTENTS_MAX", 2)
    url = str(tmp_path / "vaults")
    worker, places = open_vaults(url, name), list[Reference]()
    for number in range(5):
        if starts_anew:
            worker.close()
            worker = open_vaults(url, name)
        places.append(worker.put([b"content %d" % number]))
        for before, place in enumerate(places):
            assert worker.read(place.vault, place.digest) == b"content %d" % before
    worker.close()
    first = ["w0", "w1", "w2"] if name is None else ["north", "north.2", "north.3"]
    assert [place.vault for place in places] == [first[number // 2] for number in range(5)]
    for full in first:  # they were closed: anybody may write them
        Vault.open(f"{url}/{full}", ring(), now=lambda: START, new_id=World().new_id).close()


def test_a_vault_that_is_full_stays_open_until_nobody_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_vault, "OWN_CONTENTS_MAX", 3)
    worker, beside = open_vaults(tmp_path / "vaults"), open_vaults(tmp_path / "vaults")
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"slow"
        begun.set()
        assert go_on.wait(30)

    texts = [b"%d" % number for number in range(100)]
    with ThreadPoolExecutor(4) as threads:
        slow = threads.submit(worker.put, slowly())
        assert begun.wait(30)
        places = list(threads.map(lambda text: worker.put([text]), texts))
        go_on.set()
        assert slow.result().vault == "w0"
        assert worker.read("w0", slow.result().digest) == b"slow"
    for place, text in zip(places, texts, strict=True):
        assert worker.read(place.vault, place.digest) == text
        assert beside.read(place.vault, place.digest) == text
    names = {place.vault for place in places}
    assert {"w0", "w2"} < names
    assert "w1" not in names, "that one is written by another worker"
    counts = Counter(place.vault for place in places)
    assert max(counts.values()) <= 3 + 4, "full, and what four threads had begun by then"
    beside.close()
    worker.close()


def test_vaults_of_others_that_have_much_are_not_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_vault, "OWN_CONTENTS_MAX", 3)
    monkeypatch.setattr(worker_vault, "OPEN_CONTENTS_MAX", 7)
    worker = open_vaults(tmp_path / "vaults")
    places = [worker.put([b"%d" % number]) for number in range(30)]
    for _ in range(2):
        for number, place in enumerate(places):
            assert worker.read(place.vault, place.digest) == b"%d" % number
            assert sum(vault.content_count for vault in worker._others.values()) <= 7
    worker.close()


def test_a_worker_that_dies_leaves_its_vault_to_the_next(tmp_path: Path) -> None:
    url = str(tmp_path / "vaults")
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE, url, "one", "two"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline() == b"w0\n"
        beside = open_vaults(url)
        assert beside.name == "w1"
        assert beside.read("w0", blake3(b"two").digest()) == b"two"
        with pytest.raises(BusyError):
            open_vaults(url, "w0")
        dying.kill()
    after = open_vaults(url)
    assert after.name == "w0"
    assert after.read("w0", blake3(b"one").digest(), 0, 3) == b"one"
    later = after.put([b"three"])
    assert beside.read("w0", later.digest) == b"three"
    after.close()
    beside.close()


def test_a_file_is_put_together_from_all_vaults(workers: list[WorkerVaults]) -> None:
    data, book = noise(1, 10_000), Book()
    digest, _ = spread(data, [100, 101, 5000, 7000], workers, book)
    contents = FileContents(book, workers[1])
    for start, stop in ((0, 10_000), (0, 1), (99, 102), (100, 101), (5000, 7000), (4999, 9999)):
        assert contents.read(digest, start, stop) == data[start:stop]
    assert contents.read(digest, 10_000, 10_000) == b""
    assert contents.size(digest) == 10_000
    with contents.open_stream(digest) as stream, io.BufferedReader(stream, 999) as reader:
        assert reader.read() == data
        reader.seek(4000)
        assert reader.read(2000) == data[4000:6000]
    assert book.asked == [1]


def test_a_part_that_is_missing_is_told_and_found_once_it_came(
    workers: list[WorkerVaults],
) -> None:
    data, book = noise(2, 3000), Book()
    digest, parts = spread(data, [1000, 2000], workers, book)
    book.notes[digest] = FileNote(digest, 3000, "a", "X12", 3)
    book.parts[digest] = [parts[0], parts[2]]
    contents = FileContents(book, workers[0])
    assert contents.size(digest) == 3000
    assert contents.read(digest, 10, 1000) == data[10:1000]
    assert contents.read(digest, 2000, 3000) == data[2000:]
    for start, stop in ((999, 1001), (1500, 1600), (1999, 2001), (2999, 3001)):
        with pytest.raises(NoContentError, match="did not come"):
            contents.read(digest, start, stop)
    stream = contents.open_stream(digest)
    assert stream.read(1000) == data[:1000]
    with pytest.raises(NoContentError, match="byte 1000"):
        stream.read(1000)
    book.parts[digest] = parts
    assert stream.read(1000) == data[1000:2000]
    with pytest.raises(NoContentError, match="no vault has it"):
        contents.open_stream(bytes(32))
    with pytest.raises(ValueError, match="bytes 5 to 4"):
        contents.read(digest, 5, 4)


def test_what_no_book_knows_is_found_in_the_vaults(workers: list[WorkerVaults]) -> None:
    stored = workers[2].put([b"[tenants]"])
    contents = FileContents(Book(), workers[0])
    assert contents.size(stored.digest) == 9
    assert contents.read(stored.digest, 1, 8) == b"tenants"


def test_places_are_kept_within_limits_and_asked_for_together(
    workers: list[WorkerVaults], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_contents, "FILES_CACHED_MAX", 3)
    monkeypatch.setattr(file_contents, "PARTS_CACHED_MAX", 7)
    book = Book()
    files = [noise(seed, 100) for seed in range(4)]
    digests = [spread(data, [10, 20], workers, book)[0] for data in files]
    contents = FileContents(book, workers[0])
    contents.expect(digests[:2])
    for number in (0, 1):
        assert contents.read(digests[number], 0, 100) == files[number]
    assert book.asked == [2]
    contents.expect(digests[:2])
    contents.read(digests[2], 0, 1)  # nine parts are too many: the first file's are forgotten
    contents.read(digests[1], 0, 1)
    contents.read(digests[0], 0, 1)
    assert book.asked == [2, 0, 1, 1]
    monkeypatch.setattr(file_contents, "PARTS_CACHED_MAX", 2)
    assert contents.read(digests[3], 0, 100) == files[3]


def test_places_of_two_expectations_are_kept(workers: list[WorkerVaults]) -> None:
    book = Book()
    digests = [spread(noise(seed, 100), [10], workers, book)[0] for seed in range(3)]
    contents = FileContents(book, workers[0])
    for expected in ([0], [1], [0, 2]):
        contents.expect([digests[number] for number in expected])
    assert book.asked == [1, 1, 1], "what is expected again is known"
    contents.expect([digests[2]])
    for number in range(3):
        contents.read(digests[number], 0, 1)
    assert book.asked == [1, 1, 1, 0, 1], "what nobody has expected since is not"


def test_what_was_said_of_expected_files_is_asked_together(workers: list[WorkerVaults]) -> None:
    book = Book()
    digests = [spread(noise(seed, 100), [10], workers, book)[0] for seed in range(3)]
    contents = FileContents(book, workers[0])
    contents.expect(digests[:2])
    book.notes[digests[0]] = FileNote(digests[0], 300, "a", "X12", 3)
    assert [contents.size(digest) for digest in digests[:2]] == [100, 100]
    assert book.asked_of == 2
    contents.expect(digests[:1])
    assert [contents.size(digest) for digest in digests] == [300, 100, 100]
    assert book.asked_of == 4, "once for what is expected, and of that which never was"


def test_the_book_in_a_database_serves_it(workers: list[WorkerVaults], tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    book, scratch = PartBook(ledger), Book()
    files = [noise(seed, 1000) for seed in (5, 6)]
    digests = []
    for data in files:
        digest, parts = spread(data, [300, 600], workers, scratch)
        book.remember(parts)
        digests.append(digest)
    book.remember_files([FileNote(digests[0], 1000, "a", "X12", 3)])
    contents = FileContents(book, workers[2])
    contents.expect([*digests, bytes(32)])
    for digest, data in zip(digests, files, strict=True):
        assert contents.read(digest, 0, contents.size(digest)) == data
    ledger.close()


def test_names_out_of_messages_reach_nothing_else(
    workers: list[WorkerVaults], tmp_path: Path
) -> None:
    World().open(tmp_path / "other").close()
    for name in ("../other", "", "w9", "w0/segments", "."):
        with pytest.raises(NoContentError):
            workers[0].read(name, bytes(32))
        if name != "w9":
            with pytest.raises(VaultError, match="letters"):
                open_vaults(tmp_path / "vaults", name)


def test_it_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = tmp_path / "vaults"
    assert not vaults_are_written(url)
    first = open_vaults(url, "mine")
    assert vaults_are_written(f"file://{url}")
    monkeypatch.setattr(worker_vault, "VAULTS_MAX", 1)
    second = open_vaults(f"file://{url}")
    with pytest.raises(BusyError, match="VAULTS_MAX"):
        open_vaults(url)
    with pytest.raises(VaultError, match="name of its own"):
        open_vaults("memory://vaults")
    third = open_vaults(url, "third", FileKeyRing({"a": bytes(32)}, "other keys"))
    with pytest.raises(WrongKeyError):
        third.read("mine", bytes(32))
    third.close()
    monkeypatch.setattr(file_contents, "READ_BYTES_MAX", 5)
    with pytest.raises(LimitError, match="READ_BYTES_MAX"):
        FileContents(Book(), first).read(bytes(32), 0, 6)
    first.close()
    second.close()
