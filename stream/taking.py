"""Files that are complete in in/, taken to the vault and the item log, and moved away.

Files that are there together go together: their contents become durable by one commit of the vault,
and their items by one of the log.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO

from reassoc.core.lockbox import LockboxLayout
from reassoc.stream.clock import NEW_YORK, Now
from reassoc.stream.findings import FINDINGS_HEADER
from reassoc.stream.home_log import HomeLog
from reassoc.stream.inbox import Inbox, InboxError, Look, Ready
from reassoc.stream.routing import Router
from reassoc.stream.sources import Problem, Source
from reassoc.stream.take_in import Putting, Receipt, TakenIn, log_all, read_in
from reassoc.stream.vault import Vault

GROUP_BYTES_FIRST = 8 << 20
GROUP_BYTES_MAX = 64 << 20
"""Bytes of files that are taken together, the first time and at most; one file may be larger. The
first ones are few, so that matching begins while the others are read."""
FILE_BYTES = 128 << 10
"""What a file counts for beside its bytes: the time that it takes to take it, as bytes."""
FINDINGS_MEMORY_BYTES = 1 << 20
"""Findings of one input that are kept in memory until it is logged."""
PROBLEMS_TOLD_MAX = 1000
"""Problems of places in in/ that are told once each."""


@dataclass(slots=True)
class Taken:
    """Counts of what was taken. cents : of remittances and of credits"""

    file_count: int = 0
    refused_count: int = 0
    copy_count: int = 0
    byte_count: int = 0
    remittance_count: int = 0
    payment_count: int = 0
    claim_count: int = 0
    remittance_cents: int = 0
    payment_cents: int = 0
    finding_count: int = 0
    logged_count: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count one input."""
        self.copy_count += receipt.is_copy
        if receipt.reason or receipt.is_copy:
            return
        self.byte_count += receipt.byte_count
        self.remittance_count += receipt.remittance_count
        self.payment_count += receipt.payment_count
        self.claim_count += receipt.claim_count
        self.remittance_cents += receipt.remittance_cents
        self.payment_cents += receipt.payment_cents
        self.finding_count += sum(receipt.finding_counts.values())
        self.logged_count += 1

    def __iadd__(self, other: Taken) -> Taken:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


@dataclass(slots=True)
class _Input:
    """One input of a file while it is taken."""

    source: Source
    findings: IO[bytes]
    taken: TakenIn


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides how inputs are read: who is whose, and which lists are lockbox lists."""

    router: Router
    layouts: Sequence[LockboxLayout]


class Intake:
    """Takes files of one home. `take` belongs to one thread."""

    def __init__(
        self,
        inbox: Inbox,
        vault: Vault,
        log: HomeLog,
        *,
        rules: Rules,
        findings: Path,
        scratch: Path,
        worker_count: int,
        now: Now,
        say: Callable[[str], None],
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        rules : those that hold at first, see `use`     findings : folder of findings tables
        scratch : folder with room for packed items     say : told what people must know
        """
        self._inbox = inbox
        self._vault = vault
        self._log = log
        self._rules = rules
        self._findings = findings
        self._scratch = scratch
        self._worker_count = worker_count
        self._now = now
        self._say = say
        self._fault = fault
        self._told: set[tuple[str, str]] = set()
        self._stuck: dict[Path, Ready] = {}

    def use(self, rules: Rules) -> None:
        """Read by other rules from the next group on. From any thread."""
        self._rules = rules

    def take(self, *, stop: Callable[[], bool]) -> tuple[Taken, bool]:
        """Take every complete file; counts, and whether nothing is left that may still be taken.

        Raises what vault and log raise, and OSError; files that were not moved by then are found
        again.
        """
        total = Taken()
        look = self._inbox.settle(self._now().timestamp())
        self._tell(look.problems)
        with ExitStack() as stack:
            readers = stack.enter_context(
                ThreadPoolExecutor(self._worker_count, thread_name_prefix="reader")
            )
            # While one group is made durable and logged, the next one is read.
            keeper = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="keeper"))
            before: Future[Taken] | None = None
            for group in _groups(_in_turn(self._fresh(look))):
                if stop():
                    break
                files = ExitStack()
                try:
                    keep = self._read(group, readers, files)
                    if before is not None:
                        total += before.result()
                except BaseException:
                    files.close()
                    raise
                before = keeper.submit(keep)
            if before is not None:
                total += before.result()
        return total, not (look.waiting or look.is_cut or stop())

    def _read(
        self, group: Sequence[Ready], readers: ThreadPoolExecutor, files: ExitStack
    ) -> Callable[[], Taken]:
        """Read a group; what is left to do for it. files : what must be closed in the end"""
        stack = ExitStack()
        files.callback(stack.close)
        rules = self._rules
        batch = stack.enter_context(self._vault.batch())
        futures = [
            [
                readers.submit(self._read_one, source, batch, rules, files)
                for source in ready.sources
            ]
            for ready in group
        ]
        wait([future for of_file in futures for future in of_file])
        inputs = [[future.result() for future in of_file] for of_file in futures]
        self._fault("intake: read")

        def keep() -> Taken:
            try:
                stack.close()
                self._fault("intake: in the vault")
                return self._keep(group, inputs)
            finally:
                files.close()

        return keep

    def _read_one(self, source: Source, batch: Putting, rules: Rules, files: ExitStack) -> _Input:
        findings = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            FINDINGS_MEMORY_BYTES, dir=str(self._scratch)
        )
        files.callback(findings.close)
        taken = read_in(
            source,
            vault=self._vault,
            batch=batch,
            log=self._log,
            router=rules.router,
            layouts=rules.layouts,
            scratch=self._scratch,
            findings=findings,
        )
        files.callback(taken.close)
        return _Input(source, findings, taken)

    def _keep(self, group: Sequence[Ready], inputs: Sequence[Sequence[_Input]]) -> Taken:
        """Log what is in the vault, and move the files."""
        total = Taken()
        flat = [one for of_file in inputs for one in of_file]
        day = self._now().astimezone(NEW_YORK).date()
        # Before the items are logged: after a crash a logged input is a copy, which tells nothing.
        for one in flat:
            self._write_findings(one, day)
        receipts = iter(log_all([one.taken for one in flat], self._log))
        self._fault("intake: logged")
        for ready, of_file in zip(group, inputs, strict=True):
            problems = list(ready.problems)
            good = False
            for one in of_file:
                receipt = next(receipts)
                total.add(receipt)
                if receipt.reason:
                    problems.append(Problem(one.source.name, receipt.reason))
                else:
                    good = True
            self._move(ready, problems, day, total, is_good=good)
        self._fault("intake: moved")
        return total

    def _move(
        self, ready: Ready, problems: list[Problem], day: date, total: Taken, *, is_good: bool
    ) -> None:
        reasons = [f"{problem.name}: {problem.reason}" for problem in problems]
        for reason in reasons:
            self._say(f"could not be read: {reason}")
        try:
            if is_good:
                total.file_count += 1
                self._inbox.move_done(ready.path, day)
            else:
                total.refused_count += 1
                self._inbox.move_refused(ready.path, day, reasons)
            self._stuck.pop(ready.path, None)
        except InboxError as error:
            self._say(f"{error}. It was taken, and is left alone until it changes")
            self._stuck[ready.path] = ready

    def _write_findings(self, one: _Input, day: date) -> None:
        if one.taken.receipt.reason or not one.findings.tell():
            return
        digest = one.taken.receipt.digest.hex()[:16]
        folder = self._findings / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{digest}.csv").open("wb") as out:
            out.write(FINDINGS_HEADER.encode() + b"\n")
            one.findings.seek(0)
            shutil.copyfileobj(one.findings, out, 1 << 20)

    def _fresh(self, look: Look) -> list[Ready]:
        """Complete files, but for those that were taken and could not be moved away."""
        return [ready for ready in look.ready if self._stuck.get(ready.path) != ready]

    def _tell(self, problems: Sequence[Problem]) -> None:
        """Tell each problem of a place once."""
        for problem in problems:
            key = (problem.name, problem.reason)
            if key not in self._told and len(self._told) < PROBLEMS_TOLD_MAX:
                self._told.add(key)
                self._say(f"{problem.name}: {problem.reason}")


def _in_turn(files: Sequence[Ready]) -> list[Ready]:
    """Files in an order in which the folders right below in/ take turns, byte by byte: what one
    partner has piled up keeps no other one waiting, and money comes early beside its 835s."""
    before: Counter[str] = Counter()
    places = []
    for ready in files:
        folder, slash, _ = ready.name.partition("/")
        places.append(before[folder if slash else ""])
        before[folder if slash else ""] += _weight(ready)
    return [files[at] for at in sorted(range(len(files)), key=places.__getitem__)]


def _weight(ready: Ready) -> int:
    """Of a file with no readable input as well: a group holds so many files at most."""
    inputs = max(len(ready.sources), 1)
    return inputs * FILE_BYTES + sum(source.size_bytes for source in ready.sources)


def _groups(files: Sequence[Ready]) -> Iterator[list[Ready]]:
    """Ready files in groups, each half as large again as the one before, up to
    GROUP_BYTES_MAX."""
    group: list[Ready] = []
    weight, limit = 0, GROUP_BYTES_FIRST
    for ready in files:
        more = _weight(ready)
        if group and weight + more > limit:
            yield group
            group, weight, limit = [], 0, min(3 * limit // 2, GROUP_BYTES_MAX)
        group.append(ready)
        weight += more
    if group:
        yield group
