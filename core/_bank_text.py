"""What the text of a bank report's detail says of an ACH entry, a wire or a check, read plainly.

_bank_text.h does the same for the texts of a whole report; tests hold the two together.

Banks put the entry's fields into the text in forms of their own, over as many lines as it takes:

    EXAMPLE HEALTH DES:HCCLAIMPMT ID:0012345678 INDN:RIVER CLINIC CO ID:1234567890 CCD PMT
    INFO:TRN*1*0012345678*1234567890\\
    ORIG CO NAME:EXAMPLE HEALTH ORIG ID:1234567890 CO ENTRY DESCR:HCCLAIMPMT SEC:CCD TRACE#:...
    lines of their own with a key in front: EREF: n, REMI: text, DBNM: name, DACT: account

A line is cut where it is full, so a value may go on in the next one; a line that begins with a key
is a new value. The TRN in what is left is found by the finder of `ach.trn_of`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from reassoc.core._bai2_fields import date_of
from reassoc.core._nacha import find_trn
from reassoc.core.ach import TrnForm
from reassoc.core.columns import DATE_NONE

TEXT_BYTES_MAX = 4096
"""Bytes of a detail's text that are looked at."""
PAYER_DIGITS = 10
"""TRN03 is exactly so long."""
REFERENCE_BYTES_MAX = 50
"""TRN02 is at most so long."""


@dataclass(slots=True)
class Memo:
    """Values as bytes, empty where the text does not have them; -1 and DATE_NONE for numbers and
    dates. `reference` is an end-to-end reference (EREF), `remittance` what a REMI line holds."""

    form: TrnForm = TrnForm.NONE
    trace: bytes = b""
    payer_id: bytes = b""
    company_id: bytes = b""
    company_name: bytes = b""
    entry_description: bytes = b""
    receiver_id: bytes = b""
    sec: bytes = b""
    ach_trace: int = -1
    effective_date: int = DATE_NONE
    return_code: bytes = b""
    original_trace: int = -1
    check_number: bytes = b""
    debtor_routing: bytes = b""
    debtor_account: bytes = b""
    reference: bytes = b""
    remittance: bytes = b""


_LABELS = {
    b"ORIG CO NAME": "company_name",
    b"CO NAME": "company_name",
    b"COMPANY NAME": "company_name",
    b"DBNM": "company_name",
    b"ORG": "company_name",
    b"FROM": "company_name",
    b"DES": "entry_description",
    b"CO ENTRY DESCR": "entry_description",
    b"ENTRY DESCRIPTION": "entry_description",
    b"ENTRY DESC": "entry_description",
    b"IND ID": "receiver_id",
    b"INDIVIDUAL ID": "receiver_id",
    b"IDNM": "receiver_id",
    b"CO ID": "company_id",
    b"COID": "company_id",
    b"ORIG ID": "company_id",
    b"COMPANY ID": "company_id",
    b"CMPY ID": "company_id",
    b"SEC": "sec",
    b"TRACE#": "ach_trace",
    b"TRACE NO": "ach_trace",
    b"TRACE NUMBER": "ach_trace",
    b"EED": "effective_date",
    b"REASON": "return_code",
    b"RETURN REASON": "return_code",
    b"RETURN OF CLIENT REF ID": "original_trace",
    b"CHKN": "check_number",
    b"CHECK SERIAL NUMBER": "check_number",
    b"CHECK NUMBER": "check_number",
    b"CHECK NO": "check_number",
    b"DABA": "debtor_routing",
    b"DACT": "debtor_account",
    b"EREF": "reference",
    b"REMI": "remittance",
    b"REMITTANCE INFO": "remittance",
}
_OTHERS = (
    b"ID",
    b"INDN",
    b"IND NAME",
    b"PMT INFO",
    b"PAYMENT INFO",
    b"ADDENDA",
    b"DESC DATE",
    b"TRN",
    b"TO",
    b"RETURN TO",
    b"RETURN FROM",
    b"CLIENT REF ID",
    b"GS ID",
    b"CLEARING REF",
    b"SETTLED AMT",
    b"FX RATE",
    b"STRUCTURE ID",
    b"SENDER ID",
    b"BNF ID",
    b"REC ID",
    b"ORG ADDRESS",
)
"""Labels that end the value before them."""
_NAMES = frozenset((*_LABELS, *_OTHERS))
_LENGTHS = sorted({len(name) for name in _NAMES}, reverse=True)
_OWN_KEY = re.compile(rb"\n[ \t]*([A-Z]{2,6})$")
_KEY_LINE = re.compile(rb"[ \t]*[A-Z]{2,6}:")
_SEC = re.compile(rb"(?<![A-Z0-9])(CCD|CTX|PPD|COR|CIE|WEB|TEL|IAT)(?![A-Z0-9])")
_RETURN_CODE = re.compile(rb"(?<![A-Za-z0-9])[Rr][0-9]{2}(?![A-Za-z0-9])")
_BANK_NUMBER = re.compile(rb"(?<![A-Za-z])TRN: ?[0-9]{5,12}TC(?![A-Za-z0-9*])")
"""A number of the bank's own, beside TRACE#; not the TRN of an 835."""
_REFERENCE = re.compile(rb"(?=(?:.*[0-9]){3})[A-Za-z0-9./-]{4,50}")


def read_memo(lines: list[bytes]) -> Memo:
    """Read the lines of one detail's text. O(length); at most TEXT_BYTES_MAX of it."""
    memo = Memo()
    if not lines:
        return memo
    text = b"\n".join(lines)[:TEXT_BYTES_MAX]
    lines = text.split(b"\n")
    _read_labels(memo, b"\n" + text)
    if b"TRACE#" in text:
        lines = [_BANK_NUMBER.sub(b"", line) for line in lines]
    memo.form, memo.trace, memo.payer_id = _find_trn(lines)
    is_short = len(memo.remittance) <= REFERENCE_BYTES_MAX
    if memo.form is TrnForm.NONE and is_short and _REFERENCE.fullmatch(memo.remittance):
        memo.trace = memo.remittance
    return memo


class _Label(NamedTuple):
    """A label that stands at text[start:end], the colon with it."""

    name: bytes
    start: int
    end: int


def _find_labels(text: bytes) -> list[_Label]:
    """Every label, looked for at the colons. A line's own key is one, known or not."""
    found: list[_Label] = []
    colon = text.find(b":")
    while colon >= 0:
        stop = colon - 1 if text[colon - 1 : colon] == b" " else colon
        tail = text[max(0, stop - _LENGTHS[0] - 1) : stop]
        name = _name_at_end(tail)
        end = colon + 2 if text[colon + 1 : colon + 2] == b"=" else colon + 1
        if name:
            found.append(_Label(name, stop - len(name), end))
        colon = text.find(b":", end)
    return found


def _name_at_end(tail: bytes) -> bytes:
    """The longest label that the text ends with, as a word; empty for none."""
    own = _OWN_KEY.search(tail)
    if own is not None:
        return own[1]
    upper = tail.upper()
    for length in _LENGTHS:
        if upper[-length:] in _NAMES:
            before = upper[-length - 1 : -length]
            return b"" if before.isalnum() else upper[-length:]
    return b""


def _read_labels(memo: Memo, text: bytes) -> None:
    """Values behind labels; the first of each counts."""
    labels = _find_labels(text)
    before = b""
    for place, (name, start, end) in enumerate(labels):
        stop = labels[place + 1].start if place + 1 < len(labels) else len(text)
        if name == b"DES" and not place:
            memo.company_name = _clean(text[:start])
        # ID alone says little; behind DES it is the entry's identification number.
        is_entry_id = name == b"ID" and before == b"DES"
        field = "receiver_id" if is_entry_id else _LABELS.get(name)
        before = name
        if field is not None:
            _keep(memo, field, text[end:stop])
            if field == "company_id" and not memo.sec:
                sec = _SEC.search(text, end, stop)
                memo.sec = sec[1] if sec else b""


def _keep(memo: Memo, field: str, value: bytes) -> None:
    value = _clean(value)
    if field in ("ach_trace", "original_trace"):
        if len(value) == 15 and value.isdigit() and getattr(memo, field) < 0:
            setattr(memo, field, int(value))
    elif field == "effective_date":
        day = date_of(value[:6])
        memo.effective_date = DATE_NONE if day is None else day
    elif field == "return_code":
        code = _RETURN_CODE.search(value)
        memo.return_code = code[0].upper() if code else memo.return_code
    elif field in ("debtor_routing", "debtor_account"):
        setattr(memo, field, bytes(byte for byte in value if chr(byte).isdigit()))
    elif not getattr(memo, field):
        if field in ("company_id", "check_number", "receiver_id"):
            value = value.split(b" ")[0] if field != "receiver_id" else value
        elif field == "entry_description":
            value = value.split(b";")[0].strip()
        elif field == "sec":
            value = value[:3].upper()
        setattr(memo, field, value)


def _clean(value: bytes) -> bytes:
    return value.replace(b"\n", b"").strip(b" \t,;\"'")


# ---- the TRN ----

_Found = tuple[TrnForm, bytes, bytes]
_FORMS = tuple(TrnForm)


def _find_trn(lines: list[bytes]) -> _Found:
    """The one TRN in the lines; UNCERTAIN where several differ."""
    finds: list[_Found] = []
    begin = 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or _KEY_LINE.match(lines[end]):
            finds.append(_find_in_run(lines[begin:end]))
            begin = end
    sure = [find for find in finds if find[1]]
    if not sure:
        unsure = any(find[0] is TrnForm.UNCERTAIN for find in finds)
        return (TrnForm.UNCERTAIN if unsure else TrnForm.NONE), b"", b""
    best = max(sure, key=lambda find: len(find[2]))
    agree = all(find[1] == best[1] and find[2] in (b"", best[2]) for find in sure)
    return best if agree else (TrnForm.UNCERTAIN, b"", b"")


def _find_in_run(lines: list[bytes]) -> _Found:
    """The TRN in lines that go on in one another: a line that holds all of it, or where it is
    cut by the end of a line, the lines put together."""
    whole = _trn(b"".join(lines))
    if len(lines) == 1 or whole[0] is TrnForm.NONE or len(whole[2]) == PAYER_DIGITS:
        return whole
    singles = [find for find in map(_trn, lines) if find[1]]
    complete = [find for find in singles if len(find[2]) >= PAYER_DIGITS]
    if len(complete) == 1 and len(singles) == 1:
        return complete[0]
    if whole[1] and len(whole[2]) >= PAYER_DIGITS - 1:
        return whole
    if len(singles) != 1:
        return whole if not singles else (TrnForm.UNCERTAIN, b"", b"")
    # The line's trace may be whole, and the next line something else; or it is cut there.
    is_cut = whole[1] not in (b"", singles[0][1])
    return (TrnForm.UNCERTAIN, b"", b"") if is_cut else singles[0]


def _trn(text: bytes) -> _Found:
    form, trace, payer, _ = find_trn(text)
    return _FORMS[form], text[slice(*trace)], text[slice(*payer)]
