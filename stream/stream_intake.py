"""Raw messages taken into the warehouse: bytes into the vault, where they went into the part book,
items for the item log.

    vault        the bytes of messages that are taken together are one content, durable
    part book    where each part lies and where its items go: what it said first stands for ever,
                 and where bytes of it lie that came once more
    log          by whoever calls; after that `set_logged`

A crash between any two of these is harmless: the messages come again, go where they went, and items
that are on the log already are dropped by their ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reassoc.stream.item_log import Entry, SourceNote
from reassoc.stream.item_rows import Entries, Share
from reassoc.stream.message import HeadError, Manifest, PartHead, RawMessage, Reference, head_of
from reassoc.stream.metrics import DeadReason
from reassoc.stream.part_book import FileNote, Part, PartBook, PartKey, is_same_file
from reassoc.stream.part_items import PartItems
from reassoc.stream.read_message import read_parts
from reassoc.stream.routing import Route, RouteError, decode_route
from reassoc.stream.take_in import NAME_BYTES, split_by_tenant
from reassoc.stream.taking import Rules
from reassoc.stream.vault_errors import NoContentError

COLLISION = (
    f"another file that came before has the same first {NAME_BYTES} bytes of its digest, by which "
    "items are named; nothing of this one is used: ask the sender for it again with another "
    "control number"
)
CUT_OTHERWISE = (
    "a part of this file that begins where this one does came before and ended earlier: the file "
    "was cut in two ways, and what lies behind that end is not taken from here, lest it counts "
    "twice; send the file again as it was cut first"
)


class Vaults(Protocol):
    """The vault that this worker writes, and those of others."""

    def put(self, pieces: Sequence[bytes]) -> Reference:
        """Store a content in the own vault, durably; where it lies."""
        ...

    def read(self, vault: str, digest: bytes) -> bytes:
        """A whole content of any worker's vault."""
        ...


@dataclass(frozen=True, slots=True)
class Dead:
    """A message, or a member of one, that could not be taken, and why: no value of it."""

    message: int
    reason: str
    code: DeadReason = DeadReason.UNREADABLE


@dataclass(slots=True)
class Took:
    """What messages came to.

    entries : tenants and what goes on their logs    keys : of the parts to be set as logged then
    dead : what could not be taken    findings : digests of files, and lines of findings.csv
    """

    entries: list[tuple[str, Entry]] = field(default_factory=list)
    keys: list[PartKey] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    findings: list[tuple[bytes, bytes]] = field(default_factory=list)
    vault_seconds: float = 0.0


class StreamIntake:
    """Takes messages; any number of threads."""

    def __init__(
        self,
        vaults: Vaults,
        book: PartBook,
        rules: Callable[[], Rules],
        *,
        scratch: Path,
        entry_bytes_max: int,
    ) -> None:
        """
        rules : those that hold now    scratch : a folder for findings of large reports
        entry_bytes_max : what a record of the item log has room for
        """
        self._vaults = vaults
        self._book = book
        self._rules = rules
        self._scratch = scratch
        self._entry_bytes_max = entry_bytes_max

    def take(self, messages: Sequence[RawMessage]) -> Took:
        """Take messages together. Raises what vault and part book raise: then all of them are to be
        taken again. Memory: as read_parts."""
        took = Took()
        resolved = self._resolved(messages, took)
        rules = self._rules()
        items = read_parts(
            resolved, router=rules.router, layouts=rules.layouts, scratch=self._scratch
        )
        lost = {dead.message for dead in took.dead}
        parts = [each for each in items if each.message not in lost and self._is_part(each, took)]
        self._keep(parts, took)
        return took

    def set_logged(self, took: Took) -> None:
        """The entries are on the log."""
        self._book.set_logged(took.keys)

    def _resolved(self, messages: Sequence[RawMessage], took: Took) -> Sequence[RawMessage]:
        """The messages with the bytes that they refer to."""
        found = list(messages)
        for number, message in enumerate(messages):
            if message.value or not message.headers:
                continue
            try:
                head = head_of(message)
            except HeadError:
                continue  # told when it is read
            if isinstance(head, PartHead) and head.reference is not None:
                try:
                    data = self._vaults.read(head.reference.vault, head.reference.digest)
                except NoContentError as error:
                    took.dead.append(Dead(number, str(error), DeadReason.REFERENCE_LOST))
                    continue
                found[number] = RawMessage(data, message.headers, message.place)
        return found

    def _is_part(self, items: PartItems, took: Took) -> bool:
        """Whether it is a part that gave something; manifests are written down at once."""
        if items.reason:
            took.dead.append(Dead(items.message, items.reason))
            return False
        if items.findings:
            took.findings.append((items.head.digest, items.findings))
        if isinstance(items.head, Manifest):
            self._book.remember_files([_note_of(items.head)])
            return False
        return True

    def _keep(self, parts: Sequence[PartItems], took: Took) -> None:
        """Bytes into the vault, routes into the book, items into entries."""
        if not parts:
            return
        routes = [each.route() for each in parts]
        began = time.monotonic()
        stored = self._stored(parts)
        took.vault_seconds = time.monotonic() - began
        given = [
            _part(each, place, route)
            for each, place, (_, route) in zip(parts, stored, routes, strict=True)
        ]
        standing = self._book.remember(given)
        keys = [part.key for part in given]
        self._book.remember_copies(
            [part for part, key in zip(given, keys, strict=True) if _is_copy(part, standing[key])]
        )
        entries = Entries(self._entry_bytes_max)
        seen = set[PartKey]()
        for each, part, key, (told, _) in zip(parts, given, keys, routes, strict=True):
            stands = standing[key]
            if not is_same_file(part, stands):
                took.dead.append(Dead(each.message, COLLISION, DeadReason.COLLISION))
                continue
            if part.stop > stands.stop and not self._has_come(part):
                took.dead.append(Dead(each.message, CUT_OTHERWISE, DeadReason.CUT_OTHERWISE))
                continue
            if part.stop > stands.stop or stands.logged or key in seen:
                continue  # a copy
            try:
                route = told if stands.route == part.route else _remembered(stands, each)
            except RouteError as error:
                took.dead.append(Dead(each.message, str(error), DeadReason.FAILED))
                continue
            seen.add(key)
            note = _source_note(each)
            for share in _shares(each, route):
                entries.add(share, note, each.profiles)
        took.keys = list(seen)
        took.entries = entries.take()

    def _has_come(self, part: Part) -> bool:
        """Whether other parts of its file have all of its bytes, and their items are logged."""
        end = part.start
        for other in self._book.parts_of(part.digest):
            if other.logged and other.start <= end:
                end = max(end, other.stop)
        return end >= part.stop

    def _stored(self, parts: Sequence[PartItems]) -> list[tuple[str, bytes, int]]:
        """Vault, content and offset of the bytes of each part."""
        pieces: list[bytes] = []
        places: list[Reference | int] = []
        size = 0
        for each in parts:
            reference = _head(each).reference
            places.append(size if reference is None else reference)
            if reference is None:
                pieces.append(each.data)
                size += len(each.data)
        own = self._vaults.put(pieces) if pieces else Reference("", b"")
        return [
            (place.vault, place.digest, 0)
            if isinstance(place, Reference)
            else (own.vault, own.digest, place)
            for place in places
        ]


def _head(items: PartItems) -> PartHead:
    assert isinstance(items.head, PartHead)
    return items.head


def _part(items: PartItems, place: tuple[str, bytes, int], route: bytes) -> Part:
    head = _head(items)
    vault, content, offset = place
    return Part(head.digest, head.start, head.stop, vault, content, offset, route)


def _is_copy(part: Part, stands: Part) -> bool:
    """Whether the bytes of a part lie where the book does not say it of its file."""
    if stands is part:
        return False
    places = (part.vault, part.content), (stands.vault, stands.content)
    return places[0] != places[1] or not is_same_file(part, stands)


def _note_of(manifest: Manifest) -> FileNote:
    return FileNote(
        manifest.digest,
        manifest.byte_count,
        manifest.name,
        manifest.kind,
        manifest.part_count,
        complete=True,
    )


def _source_note(items: PartItems) -> SourceNote:
    head = _head(items)
    return SourceNote(head.digest, head.name, head.kind, head.byte_count)


def _remembered(stands: Part, items: PartItems) -> Route:
    """Where the items go: as it was said first. Raises RouteError."""
    found = decode_route(stands.route)
    have = len(found.remittances), len(found.payments)
    if have != (len(items.remittances), len(items.payments)):
        raise RouteError(
            f"when it came before it held {have[0]} remittances and {have[1]} payments, and now "
            f"{len(items.remittances)} and {len(items.payments)}, though it is the same part: some "
            "of them may be on the log: please report it"
        )
    return found


def _shares(items: PartItems, route: Route) -> list[Share]:
    if len(route.tenants) == 1:
        return [Share(route.tenants[0], items.remittances, items.payments)]
    left = route.remittances.between(0, len(items.remittances))
    right = route.payments.between(0, len(items.payments))
    return split_by_tenant(route.tenants, (items.remittances, left), (items.payments, right))
