"""A content as frames of at most FRAME_BYTES_MAX, each compressed, then encrypted by itself.

A frame on disk is nonce (12), AES-256-GCM of zstd, tag (16). Every content has a data key of its
own, and a random id that its frames are bound to together with their number and whether they are
the last: a frame that is moved, left out or taken from elsewhere does not open. Every frame but the
last is FRAME_BYTES_MAX long, so a place in the content is a frame and a byte in it.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reassoc.core.errors import LimitError
from reassoc.stream.vault_keys import KEY_BYTES, NONCE_BYTES, KeyRing, Random
from reassoc.stream.vault_store import Buffer

FRAME_BYTES_MAX = 1 << 20
"""Bytes of one frame before compression: what a random read decrypts at least."""
CONTENT_BYTES_MAX = 256 << 30
"""Bytes of one content."""
TAG_BYTES = 16
SEALED_EXTRA_BYTES = NONCE_BYTES + TAG_BYTES
CONTENT_ID_BYTES = 16
# Measured on 835s, one core: these pack 3.2 to 1 at 409 MB/s, level -1 packs 3.1 to 1 at 351, level
# 1 packs 4.5 to 1 at 349; bench/test_bench_vault.py would show another choice.
_COMPRESSION = zstandard.ZstdCompressionParameters.from_level(
    1,
    source_size=FRAME_BYTES_MAX,
    strategy=zstandard.STRATEGY_FAST,
    window_log=20,
    hash_log=15,
    min_match=7,
    target_length=3,
    write_checksum=False,
    write_content_size=True,
)
_BOUND = struct.Struct("<16sQ?")
_local = threading.local()


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A content whose frames are written or at hand.

    digest : BLAKE3, 32 bytes    byte_count : before compression
    content_id : 16 bytes        frame_lengths : bytes of each frame on disk
    key_id, wrapped : its data key under a master key
    """

    digest: bytes
    byte_count: int
    content_id: bytes
    frame_lengths: tuple[int, ...]
    key_id: str
    wrapped: bytes


def seal(
    pieces: Iterable[Buffer], keys: KeyRing, random: Random, emit: Callable[[bytes], None]
) -> Sealed:
    """Compress and encrypt a content, frame by frame; `emit` gets each frame as it is ready.

    Raises LimitError beyond CONTENT_BYTES_MAX. About two frames of memory; the GIL is released
    while hashing, compressing and encrypting.
    """
    content_id, data_key = random(CONTENT_ID_BYTES), random(KEY_BYTES)
    # The id first: a key that is added meanwhile must not be named for what an older one wrapped.
    key_id = keys.ids[-1]
    wrapped = keys.wrap(data_key, content_id)
    cipher = AESGCM(data_key)
    compress = _compressor().compress
    hasher = blake3()
    byte_count = 0
    lengths: list[int] = []

    def encrypt(packed: bytes, is_last: bool) -> None:
        nonce = random(NONCE_BYTES)
        bound_to = _BOUND.pack(content_id, len(lengths), is_last)
        sealed = nonce + cipher.encrypt(nonce, packed, bound_to)
        lengths.append(len(sealed))
        emit(sealed)

    # Which frame is the last is known one frame later; until then it waits compressed.
    waiting: bytes | None = None
    for frame in _frames(pieces, hasher):
        byte_count += len(frame)
        if byte_count > CONTENT_BYTES_MAX:
            raise LimitError(
                f"a content is larger than CONTENT_BYTES_MAX ({CONTENT_BYTES_MAX}): split the file"
            )
        if waiting is not None:
            encrypt(waiting, False)
        waiting = compress(frame)
    encrypt(compress(b"") if waiting is None else waiting, True)
    return Sealed(hasher.digest(), byte_count, content_id, tuple(lengths), key_id, wrapped)


def open_frame(
    cipher: AESGCM, content_id: bytes, number: int, frame_count: int, sealed: bytes, size: int
) -> bytes:
    """The plain bytes of a frame. Raises ValueError where it is not what was written."""
    bound_to = _BOUND.pack(content_id, number, number == frame_count - 1)
    try:
        packed = cipher.decrypt(sealed[:NONCE_BYTES], memoryview(sealed)[NONCE_BYTES:], bound_to)
        plain = _decompressor().decompress(packed, max_output_size=FRAME_BYTES_MAX)
    except (InvalidTag, zstandard.ZstdError) as error:
        raise ValueError("a frame is not what was written") from error
    if len(plain) != size:
        raise ValueError("a frame is not as long as it should be")
    return plain


def frame_count(byte_count: int) -> int:
    """Frames of a content; an empty one has one too."""
    return max(1, -(-byte_count // FRAME_BYTES_MAX))


def frame_size(byte_count: int, number: int) -> int:
    """Plain bytes of a frame of a content."""
    return min(FRAME_BYTES_MAX, byte_count - number * FRAME_BYTES_MAX)


# One of each for each thread: neither may be used by two at once, and making one for every content
# doubles what a small one costs (bench/test_bench_vault.py, small files).
def _compressor() -> zstandard.ZstdCompressor:
    found: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if found is None:
        found = zstandard.ZstdCompressor(compression_params=_COMPRESSION)
        _local.compressor = found
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor()
    return found


def _frames(pieces: Iterable[Buffer], hasher: blake3) -> Iterator[Buffer]:
    """Frames of pieces of any sizes, none of them empty. A frame inside one piece is not copied."""
    held = bytearray()
    for piece in pieces:
        with memoryview(piece) as whole, whole.cast("B") as view:
            hasher.update(view)
            at = 0
            while len(view) - at >= FRAME_BYTES_MAX - len(held):
                stop = at + FRAME_BYTES_MAX - len(held)
                with view[at:stop] as part:
                    if held:
                        held += part
                        yield held
                        held = bytearray()
                    else:
                        yield part
                at = stop
            held += view[at:]
    if held:
        yield held
