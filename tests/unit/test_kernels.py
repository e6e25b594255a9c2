"""The delimiter kernels: which there are, how one is forced, that all of them give the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reassoc.core import active_kernel, kernels, read_835
from reassoc.core._x12scan import delimiter_offsets

FORCED = "from reassoc.core import active_kernel; print(active_kernel())"


def run_with(kernel: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FORCED],
        env={**os.environ, "REASSOC_KERNEL": kernel},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kernel", kernels())
def test_the_environment_forces_a_kernel(kernel: str) -> None:
    assert run_with(kernel).stdout.strip() == kernel


def test_an_unknown_kernel_is_refused_and_the_known_ones_named() -> None:
    run = run_with("sse9")
    assert run.returncode != 0
    assert "sse9" in run.stderr
    assert "portable" in run.stderr


def test_the_fastest_is_taken_by_itself() -> None:
    if "REASSOC_KERNEL" not in os.environ:
        assert active_kernel() == kernels()[0]
    assert kernels()[-1] == "portable"


@pytest.mark.parametrize("kernel", kernels())
def test_every_length_around_a_lane(kernel: str) -> None:
    """Lanes are 64 bytes: all lengths about them, CR and LF among the delimiters."""
    data = b"A*B~\r\n**~~C" * 30
    for length in range(200):
        piece = data[:length]
        delimiters, ends = delimiter_offsets(piece, ord("*"), ord("~"), kernel)
        expected = [i for i, byte in enumerate(piece) if byte in b"*~"]
        assert list(delimiters) == expected
        assert list(ends) == [n for n, i in enumerate(expected) if piece[i : i + 1] == b"~"]


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(buffer: type) -> None:
    data = (
        b"ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *260316*1200*^"
        b"*00501*000000001*0*P*:~GS*HP*S*R*20260316*1200*1*X*005010X221A1~ST*835*0001~"
        b"BPR*I*0*C*NON************20260316~TRN*1*T1*1234567890~SE*4*0001~GE*1*1~IEA*1*000000001~"
    )
    read = read_835(buffer(data))
    assert read.transactions.trace[0] == "T1"
    assert [segment[:3] for _, segment in read.segments(0)] == [b"ST*", b"BPR", b"TRN", b"SE*"]
    assert read.message(0).startswith("X12_NON_PAYMENT_MISMATCH at byte")
