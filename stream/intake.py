"""One input into items: its remittances and payments as columns, its findings as lines of a table.

Nothing of an input but these outlives the reading of it. Runs in any number of threads, in any
order.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from reassoc.core.ach import AchFiles, iter_ach
from reassoc.core.columns import TextColumn
from reassoc.core.errors import LimitError, ParseError
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.core.x12_835 import Remittances, iter_835
from reassoc.stream.contents import Content, Progress, open_content
from reassoc.stream.envelope import Fallback, Profile, profile_of
from reassoc.stream.findings import ach_findings, payload_findings, x12_findings
from reassoc.stream.kinds import ADVICE, Kind, kind_of
from reassoc.stream.sources import Source, SourceError

FINDINGS_MEMORY_BYTES = 4 << 20
"""Findings of one input that are kept in memory; more go to a file of the run's private folder."""

OWN_VALID, BALANCED, GROUP_VALID, INTERCHANGE_VALID = 1, 2, 4, 8
"""Bits of RemittanceRows.checks."""
ALL_VALID = OWN_VALID | GROUP_VALID | INTERCHANGE_VALID

Ints32 = npt.NDArray[np.int32]
Ints64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class RemittanceRows:
    """What the job knows of remittances beside the matcher's columns; n rows.

    ordinal : int32      0-based number of the 835 in its file
    start, stop : int64  ST..SE in the file; for an 835 in a CTX its ordinal, and one more
    profile : int32      row of the file's `profiles`
    checks : uint8       the bits above
    claims : int32       claims in it
    control              ST02
    """

    ordinal: Ints32
    start: Ints64
    stop: Ints64
    profile: Ints32
    checks: npt.NDArray[np.uint8]
    claims: Ints32
    control: TextColumn

    def __len__(self) -> int:
        return len(self.ordinal)


@dataclass(slots=True)
class Items:
    """What one input gave. `reason` says why it gave nothing, where it could not be read or was
    passed over.
    """

    source: Source
    kind: Kind
    reason: str = ""
    digest: bytes = b""
    byte_count: int = 0
    remittances: list[RemittanceColumns] = field(default_factory=list)
    remittance_rows: list[RemittanceRows] = field(default_factory=list)
    payments: list[PaymentColumns] = field(default_factory=list)
    payment_ordinals: list[Ints32] = field(default_factory=list)
    payment_valid: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    findings: IO[bytes] | None = None
    finding_counts: Counter[int] = field(default_factory=Counter)
    claim_count: int = 0
    service_count: int = 0
    other_transaction_count: int = 0

    def let_go(self) -> None:
        """Forget the columns; who asks has taken them."""
        self.remittances, self.remittance_rows = [], []
        self.payments, self.payment_ordinals, self.payment_valid = [], [], []

    @property
    def is_passed_over(self) -> bool:
        """Not an input at all, though it was found: nothing is missing without it."""
        return self.kind is Kind.OWN_TABLE


def read_source(source: Source, scratch: Path, progress: Progress | None = None) -> Items:
    """Read one input whole: kind, digest, items, findings. Memory: one window, and 300 bytes per
    item.

    Never raises for what is in the file: an input that cannot be read comes back with a reason,
    which holds no value of the file. Findings beyond FINDINGS_MEMORY_BYTES go to a nameless file in
    `scratch`.
    """
    try:
        with open_content(source, progress) as content:
            return _read(source, content, scratch, progress)
    except (SourceError, LimitError) as error:
        return Items(source, Kind.UNKNOWN, reason=str(error))
    except ParseError as error:
        return Items(source, Kind.UNKNOWN, reason=f"cannot be read as what it seems to be: {error}")
    except OSError as error:
        return Items(
            source, Kind.UNKNOWN, reason=f"reading failed: {error.strerror or 'input error'}"
        )
    except Exception:
        # A fault of ours must not take the other inputs with it, and its text may hold a value of
        # the file.
        return Items(
            source, Kind.UNKNOWN, reason=f"internal error, please report it: {where_it_failed()}"
        )


def where_it_failed() -> str:
    """Type and place of the exception being handled: never its text, which may hold a value of a
    file.
    """
    error = sys.exc_info()[1]
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
    return f"{type(error).__name__} at {place}"


def _read(source: Source, content: Content, scratch: Path, progress: Progress | None) -> Items:
    kind = kind_of(content.head)
    items = Items(source, kind)
    if kind is Kind.OWN_TABLE:
        items.reason = kind.value
        return items
    if kind not in (Kind.X12, Kind.ACH):
        items.reason = ADVICE[kind]
        return items
    items.findings = tempfile.SpooledTemporaryFile(FINDINGS_MEMORY_BYTES, dir=str(scratch))  # noqa: SIM115
    reader = _X12Reader(items) if kind is Kind.X12 else _AchReader(items)
    seen = 0
    for window_end in reader.windows(content):
        content.hash_to(window_end)
        if progress is not None and content.data is not None:
            progress(window_end - seen)
        seen = window_end
    items.digest, items.byte_count = content.finish()
    if progress is not None and content.data is not None:
        progress(items.byte_count - seen)
    reader.finish()
    return items


class _Envelopes:
    """Envelopes of one stream of windows: verdicts by file-wide number, and one profile row per
    kind of envelope.

    A verdict is final only in the window in which its envelope closes, so transactions keep the
    numbers of their group and interchange until the input has ended.
    """

    def __init__(self, profiles: list[Profile]) -> None:
        self._profiles = profiles
        self._rows: dict[Profile, int] = {profile: row for row, profile in enumerate(profiles)}
        self._verdicts: tuple[dict[int, bool], dict[int, bool]] = ({}, {})
        self._numbers: list[tuple[Ints64, Ints64]] = []

    def see(self, remittances: Remittances) -> Ints32:
        """Take a window's envelopes; the profile row of each of its transactions."""
        for verdicts, table in zip(
            self._verdicts, (remittances.groups, remittances.interchanges), strict=True
        ):
            verdicts.update(zip(table.ordinal.tolist(), table.valid.tolist(), strict=True))
        transactions = remittances.transactions
        groups = _ordinals(remittances.groups.ordinal, transactions.group)
        interchanges = _ordinals(remittances.interchanges.ordinal, transactions.interchange)
        self._numbers.append((groups, interchanges))
        return self._profile_rows(remittances)

    def verdicts(self) -> Iterator[npt.NDArray[np.uint8]]:
        """GROUP_VALID and INTERCHANGE_VALID of each transaction, one array per window seen."""
        group_valid, interchange_valid = (_as_array(verdicts) for verdicts in self._verdicts)
        for groups, interchanges in self._numbers:
            yield np.where(group_valid[groups], GROUP_VALID, 0).astype(np.uint8) | np.where(
                interchange_valid[interchanges], INTERCHANGE_VALID, 0
            ).astype(np.uint8)

    def _profile_rows(self, remittances: Remittances) -> Ints32:
        transactions = remittances.transactions
        rows = np.zeros(len(transactions), np.int32)
        pairs = transactions.interchange.astype(np.int64) << 32 | (
            transactions.group.astype(np.int64) & 0xFFFFFFFF
        )
        values, inverse = np.unique(pairs, return_inverse=True)
        by_pair = np.zeros(len(values), np.int32)
        for number, pair in enumerate(values.tolist()):
            interchange = pair >> 32
            group = pair & 0xFFFFFFFF
            if _is_enveloped(remittances.interchanges, interchange):
                by_pair[number] = self._profile_row(remittances, interchange, group, None)
                continue
            # Without an ISA the identities come from the transaction itself, so each may have its
            # own.
            for transaction in np.flatnonzero(inverse == number).tolist():
                spare = _fallback(remittances, transaction)
                rows[transaction] = self._profile_row(remittances, interchange, group, spare)
            by_pair[number] = -1
        common = by_pair[inverse] if len(values) else rows
        return np.where(common >= 0, common, rows).astype(np.int32)

    def _profile_row(
        self, remittances: Remittances, interchange: int, group: int, spare: Fallback | None
    ) -> int:
        interchanges, groups = remittances.interchanges, remittances.groups
        enveloped = _is_enveloped(interchanges, interchange)
        profile = profile_of(
            interchanges.isa.raw(interchange) if enveloped else b"",
            groups.gs.raw(group) if _is_enveloped(groups, group) else b"",
            (
                int(interchanges.element_separator[interchange]),
                int(interchanges.component_separator[interchange]),
                int(interchanges.segment_terminator[interchange]),
            ),
            spare,
        )
        row = self._rows.setdefault(profile, len(self._profiles))
        if row == len(self._profiles):
            self._profiles.append(profile)
        return row


def _is_enveloped(table: object, row: int) -> bool:
    return 0 <= row < len(table) and bool(table.enveloped[row])  # type: ignore[arg-type, attr-defined]


def _ordinals(ordinals: npt.NDArray[np.uint32], rows: Ints32) -> Ints64:
    """File-wide numbers of the envelopes in `rows`; -1 where a transaction has none."""
    if not len(ordinals):
        return np.full(len(rows), -1, np.int64)
    return np.where(rows >= 0, ordinals[np.maximum(rows, 0)].astype(np.int64), -1)


def _as_array(verdicts: dict[int, bool]) -> npt.NDArray[np.bool_]:
    """Verdicts by number, with a true one at the end for -1: a transaction without that
    envelope.
    """
    array = np.ones(max(verdicts, default=-1) + 2, np.bool_)
    array[list(verdicts.keys())] = list(verdicts.values())
    array[-1] = True
    return array


def _fallback(remittances: Remittances, row: int) -> Fallback:
    transactions = remittances.transactions
    sender = transactions.payer_id.raw(row) or transactions.originator.raw(row)
    receiver = (
        transactions.receiver_id.raw(row)
        or transactions.payee_tin.raw(row)
        or transactions.payee_entity_id.raw(row)
    )
    return Fallback(sender.strip(), receiver.strip(), transactions.implementation.raw(row).strip())


class _BatchVerdicts:
    """Validity of ACH entries once their batch and file have ended, over the windows of an
    input.
    """

    def __init__(self) -> None:
        self._batches: dict[int, bool] = {}
        self._files: dict[int, bool] = {}
        self._seen: list[tuple[npt.NDArray[np.bool_], Ints64, Ints64]] = []

    def see(self, window: AchFiles) -> None:
        """Take a window's entries, batches and files."""
        entries, batches, files = window.entries, window.batches, window.files
        self._batches.update(zip(batches.ordinal.tolist(), batches.valid.tolist(), strict=True))
        self._files.update(zip(files.ordinal.tolist(), files.valid.tolist(), strict=True))
        batch = _ordinals(batches.ordinal, entries.batch)
        file_of_batch = _ordinals(files.ordinal, batches.file)
        file = np.append(file_of_batch, -1)[entries.batch]
        self._seen.append((entries.valid.copy(), batch, file))

    def valid(self) -> Iterator[npt.NDArray[np.bool_]]:
        """Per window: entry, batch and file are all valid."""
        batches, files = _as_array(self._batches), _as_array(self._files)
        for valid, batch, file in self._seen:
            yield valid & batches[batch] & files[file]


class _X12Reader:
    """Windows of an X12 input into items."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._envelopes = _Envelopes(items.profiles)

    def windows(self, content: Content) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        items = self._items
        for window in iter_835(content.input):
            transactions = window.transactions
            base = window.window_offset
            _keep(
                items,
                window,
                RemittanceColumns.from_tables(window),
                self._envelopes,
                start=transactions.offset.astype(np.int64) + base,
                stop=transactions.end.astype(np.int64) + base,
                ordinal=transactions.ordinal.astype(np.int32),
            )
            _count(items, window)
            assert items.findings is not None
            x12_findings(items.findings, items.finding_counts, items.source.name, window)
            yield base + len(window.source)

    def finish(self) -> None:
        _set_verdicts(self._items, self._envelopes)


class _AchReader:
    """Windows of an ACH input into items: entries are payments, the 835s in their addenda
    remittances.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._payload_verdicts: list[npt.NDArray[np.uint8]] = []
        self._verdicts = _BatchVerdicts()
        self._payment_count = 0
        self._remittance_count = 0

    def windows(self, content: Content) -> Iterator[int]:
        """Read all windows; yields the byte up to which the input was read."""
        items = self._items
        for window in iter_ach(content.input):
            items.payments.append(PaymentColumns.from_tables(window).compact())
            items.payment_ordinals.append(window.entries.ordinal.astype(np.int32))
            self._verdicts.see(window)
            self._keep_payloads(window)
            assert items.findings is not None
            ach_findings(items.findings, items.finding_counts, items.source.name, window)
            self._payment_count += len(window.entries)
            yield window.window_offset + len(window.source)

    def _keep_payloads(self, window: AchFiles) -> None:
        remittances = window.remittances
        count = len(remittances.transactions)
        ordinal = np.arange(self._remittance_count, self._remittance_count + count, dtype=np.int32)
        # A payload lies whole in its window, so its envelopes end there too: their numbers need not
        # be file-wide.
        envelopes = _Envelopes(self._items.profiles)
        _keep(
            self._items,
            remittances,
            RemittanceColumns.from_ach(window, payment_base=self._payment_count),
            envelopes,
            start=ordinal.astype(np.int64),
            stop=ordinal.astype(np.int64) + 1,
            ordinal=ordinal,
        )
        self._payload_verdicts += list(envelopes.verdicts())
        self._remittance_count += count
        _count(self._items, remittances)
        assert self._items.findings is not None
        payload_findings(
            self._items.findings, self._items.finding_counts, self._items.source.name, window
        )

    def finish(self) -> None:
        for rows, verdicts in zip(self._items.remittance_rows, self._payload_verdicts, strict=True):
            rows.checks |= verdicts
        self._items.payment_valid += self._verdicts.valid()


def _keep(
    items: Items,
    window: Remittances,
    columns: RemittanceColumns,
    envelopes: _Envelopes,
    *,
    start: Ints64,
    stop: Ints64,
    ordinal: Ints32,
) -> None:
    """Keep a window's remittances, free of the window's own memory."""
    transactions = window.transactions
    items.remittances.append(columns.compact())
    checks = np.where(transactions.valid, OWN_VALID, 0) | np.where(
        transactions.balanced, BALANCED, 0
    )
    items.remittance_rows.append(
        RemittanceRows(
            ordinal=ordinal,
            start=start,
            stop=stop,
            profile=envelopes.see(window),
            checks=checks.astype(np.uint8),
            claims=(transactions.claim_stop.astype(np.int64) - transactions.claim_start).astype(
                np.int32
            ),
            control=transactions.control_number.compact(),
        )
    )


def _set_verdicts(items: Items, envelopes: _Envelopes) -> None:
    for rows, verdicts in zip(items.remittance_rows, envelopes.verdicts(), strict=True):
        rows.checks |= verdicts


def _count(items: Items, window: Remittances) -> None:
    items.claim_count += len(window.claims)
    items.service_count += len(window.services)
    items.other_transaction_count += len(window.skipped)
