"""Run before the tests of `make sanitize`: the sanitized build is in use, and would speak up.

    python tests/sanitizer_check.py FOLDER      FOLDER: where the sanitized build lies

It builds one small extension with the same flags that reads one byte past a buffer, and expects the
sanitizer to end that process. Without this check a build that sanitizes nothing would pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from reassoc.core import _bai2scan, _keys, _nacha, _payees, _x12scan

OVER_READ = """
#include <stddef.h>
__attribute__((noinline)) int read_at(const volatile unsigned char *at, size_t offset) {
    return at[offset];
}
"""
DRIVER = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
size = 24
buffer = ctypes.CDLL(None).malloc
buffer.restype = ctypes.c_void_p
library.read_at.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
at = buffer(ctypes.c_size_t(size))
library.read_at(at, int(sys.argv[2]))
"""


def run(library: Path, offset: int) -> subprocess.CompletedProcess[bytes]:
    """Read the byte at `offset` of a buffer of 24 in a process of its own."""
    command = [sys.executable, "-c", DRIVER, str(library), str(offset)]
    return subprocess.run(command, capture_output=True, check=False)


def main() -> int:
    """Exit status 0 when the sanitizer is at work."""
    folder = Path(sys.argv[1]).resolve()
    for module in (_x12scan, _nacha, _bai2scan, _keys, _payees):
        if folder not in Path(str(module.__file__)).resolve().parents:
            print(f"{module.__name__} comes from {module.__file__}, not from {folder}")
            return 1
    with tempfile.TemporaryDirectory() as scratch:
        source, library = Path(scratch) / "over_read.c", Path(scratch) / "over_read.so"
        source.write_text(OVER_READ)
        flags = ["-shared", "-fPIC", "-O1", "-g", "-fsanitize=address,undefined"]
        plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        build = ["gcc", *flags, str(source), "-o", str(library)]
        subprocess.run(build, check=True, env=plain)
        inside, outside = run(library, 23), run(library, 24)
    if inside.returncode != 0 or b"heap-buffer-overflow" not in outside.stderr:
        print("an over-read of one byte was not caught: the sanitizer is not at work")
        return 1
    print(f"sanitized build in {folder}; an over-read of one byte is caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
