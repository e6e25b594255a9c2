"""A match explained for the person who decides about it: what it is, field by field, beside what
else it could be, and what would release it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from reassoc.core.statuses import Field, Reason, reason_text
from reassoc.stream.console import dollars
from reassoc.stream.explain import REWRITE_TEXTS
from reassoc.stream.result import Result, Row

VALUES_SHOWN_MAX = 3
"""Values of one field that are shown of a match of many items."""

TIER_TEXTS = {
    "T0": "the payment itself carries the remittance",
    "T1": "same trace number, same payer, same amount",
    "T2": "same trace number once rewritten, same payer, same amount",
    "T3": "same trace number, payers that the policy calls one, same amount",
    "T4": "same trace number and amount; no alias ties the payers together",
    "T5": "same trace number and payer, but the amounts differ",
    "T6": "one trace number is a cut form of the other; same payer, same amount",
    "T7": "no trace number: same payer, payee and amount, near dates",
    "T8": "one payment for several remittances that add up to it",
    "T9": "several payments that add up to one remittance",
    "T10": "same amount and near dates, nothing more",
}
STATUS_TEXTS = {
    "auto": "matched: unique both ways and equal to the cent",
    "variance": "the same payment, but not the same amount: held",
    "review": "a candidate: a person decides",
    "unmatched": "undone: the money went back",
}
CAUSE_TEXTS = {
    "fee": "a fee: a plain share of the amount",
    "adjustment": "a provider adjustment (PLB) of the remittance has this amount",
    "levy": "a levy or withholding",
    "forward_balance": "a balance carried forward has this amount",
    "missing_sibling": "another remittance of the same trace is missing",
}
_NEEDED = {
    Reason.TIE: "find out which of the candidates is meant: they fit equally well",
    Reason.CONFLICT: "ask the payer which of the two remittances of this trace stands",
    Reason.CARRIED_SEVERAL: "check that the payment is the sum of the remittances that it carries",
    Reason.OUT_OF_WINDOW: "check the dates; the policy's trace_window_days is shorter than that",
    Reason.CURRENCY: "settle it by hand: only USD is matched",
    Reason.HANDLING: "ask the payer whether money is paid: the remittance contradicts itself",
    Reason.METHOD_UNKNOWN: "ask the payer how it was paid: the remittance does not say",
    Reason.TIER_TO_REVIEW: "decide by hand, or let the policy match this tier (auto_tiers)",
    Reason.PAYER_DIFFERS: "confirm the payer; an alias in the directory then matches such pairs",
    Reason.CUT_TRACE: "confirm that the short trace number is the cut form of the long one",
    Reason.NO_PAYMENT_TRACE: "confirm the pair: no trace number vouches for it",
    Reason.PAYEE_DIFFERS: "find out whose money it is: the payees are not the same",
    Reason.UNKNOWN_PAYEE: "enter the payee in the directory",
    Reason.PAYEE_CONTRADICTION: "correct the directory: the identifiers are of different payees",
    Reason.SUM_NOT_UNIQUE: "find out which of the sums is meant",
    Reason.SIBLING_MISSING: "wait for the remittance that is missing, or ask the payer for it",
    Reason.BULK_CAPPED: "match by hand: there are too many items to try all sums",
    Reason.REISSUE: "ask the payer whether this payment is the money that went back, sent again",
    Reason.NO_PAYER: "find out who paid: the payment does not say, or not in a known form",
    Reason.SUGGESTION: "look for proof: amount and date alone prove nothing",
    Reason.WAITS_FOR_HORIZON: "wait for the close of the banking day",
    Reason.RETURN_UNCLEAR: "find out which payment the return is about",
    Reason.REVERSAL_UNCLEAR: "find out which payment the reversal is about",
    Reason.REPORT_UNCLEAR: "find out which payment the bank's report means",
    Reason.DEPOSIT_DIFFERS: "compare the deposit with its checks",
    Reason.BLOCK_TOO_LARGE: "match by hand: too many items share this trace and payer",
}
_REASONS = {reason_text(reason): reason for reason in Reason}


class FieldLine(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a pair. verdict: agree, differ, missing (one side has none), unusable (it says
    nothing, as all zeros do) or seen (not compared)."""

    field: str
    remittance: str
    payment: str
    verdict: str
    note: str = ""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A remittance or a payment of the match."""

    file: str
    ordinal: int
    trace: str
    cents: int
    date: str
    status: str
    why: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Another match that one of the items could be in. weight in hundredths of bits."""

    match_id: str
    status: str
    tier: str
    rank: int
    remittance_rank: int
    weight: int
    shares: str
    other: str
    other_cents: int


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What another row of money has to do with a payment of the match."""

    kind: str
    status: str
    payment: str
    other: str
    cents: int | None
    reason: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A match in words and numbers. weight in hundredths of bits of evidence, evidence what each
    field adds to it (of a sum, that of its weakest pair; empty for automatic matches), days_apart
    the payment's date less the remittance's (of a sum: the widest), None where one is missing."""

    match_id: str
    status: str
    status_text: str
    tier: str
    tier_text: str
    weight: int
    evidence: dict[str, int]
    rank: int
    remittance_rank: int
    fields: list[FieldLine]
    rewrites: list[str]
    reasons: list[str]
    days_apart: int | None
    remittance_cents: int
    payment_cents: int
    difference_cents: int
    cause: str
    cause_text: str
    remittances: list[Item]
    payments: list[Item]
    rivals: list[Candidate]
    links: list[Link]
    to_release: list[str]


def explain_match(folder: Path, match_id: str) -> Explanation:
    """Explain a match of a result folder. Raises ResultError and TableError as Result does."""
    with Result(folder) as result:
        rows = result.match(match_id)
        remittances, payments = result.items(rows, "remit"), result.items(rows, "payment")
        rivals, links = result.rivals(rows), result.links(rows)
    first = rows[0]
    days = [int(row["days_apart"]) for row in rows if row["days_apart"]]
    reasons = _reasons(rows)
    cause = first["cause"]
    return Explanation(
        match_id=first["match_id"],
        status=first["status"],
        status_text=STATUS_TEXTS.get(first["status"], ""),
        tier=first["tier"],
        tier_text=TIER_TEXTS.get(first["tier"], ""),
        weight=int(first["weight"]),
        evidence=_evidence(rows),
        rank=int(first["rank"]),
        remittance_rank=int(first["remittance_rank"]),
        fields=_fields(rows, remittances, payments),
        rewrites=_rewrites(rows),
        reasons=[reason_text(reason) for reason in reasons],
        days_apart=max(days, key=abs) if days else None,
        remittance_cents=_cents(remittances, "remit_cents"),
        payment_cents=_cents(payments, "payment_cents"),
        difference_cents=int(first["difference_cents"]),
        cause=cause,
        cause_text=CAUSE_TEXTS.get(cause, ""),
        remittances=[_item(row, "remit") for row in remittances],
        payments=[_item(row, "payment") for row in payments],
        rivals=_candidates(rows, rivals),
        links=[_link(row) for row in links],
        to_release=_to_release(first, reasons, remittances, payments),
    )


def masked(text: str) -> str:
    """An account or tax number with its last four characters only."""
    return f"...{text[-4:]}" if len(text) > 4 else text and "..."


# ---- fields ----


def _evidence(rows: Sequence[Row]) -> dict[str, int]:
    """What each field adds to the weight, of the weakest of the rows."""
    parts = [
        {field: int(part) for field, _, part in (one.partition(":") for one in cell.split())}
        for cell in (row["evidence"] for row in rows)
    ]
    return min(parts, key=lambda part: sum(part.values()))


def _fields(rows: Sequence[Row], left: Sequence[Row], right: Sequence[Row]) -> list[FieldLine]:
    same = set.intersection(*(set(row["agreed"].split()) for row in rows))
    other = set().union(*(row["differed"].split() for row in rows))
    difference = int(rows[0]["difference_cents"])

    def line(field: Field, ours: str, theirs: str, note: str = "") -> FieldLine:
        name = (field.name or "").lower()
        if name == "amount" and len(rows) > 1:
            verdict, note = ("differ" if difference else "agree"), "of the sum"
        elif name in other:
            verdict = "differ"
        elif name in same:
            verdict = "agree"
        else:
            usable = field not in (Field.TRACE, Field.PAYER)
            verdict = ("seen" if usable else "unusable") if ours and theirs else "missing"
        return FieldLine(field=name, remittance=ours, payment=theirs, verdict=verdict, note=note)

    rewrites = set().union(*(row["rewrites"].split() for row in rows))
    total = [dollars(_cents(left, "remit_cents")), dollars(_cents(right, "payment_cents"))]
    return [
        line(
            Field.TRACE,
            _values(left, lambda row: row["trace"]),
            _values(right, lambda row: row["trace"]),
            _rewrite_note(rewrites, "trace"),
        ),
        line(
            Field.PAYER,
            _values(left, lambda row: _named(row["payer_id"], row["payer_name"])),
            _values(right, _paying),
            _rewrite_note(rewrites, "payer"),
        ),
        line(
            Field.COMPANY,
            _values(left, lambda row: row["payer_id"]),
            _values(right, lambda row: _named(row["company_id"], row["company_name"])),
        ),
        line(Field.PAYEE, _values(left, _remittance_payee), _values(right, _payment_payee)),
        line(Field.AMOUNT, total[0], total[1]),
        line(
            Field.DATE,
            _values(left, lambda row: row["remit_date"]),
            _values(right, lambda row: row["payment_date"]),
        ),
    ]


def _values(rows: Iterable[Row], of: Callable[[Row], str]) -> str:
    """The values of a field, each once."""
    values = list(dict.fromkeys(filter(None, map(of, rows))))
    more = len(values) - VALUES_SHOWN_MAX
    return ", ".join(values[:VALUES_SHOWN_MAX]) + (f", {more} more" if more > 0 else "")


def _named(number: str, name: str) -> str:
    return f"{number} ({name})" if number and name else number or name


def _paying(row: Row) -> str:
    """What names the payer in a payment: TRN03, else what stands in for it."""
    if row["payer_id"]:
        return row["payer_id"]
    named = _named(row["company_id"], row["company_name"])
    return f"by its company: {named}" if named else ""


def _remittance_payee(row: Row) -> str:
    parts = [
        f"account {row['payee_bank']} {masked(row['payee_account'])}"
        if row["payee_account"]
        else "",
        f"TIN {masked(row['payee_tin'])}" if row["payee_tin"] else "",
        f"NPI {row['payee_id']}" if row["payee_id_kind"] == "XX" else "",
    ]
    return "; ".join(filter(None, parts))


def _payment_payee(row: Row) -> str:
    account = row["payee_account"]
    return f"account {row['payee_bank']} {masked(account)}" if account else ""


def _rewrites(rows: Iterable[Row]) -> list[str]:
    names = set().union(*(row["rewrites"].split() for row in rows))
    return [text for flag, text in REWRITE_TEXTS.items() if (flag.name or "").lower() in names]


def _rewrite_note(names: set[str], field: str) -> str:
    prefix = field.upper()
    return "; ".join(
        text.removeprefix(f"{field} ")
        for flag, text in REWRITE_TEXTS.items()
        if (flag.name or "").startswith(prefix) and (flag.name or "").lower() in names
    )


# ---- the rest ----


def _reasons(rows: Iterable[Row]) -> list[Reason]:
    """Reasons of a match: the clauses of its rows that are reasons."""
    clauses = {clause for row in rows for clause in row["reason"].split("; ")}
    return [reason for text, reason in _REASONS.items() if text in clauses]


def _item(row: Row, side: str) -> Item:
    return Item(
        file=row[f"{side}_file"],
        ordinal=int(row[f"{side}_ordinal"]),
        trace=row["trace"],
        cents=int(row[f"{side}_cents"]),
        date=row[f"{side}_date"],
        status=row["status"],
        why=row["why"],
    )


def _candidates(rows: Sequence[Row], rivals: Sequence[Row]) -> list[Candidate]:
    remittances = {(row["remit_file"], row["remit_ordinal"]) for row in rows}
    found = []
    for row in rivals:
        of_ours = (row["remit_file"], row["remit_ordinal"]) in remittances
        side = "payment" if of_ours else "remit"
        found.append(
            Candidate(
                match_id=row["match_id"],
                status=row["status"],
                tier=row["tier"],
                rank=int(row["rank"]),
                remittance_rank=int(row["remittance_rank"]),
                weight=int(row["weight"]),
                shares="the remittance" if of_ours else "the payment",
                other=f"{row[f'{side}_file']} #{row[f'{side}_ordinal']}",
                other_cents=int(row[f"{side}_cents"]),
            )
        )
    return found


def _link(row: Row) -> Link:
    def place(side: str) -> str:
        return f"{row[f'{side}_file']} #{row[f'{side}_ordinal']}" if row[f"{side}_ordinal"] else ""

    return Link(
        kind=row["kind"],
        status=row["status"],
        payment=place("payment"),
        other=place("other"),
        cents=int(row["amount_cents"]) if row["amount_cents"] else None,
        reason=row["reason"],
    )


def _to_release(
    first: Row, reasons: Sequence[Reason], remittances: Sequence[Row], payments: Sequence[Row]
) -> list[str]:
    """What would have to happen so that the remittances of the match are released."""
    released = [row for row in remittances if row["status"] == "released"]
    if len(released) == len(remittances):
        files = ", ".join(dict.fromkeys(row["released_file"] for row in released))
        return [f"nothing: released, in {files}"]
    steps = []
    if first["status"] == "unmatched":
        steps.append("new money: the payment went back; a new one is matched as it comes")
    elif first["status"] == "variance":
        steps.append(
            "agreement on the amount: the rest of the money, or a corrected remittance; "
            "until then it is held"
        )
    elif first["status"] == "review":
        steps += [text for reason, text in _NEEDED.items() if reason in reasons]
        then = "then " if steps else ""
        steps.append(f"{then}a person's decision: candidates are never released by themselves")
    if any(row["status"] == "invalid" for row in remittances):
        steps.append("a valid remittance: ask the sender to correct it; see findings.csv")
    waiting = sorted({row["payment_date"] for row in payments if row["funding"] == "expected"})
    if waiting:
        day = waiting[-1] or "a date that is not known"
        steps.append(f"the money: it settles on {day}; match again as of that day")
    return steps


def _cents(rows: Iterable[Row], column: str) -> int:
    return sum(int(row[column]) for row in rows)


__all__ = ["Explanation", "explain_match", "masked"]
