"""Plain twin of the TRN finder in _ach_trn.h: slow, by regular expressions, for tests only."""

from __future__ import annotations

import re
from dataclasses import dataclass

NONE, BACKSLASH, TILDE, UNTERMINATED, EMBEDDED, OTHER_SEPARATOR = range(6)
DOUBLED, NAME_GLUED, PREFIX_DAMAGED, LABELLED, PREFIX_MISSING, PAYLOAD, UNCERTAIN = range(6, 13)

_SEPARATOR = r"[^A-Za-z0-9 :#=\\~]"
_STANDARD = re.compile(rf"[Tt][Rr][Nn]({_SEPARATOR})1\1")
_WORD = re.compile(r"(?<![A-Za-z0-9])[Tt][Rr][Nn]")
_DAMAGED = (re.compile(rf"1({_SEPARATOR})"), re.compile(rf"[: .\-]*+({_SEPARATOR})"))
_LABEL = re.compile(r"(?:02)?([ #:=]*)([A-Za-z0-9\-]+)")
_PAYER_LABEL = re.compile(r"[Tt][Rr][Nn]03([ #:=]*)([A-Za-z0-9\-]*)")
_GLUED = re.compile(r"(?=[A-Za-z])(?=[^0-9]*[a-z ])[A-Za-z .,&'\-]{4,}([0-9]{5,})")
_PLAUSIBLE = re.compile(r"(?=(?:.*[0-9]){3})[A-Za-z0-9./\-]{4,50}", re.DOTALL)
_MASKED = re.compile(r"[Xx]{4}")


@dataclass(frozen=True)
class Trn:
    """What was found; texts are empty where there is none."""

    form: int = NONE
    trace: str = ""
    payer_id: str = ""
    supplement: str = ""


@dataclass
class _Elements:
    trace: str
    payer_id: str
    supplement: str
    end: int
    terminator: str
    tail: bool
    other: bool
    uncertain: bool


def find_trn(data: bytes) -> Trn:
    """Find the TRN in the text of an addenda. O(n**2)."""
    text = data.decode("latin-1").strip(" ")
    standard = _standard(text)
    if standard is not None:
        return standard
    for word in _WORD.finditer(text):
        rest = text[word.end() :]
        found = _damaged(text, word.end()) or _labelled(rest)
        if found is not None:
            return found
        if len(re.findall(r"[0-9]", rest)) >= 4:
            return Trn(UNCERTAIN)
    return _headless(text)


def _element(text: str, at: int, separator: str) -> int:
    """One after the last character of the element that starts at `at`."""
    while at < len(text) and text[at] not in (separator, "\\", "~") and ord(text[at]) >= 32:
        at += 1
    return at


def _elements(text: str, at: int, separator: str) -> _Elements:
    """Read TRN02, TRN03 and TRN04."""
    stop = _element(text, at, separator)
    read = _Elements(text[at:stop].strip(" "), "", "", stop, "", False, False, False)
    cut = False
    if stop == len(text):
        if "  " in read.trace:
            read.trace, read.tail = read.trace.split("  ")[0], True
        read.uncertain = " " in read.trace
        bare = read.trace.rstrip("!.,;")
        read.trace, read.other = bare, bare != read.trace
    elif text[stop] == separator:
        start, stop = stop + 1, _element(text, stop + 1, separator)
        read.end = stop
        cut = _payer(text, start, stop, read)
        if not cut and stop < len(text) and text[stop] == separator:
            start, stop = stop + 1, _element(text, stop + 1, separator)
            read.end = stop
            read.supplement = text[start:stop].strip(" ")
            if stop == len(text):
                read.supplement, *others = read.supplement.split("  ")
                read.tail = read.tail or bool(others)
            elif text[stop] == separator:
                read.tail = True
    if not cut and read.end < len(text) and text[read.end] != separator:
        read.terminator = text[read.end]
        read.other = read.other or read.terminator not in "\\~"
        read.end += 1
    read.tail = read.tail or text[read.end :].strip(" ") != ""
    read.uncertain = read.uncertain or re.search(r" [Tt][Rr][Nn]", text[at : read.end]) is not None
    return read


def _payer(text: str, start: int, stop: int, read: _Elements) -> bool:
    """Read TRN03. True when the segment ends inside of it, at a blank after its ten characters."""
    payer = text[start:stop].strip(" ")
    cut = False
    if " " in payer:
        head = payer.split(" ")[0]
        if re.fullmatch(r"[A-Za-z0-9]{10}", head):
            read.end = text.index(head, start) + 10
            payer, cut = head, True
        elif stop == len(text):
            payer, read.tail = "", True
    if len(payer) == 11 and not re.fullmatch(r"[A-Za-z0-9]", payer[-1]):
        payer, read.other = payer[:-1], True
    read.payer_id = payer
    return cut


def _standard(text: str) -> Trn | None:
    """Every well-formed segment; when they disagree, none is taken."""
    result: Trn | None = None
    at = 0
    while (match := _STANDARD.search(text, at)) is not None:
        found, at = _standard_one(text, match)
        if result is None:
            result = found
        elif found.form == UNCERTAIN or found.trace != result.trace:
            result = Trn(UNCERTAIN)
    return result


def _standard_one(text: str, match: re.Match[str]) -> tuple[Trn, int]:
    separator, body = match.group(1), match.end()
    again = re.compile(r"[Tt][Rr][Nn]" + re.escape(separator + "1" + separator))
    before = text[max(0, match.start() - 4) : match.start()]
    doubled = re.fullmatch(r"[Tt][Rr][Nn]" + re.escape(separator), before) is not None
    while (more := again.match(text, body)) is not None:
        body, doubled = more.end(), True
    read = _elements(text, body, separator)
    if read.uncertain or not 1 <= len(read.trace) <= 50 or _MASKED.search(read.trace):
        return Trn(UNCERTAIN), read.end
    glued = _GLUED.fullmatch(read.trace)
    trace = glued.group(1) if glued else read.trace
    if doubled:
        form = DOUBLED
    elif glued:
        form = NAME_GLUED
    elif separator != "*" or read.other:
        form = OTHER_SEPARATOR
    elif match.start() > 0 or read.tail:
        form = EMBEDDED
    else:
        form = {"\\": BACKSLASH, "~": TILDE}.get(read.terminator, UNTERMINATED)
    return Trn(form, trace, read.payer_id, read.supplement), read.end


def _sure(read: _Elements) -> bool:
    return (
        not read.uncertain
        and bool(_PLAUSIBLE.fullmatch(read.trace))
        and not _MASKED.search(read.trace)
    )


def _damaged(text: str, at: int) -> Trn | None:
    """`TRN1*n`, `TRN:*1*n`, `TRN*n`."""
    match = _DAMAGED[0].match(text, at) or _DAMAGED[1].match(text, at)
    if match is None:
        return None
    separator, body = match.group(1), match.end()
    if text[body : body + 2] == "1" + separator:
        body += 2
    read = _elements(text, body, separator)
    if not _sure(read):
        return Trn(UNCERTAIN)
    return Trn(PREFIX_DAMAGED, read.trace, read.payer_id, read.supplement)


def _labelled(rest: str) -> Trn | None:
    """`TRN# n`, `TRN02 = n`."""
    match = _LABEL.match(rest)
    if match is None or not match.group(1).strip(" "):
        return None
    trace, after = match.group(2), rest[match.end() : match.end() + 1]
    if (
        after not in ("", " ", "\\", "~", ",", ";")
        or not _PLAUSIBLE.fullmatch(trace)
        or _MASKED.search(trace)
    ):
        return Trn(UNCERTAIN)
    payer = _PAYER_LABEL.search(rest, match.end())
    payer_id = payer.group(2) if payer and payer.group(1).strip(" ") else ""
    return Trn(LABELLED, trace, payer_id if re.fullmatch(r"[A-Za-z0-9]{10}", payer_id) else "")


def _headless(text: str) -> Trn:
    """`*1*n*1nnnnnnnnn`."""
    body = 2 if text.startswith("1*") else text.find("*1*") + 3
    if body < 2 or (body == 2 and not text.startswith("1*")):
        return Trn()
    read = _elements(text, body, "*")
    if _sure(read) and re.fullmatch(r"[139][0-9]{9}", read.payer_id):
        return Trn(PREFIX_MISSING, read.trace, read.payer_id, read.supplement)
    return Trn(UNCERTAIN) if len(re.findall(r"[0-9]", text[body:])) >= 4 else Trn()
