"""Mutation fuzzer of the 835 reader.

    cd tests && python -m fuzz.fuzz_x12 --seconds 60 [--seed N]

Each input stands right before a page without access. Whatever it is: no exception but ParseError,
no hang, no read past the end; windows of any size give what the whole gives; and the plain twin
agrees.
"""

from __future__ import annotations

import random
import sys

from corpus import X12_ROOT, Sample, samples
from fuzz.driver import main, window_size
from guarded import GuardedArena
from x12_compare import Rows, differences, twin_rows, whole_rows

from reassoc.core.errors import ParseError
from reassoc.core.x12_835 import iter_835, read_835

TWIN_BYTES_MAX = 12_000
"""Above this only the compiled reader runs: the twin is slow."""

_ARENA = GuardedArena(1 << 20)


def check(data: bytes, rng: random.Random) -> None:
    """Read `data` every way there is and hold the results together."""
    buffer = _ARENA.at_end(data) if rng.randrange(4) else _ARENA.at_start(data)
    found: Rows | ParseError
    try:
        found = whole_rows([read_835(buffer)])
    except ParseError as error:
        found = error
    if len(data) <= TWIN_BYTES_MAX:
        expected = twin_rows(data)
        assert isinstance(found, ParseError) == isinstance(expected, ParseError), (found, expected)
        if isinstance(found, dict) and isinstance(expected, dict):
            told = differences(found, expected)
            assert not told, "\n".join(told)
    if isinstance(found, dict):
        window_bytes = window_size(data, rng)
        told = differences(whole_rows(iter_835(buffer, window_bytes=window_bytes)), found)
        assert not told, f"windows of {window_bytes}:\n" + "\n".join(told)


def interesting() -> list[Sample]:
    """The samples, those with an 835 in them several times: they reach the most code."""
    found = samples(X12_ROOT)
    return found + [sample for sample in found if b"835" in sample.data] * 8


if __name__ == "__main__":
    sys.exit(main("x12", check, interesting()))
