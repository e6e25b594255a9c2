"""The generator: a folder with 835s, ACH files and the truth about them.

    generate_feed(Path("feed"), FeedOptions(payments=10_000, seed=7, defects=True))

    feed/835/<day>/<sender>-0001.835    remittances, each sender in its own way of writing X12
    feed/ach/<day>/BANK<routing>-0001.ach    what a receiving bank gets
    feed/ach/<day>/RETURNS<routing>-0001.ach what it sends back
    feed/bank/<day>/PRIORDAY<routing>-0001.bai2, INTRADAY...
    feed/lockbox/<day>/BOX<routing>-0001.csv, with lockbox.layout.toml
    feed/directory.toml                 payees and payers
    feed/truth.csv                      what belongs together; one side may be empty

The same options give the same bytes on every machine. Memory does not grow with the size of the
feed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from reassoc.loadtest.ach_files import PaymentFiles
from reassoc.loadtest.bank_files import BankFiles, report_payments
from reassoc.loadtest.claims import build_pool
from reassoc.loadtest.dates import banking_days, roll_forward, to_days
from reassoc.loadtest.defects import DEFECTS, PROFILES, plan_rates
from reassoc.loadtest.directory_file import (
    DIRECTORY_NAME,
    TENANTS,
    TENANTS_MAX,
    directory_text,
)
from reassoc.loadtest.lockbox_files import LockboxFiles
from reassoc.loadtest.model import BankLine, Chunk, Item, ListedCheck, Remittance
from reassoc.loadtest.plan import CTX_PER_MILLE, Counters, Planner
from reassoc.loadtest.remittances import RemittanceFiles
from reassoc.loadtest.truth import Truth
from reassoc.loadtest.world import build_world
from reassoc.loadtest.write import FeedError, Folder, single_file

PAYMENTS_MAX = 20_000_000
CLAIMS_MEAN_MAX = 10_000
DAYS_MAX = 366
REPORTED_PER_MILLE = 60
CHUNK_BYTES = 32 << 20
CHUNK_PAYMENTS_MAX = 8192
START_DATE = date(2026, 3, 16)

_CLAIM_BYTES = 460
_REMITTANCE_BYTES = 700

Progress = Callable[[int, int], None]
"""Called after each chunk with payments done and bytes written so far."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What to make.

    payments : int       cases, 1 .. PAYMENTS_MAX; most are one 835 and one ACH entry
    claims : float       mean number of claims per remittance, 1 .. CLAIMS_MEAN_MAX
    defects : bool       with every case at its default rate: the profile "default"
    profile : str        of defects.PROFILES; "" is "default" with `defects` and else "clean"
    rates_ppm            cases with a rate of their own, per million payments (see `plan_rates`)
    days : int           banking days that the payments spread over
    one_file : bool      one 835 file, `~` as its only terminator, and one ACH file
    ctx_per_mille : int  share of clean payments that are CTX with the 835 inside
    directory : bool     write directory.toml, and let cases rest on it
    reported_per_mille : int   accounts whose entries the bank reports, too; -1 stands for
                               REPORTED_PER_MILLE in feeds with defects, for none in clean ones
    tenants : int        of the directory, 1 .. TENANTS_MAX; no more than payees have any
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
    profile: str = ""
    directory: bool = True
    reported_per_mille: int = -1
    tenants: int = len(TENANTS)

    @property
    def profile_name(self) -> str:
        """The profile that is meant."""
        return self.profile or ("default" if self.defects else "clean")

    @property
    def accounts_reported_per_mille(self) -> int:
        """The share of accounts that is meant."""
        if self.reported_per_mille >= 0:
            return self.reported_per_mille
        return 0 if self.profile_name == "clean" else REPORTED_PER_MILLE

    def check(self) -> None:
        """Raise FeedError where a value is out of its range."""
        for name, low, high in (
            ("payments", 1, PAYMENTS_MAX),
            ("seed", 0, 2**63 - 1),
            ("claims", 1, CLAIMS_MEAN_MAX),
            ("days", 1, DAYS_MAX),
            ("ctx_per_mille", 0, 1000),
            ("reported_per_mille", -1, 1000),
            ("tenants", 1, TENANTS_MAX),
        ):
            if not low <= getattr(self, name) <= high:
                raise FeedError(f"{name} must be between {low} and {high}")
        if self.profile_name not in PROFILES:
            raise FeedError(f"profile must be one of {', '.join(PROFILES)}")
        if not 1971 <= self.start_date.year <= 2090:
            raise FeedError("start_date must be between 1971 and 2090")


@dataclass(slots=True)
class FeedSummary:
    """What was made. `cases` and `expects` count rows of the truth by case and by what is expected;
    `paid_cents` sums the 835s, `entry_cents` the entries.
    """

    remittance_files: int = 0
    payment_files: int = 0
    bank_files: int = 0
    lockbox_files: int = 0
    remittances: int = 0
    payments: int = 0
    bank_lines: int = 0
    listed_checks: int = 0
    claims: int = 0
    paid_cents: int = 0
    entry_cents: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cases: dict[str, int] = field(default_factory=dict)
    expects: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        return asdict(self)


def generate_feed(out: Path, options: FeedOptions, progress: Progress | None = None) -> FeedSummary:
    """Write a feed into `out`, which must not exist or be empty; it appears whole or not at all.

    Raises FeedError for options out of range or an output folder with something in it. O(bytes
    written).
    """
    options.check()
    try:
        rates_ppm = plan_rates(options.profile_name, options.rates_ppm)
    except ValueError as fault:
        raise FeedError(str(fault)) from None
    started = time.perf_counter()
    planner = _planner(options, rates_ppm)
    with Folder(out) as folder:
        summary = _write_chunks(folder, planner, options, progress)
        summary.bytes = folder.bytes_written
    summary.seconds = time.perf_counter() - started
    return summary


def write_remittance_file(
    path: Path, bytes_min: int, seed: int = 0, claims: float = 16.0
) -> FeedSummary:
    """Write one clean 835 file of at least `bytes_min` bytes (a chunk more at most) for benches.

    Many interchanges; `~` ends every segment, with no line ends. Raises FeedError for options out
    of range. O(bytes).
    """
    options = FeedOptions(
        payments=max(1, bytes_min // _payment_bytes(claims)),
        seed=seed,
        claims=claims,
        ctx_per_mille=0,
    )
    planner = _prepared(options)
    counters = _counters(planner)
    summary, cases = FeedSummary(remittance_files=1), Counter[str]()
    with single_file(path) as output:
        files = RemittanceFiles(seed, counters, output.put, path.name)
        number, day = 0, roll_forward(to_days(options.start_date))
        while output.bytes_written < bytes_min:
            left = -(-(bytes_min - output.bytes_written) // _payment_bytes(claims))
            chunk = planner.plan(number, day, min(_chunk_payments(claims), left), counters)
            chunk.payments.clear()
            files.write(chunk, number)
            _count(summary, cases, chunk)
            number += 1
        summary.bytes = output.bytes_written
    return summary


def write_payment_file(
    path: Path, entries: int, seed: int = 0, ctx_per_mille: int = 0, claims: float = 1.0
) -> FeedSummary:
    """Write one clean ACH file of `entries` entries for benches: CCD+, and CTX where asked for.

    Raises FeedError for options out of range. O(bytes).
    """
    options = FeedOptions(payments=entries, seed=seed, claims=claims, ctx_per_mille=ctx_per_mille)
    planner = _prepared(options)
    counters = _counters(planner)
    summary, cases = FeedSummary(payment_files=1), Counter[str]()
    with single_file(path) as output:
        files = PaymentFiles(seed, counters, output.put, path.name)
        for number, (day, count) in enumerate(_chunks(options)):
            chunk = planner.plan(number, day, count, counters)
            files.write(chunk, number)
            _count(summary, cases, chunk)
        files.close()
        summary.bytes = output.bytes_written
    return summary


def _prepared(options: FeedOptions) -> Planner:
    options.check()
    return _planner(options, plan_rates("clean", {}))


def _planner(options: FeedOptions, rates_ppm: Sequence[int]) -> Planner:
    claims_total = int(options.payments * options.claims)
    return Planner(
        seed=options.seed,
        world=build_world(
            options.seed, options.payments, is_dense=options.profile_name == "adversarial"
        ),
        pool=build_pool(options.seed, claims_total, to_days(options.start_date)),
        claims_mean_milli=round(options.claims * 1000),
        defects=DEFECTS,
        rates_ppm=rates_ppm,
        ctx_per_mille=options.ctx_per_mille,
        has_directory=options.directory,
    )


def _counters(planner: Planner) -> Counters:
    return Counters(payer_traces=[1] * len(planner.world.payers))


def _payment_bytes(claims: float) -> int:
    return int(claims * _CLAIM_BYTES) + _REMITTANCE_BYTES


def _chunk_payments(claims: float) -> int:
    return max(1, min(CHUNK_PAYMENTS_MAX, CHUNK_BYTES // _payment_bytes(claims)))


def _write_chunks(
    folder: Folder, planner: Planner, options: FeedOptions, progress: Progress | None
) -> FeedSummary:
    counters = _counters(planner)
    remittances = RemittanceFiles(
        options.seed, counters, folder.put, "remittances.835" if options.one_file else ""
    )
    payments = PaymentFiles(
        options.seed, counters, folder.put, "payments.ach" if options.one_file else ""
    )
    bank = BankFiles(folder.put, "bank.bai2" if options.one_file else "")
    lockbox = LockboxFiles(folder.put, "lockbox.csv" if options.one_file else "")
    summary, cases = FeedSummary(), Counter[str]()
    truth = Truth(folder.put)
    if options.directory:
        folder.put(DIRECTORY_NAME, directory_text(planner.world, options.tenants).encode("ascii"))
    if options.profile_name != "clean":
        lockbox.put_layout()
    done = 0
    for number, (day, count) in enumerate(_chunks(options)):
        chunk = planner.plan(number, day, count, counters)
        report_payments(chunk, options.accounts_reported_per_mille)
        remittances.write(chunk, number)
        payments.write(chunk, number)
        bank.write(chunk)
        lockbox.write(chunk)
        truth.add(chunk)
        _count(summary, cases, chunk)
        done += count
        if progress is not None:
            progress(done, folder.bytes_written)
    payments.close()
    summary.remittance_files = sum(name.endswith(".835") for name in folder.names)
    summary.payment_files = sum(name.endswith(".ach") for name in folder.names)
    summary.bank_files = sum(name.endswith(".bai2") for name in folder.names)
    summary.lockbox_files = sum(
        name.startswith("lockbox") and name.endswith(".csv") for name in folder.names
    )
    summary.cases = dict(sorted(cases.items()))
    return summary


def _chunks(options: FeedOptions) -> list[tuple[int, int]]:
    """Days and numbers of payments: each banking day gets its share, in runs that fit in memory."""
    limit = _chunk_payments(options.claims)
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


def _count(summary: FeedSummary, cases: Counter[str], chunk: Chunk) -> None:
    remittances: dict[int, Remittance] = {}
    items: dict[int, Item] = {}
    for link in chunk.links:
        cases[link.case] += 1
        summary.expects[link.expect] = summary.expects.get(link.expect, 0) + 1
        # A row for each pair: an item of a bulk case stands in several.
        if link.remittance is not None:
            remittances[id(link.remittance)] = link.remittance
        if link.payment is not None:
            items[id(link.payment)] = link.payment
    for remittance in remittances.values():
        summary.remittances += 1
        summary.claims += remittance.claims
        summary.paid_cents += remittance.paid_cents
    for item in items.values():
        if isinstance(item, BankLine):
            summary.bank_lines += 1
        elif isinstance(item, ListedCheck):
            summary.listed_checks += 1
        else:
            summary.payments += 1
            summary.entry_cents += item.amount_cents
