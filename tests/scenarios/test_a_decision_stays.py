"""What a person decided holds against whatever comes later: copies, other rows for the same money,
returns, moves, and time."""

from __future__ import annotations

from contextlib import closing

import pytest
from case_files import PAYER, Line, ach, bai2, dishonored, returned
from home_story import Story, eft, entry, era, posted
from test_people_decide import DIRECTORY

from reassoc.stream import state_sqlite
from reassoc.stream.home import Home
from reassoc.stream.items import RecordKind
from reassoc.stream.sqlite_file import SqliteFile
from reassoc.stream.state import KEY_RECORDS_MAX
from reassoc.stream.state_sqlite import SqliteState

COPIES = range(2, 6)
"""Files of one content: of so many ids some are below that of the first."""
PAID = entry("A1", 1200_00, "2026-03-19")
BACK = returned(PAID, effective="260320")
DIRECTORY_OF_SOUTH = DIRECTORY[DIRECTORY.index("[[payees]]", 20) :]


# ---- suspense ----


def test_a_copy_of_money_in_suspense_is_no_money(story: Story) -> None:
    story.at("2026-03-17T12:00", eft("A1", 1200_00))
    story.decides("suspense", story.payment("A1"))
    story.at("2026-03-17T13:00", *(eft("A1", 1200_00) + b"\n" * n for n in COPIES))
    story.at("2026-03-18T12:00", era("A1", 1200_00))
    story.expects(released=[], remittances={"A1": "AWAITING_EFT"})
    statuses = sorted(item.status for item in story.items("A1") if item.side == "payment")
    assert statuses == ["DUPLICATE"] * len(COPIES) + ["WRITTEN_TO_SUSPENSE"]


@pytest.mark.parametrize("together", [True, False])
def test_the_banks_line_about_money_in_suspense_is_no_money(story: Story, together: bool) -> None:
    line = posted("A1", 1200_00)
    story.at("2026-03-17T12:00", eft("A1", 1200_00), *([line] if together else []))
    paid = next(item for item in story.items("A1") if item.status != "REPORTED")
    story.decides("suspense", paid)
    story.at("2026-03-18T12:00", era("A1", 1200_00), *([] if together else [line]))
    story.expects(released=[], remittances={"A1": "AWAITING_EFT"})
    statuses = sorted(item.status for item in story.items("A1") if item.side == "payment")
    assert statuses == ["REPORTED", "WRITTEN_TO_SUSPENSE"]
    story.decides("reopen", paid)
    story.expects(released=["A1"])


def test_the_entry_of_a_line_in_suspense_is_for_a_person(story: Story) -> None:
    story.at("2026-03-17T12:00", posted("A1", 1200_00))
    story.decides("suspense", story.payment("A1"))
    story.at("2026-03-18T12:00", eft("A1", 1200_00), era("A1", 1200_00))
    story.expects(released=[], remittances={"A1": "PROBABLE"})
    statuses = sorted(item.status for item in story.items("A1") if item.side == "payment")
    assert statuses == ["SUGGESTED", "WRITTEN_TO_SUSPENSE"]


def test_money_in_suspense_goes_back_and_the_return_is_refused(story: Story) -> None:
    story.at("2026-03-17T12:00", ach(PAID))
    story.decides("suspense", story.payment("A1"))
    story.at("2026-03-20T12:00", ach(BACK, created="260320"))
    story.expects(released=[], payments={"A1": "RETURNED"})
    story.at("2026-03-23T12:00", ach(dishonored(BACK, PAID), created="260323"))
    story.at("2026-03-24T12:00", era("A1", 1200_00, "2026-03-19"))
    story.expects(released=[], payments={"A1": "WRITTEN_TO_SUSPENSE"})


# ---- copies ----


def test_no_copy_goes_around_a_hold(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00))
    held = story.remittance("A1")
    story.decides("hold", held)
    story.at("2026-03-16T13:00", *(era("A1", 1200_00, number=n) for n in COPIES))
    story.at("2026-03-18T12:00", eft("A1", 1200_00))
    story.expects(released=[])
    story.decides("unhold", held)
    story.expects(released=["A1"])


def test_no_copy_goes_around_an_undone_match(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.decides("unmatch", match=story.remittance("A1").match_id)
    story.at("2026-03-16T13:00", *(era("A1", 1200_00, number=n) for n in COPIES))
    story.at("2026-03-16T14:00", *(eft("A1", 1200_00) + b"\n" * n for n in COPIES))
    story.at("2026-03-18T12:00")
    story.expects(released=[])


@pytest.mark.parametrize("kind", ["void", "move"])
def test_a_copy_of_what_is_gone_is_held_and_told(story: Story, kind: str) -> None:
    story.settles_on("directory", DIRECTORY)
    story.settles_on("warehouse", "default_release_banking_days = 3\n")
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    first = story.remittance("A1")
    story.decides(kind, first, **({"to": "south"} if kind == "move" else {}))
    story.at("2026-03-18T13:00", era("A1", 1200_00, number=2))
    story.at("2026-03-30")
    story.expects(released=["A1"] if kind == "move" else [])
    copy = next(item for item in story.items("A1") if item.name != first.name)
    assert (copy.status, copy.tenant) == ("DUPLICATE", "north")
    assert "duplicate of history" in copy.alerts


# ---- moves ----


def test_a_hold_in_the_quarantine_holds_in_the_tenant(story: Story) -> None:
    story.settles_on("directory", DIRECTORY_OF_SOUTH)
    story.at("2026-03-17T12:00", era("A1", 1200_00), era("A2", 300_00))
    story.decides("hold", story.remittance("A1"))
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-18T12:00", eft("A1", 1200_00), eft("A2", 300_00))
    story.expects(released=["A2"], remittances={"A1": "MATCHED"})
    assert story.remittance("A1").tenant == "north"
    story.decides("unhold", story.remittance("A1"))
    story.expects(released=["A1", "A2"])


def test_what_was_held_or_undone_is_held_where_it_moves_to(story: Story) -> None:
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00),
             era("A2", 300_00), eft("A2", 300_00))  # fmt: skip
    story.decides("hold", story.remittance("A1"))
    story.decides("unmatch", match=story.remittance("A2").match_id)
    moving = [make(trace) for trace in ("A1", "A2") for make in (story.remittance, story.payment)]
    story.decides("move", *moving, to="south")
    story.at("2026-03-20T12:00")
    story.expects(released=[], remittances={"A1": "MATCHED", "A2": "MATCHED"})
    story.decides("unhold", story.remittance("A1"), story.remittance("A2"))
    story.expects(released=["A1", "A2"])


def test_what_is_told_of_a_moved_payment_where_it_was(story: Story) -> None:
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-17T12:00", ach(PAID), eft("A2", 300_00))
    for trace in ("A1", "A2"):
        story.decides("move", story.payment(trace), to="south")
    line = Line(cents=300_00, text=f"EXAMPLE HEALTH TRN*1*A2*{PAYER}\\")
    story.at(
        "2026-03-20T12:00", ach(BACK, created="260320"), bai2(line, day="260317"), era("A2", 300_00)
    )
    story.expects(released=[], remittances={"A2": "AWAITING_EFT"})
    assert ("north", "RETURNED") in story.payment("A1").steps
    assert "REPORTED" in [item.status for item in story.items("A2")]


# ---- many, and late ----


def test_a_match_of_more_pairs_than_a_key_brings_is_undone_whole(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = 5
    for name in ("_CROWDED", "_FIRST_OF_KEY"):
        query = getattr(state_sqlite, name).replace(str(KEY_RECORDS_MAX), str(few))
        monkeypatch.setattr(state_sqlite, name, query)
    monkeypatch.setattr(state_sqlite, "KEY_RECORDS_MAX", few)
    traces = [f"T{n}X{n * 7919}" for n in range(few + 1)]
    story.at("2026-03-16T12:00", *(era(each, 1_00) for each in traces),
             eft("BULK", len(traces) * 1_00, "2026-03-18"))  # fmt: skip
    story.decides("match", *map(story.remittance, traces), story.payment("BULK"))
    story.expects(released=[], remittances=dict.fromkeys(traces, "MATCHED"))
    story.decides("unmatch", match=story.payment("BULK").match_id)
    story.at("2026-03-18T12:00")
    story.expects(released=[], remittances=dict.fromkeys(traces, "PROBABLE"))


def test_what_left_the_state_is_not_open_and_leaves_nothing_behind(story: Story) -> None:
    story.settles_on("warehouse", "keep_closed_banking_days = 5\n")
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00), era("A2", 5_00),
             era("A2", 5_00, number=2), eft("A2", 5_00), eft("A2", 5_00) + b"\n")  # fmt: skip
    assert len(story.open("--status=duplicate", "--side=payments")) == 1
    story.decides("unmatch", match=story.remittance("A1").match_id)
    story.decides("void", story.remittance("A1"))
    story.decides("suspense", story.payment("A1"))
    story.at("2026-04-30")
    story.expects(released=["A2"])
    assert story.open() == []
    with closing(SqliteFile(Home.open(story.home).state_file)) as file:
        left = list(SqliteState(file).scan("default", tuple(RecordKind)))
    kinds = {int(kind) for records in left for kind in records.kinds}
    assert kinds == {RecordKind.TENANT, RecordKind.PROFILE}
