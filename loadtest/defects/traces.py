"""Cases where trace or payer is written differently on the two sides, or missing on one."""

from __future__ import annotations

from reassoc.loadtest.defects.base import Defect, level, other_payer, siblings
from reassoc.loadtest.draws import Draws
from reassoc.loadtest.model import (
    AUTO,
    INDISTINGUISHABLE,
    REVIEW,
    Chunk,
    Payment,
    Remittance,
    give_payer,
    pay,
    retrace,
    trace_segment,
)
from reassoc.loadtest.world import Aggregator

_CUT_SHORT, _CUT_LONG = 15, 30


def _leading_zeros(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One side of the pair writes the trace without its leading zeros."""
    bare = remittance.trace.lstrip("0")
    full = remittance.trace if remittance.trace != bare else f"000{bare}"
    in_addenda = draws.chance(700)
    remittance.trace = full if in_addenda else bare
    payment = pay(remittance)
    retrace(payment, remittance.payer, bare if in_addenda else full)
    chunk.add(case, remittance, payment)


def _spaces_and_hyphens(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The trace is written in groups on the bank's side: `EX 12-345` for `EX12345`."""
    plain = remittance.trace.replace("-", "")
    cut = draws.between(2, 4)
    middle = draws.between(cut + 1, len(plain) - 1)
    payment = pay(remittance)
    first = draws.pick((" ", "-"))
    grouped = f"{plain[:cut]}{first}{plain[cut:middle]}-{plain[middle:]}"
    retrace(payment, remittance.payer, grouped)
    chunk.add(case, remittance, payment)


def _payer_id_without_one(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """One side writes the payer's tax number without the 1 before it."""
    payment = pay(remittance)
    bare = remittance.payer_id[1:]
    if draws.chance(500):
        retrace(payment, remittance.payer, remittance.trace, bare)
    else:
        remittance.payer_id = bare
    chunk.add(case, remittance, payment)


def pay_through(remittance: Remittance, aggregator: Aggregator) -> Payment:
    """The payment of a plan that an aggregator sends in its own name."""
    payment = pay(remittance)
    payment.company_name, payment.company_id = aggregator.company_name, aggregator.payer_id
    retrace(payment, remittance.payer, remittance.trace, aggregator.payer_id)
    return payment


def plan_of(chunk: Chunk, remittance: Remittance, draws: Draws) -> Aggregator:
    """Make the remittance one of a plan whose aggregator the directory knows."""
    aggregator = draws.pick(chunk.world.aggregators)
    give_payer(remittance, chunk.world.payers[draws.pick(aggregator.plans)])
    return aggregator


def _aggregator_aliased(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The addenda names the aggregator that pays for the plan; the directory ties the two."""
    aggregator = plan_of(chunk, remittance, draws)
    expect = AUTO if chunk.has_directory else REVIEW
    chunk.add(case, remittance, pay_through(remittance, aggregator), expect)


def _aggregator_unknown(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The addenda names an aggregator that nothing ties to the plan."""
    payment = pay_through(remittance, chunk.world.unknown_aggregator)
    chunk.add(case, remittance, payment, REVIEW)


def _trn_unterminated(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """No terminator stands behind the TRN in the addenda."""
    payment = pay(remittance)
    payment.addenda = trace_segment(remittance.payer, remittance.trace)
    chunk.add(case, remittance, payment)


def _trn_extra_text(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Other text stands before or behind the TRN in the addenda."""
    payment = pay(remittance)
    payment.addenda = (
        f"{payment.addenda} EXAMPLE ADVICE {draws.one(10**4):04d}"
        if draws.chance(500)
        else f"HCCLAIMPMT ZP EXPAY {payment.addenda}"
    )
    chunk.add(case, remittance, payment)


def lengthen(remittance: Remittance, size: int, draws: Draws) -> None:
    """Give it a trace of `size` characters: its own, then digits."""
    missing = size - len(remittance.trace)
    for _ in range(missing):
        remittance.trace += str(draws.one(10))


def _trace_cut(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The bank keeps the first 15 or 30 characters of the trace."""
    kept = _CUT_SHORT if case.endswith("15") else _CUT_LONG
    lengthen(remittance, kept + draws.between(3, 12), draws)
    payment = pay(remittance)
    retrace(payment, remittance.payer, remittance.trace[:kept])
    chunk.add(case, remittance, payment, REVIEW)


def _trace_cut_front(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The bank keeps the last 15 characters of the trace."""
    lengthen(remittance, _CUT_SHORT + draws.between(4, 12), draws)
    payment = pay(remittance)
    retrace(payment, remittance.payer, "7" + remittance.trace[-_CUT_SHORT + 1 :])
    remittance.trace = f"{remittance.trace[:-_CUT_SHORT]}7{remittance.trace[-_CUT_SHORT + 1 :]}"
    chunk.add(case, remittance, payment, REVIEW)


def _no_addenda(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The addenda was lost on the way: payer, payee, amount and date remain."""
    payment = pay(remittance)
    payment.addenda = ""
    chunk.add(case, remittance, payment, REVIEW)


def _trace_all_zero(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Both sides have nothing but zeros for a trace."""
    remittance.trace = "0" * draws.between(8, 12)
    chunk.add(case, remittance, pay(remittance), REVIEW)


def twins(chunk: Chunk, remittance: Remittance, count: int = 1) -> list[Remittance]:
    """Remittances with the same payer, payee, day and amount."""
    found = siblings(chunk, remittance, count)
    level(found)
    return found


def _twins_without_trace(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two payments of the same amount on the same day, both without an addenda."""
    for twin in twins(chunk, remittance):
        payment = pay(twin)
        payment.addenda, payment.is_reported = "", False
        chunk.add(case, twin, payment, INDISTINGUISHABLE)


def _same_trace_two_payers(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """Two payers use one trace number, each for a payment of its own."""
    other = chunk.spares.pop()
    give_payer(other, other_payer(chunk, remittance.payer))
    other.trace = remittance.trace
    chunk.add(case, remittance, pay(remittance))
    chunk.add(case, other, pay(other))


def _payer_id_cut(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """The bank cut the addenda inside the payer's identifier."""
    payment = pay(remittance)
    payment.addenda = f"TRN*1*{remittance.trace}*{remittance.payer_id[: draws.between(4, 8)]}"
    chunk.add(case, remittance, payment, REVIEW)


def _mark_missing(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """A TRN in the addenda of an entry that is not described as HCCLAIMPMT."""
    payment = pay(remittance)
    payment.entry_description = draws.pick(("EDI PAYMT", "CLAIMS PMT", "HEALTHPAY"))
    chunk.add(case, remittance, payment)


def _other_addenda(case: str, chunk: Chunk, remittance: Remittance, draws: Draws) -> None:
    """HCCLAIMPMT with an addenda that is no TRN."""
    payment = pay(remittance)
    payment.addenda = draws.pick(
        ("RMR*IV*EXREMIT*PO\\", "EXAMPLE CLAIMS PAYMENT", "NTE*ZZZ*CLAIMS PAYMENT\\")
    )
    chunk.add(case, remittance, payment, REVIEW)


TRACE_CASES = (
    Defect("leading_zeros_lost", 15_000, _leading_zeros, section="1"),
    Defect("spaces_hyphens", 10_000, _spaces_and_hyphens, section="2"),
    Defect("payer_id_without_one", 8_000, _payer_id_without_one, section="3"),
    Defect("aggregator_aliased", 10_000, _aggregator_aliased, section="4"),
    Defect("aggregator_unknown", 4_000, _aggregator_unknown, REVIEW, "4"),
    Defect("trn_unterminated", 10_000, _trn_unterminated, section="5"),
    Defect("trn_extra_text", 10_000, _trn_extra_text, section="5"),
    Defect("trace_cut_15", 3_000, _trace_cut, REVIEW, "6"),
    Defect("trace_cut_30", 3_000, _trace_cut, REVIEW, "6"),
    Defect("trace_cut_front", 2_000, _trace_cut_front, REVIEW, "6"),
    Defect("no_addenda", 6_000, _no_addenda, REVIEW, "7"),
    Defect("trace_all_zero", 1_000, _trace_all_zero, REVIEW, "7"),
    Defect("twins_without_trace", 2_000, _twins_without_trace, INDISTINGUISHABLE, "8", spares=1),
    Defect("same_trace_two_payers", 4_000, _same_trace_two_payers, section="30", spares=1),
    Defect("payer_id_cut", 2_000, _payer_id_cut, REVIEW),
    Defect("trn_without_mark", 4_000, _mark_missing, section="24"),
    Defect("mark_without_trn", 2_000, _other_addenda, REVIEW, "24"),
)
