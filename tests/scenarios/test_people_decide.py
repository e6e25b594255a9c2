"""What people decide, and what the warehouse answers."""

from __future__ import annotations

import msgspec
import numpy as np
from home_story import Story, eft, era

from reassoc.stream.home import Home
from reassoc.stream.home_log import HomeLog
from reassoc.stream.item_log import DecisionEntry
from reassoc.stream.item_log_sqlite import SqliteItemLog
from reassoc.stream.items import id_bytes, parse_item_name
from reassoc.stream.sqlite_file import SqliteFile

DIRECTORY = """
[[payees]]
tenant = "north"
name = "RIVER CLINIC"
npis = ["1999999984"]
tins = ["112223333"]
accounts = [{ routing = "021000021", account = "5566778" }]

[[payees]]
tenant = "south"
name = "LAKE CLINIC"
npis = ["1888888883"]
tins = ["445556666"]
accounts = [{ routing = "021000021", account = "9988776" }]
"""
SOUTH = {"npi": "1888888883", "tin": "445556666", "account": "9988776"}


def test_match_unmatch_match_again(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    remittance, payment = story.remittance("A1"), story.payment("A1")
    story.decides("unmatch", match=remittance.match_id)
    # The matcher respects it for ever, a person need not.
    story.at("2026-03-20")
    story.expects(released=[], payments={"A1": "SUGGESTED"})
    story.decides("match", remittance, payment)
    story.expects(released=["A1"], payments={"A1": "MATCHED"})
    assert story.remittance("A1").says("by a person")
    said = story.decides("unmatch", match=story.remittance("A1").match_id, code=1)
    assert "were released: it stands" in said
    story.expects(released=["A1"], remittances={"A1": "RELEASED"})


def test_a_match_with_a_difference_that_is_confirmed(story: Story) -> None:
    story.at("2026-03-17", era("A1", 1200_00), eft("A1", 1195_00))
    story.expects(released=[], remittances={"A1": "MATCHED_VARIANCE"})
    items = story.remittance("A1"), story.payment("A1")
    refused = story.decides("match", *items, code=1)
    assert "look again" in refused
    story.expects(released=[], remittances={"A1": "MATCHED_VARIANCE"})
    story.decides("match", *items, difference="-500")
    story.expects(released=["A1"], payments={"A1": "MATCHED"})


def test_a_match_by_a_person_waits_for_the_money(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("X9", 1200_00))
    story.decides("match", story.remittance("A1"), story.payment("X9"))
    story.expects(released=[], remittances={"A1": "MATCHED"})
    story.at("2026-03-17T08:30")
    story.expects(released=["A1"])


def test_part_of_a_payment(story: Story) -> None:
    story.at("2026-03-17", era("A1", 1200_00), eft("X9", 2000_00))
    story.decides("match", story.remittance("A1"), story.payment("X9"), difference="80000")
    story.expects(released=["A1"], payments={"X9": "PARTIAL"})


def test_hold_and_unhold(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    story.decides("hold", story.remittance("A1"))
    story.at("2026-03-18")
    story.expects(released=[], remittances={"A1": "MATCHED"})
    story.decides("unhold", story.remittance("A1"))
    story.expects(released=["A1"])
    assert "released already" in story.decides("hold", story.remittance("A1"), code=1)


def test_what_rules_hold_back_goes_by_hand(story: Story) -> None:
    story.settles_on(
        "warehouse",
        """
        [[hold]]
        payer_ids = ["1555555555"]
        [[hold]]
        payee_ids = ["1777777774"]
        [[hold]]
        provider_adjustment = true
        [[hold]]
        reversal = true
        [[hold]]
        above_cents = 1000000
        """,
    )
    story.at(
        "2026-03-17T12:00",
        era("PAYER", 10_00, payer="1555555555"),
        eft("PAYER", 10_00, payer="1555555555", company="1555555555"),
        era("PAYEE", 20_00, npi="1777777774"),
        eft("PAYEE", 20_00),
        era("PLB", 30_00, plb=(("WO", 5_00),)),
        eft("PLB", 25_00),
        era("BACK", 0, claims=(50_00, -10_00)),
        eft("BACK", 40_00),
        era("LARGE", 10_000_01),
        eft("LARGE", 10_000_01),
        era("LIMIT", 10_000_00),
        eft("LIMIT", 10_000_00),
    )
    story.at("2026-03-31")
    held = ["PAYER", "PAYEE", "PLB", "BACK", "LARGE"]
    story.expects(released=["LIMIT"], remittances=dict.fromkeys(held, "MATCHED"))
    story.decides("release", *(story.remittance(trace) for trace in held))
    story.expects(released=["LIMIT", *held])


def test_release_without_money_and_the_money_after_all(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    story.decides("release", story.remittance("A1"))
    story.expects(released=["A1"], remittances={"A1": "RELEASED"})
    assert "see resend" in story.decides("release", story.remittance("A1"), code=1)
    story.at("2026-03-18", eft("A1", 1200_00, "2026-03-18"))
    story.expects(released=["A1"], payments={"A1": "MATCHED"})


def test_void(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    story.decides("void", story.remittance("A1"))
    story.at("2026-03-18", eft("A1", 1200_00, "2026-03-18"))
    story.expects(released=[], remittances={"A1": "VOIDED"}, payments={"A1": "UNMATCHED"})
    assert "voided" in story.decides("release", story.remittance("A1"), code=1)


def test_what_was_cut_off_is_not_released_by_hand(story: Story) -> None:
    whole = era("A1", 1200_00)
    story.at("2026-03-17T12:00", whole[: whole.index(b"SE*")], eft("A1", 1200_00))
    story.expects(released=[], remittances={"A1": "INVALID"})
    refusal = story.decides("release", story.remittance("A1"), code=1)
    assert "have no end" in refusal
    story.expects(released=[], remittances={"A1": "INVALID"})
    story.decides("void", story.remittance("A1"))
    story.at("2026-03-18", whole)
    assert len(story.sent) == 1, "the whole file is another remittance"


def test_suspense_and_reopen(story: Story) -> None:
    story.at("2026-03-17T12:00", eft("A1", 1200_00))
    said = story.decides("suspense", story.payment("A1"))
    assert '"item_count":1,"cents":120000' in said
    story.at("2026-03-18T12:00", era("A1", 1200_00))
    story.expects(released=[], payments={"A1": "WRITTEN_TO_SUSPENSE"})
    story.decides("reopen", story.payment("A1"))
    story.expects(released=["A1"], payments={"A1": "MATCHED"})


def test_an_alias_matches_what_came_before_it(story: Story) -> None:
    story.at("2026-03-17", era("A1", 1200_00, payer="1555555555"), eft("A1", 1200_00))
    story.expects(released=[])
    story.runs("decide", "alias", "--payer=1555555555", "--payer=1234567890", "--why=one payer")
    story.at("2026-03-18")
    story.expects(released=["A1"])
    assert story.remittance("A1").says("AUTO, T3")
    story.at("2026-03-19", era("A2", 7_00, payer="1555555555"), eft("A2", 7_00))
    story.expects(released=["A1", "A2"])


def test_a_filter_is_confirmed_by_count_and_cents(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00), era("A2", 300_00), eft("X1", 55_00))
    by_filter = ("decide", "release", "--why=old", "--side=remittances", "--status=awaiting_eft")
    said = story.runs(*by_filter, "--count=3", "--cents=150000", code=2)
    assert "2 items of 1,500.00 dollars" in said
    assert "--count 2 --cents 150000" in story.runs(*by_filter, code=2)
    story.expects(released=[])
    story.runs(*by_filter, "--count=2", "--cents=150000")
    story.expects(released=["A1", "A2"])


def test_decisions_of_two_tenants(story: Story) -> None:
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-17T12:00", era("A1", 1200_00), era("B1", 300_00, **SOUTH))
    north, south = story.remittance("A1"), story.remittance("B1")
    assert (north.tenant, south.tenant) == ("north", "south")
    said = story.decides("hold", north, south)
    assert said.count('"is_done":true') == 2
    story.at("2026-03-18", eft("A1", 1200_00), eft("B1", 300_00, account="9988776"))
    story.expects(released=[], payments={"A1": "MATCHED", "B1": "MATCHED"})
    said = story.decides("match", north, story.payment("B1"), code=2)
    assert "never one match" in said
    story.decides("unhold", north, south)
    story.expects(released=["A1", "B1"])


def test_what_waits_on_the_log_is_decided_before_a_move(story: Story) -> None:
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    first = story.remittance("A1")
    digest, offset = parse_item_name(first.name) or (0, 0)
    ids = id_bytes(np.array([digest], np.uint64), np.array([offset], np.int64)).tobytes()
    file = SqliteFile(Home.open(story.home).state_file)
    log = HomeLog(SqliteItemLog(file, lambda: "2026-03-17T17:00:00Z"))
    log.append([("north", DecisionEntry("release", "11" * 8, "me", "waits", ids, b""))])
    log.close()
    assert "were released already" in story.decides("move", first, to="south", code=1)
    story.expects(released=["A1"])
    assert story.open("--tenant=south") == []
    told = msgspec.json.decode(story.runs("history", "A1", "--json"))
    assert (told["item"]["side"], told["item"]["date"]) == ("remittance", "2026-03-17")
    (decided,) = {
        one["answer"]: one for event in told["events"] for one in event["decisions"]
    }.values()
    assert (decided["answer"], decided["why"]) == ("done", "waits")
    status = msgspec.json.decode(story.runs("status", "--json"))
    assert (status["clock"]["kind"], status["open"], status["held"]) == ("opening", [], None)


def test_items_move_to_another_tenant(story: Story) -> None:
    story.settles_on("directory", DIRECTORY)
    story.at("2026-03-17T12:00", era("A1", 1200_00), era("B1", 300_00, **SOUTH),
             eft("B1", 300_00, account="9988776"))  # fmt: skip
    first, released = story.remittance("A1"), story.remittance("B1")
    story.expects(released=["B1"])
    assert "must be a tenant" in story.decides("move", first, to="west", code=2)
    assert "of this tenant already" in story.decides("move", first, to="north", code=2)
    assert "were released already" in story.decides("move", released, to="north", code=1)
    story.decides("move", first, to="south")
    moved = story.remittance("A1")
    assert ("north", "ARCHIVED") in moved.steps
    assert moved.tenant == "south"
    told = story.runs("history", "A1")
    assert "of south" in told
    assert "moved to" in told
    assert "found by this" not in told, "it is one item, that came to two tenants"
    assert story.open("--tenant=south") == [first.name]
    assert story.open("--tenant=north") == []
    assert "never go back" in story.decides("move", first, to="north", code=2)
    # What cannot move is not half moved; what moved is decided about where it is.
    assert story.open() == [first.name]
    assert story.decides("release", first).count("is_done") == 1
    story.expects(released=["A1", "B1"])


def test_decisions_while_another_process_serves(story: Story) -> None:
    story.receives(era("A1", 1200_00), era("A2", 300_00))
    with story.served("2026-03-17T12:00"):
        story.waits_for("A2", "AWAITING_EFT")
        said = story.runs("serve", "--drain", code=2)
        assert "reassoc serve" in said, "it says who has the home"
        story.decides("hold", story.remittance("A1"))
        story.decides("release", story.remittance("A2"))
        assert "were released already" in story.decides("void", story.remittance("A2"), code=1)
        story.receives(eft("A1", 1200_00))
        story.waits_for("A1", "MATCHED")
    story.expects(released=["A2"], remittances={"A1": "MATCHED"})


def test_what_cannot_be_asked(story: Story) -> None:
    story.at("2026-03-17T12:00", era("A1", 1200_00))
    unknown = f"--item={'0' * 16}-7"
    assert "not open or recent" in story.runs("decide", "void", "--why=x", unknown, code=2)
    assert "0123456789abcdef-120" in story.runs("decide", "void", "--why=x", "--item=A1", code=2)
    assert "no match has this id" in story.decides("unmatch", match="0" * 15 + "1", code=2)
    assert "nothing would fit" in story.runs("open", "--cents-min=2", "--cents-max=1", code=2)
    assert "needs at least one" in story.decides("match", story.remittance("A1"), code=1)
    assert "takes payments" in story.decides("suspense", story.remittance("A1"), code=1)
    story.expects(released=[], remittances={"A1": "AWAITING_EFT"})


def test_nothing_that_was_said_is_passed_over(story: Story) -> None:
    story.at("2026-03-16T12:00", era("A1", 1200_00), eft("A1", 1200_00))
    item = story.remittance("A1")
    for words in (
        {"why": ""},
        {"why": "  "},
        {"why": "one\nand two"},
        {"side": "remittances"},
        {"count": "2", "cents": "120000"},
        {"count": "1"},
        {"to": "south"},
        {"difference": "7"},
        {"match": "00" * 8},
    ):
        story.decides("hold", item, code=2, **words)
    for words in ({"payer": "1"}, {"item": item.name}):
        story.decides("unmatch", code=2, match=item.match_id, **words)
    two = ("--why", "x", "--payer", "1234567890", "--payer", "9")
    assert "takes no second --payer" in story.runs("decide", "hold", *two, code=2)
    story.runs("decide", "alias", "--why", "x", "--payer", "A", "--payer", "A", code=2)
    story.runs("decide", "match", "--why", "x", f"--difference={-(10**20)}", code=2)
    assert story.remittance("A1").status == "MATCHED"
    story.decides("hold", item, count="1", cents="120000")
