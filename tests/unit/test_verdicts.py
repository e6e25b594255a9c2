"""Profiles of a window's envelopes."""

from __future__ import annotations

import time

import pytest

from reassoc.core.x12_835 import read_835
from reassoc.stream import verdicts
from reassoc.stream.envelope import Profile
from reassoc.stream.verdicts import Profiles

SET = b"ST*835*1*I%d~SE*2*1~"


def group(*kinds: int) -> bytes:
    sets = b"".join(SET % kind for kind in kinds)
    return b"GS*HP***20260316*1200*1*X*~%sGE*%d*1~" % (sets, len(kinds))


def test_without_an_isa_each_835_has_the_profile_of_its_own_identity() -> None:
    profiles: list[Profile] = []
    read = read_835(group(1, 2, 1) + group(2) + group() + group(3, 3, 1))
    assert Profiles(profiles).rows_of(read).tolist() == [0, 1, 0, 1, 2, 2, 0]
    assert len(profiles) == 3


def test_as_many_groups_as_835s_take_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Profiles, "_profile_row", lambda *_: 7)
    monkeypatch.setattr(verdicts, "_fallback", lambda *_: None)
    read = read_835(group(1) * 150_000)
    began = time.process_time()
    assert set(Profiles([]).rows_of(read).tolist()) == {7}
    assert time.process_time() - began < 4  # a look at all 835s for each group took twelve
