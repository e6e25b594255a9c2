"""Goes through every byte of a vault and says what is damaged, missing or surplus, and what to do.

It reads the store, not what is in memory. What is being written meanwhile is no damage: of such a
segment only what was committed is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from blake3 import blake3

from reassoc.stream.vault_catalogue import Catalogue
from reassoc.stream.vault_errors import KeyMissingError, VaultError, WrongKeyError
from reassoc.stream.vault_frames import frame_size, open_frame
from reassoc.stream.vault_head import (
    HEAD,
    POLICY,
    SMALL_BYTES_MAX,
    VaultHead,
    parse_head,
    read_policy,
)
from reassoc.stream.vault_index import DATA_MAGIC, Entry, IndexCodec, ParsedIndex, Place
from reassoc.stream.vault_keys import KeyRing
from reassoc.stream.vault_read import Opened, opened
from reassoc.stream.vault_segments import (
    READ_TRIES,
    data_name,
    index_name,
    read_index,
    segment_of,
)
from reassoc.stream.vault_store import NEW, SEGMENTS, Store

Progress = Callable[[int], None]
"""Told how many more bytes were gone through."""

_RESTORE = "put the file back from a backup"
_RESEND = "put the file back from a backup, or have the sender send the content again"
_SURPLUS = "nothing needs it: look at where it comes from, then remove it"


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what they should be.

    file : in the vault    start, stop : bytes of it    digest : of the content that they are of,
    None where no single one is    what : is wrong    remedy : what to do
    """

    file: str
    start: int
    stop: int
    digest: bytes | None
    what: str
    remedy: str


def verify_vault(
    store: Store,
    codec: IndexCodec,
    keys: KeyRing,
    head: VaultHead,
    index_key: bytes,
    catalogue: Catalogue,
    in_flight: Callable[[], set[str]],
    lock: AbstractContextManager[object],
    progress: Progress,
) -> list[Damage]:
    """Every damage, in the order of files.

    in_flight : the segments that this process is writing
    lock : nothing is rewritten by this process while it is held; it is held for a segment at a time

    Reads all there is once, in about 3 frames of memory and one index. Raises OSError where the
    store cannot be read at all.
    """
    check = _Check(store, codec, keys, catalogue, in_flight, progress)
    damages = list(check.files())
    for name, look in (
        (HEAD, lambda: parse_head(store, store.read(HEAD, 0, SMALL_BYTES_MAX))),
        (POLICY, lambda: read_policy(store, index_key, head.vault_id)),
    ):
        try:
            with lock:
                look()
        except FileNotFoundError:
            damages.append(Damage(name, 0, 0, None, "missing", _RESTORE))
        except VaultError as error:
            damages.append(Damage(name, 0, check.names.get(name, 0), None, str(error), _RESTORE))
    for segment in check.segments:
        with lock:
            damages += check.settled(segment)
    damages += check.chain()
    return sorted(damages, key=lambda each: (each.file, each.start, each.stop))


class _Check:
    def __init__(
        self,
        store: Store,
        codec: IndexCodec,
        keys: KeyRing,
        catalogue: Catalogue,
        in_flight: Callable[[], set[str]],
        progress: Progress,
    ) -> None:
        self._store = store
        self._codec = codec
        self._keys = keys
        self._catalogue = catalogue
        self._progress = progress
        # Before the files are listed: who begins to write after that is not among them.
        self._is_written = store.is_written_now()
        self.names = store.names()
        # And after that: what was begun before is either still in flight or sealed by now.
        self._in_flight = in_flight()
        front = f"{SEGMENTS}/"
        self.segments = sorted(
            name.removeprefix(front).removesuffix(".index")
            for name in self.names
            if name.startswith(front) and name.endswith(".index")
        )
        self._previous: dict[str, str] = {}

    def files(self) -> Iterator[Damage]:
        """Files that do not belong here, or belong to an index that is gone."""
        known = {HEAD, POLICY}
        known |= {name(segment) for segment in self.segments for name in (data_name, index_name)}
        known |= {data_name(segment) for segment in self._in_flight}
        for name, size in self.names.items():
            if name in known or (name.endswith(NEW) and self._is_written):
                continue
            if name.startswith(f"{SEGMENTS}/") and name.endswith(".data"):
                now = self._store.names()
                if name not in now or name.removesuffix(".data") + ".index" in now:
                    # It was written or removed while the files were listed.
                    continue
                what = "data without an index: nothing says what is in it"
                yield Damage(name, 0, size, None, what, f"its index: {_RESTORE}; else {_SURPLUS}")
            else:
                yield Damage(name, 0, size, None, "not a file of the vault", _SURPLUS)

    def settled(self, segment: str) -> list[Damage]:
        """An index and its data; once more where another process replaced the index meanwhile."""
        found: list[Damage] = []
        for _ in range(READ_TRIES):
            with suppress(FileNotFoundError):
                stamp = self._store.stamp(index_name(segment))
                found = list(self.segment(segment))
                if found and stamp != self._store.stamp(index_name(segment)):
                    continue
            break
        return found

    def segment(self, segment: str) -> Iterator[Damage]:
        """An index and its data."""
        name = index_name(segment)
        committed = self._catalogue.segment(segment)
        if segment in self._in_flight and (committed is None or committed.index_bytes == 0):
            return
        try:
            data, stamp = read_index(self._store, segment)
        except FileNotFoundError:
            return
        if segment in self._in_flight and committed is not None:
            data = data[: committed.index_bytes]
        self._progress(len(data))
        found = self._codec.parse(segment, data)
        for start, stop, what in found.damages:
            yield Damage(name, start, stop, None, f"{what}: contents in it are lost", _RESTORE)
        is_growing = found.seal is None and (self._is_written or segment in self._in_flight)
        if found.seal is None and not is_growing:
            what = "was not sealed: its writer died, or its end is missing"
            remedy = "open the vault for writing: what was not committed is cut off"
            yield Damage(name, found.stop, len(data), None, what, remedy)
        elif found.stop < len(data) and not is_growing:
            what = "bytes behind the end of the index"
            yield Damage(name, found.stop, len(data), None, what, _SURPLUS)
        if found.head is not None:
            self._previous[segment] = found.head.previous
        if found.seal is not None and found.seal.entries != len(found.entries):
            what = f"names {len(found.entries)} contents of {found.seal.entries}"
            yield Damage(name, 0, len(data), None, what, _RESTORE)
        yield from self._data(segment, found, stamp, is_growing)

    def _data(
        self, segment: str, found: ParsedIndex, stamp: int, is_growing: bool
    ) -> Iterator[Damage]:
        name = data_name(segment)
        committed = segment_of(segment, found, stamp)
        size = self.names.get(name)
        if size is None or is_growing or not committed.has_data:
            size = self._store.names().get(name)
        if not committed.has_data:
            # Who erased the last content removes the data just after it said so in the index.
            if size is not None and not self._is_written:
                what = "data of which every content was erased"
                yield Damage(name, 0, size, None, what, "open the vault for writing: it is removed")
            return
        if size is None:
            if found.entries:
                yield Damage(name, 0, committed.data_bytes, None, "missing", _RESEND)
            return
        if self._store.read(name, 0, len(DATA_MAGIC)) != DATA_MAGIC[:size]:
            what = "does not begin as data of a vault"
            yield Damage(name, 0, min(size, len(DATA_MAGIC)), None, what, _RESTORE)
        at = len(DATA_MAGIC)
        for entry, place in sorted(
            ((entry, entry.decode()) for entry in found.entries), key=lambda pair: pair[1].offset
        ):
            if place.offset > at and not found.damages:
                yield Damage(name, at, place.offset, None, "bytes that no content has", _SURPLUS)
            at = max(at, place.stop)
            yield from self._content(segment, entry, place)
        if at < committed.data_bytes and not found.damages:
            yield Damage(name, at, committed.data_bytes, None, "bytes no content has", _SURPLUS)
        if size > committed.data_bytes and not is_growing and not found.damages:
            what = "bytes behind the last content"
            yield Damage(name, committed.data_bytes, size, None, what, _SURPLUS)

    def _content(self, segment: str, entry: Entry, place: Place) -> Iterator[Damage]:
        name = data_name(segment)
        if place.erased is not None:
            # Without its key it is noise: nobody can say whether it is the right noise.
            return
        try:
            content = opened(self._keys, entry.digest, segment, place)
        except (KeyMissingError, WrongKeyError, ValueError) as error:
            what = "its data key cannot be unwrapped"
            if isinstance(error, VaultError):
                what += f" ({error})"
            yield Damage(name, place.offset, place.stop, entry.digest, what, _RESTORE)
            return
        hasher = blake3()
        is_whole = True
        for number in range(len(content.starts) - 1):
            start, stop = int(content.starts[number]), int(content.starts[number + 1])
            plain = self._frame(content, number, start, stop)
            self._progress(stop - start)
            if plain is None:
                is_whole = False
                yield Damage(name, start, stop, entry.digest, "damaged or missing", _RESEND)
            elif is_whole:
                hasher.update(plain)
        if is_whole and hasher.digest() != entry.digest:
            what = "its bytes are not those of its digest"
            yield Damage(name, place.offset, place.stop, entry.digest, what, _RESEND)

    def _frame(self, content: Opened, number: int, start: int, stop: int) -> bytes | None:
        sealed = self._store.read(data_name(content.segment), start, stop)
        try:
            return open_frame(
                content.cipher,
                content.content_id,
                number,
                len(content.starts) - 1,
                sealed,
                frame_size(content.byte_count, number),
            )
        except ValueError:
            return None

    def chain(self) -> Iterator[Damage]:
        """Segments that another one says it followed, and that are gone."""
        for segment, previous in self._previous.items():
            if previous and previous not in self.segments:
                what = f"missing: {index_name(segment)} was written after it"
                yield Damage(index_name(previous), 0, 0, None, what, _RESTORE)
