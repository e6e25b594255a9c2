"""An 835 and its money: when they come, and when the 835 goes on."""

from __future__ import annotations

from home_story import (
    Story,
    ach,
    eft,
    entry,
    era,
    interchange,
    paid_check,
    posted,
    remit,
    wired,
)


def test_match_on_time(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.expects(remittances={"A1": "MATCHED"}, payments={"A1": "MATCHED"})
    story.at("2026-03-17T08:29")
    story.expects(released=[])
    story.at("2026-03-17T08:30")
    story.expects(released=["A1"], remittances={"A1": "RELEASED"})
    assert story.remittance("A1").statuses == ["MATCHED", "RELEASED"]


def test_the_same_in_processes_of_their_own(story: Story) -> None:
    story.receives(era("A1", 1200_00), eft("A1", 1200_00))
    story.runs_alone("serve", "--drain", "--as-of", "2026-03-16T12:00")
    story.expects(released=[])
    said = story.runs_alone("serve", "--drain", "--as-of", "2026-03-17T12:00")
    assert "of 1 in all" in said
    story.expects(released=["A1"])
    said = story.runs_alone("status")
    assert "Released: 1 remittances in 1 files" in said
    story.runs_alone("matches", "--csv", str(story.home / "m.csv"))
    assert "RECEIVER_SENDER_000000001.x12" in (story.home / "m.csv").read_text()


def test_era_first(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    story.expects(remittances={"A1": "AWAITING_EFT"})
    assert story.open() == [story.remittance("A1").name]
    # People type ids as they see them: a narrow terminal must not cut them.
    assert story.remittance("A1").name in story.runs("open")
    story.at("2026-03-19T12:00", eft("A1", 1200_00, settles="2026-03-19"))
    story.expects(released=["A1"])
    assert story.open() == []


def test_eft_first(story: Story) -> None:
    story.at("2026-03-17T12:00", eft("A1", 1200_00))
    story.expects(payments={"A1": "UNMATCHED"})
    story.at("2026-03-19T12:00", era("A1", 1200_00))
    story.expects(released=["A1"], payments={"A1": "MATCHED"})


def test_advised_before_its_settlement_day(story: Story) -> None:
    early = era("A1", 1200_00, "2026-03-20"), eft("A1", 1200_00, settles="2026-03-20")
    story.at("2026-03-17T12:00", *early)
    story.at("2026-03-19")
    story.expects(released=[], remittances={"A1": "MATCHED"})
    story.at("2026-03-20T08:30")
    story.expects(released=["A1"])


def test_a_bulk_payment_waits_for_the_close(story: Story) -> None:
    remits = [remit("B1", 700_00), remit("B1", 500_00), remit("B1", 300_00)]
    story.at("2026-03-17T12:00", interchange(*remits), eft("B1", 1500_00))
    story.expects(released=[])
    story.at("2026-03-17T18:30")
    story.expects(released=["B1", "B1", "B1"], payments={"B1": "MATCHED"})
    assert story.payment("B1").says("T8")


def test_a_reissue_has_a_new_trace(story: Story) -> None:
    story.at("2026-03-17T12:00", era("OLD1", 1200_00))
    story.at("2026-03-24T12:00", era("NEW1", 1200_00, "2026-03-24"),
             eft("NEW1", 1200_00, "2026-03-24"))  # fmt: skip
    story.at("2026-03-24")
    assert "NEW1" in story.sent
    assert story.sent.count("OLD1") == 0


def test_zero_pay_goes_at_once(story: Story) -> None:
    story.at("2026-03-17T12:00", era("Z1", 0), era("Z2", 0, method="CHK", number=2))
    story.expects(released=["Z1", "Z2"])
    assert story.remittance("Z1").says("released by zero_pay")


def test_a_check_in_the_banks_report_is_for_a_person(story: Story) -> None:
    # A report gives the number of a check and not who drew it: that is no proof.
    story.at("2026-03-17T12:00", era("0000778899", 1200_00, method="CHK"))
    story.expects(remittances={"0000778899": "AWAITING_CHECK"})
    story.at("2026-03-19", paid_check("778899", 1200_00, "2026-03-19"))
    story.expects(
        released=[], remittances={"0000778899": "PROBABLE"}, payments={"778899": "SUGGESTED"}
    )
    story.decides("match", story.remittance("0000778899"), story.payment("778899"))
    story.expects(released=["0000778899"], payments={"778899": "MATCHED"})


def test_a_wire(story: Story) -> None:
    story.at("2026-03-17T12:00", era("W1", 9000_00, method="FWT"))
    story.expects(remittances={"W1": "AWAITING_WIRE"})
    story.at("2026-03-18", wired("W1", 9000_00, "2026-03-18"))
    story.expects(released=["W1"])


def test_only_the_banks_report_funds_where_the_rules_say_so(story: Story) -> None:
    story.settles_on("warehouse", 'funded_by = "posted"\n')
    story.at("2026-03-17T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.expects(released=[], remittances={"A1": "MATCHED"})
    story.at("2026-03-18T12:00", posted("A1", 1200_00))
    story.expects(released=["A1"])
    assert [item.status for item in story.items("A1")].count("REPORTED") == 1


def test_an_835_in_the_addenda_of_its_payment(story: Story) -> None:
    carried = remit("C1", 1200_00)
    payload = "~".join(carried.segments("0001")) + "~"
    story.at("2026-03-17T12:00", ach(entry("C1", 1200_00, payload=payload.encode())))
    story.expects(released=["C1"])
    assert story.remittance("C1").says("AUTO, T0")


def test_a_prenote_is_no_payment(story: Story) -> None:
    story.at("2026-03-17T12:00", era("P1", 1200_00), eft("P1", 0, code=23))
    story.at("2026-03-17")
    story.expects(released=[], remittances={"P1": "AWAITING_EFT"}, payments={"P1": "PRENOTE"})


def test_two_payers_with_one_trace(story: Story) -> None:
    story.at(
        "2026-03-17T12:00",
        era("A1", 1200_00),
        era("A1", 900_00, payer="1987654321", number=2),
        eft("A1", 900_00, payer="1987654321", company="1987654321"),
    )
    story.expects(released=["A1"])
    assert sorted(item.cents for item in story.items("A1") if item.status == "RELEASED") == [90000]


def test_a_weekend_and_a_holiday_that_is_a_banking_day(story: Story) -> None:
    # Independence Day of 2026 is a Saturday: the Federal Reserve is open on Friday, July 3.
    story.at("2026-07-02T12:00", era("F1", 100_00, "2026-07-03"), eft("F1", 100_00, "2026-07-03"),
             era("M1", 200_00, "2026-07-06"), eft("M1", 200_00, "2026-07-06"))  # fmt: skip
    story.at("2026-07-03T08:30")
    story.expects(released=["F1"])
    story.at("2026-07-05")
    story.expects(released=["F1"])
    story.at("2026-07-06T08:30")
    story.expects(released=["F1", "M1"])
