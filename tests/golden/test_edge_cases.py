"""The edge cases of re-association by name and number, each from the bytes of files on."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from case_files import (
    Entry,
    Found,
    Line,
    Remit,
    Result,
    ach,
    bai2,
    contested,
    dishonored,
    era,
    returned,
    run,
)
from case_files import changed as change_of
from case_files import reversal as reversal_of

from reassoc.core.directory import load_directory
from reassoc.core.policy import PayerRule
from reassoc.core.statuses import (
    Funding,
    LinkKind,
    MatchStatus,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Rewrite,
    Tier,
    VarianceCause,
)

AUTO, VARIANCE, REVIEW = MatchStatus.AUTO, MatchStatus.VARIANCE, MatchStatus.REVIEW
UNMATCHED = MatchStatus.UNMATCHED
EFT, PAID = Remit(), Entry()
NO_TRACE = replace(PAID, text=None)
"""An EFT whose addenda were lost on the way."""

RIVER = """
[[payees]]
name = "River Group"
tenant = "north"
tins = ["112223333"]
npis = ["1999999984", "1888888884", "1777777776"]
accounts = [{ routing = "021000021", account = "5566778" }]
"""
LAKE = """
[[payees]]
name = "Lake Clinic"
tenant = "south"
tins = ["445556666"]
npis = ["1666666668"]
accounts = [{ routing = "021000021", account = "9988" }]
"""


def only(status: MatchStatus, tier: Tier) -> list[Found]:
    """The pairs where the first remittance has one pair with the first payment."""
    return [Found(0, 0, status, tier)]


def links(result: Result) -> list[LinkKind]:
    """Kinds of the links, in ascending order."""
    return sorted(LinkKind(kind) for kind in result.matches.links.kind)


# ---- 1 to 3: traces and payers written otherwise ----


@pytest.mark.parametrize(
    ("in_835", "in_addenda"), [("12345678", "0012345678"), ("0012345678", "12345678")]
)
def test_case_01_leading_zeros_lost(in_835: str, in_addenda: str) -> None:
    found = run(era(Remit(trace=in_835)), ach(Entry(trace=in_addenda)))
    assert found.pairs == only(AUTO, Tier.T2)
    assert found.matches.rewrites[0] == Rewrite.TRACE_N3
    assert found.release == [True]


@pytest.mark.parametrize(
    ("in_835", "in_addenda"), [("AB 123-45", "AB12345"), ("AB12345", "AB-123-45")]
)
def test_case_02_spaces_and_hyphen(in_835: str, in_addenda: str) -> None:
    found = run(era(Remit(trace=in_835)), ach(Entry(trace=in_addenda)))
    assert found.pairs == only(AUTO, Tier.T2)
    assert found.matches.rewrites[0] == Rewrite.TRACE_N2
    assert found.release == [True]


@pytest.mark.parametrize("in_835", ["1234567890", "234567890"])
@pytest.mark.parametrize("in_addenda", ["1234567890", "234567890"])
def test_case_03_payer_with_and_without_leading_one(in_835: str, in_addenda: str) -> None:
    found = run(era(Remit(payer=in_835)), ach(Entry(payer=in_addenda)))
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.release == [True]


# ---- 4: aggregators ----


@pytest.mark.parametrize("number", ["1341858379", "1900000001", "1900000002", "1900000003"])
def test_case_04_aggregator_in_the_addenda_and_plan_in_the_835(number: str) -> None:
    paid = Entry(payer=number, company=number, company_name="AGGREGATOR")
    before = run(era(EFT), ach(paid))
    assert before.pairs == only(REVIEW, Tier.T4)
    assert before.why() & Reason.PAYER_DIFFERS
    assert before.release == [False]
    rule = PayerRule(ids=("234567890", number))
    after = run(era(EFT), ach(paid), payers=(rule,))
    assert after.pairs == only(AUTO, Tier.T3)
    assert after.matches.rewrites[0] == Rewrite.PAYER_P2
    assert after.release == [True]


def test_case_04_aggregator_of_the_directory() -> None:
    known = load_directory(
        """
        [[payees]]
        name = "River Clinic"
        accounts = [{ routing = "021000021", account = "5566778" }]
        [[payers]]
        name = "Aggregator"
        ids = ["1341858379"]
        aggregator = true
        plans = ["1234567890"]
        """
    )
    paid = Entry(payer="1341858379", company="1341858379")
    assert run(era(EFT), ach(paid), directory=known).pairs == only(AUTO, Tier.T3)


@pytest.mark.parametrize("account", ["9988", ""])
def test_case_04_an_aggregators_payment_for_another_payee_is_not_even_t4(account: str) -> None:
    found = run(era(Remit(account=account)), ach(Entry(payer="1341858379", company="1341858379")))
    assert [pair for pair in found.pairs if pair.tier == Tier.T4] == []
    assert found.auto == []


# ---- 5 and 6: what became of the addenda ----

TRN = "TRN*1*0012345678*1234567890"


@pytest.mark.parametrize(
    "text",
    [
        TRN + "\\",
        TRN + "~",
        TRN,
        TRN + "~ CLAIM PAYMENT 0316",
        TRN + "\\HCCLAIMPMT REF 7788",
        TRN + "*000012345~",
        "HCCLAIMPMT ZP UHCDComm5044 " + TRN + "\\",
    ],
)
def test_case_05_terminators_and_extra_text(text: str) -> None:
    found = run(era(EFT), ach(Entry(text=text)))
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.release == [True]


@pytest.mark.parametrize(
    "text",
    [
        "HCCLAIMPMT ZP UHCDComm5044 " + TRN + "\\",
        "EXAMPLE HEALTH DES:HCCLAIMPMT ID:1 INDN:RIVER CLINIC CO ID:1234567890 CCD\n88,PMT INFO:"
        + TRN
        + "~",
    ],
    ids=["memo", "continued"],
)
def test_case_05_addenda_in_the_text_of_a_bank_report(text: str) -> None:
    found = run(era(EFT), bai2(Line(text=text)))
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.release == [True]


@pytest.mark.parametrize("report_first", [False, True])
def test_case_05_an_entry_and_its_line_are_one_payment(report_first: bool) -> None:
    files = [bai2(Line()), ach(PAID)] if report_first else [ach(PAID), bai2(Line())]
    entry = int(report_first)
    found = run(era(EFT), *files)
    assert found.pairs == [Found(0, entry, AUTO, Tier.T1)]
    assert found.payments[1 - entry] == PaymentStatus.REPORTED
    assert found.matches.payment_funding[entry] == Funding.POSTED
    assert links(found) == [LinkKind.REPORT_OF]
    assert found.release == [True]


@pytest.mark.parametrize("report_first", [False, True])
def test_case_05_a_line_that_could_be_one_of_two_is_no_third_payment(report_first: bool) -> None:
    entries = ach(PAID, Entry(trace="555555"))
    report = bai2(Line(text="ACH CREDIT"))
    found = run(
        era(EFT, Remit(trace="555555")), *([report, entries] if report_first else [entries, report])
    )
    line = 0 if report_first else 2
    assert [pair[2:] for pair in found.pairs] == [(AUTO, Tier.T1)] * 2
    assert line not in {pair.payment for pair in found.pairs}
    assert found.matches.payment_reason[line] & Reason.REPORT_UNCLEAR
    assert set(found.matches.links.status) == {REVIEW}


LONG = "ZQ7730194428561937705214482690315507"


@pytest.mark.parametrize(
    "cut",
    [LONG[:15], LONG[:30], LONG[-15:], LONG[-30:], LONG[:8]],
    ids=["first 15", "first 30", "last 15", "last 30", "first 8"],
)
@pytest.mark.parametrize("whole_in_835", [True, False])
def test_case_06_trace_cut_at_15_or_30(cut: str, whole_in_835: bool) -> None:
    in_835, in_addenda = (LONG, cut) if whole_in_835 else (cut, LONG)
    files = era(Remit(trace=in_835)), ach(Entry(trace=in_addenda))
    found = run(*files)
    assert found.pairs == only(REVIEW, Tier.T6)
    assert found.why() & Reason.CUT_TRACE
    assert found.why() & Reason.TIER_TO_REVIEW
    assert found.release == [False]
    by_payer = PayerRule(ids=(EFT.payer,), auto_tiers=("T6",))
    for allowed in (run(*files, auto_tiers=("T6",)), run(*files, payers=(by_payer,))):
        assert allowed.pairs == only(AUTO, Tier.T6)
        assert allowed.matches.rewrites[0] & Rewrite.TRACE_N5
        assert allowed.release == [True]


def test_case_06_trace_cut_in_the_text_of_a_bank_report() -> None:
    text = f"HCCLAIMPMT CO ID:{EFT.payer} TRN*1*{LONG[:30]}*{EFT.payer}\\"
    found = run(era(Remit(trace=LONG)), bai2(Line(text=text)))
    assert found.pairs == only(REVIEW, Tier.T6)


def test_case_06_the_whole_addenda_cut_leaves_the_company_id_as_payer() -> None:
    text = f"TRN*1*{LONG}*{EFT.payer}"[:30]
    found = run(era(Remit(trace=LONG)), ach(Entry(text=text)))
    assert found.pairs == only(REVIEW, Tier.T6)


@pytest.mark.parametrize("cut", [LONG[:7], LONG[4:20]], ids=["too short", "from the middle"])
def test_case_06_no_cut_form_is_no_t6(cut: str) -> None:
    found = run(era(Remit(trace=LONG)), ach(Entry(trace=cut)), auto_tiers=("T6",))
    assert [pair for pair in found.pairs if pair.tier == Tier.T6] == []
    assert found.auto == []


def test_case_06_two_whole_traces_for_one_cut_are_a_tie() -> None:
    whole = [Remit(trace=LONG), Remit(trace=LONG[:20] + "55")]
    found = run(era(*whole), ach(Entry(trace=LONG[:15])), auto_tiers=("T6",))
    assert found.pairs == [Found(0, 0, REVIEW, Tier.T6), Found(1, 0, REVIEW, Tier.T6)]
    assert found.why() & Reason.TIE


# ---- 7 and 8: no trace ----


def test_case_07_no_addenda_is_probable_by_payer_and_payee() -> None:
    found = run(era(EFT), ach(NO_TRACE))
    assert found.pairs == only(REVIEW, Tier.T7)
    assert found.why() & Reason.NO_PAYMENT_TRACE
    assert found.remittances == [RemittanceStatus.PROBABLE]
    assert found.payments == [PaymentStatus.SUGGESTED]
    assert found.release == [False]
    opted_in = run(era(EFT), ach(NO_TRACE), auto_tiers=("T7",))
    assert opted_in.pairs == only(AUTO, Tier.T7)
    assert opted_in.release == [True]


@pytest.mark.parametrize(
    "lost",
    [{"company": "9876543210", "company_name": "UNKNOWN"}, {"account": "", "rdfi": "000000000"}],
    ids=["payer unknown", "payee unknown"],
)
def test_case_07_no_addenda_and_less_is_a_suggestion(lost: dict[str, str]) -> None:
    found = run(era(EFT), ach(replace(NO_TRACE, **lost)), auto_tiers=("T7",))
    assert found.pairs == only(REVIEW, Tier.T10)
    assert found.why() & Reason.SUGGESTION
    assert found.remittances == [RemittanceStatus.AWAITING_EFT]
    assert found.payments == [PaymentStatus.SUGGESTED]


@pytest.mark.parametrize(
    "unlike",
    [{"effective": "260325"}, {"account": "9988"}, {"cents": 120001}],
    ids=["six banking days later", "another account", "a cent more"],
)
def test_case_07_no_addenda_and_a_difference_is_nothing(unlike: dict[str, Any]) -> None:
    found = run(era(EFT), ach(replace(NO_TRACE, **unlike)))
    assert found.pairs == []
    assert found.payments == [PaymentStatus.UNMATCHED]


def test_case_07_the_window_of_t7_is_five_banking_days() -> None:
    found = run(era(EFT), ach(replace(NO_TRACE, effective="260324")))
    assert found.pairs == only(REVIEW, Tier.T7)


@pytest.mark.parametrize("payments", [1, 2])
def test_case_08_two_of_the_same_amount_without_a_trace_are_a_tie(payments: int) -> None:
    two = era(Remit(trace="111111"), Remit(trace="222222"))
    found = run(two, ach(*[NO_TRACE] * payments), auto_tiers=("T7",))
    assert len(found.pairs) == 2 * payments
    assert {pair[2:] for pair in found.pairs} == {(REVIEW, Tier.T7)}
    assert all(reason & Reason.TIE for reason in found.reasons())
    assert found.release == [False, False]


# ---- 9 and 10: bulk ----


def test_case_09_one_eft_for_several_835s_of_one_trace() -> None:
    parts = era(Remit(claims=(70000,)), Remit(claims=(50000,)))
    found = run(parts, ach(PAID))
    assert found.pairs == [Found(0, 0, AUTO, Tier.T8), Found(1, 0, AUTO, Tier.T8)]
    assert found.match_ids() == 1
    assert found.release == [True, True]


@pytest.mark.parametrize("mark", "-./_ ")
def test_case_09_one_eft_for_several_835s_of_one_root(mark: str) -> None:
    parts = [Remit(trace=f"77120345{mark}{part}", claims=(60000,)) for part in ("A", "02")]
    found = run(era(*parts), ach(Entry(trace="77120345")))
    assert found.pairs == [Found(0, 0, AUTO, Tier.T8), Found(1, 0, AUTO, Tier.T8)]
    assert found.match_ids() == 1


def test_case_09_a_missing_sibling_keeps_the_others() -> None:
    parts = [Remit(trace="77120345-1", claims=(60000,)), Remit(trace="77120345-2", claims=(40000,))]
    found = run(era(*parts), ach(Entry(trace="77120345")))
    assert found.auto == []
    assert {pair.remittance for pair in found.pairs} == {0, 1}
    assert found.why() & Reason.SIBLING_MISSING
    assert found.release == [False, False]


def test_case_09_without_a_root_a_sum_is_for_review() -> None:
    parts = era(Remit(trace="111111", claims=(70000,)), Remit(trace="222222", claims=(50000,)))
    found = run(parts, ach(Entry(trace="999999")))
    assert found.pairs == [Found(0, 0, REVIEW, Tier.T8), Found(1, 0, REVIEW, Tier.T8)]
    assert found.match_ids() == 1
    assert found.why() & Reason.TIER_TO_REVIEW
    opted_in = run(parts, ach(Entry(trace="999999")), auto_tiers=("T8",))
    assert opted_in.pairs == [Found(0, 0, AUTO, Tier.T8), Found(1, 0, AUTO, Tier.T8)]
    assert opted_in.release == [True, True]


def test_case_09_a_bulk_waits_for_its_horizon() -> None:
    parts = era(Remit(claims=(70000,)), Remit(claims=(50000,)))
    found = run(parts, ach(PAID), at_close=False)
    assert {pair.status for pair in found.pairs} == {REVIEW}
    assert found.why() & Reason.WAITS_FOR_HORIZON
    assert found.release == [False, False]


@pytest.mark.parametrize("traces", [("0012345678",) * 2, ("777777", "888888")])
def test_case_10_one_835_for_several_efts(traces: tuple[str, str]) -> None:
    entries = [Entry(cents=cents, trace=t) for cents, t in zip((70000, 50000), traces, strict=True)]
    found = run(era(EFT), ach(*entries))
    assert found.pairs == [Found(0, 0, REVIEW, Tier.T9), Found(0, 1, REVIEW, Tier.T9)]
    assert found.match_ids() == 1
    assert found.remittances == [RemittanceStatus.PROBABLE]
    opted_in = run(era(EFT), ach(*entries), auto_tiers=("T9",))
    assert opted_in.pairs == [Found(0, 0, AUTO, Tier.T9), Found(0, 1, AUTO, Tier.T9)]
    assert opted_in.release == [True]


def test_case_10_all_parts_must_be_there_before_it_is_released() -> None:
    late = [Entry(cents=70000), Entry(cents=50000, effective="260320")]
    files = era(EFT), ach(*late)
    eve = run(*files, auto_tiers=("T9",), as_of=datetime.date(2026, 3, 19))
    assert len(eve.auto) == 2
    assert eve.release == [False]
    assert run(*files, auto_tiers=("T9",), as_of=datetime.date(2026, 3, 20)).release == [True]


# ---- 11: variance ----


@pytest.mark.parametrize(
    ("received", "plb", "cause"),
    [
        (117600, (), VarianceCause.FEE),
        (102000, (("LE:LEVY1", 18000),), VarianceCause.LEVY),
        (95000, (), None),
        (124000, (), None),
    ],
    ids=["fee", "levy", "offset", "more"],
)
def test_case_11_amount_short(
    received: int, plb: tuple[tuple[str, int], ...], cause: VarianceCause | None
) -> None:
    remit = Remit(plb=plb, claims=(80000, 40000 + sum(cents for _, cents in plb)))
    found = run(era(remit), ach(Entry(cents=received)))
    assert found.pairs == only(VARIANCE, Tier.T5)
    assert found.matches.difference_cents.tolist() == [received - 120000]
    assert cause is None or found.matches.cause.tolist() == [cause]
    assert found.remittances == [RemittanceStatus.MATCHED_VARIANCE]
    assert found.payments == [PaymentStatus.SUGGESTED]
    assert found.release == [False]


# ---- 12 to 14: other ways to pay ----


@pytest.mark.parametrize(("method", "handling"), [("NON", "H"), ("CHK", "I"), ("ACH", "I")])
def test_case_12_zero_pay(method: str, handling: str) -> None:
    denied = Remit(claims=(0,), method=method, handling=handling)
    found = run(era(denied), ach(PAID))
    assert found.auto == []
    assert found.remittances == [RemittanceStatus.NO_FUNDS_EXPECTED]
    assert found.release == [True]


@pytest.mark.parametrize("paid", [PAID, NO_TRACE], ids=["with its trace", "without a trace"])
def test_case_13_check_835_never_meets_ach(paid: Entry) -> None:
    found = run(era(Remit(method="CHK")), ach(paid), auto_tiers=("T6", "T7", "T8", "T9"))
    assert found.pairs == []
    assert found.remittances == [RemittanceStatus.AWAITING_CHECK]
    assert found.release == [False]


CHECK = Remit(method="CHK", trace="4711001", account="")


def test_case_13_check_835_meets_the_check_of_a_lockbox() -> None:
    box = bai2(
        Line(code=115, text="LOCKBOX DEPOSIT", bank_reference="D1"),
        Line(code=116, text="CHECK", bank_reference="D1", customer_reference="4711001"),
    )
    found = run(era(CHECK), box, ach(PAID), directory=load_directory(RIVER))
    assert [pair for pair in found.pairs if pair.payment != 1] == []
    assert found.payments[0] == PaymentStatus.REPORTED
    assert found.pairs == [Found(0, 1, REVIEW, Tier.T4)]
    assert found.why() & Reason.NO_PAYER


@pytest.mark.parametrize("cents", [120000, 116400], ids=["whole", "net of a fee"])
def test_case_14_card_835_never_meets_a_merchant_deposit(cents: int) -> None:
    deposit = replace(
        NO_TRACE, cents=cents, description="MERCH DEP", company_name="CARD SERVICES", sec="CCD"
    )
    found = run(era(Remit(method="CCC")), ach(deposit), auto_tiers=("T6", "T7", "T8", "T9"))
    assert found.pairs == []
    assert found.remittances == [RemittanceStatus.AWAITING_CARD]
    assert found.payments == [PaymentStatus.NOT_CLAIM_PAYMENT]


# ---- 15 to 17: the same trace again ----


def test_case_15_duplicate_in_a_new_envelope() -> None:
    for files in ([era(EFT, number=1), era(EFT, number=2)], [era(EFT, number=2), era(EFT)]):
        found = run(*files, ach(PAID))
        assert [pair[1:] for pair in found.pairs] == [(0, AUTO, Tier.T1)]
        assert sorted(found.remittances) == [RemittanceStatus.DUPLICATE, RemittanceStatus.MATCHED]
        assert sorted(found.release) == [False, True]
        held = found.remittances.index(RemittanceStatus.DUPLICATE)
        assert found.matches.remittance_reason[held] & Reason.DUPLICATE


@pytest.mark.parametrize("claims", [(70000, 50000), (70000, 40000)], ids=["claims", "amount"])
def test_case_16_resend_with_corrections(claims: tuple[int, ...]) -> None:
    found = run(era(EFT), era(replace(EFT, claims=claims), number=2), ach(PAID))
    assert found.auto == []
    assert {pair.status for pair in found.pairs} == {REVIEW}
    assert all(reason & Reason.CONFLICT for reason in found.reasons())
    assert found.release == [False, False]


def test_case_17_trace_reused_for_a_new_payment() -> None:
    again = Remit(claims=(5000,), day="20260330")
    near = run(era(EFT, again), ach(PAID, Entry(cents=5000, effective="260330")))
    assert near.auto == []
    assert near.why() & Reason.CONFLICT
    far = run(
        era(EFT, replace(again, day="20250203")), ach(PAID, Entry(cents=5000, effective="250203"))
    )
    assert far.pairs == [Found(0, 0, AUTO, Tier.T1), Found(1, 1, AUTO, Tier.T1)]
    assert far.release == [True, True]


# ---- 18 to 20: money that goes back ----

SENT = replace(PAID, number=7)
CREDIT_RETURNS = ["R02", "R03", "R04", "R16", "R20", "R23"]


@pytest.mark.parametrize("code", CREDIT_RETURNS)
@pytest.mark.parametrize("was_released", [False, True])
@pytest.mark.parametrize("return_first", [False, True])
def test_case_18_eft_returned(code: str, was_released: bool, return_first: bool) -> None:
    sent, back = ach(SENT), ach(returned(SENT, code), created="260319")
    files = [back, sent] if return_first else [sent, back]
    original = int(return_first)
    found = run(era(EFT), *files, released=[was_released])
    assert found.pairs == [Found(0, original, UNMATCHED, Tier.T1)]
    assert found.remittances == [RemittanceStatus.UNMATCHED_BY_RETURN]
    assert found.payments[original] == PaymentStatus.RETURNED
    assert found.matches.payment_reason[original] & Reason.RETURNED
    flag = found.matches.remittance_reason[0] & Reason.RETURN_AFTER_RELEASE
    assert bool(flag) == was_released
    assert found.release == [False]
    assert links(found) == [LinkKind.RETURN_OF]


def test_case_18_what_was_released_is_not_released_again() -> None:
    found = run(era(EFT), ach(SENT), released=[True])
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.release == [False]


def test_case_18_the_return_of_a_bulk_payment_undoes_all_of_it() -> None:
    parts = era(Remit(claims=(70000,)), Remit(claims=(50000,)))
    found = run(parts, ach(SENT), ach(returned(SENT)), released=[True, False])
    assert found.pairs == [Found(0, 0, UNMATCHED, Tier.T8), Found(1, 0, UNMATCHED, Tier.T8)]
    assert found.remittances == [RemittanceStatus.UNMATCHED_BY_RETURN] * 2
    flags = found.matches.remittance_reason & Reason.RETURN_AFTER_RELEASE != 0
    assert flags.tolist() == [True, False]


def test_case_18_the_return_of_an_entry_that_carried_its_835() -> None:
    carrier = Entry(payload=era(EFT), number=7)
    found = run(ach(carrier), ach(returned(carrier)))
    assert found.pairs == only(UNMATCHED, Tier.T0)
    assert found.remittances == [RemittanceStatus.UNMATCHED_BY_RETURN]
    assert found.release == [False]


def test_case_18_a_return_for_another_amount_is_for_a_person() -> None:
    found = run(era(EFT), ach(SENT), ach(returned(SENT, cents=60000)))
    assert found.pairs == only(REVIEW, Tier.T1)
    assert found.matches.payment_reason[0] & Reason.RETURN_UNCLEAR
    assert found.release == [False]


def test_case_18_a_return_without_its_original_changes_nothing_else() -> None:
    stray = returned(replace(SENT, number=8))
    found = run(era(EFT), ach(SENT), ach(stray))
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.matches.payment_reason[1] & Reason.NO_ORIGINAL


def test_case_18_a_dishonored_return_gives_no_money_to_the_remittance_by_itself() -> None:
    back = returned(SENT)
    refusal = dishonored(back, SENT)
    for entries in ([back, refusal], [back, refusal, contested(refusal, back, SENT)]):
        found = run(era(EFT), ach(SENT), *[ach(entry) for entry in entries])
        assert found.auto == []
        assert found.release == [False]
        assert LinkKind.DISHONORED_RETURN_OF in links(found)


def test_case_18_two_originals_of_one_trace_are_a_review() -> None:
    twice = [era(EFT, Remit(trace="555555")), ach(SENT)]
    twin = ach(replace(SENT, trace="555555", effective="260318"))
    found = run(*twice, twin, ach(returned(SENT)))
    assert found.auto == []
    assert found.why() & Reason.RETURN_UNCLEAR
    assert found.release == [False, False]


def test_case_18_a_notification_of_change_moves_no_money() -> None:
    found = run(era(EFT), ach(SENT), ach(change_of(SENT)))
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.release == [True]
    assert found.matches.payment_reason[0] & Reason.ACCOUNT_CHANGED
    assert links(found) == [LinkKind.CHANGE_OF]


@pytest.mark.parametrize("debit_first", [False, True])
@pytest.mark.parametrize("was_released", [False, True])
def test_case_19_reversal_of_one_candidate(debit_first: bool, was_released: bool) -> None:
    sent, debit = ach(SENT), ach(reversal_of(SENT), created="260318")
    found = run(
        era(EFT), *([debit, sent] if debit_first else [sent, debit]), released=[was_released]
    )
    original = int(debit_first)
    assert found.pairs == [Found(0, original, UNMATCHED, Tier.T1)]
    assert found.payments[original] == PaymentStatus.REVERSED
    assert found.remittances == [RemittanceStatus.UNMATCHED_BY_RETURN]
    flag = found.matches.remittance_reason[0] & Reason.RETURN_AFTER_RELEASE
    assert bool(flag) == was_released
    assert found.release == [False]
    assert links(found) == [LinkKind.REVERSAL_OF]


def test_case_19_reversal_of_several_candidates_is_a_review() -> None:
    other = replace(SENT, number=8, trace="555555")
    found = run(era(EFT, Remit(trace="555555")), ach(SENT, other, reversal_of(SENT)))
    assert found.auto == []
    assert {pair[2:] for pair in found.pairs} == {(REVIEW, Tier.T1)}
    assert found.why() & Reason.REVERSAL_UNCLEAR
    assert found.release == [False, False]


@pytest.mark.parametrize(
    "unlike",
    [
        {"effective": "260325"},
        {"cents": 60000},
        {"account": "9988"},
        {"company": "1999999999"},
        {"description": "HCCLAIMPMT"},
    ],
    ids=["after six banking days", "part", "another account", "another company", "plain debit"],
)
def test_case_19_what_is_no_reversal_takes_nothing_back(unlike: dict[str, Any]) -> None:
    found = run(era(EFT), ach(SENT, reversal_of(SENT, **unlike)))
    assert found.pairs == only(AUTO, Tier.T1)


def test_case_20_reissue_under_a_new_trace_is_a_review() -> None:
    new = Entry(trace="0087654321", number=70, effective="260319")
    found = run(era(EFT), ach(SENT), ach(returned(SENT)), ach(new))
    assert Found(0, 0, UNMATCHED, Tier.T1) in found.pairs
    again = [pair for pair in found.pairs if pair.payment == 2]
    assert [pair.status for pair in again] == [REVIEW]
    assert found.payments[2] == PaymentStatus.SUGGESTED
    assert found.release == [False]


def test_case_20_reissue_explained_by_a_cs_adjustment() -> None:
    new = Entry(trace="0087654321", number=70, effective="260319")
    explained = Remit(trace="0087654321", claims=(), plb=(("CS:0012345678", -120000),))
    explained = replace(explained, day="20260319")
    found = run(era(EFT), ach(SENT), ach(returned(SENT)), ach(new), era(explained, number=2))
    assert Found(1, 2, AUTO, Tier.T1) in found.pairs
    assert Found(0, 0, UNMATCHED, Tier.T1) in found.pairs
    assert found.release == [False, True]


# ---- 21 and 22: time ----


@pytest.mark.parametrize(
    ("remit", "entry"),
    [(EFT, PAID), (Remit(trace="12345678"), PAID), (EFT, NO_TRACE), (EFT, Entry(cents=117600))],
    ids=["T1", "T2", "T7", "T5"],
)
def test_case_21_either_may_come_first(remit: Remit, entry: Entry) -> None:
    first, second = run(era(remit), ach(entry)), run(ach(entry), era(remit))
    assert first.pairs == second.pairs != []
    assert first.reasons() == second.reasons()
    assert first.release == second.release
    assert first.matches.match_id.tolist() == second.matches.match_id.tolist()
    assert run(era(remit)).pairs == run(ach(entry)).pairs == []


@pytest.mark.parametrize(
    ("effective", "settled_on"),
    [
        ("260314", "2026-03-16"),  # a Saturday
        ("260315", "2026-03-16"),  # a Sunday
        ("260703", "2026-07-03"),  # the Friday before a holiday on Saturday is a banking day
        ("260704", "2026-07-06"),
        ("260119", "2026-01-20"),  # a holiday on a Monday
        ("270704", "2027-07-06"),  # a holiday on a Sunday moves to Monday
    ],
)
def test_case_22_effective_date_on_a_weekend_or_holiday(effective: str, settled_on: str) -> None:
    day = datetime.date.fromisoformat(settled_on)
    files = era(replace(EFT, day=f"20{effective}")), ach(replace(PAID, effective=effective))
    eve = run(*files, as_of=day - datetime.timedelta(1))
    assert eve.pairs == only(AUTO, Tier.T1)
    assert eve.release == [False]
    assert eve.why() == Reason.NOT_SETTLED
    assert run(*files, as_of=day).release == [True]


def test_case_22_windows_count_banking_days() -> None:
    over_the_fourth = ach(replace(NO_TRACE, effective="260710"))
    within = run(era(Remit(day="20260703")), over_the_fourth)
    assert within.pairs == only(REVIEW, Tier.T7)
    assert run(era(Remit(day="20260702")), over_the_fourth).pairs == []


# ---- 23 to 25: what is no sound payment ----


def test_case_23_negative_claim_total_without_forward_balance() -> None:
    found = run(era(Remit(claims=(-80000, 30000), paid=0)))
    assert found.pairs == []
    assert found.remittances == [RemittanceStatus.INVALID]
    assert found.release == [False]
    negative = run(era(Remit(claims=(-80000, 30000))), ach(Entry(cents=50000)))
    assert negative.auto == []
    assert negative.remittances == [RemittanceStatus.INVALID]


def test_case_24_healthcare_mark_without_a_trn() -> None:
    found = run(era(EFT), ach(Entry(text="INVOICE AND OTHER TEXT")))
    assert found.pairs == only(REVIEW, Tier.T7)
    assert found.matches.payment_reason[0] & Reason.NO_TRACE
    alone = run(ach(Entry(text="INVOICE AND OTHER TEXT")))
    assert alone.payments == [PaymentStatus.UNMATCHED]


def test_case_24_trn_without_the_healthcare_mark() -> None:
    found = run(era(EFT), ach(Entry(description="PAYMENT")))
    assert found.pairs == only(AUTO, Tier.T1)
    assert found.matches.payment_reason[0] & Reason.NO_HEALTHCARE_MARK
    neither = run(ach(replace(NO_TRACE, description="PAYROLL", sec="PPD")))
    assert neither.payments == [PaymentStatus.NOT_CLAIM_PAYMENT]


@pytest.mark.parametrize("code", [23, 33])
def test_case_25_prenote_is_never_money(code: int) -> None:
    found = run(era(EFT), ach(Entry(code=code, cents=0)), auto_tiers=("T6", "T7", "T8", "T9"))
    assert found.pairs == []
    assert found.payments == [PaymentStatus.PRENOTE]
    assert found.remittances == [RemittanceStatus.AWAITING_EFT]


@pytest.mark.parametrize("code", [24, 34])
def test_case_25_zero_dollar_entry_brings_its_835(code: int) -> None:
    zero_pay = era(Remit(claims=(0,)))
    found = run(ach(Entry(code=code, cents=0, payload=zero_pay)))
    assert found.pairs == []
    assert found.remittances == [RemittanceStatus.NO_FUNDS_EXPECTED]
    assert found.release == [True]


# ---- 26 to 30 ----

BY_NPI = [
    Remit(trace=f"4400{n}", claims=(60000,), npi=npi, tin="", account="")
    for n, npi in enumerate(["1999999984", "1888888884"])
]
"""835s by provider identifier: neither tax number nor account ties them to the payment."""


def test_case_26_835s_by_npi_and_eft_by_tin() -> None:
    files = era(*BY_NPI), ach(Entry(trace="77665544"))
    assert [pair for pair in run(*files).pairs if pair.tier != Tier.T10] == []
    known = load_directory(RIVER)
    found = run(*files, directory=known)
    assert found.pairs == [Found(0, 0, REVIEW, Tier.T8), Found(1, 0, REVIEW, Tier.T8)]
    assert found.match_ids() == 1
    opted_in = run(*files, directory=known, auto_tiers=("T8",))
    assert opted_in.pairs == [Found(0, 0, AUTO, Tier.T8), Found(1, 0, AUTO, Tier.T8)]
    assert opted_in.release == [True, True]


def test_case_26_with_a_shared_trace_it_is_automatic() -> None:
    parts = [replace(remit, trace="77665544") for remit in BY_NPI]
    found = run(era(*parts), ach(Entry(trace="77665544")), directory=load_directory(RIVER))
    assert found.pairs == [Found(0, 0, AUTO, Tier.T8), Found(1, 0, AUTO, Tier.T8)]
    assert found.release == [True, True]


def test_case_26_another_payees_835_is_no_part_of_the_sum() -> None:
    other = replace(BY_NPI[1], npi="1666666668")
    files = era(BY_NPI[0], other), ach(Entry(trace="77665544"))
    found = run(*files, directory=load_directory(RIVER + LAKE), auto_tiers=("T8", "T9"))
    assert found.pairs == []


def test_case_26_tenants_never_meet() -> None:
    remit = Remit(npi="1666666668", tin="445556666", account="9988")
    found = run(era(remit), ach(PAID), directory=load_directory(RIVER + LAKE))
    assert found.pairs == []
    assert found.matches.tenants[int(found.matches.remittance_tenant[0])] == "south"
    assert found.matches.tenants[int(found.matches.payment_tenant[0])] == "north"


def test_case_26_an_unknown_payee_is_quarantined_and_shown() -> None:
    found = run(era(EFT), ach(PAID), directory=load_directory(LAKE))
    assert found.pairs == []
    assert found.remittances == [RemittanceStatus.QUARANTINED]
    assert found.payments == [PaymentStatus.QUARANTINED]
    assert found.matches.remittance_reason[0] & Reason.UNKNOWN_PAYEE
    assert found.release == [False]


def test_case_26_not_even_a_zero_pay_of_an_unknown_payee_is_released() -> None:
    found = run(era(Remit(claims=(0,))), directory=load_directory(LAKE))
    assert found.remittances == [RemittanceStatus.QUARANTINED]
    assert found.release == [False]


def test_case_26_identifiers_of_two_payees_are_quarantined() -> None:
    found = run(era(Remit(npi="1666666668")), ach(PAID), directory=load_directory(RIVER + LAKE))
    assert found.auto == []
    assert found.remittances == [RemittanceStatus.QUARANTINED]
    assert found.matches.remittance_reason[0] & Reason.PAYEE_CONTRADICTION


def test_case_27_plb_larger_than_the_claims() -> None:
    remit = Remit(claims=(30000,), plb=(("WO:OLD1", 50000), ("FB:REMITB", -20000)))
    found = run(era(remit))
    assert remit.cents == 0
    assert found.remittances == [RemittanceStatus.NO_FUNDS_EXPECTED]
    assert found.release == [True]


def test_case_28_835_cut_across_addenda_at_any_byte() -> None:
    for width in range(1, 81):
        remit = Remit(payer_name="E" * width)
        found = run(ach(Entry(payload=era(remit))))
        assert found.pairs == only(AUTO, Tier.T0)
        assert found.release == [True]


def test_case_28_carried_835_of_another_amount_is_a_variance() -> None:
    found = run(ach(Entry(payload=era(EFT), cents=110000)))
    assert found.pairs == only(VARIANCE, Tier.T5)
    assert found.release == [False]


def test_case_29_one_st_split_by_payee() -> None:
    parts = [
        Remit(claims=(70000,), npi="1999999984", tin="112223333", account=""),
        Remit(claims=(30000,), npi="1888888884", tin="445556666", account=""),
        Remit(claims=(20000,), npi="1777777776", tin="778889999", account=""),
    ]
    found = run(era(*parts), ach(PAID))
    assert found.pairs == [Found(row, 0, AUTO, Tier.T8) for row in range(3)]
    assert found.match_ids() == 1
    assert found.release == [True, True, True]
    short = run(era(*parts[:2]), ach(PAID))
    assert short.auto == []
    assert short.why() & Reason.SIBLING_MISSING


def test_case_30_same_trace_from_two_payers() -> None:
    other = "1987654321"
    remits = era(EFT, Remit(payer=other, payer_name="OTHER PLAN"))
    entries = ach(Entry(payer=other, company=other, company_name="OTHER PLAN"), PAID)
    found = run(remits, entries)
    assert found.pairs == [Found(0, 1, AUTO, Tier.T1), Found(1, 0, AUTO, Tier.T1)]
    alone = run(era(EFT), ach(Entry(payer=other, company=other)))
    assert alone.auto == []
