"""One bad transaction costs only itself: its neighbours come out whole, whatever was done to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from x12_build import Style, isa, odd_values

from reassoc.core.x12_835 import read_835

STYLE = Style(b"*", b":", b"~", b"")
DAMAGE = st.one_of(
    st.binary(max_size=12),
    odd_values,
    st.sampled_from([b"~", b"*", b"~~", b"\r\n", b"ISA*", b"SE*"]),
)


def transaction(control: bytes, cents: bytes) -> bytes:
    """A small balanced 835."""
    segments = [
        (b"ST", b"835", control),
        (b"BPR", b"I", cents, b"C", b"ACH", b"CCP", *[b""] * 10, b"20240105"),
        (b"TRN", b"1", b"T" + control, b"1123456789"),
        (b"N1", b"PR", b"PAYER"),
        (b"N1", b"PE", b"PAYEE", b"XX", b"1"),
        (b"LX", b"1"),
        (b"CLP", b"A", b"1", cents, cents),
        (b"SVC", b"HC:99213", cents, cents),
        (b"SE", b"9", control),
    ]
    return b"".join(STYLE.segment(*segment) for segment in segments)


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 20), DAMAGE), min_size=1, max_size=5))
def test_the_neighbours_of_a_damaged_transaction(damage: list[tuple[int, int, bytes]]) -> None:
    middle = bytearray(transaction(b"0002", b"7.5"))
    for place, length, put in damage:
        start = min(4 + place, len(middle) - 1)
        middle[start : min(start + length, len(middle) - 1)] = put
    first, last = transaction(b"0001", b"11.25"), transaction(b"0003", b"3")
    group = STYLE.segment(
        b"GS", b"HP", b"A", b"B", b"20240104", b"1200", b"1", b"X", b"005010X221A1"
    )
    ends = STYLE.segment(b"GE", b"3", b"1") + STYLE.segment(b"IEA", b"1", b"000000001")
    found = read_835(b"".join([isa(STYLE, True), group, first, bytes(middle), last, ends]))
    table = found.transactions
    sound = {
        (control, int(cents))
        for control, cents, valid in zip(
            table.control_number, table.paid_cents, table.valid, strict=True
        )
        if valid
    }
    assert {("0001", 1125), ("0003", 300)} <= sound
