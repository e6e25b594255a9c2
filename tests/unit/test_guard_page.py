"""Nothing reads past either end of its input: each stands against a page without access.

A read of one byte too many ends the process with a segmentation fault; `test_the_guard_guards`
shows in a process of its own that it does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corpus import Sample
from guarded import GuardedArena

from reassoc.core import _x12scan
from reassoc.core.ach import iter_ach, read_ach
from reassoc.core.errors import ParseError
from reassoc.core.x12_835 import iter_835, read_835

X12 = (
    b"ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *240104*1200*^*00501"
    b"*000000001*0*P*:~GS*HP*A*B*20240104*1200*1*X*005010X221A1~ST*835*0001~"
    b"BPR*I*7.5*C*ACH*CCP*01*021000021*DA*1*1123456789**01*021000021*DA*2*20240105~"
    b"TRN*1*T1*1123456789~N1*PR*PAYER~N1*PE*PAYEE*FI*123456789~LX*1~CLP*A*1*10*7.5~"
    b"CAS*CO*45*2.5~SVC*HC:99213*10*7.5~DTM*472*20240101~CAS*CO*45*2.5~SE*13*0001~GE*1*1~"
    b"IEA*1*000000001~"
)
"""Cut at every byte, so that each kind of element stands last once."""


def placements(arena: GuardedArena, data: bytes) -> Iterator[memoryview]:
    """The input against the guard behind it, then against the one before it."""
    yield arena.at_end(data)
    yield arena.at_start(data)


LARGE_BYTES = 1 << 20


def quietly(read: Callable[[memoryview], object], view: memoryview) -> None:
    """Read; being no X12 or ACH at all is fine."""
    try:
        read(view)
    except ParseError:
        return


def drain_835(view: memoryview) -> None:
    for window in iter_835(view, window_bytes=97):
        len(window.findings)


def drain_ach(view: memoryview) -> None:
    # A hundred thousand entries, each in a window of its own, take long and show nothing more.
    for window in iter_ach(view, window_bytes=97 if view.nbytes < LARGE_BYTES else 1 << 16):
        len(window.findings)


READERS_835 = [
    *(pytest.param(lambda view, k=k: read_835(view, kernel=k), id=k) for k in _x12scan.kernels()),
    pytest.param(drain_835, id="windows"),
]


def test_the_guard_guards() -> None:
    tests = Path(__file__).resolve().parent.parent
    code = "from guarded import GuardedArena; GuardedArena(1).byte_behind()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, check=False)
    assert done.returncode in (-signal.SIGSEGV, 1), done.stderr  # 1 is the sanitizer's own exit
    assert done.returncode != 1 or b"SEGV" in done.stderr


@pytest.mark.parametrize("kernel", _x12scan.kernels())
def test_kernels_at_every_length(kernel: str) -> None:
    arena = GuardedArena(1024)
    for length in range(200):
        for view in placements(arena, (X12 * 2)[:length]):
            _x12scan.delimiter_offsets(view, ord("*"), ord("~"), kernel=kernel)


@pytest.mark.parametrize("read", READERS_835)
def test_835_cut_at_every_byte(read: Callable[[memoryview], object]) -> None:
    arena = GuardedArena(len(X12))
    for length in range(len(X12) + 1):
        for view in placements(arena, X12[:length]):
            quietly(read, view)


@pytest.mark.parametrize("read", READERS_835)
def test_835_samples(read: Callable[[memoryview], object], x12_samples: list[Sample]) -> None:
    arena = GuardedArena(max(len(sample.data) for sample in x12_samples))
    for sample in x12_samples:
        for view in placements(arena, sample.data):
            quietly(read, view)


def test_835_samples_cut_short(x12_samples: list[Sample]) -> None:
    arena = GuardedArena(4096)
    for sample in x12_samples:
        for length in range(0, min(len(sample.data), 4096), 13):
            quietly(read_835, arena.at_end(sample.data[:length]))


def test_ach_samples(ach_samples: list[Sample]) -> None:
    arena = GuardedArena(max(len(sample.data) for sample in ach_samples))
    for sample in ach_samples:
        for view in placements(arena, sample.data):
            quietly(read_ach, view)
            quietly(drain_ach, view)


def test_ach_samples_cut_short(ach_samples: list[Sample]) -> None:
    arena = GuardedArena(4096)
    for sample in ach_samples:
        for length in range(0, min(len(sample.data), 4096), 31):
            quietly(read_ach, arena.at_end(sample.data[:length]))
