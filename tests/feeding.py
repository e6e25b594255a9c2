"""Files as messages and back: what taking a file in finds, and what reading its parts finds."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from blake3 import blake3
from taking import FakeLog, FakeVault

from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.chunks import Plan, plan
from reassoc.stream.item_log import ItemsEntry
from reassoc.stream.message import (
    HEADER,
    PART_BYTES_MAX,
    Manifest,
    RawMessage,
    Reference,
    encode_head,
)
from reassoc.stream.part_items import PartItems
from reassoc.stream.profiles import decode_profile, profile_key
from reassoc.stream.read_message import read_parts
from reassoc.stream.records import Block
from reassoc.stream.routing import Router
from reassoc.stream.sources import Source
from reassoc.stream.take_in import log_all, read_in

NAME = "some file"
ROUTER = Router(None)


@dataclass(frozen=True)
class Content:
    """All that a file is: packed rows, profiles, findings as sorted lines, counts; and why there
    is nothing.
    """

    remittances: list[bytes]
    payments: list[bytes]
    profiles: dict[int, bytes]
    findings: list[bytes]
    finding_counts: dict[int, int]
    claims: int
    cents: tuple[int, int]
    reason: str


def source_of(path: Path, name: str = NAME) -> Source:
    """A plain file as an input."""
    status = path.stat()
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return Source(name, path, -1, status.st_size, stamp)


def by_file(data: bytes, scratch: Path, layouts: Sequence[LockboxLayout] = ()) -> Content:
    """What taking the file in logs of it."""
    path = scratch / "whole"
    path.write_bytes(data)
    log, findings = FakeLog(), io.BytesIO()
    taken = read_in(
        source_of(path),
        vault=FakeVault(),
        log=log,
        router=ROUTER,
        layouts=layouts,
        scratch=scratch,
        findings=findings,
    )
    (receipt,) = log_all([taken], log)
    entries = log.items_entries("default") if log.tenants() else []
    left, right, profiles = _rows(entries)
    return Content(
        left,
        right,
        profiles,
        sorted(findings.getvalue().splitlines()),
        dict(receipt.finding_counts),
        receipt.claim_count,
        (receipt.remittance_cents, receipt.payment_cents),
        receipt.reason,
    )


def _rows(entries: Sequence[ItemsEntry]) -> tuple[list[bytes], list[bytes], dict[int, bytes]]:
    left: list[bytes] = []
    right: list[bytes] = []
    profiles: dict[int, bytes] = {}
    for entry in entries:
        left += Block(entry.remittances, np.frombuffer(entry.remittance_stops, "<i8")).rows()
        right += Block(entry.payments, np.frombuffer(entry.payment_stops, "<i8")).rows()
        profiles |= {profile_key(decode_profile(data)): data for data in entry.profiles}
    return left, right, profiles


def messages_of(planned: Plan, data: bytes) -> list[RawMessage]:
    """The messages of a file; what is too large for one refers to a vault and is there anyhow."""
    messages = []
    for part in planned.parts:
        value = data[part.start : part.stop]
        place = Reference("w0", blake3(value).digest()) if planned.is_large(part) else None
        head = encode_head(msgspec.structs.replace(part, reference=place))
        messages.append(RawMessage(value, [(HEADER, head)], "raw.x12/0@0"))
    if planned.manifest is not None:
        header = (HEADER, encode_head(planned.manifest))
        messages.append(RawMessage(planned.findings, [header], "raw.x12/0@1"))
    return messages


def planned(
    data: bytes, part_bytes: int = PART_BYTES_MAX, layouts: Sequence[LockboxLayout] = ()
) -> Plan:
    """The plan of a file."""
    return plan(NAME, data, layouts=layouts, part_bytes=part_bytes)


def read(
    messages: Sequence[RawMessage], scratch: Path, layouts: Sequence[LockboxLayout] = ()
) -> list[PartItems]:
    """Messages read with everything going to one tenant."""
    return read_parts(messages, router=ROUTER, layouts=layouts, scratch=scratch)


def put_together(parts: Sequence[PartItems]) -> Content:
    """What the parts of one file and its manifest say together."""
    counts: Counter[int] = Counter()
    profiles: dict[int, bytes] = {}
    for part in parts:
        counts.update(part.finding_counts)
        profiles |= part.profiles
        assert len(part.remittance_tenants) == len(part.remittances)
        assert len(part.payment_tenants) == len(part.payments)
    return Content(
        [row for part in parts for row in part.remittances.rows()],
        [row for part in parts for row in part.payments.rows()],
        profiles,
        sorted(line for part in parts for line in part.findings.splitlines()),
        dict(counts),
        sum(part.claim_count for part in parts),
        (sum(part.remittance_cents for part in parts), sum(part.payment_cents for part in parts)),
        "; ".join(part.reason for part in parts if part.reason),
    )


def by_parts(
    data: bytes, part_bytes: int, scratch: Path, layouts: Sequence[LockboxLayout] = ()
) -> tuple[Content, Plan]:
    """What reading the file in parts finds, and the plan of it."""
    made = planned(data, part_bytes, layouts)
    return put_together(read(messages_of(made, data), scratch, layouts)), made


def manifest_of(content: Content) -> tuple[int, int, int, int, int]:
    """What a manifest must say of a file."""
    return (
        len(content.remittances),
        len(content.payments),
        content.claims,
        *content.cents,
    )


def said(manifest: Manifest) -> tuple[int, int, int, int, int]:
    """The same, as a manifest says it."""
    return (
        manifest.remittance_count,
        manifest.payment_count,
        manifest.claim_count,
        manifest.remittance_cents,
        manifest.payment_cents,
    )
