"""What comes twice, what competes, what is cut off."""

from __future__ import annotations

import csv
import io

from case_files import ach
from home_story import Story, eft, entry, era, interchange, remit


def test_the_same_file_again(story: Story) -> None:
    both = era("A1", 1200_00), eft("A1", 1200_00)
    story.at("2026-03-17T12:00", *both)
    said = story.at("2026-03-18T12:00", *both)
    assert "copies of earlier ones" in said
    story.at("2026-03-31")
    story.expects(released=["A1"])
    assert len(story.items("A1")) == 2


def test_a_duplicate_835_in_another_file(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.at("2026-03-18T12:00", era("A1", 1200_00, number=2))
    story.at("2026-03-31", eft("A1", 1200_00, "2026-03-24", number=77))
    story.expects(released=["A1"])
    assert story.remittance("A1", 1).status == "DUPLICATE"


def test_a_duplicate_of_what_was_closed_long_ago(story: Story) -> None:
    story.settles_on("warehouse", "keep_closed_banking_days = 5\n")
    story.at("2026-03-17T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.at("2026-03-26")
    assert story.runs("matches", "--csv", "-").count("\n") == 1, "the state has forgotten it"
    story.at("2026-03-27T12:00", era("A1", 1200_00, number=2), era("A1", 1200_00),
             eft("A1", 1200_00))  # fmt: skip
    story.at("2026-03-27")
    story.expects(released=["A1"])
    copy = story.remittance("A1", 1)
    assert copy.status == "DUPLICATE"
    assert "duplicate of history" in copy.alerts
    assert len(story.items("A1")) == 3


def test_a_copy_of_a_payment_that_says_next_to_nothing(story: Story) -> None:
    bare = entry("A1", 1200_00, text=None, account="", company_name="=1+1")
    story.at("2026-03-17T12:00", ach(bare))
    story.at("2026-03-17T13:00", ach(bare, created="260318"))
    rows = list(csv.DictReader(io.StringIO(story.runs("open", "--csv", "-"))))
    assert sorted(row["status"] for row in rows) == ["duplicate", "unmatched"]
    alerts = [story.items(row["item"])[0].alerts for row in rows]
    assert alerts == [[], []], "its original is there to be compared with"
    assert {row["payer_name"] for row in rows} == {"'=1+1"}, "no formula for a spreadsheet"


def test_a_suspected_duplicate_that_is_none(story: Story) -> None:
    story.settles_on("warehouse", "keep_closed_banking_days = 5\n")
    story.at("2026-03-17T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.at("2026-03-26")
    story.at("2026-03-27T12:00", era("A1", 1200_00, number=2))
    # A person says that it is none: it waits for money, as any other.
    story.decides("reopen", story.remittance("A1", 1))
    story.expects(released=["A1"])
    assert story.remittance("A1", 1).status == "AWAITING_EFT"
    story.at("2026-03-27T14:00", eft("A1", 1200_00, "2026-03-27", number=77))
    story.expects(released=["A1", "A1"])


def test_a_truncated_upload_and_then_the_whole_file(story: Story) -> None:
    whole = interchange(remit("A1", 1200_00), remit("A2", 300_00))
    story.at("2026-03-17T12:00", whole[: whole.index(b"SE*") + 40], eft("A1", 1200_00),
             eft("A2", 300_00))  # fmt: skip
    assert "A2" not in story.sent
    story.at("2026-03-18T12:00", whole)
    story.at("2026-03-18")
    story.expects(released=["A1", "A2"])


def test_rivals_before_release(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.expects(remittances={"A1": "MATCHED"})
    story.at("2026-03-16T13:00", era("A1", 1200_00, number=2, claims=(1000_00, 200_00)))
    story.at("2026-03-31")
    story.expects(released=[])
    assert [story.remittance("A1", place).status for place in (0, 1)] == ["PROBABLE"] * 2


def test_a_rival_after_release(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.at("2026-03-18T12:00", era("A1", 1200_00, number=2, claims=(1000_00, 200_00)))
    story.at("2026-03-31")
    story.expects(released=["A1"])
    first, second = story.remittance("A1"), story.remittance("A1", 1)
    assert first.status == "RELEASED"
    assert second.status in ("PROBABLE", "AWAITING_EFT")
    assert "rival after release" in first.alerts + second.alerts + story.payment("A1").alerts
