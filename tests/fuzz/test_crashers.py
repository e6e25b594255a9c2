"""Every input that a fuzzer ever found something with is tried again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz import fuzz_ach, fuzz_bai2, fuzz_x12

_CHECKS = {"x12": fuzz_x12.check, "ach": fuzz_ach.check, "bai2": fuzz_bai2.check}
_FINDS = sorted((Path(__file__).parent / "crashers").glob("*.bin"))


@pytest.mark.parametrize("find", _FINDS, ids=lambda find: find.stem)
def test_find_stays_fixed(find: Path) -> None:
    check = _CHECKS[find.stem.partition("-")[0]]
    for number in range(8):
        check(find.read_bytes(), random.Random(number))


@pytest.mark.parametrize("kind", _CHECKS)
def test_an_empty_input_is_refused_quietly(kind: str) -> None:
    _CHECKS[kind](b"", random.Random(0))
