"""Plain-Python twin of the normal forms in `_keys.h`: the oracle of their tests, never called in
production.

N1  upper case (ASCII), trimmed, inner blanks collapsed; CR and LF are line wraps and vanish
N2  N1 less everything but letters, digits and bytes from 0x80 on
N3  N2 less leading zeros; empty means that the trace cannot be used, as one of eight or more equal
    characters cannot (XXXXXXXX stands for a number that somebody hid)
N4  N3 less one prefix and one suffix of the payer's, and the zeros behind the prefix
P1  letters and digits in upper case; ten digits from 1 on give the nine of the EIN; nine digits are
an EIN
"""

from __future__ import annotations

from collections.abc import Sequence

TRACE_BYTES_MAX = 100
PAYER_BYTES_MAX = 40
MASKED_BYTES_MIN = 8
AFFIX_REMAINDER_MIN = 4

_BLANKS = b" \t\v\f\0"
_DIGITS = b"0123456789"


def _is_alnum(byte: int) -> bool:
    return byte >= 0x80 or bytes([byte]).isalnum()


def trace_forms(
    raw: bytes, prefixes: Sequence[bytes] = (), suffixes: Sequence[bytes] = ()
) -> tuple[bytes, bytes, bytes, bytes]:
    """(N1, N2, N3, N4) of one trace; all empty where N1 has over TRACE_BYTES_MAX bytes."""
    text = raw.replace(b"\r", b"").replace(b"\n", b"").upper()
    for blank in _BLANKS:
        text = text.replace(bytes([blank]), b" ")
    n1 = b" ".join(part for part in text.split(b" ") if part)
    if len(n1) > TRACE_BYTES_MAX:
        return b"", b"", b"", b""
    n2 = bytes(byte for byte in n1 if _is_alnum(byte))
    n3 = n2.lstrip(b"0")
    if len(n3) >= MASKED_BYTES_MIN and len(set(n3)) == 1:
        n3 = b""
    return n1, n2, n3, _strip(n3, prefixes, suffixes)


def _fits(pattern: bytes, text: bytes) -> bool:
    return all(
        t in _DIGITS if p == ord("#") else p == t for p, t in zip(pattern, text, strict=True)
    )


def _strip(n3: bytes, prefixes: Sequence[bytes], suffixes: Sequence[bytes]) -> bytes:
    n4 = n3
    for prefix in prefixes:
        if len(n4) - len(prefix) >= AFFIX_REMAINDER_MIN and _fits(prefix, n4[: len(prefix)]):
            n4 = n4[len(prefix) :].lstrip(b"0") or n4
            break
    for suffix in suffixes:
        rest = n4[: len(n4) - len(suffix)]
        if len(rest) >= AFFIX_REMAINDER_MIN and _fits(suffix, n4[len(rest) :]):
            return rest
    return n4


def payer_form(raw: bytes) -> bytes:
    """P1 of an identifier; empty where it names nobody (nothing but zeros, or too long)."""
    text = bytes(byte for byte in raw.upper() if _is_alnum(byte))
    if len(text) > PAYER_BYTES_MAX:
        return b""
    if len(text) == 10 and text.startswith(b"1") and all(byte in _DIGITS for byte in text):
        text = text[1:]
    return text if text.strip(b"0") else b""
