"""What a raw message says of itself: one header beside its bytes.

A file that is fed comes as one message or as many, a *part* in each. Every part says which file it
is of, where in it its bytes stand, and what stands around them there: the envelope, how much of the
file came before, and the verdicts that only the whole file could tell. So a part is read on its
own, by anybody, in any order, and its items are those of the file.

A message without the header is a whole input of somebody who knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.errors import ReassocError
from reassoc.stream.kinds import Kind
from reassoc.stream.verdicts import ALL_VALID, OWN_VALID

HEADER = "reassoc"
"""Name of the header."""
MESSAGE_BYTES_MAX = 1 << 20
"""Bytes of a message with all that belongs to it: what a broker takes if nobody tells it else."""
HEAD_BYTES_MAX = 64 << 10
"""Bytes of one encoded head."""
PART_BYTES_MAX = MESSAGE_BYTES_MAX - HEAD_BYTES_MAX - (1 << 10)
"""Bytes of the file in one part; what cannot be cut into such parts lies in a vault."""
DIGEST_BYTES = 32
KEY_BYTES = 8
"""Bytes of a digest that keys and item ids begin with."""
PARTS_MAX = 1 << 20
"""Parts of one file."""
NAME_BYTES_MAX = 4096
"""Bytes of a file's name."""
OUTER_VALID = ALL_VALID & ~OWN_VALID
"""Bits of verdicts that are not an item's own."""

TOPICS = {Kind.X12: "raw.x12", Kind.ACH: "raw.ach", Kind.BAI2: "raw.bai2", Kind.LOCKBOX: "raw.bai2"}
"""Kinds that are fed, and the topic of each behind the prefix; banks' lists go with their reports.
"""

Checks = npt.NDArray[np.uint8]
Header = tuple[str, bytes]


class HeadError(ReassocError):
    """A message whose header cannot be used. The text says why, without a value of it."""


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """Where the bytes of a part lie instead of in the message.

    vault : its name    digest : of the content there, which is the part's bytes and no more
    """

    vault: str
    digest: bytes


class PartHead(msgspec.Struct, frozen=True, array_like=True, tag="part1", gc=False):
    """A part of a file: bytes [start, stop) of it, decompressed.

    digest : BLAKE3 of the whole file, 32 bytes    name : as people know the file, printable
    kind : name of kinds.Kind    byte_count : of the whole file
    part, part_count : its number, from 0, and how many there are
    envelope : what is to be read in front of the bytes so that they mean what they mean there
    remittances, payments, records : of the file that stand before the part (835s, payments, ACH
        records); `records` without those of the envelope
    run_counts, run_bits : what envelopes or batches around its items were found to be: so many
        835s (ACH: entries) in a row have these bits of verdicts.OWN_VALID and its like; none for a
        part that is the whole file, which tells for itself
    reference : where the bytes are, if they are not in the message
    """

    digest: bytes
    name: str
    kind: str
    byte_count: int
    part: int
    part_count: int
    start: int
    stop: int
    envelope: bytes = b""
    remittances: int = 0
    payments: int = 0
    records: int = 0
    run_counts: tuple[int, ...] = ()
    run_bits: bytes = b""
    reference: Reference | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the part is the whole file."""
        return self.part_count == 1


class Manifest(msgspec.Struct, frozen=True, array_like=True, tag="end1"):
    """The last message of a file of several parts: what is to be there when all have come.

    Its value holds findings of the file that belong to no part, as lines of findings.csv.

    remittance_cents : sum of BPR02    payment_cents : sum of the credits among the payments
    finding_counts : of those findings, by code
    findings_left_out : how many of them are counted only, since a message has a limit
    """

    digest: bytes
    name: str
    kind: str
    byte_count: int
    part_count: int
    remittance_count: int
    payment_count: int
    claim_count: int
    remittance_cents: int
    payment_cents: int
    finding_counts: dict[int, int]
    findings_left_out: int = 0


Head = PartHead | Manifest
H = TypeVar("H", PartHead, Manifest)

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Head] = msgspec.msgpack.Decoder(Head)


class RawMessage(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies in a raw topic.

    headers : as Kafka has them    place : what an input without a name is called, such as
        `raw.x12/3@1042`: topic, partition and offset
    """

    value: bytes
    headers: Sequence[Header]
    place: str


def encode_head(head: Head) -> bytes:
    """A head as bytes. Raises HeadError above HEAD_BYTES_MAX, naming the file."""
    data = _encode(head)
    if len(data) > HEAD_BYTES_MAX:
        raise HeadError(
            f"{head.name}: what is to be said of one of its parts takes {len(data)} bytes, more "
            f"than HEAD_BYTES_MAX ({HEAD_BYTES_MAX}): split the file"
        )
    return data


def decode_head(data: bytes) -> Head:
    """What encode_head wrote. Raises HeadError for anything else. O(len(data))."""
    if len(data) > HEAD_BYTES_MAX:
        raise HeadError(f"its header is longer than HEAD_BYTES_MAX ({HEAD_BYTES_MAX})")
    try:
        head = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise HeadError(
            "its header cannot be read: it is damaged, or a newer program wrote it"
        ) from error
    if len(head.digest) != DIGEST_BYTES or head.kind not in _FED_KINDS:
        raise HeadError("its header is damaged: no digest, or no kind of file that is fed")
    if isinstance(head, PartHead):
        _check_part(head)
    elif not 1 < head.part_count <= PARTS_MAX:
        raise HeadError("its header is damaged: it ends a file without parts")
    return head


def head_of(message: RawMessage) -> Head | None:
    """What a message says of itself; None where it says nothing. Raises HeadError."""
    for name, value in message.headers:
        if name == HEADER:
            return decode_head(value)
    return None


def key_of(digest: bytes, part: int) -> bytes:
    """The key of a message: parts of one file go to different partitions, each always to the same.

    part : its number; of a manifest the number of parts
    """
    return digest[:KEY_BYTES] + part.to_bytes(4, "big")


def runs_of(checks: Checks) -> tuple[tuple[int, ...], bytes]:
    """(counts, bits) of PartHead for final checks. O(items)."""
    outer = checks & np.uint8(OUTER_VALID)
    if not len(outer):
        return (), b""
    last = np.append(np.flatnonzero(np.diff(outer)), len(outer) - 1)
    return tuple(np.diff(last, prepend=-1).tolist()), outer[last].tobytes()


def checks_of(heads: Sequence[PartHead]) -> Checks:
    """uint8[n]: what `runs_of` took, of the items of some parts one behind the other."""
    runs = chain.from_iterable(head.run_counts for head in heads)
    bits = np.frombuffer(b"".join(head.run_bits for head in heads), np.uint8)
    return np.repeat(bits, np.fromiter(runs, np.int64, len(bits)))


def other_items(head: PartHead, count: int) -> str:
    """What is wrong with a part that has other items than its head speaks of; nothing where it has
    not."""
    told = sum(head.run_counts)
    if told == count:
        return ""
    return (
        f"its header speaks of {told} items, and there are {count} in its bytes: the two do not "
        "belong together"
    )


_FED_KINDS = frozenset(kind.name for kind in TOPICS)


def _check_part(head: PartHead) -> None:
    reference = head.reference
    is_sound = (
        0 <= head.part < head.part_count <= PARTS_MAX
        and 0 <= head.start <= head.stop <= head.byte_count
        and (head.part_count > 1 or head.stop - head.start == head.byte_count)
        and min(head.remittances, head.payments, head.records) >= 0
        and len(head.run_counts) == len(head.run_bits)
        and all(count > 0 for count in head.run_counts)
        and (reference is None or len(reference.digest) == DIGEST_BYTES)
    )
    if not is_sound:
        raise HeadError("its header is damaged: its numbers do not go together")
