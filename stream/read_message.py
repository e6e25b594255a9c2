"""Raw messages into items: what `take_in.read_in` finds in a file, found in its parts.

Nothing here knows where messages come from or what becomes of their items. Small inputs are read
many at a time: their bytes are put one behind the other, scanned once, and their rows packed once,
so that a message costs microseconds. Items of all parts of a file are those of the file, and the
findings of its parts and its manifest are its findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reassoc.core.ach import EntryKind
from reassoc.core.errors import LimitError, ParseError
from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.contents import Content
from reassoc.stream.findings import PART_FINDINGS_BYTES_MAX, first_lines
from reassoc.stream.input_batch import EncodedProfiles, name_of
from reassoc.stream.intake import (
    Items,
    WindowPayments,
    WindowRemittances,
    findings_file,
    internal_error,
    read_windows,
    reason_of,
)
from reassoc.stream.item_rows import payment_rows, with_verdicts
from reassoc.stream.items import PAYMENT_ITEM
from reassoc.stream.kinds import Kind
from reassoc.stream.message import HeadError, Manifest, PartHead, RawMessage
from reassoc.stream.message_inputs import Input, inputs_of
from reassoc.stream.part_items import NO_REMITTANCES, NO_ROWS, PartItems
from reassoc.stream.profiles import ProfileError
from reassoc.stream.read_message_ach import AchBatch, may_follow
from reassoc.stream.read_message_x12 import X12Batch
from reassoc.stream.routing import Router
from reassoc.stream.sources import Source, SourceError

BATCH_BYTES_MAX = 4 << 20
"""Bytes that are scanned together, and at least one message."""
BATCH_INPUTS_MAX = 4096
"""Messages that are scanned together."""

_BATCHED = (Kind.X12.name, Kind.ACH.name)


def read_part(
    message: RawMessage,
    *,
    router: Router,
    layouts: Sequence[LockboxLayout] = (),
    scratch: Path,
) -> list[PartItems]:
    """`read_parts` of one message: one result, but for an archive."""
    return read_parts([message], router=router, layouts=layouts, scratch=scratch)


def read_parts(
    messages: Sequence[RawMessage],
    *,
    router: Router,
    layouts: Sequence[LockboxLayout] = (),
    scratch: Path,
) -> list[PartItems]:
    """Read messages; results in their order, at least one for each, and members of an archive in
    any.

    A part whose head has a reference is given with the bytes that it refers to as its value.
    layouts : of lockbox lists    scratch : a folder for findings beyond 4 MiB of one list or report

    Never raises for what is in a message: `reason` says why it gave nothing. Raises OSError where
    the scratch folder fails, MemoryError. For any number of threads. O(bytes); memory about four
    times the bytes, and at least four times BATCH_BYTES_MAX.
    """
    results: list[PartItems] = []
    waiting: dict[str, _Waiting] = {}
    profiles = EncodedProfiles()
    for found in inputs_of(messages, layouts):
        kind = found.head.kind
        if found.reason or kind not in _BATCHED or not isinstance(found.head, PartHead):
            results.append(_read_other(found, router, scratch))
            continue
        batch = waiting.setdefault(kind, _Waiting())
        if batch.inputs and not batch.has_room_for(found):
            results += _read_batch(batch.inputs, router, profiles)
            batch = waiting[kind] = _Waiting()
        batch.add(found)
    for batch in waiting.values():
        results += _read_batch(batch.inputs, router, profiles)
    results.sort(key=lambda items: items.message)
    return results


class _Waiting:
    """Inputs of one kind that are to be read together."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self._byte_count = 0

    def has_room_for(self, found: Input) -> bool:
        """Whether an input can be read with them."""
        return (
            self._byte_count + len(found.data) <= BATCH_BYTES_MAX
            and len(self.inputs) < BATCH_INPUTS_MAX
            and _goes_with(self.inputs[-1], found)
        )

    def add(self, found: Input) -> None:
        """Put an input behind the others."""
        self.inputs.append(found)
        self._byte_count += len(found.data)


def _goes_with(last: Input, found: Input) -> bool:
    """Whether two inputs of one kind can be read as one."""
    return found.head.kind == Kind.X12.name or may_follow(last, found)


def _read_other(found: Input, router: Router, scratch: Path) -> PartItems:
    head = found.head
    if isinstance(head, Manifest):
        return PartItems(
            found.message, head, finding_counts=head.finding_counts, findings=found.data
        )
    if found.reason:
        return PartItems(found.message, head, reason=found.reason)
    try:
        return _read_list(found, head, router, scratch)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return PartItems(found.message, head, reason=_why(error))


def _why(error: Exception) -> str:
    """Why an input gave nothing. A fault of ours must not take others with it."""
    if isinstance(error, SourceError | LimitError | ParseError | ProfileError | HeadError):
        return reason_of(error)
    return internal_error()


# ---- many messages at a time ----


def _read_batch(
    batch: Sequence[Input], router: Router, profiles: EncodedProfiles
) -> list[PartItems]:
    try:
        kind = batch[0].head.kind
        reading = X12Batch(batch) if kind == Kind.X12.name else AchBatch(batch)
        return reading.read(router, profiles)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if len(batch) == 1:
            head = batch[0].head
            return [PartItems(batch[0].message, head, reason=_why(error))]
        # One of them cannot be read: which one shows when each is read alone.
        return [items for found in batch for items in _read_batch([found], router, profiles)]


# ---- bank reports and lockbox lists ----


class _Kept:
    """The one window of a list."""

    payments: WindowPayments | None = None

    def keep(self, remittances: WindowRemittances | None, payments: WindowPayments | None) -> None:
        self.payments = payments


def _read_list(found: Input, head: PartHead, router: Router, scratch: Path) -> PartItems:
    source = Source(head.name, Path(), -1, head.byte_count, (0, 0, 0, 0))
    items, kept = Items(source, Kind[head.kind]), _Kept()
    with findings_file(scratch) as findings:
        items.findings = findings
        read_windows(items, Content(found.data, None), kept, found.layout, None)
        findings.seek(0)
        lines = first_lines(findings.read(PART_FINDINGS_BYTES_MAX + 1))
    assert kept.payments is not None
    block, checks = payment_rows(kept.payments, name_of(head))
    columns = kept.payments.columns
    told = router.route(NO_REMITTANCES, columns)
    return PartItems(
        found.message,
        head,
        NO_ROWS,
        with_verdicts(PAYMENT_ITEM, block, checks),
        told.names,
        told.remittances,
        told.payments,
        payment_cents=int(columns.amount_cents[columns.kind == EntryKind.CREDIT].sum()),
        finding_counts=items.finding_counts,
        findings=lines,
        data=found.data,
    )
