"""Raw messages into inputs: the bytes of each, plain and whole, and what is said of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

from blake3 import blake3

from reassoc.core.errors import LimitError
from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.contents import (
    NOT_OPENED,
    Content,
    LimitedStream,
    read_whole,
    unpacked_stream,
)
from reassoc.stream.intake import internal_error, told_by
from reassoc.stream.kinds import ADVICE, HEAD_BYTES, Kind
from reassoc.stream.layouts import layout_of
from reassoc.stream.message import DIGEST_BYTES, Head, HeadError, PartHead, RawMessage, head_of
from reassoc.stream.sources import (
    GZIP_MAGIC,
    MEMBERS_MAX,
    ZIP_MAGICS,
    SourceError,
    printable,
)

INPUT_BYTES_MAX = 64 << 20
"""Bytes that one compressed message may become: they are in memory."""

_NO_DIGEST = bytes(DIGEST_BYTES)
_SEND_UNPACKED = "an encrypted or damaged archive: send it unpacked"


@dataclass(slots=True)
class Input:
    """What a message brought: a part of a file, a whole one, or the manifest of one.

    message : row of the message    data : its bytes, decompressed
    layout : of a lockbox list    reason : why it cannot be read
    """

    message: int
    head: Head
    data: bytes
    layout: LockboxLayout | None = None
    reason: str = ""


def inputs_of(
    messages: Sequence[RawMessage], layouts: Sequence[LockboxLayout] = ()
) -> Iterator[Input]:
    """The inputs of some messages, in their order: one each, but for zip archives, which bring one
    for each member. Raises nothing for what is in a message. O(bytes).
    """
    for number, message in enumerate(messages):
        try:
            yield from _of_message(number, message, layouts)
        except MemoryError:
            raise
        except Exception:
            # A fault of ours must not take the other messages with it, and its text may hold a
            # value of this one.
            yield _refused(number, message.place, internal_error())


def _of_message(
    number: int, message: RawMessage, layouts: Sequence[LockboxLayout]
) -> Iterator[Input]:
    try:
        head = head_of(message)
    except HeadError as error:
        yield _refused(number, message.place, str(error))
        return
    if head is None:
        yield from _without_head(number, message, layouts)
    elif isinstance(head, PartHead):
        yield _of_head(number, head, message.value, layouts)
    else:
        yield Input(number, head, message.value)


def _refused(number: int, name: str, reason: str, kind: Kind = Kind.UNKNOWN) -> Input:
    head = PartHead(_NO_DIGEST, name, kind.name, 0, 0, 1, 0, 0)
    return Input(number, head, b"", reason=reason)


def _of_head(number: int, head: PartHead, data: bytes, layouts: Sequence[LockboxLayout]) -> Input:
    found = Input(number, head, data)
    if len(data) != head.stop - head.start:
        found.reason = (
            f"has {len(data)} bytes where its header says {head.stop - head.start}"
            if data or head.reference is None
            else "its bytes lie in a vault that was not asked for them"
        )
    elif head.is_whole and blake3(data).digest() != head.digest:
        found.reason = "its bytes are not those that its header names: feed the file again"
    elif head.kind == Kind.LOCKBOX.name:
        found.layout = layout_of(layouts, head.name, data[:HEAD_BYTES])
        if found.layout is None:
            found.reason = ADVICE[Kind.UNKNOWN]
    return found


def _without_head(
    number: int, message: RawMessage, layouts: Sequence[LockboxLayout]
) -> Iterator[Input]:
    """Of a producer that knows nothing of heads: plain, gzip, or a zip archive."""
    value = message.value
    if value[:4] not in ZIP_MAGICS and value[:2] != GZIP_MAGIC:
        yield _whole(number, message.place, value, layouts)
        return
    taken = 0
    try:
        for name, opened, size in _packed(value):
            place = f"{message.place}{name}"
            data, reason, byte_count = _taken_from(opened, size, INPUT_BYTES_MAX - taken)
            taken += byte_count
            yield (
                _refused(number, place, reason) if reason else _whole(number, place, data, layouts)
            )
    except (SourceError, LimitError) as error:
        yield _refused(number, message.place, str(error))
    except NOT_OPENED:
        yield _refused(number, message.place, _SEND_UNPACKED)


def _packed(value: bytes) -> Iterator[tuple[str, Callable[[], IO[bytes]], int]]:
    """Names behind that of the message, what opens the bytes, and how many are compressed."""
    if value[:2] == GZIP_MAGIC:
        yield "", partial(io.BytesIO, value), len(value)
        return
    with zipfile.ZipFile(io.BytesIO(value)) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > MEMBERS_MAX:
            raise SourceError(
                f"a zip archive of {len(members)} members, more than MEMBERS_MAX ({MEMBERS_MAX})"
            )
        for member in members:
            name = f"!{printable(member.filename)}"
            yield name, partial(archive.open, member), member.compress_size


def _taken_from(
    opened: Callable[[], IO[bytes]], compressed_bytes: int, limit: int
) -> tuple[bytes, str, int]:
    """The bytes of a member, or why it cannot be read, which costs only itself; and how many bytes
    it became, also where they are of no use. Raises LimitError above the limit.
    """
    stream: LimitedStream | None = None
    reason = ""
    try:
        with opened() as file:
            # A member is a buffered reader in the library's types and a raw one in what it can do.
            stream = unpacked_stream(cast(io.RawIOBase, file), compressed_bytes)
            with closing(stream):
                data = read_whole(Content(None, stream), limit, "INPUT_BYTES_MAX")
        return data, "", len(data)
    except (LimitError, MemoryError):
        raise
    except SourceError as error:
        reason = str(error)
    except NOT_OPENED:
        reason = _SEND_UNPACKED
    except Exception:
        reason = internal_error()
    return b"", reason, stream.position if stream is not None else 0


def _whole(number: int, name: str, data: bytes, layouts: Sequence[LockboxLayout]) -> Input:
    try:
        kind, reason, layout = told_by(name, data[:HEAD_BYTES], layouts)
    except MemoryError:
        raise
    except Exception:  # it costs this member of an archive, and not those behind it
        kind, reason, layout = Kind.UNKNOWN, internal_error(), None
    if reason:
        return _refused(number, name, reason, kind)
    size = len(data)
    head = PartHead(blake3(data).digest(), name, kind.name, size, 0, 1, 0, size)
    return Input(number, head, data, layout)
