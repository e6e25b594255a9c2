"""The generator: a folder with 835s, ACH files and the truth about them.

    generate_feed(Path("feed"), FeedOptions(payments=10_000, seed=7, defects=True))

    feed/835/<day>/<sender>-0001.835    remittances, each sender in its own way of writing X12
    feed/ach/<day>/BANK<routing>-0001.ach
    feed/truth.csv                      which belongs to which; one side is empty for what has no partner

The same options give the same bytes on every machine. Memory does not grow with the size of the feed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from reassoc.core.errors import ReassocError
from reassoc.loadtest.ach_files import PaymentFiles
from reassoc.loadtest.claims import build_pool
from reassoc.loadtest.dates import banking_days, to_days
from reassoc.loadtest.defects import DEFECTS, plan_rates
from reassoc.loadtest.model import Chunk
from reassoc.loadtest.plan import CTX_PER_MILLE, Counters, Planner
from reassoc.loadtest.remittances import RemittanceFiles
from reassoc.loadtest.world import build_world

PAYMENTS_MAX = 50_000_000
CLAIMS_MEAN_MAX = 10_000
DAYS_MAX = 366
CHUNK_BYTES = 32 << 20
CHUNK_PAYMENTS_MAX = 8192
START_DATE = date(2026, 3, 16)
TRUTH_HEADER = "remit_file,remit_ordinal,payment_file,payment_ordinal,payment_trace,case"
TRUTH_NAME = "truth.csv"

_CLAIM_BYTES = 460
_REMITTANCE_BYTES = 700

Progress = Callable[[int, int], None]
"""Called after each chunk with payments done and bytes written so far."""


class FeedError(ReassocError):
    """A feed cannot be made as asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What to make.

    payments : int          cases, 1 .. PAYMENTS_MAX; most are one 835 and one ACH entry
    claims : float          mean number of claims per remittance, 1 .. CLAIMS_MEAN_MAX
    defects, rates_ppm      see `plan_rates`: default cases on or off, and cases with a rate of their own (per million)
    days : int              banking days that the payments spread over
    one_file : bool         one 835 file, `~` as its only terminator, and one ACH file
    ctx_per_mille : int     share of clean payments that are CTX with the 835 inside
    """

    payments: int
    seed: int = 0
    claims: float = 16.0
    defects: bool = False
    rates_ppm: Mapping[str, int] = field(default_factory=dict)
    start_date: date = START_DATE
    days: int = 5
    one_file: bool = False
    ctx_per_mille: int = CTX_PER_MILLE

    def check(self) -> None:
        """Raise FeedError where a value is out of its range."""
        for name, low, high in (
            ("payments", 1, PAYMENTS_MAX),
            ("seed", 0, 2**63 - 1),
            ("claims", 1, CLAIMS_MEAN_MAX),
            ("days", 1, DAYS_MAX),
            ("ctx_per_mille", 0, 1000),
        ):
            if not low <= getattr(self, name) <= high:
                raise FeedError(f"{name} must be between {low} and {high}")
        if not 1971 <= self.start_date.year <= 2090:
            raise FeedError("start_date must be between 1971 and 2090")


@dataclass(slots=True)
class FeedSummary:
    """What was made. `cases` counts rows of the truth by case; `paid_cents` sums the 835s, `entry_cents` the entries."""

    remittance_files: int = 0
    payment_files: int = 0
    remittances: int = 0
    payments: int = 0
    claims: int = 0
    paid_cents: int = 0
    entry_cents: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cases: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        return asdict(self)


class _Folder:
    """A folder that appears whole, under its name, or not at all. Keeps the file it writes to open."""

    def __init__(self, out: Path) -> None:
        self._out = out.resolve()
        self._work = self._out.parent / f".{self._out.name}.{os.getpid()}.partial"
        self._file: BinaryIO | None = None
        self._open_name = ""
        self.bytes_written = 0
        self.names: set[str] = set()

    def __enter__(self) -> _Folder:
        if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
            raise FeedError(
                f"{self._out} is not an empty folder: name a new one, a feed is never mixed with other files"
            )
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._work.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._close()
        try:
            if kind is None:
                os.replace(self._work, self._out)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def put(self, name: str, data: bytes) -> None:
        """Append to the named file; a name not seen before makes a new file."""
        if name != self._open_name or self._file is None:
            self._close()
            path = self._work / name
            if name not in self.names:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.names.add(name)
            self._file = path.open("ab")
            self._open_name = name
        self._file.write(data)
        self.bytes_written += len(data)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def generate_feed(out: Path, options: FeedOptions, progress: Progress | None = None) -> FeedSummary:
    """Write a feed into `out`, which must not exist or be empty; it appears whole or not at all.

    Raises FeedError for options out of range or an output folder with something in it. O(bytes written).
    """
    options.check()
    try:
        rates_ppm = plan_rates(options.defects, options.rates_ppm)
    except ValueError as fault:
        raise FeedError(str(fault)) from None
    started = time.perf_counter()
    first_day = to_days(options.start_date)
    planner = Planner(
        seed=options.seed,
        world=build_world(options.seed, options.payments),
        pool=build_pool(options.seed, int(options.payments * options.claims), first_day),
        claims_mean_milli=round(options.claims * 1000),
        defects=DEFECTS,
        rates_ppm=rates_ppm,
        ctx_per_mille=options.ctx_per_mille,
    )
    with _Folder(out) as folder:
        summary = _write_chunks(folder, planner, options, progress)
        summary.bytes = folder.bytes_written
    summary.seconds = time.perf_counter() - started
    return summary


def _write_chunks(
    folder: _Folder, planner: Planner, options: FeedOptions, progress: Progress | None
) -> FeedSummary:
    counters = Counters(payer_traces=[1] * len(planner.world.payers))
    remittances = RemittanceFiles(
        options.seed, counters, folder.put, "remittances.835" if options.one_file else ""
    )
    payments = PaymentFiles(
        options.seed, counters, folder.put, "payments.ach" if options.one_file else ""
    )
    summary, cases = FeedSummary(), Counter[str]()
    truth = _Truth(folder)
    done = 0
    for number, (day, count) in enumerate(_chunks(options)):
        chunk = planner.plan(number, day, count, counters)
        remittances.write(chunk, number)
        payments.write(chunk, number)
        truth.add(chunk)
        _count(summary, cases, chunk)
        done += count
        if progress is not None:
            progress(done, folder.bytes_written)
    payments.close()
    summary.remittance_files = sum(name.endswith(".835") for name in folder.names)
    summary.payment_files = sum(name.endswith(".ach") for name in folder.names)
    summary.cases = dict(sorted(cases.items()))
    return summary


def _chunks(options: FeedOptions) -> list[tuple[int, int]]:
    """Days and numbers of payments: each banking day gets its share, in runs that fit in memory."""
    expected = int(options.claims * _CLAIM_BYTES) + _REMITTANCE_BYTES
    limit = max(1, min(CHUNK_PAYMENTS_MAX, CHUNK_BYTES // expected))
    runs: list[tuple[int, int]] = []
    for index, day in enumerate(banking_days(to_days(options.start_date), options.days)):
        left = (
            options.payments * (index + 1) // options.days
            - options.payments * index // options.days
        )
        while left:
            count = min(left, limit)
            runs.append((day, count))
            left -= count
    return runs


class _Truth:
    """truth.csv: rows go out with their chunk."""

    def __init__(self, folder: _Folder) -> None:
        self._put = folder.put
        self._put(TRUTH_NAME, f"{TRUTH_HEADER}\n".encode("ascii"))

    def add(self, chunk: Chunk) -> None:
        """Write the rows of a chunk whose items have been written."""
        rows: list[str] = []
        for link in chunk.links:
            remittance, payment = link.remittance, link.payment
            left = f"{remittance.file},{remittance.ordinal}" if remittance is not None else ","
            right = (
                f"{payment.file},{payment.ordinal},{payment.trace}" if payment is not None else ",,"
            )
            rows.append(f"{left},{right},{link.case}\n")
        self._put(TRUTH_NAME, "".join(rows).encode("ascii"))


def _count(summary: FeedSummary, cases: Counter[str], chunk: Chunk) -> None:
    for link in chunk.links:
        cases[link.case] += 1
        if link.remittance is not None:
            summary.remittances += 1
            summary.claims += link.remittance.claims
            summary.paid_cents += link.remittance.paid_cents
        if link.payment is not None:
            summary.payments += 1
            summary.entry_cents += link.payment.amount_cents
