"""The compiled ACH reader gives what its twin gives, whole or cut anywhere, SIMD or not."""

from __future__ import annotations

import io
import random

from ach_build import Batch, Entry, ach_file
from ach_compare import compiled_rows, differences, twin_rows
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import reference_trn
from reassoc.core.ach import _read_whole, iter_ach, read_ach, trn_of
from reassoc.core.errors import ParseError

_PIECES = [
    *("TRN", "trn", "TRN*1*", "*1*", "1*", "*", "|", "\\", "~", "!", ":", "#", "=", "-", ".", "&"),
    *("02", "03", "1", "12", "0012345", "1234567890", "1999999999", "EFT99", "ANTHEM", "XXXX"),
    *("PacificSource", "Pacific Source", "\x1d", "\x1c", "\xa6", "TRN*1*12345*1234567890", "TRN02"),
    *("TRN#", "n", "St.Mary", " ", "  "),
]
_TEXTS = st.lists(st.sampled_from(_PIECES), max_size=9).map("".join)
_LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r", "", "  \n", "\n\n"])

_ENTRIES = st.builds(
    Entry,
    amount=st.integers(0, 10**10 - 1),
    code=st.sampled_from([22, 23, 24, 27, 28, 32, 37, 55, 21, 99]),
    texts=st.lists(
        _TEXTS.map(lambda text: text[:80].replace("\x1d", "*").replace("\x1c", "~")), max_size=3
    ),
)
_BATCHES = st.builds(
    Batch,
    entries=st.lists(_ENTRIES, max_size=4),
    sec=st.sampled_from(["CCD", "PPD", "CTX", "COR", "IAT", "ADV", "TRX", "QQQ"]),
    settlement=st.sampled_from(["   ", "001", "366", "099"]),
)
_FILES = st.builds(ach_file, st.lists(_BATCHES, max_size=3), end=_LINE_ENDS)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """One or two files with some bytes changed, lost or put in."""
    data = b"".join(draw(st.lists(_FILES, min_size=1, max_size=2)))
    rng = random.Random(draw(st.integers(0, 2**32)))
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                del changed[at : at + rng.choice((1, 1, 5, 94, 95))]
            case 1:
                changed[at:at] = rng.choice(
                    (b"\n", b" ", b"7", b"6", b"\xff", b"705", b"9" * 94, b"\0")
                )
            case 2:
                changed[at : at + 1] = rng.randbytes(1)
            case 3:
                changed[at : at + 3] = b"   "
            case _:
                changed[at:at] = changed[at : at + 190]
    return bytes(changed)


@given(damaged(), st.integers(1, 400))
def test_compiled_reader_gives_what_the_twin_gives(data: bytes, window_bytes: int) -> None:
    try:
        whole = compiled_rows([read_ach(data)])
    except ParseError:
        return
    assert differences(whole, twin_rows(data)) == []
    assert differences(compiled_rows([_read_whole(data, portable=True)]), whole) == []
    assert differences(compiled_rows(iter_ach(data, window_bytes=window_bytes)), whole) == []


def test_a_feed_cut_at_any_byte_is_the_whole() -> None:
    payload = ["ST*835*1~BPR*I*1*C*ACH~TRN*1*99*1234567890~", "SE*3*1~"]
    batches = [
        Batch([Entry(texts=["TRN*1*5*1234567890~"]), Entry()]),
        Batch([Entry(texts=payload)], sec="CTX"),
    ]
    data = ach_file(batches, end="\r\n") + b"junk\r\n" + ach_file([Batch([Entry()])], end="")
    whole = compiled_rows([read_ach(data)])
    for window_bytes in range(1, 600):
        assert differences(compiled_rows(iter_ach(data, window_bytes=window_bytes)), whole) == []
    assert differences(compiled_rows(iter_ach(io.BytesIO(data), window_bytes=100)), whole) == []


@given(_TEXTS)
def test_trn_finder_gives_what_its_twin_gives(text: str) -> None:
    data = text.encode("latin-1")
    found = reference_trn.find_trn(data)
    assert trn_of(data) == (found.form, found.trace, found.payer_id, found.supplement)


@given(_TEXTS)
def test_a_trace_is_never_invented(text: str) -> None:
    """Whatever was found stands in the text as it is, and an uncertain form gives nothing."""
    form, *values = trn_of(text.encode("latin-1"))
    assert all(value in text for value in values)
    if form.name in ("NONE", "UNCERTAIN"):
        assert values == ["", "", ""]
