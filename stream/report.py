"""The tables of a run: matches.csv, remittances.csv, payments.csv, links.csv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reassoc.core.ach import EntryKind
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.match import Matches
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import (
    Field,
    Funding,
    LinkKind,
    MatchStatus,
    PaymentSource,
    PaymentStatus,
    Reason,
    RemittanceStatus,
    Rewrite,
    VarianceCause,
    reason_text,
)
from reassoc.stream.explain import explain_cells
from reassoc.stream.outcome import Outcome
from reassoc.stream.table import (
    chunks,
    code_cells,
    csv_cell,
    date_cells,
    flag_cells,
    int_cells,
    pick_cells,
    text_cells,
    write_rows,
)
from reassoc.stream.verdicts import GROUP_VALID, INTERCHANGE_VALID, OWN_VALID

MATCH_COLUMNS = (
    "match_id,status,tier,reason,remit_file,remit_ordinal,remit_control,trace,payer_id,"
    "remit_cents,remit_date,payment_file,payment_ordinal,payment_trace,payment_cents,"
    "payment_date,funded,difference_cents,cause,weight,evidence,rank,remittance_rank,rivals,"
    "days_apart,agreed,differed,rewrites"
)
REMITTANCE_COLUMNS = (
    "remit_file,remit_ordinal,remit_control,trace,payer_id,payer_name,remit_cents,remit_date,"
    "handling,payment_method,currency,claims,status,why,tier,match_id,released_file,tenant,"
    "payee_bank,payee_account,payee_tin,payee_id,payee_id_kind"
)
PAYMENT_COLUMNS = (
    "payment_file,payment_ordinal,payment_trace,trace,payer_id,company_id,company_name,sec,"
    "entry_description,kind,payment_cents,payment_date,status,funding,why,tier,match_id,source,"
    "tenant,payee_bank,payee_account,receiver_id,return_code"
)
LINK_COLUMNS = (
    "kind,status,payment_file,payment_ordinal,other_file,other_ordinal,amount_cents,reason"
)

Ints = npt.NDArray[np.int64]


def write_tables(outcome: Outcome, folder: Path) -> None:
    """Write the tables: one row per pair, per remittance, per payment and per link between
    payments, in the order of inputs and bytes.

    About a microsecond a row; memory: CHUNK_ROWS rows of text.
    """
    verdict = Verdicts(outcome)
    files = [csv_cell(items.source.name) for items in outcome.items]
    _write(
        folder / "matches.csv",
        MATCH_COLUMNS,
        len(outcome.matches),
        match_cells(_match_table(outcome), files),
    )
    _write(
        folder / "remittances.csv",
        REMITTANCE_COLUMNS,
        len(outcome.pools.rows),
        _remittance_cells(outcome, verdict, files),
    )
    _write(
        folder / "payments.csv",
        PAYMENT_COLUMNS,
        len(outcome.pools.payment_ordinal),
        _payment_cells(outcome, verdict, files),
    )
    _write(
        folder / "links.csv",
        LINK_COLUMNS,
        len(outcome.matches.links.payment),
        _link_cells(outcome, files),
    )


Cells = Callable[[slice], Sequence[Sequence[str]]]


def _write(path: Path, header: str, row_count: int, cells: Cells) -> None:
    out: IO[bytes]
    with path.open("wb", buffering=1 << 20) as out:
        out.write(header.encode() + b"\n")
        for rows in chunks(row_count):
            write_rows(out, cells(rows))


class Verdicts:
    """Final status of each row of the pools, copies and releases counted in.

    remittance_status, payment_status : int64[n], int64[m]    RemittanceStatus, PaymentStatus
    remittance_reason, payment_reason : int64[n], int64[m]    Reason flags, 0 for copies
    remittance_match, payment_match : int64[n], int64[m]      a row of matches, -1 for none
    remittance_tenant, payment_tenant : int64[n], int64[m]    numbers in `tenants`, -1 for copies
    payment_funding : int64[m]                                Funding, -1 for copies
    """

    def __init__(self, outcome: Outcome) -> None:
        matches, pools = outcome.matches, outcome.pools
        remittance_count, payment_count = len(pools.rows), len(pools.payment_ordinal)
        self.remittance_status = np.full(
            remittance_count, int(RemittanceStatus.DUPLICATE), np.int64
        )
        self.remittance_status[outcome.remittance_rows] = matches.remittance_status
        self.remittance_status[outcome.released_in >= 0] = int(RemittanceStatus.RELEASED)
        self.payment_status = np.full(payment_count, int(PaymentStatus.DUPLICATE), np.int64)
        self.payment_status[outcome.payment_rows] = matches.payment_status
        self.payment_funding = np.full(payment_count, -1, np.int64)
        self.payment_funding[outcome.payment_rows] = matches.payment_funding
        self.remittance_match = np.full(remittance_count, -1, np.int64)
        self.payment_match = np.full(payment_count, -1, np.int64)
        for rank, match_row, rows, of_pair in (
            (matches.remittance_rank, self.remittance_match, outcome.remittance_rows,
             matches.remittance),
            (matches.rank, self.payment_match, outcome.payment_rows, matches.payment),
        ):  # fmt: skip
            pairs = best_last(matches, rank)
            match_row[rows[of_pair[pairs]]] = pairs
        self.remittance_reason = np.zeros(remittance_count, np.int64)
        self.remittance_reason[outcome.remittance_rows] = matches.remittance_reason
        self.payment_reason = np.zeros(payment_count, np.int64)
        self.payment_reason[outcome.payment_rows] = matches.payment_reason
        self.remittance_tenant = np.full(remittance_count, -1, np.int64)
        self.remittance_tenant[outcome.remittance_rows] = matches.remittance_tenant
        self.payment_tenant = np.full(payment_count, -1, np.int64)
        self.payment_tenant[outcome.payment_rows] = matches.payment_tenant


def best_last(matches: Matches, rank: npt.NDArray[np.uint16]) -> Ints:
    """Rows of matches, the automatic ones behind all others and those of a better rank behind
    worse ones: what is written last for an item is what it is shown with. O(k), and O(r log r) for
    the r rows that are not automatic."""
    made = matches.status == MatchStatus.AUTO
    others = np.flatnonzero(~made)
    order = np.lexsort((-others, rank[others], matches.status[others]))[::-1]
    return np.concatenate([others[order], np.flatnonzero(made)])


@dataclass(frozen=True, slots=True)
class MatchTable:
    """Pairs of items that stand in the order of their files and of their places in them.

    matches   its remittances and payments are all items, its rows count in them
    remittance_source, payment_source : int32[n], int32[m]   numbers in `files`
    remittance_ordinal, payment_ordinal : int32[n], int32[m] remittance_control   n texts
    files     names of the files
    """

    matches: Matches
    remittance_source: npt.NDArray[np.int32]
    remittance_ordinal: npt.NDArray[np.int32]
    remittance_control: TextColumn
    payment_source: npt.NDArray[np.int32]
    payment_ordinal: npt.NDArray[np.int32]
    files: Sequence[str]

    @property
    def order(self) -> Ints:
        """int64[k]: the pairs in the order of the table."""
        matches = self.matches
        return np.lexsort((matches.rank, matches.payment, matches.remittance))


def _match_table(outcome: Outcome) -> MatchTable:
    """The pairs of a run. Rows of the pools are in the order of inputs and bytes."""
    pools = outcome.pools
    matches = replace(
        outcome.matches,
        remittance=outcome.remittance_rows[outcome.matches.remittance].astype(np.int32),
        payment=outcome.payment_rows[outcome.matches.payment].astype(np.int32),
        remittances=pools.remittances,
        payments=pools.payments,
    )
    return MatchTable(
        matches,
        pools.remittance_source,
        pools.rows.ordinal,
        pools.rows.control,
        pools.payment_source,
        pools.payment_ordinal,
        [items.source.name for items in outcome.items],
    )


def match_cells(table: MatchTable, files: Sequence[str]) -> Cells:
    """Cells of matches.csv; `files` are those of the table as cells."""
    matches, order = table.matches, table.order
    remittances, payments = matches.remittances, matches.payments
    statuses, causes = enum_names(MatchStatus), enum_names(VarianceCause)
    causes[VarianceCause.NONE] = ""

    def cells(chunk: slice) -> Sequence[Sequence[str]]:
        rows = order[chunk]
        left, right = matches.remittance[rows], matches.payment[rows]
        return (
            _id_cells(matches.match_id[rows]),
            pick_cells(statuses, matches.status[rows]),
            _tier_cells(matches.tier[rows].astype(np.int64)),
            explain_cells(matches, rows),
            pick_cells(files, table.remittance_source[left]),
            int_cells(table.remittance_ordinal[left]),
            text_cells(table.remittance_control[left]),
            text_cells(remittances.trace[left]),
            text_cells(remittances.payer_id[left]),
            int_cells(remittances.paid_cents[left]),
            date_cells(remittances.effective_date[left]),
            pick_cells(files, table.payment_source[right]),
            int_cells(table.payment_ordinal[right]),
            _trace_cells(payments.ach_trace[right]),
            int_cells(payments.amount_cents[right]),
            date_cells(payment_date(payments, right)),
            flag_cells(matches.funded[rows]),
            int_cells(matches.difference_cents[rows]),
            pick_cells(causes, matches.cause[rows]),
            int_cells(matches.weight[rows]),
            _evidence_cells(matches.evidence[rows]),
            int_cells(matches.rank[rows]),
            int_cells(matches.remittance_rank[rows]),
            int_cells(matches.rivals[rows]),
            _number_cells(matches.days_apart[rows], DATE_NONE),
            _flag_names(matches.agreed[rows], Field),
            _flag_names(matches.differed[rows], Field),
            _flag_names(matches.rewrites[rows], Rewrite),
        )

    return cells


def _remittance_cells(outcome: Outcome, verdict: Verdicts, files: Sequence[str]) -> Cells:
    pools, columns = outcome.pools, outcome.pools.remittances
    statuses = enum_names(RemittanceStatus)
    released = [csv_cell(file.name) for file in outcome.files]
    tenants = [csv_cell(name) for name in outcome.matches.tenants]

    def cells(rows: slice) -> Sequence[Sequence[str]]:
        match_rows = verdict.remittance_match[rows]
        return (
            pick_cells(files, pools.remittance_source[rows]),
            int_cells(pools.rows.ordinal[rows]),
            text_cells(pools.rows.control[rows]),
            text_cells(columns.trace[rows]),
            text_cells(columns.payer_id[rows]),
            text_cells(columns.payer_name[rows]),
            int_cells(columns.paid_cents[rows]),
            date_cells(columns.effective_date[rows]),
            code_cells(columns.handling[rows]),
            code_cells(columns.payment_method[rows]),
            code_cells(columns.currency[rows]),
            int_cells(pools.rows.claims[rows]),
            pick_cells(statuses, verdict.remittance_status[rows]),
            _remittance_why(outcome, verdict, rows),
            *_pair_cells(outcome, match_rows),
            pick_cells(released, outcome.released_in[rows]),
            pick_cells(tenants, verdict.remittance_tenant[rows]),
            text_cells(columns.payee_bank[rows]),
            text_cells(columns.payee_account[rows]),
            text_cells(columns.payee_tin[rows]),
            text_cells(columns.payee_entity_id[rows]),
            code_cells(columns.payee_entity_qualifier[rows]),
        )

    return cells


def _payment_cells(outcome: Outcome, verdict: Verdicts, files: Sequence[str]) -> Cells:
    pools, columns = outcome.pools, outcome.pools.payments
    statuses, kinds, fundings = (
        enum_names(PaymentStatus),
        enum_names(EntryKind),
        enum_names(Funding),
    )
    tenants = [csv_cell(name) for name in outcome.matches.tenants]
    sources = enum_names(PaymentSource)

    def cells(rows: slice) -> Sequence[Sequence[str]]:
        return (
            pick_cells(files, pools.payment_source[rows]),
            int_cells(pools.payment_ordinal[rows]),
            _trace_cells(columns.ach_trace[rows]),
            text_cells(columns.trace[rows]),
            text_cells(columns.payer_id[rows]),
            text_cells(columns.company_id[rows]),
            text_cells(columns.company_name[rows]),
            code_cells(columns.sec[rows]),
            text_cells(columns.entry_description[rows]),
            pick_cells(kinds, columns.kind[rows]),
            int_cells(columns.amount_cents[rows]),
            date_cells(payment_date(columns, rows)),
            pick_cells(statuses, verdict.payment_status[rows]),
            pick_cells(fundings, verdict.payment_funding[rows]),
            _payment_why(outcome, verdict, rows),
            *_pair_cells(outcome, verdict.payment_match[rows]),
            pick_cells(sources, columns.source[rows]),
            pick_cells(tenants, verdict.payment_tenant[rows]),
            _routing_cells(columns.rdfi_routing[rows]),
            text_cells(columns.account[rows]),
            text_cells(columns.receiver_id[rows]),
            code_cells(columns.return_code[rows]),
        )

    return cells


def _link_cells(outcome: Outcome, files: Sequence[str]) -> Cells:
    links, pools = outcome.matches.links, outcome.pools
    payment = outcome.payment_rows[links.payment]
    other = outcome.payment_rows[links.other]
    order = np.lexsort((other, payment))
    kinds, statuses = enum_names(LinkKind), enum_names(MatchStatus)
    source, ordinal = pools.payment_source, pools.payment_ordinal

    def cells(chunk: slice) -> Sequence[Sequence[str]]:
        rows = order[chunk]
        left, right = payment[rows], other[rows]
        return (
            pick_cells(kinds, links.kind[rows]),
            pick_cells(statuses, links.status[rows]),
            pick_cells(files, source[left]),
            int_cells(ordinal[left]),
            pick_cells(files, source[right]),
            int_cells(ordinal[right]),
            int_cells(pools.payments.amount_cents[left]),
            _reason_cells(outcome.matches.payment_reason[links.payment[rows]]),
        )

    return cells


def _pair_cells(outcome: Outcome, match_rows: Ints) -> tuple[list[str], list[str]]:
    """Tier and match id of an item's match, empty where it has none."""
    matches = outcome.matches
    present = match_rows >= 0
    if not present.any():
        return [""] * len(match_rows), [""] * len(match_rows)
    tier = np.where(present, matches.tier[match_rows].astype(np.int64), -1)
    ids = matches.match_id[match_rows]
    return _tier_cells(tier), [
        f"{value:016x}" if there else ""
        for value, there in zip(ids.tolist(), present.tolist(), strict=True)
    ]


def _remittance_why(outcome: Outcome, verdict: Verdicts, rows: slice) -> list[str]:
    """Why a remittance has its status: the matcher's reasons, what is invalid about it, or whose
    copy it is.
    """
    pools = outcome.pools
    # What is invalid is said in more words than the matcher knows.
    cells = _reason_cells(verdict.remittance_reason[rows] & ~int(Reason.REMITTANCE_INVALID))
    invalid = verdict.remittance_status[rows] == int(RemittanceStatus.INVALID)
    checks = pools.rows.checks[rows]
    for row in np.flatnonzero(invalid).tolist():
        cells[row] = csv_cell(
            "; ".join(filter(None, [_invalid_text(int(checks[row])), cells[row].strip('"')]))
        )
    for row in np.flatnonzero(pools.copy_of[pools.remittance_source[rows]] >= 0).tolist():
        cells[row] = _copy_text(outcome, int(pools.remittance_source[rows][row]))
    return cells


def _payment_why(outcome: Outcome, verdict: Verdicts, rows: slice) -> list[str]:
    pools = outcome.pools
    cells = _reason_cells(verdict.payment_reason[rows])
    for row in np.flatnonzero(pools.copy_of[pools.payment_source[rows]] >= 0).tolist():
        cells[row] = _copy_text(outcome, int(pools.payment_source[rows][row]))
    return cells


def _invalid_text(checks: int) -> str:
    """What makes a remittance invalid, by the bits of RemittanceRows.checks; findings.csv says
    where.
    """
    texts = [
        (OWN_VALID, "the transaction has errors, see findings"),
        (GROUP_VALID, "its group's count or control number is wrong"),
        (INTERCHANGE_VALID, "its interchange's count or control number is wrong"),
    ]
    return "; ".join(text for bit, text in texts if not checks & bit)


def _copy_text(outcome: Outcome, source: int) -> str:
    first = outcome.items[int(outcome.pools.copy_of[source])].source.name
    return csv_cell(f"the same file as {first}")


def payment_date(payments: PaymentColumns, rows: npt.NDArray[Any] | slice) -> npt.NDArray[np.int32]:
    """Settlement date, else effective date, of payments."""
    settlement = payments.settlement_date[rows]
    return np.where(settlement == DATE_NONE, payments.effective_date[rows], settlement)


def enum_names(kind: type[IntEnum]) -> list[str]:
    """Lower-case names by value; values not in use have an empty name."""
    names = [""] * (max(member.value for member in kind) + 1)
    for member in kind:
        names[member.value] = member.name.lower()
    return names


def _id_cells(ids: npt.NDArray[np.uint64]) -> list[str]:
    return [f"{value:016x}" for value in ids.tolist()]


def _tier_cells(tiers: Ints) -> list[str]:
    return pick_cells([f"T{tier}" for tier in range(11)], tiers)


EVIDENCE_FIELDS = ("trace", "payer", "payee", "amount", "date")
"""What Matches.evidence has a number for; payer counts the company identifier, too."""


def _evidence_cells(evidence: npt.NDArray[np.int16]) -> list[str]:
    """`trace:2400 payer:600 ...`: what each field adds to a weight; empty for pairs that nobody has
    to weigh."""
    cells = [""] * len(evidence)
    for row in np.flatnonzero(evidence.any(axis=1)).tolist():
        parts = zip(EVIDENCE_FIELDS, evidence[row].tolist(), strict=True)
        cells[row] = " ".join(f"{field}:{part}" for field, part in parts)
    return cells


def _trace_cells(traces: npt.NDArray[np.int64]) -> list[str]:
    """15-digit trace numbers, empty where the record had none."""
    return [f"{trace:015d}" if trace >= 0 else "" for trace in traces.tolist()]


def _routing_cells(numbers: npt.NDArray[np.int32]) -> list[str]:
    values, inverse = np.unique(numbers, return_inverse=True)
    return pick_cells([f"{value:09d}" if value > 0 else "" for value in values.tolist()], inverse)


def _number_cells(values: npt.NDArray[np.int32], none: int) -> list[str]:
    return [str(value) if value != none else "" for value in values.tolist()]


def _flag_names(flags: npt.NDArray[np.uint16], kind: type[IntFlag]) -> list[str]:
    """Names of the flags that are set, with blanks between them: `trace payer`."""
    values, inverse = np.unique(flags, return_inverse=True)
    names = [
        " ".join(flag.name.lower() for flag in kind if flag.name and value & flag)
        for value in values.tolist()
    ]
    return pick_cells(names, inverse)


def _reason_cells(reasons: Ints) -> list[str]:
    values, inverse = np.unique(reasons, return_inverse=True)
    return pick_cells([csv_cell(reason_text(int(value))) for value in values.tolist()], inverse)


__all__ = [
    "LINK_COLUMNS",
    "MATCH_COLUMNS",
    "PAYMENT_COLUMNS",
    "REMITTANCE_COLUMNS",
    "Verdicts",
    "write_tables",
]
