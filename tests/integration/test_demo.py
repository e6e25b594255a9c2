"""`reassoc serve --demo`: the week says what it shows, on a terminal and without one."""

from __future__ import annotations

import io
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from home_feed import done, released
from rich.console import Console

from reassoc.stream import demo
from reassoc.stream.demo import PAYMENTS, RELEASED, WENT_BACK, DemoError, run_demo

POINT = EntryPoint("feed", "reassoc.loadtest.demo_feed:make_demo_feed", demo.DEMO_GROUP)


@pytest.fixture(autouse=True)
def feed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "entry_points", lambda group: [POINT])


def test_the_week(tmp_path: Path) -> None:
    home, out = tmp_path / "home", io.StringIO()
    picture = run_demo(Console(file=out, width=100), home, 1, pace_seconds=0)
    told = out.getvalue()
    assert picture.sums[RELEASED][0] > 60
    assert 1 <= picture.sums[WENT_BACK][0] <= 5
    assert picture.sums[PAYMENTS][0] > 0
    lines = [line.strip() for line in told.splitlines()]

    def after(scene: str) -> str:
        """What the scene that begins so says."""
        start = next(place for place, line in enumerate(lines) if scene in line)
        stop = next(
            (place for place in range(start + 1, len(lines)) if lines[place][11:].startswith("0")),
            start + 8,
        )
        return "\n".join(lines[start : stop + 1])

    # Each note is true of what is told beside it.
    assert "released" not in after("Payers send 835s")
    assert "held: matched, money not settled: +" in after("The bank hands over")
    assert "released: may be posted: +" in after("today's credits are final")
    assert "a copy of a file" in after("once more, under another name")
    assert "($0.00)" in after("some of them pay nothing")
    assert "its money went back: +2" in after("The bank tells of returned entries")
    assert "released: may be posted: +1" in after("A person looks at an 835")
    assert "held: no money seen: -" in after("Three banking days after Tuesday")
    assert "not delivered" not in told
    assert released(home)
    for command in ("open", "status"):
        done(command, "--home", home)
    done("audit", "verify", "--home", home)


def test_on_a_terminal_the_table_changes_and_the_audience_has_time(tmp_path: Path) -> None:
    out, slept = io.StringIO(), list[float]()
    console = Console(file=out, width=100, force_terminal=True)
    run_demo(console, None, 1, pace_seconds=0.5, sleep=slept.append)
    assert set(slept) == {0.5}
    assert len(slept) > 10
    assert out.getvalue().count("in New York") >= len(slept)
    assert "with --home DIR it is kept" in out.getvalue()
    assert not list(tmp_path.iterdir())


def test_without_a_feed_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "entry_points", lambda group: [])
    with pytest.raises(DemoError, match="install reassoc again"):
        run_demo(Console(file=io.StringIO()), None, 1, pace_seconds=0)
    assert "entry point" in done("serve", "--demo", code=1)
