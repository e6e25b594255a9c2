"""One input taken into the warehouse: its bytes into the vault, its items onto the item log.

    vault    the bytes are safe: of many inputs by one commit
    log      the items are there for the matchers, and with them where they went: an item never
             stands in two tenants' logs, and the same content never comes again

`read_in` reads any number of inputs in any number of threads; `log_all` logs those that wait
together, since an entry of the log is one step of a matcher. A crash between any two calls is
harmless: the input is found again, is routed as it was, and items that are on the log already are
dropped by their ids.
"""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from reassoc.core.ach import EntryKind
from reassoc.core.errors import LimitError, ParseError
from reassoc.core.lockbox import LockboxLayout
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.contents import Content, ContentStream, Progress, open_content, pieces
from reassoc.stream.intake import (
    Items,
    Late,
    WindowPayments,
    WindowRemittances,
    findings_file,
    our_faults,
    read_windows,
    reason_of,
    recognise,
)
from reassoc.stream.item_log import ItemLog, Routing, SourceNote
from reassoc.stream.item_rows import (
    Entries,
    Frame,
    RowSpool,
    Share,
    payment_rows,
    remittance_rows,
    with_verdicts,
)
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.kinds import Kind
from reassoc.stream.profiles import ProfileError, encode_profile, profile_key
from reassoc.stream.records import Block
from reassoc.stream.routing import (
    Numbers,
    Route,
    RouteBuilder,
    Router,
    decode_route,
    encode_route,
)
from reassoc.stream.sources import Source, SourceError

PROFILES_MAX = 100_000
"""Kinds of envelope in one input; they are in memory until its items are logged."""
APPEND_BYTES_MAX = 32 << 20
"""Bytes of entries that wait in memory before they are appended."""
UNPACKED_BYTES_MAX = 8 << 20
"""Decompressed bytes of an input that is held in memory; a larger one is read twice."""
NAME_BYTES = 8
"""Bytes of a digest that item ids begin with."""

_NO_REMITTANCES, _NO_PAYMENTS = RemittanceColumns.empty(), PaymentColumns.empty()


class Stored(Protocol):
    """What a vault says of what it has taken."""

    @property
    def digest(self) -> bytes: ...

    @property
    def byte_count(self) -> int: ...


class Putting(Protocol):
    """Takes contents: a vault, or a batch of one."""

    def put(self, pieces: Iterable[bytes | memoryview]) -> Stored:
        """Take content, durably; in a batch it is there when the batch has ended."""
        ...


class Vault(Putting, Protocol):
    """What intake needs of a vault."""

    def open_stream(self, digest: bytes) -> io.RawIOBase:
        """Content that was put, front to back."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one input.

    reason : why nothing was taken, empty where it was; holds no value of the input
    is_copy : the same content is on the log already, so nothing was logged (and counted) again
    remittance_cents : sum of BPR02    payment_cents : sum of the credits among the payments
    tenants : to which its items went
    """

    source: Source
    kind: Kind
    reason: str = ""
    is_copy: bool = False
    digest: bytes = b""
    byte_count: int = 0
    remittance_count: int = 0
    payment_count: int = 0
    claim_count: int = 0
    remittance_cents: int = 0
    payment_cents: int = 0
    finding_counts: Counter[int] = field(default_factory=Counter)
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Items that wait for being logged, and what their entries need."""

    note: SourceNote
    rows: RowSpool
    late: Late
    body: bytes
    route: Route
    profiles: dict[int, bytes]


class TakenIn:
    """An input that was read in and waits for being logged. It must be closed, as log_all does.

    waiting : None where nothing is to be logged: nothing was taken, or it is a copy
    """

    def __init__(self, receipt: Receipt, waiting: _Waiting | None = None) -> None:
        self.receipt = receipt
        self.waiting = waiting

    @property
    def byte_count(self) -> int:
        """Bytes of its packed items, beyond item_rows.SPOOL_MEMORY_BYTES on disk."""
        return self.waiting.rows.byte_count if self.waiting else 0

    def close(self) -> None:
        """Let go of the items. What is not logged by then is read in again when it is found."""
        if self.waiting is not None:
            self.waiting.rows.close()
            self.waiting = None


def take_in(
    source: Source,
    *,
    vault: Vault,
    log: ItemLog,
    router: Router,
    layouts: Sequence[LockboxLayout] = (),
    scratch: Path,
    findings: IO[bytes] | None = None,
    progress: Progress | None = None,
) -> Receipt:
    """Read one input in and log its items: `read_in` and `log_all` in one."""
    taken = read_in(
        source,
        vault=vault,
        log=log,
        router=router,
        layouts=layouts,
        scratch=scratch,
        findings=findings,
        progress=progress,
    )
    return log_all([taken], log)[0]


def read_in(
    source: Source,
    *,
    vault: Vault,
    log: ItemLog,
    router: Router,
    layouts: Sequence[LockboxLayout] = (),
    scratch: Path,
    findings: IO[bytes] | None = None,
    progress: Progress | None = None,
    batch: Putting | None = None,
) -> TakenIn:
    """Put an input into the vault, scan it, and find out where its items go. Any number of threads.

    batch : of the vault, which must have ended before `log_all`; without it each input is durable
        when this returns. Compressed inputs above UNPACKED_BYTES_MAX always are.
    layouts : of lockbox lists, as in intake.read_source
    scratch : folder with room for the packed items, about 400 bytes each
    findings : its findings are written there as lines of findings.csv, all of them or none

    The result must be closed, which `log_all` does. Never raises for what is in the input: its
    receipt says why nothing was taken. Raises what vault and log raise, and OSError where the
    scratch folder fails. Memory: one window, whatever the size of the input.
    """
    items = Items(source, Kind.UNKNOWN)
    with ExitStack() as stack:
        rows = RowSpool(scratch)
        unless_taken = stack.enter_context(ExitStack())
        unless_taken.callback(rows.close)
        try:
            with open_content(source, progress) as found:
                with our_faults():
                    items, layout = recognise(source, found, layouts)
                if items.reason:
                    return TakenIn(Receipt(source, items.kind, items.reason))
                items.findings = stack.enter_context(findings_file(scratch))
                content = _unpacked(found)
                if found.data is None:
                    progress = None  # whatever decompresses has told it
                putting = vault if batch is None or content.data is None else batch
                stored = putting.put(pieces(content))
                known = _known(stored.digest, log.routings(_keys_of(stored.digest)))
                keeper = _Keeper(items, stored.digest, router if known is None else None, rows)
                late = None
                if known is None or not known.logged:
                    with _once_more(content, vault, stored) as again:
                        late = _scan(again, items, layout, keeper, progress, stored)
                elif progress is not None:
                    progress(stored.byte_count)
            if late is None:
                receipt = Receipt(source, items.kind, is_copy=True, digest=stored.digest)
                return TakenIn(replace(receipt, byte_count=stored.byte_count))
            route, body = _route(known, keeper)
        except (SourceError, LimitError, ParseError, ProfileError) as error:
            return TakenIn(Receipt(source, items.kind, reason_of(error)))
        if findings is not None:
            _copy(items.findings, findings)
        unless_taken.pop_all()
        note = SourceNote(stored.digest, source.name, items.kind.name, stored.byte_count)
        waiting = _Waiting(note, rows, late, body, route, keeper.profiles)
        return TakenIn(keeper.receipt(route), waiting)


def _keys_of(digest: bytes) -> tuple[bytes, bytes]:
    """Keys of the routings of a content: who has the name of its items, and where they went."""
    return digest[:NAME_BYTES], digest


def _known(digest: bytes, routings: Mapping[bytes, Routing]) -> Routing | None:
    """What the log knows of a content. Raises SourceError where another one has the name of its
    items: they could not be told apart.
    """
    holder = routings.get(digest[:NAME_BYTES])
    if holder is not None and holder.body != digest:
        raise SourceError(
            f"another content that came before has the same first {NAME_BYTES} bytes of its digest,"
            " by which items are named; nothing of this one is used: ask the sender for it again"
            " with another control number"
        )
    return routings.get(digest)


def _unpacked(content: Content) -> Content:
    """A compressed input in memory where it is small: it is decompressed once then."""
    if content.stream is None:
        return content
    head = content.stream.peek(UNPACKED_BYTES_MAX + 1)
    return content if len(head) > UNPACKED_BYTES_MAX else Content(head, None)


def _route(known: Routing | None, keeper: _Keeper) -> tuple[Route, bytes]:
    """The route and its encoding: the one that is remembered, else the one that was told now."""
    if known is None:
        route = keeper.route.route()
        return route, encode_route(route)
    route = decode_route(known.body)
    have = len(route.remittances), len(route.payments)
    if have != (keeper.remittance_count, keeper.payment_count):
        raise SourceError(
            f"when it came before it held {have[0]} remittances and {have[1]} payments, and now "
            f"{keeper.remittance_count} and {keeper.payment_count}, though it is the same content; "
            "some of them may be on the log: please report it"
        )
    return route, known.body


@contextmanager
def _once_more(content: Content, vault: Vault, stored: Stored) -> Iterator[Content]:
    """The bytes that were put, once more: of a plain file where they lie, else from the vault,
    which is faster than to decompress them again.
    """
    if content.data is not None:
        yield content
        return
    with closing(vault.open_stream(stored.digest)) as raw, closing(io.BufferedReader(raw)) as read:
        yield Content(None, ContentStream(read))


def _scan(
    content: Content,
    items: Items,
    layout: LockboxLayout | None,
    keeper: _Keeper,
    progress: Progress | None,
    stored: Stored,
) -> Late:
    with our_faults():
        late = read_windows(items, content, keeper, layout, progress)
    if items.digest != stored.digest:
        raise SourceError(
            "changed while it was read; nothing of it is used: run again when it is complete"
        )
    return late


def _copy(findings: IO[bytes], out: IO[bytes]) -> None:
    findings.seek(0)
    shutil.copyfileobj(findings, out, 1 << 20)


class _Keeper:
    """Packs and routes the items of an input, window by window."""

    def __init__(self, items: Items, digest: bytes, router: Router | None, rows: RowSpool) -> None:
        """`router` : None where the route is remembered."""
        self._items = items
        self._name = int.from_bytes(digest[:NAME_BYTES], "little")
        self._router = router
        self._rows = rows
        self._profile_keys = np.zeros(0, np.uint64)
        self.profiles: dict[int, bytes] = {}
        self.route = RouteBuilder()
        self.remittance_count = self.payment_count = 0
        self._remittance_cents = self._payment_cents = 0

    def keep(self, remittances: WindowRemittances | None, payments: WindowPayments | None) -> None:
        """Take the items of the next window."""
        left, left_checks = Block(b"", np.zeros(0, np.int64)), np.zeros(0, np.uint8)
        right, right_checks = left, left_checks
        if remittances is not None:
            self._take_profiles()
            left, left_checks = remittance_rows(remittances, self._name, self._profile_keys)
            self.remittance_count += len(left)
            self._remittance_cents += int(remittances.columns.paid_cents.sum())
        if payments is not None:
            right, right_checks = payment_rows(payments, self._name)
            columns = payments.columns
            credit = columns.kind == EntryKind.CREDIT
            self.payment_count += len(right)
            self._payment_cents += int(columns.amount_cents[credit].sum())
        if self._router is not None:
            self.route.add(
                self._router.route(
                    remittances.columns if remittances else _NO_REMITTANCES,
                    payments.columns if payments else _NO_PAYMENTS,
                )
            )
        self._rows.write(Frame(left, left_checks, right, right_checks))

    def receipt(self, route: Route) -> Receipt:
        """The receipt, once the input has ended."""
        items = self._items
        return Receipt(
            items.source,
            items.kind,
            digest=items.digest,
            byte_count=items.byte_count,
            remittance_count=self.remittance_count,
            payment_count=self.payment_count,
            claim_count=items.claim_count,
            remittance_cents=self._remittance_cents,
            payment_cents=self._payment_cents,
            finding_counts=items.finding_counts,
            tenants=route.tenants,
        )

    def _take_profiles(self) -> None:
        """Keys and encodings of profiles that are new."""
        known = len(self._profile_keys)
        fresh = self._items.profiles[known:]
        if known + len(fresh) > PROFILES_MAX:
            raise LimitError(
                f"PROFILES_MAX: more than {PROFILES_MAX} kinds of envelope in one file: split it"
            )
        keys = [profile_key(profile) for profile in fresh]
        self.profiles |= dict(zip(keys, map(encode_profile, fresh), strict=True))
        self._profile_keys = np.append(self._profile_keys, np.array(keys, np.uint64))


# ---- logging ----


def log_all(taken: Sequence[TakenIn], log: ItemLog) -> list[Receipt]:
    """Log the items of inputs that wait together: of each tenant in as few entries as their limits
    allow, in as few appends as APPEND_BYTES_MAX allows, and with them where each input went.

    Gives their receipts, and closes them whatever happens. What another call has logged since the
    input was read is a copy, and so is the second of two with the same content. Raises what the log
    raises; some items may be on it then, and when the inputs are read in again they go there again,
    for the matcher to drop. Memory: APPEND_BYTES_MAX and one window.
    """
    digests = [one.receipt.digest for one in taken if one.waiting is not None]
    try:
        logging = _Logging(log, [key for digest in digests for key in _keys_of(digest)])
        receipts = [logging.add(one) for one in taken]
        logging.flush()
    finally:
        for one in taken:
            one.close()
    return receipts


class _Logging:
    """Entries and routings on their way to the log.

    _known : routings of all that is logged here, by their keys
    """

    def __init__(self, log: ItemLog, keys: Sequence[bytes]) -> None:
        self._log = log
        self._known = log.routings(keys)
        self._entries = Entries()
        self._routings: list[tuple[bytes, Routing]] = []
        self._seen: set[bytes] = set()

    def add(self, one: TakenIn) -> Receipt:
        """Take the items of an input; its receipt as things are now."""
        receipt, waiting = one.receipt, one.waiting
        if waiting is None:
            return receipt
        digest = receipt.digest
        try:
            known = _known(digest, self._known)
        except SourceError as error:
            return Receipt(receipt.source, receipt.kind, reason_of(error))
        if digest in self._seen or (known is not None and known.logged):
            return _copy_receipt(receipt)
        self._seen.add(digest)
        body, route = waiting.body, waiting.route
        if known is not None and known.body != body:
            body, route = known.body, decode_route(known.body)
        self._known[digest[:NAME_BYTES]] = Routing(digest, logged=True)
        self._routings.append((digest[:NAME_BYTES], self._known[digest[:NAME_BYTES]]))
        self._routings.append((digest, Routing(body, logged=False)))
        for share in _shares(waiting, route):
            self._entries.add(share, waiting.note, waiting.profiles)
            if self._entries.byte_count >= APPEND_BYTES_MAX:
                self.flush()
        self._routings.append((digest, Routing(body, logged=True)))
        return receipt

    def flush(self) -> None:
        """Append what is there."""
        entries = self._entries.take()
        if entries or self._routings:
            self._log.append(entries, self._routings)
        self._routings = []


def _copy_receipt(receipt: Receipt) -> Receipt:
    return Receipt(
        receipt.source,
        receipt.kind,
        is_copy=True,
        digest=receipt.digest,
        byte_count=receipt.byte_count,
    )


def _shares(waiting: _Waiting, route: Route) -> Iterator[Share]:
    """The items by windows and tenants, with their final verdicts."""
    late = waiting.late
    left_at = right_at = 0
    for window, frame in enumerate(waiting.rows.frames()):
        left_checks = late.remittances(window, frame.remittance_checks)
        right_checks = late.payments(window, frame.payment_checks)
        left = with_verdicts(REMITTANCE_ITEM, frame.remittances, left_checks)
        right = with_verdicts(PAYMENT_ITEM, frame.payments, right_checks)
        left_of = route.remittances.between(left_at, left_at + len(left))
        right_of = route.payments.between(right_at, right_at + len(right))
        left_at, right_at = left_at + len(left), right_at + len(right)
        yield from split_by_tenant(route.tenants, (left, left_of), (right, right_of))


def split_by_tenant(
    tenants: Sequence[str], left: tuple[Block, Numbers], right: tuple[Block, Numbers]
) -> list[Share]:
    """Rows of both sides by tenants, in their order.

    left, right : rows, and the number in `tenants` of each
    """
    numbers = np.unique(np.concatenate([left[1], right[1]]))
    parts = _split(*left, numbers), _split(*right, numbers)
    names = [tenants[int(number)] for number in numbers]
    return [Share(*share) for share in zip(names, parts[0], parts[1], strict=True)]


def _split(block: Block, of: Numbers, numbers: Numbers) -> list[Block]:
    """The rows of each of some numbers, in their order. of : the number of each row"""
    if len(numbers) == 1 or not len(block):
        return [block] * len(numbers)
    order = np.argsort(of, kind="stable")
    by_number = block.take(order)
    stops = np.searchsorted(of[order], numbers, "right").tolist()
    return [by_number.part(*bounds) for bounds in pairwise([0, *stops])]
