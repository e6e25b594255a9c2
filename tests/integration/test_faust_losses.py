"""What Faust's own driver loses, shown on a real Kafka, and that the strict one does not.

Each case has trouble at one record. A worker runs until it is through with the others, is killed,
and another one goes on. What neither has processed is lost: the committed offset is behind it.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faust_processes import Worker, processed, wait_for, worker
from faust_worker import TROUBLE, Plan
from kafka_topics import committed, new_name, new_topic, produce

pytest_plugins = ("kafka_servers",)
pytestmark = pytest.mark.slow

RECORDS = 20
TROUBLE_AT = 6
SETTLE_SECONDS = 2.0
"""Ten intervals of commits: enough for one too many."""
STOCK_RUNS_MAX = 4
ONE_RECORD = {"partition_fetch_bytes_max": 1, "finish_seconds_max": 0.5}
"""Options of the strict driver: a batch is one record."""

PLAIN_STREAMS = {"NO_CYTHON": "1"}
"""Faust's streams in Python, as they are where its compiled ones are not. Those do not acknowledge
what they skip: then nothing is committed any more until the next rebalance."""


@dataclass(frozen=True)
class Case:
    """A way to lose a record. lost : what the stock driver does not process, and maybe more"""

    name: str
    lost: set[int]
    style: str = "events"
    trouble: str = "raise"
    at: int = TROUBLE_AT
    concurrency: int = 1
    pause: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("an agent raises", {6}),
    Case("an agent raises over what it took", {6}, style="take"),
    Case("an agent raises before it acknowledges", {6}, style="noack"),
    Case(
        "an agent raises over what it took and did not acknowledge",
        {0},
        style="noack_take",
        at=0,
    ),
    Case("a record is in flight at the head", {6}, trouble="hold", concurrency=2),
    Case(
        "events are skipped in a rebalance",
        {7},
        trouble="stale",
        pause=0.05,
        environment=PLAIN_STREAMS,
    ),
    Case(
        "a worker ends with a record in flight",
        {6},
        trouble="hold",
        settings={"stream_wait_empty": False},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_the_stock_driver_loses_a_record_and_the_strict_one_does_not(
    case: Case, kafka: str, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as pool:
        stock = pool.submit(_loses, case, kafka, tmp_path)
        strict = pool.submit(_run, case, "strict", kafka, tmp_path)
        assert strict.result() == set()
        assert stock.result()


def _loses(case: Case, kafka: str, folder: Path) -> bool:
    """Whether the stock driver loses what the case says: what it commits last as it ends hangs on
    the moment, so a run may go well."""
    for number in range(STOCK_RUNS_MAX):
        own = folder / f"{number}"
        own.mkdir()
        if case.lost <= _run(case, "stock", kafka, own):
            return True
    return False


def _run(case: Case, driver: str, kafka: str, folder: Path) -> set[int]:
    """Offsets that no worker processed."""
    plan = Plan(
        driver=driver,
        bootstrap=kafka,
        group=new_name("group"),
        topic=new_topic(kafka),
        out=str(folder / driver),
        style=case.style,
        trouble=case.trouble,
        concurrency=case.concurrency,
        pause=case.pause,
        settings=case.settings,
        options=ONE_RECORD,
    )
    values = [TROUBLE if n == case.at else b"%d" % n for n in range(RECORDS)]
    produce(kafka, plan.topic, values, apart=True)
    with worker(plan, case.environment) as first:
        _first_run(case, plan, first)
    produce(kafka, plan.topic, [b"%d" % RECORDS])
    with worker(plan, case.environment):
        wait_for(lambda: (0, RECORDS) in processed(plan.out), "at the end")
    return set(range(RECORDS + 1)) - {offset for _, offset in processed(plan.out)}


def _first_run(case: Case, plan: Plan, running: Worker) -> None:
    """Until the trouble is over, and what can be committed is."""
    wait_for(Path(f"{plan.out}.trouble").exists, "at the trouble")
    if plan.settings:
        running.signal(signal.SIGTERM)
        running.wait()
    elif plan.driver == "stock":
        wait_for(lambda: committed(plan.bootstrap, plan.group, plan.topic) == [RECORDS], "past it")
    elif plan.trouble == "raise":
        assert running.wait() != 0
    else:
        time.sleep(SETTLE_SECONDS)
    if plan.driver == "strict":
        (end,) = committed(plan.bootstrap, plan.group, plan.topic)
        assert end >= case.at
        assert set(range(end)) <= {offset for _, offset in processed(plan.out)}
