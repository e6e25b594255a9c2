"""Details of bank reports as payments: the same columns that ACH entries have.

What a detail is, its type code says (BAI2, appendix A); whose money, its text (`_bank_text`). A
line of a bank's report never has a trace number in the ACH sense unless its text gives one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reassoc.core import _bai2scan
from reassoc.core.ach import EntryKind, ReturnForm, TrnForm
from reassoc.core.bai2 import BankReports, Direction, GroupStatus, direction_of
from reassoc.core.columns import DATE_NONE, Table, TakenColumn, TextColumn, build_table
from reassoc.core.pool import PaymentColumns
from reassoc.core.statuses import PaymentSource

_SOURCE_OF_CODE = {
    **dict.fromkeys((142, 143, 164, 165, 166, 169), PaymentSource.BANK_ACH),
    **dict.fromkeys((451, 455, 464, 466, 469, 557, 558), PaymentSource.BANK_ACH),
    **dict.fromkeys((195, 208, 495, 508), PaymentSource.WIRE),
    **dict.fromkeys((115, 135, 173, 174, 175, 301), PaymentSource.DEPOSIT),
    **dict.fromkeys((116, 136, 395, 474, 475, 555), PaymentSource.CHECK),
}
"""Type code -> how the money moved. A package of checks (175) is a deposit: it may be several."""
_RETURN_CODES = frozenset((255, 257, 555, 557))
"""Items that came back: checks and ACH entries."""
_ITEM_CODES = frozenset((116, 136))
"""Items of a deposit, listed behind it."""
_REVERSAL_CODE = 558
_NOT_BY_TEXT = frozenset((168, 255, 257, 258, 266))
"""Credits that give money back; a TRN in their text is no payer's."""
ROUTING_DIGITS = 9
TRACE_DIGITS = 15
_WEIGHTS = (3, 7, 1, 3, 7, 1, 3, 7, 1)


def routing_of(text: str | bytes) -> int:
    """A routing number of nine digits whose check digit is right; else -1."""
    digits = text.encode("latin-1", "replace") if isinstance(text, str) else text
    if len(digits) != ROUTING_DIGITS or not digits.isdigit():
        return -1
    total = sum(weight * (digit - ord("0")) for weight, digit in zip(_WEIGHTS, digits, strict=True))
    return -1 if total % 10 or digits == b"000000000" else int(digits)


def read_memos(reports: BankReports) -> Table:
    """What the text of each detail says, a row for each (_bank_text.h; in plain Python
    _bank_text.py). O(size)."""
    details, texts = reports.details, reports.texts.text
    taken = _bai2scan.read_memos(reports.source, texts.refs, details.text_start, details.text_stop)
    return memo_table(taken)


def memo_table(taken: dict[str, list[TakenColumn]]) -> Table:
    """The table of what _bai2scan.read_memos gave. O(1)."""
    values = build_table("bytes", taken["bytes"], b"").data
    return build_table("memos", taken["memos"], memoryview(values))


def uncertain_rows(memos: Table) -> npt.NDArray[np.int64]:
    """int64[k]: details in whose text a TRN may stand, but which characters of it is not sure."""
    return np.flatnonzero(memos.form == TrnForm.UNCERTAIN)


def payments(reports: BankReports, digest: int = 0, memos: Table | None = None) -> PaymentColumns:
    """Every detail of a report as a payment, in order: row k is the 16 record number k.

    digest : first 8 bytes of the file's digest; memos : of `read_memos`, where at hand

    source and kind go by type code and range; an unlisted credit whose text holds a TRN with its
    payer is an ACH credit. settlement_date is the value date, else the group's as-of date; account
    the account's number, rdfi_routing the group's originator where that is a routing number. Groups
    that delete or test give rows of kind OTHER. What is not USD is BANK_OTHER and not valid, so it
    never pairs. O(size).
    """
    if memos is None:
        memos = read_memos(reports)
    columns = _places(reports, digest) | _kinds(reports, memos) | _memo_columns(memos)
    columns |= _check_columns(reports, memos, columns)
    columns["deposit"] = _deposits(reports, columns["source"], columns["settlement_date"])
    return PaymentColumns(**columns)


def _places(reports: BankReports, digest: int) -> dict[str, Any]:
    """What a detail has of its record, account and group."""
    details, accounts, groups = reports.details, reports.accounts, reports.groups
    count, account = len(details), details.account
    group = accounts.group[account]
    files = reports.files.valid[groups.file[group]]
    is_dollars = accounts.currency[account] == b"USD"
    as_of = groups.as_of_date[group]
    dated = details.value_date != DATE_NONE
    routings = np.array([routing_of(text) for text in groups.originator], np.int32)
    return {
        "id_digest": np.full(count, digest, np.uint64),
        "id_offset": details.offset.astype(np.int64),
        "account": accounts.account[account],
        "amount_cents": details.amount_cents,
        "settlement_date": np.where(dated, details.value_date, as_of).astype(np.int32),
        "rdfi_routing": routings[group] if len(routings) else np.zeros(0, np.int32),
        "report": group.astype(np.int32),
        "type_code": details.type_code,
        "bank_reference": details.bank_reference,
        "has_remittance": np.zeros(count, np.bool_),
        "valid": details.valid & accounts.valid[account] & groups.valid[group] & files & is_dollars,
    }


def _kinds(reports: BankReports, memos: Table) -> dict[str, Any]:
    """Source and kind of each detail."""
    details, accounts, groups = reports.details, reports.accounts, reports.groups
    source, kind = _SOURCES[details.type_code], _KINDS[details.type_code]
    sure = (memos.trace.lengths > 0) & (memos.payer_id.lengths > 0)
    by_text = sure & (source == PaymentSource.BANK_OTHER) & (kind == EntryKind.CREDIT)
    by_text &= ~np.isin(details.type_code, list(_NOT_BY_TEXT))
    source[by_text] = PaymentSource.BANK_ACH
    source[accounts.currency[details.account] != b"USD"] = PaymentSource.BANK_OTHER
    status = groups.status[accounts.group[details.account]]
    kind[(status == GroupStatus.DELETION) | (status == GroupStatus.TEST)] = EntryKind.OTHER
    return {"source": source, "kind": kind}


def _source(code: int) -> PaymentSource:
    return _SOURCE_OF_CODE.get(code, PaymentSource.BANK_OTHER)


def _kind(code: int) -> EntryKind:
    if code in _RETURN_CODES:
        return EntryKind.RETURN
    kinds = {Direction.CREDIT: EntryKind.CREDIT, Direction.DEBIT: EntryKind.DEBIT}
    return kinds.get(direction_of(code), EntryKind.OTHER)


_CODES = (*range(1000), -1)
"""Type codes by their place; -1, for none, is the last."""
_SOURCES = np.array([_source(code) for code in _CODES], np.uint8)
_KINDS = np.array([_kind(code) for code in _CODES], np.uint8)


def _memo_columns(memos: Table) -> dict[str, Any]:
    """What the texts say."""
    traces = memos.ach_trace
    return {
        "payer_id": memos.payer_id,
        "company_id": memos.company_id,
        "company_name": memos.company_name,
        "receiver_id": memos.receiver_id,
        "effective_date": memos.effective_date,
        "ach_trace": traces,
        "odfi": np.where(traces >= 0, traces // 10**7, -1).astype(np.int32),
        "sec": memos.sec,
        "return_form": np.full(len(memos), ReturnForm.RETURN, np.uint8),
        "original_rdfi": np.full(len(memos), -1, np.int32),
        "return_trace": np.full(len(memos), -1, np.int64),
    }


def _check_columns(reports: BankReports, memos: Table, columns: dict[str, Any]) -> dict[str, Any]:
    """What depends on how the money moved: the trace (a check's number, a wire's reference), the
    drawer's account, and what a return is about."""
    source, is_return = columns["source"], columns["kind"] == EntryKind.RETURN
    is_reversal = reports.details.type_code == _REVERSAL_CODE
    unnamed = np.flatnonzero(is_reversal & (memos.entry_description.lengths == 0))
    reversal = TextColumn.from_values([b"REVERSAL"])[np.zeros(len(unnamed), np.intp)]
    drawn = (source == PaymentSource.CHECK) | (source == PaymentSource.DEPOSIT)
    return {
        "trace": _traces(memos, source, reports.details.customer_reference),
        "payer_account": _where(drawn, memos.drawer),
        "return_code": np.where(is_return, memos.return_code, b"").astype("S4"),
        "original_trace": _originals(memos, is_return, reports.details.customer_reference),
        "entry_description": _filled(memos.entry_description, unnamed, reversal),
    }


def _traces(memos: Table, source: npt.NDArray[np.uint8], references: TextColumn) -> TextColumn:
    """The trace of each detail: of a check its number, of a wire its reference where its text has
    no TRN; the customer reference where the text has none of them."""
    checks, wires = source == PaymentSource.CHECK, source == PaymentSource.WIRE
    refs = np.array(memos.trace.refs)
    refs[checks] = memos.check_number.refs[checks]
    bare = wires & (refs[:, 1] == 0)
    refs[bare] = memos.reference.refs[bare]
    rows = np.flatnonzero((checks | wires) & (refs[:, 1] == 0))
    return _filled(TextColumn(memos.trace.source, refs), rows, _whole(references[rows]))


def _whole(column: TextColumn) -> TextColumn:
    """The values without the line ends in them."""
    packed = column.compact()
    data = bytes(packed.source)
    if b"\n" not in data and b"\r" not in data:
        return packed
    return TextColumn.from_values(packed.raw(row) for row in range(len(packed)))


def _where(chosen: npt.NDArray[np.bool_], column: TextColumn) -> TextColumn:
    """The values of the chosen rows, else none."""
    return TextColumn(column.source, np.where(chosen[:, None], column.refs, np.uint32(0)))


def _filled(column: TextColumn, rows: npt.NDArray[np.intp], values: TextColumn) -> TextColumn:
    """The column with other values in some rows."""
    if not len(rows):
        return column
    both = TextColumn.concat([column, values])
    refs = both.refs[: len(column)]
    refs[rows] = both.refs[len(column) :]
    return TextColumn(both.source, refs)


def _originals(
    memos: Table, is_return: npt.NDArray[np.bool_], references: TextColumn
) -> npt.NDArray[np.int64]:
    """The trace number of the entry that was returned, where the bank gives it."""
    originals = np.where(is_return, memos.original_trace, -1)
    unsaid = is_return & (originals < 0) & (references.lengths >= TRACE_DIGITS)
    for row in np.flatnonzero(unsaid).tolist():
        digits = references.raw(row)
        if len(digits) == TRACE_DIGITS and digits.isdigit():
            originals[row] = int(digits)
    return originals


# ---- deposits ----


def _deposits(
    reports: BankReports, sources: npt.NDArray[np.uint8], days: npt.NDArray[np.int32]
) -> TextColumn:
    """The deposit that each deposit and each of its items belongs to.

    A deposit is called by its bank reference, else its customer reference, else by its day and
    amount: by what it says, so that it is called the same in another report. Items belong to the
    deposit of their account whose reference they have, or to the one they stand right behind, where
    they come to its amount; else they keep their own bank reference.
    """
    names: list[bytes] = [b""] * len(sources)
    deposits = sources == PaymentSource.DEPOSIT
    rows = np.flatnonzero(deposits | np.isin(reports.details.type_code, list(_ITEM_CODES)))
    accounts = reports.details.account[rows]
    for part in np.split(rows, np.flatnonzero(np.diff(accounts)) + 1):
        heads = part[deposits[part]].tolist()
        known = _name_deposits(reports, heads, days, names)
        behind = _items_behind(reports, part.tolist(), set(heads))
        for row in part[~deposits[part]].tolist():
            own = reports.details.bank_reference.raw(row)
            head = behind.get(row)
            names[row] = known.get(own, b"") or (own if head is None else names[head])
    refs = np.zeros((len(names), 2), np.uint32)
    named = TextColumn.from_values(names[row] for row in rows.tolist())
    refs[rows] = named.refs
    return TextColumn(named.source, refs)


def _name_deposits(
    reports: BankReports, rows: list[int], days: npt.NDArray[np.int32], names: list[bytes]
) -> dict[bytes, bytes]:
    """Name the deposits of one account; their names by each of their references."""
    details = reports.details
    known: dict[bytes, bytes] = {}
    counts: dict[bytes, int] = {}
    for row in rows:
        references = details.bank_reference.raw(row), details.customer_reference.raw(row)
        own = references[0] or references[1]
        if not own:
            # Equal deposits without a reference are told apart by their order alone.
            content = b"%d-%d" % (days[row], details.amount_cents[row])
            counts[content] = counts.get(content, 0) + 1
            own = b"%s-%d" % (content, counts[content])
        names[row] = own
        for reference in references:
            if reference:
                known.setdefault(reference, own)
    return known


def _items_behind(reports: BankReports, rows: list[int], deposits: set[int]) -> dict[int, int]:
    """Row of an item -> row of the deposit right before the items that come to its amount."""
    cents = reports.details.amount_cents
    found: dict[int, int] = {}
    for place, row in enumerate(rows):
        if row not in deposits:
            continue
        run: list[int] = []
        left = int(cents[row])
        for item in rows[place + 1 :]:
            if item in deposits or left <= 0:
                break
            run.append(item)
            left -= int(cents[item])
        if run and left == 0:
            found |= dict.fromkeys(run, row)
    return found
