"""835s in addenda, read once for all the files of a run that have a part in them."""

from __future__ import annotations

from typing import Any

import pytest
from release_world import PlainVault, Stream
from small_feed import Entry, ach_file, interchange, remittance

from reassoc.core.ach import read_ach
from reassoc.stream.gathering import Carried
from reassoc.stream.sources import SourceError
from reassoc.stream.vault_errors import NoContentError


class CountedVault(PlainVault):
    """Counts what is read from front to back."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = 0

    def open_stream(self, digest: bytes) -> Stream:
        self.streams += 1
        return Stream(self._get(digest))


class GappedVault(PlainVault):
    """Contents of which the rest did not come, from a byte on."""

    def __init__(self, gap: int) -> None:
        super().__init__()
        self.gap = gap

    def open_stream(self, digest: bytes) -> Stream:
        return Gapped(self._get(digest), self.gap)


class Gapped(Stream):
    def __init__(self, data: bytes, gap: int) -> None:
        super().__init__(data[:gap])
        self._is_whole = gap > len(data)

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        if not count and not self._is_whole:
            raise NoContentError("a part did not come")
        return count


def file_of(count: int, first: int = 0) -> tuple[bytes, list[bytes]]:
    """An ACH file with so many 835s, and their bytes from ST to SE."""
    payloads = [interchange(remittance(f"T{first + n}", 100 + n)) for n in range(count)]
    data = ach_file(*(Entry(100 + n, payload=one) for n, one in enumerate(payloads)))
    x12 = read_ach(data).remittances
    places = zip(x12.transactions.offset.tolist(), x12.transactions.end.tolist(), strict=True)
    return data, [bytes(x12.source[start:stop]) for start, stop in places]


def test_a_content_is_scanned_once() -> None:
    vault = CountedVault()
    carried = Carried()
    files = [file_of(5), file_of(3, first=50)]
    digests = [vault.put(data) for data, _ in files]
    for numbers in ([3], [0, 1, 4], [2]):
        for digest, (_, sets) in zip(digests, files, strict=True):
            wanted = [number for number in numbers if number < len(sets)]
            assert carried.read(vault, digest, wanted) == [sets[number] for number in wanted]
    assert vault.streams == 2


def test_what_has_no_room_is_scanned_again() -> None:
    vault = CountedVault()
    data, sets = file_of(5)
    digest = vault.put(data)
    size = sum(map(len, sets))
    for room, streams in ((size, 1), (size - 1, 2), (0, 2)):
        carried, vault.streams = Carried(room), 0
        assert carried.read(vault, digest, [1, 4]) == [sets[1], sets[4]]
        assert carried.read(vault, digest, [0]) == [sets[0]]
        assert vault.streams == streams
    carried = Carried(size)
    other = vault.put(file_of(5, first=50)[0])
    carried.read(vault, digest, [0])
    carried.read(vault, other, [0])
    vault.streams = 0
    carried.read(vault, digest, [1])
    carried.read(vault, other, [1])
    assert vault.streams == 1, "one of the two had room"


def test_a_part_that_never_comes_keeps_back_nothing_before_it() -> None:
    data, sets = file_of(5)
    gap = data.index(b"T3")
    vault = GappedVault(gap)
    digest = vault.put(data)
    carried = Carried()
    assert carried.read(vault, digest, [0, 2]) == [sets[0], sets[2]]
    with pytest.raises(NoContentError):
        carried.read(vault, digest, [0, 4])
    vault.gap = 0
    with pytest.raises(NoContentError):
        carried.read(vault, digest, [0])
    vault.gap = len(data) + 1
    assert carried.read(vault, digest, [0, 4]) == [sets[0], sets[4]], "it came later"


def test_a_number_that_is_not_there_is_told() -> None:
    vault = CountedVault()
    digest = vault.put(file_of(2)[0])
    carried = Carried()
    for _ in range(2):
        with pytest.raises(SourceError, match="fewer remittances"):
            carried.read(vault, digest, [1, 2])
    assert len(carried.read(vault, digest, [0, 1])) == 2
