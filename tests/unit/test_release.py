"""Released interchanges: envelopes, groups, control numbers; bytes come through as they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_feed import Marks, interchange, remittance
from x12_peers import oxedi_sums

from reassoc.core.x12_835 import read_835
from reassoc.stream import release
from reassoc.stream.envelope import Fallback, Profile, profile_of, write_isa
from reassoc.stream.release import (
    Releasable,
    SourceReader,
    plan_release,
    split_at_repeats,
    write_released,
)

DAY = date(2026, 3, 17)


class Pieces(SourceReader):
    """Transactions one behind the other in one buffer."""

    def __init__(self, data: bytes, joins: bool) -> None:
        self.data = data
        self.gaps_join = joins

    def take(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]

    def between(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]


def profiles(data: bytes) -> list[Profile]:
    x12 = read_835(data)
    marks = x12.interchanges.row(0)
    delimiters = tuple(
        marks[name] for name in ("element_separator", "component_separator", "segment_terminator")
    )
    return [profile_of(x12.interchanges.isa.raw(0), x12.groups.gs.raw(0), delimiters, None)]


def releasable(
    sets: Sequence[bytes], gap: bytes, kinds: Sequence[int], known: Sequence[Profile]
) -> tuple[Releasable, bytes]:
    starts, data = [], b""
    for one in sets:
        starts.append(len(data))
        data += one + gap
    sizes = np.array([len(one) for one in sets], np.int64)
    start = np.array(starts, np.int64)
    x12 = read_835(b"".join(sets))
    items = Releasable(
        source=np.zeros(len(sets), np.int64),
        start=start,
        stop=start + sizes,
        profile=np.array(kinds, np.int64),
        controls=[x12.transactions.control_number.raw(row) for row in range(len(sets))],
        cents=x12.transactions.paid_cents,
        profiles=known,
    )
    return items, data


def released(folder: Path, items: Releasable, data: bytes, *, joins: bool) -> list[bytes]:
    folder.mkdir()
    files = write_released(items, plan_release(items), folder, DAY, lambda _: Pieces(data, joins))
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.name for file in files)
    return [(folder / file.name).read_bytes() for file in files]


@given(st.lists(st.integers(0, 6)), st.integers(1, 5))
def test_groups_are_the_longest_without_a_repeat(values: list[int], size_max: int) -> None:
    expected, seen, group = [], set[int](), 0
    for value in values:
        if value in seen or len(seen) == size_max:
            group, seen = group + 1, set()
        seen.add(value)
        expected.append(group)
    assert split_at_repeats(np.array(values, np.int64), size_max).tolist() == expected


STYLES = [
    Marks(),
    Marks(between="\n"),
    Marks(between="\r\n"),
    Marks("|", ">", "\n"),
    Marks("\x1d", "\x1f", "\x1c"),
    Marks("^", "@", "!"),
]


@pytest.mark.parametrize("marks", STYLES, ids=repr)
@pytest.mark.parametrize("joins", [True, False])
def test_transactions_come_through_byte_for_byte(tmp_path: Path, marks: Marks, joins: bool) -> None:
    sets = [
        remittance(f"T{number}", 100 + number, control=control, marks=marks)
        for number, control in enumerate(["0001", "0002", "0001", "0003", "0003"])
    ]
    whole = interchange(*sets, marks=marks)
    bare = [one.removesuffix(marks.between.encode()) for one in sets]
    items, data = releasable(bare, marks.between.encode(), [0] * 5, profiles(whole))
    (file,) = released(tmp_path / "out", items, data, joins=joins)
    x12 = read_835(file)
    assert [x12.message(row) for row in range(len(x12.findings))] == []
    offsets = zip(x12.transactions.offset.tolist(), x12.transactions.end.tolist(), strict=True)
    assert [file[start:stop] for start, stop in offsets] == bare
    assert x12.transactions.group.tolist() == [0, 0, 1, 1, 2]
    assert len(set(x12.groups.control_number.to_list())) == 3
    assert x12.interchanges.isa.raw(0)[:105] == file[:105]
    assert len(x12.interchanges.isa.raw(0).rstrip(b"\n")) in (105, 106)
    sums = oxedi_sums(file)
    assert not isinstance(sums, str)
    assert (sums.transactions, sums.paid_cents) == (5, sum(x12.transactions.paid_cents.tolist()))


def test_each_sender_receiver_version_and_usage_has_its_own_interchange(tmp_path: Path) -> None:
    one = remittance("T1", 5)
    wholes = [
        interchange(one),
        interchange(one, receiver="OTHER"),
        interchange(one, sender="OTHER"),
        interchange(one, group_sender="OTHER"),
        interchange(one, version="004010X091A1"),
        interchange(one, usage="T"),
        interchange(one, number=77),
    ]
    known: list[Profile] = []
    for whole in wholes:
        known += [profile for profile in profiles(whole) if profile not in known]
    assert len(known) == 6
    items, data = releasable([one] * 7, b"", [0, 1, 2, 3, 4, 5, 0], known)
    files = released(tmp_path / "out", items, data, joins=True)
    assert len(files) == 6
    x12 = [read_835(file) for file in files]
    assert all(not len(one.findings) for one in x12)
    assert [one.interchanges.control_number[0] for one in x12] == [f"{n:09d}" for n in range(1, 7)]
    groups = [number for one in x12 for number in one.groups.control_number.to_list()]
    assert sorted(groups) == sorted(set(groups))
    assert {(one.interchanges.usage[0], one.groups.version[0]) for one in x12} == {
        (b"P", "005010X221A1"),
        (b"T", "005010X221A1"),
        (b"P", "004010X091A1"),
    }


def test_count_limits_open_new_groups_and_interchanges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "GROUP_TRANSACTIONS_MAX", 2)
    monkeypatch.setattr(release, "INTERCHANGE_GROUPS_MAX", 2)
    monkeypatch.setattr(release, "FILES_OPEN_MAX", 1)
    sets = [remittance(f"T{n}", n, control=f"{n:04d}") for n in range(1, 8)]
    items, data = releasable(sets, b"", [0] * 7, profiles(interchange(*sets)))
    files = released(tmp_path / "out", items, data, joins=True)
    x12 = [read_835(file) for file in files]
    assert [one.groups.transaction_count.tolist() for one in x12] == [[2, 2], [2, 1]]
    assert all(not len(one.findings) for one in x12)


def test_identities_that_no_isa_can_hold_are_made_to_fit() -> None:
    isa = b"ISA*00**00**ZZ*A SENDER LONGER THAN FIFTEEN*ZZ*SHORT*260316*1200*^*00501*1*0*P*:~"
    gs = b"GS*HP*GS SENDER*R*20260316*1200*1*X*005010X221A1~"
    written = write_isa(profile_of(isa, gs, (42, 58, 126), None), 7, DAY)
    assert len(written) == 106
    assert written[35:50] == b"A SENDER LONGER"
    bare = profile_of(b"", b"", (42, 58, 126), Fallback(b"1234567890", b"A*B", b"005010X221A1"))
    assert write_isa(bare, 1, DAY)[54:69] == b"A B            "
    assert (bare.sender, bare.version, bare.usage) == (b"1234567890", b"005010X221A1", b"P")
    for clash in (b"*", b"~", b":", b""):
        usual = isa.replace(b"*^*", b"*" + clash + b"*")
        assert profile_of(usual, gs, (42, 58, 126), None).repetition == b"^", clash
    for component in b"*~\0":
        assert profile_of(isa, gs, (42, component, 126), None).component == ord(":")
    old = profile_of(b"", b"", (42, 0, 58), Fallback(b"USA", b"", b"004010X091A1"))
    assert write_isa(old, 1, DAY)[82:83] == b"U"
    assert write_isa(old, 1, DAY)[35:38] == b"USA"
    assert old.component != old.terminator
