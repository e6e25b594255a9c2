"""The vault: bytes as received, for as long as they must be kept.

Contents are addressed by the BLAKE3 digest of their bytes, compressed with zstd, encrypted with
AES-256-GCM under a data key each, and lie in segments: in a folder, or on whatever fsspec reaches.
What `put` returned from is durable. Destroying a content's data key erases the content, wherever
its bytes lie. docs/VAULT.md says what lies on disk.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from reassoc.core.errors import LimitError
from reassoc.stream.vault_batch import Batch, Stored
from reassoc.stream.vault_catalogue import Catalogue, Segment
from reassoc.stream.vault_commit import Committer, Waiting, seconds_of
from reassoc.stream.vault_copy import copy_vault
from reassoc.stream.vault_errors import NoContentError, VaultError
from reassoc.stream.vault_head import Hold, is_written, open_head, write_head
from reassoc.stream.vault_index import IndexCodec, Place, Tombstone
from reassoc.stream.vault_keeping import Keeper, check_words, short
from reassoc.stream.vault_keys import KeyRing, Random
from reassoc.stream.vault_objects import ObjectStore
from reassoc.stream.vault_read import ContentReader, FrameReader, Opened
from reassoc.stream.vault_rewrite import Rewriter
from reassoc.stream.vault_segments import data_name, index_name, read_index, recover, segment_of
from reassoc.stream.vault_store import SEGMENTS, Buffer, LocalStore, Store
from reassoc.stream.vault_verify import Damage, verify_vault

DIGEST_BYTES = 32
READ_BYTES_MAX = 1 << 30
"""Bytes of one `read`; what is larger is read from `open_stream`."""


@dataclass(frozen=True, slots=True)
class VaultContent:
    """What the vault knows of a content. stored_at : in UTC. erased : why it is no more."""

    digest: bytes
    byte_count: int
    stored_at: datetime
    key_id: str
    segment: str
    holds: tuple[Hold, ...]
    erased: Tombstone | None


def open_store(url: str | Path, *, read_only: bool) -> Store:
    """A folder for a path or a file URL, else what fsspec reaches.

    Raises BusyError where another process writes the folder, VaultError for a URL that cannot be
    reached.
    """
    text = str(url)
    for scheme in ("file://", "local://"):
        if text.startswith(scheme):
            text = text.removeprefix(scheme)
            break
    else:
        if "::" in text or "://" in text:
            try:
                return ObjectStore(text, read_only=read_only)
            except (ImportError, ValueError) as error:
                raise VaultError(
                    "the vault's URL cannot be used: no such kind, or fsspec's package for it is "
                    f"not installed ({type(error).__name__})"
                ) from error
    return LocalStore(Path(text), read_only=read_only)


def vault_is_written(url: str | Path) -> bool:
    """Whether a vault was begun there already: then its key must not be made anew."""
    with _failing(str(url), "cannot be looked at"):
        store = open_store(url, read_only=True)
        try:
            return is_written(store)
        finally:
            store.close()


class Vault:
    """Contents by their digests. Every method may be called from any thread.

    Raises VaultError and its kinds (vault_errors.py), LimitError above a named limit. Reading is
    possible while others write: see `read_only` of `open`.
    """

    def __init__(
        self,
        store: Store,
        keys: KeyRing,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        random: Random = os.urandom,
        read_only: bool = False,
    ) -> None:
        """On a store that is the vault's own from now on; `open` makes one from a URL."""
        self._store = store
        self._keys = keys
        self._now = now
        self._random = random
        self._read_only = read_only
        self._is_closed = False
        self._changes = threading.RLock()
        if not read_only:
            store.settle()
        self._head, self._index_key = open_head(store, keys, new_id, random, read_only=read_only)
        self._codec = IndexCodec(self._index_key, random)
        self._catalogue = Catalogue()
        self._committer = Committer(store, self._codec, self._catalogue, now, new_id)
        self._rewriter = Rewriter(store, self._codec, self._catalogue, self._committer)
        self._reader = FrameReader(store, keys)
        self._keeper = Keeper(store, self._index_key, self._head.vault_id, now, random)
        if not read_only:
            self._keeper.begin()
        self._load()

    @classmethod
    def open(
        cls,
        url: str | Path,
        keys: KeyRing,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        random: Random = os.urandom,
        read_only: bool = False,
    ) -> Vault:
        """Open a vault, or begin one where nothing is.

        read_only : may be opened at any time while a server writes; it sees what was committed.

        Raises KeyMissingError, WrongKeyError, BusyError, DamagedError. About 5 microseconds for
        each content.
        """
        with _failing(str(url), "cannot be opened"):
            store = open_store(url, read_only=read_only)
            try:
                return cls(store, keys, now=now, new_id=new_id, random=random, read_only=read_only)
            except BaseException:
                store.close()
                raise

    def __enter__(self) -> Vault:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Vault: {len(self._catalogue)} contents in {self._store.where}>"

    def close(self) -> None:
        """Seal what is being written and let go of files. Nothing that was put needs it."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not self._read_only:
                with _failing(self._store.where, "was closed, but not sealed"):
                    self._committer.settle()
                    self._committer.seal_current()
        finally:
            self._store.close()

    # What is there

    def has(self, digest: bytes) -> bool:
        """Whether a content is durable and was not erased."""
        return self._live(digest) is not None

    def size(self, digest: bytes) -> int:
        """Bytes of a content. Raises NoContentError."""
        return self._content(digest)[1].byte_count

    @property
    def content_count(self) -> int:
        """How many contents it has, erased ones included; CONTENTS_MAX is the limit."""
        return len(self._catalogue)

    def contents(self) -> Iterator[VaultContent]:
        """Every content, erased ones included, in the order in which they came."""
        self._check_open()
        if self._read_only:
            self.refresh()
        for digest, segment, place in self._catalogue:
            yield VaultContent(
                digest,
                place.byte_count,
                datetime.fromtimestamp(place.stored_at, UTC),
                place.key_id,
                segment.name,
                self._keeper.holds_on(digest),
                place.erased,
            )

    def stored_bytes(self) -> int:
        """Bytes of the vault's files; about what `verify` goes through."""
        self._check_open()
        with _failing(self._store.where, "cannot be read"):
            return sum(self._store.names().values())

    def refresh(self) -> None:
        """See what another process committed or erased since. `has` and reading do it by
        themselves where they find nothing."""
        with self._changes, _failing(self._store.where, "cannot be read"):
            self._load()

    # Putting

    def put(self, pieces: Iterable[Buffer]) -> Stored:
        """Store a content that comes in pieces of any size; it is durable when this returns.

        What is there already is not written again. Any size (CONTENT_BYTES_MAX) in about
        PUT_MEMORY_MAX bytes of memory. Raises what `pieces` raises; nothing is stored then.
        """
        with self.batch() as batch:
            stored = batch.put(pieces)
        return stored

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Contents that become durable together, by one commit, when the block ends; where it ends
        badly, those that were not committed by then are dropped."""
        self._check_writable()
        batch = Batch(self._committer, self._seal, self.has)
        try:
            yield batch
            batch.commit()
        finally:
            batch.drop()

    def _seal(self, pieces: Iterable[Buffer]) -> Waiting:
        self._check_writable()
        return self._committer.seal(pieces, self._keys, self._random)

    # Reading

    def read(self, digest: bytes, start: int, stop: int) -> bytes:
        """Bytes of a content. Raises NoContentError, DamagedError, ValueError for a range that is
        not in it, LimitError above READ_BYTES_MAX."""
        content = self._opened(digest)
        if not 0 <= start <= stop <= content.byte_count:
            raise ValueError(f"bytes {start} to {stop} of {content.byte_count}")
        if stop - start > READ_BYTES_MAX:
            raise LimitError(f"READ_BYTES_MAX ({READ_BYTES_MAX}): read smaller pieces")
        with _failing(f"{self._store.where}, {data_name(content.segment)}", "cannot be read"):
            return self._reader.read(content, start, stop)

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        """A content as a file. Raises NoContentError here, DamagedError and VaultError from its
        reads."""
        size = self._opened(digest).byte_count
        return ContentReader(size, lambda start, target: self._read_into(digest, start, target))

    def _opened(self, digest: bytes) -> Opened:
        segment, place = self._content(digest)
        with _failing(self._store.where, "cannot be read"):
            if self._read_only and self._store.stamp(index_name(segment.name)) != segment.stamp:
                # Another process may have erased the content since the index was read.
                self._reader.forget(digest)
                self.refresh()
                segment, place = self._content(digest)
            return self._reader.open(digest, segment, place)

    def _read_into(self, digest: bytes, start: int, target: memoryview) -> None:
        if not len(target):
            return
        content = self._opened(digest)
        with _failing(f"{self._store.where}, {data_name(content.segment)}", "cannot be read"):
            self._reader.read_into(content, start, target)

    # Keeping and erasing

    @property
    def retention_days(self) -> int | None:
        """How long contents are kept; None: for ever."""
        return self._keeper.retention_days

    def retain(self, days: int | None) -> None:
        """Keep contents for some days from when they were stored, at least and at most:
        `apply_retention` erases what is older. None: for ever."""
        with self._changing("the retention was not changed"):
            self._keeper.retain(days)

    def hold(self, digest: bytes, why: str, who: str) -> None:
        """Put a legal hold on a content: it cannot be erased until the hold is lifted. Several may
        be on one content. Raises NoContentError, LimitError above HOLDS_MAX."""
        check_words(why, who)
        with self._changing("the hold was not stored"):
            self._content(digest)
            self._keeper.hold(digest, why, who)

    def unhold(self, digest: bytes, why: str, who: str) -> int:
        """Lift the oldest hold on a content; how many are left on it. Raises VaultError where there
        is none."""
        check_words(why, who)
        with self._changing("the hold was not lifted"):
            return self._keeper.unhold(digest, why, who)

    def holds_on(self, digest: bytes) -> tuple[Hold, ...]:
        """The legal holds on a content that nobody lifted, oldest first."""
        return self._keeper.holds_on(digest)

    def check_free(self, digest: bytes) -> None:
        """Raise HeldError where a content must be kept, NoContentError where it is not there."""
        self._keeper.check_free(digest, self._content(digest)[1], self._now())

    def erase(self, digest: bytes, why: str, who: str) -> None:
        """Erase a content for ever: its data key is destroyed, a tombstone says when, who and why.

        It may be put again, as a new content. Raises NoContentError, HeldError under a legal hold
        or the retention.
        """
        check_words(why, who)
        with self._changing("the content was not erased"):
            at = self._now()
            self._keeper.check_free(digest, self._content(digest)[1], at)
            self._bury([digest], Tombstone(why, who, seconds_of(at)))

    def apply_retention(
        self, now: datetime, is_in_use: Callable[[bytes], bool] = lambda _: False
    ) -> int:
        """Erase what is older than the retention, not held and not in use; how many contents that
        were."""
        with self._changing("the retention was not applied"):
            old = [
                digest
                for digest, _, place in self._catalogue
                if place.erased is None
                and self._keeper.is_over(digest, place, now)
                and not is_in_use(digest)
            ]
            why = f"older than {self._keeper.retention_days} days"
            self._bury(old, Tombstone(why, "retention", seconds_of(now)))
            return len(old)

    def _bury(self, digests: list[bytes], tombstone: Tombstone) -> None:
        try:
            self._rewriter.erase(digests, tombstone)
        finally:
            for digest in digests:
                self._reader.forget(digest)

    def rotate(self) -> int:
        """Wrap every data key anew with the newest master key; how many were wrapped. Contents are
        not rewritten. When this returns, no older key is needed any more."""
        with self._changing("the rotation is not complete: do it again"):
            count = self._rewriter.rotate(self._keys)
            newest = self._keys.ids[-1]
            if set(self._head.keys) != {newest}:
                keys = {newest: self._head.keys[newest]}
                self._head = msgspec.structs.replace(self._head, keys=keys)
                write_head(self._store, self._head)
            return count

    def key_use(self) -> dict[str, int]:
        """How many contents hang on each master key; keys that only the vault itself hangs on are
        there with 0."""
        self._check_open()
        counts = dict.fromkeys(self._head.keys, 0)
        for _, _, place in self._catalogue:
            if place.erased is None:
                counts[place.key_id] = counts.get(place.key_id, 0) + 1
        return counts

    # Looking after it

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> list[Damage]:
        """Go through every byte: what is damaged, missing or surplus, in the order of files.
        `progress` hears of bytes that were gone through. Reads everything once."""
        self._check_open()
        with _failing(self._store.where, "cannot be read"):
            if not self._read_only:
                self._committer.settle()
            return verify_vault(
                self._store,
                self._codec,
                self._keys,
                self._head,
                self._index_key,
                self._catalogue,
                self._committer.in_flight,
                self._changes,
                progress,
            )

    def copy_to(self, path: Path, progress: Callable[[int], None] = lambda _: None) -> int:
        """Copy everything that was committed into a new folder, durably, while others put; bytes of
        the copy. Erasing and rotating wait. The copy is a vault under the same keys."""
        self._check_open()
        with self._changes, _failing(str(path), "the copy was not made"):
            if not self._read_only:
                self._committer.settle()
            return copy_vault(self._store, self._codec, path, progress)

    # Inside

    def _load(self) -> None:
        self._keeper.load()
        names = self._store.names()
        front, back = f"{SEGMENTS}/", ".index"
        for name in sorted(names):
            if not (name.startswith(front) and name.endswith(back)):
                continue
            segment = name[len(front) : -len(back)]
            # A segment to which nothing was committed may be gone since the files were listed.
            with suppress(FileNotFoundError):
                known = self._catalogue.segment(segment)
                if (
                    known is None
                    or known.index_bytes != names[name]
                    or known.stamp != self._store.stamp(name)
                ):
                    self._load_segment(segment, names)

    def _load_segment(self, segment: str, names: dict[str, int]) -> None:
        data, stamp = read_index(self._store, segment)
        found = self._codec.parse(segment, data)
        if found.seal is None and not self._read_only and self._store.can_append:
            # A machine died while it was written, or the process did not close the vault.
            if recover(self._store, self._codec, segment) is None:
                return
            data, stamp = read_index(self._store, segment)
            found = self._codec.parse(segment, data)
        loaded = segment_of(segment, found, stamp)
        self._catalogue.put(loaded, found.entries)
        if found.entries:
            self._committer.begin_after(segment)
        if not self._read_only and not loaded.has_data and data_name(segment) in names:
            self._store.remove(data_name(segment))

    def _live(self, digest: bytes) -> tuple[Segment, Place] | None:
        """A content that is there; a reader looks again for one that is not."""
        self._check_open()
        found = self._catalogue.find(digest)
        if self._read_only and (found is None or found[1].erased is not None):
            self.refresh()
            found = self._catalogue.find(digest)
        return None if found is None or found[1].erased is not None else found

    def _content(self, digest: bytes) -> tuple[Segment, Place]:
        found = self._live(digest)
        if found is not None:
            return found
        place = self._catalogue.find(digest)
        if place is None:
            raise NoContentError(f"content {short(digest)}: is not in the vault")
        erased = place[1].erased
        assert erased is not None
        day = datetime.fromtimestamp(erased.at, UTC)
        raise NoContentError(f"content {short(digest)}: was erased on {day:%Y-%m-%d}")

    @contextmanager
    def _changing(self, failure: str) -> Iterator[None]:
        self._check_writable()
        with self._changes, _failing(self._store.where, failure):
            yield

    def _check_open(self) -> None:
        if self._is_closed:
            raise VaultError(f"{self._store.where}: the vault is closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self._read_only:
            raise VaultError(f"{self._store.where}: the vault is open read-only")


@contextmanager
def _failing(where: str, failure: str) -> Iterator[None]:
    """A store that fails is a VaultError; the system's reason and no more is told of it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise VaultError(f"{where}: {failure}: {reason}") from error
