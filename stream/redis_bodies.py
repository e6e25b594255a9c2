"""Bodies as Redis keeps them: compressed one by one, with a dictionary of what they have in common.

A packed body is a byte that says how (0: as it is; 1: zstd without its magic number, with
DICTIONARY) and the rest. The dictionary is part of what is stored: it never changes. A better one
is a further number.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Sequence

import zstandard

from reassoc.stream.redis_dictionary import DICTIONARY
from reassoc.stream.sqlite_file import StoreError

LEVEL = 3
_PLAIN, _ZSTD = 0, 1
_DICTIONARY = zstandard.ZstdCompressionDict(base64.b64decode(DICTIONARY))
_DICTIONARY.precompute_compress(level=LEVEL)
_FORM = zstandard.ZstdCompressionParameters.from_level(
    LEVEL,
    format=zstandard.FORMAT_ZSTD1_MAGICLESS,
    write_dict_id=0,
    write_checksum=0,
    write_content_size=1,
)


class _Codec(threading.local):
    """A compressor and a decompressor for each thread: they are not for several at a time."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(dict_data=_DICTIONARY, compression_params=_FORM)
        self.decompressor = zstandard.ZstdDecompressor(
            dict_data=_DICTIONARY, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )


_codec = _Codec()


def pack_bodies(bodies: Sequence[bytes]) -> list[bytes]:
    """Each of them packed; never more than a byte longer than it was. About 2 us a body.

    PERF: by one call. A call for each lets go of the interpreter's lock each time, and waits until
    others have had it.
    """
    if not any(bodies):
        return [b"\0"] * len(bodies)  # zstandard takes no list of nothing
    small = _codec.compressor.multi_compress_to_buffer(list(bodies), threads=0)
    parts = (small[row] for row in range(len(small)))
    return [
        b"\1" + part.tobytes() if len(part) < len(body) else b"\0" + body
        for part, body in zip(parts, bodies, strict=True)
    ]


def unpack_bodies(packed: Iterable[bytes]) -> list[bytes]:
    """What they were. Raises StoreError where one is not what this program packs. About 1 us a
    body."""
    decompress = _codec.decompressor.decompress
    try:
        return [decompress(body[1:]) if body[0] == _ZSTD else _plain(body) for body in packed]
    except zstandard.ZstdError as error:
        raise StoreError(_DAMAGED) from error


_DAMAGED = (
    "Redis: a body is damaged, or a newer program wrote it: use that one, or rebuild the tenant "
    "from the item log"
)


def _plain(body: bytes) -> bytes:
    if body[0] != _PLAIN:
        raise StoreError(_DAMAGED)
    return body[1:]
