"""A copy of everything that was committed, made while the vault is written.

The head first, then each segment: its index as of one moment, and its data up to what that index
names. Where keys changed meanwhile (another process rotated), the copy is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reassoc.stream.vault_errors import DamagedError, VaultError
from reassoc.stream.vault_head import HEAD, POLICY, SMALL_BYTES_MAX
from reassoc.stream.vault_index import IndexCodec, ParsedIndex
from reassoc.stream.vault_segments import (
    READ_TRIES,
    data_name,
    index_name,
    read_index,
    segment_of,
)
from reassoc.stream.vault_store import SEGMENTS, LocalSink, Store

_PIECE_BYTES = 4 << 20

Progress = Callable[[int], None]
"""Told how many more bytes were gone through."""


def copy_vault(store: Store, codec: IndexCodec, target: Path, progress: Progress) -> int:
    """Copy into a folder that is empty or not there; bytes that were written, all of them durable.

    Raises VaultError where the folder is taken, DamagedError where data is missing, OSError.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise VaultError(f"{target}: is there and is not an empty folder: give another one")
    for _ in range(READ_TRIES):
        (target / SEGMENTS).mkdir(mode=0o700, parents=True, exist_ok=True)
        head = store.read(HEAD, 0, SMALL_BYTES_MAX)
        size = _copy_once(store, codec, target, head, progress)
        if store.read(HEAD, 0, SMALL_BYTES_MAX) == head:
            return size
        for path in [*(target / SEGMENTS).iterdir(), target / HEAD, target / POLICY]:
            path.unlink(missing_ok=True)
    raise VaultError(f"{store.where}: keys are being rotated: make the copy again later")


def _copy_once(
    store: Store, codec: IndexCodec, target: Path, head: bytes, progress: Progress
) -> int:
    size = _write(target / HEAD, head)
    with suppress(FileNotFoundError):
        size += _write(target / POLICY, store.read(POLICY, 0, SMALL_BYTES_MAX))
    for name in sorted(store.names()):
        if name.startswith(f"{SEGMENTS}/") and name.endswith(".index"):
            segment = name.removeprefix(f"{SEGMENTS}/").removesuffix(".index")
            size += _copy_segment(store, codec, target, segment, progress)
    return size


def _copy_segment(
    store: Store, codec: IndexCodec, target: Path, segment: str, progress: Progress
) -> int:
    for _ in range(READ_TRIES):
        try:
            data, stamp = read_index(store, segment)
        except FileNotFoundError:
            # It was never committed to, and is no more.
            return 0
        found = codec.parse(segment, data)
        if not found.entries and found.seal is None and not found.damages:
            return 0
        try:
            size = _copy_data(store, target, segment, found, stamp, progress)
        except FileNotFoundError:
            # Everything in it was erased meanwhile; then its index says so now.
            continue
        size += _write(target / index_name(segment), data[: found.stop])
        return size
    raise DamagedError(
        f"{data_name(segment)} is missing: put it back from a backup; `reassoc vault verify` shows "
        "all damage"
    )


def _copy_data(
    store: Store,
    target: Path,
    segment: str,
    found: ParsedIndex,
    stamp: int,
    progress: Progress,
) -> int:
    committed = segment_of(segment, found, stamp)
    if not committed.has_data:
        return 0
    path = target / data_name(segment)
    path.unlink(missing_ok=True)
    sink = LocalSink(path)
    try:
        for start in range(0, committed.data_bytes, _PIECE_BYTES):
            stop = min(start + _PIECE_BYTES, committed.data_bytes)
            piece = store.read(data_name(segment), start, stop)
            if len(piece) != stop - start:
                raise DamagedError(
                    f"{data_name(segment)} ends before byte {stop}: put it back from a backup; "
                    "`reassoc vault verify` shows all damage"
                )
            sink.write([piece])
            progress(len(piece))
        sink.sync()
    finally:
        sink.close()
    return committed.data_bytes


def _write(path: Path, data: bytes) -> int:
    path.unlink(missing_ok=True)
    sink = LocalSink(path)
    try:
        sink.write([data])
        sink.sync()
    finally:
        sink.close()
    return len(data)
