"""A file far larger than memory should be: walked in windows, with anonymous memory bounded.

The file is never made: a reader repeats one generated interchange. It runs in a process of its own,
whose memory is nobody else's. REASSOC_LARGE_BYTES sets the size (10 GB was run by hand, see the
bench history); the default keeps the test short.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

LARGE_BYTES = int(os.environ.get("REASSOC_LARGE_BYTES", "600000000"))
ANONYMOUS_BYTES_MAX = 512 << 20

WALK = """
import json, re, sys, tempfile
from pathlib import Path
from reassoc.core.x12_835 import iter_835
from reassoc.loadtest.feed import write_remittance_file

class Repeated:
    "A binary file that holds `data` over and over."
    def __init__(self, data, times):
        self.data, self.left, self.place = data, times, 0
    def read(self, size):
        if self.left == 0:
            return b""
        part = self.data[self.place : self.place + size]
        self.place += len(part)
        if self.place == len(self.data):
            self.place, self.left = 0, self.left - 1
        return part

path = Path(tempfile.mkdtemp()) / "one.835"
summary = write_remittance_file(path, bytes_min=20_000_000, seed=3)
data = path.read_bytes()
path.unlink()
times = max(1, int(sys.argv[1]) // len(data))
claims = cents = findings = peak = 0
for window in iter_835(Repeated(data, times)):
    claims += len(window.claims)
    cents += int(window.transactions.paid_cents.sum())
    findings += len(window.findings)
    status = Path("/proc/self/status").read_text()
    peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1]) * 1024)
print(json.dumps({
    "bytes": len(data) * times, "peak": peak, "findings": findings,
    "claims": claims == summary.claims * times, "cents": cents == summary.paid_cents * times,
}))
"""


def test_a_large_file_is_walked_in_bounded_memory() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WALK, str(LARGE_BYTES)],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(run.stdout)
    assert result["claims"]
    assert result["cents"]
    assert result["findings"] == 0
    assert result["peak"] < ANONYMOUS_BYTES_MAX
