"""A warehouse that is killed again and again knows what a quiet one knows; what compares them sees
what is broken on purpose. The long form is `make chaos`.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reassoc.loadtest.chaos import Plan, run
from reassoc.loadtest.chaos_compare import broken_laws, differences, read_picture
from reassoc.loadtest.chaos_feed import Delivery, Feeder, phases_of
from reassoc.loadtest.feed import FeedOptions, generate_feed

KILLS = 12
PAYMENTS = 60


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both homes after a run."""
    folder = tmp_path_factory.mktemp("chaos")
    result = run(Plan(seed=3, kills=KILLS, payments=PAYMENTS, phases=2), folder, lambda _: None)
    assert result.wrong == []
    assert result.kills.total() == KILLS
    assert result.released > PAYMENTS // 2
    assert result.decisions > 10
    return folder


def test_killed_again_and_again_it_knows_what_a_quiet_one_knows(work: Path) -> None:
    killed, quiet = read_picture(work / "killed"), read_picture(work / "quiet")
    assert differences(quiet, killed) == []
    assert len(killed["decisions"]) > 10


def _remove(home: Path) -> None:
    next(path for path in sorted((home / "released").glob("*/*"))).unlink()


def _double(home: Path) -> None:
    path = next(path for path in sorted((home / "released").glob("*/*")))
    shutil.copyfile(path, path.with_name("AGAIN.x12"))


def _change(home: Path) -> None:
    path = next(path for path in sorted((home / "released").glob("*/*")))
    path.write_bytes(path.read_bytes().replace(b"CLP*", b"CLP*9", 1))


def _partial(home: Path) -> None:
    (home / "released" / ".partial" / "left.x12").touch()


def _forget(home: Path) -> None:
    with closing(sqlite3.connect(home / "data" / "state.db")) as state:
        state.execute("DELETE FROM record WHERE id = (SELECT min(id) FROM record WHERE kind = 1)")
        state.commit()


def _rewrite(home: Path) -> None:
    with closing(sqlite3.connect(home / "data" / "ledger.db")) as ledger:
        ledger.execute("UPDATE status_change SET after = 5 WHERE number = (SELECT min(number) FROM "
                       "status_change)")  # fmt: skip
        ledger.commit()


def _cut(home: Path) -> None:
    path = max(
        (home / "data" / "vault" / "segments").glob("*.data"), key=lambda p: p.stat().st_size
    )
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_remove, "not there"),
        (_double, "no file of the book"),
        (_change, "other bytes than were prepared"),
        (_partial, "is not empty"),
        (_forget, "replay of its log gives another state"),
        (_rewrite, "ledger: "),
        (_cut, "vault: "),
    ],
)
def test_what_is_broken_is_told(
    work: Path, tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(work / "killed", home)
    harm(home)
    assert any(told in line for line in broken_laws(home, replay=harm is _forget))


def test_what_differs_is_told(work: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(work / "killed", home)
    _forget(home)
    quiet = read_picture(work / "quiet")
    (line,) = differences(quiet, read_picture(home))
    assert line.startswith("remittances: ")
    assert line.endswith("is missing")


def test_all_of_a_feed_arrives_whole(tmp_path: Path) -> None:
    generate_feed(tmp_path / "feed", FeedOptions(PAYMENTS, seed=1, claims=1.2, defects=True))
    phases = phases_of(tmp_path / "feed", random.Random(1), 3)
    assert len(phases) == 3
    assert [day for day, _ in phases] == sorted(day for day, _ in phases)
    deliveries: list[Delivery] = [one for _, of_day in phases for one in of_day]
    assert any(one.slowly for one in deliveries)
    (tmp_path / "home" / "in").mkdir(parents=True)
    Feeder(tmp_path / "home" / "in", deliveries, random.Random(1), 0.0).finish()
    found = {path.name: path.read_bytes() for path in (tmp_path / "home" / "in").iterdir()}
    assert found == {one.name: one.data for one in deliveries}
