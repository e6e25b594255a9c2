"""A large input of very small remittances is taken in: its items are many times what memory may
hold of them.

It runs in a process of its own, whose memory is nobody else's. REASSOC_LARGE_BYTES sets the size;
the default keeps the test short.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LARGE_BYTES = int(os.environ.get("REASSOC_LARGE_BYTES", "200000000"))
ANONYMOUS_BYTES_MAX = 200 << 20

TAKE = """
import gzip, json, re, sys, tempfile, threading
from pathlib import Path
from small_feed import interchange, remittance
from taking import FakeVault, sources_of
from reassoc.stream.item_log import encode_entry
from reassoc.stream.routing import Router
from reassoc.stream.take_in import take_in

folder, size, is_packed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "packed"

class Vault(FakeVault):
    "Keeps contents on disk."
    def put(self, pieces):
        with (folder / "vault").open("wb") as file:
            return super().put(self.written(pieces, file))
    def written(self, pieces, file):
        for piece in pieces:
            file.write(piece)
            yield piece
    def open_stream(self, digest):
        return (folder / "vault").open("rb", buffering=0)

class Log:
    "Counts."
    items = entry_bytes = 0
    def append(self, entries, routings=()):
        watch()
        self.known.update(routings)
        for _, entry in entries:
            self.items += len(entry.remittance_stops) // 8
            self.entry_bytes += len(encode_entry(entry))
    def routings(self, keys):
        return {key: self.known[key] for key in keys if key in self.known}
    known = {}

peak = 0
def watch(*_):
    global peak
    status = Path("/proc/self/status").read_text()
    peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1]) * 1024)

sets = 2000
part = interchange(*(remittance(f"T{n}", 100 + n, control=f"{n:04d}") for n in range(sets)))
times = max(1, size // len(part))
path = folder / "large"
pack = gzip.compress(part, 1) if is_packed else part
with path.open("wb") as file:
    for _ in range(times):
        file.write(pack)
done = threading.Event()
def keep_watching():
    while not done.wait(0.02):
        watch()
watcher = threading.Thread(target=keep_watching, daemon=True)
watcher.start()
log, vault = Log(), Vault(keeps=False)
receipt = take_in(
    sources_of(path)[0], vault=vault, log=log, router=Router(None), scratch=folder, progress=watch
)
done.set()
watcher.join()
print(json.dumps({
    "bytes": receipt.byte_count == len(part) * times, "reason": receipt.reason,
    "items": log.items == receipt.remittance_count == sets * times, "entry_bytes": log.entry_bytes,
    "cents": receipt.remittance_cents == times * sum(range(100, 100 + sets)), "peak": peak,
}))
"""


@pytest.mark.parametrize("container", ["plain", "packed"])
def test_a_large_input_is_taken_in_with_bounded_memory(tmp_path: Path, container: str) -> None:
    tests = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", TAKE, str(tmp_path), str(LARGE_BYTES), container],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tests)},
    )
    result = json.loads(run.stdout)
    assert result["reason"] == ""
    assert result["bytes"]
    assert result["items"]
    assert result["cents"]
    assert result["entry_bytes"] > LARGE_BYTES / 3
    assert result["peak"] < ANONYMOUS_BYTES_MAX
    for name in ("large", "vault"):
        (tmp_path / name).unlink()
