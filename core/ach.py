"""ACH (NACHA) files as columns: `read_ach` for what fits in memory, `iter_ach` for what does not.

What is wrong with a file is a finding (errors.FindingCode), and one bad record costs only itself;
an exception means that the caller erred or that the input is no ACH at all. The 835s that CTX
entries carry come with the result.

The columns' docs name record and columns (1-based) of each field. Rules: Nacha's record layouts;
for the TRN in the addenda of a CCD+, CORE 370 and the forms that banks really deliver (TrnForm).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reassoc.core._nacha import AchReader, find_trn
from reassoc.core.columns import Source, Table, TakenColumn, TextColumn, build_table
from reassoc.core.errors import FindingCode, LimitError, ParseError, describe, severity
from reassoc.core.windows import Buffer, bytes_view, open_windows
from reassoc.core.x12_835 import Remittances, read_835_ranges

WINDOW_BYTES = 8 << 20
"""Window of iter_ach unless told otherwise."""

BUFFER_BYTES_MAX = 2**32 - 1
"""A result's offsets are uint32: larger inputs are walked with iter_ach."""

ENTRY_BYTES_MAX = 2 << 20
"""An entry with its addenda is never cut by a window; a longer one ends there (_ach_state.h)."""


class EntryKind(IntEnum):
    """What an entry is, by its transaction code and addenda."""

    OTHER = 0
    CREDIT = 1
    DEBIT = 2
    PRENOTE = 3
    ZERO_DOLLAR = 4
    RETURN = 5
    NOTIFICATION = 6


class TrnForm(IntEnum):
    """How the TRN was written in the addenda. UNCERTAIN gives no trace."""

    NONE = 0
    BACKSLASH = 1
    """`TRN*1*n*p\\`"""
    TILDE = 2
    """`TRN*1*n*p~`"""
    UNTERMINATED = 3
    """`TRN*1*n*p`"""
    EMBEDDED = 4
    """other text before or after it"""
    OTHER_SEPARATOR = 5
    """`TRN|1|n|p`, or another byte than `\\` and `~` at its end"""
    DOUBLED = 6
    """`TRN*1*TRN*1*n*p`"""
    NAME_GLUED = 7
    """`TRN*1*SomePayer00123*p`: the digits are the trace"""
    PREFIX_DAMAGED = 8
    """`TRN1*n*p`, `TRN:*1*n*p`, `TRN*n*p`"""
    LABELLED = 9
    """`TRN# n`, `TRN02 = n`"""
    PREFIX_MISSING = 10
    """`*1*n*p`, where p is a payer's ten digits"""
    PAYLOAD = 11
    """from the X12 that the addenda of a CTX carry"""
    UNCERTAIN = 12
    """something like a TRN, but it is not sure what its trace is; or several that differ"""


class ReturnForm(IntEnum):
    """Which layout an addenda 98 or 99 has."""

    RETURN = 0
    DISHONORED = 1
    CONTESTED = 2
    CHANGE = 3
    CHANGE_REFUSED = 4


class AchFiles:
    """Everything that was read in one window of an input (or in the whole of it).

    source : memoryview        what `offset` columns and texts of entries and addenda point into
    window_offset : int        position of source[0] in the input

    Tables, one row a thing: files (records 1 and 9), batches (5 and 8), entries (6), addenda (7),
    returns (addenda 98 and 99 field by field), payloads (the joined addenda of CTX entries) and
    findings. A table is made of its columns when it is first looked at, in O(1), but for CTX: their
    traces are put into `entries` in O(text).

    payload_bytes : memoryview             what payloads' ranges point into
    payload_entries : int32[k]             row in entries of range k of `remittances`
    remittances : Remittances              the 835s found in the payloads, by transactions.range
    """

    def __init__(
        self, source: Source, window_offset: int, taken: dict[str, list[TakenColumn]]
    ) -> None:
        self.source = memoryview(source)
        self.window_offset = window_offset
        self._taken = taken
        self._headers = _bytes_of(taken["headers"])
        self.payload_bytes = _bytes_of(taken["payload_bytes"])
        rows = np.flatnonzero(self.payloads.x12)
        self.payload_entries: npt.NDArray[np.int32] = self.payloads.entry[rows]
        self.remittances: Remittances = read_835_ranges(
            self.payload_bytes,
            self.payloads.start[rows].astype(np.int64),
            self.payloads.stop[rows].astype(np.int64),
        )

    @cached_property
    def files(self) -> Table:
        """Records 1 and 9; one row per file that the window touches."""
        return build_table("files", self._taken["files"], self._headers)

    @cached_property
    def batches(self) -> Table:
        """Records 5 and 8; one row per batch that the window touches."""
        return build_table("batches", self._taken["batches"], self._headers)

    @cached_property
    def addenda(self) -> Table:
        """Records 7, but those of IAT and ADV batches."""
        return build_table("addenda", self._taken["addenda"], self.source)

    @cached_property
    def returns(self) -> Table:
        """Addenda 98 and 99, field by field."""
        return build_table("returns", self._taken["returns"], self.source)

    @cached_property
    def payloads(self) -> Table:
        """The joined addenda of CTX entries; its texts lie in payload_bytes."""
        return build_table("payloads", self._taken["payloads"], self.payload_bytes)

    @cached_property
    def findings(self) -> Table:
        """What is wrong, with `severity` beside the code."""
        table = build_table("findings", self._taken["findings"], b"")
        columns = {name: table[name] for name in table.names} | {
            "severity": _SEVERITIES[table.code]
        }
        doc = "errors.Severity: 0 info, 1 warning, 2 error"
        return Table(
            "findings",
            columns,
            {**table.kinds, "severity": "uint8"},
            {**table.docs, "severity": doc},
        )

    @cached_property
    def entries(self) -> Table:
        """Records 6, but those of IAT and ADV batches, with what their addenda say."""
        table = build_table("entries", self._taken["entries"], self.source)
        columns: dict[str, Any] = {name: table[name] for name in table.names}
        if len(self.payloads):
            self._add_payload_traces(columns)
        kinds, docs = dict(table.kinds), dict(table.docs)
        for name, kind, dtype, doc in _RETURN_COLUMNS:
            columns[name] = np.zeros(len(table), dtype)
            kinds[name], docs[name] = kind, doc
        returns = self.returns
        columns["return_code"][returns.entry] = returns.code
        columns["original_trace_number"][returns.entry] = returns.original_trace_number
        columns["original_rdfi"][returns.entry] = returns.original_rdfi
        return Table("entries", columns, kinds, docs)

    def message(self, finding: int) -> str:
        """One finding as text: code, place, what is wrong. It holds no value of the file."""
        row = self.findings.row(finding)
        code = FindingCode(row["code"])
        place = [f"byte {row['file_offset']}", f"record {row['record_number']}"]
        if row["record_type"]:
            place.append(
                f"type {row['record_type']}"
                + (f" column {row['position']}" if row["position"] else "")
            )
        if row["length"] and code is FindingCode.ACH_RECORD_SHORT:
            place.append(f"{row['length']} bytes")
        return f"{code.name} at {', '.join(place)}: {describe(code)}"

    def _add_payload_traces(self, columns: dict[str, Any]) -> None:
        """Put the TRN of each payload into its entry: the X12's, or what other text holds."""
        rows, forms, texts = _payload_traces(self)
        form = np.array(columns["trn_form"], np.uint8)
        form[rows] = forms
        columns["trn_form"] = form
        for name, found in zip(("trace", "payer_id", "trace_supplement"), texts, strict=True):
            plain = columns[name]
            assert isinstance(plain, TextColumn)
            both = TextColumn.concat([plain, found])
            refs = both.refs[: len(plain)]
            refs[rows] = both.refs[len(plain) :]
            columns[name] = TextColumn(both.source, refs)

    def __repr__(self) -> str:
        counts = f"{len(self.batches)} batches, {len(self.entries)} entries"
        return f"<AchFiles: {counts}, {len(self.findings)} findings>"


_RETURN_COLUMNS = (
    ("return_code", "code4", "S4", "addenda 98 or 99, 4-6; empty for other entries"),
    (
        "original_trace_number",
        "int64",
        "<i8",
        "addenda 98 or 99, 7-21; 0 for other entries, -1 where it is no number",
    ),
    (
        "original_rdfi",
        "int32",
        "<i4",
        "addenda 98 or 99, 28-35; 0 for other entries, -1 where it is no number",
    ),
)

_SEVERITIES = np.zeros(1 << 12, np.uint8)
for _code in FindingCode:
    _SEVERITIES[_code] = severity(_code)

_Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8], list[TextColumn]]


def _bytes_of(taken: list[TakenColumn]) -> memoryview:
    return memoryview(build_table("bytes", taken, b"").data)


def _payload_traces(ach: AchFiles) -> _Found:
    """(rows in entries, TrnForm, [trace, payer_id, supplement]) of every payload."""
    payloads = ach.payloads
    forms = payloads.trn_form.copy()
    refs = [
        getattr(payloads, name).refs.copy() for name in ("trace", "payer_id", "trace_supplement")
    ]
    ranges, found = _x12_traces(ach.remittances)
    unique, first, counts = np.unique(ranges, return_index=True, return_counts=True)
    place = np.flatnonzero(payloads.x12)[unique]
    forms[place] = TrnForm.PAYLOAD
    for target, source in zip(refs, found, strict=True):
        target[place] = source[first]
    texts = TextColumn(ach.payload_bytes, found[0])
    for row, start, count in zip(place.tolist(), first.tolist(), counts.tolist(), strict=True):
        # Several transaction sets in one payload with different traces: which is paid is not known.
        if count > 1 and len({texts.raw(start + i) for i in range(count)}) > 1:
            forms[row] = TrnForm.UNCERTAIN
            for target in refs:
                target[row] = 0
    return payloads.entry, forms, [TextColumn(ach.payload_bytes, ref) for ref in refs]


def _x12_traces(
    remittances: Remittances,
) -> tuple[npt.NDArray[np.int32], list[npt.NDArray[np.uint32]]]:
    """Range and text references of every transaction set with a trace, ordered by range."""
    paid, other = remittances.transactions, remittances.skipped
    ranges = np.concatenate([paid.range, other.range])
    nothing = np.zeros((len(other), 2), np.uint32)
    refs = [
        np.concatenate([paid.trace.refs, other.trace.refs]),
        np.concatenate([paid.payer_id.refs, other.payer_id.refs]),
        np.concatenate([paid.trace_supplement.refs, nothing]),
    ]
    order = np.argsort(ranges, kind="stable")
    order = order[refs[0][order, 1] > 0]
    return ranges[order], [ref[order] for ref in refs]


def read_ach(buffer: Buffer) -> AchFiles:
    """Read a whole input that lies in memory (or is mapped).

    buffer : bytes, bytearray, memoryview, mmap ...
        contiguous, any alignment, read-only or not, under 4 GiB; it must not change while the
        result is in use, for texts lie in it

    Raises ParseError ACH_NO_RECORDS where no record can be told, LimitError for a buffer of 4 GiB
    or more (use iter_ach). O(n); the GIL is released while records are read.
    """
    return _read_whole(buffer, portable=False)


def _read_whole(buffer: Buffer, *, portable: bool) -> AchFiles:
    view = bytes_view(buffer)
    if len(view) > BUFFER_BYTES_MAX:
        raise LimitError(
            f"BUFFER_BYTES_MAX: {len(view)} bytes are read with iter_ach, not read_ach"
        )
    reader = AchReader(portable=portable)
    reader.read(view, 0, True)
    if not reader.plausible:
        raise _no_ach(len(view))
    return AchFiles(view, 0, reader.take())


def iter_ach(source: Buffer | IO[bytes], *, window_bytes: int = WINDOW_BYTES) -> Iterator[AchFiles]:
    """Walk an input of any size in windows that are cut between entries.

    source : buffer or binary file
        a buffer (an mmap of a large file, say) is not copied; a file is read once, in order
    window_bytes : int
        a window grows only to hold one whole entry with its addenda (ENTRY_BYTES_MAX)

    Yields AchFiles, each with the rows of its window; `offset` columns count from its source[0],
    which lies at window_offset in the input. Files and batches that go on appear once in each
    window that they touch, with the same `ordinal`; `closed`, `valid` and the counts are final in
    the window where they end. Together the windows hold what read_ach of the whole holds. Raises as
    read_ach. Memory: the window and its columns, whatever the size of the input.
    """
    if not 1 <= window_bytes <= BUFFER_BYTES_MAX // 2:
        raise ValueError(f"window_bytes must be 1 to {BUFFER_BYTES_MAX // 2}, not {window_bytes}")
    windows = open_windows(source)
    reader = AchReader()
    wanted = window_bytes
    while True:
        window, final = windows.window(wanted)
        done = reader.read(window, windows.offset, final)
        if final and not reader.plausible:
            raise _no_ach(windows.offset + len(window))
        taken = reader.take()
        if done == 0 and not final:
            wanted *= 2
            continue
        yield AchFiles(window, windows.offset, taken)
        if final:
            return
        windows.take(done)
        wanted = window_bytes


def _no_ach(size: int) -> ParseError:
    return ParseError(
        FindingCode.ACH_NO_RECORDS, 0, f"no ACH record in {size} bytes: this is no ACH file"
    )


def trn_of(text: bytes) -> tuple[TrnForm, str, str, str]:
    """Find the TRN in the text of an addenda: (form, TRN02, TRN03, TRN04), empty where not there.

    The text is at most 4096 bytes (ValueError beyond). For bank reports too, which carry the
    addenda in their memo lines.
    """
    form, *spans = find_trn(text)
    trace, payer_id, supplement = (text[start:stop].decode("latin-1") for start, stop in spans)
    return TrnForm(form), trace, payer_id, supplement
