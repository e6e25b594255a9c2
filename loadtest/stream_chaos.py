"""A stream of workers to which everything happens that can, held against an engine that ran the
same item log in peace: `make chaos-stream`.

    python -m reassoc.loadtest.stream_chaos --seed 7 --kills 60 --payments 2000 --work build/stream

A feed with defects is cut into phases by the dates of its files. `reassoc feed` sends them to
Kafka, workers take them in, match, publish and deliver, and meanwhile all of these are killed,
paused and started again (stream_faults.py). At a phase's end people decide, and the clock goes on.
In the end, when nothing waits any more, the stream must know what a quiet engine makes of the item
log (stream_compare.py), and the item log must hold what is in the files. See docs/CHAOS.md.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from aiokafka.errors import KafkaError

from reassoc.core.errors import ReassocError
from reassoc.loadtest.chaos import CLAIMS_MEAN, commit_of, decisions_of
from reassoc.loadtest.chaos_compare import Picture, state_tables, tenants_of
from reassoc.loadtest.chaos_feed import ChaosError, Delivery, Feeder, phases_of
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.loadtest.servers.process import ServerError
from reassoc.loadtest.servers.stack import Stack
from reassoc.loadtest.stream_compare import CompareError, compare, seal_vaults_left
from reassoc.loadtest.stream_faults import Faults, FeedProcess, Happened, Kind
from reassoc.loadtest.stream_rest import wait_for_rest
from reassoc.stream.clock import parse_as_of
from reassoc.stream.config import Config, load_config
from reassoc.stream.item_log import DecisionEntry
from reassoc.stream.item_rows import numbers_of
from reassoc.stream.items import PAYMENT_ITEM, REMITTANCE_ITEM
from reassoc.stream.message import RawMessage
from reassoc.stream.read_message import read_parts
from reassoc.stream.state_redis import RedisState
from reassoc.stream.topic_log import TopicLog
from reassoc.stream.topics import ensure_topics
from reassoc.stream.worker_commands import CLOCK_VARIABLE
from reassoc.stream.worker_parts import SettingsFolder

GAP_S = (0.1, 2.0)
LONG_GAP_S = (7.0, 15.0)
"""Between two things that happen: often the one comes into the other, often the group comes
together in between, for which it waits until the session of a killed worker has ended."""
LOOK_S = 0.02
LAST_DAYS = 21
"""From the last phase to the moment at which the stream is held against the quiet run."""
LAST_SHARE = 5
"""One of so many things happens after the clock has gone on to the last day."""
REST_S_MAX = 1800.0
READY_S_MAX = 120.0
STRIKES_TRIED_MAX = 20
DECIDE_TRIES_MAX = 60
DECIDE_TENANTS_MAX = 3
TOLD_MAX = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of.

    kills : things that happen, see stream_faults.KINDS    long_per_cent : of LONG_GAP_S
    session_s : of workers in the group
    """

    seed: int
    kills: int
    payments: int
    workers: int = 2
    partitions: int = 6
    phases: int = 5
    session_s: int = 6
    long_per_cent: int = 50


@dataclass(slots=True)
class Result:
    """What came of a run."""

    happened: Happened = field(default_factory=Happened)
    files: int = 0
    items: int = 0
    decisions: int = 0
    released: int = 0
    wrong: list[str] = field(default_factory=list)


class Run:
    """One run in the new folder `work`. `run` may be called once."""

    def __init__(self, plan: Plan, work: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._work = work
        self._say = say
        self._rng = random.Random(plan.seed)
        self._clock = work / "clock"
        self._inbox = work / "feeding" / "in"
        self._feed = work / "feed"
        self.result = Result()

    def run(self, look: Callable[[Stack], None] = lambda _: None) -> Result:
        """Make it; the servers still run when `look` gets them, and the workers do not any more.
        Raises ChaosError, ServerError where it cannot be made."""
        plan = self._plan
        options = FeedOptions(plan.payments, seed=plan.seed, claims=CLAIMS_MEAN, defects=True)
        generate_feed(self._feed, options)
        phases = phases_of(self._feed, self._rng, plan.phases)
        self._set_clock((phases[0][0] - timedelta(days=1)).isoformat())
        stack = self._stack()
        shutil.rmtree(stack.postgres_folder, ignore_errors=True)  # of an earlier run
        feeder = FeedProcess(
            self._inbox.parent,
            stack.config_file,
            sorted((self._work / "settings" / "layouts").iterdir()),
        )
        try:
            stack.start_servers()
            for _ in range(plan.workers):
                stack.add_worker()
            stack.wait_ready()
            feeder.start()
            faults = Faults(stack, feeder, self._rng, plan.session_s)
            self.result.happened = faults.happened
            self._go_through(phases, stack, faults)
            self._come_to_rest(stack, feeder, faults)
            self._compare(stack)
            look(stack)
        finally:
            feeder.kill()
            stack.stop()
        if not self.result.wrong:
            shutil.rmtree(stack.postgres_folder, ignore_errors=True)
        return self.result

    def _stack(self) -> Stack:
        plan, rng = self._plan, self._rng
        settings = _settings(self._work / "settings", self._feed)
        variables = {
            CLOCK_VARIABLE: str(self._clock),
            "REASSOC_WORKER_SESSION_TIMEOUT_S": str(plan.session_s),
            "REASSOC_WORKER_LINGER_MS": str(rng.choice((0, 5, 50, 500))),
            "REASSOC_WORKER_BATCH_MESSAGES_MAX": str(rng.choice((1, 7, 100, 10_000))),
        }
        return Stack(
            self._work / "stack",
            settings=settings,
            items_partitions=plan.partitions,
            raw_partitions=rng.choice((1, 3, 6)),
            variables=variables,
        )

    # ---- phases ----

    def _go_through(
        self, phases: Sequence[tuple[date, list[Delivery]]], stack: Stack, faults: Faults
    ) -> None:
        kinds = iter(faults.plan(self._plan.kills))
        last = max(self._plan.kills // LAST_SHARE, 1)
        for number, (day, deliveries) in enumerate(phases):
            count = self._plan.kills - last
            count = count * (number + 1) // len(phases) - count * number // len(phases)
            self._phase(deliveries, [next(kinds) for _ in range(count)], faults)
            if self._rng.random() < 0.5:
                self._set_clock(str(day))
            self._decide(stack, number, faults)
            self._set_clock(str(day))
            total = faults.happened.kinds.total()
            self._say(f"phase {number + 1} of {len(phases)}: {total} things have happened")
        self._set_clock(self._last(phases))
        self._phase((), list(kinds), faults)

    def _last(self, phases: Sequence[tuple[date, list[Delivery]]]) -> str:
        return (phases[-1][0] + timedelta(days=LAST_DAYS)).isoformat()

    def _phase(self, deliveries: Sequence[Delivery], kinds: Sequence[Kind], faults: Faults) -> None:
        """Send files while things happen."""
        shuffled = [replace(one, slowly=False) for one in deliveries]
        self._rng.shuffle(shuffled)
        gap_s = sum(LONG_GAP_S) / 2 * len(kinds) / (len(shuffled) + 1)
        feeder = Feeder(self._inbox, shuffled, self._rng, gap_s)
        self.result.files += len(shuffled)
        waiting, due_s = list(kinds), time.monotonic() + self._gap_s()
        tries = STRIKES_TRIED_MAX * (len(waiting) + 1)
        while waiting and tries:
            now_s = time.monotonic()
            feeder.step(now_s)
            faults.mend(now_s)
            if now_s >= due_s:
                tries -= 1
                if faults.strike(waiting[0]):
                    waiting.pop(0)
                due_s = now_s + self._gap_s()
            time.sleep(LOOK_S)
        feeder.finish()

    def _gap_s(self) -> float:
        is_long = self._rng.randrange(100) < self._plan.long_per_cent
        return self._rng.uniform(*(LONG_GAP_S if is_long else GAP_S))

    def _set_clock(self, moment: str) -> None:
        """In one step: workers read it all the time."""
        aside = self._clock.with_suffix(".new")
        aside.write_text(moment)
        aside.rename(self._clock)

    # ---- people ----

    def _decide(self, stack: Stack, phase: int, faults: Faults) -> None:
        """Log decisions of people, some of them twice, as a command does that lost its answer."""
        config = load_config(stack.config_file).config
        for _ in range(DECIDE_TRIES_MAX):
            faults.mend(time.monotonic())
            try:
                entries = decisions_of(_seen(config, self._rng), self._rng, phase)
                again = [entry for entry in entries if self._rng.random() < 0.2]
                asyncio.run(_log(config, [*entries, *again]))
            except (ReassocError, KafkaError, OSError):
                time.sleep(1.0)
                continue
            self.result.decisions += len(entries)
            return
        raise ChaosError("the stores did not answer people")

    # ---- the end ----

    def _come_to_rest(self, stack: Stack, feeder: FeedProcess, faults: Faults) -> None:
        faults.mend_all()
        faults.rebuild_if_lost()
        config = load_config(stack.config_file).config
        now = parse_as_of(self._clock.read_text())

        def keep() -> None:
            faults.mend(time.monotonic())

        end = time.monotonic() + REST_S_MAX
        while any(self._inbox.iterdir()):
            keep()
            if time.monotonic() > end:
                raise ChaosError("the feeder does not come to an end")
            time.sleep(0.2)
        why = wait_for_rest(config, now, REST_S_MAX, keep)
        if why:
            self.result.wrong.append(f"it does not come to rest: {why}")
        feeder.stop()
        _wait_ready(stack, keep)
        seal_vaults_left(config)
        for worker in stack.workers:
            code = worker.stop()
            if code:
                self.result.wrong.append(f"{worker.name} was told to end and ended with {code}")

    def _compare(self, stack: Stack) -> None:
        config = load_config(stack.config_file).config
        found = compare(config)
        result = self.result
        result.wrong += found.wrong
        result.released = found.released
        result.items = len(found.item_ids)
        expected = set(_items_of(self._inbox.parent / "done", self._work / "settings"))
        lost, more = expected - found.item_ids, found.item_ids - expected
        result.wrong += [f"an item of a file is not there: {each}" for each in sorted(lost)][
            :TOLD_MAX
        ]
        result.wrong += [f"an item of no file is there: {each}" for each in sorted(more)][:TOLD_MAX]


# ---- parts ----


def _settings(folder: Path, feed: Path) -> Path:
    (folder / "layouts").mkdir(parents=True)
    (folder / "warehouse.toml").write_text('release_at = "clock"\n')
    shutil.copyfile(feed / "directory.toml", folder / "directory.toml")
    for path in feed.glob("*.layout.toml"):
        shutil.copyfile(path, folder / "layouts" / path.name)
    return folder


def _seen(config: Config, rng: random.Random) -> Picture:
    """What people look at: items and pairs of some tenants."""
    with closing(RedisState(config.redis.url, prefix=config.kafka.prefix)) as state:
        tenants = tenants_of(state)
        some = rng.sample(tenants, min(DECIDE_TENANTS_MAX, len(tenants)))
        return Picture(state_tables(state, some), 0)


def _wait_ready(stack: Stack, keep: Callable[[], None]) -> None:
    """Wait until every worker works, those too that were started a moment ago: one that is told to
    end before it has opened its vault does not seal what the one before it left."""
    end = time.monotonic() + READY_S_MAX
    while not all(worker.is_ready() for worker in stack.workers):
        keep()
        if time.monotonic() > end:
            raise ChaosError(f"READY_S_MAX ({READY_S_MAX:.0f} s): a worker does not become ready")
        time.sleep(LOOK_S)


async def _log(config: Config, entries: Sequence[tuple[str, DecisionEntry]]) -> None:
    log = TopicLog(config.kafka, await ensure_topics(config.kafka))
    try:
        await log.start()
        await log.append(entries)
    finally:
        await log.stop()


def _items_of(folder: Path, settings: Path) -> Iterator[tuple[int, int]]:
    """Digest and offset of every item of the files in a folder, each read as a whole."""
    rules = SettingsFolder(settings).rules()
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            found = read_parts(
                [RawMessage(path.read_bytes(), (), path.name)],
                router=rules.router,
                layouts=rules.layouts,
                scratch=Path(scratch),
            )
            for each in found:
                for schema, rows in (
                    (REMITTANCE_ITEM, each.remittances), (PAYMENT_ITEM, each.payments)
                ):  # fmt: skip
                    if len(rows):
                        digests = numbers_of(schema, rows, "id_digest").view(np.int64)
                        offsets = numbers_of(schema, rows, "id_offset")
                        yield from zip(digests.tolist(), offsets.tolist(), strict=True)


# ---- the command ----


def main(
    work: Annotated[Path, typer.Option(help="A new folder for feed, servers and workers.")],
    seed: Annotated[int, typer.Option(help="Of the feed and of all chances.")] = 1,
    kills: Annotated[int, typer.Option(min=0, help="Things that happen.")] = 60,
    payments: Annotated[int, typer.Option(min=10, help="Payments of the feed.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, max=6, help="Workers to run.")] = 2,
    partitions: Annotated[int, typer.Option(min=1, help="Of the item log.")] = 6,
    record: Annotated[
        Path | None, typer.Option(help="File that a line about the run is appended to.")
    ] = None,
) -> None:
    """Let everything happen to a stream, and compare; 1 for any difference."""
    if work.exists():
        raise typer.BadParameter(f"{work} is there already", param_hint="--work")
    work.mkdir(parents=True)
    plan = Plan(seed, kills, payments, workers, partitions)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are ended then, too
    try:
        result = Run(plan, work.absolute(), typer.echo).run()
    except (ChaosError, CompareError, ServerError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    line = {
        "commit": commit_of(),
        "seed": seed,
        "workers": workers,
        "partitions": partitions,
        "kills": result.happened.kinds.total(),
        "by": dict(sorted(result.happened.kinds.items())),
        "ended": dict(sorted(result.happened.ends.items())),
        "payments": payments,
        "files": result.files,
        "items": result.items,
        "decisions": result.decisions,
        "released": result.released,
        "seconds": round(time.monotonic() - began),
        "result": "wrong" if result.wrong else "equal",
    }
    typer.echo(msgspec.json.encode(line).decode())
    for wrong in result.wrong:
        typer.echo(wrong)
    if record is not None:
        with record.open("ab") as out:
            out.write(msgspec.json.encode(line) + b"\n")
    if result.wrong or result.happened.kinds.total() < kills:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
