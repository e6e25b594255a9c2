"""X12 835 files as columns: `read_835` for what fits in memory, `iter_835` for what does not.

What is wrong with a file is a finding (errors.FindingCode), and one bad transaction costs only
itself; an exception means that the caller erred or that the input is no X12 at all. Segments
without columns of their own are reachable by byte range: `Remittances.segments`.

The rules behind the columns are those of 005010X221A1 (and 004010X091A1); each column's doc names
its element.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from reassoc.core._x12scan import X12Scanner, severity_of
from reassoc.core.columns import Source, Table, TakenColumn, build_table
from reassoc.core.errors import FindingCode, LimitError, ParseError, describe
from reassoc.core.windows import Buffer, bytes_view, open_windows

WINDOW_BYTES = 8 << 20
"""Window of iter_835 unless told otherwise: large enough that the cost of a window vanishes, small
enough for caches."""

TRANSACTION_BYTES_MAX = 256 << 20
"""A transaction set larger than this is given up with X12_TRANSACTION_TOO_LARGE; it bounds the
memory of iter_835."""

_TABLES_OF_ENVELOPES = frozenset({"interchanges", "groups"})


class Remittances:
    """Everything that a scan found in one window of a file (or in the whole of it).

    source : memoryview        the bytes that text columns and `offset` columns point into
    window_offset : int        position of source[0] in the file

    Tables, one row a thing: interchanges, groups, transactions (one 835, ST to SE), skipped (other
    transaction sets), claims, services, adjustments (CAS), provider_adjustments (PLB), references
    (REF), dates (DTM), amounts (AMT), quantities (QTY), remarks (LQ, MIA, MOA), entities (N1, NM1),
    addresses, contacts, deliveries, headers (LX), summaries (TS3, TS2, MIA, MOA) and findings. A
    table is made of its columns when it is first looked at, in O(1).
    """

    interchanges: Table
    groups: Table
    transactions: Table
    skipped: Table
    claims: Table
    services: Table
    adjustments: Table
    provider_adjustments: Table
    references: Table
    dates: Table
    amounts: Table
    quantities: Table
    remarks: Table
    entities: Table
    addresses: Table
    contacts: Table
    deliveries: Table
    headers: Table
    summaries: Table
    findings: Table

    def __init__(
        self,
        source: Source,
        window_offset: int,
        taken: dict[str, list[TakenColumn]],
        envelopes: bytes,
    ) -> None:
        self.source = memoryview(source)
        self.window_offset = window_offset
        self._taken = taken
        self._envelopes = envelopes

    def __getattr__(self, name: str) -> Table:
        taken = self.__dict__.get("_taken", {}).get(name)
        if taken is None:
            raise AttributeError(
                f"no table {name!r}; there are {', '.join(self.__dict__.get('_taken', {}))}"
            )
        source = self._envelopes if name in _TABLES_OF_ENVELOPES else self.source
        table = build_table(name, taken, source)
        if name == "findings":
            table = _with_severity(table)
        self.__dict__[name] = table
        return table

    @property
    def table_names(self) -> list[str]:
        """Names of all tables, in the order of the list above."""
        return list(self._taken)

    def segments(self, transaction: int) -> Iterator[tuple[int, bytes]]:
        """Every segment of one 835, ST to SE, as (offset in the file, bytes without the
        terminator).

        Also those that no column holds. Raises IndexError for a row that is none. O(bytes of the
        transaction).
        """
        table = self.transactions
        start, end = int(table.offset[transaction]), int(table.end[transaction])
        interchange = int(table.interchange[transaction])
        terminator = bytes([int(self.interchanges.segment_terminator[interchange])])
        for part in bytes(self.source[start:end]).split(terminator):
            segment = part.lstrip(b"\r\n \t\0\x1a")
            if segment:
                yield self.window_offset + start + len(part) - len(segment), segment
            start += len(part) + 1

    def message(self, finding: int) -> str:
        """One finding as text: code, place, what is wrong. It holds no value of the file."""
        row = self.findings.row(finding)
        code = FindingCode(row["code"])
        place = [f"byte {row['file_offset']}"]
        if row["transaction"] >= 0:
            place.append(
                f"835 {int(self.transactions.ordinal[row['transaction']])}, "
                f"segment {row['segment_ordinal']}"
            )
        if row["segment"]:
            place.append(row["segment"] + (f"{row['element']:02}" if row["element"] else ""))
        return f"{code.name} at {', '.join(place)}: {describe(code)}"

    def __repr__(self) -> str:
        counts = (len(self.transactions), len(self.claims), len(self.findings))
        return "<Remittances: {} 835s, {} claims, {} findings>".format(*counts)


_SEVERITIES = np.zeros(1 << 16, np.uint8)
for _code in FindingCode:
    _SEVERITIES[_code] = severity_of(_code)


def _with_severity(findings: Table) -> Table:
    """Findings in the order of their places, each with its severity."""
    ordered = findings.take(np.argsort(findings.file_offset, kind="stable"))
    columns = {name: ordered[name] for name in ordered.names}
    columns["severity"] = _SEVERITIES[ordered.code]
    return Table(
        "findings",
        columns,
        {**findings.kinds, "severity": "uint8"},
        {**findings.docs, "severity": "errors.Severity: 0 info, 1 warning, 2 error"},
    )


def read_835(buffer: Buffer, *, kernel: str | None = None) -> Remittances:
    """Read a whole file that lies in memory (or is mapped).

    buffer : Buffer         bytes, bytearray, memoryview, mmap ...: contiguous, any alignment,
                            read-only or not, under 4 GiB; texts lie in it, so it must not change
                            while the result is in use
    kernel : str or None    forces a delimiter kernel; None takes the fastest of this machine

    Returns Remittances. Raises ParseError X12_NO_SEGMENTS where there is no ISA, GS or ST at all,
    LimitError for a buffer of 4 GiB or more (use iter_835). O(n); the GIL is released while it
    scans.
    """
    view = bytes_view(buffer)
    scanner = X12Scanner(kernel=kernel)
    _, taken, envelopes = scanner.scan(view, 0, True)
    if not scanner.header_found:
        raise _no_x12(len(view))
    return Remittances(view, 0, taken, envelopes)


def read_835_ranges(
    buffer: Buffer,
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    *,
    kernel: str | None = None,
) -> Remittances:
    """Read many independent inputs that lie in one buffer, such as the payloads of CTX entries.

    starts, stops : int64[k]    input i is buffer[starts[i]:stops[i]]; what is wrong with one
                                touches no other

    Returns one Remittances; the `range` column of transactions, skipped and findings is i. An input
    that is no X12 has no rows. Raises ValueError for a range outside the buffer, LimitError as
    read_835. O(sum of lengths).
    """
    view = bytes_view(buffer)
    scanner = X12Scanner(kernel=kernel)
    _, taken, envelopes = scanner.scan_ranges(
        view, np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(stops, np.int64)
    )
    return Remittances(view, 0, taken, envelopes)


def iter_835(
    source: Buffer,
    *,
    window_bytes: int = WINDOW_BYTES,
    transaction_bytes_max: int = TRANSACTION_BYTES_MAX,
    kernel: str | None = None,
) -> Iterator[Remittances]:
    """Walk a file of any size in windows that are cut at transaction ends.

    source : buffer or binary file    a buffer (an mmap of a large file, say) is not copied; a file
                                      is read once, in order
    window_bytes : int                a window grows only to hold one whole transaction set, to
                                      transaction_bytes_max

    Yields Remittances, each with the rows of its window; `offset` and `end` count from its
    source[0], which lies at window_offset in the file. Interchanges and groups that go on appear
    once in each window that they touch, with the same `ordinal`; `closed` and `valid` are final in
    the window where they end. Together the windows hold what read_835 of the whole holds. Raises as
    read_835. Memory: the window and its columns, whatever the size of the file.
    """
    if window_bytes < 1:
        raise ValueError(f"window_bytes must be positive, not {window_bytes}")
    largest = max(window_bytes, transaction_bytes_max)
    windows = open_windows(source)
    scanner = X12Scanner(kernel=kernel)
    wanted = window_bytes
    while True:
        window, final = windows.window(wanted)
        at_limit = wanted >= largest
        consumed, taken, envelopes = scanner.scan(window, windows.offset, final, at_limit)
        if final and not scanner.header_found:
            raise _no_x12(windows.offset + len(window))
        if consumed == 0 and not final:
            if at_limit:
                raise LimitError(
                    f"TRANSACTION_BYTES_MAX: no segment ends in {largest} bytes "
                    f"at byte {windows.offset}; raise the limit"
                )
            wanted = min(wanted * 2, largest)
            continue
        yield Remittances(window, windows.offset, taken, envelopes)
        if final:
            return
        windows.take(consumed)
        wanted = window_bytes


def _no_x12(size: int) -> ParseError:
    return ParseError(
        FindingCode.X12_NO_SEGMENTS, 0, f"no ISA, GS or ST in {size} bytes: this is no X12 file"
    )
