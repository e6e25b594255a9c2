"""Returns and reversals, before and after the 835 went on; releases without money."""

from __future__ import annotations

from case_files import returned, reversal
from home_story import Story, ach, eft, entry, era

PAID = entry("A1", 1200_00)
BACK = ach(returned(PAID), created="260318")
REVERSED = ach(reversal(PAID), created="260319")
DEFAULT = "default_release_banking_days = 3\n"


def test_returned_before_release(story: Story) -> None:
    late = entry("A1", 1200_00, "2026-03-19")
    story.at("2026-03-16T12:00", era("A1", 1200_00, "2026-03-19"), ach(late))
    story.at("2026-03-18T12:00", ach(returned(late, effective="260320"), created="260320"))
    story.at("2026-03-31")
    story.expects(
        released=[], remittances={"A1": "UNMATCHED_BY_RETURN"}, payments={"A1": "RETURNED"}
    )
    # The payer pays again: that is the first time that it goes out.
    story.at("2026-04-01T12:00", eft("A1", 1200_00, "2026-04-01", number=late.number + 1))
    story.expects(released=["A1"])


def test_returned_after_release_and_paid_again(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00), ach(PAID))
    story.expects(released=["A1"])
    story.at("2026-03-18T12:00", BACK)
    story.expects(
        released=["A1"], remittances={"A1": "UNMATCHED_BY_RETURN"}, payments={"A1": "RETURNED"}
    )
    assert "return after release" in story.remittance("A1").alerts
    again = eft("A1", 1200_00, "2026-03-24", number=PAID.number + 1)
    story.at("2026-03-24", again)
    # The new money is recorded; nothing goes out by itself.
    story.expects(released=["A1"], remittances={"A1": "RELEASED"})
    assert story.payment("A1", 1).status == "MATCHED"
    story.decides("resend", story.remittance("A1"))
    story.expects(released=["A1", "A1"], remittances={"A1": "RELEASED"})
    assert len(story.files) == 2
    assert story.remittance("A1").says("sending 2")


def test_the_return_comes_before_its_payment(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    story.at("2026-03-18T12:00", BACK)
    story.at("2026-03-18T14:00", ach(PAID))
    story.at("2026-03-31")
    story.expects(
        released=[], remittances={"A1": "UNMATCHED_BY_RETURN"}, payments={"A1": "RETURNED"}
    )


def test_reversed_before_release(story: Story) -> None:
    story.settles_on("warehouse", 'release_at = "clock"\n')
    story.at("2026-03-17T12:00")
    story.at("2026-03-17T13:00", era("A1", 1200_00), ach(PAID), REVERSED)
    story.at("2026-03-31")
    story.expects(released=[], payments={"A1": "REVERSED"})
    assert story.remittance("A1").status == "UNMATCHED_BY_RETURN"


def test_reversed_after_release(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00), ach(PAID))
    story.at("2026-03-19T12:00", REVERSED)
    story.at("2026-03-31")
    story.expects(
        released=["A1"], remittances={"A1": "UNMATCHED_BY_RETURN"}, payments={"A1": "REVERSED"}
    )
    assert "return after release" in story.remittance("A1").alerts


def test_never_funded_and_released_by_default(story: Story) -> None:
    story.settles_on("warehouse", DEFAULT)
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    story.at("2026-03-19")
    story.expects(released=[], remittances={"A1": "AWAITING_EFT"})
    story.at("2026-03-20T08:30")
    story.expects(released=["A1"])
    assert story.remittance("A1").says("released by default")
    # The money comes after all.
    story.at("2026-03-24", eft("A1", 1200_00, "2026-03-24"))
    story.expects(released=["A1"], payments={"A1": "MATCHED"})
    assert "funded after default" in story.remittance("A1").alerts


def test_nothing_is_released_by_default_where_nobody_set_days(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    story.at("2026-04-17")
    story.expects(released=[], remittances={"A1": "AWAITING_EFT"})


def test_no_default_for_what_is_held_or_went_back(story: Story) -> None:
    story.settles_on("warehouse", DEFAULT + 'release_at = "clock"\n')
    story.at("2026-03-17T12:00", era("H1", 500_00, number=2))
    story.decides("hold", story.remittance("H1"))
    story.at("2026-03-18", ach(entry("A1", 1200_00), created="260318"),
             ach(returned(PAID), created="260319"), era("A1", 1200_00))  # fmt: skip
    story.at("2026-03-27")
    story.expects(released=[], remittances={"H1": "AWAITING_EFT", "A1": "UNMATCHED_BY_RETURN"})
    story.decides("unhold", story.remittance("H1"))
    story.at("2026-03-30")
    story.expects(released=["H1"])


def test_the_default_of_a_payer_counts_before_the_general_one(story: Story) -> None:
    rules = DEFAULT + '[[default_release]]\npayer_ids = ["1987654321"]\n'
    story.settles_on("warehouse", rules)
    story.at("2026-03-17T12:00", era("A1", 1200_00), era("B1", 5_00, payer="1987654321"))
    story.at("2026-03-27")
    story.expects(released=["A1"], remittances={"B1": "AWAITING_EFT"})
