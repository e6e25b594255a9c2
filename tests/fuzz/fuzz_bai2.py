"""Mutation fuzzer of the reader of bank reports.

    cd tests && python -m fuzz.fuzz_bai2 --seconds 60 [--seed N]

Whatever the input is: no exception but ParseError, no hang, and tables that fit together.
"""

from __future__ import annotations

import random
import sys

from bai2_checks import check_consistent, read_or_refuse
from corpus import BAI2_ROOT, samples
from fuzz.driver import main

_TOKENS = (
    b"16,", b"88,", b"03,", b"49,", b"02,", b"98,", b"99,", b"/", b",/", b"/ 16,165,5,Z,",
    b"\n88,", b"V,", b"S,", b"D,", b"D,99,", b",,", b"TRN*1*",
)  # fmt: skip


def check(data: bytes, rng: random.Random) -> None:
    """Read `data`, with some words of the format put in, and look at what came out."""
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(data) + 1)
        data = data[:place] + rng.choice(_TOKENS) + data[place:]
    reports = read_or_refuse(data)
    if reports is not None:
        check_consistent(reports)


if __name__ == "__main__":
    sys.exit(main("bai2", check, samples(BAI2_ROOT)))
