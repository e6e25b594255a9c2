"""A stream to which everything happens once knows what a quiet engine makes of its item log; and
what compares them sees what is broken on purpose. The long form is `make chaos-stream`.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from reassoc.loadtest.servers.kafka_server import have_jars
from reassoc.loadtest.servers.postgres_server import PostgresServer
from reassoc.loadtest.servers.process import ServerError
from reassoc.loadtest.servers.stack import Stack
from reassoc.loadtest.stream_chaos import Plan, Result, Run
from reassoc.loadtest.stream_compare import Views, compare
from reassoc.loadtest.stream_faults import KINDS
from reassoc.stream.config import load_config
from reassoc.stream.home_log import HOME_TENANT
from reassoc.stream.item_log import (
    ClockEntry,
    DecisionEntry,
    Entry,
    FenceEntry,
    SettingsEntry,
    encode_entry,
)
from reassoc.stream.items import RecordKind
from reassoc.stream.partition_log import LogRecord
from reassoc.stream.state import Step
from reassoc.stream.state_redis import RedisState

PAYMENTS = 300


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the run, where servers can be had."""
    if shutil.which("redis-server") is None:
        pytest.skip("no Redis to test on: redis-server is not installed")
    folder = tmp_path_factory.mktemp("stream-chaos")
    try:
        have_jars()
        PostgresServer(folder / "none")
    except ServerError as error:
        pytest.skip(f"no servers to test on: {error}")
    return folder


@dataclass
class Looks:
    """What the comparison says of a stream that was harmed on purpose, two ways at a time."""

    told: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, stack: Stack) -> None:
        for harms in ((_remove, _double), (_forget, _rewrite)):
            for harm in harms:
                harm(stack)
            told = list(compare(load_config(stack.config_file).config).wrong)
            self.told |= {harm.__name__: told for harm in harms}


def _remove(stack: Stack) -> None:
    path = min((stack.folder / "released").glob("*/*"))
    path.unlink()


def _double(stack: Stack) -> None:
    path = max((stack.folder / "released").glob("*/*"))
    shutil.copyfile(path, path.with_name("AGAIN.x12"))


def _forget(stack: Stack) -> None:
    """A record of a tenant is gone from the match state."""
    config = load_config(stack.config_file).config
    with closing(RedisState(config.redis.url, prefix=config.kafka.prefix)) as state:
        tenant = next(name for name in state.tenants() if state.open_count(name) > 1)
        ids = next(iter(state.scan(tenant, [RecordKind.REMITTANCE]))).ids[:1]
        claim = state.claim(tenant)
        state.apply(claim, Step(claim.mark, claim.mark, removes=ids))


def _rewrite(stack: Stack) -> None:
    with psycopg.connect(stack.postgres.url) as ledger:
        ledger.execute(
            "UPDATE status_change SET after = 5 WHERE number = "
            "(SELECT min(number) FROM status_change)"
        )


@pytest.fixture(scope="module")
def ran(work: Path) -> tuple[Result, Looks]:
    """A run in which everything happens once, and then harm is done."""
    looks = Looks()
    plan = Plan(
        seed=5,
        kills=len(KINDS),
        payments=PAYMENTS,
        workers=2,
        partitions=3,
        phases=2,
        long_per_cent=20,
    )
    return Run(plan, work / "run", lambda _: None).run(looks), looks


@pytest.mark.slow
def test_whatever_happens_a_stream_knows_what_a_quiet_engine_knows(
    ran: tuple[Result, Looks],
) -> None:
    result, _ = ran
    assert result.wrong == []
    assert set(result.happened.kinds) == set(KINDS)
    assert result.items > PAYMENTS
    assert result.released > PAYMENTS // 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("_remove", "not there"),
        ("_double", "no file of the book"),
        ("_forget", "is missing"),
        ("_rewrite", "ledger: "),
    ],
)
def test_what_is_broken_in_a_stream_is_told(
    ran: tuple[Result, Looks], harm: str, told: str
) -> None:
    assert any(told in line for line in ran[1].told[harm])


SETTINGS = [SettingsEntry(policy, "", b"", b"") for policy in ("a", "b")]
CLOCKS = [ClockEntry("opening", day, "2026-03-16T08:30:00-04:00") for day in (1, 2)]
OWN = [DecisionEntry("hold", str(number), "who", "why") for number in range(3)]


def test_a_tenants_log_begins_with_what_held_and_has_all_since() -> None:
    told: list[tuple[str, Entry]] = [
        (HOME_TENANT, SETTINGS[0]),
        (HOME_TENANT, CLOCKS[0]),
        (HOME_TENANT, FenceEntry()),
        ("early", OWN[0]),
        (HOME_TENANT, SETTINGS[1]),
        ("late", OWN[1]),
        (HOME_TENANT, CLOCKS[1]),
        ("early", OWN[2]),
    ]
    view = Views(is_leader=True)
    logs: dict[str, list[Entry]] = {}
    for place, (tenant, entry) in enumerate(told):
        for name, each in view.add(LogRecord(tenant, 10 + 2 * place, 0, encode_entry(entry))):
            logs.setdefault(name, []).append(each)
    assert view.add(LogRecord("early", 99, 0, b"\xc1")) == []
    assert view.poison == 1
    assert logs == {
        HOME_TENANT: [SETTINGS[0], CLOCKS[0], SETTINGS[1], CLOCKS[1]],
        "early": [SETTINGS[0], CLOCKS[0], OWN[0], SETTINGS[1], CLOCKS[1], OWN[2]],
        "late": [CLOCKS[0], SETTINGS[1], OWN[1], CLOCKS[1]],
    }
    assert view.ends == {"early": 24, "late": 22}
    other = Views(is_leader=False)
    assert other.add(LogRecord(HOME_TENANT, 1, 0, encode_entry(CLOCKS[0]))) == []
