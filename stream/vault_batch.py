"""Contents that become durable together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reassoc.stream.vault_commit import Committer, Waiting
from reassoc.stream.vault_store import Buffer

BATCH_BYTES_MAX = 64 << 20
"""Encrypted bytes that wait in one batch; beyond them it commits what it has."""
BATCH_CONTENTS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Stored:
    """digest : BLAKE3, 32 bytes    byte_count : of the content    is_new : it was not there"""

    digest: bytes
    byte_count: int
    is_new: bool


class Batch:
    """Contents of one commit. Threads may share it."""

    def __init__(
        self,
        committer: Committer,
        seal: Callable[[Iterable[Buffer]], Waiting],
        has: Callable[[bytes], bool],
    ) -> None:
        self._committer = committer
        self._seal = seal
        self._has = has
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Waiting] = {}
        self._bytes = 0

    def put(self, pieces: Iterable[Buffer]) -> Stored:
        """Take a content. It is durable when the batch's block has ended, or before: a large one,
        and what waits beyond BATCH_BYTES_MAX or BATCH_CONTENTS_MAX, is committed at once."""
        content = self._seal(pieces)
        digest, size = content.sealed.digest, content.sealed.byte_count
        is_large = content.writer is not None
        with self._lock:
            is_new = digest not in self._waiting and not self._has(digest)
            if is_new:
                self._waiting[digest] = content
                self._bytes += content.memory_bytes
            is_full = self._bytes > BATCH_BYTES_MAX or len(self._waiting) >= BATCH_CONTENTS_MAX
        if not is_new:
            self._committer.drop(content)
        elif is_large or is_full:
            self.commit()
        return Stored(digest, size, is_new)

    def commit(self) -> None:
        """Make durable what waits."""
        waiting = self._taken()
        if waiting:
            self._committer.commit(waiting)

    def drop(self) -> None:
        """Forget what waits."""
        for content in self._taken():
            self._committer.drop(content)

    def _taken(self) -> list[Waiting]:
        with self._lock:
            waiting, self._waiting, self._bytes = self._waiting, {}, 0
        return list(waiting.values())
