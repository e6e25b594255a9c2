"""Normal forms against their plain twin, and the join against dictionaries."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reassoc.core import _keys, reference_keys, statuses
from reassoc.core.columns import DATE_NONE, TextColumn
from reassoc.core.pool import text_parts

CHARACTERS = st.sampled_from(
    [
        b"0",
        b"0",
        b"1",
        b"9",
        b"A",
        b"b",
        b"E",
        b"F",
        b"T",
        b" ",
        b"\t",
        b"-",
        b"\r\n",
        b"\xc3",
        b"\0",
    ]
)
TRACES = st.one_of(st.lists(CHARACTERS, max_size=40).map(b"".join), st.binary(max_size=130))
AFFIXES = st.lists(
    st.sampled_from([b"E", b"EFT", b"FT", b"9", b"##", b"B", b"T#"]), unique=True, max_size=3
).map(lambda values: sorted(values, key=lambda value: (-len(value), value)))


@given(TRACES, AFFIXES, AFFIXES)
def test_trace_forms_are_those_of_the_twin(
    raw: bytes, prefixes: list[bytes], suffixes: list[bytes]
) -> None:
    affixes = _keys.Affixes([(prefixes, suffixes)])
    assert _keys.trace_forms_of(raw, affixes, 1) == reference_keys.trace_forms(
        raw, prefixes, suffixes
    )
    assert _keys.trace_forms_of(raw) == reference_keys.trace_forms(raw)


@pytest.mark.parametrize("tail", [b"", b"B", b" B", b"-B", b" B ", b"  ", b"\r\nB"])
@pytest.mark.parametrize("length", range(96, 102))
def test_longest_trace_is_that_of_the_twin(length: int, tail: bytes) -> None:
    raw = b"0" + b"-" * (length - 1) + tail
    assert _keys.trace_forms_of(raw) == reference_keys.trace_forms(raw)


@pytest.mark.parametrize(
    ("raw", "forms"),
    [
        (b" ab  00-1 ", (b"AB 00-1", b"AB001", b"AB001", b"AB001")),
        (b"0012345678", (b"0012345678", b"0012345678", b"12345678", b"12345678")),
        (b"00-00", (b"00-00", b"0000", b"", b"")),
        (b"AB\r\n12", (b"AB12", b"AB12", b"AB12", b"AB12")),
        (b"EFT-00123456", (b"EFT-00123456", b"EFT00123456", b"EFT00123456", b"123456")),
        (b"9" * (reference_keys.TRACE_BYTES_MAX + 1), (b"", b"", b"", b"")),
    ],
)
def test_trace_forms_by_example(raw: bytes, forms: tuple[bytes, bytes, bytes, bytes]) -> None:
    affixes = _keys.Affixes([([b"EFT"], [])])
    assert _keys.trace_forms_of(raw, affixes, 1) == forms


@given(st.lists(st.one_of(st.lists(CHARACTERS, max_size=12).map(b"".join), st.binary(max_size=45))))
def test_payers_are_numbered_by_the_form_of_the_twin(values: list[bytes]) -> None:
    table = _keys.PayerTable()
    # Values near the end of the source, and others, take different ways.
    column = TextColumn.from_values([*values, *values, b"." * 20])[: 2 * len(values)]
    numbers = table.number(*text_parts(column))
    names = table.names()
    assert [names[number] for number in numbers] == 2 * [
        reference_keys.payer_form(value) for value in values
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (b"1234567890", b"234567890"),
        (b"234567890", b"234567890"),
        (b"12-3456789", b"123456789"),
        (b"3234567890", b"3234567890"),
        (b"9234567890", b"9234567890"),
        (b"1ABCDEFGHI", b"1ABCDEFGHI"),
        (b"0000000000", b""),
        (b"1000000000", b""),
        (b" ", b""),
    ],
)
def test_payer_forms_by_example(raw: bytes, form: bytes) -> None:
    assert reference_keys.payer_form(raw) == _keys.payer_form_of(raw) == form


TEXTS = ["", "0", "A", "B", "C", "D", "1234567890", "234567890"]
SPANS = st.lists(
    st.tuples(st.sampled_from(["A", "B", "234567890"]), st.integers(0, 9), st.integers(0, 3)),
    max_size=6,
    unique_by=lambda span: span[:2],
)
DATES = st.one_of(st.just(DATE_NONE), st.integers(-1, 11))


@given(SPANS, st.lists(st.tuples(st.sampled_from(TEXTS), DATES), max_size=20))
def test_groups_of_dated_payers_are_those_of_their_day(
    spans: list[tuple[str, int, int]], asked: list[tuple[str, int]]
) -> None:
    # Each span is one day long; rules 2 and 3 have no payer that always belongs to them.
    rules = [([b"C"], 0), ([b"D"], 0), ([], 0), ([], 0)]
    first: dict[int, str] = {}
    for text, _, rule in spans:
        if rule > 1 and rule not in first and text not in first.values():
            first[rule] = text
    own: dict[str, object] = {text: rule for rule, text in first.items()}
    dated = [(text.encode(), day, day, rule) for text, day, rule in spans]
    table = _keys.PayerTable(rules, [b"X"], 0, dated)
    column = TextColumn.from_values([text for text, _ in asked])
    dates = np.array([day for _, day in asked], np.int32)
    numbers = table.number(*text_parts(column))
    names = table.names()
    groups = table.groups(*text_parts(column), dates)

    def rule_of(text: str, day: int) -> object:
        form = reference_keys.payer_form(text.encode()).decode()
        if form in "CD":
            return "CD".index(form) if form else None
        found = {rule for each, on, rule in spans if each == form and day in (on, DATE_NONE)}
        return found.pop() if len(found) == 1 else own.get(form, form)

    expected = [rule_of(*each) for each in asked]
    for a, at in zip(expected, groups.tolist(), strict=True):
        assert (at == 0) == (a is None)
        assert [a == b for b in expected] == [at == b for b in groups.tolist()]
    assert [names[number] for number in numbers] == [
        reference_keys.payer_form(text.encode()) for text, _ in asked
    ]


def _items(
    payer_ids: list[str], table: _keys.PayerTable, steps: list[tuple[int, bool, list[str]]]
) -> _keys.Items:
    rows = len(payer_ids)
    none, days = np.zeros(rows, np.int64), np.zeros(rows, np.int32)
    columns = [
        (kind, listed_only, *text_parts(TextColumn.from_values(values)))
        for kind, listed_only, values in steps
    ]
    return _keys.Items(
        *text_parts(TextColumn.from_values([""] * rows)),
        *text_parts(TextColumn.from_values(payer_ids)),
        table, _keys.Affixes([]), none, days, none.astype(np.uint64), none, none, columns,
    )  # fmt: skip


def test_a_copy_of_payers_grows_by_itself() -> None:
    rules = [([b"A", b"B"], 0), ([], 0)]
    listed = _keys.PayerTable(rules, [b"X"], 0, [(b"D", 3, 9, 1)])
    names = listed.names()
    more = TextColumn.from_values([f"P{number}" for number in range(1000)])
    copies = [listed.copy(), listed.copy().copy()]
    for copy in copies:
        numbers = copy.number(*text_parts(more))
        assert numbers.tolist() == list(range(len(names), len(names) + 1000))
        known = TextColumn.from_values(["B", "X", "D"])
        days = np.array([0, 0, 5], np.int32)
        assert copy.groups(*text_parts(known), days).tolist() == (
            _keys.PayerTable(rules, [b"X"], 0, [(b"D", 3, 9, 1)])
            .groups(*text_parts(known), days)
            .tolist()
        )
    assert listed.names() == names
    del listed
    assert copies[0].names()[: len(names)] == names
    assert len(_keys.PayerTable().copy()) == 1


def test_what_stands_in_for_the_payer_is_tried_in_order() -> None:
    table = _keys.PayerTable([([b"A", b"\x01NAME"], 0), ([b"\x03" + b"12345678942"], 0)])
    ids = ["A", "", "0", "", "", "Z"]
    items = _items(
        ids,
        table,
        [
            (_keys.BY_ID, True, ["Q", "Q", "A", "Q", "", "A"]),
            (_keys.BY_NAME, True, ["", "na-me", "", "nam", "NAME" * 20, ""]),
            (_keys.BY_ACCOUNT, True, ["", "", "", "123456789-00042", "1234567890", ""]),
            (_keys.BY_ID, False, ["Q", "Q", "Q", "Q", "Y", "Q"]),
        ],
    )
    names = table.names()
    assert [names[number] for number in items.payer] == [
        b"A", b"\x01NAME", b"A", b"\x03" + b"12345678942", b"Y", b"Z",
    ]  # fmt: skip
    assert items.payer_group.tolist()[:3] == [1, 1, 1]
    assert items.payer_table is table
    assert (items.usable & _keys.USABLE_PAYER != 0).all()


def test_steps_of_another_length_or_too_many_are_refused() -> None:
    table = _keys.PayerTable()
    with pytest.raises(ValueError, match="lengths"):
        _items([""], table, [(_keys.BY_ID, False, ["A", "B"])])
    with pytest.raises(ValueError, match="PAYER_STEPS_MAX"):
        _items([""], table, [(_keys.BY_ID, False, ["A"])] * (_keys.PAYER_STEPS_MAX + 1))


def test_a_payer_in_two_rules_is_refused() -> None:
    for arguments in (
        ([([b"A"], 0), ([b"A"], 0)],),
        ([([b"A"], 0)], [b"A"]),
        ([([b"A"], 0)], [], 0, [(b"A", 0, 1, 0)]),
        ([([b"A" * 81], 0)],),
        ([([b""], 0)],),
    ):
        with pytest.raises(ValueError, match="a payer"):
            _keys.PayerTable(*arguments)


KEYS = st.lists(st.integers(0, 12), max_size=60)


@given(KEYS, KEYS, st.data())
def test_join_finds_every_key_of_both_sides(
    left: list[int], right: list[int], data: st.DataObject
) -> None:
    masks = [
        data.draw(st.lists(st.booleans(), min_size=len(side), max_size=len(side)))
        for side in (left, right)
    ]
    spread = np.uint64(0x9E3779B97F4A7C15)
    keys = [np.array(side, np.uint64) * spread for side in (left, right)]
    partner, blocks = _keys.join(*keys, *(np.array(mask, np.uint8) for mask in masks))
    rows: list[dict[int, list[int]]] = [defaultdict(list), defaultdict(list)]
    for found, side, mask in zip(rows, (left, right), masks, strict=True):
        for row, (key, on) in enumerate(zip(side, mask, strict=True)):
            if on:
                found[key].append(row)
    expected = np.full(len(left), -1)
    several = []
    for key, left_rows in rows[0].items():
        if len(left_rows) == len(rows[1][key]) == 1:
            expected[left_rows[0]] = rows[1][key][0]
        elif rows[1][key]:
            expected[left_rows] = _keys.PARTNER_SEVERAL
            several.append((left_rows, rows[1][key]))
    assert partner.tolist() == expected.tolist()
    found_blocks, at = [], 0
    while at < len(blocks):
        n, m = blocks[at : at + 2]
        members = blocks[at + 2 : at + 2 + n + m].tolist()
        found_blocks.append((sorted(members[:n]), sorted(members[n:])))
        at += 2 + n + m
    assert sorted(found_blocks) == sorted(several)


def test_join_of_many_keys_crosses_its_parts() -> None:
    random = np.random.default_rng(3)
    left, right = (
        random.permutation(70_000).astype(np.uint64),
        random.permutation(60_000).astype(np.uint64),
    )
    partner, blocks = _keys.join(left, right)
    assert len(blocks) == 0
    assert ((partner >= 0) == (left < 60_000)).all()
    assert (right[partner[partner >= 0]] == left[partner >= 0]).all()


@given(st.lists(st.integers(0, 40), max_size=80), st.integers(1, 2**64 - 1))
def test_repeated_are_the_keys_that_stand_more_than_once(values: list[int], factor: int) -> None:
    keys = np.array([value * (factor | 1) % 2**64 for value in values], np.uint64)
    counts = Counter(values)
    rows = _keys.repeated(keys).tolist()
    assert sorted(rows) == [row for row, value in enumerate(values) if counts[value] > 1]
    groups = [values[row] for row in rows]
    assert len([a for a, b in zip(groups, [None, *groups], strict=False) if a != b]) == len(
        set(groups)
    )


def test_text_kernels() -> None:
    column = TextColumn.from_values(["Hc-ClaimPmt", "HCCLAIMPM", "", "HCCLAIMPMTX", "é"])
    assert _keys.text_equals(*text_parts(column), b"HCCLAIMPMT").tolist() == [
        True,
        False,
        False,
        False,
        False,
    ]
    hashes = _keys.text_hashes(*text_parts(column)).tolist()
    assert hashes[2] == 0
    assert len(set(hashes)) == 5
    source, refs = _keys.gather(*text_parts(column[np.array([3, 0])]))
    assert TextColumn(source, refs).to_list() == ["HCCLAIMPMTX", "Hc-ClaimPmt"]


def test_references_outside_of_the_source_are_refused() -> None:
    source, refs = np.zeros(4, np.uint8), np.array([[2, 3]], np.uint32)
    for call in (_keys.PayerTable().number, _keys.gather, _keys.text_hashes):
        with pytest.raises(ValueError, match="outside"):
            call(source, refs)


def test_numbers_in_c_are_those_of_statuses() -> None:
    header = Path(_keys.__file__).with_name("_resolve.h").read_text()
    named = {
        name: int(number)
        for name, number in re.findall(r"REASON_(\w+)(?: = 1u| \(\(int64_t\)1) << (\d+)", header)
    }
    assert named == {name: statuses.Reason[name].bit_length() - 1 for name in named}
    for enum, prefix in ((statuses.MatchStatus, "STATUS"), (statuses.Field, "FIELD")):
        found = re.findall(rf"{prefix}_(\w+) = (\d+)", header)
        assert {name: enum[name] for name, _ in found} == {
            name: int(number) for name, number in found
        }
    rewrites = re.findall(r"REWRITE_([NP])(\d) = (\d+)", header)
    names = {"N": "TRACE_N", "P": "PAYER_P"}
    assert all(
        statuses.Rewrite[names[kind] + digit] == int(number) for kind, digit, number in rewrites
    )
    assert len(named) == 7
    assert len(rewrites) == 7
    assert {statuses.Tier[f"T{n}"] for n, _ in re.findall(r"TIER_(\d) = (\d)", header)} == {
        1,
        2,
        3,
        5,
        8,
        9,
    }
