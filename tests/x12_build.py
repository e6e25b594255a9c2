"""Hypothesis strategies for 835 files: sound, odd and damaged ones. Everything is made up."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

TERMINATORS = [
    b"~",
    b"\n",
    b"\r\n",
    b"\r",
    b"\x1c",
    b"\x1d",
    b"\x1e",
    b"'",
    b"!",
    b"\\",
    b"|",
    b"\x85",
]
SEPARATORS = [b"*", b"|", b"+", b"\x1d", b"^", b"&", b"\t", b"\xa6"]
COMPONENTS = [b":", b">", b"<", b"\x1f", b"@", b"\\"]
LINE_ENDS = [b"", b"", b"", b"\n", b"\r\n", b"  ", b"\n\n", b"\n   "]


@dataclass(frozen=True)
class Style:
    """How a file is written: its delimiters, and what stands between its segments."""

    element: bytes
    component: bytes
    terminator: bytes
    between: bytes

    def segment(self, *elements: bytes) -> bytes:
        return self.element.join(elements) + self.terminator + self.between


@st.composite
def styles(draw: st.DrawFn) -> Style:
    """Delimiters that differ from one another."""
    terminator = draw(st.sampled_from(TERMINATORS))
    element = draw(st.sampled_from([mark for mark in SEPARATORS if mark not in terminator]))
    component = draw(
        st.sampled_from([mark for mark in COMPONENTS if mark not in terminator and mark != element])
    )
    return Style(element, component, terminator, draw(st.sampled_from(LINE_ENDS)))


def cents_text(cents: int) -> bytes:
    """Cents as X12 writes them: no trailing zeros, no leading one."""
    sign, cents = ("-", -cents) if cents < 0 else ("", cents)
    whole, part = divmod(cents, 100)
    text = f"{sign}{whole}" if not part else f"{sign}{whole or ''}.{part:02d}".rstrip("0")
    return text.encode()


def names(style: Style) -> st.SearchStrategy[bytes]:
    """Values of free text; none holds a delimiter of the style."""
    marks = style.element + style.component + style.terminator
    return _NAMES.map(lambda value: bytes(byte for byte in value if byte not in marks))


amounts = st.integers(-(10**7), 10**7)
_NAMES = st.text("ABC XYZ-'.&09", max_size=12).map(str.encode) | st.sampled_from(
    [b"ISA", b"Z\xdcRICH", "ŽLUŤ".encode(), b"ST", b"GS1"]
)
codes = st.sampled_from([b"45", b"1", b"A1", b"253", b"97", b"B7"])
odd_values = st.sampled_from(
    [
        b"",
        b".",
        b"-",
        b"+1",
        b"1E5",
        b"1.005",
        b"1.2345",
        b"1.23456",
        b"00012.30",
        b" 1",
        b"1 ",
        b".5",
        b"5.",
        b"-.07",
        b"1,000",
        b"999999999999999999",
        b"92233720368547758.07",
        b"92233720368547758.08",
        b"-1234567890123456.78",
        b"12345678901234567890",
        b"20240230",
        b"20240229",
        b"00000000",
        b"240229",
        b"ABCDEFGHIJ",
        b"XX:YY",
        b"ISA",
        b"\xff",
        b"\x00",
        b"\x00" * 8,
    ]
)


@st.composite
def adjustments(draw: st.DrawFn, style: Style, total: int) -> list[bytes]:
    """CAS segments whose amounts sum to `total`."""
    count = draw(st.integers(0 if total == 0 else 1, 7))
    parts = [draw(st.integers(-5000, 5000)) for _ in range(max(count - 1, 0))]
    if count:
        parts.append(total - sum(parts))
    segments = []
    for start in range(0, len(parts), 6):
        elements = [b"CAS", draw(st.sampled_from([b"CO", b"PR", b"OA", b"PI"]))]
        for part in parts[start : start + 6]:
            elements += [draw(codes), cents_text(part), draw(st.sampled_from([b"", b"1", b"2.5"]))]
        segments.append(style.segment(*elements))
    return segments


@st.composite
def services(draw: st.DrawFn, style: Style) -> tuple[list[bytes], int, int]:
    """One balanced SVC with its segments; (segments, charge, paid)."""
    charge, paid = draw(amounts), draw(amounts)
    procedure = style.component.join([b"HC", draw(st.sampled_from([b"99213", b"J1100"])), b"25"])
    units = draw(st.sampled_from([b"", b"1", b"2.5", b"10"]))
    segments = [
        style.segment(b"SVC", procedure, cents_text(charge), cents_text(paid), b"0450", units),
        style.segment(b"DTM", draw(st.sampled_from([b"472", b"150", b"151"])), b"20240229"),
        *draw(adjustments(style, charge - paid)),
    ]
    optional = [
        style.segment(b"REF", b"6R", draw(names(style))),
        style.segment(b"AMT", b"B6", cents_text(paid)),
        style.segment(b"LQ", b"HE", b"N130"),
        style.segment(b"QTY", b"ZK", b"3.25"),
    ]
    return segments + draw(st.lists(st.sampled_from(optional), max_size=3)), charge, paid


@st.composite
def claims(draw: st.DrawFn, style: Style) -> tuple[list[bytes], int]:
    """One balanced CLP with its segments; (segments, paid)."""
    lines = draw(st.lists(services(style), max_size=3))
    paid = draw(amounts)
    charge = sum(line[1] for line in lines) if lines else draw(amounts)
    below = sum(line[1] - line[2] for line in lines)
    segments = [
        style.segment(
            b"CLP",
            draw(names(style)),
            b"1",
            cents_text(charge),
            cents_text(paid),
            b"",
            b"12",
            draw(names(style)),
            b"11",
            b"1",
        ),
        *draw(adjustments(style, charge - paid - below)),
        style.segment(
            b"NM1", b"QC", b"1", draw(names(style)), draw(names(style)), b"", b"", b"", b"MI", b"X1"
        ),
    ]
    optional = [
        style.segment(b"MOA", b"", b"12.5", b"MA01", b"", b"N1"),
        style.segment(b"MIA", b"0", b"1.1", b"", b"7", b"MA02"),
        style.segment(b"REF", b"1L", b"G-1"),
        style.segment(b"DTM", b"232", b"20240101"),
        style.segment(b"PER", b"CX", b"", b"TE", b"5550100"),
        style.segment(b"AMT", b"AU", cents_text(charge)),
    ]
    segments += draw(st.lists(st.sampled_from(optional), max_size=3))
    return [*segments, *(part for line in lines for part in line[0])], paid


@st.composite
def transactions(draw: st.DrawFn, style: Style, control: bytes) -> bytes:
    """One balanced ST..SE."""
    parts = draw(st.lists(claims(style), max_size=3))
    provider = draw(st.lists(amounts, max_size=3))
    total = sum(part[1] for part in parts) - sum(provider)
    body = [
        style.segment(
            b"BPR",
            b"I",
            cents_text(total),
            b"C",
            b"ACH",
            b"CCP",
            b"01",
            b"021000021",
            b"DA",
            b"1",
            b"1123456789",
            b"",
            b"01",
            b"021000021",
            b"DA",
            b"2",
            b"20240105",
        ),
        style.segment(b"TRN", b"1", draw(names(style)), b"1123456789"),
        style.segment(b"DTM", b"405", b"20240104"),
        style.segment(b"N1", b"PR", draw(names(style)), b"XV", b"77"),
        style.segment(b"N3", draw(names(style))),
        style.segment(b"N4", b"TOWN", b"ST", b"00000"),
        style.segment(b"PER", b"BL", draw(names(style)), b"TE", b"5550101"),
        style.segment(b"N1", b"PE", draw(names(style)), b"FI", b"123456789"),
        style.segment(b"REF", b"TJ", b"123456789"),
        style.segment(b"LX", b"1"),
        style.segment(b"TS3", b"1", b"11", b"20241231", b"1", b"100"),
        *(segment for part in parts for segment in part[0]),
    ]
    if provider:
        pairs: list[bytes] = []
        for cents in provider:
            pairs += [style.component.join([b"WO", draw(names(style))]), cents_text(cents)]
        body.append(style.segment(b"PLB", b"1999999999", b"20241231", *pairs))
    head = style.segment(b"ST", b"835", control, b"005010X221A1")
    count = str(len(body) + 2).encode()
    return b"".join([head, *body, style.segment(b"SE", count, control)])


@st.composite
def interchanges(draw: st.DrawFn) -> bytes:
    """One sound interchange of up to two groups, other transaction sets among them."""
    style = draw(styles())
    groups = draw(st.integers(0, 2))
    pieces = [isa(style, draw(st.booleans()))]
    if draw(st.booleans()):
        pieces.append(style.segment(b"TA1", b"000000001", b"240101", b"1200", b"A", b"000"))
    for number in range(groups):
        control = str(number + 1).encode()
        sets = [
            draw(transactions(style, f"{number}{place:04d}".encode()))
            for place in range(draw(st.integers(0, 2)))
        ]
        if draw(st.integers(0, 3)) == 0:
            sets.append(
                style.segment(b"ST", b"820", b"99")
                + style.segment(b"TRN", b"1", b"T-1", b"1999999999")
                + style.segment(b"SE", b"3", b"99")
            )
        pieces.append(
            style.segment(
                b"GS", b"HP", b"A", b"B", b"20240104", b"1200", control, b"X", b"005010X221A1"
            )
        )
        pieces += [*sets, style.segment(b"GE", str(len(sets)).encode(), control)]
    pieces.append(style.segment(b"IEA", str(groups).encode(), b"000000001"))
    return b"".join(pieces)


def isa(style: Style, padded: bool) -> bytes:
    """The ISA of a style, with fixed widths or without."""
    elements = [
        b"ISA",
        b"00",
        b" " * 10,
        b"00",
        b" " * 10,
        b"ZZ",
        b"SENDER".ljust(15),
        b"ZZ",
        b"RECEIVER".ljust(15),
        b"240104",
        b"1200",
        b"=",
        b"00501",
        b"000000001",
        b"0",
        b"P",
        style.component,
    ]
    if not padded:
        elements = [element.rstrip() for element in elements]
    return style.segment(*elements)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """One or more sound interchanges, with what real files put around them."""
    lead = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\r\n  ", b"\x00\x00"]))
    return lead + b"".join(draw(st.lists(interchanges(), min_size=1, max_size=2)))


@st.composite
def damaged(draw: st.DrawFn, base: st.SearchStrategy[bytes]) -> bytes:
    """A file of `base` with a few bytes or stretches changed, lost, doubled or put in."""
    data = bytearray(draw(base))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 8, 40])))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            data[start:stop] = b""
        elif kind == 1:
            data[start:start] = draw(odd_values)
        elif kind == 2:
            data[start:stop] = draw(st.binary(min_size=stop - start, max_size=stop - start))
        elif kind == 3:
            data[start:start] = data[start:stop]
        else:
            data[start:start] = draw(
                st.sampled_from([b"\r\n", b"\n", b"~", b"~~", b"*", b":", b"ISA", b"SE*"])
            )
    return bytes(data)


@st.composite
def with_odd_values(draw: st.DrawFn) -> bytes:
    """A sound file in which some elements were replaced by odd values."""
    data = draw(files())
    marks = [i for i, byte in enumerate(data) if byte in b"*|+^&"]
    for place in sorted(
        draw(st.lists(st.sampled_from(marks), max_size=6)) if marks else [], reverse=True
    ):
        stop = place + 1
        while stop < len(data) and (chr(data[stop]).isalnum() or data[stop] in b".-"):
            stop += 1
        data = data[: place + 1] + draw(odd_values) + data[stop:]
    return data


@st.composite
def wrapped(draw: st.DrawFn) -> bytes:
    """A sound file cut into lines of equal length, wherever that falls."""
    data, width = draw(files()), draw(st.integers(20, 110))
    line_end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    return line_end.join(data[i : i + width] for i in range(0, len(data), width))
