"""Cases of money that comes by other ways than ACH, and of banks' reports."""

from __future__ import annotations

from reassoc.loadtest.dates import next_banking_day
from reassoc.loadtest.defects.base import Defect
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    AUTO,
    NONE,
    REVIEW,
    BankLine,
    Chunk,
    ListedCheck,
    Payment,
    Remittance,
    pay,
)

LOCKBOX_DEPOSIT, LOCKBOX_ITEM, ACH_CREDIT, WIRE_IN = 115, 116, 165, 195
_NOISE = ((469, "EXAMPLE SERVICE CHARGE"), (475, ""), (455, "EXAMPLE RENT"), (495, "WIRE OUT"))


def _check(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Paid by check: no ACH entry will come, and the bank has not seen it yet."""
    remittance.method = "CHK"
    chunk.add(case, remittance, None)


def give_check_number(remittance: Remittance, draws: Draws) -> None:
    """A check number for a trace: ten digits that no other check has."""
    digits = "".join(mark for mark in remittance.trace if mark.isdigit())[-9:]
    remittance.trace = f"{draws.pick('123')}{digits:0>9}"
    remittance.method = "CHK"


def list_check(remittance: Remittance, drawer_account: str, drawer_name: str) -> ListedCheck:
    """The check of a remittance in a lockbox list."""
    return ListedCheck(
        payee=remittance.payee,
        payer=remittance.payer,
        number=remittance.trace,
        amount_cents=remittance.paid_cents,
        day=next_banking_day(remittance.effective_day),
        drawer_account=drawer_account,
        drawer_name=drawer_name,
    )


def _check_listed(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The check stands in the lockbox list, with its drawer's account and perhaps name."""
    give_check_number(remittance, draws)
    is_known = case == "check_listed"
    account, name = remittance.payer.account, draws.pick((remittance.payer.name, ""))
    if not is_known:
        account, name = f"9{draws.one(10**8):08d}", f"EXAMPLE DRAWER {draws.one(90):02d}"
    check = list_check(remittance, account, name)
    chunk.add(case, remittance, check, AUTO if is_known and chunk.has_directory else REVIEW)


def report_checks(
    remittances: list[Remittance], deposit_cents: int, is_named: bool
) -> tuple[BankLine, list[BankLine]]:
    """A lockbox deposit and its checks as the bank's report has them: with their drawers' names, or
    with their numbers alone.
    """
    payee = remittances[0].payee
    day = next_banking_day(remittances[0].effective_day)
    box = f"LOCKBOX {payee.number:06d}"
    text = f"{box} DEPOSIT OF {len(remittances)}"
    deposit = BankLine(payee, LOCKBOX_DEPOSIT, deposit_cents, day, text=text)
    items = []
    for each in remittances:
        drawer = f" FROM:{each.payer.company_name}" if is_named else ""
        text = f"{box} CHECK NUMBER:{each.trace}{drawer}"
        items.append(BankLine(payee, LOCKBOX_ITEM, each.paid_cents, day, each.trace, text))
    return deposit, items


def _check_reported(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The bank's report has a lockbox deposit and, behind it, the check: with its drawer's name, or
    with its number alone.
    """
    give_check_number(remittance, draws)
    is_named = case == "check_reported"
    deposit, (item,) = report_checks([remittance], remittance.paid_cents, is_named)
    chunk.add(case, None, deposit)
    chunk.add(case, remittance, item, AUTO if is_named and chunk.has_directory else REVIEW)


def _deposit(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A deposit of three payers' checks; it may not be the sum of them."""
    group = [remittance, chunk.spares.pop(), chunk.spares.pop()]
    total = sum(each.paid_cents for each in group)
    for each in group:
        each.payee = remittance.payee
        give_check_number(each, draws)
    is_right = case == "deposit_of_checks"
    deposit, items = report_checks(group, total + (0 if is_right else 100), is_named=True)
    chunk.add(case, None, deposit)
    for each, item in zip(group, items, strict=True):
        chunk.add(case, each, item, AUTO if is_right and chunk.has_directory else REVIEW)


def _virtual_card(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Paid by a card: what reaches the account is a merchant's deposit, net of the fee."""
    remittance.method = "CCC"
    chunk.add(case, remittance, None)
    deposit = pay(remittance)
    deposit.amount_cents -= max(1, remittance.paid_cents * 29 // 1000)
    deposit.company_name, deposit.company_id = "EXAMPLE MERCHANT", "9970000002"
    deposit.entry_description, deposit.addenda = "MERCH DEP", ""
    chunk.add(case, None, deposit)


def _wire(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Paid by wire: the bank's report has it, with the TRN in its text."""
    remittance.method = "FWT"
    payment = pay(remittance)
    line = BankLine(
        payee=remittance.payee,
        type_code=WIRE_IN,
        amount_cents=remittance.paid_cents,
        day=remittance.effective_day,
        text=f"WIRE TYPE:WIRE IN ORIG:{remittance.payer.name} PMT DET:{payment.addenda}",
    )
    chunk.add(case, remittance, line)


def report_line(payment: Payment, day: int) -> BankLine:
    """The line of an ACH credit in the bank's report, in Bank of America's way of writing."""
    payee = payment.payee
    text = (
        f"{payment.company_name} DES:{payment.entry_description} ID:{payee.tax_id}"
        f" INDN:{payee.name:.22} CO ID:{payment.company_id} {payment.sec}"
    )
    if payment.addenda:
        text += f" PMT INFO:{payment.addenda}"
    return BankLine(
        payee=payee,
        type_code=ACH_CREDIT,
        amount_cents=payment.amount_cents,
        day=day,
        text=text,
    )


def _entry_missing(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The ACH file never came; the bank's report has the credit, addenda and all."""
    line = report_line(pay(remittance), remittance.effective_day)
    chunk.add(case, remittance, line)


def _noise(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Debits and charges that a report is full of."""
    code, text = draws.pick(_NOISE)
    line = BankLine(
        payee=remittance.payee,
        type_code=code,
        amount_cents=draws.between(100, 900_000),
        day=remittance.effective_day,
        customer_reference=f"{draws.one(10**6):06d}" if code == 475 else "",
        text=text,
    )
    chunk.add(case, None, line)


RAIL_CASES = (
    Defect("check", 8_000, _check, NONE, "13"),
    Defect("check_listed", 4_000, _check_listed, section="13"),
    Defect("check_listed_unknown_drawer", 1_000, _check_listed, REVIEW, "13"),
    Defect("check_reported", 2_000, _check_reported, section="13"),
    Defect("check_reported_unnamed", 1_000, _check_reported, REVIEW, "13"),
    Defect("deposit_of_checks", 1_000, _deposit, section="13", spares=2),
    Defect("deposit_differs", 500, _deposit, REVIEW, "13", spares=2),
    Defect("virtual_card", 4_000, _virtual_card, NONE, "14"),
    Defect("wire", 3_000, _wire),
    Defect("report_alone", 4_000, _entry_missing),
    Defect("report_noise", 2_000, _noise, NONE),
)
