"""What the C library keeps is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reassoc.stream import allocator

_PROGRAM = """
import threading
from pathlib import Path
from reassoc.stream import allocator

def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))

allocator.bound_arenas()
began = resident_mb()
kept = []

def fill():
    blocks = [bytes(8000) for _ in range(4000)]
    kept.append(blocks[::100])  # what stays lies between what goes

for _ in range(6):
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
before = resident_mb()
allocator.give_back()
print(before - began, resident_mb() - began)
"""


def test_memory_in_the_middle_of_arenas_is_given_back() -> None:
    """Six threads leave a block in a hundred: what they had is kept until it is given back."""
    if allocator._library() is None:
        pytest.skip("the C library is not glibc")
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    before, after = map(int, told.stdout.split())
    assert before > 2 * after, told.stdout
