"""The finding codes: one list for Python and one for the compiled scanner say the same."""

from __future__ import annotations

from reassoc.core._x12scan import severity_of
from reassoc.core.errors import FindingCode, ParseError, describe, severity


def test_every_code_has_a_severity_and_a_text() -> None:
    for code in FindingCode:
        assert severity(code) in (0, 1, 2)
        assert describe(code)


def test_the_compiled_scanner_agrees_on_severities() -> None:
    x12 = [code for code in FindingCode if 1000 <= code < 2000]
    assert [severity_of(code) for code in x12] == [severity(code) for code in x12]


def test_a_parse_error_says_what_and_where() -> None:
    error = ParseError(FindingCode.X12_NO_SEGMENTS, 12, "expected ISA, GS or ST")
    assert str(error) == "X12_NO_SEGMENTS at byte 12: expected ISA, GS or ST"
    assert (error.code, error.offset) == (FindingCode.X12_NO_SEGMENTS, 12)
