"""What the owner of a home changes while it lives: policy, rules, directory; and the clock."""

from __future__ import annotations

from case_files import ach
from home_story import Story, eft, entry, era
from test_people_decide import DIRECTORY, SOUTH

NORTH_ONLY = DIRECTORY[: DIRECTORY.rindex("[[payees]]")]


def test_a_policy_that_is_edited_holds_from_the_next_run(story: Story) -> None:
    story.at("2026-03-17", era("A1", 1200_00, payer="1555555555"), eft("A1", 1200_00))
    story.expects(released=[])
    story.settles_on("policy", '[[payers]]\nids = ["1555555555", "1234567890"]\n')
    story.at("2026-03-18")
    story.expects(released=["A1"])


def test_a_policy_that_is_none_stops_the_run(story: Story) -> None:
    story.settles_on("policy", "no_such_key = 1\n")
    said = story.runs("serve", "--drain", "--as-of", "2026-03-17", code=2)
    assert "policy.toml" in said
    assert "no_such_key" in said


def test_rules_that_are_edited_hold_back_what_is_not_released_yet(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.settles_on("warehouse", "[[hold]]\nabove_cents = 100000\n")
    story.at("2026-03-17")
    story.expects(released=[], remittances={"A1": "MATCHED"})
    (story.home / "warehouse.toml").unlink()
    story.at("2026-03-18")
    story.expects(released=["A1"])


def test_a_clock_that_is_set_back(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.at("2026-03-10")
    story.at("2026-03-17T12:00")
    story.expects(released=["A1"])
    assert story.remittance("A1").statuses == ["MATCHED", "RELEASED"]
    said = story.runs("status")
    assert "Last opening: 2026-03-17" in said


def test_payees_of_the_quarantine_that_become_known(story: Story) -> None:
    story.settles_on("directory", NORTH_ONLY)
    lost = entry("B1", 300_00, account="9988776")
    story.at("2026-03-17T12:00", era("B1", 300_00, **SOUTH), ach(lost), era("A1", 5_00))
    story.expects(released=[], remittances={"B1": "QUARANTINED"}, payments={"B1": "QUARANTINED"})
    assert story.remittance("B1").tenant == "~quarantine"
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-18T12:00")
    story.expects(released=["B1"])
    # It came, stayed nobody's, and was released where it belongs. The two logs go on side by side.
    steps = story.remittance("B1").steps
    assert steps[0] == ("~quarantine", "QUARANTINED")
    assert sorted(steps[1:]) == [("south", "RELEASED"), ("~quarantine", "ARCHIVED")]
    assert story.open() == [story.remittance("A1").name]
    # Nothing of it happens twice; the file that comes again is known.
    story.at("2026-03-19T12:00", era("B1", 300_00, **SOUTH))
    story.at("2026-03-20T12:00")
    story.expects(released=["B1"])
    assert story.remittance("B1").tenant == "south"
