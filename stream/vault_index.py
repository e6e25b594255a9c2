"""The index of a segment: which contents it holds, where, and under which wrapped keys.

An index is a run of blocks, each written by one commit and encrypted under the vault's index key.
A block is magic (4), number (4), length (4), CRC of these (4), nonce (12), ciphertext, tag (16). It
is bound to its segment's name and to its number. The first block names the segment, the last one of
a sealed segment counts what is in it.

A block that the file ends within was never acknowledged: it is a torn tail. A block that is whole
and does not open is damage; what is behind it is read all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reassoc.stream.vault_frames import TAG_BYTES, Sealed
from reassoc.stream.vault_keys import NONCE_BYTES, Random

BLOCK_BYTES_MAX = 64 << 20
"""Bytes of one block. An entry of the largest content takes 1 MiB."""
BLOCK_ENTRIES_MAX = 4096
_BLOCK_BODY_AIM = 4 << 20
DATA_MAGIC = b"reassoc vault 1\n"
"""First bytes of a segment's data."""
_MAGIC = b"RVI1"
_FRONT = struct.Struct("<4sIII")
_SEGMENT_BYTES = struct.Struct("<I")


class Tombstone(msgspec.Struct, frozen=True, array_like=True):
    """Why a content is no more. at : seconds since 1970 in UTC."""

    why: str
    who: str
    at: int


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a content lies and what opens it.

    offset : of its first frame in the segment's data
    frame_lengths : uint32 little-endian, bytes of each frame on disk
    stored_at : seconds since 1970 in UTC
    key_id, wrapped : the data key under a master key; empty once it was erased
    """

    content_id: bytes
    byte_count: int
    offset: int
    frame_lengths: bytes
    stored_at: int
    key_id: str
    wrapped: bytes
    erased: Tombstone | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Bytes of each frame on disk."""
        return struct.unpack(f"<{len(self.frame_lengths) // 4}I", self.frame_lengths)

    @property
    def stop(self) -> int:
        """Where its last frame ends in the segment's data."""
        return self.offset + sum(self.lengths)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A content of a segment. `place` is decoded when it is asked for: an index is read much more
    often than most of what it names."""

    digest: bytes
    is_live: bool
    place: msgspec.Raw

    def decode(self) -> Place:
        """Its place."""
        return decode_place(self.place)


class Head(msgspec.Struct, frozen=True, array_like=True, tag="head"):
    """First block. previous : the segment that its writer committed to before; it must be there."""

    segment: str
    previous: str


class Commit(msgspec.Struct, frozen=True, array_like=True, tag="commit"):
    """What one commit, or a part of a large one, made durable."""

    entries: tuple[Entry, ...]


class Seal(msgspec.Struct, frozen=True, array_like=True, tag="seal"):
    """Last block. data_bytes : of the segment's data; has_data : False once everything in it was
    erased and the data was removed."""

    entries: int
    data_bytes: int
    has_data: bool


decode_place = msgspec.msgpack.Decoder(Place).decode
_decode_block = msgspec.msgpack.Decoder(Head | Commit | Seal).decode
_encode = msgspec.msgpack.Encoder().encode


def entry_of(sealed: Sealed, offset: int, stored_at: int) -> Entry:
    """The entry of a content that was written at an offset."""
    lengths = struct.pack(f"<{len(sealed.frame_lengths)}I", *sealed.frame_lengths)
    place = Place(
        sealed.content_id,
        sealed.byte_count,
        offset,
        lengths,
        stored_at,
        sealed.key_id,
        sealed.wrapped,
    )
    return entry(sealed.digest, place)


def entry(digest: bytes, place: Place) -> Entry:
    """An entry with its place encoded."""
    return Entry(digest, place.erased is None, msgspec.Raw(_encode(place)))


@dataclass(slots=True)
class ParsedIndex:
    """What an index file says.

    stop : where the last block ends that its front vouches for; what is behind it is a torn tail
    blocks : how many blocks there are up to `stop`
    damages : (start, stop, what) of bytes that are not what was written
    """

    head: Head | None = None
    entries: list[Entry] = field(default_factory=list)
    seal: Seal | None = None
    stop: int = 0
    blocks: int = 0
    damages: list[tuple[int, int, str]] = field(default_factory=list)


class IndexCodec:
    """Writes and reads blocks under the vault's index key."""

    def __init__(self, index_key: bytes, random: Random) -> None:
        self._cipher = AESGCM(index_key)
        self._random = random

    def block(self, segment: str, number: int, body: Head | Commit | Seal) -> bytes:
        """One block as it lies in the file."""
        plain = _encode(body)
        size = NONCE_BYTES + len(plain) + TAG_BYTES
        assert size <= BLOCK_BYTES_MAX, "commits are cut before they come here"
        nonce = self._random(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, plain, _bound_to(segment, number))
        return _front(number, size) + nonce + sealed

    def commits(self, segment: str, number: int, entries: Sequence[Entry]) -> list[bytes]:
        """The blocks of some entries, the first with the given number."""
        blocks: list[bytes] = []
        for part in _parts(entries):
            blocks.append(self.block(segment, number + len(blocks), Commit(part)))
        return blocks

    def whole(self, head: Head, entries: Sequence[Entry], seal: Seal) -> bytes:
        """A whole index of a sealed segment."""
        blocks = [self.block(head.segment, 0, head)]
        blocks += self.commits(head.segment, 1, entries)
        blocks.append(self.block(head.segment, len(blocks), seal))
        return b"".join(blocks)

    def parse(self, segment: str, data: bytes) -> ParsedIndex:
        """Everything that an index file holds, damage included; never raises for what it holds."""
        found = ParsedIndex()
        at = 0
        while at < len(data):
            number, size, problem = _read_front(data, at)
            if problem == "torn":
                break
            if problem:
                # A damaged front does not say where its block ends: look for the next one.
                behind = _next_front(data, at + 1)
                if behind < 0:
                    found.damages.append((at, len(data), problem))
                    found.stop = len(data)
                    break
                found.damages.append((at, behind, problem))
                at = behind
                continue
            stop = at + _FRONT.size + size
            if stop > len(data):
                break
            if number < found.blocks or (found.seal is not None):
                found.damages.append((at, stop, "a block that does not belong here"))
            else:
                if number > found.blocks and not found.damages:
                    found.damages.append((at, at, "a block before this place is missing"))
                found.blocks = number + 1
                self._take(segment, data, at, stop, number, found)
            at = found.stop = stop
        return found

    def _take(
        self, segment: str, data: bytes, start: int, stop: int, number: int, found: ParsedIndex
    ) -> None:
        body = start + _FRONT.size
        sealed = memoryview(data)[body + NONCE_BYTES : stop]
        nonce = data[body : body + NONCE_BYTES]
        try:
            block = _decode_block(self._cipher.decrypt(nonce, sealed, _bound_to(segment, number)))
        except (InvalidTag, ValueError, msgspec.MsgspecError):
            found.damages.append((start, stop, "a block that is not what was written"))
            return
        if isinstance(block, Head):
            found.head = block
        elif isinstance(block, Seal):
            found.seal = block
        else:
            found.entries += block.entries


def _bound_to(segment: str, number: int) -> bytes:
    return b"reassoc vault index\0%d\0%s" % (number, segment.encode())


def _front(number: int, size: int) -> bytes:
    check = zlib.crc32(_FRONT.pack(_MAGIC, number, size, 0))
    return _FRONT.pack(_MAGIC, number, size, check)


def _read_front(data: bytes, at: int) -> tuple[int, int, str]:
    """Number and size of a block, and what is wrong: nothing, "torn", or a text."""
    rest = len(data) - at
    # The file ends here; or it was made longer and the machine died before its bytes followed.
    if rest < _FRONT.size or (data[at] == 0 and data.count(0, at) == rest):
        return 0, 0, "torn"
    magic, number, size, check = _FRONT.unpack_from(data, at)
    smallest = NONCE_BYTES + TAG_BYTES
    is_right = magic == _MAGIC and check == zlib.crc32(_FRONT.pack(_MAGIC, number, size, 0))
    if not is_right or not smallest <= size <= BLOCK_BYTES_MAX:
        return 0, 0, "the front of a block is not what was written"
    return number, size, ""


def _next_front(data: bytes, at: int) -> int:
    """Where the next front that is right begins, -1 for none."""
    while (at := data.find(_MAGIC, at)) >= 0:
        if len(data) - at >= _FRONT.size and not _read_front(data, at)[2]:
            return at
        at += 1
    return -1


def _parts(entries: Sequence[Entry]) -> Iterator[tuple[Entry, ...]]:
    part: list[Entry] = []
    size = 0
    for each in entries:
        if part and (len(part) >= BLOCK_ENTRIES_MAX or size >= _BLOCK_BODY_AIM):
            yield tuple(part)
            part, size = [], 0
        part.append(each)
        size += len(each.place)
    if part:
        yield tuple(part)


def packed(segment: int, place: msgspec.Raw) -> bytes:
    """A place as the catalogue keeps it: the segment's number, and the encoded place."""
    return _SEGMENT_BYTES.pack(segment) + bytes(place)


def unpacked(data: bytes) -> tuple[int, Place]:
    """Segment number and place."""
    return _SEGMENT_BYTES.unpack_from(data)[0], decode_place(memoryview(data)[4:])
