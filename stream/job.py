"""The main job: read all inputs, match, release, write the tables. No console in here.

The engine of a warehouse reads with the same `intake`, matches with the same `match` and releases
with the same `release`; this module is the order in which one run calls them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from reassoc.core.directory import Directory
from reassoc.core.lockbox import LockboxLayout
from reassoc.core.match import Matches, match
from reassoc.core.policy import Policy
from reassoc.core.pool import PaymentColumns, RemittanceColumns
from reassoc.stream.calendar import federal_reserve_calendar
from reassoc.stream.contents import close_archives
from reassoc.stream.findings import FINDINGS_HEADER
from reassoc.stream.intake import Items, read_source
from reassoc.stream.outcome import Outcome
from reassoc.stream.outputs import whole_or_nothing
from reassoc.stream.pools import Pools, pool
from reassoc.stream.processors import processor_count
from reassoc.stream.readers import open_reader
from reassoc.stream.release import (
    Plan,
    Releasable,
    ReleasedFile,
    SourceReader,
    plan_release,
    write_released,
)
from reassoc.stream.report import write_tables
from reassoc.stream.sources import Discovery, Problem, Source, discover
from reassoc.stream.summary import Summary, summarise

READ_AHEAD = 8
"""Inputs per worker that may be read before their turn to be written comes."""

Step = Callable[[str, int], None]
"""Told when a step of the run begins: its name, and how many bytes it will go through (0: not
known).
"""
Advance = Callable[[int], None]
"""Told how many more of these bytes are done."""


def run_match(
    paths: Sequence[Path],
    out: Path,
    *,
    as_of: date,
    policy: Policy,
    directory: Directory | None = None,
    layouts: Sequence[LockboxLayout] = (),
    worker_count: int | None = None,
    on_step: Step = lambda name, byte_count: None,
    on_advance: Advance = lambda byte_count: None,
) -> Summary:
    """Match what is under `paths` as of a day and write the result to the new folder `out`.
    `layouts` say which inputs are lockbox lists.

    Raises OutputError where `out` is taken, SourceError where a path does not exist or an input
    changes while it is read, LimitError where a named limit would be passed; nothing is written
    then. Inputs that cannot be read are in the summary. The result does not depend on the number of
    workers nor on their timing.
    """
    began = time.monotonic()
    with whole_or_nothing(out) as folder, ExitStack() as stack:
        stack.callback(close_archives)
        found = discover(paths, exclude=(out, folder))
        on_step("reading", sum(source.size_bytes for source in found.sources))
        with (folder / "findings.csv").open("wb") as findings:
            findings.write(FINDINGS_HEADER.encode() + b"\n")
            read = partial(read_source, scratch=folder, progress=on_advance, layouts=layouts)
            items = _read_all(found, read, findings, worker_count or processor_count())
        read_all = _note_problems(found, items)
        pools = pool(read_all)
        on_step("matching", 0)
        decide = partial(_match, policy=policy, directory=directory, as_of=as_of)
        outcome = _decide(pools, read_all, decide, as_of, folder, on_step, on_advance)
        on_step("writing tables", 0)
        write_tables(outcome, folder)
        summary = summarise(outcome, found, time.monotonic() - began)
        (folder / "summary.json").write_bytes(summary.to_json())
        on_step("flushing to disk", 0)
    return summary


def _read_all(
    found: Discovery,
    read: Callable[[Source], Items],
    findings: IO[bytes],
    worker_count: int,
) -> list[Items]:
    """Read every source, `worker_count` at a time; their findings are written in the order of the
    sources.
    """
    results: list[Items] = []
    waiting: deque[Future[Items]] = deque()

    def take() -> None:
        items = waiting.popleft().result()
        if items.findings is not None:
            if not items.reason:
                items.findings.seek(0)
                while piece := items.findings.read(1 << 20):
                    findings.write(piece)
            items.findings.close()
            items.findings = None
        results.append(items)

    with ThreadPoolExecutor(worker_count, thread_name_prefix="intake") as workers:
        try:
            for source in found.sources:
                waiting.append(workers.submit(read, source))
                if len(waiting) > READ_AHEAD * worker_count:
                    take()
            while waiting:
                take()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _note_problems(found: Discovery, items: Sequence[Items]) -> list[Items]:
    """Move inputs that gave nothing to the lists of problems; the others, in order."""
    good = []
    for one in items:
        if not one.reason:
            good.append(one)
        elif one.is_passed_over:
            found.passed_over.append(Problem(one.source.name, one.reason))
        else:
            found.unreadable.append(Problem(one.source.name, one.reason))
    return good


def _match(
    remittances: RemittanceColumns,
    payments: PaymentColumns,
    *,
    policy: Policy,
    directory: Directory | None,
    as_of: date,
) -> Matches:
    return match(
        remittances,
        payments,
        policy=policy,
        calendar=federal_reserve_calendar(),
        as_of=as_of,
        directory=directory,
    )


def _decide(
    pools: Pools,
    items: Sequence[Items],
    decide: Callable[[RemittanceColumns, PaymentColumns], Matches],
    as_of: date,
    folder: Path,
    on_step: Step,
    on_advance: Advance,
) -> Outcome:
    """Match the pools and release what may be posted."""
    remittance_rows = np.flatnonzero(~pools.remittance_is_copy)
    payment_rows = np.flatnonzero(~pools.payment_is_copy)
    remittances, payments = _without_copies(pools, remittance_rows, payment_rows)
    matches = decide(remittances, payments)
    rows = remittance_rows[matches.release]
    releasable = _releasable(pools, rows)
    plan = plan_release(releasable)
    released = folder / "released"
    released.mkdir()
    on_step("releasing", int((releasable.stop - releasable.start).sum()))
    files = _release(releasable, plan, items, released, as_of, on_advance)
    released_in = np.full(len(pools.rows), -1, np.int32)
    released_in[rows] = plan.interchange
    return Outcome(pools, items, matches, remittance_rows, payment_rows, files, released_in, as_of)


def _without_copies(
    pools: Pools, remittance_rows: npt.NDArray[np.int64], payment_rows: npt.NDArray[np.int64]
) -> tuple[RemittanceColumns, PaymentColumns]:
    """The pools as the matcher gets them; the pools themselves where no input is a copy."""
    remittances, payments = pools.remittances, pools.payments
    if len(payment_rows) < len(payments):
        new_row = np.full(len(payments) + 1, -1, np.int32)
        new_row[payment_rows] = np.arange(len(payment_rows), dtype=np.int32)
        payments = payments.take(payment_rows)
        remittances = replace(remittances, payment_row=new_row[remittances.payment_row])
    if len(remittance_rows) < len(remittances):
        remittances = remittances.take(remittance_rows)
    return remittances, payments


def _releasable(pools: Pools, rows: npt.NDArray[np.int64]) -> Releasable:
    control = pools.rows.control[rows]
    return Releasable(
        source=pools.remittance_source[rows].astype(np.int64),
        start=pools.rows.start[rows],
        stop=pools.rows.stop[rows],
        profile=pools.rows.profile[rows].astype(np.int64),
        controls=[control.raw(row) for row in range(len(rows))],
        cents=pools.remittances.paid_cents[rows],
        profiles=pools.profiles,
    )


def _release(
    releasable: Releasable,
    plan: Plan,
    items: Sequence[Items],
    folder: Path,
    as_of: date,
    on_advance: Advance,
) -> list[ReleasedFile]:
    with ExitStack() as stack:
        current = stack.enter_context(ExitStack())

        def reader(number: int) -> SourceReader:
            current.close()
            one = items[number]
            first, last = np.searchsorted(releasable.source, [number, number + 1])
            starts = releasable.start[first:last]
            return current.enter_context(open_reader(one.source, one.kind, starts, on_advance))

        return write_released(releasable, plan, folder, as_of, reader)
