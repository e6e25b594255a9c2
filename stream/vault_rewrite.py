"""Erasing contents and wrapping keys anew: the index of a segment is replaced, the data stays.

An erased content keeps its entry, without its wrapped key: a tombstone. Once nothing in a segment
can be read any more, its data is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from reassoc.stream.vault_catalogue import Catalogue
from reassoc.stream.vault_commit import Committer
from reassoc.stream.vault_errors import DamagedError
from reassoc.stream.vault_index import IndexCodec, Place, Seal, Tombstone, entry
from reassoc.stream.vault_keys import KeyRing
from reassoc.stream.vault_segments import data_name, index_name, read_index, segment_of
from reassoc.stream.vault_store import Store

Change = Callable[[bytes, Place], Place]


class Rewriter:
    """Replaces indexes. One call at a time; commits wait while an index is replaced.

    Raises DamagedError where an index is damaged (what is damaged would be lost), OSError where the
    store fails; what was replaced by then stays replaced.
    """

    def __init__(
        self, store: Store, codec: IndexCodec, catalogue: Catalogue, committer: Committer
    ) -> None:
        self._store = store
        self._codec = codec
        self._catalogue = catalogue
        self._committer = committer

    def erase(self, digests: Iterable[bytes], tombstone: Tombstone) -> None:
        """Destroy the wrapped keys of contents."""
        self._committer.settle()
        by_segment: dict[str, set[bytes]] = {}
        for digest in digests:
            for name in self._catalogue.segments_of(digest):
                by_segment.setdefault(name, set()).add(digest)

        for name, wanted in by_segment.items():

            def bury(digest: bytes, place: Place, wanted: set[bytes] = wanted) -> Place:
                if digest not in wanted or place.erased is not None:
                    return place
                return msgspec.structs.replace(place, key_id="", wrapped=b"", erased=tombstone)

            self._rewrite(name, bury)

    def rotate(self, keys: KeyRing) -> int:
        """Wrap every data key with the newest master key; how many were wrapped anew."""
        self._committer.settle()
        newest, count = keys.ids[-1], 0

        def wrap(_: bytes, place: Place) -> Place:
            nonlocal count
            if place.erased is not None or place.key_id == newest:
                return place
            data_key = keys.unwrap(place.key_id, place.wrapped, place.content_id)
            count += 1
            wrapped = keys.wrap(data_key, place.content_id)
            return msgspec.structs.replace(place, key_id=newest, wrapped=wrapped)

        for segment in list(self._catalogue.segments):
            self._rewrite(segment.name, wrap)
        return count

    def _rewrite(self, name: str, change: Change) -> None:
        with self._committer.lock:
            segment = self._catalogue.segment(name)
            if segment is not None and not segment.is_sealed:
                self._committer.seal_current()
            data, _ = read_index(self._store, name)
            found = self._codec.parse(name, data)
            if found.head is None or found.damages or found.seal is None:
                raise DamagedError(
                    f"{index_name(name)} is damaged and cannot be rewritten: put it back from a "
                    "backup; `reassoc vault verify` shows all damage"
                )
            entries, changed, live_count = [], [], 0
            for each in found.entries:
                before = each.decode()
                after = change(each.digest, before)
                live_count += after.erased is None
                entries.append(each if after is before else entry(each.digest, after))
                if after is not before:
                    changed.append(entries[-1])
            if not changed:
                return
            seal = Seal(len(entries), found.seal.data_bytes, live_count > 0)
            data = self._codec.whole(found.head, entries, seal)
            self._store.replace(index_name(name), data)
            found = self._codec.parse(name, data)
            stamp = self._store.stamp(index_name(name))
            self._catalogue.put(segment_of(name, found, stamp), changed)
            if not seal.has_data:
                self._store.remove(data_name(name))
