"""Shared by the fuzzers: mutations, the bounded loop in its own process, what is kept of a find.

The worker writes each input to a scratch file before it is tried, so that even a crash or a hang of
the process leaves the input behind. The parent then copies it to `crashers/`, where the test suite
replays it for ever.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus import Sample

CRASHERS = Path(__file__).resolve().parent / "crashers"
INPUT_BYTES_MAX = 60_000
WINDOW_COUNT_MAX = 300
"""So many windows at most, for each costs as much as thousands of bytes."""
HANG_SECONDS = 60

Check = Callable[[bytes, random.Random], None]
"""Tries one input; raises AssertionError, or whatever the code under test raised, on a find."""

_TOKENS = [
    b"ISA*",
    b"GS*",
    b"ST*835*",
    b"SE*",
    b"GE*1*1",
    b"IEA*1*",
    b"~",
    b"~~",
    b"\r\n",
    b"\n",
    b"\r",
    b"*",
    b":",
    b"**",
    b"CLP*",
    b"SVC*",
    b"CAS*",
    b"BPR*",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\x1a",
    b" ",
    b"-",
    b".",
    b"9" * 19,
    b"TRN*1*",
    b"101 ",
    b"5220",
    b"622",
    b"705",
    b"8200",
    b"9000001",
    b"9" * 94,
    b"\\",
]


def mutate(data: bytes, rng: random.Random, others: Sequence[Sample]) -> bytes:
    """`data` with one to six changes: bytes, stretches, tokens, pieces of others, a cut end."""
    changed = bytearray(data[:INPUT_BYTES_MAX])
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        start = rng.randrange(len(changed) + 1)
        stop = min(len(changed), start + rng.choice((1, 1, 2, 4, 16, 94, 200)))
        match rng.randrange(9):
            case 0:
                del changed[start:stop]
            case 1:
                changed[start:stop] = rng.randbytes(stop - start)
            case 2:
                changed[start:start] = rng.choice(_TOKENS)
            case 3:
                changed[start:stop] = rng.choice(_TOKENS)
            case 4:
                changed[start:start] = changed[start:stop] * rng.choice((1, 2, 5))
            case 5:
                del changed[start:]
            case 6 if stop > start:
                changed[start] ^= 1 << rng.randrange(8)
            case 7:
                other = rng.choice(others).data
                place = rng.randrange(len(other) + 1)
                changed[start:start] = other[place : place + rng.choice((10, 106, 500))]
            case _ if changed:
                old, new = rng.choice(changed), rng.randrange(256)
                changed = changed.replace(bytes([old]), bytes([new]))
    return bytes(changed[:INPUT_BYTES_MAX])


def window_size(data: bytes, rng: random.Random) -> int:
    """A window size to read `data` with: tiny, small, or larger than the input."""
    return max(rng.choice((1, 7, 95, 1000, 5000, 100_000)), len(data) // WINDOW_COUNT_MAX)


def worker(kind: str, check: Check, samples: Sequence[Sample], options: argparse.Namespace) -> None:
    """Try mutations until the time is over; the first failure ends it with its traceback."""
    rng = random.Random(options.seed)
    scratch = Path(options.scratch)
    stop = time.monotonic() + options.seconds
    tried = 0
    while time.monotonic() < stop:
        data = mutate(rng.choice(samples).data, rng, samples)
        scratch.write_bytes(data)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        check(data, random.Random(tried))
        faulthandler.cancel_dump_traceback_later()
        tried += 1
    print(f"fuzz {kind}: {tried} inputs, nothing found (seed {options.seed})", flush=True)


def main(kind: str, check: Check, samples: Sequence[Sample]) -> int:
    """Run the fuzzer: the parent prints the seed, starts the worker, and keeps what it found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--scratch", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scratch is not None:
        worker(kind, check, samples, options)
        return 0
    if not samples:
        print(f"fuzz {kind}: no samples at hand, nothing to do")
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"fuzz {kind}: seed {seed}, {options.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "input"
        command = [
            sys.executable,
            "-m",
            f"fuzz.fuzz_{kind}",
            f"--seconds={options.seconds}",
            f"--seed={seed}",
        ]
        done = subprocess.run([*command, f"--scratch={scratch}"], check=False)
        if done.returncode == 0:
            return 0
        return _keep(kind, scratch, done.returncode, seed)


def _keep(kind: str, scratch: Path, returncode: int, seed: int) -> int:
    if not scratch.exists():
        print(f"fuzz {kind}: the worker ended with {returncode} before its first input")
        return 1
    data = scratch.read_bytes()
    CRASHERS.mkdir(exist_ok=True)
    find = CRASHERS / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
    find.write_bytes(data)
    print(f"fuzz {kind}: found something (exit {returncode}, seed {seed}); input kept as {find}")
    return 1
