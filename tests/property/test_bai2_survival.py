"""Made-up reports are read back as they were made; cut or damaged ones never crash the reader."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from bai2_build import detail, report
from bai2_checks import check_consistent, read_or_refuse
from corpus import BAI2_ROOT, samples
from fuzz.driver import mutate
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import bank_lines
from reassoc.core.bai2 import read_bai2

_CHARACTERS = "ABCDEFGHIJ 0123456789/,.:*~\\-#"
_TEXTS = st.text(_CHARACTERS, max_size=60).map(str.strip)
_REFERENCES = st.text("ABC0123456789-", max_size=12)
_AMOUNTS = st.integers(0, 10**12)
_LINES = st.text(_CHARACTERS, min_size=1, max_size=60).map(str.strip).filter(bool)


@dataclass(frozen=True)
class Line:
    """A detail as it was made."""

    cents: int
    code: int
    funds: str
    bank: str
    customer: str
    lines: tuple[str, ...]


_FUNDS = st.one_of(
    st.sampled_from(["", "0", "1", "2", "Z", "V,260318,", "V,260318,1200"]),
    st.tuples(_AMOUNTS, _AMOUNTS, _AMOUNTS).map(lambda parts: "S," + ",".join(map(str, parts))),
    st.lists(st.tuples(st.integers(0, 99), _AMOUNTS), max_size=5).map(
        lambda parts: ",".join(["D", str(len(parts))] + [f"{day},{cents}" for day, cents in parts])
    ),
)
_MADE = st.builds(
    Line,
    cents=_AMOUNTS,
    code=st.integers(100, 699),
    funds=_FUNDS,
    bank=_REFERENCES,
    customer=_REFERENCES,
    lines=st.lists(_LINES, max_size=4).map(tuple),
)


def is_ambiguous(line: str) -> bool:
    """A text that the report's own form could not tell from something else."""
    return line.endswith("/") or line == "/"


@given(st.lists(_MADE, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_a_made_report_is_read_back(made: list[Line], end: str) -> None:
    kept = [
        Line(
            one.cents, one.code, one.funds, one.bank, one.customer,
            tuple(line for line in one.lines if not is_ambiguous(line)),
        )
        for one in made
    ]  # fmt: skip
    records: list[str] = []
    for one in kept:
        first, more = (one.lines[0], one.lines[1:]) if one.lines else ("", ())
        records += detail(
            one.cents, first, code=one.code, funds=one.funds, bank=one.bank,
            customer=one.customer, more=more,
        )  # fmt: skip
    reports = read_bai2(report(*records, total=sum(one.cents for one in kept), end=end))
    assert reports.findings.code.tolist() == []
    details = reports.details
    assert details.amount_cents.tolist() == [one.cents for one in kept]
    assert details.type_code.tolist() == [one.code for one in kept]
    assert details.bank_reference.to_list() == [one.bank for one in kept]
    assert details.customer_reference.to_list() == [one.customer for one in kept]
    assert details.funds_type.tolist() == [one.funds[:1].encode() for one in kept]
    assert reports.text_lines() == [[line.encode() for line in one.lines] for one in kept]
    columns = bank_lines.payments(reports)
    assert columns.amount_cents.tolist() == [one.cents for one in kept]
    assert columns.valid.all()


MADE = report(
    "16,165,60,S,10,20,30,BANK,CUST,EXAMPLE DES:HCCLAIMPMT ID:1 CO ID:1234567890 CCD PMT INFO:",
    "88,TRN*1*0012345678*1234567890\\",
    "16,115,40,D,2,0,10,1,30,D1,,LOCKBOX/",
    "16,116,40,V,260318,,D1,1234",
    total=140,
)


def test_a_report_cut_anywhere_gives_what_stood_before() -> None:
    whole = read_bai2(MADE)
    for stop in range(len(MADE) + 1):
        reports = read_or_refuse(MADE[:stop])
        if reports is None:
            assert stop < 20
            continue
        check_consistent(reports)
        if stop < len(MADE) - 2:
            assert len(reports.findings), stop
        trailer = MADE.index(b"49,")
        if stop < trailer + 6:
            assert not bank_lines.payments(reports).valid.any()
    assert len(whole.findings) == 0


@pytest.mark.parametrize("seed", range(4))
def test_damaged_samples_never_crash_the_reader(seed: int) -> None:
    chance = random.Random(seed)
    sources = [sample for sample in samples(BAI2_ROOT) if len(sample.data) > 100]
    if not sources:
        pytest.skip(f"the samples are not at hand: no {BAI2_ROOT}")
    for _ in range(150):
        reports = read_or_refuse(mutate(chance.choice(sources).data, chance, sources))
        if reports is not None:
            check_consistent(reports)


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_header(data: bytes) -> None:
    check_consistent(read_bai2(b"01,A,B,260316,1200,1,,,2/\n" + data))
