"""Every X12 sample gives what its golden summary says, and independent readers agree with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from corpus import Sample
from make_x12_summaries import SUMMARIES, summary
from x12_compare import compiled_rows, twin_rows
from x12_peers import Sums, oxedi_sums, pyx12_sums

pytestmark = pytest.mark.filterwarnings("ignore")

OXEDI_DIFFERS = {
    "affect-therapeutics__edi-835-parser/tests/test_edi_835_files/exhaustive_sample.txt": (
        "has no ISA, which oxedi needs",
        b":",
    ),
    "keironstoddart__edi-835-parser/tests/test_edi_835_files/blue_cross_nc_sample.txt": (
        "has no ISA, which oxedi needs",
        b":",
    ),
    "ryanco__x12-parser/src/test/resources/example835NoISA.txt": (
        "has no ISA, which oxedi needs",
        b":",
    ),
    "jdavisp3__TigerShark/tests/835-example.txt": (
        "has a line end between ISA16 and the terminator, which oxedi takes for the terminator",
        b"^",
    ),
    "jdavisp3__TigerShark/tests/835-example-2.txt": (
        "has a line end between ISA16 and the terminator, which oxedi takes for the terminator",
        b"^",
    ),
    **{
        f"tmc__x12/testdata/005010x221-example-{name}.edi": (
            "writes 'ISA *', and oxedi takes the blank for the separator",
            component,
        )
        for name, component in (
            ("5a", b">"),
            ("5c", b">"),
            ("8a-claim-submitted-incorrect-subscriber-patient-and-incorrect-id", b"|"),
            ("8c-claim-submitted-subscriber-missing-middle-initial", b"|"),
        )
    },
}
"""Where oxedi does not read the 835s of a file: why, and the file's component separator."""


def _sums(sample: Sample) -> Sums:
    rows = compiled_rows(sample.data)
    if not isinstance(rows, dict):
        return Sums()
    transactions = rows["transactions"]
    return Sums(
        len(transactions),
        len(rows["claims"]),
        sum(row["paid_cents"] for row in transactions),
        sum(row["claim_paid_cents"] for row in transactions),
    )


def _in_a_sound_envelope(data: bytes, component: bytes) -> bytes:
    """The same transactions behind an ISA that every reader understands."""
    separator = b"|" if b"GS|" in data else b"*"
    widths = b"00", b" " * 10, b"00", b" " * 10, b"ZZ", b"A" * 15, b"ZZ", b"B" * 15
    tail = b"240101", b"1200", b"U", b"00401", b"000000001", b"0", b"T", component
    start = min(place for name in (b"GS", b"ST") if (place := data.find(name + separator)) >= 0)
    return separator.join([b"ISA", *widths, *tail]) + b"~" + data[start:]


def test_every_sample_gives_its_golden_summary(x12_samples: list[Sample]) -> None:
    golden: dict[str, Any] = json.loads(SUMMARIES.read_text())
    found = {sample.name: summary(compiled_rows(sample.data)) for sample in x12_samples}
    assert {name: value for name, value in found.items() if golden.get(name) != value} == {}
    assert sorted(golden) == sorted(found)


def test_the_twin_gives_the_golden_summaries(x12_samples: list[Sample]) -> None:
    golden: dict[str, Any] = json.loads(SUMMARIES.read_text())
    found = {sample.name: summary(twin_rows(sample.data)) for sample in x12_samples}
    assert {name: value for name, value in found.items() if golden.get(name) != value} == {}


def test_oxedi_agrees(x12_samples: list[Sample]) -> None:
    differing = {}
    for sample in x12_samples:
        ours, theirs = _sums(sample), oxedi_sums(sample.data)
        if ours != theirs and (ours.transactions or not isinstance(theirs, str)):
            differing[sample.name] = (ours, theirs)
    assert sorted(differing) == sorted(OXEDI_DIFFERS)


def test_oxedi_agrees_once_the_envelope_is_repaired(x12_samples: list[Sample]) -> None:
    by_name = {sample.name: sample for sample in x12_samples}
    for name, (reason, component) in OXEDI_DIFFERS.items():
        repaired = _in_a_sound_envelope(by_name[name].data, component)
        assert oxedi_sums(repaired) == _sums(by_name[name]), (name, reason)


def test_pyx12_agrees_where_it_reads_the_file(x12_samples: list[Sample]) -> None:
    """pyx12 wants an ISA of 106 characters at the very beginning and refuses everything else."""
    read = 0
    for sample in x12_samples:
        ours, theirs = _sums(sample), pyx12_sums(sample.data)
        if isinstance(theirs, Sums):
            assert theirs == ours, sample.name
            read += ours.transactions
    assert read >= 190


def test_all_835s_of_the_samples_are_found(x12_samples: list[Sample]) -> None:
    """A bare count of the bytes that begin an 835, by no reader at all."""
    for sample in x12_samples:
        begun = sum(sample.data.count(b"ST" + mark + b"835" + mark) for mark in (b"*", b"|", b"+"))
        assert _sums(sample).transactions == begun, sample.name
