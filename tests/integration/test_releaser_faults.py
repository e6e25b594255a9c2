"""A crash between any two steps of a release: after a restart each file is there once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corpus import REPOSITORY
from release_world import Crash, World, open_world, order_of
from small_feed import interchange, remittance
from sqlalchemy import select

from reassoc.core.x12_835 import read_835
from reassoc.stream.ledger_chain import ReleaseEvent
from reassoc.stream.ledger_schema import release_event
from reassoc.stream.releaser import FAULT_POINTS, Run
from reassoc.stream.sinks import PARTIAL

BEFORE_MOVE = FAULT_POINTS[: FAULT_POINTS.index("sink: moved")]
AFTER_MOVE = FAULT_POINTS[FAULT_POINTS.index("sink: moved") :]
PREPARED = FAULT_POINTS[FAULT_POINTS.index("sink: prepared") :]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        fill(opened)
        yield opened


def fill(world: World) -> None:
    """Two files for each of two receivers."""
    for number in range(2):
        for receiver in ("EAST", "WEST"):
            data = interchange(
                *(
                    remittance(f"T{row}", 100 + row, control=f"{row:04d}")
                    for row in range(1 + number * 10, 6 + number * 10)
                ),
                receiver=receiver,
                set_count=5,
            )
            world.keep(data)
            world.intend(order_of(data))


def crash_at(point: str, visit: int = 1) -> Callable[[str], None]:
    """Ends the process when a point is passed for the n-th time."""
    passed: Counter[str] = Counter()

    def fault(name: str) -> None:
        passed[name] += 1
        if name == point and passed[name] == visit:
            raise Crash(name)

    return fault


def check_all_there(world: World, files: dict[str, bytes]) -> None:
    """Four files, each whole; one done row each; nothing is left over."""
    assert sorted(files) == [
        f"{receiver}/{receiver}_SENDER_{number:09d}.x12"
        for receiver in ("EAST", "WEST")
        for number in (1, 2)
    ]
    for data in files.values():
        x12 = read_835(data)
        assert not len(x12.findings)
        assert len(x12.transactions) == 5
    with world.ledger.reading() as connection:
        events = connection.execute(select(release_event.c.file, release_event.c.event)).all()
    per_file = Counter((file, event) for file, event in events)
    assert {file for file, _ in per_file} == {1, 2, 3, 4}
    for number in range(1, 5):
        assert per_file[number, ReleaseEvent.DONE] == 1
        assert per_file[number, ReleaseEvent.PREPARED] == 1
    assert world.book.unfinished() == []
    assert list((world.released / PARTIAL).iterdir()) == []


@pytest.mark.parametrize("visit", [1, 3])
@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_crash_costs_nothing(world: World, point: str, visit: int) -> None:
    world.restart(crash_at(point, visit))
    with pytest.raises(Crash):
        world.releaser.run_once()
    world.restart()
    world.releaser.run_once()
    check_all_there(world, world.files())
    world.restart()
    assert world.releaser.run_once() == Run(0, 0, 0, 0)


PER_FILE = ("releaser: half written", "sink: opened", "sink: written")


@pytest.mark.parametrize("again", FAULT_POINTS)
@pytest.mark.parametrize(("point", "visit"), [*((point, 1) for point in FAULT_POINTS),
                                              *((point, 3) for point in PER_FILE)])  # fmt: skip
def test_files_that_go_together_survive_crashes(
    world: World, point: str, visit: int, again: str
) -> None:
    world.group_files_max = 4
    for name, number in ((point, visit), (again, 1)):
        world.restart(crash_at(name, number))
        try:
            world.releaser.run_once()
        except Crash:
            continue
    world.restart()
    world.releaser.run_once()
    check_all_there(world, world.files())


def test_files_that_go_together_fail_alone(world: World) -> None:
    world.group_files_max = 4
    world.restart()
    (world.released / PARTIAL).mkdir(parents=True)
    (world.released / "WEST").mkdir()
    (world.released / "WEST" / "WEST_SENDER_000000001.x12").write_bytes(b"in the way")
    assert world.releaser.run_once() == Run(3, 1, 0, 0)
    assert [failure.name for failure in world.failures] == ["WEST_SENDER_000000001.x12"]
    (world.released / "WEST" / "WEST_SENDER_000000001.x12").unlink()
    world.sleep(3600)
    assert world.releaser.run_once() == Run(1, 0, 0, 0)
    check_all_there(world, world.files())


def test_a_content_that_is_damaged_costs_only_the_files_that_need_it(world: World) -> None:
    world.group_files_max = 4
    world.restart()
    bad = next(iter(world.vault.contents))
    world.vault.damaged.add(bad)
    assert world.releaser.run_once() == Run(3, 1, 0, 0)
    world.vault.damaged.clear()
    world.sleep(3600)
    assert world.releaser.run_once() == Run(1, 0, 0, 0)
    check_all_there(world, world.files())


@pytest.mark.parametrize("second", FAULT_POINTS)
@pytest.mark.parametrize("first", ["sink: written", "sink: prepared", "sink: moved"])
def test_a_crash_after_a_crash_costs_nothing(world: World, first: str, second: str) -> None:
    for point in (first, second):
        world.restart(crash_at(point))
        with pytest.raises(Crash):
            world.releaser.run_once()
    world.restart()
    world.releaser.run_once()
    check_all_there(world, world.files())


@pytest.mark.parametrize("point", AFTER_MOVE)
def test_a_file_that_the_receiver_took_is_not_sent_again(world: World, point: str) -> None:
    world.restart(crash_at(point))
    with pytest.raises(Crash):
        world.releaser.run_once()
    taken = world.files()
    assert len(taken) == 1
    for name in taken:
        (world.released / name).unlink()
    world.restart()
    world.releaser.run_once()
    assert not set(taken) & set(world.files())
    check_all_there(world, taken | world.files())


@pytest.mark.parametrize("point", BEFORE_MOVE)
def test_nothing_is_seen_before_it_is_whole(world: World, point: str) -> None:
    world.restart(crash_at(point))
    with pytest.raises(Crash):
        world.releaser.run_once()
    assert world.files() == {}


def test_a_prepared_file_that_was_damaged_is_written_again(world: World) -> None:
    world.restart(crash_at("sink: prepared"))
    with pytest.raises(Crash):
        world.releaser.run_once()
    (partial,) = (world.released / PARTIAL).iterdir()
    partial.write_bytes(partial.read_bytes()[:-7])
    world.restart(crash_at("sink: synced"))
    with pytest.raises(Crash):
        world.releaser.run_once()
    world.restart()
    world.releaser.run_once()
    check_all_there(world, world.files())


def test_bytes_that_changed_are_never_sent(world: World) -> None:
    world.restart(crash_at("sink: prepared"))
    with pytest.raises(Crash):
        world.releaser.run_once()
    (partial,) = (world.released / PARTIAL).iterdir()
    partial.write_bytes(b"")
    intent = world.book.unfinished()[0]
    for digest, data in world.vault.contents.items():
        world.vault.contents[digest] = data.replace(b"*JANE*", b"*JOHN*")
    world.restart()
    run = world.releaser.run_once()
    assert (run.delivered_count, run.failed_count) == (3, 1)
    assert world.failures[-1].name == intent.name
    assert "other" not in world.files()
    assert partial.exists(), "were it gone, it would count as delivered"
    assert world.book.unfinished()[0].number == intent.number


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("removed", ["root", "partial"])
def test_without_the_private_folder_a_prepared_file_is_in_doubt(
    world: World, removed: str, delivered: bool
) -> None:
    world.restart(crash_at("sink: prepared"))
    with pytest.raises(Crash):
        world.releaser.run_once()
    gone = world.released if removed == "root" else world.released / PARTIAL
    gone.rename(world.folder / "gone")
    world.restart()
    assert world.releaser.run_once() == Run(3, 0, 0, 1)
    (intent,) = world.book.unfinished()
    assert intent.is_in_doubt
    assert len(world.files()) == 3
    world.restart()
    assert world.releaser.run_once() == Run(0, 0, 0, 1), "only a person knows"
    world.book.answer(intent.number, delivered=delivered, at="2026-03-18T09:00:00+00:00")
    assert world.releaser.run_once() == Run(0 if delivered else 1, 0, 0, 0)
    assert len(world.files()) == (3 if delivered else 4)


def test_a_folder_that_goes_while_it_runs_is_in_doubt_as_well(world: World) -> None:
    def blocked(point: str) -> None:
        if point == "sink: prepared":
            raise OSError(5, "I/O error")

    world.restart(blocked)
    assert world.releaser.run_once() == Run(0, 2, 2, 0)
    (world.released / PARTIAL).rename(world.folder / "gone")
    world.sleep(60)
    run = world.releaser.run_once()
    assert run.in_doubt_count == 2
    assert world.releaser.status().last_run == run


_CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from release_world import open_world
from test_releaser_faults import fill

def fault(name):
    if name == sys.argv[2]:
        os._exit(9)

with open_world(Path(sys.argv[1])) as world:
    if not world.book.unfinished():
        fill(world)
    else:
        sys.exit("filled before")
    Path(sys.argv[1], "vault").mkdir()
    for digest, data in world.vault.contents.items():
        Path(sys.argv[1], "vault", digest.hex()).write_bytes(data)
    world.restart(fault)
    world.releaser.run_once()
"""


@pytest.mark.parametrize("point", ["sink: listed", "sink: prepared", "sink: moved"])
def test_a_process_that_dies_leaves_what_another_goes_on_with(tmp_path: Path, point: str) -> None:
    """A real death: no handler runs, no file is closed, no lock is given back by hand."""
    tests = REPOSITORY / "tests"
    paths = os.pathsep.join([str(tests), str(tests / "integration")])
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path), point, str(tests)],
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
        timeout=60,
    )
    assert child.returncode == 9
    with open_world(tmp_path) as world:
        for path in (tmp_path / "vault").iterdir():
            world.vault.put(path.read_bytes())
        world.releaser.run_once()
        check_all_there(world, world.files())
